"""Usage, help, exit status, errors: what holds for every command."""

from __future__ import annotations

import errno
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import rtld as package
from cli.support import Rtld, environment
from rtld.cli import COMMANDS
from rtld.cli.reading import harmless

OTHERS = ("cache", "call", "epoch", "run", "sysroot", "textbook")
BAD_DESCRIPTOR = os.strerror(errno.EBADF)
READING = [name for name in COMMANDS if name not in OTHERS]


def test_overview(rtld: Rtld) -> None:
    for words in ([], ["--help"], ["-h"], ["help"]):
        result = rtld(*words)
        assert result.status == 0
        assert all(f"  {name} " in result.out for name in COMMANDS)


@pytest.mark.parametrize("words", [["--version"], ["-V"]])
def test_version(rtld: Rtld, words: list[str]) -> None:
    assert rtld(*words) == (0, f"rtld {package.__version__}\n", "")


@pytest.mark.parametrize("name", COMMANDS)
def test_help(rtld: Rtld, name: str) -> None:
    result = rtld(name, "--help")
    assert result == rtld(name, "-h") == rtld("help", name)
    assert result.status == 0
    assert result.out.startswith(f"usage: rtld {name} ")
    assert "\nexamples:\n  rtld " in result.out
    assert max(map(len, result.out.splitlines())) <= 120


@pytest.mark.parametrize("name", READING)
def test_examples_parse(rtld: Rtld, name: str) -> None:
    """Every example is a command line that is understood (its files need not be there)."""
    text = rtld(name, "--help").out.partition("\nexamples:\n")[2]
    module = __import__(f"rtld.cli.{name.replace('-', '_')}", fromlist=["COMMAND"])
    for line in text.splitlines():
        line = line.partition("|")[0]
        words = shlex.split(re.split(r"   *", line.strip())[0])
        assert words[:2] == ["rtld", name]
        assert module.COMMAND.parse(words[2:]) is not None


@pytest.mark.parametrize(
    "words",
    [
        ["nothing"],
        ["--nothing"],
        ["tree"],
        ["tree", "--nothing", "/bin/ls"],
        ["tree", "--max-depth"],
        ["tree", "--max-depth", "many", "/bin/ls"],
        ["tree", "--model", "plan9", "/bin/ls"],
        ["tree", "--model", "glibc", "--system-path", "/lib", "/bin/ls"],
        ["run", "--model", "bionic", "true"],
        ["tree", "--json=yes", "/bin/ls"],
        ["tree", "--env", "NOVALUE", "/bin/ls"],
        ["tree", "--sysroot", "/nonexistent", "/bin/ls"],
        ["link", "/bin/ls", "/bin/cat"],
        ["why", "/bin/ls"],
        ["call", "libc.so.6"],
        ["cache"],
        ["rebase", "--base", "0x60000001", "x.dll"],
        ["check", "/usr"],
        ["ldd", "-x", "/bin/ls"],
        ["run"],
        ["run", "--trace=nothing", "true"],
        ["run", "--lazy", "--now", "true"],
        ["run", "--seed", "many", "true"],
    ],
)
def test_usage(rtld: Rtld, words: list[str]) -> None:
    status, out, err = rtld(*words)
    assert (status, out) == (2, "")
    assert err.startswith("rtld: ")
    assert "--help' for more information." in err


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        (["why"], "FILE and NAME are"),
        (["why", "/bin/ls"], "NAME is"),
        (["call", "libc.so.6"], "DECLARATION is"),
        (["diff-models", "/bin/ls"], "MODEL and MODEL are"),
        (["epoch"], "one of build, status, end is"),
        (["textbook", "ar"], "create|list and LIBRARY are"),
    ],
)
def test_which_argument_is_missing(rtld: Rtld, words: list[str], missing: str) -> None:
    assert rtld(*words).err.startswith(f"rtld: {missing} missing\n")


@pytest.mark.parametrize("name", READING)
def test_unreadable_files(rtld: Rtld, tmp_path: Path, name: str) -> None:
    text = tmp_path / "text"
    text.write_text("no ELF file")
    cut = tmp_path / "cut"
    cut.write_bytes(Path("/bin/ls").read_bytes()[:80])
    extra = {
        "why": ["symbol"],
        "diff-models": ["glibc", "musl"],
        "rebase": ["--base", "0x10000"],
    }.get(name, [])
    for path in (tmp_path / "nothing", text, cut):
        status, out, err = rtld(name, path, *extra)
        assert (status, out) == (3, "")
        assert err.count("\n") == 1
        assert "Traceback" not in err


