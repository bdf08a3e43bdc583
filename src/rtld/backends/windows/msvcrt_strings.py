"""msvcrt.dll: memory and strings."""

from __future__ import annotations

import os

from rtld.backends.windows.msvcrt import MSVCRT, failed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any

    from rtld.backends.windows.system import System

    Task = Generator[Any, Any, Any]

# -- memory and strings ---------------------------------------------------------------------------


@MSVCRT("malloc", "p", "p")
def malloc(system: System, size: int) -> int:
    return system.heap.allocate(size, zero=False)


@MSVCRT("calloc", "pp", "p")
def calloc(system: System, count: int, size: int) -> int:
    return system.heap.allocate(count * size)


@MSVCRT("realloc", "pp", "p")
def realloc(system: System, address: int, size: int) -> int:
    return system.heap.resize(address, size)


@MSVCRT("free", "p", "v")
def free(system: System, address: int) -> None:
    system.heap.free(address)


@MSVCRT("memcpy memmove", "ppp", "p")
def memcpy(system: System, out: int, source: int, size: int) -> int:
    if size:
        system.memory.write(out, system.memory.read(source, size))
    return out


@MSVCRT("memset", "pip", "p")
def memset(system: System, out: int, value: int, size: int) -> int:
    if size:
        system.memory.read(out + size - 1, 1)  # no memory is taken for a size that cannot be
        system.memory.write(out, bytes([value & 255]) * size)
    return out


@MSVCRT("memcmp", "ppp", "i")
def memcmp(system: System, a: int, b: int, size: int) -> int:
    x, y = (system.memory.read(a, size), system.memory.read(b, size)) if size else (b"", b"")
    return (x > y) - (x < y)


@MSVCRT("memchr", "pip", "p")
def memchr(system: System, text: int, value: int, size: int) -> int:
    at = system.memory.read(text, size).find(bytes([value & 255])) if size else -1
    return text + at if at >= 0 else 0


@MSVCRT("strlen", "s", "p")
@MSVCRT("wcslen", "w", "p")
def strlen(_system: System, text: Any) -> int:
    return len(text or b"")


@MSVCRT("strcpy", "ps", "p")
def strcpy(system: System, out: int, text: bytes) -> int:
    system.memory.write(out, text + b"\0")
    return out


@MSVCRT("strncpy", "psp", "p")
def strncpy(system: System, out: int, text: bytes, size: int) -> int:
    if size:
        system.memory.read(out + size - 1, 1)  # no memory is taken for a size that cannot be
        system.memory.write(out, text[:size].ljust(size, b"\0"))
    return out


@MSVCRT("strcat", "ps", "p")
def strcat(system: System, out: int, text: bytes) -> int:
    system.memory.write(out + len(system.text(out) or b""), text + b"\0")
    return out


@MSVCRT("strcmp strcoll", "ss", "i")
@MSVCRT("wcscmp", "ww", "i")
def strcmp(_system: System, a: Any, b: Any) -> int:
    return int((a > b) - (a < b))


@MSVCRT("strncmp", "ssp", "i")
@MSVCRT("wcsncmp", "wwp", "i")
def strncmp(_system: System, a: Any, b: Any, size: int) -> int:
    a, b = a[:size], b[:size]
    return int(a > b) - int(a < b)


@MSVCRT("_stricmp _strcmpi", "ss", "i")
def stricmp(_system: System, a: bytes, b: bytes) -> int:
    a, b = a.lower(), b.lower()
    return (a > b) - (a < b)


@MSVCRT("strchr", "pi", "p")
def strchr(system: System, text: int, value: int) -> int:
    at = ((system.text(text) or b"") + b"\0").find(bytes([value & 255]))
    return text + at if at >= 0 else 0


@MSVCRT("strrchr", "pi", "p")
def strrchr(system: System, text: int, value: int) -> int:
    at = ((system.text(text) or b"") + b"\0").rfind(bytes([value & 255]))
    return text + at if at >= 0 else 0


@MSVCRT("strstr", "ps", "p")
def strstr(system: System, text: int, part: bytes) -> int:
    at = (system.text(text) or b"").find(part)
    return text + at if at >= 0 else 0


@MSVCRT("strspn", "ss", "p")
def strspn(_system: System, text: bytes, of: bytes) -> int:
    return len(text) - len(text.lstrip(of)) if of else 0


