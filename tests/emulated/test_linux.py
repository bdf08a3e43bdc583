"""The emulated Linux: signals, timers, System V IPC, sockets. Judged by qemu-user; where that is incomplete, by the host."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import toolchain
from emulated_support import rtld

HERE = Path(__file__).parent
CPUS = ("aarch64", "arm", "i386", "riscv64", "s390x", "x86_64", "mipsel")
FLAGS = ("-w", "-O1", "-funwind-tables", "-static", "-pthread")

CC = Callable[..., Path]


def root_with(program: Path, tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "tmp/dir").mkdir(parents=True)
    (root / program.name).write_bytes(program.read_bytes())
    (root / program.name).chmod(0o755)
    return root


def check(
    name: str,
    arch: str,
    cc: CC,
    command: list[str],
    tmp_path: Path,
    *options: str,
    judge: str | None = None,
    env: dict[str, str] | None = None,
) -> None:
    """The program *name* prints what it prints under qemu-user, or on the CPU *judge*; *env*: of the judge alone."""
    program = cc(HERE / f"{name}.c", name, *FLAGS, "-lrt", "-lm", arch=arch)
    reference = (
        cc(HERE / f"{name}.c", name, *FLAGS, "-lrt", "-lm", arch=judge) if judge else program
    )
    beside = tmp_path / "beside"
    beside.mkdir()
    wanted = toolchain.run(toolchain.target(judge or arch), [str(reference), str(beside)], env)
    assert wanted.returncode == 0, wanted.stdout + wanted.stderr
    root = root_with(program, tmp_path)
    done = rtld(
        command, arch, Path(f"/{name}"), "/tmp/dir", options=[f"--sysroot={root}", *options]
    )
    assert (done.stdout, done.returncode) == (wanted.stdout, 0), done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize("arch", CPUS)
def test_handlers(arch: str, cc: CC, rtld_command: list[str], tmp_path: Path) -> None:
    """siginfo, ucontext read and changed, other stacks, calls made again, waiting for signals, unwinding."""
    check("handlers", arch, cc, rtld_command, tmp_path)


@pytest.mark.parametrize("arch", ["aarch64", "arm", "i386", "riscv64", "s390x", "x86_64"])
def test_floating_point_registers_of_handlers(
    arch: str, cc: CC, rtld_command: list[str], tmp_path: Path
) -> None:
    """What a handler sees and changes; a record that is none is the end. Without SVE, whose record there is none of here."""
    env = {"QEMU_CPU": "cortex-a57"} if arch == "aarch64" else None
    check("fpregs", arch, cc, rtld_command, tmp_path, env=env)


@pytest.mark.parametrize("arch", CPUS)
def test_waiting(arch: str, cc: CC, rtld_command: list[str], tmp_path: Path) -> None:
    """Timers of three kinds, eventfd, memfd, inotify, epoll. qemu-mipsel gives timers the wrong signal, and hangs."""
    judge = "x86_64" if arch == "mipsel" else None
    check("waiting", arch, cc, rtld_command, tmp_path, judge=judge)


@pytest.mark.parametrize("arch", CPUS)
def test_signalfd(arch: str, cc: CC, rtld_command: list[str], tmp_path: Path) -> None:
    """Signals read from descriptors, waited for in every way, in children, threads and after execve. The host is the judge:
    qemu-user takes masks of any size, and signals have other numbers on MIPS.
    """
    check("signalfd", arch, cc, rtld_command, tmp_path, judge="x86_64")


@pytest.mark.parametrize("arch", CPUS)
def test_pidfd(arch: str, cc: CC, rtld_command: list[str], tmp_path: Path) -> None:
    """Processes as descriptors: signals, ends, own descriptors, clone. The host is the judge: qemu-user has not all of it."""
    check("pidfd", arch, cc, rtld_command, tmp_path, judge="x86_64")


@pytest.mark.parametrize("arch", CPUS)
def test_proc(arch: str, cc: CC, rtld_command: list[str], tmp_path: Path) -> None:
    """/proc as ps reads it. The host is the judge: qemu-user shows the host's."""
    check("procs", arch, cc, rtld_command, tmp_path, judge="x86_64")


