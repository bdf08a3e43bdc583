"""Contents of the output (projects 7-1, 7-2, 8-3, 10-1): every relocation is applied, or left to the binder.

One call of the engine relocates the whole output; its columns are made here, a row for each relocation.
"""

from __future__ import annotations

import struct

from rtld.textbook.object import Relocation
from rtld.textbook.relocs import BY_NAME, NEED_GOT, REFERS, ROWS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.textbook.inputs import Input
    from rtld.textbook.link import LinkEdit
    from rtld.textbook.symbols import Entry


class _Columns:
    """The relocations that are applied now."""

    def __init__(self) -> None:
        self.types: list[int] = []
        self.sites: list[int] = []  # offsets in memory
        self.values: list[int] = []  # S
        self.places: list[int] = []  # P
        self.words: list[int] = []  # G


def relocate(edit: LinkEdit) -> None:
    """Copy the pieces together, relocate them, fill the global offset table."""
    import numpy as np

    from rtld.core.reloc import apply, read_addends

    begins = copy_contents(edit)
    columns = _Columns()
    for one in edit.inputs:
        for row in one.object.relocations:
            if (one, row.segment - 1) not in edit.removed:
                relocate_one(edit, one, row, columns, begins)
    types, sites = np.array(columns.types, np.int64), np.array(columns.sites, np.int64)
    env = {
        "S": np.array(columns.values, np.int64),
        "A": read_addends(ROWS, types, sites, edit.memory, edit.order),
        "P": np.array(columns.places, np.int64),
        "G": np.array(columns.words, np.int64),
        "GOT": edit.got.address if edit.got is not None else 0,
    }
    edit.counts = apply(ROWS, types, sites, env, edit.memory, edit.order).counts
    fill_got(edit, begins)
    edit.relocations.sort(key=lambda row: (row.segment, row.loc))


def copy_contents(edit: LinkEdit) -> list[int]:
    """The memory of the present segments; the result says where each begins in it (-1: not there)."""
    import numpy as np

    begins, size = [], 0
    for segment in edit.segments:
        begins.append(size if segment.present else -1)
        size += segment.length if segment.present else 0
    edit.memory = np.zeros(size, np.uint8)
    for segment, begin in zip(edit.segments, begins, strict=True):
        for one, index in segment.pieces:
            data = one.object.segments[index].data
            if data:
                at = begin + one.offsets[index]
                edit.memory[at : at + len(data)] = np.frombuffer(data, np.uint8)
    return begins


def relocate_one(
    edit: LinkEdit, one: Input, row: Relocation, columns: _Columns, begins: list[int]
) -> None:
    """One relocation of an input: into the columns, into the output's relocations, or both."""
    index = row.segment - 1
    number = one.numbers[index]
    offset = one.offsets[index] + row.loc
    entry = edit.table.of(one, row.ref) if REFERS[row.type] == "symbol" else None
    if entry is not None and row.type != "GP4" and leave_to_binder(edit, entry, row.type):
        if row.type not in ("AS4", "RS4"):
            what = "is imported" if not entry.is_defined else "is bound at run time"
            message = f"{one.name}:{row.line}: {row.type} to {entry.name}, which {what}: only AS4, RS4 and GP4 can be"
            edit.problem("relocation", one.name, entry.name, message)
            return
        edit.relocations.append(Relocation(offset, number, entry.number, row.type))
        return
    moves = row.type == "A4" or (entry is not None and entry.moves)
    if edit.movable and moves and row.type in ("A4", "AS4"):
        edit.relocations.append(Relocation(offset, number, 0, "ER4"))
    if edit.movable and moves and row.type in ("U2", "L2"):
        assert entry is not None
        message = f"{one.name}:{row.line}: {row.type} to {entry.name}: half an address cannot be moved with the output"
        edit.problem("relocation", one.name, entry.name, message)
    columns.types.append(BY_NAME[row.type].number)
    columns.sites.append(begins[number - 1] + offset)
    columns.places.append(edit.segments[number - 1].start + offset)
    columns.values.append(
        one.moved[row.ref - 1] if entry is None and REFERS[row.type] == "segment" else 0
    )
    columns.words.append(0)
    if entry is not None:
        columns.values[-1] = entry.address
        if row.type in NEED_GOT and edit.got is not None:
            columns.words[-1] = edit.got.offsets[entry]


def leave_to_binder(edit: LinkEdit, entry: Entry, kind: str) -> bool:
    """Is this reference bound at run time? Imports are; so are a library's own symbols if they may be interposed.

    So is the distance to a fixed address from something that can be moved.
    """
    if not entry.is_defined:
        return True
    if not entry.moves:
        return kind == "RS4" and edit.movable
    return edit.options.shared and edit.options.interpose


def fill_got(edit: LinkEdit, begins: list[int]) -> None:
    """The words of the table: addresses, which move with the output, or AS4 for the binder."""
    if edit.got is None:
        return
    number = edit.got.number
    for entry, offset in edit.got.offsets.items():
        if leave_to_binder(edit, entry, "AS4"):
            edit.relocations.append(Relocation(offset, number, entry.number, "AS4"))
            continue
        at = begins[number - 1] + offset
        edit.memory[at : at + 4] = list(struct.pack(f"{edit.order}I", entry.address))
        if edit.movable and entry.moves:
            edit.relocations.append(Relocation(offset, number, 0, "ER4"))
