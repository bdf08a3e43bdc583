"""A CPU that runs Windows code: memory, threads, calls between the program and the functions of the tables.

A function of ours is a slot that halts the CPU: ``emu_start`` returns, without a hook, and the slot's number says which
it is. Nothing is ever run inside something else: a function that calls the program is a generator, kept on its thread's
stack of frames, and goes on when the program comes back. So threads and waits are a matter of which registers are loaded.
"""

from __future__ import annotations

import struct
import time

from rtld.backends.emulated.cpus import cpu_named
from rtld.backends.emulated.engine import Engine, Stopped
from rtld.backends.emulated.gate import NOTHING
from rtld.backends.emulated.memory import PAGE, READ, WRITE, Memory, NotMapped
from rtld.backends.emulated.watch import Watch
from rtld.backends.windows import returns
from rtld.backends.windows.api import (
    LATE,
    PYTHON,
    TABLES,
    TRAP,
    Api,
    Call,
    Exited,
    Jump,
    Resume,
    ThreadExited,
    Unhandled,
    Wait,
)
from rtld.backends.windows.dispatch import dispatch
from rtld.backends.windows.hardware import Guard, bad_pointer, hardware
from rtld.backends.windows.machine_memory import MachineMemory
from rtld.backends.windows.system import Area
from rtld.backends.windows.threads import Frame, Switch, Thread
from rtld.core.space import page_up
from rtld.errors import TargetFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from typing import Any

    from rtld.backends.windows.system import System

STACK = 1 << 20
TEB_SIZE = 2 * PAGE
_MASK64 = (1 << 64) - 1
_READ_WRITE = 4  # PAGE_READWRITE
_SHARED = 0x7FFE0000  # see ``shareddata``
#: What an exception of the CPU runs: it is called by nobody.
_DISPATCHER = Api("ntdll.dll", "KiUserExceptionDispatcher", TRAP, "v", "stdcall", None)

#: What Python says to arguments that no program should give: it ends the program, not rtld.
_REFUSED = (
    AttributeError,
    TypeError,
    ValueError,
    OverflowError,
    MemoryError,
    OSError,
    struct.error,
)


def _refused(api: Api, error: Exception, arguments: Sequence[Any]) -> Exception:
    """The end of the program, when it was its fault; the error itself, when it was ours, or a Python callback's."""
    if api.dll == PYTHON:
        return error
    if isinstance(error, AttributeError | TypeError):
        if None not in arguments:
            return error
        return TargetFault(f"{api.dll}!{api.name} was given a null pointer")
    return TargetFault(f"{api.dll}!{api.name}: {error or type(error).__name__}")


