"""Calls of the program that may raise: what nobody in them handles is an answer, not the end of the process.

So the loader calls DllMain and TLS callbacks (dlls/ntdll/loader.c: MODULE_InitDLL). On x64 the search for handlers ends at such a call,
on x86 a registration of ours stands in the chain.
"""

from __future__ import annotations

import struct

from rtld.backends.windows.api import Api, Call, Place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from rtld.backends.windows.system import System

    Task = Generator[Any, Any, Any]

_REGISTRATION = "registrations of guarded calls"


class Caught:
    """Of one call: the code of the exception that has ended it, or 0."""

    def __init__(self, frame: Any) -> None:
        self.frame = frame  # whose call it is
        self.code = 0
        self.context: Any = None  # x86: the registers as they were before


def guarded(system: System, address: int, arguments: tuple[int, ...]) -> Task:
    """(result, 0), or (0, code of the exception)."""
    machine = system.threads
    frames = getattr(machine.current, "frames", None)
    if not frames or machine.cpu.name not in ("x86_64", "i386"):
        # In this process whoever has called from Python gets the exception; AArch64 has none.
        return (yield Call(address, arguments)), 0
    frame = frames[-1]
    caught = Caught(frame)
    if system.bits == 64:
        result = yield Call(address, arguments, "stdcall", Place(state=caught))
    else:
        result = yield from _guarded32(system, caught, address, arguments)
    return (0, caught.code) if caught.code else (result, 0)


def _guarded32(system: System, caught: Caught, address: int, arguments: tuple[int, ...]) -> Task:
    from rtld.backends.windows import context as c
    from rtld.backends.windows import seh32

    at = ((caught.frame.low or caught.frame.sp) - 128) & -16
    before = seh32.chain(system)
    registrations: dict[int, Caught] = system.cache.setdefault(_REGISTRATION, {})
    handler = system.cache.get("guarded handler")
    if handler is None:
        api = Api("ntdll.dll", "guarded call", "pppp", "i", "cdecl", _handler)
        handler = system.cache["guarded handler"] = system.threads.new_slot(api)
    system.memory.write(at, struct.pack("<II", before, handler))
    registrations[at] = caught
    caught.context = c.capture(system)
    seh32.set_chain(system, at)
    try:
        result = yield Call(address, arguments, "stdcall", Place(at))
    finally:
        registrations.pop(at, None)
    seh32.set_chain(system, before)
    return result


def _handler(system: System, at: int, registration: int, _context: int, _dispatcher: int) -> Any:
    """The end of the search on x86."""
    from rtld.backends.windows import context as c

    record = c.Record.load(system, at)
    caught = system.cache[_REGISTRATION].get(registration)
    if record.flags & (c.UNWINDING | c.EXIT_UNWIND) or caught is None:
        return c.CONTINUE_SEARCH
    return _end32(system, caught, record.code, at, registration)


def _end32(system: System, caught: Caught, code: int, at: int, registration: int) -> Task:
    """Termination handlers first; then as if the function had returned."""
    from rtld.backends.windows import returns, seh32
    from rtld.backends.windows.api import Resume
    from rtld.backends.windows.exceptions import own_context

    yield from seh32.unwind_chain(system, registration, at, own_context(system))
    caught.code, context = code, caught.context
    context.values["eip"] = returns.address(system.threads.returns, returns.CALL)
    context.values["esp"] = caught.frame.called
    return Resume(context)
