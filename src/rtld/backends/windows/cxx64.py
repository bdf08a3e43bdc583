"""__CxxFrameHandler3 and 4 of x64: handlers are functions of their own, which are run before the stack is cut back."""

from __future__ import annotations

import struct

from rtld.backends.windows import context as c
from rtld.backends.windows import cxx
from rtld.backends.windows.api import Api, Call, Place
from rtld.backends.windows.seh64 import Goal, unwind
from rtld.core.late import Late

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from rtld.backends.windows import cxx4
    from rtld.backends.windows.system import System

    Task = Generator[Any, Any, Any]
else:
    cxx4 = Late("rtld.backends.windows.cxx4")


def frame_handler(system: System, at: int, frame: int, _context: int, dispatcher: int, *, packed: bool = False) -> Task:  # fmt: skip
    """A disposition; when a handler of the frame takes the exception, the Resume behind it. *packed*: the tables are ``cxx4``'s."""
    memory = system.memory
    fields = struct.unpack("<8Q", memory.read(dispatcher, 64))
    pc, base, row, target_ip, data = fields[0], fields[1], fields[2], fields[4], fields[7]
    begin, place = system.number(row, 4), base + system.number(data, 4)
    info: Any = cxx4.FunctionInfo4(system, place, base, begin) if packed else cxx.FunctionInfo(system, place, base)  # fmt: skip
    if not info.good:
        return c.CONTINUE_SEARCH
    state = info.state_at(pc - base)
    inside = None
    parent = frame
    if packed:
        parent = system.number(frame + info.frame) if info.catches else frame
    else:
        inside, own = _handler_that_runs(info, state, base + begin)
        parent = system.number(frame + own.frame) if own is not None else frame
    for each in cxx.running(system):
        if each.target == frame:  # what has brought it into that state is being handled
            state = each.outside
            break
    record = c.Record.load(system, at)
    if record.flags & (c.UNWINDING | c.EXIT_UNWIND):
        stop = inside.high if inside is not None else -1
        coming = cxx.pending(system).get(record.info[4:5]) if record.code == c.UNWIND_CONSOLIDATE else None  # fmt: skip
        if record.flags & c.TARGET_UNWIND:
            stop = coming.outside if coming is not None else info.state_at(target_ip - base)
        yield from _unwind_states(info, state, stop, parent)
        return c.CONTINUE_SEARCH
    thrown = cxx.thrown_by(system, record)
    found = cxx.find(system, info, state, thrown, inside)
    if found is None:
        return c.CONTINUE_SEARCH
    block, handler, kind = found
    yield from cxx.give_object(system, parent, handler, thrown, kind)
    outside = info.outside(block.low)[0]
    number = cxx.new_number()
    cxx.pending(system)[number] = cxx.Catch(thrown, parent, handler, block, outside, frame)
    place = system.threads.current.frames[-1].sp - 0x140 & -16
    values = (_caller(system), parent, handler.code, outside & 0xFFFFFFFF, number[0])
    c.Record(c.UNWIND_CONSOLIDATE, c.NONCONTINUABLE, pc, values).store(system, place)
    context_room = system.number(dispatcher + 0x28)
    return (yield from unwind(system, Goal(frame, pc, 0), place, context_room, 0, place))


def _handler_that_runs(info: cxx.FunctionInfo, state: int, begin: int) -> tuple[Any, Any]:
    """(try block, handler) when the frame is that of a handler; else (None, None)."""
    for block in info.tries():
        if block.high < state <= block.catch_high:
            for handler in block.handlers:
                if handler.code == begin:
                    return block, handler
    return None, None


def _unwind_states(info: Any, state: int, stop: int, frame: int) -> Task:
    """Destroy what is to be destroyed between two states."""
    for _ in range(info.most):
        if state <= stop:
            break
        now = state
        state, action = info.outside(state)
        if action:
            yield Call(action, info.argument(now, frame), "cdecl")


def _caller(system: System) -> int:
    """The function that RtlRestoreContext calls when the stack is unwound."""
    found = system.cache.get("catch block")
    if found is None:
        found = system.threads.new_slot(Api("vcruntime140.dll", "__CxxCallCatchBlock", "p", "p", "cdecl", _call_catch_block))  # fmt: skip
        system.cache["catch block"] = found
    return int(found)


def _call_catch_block(system: System, at: int) -> Task:
    """Run the handler; where the function goes on. The frames that threw are still below."""
    catch = cxx.pending(system).pop(c.Record.load(system, at).info[4:5])
    place = Place(0, None, None, 0, catch)
    back = yield Call(catch.handler.code, (0, catch.frame), "cdecl", place)
    system.threads.current.frames[-1].state = None
    yield from catch.finish(system)
    return catch.handler.goes_on(back)
