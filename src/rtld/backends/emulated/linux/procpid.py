"""The files of one process below /proc (man 5 proc).

A guest's process is one of the host's: its state, times, parent and group are what the host says. What it is called and how
large it is the process itself knows; the others of its family read it from its card.
"""

from __future__ import annotations

import marshal
import os
import time

from rtld.backends.emulated.linux.mips import mask_out
from rtld.core.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rtld.backends.emulated.machine import Machine

    Text = Callable[["Look"], str]

_STATES = {
    "R": "running", "S": "sleeping", "D": "disk sleep", "T": "stopped", "t": "tracing stop", "Z": "zombie", "X": "dead",
    "I": "idle",
}  # fmt: skip
_LONGEST = 3000  # bytes of a command line that others see


class Look(NamedTuple):
    """A process, or one of its threads. ``host``: the fields of the host's stat behind the name; ``machine``: None for another
    process.
    """

    pid: int
    tid: int
    comm: str
    argv: bytes
    size: int
    threads: int
    state: str
    host: list[str]
    machine: Machine | None


def uptime() -> float:
    """Seconds since the host was started."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def card(machine: Machine) -> bytes:
    """What others of the family may know of this process."""
    kernel = machine.kernel
    words = b"".join(word + b"\0" for word in machine.process.argv)
    return marshal.dumps(
        (kernel.command(), words[:_LONGEST], machine.memory.mapped, len(kernel.tasks))
    )


def look(machine: Machine, pid: int, tid: int) -> Look | None:
    """A process of the family; None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            host = file.read().decode("ascii", "replace").rpartition(")")[2].split()
    except OSError:
        return None
    if pid != os.getpid() and not machine.process.relatives(pid):
        return None  # the number was somebody else's already
    if pid == os.getpid():
        data = card(machine)
        task = next((each for each in machine.kernel.tasks if each.tid == tid), machine.kernel.task)
        state = "S" if task.sleep is not None else "R"
        argv = b"".join(word + b"\0" for word in machine.process.argv)
    else:
        data = machine.process.card_of(pid)
        state, argv = host[0], b""
    comm, words, size, threads = marshal.loads(data) if data else (b"?", b"", 0, 1)  # noqa: S302 - it is our own
    if state in ("Z", "X"):
        words, size, argv = b"", 0, b""
    own = machine if pid == os.getpid() else None
    return Look(pid, tid, os.fsdecode(comm), argv or words, size, threads, state, host, own)


def _stat(p: Look) -> str:
    ppid, group, session, tty, foreground = p.host[1:6]
    user, system, waited_user, waited_system = p.host[11:15]
    begun, limit = p.host[19], (1 << 64) - 1
    numbers = (p.tid, f"({p.comm})", p.state, ppid, group, session, tty, foreground, 0, 0, 0, 0, 0, user, system, waited_user,
               waited_system, 20, 0, p.threads, 0, begun, p.size, p.size >> 12, limit, *[0] * 12, 17, *[0] * 14)  # fmt: skip
    return " ".join(map(str, numbers)) + "\n"


def _status(p: Look) -> str:
    lines = [
        ("Name", p.comm), ("State", f"{p.state} ({_STATES.get(p.state, 'sleeping')})"), ("Tgid", p.pid), ("Ngid", 0), ("Pid", p.tid),
        ("PPid", p.host[1]), ("TracerPid", 0), ("Uid", "\t".join(map(str, (*os.getresuid(), os.geteuid())))),
        ("Gid", "\t".join(map(str, (*os.getresgid(), os.getegid())))),
    ]  # fmt: skip
    if p.state != "Z":
        lines += [("VmSize", f"{p.size >> 10:8} kB"), ("VmRSS", f"{p.size >> 10:8} kB")]
    lines.append(("Threads", p.threads))
    if p.machine is not None:
        kernel = p.machine.kernel
        task = next((each for each in kernel.tasks if each.tid == p.tid), kernel.task)
        ignored = [number for number, action in kernel.actions.items() if action[0] == 1]
        caught = [number for number, action in kernel.actions.items() if action[0] > 1]
        masks = (
            ("SigPnd", [each.number for each in task.pending]),
            ("ShdPnd", [each.number for each in kernel.pending]),
            ("SigIgn", ignored),
            ("SigCgt", caught),
        )
        values = {name: sum({1 << number - 1 for number in numbers}) for name, numbers in masks}
        values["SigBlk"] = task.mask
        if kernel.is_mips:
            values = {name: mask_out(value) for name, value in values.items()}
        order = ("SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt")
        lines += [(name, f"{values[name]:016x}") for name in order]
    return "".join(f"{name}:\t{value}\n" for name, value in lines)


def _statm(p: Look) -> str:
    pages = p.size >> 12
    return f"{pages} {pages} 0 0 0 {pages} 0\n"


def _maps(p: Look) -> str:
    from rtld.backends.emulated.linux.proc import map_lines

    assert p.machine is not None
    return "".join(map_lines(p.machine.memory))


#: Name -> what stands in it, of every process.
TEXTS: dict[str, Callable[[Look], str]] = {
    "cgroup": lambda _: "0::/\n",
    "cmdline": lambda p: os.fsdecode(p.argv),
    "comm": lambda p: p.comm + "\n",
    "mountinfo": lambda _: "1 0 0:4 / / rw - rtld root rw\n2 1 0:5 / /proc rw - proc proc rw\n",
    "mounts": lambda _: "root / rtld rw 0 0\nproc /proc proc rw 0 0\n",
    "stat": _stat,
    "statm": _statm,
    "status": _status,
}
#: Of the process itself.
OWN: dict[str, Callable[[Look], str]] = {"maps": _maps}
