"""Names as people wrote them, to those in symbol tables: which symbols does ``std::cout`` stand for?"""

from __future__ import annotations

import os
import re

from rtld.elf.tables import symbols, tables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rtld.core.module import Namespace
    from rtld.elf.file import ElfFile

_WORD = re.compile(r"([A-Za-z_]\w*)(?:\[abi:\w+\])?$")
_HASH = re.compile(r"::h[0-9a-f]{16}$")  # what rustc (legacy mangling) puts behind a name

# The Itanium ABI's own abbreviations (5.1.8, "Compression"), which demanglers write out.
_STANDARD = re.compile(
    r"std::(?:__cxx11::)?basic_(string|[io]?o?stream)<char, std::char_traits<char>(?:, std::allocator<char>)? ?>"
)
_STRUCTOR = re.compile(r"\bstd::(\w+)::(~?)basic_\1\b")


def is_written(name: str) -> bool:
    """Whether no assembler would take it for a symbol, and a programmer would."""
    return "::" in name or "(" in name or name.startswith("operator")


def mangled(ns: Namespace, written: str, demangle: Callable[[str], str]) -> list[str]:
    """The symbols of a program that ``written`` stands for, sorted; with a list of parameters just that overload.

    Without one, all of that name. Every symbol with the last word in it is demangled, so this takes a while.
    """
    written = short(written)
    bare = name_alone(written)
    word = _WORD.search(bare)
    # Of constructors, destructors and operators the mangled name does not have the last word.
    head = bare[: -len(word[0])].rstrip(":") if word else ""
    literal = word is not None and not head.endswith(("~", word[1])) and "operator" not in bare
    piece = os.fsencode(word[1]) if word and literal else b""
    names = {
        name
        for module in ns.modules
        for name in _names(module.file)
        if piece in name and name[:1] == b"_"
    }
    exact, loose = [], []
    for raw in sorted(names):
        name = os.fsdecode(raw)
        text = short(demangle(name))
        if text == written:
            exact.append(name)
        elif bare == written and text != name and bare == _HASH.sub("", name_alone(text)):
            loose.append(name)
    return exact or loose


def short(text: str) -> str:
    """A demangled name with ``std::string`` and the streams as programmers write them."""
    return _STRUCTOR.sub(r"std::\1::\2\1", _STANDARD.sub(r"std::\1", text))


def name_alone(text: str) -> str:
    """A demangled name without its parameters and what follows them: ``a::f(int) const`` is ``a::f``."""
    depth = 0
    for at, char in enumerate(text):
        if char in "<(":
            if char == "(" and not depth and not text.startswith("(anonymous", at):
                return text if at == 0 or text.endswith("operator", 0, at) else text[:at]
            depth += 1
        elif char in ">)":
            depth -= depth > 0
    return text


def _names(file: ElfFile) -> set[bytes]:
    """The names in a dynamic symbol table."""
    if not tables(file).symtab_limit:
        return set()
    start, size = file.strings()
    strings = bytes(file.data[start : start + size])
    offsets = symbols(file)["st_name"].tolist()
    return {strings[at : strings.find(b"\0", at)] for at in offsets if at < size}
