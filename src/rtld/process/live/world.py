"""What a live process knows of its modules: tables in its own memory, and the linker's account of them.

A ``World`` is the state of one process. Its tables are private memory of that process: fake ``link_map``s (what handles point
to), the table of ``_dl_find_object``, that of ``dl_iterate_phdr``, arrays of termination functions. A process that is forked
has copies of them, and is given a copy of the World when it first asks for something.
"""

from __future__ import annotations

import struct

from rtld.arch.x86_64 import STUBS
from rtld.backends.child import live_anchor as layout
from rtld.core.module import Scope
from rtld.elf import types as t
from rtld.elf.dlopen import Opened, copy_namespace
from rtld.elf.fini import Order
from rtld.elf.scalar import dynsym
from rtld.process.mapping import PAGE, span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from rtld.backends.child.live_anchor import LiveAnchor
    from rtld.core.module import Module, Namespace

    Pieces = list[tuple[int, bytes | bytearray | memoryview]]

#: What is told of a module: tags of its link_map's address.
INIT, FINI, PREINIT = 1, 2, 3
_HISTORY = 64  # earlier states that are kept
_RETIRED = 15  # tables that may still be read


class Heap:
    """Addresses of the private memory that is ours to fill. Freed blocks are used again for the same size.

    Tables grow with every module, so sizes from 1 KiB on are powers of two: the block before last fits again.
    """

    __slots__ = ("_end", "_free", "_top")

    def __init__(self, start: int, end: int) -> None:
        self._top = start
        self._end = end
        self._free: dict[int, list[int]] = {}

    @staticmethod
    def _rounded(size: int) -> int:
        return (size + 63) & -64 if size < 1024 else 1 << (size - 1).bit_length()

    @property
    def room(self) -> int:
        """How much is left that has never been used."""
        return self._end - self._top

    def extend(self, start: int, size: int) -> None:
        """Go on in another range; the rest of this one is kept for small blocks."""
        while self._end - self._top >= 64:
            self.free(self._top, 64)
            self._top += 64
        self._top, self._end = start, start + size

    def allocate(self, size: int) -> int:
        size = self._rounded(size)
        free = self._free.get(size)
        if free:
            return free.pop(0)
        at, self._top = self._top, self._top + size
        if self._top > self._end:
            raise MemoryError("the tables of the live process are full")
        return at

    def free(self, address: int, size: int) -> None:
        self._free.setdefault(self._rounded(size), []).append(address)

    def copy(self) -> Heap:
        other = Heap(self._top, self._end)
        other._free = {size: list(blocks) for size, blocks in self._free.items()}
        return other


