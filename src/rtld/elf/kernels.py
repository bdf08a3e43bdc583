"""The linker's innermost loops as machine code of this CPU: ``kernels()`` is None where there is none.

What each does is said beside its code (``arch/x86_64_kernels.py``). Whoever calls one can do the same with numpy, and
tests compare both.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from rtld.core.native import function
from rtld.elf.flat import ORIGIN, fresh

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from rtld.elf.flat import I64, U8, U64

_ARGUMENTS = {"hash_names": 5, "number_names": 6, "add_base": 6}


class Kernels:
    """Machine code as functions of columns."""

    __slots__ = ("_functions",)

    def __init__(self, functions: Mapping[str, Callable[..., None]]) -> None:
        self._functions = functions

    def hash_names(self, position: I64) -> tuple[U64, I64]:
        """(GNU hashes, lengths) of the names at ``position``."""
        position = np.ascontiguousarray(position)
        h, length = np.empty(len(position), np.uint64), np.empty(len(position), np.int64)
        self._functions["hash_names"](
            address(position), len(position), ORIGIN, address(h), address(length)
        )
        return h, length

    def number_names(self, table: NameTable, position: I64, h: U64) -> I64 | None:
        """Each name's number in *table*; None when its hashes collide so much that sorting would be faster."""
        position, h = np.ascontiguousarray(position), np.ascontiguousarray(h)
        number = np.empty(len(position), np.int64)
        table.state[4] = 64 * len(position) + 1024
        self._functions["number_names"](
            address(position), address(h), len(position), ORIGIN, address(table.state), address(number)
        )  # fmt: skip
        return None if int(table.state[4]) < 0 else number

    def add_base(self, position: int, count: int, image: U8, low: int, base: int) -> bool:
        """Store addend + base for the Elf64_Rela records at *position*; False at a place outside the image."""
        if len(image) < 8:
            return False
        state = np.array(
            [base & 0xFFFFFFFFFFFFFFFF, count], np.uint64
        )  # a load bias may be negative
        self._functions["add_base"](
            ORIGIN + position, count, address(image), low, len(image) - 8, address(state)
        )
        return int(state[1]) == 0


class NameTable:
    """Distinct names, numbered in the order in which they come: a hash table for up to so many."""

    __slots__ = ("_slots", "state")

    def __init__(self, capacity: int) -> None:
        size = 1 << (capacity + capacity // 4).bit_length()  # at most four in five are used
        # Memory that malloc has at hand is quicker than new pages, but for huge ones.
        self._slots = fresh(16 * size) if size > 1 << 18 else np.zeros(16 * size, np.uint8)
        # struct table of arch/x86_64_kernels.py
        self.state: I64 = np.array([address(self._slots), 16 * (size - 1), 0, 1, 0], np.int64)

    @property
    def count(self) -> int:
        """How many names there are."""
        return int(self.state[2])

    def close(self) -> None:
        """From now on names are only found."""
        self.state[3] = 0


def address(array: Any) -> int:
    """Where an array's first element is."""
    where: int = array.__array_interface__["data"][0]
    return where


@cache
def kernels() -> Kernels | None:
    """This host's kernels; None when its CPU has none or a process may not make code."""
    from rtld import arch

    code = arch.kernels(arch.host().name)
    functions = {}
    for name, arguments in _ARGUMENTS.items():
        made = function(code[name].code, arguments) if name in code else None
        if made is None:
            return None
        functions[name] = made
    return Kernels(functions)
