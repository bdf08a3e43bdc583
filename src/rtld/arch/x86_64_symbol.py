"""Machine code that finds a symbol in the mapped libraries of a scope, x86-64: ``find_symbol`` of ``elf/dlopen.py`` without a version.

The assembly is what a compiler made of this C (``scripts/machine-code`` writes it), with the types of ``x86_64_open.py`` and
``x86_64_link.py``. The address, or 0: nobody has it, or it is none of those whose address is in the symbol table
(thread-local variables, IFUNCs, functions that are led to others).

    u64 symbol(Table **scope, u64 nscope, const u8 *name)
    {
        u32 h = 5381;
        for (const u8 *p = name; *p; p++) h = h * 33 + *p;
        for (Table *t; nscope--; ) {
            t = *scope++;
            if (t->shift > 31) return 0;
            u64 word = t->bloom[h >> 6 & t->mask];
            if (!(word >> (h & 63) & word >> (h >> t->shift & 63) & 1)) continue;
            u64 i = t->buckets[h % (u32)t->nbuckets];
            if (i < t->first) continue;
            u64 found = 0, single = 0, count = 0;
            for (;; i++) {
                if (i >= t->last) return 0;
                u32 other = t->chains[i];
                if (!((other ^ h) >> 1)) {
                    u8 *d = t->symtab + 24 * i;
                    u32 kind = d[4] & 15, section = *(u16 *)(d + 6);
                    u64 at = *(u32 *)d;
                    if (at >= t->strsz) return 0;
                    const u8 *p = t->strtab + at, *q = name;
                    while (*p && *p == *q) p++, q++;
                    if (*p == *q && (1u << kind & 0x467) && (*(u64 *)(d + 8) || section == 0xfff1 || kind == 6)
                        && (section || kind != 6)) {
                        u32 raw = t->versym ? t->versym[i] : 0;
                        if ((raw & 0x7fff) < 2) { found = i; break; }
                        if (!(raw & 0x8000)) { count++; if (!single) single = i; }
                    }
                }
                if (other & 1) break;
            }
            if (!found && count == 1) found = single;
            if (!found) continue;
            u8 *d = t->symtab + 24 * found;
            u32 bind = d[4] >> 4, see = d[5] & 3, kind = d[4] & 15;
            if (bind != 1 && bind != 2 && bind != 10 || see == 1 || see == 2) continue;
            if (kind == 6 || kind == 10 || t->replaced) return 0;
            return *(u64 *)(d + 8) + (*(u16 *)(d + 6) == 0xfff1 ? 0 : t->base);
        }
        return 0;
    }
"""

from __future__ import annotations

from rtld.arch.base import Stub

