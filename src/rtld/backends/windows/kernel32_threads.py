"""KERNEL32.dll: threads and processes, waits, events, mutexes, semaphores, critical sections."""

from __future__ import annotations

import os
import time

from rtld.backends.windows.api import Call, Exited, ThreadExited, Wait
from rtld.backends.windows.kernel32 import INFINITE, KERNEL32
from rtld.backends.windows.system import Handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from rtld.backends.windows.system import System

    Task = Generator[Any, Any, Any]

# -- threads --------------------------------------------------------------------------------------


@KERNEL32("CreateThread", "pppppp", "p")
def create_thread(system: System, _sa: int, stack: int, start: int, argument: int, flags: int, out: int) -> int:  # fmt: skip
    thread = system.loader.new_thread(start, argument, stack & 0xFFFFFFFF)
    handle = Handle("thread", thread=thread, owner=None)
    thread.handle = handle
    thread.suspended = 1 if flags & 4 else 0
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


@KERNEL32("TerminateProcess", "pu")
def terminate_process(_system: System, _handle: int, code: int) -> int:
    raise Exited(code)


@KERNEL32("GetExitCodeThread", "pp")
def get_exit_code_thread(system: System, handle: int, out: int) -> int:
    found = system.handle(handle, "thread")
    if found is None:
        return 0
    system.put(out, 259 if found.thread.code is None else found.thread.code, 4)
    return 1


@KERNEL32("ResumeThread", "p")
def resume_thread(system: System, handle: int) -> int:
    found = system.handle(handle, "thread")
    if found is None:
        return INFINITE
    before: int = found.thread.suspended
    found.thread.suspended = max(0, before - 1)
    return before


@KERNEL32("GetCurrentThreadId")
def get_current_thread_id(system: System) -> int:
    return int(system.threads.current.number)


@KERNEL32("GetCurrentProcessId")
def get_current_process_id(_system: System) -> int:
    return 4


@KERNEL32("GetCurrentProcess", "", "p")
def get_current_process(_system: System) -> int:
    return -1


@KERNEL32("GetCurrentThread", "", "p")
def get_current_thread(_system: System) -> int:
    return -2


@KERNEL32("Sleep", "u", "v")
def sleep(_system: System, milliseconds: int) -> Task:
    until = time.monotonic() + milliseconds / 1000
    if milliseconds:
        yield Wait(lambda: time.monotonic() >= until, None if milliseconds == INFINITE else milliseconds / 1000)  # fmt: skip
    else:
        seen = [0]

        def next_turn() -> bool:
            seen[0] += 1
            return seen[0] > 1

        yield Wait(next_turn)


@KERNEL32("SwitchToThread")
def switch_to_thread(system: System) -> Task:
    yield from sleep(system, 0)
    return 1


def _signalled(system: System, handle: Handle) -> bool:
    if handle.kind == "mutex":
        return handle.owner in (None, system.threads.current)
    if handle.kind == "semaphore":
        return bool(handle.value > 0)
    return handle.signalled


def _taken(system: System, handle: Handle) -> None:
    """What a wait that is over does to the object."""
    if handle.kind == "mutex":
        handle.owner = system.threads.current
        handle.depth += 1
    elif handle.kind == "semaphore":
        handle.value -= 1
    elif not handle.manual:
        handle.signalled = False


@KERNEL32("WaitForSingleObject", "pu")
@KERNEL32("WaitForSingleObjectEx", "puu")
def wait_for_single_object(system: System, handle: int, milliseconds: int, _alertable: int = 0) -> Any:  # fmt: skip
    found = system.handle(handle, "thread", "event", "mutex", "semaphore")
    return INFINITE if found is None else _wait(system, [found], True, milliseconds)


@KERNEL32("WaitForMultipleObjects", "upuu")
@KERNEL32("WaitForMultipleObjectsEx", "upuuu")
def wait_for_multiple_objects(system: System, count: int, handles: int, everything: int, milliseconds: int, _alertable: int = 0) -> Any:  # fmt: skip
    found = [system.handle(system.number(handles + i * system.word)) for i in range(min(count, 64))]
    if None in found or not found:
        return INFINITE
    return _wait(system, found, bool(everything), milliseconds)  # type: ignore[arg-type]


def _wait(system: System, handles: list[Handle], everything: bool, milliseconds: int) -> Task:  # fmt: skip
    thread = system.threads.current

    def ready() -> bool:
        now, system.threads.current = system.threads.current, thread
        try:
            states = [_signalled(system, h) for h in handles]
        finally:
            system.threads.current = now
        return all(states) if everything else any(states)

    done = yield Wait(ready, None if milliseconds == INFINITE else milliseconds / 1000)
    if not done:
        return 258  # WAIT_TIMEOUT
    if everything:
        for handle in handles:
            _taken(system, handle)
        return 0
    first = next(i for i, h in enumerate(handles) if _signalled(system, h))
    _taken(system, handles[first])
    return first


