"""Exceptions of Visual C++: which handler takes what was thrown, its object, what a frame's states have to be undone.

FuncInfo, ThrowInfo and what hangs on them are described in "Reversing Microsoft Visual C++ Part I: Exception Handling"
(Skochinsky, 2006) and, for x64, in LLVM's "Exception Handling in LLVM" (MSVC++ EH). A function is in a *state*, a number;
a try block covers states; the unwind map says which state is outside each, and what is to be destroyed on the way.
Addresses in the tables are RVAs on x64 and addresses on x86: ``base`` is 0 there.
"""

from __future__ import annotations

import itertools
import struct
from collections import namedtuple

from rtld.backends.windows import context as c
from rtld.backends.windows.api import Call, Place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from typing import Any

    from rtld.backends.windows.system import System

    Task = Generator[Any, Any, Any]

CXX = 0xE06D7363
MAGICS = (0x19930520, 0x19930521, 0x19930522)
_SYNCHRONOUS = 1  # FuncInfo.EHFlags: only what ``throw`` raises is for catch (...)
_REFERENCE, _CONST, _VOLATILE = 8, 1, 2  # HandlerType.adjectives
_SIMPLE, _REFERENCE_ONLY, _VIRTUAL_BASE = 1, 2, 4  # CatchableType.properties
_MOST = 1 << 12  # rows of a table: a damaged count must not keep us for hours

#: A try block: states from ``low`` to ``high``; its handlers' states end at ``catch_high``.
Try = namedtuple("Try", "low high catch_high handlers")
#: A handler: adjectives, address of its type (0: ...), where in the frame the object goes (0: nowhere), its code, and
#: (x64) where in its own frame the function's frame is noted.
_Handler = namedtuple("_Handler", "adjectives type object code frame")
#: What was thrown: the object, its ThrowInfo, the base that this one's RVAs count from.
Thrown = namedtuple("Thrown", "object info base")
_Catchable = namedtuple("_Catchable", "properties type mdisp pdisp vdisp size copy")


class Handler(_Handler):
    """A handler, and where the function goes on behind it."""

    __slots__ = ()

    def goes_on(self, answer: int) -> int:
        """The address: what its code answers."""
        return answer


class FunctionInfo:
    """FuncInfo of a function at an address."""

    def __init__(self, system: System, at: int, base: int) -> None:
        self.system = system
        self.base = base
        wide = system.bits == 64
        words = struct.unpack("<10I", system.memory.read(at, 40))
        self.good = words[0] & 0x1FFFFFFF in MAGICS
        self.states, self._unwind, self._try_count, self._try_at, self._ips, self._ip_at = words[
            1:7
        ]
        self.most = (
            min(self.states, 1 << 16) + 1
        )  # steps from state to state; more only in a circle
        flags = words[9] if wide else words[8]
        self.synchronous = words[0] & 0x1FFFFFFF == MAGICS[2] and bool(flags & _SYNCHRONOUS)

    def tries(self) -> Iterator[Try]:
        """Try blocks, the inner ones first."""
        memory = self.system.memory
        wide = self.system.bits == 64
        size = 20 if wide else 16
        left = _MOST
        for number in range(min(self._try_count, _MOST)):
            low, high, last, count, at = struct.unpack("<iiiII", memory.read(self.base + self._try_at + 20 * number, 20))  # fmt: skip
            handlers = []
            for each in range(min(count, left)):
                left -= 1
                words = struct.unpack(f"<IIiI{'I' if wide else ''}", memory.read(self.base + at + size * each, size))  # fmt: skip
                kind = self.base + words[1] if words[1] else 0
                handlers.append(Handler(words[0], kind, words[2], self.base + words[3], words[4] if wide else 0))  # fmt: skip
            yield Try(low, high, last, handlers)

    def state_at(self, rva: int) -> int:
        """The state of the function when it is there (x64)."""
        found = -1
        for number in range(min(self._ips, _MOST)):
            ip, state = struct.unpack("<Ii", self.system.memory.read(self.base + self._ip_at + 8 * number, 8))  # fmt: skip
            if ip > rva:
                break
            found = state
        return found

    def outside(self, state: int) -> tuple[int, int]:
        """(state outside a state, code that leads there or 0)."""
        if not 0 <= state < self.states:
            return -1, 0
        to, action = struct.unpack("<iI", self.system.memory.read(self.base + self._unwind + 8 * state, 8))  # fmt: skip
        return to, self.base + action if action else 0

    def argument(self, _state: int, frame: int) -> tuple[int, ...]:
        """What the code of a state is called with."""
        return 0, frame


class Catch:
    """A handler that runs, or will when the stack is unwound: of the function whose frame is ``frame``."""

    def __init__(
        self,
        thrown: Thrown | None,
        frame: int,
        handler: Handler,
        block: Try,
        outside: int,
        target: int,
    ) -> None:
        self.thrown = thrown  # None: no exception of C++
        self.frame = frame
        self.handler = handler
        self.block = block
        self.outside = outside  # the state outside the try block
        self.target = target  # the frame that the stack is cut back to: the function's, or that of a handler of it

    def finish(self, system: System) -> Task:
        """The handler is done with the object: destroy it."""
        thrown, self.thrown = self.thrown, None
        if thrown is None:
            return
        (destructor,) = struct.unpack("<I", system.memory.read(thrown.info + 4, 4))
        if destructor:
            yield from method(system, thrown.base + destructor, thrown.object)

    def left(self, system: System, at: int) -> Task:
        """Another exception unwinds past the handler, or the same one that it has thrown on: then the object stays."""
        coming = pending(system).get(c.Record.load(system, at).info[4:5])
        if coming is None or self.thrown is None or coming.thrown is None or coming.thrown.object != self.thrown.object:  # fmt: skip
            yield from self.finish(system)


