"""Sysroots from archives of our own: dependencies, checksums, broken downloads, signatures; and one from the real archive."""

from __future__ import annotations

import functools
import http.server
import json
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from debian.making import BASE, Made, Member, archive, contents
from rtld.debian.archive import check_signature, fetch_release
from rtld.debian.fetch import Fetcher, Unreachable, Wanted
from rtld.debian.sources import KEYRING, Source, machine_sources
from rtld.debian.sysroot import (
    Request,
    add,
    advice_for,
    create,
    known_packages_with,
    read_state,
    which,
)
from rtld.errors import FormatError, NotFound, Unsupported
from rtld.events import Progress

QUIET = Progress()


def request(tmp_path: Path, mirror: str, **more: bool) -> Request:
    return Request(mirror, "test", cache=str(tmp_path / "cache"), **{"trusted": True, **more})


def made(name: str, **fields: str) -> Made:
    version = fields.pop("version", "1.0-1")
    text = "".join(f"{key.replace('_', '-')}: {value}\n" for key, value in fields.items())
    return Made(name, (Member(f"./usr/share/{name}/{version}", b"x"),), version, text)


def names(tmp_path: Path, packages: list[Made], *wanted: str) -> dict[str, str]:
    """Package -> version of a sysroot with *wanted*, without what every sysroot has."""
    mirror = archive(tmp_path / "a", [*BASE, *packages])
    summary = create("arm64", str(tmp_path / "r"), wanted, request(tmp_path, mirror), QUIET)
    assert {e["package"] for e in summary.added} >= {"libc6", "libgcc-s1", "libstdc++6"}
    return {e["package"]: e["version"] for e in summary.added[3:]}


def test_dependencies(tmp_path: Path) -> None:
    found = names(
        tmp_path,
        [
            made(
                "app",
                Depends="one (>= 2), two | none, virtual, libc6 (>= 0.5), any:any",
                Pre_Depends="early",
            ),
            made("one", version="1"),
            made("one", version="3", Depends="app"),
            made("one", version="2~rc1"),
            made("two", Recommends="nobody"),
            made("early"),
            made("any"),
            made("giver", Provides="virtual, other (= 5)", Priority="optional"),
            made("better", Provides="virtual", Priority="required"),
        ],
        "app",
    )
    assert found == {
        "app": "1.0-1",
        "early": "1.0-1",
        "one": "3",
        "two": "1.0-1",
        "better": "1.0-1",
        "any": "1.0-1",
    }


def test_an_alternative_where_the_first_is_not_there(tmp_path: Path) -> None:
    found = names(
        tmp_path,
        [
            made("app", Depends="none | two (<< 1) | three (= 1:4)"),
            made("two"),
            made("three", version="1:4"),
        ],
        "app",
    )
    assert list(found) == ["app", "three"]


def test_a_provided_version(tmp_path: Path) -> None:
    found = names(
        tmp_path,
        [
            made("app", Depends="abi (>= 4)"),
            made("x", Provides="abi (= 5)"),
            made("y", Provides="abi"),
        ],
        "app",
    )
    assert list(found) == ["app", "x"]


def test_a_version_can_be_chosen(tmp_path: Path) -> None:
    assert names(tmp_path, [made("p", version="1"), made("p", version="2")], "p=1") == {"p": "1"}


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ("zlib2g", "did you mean zlib1g"),
        ("app", "package gone .*needed by app"),
        ("zlib1g=7", "the archive has 1.0-1"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, wanted: str, says: str) -> None:
    with pytest.raises(NotFound, match=says):
        names(tmp_path, [made("zlib1g"), made("app", Depends="gone (>= 1)")], wanted)
    assert not (tmp_path / "r").exists()


