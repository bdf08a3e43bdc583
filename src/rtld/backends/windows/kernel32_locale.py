"""KERNEL32.dll: code pages, strings, classes of characters, dictionary order."""

from __future__ import annotations

import struct
import unicodedata

from rtld.backends.windows.codepages import ANSI, CODECS, DOUBLE_BYTE
from rtld.backends.windows.kernel32 import KERNEL32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rtld.backends.windows.system import System

_MOST = 1 << 24

# -- code pages -----------------------------------------------------------------------------------


@KERNEL32("GetACP")
def get_acp(_system: System) -> int:
    return 1252


@KERNEL32("GetOEMCP")
def get_oemcp(_system: System) -> int:
    return 437


def _lead(page: int, byte: int) -> bool:
    return any(low <= byte <= high for low, high in DOUBLE_BYTE.get(page, ()))


@KERNEL32("IsDBCSLeadByte", "u")
def is_dbcs_lead_byte(_system: System, _byte: int) -> int:
    return 0


@KERNEL32("IsDBCSLeadByteEx", "uu")
def is_dbcs_lead_byte_ex(_system: System, page: int, byte: int) -> int:
    return int(_lead(page, byte & 255))


@KERNEL32("IsValidCodePage", "u")
def is_valid_code_page(_system: System, page: int) -> int:
    return int(page in CODECS and page > 3)


def _page_info(page: int) -> bytes:
    pairs = b"".join(bytes(pair) for pair in DOUBLE_BYTE.get(page, ()))
    size = 2 if pairs else 4 if page == 65001 else 5 if page == 65000 else 1
    return struct.pack("<I", size) + b"?\0" + pairs.ljust(12, b"\0")


_REAL = {0: 1252, 1: 437, 3: 1252}


@KERNEL32("GetCPInfo", "up")
def get_cp_info(system: System, page: int, out: int) -> int:
    if page not in CODECS or not out:
        return system.fail(87)
    system.memory.write(out, _page_info(_REAL.get(page, page)) + bytes(2))
    return 1


@KERNEL32.both("GetCPInfoEx", "uup")
def get_cp_info_ex(system: System, wide: bool, page: int, _flags: int, out: int) -> int:
    if page not in CODECS:
        return system.fail(87)
    real = _REAL.get(page, page)
    system.memory.write(out, _page_info(real) + struct.pack("<HI", ord("?"), real))
    system.put_string(wide, out + 24, 260, str(real))
    return 1


def encode(text: str, page: int, default: bytes = b"?") -> tuple[bytes, bool]:
    """Bytes of a code page, and whether some character was not in it."""
    codec = CODECS[page]
    if codec in ("utf-8", "utf-7"):
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode(codec), False  # fmt: skip
    try:
        return text.encode(codec), False
    except UnicodeEncodeError:
        pass
    pieces, missing = [], False
    for letter in text:
        try:
            pieces.append(letter.encode(codec))
        except UnicodeEncodeError:  # as best fit: the letter without its marks
            plain = unicodedata.normalize("NFKD", letter)[:1] if codec != "ascii" else ""
            try:
                found = plain.encode(codec)
                pieces.append(found or default)
                missing = missing or not found
            except UnicodeEncodeError:
                pieces.append(default * (2 if ord(letter) > 0xFFFF else 1))
                missing = True
    return b"".join(pieces), missing


@KERNEL32("MultiByteToWideChar", "uupipi", "i")
def multi_byte_to_wide_char(system: System, page: int, flags: int, text: int, size: int, out: int, room: int) -> int:  # fmt: skip
    if not text or not size or room < 0 or (room and not out) or page not in CODECS:
        return system.fail(87)
    data = (system.text(text) or b"") + b"\0" if size < 0 else system.memory.read(text, size)
    try:
        wide = data.decode(CODECS[page], "strict" if flags & 8 else "replace").encode("utf-16-le")
    except UnicodeDecodeError:
        return system.fail(1113)  # ERROR_NO_UNICODE_TRANSLATION
    count = len(wide) // 2
    if not room:
        return count
    if count > room:
        system.memory.write(out, wide[: 2 * room])
        return system.fail(122)
    system.memory.write(out, wide)
    return count


