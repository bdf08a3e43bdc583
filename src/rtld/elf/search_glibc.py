"""glibc's rules of library search, as of 2.36: elf/dl-load.c (_dl_map_object, open_path, fillin_rpath), elf/rtld.c.

A name without a slash is looked for in

1. DT_RPATH of the requester, of the one that loaded it, and so on up, at last of the program; only objects without
   DT_RUNPATH have one, and none counts when the requester has DT_RUNPATH;
2. LD_LIBRARY_PATH;
3. DT_RUNPATH of the requester, of nobody else;
4. /etc/ld.so.cache;
5. the default directories.

With DF_1_NODEFLIB in the requester the last is left out, and so is a hit in the cache that lies in one of them.
"""

from __future__ import annotations

import errno
import os

from rtld.elf.ldconf import parse_ld_so_conf, parse_preload_file, split_preload
from rtld.elf.search import FOUND, MISSING, REFUSED, SEARCH_CACHE, SEARCH_PATH, Found
from rtld.elf.types import DF_1_NODEFLIB
from rtld.errors import FormatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.core.module import Module
    from rtld.elf.file import ElfFile
    from rtld.elf.ldcache import LdCache
    from rtld.elf.search import Search

CACHE = "/etc/ld.so.cache"
PRELOAD = "/etc/ld.so.preload"
_PATH_CHARACTERS = "/-_.+0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Directory:
    """A search directory and which of its hwcaps subdirectories exist (struct r_search_path_elem).

    Two lists that name the same directory share one. Subdirectories are examined in order and a search stops at the
    first hit, so those examined are always the first ``checked`` ones, and ``live`` are those of them that exist.
    """

    __slots__ = ("checked", "live", "name", "tops", "what", "where")

    def __init__(self, name: str, what: str, where: str | None) -> None:
        self.name = name  # ends in "/", or is "" for the current directory
        self.what = what  # the list it was first named in, and the file that had it
        self.where = where
        self.checked = 0
        self.live: list[str] = []
        self.tops: dict[
            str, bool
        ] = {}  # first components of subdirectories -> exists; "" is the directory itself


