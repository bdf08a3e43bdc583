"""Machine code that binds and relocates a mapped library, x86-64: the loop of ``elf/quick.py``, which fills the tables.

The assembly is what a compiler made of this C. ``bind`` returns 0 when all records are done, 1 when it gives up, 2 when
``definer`` and ``symbol`` are an STB_GNU_UNIQUE definition that somebody has to settle, 3 when there is no room for another
row, 4 when the place is not between ``low`` and ``high``; ``at`` is the record to go on with. A definer is 1 nobody (a weak
reference), 2 the module itself, 3 + index in the scope.

    typedef unsigned long u64; typedef unsigned int u32; typedef unsigned short u16; typedef unsigned char u8;
    typedef struct { u64 name; u32 hash, flags; } Version;
    typedef struct {
        u64 base; u8 *symtab; u64 nsyms; u8 *strtab; u64 strsz; u64 *bloom; u64 mask, shift; u32 *buckets; u64 nbuckets;
        u32 *chains; u64 first, last; u16 *versym; Version *versions; u64 nversions; u64 *replaced;
    } Table;
    typedef struct { u64 value; u32 definer, symbol; } Answer;
    typedef struct { u64 place; u32 type, definer; u64 value; long addend; } Row;
    typedef struct {
        u64 *at, *end; Table *own, **scope; u64 nscope; Answer *answers; u64 low, high; Row *rows, *rows_end; u8 *seen; u32 *used;
        u64 definer, symbol, reference;
    } Context;
    static int same(const u8 *a, const u8 *b);
    static u64 lookup(Context *c, Table *own, u64 symbol, int plt);
    u64 bind(Context *c)
    {
        Table *own = c->own;
        for (; c->at != c->end; c->at += 3) {
            u64 *r = c->at;
            u32 type = (u32)r[1];
            u64 symbol = r[1] >> 32;
            long addend = r[2];
            if (!type) continue;
            u64 place = own->base + r[0];
            if (place < c->low || place > c->high) return 4;
            if (type == 8) { *(u64 *)place = own->base + addend; continue; }
            Row row = { place, type, 2, 0, addend };
            int tls = type == 16 || type == 17 || type == 18 || type == 36;
            if (type == 37) { row.value = *(u64 *)place = own->base + addend; row.addend = 0; goto later; }
            if (!tls && type != 1 && type != 6 && type != 7) return 1;
            if (symbol >= own->nsyms) return 1;
            if (tls && !symbol) goto later;
            int plt = tls || type == 7;
            c->reference = 2 * symbol + plt;
            Answer *a = c->answers + c->reference;
            if (!a->definer) {
                if (!symbol) { c->definer = 2; c->symbol = 0; }
                else { u64 failed = lookup(c, own, symbol, plt); if (failed) return failed; }
                if (c->definer > 1) {
                    Table *t = c->definer == 2 ? own : c->scope[c->definer - 3];
                    u8 *d = t->symtab + 24 * c->symbol;
                    u32 section = *(u16 *)(d + 6);
                    if (c->symbol >= t->nsyms) return 1;
                    a->value = *(u64 *)(d + 8);
                    if ((d[4] & 15) != 6) {
                        if (section != 0xfff1) a->value += t->base;
                        if ((d[4] & 15) == 10 && section) c->symbol |= 1ul << 31;
                        for (u64 *o = t->replaced; o && *o; o += 2)
                            if (*o == (c->symbol & 0x7fffffff)) { a->value = o[1]; c->symbol = *o; break; }
                    }
                    if (!c->seen[c->definer]) { c->seen[c->definer] = 1; *c->used++ = c->definer; }
                }
                a->definer = c->definer;
                a->symbol = c->symbol;
            }
            row.definer = a->definer;
            row.value = a->value;
            if (tls) goto later;
            if (type != 1) row.addend = 0;
            *(u64 *)place = row.value + row.addend;
            if (!(a->symbol >> 31)) continue;
            row.type = 37;
        later:
            if (c->rows == c->rows_end) return 3;
            *c->rows++ = row;
        }
        return 0;
    }

    static u64 lookup(Context *c, Table *own, u64 symbol, int plt)
    {
        u8 *s = own->symtab + 24 * symbol;
        u32 info = s[4], vis = s[5] & 3;
        if (info < 16 || vis == 1 || vis == 2) { c->definer = 2; c->symbol = symbol; return 0; }
        if (vis == 3) { if (!*(u16 *)(s + 6)) return 1; c->definer = 2; c->symbol = symbol; return 0; }
        u64 offset = *(u32 *)s;
        if (offset >= own->strsz) return 1;
        u8 *name = own->strtab + offset;
        u32 h = 5381;
        for (u8 *p = name; *p; p++) h = h * 33 + *p;
        Version *want = 0;
        if (own->versym) {
            u64 v = own->versym[symbol] & 0x7fff;
            if (v < own->nversions && own->versions[v].name) want = &own->versions[v];
        }
        u64 n = c->nscope;
        for (u64 k = 0; k < n; k++) {
            Table *t = c->scope[k];
            u64 word = t->bloom[h >> 6 & t->mask];
            if (!(word >> (h & 63) & word >> (h >> (t->shift & 31) & 63) & 1)) continue;
            u64 i = t->buckets[h % (u32)t->nbuckets];
            if (i < t->first) continue;
            u64 found = 0, single = 0, count = 0;
            for (;; i++) {
                if (i >= t->last) return 1;
                u32 other = t->chains[i];
                if (!((other ^ h) >> 1)) {
                    u8 *d = t->symtab + 24 * i;
                    u32 kind = d[4] & 15, section = *(u16 *)(d + 6);
                    u64 at = *(u32 *)d;
                    if (at >= t->strsz) return 1;
                    if (same(name, t->strtab + at) && (1u << kind & 0x467)
                        && !(plt && !section) && (*(u64 *)(d + 8) || section == 0xfff1 || kind == 6)) {
                        int take;
                        if (!t->versym) take = 1;
                        else {
                            u32 raw = t->versym[i], ndx = raw & 0x7fff;
                            if (!want) take = ndx < 3 ? 1 : raw & 0x8000 ? 0 : 2;
                            else {
                                Version *v = ndx < t->nversions ? &t->versions[ndx] : 0;
                                if (!v || !v->name) take = !(want->flags & 1) && !(raw & 0x8000);
                                else take = v->hash == want->hash && same((u8 *)v->name, (u8 *)want->name);
                            }
                        }
                        if (take == 1) { found = i; break; }
                        if (take == 2) { count++; if (!single) single = i; }
                    }
                }
                if (other & 1) break;
            }
            if (!found && count == 1) found = single;
            if (!found) continue;
            u8 *d = t->symtab + 24 * found;
            u32 bind = d[4] >> 4, see = d[5] & 3;
            c->definer = 3 + k; c->symbol = found;
            if (bind == 10) return 2;
            if ((bind == 1 || bind == 2) && (see == 0 || see == 3)) return 0;
        }
        c->definer = 1; c->symbol = 0;
        return info >> 4 != 2;
    }

    static int same(const u8 *a, const u8 *b) { while (*a == *b) { if (!*a) return 1; a++; b++; } return 0; }
"""

