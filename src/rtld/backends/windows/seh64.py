"""Exceptions of x64: handlers are found by unwinding, frame by frame, through the tables of the images.

"x64 exception handling" (learn.microsoft.com). What a handler is given, and what becomes of its answer, is as in Wine
(dlls/ntdll/signal_x86_64.c, by its rules); collided unwinds and nested exceptions as in Windows itself.
"""

from __future__ import annotations

import struct
from collections import namedtuple

from rtld.arch.x86_64_unwind import EHANDLER, UHANDLER, BadUnwindInfo, Step, leaf
from rtld.backends.emulated.memory import NotMapped
from rtld.backends.windows import context as c
from rtld.backends.windows import returns
from rtld.backends.windows.api import Call, Place, Resume
from rtld.backends.windows.dispatch import raised
from rtld.backends.windows.guarded import Caught
from rtld.backends.windows.unwinding import Tables, tables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from rtld.backends.windows.system import System

    Task = Generator[Any, Any, Any]

#: name -> offset in DISPATCHER_CONTEXT
DISPATCHER = {"pc": 0, "base": 8, "function": 0x10, "frame": 0x18, "target": 0x20, "context": 0x28, "handler": 0x30,
              "data": 0x38, "history": 0x40, "scope": 0x48}  # fmt: skip
_DISPATCHER = struct.Struct("<9QII")
_MOST_SCOPES = 1 << 16
#: Room below the stack pointer: a DISPATCHER_CONTEXT, then a CONTEXT.
AREA = 0x550


#: Where unwinding ends: the frame, where its function goes on, what is in rax then.
Goal = namedtuple("Goal", "frame pc value")


class Listed:
    """Handlers that are on no frame but in a list on the stack, which begins at gs:[0]: Wine's own DLLs have those on x64, too."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.at = system.number(system.threads.teb)

    def below(self, sp: int) -> bool:
        """Is the next one below that stack pointer?"""
        return 0 < self.at < sp and in_stack(self.system, self.at)

    def call(self, at: int, context_at: int, dispatcher: int, place: Place) -> Task:
        """Call it; its answer. ``at`` is the next one's then."""
        link, handler = struct.unpack("<QQ", self.system.memory.read(self.at, 16))
        self.system.put(dispatcher + DISPATCHER["frame"], self.at)
        answer = yield Call(handler, (at, self.at, context_at, dispatcher), "cdecl", place)
        self.at = link
        return answer & 0xFFFFFFFF


class Walk:
    """One frame after the other. ``context``: the registers in the frame above the one that ``step`` has told of."""

    def __init__(self, system: System, context: c.Context64, wanted: int) -> None:
        self.system = system
        self.tables: Tables = tables(system)
        self.context = context
        self.wanted = wanted
        self.pc = self.base = self.function = 0
        self.before = context
        self.found = Step(0, 0, 0)
        self.scope = 0

    def step(self) -> int:
        """Up one frame; 0, or the status of what is wrong with it."""
        context = self.context
        self.before = context.copy()
        self.pc, self.scope = context.rip, 0
        row = self.tables.find(context.rip)
        try:
            if row is None:
                self.base = self.function = 0
                self.found = Step(context.sp, 0, 0)
                leaf(self.system.memory.read, context)
            else:
                self.base, self.function = row
                self.found = self.tables.step(*row, context, self.wanted)
        except BadUnwindInfo:
            return c.BAD_FUNCTION_TABLE
        except NotMapped:
            return c.BAD_STACK
        if context.sp <= self.before.sp and context.rip:
            return c.BAD_STACK  # it would go round in circles
        return 0

    def call_of_ours(self) -> Any:
        """What the frame is when it is a call of ours: the Frame that made it, else None."""
        machine = self.system.threads
        if returns.kind_at(self.pc - machine.returns) < 0:
            return None
        sp = self.before.sp
        return next((f for f in reversed(machine.current.frames) if f.called == sp), None)

    def again(self, state: tuple[int, c.Context64]) -> int:
        """A collided unwind: back to the frame that the other unwind was at, and behind the scope it was in."""
        at, context = state
        self.context = context.copy()
        status = self.step()
        self.scope = self.system.number(at + DISPATCHER["scope"], 4)
        return status

    def store(self, at: int, target: int, context_at: int, history: int = 0) -> None:
        """A DISPATCHER_CONTEXT for the frame."""
        found = self.found
        data = _DISPATCHER.pack(self.pc, self.base, self.function, found.frame, target, context_at,
                                found.handler, found.data, history, self.scope, 0)  # fmt: skip
        self.system.memory.write(at, data)


