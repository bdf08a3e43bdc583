"""``rtld run --gdb``: gdb itself is the judge of what is told to it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import toolchain
from rtld.process.gdb.packets import Line, LineBroken, checksum, escape, unescape
from rtld.process.gdb.registers import DESCRIPTIONS

HERE = Path(__file__).parent
CPUS = ("aarch64", "arm", "i386", "riscv64", "s390x", "x86_64")
GDB = "gdb-multiarch"

CC = Callable[..., Path]


@pytest.fixture(autouse=True)
def _gdb() -> None:
    if not shutil.which(GDB):
        if os.environ.get("RTLD_REQUIRE") == "all":
            pytest.fail(f"{GDB} is not installed")
        pytest.skip(f"{GDB} is not installed")


class Debugged:
    """A program under ``rtld run --gdb``, waiting."""

    def __init__(self, rtld_command: list[str], arch: str, program: Path, *words: str) -> None:
        self.program = program
        want = toolchain.target(arch)
        self.root = f"/usr/{want.triplet}" if want.interp else "/"
        options = [word for word in words if word.startswith("--")]
        arguments = [word for word in words if not word.startswith("--")]
        self.process = subprocess.Popen(
            [*rtld_command, "run", *options, "--gdb", "0", f"--sysroot={self.root}",
             f"--bind={self.root}:{self.root}:ro", f"--bind={program.parent}:{program.parent}:ro",
             "--", str(program), *arguments],
            env={**os.environ, "LC_ALL": "C"}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        weakref.finalize(self, self.process.kill)  # whatever the test comes to
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        found = re.fullmatch(r"rtld: in gdb: target remote (127\.0\.0\.1:(\d+))\n", line)
        assert found, line + self.process.stderr.read()
        self.address, self.port = found[1], int(found[2])

    def gdb(self, *commands: str) -> str:
        """What gdb prints for these."""
        first = [
            "set pagination off", "set confirm off", f"set sysroot {self.root}", f"set solib-search-path {self.root}/lib",
            f"file {self.program}",
            f"target remote {self.address}",
        ]  # fmt: skip
        words = [word for command in (*first, *commands) for word in ("-ex", command)]
        done = subprocess.run(
            [GDB, "-nx", "-q", "-batch", *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False,
        )  # fmt: skip
        return done.stdout

    def end(self) -> tuple[str, int]:
        """What it wrote, its exit status."""
        out, _ = self.process.communicate(timeout=60)
        return out, self.process.returncode


def built(cc: CC, arch: str) -> Path:
    return cc(HERE / "debugged.c", "debugged", "-g", "-O0", "-pthread", arch=arch)


@pytest.mark.parametrize("arch", CPUS)
@pytest.mark.parametrize("mode", ["ours", "interp"])
def test_session(mode: str, arch: str, cc: CC, rtld_command: list[str]) -> None:
    """Breakpoints in two threads, frames, registers, steps, memory, libraries, the end."""
    program = built(cc, arch)
    options = ["--interp"] if mode == "interp" else []
    debugged = Debugged(rtld_command, arch, program, *options)
    out = debugged.gdb(
        "break add", "continue", "bt", "print $sp != 0", "finish", "info sharedlibrary",
        "continue", "info threads", "print here", "set var total = 40", "print $pc == &add || 1", "stepi", "continue",
    )  # fmt: skip
    assert re.search(r"#0 +add \(a=1, b=2\) at .*source\.c:10", out), out
    assert re.search(r"#1 +0x[0-9a-f]+ in main \(argc=1, argv=0x[0-9a-f]+\)", out), out
    assert "Value returned is" in out, out
    assert re.search(r"0x[0-9a-f]+ +0x[0-9a-f]+ +Yes.*/libc\.so\.6", out), out
    assert "add (a=5, b=3)" in out, out
    assert re.search(r"\* 2 +Thread", out), out
    assert "{x = 3, y = 4}" in out, out
    assert "exited with code 055" in out, out
    assert debugged.end() == ("3 45\n", 45)


@pytest.mark.parametrize("arch", ["arm", "s390x"])
def test_watch(arch: str, cc: CC, rtld_command: list[str]) -> None:
    """A variable, in one thread and in another."""
    debugged = Debugged(rtld_command, arch, built(cc, arch))
    out = debugged.gdb(
        "break main",
        "continue",
        "watch total",
        "delete 1",
        "continue",
        "continue",
        "delete",
        "continue",
    )
    changes = re.findall(r"Old value = (\d+)\nNew value = (\d+)", out)
    assert changes == [("0", "1"), ("1", "6")], out
    assert re.search(r"Thread 2 hit Hardware watchpoint", out), out
    assert debugged.end() == ("3 6\n", 6)


@pytest.mark.parametrize("arch", CPUS)
def test_fault(arch: str, cc: CC, rtld_command: list[str]) -> None:
    debugged = Debugged(rtld_command, arch, built(cc, arch), "fault")
    out = debugged.gdb("continue", "bt", "continue")
    assert "Program received signal SIGSEGV" in out, out
    assert re.search(r"#0 .*main \(argc=2", out), out
    assert "Program terminated with signal SIGSEGV" in out, out
    assert debugged.end() == ("", -signal.SIGSEGV)


def test_execve(cc: CC, rtld_command: list[str]) -> None:
    program = cc(HERE / "debugged.c", "debugged", "-g", "-pthread", "-static", arch="aarch64")
    debugged = Debugged(rtld_command, "aarch64", program, "exec")
    out = debugged.gdb(
        "set sysroot /",
        "catch exec",
        "continue",
        "break add",
        "continue",
        "bt",
        "delete",
        "continue",
    )
    assert "is executing new program" in out, out
    assert re.search(r"#1 +0x[0-9a-f]+ in main \(argc=1", out), out
    assert debugged.end() == ("3 6\n", 6)


def test_kill_and_detach(cc: CC, rtld_command: list[str]) -> None:
    program = built(cc, "riscv64")
    debugged = Debugged(rtld_command, "riscv64", program)
    debugged.gdb("break main", "continue", "kill")
    assert debugged.end() == ("", -signal.SIGKILL)
    debugged = Debugged(rtld_command, "riscv64", program)
    debugged.gdb("break main", "continue", "detach")
    assert debugged.end() == ("3 6\n", 6)


def test_interrupt(cc: CC, rtld_command: list[str]) -> None:
    """Ctrl-C in gdb stops a program that goes on for ever; in gdb's own words, for -batch has no Ctrl-C."""
    debugged = Debugged(rtld_command, "s390x", built(cc, "s390x"), "loop", "--interp")
    with socket.create_connection(("127.0.0.1", debugged.port)) as connection:
        connection.sendall(b"+$vCont;c#a8")
        time.sleep(1)
        connection.sendall(b"\x03")
        connection.settimeout(20)
        got = b""
        while b"#" not in got:
            got += connection.recv(1000)
        assert got.startswith(b"+$T02thread:1;#"), got
        connection.sendall(b"+$k#6b")
        assert debugged.end() == ("", -signal.SIGKILL)


