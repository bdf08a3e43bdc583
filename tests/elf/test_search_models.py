"""Where FreeBSD, Android and QNX look for a library: one documented rule a test.

None of them runs here, so the judge is their documentation and source: rtld(1) and libexec/rtld-elf/rtld.c (find_library);
bionic's linker/linker.cpp (open_library) and android-changes-for-ndk-developers.md; QNX SDP 8.0 System Architecture, "Runtime
linker", and for `qnx` the order of Neutrino 6.4's libc.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import rtld
from elf.search_bed import Bed
from rtld.errors import NotFound

if TYPE_CHECKING:
    from rtld.process.link import Link


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    return Bed(tmp_path)


def find(main: Path, model: str, **options: Any) -> Link:
    options.setdefault("env", {})
    options.setdefault("system_path", str(main.parent / "sys"))
    return rtld.link(main, model=model, relocated=False, **options)


def found(main: Path, model: str, **options: Any) -> list[str]:
    """The libraries found, by the place below the bed; "?" and the name for those that are not."""
    link = find(main, model, **options)
    root = f"{main.parent}/"
    missing = [f"?{p.subject}" for p in link.problems if p.kind == "library"]
    return [m.path.removeprefix(root) for m in link.modules[1:]] + missing


def rules(main: Path, model: str, **options: Any) -> list[str]:
    return [m.found.rule for m in find(main, model, **options).modules[1:]]


# -- RPATH and RUNPATH --------------------------------------------------------------------------------

# fmt: off
PLACES = [
    # model     tag        LD_LIBRARY_PATH  where the library is                        found in
    ("freebsd", "rpath",   True,            "tag env sys",                              "tag"),
    ("freebsd", "runpath", True,            "tag env sys",                              "env"),
    ("freebsd", "runpath", False,           "tag env sys",                              "tag"),
    ("freebsd", "rpath",   False,           "env sys",                                  "sys"),
    ("bionic",  "rpath",   False,           "tag sys",                                  "sys"),
    ("bionic",  "runpath", False,           "tag sys",                                  "tag"),
    ("bionic",  "runpath", True,            "tag env sys",                              "env"),
    ("bionic",  "rpath",   False,           "tag",                                      None),
    ("qnx-doc", "rpath",   True,            "tag env sys",                              "tag"),
    ("qnx-doc", "runpath", True,            "tag env sys",                              "env"),
    ("qnx-doc", "runpath", False,           "tag",                                      None),
    ("qnx",     "rpath",   True,            "tag env sys",                              "tag"),
    ("qnx",     "rpath",   True,            "env sys",                                  "env"),
    ("qnx",     "runpath", False,           "tag sys",                                  "sys"),
    ("musl",    "rpath",   True,            "tag env sys",                              "env"),
    ("musl",    "runpath", False,           "tag sys",                                  "tag"),
]
# fmt: on


@pytest.mark.parametrize(("model", "tag", "env", "there", "place"), PLACES)
def test_order(bed: Bed, model: str, tag: str, env: bool, there: str, place: str | None) -> None:
    for directory in there.split():
        bed.lib(f"{directory}/liba.so")
    main = bed.main(
        "liba.so", **{tag: "$ORIGIN/tag" if not model.startswith("qnx") else f"{bed.place}/tag"}
    )
    options = {"library_path": f"{bed.place}/env"} if env else {}
    assert found(main, model, **options) == ([f"{place}/liba.so"] if place else ["?liba.so"])


# fmt: off
OF_WHOM = [
    # Whose RPATH or RUNPATH finds what a library needs: the library's, the program's.
    # model     tag        the library's  the program's
    ("freebsd", "rpath",   True,          True),    # the requester's, then the program's
    ("freebsd", "runpath", True,          False),   # a RUNPATH is for its own object alone
    ("bionic",  "runpath", True,          False),
    ("qnx-doc", "rpath",   False,         True),    # "the executable's dynamic section"
    ("qnx",     "rpath",   True,          False),   # that of the object being processed
    ("musl",    "rpath",   True,          True),
    ("musl",    "runpath", True,          True),    # RUNPATH is inherited
    ("glibc",   "rpath",   True,          True),
    ("glibc",   "runpath", True,          False),
]
# fmt: on


@pytest.mark.parametrize(("model", "tag", "own", "inherited"), OF_WHOM)
def test_whose(bed: Bed, model: str, tag: str, own: bool, inherited: bool) -> None:
    options: dict[str, Any] = {} if model == "glibc" else {"library_path": f"{bed.place}/first"}
    if model == "glibc":
        options["library_path"], options["system_path"] = f"{bed.place}/first", None
    directory = f"{bed.place}/deep"
    bed.lib("deep/libb.so")
    bed.lib("first/liba.so", "libb.so", **{tag: directory})
    main = bed.main("liba.so", name="by-library")
    assert found(main, model, **options)[-1] == ("deep/libb.so" if own else "?libb.so")
    bed.lib("first/liba.so", "libb.so")
    main = bed.main("liba.so", name="by-program", **{tag: directory})
    assert found(main, model, **options)[-1] == ("deep/libb.so" if inherited else "?libb.so")


def test_freebsd_program_rpath_not_for_a_library_with_runpath(bed: Bed) -> None:
    bed.lib("deep/libb.so")
    bed.lib("first/liba.so", "libb.so", runpath="/nowhere")
    main = bed.main("liba.so", rpath=f"{bed.place}/first:{bed.place}/deep")
    assert found(main, "freebsd") == ["first/liba.so", "?libb.so"]


def test_freebsd_ld_library_path_rpath(bed: Bed) -> None:
    """LD_LIBRARY_PATH_RPATH: LD_LIBRARY_PATH overrides RPATH (rtld(1))."""
    bed.lib("tag/liba.so")
    bed.lib("env/liba.so")
    main = bed.main("liba.so", rpath=f"{bed.place}/tag")
    env = {"LD_LIBRARY_PATH": f"{bed.place}/env"}
    assert found(main, "freebsd", env=env) == ["tag/liba.so"]
    for value, place in (("y", "env"), ("1", "env"), ("no", "tag")):
        assert found(main, "freebsd", env={**env, "LD_LIBRARY_PATH_RPATH": value}) == [
            f"{place}/liba.so"
        ]


def hints(*directories: str) -> bytes:
    """ldconfig's file (elf-hints.h): header of 128 bytes, string table."""
    text = ":".join(directories).encode()
    head = struct.pack("<6I", 0x746E6845, 1, 128, len(text) + 1, 0, len(text))
    return head.ljust(128, b"\0") + text + b"\0"


