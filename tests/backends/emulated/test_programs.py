"""Small programs on every emulated CPU: what they write and how they end is what qemu-user, or the kernel, says."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator

import pytest

import toolchain
from backends.emulated.programs import (
    ALL,
    CC,
    KEPT,
    RESULT,
    Outcome,
    Program,
    emulated,
    judged,
)
from rtld.backends.emulated import open_machine
from rtld.backends.emulated.faults import Fault
from rtld.backends.emulated.machine import Machine

HELLO = 'text: .ascii "hello\\n"'
NOWHERE = 0x10
UNKNOWN = 9999


@pytest.fixture(params=ALL)
def cpu(request: pytest.FixtureRequest, require: Callable[[str], None]) -> str:
    name: str = request.param
    lacking = toolchain.missing(toolchain.target(name))
    if lacking:
        require(lacking)
    return name


@pytest.fixture
def machine(cpu: str) -> Iterator[Machine]:
    with open_machine(cpu, seconds=20) as machine:
        yield machine


def hello(p: Program) -> None:
    p.call("write", 1, "text", 6).call("exit", 42).data(HELLO)


def exit_group(p: Program) -> None:
    p.call("exit_group", 0x1234)


def parts(p: Program) -> None:
    vector = f"vector: {p.how.word} text, 2, text + 3, 3, text, 0"
    p.call("writev", 1, "vector", 3).call("exit", RESULT).data(f".balign 8\n{vector}").data(HELLO)


def echo(p: Program) -> None:
    p.call("read", 0, "room", 100).keep().call("write", 1, "room", 5).call("exit", KEPT)
    p.data("room: .zero 100")


def scattered(p: Program) -> None:
    p.call("readv", 0, "vector", 2).call("write", 1, "room", 8).call("exit", 0)
    p.data(f".balign 8\nvector: {p.how.word} room, 2, room + 4, 4").data("room: .zero 8")


def heap(p: Program) -> None:
    p.call("brk", 0).keep().add(1024).call("brk", KEPT).add(-1024).load().store(77).load()
    p.call("exit", RESULT)


def heap_comes_and_goes(p: Program) -> None:
    p.call("brk", 0).keep().add(1024).call("brk", KEPT).add(-1024).store(77)
    p.call("brk", KEPT).add(1024).call("brk", KEPT).add(-1024).load().call("exit", RESULT)


def mapped(p: Program) -> None:
    p.map(0x3000).store(99).load().call("exit", RESULT)


def unmapped(p: Program) -> None:
    p.map(0x3000).store(1).call("munmap", KEPT, 0x3000).load().call("exit", 0)


def made_read_only(p: Program) -> None:
    p.map(0x3000).store(5).call("mprotect", KEPT, 0x1000, 1).load().call("write", 1, "text", 6)
    p.store(6).call("exit", 0).data(HELLO)


def zeros_again(p: Program) -> None:
    p.map(0x1000).store(7).call("munmap", KEPT, 0x1000).map(0x1000).load().call("exit", RESULT)


def unknown_call(p: Program) -> None:
    p.call(UNKNOWN).call("exit", RESULT)


def bad_pointer(p: Program) -> None:
    p.call("write", 1, NOWHERE, 5).call("exit", RESULT)


def bad_buffer(p: Program) -> None:
    p.call("read", 0, "_start", 5).call("exit", RESULT)


def bad_descriptor(p: Program) -> None:
    p.call("write", 77, "text", 5).call("exit", RESULT).data(HELLO)


def misaligned(p: Program) -> None:
    p.call("munmap", 0x10001, 0x1000).call("exit", RESULT)


def empty_map(p: Program) -> None:
    p.map(0).call("exit", KEPT)


def protect_nothing(p: Program) -> None:
    p.map(0x1000).call("munmap", KEPT, 0x1000).call("mprotect", KEPT, 0x1000, 1).call(
        "exit", RESULT
    )


def bad_read(p: Program) -> None:
    p.load(NOWHERE).call("exit", 0)


def bad_write(p: Program) -> None:
    p.store(1, NOWHERE).call("exit", 0)


def write_to_code(p: Program) -> None:
    p.store(1, "_start").call("exit", 0)


def bad_jump(p: Program) -> None:
    p.jump(0x20000).call("exit", 0)


def jump_to_data(p: Program) -> None:
    p.jump("text").call("exit", 0).data(f".balign 8\n{HELLO}")


def breakpoint(p: Program) -> None:
    p.say(p.how.breakpoint).call("exit", 0)


def unmaps_itself(p: Program) -> None:
    p.call("munmap", "_start", 0x1000).call("exit", 0)
    p.lines.insert(1, ".balign 4096")


def forbids_itself(p: Program) -> None:
    p.call("mprotect", "_start", 0x1000, 0).call("exit", 0)
    p.lines.insert(1, ".balign 4096")


def illegal(p: Program) -> None:
    p.say(p.how.illegal).call("exit", 0)


# fmt: off
FINE = (hello, exit_group, parts, echo, scattered, heap,
        heap_comes_and_goes, mapped, zeros_again, unknown_call, bad_pointer, bad_buffer, bad_descriptor,
        misaligned, empty_map)
FAULTS = (unmapped, made_read_only, bad_read, bad_write, write_to_code, bad_jump, jump_to_data, illegal, breakpoint,
          unmaps_itself, forbids_itself)
# fmt: on


@pytest.mark.parametrize("steps", FINE)
def test_program(steps: Callable[[Program], None], cpu: str, machine: Machine, cc: CC) -> None:
    program = Program(cpu)
    steps(program)
    path = program.compiled(cc)
    assert emulated(machine, path, b"input of it") == judged(cpu, path, b"input of it")


@pytest.mark.parametrize("steps", FAULTS)
def test_fault(steps: Callable[[Program], None], cpu: str, machine: Machine, cc: CC) -> None:
    program = Program(cpu)
    steps(program)
    path = program.compiled(cc)
    expected = judged(cpu, path)
    with pytest.raises(Fault) as caught:
        emulated(machine, path)
    assert (expected.status, caught.value.signal) == (
        128 + caught.value.signal,
        expected.status - 128,
    )


def test_hello_is_what_it_should_be(cpu: str, machine: Machine, cc: CC) -> None:
    program = Program(cpu)
    hello(program)
    assert emulated(machine, program.compiled(cc)) == Outcome(b"hello\n", 42)
    assert machine.kernel.calls == {"write": 1, "exit": 1}


def test_unknown_calls_are_named(cpu: str, machine: Machine, cc: CC) -> None:
    program = Program(cpu).call("acct").call("acct").call(UNKNOWN).call("exit", 0)
    emulated(machine, program.compiled(cc))
    assert machine.kernel.unknown == {"acct": 2, f"number {UNKNOWN}": 1}


def test_protecting_what_is_not_there(cpu: str, machine: Machine, cc: CC) -> None:
    program = Program(cpu)
    protect_nothing(program)
    path = program.compiled(cc)
    expected = Outcome(b"", 0x100 - errno.ENOMEM)
    assert emulated(machine, path) == expected
    if cpu != "arm":  # all of whose addresses qemu-user has taken, so that it finds something there
        assert judged(cpu, path) == expected


# fmt: off
X86_EXCEPTIONS = {
    "division by zero":     "xorl %ecx, %ecx\nxorl %edx, %edx\ndivl %ecx",
    "quotient too large":   "movl $1, %edx\nmovl $1, %ecx\ndivl %ecx",
    "halt":                 "hlt",
    "interrupt of nobody":  "int $0x81",
}
# fmt: on


@pytest.mark.parametrize("cpu", ["i386", "x86_64"], indirect=True)
@pytest.mark.parametrize("steps", X86_EXCEPTIONS)
def test_exceptions_of_x86(steps: str, cpu: str, machine: Machine, cc: CC) -> None:
    program = Program(cpu).say(X86_EXCEPTIONS[steps]).call("exit", 0)
    path = program.compiled(cc)
    expected = judged(cpu, path).status
    with pytest.raises(Fault) as caught:
        emulated(machine, path)
    assert caught.value.status == expected
