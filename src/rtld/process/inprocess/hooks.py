"""A hand in every binding: interposition in one library, and auditing hooks with the powers of LD_AUDIT (rtld-audit(7)).

``places`` are the words of a library that hold the address of a symbol: they are found in its relocation records, so nothing
has to be remembered of how it was bound, and changed through the page's protection.
"""

from __future__ import annotations

import ctypes
import os
from collections import namedtuple

from rtld.arch.x86_64_inprocess import watch_thunk
from rtld.backends import inprocess as machine
from rtld.elf import types as t
from rtld.elf.scalar import dynsym
from rtld.elf.small import records_with_symbols
from rtld.errors import UnresolvedSymbol
from rtld.process.hooks import overridden

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from rtld.core.module import Module
    from rtld.process.hooks import Hooks
    from rtld.process.inprocess.load import Loading
    from rtld.process.inprocess.space import Process, Space

#: A word that holds a symbol's address: where it is, relocation type, index in .dynsym, addend.
Place = namedtuple("Place", "address type symbol addend")

_SYMBOLIC, _GLOB_DAT, _JUMP_SLOT = 1, 6, 7
_WORD = (1 << 64) - 1


def places(module: Module) -> Iterator[Place]:
    """Every word of a mapped module that holds the address of a symbol."""
    for offset, kind, symbol, addend in records_with_symbols(module.file):
        if kind in (_SYMBOLIC, _GLOB_DAT, _JUMP_SLOT):
            yield Place(module.base + offset, kind, symbol, addend if kind == _SYMBOLIC else 0)


def poke(module: Module, address: int, value: int) -> None:
    """Store a word of a module; PT_GNU_RELRO and text are opened for it."""
    relro = module.file.segment(t.PT_GNU_RELRO)
    vaddr = address - module.base
    closed = relro is not None and relro.vaddr & -4096 <= vaddr < (
        relro.vaddr + relro.memsz & -4096
    )
    writable = any(
        s.flags & t.PF_W and s.vaddr <= vaddr < s.vaddr + s.memsz for s in module.file.loads
    )
    if writable and not closed:
        machine.write_word(address, value)
    else:
        machine.poke(
            address, value, machine.PROT_READ if writable else machine.PROT_READ | machine.PROT_EXEC
        )


class Redirection:
    """Words of a module that lead to *function*, and what they held before. None: to a thunk that asks Python."""

    __slots__ = ("function", "saved", "values")

    def __init__(self, module: Module, values: dict[int, int], function: Any) -> None:
        self.function = function
        self.values = values
        self.saved = {address: machine.read_word(address) for address in values}
        self.apply(module)

    def apply(self, module: Module) -> None:
        """Store the words."""
        for address, value in self.values.items():
            poke(module, address, value)

    def undo(self, module: Module, later: list[Redirection]) -> None:
        """Give back what was there; what has been redirected again since stays so."""
        for address, value in self.saved.items():
            above = next((r for r in later if address in r.saved), None)
            if above is None:
                poke(module, address, value)
            else:
                above.saved[address] = value

    @property
    def needs_python(self) -> bool:
        """Whether it leads to code of Python."""
        if self.function is None:
            return True
        kept = getattr(self.function, "_objects", None) or {}
        return any(type(thing).__name__ == "CThunkObject" for thing in kept.values())


def leave_python(process: Process) -> None:
    """Python ends, and libraries do not: nothing of theirs may lead to it, everything else leads where it led."""
    for module, layers in process.redirections.items():
        for i in reversed(range(len(layers))):
            if layers[i].needs_python:
                layers.pop(i).undo(module, layers[i:])
    for space in process.spaces:
        space.bind_all()
    for module, layers in process.redirections.items():
        for redirection in layers:
            redirection.apply(module)


def interpose(space: Space, module: Module, name: str, function: Any) -> Callable[[], None]:
    """Lead a library's own references to *name* elsewhere; the result undoes it."""
    encoded = os.fsencode(name)
    table = dynsym(module.file)
    mine = [place for place in places(module) if table.name(place.symbol) == encoded]
    if not mine:
        raise UnresolvedSymbol(module.path, name)
    target = address_of(function)
    values = {place.address: target + place.addend & _WORD for place in mine}
    layers = space.process.redirections.setdefault(module, [])
    redirection = Redirection(module, values, function)
    layers.append(redirection)

    def undo() -> None:
        if redirection in layers and module in space.maps:
            i = layers.index(redirection)
            layers.pop(i).undo(module, layers[i:])

    return undo


def address_of(function: Any) -> int:
    """Where an address, or a function of ctypes, leads. TypeError, ValueError."""
    if isinstance(function, int):
        if not 0 <= function <= _WORD:
            raise ValueError(f"{function:#x} is no address")
        return function
    if not isinstance(function, ctypes._CFuncPtr | ctypes.c_void_p):  # type: ignore[attr-defined]
        raise TypeError(f"{function!r} is neither an address nor a function of ctypes")
    return ctypes.cast(function, ctypes.c_void_p).value or 0


# -- auditing -------------------------------------------------------------------------------------------