def test_freebsd_hints(bed: Bed) -> None:
    bed.lib("hinted/liba.so")
    bed.lib("sys/liba.so")
    main = bed.main("liba.so")
    file = bed.place / "hints"
    env = {"LD_ELF_HINTS_PATH": str(file)}
    file.write_bytes(hints("/nowhere", f"{bed.place}/hinted"))
    assert found(main, "freebsd", env=env) == ["hinted/liba.so"]
    assert rules(main, "freebsd", env=env) == ["ld-elf.so.hints"]
    good = file.read_bytes()
    # A file that is none is as good as none.
    for bad in (
        b"",
        good[:100],
        b"\0" * 200,
        good[:20] + b"\xff\xff\xff\x7f" + good[24:],
        good[:-30],
    ):
        file.write_bytes(bad)
        assert found(main, "freebsd", env=env) == ["sys/liba.so"]


def test_freebsd_nodefaultlib(bed: Bed) -> None:
    """-z nodefaultlib: neither /lib and /usr/lib, nor these among the hints."""
    bed.lib("sys/liba.so")
    main = bed.main("liba.so", flags=["-Wl,-z,nodefaultlib"])
    assert found(main, "freebsd") == ["?liba.so"]
    assert found(main, "glibc", system_path=None, library_path=f"{bed.place}/sys") == [
        "sys/liba.so"
    ]


