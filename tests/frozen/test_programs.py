"""Programs of this system do the same work when they are frozen: the same output, files, pixels."""

from __future__ import annotations

import glob
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from frozenimages import freeze_to

pytestmark = pytest.mark.live


def python_modules(*names: str) -> list[str]:
    places = "/usr/lib/python3.11/lib-dynload"
    return [path for name in names for path in glob.glob(f"{places}/{name}.*.so")]


#: name -> (program, options of the image)
# fmt: off
PROGRAMS: dict[str, tuple[str, dict[str, Any]]] = {
    "git":      ("/usr/bin/git", {}),
    "python":   ("/usr/bin/python3.11", {}),
    "modules":  ("/usr/bin/python3.11", {"plugins": ("_ssl", "_sqlite3", "_ctypes", "_hashlib")}),
    "clang":    ("/usr/lib/llvm-14/bin/clang", {}),
    "ffmpeg":   ("/usr/bin/ffmpeg", {}),
    "inkscape": ("/usr/bin/inkscape", {}),
    "gdb":      ("/usr/bin/gdb", {}),
    "openssl":  ("/usr/bin/openssl", {}),
    "curl":     ("/usr/bin/curl", {}),
    "perl":     ("/usr/bin/perl", {}),
    "bash":     ("/usr/bin/bash", {}),
    "sqlite3":  ("/usr/bin/sqlite3", {}),
}
# fmt: on
PYTHON_WORK = """
import ctypes, hashlib, json, sqlite3, ssl, threading, os, subprocess, zlib, lzma, bz2
db = sqlite3.connect(":memory:")
db.execute("create table t(a)"); db.executemany("insert into t values (?)", [(i,) for i in range(100)])
print(db.execute("select sum(a) from t").fetchone(), ssl.OPENSSL_VERSION)
crypto = ctypes.CDLL("libcrypto.so.3")
digest = ctypes.create_string_buffer(32)
crypto.SHA256(b"abc", ctypes.c_size_t(3), digest)
assert digest.raw == hashlib.sha256(b"abc").digest()
print(ctypes.CDLL(None).strlen(b"four"), len(ssl.create_default_context().get_ciphers()) > 5)
done = []
threads = [threading.Thread(target=lambda i=i: done.append(i)) for i in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
print(sorted(done), zlib.crc32(lzma.decompress(lzma.compress(b"x" * 1000)) + bz2.compress(b"y")))
pid = os.fork()
if pid == 0:
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), subprocess.check_output(["echo", "child"]))
print(json.dumps({"a": [1, 2.5, None]}))
"""


class Pair:
    """The original and its image: ``both(argv)`` runs each in a directory of its own and compares."""

    def __init__(self, program: str, image: Path, place: Path) -> None:
        self.program, self.image, self.place = program, image, place

    def both(
        self, *argv: str, setup: Callable[[Path], None] | None = None, **options: Any
    ) -> tuple[bytes, Path]:
        results = []
        for number, executable in enumerate((self.program, str(self.image))):
            # The same path in both runs: it may be part of the output.
            work = self.place / "work"
            work.mkdir()
            if setup is not None:
                setup(work)
            env = {
                "PATH": "/usr/bin:/bin",
                "HOME": str(work),
                "LC_ALL": "C",
                "QT_QPA_PLATFORM": "offscreen",
            }
            done = subprocess.run(
                [self.program, *argv], executable=executable, cwd=work, env=env, capture_output=True, check=False,
                timeout=120, **{"stdin": subprocess.DEVNULL, **options},
            )  # fmt: skip
            files = {
                str(p.relative_to(work)): hashlib.sha256(p.read_bytes()).hexdigest()
                for p in sorted(work.rglob("*"))
                if p.is_file() and ".git/" not in str(p) and ".cache" not in str(p)
            }
            # Numbers of processes and the time are all that may differ.
            own = rb"process \d+|\(inkscape:\d+\)|\d\d:\d\d:\d\d\.\d+"
            out, err = (re.sub(own, b"N", text) for text in (done.stdout, done.stderr))
            results.append((done.returncode, out, err, files))
            kept = self.place / f"work{number}"
            shutil.rmtree(kept, ignore_errors=True)
            work.rename(kept)
        assert results[0] == results[1]
        assert results[0][0] == 0, results[0]
        return results[0][1], kept


