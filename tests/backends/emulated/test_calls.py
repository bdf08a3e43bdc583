"""Functions of random types on every CPU: the same C compiled for this machine is the judge."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import toolchain
from backends.emulated.programs import ALL, CC, load
from backends.emulated.random_c import (
    ALL_MORE,
    FLOATING,
    Function,
    Generator,
    Kind,
    plain,
    source,
)
from backends.emulated.test_machine import symbols
from rtld.arch.calling import convention
from rtld.backends.emulated import open_machine
from rtld.backends.emulated.calls import Caller, Signature
from rtld.backends.emulated.machine import Machine
from rtld.process.foreign.convert import Converter
from rtld.process.foreign.guest import Guest
from rtld.process.foreign.types import COMPLEX

FLAGS = ("-O1", "-nostdlib", "-static", "-no-pie", "-fno-pie", "-ffreestanding", "-fno-stack-protector", "-Wl,-e,0", "-w")  # fmt: skip
PLAIN = 2  # seeds of plain numbers and structures of them; then of everything
SEEDS = range(4)
COUNT = 60
#: What a compiler does not have, or does not pass in a way of its own.
WITHOUT = {"i386": {"int128", "vector"}, "arm": {"int128"}, "mipsel": {"int128"}}
#: Options of CPUs, and for which seeds there are more than plain numbers and structures.
OPTIONS = {"riscv64": ["-Wl,--no-relax"], "arm": ["-mfpu=neon"]}


@pytest.fixture(
    params=[(cpu, seed) for cpu in ALL for seed in SEEDS], ids=lambda p: f"{p[0]}-{p[1]}"
)
def case(request: pytest.FixtureRequest, require: Callable[[str], None]) -> tuple[str, int]:
    cpu, seed = request.param
    lacking = toolchain.missing(toolchain.target(cpu), run=False)
    if lacking:
        require(lacking)
    return cpu, seed


class Both:
    """The functions of one seed, here and there."""

    def __init__(self, cpu: str, seed: int, machine: Machine, cc: CC) -> None:
        more = ALL_MORE - WITHOUT.get(cpu, set()) if seed >= PLAIN else frozenset()
        self.generator = Generator(seed, frozenset(more))
        self.functions = [self.generator.function(n) for n in range(COUNT)]
        text = source(self.generator, self.functions)
        path = cc(text, "f", *FLAGS, *OPTIONS.get(cpu, []), "-lgcc", arch=cpu)
        load(machine, path)
        self.addresses = symbols(path)
        self.native = ctypes.CDLL(str(cc(text, "f.so", "-O1", "-shared", "-fPIC", "-w")))
        self.caller = Caller(machine)
        self.guest = Guest(machine)
        self.converter = self.guest.converter
        nobody: Any = machine.cpu
        self.here = Converter(nobody, convention(toolchain.HOST).model)

    def signature(self, f: Function) -> Signature:
        of = self.converter.types.of
        return self.caller.signature(
            of(f.result.ctype), [of(k.ctype) for k in f.arguments], f.fixed
        )

    def raw(self, kind: Kind, value: Any) -> Any:
        return self.converter.maker(kind.ctype)(value, [])

    def value(self, kind: Kind, raw: Any) -> Any:
        return self.converter.result(kind.ctype)(raw)

    def natively(self, f: Function, values: list[Any]) -> Any:
        """What this machine's compiler has made of it says. ctypes itself lays bit-fields out otherwise than gcc."""
        here = self.here
        held = []
        for kind, value in zip(f.arguments, values, strict=True):
            data = here.pack(kind.ctype, here.object_of(kind.ctype, value), [])
            held.append(ctypes.create_string_buffer(data, len(data) or 1))
        pointers = (ctypes.c_void_p * max(1, len(held)))(*map(ctypes.addressof, held))
        result = ctypes.create_string_buffer(here.types.of(f.result.ctype).size or 1)
        self.native[f"w{f.number}"](result, pointers)
        raw = here.unpack(f.result.ctype, result.raw)
        return complex(raw.real, raw.imag) if f.result.ctype in COMPLEX else raw


@pytest.fixture
def both(case: tuple[str, int], cc: CC) -> Iterator[Both]:
    with open_machine(case[0], seconds=60) as machine:
        yield Both(*case, machine, cc)


