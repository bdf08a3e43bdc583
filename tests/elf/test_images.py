"""RELATIVE relocations by machine code and by numpy give the same image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rtld
from elf.specimens import native
from rtld.elf.flat import position
from rtld.elf.kernels import kernels

LOW, SIZE = 0x3000, 256
WORDS = st.integers(0, 2**64 - 1)
RECORDS = st.lists(st.tuples(st.integers(LOW, LOW + SIZE - 8), WORDS), min_size=1, max_size=30)


def rela(records: list[tuple[int, int]]) -> bytes:
    return b"".join(
        o.to_bytes(8, "little") + bytes(8) + a.to_bytes(8, "little") for o, a in records
    )


@given(RECORDS, st.integers(-(2**63), 2**64 - 1))
def test_add_base(records: list[tuple[int, int]], base: int) -> None:
    code = kernels()
    if code is None:
        pytest.skip("no machine code for this CPU")
    expected = bytearray(SIZE)
    for offset, addend in records:
        value = (addend + base) % 2**64
        expected[offset - LOW : offset - LOW + 8] = value.to_bytes(8, "little")
    table, image = rela(records), np.zeros(SIZE, np.uint8)
    assert code.add_base(position(memoryview(table)), len(records), image, LOW, base)
    assert image.tobytes() == expected


@given(RECORDS, st.one_of(st.integers(0, LOW - 1), st.integers(LOW + SIZE - 7, 2**64 - 1)))
def test_a_place_outside(records: list[tuple[int, int]], outside: int) -> None:
    code = kernels()
    if code is None:
        pytest.skip("no machine code for this CPU")
    table, room = rela([*records, (outside, 1)]), np.zeros(SIZE + 32, np.uint8)
    image = room[16:-16]
    assert not code.add_base(position(memoryview(table)), len(records) + 1, image, LOW, 0)
    assert not code.add_base(position(memoryview(table)), 1, image[:7], LOW, 0)
    assert not room[:16].any()
    assert not room[-16:].any()


def test_everything_without_machine_code(monkeypatch: pytest.MonkeyPatch) -> None:
    for path in native()[-12:]:
        with_code = rtld.link(path)
        with monkeypatch.context() as patch:
            for user in ("groups", "hash", "images"):
                patch.setattr(f"rtld.elf.{user}.kernels", lambda: None)
            without = rtld.link(path)
        assert list(with_code.bindings()) == list(without.bindings())
        counts = [
            {str(module): rows for module, rows in one.relocation_counts.items()}
            for one in (with_code, without)
        ]
        assert counts[0] == counts[1]
        assert bytes(with_code.namespace.arena) == bytes(without.namespace.arena)
