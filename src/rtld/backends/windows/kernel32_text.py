"""KERNEL32.dll: errors, command line, environment, what the system is."""

from __future__ import annotations

import re
import struct

from rtld.backends.windows.codepages import ANSI
from rtld.backends.windows.kernel32 import KERNEL32
from rtld.backends.windows.peb import environment_block

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from rtld.backends.windows.system import System

    Task = Generator[Any, Any, Any]

# -- errors, environment --------------------------------------------------------------------------


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


@KERNEL32.both("GetEnvironmentStrings", "", "p")
def get_environment_strings(system: System, wide: bool) -> int:
    text = environment_block(system.environ)
    data = text.encode("utf-16-le", "surrogatepass") if wide else text.encode(ANSI, "replace")
    at = system.heap.allocate(len(data))
    system.memory.write(at, data)
    return at


KERNEL32.functions["GetEnvironmentStrings"] = KERNEL32.functions["GetEnvironmentStringsA"]


@KERNEL32("FreeEnvironmentStringsW FreeEnvironmentStringsA", "p")
def free_environment_strings(system: System, address: int) -> int:
    return int(system.heap.free(address))


def variable(system: System, name: str) -> str | None:
    """The value of a variable of the environment, whatever its case."""
    lower = name.lower()
    return next((v for k, v in system.environ.items() if k.lower() == lower), None)


@KERNEL32.both("GetEnvironmentVariable", "tpu")
def get_environment_variable(system: System, wide: bool, name: str, out: int, room: int) -> int:
    value = variable(system, name or "")
    if value is None:
        return system.fail(203)  # ERROR_ENVVAR_NOT_FOUND
    system.last_error = 0
    return system.put_string(wide, out, room, value)


@KERNEL32.both("SetEnvironmentVariable", "tt")
def set_environment_variable(system: System, _wide: bool, name: str, value: str | None) -> int:
    if not name or "=" in name[1:]:
        return system.fail(87)
    known = [k for k in system.environ if k.lower() == name.lower()]
    if value is None:
        if not known:
            return system.fail(203)
        for key in known:
            del system.environ[key]
        return 1
    system.environ[known[0] if known else name] = value
    return 1


@KERNEL32.both("ExpandEnvironmentStrings", "tpu")
def expand_environment_strings(system: System, wide: bool, text: str, out: int, room: int) -> int:
    def value(match: re.Match[str]) -> str:
        found = variable(system, match[1])
        return match[0] if found is None else found

    full = re.sub(r"%([^%]+)%", value, text or "")
    system.put_string(wide, out, room, full)
    return len(full) + 1


@KERNEL32("GetStartupInfoA GetStartupInfoW", "p", "v")
def get_startup_info(system: System, out: int) -> None:
    size = 104 if system.bits == 64 else 68
    system.memory.write(out, size.to_bytes(4, "little") + bytes(size - 4))


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


@KERNEL32.both("GetComputerName", "pp")
def get_computer_name(system: System, wide: bool, out: int, room: int) -> int:
    have = system.number(room, 4)
    system.put(room, 4 if have > 4 else 5, 4)
    if have < 5:
        return system.fail(111)  # ERROR_BUFFER_OVERFLOW
    system.put_string(wide, out, have, "RTLD")
    return 1


@KERNEL32.both("GetComputerNameEx", "upp")
def get_computer_name_ex(system: System, wide: bool, _kind: int, out: int, room: int) -> int:
    done = get_computer_name(system, wide, out, room)
    return done or system.fail(234)  # ERROR_MORE_DATA


@KERNEL32.both("VerifyVersionInfo", "puq")
def verify_version_info(system: System, _wide: bool, wanted: int, kind: int, _mask: int) -> int:
    """Whether this is at least that version; of the parts that are asked for."""
    mine = (6, 1, 7601)
    theirs = struct.unpack("<3I", system.memory.read(wanted + 4, 12))
    asked = [i for i, bit in enumerate((2, 1, 4)) if kind & bit]
    have, need = [mine[i] for i in asked], [theirs[i] for i in asked]
    return 1 if have >= need else system.fail(1150)  # ERROR_OLD_WIN_VERSION


@KERNEL32("VerSetConditionMask", "quu", "q")
def ver_set_condition_mask(_system: System, mask: int, kind: int, condition: int) -> int:
    position = (kind & -kind).bit_length() - 1
    return mask | (condition & 7) << 3 * max(position, 0) | 1 << 63


@KERNEL32("GetProductInfo", "uuuup")
def get_product_info(system: System, _major: int, _minor: int, _sp: int, _sp_minor: int, out: int) -> int:  # fmt: skip
    system.put(out, 0x30, 4)  # PRODUCT_PROFESSIONAL
    return 1


@KERNEL32("MulDiv", "iii", "i")
def mul_div(_system: System, a: int, b: int, c: int) -> int:
    if not c:
        return -1
    product = a * b
    sign = -1 if (product < 0) != (c < 0) else 1
    result = sign * ((abs(product) + abs(c) // 2) // abs(c))
    return result if -(1 << 31) <= result < 1 << 31 else -1
