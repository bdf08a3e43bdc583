"""``rtld unbind``: take bound imports out of a Windows file."""

from __future__ import annotations

from rtld.cli import FINE
from rtld.cli.options import Command, Options
from rtld.cli.reading import write
from rtld.cli.writing import OUTPUT, save

# fmt: off
COMMAND = Command(
    "unbind",
    "FILE",
    "Remove the bound import directory of a Windows file, and make its import address table what the linker wrote.",
    (OUTPUT,),
    """\
  rtld unbind app.exe
  rtld unbind -o plain.exe bound.exe
""",
    search=False,
    most=1,
)
# fmt: on


def main(options: Options) -> int:
    """Read, undo, write."""
    from rtld.pe import binder
    from rtld.pe.file import PeFile
    from rtld.pe.imports import bound_imports

    file = PeFile(options.rest[0])
    rows = bound_imports(file)
    path = save(options, binder.unbind(file))
    write(f"{path}: {len(rows)} bound DLLs removed\n")
    return FINE
