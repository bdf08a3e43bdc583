"""The CPU. The only file that knows Unicorn: registers, mapped memory, running, what the guest's CPU asks for."""

from __future__ import annotations

import ctypes
import functools
import importlib
import sys

from rtld.backends.emulated.brake import Brake
from rtld.errors import TargetFault, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from rtld.backends.emulated.cpus import Cpu

EXTRA = "emulate"
_ACCESS = {"READ": "read", "WRITE": "write", "FETCH": "instruction fetch"}
_WORDS = {"UNMAPPED": "where nothing is mapped", "PROT": "which is not allowed there"}


def load_unicorn() -> Any:
    """The package. Unsupported says how to get it."""
    try:
        return importlib.import_module("unicorn")
    except ImportError as error:
        raise Unsupported(
            f"emulating a CPU needs the package unicorn ({error})", f"pip install 'rtld[{EXTRA}]'"
        ) from None


class Stopped(Exception):
    """The CPU cannot go on: Unicorn's number and words for it."""


class _Closed:
    """In Unicorn's place when its memory is gone."""

    def __getattr__(self, name: str) -> object:
        raise TargetFault("this emulated CPU has been closed")


class Bank:
    """Some registers, to be read together: one call of Unicorn's library, a fifth of the time of its Python face."""

    __slots__ = ("_arguments", "_read", "_step", "_uc", "_values")

    def __init__(self, uc: Any, library: Any, numbers: list[int], width: int = 8) -> None:
        count = len(numbers)
        self._uc = uc  # kept: the handle below is only a number
        self._step = width // 8
        self._values = (
            ctypes.c_uint64 * (count * self._step)
        )()  # a 32-bit register fills its low half: the host is little-endian
        here = ctypes.addressof(self._values)
        places = (ctypes.c_void_p * count)(*range(here, here + width * count, width))
        self._arguments = (uc._uch, (ctypes.c_int * count)(*numbers), places, count)
        self._read = library.uc_reg_read_batch

    def read(self) -> list[int]:
        """Their values; the lowest 64 bits of each."""
        self._read(*self._arguments)
        return self._values[:: self._step]


def _address(context: Any) -> int:
    return ctypes.cast(context.context, ctypes.c_void_p).value or 0


@functools.cache
def _in_flight(unicorn: Any) -> int | None:
    """Where in saved registers the exception in flight is noted, found out by one; None: it is not there."""
    constants = importlib.import_module("unicorn.x86_const")
    uc = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64)
    uc.mem_map(0x1000, 0x1000)
    uc.mem_write(0x1000, b"\x31\xd2\xf7\xf2\xf4")  # xor %edx, %edx; div %edx; hlt
    uc.hook_add(unicorn.UC_HOOK_INTR, lambda *_: uc.emu_stop())
    pictures = []
    for until in (0x1002, 1):
        uc.emu_start(uc.reg_read(constants.UC_X86_REG_RIP) or 0x1000, until)
        pictures.append(bytes(uc.context_save()))
    before, after = pictures
    places = [
        at for at in range(0, len(before) - 3, 4)
        if before[at : at + 4] == b"\xff" * 4 and after[at : at + 4] == bytes(4)
    ]  # fmt: skip
    return places[0] if len(places) == 1 else None


