"""Input and output that end later: requests that wait, what is told when one ends: OVERLAPPED, event, completion port, APC.

"Synchronous and Asynchronous I/O" (learn.microsoft.com). A request is tried whenever a thread looks at what it would tell of.
"""

from __future__ import annotations

from collections import deque, namedtuple

from rtld.backends.windows.api import Wait, Waiting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any

    from rtld.backends.windows.system import Handle, System

    Task = Generator[Any, Any, Any]

SUCCESS, PENDING, END_OF_FILE, CANCELLED = 0, 0x103, 0xC0000011, 0xC0000120
PIPE_BROKEN, PIPE_DISCONNECTED = 0xC000014B, 0xC00000B0
#: STATUS_* -> error of Win32, of those that a request ends with
ERRORS = {SUCCESS: 0, PENDING: 997, END_OF_FILE: 38, CANCELLED: 995, PIPE_BROKEN: 109, PIPE_DISCONNECTED: 233,
          0xC0000008: 6, 0xC000000D: 87, 0xC0000022: 5, 0xC00000B1: 232}  # fmt: skip
_SKIP_PORT = 1  # FILE_SKIP_COMPLETION_PORT_ON_SUCCESS

#: Who waits for the end of a request. ``block``: where status and count go; ``event``: a handle that is set, or 0;
#: ``context``: what a port is told (0: nothing); ``apc``: None, or of status and bytes (function, *arguments).
Teller = namedtuple("Teller", "block event context apc", defaults=(0, 0, None))
#: A packet of a port: the key of the file, the request's context, status, bytes.
Packet = namedtuple("Packet", "key context status count")


class Port:
    """What a completion port has to tell."""

    def __init__(self) -> None:
        self.packets: deque[Packet] = deque()


class Request:
    """One that has not ended: ``attempt()`` is (status, bytes) when it has, None before."""

    def __init__(self, handle: Handle, teller: Teller, thread: Any, attempt: Callable[[], tuple[int, int] | None]) -> None:  # fmt: skip
        self.handle = handle
        self.teller = teller
        self.thread = thread
        self.attempt = attempt


def requests(system: System) -> list[Request]:
    """Those of the process that have not ended."""
    found: list[Request] = system.cache.setdefault("requests", [])
    return found


def outside(system: System) -> Waiting:
    """Whether what is waited for may come from a request."""
    return Waiting(requests(system))


def poll(system: System) -> None:
    """Try the requests that wait, in the order in which they were made."""
    waiting = requests(system)
    busy: set[int] = set()
    for request in list(waiting):
        if id(request.handle) in busy:
            continue  # behind another of the same file
        ended = request.attempt()
        if ended is None:
            busy.add(id(request.handle))
        elif request in waiting:
            waiting.remove(request)
            tell(system, request.handle, request.teller, ended, request.thread)


def tell(system: System, handle: Handle, teller: Teller, ended: tuple[int, int], thread: Any, *, at_once: bool = False) -> None:  # fmt: skip
    """A request has ended: everybody who wants to know is told."""
    status, count = ended
    if teller.block:
        system.put(teller.block, status)
        system.put(teller.block + system.word, count)
    event = system.handles.get(teller.event & ~1) if teller.event else None
    if event is not None and event.kind == "event":
        event.signalled = True
    if teller.apc is not None:
        thread.crt.setdefault("apcs", []).append(teller.apc(status, count))
    port = handle.__dict__.get("port")
    if port is None or not teller.context or teller.event & 1:
        return
    if at_once and handle.__dict__.get("modes", 0) & _SKIP_PORT:
        return
    port[0].packets.append(Packet(port[1], teller.context, status, count))


def begin(system: System, handle: Handle, teller: Teller, attempt: Callable[[], tuple[int, int] | None]) -> tuple[int, int]:  # fmt: skip
    """(status, bytes) of a request that is tried at once; STATUS_PENDING when its end is told later."""
    event = system.handles.get(teller.event & ~1) if teller.event else None
    if event is not None and event.kind == "event":
        event.signalled = False
    thread = system.threads.current
    poll(system)
    waiting = requests(system)
    ended = None if any(r.handle is handle for r in waiting) else attempt()
    if ended is None:
        if teller.block:
            system.put(teller.block, PENDING)
        waiting.append(Request(handle, teller, thread, attempt))
        return PENDING, 0
    if not ended[0] & 0x80000000:  # an error is the answer, and nothing else tells of it
        tell(system, handle, teller, ended, thread, at_once=True)
    elif teller.block:
        system.put(teller.block, ended[0])
        system.put(teller.block + system.word, ended[1])
    return ended


def wait(system: System, attempt: Callable[[], tuple[int, int] | None]) -> Task:
    """The same for who waits for the end: other threads run until then."""
    result: list[tuple[int, int]] = []

    def ready() -> bool:
        poll(system)
        ended = attempt()
        if ended is not None:
            result.append(ended)
        return bool(result)

    yield Wait(ready, None, True)
    return result[0]


def cancel(system: System, handle: Handle, block: int = 0, thread: Any = None) -> bool:
    """End what waits on a file (*block*: only the request that has it; *thread*: only that thread's); was there any?"""
    waiting = requests(system)
    chosen = [r for r in waiting if r.handle is handle and block in (0, r.teller.block) and thread in (None, r.thread)]  # fmt: skip
    for request in chosen:
        waiting.remove(request)
        tell(system, handle, request.teller, (CANCELLED, 0), request.thread)
    return bool(chosen)