def test_adding_and_listing(tmp_path: Path) -> None:
    mirror = archive(
        tmp_path / "a", [*BASE, made("p", Depends="q"), made("q"), made("late", Depends="q, libc6")]
    )
    root = str(tmp_path / "r")
    create("arm64", root, ["p"], request(tmp_path, mirror), QUIET)
    # The sysroot remembers where its packages came from.
    summary = add(root, ["late"], Request(cache=str(tmp_path / "cache"), trusted=True), QUIET)
    assert [e["package"] for e in summary.added] == ["late"]
    assert sorted(read_state(root)["packages"]) == [
        "late",
        "libc6",
        "libgcc-s1",
        "libstdc++6",
        "p",
        "q",
    ]
    assert (tmp_path / "r/usr/share/late/1.0-1").exists()
    with pytest.raises(FormatError, match="sysroot add"):
        create("arm64", root, [], request(tmp_path, mirror), QUIET)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    with pytest.raises(FormatError, match="not empty"):
        create("arm64", str(tmp_path / "full"), [], request(tmp_path, mirror), QUIET)
    with pytest.raises(NotFound, match="sysroot create"):
        read_state(str(tmp_path / "full"))


def test_what_was_downloaded_is_kept(tmp_path: Path) -> None:
    mirror = archive(tmp_path / "a", BASE)
    first = create("arm64", str(tmp_path / "one"), [], request(tmp_path, mirror), QUIET)
    again = create("arm64", str(tmp_path / "two"), [], request(tmp_path, mirror), QUIET)
    assert first.downloaded > 0
    assert again.downloaded == 0


def test_a_changed_package_is_refused(tmp_path: Path) -> None:
    mirror = archive(tmp_path / "a", BASE)
    package = next((tmp_path / "a/pool").glob("libc6*"))
    data = bytearray(package.read_bytes())
    data[len(data) // 2] ^= 1
    package.write_bytes(data)
    with pytest.raises(FormatError, match="SHA256"):
        create("arm64", str(tmp_path / "r"), [], request(tmp_path, mirror), QUIET)


def test_a_changed_index_is_refused(tmp_path: Path) -> None:
    mirror = archive(tmp_path / "a", BASE)
    index = next((tmp_path / "a").rglob("Packages.xz"))
    index.write_bytes(index.read_bytes()[:-1] + b"!")
    with pytest.raises(FormatError, match="SHA256"):
        create("arm64", str(tmp_path / "r"), [], request(tmp_path, mirror), QUIET)


def test_who_is_not_signed_or_too_old_is_refused(tmp_path: Path) -> None:
    mirror = archive(tmp_path / "a", BASE)
    with pytest.raises(Unsupported, match=r"not signed.*--trusted"):
        create("arm64", str(tmp_path / "r"), [], request(tmp_path, mirror, trusted=False), QUIET)
    mirror = archive(tmp_path / "b", BASE, extra="Valid-Until: Sat, 02 Jan 2021 00:00:00 UTC\n")
    with pytest.raises(Unsupported, match="--allow-expired"):
        create("arm64", str(tmp_path / "r"), [], request(tmp_path, mirror), QUIET)
    create("arm64", str(tmp_path / "r"), [], request(tmp_path, mirror, allow_expired=True), QUIET)


def test_an_architecture_that_is_not_offered(tmp_path: Path) -> None:
    mirror = archive(tmp_path / "a", BASE)
    with pytest.raises(Unsupported, match="does not offer s390x; it offers all, arm64"):
        create("s390x", str(tmp_path / "r"), [], request(tmp_path, mirror), QUIET)
    with pytest.raises(NotFound, match="Debian calls it amd64"):
        create("x86-64", str(tmp_path / "r"), [], request(tmp_path, mirror), QUIET)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("Filename", "../../etc/passwd"),
        ("Filename", "/etc/passwd"),
        ("Size", "-1"),
        ("SHA256", "xyz"),
        ("Package", "../p"),
    ],
)
def test_a_hostile_index(tmp_path: Path, field: str, value: str) -> None:
    import hashlib
    import lzma

    mirror = archive(tmp_path / "a", BASE)
    index = next((tmp_path / "a").rglob("Packages.xz"))
    before = index.read_bytes()
    lines = lzma.decompress(before).decode().splitlines()
    lines = [f"{field}: {value}" if line.startswith(f"{field}:") else line for line in lines]
    after = lzma.compress("\n".join(lines).replace("Package: ../p", "Package: libc6", 0).encode())
    index.write_bytes(after)
    release = next((tmp_path / "a").rglob("Release"))
    text = release.read_text().replace(
        hashlib.sha256(before).hexdigest(), hashlib.sha256(after).hexdigest()
    )
    release.write_text(text.replace(f" {len(before)} ", f" {len(after)} "))
    with pytest.raises((FormatError, NotFound)):
        create("arm64", str(tmp_path / "r"), [], request(tmp_path, mirror), QUIET)
    assert not (tmp_path / "r").exists()


