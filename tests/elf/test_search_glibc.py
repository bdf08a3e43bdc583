"""glibc's rules, one behaviour a test. The judge is this machine's ld.so: the same paths tried, in the same order.

What is compared is the text of LD_DEBUG=libs, line by line, and where each library was found.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

import toolchain
from elf.search_bed import LOADER, Answer, Bed, ask_loader, ask_us
from rtld.core.module import Module
from rtld.elf.file import ElfFile
from rtld.elf.search import Search, SearchOptions
from rtld.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64" or not os.path.exists(LOADER),
    reason="the judge is x86-64's ld.so",
)

V3 = "glibc-hwcaps/x86-64-v3"


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    return Bed(tmp_path)


def compare(
    bed: Bed,
    program: str = "./main",
    env: Mapping[str, str] | None = None,
    loader: Sequence[str] = (),
    cwd: str = ".",
    **options: object,
) -> Answer:
    """Our answer, after it was found equal to ld.so's. $DIR in ``env`` is the test's directory."""
    env = {k: v.replace("$DIR", str(bed.place)) for k, v in (env or {}).items()}
    where = bed.place / cwd
    theirs = ask_loader(program, env, where, loader)
    ours = ask_us(program, where, SearchOptions(env=env, **options))  # type: ignore[arg-type]
    # A preload that fails is reported at once, so ld.so's lines have no end of search there.
    assert [line for line in ours.lines if line] == [line for line in theirs.lines if line]
    if "error while loading" not in theirs.error:
        assert ours.libraries == theirs.libraries
    return ours


def where(answer: Answer, name: str = "libx.so") -> str:
    return dict(answer.libraries)[name]


# ------------------------------------------------------------------------------------------ order of the rules


def test_rpath_before_env_before_runpath(bed: Bed) -> None:
    for place in ("rp", "env", "run"):
        bed.lib(f"{place}/libx.so")
        bed.lib(f"{place}/liby.so")
    bed.main("libx.so", rpath="$ORIGIN/rp")
    assert where(compare(bed, env={"LD_LIBRARY_PATH": "$DIR/env"})).endswith("/rp/libx.so")
    bed.main("libx.so", runpath="$ORIGIN/run")
    assert where(compare(bed, env={"LD_LIBRARY_PATH": "$DIR/env"})).endswith("/env/libx.so")
    assert where(compare(bed)).endswith("/run/libx.so")


def test_runpath_before_cache_before_default(bed: Bed) -> None:
    bed.lib("run/libm.so.6")
    bed.main("libm.so.6", "libc.so.6", runpath="$ORIGIN/run")
    answer = compare(bed)
    assert where(answer, "libm.so.6").endswith("/run/libm.so.6")
    assert where(answer, "libc.so.6") == "/lib/x86_64-linux-gnu/libc.so.6"


def test_inhibit_cache_leaves_the_default_directories(bed: Bed) -> None:
    bed.main("libm.so.6", "libc.so.6", "libnothere.so")
    answer = compare(bed, loader=["--inhibit-cache"], inhibit_cache=True, by_loader=True)
    assert where(answer, "libm.so.6") == "/lib/x86_64-linux-gnu/libm.so.6"
    assert where(answer, "libnothere.so") == "not found"


def test_missing_library_looks_everywhere(bed: Bed) -> None:
    bed.lib("a/libdep.so", "libnowhere.so", "libnowhere2.so", runpath="$ORIGIN/x:$ORIGIN")
    bed.main("libdep.so", "libnowhere.so", rpath="$ORIGIN/a")
    compare(bed, env={"LD_LIBRARY_PATH": "/nonexistent:$DIR/a"})


# ------------------------------------------------------------------------------------------ RPATH and RUNPATH


def test_runpath_is_not_inherited(bed: Bed) -> None:
    bed.lib("a/libdep.so", "libx.so")
    bed.lib("a/libx.so")
    bed.main("libdep.so", runpath="$ORIGIN/a")
    assert where(compare(bed)) == "not found"


def test_rpath_is_inherited(bed: Bed) -> None:
    bed.lib("a/libdep.so", "libx.so")
    bed.lib("a/libx.so")
    bed.main("libdep.so", rpath="$ORIGIN/a")
    assert where(compare(bed)).endswith("/a/libx.so")


def test_rpath_of_each_loader_up_the_chain(bed: Bed) -> None:
    bed.lib("a/liba.so", "libb.so", rpath="$ORIGIN/../b:$ORIGIN/../x2")
    bed.lib("b/libb.so", "libc1.so", rpath="$ORIGIN/../c:$ORIGIN/../x1")
    bed.lib("c/libc1.so", "libx.so", rpath="$ORIGIN/../none")
    bed.lib("x2/libx.so")
    bed.main("liba.so", rpath="$ORIGIN/a")
    assert where(compare(bed)).endswith("/x2/libx.so")


def test_rpath_of_the_chain_skips_objects_with_runpath(bed: Bed) -> None:
    bed.lib("a/libdep.so", "libmid.so", runpath="$ORIGIN/../mid:$ORIGIN/../x1")
    bed.lib("mid/libmid.so", "libx.so")
    bed.lib("x1/libx.so")
    bed.lib("x2/libx.so")
    bed.main("libdep.so", rpath="$ORIGIN/a:$ORIGIN/x2")
    assert where(compare(bed)).endswith("/x2/libx.so")


def test_rpath_not_used_when_requester_has_runpath(bed: Bed) -> None:
    bed.lib("a/libdep.so", "libx.so", runpath="$ORIGIN/nothing")
    bed.lib("a/libx.so")
    bed.main("libdep.so", rpath="$ORIGIN/a")
    assert where(compare(bed)) == "not found"


def test_rpath_of_main_is_searched_once(bed: Bed) -> None:
    bed.lib("a/libdep.so", "libx.so", rpath="$ORIGIN/none")
    bed.main("libdep.so", rpath="$ORIGIN/a:$ORIGIN/b")
    compare(bed)


def test_empty_rpath_and_runpath(bed: Bed) -> None:
    bed.lib("libx.so")
    bed.main("libx.so", rpath="")
    compare(bed)
    bed.main("libx.so", runpath=":")
    assert where(compare(bed)) == "libx.so"


def test_directories_named_twice_and_with_slashes(bed: Bed) -> None:
    bed.lib("b/libx.so")
    bed.main("libx.so", rpath="$ORIGIN/a/:$ORIGIN/a:$ORIGIN/a//:$ORIGIN/b///:/")
    compare(bed)


def test_directory_shared_by_two_lists(bed: Bed) -> None:
    """The heading "search path=" follows the list a directory was first named in."""
    bed.lib("a/libdep.so", "libnowhere.so", runpath="$ORIGIN:/usr/lib:$ORIGIN/../new:/lib")
    (bed.place / "new").mkdir()
    bed.main("libdep.so", "libnowhere.so", rpath="$ORIGIN/a:/lib")
    compare(bed, env={"LD_LIBRARY_PATH": "$DIR/a:/usr/lib:$DIR/env"})


def test_missing_directory_is_not_tried_again(bed: Bed) -> None:
    bed.lib("b/libx.so")
    bed.lib("b/liby.so")
    bed.main("libx.so", "liby.so", rpath="$ORIGIN/missing:$ORIGIN/b")
    compare(bed)


def test_list_without_any_directory_is_forgotten(bed: Bed) -> None:
    bed.lib("a/libdep.so", "libx.so", "liby.so", runpath="$ORIGIN/none:/none")
    bed.main("libdep.so", "libz.so", rpath="$ORIGIN/a")
    compare(bed, env={"LD_LIBRARY_PATH": "/nowhere"})
    bed.main("libx.so", "liby.so", rpath="/none")
    compare(bed)


def test_inhibit_rpath_by_path(bed: Bed) -> None:
    bed.lib("a/libdep.so", "libx.so", runpath="$ORIGIN/x")
    bed.lib("a/x/libx.so")
    bed.main("libdep.so", rpath=str(bed.place / "a"))
    listed = f"/foo:{bed.place}/a/libdep.so"
    answer = compare(bed, loader=["--inhibit-rpath", listed], inhibit_rpath=listed, by_loader=True)
    assert where(answer) == "not found"


def test_inhibit_rpath_of_main_is_the_empty_name(bed: Bed) -> None:
    bed.lib("a/libx.so")
    bed.main("libx.so", rpath="$ORIGIN/a")
    for listed in ("", "./main", ":a", "a:"):
        compare(bed, loader=["--inhibit-rpath", listed], inhibit_rpath=listed, by_loader=True)


# ------------------------------------------------------------------------------------------ LD_LIBRARY_PATH


def test_env_empty_element_is_the_current_directory(bed: Bed) -> None:
    bed.lib("libx.so")
    bed.main("libx.so", "liby.so")
    assert where(compare(bed, env={"LD_LIBRARY_PATH": ":/nonexistent"})) == "libx.so"
    assert where(compare(bed, env={"LD_LIBRARY_PATH": "/nonexistent:"})) == "libx.so"
    assert where(compare(bed, env={"LD_LIBRARY_PATH": ""})) == "not found"


def test_env_semicolon_divides_too(bed: Bed) -> None:
    bed.lib("b/libx.so")
    bed.main("libx.so")
    assert where(compare(bed, env={"LD_LIBRARY_PATH": "$DIR/a;$DIR/b"})).endswith("/b/libx.so")


def test_env_relative_directories(bed: Bed) -> None:
    bed.lib("sub/b/libx.so")
    bed.main("libx.so", "liby.so")
    assert where(compare(bed, "../main", {"LD_LIBRARY_PATH": "a:b/"}, cwd="sub")) == "b/libx.so"


def test_env_tokens(bed: Bed) -> None:
    bed.lib("b/libx.so")
    bed.main("libx.so")
    assert where(compare(bed, env={"LD_LIBRARY_PATH": "${ORIGIN}/b"})).endswith("/b/libx.so")


def test_library_path_option_replaces_the_variable(bed: Bed) -> None:
    bed.lib("a/libx.so")
    bed.lib("b/libx.so")
    bed.main("libx.so")
    path = f"{bed.place}/a"
    answer = compare(
        bed,
        env={"LD_LIBRARY_PATH": "$DIR/b"},
        loader=["--library-path", path],
        library_path=path,
        by_loader=True,
    )
    assert where(answer).endswith("/a/libx.so")


# ------------------------------------------------------------------------------------------ tokens


@pytest.mark.parametrize(
    "text",
    [
        "$ORIGIN/a",
        "${ORIGIN}/a",
        "$ORIGIN/../$UNKNOWN/a",
        "$ORIGINAL/a",
        "${ORIGIN/a",
        "$ORIGIN/$LIB:$ORIGIN/a",
        "$ORIGIN/${LIB}x:$ORIGIN/$PLATFORM:$ORIGIN/${PLATFORM}_y",
        "$$ORIGIN/a:$LIB_/b:$PLATFORMS",
        "a$ORIGIN",
        "$ORIGIN",
    ],
)
def test_tokens(bed: Bed, text: str) -> None:
    bed.main("libx.so", rpath=text)
    compare(bed)


def test_origin_of_a_library_is_the_path_it_was_opened_by(bed: Bed) -> None:
    bed.lib("real/libdep.so", "libx.so", runpath="$ORIGIN/x")
    bed.lib("real/x/libx.so")
    bed.lib("link/x/libx.so")
    (bed.place / "link/libdep.so").symlink_to("../real/libdep.so")
    bed.main("libdep.so", runpath="$ORIGIN/link")
    assert where(compare(bed)).endswith("/link/x/libx.so")


def test_origin_of_main_is_the_real_file(bed: Bed) -> None:
    bed.lib("real/x/libx.so")
    bed.lib("link/x/libx.so")
    bed.main("libx.so", name="real/main", runpath="$ORIGIN/x")
    (bed.place / "link/main").symlink_to("../real/main")
    assert where(compare(bed, "link/main")).endswith("/real/x/libx.so")


def test_origin_of_main_given_to_the_loader_keeps_the_link(bed: Bed) -> None:
    bed.lib("real/x/libx.so")
    bed.lib("link/x/libx.so")
    bed.main("libx.so", name="real/main", runpath="$ORIGIN/x")
    (bed.place / "link/main").symlink_to("../real/main")
    answer = compare(bed, "./link/main", loader=["--list"], by_loader=True)
    assert where(answer).endswith("/./link/x/libx.so")


def test_origin_of_a_library_found_by_a_relative_path(bed: Bed) -> None:
    bed.lib("a/libdep.so", "libx.so", runpath="$ORIGIN/x")
    bed.lib("a/x/libx.so")
    bed.main("libdep.so")
    answer = compare(bed, env={"LD_LIBRARY_PATH": "./a"})
    assert where(answer) == f"{bed.place}/./a/x/libx.so"


def test_needed_with_a_token(bed: Bed) -> None:
    bed.lib("a/libx.so", "liby.so", runpath="$ORIGIN/y")
    bed.lib("a/y/liby.so")
    bed.main("$ORIGIN/a/libx.so")
    assert where(compare(bed), "liby.so").endswith("/a/y/liby.so")


# ------------------------------------------------------------------------------------------ names with a slash


def test_slash_name_is_opened_as_it_is(bed: Bed) -> None:
    bed.lib("a/libdep.so", "liby.so", runpath="$ORIGIN")
    bed.lib("a/liby.so")
    bed.main("./a/libdep.so", "a/libdep.so", "./nothere/libz.so")
    compare(bed, env={"LD_LIBRARY_PATH": "$DIR"})


# ------------------------------------------------------------------------------------------ names and identity


def test_soname_of_a_loaded_library_matches(bed: Bed) -> None:
    bed.lib("a/liba.so", soname="libx.so")
    bed.lib("b/libx.so")
    bed.main("liba.so", "libx.so", rpath="$ORIGIN/a:$ORIGIN/b")
    assert [n for n, _ in compare(bed).libraries] == ["liba.so"]


def test_same_file_by_another_name_is_one_module(bed: Bed) -> None:
    bed.lib("a/liba.so")
    os.link(bed.place / "a/liba.so", bed.place / "a/libb.so")
    (bed.place / "a/libc1.so").symlink_to("liba.so")
    bed.main("liba.so", "libb.so", "libc1.so", "libb.so", rpath="$ORIGIN/a")
    assert len(compare(bed).libraries) == 1


# ------------------------------------------------------------------------------------------ DF_1_NODEFLIB


def test_nodeflib(bed: Bed) -> None:
    bed.lib("a/libdep.so", "libm.so.6", "libnowhere.so", flags=["-Wl,-z,nodefaultlib"])
    bed.main("libdep.so", rpath="$ORIGIN/a")
    assert where(compare(bed), "libm.so.6") == "not found"
    bed.main("libdep.so", "libm.so.6", rpath="$ORIGIN/a", flags=["-Wl,-z,nodefaultlib"])
    compare(bed)


# ------------------------------------------------------------------------------------------ hwcaps


@pytest.mark.parametrize(
    "subdir",
    [
        "glibc-hwcaps/x86-64-v2",
        V3,
        "tls/haswell/x86_64",
        "tls",
        "tls/x86_64",
        "haswell",
        "x86_64",
        "",
    ],
)
def test_hwcaps_subdirectory(bed: Bed, subdir: str) -> None:
    bed.lib(f"a/{subdir}/libx.so")
    bed.lib("a/liby.so")
    bed.lib("a/libx.so")
    bed.main("libx.so", "liby.so", "libz.so", rpath="$ORIGIN/a")
    compare(bed)


def test_hwcaps_all_at_once(bed: Bed) -> None:
    for subdir in (V3, "glibc-hwcaps/x86-64-v2", "tls/haswell", "haswell/x86_64", "x86_64"):
        bed.lib(f"a/{subdir}/libx.so")
    bed.lib("a/haswell/x86_64/liby.so")
    bed.main("libx.so", "liby.so", "libz.so", rpath="$ORIGIN/a")
    compare(bed)


def test_hwcaps_mask(bed: Bed) -> None:
    bed.lib(f"a/{V3}/libx.so")
    bed.lib("a/glibc-hwcaps/x86-64-v2/libx.so")
    bed.main("libx.so", rpath="$ORIGIN/a")
    for mask in ("x86-64-v2", "", "x86-64-v2:x86-64-v3", "foo"):
        compare(bed, loader=["--glibc-hwcaps-mask", mask], hwcaps_mask=mask, by_loader=True)


def test_hwcaps_prepend(bed: Bed) -> None:
    bed.lib("a/glibc-hwcaps/mine/libx.so")
    bed.lib(f"a/{V3}/libx.so")
    bed.main("libx.so", rpath="$ORIGIN/a")
    for names in ("other:mine", "::mine:", "x86-64-v2"):
        compare(bed, loader=["--glibc-hwcaps-prepend", names], hwcaps_prepend=names, by_loader=True)


@pytest.mark.parametrize("mask", ["0", "2", "0x4", "06", "0xffffffffffffffff", ""])
def test_hwcap_mask_variable(bed: Bed, mask: str) -> None:
    bed.main("libx.so", rpath="$ORIGIN")
    compare(bed, env={"LD_HWCAP_MASK": mask})


def test_hwcap_mask_tunable(bed: Bed) -> None:
    bed.main("libx.so", rpath="$ORIGIN")
    compare(bed, env={"GLIBC_TUNABLES": "glibc.malloc.check=0:glibc.cpu.hwcap_mask=0"})


# ------------------------------------------------------------------------------------------ files passed over


def test_wrong_class_is_passed_over(bed: Bed, require: Callable[[str], None]) -> None:
    if toolchain.missing(toolchain.target("i386"), run=False):
        require("i686-linux-gnu-gcc")
    bed.lib("a/libx.so", cc="i686-linux-gnu-gcc")
    bed.lib("a/liby.so", cc="i686-linux-gnu-gcc")
    bed.lib("b/libx.so")
    bed.main("libx.so", "liby.so", rpath="$ORIGIN/a:$ORIGIN/b")
    assert where(compare(bed)).endswith("/b/libx.so")


def test_wrong_machine_is_passed_over(bed: Bed, require: Callable[[str], None]) -> None:
    if toolchain.missing(toolchain.target("aarch64"), run=False):
        require("aarch64-linux-gnu-gcc")
    bed.lib("a/libx.so", cc="aarch64-linux-gnu-gcc")
    bed.lib("b/libx.so")
    bed.main("libx.so", rpath="$ORIGIN/a:$ORIGIN/b")
    assert where(compare(bed)).endswith("/b/libx.so")


def test_reason_in_the_words_of_ld_so(bed: Bed, require: Callable[[str], None]) -> None:
    if toolchain.missing(toolchain.target("i386"), run=False):
        require("i686-linux-gnu-gcc")
    bed.lib("a/libx.so", cc="i686-linux-gnu-gcc")
    (bed.place / "a/liby.so").symlink_to("liby.so")
    # For other errors ld.so says "Error 40" before it has libc; we say what it is.
    for name in ("libx.so", "libnothere.so", "liby.so", "./a/libx.so"):
        program = bed.main(name, rpath="$ORIGIN/a")
        done = subprocess.run(
            ["./main"], cwd=bed.place, env={}, capture_output=True, text=True, check=False
        )
        search = Search(SearchOptions(env={}), ElfFile(str(program)), str(program))
        with pytest.raises(NotFound) as caught, contextlib.chdir(bed.place):
            search.find(name, Module(search.main, str(program)))
        assert done.stderr.rstrip().endswith(f": {caught.value.reason}")


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (0, b"\x7fELG", "invalid ELF header"),
        (5, b"\2", "ELF file data encoding not little-endian"),
        (6, b"\2", "ELF file version ident does not match current one"),
        (7, b"\x09", "ELF file OS ABI invalid"),
        (7, b"\3\x09", "ELF file ABI version invalid"),
        (8, b"\1", "ELF file ABI version invalid"),
        (12, b"\1", "nonzero padding in e_ident"),
        (16, b"\1", "only ET_DYN and ET_EXEC can be loaded"),
        (20, b"\2", "ELF file version does not match current one"),
        (54, b"\1", "ELF file's phentsize not the expected size"),
    ],
)
def test_header_that_stops_the_search(bed: Bed, at: int, value: bytes, message: str) -> None:
    data = bytearray(bed.lib("a/libx.so").read_bytes())
    data[at : at + len(value)] = value
    (bed.place / "a/libx.so").write_bytes(data)
    bed.lib("b/libx.so")
    bed.main("libx.so", rpath="$ORIGIN/a:$ORIGIN/b")
    theirs = ask_loader("./main", {}, bed.place)
    ours = ask_us("./main", bed.place, SearchOptions(env={}))
    assert message in theirs.error
    assert message in ours.error
    assert [x for x in ours.lines if x] == [x for x in theirs.lines if x]


def test_osabi_gnu_is_accepted(bed: Bed) -> None:
    data = bytearray(bed.lib("a/libx.so").read_bytes())
    data[7:9] = b"\3\1"
    (bed.place / "a/libx.so").write_bytes(data)
    bed.main("libx.so", rpath="$ORIGIN/a")
    assert where(compare(bed)).endswith("/a/libx.so")


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"#!/bin/sh\n" * 20])
def test_no_elf_stops_the_search(bed: Bed, content: bytes) -> None:
    (bed.place / "a").mkdir()
    (bed.place / "a/libx.so").write_bytes(content)
    bed.main("libx.so", rpath="$ORIGIN/a")
    message = "file too short" if len(content) < 64 else "invalid ELF header"
    assert message in ask_loader("./main", {}, bed.place).error
    assert message in ask_us("./main", bed.place, SearchOptions(env={})).error


def test_directory_of_that_name_stops_the_search(bed: Bed) -> None:
    (bed.place / "a/libx.so").mkdir(parents=True)
    bed.main("libx.so", rpath="$ORIGIN/a")
    message = "cannot read file data"
    assert message in ask_loader("./main", {}, bed.place).error
    assert message in ask_us("./main", bed.place, SearchOptions(env={})).error


def test_loop_of_links_ends_the_list(bed: Bed) -> None:
    (bed.place / "a").mkdir()
    (bed.place / "a/libx.so").symlink_to("libx.so")
    bed.lib("b/libx.so")
    bed.lib("c/libx.so")
    bed.main("libx.so", rpath="$ORIGIN/a:$ORIGIN/b")
    answer = compare(bed, env={"LD_LIBRARY_PATH": "$DIR/c"})
    assert where(answer).endswith("/c/libx.so")


def test_file_in_place_of_a_directory(bed: Bed) -> None:
    bed.lib("b/libx.so")
    bed.main("libx.so", "liby.so", rpath="$ORIGIN/main:main:$ORIGIN/b")
    compare(bed)


def test_dangling_link_is_passed_over(bed: Bed) -> None:
    (bed.place / "a").mkdir()
    (bed.place / "a/libx.so").symlink_to("nowhere")
    bed.lib("b/libx.so")
    bed.main("libx.so", rpath="$ORIGIN/a:$ORIGIN/b")
    assert where(compare(bed)).endswith("/b/libx.so")


def test_note_of_a_future_kernel_is_not_looked_at(bed: Bed) -> None:
    """glibc 2.26 to 2.35 refused it; 2.36 no longer reads the ABI note."""
    note = bed.place / "note.s"
    note.write_text(
        '.section .note.ABI-tag,"a",@note\n.long 4,16,1\n.asciz "GNU"\n.long 0,99,0,0\n'
    )
    bed.lib("a/libx.so", flags=["-xassembler", str(note), "-xnone"])
    bed.main("libx.so", rpath="$ORIGIN/a")
    compare(bed)


# ------------------------------------------------------------------------------------------ preload


@pytest.mark.parametrize(
    "text",
    [
        "$DIR/p/libp.so",
        "libp.so",
        "libp.so:libq.so",
        "libp.so libq.so",
        " : libq.so  $DIR/p/libp.so",
        "libm.so.6",
    ],
)
def test_preload(bed: Bed, text: str) -> None:
    bed.lib("p/libp.so", "libq.so")
    bed.lib("p/libq.so")
    bed.lib("p/libx.so")
    bed.main("libx.so", rpath="$ORIGIN/p")
    compare(bed, env={"LD_PRELOAD": text})


def test_missing_preload_is_no_error(bed: Bed) -> None:
    bed.lib("p/libx.so")
    bed.main("libx.so", rpath="$ORIGIN/p")
    compare(bed, env={"LD_PRELOAD": "libnowhere.so:/nonexistent/liby.so"})


def test_preload_option_comes_after_the_variable(bed: Bed) -> None:
    for name in ("libp.so", "libq.so", "libx.so"):
        bed.lib(f"p/{name}")
    bed.main("libx.so", rpath="$ORIGIN/p")
    compare(
        bed,
        env={"LD_PRELOAD": "libq.so"},
        loader=["--preload", "libp.so"],
        preload="libp.so",
        by_loader=True,
    )


# ------------------------------------------------------------------------------------------ installed programs


@pytest.mark.live
@pytest.mark.parametrize(
    "program",
    ["/bin/bash", "/usr/bin/gdb", "/usr/bin/python3", "/usr/bin/perl", "/usr/bin/inkscape"],
)
def test_installed_program(bed: Bed, program: str, require: Callable[[str], None]) -> None:
    if not shutil.which(program):
        require(program)
    compare(bed, program)
    compare(bed, program, env={"LD_LIBRARY_PATH": "/usr/lib/x86_64-linux-gnu:$DIR"})