_numbers = itertools.count(1)


def new_number() -> tuple[int]:
    """For ``pending``."""
    return (next(_numbers) & 0x7FFFFFFF,)


def pending(system: System) -> dict[tuple[int, ...], Catch]:
    """The handlers of this thread that will run when the stack is unwound, by a number that the record has."""
    found: dict[tuple[int, ...], Catch] = system.threads.current.crt.setdefault("catches", {})
    return found


def running(system: System) -> Iterator[Catch]:
    """The handlers that run, the innermost first."""
    for frame in reversed(system.threads.current.frames):
        if isinstance(frame.state, Catch):
            yield frame.state


def method(system: System, code: int, this: int, *arguments: int) -> Task:
    """Call a member function: thiscall on x86."""
    if system.bits == 64:
        return (yield Call(code, (this, *arguments)))
    return (yield Call(code, arguments, "stdcall", Place(0, None, {"ecx": this})))


def thrown_by(system: System, record: c.Record) -> Thrown | None:
    """What a record says was thrown; ``throw;`` throws on what is being handled. None: no exception of C++."""
    if record.code != CXX or len(record.info) < 3 or record.info[0] not in MAGICS:
        return None
    if not record.info[2]:
        return next((each.thrown for each in running(system) if each.thrown is not None), None)
    return Thrown(record.info[1], record.info[2], record.info[3] if len(record.info) > 3 else 0)


def _name(system: System, type_at: int) -> bytes:
    return system.text(type_at + 2 * system.word) or b""


def _catchables(system: System, thrown: Thrown) -> Iterator[_Catchable]:
    """What the object may be caught as."""
    memory = system.memory
    (array,) = struct.unpack("<I", memory.read(thrown.info + 12, 4))
    (count,) = struct.unpack("<I", memory.read(thrown.base + array, 4))
    for number in range(min(count, _MOST)):
        (at,) = struct.unpack("<I", memory.read(thrown.base + array + 4 + 4 * number, 4))
        words = struct.unpack("<IIiiiII", memory.read(thrown.base + at, 28))
        copy = thrown.base + words[6] if words[6] else 0
        yield _Catchable._make((words[0], thrown.base + words[1], *words[2:6], copy))


def find(system: System, info: FunctionInfo, state: int, thrown: Thrown | None, inside: Try | None) -> tuple[Try, Handler, Any] | None:  # fmt: skip
    """(try block, handler, as what it is caught) in a state; ``inside``: only blocks in that one's handlers."""
    if thrown is None and info.synchronous:
        return None
    for block in info.tries():
        if not block.low <= state <= block.high:
            continue
        if inside is not None and not (block.low > inside.high and block.high <= inside.catch_high):
            continue
        for handler in block.handlers:
            if not handler.type or not _name(system, handler.type):
                return block, handler, None
            if thrown is None:
                continue
            found = _match(system, handler, thrown)
            if found is not None:
                return block, handler, found
    return None


def _match(system: System, handler: Handler, thrown: Thrown) -> _Catchable | None:
    (attributes,) = struct.unpack("<I", system.memory.read(thrown.info, 4))
    name = _name(system, handler.type)
    for each in _catchables(system, thrown):
        if each.type != handler.type and _name(system, each.type) != name:
            continue
        if each.properties & _REFERENCE_ONLY and not handler.adjectives & _REFERENCE:
            continue
        if attributes & ~handler.adjectives & (_CONST | _VOLATILE):
            continue
        return each
    return None


def _cast(system: System, address: int, kind: _Catchable) -> int:
    """The part of an object that is of another type."""
    result: int = address + kind.mdisp
    if kind.pdisp >= 0:
        table = system.number(address + kind.pdisp)
        (offset,) = struct.unpack("<i", system.memory.read(table + kind.vdisp, 4))
        result += kind.pdisp + offset
    return result


def give_object(system: System, frame: int, handler: Handler, thrown: Thrown | None, kind: _Catchable | None) -> Task:  # fmt: skip
    """The object, or a copy of it, to where the handler looks for it."""
    if kind is None or thrown is None or not handler.object:
        return
    memory = system.memory
    place = frame + handler.object
    if handler.adjectives & _REFERENCE:
        system.put(place, _cast(system, thrown.object, kind))
    elif kind.properties & _SIMPLE:
        memory.write(place, memory.read(thrown.object, min(kind.size, _MOST)))
        if kind.size == system.word:
            value = system.number(place)
            if value:
                system.put(place, _cast(system, value, kind))
    elif not kind.copy:
        memory.write(
            place, memory.read(_cast(system, thrown.object, kind), min(kind.size, 1 << 24))
        )
    else:
        more = (1,) if kind.properties & _VIRTUAL_BASE else ()
        yield from method(system, kind.copy, place, _cast(system, thrown.object, kind), *more)
