/* first's DllMain loads early, which needs last, which is attached after first: last is attached then, and once. */
#include "told.h"
__declspec(dllimport) int first(void);
__declspec(dllimport) int last(void);
int main(void) { say_number("sum", first() + last()); return 6; }
