"""dlopen in this process, from the name to the modules whose initialisers are to run."""

from __future__ import annotations

from rtld.backends import inprocess as machine
from rtld.elf.dlopen import RTLD_GLOBAL, RTLD_NOW, make_global
from rtld.elf.models import is_qnx, loads_needs
from rtld.errors import UnresolvedSymbol
from rtld.process.inprocess.close import collect, initialise
from rtld.process.inprocess.load import RTLD_LAZY, RTLD_LAZYLOAD, Loading
from rtld.process.inprocess.quiet import Quiet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.core.module import Module
    from rtld.process.inprocess.space import Space


def open_library(
    space: Space, name: str, flags: int, requester: Module | None = None, root: Module | None = None
) -> tuple[Module, list[Module]] | None:
    """dlopen: the module opened, and those whose initialisers the caller is to run. None: RTLD_NOLOAD and not there.

    *root*: the module itself, where it has no name to be found by.
    """
    if flags & RTLD_LAZYLOAD:
        try:
            return _open(
                Loading(space, flags & ~RTLD_NOW | RTLD_LAZY, alone=True), name, requester, root
            )
        except UnresolvedSymbol:
            if root is not None:
                raise
            # A variable of something it needs: that cannot wait.
    alone = not loads_needs(space.model, flags)
    if is_qnx(space.model) and not alone and root is None:
        # DF_P1_LAZYLOAD: what is marked is left until a symbol of it is needed, if its symbols can wait.
        loading = Loading(space, flags)
        loading.ns.lazy_load = True
        try:
            return _open(loading, name, requester, root)
        except UnresolvedSymbol:
            if not loading.ns.postponed:
                raise
    return _open(Loading(space, flags, alone=alone), name, requester, root)


def _open(
    loading: Loading, name: str, requester: Module | None, root: Module | None
) -> tuple[Module, list[Module]] | None:
    space, flags = loading.space, loading.flags
    if root is not None:
        loading.ns.by_name[name] = root
    try:
        group = loading.find(
            name, requester or space.ns.main, noload=bool(flags & machine.RTLD_NOLOAD)
        )
        if group is None:
            return None
        if loading.own:
            if space.hooks is not None:
                space.hooks.activity("add")
            loading.map()
            loading.relocate()
            loading.resolve_ifuncs()
            if space.hooks is not None:
                from rtld.process.inprocess.hooks import audit_group

                audit_group(loading)
            elif not flags & RTLD_NOW and loading.link is None:
                from rtld.process.inprocess.lazy import leave_lazy

                leave_lazy(loading)
            loading.protect()
        if flags & RTLD_GLOBAL:
            # What has a search list of its own offers that one, and only once (elf/dl-open.c, dl_open_worker_begin).
            own = space.opened.lists.get(group.root)
            if own is None or group.root not in loading.ns.global_scope.modules:
                make_global(loading.ns, own or group.order)
        loading.promote()
        order = loading.commit()
    except BaseException:
        loading.undo()
        raise
    counts = space.opened.counts
    counts[group.root] = counts.get(group.root, 0) + 1
    if space.hooks is not None:
        _tell_hooks(loading)
    return group.root, order


def _tell_hooks(loading: Loading) -> None:
    """``objopen`` for each new module; what is raised there takes all back."""
    space = loading.space
    try:
        for module in loading.own:
            space.hooks.objopen(module)
        if loading.own:
            space.hooks.activity("consistent")
    except BaseException:
        # They have not been initialised, so there is nothing to finish.
        for module in loading.own:
            space.finis.pop(module, None)
        space.opened.counts[loading.group.root] -= 1
        collect(space)
        raise


def load_deferred(space: Space, module: Module) -> bool:
    """Load the next library that *module* needs and that was left until now; False if there is none."""
    waiting = space.deferred.get(module)
    if not waiting:
        return False
    name = waiting.pop(0)
    with space.process.lock:
        try:
            with Quiet(space):
                opened = open_library(space, name, RTLD_LAZYLOAD | RTLD_LAZY, module)
        except BaseException:
            waiting.insert(0, name)
            raise
        assert opened is not None
        needed, order = opened
        space.opened.counts[needed] -= 1
        module.needed.append(needed)
        # It is part of the group now: the same list object is in the scopes of all its members.
        group = space.opened.lists.setdefault(module, [module])
        group += [m for m in space.opened.lists.get(needed, [needed]) if m not in group]
        initialise(space, order)
    return True
