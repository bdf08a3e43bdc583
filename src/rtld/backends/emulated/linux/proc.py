"""The few names below /proc and /dev that programs need. They are made here, from what the guest itself is."""

from __future__ import annotations

import errno
import os
import stat
import time

from rtld.backends.emulated.linux.calls import failed
from rtld.backends.emulated.memory import EXECUTE, READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtld.backends.emulated.linux.files import Files
    from rtld.backends.emulated.memory import Memory

#: Devices that are the host's own: they hold nothing.
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")
_STREAMS = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}


def map_lines(memory: Memory) -> Iterator[str]:
    """The memory in the words of /proc/PID/maps."""
    for start, end, rights in memory.regions:
        letters = "".join(
            letter if rights & bit else "-"
            for letter, bit in (("r", READ), ("w", WRITE), ("x", EXECUTE))
        )
        what, offset = memory.place(start) or ("", 0)
        offset = offset if what.startswith("/") else 0
        line = f"{start:08x}-{end:08x} {letters}p {offset:08x} 00:00 0 {what}"
        yield line.rstrip() + "\n"


class Proc:
    """Made-up files, and the names of descriptors."""

    def __init__(self, files: Files) -> None:
        self.files = files

    def _self(self, path: str) -> str | None:
        """What follows /proc/self/ in a name; None if it is another."""
        for prefix in ("/proc/self/", "/proc/thread-self/", f"/proc/{os.getpid()}/"):
            if path.startswith(prefix):
                return path[len(prefix) :]
        return None

    def _descriptor(self, path: str) -> int | None:
        if path in _STREAMS:
            return _STREAMS[path]
        rest = path[8:] if path.startswith("/dev/fd/") else None
        if rest is None:
            own = self._self(path)
            rest = own[3:] if own is not None and own.startswith("fd/") else None
        return int(rest) if rest is not None and rest.isdecimal() else None

    def text(self, path: str) -> str | None:
        """The contents of a made-up file; None if there is none of that name."""
        files = self.files
        own = self._self(path)
        if own == "maps":
            return "".join(map_lines(files.memory))
        if own == "cmdline":
            return "\0".join(os.fsdecode(word) for word in files.machine.process.argv) + "\0"
        if own == "comm":
            return files.executable.rpartition("/")[2][:15] + "\n"
        if own == "status":
            pid = os.getpid()
            name = files.executable.rpartition("/")[2][:15]
            size = files.memory.mapped >> 10
            return f"Name:\t{name}\nState:\tR (running)\nTgid:\t{pid}\nPid:\t{pid}\nPPid:\t{os.getppid()}\nVmSize:\t{size} kB\nVmRSS:\t{size} kB\n"
        if own in ("mounts", "mountinfo") or path == "/proc/mounts":
            return "root / rtld rw 0 0\n"
        if path == "/proc/cpuinfo":
            return f"processor\t: 0\nmodel name\t: emulated {files.cpu.name}\n\n"
        if path == "/proc/meminfo":
            total = files.memory.limit >> 10
            free = total - (files.memory.mapped >> 10)
            return (
                f"MemTotal: {total:>14} kB\nMemFree: {free:>15} kB\nMemAvailable: {free:>10} kB\n"
            )
        if path == "/proc/uptime":
            return f"{time.monotonic():.2f} {time.monotonic():.2f}\n"
        if path == "/proc/loadavg":
            return f"0.00 0.00 0.00 1/1 {os.getpid()}\n"
        if path == "/proc/version":
            return "Linux version 6.1.0 (rtld) #1 SMP rtld\n"
        if path == "/proc/stat":
            ticks = int(time.process_time() * 100)
            return f"cpu  {ticks} 0 0 0 0 0 0 0 0 0\ncpu0 {ticks} 0 0 0 0 0 0 0 0 0\nbtime {int(time.time() - time.monotonic())}\n"
        if own == "statm":
            pages = files.memory.mapped >> 12
            return f"{pages} {pages} 0 0 0 {pages} 0\n"
        if own == "stat":
            name = files.executable.rpartition("/")[2][:15]
            ids = f"{os.getppid()} {os.getpgrp()} {os.getsid(0)} 0 -1 0 0 0 0 0"
            user, system, *_ = (int(value * 100) for value in os.times())
            size = files.memory.mapped
            # state ppid pgrp session tty tpgid flags faults; times; priority nice threads; start; vsize rss; the rest
            return f"{os.getpid()} ({name}) R {ids} {user} {system} 0 0 20 0 1 0 0 {size} {size >> 12} {' 0' * 28}\n".replace(
                "  ", " "
            )
        if own == "cgroup":
            return "0::/\n"
        if path == "/proc/filesystems":
            return "nodev\tproc\n\text4\n"
        if path == "/proc/sys/kernel/osrelease":
            return "6.1.0\n"
        if path == "/proc/sys/vm/overcommit_memory":
            return "0\n"
        return None

    def open(self, path: str, flags: int) -> tuple[int, str, bool] | None:
        """As ``Files.open_host``; None if the name is an ordinary one."""
        if path in DEVICES:
            wanted = flags & (os.O_ACCMODE | os.O_NONBLOCK) | os.O_CLOEXEC | os.O_NOCTTY
            return os.open(path, wanted), path, True
        number = self._descriptor(path)
        if number is not None:
            host = self.files.host(number)
            name = self.files.names.get(number, "")
            if name and stat.S_ISREG(os.fstat(host).st_mode):
                return self.files.open_host(-100, name, flags & ~os.O_CREAT)
            return os.dup(host), name, host in self.files.fixed
        if self._self(path) == "exe":
            return self.files.open_host(-100, self.files.executable, flags)
        text = self.text(path)
        if text is None:
            return None
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise failed(errno.EACCES)
        host = os.memfd_create("proc", os.MFD_CLOEXEC)
        os.write(host, text.encode("utf-8", "surrogateescape"))
        os.lseek(host, 0, os.SEEK_SET)
        return host, path, True

    def stat(self, path: str, follow: bool) -> os.stat_result | None:
        if path in DEVICES:
            return os.stat(path)
        number = self._descriptor(path)
        if number is not None:
            return os.fstat(self.files.host(number))
        if self._self(path) == "exe" and follow:
            return self._of_executable()
        if self._self(path) in ("exe", "cwd", "root") and not follow:
            return os.stat_result((0o120777, 1, 0, 1, 0, 0, 64, 0, 0, 0))
        text = self.text(path)
        if text is None:
            return None
        return os.stat_result((0o100444, 1, 0, 1, 0, 0, 0, 0, 0, 0))

    def _of_executable(self) -> os.stat_result:
        host, _, _ = self.files.open_host(-100, self.files.executable, os.O_RDONLY)
        try:
            return os.fstat(host)
        finally:
            os.close(host)

    def readlink(self, path: str) -> str | None:
        own = self._self(path)
        if own == "exe":
            return self.files.executable
        if own == "cwd":
            return self.files.cwd
        if own == "root":
            return "/"
        if path == "/proc/self":
            return str(os.getpid())
        number = self._descriptor(path)
        if number is None:
            return None
        host = self.files.host(number)
        name = self.files.names.get(number)
        if name:
            return name
        info = os.fstat(host)
        kind = (
            "pipe"
            if stat.S_ISFIFO(info.st_mode)
            else "socket"
            if stat.S_ISSOCK(info.st_mode)
            else ""
        )
        return f"{kind}:[{info.st_ino}]" if kind else "/dev/tty" if os.isatty(host) else "/dev/null"
