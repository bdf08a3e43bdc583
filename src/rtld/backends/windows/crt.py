"""ucrtbase.dll, vcruntime140.dll, and the API sets in front of them: what DLLs of today's Visual C++ ask for at start.

Most functions are msvcrt's under another roof. What is new: tables of functions to be run at start and end, and printf
with its options as an argument ("Universal C runtime routines by category", learn.microsoft.com).
"""

from __future__ import annotations

from rtld.backends.windows import msvcrt
from rtld.backends.windows.api import Call, Dll, VarArgs
from rtld.backends.windows.crt_streams import FILE_SIZE, iob, stream
from rtld.backends.windows.formats import format_string, format_text
from rtld.backends.windows.kernel32 import KERNEL32
from rtld.backends.windows.scanning import Source, of_text, scan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from rtld.backends.windows.system import System

    Task = Generator[Any, Any, Any]

UCRT = Dll("ucrtbase.dll", "cdecl")
VCRUNTIME = Dll("vcruntime140.dll", "cdecl")


def host_of(name: str) -> str | None:
    """The table behind an API set's name; None when it is none of ours."""
    lower = name.lower()
    if lower.startswith("api-ms-win-crt-"):
        return UCRT.name
    if lower.startswith("api-ms-win-"):
        return KERNEL32.name
    return None


@UCRT("_initialize_onexit_table", "p", "i")
def initialize_onexit_table(system: System, table: int) -> int:
    system.memory.write(table, bytes(3 * system.word))
    return 0


@UCRT("_register_onexit_function", "pp", "i")
def register_onexit_function(system: System, table: int, function: int) -> int:
    system.cache.setdefault(f"onexit {table}", []).append(function)
    return 0


@UCRT("_execute_onexit_table", "p", "i")
def execute_onexit_table(system: System, table: int) -> Task:
    waiting: list[int] = system.cache.pop(f"onexit {table}", [])
    while waiting:
        yield Call(waiting.pop(), (), "cdecl")
    return 0


@UCRT("_crt_atexit _crt_at_quick_exit", "p", "i")
def crt_atexit(system: System, function: int) -> int:
    system.at_exit.append(function)
    return 0


@UCRT("_configure_narrow_argv _configure_wide_argv _initialize_narrow_environment _initialize_wide_environment "
      "_set_new_mode _configthreadlocale _seh_filter_dll _seh_filter_exe _register_thread_local_exe_atexit_callback", "p", "i")  # fmt: skip
def nothing(_system: System, _value: int) -> int:
    return 0


@UCRT("_invalid_parameter_noinfo", "", "v")
def invalid_parameter(_system: System) -> None:
    return


@UCRT("_invalid_parameter_noinfo_noreturn terminate", "", "v")
def terminate(system: System) -> None:
    system.exit(3)


@UCRT("_get_initial_narrow_environment", "", "p")
def get_initial_narrow_environment(system: System) -> int:
    return int(msvcrt.arrays(system)[2])


@UCRT("__p___argc", "", "p")
def p_argc(system: System) -> int:
    at = system.cache.setdefault("argc", 0) or system.heap.allocate(8)
    system.cache["argc"] = at
    system.put(at, len(system.arguments), 4)
    return int(at)


@UCRT("__acrt_iob_func", "u", "p")
def acrt_iob_func(system: System, number: int) -> int:
    return iob(system) + number * FILE_SIZE[system.bits]


# -- printf and scanf, with their options: 1 as _vsnprintf of old, 2 as the standard's, 4 %s of wide functions is wide ------


@UCRT("__stdio_common_vfprintf __stdio_common_vfprintf_s", "qpspp", "i")
def stdio_common_vfprintf(system: System, _options: int, file: int, form: bytes, _locale: int, values: int) -> int:  # fmt: skip
    text = format_text(system, form, VarArgs(system.memory, values, system.word), ucrt=True)
    found = stream(system, file)
    return len(text) if found is not None and found.write(text) else -1


@UCRT("__stdio_common_vfwprintf", "qpwpp", "i")
def stdio_common_vfwprintf(system: System, options: int, file: int, form: str, _locale: int, values: int) -> int:  # fmt: skip
    text = format_string(system, form, VarArgs(system.memory, values, system.word), wide=bool(options & 4), ucrt=True)  # fmt: skip
    found = stream(system, file)
    return len(text) if found is not None and found.write(text.encode("latin-1", "replace")) else -1


