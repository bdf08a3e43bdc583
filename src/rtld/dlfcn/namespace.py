"""``Namespace``: libraries that see one another and nobody else. The default one also sees the program, Python itself."""

from __future__ import annotations

import os

from rtld.backends.inprocess import call
from rtld.core.module import Module, Scope
from rtld.dlfcn.flags import (
    KNOWN,
    RTLD_DEFAULT,
    RTLD_GLOBAL,
    RTLD_GROUP,
    RTLD_LAZY,
    RTLD_NEXT,
    RTLD_NOSHARE,
    RTLD_NOW,
    RTLD_SELF,
    RTLD_WORLD,
)
from rtld.dlfcn.library import Library
from rtld.dlfcn.opened import Closed, Closing
from rtld.elf.dlopen import default_scope, next_scope
from rtld.elf.file import ElfFile
from rtld.elf.search import SearchOptions
from rtld.elf.verify import WRONG_CLASS, WRONG_MACHINE
from rtld.errors import NotFound
from rtld.events import QUIET
from rtld.process.hooks import Hooks, SearchHook
from rtld.process.inprocess.calls import look_up
from rtld.process.inprocess.close import close_library, close_namespace, initialise
from rtld.process.inprocess.express import open_at_once
from rtld.process.inprocess.open import open_library
from rtld.process.inprocess.quiet import Quiet
from rtld.process.inprocess.space import Space, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from rtld.events import Reporter


def _note_other_cpus(error: NotFound) -> None:
    """ld.so has no word for files that are for another CPU; say it below the error."""
    for candidate in error.candidates:
        if candidate.outcome in (WRONG_MACHINE, WRONG_CLASS):
            error.add_note(
                f"{candidate.path} is for another CPU ({candidate.detail}); "
                "rtld.dlopen(..., sysroot=DIRECTORY) loads it onto an emulated one, rtld.link reads it"
            )


