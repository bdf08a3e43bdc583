"""The machine code of a frozen image, x86-64: what happens between ld.so's part and the program's first instruction.

``START`` is the image's entry point. It works off a plan: steps of (what, how many rows, where they are), made by
``frozen/startup.py``. All addresses in it are offsets from the image's beginning, so that it may stand anywhere. As C:

    finish    jump to the program's _start, with the registers as ld.so left them
    guard     stat(path): another inode, size or change time than when the image was made -> stale
    env       LD_PRELOAD and the like have a value that they did not have then -> stale
    protect   mprotect(address, size, protection)
    zero      mmap(address, size): anonymous memory, for a large .bss
    file      open(path), compare as guard does, map parts of the file, close
    relr      add the load bias to words, as DT_RELR lists them
    shift     add it to single words, which need not be aligned
    resolve   *place = resolver() + addend                 (IFUNCs)
    move      *place = *source + addend                    (what ld.so has bound in the image's own table)
    names     append names to the program's link_map, so that dlopen("libfoo.so.1") finds what is in the image; where that
              does not look as it should -> stale: a library would run twice
    call      function(argc, argv, envp)                   (initialisers)

and when it is *stale*, or a step fails, the original program is executed instead: execve(path, argv, envp); unless that
is the image, put in the original's place.

``SERVICES`` stands between the image's modules and libc's dlsym and dladdr, which take all of them for one:

    void *dlsym(handle, name)          RTLD_NEXT: the first definition in a module after the caller's; else libc's
    int dladdr(address, info)          as libc's, but with the file name and base of the module the address is in
    readlink, open, realpath, ...      "/proc/self/exe" is the original program

Offsets into struct stat are those of <asm/stat.h>; those into struct link_map (l_real, l_ns, l_libname) are glibc's since
2.26 and are checked before they are believed.
"""

from __future__ import annotations

from rtld.arch.base import Stub
from rtld.arch.x86_64_live import labels
from rtld.core.terms import A, P, S

# fmt: off
#: The numbers of the steps.
FINISH, GUARD, ENV, PROTECT, ZERO, FILE, RELR, RESOLVE, MOVE, NAMES, CALL, SHIFT = range(12)

