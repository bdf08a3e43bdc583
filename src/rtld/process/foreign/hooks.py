"""Hooks in a guest: bindings that are told and redirected, calls through PLT slots that Python sees, interposition.

A watched slot holds the address of a trap. When the guest jumps there, Python has the caller's registers, tells ``pltenter``
and goes on at the function. The return address stays what it is, so unwinders and longjmp find nothing unusual: where a result
is wanted, the CPU is stopped at the block of code behind the call, when its stack pointer says that it is this call.
"""

from __future__ import annotations

import os
import struct
from collections import namedtuple

from rtld.backends.emulated.x87 import read_top, write_top
from rtld.elf.flat import flat
from rtld.elf.scalar import dynsym
from rtld.elf.tables import tables
from rtld.errors import FormatError, UnresolvedSymbol
from rtld.process.hooks import overridden

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    from rtld.core.module import Module, Namespace
    from rtld.process.foreign.guest import Guest
    from rtld.process.foreign.world import World
    from rtld.process.hooks import Hooks

#: A word that holds a symbol's address: where it is, relocation type, index in .dynsym, addend.
Place = namedtuple("Place", "address type symbol addend")

STACK_WORDS = 16  # of arguments that may be looked at


def places(world: World, module: Module) -> Iterator[Place]:
    """Every word of a mapped module that holds the address of a symbol."""
    arch, file = world.arch, module.file
    types, word = arch.reloc_types, arch.word
    kinds = {types.glob_dat, types.jump_slot, types.symbolic} - {None}
    unsigned, signed = flat(f"{file.order}u{word}"), flat(f"{file.order}i{word}")
    for table in tables(file).relocs:
        count = table.count - table.relative
        if count <= 0:
            continue
        first, step = table.position + table.relative * table.entsize, table.entsize
        end = first + (count - 1) * step + 1
        symbols, types_of = arch.rinfo.split(unsigned[first + word : end + word : step])
        offsets = unsigned[first:end:step].tolist()
        for row, (offset, symbol, kind) in enumerate(
            zip(offsets, symbols.tolist(), types_of.tolist(), strict=True)
        ):
            if kind not in kinds or not symbol:
                continue
            addend = 0
            if kind == types.symbolic:
                at = first + row * step + 2 * word
                addend = int(signed[at]) if table.is_rela else _stored(module, offset)
            yield Place(module.base + offset, kind, symbol, addend)


def _stored(module: Module, vaddr: int) -> int:
    """The addend that the file has in the place itself (REL)."""
    file, word = module.file, module.file.bits // 8
    try:
        at = file.file_offset(vaddr, word, "relocation")
    except FormatError:
        return 0  # in .bss
    order: Any = "little" if file.order == "<" else "big"
    return int.from_bytes(file.data[at : at + word], order, signed=True)


def interpose(
    world: World, guest: Guest, module: Module, name: str, function: Any
) -> Callable[[], None]:
    """Lead a library's own references to *name* elsewhere; the result undoes it."""
    table, encoded = dynsym(module.file), name.encode(errors="surrogateescape")
    mine = [place for place in places(world, module) if table.name(place.symbol) == encoded]
    if not mine:
        raise UnresolvedSymbol(module.path, name)
    target = guest.function_address(function)
    saved = [(place, world.read_word(place.address)) for place in mine]
    for place in mine:
        world.write_word(place.address, target + place.addend)

    def undo() -> None:
        if module in world.ns.modules:
            for place, value in saved:
                world.write_word(place.address, value)

    return undo


# -- calls --------------------------------------------------------------------------------------------


