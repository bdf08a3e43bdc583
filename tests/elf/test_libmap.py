"""FreeBSD's libmap.conf: one sentence of libmap.conf(5), rtld(1) or of libexec/rtld-elf/libmap.c a test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from elf.search_bed import Bed
from elf.test_search_models import find, found
from rtld.elf.libmap import LibMap
from rtld.errors import NotFound


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    return Bed(tmp_path)


def libmap(files: dict[str, str], override: str | None = None) -> LibMap:
    """What is said by these files."""

    def names(directory: str) -> list[str]:
        rows = [p.rpartition("/")[2] for p in files if p.rpartition("/")[0] == directory]
        if not rows:
            raise FileNotFoundError(directory)
        return rows

    def identity(path: str) -> object:
        if path not in files:
            raise FileNotFoundError(path)
        return files[path] if files[path].startswith("same") else path, 0

    return LibMap(override, lambda path: os.fsencode(files[path]), names, identity)


CONF = "/etc/libmap.conf"


def answers(
    text: str, *questions: tuple[str, str], override: str | None = None
) -> list[str | None]:
    rules = libmap({CONF: text}, override)
    return [rules.find(program, name) for program, name in questions]


def test_for_everybody() -> None:
    text = "# comment\n\nliba.so.1\tlibb.so.2 # instead\n  libc.so   /opt/libc.so\r\n"
    asked = ("/bin/p", "liba.so.1"), ("/bin/p", "libc.so"), ("/bin/p", "libb.so.2"), ("", "libc.so")
    assert answers(text, *asked) == ["libb.so.2", "/opt/libc.so", None, "/opt/libc.so"]


@pytest.mark.parametrize(
    ("line", "to"),
    [
        ("a", None), ("a b c", None), ("a #b", None), ("a b#c", "b"), ("a b \t", "b"), (" a\tb", "b"), ("a\0 b", None),
        ("a b\0c", "b"), ("[x] a b", None), ("a\vb", None),
    ],
)  # fmt: skip
def test_lines(line: str, to: str | None) -> None:
    """Two words, nothing more; what is no such line is passed over."""
    assert answers(line, ("/bin/p", "a")) == [to]


def test_long_lines() -> None:
    """1036 bytes of a line are read, the rest is dropped."""
    assert answers("a " + "b" * 3000 + "\nc d", ("", "a"), ("", "c")) == ["b" * 1034, "d"]


def test_constraints() -> None:
    """A path, a directory, a last component; the first list that fits is the only one."""
    text = """
        a all
        [/usr/bin/one]
        a exact
        [ two ]
        a base
        [/opt/]
        a directory
        b directory
    """
    asked = "/usr/bin/one", "/usr/bin/two", "/home/two", "/opt/x/two", "/opt/three", "/bin/four"
    for program, answer in zip(
        asked, ["exact", "base", "base", "directory", "directory", "all"], strict=True
    ):
        assert answers(text, (program, "a")) == [answer], program
    # What is in no list of the program's own is looked for in that of all.
    assert answers(text, ("/usr/bin/one", "b")) == [None]


@pytest.mark.parametrize(
    "bad", ["[two", "[]", "[ ]", "[two] x", "[two three]", "[" + "t" * 1024 + "]"]
)
def test_selectors_that_are_none(bad: str) -> None:
    """They change nothing: what follows is still for whom it was before."""
    assert answers(f"[one]\n{bad}\na b", ("/bin/one", "a"), ("/bin/two", "c")) == ["b", None]
    assert answers(f"[one]\n{bad}\na b", ("/bin/two", "a")) == [None]


def test_used_once_for_all() -> None:
    """What was meant for one program holds for all libraries of the process once it was used (lm_find)."""
    asked = ("/lib/libx.so", "a"), ("/bin/one", "a"), ("/lib/libx.so", "a")
    assert answers("[one]\na b", *asked) == [None, "b", "b"]


def test_in_the_directory_list() -> None:
    """A selector that a directory's list fits is put there (lm_add asks lmp_find)."""
    assert answers("[/opt/]\na b\n[/opt/p]\na c", ("/opt/q", "a")) == ["c"]


def test_later_goes_before() -> None:
    assert answers("a b\na c", ("", "a")) == ["c"]
    assert answers("a b\na c", ("", "a"), override="a=d,b=e") == ["d"]
    assert answers("", ("", "b"), ("/x/p", "c"), override="a=d,b=e,[p],c=f") == ["e", "f"]