@KERNEL32("WideCharToMultiByte", "uupipipp", "i")
def wide_char_to_multi_byte(system: System, page: int, flags: int, text: int, size: int, out: int, room: int, default: int, used: int) -> int:  # fmt: skip
    if not text or not size or room < 0 or (room and not out) or page not in CODECS:
        return system.fail(87)
    if page == 65001 and (default or used):
        return system.fail(87)
    if size < 0:
        wide = (system.wide(text) or "") + "\0"
    else:
        wide = system.memory.read(text, 2 * size).decode("utf-16-le", "surrogatepass" if size < _MOST else "replace")  # fmt: skip
    if flags & 0x80 and page == 65001:
        try:
            wide.encode("utf-8")
        except UnicodeEncodeError:
            return system.fail(1113)
    substitute = system.text(default) or b"?" if default else b"?"
    data, missing = encode(wide, page, substitute)
    if used:
        system.put(used, missing, 4)
    if not room:
        return len(data)
    if len(data) > room:
        system.memory.write(out, data[:room])
        return system.fail(122)
    system.memory.write(out, data)
    return len(data)


# -- strings --------------------------------------------------------------------------------------


@KERNEL32("lstrlenA", "s", "i")
@KERNEL32("lstrlenW", "w", "i")
def lstrlen(_system: System, text: Any) -> int:
    if isinstance(text, str):
        return len(_units(text)) // 2
    return len(text or b"")


def _units(text: str) -> bytes:
    return text.encode("utf-16-le", "surrogatepass")


@KERNEL32("lstrcpyA", "ps", "p")
@KERNEL32("lstrcpyW", "pw", "p")
def lstrcpy(system: System, out: int, text: Any) -> int:
    system.memory.write(out, _units(text) + b"\0\0" if isinstance(text, str) else (text or b"") + b"\0")  # fmt: skip
    return out


@KERNEL32("lstrcpynA", "psi", "p")
@KERNEL32("lstrcpynW", "pwi", "p")
def lstrcpyn(system: System, out: int, text: Any, room: int) -> int:
    return lstrcpy(system, out, text[: room - 1]) if room > 0 else 0


@KERNEL32("lstrcatA", "ps", "p")
@KERNEL32("lstrcatW", "pw", "p")
def lstrcat(system: System, out: int, text: Any) -> int:
    wide = isinstance(text, str)
    before = len(_units(system.wide(out) or "")) if wide else len(system.text(out) or b"")
    lstrcpy(system, out + before, text)
    return out


def _weights(text: str, flags: int) -> tuple[list[Any], list[Any], list[Any]]:
    """Keys to compare by: letters, their marks, their case; a hyphen or apostrophe only counts with SORT_STRINGSORT."""
    letters: list[Any] = []
    marks: list[Any] = []
    cases: list[Any] = []
    for letter in unicodedata.normalize("NFD", text):
        if unicodedata.combining(letter):
            if marks:
                marks[-1] += (ord(letter),)
            continue
        if letter in "-'" and not flags & 0x1000:
            continue
        kind = unicodedata.category(letter)[0]
        order = {"L": 3, "N": 2}.get(kind, 1 if kind != "C" else 0)
        if order == 0:
            continue
        letters.append((order, letter.lower()))
        marks.append(())
        cases.append(letter != letter.lower())
    return letters, marks, cases


def compare(a: str, b: str, flags: int) -> int:
    """Less than, equal to, greater than zero: words as a dictionary of en-US has them."""
    x, y = _weights(a, flags), _weights(b, flags)
    levels = [0] + ([1] if not flags & 2 else []) + ([2] if not flags & 0x11 else [])
    for level in levels:
        if x[level] != y[level]:
            return -1 if x[level] < y[level] else 1
    if not flags & 0x1000:  # hyphens and apostrophes count at last
        p, q = [i for i, c in enumerate(a) if c in "-'"], [i for i, c in enumerate(b) if c in "-'"]
        if p != q:
            return -1 if p < q else 1
    return 0


@KERNEL32("lstrcmpA", "ss", "i")
@KERNEL32("lstrcmpW", "ww", "i")
def lstrcmp(_system: System, a: Any, b: Any) -> int:
    return compare(_str(a), _str(b), 0)


