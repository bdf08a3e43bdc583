"""KERNEL32.dll: this process, and others that it starts: further programs in the same confines."""

from __future__ import annotations

import time

from rtld.backends.windows.api import Exited
from rtld.backends.windows.commandline import arguments_of
from rtld.backends.windows.kernel32 import KERNEL32
from rtld.backends.windows.paths import full_name
from rtld.backends.windows.system import STD_ERROR, STD_INPUT, STD_OUTPUT, Handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.backends.windows.system import System

_STILL_ACTIVE = 259
_USE_STANDARD_HANDLES, _UNICODE_ENVIRONMENT = 0x100, 0x400
_MOST_ENVIRONMENT = 1 << 16


@KERNEL32("GetCurrentProcessId")
def get_current_process_id(system: System) -> int:
    return int(system.process_id)


@KERNEL32("GetCurrentProcess", "", "p")
def get_current_process(_system: System) -> int:
    return -1


def process_of(system: System, handle: int) -> Handle | None:
    """What a handle of a process stands for; ``pid`` None: this one."""
    if handle & 0xFFFFFFFF == 0xFFFFFFFF:
        return Handle("process", pid=None)
    return system.handle(handle, "process")


@KERNEL32("GetProcessId", "p")
def get_process_id(system: System, handle: int) -> int:
    found = process_of(system, handle)
    if found is None:
        return 0
    return int(system.process_id if found.pid is None else found.pid)


@KERNEL32("OpenProcess", "uuu", "p")
def open_process(system: System, _access: int, _inherit: int, number: int) -> int:
    if number == system.process_id:
        return system.add(Handle("process", pid=None))
    for handle in system.handles.values():
        if handle.kind == "process" and handle.pid == number:
            handle.count += 1
            return system.add(handle)
    return system.fail(87)


@KERNEL32("TerminateProcess", "pu")
def terminate_process(system: System, handle: int, code: int) -> int:
    found = process_of(system, handle)
    if found is None:
        return 0
    if found.pid is None:
        raise Exited(code)
    if system.loader.process_ended(found):
        return system.fail(5)
    system.loader.end_process(found, code)
    return 1


@KERNEL32("GetExitCodeProcess", "pp")
def get_exit_code_process(system: System, handle: int, out: int) -> int:
    found = process_of(system, handle)
    if found is None:
        return 0
    ended = found.pid is not None and system.loader.process_ended(found)
    system.put(out, found.code if ended else _STILL_ACTIVE, 4)
    return 1