class World:
    """Modules of one process and where their records stand in it."""

    last = 1  # number of the newest state of any process

    def __init__(self, ns: Namespace, anchor: LiveAnchor, pid: int) -> None:
        self.number = 1
        self.pid = pid
        self.ns = ns
        self.opened = Opened(ns.modules)
        self.opened.counts[ns.main] = 1
        self.order = Order()
        for module in ns.modules:
            self.order.lists[module] = [module, *module.needed]
        self.order.opened(ns.main, ns.modules)
        self.spaces: dict[int, tuple[Namespace, Opened]] = {}  # namespaces made by dlmopen, from 1
        self.namespaces = 0
        self.home: dict[Module, int] = {}  # module -> its namespace, where that is not the base
        self.anchor = anchor
        self.heap = Heap(anchor.heap, anchor.base + anchor.size)
        self.maps: dict[Module, int] = {}  # link_map
        self.by_map: dict[int, Module] = {}
        self.names: dict[Module, int] = {}  # l_name
        self.r_debug = self.heap.allocate(64)
        self.finis: dict[
            Module, list[int]
        ] = {}  # termination functions of what has been initialised
        self.ifuncs: dict[int, int] = {}  # resolver -> what it said
        self.adds = self.subs = 0
        self.real: dict[
            str, int
        ] = {}  # the functions of libc and ld.so that the program does not get to see
        self.constructed: list[Module] = []  # in the order of their initialisers
        self.donor_bases: dict[Module, int] = {}
        self.inits: dict[Module, list[int]] = {}  # initialisers that have not been called yet
        self.arguments: tuple[int, int, int] = (0, 0, 0)  # of initialisers: argc, argv, envp
        self.argv0 = 0  # address of the program's name
        self.lazy = False
        self.begun = False  # has the program begun to initialise itself?
        self.told = False  # is somebody to be told whose functions are called?
        self.announced: list[Module] = []  # those of ``fini_array``, in the order of their calls
        self.vdso: Module | None = None
        self.kept: set[Module] = set()  # those whose DF_1_NODELETE has been told
        self.slots: dict[
            Module, Any
        ] = {}  # PLT slots that may still be unbound: process.lazy.Slots
        self.lent = 0  # how many donors there have been
        self.lent_descriptors: dict[Module, tuple[int, int]] = {}
        self.history: dict[
            int, World
        ] = {}  # earlier states, by number: what forked children may be in
        self.donors: dict[
            Module, int
        ] = {}  # handles of ld.so's for modules that lend their thread-local storage
        self.retired: list[tuple[int, int]] = []  # tables that were in use until not long ago
        self._blocks: dict[str, tuple[int, int]] = {}  # tables that are in use: address, size

    def copy(self, pid: int) -> World:
        """The World of a process forked from this one."""
        other = World(copy_namespace(self.ns), self.anchor, pid)
        for name, value in vars(self).items():
            if name not in ("ns", "pid", "history"):
                copied = (
                    value.copy()
                    if isinstance(value, dict | list | set | Heap | Opened | Order)
                    else value
                )
                setattr(other, name, copied)
        return other

    # -- namespaces -------------------------------------------------------------------------------

    @property
    def modules(self) -> list[Module]:
        """Those of all namespaces, the base first; the libc family, which all share, once."""
        found = list(self.ns.modules)
        for ns, _opened in self.spaces.values():
            found += [module for module in ns.modules if not module.hosted]
        return found

    def space(self, number: int) -> tuple[Namespace, Opened]:
        """A namespace; a number that none has makes one, with nothing in it but the libc family."""
        if number == 0:
            return self.ns, self.opened
        if number not in self.spaces:
            ns = copy_namespace(self.ns)
            ns.modules = [module for module in ns.modules if module.hosted]
            ns.by_name = {name: module for name, module in ns.by_name.items() if module.hosted}
            ns.by_identity = {
                key: module for key, module in ns.by_identity.items() if module.hosted
            }
            ns.global_scope = Scope("global", ())
            ns.unique = {}
            ns.preloads = []
            return ns, Opened(ns.modules)
        return self.spaces[number]

    def set_space(self, number: int, ns: Namespace, opened: Opened) -> None:
        """Replace a namespace by its successor."""
        if number == 0:
            self.ns, self.opened = ns, opened
        else:
            self.spaces[number] = ns, opened
            for module in ns.modules:
                if not module.hosted:
                    self.home[module] = number

    def change(self) -> None:
        """Before anything is changed: keep this state for children that have been forked in it."""
        self.history[self.number] = self.copy(0)
        while len(self.history) > _HISTORY:
            del self.history[next(iter(self.history))]
        self.renumber()

    def renumber(self) -> None:
        World.last += 1
        self.number = World.last

    def state_word(self) -> tuple[int, bytes]:
        """What tells, in the process, which state it is in."""
        return self.anchor.control + layout.CONTROL_STATE, self.number.to_bytes(8, "little")

    def forget(self, modules: Sequence[Module]) -> None:
        """Their records may be used for others."""
        self.order.forget(modules)
        for module in modules:
            at = self.maps.pop(module)
            name = self.names.pop(module)
            self.donor_bases.pop(module, None)
            del self.by_map[at]
            self.heap.free(at, name - at + len(module.path.encode("utf-8", "surrogateescape")) + 1)
            slots = self.slots.pop(module, None)
            if slots is not None:
                self.heap.free(slots.table, 8 * len(slots.values))
            self.home.pop(module, None)
            low, high = span(module)
            self.ifuncs = {
                r: v for r, v in self.ifuncs.items() if not (low <= r < high or low <= v < high)
            }

    def replace_functions(self, ns: Namespace, hosted: Sequence[Module]) -> None:
        """The functions of libc and ld.so that are ours to answer; and _r_debug, the list of what is loaded."""
        for module in hosted:
            for index in dynsym(module.file).named(b"_r_debug"):
                if dynsym(module.file).symbol(index).section != t.SHN_UNDEF:
                    ns.overrides[module, index] = self.r_debug
        for name, label in layout.REPLACED.items():
            for module in hosted:
                table = dynsym(module.file)
                for index in table.named(name.encode()):
                    if table.symbol(index).section != t.SHN_UNDEF:
                        ns.overrides[module, index] = self.anchor.label(label)

    def keep_slots(self, ns: Namespace, modules: Sequence[Module]) -> list[int]:
        """Remember how the PLT slots of *modules* are bound, where some wait for their first call.

        Returns the IFUNC resolvers among them: they are asked now, for a call must not lose its arguments to them.
        """
        b = ns.bindings
        if not ns.lazy and (b is None or not len(b)):
            return []
        from rtld.elf.load import binds_now
        from rtld.elf.resolve import UNDEFINED
        from rtld.process.live.lazy import slots_of

        if not ns.lazy and not ns.told_when_called and not (b.kind == UNDEFINED).any():
            return []
        asked: list[int] = []
        for module in modules:
            slots = None if binds_now(module) else slots_of(ns, module)
            if slots is not None:
                slots.table = self.heap.allocate(8 * len(slots.values))
                self.slots[module] = slots
                asked += slots.resolvers.values()
        return asked

    def slot_values(self, modules: Sequence[Module]) -> Pieces:
        """The values of the slots of *modules*, when all resolvers have been asked."""
        written: Pieces = []
        for module in modules:
            slots = self.slots.get(module)
            if slots is not None:
                for index, resolver in slots.resolvers.items():
                    slots.values[index] = self.ifuncs[resolver]
                written.append((slots.table, struct.pack(f"<{len(slots.values)}Q", *slots.values)))
        return written

    def descriptor_stub(self, name: str) -> int:
        """The address of the resolver of a TLS descriptor, at the end of the code page."""
        at = self.anchor.code + PAGE - 64
        return at if name == "tlsdesc_static" else at + len(STUBS["tlsdesc_static"])

    def descriptor_code(self) -> tuple[int, bytes]:
        """The resolvers."""
        return self.anchor.code + PAGE - 64, STUBS["tlsdesc_static"].code + STUBS[
            "tlsdesc_undefweak"
        ].code

    # -- link maps --------------------------------------------------------------------------------

    def add_records(self, modules: Sequence[Module]) -> Pieces:
        """Give *modules* their link_maps and names."""
        written: Pieces = []
        for module in modules:
            unnamed = module is self.ns.main and self.ns.model != "musl"
            name = b"" if unnamed else module.path.encode("utf-8", "surrogateescape")
            at = self.heap.allocate(64 + len(name) + 1)
            self.maps[module] = at
            self.by_map[at] = module
            self.names[module] = at + 64
            written.append((at + 64, name + b"\0"))
        return written

    def link_records(self) -> Pieces:
        """Chain all link_maps, in load order, and r_debug in front (<link.h>)."""
        written: Pieces = []
        order = self.modules
        for i, module in enumerate(order):
            dynamic = module.file.segment(t.PT_DYNAMIC)
            l_ld = module.base + dynamic.vaddr if dynamic is not None else 0
            l_next = self.maps[order[i + 1]] if i + 1 < len(order) else 0
            l_prev = self.maps[order[i - 1]] if i else 0
            base = module.base & 0xFFFFFFFFFFFFFFFF
            # Behind the public part: where ``bind`` finds the values of PLT slots when the linker is gone.
            slots = self.slots.get(module)
            table = slots.table if slots is not None else 0
            record = struct.pack("<6Q", base, self.names[module], l_ld, l_next, l_prev, table)
            written.append((self.maps[module], record))
        interp = self.ns.interp.base if self.ns.interp is not None else 0
        written.append(
            (self.r_debug, struct.pack("<iiQQiiQ", 1, 0, self.maps[order[0]], 0, 0, 0, interp))
        )
        return written

    # -- tables -----------------------------------------------------------------------------------

    def tables(self) -> Pieces:
        """New tables for unwinders and dl_iterate_phdr, then the words that lead to them."""
        modules = self.modules
        find, objects = [], []
        for module in modules:
            start, end = span(module)
            frame = module.file.segment(t.PT_GNU_EH_FRAME)
            header = module.base + frame.vaddr if frame is not None else 0
            find.append(struct.pack("<4Q", start, end, header, self.maps[module]))
            objects.append(self._phdr_info(module))
        # The anchor's own base is 0.
        hidden = [0, *(m.base & 0xFFFFFFFFFFFFFFFF for m in modules), *self.donor_bases.values()]
        written: Pieces = []
        control = self.anchor.control
        for word, table, size, rows in (
            (layout.CONTROL_FIND, "find", 32, find),
            (layout.CONTROL_OBJECTS, "objects", 64, objects),
            (layout.CONTROL_HIDDEN, "hidden", 8, [base.to_bytes(8, "little") for base in hidden]),
        ):
            data = len(rows).to_bytes(size, "little") + b"".join(rows)
            at = self.heap.allocate(len(data))
            written.append((at, data))
            written.append((control + word, at.to_bytes(8, "little")))
            old = self._blocks.get(table)
            if old is not None:
                # Somebody may be reading it: its memory is used for others only after a while.
                self.retired.append(old)
            self._blocks[table] = (at, len(data))
        while len(self.retired) > _RETIRED:
            self.heap.free(*self.retired.pop(0))
        written.append(self.counters())
        return written

    def counters(self) -> tuple[int, bytes]:
        """How many modules have ever been added, and taken away."""
        return self.anchor.control + layout.CONTROL_ADDS, struct.pack("<QQ", self.adds, self.subs)

    def _phdr_info(self, module: Module) -> bytes:
        """struct dl_phdr_info; in place of the TLS block its distance from the thread pointer."""
        phdr, phnum = self.headers(module)
        tls = self.ns.tls.modules.index(module) + 1 if module in self.ns.tls.modules else 0
        offset = module.tls_offset & 0xFFFFFFFFFFFFFFFF if tls else 0
        base = module.base & 0xFFFFFFFFFFFFFFFF
        return struct.pack("<8Q", base, self.names[module], phdr, phnum, 0, 0, tls, offset)

    @staticmethod
    def headers(module: Module) -> tuple[int, int]:
        """Address of the program headers, and their number."""
        file = module.file
        for s in file.loads:
            if s.offset <= file.phoff < s.offset + s.filesz:
                return module.base + file.phoff - s.offset + s.vaddr, file.phnum
        return 0, 0

    def tell_kept(self, ns: Namespace) -> None:
        """DF_1_NODELETE: a dlopen makes it count for all that is loaded by now (elf/dl-open.c, activate_nodelete)."""
        for module in ns.modules:
            if module not in self.kept and module.file.dt_flags_1 & t.DF_1_NODELETE:
                self.kept.add(module)
                ns.reporter.kept(module)

    # -- functions that are told about ------------------------------------------------------------

    def told_before(
        self, what: int, module: Module, functions: Sequence[int]
    ) -> list[tuple[int, int]]:
        """*functions* of a module, for a list: (function, 0); before them, if somebody wants to know, our own with its argument.

        ld.so names every module, that which has no function, too.
        """
        calls = [(function, 0) for function in functions]
        known = self.told and module is not self.vdso and (what != PREINIT or calls)
        return [(self.anchor.label("init"), self.maps[module] | what), *calls] if known else calls

    # -- termination ------------------------------------------------------------------------------

    def fini_array(self) -> Pieces:
        """The anchor's DT_FINI_ARRAY: the functions of all initialised modules, dependents first; it is run backwards."""
        order: list[Module] = []
        for _number, (ns, _opened) in sorted(self.spaces.items(), reverse=True):
            own = [module for module in ns.modules if not module.hosted]
            order += self.order.sort(own, for_fini=True)
        order += self.order.sort(self.ns.modules, force_first=True, for_fini=True)
        if self.ns.model == "musl":
            order = self.constructed[::-1]
        functions = [self.anchor.label("exiting")]
        self.announced = []
        for module in order:
            if self.told and (module in self.finis or module.hosted) and module is not self.vdso:
                self.announced.append(module)
                functions.append(self.anchor.label("fini"))
            functions += self.finis.get(module, ())
        data = b"".join(f.to_bytes(8, "little") for f in reversed(functions))
        at = self.heap.allocate(max(len(data), 8))
        old = self._blocks.get("fini")
        if old is not None:
            self.heap.free(*old)
        self._blocks["fini"] = (at, max(len(data), 8))
        anchor = self.anchor
        # Less first: exit() may be on its way in another thread.
        return [
            (anchor.dynamic("FINI_ARRAYSZ"), bytes(8)),
            (at, data),
            (anchor.dynamic("FINI_ARRAY"), at.to_bytes(8, "little")),
            (anchor.dynamic("FINI_ARRAYSZ"), len(data).to_bytes(8, "little")),
        ]


