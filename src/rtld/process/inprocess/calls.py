"""What libraries in this process ask of their dynamic linker, and what Python asks for them: dlopen, dlsym, dladdr, dlinfo.

glibc's words and values: dlfcn(3), elf/dl-open.c, dl-sym.c, dl-addr.c, dlfcn/dlinfo.c. The C functions are callbacks of ctypes
(``Service``); what goes wrong becomes the thread's ``dlerror``. Who asks is known by the return address.
"""

from __future__ import annotations

import os
import struct
import threading
from collections import namedtuple

from rtld.backends import inprocess as machine
from rtld.elf import types as t
from rtld.elf.dlopen import (
    RTLD_LAZY,
    RTLD_NOW,
    DlError,
    default_scope,
    find_symbol,
    handle_scope,
    next_scope,
)
from rtld.elf.scalar import dynsym
from rtld.errors import NotFound, RtldError, UnresolvedSymbol
from rtld.process.inprocess.close import close_library, initialise, retire_namespace
from rtld.process.inprocess.open import load_deferred, open_library
from rtld.process.inprocess.quiet import Quiet
from rtld.process.inprocess.space import Space, program_headers, span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rtld.core.module import Module
    from rtld.process.inprocess.space import Process

# fmt: off
RTLD_NEXT = (1 << 64) - 1
LM_ID_BASE, LM_ID_NEWLM = 0, -1
RTLD_DL_SYMENT, RTLD_DL_LINKMAP = 1, 2
DI_LMID, DI_LINKMAP, DI_SERINFO, DI_SERINFOSIZE, DI_ORIGIN, DI_TLS_MODID, DI_TLS_DATA, DI_PHDR = 1, 2, 4, 5, 6, 9, 10, 11
_WORD = (1 << 64) - 1
# fmt: on

#: What dladdr finds: the file and where it starts, the symbol at or before the address and where that starts.
Address = namedtuple("Address", "path base name value entry space module")


# -- look-up ------------------------------------------------------------------------------------------


def address_of(space: Space, module: Module, index: int) -> int:
    """The address of a definition, as dlsym gives it: an IFUNC's function, this thread's copy of a TLS variable."""
    replaced = space.ns.overrides.get((module, index))
    if replaced is not None:
        return replaced
    symbol = dynsym(module.file).symbol(index)
    kind = symbol.info & 15
    if kind == t.STT_TLS:
        block = machine.buffer(struct.pack("<QQ", module.tls_id, symbol.value))
        return machine.call(machine.host_symbol("__tls_get_addr"), machine.address_of(block))
    value: int = symbol.value + (module.base if symbol.section != t.SHN_ABS else 0) & _WORD
    if kind == t.STT_GNU_IFUNC and symbol.section != t.SHN_UNDEF:
        if value not in space.ifuncs:
            space.ifuncs[value] = machine.call(value)
        return space.ifuncs[value]
    return value


def look_up(
    space: Space, scope: Iterable[Module], name: str, version: str | None, asked: str
) -> int:
    """The address of the first definition; UnresolvedSymbol with glibc's sentence."""
    encoded = name.encode("utf-8", "surrogateescape")
    wanted = version.encode() if version is not None else None
    found = find_symbol(scope, encoded, wanted, strong_first=space.ns.dynamic_weak)
    if found is None:
        raise UnresolvedSymbol(asked, name, version)
    return address_of(space, *found)


def look_up_or_load(
    space: Space, module: Module, scope: Iterable[Module], name: str, version: str | None
) -> int:
    """``look_up``; when nobody has the symbol, what the module needs and was left until now is loaded, one by one."""
    scope = list(scope)
    while True:
        try:
            return look_up(space, scope, name, version, module.path)
        except UnresolvedSymbol:
            if not load_deferred(space, module):
                raise
        scope = list(dict.fromkeys([*scope, *scope_of_handle(space, module)]))


def scope_of_handle(space: Space, module: Module) -> list[Module]:
    """Where dlsym looks for a handle. QNX has LD_PRELOAD's libraries in each group."""
    scope = handle_scope(space.ns, space.opened, module)
    if space.model == "qnx" and module is not space.ns.main:
        return list(dict.fromkeys([*scope[:1], *space.preloads, *scope[1:]]))
    return scope


