"""Machine code that looks a name up in ld.so.cache, x86-64: ``LdCache.lookup`` (``elf/ldcache.py``) for ``x86_64_open.py``.

The assembly is what a compiler made of this C, with the types of ``x86_64_open.py``. 0: nothing there, or entries that ask for
more than their flags: glibc-hwcaps directories, hwcap bits. ``libcmp`` is the order of the table (_dl_cache_libcmp).

    static int libcmp(const u8 *a, const u8 *b);
    u8 *cached(Open *c)
    {
        long left = 0, right = c->count - 1, hit = -1;
        while (left <= right) {
            long middle = hit < 0 ? left + right >> 1 : left;
            u32 *row = (u32 *)(c->cache + c->entries) + 6 * middle;
            if (row[1] >= c->limit) return 0;
            int order = libcmp(c->name, c->cache + c->base + row[1]);
            if (hit < 0) {
                if (order < 0) left = middle + 1;
                else if (order > 0) right = middle - 1;
                else {
                    hit = left = middle;
                    while (left > 0) {
                        row -= 6;
                        if (row[1] >= c->limit) return 0;
                        if (libcmp(c->name, c->cache + c->base + row[1])) break;
                        left--;
                    }
                }
                continue;
            }
            if (order) return 0;
            if (row[0] == c->flags) {
                if (row[4] | row[5] || row[2] >= c->limit) return 0;
                u8 *path = c->cache + c->base + row[2], *end = c->cache + c->base + c->limit;
                for (u8 *p = path; *p; p++)
                    if (p + 1 == end) return 0;
                return path;
            }
            left++;
        }
        return 0;
    }

    static int libcmp(const u8 *a, const u8 *b)
    {
        while (*a) {
            if ((u32)*a - '0' < 10) {
                if ((u32)*b - '0' >= 10) return 1;
                u32 x = *a++ - '0', y = *b++ - '0';
                while ((u32)*a - '0' < 10) x = x * 10 + *a++ - '0';
                while ((u32)*b - '0' < 10) y = y * 10 + *b++ - '0';
                if (x != y) return (int)x > (int)y ? 1 : -1;
            } else if ((u32)*b - '0' < 10) return -1;
            else if (*a != *b) return (signed char)*a - (signed char)*b;
            else { a++; b++; }
        }
        return -(signed char)*b;
    }
"""

from __future__ import annotations

from rtld.arch.base import Stub

