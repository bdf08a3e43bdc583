/* One DLL of many: NAME; NEEDS another's function; DllMain LOADS and FREES a DLL, FAILs, RAISEs as HOW says, or is QUIET. */
#include "told.h"
#define TEXT_OF(x) #x
#define STRING(x) TEXT_OF(x)
#ifdef NEEDS
__declspec(dllimport) int NEEDS(void);
__declspec(dllexport) int NAME(void) { return NEEDS() + 1; }
#else
__declspec(dllexport) int NAME(void) { return 1; }
#endif
static HMODULE other;
#ifdef RAISES
static void raise_it(DWORD reason) {
    char how[8] = "";
    GetEnvironmentVariableA("HOW", how, sizeof how);
    if ((reason == DLL_PROCESS_ATTACH && how[0] == 'a') || (reason != DLL_PROCESS_ATTACH && !how[0])) *(volatile int *)0 = 1;
    if (reason == DLL_PROCESS_ATTACH && how[0] == 'r') RaiseException(0xE0001234, 0, 0, 0);
}
#else
#define raise_it(reason)
#endif
BOOL WINAPI DllMain(HINSTANCE self, DWORD reason, void *reserved) {
#ifndef QUIET
    say(STRING(NAME) ": "); say(reasons[reason]); say(reserved ? " (static)\n" : " (dynamic)\n");
#endif
    raise_it(reason);
#ifdef LOADS
    if (reason == DLL_PROCESS_ATTACH) {
        int (*function)(void);
        other = LoadLibraryA(STRING(LOADS) ".dll");
        function = (void *)GetProcAddress(other, STRING(LOADS));
        say_number(STRING(NAME) " calls", function());
    }
#endif
#ifdef FREES
    if (reason == DLL_PROCESS_DETACH) say_number(STRING(NAME) " frees", FreeLibrary(other));
#endif
#ifdef FAILS
    if (reason == DLL_PROCESS_ATTACH) return FALSE;
#endif
    return TRUE;
}
