/* What DllMain and TLS callbacks of the test set say, without stdio: it must work before any C run-time is up. */
#include <windows.h>

static void say(const char *text) {
    DWORD done;
    WriteFile(GetStdHandle(STD_OUTPUT_HANDLE), text, lstrlenA(text), &done, 0);
}

static void say_number(const char *text, LONG_PTR number) {
    char line[80], digits[24];
    int n = 0, at = 23;
    ULONG_PTR rest = number < 0 ? -number : number;
    digits[at] = 0;
    do digits[--at] = '0' + rest % 10; while (rest /= 10);
    if (number < 0) digits[--at] = '-';
    lstrcpyA(line, text);
    n = lstrlenA(line);
    line[n++] = ' ';
    lstrcpyA(line + n, digits + at);
    lstrcatA(line, "\n");
    say(line);
}

static const char *const reasons[] = {"process detach", "process attach", "thread attach", "thread detach"};

#define TELLING_DLLMAIN(name)                                                                     \
    BOOL WINAPI DllMain(HINSTANCE self, DWORD reason, void *reserved) {                           \
        say(name ": "); say(reasons[reason]); say(reserved ? " (static)\n" : " (dynamic)\n");     \
        return TRUE;                                                                              \
    }