def test_which_package_has_a_library(tmp_path: Path) -> None:
    lines = "usr/lib/aarch64-linux-gnu/libz.so.1 libs/zlib1g\nlib/x/libz.so.1.2 libs/zlib1g\nusr/lib/foo.so.3 a/one,b/two\nusr/share/doc/libz.so.1 doc/no\n"
    contents(tmp_path / "a", lines)
    mirror = archive(tmp_path / "a", BASE)
    root = str(tmp_path / "r")
    create("arm64", root, [], request(tmp_path, mirror), QUIET)
    assert known_packages_with(root, "libz.so.1") == ["zlib1g"]  # without asking the archive
    advice = advice_for(root, "/usr/lib/libz.so.1")
    assert advice == f"package zlib1g has libz.so.1: rtld sysroot add {root} zlib1g"
    advice = advice_for(root, "nobody.so")
    assert advice == f"which package has nobody.so: rtld sysroot which {root} nobody.so"
    assert advice_for(str(tmp_path), "libz.so.1") is None
    found = which(
        root,
        ["libz.so.1", "foo.so.3", "nobody.so"],
        Request(cache=str(tmp_path / "cache"), trusted=True),
        QUIET,
    )
    assert found == {"libz.so.1": ["zlib1g"], "foo.so.3": ["one"], "nobody.so": []}
    assert known_packages_with(root, "libz.so.1") == ["zlib1g"]


