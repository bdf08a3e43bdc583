"""``rtld textbook``: the linker of "Linkers and Loaders", a command for each thing its projects do."""

from __future__ import annotations

import os
import sys

from rtld.cli import FINE, MISSING, UNREADABLE, UsageError, flush, tell
from rtld.cli.options import JSON, Command, Family, Option, Options
from rtld.cli.reading import write
from rtld.textbook.complaints import LinkFailure, Malformed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

# fmt: off
OUTPUT = Option("-o --output", "OUT", "write the result there; without it, on standard output")
ENDIAN = Option("--endian", "ORDER", "big or little (default: what the files say, else big)", choices=("big", "little"))
DIRECTORY = Option("-L --directory", "DIR", "look for shared libraries here first", many=True)
ENTRY = Option("--entry", "NAME", "begin at this symbol (default: _start, else main)")
FORMAT = Option("--format", "NAME", "file (default), directory (a file a symbol) or map", choices=("file", "directory", "map"))
WRAP = Option("-w --wrap", "NAME", "references go to wrap_NAME, the definition becomes real_NAME", many=True)

COMMANDS = {command.name.split()[1]: command for command in (
    Command("textbook link", "OBJ... [LIB...]", "Link objects and libraries into an executable or a shared library.", (
        OUTPUT,
        Option("-s --shared",  "",     "make a shared library"),
        Option("--base",       "HEX",  "address of the first segment (default 1000)"),
        ENDIAN,
        Option("-p --pic",     "",     "make an executable that can be moved when it is loaded"),
        WRAP,
        Option("--gc",         "",     "leave out segments .textN that nothing reaches"),
        Option("--root",       "NAME", "what --gc starts from (default: _start and main)", many=True),
        Option("--interpose",  "",     "bind a library's references to its own symbols at run time, as ELF does"),
        Option("--stub",       "OUT",  "make a static shared library of a library, and its stub library OUT"),
        Option("--name",       "NAME", "with --stub: what executables call the library (default: name of -o)"),
        FORMAT,
        Option("-m --map",     "",     "show where everything is and who uses what, in place of the result"),
        JSON,
    ), """\
  rtld textbook link -o prog main.lk sub.lk lib
  rtld textbook link --shared -o libd.so.lk add.lk
  rtld textbook link -m main.lk sub.lk           storage and symbols
  rtld textbook link --base 8000 -o libm --stub libm.stub libm.a
""", search=False),
    Command("textbook bind", "PROGRAM", "Load a program and its shared libraries, give them addresses, bind and relocate them.", (
        Option("--at",         "HEX",  "put the program there, libraries above"),
        DIRECTORY,
        ENDIAN,
        Option("-t --trace",   "",     "tell every step, in the words of LD_DEBUG, on standard error"),
        Option("-d --dump",    "",     "show memory"),
        Option("--elf",        "OUT",  "write the bound program as an i386 ELF program"),
        ENTRY,
        JSON,
    ), """\
  rtld textbook bind prog
  rtld textbook bind --dump -L lib prog
  rtld textbook bind --elf prog.elf prog && ./prog.elf
""", search=False, most=1),
    Command("textbook ar", "create|list LIBRARY [OBJ...]", "Make a library of objects, or show what is in one.", (FORMAT, JSON), """\
  rtld textbook ar create lib.a sin.lk cos.lk
  rtld textbook ar create --format directory lib.d sin.lk cos.lk
  rtld textbook ar list lib.a
""", search=False, least=2),
    Command("textbook check", "FILE...", "Say everything that is wrong with objects and libraries.", (JSON,), """\
  rtld textbook check *.lk
""", search=False),
    Command("textbook show", "FILE", "Show what an object, executable or library says.", (JSON,), """\
  rtld textbook show prog
""", search=False, most=1),
    Command("textbook copy", "OBJ", "Read an object and write it again.", (OUTPUT,), """\
  rtld textbook copy -o new.lk old.lk
""", search=False, most=1),
    Command("textbook wrap", "OBJ", "Rename references and definitions so that a function can be wrapped.", (WRAP, OUTPUT), """\
  rtld textbook wrap -w malloc -o wrapped.lk prog.lk
""", search=False, most=1),
    Command("textbook from-elf", "OBJ", "Turn an i386 ELF object, as a C compiler makes it, into this format.", (OUTPUT,), """\
  gcc -m32 -Os -ffreestanding -fno-stack-protector -c hello.c
  rtld textbook from-elf -o hello.lk hello.o
""", search=False, most=1),
    Command("textbook run", "PROGRAM", "Bind an i386 program and run it on an emulated CPU.", (
        DIRECTORY,
        ENTRY,
        Option("--timeout",    "SECONDS", "stop it when it has run for so long"),
    ), """\
  rtld textbook run prog
""", search=False, most=1, notes="""
Its exit status is the program's own; 128 and the number of a signal where a kernel would have ended it so."""),
)}
# fmt: on

