"""A module's life in a process: attached, counted, detached, gone; threads that begin and end; the loader's lock.

By the rules of dlls/ntdll/loader.c (process_attach, process_detach, MODULE_DecRefCount, LdrUnloadDll): dependencies are attached
first, and whoever is being attached already is left alone, since its DllMain may load what needs it. FreeLibrary inside a
DllMain counts only: what has no reference left goes when the outermost one is done. DllMain runs with the loader's lock
("Dynamic-Link Library Best Practices", learn.microsoft.com): a thread that begins waits for it.

A ring of DLLs goes with the last reference from outside.
"""

from __future__ import annotations

from rtld.backends.windows import kernel32
from rtld.backends.windows.api import Call, Wait
from rtld.backends.windows.guarded import guarded
from rtld.errors import Unsupported
from rtld.pe import types as t

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from typing import Any

    from rtld.backends.windows.peb import Peb
    from rtld.backends.windows.system import System
    from rtld.backends.windows.threads import Thread
    from rtld.pe.module import PeModule

    Task = Generator[Any, Any, Any]

PINNED = -1


class Lock:
    """The loader's lock: of one thread, which may take it again. Taking the token is atomic, for threads of Python's."""

    def __init__(self) -> None:
        self._token = [0]
        self._owner: Any = None
        self._depth = 0

    def take(self, thread: Any) -> Task:
        """Wait for it."""
        while self._owner is not thread:
            try:
                self._token.pop()
            except IndexError:
                yield Wait(lambda: bool(self._token) or self._owner.code is not None)
                if self._owner is not None and self._owner.code is not None:  # ended with it
                    self._owner, self._depth = None, 0
                    self._token[:] = [0]
                continue
            self._owner = thread
        self._depth += 1

    def give(self, thread: Any) -> None:
        """Once less; the others may have it at 0."""
        if self._owner is thread:
            self._depth -= 1
            if not self._depth:
                self._owner = None
                self._token.append(0)


