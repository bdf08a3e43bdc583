"""What a live process asks of its dynamic linker, answered: dlopen, dlmopen, dlclose, dlerror, the first call of a function.

A service is a generator: it yields lists of calls (``List``) for the asking thread to work off, gets their results, and
returns what the C function is to return. So files are mapped, resolvers and initialisers called, by the thread itself.
DlError becomes the thread's ``dlerror``. What glibc itself would say and do: dlfcn(3), elf/dl-open.c, dlfcn/dlerror.c.
``asking.py`` has the services that change nothing.
"""

from __future__ import annotations

import os

from rtld.backends.child.live_anchor import CALL, List
from rtld.elf.dlopen import (
    RTLD_GLOBAL,
    RTLD_LAZY,
    RTLD_NODELETE,
    RTLD_NOLOAD,
    RTLD_NOW,
    DlError,
    copy_namespace,
    make_global,
    note_group,
    open_group,
    remove,
    unreachable,
)
from rtld.elf.search import Search, SearchOptions
from rtld.errors import RtldError, TargetFault
from rtld.process.hosting import is_hosted
from rtld.process.live.asking import LM_ID_BASE, Asking
from rtld.process.live.loading import Loading, tell_scopes, unload_calls
from rtld.process.live.world import FINI, INIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

    from rtld.backends.child.channel import Channel, Request
    from rtld.backends.child.ptrace import Memory
    from rtld.core.module import Module, Namespace
    from rtld.elf.dlopen import Group, Opened
    from rtld.process.live.world import World

    Steps = Generator[List, list[int], int]

LM_ID_NEWLM = (1 << 64) - 1
FAILURE = {"dlclose": -1, "dlinfo": -1}
_CLEARS = (
    "dlopen",
    "dlmopen",
    "dlsym",
    "dlvsym",
    "dlclose",
    "dlinfo",
)  # what was wrong before is forgotten


