"""Exceptions of x86: handlers are a chain on the stack that begins at fs:[0], each record (next, handler).

"A Crash Course on the Depths of Win32 Structured Exception Handling" (Pietrek, 1997); "/SAFESEH" and IMAGE_LOAD_CONFIG_DIRECTORY
(learn.microsoft.com): a module that lists its handlers has no others, one marked NO_SEH has none. What a handler is given,
and what becomes of its answer, is as in Wine (dlls/ntdll/signal_i386.c, by its rules).
"""

from __future__ import annotations

import struct

from rtld.backends.emulated.memory import NotMapped
from rtld.backends.windows import context as c
from rtld.backends.windows.api import Api, Call, Place, Resume
from rtld.backends.windows.dispatch import unhandled_end

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from rtld.backends.windows.system import System

    Task = Generator[Any, Any, Any]

END = 0xFFFFFFFF
_MOST = 1 << 16  # handlers in a chain
#: Room below the stack pointer: a registration of ours, and what a handler may say about a frame.
_AREA = 0x20


def chain(system: System) -> int:
    """fs:[0]."""
    return system.number(system.threads.teb)


def set_chain(system: System, frame: int) -> None:
    system.put(system.threads.teb, frame)


def _guards(system: System) -> tuple[int, int]:
    """The handlers of our own registrations: while a handler runs for an exception, and while one runs for unwinding."""
    found = system.cache.get("nested handlers")
    if found is None:
        machine = system.threads
        found = tuple(
            machine.new_slot(Api("ntdll.dll", name, "pppp", "i", "cdecl", action))
            for name, action in (("nested exception", _nested), ("collided unwind", _collided))
        )
        system.cache["nested handlers"] = found
    return found


def _nested(system: System, at: int, frame: int, _context: int, dispatcher: int) -> int:
    """An exception in a handler: the frame whose handler it was stands behind our registration."""
    if system.number(at + 4) & (c.UNWINDING | c.EXIT_UNWIND):
        return c.CONTINUE_SEARCH
    system.put(dispatcher, system.number(frame + 8))
    return c.NESTED_EXCEPTION


def _collided(system: System, at: int, frame: int, _context: int, dispatcher: int) -> int:
    """A further exception while frames are unwound; or its own unwinding, which goes on where the first one was."""
    if not system.number(at + 4) & (c.UNWINDING | c.EXIT_UNWIND):
        return c.CONTINUE_SEARCH
    system.put(dispatcher, system.number(frame + 8))
    return c.COLLIDED


def _good(system: System, frame: int, low: int) -> bool:
    """May a registration be there?"""
    high = system.number(system.threads.teb + 4)
    return not frame & 3 and low <= frame <= high - 8


def _allowed(system: System, handler: int) -> bool:
    """May this be a handler (SafeSEH)?"""
    teb = system.threads.teb
    if system.number(teb + 8) <= handler < system.number(teb + 4):
        return False  # on the stack
    return bool(system.loader.may_handle(handler))


def _call(system: System, guard: int, frame: int, handler: int, at: int, context_at: int, below: int, caller: Any) -> Task:  # fmt: skip
    """Call a handler, with a registration of ours in front; (its answer, what it or ours has said about a frame)."""
    before = chain(system)
    own, dispatcher = below - 16, below - 20
    system.memory.write(dispatcher, struct.pack("<4I", 0, before, guard, frame))
    set_chain(system, own)
    place = Place(dispatcher, caller)
    answer = yield Call(handler, (at, frame, context_at, dispatcher), "cdecl", place)
    set_chain(system, before)
    return answer & 0xFFFFFFFF, system.number(dispatcher)


def search(system: System, at: int, context: Any, context_at: int, below: int) -> Task:
    """Ask the handlers of the chain: True when one wants the program to go on with ``context``.

    ``at``, ``context_at``: where record and context stand; the stack below ``below`` is free. Returns False when
    nobody wanted the exception, or the status of a further one.
    """
    flags = at + 4
    nested, frame, low = 0, chain(system), system.number(system.threads.teb + 8)
    guard = _guards(system)[0]
    for _ in range(_MOST):
        if frame == END:
            return False
        if not _good(system, frame, low):
            system.put(flags, system.number(flags) | c.STACK_INVALID)
            return False
        low = frame + 8
        link, handler = struct.unpack("<II", system.memory.read(frame, 8))
        if not _allowed(system, handler):
            invalid = c.Record(c.INVALID_HANDLER, c.NONCONTINUABLE, handler)
            raise unhandled_end(system, invalid, context, "it may not handle exceptions: it is on the stack, or its module does not list it")  # fmt: skip
        caller = context.pc, context.sp
        answer, said = yield from _call(system, guard, frame, handler, at, context_at, below, caller)  # fmt: skip
        if frame == nested:
            nested = 0
            system.put(flags, system.number(flags) & ~c.NESTED_CALL)
        if answer == c.CONTINUE_EXECUTION:
            if system.number(flags) & c.NONCONTINUABLE:
                return c.NONCONTINUABLE_EXCEPTION
            return True
        if answer == c.NESTED_EXCEPTION:
            nested = max(nested, said)
            system.put(flags, system.number(flags) | c.NESTED_CALL)
        elif answer != c.CONTINUE_SEARCH:
            return c.INVALID_DISPOSITION
        frame = link
    return False


def unwind(system: System, target: int, at: int, value: int) -> Task:
    """RtlUnwind: call the handlers of the chain up to ``target`` (0: all of them) once more, and take them off.

    ``at``: the record, 0: one of our own. Returns a Resume behind the call: registers as they were, ``value`` in eax.
    """
    from rtld.backends.windows.exceptions import own_context, popped

    context = popped(system, own_context(system), 4)
    context.values["eax"] = value
    yield from unwind_chain(system, target, at, context)
    return Resume(context)


