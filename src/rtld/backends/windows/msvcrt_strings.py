"""msvcrt.dll: memory and strings."""

from __future__ import annotations

import os

from rtld.backends.windows.msvcrt import MSVCRT

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
def strdup(system: System, text: bytes) -> int:
    at = system.heap.allocate(len(text) + 1)
    system.memory.write(at, text + b"\0")
    return at


@MSVCRT("strerror", "i", "p")
def strerror(system: System, number: int) -> int:
    return system.keep(os.strerror(number).encode() + b"\0")


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
    "isalpha": str.isalpha, "isdigit": str.isdigit, "isalnum": str.isalnum, "isspace": str.isspace,
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
