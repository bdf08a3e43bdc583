"""Machine code that reads the version tables of a mapped library, x86-64, for ``elf/quick.py``.

The assembly is what a compiler made of this C, with the types of ``x86_64_bind.py``. Row i of ``versions`` is the version with index
i: flag 1 is hidden, 2 defined here. Every version that is needed must be among those its provider defines; 1: give up.

    typedef struct { u8 *need, *need_end; u64 need_count; u8 *def, *def_end; u64 def_count; u8 *strtab; u64 strsz; Version *versions; u64 nversions; Table **providers; } Versions;
    static int same(const u8 *a, const u8 *b);
    u64 versions(Versions *c)
    {
        u8 *at = c->need;
        for (u64 i = 0; i < c->need_count; i++) {
            if (at + 16 > c->need_end) return 1;
            u8 *aux = at + *(u32 *)(at + 8);
            Table *t = c->providers[i];
            for (u32 n = *(u16 *)(at + 2); n; n--) {
                if (aux + 16 > c->need_end) return 1;
                u32 hash = *(u32 *)aux, other = *(u16 *)(aux + 6), name = *(u32 *)(aux + 8);
                u64 index = other & 0x7fff;
                if (index >= c->nversions || name >= c->strsz || !t->versions) return 1;
                Version *v = &c->versions[index];
                v->name = (u64)(c->strtab + name); v->hash = hash; v->flags = other >> 15;
                u64 k = 1;
                for (;; k++) {
                    if (k >= t->nversions) return 1;
                    Version *w = &t->versions[k];
                    if (w->hash == hash && w->flags & 2 && same((u8 *)w->name, (u8 *)v->name)) break;
                }
                aux += *(u32 *)(aux + 12);
            }
            at += *(u32 *)(at + 12);
        }
        at = c->def;
        for (u64 i = 0; i < c->def_count; i++) {
            if (at + 20 > c->def_end) return 1;
            u64 index = *(u16 *)(at + 4) & 0x7fff;
            if (!(*(u16 *)(at + 2) & 1)) {
                u8 *aux = at + *(u32 *)(at + 12);
                if (aux + 8 > c->def_end || *(u32 *)aux >= c->strsz || index >= c->nversions) return 1;
                Version *v = &c->versions[index];
                v->name = (u64)(c->strtab + *(u32 *)aux); v->hash = *(u32 *)(at + 8); v->flags = 2 | *(u16 *)(at + 4) >> 15;
            }
            at += *(u32 *)(at + 16);
        }
        return 0;
    }

    static int same(const u8 *a, const u8 *b) { while (*a == *b) { if (!*a) return 1; a++; b++; } return 0; }
"""

from __future__ import annotations

from rtld.arch.base import Stub