def find_address(process: Process, address: int, *, everywhere: bool = False) -> Address | None:
    """The module of ours that has the address, and its nearest symbol. *everywhere*: the host's, too."""
    found = process.containing(address) or (
        process.host_containing(address) if everywhere else None
    )
    if found is None:
        return None
    space, module = found
    table = dynsym(module.file)
    index = table.nearest(address - module.base)
    name, value = "", 0
    if index:
        symbol = table.symbol(index)
        name = os.fsdecode(table.name(index))
        value = symbol.value + (module.base if symbol.section != t.SHN_ABS else 0) & _WORD
    return Address(module.path, span(module)[0], name, value, index, space, module)


def tls_data(module: Module) -> int:
    """This thread's block of a module, 0 without one."""
    if not module.tls_id:
        return 0
    block = machine.buffer(struct.pack("<QQ", module.tls_id, 0))
    return machine.call(machine.host_symbol("__tls_get_addr"), machine.address_of(block))


def _about(name: str, text: str) -> str:
    """A sentence of dlerror(3) about a file, if it has a name."""
    return f"{name}: {text}" if name else text


def origin_of(module: Module) -> str:
    """The directory a module came from."""
    return os.path.dirname(os.path.abspath(module.path))


# -- what loaded code calls -----------------------------------------------------------------------------