from __future__ import annotations

from rtld.arch.base import Stub

# fmt: off
BIND = Stub("""
    41 57                       bind:    pushq %r15
    41 56                                pushq %r14
    41 55                                pushq %r13
    41 54                                pushq %r12
    55                                   pushq %rbp
    53                                   pushq %rbx
    48 89 fb                             movq %rdi, %rbx
    48 83 ec 28                          subq $40, %rsp
    48 8b 77 10                          movq 16(%rdi), %rsi
    48 8b 13                    b1:      movq (%rbx), %rdx
    48 3b 53 08                          cmpq 8(%rbx), %rdx
    0f 84 77 02 00 00                    je b22
    4c 8b 62 08                          movq 8(%rdx), %r12
    48 8b 42 10                          movq 16(%rdx), %rax
    44 89 64 24 14                       movl %r12d, 20(%rsp)
    48 89 44 24 08                       movq %rax, 8(%rsp)
    45 85 e4                             testl %r12d, %r12d
    0f 84 53 02 00 00                    je b21
    48 8b 06                             movq (%rsi), %rax
    4c 8b 2a                             movq (%rdx), %r13
    49 01 c5                             addq %rax, %r13
    4c 3b 6b 30                          cmpq 48(%rbx), %r13
    0f 82 4d 02 00 00                    jb b23
    4c 39 6b 38                          cmpq %r13, 56(%rbx)
    0f 82 43 02 00 00                    jb b23
    41 83 fc 08                          cmpl $8, %r12d
    75 11                                jne b2
    48 8b 7c 24 08                       movq 8(%rsp), %rdi
    48 01 c7                             addq %rax, %rdi
    49 89 7d 00                          movq %rdi, 0(%r13)
    e9 1f 02 00 00                       jmp b21
    41 8d 54 24 f0              b2:      leal -16(%r12), %edx
    83 fa 02                             cmpl $2, %edx
    41 0f 96 c6                          setbe %r14b
    41 83 fc 24                          cmpl $36, %r12d
    0f 94 c2                             sete %dl
    41 09 d6                             orl %edx, %r14d
    41 83 fc 25                          cmpl $37, %r12d
    75 17                                jne b3
    48 8b 7c 24 08                       movq 8(%rsp), %rdi
    45 31 ff                             xorl %r15d, %r15d
    48 01 c7                             addq %rax, %rdi
    49 89 7d 00                          movq %rdi, 0(%r13)
    48 89 f8                             movq %rdi, %rax
    e9 c0 01 00 00                       jmp b19
    4c 89 e2                    b3:      movq %r12, %rdx
    4c 8b 7c 24 08                       movq 8(%rsp), %r15
    48 c1 ea 20                          shrq $32, %rdx
    45 84 f6                             testb %r14b, %r14b
    75 22                                jne b6
    41 83 fc 01                          cmpl $1, %r12d
    74 1c                                je b6
    41 8d 44 24 fa                       leal -6(%r12), %eax
    83 f8 01                             cmpl $1, %eax
    76 0a                                jbe b5
    b8 01 00 00 00              b4:      movl $1, %eax
    e9 da 01 00 00                       jmp b25
    48 3b 56 10                 b5:      cmpq 16(%rsi), %rdx
    72 18                                jb b7
    eb ee                                jmp b4
    48 3b 56 10                 b6:      cmpq 16(%rsi), %rdx
    73 e8                                jnb b4
    48 85 d2                             testq %rdx, %rdx
    75 0b                                jne b7
    31 c0                                xorl %eax, %eax
    45 84 f6                             testb %r14b, %r14b
    0f 85 77 01 00 00                    jne b19
    41 83 fc 07                 b7:      cmpl $7, %r12d
    48 8d 2c 12                          leaq (%rdx,%rdx), %rbp
    0f 94 c1                             sete %cl
    44 09 f1                             orl %r14d, %ecx
    0f b6 c1                             movzbl %cl, %eax
    48 01 c5                             addq %rax, %rbp
    48 89 6b 70                          movq %rbp, 112(%rbx)
    48 c1 e5 04                          salq $4, %rbp
    48 03 6b 28                          addq 40(%rbx), %rbp
    83 7d 08 00                          cmpl $0, 8(%rbp)
    0f 85 1d 01 00 00                    jne b18
    48 85 d2                             testq %rdx, %rdx
    75 10                                jne b8
    31 c0                                xorl %eax, %eax
    48 c7 43 60 02 00 00 00              movq $2, 96(%rbx)
    48 89 43 68                          movq %rax, 104(%rbx)
    eb 1e                                jmp b9
    0f b6 c9                    b8:      movzbl %cl, %ecx
    48 89 df                             movq %rbx, %rdi
    48 89 74 24 18                       movq %rsi, 24(%rsp)
    e8 7c 01 00 00                       call lookup
    48 8b 74 24 18                       movq 24(%rsp), %rsi
    48 85 c0                             testq %rax, %rax
    0f 85 5f 01 00 00                    jne b25
    48 8b 43 60                 b9:      movq 96(%rbx), %rax
    48 83 f8 01                          cmpq $1, %rax
    0f 86 ce 00 00 00                    jbe b17
    48 89 f1                             movq %rsi, %rcx
    48 83 f8 02                          cmpq $2, %rax
    74 09                                je b10
    48 8b 53 18                          movq 24(%rbx), %rdx
    48 8b 4c c2 e8                       movq -24(%rdx,%rax,8), %rcx
    48 8b 7b 68                 b10:     movq 104(%rbx), %rdi
    48 6b d7 18                          imulq $24, %rdi, %rdx
    48 03 51 08                          addq 8(%rcx), %rdx
    66 44 8b 42 06                       movw 6(%rdx), %r8w
    48 3b 79 10                          cmpq 16(%rcx), %rdi
    0f 83 40 ff ff ff                    jnb b4
    4c 8b 52 08                          movq 8(%rdx), %r10
    4c 89 55 00                          movq %r10, 0(%rbp)
    44 8a 4a 04                          movb 4(%rdx), %r9b
    41 83 e1 0f                          andl $15, %r9d
    41 80 f9 06                          cmpb $6, %r9b
    74 6d                                je b16
    45 0f b7 d8                          movzwl %r8w, %r11d
    66 41 83 f8 f1                       cmpw $-15, %r8w
    75 11                                jne b12
    41 80 f9 0a                          cmpb $10, %r9b
    75 22                                jne b13
    48 0f ba ef 1f              b11:     btsq $31, %rdi
    48 89 7b 68                          movq %rdi, 104(%rbx)
    eb 17                                jmp b13
    4c 03 11                    b12:     addq (%rcx), %r10
    4c 89 55 00                          movq %r10, 0(%rbp)
    8a 52 04                             movb 4(%rdx), %dl
    83 e2 0f                             andl $15, %edx
    80 fa 0a                             cmpb $10, %dl
    75 05                                jne b13
    45 85 db                             testl %r11d, %r11d
    75 de                                jne b11
    48 8b 91 80 00 00 00        b13:     movq 128(%rcx), %rdx
    48 85 d2                             testq %rdx, %rdx
    74 2e                                je b16
    48 8b 3a                    b14:     movq (%rdx), %rdi
    48 85 ff                             testq %rdi, %rdi
    74 26                                je b16
    48 8b 4b 68                          movq 104(%rbx), %rcx
    81 e1 ff ff ff 7f                    andl $2147483647, %ecx
    48 39 f9                             cmpq %rdi, %rcx
    75 11                                jne b15
    48 8b 4a 08                          movq 8(%rdx), %rcx
    48 89 4d 00                          movq %rcx, 0(%rbp)
    48 8b 12                             movq (%rdx), %rdx
    48 89 53 68                          movq %rdx, 104(%rbx)
    eb 06                                jmp b16
    48 83 c2 10                 b15:     addq $16, %rdx
    eb d2                                jmp b14
    48 03 43 50                 b16:     addq 80(%rbx), %rax
    80 38 00                             cmpb $0, (%rax)
    75 15                                jne b17
    c6 00 01                             movb $1, (%rax)
    48 8b 43 58                          movq 88(%rbx), %rax
    48 8b 53 60                          movq 96(%rbx), %rdx
    48 8d 48 04                          leaq 4(%rax), %rcx
    48 89 4b 58                          movq %rcx, 88(%rbx)
    89 10                                movl %edx, (%rax)
    48 8b 43 60                 b17:     movq 96(%rbx), %rax
    89 45 08                             movl %eax, 8(%rbp)
    48 8b 43 68                          movq 104(%rbx), %rax
    89 45 0c                             movl %eax, 12(%rbp)
    8b 4d 08                    b18:     movl 8(%rbp), %ecx
    48 8b 45 00                          movq 0(%rbp), %rax
    45 84 f6                             testb %r14b, %r14b
    75 29                                jne b20
    45 31 ff                             xorl %r15d, %r15d
    41 ff cc                             decl %r12d
    4c 0f 44 7c 24 08                    cmove 8(%rsp), %r15
    83 7d 0c 00                          cmpl $0, 12(%rbp)
    49 8d 14 07                          leaq (%r15,%rax), %rdx
    49 89 55 00                          movq %rdx, 0(%r13)
    79 36                                jns b21
    c7 44 24 14 25 00 00 00              movl $37, 20(%rsp)
    eb 05                                jmp b20
    b9 02 00 00 00              b19:     movl $2, %ecx
    48 8b 53 40                 b20:     movq 64(%rbx), %rdx
    48 3b 53 48                          cmpq 72(%rbx), %rdx
    74 31                                je b24
    48 8d 7a 20                          leaq 32(%rdx), %rdi
    48 89 7b 40                          movq %rdi, 64(%rbx)
    8b 7c 24 14                          movl 20(%rsp), %edi
    4c 89 2a                             movq %r13, (%rdx)
    89 7a 08                             movl %edi, 8(%rdx)
    89 4a 0c                             movl %ecx, 12(%rdx)
    48 89 42 10                          movq %rax, 16(%rdx)
    4c 89 7a 18                          movq %r15, 24(%rdx)
    48 83 03 18                 b21:     addq $24, (%rbx)
    e9 7c fd ff ff                       jmp b1
    31 c0                       b22:     xorl %eax, %eax
    eb 0c                                jmp b25
    b8 04 00 00 00              b23:     movl $4, %eax
    eb 05                                jmp b25
    b8 03 00 00 00              b24:     movl $3, %eax
    48 83 c4 28                 b25:     addq $40, %rsp
    5b                                   popq %rbx
    5d                                   popq %rbp
    41 5c                                popq %r12
    41 5d                                popq %r13
    41 5e                                popq %r14
    41 5f                                popq %r15
    c3                                   ret
    41 57                       lookup:  pushq %r15
    48 89 f0                             movq %rsi, %rax
    48 89 d6                             movq %rdx, %rsi
    41 56                                pushq %r14
    48 6b d2 18                          imulq $24, %rdx, %rdx
    41 55                                pushq %r13
    41 54                                pushq %r12
    49 89 fc                             movq %rdi, %r12
    55                                   pushq %rbp
    53                                   pushq %rbx
    48 83 ec 58                          subq $88, %rsp
    48 03 50 08                          addq 8(%rax), %rdx
    89 4c 24 34                          movl %ecx, 52(%rsp)
    8a 4a 05                             movb 5(%rdx), %cl
    0f b6 5a 04                          movzbl 4(%rdx), %ebx
    83 e1 03                             andl $3, %ecx
    8d 79 ff                             leal -1(%rcx), %edi
    89 5c 24 10                          movl %ebx, 16(%rsp)
    40 80 ff 01                          cmpb $1, %dil
    76 05                                jbe l1
    83 fb 0f                             cmpl $15, %ebx
    77 15                                ja l3
    49 c7 44 24 60 02 00 00 00  l1:      movq $2, 96(%r12)
    49 89 74 24 68                       movq %rsi, 104(%r12)
    31 c0                       l2:      xorl %eax, %eax
    e9 f1 02 00 00                       jmp l25
    80 f9 03                    l3:      cmpb $3, %cl
    75 11                                jne l5
    66 83 7a 06 00                       cmpw $0, 6(%rdx)
    75 df                                jne l1
    b8 01 00 00 00              l4:      movl $1, %eax
    e9 db 02 00 00                       jmp l25
    8b 12                       l5:      movl (%rdx), %edx
    48 3b 50 20                          cmpq 32(%rax), %rdx
    73 ee                                jnb l4
    48 03 50 18                          addq 24(%rax), %rdx
    41 b9 05 15 00 00                    movl $5381, %r9d
    48 89 54 24 08                       movq %rdx, 8(%rsp)
    48 89 d1                             movq %rdx, %rcx
    0f b6 11                    l6:      movzbl (%rcx), %edx
    84 d2                                testb %dl, %dl
    74 0c                                je l7
    45 6b c9 21                          imull $33, %r9d, %r9d
    48 ff c1                             incq %rcx
    41 01 d1                             addl %edx, %r9d
    eb ed                                jmp l6
    4c 8b 70 68                 l7:      movq 104(%rax), %r14
    4d 85 f6                             testq %r14, %r14
    74 28                                je l8
    66 41 8b 14 76                       movw (%r14,%rsi,2), %dx
    45 31 f6                             xorl %r14d, %r14d
    81 e2 ff 7f 00 00                    andl $32767, %edx
    48 3b 50 78                          cmpq 120(%rax), %rdx
    73 14                                jnb l8
    48 c1 e2 04                          salq $4, %rdx
    48 03 50 70                          addq 112(%rax), %rdx
    48 83 3a 00                          cmpq $0, (%rdx)
    49 89 d6                             movq %rdx, %r14
    75 03                                jne l8
    45 31 f6                             xorl %r14d, %r14d
    49 8b 44 24 20              l8:      movq 32(%r12), %rax
    45 31 ff                             xorl %r15d, %r15d
    48 89 44 24 28                       movq %rax, 40(%rsp)
    44 89 c8                             movl %r9d, %eax
    c1 e8 06                             shrl $6, %eax
    48 89 44 24 18                       movq %rax, 24(%rsp)
    44 89 c8                             movl %r9d, %eax
    83 e0 3f                             andl $63, %eax
    89 44 24 40                          movl %eax, 64(%rsp)
    48 8b 44 24 28              l9:      movq 40(%rsp), %rax
    49 39 c7                             cmpq %rax, %r15
    0f 84 26 02 00 00                    je l23
    49 8b 44 24 18                       movq 24(%r12), %rax
    48 8b 54 24 18                       movq 24(%rsp), %rdx
    44 89 cf                             movl %r9d, %edi
    4a 8b 1c f8                          movq (%rax,%r15,8), %rbx
    48 8b 43 28                          movq 40(%rbx), %rax
    48 23 53 30                          andq 48(%rbx), %rdx
    48 8b 4b 38                          movq 56(%rbx), %rcx
    48 8b 04 d0                          movq (%rax,%rdx,8), %rax
    d3 ef                                shrl %cl, %edi
    89 f9                                movl %edi, %ecx
    48 89 c2                             movq %rax, %rdx
    48 d3 ea                             shrq %cl, %rdx
    8a 4c 24 40                          movb 64(%rsp), %cl
    48 d3 e8                             shrq %cl, %rax
    48 21 c2                             andq %rax, %rdx
    80 e2 01                             andb $1, %dl
    75 05                                jne l11
    49 ff c7                    l10:     incq %r15
    eb b3                                jmp l9
    44 89 c8                    l11:     movl %r9d, %eax
    31 d2                                xorl %edx, %edx
    f7 73 48                             divl 72(%rbx)
    48 8b 43 40                          movq 64(%rbx), %rax
    8b 2c 90                             movl (%rax,%rdx,4), %ebp
    48 3b 6b 58                          cmpq 88(%rbx), %rbp
    72 e6                                jb l10
    48 8b 43 60                          movq 96(%rbx), %rax
    31 d2                                xorl %edx, %edx
    48 89 14 24                          movq %rdx, (%rsp)
    31 d2                                xorl %edx, %edx
    48 89 44 24 20                       movq %rax, 32(%rsp)
    48 8b 44 24 20              l12:     movq 32(%rsp), %rax
    48 39 c5                             cmpq %rax, %rbp
    0f 83 f5 fe ff ff                    jnb l4
    48 8b 43 50                          movq 80(%rbx), %rax
    8b 04 a8                             movl (%rax,%rbp,4), %eax
    89 44 24 14                          movl %eax, 20(%rsp)
    44 31 c8                             xorl %r9d, %eax
    d1 e8                                shrl %eax
    0f 85 2a 01 00 00                    jne l18
    4c 6b dd 18                          imulq $24, %rbp, %r11
    4c 03 5b 08                          addq 8(%rbx), %r11
    48 89 54 24 48                       movq %rdx, 72(%rsp)
    66 41 8b 43 06                       movw 6(%r11), %ax
    45 8a 6b 04                          movb 4(%r11), %r13b
    44 89 4c 24 44                       movl %r9d, 68(%rsp)
    4c 89 5c 24 38                       movq %r11, 56(%rsp)
    41 8b 33                             movl (%r11), %esi
    66 89 44 24 30                       movw %ax, 48(%rsp)
    48 3b 73 20                          cmpq 32(%rbx), %rsi
    0f 83 ad fe ff ff                    jnb l4
    48 8b 7c 24 08                       movq 8(%rsp), %rdi
    48 03 73 18                          addq 24(%rbx), %rsi
    e8 93 01 00 00                       call same
    44 8b 4c 24 44                       movl 68(%rsp), %r9d
    48 8b 54 24 48                       movq 72(%rsp), %rdx
    85 c0                                testl %eax, %eax
    0f 84 d8 00 00 00                    je l18
    44 89 e9                             movl %r13d, %ecx
    bf 67 04 00 00                       movl $1127, %edi
    44 89 e8                             movl %r13d, %eax
    83 e1 0f                             andl $15, %ecx
    83 e0 0f                             andl $15, %eax
    d3 ef                                shrl %cl, %edi
    89 f9                                movl %edi, %ecx
    80 e1 01                             andb $1, %cl
    0f 84 ba 00 00 00                    je l18
    83 7c 24 34 00                       cmpl $0, 52(%rsp)
    44 0f b7 6c 24 30                    movzwl 48(%rsp), %r13d
    4c 8b 5c 24 38                       movq 56(%rsp), %r11
    74 09                                je l13
    45 85 ed                             testl %r13d, %r13d
    0f 84 9f 00 00 00                    je l18
    49 83 7b 08 00              l13:     cmpq $0, 8(%r11)
    75 12                                jne l14
    41 81 fd f1 ff 00 00                 cmpl $65521, %r13d
    74 09                                je l14
    83 f8 06                             cmpl $6, %eax
    0f 85 86 00 00 00                    jne l18
    48 8b 43 68                 l14:     movq 104(%rbx), %rax
    48 85 c0                             testq %rax, %rax
    0f 84 8a 00 00 00                    je l20
    66 8b 0c 68                          movw (%rax,%rbp,2), %cx
    89 c8                                movl %ecx, %eax
    66 25 ff 7f                          andw $32767, %ax
    4d 85 f6                             testq %r14, %r14
    75 18                                jne l15
    66 83 f8 02                          cmpw $2, %ax
    76 75                                jbe l20
    66 85 c9                             testw %cx, %cx
    78 5f                                js l18
    48 ff 04 24                          incq (%rsp)
    48 85 d2                             testq %rdx, %rdx
    48 0f 44 d5                          cmove %rbp, %rdx
    eb 52                                jmp l18
    0f b7 c0                    l15:     movzwl %ax, %eax
    48 3b 43 78                          cmpq 120(%rbx), %rax
    73 12                                jnb l16
    48 c1 e0 04                          salq $4, %rax
    48 03 43 70                          addq 112(%rbx), %rax
    74 08                                je l16
    48 8b 38                             movq (%rax), %rdi
    48 85 ff                             testq %rdi, %rdi
    75 0e                                jne l17
    41 f6 46 0c 01              l16:     testb $1, 12(%r14)
    75 30                                jne l18
    66 85 c9                             testw %cx, %cx
    78 2b                                js l18
    eb 3a                                jmp l20
    41 8b 76 08                 l17:     movl 8(%r14), %esi
    39 70 08                             cmpl %esi, 8(%rax)
    75 20                                jne l18
    49 8b 36                             movq (%r14), %rsi
    48 89 54 24 38                       movq %rdx, 56(%rsp)
    44 89 4c 24 30                       movl %r9d, 48(%rsp)
    e8 b7 00 00 00                       call same
    44 8b 4c 24 30                       movl 48(%rsp), %r9d
    48 8b 54 24 38                       movq 56(%rsp), %rdx
    85 c0                                testl %eax, %eax
    75 11                                jne l20
    f6 44 24 14 01              l18:     testb $1, 20(%rsp)
    75 08                                jne l19
    48 ff c5                             incq %rbp
    e9 a3 fe ff ff                       jmp l12
    31 ed                       l19:     xorl %ebp, %ebp
    48 85 ed                    l20:     testq %rbp, %rbp
    75 07                                jne l21
    48 83 3c 24 01                       cmpq $1, (%rsp)
    74 03                                je l22
    48 89 ea                    l21:     movq %rbp, %rdx
    48 85 d2                    l22:     testq %rdx, %rdx
    0f 84 5e fe ff ff                    je l10
    48 6b ca 18                          imulq $24, %rdx, %rcx
    48 03 4b 08                          addq 8(%rbx), %rcx
    49 8d 7f 03                          leaq 3(%r15), %rdi
    8a 41 04                             movb 4(%rcx), %al
    8a 49 05                             movb 5(%rcx), %cl
    49 89 7c 24 60                       movq %rdi, 96(%r12)
    49 89 54 24 68                       movq %rdx, 104(%r12)
    c0 e8 04                             shrb $4, %al
    0f b6 f0                             movzbl %al, %esi
    3c 0a                                cmpb $10, %al
    74 46                                je l24
    8d 46 ff                             leal -1(%rsi), %eax
    83 f8 01                             cmpl $1, %eax
    0f 87 2c fe ff ff                    ja l10
    83 e1 03                             andl $3, %ecx
    b8 09 00 00 00                       movl $9, %eax
    48 d3 e8                             shrq %cl, %rax
    a8 01                                testb $1, %al
    0f 84 19 fe ff ff                    je l10
    e9 2f fd ff ff                       jmp l2
    49 c7 44 24 60 01 00 00 00  l23:     movq $1, 96(%r12)
    31 c0                                xorl %eax, %eax
    49 89 44 24 68                       movq %rax, 104(%r12)
    8b 44 24 10                          movl 16(%rsp), %eax
    c1 e8 04                             shrl $4, %eax
    83 f8 02                             cmpl $2, %eax
    0f 95 c0                             setne %al
    0f b6 c0                             movzbl %al, %eax
    eb 05                                jmp l25
    b8 02 00 00 00              l24:     movl $2, %eax
    48 83 c4 58                 l25:     addq $88, %rsp
    5b                                   popq %rbx
    5d                                   popq %rbp
    41 5c                                popq %r12
    41 5d                                popq %r13
    41 5e                                popq %r14
    41 5f                                popq %r15
    c3                                   ret
    31 c0                       same:    xorl %eax, %eax
    8a 14 07                    s1:      movb (%rdi,%rax), %dl
    3a 14 06                             cmpb (%rsi,%rax), %dl
    75 0d                                jne s2
    48 ff c0                             incq %rax
    84 d2                                testb %dl, %dl
    75 f1                                jne s1
    b8 01 00 00 00                       movl $1, %eax
    c3                                   ret
    31 c0                       s2:      xorl %eax, %eax
    c3                                   ret
""")
