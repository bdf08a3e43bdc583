"""``rtld check``: what is missing or would fail."""

from __future__ import annotations

import os
import sys

from rtld.cli import FINE, MISSING, UsageError
from rtld.cli.options import JSON, Command, Option, Options
from rtld.cli.reading import by_format, for_each, search_keywords, write, write_document

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

# fmt: off
COMMAND = Command(
    "check",
    "FILE...",
    """\
Link each FILE in memory and report what is missing or would fail: libraries, symbols, versions, the interpreter, files
for the wrong machine, unknown relocations (errors); text relocations, executable stacks, static TLS that a dlopen
would not get (warnings); no RELRO, optional libraries of .note.dlopen (notes). Nothing is executed.""",
    (
        Option("-r --recursive",  "", "check all programs and libraries below directories"),
        Option("-v --verbose",    "", "show notes, and who uses how much static TLS"),
        Option("-q --quiet",      "", "say nothing about files that are fine"),
        Option("--strict",        "", "exit status 1 for warnings, too"),
        Option("-k --keep-going", "", "go on after a bad file (always done)"),
        JSON,
    ),
    """\
  rtld check ./app
  rtld check -rq /opt/product                  nothing is printed when all is well
  rtld check --sysroot build/root build/root/usr/bin/*
  rtld check --json ./app | jq -r '.problems[] | select(.kind == "symbol") | .subject'
""",
    notes="""
A symbol that only the program will provide is missing in a plugin: check the program with --preload PLUGIN.
Exit status: 0 no errors, 1 errors, 3 a FILE is unreadable or malformed.""",
)
# fmt: on


def main(options: Options) -> int:
    """All files, one after the other; the worst counts."""
    from rtld.process.link import find
    from rtld.report import check
    from rtld.report.style import style_for

    keywords = search_keywords(options)
    style = style_for(sys.stdout)
    files: list[dict[str, Any]] = []
    single = len(options.rest) == 1 and not os.path.isdir(options.rest[0])
    options.rest = list(_expand(options))

    def one(path: str) -> int:
        examination = check.Examination(find(path, **keywords))
        if options.json:
            files.append(check.body(examination))
        else:
            lines = list(check.text(examination, style, verbose=options.verbose))
            if not options.quiet or len(examination.findings) > sum(
                f.severity == "note" for f in examination.findings
            ):
                write("\n".join([*lines, ""]))
        strict = options.strict and any(f.severity == "warning" for f in examination.findings)
        return MISSING if examination.failed or strict else FINE

    def failed(path: str, error: BaseException) -> None:
        from rtld.report.json import failure

        files.append(failure(path, error))

    status = for_each(
        options, by_format(one, "check", options, files), failed if options.json else None
    )
    if options.json:
        write_document("check", files, single=single)
    return status


def _expand(options: Options) -> Iterator[str]:
    """The files; with --recursive those below directories that are programs or libraries."""
    for path in options.rest:
        if not os.path.isdir(path):
            yield path
        elif not options.recursive:
            raise UsageError(f"{path} is a directory; -r checks what is in it", "check")
        else:
            for directory, names, members in os.walk(path):
                names.sort()
                for member in sorted(members):
                    full = os.path.join(directory, member)
                    if not os.path.islink(full) and _is_linkable(full):
                        yield full


def _is_linkable(path: str) -> bool:
    """An ELF file of type ET_EXEC or ET_DYN, or a file of Windows, by its first bytes."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        head = os.read(fd, 18)
    except OSError:
        return False
    finally:
        os.close(fd)
    if head[:2] == b"MZ":
        return True
    if len(head) < 18 or head[:4] != b"\x7fELF":
        return False
    return int.from_bytes(head[16:18], "little" if head[5] == 1 else "big") in (2, 3)
