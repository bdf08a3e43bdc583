"""The machine code that libraries loaded into this process run on our behalf, x86-64.

It is position-independent; the page behind it (start+0x1000) has the words it reads (``WORDS``). As C:

    void *dlsym(void *handle, const char *name) { return words->dlsym(handle, name, caller); }      and the like
    int atexit(destructor, object, dso)                  __cxa_thread_atexit_impl: counts per library what is still to run
    void finish(void) { for (f = words->finish; *f; f++) (*f)(); }
    int iterate(callback, data)                          dl_iterate_phdr: ld.so's objects, then ours
    bind                                                 an unbound PLT slot: see below
    watch                                                a call that Python sees entering and leaving

``bind`` is entered from PLT0 with GOT[1] and the index of the record in DT_JMPREL on the stack. GOT[1] leads to a table of
(slot's address, value), resolved when the library was loaded: the first call stores the value, and goes on: a few
nanoseconds. Where the value is 0 Python is asked. All registers that may carry arguments are kept; vectors by XSAVE.

``watch`` is entered with the number of a slot in %r11. It writes a frame

    0 rdi   8 rsi   16 rdx   24 rcx   32 r8   40 r9   48 rax   56 r10   64 number   72 stack   80 caller   88 target
    96 result   104 second result   128 xmm0 .. 240 xmm7

which ``enter`` may change; it gives the target and how many bytes of arguments on the stack are to be copied, or -1 when
nobody waits for the result. ``leave`` sees the result in the same frame. An exception passes without it (``unwinding``).
"""

from __future__ import annotations

import struct

from rtld.arch.base import Stub
from rtld.arch.x86_64_live import labels

#: Words of the page behind the code.
# fmt: off
WORDS = {
    "dlopen": 0x00, "dlmopen": 0x08, "dlsym": 0x10, "dlvsym": 0x18, "dlclose": 0x20, "dlerror": 0x28, "dladdr": 0x30,
    "dladdr1": 0x38, "dlinfo": 0x40,
    "table": 0x80, "malloc": 0x88, "free": 0x90, "atexit": 0x98, "finish": 0xA0, "bind": 0xA8, "enter": 0xB0, "leave": 0xB8,
    "iterate": 0xC0, "own": 0xC8, "filter": 0xD0, "adds": 0xD8,
}

