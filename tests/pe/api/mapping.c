// Files in memory, virtual memory.
#include <windows.h>
#include <stdio.h>
#include <string.h>

static void say(const char *what, long long value) { printf("%s %lld error %lu\n", what, value, GetLastError()); SetLastError(0); }

static void query(const char *what, void *p) {
    MEMORY_BASIC_INFORMATION m;
    size_t n = VirtualQuery(p, &m, sizeof m);
    printf("%s %d state %lx protect %lx first %lx type %lx size %lx at %lx\n", what, n == sizeof m, m.State, m.Protect, m.AllocationProtect, m.Type,
           m.State == MEM_FREE ? 0 : (unsigned long)m.RegionSize, m.State == MEM_FREE ? 0 : (unsigned long)((char *)p - (char *)m.AllocationBase));
}

int main(void) {
    DWORD n, old;
    char *view, *other, *p, *q;
    HANDLE f = CreateFileA("mapped.bin", GENERIC_READ | GENERIC_WRITE, 0, 0, CREATE_ALWAYS, 0, 0), m, m2;
    char text[32] = {0};

    SetLastError(0);
    say("empty", CreateFileMappingA(f, 0, PAGE_READWRITE, 0, 0, 0) != 0);
    WriteFile(f, "contents of the file", 20, &n, 0);
    m = CreateFileMappingA(f, 0, PAGE_READWRITE, 0, 0, 0);
    say("mapping", m != 0);
    view = MapViewOfFile(m, FILE_MAP_WRITE, 0, 0, 0);
    say("view", view != 0);
    printf("%.20s|%d\n", view, view[20]);
    memcpy(view, "CONTENTS", 8);
    other = MapViewOfFile(m, FILE_MAP_READ, 0, 0, 8);
    printf("other %.8s\n", other);
    view[0] = 'K';
    printf("other %.8s\n", other);
    SetFilePointer(f, 0, 0, FILE_BEGIN);
    ReadFile(f, text, 20, &n, 0);
    printf("file %s\n", text);
    say("flush", FlushViewOfFile(view, 0));
    say("offset", MapViewOfFile(m, FILE_MAP_READ, 0, 4096, 0) != 0);
    say("too long", MapViewOfFile(m, FILE_MAP_READ, 0, 0, 100000) != 0);
    say("unmap", UnmapViewOfFile(other));
    say("unmap again", UnmapViewOfFile(other));
    CloseHandle(m);
    view[1] = '0';
    say("unmap", UnmapViewOfFile(view));
    m = CreateFileMappingA(f, 0, PAGE_READWRITE, 0, 100000, 0);
    say("grown", GetFileSize(f, 0));
    view = MapViewOfFile(m, FILE_MAP_WRITE, 0, 65536, 0);
    say("second part", view != 0);
    view[0] = '#';
    UnmapViewOfFile(view);
    SetFilePointer(f, 65536, 0, FILE_BEGIN);
    ReadFile(f, text, 1, &n, 0);
    printf("%c\n", text[0]);
    CloseHandle(m);
    CloseHandle(f);
    f = CreateFileA("mapped.bin", GENERIC_READ, 0, 0, OPEN_EXISTING, 0, 0);
    say("read only rw", CreateFileMappingA(f, 0, PAGE_READWRITE, 0, 0, 0) != 0);
    m = CreateFileMappingA(f, 0, PAGE_READONLY, 0, 0, 0);
    say("write view", MapViewOfFile(m, FILE_MAP_WRITE, 0, 0, 0) != 0);
    view = MapViewOfFile(m, FILE_MAP_COPY, 0, 0, 0);
    say("copy view", view != 0);
    view[0] = 'X';
    SetFilePointer(f, 0, 0, FILE_BEGIN);
    ReadFile(f, text, 8, &n, 0);
    printf("%.8s file %.8s\n", view, text);
    UnmapViewOfFile(view);
    CloseHandle(m);
    CloseHandle(f);

    m = CreateFileMappingA(INVALID_HANDLE_VALUE, 0, PAGE_READWRITE, 0, 5000, "rtld shared");
    say("memory", m != 0);
    m2 = CreateFileMappingW(INVALID_HANDLE_VALUE, 0, PAGE_READWRITE, 0, 5000, L"rtld shared");
    say("again", m2 != 0);
    say("open", OpenFileMappingA(FILE_MAP_READ, FALSE, "rtld none") != 0);
    view = MapViewOfFile(m, FILE_MAP_ALL_ACCESS, 0, 0, 0);
    other = MapViewOfFile(m2, FILE_MAP_ALL_ACCESS, 0, 0, 0);
    strcpy(view + 4000, "shared memory");
    printf("%s different %d\n", other + 4000, view != other);
    query("view", view);
    UnmapViewOfFile(view);
    UnmapViewOfFile(other);

    p = VirtualAlloc(0, 0x30000, MEM_RESERVE, PAGE_READWRITE);
    say("reserve", p != 0);
    printf("aligned %d\n", ((ULONG_PTR)p & 0xFFFF) == 0);
    query("reserved", p);
    q = VirtualAlloc(p + 0x10000, 0x1234, MEM_COMMIT, PAGE_READWRITE);
    say("commit", q - p);
    query("before", p);
    query("committed", q);
    query("after", q + 0x2000);
    q[0x1fff] = 5;
    say("protect", VirtualProtect(q, 0x1000, PAGE_READONLY, &old));
    printf("old %lx\n", old);
    query("first page", q);
    query("second page", q + 0x1000);
    say("protect reserved", VirtualProtect(p, 0x1000, PAGE_READONLY, &old));
    printf("bad %d %d %d %d\n", IsBadReadPtr(q, 0x2000), IsBadReadPtr(q, 0x2001), IsBadWritePtr(q, 1), IsBadWritePtr(q + 0x1000, 1));
    say("commit outside", VirtualAlloc(p + 0x30000, 1, MEM_COMMIT, PAGE_READWRITE) != 0);
    say("decommit", VirtualFree(q, 0x1000, MEM_DECOMMIT));
    query("decommitted", q);
    say("size", VirtualFree(p, 0x30000, MEM_RELEASE));
    say("inside", VirtualFree(q, 0, MEM_RELEASE));
    say("release", VirtualFree(p, 0, MEM_RELEASE));
    query("released", p);
    q = VirtualAlloc(p, 0x1000, MEM_RESERVE | MEM_COMMIT, PAGE_EXECUTE_READWRITE);
    say("same place", q == p);
    query("code", q);
    say("taken", VirtualAlloc(q, 0x1000, MEM_RESERVE, PAGE_READWRITE) != 0);
    say("bad protection", VirtualAlloc(0, 0x1000, MEM_COMMIT, 0x1234) != 0);
    say("nothing", VirtualAlloc(0, 0, MEM_COMMIT, PAGE_READWRITE) != 0);
    memcpy(q, "\xb8\x2a\x00\x00\x00\xc3", 6);
    say("runs", ((int (*)(void))q)());
    say("flush code", FlushInstructionCache(GetCurrentProcess(), q, 6));

    m = HeapCreate(0, 0, 0);
    p = HeapAlloc(m, HEAP_ZERO_MEMORY, 100);
    say("heap", p[50]);
    strcpy(p, "kept");
    p = HeapReAlloc(m, HEAP_ZERO_MEMORY, p, 5000);
    printf("%s %d size %d valid %d\n", p, p[4000], (int)HeapSize(m, 0, p), HeapValidate(m, 0, 0));
    say("destroy", HeapDestroy(m));
    p = GlobalAlloc(GMEM_FIXED | GMEM_ZEROINIT, 10);
    say("global", GlobalSize(p));
    say("freed", GlobalFree(p) == 0);
    return 0;
}
