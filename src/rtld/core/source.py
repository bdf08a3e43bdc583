"""Where a file's bytes come from: a path, a descriptor, bytes, a file object; mapped where there is something to map."""

from __future__ import annotations

import mmap
import os
import stat

from rtld.errors import FormatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    Source = str | os.PathLike[str] | int | bytes | bytearray | memoryview | BinaryIO


def read_source(source: Source, name: str | None) -> tuple[str, str | None, object, object]:
    """``source`` as (name, path, identity, buffer). The buffer is a map of the file where there is one."""
    if isinstance(source, bytes | bytearray | memoryview):
        view = memoryview(source)
        return name or "<bytes>", None, None, view if view.format == "B" else view.cast("B")
    if isinstance(source, int):
        return (name or f"<fd {source}>", None, *_map_fd(source, name or f"<fd {source}>"))
    if hasattr(source, "read"):
        label = name or str(getattr(source, "name", "<file>"))
        return label, None, None, memoryview(source.read())
    path = os.fspath(source)
    # O_NONBLOCK: a FIFO with no writer must not hang the caller.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return (name or path, path, *_map_fd(fd, name or path, fd + 1))
    finally:
        os.close(fd)


def _map_fd(fd: int, name: str, next_one: int = 0) -> tuple[object, object]:
    """(identity, buffer) of an open file; *next_one* is the lowest number the next descriptor can have, if known."""
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        kind = "a directory" if stat.S_ISDIR(status.st_mode) else "no regular file"
        raise FormatError(name, "file", "type", kind, "a regular file")
    identity = (status.st_dev, status.st_ino)
    if status.st_size == 0:
        return identity, memoryview(b"")
    # mmap keeps a descriptor of its own: where the limit is low, half are left to those who cannot do without.
    try:
        if not next_one:
            next_one = os.dup(fd)
            os.close(next_one)
        if next_one <= os.sysconf("SC_OPEN_MAX") // 2:
            content = mmap.mmap(fd, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
            return identity, memoryview(content)
    except OSError:
        pass
    return identity, memoryview(_read_all(fd, status.st_size))


def _read_all(fd: int, size: int) -> bytes:
    """The first *size* bytes of a file, or as many as there are."""
    chunks = []
    at = 0
    while at < size:
        chunk = os.pread(fd, size - at, at)
        if not chunk:
            break
        chunks.append(chunk)
        at += len(chunk)
    return b"".join(chunks)
