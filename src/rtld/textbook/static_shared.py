"""Static shared libraries (project 9-1): a library at an address that is agreed on, and the stub library to link with.

The shared library is in executable format: absolute symbols, no relocations. The stub library has the modules of the
original with their symbols only, the exports absolute, so that linking with it takes the addresses and no contents
(9-2, which is ``layout.list_shared_libraries``).
"""

from __future__ import annotations

from dataclasses import replace

from rtld.textbook.library import Library, create_library, read_library
from rtld.textbook.link import LinkEdit, LinkOptions, link
from rtld.textbook.object import Symbol, TextObject, order_word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def make_static_shared(
    library: str, stubs: Sequence[str], options: LinkOptions
) -> tuple[LinkEdit, list[tuple[str, TextObject]]]:
    """Link all modules of the library at *library*, against the stub libraries of others it needs.

    The output of the result is the shared library; the objects are the modules of its stub library.
    """
    edit = link([library, *stubs], replace(options, everything=True))
    own = [
        one for one in edit.inputs if not one.name.startswith(tuple(f"{stub}(" for stub in stubs))
    ]
    symbols = tuple(
        Symbol(entry.name, entry.address, 0, "D")
        for entry in edit.table.values()
        if entry.definer in own or entry.is_common
    )
    edit.output = replace(edit.output, symbols=symbols)
    modules = []
    for member, one in zip(read_library(library).members, own, strict=True):
        rows = []
        for symbol in one.object.symbols:
            entry = edit.table[symbol.name]
            if symbol.defined or entry.is_common:
                rows.append(Symbol(symbol.name, entry.address, 0, "D"))
            else:
                rows.append(Symbol(symbol.name, 0, 0, "U"))
        modules.append(
            (
                member.name.rpartition("/")[2],
                TextObject(symbols=tuple(rows), extra=order_word(edit.order)),
            )
        )
    return edit, _once(modules)


def _once(modules: list[tuple[str, TextObject]]) -> list[tuple[str, TextObject]]:
    """A common block of several modules is exported by the first of them only."""
    seen: set[str] = set()
    result = []
    for name, thing in modules:
        symbols = []
        for symbol in thing.symbols:
            if symbol.defined and symbol.name in seen:
                symbols.append(Symbol(symbol.name, 0, 0, "U"))
            else:
                symbols.append(symbol)
            if symbol.defined:
                seen.add(symbol.name)
        result.append((name, replace(thing, symbols=tuple(symbols))))
    return result


def write_stub(
    path: str, modules: Sequence[tuple[str, TextObject]], format: str, name: str, edit: LinkEdit
) -> Library:
    """The stub library, in a library's format, with the name of what it stands for and the names that needs."""
    needed = dict.fromkeys(n for stub in edit.stubs for n in (stub.stands_for, *stub.needed) if n)
    return create_library(path, modules, format, [name, *needed])
