"""ucrtbase.dll, vcruntime140.dll, and the API sets in front of them: what DLLs of today's Visual C++ ask for at start.

Most functions are msvcrt's under another roof. What is new: tables of functions to be run at start and end, and printf
with its options as an argument ("Universal C runtime routines by category", learn.microsoft.com).
"""

from __future__ import annotations

from rtld.backends.windows import msvcrt, msvcrt_streams, msvcrt_strings  # noqa: F401  (they fill the table)
from rtld.backends.windows.api import Call, Dll, VarArgs
from rtld.backends.windows.formats import format_text
from rtld.backends.windows.kernel32 import KERNEL32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from rtld.backends.windows.system import System

    Task = Generator[Any, Any, Any]

UCRT = Dll("ucrtbase.dll", "cdecl")
VCRUNTIME = Dll("vcruntime140.dll", "cdecl")
_SHARED = ("mem", "str", "wcs", "is", "to", "_str")

UCRT.functions.update(
    {n: api._replace(dll="ucrtbase.dll") for n, api in msvcrt.MSVCRT.functions.items()}
)
VCRUNTIME.functions.update(
    {
        n: api._replace(dll="vcruntime140.dll")
        for n, api in msvcrt.MSVCRT.functions.items()
        if n in ("memcpy", "memmove", "memset", "memcmp", "memchr", "strchr", "strrchr", "strstr")
    }
)


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
    return msvcrt.variable(system, "_iob") + number * msvcrt.FILE_SIZE[system.bits]


@UCRT("__stdio_common_vfprintf", "qpspp", "i")
def stdio_common_vfprintf(system: System, _options: int, file: int, form: bytes, _locale: int, values: int) -> int:  # fmt: skip
    return msvcrt_streams.put_format(
        system, file, form, VarArgs(system.memory, values, system.word)
    )


@UCRT("__stdio_common_vsprintf __stdio_common_vsnprintf_s __stdio_common_vsprintf_s", "qppspp", "i")
def stdio_common_vsprintf(system: System, options: int, out: int, room: int, form: bytes, _locale: int, values: int) -> int:  # fmt: skip
    """Options bit 0: _vsnprintf of old; bit 1: the standard's vsnprintf, which ends with a zero and says what it would take."""
    text = format_text(system, form, VarArgs(system.memory, values, system.word))
    if not out:
        return len(text)
    if options & 1:
        system.memory.write(out, (text + b"\0")[:room])
        return len(text) if len(text) <= room else -1
    if room:
        system.memory.write(out, text[: room - 1] + b"\0")
    return len(text) if options & 2 or len(text) < room else -1


@VCRUNTIME("__std_type_info_destroy_list __vcrt_InitializeCriticalSectionEx", "p", "i")
def vcruntime_nothing(_system: System, _value: int) -> int:
    return 1
