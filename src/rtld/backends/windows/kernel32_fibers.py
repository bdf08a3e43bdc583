"""KERNEL32.dll: fibers, stacks that a thread changes between ("Fibers", learn.microsoft.com), and registers of other threads."""

from __future__ import annotations

from rtld.backends.windows.api import Call, ThreadExited
from rtld.backends.windows.context import capture
from rtld.backends.windows.hardware import Guard
from rtld.backends.windows.kernel32 import KERNEL32, fls_exit
from rtld.backends.windows.kernel32_threads import thread_of
from rtld.backends.windows.machine import STACK
from rtld.backends.windows.threads import Fiber, Frame, Switch
from rtld.core.space import page_up
from rtld.errors import TargetFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from rtld.backends.windows.system import System

    Task = Generator[Any, Any, Any]

_ALREADY = 1280  # ERROR_ALREADY_FIBER


def fiber_data(system: System) -> int:
    """Where the TEB says which fiber runs."""
    return int(system.threads.teb) + (0x20 if system.bits == 64 else 0x10)


def _known(system: System) -> dict[int, Fiber]:
    found: dict[int, Fiber] = system.cache.setdefault("fibers", {})
    return found


def _current(system: System) -> Fiber | None:
    return _known(system).get(system.number(fiber_data(system)))


def _emulated(system: System) -> None:
    if not hasattr(system.threads, "engine"):
        raise TargetFault("fibers are there on emulated CPUs only")


@KERNEL32("ConvertThreadToFiber", "p", "p")
@KERNEL32("ConvertThreadToFiberEx", "pu", "p")
def convert_thread_to_fiber(system: System, parameter: int, _flags: int = 0) -> int:
    _emulated(system)
    if _current(system) is not None:
        return system.fail(_ALREADY)
    fiber = Fiber(system.heap.allocate(64), None)
    system.put(fiber.at, parameter)
    system.put(fiber_data(system), fiber.at)
    _known(system)[fiber.at] = fiber
    return fiber.at


@KERNEL32("ConvertFiberToThread")
def convert_fiber_to_thread(system: System) -> int:
    fiber = _current(system)
    if fiber is None:
        return system.fail(1281)  # ERROR_ALREADY_THREAD
    del _known(system)[fiber.at]
    system.put(fiber_data(system), 0)
    return 1


@KERNEL32("IsThreadAFiber")
def is_thread_a_fiber(system: System) -> int:
    return int(_current(system) is not None)


@KERNEL32("CreateFiber", "ppp", "p")
def create_fiber(system: System, stack: int, function: int, parameter: int) -> int:
    return int(create_fiber_ex(system, 0, stack, 0, function, parameter))


@KERNEL32("CreateFiberEx", "ppupp", "p")
def create_fiber_ex(system: System, _commit: int, stack: int, _flags: int, function: int, parameter: int) -> int:  # fmt: skip
    _emulated(system)
    machine = system.threads
    size = page_up(max(min(stack or STACK, 1 << 30), 1 << 16))
    low = system.memory.allocate(size)
    fiber = Fiber(system.heap.allocate(64), (low, low + size))
    fiber.sp = low + size - 256 & -16
    fiber.guard = Guard(machine.memory, low)
    fiber.bounds = (low + size, fiber.guard.limit, low)
    fiber.frames = [Frame(_body(system, function, parameter), None, fiber.sp)]
    system.put(fiber.at, parameter)
    _known(system)[fiber.at] = fiber
    return fiber.at


def _body(system: System, function: int, parameter: int) -> Task:
    """A fiber whose function returns ends its thread."""
    yield Call(function, (parameter,))
    yield from system.loader.detach_thread()
    raise ThreadExited(0)


@KERNEL32("SwitchToFiber", "p", "v")
def switch_to_fiber(system: System, at: int) -> Task:
    fiber, current = _known(system).get(at), _current(system)
    if fiber is None or current is None:
        raise TargetFault(f"SwitchToFiber of {at:#x}, which is no fiber, or from a thread that is none")  # fmt: skip
    if fiber is not current:
        yield Switch(current, fiber, fiber_data(system))


@KERNEL32("DeleteFiber", "p", "v")
def delete_fiber(system: System, at: int) -> Any:
    fiber = _known(system).get(at)
    if fiber is None:
        return None
    if fiber is _current(system):
        return _end(system)
    del _known(system)[at]
    for frame in reversed(fiber.frames):
        frame.task.close()
    if fiber.stack is not None:
        system.memory.release(fiber.stack[0], fiber.stack[1] - fiber.stack[0])
    system.heap.free(at)
    return None


def _end(system: System) -> Task:
    """A fiber that deletes itself ends the thread."""
    yield from fls_exit(system)
    raise ThreadExited(1)


# -- registers of threads that stand still ---------------------------------------------------------


def _with_registers(system: System, handle: int, at: int, *, write: bool) -> int:
    thread = thread_of(system, handle)
    machine = system.threads
    if thread is None or not hasattr(machine, "engine"):
        return 0 if thread is None else system.fail(50)
    engine = machine.engine
    if thread is machine.current or thread.code is not None:
        return system.fail(87)
    own = engine.save()
    if thread.context is not None:
        engine.restore(thread.context)
    try:
        context = capture(system)
        frame = thread.frames[-1]
        inside = thread.pc is None  # in a function of ours, or not begun
        if inside:
            context.move(frame.pc, frame.sp)
        elif thread.pc is not None:
            context.move(thread.pc, context.sp)
        if not write:
            context.store(system.memory, at)
            return 1
        context.load(system.memory, at)
        if inside:
            return system.fail(5)  # what waits in a function of ours goes on behind it
        context.install(engine)
        thread.pc, thread.context = context.pc, engine.save()
        return 1
    finally:
        engine.restore(own)


@KERNEL32("GetThreadContext", "pp")
def get_thread_context(system: System, handle: int, at: int) -> int:
    return _with_registers(system, handle, at, write=False)


@KERNEL32("SetThreadContext", "pp")
def set_thread_context(system: System, handle: int, at: int) -> int:
    return _with_registers(system, handle, at, write=True)
