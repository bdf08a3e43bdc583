"""KUSER_SHARED_DATA (ntddk.h): the page at 0x7ffe0000 in which every program can read clocks and what Windows it is.

It is made when a program reads there first: clocks are looked at when they are read, so no thread has to keep them.
"""

from __future__ import annotations

import struct
import time

from rtld.backends.windows.kernel32_time import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.backends.emulated.engine import Engine
    from rtld.backends.emulated.memory import Memory
    from rtld.backends.windows.system import System

ADDRESS, SIZE = 0x7FFE0000, 0x1000
_INTERRUPT, _SYSTEM, _TICKS = 0x08, 0x14, 0x320  # KSYSTEM_TIME: low, high, high again
_FEATURES = 0x274
_PRESENT = (3, 6, 8, 10, 13, 14)  # PF_*: MMX, SSE, RDTSC, SSE2, SSE3, CMPXCHG16B


class SharedData:
    """The page of one process."""

    def __init__(self, system: System) -> None:
        self.system = system
        data = bytearray(SIZE)
        multiplier = 0x0FA00000  # of ticks: 15.625 ms in 2**-24 ms
        struct.pack_into("<II", data, 0, 0, multiplier)
        root = "C:\\windows".encode("utf-16-le")
        data[0x30 : 0x30 + len(root)] = root
        machine = 0x8664 if system.bits == 64 else 0x14C
        struct.pack_into("<HH", data, 0x2C, machine, machine)
        struct.pack_into(
            "<II?xHII", data, 0x260, 7601, 1, True, 9 if system.bits == 64 else 0, 6, 1
        )
        for number in _PRESENT:
            data[_FEATURES + number] = 1
        struct.pack_into("<q", data, 0x300, 10_000_000)  # QpcFrequency
        struct.pack_into("<I", data, 0x3C0, 1)  # ActiveProcessorCount
        self._data = data

    def map(self, engine: Engine, memory: Memory) -> None:
        """From now on the CPU reads it; functions of ours read what it is now."""
        self.read(_INTERRUPT, 8)
        self.read(_TICKS, 8)
        memory.lend(ADDRESS, bytes(self._data))
        engine.map_reader(ADDRESS, SIZE, self.read)

    def read(self, offset: int, size: int) -> int:
        """What is there now."""
        if offset < 0x20:
            elapsed = int((time.monotonic() - self.system.started) * 10_000_000) + 1_000_000_000
            self._time(_INTERRUPT, elapsed)
            self._time(_SYSTEM, now())
        elif _TICKS <= offset < _TICKS + 12:
            ticks = int((time.monotonic() - self.system.started) * 64) + 6400
            self._time(_TICKS, ticks)
        return int.from_bytes(self._data[offset : offset + size], "little")

    def _time(self, at: int, value: int) -> None:
        struct.pack_into("<QI", self._data, at, value, value >> 32)
