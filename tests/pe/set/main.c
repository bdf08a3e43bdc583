/* Everything at once: static imports, data, ordinals, forwarders, LoadLibrary, errors, threads, exit. */
#include "told.h"
__declspec(dllimport) int alpha_add(int, int);
__declspec(dllimport) int alpha_forwarded(int, int);
__declspec(dllimport) int alpha_by_number(void);
__declspec(dllimport) int alpha_hidden(void);
__declspec(dllimport) double alpha_scale(double, int, float, long long);
__declspec(dllimport) extern int alpha_data;
__declspec(dllimport) int ping(int);

static int plus_one(int x) { return x + 1; }
static DWORD WINAPI worker(void *argument) { say_number("thread", (LONG_PTR)argument); return 42; }

int main(void) {
    HMODULE gamma, again, beta;
    HANDLE thread;
    DWORD code = 0;
    say_number("add", alpha_add(40, 2));
    say_number("data", alpha_data);
    alpha_data++;
    say_number("data after", alpha_data);
    say_number("forwarded", alpha_forwarded(6, 7));
    say_number("by number", alpha_by_number());
    say_number("hidden", alpha_hidden());
    say_number("scale", (int)alpha_scale(2.5, 4, 1.5f, 30));
    say_number("ring", ping(9));
    beta = GetModuleHandleA("beta");
    say_number("same function", GetProcAddress(beta, "beta_mul") == (FARPROC)GetProcAddress(GetModuleHandleA("ALPHA.DLL"), "alpha_forwarded"));
    say_number("by ordinal", GetProcAddress(beta, (char *)5)());
    say_number("no such name", GetProcAddress(beta, "beta_nothing") != 0);
    say_number("error", GetLastError());
    gamma = LoadLibraryA("gamma");
    again = LoadLibraryA("GAMMA.dll");
    say_number("same module", gamma && gamma == again);
    say_number("twice", ((int (*)(int))GetProcAddress(gamma, "gamma_twice"))(21));
    say_number("callback", ((int (*)(int (*)(int), int))GetProcAddress(gamma, "gamma_calls"))(plus_one, 5));
    thread = CreateThread(0, 0, worker, (void *)7, 0, 0);
    WaitForSingleObject(thread, INFINITE);
    GetExitCodeThread(thread, &code);
    say_number("thread ended with", code);
    CloseHandle(thread);
    say_number("free once", FreeLibrary(gamma));
    say_number("still there", GetModuleHandleA("gamma") != 0);
    say_number("free twice", FreeLibrary(gamma));
    say_number("gone", GetModuleHandleA("gamma") == 0);
    say_number("missing", LoadLibraryA("nowhere.dll") != 0);
    say_number("error", GetLastError());
    say_number("refusing", LoadLibraryA("delta") != 0);
    say_number("error", GetLastError());
    say_number("pinned", FreeLibrary(beta));
    return 7;
}
