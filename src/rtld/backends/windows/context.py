"""CONTEXT, EXCEPTION_RECORD and what else of exceptions the program reads (winnt.h), in both widths; the CPU's registers as one."""

from __future__ import annotations

import struct

from rtld.arch.x86_64_unwind import REGISTERS, Registers
from rtld.errors import TargetFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.backends.emulated.engine import Engine
    from rtld.backends.windows.system import Memory, System

# fmt: off
# EXCEPTION_RECORD.ExceptionFlags
NONCONTINUABLE, UNWINDING, EXIT_UNWIND, STACK_INVALID, NESTED_CALL, TARGET_UNWIND, COLLIDED_UNWIND = (1 << i for i in range(7))
# what a handler says
CONTINUE_EXECUTION, CONTINUE_SEARCH, NESTED_EXCEPTION, COLLIDED = range(4)

ACCESS_VIOLATION      = 0xC0000005
ILLEGAL_INSTRUCTION   = 0xC000001D
NONCONTINUABLE_EXCEPTION = 0xC0000025
INVALID_DISPOSITION   = 0xC0000026
UNWIND                = 0xC0000027
BAD_STACK             = 0xC0000028
INVALID_UNWIND_TARGET = 0xC0000029
ARRAY_BOUNDS          = 0xC000008C
FLOAT_INVALID         = 0xC0000090
DIVIDE_BY_ZERO        = 0xC0000094
INTEGER_OVERFLOW      = 0xC0000095
PRIVILEGED            = 0xC0000096
STACK_OVERFLOW        = 0xC00000FD
BAD_FUNCTION_TABLE    = 0xC00000FF
INVALID_HANDLER       = 0xC00001A5
STACK_BUFFER_OVERRUN  = 0xC0000409
GUARD_PAGE            = 0x80000001
MISALIGNMENT          = 0x80000002
BREAKPOINT            = 0x80000003
SINGLE_STEP           = 0x80000004
LONGJUMP              = 0x80000026
UNWIND_CONSOLIDATE    = 0x80000029

#: Names of codes, as winnt.h has them.
NAMES = {
    ACCESS_VIOLATION: "EXCEPTION_ACCESS_VIOLATION", ILLEGAL_INSTRUCTION: "EXCEPTION_ILLEGAL_INSTRUCTION",
    NONCONTINUABLE_EXCEPTION: "EXCEPTION_NONCONTINUABLE_EXCEPTION", INVALID_DISPOSITION: "EXCEPTION_INVALID_DISPOSITION",
    BAD_STACK: "STATUS_BAD_STACK", INVALID_UNWIND_TARGET: "STATUS_INVALID_UNWIND_TARGET",
    ARRAY_BOUNDS: "EXCEPTION_ARRAY_BOUNDS_EXCEEDED", FLOAT_INVALID: "EXCEPTION_FLT_INVALID_OPERATION",
    DIVIDE_BY_ZERO: "EXCEPTION_INT_DIVIDE_BY_ZERO", INTEGER_OVERFLOW: "EXCEPTION_INT_OVERFLOW",
    PRIVILEGED: "EXCEPTION_PRIV_INSTRUCTION", STACK_OVERFLOW: "EXCEPTION_STACK_OVERFLOW",
    BAD_FUNCTION_TABLE: "STATUS_BAD_FUNCTION_TABLE", INVALID_HANDLER: "STATUS_INVALID_EXCEPTION_HANDLER",
    STACK_BUFFER_OVERRUN: "STATUS_STACK_BUFFER_OVERRUN", GUARD_PAGE: "EXCEPTION_GUARD_PAGE",
    MISALIGNMENT: "EXCEPTION_DATATYPE_MISALIGNMENT", BREAKPOINT: "EXCEPTION_BREAKPOINT", SINGLE_STEP: "EXCEPTION_SINGLE_STEP",
    0xE06D7363: "a C++ exception of Visual C++", 0x20474343: "a C++ exception of GCC",
}

_SEGMENTS = {64: ((0x38, 0x33), (0x3A, 0x2B), (0x3C, 0x2B), (0x3E, 0x53), (0x40, 0x2B), (0x42, 0x2B)),
             32: ((0x8C, 0x2B), (0x90, 0x53), (0x94, 0x2B), (0x98, 0x2B), (0xBC, 0x23), (0xC8, 0x2B))}  # as on Windows
#: name -> offset in CONTEXT, of 32 bits
_PLACES32 = {"edi": 0x9C, "esi": 0xA0, "ebx": 0xA4, "edx": 0xA8, "ecx": 0xAC, "eax": 0xB0, "ebp": 0xB4, "eip": 0xB8,
             "eflags": 0xC0, "esp": 0xC4}
