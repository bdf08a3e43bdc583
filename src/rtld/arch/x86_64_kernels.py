"""x86-64 machine code for what the linker does most, in this process: not for the target (KERNELS).

Each is called through ``rtld/elf/kernels.py``, where numpy stands by for other CPUs; tests prove both equal. They read
names eight bytes at a time, from tables with room behind them (elf/tables.py). All use the System V calling convention
and only instructions that every x86-64 has.
"""

from __future__ import annotations

from rtld.arch.base import Stub

KERNELS = {
    # void hash_names(const u64 *at, u64 n, const u8 *base, u64 *hash, u64 *length)
    #
    #   for (i = 0; i < n; i++) { hash[i] = GNU hash of the name at base + at[i]; length[i] = strlen of it; }
    #
    # A word of eight bytes at a time, as numpy does it (elf/hash.py, _mix); the last one's bytes behind the NUL are
    # shifted out. rax = h, r10 = where in the name, r11 = word, r9 = i; r15 = 0 at a name's last word.
    "hash_names": Stub("""
        53                                                       push %rbx
        41 54                                                    push %r12
        41 55                                                    push %r13
        41 56                                                    push %r14
        41 57                                                    push %r15
        51                                                       push %rcx
        49 bc ff 00 ff 00 ff 00 ff 00                            movabs $0x00ff00ff00ff00ff, %r12
        49 bd ff ff 00 00 ff ff 00 00                            movabs $0x0000ffff0000ffff, %r13
        48 8d 1d e7 00 00 00                                     lea powers(%rip), %rbx
        45 31 c9                                                 xor %r9d, %r9d
        49 39 f1                                         next:   cmp %rsi, %r9
        0f 83 d0 00 00 00                                        jae done
        49 8d 49 10                                              lea 16(%r9), %rcx
        48 39 f1                                                 cmp %rsi, %rcx
        49 0f 43 c9                                              cmovae %r9, %rcx
        48 8b 0c cf                                              mov (%rdi,%rcx,8), %rcx
        0f 18 0c 0a                                              prefetcht0 (%rdx,%rcx)
        4e 8b 14 cf                                              mov (%rdi,%r9,8), %r10
        49 01 d2                                                 add %rdx, %r10
        b8 05 15 00 00                                           mov $5381, %eax
        4d 8b 1a                                         word:   mov (%r10), %r11
        4d 89 de                                                 mov %r11, %r14
        4d 89 df                                                 mov %r11, %r15
        49 f7 d7                                                 not %r15
        4c 2b 35 c9 00 00 00                                     sub ones(%rip), %r14
        4d 21 fe                                                 and %r15, %r14
        4c 23 35 c7 00 00 00                                     and highs(%rip), %r14
        75 6d                                                    jne tail
        69 c0 01 71 7c 74                                        imul $0x747c7101, %eax, %eax
        49 83 c2 08                                              add $8, %r10
        41 83 cf ff                                              or $-1, %r15d
        4c 89 d9                                         mix:    mov %r11, %rcx
        48 c1 e9 08                                              shr $8, %rcx
        4d 21 e3                                                 and %r12, %r11
        4c 21 e1                                                 and %r12, %rcx
        4d 6b db 21                                              imul $33, %r11, %r11
        49 01 cb                                                 add %rcx, %r11
        4c 89 d9                                                 mov %r11, %rcx
        48 c1 e9 10                                              shr $16, %rcx
        4d 21 eb                                                 and %r13, %r11
        4c 21 e9                                                 and %r13, %rcx
        4d 69 db 41 04 00 00                                     imul $1089, %r11, %r11
        49 01 cb                                                 add %rcx, %r11
        4c 89 d9                                                 mov %r11, %rcx
        48 c1 e9 20                                              shr $32, %rcx
        45 69 db 81 18 12 00                                     imul $1185921, %r11d, %r11d
        41 01 cb                                                 add %ecx, %r11d
        44 01 d8                                                 add %r11d, %eax
        45 85 ff                                                 test %r15d, %r15d
        75 8f                                                    jne word
        4c 8b 34 24                                              mov (%rsp), %r14
        4b 89 04 ce                                              mov %rax, (%r14,%r9,8)
        49 29 d2                                                 sub %rdx, %r10
        4e 2b 14 cf                                              sub (%rdi,%r9,8), %r10
        4f 89 14 c8                                              mov %r10, (%r8,%r9,8)
        49 ff c1                                                 inc %r9
        e9 4c ff ff ff                                           jmp next
        49 0f bc ce                                      tail:   bsf %r14, %rcx
        41 89 cf                                                 mov %ecx, %r15d
        41 c1 ef 03                                              shr $3, %r15d
        4d 01 fa                                                 add %r15, %r10
        42 0f af 04 bb                                           imul (%rbx,%r15,4), %eax
        83 f1 3f                                                 xor $63, %ecx
        49 d3 e3                                                 shl %cl, %r11
        49 c1 e3 08                                              shl $8, %r11
        45 31 ff                                                 xor %r15d, %r15d
        e9 7c ff ff ff                                           jmp mix
        59                                               done:   pop %rcx
        41 5f                                                    pop %r15
        41 5e                                                    pop %r14
        41 5d                                                    pop %r13
        41 5c                                                    pop %r12
        5b                                                       pop %rbx
        c3                                                       ret
        01 00 00 00 21 00 00 00 41 04 00 00 61 8c 00 00  powers: .long 1, 33, 0x441, 0x8c61
        81 18 12 00 a1 28 55 02 c1 3c fa 4c e1 d4 41 ec          .long 0x121881, 0x25528a1, 0x4cfa3cc1, 0xec41d4e1
        01 01 01 01 01 01 01 01                          ones:   .quad 0x0101010101010101
        80 80 80 80 80 80 80 80                          highs:  .quad 0x8080808080808080
    """),
    # void number_names(const u64 *at, const u64 *hash, u64 n, const u8 *base, struct table *t, i64 *number)
    #
    #   struct table { struct { u64 key, at; } *slot; u64 mask, count, insert; i64 budget; };
    #
    #   for (i = 0; i < n; i++) number[i] = number of the name at base + at[i] in the table, or -1
    #
    # Open addressing. A slot's key is hash << 32 | number, 0 when empty; hashes count without their lowest bit, which a
    # .gnu.hash chain has lost. Its other half is where one name of that number is. mask is of bytes: 16 * (slots - 1).
    # With insert a new name gets number count++. Each slot passed costs one of budget; when none is left the function
    # returns, budget < 0, its work undone. Slots are fetched sixteen names ahead, the names they lead to eight.
    # rbx = i, rbp = slot, r13 and r14 = the two names compared, r15 = how their words differ, r12 = where a NUL is.
    "number_names": Stub("""
        53                               push %rbx
        55                               push %rbp
        41 54                            push %r12
        41 55                            push %r13
        41 56                            push %r14
        41 57                            push %r15
        4d 8b 10                         mov (%r8), %r10
        4d 8b 58 08                      mov 8(%r8), %r11
        31 db                            xor %ebx, %ebx
        48 39 d3                 next:   cmp %rdx, %rbx
        0f 83 21 01 00 00                jae done
        4c 8d 63 10                      lea 16(%rbx), %r12
        49 39 d4                         cmp %rdx, %r12
        4c 0f 43 e3                      cmovae %rbx, %r12
        4e 8b 2c e7                      mov (%rdi,%r12,8), %r13
        42 0f 18 0c 29                   prefetcht0 (%rcx,%r13)
        42 8b 04 e6                      mov (%rsi,%r12,8), %eax
        83 c8 01                         or $1, %eax
        48 0f af 05 09 01 00 00          imul mixer(%rip), %rax
        48 c1 e8 1c                      shr $28, %rax
        4c 21 d8                         and %r11, %rax
        41 0f 18 0c 02                   prefetcht0 (%r10,%rax)
        4c 8d 63 08                      lea 8(%rbx), %r12
        49 39 d4                         cmp %rdx, %r12
        4c 0f 43 e3                      cmovae %rbx, %r12
        42 8b 04 e6                      mov (%rsi,%r12,8), %eax
        83 c8 01                         or $1, %eax
        48 0f af 05 e3 00 00 00          imul mixer(%rip), %rax
        48 c1 e8 1c                      shr $28, %rax
        4c 21 d8                         and %r11, %rax
        4d 8b 6c 02 08                   mov 8(%r10,%rax), %r13
        42 0f 18 0c 29                   prefetcht0 (%rcx,%r13)
        8b 04 de                         mov (%rsi,%rbx,8), %eax
        83 c8 01                         or $1, %eax
        48 89 c5                         mov %rax, %rbp
        48 0f af 2d c1 00 00 00          imul mixer(%rip), %rbp
        48 c1 ed 1c                      shr $28, %rbp
        4c 21 dd                 probe:  and %r11, %rbp
        4d 8b 24 2a                      mov (%r10,%rbp), %r12
        4d 85 e4                         test %r12, %r12
        74 6a                            je absent
        49 c1 ec 20                      shr $32, %r12
        41 39 c4                         cmp %eax, %r12d
        75 55                            jne other
        4d 8b 74 2a 08                   mov 8(%r10,%rbp), %r14
        4c 8b 2c df                      mov (%rdi,%rbx,8), %r13
        49 01 ce                         add %rcx, %r14
        49 01 cd                         add %rcx, %r13
        4d 8b 65 00              word:   mov (%r13), %r12
        4d 8b 3e                         mov (%r14), %r15
        4d 31 e7                         xor %r12, %r15
        4c 89 e0                         mov %r12, %rax
        48 f7 d0                         not %rax
        4c 2b 25 8a 00 00 00             sub ones(%rip), %r12
        49 21 c4                         and %rax, %r12
        4c 23 25 88 00 00 00             and highs(%rip), %r12
        4c 89 f8                         mov %r15, %rax
        4c 09 e0                         or %r12, %rax
        75 0a                            jne decide
        49 83 c5 08                      add $8, %r13
        49 83 c6 08                      add $8, %r14
        eb cd                            jmp word
        49 8d 44 24 ff           decide: lea -1(%r12), %rax
        4c 31 e0                         xor %r12, %rax
        4c 85 f8                         test %r15, %rax
        74 3e                            je same
        8b 04 de                         mov (%rsi,%rbx,8), %eax
        83 c8 01                         or $1, %eax
        49 ff 48 20              other:  decq 32(%r8)
        78 42                            js done
        48 83 c5 10                      add $16, %rbp
        eb 8a                            jmp probe
        49 c7 c4 ff ff ff ff     absent: mov $-1, %r12
        49 83 78 18 00                   cmpq $0, 24(%r8)
        74 22                            je store
        4d 8b 60 10                      mov 16(%r8), %r12
        49 ff 40 10                      incq 16(%r8)
        48 c1 e0 20                      shl $32, %rax
        4c 09 e0                         or %r12, %rax
        49 89 04 2a                      mov %rax, (%r10,%rbp)
        48 8b 04 df                      mov (%rdi,%rbx,8), %rax
        49 89 44 2a 08                   mov %rax, 8(%r10,%rbp)
        eb 04                            jmp store
        45 8b 24 2a              same:   mov (%r10,%rbp), %r12d
        4d 89 24 d9              store:  mov %r12, (%r9,%rbx,8)
        48 ff c3                         inc %rbx
        e9 d6 fe ff ff                   jmp next
        41 5f                    done:   pop %r15
        41 5e                            pop %r14
        41 5d                            pop %r13
        41 5c                            pop %r12
        5d                               pop %rbp
        5b                               pop %rbx
        c3                               ret
        15 7c 4a 7f b9 79 37 9e  mixer:  .quad 0x9e3779b97f4a7c15
        01 01 01 01 01 01 01 01  ones:   .quad 0x0101010101010101
        80 80 80 80 80 80 80 80  highs:  .quad 0x8080808080808080
    """),
    # void add_base(const u64 *rows, u64 n, u8 *image, u64 low, u64 room, struct { u64 base, left; } *state)
    #
    #   for (; n; n--, rows += 3) if (rows[0] - low <= room) *(u64 *)(image + rows[0] - low) = rows[2] + base; else break;
    #   left = n;
    #
    # Elf64_Rela records promised to be RELATIVE: r_offset, r_info, r_addend. It stops at a place outside the image.
    "add_base": Stub("""
        4d 8b 11           mov (%r9), %r10
        48 85 f6     next: test %rsi, %rsi
        74 1f              je done
        48 8b 07           mov (%rdi), %rax
        48 29 c8           sub %rcx, %rax
        4c 39 c0           cmp %r8, %rax
        77 14              ja done
        4c 8b 5f 10        mov 16(%rdi), %r11
        4d 01 d3           add %r10, %r11
        4c 89 1c 02        mov %r11, (%rdx,%rax)
        48 83 c7 18        add $24, %rdi
        48 ff ce           dec %rsi
        eb dc              jmp next
        49 89 71 08  done: mov %rsi, 8(%r9)
        c3                 ret
    """),
}
