"""What a handler runs on, and the way back: the kernel's frame is built, and taken apart again.

A handler's frame is the kernel's (``ucontext``): siginfo and a ucontext with the registers, which are what the program goes on
with. Floating-point and vector registers are there, too (``fpcontext``, ``fxsave``); on MIPS they are kept here, not on its stack.
"""

from __future__ import annotations

import struct

from rtld.backends.emulated.linux import mips
from rtld.backends.emulated.linux.calls import Away, Ended
from rtld.backends.emulated.linux.futexes import Futexes
from rtld.backends.emulated.linux.ucontext import (
    CHANGEABLE,
    FRAMES,
    OLD,
    SHOWN,
    SI_KERNEL,
    SI_TIMER,
    SPECIAL,
    Frame,
    Signal,
    pack_info,
)
from rtld.backends.emulated.memory import EXECUTE, PAGE, READ
from rtld.errors import TargetFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.backends.emulated.faults import Fault
    from rtld.backends.emulated.linux.fpcontext import FloatingPoint
    from rtld.backends.emulated.linux.fxsave import Fxsave
    from rtld.backends.emulated.linux.tasks import Task

# fmt: off
SA_SIGINFO, SA_ONSTACK, SA_RESTORER, SA_NODEFER, SA_RESETHAND = 4, 0x08000000, 0x04000000, 0x40000000, 0x80000000
SS_ONSTACK, SS_DISABLE, SS_AUTODISARM = 1, 2, 1 << 31
SIG_DFL, SIGILL, SIGTRAP, SIGFPE, SIGSEGV = 0, 4, 5, 8, 11
NEVER = 1 << 9 - 1 | 1 << 19 - 1     # KILL and STOP are never blocked
SEGV_MAPERR, SEGV_ACCERR, FPE_INTDIV = 1, 2, 1
ILL = {"i386": 2, "x86_64": 2}       # ILL_ILLOPN, elsewhere ILL_ILLOPC
RED_ZONE = {"x86_64": 128}
# fmt: on


