"""Base relocations that change instructions: types 5, 7, 8 and 9, which mean something else on every CPU ("PE Format", Base Relocation Types).

An address is spread over the immediates of a few instructions. A type is a row: bytes that it changes, a function from the
instructions as words, and the distance, to the new ones. RISC-V's come in pairs, HIGH20 before LOW12I or LOW12S, with a row
for what the pair does. "RISC-V ABIs Specification", "LoongArch Reference Manual", "MIPS16e Application-Specific Extension" have
the places of the immediates.
"""

from __future__ import annotations

import struct
from collections import namedtuple

from rtld.errors import RelocationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtld.pe.columns import Array

#: ``width``: bytes; ``move``: (words, delta) -> words; ``pair``: None, "first" or "second" of two.
Kind = namedtuple("Kind", "name width move pair", defaults=(None,))
_WORD = (1 << 32) - 1


class NotThere(Exception):
    """Another instruction stands there: the sentence."""


# -- ARM ------------------------------------------------------------------------------------------


def _thumb_split(word: int) -> int:
    """imm4:i:imm3:imm8 of a Thumb-2 MOVW or MOVT; the first halfword is the low one."""
    high, low = word & 0xFFFF, word >> 16
    return (high & 15) << 12 | (high >> 10 & 1) << 11 | (low >> 12 & 7) << 8 | low & 0xFF


def _thumb_join(word: int, value: int) -> int:
    high = word & 0xFBF0 | value >> 12 | (value >> 11 & 1) << 10
    low = word >> 16 & 0x8F00 | (value >> 8 & 7) << 12 | value & 0xFF
    return high | low << 16


def _arm_split(word: int) -> int:
    """imm4:imm12 of an ARM MOVW or MOVT."""
    return word >> 4 & 0xF000 | word & 0xFFF


def _arm_join(word: int, value: int) -> int:
    return word & 0xFFF0F000 | (value & 0xF000) << 4 | value & 0xFFF


def _thumb_mov32(words: Sequence[int], delta: int) -> tuple[int, int]:
    first, second = words
    if first & 0xFBF0 != 0xF240:
        raise NotThere("no MOVW stands there")
    value = (_thumb_split(first) | _thumb_split(second) << 16) + delta & _WORD
    return _thumb_join(first, value & 0xFFFF), _thumb_join(second, value >> 16)


def _arm_mov32(words: Sequence[int], delta: int) -> tuple[int, int]:
    first, second = words
    if first & 0x0FF00000 != 0x03000000:
        raise NotThere("no MOVW stands there")
    value = (_arm_split(first) | _arm_split(second) << 16) + delta & _WORD
    return _arm_join(first, value & 0xFFFF), _arm_join(second, value >> 16)


# -- MIPS -----------------------------------------------------------------------------------------


def _jump(words: Sequence[int], delta: int) -> tuple[int]:
    """J, JAL: bits 27 to 2 of the address."""
    (word,) = words
    return (word & 0xFC000000 | (word + (delta >> 2)) & 0x03FFFFFF,)


def _jump16(words: Sequence[int], delta: int) -> tuple[int]:
    """JAL, JALX of MIPS16: the same bits as 20..16, 25..21 in the first halfword, 15..0 in the second."""
    (word,) = words
    target = (word >> 5 & 31) << 16 | (word & 31) << 21 | word >> 16
    target = target + (delta >> 2) & 0x03FFFFFF
    return (word & 0xFC00 | (target >> 16 & 31) << 5 | target >> 21 | (target & 0xFFFF) << 16,)


# -- RISC-V ---------------------------------------------------------------------------------------


def _signed12(value: int) -> int:
    return (value & 0xFFF ^ 0x800) - 0x800


def _high(high: int, value: int) -> int:
    """LUI: what the low half, which has a sign, does not say."""
    return high & 0xFFF | (value + 0x800) & 0xFFFFF000


def _high_low_i(words: Sequence[int], delta: int) -> tuple[int, int]:
    high, low = words
    value = (high & 0xFFFFF000) + _signed12(low >> 20) + delta & _WORD
    return _high(high, value), low & 0xFFFFF | (value & 0xFFF) << 20


def _high_low_s(words: Sequence[int], delta: int) -> tuple[int, int]:
    high, low = words
    value = (high & 0xFFFFF000) + _signed12(low >> 25 << 5 | low >> 7 & 31) + delta & _WORD
    return _high(high, value), low & 0x01FFF07F | (value >> 5 & 127) << 25 | (value & 31) << 7


# -- LoongArch ------------------------------------------------------------------------------------

#: LU12I.W, ORI, LU32I.D, LU52I.D: (lowest bit in the instruction, bits, lowest bit in the address).
_LA = ((5, 20, 12), (10, 12, 0), (5, 20, 32), (10, 12, 52))


def _load_address(words: Sequence[int], delta: int) -> tuple[int, ...]:
    value = delta + sum((w >> at & (1 << bits) - 1) << to for w, (at, bits, to) in zip(words, _LA, strict=False))  # fmt: skip
    return tuple(
        w & ~((1 << bits) - 1 << at) | (value >> to & (1 << bits) - 1) << at
        for w, (at, bits, to) in zip(words, _LA, strict=False)
    )


# fmt: off
_ARM   = {5: Kind("ARM_MOV32", 8, _arm_mov32), 7: Kind("THUMB_MOV32", 8, _thumb_mov32)}
_MIPS  = {5: Kind("MIPS_JMPADDR", 4, _jump), 9: Kind("MIPS_JMPADDR16", 4, _jump16)}
_RISCV = {5: Kind("RISCV_HIGH20", 4, None, "first"), 7: Kind("RISCV_LOW12I", 4, _high_low_i, "second"),
          8: Kind("RISCV_LOW12S", 4, _high_low_s, "second")}
#: IMAGE_FILE_MACHINE_* -> type -> Kind
KINDS = {
    0x01C0: _ARM, 0x01C2: _ARM, 0x01C4: _ARM,
    0x0162: _MIPS, 0x0166: _MIPS, 0x0168: _MIPS, 0x0169: _MIPS, 0x0266: _MIPS, 0x0366: _MIPS, 0x0466: _MIPS,
    0x5032: _RISCV, 0x5064: _RISCV, 0x5128: _RISCV,
    0x6232: {8: Kind("LOONGARCH32_MARK_LA", 8, _load_address)},
    0x6264: {8: Kind("LOONGARCH64_MARK_LA", 16, _load_address)},
}
# fmt: on


def move(name: str, kinds: dict[int, Kind], rows: Sequence[tuple[int, int]], image: Array, delta: int) -> None:  # fmt: skip
    """Apply rows (type, RVA), in their order, to an image. RelocationError."""
    first = -1  # the place of a HIGH20
    for number, rva in rows:
        kind = kinds[number]
        if kind.pair == "first":
            first = rva
            continue
        if kind.pair and first < 0:
            raise RelocationError(f"{name}: {rva:#x}", f"{kind.name} without a HIGH20 before it")
        places = [first, rva] if kind.pair else list(range(rva, rva + kind.width, 4))
        words = [struct.unpack("<I", bytes(image[at : at + 4]))[0] for at in places]
        try:
            changed = kind.move(words, delta)
        except NotThere as problem:
            raise RelocationError(f"{name}: {rva:#x}", str(problem)) from None
        for at, word in zip(places, changed, strict=True):
            image[at : at + 4] = memoryview(struct.pack("<I", word))
        first = -1
