"""ntdll.dll: what programs, and Wine's C libraries, call below KERNEL32."""

from __future__ import annotations

import struct
import sys

from rtld.backends.windows import (  # noqa: F401  (they fill the tables)
    kernel32_locks,
    kernel32_memory,
    kernel32_text,
    kernel32_threads,
    msvcrt_formats,
    msvcrt_strings,
)
from rtld.backends.windows.exceptions import NTDLL
from rtld.backends.windows.kernel32 import KERNEL32
from rtld.backends.windows.kernel32_time import now, system_time
from rtld.backends.windows.msvcrt import MSVCRT
from rtld.backends.windows.paths import EPOCH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.backends.windows.system import System

_SECONDS = 10_000_000
_INVALID_HANDLE, _INVALID_PARAMETER, _NOT_IMPLEMENTED = 0xC0000008, 0xC000000D, 0xC0000002
_INFO_LENGTH = 0xC0000004

#: Rtl name -> the function of KERNEL32 that is the same.
_SAME = {
    "RtlGetLastWin32Error": "GetLastError", "RtlSetLastWin32Error": "SetLastError", "RtlAllocateHeap": "HeapAlloc",
    "RtlFreeHeap": "HeapFree", "RtlReAllocateHeap": "HeapReAlloc", "RtlSizeHeap": "HeapSize",
    "RtlEnterCriticalSection": "EnterCriticalSection", "RtlLeaveCriticalSection": "LeaveCriticalSection",
    "RtlTryEnterCriticalSection": "TryEnterCriticalSection", "RtlInitializeCriticalSection": "InitializeCriticalSection",
    "RtlInitializeCriticalSectionAndSpinCount": "InitializeCriticalSectionAndSpinCount",
    "RtlInitializeCriticalSectionEx": "InitializeCriticalSectionEx", "RtlDeleteCriticalSection": "DeleteCriticalSection", "RtlEncodePointer": "EncodePointer",
    "RtlDecodePointer": "DecodePointer", "RtlInitializeSRWLock": "InitializeSRWLock",
    "RtlAcquireSRWLockExclusive": "AcquireSRWLockExclusive", "RtlReleaseSRWLockExclusive": "ReleaseSRWLockExclusive",
    "RtlAcquireSRWLockShared": "AcquireSRWLockShared", "RtlReleaseSRWLockShared": "ReleaseSRWLockShared",
    "RtlInitializeSListHead": "InitializeSListHead", "RtlInterlockedPushEntrySList": "InterlockedPushEntrySList",
    "RtlInterlockedPopEntrySList": "InterlockedPopEntrySList", "RtlInterlockedFlushSList": "InterlockedFlushSList",
    "RtlQueryDepthSList": "QueryDepthSList", "RtlInitializeConditionVariable": "InitializeConditionVariable",
    "RtlWakeConditionVariable": "WakeConditionVariable", "RtlWakeAllConditionVariable": "WakeAllConditionVariable",
    "RtlExitUserThread": "ExitThread", "RtlExitUserProcess": "ExitProcess",
}  # fmt: skip
for _name, _other in _SAME.items():
    NTDLL.functions[_name] = KERNEL32.functions[_other]._replace(dll=NTDLL.name, name=_name)
for _name in ("memcpy", "memmove", "memset", "memcmp", "strlen", "strcmp", "strncmp", "strcpy", "strncpy", "strcat",
              "strchr", "strrchr", "strstr", "wcslen", "wcscmp", "wcsncmp", "_stricmp", "atoi", "sprintf", "_vsnprintf", "_snprintf"):  # fmt: skip
    NTDLL.functions[_name] = MSVCRT.functions[_name]._replace(dll=NTDLL.name)

# -- strings and numbers --------------------------------------------------------------------------


def _string(system: System, out: int, source: int, size: int, unit: int) -> None:
    """STRING or UNICODE_STRING that names a text."""
    size = min(size * unit, 0xFFFE)
    system.put(out, size, 2)
    system.put(out + 2, size + unit if source else 0, 2)
    system.put(out + system.word, source)


@NTDLL("RtlInitAnsiString RtlInitString", "pp", "v")
def rtl_init_ansi_string(system: System, out: int, source: int) -> None:
    _string(system, out, source, len(system.text(source) or b""), 1)


