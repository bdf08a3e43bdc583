"""The vectorised engine against a scalar reference that is as plain as the psABI's prose."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtld.core.reloc import Action, Field, Reloc, apply, fits, read_addends, table
from rtld.core.terms import WORD, A, B, P, S, T
from rtld.errors import Overflow, RelocationError, Unknown

BRANCH = Field("branch", 0x00FFFFFF, shift=2, bits=26)
ADJUSTED = Field("adjusted high half", 0xFFFF, shift=16, bits=32, round=0x8000)
QUARTER = Field("multiple of four", 0xFFFC, bits=16, align=4)

ROWS = table(
    Reloc(0, "NONE", S, 0, "wrap", Action.NONE),
    Reloc(1, "WORD64", S + A),
    Reloc(2, "PC32", S + A - P, 4, "signed"),
    Reloc(3, "ABS32", S + A, 4, "unsigned"),
    Reloc(4, "ABS16", S + A, 2, "either"),
    Reloc(5, "BYTE", S + A - P, 1),
    Reloc(6, "WRAP32", A - S, 4),
    Reloc(7, "COPY", S, 0, "wrap", Action.COPY, "copy"),
    Reloc(8, "RELATIVE", B + A),
    Reloc(9, "BRANCH", S + A - P, 4, "signed", field=BRANCH),
    Reloc(10, "HA", S + A, 2, "signed", field=ADJUSTED),
    Reloc(11, "DS", S + A, 2, "signed", field=QUARTER),
    Reloc(12, "SLOT", S, 8, "wrap", Action.JUMP_SLOT, "plt"),
    Reloc(13, "DESC", T + A, 16, "wrap", Action.TLSDESC, "plt", addend_at=8),
    Reloc(0x1203, "COMPOUND", S + A),
)
STORED = [number for number, row in ROWS.items() if row.action == Action.STORE]
STEP = 16


def signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def scalar(row: Reloc, site: int, values: dict[str, int], memory: bytearray, order: str) -> None:
    """One relocation, as a book would do it. Raises OverflowError."""
    byteorder: Any = "little" if order == "<" else "big"
    value = row.value.evaluate(values)
    number = signed(value)
    if row.field is None:
        bits = 8 * row.width
        low = {"signed": -(1 << bits - 1), "either": -(1 << bits - 1), "unsigned": 0}
        high = {"signed": 1 << bits - 1, "either": 1 << bits, "unsigned": 1 << bits}
        if row.check != "wrap" and not low[row.check] <= number < high[row.check]:
            raise OverflowError
        word = value & ((1 << bits) - 1)
    else:
        field = row.field
        low_end = -(1 << field.bits - 1)
        if row.check == "signed" and not low_end <= signed((value + field.round) & WORD) < -low_end:
            raise OverflowError
        if number % field.align:
            raise OverflowError
        old = int.from_bytes(memory[site : site + row.width], byteorder)
        part = ((number + field.round) >> field.shift) << field.place & field.mask
        word = old & ~field.mask | part
    memory[site : site + row.width] = word.to_bytes(row.width, byteorder)


small = st.integers(-0x8000, 0x7FFF)
wide = st.integers(0, WORD)
relocation = st.tuples(
    st.sampled_from(STORED),
    st.integers(0, STEP - 8),  # so that places of one cell never overlap the next
    st.one_of(small.map(lambda value: value & WORD), wide, st.integers(0, 1 << 33)),
    st.one_of(small, st.integers(-(1 << 63), (1 << 63) - 1)),
)


@settings(max_examples=300)
@given(
    st.lists(relocation, max_size=30),
    st.sampled_from("<>"),
    st.integers(0, 7),
    st.binary(max_size=64),
)
def test_engine_equals_scalar_reference(
    relocations: list[tuple[int, int, int, int]], order: str, skew: int, filling: bytes
) -> None:
    size = STEP * len(relocations)
    # `skew` makes the array itself start at an odd address: aligned places need not be aligned words.
    memory = np.zeros(size + 16, np.uint8)[skew:][: size + 8]
    memory[: len(filling)] = np.frombuffer(filling, np.uint8)[: len(memory)]
    expected = bytearray(memory.tobytes())
    types = np.array([item[0] for item in relocations], np.int64)
    sites = np.array([STEP * i + item[1] for i, item in enumerate(relocations)], np.int64)
    base = 0x7F0000000000
    env: dict[str, Any] = {
        "S": np.array([item[2] for item in relocations], np.uint64),
        "A": np.array([item[3] for item in relocations], np.int64),
        "P": sites + base,
        "B": base,
    }
    failed = set()
    for i, (number, _, symbol, addend) in enumerate(relocations):
        values = {"S": symbol, "A": addend, "P": int(sites[i]) + base, "B": base}
        try:
            scalar(ROWS[number], int(sites[i]), values, expected, order)
        except OverflowError:
            failed.add(number)
    if failed:
        with pytest.raises(Overflow) as error:
            apply(ROWS, types, sites, env, memory, order)
        assert ROWS[min(failed)].name in str(error.value)
    else:
        done = apply(ROWS, types, sites, env, memory, order)
        assert memory.tobytes() == bytes(expected)
        assert done.counts == {ROWS[n].name: int((types == n).sum()) for n in set(types.tolist())}


@pytest.mark.parametrize("order", ["<", ">"])
@given(values=st.lists(st.integers(-(1 << 31), (1 << 31) - 1), min_size=1), odd=st.booleans())
def test_addends_are_read_back_signed(order: str, values: list[int], odd: bool) -> None:
    memory = np.zeros(8 * len(values) + 8, np.uint8)
    sites = np.arange(len(values), dtype=np.int64) * 8 + odd
    types = np.full(len(values), 6)
    apply(ROWS, types, sites, {"A": np.array(values), "S": 0}, memory, order)
    assert read_addends(ROWS, types, sites, memory, order).tolist() == values


def test_addends_of_fields_descriptors_and_rows_without_one() -> None:
    memory = np.zeros(64, np.uint8)
    memory[0:4] = [0xFE, 0xFF, 0xFF, 0xEB]  # bl . (imm24 = -2 words)
    memory[16:24] = 0xFF  # the entry's word of a descriptor: no addend there
    memory[24:32] = [0xF0, *[0xFF] * 7]
    memory[32:40] = 0x55  # a lazy slot
    types, sites = np.array([9, 13, 12]), np.array([0, 16, 32])
    assert read_addends(ROWS, types, sites, memory).tolist() == [-8, -16, 0]


def test_what_is_not_stored_is_left_by_action() -> None:
    memory = np.zeros(64, np.uint8)
    types = np.array([12, 1, 7, 0, 13, 12])
    sites = np.arange(6) * 8
    done = apply(ROWS, types, sites, {"S": 7, "A": 0}, memory)
    assert done.counts == {"WORD64": 1}
    assert {action: left.tolist() for action, left in done.left.items()} == {
        Action.COPY: [2],
        Action.JUMP_SLOT: [0, 5],
        Action.TLSDESC: [4],
    }
    now = apply(
        ROWS, types, sites, {"S": 7, "A": 0}, memory, store=(Action.STORE, Action.JUMP_SLOT)
    )
    assert now.counts == {"WORD64": 1, "SLOT": 2}
    assert memory[0] == memory[40] == 7


def test_columns_may_be_functions_of_the_chosen_relocations() -> None:
    asked: list[list[int]] = []

    def symbols(chosen: Any) -> Any:
        asked.append(chosen.tolist())
        return chosen * 0x100

    memory = np.zeros(32, np.uint8)
    types, sites = np.array([8, 1, 8, 1]), np.arange(4) * 8
    apply(ROWS, types, sites, {"S": symbols, "A": 1, "B": 2}, memory)
    assert asked == [[1, 3]]  # RELATIVE does not need the symbol
    assert memory.view("<u8").tolist() == [3, 0x101, 3, 0x301]


def test_nothing_to_do() -> None:
    done = apply(ROWS, np.array([], np.int64), np.array([], np.int64), {}, np.zeros(0, np.uint8))
    assert done.counts == {}
    assert done.left == {}


def test_errors_name_row_place_formula_and_value() -> None:
    memory = np.zeros(64, np.uint8)
    types, sites = np.array([1, 2, 2]), np.array([0, 0x10, 0x20])
    env = {"S": np.array([0, 0x1000, 0x1FFFFF000]), "A": -4, "P": np.array([0, 0x10, 0x20])}
    text = re.escape("PC32: S + A - P = 0x1ffffefdc does not fit 32 bits (signed)")
    with pytest.raises(Overflow, match=f"^0x20: {text}$"):
        apply(ROWS, types, sites, env, memory)
    with pytest.raises(Overflow, match=f"^libx.so: record 2: {text}$"):
        apply(ROWS, types, sites, env, memory, describe=lambda index: f"libx.so: record {index}")
    with pytest.raises(Overflow, match="as a multiple of 4"):
        apply(ROWS, np.array([11]), np.array([0]), {"S": 2, "A": 0}, memory)
    assert not memory[0x10:].any()


def test_unknown_numbers_are_errors() -> None:
    memory = np.zeros(64, np.uint8)
    for number in (99, 1 << 31, -1):
        types = np.array([1, number])
        with pytest.raises(Unknown, match=r"^0x8: unknown relocation type"):
            apply(ROWS, types, np.array([0, 8]), {"S": 0, "A": 0}, memory)
        with pytest.raises(Unknown):
            read_addends(ROWS, types, np.array([0, 8]), memory)


@pytest.mark.parametrize("site", [-1, -8, 57, 64, 1 << 40])
def test_places_outside_memory_are_errors(site: int) -> None:
    memory = np.zeros(64, np.uint8)
    types, sites = np.array([1, 1]), np.array([0, site])
    with pytest.raises(RelocationError, match="outside"):
        apply(ROWS, types, sites, {"S": 1, "A": 0}, memory)
    with pytest.raises(RelocationError, match="outside"):
        read_addends(ROWS, types, sites, memory)
    assert not memory.any()


def test_memory_smaller_than_a_field_is_an_error() -> None:
    with pytest.raises(RelocationError, match="outside"):
        apply(ROWS, np.array([1]), np.array([0]), {"S": 1, "A": 0}, np.zeros(4, np.uint8))


def test_a_number_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        table(Reloc(1, "ONE", S), Reloc(1, "UNO", S))


@given(wide, st.sampled_from([8, 16, 17, 26, 32, 33]))
def test_range_checks(value: int, bits: int) -> None:
    array = np.array([value], np.uint64)
    number = signed(value)
    is_signed = -(1 << bits - 1) <= number < 1 << bits - 1
    is_unsigned = value < 1 << bits
    assert bool(fits(array, bits, "signed")[0]) == is_signed
    assert bool(fits(array, bits, "unsigned")[0]) == is_unsigned
    assert bool(fits(array, bits, "either")[0]) == (is_signed or is_unsigned)
    assert bool(fits(array, bits, "wrap")[0])


@given(st.sampled_from([BRANCH, QUARTER]), st.integers(-(1 << 13), (1 << 13) - 1), wide)
def test_fields_decode_what_they_encode(field: Field, value: int, word: int) -> None:
    word &= 0xFFFFFFFF
    value *= 4
    assert field.decode(field.encode(word, value & WORD)) == value
    assert field.encode(word, value & WORD) & ~field.mask == word & ~field.mask