# fmt: off
LDCACHE = Stub("""
    41 57              cached:  pushq %r15
    41 56                       pushq %r14
    41 55                       pushq %r13
    49 89 fd                    movq %rdi, %r13
    41 54                       pushq %r12
    49 83 cc ff                 orq $-1, %r12
    55                          pushq %rbp
    53                          pushq %rbx
    31 db                       xorl %ebx, %ebx
    48 83 ec 28                 subq $40, %rsp
    48 8b 47 38                 movq 56(%rdi), %rax
    4c 8d 70 ff                 leaq -1(%rax), %r14
    4c 39 f3           c1:      cmpq %r14, %rbx
    0f 8f e9 00 00 00           jg c8
    48 89 d8                    movq %rbx, %rax
    4d 85 e4                    testq %r12, %r12
    79 13                       jns c3
    4d 89 e1                    movq %r12, %r9
    49 8d 14 1e        c2:      leaq (%r14, %rbx), %rdx
    48 89 d8                    movq %rbx, %rax
    4d 89 cc                    movq %r9, %r12
    48 d1 fa                    sarq %rdx
    48 89 d3                    movq %rdx, %rbx
    4d 89 e1           c3:      movq %r12, %r9
    49 89 dc                    movq %rbx, %r12
    48 89 c3                    movq %rax, %rbx
    4d 8b 7d 28        c4:      movq 40(%r13), %r15
    49 6b ec 18                 imulq $24, %r12, %rbp
    49 03 6d 30                 addq 48(%r13), %rbp
    4c 89 4c 24 18              movq %r9, 24(%rsp)
    49 8b 4d 48                 movq 72(%r13), %rcx
    4c 01 fd                    addq %r15, %rbp
    8b 75 04                    movl 4(%rbp), %esi
    48 89 4c 24 10              movq %rcx, 16(%rsp)
    48 39 ce                    cmpq %rcx, %rsi
    0f 83 9c 00 00 00           jnb c8
    4d 8b 45 40                 movq 64(%r13), %r8
    49 8b 45 08                 movq 8(%r13), %rax
    4c 01 c6                    addq %r8, %rsi
    48 89 c7                    movq %rax, %rdi
    4c 89 44 24 08              movq %r8, 8(%rsp)
    4c 01 fe                    addq %r15, %rsi
    48 89 04 24                 movq %rax, (%rsp)
    e8 e1 00 00 00              call libcmp
    4c 8b 4c 24 18              movq 24(%rsp), %r9
    4c 8b 44 24 08              movq 8(%rsp), %r8
    48 8b 4c 24 10              movq 16(%rsp), %rcx
    4d 85 c9                    testq %r9, %r9
    79 72                       jns c10
    85 c0                       testl %eax, %eax
    79 10                       jns c5
    49 8d 5c 24 01              leaq 1(%r12), %rbx
    49 39 de                    cmpq %rbx, %r14
    0f 8d 79 ff ff ff           jge c2
    eb 55                       jmp c8
    74 57              c5:      je c9
    4d 8d 74 24 ff              leaq -1(%r12), %r14
    4c 39 f3                    cmpq %r14, %rbx
    0f 8e 67 ff ff ff           jle c2
    eb 43                       jmp c8
    4c 01 c6           c6:      addq %r8, %rsi
    48 8b 3c 24                 movq (%rsp), %rdi
    48 89 4c 24 10              movq %rcx, 16(%rsp)
    4c 01 fe                    addq %r15, %rsi
    4c 89 44 24 08              movq %r8, 8(%rsp)
    e8 8e 00 00 00              call libcmp
    85 c0                       testl %eax, %eax
    0f 85 30 ff ff ff           jne c1
    4c 8b 44 24 08              movq 8(%rsp), %r8
    48 8b 4c 24 10              movq 16(%rsp), %rcx
    48 ff cb                    decq %rbx
    48 85 db           c7:      testq %rbx, %rbx
    0f 8e 1a ff ff ff           jle c1
    8b 75 ec                    movl -20(%rbp), %esi
    48 83 ed 18                 subq $24, %rbp
    48 39 ce                    cmpq %rcx, %rsi
    72 bd                       jb c6
    31 c0              c8:      xorl %eax, %eax
    eb 51                       jmp c13
    4c 89 e3           c9:      movq %r12, %rbx
    eb e2                       jmp c7
    85 c0              c10:     testl %eax, %eax
    75 f3                       jne c8
    8b 45 00                    movl 0(%rbp), %eax
    49 3b 45 50                 cmpq 80(%r13), %rax
    75 2f                       jne c12
    8b 45 10                    movl 16(%rbp), %eax
    0b 45 14                    orl 20(%rbp), %eax
    75 e2                       jne c8
    8b 45 08                    movl 8(%rbp), %eax
    48 39 c8                    cmpq %rcx, %rax
    73 da                       jnb c8
    4c 01 c0                    addq %r8, %rax
    4c 01 c1                    addq %r8, %rcx
    4c 01 f8                    addq %r15, %rax
    49 8d 14 0f                 leaq (%r15, %rcx), %rdx
    48 89 c1                    movq %rax, %rcx
    80 39 00           c11:     cmpb $0, (%rcx)
    74 1a                       je c13
    48 ff c1                    incq %rcx
    48 39 d1                    cmpq %rdx, %rcx
    75 f3                       jne c11
    eb bb                       jmp c8
    48 ff c3           c12:     incq %rbx
    49 39 de                    cmpq %rbx, %r14
    7c b3                       jl c8
    49 89 dc                    movq %rbx, %r12
    e9 e6 fe ff ff              jmp c4
    48 83 c4 28        c13:     addq $40, %rsp
    5b                          popq %rbx
    5d                          popq %rbp
    41 5c                       popq %r12
    41 5d                       popq %r13
    41 5e                       popq %r14
    41 5f                       popq %r15
    c3                          ret
    48 89 f1           libcmp:  movq %rsi, %rcx
    8a 07              c14:     movb (%rdi), %al
    44 8a 01                    movb (%rcx), %r8b
    84 c0                       testb %al, %al
    0f 84 80 00 00 00           je c20
    0f b6 f0                    movzbl %al, %esi
    41 0f b6 d0                 movzbl %r8b, %edx
    83 ee 30                    subl $48, %esi
    83 ea 30                    subl $48, %edx
    83 fe 09                    cmpl $9, %esi
    77 4e                       ja c18
    83 fa 09                    cmpl $9, %edx
    77 70                       ja c21
    48 ff c7                    incq %rdi
    89 f0                       movl %esi, %eax
    48 ff c1                    incq %rcx
    0f b6 37           c15:     movzbl (%rdi), %esi
    44 8d 46 d0                 leal -48(%rsi), %r8d
    41 83 f8 09                 cmpl $9, %r8d
    77 0c                       ja c16
    6b c0 0a                    imull $10, %eax, %eax
    48 ff c7                    incq %rdi
    8d 44 06 d0                 leal -48(%rsi, %rax), %eax
    eb e7                       jmp c15
    0f b6 31           c16:     movzbl (%rcx), %esi
    44 8d 46 d0                 leal -48(%rsi), %r8d
    41 83 f8 09                 cmpl $9, %r8d
    77 0c                       ja c17
    6b d2 0a                    imull $10, %edx, %edx
    48 ff c1                    incq %rcx
    8d 54 16 d0                 leal -48(%rsi, %rdx), %edx
    eb e7                       jmp c16
    39 d0              c17:     cmpl %edx, %eax
    74 9e                       je c14
    0f 9f c0                    setg %al
    0f b6 c0                    movzbl %al, %eax
    8d 44 00 ff                 leal -1(%rax, %rax), %eax
    c3                          ret
    83 fa 09           c18:     cmpl $9, %edx
    76 28                       jbe c22
    44 38 c0                    cmpb %r8b, %al
    74 0b                       je c19
    45 0f be c0                 movsbl %r8b, %r8d
    0f be c0                    movsbl %al, %eax
    44 29 c0                    subl %r8d, %eax
    c3                          ret
    48 ff c7           c19:     incq %rdi
    48 ff c1                    incq %rcx
    e9 73 ff ff ff              jmp c14
    41 0f be c0        c20:     movsbl %r8b, %eax
    f7 d8                       negl %eax
    c3                          ret
    b8 01 00 00 00     c21:     movl $1, %eax
    c3                          ret
    83 c8 ff           c22:     orl $-1, %eax
    c3                          ret
""")