def test_freebsd_tokens(bed: Bed) -> None:
    bed.lib("FreeBSD/amd64/lib/liba.so")
    main = bed.main("liba.so", runpath="$ORIGIN/${OSNAME}/$PLATFORM/$LIB")
    assert found(main, "freebsd") == ["FreeBSD/amd64/lib/liba.so"]
    # What $OSREL would be is not known: the element is left out.
    assert found(bed.main("liba.so", runpath="$ORIGIN/$OSREL"), "freebsd") == ["?liba.so"]


def test_bionic_lib_token_and_real_paths(bed: Bed) -> None:
    bed.lib("lib64/liba-1.so")
    (bed.place / "lib64/liba.so").symlink_to("liba-1.so")
    (bed.place / "other").symlink_to("lib64")
    main = bed.main("liba.so", runpath=f"/nowhere:{bed.place}/other/../$LIB")
    assert found(main, "bionic") == ["lib64/liba-1.so"]


def test_bionic_default_directories(bed: Bed) -> None:
    """/system/lib64, /odm/lib64, /vendor/lib64 (linker.cpp, kDefaultLdPaths), here in a sysroot."""
    bed.lib("root/vendor/lib64/liba.so")
    bed.lib("root/odm/lib64/libb.so", "libc2.so")
    bed.lib("root/system/lib64/libc2.so")
    bed.lib("root/vendor/lib64/libc2.so")
    main = bed.main("liba.so", "libb.so", name="root/bin/main")
    link = rtld.link(main, model="bionic", sysroot=bed.place / "root", relocated=False)
    assert [m.path for m in link.modules[1:]] == [
        "/vendor/lib64/liba.so", "/odm/lib64/libb.so", "/system/lib64/libc2.so"
    ]  # fmt: skip


def test_bionic_knows_sonames_only(bed: Bed) -> None:
    """A name that found a file is no name of it: only its DT_SONAME is. Two requesters may get two files."""
    for one in "ab":
        bed.lib(f"{one}/libx.so")
        bed.lib(f"lib{one}.so", "libx.so", runpath=f"$ORIGIN/{one}")
    main = bed.main("liba.so", "libb.so", runpath="$ORIGIN")
    assert found(main, "bionic") == ["liba.so", "libb.so", "a/libx.so", "b/libx.so"]
    assert found(main, "freebsd") == ["liba.so", "libb.so", "a/libx.so"]
    bed.lib("a/libx.so", soname="libx.so")
    assert found(main, "bionic") == ["liba.so", "libb.so", "a/libx.so"]


def test_qnx_needs_by_last_component(bed: Bed) -> None:
    bed.lib("sys/liba.so", "libb.so", f"{bed.place}/other/libb.so")
    bed.lib("sys/libb.so")
    bed.lib("other/libb.so")
    main = bed.main("libb.so", "liba.so")
    assert found(main, "qnx") == ["sys/libb.so", "sys/liba.so"]
    assert found(main, "freebsd") == ["sys/libb.so", "sys/liba.so", "other/libb.so"]


