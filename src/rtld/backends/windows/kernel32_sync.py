"""KERNEL32.dll: waits, and what is waited for: events, mutexes, semaphores, timers."""

from __future__ import annotations

import time

from rtld.backends.windows.api import Wait, Waiting
from rtld.backends.windows.kernel32 import INFINITE, KERNEL32
from rtld.backends.windows.kernel32_threads import run_apcs
from rtld.backends.windows.paths import EPOCH
from rtld.backends.windows.system import Handle
from rtld.core.late import Late

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any

    from rtld.backends.windows import completion
    from rtld.backends.windows.system import System

    Task = Generator[Any, Any, Any]
else:
    completion = Late("rtld.backends.windows.completion")

_WAIT_TIMEOUT, _WAIT_ABANDONED, _WAIT_APC = 258, 0x80, 0xC0
_FAILED = INFINITE
_WAITABLE = ("thread", "event", "mutex", "semaphore", "timer", "process", "file", "pipe", "stream")
_OUTSIDE = ("timer", "process")  # become ready without any thread of the program

# -- waits ----------------------------------------------------------------------------------------


def _signalled(system: System, handle: Handle, thread: Any) -> bool:
    kind = handle.kind
    if kind == "event":
        return handle.signalled
    if kind == "thread":
        return handle.thread.code is not None
    if kind == "mutex":
        return handle.owner in (None, thread) or handle.owner.code is not None
    if kind == "semaphore":
        return bool(handle.value > 0)
    if kind == "timer":
        return handle.due is not None and time.monotonic() >= handle.due
    if kind == "process":
        return handle.pid is not None and system.loader.process_ended(handle)
    return True  # a file


def _taken(handle: Handle, thread: Any) -> int:
    """What a wait that is over does to the object; WAIT_ABANDONED for the mutex of a thread that has ended, else 0."""
    if handle.kind == "mutex":
        abandoned = handle.owner is not None and handle.owner is not thread
        handle.owner = thread
        handle.depth = 1 if abandoned else handle.depth + 1
        return _WAIT_ABANDONED if abandoned else 0
    if handle.kind == "semaphore":
        handle.value -= 1
    elif handle.kind == "timer":
        if handle.period:
            handle.due = max((handle.due or 0.0) + handle.period, time.monotonic() - handle.period)
        elif not handle.manual:
            handle.due = None
    elif handle.kind == "event" and not handle.manual:
        handle.signalled = False
    return 0


def _object(system: System, number: int) -> Handle | None:
    if number & 0xFFFFFFFF == 0xFFFFFFFE:
        return Handle("thread", thread=system.threads.current)
    return system.handle(number, *_WAITABLE)


@KERNEL32("WaitForSingleObject", "pu")
@KERNEL32("WaitForSingleObjectEx", "puu")
def wait_for_single_object(system: System, handle: int, milliseconds: int, alertable: int = 0) -> Any:  # fmt: skip
    found = _object(system, handle)
    return _FAILED if found is None else _wait(system, [found], True, milliseconds, alertable)


@KERNEL32("WaitForMultipleObjects", "upuu")
@KERNEL32("WaitForMultipleObjectsEx", "upuuu")
def wait_for_multiple_objects(system: System, count: int, handles: int, everything: int, milliseconds: int, alertable: int = 0) -> Any:  # fmt: skip
    if not 0 < count <= 64:
        return system.fail(87, _FAILED)
    found = [_object(system, system.number(handles + i * system.word)) for i in range(count)]
    if None in found:
        return _FAILED
    return _wait(system, found, bool(everything), milliseconds, alertable)  # type: ignore[arg-type]


@KERNEL32("SignalObjectAndWait", "ppuu")
def signal_object_and_wait(system: System, signal: int, handle: int, milliseconds: int, alertable: int) -> Any:  # fmt: skip
    first, found = system.handle(signal, *_SIGNALS), _object(system, handle)
    if first is None or found is None:
        return _FAILED
    if not _SIGNALS[first.kind](system, first):
        return _FAILED
    return _wait(system, [found], True, milliseconds, alertable)


