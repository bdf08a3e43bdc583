/* Native thread-local data in a program: set before main runs, in every thread, aligned, with zeros behind it. */
#include "own.h"
#define TLS_ZEROS 64
#include "tls.h"
__declspec(thread) int first = 11;
__declspec(thread) int table[4] = {1, 2, 3, 4};
__declspec(thread) int zero;
__declspec(align(64)) __declspec(thread) char aligned[8] = "align";
IMPORT int static_next(void);
IMPORT int static_index(void);
static int(__cdecl *late_next)(void);
static HANDLE go, ready;

static void __stdcall on_thread(void *self, DWORD reason, void *reserved) {
    say("threads.exe callback: "); say(reasons[reason]); say("\n");
    if (reason == 1 || reason == 2) table[3] += 100; /* its own data is there already */
}
TLS_CALLBACK(on_thread)

static DWORD __stdcall work(void *argument) {
    long n = (long)(WORDPTR)argument;
    say_number("thread", n);
    say_number("first", first += n);
    say_number("table", table[0] + table[1] + table[2] + table[3]);
    say_number("zero", zero++);
    say_number("static", static_next());
    if (n == 2) { /* begun before late.dll was loaded: it gets a block then */
        SetEvent(ready);
        WaitForSingleObject(go, (DWORD)-1);
    }
    if (late_next) { say_number("late", late_next()); say_number("late", late_next()); }
    return (DWORD)first;
}

static DWORD finish(HANDLE thread) {
    DWORD code = 0;
    WaitForSingleObject(thread, (DWORD)-1);
    GetExitCodeThread(thread, &code);
    return code;
}

void start(void) {
    HANDLE early, late;
    say_number("first", first);
    say_number("table", table[0] + table[1] + table[2] + table[3]);
    say_number("zero", zero);
    say_number("align", (WORDPTR)&_tls_start % 64 == 0 && aligned[0] == 'a' && aligned[4] == 'n');
    say_number("static", static_next());
    say_number("static", static_next());
    say_number("other index", static_index() != (int)_tls_index);
    say_number("ended with", (long)finish(CreateThread(0, 0, work, (void *)1, 0, 0)));
    go = CreateEventA(0, 1, 0, 0);
    ready = CreateEventA(0, 1, 0, 0);
    early = CreateThread(0, 0, work, (void *)2, 0, 0);
    WaitForSingleObject(ready, (DWORD)-1);
    late = LoadLibraryA("late.dll");
    say_number("loaded", late != 0);
    late_next = (int(__cdecl *)(void))GetProcAddress(late, "late_next");
    say_number("late", late_next());
    say_number("late", late_next());
    SetEvent(go);
    say_number("ended with", (long)finish(early));
    say_number("ended with", (long)finish(CreateThread(0, 0, work, (void *)3, 0, 0)));
    say_number("freed", FreeLibrary(late));
    late = LoadLibraryA("late.dll");
    late_next = (int(__cdecl *)(void))GetProcAddress(late, "late_next");
    say_number("anew", late_next());
    say_number("first", first);
    say_number("zero", zero);
    ExitProcess(9);
}
