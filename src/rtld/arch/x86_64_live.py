"""The machine code that a live child runs on our behalf, x86-64: requests to the linker, lists, tables of objects.

It is position-independent; the page behind it (start+0x1000) is the control page of ``backends/child/live_anchor.py``, and
the word there leads to the memory shared with the linker (``backends/child/channel.py``).

``request`` asks the linker outside for one of the services (dlopen, dlsym, ..., the binding of a lazy PLT slot). As C:

    long request(service, a0, ..., a5) {
        struct slot *slot = first one with compare_and_swap(&slot->owner, 0, gettid());
        *slot = {service, a0..a5, return address, frame, getpid(), gettid(), control->state};
        do {
            slot->state = 1; ring[doorbell++ % 256] = slot; futex_wake(&doorbell);
            while (slot->state == 1) futex_wait(&slot->state, 1, 2 s), or give up if the linker is gone;
            if (slot->list) run(slot->list);  and leave here in a child forked meanwhile
        } while (slot->again);
        result = slot->result; slot->owner = 0; return result;
    }

So the linker lets the asking thread itself map files, call resolvers, initialisers and libc's own dlopen: natively, in the
right thread, and no tracer has to be there. No register but those of the psABI's scratch set is used, and ``bind`` saves these too.

``run`` works off 64-byte records {number, a0..a5, result}: a system call, or -1 the end, -2 a call of a0(a1..a4), -3 *a0 = *a1.

``iterate`` and ``find`` are dl_iterate_phdr(3) and _dl_find_object (glibc 2.35, dlfcn.h): unwinders call them in any thread at
any time, so they only read tables, and then ask ld.so's own for what it has loaded by itself.
"""

from __future__ import annotations

from rtld.arch.base import Stub