START = Stub("""
    49 89 e7              start:    mov    %rsp,%r15                   # argc, argv, envp
    49 89 d6                        mov    %rdx,%r14                   # ld.so's termination function
    48 81 ec a0 00 00 00            sub    $160,%rsp                   # struct stat
    48 8d 1d 00 00 00 00            lea    image(%rip),%rbx
    4c 8d 25 00 00 00 00            lea    plan(%rip),%r12
    41 8b 04 24           next:     mov    (%r12),%eax                 # {u32 step, u32 count, u64 rows}
    45 8b 6c 24 04                  mov    4(%r12),%r13d
    49 8b 6c 24 08                  mov    8(%r12),%rbp
    48 01 dd                        add    %rbx,%rbp
    49 83 c4 10                     add    $16,%r12
    48 8d 0d 09 00 00 00            lea    steps(%rip),%rcx
    48 63 04 81                     movslq (%rcx,%rax,4),%rax
    48 01 c8                        add    %rcx,%rax
    ff e0                           jmp    *%rax
    01 03 00 00           steps:    .long  finish-steps
    30 00 00 00                     .long  guard-steps
    92 00 00 00                     .long  env-steps
    fc 00 00 00                     .long  protect-steps
    28 01 00 00                     .long  zero-steps
    66 01 00 00                     .long  file-steps
    ea 01 00 00                     .long  relr-steps
    29 02 00 00                     .long  resolve-steps
    4c 02 00 00                     .long  move-steps
    6e 02 00 00                     .long  names-steps
    c8 02 00 00                     .long  call-steps
    eb 02 00 00                     .long  shift-steps
    48 8b 7d 00           guard:    mov    (%rbp),%rdi                 # {path, st_ino, st_size, st_ctim}
    48 01 df                        add    %rbx,%rdi
    48 89 e6                        mov    %rsp,%rsi
    b8 04 00 00 00                  mov    $4,%eax                     # stat
    0f 05                           syscall
    e8 0b 00 00 00                  call   same
    48 83 c5 28                     add    $40,%rbp
    41 ff cd                        dec    %r13d
    75 e1                           jne    guard
    eb 8a                           jmp    next
    85 c0                 same:     test   %eax,%eax
    0f 85 b5 02 00 00               jne    stale
    48 8b 45 08                     mov    8(%rbp),%rax
    48 3b 46 08                     cmp    8(%rsi),%rax                # st_ino
    0f 85 a7 02 00 00               jne    stale
    48 8b 45 10                     mov    16(%rbp),%rax
    48 3b 46 30                     cmp    48(%rsi),%rax               # st_size
    0f 85 99 02 00 00               jne    stale
    48 8b 45 18                     mov    24(%rbp),%rax
    48 3b 46 68                     cmp    104(%rsi),%rax              # st_ctim.tv_sec
    0f 85 8b 02 00 00               jne    stale
    48 8b 45 20                     mov    32(%rbp),%rax
    48 3b 46 70                     cmp    112(%rsi),%rax              # st_ctim.tv_nsec
    0f 85 7d 02 00 00               jne    stale
    c3                              ret
    49 8b 07              env:      mov    (%r15),%rax                 # {"NAME=", its length, value that is allowed or 0}
    4d 8d 44 c7 10                  lea    16(%r15,%rax,8),%r8
    49 8b 10              var:      mov    (%r8),%rdx
    49 83 c0 08                     add    $8,%r8
    48 85 d2                        test   %rdx,%rdx
    0f 84 31 ff ff ff               je     next
    66 81 3a 4c 44                  cmpw   $0x444c,(%rdx)              # "LD"
    75 e9                           jne    var
    49 89 e9                        mov    %rbp,%r9
    45 89 ea                        mov    %r13d,%r10d
    49 8b 31              name:     mov    (%r9),%rsi
    48 01 de                        add    %rbx,%rsi
    48 89 d7                        mov    %rdx,%rdi
    49 8b 49 08                     mov    8(%r9),%rcx
    f3 a6                           repe cmpsb
    75 29                           jne    other
    80 3f 00                        cmpb   $0,(%rdi)
    74 24                           je     other
    49 8b 71 10                     mov    16(%r9),%rsi
    48 85 f6                        test   %rsi,%rsi
    0f 84 34 02 00 00               je     stale
    48 01 de                        add    %rbx,%rsi
    8a 07                 value:    mov    (%rdi),%al
    3a 06                           cmp    (%rsi),%al
    0f 85 27 02 00 00               jne    stale
    48 ff c7                        inc    %rdi
    48 ff c6                        inc    %rsi
    84 c0                           test   %al,%al
    75 ec                           jne    value
    49 83 c1 18           other:    add    $24,%r9
    41 ff ca                        dec    %r10d
    75 bd                           jne    name
    eb 9e                           jmp    var
    48 8b 7d 00           protect:  mov    (%rbp),%rdi                 # {address, size, PROT_*}
    48 01 df                        add    %rbx,%rdi
    48 8b 75 08                     mov    8(%rbp),%rsi
    48 8b 55 10                     mov    16(%rbp),%rdx
    b8 0a 00 00 00                  mov    $10,%eax                    # mprotect
    0f 05                           syscall
    85 c0                           test   %eax,%eax
    0f 85 f4 01 00 00               jne    stale
    48 83 c5 18                     add    $24,%rbp
    41 ff cd                        dec    %r13d
    75 d9                           jne    protect
    e9 b3 fe ff ff                  jmp    next
    48 8b 7d 00           zero:     mov    (%rbp),%rdi                 # {address, size}
    48 01 df                        add    %rbx,%rdi
    48 8b 75 08                     mov    8(%rbp),%rsi
    ba 03 00 00 00                  mov    $3,%edx
    41 ba 32 00 00 00               mov    $0x32,%r10d                 # MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS
    49 83 c8 ff                     or     $-1,%r8
    45 31 c9                        xor    %r9d,%r9d
    b8 09 00 00 00                  mov    $9,%eax                     # mmap
    0f 05                           syscall
    48 3d 00 f0 ff ff               cmp    $-4096,%rax
    0f 87 b6 01 00 00               ja     stale
    48 83 c5 10                     add    $16,%rbp
    41 ff cd                        dec    %r13d
    75 c7                           jne    zero
    e9 75 fe ff ff                  jmp    next
    48 8b 7d 00           file:     mov    (%rbp),%rdi                 # {path, st_ino, st_size, st_ctim, maps}, then maps of
    48 01 df                        add    %rbx,%rdi                   # {address, size, PROT_*, offset}
    be 00 00 08 00                  mov    $0x80000,%esi               # O_RDONLY | O_CLOEXEC
    b8 02 00 00 00                  mov    $2,%eax                     # open
    0f 05                           syscall
    85 c0                           test   %eax,%eax
    0f 88 8d 01 00 00               js     stale
    41 89 c0                        mov    %eax,%r8d
    89 c7                           mov    %eax,%edi
    48 89 e6                        mov    %rsp,%rsi
    b8 05 00 00 00                  mov    $5,%eax                     # fstat
    0f 05                           syscall
    e8 bc fe ff ff                  call   same
    4c 8b 5d 28                     mov    40(%rbp),%r11
    48 83 c5 30                     add    $48,%rbp
    41 53                 map:      push   %r11
    48 8b 7d 00                     mov    (%rbp),%rdi
    48 01 df                        add    %rbx,%rdi
    48 8b 75 08                     mov    8(%rbp),%rsi
    48 8b 55 10                     mov    16(%rbp),%rdx
    41 ba 12 00 00 00               mov    $0x12,%r10d                 # MAP_PRIVATE | MAP_FIXED
    4c 8b 4d 18                     mov    24(%rbp),%r9
    b8 09 00 00 00                  mov    $9,%eax                     # mmap
    0f 05                           syscall
    48 3d 00 f0 ff ff               cmp    $-4096,%rax
    0f 87 43 01 00 00               ja     stale
    48 83 c5 20                     add    $32,%rbp
    41 5b                           pop    %r11
    49 ff cb                        dec    %r11
    75 c7                           jne    map
    44 89 c7                        mov    %r8d,%edi
    b8 03 00 00 00                  mov    $3,%eax                     # close
    0f 05                           syscall
    41 ff cd                        dec    %r13d
    75 81                           jne    file
    e9 f1 fd ff ff                  jmp    next
    48 8b 45 00           relr:     mov    (%rbp),%rax                 # DT_RELR's words
    48 83 c5 08                     add    $8,%rbp
    a8 01                           test   $1,%al
    75 0d                           jne    bits
    48 8d 3c 03                     lea    (%rbx,%rax),%rdi
    48 01 1f                        add    %rbx,(%rdi)
    48 83 c7 08                     add    $8,%rdi
    eb 1c                           jmp    done
    48 89 f9              bits:     mov    %rdi,%rcx
    48 d1 e8              bit:      shr    $1,%rax
    74 0d                           je     last
    a8 01                           test   $1,%al
    74 03                           je     skip
    48 01 19                        add    %rbx,(%rcx)
    48 83 c1 08           skip:     add    $8,%rcx
    eb ee                           jmp    bit
    48 81 c7 f8 01 00 00  last:     add    $504,%rdi
    41 ff cd              done:     dec    %r13d
    75 c6                           jne    relr
    e9 b2 fd ff ff                  jmp    next
    48 8b 45 08           resolve:  mov    8(%rbp),%rax                # {place, resolver, addend}
    48 01 d8                        add    %rbx,%rax
    ff d0                           call   *%rax
    48 03 45 10                     add    16(%rbp),%rax
    48 8b 4d 00                     mov    (%rbp),%rcx
    48 89 04 0b                     mov    %rax,(%rbx,%rcx)
    48 83 c5 18                     add    $24,%rbp
    41 ff cd                        dec    %r13d
    75 e2                           jne    resolve
    e9 8f fd ff ff                  jmp    next
    48 8b 45 00           move:     mov    (%rbp),%rax                 # {source, place, addend}
    48 8b 04 03                     mov    (%rbx,%rax),%rax
    48 03 45 10                     add    16(%rbp),%rax
    48 8b 4d 08                     mov    8(%rbp),%rcx
    48 89 04 0b                     mov    %rax,(%rbx,%rcx)
    48 83 c5 18                     add    $24,%rbp
    41 ff cd                        dec    %r13d
    75 e3                           jne    move
    e9 6d fd ff ff                  jmp    next
    48 8b 45 00           names:    mov    (%rbp),%rax                 # {place of DT_DEBUG's value, first struct libname_list}
    48 8b 04 03                     mov    (%rbx,%rax),%rax
    48 85 c0                        test   %rax,%rax
    0f 84 8f 00 00 00               je     stale
    48 8b 40 08                     mov    8(%rax),%rax                # r_map
    48 85 c0                        test   %rax,%rax
    0f 84 82 00 00 00               je     stale
    48 39 40 28                     cmp    %rax,40(%rax)               # l_real
    75 7c                           jne    stale
    48 83 78 30 00                  cmpq   $0,48(%rax)                 # l_ns
    75 75                           jne    stale
    48 8b 40 38                     mov    56(%rax),%rax               # l_libname
    48 85 c0                        test   %rax,%rax
    74 6c                           je     stale
    48 8b 08                        mov    (%rax),%rcx
    80 39 00                        cmpb   $0,(%rcx)
    75 64                           jne    stale
    48 8b 48 08           end:      mov    8(%rax),%rcx
    48 85 c9                        test   %rcx,%rcx
    74 05                           je     append
    48 89 c8                        mov    %rcx,%rax
    eb f2                           jmp    end
    48 8b 4d 08           append:   mov    8(%rbp),%rcx
    48 01 d9                        add    %rbx,%rcx
    48 89 48 08                     mov    %rcx,8(%rax)
    e9 13 fd ff ff                  jmp    next
    48 8b 45 00           call:     mov    (%rbp),%rax                 # {function}
    48 01 d8                        add    %rbx,%rax
    41 8b 3f                        mov    (%r15),%edi
    49 8d 77 08                     lea    8(%r15),%rsi
    48 8d 54 fe 08                  lea    8(%rsi,%rdi,8),%rdx
    ff d0                           call   *%rax
    48 83 c5 08                     add    $8,%rbp
    41 ff cd                        dec    %r13d
    75 e2                           jne    call
    e9 f0 fc ff ff                  jmp    next
    48 8b 45 00           shift:    mov    (%rbp),%rax                 # {place}
    48 01 1c 03                     add    %rbx,(%rbx,%rax)
    48 83 c5 08                     add    $8,%rbp
    41 ff cd                        dec    %r13d
    75 ef                           jne    shift
    e9 da fc ff ff                  jmp    next
    48 89 e8              finish:   mov    %rbp,%rax                   # rows: the program's _start
    4c 89 f2                        mov    %r14,%rdx
    4c 89 fc                        mov    %r15,%rsp
    31 ed                           xor    %ebp,%ebp
    ff e0                           jmp    *%rax
    48 8d 3d 00 00 00 00  stale:    lea    program(%rip),%rdi
    49 8d b7 60 ff ff ff            lea    -160(%r15),%rsi
    b8 04 00 00 00                  mov    $4,%eax                     # stat
    0f 05                           syscall
    4d 8b 87 60 ff ff ff            mov    -160(%r15),%r8              # st_dev
    4d 8b 8f 68 ff ff ff            mov    -152(%r15),%r9              # st_ino
    48 8d 3d 00 00 00 00            lea    self(%rip),%rdi
    b8 04 00 00 00                  mov    $4,%eax
    0f 05                           syscall
    4d 39 87 60 ff ff ff            cmp    %r8,-160(%r15)
    75 09                           jne    run
    4d 39 8f 68 ff ff ff            cmp    %r9,-152(%r15)
    74 1a                           je     never                       # the image itself: it would come here again and again
    48 8d 3d 00 00 00 00  run:      lea    program(%rip),%rdi
    49 8d 77 08                     lea    8(%r15),%rsi
    49 8b 07                        mov    (%r15),%rax
    48 8d 54 c6 08                  lea    8(%rsi,%rax,8),%rdx
    b8 3b 00 00 00                  mov    $59,%eax                    # execve
    0f 05                           syscall
    bf 02 00 00 00        never:    mov    $2,%edi
    48 8d 35 00 00 00 00            lea    message(%rip),%rsi
    ba 00 00 00 00                  mov    $length,%edx
    b8 01 00 00 00                  mov    $1,%eax                     # write
    0f 05                           syscall
    bf 7f 00 00 00                  mov    $127,%edi
    b8 e7 00 00 00                  mov    $231,%eax                   # exit_group
    0f 05                           syscall
    """,
    holes={
        "image":    (0x010, S + A - P),
        "plan":     (0x017, S + A - P),
        "original": (0x351, S + A - P),
        "self":     (0x374, S + A - P),
        "program":  (0x394, S + A - P),
        "message":  (0x3b3, S + A - P),
        "length":   (0x3b8, S),
    },
)

