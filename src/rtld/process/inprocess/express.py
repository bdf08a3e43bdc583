"""dlopen of one library of the usual shape whose needs are loaded already: two calls of machine code.

``arch/x86_64_open.py`` finds, checks and maps the file, ``arch/x86_64_link.py`` binds and relocates it. Here is what stands
around them: the questions that only the namespace can answer, and the entries in its tables. Anything out of the ordinary is
left to the long way (``load.py``), which begins again and has the words for what is wrong; ``None`` is all that is said here.
``tests/dlfcn/test_express.py`` proves both equal. What only tells about the library is made when it is asked for (``Late``).
"""

from __future__ import annotations

import os
import struct
import threading

from rtld.backends import inprocess as machine
from rtld.core.module import Module
from rtld.elf.dlopen import make_global
from rtld.elf.file import ElfFile
from rtld.elf.quick import table_at, tables_of_scope
from rtld.elf.search import FOUND, Found
from rtld.elf.search_glibc import GlibcRules
from rtld.elf.small import GiveUp
from rtld.elf.types import DF_1_NODEFLIB
from rtld.events import QUIET
from rtld.process.inprocess.space import is_hosted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.core.module import Scope
    from rtld.process.inprocess.space import Space

    #: Path, soname, needs, all it leads to in the order of a search list, and the record with its address.
    Linked = tuple[str, str | None, list[Module], list[Module], Any, int]

# The desk: struct Open of the machine code, struct Link, and the arrays that lead from there.
_ASKED = struct.Struct("<11Q")  # of Open: what is given
_FILE = struct.Struct("<16Q")  # what is answered, from ``fd`` on
_LINK = struct.Struct("<18Q")
_TABLES = struct.Struct("<3Q")  # of Link: find, objects, adds
_ANSWERS = struct.Struct("<4Q")  # nscope, then what is answered: ninit, nfini, nused
_FILE_AT, _TEXT_AT = _ASKED.size, 3032
_LINK_AT = 4096
_RECORD_AT, _TABLES_AT, _ANSWERS_AT = _LINK_AT + 8, _LINK_AT + 72, _LINK_AT + 112
_FUNCTIONS_AT, _USED_AT = _LINK_AT + 144, _LINK_AT + 656
_PROVIDERS_AT, _SCOPE_AT, _NAME_AT, _DESK = 5120, 5376 + 8, 6144, 7168
_MOST_SCOPE = 48
_LONGEST = 960
# The record of a module: its tables, struct link_map, its rows of the tables of unwinders, its path.
_MAP_AT, _FOUND_AT, _OBJECT_AT, _PATH_AT, _RECORD = 2192, 2256, 2288, 2352, 3376
_WORD = struct.Struct("<Q")

_decoding = threading.RLock()


def _after_fork() -> None:
    global _decoding  # noqa: PLW0603
    _decoding = threading.RLock()


os.register_at_fork(after_in_child=_after_fork)


class Late:
    """What is kept of a module whose file Python has not looked into: an open descriptor of it, and how it was found."""

    __slots__ = ("_attempts", "_fd", "_name", "_plan", "_size", "identity", "span", "table")

    def __init__(self, plan: Plan, name: str, file: tuple[int, ...], table: int) -> None:
        """*file*: what struct Open answers; *table*: where the module's ``Table`` is."""
        self.table = table
        self._plan = plan
        self._name = name
        self._fd, _path, self._attempts, device, inode, self._size, start, length = file[:8]
        self.identity = device, inode
        self.span = start, start + length  # addresses, in whole pages

    def file(self, module: Module) -> ElfFile:
        """The decoded file."""
        files = self._plan.space.ns.search._files
        with _decoding:
            file: ElfFile | None = files.get(self.identity)
            if file is None:
                if self._is_there():
                    file = ElfFile(self._fd, module.path)
                else:  # somebody has closed all descriptors
                    file = ElfFile(module.path)
                    if (file.identity, file.size) != (self.identity, self._size):
                        raise file.fail("file", "identity", "another", "the one that was loaded")
                # Not entered into ``files``: the module may be closed meanwhile, and its file with it.
                file.path = module.path
            self.close()
            return file

    def found(self, module: Module) -> Found:
        """How it was found; the namespace remembers it, too."""
        ns, name = self._plan.space.ns, self._name
        rules = ns.search.rules
        if "/" in name:
            found = Found(module.path, module.file, "path", None, [(name, "path", FOUND, "")])
        else:
            rule, owner, steps = rules.retrace(name, self._plan.lists, self._attempts, module.path)
            found = Found(module.path, module.file, rule, owner, steps)
        ns.searches.setdefault((ns.main.index, name), found)
        return found

    def _is_there(self) -> bool:
        """Whether the descriptor is still the library's."""
        try:
            status = os.fstat(self._fd)
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self.identity

    def close(self) -> bool:
        """Let the descriptor go; whether nobody has asked for the file."""
        if self._fd < 0:
            return False
        if self._is_there():
            os.close(self._fd)
        self._fd = -1
        return True


