"""What glibc's ld.so says of a file that it cannot load, where our own errors say more.

ld.so has few words for the system's errors while there is no libc yet (elf/dl-minimal.c, __strerror_r), and leaves
them out where a preload is only ignored (elf/rtld.c, do_preload). Files that only we refuse are told about in full.
"""

from __future__ import annotations

import errno
import os

from rtld.errors import FormatError, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.core.module import Namespace

#: Sentences of open_verify and _dl_map_object_from_fd (elf/dl-load.c); ``FormatError.structure`` is one of them.
# fmt: off
SENTENCES = frozenset((
    "ELF file ABI version invalid",
    "ELF file OS ABI invalid",
    "ELF file data encoding not big-endian",
    "ELF file data encoding not little-endian",
    "ELF file version does not match current one",
    "ELF file version ident does not match current one",
    "ELF file's phentsize not the expected size",
    "ELF load command address/offset not page-aligned",
    "cannot dynamically load executable",
    "cannot dynamically load position-independent executable",
    "cannot read file data",
    "file too short",
    "invalid ELF header",
    "nonzero padding in e_ident",
    "object file has no dynamic section",
    "object file has no loadable segments",
    "only ET_DYN and ET_EXEC can be loaded",
))
# fmt: on
_READ = "cannot read file data"
_KNOWN = (errno.ENOMEM, errno.EINVAL, errno.ENOENT, errno.EPERM, errno.EIO, errno.EACCES)


def when_opened(error: Exception) -> str:
    """As ``dlerror`` has it."""
    if not isinstance(error, FormatError) or error.structure not in SENTENCES:
        return str(error)
    reason = _reason(error)
    return f"{error.path}: {error.structure}" + (f": {reason}" if reason else "")


def at_start(error: Exception) -> str:
    """As ld.so writes it when a program cannot start."""
    text, reason = when_opened(error), _reason(error)
    if not reason:
        return text
    known = next((n for n in errno.errorcode if os.strerror(n) == reason), 0)
    return text if known in _KNOWN else f"{text.removesuffix(reason)}Error {known}"


def when_preloaded(error: Exception) -> str:
    """What stands in parentheses when a preload is ignored."""
    text, reason = when_opened(error), _reason(error)
    return text.removesuffix(f": {reason}").partition(": ")[2]


def loading_lines(ns: Namespace, program: str) -> tuple[list[str], str | None]:
    """What ld.so says when all files have been looked for: preloads that it ignores, and the library without which it stops."""
    lines = [f"ERROR: ld.so: {p.message}" for p in ns.problems if p.kind == "preload"]
    for problem in ns.problems:
        if problem.kind == "library" and problem.fatal:
            words = at_start(ns.missing[problem.subject][0][1])
            return lines, f"{program}: error while loading shared libraries: {words}"
    return lines, None


def _reason(error: Exception) -> str:
    """The part that is the system's."""
    if isinstance(error, NotFound):
        return error.reason if error.by_system else ""
    if isinstance(error, FormatError) and error.structure == _READ and error.found:
        return str(error.found)
    return ""
