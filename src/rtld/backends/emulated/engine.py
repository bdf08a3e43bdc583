"""The CPU: registers, mapped memory, running, what the guest's CPU asks for."""

from __future__ import annotations

import ctypes
import functools
import mmap
import struct

from rtld.backends.emulated.blockcount import BlockCount
from rtld.backends.emulated.brake import Brake
from rtld.backends.emulated.gate import NOTHING, Gate
from rtld.backends.emulated.libunicorn import (
    ACCESS_HOOK,
    BLOCK_HOOK,
    REFUSED_HOOK,
    Uc,
    UcError,
    library,
)
from rtld.backends.emulated.repairs import repair
from rtld.backends.emulated.trail import Trail
from rtld.errors import TargetFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from rtld.backends.emulated.cpus import Cpu

_ACCESS = {"READ": "read", "WRITE": "write", "FETCH": "instruction fetch"}
_WORDS = {"UNMAPPED": "where nothing is mapped", "PROT": "which is not allowed there"}
#: Registers of more than 64 bits: family -> how their names begin, before a number.
_WIDE = {"X86": ("xmm", "ymm", "zmm"), "ARM64": ("q", "v"), "ARM": ("q",)}
_X87 = ("st", "fp")  # of 80 bits: (mantissa, sign and exponent)


class Stopped(Exception):
    """The CPU cannot go on: Unicorn's number and words for it."""


class _Closed:
    """In Unicorn's place when its memory is gone."""

    def __getattr__(self, name: str) -> object:
        raise TargetFault("this emulated CPU has been closed")


class Bank:
    """Some registers, to be read together: one call of Unicorn's library."""

    __slots__ = ("_arguments", "_kept", "_read", "_step", "_values", "_write")

    def __init__(self, uc: Uc, numbers: list[int], width: int = 8) -> None:
        count = len(numbers)
        self._step = width // 8
        self._values = (
            ctypes.c_uint64 * (count * self._step)
        )()  # a 32-bit register fills its low half: the host is little-endian
        here = ctypes.addressof(self._values)
        places = (ctypes.c_void_p * count)(*range(here, here + width * count, width))
        listed = (ctypes.c_int * count)(*numbers)
        self._kept = uc, places, listed
        self._arguments = (uc.handle, ctypes.addressof(listed), ctypes.addressof(places), count)
        self._read = uc.library.c.uc_reg_read_batch
        self._write = uc.library.c.uc_reg_write_batch

    def read(self) -> list[int]:
        """Their values; the lowest 64 bits of each."""
        self._read(*self._arguments)
        return self._values[:: self._step]

    def write(self, *values: int) -> None:
        """Set them, registers of up to 64 bits."""
        self._values[:] = list(values)
        self._write(*self._arguments)

    def read_bytes(self) -> bytes:
        """The same with all their bytes, the lowest first."""
        self._read(*self._arguments)
        return bytes(self._values)


@functools.cache
def _in_flight() -> int | None:
    """Where in saved registers the exception in flight is noted, found out by one; None: it is not there."""
    numbers = library().numbers
    uc = Uc(numbers["UC_ARCH_X86"], numbers["UC_MODE_64"])
    memory = mmap.mmap(-1, mmap.PAGESIZE)
    memory.write(b"\x31\xd2\xf7\xf2\xf4")  # xor %edx, %edx; div %edx; hlt
    at = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    uc.mem_map_ptr(0x1000, mmap.PAGESIZE, numbers["UC_PROT_ALL"], at)

    def stop() -> int:
        uc.emu_stop()
        return NOTHING

    pc = (library().constants("x86_const")["UC_X86_REG_RIP"],)
    gate = Gate(uc, pc, pc, stop)  # kept: the engine calls code in it
    gate.on_interrupt(numbers["UC_HOOK_INTR"])
    pictures = []
    for begin, until in ((0x1000, 0x1002), (0x1002, 1)):
        uc.emu_start(begin, until)
        pictures.append(uc.context_save().picture())
    before, after = pictures
    places = [
        at for at in range(0, len(before) - 3, 4)
        if before[at : at + 4] == b"\xff" * 4 and after[at : at + 4] == bytes(4)
    ]  # fmt: skip
    return places[0] if len(places) == 1 else None


