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
    """A member of a structure, union or array, ``offset`` bytes into it."""

    name: str
    offset: int
    type: CType


class CType(NamedTuple):
    """A type. ``kind``: void, int, float, pointer, struct, union or array."""

    kind: str
    size: int
    align: int
    signed: bool = False
    members: tuple[Member, ...] = ()
    name: str = ""

    @property
    def scalar(self) -> bool:
        """It is a number or an address."""
        return self.kind in ("int", "float", "pointer")

    def scalars(self, offset: int = 0) -> Iterator[tuple[int, CType]]:
        """The numbers and addresses it consists of, with their offsets; those of a union's members all."""
        if self.scalar:
            yield offset, self
        for member in self.members:
            yield from member.type.scalars(offset + member.offset)

    @property
    def has_union(self) -> bool:
        """A union is in it somewhere."""
        return self.kind == "union" or any(member.type.has_union for member in self.members)


VOID = CType("void", 0, 1)


class DataModel(NamedTuple):
    """What a C compiler for the CPU takes for granted.

    word        bytes of ``long`` and of a pointer
    wide_align  alignment of 8-byte numbers in structures
    char_signed plain ``char`` has a sign
    order       of bytes, "<" or ">"
    """

    word: int
    wide_align: int
    char_signed: bool
    order: str

    def integer(self, size: int, *, signed: bool) -> CType:
        """An integer of 1, 2, 4 or 8 bytes."""
        return CType("int", size, self.wide_align if size == 8 else size, signed)

    def real(self, size: int) -> CType:
        """``float`` or ``double``."""
        if size not in (4, 8):
            raise Unsupported(
                f"a floating-point number of {size} bytes",
                "long double is not passed to functions of other CPUs",
            )
        return CType("float", size, self.wide_align if size == 8 else 4, signed=True)

    @property
    def pointer(self) -> CType:
        """An address."""
        return CType("pointer", self.word, self.word)

    def structure(self, members: Iterable[tuple[str, CType]], *, pack: int = 0) -> CType:
        """A structure; *pack* is what #pragma pack says."""
        at, align = 0, 1
        placed = []
        for field, kind in members:
            step = min(kind.align, pack) if pack else kind.align
            at += -at % step
            placed.append(Member(field, at, kind))
            at += kind.size
            align = max(align, step)
        return CType("struct", at + -at % align, align, members=tuple(placed))

    def union(self, members: Iterable[tuple[str, CType]]) -> CType:
        """A union."""
        placed = tuple(Member(field, 0, kind) for field, kind in members)
        align = max((m.type.align for m in placed), default=1)
        size = max((m.type.size for m in placed), default=0)
        return CType("union", size + -size % align, align, members=placed)

    def array(self, element: CType, count: int) -> CType:
        """An array inside a structure."""
        placed = tuple(Member(str(i), i * element.size, element) for i in range(count))
        return CType("array", element.size * count, element.align, members=placed)