def test_functions_of_random_types(both: Both) -> None:
    for f in both.functions:
        values = [both.generator.value(kind) for kind in f.arguments]
        raws = [both.raw(kind, value) for kind, value in zip(f.arguments, values, strict=True)]
        got = both.caller.call(both.addresses[f"f{f.number}"], both.signature(f), raws)
        want = plain(f.result, both.natively(f, values))
        assert plain(f.result, both.value(f.result, got)) == want, f


def test_layout_of_structures(both: Both) -> None:
    """Each member, as the C compiler finds it in bytes that were packed here."""
    place = ctypes.c_void_p
    of = both.converter.types.of
    signature = both.caller.signature(
        both.converter.types.model.integer(8, signed=True), [of(place)]
    )
    for number, kind in enumerate(both.generator.structures):
        value = both.generator.value(kind)
        data = both.converter.pack(kind.ctype, value, [])
        memory = both.guest.lend(data)
        for i, part in enumerate(kind.parts):
            want = eval(f"value{part.python}", {"value": value})
            want = getattr(want, "value", want)
            want = (
                int(want * 16)
                if part.c in FLOATING
                else (want + (1 << 63) & (1 << 64) - 1) - (1 << 63)
            )
            got = both.caller.call(both.addresses[f"p{number}_{i}"], signature, [memory])
            assert got == want, (part, both.generator.declarations)


def test_many_calls_at_once(both: Both) -> None:
    for f in both.functions[::5]:
        sets = [[both.generator.value(kind) for kind in f.arguments] for _ in range(7)]
        raws = [
            [both.raw(k, v) for k, v in zip(f.arguments, values, strict=True)] for values in sets
        ]
        results = both.caller.call_many(both.addresses[f"f{f.number}"], both.signature(f), raws)
        got = [plain(f.result, both.value(f.result, raw)) for raw in results]
        assert got == [plain(f.result, both.natively(f, values)) for values in sets], f


def test_callbacks_of_random_types(both: Both) -> None:
    """gN passes its arguments on to a function in Python, and returns what that returns."""
    for f in both.functions:
        if f.fixed is not None:
            continue
        values = [both.generator.value(kind) for kind in f.arguments]
        answer = both.generator.value(f.result)
        seen: list[Any] = []

        def called(
            *raws: Any, f: Function = f, seen: list[Any] = seen, answer: Any = answer
        ) -> Any:
            seen += [plain(k, both.value(k, raw)) for k, raw in zip(f.arguments, raws, strict=True)]
            return both.raw(f.result, answer)

        inner = both.signature(f)
        address = both.caller.callback(inner, called)
        of = both.converter.types.of
        pointer = both.converter.types.model.pointer
        outer = both.caller.signature(
            of(f.result.ctype), [pointer, *[of(k.ctype) for k in f.arguments]]
        )
        raws = [address, *[both.raw(k, v) for k, v in zip(f.arguments, values, strict=True)]]
        got = both.caller.call(both.addresses[f"g{f.number}"], outer, raws)
        assert seen == [plain(k, v) for k, v in zip(f.arguments, values, strict=True)], f
        assert plain(f.result, both.value(f.result, got)) == plain(f.result, answer), f
        both.caller.release(address)


COUNTING = r"""
static volatile long total; static long many[8];
long count(long n)
{
    long i, j;
    total = 0;
    for (j = 0; j < 8; j++) many[j] = 0;
    for (i = 0; i < n; i++) { total += i; __asm__ volatile("" ::: "memory"); many[i & 7] += total & 3; }
    for (j = 0; j < 8; j++) total += many[j];
    return total;
}
"""


@pytest.mark.parametrize("cpu", ALL)
def test_what_is_stopped_goes_on_where_it_was(
    cpu: str, cc: CC, require: Callable[[str], None]
) -> None:
    """No instruction is done twice, though the clock stops the CPU a thousand times a second."""
    lacking = toolchain.missing(toolchain.target(cpu), run=False)
    if lacking:
        require(lacking)
    path = cc(COUNTING, "count", *FLAGS, *OPTIONS.get(cpu, []), arch=cpu)
    with open_machine(cpu, seconds=60) as machine:
        load(machine, path)
        machine._watch.tick = 0.0005
        n = 1_000_000
        mask = (1 << machine.cpu.bits) - 1
        total, many = 0, 0
        for i in range(n):
            total = total + i & mask
            many += total & 3
        for _ in range(3):
            assert machine.call(symbols(path)["count"], n) == total + many & mask
        assert machine._watch.stops > 30
