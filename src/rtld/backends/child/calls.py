"""Lists of system calls that another process carries out by itself: one stop for hundreds of calls.

    tracee.vm = Vm(tracee, address)                  # code and list at `address`, writable and executable
    base, fd = tracee.call_batch([(NR["mmap"], 0, size, 3, 0x22, -1, 0), (NR["openat"], -100, path, 0)])

Errors are negative: -2 is -ENOENT.  `machine.py` has the machine code and says how it works.
"""

from __future__ import annotations

import os
import signal
import struct

from rtld.backends.child import machine
from rtld.backends.child.ptrace import EXITED, KILLED, SIGNAL, Tracee
from rtld.errors import TargetFault, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rtld.backends.child.ptrace import Registers

# System call numbers, <asm/unistd_64.h> and <asm/unistd_32.h>.
# fmt: off
#                       x86-64 i386
_NUMBERS = {
    "read":             (0,    3),
    "write":            (1,    4),
    "close":            (3,    6),
    "mmap":             (9,    192),   # i386: mmap2, whose offset counts pages
    "mprotect":         (10,   125),
    "munmap":           (11,   91),
    "brk":              (12,   45),
    "rt_sigaction":     (13,   174),
    "rt_sigprocmask":   (14,   175),
    "mremap":           (25,   163),
    "dup2":             (33,   63),
    "getpid":           (39,   20),
    "execve":           (59,   11),
    "fcntl":            (72,   221),   # i386: fcntl64
    "ptrace":           (101,  26),
    "sigaltstack":      (131,  186),
    "personality":      (135,  136),
    "prctl":            (157,  172),
    "arch_prctl":       (158,  384),
    "gettid":           (186,  224),
    "futex":            (202,  240),
    "exit_group":       (231,  252),
    "openat":           (257,  295),
    "memfd_create":     (319,  356),
    "userfaultfd":      (323,  374),
}
# fmt: on
NR = {name: pair[0] for name, pair in _NUMBERS.items()}
NR_I386 = {name: pair[1] for name, pair in _NUMBERS.items()}
NR_OF = {64: NR, 32: NR_I386}

# Operations of the list that are no system calls; the arguments are addresses unless said otherwise.
# fmt: off
STOP  = -1    # int3: a tracer takes over
ADD   = -2    # *a0 += *a1
AND   = -3    # *a0 &= *a1
LOAD  = -4    # *a0 = **a1
STORE = -5    # **a0 = *a1
COPY  = -6    # memcpy(a0, a1, a2 bytes)
FILL  = -7    # memset(a0, 0, a2 bytes)
GO    = -8    # leave: entry a0, sp a1; unmap a4, a5 bytes, by the gadget a3, which pops a2 words
# fmt: on

RECORD = 64
_record = struct.Struct("<iI7Q")
_results = {64: struct.Struct("<56xQ"), 32: struct.Struct("<56xI4x")}
_MAX_ERRNO = 4095
_WORD = (1 << 64) - 1


def pack(number: int, args: Sequence[int], failure: int = 0) -> bytes:
    """One record.  *failure*: the list to work off if the call fails; 0: the result is just noted."""
    a = [value & _WORD for value in args]
    return _record.pack(number, 0, *a, *[0] * (6 - len(a)), failure & _WORD)