def test_qnx_empty_element_is_here(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    bed.lib("here/liba.so")
    main = bed.main("liba.so")
    monkeypatch.chdir(bed.place / "here")
    assert found(main, "qnx", library_path=":/nowhere") == ["liba.so"]
    for model in ("freebsd", "bionic"):
        assert found(main, model, library_path=":/nowhere") == ["?liba.so"]


def test_freebsd_divides_by_semicolons(bed: Bed) -> None:
    bed.lib("here/liba.so")
    main = bed.main("liba.so")
    path = f"/nowhere;{bed.place}/here"
    assert found(main, "freebsd", library_path=path) == ["here/liba.so"]
    assert found(main, "bionic", library_path=path) == ["?liba.so"]


@pytest.mark.parametrize("model", ["freebsd", "bionic", "qnx-doc", "qnx"])
def test_first_file_decides(bed: Bed, model: str) -> None:
    """What can be opened is taken; that it cannot be loaded ends the search."""
    (bed.place / "bad").mkdir()
    (bed.place / "bad/liba.so").write_bytes(b"\x7fELF\x01\x01\x01" + bytes(60))
    bed.lib("sys/liba.so")
    main = bed.main("liba.so")
    link = find(main, model, library_path=f"{bed.place}/bad:{bed.place}/sys")
    (problem,) = [p for p in link.problems if p.kind == "library"]
    assert problem.subject == "liba.so"
    assert link.modules[1:] == []


@pytest.mark.parametrize("model", ["freebsd", "bionic", "qnx"])
def test_missing_preload_is_fatal(bed: Bed, model: str) -> None:
    main = bed.main()
    (problem,) = find(main, model, env={"LD_PRELOAD": "libgone.so"}).problems
    assert (problem.kind, problem.fatal) == ("preload", True)
    assert "cannot be preloaded" in problem.message
    assert "ignored" not in problem.message
    (problem,) = find(main, "glibc", system_path=None, env={"LD_PRELOAD": "libgone.so"}).problems
    assert not problem.fatal


@pytest.mark.parametrize(("model", "text"), [("freebsd", "a;b c"), ("bionic", "a b:c"), ("qnx", "a:b:c")])  # fmt: skip
def test_preload_is_divided(bed: Bed, model: str, text: str) -> None:
    for one in "abc":
        bed.lib(f"sys/{one}")
    env = {"LD_PRELOAD": text, "LD_LIBRARY_PATH": f"{bed.place}/sys"}
    assert found(bed.main(), model, env=env) == ["sys/a", "sys/b", "sys/c"]


def test_secure(bed: Bed) -> None:
    """AT_SECURE: LD_LIBRARY_PATH is gone, FreeBSD takes no relative path and no $ORIGIN."""
    bed.lib("env/liba.so")
    main = bed.main("liba.so")
    for model in ("freebsd", "bionic", "qnx-doc", "qnx"):
        env = {"LD_LIBRARY_PATH": f"{bed.place}/env"}
        assert found(main, model, env=env) == ["env/liba.so"]
        assert found(main, model, env=env, secure=True) == ["?liba.so"]
    main = bed.main("liba.so", runpath="$ORIGIN/env")
    assert found(main, "freebsd") == ["env/liba.so"]
    assert found(main, "freebsd", secure=True) == ["?liba.so"]


def test_record(bed: Bed) -> None:
    """What was tried is on record, as for the other models."""
    main = bed.main("liba.so", runpath="/nowhere/one")
    link = find(main, "freebsd", library_path="/nowhere/two")
    error = link.namespace.missing["liba.so"][0][1]
    assert isinstance(error, NotFound)
    candidates: Any = error.candidates
    tried = [(c.path, c.rule) for c in candidates]
    assert tried == [
        ("/nowhere/two/liba.so", "--library-path"),
        ("/nowhere/one/liba.so", "RUNPATH"),
        (f"{bed.place}/sys/liba.so", "--system-path"),
    ]


def test_freebsd_preload_is_asked_for_by_nobody(bed: Bed) -> None:
    """No RPATH, RUNPATH or default directory helps to find it: LD_LIBRARY_PATH and the hints do (find_library without refobj)."""
    for place in ("tag", "env", "sys"):
        bed.lib(f"{place}/liba.so")
    env = {"LD_PRELOAD": "liba.so"}
    for tag in ("rpath", "runpath"):
        main = bed.main(**{tag: f"{bed.place}/tag"})
        assert found(main, "freebsd", env=env) == []
        path = {"LD_LIBRARY_PATH": f"{bed.place}/env"}
        assert found(main, "freebsd", env=env | path) == ["env/liba.so"]


def test_words_that_mean_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="model is 'plan9'; one of glibc, musl, "):
        rtld.link("/bin/ls", model="plan9")
    with pytest.raises(rtld.NotFound, match="no such directory"):
        rtld.link("/bin/ls", sysroot=str(tmp_path / "nothing"))