# fmt: off
SYMBOL = Stub("""
    41 57                    symbol:  pushq %r15
    49 89 d2                          movq %rdx, %r10
    41 b8 05 15 00 00                 movl $5381, %r8d
    41 56                             pushq %r14
    41 55                             pushq %r13
    41 54                             pushq %r12
    55                                pushq %rbp
    53                                pushq %rbx
    48 89 fb                          movq %rdi, %rbx
    48 89 74 24 f0                    movq %rsi, -16(%rsp)
    0f b6 02                 s1:      movzbl (%rdx), %eax
    84 c0                             testb %al, %al
    74 0c                             je s2
    45 6b c0 21                       imull $33, %r8d, %r8d
    48 ff c2                          incq %rdx
    41 01 c0                          addl %eax, %r8d
    eb ed                             jmp s1
    44 89 c0                 s2:      movl %r8d, %eax
    45 31 c9                          xorl %r9d, %r9d
    c1 e8 06                          shrl $6, %eax
    48 89 44 24 e8                    movq %rax, -24(%rsp)
    44 89 c0                          movl %r8d, %eax
    83 e0 3f                          andl $63, %eax
    89 44 24 fc                       movl %eax, -4(%rsp)
    4c 39 4c 24 f0           s3:      cmpq %r9, -16(%rsp)
    0f 84 9f 01 00 00                 je s16
    4a 8b 34 cb                       movq (%rbx, %r9, 8), %rsi
    48 8b 4e 38                       movq 56(%rsi), %rcx
    48 83 f9 1f                       cmpq $31, %rcx
    0f 87 8d 01 00 00                 ja s16
    48 8b 46 28                       movq 40(%rsi), %rax
    48 8b 54 24 e8                    movq -24(%rsp), %rdx
    44 89 c7                          movl %r8d, %edi
    48 23 56 30                       andq 48(%rsi), %rdx
    d3 ef                             shrl %cl, %edi
    48 8b 04 d0                       movq (%rax, %rdx, 8), %rax
    89 f9                             movl %edi, %ecx
    48 89 c2                          movq %rax, %rdx
    48 d3 ea                          shrq %cl, %rdx
    8a 4c 24 fc                       movb -4(%rsp), %cl
    48 d3 e8                          shrq %cl, %rax
    48 21 c2                          andq %rax, %rdx
    80 e2 01                          andb $1, %dl
    0f 84 54 01 00 00                 je s15
    44 89 c0                          movl %r8d, %eax
    31 d2                             xorl %edx, %edx
    f7 76 48                          divl 72(%rsi)
    48 8b 46 40                       movq 64(%rsi), %rax
    8b 3c 90                          movl (%rax, %rdx, 4), %edi
    48 3b 7e 58                       cmpq 88(%rsi), %rdi
    0f 82 3b 01 00 00                 jb s15
    4c 8b 76 60                       movq 96(%rsi), %r14
    31 ed                             xorl %ebp, %ebp
    31 d2                             xorl %edx, %edx
    4c 39 f7                 s4:      cmpq %r14, %rdi
    0f 83 32 01 00 00                 jnb s16
    48 8b 46 50                       movq 80(%rsi), %rax
    44 8b 24 b8                       movl (%rax, %rdi, 4), %r12d
    44 89 c0                          movl %r8d, %eax
    44 31 e0                          xorl %r12d, %eax
    d1 e8                             shrl %eax
    0f 85 9b 00 00 00                 jne s9
    48 6b c7 18                       imulq $24, %rdi, %rax
    48 03 46 08                       addq 8(%rsi), %rax
    44 8b 18                          movl (%rax), %r11d
    4c 3b 5e 20                       cmpq 32(%rsi), %r11
    0f 83 07 01 00 00                 jnb s16
    4c 03 5e 18                       addq 24(%rsi), %r11
    31 c9                             xorl %ecx, %ecx
    45 8a 3c 0b              s5:      movb (%r11, %rcx), %r15b
    45 8a 2c 0a                       movb (%r10, %rcx), %r13b
    45 84 ff                          testb %r15b, %r15b
    74 0a                             je s6
    48 ff c1                          incq %rcx
    45 38 ef                          cmpb %r13b, %r15b
    74 eb                             je s5
    eb 69                             jmp s9
    45 84 ed                 s6:      testb %r13b, %r13b
    75 64                             jne s9
    44 8a 58 04                       movb 4(%rax), %r11b
    41 bf 67 04 00 00                 movl $1127, %r15d
    44 89 d9                          movl %r11d, %ecx
    41 83 e3 0f                       andl $15, %r11d
    83 e1 0f                          andl $15, %ecx
    41 d3 ef                          shrl %cl, %r15d
    44 89 f9                          movl %r15d, %ecx
    80 e1 01                          andb $1, %cl
    74 45                             je s9
    48 83 78 08 00                    cmpq $0, 8(%rax)
    0f b7 48 06                       movzwl 6(%rax), %ecx
    75 0e                             jne s7
    81 f9 f1 ff 00 00                 cmpl $65521, %ecx
    74 06                             je s7
    41 83 fb 06                       cmpl $6, %r11d
    75 2c                             jne s9
    85 c9                    s7:      testl %ecx, %ecx
    75 06                             jne s8
    41 83 fb 06                       cmpl $6, %r11d
    74 22                             je s9
    48 8b 46 68              s8:      movq 104(%rsi), %rax
    48 85 c0                          testq %rax, %rax
    74 29                             je s11
    66 8b 04 78                       movw (%rax, %rdi, 2), %ax
    66 a9 fe 7f                       testw $32766, %ax
    74 1f                             je s11
    66 85 c0                          testw %ax, %ax
    78 0a                             js s9
    48 ff c5                          incq %rbp
    48 85 d2                          testq %rdx, %rdx
    48 0f 44 d7                       cmove %rdi, %rdx
    41 80 e4 01              s9:      andb $1, %r12b
    75 08                             jne s10
    48 ff c7                          incq %rdi
    e9 38 ff ff ff                    jmp s4
    31 ff                    s10:     xorl %edi, %edi
    48 85 ff                 s11:     testq %rdi, %rdi
    75 05                             jne s12
    48 ff cd                          decq %rbp
    74 03                             je s13
    48 89 fa                 s12:     movq %rdi, %rdx
    48 85 d2                 s13:     testq %rdx, %rdx
    74 57                             je s15
    48 6b d2 18                       imulq $24, %rdx, %rdx
    48 03 56 08                       addq 8(%rsi), %rdx
    bf 06 04 00 00                    movl $1030, %edi
    8a 42 04                          movb 4(%rdx), %al
    89 c1                             movl %eax, %ecx
    c0 e9 04                          shrb $4, %cl
    48 d3 ef                          shrq %cl, %rdi
    40 80 e7 01                       andb $1, %dil
    74 39                             je s15
    8a 4a 05                          movb 5(%rdx), %cl
    83 e1 03                          andl $3, %ecx
    ff c9                             decl %ecx
    83 f9 01                          cmpl $1, %ecx
    76 2c                             jbe s15
    83 e0 0f                          andl $15, %eax
    8d 48 fa                          leal -6(%rax), %ecx
    31 c0                             xorl %eax, %eax
    80 e1 fb                          andb $-5, %cl
    74 29                             je s17
    48 83 be 80 00 00 00 00           cmpq $0, 128(%rsi)
    75 1f                             jne s17
    31 c9                             xorl %ecx, %ecx
    66 83 7a 06 f1                    cmpw $-15, 6(%rdx)
    48 8b 42 08                       movq 8(%rdx), %rax
    74 03                             je s14
    48 8b 0e                          movq (%rsi), %rcx
    48 01 c8                 s14:     addq %rcx, %rax
    eb 0a                             jmp s17
    49 ff c1                 s15:     incq %r9
    e9 56 fe ff ff                    jmp s3
    31 c0                    s16:     xorl %eax, %eax
    5b                       s17:     popq %rbx
    5d                                popq %rbp
    41 5c                             popq %r12
    41 5d                             popq %r13
    41 5e                             popq %r14
    41 5f                             popq %r15
    c3                                ret
""")
