"""KERNEL32.dll: timers and waits of a thread pool ("Thread Pools", learn.microsoft.com): each has a thread of its own."""

from __future__ import annotations

import time

from rtld.backends.windows.api import Call, Wait
from rtld.backends.windows.kernel32 import INFINITE, KERNEL32
from rtld.backends.windows.kernel32_sync import wait_for_single_object
from rtld.backends.windows.paths import EPOCH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from rtld.backends.windows.system import System

    Task = Generator[Any, Any, Any]

_INSTANCE = 0x10


class Pooled:
    """A timer or a wait. ``turn`` counts how often it was set: what an earlier setting has begun ends."""

    def __init__(self, function: int, context: int) -> None:
        self.function = function
        self.context = context
        self.turn = 0
        self.running = 0


def _known(system: System) -> dict[int, Pooled]:
    found: dict[int, Pooled] = system.cache.setdefault("pooled", {})
    return found


@KERNEL32("CreateThreadpoolTimer CreateThreadpoolWait", "ppp", "p")
def create(system: System, function: int, context: int, _environment: int) -> int:
    at = system.heap.allocate(64)
    _known(system)[at] = Pooled(function, context)
    return at


@KERNEL32("CloseThreadpoolTimer CloseThreadpoolWait", "p", "v")
def close(system: System, at: int) -> None:
    found = _known(system).pop(at, None)
    if found is not None:
        found.turn += 1
        system.heap.free(at)


@KERNEL32("WaitForThreadpoolTimerCallbacks WaitForThreadpoolWaitCallbacks", "pu", "v")
def wait_for_callbacks(system: System, at: int, cancel: int) -> Any:
    found = _known(system).get(at)
    if found is None:
        return None
    if cancel:
        found.turn += 1
    return _idle(found)


def _idle(found: Pooled) -> Task:
    yield Wait(lambda: not found.running)


def _called(found: Pooled, arguments: tuple[int, ...]) -> Task:
    found.running += 1
    yield Call(found.function, (_INSTANCE, found.context, *arguments))
    found.running -= 1


def _seconds(system: System, at: int) -> float:
    """From a FILETIME: how long it is until then; negative ones say so themselves."""
    value = system.number(at, 8)
    if value >> 63:
        return ((1 << 64) - value) / 10_000_000
    return max((value - EPOCH) / 10_000_000 - time.time(), 0.0)


@KERNEL32("SetThreadpoolTimer", "ppuu", "v")
@KERNEL32("SetThreadpoolTimerEx", "ppuu")
def set_timer(system: System, at: int, due: int, period: int, _window: int) -> int:
    found = _known(system).get(at)
    if found is None:
        return 0
    found.turn += 1
    if due:
        system.loader.new_task(_timer(found, at, found.turn, _seconds(system, due), period / 1000))
    return 1


def _timer(found: Pooled, at: int, turn: int, seconds: float, period: float) -> Task:
    while True:
        if (yield Wait(lambda: found.turn != turn, seconds)):
            return 0
        yield from _called(found, (at,))
        if not period or found.turn != turn:
            return 0
        seconds = period


@KERNEL32("SetThreadpoolWait", "ppp", "v")
@KERNEL32("SetThreadpoolWaitEx", "pppp")
def set_wait(system: System, at: int, handle: int, timeout: int, _reserved: int = 0) -> int:
    found = _known(system).get(at)
    if found is None:
        return 0
    found.turn += 1
    if handle and system.handle(handle) is not None:
        milliseconds = min(int(_seconds(system, timeout) * 1000), INFINITE - 1) if timeout else INFINITE  # fmt: skip
        system.loader.new_task(_waiter(system, found, at, found.turn, handle, milliseconds))
    return 1


def _waiter(system: System, found: Pooled, at: int, turn: int, handle: int, milliseconds: int) -> Task:  # fmt: skip
    task = wait_for_single_object(system, handle, milliseconds)
    if not hasattr(task, "send"):
        return 0
    value: Any = None
    while True:
        try:
            effect = task.send(value)
        except StopIteration as stop:
            answer = int(stop.value)
            break
        ready = effect.ready
        value = yield effect._replace(ready=lambda r=ready: found.turn != turn or r())
        if found.turn != turn:
            task.close()
            return 0
    yield from _called(found, (at, answer))
    return 0
