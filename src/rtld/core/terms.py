"""The variables of psABI relocation formulas, as algebra: ``S + A - P`` is a value, not a string.

The same value is evaluated by numpy over all relocations of one type, evaluated with Python's
integers for one of them, printed in the documentation and quoted in an error.

    S   value (address) of the symbol. Of symbol 0 it is B: ld.so resolves the null symbol to the
        module itself, which is why ``S + A`` with symbol 0 relocates like ``B + A``
    A   addend, from the record (RELA) or from the place (REL)
    P   address of the place
    B   base, the load bias of the module that has the relocation
    Z   size of the symbol
    M   TLS: id of the module that defines the symbol
    T   TLS: offset of the symbol in its module's block (st_value)
    TP  TLS: offset of that block in the static TLS area, as glibc counts it: from the thread
        pointer, negative, where blocks stand below it (variant 2: minus l_tls_offset); where they
        stand above (variant 1: l_tls_offset) from the place that is ``tp_bias`` below the thread
        pointer (0x7000 on MIPS and PowerPC, else 0)
    L   distance from a function's global to its local entry point (PowerPC64 ELFv2, st_other)
    G   value of the symbol's entry in the global offset table (MIPS)
    D   delta: where a PE image is minus where it was linked to be

numpy is imported when a formula is evaluated over arrays, not before: the files of ``arch`` are also
read by commands that never relocate.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    import numpy as np
    from numpy.typing import NDArray

    class Values(Protocol):
        """Anything that gives a term's value for its name."""

        def __getitem__(self, name: str, /) -> Any: ...


__all__ = ["TP", "WORD", "ZERO", "A", "B", "D", "Expr", "G", "L", "M", "P", "S", "T", "Z"]

WORD = (1 << 64) - 1
"""All arithmetic is modulo 2**64; a narrower field takes the low bytes."""


class Expr:
    """A sum of named terms, each with a sign, and a constant.  ``str(S + A - P) == 'S + A - P'``."""

    __slots__ = ("constant", "terms")

    terms: tuple[tuple[str, int], ...]
    constant: int

    def __init__(self, terms: tuple[tuple[str, int], ...] = (), constant: int = 0) -> None:
        object.__setattr__(self, "terms", terms)
        object.__setattr__(self, "constant", constant)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a formula cannot be changed ({name})")

    def __add__(self, other: Expr | int) -> Expr:
        if isinstance(other, int):
            return Expr(self.terms, self.constant + other)
        return Expr(self.terms + other.terms, self.constant + other.constant)

    def __neg__(self) -> Expr:
        return Expr(tuple((name, -sign) for name, sign in self.terms), -self.constant)

    def __sub__(self, other: Expr | int) -> Expr:
        return self + (-other)

    def __radd__(self, other: int) -> Expr:
        return self + other

    def __rsub__(self, other: int) -> Expr:
        return -self + other

    def __contains__(self, term: Expr) -> bool:
        """``S in row.value``: does the formula need the symbol?"""
        names = {name for name, _ in self.terms}
        return all(name in names for name, _ in term.terms)

    def __eq__(self, other: object) -> bool:
        """Equal as sums: ``A + S == S + A``."""
        if not isinstance(other, Expr):
            return NotImplemented
        return self.constant == other.constant and sorted(self.terms) == sorted(other.terms)

    def __hash__(self) -> int:
        return hash((tuple(sorted(self.terms)), self.constant))

    def __str__(self) -> str:
        text = " ".join(f"{'-' if sign < 0 else '+'} {name}" for name, sign in self.terms)
        if self.constant or not self.terms:
            size = abs(self.constant)
            number = str(size) if size < 10 else hex(size)
            text += f" {'-' if self.constant < 0 else '+'} {number}"
        text = text.strip().removeprefix("+ ")
        return "-" + text[2:] if text.startswith("- ") else text

    def __repr__(self) -> str:
        return f"<Expr {self}>"

    @property
    def names(self) -> tuple[str, ...]:
        """The terms' letters, each once, in the order written."""
        return tuple(dict.fromkeys(name for name, _ in self.terms))

    def evaluate(self, values: Values) -> int:
        """The formula over Python's integers, modulo 2**64."""
        total: int = sum(sign * values[name] for name, sign in self.terms) + self.constant
        return total & WORD

    def __call__(self, env: Values) -> NDArray[np.uint64]:
        """The formula over arrays (or integers), wrapping in uint64."""
        import numpy as np

        total: Any = np.uint64(self.constant & WORD)
        with np.errstate(over="ignore"):  # numpy warns of scalars that wrap; wrapping is meant
            for name, sign in self.terms:
                value = words(env[name])
                total = total + value if sign > 0 else total - value
        result: NDArray[np.uint64] = np.asarray(total, np.uint64)
        return result


def words(value: Any) -> Any:
    """*value*, an array or an integer, as uint64 with negative numbers in two's complement."""
    import numpy as np

    if isinstance(value, int):
        return np.uint64(value & WORD)
    array = np.asarray(value)
    if array.dtype == np.uint64:
        return array
    if array.dtype.kind == "u":
        return array.astype(np.uint64)
    return array.astype(np.int64, copy=False).view(np.uint64)


def _term(name: str) -> Expr:
    return Expr(((name, 1),))


S, A, P, B, Z = _term("S"), _term("A"), _term("P"), _term("B"), _term("Z")
M, T, TP = _term("M"), _term("T"), _term("TP")
L, G, D = _term("L"), _term("G"), _term("D")
ZERO = Expr()
