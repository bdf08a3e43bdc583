/* Where DLLs are looked for: PATH as it is now, the current directory, DLLs of another CPU and files that are no DLL. */
#include "told.h"
static char name[600];
static void load(const char *what) {
    HMODULE module = LoadLibraryA(what);
    const char *at;
    if (!module) { say(what); say_number(" error", GetLastError()); return; }
    GetModuleFileNameA(module, name, sizeof name);
    for (at = name + lstrlenA(name); at > name && at[-1] != '\\'; at--) ;
    say(at); say(at > name + 3 && at[-2] == 'b' ? " in sub\n" : at > name + 3 && at[-2] == 'r' ? " in cur\n" : " beside the program\n");
    FreeLibrary(module);
}
static void find(const char *where, const char *what, const char *ending) {
    if (!SearchPathA(where, what, ending, sizeof name, name, 0)) { say(what); say_number(" error", GetLastError()); } else say("found\n");
}
int main(void) {
    char path[900], sub[300];
    GetCurrentDirectoryA(280, sub);
    lstrcatA(sub, "\\sub");
    SetEnvironmentVariableA("PATH", "C:\\nowhere;");
    load("deep"); find(0, "deep", ".dll");
    wsprintfA(path, "C:\\nowhere;%s;x", sub);
    SetEnvironmentVariableA("PATH", path);
    load("deep"); find(0, "deep.dll", 0); find(0, "deep", ".dll"); find(sub, "deep", ".dll"); find(sub, "nowhere", ".dll");
    SetCurrentDirectoryA("cur");
    load("both"); load("three"); load("wrong"); load("bad");
    return 10;
}
