"""Project 3-1: reading, writing, and what is said about bad objects."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtld.errors import FormatError, RtldError
from rtld.textbook.complaints import Malformed
from rtld.textbook.object import Segment, TextObject
from rtld.textbook.reader import read_file, read_object
from rtld.textbook.writer import write_object
from textbook.bed import DATA, OBJECTS, parse, text_objects


@pytest.mark.parametrize("path", OBJECTS, ids=lambda path: path.stem)
def test_what_is_written_says_the_same(path: Path) -> None:
    thing = read_file(str(path))
    text = write_object(thing)
    assert read_object(text) == thing
    assert write_object(read_object(text)) == text


@given(text_objects())
def test_round_trip(thing: TextObject) -> None:
    assert read_object(write_object(thing)) == thing


@given(text_objects(), st.data())
def test_layout_of_lines_means_nothing(thing: TextObject, data: st.DataObject) -> None:
    """Comments, blank lines, blanks between fields and bytes, upper case of hex."""
    lines = write_object(thing).splitlines()
    first_data = len(lines) - sum(1 for s in thing.segments if s.present and s.length)
    loose = []
    for number, line in enumerate(lines):
        loose += data.draw(st.sampled_from([[], [""], ["# LINK 1 2"], ["   "]])) if number else []
        if number >= first_data:
            line = " ".join(line[i : i + 2].upper() for i in range(0, len(line), 2))
        loose.append("  " + line.replace(" ", "   "))
    assert read_object("\n".join(loose)) == thing


def test_empty_data_may_stand_or_not() -> None:
    with_line = parse("LINK\n2 0 0\n.text 0 0 RP\n.data 0 1 RWP\n\n01")
    without = parse("LINK\n2 0 0\n.text 0 0 RP\n.data 0 1 RWP\n01")
    assert with_line == without
    assert without.segments[1] == Segment(".data", 0, 1, "RWP", b"\1")


def test_bytes_that_look_like_a_relocation() -> None:
    assert parse("LINK\n1 0 0\n.text 0 4 RP\n01 02 03 A4").segments[0].data.hex() == "010203a4"


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(Malformed) as caught:
        read_file(str(DATA / "bad.lk"))
    complaints = caught.value.complaints
    assert [complaint.line for complaint in complaints] == [2, 2, 2, 4, 5, 7, 8, 9, 10, 11, 12, 13]
    assert len(str(caught.value).splitlines()) == 12
    assert isinstance(caught.value, FormatError)


# fmt: off
BAD = [
    # what                      text                                                  line and words of the complaint
    ("nothing",                 "",                                                   "1: magic: found the end of the file, expected LINK or LINKLIB"),
    ("no magic",                "LIMK\n0 0 0",                                        "1: magic: found 'LIMK', expected LINK or LINKLIB"),
    ("no counts",               "LINK",                                               "1: counts: found the end of the file"),
    ("two counts",              "LINK\n1 0\n.text 0 0 RP",                            "2: counts: found '1 0', expected three decimal numbers"),
    ("counts in hex",           "LINK\na 0 0",                                        "2: counts: found 'a 0 0', expected three decimal numbers"),
    ("counts forgotten",        "LINK\n.text 0 zz RP",                                "2: counts: found '.text 0 zz RP', expected three decimal numbers"),
    ("fewer segments",          "LINK\n2 0 0\n.text 0 0 RP",                          "2: number of segments: found 2 announced, expected the 1 that follow"),
    ("more segments",           "LINK\n1 0 0\n.text 0 0 RP\n.data 0 0 RWP",           "2: number of segments: found 1 announced, expected the 2 that follow"),
    ("fewer symbols",           "LINK\n1 2 1\n.t 0 4 RP\na 0 1 D\n0 1 1 AS4\n00000000", "2: number of symbols: found 2 announced, expected the 1 that follow"),
    ("more symbols",            "LINK\n0 1 0\na 0 0 U\nb 0 0 U",                      "2: number of symbols: found 1 announced, expected the 2 that follow"),
    ("fewer relocations",       "LINK\n1 0 2\n.t 0 4 RP\n0 1 1 A4\n00000000",         "2: number of relocations: found 2 announced, expected the 1 that follow"),
    ("more relocations",        "LINK\n1 0 0\n.t 0 8 RP\n0 1 1 A4\n0000000000000000", "2: number of relocations: found 0 announced, expected the 1 that follow"),
    ("no data",                 "LINK\n1 0 0\n.text 0 4 RP",                          "3: data of segment 1 .text: found the end of the file, expected 8 hex digits"),
    ("data too short",          "LINK\n1 0 0\n.text 0 4 RP\n0000",                    "4: data of segment 1 .text: found 4 hex digits, expected 8 hex digits for 0x4 bytes"),
    ("an odd digit",            "LINK\n1 0 0\n.text 0 2 RP\n012",                     "4: data of segment 1 .text: found 3 hex digits, expected 4"),
    ("no digit",                "LINK\n1 0 0\n.text 0 2 RP\n01x2",                    "4: data of segment 1 .text: found 'x', expected hex digits"),
    ("more data",               "LINK\n1 0 0\n.text 0 1 RP\n01\n02",                  "5: end: found '02', expected nothing behind"),
    ("odd hex in a length",     "LINK\n1 0 0\n.text 0 0x4 RW",                        "3: segment .text: length: found '0x4', expected a hex number"),
    ("an address too large",    "LINK\n1 0 0\n.text 100000000 0 RW",                  "3: segment .text: start: found '100000000', expected a hex number up to ffffffff"),
    ("an end too large",        "LINK\n1 0 0\n.text ffffffff 2 RW",                   "3: segment .text: end: found 100000001"),
    ("flags",                   "LINK\n1 0 0\n.text 0 0 4",                           "3: segment .text: flags: found '4', expected letters"),
    ("a field too few",         "LINK\n1 0 0\n.text 0 RW",                            "3: segment: found '.text 0 RW', expected name start length flags"),
    ("overlap",                 "LINK\n2 0 0\n.a 10 10 RW\n.b 18 10 RW",              "4: segment .b: start: found 18, expected an address behind .a, which ends at 20"),
    ("neither D nor U",         "LINK\n0 1 0\na 0 0 X",                               "3: symbol a: type: found 'X', expected letters with either D or U"),
    ("D and U",                 "LINK\n0 1 0\na 0 0 DU",                              "3: symbol a: type: found 'DU'"),
    ("a segment that is not",   "LINK\n0 1 0\na 0 3 D",                               "3: symbol a: segment: found 3, expected 0 to 0"),
    ("undefined in a segment",  "LINK\n1 1 0\n.a 0 4 RW\na 0 1 U",                    "4: symbol a: segment: found 1, expected 0"),
    ("outside its segment",     "LINK\n1 1 0\n.a 0 4 RW\na 5 1 D",                    "4: symbol a: value: found 5, expected 0 to 4"),
    ("twice in a file",         "LINK\n0 2 0\na 1 0 D\na 2 0 D",                      "4: symbol a: found a second entry, expected one; the first is in line 3"),
    ("an unknown type",         "LINK\n1 0 1\n.a 0 4 RP\n0 1 1 B4\n00000000",         "4: relocation: type: found 'B4', expected one of A4 R4"),
    ("relocation outside",      "LINK\n1 0 1\n.a 0 4 RP\n1 1 1 A4\n00000000",         "4: relocation: loc: found 1, 4 bytes in .a of length 4, expected at most 0"),
    ("relocation of no data",   "LINK\n1 0 1\n.a 0 4 RW\n0 1 1 A4",                   "4: relocation: segment: found .a RW, expected one with data (P)"),
    ("relocation of nothing",   "LINK\n1 0 1\n.a 0 4 RP\n0 2 1 A4\n00000000",         "4: relocation: segment: found 2, expected 1 to 1"),
    ("ref to no segment",       "LINK\n1 0 1\n.a 0 4 RP\n0 1 2 A4\n00000000",         "4: relocation: ref of A4: found 2, expected a segment, 1 to 1"),
    ("ref to no symbol",        "LINK\n1 0 1\n.a 0 4 RP\n0 1 1 AS4\n00000000",        "4: relocation: ref of AS4: found 1, expected a symbol, 1 to 0"),
    ("places that overlap",     "LINK\n1 0 2\n.a 0 6 RP\n0 1 1 A4\n2 1 1 A4\n000000000000", "5: relocation: loc: found 2, expected bytes that the relocation in line 4 does not change"),
]
# fmt: on


@pytest.mark.parametrize(("text", "message"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_complaint(text: str, message: str) -> None:
    with pytest.raises(Malformed) as caught:
        read_object(text, "a.lk")
    assert f"a.lk:{message}" in str(caught.value)


def test_one_wrong_count_is_one_complaint() -> None:
    text = "LINK\n1 3 1\n.t 0 4 RP\na 0 1 D\nb 4 1 D\n0 1 1 AS4\n00000000"
    with pytest.raises(Malformed) as caught:
        read_object(text)
    assert len(caught.value.complaints) == 1


def test_not_text(tmp_path: Path) -> None:
    path = tmp_path / "x.lk"
    path.write_bytes(b"LINK\n\xff")
    with pytest.raises(Malformed, match="2: text: found the byte 0xff, expected ASCII"):
        read_file(str(path))


def test_a_name_that_cannot_be_written() -> None:
    with pytest.raises(RtldError, match="cannot be written"):
        write_object(TextObject((Segment("two words", 0, 0, "RW"),)))


@pytest.mark.fuzz
@given(st.sampled_from(OBJECTS), st.data())
def test_mutated_objects_do_no_worse_than_format_error(path: Path, data: st.DataObject) -> None:
    text = path.read_text()
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        length = data.draw(st.sampled_from([0, 1, 1, 5, 40]))
        text = (
            text[:at] + data.draw(st.text(" \n09afgLRPWDU#AS4", max_size=4)) + text[at + length :]
        )
    try:
        thing = read_object(text)
    except FormatError:
        return
    assert read_object(write_object(thing)) == thing