@KERNEL32("GetProcessTimes", "ppppp")
def get_process_times(system: System, handle: int, *places: int) -> int:
    if process_of(system, handle) is None:
        return 0
    started = time.time_ns() // 100 + 116444736000000000
    for place, value in zip(places, (started, 0, 0, time.process_time_ns() // 100), strict=True):
        system.put(place, value, 8)
    return 1


@KERNEL32("GetPriorityClass", "p")
def get_priority_class(system: System, handle: int) -> int:
    return int(system.cache.get("priority", 0x20)) if process_of(system, handle) is not None else 0


@KERNEL32("SetPriorityClass", "pu")
def set_priority_class(system: System, handle: int, value: int) -> int:
    if process_of(system, handle) is None:
        return 0
    system.cache["priority"] = value
    return 1


@KERNEL32("GetProcessAffinityMask", "ppp")
def get_process_affinity_mask(system: System, handle: int, mine: int, all_: int) -> int:
    if process_of(system, handle) is None:
        return 0
    system.put(mine, 1)
    system.put(all_, 1)
    return 1


@KERNEL32("SetProcessAffinityMask", "pp")
@KERNEL32("SetProcessWorkingSetSize", "ppp")
def set_process_affinity_mask(system: System, handle: int, *_: int) -> int:
    return int(process_of(system, handle) is not None)


@KERNEL32("GetProcessHandleCount", "pp")
def get_process_handle_count(system: System, handle: int, out: int) -> int:
    if process_of(system, handle) is None:
        return 0
    system.put(out, len(system.handles), 4)
    return 1


@KERNEL32("IsWow64Process", "pp")
def is_wow64_process(system: System, handle: int, out: int) -> int:
    """A 32-bit program is told what it would be on a Windows of 64 bits."""
    if process_of(system, handle) is None:
        return 0
    system.put(out, system.bits == 32, 4)
    return 1


@KERNEL32("GetProcessVersion", "u")
def get_process_version(_system: System, _process: int) -> int:
    return 4 << 16


@KERNEL32("SetProcessDEPPolicy", "u")
@KERNEL32("SetProcessPriorityBoost", "pu")
def set_process_dep_policy(_system: System, *_: int) -> int:
    return 1


# -- what is loaded, and what it takes (psapi.h) ---------------------------------------------------


@KERNEL32("K32GetModuleFileNameExA", "pppu")
def get_module_file_name_ex_a(system: System, _process: int, module: int, out: int, room: int) -> int:  # fmt: skip
    return system.put_string(False, out, room, system.loader.file_name(module))


@KERNEL32("K32GetModuleFileNameExW", "pppu")
def get_module_file_name_ex_w(system: System, _process: int, module: int, out: int, room: int) -> int:  # fmt: skip
    return system.put_string(True, out, room, system.loader.file_name(module))


@KERNEL32("K32EnumProcessModules", "ppup")
def enum_process_modules(system: System, _process: int, out: int, room: int, needed: int) -> int:
    bases = [int(m.base) for m in system.loader.live]
    bases.sort(key=lambda base: base != system.loader.main.base)
    for number, base in enumerate(bases[: room // system.word]):
        system.put(out + number * system.word, base)
    system.put(needed, len(bases) * system.word, 4)
    return 1


@KERNEL32("K32GetModuleInformation", "pppu")
def get_module_information(system: System, _process: int, module: int, out: int, room: int) -> int:
    found = system.loader.by_handle(module)
    if found is None or room < 3 * system.word:
        return system.fail(6 if found is None else 122)
    system.put(out, found.base)
    system.put(out + system.word, found.file.span, 4)
    system.put(out + 2 * system.word, found.base + found.file.entry if found.file.entry else 0)
    return 1


@KERNEL32("K32GetProcessMemoryInfo", "ppu")
def get_process_memory_info(system: System, _process: int, out: int, room: int) -> int:
    size = 8 + 8 * system.word
    if room < size:
        return system.fail(122)
    used = sum(area.size for area in system.areas.values()) + (4 << 20)
    system.put(out, size, 4)
    for number in range(8):
        system.put(out + 8 + number * system.word, used)
    return 1


# -- starting another program ---------------------------------------------------------------------


def _program(system: System, application: str | None, line: str) -> tuple[str | None, list[str]]:
    """(our path of the program, its arguments); None: nowhere found."""
    arguments = arguments_of(line)
    if application is not None:
        names = [application]
        directories = [system.directory]
    else:
        first = arguments[0] if arguments else ""
        names = [first] if "." in first.replace("/", "\\").rpartition("\\")[2] else [first + ".exe", first]  # fmt: skip
        own = system.loader.file_name(0).rpartition("\\")[0]
        path = next((v for k, v in system.environ.items() if k.upper() == "PATH"), "")
        directories = [own, system.directory, *[d for d in path.split(";") if d[1:2] == ":"]]
        if names[0][1:2] == ":" or names[0][:1] in "\\/":
            directories = [system.directory]
    for directory in directories:
        for name in names:
            found = system.path(full_name(name, directory if len(directory) > 2 else directory + "\\"))  # fmt: skip
            if found is not None and system.loader.is_program(found) is not None:
                return found, arguments or [application or ""]
    return None, arguments


def _environment(system: System, address: int, wide: bool) -> dict[str, str]:
    if not address:
        return dict(system.environ)
    result: dict[str, str] = {}
    at = address
    while len(result) < _MOST_ENVIRONMENT:
        row = system.wide(at) if wide else (system.text(at) or b"").decode("cp1252", "replace")
        if not row:
            break
        at += (len(row.encode("utf-16-le", "surrogatepass")) // 2 + 1) * 2 if wide else len(row) + 1
        name, _, value = row[1:].partition("=")
        result[row[0] + name] = value
    return result


def _streams(system: System, info: int) -> list[int]:
    """Our descriptors that are to be the new program's standard input, output and error."""
    word = system.word
    flags = system.number(info + (60 if word == 8 else 44), 4)
    numbers = [system.standard[which] for which in (STD_INPUT, STD_OUTPUT, STD_ERROR)]
    if flags & _USE_STANDARD_HANDLES:
        numbers = [system.number(info + (80 if word == 8 else 56) + i * word) for i in range(3)]
    handles = [system.handles.get(number) for number in numbers]
    return [h.fd if h is not None and h.kind in ("stream", "file", "pipe") else -1 for h in handles]


@KERNEL32.both("CreateProcess", "ttppuuptpp")
def create_process(system: System, _wide: bool, application: str | None, line: str | None, _psa: int, _tsa: int, _inherit: int, flags: int, environment: int, directory: str | None, info: int, out: int) -> int:  # fmt: skip
    text = line if line is not None else f'"{application}"' if application else None
    if text is None:
        return system.fail(87)
    if not hasattr(system.loader, "spawn"):
        return system.fail(
            50
        )  # ERROR_NOT_SUPPORTED: a DLL in this process starts no programs of Windows
    path, arguments = _program(system, application, text)
    if path is None:
        return system.fail(2)
    if not system.loader.is_program(path):
        return system.fail(193)
    current = system.directory
    if directory is not None:
        import os

        place = system.path(directory)
        if place is None or not os.path.isdir(place):
            return system.fail(267)
        current = full_name(directory, current)
        current = current if len(current) == 3 else current.rstrip("\\")
    process: Any = system.loader.spawn(
        path, arguments, environ=_environment(system, environment, bool(flags & _UNICODE_ENVIRONMENT)),
        line=text, directory=current, streams=_streams(system, info),
    )  # fmt: skip
    thread = Handle("process", pid=process.pid, code=None, status=process.status)
    thread.twin = process
    numbers = system.add(process), system.add(thread)
    for index, number in enumerate(numbers):
        system.put(out + index * system.word, number)
    system.put(out + 2 * system.word, process.pid, 4)
    system.put(out + 2 * system.word + 4, process.pid + 4, 4)
    return 1


@KERNEL32("WinExec", "su")
def win_exec(system: System, line: bytes, _show: int) -> int:
    out, info = system.heap.allocate(64), system.heap.allocate(128)
    done = create_process(system, False, None, (line or b"").decode("cp1252", "replace"), 0, 0, 0, 0, 0, None, info, out)  # fmt: skip
    for index in range(2 if done else 0):
        system.close(system.number(out + index * system.word))
    system.heap.free(out)
    system.heap.free(info)
    return 33 if done else system.last_error
