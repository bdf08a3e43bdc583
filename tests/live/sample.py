"""Which installed programs the live tests take: always the big ones, and a spread over everything else."""

from __future__ import annotations

import functools
import os

import exact

#: Looked for first to last in each row; a row without any is a missing tool.
ALWAYS = (
    ("/usr/bin/gdb",),
    ("/usr/bin/git",),
    ("/usr/bin/python3",),
    ("/usr/bin/perl",),
    ("/usr/bin/clang-14", "/usr/bin/clang"),
    ("/usr/bin/inkscape", "/usr/lib/libreoffice/program/soffice.bin"),
    ("/usr/bin/ffmpeg",),
)
#: Taken when they are there: libraries by the hundred, non-PIE programs, unusual linkers.
ALSO = (
    "/usr/lib/libreoffice/program/soffice.bin",
    "/usr/bin/blender",
    "/usr/bin/qtcreator",
    "/usr/bin/node",
    "/usr/bin/cmake",
)
#: Of everything under /usr/bin and /usr/sbin.
SPREAD = 60


@functools.cache
def programs() -> tuple[str, ...]:
    """The sample, by real path, each file once. What is missing of ALWAYS stands in it by its first name."""
    found = [next((p for p in row if os.path.exists(p)), row[0]) for row in ALWAYS]
    found += [p for p in ALSO if os.path.exists(p)]
    everything = exact.dynamic_programs("/usr/bin", "/usr/sbin")
    found += everything[:: max(1, len(everything) // SPREAD)]
    return tuple(dict.fromkeys(os.path.realpath(p) for p in found))


def is_secure(program: str) -> bool:
    """Started set-user-ID, set-group-ID or with capabilities, so that ld.so would not take our preload."""
    return bool(os.stat(program).st_mode & 0o6000) or "security.capability" in os.listxattr(program)
