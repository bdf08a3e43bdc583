"""KERNEL32.dll: completion ports, results of overlapped requests, waits that are registered."""

from __future__ import annotations

import struct

from rtld.backends.windows import completion
from rtld.backends.windows.api import Call, Wait
from rtld.backends.windows.kernel32 import INFINITE, KERNEL32
from rtld.backends.windows.kernel32_files import read_file, write_file
from rtld.backends.windows.kernel32_pipes import error_of, reading, writing
from rtld.backends.windows.kernel32_sync import wait_for_single_object
from rtld.backends.windows.kernel32_threads import ended, run_apcs
from rtld.backends.windows.system import Handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from rtld.backends.windows.system import System

    Task = Generator[Any, Any, Any]

_MOST = 1 << 16
_ONCE = 8  # WT_EXECUTEONLYONCE


@KERNEL32("CreateIoCompletionPort", "pppu", "p")
def create_io_completion_port(system: System, file: int, existing: int, key: int, _threads: int) -> int:  # fmt: skip
    invalid = (1 << system.bits) - 1
    number = existing
    if not existing:
        number = system.add(Handle("port", port=completion.Port(), closed=False))
    found = system.handle(number, "port")
    if found is None or file == invalid:
        return 0 if found is None else number
    target = system.handle(file, "file", "pipe", "stream", "socket")
    if target is None or "port" in target.__dict__:
        if not existing:
            system.close(number)
        return 0 if target is None else system.fail(87)
    target.port = (found.port, key)
    return number


@KERNEL32("PostQueuedCompletionStatus", "pupp")
def post_queued_completion_status(system: System, port: int, count: int, key: int, overlapped: int) -> int:  # fmt: skip
    found = system.handle(port, "port")
    if found is None:
        return 0
    found.port.packets.append(completion.Packet(key, overlapped, 0, count))
    return 1


def _next_packets(system: System, port: int, most: int, milliseconds: int, alertable: int) -> Task:
    """The packets that are there; [] when none came in time; None: an APC came, or the port has gone."""
    found = system.handle(port, "port")
    if found is None:
        return None
    packets = found.port.packets
    apcs: list[Any] = system.threads.current.crt.setdefault("apcs", []) if alertable else []

    def ready() -> bool:
        completion.poll(system)
        return bool(packets) or bool(apcs) or not found.count

    seconds = None if milliseconds == INFINITE else milliseconds / 1000
    if not (yield Wait(ready, seconds, completion.outside(system))):
        return []
    if not packets and apcs:
        yield from run_apcs(system)
        return system.fail(0xC0) or None
    if not packets:
        return system.fail(735) or None  # ERROR_ABANDONED_WAIT_0
    return [packets.popleft() for _ in range(min(most, len(packets)))]


@KERNEL32("GetQueuedCompletionStatusEx", "ppupuu")
def get_queued_completion_status_ex(system: System, port: int, out: int, room: int, removed: int, milliseconds: int, alertable: int) -> Task:  # fmt: skip
    if not room:
        return system.fail(87)
    packets = yield from _next_packets(system, port, min(room, _MOST), milliseconds, alertable)
    if not packets:
        system.put(removed, 0, 4)
        return 0 if packets is None else system.fail(258)
    form = "<QQQQ" if system.bits == 64 else "<IIII"
    data = b"".join(struct.pack(form, p.key, p.context, p.status, p.count) for p in packets)
    system.memory.write(out, data)
    system.put(removed, len(packets), 4)
    return 1


@KERNEL32("GetQueuedCompletionStatus", "ppppu")
def get_queued_completion_status(system: System, port: int, count: int, key: int, overlapped: int, milliseconds: int) -> Task:  # fmt: skip
    packets = yield from _next_packets(system, port, 1, milliseconds, 0)
    if not packets:
        system.put(overlapped, 0)
        return 0 if packets is None else system.fail(258)
    packet = packets[0]
    system.put(count, packet.count, 4)
    system.put(key, packet.key)
    system.put(overlapped, packet.context)
    return 1 if not packet.status else system.fail(error_of(packet.status))


@KERNEL32("SetFileCompletionNotificationModes", "pu")
def set_file_completion_notification_modes(system: System, handle: int, flags: int) -> int:
    found = system.handle(handle, "file", "pipe", "stream", "socket")
    if found is None:
        return 0
    found.modes = flags
    return 1


# -- requests -------------------------------------------------------------------------------------


@KERNEL32("CancelIo", "p")
def cancel_io(system: System, handle: int) -> int:
    found = system.handle(handle)
    if found is None:
        return 0
    completion.cancel(system, found, 0, system.threads.current)
    return 1


