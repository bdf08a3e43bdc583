"""The run-time binder (project 10-2). READ FIRST: a program and its shared libraries are bound by these passes.

They are the passes of ``elf/link.py`` on the same nouns, ``Module``, ``Namespace``, ``Scope``, ``Definition``, ``Image``
and the same relocation engine, for a format that has nothing in common with ELF.
"""

from __future__ import annotations

import os
import time
from collections import namedtuple

from rtld.core.image import Image
from rtld.core.module import Definition, Module, Namespace, Problem, Scope
from rtld.errors import NoSpace, NotFound
from rtld.events import QUIET
from rtld.textbook.complaints import Complaint, LinkFailure, Malformed
from rtld.textbook.layout import MOST, SHARED_LIBRARIES
from rtld.textbook.object import LIMIT, TextObject
from rtld.textbook.reader import read_file
from rtld.textbook.relocs import BY_NAME, LINKED, ROWS
from rtld.textbook.space import PAGE, LowestFirst

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rtld.core.space import AddressSpace
    from rtld.events import Reporter

#: A reference and its answer: the module that refers, the index of its symbol, a Definition or None.
Binding = namedtuple("Binding", "module symbol definition")
#: Where a library was found, and what was tried before.
Found = namedtuple("Found", "path rule candidates")


class Search:
    """Where libraries are: in the directories given, beside whoever needs them, beside the program, here."""

    def __init__(self, program: str, directories: Sequence[str]) -> None:
        self.program = program
        self.directories = tuple(directories)

    def find(self, name: str, requester: Module) -> Found:
        """The first file of that name. NotFound has the paths tried."""
        places = [(directory, "library path") for directory in self.directories]
        places += [(os.path.dirname(requester.path), "beside its user")]
        places += [(os.path.dirname(self.program), "beside the program"), ("", "current directory")]
        tried: list[str] = []
        for directory, rule in places:
            path = os.path.join(directory, name)
            if os.path.isfile(path):
                return Found(path, rule, tuple(tried))
            if path not in tried:
                tried.append(path)
        raise NotFound(name, requester.path, tried)


def bind(
    path: str,
    directories: Sequence[str] = (),
    *,
    at: int | None = None,
    order: str | None = None,
    space: AddressSpace | None = None,
    reporter: Reporter = QUIET,
) -> Namespace:
    """Load and bind the program at *path*; what could not be found is in ``problems``. OSError, Malformed, NoSpace."""
    ns = Namespace("textbook", None, reporter)

    load_program(ns, path)
    ns.search = Search(path, directories)

    # Breadth first: this order is the load order, and so the search order.
    timed(ns, "load", lambda: load_needed(ns))
    # Beyond this point no module is added.

    chosen = byte_order(ns, order)

    # One scope for everybody: the program, then the libraries. The first definition of a name is the one.
    build_scopes(ns)

    # Each where it was linked for if that is free, else at the lowest addresses that are.
    timed(ns, "reserve", lambda: reserve(ns, space or LowestFirst(at or PAGE), at))
    # Beyond this point addresses are fixed.

    timed(ns, "images", lambda: build_images(ns))

    # Each name a module refers to, once.
    timed(ns, "resolve", lambda: resolve_symbols(ns))

    # ER4, AS4 and RS4 of all modules in one call of the engine.
    timed(ns, "relocate", lambda: relocate(ns, chosen))
    return ns


def timed(ns: Namespace, name: str, step: Callable[[], object]) -> None:
    """Run one pass and keep its CPU time."""
    begin = time.process_time()
    step()
    seconds = time.process_time() - begin
    ns.timings.append((name, seconds))
    ns.reporter.pass_done(name, seconds, {})


# -- load -------------------------------------------------------------------------------------------


def load_program(ns: Namespace, path: str) -> Module:
    """The program is the first module."""
    ns.main = _add(ns, read_linked(path), path)
    return ns.main


def _add(ns: Namespace, file: TextObject, path: str) -> Module:
    module = Module(file, path, len(ns.modules))
    module.aliases.add(os.path.basename(path))
    ns.modules.append(module)
    ns.by_name.setdefault(os.path.basename(path), module)
    return module