@NTDLL("RtlInitUnicodeString", "pp", "v")
def rtl_init_unicode_string(system: System, out: int, source: int) -> None:
    text = system.wide(source) or ""
    _string(system, out, source, len(text.encode("utf-16-le", "surrogatepass")) // 2, 2)


_DOS_ERRORS = {
    0: 0, 0xC0000005: 998, 0xC0000008: 6, 0xC000000D: 87, 0xC0000017: 8, 0xC0000022: 5, 0xC0000034: 2, 0xC000003A: 3,
    0xC0000043: 32, 0xC0000002: 1, 0xC0000023: 122, 0xC0000094: 534, 0xC0000135: 126, 0xC0000138: 182, 0xC0000139: 127,
    0xC000007B: 193, 0xC0000142: 1114, 0xC00000FD: 1001, 0x80000005: 234, 0x102: 1460, 0x103: 997,
}  # fmt: skip


@NTDLL("RtlNtStatusToDosError", "u")
def rtl_nt_status_to_dos_error(_system: System, status: int) -> int:
    return status & 0xFFFFFFFF if status >> 29 & 1 else _DOS_ERRORS.get(status, 317)


@NTDLL("RtlGetVersion", "p")
def rtl_get_version(system: System, out: int) -> int:
    size = system.number(out, 4)
    system.memory.write(out + 4, struct.pack("<4I", 6, 1, 7601, 2))
    system.put_text(out + 20, "Service Pack 1", 128)
    if size >= 284:
        system.memory.write(out + 276, struct.pack("<HHHBB", 1, 0, 0x100, 1, 0))
    return 0


@NTDLL("RtlGetNtVersionNumbers", "ppp", "v")
def rtl_get_nt_version_numbers(system: System, *places: int) -> None:
    for place, value in zip(places, (6, 1, 0xF0000000 | 7601), strict=True):
        if place:
            system.put(place, value, 4)


@NTDLL("RtlUlongByteSwap", "u")
def rtl_ulong_byte_swap(_system: System, value: int) -> int:
    return int.from_bytes(value.to_bytes(4, "little"), "big")


@NTDLL("RtlZeroMemory", "pp", "v")
def rtl_zero_memory(system: System, out: int, size: int) -> None:
    MSVCRT.functions["memset"].action(system, out, 0, size)


@NTDLL("RtlFillMemory", "ppu", "v")
def rtl_fill_memory(system: System, out: int, size: int, value: int) -> None:
    MSVCRT.functions["memset"].action(system, out, value, size)


@NTDLL("RtlMoveMemory", "ppp", "v")
@KERNEL32("RtlMoveMemory", "ppp", "v")
def rtl_move_memory(system: System, out: int, source: int, size: int) -> None:
    MSVCRT.functions["memmove"].action(system, out, source, size)


@NTDLL("RtlCompareMemory", "ppp", "p")
def rtl_compare_memory(system: System, a: int, b: int, size: int) -> int:
    x, y = (system.memory.read(a, size), system.memory.read(b, size)) if size else (b"", b"")
    return next((i for i, (p, q) in enumerate(zip(x, y, strict=True)) if p != q), size)


# -- bits -----------------------------------------------------------------------------------------
# RTL_BITMAP: how many bits, where they are.


@NTDLL("RtlInitializeBitMap", "ppu", "v")
def rtl_initialize_bit_map(system: System, bitmap: int, bits: int, size: int) -> None:
    system.put(bitmap, size, 4)
    system.put(bitmap + system.word, bits)


def _bits(system: System, bitmap: int, start: int, count: int) -> tuple[int, int, int] | None:
    """(address of the bytes, their number as one integer, mask); None when some of the bits are not in the map."""
    size = system.number(bitmap, 4)
    if not count or start >= size or count > size - start:
        return None
    at = system.number(bitmap + system.word) + start // 8
    length = (start % 8 + count + 7) // 8
    return at, system.number(at, length), (1 << count) - 1 << start % 8


@NTDLL("RtlAreBitsSet", "puu")
def rtl_are_bits_set(system: System, bitmap: int, start: int, count: int) -> int:
    found = _bits(system, bitmap, start, count)
    return int(found is not None and found[1] & found[2] == found[2])


@NTDLL("RtlAreBitsClear", "puu")
def rtl_are_bits_clear(system: System, bitmap: int, start: int, count: int) -> int:
    found = _bits(system, bitmap, start, count)
    return int(found is not None and not found[1] & found[2])


@NTDLL("RtlSetBits", "puu", "v")
def rtl_set_bits(system: System, bitmap: int, start: int, count: int) -> None:
    found = _bits(system, bitmap, start, count)
    if found is not None:
        system.put(found[0], found[1] | found[2], (found[2].bit_length() + 7) // 8)


@NTDLL("RtlClearBits", "puu", "v")
def rtl_clear_bits(system: System, bitmap: int, start: int, count: int) -> None:
    found = _bits(system, bitmap, start, count)
    if found is not None:
        system.put(found[0], found[1] & ~found[2], (found[2].bit_length() + 7) // 8)


# -- time -----------------------------------------------------------------------------------------


@NTDLL("NtQuerySystemTime RtlQuerySystemTime", "p")
def nt_query_system_time(system: System, out: int) -> int:
    system.put(out, now(), 8)
    return 0


@NTDLL("NtQueryPerformanceCounter", "pp")
def nt_query_performance_counter(system: System, out: int, frequency: int) -> int:
    KERNEL32.functions["QueryPerformanceCounter"].action(system, out)
    if frequency:
        system.put(frequency, _SECONDS, 8)
    return 0


@NTDLL("RtlTimeToSecondsSince1970", "pp")
def rtl_time_to_seconds_since_1970(system: System, when: int, out: int) -> int:
    seconds = (system.number(when, 8) - EPOCH) // _SECONDS
    if not 0 <= seconds < 1 << 32:
        return 0
    system.put(out, seconds, 4)
    return 1


@NTDLL("RtlSecondsSince1970ToTime", "up", "v")
def rtl_seconds_since_1970_to_time(system: System, seconds: int, out: int) -> None:
    system.put(out, seconds * _SECONDS + EPOCH, 8)


@NTDLL("RtlTimeToTimeFields", "pp", "v")
def rtl_time_to_time_fields(system: System, when: int, out: int) -> None:
    year, month, weekday, *rest = struct.unpack("<8H", system_time(system.number(when, 8)))
    system.memory.write(out, struct.pack("<8H", year, month, *rest, weekday))


@NTDLL("NtDelayExecution", "up")
def nt_delay_execution(system: System, _alertable: int, interval: int) -> Any:
    value = system.number(interval, 8)
    value = (1 << 64) - value if value >> 63 else 0
    yield from KERNEL32.functions["Sleep"].action(system, value // 10_000)
    return 0


@NTDLL("NtYieldExecution")
def nt_yield_execution(system: System) -> Any:
    yield from KERNEL32.functions["Sleep"].action(system, 0)
    return 0


# -- modules, handles, memory ---------------------------------------------------------------------


@NTDLL("LdrAddRefDll", "up")
def ldr_add_ref_dll(system: System, flags: int, module: int) -> int:
    found = system.loader.by_handle(module)
    if found is None:
        return 0xC0000135
    if flags & 1:
        system.loader.pin(found)
    else:
        system.loader.refer(found)
    return 0


@NTDLL("LdrDisableThreadCalloutsForDll", "p")
def ldr_disable_thread_callouts_for_dll(system: System, module: int) -> int:
    return 0 if system.loader.disable_thread_calls(module) else 0xC0000135


@NTDLL("RtlImageNtHeader", "p", "p")
def rtl_image_nt_header(system: System, base: int) -> int:
    found = system.loader.by_handle(base)
    return 0 if found is None else base + system.number(base + 0x3C, 4)


@NTDLL("NtClose", "p")
def nt_close(system: System, handle: int) -> int:
    return 0 if system.close(handle) else _INVALID_HANDLE


@NTDLL("NtQueryInformationProcess", "pupup")
def nt_query_information_process(system: System, _process: int, kind: int, out: int, room: int, size: int) -> int:  # fmt: skip
    word = "Q" if system.bits == 64 else "I"
    if kind == 0:  # ProcessBasicInformation
        peb = system.number(system.threads.teb + (0x60 if system.bits == 64 else 0x30))
        data = struct.pack(f"<6{word}", 259, peb, 1, 8, system.process_id, 0)
    elif kind in (7, 26, 30, 31):  # debug port and kin, WoW64: none
        data = struct.pack(f"<{word}", 0)
    else:
        return _NOT_IMPLEMENTED
    if size:
        system.put(size, len(data), 4)
    if room < len(data):
        return _INFO_LENGTH
    system.memory.write(out, data)
    return 0


@NTDLL("NtCurrentTeb", "", "p")
def nt_current_teb(system: System) -> int:
    return int(system.threads.teb)


@NTDLL("NtTerminateProcess", "pu")
def nt_terminate_process(system: System, process: int, code: int) -> int:
    done = KERNEL32.functions["TerminateProcess"].action(system, process or -1, code)
    return 0 if done else _INVALID_HANDLE


# -- what Wine's own DLLs say when they are debugged ----------------------------------------------


@NTDLL("__wine_dbg_get_channel_flags", "p", "u", "cdecl")
def wine_dbg_get_channel_flags(_system: System, _channel: int) -> int:
    return 0  # no class of messages is wanted


@NTDLL("__wine_dbg_header", "ups", "i", "cdecl")
def wine_dbg_header(_system: System, _level: int, _channel: int, _function: bytes) -> int:
    return -1


@NTDLL("__wine_dbg_output", "s", "i", "cdecl")
def wine_dbg_output(_system: System, text: bytes) -> int:
    sys.stderr.write((text or b"").decode("latin-1"))
    return len(text or b"")


@NTDLL("__wine_dbg_strdup", "p", "p", "cdecl")
def wine_dbg_strdup(system: System, text: int) -> int:
    return system.keep((system.text(text) or b"") + b"\0")
