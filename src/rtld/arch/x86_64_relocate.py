"""Machine code that binds and relocates a prepared library, x86-64: ``QuickLink`` of ``elf/quick.py`` for ``x86_64_link.py``.

The assembly is what a compiler made of this C, with the types of ``x86_64_open.py`` and ``x86_64_link.py``. ``used`` are the
places in the scope of those that its references were bound to. IFUNCs of others are asked at once, its own are left to the long way,
as is thread-local data. ``scratch`` is zero before and after.

    static u64 unpack(Link *l, Open *f);
    static u8 *place(Open *f, u64 vaddr, u64 size, u8 **end);
    u64 relocate(Link *l)
    {
        Open *f = l->file;
        Table *t = &l->record->table;
        u64 symbolic = f->d[62], rela = f->d[7], size = rela ? f->d[8] : 0, plt = f->d[23], plt_size = plt ? f->d[2] : 0;
        if ((size | plt_size) >> 31 || l->nscope > 48) return 1;
        if (rela <= plt && plt < rela + size) size = plt - rela;
        u64 at[2] = { rela, plt }, bytes[2] = { size - size % 24, plt_size - plt_size % 24 }, bit[2] = { size, plt_size }, seen[8];
        Row *rows = (Row *)l->scratch, *rows_end = rows + 512;
        u64 *answers = (u64 *)rows_end, words = 4 * t->nsyms, failed = 0;
        if (512 * sizeof(Row) + 8 * words > l->size) return 1;
        u32 used[64];
        for (int i = 0; i < 8; i++) seen[i] = 0;
        Context c = { 0, 0, t, l->scope - symbolic, l->nscope + symbolic, (u8 *)answers, 1, 0, rows, rows_end, (u8 *)seen, used, 0, 0, 0 };
        for (Segment *s = f->segments, *last = s + f->phnum; s < last; s++)
            if (s->type == 1 && s->flags & 2) {
                c.low = f->bias + s->vaddr;
                c.high = s->memsz < 8 ? 0 : c.low + s->memsz - 8;
                break;
            }
        if (symbolic) *c.scope = t;
        for (int i = 0; i < 2 && !failed; i++) {
            u8 *end, *begin;
            if (!bit[i]) continue;
            begin = place(f, at[i], bytes[i], &end);
            c.at = (u64 *)begin;
            c.end = (u64 *)(begin + bytes[i]);
            failed = !begin || l->bind(&c);
        }
        if (!failed) failed = unpack(l, f);
        for (Row *r = rows; r < c.rows && !failed; r++) {
            if (r->type != 37 || r->definer < 3 || c.scope[r->definer - 3] == t) failed = 1;
            else *(u64 *)r->place = ((u64 (*)(void))r->value)() + r->addend;
        }
        l->nused = 0;
        for (u32 *u = used; u < c.used; u++)
            if (*u > 2 && c.scope[*u - 3] != t) l->used[l->nused++] = *u - 3 - symbolic;
        u64 *clear = (u64 *)rows;
        words = (u64 *)c.rows - clear;
        __asm__ volatile("rep stosq" : "+D"(clear), "+c"(words) : "a"(0ul) : "memory");
        clear = answers;
        words = 4 * t->nsyms;
        __asm__ volatile("rep stosq" : "+D"(clear), "+c"(words) : "a"(0ul) : "memory");
        return failed;
    }

    static u64 unpack(Link *l, Open *f)
    {
        u64 size = f->d[36] ? f->d[35] & -8 : 0, ranges[36], *r = ranges;
        u8 *end;
        if (!size) return 0;
        u64 *at = (u64 *)place(f, f->d[36], size, &end);
        if (!at) return 1;
        for (Segment *s = f->segments, *last = s + f->phnum; s < last; s++)
            if (s->type == 1 && s->flags & 2 && s->memsz >= 8) {
                *r++ = f->bias + s->vaddr;
                *r++ = f->bias + s->vaddr + s->memsz - 8;
            }
        r[0] = r[1] = 0;
        Packed p = { f->bias, at, (u64 *)((u8 *)at + size), ranges };
        return l->relr(&p);
    }

    static u8 *place(Open *f, u64 vaddr, u64 size, u8 **end)
    {
        for (Segment *s = f->segments, *last = s + f->phnum; s < last; s++)
            if (s->type == 1 && s->vaddr <= vaddr && size <= s->filesz && vaddr - s->vaddr <= s->filesz - size) {
                *end = (u8 *)(f->bias + s->vaddr + s->filesz);
                return (s->flags & 6) == 4 ? (u8 *)(f->bias + vaddr) : 0;
            }
        return 0;
    }
"""

