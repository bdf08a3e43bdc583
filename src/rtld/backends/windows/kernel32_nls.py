"""KERNEL32.dll: the locale, which is en-US; messages of errors; resources of modules."""

from __future__ import annotations

import re
import struct

from rtld.backends.windows.api import VarArgs
from rtld.backends.windows.kernel32 import KERNEL32
from rtld.backends.windows.kernel32_time import DAYS, MONTHS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.backends.windows.system import System

EN_US = 0x409
_NAME = "en-US"
#: LCTYPE -> text (winnls.h)
_INFO = {
    0x0001: "0409", 0x0002: "English (United States)", 0x0003: "ENU", 0x0004: "English", 0x0005: "1",
    0x0006: "United States", 0x0007: "USA", 0x0008: "United States", 0x0009: "0409", 0x000A: "1", 0x000B: "437",
    0x000C: ",", 0x000D: "1", 0x000E: ".", 0x000F: ",", 0x0010: "3;0", 0x0011: "2", 0x0012: "1",
    0x0013: "0123456789", 0x0014: "$", 0x0015: "USD", 0x0016: ".", 0x0017: ",", 0x0018: "3;0", 0x0019: "2",
    0x001A: "2", 0x001B: "0", 0x001C: "0", 0x001D: "/", 0x001E: ":", 0x001F: "M/d/yyyy",
    0x0020: "dddd, MMMM d, yyyy", 0x0021: "0", 0x0022: "1", 0x0023: "0", 0x0024: "1", 0x0025: "0", 0x0026: "0",
    0x0027: "0", 0x0028: "AM", 0x0029: "PM", 0x0050: "", 0x0051: "-", 0x0059: "en", 0x005A: "US", 0x005C: _NAME,
    0x1001: "English", 0x1002: "United States", 0x1003: "h:mm:ss tt", 0x1004: "1252", 0x1005: "0",
    0x1006: "MMMM yyyy", 0x1007: "US Dollar", 0x1009: "1", 0x100A: "0", 0x100B: "10000", 0x100C: "6", 0x100D: "0",
    0x1010: "1", 0x0072: "English (United States)",
}  # fmt: skip
_INFO |= {0x2A + i: DAYS[(i + 1) % 7] for i in range(7)}
_INFO |= {0x31 + i: DAYS[(i + 1) % 7][:3] for i in range(7)}
_INFO |= {0x38 + i: name for i, name in enumerate(MONTHS)}
_INFO |= {0x44 + i: name[:3] for i, name in enumerate(MONTHS)}


@KERNEL32("GetUserDefaultLCID GetSystemDefaultLCID GetThreadLocale")
def get_user_default_lcid(_system: System) -> int:
    return EN_US


@KERNEL32("GetUserDefaultLangID GetSystemDefaultLangID GetUserDefaultUILanguage GetSystemDefaultUILanguage GetThreadUILanguage")  # fmt: skip
def get_user_default_lang_id(_system: System) -> int:
    return EN_US


@KERNEL32("SetThreadLocale SetThreadUILanguage", "u")
def set_thread_locale(_system: System, locale: int) -> int:
    return locale and 1


@KERNEL32("ConvertDefaultLocale", "u")
def convert_default_locale(_system: System, locale: int) -> int:
    return EN_US if locale in (0, 0x400, 0x800, 9) else locale


@KERNEL32("IsValidLocale", "uu")
def is_valid_locale(_system: System, locale: int, _flags: int) -> int:
    return int(locale & 0xFFFF in (0, 9, 0x400, 0x409, 0x800))


@KERNEL32("IsValidLocaleName", "w")
def is_valid_locale_name(_system: System, name: str) -> int:
    return int(name is not None and name.lower() in ("", "en", "en-us"))


@KERNEL32("GetUserDefaultLocaleName GetSystemDefaultLocaleName", "pi", "i")
def get_user_default_locale_name(system: System, out: int, room: int) -> int:
    if room < len(_NAME) + 1:
        return system.fail(122)
    return system.put_text(out, _NAME, room) + 1


@KERNEL32("LCIDToLocaleName", "upiu", "i")
def lcid_to_locale_name(system: System, _locale: int, out: int, room: int, _flags: int) -> int:
    if not room:
        return len(_NAME) + 1
    return int(get_user_default_locale_name(system, out, room))


@KERNEL32("LocaleNameToLCID", "wu")
def locale_name_to_lcid(system: System, name: str | None, _flags: int) -> int:
    if name is None:
        return EN_US
    known = {"": 0x7F, "en-us": EN_US, "en": 9}.get(name.lower())
    return known if known is not None else system.fail(87)