def read_linked(path: str) -> TextObject:
    """A file that a link editor has made: it has no relocations that only a link editor applies."""
    thing = read_file(path)
    complaints = [
        Complaint(
            path,
            row.line,
            "relocation: type",
            row.type,
            f"{', '.join(sorted(LINKED))}: link it first",
        )
        for row in thing.relocations
        if row.type not in LINKED
    ]
    complaints += [
        Complaint(
            path,
            symbol.line,
            f"symbol {symbol.name}",
            "a common block",
            "no such thing: link it first",
        )
        for symbol in thing.symbols
        if symbol.common
    ]
    low, high = thing.span
    total = sum(segment.length for segment in thing.segments)
    if total > high - low:
        complaints.append(
            Complaint(
                path, 0, "segments", "the same addresses in several", "addresses: link it first"
            )
        )
    if complaints:
        raise Malformed(path, complaints)
    return thing


def load_needed(ns: Namespace) -> None:
    """The libraries of each module in turn, each file once."""
    for module in ns.modules:  # grows
        for name in (*module.file.needed, *static_libraries(module.file)):
            known = ns.by_name.get(os.path.basename(name))
            if known is None:
                known = _load_library(ns, name, module)
            if known is not None:
                module.needed.append(known)


def _load_library(ns: Namespace, name: str, requester: Module) -> Module | None:
    ns.reporter.searching(name, requester)
    try:
        found = ns.search.find(name, requester)
        _tell_search(ns, name, [*found.candidates, found.path])
    except NotFound as error:
        _tell_search(ns, name, [str(path) for path in error.candidates])
        requester.missing.append(name)
        ns.missing.setdefault(name, []).append((requester, error))
        message = f"{requester.path}: library {name} not found; tried {', '.join(error.candidates)}"
        ns.problems.append(Problem("library", requester.path, name, message))
        return None
    module = _add(ns, read_linked(found.path), found.path)
    module.found, module.loader = found, requester
    module.aliases.add(name)
    ns.by_name[os.path.basename(name)] = module
    ns.reporter.module(module)
    return module


def _tell_search(ns: Namespace, name: str, paths: Sequence[str]) -> None:
    if "libs" in ns.reporter.wants:
        ns.reporter.searched(
            name,
            [
                f"find library={name} [0]; searching",
                *[f"  trying file={path}" for path in paths],
                "",
            ],
        )


def static_libraries(thing: TextObject) -> list[str]:
    """The names in the list at ``_SHARED_LIBRARIES`` (project 9-2): ended by NUL, the list by one more."""
    symbol = thing.find(SHARED_LIBRARIES)
    if symbol is None or not symbol.segment:
        return []
    segment = thing.segments[symbol.segment - 1]
    names, _, _ = segment.data[symbol.value - segment.start :].partition(b"\0\0")
    return [name.decode("ascii", "replace") for name in names.split(b"\0") if name]


def byte_order(ns: Namespace, order: str | None) -> str:
    """The order all modules agree on; *order* where none of them says. LinkFailure."""
    said = {module.file.order: module for module in ns.modules if module.file.order is not None}
    if len(said) > 1:
        message = f"{said['>'].path} is big-endian, {said['<'].path} is little-endian"
        raise LinkFailure([Problem("byte order", said[">"].path, "", message)])
    return order or next(iter(said), ">")


# -- scopes, addresses, images ----------------------------------------------------------------------


def build_scopes(ns: Namespace) -> None:
    """The global scope is all modules in load order."""
    ns.global_scope = Scope("global", tuple(ns.modules))
    for module in ns.modules:
        module.scopes = (ns.global_scope,)
        ns.reporter.scope(module)


def reserve(ns: Namespace, space: AddressSpace, at: int | None = None) -> None:
    """Ask the address space for room. *at* is where the program goes. A static shared library cannot be moved."""
    fixed = {name for module in ns.modules for name in static_libraries(module.file)}
    # What cannot be moved goes first.
    for module in sorted(ns.modules, key=lambda module: not module.aliases & fixed):
        low, high = module.file.span
        if not high:
            continue
        # The distance moved is whole pages, so that segments keep their place in theirs.
        page = low % PAGE
        size = high - low + page
        want = low - page
        if module is ns.main and at is not None:
            want = space.reserve(size, PAGE, at - page)
        elif module.aliases & fixed or not can_move(module.file):
            space.reserve(size, PAGE, want)
        else:
            want = _reserve_movable(space, size, want)
        module.base = want + page - low
        if module.base and not can_move(module.file):
            raise NoSpace(
                f"{module.path} has no ER4 relocations and must be at {low:x}; link it with --pic to move it"
            )
        ns.reporter.placed(module)


def _reserve_movable(space: AddressSpace, size: int, want: int) -> int:
    """Where it was linked for, if that is free, is least work; else anywhere."""
    try:
        return space.reserve(size, PAGE, want)
    except NoSpace:
        return space.reserve(size, PAGE)


