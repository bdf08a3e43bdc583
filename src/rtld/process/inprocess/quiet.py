"""Sections that must not be interrupted: the tables of a space are being changed.

Python runs handlers of signals between any two steps of its main thread, and what they raise (KeyboardInterrupt) comes out
there. To ctypes ld.so is one step; here a machine-code handler takes the place of Python's meanwhile, and notes what came. It
is raised again at the end. What the kernel had is put back as it was, so nobody else's handlers are touched.
"""

from __future__ import annotations

import ctypes
import importlib
import signal
import struct
import threading

from rtld.backends import inprocess as machine
from rtld.elf.dlopen import DlError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.process.inprocess.space import Space

# void note(int signal) { atomic_or(&noted, 1ul << signal); }
_NOTE = bytes.fromhex(
    "b801000000"  # mov  $1,%eax
    "89f9"  # mov  %edi,%ecx
    "48d3e0"  # shl  %cl,%rax
    "f0480905ee0f0000"  # lock or %rax,start+0x1000(%rip)
    "c3"  # ret
)
_SIGACTION = 152  # sizeof(struct sigaction) of glibc
_SA_RESTART = 0x10000000
_Action = ctypes.c_char * _SIGACTION


class _Handler:
    """The handler, and what leads there."""

    def __init__(self) -> None:
        code = machine.place_code(_NOTE)
        self.word = code + machine.PAGE
        # sa_handler, sa_mask (128 bytes), sa_flags
        self.action = _Action.from_buffer_copy(struct.pack("<Q128si12x", code, b"", _SA_RESTART))
        kind = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
        self.sigaction: Any = kind(machine.host_symbol("sigaction"))


_handler: _Handler | None = None
#: What ``signal`` wraps: it makes an enumeration's member of every answer, which takes longer than all the rest.
_getsignal: Any = getattr(importlib.import_module("_signal"), "getsignal", signal.getsignal)


def prepare() -> None:
    """Make the handler."""
    global _handler  # noqa: PLW0603 - a process has one
    _handler = _Handler()


class Quiet:
    """``with Quiet(space)``: the caller holds the process's lock. DlError if the space is being changed already."""

    __slots__ = ("_saved", "_space")

    def __init__(self, space: Space) -> None:
        self._space = space
        self._saved: list[tuple[int, Any]] = []

    def __enter__(self) -> None:
        space = self._space
        if space.hooks is not None:
            return  # code of others runs in between as it likes
        if space.busy:
            raise DlError("another library of this namespace is being opened or closed")
        if _handler is not None and threading.current_thread() is threading.main_thread():
            try:
                for number in range(1, 32):
                    if callable(_getsignal(number)):
                        old = _Action()
                        _handler.sigaction(number, None, old)
                        self._saved.append((number, old))
                        _handler.sigaction(number, _handler.action, None)
            except BaseException:  # of a handler that is still Python's
                self._restore()
                raise
        space.busy = True

    def __exit__(self, *_what: object) -> None:
        self._space.busy = False
        if self._saved and _handler is not None:
            self._restore()
            noted = machine.read_word(_handler.word)
            if noted:
                machine.write_word(_handler.word, 0)
                _raise([number for number in range(1, 32) if noted >> number & 1])

    def _restore(self) -> None:
        assert _handler is not None
        saved = self._saved
        try:
            while saved:
                number, old = saved[-1]
                _handler.sigaction(number, old, None)
                saved.pop()
        finally:
            if saved:  # what was put back first has been raising already
                self._restore()


def _raise(numbers: list[int]) -> None:
    try:
        while numbers:
            signal.raise_signal(numbers.pop())
    finally:
        if numbers:
            _raise(numbers)
