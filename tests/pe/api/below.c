/* What run-times of Rust, Go and libuv ask below KERNEL32, and of threads: files by NTDLL, by handles, fibers, registers, clocks. */
#define _WIN32_WINNT 0x0601
#include <stdio.h>
#include <string.h>
#include <windows.h>
#include <winternl.h>

typedef NTSTATUS (NTAPI *Io)(HANDLE, HANDLE, void *, void *, IO_STATUS_BLOCK *, void *, ULONG, LARGE_INTEGER *, ULONG *);
typedef NTSTATUS (NTAPI *Create)(HANDLE *, ACCESS_MASK, OBJECT_ATTRIBUTES *, IO_STATUS_BLOCK *, LARGE_INTEGER *, ULONG, ULONG, ULONG, ULONG, void *, ULONG);
typedef NTSTATUS (NTAPI *Open)(HANDLE *, ACCESS_MASK, OBJECT_ATTRIBUTES *, IO_STATUS_BLOCK *, ULONG, ULONG);
typedef NTSTATUS (NTAPI *Info)(HANDLE, IO_STATUS_BLOCK *, void *, ULONG, int);
typedef NTSTATUS (NTAPI *List)(HANDLE, HANDLE, void *, void *, IO_STATUS_BLOCK *, void *, ULONG, int, BOOLEAN, UNICODE_STRING *, BOOLEAN);
#define GET(type, name) type name = (type)(void *)GetProcAddress(nt, #name)

static HMODULE nt;
static HANDLE open_at(HANDLE root, const WCHAR *name, ACCESS_MASK access, ULONG how, ULONG options, NTSTATUS *status)
{
    GET(Create, NtCreateFile);
    UNICODE_STRING text = {(USHORT)(2 * wcslen(name)), (USHORT)(2 * wcslen(name)), (WCHAR *)name};
    OBJECT_ATTRIBUTES a = {.Length = sizeof a, .RootDirectory = root, .ObjectName = &text, .Attributes = OBJ_CASE_INSENSITIVE};
    IO_STATUS_BLOCK block = {{0}, 0};
    HANDLE h = NULL;
    *status = NtCreateFile(&h, access | SYNCHRONIZE, &a, &block, NULL, FILE_ATTRIBUTE_NORMAL, 7, how, options | 0x20, NULL, 0);
    printf("%ls: %08lx %lu\n", name, (unsigned long)*status, *status ? 0 : (unsigned long)block.Information);
    return h;
}

static void below(void)
{
    GET(Io, NtReadFile);
    GET(Io, NtWriteFile);
    GET(Info, NtQueryInformationFile);
    GET(Info, NtSetInformationFile);
    GET(List, NtQueryDirectoryFile);
    IO_STATUS_BLOCK block;
    NTSTATUS s;
    LARGE_INTEGER at = {.QuadPart = 0};
    char buffer[2048] = "";
    ULONG *entry;
    HANDLE f, d = open_at(NULL, L"\\??\\C:\\", FILE_LIST_DIRECTORY, 1, 1, &s);
    WCHAR here[300] = L"\\??\\";
    if (d) CloseHandle(d);
    GetCurrentDirectoryW(250, here + 4);
    d = open_at(NULL, L"nowhere", GENERIC_READ, 1, 0, &s);
    CreateDirectoryA("below.d", NULL);
    wcscat(here, L"\\below.d");
    {
        UNICODE_STRING text = {(USHORT)(2 * wcslen(here)), (USHORT)(2 * wcslen(here)), here};
        OBJECT_ATTRIBUTES a = {.Length = sizeof a, .ObjectName = &text, .Attributes = OBJ_CASE_INSENSITIVE};
        GET(Open, NtOpenFile);
        printf("NtOpenFile %08lx\n", (unsigned long)NtOpenFile(&d, FILE_LIST_DIRECTORY | SYNCHRONIZE, &a, &block, 7, 0x21));
    }
    f = open_at(d, L"one.txt", GENERIC_READ | GENERIC_WRITE | DELETE, 2, 0, &s);
    open_at(d, L"one.txt", GENERIC_READ, 2, 0, &s);
    open_at(d, L"two.txt", GENERIC_READ, 1, 0, &s);
    open_at(d, L"one.txt", FILE_LIST_DIRECTORY, 1, 1, &s);
    CloseHandle(open_at(d, L"sub", FILE_LIST_DIRECTORY, 2, 1, &s));
    s = NtWriteFile(f, NULL, NULL, NULL, &block, "some text", 9, NULL, NULL);
    printf("NtWriteFile %08lx %lu\n", (unsigned long)s, (unsigned long)block.Information);
    at.QuadPart = 5;
    s = NtReadFile(f, NULL, NULL, NULL, &block, buffer, 100, &at, NULL);
    printf("NtReadFile %08lx %lu %s\n", (unsigned long)s, (unsigned long)block.Information, buffer);
    s = NtReadFile(f, NULL, NULL, NULL, &block, buffer, 100, NULL, NULL);
    printf("at the end %08lx\n", (unsigned long)s);
    s = NtQueryInformationFile(f, &block, buffer, sizeof buffer, 5);
    printf("standard %08lx %lu size %lu links %lu directory %d\n", (unsigned long)s, (unsigned long)block.Information, ((ULONG *)buffer)[2], ((ULONG *)buffer)[4], buffer[21]);
    s = NtQueryInformationFile(f, &block, buffer, sizeof buffer, 14);
    printf("position %08lx %lu\n", (unsigned long)s, ((ULONG *)buffer)[0]);
    at.QuadPart = 4;
    s = NtSetInformationFile(f, &block, &at, 8, 20);
    printf("end of file %08lx %lu\n", (unsigned long)s, GetFileSize(f, NULL));
    s = NtQueryDirectoryFile(d, NULL, NULL, NULL, &block, buffer, sizeof buffer, 1, FALSE, NULL, TRUE);
    printf("list %08lx\n", (unsigned long)s);
    for (entry = (ULONG *)buffer;; entry = (ULONG *)((char *)entry + entry[0])) {
        printf("  %.*ls %lx\n", (int)entry[15] / 2, (WCHAR *)(entry + 16), entry[14] & FILE_ATTRIBUTE_DIRECTORY);
        if (!entry[0]) break;
    }
    s = NtQueryDirectoryFile(d, NULL, NULL, NULL, &block, buffer, sizeof buffer, 1, FALSE, NULL, FALSE);
    printf("no more %08lx\n", (unsigned long)s);
    CloseHandle(f);
    CloseHandle(d);
}

