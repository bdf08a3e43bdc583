"""Machine code that links a library that ``x86_64_open.py`` has mapped, x86-64: the second half of ``process/inprocess/express.py``.

The assembly is what a compiler made of this C, with the types of ``x86_64_open.py``. 1: not this way; nothing is entered
anywhere, the caller unmaps it. Otherwise it is final, its initialisers and termination functions are listed, and, with ``find``,
unwinders and dl_iterate_phdr know it: rows first, then their number, since other threads read at any time.

    typedef struct { u64 name; u32 hash, flags; } Version;
    typedef struct {
        u64 base; u8 *symtab; u64 nsyms; u8 *strtab; u64 strsz; u64 *bloom; u64 mask, shift; u32 *buckets; u64 nbuckets;
        u32 *chains; u64 first, last; u16 *versym; Version *versions; u64 nversions; u64 *replaced;
    } Table;
    typedef struct { u64 place; u32 type, definer; u64 value; long addend; } Row;
    typedef struct {
        u64 *at, *end; Table *own, **scope; u64 nscope; u8 *answers; u64 low, high; Row *rows, *rows_end; u8 *seen; u32 *used;
        u64 definer, symbol, reference;
    } Context;
    typedef struct { u8 *need, *need_end; u64 need_count; u8 *def, *def_end; u64 def_count; u8 *strtab; u64 strsz; Version *versions; u64 nversions; Table **providers; } Versions;
    typedef struct { u64 base, *at, *end, *ranges; } Packed;
    typedef struct { u64 bias; u8 *name; u64 dynamic, next, before, pending, spare[2]; } Map;
    typedef struct { Table table; u64 room; Version versions[128]; Map map; u64 found[4], object[8]; u8 name[1024]; } Record;
    typedef struct Link {
        Open *file; Record *record; u64 (*prepare)(struct Link *), (*relocate)(struct Link *);
        u64 (*bind)(Context *), (*versions)(Versions *), (*relr)(Packed *); u8 *scratch; u64 size;
        u64 *find, *objects, *adds; Table **providers, **scope; u64 nscope, ninit, nfini, nused; u64 functions[64]; u32 used[64];
    } Link;
    static u64 functions(Open *f, u64 array, u64 bytes, u64 **from);
    static u64 protect(u64 start, u64 size);
    static void tell(Link *l, Record *r);
    u64 link(Link *l)
    {
        Open *f = l->file;
        if (l->prepare(l) || l->relocate(l)) return 1;
        Segment *frame = 0, *relro = 0;
        for (Segment *s = f->segments, *last = s + f->phnum; s < last; s++) {
            if (s->type == 0x6474e550) frame = s;
            if (s->type == 0x6474e552) relro = s;
        }
        u64 *init, *fini, n = functions(f, f->d[25], f->d[27], &init), m = functions(f, f->d[26], f->d[28], &fini), *to = l->functions;
        if (n > 31 || m > 31) return 1;
        if (f->d[12]) *to++ = f->bias + f->d[12];
        while (n--) *to++ = *init++;
        l->ninit = to - l->functions;
        while (m--) *to++ = fini[m];
        if (f->d[13]) *to++ = f->bias + f->d[13];
        l->nfini = to - l->functions - l->ninit;
        if (relro) {
            if ((relro->vaddr | relro->memsz) >> 32) return 1;
            u64 start = f->bias + relro->vaddr & -4096, end = f->bias + relro->vaddr + relro->memsz & -4096;
            if (start < end && (start < f->start || end > f->start + f->length || protect(start, end - start))) return 1;
        }
        Record *r = l->record;
        u8 *name = r->name;
        for (u8 *p = f->path; (*name = *p); p++)
            if (++name == r->name + sizeof r->name) return 1;
        r->map.bias = f->bias;
        r->map.name = r->name;
        r->map.dynamic = f->dynamic;
        r->found[0] = f->start;
        r->found[1] = f->start + f->length;
        r->found[2] = frame ? f->bias + frame->vaddr : 0;
        r->found[3] = (u64)&r->map;
        r->object[0] = f->bias;
        r->object[1] = (u64)r->name;
        r->object[2] = f->phdr;
        r->object[3] = f->phdr ? f->phnum : 0;
        if (l->find) tell(l, r);
        return 0;
    }

    static void tell(Link *l, Record *r)
    {
        u64 n = *l->find, m = *l->objects, *found = l->find + 4 + 4 * n, *object = l->objects + 8 + 8 * m;
        for (int i = 0; i < 4; i++) found[i] = r->found[i];
        for (int i = 0; i < 8; i++) object[i] = r->object[i];
        __asm__ volatile("" : : : "memory");
        *(volatile u64 *)l->find = n + 1;
        *(volatile u64 *)l->objects = m + 1;
        ++*(volatile u64 *)l->adds;
    }

    static u64 protect(u64 start, u64 size)
    {
        u64 result = 10;
        __asm__ volatile("syscall" : "+a"(result) : "D"(start), "S"(size), "d"(1ul) : "rcx", "r11", "memory");
        return result;
    }

    static u64 functions(Open *f, u64 array, u64 bytes, u64 **from)
    {
        u64 n = array ? bytes / 8 : 0;
        if (!n) return 0;
        for (Segment *s = f->segments, *last = s + f->phnum; s < last; s++)
            if (s->type == 1 && s->vaddr <= array && 8 * n <= s->memsz && array - s->vaddr <= s->memsz - 8 * n) {
                if (!(s->flags & 4)) return -1;
                *from = (u64 *)(f->bias + array);
                return n;
            }
        return -1;
    }
"""

