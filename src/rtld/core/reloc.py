"""Relocation rows, and the engine that applies them: one vectorised step per type present.

A row is data: number, name, formula, width, range check, and what is to be done. The engine is flat:
one call can relocate many modules at once, because sites are offsets into one array of bytes (which
may be a view of a whole reserved range) and every term may differ from relocation to relocation.

Rows whose action is not STORE belong to somebody else (copies, resolvers to call, descriptors, lazy
slots); their indices are returned. numpy is imported when the engine runs.
"""

from __future__ import annotations

from rtld.core.terms import WORD, A, Expr
from rtld.errors import Overflow, RelocationError, Unknown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import Any, Literal

    import numpy as np
    from numpy.typing import NDArray

    Check = Literal["wrap", "signed", "unsigned", "either"]
    LookupClass = Literal["data", "plt", "copy"]
    Memory = NDArray[np.uint8]
    Indices = NDArray[np.int64]

__all__ = ["Action", "Applied", "Field", "Reloc", "apply", "fits", "read_addends", "table"]


class Action:
    """What is done with the value of a row's formula."""

    STORE = "store"  # written to the place
    COPY = "copy"  # min(size) bytes of the definition are copied to the place
    IFUNC = "ifunc"  # the value is called; what it returns is written
    TLSDESC = "tlsdesc"  # a pair (resolver, argument) is written
    JUMP_SLOT = "jump_slot"  # written now, or left to the first call
    NONE = "none"  # nothing


class Field:
    """Bits of an instruction (or half-word) that hold part of a value, with the way in and out.

    The value, plus *round*, is shifted right by *shift* and put into the bits of *mask*, the lowest
    of which is *place*; the other bits stay. It must fit *bits* bits before the shift and be a
    multiple of *align*. *hint* may change the resulting word further (branch prediction bits).
    """

    __slots__ = ("align", "bits", "hint", "mask", "name", "place", "round", "shift")

    def __init__(
        self,
        name: str,
        mask: int,
        *,
        shift: int = 0,
        place: int = 0,
        round: int = 0,
        bits: int = 64,
        align: int = 1,
        hint: Callable[[Any], Any] | None = None,
    ) -> None:
        self.name = name
        self.mask = mask
        self.shift = shift
        self.place = place
        self.round = round
        self.bits = bits
        self.align = align
        self.hint = hint

    def encode(self, word: Any, value: Any) -> Any:
        """*word* with *value* in this field; both integers or both uint64 arrays."""
        part = ((value + self.round) & WORD) >> self.shift << self.place & self.mask
        word = word & (WORD ^ self.mask) | part
        return self.hint(word) if self.hint else word

    def decode(self, word: int) -> int:
        """The value a field holds, sign-extended: the addend of a REL record."""
        part = (word & self.mask) >> self.place << self.shift
        top = self.mask.bit_length() - self.place + self.shift
        return part - (1 << top) if part >> (top - 1) else part

    def __str__(self) -> str:
        return self.name


class Reloc:
    """One row of a CPU's relocation table.

    *lookup* is glibc's elf_machine_type_class (sysdeps/<cpu>/dl-machine.h): "plt" look-ups refuse a
    definition that is itself undefined (a canonical PLT address), "copy" look-ups skip the module
    that has the relocation. *width* is in bytes; of a COPY it is 0, the symbol's size decides.
    *addend_at* is where in the place a REL record finds its addend. *note* is for the documentation.
    """

    __slots__ = (
        "action", "addend_at", "check", "field", "lookup", "name", "note", "number", "value", "width",
    )  # fmt: skip

    def __init__(
        self,
        number: int,
        name: str,
        value: Expr,
        width: int = 8,
        check: Check = "wrap",
        action: str = Action.STORE,
        lookup: LookupClass = "data",
        *,
        field: Field | None = None,
        addend_at: int = 0,
        note: str = "",
    ) -> None:
        self.number = number
        self.name = name
        self.value = value
        self.width = width
        self.check = check
        self.action = action
        self.lookup = lookup
        self.field = field
        self.addend_at = addend_at
        self.note = note

    @property
    def bits(self) -> int:
        """How many bits the value may have."""
        return self.field.bits if self.field else 8 * self.width

    def __repr__(self) -> str:
        return f"<Reloc {self.number} {self.name} {self.value}>"