@MSVCRT("strcspn", "ss", "p")
def strcspn(_system: System, text: bytes, of: bytes) -> int:
    return next((i for i, c in enumerate(text) if c in of), len(text))


@MSVCRT("strpbrk", "ps", "p")
def strpbrk(system: System, text: int, of: bytes) -> int:
    data = system.text(text) or b""
    return next((text + i for i, c in enumerate(data) if c in of), 0)


@MSVCRT("_strdup strdup", "s", "p")
def strdup(system: System, text: bytes | None) -> int:
    if text is None:
        return 0
    at = system.heap.allocate(len(text) + 1)
    system.memory.write(at, text + b"\0")
    return at


#: Texts of errno (errno.h) where they are not those of Linux.
_ERRORS = {0: "No error", 5: "Input/output error", 7: "Arg list too long", 16: "Resource device", 18: "Improper link",
           22: "Invalid argument", 25: "Inappropriate I/O control operation", 33: "Domain error", 34: "Result too large",
           36: "Resource deadlock avoided", 38: "Filename too long", 39: "No locks available", 40: "Function not implemented",
           41: "Directory not empty", 42: "Illegal byte sequence", 12: "Not enough space"}  # fmt: skip


def error_text(number: int) -> bytes:
    """What strerror says."""
    if number in _ERRORS:
        return _ERRORS[number].encode()
    return os.strerror(number).encode() if 0 <= number < 43 else b"Unknown error"


@MSVCRT("strerror _strerror", "i", "p")
def strerror(system: System, number: int) -> int:
    return system.keep(error_text(number) + b"\0")


@MSVCRT("getenv", "s", "p")
def getenv(system: System, name: bytes) -> int:
    lower = name.decode("latin-1").lower()
    value = next((v for k, v in system.environ.items() if k.lower() == lower), None)
    return 0 if value is None else system.keep(value.encode() + b"\0")


def _classify(name: str, test: Callable[[str], bool]) -> None:
    @MSVCRT(name, "i", "i")
    def action(_system: System, code: int) -> int:
        return int(0 <= code < 128 and test(chr(code)))


for _n, _t in {
    "isalpha": str.isalpha, "isdigit": str.isdigit, "isalnum": str.isalnum, "isspace": lambda c: c in " \t\n\v\f\r",
    "isupper": str.isupper, "islower": str.islower, "iscntrl": lambda c: c < " " or c == "\x7f",
    "ispunct": lambda c: "!" <= c <= "~" and not c.isalnum(), "isprint": lambda c: " " <= c <= "~",
    "isgraph": lambda c: "!" <= c <= "~", "isxdigit": lambda c: c in "0123456789abcdefABCDEF",
}.items():  # fmt: skip
    _classify(_n, _t)


@MSVCRT("toupper", "i", "i")
def toupper(_system: System, code: int) -> int:
    return ord(chr(code).upper()) if 0 <= code < 128 else code


@MSVCRT("tolower", "i", "i")
def tolower(_system: System, code: int) -> int:
    return ord(chr(code).lower()) if 0 <= code < 128 else code


# -- changing strings, parting them ---------------------------------------------------------------


def _change(narrow: str, wide: str, change: Callable[[str], str]) -> None:
    def bytes_(system: System, text: int) -> int:
        data = (system.text(text) or b"").decode("latin-1")
        system.memory.write(text, change(data).encode("latin-1") + b"\0")
        return text

    def units(system: System, text: int) -> int:
        data = change(system.wide(text) or "")
        system.memory.write(text, data.encode("utf-16-le", "surrogatepass") + b"\0\0")
        return text

    MSVCRT(narrow, "p", "p")(bytes_)
    MSVCRT(wide, "p", "p")(units)


def _ascii(change: Callable[[str], str]) -> Callable[[str], str]:
    return lambda text: "".join(change(c) if c < "\x80" else c for c in text)


_change("_strlwr strlwr", "_wcslwr wcslwr", _ascii(str.lower))
_change("_strupr strupr", "_wcsupr wcsupr", _ascii(str.upper))
_change("_strrev strrev", "_wcsrev wcsrev", lambda text: text[::-1])


def _token(system: System, text: int, of: bytes | str, place: Any, unit: int) -> int:
    """strtok: ``place`` reads and writes where to go on."""
    at = text or place()
    if not at:
        return 0
    read: Callable[[int], Any] = system.text if unit == 1 else system.wide
    data = read(at) or of[:0]
    start = next((i for i, c in enumerate(data) if c not in of), len(data))
    if start == len(data):
        place(0)
        return 0
    end = next((i for i in range(start, len(data)) if data[i] in of), len(data))
    if end < len(data):
        system.put(at + end * unit, 0, unit)
        place(at + (end + 1) * unit)
    else:
        place(0)
    return int(at + start * unit)