def _array(module: Module, tag: int, size_tag: int) -> list[int]:
    """The words of an array of functions, from the relocated image."""
    dynamic = module.file.dynamic
    address, size = dynamic.get(tag), dynamic.get(size_tag, 0) or 0
    if address is None or size < 8:
        return []
    image = module.image
    size = size // 8 * 8
    if image.low <= address and address + size <= image.high:
        data = image.view(address, size).tobytes()
    else:
        at = module.file.file_offset(address, size, "function array")
        data = bytes(module.file.data[at : at + size])
    return list(struct.unpack(f"<{size // 8}Q", data))


def preinit_functions(module: Module) -> list[int]:
    """DT_PREINIT_ARRAY of the program."""
    return _array(module, t.DT_PREINIT_ARRAY, t.DT_PREINIT_ARRAYSZ)


def init_functions(module: Module) -> list[int]:
    """DT_INIT, then DT_INIT_ARRAY."""
    first = module.file.dynamic.get(t.DT_INIT)
    own = [module.base + first] if first else []
    return own + _array(module, t.DT_INIT_ARRAY, t.DT_INIT_ARRAYSZ)


def fini_functions(module: Module) -> list[int]:
    """DT_FINI_ARRAY backwards, then DT_FINI."""
    last = module.file.dynamic.get(t.DT_FINI)
    own = [module.base + last] if last else []
    return _array(module, t.DT_FINI_ARRAY, t.DT_FINI_ARRAYSZ)[::-1] + own