def _wait(system: System, handles: list[Handle], everything: bool, milliseconds: int, alertable: int) -> Task:  # fmt: skip
    thread = system.threads.current
    apcs: list[Any] = thread.crt.setdefault("apcs", []) if alertable else []
    waiting: list[Any] = system.cache.setdefault("requests", [])
    check: Callable[[Any], bool] = all if everything else any

    outside = any(h.kind in _OUTSIDE for h in handles) or Waiting(waiting)

    def ready() -> bool:
        if waiting:
            completion.poll(system)
        return bool(apcs) or check(_signalled(system, h, thread) for h in handles)

    done = yield Wait(ready, None if milliseconds == INFINITE else milliseconds / 1000, outside)
    if not done:
        return _WAIT_TIMEOUT
    if apcs and not check(_signalled(system, h, thread) for h in handles):
        yield from run_apcs(system)
        return _WAIT_APC
    if everything:
        return max([_taken(handle, thread) for handle in handles])
    first = next(i for i, h in enumerate(handles) if _signalled(system, h, thread))
    return first + _taken(handles[first], thread)


# -- objects with handles -------------------------------------------------------------------------


def _create(system: System, name: str | None, kind: str, **values: Any) -> int:
    """A handle of a new object, or of the one that has that name and kind already (ERROR_ALREADY_EXISTS)."""
    key = (name or "").removeprefix("Local\\").removeprefix("Global\\")
    known = system.names.get(key) if key else None
    if known is not None:
        if known.kind != kind:
            return system.fail(6)
        known.count += 1
        return system.fail(183, system.add(known))
    handle = Handle(kind, **values)
    if key:
        system.name(key, handle)
    system.last_error = 0
    return system.add(handle)


def _event(_system: System, manual: int, state: int) -> dict[str, Any]:
    return {"manual": bool(manual), "signalled": bool(state)}


def _mutex(system: System, owned: int) -> dict[str, Any]:
    return {"owner": system.threads.current if owned else None, "depth": 1 if owned else 0}


def _semaphore(_system: System, value: int, most: int) -> dict[str, Any] | None:
    return {"value": value, "most": most} if 0 <= value <= most and most else None


def _timer(_system: System, manual: int) -> dict[str, Any]:
    return {"manual": bool(manual), "due": None, "period": 0.0}


# fmt: off
#: kind -> (what a new one has; None: the arguments are wrong, who opens it)
_KINDS: dict[str, tuple[Callable[..., dict[str, Any] | None], str]] = {
    "event":     (_event,     "OpenEvent"),
    "mutex":     (_mutex,     "OpenMutex"),
    "semaphore": (_semaphore, "OpenSemaphore"),
    "timer":     (_timer,     "OpenWaitableTimer"),
}
#: function, its signature, kind, (name, what its kind wants to know) of its arguments
_CREATORS: tuple[tuple[str, str, str, Callable[..., tuple[Any, ...]]], ...] = (
    ("CreateEvent",           "puut",   "event",     lambda _, manual, state, name: (name, manual, state)),
    ("CreateEventEx",         "ptuu",   "event",     lambda _, name, flags, _access: (name, flags & 1, flags & 2)),
    ("CreateMutex",           "put",    "mutex",     lambda _, owned, name: (name, owned)),
    ("CreateMutexEx",         "ptuu",   "mutex",     lambda _, name, flags, _access: (name, flags & 1)),
    ("CreateSemaphore",       "piit",   "semaphore", lambda _, value, most, name: (name, value, most)),
    ("CreateSemaphoreEx",     "piituu", "semaphore", lambda _, value, most, name, _flags, _access: (name, value, most)),
    ("CreateWaitableTimer",   "put",    "timer",     lambda _, manual, name: (name, manual)),
    ("CreateWaitableTimerEx", "ptuu",   "timer",     lambda _, name, flags, _access: (name, flags & 1)),
)
# fmt: on


