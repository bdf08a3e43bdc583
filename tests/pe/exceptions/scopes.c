#include <stdio.h>
#include <windows.h>
int scopes(void (*f)(void)), finished;
unsigned cookie = 0x5EED1234;
FARPROC common;
static void fine(void) {}
static void raises(void) { RaiseException(0xE0000017, 0, 0, 0); }
static void faults(void) { *(volatile int *)16 = 1; }
int main(void) {
    int code;
    common = GetProcAddress(GetModuleHandleA("msvcrt.dll"), "_except_handler4_common");
    if (!common) return 2;
    code = scopes(fine);
    printf("%d %d\n", code, finished);
    code = scopes(raises);
    printf("%d %d\n", code, finished);
    code = scopes(faults);
    printf("%d %d\n", code, finished);
    return 0;
}