def test_the_hosts_processes_are_not_seen(cc: CC, rtld_command: list[str]) -> None:
    """Not in the list, not by their numbers; nor is a directory of /proc a way to the host's."""
    program = cc(HERE / "procs.c", "procs", *FLAGS, arch="s390x")
    done = rtld(rtld_command, "s390x", program, "x", "alone")
    assert done.stdout.splitlines()[1] == "processes 4", done.stderr
    text = (
        "#include <dirent.h>\n#include <fcntl.h>\n#include <stdio.h>\n#include <unistd.h>\nint main(int c, char **v) {\n"
        'char path[99]; int found = 0, fd = open("/proc", O_RDONLY | O_DIRECTORY); const char *names[] = {"%s", "%s/stat", "%s/fd",\n'
        '"%s/root", "%s/cwd", "%s/exe", "self/../%s/cmdline", "self/task/%s", "self/root/proc/%s/stat", "../proc/%s/environ"};\n'
        "for (int i = 0; i < 10; i++) for (int k = 1; k < c; k++) { snprintf(path, 99, names[i], v[k]);\n"
        "found += !faccessat(fd, path, F_OK, 0); found += openat(fd, path, O_RDONLY) >= 0; fchdir(fd); found += !chdir(path); }\n"
        'found += openat(fd, "new", O_CREAT | O_WRONLY, 0600) >= 0; printf("%d\\n", found); }'
    )
    program = cc(text, "around", *FLAGS, arch="aarch64")
    with subprocess.Popen(["sleep", "60"]) as other:
        words = (str(other.pid), str(os.getpid()), "1")
        assert rtld(rtld_command, "aarch64", program, *words, options=[]).stdout == "0\n"
        other.kill()


def test_the_hosts_processes_have_no_descriptors(cc: CC, rtld_command: list[str]) -> None:
    program = cc(HERE / "pidfd.c", "pidfd", *FLAGS, arch="riscv64")
    with subprocess.Popen(["sleep", "60"]) as other:
        done = rtld(rtld_command, "riscv64", program, "x", str(other.pid), options=[])
        assert done.stdout.splitlines()[-1] == "host 1 1", done.stderr
        assert other.poll() is None
        other.kill()


def test_a_number_that_the_host_has_given_away_is_nobodys() -> None:
    """Of a member that nobody has waited for here: an orphan's, which the host's init has."""
    from rtld.backends.emulated.family import Family

    family = Family()
    with subprocess.Popen(["sleep", "60"]) as other:
        family.remember(other.pid)
        assert family.chosen(other.pid) == [other.pid]
        slot = family._slots.find(other.pid.to_bytes(4, "little"))
        begun = int.from_bytes(family._slots[slot + 4 : slot + 8], "little")
        family._slots[slot + 4 : slot + 8] = (begun - 1).to_bytes(4, "little")
        for refused in (family.handle, lambda pid: family.send(pid, signal.SIGKILL)):
            with pytest.raises(ProcessLookupError):
                refused(other.pid)
        assert family.chosen(other.pid) == []
        assert family.chosen(-os.getpgrp()) == family.chosen(os.getpid()) == [os.getpid()]
        assert other.poll() is None
        other.kill()