class Service(Asking):
    """All services of one process, for one World."""

    def __init__(self, world: World, channel: Channel, argv0: str, memory: Memory) -> None:
        super().__init__(world, channel, argv0, memory)
        self.errors: dict[int, str] = {}  # thread -> what dlerror will say
        self.said: dict[int, tuple[int, int]] = {}  # thread -> the string it said last
        self.closing = self.close_again = False  # dl_close_state of elf/dl-close.c

    # -- dlerror --------------------------------------------------------------------------------------

    def dlerror(self, request: Request) -> Steps:
        text = self.errors.pop(request.tid, None)
        old = self.said.pop(request.tid, None)
        if old is not None:
            self.world.heap.free(*old)
        if text is None:
            return 0
        data = os.fsencode(text) + b"\0"
        at = self.world.heap.allocate(len(data))
        self.memory.write(at, data)
        self.said[request.tid] = (at, len(data))
        return at
        yield

    # -- dlopen, dlclose --------------------------------------------------------------------------------

    def dlopen(self, request: Request) -> Steps:
        path, flags = request.args[0], request.args[1] & 0xFFFFFFFF
        number = self.world.home.get(self.caller(request), LM_ID_BASE)
        return (yield from self._open(request, path, flags, number))

    def dlmopen(self, request: Request) -> Steps:
        number, path, flags = request.args[0], request.args[1], request.args[2] & 0xFFFFFFFF
        world = self.world
        if number == LM_ID_NEWLM:
            if not path:
                raise DlError("invalid namespace")
            world.namespaces += 1
            number = world.namespaces
        elif number != LM_ID_BASE and number not in world.spaces:
            raise DlError("invalid target namespace in dlmopen()")
        return (yield from self._open(request, path, flags, number))

    def _open(self, request: Request, path: int, flags: int, number: int) -> Steps:
        world = self.world
        name = self.string(path) if path else ""
        if not flags & (RTLD_LAZY | RTLD_NOW) and world.ns.model != "musl":
            text = "invalid mode for dlopen(): Invalid argument"
            raise DlError(f"{name}: {text}" if name else text)
        if not name:
            return self._open_program(flags)
        ns, opened = world.space(number)
        trial, opened = copy_namespace(ns), opened.copy()
        trial.search = self._search(trial.search)
        reporter = trial.reporter
        reporter.about(world.pid, number)
        reporter.hold()
        try:
            reporter.opening()
            group = open_group(trial, name, self.caller(request), noload=bool(flags & RTLD_NOLOAD))
            if group is None:
                return 0
            known = group.root in opened.lists
            initialised = yield from self._load(trial, opened, group, flags, number)
        finally:
            reporter.release()
        if initialised:
            yield from self._initialise(initialised)
            # They may have opened more.
            trial, opened = world.space(number)
        if known:
            reporter.opened(group.root, opened.counts[group.root])
        if flags & RTLD_GLOBAL:
            self._make_global(trial, group.order)
        if not known:
            reporter.opened(group.root, opened.counts[group.root])
        return world.maps[group.root]

    def _open_program(self, flags: int) -> int:
        """dlopen(NULL)."""
        world = self.world
        main, counts = world.ns.main, world.opened.counts
        if flags & RTLD_GLOBAL:
            make_global(world.ns, [main])
        counts[main] = counts.get(main, 0) + 1
        world.ns.reporter.about(world.pid)
        world.ns.reporter.opened(main, counts[main])
        return world.maps[main]

    def _load(
        self, trial: Namespace, opened: Opened, group: Group, flags: int, number: int
    ) -> Generator[List, list[int], list[Module]]:
        """Make *trial* the namespace, with what is new of *group* in it; returns whose initialisers are to be called."""
        world = self.world
        initialised: list[Module] = []
        if group.new:
            for module in group.new:
                module.hosted = is_hosted(module, trial)
            if number and not trial.global_scope.modules:
                make_global(trial, group.order)
            loading = Loading(self, trial, group, flags, opened, number)
            yield from loading.steps()
            initialised = loading.initialised
        else:
            first = group.root not in opened.lists
            if first:
                world.order.opened(group.root, group.order)
                trial.reporter.release()
                tell_scopes(trial, opened, group, flags)
                world.tell_kept(trial)
            self.change()
            trial.bindings = None
            note_group(trial, opened, group)
            if first and not self.exiting:
                # Its list counts from now on in the order of termination.
                self.memory.write_many(world.fini_array())
        opened.counts[group.root] = opened.counts.get(group.root, 0) + 1
        if flags & RTLD_NODELETE:
            opened.pinned.add(group.root)
        world.set_space(number, trial, opened)
        return initialised

    def _make_global(self, ns: Namespace, modules: list[Module]) -> None:
        """RTLD_GLOBAL; nobody sees it before the initialisers have run (elf/dl-open.c, add_to_global_update)."""
        have = set(ns.global_scope.modules)
        make_global(ns, modules)
        for module in modules:
            if module not in have:
                ns.reporter.made_global(module)

    def _search(self, search: Search) -> Search:
        """The search as the process would make it: from its directory, in its root."""
        cwd = os.readlink(f"/proc/{self.world.pid}/cwd")
        root = f"/proc/{self.world.pid}/root"
        here, there = os.stat("/"), os.stat(root + "/.")
        if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino):
            search.cwd = cwd
            return search
        if search.sysroot is None:
            old = search.options
            options = SearchOptions(
                library_path=old.library_path, env=search.env, model=old.model, sysroot=root
            )
            search = Search(options, search.main, search.main_path)
            assert search.sysroot is not None
            search.sysroot.outside = None
        assert search.sysroot is not None
        outside = search.sysroot.root
        search.cwd = cwd.removeprefix(outside) or "/" if cwd.startswith(outside) else cwd
        return search

    def _initialise(self, modules: list[Module]) -> Steps:
        """Run initialisers; nested requests of the thread are served meanwhile."""
        world = self.world
        functions = []
        for module in modules:
            functions += world.told_before(INIT, module, world.inits.pop(module, []))
        if functions:
            calls = self.calls(len(functions))
            argc, argv, envp = world.arguments
            for function, told in functions:
                calls.add(CALL, function, told or argc, argv, envp)
            calls.final = True
            yield calls
        return 0

    def dlclose(self, request: Request) -> Steps:
        world = self.world
        module = self.module(request.args[0])
        if world.ns.model == "musl":
            return 0  # musl never takes anything away
        number = world.home.get(module, LM_ID_BASE)
        _ns, opened = world.space(number)
        if opened.counts.get(module, 0) <= 0:
            if module in opened.startup:
                self._still_open(module, 0)
                return 0
            raise DlError(f"{self.name(module)}: shared object not open")
        self.change()
        opened.counts[module] -= 1
        if self.exiting:
            return 0  # ld.so keeps everything while it calls the termination functions of all
        if self.closing:
            # Asked by a termination function: the close that is under way takes another look.
            self.close_again = True
            self._still_open(module, opened.counts[module])
            return 0
        if opened.counts[module] > 0:
            self._still_open(module, opened.counts[module])
        self.closing = self.close_again = True
        try:
            while self.close_again:
                self.close_again = False
                yield from self._unload(number)
        finally:
            self.closing = False
        return 0

    def _still_open(self, module: Module, count: int) -> None:
        reporter = self.world.ns.reporter
        reporter.about(self.world.pid, self.world.home.get(module, LM_ID_BASE))
        reporter.closing(module, count)

    def _unload(self, number: int) -> Steps:
        """Terminate and unmap what nothing keeps any more."""
        world = self.world
        ns, opened = world.space(number)
        loose = set(unreachable(ns, opened))
        if not loose:
            return 0
        # Dependents first, as ld.so sorts all that is loaded.
        own = [module for module in ns.modules if not module.hosted]
        going = [module for module in world.order.sort(own, for_fini=True) if module in loose]
        functions = []
        for gone in going:
            functions += world.told_before(FINI, gone, world.finis.pop(gone, []))
        self.memory.write_many(world.fini_array())
        if functions:
            calls = self.calls(len(functions))
            for function, told in functions:
                calls.add(CALL, function, told)
            calls.final = True
            yield calls
        # Who was opened again by a termination function stays.
        ns, opened = world.space(number)
        loose = set(unreachable(ns, opened))
        going = [module for module in going if module in loose]
        for gone in going:
            world.ns.reporter.removed(gone)
        remove(ns, opened, going)
        world.forget(going)
        world.subs += len(going)
        written = [*world.link_records(), *world.tables()]
        if not self.exiting:
            written += world.fini_array()  # without them the rest may be in another order
        self.memory.write_many(written)
        calls = self.calls(3 * len(going) + 2)
        unload_calls(world, going, calls)
        yield calls
        return 0

    # -- lazy binding ---------------------------------------------------------------------------------------

    def bind(self, request: Request) -> Steps:
        """The first call through a PLT slot: GOT[1] of the module, index of the record in DT_JMPREL."""
        from rtld.process.live.lazy import resolve_slot

        module = self.module(request.args[0])
        return (yield from resolve_slot(self, module, request.args[1]))

    # -- errors -----------------------------------------------------------------------------------------------

    def attempt(self, request: Request, name: str) -> Steps:
        """Serve one request; what goes wrong is left for dlerror."""
        if name in _CLEARS:
            self.errors.pop(request.tid, None)
        try:
            result: int = yield from getattr(self, name)(request)
            return result
        except DlError as error:
            self.errors[request.tid] = error.text
        except (RtldError, TargetFault, OSError, MemoryError) as error:
            self.errors[request.tid] = f"rtld: {error}"
        return FAILURE.get(name, 0)
