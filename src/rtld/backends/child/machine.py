"""The machine code that runs inside a process we have started, for x86-64 and i386.

`calls.py` is the other side: it writes the lists that this code works off.  A list is 64-byte records

    +0  number (32 bits)   +8 +16 +24 +32 +40 +48  arguments   +56  result

A number below zero is one of the operations in `calls.py`; the fields of a record, and of every later one, can be
changed by an earlier one, so an address that only the kernel knows can be passed on.  If the result field holds a
pointer beforehand, the call must succeed: if it does not, the list at that pointer is worked off instead, and its
first record gets the address of the failed one as second argument.  As C:

    for (r = list;; r++) {
        if (r->number < 0) switch (r->number) { ... }
        else {
            failure = r->result;
            r->result = syscall(r->number, r->a[0], ..., r->a[5]);
            if ((unsigned long) r->result >= -4095UL && failure) { failure->a[1] = r; r = failure - 1; }
        }
    }

ENTRY is the start of a process: it copies the image it stands in to the anonymous pages behind (the file must not be
mapped when /proc/self/exe is changed: PR_SET_MM_MAP in prctl(2)), and notes what the kernel put on the stack (psABI
3.4.1) in the state block.  It runs on into LOOP.  Neither depends on its address.  i386 has no register to spare, so
there the stack pointer walks the list.

GO leaves: it sets the stack pointer and all other registers as the kernel does for a new program (they are 0), and jumps.
So that no page of ours is left it jumps by way of a `syscall` or `int $0x80` in the kernel's vdso, which does the last munmap.
"""

from __future__ import annotations

from rtld.arch.base import Stub

# fmt: off
X86_64_ENTRY = Stub("""
    48 8d 35 39 ff ff ff       start:    lea   start-0xc0(%rip),%rsi   # the image: this code stands at offset 0xc0
    48 8b 4e 60                          mov   96(%rsi),%rcx           # p_filesz of the first program header
    48 8d 3c 0e                          lea   (%rsi,%rcx),%rdi
    48 89 fb                             mov   %rdi,%rbx
    f3 a4                                rep   movsb                   # into the anonymous pages behind it
    48 8d 83 dd 00 00 00                 lea   moved-start+0xc0(%rbx),%rax
    ff e0                                jmp   *%rax
    48 89 a3 00 06 00 00       moved:    mov   %rsp,0x600(%rbx)        # state: sp
    48 8d 54 24 08                       lea   8(%rsp),%rdx
    48 89 93 28 06 00 00                 mov   %rdx,0x628(%rbx)        # state: argv
    48 8b 02                             mov   (%rdx),%rax
    48 89 83 10 06 00 00                 mov   %rax,0x610(%rbx)        # state: argv[0]
    48 8b 0c 24                          mov   (%rsp),%rcx
    48 8d 54 ca 08                       lea   8(%rdx,%rcx,8),%rdx
    48 89 93 30 06 00 00                 mov   %rdx,0x630(%rbx)        # state: envp
    48 8b 02                             mov   (%rdx),%rax
    48 89 83 18 06 00 00                 mov   %rax,0x618(%rbx)        # state: envp[0]
    48 8b 02                   skip_env: mov   (%rdx),%rax
    48 83 c2 08                          add   $8,%rdx
    48 85 c0                             test  %rax,%rax
    75 f4                                jne   skip_env
    48 89 93 08 06 00 00                 mov   %rdx,0x608(%rbx)        # state: auxv
    48 8b 02                   each_aux: mov   (%rdx),%rax
    48 83 c2 10                          add   $16,%rdx
    48 83 f8 40                          cmp   $64,%rax
    73 0c                                jae   odd_aux
    48 8d 4a f8                          lea   -8(%rdx),%rcx
    48 89 8c c3 40 06 00 00              mov   %rcx,0x640(%rbx,%rax,8) # state: where the value of this entry stands
    48 85 c0                   odd_aux:  test  %rax,%rax
    75 e2                                jne   each_aux
    48 2b 93 08 06 00 00                 sub   0x608(%rbx),%rdx
    48 89 93 20 06 00 00                 mov   %rdx,0x620(%rbx)        # state: size of auxv
    4c 8d bb 80 08 00 00                 lea   0x880(%rbx),%r15        # the list
""")

