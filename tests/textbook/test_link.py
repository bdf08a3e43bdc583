"""The link editor: storage (4), symbols (5), relocation (7), position-independent code (8-3), wrapping, garbage."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtld.errors import NoSpace
from rtld.textbook.complaints import LinkFailure, Malformed
from rtld.textbook.object import Relocation, Segment, Symbol, TextObject
from rtld.textbook.reader import read_file, read_object
from rtld.textbook.wrap import wrap_object
from rtld.textbook.writer import write_object
from textbook.bed import addresses, example, linked, parse, save, text_objects, words

# -- storage: the table of section 4.2 of the book --------------------------------------------------

# fmt: off
CITIES = {
    # name       text    data   bss    where they come to lie: first and last address of each
    "main":     (0x1017, 0x320,  0x50,   "1000-2016 5000-531f 6a4c-6a9b"),
    "calif":    (0x920,  0x217,  0x100,  "2018-2937 5320-5536 6a9c-6b9b"),
    "mass":     (0x615,  0x300,  0x840,  "2938-2f4c 5538-5837 6b9c-73db"),
    "newyork":  (0x1390, 0x1213, 0x1400, "2f50-42df 5838-6a4a 73dc-87db"),
}
# fmt: on


def test_storage_as_in_the_book(tmp_path: Path) -> None:
    paths = []
    for name, (text, data, bss, _) in CITIES.items():
        rows = (".text", text, "RP"), (".data", data, "RWP"), (".bss", bss, "RW")
        parts = [
            Segment(n, 0, size, flags, bytes(size) if "P" in flags else b"")
            for n, size, flags in rows
        ]
        paths.append(save(tmp_path / f"{name}.lk", TextObject(tuple(parts))))
    edit = linked(*paths)
    for one, (*lengths, expected) in zip(edit.inputs, CITIES.values(), strict=True):
        spans = [f"{at:x}-{at + n - 1:x}" for at, n in zip(one.moved, lengths, strict=True)]
        assert " ".join(spans) == expected


def test_common_blocks_are_as_large_as_anybody_wants() -> None:
    edit = linked(example("north"), example("south"))
    bss = edit.output.segment_named(".bss")
    assert bss is not None
    assert bss.length == 4 + 0x24  # 2 bytes of ice, rounded up; table of 24
    assert edit.table["table"].common == 0x24
    assert addresses(edit.output)["table"] == bss.start + 4


def test_a_definition_goes_before_common_blocks(tmp_path: Path) -> None:
    a = save(tmp_path / "a.lk", "LINK\n0 1 0\nx 10 0 U\n")
    b = save(tmp_path / "b.lk", "LINK\n1 1 0\n.data 0 4 RWP\nx 0 1 D\n00000000\n")
    edit = linked(a, b)
    assert [segment.name for segment in edit.output.segments] == [".data"]
    assert addresses(edit.output) == {"x": 0x1000}


def test_segments_of_any_name_in_three_groups() -> None:
    edit = linked(example("north"), example("south"))
    rows = [(s.name, s.start, s.length, s.flags) for s in edit.output.segments]
    assert rows == [
        (".text", 0x1000, 0x10, "RP"),
        (".rodata", 0x1010, 3, "RP"),
        (".data", 0x2000, 0xC, "RWP"),
        (".bss", 0x200C, 0x28, "RW"),
    ]


def test_base_and_room(tmp_path: Path) -> None:
    assert linked(example("sin"), base=0x8048000).output.segments[0].start == 0x8048000
    big = save(tmp_path / "big.lk", "LINK\n1 0 0\n.bss 0 ffffffff RW\n")
    with pytest.raises(NoSpace, match="behind the last 32-bit address"):
        linked(big)
    filled = save(tmp_path / "filled.lk", "LINK\n1 0 0\n.bss 0 20000000 RW\n")
    other = save(tmp_path / "other.lk", "LINK\n1 0 0\n.bss 0 0 RWP\n")
    with pytest.raises(NoSpace, match="bytes of data"):
        linked(filled, other)


# -- symbols ----------------------------------------------------------------------------------------


def test_all_undefined_and_multiply_defined_symbols_are_told() -> None:
    with pytest.raises(LinkFailure) as caught:
        linked(example("north"), example("south"), example("west"))
    names = [(problem.kind, problem.subject) for problem in caught.value.problems]
    assert names == [("multiply defined", "south"), ("undefined", "east"), ("undefined", "gold")]
    west, south = example("west"), example("south")
    assert f"{west}:4: multiply defined symbol: south; first defined at {south}:6" in str(
        caught.value
    )
    assert f"{west}:5: undefined symbol: east" in str(caught.value)


def test_symbols_move_with_their_segments() -> None:
    edit = linked(example("greet"), example("sin"), shared=True)
    assert addresses(edit.output) == {
        "greet": 0x1004,
        "text": 0x2000,
        "sin": 0x100C,
        "sinh": 0x100E,
    }
    assert [user.object.path for user, _ in edit.table["print"].users] == [example("greet")]


def test_malformed_files_are_told_together(tmp_path: Path) -> None:
    a = save(tmp_path / "a.lk", "LINK\n1 0 0\n")
    b = save(tmp_path / "b.lk", "LINK\n1 0 0\n.text 0 1 RP\n0\n")
    with pytest.raises(Malformed) as caught:
        linked(a, example("sin"), b)
    assert [complaint.path for complaint in caught.value.complaints] == [a, b]


def test_an_executable_is_no_input(tmp_path: Path) -> None:
    library = save(tmp_path / "lib", linked(example("add"), shared=True).output)
    program = save(tmp_path / "prog", linked(example("prog"), library).output)
    moved = save(tmp_path / "moved", linked(example("pic"), example("picfunc"), pic=True).output)
    with pytest.raises(
        Malformed, match="prog:1: input: found an executable, expected an object or a library"
    ):
        linked(program)
    with pytest.raises(Malformed, match="found ER4, which an executable has"):
        linked(moved)


# -- relocation -------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["big", "little"])
def test_every_type(order: str) -> None:
    edit = linked(example("place"), example("thing"), order=">" if order == "big" else "<")
    out = edit.output
    assert addresses(out) == {"main": 0x1000, "helper": 0x1018, "limit": 0x2004, "buffer": 0x11E08}
    if order == "big":
        assert words(out, ".text") == [
            "a1a2a3a4",
            "00002000",  # A4 .data
            "00000ffc",  # R4 .bss at 1008
            "0000101c",  # AS4 helper + 4
            "00000ff0",  # RS4 limit at 1010
            "00011e08",  # U2 and L2 of buffer
            "b1b2b3b4",
        ]
    else:
        # The addend 4 stands in the big end of its word, which is 4000000 read from the little end.
        expected = [
            "a4a3a2a1",
            "00002000",
            "00000ffc",
            "04001018",
            "00000ff0",
            "1e080001",
            "b4b3b2b1",
        ]
        assert words(out, ".text", "little") == expected
        assert out.extra == ("little",)
        assert read_file(example("place")).order is None


def test_orders_that_disagree(tmp_path: Path) -> None:
    a = save(tmp_path / "a.lk", "LINK\n0 0 0 little\n")
    b = save(tmp_path / "b.lk", "LINK\n0 0 0 big\n")
    with pytest.raises(LinkFailure, match=r"b\.lk is big-endian, .*a\.lk is little-endian"):
        linked(a, b)
    assert linked(a).order == "<"


WIDTHS = {"A4": 4, "R4": 4, "AS4": 4, "RS4": 4, "U2": 2, "L2": 2, "GA4": 4, "GP4": 4, "GR4": 4}


@settings(max_examples=60)
@given(st.data())
def test_engine_against_the_book_in_plain_integers(data: st.DataObject) -> None:
    """One relocation of each type at random places: the formulas of the book, one by one, by hand."""
    kinds = data.draw(st.permutations(sorted(WIDTHS)))
    order = data.draw(st.sampled_from(["<", ">"]))
    content = data.draw(st.binary(min_size=4 * len(kinds), max_size=4 * len(kinds)))
    start = data.draw(st.sampled_from([0, 0x4000, 0xFFFF0000]))
    symbol = data.draw(st.integers(0, 0x20))
    refs = {"A4": 2, "R4": 2, "GR4": 2, "GA4": 0}
    rows = [Relocation(4 * i, 1, refs.get(kind, 1), kind) for i, kind in enumerate(kinds)]
    # Both segments at 0, or at addresses of their own.
    text = Segment(".text", start and start - 0x1000, len(content), "RP", content)
    thing = TextObject(
        (text, Segment(".data", start, 32, "RWP", bytes(32))),
        (Symbol("var", start + symbol, 2, "D"),),
        tuple(rows),
    )
    with tempfile.TemporaryDirectory() as directory:
        edit = linked(save(Path(directory) / "one.lk", thing), order=order)
    out = edit.output.segments[0].data
    got, var = 0x2000, 0x2004 + symbol
    for row, kind in zip(rows, kinds, strict=True):
        width, word = WIDTHS[kind], "little" if order == "<" else "big"
        raw = int.from_bytes(content[row.loc : row.loc + width], word)  # type: ignore[arg-type]
        place, moved = 0x1000 + row.loc, 0x2004 - start
        value = {
            "A4": raw + moved,
            "R4": raw + moved - (place + 4),
            "AS4": raw + var,
            "RS4": raw + var - (place + 4),
            "U2": (raw * 0x10000 + var) >> 16,
            "L2": raw + var,
            "GA4": got + raw - place,
            "GP4": raw,
            "GR4": raw + moved - got,
        }[kind] % (1 << 8 * width)
        assert int.from_bytes(out[row.loc : row.loc + width], word) == value, kind  # type: ignore[arg-type]


# -- position-independent code ----------------------------------------------------------------------


def test_position_independent_executable() -> None:
    out = linked(example("pic"), example("picfunc"), pic=True).output
    assert [(s.name, s.start) for s in out.segments] == [
        (".text", 0x1000),
        (".got", 0x2000),
        (".data", 0x2008),
        (".bss", 0x2014),
    ]
    assert words(out, ".text")[:4] == ["00001000", "00000000", "00000004", "00000024"]
    assert words(out, ".got") == ["00001014", "00002010"]
    assert out.relocations == (
        Relocation(0, 2, 0, "ER4"),
        Relocation(4, 2, 0, "ER4"),
        Relocation(4, 3, 0, "ER4"),
    )


def test_half_addresses_cannot_move() -> None:
    with pytest.raises(LinkFailure) as caught:
        linked(example("place"), example("thing"), pic=True)
    assert [problem.subject for problem in caught.value.problems] == ["buffer", "buffer"]
    assert "place.lk:14: U2 to buffer: half an address cannot be moved" in str(caught.value)


def test_imports_are_addresses_or_distances(tmp_path: Path) -> None:
    library = save(tmp_path / "lib", linked(example("sin"), shared=True).output)
    user = save(tmp_path / "user.lk", "LINK\n1 1 1\n.text 0 4 RP\nsin 0 0 U\n0 1 1 U2\n00000000\n")
    with pytest.raises(
        LinkFailure, match="U2 to sin, which is imported: only AS4, RS4 and GP4 can be"
    ):
        linked(user, library)


def test_a_distance_to_a_fixed_address_is_left_to_the_binder(tmp_path: Path) -> None:
    fixed = save(tmp_path / "fixed.lk", "LINK\n0 1 0\nrom f000 0 D\n")
    user = save(
        tmp_path / "user.lk",
        "LINK\n1 1 2\n.text 0 8 RP\nrom 0 0 U\n0 1 1 AS4\n4 1 1 RS4\n0000000000000000\n",
    )
    out = linked(user, fixed, pic=True).output
    assert out.relocations == (Relocation(4, 1, 1, "RS4"),)
    assert words(out, ".text") == ["0000f000", "00000000"]
    assert linked(user, fixed).output.relocations == ()


# -- wrapping ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["link editor", "rewriter"])
def test_wrapping(by: str, tmp_path: Path) -> None:
    paths = [example(name) for name in ("user", "alloc", "wrapper")]
    if by == "rewriter":
        paths = [save(tmp_path / Path(p).name, wrap_object(read_file(p), ["alloc"])) for p in paths]
    edit = linked(*paths, wraps=("alloc",) if by == "link editor" else ())
    where = addresses(edit.output)
    assert where == {"main": 0x1000, "wrap_alloc": 0x100C, "real_alloc": 0x1008}
    user, inside, _, wrapper = (words(edit.output, ".text")[i] for i in (0, 1, 2, 4))
    assert int(user, 16) == int(inside, 16) == where["wrap_alloc"]  # also where it is defined
    assert int(wrapper, 16) == where["real_alloc"]


def test_a_module_that_has_the_new_name_already() -> None:
    """A wrapper that calls what it wraps, and a module that calls the real one, have one entry for each name."""
    both = parse("LINK\n1 2 1\n.t 0 4 RP\nwrap_f 0 1 D\nf 0 0 U\n0 1 2 AS4\n00000000")
    assert wrap_object(both, ["f"]) == parse(
        "LINK\n1 1 1\n.t 0 4 RP\nwrap_f 0 1 D\n0 1 1 AS4\n00000000"
    )
    real = parse("LINK\n1 2 1\n.t 0 4 RP\nreal_f 0 0 U\nf 0 1 D\n0 1 1 AS4\n00000000")
    expected = "LINK\n1 2 1\n.t 0 4 RP\nreal_f 0 1 D\nwrap_f 0 0 U\n0 1 1 AS4\n00000000"
    assert wrap_object(real, ["f"]) == parse(expected)
    twice = parse("LINK\n1 2 0\n.t 0 4 RP\nreal_f 0 1 D\nf 2 1 D\n00000000")
    with pytest.raises(
        LinkFailure, match="multiply defined symbol: real_f; first defined in line 4"
    ):
        wrap_object(twice, ["f"])


@given(text_objects(), st.data())
def test_a_wrapped_object_is_an_object(thing: TextObject, data: st.DataObject) -> None:
    names = [symbol.name for symbol in thing.symbols]
    chosen = data.draw(st.lists(st.sampled_from(names), unique=True)) if names else []
    wrapped = wrap_object(thing, chosen)
    assert read_object(write_object(wrapped)) == wrapped
    assert not {symbol.name for symbol in wrapped.symbols} & set(chosen)
    assert wrap_object(wrapped, chosen) == wrapped


def test_a_library_module_is_found_by_its_wrapped_name(tmp_path: Path) -> None:
    from rtld.textbook.library import create_library

    path = str(tmp_path / "lib.a")
    create_library(path, [("alloc", read_file(example("alloc")))])
    edit = linked(example("user"), example("wrapper"), path, wraps=("alloc",))
    assert "real_alloc" in addresses(edit.output)


# -- garbage ----------------------------------------------------------------------------------------


def test_garbage() -> None:
    edit = linked(example("parts"), garbage=True)
    assert [segment.name for segment in edit.output.segments] == [".text1", ".text2", ".data"]
    assert set(addresses(edit.output)) == {"main", "used", "word"}  # and nowhere is not missed
    with pytest.raises(LinkFailure, match="undefined symbol: nowhere"):
        linked(example("parts"))
    with pytest.raises(LinkFailure, match="undefined symbol: nowhere"):
        linked(example("parts"), garbage=True, roots=("main", "pointed"))


def test_without_a_beginning_all_numbered_segments_are_garbage() -> None:
    edit = linked(example("parts"), garbage=True, roots=())
    assert [segment.name for segment in edit.output.segments] == [".data"]


def test_exports_are_no_garbage() -> None:
    edit = linked(example("parts"), garbage=True, shared=True)
    assert not edit.removed
