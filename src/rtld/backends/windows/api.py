"""Functions of Windows' DLLs, declared: name, signature, calling convention, and what they do in Python.

    @KERNEL32("lstrlenA", "s")
    def lstrlen(_system, text): return len(text or b"")

A signature has a letter for each argument: ``p`` a pointer, handle or size; ``u``, ``i`` 32 bits; ``q`` 64 bits; ``d`` a
double, ``f`` a float; ``s``, ``w`` a string of bytes or of UTF-16, read for the function (None: a null pointer); ``.`` what follows is
variable. The result is ``u`` unless said otherwise; ``v`` is none. A function that has to wait or to call the program
is a generator: it yields ``Call`` or ``Wait``.
"""

from __future__ import annotations

import importlib
import struct
from collections import namedtuple

from rtld.backends.windows.codepages import ANSI

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rtld.backends.windows.system import Memory

#: One function. ``convention``: "stdcall" or "cdecl"; only i386 has both.
Api = namedtuple("Api", "dll name arguments result convention action")
PYTHON = "python"  # the ``dll`` of callbacks that are functions of Python's
#: Effect: call a function of the program; the result is what ``yield`` gives. ``place``: None, or a Place.
Call = namedtuple("Call", "address arguments convention place", defaults=("stdcall", None))
#: How exceptions call their handlers: on the stack below ``below`` (0: as usual), so that unwinding finds ``caller``
#: (program and stack pointer; None: the function of ours) above it; ``registers`` set before; ``kind`` of ``returns``;
#: ``state`` is kept for whoever finds the call on the stack.
Place = namedtuple("Place", "below caller registers kind state", defaults=(0, None, None, 0, None))
#: Effect: let others run until ``ready()``; ``yield`` gives False when ``seconds`` were over first (None: for ever).
#: ``outside``: it may become so without any thread of the program (a pipe, another process).
Wait = namedtuple("Wait", "ready seconds outside", defaults=(None, False))


class Waiting:
    """True as long as a request has not ended: for ``Wait.outside``, which is asked again and again."""

    def __init__(self, requests: list[Any]) -> None:
        self._requests = requests

    def __bool__(self) -> bool:
        return bool(self._requests)


#: What a function with the signature TRAP ends with: go on there, as if that had been called.
Jump = namedtuple("Jump", "address")
TRAP = "*"
#: The signature of a function whose declaration has not been read yet: ``Dll.find`` does.
LATE = "*later"
#: What a function ends with: go on with the registers of ``context``. What of ours was called below its stack pointer is
#: forgotten. ``saved``: all registers, from which those that a context has not are taken.
Resume = namedtuple("Resume", "context saved", defaults=(None,))


class Exited(Exception):
    """The process has ended, with that status."""

    def __init__(self, status: int) -> None:
        self.status = status & 0xFFFFFFFF
        super().__init__(status)


class Unhandled(Exited):
    """Nobody has handled an exception: the status is its code. ``report`` is what to say about it."""

    def __init__(self, status: int, report: str) -> None:
        self.report = report
        super().__init__(status)


class ThreadExited(Exception):
    """The thread that runs has ended, with that code."""

    def __init__(self, code: int) -> None:
        self.code = code & 0xFFFFFFFF
        super().__init__(code)


class Dll:
    """The table of one DLL. ``data``: exported variables, name -> (bytes for 32 and 64 bits)."""

    def __init__(self, name: str, convention: str = "stdcall") -> None:
        self.name = name
        self.convention = convention
        self.functions: dict[str, Api] = {}
        self.data: dict[str, tuple[int, int]] = {}
        self.ordinals: dict[int, str] = {}  # of a DLL that is imported by number
        self.later: dict[
            str, str
        ] = {}  # function -> the file that declares it when it is called first
        assert name not in TABLES, f"{name} has a table already"
        TABLES[name] = self

    def __call__(
        self, names: str, arguments: str = "", result: str = "u", convention: str = ""
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Declare a function by one name or several that are the same."""

        def declare(action: Callable[..., Any]) -> Callable[..., Any]:
            for name in names.split():
                self.functions[name] = Api(
                    self.name, name, arguments, result, convention or self.convention, action
                )
            return action

        return declare

    def entry(self, name: str) -> Api:
        """A function, or what stands for one of ``later``."""
        found = self.functions.get(name)
        return found or Api(self.name, name, LATE, "p", self.convention, None)

    def find(self, name: str) -> Api:
        """A function, its declaration read if need be."""
        if name not in self.functions:
            importlib.import_module(f"rtld.backends.windows.{self.later[name]}")
        return self.functions[name]

    def both(
        self, names: str, arguments: str = "", result: str = "u"
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Declare nameA and nameW at once. ``t`` in the signature is a string of either kind, read as ``str``; the
        function is told first whether it is the wide one.
        """

        def declare(action: Callable[..., Any]) -> Callable[..., Any]:
            places = [i for i, letter in enumerate(arguments) if letter == "t"]

            def narrow(system: Any, *values: Any) -> Any:
                if places:
                    values = tuple(
                        v.decode(ANSI, "replace") if i in places and v is not None else v
                        for i, v in enumerate(values)
                    )
                return action(system, False, *values)

            def wide(system: Any, *values: Any) -> Any:
                return action(system, True, *values)

            for name in names.split():
                self(name + "A", arguments.replace("t", "s"), result)(narrow)
                self(name + "W", arguments.replace("t", "w"), result)(wide)
            return action

        return declare


#: DLL's name -> its table.
TABLES: dict[str, Dll] = {}


def words(signature: str, bits: int) -> int:
    """How many words of stack the arguments take."""
    if bits == 64:
        return len(signature.rstrip("."))
    return sum(2 if letter in "qd" else 1 for letter in signature if letter != ".")


class VarArgs:
    """Variable arguments: words one after the other in memory, as a va_list of Windows is."""

    __slots__ = ("at", "memory", "word")

    def __init__(self, memory: Memory, at: int, word: int) -> None:
        self.memory = memory
        self.at = at
        self.word = word

    def _take(self, size: int) -> bytes:
        data = self.memory.read(self.at, size)
        self.at += max(size, self.word)
        return data

    def pointer(self) -> int:
        return int.from_bytes(self._take(self.word), "little")

    def int32(self) -> int:
        return int.from_bytes(self._take(4), "little", signed=True)

    def int64(self) -> int:
        return int.from_bytes(self._take(8), "little", signed=True)

    def double(self) -> float:
        value: float = struct.unpack("<d", self._take(8))[0]
        return value
