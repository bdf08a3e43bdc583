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
    first, found = system.handle(signal, "event", "mutex", "semaphore"), _object(system, handle)
    if first is None or found is None:
        return _FAILED
    done = {"event": set_event, "mutex": release_mutex}.get(first.kind)
    if not (done(system, signal) if done is not None else release_semaphore(system, signal, 1, 0)):
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


def _open(kind: str, names: str) -> None:
    @KERNEL32.both(names, "uut", "p")
    def action(system: System, _wide: bool, _access: int, _inherit: int, name: str) -> int:
        if not name:
            return system.fail(87)
        return system.open_named(name.removeprefix("Local\\").removeprefix("Global\\"), kind)


for _kind, _names in {"event": "OpenEvent", "mutex": "OpenMutex", "semaphore": "OpenSemaphore", "timer": "OpenWaitableTimer"}.items():  # fmt: skip
    _open(_kind, _names)


@KERNEL32.both("CreateEvent", "puut", "p")
def create_event(system: System, _wide: bool, _sa: int, manual: int, state: int, name: str) -> int:
    return _create(system, name, "event", manual=bool(manual), signalled=bool(state))


@KERNEL32.both("CreateEventEx", "ptuu", "p")
def create_event_ex(system: System, wide: bool, sa: int, name: str, flags: int, _access: int) -> int:  # fmt: skip
    return int(create_event(system, wide, sa, flags & 1, flags & 2, name))


@KERNEL32("SetEvent", "p")
def set_event(system: System, handle: int) -> int:
    found = system.handle(handle, "event")
    if found is None:
        return 0
    found.signalled = True
    return 1


@KERNEL32("ResetEvent", "p")
def reset_event(system: System, handle: int) -> int:
    found = system.handle(handle, "event")
    if found is None:
        return 0
    found.signalled = False
    return 1


@KERNEL32("PulseEvent", "p")
def pulse_event(system: System, handle: int) -> Any:
    found = system.handle(handle, "event")
    return 0 if found is None else _pulse(found)


def _pulse(found: Handle) -> Task:
    """Those who wait now have one turn."""
    found.signalled = True
    seen = [0]

    def next_turn() -> bool:
        seen[0] += 1
        return seen[0] > 2

    yield Wait(next_turn)
    found.signalled = False
    return 1


@KERNEL32.both("CreateMutex", "put", "p")
def create_mutex(system: System, _wide: bool, _sa: int, owned: int, name: str) -> int:
    mine = system.threads.current if owned else None
    return _create(system, name, "mutex", owner=mine, depth=1 if owned else 0)


@KERNEL32.both("CreateMutexEx", "ptuu", "p")
def create_mutex_ex(system: System, wide: bool, sa: int, name: str, flags: int, _access: int) -> int:  # fmt: skip
    return int(create_mutex(system, wide, sa, flags & 1, name))


@KERNEL32("ReleaseMutex", "p")
def release_mutex(system: System, handle: int) -> int:
    found = system.handle(handle, "mutex")
    if found is None:
        return 0
    if found.owner is not system.threads.current:
        return system.fail(288)  # ERROR_NOT_OWNER
    found.depth -= 1
    if not found.depth:
        found.owner = None
    return 1


@KERNEL32.both("CreateSemaphore", "piit", "p")
def create_semaphore(system: System, _wide: bool, _sa: int, value: int, most: int, name: str) -> int:  # fmt: skip
    if not 0 <= value <= most or not most:
        return system.fail(87)
    return _create(system, name, "semaphore", value=value, most=most)


@KERNEL32.both("CreateSemaphoreEx", "piituu", "p")
def create_semaphore_ex(system: System, wide: bool, sa: int, value: int, most: int, name: str, _flags: int, _access: int) -> int:  # fmt: skip
    return int(create_semaphore(system, wide, sa, value, most, name))


@KERNEL32("ReleaseSemaphore", "pip")
def release_semaphore(system: System, handle: int, count: int, before: int) -> int:
    found = system.handle(handle, "semaphore")
    if found is None:
        return 0
    if count <= 0:
        return system.fail(87)
    if found.value + count > found.most:
        return system.fail(298)  # ERROR_TOO_MANY_POSTS
    if before:
        system.put(before, found.value, 4)
    found.value += count
    return 1


@KERNEL32.both("CreateWaitableTimer", "put", "p")
def create_waitable_timer(system: System, _wide: bool, _sa: int, manual: int, name: str) -> int:
    return _create(system, name, "timer", manual=bool(manual), due=None, period=0.0)


@KERNEL32.both("CreateWaitableTimerEx", "ptuu", "p")
def create_waitable_timer_ex(system: System, wide: bool, sa: int, name: str, flags: int, _access: int) -> int:  # fmt: skip
    return int(create_waitable_timer(system, wide, sa, flags & 1, name))


@KERNEL32("SetWaitableTimer", "ppippu")
def set_waitable_timer(system: System, handle: int, due: int, period: int, _function: int, _argument: int, _resume: int) -> int:  # fmt: skip
    found = system.handle(handle, "timer")
    if found is None:
        return 0
    when = system.number(due, 8)
    if when >> 63:  # relative
        seconds = ((1 << 64) - when) / 10_000_000
    else:
        seconds = (when - EPOCH) / 10_000_000 - time.time()
    found.due, found.period = time.monotonic() + seconds, max(period, 0) / 1000
    return 1


@KERNEL32("CancelWaitableTimer", "p")
def cancel_waitable_timer(system: System, handle: int) -> int:
    found = system.handle(handle, "timer")
    if found is None:
        return 0
    found.due, found.period = None, 0.0
    return 1
