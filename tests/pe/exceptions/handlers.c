/* Language handlers of our own (x64: .seh_handler, tables added at run time; i386: fs:[0]), and unwinding by hand. */
#include <stdio.h>
#include <string.h>
#include <windows.h>
static int answer, calls;
static ULONG_PTR target;
static void say(const char *who, EXCEPTION_RECORD *r) { printf("%s %lx flags %lx n %lu\n", who, r->ExceptionCode, r->ExceptionFlags, r->NumberParameters); }

#ifdef _WIN64
EXCEPTION_DISPOSITION handler(EXCEPTION_RECORD *r, void *frame, CONTEXT *c, DISPATCHER_CONTEXT *d) {
    char name[32];
    sprintf(name, "handler%s%s", d->EstablisherFrame == (ULONG_PTR)frame ? "" : " wrong frame", *(int *)d->HandlerData == 1234 ? "" : " wrong data");
    say(name, r);
    calls++;
    if (r->ExceptionFlags & EXCEPTION_UNWIND) return ExceptionContinueSearch;
    if (answer == 1) return ExceptionContinueExecution;
    if (answer == 2) RtlUnwindEx(frame, (void *)target, r, (void *)(ULONG_PTR)42, d->ContextRecord, d->HistoryTable);
    if (answer == 3) return 77;
    if (answer == 4) { answer = 5; RaiseException(0xE0000099, 0, 0, 0); }
    return ExceptionContinueSearch;
}
int guarded(void (*f)(int), int x);
int outer(void (*f)(int), int x);
extern char landing[];
__asm__(".text\n.globl guarded\n.def guarded; .scl 2; .type 32; .endef\n.seh_proc guarded\nguarded:\n"
        "push %rbx\n.seh_pushreg %rbx\nsub $0x30, %rsp\n.seh_stackalloc 0x30\n.seh_endprologue\n"
        "mov %rcx, %rax\nmov %edx, %ecx\nmov $7, %ebx\ncall *%rax\nmov $1, %eax\njmp 1f\n"
        ".globl landing\nlanding:\nadd %ebx, %eax\n1:\nnop\nadd $0x30, %rsp\npop %rbx\nret\n"
        ".seh_handler handler, @except, @unwind\n.seh_handlerdata\n.long 1234\n.text\n.seh_endproc\n"
        ".globl outer\n.def outer; .scl 2; .type 32; .endef\n.seh_proc outer\nouter:\n"
        "push %rbp\n.seh_pushreg %rbp\nmov %rsp, %rbp\n.seh_setframe %rbp, 0\nsub $0x40, %rsp\n.seh_stackalloc 0x40\nmovaps %xmm6, 0x20(%rsp)\n.seh_savexmm %xmm6, 0x20\n.seh_endprologue\n"
        "call guarded\nnop\nmovaps 0x20(%rsp), %xmm6\nlea (%rbp), %rsp\npop %rbp\nret\n"
        ".seh_handler handler, @except, @unwind\n.seh_handlerdata\n.long 1234\n.text\n.seh_endproc\n");
#else
void land(void *frame, int value);
EXCEPTION_DISPOSITION handler(EXCEPTION_RECORD *r, void *frame, CONTEXT *c, void *d) {
    say("handler", r);
    calls++;
    if (r->ExceptionFlags & 6) return ExceptionContinueSearch;
    if (answer == 1) return ExceptionContinueExecution;
    if (answer == 2) { RtlUnwind(frame, 0, r, 0); land(frame, 42); }
    if (answer == 3) return 77;
    if (answer == 4) { answer = 5; RaiseException(0xE0000099, 0, 0, 0); }
    return ExceptionContinueSearch;
}
int guarded(void (*f)(int), int x);
int outer(void (*f)(int), int x);
__asm__(".text\n.globl _guarded\n_guarded:\npush %ebp\nmov %esp, %ebp\npush %ebx\n"
        "push $_handler\npushl %fs:0\nmov %esp, %fs:0\nmov $7, %ebx\n"
        "pushl 12(%ebp)\ncall *8(%ebp)\nadd $4, %esp\nmov $1, %eax\njmp 1f\n"
        "_landing:\nadd %ebx, %eax\n1:\npopl %fs:0\nadd $4, %esp\npop %ebx\npop %ebp\nret\n"
        ".globl _land\n_land:\nmov 4(%esp), %ecx\nmov 8(%esp), %eax\nmov $7, %ebx\nlea 12(%ecx), %ebp\nmov %ecx, %esp\njmp _landing\n"
        ".globl _outer\n_outer:\npush %ebp\nmov %esp, %ebp\npush %ebx\npush $_handler\npushl %fs:0\nmov %esp, %fs:0\n"
        "pushl 12(%ebp)\npushl 8(%ebp)\ncall _guarded\nadd $8, %esp\npopl %fs:0\nadd $4, %esp\npop %ebx\npop %ebp\nret\n");
