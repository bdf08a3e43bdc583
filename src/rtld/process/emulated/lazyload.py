"""Lazy loading: a library is not opened before a symbol of it is needed (Palmer's lecture; Solaris, QNX: RTLD_LAZYLOAD).

    rtld run --lazy-load --trace=files,bindings ./program

At the start everything that a module needs is left out, but for the libc family, which ld.so starts, and for libraries with a
variable that somebody refers to: variables cannot wait. A function's first call comes through its PLT slot to
``slots.Slots``; if nobody has it then, ``load_for`` opens who has, in the guest that is running.
"""

from __future__ import annotations

import os

import numpy as np

from rtld.elf.dlopen import RTLD_GLOBAL, RTLD_LAZY, copy_namespace
from rtld.elf.load import _add, binds_now, build_scopes, find_module, is_libc_family, load_needed
from rtld.elf.resolve import UNDEFINED, resolve_symbols
from rtld.elf.scalar import dynsym, gnu_hash
from rtld.errors import FormatError, NotFound, RtldError
from rtld.events import QUIET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rtld.core.module import Module, Namespace
    from rtld.process.emulated.guest import Guest


class Leaving:
    """Which needs are left out: all but those that turned out to be needed at once."""

    def __init__(self) -> None:
        self.wanted: set[tuple[str, str]] = set()  # (path of who needs it, name)

    def __call__(self, module: Module, name: str) -> bool:
        base = name.rpartition("/")[2]
        if is_libc_family(base) or base.startswith("libgcc_s.so"):
            return False
        return (module.path, name) not in self.wanted


def find_closure_lazily(find: Callable[[Leaving, bool], Namespace]) -> Namespace:
    """The closure without what can wait. *find* makes one, told what to leave out, and whether it is the last."""
    leaving = Leaving()
    while True:
        ns = find(leaving, False)
        before = len(leaving.wanted)
        for module, name, version in _wanted_at_once(ns) if ns.postponed else ():
            found = who_has(ns, ns.postponed, module, name, version)
            if found is not None:
                leaving.wanted.add((found[0].path, found[1]))
        if len(leaving.wanted) == before:
            return find(leaving, True)


def _wanted_at_once(ns: Namespace) -> list[tuple[Module, bytes, bytes | None]]:
    """(referrer, name, version) of what nobody has yet, and what is not a function whose slot can wait."""
    from rtld.elf.lookup import Columns

    trial = copy_namespace(ns)
    trial.reporter = QUIET
    build_scopes(trial)
    trial.columns = Columns(trial.modules)
    own = [module for module in trial.modules if not module.hosted]
    trial.relocations, b = resolve_symbols(trial, own, trial.global_scope.modules)
    trial.bindings = b
    rows = dict.fromkeys(undefined_at_once(trial, now=not ns.lazy))
    versions = {row: b.version_name(row) for _, row in rows}
    return [
        (module, os.fsencode(b.name(row)), os.fsencode(version) if version else None)
        for module, row in rows
        for version in (versions[row],)
    ]


def who_has(
    ns: Namespace,
    postponed: dict[Module, list[str]],
    first: Module,
    name: bytes,
    version: bytes | None,
    lost: list[RtldError] | None = None,
) -> tuple[Module, str] | None:
    """(who needs it, its name) of the library that was left out and that has a symbol, or needs one that has it.

    The needs of *first* are asked before others. Files are only looked at; *lost* gets what was wrong with some.
    """
    hashed = gnu_hash(name)
    for owner in dict.fromkeys((first, *ns.modules)):
        for need in postponed.get(owner, ()):
            trial = copy_namespace(ns)
            trial.reporter, trial.leaves_out, trial.lazy_load = QUIET, None, False
            try:
                root = find_module(trial, need, owner)
            except (NotFound, FormatError) as error:
                if lost is not None:
                    lost.append(error)
                continue  # who has the symbol may be another
            if root.index < 0:
                _add(trial, root)
            for module in load_needed(trial, [root]):
                if module not in ns.global_scope.modules and dynsym(module.file).lookup(
                    name, version, hashed, newest=False, plt=True, base=True
                ):
                    return owner, need
    return None


def undefined_at_once(ns: Namespace, *, now: bool) -> Iterator[tuple[Module, int]]:
    """(referrer, row in ``bindings``) of references that cannot wait for a first call, and have no definition."""
    r, b, slot = ns.relocations, ns.bindings, ns.arch.reloc_types.jump_slot
    if not len(b):
        return
    modules = ns.columns.modules
    eager = np.array([now or binds_now(module) for module in modules], np.bool_)
    rows = (r.reference >= 0) & (b.kind == UNDEFINED)[r.reference]
    rows &= (r.type != slot) | eager[r.module]
    for row in np.flatnonzero(rows).tolist():
        module = modules[int(r.module[row])]
        if not module.hosted:
            yield module, int(r.reference[row])


def load_for(
    guest: Guest,
    module: Module,
    name: str,
    version: str | None,
    lost: list[RtldError] | None = None,
) -> bool:
    """Open the library that was left out and has what *module* refers to; False if there is none.

    It becomes part of the group of who needs it: of the global scope, if that one is in it. RtldError when it cannot be
    opened.
    """
    if not any(guest.postponed.values()):
        return False
    wanted = os.fsencode(version) if version else None
    found = who_has(guest.ns, guest.postponed, module, os.fsencode(name), wanted, lost)
    if found is None:
        return False
    owner, need = found
    guest.reporter.lazy_loading(need, owner, name)
    everybody = owner in guest.ns.global_scope.modules
    needed = guest.open(need, RTLD_LAZY | (RTLD_GLOBAL if everybody else 0), owner)
    if need in guest.postponed[owner]:
        guest.postponed[owner].remove(need)
    opened = guest.opened
    opened.counts[needed] -= 1
    if needed not in owner.needed:
        owner.needed.append(needed)
    group = opened.lists.get(owner)
    if everybody:
        # Part of the program, as if it had been there from the start: RTLD_NEXT meets it, and it never goes.
        have = set(opened.startup)
        opened.startup += [m for m in opened.lists.get(needed, [needed]) if m not in have]
    elif group is not None:
        # The same list object is in the scopes of all members.
        group += [m for m in opened.lists.get(needed, [needed]) if m not in group]
    return True
