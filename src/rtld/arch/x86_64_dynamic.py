"""Machine code that decodes the dynamic section of a mapped library, x86-64, for ``x86_64_open.py``.

The assembly is what a compiler made of this C, with the types of ``x86_64_open.py``. In ``d`` are the values by tag: 40 + n is
0x6ffffff0 + n, 63 DT_GNU_HASH, 62 whether its own symbols come first. The last of several counts, as in glibc. 1: it has
something that is not the usual: other tables of relocations, filters, flags, a table at address 0.

    static u8 *place(Open *c, u64 vaddr, u64 size);
    static u8 *joined(u8 *to, u8 *end, const u8 *from);
    u64 decode(Open *c, Segment *dynamic)
    {
        for (int i = 0; i < 64; i++) c->d[i] = 0;
        c->dynamic = c->bias + dynamic->vaddr;
        u64 n = dynamic->filesz / 16, seen = 0;
        Segment *s = c->segments, *last = s + c->phnum;
        for (;; s++) {
            if (s == last) return 1;
            if (s->type == 1 && s->vaddr <= dynamic->vaddr && 16 * n <= s->filesz && dynamic->vaddr - s->vaddr <= s->filesz - 16 * n) break;
        }
        if (!(s->flags & 4)) return 1;
        u64 needs[32];
        c->nneeded = 0;
        for (u64 *t = (u64 *)c->dynamic, *end = t + 2 * n; t < end && *t; t += 2) {
            u64 tag = *t, i = tag;
            if (tag == 1) {
                if (c->nneeded == 32) return 1;
                needs[c->nneeded++] = t[1];
                continue;
            }
            if (tag == 17 || tag == 22 || tag == 0x7ffffffd || tag == 0x7fffffff || tag >> 28 == 6 && tag < 0x6ffffe00) return 1;
            if (tag == 0x6ffffef5) i = 63;
            else if (tag >> 4 == 0x6ffffff) i = 40 + (tag & 15);
            else if (tag > 39) continue;
            seen |= 1ul << i;
            c->d[i] = t[1];
        }
        u64 tables = 1ul << 5 | 1ul << 6 | 1ul << 7 | 1ul << 10 | 1ul << 14 | 1ul << 23 | 1ul << 25 | 1ul << 26 | 1ul << 36 | 1ul << 40 | 1ul << 52 | 1ul << 54 | 1ul << 63;
        for (int i = 0; i < 64; i++)
            if (seen & tables & 1ul << i && !c->d[i]) return 1;
        c->d[62] = seen >> 16 & 1 | c->d[30] >> 1 & 1;
        if (c->d[30] & ~10ul || c->d[51] & ~1ul) return 1;
        u64 strsz = c->d[10];
        u8 *strings = strsz ? place(c, c->d[5], strsz) : 0;
        if (!strings || strings[strsz - 1]) return 1;
        c->soname = 0;
        if (c->d[14]) {
            if (c->d[14] >= strsz) return 1;
            c->soname = strings + c->d[14];
        }
        u8 *to = c->text, *end = c->text + sizeof c->text;
        for (u64 i = 0; i < c->nneeded; i++) {
            if (needs[i] >= strsz) return 1;
            u8 *p = c->need[i] = strings + needs[i];
            to = joined(to, end, p);
            if (!to || !*p) return 1;
            for (; *p; p++) if (*p == '$') return 1;
            *to++ = 0;
            if (to == end) return 1;
        }
        c->needs = to;
        return 0;
    }

    static u8 *place(Open *c, u64 vaddr, u64 size)
    {
        for (Segment *s = c->segments, *last = s + c->phnum; s < last; s++)
            if (s->type == 1 && s->vaddr <= vaddr && size <= s->filesz && vaddr - s->vaddr <= s->filesz - size)
                return (s->flags & 6) == 4 ? (u8 *)(c->bias + vaddr) : 0;
        return 0;
    }

    static u8 *joined(u8 *to, u8 *end, const u8 *from)
    {
        do {
            if (to == end) return 0;
            *to = *from;
            to++;
        } while (*from++);
        return to - 1;
    }
"""

from __future__ import annotations

from rtld.arch.base import Stub

