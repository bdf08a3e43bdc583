"""Library search of FreeBSD and QNX, and what they have in common with Android.

FreeBSD (rtld(1); libexec/rtld-elf/rtld.c, find_library): DT_RPATH of the requester and then of the program, if the requester has
no DT_RUNPATH; LD_LIBRARY_PATH; DT_RUNPATH of the requester; the directories of /var/run/ld-elf.so.hints; /lib and /usr/lib. With
DF_1_NODEFLIB in the requester the last are left out, in the hints too. LD_LIBRARY_PATH_RPATH=y puts LD_LIBRARY_PATH first. Before
all that a name that somebody asks for is replaced by what /etc/libmap.conf and LD_LIBMAP say (``libmap.py``).

bionic: ``search_bionic.py``.

QNX, as documented (QNX SDP 8.0 System Architecture, "Runtime linker"): DT_RPATH of the program; LD_LIBRARY_PATH; CS_LIBPATH, by
default the image file system. As shipped: DT_RPATH of the object that is being processed, and of nobody for the name that
dlopen() was given. DT_RUNPATH is unknown, an empty element is the current directory.

In all of them the first file that can be opened is taken; if it cannot be loaded, the load fails.
"""

from __future__ import annotations

import errno
import os
import stat
import struct

from rtld.elf.search import REFUSED, REPLACED, SEARCH_PATH, Found
from rtld.elf.types import DF_1_NODEFLIB, machine_name
from rtld.errors import FormatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from rtld.core.module import Module
    from rtld.elf.file import ElfFile
    from rtld.elf.libmap import LibMap
    from rtld.elf.search import Search

    #: A list of directories as text, the rule it stands for, whose it is.
    Lists = Iterator[tuple[str | None, str, Module | None]]

_HINTS = "/var/run/ld-elf.so.hints"
_HINTS_MAGIC = 0x746E6845  # "Ehnt" (elf-hints.h)


