"""What a live process knows of its modules: tables in its own memory, and the linker's account of them.

A ``World`` is the state of one process. Its tables are private memory of that process: fake ``link_map``s (what handles point
to), the table of ``_dl_find_object``, that of ``dl_iterate_phdr``, arrays of termination functions. A process that is forked
has copies of them, and is given a copy of the World when it first asks for something.
"""

from __future__ import annotations

import struct

from rtld.backends.child import live_anchor as layout
from rtld.elf import types as t
from rtld.elf.initfini import sort_dfs
from rtld.process.mapping import span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtld.backends.child.live_anchor import LiveAnchor
    from rtld.core.module import Module, Namespace

    Pieces = list[tuple[int, bytes]]


class Heap:
    """Addresses of the private memory that is ours to fill. Freed blocks are used again for the same size."""

    __slots__ = ("_end", "_free", "_top")

    def __init__(self, start: int, end: int) -> None:
        self._top = start
        self._end = end
        self._free: dict[int, list[int]] = {}

    def allocate(self, size: int) -> int:
        size = (size + 63) & -64
        free = self._free.get(size)
        if free:
            return free.pop(0)
        at, self._top = self._top, self._top + size
        if self._top > self._end:
            raise MemoryError("the tables of the live process are full")
        return at

    def free(self, address: int, size: int) -> None:
        self._free.setdefault((size + 63) & -64, []).append(address)

    def copy(self) -> Heap:
        other = Heap(self._top, self._end)
        other._free = {size: list(blocks) for size, blocks in self._free.items()}
        return other


class World:
    """Modules of one process and where their records stand in it."""

    def __init__(self, ns: Namespace, anchor: LiveAnchor) -> None:
        self.number = 0
        self.ns = ns
        self.anchor = anchor
        self.heap = Heap(anchor.heap, anchor.base + anchor.size)
        self.maps: dict[Module, int] = {}  # link_map
        self.by_map: dict[int, Module] = {}
        self.names: dict[Module, int] = {}  # l_name
        self.vdso: tuple[int, int, int] | None = None  # address, program headers, their number
        self.r_debug = 0
        self.finis: dict[Module, list[int]] = {}  # termination functions of what has been initialised
        self.ifuncs: dict[int, int] = {}  # resolver -> what it said
        self.adds = self.subs = 0
        self._blocks: dict[str, tuple[int, int]] = {}  # tables that are in use: address, size

    # -- link maps --------------------------------------------------------------------------------

    def add_records(self, modules: Sequence[Module]) -> Pieces:
        """Give *modules* their link_maps and names."""
        written: Pieces = []
        for module in modules:
            name = b"" if module is self.ns.main else module.path.encode("utf-8", "surrogateescape")
            at = self.heap.allocate(64 + len(name) + 1)
            self.maps[module] = at
            self.by_map[at] = module
            self.names[module] = at + 64
            written.append((at + 64, name + b"\0"))
        return written

    def link_records(self) -> Pieces:
        """Chain all link_maps, in load order, and r_debug in front (<link.h>)."""
        written: Pieces = []
        order = self.ns.modules
        for i, module in enumerate(order):
            dynamic = module.file.segment(t.PT_DYNAMIC)
            l_ld = module.base + dynamic.vaddr if dynamic is not None else 0
            l_next = self.maps[order[i + 1]] if i + 1 < len(order) else 0
            l_prev = self.maps[order[i - 1]] if i else 0
            base = module.base & 0xFFFFFFFFFFFFFFFF
            record = struct.pack("<5Q", base, self.names[module], l_ld, l_next, l_prev)
            written.append((self.maps[module], record))
        if not self.r_debug:
            self.r_debug = self.heap.allocate(64)
        interp = self.ns.interp.base if self.ns.interp is not None else 0
        written.append((self.r_debug, struct.pack("<iiQQiiQ", 1, 0, self.maps[order[0]], 0, 0, 0, interp)))
        return written

    # -- tables -----------------------------------------------------------------------------------

    def tables(self) -> Pieces:
        """New tables for unwinders and dl_iterate_phdr, then the words that lead to them."""
        modules = self.ns.modules
        find, objects = [], []
        for module in modules:
            start, end = span(module)
            frame = module.file.segment(t.PT_GNU_EH_FRAME)
            header = module.base + frame.vaddr if frame is not None else 0
            find.append(struct.pack("<4Q", start, end, header, self.maps[module]))
            objects.append(self._phdr_info(module))
        if self.vdso is not None:
            address, phdr, phnum = self.vdso
            name = self._vdso_name()
            objects.insert(1, struct.pack("<8Q", address, name, phdr, phnum, 0, 0, 0, 0))
        written: Pieces = []
        control = self.anchor.control
        for word, name, size, rows in (
            (layout.CONTROL_FIND, "find", 32, find),
            (layout.CONTROL_OBJECTS, "objects", 64, objects),
        ):
            data = len(rows).to_bytes(size, "little") + b"".join(rows)
            at = self.heap.allocate(len(data))
            written.append((at, data))
            written.append((control + word, at.to_bytes(8, "little")))
            old = self._blocks.get(name)
            if old is not None:
                # Somebody may be reading it: it is used again only after others of its size.
                self.heap.free(*old)
            self._blocks[name] = (at, len(data))
        written.append((control + layout.CONTROL_ADDS, struct.pack("<QQ", self.adds, self.subs)))
        return written

    def _vdso_name(self) -> int:
        return self.anchor.control + 0x100

    def _phdr_info(self, module: Module) -> bytes:
        """struct dl_phdr_info; in place of the TLS block its distance from the thread pointer."""
        file = module.file
        phdr = 0
        for s in file.loads:
            if s.offset <= file.phoff < s.offset + s.filesz:
                phdr = module.base + file.phoff - s.offset + s.vaddr
                break
        tls = self.ns.tls.modules.index(module) + 1 if module in self.ns.tls.modules else 0
        offset = module.tls_offset & 0xFFFFFFFFFFFFFFFF if tls else 0
        base = module.base & 0xFFFFFFFFFFFFFFFF
        return struct.pack("<8Q", base, self.names[module], phdr, file.phnum, 0, 0, tls, offset)

    # -- termination ------------------------------------------------------------------------------

    def fini_array(self) -> Pieces:
        """The anchor's DT_FINI_ARRAY: the functions of all initialised modules, dependents first; it is run backwards."""
        order = sort_dfs(self.ns.modules, force_first=True)
        functions = [function for module in order for function in self.finis.get(module, ())]
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
