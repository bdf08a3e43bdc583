"""A Windows program on an emulated CPU: started, run to its end."""

from __future__ import annotations

import os
import time

from rtld.backends.windows.api import Call, Exited
from rtld.backends.windows.crt_streams import flush_all
from rtld.backends.windows.machine_aarch64 import machine_for
from rtld.errors import TargetFault
from rtld.pe import types as t
from rtld.pe.faults import InitFailed
from rtld.pe.file import PeFile
from rtld.process.windows.loader import Loader
from rtld.process.windows.spawn import ended, is_program, spawn, terminate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from typing import Any

    from rtld.backends.windows.machine import Machine
    from rtld.backends.windows.system import Handle
    from rtld.backends.windows.threads import Thread

    Task = Generator[Any, Any, Any]


class WindowsProcess(Loader):
    """One program with its DLLs. ``run()`` runs it to its end."""

    machine: Machine

    def __init__(
        self,
        path: str,
        arguments: Sequence[str] = (),
        *,
        seconds: float | None = None,
        **options: Any,
    ) -> None:
        """*seconds*: that it may take; further keywords are those of ``Loader``."""
        file = PeFile(path)
        self._options = {k: v for k, v in options.items() if k not in ("environ", "line", "directory", "process_id")}  # fmt: skip
        super().__init__(machine_for(file.arch, seconds=seconds), file, path, arguments, **options)

    def run(self) -> int:
        """The exit status of the program. TargetFault when it cannot go on."""
        if self.failures:
            raise TargetFault("; ".join(str(problem.message) for problem in self.failures))
        self.machine.on_thread = self.machine.give_back
        self._start_thread(self._first_thread())
        try:
            return self.machine.run()
        finally:
            flush_all(self.system)

    def _start_thread(self, body: Task, stack: int = 0) -> Thread:
        thread = self.machine.new_thread(self.peb.address, body, stack or 1 << 20)
        for module in self.tls:
            if module is not None:
                self._give_block(thread, module)
        return thread

    def _first_thread(self) -> Task:
        for module in self.ns.init_order[:-1]:
            if not (yield from self._dll_main(module, t.DLL_PROCESS_ATTACH, 1)):
                raise InitFailed(module.path)
            self.attached.append(module)
        yield from self._callbacks(self.main, t.DLL_PROCESS_ATTACH)
        code = yield Call(self.main.base + self.main.file.entry, (self.peb.address,))
        yield from self.detach_process()
        raise Exited(code)

    def new_thread(self, start: int, argument: int, stack: int) -> Thread:
        """A thread of the program; its DLLs are told when it begins and ends."""
        return self._start_thread(self._thread(self._start(start, argument)), stack)

    def new_thread_of(self, body: Task, stack: int) -> Thread:
        """The same, of a thread that does what the generator says, on a stack of its own size."""
        return self._start_thread(self._thread(body), stack)

    def new_task(self, body: Task) -> Thread:
        """A thread that does what the generator says."""
        return self._start_thread(self._thread(body))

    # -- further programs ---------------------------------------------------------------------------

    is_program = staticmethod(is_program)
    process_ended = staticmethod(ended)
    end_process = staticmethod(terminate)

    def spawn(self, path: str, arguments: Sequence[str], *, streams: Sequence[int], **options: Any) -> Handle:  # fmt: skip
        """Another program in a process of its own; further keywords are those of ``Loader``."""
        deadline = self.machine.deadline
        seconds = None if deadline is None else max(deadline - time.monotonic(), 0.1)

        def run() -> int:
            options["process_id"] = os.getpid()
            self.close()
            process = WindowsProcess(path, arguments[1:], seconds=seconds, **self._options, **options)  # fmt: skip
            return process.run()

        kept = [fd for h in self.system.handles.values() if h.kind in ("file", "pipe", "mapping")
                for fd in (h.fd, h.__dict__.get("other", -1))]  # fmt: skip
        return spawn(run, streams, [fd for fd in kept if fd > 2])

    def close(self) -> None:
        """Give the memory back."""
        self.machine.close()