@pytest.fixture
def pair(tmp_path: Path, require: Callable[[str], None]) -> Callable[..., Pair]:
    def make(name: str, form: str = "fixed") -> Pair:
        program, options = PROGRAMS[name]
        if not os.path.exists(program):
            require(program)
        options = dict(options)
        if "plugins" in options:
            options["plugins"] = tuple(python_modules(*options["plugins"]))
        if form != "fixed":
            options[form] = True
        return Pair(program, freeze_to(program, tmp_path / "image", **options), tmp_path)

    return make


@pytest.mark.parametrize("form", ["fixed", "thin", "pie"])
def test_git(pair: Callable[..., Pair], form: str) -> None:
    git = pair("git", form)

    def repository(work: Path) -> None:
        env = {
            "PATH": "/usr/bin:/bin", "HOME": str(work), "GIT_AUTHOR_DATE": "2020-01-01T00:00:00Z",
            "GIT_COMMITTER_DATE": "2020-01-01T00:00:00Z", "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b",
            "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b",
        }  # fmt: skip
        for words in (
            ["init", "-q", "r"],
            ["-C", "r", "add", "."],
            ["-C", "r", "commit", "-qm", "one"],
        ):
            if "add" in words:
                (work / "r" / "file").write_text("text\n")
            subprocess.run(["git", *words], cwd=work, env=env, check=True)

    log, _ = git.both("-C", "r", "log", "-p", "--stat", setup=repository)
    assert b"+text" in log
    git.both("clone", "-q", "--no-local", "r", "copy", setup=repository)


@pytest.mark.parametrize(
    ("name", "form"),
    [("python", "fixed"), ("python", "thin"), ("modules", "fixed"), ("modules", "thin")],
)
def test_python(pair: Callable[..., Pair], name: str, form: str) -> None:
    out, _ = pair(name, form).both("-I", "-c", PYTHON_WORK)
    assert out.splitlines()[0].startswith(b"(4950,)")


@pytest.mark.parametrize("form", ["fixed", "thin"])
def test_clang_makes_the_same_object(pair: Callable[..., Pair], form: str, tmp_path: Path) -> None:
    clang = pair("clang", form)
    text = "#include <stdio.h>\n#include <string>\nint f(int a) { std::string s(a, 'x'); return printf(\"%s\", s.c_str()); }\n"

    def source(work: Path) -> None:
        (work / "e.cc").write_text(text)

    # clang looks for its headers beside itself, by /proc/self/exe.
    _, kept = clang.both("-c", "-O2", "e.cc", setup=source)
    assert (kept / "e.o").stat().st_size > 500


@pytest.mark.parametrize("form", ["fixed", "thin", "pie"])
def test_ffmpeg_makes_the_same_file(pair: Callable[..., Pair], form: str) -> None:
    arguments = [
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        "testsrc=d=0.2:s=128x96",
        "-f",
        "lavfi",
        "-i",
        "sine=d=0.2",
        "-c:v",
        "libx264",
        "-threads",
        "1",
        "-c:a",
        "aac",
        "-bitexact",
        "-fflags",
        "+bitexact",
        "-flags:v",
        "+bitexact",
        "-flags:a",
        "+bitexact",
        "out.mkv",
    ]
    _, kept = pair("ffmpeg", form).both(*arguments)
    assert (kept / "out.mkv").stat().st_size > 2000


@pytest.mark.parametrize("form", ["fixed", "thin", "pie"])
def test_inkscape_draws_the_same_pixels(pair: Callable[..., Pair], form: str) -> None:
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="60" height="40"><rect width="50" height="30" rx="8" fill="teal"/>'
        '<text x="5" y="20" font-size="14">abc</text></svg>'
    )

    def drawing(work: Path) -> None:
        (work / "a.svg").write_text(svg)

    _, kept = pair("inkscape", form).both(
        "--export-type=png", "--export-filename=out.png", "a.svg", setup=drawing
    )
    assert (kept / "out.png").stat().st_size > 300