def test_signals_of_the_host_are_as_they_were(cc: CC) -> None:
    """After a run in this process."""
    text = (
        "#include <signal.h>\n#include <stdio.h>\nstatic void on(int n) { }\nint main(void) { sigset_t all; sigfillset(&all);\n"
        "signal(SIGUSR1, on); signal(SIGHUP, SIG_IGN); return sigprocmask(SIG_BLOCK, &all, 0); }"
    )
    program = cc(text, "blocks", "-static", "-w", arch="aarch64")
    code = (
        "import rtld, signal, sys\n"
        "def on(*_): pass\nsignal.signal(signal.SIGTERM, on)\n"
        "before = [signal.getsignal(n) for n in range(1, 65)]\nstatus = rtld.run(sys.argv[1], ['blocks'])\n"
        "print(status, before == [signal.getsignal(n) for n in range(1, 65)])"
    )
    words = [sys.executable, "-c", code, str(program)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.stdout == "0 True\n", done.stderr


@pytest.mark.parametrize("arch", ["aarch64", "arm", "i386", "s390x"])
def test_shared(arch: str, cc: CC, rtld_command: list[str], tmp_path: Path) -> None:
    """Semaphores and mutexes of several processes, other masks while waiting, times that are left. The host is the judge:
    qemu-user has not all of it.
    """
    check("shared", arch, cc, rtld_command, tmp_path, judge="x86_64")


def test_what_comes_from_outside_keeps_its_rights(
    cc: CC, rtld_command: list[str], tmp_path: Path
) -> None:
    """Standard descriptors, devices, files of a bind that is read only: neither mode nor owner nor times, though they are open."""
    text = (
        "#include <fcntl.h>\n#include <stdio.h>\n#include <sys/stat.h>\n#include <unistd.h>\n"
        'int main(int c, char **v) { int fds[] = {1, open("/dev/null", 2), open(v[1], 0), dup(open(v[1], 0))};\n'
        "for (int i = 0; i < 4; i++)\n"
        'printf("%d %d %d %d\\n", fds[i] < 0, fchmod(fds[i], 0123), fchown(fds[i], 1, 1), futimens(fds[i], 0)); }'
    )
    program = cc(text, "outside", "-static", "-w", arch="aarch64")
    given = tmp_path / "given"
    given.write_text("x")
    given.chmod(0o600)
    before = given.stat()
    options = [f"--bind={tmp_path}:{tmp_path}:ro"]
    done = rtld(rtld_command, "aarch64", program, str(given), options=options)
    assert done.stdout == "0 -1 -1 -1\n" * 4, done.stderr
    assert given.stat() == before


def test_a_daemon_lets_go_of_what_it_closes(cc: CC, rtld_command: list[str]) -> None:
    """Whoever reads what the program writes is at the end when the program is, though a child of it goes on."""
    text = (
        "#include <stdio.h>\n#include <fcntl.h>\n#include <unistd.h>\nint main(void) { int child = fork();\n"
        'if (!child) { close(0); dup2(open("/dev/null", O_RDWR), 1); close(2); sleep(60); return 0; }\n'
        'printf("%d\\n", child); }'
    )
    program = cc(text, "daemon", "-static", "-w", arch="aarch64")
    begin = time.monotonic()
    done = rtld(rtld_command, "aarch64", program, options=[])
    os.kill(int(done.stdout), signal.SIGKILL)  # a process of the host's of that number
    assert time.monotonic() - begin < 50


@pytest.mark.parametrize("arch", CPUS)
def test_ipc(arch: str, cc: CC, rtld_command: list[str], tmp_path: Path) -> None:
    """qemu-user gives structures in wrong shapes on s390x: the host is the judge."""
    check("ipc", arch, cc, rtld_command, tmp_path, judge="x86_64")


def test_ipc_is_the_machines_own(cc: CC, rtld_command: list[str], tmp_path: Path) -> None:
    """A key means nothing to the host, nor to another run."""
    text = (
        "#include <stdio.h>\n#include <sys/ipc.h>\n#include <sys/shm.h>\n#include <sys/sem.h>\n#include <sys/msg.h>\n"
        "int main(void) { int a = shmget(0x5ec0de, 100, IPC_CREAT | IPC_EXCL | 0600);\n"
        "int b = semget(0x5ec0de, 1, IPC_CREAT | IPC_EXCL | 0600), c = msgget(0x5ec0de, IPC_CREAT | IPC_EXCL | 0600);\n"
        'printf("%d %d %d\\n", a >= 0, b >= 0, c >= 0); }'
    )
    program = cc(text, "keys", "-static", "-w", arch="aarch64")
    for _ in range(2):
        assert rtld(rtld_command, "aarch64", program, options=[]).stdout == "1 1 1\n"
    seen = subprocess.run(["ipcs", "-a"], capture_output=True, text=True, check=False).stdout
    assert "5ec0de" not in seen


@pytest.mark.parametrize("arch", CPUS)
def test_network(arch: str, cc: CC, rtld_command: list[str], tmp_path: Path) -> None:
    """Pairs, unix sockets, loopback, descriptors in messages."""
    check("network", arch, cc, rtld_command, tmp_path, "--net")


@pytest.mark.parametrize("arch", CPUS)
def test_messages(arch: str, cc: CC, rtld_command: list[str], tmp_path: Path) -> None:
    """Several messages by one call, which waits in their midst and is interrupted there. The host is the judge: numbers of
    errors are otherwise on MIPS, and qemu-user gives up at a part that cannot be read.
    """
    check("messages", arch, cc, rtld_command, tmp_path, "--net", judge="x86_64")


@pytest.mark.parametrize("arch", ["aarch64", "s390x"])
def test_the_hosts_sockets_are_out_of_reach(
    arch: str, cc: CC, rtld_command: list[str], tmp_path: Path
) -> None:
    """With --net, too: paths, links, abstract names, other computers; and what else new calls could lead to."""
    program = cc(HERE / "escape_net.c", "escape_net", "-w", "-static", arch=arch)
    root = root_with(program, tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    with socket.socket(socket.AF_UNIX) as named, socket.socket(socket.AF_UNIX) as hidden:
        named.bind(str(outside / "s"))
        hidden.bind(b"\0rtld-test-" + str(tmp_path).encode()[-40:])
        for end in (named, hidden):
            end.listen(10)
        words = (str(outside / "s"), "rtld-test-" + str(tmp_path)[-40:])
        done = rtld(
            rtld_command, arch, Path("/escape_net"), *words, options=["--net", f"--sysroot={root}"]
        )
        plain = toolchain.run(toolchain.target(arch), [str(program), *words])
    assert done.stdout.splitlines() == [
        "path 0", "abstract 0", "link 0", "dots 0", "inotify 0", "bound inside 1", "outside 0 0", "any 0",
        "raw 0 packet 0 netlink 0", "ioctl 0", "memfd 0", "segment 1 beyond 0", "another's 0",
    ], done.stderr  # fmt: skip
    assert plain.stdout.startswith("path 1\nabstract 1\n")  # these are ways
    Path("/tmp/rtld-escaped-socket").unlink(missing_ok=True)  # qemu-user's


def test_sockets_are_off(cc: CC, rtld_command: list[str]) -> None:
    text = (
        "#include <stdio.h>\n#include <errno.h>\n#include <sys/socket.h>\nint main(void) { int p[2];\n"
        'printf("%d %d %d\\n", socket(AF_INET, SOCK_STREAM, 0), socket(AF_UNIX, SOCK_STREAM, 0), socketpair(AF_UNIX, SOCK_STREAM, 0, p)); }'
    )
    program = cc(text, "sockets", "-static", "-w", arch="arm")
    assert rtld(rtld_command, "arm", program, options=[]).stdout == "-1 -1 0\n"


def test_an_unknown_call_is_named(cc: CC, rtld_command: list[str]) -> None:
    text = "#include <unistd.h>\n#include <sys/syscall.h>\nint main(void) { return syscall(SYS_bpf, 0, 0, 0) != -1; }"
    program = cc(text, "unknown", "-static", "-w", arch="riscv64")
    done = rtld(rtld_command, "riscv64", program, options=[])
    assert done.returncode == 0
    assert "system calls answered with ENOSYS: bpf (1)" in done.stderr