class Engine:
    """A CPU that can be run. Memory is somebody else's, and mapped into it."""

    def __init__(self, cpu: Cpu) -> None:
        c = library()
        repairs = repair(c, cpu.name)
        self.cpu = cpu
        self._u = c.numbers
        architecture, *modes = (self._u[name] for name in cpu.engine)
        self._uc: Any = Uc(architecture, sum(modes))
        repairs.watch(self._uc, cpu.name)
        family = cpu.engine[0].removeprefix("UC_ARCH_")
        prefix = f"UC_{family}_REG_"
        table = c.constants(f"{family.lower()}_const")
        self._numbers: dict[str, int] = {
            name[len(prefix) :].lower(): value
            for name, value in table.items()
            if name.startswith(prefix)
        }
        self._wide = self._family(_WIDE.get(family, ()))
        self._x87 = self._family(_X87)
        self._syscall_instruction = table.get("UC_X86_INS_SYSCALL", 0)
        if cpu.model:
            self._uc.ctl_set_cpu_model(table[cpu.model])
        self._thumb = family == "ARM"
        self._refusal: tuple[int, int, int] | None = None
        self.ground = 0  # an address where code may always be; 0: there is none yet
        self.in_hook = False
        self._stops: frozenset[int] = frozenset()
        self._add("UC_HOOK_MEM_INVALID", REFUSED_HOOK, self._on_refused)
        self._brake = Brake(self._uc)
        self._counter: BlockCount | None = None
        self._trail: Trail | None = None

    # -- registers ----------------------------------------------------------------------------------

    def _family(self, letters: tuple[str, ...]) -> frozenset[str]:
        """The registers of these names with a number."""
        return frozenset(
            name
            for name in self._numbers
            if name not in letters and name.rstrip("0123456789") in letters
        )

    def get(self, register: str) -> int:
        """Its value, a number; but of an x87 register (mantissa, sign and exponent)."""
        number = self._numbers[register]
        if register in self._wide:
            value: int = self._uc.reg_read_wide(number)
        elif register in self._x87:
            value = self._uc.reg_read_x87(number)
        else:
            value = self._uc.reg_read(number)
        return value

    def set(self, register: str, value: Any) -> None:
        """As ``get`` gives it; as much of a number as fits into the register."""
        number = self._numbers[register]
        if register in self._wide:
            data = (value & (1 << 512) - 1).to_bytes(64, "little")
            self._uc.reg_write_wide(number, data)
        elif register in self._x87:
            self._uc.reg_write_wide(number, struct.pack("<QH", *value))
        else:
            self._uc.reg_write(number, value)

    def set_table(self, register: str, base: int, limit: int) -> None:
        """A register of x86 that says where a descriptor table is (unicorn/x86.h: uc_x86_mmr)."""
        data = struct.pack("<H6xQII", 0, base, limit, 0)
        self._uc.reg_write_wide(self._numbers[register], data)

    def bank(self, *registers: str, width: int = 8) -> Bank:
        """Registers of up to *width* bytes that are often read together."""
        numbers = [self._numbers[name] for name in registers]
        return Bank(self._uc, numbers, width)

    def resume_at(self) -> int:
        """Where to go on: the program counter, with bit 0 set in Thumb state."""
        pc = self.get(self.cpu.pc)
        return pc | (self.get("cpsr") >> 5 & 1) if self._thumb else pc

    def thumb(self) -> int:
        """1 in Thumb state, else 0."""
        return self.get("cpsr") >> 5 & 1 if self._thumb else 0

    def save(self) -> object:
        """All registers."""
        context: object = self._uc.context_save()
        return context

    def restore(self, context: object) -> None:
        self._uc.context_restore(context)

    def exception_over(self) -> None:
        """The exception of x86 that a hook was told of is dealt with: the next one is no double fault (quirks)."""
        place = _in_flight()
        if place is not None:
            context = self._uc.context_save()
            ctypes.c_int32.from_address(context.handle + place).value = -1
            self._uc.context_restore(context)

    # -- memory -------------------------------------------------------------------------------------

    def map(self, start: int, size: int, rights: int, pointer: int) -> None:
        """Make host memory at *pointer* the guest's at *start*."""
        self._uc.mem_map_ptr(start, size, rights, pointer)

    def protect(self, start: int, size: int, rights: int, pointer: int) -> None:
        """Change the rights of a region, or of a part of one."""
        if self.cpu.remaps:
            self._uc.mem_unmap(start, size)
            self._uc.mem_map_ptr(start, size, rights, pointer)
        else:
            self._uc.mem_protect(start, size, rights)

    def unmap(self, start: int, size: int) -> None:
        self._uc.mem_unmap(start, size)

    def map_reader(self, start: int, size: int, read: Callable[[int, int], int]) -> None:
        """Pages without memory: what is read there (offset, size) *read* says. They cannot be written."""
        self._uc.mmio_map(start, size, read)

    def forget(self, start: int, end: int) -> None:
        """Drop the translation of the code there."""
        self._uc.ctl_remove_cache(start, end)

    # -- running ------------------------------------------------------------------------------------

    def stop_at(self, addresses: Iterable[int]) -> None:
        """Breakpoints: ``run`` ends before each of these instructions, too; none: as it was."""
        wanted = frozenset(addresses)
        if wanted == self._stops:
            return
        for address in wanted ^ self._stops:
            self._uc.ctl_remove_cache(address, address + 1)  # ends are translated into the code
        self._stops = wanted
        self._uc.ctl_exits_enabled(bool(wanted))

    def run(self, start: int, until: int, count: int = 0) -> None:
        """Run until that address, so many instructions, or ``stop``. Stopped; what a hook raises is raised here."""
        outer, self.in_hook = self.in_hook, False
        self._brake.release()
        if self._stops:
            self._uc.ctl_set_exits([*self._stops, until])
        try:
            self._uc.emu_start(start, until, count)
        except UcError as error:
            self._settle()
            raise Stopped(error.errno, str(error)) from None
        except BaseException:
            self._settle()
            raise
        finally:
            self.in_hook = outer

    def _settle(self) -> None:
        """After a fault: what a translation has left that was broken off is gone when one comes to its end (quirks)."""
        if not self.cpu.begins or not self.ground:
            return
        context, ground = self.save(), self.ground
        self.forget(ground, ground + 1)
        if self._stops:
            self._uc.ctl_set_exits([ground])
        self._uc.emu_start(ground, ground)
        self.restore(context)

    def stop(self) -> None:
        """From a hook."""
        self._uc.emu_stop()

    def stop_soon(self) -> None:
        """From another thread."""
        if self._brake.works:
            self._brake.pull()
        else:
            self._uc.emu_stop()  # and what ran last may run again (quirks)

    def close(self) -> None:
        """Nothing can be run any more; whose memory it was may unmap it."""
        self._uc = _Closed()

    def illegal(self, error: Stopped) -> bool:
        """It was an instruction that the CPU does not have."""
        return error.args[0] in (self._u["UC_ERR_INSN_INVALID"], self._u["UC_ERR_EXCEPTION"])

    # -- hooks --------------------------------------------------------------------------------------

    def _add(
        self, kinds: str, callback: Any, hook: Callable[..., Any], low: int = 1, high: int = 0
    ) -> int:
        kind = sum(self._u[name] for name in kinds.split())
        handle: int = self._uc.hook_add(kind, callback(self._uc.guarded(hook)), low=low, high=high)
        return handle

    def _on_refused(self, access: int, address: int, size: int) -> bool:
        self._refusal = access, address, size
        return False

    def allow(self) -> None:
        """Forget the last access that failed."""
        self._refusal = None

    @property
    def refused(self) -> tuple[str, int] | None:
        """The last access that failed since ``allow``: words, address."""
        if self._refusal is None:
            return None
        access, address, size = self._refusal
        verb, reason = next(
            (_ACCESS[kind], _WORDS[why])
            for kind in _ACCESS
            for why in _WORDS
            if self._u[f"UC_MEM_{kind}_{why}"] == access
        )
        many = "" if verb == _ACCESS["FETCH"] else f" of {size} byte{'s' * (size != 1)}"
        return f"{verb}{many} at {address:#x}, {reason}", address

    @property
    def wanted(self) -> tuple[int, int, bool] | None:
        """The same: address, size, whether it was to be written."""
        if self._refusal is None:
            return None
        access, address, size = self._refusal
        writes = self._u["UC_MEM_WRITE_UNMAPPED"], self._u["UC_MEM_WRITE_PROT"]
        return address, size, access in writes

    def gate(
        self,
        read: Sequence[str],
        write: Sequence[str],
        handler: Callable[[], int],
        *,
        syscall: bool,
    ) -> Gate:
        """A gate for every exception, system calls among them; *syscall*: and for x86-64's instruction, which is none."""
        numbers, failed = self._numbers, self._uc.failed

        def hook() -> int:
            self.in_hook = True
            try:
                return handler()
            except BaseException as error:
                failed(error)
                return NOTHING
            finally:
                self.in_hook = False

        gate = Gate(self._uc, [numbers[r] for r in read], [numbers[r] for r in write], hook)
        gate.on_interrupt(self._u["UC_HOOK_INTR"])
        if syscall:
            gate.on_instruction(self._u["UC_HOOK_INSN"], self._syscall_instruction)
        return gate

    def on_block(self, low: int, high: int, handler: Callable[[int], None]) -> object:
        """Told the address of every block of code in [low, high] that runs, until ``remove``. Slow."""
        return self._added("UC_HOOK_BLOCK", BLOCK_HOOK, handler, low, high)

    def count_blocks(self, span: int) -> BlockCount:
        """A counter of the blocks of code that run at the first *span* addresses."""
        self._counter = BlockCount(self._uc, span)  # kept: the engine writes into it
        return self._counter

    def trail(self) -> Trail:
        """The blocks of code that ran last."""
        if self._trail is None:
            self._trail = Trail(self._uc)
            self._uc.ctl_flush_tb()  # code that has been translated leaves none
        return self._trail

    def on_arrival(self, address: int, handler: Callable[[], None]) -> None:
        """Told whenever the block of code at that address is about to run, from now on; translated code elsewhere is kept."""

        def hook(_address: int) -> None:
            handler()

        self._add("UC_HOOK_BLOCK", BLOCK_HOOK, hook, address, address)
        self._uc.ctl_remove_cache(address, address + 1)

    def on_access(
        self, low: int, high: int, handler: Callable[[bool, int, int, int], None]
    ) -> object:
        """Told of every access to [low, high], until ``remove``: is it a write, address, size, value that is written. Slow."""
        write = self._u["UC_MEM_WRITE"]

        def hook(access: int, address: int, size: int, value: int) -> None:
            handler(access == write, address, size, value)

        return self._added("UC_HOOK_MEM_READ UC_HOOK_MEM_WRITE", ACCESS_HOOK, hook, low, high)

    def _added(
        self, kinds: str, callback: Any, hook: Callable[..., Any], low: int, high: int
    ) -> object:
        handle = self._add(kinds, callback, hook, low, high)
        self._uc.ctl_flush_tb()  # code that has been translated knows nothing of it
        return handle

    def remove(self, handle: object) -> None:
        """Take a hook away."""
        self._uc.hook_del(handle)
        self._uc.ctl_flush_tb()