class Vm:
    """The batch machine in a traced process: LOOP at *address*, the list behind it."""

    __slots__ = ("address", "capacity", "list", "loop", "scratch")

    SIZE = 0x4000  # what to map for it: writable, executable
    _LIST = 0x200
    _SCRATCH = 0x3000

    def __init__(self, tracee: Tracee, address: int) -> None:
        """Write the code to *address*, where SIZE bytes are mapped with all permissions."""
        self.address = self.loop = address
        self.list = address + self._LIST
        self.capacity = (self._SCRATCH - self._LIST) // RECORD - 1
        self.scratch = address + self._SCRATCH  # 4 KiB for the arguments of calls
        code = machine.I386_LOOP if tracee.regs().is_32bit else machine.X86_64_LOOP
        tracee.write(address, code.code)

    def call(
        self, tracee: Tracee, calls: Iterable[Sequence[int]], *, masked: bool = True
    ) -> list[int]:
        """Let *tracee* make the calls, each (number, arguments...), and return their results.

        The thread must be stopped; its registers and blocked signals are as before afterwards.
        Signals that come meanwhile wait (*masked*), or come again.
        """
        todo = list(calls)
        saved = tracee.regs().copy()
        if masked:
            mask = tracee.sigmask()
            # Not SIGTRAP: int3 while it is blocked would make the kernel unblock it and forget its handler.
            tracee.set_sigmask(_WORD & ~(1 << signal.SIGTRAP - 1))
        results: list[int] = []
        try:
            for start in range(0, len(todo), self.capacity):
                results += self._run(tracee, saved, todo[start : start + self.capacity])
        finally:
            if tracee.memory.fd >= 0:
                tracee.set_regs(saved)
                if masked:
                    tracee.set_sigmask(mask)
        return results

    def _run(self, tracee: Tracee, saved: Registers, calls: list[Sequence[int]]) -> list[int]:
        records = [pack(c[0], c[1:]) for c in calls]
        tracee.write(self.list, b"".join(records) + pack(STOP, ()))
        work = saved.copy()
        work.rip = self.loop
        work.orig_rax = _WORD  # else the kernel may want to restart a call
        work.eflags = saved.eflags & ~0x500  # no single step; string operations upwards
        if work.is_32bit:
            work.rsp = self.list
        else:
            work.r15 = self.list
        tracee.set_regs(work)
        run_to_trap(tracee)
        bits = 32 if work.is_32bit else 64
        done = tracee.read(self.list, RECORD * len(calls))
        top, least = 1 << bits, (1 << bits) - _MAX_ERRNO
        return [r - top if r >= least else r for (r,) in _results[bits].iter_unpack(done)]


def run_to_trap(tracee: Tracee) -> None:
    """Continue to the next SIGTRAP; other signals are sent again afterwards."""
    late = []
    tracee.cont()
    while True:
        stop = tracee.wait()
        if stop.kind == SIGNAL and stop.value == signal.SIGTRAP:
            break
        if stop.kind in (EXITED, KILLED):
            tracee.memory.close()
            raise TargetFault(f"the process {tracee.pid} ended ({stop.kind} {stop.value})")
        if stop.kind == SIGNAL:
            if stop.value in (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL):
                at = tracee.regs().rip
                raise TargetFault(f"signal {stop.value} at {at:#x} while setting up {tracee.pid}")
            late.append(stop.value)
        tracee.cont()
    for number in late:
        os.kill(tracee.pid, number)


def auxv(pid: int, bits: int = 64) -> dict[int, int]:
    """The auxiliary vector of a process as the kernel remembers it (/proc/PID/auxv)."""
    with open(f"/proc/{pid}/auxv", "rb") as file:
        data = file.read()
    pair = struct.Struct("<QQ" if bits == 64 else "<II")
    whole = len(data) - len(data) % pair.size
    return dict(pair.iter_unpack(data[:whole]))


def vdso_gate(vdso: bytes) -> tuple[int, int] | None:
    """(offset, words popped) of a system call in an x86-64 vdso that soon returns, if it has one.

    Between `syscall` and `ret` there may only be `xor` of registers and `pop`, other than of rsp.
    """
    vdso += bytes(4)
    start = vdso.find(b"\x0f\x05")
    while start >= 0:
        at, pops = start + 2, 0
        while True:
            at += vdso[at] in (0x41, 0x45)  # REX.B, REX.RB
            if vdso[at] == 0x31 and vdso[at + 1] >= 0xC0:
                at += 2
            elif 0x58 <= vdso[at] <= 0x5F and vdso[at] != 0x5C:
                at += 1
                pops += 1
            else:
                break
        if vdso[at] == 0xC3:
            return start, pops
        start = vdso.find(b"\x0f\x05", start + 1)
    return None


def find_gate(tracee: Tracee) -> int:
    """The address of a system call instruction in the vdso of *tracee*."""
    bits = 32 if tracee.regs().is_32bit else 64
    base = auxv(tracee.pid, bits).get(33, 0)  # AT_SYSINFO_EHDR
    if base:
        code = b"\xcd\x80" if bits == 32 else b"\x0f\x05"
        at = tracee.read(base, 4096).find(code)
        if at < 0:
            at = tracee.read(base, 8192).find(code)
        if at >= 0:
            return base + at
    raise Unsupported("this kernel gives programs no vdso")


