"""FuncInfo4, the tables that __CxxFrameHandler4 reads: those of ``cxx``, without what can be left out, in few bytes.

The layout is that of Microsoft's ehdata4_export.h (and "Making C++ Exception Handling Smaller On x64", Visual C++ team blog, 2019). A
compressed number has its length in the low bits of its first byte. Each function has tables of its own, the functions that
catch too, whose states are theirs: what a state of a table of handlers stands for is told by the function that it is of.
"""

from __future__ import annotations

import struct

from rtld.backends.windows.cxx import Handler, Try

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtld.backends.windows.system import System

_CATCH, _SEPARATED, _BBT, _UNWIND, _TRIES, _SYNCHRONOUS = 1, 2, 4, 8, 0x10, 0x20
_ADJECTIVES, _TYPE, _OBJECT, _RVAS = 1, 2, 4, 8  # of a handler
_MOST = 1 << 12  # rows of a table: a damaged count must not keep us for hours
_DESTROY, _DESTROY_POINTED, _CALL = 1, 2, 3  # what an action of the unwind map is


class Reader:
    """Numbers one after the other in the program's memory."""

    def __init__(self, system: System, at: int) -> None:
        self._memory = system.memory
        self.at = at

    def byte(self) -> int:
        self.at += 1
        return self._memory.read(self.at - 1, 1)[0]

    def int32(self) -> int:
        self.at += 4
        value: int = struct.unpack("<i", self._memory.read(self.at - 4, 4))[0]
        return value

    def unsigned(self) -> int:
        """A compressed number: as many low bits set, up to four, as bytes follow the first; with four, they are the number."""
        first = self.byte()
        more = 0
        while more < 4 and first >> more & 1:
            more += 1
        data = bytes([first]) + (self._memory.read(self.at, more) if more else b"")
        self.at += more
        if more == 4:
            return int.from_bytes(data[1:], "little")
        return int.from_bytes(data, "little") >> (more + 1)


class FunctionInfo4:
    """FuncInfo4 at an address, of the function that begins at the RVA *begin*: as ``cxx.FunctionInfo``."""

    good = True

    def __init__(self, system: System, at: int, base: int, begin: int) -> None:
        self.system = system
        self.base = base
        self.begin = begin
        read = Reader(system, at)
        flags = read.byte()
        self.synchronous = bool(flags & _SYNCHRONOUS)
        self.catches = bool(flags & _CATCH)
        if flags & _BBT:
            read.unsigned()
        self._unwind_at = base + read.int32() if flags & _UNWIND else 0
        self._tries_at = base + read.int32() if flags & _TRIES else 0
        ips = read.int32()
        self._ips_at = base + ips if ips else 0
        if flags & _SEPARATED and ips:
            self._ips_at = self._segment(base + ips)
        self.frame = read.unsigned() if flags & _CATCH else 0
        self._states = self._read_states() if self._unwind_at else []
        self.states = len(self._states)
        self.most = self.states + 1

    def _segment(self, at: int) -> int:
        """A function in several pieces has a table for each."""
        read = Reader(self.system, at)
        for _ in range(min(read.unsigned(), _MOST)):
            begin, table = read.int32(), read.int32()
            if begin == self.begin:
                return self.base + table
        return 0

    def _read_states(self) -> list[tuple[int, int, int, int]]:
        """For each state (the one outside, what leads there, the action, its object). An entry says how far back that one stands."""
        read = Reader(self.system, self._unwind_at)
        places: dict[int, int] = {}
        result = []
        for number in range(min(read.unsigned(), _MOST)):
            places[read.at] = number
            at = read.at
            word = read.unsigned()
            kind = word & 3
            action = self.base + read.int32() if kind else 0
            place = read.unsigned() if kind in (_DESTROY, _DESTROY_POINTED) else 0
            result.append((places.get(at - (word >> 2), -1), kind, action, place))
        return result

    def tries(self) -> Iterator[Try]:
        """Try blocks, the inner ones first."""
        if not self._tries_at:
            return
        read = Reader(self.system, self._tries_at)
        left = _MOST
        for _ in range(min(read.unsigned(), _MOST)):
            low, high, last = read.unsigned(), read.unsigned(), read.unsigned()
            handlers = Reader(self.system, self.base + read.int32())
            count = min(handlers.unsigned(), left)
            left -= count
            yield Try(low, high, last, [self._handler(handlers) for _ in range(count)])

    def _handler(self, read: Reader) -> Handler4:
        flags = read.byte()
        adjectives = read.unsigned() if flags & _ADJECTIVES else 0
        kind = read.int32() if flags & _TYPE else 0
        place = read.unsigned() if flags & _OBJECT else 0
        code = self.base + read.int32()
        behind = [
            self.base + (read.int32() if flags & _RVAS else self.begin + read.unsigned())
            for _ in range(flags >> 4 & 3)
        ]
        return Handler4.of((adjectives, self.base + kind if kind else 0, place, code, 0), behind)

    def state_at(self, rva: int) -> int:
        """The state of the function when it is there."""
        if not self._ips_at:
            return -1
        read = Reader(self.system, self._ips_at)
        at, found = self.begin, -1
        for _ in range(min(read.unsigned(), 1 << 16)):
            at += read.unsigned()
            state = read.unsigned() - 1
            if rva < at:
                break
            found = state
        return found

    def outside(self, state: int) -> tuple[int, int]:
        """(state outside a state, code that leads there or 0); ``action`` says what it is called with."""
        if not 0 <= state < self.states:
            return -1, 0
        to, _, action, _ = self._states[state]
        return to, action

    def argument(self, state: int, frame: int) -> tuple[int, ...]:
        """What the code of a state is called with: the function's frame, or the object that it destroys."""
        _, kind, _, place = self._states[state]
        if kind == _CALL:
            return 0, frame
        place += frame
        return (self.system.number(place) if kind == _DESTROY_POINTED else place,)


class Handler4(Handler):
    """A handler that says itself where the function may go on: the numbers that its code answers with."""

    behind: list[int]

    @classmethod
    def of(cls, fields: tuple[int, ...], behind: list[int]) -> Handler4:
        """A handler that knows these addresses."""
        self = cls(*fields)
        self.behind = behind
        return self

    def goes_on(self, answer: int) -> int:
        """Where the function goes on: its code answers with an address, or with which of those addresses it is."""
        return self.behind[answer] if answer < len(self.behind) else answer
