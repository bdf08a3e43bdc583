"""An image of changed files runs the original; one of unchanged files never does."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from frozenimages import freeze_to, outcome
from rtld.frozen.check import check_image

LIBRARY = "int value(void) { return VALUE; }"
PROGRAM = """
    #include <stdio.h>
    #include <unistd.h>
    int value(void);
    int main(int c, char **v) {
        char name[64], self[4096]; sprintf(name, "/proc/%d/exe", (int)getpid());
        long n = readlink(name, self, sizeof self - 1);
        self[n] = 0;
        printf("%d %s %s %d\\n", value(), self, v[0], c);
    }
"""


class Made:
    """A program, its library, its image."""

    def __init__(self, build: Callable[..., Path], **options: Any) -> None:
        self.library = build("libv.so", LIBRARY, "-DVALUE=1")
        self.other = build("other.so", LIBRARY, "-DVALUE=2", "-Wl,-soname,libv.so")
        self.program = build("program", PROGRAM, "-lv")
        self.image = freeze_to(self.program, self.program.with_suffix(".frozen"), **options)

    def run(self, **options: Any) -> tuple[str, bool]:
        """(the library's value, whether the image ran)."""
        status, out, err = outcome([self.image, "x"], **options)
        assert status == 0, err
        value, executed, name, count = out.decode().split()
        assert (name, count) == (str(self.image), "2")  # argv is kept in any case
        assert executed in (str(self.image), str(self.program))
        return value, executed == str(self.image)


@pytest.fixture(params=["fixed", "thin", "pie"])
def made(request: pytest.FixtureRequest, build: Callable[..., Path]) -> Made:
    return Made(build, **({} if request.param == "fixed" else {request.param: True}))


def test_nothing_changed(made: Made) -> None:
    assert made.run() == ("1", True)
    assert check_image(str(made.image)).fine


def test_touched(made: Made) -> None:
    os.utime(made.library)
    assert made.run() == ("1", False)
    checked = check_image(str(made.image))
    assert checked.stale
    assert [file.state for file in checked.files] == ["same", "touched"]


def test_replaced_by_newer(made: Made) -> None:
    os.replace(made.other, made.library)
    assert made.run() == ("2", False)
    assert [file.state for file in check_image(str(made.image)).files] == ["same", "changed"]


def test_replaced_by_older(made: Made) -> None:
    os.utime(made.other, (1000, 1000))
    os.replace(made.other, made.library)
    assert made.run() == ("2", False)


def test_rewritten_in_place_with_the_old_times(made: Made) -> None:
    """Same inode, same size, same modification time: only the change time tells."""
    before = made.library.stat()
    assert before.st_size == made.other.stat().st_size
    with made.library.open("r+b") as stream:
        stream.write(made.other.read_bytes())
    os.utime(made.library, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = made.library.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert made.run() == ("2", False)


def test_deleted(made: Made) -> None:
    made.library.unlink()
    status, _out, err = outcome([made.image])
    assert status == 127
    assert b"libv.so: cannot open shared object file" in err  # the original's ld.so says it
    assert check_image(str(made.image)).files[1].state == "missing"


def test_program_changed(made: Made, build: Callable[..., Path]) -> None:
    shutil.copy(made.program, made.program.with_name("copy"))
    os.replace(made.program.with_name("copy"), made.program)
    assert made.run() == ("1", False)


def test_program_deleted(made: Made) -> None:
    made.program.unlink()
    status, out, err = outcome([made.image])
    assert (status, out) == (127, b"")
    assert err.decode().startswith(
        f"{made.program}: this image was made of files that have changed"
    )


def test_other_libraries_by_environment(made: Made, tmp_path: Path) -> None:
    (tmp_path / "else").mkdir()
    shutil.copy(made.other, tmp_path / "else" / "libv.so")
    # DT_RUNPATH comes after LD_LIBRARY_PATH.
    env = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path / "else")}
    assert made.run(env=env) == ("2", False)
    assert made.run(env={**os.environ, "LD_PRELOAD": str(tmp_path / "else" / "libv.so")}) == (
        "2",
        False,
    )
    # Without a value, and other variables that begin like it: nothing that matters.
    for name, value in {"LD_LIBRARY_PATH": "", "LD_PRELOADED": "x", "LD_LIBRARY": "y"}.items():
        assert made.run(env={**os.environ, name: value}) == ("1", True)


