"""``rtld ldd`` beside ldd: the same lines but for the addresses."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.support import Rtld, lib

# fmt: off
PROGRAMS = [
    "bash", "sh", "ls", "cat", "grep", "sed", "awk", "find", "tar", "gzip", "xz", "python3", "perl", "git", "gdb", "gcc",
    "ld", "as", "make", "cmake", "ssh", "curl", "openssl", "sqlite3", "vim.basic", "nano", "less", "man", "ps", "top",
    "mount", "systemctl", "journalctl", "dbus-daemon", "ffmpeg", "inkscape", "blender", "clang-14", "soffice.bin", "qemu-arm",
    "wine", "java", "node", "gpg", "apt", "dpkg", "rsync", "strace", "file", "xmllint", "convert", "gs", "gimp", "mutt",
]
LIBRARIES = [
    "/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6", "/lib/x86_64-linux-gnu/libm.so.6",
    "/lib/x86_64-linux-gnu/libstdc++.so.6", "/lib/x86_64-linux-gnu/libpython3.11.so.1.0",
    "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2", "/lib/x86_64-linux-gnu/libresolv.so.2",
]
# fmt: on


def installed() -> list[str]:
    """The programs that this machine has, at least 20 of them."""
    paths = [f"{place}/{name}" for name in PROGRAMS for place in ("/usr/bin", "/usr/sbin")]
    found = [path for path in paths if os.access(path, os.R_OK)] + [
        path for path in LIBRARIES if os.path.exists(path)
    ]
    return [path for path in found if Path(path).read_bytes()[:4] == b"\x7fELF"]


def masked(text: str) -> list[str]:
    return re.sub(r"\(0x[0-9a-f]{16}\)", "(0x)", text).splitlines()


def ldd(*words: str, **how: str | Path | dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ldd", *words], capture_output=True, text=True, check=False, **how)  # type: ignore[call-overload, no-any-return]


@pytest.fixture(autouse=True)
def _wants_ldd(require: Callable[[str], None]) -> None:
    if not os.access("/usr/bin/ldd", os.X_OK):
        require("ldd")


@pytest.mark.live
@pytest.mark.parametrize("path", installed())
def test_lines(rtld: Rtld, path: str) -> None:
    real, ours = ldd(path), rtld("ldd", path)
    assert masked(ours.out) == masked(real.stdout)
    assert ours.status == (1 if "not found" in real.stdout else real.returncode)


@pytest.mark.live
@pytest.mark.parametrize("option", ["-v", "-d", "-r", "-u"])
@pytest.mark.parametrize("path", installed()[::5])
def test_options(rtld: Rtld, path: str, option: str) -> None:
    real, ours = ldd(option, path), rtld("ldd", option, path)
    assert masked(ours.out) == masked(real.stdout)
    assert ours.status == (1 if "undefined symbol" in real.stdout else real.returncode)


def test_several_files(rtld: Rtld) -> None:
    words = ["/bin/ls", "/bin/sh", "/etc/passwd"]
    real, ours = ldd(*words), rtld("ldd", *words)
    assert masked(ours.out) == masked(real.stdout)
    assert ours.err == real.stderr
    assert ours.status == 3


@pytest.mark.parametrize("option", ["", "-r", "-v", "-u"])
def test_missing(rtld: Rtld, here: Path, option: str) -> None:
    words = [option] if option else []
    for path in (here / "app", here / "libone.so", here / "lost/app", here / "lost/libone.so"):
        real, ours = ldd(*words, str(path)), rtld("ldd", *words, path)
        assert masked(ours.out) == masked(real.stdout)
        assert ours.status == (1 if "lost" in str(path) else 0)


def test_relative_names(rtld: Rtld, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here)
    for name in ("app", "./app", "lost/app", "nothing"):
        real, ours = ldd(name), rtld("ldd", name)
        assert masked(ours.out) == masked(real.stdout)
    assert "./nothing: No such file or directory" in ours.err


def test_preload(rtld: Rtld, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two = str(here / "libtwo.so")
    monkeypatch.setenv("LD_PRELOAD", f"{two} libnothing.so")
    real, ours = ldd("/bin/ls"), rtld("ldd", "/bin/ls")
    # ldd's shell and its helpers complain, too; only the lines about the program are on standard output.
    assert masked(ours.out) == masked(real.stdout)
    assert ours.status == 1


def test_versions(rtld: Rtld, cc: Callable[..., Path], tmp_path: Path) -> None:
    """A version that is not there any more, and no versions at all."""
    script = tmp_path / "map"
    script.write_text("V1 { global: f; };")
    library = cc(
        "int f(void) { return 1; }", "libv.so", *lib("libv.so"), f"-Wl,--version-script={script}"
    )
    program = cc(
        "int f(void); int main(void) { return f(); }",
        "app",
        f"-L{library.parent}",
        "-lv",
        "-Wl,-rpath,$ORIGIN",
    )
    script.write_text("V2 { global: f; };")
    other = cc(
        "int f(void) { return 2; }",
        "libv.so",
        *lib("libv.so"),
        f"-Wl,--version-script={script}",
        "-DV2",
    )
    plain = cc("int f(void) { return 3; }", "libv.so", *lib("libv.so"))
    for number, chosen in enumerate((library, other, plain)):
        place = tmp_path / str(number)
        place.mkdir()
        for file in (program, chosen):
            (place / file.name).write_bytes(file.read_bytes())
        (place / "app").chmod(0o755)
        for words in ([], ["-v"]):
            real, ours = ldd(*words, str(place / "app")), rtld("ldd", *words, place / "app")
            assert masked(ours.out) == masked(real.stdout)
            assert ours.status == (1 if chosen is other else 0)


@pytest.mark.parametrize("flag", ["-static", "-static-pie"])
def test_static(rtld: Rtld, cc: Callable[..., Path], flag: str) -> None:
    program = str(cc("int main(void) { return 0; }", "app", flag))
    real, ours = ldd(program), rtld("ldd", program)
    assert (ours.out, ours.err, ours.status) == (real.stdout, real.stderr, real.returncode)


def test_musl(rtld: Rtld, cc: Callable[..., Path], require: Callable[[str], None]) -> None:
    program = str(cc("int main(void) { return 0; }", "app", libc="musl"))
    loader = "/lib/ld-musl-x86_64.so.1"
    if not os.access(loader, os.X_OK):
        require(loader)
    real = subprocess.run([loader, "--list", program], capture_output=True, text=True, check=False)
    mask = re.compile(r"\(0x[0-9a-f]+\)")
    assert mask.sub("(0x)", rtld("ldd", program).out) == mask.sub("(0x)", real.stdout)


def test_never_executes(rtld: Rtld, cc: Callable[..., Path], tmp_path: Path) -> None:
    """ldd gives control to a program whose interpreter is not ld.so; this one must not."""
    mark = tmp_path / "executed"
    source = f'#include <fcntl.h>\nint main(void) {{ return open("{mark}", O_CREAT | O_WRONLY, 0600) < 0; }}\n'
    fake = cc(source, "loader", "-static")
    program = cc("int main(void) { return 0; }", "app", f"-Wl,--dynamic-linker={fake}")
    for command in ("ldd", "tree", "check", "link"):
        rtld(command, program)
    assert not mark.exists()
