"""Libraries (project 6), in every reading of the book that is in use; and what project 9-1 adds to them.

    map        a directory; the file MAP has a line for each module: its file and the symbols it exports
    directory  a directory with a file for each exported symbol; a module with several has several links
    file       one file: "LIBRARY nnnn pppppp" (modules, hex offset of the directory), the modules one after the
               other, then for each module "offset length symbol ..." (hex)

The stub library of a static shared library (9-1) also says which library it stands for and which others that needs: in
the file "LIBRARY NAME" of a directory (a blank, so that no symbol can have that name), one name a line, or behind the
numbers in the first line of a file.
"""

from __future__ import annotations

import os
from collections import namedtuple

from rtld.errors import Unsupported
from rtld.textbook.complaints import Complaint, Malformed, quoted
from rtld.textbook.reader import decode, read_object
from rtld.textbook.writer import write_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rtld.textbook.object import TextObject

FORMATS = ("file", "directory", "map")
NAME_FILE = "LIBRARY NAME"
MAP = "MAP"

#: A module of a library: its name, its object, the symbols that the directory promises.
Member = namedtuple("Member", "name object symbols")


class Library:
    """A library that has been read. ``stands_for`` and ``needed`` are of stub libraries."""

    def __init__(
        self, path: str, format: str, members: Iterable[Member], names: Sequence[str] = ()
    ) -> None:
        self.path = path
        self.format = format
        self.members = tuple(members)
        self.stands_for: str | None = names[0] if names else None
        self.needed = tuple(names[1:])

    def __repr__(self) -> str:
        return f"<Library {self.path}: {len(self.members)} modules, {self.format}>"


def is_library(path: str) -> bool:
    """A directory, or a file that begins with the word LIBRARY."""
    if os.path.isdir(path):
        return True
    with open(path, "rb") as file:
        return file.read(8) == b"LIBRARY "


def read_library(path: str) -> Library:
    """A library in any of the formats. OSError; Malformed has the complaints about all its modules."""
    if not os.path.isdir(path):
        return _read_file(path)
    names = _read_names(os.path.join(path, NAME_FILE))
    if os.path.exists(os.path.join(path, MAP)):
        return Library(path, "map", _read_map(path), names)
    return Library(path, "directory", _read_links(path), names)


def _text(path: str) -> str:
    with open(path, "rb") as file:
        return decode(file.read(), path)


def _read_names(path: str) -> list[str]:
    return _text(path).split() if os.path.exists(path) else []


def _read_map(path: str) -> list[Member]:
    """Reading A: the file MAP says what the modules export."""
    where = os.path.join(path, MAP)
    complaints: list[Complaint] = []
    members = []
    for number, line in enumerate(_text(where).splitlines(), 1):
        name, *symbols = line.split() or ["#"]
        if name.startswith("#"):
            continue
        file = os.path.join(path, name)
        if "/" in name or not os.path.isfile(file):
            complaints.append(Complaint(where, number, "module", quoted(name), f"a file in {path}"))
            continue
        try:
            members.append(_member(name, read_object(_text(file), file), symbols, where, number))
        except Malformed as error:
            complaints += error.complaints
    if complaints:
        raise Malformed(where, complaints)
    return members


def _read_links(path: str) -> list[Member]:
    """Reading B: a file for each symbol. Links to one file, or equal copies of it, are one module."""
    modules: dict[str, list[str]] = {}
    for name in sorted(os.listdir(path)):
        if name != NAME_FILE and os.path.isfile(os.path.join(path, name)):
            modules.setdefault(_text(os.path.join(path, name)), []).append(name)
    complaints: list[Complaint] = []
    members = []
    for text, symbols in modules.items():
        file = os.path.join(path, symbols[0])
        try:
            members.append(_member(symbols[0], read_object(text, file), symbols, file, 0))
        except Malformed as error:
            complaints += error.complaints
    if complaints:
        raise Malformed(path, complaints)
    return members


