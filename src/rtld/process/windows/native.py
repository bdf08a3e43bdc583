"""Windows DLLs in this process: loaded by our loader, called through thunks. It runs foreign machine code: only when asked."""

from __future__ import annotations

import os
import sys
import threading
import time

from rtld.backends.windows.api import ThreadExited
from rtld.backends.windows.native import Native, NativeThread
from rtld.backends.windows.native_faults import WindowsException
from rtld.backends.windows.stubs import StubDll
from rtld.pe.exports import exports
from rtld.pe.faults import CannotLoad
from rtld.pe.file import PeFile
from rtld.process.windows.loader import Loader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.pe.module import PeModule


class NativeProcess(Loader):
    """What plays the Windows process: its program is an empty image of ours."""

    machine: Native

    def __init__(self, **options: Any) -> None:
        stub = StubDll("python.exe", (), {}, "x86_64", 0x7_6000_0000)
        machine = Native()
        super().__init__(machine, PeFile(stub.image, name="python.exe"), "python.exe", **options)
        machine.peb = self.peb.address
        machine.on_thread = self._on_thread

    def _on_thread(self, thread: NativeThread) -> None:
        """A thread has entered: it gets its thread-local data, and the DLLs are told."""
        self.give_blocks(thread)

    def new_thread(self, start: int, argument: int, _stack: int) -> NativeThread:  # type: ignore[override]
        """A thread of Python's that runs Windows code; daemonic: it ends with the process."""
        ready = threading.Event()
        made: list[NativeThread] = []

        def body() -> None:
            thread = self.machine.current
            made.append(thread)
            ready.set()
            while thread.suspended != 0:  # until CreateThread or ResumeThread has said so
                time.sleep(0.0005)
            code = 0xFFFFFFFF
            try:
                code = int(self.machine.finish(self._thread(self._start(start, argument))) or 0)
            except ThreadExited as ended:
                code = ended.code
            except WindowsException as error:
                found = self.module_of(start)
                name = f"thread of {found.base_name}" if found is not None else "thread"
                sys.stderr.write(f"rtld: {name}: {error}\n")
                code = error.code
            finally:
                thread.code = code & 0xFFFFFFFF
                if thread.handle is not None:
                    thread.handle.signalled = True
                self.machine.thread_ended()

        threading.Thread(target=body, name="Windows", daemon=True).start()
        ready.wait()
        return made[0]

    def open(self, name: str, flags: int = 0) -> PeModule:
        """LoadLibraryEx. CannotLoad."""
        since = len(self.ns.modules)
        try:
            module, error = self.machine.finish(self.load_library(name, flags, ours=True))
        except WindowsException:  # of a DllMain
            fresh = self.ns.modules[since:]
            self._forget(fresh)
            raise
        if module is None:
            raise CannotLoad(name, error, self.reason())
        return module  # type: ignore[no-any-return]

    def address(self, module: PeModule, name: str | int) -> int:
        """GetProcAddress; 0 when there is none."""
        wanted = name.encode() if isinstance(name, str) else name
        address, _ = self.machine.finish(self.proc_address(module.base, wanted))
        return int(address)

    def close(self, module: PeModule) -> None:
        """FreeLibrary."""
        self.machine.finish(self.free_library(module.base))

    def names(self, module: PeModule) -> list[str]:
        """What a module exports by name."""
        return [n.decode("utf-8", "surrogateescape") for n in exports(module.file).names()]


_process: NativeProcess | None = None


def native_process() -> NativeProcess:
    """The one of this process, made when it is wanted first."""
    global _process  # noqa: PLW0603
    if _process is None:
        _process = NativeProcess(dll_path=[os.getcwd()])
    return _process