OVERVIEW = """\
usage: rtld textbook COMMAND [OPTION...] FILE...

The linker of John R. Levine's "Linkers and Loaders": its text object format, its projects 3-1 to 11-1.

commands:
{commands}

`rtld textbook COMMAND --help' tells about a command; docs/textbook.md walks through the projects.

exit status:
  0 fine, 1 symbols or libraries are missing or do not fit, 2 wrong usage, 3 a FILE is unreadable or malformed

examples:
  rtld textbook link --shared -o libd add.lk
  rtld textbook link -o prog main.lk libd
  rtld textbook bind --dump prog
"""


COMMAND = Family("textbook", COMMANDS, OVERVIEW)


def main(options: Options) -> int:
    """Do it; what is wrong with the files is told line by line."""
    # fmt: off
    commands: dict[str, Callable[[Options], int]] = {
        "link": _link, "bind": _bind, "ar": _ar, "check": _check, "show": _show, "copy": _copy, "wrap": _wrap,
        "from-elf": _from_elf, "run": _run,
    }
    # fmt: on
    try:
        return commands[options.command](options)
    except (Malformed, LinkFailure) as error:
        if options.debug:
            raise
        return _refuse(options, error)


def _refuse(options: Options, error: Malformed | LinkFailure) -> int:
    """One line for each thing that is wrong, and a document where one was asked for."""
    for line in str(error).splitlines():
        tell(line)
    if options.__dict__.get("json") and options.command != "check":
        from rtld.textbook.show import complaint_json, problem_json

        if isinstance(error, Malformed):
            body = {"complaints": [complaint_json(complaint) for complaint in error.complaints]}
        else:
            body = {"problems": [problem_json(problem) for problem in error.problems]}
        _document(options, body)
    return UNREADABLE if isinstance(error, Malformed) else MISSING


def _document(options: Options, body: dict[str, Any]) -> None:
    from rtld.report.json import document

    write(document(f"textbook {options.command}", body))


def _lines(lines: Sequence[str]) -> None:
    write("\n".join([*lines, ""]))


def _save(path: str | None, text: str) -> None:
    if path is None or path == "-":
        write(text)
        return
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def _hex(options: Options, name: str) -> int | None:
    text = getattr(options, name)
    if text is None:
        return None
    try:
        value = int(text, 16)
    except ValueError:
        value = -1
    if not 0 <= value < 1 << 32:
        raise UsageError(
            f"--{name} {text}: a hex number up to ffffffff is wanted", f"textbook {options.command}"
        )
    return value


def _order(options: Options) -> str | None:
    from rtld.textbook.object import ORDERS

    return ORDERS[options.endian] if options.endian else None


# -- link -------------------------------------------------------------------------------------------


def _link(options: Options) -> int:
    from rtld.textbook.link import LinkOptions, link
    from rtld.textbook.show import map_json, map_lines
    from rtld.textbook.writer import write_object

    base = _hex(options, "base")
    wanted = LinkOptions(
        base=LinkOptions().base if base is None else base,
        order=_order(options),
        pic=options.pic,
        shared=options.shared,
        wraps=tuple(options.wrap),
        garbage=options.gc,
        roots=tuple(options.root) or LinkOptions().roots,
        interpose=options.interpose,
    )
    if options.stub is not None:
        edit = _link_static_shared(options, wanted)
    else:
        edit = link(options.rest, wanted)
    if options.output is not None or not (options.map or options.json):
        _save(options.output, write_object(edit.output))
    if options.json:
        _document(options, map_json(edit))
    elif options.map:
        _lines(map_lines(edit))
    return FINE


def _link_static_shared(options: Options, wanted: Any) -> Any:
    from rtld.textbook.static_shared import make_static_shared, write_stub

    if options.base is None or options.shared or options.pic:
        raise UsageError("--stub goes with --base, and not with --shared or --pic", "textbook link")
    if options.name is None and options.output in (None, "-"):
        raise UsageError("--stub needs -o, or --name", "textbook link")
    name = options.name or os.path.basename(options.output)
    edit, modules = make_static_shared(options.rest[0], options.rest[1:], wanted)
    write_stub(options.stub, modules, options.format or "file", name, edit)
    return edit


# -- bind and run -----------------------------------------------------------------------------------


