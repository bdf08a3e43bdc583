"""Where a library is: names to files, by the rules of the reference loader, with every path tried on record.

The rules themselves are in ``search_glibc.py`` and ``search_musl.py``; here is what they share: options, paths of a
sysroot, opening and verifying a candidate, the record. Sources: ld.so(8); glibc 2.36 elf/dl-load.c, elf/rtld.c; musl
1.2.3 ldso/dynlink.c.

Nothing found is ever executed; files are opened, their headers compared, and mapped by ``ElfFile``.
"""

from __future__ import annotations

import errno
import os
from collections import namedtuple

from rtld.elf.dst import expand, has_tokens
from rtld.elf.file import ElfFile
from rtld.elf.types import ELFMAG
from rtld.elf.verify import refuse
from rtld.errors import FormatError, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from rtld.arch.base import Cpu
    from rtld.core.module import Module
    from rtld.elf.hwcaps import Capabilities
    from rtld.elf.ldcache import LdCache
    from rtld.elf.sysroot import Sysroot

    Step = tuple[str, str, str, str]
    Steps = list[Step]

#: One row of the record. ``outcome`` is one of the constants below; ``detail`` is a sentence or empty.
Candidate = namedtuple("Candidate", "path rule outcome detail")

FOUND = "found"
MISSING = "missing"
UNREADABLE = "unreadable"
# "wrong class" and "wrong machine" come from verify.py
REFUSED = "refused"
REPLACED = (
    "replaced"  # no path, but the name that is looked for from now on (FreeBSD's libmap.conf)
)
# Two kinds of row are no path that was tried but a place that was looked at next: what LD_DEBUG=libs prints as
# "search path=" and "search cache=".
SEARCH_PATH = "search path"
SEARCH_CACHE = "search cache"

#: Variables the loader removes from the environment of a program with AT_SECURE (sysdeps/generic/unsecvars.h).
# fmt: off
UNSECURE = frozenset((
    "GCONV_PATH", "GETCONF_DIR", "GLIBC_TUNABLES", "HOSTALIASES", "LD_AUDIT", "LD_DEBUG", "LD_DEBUG_OUTPUT",
    "LD_DYNAMIC_WEAK", "LD_HWCAP_MASK", "LD_LIBRARY_PATH", "LD_ORIGIN_PATH", "LD_PRELOAD", "LD_PROFILE", "LD_SHOW_AUXV",
    "LOCALDOMAIN", "LOCPATH", "MALLOC_TRACE", "NIS_PATH", "NLSPATH", "RESOLV_HOST_CONF", "RES_OPTIONS", "TMPDIR", "TZDIR",
))
# fmt: on

# O_NONBLOCK: a FIFO in a search directory must not stop us.
_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


class SearchOptions:
    """What a search depends on besides the files.

    library_path    instead of LD_LIBRARY_PATH (ld.so's --library-path)
    preload         libraries to load first (--preload): a list as in LD_PRELOAD, or the names
    env             where LD_* are read; by default os.environ, or nothing when there is a sysroot
    sysroot         directory in which every path is looked up
    cwd             what relative paths start from; in a sysroot a path of the sysroot
    inhibit_cache   do not use /etc/ld.so.cache (--inhibit-cache)
    inhibit_rpath   colon-separated objects whose RPATH and RUNPATH are ignored (--inhibit-rpath)
    hwcaps_mask     built-in glibc-hwcaps subdirectories allowed (--glibc-hwcaps-mask)
    hwcaps_prepend  further glibc-hwcaps subdirectories, searched first (--glibc-hwcaps-prepend)
    cpu             the CPU the hwcaps directories are chosen for: an arch.base.Cpu, or "native", "baseline", or a
                    glibc-hwcaps name such as "x86-64-v3"
    secure          as the program would be started set-user-ID (AT_SECURE)
    model           whose rules: one of elf.models.MODELS; by default what PT_INTERP says
    system_path     the directories that are searched last, instead of the model's own: ld-elf.so.hints and /lib:/usr/lib of
                    FreeBSD, /system/lib64... of Android, CS_LIBPATH of QNX, /etc/ld-musl-ARCH.path of musl; not for glibc
    arch            an Arch; by default the program's
    by_loader       as when the loader is given the program as an argument, which is what ldd does: $ORIGIN of the
                    program is then the directory of the path given, not of the file behind its symbolic links
    """

    __slots__ = (
        "arch",
        "by_loader",
        "cpu",
        "cwd",
        "env",
        "hwcaps_mask",
        "hwcaps_prepend",
        "inhibit_cache",
        "inhibit_rpath",
        "library_path",
        "model",
        "preload",
        "secure",
        "sysroot",
        "system_path",
    )

    def __init__(
        self,
        *,
        library_path: str | None = None,
        preload: str | Sequence[str] | None = None,
        env: Mapping[str, str] | None = None,
        sysroot: str | None = None,
        cwd: str | None = None,
        inhibit_cache: bool = False,
        inhibit_rpath: str | None = None,
        hwcaps_mask: str | None = None,
        hwcaps_prepend: str | None = None,
        cpu: Cpu | str = "native",
        secure: bool = False,
        model: str | None = None,
        arch: Any = None,
        by_loader: bool = False,
        system_path: str | None = None,
    ) -> None:
        self.library_path = library_path
        self.preload = preload
        self.env = env
        self.sysroot = sysroot
        self.cwd = cwd
        self.inhibit_cache = inhibit_cache
        self.inhibit_rpath = inhibit_rpath
        self.hwcaps_mask = hwcaps_mask
        self.hwcaps_prepend = hwcaps_prepend
        self.cpu = cpu
        self.secure = secure
        self.model = model
        self.arch = arch
        self.by_loader = by_loader
        self.system_path = system_path


