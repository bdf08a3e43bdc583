/* Exports by name, as data, by ordinal only, and forwarders by name and by ordinal (alpha.def). */
#include "told.h"
TELLING_DLLMAIN("alpha")
int alpha_data = 1000;
int alpha_add(int a, int b) { return a + b; }
int alpha_hidden(void) { return 77; }
double alpha_scale(double x, int n, float f, long long q) { return x * n + f + q; }
