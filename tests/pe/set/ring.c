/* Two DLLs that need one another: ping.dll and pong.dll. */
#include "told.h"
TELLING_DLLMAIN(NAME)
__declspec(dllimport) int OTHER(int);
__declspec(dllexport) int SELF(int n) { return n <= 0 ? 0 : 1 + OTHER(n - 1); }
