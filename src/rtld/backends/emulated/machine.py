"""The back end: a CPU, its memory and its kernel, as something a program is linked for, put into and started on.

``reserve`` gives addresses, ``commit`` puts a linked image there, ``protect`` sets rights, ``start`` runs a program to its
end, ``call`` one function. Python functions get addresses that the guest can jump to (``trap``) or call (``function``).
"""

from __future__ import annotations

import struct
import time
from signal import SIGILL, SIGSEGV, SIGTRAP

from rtld.backends.emulated.cpus import cpu_named
from rtld.backends.emulated.engine import Engine, Stopped
from rtld.backends.emulated.faults import Fault, LimitReached
from rtld.backends.emulated.gate import FIRST, INSTRUCTION, NOTHING
from rtld.backends.emulated.kernel import STANDARD, Ended, Kernel
from rtld.backends.emulated.memory import EXECUTE, PAGE, READ, WRITE, Memory
from rtld.backends.emulated.process import Process
from rtld.backends.emulated.segments import Segments
from rtld.backends.emulated.watch import Watch
from rtld.core.space import page_up
from rtld.errors import NoSpace, TargetFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import NoReturn, Self

    from rtld.backends.emulated.cpus import Set
    from rtld.backends.emulated.debugger import Debugger
    from rtld.backends.emulated.linux.tasks import Task
    from rtld.core.image import Image

TRAPS = 1024 * PAGE  # room for the addresses that mean Python
TRAPS_MAPPED = 16 * PAGE  # as many have memory at first, and then together
TRAP = 16  # bytes of one of them
CALL_STACK = 1 << 18
RED_ZONE = 256  # below the stack pointer, of whoever is running
DEPTH = 50  # calls inside one another; Unicorn itself fails at 64
TURN = 0.01  # seconds that one of several threads runs
NOWHERE = "a jump into the middle of nowhere"
CHUNK = 1 << 20  # instructions between two looks at the clock, where they are counted

ExitStatus = int  # the program's own, or 128 + the number of the signal that ended it


