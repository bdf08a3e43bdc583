"""A PE image placed in a namespace, and the namespace: what of the shared nouns is Windows' own."""

from __future__ import annotations

import os
from collections import namedtuple

from rtld.core.module import Module, Namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from rtld.events import Reporter
    from rtld.pe.file import PeFile
    from rtld.pe.imports import Descriptor, Imports
    from rtld.pe.search import Search
    from rtld.pe.windows import Windows

#: What became of one descriptor: the module it leads to or None, the name an API set led to, why there is no module.
Edge = namedtuple("Edge", "descriptor module host error")
#: One import: row in the importer's columns, definer or None, function index and RVA there, how it was found ("hint",
#: "search", "ordinal", "bound", "missing"), the forwarders followed as (module, text).
Binding = namedtuple("Binding", "importer descriptor row definer index rva how chain")

MISSING = "missing"
_HOW = ("missing", "hint", "search", "ordinal", "bound")
HOW = {name: number for number, name in enumerate(_HOW)}


class Table:
    """The bindings of one import table (at load, or delayed) as columns; row ``i`` is import ``i``.

    ``definer`` (module index, -1), ``index``, ``rva``, ``how`` (number in HOW); ``chains``: row -> forwarders followed.
    """

    __slots__ = ("chains", "definer", "edges", "how", "imports", "index", "rva")

    def __init__(self, imports: Imports) -> None:
        count = len(imports)
        self.imports = imports
        self.edges: list[Edge] = []
        self.definer = [-1] * count
        self.index = [-1] * count
        self.rva = [0] * count
        self.how = [0] * count
        self.chains: dict[int, tuple[tuple[PeModule, str], ...]] = {}


class PeModule(Module):
    """An LDR_DATA_TABLE_ENTRY. ``references`` as Windows counts them; -1: pinned."""

    __slots__ = (
        "delayed",
        "forwarded",
        "load_flags",
        "private",
        "references",
        "resolved",
        "table",
        "tls_slot",
    )

    def __init__(self, file: PeFile, path: str, index: int = 0) -> None:
        super().__init__(file, path, index)
        # load.py
        self.table: Table | None = None  # imports at load
        self.delayed: Table | None = None  # delay imports, when they have been bound
        self.private: dict[
            str, str
        ] = {}  # side-by-side: base name -> path, for what this module asks for
        self.forwarded: list[PeModule] = []  # where forwarders led, beyond what is needed
        self.resolved = False  # its imports are bound; never for a module mapped only
        self.load_flags = 0
        self.references = 0
        # start
        self.tls_slot = -1

    @property
    def base_name(self) -> str:
        """The file's name in lower case: by it a loaded DLL is found again."""
        return os.path.basename(self.path).lower()


# fmt: off
#: Policy -> what can be chosen; the first is the default.
POLICIES = {
    "unresolved": ("strict", "stub"),
    "bound":      ("ignore", "verify", "use"),
    "delay":      ("helper", "eager", "trap"),
    "tls":        ("vista", "static-only"),
}
# fmt: on


class Policies:
    """What differs between systems, or is the user's to say.

    ``unresolved``: "strict" (Windows: the load fails) or "stub" (Wine: the program starts, a call of it fails).
    ``bound``: "verify" (compare what was bound beforehand), "use", "ignore". ``delay``: "helper" (the program's own),
    "eager", "trap". ``tls``: "vista", or "static-only": before it, only DLLs present at start had their thread-local data.
    """

    __slots__ = ("bound", "delay", "tls", "unresolved")

    def __init__(
        self, unresolved: str = "strict", bound: str = "ignore", delay: str = "helper", tls: str = "vista"
    ) -> None:  # fmt: skip
        for name, value in (("unresolved", unresolved), ("bound", bound), ("delay", delay), ("tls", tls)):  # fmt: skip
            if value not in POLICIES[name]:
                raise ValueError(f"{name}: {value!r}; choose {' or '.join(POLICIES[name])}")
        self.unresolved = unresolved
        self.bound = bound
        self.delay = delay
        self.tls = tls


class PeNamespace(Namespace):
    """The modules of one process in load order."""

    def __init__(
        self, arch: Any, search: Search, windows: Windows, policies: Policies, reporter: Reporter
    ) -> None:
        super().__init__("windows", arch, reporter)
        self.search: Search = search
        self.windows = windows
        self.policies = policies
        self.main: PeModule
        self.modules: list[PeModule] = []  # type: ignore[assignment]
        self.by_base: dict[str, PeModule] = {}
        self.by_file: dict[tuple[int, int], PeModule] = {}
        self.forwards: dict[
            tuple[int, int], Any
        ] = {}  # (module, function) -> what a forwarder led to
        self.load_flags = (
            0  # of the LoadLibraryEx that is under way: they hold for what it loads besides, too
        )
        self.load_directory = ""
        self.init_order: list[PeModule] = []  # type: ignore[assignment]

    def imports_of(self, module: PeModule, table: Table | None = None) -> Iterator[Binding]:
        """Every import of a module, in the order of its tables."""
        for each in (module.table, module.delayed) if table is None else (table,):
            if each is None:
                continue
            owners: list[Descriptor] = each.imports.descriptors
            for row, owner in enumerate(each.imports.descriptor.tolist()):
                definer = each.definer[row]
                yield Binding(
                    module, owners[owner], row, None if definer < 0 else self.modules[definer],
                    each.index[row], each.rva[row], _HOW[each.how[row]], each.chains.get(row, ()),
                )  # fmt: skip
