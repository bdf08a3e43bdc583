"""Processes: fork, exec, wait, identity, limits.

A guest's process is one of the host's: fork is the host's fork, of this Python and of the emulated CPU in it. So pids, pipes,
process groups and waiting are the host's own; a guest may only send signals to its own family (``machine.relatives``).
"""

from __future__ import annotations

import errno
import os
import resource
import time

from rtld.backends.emulated.linux.calls import Away, Replaced, Sleep, failed, int32
from rtld.backends.emulated.linux.poll import Poll
from rtld.backends.emulated.linux.tasks import (
    CLONE_CHILD_CLEARTID,
    CLONE_CHILD_SETTID,
    CLONE_DETACHED,
    CLONE_PARENT_SETTID,
    CLONE_PIDFD,
    CLONE_SETTLS,
    Task,
)
from rtld.backends.emulated.linux.timers import Timers
from rtld.backends.emulated.linux.ucontext import Signal
from rtld.backends.emulated.memory import WRITE

# fmt: off
#: CPU -> what uname calls it.
MACHINES = {"i386": "i686", "x86_64": "x86_64", "arm": "armv7l", "aarch64": "aarch64", "riscv64": "riscv64", "s390x": "s390x", "mips64el": "mips64", "mipsel": "mips"}
RELEASE = "6.1.0"
ARCH_SET_GS, ARCH_SET_FS, ARCH_GET_FS = 0x1001, 0x1002, 0x1003
PR_SET_NAME, PR_GET_NAME, PR_SET_PDEATHSIG, PR_GET_DUMPABLE, PR_SET_DUMPABLE, PR_CAPBSET_READ = 15, 16, 1, 3, 4, 23
RLIMIT_STACK, RLIMIT_NOFILE = 3, 7
INFINITY = (1 << 64) - 1
WNOHANG, WNOWAIT, P_PIDFD = 1, 0x01000000, 3
# fmt: on