def _in_thread(system: System, key: str) -> Callable[..., int]:
    crt = system.threads.current.crt

    def place(value: int | None = None) -> int:
        if value is not None:
            crt[key] = value
        return int(crt.get(key, 0))

    return place


def _in_memory(system: System, context: int) -> Callable[..., int]:
    def place(value: int | None = None) -> int:
        if value is not None:
            system.put(context, value)
        return system.number(context)

    return place


@MSVCRT("strtok", "ps", "p")
def strtok(system: System, text: int, of: bytes) -> int:
    return _token(system, text, of, _in_thread(system, "strtok"), 1)


@MSVCRT("strtok_s", "psp", "p")
def strtok_s(system: System, text: int, of: bytes, context: int) -> int:
    return _token(system, text, of, _in_memory(system, context), 1)


@MSVCRT("wcstok", "pw", "p")
def wcstok(system: System, text: int, of: str) -> int:
    return _token(system, text, of, _in_thread(system, "wcstok"), 2)


@MSVCRT("wcstok_s", "pwp", "p")
def wcstok_s(system: System, text: int, of: str, context: int) -> int:
    return _token(system, text, of, _in_memory(system, context), 2)


@MSVCRT("strnlen", "pp", "p")
def strnlen(system: System, text: int, most: int) -> int:
    count = 0
    while count < most:
        piece = system.memory.read(text + count, min(64 - (text + count) % 64, most - count))
        end = piece.find(b"\0")
        if end >= 0:
            return count + end
        count += len(piece)
    return most


@MSVCRT("strncat", "psp", "p")
def strncat(system: System, out: int, text: bytes, size: int) -> int:
    system.memory.write(out + len(system.text(out) or b""), text[:size] + b"\0")
    return out


@MSVCRT("_strnicmp _strncoll", "ssp", "i")
@MSVCRT("_wcsnicmp", "wwp", "i")
def strnicmp(_system: System, a: Any, b: Any, size: int) -> int:
    a, b = a[:size].lower(), b[:size].lower()
    return int(a > b) - int(a < b)


@MSVCRT("_memicmp", "ppp", "i")
def memicmp(system: System, a: int, b: int, size: int) -> int:
    x, y = (system.memory.read(a, size).lower(), system.memory.read(b, size).lower()) if size else (b"", b"")  # fmt: skip
    return (x > y) - (x < y)


@MSVCRT("strxfrm", "psp", "p")
def strxfrm(system: System, out: int, text: bytes, room: int) -> int:
    if len(text) < room:
        system.memory.write(out, text + b"\0")
    return len(text)


@MSVCRT("_strset", "pi", "p")
def strset(system: System, text: int, value: int) -> int:
    system.memory.write(text, bytes([value & 255]) * len(system.text(text) or b""))
    return text


@MSVCRT("memccpy _memccpy", "ppip", "p")
def memccpy(system: System, out: int, source: int, value: int, size: int) -> int:
    data = system.memory.read(source, size) if size else b""
    end = data.find(bytes([value & 255])) + 1
    if data:
        system.memory.write(out, data[: end or size])
    return out + end if end else 0


@MSVCRT("_swab", "ppi", "v")
def swab(system: System, source: int, out: int, size: int) -> None:
    data = bytearray(system.memory.read(source, size & -2)) if size > 1 else bytearray()
    data[::2], data[1::2] = data[1::2], data[::2]
    if data:
        system.memory.write(out, bytes(data))


# -- with the room that there is ------------------------------------------------------------------


def _safe(names: str, wide: str, arguments: str, text: Callable[..., Any]) -> None:
    """Declare strcpy_s and its kin: ``text(before, ...)`` is what is to stand there."""

    def action(system: System, out: int, room: int, *rest: Any) -> int:
        is_wide = isinstance(rest[0], str)
        if not out or not room:
            return failed(system, 22, 22)
        unit = 2 if is_wide else 1
        if rest[0] is None:
            system.put(out, 0, unit)
            return failed(system, 22, 22)
        new = text(
            lambda: (system.wide(out) if is_wide else system.text(out)) or rest[0][:0], *rest
        )
        length = len(new.encode("utf-16-le", "surrogatepass")) // 2 if is_wide else len(new)
        if length + 1 > room:
            if (
                len(rest) > 1 and rest[1] & (1 << system.bits) - 1 == (1 << system.bits) - 1
            ):  # _TRUNCATE
                new = new[: room - 1]
                system.put_text(out, new, room)
                return 80
            system.put(out, 0, unit)
            return failed(system, 34, 34)
        system.put_text(out, new, room)
        return 0

    MSVCRT(names, arguments, "i")(action)
    MSVCRT(wide, arguments.replace("s", "w"), "i")(action)


