"""Arguments and results of functions as text: what ``rtld call`` reads and prints.

=====================  ============================================================================
integer types, _Bool   42, -1, 0x2a, 'c'
float, double          2.5, 1e-3, inf
char *, void *         text as it is; hex:00ff, bytes; file:PATH, a file's bytes; NULL; of void * also 0x1000
T *                    1,2,3: an array, shown again after the call if it has changed; zeros:8; NULL
struct                 1,2.5: its members
_Complex               1+2j
SIMD vector            1,2,3,4
=====================  ============================================================================
"""

from __future__ import annotations

import ctypes

from rtld.errors import RtldError
from rtld.process.foreign.types import COMPLEX, Int128, is_vector

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MOST = 1 << 26  # bytes of one argument
_Simple: Any = ctypes.c_int.__mro__[1]
_Pointer: Any = ctypes.POINTER(ctypes.c_int).__mro__[1]


class WordError(RtldError):
    """A word that is no value of the type."""

    def __init__(self, word: str, kind: Any, wanted: str) -> None:
        self.word = word
        super().__init__(word, kind, wanted)
        self.sentence = f"{word!r} is no value of type {_name(kind)}: {wanted}"

    def __str__(self) -> str:
        return self.sentence


class OutOfRange(WordError):
    """An integer, but none of the type's."""


# fmt: off
_NAMES = {
    "byte": "signed char", "ubyte": "unsigned char", "ushort": "unsigned short", "uint": "unsigned int", "ulong": "unsigned long",
    "longlong": "long long", "ulonglong": "unsigned long long", "longdouble": "long double", "bool": "_Bool", "wchar": "wchar_t",
    "char_p": "char *", "void_p": "void *", "wchar_p": "wchar_t *",
}
# fmt: on


def _name(kind: Any) -> str:
    """The type as C has it."""
    if issubclass(kind, _Pointer):
        return f"{_name(kind._type_)} *"
    name: str = kind.__name__.removeprefix("c_")
    return _NAMES.get(name, name)


def argument(word: str, kind: Any) -> Any:
    """A word of the command line as a value of that type. WordError."""
    if kind is ctypes.c_char_p or kind is ctypes.c_void_p:
        return _bytes(word, kind)
    if kind is ctypes.c_wchar_p:
        return None if word == "NULL" else word
    if issubclass(kind, _Pointer):
        return _array(word, kind._type_)
    if issubclass(kind, COMPLEX):
        return _complex(word, kind)
    if issubclass(kind, Int128):
        return _number(word, kind)
    if is_vector(kind):
        return _vector(word, kind)
    if issubclass(kind, ctypes.Structure):
        return _structure(word, kind)
    if issubclass(kind, _Simple):
        return _number(word, kind)
    raise WordError(word, kind, "functions and unions cannot be written as words")


def free(word: str) -> Any:
    """An argument of which nothing is declared: an integer, a double, or text."""
    for kind in (ctypes.c_long, ctypes.c_double):
        try:
            return kind(_number(word, kind))
        except OutOfRange:
            raise
        except WordError:
            pass
    return _bytes(word, ctypes.c_char_p)


def _bytes(word: str, kind: Any) -> Any:
    if word == "NULL":
        return None
    if word.startswith("hex:"):
        try:
            data = bytes.fromhex(word[4:])
        except ValueError:
            raise WordError(word, kind, "hex: and pairs of hex digits") from None
    elif word.startswith("file:"):
        with open(word[5:], "rb") as stream:
            data = stream.read(MOST + 1)
    elif word.startswith("zeros:"):
        return ctypes.create_string_buffer(_count(word, kind))
    elif kind is ctypes.c_void_p and word.startswith("0x"):
        return _number(word, ctypes.c_size_t)
    else:
        data = word.encode(errors="surrogateescape")
    if len(data) > MOST:
        raise WordError(word, kind, f"at most {MOST} bytes")
    return data


def _count(word: str, kind: Any) -> int:
    text = word.partition(":")[2]
    if not text.isdecimal() or len(text) > 9 or int(text) > MOST:
        raise WordError(word, kind, "zeros: and a number")
    return int(text)