def table(*rows: Reloc) -> dict[int, Reloc]:
    """The rows by number. A number given twice is a mistake in the table."""
    by_number = {row.number: row for row in rows}
    if len(by_number) != len(rows):
        raise ValueError("a relocation number is given twice")
    return by_number


class Applied:
    """What `apply` did: *counts* of rows written, by name; indices *left* to do, by action."""

    __slots__ = ("counts", "left")

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.left: dict[str, Indices] = {}


def apply(
    rows: Mapping[int, Reloc],
    types: NDArray[Any],
    sites: Indices,
    env: Mapping[str, Any],
    memory: Memory,
    order: str = "<",
    *,
    store: Collection[str] = (Action.STORE,),
    describe: Callable[[int], str] | None = None,
) -> Applied:
    """Apply the relocations *types* at the byte offsets *sites* of *memory*.

    *env* gives each term that is needed: an integer, an array with one value per relocation, or a
    function from an array of indices to their values (then nothing is computed for relocations that
    do not need the term). *store* names the actions to be written now; bind-now adds JUMP_SLOT.
    *describe* turns the index of a relocation into the "file: offset" an error begins with.

    Raises Unknown, Overflow, or RelocationError (a place outside *memory*) before anything of the
    type in question has been written.
    """
    import numpy as np

    done = Applied()
    left: dict[str, list[Indices]] = {}
    for number in present(types):
        chosen: Any = np.flatnonzero(types == number)
        row = rows.get(number)
        if row is None:
            at = _where(describe, int(chosen[0]), sites)
            raise Unknown(at, f"unknown relocation type {number:#x}")
        if row.action not in store:
            if row.action != Action.NONE:
                left.setdefault(row.action, []).append(chosen)
            continue
        if len(chosen) == len(types):
            everything: Any = slice(None)  # the common table of one type: no copies of the columns
        else:
            everything = chosen
        places = sites[everything]
        values = np.broadcast_to(row.value(_Columns(env, chosen, everything)), places.shape)
        check_places(row, places, chosen, memory, describe)
        check_values(row, values, places, chosen, describe)
        write(row, places, values, memory, order)
        done.counts[row.name] = len(chosen)
    done.left = {
        action: parts[0] if len(parts) == 1 else np.sort(np.concatenate(parts))
        for action, parts in left.items()
    }
    return done


def present(types: NDArray[Any]) -> list[int]:
    """The numbers that occur, ascending: few, so that counting beats sorting."""
    import numpy as np

    if not len(types):
        return []
    if types.dtype.kind == "u" or int(types.min()) >= 0:
        top = int(types.max())
        if top < 1 << 16:
            return [int(number) for number in np.flatnonzero(np.bincount(types, minlength=1))]
    return [int(number) for number in np.unique(types)]


class _Columns:
    """*env*, narrowed to the relocations of one type; looked up by the formula, term by term."""

    __slots__ = ("chosen", "env", "everything")

    def __init__(self, env: Mapping[str, Any], chosen: Indices, everything: Any) -> None:
        self.env = env
        self.chosen = chosen
        self.everything = everything

    def __getitem__(self, name: str) -> Any:
        value = self.env[name]
        if callable(value):
            return value(self.chosen)
        return value[self.everything] if getattr(value, "ndim", 0) else value


def _where(describe: Callable[[int], str] | None, index: int, sites: Indices) -> str:
    return describe(index) if describe else f"{int(sites[index]):#x}"


def check_places(
    row: Reloc,
    places: Indices,
    chosen: Indices,
    memory: Memory,
    describe: Callable[[int], str] | None,
) -> None:
    """Every place must lie inside *memory*: numpy would take a negative index for one from the end."""
    last = len(memory) - row.width
    if int(places.min()) < 0 or int(places.max()) > last:
        import numpy as np

        first = int(np.argmax((places < 0) | (places > last)))
        at = describe(int(chosen[first])) if describe else f"{int(places[first]):#x}"
        raise RelocationError(at, f"{row.name}: the place is outside the loaded segments")