class Plan:
    """What the machine code needs to know of a space: where names are looked for, and where symbols are.

    GiveUp for a space that does not follow the usual rules.
    """

    __slots__ = (
        "_cache",
        "_cached",
        "_prefixes",
        "blocks",
        "by_name",
        "by_path",
        "desk",
        "desk_at",
        "lists",
        "members",
        "scope",
        "space",
        "tabled",
        "tables",
    )  # fmt: skip

    def __init__(self, space: Space) -> None:
        ns = space.ns
        search = ns.search
        rules, options, cpu = search.rules, search.options, search.cpu
        if ns.model != "glibc" or ns.dynamic_weak or space.hooks is not None:
            raise GiveUp
        if ns.reporter is not QUIET or type(rules) is not GlibcRules:
            raise GiveUp
        if search.sysroot is not None or search.cwd or options.secure or options.inhibit_cache:
            raise GiveUp
        if search.main.flags or search.main.dt_flags_1 & DF_1_NODEFLIB or rules.cache is None:
            raise GiveUp
        place = rules.cache.place()
        if place is None or cpu.cache_flags != {cpu.cache_default}:
            raise GiveUp
        self.space = space
        self.lists: Any = None  # of ``GlibcRules.settled``; None: not yet
        self.scope: Scope | None = None  # the global scope that what follows is of
        self.members: set[Module] = set()
        self.tabled: list[Module] = []
        self.tables = b""
        self.blocks: dict[Module, Any] = {}  # of ``symbol_at_once``
        self.desk, self.desk_at = machine.block(_DESK)
        self._cache, cache_at = place[0], machine.address_of_bytes(place[0])
        kernel = space.process.kernel
        decode = kernel.places["decode"]
        self._cached = kernel.places["cached"], decode, cache_at, *place[1:], cpu.cache_default
        self._prefixes, prefixes_at = machine.block(1)
        most = os.sysconf("SC_OPEN_MAX") // 2  # as of those that are mapped (core/source.py)
        #: What the machine code is given: for a path, and for a name.
        self.by_path = _ASKED.pack(most, self.desk_at + _NAME_AT, prefixes_at, 0, decode, *[0] * 6)
        self.by_name = b""
        called = [
            kernel.places[name] for name in ("prepare", "relocate", "bind", "versions", "relr")
        ]
        _LINK.pack_into(
            self.desk, _LINK_AT, self.desk_at, 0, *called, kernel.scratch_at, len(kernel.scratch), 0, 0, 0,
            self.desk_at + _PROVIDERS_AT, self.desk_at + _SCOPE_AT, 0, 0, 0, 0,
        )  # fmt: skip

    def settle(self) -> bool:
        """Whether it is known by now which directories a name is looked for in before the cache."""
        ns = self.space.ns
        self.lists = ns.search.rules.settled(ns.main)
        if self.lists is None:
            return False
        prefixes = [d.name + subdir for row in self.lists for d in row[0] for subdir in d.live]
        text = b"".join([os.fsencode(prefix) + b"\0" for prefix in prefixes])
        self._prefixes, at = machine.block(text + b"\0")
        most, name = _ASKED.unpack(self.by_path)[:2]
        self.by_name = _ASKED.pack(most, name, at, *self._cached)
        return True

    def look(self, scope: Scope) -> None:
        """Make ready for another global scope."""
        space = self.space
        self.tabled, tables = tables_of_scope(scope.modules, space.ns, space.process.kernel)
        self.tables = struct.pack(f"<{len(tables)}Q", *tables)
        self.members = set(scope.modules)
        self.scope = scope


