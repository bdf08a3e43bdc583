"""``rtld cache``: start programs from images that are made at their first start."""

from __future__ import annotations

import os
import sys

from rtld.cli import FINE, MISSING, UsageError, flush, tell
from rtld.cli.options import JSON, Command, Option, Options
from rtld.cli.reading import write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rtld.cache import Entry, ImageCache

# fmt: off
COMMAND = Command(
    "cache",
    "run PROGRAM [ARG...] | path PROGRAM | list | verify | gc | clear",
    """\
Start programs from frozen images (see `rtld freeze --help`). The first start of a program links it and stores the
image, later ones execute that; a changed library, or one that it depends on, makes a new image. A program that cannot
be frozen is run as it is.

  run      start a program, from its image if that is possible
  path     print what would be executed, having made it
  list     what is kept: programs, sizes, whether the images are current
  verify   read all images: are they whole, do they still fit
  gc       remove images that are damaged or do not fit any more; with --max-size also the least recently used
  clear    remove everything""",
    (
        Option("--dir",         "DIR",  "where images are kept (default: $RTLD_CACHE, or ~/.cache/rtld/images)"),
        Option("--max-size",    "SIZE", "gc: how much may be left, in bytes or with K, M, G"),
        Option("--anyway",      "",     "run: also programs that gain nothing, or read /proc/self/maps"),
        Option("-v --verbose",  "",     "run: say why a program is run as it is"),
        JSON,
    ),
    """\
  rtld cache run ffmpeg -version               the first time: links; from then on starts several times faster
  exec $(rtld cache path /usr/bin/gdb) "$@"    in a script: without Python from then on
  rtld cache gc --max-size 2G
""",
    search=False,
    least=1,
    stops=True,
    notes="""
Exit status of run: that of the program; 126: it cannot be run, 127: there is no such program.
Of verify: 1 if an image is damaged or does not fit.""",
)
# fmt: on

NOT_RUNNABLE, NOT_FOUND = 126, 127  # as shells say it


def main(options: Options) -> int:
    """One of the words."""
    from rtld.cache import ImageCache

    word, *rest = options.rest
    if word not in WORDS:
        raise UsageError(f"there is no {word!r}; there are {', '.join(WORDS)}", "cache")
    starts = word in ("run", "path")
    rest = _more(options, rest, stops=starts)
    if starts and not rest:
        raise UsageError("PROGRAM is missing", "cache")
    if rest and not starts:
        raise UsageError(f"one argument too many: {rest[0]}", "cache")
    return WORDS[word](ImageCache(options.dir), options, rest)


def _more(options: Options, words: list[str], *, stops: bool) -> list[str]:
    """Take the options behind the word (``rtld cache gc --max-size 2G``); what is left."""
    again = Command("cache", "", "", COMMAND.options, "", search=False, least=0, stops=stops)
    parsed = again.parse(words)
    if parsed is None:
        raise UsageError("--help stands before the word", "cache")
    for name, value in parsed.__dict__.items():
        if value and name != "rest":
            setattr(options, name, value)
    rest: list[str] = parsed.rest
    return rest


def _run(cache: ImageCache, options: Options, rest: list[str]) -> int:
    program = _program(rest[0])
    if program is None:
        return NOT_FOUND
    image = cache.image_for(program, anyway=options.anyway, told=tell if options.verbose else None)
    flush()
    try:
        os.execv(image or program, rest)  # noqa: S606 (that is what this command is for)
    except OSError as error:
        tell(f"{rest[0]}: {error.strerror}")
        return NOT_RUNNABLE


def _path(cache: ImageCache, options: Options, rest: list[str]) -> int:
    program = _program(rest[0])
    if program is None:
        return NOT_FOUND
    image = cache.image_for(program, anyway=options.anyway, told=tell)
    if options.json:
        from rtld.report.json import document

        write(document("cache", {"program": program, "image": image}))
    else:
        write(f"{image or program}\n")
    return FINE


def _program(name: str) -> str | None:
    from rtld.cli.run import find_program

    program = find_program(name)
    if program is None or not os.path.exists(program):
        tell(f"{name}: command not found")
        return None
    return program


def _list(cache: ImageCache, options: Options, rest: list[str]) -> int:
    del rest
    entries = list(cache.entries())
    if options.json:
        _write_json(cache, entries)
        return FINE
    from rtld.report.freeze import cache_lines
    from rtld.report.style import style_for

    write(
        "".join(
            [f"{line}\n" for line in cache_lines(cache.directory, entries, style_for(sys.stdout))]
        )
    )
    return FINE


def _write_json(cache: ImageCache, entries: list[Entry], **more: Any) -> None:
    from rtld.report.json import document

    body = {"directory": cache.directory, "entries": [entry._asdict() for entry in entries], **more}
    write(document("cache", body))


def _verify(cache: ImageCache, options: Options, rest: list[str]) -> int:
    del rest
    results = list(cache.verify())
    bad = [(entry, wrong) for entry, wrong in results if wrong]
    if options.json:
        wrong_of = {entry.key: wrong for entry, wrong in bad}
        _write_json(cache, [entry for entry, _ in results], wrong=wrong_of)
    else:
        for entry, wrong in bad:
            write(f"{entry.image}: {wrong}\n")
        write(f"{len(results) - len(bad)} of {len(results)} images are whole and current\n")
    return MISSING if bad else FINE


def _gc(cache: ImageCache, options: Options, rest: list[str]) -> int:
    del rest
    return _tell_removed(cache, options, cache.collect(_size(options.max_size)))


def _clear(cache: ImageCache, options: Options, rest: list[str]) -> int:
    del rest
    return _tell_removed(cache, options, cache.clear())


def _tell_removed(cache: ImageCache, options: Options, removed: list[Entry]) -> int:
    if options.json:
        _write_json(cache, removed)
    else:
        from rtld.report.freeze import size_text

        size = size_text(sum(entry.size for entry in removed))
        write(f"removed {len(removed)} of {cache.directory}: {size}\n")
    return FINE


def _size(text: str | None) -> int | None:
    if text is None:
        return None
    factors = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
    number = text.rstrip("kKmMgG")
    factor = factors.get(text[len(number) :].lower())
    if factor is None or not number.isdecimal():
        raise UsageError(f"--max-size {text}: bytes, or a number with K, M or G", "cache")
    return int(number) * factor


WORDS: dict[str, Callable[[ImageCache, Options, list[str]], int]] = {
    "run": _run,
    "path": _path,
    "list": _list,
    "verify": _verify,
    "gc": _gc,
    "clear": _clear,
}