def can_move(thing: TextObject) -> bool:
    """Was it linked so that it can be loaded anywhere? An executable without any relocation may not have been."""
    return (
        thing.is_library
        or bool(thing.needed)
        or any(row.type == "ER4" for row in thing.relocations)
    )


def build_images(ns: Namespace) -> None:
    """One array for all modules, each module's memory a part of it; what has no data is zero."""
    import numpy as np

    starts, size = [], 0
    for module in ns.modules:
        low, high = module.file.span
        starts.append(size)
        size += high - low + (low - high) % 8  # so that words are aligned
    if size > MOST:
        raise NoSpace(f"the modules have more than {MOST:#x} bytes of memory")
    ns.arena = np.zeros(size, np.uint8)
    for module, start in zip(ns.modules, starts, strict=True):
        low, high = module.file.span
        memory = ns.arena[start : start + high - low]
        module.image = Image(memory, low, module.base, start, module.file.segments)
        for segment in module.file.segments:
            if segment.data:
                module.image.view(segment.start, segment.length)[:] = np.frombuffer(
                    segment.data, np.uint8
                )


# -- symbols ----------------------------------------------------------------------------------------


def resolve_symbols(ns: Namespace) -> None:
    """Every reference gets its definition. What has none is a problem, and its places stay as they are."""
    ns.columns = {
        module: {s.name: i for i, s in enumerate(module.file.symbols) if s.defined}
        for module in ns.modules
    }
    ns.bindings = []
    for module in ns.modules:
        used = {row.ref - 1 for row in module.file.relocations if row.type != "ER4"}
        for index, symbol in enumerate(module.file.symbols):
            if symbol.defined and index not in used:
                continue
            definition = look_up(ns, symbol.name, module.scopes)
            ns.bindings.append(Binding(module, index, definition))
            if definition is None:
                message = f"{module.path}: undefined symbol: {symbol.name}"
                ns.problems.append(Problem("symbol", module.path, symbol.name, message))
            else:
                ns.reporter.bound(module, definition.module, symbol.name, None, "normal")


def look_up(ns: Namespace, name: str, scopes: Sequence[Scope]) -> Definition | None:
    """The first definition of *name* in the scopes."""
    for scope in scopes:
        for module in scope.modules:
            ns.reporter.looked_up(name, module)
            index = ns.columns[module].get(name)
            if index is not None:
                return Definition(module, index)
    return None


def address_of(definition: Definition) -> int:
    """Where a definition is in memory."""
    symbol = definition.module.file.symbols[definition.symbol]
    moved: int = definition.module.base if symbol.segment else 0
    value: int = symbol.value
    return (value + moved) % LIMIT


# -- relocations ------------------------------------------------------------------------------------


def relocate(ns: Namespace, order: str) -> None:
    """All relocations of all modules, a row each; those to an unresolved symbol are left out."""
    import numpy as np

    from rtld.core.reloc import apply, read_addends

    addresses = {
        (binding.module, binding.symbol): address_of(binding.definition)
        for binding in ns.bindings
        if binding.definition is not None
    }
    columns: list[tuple[int, int, int, int, int]] = []  # type, site, S, P, D
    for module in ns.modules:
        ns.reporter.relocating(module, False)
        counts: dict[str, int] = {}
        for row in module.file.relocations:
            value = 0 if row.type == "ER4" else addresses.get((module, row.ref - 1))
            if value is None:
                continue
            place = module.file.segments[row.segment - 1].start + row.loc
            site = module.image.start + place - module.image.low
            columns.append(
                (BY_NAME[row.type].number, site, value, place + module.base, module.base)
            )
            counts[row.type] = counts.get(row.type, 0) + 1
        ns.counts[module] = counts
        ns.reporter.relocated(module, counts)
    table = np.array(columns, np.int64).reshape(-1, 5)
    types, sites = table[:, 0], np.ascontiguousarray(table[:, 1])
    addends = read_addends(ROWS, types, sites, ns.arena, order)
    env = {"S": table[:, 2], "A": addends, "P": table[:, 3], "D": table[:, 4]}
    apply(ROWS, types, sites, env, ns.arena, order)


# -- what there is to see ---------------------------------------------------------------------------


def memory_of(module: Module) -> list[tuple[int, bytes]]:
    """Each segment that has data, where it is now, with its bytes."""
    return [
        (segment.start + module.base, module.image.view(segment.start, segment.length).tobytes())
        for segment in module.file.segments
        if segment.present
    ]
