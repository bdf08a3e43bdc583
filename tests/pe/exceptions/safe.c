/* Linked by lld-link with /safeseh: a handler that is not in the image's table is not asked. */
#include "seh.h"
typedef struct { unsigned size, stamp; unsigned short major, minor; unsigned clear, set, timeout, free, total, lock, maximum, threshold, affinity, flags;
    unsigned short csd, depend; unsigned edit, cookie; const void *table; const void *count; } CONFIG;
extern const void *const __safe_se_handler_table[];
extern const char __safe_se_handler_count;
const CONFIG _load_config_used = {.size = sizeof(CONFIG), .table = __safe_se_handler_table, .count = &__safe_se_handler_count};
__declspec(dllimport) void __stdcall ExitProcess(unsigned);
static volatile int handled;
static int bad(EXCEPTION_RECORD *r, void *frame, void *c, void *d) { puts("asked"); ExitProcess(99); return 1; }
void start(void) {
    __try { RaiseException(0xE0000001, 0, 0, 0); __asm__ volatile("nop"); }
    __except (1) { puts("handled"); handled = 1; }
    __asm__ volatile("pushl %0\n\tpushl %%fs:0\n\tmovl %%esp, %%fs:0" : : "r"(bad) : "memory");
    RaiseException(0xE0000002, 0, 0, 0);
    ExitProcess(98);
}
