"""One traced thread: its registers, its memory, its stops (ptrace(2), proc_pid_mem(5)).

A tracer is one thread: every function here must be called by the thread that attached.

    tracee = Tracee(pid)            # already traced and stopped, e.g. from ``spawn``
    regs = tracee.regs()
    regs.rip = entry
    tracee.set_regs(regs)
    tracee.cont()
    stop = tracee.wait()            # Stop(tid, kind, value)
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections import namedtuple

from rtld.errors import TargetFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rtld.backends.child.calls import Vm

# Requests, <sys/ptrace.h>.
# fmt: off
PTRACE_TRACEME     = 0
PTRACE_CONT        = 7
PTRACE_KILL        = 8
PTRACE_SINGLESTEP  = 9
PTRACE_GETREGS     = 12
PTRACE_SETREGS     = 13
PTRACE_GETFPREGS   = 14
PTRACE_SETFPREGS   = 15
PTRACE_ATTACH      = 16
PTRACE_DETACH      = 17
PTRACE_SYSCALL     = 24
PTRACE_SETOPTIONS  = 0x4200
PTRACE_GETEVENTMSG = 0x4201
PTRACE_GETSIGINFO  = 0x4202
PTRACE_SETSIGINFO  = 0x4203
PTRACE_GETREGSET   = 0x4204
PTRACE_SETREGSET   = 0x4205
PTRACE_SEIZE       = 0x4206
PTRACE_INTERRUPT   = 0x4207
PTRACE_LISTEN      = 0x4208
PTRACE_GETSIGMASK  = 0x420A
PTRACE_SETSIGMASK  = 0x420B

PTRACE_O_TRACESYSGOOD   = 0x000001
PTRACE_O_TRACEFORK      = 0x000002
PTRACE_O_TRACEVFORK     = 0x000004
PTRACE_O_TRACECLONE     = 0x000008
PTRACE_O_TRACEEXEC      = 0x000010
PTRACE_O_TRACEVFORKDONE = 0x000020
PTRACE_O_TRACEEXIT      = 0x000040
PTRACE_O_EXITKILL       = 0x100000

PTRACE_EVENT_FORK       = 1
PTRACE_EVENT_VFORK      = 2
PTRACE_EVENT_CLONE      = 3
PTRACE_EVENT_EXEC       = 4
PTRACE_EVENT_VFORK_DONE = 5
PTRACE_EVENT_EXIT       = 6
PTRACE_EVENT_STOP       = 128

# Waiting, <linux/wait.h>.
WALL      = 0x40000000
WNOTHREAD = 0x20000000

# What a Stop is.
EXITED   = "exited"      # value: exit code; the process is gone
KILLED   = "killed"      # value: the signal that killed it; the process is gone
SIGNAL   = "signal"      # value: a signal about to be delivered; cont(signal=value) delivers it
EVENT    = "event"       # value: PTRACE_EVENT_*
SYSCALL  = "syscall"     # value: 0; entry to or exit from a system call (TRACESYSGOOD)
# fmt: on

Stop = namedtuple("Stop", "tid kind value")

_libc = ctypes.CDLL(None, use_errno=True)
_ptrace = _libc.ptrace
_ptrace.restype = ctypes.c_long
_ptrace.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
_writev = _libc.process_vm_writev
_writev.restype = ctypes.c_ssize_t
_writev.argtypes = (
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_ulong,
    ctypes.c_void_p,
    ctypes.c_ulong,
    ctypes.c_ulong,
)


class Registers(ctypes.Structure):
    """``struct user_regs_struct`` of x86-64; also the view of an i386 thread from here."""

    r15: int
    r14: int
    r13: int
    r12: int
    rbp: int
    rbx: int
    r11: int
    r10: int
    r9: int
    r8: int
    rax: int
    rcx: int
    rdx: int
    rsi: int
    rdi: int
    orig_rax: int
    rip: int
    cs: int
    eflags: int
    rsp: int
    ss: int
    fs_base: int
    gs_base: int
    ds: int
    es: int
    fs: int
    gs: int
    _fields_ = [(_name, ctypes.c_uint64) for _name in __annotations__]

    def copy(self) -> Registers:
        """The same values, apart from this object."""
        return Registers.from_buffer_copy(self)

    @property
    def is_32bit(self) -> bool:
        """Is the thread running i386 code?  (The selector of Linux's 32-bit code segment.)"""
        return self.cs == 0x23


_REGS_SIZE = ctypes.sizeof(Registers)
_IOV_MAX = 1024


def request(number: int, tid: int, address: int = 0, data: int = 0) -> int:
    """One ptrace(2) call; OSError says why not."""
    result: int = _ptrace(number, tid, address, data)
    if result == -1:
        code = ctypes.get_errno()
        if code:
            raise OSError(code, f"ptrace request {number:#x} on {tid}: {os.strerror(code)}")
    return result


def traceme() -> None:
    """Let the parent trace this process (PTRACE_TRACEME)."""
    request(PTRACE_TRACEME, 0)


def wait(tid: int = -1, *, block: bool = True) -> Stop | None:
    """Wait for one child or tracee (-1: any of this thread's); None only if not *block*.

    __WALL sees clone children too; __WNOTHREAD leaves other threads' children to them.
    """
    flags = WALL | WNOTHREAD | (0 if block else os.WNOHANG)
    pid, status = os.waitpid(tid, flags)
    return decode(pid, status) if pid else None


def decode(pid: int, status: int) -> Stop:
    """A wait status as a Stop."""
    low = status & 0x7F
    if low == 0:
        return Stop(pid, EXITED, status >> 8 & 0xFF)
    if status & 0xFF != 0x7F:
        return Stop(pid, KILLED, low)
    event = status >> 16
    number = status >> 8 & 0xFF
    if event:
        return Stop(pid, EVENT, event)
    if number == signal.SIGTRAP | 0x80:
        return Stop(pid, SYSCALL, 0)
    return Stop(pid, SIGNAL, number)


class Memory:
    """The memory of another process: /proc/PID/mem, kept open; page protections do not matter.

    The descriptor belongs to one address space: after an ``execve`` call ``reopen``.
    """

    __slots__ = ("fd", "pid")

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.fd = -1
        self.fd = os.open(f"/proc/{pid}/mem", os.O_RDWR | os.O_CLOEXEC)

    def reopen(self) -> None:
        """Look at the address space the process has now."""
        self.close()
        self.fd = os.open(f"/proc/{self.pid}/mem", os.O_RDWR | os.O_CLOEXEC)

    def close(self) -> None:
        """Close the descriptor; harmless when repeated."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __del__(self) -> None:
        self.close()

    def read(self, address: int, size: int) -> bytes:
        """Exactly *size* bytes, or TargetFault."""
        try:
            data = os.pread(self.fd, size, address)
        except (OSError, OverflowError):
            data = b""
        while len(data) < size:  # the kernel gives at most one run of mapped pages
            try:
                more = os.pread(self.fd, size - len(data), address + len(data))
            except (OSError, OverflowError):
                more = b""
            if not more:
                raise TargetFault(
                    f"cannot read {size - len(data)} bytes at {address + len(data):#x}"
                )
            data += more
        return data

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """All of *data*, also into read-only private mappings, or TargetFault."""
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view):
            try:
                n = os.pwrite(self.fd, view[done:], address + done)
            except (OSError, OverflowError):
                n = 0
            if n <= 0:
                raise TargetFault(f"cannot write {len(view) - done} bytes at {address + done:#x}")
            done += n

    def read_word(self, address: int, size: int = 8) -> int:
        """A little-endian unsigned integer."""
        return int.from_bytes(self.read(address, size), "little")

    def write_word(self, address: int, value: int, size: int = 8) -> None:
        """A little-endian integer, taken modulo its size."""
        self.write(address, (value & (1 << 8 * size) - 1).to_bytes(size, "little"))

    def read_string(self, address: int, limit: int = 1 << 20) -> bytes:
        """The bytes up to, not including, the first NUL."""
        out = bytearray()
        while len(out) < limit:
            n = 4096 - (address + len(out)) % 4096 if out else min(256, 4096 - address % 4096)
            chunk = self.read(address + len(out), n)
            end = chunk.find(b"\0")
            if end >= 0:
                return bytes(out + chunk[:end])
            out += chunk
        raise TargetFault(f"no end of the string at {address:#x} within {limit} bytes")

    def write_many(self, pieces: list[tuple[int, bytes | bytearray | memoryview]]) -> None:
        """Many (address, data) into *writable* pages with few calls (process_vm_writev(2))."""
        for start in range(0, len(pieces), _IOV_MAX):
            part = pieces[start : start + _IOV_MAX]
            keep = [_as_array(data) for _, data in part]
            local = (ctypes.c_size_t * (2 * len(part)))()
            remote = (ctypes.c_size_t * (2 * len(part)))()
            for i, ((address, _), array) in enumerate(zip(part, keep, strict=True)):
                local[2 * i] = ctypes.addressof(array)
                remote[2 * i] = address
                local[2 * i + 1] = remote[2 * i + 1] = len(array)
            total = sum(len(array) for array in keep)
            if _writev(self.pid, local, len(part), remote, len(part), 0) != total:
                for address, data in part:  # a short count does not say where: say it exactly
                    self.write(address, data)


def _as_array(data: bytes | bytearray | memoryview) -> ctypes.Array[ctypes.c_char]:
    """*data* as a ctypes array, without a copy where it is writable."""
    kind = ctypes.c_char * memoryview(data).nbytes
    if isinstance(data, bytes) or memoryview(data).readonly:
        return kind.from_buffer_copy(data)
    return kind.from_buffer(data)


class Tracee:
    """One traced thread.  Threads of one process share their Memory."""

    __slots__ = ("_buffer", "_buffer_address", "memory", "pid", "read", "tid", "vm", "write")

    def __init__(self, tid: int, memory: Memory | None = None) -> None:
        self.tid = tid
        self.memory = memory if memory is not None else Memory(tid)
        self.pid = self.memory.pid
        self.read = self.memory.read
        self.write = self.memory.write
        self.vm: Vm | None = None  # set it once one is installed
        self._buffer = Registers()
        self._buffer_address = ctypes.addressof(self._buffer)

    def thread(self, tid: int) -> Tracee:
        """Another traced thread of the same process."""
        other = Tracee(tid, self.memory)
        other.vm = self.vm
        return other

    # Registers.  The object returned is the tracee's own and is filled again by the next call.

    def regs(self) -> Registers:
        """The registers now (about 1 us)."""
        if _ptrace(PTRACE_GETREGS, self.tid, 0, self._buffer_address):
            self._fail("read the registers of")
        return self._buffer

    def set_regs(self, regs: Registers) -> None:
        """Set all registers."""
        if _ptrace(PTRACE_SETREGS, self.tid, 0, ctypes.addressof(regs)):
            self._fail("set the registers of")

    def sigmask(self) -> int:
        """Blocked signals, bit n-1 for signal n."""
        mask = ctypes.c_uint64()
        request(PTRACE_GETSIGMASK, self.tid, 8, ctypes.addressof(mask))
        return mask.value

    def set_sigmask(self, mask: int) -> None:
        """Block exactly these signals."""
        value = ctypes.c_uint64(mask)
        request(PTRACE_SETSIGMASK, self.tid, 8, ctypes.addressof(value))

    # Going on.

    def cont(self, signum: int = 0) -> None:
        """Run on, delivering *signum* if it is not 0."""
        if _ptrace(PTRACE_CONT, self.tid, 0, signum):
            self._fail("continue")

    def step(self, signum: int = 0) -> None:
        """Run one instruction; a SIGTRAP stop follows."""
        if _ptrace(PTRACE_SINGLESTEP, self.tid, 0, signum):
            self._fail("step")

    def until_syscall(self, signum: int = 0) -> None:
        """Run to the next entry to or exit from a system call."""
        if _ptrace(PTRACE_SYSCALL, self.tid, 0, signum):
            self._fail("continue")

    def detach(self, signum: int = 0) -> None:
        """Leave it alone from now on; it runs."""
        if _ptrace(PTRACE_DETACH, self.tid, 0, signum):
            self._fail("detach from")

    def interrupt(self) -> None:
        """Stop a seized thread (PTRACE_EVENT_STOP follows)."""
        request(PTRACE_INTERRUPT, self.tid)

    def listen(self) -> None:
        """Leave a seized thread in its group-stop, still reporting."""
        request(PTRACE_LISTEN, self.tid)

    def kill(self) -> None:
        """SIGKILL the process and reap it."""
        try:
            os.kill(self.pid, signal.SIGKILL)
            while os.waitpid(self.pid, WALL)[1] & 0xFF == 0x7F:
                pass
        except (ProcessLookupError, ChildProcessError):
            pass
        self.memory.close()

    def call_batch(self, calls: Iterable[Sequence[int]]) -> list[int]:
        """System calls made by the thread itself: (number, arguments...) each, see ``calls.Vm``."""
        assert self.vm is not None, "no Vm is installed in this process"
        return self.vm.call(self, calls)

    # Being told.

    def wait(self) -> Stop:
        """The next stop or the end of this thread."""
        pid, status = os.waitpid(self.tid, WALL)
        return decode(pid, status)

    def set_options(self, options: int) -> None:
        """PTRACE_O_*."""
        request(PTRACE_SETOPTIONS, self.tid, 0, options)

    def event_message(self) -> int:
        """What an EVENT stop has to say: the new thread's id, the former id, the exit status."""
        value = ctypes.c_ulong()
        request(PTRACE_GETEVENTMSG, self.tid, 0, ctypes.addressof(value))
        return value.value

    def siginfo(self) -> bytes:
        """``siginfo_t`` of the signal of this stop, 128 bytes."""
        buffer = (ctypes.c_char * 128)()
        request(PTRACE_GETSIGINFO, self.tid, 0, ctypes.addressof(buffer))
        return buffer.raw

    def set_siginfo(self, info: bytes) -> None:
        """Replace it."""
        buffer = (ctypes.c_char * 128).from_buffer_copy(info.ljust(128, b"\0"))
        request(PTRACE_SETSIGINFO, self.tid, 0, ctypes.addressof(buffer))

    def _fail(self, what: str) -> None:
        code = ctypes.get_errno()
        raise OSError(code, f"cannot {what} {self.tid}: {os.strerror(code)}")


def seize(tid: int, options: int = PTRACE_O_EXITKILL) -> None:
    """Trace a running thread without stopping it."""
    request(PTRACE_SEIZE, tid, 0, options)
