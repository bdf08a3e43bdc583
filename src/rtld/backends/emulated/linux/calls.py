"""What all system calls share: the guest's words, strings and structures; how a call ends otherwise than by a result."""

from __future__ import annotations

import errno
import itertools
import struct
import time

from rtld.backends.emulated.linux.mips import (
    ERRNO_MIPS,
    mask_in,
    mask_out,
    signal_in,
    signal_out,
)
from rtld.backends.emulated.memory import READ, WRITE
from rtld.errors import TargetFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rtld.backends.emulated.cpus import Cpu
    from rtld.backends.emulated.engine import Engine
    from rtld.backends.emulated.machine import Machine
    from rtld.backends.emulated.memory import Memory

PATH_MAX = 4096
STRING_MAX = 1 << 17  # of an argument of execve (MAX_ARG_STRLEN)


class Ended(BaseException):
    """The program has ended, with that status: its own, or 128 + the number of the signal that ended it (``signal``)."""

    def __init__(self, status: int, number: int = 0) -> None:
        self.status = status
        self.signal = number
        super().__init__(status)

    def told(self) -> str:
        """Where a function was called, and no program started."""
        if not self.signal:
            return f"the function called exit({self.status})"
        from signal import strsignal

        return f"a signal ended the function: {self.signal}, {strsignal(self.signal)}"


class Replaced(BaseException):
    """The program has called execve: another one takes its place. Strings are bytes; ``fd`` is the file, open."""

    def __init__(self, fd: int, path: str, argv: list[bytes], env: list[bytes]) -> None:
        self.fd = fd
        self.path = path
        self.argv = argv
        self.env = env
        super().__init__(path)


_SERIALS = itertools.count()


class Sleep(Exception):
    """The call cannot be answered yet: the task sleeps, and makes the call again when it wakes.

    read, write  descriptors of the host's to wait for
    deadline     of time.monotonic(): then it is made again, too
    futex        the address to be woken through; the call is then answered with 0, after the deadline with ETIMEDOUT
    children     wake when a child has ended;  bits: of FUTEX_WAIT_BITSET
    signals      wake when one of this mask has come;  pause: make the call again after so many seconds
    """

    def __init__(
        self,
        *,
        read: tuple[int, ...] = (),
        write: tuple[int, ...] = (),
        deadline: float | None = None,
        futex: int | None = None,
        children: bool = False,
        bits: int = 0xFFFFFFFF,
        signals: int = 0,
        pause: float = 0,
    ) -> None:
        self.read = read
        self.write = write
        self.deadline = deadline
        self.futex = futex
        self.children = children
        self.bits = bits
        self.signals = signals
        self.again = time.monotonic() + pause if pause else None
        self.serial = next(_SERIALS)  # who sleeps longer has a lower one
        #: Done when a handler ends the call with EINTR.
        self.broken: Callable[[], None] | None = None
        #: What the call has done already: its result then, in place of EINTR.
        self.done = 0
        super().__init__()


class Away(Exception):
    """The call has no result: *action* changes what runs, when the CPU stands still."""

    def __init__(self, action: Callable[[], object]) -> None:
        self.action = action
        super().__init__()


def failed(number: int) -> OSError:
    """The error a call ends with."""
    return OSError(number, errno.errorcode.get(number, ""))


