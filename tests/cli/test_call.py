"""``rtld call``: functions of this CPU's libraries and of others'."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.support import Rtld
from dlfcn.foreign import sysroots

DIV = "struct d {int q, r;}; struct d div(int, int)"


@pytest.mark.parametrize("where", ["here", "x86_64", "s390x", "arm"])
def test_results(rtld: Rtld, where: str, require: Callable[[str], None]) -> None:
    root = None if where == "here" else sysroots.debian(where)
    if where != "here" and root is None:
        require("Debian's package archive")
    place = [] if root is None else ["--sysroot", root]
    for words, shown in (
        (["libm.so.6", "double pow(double, double)", "2", "10"], "1024.0"),
        (["libm.so.6", "double sqrt(double)", "2"], repr(math.sqrt(2))),
        (["libm.so.6", "double frexp(double, int *)", "10", "0"], "0.625\nargument 2: 4"),
        (["libz.so.1", "unsigned long crc32(unsigned long, const char *, unsigned)", "0", "abc", "3"], "891568578"),
        (["libc.so.6", "char *strerror(int)", "2"], "No such file or directory"),
        (["libc.so.6", DIV, "17", "5"], "{q = 3, r = 2}"),
        (["libc.so.6", "int snprintf(char *, size_t, const char *, ...)", "zeros:30", "30", "%s-%d-%.2f", "abc", "7", "2.5"],
         "10\nargument 1: abc-7-2.50"),
        (["libc.so.6", "void *memcpy(char *, const void *, size_t)", "zeros:4", "hex:00ff41", "3"], None),
    ):  # fmt: skip
        result = rtld("call", *place, *words)
        assert (result.status, result.err) == (0, "")
        if shown is not None:
            assert result.out == shown + "\n"
        else:
            assert result.out.endswith("argument 1: hex:00ff41\n")


def test_as_json(rtld: Rtld) -> None:
    document = json.loads(
        rtld("call", "--json", "libm.so.6", "double frexp(double, int *)", "10", "0").out
    )
    assert (document["function"], document["result"]) == ("frexp", 0.625)
    assert document["changed"] == [{"argument": 1, "value": [4]}]
    infinite = json.loads(rtld("call", "--json", "libm.so.6", "double log(double)", "0").out)
    assert infinite["result"] == "-inf"


def test_errno_and_repeating(rtld: Rtld) -> None:
    result = rtld("call", "--errno", "libc.so.6", "int chdir(const char *)", "/nowhere")
    assert result.out == "-1\nerrno 2: No such file or directory\n"
    assert "100 calls in" in rtld("call", "--repeat", "100", "libc.so.6", "int abs(int)", "-3").out


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["libnothing.so", "int f(void)"], 1, "libnothing.so: cannot open shared object file"),
        (
            ["libm.so.6", "double powww(double)", "1"],
            1,
            "undefined symbol: powww; did you mean pow",
        ),
        (["libm.so.6", "double pow(double, double)", "2"], 2, "pow takes 2 arguments, not 1"),
        (
            ["libm.so.6", "double pow(double, double)", "2", "x"],
            2,
            "'x' is no value of type double",
        ),
        (["libc.so.6", "int abs(int)", "4294967296"], 2, "of type int: it has 32 bits"),
        (["libc.so.6", "int isalpha(char)", "-129"], 2, "of type char: it has 8 bits"),
        (["libc.so.6", "int iswalpha(wchar_t)", "0x110000"], 2, "of type wchar_t: the number of a"),
        (
            ["libc.so.6", "int printf(const char *, ...)", "%lu", "18446744073709551616"],
            2,
            "64 bits",
        ),
        (["libc.so.6", "size_t strlen(char *)", "hex:zz"], 2, "of type char *: hex: and pairs"),
        (
            ["libc.so.6", "void *memset(int *, int, int)", "x", "0", "0"],
            2,
            "of type int: an integer",
        ),
        (["libm.so.6", "double pow(", "2"], 2, "double pow("),
        (["libm.so.6", "int x"], 2, "no function where one is wanted"),
        (["libm.so.6"], 2, "missing"),
        (["--sysroot", "/nonexistent", "libm.so.6", "int f(void)"], 2, "no such directory"),
        (["--timeout", "1", "libm.so.6", "int f(void)"], 2, "--sysroot"),
        (["--repeat", "0", "libm.so.6", "int abs(int)", "1"], 2, "--repeat 0"),
    ],
)
def test_mistakes(rtld: Rtld, words: list[str], status: int, says: str) -> None:
    result = rtld("call", *words)
    assert (result.status, result.out) == (status, "")
    assert says in result.err


def test_a_package_is_named(rtld: Rtld, tmp_path: Path) -> None:
    """What ``sysroot which`` has learnt is told when a library is missing."""
    state = {
        "format": 1, "architecture": "arm64", "sources": [], "packages": {}, "libraries": [str(tmp_path / "known")],
    }  # fmt: skip
    (tmp_path / "known").write_text("libfoo.so.3 libfoo3\n")
    root = sysroots.cross("aarch64")
    if root is None:
        pytest.skip("no cross compiler")
    (tmp_path / "root").mkdir()
    (tmp_path / "root/.rtld-sysroot.json").write_text(json.dumps(state))
    (tmp_path / "root/lib").mkdir()
    for name in ("ld-linux-aarch64.so.1", "libc.so.6"):
        shutil.copy(f"{root}/lib/{name}", tmp_path / "root/lib")
    result = rtld("call", "--sysroot", tmp_path / "root", "libfoo.so.3", "int f(void)")
    assert result.status == 1
    assert "package libfoo3 has it: rtld sysroot add" in result.err


def test_a_guest_that_does_not_end(
    rtld: Rtld, cc: Callable[..., Path], require: Callable[[str], None]
) -> None:
    root = sysroots.cross("aarch64")
    if root is None:
        require("a cross compiler")
    result = rtld(
        "call", "--sysroot", str(root), "--timeout", "0.3", "libc.so.6", "int pause(void)"
    )
    assert result.status == 3
    assert "0.3 seconds are over" in result.err


def test_a_function_that_ends_its_process(rtld: Rtld, require: Callable[[str], None]) -> None:
    root = sysroots.cross("aarch64")
    if root is None:
        require("a cross compiler")
    for declaration, says in (
        ("void abort(void)", "a signal ended the function: 6, Aborted"),
        ("void quick_exit(int)", "the function called exit(7)"),
    ):
        words = [] if "void)" in declaration else ["7"]
        result = rtld("call", "--sysroot", str(root), "libc.so.6", declaration, *words)
        assert (result.status, result.err) == (3, f"rtld: {says}\n")


def test_which_cpu(rtld: Rtld, tmp_path: Path, require: Callable[[str], None]) -> None:
    """A loader of the right name may be another CPU's: MIPS has two of the name ld.so.1."""
    roots = {cpu: sysroots.cross(cpu) for cpu in ("mipsel", "aarch64")}
    if None in roots.values():
        require("cross compilers")
    words = ["libc.so.6", "int abs(int)", "-3"]
    assert rtld("call", "--sysroot", roots["mipsel"], *words).out == "3\n"
    both = tmp_path / "lib"
    both.mkdir()
    for root, name in ((roots["mipsel"], "ld.so.1"), (roots["aarch64"], "ld-linux-aarch64.so.1")):
        shutil.copy(f"{root}/lib/{name}", both)
    shutil.copy(f"{roots['aarch64']}/lib/libc.so.6", both)
    result = rtld("call", "--sysroot", tmp_path, *words)
    assert (result.status, result.out) == (3, "")
    assert "several CPUs: aarch64, mipsel; say which: cpu= (--cpu)" in result.err
    assert rtld("call", "--cpu", "aarch64", "--sysroot", tmp_path, *words).out == "3\n"
    assert rtld("call", "--cpu", "aarch64", *words).status == 2
