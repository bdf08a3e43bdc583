"""Damaged programs and libraries: the binder and the link editor say no with an error of ours, or do their work."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtld.errors import RtldError
from rtld.textbook.bind import bind
from rtld.textbook.library import create_library, read_library
from rtld.textbook.reader import read_file, read_object
from rtld.textbook.show import bound_lines, dump_lines, library_lines, map_lines
from rtld.textbook.writer import write_object
from textbook.bed import example, linked

pytestmark = pytest.mark.fuzz
PIECES = [
    "",
    "0",
    "1",
    "f",
    "ffffffff",
    " ",
    "\n",
    "#",
    "U",
    "D",
    "RW",
    "AS4",
    "ER4",
    "LINKLIB",
    "little",
    "LIBRARY",
]


@st.composite
def mutants(draw: st.DrawFn, text: str) -> str:
    """The text with a few of its parts replaced."""
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from(PIECES)) + text[at + draw(st.integers(0, 6)) :]
    return text


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_bind(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        library, prog = directory / "libadd", directory / "prog"
        library.write_text(write_object(linked(example("add"), shared=True).output))
        prog.write_text(write_object(linked(example("prog"), str(library)).output))
        for path in (library, prog):
            if data.draw(st.booleans()):
                path.write_text(data.draw(mutants(path.read_text())))
        try:
            ns = bind(str(prog))
        except RtldError:
            return
        assert bound_lines(ns) + dump_lines(ns)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_link_and_library(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        paths = [directory / f"{one}.lk" for one in ("calc", "pic", "picfunc")]
        for path in paths:
            text = Path(example(path.stem)).read_text()
            path.write_text(data.draw(mutants(text)) if data.draw(st.booleans()) else text)
        library = directory / "lib"
        create_library(str(library), [(one, read_file(example(one))) for one in ("sin", "cos")])
        if data.draw(st.booleans()):
            library.write_text(data.draw(mutants(library.read_text())))
        try:
            assert library_lines(read_library(str(library)))
            edit = linked(*map(str, paths), str(library), pic=data.draw(st.booleans()))
        except (RtldError, FileNotFoundError):
            return
        assert map_lines(edit)
        assert read_object(write_object(edit.output)) == edit.output
