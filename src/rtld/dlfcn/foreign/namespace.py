"""``ForeignNamespace``: one emulated CPU with a C library, and the libraries that are opened there."""

from __future__ import annotations

import atexit
import os
import weakref

from rtld.core.module import Module
from rtld.debian.sysroot import known_packages_with
from rtld.dlfcn.flags import KNOWN, RTLD_LAZY, RTLD_NOW
from rtld.dlfcn.foreign.library import ForeignLibrary
from rtld.dlfcn.opened import Closed, Closing
from rtld.elf.file import ElfFile
from rtld.errors import NotFound, UnresolvedSymbol
from rtld.events import QUIET
from rtld.process.foreign.guest import Guest
from rtld.process.foreign.world import World
from rtld.process.hooks import SearchHook

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.events import Reporter
    from rtld.process.hooks import Hooks


class MissingLibrary(NotFound):
    """A library that the sysroot does not have. ``packages``: those that have it, as far as that is known."""

    def __init__(self, error: NotFound, sysroot: str) -> None:
        super().__init__(error.name, error.requester, error.candidates, error.reason)
        self.sysroot = sysroot
        self.packages = known_packages_with(sysroot, os.path.basename(error.name))

    def __str__(self) -> str:
        text = super().__str__()
        if self.packages:
            name = self.packages[0]
            return f"{text}; package {name} has it: rtld sysroot add {self.sysroot} {name}"
        return text


class ForeignNamespace(Closing):
    """A machine of its own. As a context manager it ends it.

    sysroot         a directory with the C library (``rtld sysroot create``)
    cpu, model      which CPU, and "glibc" or "musl", where the sysroot has C libraries of several
    library_path    LD_LIBRARY_PATH, as a path of the sysroot's
    seconds         how long one call may take;  memory: bytes that the guest may have
    hooks           a ``Hooks``: who is asked at each event, with the powers of LD_AUDIT
    """

    def __init__(
        self,
        sysroot: str | os.PathLike[str],
        *,
        cpu: str | None = None,
        model: str | None = None,
        library_path: str | None = None,
        seconds: float | None = None,
        memory: int = 1 << 32,
        reporter: Reporter = QUIET,
        hooks: Hooks | None = None,
    ) -> None:
        root = os.fspath(sysroot)
        if not os.path.isdir(root):
            raise NotFound(root, None, (), "no such directory")
        self.sysroot = root
        self.world = World(
            root,
            cpu=cpu,
            model=model,
            library_path=library_path,
            seconds=seconds,
            memory=memory,
            reporter=reporter,
        )
        self.cpu = self.world.arch.name
        self.guest = Guest(self.world.machine, self.cpu, self.world.caller)
        self.guest.where_errno_is(self.world.call(self.world.libc_symbol("__errno_location")))
        if hooks is not None:
            from rtld.process.foreign.hooks import Audit

            self.world.audit = Audit(self.world, self.guest, hooks)
            search = self.world.ns.search
            search.rules = SearchHook(search.rules, hooks)
        self._libraries: weakref.WeakSet[ForeignLibrary] = weakref.WeakSet()
        self._number = 0
        self.closed = False

    def __repr__(self) -> str:
        return f"<ForeignNamespace {self.cpu} of {self.sysroot}>"

    @property
    def modules(self) -> list[Module]:
        """The modules that our linker has loaded, in load order."""
        return [module for module in self.world.ns.modules if not module.hosted]

    def dlopen(
        self,
        source: Any,
        flags: int = RTLD_NOW,
        *,
        use_errno: bool = False,
    ) -> ForeignLibrary:
        """Load a library of the sysroot and what it needs; None is its C library.

        *source*: a name to be searched for, or a path of the sysroot's; a file of this computer's as an os.PathLike, or bytes.
        Raises NotFound, FormatError, UnresolvedSymbol, ...; then nothing has happened.
        """
        if self.closed:
            raise Closed(repr(self))
        if flags & ~KNOWN:
            raise ValueError(f"flags {flags:#x}: {flags & ~KNOWN:#x} is no flag of dlopen")
        if not flags & (RTLD_LAZY | RTLD_NOW):
            flags |= RTLD_NOW
        if source is None:
            return ForeignLibrary(self, self.world.ns.main, use_errno=use_errno)
        root = None
        if not isinstance(source, str):
            self._number += 1
            path = (
                os.fspath(source) if isinstance(source, os.PathLike) else f"<memory {self._number}>"
            )
            file = ElfFile(path if isinstance(source, os.PathLike) else source, path)
            root = Module(file, path, -1)
            root.soname = file.soname
            source = f"\0{self._number}"
        try:
            module = self.world.open(source, flags, root=root)
        except NotFound as error:
            raise MissingLibrary(error, self.sysroot) from None
        library = ForeignLibrary(self, module, use_errno=use_errno)
        self._libraries.add(library)
        return library

    def close_library(self, module: Module) -> None:
        """Give one opening back."""
        if not self.closed and not module.hosted:
            self.world.close_library(module)

    # -- memory ---------------------------------------------------------------------------------------

    def alloc(self, size: int) -> int:
        """malloc of the guest."""
        address = self.world.call(self._libc("malloc"), max(size, 1))
        if not address:
            raise MemoryError(f"the guest has no {size:#x} bytes")
        return address

    def free(self, address: int) -> None:
        """free."""
        self.world.call(self._libc("free"), address)

    def _libc(self, name: str) -> int:
        """Of a library that has its own, like the libraries themselves."""
        for module in self.world.ns.global_scope.modules:
            try:
                return self.world.symbol(module, name, None)
            except UnresolvedSymbol:
                continue
        return self.world.libc_symbol(name)

    # -- the end --------------------------------------------------------------------------------------

    def close(self) -> None:
        """End the machine: termination functions run, what the C library has not written yet is written."""
        if self.closed:
            return
        self.closed = True
        for library in list(self._libraries):
            library.close()
        self.guest.close()
        self.world.finish()


_known: dict[tuple[str, str | None], ForeignNamespace] = {}


def foreign_namespace(sysroot: str | os.PathLike[str], **options: Any) -> ForeignNamespace:
    """The machine of a sysroot, made when first asked for; with further options one of its own."""
    if options.keys() - {"cpu"}:
        return ForeignNamespace(sysroot, **options)
    key = os.path.realpath(os.fspath(sysroot)), options.get("cpu")
    found = _known.get(key)
    if found is None or found.closed:
        found = _known[key] = ForeignNamespace(sysroot, **options)
        if len(_known) == 1:
            atexit.register(_finish)
    return found


def _finish() -> None:
    for namespace in _known.values():
        namespace.close()