#endif
static void raises(int x) {
    ULONG_PTR a[3] = {1, 2, 3};
    if (x) RaiseException(0xE0000000 | x, 0, x & 3, a);
}
static LONG WINAPI last(EXCEPTION_POINTERS *p) {
    EXCEPTION_RECORD *r = p->ExceptionRecord;
    say("last", r);
    for (r = r->ExceptionRecord; r; r = r->ExceptionRecord) say("  of", r);
    fflush(stdout);
    return EXCEPTION_EXECUTE_HANDLER;
}
#ifdef _WIN64
/* push %rbx; sub $0x20, %rsp; call *%rcx; add $0x20, %rsp; pop %rbx; ret */
static const unsigned char code[] = {0x53, 0x48, 0x83, 0xEC, 0x20, 0xFF, 0xD1, 0x90, 0x48, 0x83, 0xC4, 0x20, 0x5B, 0xC3};
static const unsigned char unwinding[] = {0x01 | 3 << 3, 5, 2, 0, 5, 0x32, 1, 0x30};
static void thrower(void) { raises(0x55); }
static void generated(void) {
    unsigned char *p = VirtualAlloc(0, 4096, MEM_COMMIT, PAGE_EXECUTE_READWRITE);
    RUNTIME_FUNCTION *f = (RUNTIME_FUNCTION *)(p + 256);
    DWORD64 base = 0;
    void *h = handler;
    memcpy(p, code, sizeof code);
    f->BeginAddress = 0; f->EndAddress = sizeof code; f->UnwindData = 512;
    memcpy(p + 512, unwinding, sizeof unwinding);
    *(DWORD *)(p + 520) = 1024;
    *(DWORD *)(p + 524) = 1234;
    memcpy(p + 1024, "\x48\xB8", 2); memcpy(p + 1026, &h, 8); memcpy(p + 1034, "\xFF\xE0", 2); /* movabs, jmp *%rax */
    printf("none %d\n", RtlLookupFunctionEntry((DWORD64)p + 5, &base, 0) == 0);
    printf("added %d\n", RtlAddFunctionTable(f, 1, (DWORD64)p));
    printf("found %d base %d\n", RtlLookupFunctionEntry((DWORD64)p + 5, &base, 0) == f, base == (DWORD64)p);
    printf("outside %d\n", RtlLookupFunctionEntry((DWORD64)p + 50, &base, 0) == 0);
    answer = 1;
    ((void (*)(void (*)(void)))p)(thrower);
    puts("through generated code");
    printf("deleted %d again %d\n", RtlDeleteFunctionTable(f), RtlDeleteFunctionTable(f));
    printf("gone %d\n", RtlLookupFunctionEntry((DWORD64)p + 5, &base, 0) == 0);
}
static volatile int again;
static void captured(void) {
    CONTEXT c;
    void *base = 0;
    again = 0;
    RtlCaptureContext(&c);
    printf("captured %d\n", again);
    if (again++ < 2) RtlRestoreContext(&c, 0);
    printf("header %d\n", RtlPcToFileHeader((void *)captured, &base) == GetModuleHandleA(0) && base == GetModuleHandleA(0));
    printf("nothing %d\n", RtlPcToFileHeader((void *)16, &base) == 0 && base == 0);
}
#endif
int main(int argc, char **argv) {
    int n;
    setvbuf(stdout, 0, _IONBF, 0);
    SetUnhandledExceptionFilter(last);
#ifdef _WIN64
    target = (ULONG_PTR)landing;
#endif
    if (argc > 1) {
        answer = argv[1][0] - '0';
        return outer(raises, 0x31);
    }
    printf("plain %d\n", outer(raises, 0));
    answer = 1; printf("continued %d\n", outer(raises, 0x11)); printf("calls %d\n", calls);
    answer = 2; n = guarded(raises, 0x21); printf("unwound %d\n", n);
#ifdef _WIN64
    generated();
    captured();
#endif
    return 0;
}