class Machine:
    """One CPU with its memory. Not for several threads at once; ``with machine:`` gives the memory back."""

    def __init__(
        self,
        cpu: str,
        *,
        first: int = PAGE,
        memory: int = 1 << 32,
        seconds: float | None = None,
        instructions: int | None = None,
        descriptors: Mapping[int, int] = STANDARD,
    ) -> None:
        """*first*: the lowest address; *memory*: the most a program may have; *seconds*, *instructions*: of one run."""
        self.cpu = cpu_named(cpu)
        self.engine = Engine(self.cpu)
        self.memory = Memory(self.engine, self.cpu.bits, first, memory)
        self.seconds = seconds
        self.instructions = instructions
        self._watch = Watch(self.engine)
        self._depth = 0
        self._deadline = 0.0
        self._stack = 0
        self._left: tuple[int, Callable[[], object]] | None = None
        self._forked = False
        #: Where the CPU goes on; valid while it stands still, outside of hooks. Bit 0: Thumb.
        self.resume = 0
        self.turn = False  # the task that runs gives way
        self.process = Process()
        self.debugger: Debugger | None = None
        self._handlers: dict[int, Callable[[], int]] = {}
        self._traps = self.memory.reserve(TRAPS, high=True)
        self.memory.map(self._traps, TRAPS_MAPPED, READ | EXECUTE)
        self.engine.ground = self._traps
        self._set_up()
        self._traps_end = self._traps + TRAPS_MAPPED
        self.memory.write(self._traps, self.cpu.trap * (TRAPS_MAPPED // len(self.cpu.trap)))
        entry = self.cpu.entry
        #: What exceptions and system calls find (kernel: ``serve``), and what they may change.
        self.gate = self.engine.gate(
            (self.cpu.pc, entry.number, *entry.arguments), (self.cpu.pc, entry.result),
            self._on_interrupt, syscall=entry.interrupt is None,
        )  # fmt: skip
        self._called = INSTRUCTION if entry.interrupt is None else entry.interrupt
        self._pc = self.engine.bank(self.cpu.pc)
        self._trapped = 0x80 if self.cpu.entry.interrupt is None else self.cpu.entry.interrupt
        self._behind = 0 if self.cpu.entry.advance else len(self.cpu.trap)
        self.segments = Segments(self) if cpu == "i386" else None
        self.memory.label(self._traps, TRAPS, "[rtld]")
        self.kernel = Kernel(self, descriptors)
        self._never = self._new_trap(self._lost)
        self._returned = self._new_trap(self._lost)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the memory back; the machine is of no use any more."""
        self._watch.close()
        self.engine.close()
        self.memory.close()

    def _set_up(self) -> None:
        """The state of the CPU before the first instruction."""
        engine = self.engine
        boot = self.cpu.boot

        def put(row: Set) -> None:
            engine.set(row.register, (engine.get(row.register) if row.keep else 0) | row.value)

        for row in self.cpu.setup:
            put(row)
        if boot is not None:
            self.memory.write(self._traps, boot.code.code)
            self.memory.write(self._traps + 0x100, boot.data)
            engine.set(boot.base, self._traps)
            engine.run(self._traps, self._traps + len(boot.code))
            engine.set(boot.base, 0)
            put(boot.last)

    # -- addresses and memory -----------------------------------------------------------------------

    def reserve(self, size: int, align: int, at: int | None = None) -> int:
        """An address range: exactly *at*, else the lowest that is free. NoSpace."""
        start = at if at is None else at & -PAGE
        size += 0 if at is None or start is None else at - start
        found = self.memory.reserve(size, align, start)
        return found if at is None else at

    def commit(self, image: Image) -> None:
        """Put the image where it was linked for. Everything is allowed there until ``protect`` says less."""
        if not len(image.bytes):
            return
        address = image.base + image.low
        start = address & -PAGE
        self.memory.map(start, page_up(address + len(image.bytes)) - start, READ | WRITE | EXECUTE)
        self.memory.write(address, memoryview(image.bytes).cast("B"))

    def protect(self, start: int, size: int, rights: int) -> None:
        """Rights of whole pages, as PROT_* has them; memory of zeros where there was none."""
        if not self.memory.covers(start, size):
            self.memory.map(start, size, rights)
        self.memory.protect(start, size, rights)

    def read(self, address: int, size: int) -> bytes:
        """A copy of the guest's bytes. TargetFault where it has none."""
        return bytes(self.memory.view(address, size))

    def write(self, address: int, data: bytes) -> None:
        """Change the guest's bytes; code that has run before is translated again."""
        self.memory.write(address, data)

    def word(self, address: int) -> int:
        """The pointer-sized number there."""
        data = self.memory.view(address, self.cpu.bits // 8)
        return int.from_bytes(data, "little" if self.cpu.order == "<" else "big")

    # -- running ------------------------------------------------------------------------------------

    def start(self, entry: int, sp: int) -> ExitStatus:
        """Run a program from its first instruction to its end. TargetFault: Fault, LimitReached."""
        try:
            self.go(entry, sp)
        except Ended as ended:
            return ended.status

    def go(self, entry: int, sp: int) -> NoReturn:
        """The same; how it ends is an exception: Ended, Replaced (by execve), TargetFault."""
        self.engine.set(self.cpu.sp, sp)
        self._run(entry, self._never)
        raise self._fault(NOWHERE, SIGSEGV)  # it has guessed the address that it never returns to

    def call(self, address: int, *arguments: int) -> int:
        """Call a C function with integers and pointers; its result as an unsigned word."""
        if self._depth >= DEPTH:
            raise TargetFault(f"more than {DEPTH} calls into the guest inside one another")
        engine = self.engine
        inside = engine.save() if self._depth else None
        top = engine.get(self.cpu.sp) - RED_ZONE if self._depth else self._call_stack()
        self._pass(top, arguments)
        if self.cpu.callee:
            engine.set(self.cpu.callee, address)
        try:
            self._run(address, self._returned)
        except Ended as ended:
            if self._depth:
                raise
            raise TargetFault(ended.told()) from None
        result = engine.get(self.cpu.result)
        if inside is not None:
            engine.restore(inside)
        return result

    def unknown_calls(self) -> dict[str, int]:
        """System calls that were answered with ENOSYS: name -> how often."""
        return dict(self.kernel.unknown)

    def _call_stack(self) -> int:
        if not self._stack:
            self._stack = (
                self.memory.reserve(CALL_STACK + PAGE, high=True) + PAGE
            )  # a page to guard it
            self.memory.map(self._stack, CALL_STACK, READ | WRITE)
        return self._stack + CALL_STACK

    def _pass(self, top: int, arguments: tuple[int, ...]) -> None:
        """Arguments into registers and onto the stack below *top*, the return address where the callee expects it."""
        cpu, mask = self.cpu, (1 << self.cpu.bits) - 1
        here = cpu.arguments[: len(arguments)]
        for register, value in zip(here, arguments, strict=False):
            self.engine.set(register, value & mask)
        rest = arguments[len(here) :]
        word = cpu.bits // 8
        sp = (top - cpu.area - word * len(rest)) & -16
        for i, value in enumerate(rest):
            self.memory.write(sp + cpu.area + word * i, self._word(value & mask))
        if cpu.link:
            self.engine.set(cpu.link, self._returned)
        else:
            sp -= word
            self.memory.write(sp, self._word(self._returned))
        self.engine.set(cpu.sp, sp)

    def _word(self, value: int) -> bytes:
        return struct.pack(self.cpu.order + ("Q" if self.cpu.bits == 64 else "I"), value)

    def _run(self, start: int, until: int) -> None:
        """Go on until that address; what leads elsewhere is an exception."""
        if not self._depth and self.seconds is not None:
            self._deadline = time.monotonic() + self.seconds
        if not self._depth:
            self._left, self.kernel.task.sleep = None, None  # of a run that was broken off
        self._depth += 1
        try:
            self._go_on(start, until)
        except Stopped as error:
            raise self._explain(error) from None
        finally:
            self._depth -= 1

    def _go_on(self, start: int, until: int) -> None:
        engine, watch, kernel = self.engine, self._watch, self.kernel
        left = self.instructions
        while True:
            count = 0 if left is None else min(left, CHUNK)
            stepped = False
            if self.debugger is not None:
                self.resume = start
                stepped = self.debugger.before(self)
                start, count = self.resume, 1 if stepped else count
            engine.allow()
            stops, ticks = watch.stops, watch.ticks
            try:
                if left is None and not stepped:
                    with watch:
                        engine.run(start, until)
                else:
                    engine.run(start, until, count)
                    left = None if left is None else left - count
            except (Fault, Stopped) as error:
                self.resume = engine.resume_at()
                wanted = engine.wanted
                if wanted is not None and self.memory.fault(*wanted):
                    start = self.resume
                    continue
                start = self._handled(error)
                continue
            gone, self._left = self._left, None
            if gone is None:
                self.resume = engine.resume_at()
            else:
                self.resume, action = gone
                action()
            if self.resume & -2 == until:
                return
            if self.seconds is not None and time.monotonic() > self._deadline:
                raise self.late()
            if left == 0:
                raise LimitReached(f"{self.instructions} instructions have run", self.resume)
            if self.debugger is not None and self.debugger.after(self):
                start = self.resume
                continue
            if left is None and gone is None and stops == watch.stops and not stepped:
                raise self._fault("an instruction that halts the CPU", SIGSEGV)
            if watch.ticks != ticks:
                self.process.drain()
            if kernel.waiting():
                # Inside a call that Python has made nobody gives way: others would return into it.
                turn = self.turn or (watch.ticks != ticks and not stepped)
                kernel.expire_timers()
                kernel.schedule(turn=turn and self._depth == 1)
                self.turn = False
                kernel.deliver()
            start = self.resume

    def _handled(self, error: Fault | Stopped) -> int:
        """Where to go on after a fault, if the guest handles it; else the Fault is raised."""
        fault = error if isinstance(error, Fault) else self._explain(error)
        if self.debugger is not None:
            self.debugger.fault(self, fault)
        if not self.kernel.handles(fault):
            raise fault
        if self.cpu.name in ("x86_64", "i386"):
            self.engine.exception_over()
        return self.resume

    # -- between two runs ---------------------------------------------------------------------------

    def leave(self, resume: int, action: Callable[[], object]) -> None:
        """From a hook: stop the CPU; then *action*, with ``resume`` where it would go on."""
        self._left = (resume, action)
        self._watch.stops += 1
        self.engine.stop()

    def call_at(self, pc: int) -> int:
        """Where the system call stands that has stopped the CPU with this program counter; bit 0: Thumb."""
        entry = self.cpu.entry
        if entry.interrupt is None or entry.advance:
            return pc
        thumb = self.engine.thumb()
        return pc - (2 if thumb else self.cpu.call_size) | thumb

    def behind_call(self, pc: int) -> int:
        """Where it goes on."""
        at = self.call_at(pc)
        return at + (2 if at & 1 else self.cpu.call_size)

    def finish_call(self, result: int) -> None:
        """The call that ``resume`` stands at is done."""
        self.kernel.give_result(result)
        self.resume += 2 if self.resume & 1 else self.cpu.call_size

    def switched(self, task: Task) -> None:
        """The CPU has another task's registers now."""
        if self.segments is not None:
            self.segments.switch(task)

    def quicken(self) -> None:
        """There are several tasks: turns are to be short."""
        self._watch.tick = TURN

    def look_often(self, seconds: float) -> None:
        """Stop the CPU so often, for timers."""
        self._watch.tick = min(self._watch.tick, seconds)

    def watch_bell(self, descriptor: int | None) -> None:
        """Stop the CPU when that can be read: a signal has come."""
        self._watch.bell = descriptor

    @property
    def deadline(self) -> float | None:
        """When the run is to be over."""
        return None if self.seconds is None else self._deadline

    def late(self) -> LimitReached:
        return LimitReached(f"{self.seconds:g} seconds are over", self.engine.get(self.cpu.pc))

    def forked(self) -> None:
        """In the child of a fork. A debugger stays with the parent."""
        self._forked = True
        self.debugger = None
        self._watch.forked()
        self.process.born()
        if self.memory.pager is not None:
            self.memory.pager.forked()
        self._watch.bell = self.process.wakeup

    def is_kernels(self, start: int, size: int) -> bool:
        """Are there pages among them that are ours: traps, segment descriptors?"""
        if start < self._traps + TRAPS and self._traps < start + size:
            return True
        at = self.segments.table if self.segments is not None else 0
        return bool(at) and start < at + PAGE and at < start + size

    # -- what the CPU asks for ----------------------------------------------------------------------

    def _on_interrupt(self) -> int:
        found = self.gate.found()
        number = found[0]
        if number == self._trapped:
            at = found[1] - self._behind
            handler = self._handlers.get(at)
            if handler is None and self._traps <= at < self._traps + TRAPS:
                handler = self._lost
            if handler is not None:
                target = handler()
                if self._left is not None:
                    return NOTHING
                self.gate.results[0] = target
                if self.cpu.callee:
                    self.engine.set(self.cpu.callee, target)
                return FIRST
        if number == self._called:
            return self.kernel.serve(found)
        sign, words = self.cpu.exceptions.get(number, (int(SIGSEGV), f"exception {number}"))
        if self.cpu.illegal and self._stands_at_pc(self.cpu.illegal):
            raise self._illegal()
        raise self._fault(words, sign, self._missed(number))

    def _missed(self, number: int) -> int | None:
        """s390x: the address that a program check was about, as Linux has it: that of its page."""
        if not self.cpu.remaps or self.cpu.exceptions.get(number, (0,))[0] != SIGSEGV:
            return None
        from rtld.backends.emulated.reached import operands

        pc = self.engine.get(self.cpu.pc)
        if not self.memory.covers(pc, 2, EXECUTE):
            return pc & -PAGE
        size = next(size for size in (6, 4, 2) if self.memory.covers(pc, size))
        code = bytes(self.memory.view(pc, size))
        places = operands(code, pc, lambda number: self.engine.get(f"r{number}"))
        for rights in (READ, WRITE):
            for place in places:
                if not self.memory.covers(place, 1, rights):
                    return place & -PAGE
        return None

    def _explain(self, error: Stopped) -> Fault:
        """Unicorn has given up: why?"""
        refused = self.engine.refused
        if refused is not None:
            what, address = refused
            return self._fault(what, SIGSEGV, address)
        if self.engine.illegal(error):
            return self._illegal()
        return self._fault(str(error.args[1]), SIGSEGV)

    def _illegal(self) -> Fault:
        if any(map(self._stands_at_pc, self.cpu.breaks)):
            return self._fault("breakpoint", SIGTRAP)
        return self._fault("illegal instruction", SIGILL)

    def _stands_at_pc(self, code: bytes) -> bool:
        pc = self.engine.get(self.cpu.pc)
        return self.memory.covers(pc, len(code)) and self.memory.view(pc, len(code)) == code

    def _fault(self, what: str, number: int, address: int | None = None) -> Fault:
        registers = {name: self.engine.get(name) for name in self.cpu.registers}
        return Fault(what, int(number), self.engine.get(self.cpu.pc), address, registers)

    # -- Python in the guest ------------------------------------------------------------------------

    def trap(self, handler: Callable[[], int]) -> int:
        """An address; a jump to it runs *handler*, which says where to go on."""
        return self._new_trap(handler)

    def _new_trap(self, handler: Callable[[], int]) -> int:
        address = self._traps + TRAP * len(self._handlers)
        if address == self._traps + TRAPS:
            raise NoSpace(f"no more than {TRAPS // TRAP} Python functions in one emulated CPU")
        if address == self._traps_end:
            self._traps_end += TRAPS_MAPPED
            self.memory.map(address, TRAPS_MAPPED, READ | EXECUTE)
            self.memory.write(address, self.cpu.trap * (TRAPS_MAPPED // len(self.cpu.trap)))
        self._handlers[address] = handler
        return address

    def function(self, handler: Callable[..., int], count: int) -> int:
        """The address of a C function of *count* integers or pointers; *handler* is what it does."""
        cpu, word = self.cpu, self.cpu.bits // 8
        mask = (1 << cpu.bits) - 1

        def trapped() -> int:
            sp = self.engine.get(cpu.sp)
            back = self.engine.get(cpu.link) if cpu.link else self.word(sp)
            above = sp + cpu.area + (0 if cpu.link else word)
            values = [self.engine.get(name) for name in cpu.arguments[:count]]
            values += [self.word(above + word * i) for i in range(count - len(values))]
            result = handler(*values)
            self.engine.set(cpu.result, result & mask)
            if not cpu.link:
                self.engine.set(cpu.sp, sp + word)
            return back

        return self._new_trap(trapped)

    def on_bind(self, handler: Callable[[int, int], int]) -> int:
        """An address for the resolver's slot of a global offset table. A lazy PLT that comes there calls *handler* with
        the word that identifies the module and the index in DT_JMPREL; the function whose address it returns is run.
        """
        from rtld.backends.emulated.binder import ENTRIES

        entry = ENTRIES[self.cpu.name]
        return self._new_trap(lambda: handler(*entry(self)))

    def _lost(self) -> int:
        raise self._fault(NOWHERE, SIGSEGV)
