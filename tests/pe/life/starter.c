#include "told.h"
__declspec(dllexport) HANDLE thread;
static DWORD WINAPI work(void *argument) { say("thread of DllMain\n"); return 1; }
BOOL WINAPI DllMain(HINSTANCE self, DWORD reason, void *reserved) {
    say(reasons[reason]); say("\n");
    if (reason == DLL_PROCESS_ATTACH) {
        thread = CreateThread(0, 0, work, 0, 0, 0);
        say_number("waited", WaitForSingleObject(thread, 60));
    }
    say("done\n");
    return TRUE;
}
