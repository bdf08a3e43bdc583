"""Machine code between the two calling conventions of x86-64: System V's (ours) and Microsoft's (a Windows DLL's).

Microsoft: the first four arguments by position in rcx, rdx, r8, r9 or xmm0 to xmm3, the others on the stack above 32 bytes of
home space; rdi, rsi and xmm6 to xmm15 belong to the caller. A signature here is a string, ``i`` for an integer or a
pointer, ``d`` for a double. Every thunk spills all that comes in registers and loads it again: order does not matter then.

``to_windows`` also makes sure that GS leads to the thread environment block of *this* thread: new threads inherit the base
of the thread that made them. The block has the thread's own pointer (fs:0x10) at ``OWNER``; where that differs, or there is
no block, ``enter`` is called, which makes one.

The thunk is entered with Python's lock held, gives it back for the call, and takes it again. It notes its frame in the block, and
keeps in it what Windows code would give back when it returns: so that code can also be left from inside, by ``leave``, when it has
raised an exception. A gate, or a signal handler, goes there; the caller gets Python's exception.
"""

from __future__ import annotations

import struct
from collections import namedtuple

#: Where in the thread environment block the thread that it belongs to is noted: space that Windows reserves for debuggers.
OWNER = 0x17E8
#: Behind the block, in its last page: rbp of the innermost thunk; whether a gate is to leave; type and value of the exception.
FRAME, LEAVING, ERROR_TYPE, ERROR_VALUE = 0x1F00, 0x1F08, 0x1F10, 0x1F18

#: Addresses of what thunks call: who makes a block; PyEval_SaveThread, PyEval_RestoreThread, PyErr_SetObject.
Runtime = namedtuple("Runtime", "enter save restore raise_")

_MS = (1, 2, 8, 9)  # rcx, rdx, r8, r9
_SYSV = (7, 6, 2, 1, 8, 9)  # rdi, rsi, rdx, rcx, r8, r9
_HOME = 16  # of the first argument, from rbp
_KEPT = {3: -120, 12: -128, 13: -136, 14: -144, 15: -152}  # rbx, r12 to r15 of a thunk's caller
_OUTER, _STATE, _RAX, _XMM0 = (
    -160,
    -168,
    -176,
    -184,
)  # the thunk outside, Python's thread state, results
_LOCALS = 192
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


def _gs(register: int, at: int, *, store: bool) -> bytes:
    """mov between %register and %gs:at"""
    return bytes([0x65, 0x48 | (register >= 8) << 2, 0x89 if store else 0x8B, 0x04 | (register & 7) << 3, 0x25]) + struct.pack("<I", at)  # fmt: skip


def to_windows(target: int, signature: str, runtime: Runtime) -> bytes:
    """A System V function that calls a Microsoft one."""
    count = len(signature)
    frame = (_LOCALS + 32 + 8 * max(0, count - 4) + 15) & -16
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
    code += _call(runtime.enter)
    code += b"".join(_store(register, at) for register, at in _KEPT.items())
    code += _call(runtime.save) + _store(0, _STATE)
    code += _gs(0, FRAME, store=False) + _store(0, _OUTER) + _gs(5, FRAME, store=True)
    for position, (kind, source) in enumerate(zip(signature, sources, strict=True)):
        if position >= 4:
            code += _load(0, source) + _out(32 + 8 * (position - 4))
        elif kind == "d":
            # Variable arguments are looked for in the integer register, too.
            code += _movsd(position, source, store=False) + _load(_MS[position], source)
        else:
            code += _load(_MS[position], source)
    code += _call(target) + _store(0, _RAX) + _movsd(0, _XMM0, store=True)
    code += _load(0, _OUTER) + _gs(0, FRAME, store=True)
    code += _load(7, _STATE) + _call(runtime.restore)
    return code + _load(0, _RAX) + _movsd(0, _XMM0, store=False) + b"\xc9\xc3"  # leave; ret


def leave(runtime: Runtime) -> bytes:
    """Where Windows code is left for the innermost thunk of the thread, which returns with Python's exception set.

    To be jumped to with any registers and any stack: all is taken from the thread's block.
    """
    code = _gs(5, FRAME, store=False) + b"\xfc"  # cld
    code += b"\x48\x8d\xa5" + struct.pack("<i", -_LOCALS - 32)  # lea -224(%rbp), %rsp
    code += _load(0, _OUTER) + _gs(0, FRAME, store=True)
    code += b"".join(_load(register, at) for register, at in _KEPT.items())
    code += b"\x31\xc0" + _gs(0, LEAVING, store=True)  # xor %eax, %eax
    code += _load(7, _STATE) + _call(runtime.restore)
    code += _gs(7, ERROR_TYPE, store=False) + _gs(6, ERROR_VALUE, store=False)
    code += _call(runtime.raise_)
    return code + b"\x31\xc0\x0f\x57\xc0\xc9\xc3"  # xor %eax, %eax; xorps %xmm0, %xmm0; leave; ret