def _read_file(path: str) -> Library:
    text = _text(path)
    header = text.partition("\n")[0].split()
    count, at, names = _header(path, header)
    rows = [line.split() for line in text[at:].splitlines() if line.strip()]
    first = text.count("\n", 0, at) + 1
    complaints: list[Complaint] = []
    if not 0 < at <= len(text) or len(rows) != count:
        complaints.append(
            Complaint(
                path, 1, "number of modules", count, f"the {len(rows)} lines of the directory"
            )
        )
    members = []
    for number, row in enumerate(rows, first):
        begin, length, *symbols = [*row, "?"] if len(row) < 2 else row
        try:
            start, size = int(begin, 16), int(length, 16)
        except ValueError:
            complaints.append(
                Complaint(
                    path, number, "directory", quoted(" ".join(row)), "offset length symbol ..."
                )
            )
            continue
        if not 0 <= start <= start + size <= at:
            expected = f"offset and length of a part before the directory at {at:x}"
            complaints.append(Complaint(path, number, "directory", f"{start:x} {size:x}", expected))
            continue
        name = str(number - first + 1)
        try:
            thing = read_object(text[start : start + size], path, text.count("\n", 0, start) + 1)
            members.append(_member(name, thing, symbols, path, number))
        except Malformed as error:
            complaints += error.complaints
    if complaints:
        raise Malformed(path, complaints)
    return Library(path, "file", members, names)


def _header(path: str, words: list[str]) -> tuple[int, int, list[str]]:
    if len(words) >= 3 and words[0] == "LIBRARY" and words[1].isdecimal() and len(words[2]) <= 16:
        try:
            return int(words[1][:9]), int(words[2], 16), words[3:]
        except ValueError:
            pass
    found = quoted(" ".join(words))
    raise Malformed(path, [Complaint(path, 1, "magic", found, "LIBRARY nnnn pppppp [name ...]")])


def _member(name: str, thing: TextObject, symbols: Sequence[str], path: str, line: int) -> Member:
    """A module, once it is sure that it defines what the directory says."""
    lacking = [symbol for symbol in symbols if thing.find(symbol) is None]
    if lacking:
        found = f"no definition of {', '.join(lacking)}"
        raise Malformed(
            path, [Complaint(path, line, f"module {name}", found, "what the directory says")]
        )
    return Member(name, thing, tuple(symbols))


# -- writing ----------------------------------------------------------------------------------------


def create_library(
    path: str,
    members: Sequence[tuple[str, TextObject]],
    format: str = "file",
    names: Sequence[str] = (),
) -> Library:
    """Write a library of named objects; *names* make it a stub library. What is there already is replaced."""
    made = [Member(name, thing, tuple(s.name for s in thing.exports)) for name, thing in members]
    if format == "file":
        with open(path, "w", encoding="ascii") as file:
            file.write(_one_file(made, names))
        return Library(path, format, made, names)
    os.makedirs(path, exist_ok=True)
    for name in os.listdir(path):
        os.unlink(os.path.join(path, name))
    if names:
        _write(os.path.join(path, NAME_FILE), "".join(f"{name}\n" for name in names))
    (_write_map if format == "map" else _write_links)(path, made)
    return Library(path, format, made, names)


def _one_file(members: Sequence[Member], names: Sequence[str]) -> str:
    texts = [write_object(member.object) for member in members]
    tail = "".join(f" {name}" for name in names)
    at = len(f"LIBRARY {0:04} {0:06x}{tail}\n")
    rows = []
    for member, text in zip(members, texts, strict=True):
        rows.append(" ".join([f"{at:x} {len(text):x}", *member.symbols]) + "\n")
        at += len(text)
    if len(members) > 9999 or at > 0xFFFFFF:
        raise Unsupported("a library in one file has at most 9999 modules and ffffff bytes")
    return f"LIBRARY {len(members):04} {at:06x}{tail}\n" + "".join(texts + rows)


def _write_map(path: str, members: Sequence[Member]) -> None:
    rows, used = [], {MAP}
    for member in members:
        name = os.path.basename(member.name)
        if name in used:
            raise Unsupported(f"two modules of {path} would be named {name}")
        used.add(name)
        _write(os.path.join(path, name), write_object(member.object))
        rows.append(" ".join([name, *member.symbols]) + "\n")
    _write(os.path.join(path, MAP), "".join(rows))


def _write_links(path: str, members: Sequence[Member]) -> None:
    for member in members:
        if not member.symbols:
            raise Unsupported(
                f"{member.name} exports no symbol, so that it can have no file in {path}"
            )
        first = ""
        for symbol in member.symbols:
            file = os.path.join(path, symbol)
            if "/" in symbol or symbol in (MAP, ".", "..") or os.path.exists(file):
                why = (
                    "is there already"
                    if "/" not in symbol and os.path.exists(file)
                    else "is no file name"
                )
                raise Unsupported(f"{member.name}: {symbol} {why} in {path}")
            if not first:
                first = file
                _write(file, write_object(member.object))
            else:
                os.link(first, file)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