class Lifecycle:
    """The part of ``Loader`` that calls DllMain and counts references."""

    machine: Any
    main: PeModule
    live: list[PeModule]
    system: System
    peb: Peb

    def __init__(self) -> None:
        self.initialised: list[PeModule] = []  # InInitializationOrderModuleList
        self.attached: set[PeModule] = set()
        self.quiet: set[PeModule] = set()  # DisableThreadLibraryCalls
        self.lock = Lock()
        self._attaching: set[PeModule] = set()
        self._freeing = 0  # calls of FreeLibrary inside one another
        self._closing = False
        self.refused: PeModule | None = None  # whose DllMain was the last that did not want to stay

    def locked(self, task: Task) -> Task:
        """The same task with the loader's lock."""
        thread = self.machine.current
        yield from self.lock.take(thread)
        try:
            return (yield from task)
        finally:
            self.lock.give(thread)

    # -- what the loader has ----------------------------------------------------------------------

    _callbacks: Callable[[PeModule, int], Task]

    def _tell_call(self, module: PeModule, reason: int, reserved: int) -> None:
        raise NotImplementedError

    def _forget(self, modules: list[PeModule]) -> None:
        raise NotImplementedError

    def by_handle(self, handle: int) -> PeModule | None:
        raise NotImplementedError

    # -- attach -----------------------------------------------------------------------------------

    def _dll_main(self, module: PeModule, reason: int, reserved: int) -> Task:
        """TLS callbacks, then DllMain; an NTSTATUS: 0 when it wants to stay, an exception's code when it has raised one."""
        yield from self._callbacks(module, reason)
        if not module.file.entry or not module.file.is_dll:
            return 0
        self._tell_call(module, reason, reserved)
        arguments = module.base, reason, reserved
        result, code = yield from guarded(self.system, module.base + module.file.entry, arguments)
        return code or (0 if result & 0xFFFFFFFF else t.STATUS_DLL_INIT_FAILED)

    def attach(self, root: PeModule, reserved: int = 0) -> Task:
        """DLL_PROCESS_ATTACH for a module and what it needs; 0, or the NTSTATUS of ``refused``. *reserved*: they are pinned."""
        stack: list[tuple[PeModule, Iterator[Any]]] = []

        def enter(module: PeModule) -> None:
            if self._closing or module in self._attaching or module in self.attached or not module.resolved:  # fmt: skip
                return
            self._attaching.add(module)
            if reserved:
                module.references = PINNED
            stack.append((module, iter(tuple(module.needed))))

        enter(root)
        try:
            while stack:
                module, needs = stack[-1]
                need: Any = next(needs, None)
                if need is not None:
                    enter(need)
                    continue
                if module is not self.main:
                    if module not in self.initialised:
                        self.initialised.append(module)
                        self._listed()
                    status = yield from self._dll_main(module, t.DLL_PROCESS_ATTACH, reserved)
                    if status:
                        yield from self._dll_main(module, t.DLL_PROCESS_DETACH, reserved)
                        self.refused = module
                        return status
                    self.attached.add(module)
                stack.pop()
                self._attaching.discard(module)
            return 0
        finally:
            self._attaching.difference_update(module for module, _ in stack)

    def _listed(self) -> None:
        """The program's own view of the lists."""

    # -- references -------------------------------------------------------------------------------

    @staticmethod
    def needs(module: PeModule) -> Iterator[PeModule]:
        """What must be there as long as this is: what it imports from, and where forwarders have led."""
        yield from module.needed  # type: ignore[misc]
        yield from module.forwarded

    def refer(self, module: PeModule) -> None:
        """One reference more."""
        if module.references != PINNED:
            self._count(module, module.references + 1)

    def _count(self, module: PeModule, references: int) -> None:
        module.references = references
        self.peb.count(module)

    def pin(self, module: PeModule) -> None:
        """It stays to the end of the process."""
        self._count(module, PINNED)

    def _release(self, module: PeModule) -> None:
        """One reference less; without any, those that it needs have one less, too."""
        waiting = [module]
        while waiting:
            each = waiting.pop()
            if each.references > 0:
                self._count(each, each.references - 1)
                if not each.references:
                    waiting += self.needs(each)
        self._release_rings()

    def _release_rings(self) -> None:
        """What nobody outside refers to any more has no reference, though it has some to itself."""
        inner = dict.fromkeys(self.live, 0)
        for module in self.live:
            if module.references:
                for need in self.needs(module):
                    if need in inner:
                        inner[need] += 1
        waiting = [m for m in self.live if m.references == PINNED or m.references > inner[m]]
        held = set(waiting)
        while waiting:
            fresh = [need for need in self.needs(waiting.pop()) if need not in held]
            held.update(fresh)
            waiting += fresh
        for module in self.live:
            if module not in held:
                module.references = 0

    def free_library(self, handle: int) -> Task:
        """One reference less; what has none left is detached and goes. False: no such module."""
        return (yield from self.locked(self._free(handle)))

    def _free(self, handle: int) -> Task:
        if self._closing:
            return True
        module = self.by_handle(handle)
        if module is None:
            return False
        self._freeing += 1
        try:
            self._release(module)
            if self._freeing == 1:
                yield from self._detach()
                self._flush()
        finally:
            self._freeing -= 1
        return True

    def _flush(self) -> None:
        """Modules without references are no more."""
        gone = [m for m in self.live if not m.references and m not in self._attaching]
        if gone:
            self._forget(gone)

    def _detach(self) -> Task:
        """DLL_PROCESS_DETACH, the last attached first, for what has no reference, at the end of the process for all."""
        while True:
            for module in reversed(self.initialised):
                if module in self.attached and (self._closing or not module.references):
                    break
            else:
                return
            self.attached.discard(module)
            # It may load and free others: the list is looked through anew.
            yield from self._dll_main(module, t.DLL_PROCESS_DETACH, int(self._closing))

    def detach_process(self) -> Task:
        """The end of the process: other threads are no more, every DLL is told; by a DLL that is being told: the others are."""
        thread = self.machine.current
        yield from self.lock.take(thread)  # for good
        first = not self._closing
        if first:
            self._end_others(thread)
            yield from kernel32.fls_exit(self.system)
            self._closing = True
        yield from self._detach()
        if first:
            yield from self._callbacks(self.main, t.DLL_PROCESS_DETACH)

    def _end_others(self, thread: Any) -> None:
        """The other threads end where they are, and nobody is told."""

    # -- threads ----------------------------------------------------------------------------------

    def new_thread(self, _start: int, _argument: int, _stack: int) -> Thread:
        """A thread of the program; its DLLs are told when it begins and ends."""
        raise Unsupported(
            "the program wants a thread, and threads of Windows code are only emulated"
        )

    def new_thread_of(self, _body: Task, _stack: int) -> Thread:
        """The same, of a thread that does what the generator says."""
        raise Unsupported(
            "the program wants a thread, and threads of Windows code are only emulated"
        )

    def new_task(self, _body: Task) -> Thread:
        """A thread that does what the generator says."""
        raise Unsupported("Windows code in this process has no threads of its own to be called in")

    @staticmethod
    def _start(start: int, argument: int) -> Task:
        return (yield Call(start, (argument,)))

    def _thread(self, body: Task) -> Task:
        yield from self.locked(self._tell_thread(t.DLL_THREAD_ATTACH))
        code = yield from body
        yield from self.detach_thread(code)
        return code

    def detach_thread(self, _code: int = 0) -> Task:
        """DLL_THREAD_DETACH, the last attached first."""
        yield from kernel32.fls_exit(self.system)
        yield from self.locked(self._tell_thread(t.DLL_THREAD_DETACH))

    def _tell_thread(self, reason: int) -> Task:
        modules = list(self.initialised)
        for module in reversed(modules) if reason == t.DLL_THREAD_DETACH else modules:
            if module in self.attached and module not in self.quiet:
                yield from self._dll_main(module, reason, 0)
        yield from self._callbacks(self.main, reason)
