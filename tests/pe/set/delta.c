/* Its DllMain refuses: error 1114, and it is told to detach. */
#include "told.h"
BOOL WINAPI DllMain(HINSTANCE self, DWORD reason, void *reserved) {
    say("delta: "); say(reasons[reason]); say("\n");
    return reason != DLL_PROCESS_ATTACH;
}
__declspec(dllexport) int delta_never(void) { return 0; }
