/* What is loaded at its first call. */
#include "own.h"
EXPORT int far_add(int a, int b) { return a + b; }
EXPORT double far_mix(double a, int b, double c, float d, double e, int f) { return a * b + c * d + e * f; }
int far_numbered(int a) { return a * 7; }
EXPORT QWORD far_wide(QWORD a, int b) { return (a << b) + 1; }
int __stdcall DllMain(void *self, DWORD reason, void *reserved) {
    if (reason < 2) { say("far: "); say(reasons[reason]); say("\n"); }
    return 1;
}
