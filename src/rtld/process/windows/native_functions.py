"""Functions of a DLL in this process as ctypes has them, and functions of ctypes that the DLL calls.

ctypes knows System V's convention, and thunks make Microsoft's of it (``arch/x86_64_windows.py``), which know integers and doubles. A
structure by value is one of them: its 8 bytes or less as an integer, or the address of a copy.
"""

from __future__ import annotations

import ctypes
from itertools import chain

from rtld.errors import Unsupported
from rtld.process.foreign.convert import python_function
from rtld.process.windows.types import Simple, is_pointer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from rtld.backends.windows.native import Native

_CDECL, _KEEP_LOCK = 1, 4  # the thunk gives Python's lock back itself
#: So many integers may be given to a function whose arguments nobody has declared.
_MOST = 12
_REALS = (ctypes.c_double, ctypes.c_float)
_SMALL = (1, 2, 4, 8)
_new: Any = ctypes._CFuncPtr  # type: ignore[attr-defined]


def _structure(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, ctypes.Structure | ctypes.Union)


def letters(kinds: Iterable[Any]) -> str:
    """The signature of a thunk: "d" for floating-point numbers, "i" for all else."""
    result = ""
    for kind in kinds:
        if getattr(kind, "_type_", "") == "g":
            raise Unsupported("long double in a Windows function", "there it is double")
        result += "d" if kind in _REALS else "i"
    return result


class _ByValue:
    """In ``argtypes``: turns a structure into what is passed."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind
        self.small = ctypes.sizeof(kind) in _SMALL

    def from_param(self, value: Any) -> Any:
        """Called by ctypes."""
        if not isinstance(value, self.kind):
            raise TypeError(f"a {self.kind.__name__} is wanted, not {type(value).__name__}")
        if self.small:
            return ctypes.c_uint64(int.from_bytes(bytes(value), "little"))
        return ctypes.byref(self.kind.from_buffer_copy(value))


def _small_result(kind: Any) -> Any:
    """A ``restype`` whose 8 bytes are a structure's."""
    size = ctypes.sizeof(kind)

    def check(value: Any) -> Any:
        return kind.from_buffer_copy(bytes(value)[:size])

    return type(kind.__name__, (ctypes.c_uint64,), {"_check_retval_": staticmethod(check)})


class NativeFunction(ctypes._CFuncPtr):  # type: ignore[name-defined,misc]
    """A function of a DLL as ctypes has them. ``argtypes`` must be set where there are floating-point numbers or structures.

    ``variadic``: it was declared with ``...`` behind ``argtypes``; then more arguments may be objects of ctypes.
    """

    _flags_ = _CDECL | _KEEP_LOCK
    _restype_ = ctypes.c_int

    @property
    def argtypes(self) -> Any:
        return self.__dict__.get("declared")

    @argtypes.setter
    def argtypes(self, kinds: Any) -> None:
        self.__dict__["declared"] = None if kinds is None else tuple(kinds)
        _retarget(self)

    @property
    def restype(self) -> Any:
        return self.__dict__.get("result", ctypes.c_int)

    @restype.setter
    def restype(self, kind: Any) -> None:
        self.__dict__["result"] = kind
        if not _structure(kind):
            _new.restype.__set__(self, kind)
        elif ctypes.sizeof(kind) in _SMALL:
            _new.restype.__set__(self, _small_result(kind))
        else:
            _new.restype.__set__(self, ctypes.c_void_p)
        _retarget(self)

    @property
    def variadic(self) -> bool:
        return bool(self.__dict__.get("more"))

    @variadic.setter
    def variadic(self, value: bool) -> None:
        self.__dict__["more"] = value
        _retarget(self)


class _Wrapped(NativeFunction):
    """One whose calls take more than ctypes does: a result in memory, variable arguments."""

    _flags_ = _CDECL | _KEEP_LOCK
    _restype_ = ctypes.c_int

    def __call__(self, *arguments: Any) -> Any:
        declared = self.argtypes or ()
        kinds = [*declared, *map(_guess, arguments[len(declared) :])]
        values = [
            _ByValue(kind).from_param(value) if _structure(kind) else value
            for kind, value in zip(kinds, arguments, strict=False)
        ]
        out = self.restype() if _in_memory(self.restype) else None
        if out is not None:
            kinds.insert(0, ctypes.c_void_p)
            values.insert(0, ctypes.byref(out))
        _aim(self, kinds, exact=True)
        result = _new.__call__(self, *values)
        return result if out is None else out


