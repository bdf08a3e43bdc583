"""Functions on an emulated CPU, called with what ctypes has, and Python functions that they call.

The rules are those of ``arch/calls_windows.py``: each call is a row of bytes (``arch/calling.py``), from which registers and stack are
filled.
"""

from __future__ import annotations

import ctypes
import inspect
import struct
import weakref

from rtld.arch.calling import FLOATS, STACK
from rtld.arch.calls_windows import callee_pops, windows_convention
from rtld.backends.emulated.calls import Signature
from rtld.backends.windows.api import PYTHON, Api, Call
from rtld.errors import TargetFault
from rtld.process.foreign.convert import python_function
from rtld.process.windows.types import (
    Function,
    Pointer,
    Simple,
    ctype_of,
    is_pointer,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from typing import Any

    from rtld.arch.calling import Convention
    from rtld.process.windows.library import EmulatedProcess

    Raw = int | float | bytes | None
    Back = list[tuple[Any, int, int]]  # (what is to have the bytes, address, size)

_BYREF: Any = type(ctypes.byref(ctypes.c_int()))
_FLOAT = 16  # bytes of a floating-point register


class Caller:
    """Calls into one process, and out of it."""

    def __init__(self, process: EmulatedProcess) -> None:
        self.process = process
        self.machine = process.machine
        self.arch = process.machine.cpu.name
        self.word = process.machine.word
        self._signatures: dict[Any, Signature] = {}
        self._callbacks: dict[Any, tuple[Any, int]] = {}
        self._kept: list[Any] = []
        self._free: list[int] = []  # slots of callbacks that are no more
        self._pop_code = 0
        engine = self.machine.engine
        self._rules = rules = windows_convention(self.arch, "cdecl")
        self.model = rules.model
        self._ints = engine.bank(*rules.ints)
        self._floats = engine.bank(*rules.floats, width=_FLOAT)

    def signature(self, convention: str, result: Any, kinds: Sequence[Any], fixed: int | None) -> Signature:  # fmt: skip
        """The layout of a function type, from types of ctypes. Unsupported."""
        key = convention, result, tuple(kinds), fixed
        found = self._signatures.get(key)
        if found is None:
            rules = windows_convention(self.arch, convention)
            types = [ctype_of(kind, rules.model) for kind in kinds]
            found = Signature(rules, ctype_of(result, rules.model), types, fixed)
            self._signatures[key] = found
        return found

    # -- calls ------------------------------------------------------------------------------------

    def call(self, address: int, signature: Signature, raws: Sequence[Raw]) -> Raw:
        """Call a function; its result as it is there. TargetFault."""
        process, guest, layout = self.process, self.machine.guest, signature.layout
        row_at = 0
        if signature.pointers or layout.hidden is not None:
            row_at = process.system.heap.allocate(signature.pitch)
        row = signature.row.pack(*signature.values(raws, row_at))
        if row_at:
            guest.write(row_at, row)
        ints, stack = self._load(signature, row)

        def body() -> Generator[Any, Any, Any]:
            self._fill(signature, row)
            value = yield Call(address, (*ints, *stack), "cdecl")
            return self._results(signature, value)

        try:
            returned = process.finish(body())
            if layout.hidden is not None:
                returned = guest.read(row_at, signature.pitch)
            return signature.result_of(memoryview(returned), 0)
        finally:
            if row_at:
                process.system.heap.free(row_at)

    def _load(self, signature: Signature, row: bytes) -> tuple[list[int], list[int]]:
        """Words for registers that the machine fills itself, and those of the stack."""
        layout = signature.layout
        stack = row[STACK : STACK + layout.stack]
        if self.arch == "i386":
            return [], list(struct.unpack(f"<{len(stack) // 4}I", stack))
        count = 4 if self.arch == "x86_64" else 8
        ints = list(struct.unpack_from(f"<{count}Q", row))
        words = list(struct.unpack(f"<{len(stack) // 8}Q", stack))
        if self.arch == "x86_64":
            if signature.rules is self._rules:
                # A variadic function looks for its floating-point arguments in the integer registers.
                floats = struct.unpack_from("<4Q", row, FLOATS)
                ints = [i | f for i, f in zip(ints, floats, strict=True)]
            words = words[4:]  # behind the home space
        return ints, words

    def _fill(self, signature: Signature, row: bytes) -> None:
        """The registers that calls of the tables do not use."""
        engine, rules = self.machine.engine, signature.rules
        if any(row[FLOATS:STACK]):
            self._set_floats(rules.floats, rules, row)
        if self.arch == "i386":
            for i, name in enumerate(rules.ints):
                engine.set(name, int.from_bytes(row[4 * i : 4 * i + 4], "little"))
        elif self.arch == "aarch64":
            engine.set("x8", int.from_bytes(row[64:72], "little"))

    def _results(self, signature: Signature, value: int) -> bytes:
        """The registers with results as a row."""
        engine, rules, layout = self.machine.engine, signature.rules, signature.layout
        row = bytearray(STACK)
        place = layout.result
        wide = place is not None and any(
            piece.at + piece.size > self.word for piece in place.pieces
        )
        for i, name in enumerate(rules.int_results if wide else rules.int_results[:1]):
            number = value if i == 0 else engine.get(name)
            row[self.word * i : self.word * (i + 1)] = (number & (1 << 8 * self.word) - 1).to_bytes(self.word, "little")  # fmt: skip
        if layout.kind:
            kind = "<f" if layout.kind == 1 else "<d"
            struct.pack_into(kind, row, FLOATS, self._pop_double())
        elif wide:
            size = rules.float_size
            for i, name in enumerate(rules.float_results):
                number = engine.get(name) & (1 << 8 * size) - 1
                row[FLOATS + size * i : FLOATS + size * (i + 1)] = number.to_bytes(size, "little")
        return bytes(row)

    def _pop_double(self) -> float:
        """What is on top of the x87's stack; it is no longer there."""
        guest = self.machine.guest
        if not self._pop_code:
            place = guest.allocate(4096)
            self._pop_code = guest.allocate(4096, 5)
            self._popped = place
            guest.write(self._pop_code, b"\xdd\x1d" + place.to_bytes(4, "little") + b"\xf4")
        self.machine.engine.run(self._pop_code, 1)  # fstpl place; hlt
        value: float = struct.unpack("<d", guest.read(self._popped, 8))[0]
        return value

    # -- callbacks --------------------------------------------------------------------------------

    def callback_for(self, function: Any, kind: Any, convention: str = "cdecl", *, kept: bool = False) -> int:  # fmt: skip
        """The address of a callback: a function of ctypes, or a Python function and its type.

        It is there as long as the function is; *kept*: as long as the process.
        """
        own = type(function) if isinstance(function, Function) else kind
        key = id(function), own, convention
        if key not in self._callbacks:
            inner = (python_function(function) or function) if own is type(function) else function
            # A method, say, is gone at once: what refers to it must be kept.
            weak = function if inspect.isfunction(function) or isinstance(function, Function) else None  # fmt: skip
            signature = self.signature(convention, own._restype_, own._argtypes_, None)
            at = self._free.pop() if self._free else 0
            holder: Any = weakref.ref(weak, lambda _: self._gone(key)) if weak is not None else None
            called = inner if holder is None else _through(holder, inner is function, inner)
            at = self._slot(at, convention, signature, called, own)
            self._callbacks[key] = holder or function, at
        if kept:
            self._kept.append(function)
        return self._callbacks[key][1]

    def _gone(self, key: Any) -> None:
        """A function is no more: its slot is another's from now on, and says so when it is called."""
        _, at = self._callbacks.pop(key)
        self.machine.add_slot(at, Api(PYTHON, "callback", "", "v", "cdecl", _collected))
        self._free.append(at)

    def _slot(self, at: int, convention: str, signature: Signature, function: Callable[..., Any], kind: Any) -> int:  # fmt: skip
        pops = callee_pops(self.arch, convention)
        words = signature.layout.stack // 4 if pops else 0

        def action(_system: Any, *_: int) -> int:
            return self._called(signature, function, kind._restype_, kind._argtypes_)

        api = Api(PYTHON, getattr(function, "__name__", "callback"), "p" * words, "v",
                  "stdcall" if pops else "cdecl", action)  # fmt: skip
        if not at:
            return self.machine.new_slot(api)
        self.machine.add_slot(at, api)
        return at

    def _called(self, signature: Signature, function: Callable[..., Any], result: Any, kinds: Sequence[Any]) -> int:  # fmt: skip
        """The program has called: arguments from registers and stack, the result to where it belongs."""
        machine, rules, layout = self.machine, signature.rules, signature.layout
        engine = machine.engine
        ints = self._ints.read()
        row = struct.pack(f"<{len(ints)}{'I' if self.word == 4 else 'Q'}", *ints).ljust(FLOATS, b"\0")  # fmt: skip
        floats, size = self._floats.read_bytes(), rules.float_size
        row += b"".join(floats[at : at + size] for at in range(0, len(floats), _FLOAT))
        row = row.ljust(STACK, b"\0")
        if layout.stack:
            row += machine.guest.read(engine.get(machine.cpu.sp) + rules.frame, layout.stack)
        raws = signature.arguments_of(row, machine.guest.read)
        values = [self.value(kind, raw) for kind, raw in zip(kinds, raws, strict=True)]
        answer = function(*values)
        if layout.result is None:
            return 0
        raw = self.raw_result(result, answer)
        if layout.hidden is not None:
            at = int.from_bytes(row[layout.hidden.pieces[0].at :][: self.word], "little")
            machine.guest.write(at, raw)  # type: ignore[arg-type]
            if self.arch != "aarch64":
                engine.set(rules.int_results[0], at)
            return at
        if layout.kind:
            machine._return_real(float(raw), "d")  # type: ignore[arg-type]
            return 0
        back = signature.result_row(raw)
        for i, name in enumerate(rules.int_results):
            engine.set(name, int.from_bytes(back[self.word * i : self.word * (i + 1)], "little"))
        if any(piece.at >= FLOATS for piece in layout.result.pieces):
            self._set_floats(rules.float_results, rules, back)
        return 0

    def _set_floats(self, names: Sequence[str], rules: Convention, row: bytes | bytearray) -> None:
        """Floating-point registers from a row."""
        size = rules.float_size
        for at, name in zip(range(FLOATS, STACK, size), names, strict=False):
            self.machine.engine.set(name, int.from_bytes(row[at : at + size], "little"))

    # -- values -----------------------------------------------------------------------------------

    def value(self, kind: Any, raw: Raw) -> Any:
        """A raw value as ctypes would give it."""
        if kind is None:
            return None
        if issubclass(kind, ctypes.Structure | ctypes.Union):
            return kind.from_buffer_copy(raw)
        if issubclass(kind, Simple):
            if kind._type_ == "z":
                return self.process.system.text(raw)  # type: ignore[arg-type]
            if kind._type_ == "Z":
                return self.process.system.wide(raw)  # type: ignore[arg-type]
            if kind._type_ == "?":
                return bool(raw)
            if kind._type_ == "c":
                return bytes([raw])  # type: ignore[list-item]
            if kind._type_ == "u":
                return chr(raw)  # type: ignore[arg-type]
        return raw

    def raw_result(self, kind: Any, value: Any) -> Raw:
        """What a Python function has returned, as its type says."""
        if issubclass(kind, ctypes.Structure | ctypes.Union):
            if not isinstance(value, kind):
                raise TypeError(f"the callback is to return a {kind.__name__}, not {value!r}")
            return bytes(value)
        value = value.value if isinstance(value, Simple) else value
        if isinstance(value, bytes) and len(value) == 1:
            value = value[0]
        return 0 if value is None else value


def _through(holder: Any, direct: bool, inner: Callable[..., Any]) -> Callable[..., Any]:
    """A function that is not kept by those that may call it; *direct*: it is what *holder* holds, and not part of that."""
    if not direct:
        return inner  # the thunk of ctypes is gone with what it was made of

    def called(*values: Any) -> Any:
        return holder()(*values)

    return called


def _collected(_system: Any) -> int:
    raise TargetFault(
        "the program calls a callback that Python has no longer: keep what was passed"
    )


class EmulatedFunction:
    """A function on the emulated CPU, with ``restype``, ``argtypes``, ``errcheck`` as ctypes has them.

    ``convention``: "cdecl", "stdcall", "thiscall", "fastcall" or "vectorcall". ``variadic``: it was declared with ``...`` behind
    ``argtypes``. Arguments that nobody has declared are integers, floats (double), bytes, strings and objects of ctypes.
    What is passed by its address is copied into the program's memory, and back after the call.
    """

    def __init__(self, caller: Caller, address: int, name: str = "") -> None:
        self._caller = caller
        self.address = address
        self.__name__ = name
        self.restype: Any = ctypes.c_int
        self.argtypes: Any = None
        self.convention = "cdecl"
        self.variadic = False
        self.errcheck: Callable[[Any, Any, tuple[Any, ...]], Any] | None = None

    def __call__(self, *arguments: Any) -> Any:
        caller = self._caller
        heap, guest = caller.process.system.heap, caller.machine.guest
        declared = tuple(self.argtypes or ())
        if len(arguments) < len(declared):
            raise TypeError(f"{self.__name__}() takes at least {len(declared)} arguments ({len(arguments)} given)")  # fmt: skip
        kinds = [*declared, *map(self._guess, arguments[len(declared) :])]
        fixed = len(declared) if self.variadic else None
        signature = caller.signature(self.convention, self.restype, kinds, fixed)
        back: Back = []
        copies: list[int] = []
        try:
            raws = [self._raw(k, a, copies, back) for k, a in zip(kinds, arguments, strict=True)]
            raw = caller.call(self.address, signature, raws)
            for target, at, size in back:
                memoryview(target).cast("B")[:] = guest.read(at, size)
            result = caller.value(self.restype, raw)
        finally:
            for at in copies:
                heap.free(at)
        return result if self.errcheck is None else self.errcheck(result, self, arguments)

    @staticmethod
    def _guess(value: Any) -> Any:
        """The type of an argument that nobody has declared."""
        if isinstance(value, Simple | ctypes.Structure | ctypes.Union):
            return type(value)
        if isinstance(value, int):
            return ctypes.c_long  # a word
        return ctypes.c_double if isinstance(value, float) else ctypes.c_void_p

    def _raw(self, kind: Any, value: Any, copies: list[int], back: Back) -> Raw:
        """An argument as the function gets it."""
        if is_pointer(kind):
            return self._address(kind, value, copies, back)
        if issubclass(kind, ctypes.Structure | ctypes.Union):
            if not isinstance(value, kind):
                raise ctypes.ArgumentError(f"a {kind.__name__} is wanted, not {type(value).__name__}")  # fmt: skip
            return bytes(value)
        value = value.value if isinstance(value, Simple) else value
        if kind._type_ in "fd":
            if not isinstance(value, int | float):
                raise ctypes.ArgumentError(f"a number is wanted, not {type(value).__name__}")
            return float(value)
        if isinstance(value, bytes | str) and len(value) == 1:
            return ord(value)
        if not hasattr(value, "__index__"):
            raise ctypes.ArgumentError(f"an integer is wanted, not {type(value).__name__}")
        return int(value.__index__())

    def _address(self, kind: Any, value: Any, copies: list[int], back: Back) -> int:
        """Where the program finds what is passed by its address."""
        if value is None:
            return 0
        if isinstance(value, int):
            return value
        if isinstance(value, EmulatedFunction):
            return value.address
        if isinstance(value, Simple) and value._type_ == "P":
            return value.value or 0
        if isinstance(value, Function) or (issubclass(kind, Function) and callable(value)):
            return self._function(kind, value)
        if isinstance(value, Simple) and value._type_ in "zZ":
            return self._address(kind, value.value, copies, back)
        if isinstance(value, str):
            return self._copy(value.encode("utf-16-le", "surrogatepass") + b"\0\0", copies)
        if isinstance(value, bytes):
            return self._copy(value + b"\0", copies)
        target = value._obj if isinstance(value, _BYREF) else value
        target = target.contents if isinstance(target, Pointer) else target
        try:
            data = bytes(memoryview(target).cast("B"))
        except TypeError:
            raise TypeError(f"a {type(target).__name__} cannot be given to an emulated function") from None  # fmt: skip
        at = self._copy(data, copies)
        if not memoryview(target).readonly:
            back.append((target, at, len(data)))
        return at

    def _copy(self, data: bytes, copies: list[int]) -> int:
        at = self._caller.process.system.heap.allocate(max(len(data), 1))
        copies.append(at)
        self._caller.machine.guest.write(at, data)
        return at

    def _function(self, kind: Any, value: Any) -> int:
        """A callback, made once for a function and its type."""
        return self._caller.callback_for(value, kind)