@KERNEL32("lstrcmpiA", "ss", "i")
@KERNEL32("lstrcmpiW", "ww", "i")
def lstrcmpi(_system: System, a: Any, b: Any) -> int:
    return compare(_str(a), _str(b), 1)


def _str(text: Any) -> str:
    return text if isinstance(text, str) else (text or b"").decode(ANSI)


def read_string(system: System, wide: bool, address: int, size: int) -> str:
    """Characters at an address, so many units of them, or up to a zero when ``size`` is negative."""
    if size < 0:
        return (system.wide(address) or "") if wide else (system.text(address) or b"").decode(ANSI)
    raw = system.memory.read(address, size * (2 if wide else 1)) if size else b""
    return raw.decode("utf-16-le", "surrogatepass") if wide else raw.decode(ANSI)


@KERNEL32.both("CompareString", "uupipi", "i")
def compare_string(system: System, wide: bool, _locale: int, flags: int, a: int, a_size: int, b: int, b_size: int) -> int:  # fmt: skip
    if not a or not b:
        return system.fail(87)
    return 2 + compare(read_string(system, wide, a, a_size), read_string(system, wide, b, b_size), flags)  # fmt: skip


@KERNEL32("CompareStringEx", "wupipippp", "i")
def compare_string_ex(system: System, _locale: str, flags: int, a: int, a_size: int, b: int, b_size: int, *_: int) -> int:  # fmt: skip
    return int(compare_string(system, True, 0, flags, a, a_size, b, b_size))


@KERNEL32("CompareStringOrdinal", "pipiu", "i")
def compare_string_ordinal(system: System, a: int, a_size: int, b: int, b_size: int, fold: int) -> int:  # fmt: skip
    if not a or not b:
        return system.fail(87)
    x, y = read_string(system, True, a, a_size), read_string(system, True, b, b_size)
    if fold:
        x, y = upper(x), upper(y)
    p = struct.unpack(f"<{len(_units(x)) // 2}H", _units(x))
    q = struct.unpack(f"<{len(_units(y)) // 2}H", _units(y))
    return 2 + (p > q) - (p < q)


def upper(text: str) -> str:
    """Each character by itself: none becomes two."""
    return "".join(u if len(u := c.upper()) == 1 else c for c in text)


def lower(text: str) -> str:
    return "".join(u if len(u := c.lower()) == 1 else c for c in text)


def _sort_key(text: str, flags: int) -> bytes:
    letters, marks, cases = _weights(text, flags)
    one = b"".join(bytes([order + 1]) + _units(letter) for order, letter in letters)
    two = b"" if flags & 2 else b"".join(bytes([2 + len(m)]) for m in marks).rstrip(b"\2")
    three = b"" if flags & 1 else bytes(2 + c for c in cases).rstrip(b"\2")
    return one + b"\1" + two + b"\1" + three + b"\1\1\0"


def _map(system: System, wide: bool, flags: int, source: int, size: int, out: int, room: int) -> int:  # fmt: skip
    if not source or not size or room < 0:
        return system.fail(87)
    text = read_string(system, wide, source, size) + ("\0" if size < 0 else "")
    if flags & 0x400:  # LCMAP_SORTKEY
        data, unit = _sort_key(text.rstrip("\0"), flags), 1
    else:
        if flags & 0x300 == 0x300 or not flags & 0x1F00F00:
            return system.fail(1004)  # ERROR_INVALID_FLAGS
        text = lower(text) if flags & 0x100 else upper(text) if flags & 0x200 else text
        data, unit = (_units(text), 2) if wide else (text.encode(ANSI, "replace"), 1)
        if flags & 0x800 and wide:  # LCMAP_BYTEREV
            data = b"".join(data[i : i + 2][::-1] for i in range(0, len(data), 2))
    count = len(data) // unit
    if not room:
        return count
    if count > room:
        return system.fail(122)
    system.memory.write(out, data)
    return count


@KERNEL32.both("LCMapString", "uupipi", "i")
def lc_map_string(system: System, wide: bool, _locale: int, flags: int, source: int, size: int, out: int, room: int) -> int:  # fmt: skip
    return _map(system, wide, flags, source, size, out, room)


@KERNEL32("LCMapStringEx", "wupipippp", "i")
def lc_map_string_ex(system: System, _locale: str, flags: int, source: int, size: int, out: int, room: int, *_: int) -> int:  # fmt: skip
    return _map(system, True, flags, source, size, out, room)


