"""msvcrt.dll: strings of UTF-16, and classes of characters. The locale is C: a byte is the character of that number."""

from __future__ import annotations

from rtld.backends.windows.msvcrt import MSVCRT, failed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rtld.backends.windows.system import System


def _units(text: str) -> bytes:
    return text.encode("utf-16-le", "surrogatepass")


def _length(text: str) -> int:
    return len(_units(text)) // 2


@MSVCRT("wcscpy", "pw", "p")
def wcscpy(system: System, out: int, text: str) -> int:
    system.memory.write(out, _units(text) + b"\0\0")
    return out


@MSVCRT("wcsncpy", "pwp", "p")
def wcsncpy(system: System, out: int, text: str, size: int) -> int:
    system.memory.read(out + 2 * size - 1, 1) if size else None
    system.memory.write(out, _units(text)[: 2 * size].ljust(2 * size, b"\0"))
    return out


@MSVCRT("wcscat", "pw", "p")
def wcscat(system: System, out: int, text: str) -> int:
    system.memory.write(out + 2 * _length(system.wide(out) or ""), _units(text) + b"\0\0")
    return out


@MSVCRT("wcsncat", "pwp", "p")
def wcsncat(system: System, out: int, text: str, size: int) -> int:
    return wcscat(system, out, text[:size])  # type: ignore[no-any-return]


@MSVCRT("_wcsicmp", "ww", "i")
def wcsicmp(_system: System, a: str, b: str) -> int:
    x, y = a.lower(), b.lower()
    return (x > y) - (x < y)


def _found(text: int, at: int, whole: str) -> int:
    return text + 2 * _length(whole[:at]) if at >= 0 else 0


@MSVCRT("wcschr", "pi", "p")
def wcschr(system: System, text: int, value: int) -> int:
    whole = (system.wide(text) or "") + "\0"
    return _found(text, whole.find(chr(value & 0xFFFF)), whole)


@MSVCRT("wcsrchr", "pi", "p")
def wcsrchr(system: System, text: int, value: int) -> int:
    whole = (system.wide(text) or "") + "\0"
    return _found(text, whole.rfind(chr(value & 0xFFFF)), whole)


@MSVCRT("wcsstr", "pw", "p")
def wcsstr(system: System, text: int, part: str) -> int:
    whole = system.wide(text) or ""
    return _found(text, whole.find(part), whole)


@MSVCRT("wcspbrk", "pw", "p")
def wcspbrk(system: System, text: int, of: str) -> int:
    whole = system.wide(text) or ""
    return _found(text, next((i for i, c in enumerate(whole) if c in of), -1), whole)


@MSVCRT("wcsspn", "ww", "p")
def wcsspn(_system: System, text: str, of: str) -> int:
    return next((i for i, c in enumerate(text) if c not in of), len(text))


@MSVCRT("wcscspn", "ww", "p")
def wcscspn(_system: System, text: str, of: str) -> int:
    return next((i for i, c in enumerate(text) if c in of), len(text))


@MSVCRT("_wcsdup wcsdup", "w", "p")
def wcsdup(system: System, text: str | None) -> int:
    if text is None:
        return 0
    data = _units(text) + b"\0\0"
    at = system.heap.allocate(len(data))
    system.memory.write(at, data)
    return at


@MSVCRT("mbstowcs", "psp", "p")
def mbstowcs(system: System, out: int, text: bytes, room: int) -> int:
    if not out:
        return len(text)
    data = text.decode("latin-1").encode("utf-16-le") + b"\0\0"
    system.memory.write(out, data[: 2 * room])
    return min(len(text), room)


@MSVCRT("wcstombs", "pwp", "p")
def wcstombs(system: System, out: int, text: str, room: int) -> int:
    try:
        data = text.encode("latin-1")
    except UnicodeEncodeError:
        return failed(system, 84, -1)
    if not out:
        return len(data)
    system.memory.write(out, (data + b"\0")[:room])
    return min(len(data), room)


@MSVCRT("mbtowc", "ppp", "i")
def mbtowc(system: System, out: int, text: int, size: int) -> int:
    if not text or not size:
        return 0
    byte = system.number(text, 1)
    if out:
        system.put(out, byte, 2)
    return int(byte != 0)


@MSVCRT("wctomb", "pi", "i")
def wctomb(system: System, out: int, unit: int) -> int:
    if not out:
        return 0
    if unit & 0xFFFF > 255:
        return failed(system, 84, -1)
    system.put(out, unit, 1)
    return 1


@MSVCRT("mblen _mbstrlen", "pp", "i")
def mblen(system: System, text: int, size: int) -> int:
    return int(bool(text) and bool(size) and system.number(text, 1) != 0)


@MSVCRT("btowc", "i", "i")
def btowc(_system: System, code: int) -> int:
    return code if 0 <= code < 256 else 0xFFFF


def _classify_wide(name: str, test: Callable[[str], bool]) -> None:
    @MSVCRT(name, "i", "i")
    def action(_system: System, code: int) -> int:
        return int(test(chr(code & 0xFFFF)) and code & 0xFFFF != 0xFFFF)


for _n, _t in {
    "iswalpha": str.isalpha, "iswdigit": lambda c: "0" <= c <= "9", "iswalnum": str.isalnum, "iswspace": str.isspace,
    "iswupper": str.isupper, "iswlower": str.islower, "iswprint": str.isprintable, "iswcntrl": lambda c: c < " " or "\x7f" <= c < "\xa0",
    "iswpunct": lambda c: c.isprintable() and not c.isalnum() and not c.isspace(), "iswxdigit": lambda c: c in "0123456789abcdefABCDEF",
}.items():  # fmt: skip
    _classify_wide(_n, _t)


@MSVCRT("towupper", "i", "i")
def towupper(_system: System, code: int) -> int:
    shown = chr(code & 0xFFFF).upper()
    return ord(shown) if len(shown) == 1 else code & 0xFFFF


@MSVCRT("towlower", "i", "i")
def towlower(_system: System, code: int) -> int:
    shown = chr(code & 0xFFFF).lower()
    return ord(shown) if len(shown) == 1 else code & 0xFFFF


#: Bits that the class functions of characters test (ctype.h), for the table of them.
_CLASSES = {
    "isupper": 1,
    "islower": 2,
    "isdigit": 4,
    "isspace": 8,
    "ispunct": 0x10,
    "iscntrl": 0x20,
    "isxdigit": 0x80,
}


def class_table(system: System) -> int:
    """The address of the bits of character -1; those of the others follow."""
    if "ctype" not in system.cache:
        table = [0]
        for code in range(256):
            bits = sum(bit for name, bit in _CLASSES.items() if MSVCRT.functions[name].action(system, code))  # fmt: skip
            bits |= 0x40 if code in (9, 32) else 0
            bits |= 0x100 if MSVCRT.functions["isalpha"].action(system, code) else 0
            table.append(bits)
        at = system.heap.allocate(2 * len(table))
        system.memory.write(at, b"".join(bits.to_bytes(2, "little") for bits in table))
        system.cache["ctype"] = at
    return int(system.cache["ctype"])


@MSVCRT("_isctype", "ii", "i")
def isctype(system: System, code: int, bits: int) -> int:
    return system.number(class_table(system) + 2 * (code + 1), 2) & bits if -1 <= code < 256 else 0


@MSVCRT("__pctype_func", "", "p")
def pctype_func(system: System) -> int:
    return class_table(system) + 2
