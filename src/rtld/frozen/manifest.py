"""The note in an image that tells what it was made of, and whether that still holds.

Owner "rtld", type 1, description: JSON, compressed by zlib: version, program, form, and for each file its path, what stat
said, its build id and SHA-256. The digest of the image itself (with the digest's own bytes zero) stands in a second note,
type 2, so that a truncated or edited image is known.
"""

from __future__ import annotations

import json
import os
import struct
import zlib

from rtld.errors import FormatError
from rtld.frozen.plan import Stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from rtld.core.module import Module
    from rtld.elf.file import ElfFile
    from rtld.frozen.plan import Plan

OWNER = b"rtld\0\0\0\0"
MANIFEST, DIGEST = 1, 2
DIGEST_SIZE = 32
VERSION = 1
_PIECE = 1 << 20
_LIMIT = 1 << 26  # bytes of JSON


def stamp(path: str) -> Stamp:
    """What the guard compares of a file. OSError."""
    path = os.path.abspath(path)
    status = os.stat(path)
    return Stamp(path, status.st_ino, status.st_size, status.st_ctime_ns)


def describe(module: Module, taken: Stamp) -> dict[str, Any]:
    """One file of the manifest."""
    build_id = module.file.build_id
    return {
        "path": taken.path,
        "soname": module.soname,
        "ino": taken.ino,
        "size": taken.size,
        "ctime_ns": taken.ctime_ns,
        "build_id": build_id.hex() if build_id else None,
        "sha256": _file_digest(module),
        "base": module.base,
    }


def _file_digest(module: Module) -> str:
    """SHA-256 of a module's file, read anew so that our map of it need not be in memory."""
    import hashlib

    with open(module.file.path, "rb") as stream:
        status = os.fstat(stream.fileno())
        if (status.st_dev, status.st_ino) == module.file.identity:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    return hashlib.sha256(module.file.data).hexdigest()


def manifest(plan: Plan, stamps: Sequence[Stamp]) -> dict[str, Any]:
    """Everything the note tells."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        files = list(pool.map(describe, plan.fused, stamps))
    options = plan.options
    return {
        "version": VERSION,
        "program": files[0]["path"],
        "options": {
            "pie": options.pie, "thin": options.thin, "many": options.many, "guard": options.guard,
            "export": options.export, "keep": list(options.keep), "plugins": list(options.plugins),
        },
        "base": plan.base,
        "files": files,
        "kept": [os.path.abspath(m.path) for m in plan.hosted],
    }  # fmt: skip


def note(plan: Plan, stamps: Sequence[Stamp]) -> bytes:
    """Both notes; the digest is still zero."""
    text = json.dumps(manifest(plan, stamps), separators=(",", ":")).encode()
    return _note(MANIFEST, zlib.compress(text, 1)) + _note(DIGEST, bytes(DIGEST_SIZE))


def _note(kind: int, description: bytes) -> bytes:
    padding = bytes(-len(description) % 4)
    return struct.pack("<III", len(OWNER), len(description), kind) + OWNER + description + padding


def read_manifest(file: ElfFile) -> dict[str, Any] | None:
    """What an image was made of; None for other files. FormatError for a damaged note."""
    for entry in file.notes():
        if entry.name == "rtld" and entry.type == MANIFEST:
            return _decode(file, entry.desc)
    return None


def _decode(file: ElfFile, data: bytes) -> dict[str, Any]:
    try:
        text = zlib.decompressobj().decompress(data, _LIMIT)
        result = json.loads(text)
        if result["version"] != VERSION:
            raise file.fail("manifest", "version", result["version"], VERSION)
        _check(result)
    except (zlib.error, ValueError, KeyError, TypeError, RecursionError) as error:
        raise FormatError(
            file.name,
            "manifest",
            "description",
            f"unreadable ({error})",
            "JSON that rtld freeze has written",
        ) from None
    return dict(result)


def _check(result: dict[str, Any]) -> None:
    """TypeError where a field is of another kind than it is written."""
    kinds = {"path": str, "ino": int, "size": int, "ctime_ns": int, "sha256": str, "base": int}
    if not isinstance(result["program"], str) or not isinstance(result["files"], list):
        raise TypeError("program, files")
    for entry in result["files"]:
        for name, kind in kinds.items():
            if not isinstance(entry[name], kind) or (kind is str and "\0" in entry[name]):
                raise TypeError(name)
    if not isinstance(result["options"], dict):
        raise TypeError("options")


def is_current(manifest: dict[str, Any]) -> bool:
    """Whether all files are what they were, by what the guard compares."""
    for entry in manifest["files"]:
        try:
            status = os.stat(entry["path"])
        except OSError:
            return False
        found = status.st_ino, status.st_size, status.st_ctime_ns
        if found != (entry["ino"], entry["size"], entry["ctime_ns"]):
            return False
    return True


def digest(read: Callable[[int, int], bytes | memoryview], place: int) -> bytes:
    """SHA-256 of an image, which *read* gives parts of (offset, size); the digest's own bytes at *place* count as zero."""
    import hashlib  # loads OpenSSL, which a start from the cache can do without

    total = hashlib.sha256()
    at = 0
    while True:
        # The digest is a piece of its own.
        size = DIGEST_SIZE if at == place else min(_PIECE, place - at) if at < place else _PIECE
        data = read(at, size)
        if not len(data):
            return total.digest()
        total.update(bytes(len(data)) if at == place else data)
        at += len(data)


def digest_place(file: ElfFile) -> int | None:
    """Where in the file the digest stands."""
    for segment in file.segments:
        if segment.type == 4:
            data = file.contents(segment)
            at = bytes(data).rfind(struct.pack("<III", len(OWNER), 32, DIGEST) + OWNER)
            if at >= 0 and at + 52 <= len(data):
                return int(segment.offset) + at + 20
    return None
