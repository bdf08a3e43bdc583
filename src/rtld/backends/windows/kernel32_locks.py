"""KERNEL32.dll: critical sections, slim locks, condition variables, what is done once, lists that need no lock."""

from __future__ import annotations

from rtld.backends.windows.api import Call, Wait
from rtld.backends.windows.kernel32 import INFINITE, KERNEL32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from rtld.backends.windows.system import System

    Task = Generator[Any, Any, Any]

# -- critical sections ----------------------------------------------------------------------------


_NO_DEBUG_INFO = 0x01000000


@KERNEL32("InitializeCriticalSection", "p", "v")
@KERNEL32("InitializeCriticalSectionAndSpinCount", "pu")
@KERNEL32("InitializeCriticalSectionEx", "puu")
def initialize_critical_section(system: System, section: int, spins: int = 0, flags: int = 0) -> int:  # fmt: skip
    """Its debug information is there, since programs write their names into it (RTL_CRITICAL_SECTION_DEBUG)."""
    system.sections[section] = [None, 0]
    word = system.word
    system.memory.write(section, b"\xff" * (word + 4) + bytes(4 + 2 * word) + spins.to_bytes(word, "little"))  # fmt: skip
    if not flags & _NO_DEBUG_INFO:
        debug = system.heap.allocate(4 * word + 16)
        system.put(debug + word, section)
        system.put(section, debug)
    return 1


@KERNEL32("DeleteCriticalSection", "p", "v")
def delete_critical_section(system: System, section: int) -> None:
    if system.sections.pop(section, None) is not None:
        debug = system.number(section)
        if debug != (1 << system.bits) - 1:
            system.heap.free(debug)
        system.put(section, 0)


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


@KERNEL32("SetCriticalSectionSpinCount", "pu")
def set_critical_section_spin_count(_system: System, _section: int, _count: int) -> int:
    return 0


# -- locks and condition variables that are a word of memory --------------------------------------
# A slim lock: 0 free, 1 owned by one, 16 for each who shares it.


@KERNEL32("InitializeSRWLock InitializeConditionVariable InitOnceInitialize", "p", "v")
def initialize_lock(system: System, lock: int) -> None:
    system.put(lock, 0)


@KERNEL32("AcquireSRWLockExclusive", "p", "v")
def acquire_srw_lock_exclusive(system: System, lock: int) -> Any:
    if system.number(lock):
        return _exclusive(system, lock)
    system.put(lock, 1)
    return None


def _exclusive(system: System, lock: int) -> Task:
    yield Wait(lambda: not system.number(lock))
    system.put(lock, 1)


@KERNEL32("AcquireSRWLockShared", "p", "v")
def acquire_srw_lock_shared(system: System, lock: int) -> Any:
    value = system.number(lock)
    if value & 1:
        return _shared(system, lock)
    system.put(lock, value + 16)
    return None


def _shared(system: System, lock: int) -> Task:
    yield Wait(lambda: not system.number(lock) & 1)
    system.put(lock, system.number(lock) + 16)


@KERNEL32("TryAcquireSRWLockExclusive", "p")
def try_acquire_srw_lock_exclusive(system: System, lock: int) -> int:
    if system.number(lock):
        return 0
    system.put(lock, 1)
    return 1


@KERNEL32("TryAcquireSRWLockShared", "p")
def try_acquire_srw_lock_shared(system: System, lock: int) -> int:
    value = system.number(lock)
    if value & 1:
        return 0
    system.put(lock, value + 16)
    return 1


@KERNEL32("ReleaseSRWLockExclusive", "p", "v")
def release_srw_lock_exclusive(system: System, lock: int) -> None:
    system.put(lock, 0)


@KERNEL32("ReleaseSRWLockShared", "p", "v")
def release_srw_lock_shared(system: System, lock: int) -> None:
    system.put(lock, max(system.number(lock) - 16, 0))


def _sleep_on(system: System, variable: int, milliseconds: int) -> Task:
    """Wait to be woken; whether it was in time."""
    waiters: list[list[bool]] = system.cache.setdefault("condition variables", {}).setdefault(variable, [])  # fmt: skip
    mine = [False]
    waiters.append(mine)
    done = yield Wait(lambda: mine[0], None if milliseconds == INFINITE else milliseconds / 1000)
    if not done and mine in waiters:
        waiters.remove(mine)
    return bool(done)


@KERNEL32("SleepConditionVariableCS", "ppu")
def sleep_condition_variable_cs(system: System, variable: int, section: int, milliseconds: int) -> Task:  # fmt: skip
    leave_critical_section(system, section)
    done = yield from _sleep_on(system, variable, milliseconds)
    again = enter_critical_section(system, section)
    if again is not None:
        yield from again
    return 1 if done else system.fail(1460)  # ERROR_TIMEOUT


@KERNEL32("SleepConditionVariableSRW", "ppuu")
def sleep_condition_variable_srw(system: System, variable: int, lock: int, milliseconds: int, flags: int) -> Task:  # fmt: skip
    shared = flags & 1
    (release_srw_lock_shared if shared else release_srw_lock_exclusive)(system, lock)
    done = yield from _sleep_on(system, variable, milliseconds)
    again = (acquire_srw_lock_shared if shared else acquire_srw_lock_exclusive)(system, lock)
    if again is not None:
        yield from again
    return 1 if done else system.fail(1460)


