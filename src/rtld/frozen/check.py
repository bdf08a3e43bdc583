"""``rtld freeze --check``: what an image was made of, and whether that still holds."""

from __future__ import annotations

import hashlib
import os
from collections import namedtuple

from rtld.elf.file import ElfFile
from rtld.errors import FormatError
from rtld.frozen.manifest import digest, digest_place, read_manifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SAME, TOUCHED, CHANGED, MISSING = "same", "touched", "changed", "missing"

#: One file that the image was made of: path, state (SAME ...), what is different in words.
State = namedtuple("State", "path state reason")


class Checked:
    """manifest, files (a State each), and what is wrong with the image itself ("" if nothing)."""

    __slots__ = ("damage", "files", "manifest", "path")

    def __init__(
        self, path: str, manifest: dict[str, Any], files: list[State], damage: str
    ) -> None:
        self.path = path
        self.manifest = manifest
        self.files = files
        self.damage = damage

    @property
    def stale(self) -> bool:
        """A start would execute the original program."""
        return any(file.state != SAME for file in self.files)

    @property
    def fine(self) -> bool:
        return not self.stale and not self.damage

    def as_json(self) -> dict[str, Any]:
        """The same as plain objects."""
        return {
            "path": self.path,
            "program": self.manifest["program"],
            "options": self.manifest["options"],
            "stale": self.stale,
            "damage": self.damage or None,
            "files": [file._asdict() for file in self.files],
        }


def check_image(path: str) -> Checked:
    """Compare an image with what it was made of. FormatError where it is none."""
    file = ElfFile(path)
    manifest = read_manifest(file)
    if manifest is None:
        raise FormatError(
            path, "PT_NOTE", "owner", "no note of rtld", "an image that rtld freeze has written"
        )
    place = digest_place(file)
    damage = ""
    if place is None:
        damage = "the note with its digest is missing"
    elif digest(lambda offset, size: file.data[offset : offset + size], place) != bytes(
        file.data[place : place + 32]
    ):
        damage = "its bytes are not those that were written: truncated or edited"
    files = [_compare(entry) for entry in manifest["files"]]
    return Checked(path, manifest, files, damage)


def _compare(entry: dict[str, Any]) -> State:
    path = entry["path"]
    try:
        status = os.stat(path)
    except OSError as error:
        return State(path, MISSING, error.strerror or str(error))
    differs = [
        name
        for name, found in (
            ("ino", status.st_ino),
            ("size", status.st_size),
            ("ctime_ns", status.st_ctime_ns),
        )
        if found != entry[name]
    ]
    if not differs:
        return State(path, SAME, "")
    try:
        with open(path, "rb") as stream:
            same = hashlib.file_digest(stream, "sha256").hexdigest() == entry["sha256"]
    except OSError as error:
        return State(path, MISSING, error.strerror or str(error))
    if same:
        return State(
            path,
            TOUCHED,
            "the same bytes, but another " + ", ".join(_WORDS[name] for name in differs),
        )
    return State(path, CHANGED, _build_ids(path, entry.get("build_id")))


_WORDS = {"ino": "inode", "size": "size", "ctime_ns": "change time"}


def _build_ids(path: str, before: object) -> str:
    try:
        now = ElfFile(path).build_id
    except (OSError, FormatError) as error:
        return f"other bytes ({error})"
    if not before or now is None:
        return "other bytes"
    return (
        "other bytes, the same build id"
        if now.hex() == before
        else f"build id was {before}, is {now.hex()}"
    )
