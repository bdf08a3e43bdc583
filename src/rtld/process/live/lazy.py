"""The first call through a PLT slot: whom it means was decided when everything was bound; here the slot is filled."""

from __future__ import annotations

import os

import numpy as np

from rtld.backends.child.calls import NR
from rtld.elf import types as t
from rtld.elf.dlopen import default_scope
from rtld.elf.resolve import KINDS
from rtld.elf.scalar import dynsym, gnu_hash
from rtld.elf.tables import tables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

    from rtld.backends.child.live_anchor import List
    from rtld.core.module import Module, Namespace
    from rtld.elf.notices import Notice
    from rtld.elf.resolve import Bindings
    from rtld.process.live.dlservice import Service

    Steps = Generator[List, list[int], int]


class Slots:
    """The PLT slots of one module: for each record of DT_JMPREL its place, its row in ``bindings``, and its value.

    A value is 0 where nobody defines the symbol; ``resolvers`` has the IFUNCs that have to be asked for theirs. The values
    also stand in the process, at ``table``, for those who outlive their linker.
    """

    __slots__ = ("bindings", "offsets", "resolvers", "rows", "table", "values")

    def __init__(
        self, offsets: list[int], rows: list[int], values: list[int], bindings: Bindings
    ) -> None:
        self.offsets = offsets
        self.rows = rows
        self.values = values
        self.bindings = bindings
        self.resolvers: dict[int, int] = {}
        self.table = 0


def slots_of(ns: Namespace, module: Module) -> Slots | None:
    """From the relocations and bindings that ``ns`` has at this moment."""
    from rtld.elf.flat import flat

    plt = [run for run in tables(module.file).relocs if run.plt]
    if not plt or ns.relocations is None:
        return None
    run, r, b, columns = plt[0], ns.relocations, ns.bindings, ns.columns
    mine = np.flatnonzero((r.at >= run.position) & (r.at < run.position + run.count * run.entsize))
    index = (r.at[mine] - run.position) // run.entsize
    rows = np.full(run.count, -1, np.int64)
    rows[index] = r.reference[mine]
    offsets = flat("<u8")[run.position + run.entsize * np.arange(run.count)]
    # Where each call is to go.
    definer = np.where(rows >= 0, b.definer[rows], -1)
    symbol = np.where(definer >= 0, b.definition[rows], 0)
    owner = np.maximum(definer, 0)
    at = columns.symbol_position(owner, symbol)
    info, _other, section = columns.meta(at)
    base = np.array([m.base & 0xFFFFFFFFFFFFFFFF for m in columns.modules], np.uint64)
    values = columns.value(at) + np.where(section == t.SHN_ABS, np.uint64(0), base[owner])
    values[definer < 0] = 0
    slots = Slots(offsets.tolist(), rows.tolist(), values.tolist(), b)
    asked = (definer >= 0) & ((info & np.uint32(15)) == t.STT_GNU_IFUNC) & (section != t.SHN_UNDEF)
    for i in np.flatnonzero(asked).tolist():
        slots.resolvers[i] = slots.values[i]
    for i, (number, entry) in enumerate(zip(definer.tolist(), symbol.tolist(), strict=True)):
        if number >= 0 and columns.modules[number].hosted:
            replaced = ns.overrides.get((columns.modules[number], entry))
            if replaced is not None:
                slots.values[i] = replaced
    return slots


def resolve_slot(service: Service, module: Module, index: int) -> Steps:
    """Fill slot *index* of the module and say where the call goes."""
    world = service.world
    slots = world.slots.get(module)
    if slots is None or index >= len(slots.rows) or slots.rows[index] < 0:
        text = f"symbol lookup error: {module.path}: PLT slot {index} has no symbol"
        return (yield from _give_up(service, text))
    b, row = slots.bindings, slots.rows[index]
    value: int = slots.values[index]
    definer = int(b.definer[row])
    owner: Module | None = b.modules[definer] if definer >= 0 else None
    if owner is None:
        found = _look_again(service, module, b, row)
        if found is None:
            if dynsym(module.file).symbol(int(b.symbol[row])).info >> 4 == t.STB_WEAK:
                return 0
            name, version = b.name(row), b.version_name(row)
            text = f"{service.name(module)}: undefined symbol: {name}" + (
                f", version {version}" if version else ""
            )
            return (yield from _give_up(service, f"symbol lookup error: {text}"))
        owner = found[0]
        value = yield from service.address_of(*found)
    if module is world.ns.main and row in world.ns.told_when_called:
        yield from _tell(service, world.ns.told_when_called[row])
    service.memory.write_word(module.base + slots.offsets[index], value)
    reporter = world.ns.reporter
    if reporter.wants & {"symbols", "bindings"}:
        from rtld.elf.explain import tell_walk

        number = world.home.get(module, 0)
        reporter.about(world.pid, number)
        ns, opened = world.space(number)
        if "symbols" in reporter.wants:
            lists = [ns.global_scope.modules, *opened.groups.get(module, ())]
            tell_walk(reporter, b.name(row), lists, owner)
        reporter.bound(module, owner, b.name(row), b.version_name(row), KINDS[int(b.kind[row])])
    return value


def _look_again(
    service: Service, module: Module, b: Bindings, row: int
) -> tuple[Module, int] | None:
    """Nobody defined it when the module was bound; somebody opened since may."""
    world = service.world
    name = os.fsencode(b.name(row))
    version = b.version_name(row)
    wanted = os.fsencode(version) if version else None
    hashed = gnu_hash(name)
    for candidate in default_scope(*world.space(world.home.get(module, 0)), module):
        table = dynsym(candidate.file)
        index = table.lookup(name, wanted, hashed, newest=False, plt=True, base=True)
        if index:
            return candidate, index
    return None


def _tell(service: Service, notices: list[Notice]) -> Steps:
    """What ld.so says of a function at its first call, and whether it stops there."""
    from rtld.elf.notices import spoken

    for notice in notices:
        text = spoken(notice.problem, service.argv0)
        if notice.problem.fatal:
            return (yield from write_lines(service, [text], 127))
        yield from write_lines(service, [text])
    return 0


def write_lines(service: Service, lines: list[str], status: int = -1) -> Steps:
    """Lines on the process's own stderr; then, with a *status*, its end."""
    data = os.fsencode("".join([f"{line}\n" for line in lines]))
    at = service.scratch(len(data))
    service.channel.put(at, data)
    calls = service.calls(3)
    calls.add(NR["write"], 2, at, len(data))
    if status >= 0:
        calls.add(NR["exit_group"], status)
    yield calls
    return 0


def _give_up(service: Service, text: str) -> Steps:
    """What ld.so does: a line on stderr and exit status 127."""
    return (yield from write_lines(service, [f"{service.argv0}: {text}"], 127))
