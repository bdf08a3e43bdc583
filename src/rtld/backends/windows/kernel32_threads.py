"""KERNEL32.dll: threads, their end, sleep, and functions called in threads of a pool."""

from __future__ import annotations

import time

from rtld.backends.windows.api import Call, Exited, ThreadExited, Wait, Waiting
from rtld.backends.windows.kernel32 import INFINITE, KERNEL32
from rtld.backends.windows.system import Handle
from rtld.core.late import Late

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from rtld.backends.windows import completion
    from rtld.backends.windows.system import System
    from rtld.backends.windows.threads import Thread

    Task = Generator[Any, Any, Any]
else:
    completion = Late("rtld.backends.windows.completion")

# -- threads --------------------------------------------------------------------------------------


@KERNEL32("CreateThread", "pppppp", "p")
def create_thread(system: System, _sa: int, stack: int, start: int, argument: int, flags: int, out: int) -> int:  # fmt: skip
    return begin(system, system.loader.new_thread(start, argument, stack & 0xFFFFFFFF), flags, out)


def begin(system: System, thread: Thread, flags: int, out: int) -> int:
    """The handle of a thread that is new; its number goes to *out*, if that is not 0."""
    handle = Handle("thread", thread=thread, owner=None)
    thread.handle = handle
    thread.suspended = 1 if flags & 4 else 0  # CREATE_SUSPENDED
    if out:
        system.put(out, thread.number, 4)
    return system.add(handle)


@KERNEL32("ExitThread", "u", "v")
def exit_thread(system: System, code: int) -> Task:
    yield from system.loader.detach_thread()
    raise ThreadExited(code)


@KERNEL32("ExitProcess", "u", "v")
def exit_process(system: System, code: int) -> Task:
    yield from system.loader.detach_process()
    raise Exited(code)


def thread_of(system: System, handle: int) -> Any:
    """The thread of a handle, also of GetCurrentThread's; None, and ERROR_INVALID_HANDLE, without one."""
    if handle & 0xFFFFFFFF == 0xFFFFFFFE:
        return system.threads.current
    found = system.handle(handle, "thread")
    return None if found is None else found.thread


@KERNEL32("GetExitCodeThread", "pp")
def get_exit_code_thread(system: System, handle: int, out: int) -> int:
    thread = thread_of(system, handle)
    if thread is None:
        return 0
    system.put(out, 259 if thread.code is None else thread.code, 4)
    return 1


@KERNEL32("TerminateThread", "pu")
def terminate_thread(system: System, handle: int, code: int) -> int:
    thread = thread_of(system, handle)
    if thread is None:
        return 0
    if thread is system.threads.current:
        raise ThreadExited(code)
    thread.code = code
    return 1


@KERNEL32("SuspendThread", "p")
def suspend_thread(system: System, handle: int) -> Task:
    thread = thread_of(system, handle)
    if thread is None:
        return INFINITE
    before: int = thread.suspended
    thread.suspended += 1
    if thread is system.threads.current:
        yield Wait(lambda: not thread.suspended)
    return before


@KERNEL32("GetThreadId", "p")
def get_thread_id(system: System, handle: int) -> int:
    thread = thread_of(system, handle)
    return 0 if thread is None else int(thread.number)


@KERNEL32("GetProcessIdOfThread", "p")
def get_process_id_of_thread(system: System, handle: int) -> int:
    return 0 if thread_of(system, handle) is None else 4


@KERNEL32("OpenThread", "uuu", "p")
def open_thread(system: System, _access: int, _inherit: int, number: int) -> int:
    for thread in system.threads.threads:
        if thread.number == number and thread.code is None:
            return system.add(Handle("thread", thread=thread))
    return system.fail(87)


@KERNEL32("SetThreadPriority", "pi")
def set_thread_priority(system: System, handle: int, priority: int) -> int:
    thread = thread_of(system, handle)
    if thread is None:
        return 0
    if not -2 <= priority <= 2 and priority not in (-15, 15):
        return system.fail(87)
    thread.crt["priority"] = priority
    return 1