# fmt: off
VERSIONS = Stub("""
    41 57              versions:  pushq %r15
    41 56                         pushq %r14
    45 31 f6                      xorl %r14d, %r14d
    41 55                         pushq %r13
    41 54                         pushq %r12
    55                            pushq %rbp
    53                            pushq %rbx
    48 89 fb                      movq %rdi, %rbx
    48 83 ec 48                   subq $72, %rsp
    48 8b 47 10                   movq 16(%rdi), %rax
    4c 8b 2f                      movq (%rdi), %r13
    48 89 44 24 08                movq %rax, 8(%rsp)
    4c 39 74 24 08     v1:        cmpq %r14, 8(%rsp)
    0f 84 11 01 00 00             je v9
    4c 8b 43 08                   movq 8(%rbx), %r8
    49 8d 45 10                   leaq 16(%r13), %rax
    49 39 c0                      cmpq %rax, %r8
    73 0a                         jnb v3
    b8 01 00 00 00     v2:        movl $1, %eax
    e9 85 01 00 00                jmp v13
    48 8b 43 50        v3:        movq 80(%rbx), %rax
    41 8b 6d 08                   movl 8(%r13), %ebp
    45 0f b7 7d 02                movzwl 2(%r13), %r15d
    4e 8b 0c f0                   movq (%rax,%r14,8), %r9
    4c 01 ed                      addq %r13, %rbp
    45 85 ff           v4:        testl %r15d, %r15d
    0f 84 ce 00 00 00             je v8
    48 8d 45 10                   leaq 16(%rbp), %rax
    49 39 c0                      cmpq %rax, %r8
    72 d0                         jb v2
    0f b7 4d 06                   movzwl 6(%rbp), %ecx
    44 8b 55 00                   movl 0(%rbp), %r10d
    8b 75 08                      movl 8(%rbp), %esi
    89 c8                         movl %ecx, %eax
    25 ff 7f 00 00                andl $32767, %eax
    48 3b 43 48                   cmpq 72(%rbx), %rax
    73 b8                         jnb v2
    48 3b 73 38                   cmpq 56(%rbx), %rsi
    73 b2                         jnb v2
    4d 8b 61 70                   movq 112(%r9), %r12
    4d 85 e4                      testq %r12, %r12
    74 a9                         je v2
    48 03 73 30                   addq 48(%rbx), %rsi
    48 c1 e0 04                   salq $4, %rax
    48 03 43 40                   addq 64(%rbx), %rax
    49 83 c4 10                   addq $16, %r12
    48 89 30                      movq %rsi, (%rax)
    c1 e9 0f                      shrl $15, %ecx
    4d 8b 59 78                   movq 120(%r9), %r11
    44 89 50 08                   movl %r10d, 8(%rax)
    89 48 0c                      movl %ecx, 12(%rax)
    b9 01 00 00 00                movl $1, %ecx
    4c 39 d9           v5:        cmpq %r11, %rcx
    0f 83 7a ff ff ff             jnb v2
    45 39 54 24 08                cmpl %r10d, 8(%r12)
    75 51                         jne v6
    41 f6 44 24 0c 02             testb $2, 12(%r12)
    74 49                         je v6
    49 8b 3c 24                   movq (%r12), %rdi
    44 89 54 24 3c                movl %r10d, 60(%rsp)
    4c 89 4c 24 30                movq %r9, 48(%rsp)
    48 89 4c 24 28                movq %rcx, 40(%rsp)
    4c 89 5c 24 20                movq %r11, 32(%rsp)
    4c 89 44 24 18                movq %r8, 24(%rsp)
    48 89 74 24 10                movq %rsi, 16(%rsp)
    e8 e2 00 00 00                call same
    48 8b 74 24 10                movq 16(%rsp), %rsi
    4c 8b 44 24 18                movq 24(%rsp), %r8
    85 c0                         testl %eax, %eax
    4c 8b 5c 24 20                movq 32(%rsp), %r11
    48 8b 4c 24 28                movq 40(%rsp), %rcx
    4c 8b 4c 24 30                movq 48(%rsp), %r9
    44 8b 54 24 3c                movl 60(%rsp), %r10d
    75 09                         jne v7
    48 ff c1           v6:        incq %rcx
    49 83 c4 10                   addq $16, %r12
    eb 96                         jmp v5
    8b 45 0c           v7:        movl 12(%rbp), %eax
    41 ff cf                      decl %r15d
    48 01 c5                      addq %rax, %rbp
    e9 29 ff ff ff                jmp v4
    41 8b 45 0c        v8:        movl 12(%r13), %eax
    49 ff c6                      incq %r14
    49 01 c5                      addq %rax, %r13
    e9 e4 fe ff ff                jmp v1
    48 8b 43 18        v9:        movq 24(%rbx), %rax
    4c 8b 43 28                   movq 40(%rbx), %r8
    31 ff                         xorl %edi, %edi
    49 39 f8           v10:       cmpq %rdi, %r8
    74 7a                         je v12
    48 8b 73 20                   movq 32(%rbx), %rsi
    48 8d 50 14                   leaq 20(%rax), %rdx
    48 39 d6                      cmpq %rdx, %rsi
    0f 82 dc fe ff ff             jb v2
    66 8b 48 04                   movw 4(%rax), %cx
    f6 40 02 01                   testb $1, 2(%rax)
    75 54                         jne v11
    8b 50 0c                      movl 12(%rax), %edx
    48 01 c2                      addq %rax, %rdx
    4c 8d 4a 08                   leaq 8(%rdx), %r9
    4c 39 ce                      cmpq %r9, %rsi
    0f 82 bf fe ff ff             jb v2
    8b 32                         movl (%rdx), %esi
    48 3b 73 38                   cmpq 56(%rbx), %rsi
    0f 83 b3 fe ff ff             jnb v2
    48 89 ca                      movq %rcx, %rdx
    81 e2 ff 7f 00 00             andl $32767, %edx
    48 3b 53 48                   cmpq 72(%rbx), %rdx
    0f 83 a0 fe ff ff             jnb v2
    48 c1 e2 04                   salq $4, %rdx
    48 03 73 30                   addq 48(%rbx), %rsi
    48 03 53 40                   addq 64(%rbx), %rdx
    66 c1 e9 0f                   shrw $15, %cx
    48 89 32                      movq %rsi, (%rdx)
    83 c9 02                      orl $2, %ecx
    8b 70 08                      movl 8(%rax), %esi
    0f b7 c9                      movzwl %cx, %ecx
    89 72 08                      movl %esi, 8(%rdx)
    89 4a 0c                      movl %ecx, 12(%rdx)
    8b 50 10           v11:       movl 16(%rax), %edx
    48 ff c7                      incq %rdi
    48 01 d0                      addq %rdx, %rax
    eb 81                         jmp v10
    31 c0              v12:       xorl %eax, %eax
    48 83 c4 48        v13:       addq $72, %rsp
    5b                            popq %rbx
    5d                            popq %rbp
    41 5c                         popq %r12
    41 5d                         popq %r13
    41 5e                         popq %r14
    41 5f                         popq %r15
    c3                            ret
    31 c0              same:      xorl %eax, %eax
    8a 14 07           s1:        movb (%rdi,%rax), %dl
    3a 14 06                      cmpb (%rsi,%rax), %dl
    75 0d                         jne s2
    48 ff c0                      incq %rax
    84 d2                         testb %dl, %dl
    75 f1                         jne s1
    b8 01 00 00 00                movl $1, %eax
    c3                            ret
    31 c0              s2:        xorl %eax, %eax
    c3                            ret
""")
