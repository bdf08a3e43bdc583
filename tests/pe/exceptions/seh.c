#include "seh.h"
/* A return address must not be where the next __try begins. */
#define AFTER __asm__ volatile("nop")
/* Windows gives a block of __except the code, Wine 8 does not: only what is wrong is said. */
#define CODE(wanted) do { if (GetExceptionCode() != (wanted) && GetExceptionCode() != 0) puts("wrong code"); } while (0)
static unsigned code_of(int i) {
    static const unsigned codes[] = {0xE0000001, 0xC0000005, 0xC0000094, 0xE0000002, 0xC0000005, 0x80000003};
    return codes[i];
}
static int filter(unsigned code, EXCEPTION_POINTERS *p, int answer) {
    printf("filter %08x flags %lx n %lu", code, p->ExceptionRecord->ExceptionFlags, p->ExceptionRecord->NumberParameters);
    for (DWORD i = 0; i < p->ExceptionRecord->NumberParameters; i++) printf(" %llx", (unsigned long long)p->ExceptionRecord->ExceptionInformation[i]);
    printf(" -> %d\n", answer);
    return answer;
}
static volatile int zero, *nowhere = (int *)0x10;
/* Without -fasync-exceptions clang 14 takes only what a call raises for an exception. */
#define APART __attribute__((noinline)) static
APART void store(void) { *nowhere = 1; }
APART void load(void) { zero = *nowhere; }
APART void interrupt(void) { __debugbreak(); }
APART void divide(volatile int *by) {
#ifdef __i386__
    __asm__ volatile("cltd; idivl %0" : : "m"(*by), "a"(1) : "edx");
#else
    __asm__ volatile("cltd; idivl %0" : : "m"(*by), "a"(1) : "rdx");
#endif
}
static void inner(int what) {
    __try {
        switch (what) {
        case 0: RaiseException(0xE0000001, 0, 0, 0); AFTER; break;
        case 1: store(); break;
        case 2: divide(&zero); break;
        case 3: { ULONG_PTR a[2] = {7, 9}; RaiseException(0xE0000002, EXCEPTION_NONCONTINUABLE, 2, a); AFTER; break; }
        case 4: load(); break;
        case 5: interrupt(); break;
        }
    } __finally {
        printf("finally %d\n", AbnormalTermination());
    }
}
static int early(void) {
    __try {
        __try { return 5; } __finally { printf("early finally %d\n", AbnormalTermination()); }
    } __finally { printf("outer finally %d\n", AbnormalTermination()); }
    return 6;
}
static int nested(void) {
    int r = 0;
    __try {
        __try { RaiseException(0xE0000010, 0, 0, 0); AFTER; }
        __except (filter(GetExceptionCode(), GetExceptionInformation(), 0)) { puts("wrong"); }
    } __except (filter(GetExceptionCode(), GetExceptionInformation(), 1)) { r = 1; puts("outer except"); }
    __try {
        __try { RaiseException(0xE0000011, 0, 0, 0); AFTER; }
        __finally { puts("finally raises"); RaiseException(0xE0000012, 0, 0, 0); AFTER; }
    } __except (filter(GetExceptionCode(), GetExceptionInformation(), 1)) { r += 2; puts("got"); CODE(0xE0000012); }
    __try {
        __try { RaiseException(0xE0000013, 0, 0, 0); AFTER; }
        __except (filter(GetExceptionCode(), GetExceptionInformation(), 1)) { puts("raise in except"); RaiseException(0xE0000014, 0, 0, 0); AFTER; }
    } __except (filter(GetExceptionCode(), GetExceptionInformation(), 1)) { r += 4; }
    return r;
}
static int filter_raises(void) {
    __try { RaiseException(0xE0000021, 0, 0, 0); AFTER; }
    __except (filter(GetExceptionCode(), GetExceptionInformation(), 1)) { puts("inside filter handled"); }
    return 1;
}
static int filter_raises2(EXCEPTION_POINTERS *p) {
    printf("f2 %lx\n", p->ExceptionRecord->ExceptionCode);
    if (p->ExceptionRecord->ExceptionCode == 0xE0000030) RaiseException(0xE0000031, 0, 0, 0); AFTER;
    return 1;
}
static int resumed(EXCEPTION_POINTERS *p) { printf("resume %lx\n", p->ExceptionRecord->ExceptionCode); return -1; }
int main(void) {
    for (int i = 0; i < 6; i++) {
        __try { inner(i); puts("not raised"); }
        __except (filter(GetExceptionCode(), GetExceptionInformation(), 1)) { printf("except %d\n", i); CODE(code_of(i)); }
    }
    printf("early %d\n", early());
    printf("nested %d\n", nested());
    __try { RaiseException(0xE0000020, 0, 0, 0); AFTER; } __except (filter_raises()) { puts("after filter"); }
    __try { RaiseException(0xE0000030, 0, 0, 0); AFTER; } __except (filter_raises2(GetExceptionInformation())) { puts("f2 end"); CODE(0xE0000031); }
    __try { RaiseException(0xE0000040, 0, 0, 0); AFTER; puts("resumed"); } __except (resumed(GetExceptionInformation())) { puts("wrong"); }
    for (int i = 0; i < 3; i++) {
        __try { if (i == 1) continue; printf("loop %d\n", i); } __finally { printf("loop finally %d %d\n", i, AbnormalTermination()); }
    }
    return 7;
}
