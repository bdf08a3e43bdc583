"""What the tests of the textbook linker share: the example objects, objects made in a line, Hypothesis strategies."""

from __future__ import annotations

from pathlib import Path

from hypothesis import strategies as st

from rtld.textbook.link import LinkEdit, LinkOptions, link
from rtld.textbook.object import Relocation, Segment, Symbol, TextObject
from rtld.textbook.reader import read_file, read_object
from rtld.textbook.relocs import BY_NAME, REFERS
from rtld.textbook.writer import write_object

DATA = Path(__file__).parent / "data"
OBJECTS = sorted(path for path in DATA.glob("*.lk") if path.name != "bad.lk")


def example(name: str) -> str:
    """The path of an example object."""
    return str(DATA / f"{name}.lk")


def parse(text: str) -> TextObject:
    """An object from its lines, indented as a test is."""
    return read_object("\n".join(line.strip() for line in text.strip().splitlines()), "test.lk")


def save(path: Path, thing: TextObject | str) -> str:
    """Write an object, or text, and say where."""
    path.write_text(thing if isinstance(thing, str) else write_object(thing))
    return str(path)


def linked(*paths: str, **options: object) -> LinkEdit:
    """Link, with LinkOptions by keyword."""
    return link(paths, LinkOptions(**options))  # type: ignore[arg-type]


def words(thing: TextObject, segment: str, order: str = "big") -> list[str]:
    """A segment's data as words in hex."""
    found = thing.segment_named(segment)
    assert found is not None
    parts = [found.data[i : i + 4] for i in range(0, len(found.data), 4)]
    return [f"{int.from_bytes(part, 'big' if order == 'big' else 'little'):08x}" for part in parts]


def addresses(thing: TextObject) -> dict[str, int]:
    """The values of what it defines."""
    return {symbol.name: symbol.value for symbol in thing.exports}


__all__ = ["BY_NAME", "DATA", "OBJECTS", "read_file"]

# -- Hypothesis -------------------------------------------------------------------------------------

_names = st.text("abcdefgXYZ_.$09", min_size=1, max_size=8)
_flags = st.sampled_from(["RP", "RWP", "RW", "R", "RPX", "RWXP"])


@st.composite
def segments(draw: st.DrawFn) -> list[Segment]:
    """Segments one behind the other, or all from 0."""
    at = draw(st.sampled_from([0, 0x1000, 0x7FFF_FFF0]))
    result = []
    for name in draw(st.lists(_names, max_size=4)):
        length, flags = draw(st.integers(0, 40)), draw(_flags)
        data = draw(st.binary(min_size=length, max_size=length)) if "P" in flags else b""
        result.append(Segment(name, at, length, flags, data))
        if at:
            at += length + draw(st.integers(0, 8))
    return result


@st.composite
def text_objects(draw: st.DrawFn) -> TextObject:
    """Any object that the format allows."""
    parts = draw(segments())
    symbols = []
    for name in draw(st.lists(_names, max_size=5, unique=True)):
        if draw(st.booleans()) and parts:
            number = draw(st.integers(1, len(parts)))
            segment = parts[number - 1]
            symbols.append(Symbol(name, draw(st.integers(segment.start, segment.end)), number, "D"))
        else:
            symbols.append(
                Symbol(name, draw(st.integers(0, 2**32 - 1)), 0, draw(st.sampled_from("DU")))
            )
    relocations = []
    for number, segment in enumerate(parts, 1):
        for loc in range(0, segment.length - 3, 4):
            kind = draw(st.sampled_from([None, *BY_NAME]))
            there = (
                {"segment": len(parts), "symbol": len(symbols), "nothing": 1}[REFERS[kind]]
                if kind
                else 0
            )
            if kind is None or not segment.present or not there:
                continue
            extra = tuple(draw(st.lists(_names, max_size=2)))
            relocations.append(Relocation(loc, number, draw(st.integers(1, there)), kind, extra))
    magic = draw(st.sampled_from(["LINK", "LINKLIB"]))
    needed = draw(st.lists(_names, max_size=2))
    words_ = draw(st.lists(st.sampled_from(["little", "more", "7"]), max_size=2, unique=True))
    rows = tuple(parts), tuple(symbols), tuple(relocations)
    return TextObject(*rows, magic, tuple(needed), tuple(words_))
