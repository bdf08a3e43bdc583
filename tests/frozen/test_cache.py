"""The image cache: the first start links, later ones execute; changes make new images; nothing is left half done."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAM = """
    #include <stdio.h>
    #include <unistd.h>
    int value(void);
    int main(int c, char **v) {
        char name[64], self[4096]; sprintf(name, "/proc/%d/exe", (int)getpid());
        long n = readlink(name, self, sizeof self - 1);
        self[n] = 0;
        printf("%d %s\\n", value(), self);
        return c;
    }
"""
LIBRARY = "int deep(void); int value(void) { return VALUE + deep(); }"


class Cache:
    """``rtld cache`` with a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def command(self, *words: str | Path) -> list[str]:
        return [sys.executable, "-m", "rtld", "cache", *[str(word) for word in words]]

    def __call__(self, *words: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words), env={**os.environ, "RTLD_CACHE": str(self.directory), **env},
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip

    def run(self, program: Path, **env: str) -> tuple[str, bool]:
        """(the value printed, whether an image ran)."""
        done = self("run", program, **env)
        assert done.returncode == 1, done.stderr
        value, executed = done.stdout.split()
        return value, executed.startswith(str(self.directory))

    def images(self) -> list[Path]:
        return [p for p in self.directory.rglob("*") if p.is_file() and p.name != "lock"]


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def program(build: Callable[..., Path]) -> Path:
    build("libdeep.so", "int deep(void) { return VALUE; }", "-DVALUE=10")
    build("libv.so", LIBRARY, "-DVALUE=1", "-ldeep")
    return build("program", 'const char maps[] = "/proc/self/maps";' + PROGRAM, "-lv")


def test_first_and_later_starts(cache: Cache, program: Path) -> None:
    # The text in the program makes it one that may look for its libraries in the memory map.
    assert cache.run(program) == ("11", False)
    assert "reads /proc/self/maps" in cache("list").stdout


@pytest.fixture
def hidden(build: Callable[..., Path], program: Path) -> Path:
    """The same without."""
    return build("hidden", PROGRAM, "-lv")


def test_image_is_made_and_used(cache: Cache, hidden: Path) -> None:
    assert cache.run(hidden) == ("11", True)
    (image,) = cache.images()
    before = image.stat()
    assert cache.run(hidden) == ("11", True)
    assert image.stat().st_ino == before.st_ino
    assert cache("path", hidden).stdout == f"{image}\n"
    assert cache("verify").stdout == "1 of 1 images are whole and current\n"


@pytest.mark.parametrize("changed", ["libv.so", "libdeep.so"])
def test_a_changed_library_makes_a_new_image(
    cache: Cache, hidden: Path, changed: str, build: Callable[..., Path]
) -> None:
    assert cache.run(hidden) == ("11", True)
    (image,) = cache.images()
    before = image.stat().st_ino
    (hidden.parent / changed).unlink()
    if changed == "libv.so":
        build(changed, LIBRARY, "-DVALUE=2", "-ldeep")
    else:
        build(changed, "int deep(void) { return VALUE; }", "-DVALUE=11")
    assert cache("verify").returncode == 1
    assert cache.run(hidden) == ("12", True)
    assert cache.images() == [image]
    assert image.stat().st_ino != before
    assert cache("verify").returncode == 0


def test_other_library_path_is_another_image(
    cache: Cache, hidden: Path, tmp_path: Path, build: Callable[..., Path]
) -> None:
    assert cache.run(hidden) == ("11", True)
    other = tmp_path / "other"
    other.mkdir()
    shutil.move(build("libnew.so", LIBRARY, "-DVALUE=5", "-ldeep"), other / "libv.so")
    assert cache.run(hidden, LD_LIBRARY_PATH=str(other)) == ("15", True)
    assert len(cache.images()) == 2
    assert cache.run(hidden) == ("11", True)


def test_a_damaged_image_is_made_again(cache: Cache, hidden: Path) -> None:
    cache.run(hidden)
    (image,) = cache.images()
    image.write_bytes(image.read_bytes()[:50000])
    assert cache.run(hidden) == ("11", True)
    assert cache("verify").returncode == 0


def test_an_edited_image_is_collected(cache: Cache, hidden: Path) -> None:
    cache.run(hidden)
    (image,) = cache.images()
    data = bytearray(image.read_bytes())
    data[len(data) // 2] ^= 1
    image.write_bytes(data)
    assert cache("verify").returncode == 1
    assert "removed 1" in cache("gc").stdout
    assert cache.images() == []


def test_a_hundred_at_once(cache: Cache, hidden: Path) -> None:
    """All of the same cold program: every one does its work, and there is one image."""
    env = {**os.environ, "RTLD_CACHE": str(cache.directory)}
    processes = [
        subprocess.Popen(
            cache.command("run", hidden), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env
        )
        for _ in range(100)
    ]
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, out.split()[:1], err) == (1, [b"11"], b"")
    assert len(cache.images()) == 1
    assert cache("verify").stdout == "1 of 1 images are whole and current\n"
    assert cache.run(hidden) == ("11", True)


def test_what_cannot_be_frozen_is_run(cache: Cache, hidden: Path, cc: Callable[..., Path]) -> None:
    static = cc(
        '#include <stdio.h>\nint main(void) { puts("static"); return 3; }', "static", "-static"
    )
    done = cache("run", "-v", static)
    assert (done.returncode, done.stdout) == (3, "static\n")
    assert "is run as it is" in done.stderr
    assert cache("run", "-v", static).stderr == ""  # it is known
    assert cache("run", "/nowhere").returncode == 127
    assert cache("run", str(hidden.parent)).returncode == 126


def test_collecting(cache: Cache, hidden: Path, program: Path) -> None:
    cache.run(hidden)
    assert cache("run", "--anyway", program).returncode == 1
    assert len(cache.images()) == 2
    listed = json.loads(cache("list", "--json").stdout)
    assert sorted(entry["program"] for entry in listed["entries"]) == [str(hidden), str(program)]
    assert "removed 0" in cache("gc", "--max-size", "1G").stdout
    os.utime(hidden)
    assert "removed 1" in cache("gc").stdout
    assert "removed 1" in cache("gc", "--max-size", "1K").stdout
    assert cache.images() == []
    cache.run(hidden)
    assert "removed 1" in cache("clear").stdout
    assert list(cache.directory.iterdir()) == []


def test_a_cache_that_cannot_be_written(cache: Cache, hidden: Path) -> None:
    cache.directory.write_text("a file")
    done = cache("run", hidden)
    assert (done.returncode, done.stdout.split()[0]) == (1, "11")


def test_usage(cache: Cache) -> None:
    for words in (["fly"], ["run"], ["gc", "--max-size", "many"], ["list", "more"]):
        assert cache(*words).returncode == 2
    assert "usage: rtld cache" in cache("--help").stdout
