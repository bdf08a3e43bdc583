"""Which package has a file: the Contents index of an archive (DebianRepository/Format, "Contents" indices).

The index of an architecture is some 10 MB compressed and 150 MB otherwise. What is asked for most are shared libraries, so
the lines of those are kept beside it in a small file, which commands can read without any archive.
"""

from __future__ import annotations

import gzip
import os
import re

from rtld.debian.archive import wanted_index
from rtld.errors import FormatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.debian.archive import Release
    from rtld.debian.fetch import Fetcher

_LIBRARY = re.compile(
    rb"^(?:usr/)?(?:lib\w*)/(?:[^\s]*/)?([^/\s]+\.so(?:\.[^/\s]+)?)\s+(\S+)$", re.MULTILINE
)
_BLOCK = 1 << 22


def contents_names(release: Release, architecture: str) -> list[str]:
    """The names of the Contents indices."""
    names = [f"{component}/Contents-{architecture}.gz" for component in release.source.components]
    return [name for name in [*names, f"Contents-{architecture}.gz"] if name in release.files]


def libraries_file(fetcher: Fetcher, release: Release, architecture: str) -> str | None:
    """The small file of "soname package" lines, made from the index; None if the archive has none."""
    names = contents_names(release, architecture)
    if not names:
        return None
    name = names[0]
    wanted, plain = wanted_index(release, name)
    small = fetcher.path_of(wanted.sha256) + ".libraries"
    if not os.path.isfile(small):
        path = fetcher.get(wanted, plain)
        temporary = f"{small}.{os.getpid()}"
        with open(temporary, "wb") as out:
            for block in _blocks(path, wanted.url):
                out.writelines(
                    match[1] + b" " + _package(match[2]) + b"\n"
                    for match in _LIBRARY.finditer(block)
                )
        os.replace(temporary, small)
        os.unlink(path)  # it is large, and known now
    return small


def _blocks(path: str, url: str) -> list[bytes]:
    """The index in whole lines."""
    result = []
    rest = b""
    try:
        with gzip.open(path, "rb") as stream:
            while data := stream.read(_BLOCK):
                head, newline, tail = data.rpartition(b"\n")
                if newline:
                    # Only lines of libraries are kept: the whole would be 150 MB.
                    result.append(
                        b"\n".join(line for line in (rest + head).split(b"\n") if b".so" in line)
                    )
                    rest = tail
                else:
                    rest += data
                if len(rest) > _BLOCK:
                    raise FormatError(url, "Contents", "line", "longer", f"at most {_BLOCK} bytes")
    except (OSError, EOFError) as error:
        raise FormatError(url, "Contents", "compressed data", str(error), "gzip") from None
    return [*result, rest]


def _package(field: bytes) -> bytes:
    """The first of "section/package,section/package"."""
    return field.split(b",")[0].rpartition(b"/")[2]


def packages_with(path: str, soname: str) -> list[str]:
    """The packages that have a library of that name, by the small file; [] if nobody has, or there is no file."""
    try:
        with open(path, "rb") as stream:
            data = stream.read(1 << 28)
    except OSError:
        return []
    pattern = re.compile(
        rb"^" + re.escape(soname.encode(errors="surrogateescape")) + rb" (\S+)$", re.MULTILINE
    )
    found = dict.fromkeys(match[1].decode(errors="replace") for match in pattern.finditer(data))
    return sorted(found, key=len)
