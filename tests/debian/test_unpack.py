"""What a .deb puts into a directory, and what it cannot."""

from __future__ import annotations

import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from debian.making import Member, ar, compress, deb, directory, link, tar, tool
from rtld.debian.deb import Deb
from rtld.debian.unpack import Tree
from rtld.errors import FormatError

FILES = (
    directory("./"),
    directory("./usr/"),
    directory("./usr/share/"),
    Member("./usr/share/a file", b"content"),
    Member("./usr/share/program", b"#!/bin/sh\n", mode=0o4755),
    Member("./usr/share/" + "long/" * 60 + "name", b"deep"),
    link("./usr/share/relative", "a file"),
    Member("./usr/share/hard", kind=tarfile.LNKTYPE, link="./usr/share/a file"),
)


def unpack(root: Path, data: bytes, size: int = 1 << 20) -> list[str]:
    path = root.with_suffix(".deb")
    path.write_bytes(data)
    root.mkdir(exist_ok=True)
    with Deb(str(path)) as package:
        return Tree(str(root)).unpack(package.data(), "p.deb", size)


def listing(root: Path) -> dict[str, bytes | str]:
    """Everything below: name -> content, or where a link leads."""
    found: dict[str, bytes | str] = {}
    for folder, folders, files in os.walk(root):
        for name in files + [f for f in folders if os.path.islink(os.path.join(folder, f))]:
            place = os.path.join(folder, name)
            found[os.path.relpath(place, root)] = (
                os.readlink(place) if os.path.islink(place) else Path(place).read_bytes()
            )
    return found


@pytest.mark.parametrize("kind", [".xz", ".gz", ".zst", ""])
def test_dpkg_deb_unpacks_the_same(
    tmp_path: Path, kind: str, require: Callable[[str], None]
) -> None:
    for name in ("dpkg-deb", "zstd"):
        if not tool(name):
            require(name)
    data = deb(
        FILES, "Package: p\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\n", kind
    )
    names = unpack(tmp_path / "ours", data)
    subprocess.run(
        ["dpkg-deb", "-x", tmp_path / "ours.deb", tmp_path / "theirs"],
        check=True,
        capture_output=True,
    )
    assert listing(tmp_path / "ours") == listing(tmp_path / "theirs")
    assert sorted(names) == sorted(listing(tmp_path / "ours"))
    assert os.stat(tmp_path / "ours/usr/share/program").st_mode & 0o7777 == 0o755


def test_usr_is_merged(tmp_path: Path) -> None:
    members = (
        directory("./lib/"),
        Member("./lib/x/libc.so.6", b"c"),
        directory("./usr/lib"),
        Member("./usr/lib/y", b"y"),
    )
    unpack(
        tmp_path / "r",
        deb([*members, link("./lib64/ld.so", "/lib/x/ld.so"), Member("./bin/sh", b"s")]),
    )
    assert os.readlink(tmp_path / "r/lib") == "usr/lib"
    assert (tmp_path / "r/usr/lib/x/libc.so.6").read_bytes() == b"c"
    assert (tmp_path / "r/usr/bin/sh").exists()
    unpack(tmp_path / "s", deb([directory("./usr/"), Member("./usr/lib64/z/l", b"z")]))
    assert (tmp_path / "s/lib64/z/l").read_bytes() == b"z"
    # An absolute link leads to the same place from outside.
    (tmp_path / "r/usr/lib/x/ld.so").write_bytes(b"l")
    assert (tmp_path / "r/lib64/ld.so").read_bytes() == b"l"


@pytest.mark.parametrize(
    ("members", "word"),
    [
        ([Member("../evil", b"x")], "name"),
        ([Member("./usr/../../evil", b"x")], "name"),
        ([Member("/evil", b"x")], "name"),
        ([link("./out", "../outside"), Member("./out/evil", b"x")], "link"),
        ([link("./usr/a/out", "../../../outside")], "link"),
        ([link("./a", "b"), link("./b", "a"), Member("./a/evil", b"x")], "goes through the link"),
        ([Member("./dev", kind=tarfile.CHRTYPE)], "a device"),
        ([Member("./dev", kind=tarfile.BLKTYPE)], "a device"),
        ([Member("./fifo", kind=tarfile.FIFOTYPE)], "a device"),
        ([Member("./hard", kind=tarfile.LNKTYPE, link="../../etc/passwd")], "name"),
        ([Member("./hard", kind=tarfile.LNKTYPE, link="/etc/passwd")], "name"),
        ([link("./l", "etc"), Member("./hard", kind=tarfile.LNKTYPE, link="./l")], "hard link"),
        ([directory("./d"), Member("./d", b"x")], "a directory"),
        ([Member("./f", b"x"), Member("./f/x", b"x")], "a directory"),
    ],
)
def test_nothing_leaves_the_directory(tmp_path: Path, members: list[Member], word: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    with pytest.raises(FormatError, match=word):
        unpack(tmp_path / "r", deb(members))
    assert os.listdir(outside) == []
    assert not (tmp_path / "evil").exists()


def test_an_absolute_link_stays_inside(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    target = str(tmp_path / "outside")
    unpack(tmp_path / "r", deb([link("./out", target), Member("./out/evil", b"x")]))
    assert os.listdir(tmp_path / "outside") == []
    assert (tmp_path / "r" / target.lstrip("/") / "evil").read_bytes() == b"x"


def test_a_link_that_was_there_is_not_written_through(tmp_path: Path) -> None:
    root = tmp_path / "r"
    root.mkdir()
    (tmp_path / "victim").write_bytes(b"old")
    (root / "f").symlink_to(tmp_path / "victim")
    (root / "d").symlink_to(tmp_path)
    unpack(root, deb([Member("./f", b"new")]))
    assert (tmp_path / "victim").read_bytes() == b"old"
    with pytest.raises(FormatError, match="goes through the link"):
        unpack(root, deb([Member("./d/victim", b"new")]))


def test_a_small_file_does_not_become_a_large_one(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="size"):
        unpack(tmp_path / "r", deb([Member("./zeros", bytes(80 << 20))]), size=1 << 10)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "magic"),
        (b"!<arch>\n", "first member"),
        (ar([("debian-binary", b"3.0\n")]), "version"),
        (ar([("control.tar", b"")]), "first member"),
        (ar([("debian-binary", b"2.0\n")]), "data.tar"),
        (ar([("debian-binary", b"2.0\n"), ("data.tar.xz", b"not xz")]), "compressed data"),
        (
            ar([("debian-binary", b"2.0\n"), ("data.tar.xz", compress(tar(FILES), ".xz")[:-20])]),
            "data.tar",
        ),
        (ar([("debian-binary", b"2.0\n"), ("data.tar.gz", b"not gzip")]), "compressed data"),
        (ar([("debian-binary", b"2.0\n"), ("data.tar.zst", b"not zstd")]), "data.tar"),
        (ar([("debian-binary", b"2.0\n"), ("data.tar.bz9", b"")]), "bz9"),
        (ar([("debian-binary", b"2.0\n")]) + b"data.tar        " + b"9" * 44, "ar"),
        (ar([("debian-binary", b"2.0\n"), ("data.tar", tar(FILES)[:700])]), "data.tar"),
    ],
)
def test_damage_is_told(tmp_path: Path, data: bytes, word: str) -> None:
    with pytest.raises(FormatError, match=word):
        unpack(tmp_path / "r", data)