static void by_handle(void)
{
    char buffer[1024];
    FILE_RENAME_INFO *name = (void *)buffer;
    FILE_DISPOSITION_INFO gone = {TRUE};
    FILE_END_OF_FILE_INFO end = {.EndOfFile.QuadPart = 3};
    FILE_STANDARD_INFO standard;
    FILE_ID_BOTH_DIR_INFO *entry = (void *)buffer;
    HANDLE d, f = CreateFileA("below.d\\one.txt", GENERIC_READ | GENERIC_WRITE | DELETE, 7, NULL, OPEN_EXISTING, 0, NULL);
    WCHAR here[300];
    printf("end %d", SetFileInformationByHandle(f, FileEndOfFileInfo, &end, sizeof end));
    printf(" %d %lu\n", GetFileInformationByHandleEx(f, FileStandardInfo, &standard, sizeof standard), standard.EndOfFile.LowPart);
    memset(buffer, 0, sizeof buffer);
    GetFullPathNameW(L"below.d\\renamed.txt", 300, here, NULL);
    name->FileNameLength = 2 * wcslen(here);
    memcpy(name->FileName, here, name->FileNameLength);
    printf("rename %d", SetFileInformationByHandle(f, FileRenameInfo, name, sizeof buffer));
    printf(" %lx %lx\n", GetFileAttributesA("below.d\\one.txt"), GetFileAttributesA("below.d\\renamed.txt") & 0x10);
    d = CreateFileA("below.d", FILE_LIST_DIRECTORY, 7, NULL, OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS, NULL);
    while (GetFileInformationByHandleEx(d, FileIdBothDirectoryInfo, buffer, sizeof buffer))
        for (entry = (void *)buffer;; entry = (void *)((char *)entry + entry->NextEntryOffset)) {
            printf("  %.*ls %lu %d\n", (int)entry->FileNameLength / 2, entry->FileName, entry->FileAttributes & 0x10 ? 0 : entry->EndOfFile.LowPart, entry->FileId.QuadPart != 0);
            if (!entry->NextEntryOffset) break;
        }
    printf("%lu\n", GetLastError());
    CloseHandle(d);
    printf("delete %d\n", SetFileInformationByHandle(f, FileDispositionInfo, &gone, sizeof gone));
    CloseHandle(f);
    printf("%lx\n", GetFileAttributesA("below.d\\renamed.txt"));
    printf("symbolic link %d\n", GetProcAddress(GetModuleHandleA("kernel32"), "CreateSymbolicLinkW") != NULL);
    printf("%d %d\n", RemoveDirectoryA("below.d\\sub"), RemoveDirectoryA("below.d"));
}

static void *main_fiber, *fibers[2];
static VOID CALLBACK fiber(void *p)
{
    int i, number = (int)(ULONG_PTR)p;
    MEMORY_BASIC_INFORMATION m;
    for (i = 0; i < 3; i++) {
        VirtualQuery(&m, &m, sizeof m);
        printf("fiber %d turn %d %d %d\n", number, i, (int)(ULONG_PTR)GetFiberData(), GetCurrentFiber() == fibers[number]);
        SwitchToFiber(i == 2 ? main_fiber : fibers[!number]);
    }
}

static volatile LONG spins;
static DWORD WINAPI spinner(void *p) { while (spins >= 0) InterlockedIncrement((LONG *)&spins); return 9; }
static DWORD WINAPI sleeper(void *p) { Sleep(10000); return 0; }