def open_at_once(
    space: Space, name: str, *, everywhere: bool = False
) -> tuple[Module, tuple[int, ...]] | None:
    """dlopen(*name*, RTLD_NOW): the module, and its initialisers, which the caller is to call. None: go the long way.

    *everywhere*: with RTLD_GLOBAL. The caller holds the process's lock.
    """
    process, plan = space.process, space.plan
    if plan is None:
        try:
            plan = Plan(space)
        except GiveUp:
            plan = False
        space.plan = plan
    if (
        not plan
        or name in space.ns.by_name
        or not space.quick
        or process.debugging
        or process.leaving
    ):
        return None
    encoded = name.encode() if name.isascii() else b""
    if not 0 < len(encoded) < _LONGEST or b"\0" in encoded or b"$" in encoded:
        return None
    if b"/" in encoded:
        given = plan.by_path
    elif plan.by_name or plan.settle():
        given = plan.by_name
    else:
        return None
    desk = plan.desk
    desk[: _ASKED.size] = given
    desk[_NAME_AT : _NAME_AT + len(encoded) + 1] = encoded + b"\0"
    if process.kernel.open(plan.desk_at):
        return None
    file = _FILE.unpack_from(desk, _FILE_AT)
    linked = None
    try:
        linked = _link(plan, file)
    except GiveUp:
        return None
    finally:
        if linked is None:
            machine.unmap(file[6], file[7])
            os.close(file[0])
    entered = _enter(plan, name, file, linked)
    if everywhere:
        make_global(space.ns, space.opened.lists[entered[0]])
    return entered


