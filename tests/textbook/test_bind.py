"""The run-time binder (10-2) and what it is given: shared libraries and their users (10-1)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from rtld.core.image import Image
from rtld.core.module import Definition, Module, Namespace, Scope
from rtld.errors import NoSpace, Unsupported
from rtld.events import Record, categories
from rtld.process import textbook as process
from rtld.textbook.bind import address_of, bind, look_up, memory_of
from rtld.textbook.complaints import LinkFailure, Malformed
from rtld.textbook.object import Relocation
from rtld.textbook.reader import read_file
from rtld.textbook.show import BindTrace
from rtld.textbook.space import LowestFirst
from textbook.bed import example, linked, save, words


def memory(ns: Namespace) -> dict[int, str]:
    """Address to bytes in hex, of all segments with data."""
    return {at: data.hex() for module in ns.modules for at, data in memory_of(module)}


def program(tmp_path: Path, name: str, *objects: str, **options: object) -> str:
    """Link examples (names) and libraries (paths) into *name*."""
    paths = [one if "/" in one else example(one) for one in objects]
    return save(tmp_path / name, linked(*paths, **options).output)


@pytest.fixture
def prog(tmp_path: Path) -> str:
    """The program of the worked case and its library, libd."""
    return program(tmp_path, "prog", "prog", program(tmp_path, "libd", "add", shared=True))


def test_what_the_link_editor_leaves(prog: str, tmp_path: Path) -> None:
    library, executable = read_file(str(tmp_path / "libd")), read_file(prog)
    assert library.magic == "LINKLIB"
    assert library.relocations == (Relocation(0, 2, 0, "ER4"), Relocation(0, 3, 0, "ER4"))
    assert (executable.magic, executable.needed) == ("LINK", ("libd",))
    rows = Relocation(0, 1, 2, "RS4"), Relocation(4, 1, 3, "AS4"), Relocation(0, 2, 2, "AS4")
    assert executable.relocations == rows
    assert [(s.name, s.type) for s in executable.symbols] == [
        ("main", "D"),
        ("add", "U"),
        ("counter", "U"),
    ]


def test_bound(prog: str) -> None:
    ns = bind(prog)
    assert ns.problems == []
    assert [module.base for module in ns.modules] == [0, 0x2000]
    assert memory(ns) == {
        0x1000: "00001ffc0000400c00000000",
        0x2000: "00003000",
        0x2004: "11111111",
        0x3000: "addadd0000000000",
        0x4000: "00004004",
        0x4004: "00003004",
    }


def test_it_stands_on_the_nouns_of_core(prog: str) -> None:
    ns = bind(prog)
    assert isinstance(ns, Namespace)
    assert all(
        isinstance(module, Module) and isinstance(module.image, Image) for module in ns.modules
    )
    assert isinstance(ns.global_scope, Scope)
    assert ns.main.needed == [ns.modules[1]]
    assert ns.modules[1].loader is ns.main
    found = look_up(ns, "counter", ns.main.scopes)
    assert isinstance(found, Definition)
    assert address_of(found) == 0x4004
    assert ns.counts[ns.main] == {"RS4": 1, "AS4": 2}


def test_elsewhere(prog: str) -> None:
    ns = bind(prog, at=0x70000)
    assert [module.base for module in ns.modules] == [0x6F000, 0x71000]
    assert memory(ns)[0x71000] == "00072000"
    # The distance is the same.
    assert memory(ns)[0x70000].startswith("00001ffc")


def test_a_library_keeps_its_own_addresses_if_they_are_free(tmp_path: Path) -> None:
    library = program(tmp_path, "libd", "add", shared=True, base=0x9000)
    ns = bind(program(tmp_path, "prog", "prog", library))
    assert [module.base for module in ns.modules] == [0, 0]


def test_libraries_are_loaded_once_and_breadth_first(tmp_path: Path) -> None:
    sin = program(tmp_path, "libsin", "sin", shared=True)
    cos = program(tmp_path, "libcos", "cos", sin, shared=True)
    tan = program(tmp_path, "libtan", "tan", sin, shared=True)
    ns = bind(program(tmp_path, "calc", "calc", cos, tan))
    assert [Path(module.path).name for module in ns.modules] == [
        "calc",
        "libcos",
        "libtan",
        "libsin",
    ]
    assert ns.main.file.needed == ("libcos", "libtan")  # what they need is their business


def test_the_first_definition_is_the_one(tmp_path: Path) -> None:
    plain = program(tmp_path, "libown", "own", shared=True)
    ns = bind(program(tmp_path, "geometry", "geometry", plain))
    assert memory(ns)[0x2000] == "00000004" + "00000000" + "fffffffc"  # its own square
    open_ = program(tmp_path, "libown", "own", shared=True, interpose=True)
    ns = bind(program(tmp_path, "geometry", "geometry", open_))
    assert memory(ns)[0x2000] == "fffff000" + "ffffeffc" + "ffffeff8"  # the program's square
    assert [(b.module.index, b.definition.module.index) for b in ns.bindings] == [(0, 1), (1, 0)]


def test_what_is_not_there(tmp_path: Path, prog: str) -> None:
    program(tmp_path, "libd", "sin", shared=True)
    ns = bind(prog)
    assert [problem.message for problem in ns.problems] == [
        f"{prog}: undefined symbol: add",
        f"{prog}: undefined symbol: counter",
    ]
    assert memory(ns)[0x1000] == "000000000000000800000000"  # as it was in the file
    (tmp_path / "libd").unlink()
    ns = bind(prog)
    assert [problem.kind for problem in ns.problems] == ["library", "symbol", "symbol"]
    assert f"library libd not found; tried {tmp_path}/libd" in ns.problems[0].message
    assert ns.main.missing == ["libd"]


def test_where_libraries_are_looked_for(tmp_path: Path, prog: str) -> None:
    other = tmp_path / "other"
    other.mkdir()
    program(other, "libd", "add", shared=True)
    ns = bind(prog, [str(other)])
    assert ns.modules[1].path == str(other / "libd")
    assert ns.modules[1].found.rule == "library path"


def test_objects_are_linked_first(tmp_path: Path) -> None:
    with pytest.raises(Malformed) as caught:
        bind(example("place"))
    text = str(caught.value)
    assert "relocation: type: found A4, expected AS4, ER4, RS4: link it first" in text
    assert "segments: found the same addresses in several" in text
    common = save(tmp_path / "common", "LINK\n0 1 0\nx 10 0 U\n")
    with pytest.raises(Malformed, match="found a common block"):
        bind(common)


def test_what_cannot_be_moved(tmp_path: Path) -> None:
    fixed = program(tmp_path, "fixed", "calc", "cos", "sin")
    assert bind(fixed).main.base == 0
    with pytest.raises(
        NoSpace, match="has no ER4 relocations and must be at 1000; link it with --pic"
    ):
        bind(fixed, at=0x5000)


def test_orders(tmp_path: Path) -> None:
    little = program(tmp_path, "libd", "add", shared=True, order="<")
    prog = program(tmp_path, "prog", "prog", little)
    assert read_file(prog).order == "<"
    ns = bind(prog)
    assert memory(ns)[0x4000] == "04400000"
    big = read_file(program(tmp_path, "libd", "add", shared=True))
    save(
        tmp_path / "libd",
        type(big)(big.segments, big.symbols, big.relocations, "LINKLIB", (), ("big",)),
    )
    with pytest.raises(LinkFailure, match=r"libd is big-endian, .*prog is little-endian"):
        bind(prog)


def test_reporter(prog: str) -> None:
    record = Record()
    bind(prog, reporter=record)
    assert [values[2] for values in record.of("bound")] == ["add", "counter"]
    assert [name for name, *_ in record.of("pass_done")] == [
        "load",
        "reserve",
        "images",
        "resolve",
        "relocate",
    ]
    sink = io.StringIO()
    bind(prog, reporter=BindTrace(categories("all"), sink, lambda: 7))
    assert (
        f"         7:\tbinding file {prog} [0] to {Path(prog).parent}/libd [0]: normal symbol `add'\n"
        in sink.getvalue()
    )
    assert "  base: 0x00002000  size: 0x00001008\n" in sink.getvalue()


def test_lowest_first() -> None:
    space = LowestFirst()
    assert space.reserve(0x1800, 0x1000) == 0x1000
    assert space.reserve(0x10, 0x1000, 0x5000) == 0x5000
    assert space.reserve(0x2000, 0x1000) == 0x3000
    assert space.reserve(0x1, 0x1000) == 0x6000
    for size, at in ((0x10, 0x2FF0), (0x10, 0x5000), (0x1001, 0x4000), (0x10, 0)):
        with pytest.raises(NoSpace, match="is not free"):
            space.reserve(size, 0x1000, at)
    with pytest.raises(NoSpace, match="of 32-bit addresses are free"):
        space.reserve(1 << 32, 0x1000)


# -- running ----------------------------------------------------------------------------------------


class Machine(LowestFirst):
    """A back end that keeps what it is given."""

    def __init__(self) -> None:
        super().__init__(0x20000)
        self.committed: list[Any] = []
        self.protected: list[tuple[int, int, int]] = []
        self.started: tuple[int, int] | None = None

    def commit(self, image: Any) -> None:
        self.committed.append((image.base + image.low, image.bytes.tobytes()))

    def protect(self, start: int, size: int, rights: int) -> None:
        self.protected.append((start, size, rights))

    def start(self, entry: int, sp: int) -> int:
        self.started = entry, sp
        return 42

    def unknown_calls(self) -> dict[str, int]:
        return {}


def test_a_machine_can_be_plugged_in(tmp_path: Path) -> None:
    library = program(tmp_path, "libd", "add", shared=True, order="<")
    machine = Machine()
    assert process.run(program(tmp_path, "prog", "prog", library, order="<"), machine=machine) == 42
    assert [at for at, _ in machine.committed] == [0x20000, 0x22000]
    entry, sp = machine.started or (0, 0)
    assert entry == 0x20000
    assert 0x24000 < sp < 0x24000 + process.STACK
    assert machine.committed[0][1][:4] == b"\xfc\x1f\0\0"
    assert machine.protected[:2] == [(0x20000, 0x1000, 5), (0x21000, 0x1000, 3)]


def test_without_a_machine_one_sentence_says_so(prog: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "BACKEND", "rtld.backends.not_there")
    with pytest.raises(
        Unsupported, match=r"needs the emulated i386 CPU, which this rtld does not have; .*--elf"
    ):
        process.run(prog)


def test_only_what_is_bound_is_run(tmp_path: Path) -> None:
    library = program(tmp_path, "libd", "add", shared=True)
    prog = program(tmp_path, "prog", "prog", library)
    program(tmp_path, "libd", "sin", shared=True)
    with pytest.raises(LinkFailure, match="undefined symbol: add"):
        process.run(prog, machine=Machine())
    big = save(
        tmp_path / "big",
        read_file(program(tmp_path, "main", "calc", "cos", "sin", pic=True, base=0x20000)),
    )
    assert words(read_file(big), ".text")[0] == "12121212"
    save(tmp_path / "big", Path(big).read_text().replace("1 4 0", "1 4 0 big"))
    with pytest.raises(Unsupported, match="is big-endian; the i386 is little-endian"):
        process.run(big, machine=Machine())
