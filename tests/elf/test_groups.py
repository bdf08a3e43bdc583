"""Grouping equal names: machine code and numpy make the same groups, and both are those of a dict."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elf.test_hash import NAMES, Table
from rtld.elf.groups import SortedGroups, TableGroups, group_names
from rtld.elf.hash import Names, Strings
from rtld.elf.kernels import kernels
from rtld.elf.scalar import gnu_hash

if TYPE_CHECKING:
    from collections.abc import Callable

    from rtld.elf.groups import Groups

# Words whose hashes differ in the lowest bit alone, or not at all: 33 * a + b == 33 * (a + 1) + (b - 33).
NEAR = st.lists(st.sampled_from([b"ab", b"bA", b"ac", b"bB", b"a", b"b"]), max_size=4).map(b"".join)
MANY = st.one_of(NAMES, st.lists(NEAR, min_size=1, max_size=60))


def names_of(table: Table) -> Names:
    return Names(table.positions.copy(), lambda: Strings([(table.start, table.size)]))


def by_code(names: Names) -> Groups:
    code = kernels()
    if code is None:
        pytest.skip("no machine code for this CPU")
    groups = TableGroups(names, code)
    assert groups.usable
    return groups


WAYS = pytest.mark.parametrize("make", [SortedGroups, by_code])


@WAYS
@given(wanted=MANY, others=MANY)
def test_groups(make: Callable[[Names], Groups], wanted: list[bytes], others: list[bytes]) -> None:
    # One table of strings, so that the ends of all names are known.
    table = Table(wanted + others)
    mine = Names(table.positions[: len(wanted)].copy(), lambda: strings_of(table))
    groups = make(mine)
    numbers = groups.number.tolist()
    assert set(numbers) == set(range(groups.count))
    number_of = dict(zip(wanted, numbers, strict=True))
    assert [number_of[name] for name in wanted] == numbers
    assert len(number_of) == groups.count
    for low in (0, 1):
        # A chain's lowest bit says where it ends.
        h = np.array([gnu_hash(name) & ~1 | low for name in others], np.uint32)
        row, group = groups.find(table.positions[len(wanted) :].copy(), h)
        found = list(zip(row.tolist(), group.tolist(), strict=True))
        assert found == [(i, number_of[n]) for i, n in enumerate(others) if n in number_of]


def strings_of(table: Table) -> Strings:
    return Strings([(table.start, table.size)])


@WAYS
def test_no_names(make: Callable[[Names], Groups]) -> None:
    table = Table([b"a"])
    names = Names(np.empty(0, np.int64), lambda: strings_of(table))
    groups = make(names)
    assert groups.count == 0
    row, group = groups.find(table.positions, np.array([gnu_hash(b"a")], np.uint32))
    assert not len(row)
    assert not len(group)


def test_names_made_to_collide() -> None:
    # 2**13 names of one hash: the table gives up, sorting answers.
    names = [b""]
    for _ in range(13):
        names = [name + tail for name in names for tail in (b"ab", b"bA")]
    assert len({gnu_hash(name) for name in names}) == 1
    table = Table(names * 2)
    rows = names_of(table)
    code = kernels()
    if code is not None:
        assert not TableGroups(rows, code).usable
    groups = group_names(rows)
    assert groups.count == len(names)
    assert groups.number[: len(names)].tolist() == groups.number[len(names) :].tolist()
    assert len(set(groups.number.tolist())) == len(names)


def test_names_looked_for_collide() -> None:
    # The table can be made, but looking for its last name over and over exhausts it: sorting finds the same numbers.
    names = [b"".join(b"ab" if i >> k & 1 else b"bA" for k in range(7)) for i in range(120)]
    others = [names[-1], b"ab" * 7] * 5000
    table = Table(names + others)
    groups = by_code(Names(table.positions[: len(names)].copy(), lambda: strings_of(table)))
    h = np.full(len(others), gnu_hash(names[0]), np.uint32)
    row, group = groups.find(table.positions[len(names) :].copy(), h)
    assert row.tolist() == list(range(0, len(others), 2))
    assert set(group.tolist()) == {int(groups.number[-1])}