def in_stack(system: System, frame: int) -> bool:
    """Is it a place for a frame, in this thread's stack?"""
    teb = system.threads.teb
    high, low = struct.unpack("<QQ", system.memory.read(teb + 8, 16))
    return not frame & 7 and bool(low <= frame < high)


def search(system: System, at: int, context: c.Context64, context_at: int, below: int) -> Task:
    """Ask the handlers of the frames, the innermost first: True when one wants the program to go on with ``context``.

    ``at``, ``context_at``: where record and context stand; the stack below ``below`` is free. Returns False when
    nobody wanted the exception, the status of a further one, or a Resume behind a guarded call.
    """
    dispatcher = below - AREA
    walk_at = dispatcher + 0x60
    walk = Walk(system, context.copy(), EHANDLER)
    caller = context.pc, context.sp
    nested = 0
    flags = at + 4
    listed = Listed(system)
    while walk.context.rip:
        status = walk.step()
        if status:
            system.put(flags, system.number(flags, 4) | c.STACK_INVALID, 4)
            return False
        ours = walk.call_of_ours()
        if ours is not None:
            if isinstance(ours.state, Caught):  # whatever the function raises is its answer
                ours.state.code = c.Record.load(system, at).code
                return (yield from unwind(system, Goal(walk.found.frame, walk.pc, 0), at, context_at, free=below, start=context))  # fmt: skip
            if ours.kind == returns.EXCEPTION:
                nested = max(nested, ours.state)
                system.put(flags, system.number(flags, 4) | c.NESTED_CALL, 4)
                continue
            if ours.kind != returns.UNWIND:
                continue
            if walk.again(ours.state):
                return False
        frame = walk.found.frame
        if not in_stack(system, frame) and walk.context.rip:
            system.put(flags, system.number(flags, 4) | c.STACK_INVALID, 4)
            return False
        answer = c.CONTINUE_SEARCH
        place = Place(dispatcher, caller, None, returns.EXCEPTION, frame)
        if walk.found.handler:
            walk.store(dispatcher, 0, walk_at)
            walk.context.store(system.memory, walk_at)
            answer = yield Call(walk.found.handler, (at, frame, context_at, dispatcher), "cdecl", place)  # fmt: skip
            answer &= 0xFFFFFFFF
        elif listed.below(walk.context.sp):
            walk.store(dispatcher, 0, walk_at)
            walk.context.store(system.memory, walk_at)
            while answer == c.CONTINUE_SEARCH and listed.below(walk.context.sp):
                answer = yield from listed.call(at, context_at, dispatcher, place)
        if answer == c.CONTINUE_EXECUTION:
            if system.number(flags, 4) & c.NONCONTINUABLE:
                return c.NONCONTINUABLE_EXCEPTION
            return True
        if answer == c.NESTED_EXCEPTION:
            nested = max(nested, frame)
            system.put(flags, system.number(flags, 4) | c.NESTED_CALL, 4)
        elif answer != c.CONTINUE_SEARCH:
            return c.INVALID_DISPOSITION
        if nested and nested <= frame:
            nested = 0
            system.put(flags, system.number(flags, 4) & ~c.NESTED_CALL, 4)
    return False


def own_context(system: System) -> c.Context64:
    """The registers as the caller of the function that runs has them, the program counter behind its slot."""
    context = c.Context64.capture(system.threads.engine)
    frame = system.threads.current.frames[-1]
    context.rip, context.gpr[4] = frame.pc, frame.sp
    return context


