"""FreeBSD's libmap.conf(5): names of libraries to be replaced by others, for all programs or for some.

A line is "from to"; "[program]" says whose names are meant in the lines that follow: a path, a directory that ends in "/", or a
last component. "include FILE" and "includedir DIRECTORY" read more. LD_LIBMAP is read last, with "=" for a space and "," for the
end of a line. Later lines go before earlier ones (libexec/rtld-elf/libmap.c).
"""

from __future__ import annotations

import os
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIBMAP = "/etc/libmap.conf"
_EVERYBODY = "$DEFAULT$"
_LONGEST = 1024  # MAXPATHLEN
_LINE = _LONGEST + 12  # what is read of a line
_PROGRAM = re.compile(r"\[[ \t]*([^ \t\]][^ \t\]]*)[ \t]*\][ \t]*")
_MOST_FILES = 4096  # that include one another


class LibMap:
    """All that libmap.conf and LD_LIBMAP say.

    *read* gives a file's bytes, *names* the regular files in a directory, *identity* what a file is known by; each raises OSError.
    """

    __slots__ = ("_identity", "_lists", "_names", "_read", "_seen")

    def __init__(
        self,
        override: str | None,
        read: Callable[[str], bytes],
        names: Callable[[str], list[str]],
        identity: Callable[[str], object],
    ) -> None:
        self._read = read
        self._names = names
        self._identity = identity
        self._seen: set[object] = set()  # paths and identities of what was read
        #: (whose, from -> to); the first that fits a program is the only one that counts.
        self._lists: list[tuple[str, dict[str, str]]] = []
        self._parse(self._lines(LIBMAP))
        if override is not None:
            self._parse(iter(override.replace("=", " ").replace(",", "\n").split("\n")))

    def __bool__(self) -> bool:
        return bool(self._lists)

    def find(self, requester: str, name: str) -> str | None:
        """What *requester*'s *name* is replaced by. What was meant for one program holds for all, once it was used."""
        own = self._list_of(requester)
        if own is not None and name in own:
            self._add(_EVERYBODY, name, own[name])
            return own[name]
        common = self._list_of(_EVERYBODY)
        return None if common is None else common.get(name)

    def _list_of(self, program: str) -> dict[str, str] | None:
        for whose, pairs in self._lists:
            if whose.endswith("/"):
                fits = program.startswith(whose)
            elif "/" in whose:
                fits = program == whose
            else:
                fits = program.rpartition("/")[2] == whose
            if fits:
                return pairs
        return None

    def _add(self, program: str, name: str, to: str) -> None:
        # As there, a program in brackets may fall into the list of its directory.
        pairs = self._list_of(program)
        if pairs is None:
            pairs = {}
            self._lists.insert(0, (program, pairs))
        pairs[name] = to

    def _lines(self, path: str) -> Iterator[str]:
        """The lines of a file that was not read before; none of one that cannot be."""
        try:
            if path in self._seen or len(self._seen) > 2 * _MOST_FILES:
                return
            identity = self._identity(path)
            if identity in self._seen:
                return
            data = self._read(path)
        except (OSError, ValueError):
            return
        self._seen |= {path, identity}
        yield from os.fsdecode(data).split("\n")

    def _parse(self, lines: Iterator[str]) -> None:
        # Files on their way, each with the program that its lines are for.
        files: list[tuple[Iterator[str], str]] = [(lines, _EVERYBODY)]
        while files:
            lines, program = files.pop()
            for line in lines:
                text = re.split("[#\0\r]", line[:_LINE], maxsplit=1)[0].strip(" \t")
                if text.startswith("["):
                    match = _PROGRAM.fullmatch(text)
                    if match is not None and len(os.fsencode(match[1])) < _LONGEST:
                        program = match[1]
                    continue
                words = re.split("[ \t]+", text)
                if len(words) != 2:
                    continue
                name, to = words
                if name not in ("include", "includedir"):
                    self._add(program, name, to)
                    continue
                files.append((lines, program))
                files += [(more, _EVERYBODY) for more in self._included(name, to)]
                break

    def _included(self, how: str, path: str) -> list[Iterator[str]]:
        """What is to be read before the lines go on, the last of it first."""
        if how == "include":
            return [self._lines(path)]
        if path in self._seen:
            return []
        try:
            names = self._names(path)
        except (OSError, ValueError):
            return []
        self._seen.add(path)
        # There they are read as the directory has them; in order of names here.
        paths = [f"{path}/{name}" for name in sorted(names) if name.endswith(".conf")]
        return [self._lines(path) for path in paths[:_MOST_FILES] if len(path) < _LONGEST][::-1]