def _leave_if_told(way_out: int) -> bytes:
    """In a gate: whoever was called may have found that there is no way back."""
    return (
        _gs(11, LEAVING, store=False) + b"\x4d\x85\xdb\x74\x0d" + jump(way_out)
    )  # test %r11, %r11; jz over it


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


def from_windows(target: int, signature: str, way_out: int = 0) -> bytes:
    """A Microsoft function that calls a System V one; *way_out*: ``leave``, if that may find that it is needed."""
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
    code = _prologue(8 * stack) + outs + loads + _call(target)
    return code + (_leave_if_told(way_out) if way_out else b"") + _epilogue()


def gate(number: int, dispatcher: int, way_out: int) -> bytes:
    """A Microsoft function that calls dispatcher(number, &arguments, &doubles); doubles[0] is a double result."""
    code = _prologue(0)
    code += b"\xbf" + struct.pack("<I", number)  # mov $number, %edi
    code += b"\x48\x8d\x75\x10"  # lea 16(%rbp), %rsi
    code += b"\x48\x8d\x95" + struct.pack("<i", _DOUBLES)  # lea DOUBLES(%rbp), %rdx
    code += _call(dispatcher) + _leave_if_told(way_out)
    return code + _movsd(0, _DOUBLES, store=False) + _epilogue()


# -- setjmp ---------------------------------------------------------------------------------------

# _JUMP_BUFFER of x64 (setjmp.h): registers and where they are; then rip, MXCSR and the x87's control word, xmm6 to xmm15.
_JUMP_REGISTERS = {3: 0x08, 5: 0x18, 6: 0x20, 7: 0x28, 12: 0x30, 13: 0x38, 14: 0x40, 15: 0x48}
_JUMP_RSP, _JUMP_RIP, _JUMP_MXCSR, _JUMP_FPCSR, _JUMP_XMM6 = 0x10, 0x50, 0x58, 0x5C, 0x60


def _buffer(register: int, at: int, *, store: bool) -> bytes:
    """mov between %register and at(%rcx)"""
    return bytes([0x48 | (register >= 8) << 2, 0x89 if store else 0x8B, 0x81 | (register & 7) << 3]) + struct.pack("<i", at)  # fmt: skip


def _buffer_xmm(*, store: bool) -> bytes:
    """movups between %xmm6 to %xmm15 and their places"""
    code = b""
    for xmm in range(6, 16):
        prefix = b"\x44" if xmm >= 8 else b""
        code += prefix + bytes([0x0F, 0x11 if store else 0x10, 0x81 | (xmm & 7) << 3])
        code += struct.pack("<i", _JUMP_XMM6 + 16 * (xmm - 6))
    return code


def setjmp() -> bytes:
    """_setjmp(buffer). Instead of its frame the buffer has the thunk that is innermost: a jump may not leave it."""
    code = _gs(0, FRAME, store=False) + _buffer(0, 0, store=True)
    code += b"".join(_buffer(register, at, store=True) for register, at in _JUMP_REGISTERS.items())
    code += b"\x48\x8d\x44\x24\x08" + _buffer(0, _JUMP_RSP, store=True)  # lea 8(%rsp), %rax
    code += b"\x48\x8b\x04\x24" + _buffer(0, _JUMP_RIP, store=True)  # mov (%rsp), %rax
    code += b"\x0f\xae\x99" + struct.pack("<i", _JUMP_MXCSR)  # stmxcsr
    code += b"\xd9\xb9" + struct.pack("<i", _JUMP_FPCSR)  # fnstcw
    return code + _buffer_xmm(store=True) + b"\x31\xc0\xc3"  # xor %eax, %eax; ret


def longjmp(refuse: int) -> bytes:
    """longjmp(buffer, value), without unwinding; *refuse* is jumped to where Python would be jumped over."""
    code = (
        _gs(0, FRAME, store=False) + b"\x48\x3b\x01\x74\x0d" + jump(refuse)
    )  # cmp (%rcx), %rax; je over it
    code += b"\x89\xd0\x85\xc0\x75\x02\xff\xc0"  # mov %edx, %eax; test; jnz; inc %eax
    code += b"".join(_buffer(register, at, store=False) for register, at in _JUMP_REGISTERS.items())
    code += b"\x0f\xae\x91" + struct.pack("<i", _JUMP_MXCSR)  # ldmxcsr
    code += b"\xd9\xa9" + struct.pack("<i", _JUMP_FPCSR)  # fldcw
    code += _buffer_xmm(store=False) + _buffer(2, _JUMP_RIP, store=False)
    return code + _buffer(4, _JUMP_RSP, store=False) + b"\xff\xe2"  # jmp *%rdx
