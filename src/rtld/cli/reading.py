"""What the commands that read files have in common: options to keywords, files one after the other, the status."""

from __future__ import annotations

import os
import sys

from rtld.cli import FINE, MISSING, UNREADABLE, UsageError, flush, put, tell
from rtld.errors import RtldError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rtld.cli.options import Options

_COLOURS = ("0", "1", "2", "31", "32", "33", "36")  # of report/style.py
#: What is wrong with a FILE, not with rtld.
BAD_FILE = (RtldError, OSError, MemoryError, RecursionError)


def search_keywords(options: Options) -> dict[str, Any]:
    """The keywords of ``rtld.link`` that the common options stand for."""
    keywords: dict[str, Any] = {}
    for name in ("library_path", "preload", "sysroot", "model", "system_path"):
        value = getattr(options, name)
        if value is not None:
            keywords[name] = value
    if options.system_path is not None and options.model == "glibc":
        raise UsageError("--system-path is not for glibc: it has ld.so.cache (--inhibit-cache)")
    if options.sysroot is not None and not os.path.isdir(options.sysroot):
        raise UsageError(f"--sysroot {options.sysroot}: no such directory")
    if options.env:
        # The variables are added to what would be there without them: nothing in a sysroot.
        env = {} if options.sysroot is not None else dict(os.environ)
        keywords["env"] = env | assignments(options.env)
    if options.cpu is not None:
        keywords["cpu"] = _cpu(options.cpu)
    for name in ("secure", "inhibit_cache"):
        if getattr(options, name):
            keywords[name] = True
    return keywords


def _cpu(name: str) -> str:
    """A name that some architecture knows as a class of its CPUs."""
    from rtld.arch import ARCHES, by_name

    known = {"native", "baseline"}.union(*[by_name(arch).hwcaps for arch in ARCHES])
    if name not in known:
        raise UsageError(
            f"--cpu {name}: there is no such CPU; there are {', '.join(sorted(known))}"
        )
    return name


def assignments(words: list[str]) -> dict[str, str]:
    """``K=V`` words as a dictionary."""
    result = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not name or not equals:
            raise UsageError(f"--env {word}: write NAME=VALUE")
        result[name] = value
    return result


def is_pe(path: str) -> bool:
    """Whether a file begins as Windows' programs and DLLs do. The one place where formats are told apart."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.read(fd, 2) == b"MZ"
    except OSError:
        return False
    finally:
        os.close(fd)


def by_format(
    elf: Callable[[str], int], command: str, options: Options, files: list[dict[str, Any]]
) -> Callable[[str], int]:
    """What a command does with a FILE: *elf*, or the same command of ``cli.pe`` for a PE file."""

    def each(path: str) -> int:
        if not is_pe(path):
            return elf(path)
        from rtld.cli import pe

        return pe.COMMANDS[command](path, options, files)

    return each


def for_each(
    options: Options,
    each: Callable[[str], int],
    on_error: Callable[[str, BaseException], None] | None = None,
) -> int:
    """Call *each* with every FILE; one bad file does not stop the others. The worst status counts."""
    status = FINE
    for path in options.rest:
        try:
            status = max(status, each(path))
        except BrokenPipeError:
            raise
        except BAD_FILE as error:
            if options.debug:
                raise
            tell(named(path, error))
            if on_error is not None:
                on_error(path, error)
            status = UNREADABLE
    return status


def named(path: str, error: BaseException) -> str:
    """The error as a sentence that begins with the file's name."""
    from rtld.report.message import sentence

    text = sentence(error)
    return text if text.startswith(path) else f"{path}: {text}"


def status_of(problems: list[Any]) -> int:
    """0, or 1 when something that is needed is not there."""
    return MISSING if any(p.fatal or p.kind in ("preload", "symbol") for p in problems) else FINE


def respelling(options: Options) -> Callable[[str], str] | None:
    """How names are shown: demangled when --demangle was given."""
    if not options.demangle:
        return None
    from rtld.demangle import demangler

    return demangler()


def write(text: str) -> None:
    """Text that may hold names of files, which need not be UTF-8, for a stream that may not be UTF-8 either."""
    if sys.stdout.isatty():
        text = harmless(text)
    try:
        put(text)
    except UnicodeEncodeError:
        flush()
        sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))


def harmless(text: str) -> str:
    """Text without control characters but our own colours: a name in a file must not talk to the terminal."""
    controls = {n: f"\\x{n:02x}" for n in (*range(32), *range(127, 160)) if n not in (9, 10, 27)}
    first, *rest = text.translate(controls).split("\033")
    return first + "".join(
        [
            ("\033" if part[:1] == "[" and part[1:].partition("m")[0] in _COLOURS else "\\x1b")
            + part
            for part in rest
        ]
    )


def write_document(command: str, files: list[dict[str, Any]], *, single: bool) -> None:
    """One JSON document: the keys of the only FILE, or an object for each under ``files``."""
    from rtld.report.json import document

    write(document(command, files[0] if single and files else {"files": files}))


def write_failure(name: str, options: Options, error: BaseException) -> None:
    """The JSON document of a command that can tell nothing but why: ``path``, where it was given one, and ``error``."""
    from rtld.report.json import document, failure

    word = getattr(options, "command", None)  # of several commands under one name
    # Their arguments, and those of cache and epoch, are not one file.
    one = word is None and name not in ("cache", "epoch") and options.rest
    found = failure(options.rest[0] if one else "", error)
    if not one:
        del found["path"]
    write(document(f"{name} {word}" if word else name, found))