class GuestCall:
    """A call through a PLT slot (``rtld.process.hooks.Call``), of a guest."""

    def __init__(self, world: World, watch: Watch) -> None:
        self._world = world
        self._machine = machine = world.machine
        self.symbol = watch.symbol
        self.referrer = watch.referrer
        self.definer = watch.definer
        self.target = watch.target
        self.data: Any = None  # for the hook's own use between entering and leaving
        self._rules = world.caller.rules
        cpu = machine.cpu
        self._sp = machine.engine.get(cpu.sp)
        #: The return address; 0 where the stack pointer leads nowhere.
        self.caller = 0
        if cpu.link:
            self.caller = machine.engine.get(cpu.link)
        elif machine.memory.covers(self._sp, world.word):
            self.caller = machine.word(self._sp)

    @property
    def integers(self) -> Any:
        """The integer arguments in registers, to be read and assigned; on i386 the first six words of the stack."""
        registers = self._machine.cpu.arguments
        return (
            _Registers(self._machine.engine, registers)
            if registers
            else _Words(self._world, self._above, 6)
        )

    @property
    def floats(self) -> Any:
        """The floating-point arguments in registers, as doubles; none where there are no such registers."""
        return _Doubles(self._machine.engine, self._rules.floats)

    @property
    def stack(self) -> Any:
        """The first words of arguments on the stack, to be read and assigned."""
        return _Words(self._world, self._above, STACK_WORDS)

    @property
    def _above(self) -> int:
        return self._sp + int(self._rules.frame)

    @property
    def result(self) -> int:
        """The register with integer results, after the call."""
        return self._machine.engine.get(self._machine.cpu.result)

    @result.setter
    def result(self, value: int) -> None:
        self._machine.engine.set(self._machine.cpu.result, value & self._machine.kernel.mask)

    @property
    def float_result(self) -> float:
        """The register with floating-point results, as a double, after the call."""
        if self._machine.cpu.name == "i386":
            return read_top(self._machine.engine)
        return float(_Doubles(self._machine.engine, self._rules.float_results)[0])

    @float_result.setter
    def float_result(self, value: float) -> None:
        if self._machine.cpu.name == "i386":
            write_top(self._machine.engine, value)
        else:
            _Doubles(self._machine.engine, self._rules.float_results)[0] = value

    def __repr__(self) -> str:
        words = ", ".join([hex(word) for word in self.integers])
        return f"<Call {self.symbol}({words}) from {self.referrer.path}>"


class _Registers:
    """Registers as a list of integers."""

    def __init__(self, engine: Any, names: tuple[str, ...]) -> None:
        self._engine = engine
        self._names = names

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> int:
        value: int = self._engine.get(self._names[index])
        return value

    def __setitem__(self, index: int, value: int) -> None:
        self._engine.set(self._names[index], value & _WORD)


class _Doubles(_Registers):
    """The low halves of vector registers as doubles."""

    def __getitem__(self, index: int) -> Any:
        data = (super().__getitem__(index) & _WORD).to_bytes(8, "little")
        return struct.unpack("<d", data)[0]

    def __setitem__(self, index: int, value: float) -> None:
        name = self._names[index]
        (bits,) = struct.unpack("<Q", struct.pack("<d", value))
        self._engine.set(name, self._engine.get(name) & ~_WORD | bits)


class _Words:
    """Words of the guest's stack."""

    def __init__(self, world: World, address: int, count: int) -> None:
        self._world = world
        self._address = address
        self._count = count

    def __len__(self) -> int:
        return self._count

    def _at(self, index: int) -> int:
        return self._address + self._world.word * range(self._count)[index]

    def __getitem__(self, index: int) -> int:
        return self._world.read_word(self._at(index))

    def __setitem__(self, index: int, value: int) -> None:
        self._world.write_word(self._at(index), value)


_WORD = (1 << 64) - 1
_LINKS = {"s390x": ("r14", "r4")}  # gcc loads r4 where it has time to
_POPPED = ("i386", "x86_64", "arm")  # return addresses go from the stack to the program counter


class Watch(namedtuple("Watch", "symbol referrer definer target")):
    """A slot whose calls are seen."""

    __slots__ = ()


# -- auditing -----------------------------------------------------------------------------------------