class Found:
    """A library that was found: the path ld.so would print, the decoded file, the rule, and what was tried before.

    ``rule`` is "RPATH", "LD_LIBRARY_PATH", "--library-path", "RUNPATH", "ld.so.cache", "ld.so.conf" (of a sysroot
    without a cache), "default", or "path" for a name with a slash; musl's are in search_musl.py. ``owner`` is the
    module whose RPATH or RUNPATH it was. Two names of one file give the same ``file`` object.
    """

    __slots__ = ("file", "owner", "path", "rule", "shortname", "steps")

    def __init__(
        self,
        path: str,
        file: ElfFile,
        rule: str,
        owner: Module | None = None,
        steps: Iterable[Step] = (),
        shortname: str | None = None,
    ) -> None:
        self.path = path
        self.file = file
        self.rule = rule
        self.owner = owner
        self.steps = steps
        self.shortname = shortname  # musl: the name by which later requests match this module

    @property
    def candidates(self) -> list[Candidate]:
        """The paths tried in order, with the reason each was refused; the last is the one found."""
        return candidates(self.steps)

    def __repr__(self) -> str:
        return f"<Found {self.path} by {self.rule}>"


def candidates(steps: Iterable[Step]) -> list[Candidate]:
    """The paths among the rows of a record."""
    return [Candidate._make(step) for step in steps if step[2] not in (SEARCH_PATH, SEARCH_CACHE)]


def debug_lines(name: str, steps: Iterable[Step], namespace: int = 0) -> list[str]:
    """A search in the words of LD_DEBUG=libs, without the process number in front."""
    lines = [f"find library={name} [{namespace}]; searching"]
    for path, _rule, outcome, detail in steps:
        if outcome == SEARCH_PATH:
            lines.append(f" search path={path}\t\t{detail}")
        elif outcome == SEARCH_CACHE:
            lines.append(f" search cache={path}")
        elif (
            path != "/etc/ld.so.cache" and outcome != REPLACED
        ):  # why the cache is not used is no line of ld.so's
            lines.append(f"  trying file={path}")
    lines.append("")
    return lines


def model_of(main: ElfFile) -> str:
    """Whose rules a program follows: its interpreter says so."""
    interp = main.interp or ""
    return "musl" if "ld-musl" in interp.rpartition("/")[2] else "glibc"


