"""Signals and job control: a terminal user cannot tell that rtld is in between."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest

from rtld.process import kernel
from rtld.process.live import foreground

from .conftest import driver_command, driver_env


def wait_for(path: str, text: str, seconds: float = 10) -> None:
    """Until the file contains the text."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if os.path.exists(path):
            with open(path) as file:
                if text in file.read():
                    return
        time.sleep(0.01)
    raise AssertionError(f"no {text!r} in {path}")


SHELL = (
    'for s in HUP INT QUIT TERM USR1 USR2; do trap "echo $s >>{log}; [ $s != TERM ] || exit 7" $s; done;'
    "echo ready >>{log}; while :; do sleep 0.02; done"
)


def _hangup_counts() -> None:
    """Under nohup a shell could not trap it."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.mark.parametrize("how", ["self", "over"])
def test_signals_for_us_are_passed_on(how: str, tmp_path: os.PathLike[str]) -> None:
    log = os.path.join(tmp_path, "log")
    command = driver_command(["/bin/bash", "-c", SHELL.format(log=log)], how)
    with subprocess.Popen(
        command,
        env=driver_env(),
        start_new_session=True,
        preexec_fn=_hangup_counts,  # noqa: PLW1509
    ) as ours:
        try:
            wait_for(log, "ready")
            for name in ("HUP", "USR1", "USR2", "INT", "QUIT", "TERM"):
                ours.send_signal(signal.Signals[f"SIG{name}"])
                wait_for(log, name)
            assert ours.wait(10) == 7
        finally:
            ours.kill()
    with open(log) as file:
        assert file.read().split() == ["ready", "HUP", "USR1", "USR2", "INT", "QUIT", "TERM"]


def test_death_by_a_signal_is_ours(tmp_path: os.PathLike[str]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGALRM, signal.SIGRTMIN):
        command = driver_command(["/bin/sh", "-c", f"kill -{int(number)} $$"])
        done = subprocess.run(command, env=driver_env(), check=False, cwd=tmp_path)
        assert done.returncode == -number
    assert not [name for name in os.listdir(tmp_path) if "core" in name]


@pytest.mark.parametrize("how", ["self", "over"])
def test_the_program_does_not_linger(how: str, tmp_path: os.PathLike[str]) -> None:
    log = os.path.join(tmp_path, "log")
    command = driver_command(["/bin/sh", "-c", f"echo $$ . >{log}; exec sleep 60"], how)
    with subprocess.Popen(command, env=driver_env()) as ours:
        wait_for(log, ".")
        with open(log) as file:
            pid = int(file.read().split()[0])
        ours.kill()
    for _ in range(300):
        if foreground.state(pid) in "ZX":
            return
        time.sleep(0.01)
    raise AssertionError("the program is still there")


def test_in_another_thread() -> None:
    statuses: list[int] = []

    def work() -> None:
        statuses.append(kernel.run_program("/bin/sh", ["sh", "-c", "exit 3"]))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert os.waitstatus_to_exitcode(kernel.run_program("/bin/true")) == 0  # not alone
    for thread in threads:
        thread.join()
    assert statuses == [3 << 8] * 4


def test_signals_are_as_before() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    handlers = {n: signal.getsignal(n) for n in signal.valid_signals()}
    kernel.run_program("/bin/true")
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
    assert {n: signal.getsignal(n) for n in signal.valid_signals()} == handlers


def test_descendants() -> None:
    assert foreground.is_descendant(os.getpid(), os.getpid())
    assert foreground.is_descendant(os.getpid(), os.getppid())
    assert not foreground.is_descendant(os.getppid(), os.getpid())
    assert not foreground.is_descendant(0, os.getpid())
    assert foreground.state(os.getpid()) == "R"
    assert foreground.state(1 << 29) == "X"


class Terminal:
    """An interactive bash on a terminal of its own."""

    def __init__(self) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            for name, value in driver_env().items():
                os.environ[name] = value
            os.environ["PS1"] = "prompt> "
            os.execv("/bin/bash", ["bash", "--norc", "--noediting", "-i"])
        self.text = ""
        self.expect("prompt> ")

    def send(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def expect(self, word: str, seconds: float = 15) -> str:
        """Read until *word* has come; what came before it."""
        end = time.monotonic() + seconds
        while word not in self.text:
            ready, _, _ = select.select([self.fd], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise AssertionError(f"no {word!r} in {self.text!r}")
            self.text += os.read(self.fd, 4096).decode()
        before, _, self.text = self.text.partition(word)
        return before

    def close(self) -> None:
        os.close(self.fd)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    one = Terminal()
    yield one
    one.close()


def quoted(command: list[str]) -> str:
    """A command line for the shell, in a file of its own, so that its echo is short."""
    import shlex
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".sh", delete=False) as file:
        file.write("exec " + shlex.join(command) + "\n")
    return f". {file.name}"


@pytest.mark.parametrize("how", ["self", "over"])
def test_keys(how: str, terminal: Terminal) -> None:
    def start(*argv: str) -> None:
        terminal.send(f"({quoted(driver_command(list(argv), how))})\n")

    start("/bin/bash", "-c", "echo rea''dy; sleep 60")
    terminal.expect("ready")
    terminal.send("\x03")  # Ctrl-C
    terminal.expect("prompt> ")
    terminal.send("echo status $?\n")
    terminal.expect("status 130")

    start("/bin/cat")
    terminal.send("ab\n")
    terminal.expect("ab\r\n")  # the echo
    terminal.expect("ab\r\n")
    terminal.send("\x1c")  # Ctrl-\
    terminal.expect("Quit")

    start("/bin/bash", "-c", "echo rea''dy; read x; echo got $x")
    terminal.expect("ready")
    terminal.send("\x1a")  # Ctrl-Z
    terminal.expect("Stopped")
    terminal.expect("prompt> ")
    terminal.send("fg\n")
    time.sleep(0.2)
    terminal.send("hello\n")
    terminal.expect("got hello")

    start("/bin/bash", "-c", "kill -STOP $$; echo back''again")
    terminal.expect("Stopped")
    terminal.send("fg\n")
    terminal.expect("backagain")

    # A program with job control of its own gets the terminal, and gives it back.
    start("/bin/bash", "--norc", "--noediting", "-i")
    terminal.send("sleep 60\n")
    time.sleep(0.5)
    terminal.send("\x1a")
    terminal.expect("Stopped")
    terminal.send("fg\n")
    time.sleep(0.3)
    terminal.send("\x03")
    time.sleep(0.3)
    terminal.send("exit 5\n")
    terminal.expect("prompt> ")
    terminal.send("echo status $?\n")
    terminal.expect("status 5")