class Namespace(Closing):
    """A namespace of libraries in this process. As a context manager it closes what it opened.

    host           what of the host its libraries see: "libc" (the default), "program" (also Python's own functions), "all"
                   (every library that ld.so has loaded is used instead of a copy)
    model          whose rules of search, versions and look-up: "glibc", "musl", "freebsd", "bionic", "qnx-doc", "qnx"
    library_path   LD_LIBRARY_PATH for it; further keywords are those of ``SearchOptions``
    preload        libraries whose symbols come before all others, a list or in the words of LD_PRELOAD
    hooks          a ``Hooks``: who is asked at each event, with the powers of LD_AUDIT
    reporter       who is told (rtld.events): Trace writes what LD_DEBUG would
    """

    def __init__(
        self,
        name: str = "",
        *,
        host: str = "libc",
        model: str = "glibc",
        preload: str | Iterable[str] = (),
        reporter: Reporter = QUIET,
        hooks: Hooks | None = None,
        **search: Any,
    ) -> None:
        self.name = name or "namespace"
        self._libraries: set[Library] = set()
        self._number = 0
        with process().lock:
            self._space = Space(
                process(),
                host=host,
                model=model,
                reporter=reporter,
                options=SearchOptions(**search),
                label=name,
            )
        self.closed = False
        if hooks is not None:
            self._space.hooks = hooks
            rules = self._space.ns.search.rules
            self._space.ns.search.rules = SearchHook(rules, hooks)
        if isinstance(preload, str):  # as in LD_PRELOAD
            preload = preload.replace(":", " ").split()
        for library in preload:
            self._preload(library)

    def __repr__(self) -> str:
        count = len(self.modules)
        return f"<Namespace {self.name}: {count} librar{'y' if count == 1 else 'ies'}>"

    @property
    def modules(self) -> list[Module]:
        """The modules that are its own, in load order."""
        return [module for module in self._space.ns.modules if not module.hosted]

    @property
    def model(self) -> str:
        """Whose rules are followed."""
        return self._space.model

    def dlopen(
        self,
        source: Any,
        flags: int = RTLD_NOW,
        *,
        name: str | None = None,
        origin: str | None = None,
        use_errno: bool = False,
    ) -> Library:
        """Load a library and what it needs.

        *source*: a name to be searched for, a path (with a slash, or os.PathLike), bytes, a descriptor, a binary file; None, or
        to glibc an empty name, is the program. *name* is what bytes are called; *origin* the directory that $ORIGIN means for them.
        Raises NotFound, FormatError, UnresolvedSymbol, VersionMismatch, NoSpace, ...; then nothing has happened.
        With RTLD_NOLOAD, NotFound if it is not loaded.
        """
        if self.closed:
            raise Closed(repr(self))
        if flags & ~KNOWN:
            raise ValueError(f"flags {flags:#x}: {flags & ~KNOWN:#x} is no flag of dlopen")
        if not flags & (RTLD_LAZY | RTLD_NOW):
            flags |= RTLD_NOW
        options = {"flags": flags, "name": name, "origin": origin, "use_errno": use_errno}
        space = self._space
        if flags & ~RTLD_GLOBAL == RTLD_NOW and isinstance(source, str | os.PathLike):
            with process().lock:
                wanted = source if isinstance(source, str) else self._root(source, None, None)[0]
                with Quiet(space):
                    at_once = open_at_once(space, wanted, everywhere=flags != RTLD_NOW)
                    if at_once is not None:
                        library = Library(self, at_once[0], source, options)
                        self._libraries.add(library)
                if at_once is not None:
                    for function in at_once[1]:
                        call(function, *space.process.arguments)
                    return library
        if flags & RTLD_NOSHARE and (not flags & RTLD_GROUP or flags & RTLD_WORLD):
            raise ValueError("invalid mode: RTLD_NOSHARE is for RTLD_GROUP alone")
        if source is None or (source == "" and space.model == "glibc"):
            return Library(self, space.ns.main, None, options)
        with process().lock:
            with Quiet(space):
                if flags & RTLD_NOSHARE and isinstance(source, str):
                    # A copy of its own: the same file, decoded again, is no longer the module that is loaded already.
                    path = space.ns.search.find(source, space.ns.main).path
                    with open(path, "rb") as stream:
                        source, name = stream.read(), name or path
                label, root, fd = self._root(source, name, origin)
                if fd >= 0 and root is not None:
                    space.descriptors_of_files[root] = fd
                try:
                    opened = open_library(space, label, flags, None, root)
                except BaseException as error:
                    if fd >= 0 and root is not None:
                        os.close(space.descriptors_of_files.pop(root))
                    if isinstance(error, NotFound):
                        _note_other_cpus(error)
                    raise
                if opened is None:
                    raise NotFound(
                        label, None, (), "it is not loaded, and RTLD_NOLOAD was asked for"
                    )
                library = Library(self, opened[0], source, options)
                self._libraries.add(library)
            initialise(space, opened[1])
        return library

    def _root(
        self, source: Any, name: str | None, origin: str | None
    ) -> tuple[str, Module | None, int]:
        """The name to be found, and the module where there is only content and no name."""
        if isinstance(source, str):
            return source, None, -1
        if hasattr(source, "__fspath__"):
            path = os.fsdecode(source)
            return path if "/" in path else f"./{path}", None, -1
        fd = -1
        if hasattr(source, "fileno") and not isinstance(source, int):
            try:
                source = source.fileno()
            except OSError:
                source = source.read()
                if isinstance(source, str):
                    raise TypeError("a file of text; libraries are read from binary ones") from None
        self._number += 1
        label = name or f"<memory {self._number}>"
        file = ElfFile(source, label)
        if isinstance(source, int):
            fd = os.dup(source)
            known = self._space.ns.by_identity.get(file.identity) if file.identity else None
            if known is not None:
                os.close(fd)
                return known.path, None, -1
        module = Module(file, os.path.join(origin, label) if origin else label, -1)
        module.soname = file.soname
        return f"\0{self._number}", module, fd

    def _preload(self, name: str) -> None:
        """Open a library whose symbols come first."""
        space = self._space
        before = space.ns.global_scope.modules
        library = self.dlopen(name, RTLD_NOW | RTLD_GLOBAL)
        main = [m for m in before if m is space.ns.main]
        mine = library.modules[:1]
        space.preloads += mine
        rest = [m for m in space.ns.global_scope.modules if m not in mine and m not in main]
        space.ns.global_scope = Scope("global", (*main, *mine, *rest))

    def pseudo(self, handle: int, name: str, version: str | None, caller: Library | None) -> int:
        """dlsym with RTLD_DEFAULT, RTLD_NEXT or RTLD_SELF, as asked by *caller* (by default the program)."""
        space = self._space
        if not isinstance(name, str):
            raise TypeError(f"a symbol is a str, not {type(name).__name__}")
        with process().lock:  # against concurrent loads and unloads
            module = caller.module if caller is not None else space.ns.main
            if handle == RTLD_DEFAULT:
                scope = default_scope(space.ns, space.opened, module)
            elif handle == RTLD_NEXT:
                scope = next_scope(space.opened, module)
            elif handle == RTLD_SELF:
                scope = [module, *next_scope(space.opened, module)]
            else:
                raise ValueError(
                    f"{handle!r} is no handle: a Library, RTLD_DEFAULT, RTLD_NEXT or RTLD_SELF"
                )
            return look_up(space, scope, name, version, module.path)

    # -- the end ----------------------------------------------------------------------------------------

    def _close(self, library: Library) -> None:
        with process().lock:
            self._libraries.discard(library)
            module = library._closing
            if not module.hosted:
                close_library(self._space, module)

    def _replace(self, old: Library, new: Library) -> None:
        self._libraries.discard(old)
        self._libraries.add(new)

    def close(self) -> None:
        """Close every library in it. What destructors of thread-local objects keep stays until they have run."""
        if self.closed:
            return
        with process().lock:
            for library in list(self._libraries):
                if not library.closed:
                    library._retire()
            close_namespace(self._space)
            self._libraries.clear()
            self.closed = True  # may be called again if a handler of signals has stopped it


_default: Namespace | None = None


def default_namespace() -> Namespace:
    """The namespace of ``rtld.dlopen``: its libraries also see the program, as those of ld.so's dlopen do."""
    global _default  # noqa: PLW0603 - a process has one
    with process().lock:
        if _default is None:
            _default = Namespace("", host="program")
            _default.name = ""
    return _default