def test_includes() -> None:
    files = {
        CONF: "a before\ninclude /etc/more\na after\nincludedir /conf.d\nd end",
        "/etc/more": "a more\n[one]\nb more\ninclude /etc/libmap.conf\ninclude /nowhere",
        "/conf.d/2.conf": "c two\nd two",
        "/conf.d/1.conf": "c one\nincludedir /conf.d",
        "/conf.d/3.txt": "c three",
    }
    rules = libmap(files)
    assert [rules.find("", name) for name in "abcd"] == ["after", None, "two", "end"]
    assert rules.find("/bin/one", "b") == "more"


def test_includes_without_end() -> None:
    """A chain of any length is no deep recursion, and every file is read once."""
    files = {CONF: "include /1"} | {f"/{n}": f"x{n} y\ninclude /{n + 1}" for n in range(1, 9000)}
    rules = libmap(files)
    assert rules.find("", "x1000") == "y"
    assert rules.find("", "x8999") is None
    files = {
        CONF: "include /a\ninclude /a",
        "/a": "same a b\ninclude /b",
        "/b": "same a b\ninclude /b",
    }
    assert not libmap(files)


def test_in_a_search(bed: Bed) -> None:
    """DT_NEEDED of the program and of libraries; paths; LD_LIBMAP_DISABLE; not LD_PRELOAD, nothing in secure mode."""
    for name in ("sys/libold.so", "sys/libnew.so", "sys/libmore.so", "away/libaway.so"):
        bed.lib(name)
    main = bed.main("libold.so")
    assert found(main, "freebsd") == ["sys/libold.so"]
    env = {"LD_LIBMAP": "libold.so=libnew.so"}
    assert found(main, "freebsd", env=env) == ["sys/libnew.so"]
    assert found(main, "glibc", env={**env, "LD_LIBRARY_PATH": str(bed.place / "sys")}) == [
        "sys/libold.so"
    ]
    assert found(main, "freebsd", env={**env, "LD_LIBMAP_DISABLE": ""}) == ["sys/libold.so"]
    assert found(main, "freebsd", env=env, secure=True) == ["sys/libold.so"]
    env = {"LD_LIBMAP": f"libold.so={bed.place}/away/libaway.so"}
    assert found(main, "freebsd", env=env) == ["away/libaway.so"]
    env = {"LD_LIBMAP": f"[{main.name}],libold.so=libmore.so"}
    assert found(main, "freebsd", env=env) == ["sys/libmore.so"]
    env = {"LD_LIBMAP": "[another],libold.so=libmore.so"}
    assert found(main, "freebsd", env=env) == ["sys/libold.so"]
    env = {"LD_PRELOAD": "libold.so", "LD_LIBMAP": "libold.so=libnew.so"}
    env["LD_LIBRARY_PATH"] = str(bed.place / "sys")
    env_of_nobody, env = env, {"LD_LIBMAP": "libold.so=libnowhere.so"}
    link = find(main, "freebsd", env=env)
    assert [p.subject for p in link.problems] == ["libold.so"]
    [(_who, error)] = link.namespace.missing["libold.so"]
    assert isinstance(error, NotFound)
    assert ("libnowhere.so", "replaced") in [(c.path, c.outcome) for c in error.candidates]
    assert found(bed.main(), "freebsd", env=env_of_nobody) == ["sys/libold.so"]


def test_in_a_sysroot(bed: Bed, tmp_path: Path) -> None:
    """The file is that of the sysroot, and so is what it includes."""
    root = tmp_path / "root"
    (root / "etc/d").mkdir(parents=True)
    (root / "lib").mkdir()
    bed.lib("root/lib/liba.so")
    bed.lib("root/lib/libb.so")
    bed.lib("root/lib/libc1.so")
    main = bed.main("liba.so", "libb.so")
    (root / "etc/libmap.conf").write_text("liba.so libc1.so\nincludedir /etc/d\n")
    (root / "etc/d/x.conf").write_text("libb.so libc1.so\n")
    os.symlink("x.conf", root / "etc/d/y.conf")
    paths = found(main, "freebsd", sysroot=str(root), system_path="/lib")
    assert paths == ["/lib/libc1.so"]