class Audit:
    """Hooks at work in one guest."""

    def __init__(self, world: World, guest: Guest, hooks: Hooks) -> None:
        self.world = world
        self.guest = guest
        self.hooks = hooks
        self._binds = overridden(hooks, "symbind")
        self._calls = overridden(hooks, "watches")
        self._traps: dict[int, Watch] = {}
        self._free: list[int] = []
        self._of: dict[Module, list[int]] = {}
        self._waiting: dict[tuple[int, int], list[tuple[int, GuestCall]]] = {}
        self._even = -2 if world.arch.name == "arm" else -1  # bit 0 is Thumb's
        if self._calls:
            self._trail = world.machine.engine.trail()
        self._seen: set[int] = set()  # return addresses at which the CPU is looked at

    def bindings(self, ns: Namespace) -> dict[tuple[Module, int], Module]:
        """(referrer, symbol) -> definer of what has just been bound."""
        b = ns.bindings
        if b is None or not len(b) or not (self._binds or self._calls):
            return {}
        modules = b.modules
        columns = zip(b.referrer.tolist(), b.symbol.tolist(), b.definer.tolist(), strict=True)
        return {(modules[r], s): modules[d] for r, s, d in columns if d >= 0}

    def bound(
        self,
        modules: Iterable[Module],
        definers: Mapping[tuple[Module, int], Module],
        *,
        later: Callable[[Module], bool] | None = None,
    ) -> None:
        """New modules are in memory: tell of their bindings, redirect, watch. *later*: whose slots are bound at their first call."""
        if not (self._binds or self._calls):
            return
        world, mask = self.world, (1 << 8 * self.world.word) - 1
        slot = world.arch.reloc_types.jump_slot
        for module in modules:
            table, lazy = dynsym(module.file), later is not None and later(module)
            known: dict[tuple[int, bool], int] = {}
            for place in places(world, module):
                called = place.type == slot
                if called and lazy:
                    continue
                value = world.read_word(place.address) - place.addend & mask
                definer = definers.get((module, place.symbol))
                key = place.symbol, called
                if key not in known:
                    name = os.fsdecode(table.name(place.symbol))
                    known[key] = self.value(name, module, definer, value, called=called)
                if known[key] != value:
                    world.write_word(place.address, known[key] + place.addend)

    def value(
        self, symbol: str, referrer: Module, definer: Module | None, address: int, *, called: bool
    ) -> int:
        """What is stored for a symbol that was bound to that address; *called*: into a PLT slot."""
        if self._binds and definer is not None:
            found = self.hooks.symbind(symbol, referrer, definer, address)
            if not (isinstance(found, int) and found == address):
                address = self.guest.function_address(found)
        if called and address and self._calls and self.hooks.watches(symbol, referrer, definer):
            return self._trap(Watch(symbol, referrer, definer, address))
        return address

    def _trap(self, watch: Watch) -> int:
        if self._free:
            address = self._free.pop()
        else:
            made: list[int] = []
            address = self.world.machine.trap(lambda: self._enter(made[0]))
            made.append(address)
        self._traps[address] = watch
        self._of.setdefault(watch.referrer, []).append(address)
        return address

    def forget(self, modules: Iterable[Module]) -> None:
        """They are unmapped."""
        for module in modules:
            for address in self._of.pop(module, ()):
                del self._traps[address]
                self._free.append(address)

    # -- a call -----------------------------------------------------------------------------------------

    def _enter(self, address: int) -> int:
        """The guest has jumped to a watched slot's trap: where to go on."""
        watch = self._traps.get(address)
        if watch is None:
            return 0  # of a library that is not there any more: the guest has kept the address
        call = GuestCall(self.world, watch)
        if self.hooks.pltenter(call):
            self._await(address, call)
        return int(call.target)

    def _await(self, slot: int, call: GuestCall) -> None:
        """Stop where the call returns to."""
        machine = self.world.machine
        cpu = machine.cpu
        back = call.caller & self._even
        behind = call._sp + (0 if cpu.link else self.world.word)
        waiting = self._waiting.setdefault((back, behind), [])
        # Calls that wait at one place return together, if each has been left by a jump to the next. Otherwise those before
        # have been left by longjmp or an exception, and never return.
        if self._is_called(back):
            waiting.clear()
        elif not self._trail.works:
            waiting[:] = [each for each in waiting if each[0] != slot]
        waiting.append((slot, call))
        if back not in self._seen:
            self._seen.add(back)
            machine.engine.on_arrival(back, lambda: self._arrived(back))

    def _is_called(self, back: int) -> bool:
        """Has an instruction that returns to *back* led here, and not a jump of what was called?"""
        if not self._trail.works:
            return False
        traps = 0
        for start, size in self._trail.blocks():
            # Of traps there may be the one that has brought us here, and what fills lazy slots.
            if start in self._traps:
                traps += 1
                if traps > 1:
                    return False
            if start + size == back:
                return True
        return False

    def _arrived(self, back: int) -> None:
        """The CPU is where calls return to: does one of them?"""
        machine = self.world.machine
        sp = machine.engine.get(machine.cpu.sp)
        key = back, sp
        if key not in self._waiting and machine.cpu.name == "i386":
            key = back, sp - 4  # the callee has popped the address of its result
        if key in self._waiting:
            calls = self._waiting.pop(key)
            if self._has_returned(*key):
                machine.leave(back | machine.engine.thumb(), lambda: self._left(calls))

    def _has_returned(self, back: int, sp: int) -> bool:
        """Not so where a handler of an exception goes on behind the call that has thrown it: a return leaves its address
        in the register or on the stack it has come from.
        """
        machine, word = self.world.machine, self.world.word
        links = _LINKS.get(machine.cpu.name, (machine.cpu.link,) if machine.cpu.link else ())
        if any(machine.engine.get(name) & self._even == back for name in links):
            return True
        popped = machine.cpu.name in _POPPED and machine.memory.covers(sp - word, word)
        return popped and machine.word(sp - word) & self._even == back

    def _left(self, calls: list[tuple[int, GuestCall]]) -> None:
        """They have returned; the CPU stands still."""
        machine = self.world.machine
        resume = machine.resume
        for _slot, call in reversed(calls):
            self.hooks.pltexit(call)
        machine.resume = resume  # a hook that has called the guest left another
