"""Wrapping (projects 8-1 and 8-2): ``-w name``.

References to ``name`` become references to ``wrap_name``, in the module that defines it too; its definition becomes
``real_name``. In the link editor (8-1) that happens to every object as it is read; on its own (8-2) it makes a file.
"""

from __future__ import annotations

from dataclasses import replace

from rtld.textbook.object import Symbol, TextObject
from rtld.textbook.relocs import REFERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection


def wrap_object(thing: TextObject, names: Collection[str]) -> TextObject:
    """The object with references and definitions of *names* renamed."""
    if not any(symbol.name in names for symbol in thing.symbols):
        return thing
    symbols: list[Symbol] = []
    definitions: dict[
        int, Symbol
    ] = {}  # number of a definition that was renamed -> the reference it left
    for number, symbol in enumerate(thing.symbols, 1):
        if symbol.name not in names:
            symbols.append(symbol)
        elif symbol.defined:
            symbols.append(replace(symbol, name=f"real_{symbol.name}"))
            definitions[number] = Symbol(f"wrap_{symbol.name}", 0, 0, "U", symbol.line)
        else:
            symbols.append(replace(symbol, name=f"wrap_{symbol.name}"))
    numbers = {symbol.name: number for number, symbol in enumerate(symbols, 1)}
    moved = {}
    for number, reference in definitions.items():
        if (
            reference.name not in numbers
        ):  # else the module has the wrapper, or refers to it, already
            symbols.append(reference)
            numbers[reference.name] = len(symbols)
        moved[number] = numbers[reference.name]
    relocations = tuple(
        replace(row, ref=moved.get(row.ref, row.ref)) if REFERS[row.type] == "symbol" else row
        for row in thing.relocations
    )
    return replace(thing, symbols=tuple(symbols), relocations=relocations)


def wrapped_name(name: str, names: Collection[str]) -> str:
    """What the definition of *name* is called in the end."""
    return f"real_{name}" if name in names else name
