"""The names below /proc and /dev that programs need. They are made here, from what the guest itself is.

Of processes there are those of the guest's family, and nobody else's (``procpid`` has their files).
"""

from __future__ import annotations

import errno
import os
import stat
import time

from rtld.backends.emulated.linux.calls import failed, int32
from rtld.backends.emulated.linux.tree import LINKS, nothing
from rtld.backends.emulated.memory import EXECUTE, READ, WRITE
from rtld.core.late import Late

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator
    from typing import Any

    from rtld.backends.emulated.linux import procpid
    from rtld.backends.emulated.linux.files import Files
    from rtld.backends.emulated.memory import Memory
else:
    procpid = Late("rtld.backends.emulated.linux.procpid")

#: Devices that are the host's own: they hold nothing.
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")
_STREAMS = {"/dev/stdin": "0", "/dev/stdout": "1", "/dev/stderr": "2"}
_KINDS = {stat.S_IFDIR: 4, stat.S_IFLNK: 10, stat.S_IFREG: 8}
MAGIC = 0x9FA0  # PROC_SUPER_MAGIC


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


class Entry:
    """What a name is. ``mode``: kind and rights; one of ``text`` (a file), ``names`` (a directory), ``target`` (a link) says more.

    host    a descriptor of the host's that the link is;  mine: the user's, else root's
    """

    __slots__ = ("host", "mine", "mode", "names", "target", "text")

    def __init__(
        self,
        mode: int,
        *,
        text: Callable[[], str] | None = None,
        names: Callable[[], list[str]] | None = None,
        target: Callable[[], str] | None = None,
        host: int | None = None,
        mine: bool = False,
    ) -> None:
        self.mode = mode
        self.text = text
        self.names = names
        self.target = target
        self.host = host
        self.mine = mine


def _directory(names: Callable[[], list[str]], rights: int = 0o555, *, mine: bool = False) -> Entry:
    return Entry(stat.S_IFDIR | rights, names=names, mine=mine)


