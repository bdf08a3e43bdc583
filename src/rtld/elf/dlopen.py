"""Opening more modules in a namespace that is running: groups, their scopes, reference counts, and look-up by handle.

glibc's rules (elf/dl-open.c, dl-close.c, dl-sym.c, dl-lookup.c): what one ``dlopen`` names is a group, the breadth-first walk of
its DT_NEEDED; members see the global scope and then their group, with RTLD_DEEPBIND the group first; RTLD_GLOBAL appends the
group to the global scope. A module goes when nothing that was opened directly, or can never go, leads to it any more.

Nothing here touches a process: modules get addresses and images from the caller, between ``open_group`` and ``bind_group``.
"""

from __future__ import annotations

from rtld.core.module import Namespace, Scope
from rtld.elf import types as t
from rtld.elf.initfini import sort_dfs, sort_musl
from rtld.elf.load import _add, find_module, is_symbolic, load_needed
from rtld.elf.models import MODELS
from rtld.elf.scalar import dynsym, gnu_hash
from rtld.elf.words import when_opened
from rtld.errors import FormatError, NotFound, RtldError
from rtld.events import QUIET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from rtld.core.module import Module
    from rtld.elf.small import SmallLink

# <dlfcn.h>
# fmt: off
RTLD_LAZY, RTLD_NOW, RTLD_NOLOAD, RTLD_DEEPBIND, RTLD_GLOBAL, RTLD_NODELETE = 1, 2, 4, 8, 0x100, 0x1000
# fmt: on


class DlError(RtldError):
    """What ``dlerror`` will say."""

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(text)

    def __str__(self) -> str:
        return self.text


class Group:
    """One ``dlopen``: the root, its search list, and the modules that are new."""

    __slots__ = ("new", "order", "root")

    def __init__(self, root: Module, order: list[Module], new: list[Module]) -> None:
        self.root = root
        self.order = order
        self.new = new


class Opened:
    """What a running namespace knows besides its modules.

    startup     modules that were there when the program started: they never go
    counts      module -> how often it has been opened directly
    pinned      modules that never go (RTLD_NODELETE, DF_1_NODELETE, definers of STB_GNU_UNIQUE symbols in use, ...)
    groups      module -> the search lists it was loaded with, its local scopes
    lists       root -> its search list
    extra       module -> modules its references were bound to outside its own needs
    """

    __slots__ = ("counts", "extra", "groups", "lists", "pinned", "startup")

    def __init__(self, startup: Iterable[Module]) -> None:
        self.startup = list(startup)
        self.counts: dict[Module, int] = {}
        self.pinned: set[Module] = set()
        self.groups: dict[Module, list[list[Module]]] = {}
        self.lists: dict[Module, list[Module]] = {}
        self.extra: dict[Module, set[Module]] = {}

    def copy(self) -> Opened:
        other = Opened(self.startup)
        other.counts = dict(self.counts)
        other.pinned = set(self.pinned)
        other.groups = dict(self.groups)  # lists are replaced, never changed
        other.lists = dict(self.lists)
        other.extra = dict(self.extra)
        return other


#: The fields of a ``Namespace`` that are changed in place.
_CONTAINERS = [
    name for name, value in vars(Namespace("", None, QUIET)).items() if type(value) in (dict, list)
]


def copy_namespace(ns: Namespace) -> Namespace:
    """The same modules in a namespace that can be changed alone; search and symbol columns are shared."""
    other = Namespace.__new__(Namespace)
    fields = vars(other)
    fields.update(vars(ns))
    for name in _CONTAINERS:
        fields[name] = fields[name].copy()
    other.problems = []
    return other


