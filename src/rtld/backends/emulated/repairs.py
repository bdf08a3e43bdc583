"""What is repaired in Unicorn's library itself, in this process's memory, before a CPU is made: faults of its translators that a
guest could end this process with (``quirks``).

- **Temporaries.** A translator that does not give back what it took for an instruction (MIPS: mips_tr_translate_insn, for each
  one; x86: those of the x87 unit) takes more and more of them until the end of the block, and there is room for 512, which
  nobody looks at (tcg/tcg.c: tcg_temp_alloc). So the longest block that is asked for, the third argument of
  gen_intermediate_code, becomes a shorter one. The library calls that function through its PLT, and a linker's own means do: the slot
  leads to a few instructions of ours, and they to the function.
- **s390x.** SQXBR's row in the table of instructions prepares one register for its result, which has two
  (s390x/insn-data.def: "new", where the other rows of 128 bits have "new_P"). It gets the pointer that LCXBR's row has.

What does not look as it should is left as it is, and ``Repairs.make`` says so. What is left of such faults is in ``aborts``.
"""

from __future__ import annotations

import ctypes
import os
import struct

from rtld.arch.base import Stub
from rtld.backends.emulated.aborts import Aborts, Page
from rtld.backends.emulated.loaded import Loaded, found_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.backends.emulated.libunicorn import Library, Uc

# fmt: off
#: This machine's CPU -> what stands before gen_intermediate_code(cpu, block, how many instructions). Behind it: the address of
#: that function; the longest block; where to note the CPU.
CODE = {
    "x86_64": Stub("""
        48 8b 05 49 00 00 00  mov   0x49(%rip), %rax
        48 89 38              mov   %rdi, (%rax)
        3b 15 38 00 00 00     cmp   0x38(%rip), %edx
        0f 4f 15 31 00 00 00  cmovg 0x31(%rip), %edx
        ff 25 23 00 00 00     jmp   *0x23(%rip)
    """),
    "aarch64": Stub("""
        90 02 00 58  ldr  x16, .+80
        00 02 00 f9  str  x0, [x16]
        10 02 00 18  ldr  w16, .+64
        5f 00 10 6b  cmp  w2, w16
        02 c2 82 1a  csel w2, w16, w2, gt
        70 01 00 58  ldr  x16, .+44
        00 02 1f d6  br   x16
    """),
}
_WORDS = 64
#: CPU -> how the names of its functions end, and the longest block: as many instructions as have temporaries if each keeps one
#: more than any has been seen to keep; 512 is all that the library wants.
_BLOCKS = {
    "x86_64":   ("_x86_64", 128),    # up to three: those of the x87 unit
    "i386":     ("_x86_64", 128),
    "mips64el": ("_mips64el", 64),   # each one, and there are more registers
    "mipsel":   ("_mipsel", 64),
    "arm":      ("_arm", 512),
    "aarch64":  ("_aarch64", 512),
    "riscv64":  ("_riscv64", 512),
    "s390x":    ("", 512),
}
# fmt: on

#: struct DisasInsn of s390x: opcode; name, in1, in2, prep, wout.
_ROW = struct.Struct("<H6x5Q24x")
_NAME, _IN1, _IN2, _PREP, _WOUT = range(1, 6)
_PREP_AT = 8 * _PREP

_repairs: dict[str, Repairs] = {}


def repair(library: Library, cpu: str) -> Repairs:
    """Make what is to be made for that CPU, once."""
    if library.directory not in _repairs:
        _repairs[library.directory] = Repairs(library)
    made = _repairs[library.directory]
    made.make(cpu)
    return made


class Repairs:
    """What has been done to one loaded library."""

    def __init__(self, library: Library) -> None:
        self._loaded = Loaded(library)
        self._made: dict[str, bool] = {}
        self._pages: list[Page] = []
        self._aborts: Aborts | None = None
        if self._loaded.found and os.uname().machine in CODE:
            try:
                self._aborts = Aborts(self._loaded)
            except OSError:
                pass  # a process that may not make code

    def make(self, cpu: str) -> bool:
        """Is there nothing left, as far as is known, that a guest could end this process with?"""
        suffix, longest = _BLOCKS[cpu]
        if suffix not in self._made:
            self._made[suffix] = self._shorten_blocks(suffix, longest) and (
                cpu != "s390x" or self._complete_sqxbr()
            )
        return self._made[suffix]

    def watch(self, uc: Uc, cpu: str) -> None:
        """An engine has been made."""
        if self._aborts is not None:
            self._aborts.watch(uc, _BLOCKS[cpu][0] or "_s390x")

    def _shorten_blocks(self, suffix: str, longest: int) -> bool:
        if self._aborts is None:
            return False
        name = f"gen_intermediate_code{suffix}"
        try:
            target = self._loaded.library.address(name)
        except AttributeError:
            return False  # another Unicorn
        page = Page(CODE[os.uname().machine], _WORDS, target, longest, self._aborts.cell)
        self._pages.append(page)
        return self._loaded.redirect(name, page.start)

    def _complete_sqxbr(self) -> bool:
        model, wrong = self._row(0xB343, b"LCXBR\0"), self._row(0xB316, b"SQXBR\0")
        if model is None or wrong is None:
            return False
        one, other = (_ROW.unpack(ctypes.string_at(at, _ROW.size)) for at in (model, wrong))
        if any(one[i] != other[i] for i in (_IN1, _IN2, _WOUT)):
            return False
        return self._loaded.store(wrong + _PREP_AT, one[_PREP])

    def _row(self, opcode: int, name: bytes) -> int | None:
        """Where s390x's table of instructions has that one."""
        part = self._loaded.relro
        for at in found_in(part.start, part.stop - _ROW.size, opcode.to_bytes(2, "little")):
            if at % 8 == 0:
                pointer = _ROW.unpack(ctypes.string_at(at, _ROW.size))[_NAME]
                if pointer in self._loaded.span and ctypes.string_at(pointer, len(name)) == name:
                    return at
        return None
