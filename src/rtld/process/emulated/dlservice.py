"""dlopen and its family as a program on an emulated CPU finds them: handles are link_maps, namespaces, messages as libc's own.

What glibc says and does: dlfcn(3), elf/dl-open.c, dl-sym.c, dl-addr.c, dlinfo.c, dl-iteratephdr.c; musl: ldso/dynlink.c.
``foreign/dl.py`` has what libraries without a program ask, and what both have in common.
"""

from __future__ import annotations

import os
import struct

from rtld.elf import types as t
from rtld.elf.dlopen import (
    RTLD_GLOBAL,
    RTLD_LAZY,
    RTLD_NOLOAD,
    RTLD_NOW,
    DlError,
    default_scope,
    find_symbol,
    handle_scope,
    make_global,
    next_scope,
)
from rtld.elf.scalar import dynsym
from rtld.errors import RtldError
from rtld.process.emulated.time64 import redirected
from rtld.process.foreign.dl import Services

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rtld.core.module import Module
    from rtld.process.emulated.guest import Guest

# fmt: off
RTLD_DL_SYMENT, RTLD_DL_LINKMAP = 1, 2
LM_ID_BASE = 0
DI_LMID, DI_LINKMAP, DI_SERINFO, DI_SERINFOSIZE, DI_ORIGIN, DI_TLS_MODID, DI_TLS_DATA, DI_PHDR = 1, 2, 4, 5, 6, 9, 10, 11
# fmt: on
_RECORD = 32  # words of a link_map; programs look at the first five
_ROOM = 1 << 16