from __future__ import annotations

from rtld.arch.base import Stub

# fmt: off
RELOCATE = Stub("""
    41 57                                relocate:  pushq %r15
    41 56                                           pushq %r14
    41 55                                           pushq %r13
    41 54                                           pushq %r12
    55                                              pushq %rbp
    53                                              pushq %rbx
    48 89 fb                                        movq %rdi, %rbx
    48 81 ec 08 02 00 00                            subq $520, %rsp
    4c 8b 3f                                        movq (%rdi), %r15
    4c 8b 67 08                                     movq 8(%rdi), %r12
    49 8b 97 10 02 00 00                            movq 528(%r15), %rdx
    4d 8b b7 c8 03 00 00                            movq 968(%r15), %r14
    49 8b 87 90 02 00 00                            movq 656(%r15), %rax
    48 85 d2                                        testq %rdx, %rdx
    75 09                                           jne r1
    48 85 c0                                        testq %rax, %rax
    74 2f                                           je r5
    31 c9                                           xorl %ecx, %ecx
    eb 0e                                           jmp r2
    49 8b 8f 18 02 00 00                 r1:        movq 536(%r15), %rcx
    31 f6                                           xorl %esi, %esi
    48 85 c0                                        testq %rax, %rax
    74 07                                           je r3
    49 8b b7 e8 01 00 00                 r2:        movq 488(%r15), %rsi
    48 89 f7                             r3:        movq %rsi, %rdi
    48 09 cf                                        orq %rcx, %rdi
    48 c1 ef 1f                                     shrq $31, %rdi
    74 1a                                           je r6
    ba 01 00 00 00                       r4:        movl $1, %edx
    e9 39 03 00 00                                  jmp r24
    48 8b 7f 70                          r5:        movq 112(%rdi), %rdi
    48 83 ff 30                                     cmpq $48, %rdi
    77 ec                                           ja r4
    31 f6                                           xorl %esi, %esi
    31 c9                                           xorl %ecx, %ecx
    eb 0f                                           jmp r7
    48 8b 7b 70                          r6:        movq 112(%rbx), %rdi
    48 83 ff 30                                     cmpq $48, %rdi
    77 dc                                           ja r4
    48 39 d0                                        cmpq %rdx, %rax
    72 0f                                           jb r8
    4c 8d 14 0a                          r7:        leaq (%rdx, %rcx), %r10
    4c 39 d0                                        cmpq %r10, %rax
    73 06                                           jnb r8
    48 89 c1                                        movq %rax, %rcx
    48 29 d1                                        subq %rdx, %rcx
    41 ba 18 00 00 00                    r8:        movl $24, %r10d
    48 89 54 24 18                                  movq %rdx, 24(%rsp)
    31 d2                                           xorl %edx, %edx
    48 8b 6b 38                                     movq 56(%rbx), %rbp
    48 89 44 24 20                                  movq %rax, 32(%rsp)
    48 89 c8                                        movq %rcx, %rax
    49 f7 f2                                        divq %r10
    48 89 4c 24 38                                  movq %rcx, 56(%rsp)
    48 89 74 24 40                                  movq %rsi, 64(%rsp)
    48 89 c8                                        movq %rcx, %rax
    48 29 d0                                        subq %rdx, %rax
    31 d2                                           xorl %edx, %edx
    48 89 44 24 28                                  movq %rax, 40(%rsp)
    48 89 f0                                        movq %rsi, %rax
    49 f7 f2                                        divq %r10
    48 89 f0                                        movq %rsi, %rax
    48 29 d0                                        subq %rdx, %rax
    48 89 44 24 30                                  movq %rax, 48(%rsp)
    49 8b 44 24 10                                  movq 16(%r12), %rax
    48 8d 04 85 00 08 00 00                         leaq 2048(, %rax, 4), %rax
    48 c1 e0 03                                     salq $3, %rax
    48 39 43 40                                     cmpq %rax, 64(%rbx)
    0f 82 69 ff ff ff                               jb r4
    31 d2                                           xorl %edx, %edx
    48 8d 85 00 40 00 00                            leaq 16384(%rbp), %rax
    31 c9                                           xorl %ecx, %ecx
    4c 01 f7                                        addq %r14, %rdi
    48 89 54 24 48                                  movq %rdx, 72(%rsp)
    31 f6                                           xorl %esi, %esi
    48 89 54 24 50                                  movq %rdx, 80(%rsp)
    48 89 54 24 58                                  movq %rdx, 88(%rsp)
    48 89 54 24 60                                  movq %rdx, 96(%rsp)
    48 89 54 24 68                                  movq %rdx, 104(%rsp)
    48 89 54 24 70                                  movq %rdx, 112(%rsp)
    48 89 54 24 78                                  movq %rdx, 120(%rsp)
    48 89 94 24 80 00 00 00                         movq %rdx, 128(%rsp)
    48 8b 53 68                                     movq 104(%rbx), %rdx
    48 89 04 24                                     movq %rax, (%rsp)
    4a 8d 04 f5 00 00 00 00                         leaq 0(, %r14, 8), %rax
    48 29 c2                                        subq %rax, %rdx
    48 8b 04 24                                     movq (%rsp), %rax
    48 89 8c 24 88 00 00 00                         movq %rcx, 136(%rsp)
    48 89 8c 24 90 00 00 00                         movq %rcx, 144(%rsp)
    49 6b 8f a0 00 00 00 38                         imulq $56, 160(%r15), %rcx
    48 89 84 24 b0 00 00 00                         movq %rax, 176(%rsp)
    48 89 84 24 d0 00 00 00                         movq %rax, 208(%rsp)
    48 8d 44 24 48                                  leaq 72(%rsp), %rax
    48 89 84 24 d8 00 00 00                         movq %rax, 216(%rsp)
    48 8d 84 24 00 01 00 00                         leaq 256(%rsp), %rax
    48 89 84 24 e0 00 00 00                         movq %rax, 224(%rsp)
    49 8b 87 b8 00 00 00                            movq 184(%r15), %rax
    4c 89 a4 24 98 00 00 00                         movq %r12, 152(%rsp)
    48 89 94 24 a0 00 00 00                         movq %rdx, 160(%rsp)
    48 01 c1                                        addq %rax, %rcx
    48 c7 84 24 b8 00 00 00 01 00 00 00             movq $1, 184(%rsp)
    48 89 ac 24 c8 00 00 00                         movq %rbp, 200(%rsp)
    48 89 bc 24 a8 00 00 00                         movq %rdi, 168(%rsp)
    31 ff                                           xorl %edi, %edi
    48 89 b4 24 c0 00 00 00                         movq %rsi, 192(%rsp)
    48 be ff ff ff ff 02 00 00 00                   movabsq $12884901887, %rsi
    48 89 bc 24 e8 00 00 00                         movq %rdi, 232(%rsp)
    48 89 bc 24 f0 00 00 00                         movq %rdi, 240(%rsp)
    48 89 bc 24 f8 00 00 00                         movq %rdi, 248(%rsp)
    48 bf 01 00 00 00 02 00 00 00                   movabsq $8589934593, %rdi
    48 39 c8                             r9:        cmpq %rcx, %rax
    73 3f                                           jnb r12
    4c 8b 10                                        movq (%rax), %r10
    49 21 f2                                        andq %rsi, %r10
    49 39 fa                                        cmpq %rdi, %r10
    75 2e                                           jne r11
    48 8b 70 28                                     movq 40(%rax), %rsi
    48 8b 48 10                                     movq 16(%rax), %rcx
    31 c0                                           xorl %eax, %eax
    49 03 8f 98 00 00 00                            addq 152(%r15), %rcx
    48 89 8c 24 b8 00 00 00                         movq %rcx, 184(%rsp)
    48 83 fe 07                                     cmpq $7, %rsi
    76 05                                           jbe r10
    48 8d 44 31 f8                                  leaq -8(%rcx, %rsi), %rax
    48 89 84 24 c0 00 00 00              r10:       movq %rax, 192(%rsp)
    eb 06                                           jmp r12
    48 83 c0 38                          r11:       addq $56, %rax
    eb bc                                           jmp r9
    4d 85 f6                             r12:       testq %r14, %r14
    74 03                                           je r13
    4c 89 22                                        movq %r12, (%rdx)
    41 bd 01 00 00 00                    r13:       movl $1, %r13d
    4a 8b 44 ec 30                       r14:       movq 48(%rsp, %r13, 8), %rax
    48 85 c0                                        testq %rax, %rax
    74 51                                           je r15
    4a 8b 44 ec 20                                  movq 32(%rsp, %r13, 8), %rax
    4a 8b 74 ec 10                                  movq 16(%rsp, %r13, 8), %rsi
    48 8d 4c 24 10                                  leaq 16(%rsp), %rcx
    4c 89 ff                                        movq %r15, %rdi
    48 89 c2                                        movq %rax, %rdx
    48 89 44 24 08                                  movq %rax, 8(%rsp)
    e8 4a 02 00 00                                  call place
    48 8b 74 24 08                                  movq 8(%rsp), %rsi
    48 89 84 24 88 00 00 00                         movq %rax, 136(%rsp)
    48 8d 14 30                                     leaq (%rax, %rsi), %rdx
    48 89 94 24 90 00 00 00                         movq %rdx, 144(%rsp)
    48 85 c0                                        testq %rax, %rax
    74 40                                           je r16
    48 8d bc 24 88 00 00 00                         leaq 136(%rsp), %rdi
    ff 53 20                                        call *32(%rbx)
    48 85 c0                                        testq %rax, %rax
    0f 95 c0                                        setne %al
    0f b6 c0                                        movzbl %al, %eax
    41 ff cd                             r15:       decl %r13d
    48 89 c2                                        movq %rax, %rdx
    41 bd 02 00 00 00                               movl $2, %r13d
    0f 9e c1                                        setle %cl
    48 83 f2 01                                     xorq $1, %rdx
    84 d1                                           testb %dl, %cl
    75 8e                                           jne r14
    48 85 c0                                        testq %rax, %rax
    75 10                                           jne r16
    4c 89 fe                                        movq %r15, %rsi
    48 89 df                                        movq %rbx, %rdi
    e8 ea 00 00 00                                  call unpack
    48 89 c2                                        movq %rax, %rdx
    eb 05                                           jmp r17
    ba 01 00 00 00                       r16:       movl $1, %edx
    49 89 ef                             r17:       movq %rbp, %r15
    48 8b 8c 24 c8 00 00 00              r18:       movq 200(%rsp), %rcx
    48 8b bc 24 a0 00 00 00                         movq 160(%rsp), %rdi
    49 39 cf                                        cmpq %rcx, %r15
    73 39                                           jnb r20
    48 85 d2                                        testq %rdx, %rdx
    75 34                                           jne r20
    41 83 7f 08 25                                  cmpl $37, 8(%r15)
    ba 01 00 00 00                                  movl $1, %edx
    75 22                                           jne r19
    41 8b 47 0c                                     movl 12(%r15), %eax
    83 f8 02                                        cmpl $2, %eax
    76 19                                           jbe r19
    83 e8 03                                        subl $3, %eax
    4c 39 24 c7                                     cmpq %r12, (%rdi, %rax, 8)
    74 10                                           je r19
    41 ff 57 10                                     call *16(%r15)
    49 8b 17                                        movq (%r15), %rdx
    49 03 47 18                                     addq 24(%r15), %rax
    48 89 02                                        movq %rax, (%rdx)
    31 d2                                           xorl %edx, %edx
    49 83 c7 20                          r19:       addq $32, %r15
    eb b2                                           jmp r18
    31 c0                                r20:       xorl %eax, %eax
    be fd ff ff ff                                  movl $-3, %esi
    4c 8b 94 24 e0 00 00 00                         movq 224(%rsp), %r10
    4c 8d ac 24 00 01 00 00                         leaq 256(%rsp), %r13
    48 89 83 88 00 00 00                            movq %rax, 136(%rbx)
    44 29 f6                                        subl %r14d, %esi
    4d 39 d5                             r21:       cmpq %r10, %r13
    73 35                                           jnb r23
    41 8b 45 00                                     movl 0(%r13), %eax
    83 f8 02                                        cmpl $2, %eax
    76 26                                           jbe r22
    44 8d 48 fd                                     leal -3(%rax), %r9d
    4e 39 24 cf                                     cmpq %r12, (%rdi, %r9, 8)
    74 1c                                           je r22
    4c 8b 8b 88 00 00 00                            movq 136(%rbx), %r9
    01 f0                                           addl %esi, %eax
    4d 8d 59 01                                     leaq 1(%r9), %r11
    4c 89 9b 88 00 00 00                            movq %r11, 136(%rbx)
    42 89 84 8b 90 02 00 00                         movl %eax, 656(%rbx, %r9, 4)
    49 83 c5 04                          r22:       addq $4, %r13
    eb c6                                           jmp r21
    48 29 e9                             r23:       subq %rbp, %rcx
    31 c0                                           xorl %eax, %eax
    48 89 ef                                        movq %rbp, %rdi
    48 c1 f9 03                                     sarq $3, %rcx
    f3 48 ab                                        rep stosq
    49 8b 4c 24 10                                  movq 16(%r12), %rcx
    48 8b 3c 24                                     movq (%rsp), %rdi
    48 c1 e1 02                                     salq $2, %rcx
    f3 48 ab                                        rep stosq
    48 81 c4 08 02 00 00                 r24:       addq $520, %rsp
    48 89 d0                                        movq %rdx, %rax
    5b                                              popq %rbx
    5d                                              popq %rbp
    41 5c                                           popq %r12
    41 5d                                           popq %r13
    41 5e                                           popq %r14
    41 5f                                           popq %r15
    c3                                              ret
    41 54                                unpack:    pushq %r12
    55                                              pushq %rbp
    48 89 f5                                        movq %rsi, %rbp
    53                                              pushq %rbx
    31 db                                           xorl %ebx, %ebx
    48 81 ec 50 01 00 00                            subq $336, %rsp
    48 8b b6 f8 02 00 00                            movq 760(%rsi), %rsi
    48 85 f6                                        testq %rsi, %rsi
    0f 84 d8 00 00 00                               je r29
    48 8b 9d f0 02 00 00                            movq 752(%rbp), %rbx
    48 83 e3 f8                                     andq $-8, %rbx
    0f 84 c7 00 00 00                               je r29
    48 89 da                                        movq %rbx, %rdx
    49 89 fc                                        movq %rdi, %r12
    48 8d 4c 24 08                                  leaq 8(%rsp), %rcx
    48 89 ef                                        movq %rbp, %rdi
    e8 c3 00 00 00                                  call place
    48 89 c2                                        movq %rax, %rdx
    48 85 c0                                        testq %rax, %rax
    0f 84 a3 00 00 00                               je r28
    4c 6b 85 a0 00 00 00 38                         imulq $56, 160(%rbp), %r8
    48 8b 85 b8 00 00 00                            movq 184(%rbp), %rax
    48 8d 4c 24 30                                  leaq 48(%rsp), %rcx
    49 bb ff ff ff ff 02 00 00 00                   movabsq $12884901887, %r11
    48 8b bd 98 00 00 00                            movq 152(%rbp), %rdi
    49 89 c9                                        movq %rcx, %r9
    48 bd 01 00 00 00 02 00 00 00                   movabsq $8589934593, %rbp
    49 01 c0                                        addq %rax, %r8
    4c 8d 57 f8                                     leaq -8(%rdi), %r10
    4c 39 c0                             r25:       cmpq %r8, %rax
    73 36                                           jnb r27
    48 8b 30                                        movq (%rax), %rsi
    4c 21 de                                        andq %r11, %rsi
    48 39 ee                                        cmpq %rbp, %rsi
    75 25                                           jne r26
    48 83 78 28 07                                  cmpq $7, 40(%rax)
    76 1e                                           jbe r26
    48 8b 70 10                                     movq 16(%rax), %rsi
    48 83 c1 10                                     addq $16, %rcx
    48 01 fe                                        addq %rdi, %rsi
    48 89 71 f0                                     movq %rsi, -16(%rcx)
    48 8b 70 28                                     movq 40(%rax), %rsi
    48 03 70 10                                     addq 16(%rax), %rsi
    4c 01 d6                                        addq %r10, %rsi
    48 89 71 f8                                     movq %rsi, -8(%rcx)
    48 83 c0 38                          r26:       addq $56, %rax
    eb c5                                           jmp r25
    31 c0                                r27:       xorl %eax, %eax
    48 89 54 24 18                                  movq %rdx, 24(%rsp)
    48 01 da                                        addq %rbx, %rdx
    48 89 7c 24 10                                  movq %rdi, 16(%rsp)
    48 8d 7c 24 10                                  leaq 16(%rsp), %rdi
    48 89 41 08                                     movq %rax, 8(%rcx)
    48 89 01                                        movq %rax, (%rcx)
    48 89 54 24 20                                  movq %rdx, 32(%rsp)
    4c 89 4c 24 28                                  movq %r9, 40(%rsp)
    41 ff 54 24 30                                  call *48(%r12)
    48 89 c3                                        movq %rax, %rbx
    eb 05                                           jmp r29
    bb 01 00 00 00                       r28:       movl $1, %ebx
    48 81 c4 50 01 00 00                 r29:       addq $336, %rsp
    48 89 d8                                        movq %rbx, %rax
    5b                                              popq %rbx
    5d                                              popq %rbp
    41 5c                                           popq %r12
    c3                                              ret
    4c 6b 8f a0 00 00 00 38              place:     imulq $56, 160(%rdi), %r9
    49 89 f0                                        movq %rsi, %r8
    48 89 f8                                        movq %rdi, %rax
    48 8b b7 b8 00 00 00                            movq 184(%rdi), %rsi
    49 01 f1                                        addq %rsi, %r9
    4c 39 ce                             r30:       cmpq %r9, %rsi
    73 19                                           jnb r31
    83 3e 01                                        cmpl $1, (%rsi)
    75 17                                           jne r32
    48 8b 7e 10                                     movq 16(%rsi), %rdi
    49 39 f8                                        cmpq %rdi, %r8
    72 0e                                           jb r32
    4c 8b 56 20                                     movq 32(%rsi), %r10
    49 39 d2                                        cmpq %rdx, %r10
    72 05                                           jb r32
    eb 09                                           jmp r33
    31 c0                                r31:       xorl %eax, %eax
    c3                                              ret
    48 83 c6 38                          r32:       addq $56, %rsi
    eb d9                                           jmp r30
    53                                   r33:       pushq %rbx
    4d 89 c3                             r34:       movq %r8, %r11
    4c 89 d3                                        movq %r10, %rbx
    49 29 fb                                        subq %rdi, %r11
    48 29 d3                                        subq %rdx, %rbx
    4c 39 db                                        cmpq %r11, %rbx
    72 27                                           jb r37
    48 8b 80 98 00 00 00                            movq 152(%rax), %rax
    8b 56 04                                        movl 4(%rsi), %edx
    4c 01 d7                                        addq %r10, %rdi
    48 01 c7                                        addq %rax, %rdi
    83 e2 06                                        andl $6, %edx
    4c 01 c0                                        addq %r8, %rax
    48 89 39                                        movq %rdi, (%rcx)
    83 fa 04                                        cmpl $4, %edx
    74 28                                           je r39
    31 c0                                r35:       xorl %eax, %eax
    eb 24                                           jmp r39
    83 3e 01                             r36:       cmpl $1, (%rsi)
    74 0b                                           je r38
    48 83 c6 38                          r37:       addq $56, %rsi
    4c 39 ce                                        cmpq %r9, %rsi
    72 f2                                           jb r36
    eb ec                                           jmp r35
    48 8b 7e 10                          r38:       movq 16(%rsi), %rdi
    49 39 f8                                        cmpq %rdi, %r8
    72 ec                                           jb r37
    4c 8b 56 20                                     movq 32(%rsi), %r10
    49 39 d2                                        cmpq %rdx, %r10
    72 e3                                           jb r37
    eb a9                                           jmp r34
    5b                                   r39:       popq %rbx
    c3                                              ret
""")