class Search:
    """All searches of one link. Directories and the cache are looked at once and remembered, as ld.so does.

    ``main`` is the program and ``main_path`` the path it was started by; in a sysroot either a path of this computer
    or of the sysroot. ``steps`` is the record of the latest search, also of one that failed.
    """

    __slots__ = (
        "_cpu",
        "_files",
        "_interp",
        "cwd",
        "env",
        "errno",
        "ident",
        "main",
        "main_path",
        "model",
        "options",
        "other_class",
        "rules",
        "steps",
        "sysroot",
    )

    def __init__(self, options: SearchOptions, main: ElfFile, main_path: str) -> None:
        self.options = options
        self.main = main
        self.steps: Steps = []
        self.errno = 0  # of the last attempt to open or examine a path
        self.other_class = False  # a file of the other ELF class was met
        self._files: dict[tuple[int, int], ElfFile] = {}
        self._cpu: Capabilities | None = None
        self._interp: Found | bool | None = False
        self.sysroot: Sysroot | None = None
        self.cwd = options.cwd or ""
        self.main_path = main_path
        if options.sysroot is not None:
            self._enter_sysroot(options.sysroot)
        env = options.env
        if env is None:
            env = os.environ if self.sysroot is None else {}
        if options.secure:
            env = {name: value for name, value in env.items() if name not in UNSECURE}
        self.env = env
        if main.identity is not None:
            self._files[main.identity] = main
        ident = ELFMAG + bytes((main.bits // 32, 1 if main.order == "<" else 2, 1))
        self.ident = (ident + bytes(9), ident + b"\3" + bytes(8))
        self.model = options.model or model_of(main)
        self.rules: Any
        if self.model == "musl":
            from rtld.elf.search_musl import MuslRules

            self.rules = MuslRules(self)
        elif self.model == "glibc":
            from rtld.elf.search_glibc import GlibcRules

            self.rules = GlibcRules(self)
        else:
            from rtld.elf.search_models import rules_of

            self.rules = rules_of(self)

    def _enter_sysroot(self, path: str) -> None:
        from rtld.elf.sysroot import Sysroot

        self.sysroot = root = Sysroot(path)
        if not self.cwd:
            self.cwd = root.inside(os.getcwd()) or "/"
        inside = root.inside(self.main_path)
        if inside is not None:
            self.main_path = inside
        elif os.path.lexists(self.main_path):
            # The program itself lies elsewhere: its directory is visible under its own path, nothing else is.
            self.main_path = os.path.realpath(self.main_path)
            root.outside = os.path.dirname(self.main_path)

    # -- asking -----------------------------------------------------------------------------------

    def find(self, name: str, requester: Module | None, *, preload: bool = False) -> Found:
        """The file that ``name``, needed by ``requester``, leads to. Raises NotFound, or FormatError for a file that
        ld.so would stop at. Modules that are loaded already are the caller's to compare with ``name`` first.
        """
        self.steps = []
        self.errno = errno.ENOENT
        self.other_class = False
        found: Found = self.rules.find(name, requester, preload)
        return found

    def open(self, path: str, rule: str = "path") -> Found:
        """The file at ``path`` as it stands: the interpreter, a library given by name."""
        self.steps = []
        self.errno = errno.ENOENT
        self.other_class = False
        file = self.attempt(path, rule)
        if file is None:
            raise self.not_found(path, None)
        return Found(path, file, rule, None, self.steps)

    def expand_needed(self, name: str, requester: Module | None) -> str:
        """A DT_NEEDED, DT_FILTER or DT_AUXILIARY string with its tokens replaced (glibc: expand_dst in dl-deps.c).

        To be done before ``name`` is compared with loaded modules. Raises NotFound when that is not possible.
        """
        if "$" not in name or self.model not in ("glibc", "freebsd") or not has_tokens(name):
            return name
        if self.options.secure:
            raise NotFound(name, _path_of(requester), (), "DST not allowed in SUID/SGID programs")
        if self.model != "glibc":
            text: str = self.rules.expand(name, requester)
            return text
        expanded = self.expand(name, requester)
        if not expanded:
            raise NotFound(name, _path_of(requester), (), "empty dynamic string token substitution")
        return expanded

    def preloads(self) -> list[tuple[str, str]]:
        """(name, where it was asked for) of every library to preload, in order."""
        rows: list[tuple[str, str]] = self.rules.preloads()
        return rows

    @property
    def interp(self) -> Found | None:
        """The program's interpreter, opened; None when it has none or it is not there."""
        if self._interp is False:
            self._interp = None
            path = self.main.interp
            if path is not None:
                saved = self.steps, self.errno, self.other_class
                try:
                    self._interp = self.open(path, "interpreter")
                except (NotFound, FormatError):
                    pass
                self.steps, self.errno, self.other_class = saved
        return self._interp  # type: ignore[return-value]

    @property
    def cpu(self) -> Capabilities:
        """The CPU the search is for; found out when first needed."""
        if self._cpu is None:
            from rtld.elf.hwcaps import Capabilities, capabilities, hwcap_mask

            main, options = self.main, self.options
            if options.arch is not None:
                cpu = Capabilities(options.arch, options.cpu)
            else:
                cpu = capabilities(main.machine, main.bits, main.order, main.flags, options.cpu)
            mask = hwcap_mask(self.env)
            self._cpu = cpu.restrict(mask, options.hwcaps_prepend, options.hwcaps_mask)
        return self._cpu

    @property
    def cache(self) -> LdCache | None:
        """The decoded ld.so.cache, or None (glibc only)."""
        cache: LdCache | None = self.rules.cache
        return cache

    @property
    def default_directories(self) -> tuple[str, ...]:
        """Where the loader looks last, each with a "/" at its end."""
        directories: tuple[str, ...] = self.rules.default_directories
        return directories

    # -- paths ------------------------------------------------------------------------------------

    def host(self, path: str) -> str:
        """Where ``path`` is on this computer. OSError when a sysroot has no such path."""
        if self.sysroot is not None:
            return self.sysroot.host(path if path.startswith("/") else f"{self.cwd}/{path}")
        if self.cwd and not path.startswith("/"):
            return f"{self.cwd}/{path}"
        return path

    def read(self, path: str) -> bytes:
        """A whole file of the system (or sysroot) searched. OSError when it is not there."""
        fd = os.open(self.host(path), _OPEN)
        try:
            size = os.fstat(fd).st_size
            data = os.read(fd, size + 1)
            while len(data) < size:
                more = os.read(fd, size - len(data))
                if not more:
                    break
                data += more
            return data
        finally:
            os.close(fd)

    def is_directory(self, path: str) -> bool:
        """As stat(2) would say; ``errno`` is set when it fails."""
        import stat

        try:
            return stat.S_ISDIR(os.stat(self.host(path)).st_mode)
        except OSError as error:
            self.errno = error.errno or errno.ENOENT
        except ValueError:
            self.errno = errno.ENOENT
        return False

    def origin(self, module_path: str | None) -> str | None:
        """What $ORIGIN is for a library opened by this path, or (None) for the program itself."""
        if module_path is None:
            module_path = self.main_path
            if not module_path:
                return None
            if not self.options.by_loader:
                # The kernel has resolved every symbolic link: it is what /proc/self/exe says.
                if self.sysroot is None:
                    return os.path.dirname(os.path.realpath(self.host(module_path)))
                return self.sysroot.folder(self.absolute(module_path))
        return self.absolute(module_path).rpartition("/")[0] or "/"

    def absolute(self, path: str) -> str:
        """``path`` behind the current directory, as text: nothing is resolved."""
        if path.startswith("/"):
            return path
        cwd = self.cwd or os.getcwd()
        return f"{cwd}{path}" if cwd.endswith("/") else f"{cwd}/{path}"

    def expand(self, text: str, requester: Module | None) -> str:
        """``text`` with $ORIGIN, $LIB and $PLATFORM of ``requester`` (None: the program); "" when it is unusable."""
        if "$" not in text or not has_tokens(text):
            return text
        is_main = requester is None or requester.file is self.main
        origin = self.origin(None if is_main or requester is None else requester.path)
        rules = self.rules
        trusted = rules.default_directories if self.options.secure else None
        platform = self.cpu.platform if "PLATFORM" in text else None
        return expand(text, origin, rules.lib, platform, trusted=trusted, is_main=is_main)

    # -- opening ----------------------------------------------------------------------------------

    def attempt(self, path: str, rule: str) -> ElfFile | None:
        """The file at ``path`` if it can be used, else None; what happened is one row of the record.

        FormatError where glibc gives up: not ELF, or an ELF header this loader does not know (open_verify).
        """
        try:
            host = self.host(path)
            fd = os.open(host, _OPEN)
        except OSError as error:
            self.errno = error.errno or errno.ENOENT
            outcome = MISSING if self.errno in (errno.ENOENT, errno.ENOTDIR) else UNREADABLE
            detail = "" if outcome == MISSING else os.strerror(self.errno)
            self.steps.append((path, rule, outcome, detail))
            return None
        except ValueError:  # a NUL in the path: C would have ended there, nobody means that
            self.errno = errno.ENOENT
            self.steps.append((path, rule, MISSING, "the path has a NUL in it"))
            return None
        try:
            status = os.fstat(fd)
            file = self._files.get((status.st_dev, status.st_ino))
            if file is None:
                refusal = refuse(self, fd, path)
                if refusal is not None:
                    self.errno = errno.ENOENT
                    self.steps.append((path, rule, *refusal))
                    return None
                file = ElfFile(fd, path)
                file.path = host
                self._files[status.st_dev, status.st_ino] = file
        except FormatError as error:
            self.steps.append((path, rule, REFUSED, str(error)))
            raise
        finally:
            os.close(fd)
        self.steps.append((path, rule, FOUND, ""))
        return file

    def not_found(self, name: str, requester: Module | None) -> NotFound:
        """The exception for the search on record."""
        reason = os.strerror(self.errno)
        if self.other_class:
            reason = f"wrong ELF class: ELFCLASS{96 - self.main.bits}"
        return NotFound(name, _path_of(requester), candidates(self.steps), reason)


def _path_of(module: Module | None) -> str | None:
    return None if module is None else module.path