class Call:
    """A call through a PLT slot, as it enters: its arguments may be read and changed, its target too.

    ``integers`` are rdi, rsi, rdx, rcx, r8, r9; ``floats`` the low halves of xmm0 to xmm7; ``stack`` further arguments.
    After it has returned, ``result`` and ``float_result`` may be read and changed.
    """

    def __init__(
        self, frame: int, symbol: str, referrer: Module, definer: Module | None, target: int
    ) -> None:
        self._frame = frame
        self.symbol = symbol
        self.referrer = referrer
        self.definer = definer
        self._integers = (ctypes.c_uint64 * 6).from_address(frame)
        self.target = target
        self.floats = _Floats(frame + 128)
        self.data: Any = None  # for the hook's own use between entering and leaving

    @property
    def integers(self) -> Any:
        """The six integer arguments, to be read and assigned."""
        return self._integers

    @property
    def stack(self) -> Any:
        """The first sixteen words of arguments on the stack, to be read."""
        return (ctypes.c_uint64 * 16).from_address(machine.read_word(self._frame + 72))

    @property
    def caller(self) -> int:
        """The return address."""
        return machine.read_word(self._frame + 80)

    @property
    def result(self) -> int:
        """rax after the call."""
        return machine.read_word(self._frame + 96)

    @result.setter
    def result(self, value: int) -> None:
        machine.write_word(self._frame + 96, value)

    @property
    def float_result(self) -> float:
        """xmm0 after the call, as a double."""
        return self.floats[0]

    @float_result.setter
    def float_result(self, value: float) -> None:
        self.floats[0] = value

    def __repr__(self) -> str:
        words = ", ".join([hex(word) for word in self._integers])
        return f"<Call {self.symbol}({words}) from {self.referrer.path}>"


class _Floats:
    """The low doubles of eight vector registers."""

    def __init__(self, address: int) -> None:
        self._address = address

    def __getitem__(self, index: int) -> float:
        return ctypes.c_double.from_address(self._address + 16 * range(8)[index]).value

    def __setitem__(self, index: int, value: float) -> None:
        ctypes.c_double.from_address(self._address + 16 * range(8)[index]).value = value


class Watch:
    """One watched slot."""

    __slots__ = ("definer", "hooks", "referrer", "symbol", "target")

    def __init__(
        self, hooks: Hooks, symbol: str, referrer: Module, definer: Module | None, target: int
    ) -> None:
        self.hooks = hooks
        self.symbol = symbol
        self.referrer = referrer
        self.definer = definer
        self.target = target


def audit_group(loading: Loading) -> None:
    """Tell hooks of a group's bindings, let them redirect, and put thunks into watched slots. Before RELRO is closed."""
    space = loading.space
    hooks: Hooks = space.hooks
    wants_bind, wants_calls = overridden(hooks, "symbind"), overridden(hooks, "watches")
    if not (wants_bind or wants_calls):
        return
    definers = _definers(loading)
    for module in loading.own:
        table = dynsym(module.file)
        known: dict[tuple[int, bool], Any] = {}
        layers: list[Redirection] = []
        watched: list[tuple[Place, str, Module | None, int]] = []
        for place in places(module):
            value = machine.read_word(place.address) - place.addend & _WORD
            definer = definers.get((module, place.symbol))
            name = os.fsdecode(table.name(place.symbol))
            if wants_bind and definer is not None:
                key = place.symbol, place.type == _JUMP_SLOT
                if key not in known:
                    known[key] = hooks.symbind(name, module, definer, value)
                redirected = address_of(known[key])
                if redirected != value:
                    words = {place.address: redirected + place.addend & _WORD}
                    layers.append(Redirection(module, words, known[key]))
                    value = redirected
            if (
                wants_calls
                and place.type == _JUMP_SLOT
                and value
                and hooks.watches(name, module, definer)
            ):
                watched.append((place, name, definer, value))
        if watched:
            layers.append(_watch(loading, module, watched))
        if layers:
            loading.redirections[module] = layers


def _definers(loading: Loading) -> dict[tuple[Module, int], Module]:
    b = loading.ns.bindings
    if b is None or not len(b):
        return {}
    modules = b.modules
    columns = zip(b.referrer.tolist(), b.symbol.tolist(), b.definer.tolist(), strict=True)
    return {(modules[r], s): modules[d] for r, s, d in columns if d >= 0}


def _watch(
    loading: Loading, module: Module, watched: list[tuple[Place, str, Module | None, int]]
) -> Redirection:
    """Lead slots to thunks that know their number."""
    space = loading.space
    process: Process = space.process
    code = bytearray()
    first = len(process.watches)
    for i, (_place, name, definer, value) in enumerate(watched):
        code += watch_thunk(first + i, process.code.label("watch"))
        process.watches.append(Watch(space.hooks, name, module, definer, value))
    start = machine.place_code(bytes(code), 0)
    size = len(code) // len(watched)
    loading.thunks.append((module, start, len(code) + 4095 & -4096))
    slots = {row[0].address: start + i * size for i, row in enumerate(watched)}
    return Redirection(module, slots, None)


def enter_call(process: Process, frame: int) -> int:
    """A watched call begins. The target goes into the frame; -1: nobody wants the result."""
    watch = process.watches[machine.read_word(frame + 64)]
    call = Call(frame, watch.symbol, watch.referrer, watch.definer, watch.target)
    machine.write_word(frame + 88, watch.target)
    try:
        if not watch.hooks.pltenter(call):
            return _WORD
        # The hook gets the same object when the call returns. What is known of this frame belongs to a call that never did.
        process.calls[frame] = watch, call
        return int(watch.hooks.stack_bytes)
    except BaseException as error:  # the call is made all the same
        _report(error)
        return _WORD
    finally:
        machine.write_word(frame + 88, call.target)


def _report(error: BaseException) -> None:
    """Nothing can be raised through code of C: ``sys.unraisablehook`` gets it, as from every callback of ctypes."""

    def pltenter() -> None:
        raise error

    ctypes.CFUNCTYPE(None)(pltenter)()


def leave_call(process: Process, frame: int) -> None:
    """A watched call has returned."""
    entry = process.calls.pop(frame, None)
    if entry is not None:
        watch, call = entry
        watch.hooks.pltexit(call)
