"""What a live process asks its dynamic linker about symbols and addresses: dlsym, dlvsym, dladdr, dlinfo, backtraces.

Nothing here changes what is loaded. ``dlservice.py`` says what a service is, and has the others.
"""

from __future__ import annotations

import os
import struct

from rtld.backends.child.calls import NR
from rtld.backends.child.live_anchor import CALL, CONTROL_EXITING, List
from rtld.elf import types as t
from rtld.elf.dlopen import (
    DlError,
    containing,
    default_scope,
    find_symbol,
    handle_scope,
    next_scope,
)
from rtld.elf.scalar import dynsym
from rtld.process.live.world import FINI, INIT, PREINIT
from rtld.process.mapping import span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

    from rtld.backends.child.channel import Channel, Request
    from rtld.backends.child.ptrace import Memory
    from rtld.core.module import Module
    from rtld.elf.dlopen import Opened
    from rtld.process.live.world import World

    Steps = Generator[List, list[int], int]

# fmt: off
RTLD_NEXT = (1 << 64) - 1
LM_ID_BASE = 0
RTLD_DL_SYMENT, RTLD_DL_LINKMAP = 1, 2
DI_LMID, DI_LINKMAP, DI_SERINFO, DI_SERINFOSIZE, DI_ORIGIN, DI_TLS_MODID, DI_TLS_DATA, DI_PHDR = 1, 2, 4, 5, 6, 9, 10, 11
_WORD = (1 << 64) - 1
# fmt: on


