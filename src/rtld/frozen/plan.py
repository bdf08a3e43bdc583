"""What is known of an image that is being made, and what is told about it afterwards."""

from __future__ import annotations

from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

    from rtld.core.module import Module, Namespace
    from rtld.frozen.exports import DynamicSymbols
    from rtld.frozen.imports import Imports

PAGE = 4096
#: Room before the program's own first segment: headers, interpreter's name, notes.
HEAD = 0x10000


class Options:
    """How an image is to be made; see docs/freeze.md.

    thin              map code and constants from the libraries' own files; the image holds what is relocated
    pie               position-independent, for programs that are: its addresses are chosen at every start
    many              one PT_LOAD for each run of pages (Linux 6.17) instead of few and mprotect
    plugins           modules to link in that the program opens by itself (--with)
    keep              names of libraries to leave to ld.so, with all that they need
    export            "all", "min", or None: what the program's use of dlopen asks for
    base              where a fixed image begins; None: chosen at random, or always the same when ``reproducible``
    addresses         of an epoch: path -> where this library is to be
    guard             compare the files with what they were, at every start
    allow_unresolved  calls of functions that nobody defines end the program, instead of there being no image
    """

    __slots__ = (
        "addresses", "allow_unresolved", "base", "export", "guard", "keep", "many", "pie", "plugins", "reproducible", "thin",
    )  # fmt: skip

    def __init__(self, **given: Any) -> None:
        self.thin = self.pie = self.many = self.reproducible = self.allow_unresolved = False
        self.guard = True
        self.addresses: Mapping[str, int] | None = None
        self.plugins: tuple[str, ...] = ()
        self.keep: tuple[str, ...] = ()
        self.export: str | None = None
        self.base: int | None = None
        for name, value in given.items():
            setattr(self, name, value)


#: A place of the image: address (of the image as it is linked), bytes.
Piece = namedtuple("Piece", "address data")
#: One PT_LOAD: p_flags, first address, end of what is in the file, end in memory.
Load = namedtuple("Load", "flags start stored end")
#: A file as it was when the image was made.
Stamp = namedtuple("Stamp", "path ino size ctime_ns")


class Plan:
    """An image being made. Fields are grouped by the pass that fills them; addresses are as linked, 0-based for PIE."""

    def __init__(self, ns: Namespace, options: Options) -> None:
        self.ns = ns
        self.options = options
        # choose_modules
        self.fused: list[Module] = []  # in scope order, the program first
        self.hosted: list[Module] = []  # left to ld.so, in scope order
        self.plugins: list[Module] = []  # those of ``fused`` that --with named
        self.section_of: dict[int, int] = {}  # module index -> section header
        self.undefined: list[
            tuple[Module, str]
        ] = []  # functions that nobody defines, and who calls them
        # imports
        self.imports: Imports
        # place
        self.base = 0  # address of the ELF header
        self.libraries = 0  # first address behind the program
        self.code = 0  # start-up code, trampolines
        self.code_size = 0
        self.relro = 0  # new data that is read-only once ld.so is done
        self.data = 0  # new data that stays writable
        self.lazy = False  # functions of libc are bound when they are called first
        self.got = 0  # then: three words of ld.so's, then the functions' slots
        self.tables = 0  # what ld.so reads
        self.end = 0
        self.debug = 0  # where ld.so leaves the address of its r_debug (DT_DEBUG)
        self.names = 0  # the first struct libname_list
        # relocate
        self.words: Any = None  # addresses of words that hold an address (PIE)
        self.resolved: list[tuple[int, int, int]] = []  # (place, resolver, addend) of IFUNCs
        self.moves: list[tuple[int, int, int]] = []  # (slot, place, addend)
        # exports
        self.symbols: DynamicSymbols
        # the new parts
        self.aliasing = True  # names of fused libraries lead to the image
        self.headers: dict[
            str, tuple[str, int, int, str]
        ] = {}  # section -> kind, address, size, flags
        self.segments: dict[
            str, tuple[int, int]
        ] = {}  # "dynamic", "tls", "unwind", "note" -> address, size
        self.thunks: list[int] = []  # handles for which __cxa_finalize is called at the end
        self.services: dict[int, str] | None = None  # startup.services
        self.strings_at = 0  # DT_STRTAB
        self.lookup_tables = (0, 0)  # for the services: names, modules
        # the pieces, in no order
        self.pieces: list[Piece] = []
        self.warnings: list[str] = []
        self.alone = False  # nothing to fuse: the program as it is (sole.py)

    @property
    def pie(self) -> bool:
        return self.options.pie

    @property
    def main(self) -> Module:
        return self.ns.main

    def written_places(self) -> NDArray[np.int64]:
        """Addresses of the words that the start-up code writes."""
        import numpy as np

        places = [row[0] for row in self.resolved] + [row[1] for row in self.moves]
        result: NDArray[np.int64] = np.array(places, np.int64)
        return result if self.words is None else np.concatenate([result, self.words])

    def put(self, address: int, data: Any) -> None:
        """These bytes stand there."""
        if len(data):
            self.pieces.append(Piece(address, data))


class Report:
    """What ``freeze`` did.

    path         the image, or None where none was written
    program      the program it was made of
    form         "fixed" or "pie", with "thin" where it is; "as it is": there was nothing to fuse
    fused, kept  paths of the modules inside, and of those that ld.so loads
    size, disk   bytes of the image, and of the blocks it takes
    symbols      how many symbols it exports;  imports: how many it asks libc for
    relocations  how many ld.so still applies at a start, and how many it applied to the original
    warnings     what the program may notice
    seconds      how long it took
    gain         of ``explain``: milliseconds that each start is expected to save
    """

    __slots__ = (
        "disk", "form", "fused", "gain", "imports", "kept", "path", "program", "relocations", "seconds", "size", "symbols",
        "warnings",
    )  # fmt: skip

    path: str | None
    program: str
    form: str
    fused: list[str]
    kept: list[str]
    size: int
    disk: int
    symbols: int
    imports: int
    relocations: tuple[int, int]
    warnings: list[str]
    seconds: float
    gain: float | None

    def __repr__(self) -> str:
        return f"<Report {self.path}: {len(self.fused)} modules, {self.size} bytes>"

    def as_json(self) -> dict[str, Any]:
        """The same as plain objects."""
        return {name: getattr(self, name) for name in self.__slots__}
