"""Machine code that finds, checks and maps a library of the usual shape, x86-64: the first half of ``process/inprocess/express.py``.

The assembly is what a compiler made of this C (``scripts/machine-code`` writes it). 1: not this way; then nothing is open or mapped,
and the long way finds the words. Tried are ``name`` behind each of ``prefixes``, then what the cache says, or the name
itself. Everything that stands in the file is compared with its size before it is used; segments follow one another without a
gap and without a page in common, so that every address has one meaning. ``d`` is the dynamic section by tag.

    typedef unsigned long u64; typedef unsigned int u32; typedef unsigned short u16; typedef unsigned char u8;
    typedef struct { u32 type, flags; u64 offset, vaddr, paddr, filesz, memsz, align; } Segment;
    typedef struct Open {
        u64 most_fd; u8 *name, *prefixes; u8 *(*cached)(struct Open *); u64 (*decode)(struct Open *, Segment *);
        u8 *cache; u64 entries, count, base, limit, flags;
        u64 fd; u8 *path; u64 attempts, dev, ino, size, start, length, bias, phnum, phdr, dynamic; Segment *segments;
        u8 *soname, *needs; u64 nneeded; u8 *need[32]; u64 d[64]; u8 head[1024], found[1024], text[1024];
    } Open;
    static u64 call(u64 number, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f);
    static u8 *joined(u8 *to, u8 *end, const u8 *from);
    u64 open(Open *c)
    {
        u8 *end = c->found + sizeof c->found, *list = c->prefixes;
        u64 fd = -1, status[18];
        for (c->attempts = 0; *list; list++) {
            u8 *next = joined(c->found, end, list);
            if (!next || !joined(next, end, c->name)) return 1;
            fd = call(257, -100, (u64)c->found, 02004000, 0, 0, 0);
            c->attempts++;
            if (!(fd >> 63)) break;
            if (fd != -2ul) return 1;
            while (*list) list++;
        }
        c->path = c->found;
        if (fd >> 63) {
            c->attempts = 0;
            c->path = c->cached ? c->cached(c) : c->name;
            if (!c->path) return 1;
            fd = call(257, -100, (u64)c->path, 02004000, 0, 0, 0);
            if (fd >> 63) return 1;
        }
        c->fd = fd;
        u64 *e = (u64 *)c->head;
        if (fd > c->most_fd || call(5, fd, (u64)status, 0, 0, 0, 0) || (status[3] & 0170000) != 0100000) goto close;
        c->dev = status[0]; c->ino = status[1]; c->size = status[6];
        u64 got = call(17, fd, (u64)c->head, sizeof c->head, 0, 0, 0);
        if (got >> 63 || got < 64) goto close;
        if (e[0] != 0x00010102464c457f && e[0] != 0x03010102464c457f || e[1] || e[2] != 0x1003e0003) goto close;
        u64 phoff = e[4]; c->phnum = *(u16 *)(c->head + 56);
        if (*(u32 *)(c->head + 48) || *(u16 *)(c->head + 52) < 64 || *(u16 *)(c->head + 54) != 56 || !c->phnum) goto close;
        if (phoff & 7 || phoff > got || 56 * c->phnum > got - phoff) goto close;
        Segment *s = c->segments = (Segment *)(c->head + phoff), *last = s + c->phnum, *dynamic = 0, *first = 0;
        u64 low = 0, top = 0, stack = 1;
        c->phdr = 0;
        for (; s < last; s++) {
            if (s->type == 7) goto close;
            if (s->type == 2) dynamic = s;
            if (s->type == 0x6474e551) stack = s->flags & 1;
            if (s->type != 1) continue;
            if (s->filesz > s->memsz || s->memsz > 1ul << 30 || !s->memsz || s->vaddr > 1ul << 30 || s->align != 4096) goto close;
            if (s->filesz && (s->offset > c->size || s->filesz > c->size - s->offset || (s->offset - s->vaddr) & 4095)) goto close;
            if (s->memsz > s->filesz && !(s->flags & 2)) goto close;
            if (!first) { first = s; low = s->vaddr & -4096; if (!s->filesz) goto close; }
            else if ((s->vaddr & -4096) != top) goto close;
            top = s->vaddr + s->memsz + 4095 & -4096;
            if (!c->phdr && s->offset <= phoff && phoff < s->offset + s->filesz && !(c->phdr = phoff - s->offset + s->vaddr)) goto close;
        }
        if (!dynamic || stack) goto close;
        c->start = 0; c->length = top - low;
        for (s = c->segments; s < last; s++) {
            if (s->type != 1) continue;
            u64 prot = s->flags >> 2 & 1 | s->flags & 2 | (s->flags & 1) << 2;
            u64 from = c->start ? c->bias + (s->vaddr & -4096) : 0, size = (s->vaddr & 4095) + s->filesz + 4095 & -4096;
            if (!s->filesz) size = 0;
            else {
                u64 at = call(9, from, c->start ? size : c->length, prot, c->start ? 0x12 : 2, fd, s->offset & -4096);
                if (at > -4096ul) goto unmap;
                if (!c->start) { c->start = from = at; c->bias = at - low; }
            }
            u64 end_of_file = c->bias + s->vaddr + s->filesz, end_of_memory = c->bias + s->vaddr + s->memsz + 4095 & -4096;
            if (s->filesz && s->memsz > s->filesz)
                for (u8 *p = (u8 *)end_of_file; p < (u8 *)(from + size); p++) *p = 0;
            if (end_of_memory > from + size && call(9, from + size, end_of_memory - from - size, prot, 0x32, -1, 0) > -4096ul) goto unmap;
        }
        c->phdr = c->phdr ? c->bias + c->phdr : 0;
        if (!c->decode(c, dynamic)) return 0;
    unmap:
        if (c->start) call(11, c->start, c->length, 0, 0, 0, 0);
    close:
        call(3, fd, 0, 0, 0, 0, 0);
        return 1;
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

    static u64 call(u64 number, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f)
    {
        register u64 r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
        __asm__ volatile("syscall" : "+a"(number) : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
        return number;
    }
"""

