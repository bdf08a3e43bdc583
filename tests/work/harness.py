"""Real pieces of work, done natively and under ``rtld run``, and compared: output, exit status, files produced.

A piece is one shell script in ``data/``, described by the comments at its top:

    # needs: git gcc             tools without which it is skipped
    # with: --lazy               options of ``rtld run``, one run for each such line; without any, one run without options
    # mask: [0-9]+ ms            a regular expression; what it matches in the outputs is not compared
    # ignore: *.log              files that are not compared
    # timeout: 60                seconds for one run under rtld, default 60
    # slow                       takes more than ten seconds, or wants a desktop program

What stands above the line ``#== run`` prepares (compiles, generates data): done once, natively, and given to each run as a
copy. Below, ``$RUN`` stands before each program under test: empty in the native run, otherwise ``rtld run OPTIONS --``;
``$RTLD`` is the command ``rtld`` in both. All runs happen at the same path, in the same small environment, with nothing on standard input.
"""

from __future__ import annotations

import fnmatch
import functools
import hashlib
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Mapping
from difflib import unified_diff
from pathlib import Path
from typing import NamedTuple

DATA = Path(__file__).with_name("data")
SOURCE = Path(__file__).resolve().parents[2] / "src"

#: With RTLD_REQUIRE=all these have to be there; other tools may be missing.
# fmt: off
REQUIRED = frozenset((
    "bash", "clang-14", "curl", "ffmpeg", "g++", "gcc", "gdb", "git", "inkscape", "openssl", "perl", "python3", "sqlite3",
    "xz", "zstd",
))
# fmt: on
_MARK = "RTLD_WORK_ID"
_DIVIDER = "#== run\n"
#: What the shell that runs the piece says about a program killed by a signal.
_OBITUARY = r"(?<=: line )[0-9]+: +[0-9]+(?= [A-Z])"


class Piece(NamedTuple):
    """One script of ``data/``."""

    name: str
    title: str
    needs: tuple[str, ...]
    options: tuple[str, ...]
    masks: tuple[str, ...]
    ignored: tuple[str, ...]
    timeout: float
    slow: bool
    prepare: str
    work: str

    def missing(self) -> list[str]:
        """Tools that this machine lacks."""
        return [tool for tool in self.needs if shutil.which(tool, path=_path()) is None]


def read_piece(path: Path) -> Piece:
    """A script with the directives in its first comment."""
    text = path.read_text()
    said: dict[str, list[str]] = {}
    lines = text.splitlines()
    for line in lines[1:]:
        if not line.startswith("# "):
            break
        key, _, value = line[1:].strip().partition(":")
        said.setdefault(key, []).append(value.strip())
    unknown = set(said) - {"needs", "with", "mask", "ignore", "timeout", "slow"}
    prepare, divider, work = text.partition(_DIVIDER)
    if unknown or not divider or not lines[0].startswith("# "):
        raise ValueError(f"{path}: {unknown or 'no title, or no #== run'}")
    return Piece(
        path.stem,
        lines[0][2:],
        tuple(" ".join(said.get("needs", [])).split()),
        tuple(said.get("with", [""])),
        tuple(said.get("mask", [])),
        tuple(said.get("ignore", [])),
        float(said.get("timeout", ["60"])[0]),
        "slow" in said,
        prepare,
        work,
    )


@functools.cache
def pieces() -> tuple[Piece, ...]:
    """All of them, by name."""
    return tuple(read_piece(path) for path in sorted(DATA.glob("*.sh")))


class Outcome(NamedTuple):
    """What a run left behind. ``files``: path -> what it is, with a digest of the contents."""

    status: int | str
    stdout: str
    stderr: str
    files: Mapping[str, str]
    seconds: float


def differences(native: Outcome, ours: Outcome, most: int = 40) -> list[str]:
    """Lines that say how two runs differ; none if they do not."""
    told = []
    if native.status != ours.status:
        told.append(f"exit status {native.status} natively, {ours.status} under rtld")
    for name, before, after in (
        ("stdout", native.stdout, ours.stdout),
        ("stderr", native.stderr, ours.stderr),
    ):
        if before != after:
            lines = unified_diff(
                before.splitlines(),
                after.splitlines(),
                f"{name} natively",
                f"{name} under rtld",
                lineterm="",
                n=1,
            )
            told += list(lines)[:most] or [f"{name}: the last line's end"]
    for path in sorted({*native.files, *ours.files}):
        before, after = native.files.get(path, "absent"), ours.files.get(path, "absent")
        if before != after:
            told.append(f"file {path}: {before} natively, {after} under rtld")
    return told