class Proc:
    """Made-up files, and the names of descriptors."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self._general: dict[str, Callable[[], str]] = {
            "cpuinfo": lambda: f"processor\t: 0\nmodel name\t: emulated {files.cpu.name}\n\n",
            "filesystems": lambda: "nodev\tproc\n\text4\n",
            "loadavg": lambda: f"0.00 0.00 0.00 1/{len(self.processes())} {os.getpid()}\n",
            "meminfo": self._meminfo,
            "stat": self._stat,
            "sys/kernel/osrelease": lambda: "6.1.0\n",
            "sys/kernel/pid_max": lambda: "4194304\n",
            "sys/vm/overcommit_memory": lambda: "0\n",
            "uptime": lambda: f"{procpid.uptime():.2f} {procpid.uptime():.2f}\n",
            "version": lambda: "Linux version 6.1.0 (rtld) #1 SMP rtld\n",
        }

    # -- files of no process ------------------------------------------------------------------------

    def _meminfo(self) -> str:
        memory = self.files.memory
        total = memory.limit >> 10
        free = total - (memory.mapped >> 10)
        return f"MemTotal: {total:>14} kB\nMemFree: {free:>15} kB\nMemAvailable: {free:>10} kB\n"

    def _stat(self) -> str:
        ticks, count = int(time.process_time() * 100), len(self.processes())
        cpu = f"{ticks} 0 0 0 0 0 0 0 0 0\n"
        start = int(time.time() - procpid.uptime())
        return f"cpu  {cpu}cpu0 {cpu}btime {start}\nprocesses {count}\nprocs_running 1\nprocs_blocked 0\n"

    # -- which name is what -------------------------------------------------------------------------

    def processes(self) -> list[int]:
        """The guest's."""
        return self.files.machine.process.everyone()

    def special(self, dirfd: int, path: str) -> tuple[str, str]:
        """(the name, if it may be one of ours, with neither "self" nor "." nor "..", else ""; the path to walk if it is none)."""
        for _ in range(LINKS):
            name, path, more = self._step(dirfd, path)
            if not more:
                return name, path
        raise failed(errno.ELOOP)

    def _step(self, dirfd: int, path: str) -> tuple[str, str, bool]:
        """The same up to the first link of ours that the name goes on behind: is there one?"""
        whole = path
        if not path.startswith("/"):
            number = int32(dirfd)
            base = self.files.cwd if number == -100 else self.files.names.get(number, "")
            whole = f"{base}/{path}" if path else base
        if whole.startswith("//"):
            whole = "/" + whole.lstrip("/")
        if not whole.startswith(("/proc", "/dev/")):
            return "", path, False
        name = os.path.normpath(whole)
        if name in _STREAMS:
            name = f"/proc/self/fd/{_STREAMS[name]}"
        elif name == "/dev/fd" or name.startswith("/dev/fd/"):
            name = "/proc/self/fd" + name[7:]
        parts = name.split("/")
        if parts[1] != "proc" or ("proc",) in self._binds():
            return (name if parts[1] == "dev" else ""), path, False
        pid = str(os.getpid())
        slash = whole.endswith(("/", "/."))  # a link is followed
        if (len(parts) > 3 or slash) and parts[2:3] in (["self"], ["thread-self"]):
            here = [pid] if parts[2] == "self" else [pid, "task", self._thread()]
            parts[2:3] = here
        beyond = self._beyond([*parts, ""] if slash else parts, pid)
        return ("/".join(parts), path, False) if beyond is None else ("", beyond, True)

    def _binds(self) -> dict[tuple[str, ...], object]:
        return {} if self.files.tree is None else dict(self.files.tree.binds)

    def _thread(self) -> str:
        return str(self.files.machine.kernel.task.tid)

    def _beyond(self, parts: list[str], pid: str) -> str | None:
        """A name that goes on behind a link that this process has: where that leads."""
        if parts[2:3] != [pid]:
            return None
        if len(parts) > 4 and parts[3] in ("cwd", "root"):
            return "/".join([self.files.cwd if parts[3] == "cwd" else "", *parts[4:]])
        if len(parts) > 5 and parts[3] == "fd" and parts[4].isdecimal():
            base = self.files.names.get(int(parts[4]))
            return "/".join([base, *parts[5:]]) if base is not None else None
        return None

    def entry(self, name: str) -> Entry | None:
        """What is there under a name that ``special`` has given; None: nothing of ours."""
        if name in DEVICES:
            return Entry(stat.S_IFCHR | 0o666)
        first, _, rest = name[1:].partition("/")
        if first != "proc":
            return None
        if not rest:
            return _directory(self._top)
        if rest in ("self", "thread-self"):
            pid = str(os.getpid())
            target = pid if rest == "self" else f"{pid}/task/{self._thread()}"
            return Entry(stat.S_IFLNK | 0o777, target=lambda: target)
        if rest == "mounts":
            return Entry(stat.S_IFLNK | 0o777, target=lambda: "self/mounts")
        if rest in self._general:
            return Entry(stat.S_IFREG | 0o444, text=self._general[rest])
        below = sorted(
            {k[len(rest) + 1 :].split("/")[0] for k in self._general if k.startswith(rest + "/")}
        )
        if below:
            return _directory(lambda: below)
        head, _, rest = rest.partition("/")
        if not head.isdecimal() or head != str(int(head)):
            return None
        number = int(head)
        if number != os.getpid() and not self.files.machine.process.relatives(number):
            return None
        return self._of_process(number, rest)

    def _top(self) -> list[str]:
        names = {name.split("/")[0] for name in self._general}
        return [*sorted(names), "mounts", "self", "thread-self", *map(str, self.processes())]

    def _of_process(self, pid: int, rest: str) -> Entry | None:
        own = pid == os.getpid()
        texts = procpid.OWN | procpid.TEXTS if own else procpid.TEXTS
        if not rest:
            return _directory(
                lambda: [*sorted(texts), "cwd", "exe", "fd", "root", "task"], mine=True
            )
        if rest in texts:
            return self._text(pid, pid, texts[rest])
        head, _, rest = rest.partition("/")
        if head == "task":
            tids = [task.tid for task in self.files.machine.kernel.tasks] if own else [pid]
            tid, _, rest = rest.partition("/")
            if not tid:
                return _directory(lambda: [str(tid) for tid in tids], mine=True)
            if tid not in map(str, tids):
                return None
            if not rest:
                return _directory(lambda: sorted(texts), mine=True)
            return self._text(pid, int(tid), texts[rest]) if rest in texts else None
        if head == "fd" and (own or not rest):
            return self._descriptor(rest) if own else _directory(_refused, 0o500, mine=True)
        links = {"exe": self.files.executable, "cwd": self.files.cwd, "root": "/"}
        if head not in links or rest:
            return None
        target = (lambda: links[head]) if own else _refused
        return Entry(stat.S_IFLNK | 0o777, target=target, mine=True)

    def _text(self, pid: int, tid: int, make: procpid.Text) -> Entry:
        def text() -> str:
            found = procpid.look(self.files.machine, pid, tid)
            if found is None:
                raise failed(errno.ESRCH)
            return make(found)

        return Entry(stat.S_IFREG | 0o444, text=text, mine=True)

    def _descriptor(self, rest: str) -> Entry | None:
        files = self.files
        if not rest:
            return _directory(
                lambda: [str(fd) for fd in sorted(files.descriptors)], 0o500, mine=True
            )
        number = int(rest) if rest.isdecimal() else -1
        host = files.descriptors.get(number)
        if host is None:
            return None
        return Entry(
            stat.S_IFLNK | 0o700, target=lambda: self._what(number, host), host=host, mine=True
        )

    def _anonymous(self, host: int) -> str:
        """What a descriptor is that is no file, pipe or socket; "" for one that is."""
        kernel = self.files.machine.kernel
        kinds: dict[str, Container[int]] = {
            "signalfd": kernel.signalfds,
            "pidfd": kernel.pidfds,
            "eventpoll": kernel.epolls,
            "inotify": kernel.notices,
        }
        return next((kind for kind, hosts in kinds.items() if host in hosts), "")

    def _what(self, number: int, host: int) -> str:
        """The words for a descriptor."""
        name = self.files.names.get(number)
        if name:
            return name
        kind, info = self._anonymous(host), os.fstat(host)
        if kind:
            return f"anon_inode:[{kind}]"
        if stat.S_ISFIFO(info.st_mode) or stat.S_ISSOCK(info.st_mode):
            return f"{'pipe' if stat.S_ISFIFO(info.st_mode) else 'socket'}:[{info.st_ino}]"
        return "/dev/tty" if os.isatty(host) else "/dev/null"

    # -- what calls do with them --------------------------------------------------------------------

    def open(self, name: str, flags: int) -> tuple[int, str, bool] | None:
        """As ``Files.open_host``; None if the name is an ordinary one."""
        if name in DEVICES:
            wanted = flags & (os.O_ACCMODE | os.O_NONBLOCK) | os.O_CLOEXEC | os.O_NOCTTY
            return os.open(name, wanted), name, True
        entry = self.entry(name)
        if entry is None:
            return None
        if stat.S_ISLNK(entry.mode):
            return self._open_link(name, entry, flags)
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise failed(errno.EISDIR if entry.names is not None else errno.EACCES)
        if entry.names is not None:
            return nothing(flags & os.O_PATH), name, True
        if flags & os.O_DIRECTORY:
            raise failed(errno.ENOTDIR)
        assert entry.text is not None
        text = entry.text()
        host = os.memfd_create("proc", os.MFD_CLOEXEC)
        os.write(host, text.encode("utf-8", "surrogateescape"))
        os.lseek(host, 0, os.SEEK_SET)
        return host, name, True

    def _open_link(self, name: str, entry: Entry, flags: int) -> tuple[int, str, bool] | None:
        if flags & os.O_NOFOLLOW:
            raise failed(errno.ELOOP)
        files = self.files
        assert entry.target is not None
        if entry.host is None:
            target = os.path.join(os.path.dirname(name), entry.target())
            return files.open_host(-100, target, flags & ~os.O_CREAT)
        path = files.names.get(int(name.rpartition("/")[2]), "")
        if path and stat.S_IFMT(os.fstat(entry.host).st_mode) in (stat.S_IFREG, stat.S_IFDIR):
            return files.open_host(-100, path, flags & ~os.O_CREAT)
        if self._anonymous(entry.host):
            raise failed(errno.ENXIO)
        return os.dup(entry.host), path, entry.host in files.fixed

    def stat(self, name: str, follow: bool) -> os.stat_result | None:
        if name in DEVICES:
            return os.stat(name)
        entry = self.entry(name)
        if entry is None:
            return None
        if stat.S_ISLNK(entry.mode) and follow:
            if entry.host is not None:
                return os.fstat(entry.host)
            assert entry.target is not None
            return self.files.stat_of(os.path.join(os.path.dirname(name), entry.target()))
        links = 2 if entry.names is not None else 1
        owner = (os.geteuid(), os.getegid()) if entry.mine else (0, 0)
        now = time.time_ns()
        size = 64 if stat.S_ISLNK(entry.mode) and entry.host is not None else 0
        seconds = now // 1_000_000_000
        more = {f"st_{which}time_ns": now for which in "amc"}
        more |= {"st_rdev": 0, "st_blksize": 1024, "st_blocks": 0}
        words = (entry.mode, _inode(name), DEVICE, links, *owner, size, seconds, seconds, seconds)
        return os.stat_result(words, more)

    def is_made(self, name: str) -> bool:
        """Is it a name in /proc that is there?"""
        return name.startswith("/proc") and self.entry(name) is not None

    def readlink(self, name: str) -> str | None:
        entry = self.entry(name)
        if entry is None:
            return None
        if entry.target is None:
            raise failed(errno.EINVAL)
        return entry.target()

    def listing(self, name: str) -> list[tuple[int, int, bytes]] | None:
        """(inode, type, name) of what is in a directory; None if it is none of ours."""
        entry = self.entry(name)
        if entry is None or entry.names is None:
            return None
        found = [(_inode(name), 4, b"."), (_inode(os.path.dirname(name)), 4, b"..")]
        for each in entry.names():
            path = f"{name}/{each}"
            inside = self.entry(path)
            if inside is not None:
                kind = _KINDS[stat.S_IFMT(inside.mode)]
                found.append((_inode(path), kind, each.encode()))
        return found


#: Of all of them; what is the host's has others.
DEVICE = os.makedev(0, 5)


def _refused() -> Any:
    """What one process does not tell the others."""
    raise failed(errno.EACCES)


def _inode(name: str) -> int:
    """A number that a name has in all processes."""
    import binascii

    return binascii.crc32(name.encode()) >> 1 | 1  # 32-bit programs are not told of larger ones