@KERNEL32("ResolveLocaleName", "wpi", "i")
def resolve_locale_name(system: System, _name: str, out: int, room: int) -> int:
    return int(lcid_to_locale_name(system, 0, out, room, 0))


@KERNEL32.both("EnumSystemLocales", "pu")
def enum_system_locales(system: System, wide: bool, function: int, _flags: int) -> Any:
    from rtld.backends.windows.api import Call

    text = "00000409\0"
    at = system.keep(text.encode("utf-16-le") if wide else text.encode())
    yield Call(function, (at,))
    return 1


@KERNEL32("EnumSystemLocalesEx", "pupp")
def enum_system_locales_ex(system: System, function: int, _flags: int, data: int, _: int) -> Any:
    from rtld.backends.windows.api import Call

    yield Call(function, (system.keep((_NAME + "\0").encode("utf-16-le")), 0x20, data))
    return 1


def _info(system: System, wide: bool, what: int, out: int, room: int) -> int:
    text = _INFO.get(what & 0xFFFF)
    if text is None:
        return system.fail(1004)  # ERROR_INVALID_FLAGS
    if what & 0x20000000:  # LOCALE_RETURN_NUMBER
        try:
            value = int(text, 16 if what & 0xFFFF in (1, 9) else 10)
        except ValueError:
            return system.fail(1004)
        if room:
            system.put(out, value, 4)
        return 2 if wide else 4
    if not room:
        return len(text) + 1
    if room < len(text) + 1:
        return system.fail(122)
    return system.put_string(wide, out, room, text) + 1


@KERNEL32.both("GetLocaleInfo", "uupi", "i")
def get_locale_info(system: System, wide: bool, _locale: int, what: int, out: int, room: int) -> int:  # fmt: skip
    return _info(system, wide, what, out, room)


@KERNEL32("GetLocaleInfoEx", "wupi", "i")
def get_locale_info_ex(system: System, _name: str, what: int, out: int, room: int) -> int:
    return _info(system, True, what, out, room)


@KERNEL32.both("GetNumberFormat GetCurrencyFormat", "uutppi", "i")
def get_number_format(system: System, wide: bool, _locale: int, _flags: int, value: str, _form: int, out: int, room: int) -> int:  # fmt: skip
    """As en-US has it: 1,234.50."""
    try:
        text = f"{float(value):,.2f}"
    except (TypeError, ValueError):
        return system.fail(87)
    if room and room < len(text) + 1:
        return system.fail(122)
    return system.put_string(wide, out, room, text) + 1 if room else len(text) + 1


# -- messages -------------------------------------------------------------------------------------

#: System error codes and their texts (learn.microsoft.com, "System Error Codes").
_MESSAGES = {
    0: "The operation completed successfully.", 1: "Incorrect function.",
    2: "The system cannot find the file specified.", 3: "The system cannot find the path specified.",
    4: "The system cannot open the file.", 5: "Access is denied.", 6: "The handle is invalid.",
    8: "Not enough memory resources are available to process this command.",
    13: "The data is invalid.", 14: "Not enough memory resources are available to complete this operation.",
    15: "The system cannot find the drive specified.",
    17: "The system cannot move the file to a different disk drive.", 18: "There are no more files.",
    31: "A device attached to the system is not functioning.",
    32: "The process cannot access the file because it is being used by another process.",
    38: "Reached the end of the file.", 50: "The request is not supported.", 80: "The file exists.",
    87: "The parameter is incorrect.", 109: "The pipe has been ended.",
    112: "There is not enough space on the disk.", 120: "This function is not supported on this system.",
    122: "The data area passed to a system call is too small.",
    123: "The filename, directory name, or volume label syntax is incorrect.",
    126: "The specified module could not be found.", 127: "The specified procedure could not be found.",
    145: "The directory is not empty.", 183: "Cannot create a file when that file already exists.",
    193: "%1 is not a valid Win32 application.", 203: "The system could not find the environment option that was entered.",
    232: "The pipe is being closed.", 234: "More data is available.", 258: "The wait operation timed out.",
    259: "No more data is available.", 267: "The directory name is invalid.", 487: "Attempt to access invalid address.",
    998: "Invalid access to memory location.", 1114: "A dynamic link library (DLL) initialization routine failed.",
}  # fmt: skip
_MODULE, _TABLE = 0x800, 11  # RT_MESSAGETABLE
_ALLOCATE, _IGNORE_INSERTS, _STRING, _SYSTEM, _ARRAY = 0x100, 0x200, 0x400, 0x1000, 0x2000


