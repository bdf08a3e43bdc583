"""The global offset table of position-independent code (project 8-3): a word for each symbol that GP4 refers to."""

from __future__ import annotations

from rtld.textbook.relocs import NEED_GOT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.textbook.link import LinkEdit
    from rtld.textbook.symbols import Entry

WORD = 4


class Got:
    """The table: whose words it has, in order of first use, and where it is."""

    __slots__ = ("address", "number", "offsets")

    def __init__(self) -> None:
        self.offsets: dict[Entry, int] = {}
        # allocate_storage
        self.address = 0
        self.number = 0  # of the output segment

    @property
    def length(self) -> int:
        """Bytes."""
        return WORD * len(self.offsets)


def allocate_got(edit: LinkEdit) -> None:
    """Make the table if something refers to it."""
    for one in edit.inputs:
        for row in one.object.relocations:
            if row.type not in NEED_GOT or (one, row.segment - 1) in edit.removed:
                continue
            if edit.got is None:
                edit.got = Got()
            if row.type == "GP4":
                entry = edit.table.of(one, row.ref)
                edit.got.offsets.setdefault(entry, edit.got.length)