def _link(plan: Plan, file: tuple[int, ...]) -> Linked:
    """Bind and relocate what was mapped, or GiveUp."""
    desk = plan.desk
    ns, process = plan.space.ns, plan.space.process
    known, kernel = ns.by_name, process.kernel
    path = os.fsdecode(machine.read_string(file[1]))
    soname = os.fsdecode(machine.read_string(file[13])) if file[13] else None
    identity = file[3], file[4]
    if path in known or identity in ns.by_identity or identity in ns.search._files:
        raise GiveUp
    if is_hosted(soname or path):
        raise GiveUp
    # Its needs, and where its references are looked up (elf/load.py, load_needed; elf/dlopen.py, scope_of).
    needed: list[Module] = []
    providers = []
    for need in desk[_TEXT_AT : file[14] - plan.desk_at].split(b"\0")[:-1]:
        other = known.get(os.fsdecode(need))
        if other is None or other.init_index < 0:
            raise GiveUp
        providers.append(table_at(other, ns, kernel))
        if other not in needed:
            needed.append(other)
    order = [*needed]
    for other in order:
        if other.filters:
            raise GiveUp
        for further in other.needed:
            if further not in order:
                order.append(further)
    if plan.scope is not ns.global_scope:
        plan.look(ns.global_scope)
    members = plan.members
    record, record_at = machine.block(_RECORD)
    rest = [other for other in order if other not in members]
    tables = [record_at, *[table_at(other, ns, kernel) for other in rest]]
    scope = plan.tables + struct.pack(f"<{len(tables)}Q", *tables)
    if len(scope) > 8 * _MOST_SCOPE:
        raise GiveUp
    desk[_SCOPE_AT : _SCOPE_AT + len(scope)] = scope
    struct.pack_into(f"<{len(providers)}Q", desk, _PROVIDERS_AT, *providers)
    _WORD.pack_into(desk, _RECORD_AT, record_at)
    _WORD.pack_into(desk, _ANSWERS_AT, len(scope) // 8)
    # One more row in the tables of unwinders is enough where it is the last.
    at_end = plan.space is process.spaces[-1] and process.waiting
    _TABLES.pack_into(desk, _TABLES_AT, *(process.code.published() if at_end else (0, 0, 0)))
    if kernel.link(plan.desk_at + _LINK_AT):
        raise GiveUp
    return path, soname, needed, order, record, record_at


def _enter(
    plan: Plan, name: str, file: tuple[int, ...], linked: Linked
) -> tuple[Module, tuple[int, ...]]:
    """The same entries that ``Loading.commit`` makes; from here on nothing fails. The module, its initialisers."""
    space, desk = plan.space, plan.desk
    ns, process, opened = space.ns, space.process, space.opened
    path, soname, needed, order, record, record_at = linked
    _nscope, ninit, nfini, nused = _ANSWERS.unpack_from(desk, _ANSWERS_AT)
    functions = struct.unpack_from(f"<{ninit + nfini}Q", desk, _FUNCTIONS_AT)
    module = Module(None, path, len(ns.modules))
    del module.file, module.found
    module.late = late = Late(plan, name, file, record_at)
    module.soname = soname
    module.aliases = {name, path, soname} if soname else {name, path}
    module.loader = ns.main
    module.needed = needed
    module.scopes = (ns.global_scope,)
    module.base = file[8]
    for alias in module.aliases:
        ns.by_name.setdefault(alias, module)
    ns.by_identity[late.identity] = module
    ns.modules.append(module)
    module.init_index = len(ns.modules)
    rest = [other for other in order if other not in plan.members]
    order.insert(0, module)
    opened.counts[module] = 1
    opened.lists[module] = order
    for other in order:
        opened.groups[other] = [*opened.groups.get(other, ()), order]
    if not all(other.hosted for other in needed):
        space.order.opened(module, order)
    else:  # the order of what is never finished by us is nobody's business
        space.order.lists[module] = [*order]
    if nused:
        searched = [*plan.tabled, module, *rest]
        used = [searched[k] for k in struct.unpack_from(f"<{nused}I", desk, _USED_AT)]
        bound = [other for other in used if not other.hosted]
        if bound:
            opened.extra[module] = set(bound)
        for other in bound:
            if other not in opened.pinned:
                space.order.depends(module, other)
    space.maps[module] = at = record_at + _MAP_AT
    process.by_map[at] = space, module
    process.keep[module] = [record]
    space.rows[module] = record[_FOUND_AT:_OBJECT_AT], record[_OBJECT_AT:_PATH_AT]
    space.finis[module] = [*functions[ninit:]]
    space.initialised.add(module)
    if _WORD.unpack_from(desk, _TABLES_AT)[0]:
        process.adds += 1
        process.code.grown()
    else:
        process.publish()
    return module, functions[:ninit]


def symbol_at_once(space: Space, module: Module, name: str) -> int:
    """The address that dlsym(*module*, *name*) gives; 0: go the long way."""
    plan, lock = space.plan, space.process.lock
    # Nothing may be unmapped meanwhile; and who holds the lock may be waiting for us.
    if not plan or not name.isascii() or "\0" in name or not lock.acquire(blocking=False):
        return 0
    try:
        scope = space.opened.lists.get(module)
        if scope is None or module not in space.maps or module in space.deferred:
            return 0
        known = plan.blocks.get(module)
        if known is None or known[0] is not scope or known[1] != len(scope):
            known = plan.blocks[module] = _scope_block(plan, scope)
        return space.process.kernel.symbol(known[3], known[4], name.encode())
    finally:
        lock.release()


def _scope_block(plan: Plan, scope: list[Module]) -> tuple[list[Module], int, Any, int, int]:
    """(scope, its length, memory with the tables of its modules, where that is, how many)."""
    space = plan.space
    try:
        tables = [table_at(module, space.ns, space.process.kernel) for module in scope]
    except GiveUp:
        tables = []
    block, at = machine.block(struct.pack(f"<{len(tables) + 1}Q", *tables, 0))
    return scope, len(scope), block, at, len(tables)