def _array(word: str, inner: Any) -> Any:
    if word == "NULL":
        return None
    if word.startswith("zeros:"):
        return (inner * _count(word, inner))()
    if inner in (ctypes.c_byte, ctypes.c_ubyte) and word.startswith(("hex:", "file:")):
        data = _bytes(word, ctypes.c_void_p)
        return (inner * len(data)).from_buffer_copy(data)
    if issubclass(inner, ctypes.Structure):
        return ctypes.pointer(_structure(word, inner))
    items = [_number(part, inner) for part in word.split(",")] if word else []
    return (inner * len(items))(*items)


def _structure(word: str, kind: Any) -> Any:
    fields = kind._fields_
    parts = word.strip("{}").split(",")
    if len(parts) > len(fields):
        raise WordError(word, kind, f"{len(fields)} members")
    return kind(*[argument(part, field[1]) for part, field in zip(parts, fields, strict=False)])


def _complex(word: str, kind: Any) -> complex:
    try:
        return complex(word.replace(" ", "").replace("i", "j"))
    except ValueError:
        raise WordError(word, kind, "a complex number, as 1+2j") from None


def _vector(word: str, kind: Any) -> list[Any]:
    items = [_number(part, kind._type_) for part in word.split(",")]
    if len(items) != kind._length_:
        raise WordError(word, kind, f"{kind._length_} numbers")
    return items


def _number(word: str, kind: Any) -> Any:
    word = word.strip()
    code = getattr(kind, "_type_", "")  # Int128 has none
    if code and code in "fdg":
        try:
            return float(word)
        except ValueError:
            raise WordError(word, kind, "a number") from None
    if len(word) == 3 and word[0] == word[2] == "'":
        value = ord(word[1])
    else:
        try:
            value = int(word, 0)
        except ValueError:
            raise WordError(word, kind, "an integer") from None
    bits = 8 * ctypes.sizeof(kind)
    # C takes -1 for an unsigned type, too, and 0xffffffff for an int.
    if code != "?" and not -(1 << bits - 1) <= value < 1 << bits:
        raise OutOfRange(word, kind, f"it has {bits} bits")
    if code == "u" and not 0 <= value < 0x110000:
        raise WordError(word, kind, "the number of a character")
    return bytes((value & 0xFF,)) if code == "c" else chr(value) if code == "u" else value


def shown(value: Any) -> str:
    """A result for people."""
    if isinstance(value, bytes):
        try:
            text = value.decode()
        except UnicodeDecodeError:
            return f"hex:{value.hex()}"
        return text if text.isprintable() else repr(text)[1:-1]
    if isinstance(value, ctypes.Structure):
        return (
            "{" + ", ".join(f"{f[0]} = {shown(getattr(value, f[0]))}" for f in value._fields_) + "}"
        )
    if isinstance(value, ctypes.Array):
        return (
            shown(bytes(value).rstrip(b"\0"))
            if value._type_ is ctypes.c_char
            else ",".join(map(shown, value))
        )
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, complex):
        return repr(value).strip("()")
    if value is None:
        return "NULL"
    if isinstance(value, int):
        return str(int(value))
    if hasattr(value, "address"):
        return hex(value.address)
    if isinstance(value, _Pointer):
        return hex(ctypes.cast(value, ctypes.c_void_p).value or 0)
    return str(getattr(value, "value", value))


def plain(value: Any) -> Any:
    """The same for JSON."""
    if isinstance(value, ctypes.Structure):
        return {f[0]: plain(getattr(value, f[0])) for f in value._fields_}
    if isinstance(value, ctypes.Array) and value._type_ is not ctypes.c_char:
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else repr(value)  # no inf or nan in JSON
    return shown(value)


def changed(before: Any, value: Any) -> bool:
    """An array or structure that is not what it was; *before* is its bytes."""
    return before is not None and bytes(_memory(value)) != before


def snapshot(value: Any) -> Any:
    """The bytes of what a function could change."""
    memory = _memory(value)
    return None if memory is None else bytes(memory)


def _memory(value: Any) -> Any:
    if isinstance(value, _Pointer):
        return value.contents
    return value if isinstance(value, ctypes.Array | ctypes.Structure) else None


def after(value: Any) -> Any:
    """What is shown of an argument that has changed."""
    return value.contents if isinstance(value, _Pointer) else value
