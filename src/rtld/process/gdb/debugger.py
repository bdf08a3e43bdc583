"""Between a session with gdb and the machine that runs the program: ``Debugger`` is the one's target, and is asked by the
other before and after each run of its CPU.

A breakpoint is an address at which the engine stops; to go on from there, one instruction is run without it. Where memory is
watched, every instruction is run by itself, and the memory compared: what system calls write is seen, too.
"""

from __future__ import annotations

import os
import signal
import socket

from rtld.backends.emulated.linux.calls import Ended
from rtld.process.gdb.packets import Line
from rtld.process.gdb.session import Loaded, Session, Stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from rtld.backends.emulated.faults import Fault
    from rtld.backends.emulated.linux.tasks import Task
    from rtld.backends.emulated.machine import Machine
    from rtld.process.emulated.execve import Process

SIGINT, SIGTRAP, SIGKILL = int(signal.SIGINT), int(signal.SIGTRAP), int(signal.SIGKILL)
_AUXV_END = (0, 0)
STEPS = 1000  # after which another thread has its turn, while memory is watched


class Debugger:
    """One gdb, and the process it looks at. The program stops before its first instruction."""

    def __init__(self, port: int, ready: Callable[[int], object] = lambda _: None) -> None:
        """*port* of the loopback interface, 0 for any; *ready* is told which, when gdb may come."""
        self._listener = socket.create_server(("127.0.0.1", port), backlog=1)
        self._ready = ready
        self._connection: socket.socket
        self._line: Line
        self._session: Session | None = None
        self._pending: Stop | None = None
        self._breakpoints: set[int] = set()
        self._step: Task | None = None
        self._watched: dict[tuple[int, int], bytes] = {}  # (address, size) -> what was there
        self._steps = 0  # while something is watched
        self.process: Process
        self.machine: Machine

    # -- the life of a process ------------------------------------------------------------------------

    def attach(self, process: Process) -> None:
        """A process that has not begun yet: the first one, or what execve has made of it."""
        self.process, self.machine = process, process.machine
        self.machine.debugger = self
        self._breakpoints.clear()
        self._watched.clear()
        self._step = None
        reason = ""
        if self._session is None:
            # Not earlier: gdb waits for two seconds only, and making a process may take longer.
            with self._listener:
                self._ready(self._listener.getsockname()[1])
                self._connection, _ = self._listener.accept()
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._line = Line(self._connection)
            self._session = Session(self, self._line)
        elif self._session.execs:
            reason = f"exec:{os.fsencode(process.program.path).hex()};"
        self._pending = Stop(1, SIGTRAP, reason=reason)

    def ended(self, status: int) -> None:
        """*status* is a wait status."""
        if self._session is not None:
            number = status & 0x7F
            self._session.ended(Stop(1, number, status >> 8, killed=bool(number)))
            self._connection.close()

    def linked(self) -> None:
        """There are other modules than before."""
        self._pending = Stop(self._number(self.machine.kernel.task), SIGTRAP, reason="library:;")

    # -- asked by the machine -------------------------------------------------------------------------

    def before(self, machine: Machine) -> bool:
        """Talk, if there is something to talk about; only one instruction?"""
        here = machine.resume & -2 if self._thumb else machine.resume
        if self._pending is None and self._line.interrupted():
            self._pending = Stop(self._number(machine.kernel.task), SIGINT)
        talked = self._pending is not None
        if self._pending is not None:
            self._talk(self._pending)
            here = machine.resume & -2 if self._thumb else machine.resume
        stepped = self._step is not None and self._step is machine.kernel.task
        if self._watched:
            self._steps += 1
            machine.turn |= self._steps % STEPS == 0  # for who waits for another thread
        if stepped or self._watched or (talked and here in self._breakpoints):
            machine.engine.stop_at(())
            return True
        machine.engine.stop_at(self._breakpoints)
        return False

    def _talk(self, stop: Stop) -> None:
        session = self._session
        assert session is not None
        self._pending, self._step = None, None
        thread = session.stopped(stop)
        if session.killed:
            raise Ended(0, SIGKILL)
        if session.gone:
            self._breakpoints.clear()
            self._watched.clear()
            self.machine.debugger = None
        elif thread:
            task = self._task(thread)
            self._step = task
            if task is not self.machine.kernel.task and task.sleep is None:
                self.machine.kernel.switch(task)

    def after(self, machine: Machine) -> bool:
        """Was it a breakpoint, the end of a step, a change of what is watched?"""
        task = machine.kernel.task
        if self._watched and self._changed(self._number(task)):
            return True
        here = machine.resume & -2 if self._thumb else machine.resume
        stepped = self._step is task and task.sleep is None
        if not stepped and here not in self._breakpoints:
            return False
        self._pending = Stop(self._number(task), SIGTRAP)
        return True

    def _changed(self, thread: int) -> bool:
        changed = False
        for (address, size), before in self._watched.items():
            now = self._bytes(address, size)
            if now != before:
                self._watched[address, size] = now
                self._pending = Stop(thread, SIGTRAP, reason=f"watch:{address:x};")
                changed = True
        return changed

    def _bytes(self, address: int, size: int) -> bytes:
        """Nothing, where there is no memory (any more)."""
        return self.read(address, size) if self.machine.memory.covers(address, size) else b""

    def fault(self, machine: Machine, fault: Fault) -> None:
        """What a kernel answers with a signal: gdb looks at it before the program does."""
        self._talk(Stop(self._number(machine.kernel.task), fault.signal))

    # -- a session's target ---------------------------------------------------------------------------

    @property
    def cpu(self) -> str:
        return self.machine.cpu.name

    @property
    def order(self) -> str:
        return self.machine.cpu.order

    @property
    def path(self) -> str:
        return self.process.program.path

    @property
    def _thumb(self) -> bool:
        return self.machine.cpu.name == "arm"

    def _number(self, task: Task) -> int:
        """gdb's number of a thread: the guest's, counted from 1."""
        return task.tid - os.getpid() + 1

    def _task(self, number: int) -> Task:
        for task in self.machine.kernel.tasks:
            if self._number(task) == number:
                return task
        raise KeyError(number)

    def threads(self) -> dict[int, str]:
        """Running or asleep."""
        return {
            self._number(task): "waits in a system call" if task.sleep is not None else "runs"
            for task in self.machine.kernel.tasks
        }

    def register(self, thread: int, name: str) -> int:
        task = self._task(thread)
        machine = self.machine
        current = task is machine.kernel.task
        if name == machine.cpu.pc:
            at = machine.resume if current else task.resume
            return at & -2 if self._thumb else at
        with _Registers(machine, task):
            return _number_of(machine.engine.get(name))

    def set_register(self, thread: int, name: str, value: int) -> None:
        task = self._task(thread)
        machine = self.machine
        if name == machine.cpu.pc:
            at = machine.resume if task is machine.kernel.task else task.resume
            value |= at & 1 if self._thumb else 0
            if task is machine.kernel.task:
                machine.resume = value
            else:
                task.resume = value
            return
        with _Registers(machine, task):
            machine.engine.set(name, _value_of(name, value))

    def read(self, address: int, size: int) -> bytes:
        return self.machine.read(address, size)

    def write(self, address: int, data: bytes) -> None:
        self.machine.write(address, data)

    def auxv(self) -> bytes:
        size, order = self.machine.cpu.bits // 8, "little" if self.order == "<" else "big"
        rows = [(kind, value) for kind, (_, value) in self.process.aux.items() if kind]
        return b"".join(
            word.to_bytes(size, order)  # type: ignore[arg-type]
            for row in (*rows, _AUXV_END)
            for word in row
        )

    def modules(self) -> Iterable[Loaded]:
        """What our linker has loaded; empty while ld.so is at work."""
        guest = self.process.guest
        if guest is None or not guest.linked:
            return []
        result = []
        for number, module in enumerate(guest.ns.modules):
            dynamic = module.file.segment(2)
            at = module.base + (dynamic.vaddr if dynamic is not None else 0)
            result.append(Loaded(module.path, number + 1, module.base, at))
        return result

    def stop_at(self, address: int, wanted: bool) -> None:
        """Set or take away a breakpoint."""
        (self._breakpoints.add if wanted else self._breakpoints.discard)(address)

    def stop_when_changed(self, address: int, size: int, wanted: bool) -> None:
        """Set or take away a watchpoint."""
        if wanted:
            self._watched[address, size] = self._bytes(address, size)
        else:
            self._watched.pop((address, size), None)

    @property
    def has_modules(self) -> bool:
        """Are ``modules`` to be believed?  Else gdb finds them itself, in ld.so's list."""
        return self.process.guest is not None


class _Registers:
    """``with``: a task's registers in the CPU."""

    def __init__(self, machine: Machine, task: Task) -> None:
        self.machine = machine
        self.task = task
        self.keep: object = None

    def __enter__(self) -> None:
        if self.task is not self.machine.kernel.task:
            self.keep = self.machine.engine.save()
            self.machine.engine.restore(self.task.context)

    def __exit__(self, *_: object) -> None:
        if self.keep is not None:
            self.task.context = self.machine.engine.save()
            self.machine.engine.restore(self.keep)


def _value_of(name: str, value: int) -> Any:
    """The reverse of ``_number_of``."""
    return (
        (value & 0xFFFFFFFFFFFFFFFF, value >> 64)
        if name[:2] == "st" and name[2:].isdigit()
        else value
    )


def _number_of(value: object) -> int:
    """A register's value: x87's are (mantissa, sign and exponent)."""
    if isinstance(value, tuple):
        mantissa, exponent = value
        return int(exponent) << 64 | int(mantissa)
    assert isinstance(value, int)
    return value
