"""msvcrt.dll, ucrtbase.dll: what msvcp140.dll asks of the C library's locale, of which there is one, "C"."""

from __future__ import annotations

import sys

from rtld.backends.windows.api import Exited
from rtld.backends.windows.crt import VCRUNTIME
from rtld.backends.windows.crt_math import both
from rtld.backends.windows.msvcrt import MSVCRT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from rtld.backends.windows.system import System

    Task = Generator[Any, Any, Any]

_DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]
_MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"]  # fmt: skip
_CATEGORIES = 6  # LC_ALL to LC_TIME


@both("_lock_locales _unlock_locales", "", "v")
def lock_locales(_system: System) -> None:
    return


@both("___lc_collate_cp_func", "")
def lc_collate_cp_func(_system: System) -> int:
    return 0


@both("___lc_locale_name_func", "", "p")
def lc_locale_name_func(system: System) -> int:
    """The names of all categories: null pointers, as of "C"."""
    found = system.cache.get("locale names")
    if found is None:
        found = system.cache["locale names"] = system.heap.allocate(_CATEGORIES * system.word)
    return int(found)


def _names(long: list[str]) -> str:
    """:Sun:Sunday:Mon:Monday..."""
    return "".join(f":{name[:3]}:{name}" for name in long)


def _given(name: str, text: str, wide: bool) -> None:
    @both(name, "", "p")
    def action(system: System) -> int:
        data = (text + "\0").encode("utf-16-le" if wide else "ascii")
        at = system.heap.allocate(len(data))
        system.memory.write(at, data)
        return at


for _wide, _letter in ((False, ""), (True, "_W")):
    _given(f"{_letter}_Getdays", _names(_DAYS), _wide)
    _given(f"{_letter}_Getmonths", _names(_MONTHS), _wide)


@both("_Gettnames _W_Gettnames", "", "p")
def gettnames(system: System) -> int:
    """Nothing: who formats a time with it is given "C"'s names by _Strftime."""
    return system.heap.allocate(512)


@both("_Strftime", "ppspp", "p")
def strftime(system: System, out: int, room: int, form: bytes, when: int, _names: int) -> Any:
    return MSVCRT.find("strftime").action(system, out, room, form, when)


@both("_Wcsftime", "ppwpp", "p")
def wcsftime(system: System, out: int, room: int, form: str, when: int, _names: int) -> Any:
    return MSVCRT.find("wcsftime").action(system, out, room, form, when)


@both("strtof", "pp", "f")
def strtof(system: System, text: int, end: int) -> Any:
    return MSVCRT.find("strtod").action(system, text, end)


@both("wcsnlen", "pp", "p")
def wcsnlen(system: System, text: int, most: int) -> int:
    for number in range(min(most, 1 << 20)):
        if not system.number(text + 2 * number, 2):
            return number
    return most


@both("__strncnt", "pp", "p")
def strncnt(system: System, text: int, most: int) -> int:
    for number in range(min(most, 1 << 20)):
        if not system.number(text + number, 1):
            return number
    return most


@both("_set_new_handler", "p", "p")
def set_new_handler(system: System, handler: int) -> int:
    old, system.cache["new handler"] = system.cache.get("new handler", 0), handler
    return int(old)


@both("_invoke_watson", "wwwup", "v")
def invoke_watson(_system: System, expression: str | None, function: str | None, file: str | None, line: int, _reserved: int) -> None:  # fmt: skip
    if expression or function:
        sys.stderr.write(f"{file or ''}:{line}: {function or ''}: {expression or ''}\n")
    raise Exited(0xC0000417)  # STATUS_INVALID_CRUNTIME_PARAMETER


# -- what of the run-time for C++ only the standard library calls ----------------------------------


@VCRUNTIME("__uncaught_exceptions", "", "i")
def uncaught_exceptions(system: System) -> int:
    return len(system.threads.current.crt.get("catches", {}))


@VCRUNTIME("__AdjustPointer", "pp", "p")
def adjust_pointer(system: System, this: int, place: int) -> int:
    """PMD: offset of the part, of the pointer to the table of virtual bases (negative: none), of the entry there."""
    import struct

    mdisp, pdisp, vdisp = struct.unpack("<3i", system.memory.read(place, 12))
    result = this + mdisp
    if pdisp >= 0:
        table = system.number(this + pdisp)
        result += pdisp + int(struct.unpack("<i", system.memory.read(table + vdisp, 4))[0])
    return int(result)
