"""Calls into one emulated CPU with values of Python: memory that is lent, callbacks, errno."""

from __future__ import annotations

import ctypes
import weakref

from rtld.arch.calling import convention
from rtld.backends.emulated.calls import Caller
from rtld.backends.emulated.scratch import Scratch
from rtld.process.foreign.convert import Converter
from rtld.process.foreign.types import Function

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any

    from rtld.backends.emulated.calls import Signature
    from rtld.backends.emulated.machine import Machine

CHUNK = 256  # bytes of a string that are looked at together


class Guest:
    """A machine as functions see it."""

    def __init__(self, machine: Machine, name: str = "", caller: Caller | None = None) -> None:
        self.machine = machine
        self.name = name or machine.cpu.name
        self._caller = caller or Caller(machine)
        self._scratch = Scratch(machine)
        self.converter = Converter(self, convention(machine.cpu.name).model)
        self.signature = self._caller.signature
        self.mark = self._scratch.mark
        self.lend = self._scratch.lend
        self.release = self._scratch.release
        self.read = machine.read
        self.write = machine.write
        self._callbacks: dict[tuple[int, Any], int] = {}
        self._kept: list[Any] = []
        self._errno = 0  # its address

    # -- calls ----------------------------------------------------------------------------------------

    def call(self, address: int, signature: Signature, raws: Sequence[Any]) -> Any:
        """One call."""
        return self._caller.call(address, signature, raws)

    def call_many(
        self, address: int, signature: Signature, rows: Iterable[Sequence[Any]]
    ) -> Iterator[Any]:
        """Many; what is lent for them is taken back when their results are there."""
        return self._caller.call_many(address, signature, rows, self._scratch)

    # -- memory ---------------------------------------------------------------------------------------

    def string(self, address: int, unit: int) -> bytes:
        """The bytes up to a terminator of *unit* bytes. TargetFault where memory ends before it."""
        end = bytes(unit)
        memory = self.machine.memory
        out = b""
        while True:
            # Not beyond a page that may be the last.
            size = min(CHUNK, 0x1000 - (address + len(out)) % 0x1000)
            part = bytes(memory.view(address + len(out), size))
            for at in range(0, len(part) - unit + 1, unit):
                if part[at : at + unit] == end:
                    return out + part[:at]
                if unit == 1:
                    at = part.find(0)
                    if at >= 0:
                        return out + part[:at]
                    break
            out += part

    def close(self) -> None:
        """Nothing is called any more."""
        self._callbacks.clear()
        self._kept.clear()

    # -- errno ----------------------------------------------------------------------------------------

    def where_errno_is(self, address: int) -> None:
        """The main thread's errno."""
        self._errno = address

    @property
    def errno(self) -> int:
        """The guest's errno."""
        if not self._errno:
            return 0
        order = "little" if self.converter.order == "<" else "big"
        return int.from_bytes(self.read(self._errno, 4), order)  # type: ignore[arg-type]

    @errno.setter
    def errno(self, value: int) -> None:
        if self._errno:
            order = "little" if self.converter.order == "<" else "big"
            self.write(self._errno, (value & 0xFFFFFFFF).to_bytes(4, order))  # type: ignore[arg-type]

    # -- callbacks ------------------------------------------------------------------------------------

    def callback(self, kind: Any, function: Callable[..., Any], owner: Any = None) -> int:
        """The address of a C function of type *kind* (CFUNCTYPE) that runs *function*.

        It is there as long as *owner*, by default the function itself: as with ctypes, who lets the guest keep a callback has
        to keep the object.
        """
        owner = function if owner is None else owner
        key = id(owner), kind
        known = self._callbacks.get(key)
        if known is not None:
            return known
        converter = self.converter
        kinds = tuple(kind._argtypes_ or ())
        of = converter.types.of
        signature = self.signature(of(kind._restype_), [converter.argument_type(k) for k in kinds])
        results = [converter.result(k) for k in kinds]
        restype = kind._restype_
        make = None if restype is None else converter.maker(restype)
        weak = self._weakly(owner, function)

        def called(*raws: Any) -> Any:
            value = weak()(*[result(raw) for result, raw in zip(results, raws, strict=True)])
            return None if make is None else make(value if value is not None else 0, [])

        address = self._caller.callback(signature, called)
        self._callbacks[key] = address
        self._end_with(owner, key, address)
        return address

    def _weakly(self, owner: Any, function: Callable[..., Any]) -> Callable[[], Callable[..., Any]]:
        """The function, without keeping its owner alive."""
        if owner is not function:
            return lambda: function
        try:
            reference = weakref.ref(function)
        except TypeError:  # a built-in function: it is there forever
            return lambda: function

        def found() -> Callable[..., Any]:
            there: Callable[..., Any] | None = reference()
            if there is None:
                raise ReferenceError(
                    "the Python function of this callback is not there any more: keep a reference to it"
                )
            return there

        return found

    def _end_with(self, owner: Any, key: tuple[int, Any], address: int) -> None:
        # What waits for the owner's end does not keep the machine.
        machine = weakref.ref(self)

        def end() -> None:
            guest = machine()
            if guest is not None and guest._callbacks.pop(key, None) is not None:
                guest._caller.release(address)

        try:
            weakref.finalize(owner, end)
        except TypeError:
            # Nobody says when it goes: it stays, and is known by its number, so the number must stay its own.
            self._kept.append(owner)

    def function_address(self, function: Any) -> int:
        """The address of a function of the guest's, or of ctypes' that Python is behind; that one stays until the end."""
        if isinstance(function, Function):
            self._kept.append(function)
            return self.converter.function_address(type(function), function)
        if isinstance(function, int):
            return function
        address = getattr(function, "address", None)
        if not isinstance(address, int):
            raise TypeError(
                f"{function!r}: an address, a function of the guest or one of ctypes is wanted: CFUNCTYPE(...)(function)"
            )
        return address

    def keep_callback(
        self, function: Callable[..., Any], restype: Any, argtypes: Iterable[Any]
    ) -> int:
        """A callback that stays until the machine is closed."""
        self._kept.append(function)
        return self.callback(ctypes.CFUNCTYPE(restype, *argtypes), function)