@KERNEL32("CreateEventA CreateEventW", "puup", "p")
def create_event(system: System, _sa: int, manual: int, state: int, _name: int) -> int:
    handle = Handle("event")
    handle.manual, handle.signalled = bool(manual), bool(state)
    return system.add(handle)


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


@KERNEL32("CreateMutexA CreateMutexW", "pup", "p")
def create_mutex(system: System, _sa: int, owned: int, _name: int) -> int:
    mine = system.threads.current if owned else None
    return system.add(Handle("mutex", owner=mine, depth=1 if owned else 0))


@KERNEL32("ReleaseMutex", "p")
def release_mutex(system: System, handle: int) -> int:
    found = system.handle(handle, "mutex")
    if found is None or found.owner is not system.threads.current:
        return system.fail(288)
    found.depth -= 1
    if not found.depth:
        found.owner = None
    return 1


@KERNEL32("CreateSemaphoreA CreateSemaphoreW", "piip", "p")
def create_semaphore(system: System, _sa: int, value: int, most: int, _name: int) -> int:
    return system.add(Handle("semaphore", value=value, most=most))


@KERNEL32("ReleaseSemaphore", "pip")
def release_semaphore(system: System, handle: int, count: int, before: int) -> int:
    found = system.handle(handle, "semaphore")
    if found is None or found.value + count > found.most:
        return system.fail(298)
    if before:
        system.put(before, found.value, 4)
    found.value += count
    return 1


@KERNEL32("CloseHandle", "p")
def close_handle(system: System, handle: int) -> int:
    found = system.handles.pop(handle, None)
    if found is None:
        return system.fail(6)
    if found.kind == "file":
        os.close(found.fd)
    return 1


@KERNEL32("DuplicateHandle", "pppppuu")
def duplicate_handle(system: System, _from: int, handle: int, _to: int, out: int, _access: int, _inherit: int, _options: int) -> int:  # fmt: skip
    word = (1 << system.bits) - 1
    if handle & word in (word, word - 1):
        found: Handle | None = Handle("thread", thread=system.threads.current)
    else:
        found = system.handle(handle)
    if found is None:
        return 0
    system.put(out, system.add(found))
    return 1


# -- critical sections ----------------------------------------------------------------------------


@KERNEL32("InitializeCriticalSection", "p", "v")
@KERNEL32("InitializeCriticalSectionAndSpinCount", "pu")
@KERNEL32("InitializeCriticalSectionEx", "puu")
def initialize_critical_section(system: System, section: int, *_: int) -> int:
    system.sections[section] = [None, 0]
    return 1


@KERNEL32("DeleteCriticalSection", "p", "v")
def delete_critical_section(system: System, section: int) -> None:
    system.sections.pop(section, None)


@KERNEL32("EnterCriticalSection", "p", "v")
def enter_critical_section(system: System, section: int) -> Any:
    state = system.sections.setdefault(section, [None, 0])
    thread = system.threads.current
    if state[0] in (None, thread):
        state[0] = thread
        state[1] += 1
        return None
    return _enter(state, thread)


def _enter(state: list[Any], thread: Any) -> Task:
    yield Wait(lambda: state[0] is None)
    state[0], state[1] = thread, 1


@KERNEL32("TryEnterCriticalSection", "p")
def try_enter_critical_section(system: System, section: int) -> int:
    state = system.sections.setdefault(section, [None, 0])
    if state[0] not in (None, system.threads.current):
        return 0
    state[0] = system.threads.current
    state[1] += 1
    return 1


@KERNEL32("LeaveCriticalSection", "p", "v")
def leave_critical_section(system: System, section: int) -> None:
    state = system.sections.setdefault(section, [None, 0])
    state[1] = max(0, state[1] - 1)
    if not state[1]:
        state[0] = None


@KERNEL32("InitializeSRWLock InitializeConditionVariable", "p", "v")
def initialize_lock(system: System, lock: int) -> None:
    system.put(lock, 0)


@KERNEL32("AcquireSRWLockExclusive AcquireSRWLockShared", "p", "v")
def acquire_srw_lock(system: System, lock: int) -> Any:
    return enter_critical_section(system, lock)


@KERNEL32("ReleaseSRWLockExclusive ReleaseSRWLockShared", "p", "v")
def release_srw_lock(system: System, lock: int) -> None:
    leave_critical_section(system, lock)


@KERNEL32("InitOnceExecuteOnce", "pppp")
def init_once_execute_once(system: System, once: int, function: int, parameter: int, context: int) -> Task:  # fmt: skip
    if system.number(once) & 3 != 2:
        done = yield Call(function, (once, parameter, context))
        if not done & 0xFFFFFFFF:
            return 0
        system.put(once, 2)
    return 1


@KERNEL32("FreeLibraryAndExitThread", "pu", "v")
def free_library_and_exit_thread(system: System, handle: int, code: int) -> Task:
    yield from system.loader.free_library(handle)
    yield from exit_thread(system, code)
