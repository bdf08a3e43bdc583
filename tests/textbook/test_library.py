"""Libraries (6) in all formats, and static shared libraries (9-1, 9-2)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rtld.errors import NoSpace, Unsupported
from rtld.textbook.bind import bind, memory_of, static_libraries
from rtld.textbook.complaints import LinkFailure, Malformed
from rtld.textbook.library import FORMATS, create_library, read_library
from rtld.textbook.link import LinkOptions
from rtld.textbook.reader import read_file
from rtld.textbook.static_shared import make_static_shared, write_stub
from textbook.bed import addresses, example, linked, save

NAMES = ("sin", "cos", "tan")


def library(tmp_path: Path, format: str, *names: str, called: str = "lib") -> str:
    """A library of examples."""
    path = str(tmp_path / called)
    create_library(
        path, [(f"{name}.lk", read_file(example(name))) for name in names or NAMES], format
    )
    return path


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_written_is_read(format: str, tmp_path: Path) -> None:
    made = read_library(library(tmp_path, format))
    assert made.format == format
    exports = {member.symbols[0]: (member.symbols, member.object) for member in made.members}
    assert exports == {
        name: (tuple(symbol.name for symbol in thing.exports), thing)
        for name, thing in ((name, read_file(example(name))) for name in NAMES)
    }


def test_what_the_formats_look_like(tmp_path: Path) -> None:
    one = Path(library(tmp_path, "file")).read_text()
    word, count, at = one.split("\n")[0].split(" ")
    assert (word, count, len(at)) == ("LIBRARY", "0003", 6)
    rows = [line.split(" ") for line in one[int(at, 16) :].splitlines()]
    assert [names for _, _, *names in rows] == [["sin", "sinh"], ["cos"], ["tan"]]
    for offset, length, *_ in rows:
        member = one[int(offset, 16) :][: int(length, 16)]
        assert member.startswith("LINK\n1 ")
        assert member.endswith("\n")
    links = Path(library(tmp_path, "directory", called="links"))
    assert sorted(os.listdir(links)) == ["cos", "sin", "sinh", "tan"]
    assert (links / "sin").samefile(links / "sinh")
    mapped = Path(library(tmp_path, "map", called="mapped"))
    assert (mapped / "MAP").read_text() == "sin.lk sin sinh\ncos.lk cos\ntan.lk tan\n"


@pytest.mark.parametrize("format", FORMATS)
def test_only_what_is_wanted_is_taken(format: str, tmp_path: Path) -> None:
    """cos needs sin, which stands before it: the library is gone through again."""
    edit = linked(example("calc"), library(tmp_path, format))
    assert set(addresses(edit.output)) == {"main", "cos", "sin", "sinh"}


def test_two_libraries_that_need_each_other(tmp_path: Path) -> None:
    a = library(tmp_path, "file", "cos", called="a")
    b = library(tmp_path, "map", "sin", "tan", called="b")
    user = save(tmp_path / "u.lk", "LINK\n0 1 0\ntan 0 0 U\n")
    back = "LINK\n1 2 1\n.text 0 4 RP\ntan 0 1 D\ncos 0 0 U\n0 1 2 AS4\n00000000\n"
    (tmp_path / "b" / "tan.lk").write_text(back)
    assert set(addresses(linked(user, a, b).output)) == {"tan", "cos", "sin", "sinh"}


def test_a_common_block_is_no_reason(tmp_path: Path) -> None:
    common = save(tmp_path / "c.lk", "LINK\n0 1 0\nsin 10 0 U\n")
    assert set(addresses(linked(common, library(tmp_path, "file")).output)) == {"sin"}


def test_what_cannot_be_a_library(tmp_path: Path) -> None:
    nameless = read_file(save(tmp_path / "n.lk", "LINK\n0 0 0\n"))
    with pytest.raises(Unsupported, match=r"n\.lk exports no symbol"):
        create_library(str(tmp_path / "d"), [("n.lk", nameless)], "directory")
    sin = read_file(example("sin"))
    with pytest.raises(Unsupported, match="is there already"):
        create_library(str(tmp_path / "d"), [("a", sin), ("b", sin)], "directory")
    with pytest.raises(Unsupported, match=r"two modules of .* would be named a"):
        create_library(str(tmp_path / "m"), [("a", sin), ("a", sin)], "map")


# fmt: off
BAD = [
    ("no header",       "LIBRARY x y\n",                       "1: magic: found 'LIBRARY x y', expected LIBRARY nnnn pppppp"),
    ("too many",        "LIBRARY 0002 000014\n",               "1: number of modules: found 2, expected the 0 lines of the directory"),
    ("outside",         "LIBRARY 0001 000014\n14 5 sin\n",     "2: directory: found 14 5, expected offset and length of a part before the directory at 14"),
    ("no numbers",      "LIBRARY 0001 000014\nx y\n",          "2: directory: found 'x y', expected offset length symbol"),
    ("not an object",   "LIBRARY 0001 000019\nLIMK\n14 5 a\n", "2: magic: found 'LIMK', expected LINK or LINKLIB"),
    ("no definition",   "LIBRARY 0001 00001f\nLINK\n0 0 0\n14 b sin\n", "4: module 1: found no definition of sin, expected what the directory says"),
]
# fmt: on


@pytest.mark.parametrize(("text", "message"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_complaint(text: str, message: str, tmp_path: Path) -> None:
    path = save(tmp_path / "bad", text)
    with pytest.raises(Malformed) as caught:
        read_library(path)
    assert f"{path}:{message.format(path)}" in str(caught.value)


def test_all_complaints_of_a_directory(tmp_path: Path) -> None:
    path = Path(library(tmp_path, "map"))
    (path / "sin.lk").write_text("LINK\n1 0 0\n")
    (path / "MAP").write_text("# the modules\nsin.lk sin\n../cos.lk cos\ntan.lk tan cot\n")
    with pytest.raises(Malformed) as caught:
        read_library(str(path))
    text = str(caught.value)
    assert "sin.lk:2: number of segments" in text
    assert "MAP:3: module: found '../cos.lk', expected a file in" in text
    assert "MAP:4: module tan.lk: found no definition of cot" in text


# -- static shared libraries ------------------------------------------------------------------------


def make(tmp_path: Path, name: str, source: str, base: int, format: str, *stubs: str) -> str:
    """A static shared library *name* and its stub library; the path of the latter."""
    edit, modules = make_static_shared(source, stubs, LinkOptions(base=base))
    save(tmp_path / name, edit.output)
    stub = str(tmp_path / f"{name}.stub")
    write_stub(stub, modules, format, name, edit)
    return stub


@pytest.mark.parametrize("format", FORMATS)
def test_static_shared_library(format: str, tmp_path: Path) -> None:
    stub = make(tmp_path, "libm", library(tmp_path, format), 0x8000, format)
    shared = read_file(str(tmp_path / "libm"))
    assert shared.relocations == ()
    assert {symbol.segment for symbol in shared.symbols} == {0}
    where = addresses(shared)
    assert set(where) == {"sin", "sinh", "cos", "tan"}
    made = read_library(stub)
    assert (made.stands_for, made.needed) == ("libm", ())
    for member in made.members:
        assert member.object.segments == ()
        assert all(where[symbol.name] == symbol.value for symbol in member.object.exports)

    # 9-2: an executable that uses it has its addresses, none of its contents, and its name.
    edit = linked(example("calc"), stub)
    out = edit.output
    assert [segment.name for segment in out.segments] == [".text", ".lib"]
    assert out.segments[1].data == b"libm\0\0"
    assert addresses(out)["_SHARED_LIBRARIES"] == out.segments[1].start
    assert static_libraries(out) == ["libm"]
    program = save(tmp_path / "prog", out)
    ns = bind(program)
    assert [module.base for module in ns.modules] == [0, 0]
    call = dict(memory_of(ns.main))[0x1000][4:]
    assert 0x1008 + int.from_bytes(call, "big") == where["cos"]


def test_a_static_shared_library_that_needs_another(tmp_path: Path) -> None:
    sin = make(tmp_path, "libsin", library(tmp_path, "file", "sin", called="s"), 0x8000, "file")
    cos = make(
        tmp_path, "libcos", library(tmp_path, "file", "cos", called="c"), 0x9000, "directory", sin
    )
    assert (Path(cos) / "LIBRARY NAME").read_text() == "libcos\nlibsin\n"
    assert Path(sin).read_text().splitlines()[0].endswith(" libsin")
    assert set(addresses(read_file(str(tmp_path / "libcos")))) == {"cos"}
    out = linked(example("calc"), cos, sin).output
    assert static_libraries(out) == ["libcos", "libsin"]
    with pytest.raises(LinkFailure, match="undefined symbol: sin"):
        linked(example("calc"), cos)


def test_static_shared_libraries_cannot_be_moved(tmp_path: Path) -> None:
    stub = make(tmp_path, "libm", library(tmp_path, "file"), 0x1000, "file")
    program = save(tmp_path / "prog", linked(example("calc"), stub).output)
    with pytest.raises(NoSpace, match=r"1000 to .* is not free"):
        bind(program)