def fits(values: NDArray[np.uint64], bits: int, check: Check) -> NDArray[np.bool_]:
    """Which *values* (64 bits, wrapping) a field of so many *bits* can hold."""
    import numpy as np

    if check == "wrap" or bits >= 64:
        return np.ones(values.shape, np.bool_)
    unsigned: NDArray[np.bool_] = values >> np.uint64(bits) == 0
    if check == "unsigned":
        return unsigned
    sign = values.view(np.int64) >> np.int64(bits - 1)
    signed: NDArray[np.bool_] = (sign == 0) | (sign == -1)
    return signed if check == "signed" else signed | unsigned


def check_values(
    row: Reloc,
    values: NDArray[np.uint64],
    places: Indices,
    chosen: Indices,
    describe: Callable[[int], str] | None,
) -> None:
    """Overflow for the first value that the row's field cannot hold."""
    import numpy as np

    field = row.field
    if field is None and (row.check == "wrap" or row.width == 8):
        return
    good = fits(values if field is None else values + np.uint64(field.round), row.bits, row.check)
    aligned = field is None or field.align == 1
    if not aligned:
        assert field is not None
        good = good & (values & np.uint64(field.align - 1) == 0)
    if good.all():
        return
    first = int(np.argmin(good))
    value = int(values[first])
    multiple = "" if aligned or field is None else f" as a multiple of {field.align}"
    at = describe(int(chosen[first])) if describe else f"{int(places[first]):#x}"
    raise Overflow(
        at,
        f"{row.name}: {row.value} = {value:#x} does not fit {row.bits} bits ({row.check}){multiple}",
    )


def write(
    row: Reloc, places: Indices, values: NDArray[np.uint64], memory: Memory, order: str = "<"
) -> None:
    """Store *values* in the row's field at *places*, aligned or not, in either byte order."""
    import numpy as np

    if row.field is not None:
        words = load(places, row.width, memory, order).astype(np.uint64)
        values = row.field.encode(words, values)
    raw = values.astype(f"{order}u{row.width}")
    odd = (places & (row.width - 1)) != 0 if row.width > 1 else None
    base = memory.__array_interface__["data"][0]
    if base % row.width == 0 and (odd is None or not odd.any()):
        _words(memory, row.width, order)[places >> _SHIFT[row.width]] = raw
        return
    # A byte view: one column of bytes per byte of the field.
    spread = places[:, None] + np.arange(row.width)
    memory[spread] = np.ascontiguousarray(raw).view(np.uint8).reshape(-1, row.width)


def load(places: Indices, width: int, memory: Memory, order: str = "<") -> NDArray[Any]:
    """The unsigned words of *width* bytes at *places*."""
    import numpy as np

    base = memory.__array_interface__["data"][0]
    if base % width == 0 and not (places & (width - 1)).any():
        aligned: NDArray[Any] = _words(memory, width, order)[places >> _SHIFT[width]]
        return aligned
    raw = memory[places[:, None] + np.arange(width)]
    words: NDArray[Any] = np.ascontiguousarray(raw).view(f"{order}u{width}").reshape(-1)
    return words


_SHIFT = {1: 0, 2: 1, 4: 2, 8: 3}


def _words(memory: Memory, width: int, order: str) -> NDArray[Any]:
    return memory[: len(memory) // width * width].view(f"{order}u{width}")


def read_addends(
    rows: Mapping[int, Reloc],
    types: NDArray[Any],
    sites: Indices,
    memory: Memory,
    order: str = "<",
    *,
    describe: Callable[[int], str] | None = None,
) -> NDArray[np.int64]:
    """The addends of REL records: what stands at the places before they are relocated, signed.

    Types whose formula has no A have addend 0, whatever is there (a lazy slot holds a PLT address).
    """
    import numpy as np

    addends = np.zeros(len(types), np.int64)
    for number in present(types):
        row = rows.get(number)
        chosen = np.flatnonzero(types == number)
        if row is None:
            at = _where(describe, int(chosen[0]), sites)
            raise Unknown(at, f"unknown relocation type {number:#x}")
        if A not in row.value:
            continue
        places = sites[chosen]
        check_places(row, places, chosen, memory, describe)
        # A descriptor is a pair of words, one of which holds the addend.
        width = row.width // 2 if row.action == Action.TLSDESC else row.width
        words = load(places + row.addend_at, width, memory, order)
        if row.field is not None:
            addends[chosen] = [row.field.decode(int(word)) for word in words]
        else:
            addends[chosen] = words.astype(f"=u{width}").view(f"=i{width}")
    return addends