@pytest.mark.parametrize("name", ["tree", "ldd", "check"])
def test_one_bad_file_does_not_stop_the_others(rtld: Rtld, name: str) -> None:
    status, out, err = rtld(name, "/bin/cat", "/nonexistent", "/bin/ls")
    assert status == 3
    assert "/bin/cat" in out
    assert "/bin/ls" in out
    assert "/nonexistent: No such file or directory" in err


def test_dashes_end_options(rtld: Rtld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "--json").write_bytes(Path("/bin/ls").read_bytes())
    monkeypatch.chdir(tmp_path)
    assert rtld("tree", "--", "--json").out.startswith("--json\n")


def test_colours(rtld: Rtld, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\033[" not in rtld("tree", "/bin/ls").out
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\033[" in rtld("tree", "/bin/ls").out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\033[" not in rtld("tree", "/bin/ls").out


def test_broken_pipe(rtld_command: list[str]) -> None:
    for words in (["tree", "/usr/bin/gdb"], ["link", "--bindings", "/usr/bin/gdb"], ["--help"]):
        read, write = os.pipe()
        os.close(read)
        done = subprocess.run(
            [*rtld_command, *words], stdout=write, stderr=subprocess.PIPE, text=True, check=False
        )
        os.close(write)
        assert done.stderr == ""
        assert done.returncode in (0, 3)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "words",
    [
        ["--version"],
        ["--help"],
        ["tree", "--help"],
        ["tree", "/bin/ls"],
        ["tree", "/nonexistent", "/bin/ls"],
        ["ldd", "/bin/ls"],
        ["link", "--json", "/bin/ls"],
        ["run", "--trace=help"],
    ],
)
def test_output_that_cannot_be_written(
    rtld_command: list[str], words: list[str], unbuffered: str
) -> None:
    """One sentence about it and status 3, as cat(1) has one: no traceback, and not the FILE's fault."""
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    for output, reason in ((">/dev/full", "No space left on device"), (">&-", BAD_DESCRIPTOR)):
        done = subprocess.run(
            ["sh", "-c", f'exec "$@" {output}', "sh", *rtld_command, *words],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        lines = [line for line in done.stderr.splitlines() if "/nonexistent" not in line]
        assert (done.returncode, lines) == (3, [f"rtld: standard output: {reason}"])


def test_without_standard_error(rtld_command: list[str]) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" 2>&-', "sh", *rtld_command, "ldd", "/nonexistent", "/etc/passwd"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (3, "")


def test_interrupt(rtld_command: list[str], tmp_path: Path) -> None:
    """Ctrl-C while it reads: status 130 and no traceback."""
    code = (
        "import sys, os, signal; from rtld.cli import run; import rtld.process.link as link\n"
        "link.find = lambda *a, **k: os.kill(os.getpid(), signal.SIGINT) or __import__('time').sleep(9)\n"
        "sys.exit(run(['tree', '/bin/ls']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (128 + signal.SIGINT, "")


def test_start_is_cheap(rtld_command: list[str]) -> None:
    """CPU time of ``rtld --version``: at most 40 ms, three times a bare interpreter's on a busy machine."""

    def cpu(argv: list[str]) -> float:
        best = 9.0
        for _ in range(5):
            before = os.times()
            subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)
            after = os.times()
            best = min(
                best,
                after.children_user
                - before.children_user
                + after.children_system
                - before.children_system,
            )
        return best

    bare = cpu([sys.executable, "-c", "pass"])
    assert cpu([*rtld_command, "--version"]) <= max(0.040, 3 * bare)


@pytest.mark.parametrize(
    "words",
    [["--version"], ["--help"], ["tree", "/bin/ls"], ["ldd", "/bin/ls"], ["ldd", "-v", "/bin/ls"]],
)
def test_start_imports_nothing_heavy(words: list[str]) -> None:
    code = (
        f"import sys; from rtld.cli import run; run({words!r})\n"
        "heavy = {'numpy', 'typing', 'dataclasses', 'argparse', 'inspect', 'pathlib', 'json'} & set(sys.modules)\n"
        "sys.exit(' '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_names_do_not_talk_to_the_terminal() -> None:
    text = "a\tb\n\033[31mred\033[0m \033]0;title\a \x9b2J \udcff"
    assert harmless(text) == "a\tb\n\033[31mred\033[0m \\x1b]0;title\\x07 \\x9b2J \udcff"


@pytest.mark.parametrize(
    "words", [("run", "/bin/true"), ("tree", "/bin/true"), ("why", "/bin/true", "name")]
)
def test_wrong_value_of_a_common_option_points_to_the_command(
    rtld: Rtld, words: tuple[str, ...]
) -> None:
    status, _, err = rtld(words[0], "--env", "WORD", *words[1:])
    assert status == 2
    assert err.splitlines()[-1] == f"Try `rtld {words[0]} --help' for more information."
