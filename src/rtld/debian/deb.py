"""A .deb file: an ar archive of debian-binary, control.tar.* and data.tar.* (deb(5)); the tars as streams of bytes."""

from __future__ import annotations

import gzip
import importlib
import lzma
import os
import subprocess

from rtld.errors import FormatError, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any, Self

_MAGIC = b"!<arch>\n"
_HEADER = 60
_MOST_MEMBERS = 100
_BLOCK = 512  # of a tar


class Deb:
    """An open .deb; ``data()`` is the tar of its files, not yet decompressed further than it is read."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._file: IO[bytes] = open(path, "rb")  # noqa: SIM115 - closed by close
        try:
            self.members = self._members()
            self._check()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def _fail(self, structure: str, field: str, found: object, expected: object) -> FormatError:
        return FormatError(self.path, structure, field, found, expected)

    def _members(self) -> list[tuple[str, int, int]]:
        """(name, offset, size) of each member (ar(5))."""
        size = os.fstat(self._file.fileno()).st_size
        if self._file.read(8) != _MAGIC:
            raise self._fail(".deb", "magic", "something else", "!<arch>")
        members = []
        at = 8
        while at + _HEADER <= size:
            self._file.seek(at)
            header = self._file.read(_HEADER)
            digits = header[48:58].strip()
            if header[58:] != b"`\n" or not digits.isdigit():
                raise self._fail(
                    "ar header", "ar_fmag, ar_size", repr(header[48:]), "a size and `\\n"
                )
            length = int(digits)
            if at + _HEADER + length > size:
                raise self._fail("ar member", "ar_size", length, f"at most {size - at - _HEADER}")
            members.append(
                (header[:16].decode("ascii", "replace").strip().rstrip("/"), at + _HEADER, length)
            )
            if len(members) > _MOST_MEMBERS:
                raise self._fail("ar archive", "members", "more", f"at most {_MOST_MEMBERS}")
            at += _HEADER + length + length % 2
        return members

    def _check(self) -> None:
        if not self.members or self.members[0][0] != "debian-binary":
            raise self._fail(
                ".deb",
                "first member",
                self.members[0][0] if self.members else "none",
                "debian-binary",
            )
        _, at, size = self.members[0]
        self._file.seek(at)
        version = self._file.read(min(size, 16))
        if not version.startswith(b"2."):
            raise self._fail("debian-binary", "version", repr(version), "2.0")

    def data(self) -> Stream:
        """The tar with the package's files."""
        return self._tar("data.tar")

    def _tar(self, name: str) -> Stream:
        for member, at, size in self.members:
            if member == name or member.startswith(name + "."):
                return Stream(_Part(self._file, at, size), member[len(name) :], self.path)
        raise self._fail(".deb", "member", "missing", f"{name}.*")


class _Part:
    """A range of a file, as a file to be read."""

    def __init__(self, file: IO[bytes], at: int, size: int) -> None:
        self._file = file
        self._at, self._end = at, at + size

    def read(self, size: int = -1) -> bytes:
        left = self._end - self._at
        self._file.seek(self._at)
        data = self._file.read(left if size < 0 else min(size, left))
        self._at += len(data)
        return data


class Stream:
    """Decompressed bytes, never more than ``limit`` of them: a small file can become a very large one."""

    def __init__(self, part: _Part, kind: str, path: str) -> None:
        self.limit = 1 << 32
        self.path = path
        self._told = 0
        self._last = b""
        self._process: subprocess.Popen[bytes] | None = None
        self._source: Any = self._open(part, kind)

    def _open(self, part: _Part, kind: str) -> Any:
        source: Any = part
        if kind == "":
            return source
        if kind in (".xz", ".lzma"):
            return lzma.LZMAFile(source)
        if kind == ".gz":
            return gzip.GzipFile(fileobj=source)
        if kind == ".zst":
            return self._zstd(part)
        raise FormatError(self.path, ".deb", "data.tar", kind, ".xz, .gz or .zst")

    def _zstd(self, part: _Part) -> Any:
        """Python has it from 3.14 on; else the program zstd."""
        try:
            return importlib.import_module("compression.zstd").ZstdFile(part)
        except ImportError:
            pass
        try:
            self._process = subprocess.Popen(
                ["zstd", "-dcq"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except FileNotFoundError:
            raise Unsupported(
                f"{self.path} is compressed with zstd", "install the program zstd"
            ) from None
        import threading

        threading.Thread(target=_feed, args=(part, self._process.stdin), daemon=True).start()
        return self._process.stdout

    def read(self, size: int) -> bytes:
        """FormatError where what is there is not what the name says, or is too much."""
        try:
            data: bytes = self._source.read(min(size, self.limit - self._told + 1))
        except (lzma.LZMAError, EOFError, OSError, ValueError) as error:
            raise FormatError(
                self.path, "data.tar", "compressed data", str(error), "what its name says"
            ) from None
        except Exception as error:  # zlib.error, ZstdError
            raise FormatError(
                self.path, "data.tar", "compressed data", str(error), "what its name says"
            ) from None
        self._told += len(data)
        self._last = (self._last + data[-_BLOCK:])[-_BLOCK:]
        if self._told > self.limit:
            raise FormatError(self.path, "data.tar", "size", "more", f"at most {self.limit:#x}")
        return data

    def finish(self) -> None:
        """Read what is left: the compressor's own checksums are at its end, and so is the block of zeros that ends a tar."""
        while self.read(1 << 16):
            pass
        if self._told % _BLOCK or self._last != bytes(_BLOCK):
            raise FormatError(self.path, "data.tar", "end", "missing", "a block of zeros")

    def close(self) -> None:
        """End the program that decompresses, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()


def _feed(part: _Part, pipe: IO[bytes] | None) -> None:
    assert pipe is not None
    try:
        while data := part.read(1 << 16):
            pipe.write(data)
        pipe.close()
    except (OSError, ValueError):
        pass
