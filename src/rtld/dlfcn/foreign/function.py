"""A function of another CPU's library: ``restype``, ``argtypes``, ``errcheck`` and calls as ctypes has them, and ``map``."""

from __future__ import annotations

import ctypes
import itertools
from typing import NamedTuple

from rtld.process.foreign.convert import Argument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from rtld.backends.emulated.calls import Signature
    from rtld.process.foreign.guest import Guest


class Plan(NamedTuple):
    """How a call with certain types is made."""

    signature: Signature
    makers: tuple[Callable[[Any, list[Callable[[], None]]], Any], ...]
    result: Callable[[Any], Any]


class ForeignFunction:
    """A C function of the guest. ``int`` is its result until ``restype`` says otherwise.

    Arguments beyond ``argtypes`` are those of a variadic function. ``variadic`` says that it is one even if there are none.
    """

    def __init__(self, guest: Guest, address: int, name: str, *, use_errno: bool = False) -> None:
        self._guest = guest
        self.address = address
        self.__name__ = name
        self._restype: Any = ctypes.c_int
        self._argtypes: tuple[Any, ...] | None = None
        self._variadic = False
        self._plans: dict[tuple[Any, ...], Plan] = {}
        self._plan: Plan | None = None
        self._use_errno = use_errno
        self._closed: Exception | None = None
        self.errcheck: Callable[[Any, Any, tuple[Any, ...]], Any] | None = None

    def __repr__(self) -> str:
        return f"<function {self.__name__} at {self.address:#x} of {self._guest.name}>"

    @property
    def restype(self) -> Any:
        """The type of the result, None for void."""
        return self._restype

    @restype.setter
    def restype(self, kind: Any) -> None:
        if kind is not None:
            self._guest.converter.types.of(kind)
        self._restype = kind
        self._forget()

    @property
    def argtypes(self) -> Any:
        """The types of the arguments; None: each call is taken as it comes."""
        return self._argtypes

    @argtypes.setter
    def argtypes(self, kinds: Iterable[Any] | None) -> None:
        kinds = None if kinds is None else tuple(kinds)
        for kind in kinds or ():
            self._guest.converter.maker(kind)
        self._argtypes = kinds
        self._forget()

    @property
    def variadic(self) -> bool:
        """Declared with ``...``: on some CPUs such a function's arguments are passed differently."""
        return self._variadic

    @variadic.setter
    def variadic(self, value: bool) -> None:
        self._variadic = value
        self._forget()

    def _forget(self) -> None:
        self._plans.clear()
        self._plan = None

    def close(self, reason: Exception) -> None:
        """It is not there any more: calls raise *reason*."""
        self._closed = reason
        self._forget()

    # -- calls ----------------------------------------------------------------------------------------

    def __call__(self, *arguments: Any) -> Any:
        guest = self._guest
        plan = self._plan
        if plan is None or len(arguments) != len(plan.makers):
            plan = self._plan_for(arguments)
        mark = guest.mark()
        back: list[Callable[[], None]] = []
        try:
            raws = [make(value, back) for make, value in zip(plan.makers, arguments, strict=True)]
            if self._use_errno:
                guest.errno = ctypes.get_errno()
            raw = guest.call(self.address, plan.signature, raws)
            if self._use_errno:
                ctypes.set_errno(guest.errno)
            for copy in back:
                copy()
            result = plan.result(raw)
        finally:
            guest.release(mark)
        if self.errcheck is not None:
            return self.errcheck(result, self, arguments)
        return result

    def map(self, *iterables: Iterable[Any]) -> Iterator[Any]:
        """The results of a call with each item (a tuple: its arguments), or with the items of several iterables side by side.

        Many calls are made with one start of the CPU: this is how to make a hundred thousand. What is passed by address
        is not copied back.
        """
        rows: Iterator[tuple[Any, ...]]
        if len(iterables) == 1:
            rows = (item if isinstance(item, tuple) else (item,) for item in iterables[0])
        else:
            rows = zip(*iterables, strict=False)
        first = next(rows, None)
        if first is None:
            return
        plan = self._plan_for(first)
        guest, makers = self._guest, plan.makers
        back: list[Callable[[], None]] = []

        def raws(row: tuple[Any, ...]) -> list[Any]:
            if len(row) != len(makers):
                raise Argument(
                    f"{self.__name__}: {len(row)} arguments where the first call has {len(makers)}"
                )
            return [make(value, back) for make, value in zip(makers, row, strict=True)]

        rows = itertools.chain([first], rows)
        for raw in guest.call_many(self.address, plan.signature, map(raws, rows)):
            back.clear()
            result = plan.result(raw)
            yield result if self.errcheck is None else self.errcheck(result, self, ())

    def _plan_for(self, arguments: tuple[Any, ...]) -> Plan:
        """The types of these arguments: declared ones, and what the values say of the rest."""
        if self._closed is not None:
            raise self._closed
        declared = self._argtypes or ()
        if len(arguments) < len(declared):
            raise TypeError(
                f"{self.__name__}() takes at least {len(declared)} arguments ({len(arguments)} given)"
            )
        converter = self._guest.converter
        try:
            more = tuple(map(converter.guess, arguments[len(declared) :]))
        except Argument as error:
            raise Argument(f"{self.__name__}: {error}") from None
        fixed = len(declared) if self._variadic or (declared and more) else None
        key = (*declared, *more)
        plan = self._plans.get(key)
        if plan is None:
            of = converter.types.of
            kinds = [converter.argument_type(kind) for kind in key]
            signature = self._guest.signature(of(self._restype), kinds, fixed)
            plan = Plan(
                signature, tuple(map(converter.maker, key)), converter.result(self._restype)
            )
            self._plans[key] = plan
        if not more:
            self._plan = plan
        return plan
