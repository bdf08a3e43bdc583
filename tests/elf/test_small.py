"""The scalar passes of small programs (elf/small.py) against the column passes, on real programs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from rtld.elf.load import is_libc_family
from rtld.elf.lookup import COPY, PLT
from rtld.elf.small import GiveUp, SmallLink
from rtld.process.link import find, link

if TYPE_CHECKING:
    from rtld.core.module import Module
    from rtld.elf.waiting import Copy
    from rtld.process.link import Link

DIRECTORY = "/usr/bin"


def programs() -> list[str]:
    """A hundred dynamic programs, spread over the directory."""
    found = []
    for name in sorted(os.listdir(DIRECTORY)):
        path = os.path.join(DIRECTORY, name)
        try:
            with open(path, "rb") as file:
                head = file.read(20)
        except OSError:
            continue
        if head[:5] == b"\x7fELF\x02" and head[18:20] == b"\x3e\0":
            found.append(path)
    return found[:: max(len(found) // 100, 1)]


def small(program: str) -> tuple[Link, SmallLink]:
    """The closure bound by the scalar passes, its libc family hosted as in a live child."""
    result = find(program)
    for module in result.modules:
        module.hosted = is_libc_family(module.soname or module.path)
    scalar = SmallLink(result.namespace)
    scalar.bind()
    return result, scalar


def test_scalar_bindings_are_those_of_the_columns() -> None:
    compared = 0
    for program in programs():
        try:
            result, scalar = small(program)
        except GiveUp:
            continue
        columns = link(program, relocated=False)
        b = columns.bindings()
        mine = {}
        for (module, symbol, use), found in scalar.answers.items():
            kind = COPY if use == "copy" else PLT if use else 0
            mine[module.path, symbol, kind] = None if found is None else (found[0].path, found[1])
        theirs = {}
        for row in range(len(b)):
            key = (
                b.modules[int(b.referrer[row])].path,
                int(b.symbol[row]),
                int(b.kind_of_use[row]),
            )
            definer = int(b.definer[row])
            theirs[key] = (
                (b.modules[definer].path, int(b.definition[row])) if definer >= 0 else None
            )
        assert mine == {key: theirs[key] for key in mine}, program
        own = {module.path for module in result.modules if not module.hosted}
        assert {key for key in theirs if key[0] in own} == set(mine), program
        compared += 1
    assert compared > 40


@pytest.mark.parametrize("program", ["/bin/true", "/bin/ls", "/usr/bin/env", "/usr/bin/sort"])
def test_scalar_images_are_those_of_the_columns(program: str) -> None:
    result, scalar = small(program)
    columns = link(program)
    bases = {module.path: module.base for module in columns.modules}
    offsets = {module.path: (module.tls_id, module.tls_offset) for module in columns.modules}
    for module in result.modules:
        module.base = bases[module.path]
        module.tls_id, module.tls_offset = offsets[module.path]
        module.tls_block = 0
    scalar.relocate(link_map=lambda _module: 0, binder=0)
    late = {ifunc.place for ifunc in columns.namespace.ifuncs}
    copied = copies(columns.namespace.copies) | copies(result.namespace.copies)
    for module in result.modules:
        if module.hosted:
            continue
        theirs = next(m for m in columns.modules if m.path == module.path).image
        assert (module.image.low, module.image.high) == (theirs.low, theirs.high)
        got = module.file.dynamic.get(3) or 0
        for at in range(module.image.low, module.image.high, 8):
            place = module.base + at
            # GOT[1] and GOT[2] belong to the dynamic linker; IFUNCs and copies from libc wait for the process.
            if place in late or place in copied or got + 8 <= at < got + 24:
                continue
            assert bytes(module.image.view(at, 8)) == bytes(theirs.view(at, 8)), (
                module.path,
                hex(at),
            )
    assert {i.place: i.resolver for i in result.namespace.ifuncs} == {
        i.place: i.resolver
        for i in columns.namespace.ifuncs
        if not i.module.hosted and own(i.module, result)
    }


def copies(rows: list[Copy]) -> set[int]:
    """The words that COPY relocations fill."""
    return {
        word
        for c in rows
        for word in range((c.module.base + c.place) & -8, c.module.base + c.place + c.size, 8)
    }


def own(module: Module, result: Link) -> bool:
    return any(m.path == module.path and not m.hosted for m in result.modules)