class GlibcRules:
    """The state of all searches of a link: directories known, lists made, the cache."""

    __slots__ = (
        "_cache",
        "_conf",
        "_defaults",
        "_directories",
        "_env_path",
        "_lib",
        "_lists",
        "_subdirs",
        "_system",
        "search",
    )

    lenient = False

    def __init__(self, search: Search) -> None:
        self.search = search
        self._directories: dict[str, Directory] = {}
        self._lists: dict[ElfFile, list[Directory]] = {}
        self._cache: LdCache | bool | None = False
        self._conf: list[Directory] | None = None
        self._system: tuple[str, ...] | None = None
        self._lib = ""
        self._subdirs: tuple[str, ...] | None = None
        self._defaults: list[Directory] | None = None
        self._env_path: list[Directory] | None = None

    # -- the search -------------------------------------------------------------------------------

    def find(self, name: str, requester: Module | None, preload: bool) -> Found:
        """The rules in order; raises NotFound."""
        search = self.search
        if "/" in name:
            path = search.expand(name, requester) if requester is not None else name
            file = search.attempt(path, "path") if path else None
            if file is not None:
                return Found(path, file, "path", None, search.steps)
            raise search.not_found(name, requester)
        secure_preload = preload and search.options.secure
        found = self._by_lists(name, requester, secure_preload)
        if found is None and not secure_preload and not search.options.inhibit_cache:
            found = self._by_cache(name, requester)
        if found is None and not self._nodeflib(requester):
            found = self._open_path(name, self._default_list(), "default", None, secure_preload)
        if found is None:
            raise search.not_found(name, requester)
        return found

    def _by_lists(self, name: str, requester: Module | None, secure_preload: bool) -> Found | None:
        """RPATH, LD_LIBRARY_PATH, RUNPATH."""
        main = self.search.main
        env_path = self._env_list()
        found = None
        if requester is None or requester.file.runpath is None:
            did_main = False
            module = requester
            while module is not None:
                if module.file.runpath is None:
                    directories = self._list_of(module.file, module)
                    if directories:
                        found = self._open_path(name, directories, "RPATH", module, secure_preload)
                        if found is not None:
                            return found
                        did_main = did_main or module.file is main
                module = module.loader
            if not did_main and main.runpath is None:
                directories = self._list_of(main, None)
                if directories:
                    found = self._open_path(name, directories, "RPATH", None, secure_preload)
        if found is None and env_path:
            found = self._open_path(name, env_path, self._env_name(), None, secure_preload)
        if found is None and requester is not None and requester.file.runpath is not None:
            directories = self._list_of(requester.file, requester)
            if directories:
                found = self._open_path(name, directories, "RUNPATH", requester, secure_preload)
        return found

    def _by_cache(self, name: str, requester: Module | None) -> Found | None:
        search = self.search
        search.steps.append((CACHE, "ld.so.cache", SEARCH_CACHE, ""))
        cache = self.cache
        if cache is None:
            return self._by_conf(name, requester) if search.sysroot is not None else None
        try:
            path = cache.lookup(name, search.cpu)
        except FormatError as error:
            search.steps.append((CACHE, "ld.so.cache", REFUSED, str(error)))
            return None
        if path is None:
            return None
        if self._nodeflib(requester) and path.startswith(self.default_directories):
            detail = "in a default directory, which DF_1_NODEFLIB excludes"
            search.steps.append((path, "ld.so.cache", REFUSED, detail))
            return None
        file = search.attempt(path, "ld.so.cache")
        return None if file is None else Found(path, file, "ld.so.cache", None, search.steps)

    def _nodeflib(self, requester: Module | None) -> bool:
        file = self.search.main if requester is None else requester.file
        return bool(file.dt_flags_1 & DF_1_NODEFLIB)

    # -- directories ------------------------------------------------------------------------------

    def _open_path(
        self,
        name: str,
        directories: list[Directory],
        rule: str,
        owner: Module | None,
        secure_preload: bool,
    ) -> Found | None:
        """``name`` in each directory and its subdirectories (open_path)."""
        search = self.search
        what = None
        any_exists = False
        for index, directory in enumerate(directories):
            if directory.what != what:
                what = directory.what
                self._note_path(directories[index:], rule)
            hit = self._open_in(directory, name, rule, secure_preload)
            if hit is not None:
                return Found(*hit, rule, owner, search.steps)
            exists = bool(directory.live) or not directory.name.startswith("/")
            any_exists = any_exists or exists
            if exists and search.errno not in (errno.ENOENT, errno.EACCES):
                # Something is there that cannot be opened: the rest of this list is not looked at.
                return None
        if (
            not any_exists
            and directories is not self._env_path
            and directories is not self._defaults
        ):
            directories.clear()  # none of them exists: the RPATH or RUNPATH counts as absent from now on
        return None

    def _note_path(self, directories: list[Directory], rule: str) -> None:
        """The row "search path=": the directories not known to be missing, of those named in the same list."""
        what = directories[0].what
        names = []
        for directory in directories:
            if directory.what != what:
                break
            if directory.name.startswith("/"):
                subdirs = (*directory.live, *self.subdirs[directory.checked :])
            else:
                subdirs = self.subdirs
            for subdir in subdirs:
                path = directory.name + subdir
                names.append(path[:-1] if len(path) > 1 else path)
        where = directories[0].where
        detail = f"({what})" if where is None else f"({what} from file {where})"
        self.search.steps.append((":".join(names), rule, SEARCH_PATH, detail))

    def _open_in(
        self, directory: Directory, name: str, rule: str, secure_preload: bool
    ) -> tuple[str, ElfFile] | None:
        search, base = self.search, directory.name
        search.errno = errno.ENOENT
        if not base.startswith("/"):
            # The current directory may change: nothing about a relative one is remembered.
            for subdir in self.subdirs:
                hit = self._attempt(base + subdir + name, rule, secure_preload)
                if hit is not None:
                    return hit
            return None
        for subdir in directory.live:
            hit = self._attempt(base + subdir + name, rule, secure_preload)
            if hit is not None:
                return hit
        subdirs = self.subdirs
        while directory.checked < len(subdirs):
            subdir = subdirs[directory.checked]
            path = base + subdir + name
            if self._absent(directory, subdir):
                search.steps.append((path, rule, MISSING, "no such directory"))
                directory.checked += 1
                continue
            tried = len(search.steps)
            hit = self._attempt(path, rule, secure_preload)
            code = search.errno
            directory.checked += 1
            if search.steps[tried][2] == FOUND or search.is_directory(base + subdir):
                directory.live.append(subdir)
                search.errno = code
            if hit is not None:
                return hit
        return None

    def _absent(self, directory: Directory, subdir: str) -> bool:
        """Whether a subdirectory needs no attempt because the directory, or its first component, is not there.

        ld.so tries each of the 2^n names; the answers follow from these few.
        """
        tops = directory.tops
        for top in ("", subdir.partition("/")[0]):
            there = tops.get(top)
            if there is None:
                code = self.search.errno
                there = tops[top] = self.search.is_directory(directory.name + top)
                self.search.errno = code
            if not there:
                return True
        return False

    def _attempt(self, path: str, rule: str, secure_preload: bool) -> tuple[str, ElfFile] | None:
        search = self.search
        file = search.attempt(path, rule)
        if file is None:
            return None
        if secure_preload:
            import stat

            # Only what root has marked may be put into programs of other users.
            if not os.stat(search.host(path)).st_mode & stat.S_ISUID:
                search.errno = errno.ENOENT
                search.steps.append(
                    (path, rule, REFUSED, "not set-user-ID, so not preloaded in secure mode")
                )
                return None
        return path, file

    # -- lists of directories ---------------------------------------------------------------------

    @property
    def subdirs(self) -> tuple[str, ...]:
        """The hwcaps subdirectories of every search directory; the last is the directory itself."""
        if self._subdirs is None:
            self._subdirs = self.search.cpu.directories()
        return self._subdirs

    def _directory(self, name: str, what: str, where: str | None) -> Directory:
        directory = self._directories.get(name)
        if directory is None:
            directory = self._directories[name] = Directory(name, what, where)
        return directory

    def _fill(
        self, elements: list[str], what: str, where: str | None, owner: Module | None
    ) -> list[Directory]:
        """A path list, its tokens replaced, each directory once (fillin_rpath)."""
        result: list[Directory] = []
        for element in elements:
            name = element
            if element:
                name = self.search.expand(element, owner)
                if not name:
                    continue
                name = name.rstrip("/") + "/"
            directory = self._directory(name, what, where)
            if directory not in result:
                result.append(directory)
        return result

    def _list_of(self, file: ElfFile, module: Module | None) -> list[Directory]:
        """The directories of an object's DT_RUNPATH, or of its DT_RPATH when it has no DT_RUNPATH."""
        directories = self._lists.get(file)
        if directories is None:
            directories = []
            text = file.runpath
            what = "RUNPATH"
            if text is None:
                text, what = file.rpath, "RPATH"
            is_main = file is self.search.main
            if text and not self._inhibited("" if is_main or module is None else module.path):
                where = self.search.main_path if is_main or module is None else module.path
                directories = self._fill(text.split(":"), what, where, module)
            self._lists[file] = directories
        return directories

    def _inhibited(self, name: str) -> bool:
        """Whether --inhibit-rpath names this object. The program's own name is empty there."""
        listed = self.search.options.inhibit_rpath
        if listed is None or self.search.options.secure:
            return False
        elements = listed.split(":")
        if len(elements) > 1 and not elements[-1]:
            elements.pop()
        return name in elements

    def _env_name(self) -> str:
        return "LD_LIBRARY_PATH" if self.search.options.library_path is None else "--library-path"

    def _env_list(self) -> list[Directory]:
        if self._env_path is None:
            # ld.so names directories for the first time in this order, and LD_DEBUG shows it.
            self._default_list()
            self._list_of(self.search.main, None)
            text = self.search.options.library_path
            if text is None:
                text = self.search.env.get("LD_LIBRARY_PATH")
            elements = text.replace(";", ":").split(":") if text else []
            self._env_path = self._fill(elements, self._env_name(), None, None)
        return self._env_path

    def _default_list(self) -> list[Directory]:
        if self._defaults is None:
            self._defaults = [
                self._directory(name, "system search path", None)
                for name in self.default_directories
            ]
        return self._defaults

    def directories(self, requester: Module) -> list[str]:
        """Where names that *requester* needs are looked for, in order: what dlinfo(RTLD_DI_SERINFO) tells."""
        found: list[Directory] = []
        if requester.file.runpath is None:
            module: Module | None = requester
            while module is not None:
                if module.file.runpath is None:
                    found += self._list_of(module.file, module)
                module = module.loader
        found += self._env_list()
        if requester.file.runpath is not None:
            found += self._list_of(requester.file, requester)
        if not self._nodeflib(requester):
            found += self._default_list()
        return [directory.name for directory in found]

    @property
    def default_directories(self) -> tuple[str, ...]:
        """The trusted directories, each with "/" at its end. They are compiled into ld.so: read there if possible."""
        if self._system is None:
            interp = self.search.interp
            system = () if interp is None else directories_in(interp.file)
            arch = self.search.cpu.arch
            if not system:
                names = ("/lib", "/usr/lib") if arch is None else arch.default_dirs
                system = tuple([name + "/" for name in names])
            self._system = system
            # DL_DST_LIB: the first of them without "/" or "/usr/".
            first = system[0].strip("/")
            at = ("/" + first).rfind("/lib")
            self._lib = first[at:] if at >= 0 else "lib"
        return self._system

    @property
    def lib(self) -> str:
        """What $LIB is."""
        _ = self.default_directories
        return self._lib

    def settled(self, requester: Module) -> list[tuple[list[Directory], str, Module | None]] | None:
        """(directories, rule, owner) of the lists that names *requester* needs are looked for in before the cache, in order.

        None while something is still to be found out about one of them, or when it depends on the current directory.
        """
        lists: list[tuple[list[Directory], str, Module | None]] = []
        env_path = self._env_list()
        if requester.file.runpath is None:
            module: Module | None = requester
            while module is not None:
                if module.file.runpath is None:
                    lists.append((self._list_of(module.file, module), "RPATH", module))
                module = module.loader
        lists.append((env_path, self._env_name(), None))
        if requester.file.runpath is not None:
            lists.append((self._list_of(requester.file, requester), "RUNPATH", requester))
        total = len(self.subdirs)
        for directories, _rule, _owner in lists:
            for directory in directories:
                if not directory.name.startswith("/") or directory.checked < total:
                    return None
        return lists

    def retrace(
        self,
        name: str,
        lists: list[tuple[list[Directory], str, Module | None]],
        attempts: int,
        path: str,
    ) -> tuple[str, Module | None, list[tuple[str, str, str, str]]]:
        """Rule, owner and record of a search of *lists* whose last of *attempts* was *path*; 0: the cache had it."""
        search = self.search
        saved, search.steps = search.steps, []
        try:
            for directories, rule, owner in lists:
                what = None
                for index, directory in enumerate(directories):
                    if directory.what != what:
                        what = directory.what
                        self._note_path(directories[index:], rule)
                    for subdir in directory.live:
                        attempts -= 1
                        if not attempts:
                            search.steps.append((path, rule, FOUND, ""))
                            return rule, owner, search.steps
                        step = directory.name + subdir + name, rule, MISSING, ""
                        search.steps.append(step)
            search.steps.append((CACHE, "ld.so.cache", SEARCH_CACHE, ""))
            search.steps.append((path, "ld.so.cache", FOUND, ""))
            return "ld.so.cache", None, search.steps
        finally:
            search.steps = saved

    # -- the cache, and what stands in for it in a sysroot ----------------------------------------

    @property
    def cache(self) -> LdCache | None:
        """The decoded cache; None when there is none that fits, with the reason on record."""
        if self._cache is False:
            from rtld.elf.ldcache import LdCache

            self._cache = None
            search = self.search
            try:
                cache = LdCache(search.read(CACHE), CACHE, search.main.order)
            except FormatError as error:
                search.steps.append((CACHE, "ld.so.cache", REFUSED, str(error)))
            except OSError as error:
                search.steps.append((CACHE, "ld.so.cache", MISSING, error.strerror or ""))
            else:
                # A sysroot for another machine may have got the cache of the computer it was made on.
                if search.sysroot is None or cache.serves(search.cpu.cache_flags):
                    self._cache = cache
                else:
                    detail = "it lists nothing for this machine"
                    search.steps.append((CACHE, "ld.so.cache", REFUSED, detail))
        return self._cache  # type: ignore[return-value]

    def _by_conf(self, name: str, requester: Module | None) -> Found | None:
        """The directories of ld.so.conf, which the cache would have been made from.

        As in a cache, a file in a glibc-hwcaps subdirectory of any of them comes before all that are in none.
        """
        search = self.search
        if self._conf is None:
            listed = parse_ld_so_conf(
                "/etc/ld.so.conf", search.read, lambda path: os.listdir(search.host(path))
            )
            self._conf = [self._directory(d + "/", "ld.so.conf", None) for d in listed]
        excluded = self.default_directories if self._nodeflib(requester) else ()
        subdirs = [f"glibc-hwcaps/{name}/" for name in search.cpu.subdirs]
        for subdir in (*subdirs, ""):
            for directory in self._conf:
                if directory.name.startswith(excluded) and excluded:
                    continue
                if self._absent(directory, subdir):
                    continue
                path = directory.name + subdir + name
                file = search.attempt(path, "ld.so.conf")
                if file is not None:
                    return Found(path, file, "ld.so.conf", None, search.steps)
        return None

    # -- preloads ---------------------------------------------------------------------------------

    def preloads(self) -> list[tuple[str, str]]:
        """LD_PRELOAD, --preload, /etc/ld.so.preload. In secure mode names with a slash are left out of the first two."""
        search = self.search
        rows = [(name, "LD_PRELOAD") for name in split_preload(search.env.get("LD_PRELOAD", ""))]
        option = search.options.preload or ()
        names = split_preload(option) if isinstance(option, str) else option
        rows += [(name, "--preload") for name in names]
        if search.options.secure:
            rows = [row for row in rows if "/" not in row[0] and len(row[0]) < 255]
        try:
            text = os.fsdecode(search.read(PRELOAD))
        except OSError:
            return rows
        return rows + [(name, PRELOAD) for name in parse_preload_file(text)]


def directories_in(file: ElfFile) -> tuple[str, ...]:
    """The default directories an ld.so was built with: NUL-terminated strings side by side, each "/.../".

    (elf/gen-trusted-dirs.awk.) () when there is no such place in the file.
    """
    data: Any = file.data.obj
    if not hasattr(data, "find"):
        data = bytes(file.data)
    at = data.find(b"/\0/")
    while at >= 0:
        # Any byte may stand before the first string: it begins with the first "/" of what can be a path.
        begin = at
        while begin and chr(data[begin - 1]) in _PATH_CHARACTERS:
            begin -= 1
        begin = data.find(b"/", begin)
        names = []
        while data[begin : begin + 1] == b"/":
            end = data.find(b"\0", begin, begin + 256)
            if end < 0 or data[end - 1 : end] != b"/":
                break
            names.append(os.fsdecode(data[begin:end]))
            begin = end + 1
        if names and all("lib" in name for name in names):
            return tuple(names)
        at = data.find(b"/\0/", at + 1)
    return ()
