"""The global symbol table (projects 5-1 to 5-3): who defines a name, who uses it, what its address is."""

from __future__ import annotations

from rtld.textbook.object import LIMIT, Symbol, TextObject
from rtld.textbook.relocs import REFERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtld.textbook.inputs import Input
    from rtld.textbook.link import LinkEdit


class Entry:
    """A name of the whole link."""

    __slots__ = (
        "address",
        "common",
        "definer",
        "library",
        "name",
        "number",
        "segment",
        "symbol",
        "users",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.definer: Input | None = None
        self.symbol: Symbol | None = None  # the definition
        self.users: list[tuple[Input, int]] = []  # (who refers to it, line)
        self.common = 0  # size, the largest that was asked for
        self.library: TextObject | None = None  # the shared library that defines it
        # give_addresses
        self.address = 0
        self.segment = 0  # number of the output segment; 0: absolute
        self.number = 0  # in the output's symbol table

    @property
    def is_common(self) -> bool:
        """Space has to be made for it."""
        return self.definer is None and self.common > 0

    @property
    def is_defined(self) -> bool:
        """This output defines it."""
        return self.definer is not None or self.common > 0

    @property
    def moves(self) -> bool:
        """Its address changes when the output is loaded elsewhere."""
        return self.is_defined and self.segment > 0


class SymbolTable(dict[str, Entry]):
    """Names to entries, in the order in which they were first met."""

    def __init__(self, edit: LinkEdit) -> None:
        super().__init__()
        self.edit = edit

    def enter(self, one: Input) -> None:
        """The symbols of an object (5-1). A second definition is a problem."""
        for symbol in one.object.symbols:
            entry = self.setdefault(symbol.name, Entry(symbol.name))
            if not symbol.defined:
                entry.users.append((one, symbol.line))
                entry.common = max(entry.common, symbol.value)
            elif entry.definer is None:
                entry.definer, entry.symbol, entry.library = one, symbol, None
            else:
                assert entry.symbol is not None
                first = f"{entry.definer.name}:{entry.symbol.line}"
                message = f"{one.name}:{symbol.line}: multiply defined symbol: {symbol.name}; first defined at {first}"
                self.edit.problem("multiply defined", one.name, symbol.name, message)

    def is_wanted(self, name: str) -> bool:
        """Referred to, and nobody has defined it."""
        entry = self.get(name)
        return entry is not None and not entry.is_defined and entry.library is None

    def bind_to_library(self, library: TextObject) -> None:
        """What a shared library defines and nobody before it did."""
        for symbol in library.exports:
            if self.is_wanted(symbol.name):
                self[symbol.name].library = library

    def of(self, one: Input, ref: int) -> Entry:
        """The entry of an object's symbol, by its number there."""
        return self[one.object.symbols[ref - 1].name]


def check_symbols(edit: LinkEdit) -> None:
    """Undefined symbols (5-2). In a shared library they are left to whoever loads it."""
    for name in [name for name, entry in edit.table.items() if is_dead(edit, entry)]:
        del edit.table[name]
    if edit.options.shared:
        return
    for entry in edit.table.values():
        if entry.is_defined or entry.library is not None:
            continue
        for user, line in entry.users:
            message = f"{user.name}:{line}: undefined symbol: {entry.name}"
            edit.problem("undefined", user.name, entry.name, message)


def is_dead(edit: LinkEdit, entry: Entry) -> bool:
    """Garbage collection took its definition, or every reference to it."""
    if not edit.removed:
        return False
    if entry.definer is not None:
        assert entry.symbol is not None
        return (entry.definer, entry.symbol.segment - 1) in edit.removed
    if entry.common:
        return False
    places = [
        (user, row.segment - 1)
        for user, _ in entry.users
        for row in user.object.relocations
        if REFERS[row.type] == "symbol" and user.object.symbols[row.ref - 1].name == entry.name
    ]
    return bool(places) and all(place in edit.removed for place in places)


def give_addresses(edit: LinkEdit) -> None:
    """Each symbol moves with its segment (5-3). Common blocks have got theirs with the storage."""
    for number, entry in enumerate(edit.table.values(), 1):
        entry.number = number
        if entry.definer is None or entry.symbol is None:
            continue
        index = entry.symbol.segment - 1
        entry.address = entry.symbol.value
        if index >= 0:
            entry.address = (entry.symbol.value + entry.definer.moved[index]) % LIMIT
            entry.segment = entry.definer.numbers[index]


def output_symbols(edit: LinkEdit) -> Iterator[Symbol]:
    """The symbol table of the output: exports and imports, by number."""
    for entry in edit.table.values():
        if entry.is_defined:
            yield Symbol(entry.name, entry.address, entry.segment, "D")
        else:
            yield Symbol(entry.name, 0, 0, "U")