# fmt: off
TEXT = """
    83 3d 69 10 00 00 00           start:    cmpl  $0,start+0x1070(%rip)       # the program's entry point, as far as ld.so knows
    0f 85 af 00 00 00                        jne   park
    cc                                       int3
    e8 13 03 00 00                 again:    call  run                         # %rdi: a list
    eb eb                                    jmp   start
    e8 0c 03 00 00                 enter:    call  run                         # %rdi: the initialisers; %r12, %r13: _start, _dl_fini
    4c 89 ea                                 mov   %r13,%rdx
    31 c9                                    xor   %ecx,%ecx
    31 f6                                    xor   %esi,%esi
    31 ff                                    xor   %edi,%edi
    31 ed                                    xor   %ebp,%ebp
    41 ff e4                                 jmp   *%r12
    c7 05 36 10 00 00 01 00 00 00  exiting:  movl  $1,start+0x1068(%rip)       # the first of the termination functions
    c3                                       ret
    31 c0                          dlopen:   xor   %eax,%eax                   # the function's number in the table of services
    e9 4b 01 00 00                           jmp   request
    b8 01 00 00 00                 dlmopen:  mov   $1,%eax
    e9 41 01 00 00                           jmp   request
    b8 02 00 00 00                 dlsym:    mov   $2,%eax
    e9 37 01 00 00                           jmp   request
    b8 03 00 00 00                 dlvsym:   mov   $3,%eax
    e9 2d 01 00 00                           jmp   request
    b8 04 00 00 00                 dlclose:  mov   $4,%eax
    e9 23 01 00 00                           jmp   request
    b8 05 00 00 00                 dlerror:  mov   $5,%eax
    e9 19 01 00 00                           jmp   request
    b8 06 00 00 00                 dladdr:   mov   $6,%eax
    e9 0f 01 00 00                           jmp   request
    b8 07 00 00 00                 dladdr1:  mov   $7,%eax
    e9 05 01 00 00                           jmp   request
    b8 08 00 00 00                 dlinfo:   mov   $8,%eax
    e9 fb 00 00 00                           jmp   request
    b8 0a 00 00 00                 traced:   mov   $10,%eax                    # backtrace_symbols
    e9 f1 00 00 00                           jmp   request
    b8 0b 00 00 00                 tracedfd: mov   $11,%eax                    # backtrace_symbols_fd
    e9 e7 00 00 00                           jmp   request
    b8 0c 00 00 00                 init:     mov   $12,%eax                    # the linker tells what comes next: a module's initialisers,
    e9 dd 00 00 00                           jmp   request
    b8 0d 00 00 00                 begin:    mov   $13,%eax                    # the program's own, or the program itself,
    e9 d3 00 00 00                           jmp   request
    b8 0e 00 00 00                 fini:     mov   $14,%eax                    # a module's termination functions
    e9 c9 00 00 00                           jmp   request
    48 89 25 bd 10 00 00           park:     mov   %rsp,start+0x1180(%rip)     # without a tracer: say so, and wait to be told where to go
    48 89 15 be 10 00 00                     mov   %rdx,start+0x1188(%rip)
    64 48 8b 04 25 00 00 00 00               mov   %fs:0,%rax
    48 89 05 b6 10 00 00                     mov   %rax,start+0x1190(%rip)
    8b 3d 90 0f 00 00                        mov   start+0x1070(%rip),%edi     # a socket
    48 8d 35 d1 10 00 00                     lea   start+0x11b8(%rip),%rsi
    ba 01 00 00 00                           mov   $1,%edx
    b8 01 00 00 00                           mov   $1,%eax                     # write
    0f 05                                    syscall
    31 c0                                    xor   %eax,%eax                   # read
    0f 05                                    syscall
    48 83 f8 01                              cmp   $1,%rax
    75 64                                    jne   dead
    48 8b 25 7c 10 00 00                     mov   start+0x1180(%rip),%rsp
    48 8b 3d 95 10 00 00                     mov   start+0x11a0(%rip),%rdi
    4c 8b 25 96 10 00 00                     mov   start+0x11a8(%rip),%r12
    4c 8b 2d 97 10 00 00                     mov   start+0x11b0(%rip),%r13
    ff 25 79 10 00 00                        jmp   *start+0x1198(%rip)
    50                             bind:     push  %rax                        # (rsp) = GOT[1], 8(rsp) = index of the record, 16(rsp) = return address
    51                                       push  %rcx
    52                                       push  %rdx
    56                                       push  %rsi
    57                                       push  %rdi
    41 50                                    push  %r8
    41 51                                    push  %r9
    41 52                                    push  %r10
    41 53                                    push  %r11
    48 8b 7c 24 48                           mov   72(%rsp),%rdi
    48 8b 74 24 50                           mov   80(%rsp),%rsi
    b8 09 00 00 00                           mov   $9,%eax
    e8 45 00 00 00                           call  request
    48 85 c0                                 test  %rax,%rax
    75 28                                    jne   bound
    48 8b 4c 24 48                           mov   72(%rsp),%rcx               # nobody answers: what the link_map has for this slot
    48 8b 49 28                              mov   40(%rcx),%rcx
    48 85 c9                                 test  %rcx,%rcx
    74 0e                                    je    dead
    48 8b 44 24 50                           mov   80(%rsp),%rax
    48 8b 04 c1                              mov   (%rcx,%rax,8),%rax
    48 85 c0                                 test  %rax,%rax
    75 0c                                    jne   bound
    bf 7f 00 00 00                 dead:     mov   $127,%edi
    b8 e7 00 00 00                           mov   $231,%eax                   # exit_group
    0f 05                                    syscall
    48 89 44 24 50                 bound:    mov   %rax,80(%rsp)               # where to go, in place of the index
    41 5b                                    pop   %r11
    41 5a                                    pop   %r10
    41 59                                    pop   %r9
    41 58                                    pop   %r8
    5f                                       pop   %rdi
    5e                                       pop   %rsi
    5a                                       pop   %rdx
    59                                       pop   %rcx
    58                                       pop   %rax
    48 8d 64 24 08                           lea   8(%rsp),%rsp
    c3                                       ret
    55                             request:  push  %rbp                        # %eax: which; the arguments are those of the C function
    48 89 e5                                 mov   %rsp,%rbp
    53                                       push  %rbx
    41 54                                    push  %r12
    41 55                                    push  %r13
    41 56                                    push  %r14
    41 51                                    push  %r9
    41 50                                    push  %r8
    51                                       push  %rcx
    52                                       push  %rdx
    56                                       push  %rsi
    57                                       push  %rdi
    41 89 c4                                 mov   %eax,%r12d
    b8 ba 00 00 00                           mov   $186,%eax                   # gettid
    0f 05                                    syscall
    41 89 c5                                 mov   %eax,%r13d
    48 8b 1d 54 0e 00 00                     mov   start+0x1000(%rip),%rbx     # the shared memory
    44 89 e9                                 mov   %r13d,%ecx
    83 e1 7f                       slot:     and   $127,%ecx
    89 ca                                    mov   %ecx,%edx
    c1 e2 08                                 shl   $8,%edx
    4c 8d b4 13 00 10 00 00                  lea   0x1000(%rbx,%rdx),%r14
    31 c0                                    xor   %eax,%eax
    f0 45 0f b1 6e 04                        lock cmpxchg %r13d,4(%r14)
    74 06                                    je    mine
    ff c1                                    inc   %ecx
    f3 90                                    pause
    eb e0                                    jmp   slot
    4d 89 66 08                    mine:     mov   %r12,8(%r14)
    41 8f 46 10                              popq  16(%r14)
    41 8f 46 18                              popq  24(%r14)
    41 8f 46 20                              popq  32(%r14)
    41 8f 46 28                              popq  40(%r14)
    41 8f 46 30                              popq  48(%r14)
    41 8f 46 38                              popq  56(%r14)
    48 8b 45 08                              mov   8(%rbp),%rax
    49 89 46 40                              mov   %rax,64(%r14)
    49 89 6e 70                              mov   %rbp,112(%r14)
    b8 27 00 00 00                           mov   $39,%eax                    # getpid
    0f 05                                    syscall
    49 89 46 48                              mov   %rax,72(%r14)
    4d 89 6e 50                              mov   %r13,80(%r14)
    48 8b 05 fb 0d 00 00                     mov   start+0x1008(%rip),%rax     # the state this process is in
    49 89 46 58                              mov   %rax,88(%r14)
    83 7b 04 00                              cmpl  $0,4(%rbx)                  # the linker has said good-bye
    75 78                                    jne   lost
    41 c7 06 01 00 00 00           post:     movl  $1,(%r14)
    b8 01 00 00 00                           mov   $1,%eax
    f0 0f c1 03                              lock xadd %eax,(%rbx)
    25 ff 00 00 00                           and   $255,%eax
    4c 89 f1                                 mov   %r14,%rcx
    48 29 d9                                 sub   %rbx,%rcx
    c1 e9 08                                 shr   $8,%ecx
    89 8c 83 00 04 00 00                     mov   %ecx,0x400(%rbx,%rax,4)
    b8 ca 00 00 00                           mov   $202,%eax                   # futex(doorbell, FUTEX_WAKE, 1)
    48 89 df                                 mov   %rbx,%rdi
    be 01 00 00 00                           mov   $1,%esi
    ba 01 00 00 00                           mov   $1,%edx
    0f 05                                    syscall
    41 83 3e 01                    wait:     cmpl  $1,(%r14)
    0f 85 85 00 00 00                        jne   ready
    b8 ca 00 00 00                           mov   $202,%eax                   # futex(slot, FUTEX_WAIT, 1, 2 s)
    4c 89 f7                                 mov   %r14,%rdi
    31 f6                                    xor   %esi,%esi
    ba 01 00 00 00                           mov   $1,%edx
    4c 8d 15 d8 0d 00 00                     lea   start+0x1048(%rip),%r10
    0f 05                                    syscall
    83 f8 92                                 cmp   $-110,%eax                  # ETIMEDOUT
    75 d9                                    jne   wait
    83 7b 04 00                              cmpl  $0,4(%rbx)
    75 12                                    jne   lost
    b8 3e 00 00 00                           mov   $62,%eax                    # kill(linker, 0)
    48 8b 7b 08                              mov   8(%rbx),%rdi
    31 f6                                    xor   %esi,%esi
    0f 05                                    syscall
    83 f8 fd                                 cmp   $-3,%eax                    # ESRCH
    75 c1                                    jne   wait
    c7 43 04 ff ff ff ff           lost:     movl  $-1,4(%rbx)
    48 8d 0d e3 0d 00 00                     lea   start+0x1080(%rip),%rcx     # the functions of libc and ld.so themselves
    4e 8b 24 e1                              mov   (%rcx,%r12,8),%r12
    49 8b 7e 10                              mov   16(%r14),%rdi
    49 8b 76 18                              mov   24(%r14),%rsi
    49 8b 56 20                              mov   32(%r14),%rdx
    49 8b 4e 28                              mov   40(%r14),%rcx
    4d 8b 46 30                              mov   48(%r14),%r8
    4d 8b 4e 38                              mov   56(%r14),%r9
    45 31 db                                 xor   %r11d,%r11d
    44 89 e8                                 mov   %r13d,%eax
    f0 45 0f b1 5e 04                        lock cmpxchg %r11d,4(%r14)
    4d 89 e3                                 mov   %r12,%r11
    48 8d 65 e0                              lea   -32(%rbp),%rsp
    41 5e                                    pop   %r14
    41 5d                                    pop   %r13
    41 5c                                    pop   %r12
    5b                                       pop   %rbx
    5d                                       pop   %rbp
    31 c0                                    xor   %eax,%eax
    4d 85 db                                 test  %r11,%r11
    74 03                                    je    leave
    41 ff e3                                 jmp   *%r11
    c3                             leave:    ret
    49 8b 7e 60                    ready:    mov   96(%r14),%rdi
    48 85 ff                                 test  %rdi,%rdi
    74 05                                    je    nolist
    e8 39 00 00 00                           call  run
    41 83 7e 68 00                 nolist:   cmpl  $0,104(%r14)
    74 13                                    je    answer
    b8 ba 00 00 00                           mov   $186,%eax                   # gettid: a child that an initialiser forked stops here
    0f 05                                    syscall
    44 39 e8                                 cmp   %r13d,%eax
    0f 84 13 ff ff ff                        je    post                        # there is more to do
    41 89 c5                                 mov   %eax,%r13d
    4d 8b 66 70                    answer:   mov   112(%r14),%r12
    31 c9                          free:     xor   %ecx,%ecx
    44 89 e8                                 mov   %r13d,%eax
    f0 41 0f b1 4e 04                        lock cmpxchg %ecx,4(%r14)         # unless we are a child that was forked meanwhile
    4c 89 e0                                 mov   %r12,%rax
    48 8d 65 e0                              lea   -32(%rbp),%rsp
    41 5e                                    pop   %r14
    41 5d                                    pop   %r13
    41 5c                                    pop   %r12
    5b                                       pop   %rbx
    5d                                       pop   %rbp
    c3                                       ret
    53                             run:      push  %rbx                        # %rdi: the list
    48 89 fb                                 mov   %rdi,%rbx
    48 63 03                       next:     movslq (%rbx),%rax
    48 85 c0                                 test  %rax,%rax
    78 24                                    js    special
    48 8b 7b 08                              mov   8(%rbx),%rdi
    48 8b 73 10                              mov   16(%rbx),%rsi
    48 8b 53 18                              mov   24(%rbx),%rdx
    4c 8b 53 20                              mov   32(%rbx),%r10
    4c 8b 43 28                              mov   40(%rbx),%r8
    4c 8b 4b 30                              mov   48(%rbx),%r9
    0f 05                                    syscall
    48 89 43 38                              mov   %rax,56(%rbx)
    48 83 c3 40                    step:     add   $64,%rbx
    eb d4                                    jmp   next
    48 ff c0                       special:  inc   %rax
    74 32                                    je    done                        # -1: the end
    48 ff c0                                 inc   %rax
    74 10                                    je    invoke                      # -2: a function
    48 8b 43 10                              mov   16(%rbx),%rax               # -3: a word from one place to another
    48 8b 00                                 mov   (%rax),%rax
    48 8b 4b 08                              mov   8(%rbx),%rcx
    48 89 01                                 mov   %rax,(%rcx)
    eb e0                                    jmp   step
    48 8b 7b 10                    invoke:   mov   16(%rbx),%rdi
    48 8b 73 18                              mov   24(%rbx),%rsi
    48 8b 53 20                              mov   32(%rbx),%rdx
    48 8b 4b 28                              mov   40(%rbx),%rcx
    4c 8b 43 30                              mov   48(%rbx),%r8
    ff 53 08                                 call  *8(%rbx)
    48 89 43 38                              mov   %rax,56(%rbx)
    eb c3                                    jmp   step
    5b                             done:     pop   %rbx
    c3                                       ret
    53                             iterate:  push  %rbx                        # int dl_iterate_phdr(callback, data)
    41 54                                    push  %r12
    41 55                                    push  %r13
    41 56                                    push  %r14
    48 83 ec 48                              sub   $72,%rsp
    49 89 fc                                 mov   %rdi,%r12
    49 89 f5                                 mov   %rsi,%r13
    48 8b 1d 81 0c 00 00                     mov   start+0x1028(%rip),%rbx
    4c 8b 33                                 mov   (%rbx),%r14                 # number of entries, then the entries
    48 83 c3 40                    each:     add   $64,%rbx
    49 ff ce                                 dec   %r14
    78 52                                    js    rest
    48 89 e7                                 mov   %rsp,%rdi
    48 89 de                                 mov   %rbx,%rsi
    b9 08 00 00 00                           mov   $8,%ecx
    f3 48 a5                                 rep   movsq
    48 8b 05 68 0c 00 00                     mov   start+0x1030(%rip),%rax     # dlpi_adds
    48 89 44 24 20                           mov   %rax,32(%rsp)
    48 8b 05 64 0c 00 00                     mov   start+0x1038(%rip),%rax     # dlpi_subs
    48 89 44 24 28                           mov   %rax,40(%rsp)
    48 8b 44 24 38                           mov   56(%rsp),%rax               # dlpi_tls_data: the table has its distance from the thread pointer
    48 85 c0                                 test  %rax,%rax
    74 0e                                    je    plain
    64 48 03 04 25 00 00 00 00               add   %fs:0,%rax
    48 89 44 24 38                           mov   %rax,56(%rsp)
    48 89 e7                       plain:    mov   %rsp,%rdi
    be 40 00 00 00                           mov   $64,%esi
    4c 89 ea                                 mov   %r13,%rdx
    41 ff d4                                 call  *%r12
    85 c0                                    test  %eax,%eax
    75 23                                    jne   over
    eb a5                                    jmp   each
    48 8b 05 34 0c 00 00           rest:     mov   start+0x1040(%rip),%rax     # ld.so's: what it has loaded on its own
    48 85 c0                                 test  %rax,%rax
    74 15                                    je    over
    4c 89 24 24                              mov   %r12,(%rsp)
    4c 89 6c 24 08                           mov   %r13,8(%rsp)
    48 8d 3d 11 00 00 00                     lea   filter(%rip),%rdi
    48 89 e6                                 mov   %rsp,%rsi
    ff d0                                    call  *%rax
    48 83 c4 48                    over:     add   $72,%rsp
    41 5e                                    pop   %r14
    41 5d                                    pop   %r13
    41 5c                                    pop   %r12
    5b                                       pop   %rbx
    c3                                       ret
    48 8b 07                       filter:   mov   (%rdi),%rax                 # (info, size, the caller's callback and data): dlpi_addr
    4c 8b 05 1c 0c 00 00                     mov   start+0x1058(%rip),%r8      # bases of what is not to be told twice, or not at all
    49 8b 08                                 mov   (%r8),%rcx
    49 83 c0 08                    other:    add   $8,%r8
    48 ff c9                                 dec   %rcx
    78 08                                    js    unknown
    49 3b 00                                 cmp   (%r8),%rax
    75 f2                                    jne   other
    31 c0                                    xor   %eax,%eax
    c3                                       ret
    48 8b 02                       unknown:  mov   (%rdx),%rax
    48 8b 52 08                              mov   8(%rdx),%rdx
    ff e0                                    jmp   *%rax
    48 8b 05 b8 0b 00 00           find:     mov   start+0x1018(%rip),%rax     # int _dl_find_object(pc, result)
    48 8b 08                                 mov   (%rax),%rcx                 # number of entries, then: start, end, .eh_frame_hdr, link_map
    48 83 c0 20                    test:     add   $32,%rax
    48 ff c9                                 dec   %rcx
    78 34                                    js    miss
    48 3b 38                                 cmp   (%rax),%rdi
    72 f2                                    jb    test
    48 3b 78 08                              cmp   8(%rax),%rdi
    73 ec                                    jae   test
    48 c7 06 00 00 00 00                     movq  $0,(%rsi)
    48 8b 10                                 mov   (%rax),%rdx
    48 89 56 08                              mov   %rdx,8(%rsi)
    48 8b 50 08                              mov   8(%rax),%rdx
    48 89 56 10                              mov   %rdx,16(%rsi)
    48 8b 50 18                              mov   24(%rax),%rdx
    48 89 56 18                              mov   %rdx,24(%rsi)
    48 8b 50 10                              mov   16(%rax),%rdx
    48 89 56 20                              mov   %rdx,32(%rsi)
    31 c0                                    xor   %eax,%eax
    c3                                       ret
    48 8b 05 79 0b 00 00           miss:     mov   start+0x1020(%rip),%rax     # ld.so's
    48 85 c0                                 test  %rax,%rax
    74 02                                    je    nothing
    ff e0                                    jmp   *%rax
    b8 ff ff ff ff                 nothing:  mov   $-1,%eax
    c3                                       ret
"""

# fmt: on

LIVE = Stub(TEXT)


def labels(text: str) -> dict[str, int]:
    """Where each label of a stub's text is, in bytes from its start."""
    found: dict[str, int] = {}
    at = 0
    for line in text.splitlines():
        left, _, right = line.strip().partition("  ")
        name, colon, _ = right.strip().partition(":")
        if colon and name.isidentifier():
            found[name] = at
        at += len(bytes.fromhex(left))
    return found


LABELS = labels(TEXT)
