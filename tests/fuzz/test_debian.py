"""Damaged packages, indices and Release files: an RtldError and nothing worse, and nothing outside the directory."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from debian.making import BASE, Made, Member, archive, deb, directory, link
from rtld.debian.archive import Index, check_signature, parse_release
from rtld.debian.deb import Deb
from rtld.debian.depend import close, dependencies
from rtld.debian.sources import Source
from rtld.debian.unpack import Tree
from rtld.errors import RtldError

pytestmark = pytest.mark.fuzz
MUTANTS = 1500
SOURCE = Source("http://x", "s", ("main",))


def mutant(data: bytes, generator: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(generator.randint(1, 6)):
        at = generator.randrange(len(out))
        what = generator.randrange(4)
        if what == 0:
            out[at] = generator.randrange(256)
        elif what == 1:
            out[at : at + generator.randrange(1, 40)] = b""
        elif what == 2:
            out[at:at] = generator.choice([b"/", b"../", b"\n", b" ", b"\0", b"9" * 12, b"-"])
        else:
            out[at] ^= 1 << generator.randrange(8)
        if not out:
            out = bytearray(b"x")
    return bytes(out)


def test_packages(tmp_path: Path) -> None:
    members = (directory("./usr/"), Member("./usr/file", b"x" * 600), link("./usr/l", "file"), directory("./lib/"), Member("./lib/c", b"c"))  # fmt: skip
    whole = [deb(members, kind=kind) for kind in ("", ".gz", ".xz")]
    generator = random.Random(1)
    root = tmp_path / "inside" / "root"
    refused = 0
    for number in range(MUTANTS):
        # What is not compressed reaches the reader of tars more often.
        data = mutant(whole[0 if number % 3 else number % 2 + 1], generator)
        path = tmp_path / "p.deb"
        path.write_bytes(data)
        root.mkdir(parents=True)
        try:
            with Deb(str(path)) as package:
                Tree(str(root)).unpack(package.data(), "p.deb", 1 << 16)
        except RtldError:
            refused += 1
        assert os.listdir(tmp_path / "inside") == ["root"]
        shutil.rmtree(root)
    assert 100 < refused < MUTANTS
    assert sorted(os.listdir(tmp_path)) == ["inside", "p.deb"]


def test_indices_and_releases(tmp_path: Path) -> None:
    archive(
        tmp_path / "a",
        [*BASE, Made("app", (), "1:2", "Depends: libc6 (>= 1), x | y\nProvides: z (= 3)\n")],
    )
    import lzma

    index = lzma.decompress(next((tmp_path / "a").rglob("Packages.xz")).read_bytes())
    release = next((tmp_path / "a").rglob("Release")).read_bytes()
    signed = b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: X\n\n" + release + b"\n-----BEGIN PGP SIGNATURE-----\n\nx\n-----END PGP SIGNATURE-----\n"  # fmt: skip
    generator = random.Random(2)
    for number in range(MUTANTS):
        try:
            found = Index(mutant(index, generator), "index", "http://x")
            close(["app", "z"], [found], {})
        except RtldError:
            pass
        try:
            parse_release(mutant(release, generator).decode(errors="replace"), "release", SOURCE)
        except RtldError:
            pass
        if number % 5 == 0:
            try:
                check_signature(mutant(signed, generator), "release", "/nonexistent")
            except RtldError:
                pass
        dependencies(
            mutant(b"libc6 (>= 1:2.3~x), a:any | b (<< 4)", generator).decode(errors="replace")
        )
