"""KERNEL32.dll: modules, threads, synchronisation, memory, errors, environment, time. Files are in kernel32_files.py."""

from __future__ import annotations

import os
import struct
import time

from rtld.backends.windows.api import Call, Dll, Exited, ThreadExited, Wait
from rtld.backends.windows.system import Handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any

    from rtld.backends.windows.system import System

    Task = Generator[Any, Any, Any]

KERNEL32 = Dll("kernel32.dll")
INFINITE = 0xFFFFFFFF
_EPOCH = 116444736000000000  # 1970 in 100 ns since 1601
_PROTECTION = {0x01: 0, 0x02: 1, 0x04: 3, 0x08: 3, 0x10: 5, 0x20: 5, 0x40: 7, 0x80: 7}

# -- modules --------------------------------------------------------------------------------------


def _load(system: System, name: Any, flags: int) -> Task:
    if name is None:
        return system.fail(87)
    text = name if isinstance(name, str) else name.decode("latin-1")
    module, error = yield from system.loader.load_library(text, flags)
    return module.base if module is not None else system.fail(error)


@KERNEL32("LoadLibraryA", "s", "p")
@KERNEL32("LoadLibraryW", "w", "p")
def load_library(system: System, name: Any) -> Any:
    return _load(system, name, 0)


@KERNEL32("LoadLibraryExA", "spu", "p")
@KERNEL32("LoadLibraryExW", "wpu", "p")
def load_library_ex(system: System, name: Any, _file: int, flags: int) -> Any:
    return _load(system, name, flags)


@KERNEL32("FreeLibrary", "p")
def free_library(system: System, handle: int) -> Any:
    if system.loader.by_handle(handle) is None:
        return system.fail(126)
    return _free(system, handle)


def _free(system: System, handle: int) -> Task:
    yield from system.loader.free_library(handle)
    return 1


@KERNEL32("FreeLibraryAndExitThread", "pu", "v")
def free_library_and_exit_thread(system: System, handle: int, code: int) -> Task:
    yield from system.loader.free_library(handle)
    yield from exit_thread(system, code)


@KERNEL32("GetProcAddress", "pp", "p")
def get_proc_address(system: System, handle: int, name: int) -> Any:
    wanted: Any = name if name >> 16 == 0 else system.text(name)
    return _proc(system, handle, wanted)


def _proc(system: System, handle: int, wanted: Any) -> Task:
    address, error = yield from system.loader.proc_address(handle, wanted)
    return address or system.fail(error)


@KERNEL32("GetModuleHandleA", "s", "p")
@KERNEL32("GetModuleHandleW", "w", "p")
def get_module_handle(system: System, name: Any) -> int:
    if name is None:
        return int(system.loader.main.base)
    text = name if isinstance(name, str) else name.decode("latin-1")
    module = system.loader.loaded(text)
    return int(module.base) if module is not None else system.fail(126)


@KERNEL32("GetModuleHandleExA GetModuleHandleExW", "upp")
def get_module_handle_ex(system: System, flags: int, name: int, out: int) -> int:
    loader = system.loader
    if flags & 4:
        module = loader.module_of(name)
    elif not name:
        module = loader.main
    else:
        raw = system.memory.read(name, 2)
        text = system.wide(name) if raw[1:] == b"\0" else (system.text(name) or b"").decode("latin-1")  # fmt: skip
        module = loader.loaded(text or "")
    system.put(out, module.base if module is not None else 0)
    if module is None:
        return system.fail(126)
    if not flags & 2 and module.references >= 0:
        module.references = -1 if flags & 1 else module.references + 1
    return 1


@KERNEL32("GetModuleFileNameA", "ppu")
def get_module_file_name_a(system: System, handle: int, out: int, room: int) -> int:
    return system.put_text(out, system.loader.file_name(handle).encode("latin-1", "replace"), room)


@KERNEL32("GetModuleFileNameW", "ppu")
def get_module_file_name_w(system: System, handle: int, out: int, room: int) -> int:
    return system.put_text(out, system.loader.file_name(handle), room)