def _bind(options: Options) -> int:
    from rtld.events import QUIET, categories
    from rtld.textbook.bind import bind, byte_order
    from rtld.textbook.show import BindTrace, bound_json, bound_lines, dump_lines
    from rtld.textbook.space import LowestFirst
    from rtld.textbook.to_elf import LOWEST, elf_program

    at = _hex(options, "at")
    reporter = QUIET
    if options.trace:
        reporter = BindTrace(categories("all"), sys.stderr, lambda: 0)
    space = LowestFirst(LOWEST) if options.elf and at is None else None
    order = _order(options)
    ns = bind(
        options.rest[0], options.directory, at=at, order=order, space=space, reporter=reporter
    )
    for problem in ns.problems:
        tell(problem.message)
    if options.elf and not ns.problems:
        data = elf_program(ns, byte_order(ns, order), options.entry)
        with open(options.elf, "wb") as file:
            file.write(data)
        os.chmod(options.elf, 0o755)  # noqa: S103  a program is to be started
    if options.json:
        _document(options, bound_json(ns))
    else:
        _lines(bound_lines(ns))
        if options.dump:
            _lines(["", *dump_lines(ns)])
    return MISSING if ns.problems else FINE


def _run(options: Options) -> int:
    from rtld.errors import TargetFault
    from rtld.process.textbook import run

    seconds = None
    if options.timeout is not None:
        try:
            seconds = float(options.timeout)
        except ValueError:
            message = f"--timeout {options.timeout}: a number of seconds is wanted"
            raise UsageError(message, "textbook run") from None
    flush()
    path = options.rest[0]
    try:
        return run(path, options.directory, entry=options.entry, seconds=seconds, tell=tell)
    except TargetFault as fault:
        if options.debug:
            raise
        tell(f"{path}: {fault}")
        return getattr(fault, "status", UNREADABLE)


# -- files ------------------------------------------------------------------------------------------


def _ar(options: Options) -> int:
    from rtld.textbook.library import create_library, read_library
    from rtld.textbook.reader import read_file
    from rtld.textbook.show import library_json, library_lines

    action, path, *objects = options.rest
    if action not in ("create", "list") or (action == "list" and objects):
        raise UsageError("write: ar create LIBRARY OBJ..., or: ar list LIBRARY", "textbook ar")
    if action == "create":
        members = [(os.path.basename(name), read_file(name)) for name in objects]
        create_library(path, members, options.format or "file")
        if not options.json:
            return FINE
    library = read_library(path)
    if options.json:
        _document(options, library_json(library))
    else:
        _lines(library_lines(library))
    return FINE


def _read(path: str) -> tuple[list[str], dict[str, Any], str]:
    """A file of either kind: as a table, as JSON, in one line."""
    from rtld.textbook.library import is_library, read_library
    from rtld.textbook.reader import read_file
    from rtld.textbook.show import (
        kind_of,
        library_json,
        library_lines,
        object_json,
        object_lines,
        summary,
    )

    if is_library(path):
        library = read_library(path)
        return (
            library_lines(library),
            library_json(library),
            f"library, {len(library.members)} modules",
        )
    thing = read_file(path)
    return object_lines(thing), object_json(thing), f"{kind_of(thing)}, {summary(thing)}"


def _show(options: Options) -> int:
    lines, body, _ = _read(options.rest[0])
    if options.json:
        _document(options, body)
    else:
        _lines(lines)
    return FINE


def _check(options: Options) -> int:
    from rtld.textbook.show import complaint_json

    status = FINE
    files = []
    for path in options.rest:
        complaints: list[dict[str, Any]] = []
        try:
            _, _, summary = _read(path)
            if not options.json:
                _lines([f"{path}: {summary}"])
        except Malformed as error:
            complaints = [complaint_json(complaint) for complaint in error.complaints]
            status = _refuse(options, error)
        except OSError as error:
            tell(f"{path}: {error.strerror}")
            complaints = [
                {
                    "path": path,
                    "line": 0,
                    "subject": "file",
                    "found": error.strerror,
                    "expected": "a file",
                }
            ]
            status = UNREADABLE
        files.append({"path": path, "complaints": complaints})
    if options.json:
        _document(options, {"files": files})
    return status


def _copy(options: Options) -> int:
    from rtld.textbook.reader import read_file
    from rtld.textbook.writer import write_object

    _save(options.output, write_object(read_file(options.rest[0])))
    return FINE


def _wrap(options: Options) -> int:
    from rtld.textbook.reader import read_file
    from rtld.textbook.wrap import wrap_object
    from rtld.textbook.writer import write_object

    _save(options.output, write_object(wrap_object(read_file(options.rest[0]), options.wrap)))
    return FINE


def _from_elf(options: Options) -> int:
    from rtld.textbook.from_elf import convert_file
    from rtld.textbook.writer import write_object

    _save(options.output, write_object(convert_file(options.rest[0])))
    return FINE
