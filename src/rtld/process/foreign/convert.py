"""Values of Python as bytes of the guest, and back: what ctypes does, for another CPU's order, widths and addresses.

Memory that is passed (byref, arrays, buffers, bytes) is copied into the guest before the call, and what may have changed is
copied back after it. A pointer that the guest keeps for longer needs memory of its own: ``Library.alloc``.
"""

from __future__ import annotations

import ctypes
import gc
import struct

from rtld.arch.longdouble import decode_quad, decode_x87, encode_quad, encode_x87
from rtld.errors import Unsupported
from rtld.process.foreign.pointer import GuestPointer
from rtld.process.foreign.types import (
    COMPLEX,
    DoubleComplex,
    Function,
    Int128,
    Pointer,
    Simple,
    Types,
    fields_of,
    is_pointer,
    is_vector,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Literal, Protocol

    from rtld.arch.ctype import CType, DataModel, Member

    Raw = int | float | bytes | None

    class Guest(Protocol):
        """What is needed of who has the memory."""

        @property
        def name(self) -> str: ...
        def read(self, address: int, size: int) -> bytes: ...
        def write(self, address: int, data: bytes) -> None: ...
        def string(self, address: int, unit: int) -> bytes: ...
        def lend(self, data: bytes | memoryview) -> int: ...
        def callback(self, kind: Any, function: Callable[..., Any], owner: Any = None) -> int: ...


Argument = ctypes.ArgumentError
_BYREF: Any = type(ctypes.byref(ctypes.c_int()))
_NUMBERS = {("int", 1, True): "b", ("int", 1, False): "B", ("int", 2, True): "h", ("int", 2, False): "H",
            ("int", 4, True): "i", ("int", 4, False): "I", ("int", 8, True): "q", ("int", 8, False): "Q",
            ("float", 4, True): "f", ("float", 8, True): "d"}  # fmt: skip


class Converter:
    """The conversions of one guest. *back*, where it is given, collects what is to be done after the call."""

    def __init__(self, guest: Guest, model: DataModel) -> None:
        self.guest = guest
        self.name = guest.name
        self.types = Types(model)
        self.order = model.order
        self._word = model.word
        self._byteorder: Literal["little", "big"] = "little" if model.order == "<" else "big"

    # -- arguments ------------------------------------------------------------------------------------

    def guess(self, value: Any) -> Any:
        """The type of an argument that nobody has declared, as ctypes takes it."""
        if isinstance(value, Simple | ctypes.Structure | ctypes.Union) or is_vector(type(value)):
            return type(value)
        if isinstance(value, complex):
            return DoubleComplex
        if value is None or isinstance(
            value,
            bytes
            | ctypes.Array
            | Pointer
            | _BYREF
            | GuestPointer
            | bytearray
            | memoryview
            | Function,
        ):
            return ctypes.c_void_p
        if isinstance(value, str):
            return ctypes.c_wchar_p
        if isinstance(value, int):
            return ctypes.c_long
        if isinstance(value, float):
            return ctypes.c_double
        if hasattr(value, "_as_parameter_"):
            return self.guess(value._as_parameter_)
        raise Argument(f"don't know how to pass a {type(value).__name__} without argtypes")

    def argument_type(self, kind: Any) -> CType:
        """How an argument of that type is passed: arrays as addresses."""
        if isinstance(kind, type) and issubclass(kind, ctypes.Array) and not is_vector(kind):
            return self.types.model.pointer
        return self.types.of(kind)

    def maker(self, kind: Any) -> Callable[[Any, list[Callable[[], None]]], Raw]:
        """What turns an argument of that type into a raw value."""
        if is_vector(kind) or (isinstance(kind, type) and issubclass(kind, (Int128, *COMPLEX))):
            return lambda value, back: self.pack(kind, self.object_of(kind, value), back)
        if is_pointer(kind) or (isinstance(kind, type) and issubclass(kind, ctypes.Array)):
            return lambda value, back: self._address(kind, value, back)
        if issubclass(kind, Simple):
            return self._number(kind)
        if issubclass(kind, ctypes.Structure | ctypes.Union):
            return lambda value, back: self._structure(kind, value, back)
        raise Unsupported(f"{kind.__name__} as an argument of another CPU's function")

    def _number(self, kind: Any) -> Callable[[Any, list[Callable[[], None]]], Raw]:
        letter = kind._type_
        if letter in "fdg":
            encode = self._encoder(kind)

            def real(value: Any, _back: Any) -> float | bytes:
                value = value.value if isinstance(value, Simple) else value
                if not isinstance(value, int | float):
                    raise Argument(f"a number is wanted, not {type(value).__name__}")
                return float(value) if encode is None else encode(float(value))

            return real
        if letter in "cu":

            def character(value: Any, _back: Any) -> int:
                value = value.value if isinstance(value, Simple) else value
                if isinstance(value, bytes | str) and len(value) == 1:
                    return ord(value)
                if isinstance(value, int):
                    return value
                raise Argument(f"one character is wanted, not {value!r}")

            return character
        if letter == "?":
            return lambda value, _back: int(
                bool(value.value if isinstance(value, Simple) else value)
            )

        def integer(value: Any, _back: Any) -> int:
            if type(value) is int:
                return value
            if isinstance(value, Simple):
                value = value.value
            if isinstance(value, bytes) and len(value) == 1:
                return value[0]
            if not hasattr(value, "__index__"):
                raise Argument(f"an integer is wanted, not {type(value).__name__}")
            return int(value.__index__())

        return integer

    def _encoder(self, kind: Any) -> Callable[[float], bytes] | None:
        """What makes a long double of a number, where that is longer than a double."""
        layout = self.types.of(kind)
        if layout.size <= 8:
            return None
        if self.types.model.long_double[2] == "x87":
            return lambda value: encode_x87(value, layout.size)
        return lambda value: encode_quad(value, self._byteorder)

    def _decode(self, data: bytes) -> float:
        """The double nearest to a long double."""
        if self.types.model.long_double[2] == "x87":
            return decode_x87(data)
        return decode_quad(data, self._byteorder)

    def object_of(self, kind: Any, value: Any) -> Any:
        """A complex number, a 128-bit integer or a vector as an object of ctypes; other values as they are."""
        if isinstance(value, kind) or not (is_vector(kind) or issubclass(kind, (Int128, *COMPLEX))):
            return value
        made = kind()
        if is_vector(kind):
            if isinstance(value, str | bytes) or len(value) != kind._length_:
                raise Argument(f"{kind._length_} numbers are wanted")
            made[:] = list(value)
        elif issubclass(kind, Int128):
            if not hasattr(value, "__index__"):
                raise Argument(f"an integer is wanted, not {type(value).__name__}")
            made.value = value.__index__()
        else:
            if not isinstance(value, int | float | complex):
                raise Argument(f"a complex number is wanted, not {type(value).__name__}")
            made.real, made.imag = complex(value).real, complex(value).imag
        return made

    def _structure(self, kind: Any, value: Any, back: list[Callable[[], None]]) -> bytes:
        if not isinstance(value, kind):
            raise Argument(f"a {kind.__name__} is wanted, not {type(value).__name__}")
        return self.pack(kind, value, back)

    def _address(self, kind: Any, value: Any, back: list[Callable[[], None]]) -> int:
        """An address for *value*; memory of Python's is lent for the call."""
        if value is None:
            return 0
        if isinstance(value, GuestPointer):
            return value.address
        if hasattr(value, "_as_parameter_"):
            return self._address(kind, value._as_parameter_, back)
        if isinstance(value, int):
            return value
        if issubclass(kind, Function):
            return self.function_address(kind, value)
        if isinstance(value, bytes):
            return self.guest.lend(value + b"\0")
        if isinstance(value, str):
            return self.guest.lend(
                value.encode("utf-32-le" if self.order == "<" else "utf-32-be") + bytes(4)
            )
        if isinstance(value, bytearray | memoryview):
            return self._buffer(memoryview(value).cast("B"), back)
        if isinstance(value, _BYREF):
            return self._object(value._obj, back)
        if isinstance(value, Function):
            return self.function_address(kind, value)  # it knows its own type
        if isinstance(value, Pointer):
            return self._object(value.contents, back) if value else 0
        if isinstance(value, Simple) and value._type_ in ("P", "z", "Z"):
            return self._address(kind, value.value, back)
        if isinstance(value, Simple | ctypes.Structure | ctypes.Union | ctypes.Array):
            return self._object(value, back)
        raise Argument(f"an address is wanted, not {type(value).__name__}")

    def _buffer(self, view: memoryview, back: list[Callable[[], None]]) -> int:
        address = self.guest.lend(view)
        if not view.readonly and len(view):

            def copy() -> None:
                view[:] = self.guest.read(address, len(view))

            back.append(copy)
        return address

    def _object(self, value: Any, back: list[Callable[[], None]]) -> int:
        """Memory for an object of ctypes, whose value after the call is what is there then."""
        kind = type(value)
        before = self.pack(kind, value, back)
        address = self.guest.lend(before)

        def copy() -> None:
            after = self.guest.read(address, len(before))
            if after != before:
                self.fill(value, after)

        back.append(copy)
        return address

    def function_address(self, kind: Any, value: Any) -> int:
        """The address of what runs a Python function of type *kind* (CFUNCTYPE)."""
        if isinstance(value, Function):
            inner = python_function(value)
            if inner is None:
                return self._native(value)
            return self.guest.callback(type(value), inner, value)
        if callable(value):
            return self.guest.callback(kind, value)
        raise Argument(f"a function is wanted, not {type(value).__name__}")

    @staticmethod
    def _native(value: Any) -> int:
        if not ctypes.cast(value, ctypes.c_void_p).value:
            return 0
        raise Argument(
            "a function of this machine cannot be run on another CPU; pass a Python function"
        )

    # -- bytes ----------------------------------------------------------------------------------------

    def pack(self, kind: Any, value: Any, back: list[Callable[[], None]]) -> bytes:
        """An object of ctypes, or a plain value of that type, in the guest's bytes."""
        layout = self.types.of(kind)
        if issubclass(kind, Simple) or is_pointer(kind):
            return self._pack_simple(kind, layout, value, back)
        if issubclass(kind, Int128):
            number: int = value.value & (1 << 128) - 1
            return number.to_bytes(16, self._byteorder)
        if issubclass(kind, ctypes.Array):
            inner = kind._type_
            if inner in (ctypes.c_char, ctypes.c_byte, ctypes.c_ubyte):
                return bytes(value)
            return b"".join([self.pack(inner, item, back) for item in value])
        out = bytearray(layout.size)
        if layout.kind == "union":
            (name, inner), member = self._members(kind, layout)[-1]
            if member.width:
                self._put_bits(out, member, getattr(value, name))
                return bytes(out)
            data = self.pack(inner, getattr(value, name), back)
            out[: len(data)] = data
            return bytes(out)
        for (name, inner), member in zip(fields_of(kind), layout.members, strict=True):
            if member.width:
                self._put_bits(out, member, getattr(value, name))
                continue
            data = self.pack(inner, getattr(value, name), back)
            out[member.offset : member.offset + len(data)] = data
        return bytes(out)

    def _members(self, kind: Any, layout: CType) -> list[tuple[tuple[str, Any], Member]]:
        """((name, type), place) of each member. Of a union nobody knows which one counts: the widest is the last."""
        pairs = list(zip(fields_of(kind), layout.members, strict=True))
        if layout.kind == "union" and pairs:
            widest = max(pairs, key=lambda pair: pair[1].width or 8 * pair[1].type.size)
            pairs = [pair for pair in pairs if pair is not widest] + [widest]
        return pairs

    def _put_bits(self, out: bytearray, member: Member, value: int) -> None:
        """A bit-field into the bytes of its structure."""
        order, size = self._byteorder, len(out)
        shift = member.first
        if order == "big":
            shift = 8 * size - member.first - member.width
        number = int.from_bytes(out, order) | (int(value) & (1 << member.width) - 1) << shift
        out[:] = number.to_bytes(size, order)

    def _bits(self, data: bytes, member: Member) -> int:
        """The other way."""
        order = self._byteorder
        shift = member.first
        if order == "big":
            shift = 8 * len(data) - member.first - member.width
        value = int.from_bytes(data, order) >> shift & (1 << member.width) - 1
        if member.type.signed and value >> member.width - 1:
            value -= 1 << member.width
        return value

    def _pack_simple(
        self, kind: Any, layout: CType, value: Any, back: list[Callable[[], None]]
    ) -> bytes:
        if isinstance(value, Simple):
            value = value.value
        if is_pointer(kind):
            number = (
                self._address(kind, value, back) if not isinstance(value, Function) or value else 0
            )
            return (number & (1 << 8 * self._word) - 1).to_bytes(
                self._word, "little" if self.order == "<" else "big"
            )
        raw = self._number(kind)(value, back)
        if isinstance(raw, bytes):
            return raw  # long double
        letter = _NUMBERS[layout.kind, layout.size, layout.signed]
        if layout.kind == "int":
            assert isinstance(raw, int)
            raw &= (1 << 8 * layout.size) - 1
            return raw.to_bytes(layout.size, "little" if self.order == "<" else "big")
        return struct.pack(self.order + letter, raw)

    def fill(self, value: Any, data: bytes) -> None:
        """Change an object of ctypes to what the guest's bytes say."""
        kind = type(value)
        layout = self.types.of(kind)
        if isinstance(value, ctypes.Array):
            inner = kind._type_
            size = self.types.of(inner).size
            if size == 1:
                ctypes.memmove(value, data, len(data))
                return
            for i in range(len(value)):
                self._fill_item(value, i, inner, data[i * size : (i + 1) * size])
        elif isinstance(value, ctypes.Structure | ctypes.Union):
            if issubclass(kind, Int128):
                value.value = int.from_bytes(data, self._byteorder)
                return
            for (name, inner), member in self._members(kind, layout):
                if member.width:
                    setattr(value, name, self._bits(data, member))
                    continue
                part = data[member.offset : member.offset + member.type.size]
                if issubclass(inner, ctypes.Structure | ctypes.Union | ctypes.Array):
                    self.fill(getattr(value, name), part)
                elif not issubclass(
                    inner, Pointer | Function
                ):  # a host's pointer cannot lead into the guest
                    setattr(value, name, self.unpack(inner, part))
        elif isinstance(value, Simple):
            value.value = self.unpack(kind, data)

    def _fill_item(self, array: Any, i: int, inner: Any, part: bytes) -> None:
        if issubclass(inner, ctypes.Structure | ctypes.Union | ctypes.Array):
            self.fill(array[i], part)
        elif not issubclass(inner, Pointer | Function):
            array[i] = self.unpack(inner, part)

    def unpack(self, kind: Any, data: bytes) -> Any:
        """A Python value of the guest's bytes: numbers as such, aggregates as objects of ctypes."""
        if issubclass(kind, ctypes.Structure | ctypes.Union | ctypes.Array):
            value = kind()
            self.fill(value, data)
            return value
        layout = self.types.of(kind)
        if layout.kind == "float" and not layout.scalar:
            return self._decode(data)
        letter = "Q" if self._word == 8 else "I"
        if layout.kind != "pointer":
            letter = _NUMBERS[layout.kind, layout.size, layout.signed]
        return self.result(kind)(struct.unpack(self.order + letter, data)[0])

    # -- results --------------------------------------------------------------------------------------

    def result(self, kind: Any) -> Callable[[Any], Any]:
        """What turns a raw result, or an argument of a callback, into what Python sees."""
        if kind is None:
            return lambda _raw: None
        if issubclass(kind, COMPLEX):
            return lambda raw: _complex(self.unpack(kind, raw))
        if issubclass(kind, Int128):
            return lambda raw: self.unpack(kind, raw).value
        if issubclass(kind, ctypes.Structure | ctypes.Union) or is_vector(kind):
            return lambda raw: self.unpack(kind, raw)
        if issubclass(kind, Pointer):
            return lambda raw: GuestPointer(self, raw, kind._type_)
        if issubclass(kind, Function):
            return lambda raw: GuestPointer(self, raw, None)
        letter = kind._type_
        if letter == "P":
            return lambda raw: raw or None
        if letter == "z":
            return lambda raw: self.guest.string(raw, 1) if raw else None
        if letter == "Z":
            return self._wide
        if letter == "c":
            return lambda raw: bytes((raw,))
        if letter == "u":
            return lambda raw: chr(raw)  # noqa: PLW0108 - a built-in is no method of the types above
        if letter == "?":
            return bool
        if letter == "g":
            return lambda raw: self._decode(raw) if isinstance(raw, bytes) else raw
        return lambda raw: raw

    def _wide(self, raw: int) -> str | None:
        if not raw:
            return None
        return self.guest.string(raw, 4).decode(
            "utf-32-le" if self.order == "<" else "utf-32-be", "replace"
        )

    def load(self, kind: Any, address: int) -> Any:
        """What is at an address."""
        return self.unpack(kind, self.guest.read(address, self.types.of(kind).size))

    def store(self, kind: Any, address: int, value: Any) -> None:
        """Put a value there."""
        self.guest.write(address, self.pack(kind, value, []))


def _complex(value: Any) -> complex:
    return complex(value.real, value.imag)


def python_function(function: Any) -> Callable[..., Any] | None:
    """The Python function that a callback of ctypes was made of; None for a function of the machine.

    ctypes does not tell, but the garbage collector does: the thunk that it keeps refers to it.
    """
    for thunk in (getattr(function, "_objects", None) or {}).values():
        for each in gc.get_referents(thunk):
            if callable(each) and not isinstance(each, type):
                found: Callable[..., Any] = each
                return found
    return None
