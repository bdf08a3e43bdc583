"""What is repaired in Unicorn's library itself, in this process's memory, before a CPU is made: faults of its translators that a
guest could end this process with (``quirks``).

- **Temporaries.** A translator that does not give back what it took for an instruction (MIPS: mips_tr_translate_insn, for each
  one; x86: those of the x87 unit) takes more and more of them until the end of the block, and there is room for 512, which
  nobody looks at (tcg/tcg.c: tcg_temp_alloc). So the longest block that is asked for, the third argument of
  gen_intermediate_code, becomes a shorter one. The library calls that function through its PLT, and a linker's own means do: the slot
  leads to a few instructions of ours, and they to the function.
- **s390x.** SQXBR's row in the table of instructions prepares one register for its result, which has two
  (s390x/insn-data.def: "new", where the other rows of 128 bits have "new_P"). It gets the pointer that LCXBR's row has.

What does not look as it should is left as it is, and ``repaired`` says so.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct

from rtld.arch.base import Stub

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtld.backends.emulated.libunicorn import Library

_TARGET, _LIMIT = (
    64,
    72,
)  # where the address of the function and the longest block are, behind the code

#: This machine's CPU -> what stands before gen_intermediate_code(cpu, block, how many instructions).
CODE = {
    "x86_64": Stub("""
        3b 15 42 00 00 00     cmp   0x42(%rip), %edx
        0f 4f 15 3b 00 00 00  cmovg 0x3b(%rip), %edx
        ff 25 2d 00 00 00     jmp   *0x2d(%rip)
    """),
    "aarch64": Stub("""
        50 02 00 18  ldr  w16, .+72
        5f 00 10 6b  cmp  w2, w16
        02 c2 82 1a  csel w2, w16, w2, gt
        b0 01 00 58  ldr  x16, .+52
        00 02 1f d6  br   x16
    """),
}
#: CPU -> the function of the library that translates a block for it, and the longest block: as many instructions as have
#: temporaries if each keeps the most that any has been seen to keep.
_TRANSLATORS = {
    "mips64el": ("gen_intermediate_code_mips64el", 64),
    "mipsel":   ("gen_intermediate_code_mipsel", 64),
    "x86_64":   ("gen_intermediate_code_x86_64", 128),
    "i386":     ("gen_intermediate_code_x86_64", 128),
}  # fmt: skip

# <elf.h>
_PT_LOAD, _PT_GNU_RELRO = 1, 0x6474E552
_DT_PLTRELSZ, _DT_STRTAB, _DT_SYMTAB, _DT_JMPREL = 2, 5, 6, 23
_HEADER, _SEGMENT = struct.Struct("<32xQ14xHH6x"), struct.Struct("<I12xQ16xQ8x")
_ROW_SIZE, _SECOND = 24, 8  # Elf64_Sym and Elf64_Rela; st_value in the one, r_info in the other

#: struct DisasInsn: opcode; name, in1, in2, prep, wout.
_INSTRUCTION = struct.Struct("<H6x5Q24x")
_IN1, _IN2, _PREP, _WOUT = range(4)
_PREP_AT = 32  # where prep is in it


class _LinkMap(ctypes.Structure):
    """What a handle is, with glibc and with musl (<link.h>: struct link_map; musl: struct dso)."""

    _fields_ = (
        ("base", ctypes.c_size_t),
        ("name", ctypes.c_char_p),
        ("dynamic", ctypes.c_size_t),
    )


_made: dict[tuple[object, object], bool] = {}
_kept: list[mmap.mmap] = []  # the code is in use


def repaired(library: Library, cpu: str) -> bool:
    """Make what is to be made for that CPU, once. Is there nothing left, as far as is known, that ends this process?"""
    work = _TRANSLATORS.get(cpu, cpu)
    if cpu not in _TRANSLATORS and cpu != "s390x":
        return True
    key = library.directory, work
    if key not in _made:
        loaded = _Loaded(library)
        _made[key] = loaded.found and (
            _complete_sqxbr(loaded) if isinstance(work, str) else _shorten_blocks(loaded, *work)
        )
    return _made[key]


def _shorten_blocks(loaded: _Loaded, function: str, limit: int) -> bool:
    code = CODE.get(os.uname().machine)
    try:
        target = loaded.library.address(function)
        slot = loaded.slot(target)
        if code is None or slot is None:
            return False
        rights = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
        memory = mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, rights)
    except (AttributeError, OSError):
        return False  # another Unicorn; a process that may not make code
    memory.write(code.code)
    struct.pack_into("<Qi", memory, _TARGET, target, limit)
    _kept.append(memory)
    return loaded.store(slot, ctypes.addressof(ctypes.c_char.from_buffer(memory)))


def _complete_sqxbr(loaded: _Loaded) -> bool:
    model = loaded.instruction(0xB343, b"LCXBR\0")
    wrong = loaded.instruction(0xB316, b"SQXBR\0")
    if model is None or wrong is None:
        return False
    (_, _, *one), (_, _, *other) = (
        _INSTRUCTION.unpack(ctypes.string_at(at, _INSTRUCTION.size)) for at in (model, wrong)
    )
    if [one[i] != other[i] for i in (_IN1, _IN2, _PREP, _WOUT)] != [False, False, True, False]:
        return False
    return loaded.store(wrong + _PREP_AT, one[_PREP])


class _Loaded:
    """The library in memory. *found*: it can be read there."""

    def __init__(self, library: Library) -> None:
        self.library = library
        place = _LinkMap.from_address(library.c._handle)
        self.base: int = place.base
        self.found = ctypes.string_at(self.base, 4) == b"\x7fELF"
        self.relro = self.span = range(0)
        if not self.found:
            return
        phoff, size, count = _HEADER.unpack(ctypes.string_at(self.base, _HEADER.size))
        for at in range(self.base + phoff, self.base + phoff + size * count, size):
            kind, start, length = _SEGMENT.unpack(ctypes.string_at(at, _SEGMENT.size))
            part = range(self.base + start, self.base + start + length)
            if kind == _PT_GNU_RELRO:
                self.relro = part
            elif kind == _PT_LOAD:
                self.span = range(self.base, max(self.span.stop, part.stop))
        self.dynamic: dict[int, int] = {}
        at = place.dynamic
        while tag := ctypes.c_int64.from_address(at).value:
            self.dynamic[tag] = ctypes.c_uint64.from_address(at + 8).value
            at += 16

    def _pointer(self, tag: int) -> int:
        """Where a table is; not every ld.so relocates what the dynamic section says."""
        value = self.dynamic.get(tag, 0)
        return value if value >= self.base else self.base + value

    def slot(self, target: int) -> int | None:
        """Where the library's PLT has the address of a function of its own; None: it does not ask there."""
        symbols, records = self._pointer(_DT_SYMTAB), self._pointer(_DT_JMPREL)
        kind = ctypes.c_uint32.from_address(
            records + _SECOND
        ).value  # R_*_JUMP_SLOT, as the first one is
        value = (target - self.base).to_bytes(8, "little")
        for at in _found(symbols, self._pointer(_DT_STRTAB), value):  # which stands behind it
            symbol, second = divmod(at - symbols, _ROW_SIZE)
            if second != _SECOND:
                continue
            info = (symbol << 32 | kind).to_bytes(8, "little")
            for row in _found(records, records + self.dynamic.get(_DT_PLTRELSZ, 0), info):
                if (row - records) % _ROW_SIZE == _SECOND:
                    offset: int = ctypes.c_uint64.from_address(row - _SECOND).value
                    return self.base + offset
        return None

    def instruction(self, opcode: int, name: bytes) -> int | None:
        """Where s390x's table of instructions has that one."""
        wanted = opcode.to_bytes(2, "little")
        for at in _found(self.relro.start, self.relro.stop - _INSTRUCTION.size, wanted):
            if at % 8 == 0:
                pointer = _INSTRUCTION.unpack(ctypes.string_at(at, _INSTRUCTION.size))[1]
                if pointer in self.span and ctypes.string_at(pointer, len(name)) == name:
                    return at
        return None

    def store(self, address: int, value: int) -> bool:
        """Change a word of its data, which is protected against that where RELRO says so."""
        page = address & -mmap.PAGESIZE
        mprotect = ctypes.CDLL(None).mprotect
        mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        closed = address in self.relro
        if closed and mprotect(page, mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_WRITE):
            return False
        ctypes.c_uint64.from_address(address).value = value
        if closed:
            mprotect(page, mmap.PAGESIZE, mmap.PROT_READ)
        return True


def _found(start: int, end: int, wanted: bytes) -> Iterator[int]:
    """Where these bytes are in memory."""
    memmem = ctypes.CDLL(None).memmem
    memmem.restype = ctypes.c_void_p
    memmem.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t)
    while start < end and (at := memmem(start, end - start, wanted, len(wanted))):
        yield at
        start = at + 1