class Service:
    """The dlopen family for libraries that are loaded by us."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.local = threading.local()
        self.real = {
            name: machine.host_symbol(name)
            for name in ("dlopen", "dlsym", "dlvsym", "dlclose", "dladdr", "dladdr1", "dlinfo")
        }

    def table(self) -> dict[str, tuple[Callable[..., int], int]]:
        """Word of the machine code -> (function, number of arguments)."""
        return {
            "dlopen": (self._guard(self.dlopen), 3),
            "dlmopen": (self._guard(self.dlmopen), 4),
            "dlsym": (self._guard(self.dlsym), 3),
            "dlvsym": (self._guard(self.dlvsym), 4),
            "dlclose": (self._guard(self.dlclose, -1), 1),
            "dlerror": (self._guard(self.dlerror), 0),
            "dladdr": (self._guard(self.dladdr), 2),
            "dladdr1": (self._guard(self.dladdr1), 4),
            "dlinfo": (self._guard(self.dlinfo, -1), 3),
            "bind": (self.bind, 2),
            "enter": (self.enter, 1),
            "leave": (self.leave, 1),
        }

    def _guard(self, function: Callable[..., int], failure: int = 0) -> Callable[..., int]:
        """What goes wrong is left for dlerror, errno is left alone; nothing is thrown into C."""

        def guarded(*arguments: int) -> int:
            saved = machine.errno()
            try:
                return function(*arguments)
            except RtldError as error:
                self.local.text = str(error)
            except (OSError, MemoryError, ValueError) as error:
                self.local.text = f"rtld: {error}"
            finally:
                machine.set_errno(saved)
            return failure & _WORD

        return guarded

    def _caller(self, address: int) -> tuple[Space, Module]:
        found = self.process.containing(address)
        if found is not None:
            return found
        # Called through a pointer from code that is not ours: as from the program.
        if not self.process.spaces:
            raise DlError("every library has been closed")
        space = self.process.spaces[0]
        return space, space.ns.main

    def _handle(self, handle: int) -> tuple[Space, Module] | None:
        return self.process.by_map.get(handle)

    def dlopen(self, file: int, mode: int, caller: int) -> int:
        """void *dlopen(const char *file, int mode)"""
        space, module = self._caller(caller)
        mode &= 0xFFFFFFFF
        name = os.fsdecode(machine.read_string(file)) if file else ""
        if not mode & (RTLD_LAZY | RTLD_NOW):
            raise DlError(_about(name, "invalid mode for dlopen(): Invalid argument"))
        return self.open(space, module, name, mode)

    def open(self, space: Space, requester: Module, name: str, mode: int) -> int:
        """dlopen within a space: the handle."""
        with self.process.lock:
            if not name:
                return space.maps[space.ns.main]
            with Quiet(space):
                opened = open_library(space, name, mode, requester)
            if opened is None:
                return 0
            initialise(space, opened[1])
            return space.maps[opened[0]]

    def dlmopen(self, lmid: int, file: int, mode: int, caller: int) -> int:
        """void *dlmopen(Lmid_t lmid, const char *file, int mode)"""
        space, _module = self._caller(caller)
        name = os.fsdecode(machine.read_string(file)) if file else ""
        mode &= 0xFFFFFFFF
        if not mode & (RTLD_LAZY | RTLD_NOW):
            raise DlError(_about(name, "invalid mode for dlopen(): Invalid argument"))
        with self.process.lock:
            if lmid == LM_ID_NEWLM & _WORD:
                space = Space(self.process, host="libc", model=space.model)
                space.transient = True
            else:
                found = next((s for s in self.process.spaces if s.lmid == lmid), None)
                if found is None and lmid != LM_ID_BASE:
                    what = "invalid target namespace in dlmopen(): Invalid argument"
                    raise DlError(_about(name, what))
                space = found or space
            try:
                return self.open(space, space.ns.main, name, mode)
            finally:
                retire_namespace(space)

    def dlsym(self, handle: int, name: int, caller: int) -> int:
        """void *dlsym(void *handle, const char *symbol)"""
        return self._symbol(handle, name, None, caller)

    def dlvsym(self, handle: int, name: int, version: int, caller: int) -> int:
        """void *dlvsym(void *handle, const char *symbol, const char *version)"""
        return self._symbol(
            handle, name, machine.read_string(version).decode("utf-8", "replace"), caller
        )

    def _symbol(self, handle: int, name: int, version: str | None, caller: int) -> int:
        text = os.fsdecode(machine.read_string(name))
        with self.process.lock:  # against concurrent loads and unloads (dlfcn/dlsym.c)
            return self._find(handle, name, text, version, caller)

    def _find(self, handle: int, name: int, text: str, version: str | None, caller: int) -> int:
        if handle in (0, RTLD_NEXT):
            space, module = self._caller(caller)
            pick = (
                next_scope(space.opened, module)
                if handle
                else default_scope(space.ns, space.opened, module)
            )
            self._depend(space, module, pick, text, version)
            return look_up(space, pick, text, version, module.path)
        found = self._handle(handle)
        if found is None:
            # A handle of ld.so's that somebody passed on.
            arguments = (
                (handle, name)
                if version is None
                else (handle, name, machine.address_of(machine.buffer(version.encode() + b"\0")))
            )
            return machine.call(self.real["dlsym" if version is None else "dlvsym"], *arguments)
        space, module = found
        return look_up(space, scope_of_handle(space, module), text, version, module.path)

    @staticmethod
    def _depend(
        space: Space, module: Module, scope: Iterable[Module], name: str, version: str | None
    ) -> None:
        """Who finds a symbol without a handle keeps its module (elf/dl-sym.c, DL_LOOKUP_ADD_DEPENDENCY)."""
        wanted = version.encode() if version is not None else None
        found = find_symbol(scope, os.fsencode(name), wanted, strong_first=space.ns.dynamic_weak)
        if found is not None and not found[0].hosted and found[0] is not module:
            if module.hosted:
                # The program stays, and so does what it found.
                space.opened.pinned.add(found[0])
                return
            known = space.opened.extra.get(module, set())
            space.opened.extra[module] = known | {found[0]}
            space.order.depends(module, found[0])

    def dlclose(self, handle: int) -> int:
        """int dlclose(void *handle)"""
        found = self._handle(handle)
        if found is None:
            return machine.call(self.real["dlclose"], handle)
        space, module = found
        with self.process.lock:
            if not module.hosted:
                close_library(space, module)
                retire_namespace(space)
        return 0

    def dlerror(self) -> int:
        """char *dlerror(void)"""
        text = getattr(self.local, "text", None)
        if text is None:
            return 0
        self.local.text = None
        self.local.said = machine.buffer(text.encode("utf-8", "surrogateescape") + b"\0")
        return machine.address_of(self.local.said)

    def dladdr(self, address: int, info: int) -> int:
        """int dladdr(const void *addr, Dl_info *info)"""
        return self._address(address, info, 0, 0)

    def dladdr1(self, address: int, info: int, extra: int, flags: int) -> int:
        """int dladdr1(const void *addr, Dl_info *info, void **extra_info, int flags)"""
        return self._address(address, info, extra, flags & 0xFFFFFFFF)

    def _address(self, address: int, info: int, extra: int, flags: int) -> int:
        with self.process.lock:
            found = find_address(self.process, address)
        if found is None:
            if flags:
                return machine.call(self.real["dladdr1"], address, info, extra, flags) & 0xFFFFFFFF
            return machine.call(self.real["dladdr"], address, info) & 0xFFFFFFFF
        module = found.module
        dynamic = module.file.dynamic
        record = found.space.maps[module]
        name = entry = 0
        if found.entry:
            name = module.base + dynamic[t.DT_STRTAB] + dynsym(module.file).symbol(found.entry).name
            entry = module.base + dynamic[t.DT_SYMTAB] + 24 * found.entry
        path = machine.read_word(record + 8)  # l_name
        machine.write(info, struct.pack("<4Q", path, found.base, name, found.value))
        if flags == RTLD_DL_SYMENT:
            machine.write_word(extra, entry)
        elif flags == RTLD_DL_LINKMAP:
            machine.write_word(extra, record)
        return 1

    def dlinfo(self, handle: int, request: int, argument: int) -> int:
        """int dlinfo(void *handle, int request, void *info)"""
        found = self._handle(handle)
        if found is None:
            return machine.call(self.real["dlinfo"], handle, request, argument)
        space, module = found
        request &= 0xFFFFFFFF
        if request == DI_LMID:
            machine.write_word(argument, space.lmid)
        elif request == DI_LINKMAP:
            machine.write_word(argument, space.maps[module])
        elif request == DI_ORIGIN:
            machine.write(argument, os.fsencode(origin_of(module)) + b"\0")
        elif request == DI_TLS_MODID:
            machine.write_word(argument, module.tls_id)
        elif request == DI_TLS_DATA:
            machine.write_word(argument, tls_data(module))
        elif request == DI_PHDR:
            phdr, phnum = program_headers(module)
            machine.write_word(argument, phdr)
            return phnum
        elif request in (DI_SERINFO, DI_SERINFOSIZE):
            self._serinfo(space, argument, request == DI_SERINFOSIZE)
        else:
            raise DlError("unsupported dlinfo request")
        return 0

    @staticmethod
    def _serinfo(space: Space, argument: int, only_size: bool) -> None:
        """Dl_serinfo: the directories a name is looked for in."""
        directories = [
            os.fsencode(d.rstrip("/") or "/") for d in space.ns.search.default_directories
        ]
        size = 16 + 16 * len(directories) + sum([len(d) + 1 for d in directories])
        machine.write(argument, struct.pack("<QI", size, len(directories)))
        if only_size:
            return
        at = argument + 16 + 16 * len(directories)
        for i, directory in enumerate(directories):
            machine.write(argument + 16 + 16 * i, struct.pack("<QI", at, 0))
            machine.write(at, directory + b"\0")
            at += len(directory) + 1

    # -- slots -----------------------------------------------------------------------------------------

    def bind(self, table: int, index: int) -> int:
        """The first call through a slot nobody has filled: where it goes."""
        from rtld.process.inprocess.lazy import bind_slot

        saved = machine.errno()
        result = bind_slot(self.process, table, index)
        machine.set_errno(saved)
        return result

    def enter(self, frame: int) -> int:
        """A watched call begins: how many bytes of its arguments on the stack to copy, or -1."""
        from rtld.process.inprocess.hooks import enter_call

        saved = machine.errno()
        result = enter_call(self.process, frame)
        machine.set_errno(saved)
        return result

    def leave(self, frame: int) -> int:
        """A watched call has returned."""
        from rtld.process.inprocess.hooks import leave_call

        saved = machine.errno()
        leave_call(self.process, frame)
        machine.set_errno(saved)
        return 0


__all__ = [
    "Address",
    "NotFound",
    "Service",
    "address_of",
    "find_address",
    "look_up",
    "origin_of",
    "scope_of_handle",
    "tls_data",
]
