"""What was frozen, or what an image was made of, as text."""

from __future__ import annotations

from rtld.report.style import PLAIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from rtld.report.style import Style


def size_text(size: int) -> str:
    """A number of bytes for people."""
    value = float(size)
    for unit in ("bytes", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"


def lines(report: Any, style: Style = PLAIN, *, everything: bool = False) -> Iterator[str]:
    """A frozen program; with *everything* also the names of all modules."""
    now, before = report.relocations
    count = len(report.fused)
    head = f"{count} module{'s' if count > 1 else ''}, {report.form}"
    if report.path is None:
        yield style.bold(report.program) + f": would be {head}, {size_text(report.size)}"
    else:
        seconds = f"{report.seconds:.1f} s"
        disk = f"{size_text(report.disk)} on disk"
        yield style.bold(report.path) + f": {head}, {size_text(report.size)} ({disk}), in {seconds}"
    yield f"  relocations at each start: {now:,} instead of {before:,}"
    yield f"  symbols: {report.symbols:,} exported, {report.imports:,} asked of libc"
    if report.gain is not None:
        yield f"  expected gain: about {report.gain:.1f} ms of each start (an estimate from the counts above)"
    if everything:
        yield from _list("inside", report.fused, style)
    yield from _list("left to ld.so", report.kept, style)
    if report.warnings:
        yield ""
        yield style.yellow("what the program may notice")
        limit = len(report.warnings) if everything else 8
        yield from (f"  {text}" for text in report.warnings[:limit])
        if len(report.warnings) > limit:
            yield f"  and {len(report.warnings) - limit} more (--explain tells all)"


def _list(title: str, paths: list[str], style: Style) -> Iterator[str]:
    if paths:
        yield ""
        yield style.bold(title)
        yield from (f"  {path}" for path in paths)


def check_lines(checked: Any, style: Style = PLAIN) -> Iterator[str]:
    """An image and its files."""
    made = [name for name, value in checked.manifest["options"].items() if value is True]
    yield style.bold(checked.path) + f": made of {checked.manifest['program']} ({', '.join(made)})"
    if checked.damage:
        yield style.red(f"  damaged: {checked.damage}")
    same = 0
    for file in checked.files:
        if file.state == "same":
            same += 1
            continue
        yield f"  {style.red(file.state):<8} {file.path}: {file.reason}"
    yield f"  {same} of {len(checked.files)} files are as they were"
    if checked.stale:
        yield style.yellow("  a start executes the original program: freeze it again")


def cache_lines(directory: str, entries: Any, style: Style = PLAIN) -> Iterator[str]:
    """What a cache keeps."""
    total = 0
    for entry in entries:
        total += entry.size
        if entry.image is None:
            yield f"{'-':>10}  {entry.program}: run as it is: {entry.reason}"
        else:
            state = "" if entry.current else style.yellow(" (does not fit any more)")
            yield f"{size_text(entry.size):>10}  {entry.program}{state}"
    count = sum(entry.image is not None for entry in entries)
    yield f"{size_text(total):>10}  {count} image{'' if count == 1 else 's'} in {directory}"
