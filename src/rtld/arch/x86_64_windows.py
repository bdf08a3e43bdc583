"""Machine code between the two calling conventions of x86-64: System V's (ours) and Microsoft's (a Windows DLL's).

Microsoft: the first four arguments by position in rcx, rdx, r8, r9 or xmm0 to xmm3, the others on the stack above 32 bytes of
home space; rdi, rsi and xmm6 to xmm15 belong to the caller. A signature here is a string, ``i`` for an integer or a
pointer, ``d`` for a double. Every thunk spills all that comes in registers and loads it again: order does not matter then.

``to_windows`` also makes sure that GS leads to the thread environment block of *this* thread: new threads inherit the base
of the thread that made them. The block has the thread's own pointer (fs:0x10) at ``OWNER``; where that differs, or there is
no block, ``enter`` is called, which makes one.
"""

from __future__ import annotations

import struct

#: Where in the thread environment block the thread that it belongs to is noted: space that Windows reserves for debuggers.
OWNER = 0x17E8

_MS = (1, 2, 8, 9)  # rcx, rdx, r8, r9
_SYSV = (7, 6, 2, 1, 8, 9)  # rdi, rsi, rdx, rcx, r8, r9
_HOME = 16  # of the first argument, from rbp
_DOUBLES = -208  # where xmm0 to xmm3 are spilled
_XMM6 = -32


def _store(register: int, at: int) -> bytes:
    """mov %register, at(%rbp)"""
    return bytes([0x48 | (register >= 8) << 2, 0x89, 0x85 | (register & 7) << 3]) + struct.pack("<i", at)  # fmt: skip


def _load(register: int, at: int) -> bytes:
    """mov at(%rbp), %register"""
    return bytes([0x48 | (register >= 8) << 2, 0x8B, 0x85 | (register & 7) << 3]) + struct.pack("<i", at)  # fmt: skip


def _out(at: int) -> bytes:
    """mov %rax, at(%rsp)"""
    return b"\x48\x89\x84\x24" + struct.pack("<i", at)


def _movsd(xmm: int, at: int, *, store: bool) -> bytes:
    """movsd between %xmm and at(%rbp)"""
    return b"\xf2\x0f" + bytes([0x11 if store else 0x10, 0x85 | xmm << 3]) + struct.pack("<i", at)


def _movups(xmm: int, at: int, *, store: bool) -> bytes:
    """movups between %xmm and at(%rbp)"""
    prefix = b"\x44" if xmm >= 8 else b""
    return prefix + b"\x0f" + bytes([0x11 if store else 0x10, 0x85 | (xmm & 7) << 3]) + struct.pack("<i", at)  # fmt: skip


def _call(address: int) -> bytes:
    """mov $address, %rax; call *%rax"""
    return b"\x48\xb8" + struct.pack("<Q", address) + b"\xff\xd0"


def jump(address: int) -> bytes:
    """mov $address, %r11; jmp *%r11: 13 bytes."""
    return b"\x49\xbb" + struct.pack("<Q", address) + b"\x41\xff\xe3"


def to_windows(target: int, signature: str, enter: int) -> bytes:
    """A System V function that calls a Microsoft one."""
    count = len(signature)
    frame = (48 + 64 + 32 + 8 * max(0, count - 4) + 15) & -16
    code = b"\x55\x48\x89\xe5\x48\x81\xec" + struct.pack(
        "<I", frame
    )  # push rbp; mov rsp,rbp; sub frame,rsp
    sources = []
    ints = doubles = stack = 0
    for kind in signature:
        if kind == "i" and ints < 6:
            sources.append(-8 * (ints + 1))
            code += _store(_SYSV[ints], sources[-1])
            ints += 1
        elif kind == "d" and doubles < 8:
            sources.append(-48 - 8 * (doubles + 1))
            code += _movsd(doubles, sources[-1], store=True)
            doubles += 1
        else:
            sources.append(16 + 8 * stack)
            stack += 1
    code += (
        b"\xf3\x49\x0f\xae\xcb"  # rdgsbase %r11
        b"\x4d\x85\xdb"  # test %r11, %r11
        b"\x74\x12"  # jz to the call
        b"\x64\x48\x8b\x04\x25\x10\x00\x00\x00"  # mov %fs:0x10, %rax
        b"\x49\x3b\x83" + struct.pack("<i", OWNER) + b"\x74\x0c"  # cmp OWNER(%r11), %rax; je over the call
    )  # fmt: skip
    code += _call(enter)
    for position, (kind, source) in enumerate(zip(signature, sources, strict=True)):
        if position >= 4:
            code += _load(0, source) + _out(32 + 8 * (position - 4))
        elif kind == "d":
            # Variable arguments are looked for in the integer register, too.
            code += _movsd(position, source, store=False) + _load(_MS[position], source)
        else:
            code += _load(_MS[position], source)
    return code + _call(target) + b"\xc9\xc3"  # leave; ret


def _prologue(outgoing: int) -> bytes:
    """Of a Microsoft function: rdi, rsi and xmm6 to xmm15 saved, arguments in registers spilled."""
    code = b"\x55\x48\x89\xe5\x57\x56\x48\x81\xec" + struct.pack("<I", 192 + (outgoing + 15 & -16))
    for number in range(10):
        code += _movups(6 + number, _XMM6 - 16 * number, store=True)
    for position, register in enumerate(_MS):
        code += _store(register, _HOME + 8 * position)
        code += _movsd(position, _DOUBLES + 8 * position, store=True)
    return code


def _epilogue() -> bytes:
    code = b"".join(_movups(6 + n, _XMM6 - 16 * n, store=False) for n in range(10))
    return code + b"\x48\x8d\x65\xf0\x5e\x5f\x5d\xc3"  # lea -16(%rbp), %rsp; pop rsi, rdi, rbp; ret


def from_windows(target: int, signature: str) -> bytes:
    """A Microsoft function that calls a System V one."""
    ints = doubles = 0
    loads = outs = b""
    stack = 0
    for position, kind in enumerate(signature):
        home = _HOME + 8 * position
        source = _DOUBLES + 8 * position if kind == "d" and position < 4 else home
        if kind == "i" and ints < 6:
            loads += _load(_SYSV[ints], source)
            ints += 1
        elif kind == "d" and doubles < 8:
            loads += _movsd(doubles, source, store=False)
            doubles += 1
        else:
            outs += _load(0, source) + _out(8 * stack)
            stack += 1
    return _prologue(8 * stack) + outs + loads + _call(target) + _epilogue()


def gate(number: int, dispatcher: int) -> bytes:
    """A Microsoft function that calls dispatcher(number, &arguments, &doubles); doubles[0] is a double result."""
    code = _prologue(0)
    code += b"\xbf" + struct.pack("<I", number)  # mov $number, %edi
    code += b"\x48\x8d\x75\x10"  # lea 16(%rbp), %rsi
    code += b"\x48\x8d\x95" + struct.pack("<i", _DOUBLES)  # lea DOUBLES(%rbp), %rdx
    return code + _call(dispatcher) + _movsd(0, _DOUBLES, store=False) + _epilogue()
