/* What a C run-time gives a module that has thread-local data: the directory, and the section's first and last byte. */
#if defined(_WIN64)
#define USED _tls_used
#else
#define USED _tls_used /* the compiler puts the second underscore */
__asm__(".globl __tls_array\n__tls_array = 0x2c\n"); /* in the TEB: the array of blocks */
#endif
unsigned int _tls_index;
#pragma section(".tls", read, write)
#pragma section(".tls$ZZZ", read, write)
#pragma section(".CRT$XLA", read)
#pragma section(".CRT$XLB", read)
#pragma section(".CRT$XLZ", read)
typedef void(__stdcall *callback)(void *, DWORD, void *);
__declspec(allocate(".tls")) char _tls_start = 0;
__declspec(allocate(".tls$ZZZ")) char _tls_end = 0;
__declspec(allocate(".CRT$XLA")) callback callbacks_start = 0;
__declspec(allocate(".CRT$XLZ")) callback callbacks_end = 0;
const struct {
    void *start, *end, *index, *callbacks;
    DWORD zeros, flags;
} USED = {&_tls_start, &_tls_end, &_tls_index, &callbacks_start + 1, TLS_ZEROS, 0};
#define TLS_CALLBACK(function) __declspec(allocate(".CRT$XLB")) callback function##_entry = function;
