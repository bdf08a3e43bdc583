"""vcruntime140.dll, msvcrt.dll: the rest of what C++ of Visual C++ calls: terminate, std::exception's text, dynamic_cast."""

from __future__ import annotations

import struct

from rtld.backends.windows.api import Call
from rtld.backends.windows.crt import UCRT, VCRUNTIME
from rtld.backends.windows.msvcrt import MSVCRT
from rtld.errors import TargetFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from typing import Any

    from rtld.backends.windows.system import System

    Task = Generator[Any, Any, Any]
    Action = Callable[..., Any]

_MOST = 1 << 16  # base classes
_DEFAULT, _IGNORE = 0, 1


def runtime(names: str, arguments: str = "", result: str = "u") -> Callable[[Action], Action]:
    """Declare a function of all the C run-times."""

    def declare(action: Action) -> Action:
        for table in (MSVCRT, UCRT, VCRUNTIME):
            table(names, arguments, result, "cdecl")(action)
        return action

    return declare


def signalled(system: System, number: int, *arguments: int) -> Task:
    """Call the program's handler of a signal, which is taken off before; False when it has none."""
    key = f"signal {number}"
    handler = system.cache.get(key, _DEFAULT)
    if handler == _DEFAULT:
        return False
    if handler != _IGNORE:
        system.cache[key] = _DEFAULT
        yield Call(handler, (number, *arguments), "cdecl")
    return True


@runtime("terminate __std_terminate ?terminate@@YAXXZ _purecall", "", "v")
def terminate(system: System) -> Task:
    """The program's handler, or abort."""
    handler = system.threads.current.crt.get("terminate", 0)
    if handler:
        yield Call(handler, (), "cdecl")
    yield from MSVCRT.functions["abort"].action(system)


@runtime("set_terminate ?set_terminate@@YAP6AXXZP6AXXZ@Z", "p", "p")
def set_terminate(system: System, handler: int) -> int:
    crt = system.threads.current.crt
    old, crt["terminate"] = crt.get("terminate", 0), handler
    return int(old)


@runtime("_get_terminate", "", "p")
def get_terminate(system: System) -> int:
    return int(system.threads.current.crt.get("terminate", 0))


# -- std::exception: (text, is it to be freed?) -------------------------------------------------------


@runtime("__std_exception_copy", "pp", "v")
def std_exception_copy(system: System, source: int, target: int) -> None:
    text, owned = system.number(source), system.memory.read(source + system.word, 1)[0]
    if owned and text:
        data = (system.text(text) or b"") + b"\0"
        text = system.heap.allocate(len(data))
        system.memory.write(text, data)
    system.put(target, text)
    system.put(target + system.word, owned, 1)


@runtime("__std_exception_destroy", "p", "v")
def std_exception_destroy(system: System, at: int) -> None:
    if system.memory.read(at + system.word, 1)[0]:
        system.heap.free(system.number(at))
    system.put(at, 0)
    system.put(at + system.word, 0, 1)


# -- run-time type information ------------------------------------------------------------------------


class Located:
    """The complete object around a part of it, by the locator in front of the part's table of virtual functions.

    RTTICompleteObjectLocator and what hangs on it: "Reversing Microsoft Visual C++ Part II: Classes, Methods and RTTI"
    (Skochinsky, 2006). On x64 its addresses are RVAs, and it has its own.
    """

    def __init__(self, system: System, part: int) -> None:
        self.system = system
        locator = system.number(system.number(part) - system.word)
        wide = system.bits == 64
        words = struct.unpack(f"<{6 if wide else 5}I", system.memory.read(locator, 24 if wide else 20))  # fmt: skip
        self.base = locator - words[5] if wide and words[0] else 0
        self.type = self.base + words[3]
        self._hierarchy = self.base + words[4]
        self.object = part - words[1]
        if words[2]:  # the part is in a virtual base that is still to be placed
            self.object -= struct.unpack("<i", system.memory.read(part - words[2], 4))[0]

    def bases(self) -> Iterator[tuple[int, int]]:
        """(type, address of the part) of the object and of all that it is made of."""
        memory = self.system.memory
        _, _, count, array = struct.unpack("<4I", memory.read(self._hierarchy, 16))
        for number in range(min(count, _MOST)):
            at = self.base + struct.unpack("<I", memory.read(self.base + array + 4 * number, 4))[0]
            kind, _, mdisp, pdisp, vdisp = struct.unpack("<IIiii", memory.read(at, 20))
            place = self.object + mdisp
            if pdisp >= 0:
                table = self.system.number(self.object + pdisp)
                place += pdisp + struct.unpack("<i", memory.read(table + vdisp, 4))[0]
            yield self.base + kind, place


def _type_name(system: System, kind: int) -> bytes:
    return system.text(kind + 2 * system.word) or b""


@runtime("__RTDynamicCast", "pippi", "p")
def rt_dynamic_cast(system: System, part: int, _delta: int, _source: int, target: int, reference: int) -> int:  # fmt: skip
    if part:
        wanted = _type_name(system, target)
        for kind, place in Located(system, part).bases():
            if kind == target or _type_name(system, kind) == wanted:
                return place
    if reference:
        raise TargetFault("dynamic_cast of a reference has failed, and std::bad_cast is not supplied")  # fmt: skip
    return 0


@runtime("__RTCastToVoid", "p", "p")
def rt_cast_to_void(system: System, part: int) -> int:
    return int(Located(system, part).object) if part else 0


@runtime("__RTtypeid", "p", "p")
def rt_typeid(system: System, part: int) -> int:
    if not part:
        raise TargetFault("typeid of a null pointer, and std::bad_typeid is not supplied")
    return int(Located(system, part).type)


@runtime("__std_type_info_compare", "pp", "i")
def std_type_info_compare(system: System, one: int, other: int) -> int:
    """Of two type_info::_Data: the undecorated name's pointer, then the decorated name."""
    a, b = (system.text(at + system.word) or b"" for at in (one, other))
    return 0 if one == other or a == b else (1 if a > b else -1)


@runtime("__std_type_info_hash", "p", "p")
def std_type_info_hash(system: System, at: int) -> int:
    """FNV-1a of the decorated name."""
    wide = system.bits == 64
    value, prime = (0xCBF29CE484222325, 0x100000001B3) if wide else (0x811C9DC5, 0x01000193)
    for octet in (system.text(at + system.word) or b"")[1:]:
        value = (value ^ octet) * prime & (1 << system.bits) - 1
    return int(value ^ value >> 32 if wide else value)