def _insert(system: System, wide: bool, values: list[int], match: re.Match[str]) -> str:
    from rtld.backends.windows.formats import format_text

    number = int(match[1])
    while len(values) < number:
        return ""
    form = match[2] or "s"
    if form.lstrip("-+ 0123456789.hlwI") in ("s", "S"):
        kind = form.lstrip("-+ 0123456789.")
        as_wide = wide if kind == "s" else (not wide if kind == "S" else kind[0] in "lw")
        text = (system.wide if as_wide else system.text)(values[number - 1]) or ""
        shown = text if isinstance(text, str) else text.decode("cp1252", "replace")
        width = re.match(r"(-?)0?(\d*)(?:\.(\d+))?", form)
        assert width is not None
        shown = shown[: int(width[3])] if width[3] else shown
        size = min(int(width[2] or 0), 4096)
        return shown.ljust(size) if width[1] else shown.rjust(size)

    class One(VarArgs):
        def _take(self, size: int) -> bytes:
            return (values[number - 1] & (1 << 64) - 1).to_bytes(8, "little")[:size]

    return format_text(system, f"%{form}".encode("latin-1", "replace"), One(system.memory, 0, system.word)).decode("latin-1")  # fmt: skip


def _message(system: System, wide: bool, flags: int, text: str, arguments: int) -> str:
    raw = bool(flags & _IGNORE_INSERTS)
    values: list[int] = []
    if arguments and not raw:
        at = arguments if flags & _ARRAY else system.number(arguments)
        wanted = [int(n) for n in re.findall(r"%([1-9]\d?)", text)]
        values = [system.number(at + i * system.word) for i in range(max(wanted, default=0))]
    result = ""
    at = 0
    while at < len(text):
        if text[at] != "%":
            if text[at] == "\n" or text.startswith("\r\n", at):
                at += 2 if text[at] == "\r" else 1
                result += " " if flags & 0xFF else "\r\n"
            else:
                result += text[at]
                at += 1
            continue
        match = re.compile(r"%([1-9]\d?)(?:!([^!]*)!)?").match(text, at)
        letter = text[at + 1 : at + 2]
        if match is not None:
            result += match[0] if raw else _insert(system, wide, values, match)
            at = match.end()
        elif letter == "0":
            return result
        elif letter == "n":
            result += "\r\n"
            at += 2
        else:
            result += letter if letter not in "rt" else {"r": "\r", "t": "\t"}.get(letter, "")
            at += 2
    return result


def _table_message(system: System, module: int, number: int) -> str | None:
    """A message of a module's table: blocks of numbers that follow each other, and their texts."""
    entry = find_resource(system, module, _TABLE, 1)
    if not entry:
        return None
    loaded = system.loader.by_handle(module & -4) if module else system.loader.main
    table = int(loaded.base) + system.number(entry, 4)
    for block in range(min(system.number(table, 4), 4096)):
        low, high, offset = struct.unpack("<III", system.memory.read(table + 4 + 12 * block, 12))
        if not low <= number <= high:
            continue
        at = table + offset
        for _ in range(number - low):
            at += max(system.number(at, 2), 4)
        size, wide = system.number(at, 2), system.number(at + 2, 2) & 1
        data = system.memory.read(at + 4, max(size - 4, 0)) if size > 4 else b""
        text = data.decode("utf-16-le", "replace") if wide else data.decode("cp1252", "replace")
        return text.partition("\0")[0]
    return None


@KERNEL32.both("FormatMessage", "upuupup")
def format_message(system: System, wide: bool, flags: int, source: int, number: int, _language: int, out: int, room: int, arguments: int) -> int:  # fmt: skip
    if flags & _STRING:
        text: Any = system.wide(source) if wide else (system.text(source) or b"").decode("cp1252", "replace")  # fmt: skip
    elif flags & _MODULE and (own := _table_message(system, source, number)) is not None:
        text = own
    elif flags & (_SYSTEM | _MODULE):
        found = _MESSAGES.get(number & 0xFFFF if number >> 16 == 0x8007 else number)
        if found is None or not flags & _SYSTEM:
            return system.fail(317)  # ERROR_MR_MID_NOT_FOUND
        text = found + "\r\n"
    else:
        return system.fail(87)
    shown = _message(system, wide, flags, text or "", arguments)
    if not shown:
        return system.fail(317 if flags & _SYSTEM else 0)
    if flags & _ALLOCATE:
        place = system.heap.allocate((max(len(shown), room) + 1) * 2)
        system.put(out, place)
        return system.put_string(wide, place, len(shown) + 1, shown)
    if room < len(shown) + 1:
        return system.fail(122)
    return system.put_string(wide, out, room, shown)


