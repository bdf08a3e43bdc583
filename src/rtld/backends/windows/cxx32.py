"""__CxxFrameHandler3 of x86: a function's registration has its state; handlers run with its ebp."""

from __future__ import annotations

import struct

from rtld.backends.windows import context as c
from rtld.backends.windows import cxx, seh32
from rtld.backends.windows.api import Api, Call, Place, Resume
from rtld.backends.windows.exceptions import own_context, popped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from rtld.backends.windows.system import System

    Task = Generator[Any, Any, Any]

_STATE, _EBP = 8, 12  # of a registration: the state; where ebp points


def frame_handler(system: System, at: int, frame: int, _context: int, _dispatcher: int) -> Task:
    """A disposition; when a handler of the frame takes the exception, the Resume behind it. FuncInfo comes in eax."""
    kept = own_context(system)
    info = cxx.FunctionInfo(system, kept.values["eax"], 0)
    if not info.good:
        return c.CONTINUE_SEARCH
    if system.number(at + 4) & (c.UNWINDING | c.EXIT_UNWIND):
        yield from _unwind_states(system, info, frame, -1)
        return _answer(system, kept)
    done = yield from _search(system, at, frame, info, kept, None, frame)
    return done or _answer(system, kept)


def _answer(system: System, kept: Any) -> Resume:
    context = popped(system, kept)
    context.values["eax"] = c.CONTINUE_SEARCH
    return Resume(context)


def _search(system: System, at: int, frame: int, info: cxx.FunctionInfo, kept: Any, inside: Any, target: int) -> Task:  # fmt: skip
    """Run the handler that takes the exception: the Resume behind it. None when there is none."""
    record = c.Record.load(system, at)
    thrown = cxx.thrown_by(system, record)
    found = cxx.find(system, info, _state(system, frame), thrown, inside)
    if found is None:
        return None
    block, handler, kind = found
    yield from cxx.give_object(system, frame + _EBP, handler, thrown, kind)
    catch = cxx.Catch(thrown, frame, handler, block, info.outside(block.low)[0], target)
    number = cxx.new_number()
    place = system.threads.current.frames[-1].sp - 0x80 & -16
    cxx.pending(system)[number] = catch
    record.info = (*record.info[:4], *[0] * (4 - len(record.info)), *number)
    record.flags &= ~c.UNWINDING
    record.store(system, place)
    system.threads.current.frames[-1].low = place - 16
    yield from seh32.unwind_chain(system, target, place, kept.copy())
    yield from _unwind_states(system, info, frame, catch.outside)
    cxx.pending(system).pop(number, None)
    system.put(frame + _STATE, block.high + 1)
    back = yield from _call(system, catch, info)
    esp = system.number(frame - 4)
    kept.values.update(eip=back, esp=esp, ebp=frame + _EBP)
    return Resume(kept)


def _call(system: System, catch: cxx.Catch, info: cxx.FunctionInfo) -> Task:
    """Run a handler, behind a registration that sees what it throws; where the function goes on."""
    frames = system.threads.current.frames
    below = frames[-1].sp - 64
    before = seh32.chain(system)
    guards = _guards(system)
    guards[below] = catch, info
    system.memory.write(below, struct.pack("<II", before, _guard(system)))
    seh32.set_chain(system, below)
    saved = system.number(catch.frame - 4)
    place = Place(below, None, {"ebp": catch.frame + _EBP}, 0, catch)
    back = yield Call(catch.handler.code, (), "cdecl", place)
    frames[-1].state = None
    seh32.set_chain(system, before)
    system.put(
        catch.frame - 4, saved
    )  # a handler with a try block of its own has put its stack pointer there
    guards.pop(below, None)
    yield from catch.finish(system)
    return back


def _guards(system: System) -> dict[int, tuple[cxx.Catch, cxx.FunctionInfo]]:
    """The handlers of this thread that run, by the registrations in front of them."""
    found: dict[int, Any] = system.threads.current.crt.setdefault("guards", {})
    return found


def _guard(system: System) -> int:
    """The handler of these registrations."""
    found = system.cache.get("catch guard")
    if found is None:
        api = Api("vcruntime140.dll", "catch guard", "pppp", "i", "cdecl", _in_handler)
        found = system.cache["catch guard"] = system.threads.new_slot(api)
    return int(found)


def _in_handler(system: System, at: int, frame: int, _context: int, _dispatcher: int) -> Task:
    """An exception in a handler of C++: a try block of the handler may take it; it leaves the handler, else."""
    kept = own_context(system)
    found = _guards(system).get(frame)
    if found is None:
        return c.CONTINUE_SEARCH
    catch, info = found
    if system.number(at + 4) & (c.UNWINDING | c.EXIT_UNWIND):
        yield from _unwind_states(system, info, catch.frame, catch.block.high)
        yield from catch.left(system, at)
        return _answer(system, kept)
    done = yield from _search(system, at, catch.frame, info, kept, catch.block, frame)
    return done or _answer(system, kept)


def _state(system: System, frame: int) -> int:
    return int.from_bytes(system.memory.read(frame + _STATE, 4), "little", signed=True)


def _unwind_states(system: System, info: cxx.FunctionInfo, frame: int, stop: int) -> Task:
    """Destroy what is to be destroyed between the frame's state and ``stop``."""
    for _ in range(info.most):
        state = _state(system, frame)
        if state <= stop:
            break
        outside, action = info.outside(state)
        system.put(frame + _STATE, outside & 0xFFFFFFFF, 4)
        if action:
            yield Call(action, (), "cdecl", Place(0, None, {"ebp": frame + _EBP}))
