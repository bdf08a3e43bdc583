"""Storage allocation (projects 4-1 to 4-3): where everything is in the output.

Segments of one name become one; each piece begins at a multiple of 4. Read-only segments come first, from the base
(1000); then, at the next multiple of 1000, writable ones with data, the global offset table before the others; then
writable ones without, with the common blocks at the end of .bss.
"""

from __future__ import annotations

from rtld.core.space import page_up
from rtld.errors import NoSpace
from rtld.textbook.got import WORD
from rtld.textbook.object import LIMIT, Segment, Symbol, TextObject

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.textbook.inputs import Input
    from rtld.textbook.link import LinkEdit

PAGE = 0x1000
SHARED_LIBRARIES = "_SHARED_LIBRARIES"
MOST = 1 << 28
"""More bytes than this are not put into one file."""


class OutputSegment:
    """A segment of the output and the pieces it is made of."""

    __slots__ = ("flags", "length", "name", "pieces", "start")

    def __init__(self, name: str, flags: str) -> None:
        self.name = name
        self.flags = flags
        self.length = 0
        self.pieces: list[tuple[Input, int]] = []
        self.start = 0

    @property
    def present(self) -> bool:
        """It has data."""
        return "P" in self.flags

    @property
    def group(self) -> int:
        """0 RP, 1 RWP, 2 RW."""
        if "W" not in self.flags:
            return 0
        return 1 if self.present else 2

    def add(self, length: int) -> int:
        """Room at the end; its offset."""
        offset = page_up(self.length, WORD)
        self.length = offset + length
        return offset

    def finished(self, data: bytes) -> Segment:
        """As it is written."""
        return Segment(self.name, self.start, self.length, self.flags, data)


def allocate_storage(edit: LinkEdit) -> None:
    """Combine segments, make room for commons, choose addresses."""
    segments = combine(edit)
    allocate_commons(edit, segments)
    if edit.got is not None:
        got = OutputSegment(".got", "RWP")
        got.length = edit.got.length
        segments = {id(got): got, **segments}
    edit.segments = sorted(segments.values(), key=lambda segment: segment.group)
    place(edit)
    for number, segment in enumerate(edit.segments, 1):
        if edit.got is not None and segment is got:
            edit.got.address, edit.got.number = segment.start, number
        for one, index in segment.pieces:
            one.numbers[index] = number
            one.moved[index] = segment.start + one.offsets[index] - one.object.segments[index].start
    number_commons(edit)


def combine(edit: LinkEdit) -> dict[object, OutputSegment]:
    """Segments of one name become one, with the flags of all of them (4-3)."""
    segments: dict[object, OutputSegment] = {}
    for one in edit.inputs:
        for index, segment in enumerate(one.object.segments):
            if (one, index) in edit.removed:
                continue
            output = segments.setdefault(segment.name, OutputSegment(segment.name, ""))
            output.flags = _merged(output.flags, segment.flags)
            one.offsets[index] = output.add(segment.length)
            output.pieces.append((one, index))
    return segments


def _merged(first: str, second: str) -> str:
    letters = first + "".join(letter for letter in second if letter not in first)
    known = "".join(letter for letter in "RWP" if letter in letters)
    return known + "".join(sorted(letter for letter in letters if letter not in "RWP"))


def allocate_commons(edit: LinkEdit, segments: dict[object, OutputSegment]) -> None:
    """Common blocks at the end of .bss, each as large as anybody wants it (4-2). Addresses are offsets as yet."""
    for entry in edit.table.values():
        if entry.is_common:
            bss = segments.setdefault(".bss", OutputSegment(".bss", "RW"))
            entry.address = bss.add(entry.common)


def number_commons(edit: LinkEdit) -> None:
    """Offsets in .bss become addresses."""
    for number, segment in enumerate(edit.segments, 1):
        if segment.name == ".bss":
            for entry in edit.table.values():
                if entry.is_common:
                    entry.segment = number
                    entry.address += segment.start


def place(edit: LinkEdit) -> None:
    """An address for each segment (4-1)."""
    at = edit.options.base
    previous = 0
    for segment in edit.segments:
        at = page_up(at, PAGE if previous == 0 and segment.group > 0 else WORD)
        previous = segment.group
        segment.start = at
        at += segment.length
    if at > LIMIT:
        raise NoSpace(f"the segments end at {at:x}, behind the last 32-bit address")
    if sum(segment.length for segment in edit.segments if segment.present) > MOST:
        raise NoSpace(f"the segments have more than {MOST:#x} bytes of data")


def list_shared_libraries(edit: LinkEdit) -> None:
    """Segment .lib: names ended by NUL, and one more NUL; the symbol at its start tells the start-up code (9-2)."""
    names = list(
        dict.fromkeys(
            name for stub in edit.stubs for name in (stub.stands_for, *stub.needed) if name
        )
    )
    if not names or edit.options.everything:
        return
    from rtld.textbook.inputs import add_input

    data = b"".join(name.encode() + b"\0" for name in names) + b"\0"
    segment = Segment(".lib", 0, len(data), "RP", data)
    thing = TextObject((segment,), (Symbol(SHARED_LIBRARIES, 0, 1, "D"),))
    add_input(edit, thing, "list of shared libraries")