def _give(system: System, options: int, out: int, room: int, text: bytes | str) -> int:
    """A result into memory, as the options want it."""
    unit = 1 if isinstance(text, bytes) else 2
    data = text if isinstance(text, bytes) else text.encode("utf-16-le", "surrogatepass")
    length = len(data) // unit
    if not out:
        return length
    if options & 1:
        system.memory.write(out, (data + bytes(unit))[: room * unit])
        return length if length <= room else -1
    if room:
        system.memory.write(out, data[: (room - 1) * unit] + bytes(unit))
    return length if options & 2 or length < room else -1


@UCRT("__stdio_common_vsprintf __stdio_common_vsprintf_s", "qppspp", "i")
def stdio_common_vsprintf(system: System, options: int, out: int, room: int, form: bytes, _locale: int, values: int) -> int:  # fmt: skip
    text = format_text(system, form, VarArgs(system.memory, values, system.word), ucrt=True)
    return _give(system, options, out, room, text)


@UCRT("__stdio_common_vsnprintf_s", "qpppspp", "i")
def stdio_common_vsnprintf_s(system: System, _options: int, out: int, room: int, most: int, form: bytes, _locale: int, values: int) -> int:  # fmt: skip
    text = format_text(system, form, VarArgs(system.memory, values, system.word), ucrt=True)
    done = _give(system, 0, out, min(room, most + 1), text)
    return done if len(text) < room or most < room else -1


@UCRT("__stdio_common_vswprintf __stdio_common_vswprintf_s", "qppwpp", "i")
def stdio_common_vswprintf(system: System, options: int, out: int, room: int, form: str, _locale: int, values: int) -> int:  # fmt: skip
    text = format_string(system, form, VarArgs(system.memory, values, system.word), wide=bool(options & 4), ucrt=True)  # fmt: skip
    return _give(system, options, out, room, text)


@UCRT("__stdio_common_vsscanf", "qppspp", "i")
def stdio_common_vsscanf(system: System, _options: int, text: int, size: int, form: bytes, _locale: int, values: int) -> int:  # fmt: skip
    data = system.text(text) or b""
    return scan(system, of_text(data[:size].decode("latin-1")), form.decode("latin-1"), VarArgs(system.memory, values, system.word))  # fmt: skip


@UCRT("__stdio_common_vfscanf", "qpspp", "i")
def stdio_common_vfscanf(system: System, _options: int, file: int, form: bytes, _locale: int, values: int) -> int:  # fmt: skip
    found = stream(system, file)
    if found is None:
        return -1
    return scan(system, Source(found.take, found.push), form.decode("latin-1"), VarArgs(system.memory, values, system.word))  # fmt: skip


# -- start ----------------------------------------------------------------------------------------


@UCRT("_get_initial_wide_environment", "", "p")
def get_initial_wide_environment(system: System) -> int:
    return int(system.cache.setdefault("wide environment", 0) or _wide_vector(system, "wide environment", [f"{k}={v}" for k, v in system.environ.items()]))  # fmt: skip


def _wide_vector(system: System, key: str, items: list[str]) -> int:
    word = system.word
    at = system.heap.allocate(word * (len(items) + 1))
    for number, item in enumerate(items):
        data = (item + "\0").encode("utf-16-le", "surrogatepass")
        place = system.heap.allocate(len(data))
        system.memory.write(place, data)
        system.put(at + number * word, place)
    system.cache[key] = at
    return at


@UCRT("__p___wargv", "", "p")
def p_wargv(system: System) -> int:
    if "wargv" not in system.cache:
        _wide_vector(system, "wide arguments", system.arguments)
        at = system.cache["wargv"] = system.heap.allocate(system.word)
        system.put(at, system.cache["wide arguments"])
    return int(system.cache["wargv"])


@UCRT("_get_narrow_winmain_command_line", "", "p")
def get_narrow_winmain_command_line(system: System) -> int:
    line = system.command_line.partition(" ")[2].lstrip()
    return system.keep(line.encode("latin-1", "replace") + b"\0")


@UCRT("_fpieee_flt", "ppp", "i")
def fpieee_flt(_system: System, *_: int) -> int:
    return 0


@UCRT("_set_fmode", "i", "i")
@UCRT("_get_fmode", "p", "i")
def set_fmode(_system: System, _mode: int) -> int:
    return 0


@UCRT("_callnewh", "p", "i")
def callnewh(_system: System, _size: int) -> int:
    return 0


@UCRT("_c_exit", "", "v")
def c_exit(_system: System) -> None:
    return


@UCRT("_getpid", "", "i")
def getpid(system: System) -> int:
    return int(system.process_id)


@VCRUNTIME("__std_type_info_destroy_list __vcrt_InitializeCriticalSectionEx", "p", "i")
def vcruntime_nothing(_system: System, _value: int) -> int:
    return 1