class Engine:
    """A CPU that can be run. Memory is somebody else's, and mapped into it."""

    def __init__(self, cpu: Cpu) -> None:
        unicorn = load_unicorn()
        if sys.byteorder != "little":
            raise Unsupported("CPUs are emulated on little-endian machines only")
        self.cpu = cpu
        self._u = unicorn
        architecture, *modes = (getattr(unicorn, name) for name in cpu.engine)
        self._uc: Any = unicorn.Uc(architecture, sum(modes))
        family = cpu.engine[0].removeprefix("UC_ARCH_")
        constants = importlib.import_module(f"unicorn.{family.lower()}_const")
        self._numbers: dict[str, int] = {
            name.removeprefix(f"UC_{family}_REG_").lower(): value
            for name, value in vars(constants).items()
            if name.startswith(f"UC_{family}_REG_")
        }
        self._library = importlib.import_module("unicorn.unicorn_py3.unicorn").uclib
        self._syscall_instruction = getattr(constants, "UC_X86_INS_SYSCALL", None)
        self._thumb = family == "ARM"
        #: The last access that failed: words, address.
        self.refused: tuple[str, int] | None = None
        self.wanted = (0, 0, False)  # the same: address, size, whether it was to be written
        self.in_hook = False
        self._stops: frozenset[int] = frozenset()
        self._uc.hook_add(unicorn.UC_HOOK_MEM_INVALID, self._on_refused)
        self._brake = Brake(self._uc, self._library)
        self._access = {
            getattr(unicorn, f"UC_MEM_{access}_{kind}"): (_ACCESS[access], _WORDS[kind])
            for access in _ACCESS
            for kind in _WORDS
        }

    # -- registers ----------------------------------------------------------------------------------

    def get(self, register: str) -> int:
        value: int = self._uc.reg_read(self._numbers[register])
        return value

    def set(self, register: str, value: int) -> None:
        self._uc.reg_write(self._numbers[register], value)

    def set_table(self, register: str, base: int, limit: int) -> None:
        """A register of x86 that says where a descriptor table is."""
        self._uc.reg_write(self._numbers[register], (0, base, limit, 0))

    def bank(self, *registers: str, width: int = 8) -> Bank:
        """Registers of up to *width* bytes that are often read together."""
        numbers = [self._numbers[name] for name in registers]
        return Bank(self._uc, self._library, numbers, width)

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
        place = _in_flight(self._u)
        if place is not None:
            context = self._uc.context_save()
            ctypes.c_int32.from_address(_address(context) + place).value = -1
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
            self._uc.emu_start(start, until, 0, count)
        except self._u.UcError as error:
            raise Stopped(error.errno, str(error)) from None
        finally:
            self.in_hook = outer

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
        unicorn = self._u
        return error.args[0] in (unicorn.UC_ERR_INSN_INVALID, unicorn.UC_ERR_EXCEPTION)

    # -- hooks --------------------------------------------------------------------------------------

    def _on_refused(
        self, _uc: Any, access: int, address: int, size: int, _value: int, _data: Any
    ) -> bool:
        verb, reason = self._access[access]
        many = "" if verb == _ACCESS["FETCH"] else f" of {size} byte{'s' * (size != 1)}"
        self.refused = f"{verb}{many} at {address:#x}, {reason}", address
        self.wanted = address, size, verb == _ACCESS["WRITE"]
        return False

    def on_interrupt(self, handler: Callable[[int], None]) -> None:
        """Told the number of every exception, system calls among them."""

        def hook(_uc: Any, number: int, _data: Any) -> None:
            self.in_hook = True
            try:
                handler(number)
            finally:
                self.in_hook = False

        self._uc.hook_add(self._u.UC_HOOK_INTR, hook)

    def on_syscall_instruction(self, handler: Callable[[], None]) -> None:
        """Of x86-64, where it is no exception."""

        def hook(_uc: Any, _data: Any) -> None:
            self.in_hook = True
            try:
                handler()
            finally:
                self.in_hook = False

        self._uc.hook_add(self._u.UC_HOOK_INSN, hook, None, 1, 0, self._syscall_instruction)

    def on_block(self, low: int, high: int, handler: Callable[[int], None]) -> object:
        """Told the address of every block of code in [low, high] that runs, until ``remove``. Slow."""

        def hook(_uc: Any, address: int, _size: int, _data: Any) -> None:
            handler(address)

        return self._added(self._u.UC_HOOK_BLOCK, hook, low, high)

    def on_access(
        self, low: int, high: int, handler: Callable[[bool, int, int, int], None]
    ) -> object:
        """Told of every access to [low, high], until ``remove``: is it a write, address, size, value that is written. Slow."""
        write = self._u.UC_MEM_WRITE

        def hook(_uc: Any, access: int, address: int, size: int, value: int, _data: Any) -> None:
            handler(access == write, address, size, value)

        kinds = self._u.UC_HOOK_MEM_READ | self._u.UC_HOOK_MEM_WRITE
        return self._added(kinds, hook, low, high)

    def _added(self, kinds: int, hook: Callable[..., Any], low: int, high: int) -> object:
        handle: object = self._uc.hook_add(kinds, hook, None, low, high)
        self._uc.ctl_flush_tb()  # code that has been translated knows nothing of it
        return handle

    def remove(self, handle: object) -> None:
        """Take a hook away."""
        self._uc.hook_del(handle)
        self._uc.ctl_flush_tb()
