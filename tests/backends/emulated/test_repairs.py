"""What ends the process that emulates, with Unicorn as it is: each in a child, whose end is looked at."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable

import pytest

from rtld.backends.emulated import open_machine
from rtld.backends.emulated.cpus import CPUS
from rtld.backends.emulated.faults import Fault
from rtld.backends.emulated.libunicorn import library
from rtld.backends.emulated.machine import Machine
from rtld.backends.emulated.repairs import Repairs, repair
from rtld.errors import TargetFault

CODE = 0x10000

#: CPU -> an instruction that keeps a temporary, how often it stands in a row, and what returns.
LONG = {
    "mips64el": ("01004224", 7000, "0800e003 00000000"),  # addiu $2, $2, 1; jr $31
    "mipsel": ("01004224", 7000, "0800e003 00000000"),
    "x86_64": ("d8e8", 4000, "c3"),  # fsubr %st(0), %st
    "i386": ("d8e8", 4000, "c3"),
}


def ends_well(cpu: str, work: Callable[[Machine], object]) -> bool:
    """Does a child that does this come to its end?"""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            with open_machine(cpu, seconds=10) as machine:
                machine.protect(CODE, 0x8000, 7)
                work(machine)
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize("cpu", LONG)
def test_long_blocks(cpu: str) -> None:
    one, count, back = LONG[cpu]

    def work(machine: Machine) -> None:
        machine.write(CODE, bytes.fromhex(one) * count + bytes.fromhex(back))
        machine.engine.set(machine.cpu.result, 0)
        result = machine.call(CODE)
        assert result == count or not cpu.startswith("mips")

    assert ends_well(cpu, work)


@pytest.mark.parametrize("cpu", ["mips64el", "mipsel"])
def test_delay_slots_where_blocks_end(cpu: str) -> None:
    add, branch, back = 0x24420001, 0x10000002, 0x03E00008

    def work(machine: Machine) -> None:
        for before in range(130):
            words = [add] * before + [branch, add, add + 99, back, 0]
            machine.write(CODE, struct.pack(f"<{len(words)}I", *words))
            machine.engine.set("v0", 0)
            assert machine.call(CODE) == before + 1

    assert ends_well(cpu, work)


@pytest.mark.parametrize("cpu", ["mips64el", "mipsel"])
def test_jumps_to_nowhere(cpu: str) -> None:
    """And what is translated after each of them."""

    def work(machine: Machine) -> None:
        for i in range(100):
            with pytest.raises(TargetFault):
                machine.call(0x500000 + 4 * i + i % 3)
            machine.write(CODE + 8 * i, struct.pack("<II", 0x03E00008, 0x24020000 + i))
            assert machine.call(CODE + 8 * i) == i

    assert ends_well(cpu, work)


def test_square_root_of_long_double() -> None:
    def work(machine: Machine) -> None:
        machine.write(CODE, bytes.fromhex("b3160040 07fe"))  # sqxbr %f4, %f0; br %r14
        machine.engine.set("f0", 0x4000_0000_0000_0000)
        machine.engine.set("f2", 0)
        machine.call(CODE)
        assert machine.engine.get("f4") == 0x3FFF_6A09_E667_F3BC
        assert machine.engine.get("f6") == 0xC908_B2FB_1366_EA95

    assert ends_well("s390x", work)


@pytest.mark.parametrize("code", ["b2b11000", "b2041000"], ids=["stfl", "sck"])
def test_what_a_kernel_may_do_on_s390x(code: str) -> None:
    def work(machine: Machine) -> None:
        machine.write(CODE, bytes.fromhex(code))
        with pytest.raises(Fault):
            machine.start(CODE, CODE + 0x4000)

    assert ends_well("s390x", work)


@pytest.mark.parametrize("cpu", ["x86_64", "i386"])
def test_what_is_given_up_at(cpu: str) -> None:
    """LOCK before BTS, BTR, BTC of a register."""

    def work(machine: Machine) -> None:
        for code in ("f00fabc1", "f00fb3c1", "f00fbbc1", "f00fbae801"):
            machine.write(CODE, bytes.fromhex(code))
            with pytest.raises(Fault, match="illegal instruction"):
                machine.start(CODE, CODE + 0x4000)
            with open_machine(cpu) as other:
                other.protect(CODE, 0x1000, 7)
                other.write(CODE, bytes.fromhex("b807000000c3"))
                assert other.call(CODE) == 7
            machine.write(CODE, bytes.fromhex("b807000000c3"))  # mov $7, %eax; ret
            assert machine.call(CODE) == 7

    assert ends_well(cpu, work)


@pytest.mark.parametrize("cpu", CPUS)
def test_this_library_is_repaired(cpu: str) -> None:
    assert repair(library(), cpu).make(cpu)


def test_another_library_is_left_alone() -> None:
    made = Repairs(library())
    assert made._loaded.slot("gen_intermediate_code_vax") is None
    assert made._loaded.slot("uc_emu_start") is None  # it does not call that
    assert made._row(0xB343, b"LCXBS\0") is None
