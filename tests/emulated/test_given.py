"""What a guest was given to read it cannot change; nor can it take the pages that lead to Python; nothing waits for ever."""

from __future__ import annotations

import os
import pty
import subprocess
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from emulated_support import rtld

HERE = Path(__file__).parent
CC = Callable[..., Path]
SAID = """opened 1
mode -1 -1 -1 -1
owner -1 -1
time -1 -1
again -1 -1 -1
mapped 0
own 0 0 0
set-ID 0
traps -1 -1 -1 1 1
two rights 1
pipe 7
"""


@pytest.mark.parametrize("arch", ["aarch64", "i386"])
def test_what_was_given(arch: str, cc: CC, rtld_command: list[str], tmp_path: Path) -> None:
    program = cc(HERE / "given.c", "given", "-w", "-static", arch=arch)
    root, given = tmp_path / "root", tmp_path / "given"
    (root / "tmp").mkdir(parents=True)
    given.mkdir()
    (given / "file").write_text("file")
    (given / "file").chmod(0o600)
    os.utime(given / "file", (7, 7))
    before = [(given / "file").stat(), given.stat()]
    options = [
        f"--sysroot={root}",
        f"--bind={given}:/given:ro",
        f"--bind={program.parent}:/bin:ro",
        "--timeout=20",
    ]
    done = rtld(rtld_command, arch, Path("/bin/given"), "/given/file", "/given", options=options)
    assert (done.stdout, done.returncode) == (SAID, 0), done.stderr
    after = [(given / "file").stat(), given.stat()]
    for old, new in zip(before, after, strict=True):
        assert (old.st_mode, old.st_uid, old.st_mtime) == (new.st_mode, new.st_uid, new.st_mtime)


def test_a_pipe_that_nobody_writes_to(cc: CC, rtld_command: list[str], tmp_path: Path) -> None:
    """Opening it waits in the guest, not in the host's kernel: a limit of time holds."""
    program = cc(HERE / "given.c", "given", "-w", "-static", arch="i386")
    (tmp_path / "tmp").mkdir()
    options = [f"--sysroot={tmp_path}", f"--bind={program.parent}:/bin:ro", "--timeout=2"]
    done = rtld(rtld_command, "i386", Path("/bin/given"), "/tmp", "/tmp", "wait", options=options)
    assert "2 seconds are over" in done.stderr


CLOSED = """
#include <fcntl.h>
#include <unistd.h>
int main(void)
{
    int closed = 0, fd;
    for (fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            closed |= 1 << fd;
    return closed * 10 + open("/dev/null", O_RDWR);
}
"""


@pytest.mark.parametrize("redirection", ["", ">&-", "2>&-", "<&- 2>&-", "<&- >&- 2>&-"])
def test_standard_descriptors_that_are_closed(
    redirection: str, cc: CC, rtld_command: list[str], tmp_path: Path
) -> None:
    """They are so for the program, natively and emulated, and never a file of ours."""

    def status(*argv: str | Path) -> int:
        command = ["sh", "-c", f'exec "$@" {redirection}', "sh", *argv]
        return subprocess.run(command, check=False, timeout=60).returncode

    native = cc(CLOSED, "closed")
    emulated = cc(CLOSED, "closed", "-static", arch="aarch64")
    expected = status(native)
    assert status(*rtld_command, "run", native) == expected
    assert status(*rtld_command, "run", "--interp", native) == expected
    trace = f"--trace-output={tmp_path / 'trace'}"
    assert status(*rtld_command, "run", "--trace=exec", trace, emulated) == expected


RAW = """
#include <termios.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    struct termios modes;
    tcgetattr(0, &modes);
    cfmakeraw(&modes);
    tcsetattr(0, TCSANOW, &modes);
    return argc > 1 ? *(volatile int *)16 : 0;
}
"""


@pytest.mark.parametrize("faults", [True, False])
def test_the_terminal(faults: bool, cc: CC, rtld_command: list[str], tmp_path: Path) -> None:
    """It is as before when the program could not put it right; one that ends well has meant what it did."""
    program = cc(RAW, "raw", "-w", "-static", arch="i386")
    words = [*rtld_command, "run", f"--sysroot={tmp_path}", str(program), *["x"] * faults]
    other, terminal = pty.openpty()
    before = termios.tcgetattr(terminal)
    done = subprocess.run(words, stdin=terminal, capture_output=True, timeout=60, check=False)
    assert done.returncode == (-11 if faults else 0), done.stderr
    assert (termios.tcgetattr(terminal) == before) == faults
    os.close(other)
    os.close(terminal)
