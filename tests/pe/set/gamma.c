/* Opened by LoadLibrary; needs alpha, has TLS callbacks; its data is read and written across the module's border. */
#include "told.h"
TELLING_DLLMAIN("gamma")
__declspec(dllimport) int alpha_add(int, int);
__declspec(dllexport) int gamma_twice(int x) { return alpha_add(x, x); }
__declspec(dllexport) int gamma_calls(int (*back)(int), int x) { return back(back(x)); }
static void NTAPI on_thread(void *self, DWORD reason, void *reserved) { say("gamma TLS callback: "); say(reasons[reason]); say("\n"); }
__attribute__((section(".CRT$XLY"), used)) PIMAGE_TLS_CALLBACK gamma_callback = on_thread;
