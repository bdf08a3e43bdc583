/* What alpha forwards to; nobody imports it directly. */
#include "told.h"
TELLING_DLLMAIN("beta")
int beta_mul(int a, int b) { return a * b; }
int beta_five(void) { return 5; }
