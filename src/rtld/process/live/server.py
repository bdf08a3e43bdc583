"""Answers what live processes ask: a thread that waits for requests in the shared memory.

Requests come from any thread of the program and of the children it forks. A child is known by its pid and the number of the
state it was forked in (``World.history``); it gets a World of its own when it first asks.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections import deque
from contextlib import suppress

from rtld.backends.child.live_anchor import CONTROL_NONCE, SERVICES, results
from rtld.backends.child.ptrace import Memory
from rtld.errors import TargetFault
from rtld.process.live.dlservice import Service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Self

    from rtld.backends.child.channel import Channel, Request
    from rtld.process.live.world import World

#: Services that change what is loaded: one thread of a process at a time, as under ld.so's own lock.
_EXCLUSIVE = frozenset(("dlopen", "dlmopen", "dlclose"))


_PATIENCE = 5  # seconds between two looks at whether somebody is there
_MANY = 16  # sessions at a time; more are a sign that some are dead


class Session:
    """A request that is being worked on, step by step."""

    __slots__ = ("blocks", "calls", "exclusive", "request", "service", "steps")

    def __init__(self, service: Service, request: Request, steps: Any, exclusive: bool) -> None:
        self.service = service
        self.request = request
        self.steps = steps
        self.exclusive = exclusive
        self.calls: Any = None  # the list that the thread is at
        self.blocks: list[tuple[int, int]] = []  # shared memory to give back


class Server:
    """``with Server(world, channel, argv0): wait for the program``"""

    def __init__(self, world: World, channel: Channel, argv0: str, memory: Memory) -> None:
        self.channel = channel
        self.argv0 = argv0
        self.services: dict[int, Service] = {world.pid: Service(world, channel, argv0, memory)}
        self.adopted: dict[
            int, tuple[int, bytes]
        ] = {}  # forked children: the state they began in, when they started
        self.sessions: dict[int, Session] = {}  # by slot
        self.owners: dict[int, list[Session]] = {}  # pid -> exclusive sessions, innermost last
        self.waiting: dict[int, deque[Request]] = {}
        self._suspects: set[tuple[int, int]] = set()  # slots and the threads that seem to be dead
        self._stop = False
        self._foreign = False  # some of our processes are in another pid namespace
        self._thread = threading.Thread(target=self._serve, name="linker", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """The program has ended; what it has forked may be there still."""
        self._stop = True
        for _ in range(100):
            self.channel.ring()  # it may just have been about to fall asleep
            self._thread.join(0.01)
            if not self._thread.is_alive():
                break
        if self._thread.is_alive():
            self.channel.hang_up()
        elif not self.channel.unused():
            self._stay()

    def _stay(self) -> None:
        """Leave a process behind that goes on answering for as long as somebody may ask."""
        sys.stdout.flush()
        sys.stderr.flush()
        if os.fork():
            return
        os.setsid()
        # Who waits for the end of our output must not wait for us.
        null = os.open(os.devnull, os.O_RDWR)
        keep = {self.channel.fd, *(service.memory.fd for service in self.services.values())}
        for fd in map(int, os.listdir("/proc/self/fd")):
            if fd > 2 and fd not in keep and fd != null:
                with suppress(OSError):
                    os.close(fd)
        for fd in range(3):
            os.dup2(null, fd)
        self._stop = False
        self.channel.open_again()
        with suppress(BaseException):
            while not self.channel.unused():
                self._serve(_PATIENCE)
        os._exit(0)

    def _serve(self, seconds: int = 0) -> None:
        """Answer until we are told to stop, or, if asked for, until nobody has asked for so many seconds."""
        channel = self.channel
        count = 0
        while not self._stop:
            for request in channel.requests():
                count += 1
                if count % 256 == 0:
                    self._reclaim()
                try:
                    self._accept(request)
                except Exception:  # the thread must answer whatever happens, or the program hangs
                    if os.environ.get("RTLD_DEBUG"):
                        traceback.print_exc(file=sys.stderr)
                    session = self.sessions.get(request.slot)
                    if session is not None:
                        self._end(session)
                    channel.answer(request.slot, 0)
            asked = channel.wait(1 if any(self.waiting.values()) else seconds)
            if any(self.waiting.values()):
                self._bury()
            elif seconds and not asked and not self.sessions:
                return

    def _accept(self, request: Request) -> None:
        session = self.sessions.get(request.slot)
        if session is not None and session.request.tid == request.tid:
            calls = session.calls
            self._advance(session, results(self.channel.get(calls.address, 64 * len(calls))))
            return
        if session is not None:  # its thread was killed, and the slot is another's now
            self._end(session)
        if len(self.sessions) > _MANY:
            self._bury()
        try:
            service = self._service(request)
        except ProcessLookupError:
            self.channel.release(request.slot)  # killed before we came to it
            return
        name = SERVICES[request.service]
        exclusive = name in _EXCLUSIVE
        if exclusive:
            owners = self.owners.get(service.world.pid)
            if owners and owners[-1].request.tid != request.tid:
                self.waiting.setdefault(service.world.pid, deque()).append(request)
                return
        self._begin(service, request, name, exclusive)

    def _begin(self, service: Service, request: Request, name: str, exclusive: bool) -> None:
        session = Session(service, request, service.attempt(request, name), exclusive)
        self.sessions[request.slot] = session
        if exclusive:
            self.owners.setdefault(service.world.pid, []).append(session)
        self._advance(session, None)

    def _advance(self, session: Session, got: list[int] | None) -> None:
        """Take the next step: hand out another list, or the result."""
        channel = self.channel
        session.service.blocks = session.blocks
        try:
            calls = session.steps.send(got)
        except StopIteration as stop:
            self._end(session)
            channel.answer(session.request.slot, stop.value)
            self._next(session)
            return
        except Exception:
            self._end(session)
            self._next(session)
            raise
        session.calls = calls
        channel.put(calls.address, calls.bytes())
        channel.answer(session.request.slot, 0, run=calls.address, again=True)

    def _end(self, session: Session) -> None:
        self.sessions.pop(session.request.slot, None)
        for address, size in session.blocks:
            self.channel.free(address, size)
        if session.exclusive:
            owners = self.owners.get(session.service.world.pid, [])
            if session in owners:
                owners.remove(session)

    def _next(self, session: Session) -> None:
        """Let the next thread that waits for the loader's lock go on."""
        pid = session.service.world.pid
        queue = self.waiting.get(pid)
        if session.exclusive and queue and not self.owners.get(pid):
            request = queue.popleft()
            self._begin(self._service(request), request, SERVICES[request.service], True)

    def _bury(self) -> None:
        """End the sessions of threads that were killed meanwhile: one may hold the loader's lock."""
        for slot, session in list(self.sessions.items()):
            pid = session.service.world.pid
            # In another pid namespace the thread has another number here.
            inside = session.request.pid == pid
            path = f"/proc/{pid}/task/{session.request.tid}" if inside else f"/proc/{pid}"
            if not os.path.exists(path):
                self._end(session)
                self.channel.release(slot)
                self._next(session)

    def _reclaim(self) -> None:
        """Slots of threads that were killed while they had one."""
        dead = set()
        for slot, thread in self.channel.owners():
            try:
                os.kill(thread, 0)
            except ProcessLookupError:
                dead.add((slot, thread))
            except PermissionError:
                pass
        for slot, thread in dead & self._suspects:
            # It was not there the last time either, so it had not just begun.
            if (slot, thread) in set(self.channel.owners()):
                session = self.sessions.get(slot)
                if session is not None:
                    self._end(session)
                self.channel.release(slot)
        # In another pid namespace threads have other numbers than here.
        self._suspects = set() if self._foreign else dead

    def _real_pid(self, request: Request, control: int) -> int:
        """The pid here of the process that asks: it may be in a pid namespace of its own."""
        if self._is_ours(request.pid, control):
            return int(request.pid)
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            try:
                with open(f"/proc/{name}/status", "rb") as file:
                    numbers = next(line for line in file if line.startswith(b"NSpid:")).split()
            except (OSError, StopIteration):
                continue
            if int(numbers[-1]) == request.pid and self._is_ours(int(name), control):
                self._foreign = True
                return int(name)
        raise ProcessLookupError

    def _is_ours(self, pid: int, control: int) -> bool:
        memory = None
        try:
            memory = Memory(pid)
            return memory.read(control + CONTROL_NONCE, 8) == self.channel.nonce
        except (OSError, TargetFault):
            return False
        finally:
            if memory is not None:
                memory.close()

    def _service(self, request: Request) -> Service:
        """The services of the process that asks; a forked child gets a World of its own."""
        known = self.services.get(request.pid)
        if known is not None:
            world = known.world
            # Another thread may have read the number just before it changed.
            if world.number == request.state or request.state in world.history:
                return known
            if self.adopted.get(request.pid) == (request.state, started(request.pid)):
                return known
        origin = None
        for service in self.services.values():
            world = service.world
            if world.number == request.state:
                origin = world
            elif request.state in world.history:
                origin = world.history[request.state]
            if origin is not None:
                break
        if origin is None:
            raise LookupError(f"state {request.state} of process {request.pid} is not known")
        if known is not None:
            known.close()
            del self.services[request.pid]
        if len(self.services) > 64:
            self._forget_dead()
        pid = self._real_pid(request, origin.anchor.control)
        try:
            memory = Memory(pid)
        except FileNotFoundError:
            raise ProcessLookupError from None
        world = origin.copy(pid)
        world.renumber()
        self.adopted[request.pid] = request.state, started(request.pid)
        service = Service(world, self.channel, self.argv0, memory)
        self.services[request.pid] = service
        try:
            memory.write(*world.state_word())
        except TargetFault:
            raise ProcessLookupError from None
        return service

    def _forget_dead(self) -> None:
        for pid in list(self.services):
            if not os.path.exists(f"/proc/{pid}"):
                self.services.pop(pid).close()
                self.adopted.pop(pid, None)


def started(pid: int) -> bytes:
    """When a process was started, in clock ticks: tells processes apart that had the same pid."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2].split()[19]
    except (OSError, IndexError):
        return b""
