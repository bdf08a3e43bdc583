"""A process that waits for us without being traced: where ptrace(2) is forbidden, or somebody else traces.

It reads from a socket whenever a traced one would stand still: first in the list that has loaded it, in a loop that makes one
system call after the other for us, later in ``park`` of the live anchor's code (arch/x86_64_live.py). Meanwhile its memory is
ours through /proc/PID/mem. A ``Parked`` answers to what linking asks of a ``Tracee``.
"""

from __future__ import annotations

import os
import signal

from rtld.backends.child.anchor import STATE_SP
from rtld.backends.child.calls import pack, signed_result
from rtld.backends.child.live_anchor import CONTROL_PARKED, CONTROL_SOCKET
from rtld.backends.child.ptrace import SIGNAL, WALL, Memory, Registers, Stop, decode
from rtld.errors import TargetFault, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from socket import socket

    from rtld.backends.child.calls import CallList
    from rtld.backends.child.loading import Loading

_RECORD = 64
# What ``park`` keeps or loads, in the order of its words.
_SAVED = ("rsp", "rdx", "fs_base")
_LOADED = ("rip", "rdi", "r12", "r13")


class WaitingLoop:
    """Records at the end of a list: say so, wait, make one call, and again; until we let it go on."""

    def __init__(self, calls: CallList, socket_fd: int, gone: int) -> None:
        """*gone*: the list to work off when we are no more."""
        byte = calls.word(0)
        self.start = calls.address + _RECORD * len(calls)
        calls.call("getpid")  # a failed call writes its address into this record
        calls.call("write", socket_fd, byte, 1, failure=gone)
        calls.call("read", socket_fd, byte, 1, failure=gone)
        self.slot = calls.address + _RECORD * calls.call("getpid")
        self.turn = calls.address + _RECORD * calls.call("getpid")
        self._close, self._getpid = calls.nr["close"], calls.nr["getpid"]

    def ask(self, memory: Memory, number: int, args: tuple[int, ...]) -> None:
        """Prepare one call, and the way back: a call that fails leads to the start."""
        memory.write(self.slot, pack(number, args))
        memory.write(self.turn, pack(self._close, (-1,), failure=self.start))

    def leave(self, memory: Memory) -> None:
        """Prepare to go on behind the loop."""
        memory.write(self.slot, pack(self._getpid, ()))
        memory.write(self.turn, pack(self._getpid, ()))


class Parked:
    """The process *pid*, waiting at the end of its ``Loading``. *theirs*: its descriptor of the socket."""

    def __init__(
        self, pid: int, ours: socket, theirs: int, loading: Loading, loop: WaitingLoop
    ) -> None:
        self.pid = self.tid = pid
        try:
            self.memory = Memory(pid)
        except OSError as error:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, WALL)
            raise Unsupported(
                f"the memory of a child cannot be reached here: {error.strerror}"
            ) from None
        self.read = self.memory.read
        self.write = self.memory.write
        self.descriptor = theirs
        self._socket = ours
        self._loop: WaitingLoop | None = loop
        self._sp = loading.anchor.state(STATE_SP)
        self._control = 0

    def call(self, number: int, *args: int) -> int:
        """One system call, while it is still in the list; errors are negative."""
        assert self._loop is not None
        self._loop.ask(self.memory, number, args)
        self._socket.send(b"\0")
        if self.wait().kind != SIGNAL:
            raise TargetFault(f"the process {self.pid} ended at its start")
        return signed(signed_result(self.read(self._loop.slot, _RECORD), 64)[1])

    def wait_at(self, control: int) -> None:
        """From now on it waits in the live anchor with this control page."""
        self._control = control
        self.memory.write_word(control + CONTROL_SOCKET, self.descriptor)

    def regs(self) -> Registers:
        """Those registers that linking asks for."""
        regs = Registers()
        if self._loop is not None:
            regs.rsp = self.memory.read_word(self._sp)
        else:
            at = self._control + CONTROL_PARKED
            for number, name in enumerate(_SAVED):
                setattr(regs, name, self.memory.read_word(at + 8 * number))
        return regs

    def set_regs(self, regs: Registers) -> None:
        """Where it goes on, and with what."""
        at = self._control + CONTROL_PARKED
        self.memory.write_word(at, regs.rsp)
        for number, name in enumerate(_LOADED, len(_SAVED)):
            self.memory.write_word(at + 8 * number, getattr(regs, name))

    def cont(self, signum: int = 0) -> None:
        """Let it go on."""
        if signum:
            os.kill(self.pid, signum)
        if self._loop is not None:
            self._loop.leave(self.memory)
            self._loop = None
        self._socket.send(b"\0")

    def wait(self) -> Stop:
        """The next time it waits, as the SIGTRAP that a tracer would see; or its end."""
        if self._socket.recv(1):
            return Stop(self.pid, SIGNAL, int(signal.SIGTRAP))
        return decode(*os.waitpid(self.pid, WALL))

    def detach(self) -> None:
        """Let it go on for good."""
        self.cont()
        self._socket.close()

    def kill(self) -> None:
        """SIGKILL the process and reap it."""
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, WALL)
        except (ProcessLookupError, ChildProcessError):
            pass
        self._socket.close()
        self.memory.close()


def signed(value: int) -> int:
    """A 64-bit word as a number with a sign."""
    return value - (1 << 64) if value >> 63 else value