_SERVICES = """
    48 83 ff ff              dlsym:    cmp    $-1,%rdi                    # RTLD_NEXT
    74 05                              je     next
    e9 00 00 00 00                     jmp    dlsym_real
    48 8b 14 24              next:     mov    (%rsp),%rdx                 # who asks
    e8 c3 00 00 00                     call   which
    4d 85 c9                           test   %r9,%r9
    0f 84 b5 00 00 00                  je     real
    53                                 push   %rbx
    55                                 push   %rbp
    41 54                              push   %r12
    b8 05 15 00 00                     mov    $5381,%eax
    48 89 f2                           mov    %rsi,%rdx
    44 0f b6 12              char:     movzbl (%rdx),%r10d
    45 85 d2                           test   %r10d,%r10d
    74 0b                              je     hashed
    6b c0 21                           imul   $33,%eax,%eax
    44 01 d0                           add    %r10d,%eax
    48 ff c2                           inc    %rdx
    eb ec                              jmp    char
    4c 8d 0d 00 00 00 00     hashed:   lea    names(%rip),%r9             # {u64 count, u32 hashes[], then {name, address, u32 module, u32 type}}
    4d 8b 11                           mov    (%r9),%r10
    49 83 c1 08                        add    $8,%r9
    4e 8d 1c 95 07 00 00 00            lea    7(,%r10,4),%r11
    49 83 e3 f8                        and    $-8,%r11
    4d 01 cb                           add    %r9,%r11
    31 ff                              xor    %edi,%edi
    4c 89 d2                           mov    %r10,%rdx
    48 39 d7                 half:     cmp    %rdx,%rdi
    73 18                              jae    try
    48 8d 1c 17                        lea    (%rdi,%rdx),%rbx
    48 d1 eb                           shr    $1,%rbx
    41 39 04 99                        cmp    %eax,(%r9,%rbx,4)
    73 06                              jae    left
    48 8d 7b 01                        lea    1(%rbx),%rdi
    eb e8                              jmp    half
    48 89 da                 left:     mov    %rbx,%rdx
    eb e3                              jmp    half
    4c 39 d7                 try:      cmp    %r10,%rdi
    73 49                              jae    missing
    41 39 04 b9                        cmp    %eax,(%r9,%rdi,4)
    75 43                              jne    missing
    48 8d 14 7f                        lea    (%rdi,%rdi,2),%rdx
    49 8d 14 d3                        lea    (%r11,%rdx,8),%rdx
    48 ff c7                           inc    %rdi
    39 4a 10                           cmp    %ecx,16(%rdx)
    76 e5                              jbe    try                         # not after the one that asks
    48 8b 1a                           mov    (%rdx),%rbx
    4c 01 c3                           add    %r8,%rbx
    48 89 f5                           mov    %rsi,%rbp
    44 8a 23                 same:     mov    (%rbx),%r12b
    44 3a 65 00                        cmp    (%rbp),%r12b
    75 d3                              jne    try
    48 ff c3                           inc    %rbx
    48 ff c5                           inc    %rbp
    45 84 e4                           test   %r12b,%r12b
    75 ec                              jne    same
    48 8b 42 08                        mov    8(%rdx),%rax
    4c 01 c0                           add    %r8,%rax
    8b 52 14                           mov    20(%rdx),%edx
    41 5c                              pop    %r12
    5d                                 pop    %rbp
    5b                                 pop    %rbx
    83 fa 0a                           cmp    $10,%edx                    # STT_GNU_IFUNC
    74 01                              je     resolve
    c3                                 ret
    ff e0                    resolve:  jmp    *%rax
    41 5c                    missing:  pop    %r12
    5d                                 pop    %rbp
    5b                                 pop    %rbx
    48 83 cf ff                        or     $-1,%rdi
    e9 00 00 00 00           real:     jmp    dlsym_real
    4c 8d 05 00 00 00 00     which:    lea    image(%rip),%r8             # %rdx: an address -> %r9: its module's row or 0, %ecx: number
    4c 29 c2                           sub    %r8,%rdx
    4c 8d 0d 00 00 00 00               lea    modules(%rip),%r9           # {u64 count, {start, end, path, base}[]}
    4d 8b 11                           mov    (%r9),%r10
    49 83 c1 08                        add    $8,%r9
    31 c9                              xor    %ecx,%ecx
    49 3b 11                 row:      cmp    (%r9),%rdx
    72 06                              jb     another
    49 3b 51 08                        cmp    8(%r9),%rdx
    72 0e                              jb     found
    49 83 c1 20              another:  add    $32,%r9
    ff c1                              inc    %ecx
    4c 39 d1                           cmp    %r10,%rcx
    72 ea                              jb     row
    45 31 c9                           xor    %r9d,%r9d
    c3                       found:    ret
    53                       dladdr:   push   %rbx
    41 54                              push   %r12
    48 83 ec 08                        sub    $8,%rsp
    48 89 fb                           mov    %rdi,%rbx
    49 89 f4                           mov    %rsi,%r12
    e8 00 00 00 00                     call   dladdr_real
    eb 12                              jmp    place
    53                       dladdr1:  push   %rbx
    41 54                              push   %r12
    48 83 ec 08                        sub    $8,%rsp
    48 89 fb                           mov    %rdi,%rbx
    49 89 f4                           mov    %rsi,%r12
    e8 00 00 00 00                     call   dladdr1_real
    85 c0                    place:    test   %eax,%eax
    74 41                              je     out
    48 89 da                           mov    %rbx,%rdx
    e8 9a ff ff ff                     call   which
    4d 85 c9                           test   %r9,%r9
    74 34                              je     out
    85 c9                              test   %ecx,%ecx
    74 30                              je     out                         # the program itself: ld.so knows its name
    49 8b 51 10                        mov    16(%r9),%rdx
    4c 01 c2                           add    %r8,%rdx
    49 89 14 24                        mov    %rdx,(%r12)                 # dli_fname
    49 8b 51 18                        mov    24(%r9),%rdx
    4c 01 c2                           add    %r8,%rdx
    49 89 54 24 08                     mov    %rdx,8(%r12)                # dli_fbase
    49 8b 54 24 18                     mov    24(%r12),%rdx               # dli_saddr
    4c 29 c2                           sub    %r8,%rdx
    49 3b 11                           cmp    (%r9),%rdx
    73 0c                              jae    out
    31 d2                              xor    %edx,%edx                   # another module's
    49 89 54 24 10                     mov    %rdx,16(%r12)
    49 89 54 24 18                     mov    %rdx,24(%r12)
    48 83 c4 08              out:      add    $8,%rsp
    41 5c                              pop    %r12
    5b                                 pop    %rbx
    c3                                 ret
    48 85 ff                 itself:   test   %rdi,%rdi                   # is %rdi "/proc/self/exe"? No register but %r10, %r11 changes
    74 1e                              je     unlike
    45 31 d2                           xor    %r10d,%r10d
    4c 8d 1d 00 00 00 00     letter:   lea    self(%rip),%r11
    47 0f b6 1c 13                     movzbl (%r11,%r10),%r11d
    46 38 1c 17                        cmp    %r11b,(%rdi,%r10)
    75 08                              jne    differs
    49 ff c2                           inc    %r10
    45 85 db                           test   %r11d,%r11d
    75 e6                              jne    letter
    c3                       differs:  ret
    48 85 e4                 unlike:   test   %rsp,%rsp
    c3                                 ret
    e8 d4 ff ff ff           readlink: call   itself
    74 05                              je     copy
    e9 00 00 00 00                     jmp    readlink_real
    4c 8d 15 00 00 00 00     copy:     lea    original(%rip),%r10         # %rsi: where to, %rdx: how much room
    31 c0                              xor    %eax,%eax
    48 39 d0                 more:     cmp    %rdx,%rax
    73 10                              jae    full
    41 8a 0c 02                        mov    (%r10,%rax),%cl
    84 c9                              test   %cl,%cl
    74 08                              je     full
    88 0c 06                           mov    %cl,(%rsi,%rax)
    48 ff c0                           inc    %rax
    eb eb                              jmp    more
    c3                       full:     ret
    48 87 fe                 readlinkat: xchg %rdi,%rsi
    e8 a6 ff ff ff                     call   itself
    48 87 fe                           xchg   %rdi,%rsi
    75 08                              jne    other
    48 89 d6                           mov    %rdx,%rsi
    48 89 ca                           mov    %rcx,%rdx
    eb cc                              jmp    copy
    e9 00 00 00 00           other:    jmp    readlinkat_real
    """

