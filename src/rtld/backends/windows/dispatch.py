"""An exception finds its handler: vectored handlers, the handlers of frames, the filter of what nobody handles.

KiUserExceptionDispatcher of Windows ("Exception dispatching", learn.microsoft.com). Handlers are code of the program; all
here is generators, so nothing is run inside something else.
"""

from __future__ import annotations

from rtld.backends.emulated.memory import NotMapped
from rtld.backends.windows import context as c
from rtld.backends.windows.api import Call, Exited, Place, Resume, Unhandled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from rtld.backends.windows.system import System

    Task = Generator[Any, Any, Any]

_CONTINUE = -1
_EXECUTE = 1
_IN_USE = 0x1000  # bytes of stack that handling an exception, or unwinding, takes itself
_DEEPEST = 16  # exceptions in the handling of exceptions


class Handlers:
    """Those of the process: ``vectored`` and ``continued``, (handle, function), the first to be asked first; ``filter``."""

    def __init__(self) -> None:
        self.vectored: list[tuple[int, int]] = []
        self.continued: list[tuple[int, int]] = []
        self.filter = 0
        self.mode = 0  # SetErrorMode


def handlers(system: System) -> Handlers:
    """Those of the process."""
    found = system.cache.get("exception handlers")
    if found is None:
        found = system.cache["exception handlers"] = Handlers()
    return found


def signed(value: int) -> int:
    """An answer as a LONG."""
    return (value & 0xFFFFFFFF ^ 0x80000000) - 0x80000000


def dispatch(system: System, record: c.Record, context: Any, at: int = 0, free: int = 0) -> Task:  # fmt: skip
    """Look for a handler; a Resume, unless the process ends.

    ``at``: where the program has its record, 0: nowhere yet; ``free``: below that the stack is free, 0: as ``context`` says.
    """
    from rtld.backends.windows import seh32, seh64

    saved = system.threads.engine.save()
    try:
        at, context_at, pointers, below = _place(system, record, context, at, free or context.sp)
    except NotMapped:
        raise unhandled_end(system, record, context, "there is no stack to handle it on") from None
    original = context.copy()
    state = handlers(system)
    answer = yield from _ask(state.vectored, pointers, original, below)
    if not answer:
        module = seh64 if system.bits == 64 else seh32
        answer = yield from module.search(system, at, original, context_at, below)
        if isinstance(answer, Resume):
            return answer
        if answer is not True and answer:
            yield from raised(system, answer, at)
    if not answer:
        place = Place(below, (original.pc, original.sp))
        answer, own = yield from unhandled(system, pointers, place)
        if answer != _CONTINUE:
            now = c.Record.load(system, at)
            end = Exited(now.code) if own else unhandled_end(system, now, original)
            if system.bits == 64:
                yield from seh64.unwind(system, None, at, 0, 0, below)
            else:
                yield from seh32.unwind_chain(system, seh32.END, at, original, below)
            raise end
    yield from _ask(state.continued, pointers, original, below)
    context.load(system.memory, context_at)
    return Resume(context, saved)


def _place(system: System, record: c.Record, context: Any, at: int, sp: int) -> tuple[int, int, int, int]:  # fmt: skip
    """Record, context and pointers to both onto the stack; (the places of the three, below what the stack is free)."""
    below = (sp - 128 & -16) - 0x600
    context_at, pointers = below + 0xB0, below + 0xA0
    if not at:
        at = below
        record.store(system, at)
    context.store(system.memory, context_at)
    system.put(pointers, at)
    system.put(pointers + system.word, context_at)
    return at, context_at, pointers, below


def ask_vectored(system: System, record: c.Record, context: Any) -> Task:
    """Tell vectored handlers, and nobody else, of an exception."""
    functions = handlers(system).vectored
    if functions:
        _, _, pointers, below = _place(system, record, context, 0, context.sp)
        yield from _ask(functions, pointers, context, below)


def _ask(functions: list[tuple[int, int]], pointers: int, context: Any, below: int) -> Task:
    """Vectored handlers: True when one wants the program to go on."""
    for entry in list(functions):
        if entry not in functions:
            continue  # one before it has taken it away
        answer = yield Call(
            entry[1], (pointers,), "stdcall", Place(below, (context.pc, context.sp))
        )
        if signed(answer) == _CONTINUE:
            return True
    return False


def unhandled(system: System, pointers: int, place: Place | None = None) -> Task:
    """UnhandledExceptionFilter: (what the program's own filter says, True), or (1: the process is to end, False)."""
    function = handlers(system).filter
    if function:
        answer = signed((yield Call(function, (pointers,), "stdcall", place)))
        if answer:
            return answer, True
    return _EXECUTE, False


def raised(system: System, code: int, link: int) -> Task:
    """RtlRaiseStatus out of the handling of another exception, whose record is at ``link``. Does not come back."""
    frames = system.threads.current.frames
    context = c.capture(system)
    if isinstance(context, c.Context64):
        context.rip, context.gpr[4] = frames[-1].pc, frames[-1].sp
    else:
        context.values["eip"], context.values["esp"] = frames[-1].pc, frames[-1].sp
    record = c.Record(code, c.NONCONTINUABLE, context.pc, (), link)
    depth, at = 0, link
    while at and depth < _DEEPEST:
        at, depth = c.Record.load(system, at).next, depth + 1
    if depth == _DEEPEST:
        raise unhandled_end(system, record, context, "exceptions in the handling of exceptions")
    yield from dispatch(system, record, context, 0, frames[-1].sp - _IN_USE)
    raise unhandled_end(system, record, context)


def unhandled_end(system: System, record: c.Record, context: Any, why: str = "") -> Unhandled:
    """The end of the process that nobody's exception is."""
    from rtld.backends.windows.report import report

    return Unhandled(record.code, report(system, record, context, why))