from __future__ import annotations

from rtld.arch.base import Stub

# fmt: off
OPEN = Stub("""
    41 57                          open:    pushq %r15
    31 f6                                   xorl %esi, %esi
    41 56                                   pushq %r14
    49 83 ce ff                             orq $-1, %r14
    41 55                                   pushq %r13
    4c 8d af d8 0b 00 00                    leaq 3032(%rdi), %r13
    41 54                                   pushq %r12
    4c 8d a7 d8 07 00 00                    leaq 2008(%rdi), %r12
    55                                      pushq %rbp
    53                                      pushq %rbx
    48 89 fb                                movq %rdi, %rbx
    48 81 ec a8 00 00 00                    subq $168, %rsp
    48 89 77 68                             movq %rsi, 104(%rdi)
    48 8b 6f 10                             movq 16(%rdi), %rbp
    80 7d 00 00                    o1:      cmpb $0, 0(%rbp)
    74 70                                   je o3
    4c 89 e7                                movq %r12, %rdi
    48 89 ea                                movq %rbp, %rdx
    4c 89 ee                                movq %r13, %rsi
    e8 8d 05 00 00                          call joined
    48 89 c7                                movq %rax, %rdi
    48 85 c0                                testq %rax, %rax
    0f 84 6a 05 00 00                       je o36
    48 8b 53 08                             movq 8(%rbx), %rdx
    4c 89 ee                                movq %r13, %rsi
    e8 75 05 00 00                          call joined
    48 85 c0                                testq %rax, %rax
    0f 84 55 05 00 00                       je o36
    45 31 d2                                xorl %r10d, %r10d
    45 31 c0                                xorl %r8d, %r8d
    45 31 c9                                xorl %r9d, %r9d
    b8 01 01 00 00                          movl $257, %eax
    48 c7 c7 9c ff ff ff                    movq $-100, %rdi
    ba 00 08 08 00                          movl $526336, %edx
    4c 89 e6                                movq %r12, %rsi
    0f 05                                   syscall
    48 ff 43 68                             incq 104(%rbx)
    49 89 c6                                movq %rax, %r14
    48 85 c0                                testq %rax, %rax
    79 16                                   jns o3
    48 83 f8 fe                             cmpq $-2, %rax
    0f 85 20 05 00 00                       jne o36
    8a 45 00                       o2:      movb 0(%rbp), %al
    48 ff c5                                incq %rbp
    84 c0                                   testb %al, %al
    75 f6                                   jne o2
    eb 8a                                   jmp o1
    4c 89 63 60                    o3:      movq %r12, 96(%rbx)
    4d 85 f6                                testq %r14, %r14
    79 52                                   jns o6
    48 8b 43 18                             movq 24(%rbx), %rax
    31 c9                                   xorl %ecx, %ecx
    48 89 4b 68                             movq %rcx, 104(%rbx)
    48 85 c0                                testq %rax, %rax
    74 0a                                   je o4
    48 89 df                                movq %rbx, %rdi
    ff d0                                   call *%rax
    48 89 c6                                movq %rax, %rsi
    eb 04                                   jmp o5
    48 8b 73 08                    o4:      movq 8(%rbx), %rsi
    48 89 73 60                    o5:      movq %rsi, 96(%rbx)
    48 85 f6                                testq %rsi, %rsi
    0f 84 e1 04 00 00                       je o36
    45 31 d2                                xorl %r10d, %r10d
    45 31 c0                                xorl %r8d, %r8d
    45 31 c9                                xorl %r9d, %r9d
    b8 01 01 00 00                          movl $257, %eax
    48 c7 c7 9c ff ff ff                    movq $-100, %rdi
    ba 00 08 08 00                          movl $526336, %edx
    0f 05                                   syscall
    49 89 c6                                movq %rax, %r14
    48 85 c0                                testq %rax, %rax
    0f 88 b9 04 00 00                       js o36
    4c 89 73 58                    o6:      movq %r14, 88(%rbx)
    4c 39 33                                cmpq %r14, (%rbx)
    0f 82 94 04 00 00                       jb o35
    48 8d 74 24 10                          leaq 16(%rsp), %rsi
    45 31 d2                                xorl %r10d, %r10d
    45 31 c0                                xorl %r8d, %r8d
    45 31 c9                                xorl %r9d, %r9d
    b8 05 00 00 00                          movl $5, %eax
    31 d2                                   xorl %edx, %edx
    4c 89 f7                                movq %r14, %rdi
    0f 05                                   syscall
    48 85 c0                                testq %rax, %rax
    0f 85 71 04 00 00                       jne o35
    48 8b 44 24 28                          movq 40(%rsp), %rax
    25 00 f0 00 00                          andl $61440, %eax
    48 3d 00 80 00 00                       cmpq $32768, %rax
    0f 85 5b 04 00 00                       jne o35
    48 8b 44 24 10                          movq 16(%rsp), %rax
    48 8d b3 d8 03 00 00                    leaq 984(%rbx), %rsi
    ba 00 04 00 00                          movl $1024, %edx
    48 89 43 70                             movq %rax, 112(%rbx)
    48 8b 44 24 18                          movq 24(%rsp), %rax
    48 89 43 78                             movq %rax, 120(%rbx)
    48 8b 44 24 40                          movq 64(%rsp), %rax
    48 89 83 80 00 00 00                    movq %rax, 128(%rbx)
    b8 11 00 00 00                          movl $17, %eax
    0f 05                                   syscall
    48 b9 bf ff ff ff ff ff ff 7f           movabsq $9223372036854775743, %rcx
    48 8d 50 c0                             leaq -64(%rax), %rdx
    48 39 d1                                cmpq %rdx, %rcx
    0f 82 13 04 00 00                       jb o35
    48 8b 93 d8 03 00 00                    movq 984(%rbx), %rdx
    48 b9 7f 45 4c 46 02 01 01 00           movabsq $282584257676671, %rcx
    48 39 ca                                cmpq %rcx, %rdx
    74 13                                   je o7
    48 b9 7f 45 4c 46 02 01 01 03           movabsq $216455366371460479, %rcx
    48 39 ca                                cmpq %rcx, %rdx
    0f 85 ea 03 00 00                       jne o35
    4c 8b bb e0 03 00 00           o7:      movq 992(%rbx), %r15
    4d 85 ff                                testq %r15, %r15
    0f 85 da 03 00 00                       jne o35
    48 ba 03 00 3e 00 01 00 00 00           movabsq $4299030531, %rdx
    48 39 93 e8 03 00 00                    cmpq %rdx, 1000(%rbx)
    0f 85 c3 03 00 00                       jne o35
    0f b7 93 10 04 00 00                    movzwl 1040(%rbx), %edx
    83 bb 08 04 00 00 00                    cmpl $0, 1032(%rbx)
    48 8b 8b f8 03 00 00                    movq 1016(%rbx), %rcx
    48 89 93 a0 00 00 00                    movq %rdx, 160(%rbx)
    0f 85 a1 03 00 00                       jne o35
    66 83 bb 0c 04 00 00 3f                 cmpw $63, 1036(%rbx)
    0f 86 93 03 00 00                       jbe o35
    66 83 bb 0e 04 00 00 38                 cmpw $56, 1038(%rbx)
    0f 85 85 03 00 00                       jne o35
    48 85 d2                                testq %rdx, %rdx
    0f 84 7c 03 00 00                       je o35
    f6 c1 07                                testb $7, %cl
    0f 85 73 03 00 00                       jne o35
    48 39 c8                                cmpq %rcx, %rax
    0f 82 6a 03 00 00                       jb o35
    48 6b d2 38                             imulq $56, %rdx, %rdx
    48 29 c8                                subq %rcx, %rax
    48 39 d0                                cmpq %rdx, %rax
    0f 82 5a 03 00 00                       jb o35
    48 8d 2c 0e                             leaq (%rsi, %rcx), %rbp
    41 ba 01 00 00 00                       movl $1, %r10d
    45 31 c0                                xorl %r8d, %r8d
    45 31 ed                                xorl %r13d, %r13d
    48 89 ab b8 00 00 00                    movq %rbp, 184(%rbx)
    48 8d 44 15 00                          leaq 0(%rbp, %rdx), %rax
    31 d2                                   xorl %edx, %edx
    48 89 44 24 08                          movq %rax, 8(%rsp)
    48 89 e8                                movq %rbp, %rax
    48 89 93 a8 00 00 00                    movq %rdx, 168(%rbx)
    31 d2                                   xorl %edx, %edx
    48 8b 74 24 08                 o8:      movq 8(%rsp), %rsi
    48 39 f0                                cmpq %rsi, %rax
    0f 83 55 01 00 00                       jnb o19
    8b 30                                   movl (%rax), %esi
    83 fe 07                                cmpl $7, %esi
    0f 84 12 03 00 00                       je o35
    83 fe 02                                cmpl $2, %esi
    0f 84 35 01 00 00                       je o17
    81 fe 51 e5 74 64                       cmpl $1685382481, %esi
    75 0d                                   jne o9
    44 8b 50 04                             movl 4(%rax), %r10d
    41 83 e2 01                             andl $1, %r10d
    e9 23 01 00 00                          jmp o18
    ff ce                          o9:      decl %esi
    0f 85 1b 01 00 00                       jne o18
    4c 8b 58 28                             movq 40(%rax), %r11
    48 8b 78 20                             movq 32(%rax), %rdi
    49 8d 73 ff                             leaq -1(%r11), %rsi
    48 81 fe ff ff ff 3f                    cmpq $1073741823, %rsi
    0f 87 d3 02 00 00                       ja o35
    49 39 fb                                cmpq %rdi, %r11
    0f 82 ca 02 00 00                       jb o35
    48 8b 70 10                             movq 16(%rax), %rsi
    48 81 fe 00 00 00 40                    cmpq $1073741824, %rsi
    0f 87 b9 02 00 00                       ja o35
    48 81 78 30 00 10 00 00                 cmpq $4096, 48(%rax)
    0f 85 ab 02 00 00                       jne o35
    48 85 ff                                testq %rdi, %rdi
    74 46                                   je o10
    4c 8b 48 08                             movq 8(%rax), %r9
    4c 8b a3 80 00 00 00                    movq 128(%rbx), %r12
    4d 39 cc                                cmpq %r9, %r12
    0f 82 92 02 00 00                       jb o35
    4d 29 cc                                subq %r9, %r12
    49 39 fc                                cmpq %rdi, %r12
    0f 82 86 02 00 00                       jb o35
    49 29 f1                                subq %rsi, %r9
    41 f7 c1 ff 0f 00 00                    testl $4095, %r9d
    0f 85 76 02 00 00                       jne o35
    4c 39 df                                cmpq %r11, %rdi
    72 25                                   jb o11
    4d 85 c0                                testq %r8, %r8
    75 39                                   jne o12
    49 89 f1                                movq %rsi, %r9
    49 81 e1 00 f0 ff ff                    andq $-4096, %r9
    eb 45                                   jmp o13
    f6 40 04 02                    o10:     testb $2, 4(%rax)
    0f 84 56 02 00 00                       je o35
    4d 85 c0                                testq %r8, %r8
    75 1e                                   jne o12
    e9 4c 02 00 00                          jmp o35
    f6 40 04 02                    o11:     testb $2, 4(%rax)
    0f 84 42 02 00 00                       je o35
    49 89 f1                                movq %rsi, %r9
    49 81 e1 00 f0 ff ff                    andq $-4096, %r9
    4d 85 c0                                testq %r8, %r8
    74 18                                   je o13
    49 89 f1                       o12:     movq %rsi, %r9
    49 81 e1 00 f0 ff ff                    andq $-4096, %r9
    49 39 d1                                cmpq %rdx, %r9
    0f 85 20 02 00 00                       jne o35
    4d 89 f9                                movq %r15, %r9
    eb 03                                   jmp o14
    49 89 c0                       o13:     movq %rax, %r8
    48 83 bb a8 00 00 00 00        o14:     cmpq $0, 168(%rbx)
    75 09                                   jne o15
    48 8b 50 08                             movq 8(%rax), %rdx
    48 39 d1                                cmpq %rdx, %rcx
    73 14                                   jnb o16
    49 8d 94 33 ff 0f 00 00        o15:     leaq 4095(%r11, %rsi), %rdx
    4d 89 cf                                movq %r9, %r15
    48 81 e2 00 f0 ff ff                    andq $-4096, %rdx
    eb 20                                   jmp o18
    48 01 d7                       o16:     addq %rdx, %rdi
    48 39 f9                                cmpq %rdi, %rcx
    73 e4                                   jnb o15
    48 8d 3c 0e                             leaq (%rsi, %rcx), %rdi
    48 29 d7                                subq %rdx, %rdi
    48 89 bb a8 00 00 00                    movq %rdi, 168(%rbx)
    75 d4                                   jne o15
    e9 d4 01 00 00                          jmp o35
    49 89 c5                       o17:     movq %rax, %r13
    48 83 c0 38                    o18:     addq $56, %rax
    e9 9d fe ff ff                          jmp o8
    4d 85 ed                       o19:     testq %r13, %r13
    0f 84 bf 01 00 00                       je o35
    4d 85 d2                                testq %r10, %r10
    0f 85 b6 01 00 00                       jne o35
    31 c0                                   xorl %eax, %eax
    4c 29 fa                                subq %r15, %rdx
    48 89 83 88 00 00 00                    movq %rax, 136(%rbx)
    48 89 93 90 00 00 00                    movq %rdx, 144(%rbx)
    48 8b 44 24 08                 o20:     movq 8(%rsp), %rax
    48 39 c5                                cmpq %rax, %rbp
    0f 83 67 01 00 00                       jnb o33
    83 7d 00 01                             cmpl $1, 0(%rbp)
    74 06                                   je o22
    48 83 c5 38                    o21:     addq $56, %rbp
    eb e6                                   jmp o20
    8b 45 04                       o22:     movl 4(%rbp), %eax
    31 ff                                   xorl %edi, %edi
    89 c2                                   movl %eax, %edx
    8d 0c 85 00 00 00 00                    leal 0(, %rax, 4), %ecx
    83 e0 02                                andl $2, %eax
    c1 ea 02                                shrl $2, %edx
    83 e1 04                                andl $4, %ecx
    83 e2 01                                andl $1, %edx
    09 ca                                   orl %ecx, %edx
    48 8b 8b 88 00 00 00                    movq 136(%rbx), %rcx
    09 c2                                   orl %eax, %edx
    48 8b 45 10                             movq 16(%rbp), %rax
    48 85 c9                                testq %rcx, %rcx
    74 11                                   je o23
    48 89 c7                                movq %rax, %rdi
    48 81 e7 00 f0 ff ff                    andq $-4096, %rdi
    48 03 bb 98 00 00 00                    addq 152(%rbx), %rdi
    4c 8b 65 20                    o23:     movq 32(%rbp), %r12
    4d 85 e4                                testq %r12, %r12
    0f 84 9d 00 00 00                       je o28
    4c 8b 4d 08                             movq 8(%rbp), %r9
    25 ff 0f 00 00                          andl $4095, %eax
    4d 8d a4 04 ff 0f 00 00                 leaq 4095(%r12, %rax), %r12
    49 81 e4 00 f0 ff ff                    andq $-4096, %r12
    49 81 e1 00 f0 ff ff                    andq $-4096, %r9
    48 85 c9                                testq %rcx, %rcx
    75 0f                                   jne o24
    48 8b b3 90 00 00 00                    movq 144(%rbx), %rsi
    41 ba 02 00 00 00                       movl $2, %r10d
    eb 09                                   jmp o25
    4c 89 e6                       o24:     movq %r12, %rsi
    41 ba 12 00 00 00                       movl $18, %r10d
    4d 89 f0                       o25:     movq %r14, %r8
    b8 09 00 00 00                          movl $9, %eax
    0f 05                                   syscall
    48 3d 00 f0 ff ff                       cmpq $-4096, %rax
    76 2e                                   jbe o27
    48 8b bb 88 00 00 00           o26:     movq 136(%rbx), %rdi
    48 85 ff                                testq %rdi, %rdi
    0f 84 df 00 00 00                       je o35
    48 8b b3 90 00 00 00                    movq 144(%rbx), %rsi
    45 31 d2                                xorl %r10d, %r10d
    45 31 c0                                xorl %r8d, %r8d
    45 31 c9                                xorl %r9d, %r9d
    b8 0b 00 00 00                          movl $11, %eax
    31 d2                                   xorl %edx, %edx
    0f 05                                   syscall
    e9 c1 00 00 00                          jmp o35
    48 83 bb 88 00 00 00 00        o27:     cmpq $0, 136(%rbx)
    75 17                                   jne o28
    48 89 c1                                movq %rax, %rcx
    48 89 83 88 00 00 00                    movq %rax, 136(%rbx)
    48 89 c7                                movq %rax, %rdi
    4c 29 f9                                subq %r15, %rcx
    48 89 8b 98 00 00 00                    movq %rcx, 152(%rbx)
    4c 8b 45 28                    o28:     movq 40(%rbp), %r8
    48 8b 45 10                             movq 16(%rbp), %rax
    4a 8d 3c 27                             leaq (%rdi, %r12), %rdi
    48 03 83 98 00 00 00                    addq 152(%rbx), %rax
    48 8b 4d 20                             movq 32(%rbp), %rcx
    4a 8d b4 00 ff 0f 00 00                 leaq 4095(%rax, %r8), %rsi
    48 81 e6 00 f0 ff ff                    andq $-4096, %rsi
    4c 39 c1                                cmpq %r8, %rcx
    73 05                                   jnb o29
    48 85 c9                                testq %rcx, %rcx
    75 0a                                   jne o30
    48 39 f7                       o29:     cmpq %rsi, %rdi
    72 15                                   jb o32
    e9 d7 fe ff ff                          jmp o21
    48 01 c8                       o30:     addq %rcx, %rax
    48 39 f8                       o31:     cmpq %rdi, %rax
    73 ee                                   jnb o29
    c6 00 00                                movb $0, (%rax)
    48 ff c0                                incq %rax
    eb f3                                   jmp o31
    48 29 fe                       o32:     subq %rdi, %rsi
    41 ba 32 00 00 00                       movl $50, %r10d
    49 83 c8 ff                             orq $-1, %r8
    45 31 c9                                xorl %r9d, %r9d
    b8 09 00 00 00                          movl $9, %eax
    0f 05                                   syscall
    48 3d 00 f0 ff ff                       cmpq $-4096, %rax
    0f 86 a4 fe ff ff                       jbe o21
    e9 3f ff ff ff                          jmp o26
    48 8b 83 a8 00 00 00           o33:     movq 168(%rbx), %rax
    48 85 c0                                testq %rax, %rax
    74 07                                   je o34
    48 03 83 98 00 00 00                    addq 152(%rbx), %rax
    48 89 83 a8 00 00 00           o34:     movq %rax, 168(%rbx)
    4c 89 ee                                movq %r13, %rsi
    48 89 df                                movq %rbx, %rdi
    ff 53 20                                call *32(%rbx)
    48 85 c0                                testq %rax, %rax
    0f 85 13 ff ff ff                       jne o26
    eb 1d                                   jmp o37
    31 d2                          o35:     xorl %edx, %edx
    45 31 d2                                xorl %r10d, %r10d
    45 31 c0                                xorl %r8d, %r8d
    45 31 c9                                xorl %r9d, %r9d
    b8 03 00 00 00                          movl $3, %eax
    4c 89 f7                                movq %r14, %rdi
    48 89 d6                                movq %rdx, %rsi
    0f 05                                   syscall
    b8 01 00 00 00                 o36:     movl $1, %eax
    48 81 c4 a8 00 00 00           o37:     addq $168, %rsp
    5b                                      popq %rbx
    5d                                      popq %rbp
    41 5c                                   popq %r12
    41 5d                                   popq %r13
    41 5e                                   popq %r14
    41 5f                                   popq %r15
    c3                                      ret
    48 89 f8                       joined:  movq %rdi, %rax
    48 39 f7                                cmpq %rsi, %rdi
    74 11                                   je o38
    8a 0a                                   movb (%rdx), %cl
    48 8d 7f 01                             leaq 1(%rdi), %rdi
    48 ff c2                                incq %rdx
    88 4f ff                                movb %cl, -1(%rdi)
    84 c9                                   testb %cl, %cl
    75 e8                                   jne joined
    c3                                      ret
    31 c0                          o38:     xorl %eax, %eax
    c3                                      ret
    48 89 f8                       call:    movq %rdi, %rax
    4d 89 c2                                movq %r8, %r10
    48 89 f7                                movq %rsi, %rdi
    4d 89 c8                                movq %r9, %r8
    48 89 d6                                movq %rdx, %rsi
    4c 8b 4c 24 08                          movq 8(%rsp), %r9
    48 89 ca                                movq %rcx, %rdx
    0f 05                                   syscall
    c3                                      ret
""")