def call_once(tracee: Tracee, gate: int, number: int, *args: int) -> int:
    """One system call by way of the instruction at *gate*: needs no code of ours in the process."""
    saved = tracee.regs().copy()
    work = saved.copy()
    a = [value & _WORD for value in args] + [0] * (6 - len(args))
    work.rip, work.rax, work.orig_rax = gate, number, _WORD
    work.eflags = saved.eflags & ~0x500
    if work.is_32bit:
        work.rbx, work.rcx, work.rdx, work.rsi, work.rdi, work.rbp = (v & 0xFFFFFFFF for v in a)
    else:
        work.rdi, work.rsi, work.rdx, work.r10, work.r8, work.r9 = a
    tracee.set_regs(work)
    late = []
    while True:
        tracee.step()
        stop = tracee.wait()
        if stop.kind in (EXITED, KILLED):
            tracee.memory.close()
            raise TargetFault(f"the process {tracee.pid} ended ({stop.kind} {stop.value})")
        if stop.kind == SIGNAL and stop.value == signal.SIGTRAP:
            break
        if stop.kind == SIGNAL:
            late.append(stop.value)
    result = tracee.regs().rax
    tracee.set_regs(saved)
    for signum in late:
        os.kill(tracee.pid, signum)
    result = result & 0xFFFFFFFF if saved.is_32bit else result
    top = 1 << (32 if saved.is_32bit else 64)
    return result - top if result >= top - _MAX_ERRNO else result


class CallList:
    """A list being written, for a process that works it off by itself; it stands at *address*.

    Every record and field has an address, so that an earlier record can change a later one.
    """

    def __init__(self, address: int, capacity: int, bits: int) -> None:
        self.address = address
        self.bits = bits
        self.nr = NR_OF[bits]
        self._capacity = capacity
        self._records: list[bytes] = []
        self._data = bytearray()

    def __len__(self) -> int:
        return len(self._records)

    def call(self, name: str, *args: int, failure: int = 0) -> int:
        """Append a system call; returns its index.  *failure*: address of a list, see ``failing``."""
        return self.add(self.nr[name], *args, failure=failure)

    def add(self, number: int, *args: int, failure: int = 0) -> int:
        """Append any record; returns its index."""
        if len(self._records) >= self._capacity:
            raise AssertionError("the call list is longer than what was reserved for it")
        self._records.append(pack(number, args, failure))
        return len(self._records) - 1

    def field(self, index: int, number: int) -> int:
        """The address of argument *number* of the record *index*."""
        return self.address + RECORD * index + 8 + 8 * number

    def result(self, index: int) -> int:
        """The address of its result."""
        return self.address + RECORD * index + 56

    def data(self, content: bytes) -> int:
        """Put *content* behind the list; returns its address, a multiple of 8."""
        at = self.address + RECORD * self._capacity + len(self._data)
        self._data += content + b"\0" * (-len(content) % 8)
        return at

    def word(self, value: int) -> int:
        """A word of memory that starts as *value*; returns its address."""
        return self.data((value & _WORD).to_bytes(8, "little"))

    def forget_posix_spawn(self) -> None:
        """glibc's posix_spawn leaves its two internal signals ignored: back to their defaults."""
        action = self.data(bytes(32))
        for number in (32, 33):
            self.call("rt_sigaction", number, action, 0, 8)

    # Lists for failures; see LOOP in machine.py.  Each returns its address.

    def failing(self, status_fd: int) -> int:
        """Write the failed record to *status_fd*; exit 126."""
        record = pack(self.nr["write"], (status_fd, 0, RECORD))
        return self.data(record + pack(self.nr["exit_group"], (126,)))

    def complaining(self, message: bytes) -> int:
        """Write *message* to stderr; exit 126."""
        record = pack(self.nr["write"], (2, self.data(message), len(message)))
        return self.data(pack(self.nr["getpid"], ()) + record + pack(self.nr["exit_group"], (126,)))

    def leaving(self) -> int:
        """Exit 126 without a word: whoever would hear it is gone."""
        return self.data(pack(self.nr["getpid"], ()) + pack(self.nr["exit_group"], (126,)))

    def stopping(self) -> int:
        """Stop, for a tracer."""
        return self.data(pack(STOP, ()))

    def image(self) -> bytes:
        """The bytes to stand at the list's address."""
        records = b"".join(self._records)
        return records + b"\0" * (RECORD * self._capacity - len(records)) + bytes(self._data)


def signed_result(record: bytes, bits: int) -> tuple[int, int]:
    """(number, result) of a record that came back."""
    number = int.from_bytes(record[:4], "little", signed=True)
    return number, int.from_bytes(record[56 : 56 + bits // 8], "little", signed=True)
