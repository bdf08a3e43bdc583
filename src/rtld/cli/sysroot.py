"""``rtld sysroot``: the files of another Debian system in a directory, for programs and libraries of other CPUs."""

from __future__ import annotations

from rtld.cli import FINE, MISSING, UsageError, tell
from rtld.cli.options import JSON, Command, Family, Option, Options
from rtld.cli.reading import write, write_failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rtld.debian.sysroot import Request, Summary

# fmt: off
ARCHIVE = (
    Option("--mirror",        "URL",  "the archive: http, https or file (default: what this machine's apt uses)"),
    Option("--suite",         "NAME", "bookworm, trixie, ... (default: this machine's, or the first that has ARCH)"),
    Option("--trusted",       "",     "take an archive that is not signed"),
    Option("--allow-expired", "",     "take an archive whose Valid-Until is over"),
    Option("--cache",         "DIR",  "keep downloads there (default: $XDG_CACHE_HOME/rtld/debian)"),
    Option("-q --quiet",      "",     "no progress, no summary"),
    JSON,
)
COMMANDS = {command.name.split()[1]: command for command in (
    Command("sysroot create", "ARCH DIR [PACKAGE...]", """\
Make DIR a Debian system for ARCH: C library, each PACKAGE (or PACKAGE=VERSION), and what they need.""", ARCHIVE, """\
  rtld sysroot create arm64 arm64root zlib1g
  rtld sysroot create riscv64 rv python3 sqlite3      Debian 13, which has it
  rtld sysroot create armhf root --suite trixie --mirror http://deb.debian.org/debian
""", search=False, least=2, notes="""
ARCH: amd64, i386, arm64, armhf, riscv64, s390x, ppc64el, mips64el, loong64, as far as the archive has it.
Indices and packages are checked by their hashes, Release by gpgv. Nothing of a package is executed. What was downloaded is
kept in the cache, and an interrupted download goes on where it ended."""),
    Command("sysroot add", "DIR PACKAGE...", "Add packages, and all that they need, to a sysroot.", ARCHIVE, """\
  rtld sysroot add arm64root libssl3
""", search=False, least=2),
    Command("sysroot list", "DIR", "Show which packages a sysroot has.", (JSON,), """\
  rtld sysroot list arm64root
""", search=False, most=1),
    Command("sysroot which", "DIR|ARCH LIBRARY...", "Say which packages have a shared library.", ARCHIVE, """\
  rtld sysroot which arm64root libsqlite3.so.0
  rtld sysroot which s390x libz.so.1
""", search=False, least=2, notes="""
It reads the archive's index of contents, about 10 MB. Afterwards, messages about libraries that are missing in DIR name the
package, too. Exit status: 0 every LIBRARY is in some package, 1 one is not."""),
)}
# fmt: on

OVERVIEW = """\
usage: rtld sysroot COMMAND [OPTION...] ...

The files of a Debian system of another CPU in a directory. Programs and libraries there can be linked, shown and called
with --sysroot DIR. The packages of this machine are not touched.

commands:
{commands}

`rtld sysroot COMMAND --help' tells about a command.

examples:
  rtld sysroot create arm64 arm64root zlib1g
  rtld tree --sysroot arm64root /usr/lib/aarch64-linux-gnu/libz.so.1
"""

COMMAND = Family("sysroot", COMMANDS, OVERVIEW)


def main(options: Options) -> int:
    """The command that was named."""
    commands: dict[str, Callable[[Options], int]] = {
        "create": _create,
        "add": _add,
        "list": _list,
        "which": _which,
    }
    from rtld.debian.depend import Missing

    try:
        return commands[options.command](options)
    except Missing as error:
        if options.debug:
            raise
        tell(str(error))
        if options.json:
            write_failure("sysroot", options, error)
        return MISSING


def _request(options: Options) -> Request:
    from rtld.debian.fetch import SCHEMES
    from rtld.debian.sysroot import Request

    if options.mirror is not None and not options.mirror.startswith(SCHEMES):
        raise UsageError(
            f"--mirror {options.mirror}: it begins with {', '.join(SCHEMES)}", "sysroot"
        )
    return Request(
        options.mirror, options.suite, options.trusted, options.allow_expired, options.cache
    )


def _progress(options: Options) -> Any:
    if options.quiet:
        from rtld.events import Progress

        return Progress()
    from rtld.report.progress import Bar

    return Bar()


def _create(options: Options) -> int:
    from rtld.debian.sysroot import ARCHITECTURES, create

    architecture, directory, *packages = options.rest
    if architecture not in ARCHITECTURES:
        raise UsageError(
            f"ARCH {architecture}: there are {', '.join(ARCHITECTURES)}", "sysroot create"
        )
    summary = create(architecture, directory, packages, _request(options), _progress(options))
    return _done(options, summary)


def _add(options: Options) -> int:
    from rtld.debian.sysroot import add

    directory, *packages = options.rest
    return _done(options, add(directory, packages, _request(options), _progress(options)))


def _done(options: Options, summary: Summary) -> int:
    if options.json:
        from rtld.report.json import document

        write(document(f"sysroot {options.command}", summary._asdict()))
    elif not options.quiet:
        count = len(summary.added)
        files = sum(entry["files"] for entry in summary.added)
        size = sum(entry["size"] for entry in summary.added)
        suites = ", ".join(dict.fromkeys(source["suite"] for source in summary.sources))
        write(
            f"{summary.directory}: {count} package{'s' if count != 1 else ''} added, {files} files, "
            f"{size / 1e6:.1f} MB ({summary.downloaded / 1e6:.1f} MB downloaded), {summary.architecture} of {suites}\n"
        )
    return FINE


def _list(options: Options) -> int:
    from rtld.debian.sysroot import ARCHITECTURES, read_state

    state = read_state(options.rest[0])
    packages = state["packages"]
    if options.json:
        from rtld.report.json import document

        body = {
            "directory": options.rest[0],
            "architecture": state["architecture"],
            "cpu": ARCHITECTURES[state["architecture"]],
            "sources": [
                {"uri": source["uri"], "suite": source["suite"]} for source in state["sources"]
            ],
            "packages": [{"package": name, **packages[name]} for name in sorted(packages)],
        }
        write(document("sysroot list", body))
        return FINE
    width = max((len(name) for name in packages), default=0)
    write("".join([f"{name:<{width}}  {packages[name]['version']}\n" for name in sorted(packages)]))
    return FINE


def _which(options: Options) -> int:
    from rtld.debian.sysroot import which

    where, *names = options.rest
    found = which(where, names, _request(options), _progress(options))
    if options.json:
        from rtld.report.json import document

        write(document("sysroot which", {"libraries": found}))
    else:
        for name, packages in found.items():
            if packages:
                write(f"{name}: {' '.join(packages)}\n")
            else:
                tell(f"{name}: no package has it")
    return FINE if all(found.values()) else MISSING