X86_64_LOOP = Stub("""
    41 8b 07                   next:     mov   (%r15),%eax
    85 c0                                test  %eax,%eax
    78 3e                                js    special
    49 8b 7f 08                          mov   8(%r15),%rdi
    49 8b 77 10                          mov   16(%r15),%rsi
    49 8b 57 18                          mov   24(%r15),%rdx
    4d 8b 57 20                          mov   32(%r15),%r10
    4d 8b 47 28                          mov   40(%r15),%r8
    4d 8b 4f 30                          mov   48(%r15),%r9
    0f 05                                syscall
    49 87 47 38                          xchg  %rax,56(%r15)
    49 81 7f 38 01 f0 ff ff              cmpq  $-4095,56(%r15)
    0f 82 b8 00 00 00                    jb    advance
    48 85 c0                             test  %rax,%rax
    0f 84 af 00 00 00                    je    advance
    4c 89 78 10                          mov   %r15,16(%rax)           # the failed record: the error call's second argument
    49 89 c7                             mov   %rax,%r15
    eb bb                                jmp   next
    49 8b 7f 08                special:  mov   8(%r15),%rdi
    49 8b 77 10                          mov   16(%r15),%rsi
    49 8b 4f 18                          mov   24(%r15),%rcx
    ff c0                                inc   %eax
    0f 84 9b 00 00 00                    je    stop
    ff c0                                inc   %eax
    74 60                                je    add
    ff c0                                inc   %eax
    74 64                                je    and
    ff c0                                inc   %eax
    74 68                                je    load
    ff c0                                inc   %eax
    74 6f                                je    store
    ff c0                                inc   %eax
    74 76                                je    copy
    ff c0                                inc   %eax
    74 76                                je    fill
    48 89 f4                   go:       mov   %rsi,%rsp
    57                                   push  %rdi
    49 8b 57 20                          mov   32(%r15),%rdx
    48 85 d2                             test  %rdx,%rdx
    74 18                                je    plain
    e3 04                                jrcxz unmap                   # words the gadget pops
    6a 00                      pushes:   push  $0
    e2 fc                                loop  pushes
    49 8b 7f 28                unmap:    mov   40(%r15),%rdi
    49 8b 77 30                          mov   48(%r15),%rsi
    48 89 d1                             mov   %rdx,%rcx
    b8 0b 00 00 00                       mov   $11,%eax                # munmap
    eb 07                                jmp   clear
    59                         plain:    pop   %rcx
    31 ff                                xor   %edi,%edi
    31 f6                                xor   %esi,%esi
    31 c0                                xor   %eax,%eax
    31 d2                      clear:    xor   %edx,%edx
    31 db                                xor   %ebx,%ebx
    31 ed                                xor   %ebp,%ebp
    45 31 c0                             xor   %r8d,%r8d
    45 31 c9                             xor   %r9d,%r9d
    45 31 d2                             xor   %r10d,%r10d
    45 31 db                             xor   %r11d,%r11d
    45 31 e4                             xor   %r12d,%r12d
    45 31 ed                             xor   %r13d,%r13d
    45 31 f6                             xor   %r14d,%r14d
    45 31 ff                             xor   %r15d,%r15d
    ff e1                                jmp   *%rcx
    48 8b 06                   add:      mov   (%rsi),%rax
    48 01 07                             add   %rax,(%rdi)
    eb 26                                jmp   advance
    48 8b 06                   and:      mov   (%rsi),%rax
    48 21 07                             and   %rax,(%rdi)
    eb 1e                                jmp   advance
    48 8b 06                   load:     mov   (%rsi),%rax
    48 8b 00                             mov   (%rax),%rax
    48 89 07                             mov   %rax,(%rdi)
    eb 13                                jmp   advance
    48 8b 3f                   store:    mov   (%rdi),%rdi
    48 8b 06                             mov   (%rsi),%rax
    48 89 07                             mov   %rax,(%rdi)
    eb 08                                jmp   advance
    f3 a4                      copy:     rep   movsb
    eb 04                                jmp   advance
    31 c0                      fill:     xor   %eax,%eax
    f3 aa                                rep   stosb
    49 83 c7 40                advance:  add   $64,%r15
    e9 0c ff ff ff                       jmp   next
    cc                         stop:     int3
    eb f4                                jmp   advance
""")

I386_ENTRY = Stub("""
    e8 00 00 00 00             start:    call  here
    5e                         here:     pop   %esi
    81 ee c5 00 00 00                    sub   $0xc5,%esi              # the image
    8b 4e 44                             mov   68(%esi),%ecx           # p_filesz of the first program header
    8d 3c 0e                             lea   (%esi,%ecx),%edi
    89 fb                                mov   %edi,%ebx
    f3 a4                                rep   movsb                   # into the anonymous pages behind it
    8d 83 de 00 00 00                    lea   moved-start+0xc0(%ebx),%eax
    ff e0                                jmp   *%eax
    89 a3 00 06 00 00          moved:    mov   %esp,0x600(%ebx)        # state: sp
    8d 54 24 04                          lea   4(%esp),%edx
    89 93 28 06 00 00                    mov   %edx,0x628(%ebx)        # state: argv
    8b 02                                mov   (%edx),%eax
    89 83 10 06 00 00                    mov   %eax,0x610(%ebx)        # state: argv[0]
    8b 0c 24                             mov   (%esp),%ecx
    8d 54 8a 04                          lea   4(%edx,%ecx,4),%edx
    89 93 30 06 00 00                    mov   %edx,0x630(%ebx)        # state: envp
    8b 02                                mov   (%edx),%eax
    89 83 18 06 00 00                    mov   %eax,0x618(%ebx)        # state: envp[0]
    8b 02                      skip_env: mov   (%edx),%eax
    83 c2 04                             add   $4,%edx
    85 c0                                test  %eax,%eax
    75 f7                                jne   skip_env
    89 93 08 06 00 00                    mov   %edx,0x608(%ebx)        # state: auxv
    8b 02                      each_aux: mov   (%edx),%eax
    83 c2 08                             add   $8,%edx
    83 f8 40                             cmp   $64,%eax
    73 0a                                jae   odd_aux
    8d 4a fc                             lea   -4(%edx),%ecx
    89 8c c3 40 06 00 00                 mov   %ecx,0x640(%ebx,%eax,8) # state: where the value of this entry stands
    85 c0                      odd_aux:  test  %eax,%eax
    75 e8                                jne   each_aux
    2b 93 08 06 00 00                    sub   0x608(%ebx),%edx
    89 93 20 06 00 00                    mov   %edx,0x620(%ebx)        # state: size of auxv
    8d a3 80 08 00 00                    lea   0x880(%ebx),%esp        # the list; there is no stack meanwhile
""")