TEXT = """
    48 8b 14 24                              start:    mov   (%rsp),%rdx                   # dlopen(file, mode), the caller's address
    ff 25 f6 0f 00 00                                  jmp   *start+0x1000(%rip)
    48 8b 0c 24                              dlmopen:  mov   (%rsp),%rcx
    ff 25 f4 0f 00 00                                  jmp   *start+0x1008(%rip)
    48 8b 14 24                              dlsym:    mov   (%rsp),%rdx
    ff 25 f2 0f 00 00                                  jmp   *start+0x1010(%rip)
    48 8b 0c 24                              dlvsym:   mov   (%rsp),%rcx
    ff 25 f0 0f 00 00                                  jmp   *start+0x1018(%rip)
    ff 25 f2 0f 00 00                        dlclose:  jmp   *start+0x1020(%rip)
    ff 25 f4 0f 00 00                        dlerror:  jmp   *start+0x1028(%rip)
    ff 25 f6 0f 00 00                        dladdr:   jmp   *start+0x1030(%rip)
    ff 25 f8 0f 00 00                        dladdr1:  jmp   *start+0x1038(%rip)
    ff 25 fa 0f 00 00                        dlinfo:   jmp   *start+0x1040(%rip)
    48 8b 05 33 10 00 00                     atexit:   mov   start+0x1080(%rip),%rax       # int __cxa_thread_atexit_impl(destructor, object, dso)
    48 8b 08                                           mov   (%rax),%rcx
    48 83 c0 20                              search:   add   $32,%rax
    48 ff c9                                           dec   %rcx
    78 4c                                              js    direct
    48 3b 10                                           cmp   (%rax),%rdx
    72 f2                                              jb    search
    48 3b 50 08                                        cmp   8(%rax),%rdx
    73 ec                                              jae   search
    53                                                 push  %rbx
    57                                                 push  %rdi
    56                                                 push  %rsi
    52                                                 push  %rdx
    48 8b 58 18                                        mov   24(%rax),%rbx                 # link_map; behind it the number of destructors to come
    48 83 ec 08                                        sub   $8,%rsp
    bf 18 00 00 00                                     mov   $24,%edi
    ff 15 0d 10 00 00                                  call  *start+0x1088(%rip)           # malloc
    48 83 c4 08                                        add   $8,%rsp
    5a                                                 pop   %rdx
    5e                                                 pop   %rsi
    5f                                                 pop   %rdi
    48 85 c0                                           test  %rax,%rax
    74 1d                                              je    full
    48 89 38                                           mov   %rdi,(%rax)
    48 89 70 08                                        mov   %rsi,8(%rax)
    48 8d 4b 28                                        lea   40(%rbx),%rcx
    48 89 48 10                                        mov   %rcx,16(%rax)
    f0 48 ff 01                                        lock incq (%rcx)
    48 8d 3d 0a 00 00 00                               lea   destroy(%rip),%rdi
    48 89 c6                                           mov   %rax,%rsi
    5b                                       full:     pop   %rbx
    ff 25 ed 0f 00 00                        direct:   jmp   *start+0x1098(%rip)
    53                                       destroy:  push  %rbx
    48 89 fb                                           mov   %rdi,%rbx
    48 8b 7f 08                                        mov   8(%rdi),%rdi
    ff 13                                              call  *(%rbx)
    48 8b 43 10                                        mov   16(%rbx),%rax
    f0 48 ff 08                                        lock decq (%rax)
    48 89 df                                           mov   %rbx,%rdi
    5b                                                 pop   %rbx
    ff 25 c9 0f 00 00                                  jmp   *start+0x1090(%rip)           # free
    53                                       finish:   push  %rbx                          # at exit: the termination functions of what is still open
    48 8b 1d d1 0f 00 00                               mov   start+0x10a0(%rip),%rbx
    48 8b 03                                 each:     mov   (%rbx),%rax
    48 85 c0                                           test  %rax,%rax
    74 08                                              je    finished
    48 83 c3 08                                        add   $8,%rbx
    ff d0                                              call  *%rax
    eb f0                                              jmp   each
    5b                                       finished: pop   %rbx
    c3                                                 ret
    31 c0                                    gone:     xor   %eax,%eax                     # what functions of a closed library lead to
    66 0f ef c0                                        pxor  %xmm0,%xmm0
    c3                                                 ret
    50                                       bind:     push  %rax                          # GOT[1] and the record's index are on the stack
    48 8b 44 24 08                                     mov   8(%rsp),%rax                  # of the module: 16 bytes for each slot: its address, its value
    4c 8b 5c 24 10                                     mov   16(%rsp),%r11
    49 c1 e3 04                                        shl   $4,%r11
    49 01 c3                                           add   %rax,%r11
    49 8b 43 08                                        mov   8(%r11),%rax
    48 85 c0                                           test  %rax,%rax
    74 12                                              je    unbound
    4d 8b 1b                                           mov   (%r11),%r11
    49 89 03                                           mov   %rax,(%r11)
    49 89 c3                                           mov   %rax,%r11
    58                                                 pop   %rax
    48 8d 64 24 10                                     lea   16(%rsp),%rsp
    41 ff e3                                           jmp   *%r11
    51                                       unbound:  push  %rcx
    52                                                 push  %rdx
    56                                                 push  %rsi
    57                                                 push  %rdi
    41 50                                              push  %r8
    41 51                                              push  %r9
    41 52                                              push  %r10
    53                                                 push  %rbx
    55                                                 push  %rbp
    48 89 e5                                           mov   %rsp,%rbp
    48 81 ec 00 10 00 00                               sub   $4096,%rsp
    48 83 e4 c0                                        and   $-64,%rsp
    48 8d bc 24 00 02 00 00                            lea   512(%rsp),%rdi
    31 c0                                              xor   %eax,%eax
    b9 08 00 00 00                                     mov   $8,%ecx
    f3 48 ab                                           rep   stosq
    b8 ee 00 00 00                                     mov   $0xee,%eax
    31 d2                                              xor   %edx,%edx
    0f ae 24 24                                        xsave (%rsp)
    48 8b 7d 50                                        mov   80(%rbp),%rdi
    48 8b 75 58                                        mov   88(%rbp),%rsi
    ff 15 4e 0f 00 00                                  call  *start+0x10a8(%rip)           # address bind(table, index)
    49 89 c3                                           mov   %rax,%r11
    b8 ee 00 00 00                                     mov   $0xee,%eax
    31 d2                                              xor   %edx,%edx
    0f ae 2c 24                                        xrstor (%rsp)
    48 89 ec                                           mov   %rbp,%rsp
    5d                                                 pop   %rbp
    5b                                                 pop   %rbx
    41 5a                                              pop   %r10
    41 59                                              pop   %r9
    41 58                                              pop   %r8
    5f                                                 pop   %rdi
    5e                                                 pop   %rsi
    5a                                                 pop   %rdx
    59                                                 pop   %rcx
    58                                                 pop   %rax
    48 8d 64 24 10                                     lea   16(%rsp),%rsp
    41 ff e3                                           jmp   *%r11
    55                                       watch:    push  %rbp                          # %r11: number of the watched slot
    48 89 e5                                           mov   %rsp,%rbp
    48 81 ec 00 11 00 00                               sub   $4352,%rsp
    48 83 e4 c0                                        and   $-64,%rsp
    48 89 3c 24                                        mov   %rdi,(%rsp)
    48 89 74 24 08                                     mov   %rsi,8(%rsp)
    48 89 54 24 10                                     mov   %rdx,16(%rsp)
    48 89 4c 24 18                                     mov   %rcx,24(%rsp)
    4c 89 44 24 20                                     mov   %r8,32(%rsp)
    4c 89 4c 24 28                                     mov   %r9,40(%rsp)
    48 89 44 24 30                                     mov   %rax,48(%rsp)
    4c 89 54 24 38                                     mov   %r10,56(%rsp)
    4c 89 5c 24 40                                     mov   %r11,64(%rsp)
    48 8d 45 10                                        lea   16(%rbp),%rax
    48 89 44 24 48                                     mov   %rax,72(%rsp)                 # arguments on the stack
    48 8b 45 08                                        mov   8(%rbp),%rax
    48 89 44 24 50                                     mov   %rax,80(%rsp)                 # return address
    0f 11 84 24 80 00 00 00                            movups %xmm0,128(%rsp)
    0f 11 8c 24 90 00 00 00                            movups %xmm1,144(%rsp)
    0f 11 94 24 a0 00 00 00                            movups %xmm2,160(%rsp)
    0f 11 9c 24 b0 00 00 00                            movups %xmm3,176(%rsp)
    0f 11 a4 24 c0 00 00 00                            movups %xmm4,192(%rsp)
    0f 11 ac 24 d0 00 00 00                            movups %xmm5,208(%rsp)
    0f 11 b4 24 e0 00 00 00                            movups %xmm6,224(%rsp)
    0f 11 bc 24 f0 00 00 00                            movups %xmm7,240(%rsp)
    48 8d bc 24 00 03 00 00                            lea   768(%rsp),%rdi
    31 c0                                              xor   %eax,%eax
    b9 08 00 00 00                                     mov   $8,%ecx
    f3 48 ab                                           rep   stosq
    b8 ee 00 00 00                                     mov   $0xee,%eax
    31 d2                                              xor   %edx,%edx
    0f ae a4 24 00 01 00 00                            xsave 256(%rsp)
    48 89 e7                                           mov   %rsp,%rdi
    ff 15 79 0e 00 00                                  call  *start+0x10b0(%rip)           # bytes of stack to copy, or -1: enter(frame)
    49 89 c3                                           mov   %rax,%r11
    b8 ee 00 00 00                                     mov   $0xee,%eax
    31 d2                                              xor   %edx,%edx
    0f ae ac 24 00 01 00 00                            xrstor 256(%rsp)
    0f 10 84 24 80 00 00 00                            movups 128(%rsp),%xmm0
    0f 10 8c 24 90 00 00 00                            movups 144(%rsp),%xmm1
    0f 10 94 24 a0 00 00 00                            movups 160(%rsp),%xmm2
    0f 10 9c 24 b0 00 00 00                            movups 176(%rsp),%xmm3
    0f 10 a4 24 c0 00 00 00                            movups 192(%rsp),%xmm4
    0f 10 ac 24 d0 00 00 00                            movups 208(%rsp),%xmm5
    0f 10 b4 24 e0 00 00 00                            movups 224(%rsp),%xmm6
    0f 10 bc 24 f0 00 00 00                            movups 240(%rsp),%xmm7
    4d 85 db                                           test  %r11,%r11
    79 30                                              jns   around
    4c 8b 5c 24 58                                     mov   88(%rsp),%r11                 # nobody waits for the result: jump
    48 8b 3c 24                                        mov   (%rsp),%rdi
    48 8b 74 24 08                                     mov   8(%rsp),%rsi
    48 8b 54 24 10                                     mov   16(%rsp),%rdx
    48 8b 4c 24 18                                     mov   24(%rsp),%rcx
    4c 8b 44 24 20                                     mov   32(%rsp),%r8
    4c 8b 4c 24 28                                     mov   40(%rsp),%r9
    48 8b 44 24 30                                     mov   48(%rsp),%rax
    4c 8b 54 24 38                                     mov   56(%rsp),%r10
    c9                                                 leave
    41 ff e3                                           jmp   *%r11
    53                                       around:   push  %rbx
    41 54                                              push  %r12
    48 89 e3                                           mov   %rsp,%rbx
    4c 8d 64 24 10                                     lea   16(%rsp),%r12                 # the frame
    4c 29 dc                                           sub   %r11,%rsp
    48 83 e4 f0                                        and   $-16,%rsp
    49 8b 74 24 48                                     mov   72(%r12),%rsi
    48 89 e7                                           mov   %rsp,%rdi
    4c 89 d9                                           mov   %r11,%rcx
    f3 a4                                              rep   movsb
    49 8b 3c 24                                        mov   (%r12),%rdi
    49 8b 74 24 08                                     mov   8(%r12),%rsi
    49 8b 54 24 10                                     mov   16(%r12),%rdx
    49 8b 4c 24 18                                     mov   24(%r12),%rcx
    4d 8b 44 24 20                                     mov   32(%r12),%r8
    4d 8b 4c 24 28                                     mov   40(%r12),%r9
    49 8b 44 24 30                                     mov   48(%r12),%rax
    4d 8b 54 24 38                                     mov   56(%r12),%r10
    41 ff 54 24 58                                     call  *88(%r12)
    49 89 44 24 60                                     mov   %rax,96(%r12)
    49 89 54 24 68                                     mov   %rdx,104(%r12)
    41 0f 11 84 24 80 00 00 00                         movups %xmm0,128(%r12)
    41 0f 11 8c 24 90 00 00 00                         movups %xmm1,144(%r12)
    4c 89 e7                                           mov   %r12,%rdi
    48 89 dc                                           mov   %rbx,%rsp
    48 83 e4 f0                                        and   $-16,%rsp
    ff 15 83 0d 00 00                                  call  *start+0x10b8(%rip)           # leave(frame)
    49 8b 44 24 60                                     mov   96(%r12),%rax
    49 8b 54 24 68                                     mov   104(%r12),%rdx
    41 0f 10 84 24 80 00 00 00                         movups 128(%r12),%xmm0
    41 0f 10 8c 24 90 00 00 00                         movups 144(%r12),%xmm1
    48 89 dc                                           mov   %rbx,%rsp
    41 5c                                              pop   %r12
    5b                                                 pop   %rbx
    c9                                                 leave
    c3                                                 ret
    48 83 ec 18                              iterate:  sub   $24,%rsp                      # int dl_iterate_phdr(callback, data): what ld.so has first, as everywhere
    48 89 3c 24                                        mov   %rdi,(%rsp)
    48 89 74 24 08                                     mov   %rsi,8(%rsp)
    48 8d 3d 21 00 00 00                               lea   told(%rip),%rdi
    48 89 e6                                           mov   %rsp,%rsi
    ff 15 4a 0d 00 00                                  call  *start+0x10c0(%rip)           # ld.so's own
    48 8b 3c 24                                        mov   (%rsp),%rdi
    48 8b 74 24 08                                     mov   8(%rsp),%rsi
    48 83 c4 18                                        add   $24,%rsp
    85 c0                                              test  %eax,%eax
    75 06                                              jne   enough
    ff 25 3b 0d 00 00                                  jmp   *start+0x10c8(%rip)           # ours: x86_64_live's
    c3                                       enough:   ret
    48 8b 05 43 0d 00 00                     told:     mov   start+0x10d8(%rip),%rax
    48 8b 00                                           mov   (%rax),%rax
    48 01 47 20                                        add   %rax,32(%rdi)                 # dlpi_adds: unwinders keep what they found until it changes
    ff 25 2e 0d 00 00                                  jmp   *start+0x10d0(%rip)           # x86_64_live's filter
"""
# fmt: on