_safe("strcpy_s", "wcscpy_s", "pps", lambda _before, text: text)
_safe("strcat_s", "wcscat_s", "pps", lambda before, text: before() + text)
_safe("strncpy_s", "wcsncpy_s", "ppsp", lambda _before, text, size: text[:size])
_safe("strncat_s", "wcsncat_s", "ppsp", lambda before, text, size: before() + text[:size])


@MSVCRT("strerror_s", "ppi", "i")
def strerror_s(system: System, out: int, room: int, number: int) -> int:
    system.put_text(out, error_text(number)[: max(room - 1, 0)], room)
    return 0


@MSVCRT("memcpy_s memmove_s", "pppp", "i")
def memcpy_s(system: System, out: int, room: int, source: int, size: int) -> int:
    if not size:
        return 0
    if size > room:
        return failed(system, 34, 34)
    system.memory.write(out, system.memory.read(source, size))
    return 0


# -- memory ---------------------------------------------------------------------------------------


@MSVCRT("_msize", "p", "p")
def msize(system: System, address: int) -> int:
    return int(system.heap.sizes.get(address, 0))


@MSVCRT("_aligned_malloc", "pp", "p")
def aligned_malloc(system: System, size: int, align: int) -> int:
    """The address of the block stands before what is given out."""
    if align <= 0 or align & (align - 1) or align > 1 << 20:
        return failed(system, 22, 0)
    align = max(align, system.word)
    block = system.heap.allocate(size + align + system.word)
    if not block:
        return failed(system, 12, 0)
    at = (block + system.word + align - 1) & -align
    system.put(at - system.word, block)
    return at


@MSVCRT("_aligned_free", "p", "v")
def aligned_free(system: System, address: int) -> None:
    if address:
        system.heap.free(system.number(address - system.word))


@MSVCRT("_recalloc", "ppp", "p")
def recalloc(system: System, address: int, count: int, size: int) -> int:
    return system.heap.resize(address, count * size)


@MSVCRT("_expand", "pp", "p")
def expand(system: System, address: int, size: int) -> int:
    return address if system.heap.sizes.get(address, -1) >= size else 0


@MSVCRT("_heapchk _heapmin", "", "i")
def heapchk(_system: System) -> int:
    return -2  # _HEAPOK


# -- environment ----------------------------------------------------------------------------------


@MSVCRT("_putenv putenv", "s", "i")
@MSVCRT("_wputenv", "w", "i")
def putenv(system: System, text: Any) -> int:
    name, equals, value = (text if isinstance(text, str) else text.decode("latin-1")).partition("=")
    if not equals or not name:
        return -1
    return putenv_s(system, name, value) and -1


@MSVCRT("_putenv_s", "ss", "i")
@MSVCRT("_wputenv_s", "ww", "i")
def putenv_s(system: System, name: Any, value: Any) -> int:
    name = name if isinstance(name, str) else name.decode("latin-1")
    value = value if isinstance(value, str) else value.decode("latin-1")
    for key in [k for k in system.environ if k.lower() == name.lower()]:
        del system.environ[key]
    if value:
        system.environ[name] = value
    return 0


@MSVCRT("_wgetenv", "w", "p")
def wgetenv(system: System, name: str) -> int:
    value = next((v for k, v in system.environ.items() if k.lower() == name.lower()), None)
    return 0 if value is None else system.keep((value + "\0").encode("utf-16-le", "surrogatepass"))


@MSVCRT("_dupenv_s", "pps", "i")
def dupenv_s(system: System, out: int, size: int, name: bytes) -> int:
    lower = name.decode("latin-1").lower()
    value = next((v for k, v in system.environ.items() if k.lower() == lower), None)
    system.put(out, 0 if value is None else strdup(system, value.encode("utf-8", "surrogateescape")))  # fmt: skip
    if size:
        system.put(size, 0 if value is None else len(value) + 1)
    return 0