class Processes(Timers, Poll):
    """``limits``: what setrlimit has changed: they are the guest's own affair."""

    limits: dict[int, tuple[int, int]]

    def start_process(self) -> None:
        self.limits = {RLIMIT_STACK: (8 << 20, INFINITY), RLIMIT_NOFILE: (1024, 4096)}

    # -- fork ---------------------------------------------------------------------------------------

    def fork(self, flags: int, stack: int, parent: int, child: int, tls: int) -> int:
        if flags & CLONE_PIDFD:  # it is told where the number would be
            if flags & (CLONE_PARENT_SETTID | CLONE_DETACHED):
                raise failed(errno.EINVAL)
            self.memory.view(parent, 4, WRITE)
            if len(self.descriptors) >= self.limit_files:
                raise failed(errno.EMFILE)

        def fork() -> None:
            if not self.machine.process.may_fork():
                self.machine.finish_call(-errno.EAGAIN)
                return
            self.publish()
            pid = os.fork()
            if pid:
                self.machine.process.remember(pid)
                if flags & CLONE_PARENT_SETTID:
                    self.write32(parent, pid)
                if flags & CLONE_PIDFD:
                    self.write32(parent, self.machine.kernel.new_pidfd(pid, 0))
                self.machine.finish_call(pid)
                return
            self.machine.forked()
            own = self.task
            new = Task(os.getpid())
            for name in ("mask", "frames", "alternate"):
                setattr(new, name, getattr(own, name))
            self.task = new
            self.tasks = [new]
            self.next_tid = new.tid
            self.pending = []
            self.timers, self.next_timer = {}, None
            self.born_ipc()
            self.born_files()
            if flags & CLONE_CHILD_SETTID:
                self.write32(child, new.tid)
            if flags & CLONE_CHILD_CLEARTID:
                new.clear = child
            if stack:
                self.engine.set(self.cpu.sp, stack)
            if flags & CLONE_SETTLS:
                self.set_tls(tls)
            self.machine.finish_call(0)

        raise Away(fork)

    def born_ipc(self) -> None:
        """This process is a child that has just been forked."""
        raise NotImplementedError

    def born_files(self) -> None:
        """The same, for descriptors that mean something else in each process."""
        raise NotImplementedError

    def sys_fork(self, *_: int) -> int:
        return self.fork(0, 0, 0, 0, 0)

    sys_vfork = sys_fork

    def sys_execve(self, path: int, argv: int, env: int, *_: int) -> int:
        return self._exec(self.name(path), self.strings(argv), self.strings(env))

    def sys_execveat(self, dirfd: int, path: int, argv: int, env: int, flags: int, *_: int) -> int:
        name = self.name(path)
        if not name.startswith("/"):
            name = f"{self.base(dirfd)}/{name}" if name else self.names.get(dirfd, "")
        return self._exec(name, self.strings(argv), self.strings(env))

    def _exec(self, path: str, argv: list[bytes], env: list[bytes]) -> int:
        if self.tree is None or self.machine.process.check is None:
            raise failed(errno.ENOSYS)
        host, name, _ = self.open_host(-100, path, os.O_RDONLY)
        try:
            _check_executable(host)
            self.machine.process.check(host, name)
        except BaseException:
            os.close(host)
            raise

        def replace() -> None:
            raise Replaced(host, name, argv, env)

        raise Away(replace)

    # -- wait ---------------------------------------------------------------------------------------

    def sys_wait4(self, pid: int, status: int, options: int, usage: int, *_: int) -> int:
        if self.machine.process.family is None:
            raise failed(errno.ECHILD)
        try:
            found, value, used = os.wait4(int32(pid), options & 0xF | WNOHANG)
        except ChildProcessError:
            raise failed(errno.ECHILD) from None
        if not found:
            if options & WNOHANG:
                return 0
            raise Sleep(children=True)
        if os.WIFEXITED(value) or os.WIFSIGNALED(value):
            self.machine.process.forget(found)
        if status:
            self.write32(status, value)
        if usage:
            self._put_usage(usage, used)
        return found

    def sys_waitpid(self, pid: int, status: int, options: int, *_: int) -> int:
        return self.sys_wait4(pid, status, options, 0)

    def sys_waitid(
        self, kind: int, which: int, info: int, options: int, usage: int, *_: int
    ) -> int:
        if self.machine.process.family is None:
            raise failed(errno.ECHILD)
        try:
            if int32(kind) == P_PIDFD:
                found = self.machine.kernel.wait_for_pidfd(which, options & 0x0100000F)
            else:
                flags = options & 0x0100000F | os.WNOHANG
                found = os.waitid(int32(kind), which & 0x7FFFFFFF, flags)
        except ChildProcessError:
            raise failed(errno.ECHILD) from None
        if found is None:
            if not options & WNOHANG:
                raise Sleep(children=True)
            if info:
                self.put(info, bytes(128))
            return 0
        if not options & WNOWAIT and found.si_code in (1, 2, 3):
            self.machine.process.forget(found.si_pid)
        if info:
            told = (found.si_signo, found.si_code, found.si_pid, found.si_uid, 0, found.si_status)
            self.put(info, self.info_bytes(Signal(*told)))
        return 0

    # -- identity -----------------------------------------------------------------------------------

    def sys_getpid(self, *_: int) -> int:
        return os.getpid()

    def sys_getppid(self, *_: int) -> int:
        return os.getppid()

    def sys_getuid(self, *_: int) -> int:
        return os.getuid()

    def sys_getgid(self, *_: int) -> int:
        return os.getgid()

    def sys_geteuid(self, *_: int) -> int:
        return os.geteuid()

    def sys_getegid(self, *_: int) -> int:
        return os.getegid()

    sys_getuid32, sys_getgid32, sys_geteuid32, sys_getegid32 = (
        sys_getuid,
        sys_getgid,
        sys_geteuid,
        sys_getegid,
    )

    def sys_getresuid(self, real: int, effective: int, saved: int, *_: int) -> int:
        for address, value in zip((real, effective, saved), os.getresuid(), strict=True):
            self.write32(address, value)
        return 0

    def sys_getresgid(self, real: int, effective: int, saved: int, *_: int) -> int:
        for address, value in zip((real, effective, saved), os.getresgid(), strict=True):
            self.write32(address, value)
        return 0

    sys_getresuid32, sys_getresgid32 = sys_getresuid, sys_getresgid

    def _set_id(self, *ids: int) -> int:
        """Only what it is already."""
        mine = {*os.getresuid(), *os.getresgid(), 0xFFFFFFFF}
        if any(number & 0xFFFFFFFF not in mine for number in ids[:1]):
            raise failed(errno.EPERM)
        return 0

    sys_setuid = sys_setgid = sys_setreuid = sys_setregid = sys_setresuid = sys_setresgid = _set_id
    sys_setuid32 = sys_setgid32 = sys_setreuid32 = sys_setregid32 = sys_setresuid32 = (
        sys_setresgid32
    ) = _set_id

    def sys_getgroups(self, count: int, result: int, *_: int) -> int:
        groups = os.getgroups()
        if count:
            if count < len(groups):
                raise failed(errno.EINVAL)
            for i, group in enumerate(groups):
                self.write32(result + 4 * i, group)
        return len(groups)

    sys_getgroups32 = sys_getgroups

    def _own(self, pid: int) -> int:
        """0 or a process of the guest's."""
        wanted = int32(pid)
        if wanted not in (0, os.getpid()) and wanted not in self.machine.process.relatives(wanted):
            raise failed(errno.ESRCH)
        return wanted

    def sys_getpgid(self, pid: int, *_: int) -> int:
        return os.getpgid(self._own(pid))

    def sys_getpgrp(self, *_: int) -> int:
        return os.getpgrp()

    def sys_setpgid(self, pid: int, group: int, *_: int) -> int:
        self._may_change()
        os.setpgid(self._own(pid), int32(group))
        return 0

    def _may_change(self) -> None:
        """Does this process belong to the guest?"""
        if self.machine.process.family is None:
            raise failed(errno.EPERM)

    def sys_getsid(self, pid: int, *_: int) -> int:
        return os.getsid(self._own(pid))

    def sys_setsid(self, *_: int) -> int:
        self._may_change()
        os.setsid()
        return os.getpid()

    def sys_uname(self, result: int, *_: int) -> int:
        here = os.uname()
        fields = ("Linux", here.nodename, RELEASE, "#1 SMP rtld", MACHINES[self.cpu.name], "(none)")
        self.put(result, b"".join(field.encode()[:64].ljust(65, b"\0") for field in fields))
        return 0

    def sys_prctl(self, option: int, argument: int, *_: int) -> int:
        if option == PR_SET_NAME:
            self._comm = self.string(argument, 4096)[:15]
            if self.machine.process.is_family:
                self.publish()
            return 0
        if option == PR_GET_NAME:
            self.put(argument, self.command().ljust(16, b"\0"))
            return 0
        if option in (PR_SET_PDEATHSIG, PR_SET_DUMPABLE):
            return 0
        if option in (PR_GET_DUMPABLE, PR_CAPBSET_READ):
            return 1
        raise failed(errno.EINVAL)

    _comm: bytes | None = None

    def command(self) -> bytes:
        """What the process is called."""
        name = self.executable.rpartition("/")[2]
        return os.fsencode(name)[:15] if self._comm is None else self._comm

    def publish(self) -> None:
        """Others may look at this process now, or it has another name."""
        from rtld.backends.emulated.linux.procpid import card

        self.machine.process.publish(card(self.machine))

    def sys_personality(self, *_: int) -> int:
        return 0

    def sys_capget(self, _header: int, data: int, *_: int) -> int:
        if data:
            self.put(data, bytes(24))
        return 0

    # -- limits and accounting ----------------------------------------------------------------------

    def _limit(self, which: int) -> tuple[int, int]:
        if which not in range(16):
            raise failed(errno.EINVAL)
        if which in self.limits:
            return self.limits[which]
        soft, hard = resource.getrlimit(which)
        return soft & INFINITY, hard & INFINITY

    def _set_limit(self, which: int, soft: int, hard: int) -> None:
        if soft > hard:
            raise failed(errno.EINVAL)
        self._limit(which)
        self.limits[which] = (soft, hard)
        if which == RLIMIT_NOFILE:
            self.limit_files = min(soft, 4096)

    def sys_prlimit64(self, pid: int, which: int, new: int, old: int, *_: int) -> int:
        if int32(pid) not in (0, os.getpid()):
            raise failed(errno.ESRCH)
        before = self._limit(which)
        if new:
            self._set_limit(which, *self.unpack("QQ", new))
        if old:
            self.put(old, self.pack("QQ", *before))
        return 0

    def sys_getrlimit(self, which: int, result: int, *_: int) -> int:
        self.put(result, self.pack("LL", *(min(value, self.mask) for value in self._limit(which))))
        return 0

    sys_ugetrlimit = sys_getrlimit

    def sys_setrlimit(self, which: int, new: int, *_: int) -> int:
        soft, hard = self.unpack("LL", new)
        self._set_limit(
            which, *(INFINITY if value == self.mask else value for value in (soft, hard))
        )
        return 0

    def _put_usage(self, address: int, used: resource.struct_rusage) -> None:
        times = []
        for seconds in (used.ru_utime, used.ru_stime):
            times += [int(seconds), int(seconds % 1 * 1e6)]
        self.put(address, self.pack("LLLL14L", *times, used.ru_maxrss, *[0] * 13))

    def sys_getrusage(self, who: int, result: int, *_: int) -> int:
        self._put_usage(result, resource.getrusage(int32(who)))
        return 0

    def sys_sysinfo(self, result: int, *_: int) -> int:
        total = self.memory.limit & self.mask
        form = "LLLLLLLLLLHH" + ("4xLLI4x" if self.bits == 64 else "LLI8x")
        up = int(time.monotonic())
        self.put(result, self.pack(form, up, 0, 0, 0, total, total // 2, 0, 0, 0, 0, 1, 0, 0, 0, 1))
        return 0

    def sys_getrandom(self, buffer: int, size: int, *_: int) -> int:
        count = min(size, 1 << 20)
        self.put(buffer, self.machine.process.random(count))
        return count

    def sys_getcpu(self, cpu: int, node: int, *_: int) -> int:
        for address in (cpu, node):
            if address:
                self.write32(address, 0)
        return 0

    def sys_sched_getaffinity(self, _pid: int, size: int, result: int, *_: int) -> int:
        count = min(size, 8) & -self.word
        if not count:
            raise failed(errno.EINVAL)
        self.put(result, (1).to_bytes(count, self.order))
        return count

    def _fine(self, *_: int) -> int:
        """Nothing to do, and nothing wrong."""
        return 0

    sys_sched_setaffinity = sys_sched_setscheduler = sys_sched_setparam = sys_sched_getscheduler = (
        _fine
    )
    sys_setpriority = sys_ioprio_set = sys_ioprio_get = sys_setgroups = sys_setgroups32 = _fine

    def sys_sched_getparam(self, _pid: int, result: int, *_: int) -> int:
        self.write32(result, 0)
        return 0

    def sys_sched_get_priority_max(self, policy: int, *_: int) -> int:
        return 99 if policy in (1, 2) else 0

    def sys_sched_get_priority_min(self, policy: int, *_: int) -> int:
        return 1 if policy in (1, 2) else 0

    def sys_getpriority(self, *_: int) -> int:
        return 20

    # -- the thread pointer -------------------------------------------------------------------------

    def set_tls(self, value: int) -> None:
        name = self.cpu.name
        if name == "s390x":
            self.engine.set("a0", value >> 32)
            self.engine.set("a1", value & 0xFFFFFFFF)
        elif name == "i386":
            # Of clone: the address of a struct user_desc.
            self._set_area(value, self.unpack("IIII", value))
        else:
            self.engine.set(self.cpu.tls, value)

    def get_tls(self) -> int:
        """The thread pointer."""
        if self.cpu.name == "s390x":
            return self.engine.get("a0") << 32 | self.engine.get("a1")
        if self.cpu.name == "i386":
            assert self.machine.segments is not None
            return self.machine.segments.base(self.engine.get("gs"))
        return self.engine.get(self.cpu.tls)

    def sys_arch_prctl(self, code: int, address: int, *_: int) -> int:
        if code == ARCH_SET_FS:
            self.engine.set("fs_base", address)
        elif code == ARCH_SET_GS:
            self.engine.set("gs_base", address)
        elif code == ARCH_GET_FS:
            self.put(address, self.pack("Q", self.engine.get("fs_base")))
        else:
            raise failed(errno.EINVAL)
        return 0

    def sys_ARM_set_tls(self, value: int, *_: int) -> int:
        self.set_tls(value)
        return 0

    def sys_set_thread_area(self, address: int, *_: int) -> int:
        if self.is_mips:
            self.set_tls(address)
            return 0
        entry, base, limit, flags = self.unpack("IIII", address)
        number = self._set_area(address, (entry, base, limit, flags))
        self.write32(address, number)
        return 0

    def _set_area(self, _address: int, description: tuple[int, ...]) -> int:
        entry, base, limit, flags = description
        number = 6 if entry == 0xFFFFFFFF else entry
        if number not in (6, 7, 8):
            raise failed(errno.EINVAL)
        assert self.machine.segments is not None
        self.machine.segments.set(number, base, limit, pages=bool(flags & 16))
        return number


def _check_executable(host: int) -> None:
    """A regular file that may be executed. EACCES."""
    path = f"/proc/self/fd/{host}"
    if not os.access(path, os.X_OK) or not os.path.isfile(path):
        raise failed(errno.EACCES)
