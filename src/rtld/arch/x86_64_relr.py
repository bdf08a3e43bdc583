"""Machine code that applies DT_RELR to a mapped library, x86-64, for ``elf/quick.py``.

The assembly is what a compiler made of this C. All places are looked at before any is changed; 1: one is in none of the ranges.

    typedef unsigned long u64;
    typedef struct { u64 low, high; } Range;
    typedef struct { u64 base, *at, *end; Range *ranges; } Packed;
    static int inside(Range *r, u64 place);
    u64 relr(Packed *c)
    {
        for (int storing = 0; storing < 2; storing++) {
            u64 where = 0;
            for (u64 *w = c->at; w != c->end; w++) {
                u64 entry = *w;
                if (!(entry & 1)) { where = c->base + entry; entry = 1; }
                else entry >>= 1;
                u64 next = *w & 1 ? where + 63 * 8 : where + 8;
                for (u64 place = where; entry; entry >>= 1, place += 8)
                    if (entry & 1) {
                        if (!inside(c->ranges, place)) return 1;
                        if (storing) *(u64 *)place += c->base;
                    }
                where = next;
            }
        }
        return 0;
    }

    static int inside(Range *r, u64 place)
    {
        for (; r->high; r++)
            if (place >= r->low && place <= r->high) return 1;
        return 0;
    }
"""

from __future__ import annotations

from rtld.arch.base import Stub

# fmt: off
RELR = Stub("""
    41 57                 relr:        pushq %r15
    41 56                              pushq %r14
    45 31 f6                           xorl %r14d, %r14d
    41 55                              pushq %r13
    41 54                              pushq %r12
    49 89 fc                           movq %rdi, %r12
    55                                 pushq %rbp
    53                                 pushq %rbx
    48 83 ec 18                        subq $24, %rsp
    49 8b 44 24 10        r1:          movq 16(%r12), %rax
    4d 8b 6c 24 08                     movq 8(%r12), %r13
    31 ed                              xorl %ebp, %ebp
    48 89 44 24 08                     movq %rax, 8(%rsp)
    4c 39 6c 24 08        r2:          cmpq %r13, 8(%rsp)
    74 6a                              je r9
    49 8b 5d 00                        movq 0(%r13), %rbx
    f6 c3 01                           testb $1, %bl
    75 12                              jne r3
    49 03 1c 24                        addq (%r12), %rbx
    48 89 dd                           movq %rbx, %rbp
    4c 8d 7b 08                        leaq 8(%rbx), %r15
    bb 01 00 00 00                     movl $1, %ebx
    eb 1f                              jmp r6
    48 d1 eb              r3:          shrq %rbx
    4c 8d bd f8 01 00 00               leaq 504(%rbp), %r15
    eb 13                              jmp r6
    48 89 d8              r4:          movq %rbx, %rax
    83 e0 01                           andl $1, %eax
    48 89 04 24                        movq %rax, (%rsp)
    75 0e                              jne r7
    48 d1 eb              r5:          shrq %rbx
    48 83 c5 08                        addq $8, %rbp
    48 85 db              r6:          testq %rbx, %rbx
    75 e8                              jne r4
    eb 20                              jmp r8
    49 8b 7c 24 18        r7:          movq 24(%r12), %rdi
    48 89 ee                           movq %rbp, %rsi
    e8 45 00 00 00                     call inside
    85 c0                              testl %eax, %eax
    74 2e                              je r11
    45 85 f6                           testl %r14d, %r14d
    74 dc                              je r5
    49 8b 04 24                        movq (%r12), %rax
    48 01 45 00                        addq %rax, 0(%rbp)
    eb d2                              jmp r5
    49 83 c5 08           r8:          addq $8, %r13
    4c 89 fd                           movq %r15, %rbp
    eb 8f                              jmp r2
    45 85 f6              r9:          testl %r14d, %r14d
    75 0b                              jne r10
    41 be 01 00 00 00                  movl $1, %r14d
    e9 6e ff ff ff                     jmp r1
    31 c0                 r10:         xorl %eax, %eax
    48 89 04 24                        movq %rax, (%rsp)
    48 8b 04 24           r11:         movq (%rsp), %rax
    48 83 c4 18                        addq $24, %rsp
    5b                                 popq %rbx
    5d                                 popq %rbp
    41 5c                              popq %r12
    41 5d                              popq %r13
    41 5e                              popq %r14
    41 5f                              popq %r15
    c3                                 ret
    48 8b 47 08           inside: i1:  movq 8(%rdi), %rax
    48 85 c0                           testq %rax, %rax
    74 10                              je i3
    48 3b 37                           cmpq (%rdi), %rsi
    72 05                              jb i2
    48 39 f0                           cmpq %rsi, %rax
    73 07                              jnb i4
    48 83 c7 10           i2:          addq $16, %rdi
    eb e7                              jmp i1
    c3                    i3:          ret
    b8 01 00 00 00        i4:          movl $1, %eax
    c3                                 ret
""")