def open_group(
    ns: Namespace, name: str, requester: Module, *, noload: bool = False
) -> Group | None:
    """Find *name* and what it needs. *ns* is to be a copy: it is left half changed when this raises DlError.

    None: it is not loaded, and *noload* asked for no more.
    """
    before = len(ns.problems)
    known = set(ns.modules)
    try:
        root = find_module(ns, name, requester)
    except NotFound as error:
        if ns.model == "musl":
            what = (
                f"Library {name} is not already loaded"
                if noload
                else f"Error loading shared library {name}: {error.reason}"
            )
            raise DlError(what) from None
        if noload:
            return None
        raise DlError(str(error)) from None
    except FormatError as error:
        raise DlError(when_opened(error)) from None
    if root not in known:
        if noload and ns.model == "musl":
            raise DlError(f"Library {name} is not already loaded")
        if noload:
            return None
        _refuse(ns, root)
        _add(ns, root)
    order = load_needed(ns, [root])
    missing = [p for p in ns.problems[before:] if p.kind == "library" and p.fatal]
    if missing and ns.model == "musl":
        problem = missing[0]
        reason = problem.message.rpartition(": ")[2]
        raise DlError(
            f"Error loading shared library {problem.subject}: {reason} (needed by {problem.module})"
        )
    if missing:
        raise DlError(when_opened(ns.missing[missing[0].subject][0][1]))
    new = [module for module in ns.modules if module not in known]
    for module in new:
        module.init_index = len(ns.modules)
        if module is not root:
            _refuse(ns, module)
    return Group(root, order, new)


def _refuse(ns: Namespace, module: Module) -> None:
    """What is not let be opened, or needed by what is opened (elf/dl-load.c, _dl_map_object_from_fd).

    musl, bionic and QNX do not look at DF_1_PIE and DF_1_NOOPEN.
    """
    file = module.file
    flags = file.dt_flags_1
    looks = ns.model in ("glibc", "freebsd")
    if file.type == t.ET_EXEC:
        why = "cannot dynamically load executable"
    elif looks and flags & t.DF_1_PIE:
        why = "cannot dynamically load position-independent executable"
    elif looks and flags & t.DF_1_NOOPEN:
        why = "shared object cannot be dlopen()ed"
    elif file.dynamic is None:
        why = "object file has no dynamic section"
    else:
        return
    # The name it was asked for by, which may be no path.
    asked = [name for (_, name), found in ns.searches.items() if found is module.found]
    raise DlError(f"{asked[0] if asked and module.found is not None else module.path}: {why}")


def initialisers(ns: Namespace, group: Group) -> list[Module]:
    """The group's new modules, dependencies first."""
    if ns.model == "musl":
        order = sort_musl([group.root])
    else:
        # Its filtees stand before the root, but it is the last to be initialised.
        first = [group.root, *[module for module in group.order if module is not group.root]]
        order = sort_dfs(first, force_first=True)[::-1]
    new = set(group.new)
    return [module for module in order if module in new and not module.hosted]


def scope_of(ns: Namespace, group: Group, flags: int) -> list[Module]:
    """Where the group's references are looked up."""
    first, second = ns.global_scope.modules, group.order
    if flags & RTLD_DEEPBIND:
        first, second = tuple(second), list(first)
    return list(dict.fromkeys([*first, *second]))


def bind_group(ns: Namespace, group: Group, flags: int) -> None:
    """Versions and references of the new modules; DlError for what would fail now."""
    from rtld.elf.resolve import resolve_symbols
    from rtld.elf.versions import check_versions

    new = [module for module in group.new if not module.hosted]
    everything = ns.modules
    ns.modules = new
    try:
        check_versions(ns)
    finally:
        ns.modules = everything
    for problem in ns.problems:
        if problem.kind == "version" and problem.fatal:
            raise DlError(problem.message)
    for module in group.new:
        module.scopes = (ns.global_scope,)
        if MODELS[ns.model].symbolic and is_symbolic(module):
            module.scopes = (Scope("self", (module,)), ns.global_scope)
    if ns.columns is None:
        from rtld.elf.lookup import Columns

        ns.columns = Columns(ns.modules)
    else:
        # Not only the new ones: others may have been bound without columns (small.py).
        known = set(ns.columns.modules)
        ns.columns.extend([module for module in ns.modules if module not in known])
    ns.relocation_order = sort_dfs(group.new, force_first=False)[::-1]
    ns.relocations, ns.bindings = resolve_symbols(ns, new, scope_of(ns, group, flags))
    _keep_unique(ns)


