"""Opening and closing libraries in this process: found and bound as ever, mapped where they stay, relocated in place.

The passes are those of a program's start (``elf/link.py``). An image here is the mapped memory itself, seen through the flat
view of the address space; so nothing is copied, and host and own libraries are read by the same code.
"""

from __future__ import annotations

import os

from rtld.backends import inprocess as machine
from rtld.core.image import Image
from rtld.core.module import Scope
from rtld.elf import types as t
from rtld.elf.dlopen import (
    RTLD_NODELETE,
    RTLD_NOW,
    DlError,
    Group,
    add_scope,
    bind_group,
    copy_namespace,
    initialisers,
    make_global,
    note_group,
    open_group,
    scope_of,
)
from rtld.elf.initfini import init_first
from rtld.elf.load import (
    _add,
    binds_now,
    find_module,
    has_text_relocations,
    image_segments,
    protection,
)
from rtld.elf.models import promoted, search_list
from rtld.elf.quick import QuickLink
from rtld.elf.small import GiveUp
from rtld.elf.waiting import Ifunc
from rtld.errors import FormatError, NotFound, UnresolvedSymbol, VersionMismatch
from rtld.process.inprocess.close import close_file, fini_functions
from rtld.process.inprocess.space import PAGE, Space, is_hosted
from rtld.process.inprocess.stack import prepare_stacks
from rtld.process.inprocess.tls import descriptor, lend_tls, write_tls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from rtld.core.module import Module, Namespace
    from rtld.elf.dlopen import Opened

_WORD = (1 << 64) - 1
RTLD_LAZY, RTLD_LAZYLOAD = 0x0001, 0x4000
_MOST_TLS = 1 << 28
_RW = machine.PROT_READ | machine.PROT_WRITE


def _check(module: Module) -> None:
    """What other passes take for granted, and ld.so would crash on."""
    file = module.file
    if (file.machine, file.bits, file.order) != (t.EM_X86_64, 64, "<"):
        raise file.fail("ELF header", "e_machine", file.machine, "62, x86-64")
    relro = file.segment(t.PT_GNU_RELRO)
    if relro is not None:
        low, high = file.span
        start, end = relro.vaddr & -PAGE, relro.vaddr + relro.memsz & -PAGE
        if start < end and not low <= start < end <= (high + PAGE - 1 & -PAGE):
            raise file.fail("PT_GNU_RELRO", "p_vaddr", relro.vaddr, "a range inside the segments")
    tls = file.segment(t.PT_TLS)
    if tls is None:
        return
    if tls.filesz > tls.memsz:
        raise file.fail("PT_TLS", "p_filesz", tls.filesz, f"at most p_memsz {tls.memsz:#x}")
    if tls.memsz > _MOST_TLS or tls.align > _MOST_TLS:
        raise file.fail(
            "PT_TLS", "p_memsz, p_align", max(tls.memsz, tls.align), f"at most {_MOST_TLS:#x}"
        )
    inside = any(
        s.vaddr <= tls.vaddr and tls.vaddr + tls.filesz <= s.vaddr + s.memsz for s in file.loads
    )
    if tls.filesz and not inside:
        raise file.fail("PT_TLS", "p_vaddr", tls.vaddr, "a range inside a PT_LOAD")


def _unique_reason(name: str) -> str:
    return f"defines {name}, which is unique in the process (STB_GNU_UNIQUE)"


def _note(reasons: dict[Module, list[str]], module: Module, reason: str) -> None:
    """Once, however often it is found again."""
    known = reasons.setdefault(module, [])
    if reason not in known:
        known.append(reason)