def test_library_path_of_the_time_it_was_made(build: Callable[..., Path], tmp_path: Path) -> None:
    made = Made(build)
    (tmp_path / "else").mkdir()
    shutil.copy(made.other, tmp_path / "else" / "libv.so")
    env = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path / "else")}
    freeze_to(made.program, made.image, env=env)
    assert made.run(env=env) == ("2", True)
    assert made.run(env={**env, "LD_LIBRARY_PATH": f"{tmp_path}/else:/tmp"}) == ("2", False)


def test_the_image_in_the_original_s_place(made: Made) -> None:
    """It is never written there; if somebody puts it there, it does not execute itself for ever."""
    from rtld.errors import Unsupported

    with pytest.raises(Unsupported, match="would replace"):
        freeze_to(made.program, made.program)
    with pytest.raises(Unsupported, match="would replace"):
        freeze_to(made.program, made.library)
    os.replace(made.image, made.program)
    status, out, err = outcome([made.program], timeout=20)
    assert (status, out) == (127, b"")
    assert b"this image was made of files that have changed" in err


def test_without_guard(build: Callable[..., Path]) -> None:
    made = Made(build, guard=False)
    made.library.unlink()
    assert made.run() == ("1", True)


def test_set_user_id_is_refused(build: Callable[..., Path], tmp_path: Path) -> None:
    from rtld.errors import Unsupported

    made = Made(build)
    for mode in (0o4755, 0o2755):
        made.program.chmod(mode)
        with pytest.raises(Unsupported, match="never frozen"):
            freeze_to(made.program, tmp_path / "image")
    assert not (tmp_path / "image").exists()


def test_edited_and_truncated(made: Made) -> None:
    image = made.image.read_bytes()
    edited = bytearray(image)
    edited[len(image) // 2] ^= 1
    made.image.write_bytes(edited)
    assert "truncated or edited" in check_image(str(made.image)).damage
    made.image.write_bytes(image[:-100])
    assert check_image(str(made.image)).damage
    command = ["python3", "-m", "rtld", "freeze", "--check", str(made.image)]
    import sys

    done = subprocess.run(
        [sys.executable, *command[1:]], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "damaged" in done.stdout
    made.image.write_bytes(image[: len(image) // 2])
    done = subprocess.run(
        [sys.executable, *command[1:]], capture_output=True, text=True, check=False
    )
    assert done.returncode == 3


def test_names_that_cannot_be_added(build: Callable[..., Path], tmp_path: Path) -> None:
    """Where the program's link_map is not as glibc's, dlopen would load a second copy: the original runs instead."""
    made = Made(build)
    text = r"""
        #include <link.h>
        #include <string.h>
        #include <unistd.h>
        int kept;
        __attribute__((constructor)) static void change(void) {
            char self[4096]; long n = readlink("/proc/self/exe", self, sizeof self - 1);
            self[n] = 0;
            if (strstr(self, ".broken")) ((long *)_r_debug.r_map)[6] = 1; /* l_ns */
        }"""
    build("libkept.so", text)
    program = build("program", PROGRAM, "-lv", "-lkept")
    for name, executed in (("sound", "sound"), ("image.broken", "program")):
        image = freeze_to(program, tmp_path / name, keep=("libkept.so",))
        status, out, err = outcome([image, "x"])
        assert status == 0, err
        assert out.decode().split()[:2] == ["1", str(tmp_path / executed)]
    assert made.library.exists()
