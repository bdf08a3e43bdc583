"""The tracer: registers, memory, batches of system calls, stops."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rtld.backends.child import ptrace
from rtld.backends.child.calls import NR, NR_OF, Vm, auxv, call_once, find_gate
from rtld.backends.child.ptrace import EVENT, EXITED, KILLED, SIGNAL, SYSCALL, Stop, Tracee
from rtld.backends.child.spawn import memory_file, nameless_file, spawn_traced
from rtld.errors import TargetFault
from rtld.process.kernel import start_stopped

ENV = {"PATH": "/usr/bin:/bin"}


def start(*argv: str) -> Tracee:
    return spawn_traced(argv[0], argv, ENV)


@pytest.fixture
def tracee() -> Iterator[Tracee]:
    one = start("/bin/cat")
    yield one
    one.kill()


def with_vm(one: Tracee) -> Tracee:
    nr = NR_OF[32 if one.regs().is_32bit else 64]
    address = call_once(one, find_gate(one), nr["mmap"], 0, Vm.SIZE, 7, 0x22, -1, 0)
    assert address > 0
    one.vm = Vm(one, address)
    return one


def test_it_stops_before_its_first_instruction(tracee: Tracee) -> None:
    with open(f"/proc/{tracee.pid}/maps") as file:
        maps = file.read()
    assert "/cat" in maps
    assert "anchor" not in maps
    regs = tracee.regs()
    assert (regs.rax, regs.rdx, regs.fs_base, regs.is_32bit) == (0, 0, 0, False)
    assert tracee.memory.read_word(regs.rsp) == 1
    name = tracee.memory.read_word(regs.rsp + 8)
    assert tracee.memory.read_string(name) == b"/bin/cat"
    assert auxv(tracee.pid)[6] == 4096


def test_what_cannot_start() -> None:
    for path, code in (("/nowhere", errno.ENOENT), ("/", errno.EACCES)):
        with pytest.raises(OSError) as caught:
            start(path)
        assert caught.value.errno == code


def test_memory(tracee: Tracee) -> None:
    sp = tracee.regs().rsp & -4096
    data = bytes(range(256)) * 8
    tracee.write(sp, data)
    assert tracee.read(sp, len(data)) == data
    tracee.memory.write_word(sp, -2, 4)
    assert tracee.memory.read_word(sp, 4) == 0xFFFFFFFE
    tracee.write(tracee.regs().rip & -4096, b"\x90" * 16)  # code, not writable
    assert tracee.read(tracee.regs().rip & -4096, 16) == b"\x90" * 16
    pieces = [(sp + 16 * i, bytes([i % 256]) * 8) for i in range(200)]
    for kind in (bytes, bytearray, memoryview):
        tracee.memory.write_many([(at, kind(piece)) for at, piece in pieces])
        assert all(tracee.read(at, 8) == piece for at, piece in pieces)
    tracee.memory.write_many([(sp, b"abc"), (tracee.regs().rip & -4096, b"xyz")])
    assert tracee.read(tracee.regs().rip & -4096, 3) == b"xyz"
    tracee.memory.write_many([])
    for bad in (0, 4096, 1 << 63, (1 << 64) - 8):
        with pytest.raises(TargetFault):
            tracee.read(bad, 8)
        with pytest.raises(TargetFault):
            tracee.write(bad, b"x")


def test_registers(tracee: Tracee) -> None:
    regs = tracee.regs().copy()
    other = regs.copy()
    other.r12, other.rbx, other.fs_base = 2**64 - 1, 5, 0x7000
    tracee.set_regs(other)
    again = tracee.regs()
    assert (again.r12, again.rbx, again.fs_base) == (2**64 - 1, 5, 0x7000)
    tracee.set_regs(regs)
    tracee.step()
    assert tracee.wait() == Stop(tracee.pid, SIGNAL, signal.SIGTRAP)
    assert tracee.regs().rip != regs.rip


@pytest.mark.parametrize("bits", [64, 32])
def test_batches(bits: int, cc: Callable[..., Path], require: Callable[[str], None]) -> None:
    if bits == 32:
        try:
            path = cc("int main(void) { return 7; }", "seven", "-static", arch="i386")
            one = with_vm(start(str(path)))
        except OSError:
            require("a kernel that runs i386")
    else:
        one = with_vm(start("/bin/true"))
    nr = NR_OF[bits]
    before = bytes(one.regs())
    calls: list[tuple[int, ...]] = [(nr["getpid"],), (nr["close"], 12345), (nr["munmap"], 1, 1)]
    assert one.call_batch(calls) == [one.pid, -errno.EBADF, -errno.EINVAL]
    assert one.call_batch([]) == []
    assert one.call_batch([(nr["getpid"],)] * 1000) == [one.pid] * 1000
    at = one.call_batch([(nr["mmap"], 0, 8192, 3, 0x22, -1, 0)])[0]
    one.write(at, b"hello")
    assert one.vm is not None
    one.write(one.vm.scratch, b"/dev/null\0")
    fd = one.call_batch([(nr["openat"], -100, one.vm.scratch, 1)])[0]
    assert one.call_batch([(nr["write"], fd, at, 5), (nr["close"], fd)]) == [5, 0]
    assert bytes(one.regs()) == before
    one.cont()
    assert one.wait() == Stop(one.pid, EXITED, 7 if bits == 32 else 0)
    one.memory.close()


def test_signals_during_a_batch_wait() -> None:
    one = with_vm(start("/bin/sleep", "60"))
    for _ in range(5):
        os.kill(one.pid, signal.SIGUSR1)
        assert one.call_batch([(NR["getpid"],)] * 100) == [one.pid] * 100
    assert one.vm is not None
    assert one.vm.call(one, [(NR["getpid"],)], masked=False) == [one.pid]
    assert one.sigmask() == 0
    one.cont()
    stop = one.wait()
    assert (stop.kind, stop.value) == (SIGNAL, signal.SIGUSR1)
    assert int.from_bytes(one.siginfo()[:4], "little") == signal.SIGUSR1
    one.cont(stop.value)
    assert one.wait() == Stop(one.pid, KILLED, signal.SIGUSR1)


def test_an_interrupted_call_goes_on_after_a_batch() -> None:
    read_end, write_end = os.pipe()
    out_read, out_write = os.pipe()
    sh = f"exec head -c3 <&{read_end} >&{out_write}"
    one = spawn_traced("/bin/bash", ["bash", "-c", sh], ENV, fds=[read_end, out_write])
    one.cont()
    time.sleep(0.2)
    assert one.wait().value == signal.SIGTRAP  # the execve of head
    one.memory.reopen()
    with_vm(one)
    one.cont()
    time.sleep(0.2)  # it waits in read(2)
    os.kill(one.pid, signal.SIGSTOP)
    assert one.wait() == Stop(one.pid, SIGNAL, signal.SIGSTOP)
    assert one.regs().orig_rax == NR["read"]
    assert one.call_batch([(NR["getpid"],)] * 3) == [one.pid] * 3
    one.cont()
    os.write(write_end, b"abc")
    assert one.wait() == Stop(one.pid, EXITED, 0)
    assert os.read(out_read, 10) == b"abc"
    for fd in (read_end, write_end, out_read, out_write):
        os.close(fd)


def test_nameless_files_can_be_executed() -> None:
    with open("/bin/sh", "rb") as file:
        content = file.read()
    for make in (memory_file, lambda _, data: nameless_file(data)):
        fd = make("sh", content)
        pid = os.posix_spawn(f"/proc/self/fd/{fd}", ["sh", "-c", "exit 3"], ENV)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
        os.close(fd)


def test_a_process_that_dies_in_a_batch() -> None:
    one = with_vm(start("/bin/true"))
    with pytest.raises(TargetFault, match="ended"):
        one.call_batch([(NR["exit_group"], 3)])
    one.kill()


def test_stops() -> None:
    one = start("/bin/sh", "-c", "exit 4")
    one.set_options(ptrace.PTRACE_O_TRACESYSGOOD | ptrace.PTRACE_O_TRACEEXIT)
    one.until_syscall()
    assert one.wait().kind == SYSCALL
    assert one.regs().orig_rax < 1000
    one.cont()
    assert one.wait() == Stop(one.pid, EVENT, ptrace.PTRACE_EVENT_EXIT)
    assert one.event_message() == 4 << 8
    one.cont()
    assert one.wait() == Stop(one.pid, EXITED, 4)


def test_threads_and_forks_are_seen() -> None:
    one = start("/bin/sh", "-c", "/bin/true; exit 3")
    one.set_options(
        ptrace.PTRACE_O_TRACEFORK | ptrace.PTRACE_O_TRACEVFORK | ptrace.PTRACE_O_TRACECLONE
        | ptrace.PTRACE_O_TRACEEXEC | ptrace.PTRACE_O_EXITKILL
    )  # fmt: skip
    alive, events = {one.pid}, []
    tracees = {one.pid: one}
    one.cont()
    while alive:
        stop = ptrace.wait()
        assert stop is not None
        if stop.kind in (EXITED, KILLED):
            alive.discard(stop.tid)
            continue
        known = tracees.setdefault(stop.tid, Tracee(stop.tid))
        alive.add(stop.tid)
        if stop.kind == EVENT:
            events.append(stop.value)
        known.cont(0 if stop.kind == EVENT or stop.value == signal.SIGSTOP else stop.value)
    assert ptrace.PTRACE_EVENT_EXEC in events
    assert set(events) & {1, 2, 3}


def test_exec_needs_a_new_look(tracee: Tracee) -> None:
    tracee.kill()
    one = start("/bin/sh", "-c", "exec /bin/echo")
    one.set_options(ptrace.PTRACE_O_TRACEEXEC | ptrace.PTRACE_O_EXITKILL)
    one.cont()
    assert one.wait() == Stop(one.pid, EVENT, ptrace.PTRACE_EVENT_EXEC)
    one.memory.reopen()
    assert one.memory.read_word(one.regs().rsp) == 1
    one.kill()


def test_seize() -> None:
    pid = os.posix_spawn("/bin/sleep", ["sleep", "60"], ENV)
    ptrace.seize(pid)
    one = Tracee(pid)
    one.interrupt()
    assert one.wait() == Stop(pid, EVENT, ptrace.PTRACE_EVENT_STOP)
    one.cont()
    assert ptrace.wait(pid, block=False) is None
    one.kill()


def test_start_stopped_and_watch() -> None:
    one = start_stopped("/bin/sh", ["sh", "-c", "exit 6"])
    regs = one.regs()
    names = [n for n in ptrace.Registers.__annotations__ if n[0] == "r" and n not in ("rip", "rsp")]
    assert not any(getattr(regs, name) for name in names)
    assert (regs.eflags, regs.cs, regs.ss, regs.fs_base) == (0x202, 0x33, 0x2B, 0)
    with open(f"/proc/{one.pid}/maps") as file:
        assert "7000" not in [line[:4] for line in file]
    one.cont()
    assert one.wait() == Stop(one.pid, EXITED, 6)


def test_the_child_dies_with_its_tracer() -> None:
    read_end, write_end = os.pipe()
    ours = os.fork()
    if ours == 0:
        one = start("/bin/sleep", "60")
        os.write(write_end, one.pid.to_bytes(4, "little"))
        os._exit(0)
    pid = int.from_bytes(os.read(read_end, 4), "little")
    os.waitpid(ours, 0)
    for _ in range(200):
        if not os.path.exists(f"/proc/{pid}") or _state(pid) in "ZX":
            break
        time.sleep(0.01)
    else:
        raise AssertionError("still there")
    os.close(read_end)
    os.close(write_end)


def _state(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(") ")[2][0]
    except OSError:
        return "X"


def test_one_thread_traces() -> None:
    """Another thread's children are not reaped by ours."""
    one = start("/bin/sleep", "60")
    done: list[int] = []

    def other() -> None:
        pid = os.posix_spawn("/bin/true", ["true"], ENV)
        time.sleep(0.1)
        done.append(os.waitpid(pid, 0)[0] == pid)

    thread = threading.Thread(target=other)
    thread.start()
    for _ in range(20):
        assert ptrace.wait(block=False) is None
        time.sleep(0.01)
    thread.join()
    assert done == [True]
    one.kill()


def test_decode() -> None:
    assert ptrace.decode(1, 0x0300) == Stop(1, EXITED, 3)
    assert ptrace.decode(1, 0x008B) == Stop(1, KILLED, 11)  # with a core file
    assert ptrace.decode(1, 0x137F) == Stop(1, SIGNAL, 19)
    assert ptrace.decode(1, 0x4057F) == Stop(1, EVENT, 4)
    assert ptrace.decode(1, 0x857F) == Stop(1, SYSCALL, 0)
    assert ctypes.sizeof(ptrace.Registers) == 27 * 8
