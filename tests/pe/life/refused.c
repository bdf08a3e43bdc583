#include "told.h"
__declspec(dllimport) int plain(void);
__declspec(dllimport) int failing(void);
int main(void) { say_number("sum", plain() + failing()); return 7; }
