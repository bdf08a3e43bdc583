"""musl's rules of library search: ldso/dynlink.c (load_library, path_open, fixup_rpath), as of 1.2.3.

A name without a slash is looked for in

1. LD_LIBRARY_PATH;
2. the RPATH or RUNPATH (one slot; RUNPATH wins) of the requester, of the one that loaded it, and so on up;
3. PREFIX/etc/ld-musl-ARCH.path, PREFIX being two levels above the loader, or else /lib:/usr/local/lib:/usr/lib.

The first file that can be opened is taken: if it is none that can be loaded, the load fails. An error other than "not
there" and "not allowed" ends the search. The C library's names never lead to a file: they are the loader itself.
Rules in ``Found``: "LD_LIBRARY_PATH", "RPATH", "RUNPATH", "ld-musl.path", "default", "path", "libc" (the loader).
"""

from __future__ import annotations

import errno
import os

from rtld.elf.dst import expand_musl
from rtld.elf.ldconf import split_preload
from rtld.elf.search import FOUND, SEARCH_PATH, Found
from rtld.elf.types import machine_name
from rtld.errors import FormatError, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.core.module import Module
    from rtld.elf.file import ElfFile
    from rtld.elf.search import Search

_RESERVED = tuple([f"lib{name}." for name in ("c", "pthread", "rt", "m", "dl", "util", "xnet")])
_GO_ON = (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ENAMETOOLONG)
_NAME_MAX = 255
_BUFFER = 2 * _NAME_MAX + 2


