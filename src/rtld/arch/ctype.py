"""C types as a CPU's compiler lays them out: sizes, alignments, members.

The psABIs agree on nearly everything for these CPUs; what differs is in ``DataModel``: the width of ``long`` and pointers, the
alignment of 8-byte numbers in structures on i386, the sign of ``char``.
"""

from __future__ import annotations

from rtld.core.record import NamedTuple
from rtld.errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Member(NamedTuple):
    """A member of a structure, union or array, ``offset`` bytes into it; of a bit-field ``width`` bits from the bit ``first``
    of the structure on, which are counted from the top of its first byte where bytes are big-endian.
    """

    name: str
    offset: int
    type: CType
    width: int = 0
    first: int = 0


class CType(NamedTuple):
    """A type. ``kind``: void, int, float, pointer, vector, complex, struct, union or array; "bits": bytes with bit-fields in them.

    A ``float`` of more than 8 bytes is ``long double``, an ``int`` of 16 bytes ``__int128``.
    """

    kind: str
    size: int
    align: int
    signed: bool = False
    members: tuple[Member, ...] = ()
    name: str = ""

    @property
    def scalar(self) -> bool:
        """It is a number or an address that fits into a register of 64 bits."""
        return self.kind in ("int", "float", "pointer") and self.size <= 8

    @property
    def leaf(self) -> bool:
        """It has no members."""
        return self.kind in ("int", "float", "pointer", "vector", "bits")

    def scalars(self, offset: int = 0) -> Iterator[tuple[int, CType]]:
        """The numbers and addresses it consists of, with their offsets; those of a union's members all. A bit-field is the
        bytes that it is in.
        """
        if self.leaf:
            yield offset, self
        for member in self.members:
            if member.width:
                size = (member.first + member.width + 7) // 8 - member.offset
                yield offset + member.offset, CType("bits", size, 1)
            else:
                yield from member.type.scalars(offset + member.offset)

    @property
    def has_union(self) -> bool:
        """A union is in it somewhere."""
        return self.kind == "union" or any(member.type.has_union for member in self.members)


VOID = CType("void", 0, 1)


#: Field of a structure: name, type, and the width of a bit-field.
Field = tuple[str, CType] | tuple[str, CType, int]


class DataModel(NamedTuple):
    """What a C compiler for the CPU takes for granted.

    word        bytes of ``long`` and of a pointer
    wide_align  alignment of 8-byte numbers in structures
    char_signed plain ``char`` has a sign
    order       of bytes, "<" or ">"
    long_double its bytes, its alignment, and what it is: "double", "x87" (80 bits), "quad" (IEEE binary128)
    vectors     the highest alignment of SIMD vectors; 0: they are not passed
    """

    word: int
    wide_align: int
    char_signed: bool
    order: str
    long_double: tuple[int, int, str] = (16, 16, "quad")
    vectors: int = 16

    def integer(self, size: int, *, signed: bool) -> CType:
        """An integer of 1, 2, 4 or 8 bytes."""
        return CType("int", size, self.wide_align if size == 8 else size, signed)

    def real(self, size: int) -> CType:
        """``float`` (4), ``double`` (8) or ``long double`` (16, whatever it has here)."""
        if size == 16 and self.long_double[2] != "double":
            return CType("float", self.long_double[0], self.long_double[1], signed=True)
        size = min(size, 8)
        return CType("float", size, self.wide_align if size == 8 else 4, signed=True)

    @property
    def pointer(self) -> CType:
        """An address."""
        return CType("pointer", self.word, self.word)

    def wide(self, *, signed: bool) -> CType:
        """``__int128``, of CPUs with registers of 64 bits."""
        if self.word == 4:
            raise Unsupported("__int128 on a CPU of 32 bits", "C compilers do not have it there")
        return CType("int", 16, self.long_double[1], signed)  # the highest alignment of a number

    def complex(self, part: CType) -> CType:
        """``_Complex`` of a floating-point type."""
        members = Member("real", 0, part), Member("imag", part.size, part)
        return CType("complex", 2 * part.size, part.align, members=members)

    def vector(self, element: CType, count: int) -> CType:
        """A SIMD vector of 8 or 16 bytes (gcc: vector_size); its name is the element's kind."""
        size = element.size * count
        if size not in (8, 16) or not self.vectors:
            raise Unsupported(
                f"SIMD vectors of {size} bytes",
                "vectors of 8 and 16 bytes are passed, on i386 none",
            )
        return CType("vector", size, min(size, self.vectors), name=element.kind)

    def structure(self, members: Iterable[Field], *, pack: int = 0) -> CType:
        """A structure; *pack* is what #pragma pack says.

        A bit-field goes behind the one before unless it would be in more units of its type than that has (System V psABIs;
        gcc: stor-layout.c, excess_unit_span).
        """
        at, align = 0, 1  # at: bits
        placed = []
        for field, kind, *width in members:
            step = min(kind.align, pack) if pack else kind.align
            align = max(align, step)
            if width:
                unit, count = 8 * step, width[0]
                if (at % unit + count + unit - 1) // unit > 8 * kind.size // unit:
                    at += -at % unit
                placed.append(Member(field, at // 8, kind, count, at))
                at += count
            else:
                at += -at % (8 * step)
                placed.append(Member(field, at // 8, kind))
                at += 8 * kind.size
        size = (at + 7) // 8
        return CType("struct", size + -size % align, align, members=tuple(placed))

    def union(self, members: Iterable[Field]) -> CType:
        """A union."""
        placed = tuple(Member(field, 0, kind, *width) for field, kind, *width in members)
        align = max((m.type.align for m in placed), default=1)
        size = max(((m.width + 7) // 8 or m.type.size for m in placed), default=0)
        return CType("union", size + -size % align, align, members=placed)

    def array(self, element: CType, count: int) -> CType:
        """An array inside a structure."""
        placed = tuple(Member(str(i), i * element.size, element) for i in range(count))
        return CType("array", element.size * count, element.align, members=placed)
