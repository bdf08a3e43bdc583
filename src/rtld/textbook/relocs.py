"""The relocation types of the format, as rows of the engine that also relocates ELF (core/reloc.py).

    S    of a symbol its address; of a segment how far it moved (the addend is an address in it)
    A    what stands at the place
    P    address of the place
    GOT  address of the global offset table;  G  offset in it of the symbol's word
    D    how far the module was moved from the addresses it was linked for

The four bytes of a relative reference are counted from behind them, as on the x86: hence ``- 4``. The halves U2
and L2 are relocated each for itself: no carry goes from the addend of one into the other.
"""

from __future__ import annotations

from rtld.core.reloc import Field, Reloc, table
from rtld.core.terms import A, D, Expr, P, S

GOT, G = Expr((("GOT", 1),)), Expr((("G", 1),))

# fmt: off
ROWS = table(
    #     number name   value            width
    Reloc(1,     "A4",  S + A,           4, note="absolute address in a segment"),
    Reloc(2,     "R4",  S + A - P - 4,   4, note="distance to an address in a segment"),
    Reloc(3,     "AS4", S + A,           4, note="absolute address of a symbol"),
    Reloc(4,     "RS4", S + A - P - 4,   4, note="distance to a symbol"),
    Reloc(5,     "U2",  S + A,           2, field=Field("upper", 0xFFFF, shift=16), note="upper half of a symbol's address"),
    Reloc(6,     "L2",  S + A,           2, field=Field("lower", 0xFFFF),           note="lower half of a symbol's address"),
    Reloc(7,     "GA4", GOT + A - P,     4, note="distance to the global offset table"),
    Reloc(8,     "GP4", G + A,           4, note="offset in that table of a symbol's address"),
    Reloc(9,     "GR4", S + A - GOT,     4, note="distance from that table of an address in a segment"),
    Reloc(10,    "ER4", D + A,           4, note="absolute address in this executable or library"),
)

#: Type -> what its ref counts.
REFERS = {
    "A4": "segment", "R4": "segment", "GR4": "segment",
    "AS4": "symbol", "RS4": "symbol", "U2": "symbol", "L2": "symbol", "GP4": "symbol",
    "GA4": "nothing", "ER4": "nothing",
}
# fmt: on

BY_NAME = {row.name: row for row in ROWS.values()}

NEED_GOT = frozenset({"GA4", "GP4", "GR4"})
LINKED = frozenset({"ER4", "AS4", "RS4"})
"""What a binder finds in executables and shared libraries."""