@KERNEL32("DisableThreadLibraryCalls", "p")
def disable_thread_library_calls(system: System, handle: int) -> int:
    return int(system.loader.disable_thread_calls(handle)) or system.fail(126)


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


# -- thread-local slots ---------------------------------------------------------------------------


def _slot(system: System, index: int) -> int:
    """The address of a slot in the TEB: 64 of them stand there; the others in a block of their own."""
    teb = system.threads.teb
    if index < 64:
        return int(teb) + (0x1480 if system.bits == 64 else 0xE10) + index * system.word
    pointer = int(teb) + (0x1780 if system.bits == 64 else 0xF94)
    block = system.number(pointer)
    if not block:
        block = system.heap.allocate(1024 * system.word)
        system.put(pointer, block)
    return block + (index - 64) * system.word


@KERNEL32("TlsAlloc")
def tls_alloc(system: System) -> int:
    for index, used in enumerate(system.tls):
        if not used:
            system.tls[index] = True
            return index
    return system.fail(259, INFINITE)


@KERNEL32("TlsFree FlsFree", "u")
def tls_free(system: System, index: int) -> int:
    if index >= len(system.tls) or not system.tls[index]:
        return system.fail(87)
    system.tls[index] = False
    return 1


@KERNEL32("FlsAlloc", "p")
def fls_alloc(system: System, _callback: int) -> int:
    return int(tls_alloc(system))


@KERNEL32("TlsGetValue FlsGetValue", "u", "p")
def tls_get_value(system: System, index: int) -> int:
    if index >= len(system.tls):
        return system.fail(87)
    system.last_error = 0
    return system.number(_slot(system, index))


@KERNEL32("TlsSetValue FlsSetValue", "up")
def tls_set_value(system: System, index: int, value: int) -> int:
    if index >= len(system.tls):
        return system.fail(87)
    system.put(_slot(system, index), value)
    return 1


# -- memory ---------------------------------------------------------------------------------------


@KERNEL32("GetProcessHeap", "", "p")
def get_process_heap(_system: System) -> int:
    return 0x10


@KERNEL32("HeapCreate", "upp", "p")
def heap_create(_system: System, _options: int, _initial: int, _most: int) -> int:
    return 0x20


@KERNEL32("HeapDestroy", "p")
def heap_destroy(_system: System, _heap: int) -> int:
    return 1


@KERNEL32("HeapAlloc", "pup", "p")
def heap_alloc(system: System, _heap: int, _flags: int, size: int) -> int:
    return system.heap.allocate(size) or system.fail(8)


@KERNEL32("HeapFree", "pup")
def heap_free(system: System, _heap: int, _flags: int, address: int) -> int:
    return int(not address or system.heap.free(address)) or system.fail(87)


@KERNEL32("HeapReAlloc", "pupp", "p")
def heap_realloc(system: System, _heap: int, _flags: int, address: int, size: int) -> int:
    return system.heap.resize(address, size) or system.fail(8)


@KERNEL32("HeapSize", "pup", "p")
def heap_size(system: System, _heap: int, _flags: int, address: int) -> int:
    return system.heap.sizes.get(address, -1)


@KERNEL32("LocalAlloc GlobalAlloc", "up", "p")
def local_alloc(system: System, _flags: int, size: int) -> int:
    return system.heap.allocate(size) or system.fail(8)


@KERNEL32("LocalFree GlobalFree", "p", "p")
def local_free(system: System, address: int) -> int:
    return 0 if not address or system.heap.free(address) else address


@KERNEL32("VirtualAlloc", "ppuu", "p")
def virtual_alloc(system: System, address: int, size: int, kind: int, protection: int) -> int:
    if address and not kind & 0x2000:
        return address & -4096  # committed with its reservation
    if size <= 0 or size >= 1 << 31:
        return system.fail(8)
    return system.memory.allocate(size, _PROTECTION.get(protection & 0xFF, 3) or 3)


@KERNEL32("VirtualFree", "ppu")
def virtual_free(_system: System, _address: int, _size: int, _kind: int) -> int:
    return 1