class Machine(MachineMemory):
    """Windows' threads on a CPU: ``machine_x86`` and ``machine_aarch64`` are the CPUs' own parts, ``machine_for`` knows which."""

    returns: int  # the page that the program's functions return to
    gate: Any
    _bank: Any  # program counter, stack pointer, arguments
    _floats: Any
    _result: Any

    def __init__(self, arch: str, *, seconds: float | None = None, memory: int = 1 << 32) -> None:
        self.cpu = cpu_named(arch)
        self.bits = self.cpu.bits
        self.word = self.bits // 8
        self.engine = Engine(self.cpu)
        super().__init__(Memory(self.engine, self.bits, 0x10000, memory))
        self.heap = None  # the system makes its own
        self.deadline = None if seconds is None else time.monotonic() + seconds
        self.system: System
        self.calls: dict[str, int] = {}  # name -> how often
        self.threads: list[Thread] = []
        self.current: Thread
        self._numbers = 0x20
        self.on_thread: Callable[[Thread], None] = lambda _thread: None
        for register, value, _, keep in self.cpu.setup:
            self.engine.set(register, (self.engine.get(register) if keep else 0) | value)
        self._watch = Watch(self.engine)
        self._interrupt: int | None = None
        self._shared: Any = None
        self.memory.reserve(PAGE, PAGE, _SHARED)
        self.unhandled = ""  # what is to be said about the exception that has ended the process
        self._prepare()

    # -- what depends on the CPU ------------------------------------------------------------------

    def _prepare(self) -> None:
        """Code of ours, registers that are read together."""
        raise NotImplementedError

    def _use_teb(self, _teb: int) -> None:
        """The thread's block where its code looks for it."""
        raise NotImplementedError

    def _enter(self, _call: Call, _frame: Frame) -> int:
        """Arguments where a function of the program looks for them; where it begins."""
        raise NotImplementedError

    def _back(self, _sp: int) -> int | None:
        """The program has returned from a function that one of ours had called."""
        raise NotImplementedError

    def _arguments(self, _api: Api, _registers: list[int]) -> list[Any]:
        """The arguments of a call to us, as the signature says."""
        raise NotImplementedError

    def _return(self, _api: Api, _sp: int, _result: Any) -> int:
        """The result to where it belongs, the stack as the caller expects it; where to go on."""
        raise NotImplementedError

    # -- threads ----------------------------------------------------------------------------------

    @property
    def teb(self) -> int:
        return self.current.teb

    def new_thread(self, peb: int, body: Generator[Any, Any, Any], stack: int = STACK) -> Thread:
        """A thread that runs ``body``, a generator of effects; its result is the exit code."""
        stack = page_up(max(stack, 1 << 16))
        low = self.guest.reserve(stack, None)
        self.guest.commit(low, stack, READ | WRITE)
        self.system.areas[low] = Area(low, stack, "stack", _READ_WRITE)
        teb = self.guest.allocate(TEB_SIZE)
        self._numbers += 4
        thread = Thread(self._numbers, teb, low + stack - 256 & -16)
        thread.stack = low
        thread.guard = Guard(self.memory, low)
        thread.frames.append(Frame(body, None, thread.sp))
        self._store(teb + (0x1478 if self.bits == 64 else 0xE0C), low)  # DeallocationStack
        values = (0, low + stack, thread.guard.limit)  # no exception handler, StackBase, StackLimit
        wide = self.bits == 64
        for number, value in enumerate(values):
            self._store(teb + number * self.word, value if number or wide else 0xFFFFFFFF)
        self._store(teb + 6 * self.word, teb)  # Self
        self._store(teb + (0x40 if wide else 0x20), 4)  # process id
        self._store(teb + (0x48 if wide else 0x24), thread.number)
        self._store(teb + (0x60 if wide else 0x30), peb)
        self.threads.append(thread)
        return thread

    def give_back(self, thread: Thread) -> None:
        """The stack of a thread that has ended, and that nothing will be called on any more."""
        area = self.system.areas.pop(thread.stack, None)
        if area is not None:
            self.guest.release(area.base, area.size)

    def put_limit(self, limit: int) -> None:
        """StackLimit of the thread that runs."""
        self._store(self.teb + 2 * self.word, limit)

    def _store(self, address: int, value: int) -> None:
        self.memory.write(address, value.to_bytes(self.word, "little"))

    def run(self, until: Thread | None = None) -> int:
        """Run all threads until the process, or one of them, has ended; its exit status or code. TargetFault."""
        try:
            while until is None or until.code is None:
                thread = self._next()
                if thread is None:
                    return self.system.exit_code
                self._switch(thread)
                self._run_thread(thread)
            return until.code
        except Unhandled as ended:
            self.unhandled = ended.report
            return ended.status
        except Exited as ended:
            return ended.status

    def _next(self) -> Thread | None:
        """A thread that can go on, the longest waiting first; sleeps until there is one."""
        while True:
            alive = [t for t in self.threads if t.code is None]
            if not alive:
                return None
            now = time.monotonic()
            if self.deadline is not None and now > self.deadline:
                raise TargetFault("the time that it was given is over")
            soon: float | None = None
            for thread in alive:
                if thread.suspended:
                    continue
                if thread.wait is None:
                    return self._turn(thread)
                if thread.wait.ready():
                    thread.wait, thread.answer = None, True
                    return self._turn(thread)
                if thread.deadline is not None:
                    if now >= thread.deadline:
                        thread.wait, thread.answer = None, False
                        return self._turn(thread)
                    soon = thread.deadline if soon is None else min(soon, thread.deadline)
                elif thread.wait.outside:
                    soon = now + 0.002 if soon is None else min(soon, now + 0.002)
            if soon is None:
                raise TargetFault("every thread waits for another: the program would never end")
            time.sleep(max(0.0, min(soon - now, 0.05)))

    def _turn(self, thread: Thread) -> Thread:
        self.threads.remove(thread)
        self.threads.append(thread)
        return thread

    def _switch(self, thread: Thread) -> None:
        self.current = thread
        if thread.context is not None:
            self.engine.restore(thread.context)
        self._use_teb(thread.teb)
        if thread.context is None:
            self.engine.set(self.cpu.sp, thread.sp)

    def _run_thread(self, thread: Thread) -> None:
        """Until it waits or ends."""
        try:
            pc, thread.pc = thread.pc, None
            if pc is None:
                pc = self._resume(thread, thread.answer)
            while pc is not None:
                pc = self._run_code(pc)
                # A program that calls us all the time is hardly ever stopped while the CPU runs.
                if self.deadline is not None and pc is not None and time.monotonic() > self.deadline:  # fmt: skip
                    raise self._time_is_over(pc)
        except ThreadExited as ended:
            self.end(thread, ended.code)

    def end(self, thread: Thread, code: int) -> None:
        """A thread is no more; who waits for it goes on."""
        thread.code = code
        if thread.handle is not None:
            thread.handle.signalled = True
        self.on_thread(thread)

    # -- code and functions -----------------------------------------------------------------------

    def _run_code(self, pc: int) -> int | None:
        """Run the program until it calls a function of ours; where to go on, None when the thread waits."""
        engine = self.engine
        engine.allow()
        self._interrupt = None
        stops = self._watch.stops
        try:
            with self._watch:
                engine.run(pc, 1)
        except Stopped as error:
            return self._failed(error) if not self._reads_shared() else engine.get(self.cpu.pc)
        if self._interrupt is not None:
            engine.exception_over()
            return self._failed(None, self._interrupt)
        registers = self._bank.read()
        slot = registers[0] - self.halt
        api = self.slots.get(slot)
        if api is None:
            if returns.kind_at(slot - self.returns) >= 0:
                return self._back(registers[1])
            if stops != self._watch.stops:
                return self._turn_is_over(registers[0])
            return self._failed(None)
        try:
            return self._call(api, registers)
        except NotMapped as error:
            if self._has_shared(error.address):
                return self._call(api, registers)
            self._forget_dead(registers[1] + 1)
            return self._bad_pointer(error, registers)

    def _reads_shared(self) -> bool:
        """Has it stopped since it wants to read what every program can read, and which is there from now on?"""
        wanted = self.engine.wanted
        return wanted is not None and not wanted[2] and self._has_shared(wanted[0])

    def _has_shared(self, address: int) -> bool:
        """Is it an address of the page that every program can read, and that is there from now on?"""
        if not _SHARED <= address < _SHARED + PAGE or self._shared is not None:
            return False
        from rtld.backends.windows.shareddata import SharedData

        self._shared = SharedData(self.system)
        self._shared.map(self.engine, self.memory)
        return True

    def _on_interrupt(self) -> int:
        self._interrupt = self.gate.found()[0]
        self.engine.stop()
        return NOTHING

    def _failed(self, error: Stopped | None, number: int | None = None) -> int | None:
        """The CPU cannot go on; see ``hardware``."""
        return self._exception(hardware(self, error, number))

    def _bad_pointer(self, error: NotMapped, registers: list[int]) -> int | None:
        """A function of ours was given a pointer to nowhere."""
        return self._exception(bad_pointer(self, error, registers[0], registers[1]))

    def _exception(self, found: tuple[Any, Any]) -> int | None:
        """A record and a context: the program's handlers are looked for; where to go on."""
        record, context = found
        self._forget_dead(context.sp)
        frame = Frame(dispatch(self.system, record, context), _DISPATCHER, context.sp, context.pc)
        frame.context = self.engine.save()
        self.current.frames.append(frame)
        return self._resume(self.current, None)

    def _forget_dead(self, sp: int) -> None:
        """Functions of ours that were called below that stack pointer will never be returned to."""
        frames = self.current.frames
        while frames[-1].api is not None and frames[-1].sp < sp:
            frames.pop().task.close()

    def _turn_is_over(self, pc: int) -> int | None:
        """The CPU was stopped since time has passed: others run, if there are any. The address to go on at, else."""
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise self._time_is_over(pc)
        thread = self.current
        if all(other is thread or other.code is not None for other in self.threads):
            return pc
        thread.pc, thread.context = pc, self.engine.save()
        return None

    def _time_is_over(self, pc: int) -> TargetFault:
        fault = TargetFault(f"the time that it was given is over, at {pc:#x}{self._where(pc)}")
        fault.pc = pc
        return fault

    def _where(self, address: int) -> str:
        place = self.system.loader.place_of(address) if self.system.loader is not None else ""
        return f" in {place}" if place else ""

    def _call(self, api: Api, registers: list[int]) -> int | None:
        name = api.name
        self.calls[name] = self.calls.get(name, 0) + 1
        if api.arguments == LATE:
            api = self.slots[registers[0] - self.halt] = TABLES[api.dll].find(name)
        if api.arguments == TRAP:
            frame = Frame(api.action(self.system), api, registers[1], registers[0])
            frame.context = self.engine.save()
            self._forget_dead(registers[1])
            self.current.frames.append(frame)
            return self._resume(self.current, None)
        arguments = self._arguments(api, registers)
        try:
            result = api.action(self.system, *arguments)
        except _REFUSED as error:
            raise _refused(api, error, arguments) from error
        if hasattr(result, "send"):
            thread = self.current
            self._forget_dead(registers[1])
            thread.frames.append(Frame(result, api, registers[1], registers[0]))
            return self._resume(thread, None)
        if isinstance(result, Resume):
            return self._continue(result)
        return self._return(api, registers[1], result)

    def _return_real(self, _value: float, _kind: str) -> None:
        """A floating-point result, "d" or "f"."""
        raise NotImplementedError

    def _value(self, letter: str, value: int) -> Any:
        """A word as an argument of that kind. Upper halves of 32-bit ones are garbage."""
        if letter == "d":
            return struct.unpack("<d", (value & _MASK64).to_bytes(8, "little"))[0]
        if letter == "f":
            return struct.unpack("<f", (value & 0xFFFFFFFF).to_bytes(4, "little"))[0]
        if letter == "u":
            return value & 0xFFFFFFFF
        if letter == "i":
            return (value & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
        if letter == "s":
            return self.system.text(value)
        return self.system.wide(value) if letter == "w" else value

    def _resume(self, thread: Thread, value: Any) -> int | None:
        """Go on with what the thread has on top; where its code is to be run, None when it waits."""
        frame = thread.frames[-1]
        thread.answer = None
        while True:
            try:
                effect = frame.task.send(value)
            except _REFUSED as error:
                if frame.api is None:
                    raise
                raise _refused(frame.api, error, ()) from error
            except StopIteration as stop:
                thread.frames.pop()
                if frame.api is None:
                    raise ThreadExited(int(stop.value or 0)) from None
                if isinstance(stop.value, Jump):
                    self.engine.restore(frame.context)
                    return int(stop.value.address)
                if isinstance(stop.value, Resume):
                    return self._continue(stop.value)
                return self._return(frame.api, frame.sp, stop.value)
            if isinstance(effect, Call):
                return self._enter(effect, frame)
            if isinstance(effect, Switch):
                return self._change(thread, effect)
            ready: Wait = effect
            if ready.ready():
                value = True
                continue
            thread.wait = ready
            thread.deadline = None if ready.seconds is None else time.monotonic() + ready.seconds
            thread.context = self.engine.save()
            return None

    def _change(self, thread: Thread, switch: Switch) -> int | None:
        """From one fiber to another."""
        left, entered, place = switch
        word, teb = self.word, thread.teb
        deallocation = teb + (0x1478 if self.bits == 64 else 0xE0C)
        number = self.system.number
        left.frames, left.context, left.guard = thread.frames, self.engine.save(), thread.guard
        left.bounds = number(teb + word), number(teb + 2 * word), number(deallocation)
        left.chain, left.fls = number(teb), thread.crt.get("fls", {})
        thread.frames, thread.guard, thread.crt["fls"] = entered.frames, entered.guard, entered.fls
        for at, value in zip(
            (teb + word, teb + 2 * word, deallocation), entered.bounds, strict=True
        ):
            self._store(at, value)
        self.system.put(teb, entered.chain if self.bits == 32 else 0)
        self._store(place, entered.at)
        if entered.context is None:
            self.engine.set(self.cpu.sp, entered.sp)
        else:
            self.engine.restore(entered.context)
        self._use_teb(teb)
        return self._resume(thread, None if entered.context is None else True)

    def _continue(self, resume: Resume) -> int:
        """Go on with other registers."""
        context = resume.context
        pc, sp = int(context.pc), int(context.sp)
        api = self.slots.get(pc - 1)
        self._forget_dead(sp + (api is not None))
        if resume.saved is not None:
            self.engine.restore(resume.saved)
        context.install(self.engine)
        if api is not None:  # behind a function of ours: as if it had returned
            return self._return(api._replace(result="v"), sp, None)
        return pc

    def close(self) -> None:
        """Give the memory back."""
        self.engine.close()
        self.memory.close()
