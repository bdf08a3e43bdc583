#include <stdlib.h>
/* first's DllMain loads early, which needs last, which is attached after first: last is attached then, and once; abort() detaches all. */
#include "told.h"
__declspec(dllimport) int first(void);
__declspec(dllimport) int last(void);
int main(void) { say_number("sum", first() + last()); abort(); }