@KERNEL32("VirtualProtect", "ppup")
def virtual_protect(system: System, address: int, size: int, protection: int, old: int) -> int:
    rights = _PROTECTION.get(protection & 0xFF)
    if rights is None:
        return system.fail(87)
    before = system.loader.protect(address, size, rights)
    system.put(old, {0: 1, 1: 2, 3: 4, 5: 0x20, 7: 0x40}.get(before, 4), 4)
    return 1


@KERNEL32("VirtualQuery", "ppp", "p")
def virtual_query(system: System, address: int, out: int, size: int) -> int:
    low, high, rights, base = system.loader.region(address)
    protection = {0: 1, 1: 2, 3: 4, 5: 0x20, 7: 0x40}.get(rights, 4)
    kind = 0x1000000 if system.loader.module_of(address) is not None else 0x20000
    if system.bits == 64:
        data = struct.pack("<QQIIQIIII", low, base, protection, 0, high - low, 0x1000, protection, kind, 0)  # fmt: skip
    else:
        data = struct.pack("<7I", low, base, protection, high - low, 0x1000, protection, kind)
    if size < len(data):
        return system.fail(24)
    system.memory.write(out, data)
    return len(data)


# -- errors, environment, time --------------------------------------------------------------------


@KERNEL32("GetLastError")
def get_last_error(system: System) -> int:
    return system.last_error


@KERNEL32("SetLastError", "u", "v")
def set_last_error(system: System, error: int) -> None:
    system.last_error = error


@KERNEL32("SetErrorMode", "u")
def set_error_mode(_system: System, _mode: int) -> int:
    return 0


@KERNEL32("SetUnhandledExceptionFilter AddVectoredExceptionHandler", "p", "p")
def set_unhandled_exception_filter(_system: System, *_: int) -> int:
    return 0


@KERNEL32("IsDebuggerPresent")
def is_debugger_present(_system: System) -> int:
    return 0


@KERNEL32("IsProcessorFeaturePresent", "u")
def is_processor_feature_present(_system: System, feature: int) -> int:
    return int(feature in (2, 3, 6, 8, 10, 12))  # cmpxchg8b, mmx, sse, rdtsc, sse2, nx


@KERNEL32("OutputDebugStringA OutputDebugStringW", "p", "v")
def output_debug_string(_system: System, _text: int) -> None:
    return


def _strings_of(system: System, wide: bool) -> int:
    """GetCommandLine: the same address each time."""
    key = f"command line {wide}"
    if key not in system.cache:
        text = system.command_line
        data = text.encode("utf-16-le") + b"\0\0" if wide else text.encode("utf-8") + b"\0"
        at = system.heap.allocate(len(data))
        system.memory.write(at, data)
        system.cache[key] = at
    return int(system.cache[key])


@KERNEL32("GetCommandLineA", "", "p")
def get_command_line_a(system: System) -> int:
    return _strings_of(system, False)


@KERNEL32("GetCommandLineW", "", "p")
def get_command_line_w(system: System) -> int:
    return _strings_of(system, True)


@KERNEL32("GetEnvironmentStringsW", "", "p")
def get_environment_strings_w(system: System) -> int:
    text = "".join(f"{k}={v}\0" for k, v in sorted(system.environ.items())) + "\0"
    data = text.encode("utf-16-le", "surrogatepass")
    at = system.heap.allocate(len(data))
    system.memory.write(at, data)
    return at


@KERNEL32("FreeEnvironmentStringsW FreeEnvironmentStringsA", "p")
def free_environment_strings(system: System, address: int) -> int:
    return int(system.heap.free(address))


def _variable(system: System, name: str) -> str | None:
    lower = name.lower()
    return next((v for k, v in system.environ.items() if k.lower() == lower), None)


@KERNEL32("GetEnvironmentVariableA", "spu")
def get_environment_variable_a(system: System, name: bytes, out: int, room: int) -> int:
    value = _variable(system, (name or b"").decode("latin-1"))
    return system.fail(203) if value is None else system.put_text(out, value.encode(), room)


