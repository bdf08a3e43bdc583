"""Wrapping (projects 8-1 and 8-2): ``-w name``.

References to ``name`` become references to ``wrap_name``, in the module that defines it too; its definition becomes
``real_name``. In the link editor (8-1) that happens to every object as it is read; on its own (8-2) it makes a file.
"""

from __future__ import annotations

from dataclasses import replace

from rtld.core.module import Problem
from rtld.textbook.complaints import LinkFailure
from rtld.textbook.object import Symbol, TextObject
from rtld.textbook.relocs import REFERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection


def wrap_object(thing: TextObject, names: Collection[str]) -> TextObject:
    """The object with references and definitions of *names* renamed. LinkFailure if it defines ``real_name`` too."""
    if not any(symbol.name in names for symbol in thing.symbols):
        return thing
    table: dict[str, Symbol] = {}  # what the new names are, each once
    referred = []  # the new name that each symbol's relocations refer to
    for symbol in thing.symbols:
        new = symbol.name
        if symbol.name in names:
            new = f"real_{symbol.name}" if symbol.defined else f"wrap_{symbol.name}"
        table[new] = _merged(thing, table.get(new), replace(symbol, name=new))
        referred.append(f"wrap_{symbol.name}" if symbol.name in names else new)
    for symbol, new in zip(thing.symbols, referred, strict=True):
        table.setdefault(new, Symbol(new, 0, 0, "U", symbol.line))
    numbers = {name: number for number, name in enumerate(table, 1)}
    relocations = tuple(
        replace(row, ref=numbers[referred[row.ref - 1]]) if REFERS[row.type] == "symbol" else row
        for row in thing.relocations
    )
    return replace(thing, symbols=tuple(table.values()), relocations=relocations)


def _merged(thing: TextObject, old: Symbol | None, new: Symbol) -> Symbol:
    """One entry for a name that the module had already: its definition, or the larger of two common blocks."""
    if old is None:
        return new
    if old.defined and new.defined:
        message = f"{thing.path}:{new.line}: multiply defined symbol: {new.name}; first defined in line {old.line}"
        raise LinkFailure([Problem("multiply defined", thing.path, new.name, message)])
    if old.defined or new.defined:
        return old if old.defined else new
    return replace(old, value=max(old.value, new.value))


def wrapped_name(name: str, names: Collection[str]) -> str:
    """What the definition of *name* is called in the end."""
    return f"real_{name}" if name in names else name
