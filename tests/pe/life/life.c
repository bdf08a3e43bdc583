/* References, refusals, exceptions, DLLs that load others and themselves while they are attached and detached. */
#include "told.h"
static void there(const char *name) { say(name); say(GetModuleHandleA(name) ? " there\n" : " gone\n"); }
static HMODULE load(const char *name) {
    HMODULE module;
    say("load "); say(name); say("\n");
    SetLastError(0);
    module = LoadLibraryA(name);
    if (!module) say_number("error", GetLastError());
    return module;
}
static void release(HMODULE module) {
    SetLastError(0);
    if (FreeLibrary(module)) say("freed\n"); else say_number("error", GetLastError());
}
static DWORD WINAPI work(void *argument) { say("thread\n"); return 1; }
int main(void) {
    HANDLE thread;
    HMODULE one = load("plain"), two = load("PLAIN.DLL");
    there("plain"); release(one); there("plain"); release(two); there("plain"); release(two);
    release(0); release((HMODULE)0x12340000); release(GetModuleHandleA(0)); release(GetModuleHandleA("kernel32"));
    one = load("plain");
    load("failing"); there("failing"); there("plain");
    release(one); there("plain");
    load("failing"); there("plain");
    one = load("outer"); there("zzz"); release(one); there("outer"); there("zzz");
    one = load("zzz"); there("outer"); release(one); there("outer"); there("zzz");
    one = load("keeper"); there("plain"); release(one); there("keeper"); there("plain");
    SetEnvironmentVariableA("HOW", "a"); load("raising"); there("raising");
    SetEnvironmentVariableA("HOW", "r"); load("raising"); there("raising");
    SetEnvironmentVariableA("HOW", 0);
    one = load("raising");
    thread = CreateThread(0, 0, work, 0, 0, 0);
    WaitForSingleObject(thread, INFINITE);
    release(one); there("raising");
    { int i; for (i = 0; i < 70; i++) FreeLibrary(LoadLibraryA("quiet")); }  /* more than there are TLS slots at first */
    load("quiet"); there("quiet");
    load("raising"); load("keeper");
    return 5;
}
