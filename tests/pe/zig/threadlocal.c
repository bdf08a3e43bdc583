/* A DLL with native thread-local data: static.dll, which the program imports, and late.dll, which it opens. */
#include "own.h"
#define TLS_ZEROS 16
#include "tls.h"
#define GLUE(a, b) a##b
#define NAMED(a, b) GLUE(a, b)
#define TEXT(a) #a
#define QUOTED(a) TEXT(a)
__declspec(thread) int counter = START;
__declspec(thread) int unset;
EXPORT int NAMED(NAME, _next)(void) { unset++; return counter += unset; }
EXPORT int NAMED(NAME, _index)(void) { return (int)_tls_index; }

static void __stdcall on_thread(void *self, DWORD reason, void *reserved) {
    say(QUOTED(NAME) " callback: "); say(reasons[reason]); say("\n");
}
TLS_CALLBACK(on_thread)

int __stdcall DllMain(void *self, DWORD reason, void *reserved) {
    say(QUOTED(NAME) " DllMain: "); say(reasons[reason]); say("\n");
    if (reason == 1) counter += 1000;
    return 1;
}