class ListRules:
    """What the three have in common: lists of directories, one after the other."""

    __slots__ = ("search",)

    lenient = False
    cache = None
    lib = "lib"
    #: What divides a list of paths, and LD_PRELOAD.
    separators = ":"
    preload_separators = ":"
    #: An empty element is the current directory.
    empty_is_here = False

    def __init__(self, search: Search) -> None:
        self.search = search

    def find(self, name: str, requester: Module | None, preload: bool) -> Found:
        """The lists in order; raises NotFound."""
        del preload
        search = self.search
        asked, name = name, self.replaced(name, requester)
        if name != asked:
            search.steps.append((name, "libmap.conf", REPLACED, f"instead of {asked}"))
        if "/" in name:
            path = self.expand(name, requester)
            secure = search.options.secure and not path.startswith("/")
            file = None if secure else self._attempt(path, "path", name, requester)
            if file is not None:
                return Found(self.named(path), file, "path", None, search.steps)
            raise search.not_found(name, requester)
        for text, rule, owner in self.lists(name, requester):
            if not text:
                continue
            search.steps.append((text, rule, SEARCH_PATH, f"({rule})"))
            for directory in self.directories(text, owner):
                path = f"{directory}/{name}" if directory else name
                file = self._attempt(path, rule, name, requester)
                if file is not None:
                    return Found(self.named(path), file, rule, owner, search.steps)
        raise search.not_found(name, requester)

    def replaced(self, name: str, requester: Module | None) -> str:
        """The name that is looked for instead."""
        del requester
        return name

    def lists(self, name: str, requester: Module | None) -> Lists:
        """The lists of directories, in order."""
        raise NotImplementedError

    def directories(self, text: str, owner: Module | None) -> Iterator[str]:
        """The directories that a list names, without a slash at the end."""
        for separator in self.separators[1:]:
            text = text.replace(separator, self.separators[0])
        for element in text.split(self.separators[0]):
            if not element and not self.empty_is_here:
                continue
            expanded = self.expand(element, owner) if "$" in element else element
            if "$" in expanded:
                self.search.steps.append((element, "path", REFUSED, "a token without a value"))
            elif expanded.startswith("/") or not self.search.options.secure:
                yield expanded.rstrip("/") or ("/" if expanded else "")

    def expand(self, text: str, owner: Module | None) -> str:
        """Tokens replaced; these linkers look for the text, not for words. What has no value stays."""
        if "$" not in text:
            return text
        for token, value in self.tokens(owner).items():
            if value is not None:
                text = text.replace(f"${{{token}}}", value).replace(f"${token}", value)
        return text

    def tokens(self, owner: Module | None) -> dict[str, str | None]:
        """Dynamic string tokens and their values."""
        del owner
        return {}

    def origin(self, owner: Module | None) -> str | None:
        """The directory of a module's real path."""
        search = self.search
        if owner is None or owner.file is search.main:
            return search.origin(None)
        return os.path.dirname(real_path(search, search.absolute(owner.path)))

    def named(self, path: str) -> str:
        """The path a file is known by."""
        return path

    def _attempt(self, path: str, rule: str, name: str, requester: Module | None) -> ElfFile | None:
        search = self.search
        why = None
        try:
            file = search.attempt(path, rule)
        except FormatError as error:
            file, why = None, str(error)
        if file is None and why is None:
            _path, _rule, outcome, detail = search.steps[-1]
            if outcome in ("wrong class", "wrong machine"):
                why = detail or outcome
        if why is not None:
            search.errno = errno.ENOEXEC
            search.other_class = False
            error_ = search.not_found(name, requester)
            error_.reason = f"{error_.reason} ({why})"
            raise error_
        return file

    def library_path(self) -> tuple[str, str]:
        """LD_LIBRARY_PATH and what it is called."""
        given = self.search.options.library_path
        if given is not None:
            return given, "--library-path"
        return self.search.env.get("LD_LIBRARY_PATH", ""), "LD_LIBRARY_PATH"

    def system_path(self) -> tuple[str, str]:
        """What is searched last."""
        given = self.search.options.system_path
        return (given, "--system-path") if given is not None else (self.usual_path(), "default")

    def usual_path(self) -> str:
        """The same, where nobody says otherwise."""
        raise NotImplementedError

    @property
    def default_directories(self) -> tuple[str, ...]:
        """Where the linker looks last."""
        return tuple([f"{d.rstrip('/')}/" for d in self.directories(self.system_path()[0], None)])

    def preloads(self) -> list[tuple[str, str]]:
        """--preload, or LD_PRELOAD where it is not given."""
        option, source = self.search.options.preload, "--preload"
        if option is None:
            option, source = self.search.env.get("LD_PRELOAD", ""), "LD_PRELOAD"
        if isinstance(option, str):
            for separator in self.preload_separators[1:]:
                option = option.replace(separator, self.preload_separators[0])
            option = [name for name in option.split(self.preload_separators[0]) if name]
        return [(name, source) for name in option]


