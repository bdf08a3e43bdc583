"""``rtld freeze``: one native image of a program and all its libraries."""

from __future__ import annotations

import os
import sys

from rtld.cli import FINE, MISSING, UsageError, tell
from rtld.cli.options import JSON, Command, Option, Options
from rtld.cli.reading import search_keywords, write, write_failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# fmt: off
COMMAND = Command(
    "freeze",
    "PROGRAM",
    """\
Link PROGRAM and its libraries once and write the result as one ELF image, in which everything but the platform's
libc is laid out, bound and relocated. Kernel and ld.so start it, several times faster than the original; where a
file it was made of has changed, it executes the original instead.""",
    (
        Option("-o --output",        "IMAGE",  "where to write it (default: PROGRAM.frozen, in this directory)"),
        Option("--thin",             "",       "map code and constants from the libraries' own files: a small image"),
        Option("--pie",              "",       "addresses chosen at each start, for programs that allow it; slower"),
        Option("--many",             "",       "a PT_LOAD for every run of pages (Linux 6.17 or few libraries)"),
        Option("--with",             "PLUGIN", "put in a module that the program opens by itself", many=True),
        Option("--keep",             "LIB",    "leave a library, and what it needs, to ld.so", many=True),
        Option("--export",           "WHAT",   "symbols for modules opened later: all, min (default: by what it imports)", choices=("all", "min")),
        Option("--base",             "N",      "the image's address (default: chosen by chance, once)"),
        Option("--reproducible",     "",       "the same image for the same files"),
        Option("--epoch",            "",       "libraries at the addresses of `rtld epoch build'"),
        Option("--no-guard",         "",       "do not look at the files at each start: run what was linked, come what may"),
        Option("--allow-unresolved", "",       "calls of functions that nobody defines end the program"),
        Option("--check",            "",       "PROGRAM is an image: what it was made of, and whether that still holds"),
        Option("--explain",          "",       "what would be in it, what not, what the program may notice; writes nothing"),
        JSON,
    ),
    """\
  rtld freeze /usr/bin/gdb -o gdb.frozen       start it as ./gdb.frozen
  rtld freeze --explain /usr/bin/inkscape
  rtld freeze --thin --with /usr/lib/python3.11/lib-dynload/_ssl*.so /usr/bin/python3.11
  rtld freeze --check gdb.frozen               status 1: it would execute the original
""",
    most=1,
    notes="""
Exit status: 0 written (or, with --check, as it was made), 1 something is missing or has changed, 3 unreadable,
malformed, or not to be frozen. See docs/freeze.md.""",
    windows=False,
)
# fmt: on


def main(options: Options) -> int:
    """Freeze, check or explain."""
    if options.check and options.explain:
        raise UsageError("--check and --explain exclude each other", "freeze")
    if options.check:
        return _check(options)
    from rtld.frozen.choose import NotFreezable

    try:
        return _explain(options) if options.explain else _freeze(options)
    except NotFreezable as error:
        tell(str(error))
        if options.json:
            write_failure("freeze", options, error)
        return MISSING


def _keywords(options: Options) -> dict[str, Any]:
    """The library's options."""
    return {
        "thin": options.thin, "pie": options.pie, "many": options.many, "export": options.export,
        "plugins": tuple(getattr(options, "with")), "keep": tuple(options.keep), "base": _base(options.base),
        "addresses": _addresses(options), "reproducible": options.reproducible, "guard": not options.no_guard, "allow_unresolved": options.allow_unresolved,
    }  # fmt: skip


def _addresses(options: Options) -> dict[str, int] | None:
    if not options.epoch:
        return None
    from rtld.epoch import Epoch

    epoch = Epoch.load()
    if epoch is None:
        raise UsageError("--epoch: there is none; `rtld epoch build' begins one", "freeze")
    return epoch.addresses()


def _base(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        base = int(text, 0)
    except ValueError:
        base = -1
    if not 0x10000 <= base < 1 << 46 or base % 4096:
        raise UsageError(
            f"--base {text}: an address from 0x10000 to 2**46, a multiple of 4096", "freeze"
        )
    return base


def _found(options: Options) -> Any:
    from rtld.process.link import find

    keywords = search_keywords(options)
    env = keywords.get("env", dict(os.environ))
    keywords["env"] = {name: value for name, value in env.items() if name != "LD_PRELOAD"}
    return find(options.rest[0], **keywords)


def _freeze(options: Options) -> int:
    from rtld.frozen import freeze
    from rtld.report.progress import Steps

    if options.thin and options.no_guard:
        raise UsageError(
            "--thin needs the guard: the image's data fit only the files it was made of", "freeze"
        )
    target = options.output or os.path.basename(options.rest[0]) + ".frozen"
    keywords = _keywords(options)
    with Steps() as progress:
        report = freeze(_found(options), target, progress=progress, **keywords)
    _tell(options, report, "freeze")
    return FINE


def _explain(options: Options) -> int:
    from rtld.frozen import explain
    from rtld.report.progress import Steps

    keywords = _keywords(options)
    with Steps() as progress:
        report = explain(_found(options), progress=progress, **keywords)
    _tell(options, report, "freeze")
    return FINE


def _tell(options: Options, report: Any, command: str) -> None:
    if options.json:
        from rtld.report.json import document

        write(document(command, report.as_json()))
        return
    from rtld.report.freeze import lines
    from rtld.report.style import style_for

    write("\n".join([*lines(report, style_for(sys.stdout), everything=options.explain), ""]))


def _check(options: Options) -> int:
    from rtld.frozen.check import check_image

    checked = check_image(options.rest[0])
    if options.json:
        from rtld.report.json import document

        write(document("freeze", checked.as_json()))
    else:
        from rtld.report.freeze import check_lines
        from rtld.report.style import style_for

        write("\n".join([*check_lines(checked, style_for(sys.stdout)), ""]))
    return FINE if checked.fine else MISSING