def _guess(value: Any) -> Any:
    if isinstance(value, Simple | ctypes.Structure | ctypes.Union):
        return type(value)
    if isinstance(value, float):
        raise TypeError("a float without argtypes: pass ctypes.c_double(...)")
    return ctypes.c_void_p


def _in_memory(kind: Any) -> bool:
    return _structure(kind) and ctypes.sizeof(kind) not in _SMALL


def _retarget(function: NativeFunction) -> None:
    """The thunk and ctypes' own view of a function whose types have changed."""
    wrapped = _in_memory(function.restype) or function.variadic
    function.__class__ = _Wrapped if wrapped else NativeFunction
    if wrapped:
        _new.argtypes.__set__(function, None)
    else:
        _aim(function, function.argtypes or (), exact=False)


def _aim(function: NativeFunction, kinds: Iterable[Any], *, exact: bool) -> None:
    """Let it lead to the thunk for these types; where not *exact*, more integers may follow."""
    machine, address = function.__dict__["target"]
    kinds = tuple(kinds)
    signature = letters(kinds)
    if not exact:
        signature += "i" * (_MOST - len(signature))
    ctypes.c_size_t.from_address(ctypes.addressof(function)).value = machine.callable(address, signature)  # fmt: skip
    if exact:
        plain = [ctypes.c_void_p if _structure(k) or _is_array(k) else k for k in kinds]
        adapters: list[Any] = [_Any if k is ctypes.c_void_p else k for k in plain]
        _new.argtypes.__set__(function, adapters)
    elif function.argtypes is None:
        _new.argtypes.__set__(function, None)
    else:
        _new.argtypes.__set__(function, [_ByValue(k) if _structure(k) else k for k in kinds])


def _is_array(kind: Any) -> bool:
    return isinstance(kind, type) and is_pointer(kind)


class _Any:
    """In ``argtypes``: what ctypes makes of it without."""

    @staticmethod
    def from_param(value: Any) -> Any:
        return ctypes.c_void_p(value) if isinstance(value, int) else value


def native_function(machine: Native, address: int) -> NativeFunction:
    """The function at an address."""
    function = NativeFunction(machine.callable(address, "i" * _MOST))
    function.__dict__["target"] = machine, address
    return function


# -- callbacks ------------------------------------------------------------------------------------


def native_callback(machine: Native, function: Any, kind: Any) -> int:
    """The address of a Microsoft function that calls this one; *kind*: its type, a CFUNCTYPE."""
    if isinstance(function, NativeFunction):
        own: int = function.__dict__["target"][1]  # it is one already
        return own
    arguments, result = tuple(kind._argtypes_), kind._restype_
    inner = python_function(function) if isinstance(function, _new) else function
    if inner is None:
        if any(map(_structure, chain(arguments, (result,)))):
            raise Unsupported("structures by value in a function of C that a DLL is to call", "pass a Python function")  # fmt: skip
        return machine.callback(function, letters(arguments))
    passed: list[Any] = [_passed(each) for each in arguments]
    hidden = _in_memory(result)
    returned = ctypes.c_void_p if hidden else ctypes.c_uint64 if _structure(result) else result
    if hidden:
        passed.insert(0, ctypes.c_void_p)
    outer = ctypes.CFUNCTYPE(returned, *passed)(_guarded(machine, inner, arguments, result))
    return machine.callback(outer, letters(passed))


def _passed(kind: Any) -> Any:
    """The type of ctypes by which an argument comes."""
    if not _structure(kind):
        return kind
    return ctypes.c_uint64 if ctypes.sizeof(kind) in _SMALL else ctypes.c_void_p


def _guarded(machine: Native, function: Callable[..., Any], kinds: tuple[Any, ...], result: Any) -> Any:  # fmt: skip
    """What ctypes calls: structures are put together, exceptions go to who has called the DLL."""
    hidden = _in_memory(result)
    structures = [(i, k, ctypes.sizeof(k)) for i, k in enumerate(kinds) if _structure(k)]

    def called(*values: Any) -> Any:
        try:
            place, given = (values[0], list(values[1:])) if hidden else (0, list(values))
            for i, kind, size in structures:
                data = given[i].to_bytes(8, "little")[:size] if size in _SMALL else ctypes.string_at(given[i], size)  # fmt: skip
                given[i] = kind.from_buffer_copy(data)
            answer = function(*given)
            if hidden:
                ctypes.memmove(place, bytes(answer), ctypes.sizeof(result))
                return place
            return int.from_bytes(bytes(answer), "little") if _structure(result) else answer
        except BaseException as error:
            machine.leave(error)
            return 0

    return called