SERVICES = Stub(
    _SERVICES,
    holes={
        "dlsym":   (0x007, S + A - P),
        "names":   (0x040, S + A - P),
        "again":   (0x0D3, S + A - P),
        "image":   (0x0DA, S + A - P),
        "modules": (0x0E4, S + A - P),
        "dladdr":  (0x119, S + A - P),
        "dladdr1": (0x12D, S + A - P),
        "self": (0x189, S + A - P),
        "readlink": (0x1AD, S + A - P),
        "original": (0x1B4, S + A - P),
        "readlinkat": (0x1E6, S + A - P),
    },
)
#: Where each of SERVICES begins, in bytes, by the name of the function that it stands for.
_LABELS = labels(_SERVICES)
ITSELF = _LABELS["itself"]
ENTRIES = {name: _LABELS[name] for name in ("dlsym", "dladdr", "dladdr1", "readlink", "readlinkat")}
ENTRIES["__readlink_chk"] = _LABELS["readlink"]

#: Before a function of libc whose first argument is a path: "/proc/self/exe" becomes the original program's.
REDIRECT = Stub("""
    e8 00 00 00 00                  call   itself
    75 07                           jne    go
    48 8d 3d 00 00 00 00            lea    original(%rip),%rdi
    e9 00 00 00 00        go:       jmp    real
    """,
    holes={
        "itself":   (0x001, S + A - P),
        "original": (0x00A, S + A - P),
        "real":     (0x00F, S + A - P),
    },
)
REDIRECTED = frozenset(
    ["open", "open64", "__open_2", "__open64_2", "fopen", "fopen64", "realpath", "__realpath_chk", "canonicalize_file_name", "stat", "stat64", "access"]
)