from __future__ import annotations

from rtld.arch.base import Stub

# fmt: off
LINK = Stub("""
    41 57                    link:       pushq %r15
    41 56                                pushq %r14
    41 55                                pushq %r13
    41 54                                pushq %r12
    55                                   pushq %rbp
    48 89 fd                             movq %rdi, %rbp
    53                                   pushq %rbx
    48 83 ec 18                          subq $24, %rsp
    48 8b 1f                             movq (%rdi), %rbx
    ff 57 10                             call *16(%rdi)
    48 85 c0                             testq %rax, %rax
    74 0b                                je k2
    41 bc 01 00 00 00        k1:         movl $1, %r12d
    e9 9b 02 00 00                       jmp k20
    48 89 ef                 k2:         movq %rbp, %rdi
    ff 55 18                             call *24(%rbp)
    49 89 c4                             movq %rax, %r12
    48 85 c0                             testq %rax, %rax
    75 e7                                jne k1
    48 6b 93 a0 00 00 00 38              imulq $56, 160(%rbx), %rdx
    48 8b 83 b8 00 00 00                 movq 184(%rbx), %rax
    45 31 ff                             xorl %r15d, %r15d
    45 31 ed                             xorl %r13d, %r13d
    48 01 c2                             addq %rax, %rdx
    48 39 d0                 k3:         cmpq %rdx, %rax
    73 1f                                jnb k6
    8b 08                                movl (%rax), %ecx
    81 f9 50 e5 74 64                    cmpl $1685382480, %ecx
    74 0c                                je k4
    81 f9 52 e5 74 64                    cmpl $1685382482, %ecx
    4c 0f 44 f8                          cmove %rax, %r15
    eb 03                                jmp k5
    49 89 c5                 k4:         movq %rax, %r13
    48 83 c0 38              k5:         addq $56, %rax
    eb dc                                jmp k3
    48 8b 93 b0 02 00 00     k6:         movq 688(%rbx), %rdx
    48 8b b3 a0 02 00 00                 movq 672(%rbx), %rsi
    48 89 e1                             movq %rsp, %rcx
    48 89 df                             movq %rbx, %rdi
    e8 cf 02 00 00                       call functions
    48 8b 93 b8 02 00 00                 movq 696(%rbx), %rdx
    48 8d 4c 24 08                       leaq 8(%rsp), %rcx
    48 89 df                             movq %rbx, %rdi
    48 8b b3 a8 02 00 00                 movq 680(%rbx), %rsi
    49 89 c6                             movq %rax, %r14
    e8 b1 02 00 00                       call functions
    48 89 c2                             movq %rax, %rdx
    4c 89 f0                             movq %r14, %rax
    48 09 d0                             orq %rdx, %rax
    48 83 f8 1f                          cmpq $31, %rax
    0f 87 61 ff ff ff                    ja k1
    48 8b 8b 38 02 00 00                 movq 568(%rbx), %rcx
    48 8d b5 90 00 00 00                 leaq 144(%rbp), %rsi
    48 89 f0                             movq %rsi, %rax
    48 85 c9                             testq %rcx, %rcx
    74 15                                je k7
    48 03 8b 98 00 00 00                 addq 152(%rbx), %rcx
    48 8d 85 98 00 00 00                 leaq 152(%rbp), %rax
    48 89 8d 90 00 00 00                 movq %rcx, 144(%rbp)
    48 8b 3c 24              k7:         movq (%rsp), %rdi
    31 c9                                xorl %ecx, %ecx
    45 31 c0                             xorl %r8d, %r8d
    49 39 ce                 k8:         cmpq %rcx, %r14
    74 10                                je k9
    4c 8b 04 cf                          movq (%rdi, %rcx, 8), %r8
    4c 89 04 c8                          movq %r8, (%rax, %rcx, 8)
    48 ff c1                             incq %rcx
    41 b0 01                             movb $1, %r8b
    eb eb                                jmp k8
    49 c1 e6 03              k9:         salq $3, %r14
    4c 01 f0                             addq %r14, %rax
    45 84 c0                             testb %r8b, %r8b
    74 07                                je k10
    4c 01 f7                             addq %r14, %rdi
    48 89 3c 24                          movq %rdi, (%rsp)
    48 89 c1                 k10:        movq %rax, %rcx
    4c 8b 44 24 08                       movq 8(%rsp), %r8
    48 89 c7                             movq %rax, %rdi
    48 29 f1                             subq %rsi, %rcx
    48 c1 f9 03                          sarq $3, %rcx
    48 89 4d 78                          movq %rcx, 120(%rbp)
    48 89 d1                             movq %rdx, %rcx
    48 83 e9 01              k11:        subq $1, %rcx
    72 0e                                jb k12
    4d 8b 0c c8                          movq (%r8, %rcx, 8), %r9
    48 83 c7 08                          addq $8, %rdi
    4c 89 4f f8                          movq %r9, -8(%rdi)
    eb ec                                jmp k11
    48 8d 04 d0              k12:        leaq (%rax, %rdx, 8), %rax
    48 8b 93 40 02 00 00                 movq 576(%rbx), %rdx
    48 85 d2                             testq %rdx, %rdx
    74 0f                                je k13
    48 03 93 98 00 00 00                 addq 152(%rbx), %rdx
    48 83 c0 08                          addq $8, %rax
    48 89 50 f8                          movq %rdx, -8(%rax)
    48 29 f0                 k13:        subq %rsi, %rax
    48 c1 f8 03                          sarq $3, %rax
    48 2b 45 78                          subq 120(%rbp), %rax
    48 89 85 80 00 00 00                 movq %rax, 128(%rbp)
    4d 85 ff                             testq %r15, %r15
    75 16                                jne k15
    48 8b 75 08              k14:        movq 8(%rbp), %rsi
    48 8b 7b 60                          movq 96(%rbx), %rdi
    31 c0                                xorl %eax, %eax
    48 8d 8e 30 09 00 00                 leaq 2352(%rsi), %rcx
    e9 84 00 00 00                       jmp k17
    49 8b 47 10              k15:        movq 16(%r15), %rax
    49 8b 77 28                          movq 40(%r15), %rsi
    48 89 c2                             movq %rax, %rdx
    48 09 f2                             orq %rsi, %rdx
    48 c1 ea 20                          shrq $32, %rdx
    0f 85 74 fe ff ff                    jne k1
    48 03 83 98 00 00 00                 addq 152(%rbx), %rax
    48 89 c7                             movq %rax, %rdi
    48 01 c6                             addq %rax, %rsi
    48 81 e7 00 f0 ff ff                 andq $-4096, %rdi
    48 81 e6 00 f0 ff ff                 andq $-4096, %rsi
    48 39 f7                             cmpq %rsi, %rdi
    73 b2                                jnb k14
    48 8b 83 88 00 00 00                 movq 136(%rbx), %rax
    48 39 c7                             cmpq %rax, %rdi
    0f 82 44 fe ff ff                    jb k1
    48 03 83 90 00 00 00                 addq 144(%rbx), %rax
    48 39 f0                             cmpq %rsi, %rax
    0f 82 34 fe ff ff                    jb k1
    48 29 fe                             subq %rdi, %rsi
    b8 0a 00 00 00                       movl $10, %eax
    ba 01 00 00 00                       movl $1, %edx
    0f 05                                syscall
    48 85 c0                             testq %rax, %rax
    0f 84 7a ff ff ff                    je k14
    e9 17 fe ff ff                       jmp k1
    48 ff c0                 k16:        incq %rax
    48 3d 00 04 00 00                    cmpq $1024, %rax
    0f 84 08 fe ff ff                    je k1
    8a 14 07                 k17:        movb (%rdi, %rax), %dl
    88 94 06 30 09 00 00                 movb %dl, 2352(%rsi, %rax)
    84 d2                                testb %dl, %dl
    75 e3                                jne k16
    48 8b 83 b0 00 00 00                 movq 176(%rbx), %rax
    48 8b 93 98 00 00 00                 movq 152(%rbx), %rdx
    48 89 8e 98 08 00 00                 movq %rcx, 2200(%rsi)
    48 89 86 a0 08 00 00                 movq %rax, 2208(%rsi)
    48 8b 83 88 00 00 00                 movq 136(%rbx), %rax
    48 89 96 90 08 00 00                 movq %rdx, 2192(%rsi)
    48 89 86 d0 08 00 00                 movq %rax, 2256(%rsi)
    48 03 83 90 00 00 00                 addq 144(%rbx), %rax
    48 89 86 d8 08 00 00                 movq %rax, 2264(%rsi)
    31 c0                                xorl %eax, %eax
    4d 85 ed                             testq %r13, %r13
    74 07                                je k18
    49 8b 45 10                          movq 16(%r13), %rax
    48 01 d0                             addq %rdx, %rax
    48 89 86 e0 08 00 00     k18:        movq %rax, 2272(%rsi)
    48 8d 86 90 08 00 00                 leaq 2192(%rsi), %rax
    48 89 86 e8 08 00 00                 movq %rax, 2280(%rsi)
    48 8b 83 a8 00 00 00                 movq 168(%rbx), %rax
    48 89 96 f0 08 00 00                 movq %rdx, 2288(%rsi)
    48 89 8e f8 08 00 00                 movq %rcx, 2296(%rsi)
    48 89 86 00 09 00 00                 movq %rax, 2304(%rsi)
    48 85 c0                             testq %rax, %rax
    74 07                                je k19
    48 8b 83 a0 00 00 00                 movq 160(%rbx), %rax
    48 83 7d 48 00           k19:        cmpq $0, 72(%rbp)
    48 89 86 08 09 00 00                 movq %rax, 2312(%rsi)
    74 08                                je k20
    48 89 ef                             movq %rbp, %rdi
    e8 12 00 00 00                       call tell
    48 83 c4 18              k20:        addq $24, %rsp
    4c 89 e0                             movq %r12, %rax
    5b                                   popq %rbx
    5d                                   popq %rbp
    41 5c                                popq %r12
    41 5d                                popq %r13
    41 5e                                popq %r14
    41 5f                                popq %r15
    c3                                   ret
    4c 8b 4f 48              tell:       movq 72(%rdi), %r9
    4c 8b 47 50                          movq 80(%rdi), %r8
    48 89 f8                             movq %rdi, %rax
    31 d2                                xorl %edx, %edx
    49 8b 09                             movq (%r9), %rcx
    48 8d 79 01                          leaq 1(%rcx), %rdi
    49 8b 08                             movq (%r8), %rcx
    49 89 fb                             movq %rdi, %r11
    48 ff c1                             incq %rcx
    49 c1 e3 05                          salq $5, %r11
    49 89 ca                             movq %rcx, %r10
    4d 01 d9                             addq %r11, %r9
    49 c1 e2 06                          salq $6, %r10
    4c 8b 9c 16 d0 08 00 00  k21:        movq 2256(%rsi, %rdx), %r11
    4d 89 1c 11                          movq %r11, (%r9, %rdx)
    48 83 c2 08                          addq $8, %rdx
    48 83 fa 20                          cmpq $32, %rdx
    75 ea                                jne k21
    31 d2                                xorl %edx, %edx
    4d 01 d0                             addq %r10, %r8
    4c 8b 8c 16 f0 08 00 00  k22:        movq 2288(%rsi, %rdx), %r9
    4d 89 0c 10                          movq %r9, (%r8, %rdx)
    48 83 c2 08                          addq $8, %rdx
    48 83 fa 40                          cmpq $64, %rdx
    75 ea                                jne k22
    48 8b 50 48                          movq 72(%rax), %rdx
    48 89 3a                             movq %rdi, (%rdx)
    48 8b 50 50                          movq 80(%rax), %rdx
    48 89 0a                             movq %rcx, (%rdx)
    48 8b 50 58                          movq 88(%rax), %rdx
    48 8b 02                             movq (%rdx), %rax
    48 ff c0                             incq %rax
    48 89 02                             movq %rax, (%rdx)
    c3                                   ret
    b8 0a 00 00 00           protect:    movl $10, %eax
    ba 01 00 00 00                       movl $1, %edx
    0f 05                                syscall
    c3                                   ret
    49 89 f8                 functions:  movq %rdi, %r8
    31 ff                                xorl %edi, %edi
    48 85 f6                             testq %rsi, %rsi
    74 49                                je k26
    48 89 d7                             movq %rdx, %rdi
    48 c1 ef 03                          shrq $3, %rdi
    74 40                                je k26
    4d 6b 88 a0 00 00 00 38              imulq $56, 160(%r8), %r9
    49 8b 80 b8 00 00 00                 movq 184(%r8), %rax
    4c 8d 14 fd 00 00 00 00              leaq 0(, %rdi, 8), %r10
    49 01 c1                             addq %rax, %r9
    4c 39 c8                 k23:        cmpq %r9, %rax
    73 1d                                jnb k25
    83 38 01                             cmpl $1, (%rax)
    75 12                                jne k24
    4c 8b 58 10                          movq 16(%rax), %r11
    4c 39 de                             cmpq %r11, %rsi
    72 09                                jb k24
    48 8b 50 28                          movq 40(%rax), %rdx
    4c 39 d2                             cmpq %r10, %rdx
    73 0e                                jnb k27
    48 83 c0 38              k24:        addq $56, %rax
    eb de                                jmp k23
    48 83 cf ff              k25:        orq $-1, %rdi
    48 89 f8                 k26:        movq %rdi, %rax
    c3                                   ret
    53                       k27:        pushq %rbx
    48 89 f3                 k28:        movq %rsi, %rbx
    4c 29 d2                             subq %r10, %rdx
    4c 29 db                             subq %r11, %rbx
    48 39 da                             cmpq %rbx, %rdx
    72 17                                jb k30
    f6 40 04 04                          testb $4, 4(%rax)
    74 30                                je k32
    49 03 b0 98 00 00 00                 addq 152(%r8), %rsi
    48 89 31                             movq %rsi, (%rcx)
    eb 28                                jmp k33
    83 38 01                 k29:        cmpl $1, (%rax)
    74 0b                                je k31
    48 83 c0 38              k30:        addq $56, %rax
    4c 39 c8                             cmpq %r9, %rax
    72 f2                                jb k29
    eb 14                                jmp k32
    4c 8b 58 10              k31:        movq 16(%rax), %r11
    4c 39 de                             cmpq %r11, %rsi
    72 ec                                jb k30
    48 8b 50 28                          movq 40(%rax), %rdx
    4c 39 d2                             cmpq %r10, %rdx
    72 e3                                jb k30
    eb bc                                jmp k28
    48 83 cf ff              k32:        orq $-1, %rdi
    48 89 f8                 k33:        movq %rdi, %rax
    5b                                   popq %rbx
    c3                                   ret
""")
