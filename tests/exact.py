"""Our link of a program against ld.so's: modules, order, every binding. Used by tests/live and bench/exactness.py."""

from __future__ import annotations

import os
from typing import NamedTuple

import oracle
from rtld.process.link import link


class Difference(NamedTuple):
    """What ld.so says and we do not, and the other way round. Equal when all four are empty."""

    modules: int
    bindings: int
    modules_differ: list[str]
    missing: list[tuple[str, ...]]
    extra: list[tuple[str, ...]]
    undefined: list[str]

    @property
    def equal(self) -> bool:
        return not (self.modules_differ or self.missing or self.extra or self.undefined)


def dynamic_programs(*directories: str) -> list[str]:
    """Every ELF file under the directories that has a PT_INTERP of glibc for this CPU; links followed once."""
    seen: set[str] = set()
    found = []
    for directory in directories:
        for root, dirs, files in os.walk(directory):
            dirs.sort()
            for name in sorted(files):
                path = os.path.join(root, name)
                real = os.path.realpath(path)
                if real in seen or not os.path.isfile(real) or not os.access(real, os.R_OK):
                    continue
                with open(real, "rb") as file:
                    head = file.read(20)
                if head[:5] != b"\x7fELF\x02" or head[18:20] != b"\x3e\0":
                    continue
                seen.add(real)
                if (oracle.interp(real) or "").endswith("/ld-linux-x86-64.so.2"):
                    # By its real path: ld.so, given a path, takes $ORIGIN from it as it stands.
                    found.append(real)
    return found


def compare(program: str) -> Difference:
    """Ask ld.so and ourselves, and compare real paths: the same file may be opened by several names."""
    said = oracle.trace(program)
    ours = link(program, relocated=False)
    theirs = [os.path.realpath(row.path) for row in said.modules if row.path]
    mine = [os.path.realpath(m.path) for m in ours.modules[1:]]
    differ = [f"{a} | {b}" for a, b in zip(theirs, mine, strict=False) if a != b]
    differ += [f"only ld.so: {p}" for p in theirs[len(mine) :]]
    differ += [f"only rtld: {p}" for p in mine[len(theirs) :]]
    loader = os.path.realpath(oracle.interp(program) or "")
    real: dict[str | None, str] = {}

    def path(name: str | None) -> str:
        if name not in real:
            real[name] = os.path.realpath(name) if name else ""
        return real[name]

    # While it lists, ld.so does not relocate itself again; when it starts a program it does.
    a = {(path(b.referrer), path(b.definer), b.symbol, b.version or "") for b in said.bindings}
    a = {row for row in a if row[0] != loader}
    b = {
        (path(referrer), path(definer), symbol, version or "")
        for referrer, definer, symbol, version, _kind in ours.bindings()
        if definer is not None and path(referrer) != loader
    }
    undefined_theirs = {
        (symbol, version or "", path(file)) for symbol, version, file in said.undefined
    }
    undefined_ours = {
        (p.subject, p.version or "", path(p.module)) for p in ours.problems if p.kind == "symbol"
    }
    return Difference(
        len(theirs),
        len(a),
        differ,
        sorted(a - b),
        sorted(b - a),
        [str(row) for row in sorted(undefined_theirs ^ undefined_ours)],
    )
