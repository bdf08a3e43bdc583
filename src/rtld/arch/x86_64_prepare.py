"""Machine code that fills in the tables of a mapped library, x86-64: ``Table`` and its ``need`` of ``elf/quick.py`` for ``x86_64_link.py``.

The assembly is what a compiler made of this C, with the types of ``x86_64_open.py`` and ``x86_64_link.py``. All it leads to lies in
segments that are readable and not writable. 1: it does not, or a version is not where it is needed from.

    static u8 *place(Open *f, u64 vaddr, u64 size, u8 **end);
    static u64 fill(Link *l, Open *f, Table *t);
    static u64 need(Link *l, Open *f, Table *t);
    u64 prepare(Link *l)
    {
        Table *t = &l->record->table;
        return fill(l, l->file, t) || need(l, l->file, t);
    }

    static u64 fill(Link *l, Open *f, Table *t)
    {
        u8 *end, *limit;
        u32 *hash = (u32 *)place(f, f->d[63], 16, &end);
        if (!f->d[63] || !f->d[6] || !hash) return 1;
        u64 nbuckets = hash[0], first = hash[1], count = hash[2];
        u8 *bloom = (u8 *)(hash + 4), *buckets = bloom + 8 * count, *chains = buckets + 4 * nbuckets;
        if (chains > end || !count || count & count - 1 || !nbuckets) return 1;
        u64 chained = first + (end - chains) / 4;
        u8 *strings = place(f, f->d[5], f->d[10], &limit), *symbols = place(f, f->d[6], 24, &limit), *indices = 0;
        if (!symbols) return 1;
        u64 nsyms = ((symbols < strings && strings < limit ? strings : limit) - symbols) / 24;
        if (f->d[40]) {
            indices = place(f, f->d[40], 2, &limit);
            if (!indices) return 1;
            u64 n = (limit - indices) / 2;
            if (n < nsyms) nsyms = n;
            t->versions = l->record->versions;
            t->nversions = 128;
        }
        t->base = f->bias; t->symtab = symbols; t->nsyms = nsyms; t->strtab = strings; t->strsz = f->d[10];
        t->bloom = (u64 *)bloom; t->mask = count - 1; t->shift = hash[3]; t->buckets = (u32 *)buckets; t->nbuckets = nbuckets;
        t->chains = (u32 *)(chains - 4 * first); t->first = first; t->last = nsyms < chained ? nsyms : chained;
        t->versym = (u16 *)indices;
        return 0;
    }

    static u64 need(Link *l, Open *f, Table *t)
    {
        Versions v = { 0, 0, 0, 0, 0, 0, t->strtab, t->strsz, t->versions, t->nversions, 0 };
        if (t->versions && f->d[52]) {
            v.def = place(f, f->d[52], 20, &v.def_end);
            v.def_count = f->d[53] < 0x8000 ? f->d[53] : 0x8000;
            if (!v.def || l->versions(&v)) return 1;
            v.def = v.def_end = 0;
            v.def_count = 0;
        }
        if (!f->d[54]) return 0;
        Table *providers[32];
        u8 *at = v.need = place(f, f->d[54], 16, &v.need_end);
        v.need_count = f->d[55];
        v.providers = providers;
        if (!at || !t->versions || v.need_count > 32) return 1;
        for (u64 i = 0; i < v.need_count; i++) {
            if (at + 16 > v.need_end || *(u16 *)at != 1 || *(u32 *)(at + 4) >= t->strsz) return 1;
            u8 *name = t->strtab + *(u32 *)(at + 4);
            for (u64 k = 0;; k++) {
                if (k == f->nneeded) return 1;
                providers[i] = l->providers[k];
                u8 *p = name, *q = f->need[k];
                while (*p && *p == *q) p++, q++;
                if (*p == *q) break;
            }
            at += *(u32 *)(at + 12);
        }
        return l->versions(&v);
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
PREPARE = Stub("""
    41 54                    prepare:  pushq %r12
    55                                 pushq %rbp
    48 83 ec 18                        subq $24, %rsp
    4c 8b 67 08                        movq 8(%rdi), %r12
    48 8b 2f                           movq (%rdi), %rbp
    48 89 7c 24 08                     movq %rdi, 8(%rsp)
    4c 89 e2                           movq %r12, %rdx
    48 89 ee                           movq %rbp, %rsi
    e8 2e 00 00 00                     call fill
    48 8b 7c 24 08                     movq 8(%rsp), %rdi
    48 89 c2                           movq %rax, %rdx
    b8 01 00 00 00                     movl $1, %eax
    48 85 d2                           testq %rdx, %rdx
    75 14                              jne p1
    4c 89 e2                           movq %r12, %rdx
    48 89 ee                           movq %rbp, %rsi
    e8 30 02 00 00                     call need
    48 85 c0                           testq %rax, %rax
    0f 95 c0                           setne %al
    0f b6 c0                           movzbl %al, %eax
    48 83 c4 18              p1:       addq $24, %rsp
    5d                                 popq %rbp
    41 5c                              popq %r12
    c3                                 ret
    41 57                    fill:     pushq %r15
    41 56                              pushq %r14
    49 89 f6                           movq %rsi, %r14
    41 55                              pushq %r13
    41 54                              pushq %r12
    55                                 pushq %rbp
    53                                 pushq %rbx
    48 89 d3                           movq %rdx, %rbx
    ba 10 00 00 00                     movl $16, %edx
    48 83 ec 68                        subq $104, %rsp
    48 8b ae d0 03 00 00               movq 976(%rsi), %rbp
    48 89 7c 24 30                     movq %rdi, 48(%rsp)
    48 8d 4c 24 50                     leaq 80(%rsp), %rcx
    4c 89 f7                           movq %r14, %rdi
    48 89 ee                           movq %rbp, %rsi
    e8 bf 03 00 00                     call place
    48 85 ed                           testq %rbp, %rbp
    75 0a                              jne p3
    b8 01 00 00 00           p2:       movl $1, %eax
    e9 cc 01 00 00                     jmp p6
    49 8b ae 08 02 00 00     p3:       movq 520(%r14), %rbp
    48 85 ed                           testq %rbp, %rbp
    74 ea                              je p2
    49 89 c4                           movq %rax, %r12
    48 85 c0                           testq %rax, %rax
    74 e2                              je p2
    8b 50 08                           movl 8(%rax), %edx
    44 8b 38                           movl (%rax), %r15d
    48 8d 40 10                        leaq 16(%rax), %rax
    44 8b 50 f4                        movl -12(%rax), %r10d
    48 89 44 24 28                     movq %rax, 40(%rsp)
    48 8d 04 d0                        leaq (%rax, %rdx, 8), %rax
    48 89 44 24 18                     movq %rax, 24(%rsp)
    4e 8d 2c b8                        leaq (%rax, %r15, 4), %r13
    48 8b 44 24 50                     movq 80(%rsp), %rax
    48 85 d2                           testq %rdx, %rdx
    74 b8                              je p2
    4c 39 e8                           cmpq %r13, %rax
    72 b3                              jb p2
    48 8d 7a ff                        leaq -1(%rdx), %rdi
    48 89 7c 24 08                     movq %rdi, 8(%rsp)
    48 85 d7                           testq %rdx, %rdi
    75 a5                              jne p2
    4d 85 ff                           testq %r15, %r15
    74 a0                              je p2
    4c 29 e8                           subq %r13, %rax
    48 8d 4c 24 58                     leaq 88(%rsp), %rcx
    4c 89 f7                           movq %r14, %rdi
    4c 89 54 24 40                     movq %r10, 64(%rsp)
    48 c1 f8 02                        sarq $2, %rax
    49 8b b6 00 02 00 00               movq 512(%r14), %rsi
    4c 01 d0                           addq %r10, %rax
    48 89 44 24 20                     movq %rax, 32(%rsp)
    49 8b 86 28 02 00 00               movq 552(%r14), %rax
    48 89 c2                           movq %rax, %rdx
    48 89 44 24 10                     movq %rax, 16(%rsp)
    e8 23 03 00 00                     call place
    48 8d 4c 24 58                     leaq 88(%rsp), %rcx
    48 89 ee                           movq %rbp, %rsi
    4c 89 f7                           movq %r14, %rdi
    ba 18 00 00 00                     movl $24, %edx
    48 89 44 24 38                     movq %rax, 56(%rsp)
    e8 09 03 00 00                     call place
    49 89 c1                           movq %rax, %r9
    48 85 c0                           testq %rax, %rax
    0f 84 43 ff ff ff                  je p2
    4c 8b 44 24 38                     movq 56(%rsp), %r8
    48 8b 44 24 58                     movq 88(%rsp), %rax
    4c 8b 54 24 40                     movq 64(%rsp), %r10
    4d 39 c1                           cmpq %r8, %r9
    73 07                              jnb p4
    4c 39 c0                           cmpq %r8, %rax
    49 0f 47 c0                        cmova %r8, %rax
    4c 29 c8                 p4:       subq %r9, %rax
    b9 18 00 00 00                     movl $24, %ecx
    49 8b b6 18 03 00 00               movq 792(%r14), %rsi
    48 99                              cqto
    48 f7 f9                           idivq %rcx
    31 c9                              xorl %ecx, %ecx
    48 89 c5                           movq %rax, %rbp
    48 85 f6                           testq %rsi, %rsi
    74 70                              je p5
    48 8d 4c 24 58                     leaq 88(%rsp), %rcx
    ba 02 00 00 00                     movl $2, %edx
    4c 89 f7                           movq %r14, %rdi
    4c 89 4c 24 48                     movq %r9, 72(%rsp)
    4c 89 44 24 40                     movq %r8, 64(%rsp)
    4c 89 54 24 38                     movq %r10, 56(%rsp)
    e8 a3 02 00 00                     call place
    48 89 c1                           movq %rax, %rcx
    48 85 c0                           testq %rax, %rax
    0f 84 dd fe ff ff                  je p2
    48 8b 44 24 58                     movq 88(%rsp), %rax
    be 02 00 00 00                     movl $2, %esi
    4c 8b 4c 24 48                     movq 72(%rsp), %r9
    4c 8b 44 24 40                     movq 64(%rsp), %r8
    4c 8b 54 24 38                     movq 56(%rsp), %r10
    48 29 c8                           subq %rcx, %rax
    48 99                              cqto
    48 f7 fe                           idivq %rsi
    48 39 c5                           cmpq %rax, %rbp
    48 0f 47 e8                        cmova %rax, %rbp
    48 8b 44 24 30                     movq 48(%rsp), %rax
    48 8b 40 08                        movq 8(%rax), %rax
    48 c7 43 78 80 00 00 00            movq $128, 120(%rbx)
    48 05 90 00 00 00                  addq $144, %rax
    48 89 43 70                        movq %rax, 112(%rbx)
    49 8b 86 98 00 00 00     p5:       movq 152(%r14), %rax
    48 89 6b 10                        movq %rbp, 16(%rbx)
    4c 89 4b 08                        movq %r9, 8(%rbx)
    48 89 03                           movq %rax, (%rbx)
    48 8b 44 24 10                     movq 16(%rsp), %rax
    4c 89 43 18                        movq %r8, 24(%rbx)
    48 89 43 20                        movq %rax, 32(%rbx)
    48 8b 44 24 28                     movq 40(%rsp), %rax
    48 89 43 28                        movq %rax, 40(%rbx)
    48 8b 44 24 08                     movq 8(%rsp), %rax
    48 89 43 30                        movq %rax, 48(%rbx)
    41 8b 44 24 0c                     movl 12(%r12), %eax
    4c 89 7b 48                        movq %r15, 72(%rbx)
    48 89 43 38                        movq %rax, 56(%rbx)
    48 8b 44 24 18                     movq 24(%rsp), %rax
    4c 89 53 58                        movq %r10, 88(%rbx)
    48 89 43 40                        movq %rax, 64(%rbx)
    4a 8d 04 95 00 00 00 00            leaq 0(, %r10, 4), %rax
    49 29 c5                           subq %rax, %r13
    48 8b 44 24 20                     movq 32(%rsp), %rax
    48 89 4b 68                        movq %rcx, 104(%rbx)
    4c 89 6b 50                        movq %r13, 80(%rbx)
    48 39 c5                           cmpq %rax, %rbp
    48 0f 47 e8                        cmova %rax, %rbp
    31 c0                              xorl %eax, %eax
    48 89 6b 60                        movq %rbp, 96(%rbx)
    48 83 c4 68              p6:       addq $104, %rsp
    5b                                 popq %rbx
    5d                                 popq %rbp
    41 5c                              popq %r12
    41 5d                              popq %r13
    41 5e                              popq %r14
    41 5f                              popq %r15
    c3                                 ret
    41 57                    need:     pushq %r15
    31 c9                              xorl %ecx, %ecx
    41 56                              pushq %r14
    41 55                              pushq %r13
    41 54                              pushq %r12
    49 89 fc                           movq %rdi, %r12
    55                                 pushq %rbp
    48 89 d5                           movq %rdx, %rbp
    53                                 pushq %rbx
    48 89 f3                           movq %rsi, %rbx
    31 f6                              xorl %esi, %esi
    48 81 ec 68 01 00 00               subq $360, %rsp
    48 8b 42 18                        movq 24(%rdx), %rax
    48 89 4c 24 08                     movq %rcx, 8(%rsp)
    48 89 44 24 38                     movq %rax, 56(%rsp)
    48 8b 42 20                        movq 32(%rdx), %rax
    48 89 4c 24 10                     movq %rcx, 16(%rsp)
    48 89 44 24 40                     movq %rax, 64(%rsp)
    48 8b 42 70                        movq 112(%rdx), %rax
    48 8b 52 78                        movq 120(%rdx), %rdx
    48 89 4c 24 18                     movq %rcx, 24(%rsp)
    48 89 4c 24 20                     movq %rcx, 32(%rsp)
    48 89 4c 24 28                     movq %rcx, 40(%rsp)
    48 89 4c 24 30                     movq %rcx, 48(%rsp)
    48 89 44 24 48                     movq %rax, 72(%rsp)
    48 89 54 24 50                     movq %rdx, 80(%rsp)
    48 89 74 24 58                     movq %rsi, 88(%rsp)
    48 85 c0                           testq %rax, %rax
    74 6a                              je p9
    48 8b b3 78 03 00 00               movq 888(%rbx), %rsi
    48 85 f6                           testq %rsi, %rsi
    74 5e                              je p9
    48 8d 4c 24 28                     leaq 40(%rsp), %rcx
    ba 14 00 00 00                     movl $20, %edx
    48 89 df                           movq %rbx, %rdi
    e8 4d 01 00 00                     call place
    48 8b 93 80 03 00 00               movq 896(%rbx), %rdx
    b9 00 80 00 00                     movl $32768, %ecx
    48 89 44 24 20                     movq %rax, 32(%rsp)
    48 39 ca                           cmpq %rcx, %rdx
    48 0f 47 d1                        cmova %rcx, %rdx
    48 89 54 24 30                     movq %rdx, 48(%rsp)
    48 85 c0                           testq %rax, %rax
    75 0a                              jne p8
    b8 01 00 00 00           p7:       movl $1, %eax
    e9 0f 01 00 00                     jmp p17
    48 8d 7c 24 08           p8:       leaq 8(%rsp), %rdi
    41 ff 54 24 28                     call *40(%r12)
    48 85 c0                           testq %rax, %rax
    75 e7                              jne p7
    31 c0                              xorl %eax, %eax
    48 89 44 24 28                     movq %rax, 40(%rsp)
    48 89 44 24 20                     movq %rax, 32(%rsp)
    48 89 44 24 30                     movq %rax, 48(%rsp)
    48 8b 83 88 03 00 00     p9:       movq 904(%rbx), %rax
    48 85 c0                           testq %rax, %rax
    0f 84 df 00 00 00                  je p17
    48 8d 4c 24 10                     leaq 16(%rsp), %rcx
    ba 10 00 00 00                     movl $16, %edx
    48 89 c6                           movq %rax, %rsi
    48 89 df                           movq %rbx, %rdi
    e8 dc 00 00 00                     call place
    4c 8b 93 90 03 00 00               movq 912(%rbx), %r10
    4c 8d 5c 24 60                     leaq 96(%rsp), %r11
    48 89 44 24 08                     movq %rax, 8(%rsp)
    4c 89 54 24 18                     movq %r10, 24(%rsp)
    4c 89 5c 24 58                     movq %r11, 88(%rsp)
    48 85 c0                           testq %rax, %rax
    74 91                              je p7
    48 83 7d 70 00                     cmpq $0, 112(%rbp)
    74 8a                              je p7
    49 83 fa 20                        cmpq $32, %r10
    77 84                              ja p7
    4c 8b 6c 24 10                     movq 16(%rsp), %r13
    31 c9                              xorl %ecx, %ecx
    49 39 ca                 p10:      cmpq %rcx, %r10
    0f 84 83 00 00 00                  je p16
    48 8d 50 10                        leaq 16(%rax), %rdx
    49 39 d5                           cmpq %rdx, %r13
    0f 82 67 ff ff ff                  jb p7
    66 83 38 01                        cmpw $1, (%rax)
    0f 85 5d ff ff ff                  jne p7
    8b 50 04                           movl 4(%rax), %edx
    48 3b 55 20                        cmpq 32(%rbp), %rdx
    0f 83 50 ff ff ff                  jnb p7
    48 03 55 18                        addq 24(%rbp), %rdx
    4c 8b b3 d0 00 00 00               movq 208(%rbx), %r14
    49 89 d1                           movq %rdx, %r9
    31 d2                              xorl %edx, %edx
    49 39 d6                 p11:      cmpq %rdx, %r14
    0f 84 37 ff ff ff                  je p7
    49 8b 74 24 60                     movq 96(%r12), %rsi
    4c 8b bc d3 d8 00 00 00            movq 216(%rbx, %rdx, 8), %r15
    48 8b 34 d6                        movq (%rsi, %rdx, 8), %rsi
    49 89 34 cb                        movq %rsi, (%r11, %rcx, 8)
    31 f6                              xorl %esi, %esi
    45 8a 04 31              p12:      movb (%r9, %rsi), %r8b
    41 8a 3c 37                        movb (%r15, %rsi), %dil
    45 84 c0                           testb %r8b, %r8b
    74 0a                              je p13
    48 ff c6                           incq %rsi
    41 38 f8                           cmpb %dil, %r8b
    74 eb                              je p12
    eb 05                              jmp p14
    40 84 ff                 p13:      testb %dil, %dil
    74 05                              je p15
    48 ff c2                 p14:      incq %rdx
    eb bf                              jmp p11
    8b 50 0c                 p15:      movl 12(%rax), %edx
    48 ff c1                           incq %rcx
    48 01 d0                           addq %rdx, %rax
    e9 74 ff ff ff                     jmp p10
    48 8d 7c 24 08           p16:      leaq 8(%rsp), %rdi
    41 ff 54 24 28                     call *40(%r12)
    48 81 c4 68 01 00 00     p17:      addq $360, %rsp
    5b                                 popq %rbx
    5d                                 popq %rbp
    41 5c                              popq %r12
    41 5d                              popq %r13
    41 5e                              popq %r14
    41 5f                              popq %r15
    c3                                 ret
    4c 6b 8f a0 00 00 00 38  place:    imulq $56, 160(%rdi), %r9
    49 89 f0                           movq %rsi, %r8
    48 89 f8                           movq %rdi, %rax
    48 8b b7 b8 00 00 00               movq 184(%rdi), %rsi
    49 01 f1                           addq %rsi, %r9
    4c 39 ce                 p18:      cmpq %r9, %rsi
    73 19                              jnb p19
    83 3e 01                           cmpl $1, (%rsi)
    75 17                              jne p20
    48 8b 7e 10                        movq 16(%rsi), %rdi
    49 39 f8                           cmpq %rdi, %r8
    72 0e                              jb p20
    4c 8b 56 20                        movq 32(%rsi), %r10
    49 39 d2                           cmpq %rdx, %r10
    72 05                              jb p20
    eb 09                              jmp p21
    31 c0                    p19:      xorl %eax, %eax
    c3                                 ret
    48 83 c6 38              p20:      addq $56, %rsi
    eb d9                              jmp p18
    53                       p21:      pushq %rbx
    4d 89 c3                 p22:      movq %r8, %r11
    4c 89 d3                           movq %r10, %rbx
    49 29 fb                           subq %rdi, %r11
    48 29 d3                           subq %rdx, %rbx
    4c 39 db                           cmpq %r11, %rbx
    72 27                              jb p25
    48 8b 80 98 00 00 00               movq 152(%rax), %rax
    8b 56 04                           movl 4(%rsi), %edx
    4c 01 d7                           addq %r10, %rdi
    48 01 c7                           addq %rax, %rdi
    83 e2 06                           andl $6, %edx
    4c 01 c0                           addq %r8, %rax
    48 89 39                           movq %rdi, (%rcx)
    83 fa 04                           cmpl $4, %edx
    74 28                              je p27
    31 c0                    p23:      xorl %eax, %eax
    eb 24                              jmp p27
    83 3e 01                 p24:      cmpl $1, (%rsi)
    74 0b                              je p26
    48 83 c6 38              p25:      addq $56, %rsi
    4c 39 ce                           cmpq %r9, %rsi
    72 f2                              jb p24
    eb ec                              jmp p23
    48 8b 7e 10              p26:      movq 16(%rsi), %rdi
    49 39 f8                           cmpq %rdi, %r8
    72 ec                              jb p25
    4c 8b 56 20                        movq 32(%rsi), %r10
    49 39 d2                           cmpq %rdx, %r10
    72 e3                              jb p25
    eb a9                              jmp p22
    5b                       p27:      popq %rbx
    c3                                 ret
""")
