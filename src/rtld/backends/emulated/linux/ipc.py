"""System V IPC: shared memory, semaphores, message queues (man 7 sysvipc). Keys are the emulated machine's own.

Waiting is looking again, every two milliseconds: the one who posts may be another process of the host's.
"""

from __future__ import annotations

import errno
import os
import time

from rtld.backends.emulated.linux.calls import Sleep, failed, int32
from rtld.backends.emulated.linux.ipcshape import Shape
from rtld.backends.emulated.linux.memory import MemoryCalls
from rtld.backends.emulated.linux.process import Processes
from rtld.backends.emulated.memory import EXECUTE, PAGE, READ, WRITE
from rtld.core.space import page_up
from rtld.errors import NoSpace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.backends.emulated.ipcstore import IpcStore

    Table = dict[str, Any]

# fmt: off
IPC_CREAT, IPC_EXCL, IPC_NOWAIT = 0o1000, 0o2000, 0o4000
IPC_RMID, IPC_SET, IPC_STAT, IPC_64 = 0, 1, 2, 0x100
SHM_RDONLY, SHM_RND, SHM_REMAP, SHM_EXEC, SHM_LOCK, SHM_UNLOCK = 0o10000, 0o20000, 0o40000, 0o100000, 11, 12
GETPID, GETVAL, GETALL, GETNCNT, GETZCNT, SETVAL, SETALL = range(11, 18)
MSG_NOERROR, MSG_EXCEPT = 0o10000, 0o20000
SEM_UNDO = 0x1000
SEMMSL, SEMOPM, SEMVMX, MSGMAX, MSGMNB = 32000, 500, 32767, 8192, 16384
PAUSE = 0.002  # seconds between two looks
STALE = 0.25  # seconds after which somebody who has not looked does not wait any more
#: Number of ipc(2) -> the call it stands for.
MULTIPLEXED = {
    1: "semop", 2: "semget", 3: "semctl", 4: "semtimedop", 11: "msgsnd", 12: "msgrcv", 13: "msgget", 14: "msgctl",
    21: "shmat", 22: "shmdt", 23: "shmget", 24: "shmctl",
}
# fmt: on


