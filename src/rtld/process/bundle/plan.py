"""What is known of a bundle that is being made."""

from __future__ import annotations

from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.core.module import Module, Namespace

HEAD = 0x10000  # room for program headers and the interpreter's name

#: A word that ld.so fills: its address, relocation type, addend, and row of ``ns.bindings``.
Open = namedtuple("Open", "place type addend reference")
#: A COPY relocation of libc's data: address, index of the program's symbol, row of ``ns.bindings``.
Copied = namedtuple("Copied", "place symbol reference")
#: A word for an IFUNC's address: its place, the resolver's address.
Chosen = namedtuple("Chosen", "place resolver")
#: One PT_LOAD: p_flags, first address, address behind it. All of it is in the file.
Load = namedtuple("Load", "flags start end")


class Bundle:
    """Fields are grouped by the pass that fills them. ``base`` is the address of the file's first byte."""

    def __init__(self, ns: Namespace, directory: str) -> None:
        self.ns = ns
        self.directory = directory  # of the files
        self.arch = ns.arch
        self.order: str = ns.main.file.order
        self.wide: bool = ns.main.file.bits == 64
        self.word = 8 if self.wide else 4
        self.page: int = ns.arch.page_size  # what segments begin and end at
        self.fused: list[Module] = [m for m in ns.modules if not m.hosted]
        self.hosted: list[Module] = [m for m in ns.modules if m.hosted and m is not ns.interp]
        # place_modules
        self.base = 0
        self.headers = 0  # of ``HEAD`` bytes
        self.modules_end = 0
        # relocate_modules
        self.open: list[Open] = []
        self.copied: list[Copied] = []
        self.chosen: list[Chosen] = []
        # make_tables
        self.pieces: list[tuple[int, Any]] = []  # (address, bytes)
        self.loads: list[Load] = []  # of the new parts
        self.segments: dict[
            int, tuple[int, int, int, int]
        ] = {}  # type -> address, filesz, memsz, align
        self.end = 0
        self.names: dict[str, bytes] = {}  # file name -> a small library (names.py)

    @property
    def main(self) -> Module:
        return self.ns.main

    def put(self, address: int, data: Any) -> None:
        """These bytes stand there."""
        if len(data):
            self.pieces.append((address, data))

    def write(self) -> str:
        """Put all files into the directory, which must be empty; returns the executable's path."""
        from rtld.process.bundle.write import write_files

        return write_files(self)
