"""``rtld epoch``: the same address for a library in every image."""

from __future__ import annotations

import os

from rtld.cli import FINE, MISSING, UsageError
from rtld.cli.options import JSON, Command, Option, Options
from rtld.cli.reading import write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# fmt: off
COMMAND = Command(
    "epoch",
    "build [DIR...] | status | end",
    """\
One registry gives every library of a system its own address (as so_locations did on OSF/1 and IRIX); images made with
`rtld freeze --epoch` have it there. An update of a library ends the epoch for the programs that use it, for no others.

  build    look at the programs and libraries below DIR (default: /usr/bin and /usr/sbin) and begin an epoch
  status   what has been updated since, and which programs that concerns
  end      forget the registry""",
    (
        Option("--registry", "FILE", "where it is kept (default: $RTLD_EPOCH, or ~/.local/state/rtld/epoch.json)"),
        JSON,
    ),
    """\
  rtld epoch build
  rtld freeze --epoch /usr/bin/inkscape -o inkscape
  rtld epoch status
""",
    search=False,
    notes="""
Exit status of status: 0 the epoch holds for all, 1 it has ended for some, or there is none.""",
)
# fmt: on


def main(options: Options) -> int:
    """One of the words."""
    from rtld.epoch import default_path

    word, *rest = options.rest
    if word not in WORDS:
        raise UsageError(f"there is no {word!r}; there are {', '.join(WORDS)}", "epoch")
    if rest and word != "build":
        raise UsageError(f"one argument too many: {rest[0]}", "epoch")
    return WORDS[word](options.registry or default_path(), options, rest)


def _build(path: str, options: Options, rest: list[str]) -> int:
    from rtld.epoch import DIRECTORIES, Epoch
    from rtld.report.progress import Steps

    with Steps() as progress:
        epoch = Epoch.build(rest or [d for d in DIRECTORIES if os.path.isdir(d)], progress)
    epoch.save(path)
    extent = sum(place.extent for place in epoch.places.values())
    if options.json:
        from rtld.report.json import document

        body = {
            "registry": path,
            "programs": len(epoch.programs),
            "places": [p._asdict() for p in epoch.places.values()],
        }
        write(document("epoch", body))
    else:
        from rtld.report.freeze import size_text

        write(
            f"{path}: {len(epoch.places)} libraries of {len(epoch.programs)} programs have their addresses, "
            f"{size_text(extent)} in all\n"
        )
    return FINE


def _status(path: str, options: Options, rest: list[str]) -> int:
    from rtld.epoch import Epoch

    del rest
    epoch = Epoch.load(path)
    if epoch is None:
        if options.json:
            from rtld.report.json import document

            none = {"places": 0, "programs": 0, "changed": [], "ended": []}
            write(document("epoch", {"registry": path, **none}))
        else:
            write(f"{path}: there is no epoch; `rtld epoch build' begins one\n")
        return MISSING
    status = epoch.status()
    if options.json:
        from rtld.report.json import document

        write(document("epoch", {"registry": path, **status._asdict()}))
    else:
        write(f"{path}: {status.places} libraries, {status.programs} programs\n")
        for changed in status.changed:
            write(f"  changed: {changed}\n")
        for program in status.ended:
            write(f"  ended for {program}\n")
        if not status.changed:
            write("  nothing has changed\n")
    return MISSING if status.changed else FINE


def _end(path: str, options: Options, rest: list[str]) -> int:
    del rest
    try:
        os.unlink(path)
    except FileNotFoundError:
        there = False
    else:
        there = True
    if options.json:
        from rtld.report.json import document

        write(document("epoch", {"registry": path, "removed": there}))
    else:
        write(f"{path}: {'ended' if there else 'there is no epoch'}\n")
    return FINE if there else MISSING


WORDS: dict[str, Callable[[str, Options, list[str]], int]] = {
    "build": _build,
    "status": _status,
    "end": _end,
}