class Loading:
    """One ``dlopen`` on its way. Nothing of it is visible before ``commit``, and ``undo`` takes everything back."""

    def __init__(self, space: Space, flags: int, *, alone: bool = False) -> None:
        self.space = space
        self.flags = flags
        self.ns: Namespace = copy_namespace(space.ns)
        self.known_files = set(space.ns.search._files)
        self.group: Group
        self.own: list[Module] = []
        self.reserved: list[tuple[int, int]] = []
        self.donors: dict[Module, machine.Donor] = {}
        self.descriptors: dict[Module, tuple[int, int]] = {}
        self.keep: dict[Module, list[object]] = {}
        self.lazy: dict[Module, object] = {}
        self.alone = alone  # without what the library needs
        self.deferred: list[str] = []  # what it will need
        self.thunks: list[tuple[Module, int, int]] = []
        self.link: QuickLink | None = None  # what the short way found
        self.redirections: dict[Module, list[Any]] = {}

    # -- until it is relocated ------------------------------------------------------------------------

    def find(self, name: str, requester: Module, *, noload: bool = False) -> Group | None:
        """The closure of what is asked for; members of the libc family are opened by ld.so."""
        ns = self.ns
        known = set(ns.modules)
        group: Group | None
        try:
            if self.alone:
                group = self._open_alone(name, requester)
            else:
                group = open_group(ns, name, requester, noload=noload)
        except DlError as error:
            self.own = [m for m in ns.modules if m not in known and not m.hosted]
            raise self._typed(error) from None
        if group is None:
            return None
        self.group = group
        for module in group.new:
            if is_hosted(module.soname or module.path):
                self._adopt(module)
        self.own = [module for module in group.new if not module.hosted]
        for module in self.own:
            _check(module)
        return group

    def _open_alone(self, name: str, requester: Module) -> Group:
        """The library without what it needs, but for libc; the rest is loaded when a symbol of it is first needed."""
        ns = self.ns
        known = set(ns.modules)
        root = find_module(ns, name, requester)
        if root in known:
            return Group(root, self.space.opened.lists.get(root, [root]), [])
        _add(ns, root)
        family = []
        for wanted in root.file.needed:
            if not is_hosted(wanted):
                self.deferred.append(wanted)
                continue
            module = find_module(ns, wanted, root)
            if module.index < 0:
                _add(ns, module)
            root.needed.append(module)
            family.append(module)
        new = [module for module in ns.modules if module not in known]
        for module in new:
            module.init_index = len(ns.modules)
        return Group(root, [root, *family], new)

    def search_list(self) -> list[Module]:
        """Where the group's references are looked up, by the model of the space."""
        space, ns = self.space, self.ns
        if space.model == "glibc":
            return scope_of(ns, self.group, self.flags)
        return search_list(
            space.model, self.flags, self.group.order,
            program=ns.main, preloads=space.preloads, everybody=ns.global_scope.modules,
        )  # fmt: skip

    def promote(self) -> None:
        """DF_1_GLOBAL, where the model heeds it: global without having been asked for."""
        mine = promoted(self.space.model, self.own)
        if mine:
            make_global(self.ns, mine)

    def _adopt(self, module: Module) -> None:
        try:
            self.space.process.adopt(module)
        except OSError as error:
            raise DlError(str(error)) from None
        overrides, self.space.ns.overrides = self.space.ns.overrides, self.ns.overrides
        try:
            self.space.replace_functions([module])
        finally:
            self.space.ns.overrides = overrides

    def _typed(self, error: DlError) -> Exception:
        """The exception with fields for a sentence of glibc's."""
        if isinstance(error.__context__, NotFound | FormatError):
            return error.__context__
        for problem in self.ns.problems:
            if problem.message != error.text:
                continue
            if problem.kind == "library":
                return next(iter(self.ns.missing[problem.subject]))[1]
            if problem.kind == "symbol":
                return UnresolvedSymbol(problem.module, problem.subject, problem.version)
            if problem.kind == "version":
                return VersionMismatch(problem.subject, problem.version or "", problem.module)
        return error

    def map(self) -> None:
        """Every own module at its place, its writable pages ready to be relocated."""
        for module in self.own:
            low, high = module.file.span
            size = high - low + PAGE - 1 & -PAGE
            if size == 0:
                raise module.file.fail("program headers", "PT_LOAD", "none", "at least one")
            prepare_stacks(module)
            start = machine.reserve(size, module.file.max_align)
            self.reserved.append((start, size))
            module.base = start - low
            self._map_segments(module)

    def _map_segments(self, module: Module) -> None:
        file = module.file
        fd = self._descriptor_of(module)
        try:
            for load in file.loads:
                start = module.base + load.vaddr & -PAGE
                end = module.base + load.vaddr + load.filesz
                top = module.base + load.vaddr + load.memsz + PAGE - 1 & -PAGE
                prot = protection(load.flags)
                whole = end + PAGE - 1 & -PAGE
                if not load.filesz:
                    whole = start
                elif fd >= 0 and (load.offset - load.vaddr) % PAGE == 0:
                    machine.map_file(start, whole - start, prot, fd, load.offset & -PAGE)
                    if load.memsz > load.filesz and load.flags & t.PF_W and end < whole:
                        machine.clear(end, whole - end)
                else:
                    machine.map_memory(start, whole - start, _RW)
                    machine.write(module.base + load.vaddr, bytes(file.contents(load)))
                    if prot != _RW:
                        machine.protect(start, whole - start, prot)
                if top > whole:
                    machine.map_memory(whole, top - whole, prot)
        finally:
            if fd >= 0:
                os.close(fd)

    def _descriptor_of(self, module: Module) -> int:
        """An open descriptor of the very file that was decoded, or -1: then its bytes are copied."""
        fd = self.space.descriptors_of_files.get(module, -1)
        if fd >= 0:
            return os.dup(fd)
        if module.file.path is None or module.file.identity is None:
            return -1
        try:
            fd = os.open(module.file.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return -1
        status = os.fstat(fd)
        if (
            status.st_dev,
            status.st_ino,
        ) != module.file.identity or status.st_size != module.file.size:
            os.close(fd)
            return -1
        return fd

    def relocate(self) -> None:
        """Bind the group, and store everything that can be known without running its code."""
        if not self._relocate_quickly():
            self._relocate_columns()

    def _relocate_quickly(self) -> bool:
        """The same by machine code (``elf/quick.py``)."""
        space = self.space
        if not space.quick or space.hooks is not None:
            return False
        now = bool(self.flags & RTLD_NOW or self.ns.search.env.get("LD_BIND_NOW"))
        try:
            link = QuickLink(self.ns, self.own, self.search_list(), space.process.kernel, now=now)
        except GiveUp:
            return False
        if link.tls or any(module.file.segment(t.PT_TLS) for module in self.own):
            lend_tls(self, link.static_tls())
            write_tls(self, link.tls)
        self.ns.ifuncs = [Ifunc(None, -1, p, r, a, False) for p, r, a in link.ifuncs]
        self.link = link
        for module in self.group.new:
            module.scopes = (self.ns.global_scope,)
        return True

    def _relocate_columns(self) -> None:
        from rtld.elf.hosted import adjust_images, relocate_tls, tls_users
        from rtld.elf.images import relocate_relative
        from rtld.elf.lookup import Columns
        from rtld.elf.relocate import relocate_symbolic

        ns = self.ns
        # Fresh columns: what has been closed since is in none of them.
        ns.columns = Columns([m for m in ns.modules if m not in set(self.group.new)])
        ns.ifuncs, ns.copies, ns.descriptors, ns.counts = [], [], [], {}
        try:
            self._bind()
            self._refuse_undefined()
        except DlError as error:
            raise self._typed(error) from None
        self._tell()
        self._make_images()
        relocate_relative(ns, self.own)
        if len(ns.relocations.at):
            relocate_symbolic(ns, self.own, ns.relocations, ns.bindings)
            adjust_images(ns, link_map=lambda _module: 0, binder=0)
            lend_tls(self, tls_users(ns))
            relocate_tls(ns, lambda module, value: descriptor(self, module, value))
        for problem in ns.problems:
            if problem.kind == "text relocation" and problem.fatal:
                raise DlError(problem.message)

    def _bind(self) -> None:
        """``bind_group``; other models have the group's references looked up in another order."""
        ns = self.ns
        if self.space.model == "glibc":
            bind_group(ns, self.group, self.flags)
            return
        saved, group = ns.global_scope, self.group
        ns.global_scope = Scope("search list", tuple(self.search_list()))
        try:
            bind_group(ns, Group(group.root, [], group.new), 0)
        finally:
            ns.global_scope = saved

    def _tell(self) -> None:
        if self.ns.reporter.wants & {"symbols", "bindings"}:
            from rtld.elf.explain import tell_bindings

            tell_bindings(self.ns, self.ns.reporter)

    def _refuse_undefined(self) -> None:
        now = self.flags & RTLD_NOW or self.ns.search.env.get("LD_BIND_NOW")
        eager = {module.path for module in self.own if now or binds_now(module)}
        for problem in self.ns.problems:
            if problem.kind == "symbol" and (problem.fatal or problem.module in eager):
                raise UnresolvedSymbol(problem.module, problem.subject, problem.version)

    def _make_images(self) -> None:
        """The writable part of each mapped module, as slices of the whole address space."""
        from rtld.elf.flat import ORIGIN, flat_bytes

        memory = self.ns.arena = flat_bytes()
        for module in self.own:
            segments = image_segments(module)
            low = segments[0].vaddr & -PAGE if segments else 0
            high = segments[-1].vaddr + segments[-1].memsz + PAGE - 1 & -PAGE if segments else 0
            start = module.base + low - ORIGIN
            module.image = Image(
                memory[start : start + high - low], low, module.base, start, segments
            )
            if has_text_relocations(module):
                for load in module.file.loads:
                    if not load.flags & t.PF_W:
                        self._protect(module, load, _RW)

    @staticmethod
    def _protect(module: Module, load: Any, prot: int) -> None:
        start = module.base + load.vaddr & -PAGE
        end = module.base + load.vaddr + load.memsz + PAGE - 1 & -PAGE
        machine.protect(start, end - start, prot)

    # -- running its code ---------------------------------------------------------------------------------

    def resolve_ifuncs(self) -> None:
        """Ask every resolver, after everything else is in place."""
        asked = self.space.ifuncs
        for ifunc in self.ns.ifuncs:
            if ifunc.resolver not in asked:
                asked[ifunc.resolver] = machine.call(ifunc.resolver)
            machine.write_word(ifunc.place, asked[ifunc.resolver] + ifunc.addend)

    def protect(self) -> None:
        """Final protections: text that was relocated, PT_GNU_RELRO (elf/dl-reloc.c, _dl_protect_relro)."""
        for module in self.own:
            if has_text_relocations(module):
                for load in module.file.loads:
                    if not load.flags & t.PF_W:
                        self._protect(module, load, protection(load.flags))
            relro = module.file.segment(t.PT_GNU_RELRO)
            if relro is not None:
                start = module.base + relro.vaddr & -PAGE
                end = module.base + relro.vaddr + relro.memsz & -PAGE
                if start < end:
                    machine.protect(start, end - start, machine.PROT_READ)

    def commit(self) -> list[Module]:
        """Make the group part of its space; returns whose initialisers are to run."""
        space, ns, group = self.space, self.ns, self.group
        process = space.process
        if not group.new:
            if group.root not in space.opened.lists:
                space.order.opened(group.root, group.order)
                add_scope(space.opened, group.root, group.order)
                process.publish()
            space.ns.global_scope = ns.global_scope
            self._note_nodelete(space.opened)
            return []
        opened = space.opened.copy()
        if self.link is not None:
            self._note_link(opened, self.link)
        elif self.own:
            note_group(ns, opened, group)
            self._note_reasons(opened)
        else:
            opened.lists.setdefault(group.root, group.order)
        self._note_nodelete(opened)
        order = self._order()
        ns.columns = ns.relocations = ns.bindings = ns.arena = None
        for module in self.own:
            module.image = None
        space.ns, space.opened = ns, opened
        space.donors.update(self.donors)
        space.descriptors.update(self.descriptors)
        space.lazy.update(self.lazy)
        space.deferred.update(ns.postponed)
        ns.postponed, ns.lazy_load = {}, False
        if self.deferred and self.flags & RTLD_LAZYLOAD:
            space.deferred[group.root] = self.deferred
        space.thunks.update({module: (start, size) for module, start, size in self.thunks})
        process.add_records(space, group.new)
        process.redirections.update(self.redirections)
        for module, blocks in self.keep.items():
            process.keep.setdefault(module, []).extend(blocks)
        for module in self.own:
            space.finis[module] = fini_functions(module)
        space.initialised.update(order)
        process.publish()
        return order

    def _order(self) -> list[Module]:
        """Whose initialisers run, dependencies first; and what the order of termination will depend on."""
        group, memory = self.group, self.space.order
        for module in group.new:
            # What is opened directly has no list while its dependencies are sorted (elf/dl-deps.c).
            if module is not group.root:
                memory.lists[module] = [module, *module.needed]
        ordered = memory.opened(group.root, group.order)
        staying = self.space.opened.pinned | {
            m for m in group.new if m.file.dt_flags_1 & t.DF_1_NODELETE
        }
        if self.flags & RTLD_NODELETE:
            staying.add(group.root)
        for module, definer in self._bound():
            # elf/dl-lookup.c, add_dependency: not on what cannot be unloaded anyway.
            if not definer.hosted and definer not in staying:
                memory.depends(module, definer)
        new = set(self.own)
        if self.ns.model == "musl":
            return initialisers(self.ns, group)
        return init_first([m for m in reversed(ordered) if m in new], self.own)

    def _bound(self) -> Iterator[tuple[Module, Module]]:
        """(referrer, definer) of references, as relocation meets them."""
        if self.link is not None:
            for module, used in self.link.used.items():
                for definer in used:
                    yield module, definer
            return
        r, b = self.ns.relocations, self.ns.bindings
        if r is None or not len(r.at) or not len(b):
            return
        modules = b.modules
        row = r.reference[r.reference >= 0]
        pairs = (b.referrer[row] * len(modules) + b.definer[row])[b.definer[row] >= 0]
        for pair in dict.fromkeys(pairs.tolist()):
            yield modules[pair // len(modules)], modules[pair % len(modules)]

    def _note_link(self, opened: Opened, link: QuickLink) -> None:
        """``note_group`` and ``_note_reasons`` after the short way."""
        group, reasons = self.group, self.space.reasons
        add_scope(opened, group.root, group.order)
        for module, used in link.used.items():
            definers = {definer for definer in used if not definer.hosted}
            if definers:
                opened.extra[module] = opened.extra.get(module, set()) | definers
        for module in group.new:
            if module.hosted:
                opened.pinned.add(module)
            elif module.file.dt_flags_1 & t.DF_1_NODELETE:
                opened.pinned.add(module)
                _note(reasons, module, "asks never to be unloaded (DF_1_NODELETE)")
        for module, name in link.unique.items():
            if not module.hosted:
                opened.pinned.add(module)
                _note(reasons, module, _unique_reason(name))

    def _note_nodelete(self, opened: Opened) -> None:
        if self.flags & RTLD_NODELETE and self.group.root not in opened.pinned:
            opened.pinned.add(self.group.root)
            self.space.reasons.setdefault(self.group.root, []).append("opened with RTLD_NODELETE")

    def _note_reasons(self, opened: Opened) -> None:
        """Why modules can never go, in words. Destructors of thread-local objects are counted, so they do not pin."""
        from rtld.elf.resolve import UNIQUE

        reasons = self.space.reasons
        b = self.ns.bindings
        unique: dict[Module, str] = {}
        if b is not None and len(b):
            for row in ((b.kind == UNIQUE) & (b.definer >= 0)).nonzero()[0].tolist():
                unique.setdefault(b.modules[int(b.definer[row])], b.name(row))
        for module, name in unique.items():
            if not module.hosted:
                _note(reasons, module, _unique_reason(name))
        for module in self.own:
            if module.file.dt_flags_1 & t.DF_1_NODELETE:
                _note(reasons, module, "asks never to be unloaded (DF_1_NODELETE)")
            elif module not in unique:
                opened.pinned.discard(module)

    def undo(self) -> None:
        """Nothing has happened."""
        for donor in self.donors.values():
            machine.host_close(donor.handle)
        asked = self.space.ifuncs
        for start, size in self.reserved:
            machine.unmap(start, size)
            for resolver in [r for r in asked if start <= r < start + size]:
                del asked[resolver]
        for _module, start, size in self.thunks:
            machine.unmap(start, size)
        search = self.space.ns.search
        for module in self.own:
            module.image = None
            self.space.maps.pop(module, None)
            search._files.pop(module.file.identity, None)
            close_file(module.file)
        for identity in search._files.keys() - self.known_files:
            # Not those of modules that were loaded before and looked into only now (express.py, ``Late``).
            if identity not in self.space.ns.by_identity:
                close_file(search._files.pop(identity))
        self.ns.columns = self.ns.relocations = self.ns.bindings = None