class FreebsdRules(ListRules):
    """FreeBSD's rtld-elf."""

    __slots__ = ("_map",)

    separators = ":;"
    preload_separators = " \t:;"

    def __init__(self, search: Search) -> None:
        super().__init__(search)
        self._map: LibMap | None = None

    def find(self, name: str, requester: Module | None, preload: bool) -> Found:
        """The rules in order; raises NotFound. Nobody asks for a preload."""
        return super().find(name, None if preload else requester, preload)

    def replaced(self, name: str, requester: Module | None) -> str:
        search = self.search
        if requester is None:
            return name
        if self._map is None:
            from rtld.elf.libmap import LibMap

            env: Mapping[str, str] = {} if search.options.secure else search.env
            override = env.get("LD_LIBMAP")
            if "LD_LIBMAP_DISABLE" in env:
                self._map = LibMap(None, *[_nothing] * 3)
            else:
                self._map = LibMap(override, search.read, self._regular, self._identity)
        if not self._map:
            return name
        path = search.main_path if requester.file is search.main else requester.path
        return self._map.find(path, name) or name

    def _regular(self, path: str) -> list[str]:
        """The regular files in a directory."""
        with os.scandir(self.search.host(path)) as entries:
            return [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]

    def _identity(self, path: str) -> tuple[int, int]:
        status = os.stat(self.search.host(path))
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "no regular file")
        return status.st_dev, status.st_ino

    def lists(self, name: str, requester: Module | None) -> Lists:
        del name
        search = self.search
        env, env_rule = self.library_path()
        file = requester.file if requester is not None else None
        rpath = file.rpath if file is not None and file.runpath is None else None
        early = search.env.get("LD_LIBRARY_PATH_RPATH", "")[:1] in ("y", "Y", "1") and rpath
        nodeflib = file is not None and bool(file.dt_flags_1 & DF_1_NODEFLIB) and not early
        if early:
            yield env, env_rule, None
        yield rpath, "RPATH", requester
        if not early:
            if file is not None and file.runpath is None and file is not search.main:
                main = search.main
                yield None if main.runpath is not None else main.rpath, "RPATH", None
            yield env, env_rule, None
            yield file.runpath if file is not None else None, "RUNPATH", requester
        yield self._hints(nodeflib), "ld-elf.so.hints", None
        if file is not None and not nodeflib:
            yield *self.system_path(), None

    def tokens(self, owner: Module | None) -> dict[str, str | None]:
        names = {62: "amd64", 3: "i386", 183: "aarch64", 40: "arm", 243: "riscv64", 21: "powerpc64"}
        machine = self.search.main.machine
        # OSREL is that of a system we do not know.
        return {
            "ORIGIN": None if self.search.options.secure else self.origin(owner),
            "OSNAME": "FreeBSD",
            "PLATFORM": names.get(machine, machine_name(machine).lower()),
            "LIB": "lib",
        }

    def usual_path(self) -> str:
        return "/lib:/usr/lib"

    def _hints(self, nodeflib: bool) -> str | None:
        """The directories of ldconfig's hints; a file that is none is as good as none (rtld.c, gethints)."""
        try:
            data = self.search.read(self.search.env.get("LD_ELF_HINTS_PATH") or _HINTS)
        except (OSError, ValueError):
            return None
        if len(data) < 128:
            return None
        magic, version, strtab, strsize, dirlist, length = struct.unpack_from("<6I", data)
        start = strtab + dirlist
        if magic != _HINTS_MAGIC or version != 1 or dirlist + length > strsize:
            return None
        if start + length > len(data):
            return None
        text = os.fsdecode(data[start : start + length])
        if nodeflib:
            usual = self.usual_path().split(":")
            text = ":".join([d for d in text.split(":") if d not in usual])
        return text


class QnxRules(ListRules):
    """QNX Neutrino's linker: as documented, or as shipped."""

    __slots__ = ()

    empty_is_here = True

    def lists(self, name: str, requester: Module | None) -> Lists:
        main = self.search.main
        if self.search.model == "qnx-doc":
            yield main.rpath, "RPATH", None
        elif requester is not None and name in requester.file.needed:
            yield requester.file.rpath, "RPATH", requester
        yield *self.library_path(), None
        yield *self.system_path(), None

    def usual_path(self) -> str:
        return "/proc/boot"


def _nothing(path: str) -> Any:
    """Nothing is there."""
    raise FileNotFoundError(path)


def real_path(search: Search, path: str) -> str:
    """The path without symbolic links, in the sysroot if there is one."""
    try:
        if search.sysroot is None:
            return os.path.realpath(path)
        host = search.sysroot.host(path)
        return search.sysroot.inside(host) or path
    except OSError:
        return path


def rules_of(search: Search) -> ListRules:
    """The rules of a search's model, which is none of glibc and musl."""
    if search.model == "freebsd":
        return FreebsdRules(search)
    if search.model == "bionic":
        from rtld.elf.search_bionic import BionicRules

        return BionicRules(search)
    return QnxRules(search)


class HostRules:
    """Another system's rules in a process whose libc is glibc: what belongs to the host is found by glibc's."""

    def __init__(self, search: Search, is_hosted: Callable[[str], bool]) -> None:
        from rtld.elf.search_glibc import GlibcRules

        self._rules = search.rules
        self._host = GlibcRules(search)
        self._is_hosted = is_hosted

    def find(self, name: str, requester: Module | None, preload: bool) -> Found:
        """The rules in order; raises NotFound."""
        rules = self._host if self._is_hosted(name) else self._rules
        found: Found = rules.find(name, requester, preload)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rules, name)