@KERNEL32("GetEnvironmentVariableW", "wpu")
def get_environment_variable_w(system: System, name: str, out: int, room: int) -> int:
    value = _variable(system, name or "")
    return system.fail(203) if value is None else system.put_text(out, value, room)


@KERNEL32("SetEnvironmentVariableA", "ss")
@KERNEL32("SetEnvironmentVariableW", "ww")
def set_environment_variable(system: System, name: Any, value: Any) -> int:
    def text(x: Any) -> str:
        return x if isinstance(x, str) else x.decode("latin-1")

    if name is None:
        return system.fail(87)
    for key in [k for k in system.environ if k.lower() == text(name).lower()]:
        del system.environ[key]
    if value is not None:
        system.environ[text(name)] = text(value)
    return 1


@KERNEL32("GetStartupInfoA GetStartupInfoW", "p", "v")
def get_startup_info(system: System, out: int) -> None:
    size = 104 if system.bits == 64 else 68
    system.memory.write(out, size.to_bytes(4, "little") + bytes(size - 4))


@KERNEL32("GetTickCount")
def get_tick_count(system: System) -> int:
    return int((time.monotonic() - system.started) * 1000) + 100_000


@KERNEL32("GetTickCount64", "", "q")
def get_tick_count64(system: System) -> int:
    return int(get_tick_count(system))