static void threads(void)
{
    CONTEXT context = {.ContextFlags = CONTEXT_FULL};
    DWORD code = 0;
    HANDLE t = CreateThread(NULL, 0, spinner, NULL, 0, NULL);
    while (!spins) Sleep(1);
    SuspendThread(t);
    printf("GetThreadContext %d", GetThreadContext(t, &context));
#ifdef _WIN64
    printf(" %d\n", context.Rip >= (ULONG_PTR)GetModuleHandleA(NULL) && context.Rsp != 0);
#else
    printf(" %d\n", context.Eip >= (ULONG_PTR)GetModuleHandleA(NULL) && context.Esp != 0);
#endif
    printf("SetThreadContext %d\n", SetThreadContext(t, &context));
    ResumeThread(t);
    InterlockedExchange((LONG *)&spins, -1000000000);
    printf("%lu", WaitForSingleObject(t, 10000));
    printf(" %d %lu\n", GetExitCodeThread(t, &code), code);
    t = CreateThread(NULL, 0, sleeper, NULL, 0, NULL);
    Sleep(10);
    SuspendThread(t);
    printf("in a wait %d\n", GetThreadContext(t, &context));
    TerminateThread(t, 1);
}

static unsigned long long interrupt_time(void)
{
    volatile ULONG *p = (void *)(ULONG_PTR)0x7ffe0008;
    ULONG high, low;
    do { high = p[1]; low = p[0]; } while (high != p[2]);
    return (unsigned long long)high << 32 | low;
}

static void path_texts(void)
{
    static const WCHAR *pairs[][2] = {{L"C:\\a\\b", L"c.txt"}, {L"C:\\a\\b\\", L"..\\c"}, {L"C:\\a", L"\\b"}, {L"a\\.\\b", L"x"}, {L"C:\\a", L"D:\\b"},
        {L"C:\\", L"..\\.."}, {L"\\\\server\\share\\x", L"..\\y"}, {L"C:\\a\\b\\..\\..\\c", L""}, {L"", L"b"}, {L"C:\\a.b\\c", L"."}};
    HMODULE base = GetModuleHandleA("kernelbase");
    HRESULT (WINAPI *combine)(WCHAR *, SIZE_T, const WCHAR *, const WCHAR *, ULONG) = (void *)GetProcAddress(base, "PathCchCombineEx");
    HRESULT (WINAPI *canonicalize)(const WCHAR *, ULONG, WCHAR **) = (void *)GetProcAddress(base, "PathAllocCanonicalize");
    HRESULT (WINAPI *spec)(WCHAR *, SIZE_T) = (void *)GetProcAddress(base, "PathCchRemoveFileSpec");
    WCHAR out[100], *made;
    unsigned i;
    for (i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        HRESULT r = combine(out, 100, pairs[i][0], pairs[i][1], 0);
        printf("%08lx %ls", r, out);
        r = canonicalize(pairs[i][0], 0, &made);
        printf(" | %08lx %ls", r, made);
        LocalFree(made);
        wcscpy(out, pairs[i][0]);
        r = spec(out, 100);
        printf(" | %08lx %ls\n", r, out);
    }
    printf("%08lx\n", combine(out, 4, L"C:\\abc", L"d", 0));
}

int main(void)
{
    unsigned long long begin, end;
    FILETIME now;
    ULONGLONG system, slow;
    nt = GetModuleHandleA("ntdll");
    printf("ntdll %d kernelbase %d api set %d\n", nt != NULL, GetModuleHandleA("kernelbase.dll") != NULL, GetModuleHandleA("api-ms-win-core-synch-l1-2-0.dll") != NULL);
    below();
    by_handle();
    main_fiber = ConvertThreadToFiber(NULL);
    printf("fiber %d\n", IsThreadAFiber());
    fibers[0] = CreateFiber(0, fiber, (void *)0);
    fibers[1] = CreateFiberEx(0, 65536, 0, fiber, (void *)1);
    SwitchToFiber(fibers[0]);
    puts("back");
    SwitchToFiber(fibers[1]);
    DeleteFiber(fibers[0]);
    DeleteFiber(fibers[1]);
    printf("thread %d %d\n", ConvertFiberToThread(), IsThreadAFiber());
    threads();
    begin = interrupt_time();
    Sleep(60);
    end = interrupt_time();
    printf("60 ms %d\n", end - begin >= 400000 && end - begin < 100000000);
    GetSystemTimeAsFileTime(&now);
    system = (ULONGLONG)now.dwHighDateTime << 32 | now.dwLowDateTime;
    slow = *(volatile ULONGLONG *)(ULONG_PTR)0x7ffe0014;
    printf("system time %d\n", (LONGLONG)(slow - system) < 10000000 && (LONGLONG)(system - slow) < 10000000);
    printf("root %ls\n", (WCHAR *)(ULONG_PTR)0x7ffe0030);
    path_texts();
    return 4;
}