def unwind(system: System, goal: Goal | None, at: int, context_at: int = 0, history: int = 0, free: int = 0, start: c.Context64 | None = None) -> Task:  # fmt: skip
    """RtlUnwindEx: call the termination handlers of the frames up to the goal's, then go on there; None: of all frames.

    ``at``: the record, 0: one of our own; ``context_at``: room for a CONTEXT, 0: our own; ``free``: below that the stack
    is free, 0: where the function that runs was called; ``start``: the registers that unwinding begins with. Returns a Resume (None without a goal), or raises an exception
    of the program.
    """
    context = start.copy() if start is not None else own_context(system)
    dispatcher = ((free or context.sp) - 128 & -16) - AREA
    below = dispatcher
    if not at:
        at = below = dispatcher - 0xA0
        c.Record(c.UNWIND, 0, context.pc).store(system, at)
    context_at = context_at or dispatcher + 0x60
    system.threads.current.frames[-1].low = below
    target, target_ip, value = goal or Goal(0, 0, 0)
    exiting = c.EXIT_UNWIND if goal is not None and not target else 0
    flags = at + 4
    system.put(flags, system.number(flags, 4) | c.UNWINDING | exiting, 4)
    walk = Walk(system, context.copy(), UHANDLER)
    listed = Listed(system)
    while walk.context.rip or goal is not None:
        collided = yield from _up(system, walk, at)
        context, frame = walk.before, walk.found.frame
        if walk.found.handler:
            if target and frame > target:
                yield from raised(system, c.INVALID_UNWIND_TARGET, at)
            now = system.number(flags, 4) & ~(c.TARGET_UNWIND | c.COLLIDED_UNWIND)
            now |= (c.TARGET_UNWIND if frame == target else 0) | (c.COLLIDED_UNWIND if collided else 0)  # fmt: skip
            system.put(flags, now, 4)
            context.gpr[0] = value
            walk.store(dispatcher, target_ip, context_at, history)
            context.store(system.memory, context_at)
            place = Place(below, None, None, returns.UNWIND, (dispatcher, context))
            answer = yield Call(walk.found.handler, (at, frame, context_at, dispatcher), "cdecl", place)  # fmt: skip
            if answer & 0xFFFFFFFF != c.CONTINUE_SEARCH:
                yield from raised(system, c.INVALID_DISPOSITION, at)
            context.load(system.memory, context_at)  # a handler may set registers of the target
        elif listed.below(walk.context.sp):
            walk.store(dispatcher, target_ip, context_at, history)
            context.store(system.memory, context_at)
            place = Place(below, None, None, returns.UNWIND, (dispatcher, context))
            yield from _unwind_listed(system, listed, walk.context.sp, target, at, context_at, dispatcher, place)  # fmt: skip
            if target and listed.at == target < walk.context.sp:
                break
        if goal is not None and frame == target:
            break
    if goal is None:
        return None
    record = c.Record.load(system, at)
    if record.code != c.UNWIND_CONSOLIDATE:
        context.rip = target_ip
    context.gpr[0] = value
    return (yield from restored(system, context, record, below))


def _unwind_listed(system: System, listed: Listed, sp: int, target: int, at: int, context_at: int, dispatcher: int, place: Place) -> Task:  # fmt: skip
    """The same for handlers of the list, which go from it, up to that stack pointer or to ``target``."""
    while listed.below(sp) and (not target or listed.at < target):
        answer = yield from listed.call(at, context_at, dispatcher, place)
        system.put(system.threads.teb, listed.at)
        if answer != c.CONTINUE_SEARCH:
            yield from raised(system, c.INVALID_DISPOSITION, at)


def _up(system: System, walk: Walk, at: int) -> Task:
    """One frame up while unwinding; True when another unwinding was there before, which this one takes over."""
    status = walk.step() if walk.context.rip else c.INVALID_UNWIND_TARGET
    if status:
        yield from raised(system, status, at)
    collided = False
    ours = walk.call_of_ours()
    if ours is not None and ours.kind == returns.UNWIND:
        status = walk.again(ours.state)
        if status:
            yield from raised(system, status, at)
        collided = True
    elif ours is not None and hasattr(ours.state, "left"):  # a handler of C++
        yield from ours.state.left(system, at)
    if not in_stack(system, walk.found.frame) and walk.context.rip:
        yield from raised(system, c.BAD_STACK, at)
    return collided