REGISTERS32 = tuple(_PLACES32)
# fmt: on
CONTEXT_SIZE = {32: 0x2CC, 64: 0x4D0}
RECORD_SIZE = {32: 0x50, 64: 0x98}
_FULL = {32: 0x1003F, 64: 0x10000F}
_CONTROL, _INTEGER, _FLOATING = 1, 2, 8
_XMM = 0x1A0
_MOST = 15  # EXCEPTION_MAXIMUM_PARAMETERS


class Context64(Registers):
    """A CONTEXT of x64. ``eflags``, ``mxcsr``, ``fpcw`` besides what unwinding needs."""

    __slots__ = ("eflags", "fpcw", "mxcsr")

    @classmethod
    def capture(cls, engine: Engine) -> Context64:
        """The CPU's registers."""
        get = engine.get
        self = cls([get(r) for r in REGISTERS], [get(f"xmm{i}") for i in range(16)], get("rip"))
        self.eflags, self.mxcsr, self.fpcw = get("eflags"), get("mxcsr"), get("fpcw")
        return self

    def copy(self) -> Context64:
        new = Context64(self.gpr[:], self.xmm[:], self.rip)
        new.eflags, new.mxcsr, new.fpcw = self.eflags, self.mxcsr, self.fpcw
        return new

    def move(self, pc: int, sp: int) -> None:
        """Another place in the program, and on the stack."""
        self.rip, self.gpr[4] = pc, sp

    @property
    def pc(self) -> int:
        return self.rip

    @property
    def sp(self) -> int:
        return self.gpr[4]

    def install(self, engine: Engine) -> None:
        """Make them the CPU's, all but the program counter."""
        for name, value in zip(REGISTERS, self.gpr, strict=True):
            engine.set(name, value)
        for number, value in enumerate(self.xmm):
            engine.set(f"xmm{number}", value)
        engine.set("eflags", self.eflags & 0xCD5 | 2)
        engine.set("mxcsr", self.mxcsr & 0xFFFF)
        engine.set("fpcw", self.fpcw)

    def store(self, memory: Memory, address: int) -> None:
        """Write a whole CONTEXT there."""
        data = bytearray(0x4D0)
        struct.pack_into("<II", data, 0x30, _FULL[64], self.mxcsr)
        for at, value in _SEGMENTS[64]:
            struct.pack_into("<H", data, at, value)
        struct.pack_into("<I", data, 0x44, self.eflags)
        struct.pack_into("<17Q", data, 0x78, *self.gpr, self.rip)
        struct.pack_into("<H", data, 0x100, self.fpcw)
        struct.pack_into("<II", data, 0x118, self.mxcsr, 0xFFFF)
        data[_XMM : _XMM + 256] = b"".join([x.to_bytes(16, "little") for x in self.xmm])
        memory.write(address, bytes(data))

    def load(self, memory: Memory, address: int) -> None:
        """Take what a CONTEXT there says, as far as its flags go."""
        data = memory.read(address, 0x4D0)
        (flags,) = struct.unpack_from("<I", data, 0x30)
        values = struct.unpack_from("<17Q", data, 0x78)
        for number in range(16):
            if flags & (_CONTROL if number == 4 else _INTEGER):
                self.gpr[number] = values[number]
        if flags & _CONTROL:
            self.rip = values[16]
            (self.eflags,) = struct.unpack_from("<I", data, 0x44)
        if flags & _FLOATING:
            (self.mxcsr,) = struct.unpack_from("<I", data, 0x34)
            (self.fpcw,) = struct.unpack_from("<H", data, 0x100)
            self.xmm = [int.from_bytes(data[at : at + 16], "little") for at in range(_XMM, _XMM + 256, 16)]  # fmt: skip

    def shown(self) -> dict[str, int]:
        return {"rip": self.rip, **dict(zip(REGISTERS, self.gpr, strict=True)), "eflags": self.eflags}  # fmt: skip