@KERNEL32("FoldStringW", "upipi", "i")
def fold_string_w(system: System, flags: int, source: int, size: int, out: int, room: int) -> int:
    text = read_string(system, True, source, size) + ("\0" if size < 0 else "")
    if flags & 0x20:  # MAP_PRECOMPOSED
        text = unicodedata.normalize("NFC", text)
    if flags & 0x40:  # MAP_COMPOSITE
        text = unicodedata.normalize("NFD", text)
    if flags & 0x80:  # MAP_FOLDDIGITS
        text = "".join(str(unicodedata.digit(c, c)) for c in text)
    data = _units(text)
    if not room:
        return len(data) // 2
    if len(data) > 2 * room:
        return system.fail(122)
    system.memory.write(out, data)
    return len(data) // 2


# -- classes of characters ------------------------------------------------------------------------


def kind1(c: str) -> int:
    """C1_* of a character."""
    code, category = ord(c), unicodedata.category(c)
    result = 0x200 if category != "Cn" else 0
    if c.isupper():
        result |= 0x101
    elif c.islower() or category == "Ll":
        result |= 0x102
    elif category[0] == "L":
        result |= 0x100
    if "0" <= c <= "9":
        result |= 0x84
    elif category == "Nd" or c in "\u00b2\u00b3\u00b9":
        result |= 4
    if c in "abcdefABCDEF":
        result |= 0x80
    if c in "\t\n\v\f\r \x85" or category in ("Zs", "Zl", "Zp"):
        result |= 8
    if c == "\t" or category == "Zs":
        result |= 0x40
    if category[0] == "P" or category[0] == "S" or code in (0xB2, 0xB3, 0xB9, 0xBC, 0xBD, 0xBE):
        result |= 0x10
    if category in ("Cc", "Cf"):
        result |= 0x20
    if c == "\u00a0":
        result |= 0x10
    return result


_BIDI = {"L": 1, "R": 2, "AL": 2, "EN": 3, "ES": 4, "ET": 5, "AN": 6, "CS": 7, "B": 8, "S": 9, "WS": 10, "ON": 11}  # fmt: skip


def kind2(c: str) -> int:
    """C2_* of a character: its direction."""
    return _BIDI.get(unicodedata.bidirectional(c), 0)


def kind3(c: str) -> int:
    """C3_* of a character."""
    category = unicodedata.category(c)
    result = 0x8000 if category[0] == "L" else 0
    if category[0] == "M":
        result |= 1
    if len(unicodedata.normalize("NFD", c)) > 1:
        result |= 2  # made of a letter and a mark
    if category[0] == "S" or category in ("Po", "Pd", "Pc"):
        result |= 8
    code = ord(c)
    if 0x3040 <= code < 0x30A0:
        result |= 0x20
    if 0x30A0 <= code < 0x3100:
        result |= 0x10
    if 0x4E00 <= code < 0xA000:
        result |= 0x100
    return result


_KINDS: dict[int, Callable[[str], int]] = {1: kind1, 2: kind2, 4: kind3}


def _string_type(system: System, wide: bool, which: int, source: int, size: int, out: int) -> int:
    function = _KINDS.get(which)
    if function is None or not source:
        return system.fail(87)
    text = read_string(system, wide, source, size) + ("\0" if size < 0 else "")
    if wide:
        units = struct.unpack(f"<{len(_units(text)) // 2}H", _units(text))
        text = "".join(map(chr, units))
    system.memory.write(out, struct.pack(f"<{len(text)}H", *map(function, text)))
    return 1


@KERNEL32("GetStringTypeW", "upip")
def get_string_type_w(system: System, which: int, source: int, size: int, out: int) -> int:
    return _string_type(system, True, which, source, size, out)


@KERNEL32("GetStringTypeA", "uupip")
def get_string_type_a(system: System, _locale: int, which: int, source: int, size: int, out: int) -> int:  # fmt: skip
    return _string_type(system, False, which, source, size, out)


@KERNEL32.both("GetStringTypeEx", "uupip")
def get_string_type_ex(system: System, wide: bool, _locale: int, which: int, source: int, size: int, out: int) -> int:  # fmt: skip
    return _string_type(system, wide, which, source, size, out)
