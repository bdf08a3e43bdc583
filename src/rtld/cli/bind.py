"""``rtld bind``: write the addresses of imports into a Windows file beforehand."""

from __future__ import annotations

from rtld.cli import FINE, MISSING, tell
from rtld.cli.options import Command, Option, Options
from rtld.cli.reading import write
from rtld.cli.writing import OUTPUT, save

# fmt: off
COMMAND = Command(
    "bind",
    "FILE",
    """\
Bind a Windows program or DLL: the address of every import, as it is when all DLLs are at their preferred bases, goes
into the import address table, and a bound import directory says of which DLLs, from when, they are. Windows then need
not look them up; where a DLL has changed or is elsewhere, it does.""",
    (
        OUTPUT,
        Option("--unload-table", "", "do not bind: write the copies of delay address tables that unloading puts back"),
    ),
    """\
  rtld bind app.exe                              in place
  rtld bind -o bound.exe --windows-dir ~/.wine/drive_c/windows app.exe
  rtld bind --dll-path ../lib app.exe
  rtld bind --unload-table app.exe               __FUnloadDelayLoadedDLL2 then unloads
""",
    most=1,
    notes="""
A DLL of which an import is missing is left unbound. `rtld unbind` is the way back;
`rtld link --bound verify` says whether it is still right.
Exit status 1 if something is missing.""",
)
# fmt: on


def main(options: Options) -> int:
    """Link, fill in, write."""
    if options.unload_table:
        return _unload_table(options)
    from rtld.cli.pe import keywords
    from rtld.pe import binder
    from rtld.pe.file import PeFile
    from rtld.pe.imports import bound_imports
    from rtld.process.link_pe import find
    from rtld.report.pe_text import message

    link = find(options.rest[0], **keywords(options))
    data = binder.bind(link.namespace, link.modules[0])
    rows = bound_imports(PeFile(data, name=options.rest[0]))
    path = save(options, data)
    for row in rows:
        also = f", through it {', '.join(name for name, _ in row.forwarders)}" if row.forwarders else ""  # fmt: skip
        write(f"{path}: bound to {row.dll} of {row.stamp:#x}{also}\n")
    problems = [p for p in link.problems if p.module == link.path and p.kind in ("library", "symbol")]  # fmt: skip
    for problem in problems:
        tell(message(problem))
    return MISSING if problems else FINE


def _unload_table(options: Options) -> int:
    """Copies of the delay IATs."""
    from rtld.pe import binder
    from rtld.pe.file import PeFile
    from rtld.pe.imports import delay_imports

    data = binder.add_unload_table(PeFile(options.rest[0]))
    rows = delay_imports(PeFile(data, name=options.rest[0])).descriptors
    path = save(options, data)
    for row in rows:
        write(f"{path}: unload table of {row.dll}: {row.count} functions\n")
    return FINE