class Breaking(http.server.SimpleHTTPRequestHandler):
    """Serves files, with Range; every first answer breaks off in the middle."""

    broken: ClassVar[set[str]] = set()
    ranges: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        start = 0
        asked = self.headers.get("Range")
        if asked:
            Breaking.ranges.append(asked)
            start = int(asked.removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        if self.path.endswith(".deb") and self.path not in Breaking.broken:
            Breaking.broken.add(self.path)
            self.wfile.write(data[start : start + 50])
            self.wfile.flush()
            self.connection.close()
            return
        self.wfile.write(data[start:])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    archive(tmp_path / "a", BASE)
    handler = functools.partial(Breaking, directory=str(tmp_path / "a"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_broken_download_goes_on(tmp_path: Path, served: str) -> None:
    Breaking.broken.clear()
    Breaking.ranges.clear()
    create("arm64", str(tmp_path / "r"), [], request(tmp_path, served), QUIET)
    assert (tmp_path / "r/usr/lib/libc.so.6").read_bytes() == b"c"
    assert "bytes=50-" in Breaking.ranges


def test_a_mirror_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match=r"http://127\.0\.0\.1:1/"):
        create("arm64", str(tmp_path / "r"), [], request(tmp_path, "http://127.0.0.1:1"), QUIET)
    with pytest.raises(Unreachable, match="404"):
        _gone(tmp_path)


def _gone(tmp_path: Path) -> None:
    archive(tmp_path / "a", BASE)
    handler = functools.partial(Breaking, directory=str(tmp_path / "a"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            wanted = Wanted(f"http://127.0.0.1:{server.server_address[1]}/no", 5, "0" * 64)
            Fetcher(str(tmp_path / "c")).get(wanted)
        finally:
            server.shutdown()


def test_apt_sources(tmp_path: Path) -> None:
    (tmp_path / "apt/sources.list.d").mkdir(parents=True)
    (tmp_path / "os-release").write_text('VERSION_CODENAME="trixie"\n')
    (tmp_path / "apt/sources.list").write_text(
        "# a comment\ndeb [arch=amd64 signed-by=/k.gpg] http://m/debian trixie main contrib # more\n"
        "deb-src http://m/debian trixie main\ndeb http://else/x stable main\ndeb http://m/debian trixie-backports contrib\n"
    )
    (tmp_path / "apt/sources.list.d/x.sources").write_text(
        "Types: deb deb-src\nURIs: http://s/security/\nSuites: trixie-security\nComponents: main\nSigned-By:\n -----BEGIN\n .\n\n"
        "Types: deb\nURIs: http://off\nSuites: trixie\nComponents: main\nEnabled: no\n"
    )
    assert list(machine_sources(str(tmp_path))) == [
        Source("http://m/debian", "trixie", ("main", "contrib"), "/k.gpg"),
        Source("http://s/security", "trixie-security", ("main",), ""),
    ]


def rtld(*arguments: str, cache: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rtld", "sysroot", *arguments],
        capture_output=True, text=True, check=False, env={**os.environ, "XDG_CACHE_HOME": str(cache)},
    )  # fmt: skip


def test_the_command(tmp_path: Path) -> None:
    mirror = archive(tmp_path / "a", [*BASE, made("p")])
    common = ("--mirror", mirror, "--suite", "test", "--trusted")
    done = rtld("create", "arm64", str(tmp_path / "r"), "p", *common, "--json", cache=tmp_path)
    assert done.returncode == 0
    document = json.loads(done.stdout)
    assert [e["package"] for e in document["added"]] == ["libc6", "libgcc-s1", "libstdc++6", "p"]
    assert document["cpu"] == "aarch64"
    assert (tmp_path / "rtld/debian/by-hash").is_dir()
    listed = rtld("list", str(tmp_path / "r"), cache=tmp_path)
    assert listed.stdout.splitlines()[-1].split() == ["p", "1.0-1"]
    missing = rtld("add", str(tmp_path / "r"), "nobody", "--trusted", cache=tmp_path)
    assert (missing.returncode, missing.stderr.count("\n")) == (1, missing.stderr.count("\n"))
    assert "package nobody: the archive does not have it" in missing.stderr
    assert rtld("create", "vax", "x", cache=tmp_path).returncode == 2
    assert rtld("list", str(tmp_path), cache=tmp_path).returncode == 3
    assert "examples:" in rtld("create", "--help", cache=tmp_path).stdout


def test_the_real_archive(tmp_path: Path, require: Callable[[str], None]) -> None:
    """arm64 from where this machine's apt gets its packages: qemu's user emulation runs a program in it."""
    here = list(machine_sources())
    if not here:
        require("a Debian with sources of apt")
    if not os.path.exists(KEYRING):
        require(KEYRING)
    source = here[0]
    url = f"{source.uri}/dists/{source.suite}/InRelease"
    try:
        data = urllib.request.urlopen(url, timeout=20).read()
    except OSError:
        require(source.uri)
    # The signature holds for these bytes and no others.
    assert check_signature(data, url, source.keyring or KEYRING)[1] == "verified"
    with pytest.raises(FormatError, match="signature"):
        check_signature(data.replace(b"Suite: ", b"Suite: x", 1), url, source.keyring or KEYRING)
    with pytest.raises(FormatError, match="armour"):
        check_signature(data + b"more", url, source.keyring or KEYRING)
    assert fetch_release(Fetcher(str(tmp_path / "c")), source).signature == "verified"
    root = tmp_path / "r"
    summary = create("arm64", str(root), ["sed"], Request(cache=str(tmp_path / "c")), QUIET)
    assert {s["signature"] for s in summary.sources} == {"verified"}
    done = subprocess.run(
        ["qemu-aarch64", "-L", root, root / "bin/sed", "s/a/b/"],
        input="banana\n", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "bbnana\n"