def _keep_unique(ns: Namespace) -> None:
    """STB_GNU_UNIQUE: one definition of a name in all scopes, that which was used first."""
    import numpy as np

    from rtld.elf.resolve import UNIQUE

    b = ns.bindings
    numbers: dict[Module, int] = {}
    for row in np.flatnonzero(b.kind == UNIQUE).tolist():
        module, symbol = ns.unique.get(b.name(row), (None, 0))
        if module is not None and module is not b.modules[int(b.definer[row])]:
            numbers = numbers or {m: i for i, m in enumerate(b.modules)}
            b.definer[row], b.definition[row] = numbers[module], symbol


def refuse_undefined(ns: Namespace, group: Group, *, now: bool) -> None:
    """DlError for the first symbol that nobody defines, unless it is a function's that may wait for its first call."""
    from rtld.elf.load import binds_now

    eager = {module.path for module in group.new if now or binds_now(module)}
    for problem in ns.problems:
        if problem.kind == "symbol" and (problem.fatal or problem.module in eager):
            raise DlError(problem.message)


def add_scope(opened: Opened, root: Module, order: list[Module]) -> None:
    """*root*'s search list, a local scope of all in it from now on (elf/dl-open.c, update_scopes)."""
    opened.lists[root] = order
    for module in order:
        lists = opened.groups.setdefault(module, [])
        if not any(other is order for other in lists):
            opened.groups[module] = [*lists, order]


