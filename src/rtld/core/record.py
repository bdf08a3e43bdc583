"""``typing.NamedTuple`` for modules that every start of a program imports: ``typing`` takes longer to import than all of them.

class Point(NamedTuple):
    x: int
    y: int = 0
"""

from __future__ import annotations

from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:

    class _Fields(type):
        """Makes a class with annotations a named tuple."""

        def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, object]) -> type:
            if not bases:
                return super().__new__(cls, name, bases, body)
            fields = list(body["__annotations__"])
            defaults = [body.pop(field) for field in fields if field in body]
            base = namedtuple(name, fields, defaults=defaults, module=body["__module__"])
            return type(name, (base,), {**body, "__slots__": ()})

    class NamedTuple(metaclass=_Fields):
        """A tuple whose items have names: those of the class's annotations, in their order."""


__all__ = ["NamedTuple"]
