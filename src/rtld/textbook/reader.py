"""Text -> TextObject (project 3-1), with everything that is wrong told at once.

The counts of the second line are believed as far as the lines bear them out: a line that can only be of a later part
ends the part before it, and one too many is read as what it is, so that one wrong count is one complaint.
"""

from __future__ import annotations

import re
from itertools import pairwise

from rtld.textbook.complaints import Complaint, Malformed, quoted
from rtld.textbook.object import LIMIT, Relocation, Segment, Symbol, TextObject
from rtld.textbook.relocs import BY_NAME, REFERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

PARTS = ("segment", "symbol", "relocation", "data")
_HEX = re.compile(r"[0-9A-Fa-f]{1,16}\Z", re.ASCII)
_DECIMAL = re.compile(r"[0-9]{1,9}\Z", re.ASCII)
_TYPE = re.compile(r"[A-Z]+[0-9]+\Z", re.ASCII)


def read_file(path: str) -> TextObject:
    """The object in a file. OSError, Malformed."""
    with open(path, "rb") as file:
        return read_object(decode(file.read(), path), path)


def decode(data: bytes, path: str) -> str:
    """The bytes of a file as text, if that is what they are."""
    try:
        return data.decode("ascii")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        found = f"the byte {data[error.start]:#x}"
        raise Malformed(path, [Complaint(path, line, "text", found, "ASCII")]) from None


def read_object(text: str, path: str = "", first_line: int = 1) -> TextObject:
    """The object that *text* is. *path* and *first_line* are for messages. Malformed has all complaints."""
    reader = _Reader(text, path, first_line)
    thing = reader.read()
    if reader.complaints:
        raise Malformed(path, reader.complaints)
    return thing


def shape(fields: Sequence[str]) -> str | None:
    """Which part of a file a line looks like."""
    if len(fields) >= 4 and _TYPE.match(fields[3]) and _HEX.match(fields[0]):
        return "relocation"
    if len(fields) == 4 and fields[3].isalpha():
        letters = set(fields[3])
        if letters & set("RWP"):
            return "segment"
        if letters & set("DU"):
            return "symbol"
    return "data" if all(map(_HEX.match, fields)) else None