@pytest.mark.parametrize("form", ["fixed", "thin", "pie"])
def test_gdb_debugs(pair: Callable[..., Pair], form: str, cc: Callable[..., Path]) -> None:
    program = cc(
        "int twice(int x) { return 2 * x; } int main(void) { return twice(21) - 42; }",
        "debugged",
        "-g",
        "-O0",
    )
    session = ["break twice", "run", "bt", "print x", "finish", "continue"]
    words = [word for line in session for word in ("-ex", line)]
    out, _ = pair("gdb", form).both("-nx", "-batch", *words, str(program))
    assert b"$1 = 21" in out
    assert b"exited normally" in out


@pytest.mark.parametrize(
    ("name", "argv"),
    [
        ("openssl", ["dgst", "-sha256", "/etc/passwd"]),
        ("openssl", ["list", "-cipher-algorithms"]),
        ("curl", ["-s", "file:///etc/passwd"]),
        ("perl", ["-MPOSIX", "-MData::Dumper", "-e", "print floor(2.5), Dumper([1, {a => 2}]), sort { $a <=> $b } 3, 1"]),
        ("bash", ["-c", "trap 'echo bye' EXIT; f() { local a=(1 2); echo ${a[@]} $(id -u; getent passwd root); }; f | cat"]),
        ("sqlite3", [":memory:", "select sqlite_version(), json('[1,2]'), hex(zeroblob(4))"]),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)  # fmt: skip
@pytest.mark.parametrize("form", ["fixed", "thin", "pie"])
def test_other(pair: Callable[..., Pair], name: str, argv: Sequence[str], form: str) -> None:
    pair(name, form).both(*argv)


QT = r"""
    #include <QApplication>
    #include <QImageReader>
    #include <QPushButton>
    #include <QTimer>
    #include <cstdio>
    int main(int argc, char **argv) {
        QApplication app(argc, argv);
        QPushButton button("press");
        int pressed = 0;
        QObject::connect(&button, &QPushButton::clicked, [&] { pressed++; app.quit(); });
        button.resize(200, 80);
        button.show();
        QTimer::singleShot(10, &button, &QPushButton::click);
        int status = app.exec();
        button.grab().toImage().save("out.png");
        std::printf("%s %d %d\n", qPrintable(QGuiApplication::platformName()), status, pressed);
        for (const QByteArray &format : QImageReader::supportedImageFormats()) std::printf("%s ", format.constData());
        return 0;
    }
"""


@pytest.mark.parametrize("form", ["fixed", "thin", "pie", "with plugin"])
def test_qt_draws_the_same_pixels(form: str, tmp_path: Path) -> None:
    """Off screen; the platform and the image formats are plugins. "with plugin": the platform's is in the image."""
    plugins = "/usr/lib/x86_64-linux-gnu/qt5/plugins"
    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "Qt5Widgets"], capture_output=True, text=True, check=False
    ) if shutil.which("pkg-config") else None  # fmt: skip
    if flags is None or flags.returncode or not shutil.which("g++"):
        pytest.skip("Qt is not installed (qtbase5-dev)")
    (tmp_path / "program.cc").write_text(QT)
    program = tmp_path / "program"
    subprocess.run(
        ["g++", "-fPIC", "-o", program, tmp_path / "program.cc", *flags.stdout.split()], check=True
    )
    options: dict[str, dict[str, Any]] = {
        "fixed": {},
        "with plugin": {"plugins": (f"{plugins}/platforms/libqoffscreen.so",)},
    }
    image = freeze_to(program, tmp_path / "image", **options.get(form, {form: True}))
    out, kept = Pair(str(program), image, tmp_path).both()
    assert out.startswith(b"offscreen 0 1\n")
    assert (kept / "out.png").stat().st_size > 300
