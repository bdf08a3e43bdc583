/* Delay loading as link.exe lays it down ("Understanding the helper function", learn.microsoft.com): descriptors of version 2.
   The helper is ours; the thunks that call it are the linker's. */
struct descriptor {
    DWORD attributes, name, handle, iat, names, bound, unload, stamp;
};
struct told {
    DWORD size;
    const struct descriptor *descriptor;
    void **slot;
    const char *dll;
    int by_name;
    union { const char *name; DWORD ordinal; } symbol;
    HANDLE module;
    void *function;
    DWORD error;
};
enum { START_PROCESSING, PRE_LOAD, PRE_ADDRESS, FAIL_LOAD, FAIL_ADDRESS, END_PROCESSING };
typedef void *(__stdcall *hook)(unsigned event, struct told *);
hook on_event, on_failure;
extern char __ImageBase[];
static void *at(DWORD rva) { return rva ? (void *)(__ImageBase + rva) : 0; }

void *__stdcall __delayLoadHelper2(const struct descriptor *d, void **slot) {
    struct told t = {sizeof t, d, slot, at(d->name)};
    HANDLE *module = at(d->handle);
    void **iat = at(d->iat);
    WORDPTR entry = ((WORDPTR *)at(d->names))[slot - iat];
    int by_ordinal = (entry >> (sizeof entry * 8 - 1)) != 0;
    t.by_name = !by_ordinal;
    if (by_ordinal) t.symbol.ordinal = (DWORD)(entry & 0xffff);
    else t.symbol.name = (const char *)at((DWORD)entry) + 2;
    if (on_event && (t.function = on_event(START_PROCESSING, &t))) goto known;
    t.module = *module;
    if (!t.module) {
        if (on_event) t.module = on_event(PRE_LOAD, &t);
        if (!t.module) t.module = LoadLibraryA(t.dll);
        if (!t.module) {
            t.error = GetLastError();
            if (on_failure) t.module = on_failure(FAIL_LOAD, &t);
            if (!t.module) ExitProcess(100);
        }
        *module = t.module;
    }
    if (on_event) t.function = on_event(PRE_ADDRESS, &t);
    if (!t.function) t.function = GetProcAddress(t.module, by_ordinal ? (const char *)(WORDPTR)t.symbol.ordinal : t.symbol.name);
    if (!t.function) {
        t.error = GetLastError();
        if (on_failure) t.function = on_failure(FAIL_ADDRESS, &t);
        if (!t.function) ExitProcess(101);
    }
    *slot = t.function;
known:
    if (on_event) { t.error = 0; on_event(END_PROCESSING, &t); }
    return t.function;
}

/* From data directory 13 of this image. */
static const struct descriptor *descriptors(void) {
    const char *header = __ImageBase + *(DWORD *)(__ImageBase + 60);
    return at(*(DWORD *)(header + 24 + (sizeof(void *) == 8 ? 112 : 96) + 8 * 13));
}

static int same(const char *a, const char *b) {
    for (; *a && *a == *b; a++, b++) ;
    return *a == *b;
}

/* The table as it was, the DLL freed, the handle zero; 0 without a table to put back, or if it is not loaded. */
int __stdcall __FUnloadDelayLoadedDLL2(const char *dll) {
    const struct descriptor *d;
    for (d = descriptors(); d->name; d++) {
        void **iat = at(d->iat), **unload = at(d->unload);
        HANDLE *module = at(d->handle);
        int i;
        if (!same(at(d->name), dll)) continue;
        if (!unload || !*module) return 0;
        for (i = 0; ((WORDPTR *)at(d->names))[i]; i++) iat[i] = unload[i];
        FreeLibrary(*module);
        *module = 0;
        return 1;
    }
    return 0;
}
