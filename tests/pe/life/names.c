/* libloaderapi.h: names, handles, flags, directories, and the errors of each. */
#define _WIN32_WINNT 0x0602
#include "told.h"
#define SHOW(what) do { ULONG_PTR found; SetLastError(0xdead); found = (ULONG_PTR)(what); say(found ? "yes " : "no "); say_number(#what, GetLastError()); } while (0)
#define COUNT(what) do { SetLastError(0xdead); say_number(#what, (what)); say_number("error", GetLastError()); } while (0)
static char name[600];
static WCHAR wide[300];
static HMODULE plain, module;
static DLL_DIRECTORY_COOKIE cookie;

static void file_names(void) {
    DWORD length = GetModuleFileNameA(plain, name, sizeof name);
    say_number("length", length == lstrlenA(name));
    say_number("just no room", GetModuleFileNameA(plain, name, length) == length);
    say_number("error", GetLastError());
    say_number("just room", GetModuleFileNameA(plain, name, length + 1) == length);
    say_number("error", GetLastError());
    COUNT(GetModuleFileNameA(plain, name, 4)); COUNT(GetModuleFileNameW(plain, wide, 1)); COUNT(GetModuleFileNameW(plain, wide, 0));
    SHOW(GetModuleFileNameA((HMODULE)0x12340000, name, 600)); SHOW(GetModuleFileNameA(0, name, 600));
}

static void handles(void) {
    SHOW(GetModuleHandleA("")); SHOW(GetModuleHandleA("PLAIN")); SHOW(GetModuleHandleA("plain.")); SHOW(GetModuleHandleA("nowhere"));
    SHOW(GetModuleHandleA("names.exe")); SHOW(GetModuleHandleA(".\\plain.dll")); SHOW(GetModuleHandleA("C:\\other\\plain.dll"));
    GetModuleFileNameA(plain, name, 600); SHOW(GetModuleHandleA(name));
    SHOW(GetModuleHandleA("C:\\windows\\system32\\kernel32.dll")); SHOW(LoadLibraryA("C:\\Windows\\System32\\KERNEL32"));
    module = (HMODULE)1; SHOW(GetModuleHandleExA(0, "plain", &module)); SHOW(module == plain); SHOW(FreeLibrary(plain)); SHOW(GetModuleHandleA("plain"));
    module = (HMODULE)1; SHOW(GetModuleHandleExA(2, "plain", &module)); SHOW(module == plain);
    module = (HMODULE)1; SHOW(GetModuleHandleExA(3, "plain", &module)); SHOW(module);
    module = (HMODULE)1; SHOW(GetModuleHandleExA(8, "plain", &module)); SHOW(module);
    module = (HMODULE)1; SHOW(GetModuleHandleExA(0, "nowhere", &module)); SHOW(module);
    SHOW(GetModuleHandleExA(0, 0, &module)); SHOW(module == GetModuleHandleA(0)); SHOW(GetModuleHandleExA(0, "plain", 0));
    SHOW(GetModuleHandleExA(6, (char *)plain + 17, &module)); SHOW(module == plain);
    SHOW(GetModuleHandleExA(6, (char *)GetProcAddress(plain, "plain"), &module)); SHOW(module == plain);
    SHOW(GetModuleHandleExA(4, name, &module)); SHOW(module == GetModuleHandleA(0));
    SHOW(GetModuleHandleExA(4, (char *)&plain - 0x700000, &module)); SHOW(module);
    SHOW(GetModuleHandleExW(2, L"plain", &module)); SHOW(module == plain);
    SHOW(GetModuleHandleExW(2, L"\x430", &module)); SHOW(GetModuleHandleExA(2, "a", &module));
    SHOW(GetModuleHandleExA(1, "plain", &module)); SHOW(FreeLibrary(plain)); SHOW(FreeLibrary(plain)); SHOW(GetModuleHandleA("plain"));
    SHOW(GetProcAddress(plain, "plain")); SHOW(GetProcAddress(plain, "Plain")); SHOW(GetProcAddress(plain, "")); SHOW(GetProcAddress(plain, (char *)1));
    SHOW(GetProcAddress(0, "main")); SHOW(GetProcAddress((HMODULE)0x12340000, "x"));
}

