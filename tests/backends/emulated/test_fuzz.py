"""Hostile guests: random code, and system calls with random arguments, do no worse than a Fault or an error number."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backends.emulated.programs import ALL
from rtld.backends.emulated import open_machine
from rtld.backends.emulated.callnumbers import call_names
from rtld.backends.emulated.faults import Fault, LimitReached
from rtld.backends.emulated.kernel import Ended, Kernel
from rtld.backends.emulated.machine import Machine
from rtld.errors import TargetFault

SERVED = sorted(name.removeprefix("sys_") for name in dir(Kernel) if name.startswith("sys_"))
BASE = 0x10000


@pytest.fixture(params=ALL)
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    null = os.open(os.devnull, os.O_RDWR)
    files = dict.fromkeys(range(3), null)
    with open_machine(request.param, instructions=20_000, memory=1 << 24, descriptors=files) as m:
        m.protect(BASE, 0x4000, 7)
        yield m
    os.close(null)


@pytest.mark.fuzz
def test_random_code(machine: Machine) -> None:
    chance = random.Random(machine.cpu.name)
    for _ in range(60):
        machine.protect(BASE, 0x4000, 7)
        machine.write(BASE, chance.randbytes(0x4000))
        try:
            machine.start(BASE, BASE + 0x3000)
        except (Fault, LimitReached):
            pass
        try:
            machine.call(BASE + 0x1000, 1, 2)
        except TargetFault:
            pass


_values = st.one_of(
    st.integers(0, 8),
    st.integers(0, (1 << 64) - 1),
    st.sampled_from([BASE, BASE + 0x3FF8, 0x1000, 0xFFFFF000, 1 << 36, (1 << 64) - 1, 1 << 31]),
    st.integers(0, 0xFFFFF).map(lambda page: page * 0x1000),
    st.sampled_from([0x22, 0x32, 0x100022, 0x21, 0x02]),
)


@pytest.mark.fuzz
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.sampled_from(SERVED), st.tuples(*[_values] * 6)), max_size=6))
def test_random_system_calls(machine: Machine, calls: list[tuple[str, tuple[int, ...]]]) -> None:
    numbers = {name: number for number, name in call_names(machine.cpu.name).items()}
    mask = (1 << machine.cpu.bits) - 1
    entry = machine.cpu.entry
    for start, end, _ in list(machine.memory.regions):
        if start < machine.memory.size - (1 << 20):  # not what the machine itself has at the top
            machine.memory.unmap(start, end - start)
    machine.protect(BASE, 0x4000, 7)
    for name, arguments in calls:
        if name not in numbers or not machine.memory.covers(BASE, 0x4000):
            continue
        # The instruction itself says 0 on s390x: the number is in the register.
        machine.write(BASE, bytes(8))
        machine.engine.set(machine.cpu.pc, BASE)
        machine.engine.set(entry.number, numbers[name])
        for register, value in zip(entry.arguments, arguments, strict=True):
            machine.engine.set(register, value & mask)
        try:
            machine.kernel.serve(machine.gate.read())
        except Ended:
            assert name.startswith("exit")
        rows = list(machine.memory.regions)
        assert machine.memory.mapped == sum(end - start for start, end, _ in rows) <= 1 << 24
        assert all(machine.memory.reserved.pieces(start, end) for start, end, _ in rows)
