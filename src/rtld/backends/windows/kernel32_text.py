"""KERNEL32.dll: errors, environment, time, code pages, strings."""

from __future__ import annotations

import struct
import time

from rtld.backends.windows.kernel32 import KERNEL32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from rtld.backends.windows.system import System

    Task = Generator[Any, Any, Any]

_EPOCH = 116444736000000000  # 1970 in 100 ns since 1601

# -- errors, environment, time --------------------------------------------------------------------


@KERNEL32("GetLastError")
def get_last_error(system: System) -> int:
    return system.last_error


@KERNEL32("SetLastError", "u", "v")
def set_last_error(system: System, error: int) -> None:
    system.last_error = error


@KERNEL32("IsProcessorFeaturePresent", "u")
def is_processor_feature_present(_system: System, feature: int) -> int:
    return int(feature in (2, 3, 6, 8, 10, 12))  # cmpxchg8b, mmx, sse, rdtsc, sse2, nx


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