# fmt: off
DYNAMIC = Stub("""
    41 57                          decode:  pushq %r15
    31 c0                                   xorl %eax, %eax
    41 56                                   pushq %r14
    41 55                                   pushq %r13
    41 54                                   pushq %r12
    55                                      pushq %rbp
    53                                      pushq %rbx
    48 89 fb                                movq %rdi, %rbx
    48 81 ec 18 01 00 00                    subq $280, %rsp
    31 ff                          d1:      xorl %edi, %edi
    48 89 bc 03 d8 01 00 00                 movq %rdi, 472(%rbx, %rax)
    48 83 c0 08                             addq $8, %rax
    48 3d 00 02 00 00                       cmpq $512, %rax
    75 ea                                   jne d1
    48 8b 7e 10                             movq 16(%rsi), %rdi
    48 8b 93 98 00 00 00                    movq 152(%rbx), %rdx
    4c 6b 83 a0 00 00 00 38                 imulq $56, 160(%rbx), %r8
    48 8b 4e 20                             movq 32(%rsi), %rcx
    48 01 fa                                addq %rdi, %rdx
    48 8b 83 b8 00 00 00                    movq 184(%rbx), %rax
    48 89 93 b0 00 00 00                    movq %rdx, 176(%rbx)
    48 83 e1 f0                             andq $-16, %rcx
    49 01 c0                                addq %rax, %r8
    4c 39 c0                       d2:      cmpq %r8, %rax
    75 0b                                   jne d4
    41 bc 01 00 00 00              d3:      movl $1, %r12d
    e9 6e 02 00 00                          jmp d24
    83 38 01                       d4:      cmpl $1, (%rax)
    75 20                                   jne d5
    4c 8b 48 10                             movq 16(%rax), %r9
    4c 39 cf                                cmpq %r9, %rdi
    72 17                                   jb d5
    48 8b 70 20                             movq 32(%rax), %rsi
    48 39 ce                                cmpq %rcx, %rsi
    72 0e                                   jb d5
    49 89 fa                                movq %rdi, %r10
    48 29 ce                                subq %rcx, %rsi
    4d 29 ca                                subq %r9, %r10
    4c 39 d6                                cmpq %r10, %rsi
    73 06                                   jnb d6
    48 83 c0 38                    d5:      addq $56, %rax
    eb c5                                   jmp d2
    f6 40 04 04                    d6:      testb $4, 4(%rax)
    74 c4                                   je d3
    31 f6                                   xorl %esi, %esi
    31 c0                                   xorl %eax, %eax
    bf 01 00 00 00                          movl $1, %edi
    48 89 b3 d0 00 00 00                    movq %rsi, 208(%rbx)
    48 8d 34 0a                             leaq (%rdx, %rcx), %rsi
    48 39 f2                       d7:      cmpq %rsi, %rdx
    72 14                                   jb d9
    31 c9                                   xorl %ecx, %ecx
    48 ba e0 44 80 06 10 01 50 80  d8:      movabsq $-9200852870377749280, %rdx
    48 21 c2                                andq %rax, %rdx
    e9 df 00 00 00                          jmp d17
    48 8b 0a                       d9:      movq (%rdx), %rcx
    48 85 c9                                testq %rcx, %rcx
    74 e6                                   je d8
    48 83 f9 01                             cmpq $1, %rcx
    75 2a                                   jne d10
    48 8b 8b d0 00 00 00                    movq 208(%rbx), %rcx
    48 83 f9 20                             cmpq $32, %rcx
    0f 84 78 ff ff ff                       je d3
    4c 8d 41 01                             leaq 1(%rcx), %r8
    4c 89 83 d0 00 00 00                    movq %r8, 208(%rbx)
    4c 8b 42 08                             movq 8(%rdx), %r8
    4c 89 44 cc 10                          movq %r8, 16(%rsp, %rcx, 8)
    e9 86 00 00 00                          jmp d14
    48 83 f9 11                    d10:     cmpq $17, %rcx
    0f 84 55 ff ff ff                       je d3
    48 83 f9 16                             cmpq $22, %rcx
    0f 84 4b ff ff ff                       je d3
    49 89 c8                                movq %rcx, %r8
    49 83 e0 fd                             andq $-3, %r8
    49 81 f8 fd ff ff 7f                    cmpq $2147483645, %r8
    0f 84 37 ff ff ff                       je d3
    49 89 c8                                movq %rcx, %r8
    49 c1 e8 1c                             shrq $28, %r8
    49 83 f8 06                             cmpq $6, %r8
    74 08                                   je d11
    48 83 f9 27                             cmpq $39, %rcx
    76 36                                   jbe d13
    eb 49                                   jmp d14
    48 81 f9 ff fd ff 6f           d11:     cmpq $1879047679, %rcx
    0f 86 15 ff ff ff                       jbe d3
    48 81 f9 f5 fe ff 6f                    cmpq $1879047925, %rcx
    74 19                                   je d12
    49 89 c8                                movq %rcx, %r8
    49 c1 e8 04                             shrq $4, %r8
    49 81 f8 ff ff ff 06                    cmpq $117440511, %r8
    75 23                                   jne d14
    83 e1 0f                                andl $15, %ecx
    48 83 c1 28                             addq $40, %rcx
    eb 05                                   jmp d13
    b9 3f 00 00 00                 d12:     movl $63, %ecx
    49 89 f8                       d13:     movq %rdi, %r8
    49 d3 e0                                salq %cl, %r8
    4c 09 c0                                orq %r8, %rax
    4c 8b 42 08                             movq 8(%rdx), %r8
    4c 89 84 cb d8 01 00 00                 movq %r8, 472(%rbx, %rcx, 8)
    48 83 c2 10                    d14:     addq $16, %rdx
    e9 20 ff ff ff                          jmp d7
    48 83 bc cb d8 01 00 00 00     d15:     cmpq $0, 472(%rbx, %rcx, 8)
    0f 84 c1 fe ff ff                       je d3
    48 ff c1                       d16:     incq %rcx
    48 83 f9 40                             cmpq $64, %rcx
    74 0e                                   je d18
    48 89 d6                       d17:     movq %rdx, %rsi
    48 d3 ee                                shrq %cl, %rsi
    40 80 e6 01                             andb $1, %sil
    74 eb                                   je d16
    eb da                                   jmp d15
    4c 8b a3 c8 02 00 00           d18:     movq 712(%rbx), %r12
    48 c1 e8 10                             shrq $16, %rax
    4c 89 e2                                movq %r12, %rdx
    48 d1 ea                                shrq %rdx
    48 09 d0                                orq %rdx, %rax
    83 e0 01                                andl $1, %eax
    48 89 83 c8 03 00 00                    movq %rax, 968(%rbx)
    49 83 e4 f5                             andq $-11, %r12
    0f 85 82 fe ff ff                       jne d3
    48 83 bb 70 03 00 00 01                 cmpq $1, 880(%rbx)
    0f 87 74 fe ff ff                       ja d3
    4c 8b bb 28 02 00 00                    movq 552(%rbx), %r15
    4d 85 ff                                testq %r15, %r15
    0f 84 64 fe ff ff                       je d3
    48 8b b3 00 02 00 00                    movq 512(%rbx), %rsi
    4c 89 fa                                movq %r15, %rdx
    48 89 df                                movq %rbx, %rdi
    e8 e0 00 00 00                          call place
    49 89 c6                                movq %rax, %r14
    48 85 c0                                testq %rax, %rax
    0f 84 46 fe ff ff                       je d3
    42 80 7c 38 ff 00                       cmpb $0, -1(%rax, %r15)
    0f 85 3a fe ff ff                       jne d3
    31 c0                                   xorl %eax, %eax
    48 89 83 c0 00 00 00                    movq %rax, 192(%rbx)
    48 8b 83 48 02 00 00                    movq 584(%rbx), %rax
    48 85 c0                                testq %rax, %rax
    74 13                                   je d19
    4c 39 f8                                cmpq %r15, %rax
    0f 83 1c fe ff ff                       jnb d3
    4c 01 f0                                addq %r14, %rax
    48 89 83 c0 00 00 00                    movq %rax, 192(%rbx)
    48 8d 83 d8 0f 00 00           d19:     leaq 4056(%rbx), %rax
    48 8d bb d8 0b 00 00                    leaq 3032(%rbx), %rdi
    45 31 ed                                xorl %r13d, %r13d
    48 89 44 24 08                          movq %rax, 8(%rsp)
    4c 3b ab d0 00 00 00           d20:     cmpq 208(%rbx), %r13
    73 65                                   jnb d23
    4a 8b 6c ec 10                          movq 16(%rsp, %r13, 8), %rbp
    4c 39 fd                                cmpq %r15, %rbp
    0f 83 e5 fd ff ff                       jnb d3
    4c 01 f5                                addq %r14, %rbp
    48 8b 74 24 08                          movq 8(%rsp), %rsi
    4a 89 ac eb d8 00 00 00                 movq %rbp, 216(%rbx, %r13, 8)
    48 89 ea                                movq %rbp, %rdx
    e8 bb 00 00 00                          call joined
    48 85 c0                                testq %rax, %rax
    0f 84 c4 fd ff ff                       je d3
    80 7d 00 00                             cmpb $0, 0(%rbp)
    0f 84 ba fd ff ff                       je d3
    8a 55 00                       d21:     movb 0(%rbp), %dl
    84 d2                                   testb %dl, %dl
    74 0e                                   je d22
    80 fa 24                                cmpb $36, %dl
    0f 84 aa fd ff ff                       je d3
    48 ff c5                                incq %rbp
    eb eb                                   jmp d21
    c6 00 00                       d22:     movb $0, (%rax)
    48 8d 78 01                             leaq 1(%rax), %rdi
    48 39 7c 24 08                          cmpq %rdi, 8(%rsp)
    0f 84 93 fd ff ff                       je d3
    49 ff c5                                incq %r13
    eb 92                                   jmp d20
    48 89 bb c8 00 00 00           d23:     movq %rdi, 200(%rbx)
    48 81 c4 18 01 00 00           d24:     addq $280, %rsp
    4c 89 e0                                movq %r12, %rax
    5b                                      popq %rbx
    5d                                      popq %rbp
    41 5c                                   popq %r12
    41 5d                                   popq %r13
    41 5e                                   popq %r14
    41 5f                                   popq %r15
    c3                                      ret
    4c 6b 87 a0 00 00 00 38        place:   imulq $56, 160(%rdi), %r8
    48 8b 87 b8 00 00 00                    movq 184(%rdi), %rax
    48 89 f9                                movq %rdi, %rcx
    49 01 c0                                addq %rax, %r8
    4c 39 c0                       d25:     cmpq %r8, %rax
    73 43                                   jnb d27
    83 38 01                                cmpl $1, (%rax)
    75 38                                   jne d26
    4c 8b 48 10                             movq 16(%rax), %r9
    4c 39 ce                                cmpq %r9, %rsi
    72 2f                                   jb d26
    48 8b 78 20                             movq 32(%rax), %rdi
    48 39 d7                                cmpq %rdx, %rdi
    72 26                                   jb d26
    49 89 f2                                movq %rsi, %r10
    48 29 d7                                subq %rdx, %rdi
    4d 29 ca                                subq %r9, %r10
    4c 39 d7                                cmpq %r10, %rdi
    72 18                                   jb d26
    8b 50 04                                movl 4(%rax), %edx
    31 c0                                   xorl %eax, %eax
    83 e2 06                                andl $6, %edx
    83 fa 04                                cmpl $4, %edx
    75 13                                   jne d28
    48 8b 81 98 00 00 00                    movq 152(%rcx), %rax
    48 01 f0                                addq %rsi, %rax
    c3                                      ret
    48 83 c0 38                    d26:     addq $56, %rax
    eb b8                                   jmp d25
    31 c0                          d27:     xorl %eax, %eax
    c3                             d28:     ret
    48 89 f8                       joined:  movq %rdi, %rax
    48 39 f7                                cmpq %rsi, %rdi
    74 11                                   je d29
    8a 0a                                   movb (%rdx), %cl
    48 8d 7f 01                             leaq 1(%rdi), %rdi
    48 ff c2                                incq %rdx
    88 4f ff                                movb %cl, -1(%rdi)
    84 c9                                   testb %cl, %cl
    75 e8                                   jne joined
    c3                                      ret
    31 c0                          d29:     xorl %eax, %eax
    c3                                      ret
""")