# -- resources: a tree of three levels: type, name, language --------------------------------------


def _resources(system: System, module: int) -> tuple[int, int, int]:
    """(base, address of the tree, its size) of a module; zeros when it has none."""
    found = system.loader.by_handle(module & -4) if module else system.loader.main
    if found is None:
        return 0, 0, 0
    base: int = found.base
    header = base + system.number(base + 0x3C, 4)
    place = header + (0x98 if system.bits == 64 else 0x88)
    rva, size = struct.unpack("<II", system.memory.read(place, 8))
    return (base, base + rva, size) if rva else (0, 0, 0)


def _child(system: System, root: int, node: int, wanted: Any) -> int:
    """The entry of a node that is called so (None: the first); 0 when there is none."""
    named, numbered = struct.unpack("<HH", system.memory.read(node + 12, 4))
    for index in range(named + numbered):
        name, offset = struct.unpack("<II", system.memory.read(node + 16 + 8 * index, 8))
        if wanted is None:
            return int(offset)
        if name >> 31:
            at = root + (name & 0x7FFFFFFF)
            text = system.memory.read(at + 2, 2 * system.number(at, 2)).decode("utf-16-le", "replace")  # fmt: skip
            if isinstance(wanted, str) and text.upper() == wanted.upper():
                return int(offset)
        elif name == wanted:
            return int(offset)
    return 0


def find_resource(system: System, module: int, kind: Any, name: Any, language: int | None = None) -> int:  # fmt: skip
    """The address of an IMAGE_RESOURCE_DATA_ENTRY, or 0 and the last error."""
    _base, root, size = _resources(system, module)
    if not size:
        return system.fail(1812)  # ERROR_RESOURCE_DATA_NOT_FOUND
    types = _child(system, root, root, kind)
    if not types >> 31:
        return system.fail(1813)  # ERROR_RESOURCE_TYPE_NOT_FOUND
    names = _child(system, root, root + (types & 0x7FFFFFFF), name)
    if not names >> 31:
        return system.fail(1814)  # ERROR_RESOURCE_NAME_NOT_FOUND
    node = root + (names & 0x7FFFFFFF)
    leaf = 0
    for each in (
        language or EN_US,
        EN_US,
        9,
        0,
        0x400,
        None,
    ):  # neutral, English, none, the user's; else the first
        leaf = _child(system, root, node, each)
        if leaf:
            break
    return root + leaf if leaf and not leaf >> 31 else system.fail(1815)


def _identifier(system: System, wide: bool, value: int) -> Any:
    """A number, or a text ("#5" is a number, too)."""
    if value >> 16 == 0:
        return value
    text = system.wide(value) if wide else (system.text(value) or b"").decode("cp1252", "replace")
    return int(text[1:]) if text and text[0] == "#" and text[1:].isdigit() else text


@KERNEL32.both("FindResource", "ppp", "p")
def find_resource_named(system: System, wide: bool, module: int, name: int, kind: int) -> int:
    return find_resource(system, module, _identifier(system, wide, kind), _identifier(system, wide, name))  # fmt: skip


@KERNEL32.both("FindResourceEx", "pppu", "p")
def find_resource_ex(system: System, wide: bool, module: int, kind: int, name: int, language: int) -> int:  # fmt: skip
    return find_resource(system, module, _identifier(system, wide, kind), _identifier(system, wide, name), language & 0xFFFF)  # fmt: skip


@KERNEL32("LoadResource", "pp", "p")
def load_resource(system: System, module: int, entry: int) -> int:
    base = _resources(system, module)[0]
    return base + system.number(entry, 4) if base and entry else system.fail(6)


@KERNEL32("LockResource", "p", "p")
def lock_resource(_system: System, data: int) -> int:
    return data


@KERNEL32("SizeofResource", "pp")
def sizeof_resource(system: System, _module: int, entry: int) -> int:
    return system.number(entry + 4, 4) if entry else system.fail(6)


@KERNEL32("FreeResource", "p")
def free_resource(_system: System, _data: int) -> int:
    return 0