#: A function of the platform's libc, by way of its slot in the import table. 8 bytes, so that they form an array.
TRAMPOLINE = Stub("""
    ff 25 00 00 00 00   jmp  *slot(%rip)
    66 90               xchg %ax,%ax
    """,
    holes={"slot": (2, S + A - P)},
)

#: Of programs that bind lazily: what a slot leads to until its function is bound. The first is as PLT0 of the psABI.
LAZY_FIRST = Stub("""
    ff 35 00 00 00 00   push map(%rip)
    ff 25 00 00 00 00   jmp  *resolver(%rip)
    0f 1f 40 00         .byte 0x0f, 0x1f, 0x40, 0
    """,
    holes={"map": (2, S + A - P), "resolver": (8, S + A - P)},
)
LAZY = Stub("""
    68 00 00 00 00      push $number
    e9 00 00 00 00      jmp  first
    66 0f 1f 44 00 00   .byte 0x66, 0x0f, 0x1f, 0x44, 0, 0
    """,
    holes={"number": (1, S), "first": (6, S + A - P)},
)

#: Of many libraries the only termination function: __cxa_finalize(&__dso_handle).
FINALIZE = Stub("""
    48 8d 3d 00 00 00 00   lea  handle(%rip),%rdi
    e9 00 00 00 00         jmp  finalize
    0f 1f 40 00            .byte 0x0f, 0x1f, 0x40, 0
    """,
    holes={"handle": (3, S + A - P), "finalize": (8, S + A - P)},
)

#: What a function that nobody defines leads to: says so and exits as ld.so does.
UNDEFINED = Stub("""
    bf 02 00 00 00         mov    $2,%edi
    48 8d 35 00 00 00 00   lea    message(%rip),%rsi
    ba 00 00 00 00         mov    $length,%edx
    b8 01 00 00 00         mov    $1,%eax             # write
    0f 05                  syscall
    bf 7f 00 00 00         mov    $127,%edi
    b8 e7 00 00 00         mov    $231,%eax           # exit_group
    0f 05                  syscall
    """,
    holes={"message": (8, S + A - P), "length": (13, S)},
)
# fmt: on
