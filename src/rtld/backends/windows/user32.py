"""USER32.dll: what console programs take of it: characters, wsprintf, messages that nobody sees, texts of resources."""

from __future__ import annotations

import sys

from rtld.backends.windows.api import Dll, VarArgs
from rtld.backends.windows.codepages import ANSI
from rtld.backends.windows.formats import format_string
from rtld.backends.windows.kernel32_locale import kind1, lower, upper
from rtld.backends.windows.kernel32_nls import find_resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rtld.backends.windows.system import System

USER32 = Dll("user32.dll")
_MOST_WSPRINTF = 1024


@USER32.both("MessageBox", "pttu", "i")
def message_box(_system: System, _wide: bool, _window: int, text: str, title: str, _kind: int) -> int:  # fmt: skip
    """Nobody can press a button: what it says goes to standard error."""
    sys.stderr.write(f"{title or ''}: {text or ''}\n")
    return 1


@USER32("MessageBeep", "u")
def message_beep(_system: System, _kind: int) -> int:
    return 1


@USER32("GetProcessWindowStation GetDesktopWindow GetForegroundWindow GetActiveWindow", "", "p")
def get_process_window_station(_system: System) -> int:
    return 0


@USER32("GetUserObjectInformationW GetUserObjectInformationA", "pipup", "i")
def get_user_object_information(system: System, *_: int) -> int:
    return system.fail(6)


@USER32("GetSystemMetrics", "i", "i")
def get_system_metrics(_system: System, _what: int) -> int:
    return 0


@USER32("GetSysColor", "i")
def get_sys_color(_system: System, _what: int) -> int:
    return 0


# -- characters -----------------------------------------------------------------------------------


def _change(name: str, change: Callable[[str], str]) -> None:
    @USER32.both(name, "p", "p")
    def one(system: System, wide: bool, text: int) -> int:
        """A pointer: the string there is changed; a small number is a character."""
        if text >> 16 == 0:
            if wide:
                return ord(change(chr(text)))
            return change(bytes([text & 255]).decode(ANSI)).encode(ANSI, "replace")[0]
        _at(system, wide, text, -1)
        return text

    @USER32.both(name + "Buff", "pu")
    def many(system: System, wide: bool, text: int, size: int) -> int:
        _at(system, wide, text, size)
        return size

    def _at(system: System, wide: bool, text: int, size: int) -> None:
        unit = 2 if wide else 1
        if size < 0:
            raw = system.wide(text) if wide else (system.text(text) or b"").decode(ANSI)
        else:
            data = system.memory.read(text, size * unit) if size else b""
            raw = data.decode("utf-16-le", "surrogatepass") if wide else data.decode(ANSI)
        shown = change(raw or "")
        data = shown.encode("utf-16-le", "surrogatepass") if wide else shown.encode(ANSI, "replace")
        if data:
            system.memory.write(text, data)


_change("CharUpper", upper)
_change("CharLower", lower)


def _class(name: str, mask: int) -> None:
    @USER32(name + "W", "u")
    def wide(_system: System, code: int) -> int:
        return int(kind1(chr(code & 0xFFFF)) & mask != 0)

    @USER32(name + "A", "u")
    def narrow(_system: System, code: int) -> int:
        return int(kind1(bytes([code & 255]).decode(ANSI)) & mask != 0)


for _name, _mask in {"IsCharAlpha": 0x100, "IsCharAlphaNumeric": 0x104, "IsCharUpper": 1, "IsCharLower": 2}.items():  # fmt: skip
    _class(_name, _mask)


@USER32.both("CharNext", "p", "p")
def char_next(system: System, wide: bool, text: int) -> int:
    unit = 2 if wide else 1
    return text + unit if system.number(text, unit) else text


@USER32.both("CharPrev", "pp", "p")
def char_prev(_system: System, wide: bool, start: int, text: int) -> int:
    return max(text - (2 if wide else 1), start)


@USER32("OemToCharA", "sp")
def oem_to_char_a(system: System, text: bytes, out: int) -> int:
    system.memory.write(out, text.decode("cp437").encode(ANSI, "replace") + b"\0")
    return 1


@USER32("CharToOemA", "sp")
def char_to_oem_a(system: System, text: bytes, out: int) -> int:
    system.memory.write(out, text.decode(ANSI).encode("cp437", "replace") + b"\0")
    return 1


# -- formats --------------------------------------------------------------------------------------


def _wsprintf(system: System, wide: bool, out: int, form: Any, values: VarArgs) -> int:
    """Formats as printf has them, but %s of the wide one is wide, and there are no reals; 1024 characters at most."""
    text = form if isinstance(form, str) else form.decode("latin-1")
    shown = format_string(system, text, values, wide=wide)[: _MOST_WSPRINTF - 1]
    data = shown.encode("utf-16-le", "replace") if wide else shown.encode("latin-1", "replace")
    system.memory.write(out, data + (b"\0\0" if wide else b"\0"))
    return len(shown)


@USER32("wsprintfA", "ps.", "i", "cdecl")
def wsprintf_a(system: System, out: int, form: bytes, values: VarArgs) -> int:
    return _wsprintf(system, False, out, form, values)


@USER32("wsprintfW", "pw.", "i", "cdecl")
def wsprintf_w(system: System, out: int, form: str, values: VarArgs) -> int:
    return _wsprintf(system, True, out, form, values)


@USER32("wvsprintfA", "psp", "i")
def wvsprintf_a(system: System, out: int, form: bytes, values: int) -> int:
    return _wsprintf(system, False, out, form, VarArgs(system.memory, values, system.word))


@USER32("wvsprintfW", "pwp", "i")
def wvsprintf_w(system: System, out: int, form: str, values: int) -> int:
    return _wsprintf(system, True, out, form, VarArgs(system.memory, values, system.word))


# -- resources ------------------------------------------------------------------------------------


@USER32.both("LoadString", "pupi", "i")
def load_string(system: System, wide: bool, module: int, number: int, out: int, room: int) -> int:
    """Strings stand in blocks of 16: each a length and so many units."""
    entry = find_resource(system, module, 6, (number >> 4) + 1)
    if not entry:
        return 0
    loaded = system.loader.by_handle(module) if module else system.loader.main
    at = int(loaded.base) + system.number(entry, 4)
    for _ in range(number & 15):
        at += 2 + 2 * system.number(at, 2)
    size = system.number(at, 2)
    if room == 0 and wide:  # the text itself is wanted
        system.put(out, at + 2)
        return size
    text = system.memory.read(at + 2, 2 * size).decode("utf-16-le", "replace") if size else ""
    if room <= 0 or not size:
        return system.fail(1814) if not size else 0
    text = text[: room - 1]
    system.put_string(wide, out, room, text)
    return len(text)
