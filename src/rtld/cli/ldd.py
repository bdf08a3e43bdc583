"""``rtld ldd``: the lines that ldd prints."""

from __future__ import annotations

import os
import sys

from rtld.cli import FINE, MISSING, UNREADABLE, flush, tell
from rtld.cli.options import JSON, Command, Option, Options
from rtld.cli.reading import BAD_FILE, named, search_keywords, status_of, write, write_document

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# fmt: off
COMMAND = Command(
    "ldd",
    "FILE...",
    "List the libraries of a program or library as ldd does. The file is never executed.",
    (
        Option("-v --verbose",         "", "add the versions each object requires, and who provides them"),
        Option("-d --data-relocs",     "", "report undefined data and functions used by address"),
        Option("-r --function-relocs", "", "report every undefined symbol"),
        Option("-u --unused",          "", "list direct dependencies that the program does not use"),
        JSON,
    ),
    """\
  rtld ldd /bin/ls
  rtld ldd -r ./libplugin.so                 what it expects from whoever loads it
  rtld ldd --sysroot /mnt/pi /mnt/pi/bin/ls  a program of another CPU
""",
    notes="""
Order, names and paths are those of ldd; addresses are where rtld would put the objects. Unlike ldd's, the exit status
is 1 when something is missing, and 3 for a file that is no ELF file. As ldd's, it is 1 for one that is no dynamic
executable, and with -u when something is unused.""",
    windows=False,
)
# fmt: on


def main(options: Options) -> int:
    """The listing of each FILE, under its name when there are several."""
    keywords = search_keywords(options)
    files: list[dict[str, Any]] = []
    status = FINE
    for path in options.rest:
        if len(options.rest) > 1 and not options.json:
            write(f"{path}:\n")
        try:
            result = _one(path if "/" in path else f"./{path}", options, keywords, files)
        except BrokenPipeError:
            raise
        except BAD_FILE as error:
            if options.debug:
                raise
            _refuse(path, error)
            if options.json:
                from rtld.report.json import failure

                files.append(failure(path, error))
            result = UNREADABLE
        status = max(status, result)
    if options.json:
        write_document("ldd", files, single=len(options.rest) == 1)
    return status


def _refuse(path: str, error: BaseException) -> None:
    if getattr(error, "field", "") == "magic":
        flush()
        sys.stderr.write("\tnot a dynamic executable\n")
    else:
        name = path if "/" in path else f"./{path}"
        tell(named(name if isinstance(error, OSError) else path, error))


def _one(path: str, options: Options, keywords: dict[str, Any], files: list[dict[str, Any]]) -> int:
    from rtld.process.link import find
    from rtld.report import ldd

    if os.path.isfile(path) and not os.access(path, os.R_OK):
        raise PermissionError(13, f"error: you do not have read permission for `{path}'")
    # As when ld.so is given the program as an argument: that is what ldd does.
    link = find(path, by_loader=True, **keywords)
    if not ldd.is_program_for_ldd(link):
        if options.json:
            from rtld.report.json import closure

            files.append(closure(link))
        else:
            flush()
            sys.stderr.write("\tnot a dynamic executable\n")
        return MISSING
    if options.unused:
        return _unused(link, options, files)
    undefined: list[str] = []
    if options.json:
        return _json(link, options, files)
    lines = list(ldd.listing(link))
    if options.data_relocs or options.function_relocs:
        undefined = list(ldd.undefined_symbols(link, functions=options.function_relocs))
        lines += undefined
    complaints = any("not found" in line for line in lines)
    if options.verbose:
        lines += ldd.version_information(link.namespace)
    write("\n".join([*lines, ""]))
    return MISSING if undefined or complaints else status_of(link.problems)


def _unused(link: Any, options: Options, files: list[dict[str, Any]]) -> int:
    from rtld.report import ldd

    unused = ldd.unused_dependencies(link)
    if options.json:
        from rtld.report.json import closure

        files.append({**closure(link), "unused": unused})
    elif unused:
        write("\n".join(["Unused direct dependencies:", *[f"\t{path}" for path in unused], ""]))
    return MISSING if unused else status_of(link.problems)


def _json(link: Any, options: Options, files: list[dict[str, Any]]) -> int:
    from rtld.report.json import closure

    if options.data_relocs or options.function_relocs or options.verbose:
        link.bind()
    files.append(closure(link))
    return status_of(link.problems)
