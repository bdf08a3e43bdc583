// Files, directories, what is found in them, moving, sharing.
#include <windows.h>
#include <stdio.h>

static void say(const char *what, long long value) { printf("%s %lld error %lu\n", what, value, GetLastError()); SetLastError(0); }

static void make(const char *name, const char *text) {
    DWORD n;
    HANDLE f = CreateFileA(name, GENERIC_WRITE, 0, 0, CREATE_ALWAYS, FILE_ATTRIBUTE_NORMAL, 0);
    WriteFile(f, text, lstrlenA(text), &n, 0);
    CloseHandle(f);
}

static void list(const char *mask) {
    WIN32_FIND_DATAA d;
    HANDLE h = FindFirstFileA(mask, &d);
    printf("[%s]", mask);
    if (h == INVALID_HANDLE_VALUE) { printf(" none, error %lu\n", GetLastError()); return; }
    do printf(" %s%s:%lu", d.cFileName, d.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY ? "/" : "", d.nFileSizeLow);
    while (FindNextFileA(h, &d));
    printf(" end %lu", GetLastError());
    printf(" close %d\n", FindClose(h));
}

static const char *tail(const char *path) {
    const char *p = strrchr(path, '\\');
    return p ? p : path;
}

int main(void) {
    char text[300], *part;
    WCHAR wide[300];
    WIN32_FIND_DATAW dw;
    WIN32_FILE_ATTRIBUTE_DATA fa;
    BY_HANDLE_FILE_INFORMATION bi;
    LARGE_INTEGER big;
    DWORD n;
    HANDLE f, g, h;

    SetLastError(0);
    say("mkdir", CreateDirectoryA("one", 0));
    say("mkdir again", CreateDirectoryA("ONE", 0));
    say("mkdir nowhere", CreateDirectoryA("nowhere\\two", 0));
    make("one\\Alpha.txt", "alpha");
    make("one\\beta.TXT", "beta beta");
    make("one\\gamma.c", "");
    make("one\\noext", "12");
    make("one\\.dot", "hidden");
    CreateDirectoryA("one\\sub", 0);
    list("one\\*");
    list("one\\*.*");
    list("one\\*.txt");
    list("one\\?????.txt");
    list("one\\zzz*");
    list("nowhere\\*");
    list("ONE\\ALPHA.TXT");
    list("one");
    list("one\\");
    say("find W", (h = FindFirstFileExW(L"one\\g*", FindExInfoBasic, &dw, FindExSearchNameMatch, 0, 0)) != INVALID_HANDLE_VALUE);
    printf("%ls %lu\n", dw.cFileName, dw.dwFileAttributes);
    FindClose(h);

    printf("attributes %lu %lu %lu %lu\n", GetFileAttributesA("one"), GetFileAttributesA("one\\alpha.txt"), GetFileAttributesW(L"one\\.dot"), GetFileAttributesA("none"));
    say("none", 0);
    say("nowhere", GetFileAttributesA("nowhere\\none"));
    say("readonly", SetFileAttributesA("one\\gamma.c", FILE_ATTRIBUTE_READONLY));
    printf("attributes %lu\n", GetFileAttributesA("one\\gamma.c"));
    say("delete readonly", DeleteFileA("one\\gamma.c"));
    say("normal", SetFileAttributesA("one\\gamma.c", FILE_ATTRIBUTE_NORMAL));
    say("delete", DeleteFileA("one\\gamma.c"));
    say("delete directory", DeleteFileA("one\\sub"));
    say("attributes ex", GetFileAttributesExA("one\\beta.txt", GetFileExInfoStandard, &fa));
    printf("%lu size %lu %lu\n", fa.dwFileAttributes, fa.nFileSizeHigh, fa.nFileSizeLow);

    say("rmdir full", RemoveDirectoryA("one"));
    say("rmdir file", RemoveDirectoryA("one\\noext"));
    say("rmdir none", RemoveDirectoryA("none"));
    say("rmdir", RemoveDirectoryA("one\\sub"));

    say("move", MoveFileA("one\\noext", "one\\renamed"));
    say("move onto", MoveFileA("one\\renamed", "one\\beta.txt"));
    say("move none", MoveFileA("one\\none", "one\\x"));
    say("replace", MoveFileExA("one\\renamed", "one\\beta.txt", MOVEFILE_REPLACE_EXISTING));
    say("copy", CopyFileA("one\\beta.txt", "one\\copy", TRUE));
    say("copy again", CopyFileA("one\\beta.txt", "one\\copy", TRUE));
    say("copy over", CopyFileA("one\\alpha.txt", "one\\copy", FALSE));
    say("copy none", CopyFileW(L"one\\none", L"one\\copy2", FALSE));
    list("one\\*");

    say("create new", (f = CreateFileA("one\\copy", GENERIC_READ, 0, 0, CREATE_NEW, 0, 0)) != INVALID_HANDLE_VALUE);
    say("open none", (f = CreateFileA("one\\none", GENERIC_READ, 0, 0, OPEN_EXISTING, 0, 0)) != INVALID_HANDLE_VALUE);
    say("open dir", (f = CreateFileA("one", GENERIC_READ, 7, 0, OPEN_EXISTING, 0, 0)) != INVALID_HANDLE_VALUE);
    say("open dir backup", (f = CreateFileA("one", GENERIC_READ, 7, 0, OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS, 0)) != INVALID_HANDLE_VALUE);
    say("of dir", GetFileInformationByHandle(f, &bi));
    printf("attributes %lu\n", bi.dwFileAttributes);
    CloseHandle(f);
    say("open always", (f = CreateFileA("one\\copy", GENERIC_READ | GENERIC_WRITE, FILE_SHARE_READ, 0, OPEN_ALWAYS, 0, 0)) != INVALID_HANDLE_VALUE);
    say("share write", (g = CreateFileA("one\\copy", GENERIC_WRITE, 7, 0, OPEN_EXISTING, 0, 0)) != INVALID_HANDLE_VALUE);
    say("share read narrow", (g = CreateFileA("one\\copy", GENERIC_READ, FILE_SHARE_READ, 0, OPEN_EXISTING, 0, 0)) != INVALID_HANDLE_VALUE);
    say("share read", (g = CreateFileA("one\\copy", GENERIC_READ, 3, 0, OPEN_EXISTING, 0, 0)) != INVALID_HANDLE_VALUE);
    say("delete open", DeleteFileA("one\\copy"));
    CloseHandle(g);
    say("handle info", GetFileInformationByHandle(f, &bi));
    printf("size %lu links %lu attributes %lu\n", bi.nFileSizeLow, bi.nNumberOfLinks, bi.dwFileAttributes);
    say("type", GetFileType(f));
    say("seek end", SetFilePointer(f, 0, 0, FILE_END));
    say("seek back", SetFilePointer(f, -2, 0, FILE_CURRENT));
    say("seek before", SetFilePointer(f, -100, 0, FILE_CURRENT) == INVALID_SET_FILE_POINTER);
    big.QuadPart = 3;
    say("seek ex", SetFilePointerEx(f, big, &big, FILE_BEGIN));
    say("at", big.QuadPart);
    say("cut", SetEndOfFile(f));
    say("size", GetFileSize(f, 0));
    say("seek far", SetFilePointer(f, 10, 0, FILE_BEGIN));
    say("grow", SetEndOfFile(f));
    say("size ex", GetFileSizeEx(f, &big));
    printf("%lld\n", big.QuadPart);
    SetFilePointer(f, 0, 0, FILE_BEGIN);
    say("read", ReadFile(f, text, 100, &n, 0));
    printf("%lu %.3s %d\n", n, text, text[9]);
    say("read at end", ReadFile(f, text, 100, &n, 0));
    printf("%lu\n", n);
    say("duplicate", DuplicateHandle(GetCurrentProcess(), f, GetCurrentProcess(), &g, 0, FALSE, DUPLICATE_SAME_ACCESS));
    CloseHandle(f);
    say("after the first is closed", GetFileSize(g, 0));
    CloseHandle(g);
    say("closed", GetFileSize(g, 0) == INVALID_FILE_SIZE);
    say("on close", (f = CreateFileA("one\\gone", GENERIC_WRITE, 7, 0, CREATE_ALWAYS, FILE_FLAG_DELETE_ON_CLOSE, 0)) != INVALID_HANDLE_VALUE);
    say("there", GetFileAttributesA("one\\gone") != INVALID_FILE_ATTRIBUTES);
    CloseHandle(f);
    say("gone", GetFileAttributesA("one\\gone") != INVALID_FILE_ATTRIBUTES);
    say("append", (f = CreateFileA("one\\copy", FILE_APPEND_DATA, 7, 0, OPEN_EXISTING, 0, 0)) != INVALID_HANDLE_VALUE);
    WriteFile(f, "end", 3, &n, 0);
    say("appended", GetFileSize(f, 0));
    CloseHandle(f);
    f = CreateFileA("NUL", GENERIC_WRITE, 0, 0, OPEN_EXISTING, 0, 0);
    say("nul", WriteFile(f, "x", 1, &n, 0));
    CloseHandle(f);

    say("cd", SetCurrentDirectoryA("one"));
    say("here", GetFileAttributesA("alpha.txt"));
    say("cd none", SetCurrentDirectoryA("none"));
    say("cd file", SetCurrentDirectoryA("alpha.txt"));
    n = GetFullPathNameA("x\\..\\y.\\.\\Alpha.txt", 300, text, &part);
    printf("%s|%s\n", tail(text), part);
    n = GetFullPathNameA("sub\\", 300, text, &part);
    printf("%s|%d\n", text + n - 5, part != 0);
    n = GetFullPathNameW(L"c:/a/./b//c..", 300, wide, 0);
    printf("%lu %ls\n", n, wide);
    n = GetFullPathNameA("c:\\x\\y", 3, text, 0);
    printf("needs %lu\n", n);
    GetCurrentDirectoryA(300, text);
    printf("in %s\n", tail(text));
    SetCurrentDirectoryA("..");
    n = GetTempFileNameA("one", "abcdef", 0x12, text);
    printf("temp %lu %s there %d\n", n, text, GetFileAttributesA(text) != INVALID_FILE_ATTRIBUTES);
    n = GetTempFileNameA("one", "abc", 0, text);
    printf("temp %d there %d\n", n != 0, GetFileAttributesA(text) != INVALID_FILE_ATTRIBUTES);
    DeleteFileA(text);
    n = GetTempPathA(300, text);
    printf("temp path ends with a backslash: %d\n", text[n - 1] == '\\');
    SetLastError(0);
    say("link", CreateHardLinkA("one\\link", "one\\copy", 0));
    say("long", GetLongPathNameA("ONE\\ALPHA.TXT", text, 300));
    printf("%s\n", text);
    printf("drive %u\n", GetDriveTypeA("C:\\"));
    printf("no drive %u\n", GetDriveTypeA("Q:\\"));
    list("one\\*");
    return 0;
}
