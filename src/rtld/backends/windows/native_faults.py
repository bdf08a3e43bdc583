"""Exceptions that Windows code raises in this process: they are not dispatched, the caller gets Python's instead.

RaiseException is a function like others; what the CPU raises comes as a signal. Either way the code is left for the thunk by which the
thread has entered it (``arch.x86_64_windows.leave``): none of its handlers run, and what it has locked stays locked.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading

from rtld.arch.x86_64_windows import FRAME
from rtld.backends.windows.api import Api
from rtld.errors import TargetFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.backends.windows.native import Native
    from rtld.backends.windows.system import System

# fmt: off
NAMES = {
    0x80000003: "breakpoint", 0xC0000005: "access violation", 0xC000001D: "illegal instruction", 0xC0000094: "integer division by zero",
    0xC000008E: "floating-point exception", 0xC0000409: "fail fast: the code has found itself damaged",
    0xE06D7363: "C++ exception of MSVC", 0x20474343: "C++ exception of GCC",
}
# fmt: on
_SIGNALS = (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP)
_SA_SIGINFO, _SA_ONSTACK = 4, 0x08000000
_GREGS, _RSP, _RIP, _ERR = 40, 15, 16, 19  # in ucontext_t (sys/ucontext.h)
_SI_ADDR = 16
_SS_DISABLE = 2
_ALTERNATE = 1 << 19  # bytes of stack for the handler, which is Python

Word = ctypes.c_uint64


class WindowsException(TargetFault):
    """Windows code has raised an exception while this process ran it. ``code``: its number."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Raised(Exception):
    """A function of the tables that raises has been called."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def _raise(_system: System, code: int = 0, *_: int) -> int:
    raise Raised(code)


def _raise_cxx(_system: System, *_: int) -> int:
    raise Raised(0xE06D7363)


def _raise_record(system: System, record: int) -> int:
    raise Raised(system.number(record, 4))


def _no_way(_system: System, *_: int) -> int:
    raise TargetFault("longjmp would jump over Python: the setjmp was in another call of the DLL")


#: Functions that are not the tables' here.
RAISING = {
    "RaiseException": Api("kernel32.dll", "RaiseException", "uuup", "v", "stdcall", _raise),
    "RtlRaiseException": Api("ntdll.dll", "RtlRaiseException", "p", "v", "stdcall", _raise_record),
    "RtlRaiseStatus": Api("ntdll.dll", "RtlRaiseStatus", "u", "v", "stdcall", _raise),
    "_CxxThrowException": Api("msvcrt.dll", "_CxxThrowException", "pp", "v", "cdecl", _raise_cxx),
}
REFUSING = Api("msvcrt.dll", "longjmp", "pi", "v", "cdecl", _no_way)


class Faults:
    """The signal handlers of a ``Native`` machine, and the words for what has happened."""

    def __init__(self, machine: Native, libc: Any) -> None:
        self.machine = machine
        self._libc = libc
        kind = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
        self._handler = kind(self._on_signal)
        self._old: dict[int, Any] = {}
        self._stacks: dict[int, int] = {}  # thread -> its alternate stack
        self._free: list[int] = []
        address = ctypes.cast(self._handler, ctypes.c_void_p).value
        for number in _SIGNALS:
            # struct sigaction: handler, mask of 128 bytes, flags, restorer
            action = (Word * 19)(address or 0, *[0] * 16, _SA_SIGINFO | _SA_ONSTACK, 0)
            self._old[number] = (Word * 19)()
            if libc.sigaction(int(number), action, self._old[number]):
                raise OSError(ctypes.get_errno(), f"sigaction({number})")
        self._memory = os.open("/proc/self/mem", os.O_RDONLY | os.O_CLOEXEC)

    def give_stack(self, number: int) -> None:
        """A stack for the handler to the thread that calls, *number*: its own may be what is full."""
        at = self._free.pop() if self._free else self.machine.guest.allocate(_ALTERNATE)
        stack = (Word * 3)(at, 0, _ALTERNATE)
        if self._libc.sigaltstack(stack, None):
            raise OSError(ctypes.get_errno(), "sigaltstack")
        self._stacks[number] = at

    def take_stack(self, number: int) -> None:
        """That thread is no more, or enters no more Windows code."""
        if number == threading.get_native_id():
            self._libc.sigaltstack((Word * 3)(0, _SS_DISABLE, 0), None)
        self._free.append(self._stacks.pop(number))

    def exception(self, code: int, pc: int, detail: str = "") -> WindowsException:
        """An exception in words."""
        name = NAMES.get(code)
        what = f"exception {code:#x}" + (f" ({name})" if name else "")
        return WindowsException(
            code, f"{what}{detail}, raised by the code at {pc:#x}{self._where(pc)}: in this process exceptions of Windows are not handled"
        )  # fmt: skip

    def _where(self, address: int) -> str:
        found = self.machine.system.loader.module_of(address)
        return f" in {found.base_name} + {address - found.base:#x}" if found is not None else ""

    def _peek(self, address: int) -> int:
        try:
            return int.from_bytes(os.pread(self._memory, 8, address), "little")
        except (OSError, OverflowError):
            return 0

    def _is_foreign(self, pc: int, sp: int) -> bool:
        """It is Windows code, or a function of the C library that such code has called, or it has jumped to nowhere."""
        module_of = self.machine.system.loader.module_of
        if module_of(pc) is not None:
            return True
        caller = self._peek(sp)
        return module_of(caller) is not None or self.machine.is_thunk(caller)

    def _on_signal(self, number: int, info: int, context: int) -> None:
        registers = (Word * 23).from_address(context + _GREGS)
        pc, sp = registers[_RIP], registers[_RSP]
        thread = self.machine._threads.get(threading.get_native_id())
        inside = thread is not None and Word.from_address(thread.teb + FRAME).value
        if not inside or not self._is_foreign(pc, sp):
            self._libc.sigaction(
                number, self._old[number], None
            )  # then it is as if we were not there
            return
        address = Word.from_address(info + _SI_ADDR).value
        code, detail = self._meaning(number, pc, address, registers[_ERR])
        self.machine.leave(self.exception(code, pc, detail))
        registers[_RIP] = self.machine.way_out

    def _meaning(self, number: int, pc: int, address: int, error: int) -> tuple[int, str]:
        """(code, words) for a signal."""
        if self._peek(pc) & 0xFFFF == 0x29CD:  # int $0x29: __fastfail
            return 0xC0000409, ""
        if number == signal.SIGFPE:
            return 0xC0000094, ""
        if number == signal.SIGILL:
            return 0xC000001D, ""
        if number == signal.SIGTRAP:
            return 0x80000003, ""
        how = "execute" if error & 16 else "write" if error & 2 else "read"
        return 0xC0000005, f": {how} at {address:#x}"