def note_group(ns: Namespace, opened: Opened, group: Group, small: SmallLink | None = None) -> None:
    """Remember local scopes, dependencies by binding, and who can never go. *small*: who bound it, if not columns."""
    add_scope(opened, group.root, group.order)
    for module in group.new:
        if module.file.dt_flags_1 & t.DF_1_NODELETE or module.hosted:
            opened.pinned.add(module)
    if small is not None:
        for (referrer, _symbol, _use), answer in small.answers.items():
            if answer is not None:
                opened.extra.setdefault(referrer, set()).add(answer[0])
        return
    b = ns.bindings
    if not group.new or b is None or not len(b):
        return
    import numpy as np

    from rtld.elf.resolve import UNIQUE

    modules = ns.columns.modules
    found = b.definer >= 0
    pairs = np.unique(b.referrer[found] * len(modules) + b.definer[found])
    for pair in pairs.tolist():
        referrer, definer = modules[pair // len(modules)], pair % len(modules)
        opened.extra.setdefault(referrer, set()).add(modules[definer])
    for number in np.unique(b.definer[(b.kind == UNIQUE) & (b.definer >= 0)]).tolist():
        opened.pinned.add(modules[number])
    pin_thread_destructors(opened, group)


def pin_thread_destructors(opened: Opened, group: Group) -> None:
    """A module that registers destructors of thread-local objects stays: they may run at any thread's end."""
    for module in group.new:
        table = dynsym(module.file)
        if module.file.segment(t.PT_TLS) is None:
            continue
        names = module.file.data
        start, size = module.file.strings() if table.strtab else (0, 0)
        if b"\0__cxa_thread_atexit" in bytes(names[start : start + size]):
            opened.pinned.add(module)


def make_global(ns: Namespace, modules: Iterable[Module]) -> None:
    """RTLD_GLOBAL: append to the global scope what is not in it yet."""
    have = set(ns.global_scope.modules)
    more = [module for module in modules if module not in have]
    if more:
        ns.global_scope = Scope("global", (*ns.global_scope.modules, *more))


def unreachable(ns: Namespace, opened: Opened) -> list[Module]:
    """The modules that nothing keeps any more, dependents first (elf/dl-close.c)."""
    keep: set[Module] = set()
    todo = [
        *opened.startup,
        *opened.pinned,
        *(m for m, count in opened.counts.items() if count > 0),
    ]
    while todo:
        module = todo.pop()
        if module in keep:
            continue
        keep.add(module)
        todo += module.needed
        todo += opened.extra.get(module, ())
        todo += opened.lists.get(module, ())
    going = [module for module in ns.modules if module not in keep and not module.hosted]
    return sort_dfs(going, force_first=False) if going else []


def remove(ns: Namespace, opened: Opened, modules: Sequence[Module]) -> None:
    """Take modules out of every list."""
    gone = set(modules)
    ns.modules = [module for module in ns.modules if module not in gone]
    for index, module in enumerate(ns.modules):
        module.index = index
    ns.by_name = {name: module for name, module in ns.by_name.items() if module not in gone}
    ns.by_identity = {key: module for key, module in ns.by_identity.items() if module not in gone}
    if not gone.isdisjoint(ns.global_scope.modules):
        rest = tuple([m for m in ns.global_scope.modules if m not in gone])
        ns.global_scope = Scope("global", rest)
    ns.unique = {name: where for name, where in ns.unique.items() if where[0] not in gone}
    tables: tuple[dict[Module, Any], ...] = (
        opened.counts,
        opened.groups,
        opened.lists,
        opened.extra,
    )
    for table in tables:
        for module in modules:
            table.pop(module, None)
    _drop_scopes(ns, opened, gone)
    for module in modules:
        identity = module.file.identity if module.late is None else module.late.identity
        if identity is not None:
            ns.search._files.pop(identity, None)


def _drop_scopes(ns: Namespace, opened: Opened, gone: set[Module]) -> None:
    """Local scopes whose root is gone.

    glibc gives a module that came as a dependency a search list of its own in place of the first of them: itself and its
    direct needs. It counts as one that was opened directly from then on (elf/dl-close.c, _dl_close_worker).
    """
    startup = set(opened.startup)
    for module, lists in opened.groups.items():
        kept = [order for order in lists if gone.isdisjoint(order)]
        if len(kept) == len(lists):
            continue
        if ns.model == "glibc" and module not in opened.lists and module not in startup:
            first = next(i for i, order in enumerate(lists) if not gone.isdisjoint(order))
            opened.lists[module] = own = list(dict.fromkeys([module, *module.needed]))
            kept.insert(first, own)
        opened.groups[module] = kept


# -- look-up ------------------------------------------------------------------------------------------


def find_symbol(
    modules: Iterable[Module], name: bytes, version: bytes | None, *, strong_first: bool = False
) -> tuple[Module, int] | None:
    """The first definition in scope order: (module, symbol index). *strong_first*: the first that is not weak, if any."""
    hashed = gnu_hash(name)
    weak = None
    for module in modules:
        table = dynsym(module.file)
        index = table.lookup(name, version, hashed, newest=True)
        if index and strong_first and table.symbol(index).info >> 4 == t.STB_WEAK:
            weak = weak or (module, index)
        elif index:
            return module, index
    return weak


def default_scope(ns: Namespace, opened: Opened, caller: Module) -> list[Module]:
    """RTLD_DEFAULT: the caller's own scopes."""
    order: list[Module] = list(ns.global_scope.modules)
    for group in opened.groups.get(caller, ()):
        order += group
    return list(dict.fromkeys(order))


def next_scope(opened: Opened, caller: Module) -> list[Module]:
    """RTLD_NEXT: what comes after the caller, in the list it was loaded with."""
    lists: list[list[Module]] = [opened.startup, *opened.groups.get(caller, ())]
    for order in lists:
        if caller in order:
            return order[order.index(caller) + 1 :]
    raise DlError("RTLD_NEXT used in code not dynamically loaded")


def handle_scope(ns: Namespace, opened: Opened, module: Module) -> list[Module]:
    """The search list of a handle."""
    if module is ns.main:
        return list(ns.global_scope.modules)
    return opened.lists.get(module) or breadth_first(module)


def breadth_first(root: Module) -> list[Module]:
    """*root* and what it needs, as ``dlopen`` of it would have listed."""
    order = [root]
    seen = {root}
    for module in order:
        for need in module.needed:
            if need not in seen:
                seen.add(need)
                order.append(need)
    return order


def containing(
    modules: Iterable[Module], address: int, span: Callable[[Module], tuple[int, int]]
) -> Module | None:
    """The module one of whose segments has *address*."""
    for module in modules:
        start, end = span(module)
        if start <= address < end and any(
            load.vaddr <= address - module.base < load.vaddr + load.memsz
            for load in module.file.loads
        ):
            return module
    return None