INPROCESS = Stub(TEXT)
LABELS = {**labels(TEXT), "dlopen": 0}

#: A watched slot: mov $number,%r11d; jmp *address(%rip)
WATCH_SIZE = 24


def watch_thunk(number: int, watch: int) -> bytes:
    """The code a watched slot leads to."""
    return (
        b"\x41\xbb"
        + number.to_bytes(4, "little")
        + b"\xff\x25\0\0\0\0"
        + watch.to_bytes(8, "little")
        + bytes(4)
    )


#: Where the tables of ``unwinding`` are, behind the words.
FRAMES = 0x1200


def unwinding() -> bytes:
    """.eh_frame_hdr and .eh_frame (LSB core, 10.6) of the call in ``around``: exceptions pass through a watched call.

    The CFA is rbp+16. %r12 is the frame; below it rbx and r12 were pushed.
    """
    start, end = LABELS["around"], LABELS["iterate"]
    expressions = bytes(
        (0x10, 3, 2, 0x7C, 0x78, 0x10, 12, 2, 0x7C, 0x70)
    )  # rbx at r12-8, r12 at r12-16
    rules = bytes((0x0C, 6, 16, 0x90, 1, 0x86, 2)) + expressions  # CFA, return address, rbp
    cie = struct.pack("<IB3sBBBBB", 0, 1, b"zR", 1, 0x78, 16, 1, 0x1B) + rules
    cie += bytes(-(len(cie) + 4) % 8)
    table = FRAMES + 20  # .eh_frame, behind the header and one row
    fde_at = table + 4 + len(cie)
    fde = struct.pack("<Iii4x", fde_at + 4 - table, start - (fde_at + 8), end - start)
    header = struct.pack(
        "<BBBBiIii", 1, 0x1B, 3, 0x3B, table - (FRAMES + 4), 1, start - FRAMES, fde_at - FRAMES
    )
    return b"".join(
        (header, len(cie).to_bytes(4, "little"), cie, len(fde).to_bytes(4, "little"), fde, bytes(4))
    )
