"""Packages and archives for the tests, written here byte by byte: .deb files, indices, Release."""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import shutil
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class Member(NamedTuple):
    """A member of a tar: a file unless ``kind`` says otherwise."""

    name: str
    data: bytes = b""
    kind: bytes = tarfile.REGTYPE
    link: str = ""
    mode: int = 0o644


def directory(name: str) -> Member:
    return Member(name, kind=tarfile.DIRTYPE, mode=0o755)


def link(name: str, target: str) -> Member:
    return Member(name, kind=tarfile.SYMTYPE, link=target)


def tar(members: Iterable[Member]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for member in members:
            info = tarfile.TarInfo(member.name)
            info.size, info.type, info.linkname, info.mode = (
                len(member.data),
                member.kind,
                member.link,
                member.mode,
            )
            archive.addfile(info, io.BytesIO(member.data))
    return out.getvalue()


def compress(data: bytes, kind: str) -> bytes:
    if kind == ".xz":
        return lzma.compress(data, preset=0)
    if kind == ".gz":
        return gzip.compress(data, mtime=0)
    if kind == ".zst":
        return subprocess.run(["zstd", "-qc"], input=data, capture_output=True, check=True).stdout
    return data


def ar(members: Iterable[tuple[str, bytes]]) -> bytes:
    out = b"!<arch>\n"
    for name, data in members:
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode() + data
        out += b"\n" * (len(data) % 2)
    return out


def deb(members: Iterable[Member], control: str = "", kind: str = ".xz") -> bytes:
    return ar(
        [
            ("debian-binary", b"2.0\n"),
            ("control.tar.gz", compress(tar([Member("./control", control.encode())]), ".gz")),
            (f"data.tar{kind}", compress(tar(members), kind)),
        ]
    )


class Made(NamedTuple):
    """One package of an archive."""

    name: str
    members: tuple[Member, ...] = ()
    version: str = "1.0-1"
    fields: str = ""
    kind: str = ".xz"


#: What every sysroot gets, as small as can be.
BASE = (
    Made("libc6", (directory("./lib/"), Member("./lib/libc.so.6", b"c"))),
    Made("libgcc-s1"),
    Made("libstdc++6"),
)


def archive(
    root: Path,
    packages: Iterable[Made],
    architecture: str = "arm64",
    suite: str = "test",
    extra: str = "",
) -> str:
    """An archive in a directory; its file: address."""
    index = ""
    for package in packages:
        data = deb(package.members, kind=package.kind)
        place = root / "pool" / f"{package.name}_{package.version.replace(':', '%3a')}.deb"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        fields = (
            package.fields
            if not package.fields or package.fields.endswith("\n")
            else package.fields + "\n"
        )
        index += (
            f"Package: {package.name}\nVersion: {package.version}\nArchitecture: {architecture}\n{fields}"
            f"Installed-Size: 100\nFilename: {place.relative_to(root)}\nSize: {len(data)}\n"
            f"SHA256: {hashlib.sha256(data).hexdigest()}\nDescription: a test\n more of it\n\n"
        )
    base = root / "dists" / suite
    folder = base / "main" / f"binary-{architecture}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Packages.xz").write_bytes(lzma.compress(index.encode(), preset=0))
    lines = ""
    for path in sorted(base.rglob("*")):
        if path.is_file() and path.name not in ("Release", "InRelease"):
            data = path.read_bytes()
            lines += f" {hashlib.sha256(data).hexdigest()} {len(data)} {path.relative_to(base)}\n"
    (base / "Release").write_text(
        f"Origin: Test\nSuite: {suite}\nArchitectures: all {architecture}\n"
        f"No-Support-for-Architecture-all: Packages\n{extra}SHA256:\n{lines}"
    )
    return f"file://{root}"


def contents(root: Path, lines: str, architecture: str = "arm64", suite: str = "test") -> None:
    """An index of contents; call it before ``archive``."""
    folder = root / "dists" / suite / "main"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"Contents-{architecture}.gz").write_bytes(gzip.compress(lines.encode(), mtime=0))


def tool(name: str) -> bool:
    return shutil.which(name) is not None