def _declare_creator(function: str, signature: str, kind: str, parts: Callable[..., tuple[Any, ...]]) -> None:  # fmt: skip
    make = _KINDS[kind][0]

    @KERNEL32.both(function, signature, "p")
    def action(system: System, _wide: bool, *arguments: Any) -> int:
        name, *values = parts(*arguments)
        made = make(system, *values)
        return system.fail(87) if made is None else _create(system, name, kind, **made)


def _declare_opener(kind: str, function: str) -> None:
    @KERNEL32.both(function, "uut", "p")
    def action(system: System, _wide: bool, _access: int, _inherit: int, name: str) -> int:
        if not name:
            return system.fail(87)
        return system.open_named(name.removeprefix("Local\\").removeprefix("Global\\"), kind)


for _row in _CREATORS:
    _declare_creator(*_row)
for _kind, (_, _opener) in _KINDS.items():
    _declare_opener(_kind, _opener)


# -- what is done to them: each with a handle of its kind, and 1 when it is done ------------------


def _set(_system: System, found: Handle) -> int:
    found.signalled = True
    return 1


def _reset(_system: System, found: Handle) -> int:
    found.signalled = False
    return 1


def _pulse(_system: System, found: Handle) -> Task:
    """Those who wait now have one turn."""
    found.signalled = True
    seen = [0]

    def next_turn() -> bool:
        seen[0] += 1
        return seen[0] > 2

    yield Wait(next_turn)
    found.signalled = False
    return 1


def _release_mutex(system: System, found: Handle) -> int:
    if found.owner is not system.threads.current:
        return system.fail(288)  # ERROR_NOT_OWNER
    found.depth -= 1
    if not found.depth:
        found.owner = None
    return 1


def _release_semaphore(system: System, found: Handle, count: int = 1, before: int = 0) -> int:
    if count <= 0:
        return system.fail(87)
    if found.value + count > found.most:
        return system.fail(298)  # ERROR_TOO_MANY_POSTS
    if before:
        system.put(before, found.value, 4)
    found.value += count
    return 1


def _set_timer(system: System, found: Handle, due: int, period: int, *_: int) -> int:
    when = system.number(due, 8)
    if when >> 63:  # relative
        seconds = ((1 << 64) - when) / 10_000_000
    else:
        seconds = (when - EPOCH) / 10_000_000 - time.time()
    found.due, found.period = time.monotonic() + seconds, max(period, 0) / 1000
    return 1


def _cancel_timer(_system: System, found: Handle) -> int:
    found.due, found.period = None, 0.0
    return 1


# fmt: off
#: function -> (signature, kind of the handle, what it does)
_ACTIONS: dict[str, tuple[str, str, Callable[..., Any]]] = {
    "SetEvent":            ("p",      "event",     _set),
    "ResetEvent":          ("p",      "event",     _reset),
    "PulseEvent":          ("p",      "event",     _pulse),
    "ReleaseMutex":        ("p",      "mutex",     _release_mutex),
    "ReleaseSemaphore":    ("pip",    "semaphore", _release_semaphore),
    "SetWaitableTimer":    ("ppippu", "timer",     _set_timer),
    "CancelWaitableTimer": ("p",      "timer",     _cancel_timer),
}
#: SignalObjectAndWait, by kind
_SIGNALS: dict[str, Callable[[System, Handle], int]] = {"event": _set, "mutex": _release_mutex, "semaphore": _release_semaphore}
# fmt: on


def _declare_action(function: str, signature: str, kind: str, act: Callable[..., Any]) -> None:
    @KERNEL32(function, signature)
    def action(system: System, handle: int, *arguments: int) -> Any:
        found = system.handle(handle, kind)
        return 0 if found is None else act(system, found, *arguments)


for _name, (_signature, _kind, _act) in _ACTIONS.items():
    _declare_action(_name, _signature, _kind, _act)