@KERNEL32("CancelIoEx", "pp")
def cancel_io_ex(system: System, handle: int, overlapped: int) -> int:
    found = system.handle(handle)
    if found is None:
        return 0
    return int(completion.cancel(system, found, overlapped)) or system.fail(1168)


@KERNEL32("CancelSynchronousIo", "p")
def cancel_synchronous_io(system: System, _thread: int) -> int:
    return system.fail(1168)  # ERROR_NOT_FOUND


@KERNEL32("GetOverlappedResult", "pppu")
@KERNEL32("GetOverlappedResultEx", "pppuu")
def get_overlapped_result(system: System, _handle: int, overlapped: int, done: int, wait: int, _alertable: int = 0) -> Any:  # fmt: skip
    completion.poll(system)
    if wait and system.number(overlapped) == completion.PENDING:
        return _result_later(system, overlapped, done, wait)
    return _result(system, overlapped, done)


def _result_later(system: System, overlapped: int, done: int, wait: int) -> Task:
    def ready() -> bool:
        completion.poll(system)
        return system.number(overlapped) != completion.PENDING

    seconds = wait / 1000 if 1 < wait < INFINITE else None
    if not (yield Wait(ready, seconds, completion.outside(system))):
        return system.fail(258)
    return _result(system, overlapped, done)


def _result(system: System, overlapped: int, done: int) -> int:
    status = system.number(overlapped) & 0xFFFFFFFF
    if status == completion.PENDING:
        return system.fail(996)  # ERROR_IO_INCOMPLETE
    system.put(done, system.number(overlapped + system.word), 4)
    return 1 if not status else system.fail(error_of(status))


def _with_routine(system: System, handle: int, place: int, size: int, overlapped: int, routine: int, *, write: bool) -> Any:  # fmt: skip
    """ReadFileEx, WriteFileEx: the routine is an APC of this thread."""
    found = system.handle(handle, "file", "pipe", "stream")
    if found is None:
        return 0

    def apc(status: int, count: int) -> tuple[int, ...]:
        return routine, error_of(status) if status else 0, count, overlapped

    if found.kind == "pipe":
        attempt = (writing if write else reading)(system, found, place, size)
        status, _ = completion.begin(system, found, completion.Teller(overlapped, 0, 0, apc), attempt)  # fmt: skip
        return system.fail(error_of(status)) if status & 0x80000000 else 1
    done = (write_file if write else read_file)(system, handle, place, size, 0, overlapped)
    if not done:
        return 0
    count = system.number(overlapped + system.word)
    system.threads.current.crt.setdefault("apcs", []).append(apc(0, count))
    return 1


@KERNEL32("ReadFileEx", "ppupp")
def read_file_ex(system: System, handle: int, out: int, size: int, overlapped: int, routine: int) -> Any:  # fmt: skip
    return _with_routine(system, handle, out, size, overlapped, routine, write=False)


@KERNEL32("WriteFileEx", "ppupp")
def write_file_ex(system: System, handle: int, source: int, size: int, overlapped: int, routine: int) -> Any:  # fmt: skip
    return _with_routine(system, handle, source, size, overlapped, routine, write=True)


# -- registered waits -----------------------------------------------------------------------------


@KERNEL32("RegisterWaitForSingleObject", "ppppuu")
def register_wait_for_single_object(system: System, out: int, handle: int, function: int, context: int, milliseconds: int, flags: int) -> int:  # fmt: skip
    if system.handle(handle) is None:
        return 0
    state = {"stop": False, "running": 0}

    def body() -> Task:
        while not state["stop"]:
            answer = wait_for_single_object(system, handle, milliseconds)
            if hasattr(answer, "send"):
                answer = yield from _unless_stopped(answer, state)
            if state["stop"] or answer in (None, INFINITE):
                return 0
            state["running"] += 1
            yield Call(function, (context, int(answer == 258)))
            state["running"] -= 1
            if flags & _ONCE:
                return 0
        return 0

    system.loader.new_task(body())
    system.put(out, system.add(Handle("registered wait", state=state)))
    return 1


def _unless_stopped(task: Task, state: dict[str, Any]) -> Task:
    """The waits of *task* end, too, when the wait is taken back."""
    value: Any = None
    while True:
        try:
            effect = task.send(value)
        except StopIteration as stop:
            return stop.value
        ready = effect.ready
        value = yield effect._replace(ready=lambda r=ready: state["stop"] or r())
        if state["stop"]:
            task.close()
            return None


@KERNEL32("UnregisterWait", "p")
@KERNEL32("UnregisterWaitEx", "pp")
def unregister_wait(system: System, wait: int, event: int = 0) -> Any:
    found = system.handle(wait, "registered wait")
    if found is None:
        return 0
    found.state["stop"] = True
    system.close(wait)
    return ended(system, found.state, event)