class Bench:
    """The place where a piece is done, again and again: ``scratch`` is an empty directory of ours."""

    def __init__(self, piece: Piece, scratch: Path) -> None:
        self.piece = piece
        self.scratch = scratch
        self.place = scratch / "work"
        self.prepared = scratch / "prepared"
        self.id = f"{os.getpid()}-{piece.name}"

    def prepare(self) -> None:
        """Do the part that all runs start from; RuntimeError with the words of the tool that failed."""
        for name in ("work", "home", "tmp"):
            (self.scratch / name).mkdir(mode=0o700, parents=True)
        self.place.chmod(0o755)
        done = subprocess.run(
            ["bash", "-eu", "-c", self.piece.prepare],
            cwd=self.place,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{self.piece.name}: {done.stdout.decode(errors='replace')}")
        self.place.rename(self.prepared)

    def native(self) -> Outcome:
        """The piece without us."""
        return self._run("")

    def under(self, options: str) -> Outcome:
        """The piece with each program under test run by rtld."""
        return self._run(f"{self._rtld()} run {options} --")

    def _rtld(self) -> str:
        """The command ``rtld``, with the sources of this tree and nothing in the environment."""
        launcher = self.scratch / "launch.py"
        launcher.write_text(
            f"import sys\nsys.path.insert(0, {os.fspath(SOURCE)!r})\n"
            "from rtld.__main__ import main\nsys.exit(main())\n"
        )
        return shlex.join([sys.executable, "-I", os.fspath(launcher)])

    def _environment(self) -> dict[str, str]:
        home = self.scratch / "home"
        return {
            "PATH": _path(),
            "HOME": os.fspath(home),
            "TMPDIR": os.fspath(self.scratch / "tmp"),
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "TERM": "xterm",
            "USER": "user",
            _MARK: self.id,
        }

    def _run(self, prefix: str) -> Outcome:
        for name in ("work", "home", "tmp"):
            shutil.rmtree(self.scratch / name, ignore_errors=True)
        for name in ("home", "tmp"):
            (self.scratch / name).mkdir(mode=0o700)
        # cp: hard links and pipes too
        subprocess.run(["cp", "-a", self.prepared, self.place], check=True)
        out, err = self.scratch / "stdout", self.scratch / "stderr"
        begin = time.monotonic()
        with open(out, "wb") as stdout, open(err, "wb") as stderr:
            process = subprocess.Popen(
                [
                    "bash",
                    "-c",
                    f'RUN="{prefix}"\nRTLD="{self._rtld()}"\n{self.piece.work}',
                    self.piece.name,
                ],
                cwd=self.place,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
            status: int | str
            try:
                status = process.wait(self.piece.timeout)
            except subprocess.TimeoutExpired:
                status = f"still running after {self.piece.timeout:g} s"
            finally:
                self._end(process)
        return Outcome(
            status,
            self._masked(out.read_bytes()),
            self._masked(err.read_bytes()),
            self._inventory(),
            time.monotonic() - begin,
        )

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """Daemons that a piece has started, and everything of one that hangs; known by a variable of their environment."""
        mark = f"{_MARK}={self.id}".encode()
        for name in os.listdir("/proc"):
            if not name.isdigit() or int(name) == os.getpid():
                continue
            try:
                with open(f"/proc/{name}/environ", "rb") as stream:
                    if mark in stream.read().split(b"\0"):
                        os.kill(int(name), signal.SIGKILL)
            except OSError:
                continue  # gone meanwhile, or not ours to look at
        process.wait()

    def _masked(self, output: bytes) -> str:
        text = output.decode(errors="backslashreplace")
        for mask in (_OBITUARY, *self.piece.masks):
            text = re.sub(mask, "<masked>", text)
        return text

    def _inventory(self) -> dict[str, str]:
        files = {}
        for root, directories, names in os.walk(self.place):
            for name in (*directories, *names):
                path = os.path.join(root, name)
                relative = os.path.relpath(path, self.place)
                if not any(fnmatch.fnmatch(relative, pattern) for pattern in self.piece.ignored):
                    files[relative] = _portrait(path)
        return files


def _portrait(path: str) -> str:
    """Kind, permissions, and contents as far as they matter."""
    status = os.lstat(path)
    mode = stat.filemode(status.st_mode)
    if stat.S_ISLNK(status.st_mode):
        return f"{mode} -> {os.readlink(path)}"
    if not stat.S_ISREG(status.st_mode):
        return mode
    with open(path, "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()[:12]
    return f"{mode} {status.st_size} bytes {digest}"


def _path() -> str:
    return "/usr/bin:/bin:/usr/sbin:/sbin"