def unwind_chain(system: System, target: int, at: int, context: Any, free: int = 0) -> Task:
    """The handlers between fs:[0] and ``target``; the chain begins at ``target`` then. ``free`` as in ``seh64.unwind``."""
    from rtld.backends.windows.dispatch import raised

    below = ((free or system.threads.current.frames[-1].sp) - 64 & -16) - 0x400
    context_at = below
    if not at:
        at = below = below - 0x60
        c.Record(c.UNWIND, 0, context.pc).store(system, at)
    context.store(system.memory, context_at)
    flags = at + 4
    system.put(flags, system.number(flags) | c.UNWINDING | (0 if target else c.EXIT_UNWIND))
    guard = _guards(system)[1]
    low = system.number(system.threads.teb + 8)
    frame = chain(system)
    while frame not in (END, target):
        if target and frame > target:
            yield from raised(system, c.INVALID_UNWIND_TARGET, at)
        if not _good(system, frame, low):
            yield from raised(system, c.BAD_STACK, at)
        low = frame + 8
        link, handler = struct.unpack("<II", system.memory.read(frame, 8))
        answer, said = yield from _call(system, guard, frame, handler, at, context_at, below, None)
        if answer == c.COLLIDED:
            frame = said
        elif answer != c.CONTINUE_SEARCH:
            yield from raised(system, c.INVALID_DISPOSITION, at)
        try:
            frame = system.number(frame) if answer == c.COLLIDED else link
        except NotMapped:
            yield from raised(system, c.BAD_STACK, at)
        set_chain(system, frame)


# -- __try of C: _except_handler3 and 4 --------------------------------------------------------------


class ScopeFrame:
    """The frame of a function with __try, at its registration: (next, handler, scope table, level, saved ebp).

    Scope table: rows (enclosing level, filter or 0, handler); of version 4 behind four words about cookies, the pointer
    to it and all cookies being masked with the module's.
    """

    def __init__(self, system: System, frame: int, cookie: int | None) -> None:
        self.system = system
        self.frame = frame
        self.ebp = frame + 16
        table = system.number(frame + 8)
        self.end = 0xFFFFFFFE if cookie is not None else END
        self.rows = (table ^ cookie) + 16 if cookie is not None else table

    @property
    def level(self) -> int:
        return self.system.number(self.frame + 12)

    @level.setter
    def level(self, value: int) -> None:
        self.system.put(self.frame + 12, value)

    def row(self, level: int) -> tuple[int, int, int]:
        """(enclosing level, filter, handler)."""
        data = self.system.memory.read(self.rows + 12 * level, 12)
        return struct.unpack("<III", data)

    def call(self, function: int) -> Task:
        """Call a filter or a termination handler: it finds the function's variables by ebp."""
        return (yield Call(function, (), "cdecl", Place(0, None, {"ebp": self.ebp})))

    def unwind_to(self, stop: int) -> Task:
        """_local_unwind: run the termination handlers of the levels inside ``stop``."""
        frames = self.system.threads.current.frames
        below = frames[-1].sp - 128
        before = chain(self.system)
        # An exception in a termination handler unwinds this registration, too, and goes on behind it.
        registration = struct.pack("<3I", before, _guards(self.system)[1], below)
        self.system.memory.write(below, registration)
        set_chain(self.system, below)
        level = self.level
        for _ in range(_MOST):
            if level in (self.end, stop):
                break
            enclosing, filter_, handler = self.row(level)
            self.level = level = enclosing
            if not filter_:
                yield Call(handler, (), "cdecl", Place(below, None, {"ebp": self.ebp}))
        set_chain(self.system, before)


def except_handler(system: System, at: int, frame: int, context_at: int, cookie: int | None) -> Task:  # fmt: skip
    """_except_handler3 (``cookie`` None) and _except_handler4_common: a disposition, or a Resume in the __except block."""
    from rtld.backends.windows.exceptions import own_context

    kept = own_context(system)
    scope = ScopeFrame(system, frame, cookie)
    record = c.Record.load(system, at)
    if record.flags & (c.UNWINDING | c.EXIT_UNWIND):
        yield from scope.unwind_to(scope.end)
        return _answer(system, kept, c.CONTINUE_SEARCH)
    own_frame = system.threads.current.frames[-1].sp
    pointers = own_frame - 64
    system.memory.write(pointers, struct.pack("<II", at, context_at))
    system.put(frame - 4, pointers)  # GetExceptionInformation looks there
    level = scope.level
    for _ in range(_MOST):
        if level == scope.end:
            break
        enclosing, filter_, handler = scope.row(level)
        if filter_:
            answer = yield Call(filter_, (), "cdecl", Place(pointers, None, {"ebp": scope.ebp}))
            answer = (answer & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
            if answer < 0:
                return _answer(system, kept, c.CONTINUE_EXECUTION)
            if answer > 0:
                yield from unwind_chain(system, frame, at, kept.copy())
                yield from scope.unwind_to(level)
                scope.level = enclosing
                kept.values["ebp"] = scope.ebp
                kept.values["esp"] = system.number(frame - 8)
                kept.values["eip"] = handler
                return Resume(kept)
        level = enclosing
    return _answer(system, kept, c.CONTINUE_SEARCH)


def _answer(system: System, kept: Any, disposition: int) -> Resume:
    """As if returned, with the registers that filters and handlers do not keep."""
    from rtld.backends.windows.exceptions import popped

    context = popped(system, kept)
    context.values["eax"] = disposition
    return Resume(context)
