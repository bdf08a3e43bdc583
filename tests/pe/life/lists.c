/* The loader's lists, PEB and TEB, as a debugger or a packer reads them. */
#include "told.h"
#include <winternl.h>
#include <wchar.h>
typedef struct { LIST_ENTRY load, memory, init; void *base, *entry; ULONG size; UNICODE_STRING full, name; ULONG flags; USHORT count, tls; LIST_ENTRY hash; ULONG stamp; } ENTRY;
typedef struct { ULONG length; BOOLEAN initialized; void *ss; LIST_ENTRY load, memory, init; } LDR;
#define AT(type, narrow, broad) (*(type *)(sizeof(void *) == 8 ? (broad) : (narrow)))
static void show(const char *what, LIST_ENTRY *head, int offset) {
    LIST_ENTRY *link;
    say(what); say("\n");
    for (link = head->Flink; link != head; link = link->Flink) {
        ENTRY *entry = (ENTRY *)((char *)link - offset);
        char name[64];
        int n, own;
        if (link->Flink->Blink != link) say("bad links\n");
        for (n = 0; n < entry->name.Length / 2 && n < 63; n++) name[n] = entry->name.Buffer[n] | (entry->name.Buffer[n] >= 'A' && entry->name.Buffer[n] <= 'Z' ? 32 : 0);
        name[n] = 0;
        if (!lstrcmpA(name, "ntdll.dll") || !lstrcmpA(name, "kernelbase.dll") || !lstrcmpA(name, "ucrtbase.dll")) continue;
        own = !lstrcmpA(name, "plain.dll");
        say_number(name, entry->base == GetModuleHandleA(name));
        say_number(" full", entry->full.Length > entry->name.Length);
        if (own) { say_number(" size", entry->size); say_number(" dll", entry->flags & 4); say_number(" tls", (short)entry->tls); say_number(" stamp", entry->stamp); say_number(" count", (short)entry->count); say_number(" entry", entry->entry > entry->base); }
    }
}
int main(void) {
    char *teb = (char *)NtCurrentTeb(), *peb = AT(char *, teb + 0x30, teb + 0x60), *parameters = AT(char *, peb + 0x10, peb + 0x20);
    LDR *ldr = AT(LDR *, peb + 0xC, peb + 0x18);
    UNICODE_STRING *directory = &AT(UNICODE_STRING, parameters + 0x24, parameters + 0x38);
    WCHAR current[300];
    LoadLibraryA("plain.dll");
    LoadLibraryA("plain.dll");
    say_number("length", ldr->length); say_number("initialized", ldr->initialized); say_number("debugged", peb[2]);
    show("load", &ldr->load, 0); show("memory", &ldr->memory, sizeof(LIST_ENTRY)); show("init", &ldr->init, 2 * sizeof(LIST_ENTRY));
    say_number("image", AT(void *, peb + 8, peb + 16) == GetModuleHandleA(0)); say_number("heap", AT(void *, peb + 0x18, peb + 0x30) == GetProcessHeap());
    say_number("self", AT(void *, teb + 0x18, teb + 0x30) == teb);
    say_number("stack", (char *)&ldr < ((char **)teb)[1] && (char *)&ldr > ((char **)teb)[2]);
    say_number("process", AT(DWORD, teb + 0x20, teb + 0x40) == GetCurrentProcessId()); say_number("thread", AT(DWORD, teb + 0x24, teb + 0x48) == GetCurrentThreadId());
    say_number("line", !wcscmp(AT(UNICODE_STRING, parameters + 0x40, parameters + 0x70).Buffer, GetCommandLineW()));
    SetStdHandle(STD_ERROR_HANDLE, GetStdHandle(STD_INPUT_HANDLE));
    say_number("in", AT(HANDLE, parameters + 0x18, parameters + 0x20) == GetStdHandle(-10)); say_number("out", AT(HANDLE, parameters + 0x1C, parameters + 0x28) == GetStdHandle(-11)); say_number("err", AT(HANDLE, parameters + 0x20, parameters + 0x30) == GetStdHandle(-12));
    SetCurrentDirectoryA("sub");
    GetCurrentDirectoryW(300, current);
    say_number("directory", !wcsncmp(directory->Buffer, current, wcslen(current)) && directory->Length == 2 * wcslen(current) + 2);
    say_number("environment", wcschr(AT(WCHAR *, parameters + 0x48, parameters + 0x80), '=') != 0);
    { MEMORY_BASIC_INFORMATION about; VirtualQuery(GetModuleHandleA(0), &about, sizeof about); say_number("header", about.Protect); }
    SetLastError(77); say_number("last error", AT(DWORD, teb + 0x34, teb + 0x68));
    return 9;
}
