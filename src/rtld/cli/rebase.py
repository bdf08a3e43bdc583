"""``rtld rebase``: move the preferred base of a Windows file."""

from __future__ import annotations

from rtld.cli import FINE, UsageError
from rtld.cli.options import Command, Option, Options
from rtld.cli.reading import write
from rtld.cli.writing import OUTPUT, save

# fmt: off
COMMAND = Command(
    "rebase",
    "FILE",
    "Apply the base relocations of a Windows file once and for all: its preferred base becomes N, a multiple of 64 KiB.",
    (Option("-b --base", "N", "the new base, as 0x180000000"), OUTPUT),
    """\
  rtld rebase --base 0x60000000 mine.dll
  rtld rebase -b 0x60000000 -o moved.dll mine.dll
""",
    search=False,
    most=1,
)
# fmt: on


def main(options: Options) -> int:
    """Read, move, write."""
    from rtld.pe import binder
    from rtld.pe.file import PeFile

    if options.base is None:
        raise UsageError("--base N is missing", "rebase")
    try:
        base = int(options.base, 0)
    except ValueError:
        base = -1
    if base < 0 or base % 0x10000:
        raise UsageError(f"--base {options.base}: a multiple of 0x10000 is wanted", "rebase")
    file = PeFile(options.rest[0])
    path = save(options, binder.rebase(file, base))
    write(f"{path}: {file.base:#x} -> {base:#x}\n")
    return FINE
