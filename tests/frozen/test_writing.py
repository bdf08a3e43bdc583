"""An image is there whole or not at all, whatever goes wrong, and the previous one stays."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from frozenimages import freeze_to, outcome
from rtld.frozen import freeze

PROGRAM = "#include <stdio.h>\nint main(void) { puts(WHAT); }"


def command(program: Path, image: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "rtld", "freeze", *options, str(program), "-o", str(image)]


def small_files() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))


def test_no_room(build: Callable[..., Path], tmp_path: Path) -> None:
    program = build("program", PROGRAM, '-DWHAT="hello"')
    image = freeze_to(program, tmp_path / "image")
    before = sorted(os.listdir(tmp_path)), image.read_bytes()
    done = subprocess.run(
        command(program, image), preexec_fn=small_files, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert "File too large" in done.stderr
    assert (sorted(os.listdir(tmp_path)), image.read_bytes()) == before
    assert outcome([image]) == (0, b"hello\n", b"")


def test_disk_full(
    build: Callable[..., Path], tmp_path: Path, require: Callable[[str], None]
) -> None:
    program = build("program", PROGRAM, '-DWHAT="hello"')
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "rtld-test", str(place)]
    if os.getuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small file system")
    try:
        done = subprocess.run(
            command(program, place / "image"), capture_output=True, text=True, check=False
        )
        assert done.returncode == 3
        assert "No space left on device" in done.stderr
        assert os.listdir(place) == []
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_directory_is_missing_or_a_file(build: Callable[..., Path], tmp_path: Path) -> None:
    program = build("program", PROGRAM, '-DWHAT="hello"')
    with pytest.raises(FileNotFoundError):
        freeze(str(program), str(tmp_path / "nowhere" / "image"))
    with pytest.raises(NotADirectoryError):
        freeze(str(program), str(program / "image"))


def test_killed_half_way(build: Callable[..., Path], tmp_path: Path) -> None:
    """At many different moments: nothing new is in the directory, or the whole image."""
    program = build("program", PROGRAM, '-DWHAT="hello"')
    place = tmp_path / "place"
    place.mkdir()
    image = place / "image"
    whole = 0
    for delay in range(8):
        process = subprocess.Popen(command("/usr/bin/perl", image))  # type: ignore[arg-type]
        time.sleep(0.1 + 0.09 * delay)
        process.kill()
        process.wait()
        left = set(os.listdir(place))
        if "image" in left:
            whole += 1
            assert outcome([image, "-e", "print 6*7"]) == (0, b"42", b"")
            image.unlink()
        # The one name that may stay is that of a whole file, between its naming and its place.
        assert len(left - {"image"}) <= 1
        for name in left - {"image"}:
            (place / name).unlink()
    assert program.exists()


def test_replaced_while_it_runs(build: Callable[..., Path], tmp_path: Path) -> None:
    text = "#include <stdio.h>\nint main(void) { getchar(); puts(WHAT); }"
    program = build("program", text, '-DWHAT="one"')
    image = freeze_to(program, tmp_path / "image")
    with subprocess.Popen([image], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        freeze_to(build("program", text, '-DWHAT="two"'), image)
        assert running.communicate(b"\n")[0] == b"one\n"
    assert outcome([image])[1] == b"two\n"


def test_reproducible(build: Callable[..., Path], tmp_path: Path) -> None:
    build("libone.so", "int one;")
    program = build("program", PROGRAM, '-DWHAT="hello"', "-lone")
    one = freeze_to(program, tmp_path / "one", reproducible=True)
    two = freeze_to(program, tmp_path / "two", reproducible=True)
    other = freeze_to(program, tmp_path / "other")
    assert one.read_bytes() == two.read_bytes()
    assert other.read_bytes() != one.read_bytes()
    assert freeze_to(program, tmp_path / "base", base=0x7000_0000_0000).stat().st_size
    assert outcome([tmp_path / "base"]) == (0, b"hello\n", b"")