I386_LOOP = Stub("""
    8b 04 24                   next:     mov   (%esp),%eax
    85 c0                                test  %eax,%eax
    78 3b                                js    special
    8b 5c 24 08                          mov   8(%esp),%ebx
    8b 4c 24 10                          mov   16(%esp),%ecx
    8b 54 24 18                          mov   24(%esp),%edx
    8b 74 24 20                          mov   32(%esp),%esi
    8b 7c 24 28                          mov   40(%esp),%edi
    8b 6c 24 30                          mov   48(%esp),%ebp
    cd 80                                int   $0x80
    87 44 24 38                          xchg  %eax,56(%esp)
    81 7c 24 38 01 f0 ff ff              cmpl  $-4095,56(%esp)
    0f 82 a2 00 00 00                    jb    advance
    85 c0                                test  %eax,%eax
    0f 84 9a 00 00 00                    je    advance
    89 60 10                             mov   %esp,16(%eax)           # the failed record: the error call's second argument
    89 c4                                mov   %eax,%esp
    eb be                                jmp   next
    8b 7c 24 08                special:  mov   8(%esp),%edi
    8b 74 24 10                          mov   16(%esp),%esi
    8b 4c 24 18                          mov   24(%esp),%ecx
    40                                   inc   %eax
    0f 84 88 00 00 00                    je    stop
    40                                   inc   %eax
    74 59                                je    add
    40                                   inc   %eax
    74 5c                                je    and
    40                                   inc   %eax
    74 5f                                je    load
    40                                   inc   %eax
    74 64                                je    store
    40                                   inc   %eax
    74 69                                je    copy
    40                                   inc   %eax
    74 6a                                je    fill
    8b 54 24 20                go:       mov   32(%esp),%edx
    8b 5c 24 28                          mov   40(%esp),%ebx
    8b 4c 24 30                          mov   48(%esp),%ecx
    89 f4                                mov   %esi,%esp
    57                                   push  %edi
    b8 40 00 00 00                       mov   $64,%eax
    85 d2                                test  %edx,%edx
    74 0c                                je    plain
    81 3a cd 80 5d 5a          scan:     cmpl  $0x5a5d80cd,(%edx)      # int $0x80; pop %ebp; pop %edx
    74 15                                je    unmap
    42                                   inc   %edx
    48                                   dec   %eax
    75 f4                                jne   scan
    5d                         plain:    pop   %ebp
    55                                   push  %ebp
    31 c0                                xor   %eax,%eax
    31 db                                xor   %ebx,%ebx
    31 c9                                xor   %ecx,%ecx
    31 d2                                xor   %edx,%edx
    31 f6                                xor   %esi,%esi
    31 ff                                xor   %edi,%edi
    31 ed                                xor   %ebp,%ebp
    c3                                   ret
    6a 00                      unmap:    push  $0
    6a 00                                push  $0
    6a 00                                push  $0
    89 d5                                mov   %edx,%ebp
    b8 5b 00 00 00                       mov   $91,%eax                # munmap
    31 d2                                xor   %edx,%edx
    31 f6                                xor   %esi,%esi
    31 ff                                xor   %edi,%edi
    ff e5                                jmp   *%ebp
    8b 06                      add:      mov   (%esi),%eax
    01 07                                add   %eax,(%edi)
    eb 1e                                jmp   advance
    8b 06                      and:      mov   (%esi),%eax
    21 07                                and   %eax,(%edi)
    eb 18                                jmp   advance
    8b 06                      load:     mov   (%esi),%eax
    8b 00                                mov   (%eax),%eax
    89 07                                mov   %eax,(%edi)
    eb 10                                jmp   advance
    8b 3f                      store:    mov   (%edi),%edi
    8b 06                                mov   (%esi),%eax
    89 07                                mov   %eax,(%edi)
    eb 08                                jmp   advance
    f3 a4                      copy:     rep   movsb
    eb 04                                jmp   advance
    31 c0                      fill:     xor   %eax,%eax
    f3 aa                                rep   stosb
    83 c4 40                   advance:  add   $64,%esp
    e9 23 ff ff ff                       jmp   next
    cc                         stop:     int3
    eb f5                                jmp   advance
""")
# fmt: on

# Offset of `moved` in ENTRY: where a process that needs no copying starts, the image in %rbx or %ebx.
MOVED = {64: 0x1D, 32: 0x1E}
