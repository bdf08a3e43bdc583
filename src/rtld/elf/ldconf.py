"""Files that list directories or libraries: /etc/ld.so.conf and /etc/ld.so.preload.

ld.so never reads ld.so.conf; ldconfig does, to make the cache (glibc elf/ldconfig.c, parse_conf). Here it stands in for
the cache of a sysroot that has none. ``read`` is a function from an absolute path to bytes, OSError when there is none;
``names`` lists a directory.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def parse_ld_so_conf(
    path: str,
    read: Callable[[str], bytes],
    names: Callable[[str], list[str]],
    seen: set[str] | None = None,
) -> list[str]:
    """The directories of an ld.so.conf in order, includes followed, without the trailing slashes.

    ``seen`` are the files already read: ldconfig follows an include of itself until its memory ends.
    """
    seen = set() if seen is None else seen
    if path in seen:
        return []
    seen.add(path)
    try:
        text = os.fsdecode(read(path))
    except OSError:
        return []
    directories: list[str] = []
    for raw in text.split("\n"):
        line = raw.partition("#")[0].lstrip(" \t\r\v\f")
        if not line.strip():
            continue
        word = line[:7]
        if word == "include" and line[7:8] in (" ", "\t"):
            for pattern in line[8:].split():
                where = (
                    pattern
                    if pattern.startswith("/")
                    else os.path.join(os.path.dirname(path), pattern)
                )
                for found in _glob(where, names):
                    directories += parse_ld_so_conf(found, read, names, seen)
        elif word[:5].lower() == "hwcap" and line[5:6] in (" ", "\t"):
            continue  # obsolete since glibc 2.33, ignored there as well
        else:
            # "DIRECTORY=TYPE" is the old way to tell libc5 from libc6.
            directory = line.partition("=")[0].rstrip().rstrip("/")
            if directory.startswith("/") and directory not in directories:
                directories.append(directory)
    return list(dict.fromkeys(directories))


def _glob(pattern: str, names: Callable[[str], list[str]]) -> list[str]:
    """glob(3) without flags, over ``names``: sorted; a pattern without a match is nothing."""
    found = [""]
    for part in pattern.strip("/").split("/"):
        if not any(c in part for c in "*?["):
            found = [f"{base}/{part}" for base in found]
            continue
        from fnmatch import fnmatchcase

        grown = []
        for base in found:
            try:
                listed = sorted(names(base or "/"))
            except OSError:
                continue
            grown += [
                f"{base}/{name}"
                for name in listed
                if fnmatchcase(name, part) and (part.startswith(".") or not name.startswith("."))
            ]
        found = grown
    return found


def parse_preload_file(text: str) -> list[str]:
    """The names in /etc/ld.so.preload: separated by white space or colons, '#' begins a comment (elf/rtld.c)."""
    kept = []
    for line in text.split("\n"):
        kept += line.partition("#")[0].replace(":", " ").replace("\t", " ").split(" ")
    return [name for name in kept if name]


def split_preload(text: str, model: str = "glibc") -> list[str]:
    """LD_PRELOAD: ' ' and ':' divide it in glibc, any white space and ':' in musl."""
    if model == "musl":
        return text.replace(":", " ").split()
    return [name for name in text.replace(":", " ").split(" ") if name]