class MuslRules:
    """The state of all searches of a link."""

    __slots__ = ("_lists", "_system", "search")

    lenient = True  # map_library looks at e_type and the program headers only; what does not fit fails below
    cache = None
    lib = "lib"

    def __init__(self, search: Search) -> None:
        self.search = search
        self._lists: dict[ElfFile, tuple[str | None, str]] = {}
        self._system: tuple[str, str] | None = None

    @property
    def default_directories(self) -> tuple[str, ...]:
        """Where the loader looks last."""
        return tuple(
            [
                name.rstrip("/") + "/"
                for name in self._system_path()[0].replace("\n", ":").split(":")
                if name
            ]
        )

    def find(self, name: str, requester: Module | None, preload: bool) -> Found:
        """The rules in order; raises NotFound."""
        del preload
        search = self.search
        if not name:
            search.errno = errno.EINVAL
            raise search.not_found(name, requester)
        if name.startswith(_RESERVED) or name == self._loader():
            return self._loader_itself(name, requester)
        if "/" in name:
            try:
                hit = self._attempt(name, "path", name, requester)
            except OSError as error:
                search.errno = error.errno or errno.ENOENT
                raise search.not_found(name, requester) from None
            if hit is None:
                raise search.not_found(name, requester)
            return self._checked(Found(name, hit, "path", None, search.steps), requester)
        if len(os.fsencode(name)) > _NAME_MAX:
            search.errno = errno.ENAMETOOLONG
            raise search.not_found(name, requester)
        try:
            found = self._by_lists(name, requester)
        except OSError as error:
            # Out of descriptors, a loop of links, an I/O error: looking on would find another library than usual.
            search.errno = error.errno or errno.ENOENT
            found = None
        if found is None:
            raise search.not_found(name, requester)
        found.shortname = found.path.rpartition("/")[2]
        return self._checked(found, requester)

    def _by_lists(self, name: str, requester: Module | None) -> Found | None:
        search = self.search
        env = self._library_path()
        if env:
            rule = "LD_LIBRARY_PATH" if search.options.library_path is None else "--library-path"
            found = self._open_path(name, env, rule, None, requester)
            if found is not None:
                return found
        module = requester
        while module is not None:
            paths, rule = self._list_of(module)
            if paths is not None:
                found = self._open_path(name, paths, rule, module, requester)
                if found is not None:
                    return found
            module = module.loader
        paths, rule = self._system_path()
        return self._open_path(name, paths, rule, None, requester)

    def _open_path(
        self, name: str, paths: str, rule: str, owner: Module | None, requester: Module | None
    ) -> Found | None:
        """The first directory of ``paths`` where ``name`` can be opened. Empty elements and too long paths are none."""
        search = self.search
        search.steps.append((paths, rule, SEARCH_PATH, f"({rule})"))
        for directory in paths.replace("\n", ":").split(":"):
            path = f"{directory}/{name}"
            if not directory or len(os.fsencode(path)) >= _BUFFER:
                continue
            hit = self._attempt(path, rule, name, requester)
            if hit is not None:
                return Found(path, hit, rule, owner, search.steps)
        return None

    def _attempt(self, path: str, rule: str, name: str, requester: Module | None) -> ElfFile | None:
        """The file, None to go on, OSError to end the search, NotFound for a file that cannot be loaded."""
        search = self.search
        try:
            file = search.attempt(path, rule)
        except FormatError as error:
            raise self._unloadable(name, requester, str(error)) from error
        if file is None:
            _path, _rule, outcome, detail = search.steps[-1]
            if outcome in ("wrong class", "wrong machine"):
                raise self._unloadable(name, requester, detail)
            if search.errno not in _GO_ON:
                raise OSError(search.errno, os.strerror(search.errno))
        return file

    def _unloadable(self, name: str, requester: Module | None, why: str) -> NotFound:
        search = self.search
        search.errno = errno.ENOEXEC
        search.other_class = False
        error = search.not_found(name, requester)
        error.reason = f"{error.reason} ({why})"
        return error

    # -- the C library ----------------------------------------------------------------------------

    def _loader(self) -> str:
        return self.search.main.interp or f"/lib/ld-musl-{self._arch()}.so.1"

    def _loader_itself(self, name: str, requester: Module | None) -> Found:
        search = self.search
        path = self._loader()
        interp = search.interp
        if interp is None:
            interp = search.open(path, "libc") if search.main.interp is None else None
        if interp is None:
            raise search.not_found(name, requester)
        search.steps.append((path, "libc", FOUND, "the C library is the loader itself"))
        return Found(path, interp.file, "libc", None, search.steps)

    def _checked(self, found: Found, requester: Module | None) -> Found:
        """A second C library is never loaded: a file that defines its entry and its stdin gives way to the loader."""
        if defines(found.file, b"__libc_start_main") and defines(found.file, b"stdin"):
            return self._loader_itself("libc.so", requester)
        return found

    # -- lists ------------------------------------------------------------------------------------

    def _library_path(self) -> str:
        search = self.search
        if search.options.library_path is not None:
            return search.options.library_path
        return search.env.get("LD_LIBRARY_PATH", "")

    def _list_of(self, module: Module) -> tuple[str | None, str]:
        """(the usable path list of a module or None, the tag it is from)."""
        known = self._lists.get(module.file)
        if known is None:
            text, rule = module.file.runpath, "RUNPATH"
            if text is None:
                text, rule = module.file.rpath, "RPATH"
            if text is not None and "$" in text:
                text = expand_musl(text, self._origin(module))
            known = self._lists[module.file] = (text, rule)
        return known

    def _origin(self, module: Module) -> str | None:
        search = self.search
        secure = search.options.secure
        if module.file is search.main and not search.options.by_loader:
            # Whoever starts a set-user-ID program also chooses the path it has.
            return None if secure else search.origin(None)
        path = search.main_path if module.file is search.main else module.path
        folder, slash, _ = path.rpartition("/")
        origin = folder if slash else "."
        return None if secure and not origin.startswith("/") else origin

    def _arch(self) -> str:
        name = (self.search.main.interp or "").rpartition("/")[2]
        if name.startswith("ld-musl-") and ".so" in name:
            return name[len("ld-musl-") : name.index(".so")]
        arch = self.search.cpu.arch
        return machine_name(self.search.main.machine).lower() if arch is None else arch.musl[0]

    def _system_path(self) -> tuple[str, str]:
        """(the last list, its rule)."""
        if self.search.options.system_path is not None:
            return self.search.options.system_path, "--system-path"
        if self._system is None:
            loader = self._loader()
            prefix = ""
            if loader.startswith("/"):
                parts = loader.rsplit("/", 2)
                prefix = parts[0] if len(parts) == 3 else ""
            try:
                data = self.search.read(f"{prefix}/etc/ld-musl-{self._arch()}.path")
                self._system = os.fsdecode(data.partition(b"\0")[0]), "ld-musl.path"
            except FileNotFoundError:
                self._system = "/lib:/usr/local/lib:/usr/lib", "default"
            except OSError:
                self._system = "", "ld-musl.path"
        return self._system

    def preloads(self) -> list[tuple[str, str]]:
        """--preload, or LD_PRELOAD where it is not given."""
        search = self.search
        option = search.options.preload
        if option is not None:
            return [
                (n, "--preload")
                for n in (split_preload(option, "musl") if isinstance(option, str) else option)
            ]
        return [
            (name, "LD_PRELOAD") for name in split_preload(search.env.get("LD_PRELOAD", ""), "musl")
        ]


def defines(file: ElfFile, name: bytes) -> bool:
    """Whether the file defines a dynamic symbol of this name. Cheap when it has no such string at all."""
    if file.dynamic is None:
        return False
    start, size = file.strings()
    if b"\0" + name + b"\0" not in bytes(file.data[start : start + size]):
        return False
    # Rare, so numpy may come in here.
    from rtld.elf.tables import symbols

    for symbol in symbols(file):
        if symbol["st_shndx"] and file.string_bytes(int(symbol["st_name"])) == name:
            return True
    return False
