/* The loader's lock: a thread that a DllMain has started begins when that is done. No C run-time: the last thread ends the process. */
#include "told.h"
static DWORD WINAPI work(void *argument) { say("thread of start\n"); Sleep(150); say("last thread\n"); return 9; }
void _pei386_runtime_relocator(void) {}
int start(void *peb) {
    HMODULE module = LoadLibraryA("starter.dll");
    say("loaded\n");
    Sleep(100);
    FreeLibrary(module);
    CreateThread(0, 0, work, 0, 0, 0);
    Sleep(50);
    return 4;
}