static void loading(void) {
    SHOW(LoadLibraryA("")); SHOW(LoadLibraryA("nowhere")); SHOW(LoadLibraryA(".\\nowhere.dll")); SHOW(LoadLibraryA("other.dll"));
    SHOW(LoadLibraryA("lacking.dll")); SHOW(LoadLibraryA("empty.dll")); SHOW(LoadLibraryA("cut.dll"));
    SHOW(LoadLibraryExA("last.dll", 0, 8 | 0x800)); SHOW(LoadLibraryExA("last.dll", 0, 0x100)); SHOW(LoadLibraryA("last."));
    SHOW(module = LoadLibraryA("sub\\deep.dll")); SHOW(LoadLibraryA("deep")); SHOW(FreeLibrary(module)); SHOW(FreeLibrary(module)); SHOW(LoadLibraryA("deep"));
    GetCurrentDirectoryA(300, name); lstrcatA(name, "\\sub\\needs.dll");
    SHOW(LoadLibraryExA(name, 0, 0)); SHOW(module = LoadLibraryExA(name, 0, 8)); SHOW(FreeLibrary(module));
    SHOW(module = LoadLibraryExA(name, 0, 0x100)); SHOW(FreeLibrary(module));
    CopyFileA("plain.dll", "made.dll", 1); SHOW(module = LoadLibraryA("made")); SHOW(FreeLibrary(module));
}

static void directories(void) {
    HMODULE kernel = GetModuleHandleA("kernel32");
    void *(WINAPI *add)(const WCHAR *) = (void *)GetProcAddress(kernel, "AddDllDirectory");
    BOOL (WINAPI *take)(void *) = (void *)GetProcAddress(kernel, "RemoveDllDirectory");
    BOOL (WINAPI *defaults)(DWORD) = (void *)GetProcAddress(kernel, "SetDefaultDllDirectories");
    SHOW(SetDllDirectoryA("sub")); COUNT(GetDllDirectoryA(600, name)); say(name); SHOW(module = LoadLibraryA("deep")); SHOW(FreeLibrary(module));
    COUNT(GetDllDirectoryA(2, name)); COUNT(GetDllDirectoryA(0, 0)); SHOW(SetDllDirectoryA(0)); COUNT(GetDllDirectoryA(600, name)); SHOW(LoadLibraryA("deep"));
    SHOW(SetDllDirectoryA("")); COUNT(GetDllDirectoryA(600, name)); SHOW(SetDllDirectoryA(0));
    GetCurrentDirectoryW(250, wide); lstrcatW(wide, L"\\sub");
    SHOW(add(L"sub")); SHOW(add(L"C:\\nowhere")); SHOW(cookie = add(wide)); SHOW(LoadLibraryA("deep"));
    SHOW(module = LoadLibraryExA("deep", 0, 0x400)); SHOW(FreeLibrary(module)); SHOW(module = LoadLibraryExA("deep", 0, 0x1000)); SHOW(FreeLibrary(module)); SHOW(LoadLibraryExA("deep", 0, 0x800));
    SHOW(defaults(0)); SHOW(defaults(0x100)); SHOW(defaults(0x1000)); SHOW(module = LoadLibraryA("deep")); SHOW(FreeLibrary(module));
    SHOW(defaults(0x200)); SHOW(LoadLibraryA("deep")); SHOW(take(cookie)); SHOW(defaults(0x1000)); SHOW(LoadLibraryA("deep"));
}

int main(void) { plain = LoadLibraryA("plain.dll"); file_names(); handles(); loading(); directories(); return 8; }