@KERNEL32("QueryPerformanceCounter", "p")
def query_performance_counter(system: System, out: int) -> int:
    system.put(out, time.perf_counter_ns() // 100, 8)
    return 1


@KERNEL32("QueryPerformanceFrequency", "p")
def query_performance_frequency(system: System, out: int) -> int:
    system.put(out, 10_000_000, 8)
    return 1


@KERNEL32("GetSystemTimeAsFileTime GetSystemTimePreciseAsFileTime", "p", "v")
def get_system_time_as_file_time(system: System, out: int) -> None:
    system.put(out, time.time_ns() // 100 + _EPOCH, 8)


@KERNEL32("GetSystemTime", "p", "v")
@KERNEL32("GetLocalTime", "p", "v")
def get_system_time(system: System, out: int) -> None:
    t = time.gmtime()
    system.memory.write(out, struct.pack("<8H", t.tm_year, t.tm_mon, (t.tm_wday + 1) % 7, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec, 0))  # fmt: skip


@KERNEL32("GetSystemInfo GetNativeSystemInfo", "p", "v")
def get_system_info(system: System, out: int) -> None:
    if system.bits == 64:
        data = struct.pack("<HHIQQQIIIHH", 9, 0, 4096, 0x10000, 0x7FFFFFFEFFFF, 1, 1, 8664, 65536, 6, 0)  # fmt: skip
    else:
        data = struct.pack("<HHIIIIIIIHH", 0, 0, 4096, 0x10000, 0x7FFEFFFF, 1, 1, 586, 65536, 6, 0)
    system.memory.write(out, data)


@KERNEL32("GetVersion")
def get_version(_system: System) -> int:
    return 0x1DB1_0106 & 0xFFFF | 7601 << 16


@KERNEL32("GetVersionExA GetVersionExW", "p")
def get_version_ex(system: System, out: int) -> int:
    system.memory.write(out + 4, struct.pack("<4I", 6, 1, 7601, 2))
    return 1


@KERNEL32("GetACP GetOEMCP GetConsoleCP GetConsoleOutputCP")
def get_acp(_system: System) -> int:
    return 1252


@KERNEL32("IsDBCSLeadByte", "u")
@KERNEL32("IsDBCSLeadByteEx", "uu")
def is_dbcs_lead_byte(_system: System, *_: int) -> int:
    return 0


@KERNEL32("IsValidCodePage", "u")
def is_valid_code_page(_system: System, page: int) -> int:
    return int(page in (437, 1252, 65001, 28591, 20127))


@KERNEL32("GetCPInfo", "up")
def get_cp_info(system: System, page: int, out: int) -> int:
    system.memory.write(out, struct.pack("<I", 4 if page == 65001 else 1) + b"?" + bytes(13))
    return 1


_CODEC = {65001: "utf-8", 20127: "ascii", 28591: "latin-1", 437: "cp437"}


@KERNEL32("MultiByteToWideChar", "uupipi")
def multi_byte_to_wide_char(system: System, page: int, _flags: int, text: int, size: int, out: int, room: int) -> int:  # fmt: skip
    data = (system.text(text) or b"") + b"\0" if size < 0 else system.memory.read(text, size)
    wide = data.decode(_CODEC.get(page, "cp1252"), "replace").encode("utf-16-le")
    count = len(wide) // 2
    if not room:
        return count
    if count > room:
        return system.fail(122)
    system.memory.write(out, wide)
    return count


@KERNEL32("WideCharToMultiByte", "uupipipp")
def wide_char_to_multi_byte(system: System, page: int, _flags: int, text: int, size: int, out: int, room: int, _default: int, used: int) -> int:  # fmt: skip
    if size < 0:
        wide = (system.wide(text) or "") + "\0"
    else:
        wide = system.memory.read(text, 2 * size).decode("utf-16-le", "replace")
    data = wide.encode(_CODEC.get(page, "cp1252"), "replace")
    if used:
        system.put(used, 0, 4)
    if not room:
        return len(data)
    if len(data) > room:
        return system.fail(122)
    system.memory.write(out, data)
    return len(data)


# -- strings --------------------------------------------------------------------------------------


@KERNEL32("lstrlenA", "s")
@KERNEL32("lstrlenW", "w")
def lstrlen(_system: System, text: Any) -> int:
    return len(text or b"")


@KERNEL32("lstrcpyA", "ps", "p")
def lstrcpy_a(system: System, out: int, text: bytes) -> int:
    system.memory.write(out, (text or b"") + b"\0")
    return out


@KERNEL32("lstrcatA", "ps", "p")
def lstrcat_a(system: System, out: int, text: bytes) -> int:
    system.memory.write(out + len(system.text(out) or b""), (text or b"") + b"\0")
    return out


@KERNEL32("lstrcmpA", "ss", "i")
@KERNEL32("lstrcmpW", "ww", "i")
def lstrcmp(_system: System, a: Any, b: Any) -> int:
    return int((a > b) - (a < b))


@KERNEL32("lstrcmpiA", "ss", "i")
@KERNEL32("lstrcmpiW", "ww", "i")
def lstrcmpi(_system: System, a: Any, b: Any) -> int:
    a, b = a.lower(), b.lower()
    return int(a > b) - int(a < b)


# -- atomics of 32-bit programs, pointers ---------------------------------------------------------


def _interlocked(name: str, change: Callable[[int, int], int], after: bool) -> None:
    @KERNEL32(name, "pi", "i")
    def action(system: System, address: int, value: int) -> int:
        before = system.number(address, 4)
        new = change(before, value)
        system.put(address, new, 4)
        return new if after else before


_interlocked("InterlockedExchange", lambda _old, new: new, False)
_interlocked("InterlockedExchangeAdd", lambda old, new: old + new, False)


@KERNEL32("InterlockedIncrement", "p", "i")
def interlocked_increment(system: System, address: int) -> int:
    value = system.number(address, 4) + 1
    system.put(address, value, 4)
    return value


@KERNEL32("InterlockedDecrement", "p", "i")
def interlocked_decrement(system: System, address: int) -> int:
    value = system.number(address, 4) - 1
    system.put(address, value, 4)
    return value


@KERNEL32("InterlockedCompareExchange", "pii", "i")
def interlocked_compare_exchange(system: System, address: int, new: int, old: int) -> int:
    before = system.number(address, 4)
    if before == old & 0xFFFFFFFF:
        system.put(address, new, 4)
    return before


@KERNEL32("EncodePointer DecodePointer", "p", "p")
def encode_pointer(_system: System, pointer: int) -> int:
    return pointer


@KERNEL32("InitializeSListHead", "p", "v")
def initialize_slist_head(system: System, head: int) -> None:
    system.memory.write(head, bytes(2 * system.word))