class Ipc(Processes, MemoryCalls):
    """``attached``: address -> (identifier, size) of shared memory; ``undo``: what semop is to take back at the end."""

    attached: dict[int, tuple[int, int]]
    undo: dict[tuple[int, int], int]
    _waited: set[int]

    def start_ipc(self) -> None:
        self.attached = {}
        self.undo = {}
        self._waited = set()
        self._shape = Shape(self)

    @property
    def _store(self) -> IpcStore:
        family = self.machine.process.family
        if family is None:
            raise failed(errno.ENOSYS)
        return family.ipc

    # -- what all three have ------------------------------------------------------------------------

    def _get(self, kind: str, key: int, flags: int, fresh: Any) -> int:
        """The object with that key, made if that is wanted: *fresh* gives it, of the table."""
        from rtld.backends.emulated.ipcstore import new_number

        key = int32(key)
        with self._store.open() as table:
            for number, found in table[kind].items():
                if key and found["key"] == key:
                    if flags & IPC_CREAT and flags & IPC_EXCL:
                        raise failed(errno.EEXIST)
                    fresh(table, found)
                    return int(number)
            if key and not flags & IPC_CREAT:
                raise failed(errno.ENOENT)
            made = fresh(table, None)
            number = new_number(table, kind)
            if number is None:
                raise failed(errno.ENOSPC)
            made |= {
                "key": key,
                "mode": flags & 0o777,
                "uid": os.geteuid(),
                "gid": os.getegid(),
                "ctime": int(time.time()),
            }
            table[kind][number] = made
            return number

    def _find(self, table: Table, kind: str, number: int) -> Any:
        """An object. EINVAL, or EIDRM for who has slept waiting for it."""
        slept = self.task.tid in self._waited
        self._waited.discard(self.task.tid)
        found = table[kind].get(int32(number))
        if found is None or (found.get("gone") and kind != "shm"):
            raise failed(errno.EIDRM if slept else errno.EINVAL)
        return found

    def _look_again(self, timeout: float | None = None) -> Sleep:
        """The exception to raise: sleep, then make the call again. EAGAIN when the time is over."""
        deadline = self.until(timeout) if timeout is not None else None
        if deadline is not None and time.monotonic() >= deadline:
            raise failed(errno.EAGAIN)
        self._waited.add(self.task.tid)
        return Sleep(deadline=deadline, pause=PAUSE)

    def _control(self, table: Table, kind: str, number: int, command: int, buffer: int) -> int:
        """IPC_RMID, IPC_SET, IPC_STAT."""
        found = self._find(table, kind, number)
        if command == IPC_STAT:
            self.put(
                buffer,
                self._shape.pack(kind, found, self._attached_to(found) if kind == "shm" else 0),
            )
        elif command == IPC_SET:
            found["mode"], size = self._shape.read_change(kind, buffer)
            if kind == "msg":
                found["qbytes"] = min(size, MSGMNB)
            found["ctime"] = int(time.time())
        elif command != IPC_RMID:
            raise failed(errno.EINVAL)
        elif kind == "shm":
            found["gone"], found["key"] = True, 0
            self._drop_unused(table)
        else:
            del table[kind][int32(number)]
        return 0

    def sys_ipc(
        self, which: int, first: int, second: int, third: int, pointer: int, fifth: int
    ) -> int:
        """The oldest way to all of them (ipc/syscall.c)."""
        name = MULTIPLEXED.get(which & 0xFFFF)
        if name is None:
            raise failed(errno.ENOSYS)
        if name in ("semop", "semtimedop"):
            # s390x has five arguments: the third is the timeout.
            timeout = third if self.cpu.name == "s390x" else fifth
            return self._semop(
                first, pointer, second, timeout if name == "semtimedop" else 0, wide=False
            )
        if name == "semctl":
            return self.sys_semctl(first, second, third, self.words(pointer, 1)[0])
        if name == "msgsnd":
            return self.sys_msgsnd(first, pointer, second, third)
        if name == "msgrcv":
            if which >> 16 == 0:
                pointer, fifth = self.words(pointer, 2)
            return self.sys_msgrcv(first, pointer, second, fifth, third)
        if name == "shmat":
            at = self.sys_shmat(first, pointer, second)
            self.put(third, self.pack("L", at))
            return 0
        if name == "shmdt":
            return self.sys_shmdt(pointer)
        if name in ("msgctl", "shmctl"):
            function = self.sys_msgctl if name == "msgctl" else self.sys_shmctl
            return function(first, second, pointer)
        result: int = getattr(self, f"sys_{name}")(first, second, third)
        return result

    # -- shared memory ------------------------------------------------------------------------------

    def sys_shmget(self, key: int, size: int, flags: int, *_: int) -> int:
        def fresh(table: Table, found: Any) -> Any:
            if found is not None:
                if size > found["size"]:
                    raise failed(errno.EINVAL)
                return found
            if not 0 < size <= self.memory.limit:
                raise failed(errno.EINVAL)
            room = page_up(size)
            offset = self._store.allot(table, room)
            return {"size": size, "room": room, "offset": offset, "pids": {}, "cpid": os.getpid(), "lpid": 0,
                    "atime": 0, "dtime": 0}  # fmt: skip

        return self._get("shm", key, flags, fresh)

    def _attached_to(self, segment: Any) -> int:
        family = self.machine.process.family
        members = family.members() if family is not None else ()
        return sum(count for pid, count in segment["pids"].items() if pid in members)

    def _drop_unused(self, table: Table) -> None:
        for number in [
            n for n, s in table["shm"].items() if s.get("gone") and not self._attached_to(s)
        ]:
            segment = table["shm"].pop(number)
            self._store.clear(segment["offset"], segment["room"])

    def sys_shmat(self, number: int, address: int, flags: int, *_: int) -> int:
        with self._store.open() as table:
            segment = self._find(table, "shm", number)
            rights = (
                READ | (0 if flags & SHM_RDONLY else WRITE) | (EXECUTE if flags & SHM_EXEC else 0)
            )
            size = segment["room"]
            if address:
                if address % PAGE and flags & SHM_RND:
                    address &= -PAGE
                problem = self._check_fixed(address, size, 0)
                if problem or (
                    not flags & SHM_REMAP and self.memory.reserved.pieces(address, address + size)
                ):
                    raise failed(problem or errno.EINVAL)
            else:
                address = self.memory.reserve(size, high=True)
            fd = self._store.fd
            if flags & SHM_RDONLY:
                fd = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
            try:
                self.memory.map_file(address, size, rights, fd, segment["offset"], shared=True)
            finally:
                if fd != self._store.fd:
                    os.close(fd)
            self.memory.label(address, size, f"/SYSV{segment['key'] & 0xFFFFFFFF:08x}")
            segment["pids"][os.getpid()] = segment["pids"].get(os.getpid(), 0) + 1
            segment["lpid"], segment["atime"] = os.getpid(), int(time.time())
            self.attached[address] = int32(number), size
            return address

    def sys_shmdt(self, address: int, *_: int) -> int:
        if address not in self.attached:
            raise failed(errno.EINVAL)
        number, size = self.attached.pop(address)
        self.memory.unmap(address, size)
        with self._store.open() as table:
            self._detach(table, number)
        return 0

    def _detach(self, table: Table, number: int) -> None:
        segment = table["shm"].get(number)
        if segment is not None:
            left = segment["pids"].get(os.getpid(), 0) - 1
            segment["pids"][os.getpid()] = max(left, 0)
            segment["lpid"], segment["dtime"] = os.getpid(), int(time.time())
            self._drop_unused(table)

    def sys_shmctl(self, number: int, command: int, buffer: int, *_: int) -> int:
        command = int32(command) & ~IPC_64
        with self._store.open() as table:
            if command in (SHM_LOCK, SHM_UNLOCK):
                self._find(table, "shm", number)
                return 0
            return self._control(table, "shm", number, command, buffer)

    # -- semaphores ---------------------------------------------------------------------------------

    def sys_semget(self, key: int, count: int, flags: int, *_: int) -> int:
        def fresh(_table: Table, found: Any) -> Any:
            if found is not None:
                if int32(count) > len(found["values"]):
                    raise failed(errno.EINVAL)
                return found
            if not 0 < int32(count) <= SEMMSL:
                raise failed(errno.EINVAL)
            return {"values": [0] * count, "pids": [0] * count, "otime": 0, "waiting": {}}

        return self._get("sem", key, flags, fresh)

    def sys_semop(self, number: int, operations: int, count: int, *_: int) -> int:
        return self._semop(number, operations, count, 0, wide=False)

    def sys_semtimedop(
        self, number: int, operations: int, count: int, timeout: int, *_: int
    ) -> int:
        return self._semop(number, operations, count, timeout, wide=False)

    def sys_semtimedop_time64(
        self, number: int, operations: int, count: int, timeout: int, *_: int
    ) -> int:
        return self._semop(number, operations, count, timeout, wide=True)

    def _semop(self, number: int, operations: int, count: int, timeout: int, *, wide: bool) -> int:
        """All of the operations, or none."""
        if not 0 < count <= SEMOPM:
            raise failed(errno.E2BIG if count else errno.EINVAL)
        steps = [self.unpack("Hhh", operations + 6 * i) for i in range(count)]
        seconds = self.nanoseconds(timeout, wide=wide) / 1e9 if timeout else None
        me = os.getpid() << 20 | self.task.tid & 0xFFFFF
        with self._store.open() as table:
            found = self._find(table, "sem", number)
            found["waiting"].pop(me, None)
            values = list(found["values"])
            stuck = None
            for which, change, flags in steps:
                if which >= len(values):
                    raise failed(errno.EFBIG)
                if (change == 0 and values[which]) or values[which] + change < 0:
                    stuck = which, change == 0, flags & IPC_NOWAIT
                    break
                values[which] += change
                if values[which] > SEMVMX:
                    raise failed(errno.ERANGE)
            if stuck is None:
                found["values"], found["otime"] = values, int(time.time())
                for which, change, flags in steps:
                    found["pids"][which] = os.getpid()
                    if flags & SEM_UNDO:
                        key = int32(number), which
                        self.undo[key] = self.undo.get(key, 0) - change
                return 0
            again: Exception
            try:
                if stuck[2]:
                    raise failed(errno.EAGAIN)
                again = self._look_again(seconds)
                found["waiting"][me] = (*stuck[:2], time.monotonic())
            except OSError as error:
                again = error  # raised below: that nobody waits any more is to be kept
        raise again

    def sys_semctl(self, number: int, which: int, command: int, argument: int, *_: int) -> int:
        command = int32(command) & ~IPC_64
        with self._store.open() as table:
            if command in (IPC_RMID, IPC_SET, IPC_STAT):
                return self._control(table, "sem", number, command, argument)
            found = self._find(table, "sem", number)
            values, count = found["values"], len(found["values"])
            if command == GETALL:
                self.put(argument, self.pack(f"{count}H", *values))
                return 0
            if command == SETALL:
                given = self.unpack(f"{count}H", argument)
                if max(given) > SEMVMX:
                    raise failed(errno.ERANGE)
                found["values"] = list(given)
                found["ctime"] = int(time.time())
                return 0
            which = int32(which)
            if not 0 <= which < count:
                raise failed(errno.EINVAL)
            if command == GETVAL:
                return int(values[which])
            if command == GETPID:
                return int(found["pids"][which])
            if command in (GETNCNT, GETZCNT):
                # Who has been interrupted has not looked again.
                lately = time.monotonic() - STALE
                rows = found["waiting"].values()
                return sum(
                    row[:2] == (which, command == GETZCNT) and row[2] > lately for row in rows
                )
            if command != SETVAL:
                raise failed(errno.EINVAL)
            # union semun, of which the value is an int: its first four bytes.
            value = int32(argument >> 32 if self.bits == 64 and self.order == "big" else argument)
            if not 0 <= value <= SEMVMX:
                raise failed(errno.ERANGE)
            values[which] = value
            found["pids"][which], found["ctime"] = os.getpid(), int(time.time())
            return 0

    # -- messages -----------------------------------------------------------------------------------

    def sys_msgget(self, key: int, flags: int, *_: int) -> int:
        def fresh(_table: Table, found: Any) -> Any:
            return found or {
                "messages": [],
                "qbytes": MSGMNB,
                "stime": 0,
                "rtime": 0,
                "lspid": 0,
                "lrpid": 0,
            }

        return self._get("msg", key, flags, fresh)

    def sys_msgsnd(self, number: int, message: int, size: int, flags: int, *_: int) -> int:
        if not 0 <= self.signed(size) <= MSGMAX:
            raise failed(errno.EINVAL)
        (kind,) = self.unpack("l", message)
        text = bytes(self.memory.view(message + self.word, size, READ)) if size else b""
        if kind < 1:
            raise failed(errno.EINVAL)
        with self._store.open() as table:
            found = self._find(table, "msg", number)
            held = sum(len(each) for _, each in found["messages"])
            if held + size <= found["qbytes"] and len(found["messages"]) < found["qbytes"]:
                found["messages"].append((kind, text))
                found["lspid"], found["stime"] = os.getpid(), int(time.time())
                return 0
        if flags & IPC_NOWAIT:
            raise failed(errno.EAGAIN)
        raise self._look_again()

    def sys_msgrcv(
        self, number: int, message: int, size: int, wanted: int, flags: int, *_: int
    ) -> int:
        wanted = self.signed(wanted & self.mask)
        if self.signed(size) < 0:
            raise failed(errno.EINVAL)
        with self._store.open() as table:
            found = self._find(table, "msg", number)
            chosen = _choose(found["messages"], wanted, flags)
            if chosen is not None:
                kind, text = found["messages"][chosen]
                if len(text) > size and not flags & MSG_NOERROR:
                    raise failed(errno.E2BIG)
                self.put(message, self.pack("l", kind) + text[:size])
                del found["messages"][chosen]
                found["lrpid"], found["rtime"] = os.getpid(), int(time.time())
                return min(len(text), size)
        if flags & IPC_NOWAIT:
            raise failed(errno.ENOMSG)
        raise self._look_again()

    def sys_msgctl(self, number: int, command: int, buffer: int, *_: int) -> int:
        with self._store.open() as table:
            return self._control(table, "msg", number, int32(command) & ~IPC_64, buffer)

    # -- birth and end ------------------------------------------------------------------------------

    def born_ipc(self) -> None:
        """A child has what its parent has attached, and undoes nothing of the parent's."""
        self.undo = {}
        if not self.attached:
            return
        with self._store.open() as table:
            for number, _size in self.attached.values():
                segment = table["shm"].get(number)
                if segment is not None:
                    segment["pids"][os.getpid()] = segment["pids"].get(os.getpid(), 0) + 1

    def leave_ipc(self) -> None:
        """The process ends, or another program takes its place."""
        for task in self.tasks:
            if self.memory.shared:
                self.release_mutexes(task)
        if not self.attached and not self.undo:
            return
        try:
            with self._store.open() as table:
                for number, _size in self.attached.values():
                    self._detach(table, number)
                for (number, which), change in self.undo.items():
                    found = table["sem"].get(number)
                    if found is not None and which < len(found["values"]):
                        value = min(max(found["values"][which] + change, 0), SEMVMX)
                        found["values"][which] = value
        except (OSError, NoSpace):
            pass  # it ends all the same
        self.attached, self.undo = {}, {}


def _choose(messages: list[tuple[int, bytes]], wanted: int, flags: int) -> int | None:
    """Which message msgrcv means (man 2 msgrcv): the first, the first of a type, or that of the lowest type."""
    if wanted == 0:
        return 0 if messages else None
    if wanted > 0:
        other = bool(flags & MSG_EXCEPT)
        return next((i for i, (kind, _) in enumerate(messages) if (kind != wanted) == other), None)
    low = [(kind, i) for i, (kind, _) in enumerate(messages) if kind <= -wanted]
    return min(low)[1] if low else None