class _Reader:
    def __init__(self, text: str, path: str, first_line: int) -> None:
        self.path = path
        self.lines = [
            (number, line.split())
            for number, line in enumerate(text.split("\n"), first_line)
            if line.strip() and not line.lstrip().startswith("#")
        ]
        self.last_line = first_line + max(text.rstrip("\n").count("\n"), 0)
        self.at = 0
        self.complaints: list[Complaint] = []
        self.segments: list[Segment] = []
        self.symbols: list[Symbol] = []
        self.relocations: list[Relocation] = []

    def complain(self, line: int, subject: str, found: object, expected: object) -> None:
        self.complaints.append(Complaint(self.path, line, subject, found, expected))

    # -- the parts, in order ----------------------------------------------------------------------

    def read(self) -> TextObject:
        if not self.lines or self.lines[0][1][0] not in ("LINK", "LINKLIB"):
            line, found = (1, "the end of the file")
            if self.lines:
                line, found = self.lines[0][0], quoted(" ".join(self.lines[0][1]))
            self.complain(line, "magic", found, "LINK or LINKLIB")
            raise Malformed(self.path, self.complaints)
        magic, *needed = self.lines[0][1]
        self.at = 1
        counts, extra, line = self.read_counts()
        self.read_part("segment", counts[0], line)
        self.read_part("symbol", counts[1], line)
        self.read_part("relocation", counts[2], line)
        self.read_data()
        self.check_segments()
        self.check_symbols()
        self.check_relocations()
        rows = tuple(self.segments), tuple(self.symbols), tuple(self.relocations)
        return TextObject(*rows, magic, tuple(needed), tuple(extra), self.path)

    def read_counts(self) -> tuple[list[int], list[str], int]:
        if self.at >= len(self.lines):
            self.complain(self.last_line, "counts", "the end of the file", "nsegs nsyms nrels")
            raise Malformed(self.path, self.complaints)
        line, fields = self.lines[self.at]
        if len(fields) < 3 or not all(map(_DECIMAL.match, fields[:3])):
            found = quoted(" ".join(fields))
            self.complain(line, "counts", found, "three decimal numbers: nsegs nsyms nrels")
            if (
                shape(fields) in PARTS[:3]
            ):  # the line was forgotten: what follows is still looked at
                return [0, 0, 0], [], 0
        self.at += 1
        counts = [int(word) if _DECIMAL.match(word) else 0 for word in fields[:3]]
        return [*counts, 0, 0, 0][:3], fields[3:], line

    def read_part(self, part: str, count: int, counts_line: int) -> None:
        """The lines of one part, as many as there are."""
        parse = {"segment": self.segment, "symbol": self.symbol, "relocation": self.relocation}[
            part
        ]
        later = PARTS[PARTS.index(part) + 1 :]
        taken = 0
        while self.at < len(self.lines):
            line, fields = self.lines[self.at]
            looks = shape(fields)
            if (looks in later) if taken < count else (looks != part or self.is_data(fields)):
                break
            parse(line, fields)
            taken += 1
            self.at += 1
        if taken != count and counts_line:
            self.complain(
                counts_line, f"number of {part}s", f"{count} announced", f"the {taken} that follow"
            )

    def is_data(self, fields: Sequence[str]) -> bool:
        """Bytes with blanks between them may look like a relocation: ``01 02 03 A4``."""
        first = next((s for s in self.segments if s.present and s.length), None)
        digits = "".join(fields)
        return first is not None and len(digits) == 2 * first.length and bool(_all_hex(digits))

    def read_data(self) -> None:
        for number, segment in enumerate(self.segments):
            if not segment.present or not segment.length:
                continue
            subject = f"data of segment {number + 1} {segment.name}"
            expected = f"{2 * segment.length} hex digits for {segment.length:#x} bytes"
            if self.at >= len(self.lines):
                self.complain(self.last_line, subject, "the end of the file", expected)
                continue
            line, fields = self.lines[self.at]
            self.at += 1
            digits = "".join(fields)
            if not _all_hex(digits):
                wrong = next(letter for letter in digits if not _all_hex(letter))
                self.complain(line, subject, quoted(wrong), "hex digits")
            elif len(digits) != 2 * segment.length:
                self.complain(line, subject, f"{len(digits)} hex digits", expected)
            else:
                self.segments[number] = Segment(
                    segment.name, segment.start, segment.length, segment.flags, bytes.fromhex(digits), segment.line
                )  # fmt: skip
        if self.at < len(self.lines):
            line, fields = self.lines[self.at]
            self.complain(
                line, "end", quoted(" ".join(fields)), "nothing behind the last segment's data"
            )

    # -- one line each ----------------------------------------------------------------------------

    def fields(self, line: int, part: str, fields: list[str], names: str) -> list[str] | None:
        """Four fields, or more in a relocation; else a complaint."""
        if len(fields) == 4 or (part == "relocation" and len(fields) > 4):
            return fields
        self.complain(line, part, quoted(" ".join(fields)), names)
        return None

    def hex(self, line: int, subject: str, word: str) -> int:
        if not _HEX.match(word) or int(word, 16) >= LIMIT:
            self.complain(line, subject, quoted(word), "a hex number up to ffffffff")
            return 0
        return int(word, 16)

    def number(self, line: int, subject: str, word: str) -> int:
        if not _DECIMAL.match(word):
            self.complain(line, subject, quoted(word), "a number")
            return 0
        return int(word)

    def segment(self, line: int, fields: list[str]) -> None:
        words = self.fields(line, "segment", fields, "name start length flags")
        if words is None:
            self.segments.append(Segment("?", 0, 0, "", b"", line))
            return
        name, start, length, flags = words
        subject = f"segment {name}"
        first = self.hex(line, f"{subject}: start", start)
        size = self.hex(line, f"{subject}: length", length)
        if not flags.isalpha():
            self.complain(line, f"{subject}: flags", quoted(flags), "letters, such as RWP")
        if first + size > LIMIT:
            self.complain(
                line, f"{subject}: end", f"{first + size:x}", "an address up to 100000000"
            )
        self.segments.append(Segment(name, first, size, flags, b"", line))

    def symbol(self, line: int, fields: list[str]) -> None:
        words = self.fields(line, "symbol", fields, "name value segment type")
        if words is None:
            self.symbols.append(Symbol("?", 0, 0, "", line))
            return
        name, value, segment, type_ = words
        subject = f"symbol {name}"
        if ("D" in type_) == ("U" in type_) or not type_.isalpha():
            self.complain(line, f"{subject}: type", quoted(type_), "letters with either D or U")
        address = self.hex(line, f"{subject}: value", value)
        number = self.number(line, f"{subject}: segment", segment)
        self.symbols.append(Symbol(name, address, number, type_, line))

    def relocation(self, line: int, fields: list[str]) -> None:
        words = self.fields(line, "relocation", fields, "loc segment ref type")
        if words is None:
            self.relocations.append(Relocation(0, 0, 0, "", (), line))
            return
        loc, segment, ref, type_, *extra = words
        place = self.hex(line, "relocation: loc", loc)
        number = self.number(line, "relocation: segment", segment)
        other = self.number(line, "relocation: ref", ref)
        self.relocations.append(Relocation(place, number, other, type_, tuple(extra), line))

    # -- what the lines say together --------------------------------------------------------------

    def check_segments(self) -> None:
        """Segments must not overlap, unless the file has not been given addresses: then all start at 0."""
        placed = sorted((s for s in self.segments if s.length), key=lambda s: (s.start, s.end))
        if all(segment.start == 0 for segment in placed):
            return
        for before, after in pairwise(placed):
            if after.start < before.end:
                self.complain(
                    after.line,
                    f"segment {after.name}: start",
                    f"{after.start:x}",
                    f"an address behind {before.name}, which ends at {before.end:x}",
                )

    def check_symbols(self) -> None:
        seen: dict[str, int] = {}
        for symbol in self.symbols:
            subject = f"symbol {symbol.name}"
            if not symbol.type:
                continue
            first = seen.setdefault(symbol.name, symbol.line)
            if first != symbol.line:
                self.complain(
                    symbol.line, subject, "a second entry", f"one; the first is in line {first}"
                )
            if symbol.segment > len(self.segments):
                expected = f"0 to {len(self.segments)}"
                self.complain(symbol.line, f"{subject}: segment", symbol.segment, expected)
                continue
            if not symbol.segment:
                continue
            segment = self.segments[symbol.segment - 1]
            if not symbol.defined:
                self.complain(
                    symbol.line, f"{subject}: segment", symbol.segment, "0, as it is undefined"
                )
            elif not segment.start <= symbol.value <= segment.end:
                expected = f"{segment.start:x} to {segment.end:x}, in {segment.name}"
                self.complain(symbol.line, f"{subject}: value", f"{symbol.value:x}", expected)

    def check_relocations(self) -> None:
        places: list[tuple[int, int, int, int]] = []
        for row in self.relocations:
            if not row.type:
                continue
            if row.type not in BY_NAME:
                expected = f"one of {' '.join(BY_NAME)}"
                self.complain(row.line, "relocation: type", quoted(row.type), expected)
                continue
            width = BY_NAME[row.type].width
            self.check_ref(row)
            if not 1 <= row.segment <= len(self.segments):
                self.complain(
                    row.line, "relocation: segment", row.segment, f"1 to {len(self.segments)}"
                )
                continue
            segment = self.segments[row.segment - 1]
            if not segment.present:
                self.complain(
                    row.line,
                    "relocation: segment",
                    f"{segment.name} {segment.flags}",
                    "one with data (P)",
                )
            elif row.loc + width > segment.length:
                last = segment.length - width
                expected = (
                    f"at most {last:x}" if last >= 0 else f"a segment of {width} bytes or more"
                )
                found = f"{row.loc:x}, {width} bytes in {segment.name} of length {segment.length:x}"
                self.complain(row.line, "relocation: loc", found, expected)
            else:
                places.append((row.segment, row.loc, width, row.line))
        places.sort()
        for (number, loc, width, line), after in pairwise(places):
            if after[0] == number and after[1] < loc + width:
                expected = f"bytes that the relocation in line {line} does not change"
                self.complain(after[3], "relocation: loc", f"{after[1]:x}", expected)

    def check_ref(self, row: Relocation) -> None:
        """The segment or symbol that a type refers to must be there."""
        kind = REFERS[row.type]
        there = len(self.segments if kind == "segment" else self.symbols)
        if kind != "nothing" and not 1 <= row.ref <= there:
            self.complain(
                row.line, f"relocation: ref of {row.type}", row.ref, f"a {kind}, 1 to {there}"
            )


def _all_hex(text: str) -> bool:
    return all(letter in "0123456789abcdefABCDEF" for letter in text)