def _wake(system: System, variable: int, most: int) -> None:
    waiters: list[list[bool]] = system.cache.get("condition variables", {}).get(variable, [])
    for mine in waiters[:most]:
        mine[0] = True
    del waiters[:most]


@KERNEL32("WakeConditionVariable", "p", "v")
def wake_condition_variable(system: System, variable: int) -> None:
    _wake(system, variable, 1)


@KERNEL32("WakeAllConditionVariable", "p", "v")
def wake_all_condition_variable(system: System, variable: int) -> None:
    _wake(system, variable, 1 << 30)


@KERNEL32("WaitOnAddress", "pppu")
def wait_on_address(system: System, address: int, compare: int, size: int, milliseconds: int) -> Task:  # fmt: skip
    if size not in (1, 2, 4, 8):
        return system.fail(87)
    if system.memory.read(address, size) != system.memory.read(compare, size):
        return 1
    done = yield from _sleep_on(system, address, milliseconds)
    return 1 if done else system.fail(1460)


@KERNEL32("WakeByAddressSingle", "p", "v")
def wake_by_address_single(system: System, address: int) -> None:
    _wake(system, address, 1)


@KERNEL32("WakeByAddressAll", "p", "v")
def wake_by_address_all(system: System, address: int) -> None:
    _wake(system, address, 1 << 30)


# -- once -----------------------------------------------------------------------------------------
# The word: 0 not begun, 1 under way, 2 done, with the context in its upper bits.


def _context(system: System, once: int, out: int) -> None:
    if out:
        system.put(out, system.number(once) & -4)


@KERNEL32("InitOnceExecuteOnce", "pppp")
def init_once_execute_once(system: System, once: int, function: int, parameter: int, context: int) -> Task:  # fmt: skip
    while system.number(once) & 3 != 2:
        if system.number(once) & 3 == 1:
            yield Wait(lambda: system.number(once) & 3 != 1)
            continue
        system.put(once, 1)
        place = context or system.heap.allocate(system.word)
        done = yield Call(function, (once, parameter, place))
        if not done & 0xFFFFFFFF:
            system.put(once, 0)
            return 0
        system.put(once, system.number(place) & -4 | 2)
    _context(system, once, context)
    return 1


@KERNEL32("InitOnceBeginInitialize", "pupp")
def init_once_begin_initialize(system: System, once: int, flags: int, pending: int, context: int) -> Task:  # fmt: skip
    if flags & 1:  # only ask
        if system.number(once) & 3 != 2:
            return system.fail(31)
    elif system.number(once) & 3 == 1 and not flags & 2:
        yield Wait(lambda: system.number(once) & 3 != 1)
    done = system.number(once) & 3 == 2
    system.put(pending, not done, 4)
    if done:
        _context(system, once, context)
    else:
        system.put(once, 3 if flags & 2 else 1)
    return 1


@KERNEL32("InitOnceComplete", "pup")
def init_once_complete(system: System, once: int, flags: int, context: int) -> int:
    if system.number(once) & 3 not in (1, 3):
        return system.fail(31)
    system.put(once, 0 if flags & 4 else context & -4 | 2)
    return 1


# -- singly linked lists --------------------------------------------------------------------------
# 64 bits: depth 16, sequence 48, then the first entry; 32 bits: first entry, depth 16, sequence 16 (SLIST_HEADER).


def _list(system: System, head: int) -> tuple[int, int, int]:
    """(first entry, depth, sequence)."""
    if system.bits == 64:
        low = system.number(head, 8)
        return system.number(head + 8, 8) & -16, low & 0xFFFF, low >> 16
    return system.number(head, 4), system.number(head + 4, 2), system.number(head + 6, 2)


def _set_list(system: System, head: int, first: int, depth: int, sequence: int) -> None:
    if system.bits == 64:
        system.put(head, depth & 0xFFFF | sequence << 16, 8)
        system.put(head + 8, first & -16 | 1, 8)
    else:
        system.put(head, first, 4)
        system.put(head + 4, depth & 0xFFFF | (sequence & 0xFFFF) << 16, 4)


@KERNEL32("InitializeSListHead", "p", "v")
def initialize_slist_head(system: System, head: int) -> None:
    _set_list(system, head, 0, 0, 0)


@KERNEL32("InterlockedPushEntrySList", "pp", "p")
def interlocked_push_entry_slist(system: System, head: int, entry: int) -> int:
    first, depth, sequence = _list(system, head)
    system.put(entry, first)
    _set_list(system, head, entry, depth + 1, sequence + 1)
    return first


@KERNEL32("InterlockedPopEntrySList", "p", "p")
def interlocked_pop_entry_slist(system: System, head: int) -> int:
    first, depth, sequence = _list(system, head)
    if first:
        _set_list(system, head, system.number(first), depth - 1, sequence)
    return first


@KERNEL32("InterlockedFlushSList", "p", "p")
def interlocked_flush_slist(system: System, head: int) -> int:
    first, _, sequence = _list(system, head)
    _set_list(system, head, 0, 0, sequence)
    return first


@KERNEL32("QueryDepthSList", "p")
def query_depth_slist(system: System, head: int) -> int:
    return _list(system, head)[1]