class Context32:
    """A CONTEXT of x86: ``values`` by the registers' names."""

    __slots__ = ("fpu", "mxcsr", "values", "xmm")

    def __init__(self, values: dict[str, int]) -> None:
        self.values = values
        self.fpu = (0x27F, 0, 0xFFFF)
        self.mxcsr = 0x1F80
        self.xmm = [0] * 8

    @classmethod
    def capture(cls, engine: Engine) -> Context32:
        """The CPU's registers."""
        get = engine.get
        self = cls({name: get(name) for name in REGISTERS32})
        self.fpu = get("fpcw"), get("fpsw"), get("fptag")
        self.mxcsr = get("mxcsr")
        self.xmm = [get(f"xmm{i}") for i in range(8)]
        return self

    def copy(self) -> Context32:
        new = Context32(dict(self.values))
        new.fpu, new.mxcsr, new.xmm = self.fpu, self.mxcsr, self.xmm[:]
        return new

    def move(self, pc: int, sp: int) -> None:
        """Another place in the program, and on the stack."""
        self.values["eip"], self.values["esp"] = pc, sp

    @property
    def pc(self) -> int:
        return self.values["eip"]

    @property
    def sp(self) -> int:
        return self.values["esp"]

    def install(self, engine: Engine) -> None:
        """Make them the CPU's, all but the program counter."""
        for name, value in self.values.items():
            if name != "eip":
                engine.set(name, value & 0xCD5 | 2 if name == "eflags" else value)
        for number, value in enumerate(self.xmm):
            engine.set(f"xmm{number}", value)
        engine.set("mxcsr", self.mxcsr & 0xFFFF)
        engine.set("fpcw", self.fpu[0])

    def store(self, memory: Memory, address: int) -> None:
        """Write a whole CONTEXT there."""
        data = bytearray(0x2CC)
        struct.pack_into("<I", data, 0, _FULL[32])
        struct.pack_into("<3I", data, 0x1C, *[0xFFFF0000 | v for v in self.fpu])
        for at, value in _SEGMENTS[32]:
            struct.pack_into("<I", data, at, value)
        for name, at in _PLACES32.items():
            struct.pack_into("<I", data, at, self.values[name])
        struct.pack_into("<HH", data, 0xCC, self.fpu[0], self.fpu[1])  # FXSAVE's own picture
        struct.pack_into("<II", data, 0xCC + 0x18, self.mxcsr, 0xFFFF)
        data[0x16C : 0x16C + 128] = b"".join([x.to_bytes(16, "little") for x in self.xmm])
        memory.write(address, bytes(data))

    def load(self, memory: Memory, address: int) -> None:
        """Take what a CONTEXT there says, as far as its flags go."""
        data = memory.read(address, 0x2CC)
        (flags,) = struct.unpack_from("<I", data, 0)
        for name, at in _PLACES32.items():
            part = _CONTROL if name in ("ebp", "eip", "esp", "eflags") else _INTEGER
            if flags & part:
                (self.values[name],) = struct.unpack_from("<I", data, at)
        if flags & _FLOATING:
            self.fpu = struct.unpack_from("<H", data, 0x1C)[0], self.fpu[1], self.fpu[2]
        if flags & 0x20:
            (self.mxcsr,) = struct.unpack_from("<I", data, 0xCC + 0x18)
            self.xmm = [int.from_bytes(data[at : at + 16], "little") for at in range(0x16C, 0x1EC, 16)]  # fmt: skip

    def shown(self) -> dict[str, int]:
        return {name: self.values[name] for name in ("eip", "esp", "ebp", "eax", "ebx", "ecx", "edx", "esi", "edi", "eflags")}  # fmt: skip


def capture(system: System) -> Any:
    """The CPU's registers, as a context of its width."""
    engine = system.threads.engine
    if engine.cpu.name not in ("x86_64", "i386"):
        raise TargetFault(
            f"the program wants an exception, of which there are none on {engine.cpu.name}"
        )
    return Context64.capture(engine) if system.bits == 64 else Context32.capture(engine)


class Record:
    """An EXCEPTION_RECORD."""

    __slots__ = ("address", "code", "flags", "info", "next")

    def __init__(self, code: int, flags: int = 0, address: int = 0, info: tuple[int, ...] = (), link: int = 0) -> None:  # fmt: skip
        self.code = code & 0xFFFFFFFF
        self.flags = flags
        self.address = address
        self.info = info
        self.next = link

    def store(self, system: System, at: int) -> None:
        """Write it there."""
        info = [*self.info, *[0] * (_MOST - len(self.info))]
        form = "<IIQQI4x15Q" if system.bits == 64 else "<IIIII15I"
        data = struct.pack(form, self.code, self.flags, self.next, self.address, len(self.info), *info)  # fmt: skip
        system.memory.write(at, data)

    @classmethod
    def load(cls, system: System, at: int) -> Record:
        """The record there; no more than 15 parameters, whatever it says."""
        form = "<IIQQI4x15Q" if system.bits == 64 else "<IIIII15I"
        code, flags, link, address, count, *info = struct.unpack(form, system.memory.read(at, RECORD_SIZE[system.bits]))  # fmt: skip
        return cls(code, flags, address, tuple(info[: min(count, _MOST)]), link)
