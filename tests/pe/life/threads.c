/* The loader's lock: a thread that a DllMain has started begins when that is done. No C run-time: the last thread ends the process. */
#include "told.h"
static DWORD WINAPI work(void *argument) {
    say("thread of start\n");
    WaitForSingleObject(argument, INFINITE);
    say("last thread\n");
    return 9;
}
void _pei386_runtime_relocator(void) {}
int start(void *peb) {
    HMODULE module = LoadLibraryA("starter.dll");
    WaitForSingleObject(*(HANDLE *)GetProcAddress(module, "thread"), INFINITE);
    say("loaded\n");
    FreeLibrary(module);
    CreateThread(0, 0, work, OpenThread(SYNCHRONIZE, FALSE, GetCurrentThreadId()), 0, 0);
    return 4;
}