@pytest.mark.parametrize("cpu", sorted(DESCRIPTIONS))
def test_descriptions(cpu: str, tmp_path: Path) -> None:
    """gdb takes them, and its numbers of bytes for all registers are ours."""
    description = DESCRIPTIONS[cpu]
    path = tmp_path / "target.xml"
    path.write_text(description.xml())
    done = subprocess.run(
        [GDB, "-nx", "-q", "-batch", "-ex", f"set tdesc filename {path}", "-ex", "maint print remote-registers"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    shown = [row.split() for row in done.stdout.splitlines()]
    names = {cells[0]: cells for cells in shown if cells}
    place = 0
    for number, register in enumerate(description.registers):
        # Name, Nr, Rel, Offset, Size, Type, remote number, place in the g packet
        cells = names[register.name]
        assert cells[4] == str(register.bits // 8), cells
        assert cells[-2:] == [str(number), str(place)], cells
        place += register.bits // 8


@given(st.binary(max_size=200))
def test_escape(data: bytes) -> None:
    assert unescape(escape(data)) == data
    assert not set(escape(data)) & set(b"#$*")


@given(st.lists(st.binary(max_size=50), max_size=8))
def test_hostile_line(chunks: list[bytes]) -> None:
    """Whatever comes in, it is a packet, or the line is broken."""
    here, there = socket.socketpair()
    with here, there:
        line = Line(here)
        for chunk in chunks:
            there.sendall(chunk)
        payload = b"qC"
        there.sendall(b"$%b#%b" % (payload, checksum(payload)))
        there.shutdown(socket.SHUT_WR)
        try:
            while line.receive() is not None:
                pass
        except LineBroken:
            pass
