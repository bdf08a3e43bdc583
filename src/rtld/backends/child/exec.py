"""The kernel's part of ``execve``, done by a list of calls: map, zero, patch the stack, set brk, jump.

What Linux does for an ELF program (fs/binfmt_elf.c, load_elf_binary) is done here again from outside, for a program that
may have no file, no interpreter of this system, or no wish for random addresses.  The real ``execve`` of a small anchor
gives the clean process: stack with argv, envp and auxv, AT_RANDOM, HWCAP, vdso, credentials, descriptors closed on exec,
signals reset.  The anchor then maps program and interpreter, patches the auxiliary vector in place, tells the kernel about
it (PR_SET_MM_MAP: brk, /proc/self/exe, /proc/self/auxv, cmdline), removes itself and jumps to the entry point.

Four ways of the same list:

    self     the anchor does all of it, unwatched; no ptrace, one execve
    traced   it stops before the jump, for a tracer that wants to stay
    parked   it waits before the jump, for one who cannot trace (``parked.py``)
    over     the kernel executes the *real* file, traced, and we put our mappings in place of its own: /proc/self/exe is then
             right without CAP_CHECKPOINT_RESTORE, which setting it afterwards needs
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal

from rtld.backends.child import anchor as layout
from rtld.backends.child import machine
from rtld.backends.child.calls import (
    RECORD,
    STOP,
    call_once,
    find_gate,
    run_to_trap,
    signed_result,
)
from rtld.backends.child.loading import (
    MAP_ANONYMOUS,
    MAP_FIXED_NOREPLACE,
    MAP_PRIVATE,
    PR_SET_MM,
    PR_SET_MM_MAP_SIZE,
    Job,
    Loading,
)
from rtld.backends.child.ptrace import PTRACE_O_EXITKILL, Tracee
from rtld.backends.child.spawn import (
    ADDR_NO_RANDOMIZE,
    adopt,
    fd_path,
    high,
    memory_file,
    spawn,
    spawn_traced,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtld.backends.child.parked import Parked


def can_set_exe() -> bool:
    """May this process change /proc/self/exe of its children?  (checkpoint_restore_ns_capable)"""
    size = ctypes.c_uint(0)
    libc = ctypes.CDLL(None)
    libc.prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)
    if libc.prctl(PR_SET_MM, PR_SET_MM_MAP_SIZE, ctypes.addressof(size), 0, 0):
        return False  # the kernel was built without it, or a filter of system calls forbids it
    with open("/proc/self/status", "rb") as file:
        for line in file:
            if line.startswith(b"CapEff:"):
                return bool(int(line.split()[1], 16) & (1 << 40 | 1 << 21))
    return False


def descriptors(job: Job) -> list[int]:
    """What the child needs open."""
    images = [image for image in (job.program, job.interp) if image is not None]
    return sorted({image.fd for image in images} | ({job.exe_fd} if job.exe_fd >= 0 else set()))


def start_self(job: Job) -> int:
    """Start *job*, which loads itself; returns its pid when it runs.  OSError if it cannot be loaded."""
    loading = Loading(job)
    calls, anchor = loading.calls, loading.anchor
    read_end, status = status_pipe()
    fds = descriptors(job)
    try:
        calls.call("munmap", anchor.base, anchor.size)
        calls.forget_posix_spawn()
        loading.write(calls.failing(status), [*fds, status], own_exe=False)
        loading.go()
        pid = spawn_anchor(job, anchor.image(job.program.stack), [*fds, status])
        os.close(status)
        status = -1
        record = os.read(read_end, RECORD)
    finally:
        os.close(read_end)
        if status >= 0:
            os.close(status)
    if record:
        os.waitpid(pid, 0)
        raise_failure(signed_result(record, job.program.bits)[1])
    return pid


def start_traced(job: Job, options: int = PTRACE_O_EXITKILL) -> Tracee:
    """Start *job* traced by this thread; stopped at its first instruction, all registers as from the kernel."""
    loading = Loading(job)
    calls, anchor = loading.calls, loading.anchor
    read_end, status = status_pipe()
    fds = descriptors(job)
    try:
        calls.call("ptrace", 0, failure=calls.failing(status))
        calls.add(STOP)
        calls.call("munmap", anchor.base, anchor.size)
        calls.forget_posix_spawn()
        loading.write(calls.stopping(), [*fds, status], own_exe=False)
        calls.add(STOP)
        pid = spawn_anchor(job, anchor.image(job.program.stack), [*fds, status])
    finally:
        os.close(status)
    tracee = adopt(pid, read_end, options)
    finish(tracee, loading)
    return tracee


def start_parked(job: Job) -> Parked:
    """The same without a tracer: it waits for us, having loaded itself.  /proc/self/exe is as with ``start_self``."""
    import socket

    from rtld.backends.child.parked import Parked, WaitingLoop

    loading = Loading(job)
    calls, anchor = loading.calls, loading.anchor
    read_end, status = status_pipe()
    ours, low = socket.socketpair()
    theirs = number = high(low.fileno())
    low.close()
    fds = descriptors(job)
    try:
        calls.call("munmap", anchor.base, anchor.size)
        calls.forget_posix_spawn()
        failing = calls.failing(status)
        loading.write(failing, [*fds, status], own_exe=False)
        loop = WaitingLoop(calls, theirs, calls.leaving())
        loading.go()
        pid = spawn_anchor(job, anchor.image(job.program.stack), [*fds, status, theirs])
        os.close(status)
        status = -1
        os.close(theirs)
        theirs = -1
        if not ours.recv(1):
            record = os.read(read_end, RECORD)
            os.waitpid(pid, 0)
            raise_failure(signed_result(record, 64)[1] if record else -errno.EFAULT)
    finally:
        os.close(read_end)
        for fd in (status, theirs):
            if fd >= 0:
                os.close(fd)
    return Parked(pid, ours, number, loading, loop)


def start_over(job: Job, options: int = PTRACE_O_EXITKILL) -> Tracee:
    """The same, in the process that the kernel makes of the file ``job.over`` itself."""
    path, argv = job.over
    fds = descriptors(job)
    tracee = spawn_traced(
        path, argv, job.env,
        fds=fds, sigmask=job.sigmask, no_randomize=job.no_randomize, options=options,
    )  # fmt: skip
    try:
        old = [m for m in mappings(tracee.pid) if m[2] == b"[heap]" or m[2][:1] != b"["]
        loading = Loading(job, avoid=tuple((low, high_end) for low, high_end, _ in old))
        calls, anchor = loading.calls, loading.anchor
        for low, high_end, _ in old:
            calls.call("munmap", low, high_end - low)
        loading.write(calls.stopping(), fds, own_exe=True)
        calls.add(STOP)
        gate = find_gate(tracee)
        flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE
        got = call_once(tracee, gate, calls.nr["mmap"], anchor.home, anchor.size, 7, flags, -1, 0)
        if got != anchor.home:
            raise_failure(got)
        tracee.write(anchor.home, anchor.image())
        regs = tracee.regs()
        regs.rip = anchor.home + layout.CODE + machine.MOVED[calls.bits]
        regs.rbx, regs.orig_rax = anchor.home, 2**64 - 1
        tracee.set_regs(regs)
        finish(tracee, loading)
    except BaseException:
        tracee.kill()
        raise
    return tracee


def finish(tracee: Tracee, loading: Loading) -> None:
    """Let a stopped anchor work off its list, then take its place: registers as in a new program."""
    size = loading.calls.bits // 8
    try:
        run_to_trap(tracee)
        at = tracee.regs().rsp if size == 4 else tracee.regs().r15
        if at == loading.failing:
            record = tracee.read(tracee.memory.read_word(at + 16, size), RECORD)
            raise_failure(signed_result(record, loading.calls.bits)[1])
        entry = tracee.memory.read_word(loading.entry, size)
        sp = tracee.memory.read_word(loading.anchor.state(layout.STATE_SP), size)
        nr = loading.calls.nr["munmap"]
        call_once(tracee, find_gate(tracee), nr, loading.anchor.home, loading.anchor.size)
        regs = tracee.regs()
        for name in ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp"):
            setattr(regs, name, 0)
        for number in range(8, 16):
            setattr(regs, f"r{number}", 0)
        regs.rip, regs.rsp, regs.eflags, regs.orig_rax = entry, sp, 0x200, 2**64 - 1
        tracee.set_regs(regs)
    except BaseException:
        tracee.kill()
        raise


def replace(job: Job) -> None:
    """Become *job*: the anchor is executed by this very process.  Returns only by OSError."""
    loading = Loading(job)
    calls, anchor = loading.calls, loading.anchor
    fds = descriptors(job)
    calls.call("munmap", anchor.base, anchor.size)
    message = os.fsencode(f"rtld: {os.fsdecode(job.execfn)}: cannot be loaded into memory\n")
    loading.write(calls.complaining(message), fds, own_exe=False)
    loading.go()
    fd = memory_file("anchor", anchor.image(job.program.stack))
    for number in fds:
        os.set_inheritable(number, True)
    for signum in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(signum, signal.SIG_DFL)
    if job.no_randomize:
        libc = ctypes.CDLL(None)
        libc.personality(libc.personality(0xFFFFFFFF) | ADDR_NO_RANDOMIZE)
    os.execve(fd_path(fd, len(job.execfn)), job.argv, job.env)  # noqa: S606  replacing us is the purpose


def spawn_anchor(job: Job, image: bytes, fds: Sequence[int]) -> int:
    """Start the anchor *image* with the arguments of *job*."""
    fd = memory_file("anchor", image)
    try:
        return spawn(
            fd_path(fd, len(job.execfn)), job.argv, job.env,
            fds=fds, sigmask=job.sigmask, no_randomize=job.no_randomize,
        )  # fmt: skip
    finally:
        os.close(fd)


def status_pipe() -> tuple[int, int]:
    """(read end, write end with a high number): how a child says what went wrong."""
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    status = high(write_end)
    os.close(write_end)
    return read_end, status


def raise_failure(result: int) -> None:
    """OSError for the result of a failed call."""
    reason = os.strerror(-result)
    if -result in (errno.EEXIST, errno.ENOMEM):
        reason = f"no room at the addresses it wants ({reason})"
    raise OSError(-result, f"cannot be loaded: {reason}")


def mappings(pid: int) -> list[tuple[int, int, bytes]]:
    """(start, end, name) of /proc/PID/maps."""
    out = []
    with open(f"/proc/{pid}/maps", "rb") as file:
        for line in file:
            parts = line.split(None, 5)
            low, _, high_end = parts[0].partition(b"-")
            out.append(
                (int(low, 16), int(high_end, 16), parts[5].strip() if len(parts) > 5 else b"")
            )
    return out