#: Offsets in _JUMP_BUFFER, as numbers of REGISTERS.
JUMP = {3: 8, 4: 0x10, 5: 0x18, 6: 0x20, 7: 0x28, 12: 0x30, 13: 0x38, 14: 0x40, 15: 0x48}
_KEPT = ("rbx", "rbp", "rsi", "rdi", "r12", "r13", "r14", "r15")


def restored(system: System, context: c.Context64, record: c.Record | None, below: int = 0) -> Task:
    """RtlRestoreContext: a Resume with that context; two records mean more than it says."""
    if record is not None and record.info:
        if record.code == c.LONGJUMP:
            jump(system, context, record.info[0])
        elif record.code == c.UNWIND_CONSOLIDATE:
            at = below or system.threads.current.frames[-1].sp - 128
            at = (at - 0xA0) & -16
            record.store(system, at)
            shown = context.shown()
            registers = {name: shown[name] for name in _KEPT}
            registers |= {f"xmm{i}": context.xmm[i] for i in range(6, 16)}
            place = Place(at, (context.rip, context.sp), registers)
            context.rip = yield Call(record.info[0], (at,), "cdecl", place)
    return Resume(context)


def jump(system: System, context: c.Context64, buffer: int) -> None:
    """The registers that setjmp has kept."""
    data = system.memory.read(buffer, 0x100)
    for number, at in JUMP.items():
        (context.gpr[number],) = struct.unpack_from("<Q", data, at)
    (context.rip,) = struct.unpack_from("<Q", data, 0x50)
    context.mxcsr, context.fpcw = struct.unpack_from("<IH", data, 0x58)
    for number in range(6, 16):
        context.xmm[number] = int.from_bytes(data[0x60 + 16 * (number - 6) :][:16], "little")


# -- __try of C --------------------------------------------------------------------------------------


def c_specific_handler(system: System, at: int, frame: int, context_at: int, dispatcher: int) -> Task:  # fmt: skip
    """__C_specific_handler: a table of (begin, end, filter or termination handler, where __except goes on; 0: __finally)."""
    memory = system.memory
    fields = _DISPATCHER.unpack(memory.read(dispatcher, _DISPATCHER.size))
    pc, base, target_ip, data, scope = fields[0], fields[1], fields[4], fields[7], fields[9]
    pc -= base
    record = c.Record.load(system, at)
    (count,) = struct.unpack("<I", memory.read(data, 4))
    unwinding = record.flags & (c.UNWINDING | c.EXIT_UNWIND)
    target = target_ip - base if record.flags & c.TARGET_UNWIND else -1
    for number in range(scope, min(count, _MOST_SCOPES)):
        begin, end, handler, jump_to = struct.unpack("<4I", memory.read(data + 4 + 16 * number, 16))
        if not begin <= pc < end:
            continue
        if unwinding:
            if begin <= target < end or (jump_to and jump_to == target):
                break
            if not jump_to:
                system.put(dispatcher + DISPATCHER["scope"], number + 1, 4)
                yield Call(base + handler, (1, frame))
            continue
        if not jump_to:
            continue
        answer = 1
        if handler != 1:
            pointers = system.threads.current.frames[-1].sp - 0x40 & -16
            memory.write(pointers, struct.pack("<QQ", at, context_at))
            place = Place(pointers)
            answer = yield Call(base + handler, (pointers, frame), "cdecl", place)
            answer = (answer & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
        if answer < 0:
            return c.CONTINUE_EXECUTION
        if answer > 0:
            context_room = system.number(dispatcher + DISPATCHER["context"])
            history = system.number(dispatcher + DISPATCHER["history"])
            goal = Goal(frame, base + jump_to, record.code)
            return (yield from unwind(system, goal, at, context_room, history))
    return c.CONTINUE_SEARCH