class Asking:
    """Look-ups for one process, in one World."""

    def __init__(self, world: World, channel: Channel, argv0: str, memory: Memory) -> None:
        self.world = world
        self.channel = channel
        self.argv0 = argv0
        self.memory = memory
        self.blocks: list[tuple[int, int]] = []  # shared memory of the request being served

    def close(self) -> None:
        self.memory.close()

    # -- what all need ------------------------------------------------------------------------------

    def scratch(self, size: int) -> int:
        """Shared memory for as long as the request is being served."""
        at = self.channel.allocate(size)
        self.blocks.append((at, size))
        return at

    def calls(self, capacity: int) -> List:
        """A list in shared memory."""
        return List(self.scratch(64 * (capacity + 1)))

    def string(self, address: int) -> str:
        return os.fsdecode(self.memory.read_string(address))

    def caller(self, request: Request) -> Module:
        """The module that asks; the program for code that is in none."""
        world = self.world
        return containing(world.modules, request.caller, span) or world.ns.main

    def name(self, module: Module) -> str:
        """As glibc calls it in messages."""
        return self.argv0 if module is self.world.ns.main else module.path

    def module(self, handle: int) -> Module:
        found = self.world.by_map.get(handle)
        if found is None:
            musl = self.world.ns.model == "musl"
            raise DlError(f"Invalid library handle {handle:#x}" if musl else "invalid handle")
        return found

    @property
    def exiting(self) -> bool:
        """Is the process calling its termination functions?  Their array must stay as it is then."""
        at = self.world.anchor.control + CONTROL_EXITING
        return self.memory.read_word(at) != 0

    def change(self) -> None:
        """Before anything is changed: the process is in another state from now on."""
        self.world.change()
        self.memory.write(*self.world.state_word())

    # -- look-up ----------------------------------------------------------------------------------------

    def dlsym(self, request: Request) -> Steps:
        return (yield from self._symbol(request, None))

    def dlvsym(self, request: Request) -> Steps:
        return (yield from self._symbol(request, self.memory.read_string(request.args[2])))

    def _symbol(self, request: Request, version: bytes | None) -> Steps:
        world = self.world
        handle, name = request.args[0], self.memory.read_string(request.args[1])
        asked = self.caller(request) if handle in (0, RTLD_NEXT) else self.module(handle)
        ns, opened = world.space(world.home.get(asked, LM_ID_BASE))
        if handle == 0:
            scope = default_scope(ns, opened, asked)
        elif handle == RTLD_NEXT:
            scope = next_scope(opened, asked)
        else:
            scope = handle_scope(ns, opened, asked)
        found = find_symbol(scope, name, version)
        if found is None and world.ns.model == "musl":
            raise DlError(f"Symbol not found: {os.fsdecode(name)}")
        if found is None:
            text = f"undefined symbol: {os.fsdecode(name)}"
            text += f", version {os.fsdecode(version)}" if version else ""
            self._tell(asked, scope, None, name, version)
            ns.reporter.failed(asked, text)
            raise DlError(f"{self.name(asked)}: {text}")
        if handle in (0, RTLD_NEXT):
            self._depend(asked, found[0], opened)
        self._tell(asked, scope, found[0], name, version)
        return (yield from self.address_of(*found))

    def _tell(
        self,
        asked: Module,
        scope: list[Module],
        definer: Module | None,
        name: bytes,
        version: bytes | None,
    ) -> None:
        """A look-up."""
        reporter = self.world.ns.reporter
        if not reporter.wants:
            return
        from rtld.elf.explain import tell_walk

        reporter.about(self.world.pid, self.world.home.get(asked, LM_ID_BASE))
        text = os.fsdecode(name)
        if "symbols" in reporter.wants:
            tell_walk(reporter, text, [scope], definer)
        reporter.bound(asked, definer, text, os.fsdecode(version) if version else None, "normal")

    def _depend(self, asked: Module, definer: Module, opened: Opened) -> None:
        """A module whose symbol has been handed out stays as long as who asked for it (dl-lookup.c, add_dependency)."""
        if definer is asked or definer in opened.startup or definer in opened.pinned:
            return
        if asked in opened.startup:
            opened.pinned.add(definer)
            self.world.ns.reporter.pinned(definer)
        else:
            self.world.order.depends(asked, definer)
            before = opened.extra.get(asked, set())
            opened.extra[asked] = before | {definer}
            if definer not in before and not self.exiting:
                self.memory.write_many(self.world.fini_array())
            if definer not in before and definer not in asked.needed:
                self.world.ns.reporter.depends(asked, definer)

    def address_of(self, module: Module, index: int) -> Steps:
        """The address of a definition, as dlsym gives it."""
        world = self.world
        replaced = world.ns.overrides.get((module, index))
        if replaced is not None:
            return replaced
        symbol = dynsym(module.file).symbol(index)
        kind = symbol.info & 15
        if kind == t.STT_TLS:
            at = self.scratch(64)
            self.channel.put(at, struct.pack("<QQ", module.tls_id, module.tls_block + symbol.value))
            calls = self.calls(1)
            calls.add(CALL, world.real["__tls_get_addr"], at)
            (result,) = yield calls
            return result
        value: int = symbol.value + (module.base if symbol.section != t.SHN_ABS else 0)
        if kind == t.STT_GNU_IFUNC and symbol.section != t.SHN_UNDEF:
            if value not in world.ifuncs:
                calls = self.calls(1)
                calls.add(CALL, value)
                (result,) = yield calls
                world.ifuncs[value] = result & _WORD
            return world.ifuncs[value]
        return value & _WORD

    # -- addresses ----------------------------------------------------------------------------------------

    def dladdr(self, request: Request) -> Steps:
        return (yield from self._address(request, 0, 0))

    def dladdr1(self, request: Request) -> Steps:
        return (yield from self._address(request, request.args[2], request.args[3] & 0xFFFFFFFF))

    def _address(self, request: Request, extra: int, flags: int) -> Steps:
        world = self.world
        address, info = request.args[:2]
        module = containing(world.modules, address, span)
        if module is None:
            calls = self.calls(1)
            calls.add(CALL, world.real["dladdr1" if flags else "dladdr"], *request.args[:4])
            (result,) = yield calls
            return result & 0xFFFFFFFF
        name = world.argv0 if module is world.ns.main else world.names[module]
        table = dynsym(module.file)
        index = table.nearest(address - module.base)
        sname = saddr = entry = 0
        if index:
            dynamic = module.file.dynamic
            symbol = table.symbol(index)
            sname = module.base + dynamic[t.DT_STRTAB] + symbol.name
            saddr = symbol.value + (module.base if symbol.section != t.SHN_ABS else 0)
            entry = module.base + dynamic[t.DT_SYMTAB] + 24 * index
        self.memory.write(info, struct.pack("<4Q", name, span(module)[0], sname, saddr & _WORD))
        if flags == RTLD_DL_SYMENT:
            self.memory.write_word(extra, entry)
        elif flags == RTLD_DL_LINKMAP:
            self.memory.write_word(extra, world.maps[module])
        return 1

    def dlinfo(self, request: Request) -> Steps:
        world = self.world
        handle, what, arg = request.args[0], request.args[1] & 0xFFFFFFFF, request.args[2]
        module = self.module(handle)
        memory = self.memory
        if what == DI_LMID:
            memory.write_word(arg, world.home.get(module, LM_ID_BASE))
        elif what == DI_LINKMAP:
            memory.write_word(arg, world.maps[module])
        elif what == DI_ORIGIN:
            # The directory as it stands in the path: nothing is resolved but the program's own.
            path = os.path.realpath(module.path) if module is world.ns.main else module.path
            if not path.startswith("/"):
                path = f"{os.readlink(f'/proc/{world.pid}/cwd')}/{path}"
            origin = path.rpartition("/")[0] or "/"
            memory.write(arg, os.fsencode(origin) + b"\0")
        elif what == DI_TLS_MODID:
            modules = world.ns.tls.modules
            memory.write_word(arg, modules.index(module) + 1 if module in modules else 0)
        elif what == DI_TLS_DATA:
            memory.write_word(arg, 0)
            if module.tls_id:
                at = self.scratch(64)
                self.channel.put(at, struct.pack("<QQ", module.tls_id, module.tls_block))
                calls = self.calls(1)
                calls.add(CALL, world.real["__tls_get_addr"], at)
                (result,) = yield calls
                memory.write_word(arg, result)
        elif what == DI_PHDR:
            phdr, phnum = world.headers(module)
            memory.write_word(arg, phdr)
            return phnum
        elif what in (DI_SERINFO, DI_SERINFOSIZE):
            self._serinfo(module, what, arg)
        else:
            raise DlError("unsupported dlinfo request")
        return 0

    def _serinfo(self, module: Module, what: int, arg: int) -> None:
        """Dl_serinfo: the directories in which a library that *module* needs would be looked for."""
        search = self.world.ns.search
        musl = self.world.ns.model == "musl"
        names = search.default_directories if musl else search.rules.directories(module)
        directories = [os.fsencode(d if len(d) < 2 else d.rstrip("/")) for d in names]
        size = 16 + 16 * len(directories) + sum(len(d) + 1 for d in directories)
        self.memory.write(arg, struct.pack("<QI", size, len(directories)))
        if what == DI_SERINFOSIZE:
            return
        at = arg + 16 + 16 * len(directories)
        for i, directory in enumerate(directories):
            self.memory.write(arg + 16 + 16 * i, struct.pack("<QI", at, 0))
            self.memory.write(at, directory + b"\0")
            at += len(directory) + 1

    # -- backtraces -------------------------------------------------------------------------------

    def backtrace_symbols(self, request: Request) -> Steps:
        """execinfo.h; libc would ask ld.so about the addresses. The result is one block of malloc's."""
        world = self.world
        buffer, count = request.args[0], request.args[1] & 0xFFFFFFFF
        lines = [line + b"\0" for line in self._trace(buffer, count)]
        data = b"".join(lines)
        scope = world.space(0)[0].global_scope.modules
        found = find_symbol(scope, b"malloc", None)
        if found is None:
            return 0
        malloc = yield from self.address_of(*found)
        calls = self.calls(1)
        calls.add(CALL, malloc, 8 * count + len(data))
        (block,) = yield calls
        block &= _WORD
        if block:
            at, pointers = block + 8 * count, b""
            for line in lines:
                pointers += at.to_bytes(8, "little")
                at += len(line)
            self.memory.write(block, pointers + data)
        return block

    def backtrace_symbols_fd(self, request: Request) -> Steps:
        """The same as lines of a file."""
        buffer, count, fd = request.args[0], request.args[1] & 0xFFFFFFFF, request.args[2]
        lines = self._trace(buffer, count)
        data = b"".join(line + b"\n" for line in lines)
        at = self.scratch(len(data) + 1)
        self.channel.put(at, data)
        calls = self.calls(1)
        calls.add(NR["write"], fd & 0xFFFFFFFF, at, len(data))
        yield calls
        return 0

    def _trace(self, buffer: int, count: int) -> list[bytes]:
        """One line for each address (debug/backtracesyms.c): file(symbol+offset) [address]."""
        world = self.world
        raw = self.memory.read(buffer, 8 * count) if count else b""
        lines = []
        for (address,) in struct.iter_unpack("<Q", raw):
            module = containing(world.modules, address, span)
            if module is None:
                lines.append(b"[%s]" % hex(address).encode())
                continue
            table = dynsym(module.file)
            index = table.nearest(address - module.base)
            name, start = b"", module.base
            if index:
                symbol = table.symbol(index)
                name = table.name(index)
                start = symbol.value + (module.base if symbol.section != t.SHN_ABS else 0)
            path = os.fsencode(self.name(module))
            if not index and start == 0:
                lines.append(b"%s() [%s]" % (path, hex(address).encode()))
                continue
            sign, offset = (b"+", address - start) if address >= start else (b"-", start - address)
            place = b"%s%s%s" % (name, sign, hex(offset).encode() if offset else b"0")
            lines.append(b"%s(%s) [%s]" % (path, place, hex(address).encode()))
        return lines

    # -- what is told -----------------------------------------------------------------------------

    def init(self, request: Request) -> Steps:
        """The initialisers of a module come next, or what else its tag says."""
        world, number = self.world, request.args[0]
        module = world.by_map.get(number & ~3)
        if module is not None:
            reporter = world.ns.reporter
            reporter.about(world.pid, world.home.get(module, LM_ID_BASE))
            tell = {INIT: reporter.init, FINI: reporter.fini, PREINIT: reporter.preinit}
            tell[number & 3](module)
        return 0
        yield

    def begin(self, request: Request) -> Steps:
        """The initialisers of the program itself come next; the second time, its ``main``."""
        del request
        world = self.world
        reporter = world.ns.reporter
        reporter.about(world.pid)
        (reporter.transfer if world.begun else reporter.begin)(world.ns.main)
        world.begun = True
        return 0
        yield

    def fini(self, request: Request) -> Steps:
        """exit() comes to the termination functions of the next module."""
        del request
        world = self.world
        if world.announced:
            module = world.announced.pop(0)
            world.ns.reporter.about(world.pid, world.home.get(module, LM_ID_BASE))
            world.ns.reporter.fini(module)
        return 0
        yield