class Calls:
    """The guest's memory as structures. Base of all subjects."""

    cpu: Cpu
    machine: Machine
    memory: Memory
    engine: Engine

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.cpu = machine.cpu
        self.engine = machine.engine
        self.memory = machine.memory
        self.bits = self.cpu.bits
        self.word = self.bits // 8
        self._letter = "Q" if self.bits == 64 else "I"
        self.mask = (1 << self.bits) - 1
        self.is_mips = self.cpu.name in ("mips64el", "mipsel")
        self.order: Any = "little" if self.cpu.order == "<" else "big"

    def words(self, address: int, count: int) -> tuple[int, ...]:
        """So many pointers or longs."""
        view = self.memory.view(address, count * self.word, READ)
        return struct.unpack(f"{self.cpu.order}{count}{self._letter}", view)

    def read32(self, address: int) -> int:
        return int.from_bytes(self.memory.view(address, 4, READ), self.order)

    def write32(self, address: int, value: int) -> None:
        self.put(address, (value & 0xFFFFFFFF).to_bytes(4, self.order))

    def unpack(self, form: str, address: int) -> tuple[Any, ...]:
        """A structure; *form* as ``struct`` has it, "L" being a long of the CPU's."""
        real = struct.Struct(
            self.cpu.order + form.replace("L", self._letter).replace("l", self._letter.lower())
        )
        return real.unpack(self.memory.view(address, real.size, READ))

    def pack(self, form: str, *values: Any) -> bytes:
        letters = form.replace("L", self._letter).replace("l", self._letter.lower())
        return struct.pack(self.cpu.order + letters, *values)

    def put(self, address: int, data: bytes | memoryview) -> None:
        """Write where the guest itself may write."""
        self.memory.view(address, len(data), WRITE)[:] = data
        self.memory.changed(address, len(data))

    def string(self, address: int, most: int = PATH_MAX) -> bytes:
        """The bytes up to the NUL. ENAMETOOLONG beyond *most*."""
        parts: list[bytes] = []
        left = most
        while left > 0:
            size = min(0x1000 - address % 0x1000, left)
            data = bytes(self.memory.view(address, size, READ))
            end = data.find(0)
            if end >= 0:
                return b"".join([*parts, data[:end]])
            parts.append(data)
            address += size
            left -= size
        raise failed(errno.ENAMETOOLONG)

    def strings(self, address: int) -> list[bytes]:
        """An array of strings that ends with a null pointer."""
        found: list[bytes] = []
        while address:
            (pointer,) = self.words(address, 1)
            if not pointer:
                break
            if len(found) > 0x10000:
                raise failed(errno.E2BIG)
            found.append(self.string(pointer, STRING_MAX))
            address += self.word
        return found

    # -- signals, whose numbers are otherwise on MIPS -------------------------------------------------

    @property
    def mask_size(self) -> int:
        """Bytes of a set of signals."""
        return 16 if self.is_mips else 8

    def read_mask(self, address: int) -> int:
        """A set of signals, bit 0 being signal 1."""
        (mask,) = self.unpack("Q", address)
        return mask_in(mask) if self.is_mips else int(mask)

    def mask_bytes(self, mask: int) -> bytes:
        """The same as the guest has it."""
        return self.pack("QQ", mask_out(mask), 0) if self.is_mips else self.pack("Q", mask)

    def signal_number(self, number: int) -> int:
        """A signal that the guest has named. EINVAL."""
        if not 0 <= number <= 64:
            raise failed(errno.EINVAL)
        return signal_in(number) if self.is_mips else number

    def signal_out(self, number: int) -> int:
        """A signal as the guest counts it."""
        return signal_out(number) if self.is_mips else number

    @property
    def _stack_form(self) -> str:
        """stack_t; MIPS has the size before the flags."""
        if self.is_mips:
            return "LLI4x" if self.bits == 64 else "LLI"
        return "LI4xL" if self.bits == 64 else "LIL"

    def read_stack(self, address: int) -> tuple[int, int, int]:
        """Address, flags, size of a stack_t."""
        start, one, other = self.unpack(self._stack_form, address)
        return (start, other, one) if self.is_mips else (start, one, other)

    def stack_bytes(self, start: int, flags: int, size: int) -> bytes:
        """A stack_t."""
        rest = (size, flags) if self.is_mips else (flags, size)
        return self.pack(self._stack_form, start, *rest)

    def stacked(self, offset: int) -> list[int]:
        """The fifth argument and those behind it, where a CPU has registers for four; zeros where there is no stack."""
        try:
            return list(self.words(self.engine.get(self.cpu.sp) + offset, 2))
        except TargetFault:
            return [0, 0]

    def give_result(self, result: int) -> None:
        """The result of a system call, or -errno, where the guest expects it."""
        entry = self.cpu.entry
        if entry.error:
            wrong = -4096 < result < 0
            self.engine.set(entry.error, int(wrong))
            result = ERRNO_MIPS.get(-result, -result) if wrong else result
        self.engine.set(entry.result, result & self.mask)

    def signed(self, value: int) -> int:
        """An argument as a long."""
        return value - (1 << self.bits) if value >> (self.bits - 1) else value

    def pair(self, low: int, high: int) -> int:
        """A signed 64-bit argument of a 32-bit CPU."""
        if self.cpu.order == ">":
            low, high = high, low
        value = (high & 0xFFFFFFFF) << 32 | low & 0xFFFFFFFF
        return value - (1 << 64) if value >> 63 else value


def int32(value: int) -> int:
    """An argument as an int."""
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value
