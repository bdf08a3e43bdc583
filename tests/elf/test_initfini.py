"""Order of initialisers: properties of any graph of dependencies, and ld.so's own order of random ones."""

from __future__ import annotations

import os
import random
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import elfwrite
import oracle
import toolchain
from rtld.core.module import Module
from rtld.elf import types as t
from rtld.elf.initfini import init_first, sort_dfs, sort_musl, sort_scan
from rtld.process.link import find


def graph(needs: list[list[int]], initfirst: frozenset[int] = frozenset()) -> list[Module]:
    modules = [
        Module(SimpleNamespace(dt_flags_1=t.DF_1_INITFIRST if n in initfirst else 0), str(n), n)
        for n in range(len(needs))
    ]
    for module, wanted in zip(modules, needs, strict=True):
        module.needed = [modules[n] for n in dict.fromkeys(wanted) if n < len(modules)]
    return modules


ANY = st.lists(st.lists(st.integers(0, 14), max_size=5), min_size=1, max_size=15)


@given(ANY)
def test_every_module_once(needs: list[list[int]]) -> None:
    for sort in (sort_dfs, sort_scan):
        modules = graph(needs)
        order = sort(modules, True)
        assert sorted(m.index for m in order) == list(range(len(needs)))
        assert order[0] is modules[0]


@given(ANY)
def test_dependencies_first_without_cycles(needs: list[list[int]]) -> None:
    # Only later modules are needed: no cycles.
    modules = graph([[n for n in row if n > i] for i, row in enumerate(needs)])
    for sort in (sort_dfs, sort_scan):
        place = {module: n for n, module in enumerate(sort(modules, True)[::-1])}
        for module in modules:
            assert all(place[need] < place[module] for need in module.needed)
    order = sort_musl([modules[0]])
    place = {module: n for n, module in enumerate(order)}
    assert all(place[need] < place[module] for module in order for need in module.needed)


@given(st.permutations(range(8)), st.frozensets(st.integers(0, 7)))
def test_initfirst(order: list[int], flagged: frozenset[int]) -> None:
    modules = graph([[] for _ in order], flagged)
    given_order = [modules[n] for n in order]
    got = init_first(given_order, modules)
    if flagged:
        # Of several, the one mapped last; the others keep their places.
        assert got[0] is modules[max(flagged)]
        got = sorted(got, key=given_order.index)
    assert got == given_order


def write_random(directory: str, seed: int) -> str:
    """A program whose 4 to 24 libraries need one another at random, in circles too."""
    choose = random.Random(seed)
    count = choose.randint(4, 24)
    names = [f"lib{number}.so" for number in range(count)]
    many = choose.choice([1, 2, 4])
    for name in names:
        needed = choose.sample(names, min(count, choose.randint(0, many)))
        elfwrite.write(
            os.path.join(directory, name),
            elfwrite.no_names(),
            elfwrite.no_names(),
            [n for n in needed if n != name] + ["libc.so.6"] * choose.randint(0, 1),
            init=True,
            initfirst=choose.random() < 0.05,
            runpath="$ORIGIN",
        )
    program = os.path.join(directory, "program")
    roots = [*choose.sample(names, choose.randint(1, count)), "libc.so.6"]
    none = elfwrite.no_names()
    elfwrite.write(program, none, none, roots, code=elfwrite.EXIT, program=True, runpath="$ORIGIN")
    return program


@pytest.mark.skipif(toolchain.HOST != "x86_64", reason="the files written are for x86-64")
@pytest.mark.parametrize("tunables", ["", "glibc.rtld.dynamic_sort=1"])
@pytest.mark.parametrize("seed", range(40))
def test_random_graphs_against_the_loader(tmp_path: Path, seed: int, tunables: str) -> None:
    program = write_random(str(tmp_path), seed)
    env = {"GLIBC_TUNABLES": tunables} if tunables else {}
    theirs = oracle.ld_init_order(program, (), env)
    ours = [module.path for module in find(program, env=env).init_order]
    assert len(theirs) > 1
    assert [path for path in ours if path in theirs] == theirs