class GuestServices(Services):
    """The functions, for a Guest."""

    world: Guest

    def __init__(self, guest: Guest) -> None:
        super().__init__(guest)
        self.musl = guest.ns.model == "musl"
        self.exiting = False
        self._failures: dict[int, bytes] = {}  # thread -> what dlerror will say
        self._said: dict[int, tuple[int, int]] = {}  # thread -> (address, size) of what it said
        self._records: dict[tuple[int, str], int] = {}  # (namespace, path) -> link_map
        self._handles: dict[int, Module] = {}
        self._room = (0, 0)
        self._unloads = 0
        #: Where the thread-local storage of hosted modules is, from the thread pointer.
        self._offsets: dict[Module, int | None] = {}

    def table(self) -> dict[str, tuple[Callable[..., int], int, bool]]:
        table: dict[str, tuple[Callable[..., int], int, bool]] = {
            **super().table(),
            "dladdr1": (self.dladdr1, 4, False),
            "__dlsym_time64": (self.dlsym_time64, 2, True),
        }
        table["dlopen"] = (self.dlopen, 2, True)
        return table

    # -- records in the guest -----------------------------------------------------------------------

    def allocate(self, size: int) -> int:
        """Room that stays."""
        size = -(-size // 16) * 16
        start, end = self._room
        if end - start < size:
            room = max(size, _ROOM)
            start = self.world.lend(bytes(room))
            end = start + room
        self._room = (start + size, end)
        return start

    def keep(self, text: bytes) -> int:
        at = self._kept.get(text)
        if at is None:
            at = self._kept[text] = self.allocate(len(text) + 1)
            self.world.machine.write(at, text + b"\0")
        return at

    def link_map(self, module: Module) -> int:
        """Its struct link_map (<link.h>): l_addr, l_name, l_ld, l_next, l_prev. It is the handle."""
        guest = self.world
        key = (guest.home.get(module, LM_ID_BASE), module.path)
        at = self._records.get(key)
        if at is None:
            at = self._records[key] = self.allocate(_RECORD * guest.word)
        if self._handles.get(at) is not module:
            self._handles[at] = module
            self._chain(key[0])
        return at

    def _chain(self, number: int) -> None:
        """l_next and l_prev of a namespace's modules, in load order."""
        guest = self.world
        modules = guest.space(number)[0].modules
        places = []
        for module in modules:
            key = (number, module.path)
            at = self._records.get(key)
            if at is None:
                at = self._records[key] = self.allocate(_RECORD * guest.word)
            self._handles[at] = module
            places.append(at)
        for i, (module, at) in enumerate(zip(modules, places, strict=True)):
            dynamic = module.file.segment(t.PT_DYNAMIC)
            table = module.base + dynamic.vaddr if dynamic is not None else 0
            following = places[i + 1] if i + 1 < len(places) else 0
            before = places[i - 1] if i else 0
            name = self.keep(self._shown(module))
            guest.machine.write(at, guest.pack(module.base, name, table, following, before))

    def forget(self, modules: list[Module]) -> None:
        """They are not loaded any more; their records may be another's."""
        gone = set(modules)
        self._handles = {at: m for at, m in self._handles.items() if m not in gone}
        self._unloads += len(modules)

    def handle(self, module: Module) -> int:
        return self.link_map(module)

    def _module(self, handle: int) -> Module:
        module = self._handles.get(handle)
        if module is None and handle == self.link_map(self.world.ns.main):
            module = self.world.ns.main
        if module is None:
            raise DlError(f"Invalid library handle {handle:#x}" if self.musl else "invalid handle")
        return module

    def opened(self, handle: int) -> Module:
        """The module of a handle. DlError."""
        return self._module(handle)

    def name(self, module: Module) -> str:
        """As libc calls it in messages."""
        if module is self.world.ns.main:
            return os.fsdecode(self.world.process.argv[0])
        return module.path

    # -- errors ---------------------------------------------------------------------------------------

    def _guarded(self, step: Callable[[], int], failed: int = 0) -> int:
        thread = self.world.machine.kernel.task.tid
        self._failures.pop(thread, None)
        try:
            return step()
        except RtldError as error:
            text: str = getattr(error, "dlerror", None) or str(error)
            self._failures[thread] = text.encode(errors="surrogateescape")
            return failed

    def dlerror(self) -> int:
        thread = self.world.machine.kernel.task.tid
        text = self._failures.pop(thread, None)
        if text is None:
            return 0
        at, size = self._said.get(thread, (0, 0))
        if size < len(text) + 1:
            size = max(256, len(text) + 1)
            at = self.allocate(size)
            self._said[thread] = (at, size)
        self.world.machine.write(at, text + b"\0")
        return at

    # -- opening and closing --------------------------------------------------------------------------

    def caller(self) -> Module:
        return self.asker() or self.world.ns.main

    def dlopen(self, name: int, flags: int) -> int:
        guest, caller = self.world, self.caller()
        number = guest.home.get(caller, LM_ID_BASE)
        return self._guarded(lambda: self._open(number, name, flags & 0xFFFFFFFF, caller))

    def dlmopen(self, space: int, name: int, flags: int) -> int:
        guest, caller = self.world, self.caller()
        last = guest.machine.kernel.mask

        def step() -> int:
            number = space
            if space == last:  # LM_ID_NEWLM
                if not name:
                    raise DlError("invalid namespace")
                number = guest.new_space()
            elif space and space not in guest.spaces:
                name_of = os.fsdecode(guest.read_string(name)) if name else ""
                why = "invalid target namespace in dlmopen(): Invalid argument"
                raise DlError(f"{name_of}: {why}" if name_of else why)
            return self._open(number, name, flags & 0xFFFFFFFF, caller)

        return self._guarded(step)

    def _open(self, number: int, name: int, flags: int, caller: Module) -> int:
        guest = self.world
        text = os.fsdecode(guest.read_string(name)) if name else ""
        if not flags & (RTLD_LAZY | RTLD_NOW) and not self.musl:
            why = "invalid mode for dlopen(): Invalid argument"
            raise DlError(f"{text}: {why}" if text else why)
        with guest.inside(number):
            if not text:
                main = guest.ns.main
                if flags & RTLD_GLOBAL:
                    make_global(guest.ns, [main])
                guest.opened.counts[main] = guest.opened.counts.get(main, 0) + 1
                return self.handle(main)
            try:
                module = guest.open(text, flags, caller)
            except RtldError as error:
                if flags & RTLD_NOLOAD and getattr(error, "absent", False) and not self.musl:
                    return 0
                raise
            self._chain(number)
            return self.handle(module)

    def dlclose(self, handle: int) -> int:
        guest = self.world

        def step() -> int:
            module = self._module(handle)
            if self.musl:
                return 0  # musl never takes anything away
            with guest.inside(guest.home.get(module, LM_ID_BASE)):
                counts = guest.opened.counts
                if counts.get(module, 0) <= 0 and module in guest.opened.startup:
                    return 0
                if counts.get(module, 0) <= 0:
                    raise DlError(f"{self.name(module)}: shared object not open")
                if self.exiting:
                    counts[module] -= 1
                    return 0  # everything stays while the termination functions run
                guest.close_library(module)
                self._chain(guest.current)
            return 0

        return self._guarded(step, 1 if self.musl else -1)

    # -- symbols ----------------------------------------------------------------------------------------

    def dlsym_time64(self, handle: int, name: int) -> int:
        """What 32-bit programs with 64-bit times call: the name may stand for another of libc's."""
        guest = self.world
        caller = self.caller()

        def step() -> int:
            text = guest.read_string(name)
            libc = [m for m in guest.ns.modules if m.hosted]
            other = redirected(text)
            if other is not None and find_symbol(libc, other, None) is not None:
                text = other
            return self._look_up(handle, text, None, caller)

        return self._guarded(step)

    def _symbol(self, handle: int, name: int, version: bytes | None) -> int:
        return self._look_up(handle, self.world.read_string(name), version, self.caller())

    def _look_up(self, handle: int, name: bytes, version: bytes | None, caller: Module) -> int:
        guest = self.world
        special = handle in (0, guest.machine.kernel.mask)
        asked = caller if special else self._module(handle)
        with guest.inside(guest.home.get(asked, LM_ID_BASE)):

            def find() -> tuple[Module, int] | None:
                if handle == 0:
                    scope = default_scope(guest.ns, guest.opened, asked)
                elif special:
                    scope = next_scope(guest.opened, asked)
                else:
                    scope = handle_scope(guest.ns, guest.opened, asked)
                return find_symbol(scope, name, version)

            found = find()
            text = os.fsdecode(name)
            wanted = os.fsdecode(version) if version else None
            # Somebody may have been left out until now.
            if found is None and guest.load_wanted(asked, text, wanted):
                found = find()
            if found is None and self.musl:
                raise DlError(f"Symbol not found: {text}")
            if found is None:
                tail = f", version {wanted}" if wanted else ""
                raise DlError(f"{self.name(asked)}: undefined symbol: {text}{tail}")
            if special:
                self._depend(asked, found[0])
            return guest.value(*found)

    def _depend(self, asked: Module, definer: Module) -> None:
        """A module whose symbol has been handed out stays as long as who asked for it (dl-lookup.c, add_dependency)."""
        opened = self.world.opened
        if definer is asked or definer in opened.startup or definer in opened.pinned:
            return
        if asked in opened.startup:
            opened.pinned.add(definer)
        else:
            opened.extra[asked] = opened.extra.get(asked, set()) | {definer}

    # -- addresses ----------------------------------------------------------------------------------------

    def containing(self, address: int) -> Module | None:
        for module in self.world.every_module():
            at = address - module.base
            if any(load.vaddr <= at < load.vaddr + load.memsz for load in module.file.loads):
                return module
        return None

    def dladdr(self, address: int, info: int) -> int:
        return self._address(address, info, 0, 0)

    def dladdr1(self, address: int, info: int, extra: int, flags: int) -> int:
        return self._address(address, info, extra, flags & 0xFFFFFFFF)

    def _address(self, address: int, info: int, extra: int, flags: int) -> int:
        """Dl_info: dli_fname, dli_fbase, dli_sname, dli_saddr."""
        guest = self.world
        module = self.containing(address)
        if module is None:
            return 0
        table = dynsym(module.file)
        index = table.nearest(address - module.base)
        name = value = entry = 0
        if index:
            dynamic, symbol = module.file.dynamic, table.symbol(index)
            name = module.base + dynamic[t.DT_STRTAB] + symbol.name
            value = symbol.value + (module.base if symbol.section != t.SHN_ABS else 0)
            entry = module.base + dynamic[t.DT_SYMTAB] + (24 if guest.word == 8 else 16) * index
        low, _ = module.file.span
        path = self.keep(os.fsencode(self.name(module)))
        guest.machine.write(info, guest.pack(path, module.base + (low & -4096), name, value))
        if flags == RTLD_DL_SYMENT:
            guest.write_word(extra, entry)
        elif flags == RTLD_DL_LINKMAP:
            guest.write_word(extra, self.link_map(module))
        return 1

    def dlinfo(self, handle: int, request: int, result: int) -> int:
        request &= 0xFFFFFFFF
        return self._guarded(lambda: self._info(handle, request, result), -1)

    def _info(self, handle: int, request: int, result: int) -> int:
        guest = self.world
        module = self._module(handle)
        if self.musl and request != DI_LINKMAP:
            raise DlError(f"Unsupported request {request}")
        if request == DI_LMID:
            guest.write_word(result, guest.home.get(module, LM_ID_BASE))
        elif request == DI_LINKMAP:
            guest.write_word(result, self.link_map(module))
        elif request == DI_ORIGIN:
            guest.machine.write(result, os.fsencode(self._origin(module)) + b"\0")
        elif request == DI_TLS_MODID:
            guest.write_word(result, self._tls_number(module))
        elif request == DI_TLS_DATA:
            guest.write_word(result, self._tls_data(module))
        elif request == DI_PHDR:
            guest.write_word(result, self._headers(module))
            return int(module.file.phnum)
        elif request in (DI_SERINFO, DI_SERINFOSIZE):
            self._serinfo(module, request, result)
        else:
            raise DlError("unsupported dlinfo request")
        return 0

    def _origin(self, module: Module) -> str:
        search = self.world.ns.search
        if module is self.world.ns.main:
            return search.origin(None) or "/"
        path = search.absolute(module.path)
        return path.rpartition("/")[0] or "/"

    def _tls_number(self, module: Module) -> int:
        """All share the anchor's; to the program each has its own, as they come."""
        found = [m for m in self.world.every_module() if m.file.segment(t.PT_TLS) is not None]
        return found.index(module) + 1 if module in found else 0

    def _tls_data(self, module: Module) -> int:
        """Where its thread-local storage is in the thread that runs; 0 if it has none."""
        guest = self.world
        if module.file.segment(t.PT_TLS) is None:
            return 0
        offset = self._hosted_offset(module) if module.hosted else module.tls_offset
        return 0 if offset is None else guest.thread_pointer() + offset & guest.machine.kernel.mask

    def _hosted_offset(self, module: Module) -> int | None:
        """What ld.so has chosen for a library that it has loaded: a word that it has relocated tells."""
        if module not in self._offsets:
            self._offsets[module] = find_tls_offset(self.world, module)
        return self._offsets[module]

    def _serinfo(self, module: Module, request: int, result: int) -> None:
        """Dl_serinfo: the directories in which a library that *module* needs would be looked for."""
        guest = self.world
        word, order = guest.word, self._byteorder
        names = guest.ns.search.rules.directories(module)
        directories = [os.fsencode(d if len(d) < 2 else d.rstrip("/")) for d in names]
        head = 2 * word
        size = head + 2 * word * len(directories) + sum(len(d) + 1 for d in directories)
        count = len(directories).to_bytes(4, order)
        guest.machine.write(result, guest.pack(size) + count)
        if request == DI_SERINFOSIZE:
            return
        at = result + head + 2 * word * len(directories)
        for i, directory in enumerate(directories):
            guest.machine.write(result + head + 2 * word * i, guest.pack(at) + bytes(4))
            guest.machine.write(at, directory + b"\0")
            at += len(directory) + 1

    @property
    def _byteorder(self) -> Any:
        return "little" if self.world.order == "<" else "big"

    # -- all modules --------------------------------------------------------------------------------------

    def iterate(self, callback: int, data: int) -> int:
        """struct dl_phdr_info: addr, name, phdr, phnum (16 bits), adds, subs (64 bits), tls_modid, tls_data."""
        guest, order = self.world, self._byteorder
        number = guest.home.get(self.caller(), LM_ID_BASE)
        modules = list(guest.space(number)[0].modules)
        adds = len(modules) + self._unloads
        for module in modules:
            name = self.keep(self._shown(module))
            head = guest.pack(module.base, name, self._headers(module))
            head += module.file.phnum.to_bytes(2, order)
            at = len(head)
            align = 4 if guest.arch.name == "i386" else 8
            head += bytes(-at % align)
            head += adds.to_bytes(8, order) + self._unloads.to_bytes(8, order)
            block = self._tls_number(module)
            head += guest.pack(block, self._tls_data(module))
            info = self._scratch(head)
            result = guest.call(callback, info, len(head), data) & 0xFFFFFFFF
            if result:
                return result
        return 0


def find_tls_offset(guest: Guest, module: Module) -> int | None:
    """The offset from the thread pointer of a hosted module's thread-local storage, by a relocation to it that ld.so has made
    (initial-exec); None where there is none.
    """
    dynamic, word, order = module.file.dynamic, guest.word, guest.order
    signed = "q" if word == 8 else "i"
    wanted = guest.arch.reloc_types.tpoff
    for tag, size_tag, rela in ((t.DT_RELA, t.DT_RELASZ, True), (t.DT_REL, t.DT_RELSZ, False)):
        start, size = dynamic.get(tag), dynamic.get(size_tag) or 0
        if start is None:
            continue
        at = module.file.file_offset(start, size, "relocations")
        data = module.file.data[at : at + size]
        form = f"{order}{'QQ' if word == 8 else 'II'}{signed if rela else ''}"
        for place, info, *rest in struct.iter_unpack(
            form, data[: size - size % struct.calcsize(form)]
        ):
            kind, symbol = (
                (info & 0xFFFFFFFF, info >> 32) if word == 8 else (info & 0xFF, info >> 8)
            )
            if kind != wanted:
                continue
            entry = dynsym(module.file).symbol(symbol)
            if symbol and entry.section == t.SHN_UNDEF:
                continue
            if rest:
                addend = rest[0]
            else:
                where = module.file.file_offset(place, word, "relocation")
                (addend,) = struct.unpack_from(order + signed, module.file.data, where)
            found: int = guest.read_word(module.base + place) - addend - int(entry.value)
            return found
    return None
