"""Garbage collection (project 11-1): segments .text1, .text2, ... that nothing reaches are left out.

Everything else in a file is taken to be reached, and so is where execution begins: without such a symbol all of the
program's numbered segments would be garbage. A shared library's exports are reached from outside.
"""

from __future__ import annotations

import re

from rtld.textbook.relocs import REFERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtld.textbook.inputs import Input
    from rtld.textbook.link import LinkEdit

    Place = tuple[Input, int]

NUMBERED = re.compile(r"\.text\d+\Z", re.ASCII)


def collect_garbage(edit: LinkEdit) -> None:
    """Mark what can be reached; the numbered segments that are not marked are ``removed``."""
    if not edit.options.garbage:
        return
    references = _references(edit)
    waiting = list(_roots(edit))
    reached = set(waiting)
    while waiting:
        for place in references.get(waiting.pop(), ()):
            if place not in reached:
                reached.add(place)
                waiting.append(place)
    edit.removed = {place for place in _places(edit) if place not in reached}


def _places(edit: LinkEdit) -> Iterator[Place]:
    for one in edit.inputs:
        for index in range(len(one.object.segments)):
            yield one, index


def _roots(edit: LinkEdit) -> Iterator[Place]:
    for one, index in _places(edit):
        if not NUMBERED.match(one.object.segments[index].name):
            yield one, index
    for entry in edit.table.values():
        if entry.definer is None or entry.symbol is None or not entry.symbol.segment:
            continue
        if edit.options.shared or entry.name in edit.options.roots:
            yield entry.definer, entry.symbol.segment - 1


def _references(edit: LinkEdit) -> dict[Place, list[Place]]:
    """Which segments the relocations of a segment lead to."""
    result: dict[Place, list[Place]] = {}
    for one in edit.inputs:
        for row in one.object.relocations:
            leads = result.setdefault((one, row.segment - 1), [])
            if REFERS[row.type] == "segment":
                leads.append((one, row.ref - 1))
            elif REFERS[row.type] == "symbol":
                entry = edit.table.of(one, row.ref)
                if entry.definer is not None and entry.symbol is not None and entry.symbol.segment:
                    leads.append((entry.definer, entry.symbol.segment - 1))
    return result
