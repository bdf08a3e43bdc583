/* The little of Windows that these programs use. No C run-time and no header of another's: what is linked is here. */
typedef unsigned long DWORD;
typedef unsigned long long QWORD;
typedef void *HANDLE;
#if defined(_WIN64)
typedef unsigned long long WORDPTR;
#else
typedef unsigned long WORDPTR;
#endif
#define IMPORT __declspec(dllimport)
#define EXPORT __declspec(dllexport)
IMPORT HANDLE __stdcall GetStdHandle(DWORD);
IMPORT int __stdcall WriteFile(HANDLE, const void *, DWORD, DWORD *, void *);
IMPORT void __stdcall ExitProcess(DWORD);
IMPORT HANDLE __stdcall LoadLibraryA(const char *);
IMPORT int __stdcall FreeLibrary(HANDLE);
IMPORT void *__stdcall GetProcAddress(HANDLE, const char *);
IMPORT HANDLE __stdcall GetModuleHandleA(const char *);
IMPORT DWORD __stdcall GetLastError(void);
IMPORT HANDLE __stdcall CreateThread(void *, WORDPTR, DWORD(__stdcall *)(void *), void *, DWORD, DWORD *);
IMPORT DWORD __stdcall WaitForSingleObject(HANDLE, DWORD);
IMPORT int __stdcall GetExitCodeThread(HANDLE, DWORD *);
IMPORT HANDLE __stdcall CreateEventA(void *, int, int, const char *);
IMPORT int __stdcall SetEvent(HANDLE);
IMPORT int __stdcall VirtualProtect(void *, WORDPTR, DWORD, DWORD *);

static void say(const char *text) {
    DWORD done, length = 0;
    while (text[length]) length++;
    WriteFile(GetStdHandle((DWORD)-11), text, length, &done, 0);
}

static void say_number(const char *text, long number) {
    char digits[16];
    int at = 14;
    unsigned long rest = number < 0 ? -(unsigned long)number : (unsigned long)number;
    digits[15] = 0;
    digits[14] = '\n';
    do digits[--at] = (char)('0' + rest % 10); while (rest /= 10);
    say(text);
    say(number < 0 ? " -" : " ");
    say(digits + at);
}

static const char *const reasons[] = {"process detach", "process attach", "thread attach", "thread detach"};
int _fltused;