@KERNEL32("GetThreadPriority", "p", "i")
def get_thread_priority(system: System, handle: int) -> int:
    thread = thread_of(system, handle)
    return 0x7FFFFFFF if thread is None else int(thread.crt.get("priority", 0))


@KERNEL32("GetThreadTimes", "ppppp")
def get_thread_times(system: System, handle: int, *places: int) -> int:
    if thread_of(system, handle) is None:
        return 0
    for place, value in zip(places, (0, 0, 0, time.process_time_ns() // 100), strict=True):
        system.put(place, value, 8)
    return 1


@KERNEL32("SetThreadAffinityMask", "pp", "p")
def set_thread_affinity_mask(_system: System, _thread: int, _mask: int) -> int:
    return 1


@KERNEL32("SetThreadDescription", "pw", "i")
def set_thread_description(system: System, handle: int, text: str) -> int:
    thread = thread_of(system, handle)
    if thread is None:
        return -2147024890  # HRESULT of ERROR_INVALID_HANDLE
    thread.crt["description"] = text or ""
    return 0


@KERNEL32("GetThreadDescription", "pp", "i")
def get_thread_description(system: System, handle: int, out: int) -> int:
    thread = thread_of(system, handle)
    if thread is None:
        return -2147024890
    data = thread.crt.get("description", "").encode("utf-16-le", "surrogatepass") + b"\0\0"
    at = system.heap.allocate(len(data))
    system.memory.write(at, data)
    system.put(out, at)
    return 0


@KERNEL32("ResumeThread", "p")
def resume_thread(system: System, handle: int) -> int:
    thread = thread_of(system, handle)
    if thread is None:
        return INFINITE
    before: int = thread.suspended
    thread.suspended = max(0, before - 1)
    return before


@KERNEL32("GetCurrentThreadId")
def get_current_thread_id(system: System) -> int:
    return int(system.threads.current.number)


@KERNEL32("GetCurrentThread", "", "p")
def get_current_thread(_system: System) -> int:
    return -2


@KERNEL32("Sleep", "u", "v")
def sleep(_system: System, milliseconds: int) -> Task:
    until = time.monotonic() + milliseconds / 1000
    if milliseconds == INFINITE:
        yield Wait(lambda: False)
    elif milliseconds:
        yield Wait(lambda: time.monotonic() >= until, milliseconds / 1000)
    else:
        seen = [0]

        def next_turn() -> bool:
            seen[0] += 1
            return seen[0] > 1

        yield Wait(next_turn)


@KERNEL32("SleepEx", "uu")
def sleep_ex(system: System, milliseconds: int, alertable: int) -> Task:
    waiting: list[Any] = system.threads.current.crt.setdefault("apcs", [])
    if not alertable:
        yield from sleep(system, milliseconds)
        return 0
    requests: list[Any] = system.cache.setdefault("requests", [])

    def ready() -> bool:
        if requests:
            completion.poll(system)
        return bool(waiting)

    done = yield Wait(ready, None if milliseconds == INFINITE else milliseconds / 1000, Waiting(requests))  # fmt: skip
    if not done:
        return 0
    yield from run_apcs(system)
    return 0xC0  # WAIT_IO_COMPLETION


@KERNEL32("QueueUserAPC", "ppp")
def queue_user_apc(system: System, function: int, handle: int, argument: int) -> int:
    thread = thread_of(system, handle)
    if thread is None:
        return 0
    thread.crt.setdefault("apcs", []).append((function, argument))
    return 1


def run_apcs(system: System) -> Task:
    """What others have queued for this thread."""
    waiting: list[Any] = system.threads.current.crt.get("apcs", [])
    while waiting:
        function, *arguments = waiting.pop(0)
        yield Call(function, tuple(arguments))


@KERNEL32("SwitchToThread")
def switch_to_thread(system: System) -> Task:
    yield from sleep(system, 0)
    return 1


@KERNEL32("FreeLibraryAndExitThread", "pu", "v")
def free_library_and_exit_thread(system: System, handle: int, code: int) -> Task:
    yield from system.loader.free_library(handle)
    yield from exit_thread(system, code)


# -- functions in threads of a pool: each call has a thread of its own ----------------------------


def _in_pool(system: System, function: int, arguments: tuple[int, ...], state: dict[str, Any]) -> None:  # fmt: skip
    def body() -> Task:
        yield Call(function, arguments)
        state["running"] -= 1
        return 0

    state["running"] += 1
    system.loader.new_task(body())


@KERNEL32("QueueUserWorkItem", "ppu")
def queue_user_work_item(system: System, function: int, context: int, _flags: int) -> int:
    _in_pool(system, function, (context,), {"running": 0})
    return 1


@KERNEL32("TrySubmitThreadpoolCallback", "ppp")
def try_submit_threadpool_callback(system: System, function: int, context: int, _environment: int) -> int:  # fmt: skip
    _in_pool(system, function, (0x10, context), {"running": 0})
    return 1


@KERNEL32("CreateThreadpoolWork", "ppp", "p")
def create_threadpool_work(system: System, function: int, context: int, _environment: int) -> int:
    work = system.heap.allocate(64)
    system.cache[f"work {work}"] = {"function": function, "context": context, "running": 0}
    return work


@KERNEL32("SubmitThreadpoolWork", "p", "v")
def submit_threadpool_work(system: System, work: int) -> None:
    state: dict[str, Any] | None = system.cache.get(f"work {work}")
    if state is not None:
        _in_pool(system, state["function"], (0x10, state["context"], work), state)


@KERNEL32("WaitForThreadpoolWorkCallbacks", "pu", "v")
def wait_for_threadpool_work_callbacks(system: System, work: int, _cancel: int) -> Task:
    state: dict[str, Any] = system.cache.get(f"work {work}", {"running": 0})
    yield Wait(lambda: not state["running"])


@KERNEL32("CloseThreadpoolWork", "p", "v")
def close_threadpool_work(system: System, work: int) -> None:
    system.cache.pop(f"work {work}", None)
    system.heap.free(work)


def _timer(system: System, function: int, context: int, due: int, period: int, once: bool) -> Any:
    state = {"stop": False, "running": 0}

    def body() -> Task:
        wait = due
        while True:
            stopped = yield Wait(lambda: state["stop"], wait / 1000)
            if stopped:
                return 0
            state["running"] += 1
            yield Call(function, (context, 1))
            state["running"] -= 1
            if not period or once:
                return 0
            wait = period

    system.loader.new_task(body())
    return state


@KERNEL32("CreateTimerQueueTimer", "ppppuuu")
def create_timer_queue_timer(system: System, out: int, _queue: int, function: int, context: int, due: int, period: int, flags: int) -> int:  # fmt: skip
    state = _timer(system, function, context, due, period, bool(flags & 8))
    system.put(out, system.add(Handle("queue timer", state=state)))
    return 1


@KERNEL32("DeleteTimerQueueTimer", "ppp")
def delete_timer_queue_timer(system: System, _queue: int, timer: int, event: int) -> Any:
    found = system.handle(timer, "queue timer")
    if found is None:
        return 0
    found.state["stop"] = True
    system.close(timer)
    return ended(system, found.state, event)


def ended(system: System, state: dict[str, Any], event: int) -> Task:
    """With INVALID_HANDLE_VALUE the caller waits for calls that run; an event is set when they have ended."""
    if event:
        yield Wait(lambda: not state["running"])
        found = system.handles.get(event)
        if found is not None and found.kind == "event":
            found.signalled = True
    return 1


@KERNEL32("CreateTimerQueue", "", "p")
def create_timer_queue(system: System) -> int:
    return system.add(Handle("timer queue"))


@KERNEL32("DeleteTimerQueueEx", "pp")
@KERNEL32("DeleteTimerQueue", "p")
def delete_timer_queue(system: System, queue: int, _event: int = 0) -> int:
    return int(system.close(queue)) or system.fail(6)