class Frames(Futexes):
    """``actions``: signal -> (handler, flags, mask, restorer)."""

    actions: dict[int, tuple[int, int, int, int]]

    def start_frames(self) -> None:
        self._returns: dict[int, int] = {}  # a frame -> where its handlers return to
        self._new = frame = FRAMES[self.cpu.name]
        self._old = OLD.get(self.cpu.name, frame)
        names = SPECIAL.get(self.cpu.name, {})
        self._shown = {name: names.get(name, name) for name in frame.registers}
        self._saved = self.engine.bank(*self._shown.values())
        self._floats: tuple[FloatingPoint | None] | None = None
        self._fx: Fxsave | None = None

    def _fxsave(self) -> Fxsave:
        """Of x86; made with the first handler that is entered."""
        if self._fx is None:
            from rtld.backends.emulated.linux.fxsave import Fxsave

            self._fx = Fxsave(self.cpu, self.engine)
        return self._fx

    def _floating(self) -> FloatingPoint | None:
        """Made with the first handler that is entered; None where the ucontext is not what they go on with."""
        if self._floats is None:
            from rtld.backends.emulated.linux.fpcontext import floating_point

            self._floats = (floating_point(self.cpu, self.engine),)
        return self._floats[0]

    def reset_host(self, number: int) -> None:
        """The action of a signal has gone back to what it is by default."""
        raise NotImplementedError

    def code_of(self, fault: Fault) -> int:
        """si_code (<asm-generic/siginfo.h>)."""
        if fault.signal == SIGSEGV and fault.address is not None:
            return SEGV_ACCERR if self.memory.covers(fault.address, 1) else SEGV_MAPERR
        if fault.signal == SIGSEGV or (
            fault.signal == SIGTRAP and self.cpu.name in ("i386", "x86_64")
        ):
            return SI_KERNEL
        return (
            FPE_INTDIV
            if fault.signal == SIGFPE
            else ILL.get(self.cpu.name, 1)
            if fault.signal == SIGILL
            else 1
        )

    def enter_handler(self, task: Task, signal_: Signal, fault: Fault | None = None) -> None:
        """Make the CPU run the handler; TargetFault where there is no stack for it."""
        number = signal_.number
        handler, flags, mask, restorer = self.actions[number]
        cpu, engine = self.cpu, self.engine
        frame = self._new if flags & SA_SIGINFO else self._old
        context, resume = engine.save(), self.machine.resume
        sp = engine.get(cpu.sp)
        low, disabled, size = task.alternate
        on = not disabled & SS_DISABLE and low <= sp < low + size
        if flags & SA_ONSTACK and not disabled & SS_DISABLE and not on:
            top = low + size
        else:
            top = sp - RED_ZONE.get(cpu.name, 0)
        before = task.mask if task.suspended is None else task.suspended
        task.suspended = None
        fx = self._fxsave() if frame.fpstate >= 0 else None
        top = top & -64 if fx is None else fx.below(top)
        new = ((top - frame.size + frame.bias) & -16) - frame.bias & self.mask
        if (
            flags & SA_ONSTACK
            and (on or top != (sp & -64))
            and not disabled & SS_DISABLE
            and new < low
        ):
            raise TargetFault("the alternate signal stack is too small")
        self.put(new, bytes(frame.size))
        if fx is not None:
            self.put(top, fx.image())
        if frame.info >= 0:
            self.put(new + frame.info, self.info_bytes(signal_))
        self._put_context(frame, new + frame.user, resume, before, top, fault)
        if task.alternate[1] & SS_AUTODISARM:
            task.alternate = (0, SS_DISABLE, 0)
        back = restorer if flags & SA_RESTORER else self._return_address(frame)
        told = (new + frame.info, new + frame.user) if frame.info >= 0 else (0, 0)
        self._pass(new, self.signal_out(number), told, back)
        task.frames = [each for each in task.frames if each[2] > new or flags & SA_ONSTACK]
        task.frames.append((context, resume, new, frame))
        task.mask |= mask | (0 if flags & SA_NODEFER else 1 << number - 1)
        task.mask &= ~NEVER
        if flags & SA_RESETHAND:
            self.actions[number] = (SIG_DFL, flags, mask, 0)
            self.reset_host(number)
        if cpu.callee:
            engine.set(cpu.callee, handler)
        self.machine.resume = handler

    def code_out(self, code: int) -> int:
        """si_code as the guest has it."""
        return mips.SI_TIMER if self.is_mips and code == SI_TIMER else code

    def info_bytes(self, signal_: Signal) -> bytes:
        """siginfo_t; on MIPS si_code stands before si_errno."""
        if self.is_mips:
            data = pack_info(signal_, self.cpu.order, self.bits)
            code = self.code_out(signal_.code)
            head = struct.pack("<iii", self.signal_out(signal_.number), code, 0)
            return head + data[12:]
        return pack_info(signal_, self.cpu.order, self.bits)

    def _return_address(self, frame: Frame) -> int:
        """Code of our own that calls sigreturn."""
        key = id(frame)
        if key not in self._returns:
            page = self.memory.reserve(PAGE, high=True)
            self.memory.map(page, PAGE, READ | EXECUTE)
            self.memory.write(page, frame.code.code)
            self.memory.label(page, PAGE, "[rtld]")
            self._returns[key] = page
        return self._returns[key]

    # -- the ucontext -------------------------------------------------------------------------------

    def _put_context(
        self, frame: Frame, at: int, resume: int, mask: int, fpstate: int, fault: Fault | None
    ) -> None:
        """The registers, where the program will go on, what is blocked, the alternate stack."""
        task = self.task
        for name, value in zip(frame.registers, self._saved.read(), strict=True):
            if name == self.cpu.pc:
                value = resume & ~1 if self.cpu.name == "arm" else resume
            value = (
                value & CHANGEABLE.get(name, -1) | SHOWN.get(name, 0) if name in SHOWN else value
            )
            self.put(at + frame.registers[name], self._bytes_of(value))
        address, flags, size = task.alternate
        self.put(
            at + frame.stack, self.pack("LI4xL" if self.bits == 64 else "LIL", address, flags, size)
        )
        self.put(at + frame.mask, self.pack("Q", mask))
        if frame.fault >= 0 and fault is not None and fault.address is not None:
            self.put(at + frame.fault, self._bytes_of(fault.address))
        if frame.fpstate >= 0:
            self.put(at + frame.fpstate, self._bytes_of(fpstate))
        floats = self._floating()
        if floats is not None:
            place = at + floats.where.start
            old = bytes(self.memory.view(place, floats.where.size, READ))
            self.put(place, floats.image(old))

    def _bytes_of(self, value: int) -> bytes:
        width = self._new.words
        return (value & (1 << 8 * width) - 1).to_bytes(width, self.order)

    def _take_context(self, frame: Frame, at: int) -> None:
        """Registers and mask as the handler has left them. TargetFault, if it has taken its stack away."""
        engine = self.engine
        pc = 0
        for (name, register), old in zip(self._shown.items(), self._saved.read(), strict=True):
            data = self.memory.view(at + frame.registers[name], frame.words, READ)
            value = int.from_bytes(data, self.order)
            if name in CHANGEABLE:
                value = old & ~CHANGEABLE[name] | value & CHANGEABLE[name]
            if name == self.cpu.pc:
                pc = value
            elif value != old & (1 << 8 * frame.words) - 1:
                engine.set(register, value)
        self.machine.resume = pc & self.mask | engine.thumb()
        floats = self._floating()
        if floats is not None:
            place = at + floats.where.start
            if not floats.take(bytes(self.memory.view(place, floats.where.size, READ))):
                raise TargetFault("no record of floating-point registers")
        if frame.fpstate >= 0:
            (place,) = self.words(at + frame.fpstate, 1)
            fx = self._fxsave()
            if not place:
                fx.reset()
            elif not fx.take(bytes(self.memory.view(place, fx.size, READ))):
                raise TargetFault("not an image of floating-point registers")
        if frame.high < 0:
            mask = self.read_mask(at + frame.mask)
        else:
            mask = self.read32(at + frame.mask) | self.read32(at + frame.high) << 32
        self.task.mask = mask & ~NEVER
        if frame.stack < 0:
            return
        address, flags, size = self.read_stack(at + frame.stack)
        self.task.alternate = (address, flags & (SS_DISABLE | SS_AUTODISARM), size)

    def _pass(self, sp: int, number: int, told: tuple[int, int], back: int) -> None:
        """Arguments, stack pointer and return address; *told*: siginfo, ucontext."""
        cpu, engine = self.cpu, self.engine
        engine.set(cpu.sp, sp)
        if cpu.name == "i386":
            self.put(sp, self.pack("II", back, number))
            if told[0]:
                self.put(sp + 8, self.pack("II", *told))
            for register, value in zip(("eax", "edx", "ecx"), (number, *told), strict=True):
                engine.set(register, value)
            return
        for register, value in zip(cpu.arguments, (number, *told), strict=False):
            engine.set(register, value)
        if cpu.link:
            engine.set(cpu.link, back)
        else:
            self.put(sp, self.pack("L", back))
            engine.set("rax", 0)

    def sys_rt_sigreturn(self, *_: int) -> int:
        raise Away(lambda: self._restore(self._new))

    def sys_sigreturn(self, *_: int) -> int:
        raise Away(lambda: self._restore(self._old))

    def _restore(self, frame: Frame) -> None:
        """Back to what a handler has interrupted: the frame that the stack pointer is at."""
        task = self.task
        sp = self.engine.get(self.cpu.sp)
        # x86's ret has taken the return address away, i386's older restorer the number, too.
        at = next((each[2] for each in reversed(task.frames) if each[2] <= sp <= each[2] + 8), None)
        if at is None:
            at = sp - (8 if self.cpu.name == "x86_64" else 4 if self.cpu.name == "i386" else 0)
        else:
            while task.frames[-1][2] != at:
                task.frames.pop()
            context, self.machine.resume, _, frame = task.frames.pop()
            self.engine.restore(context)
        try:
            self._take_context(frame, at + frame.user)
        except TargetFault:
            raise Ended(128 + SIGSEGV, SIGSEGV) from None
        self.machine.switched(task)
