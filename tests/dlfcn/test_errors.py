"""What bad input gets: the right exception with its fields, and nothing left behind."""

from __future__ import annotations

import ctypes
import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import rtld
from rtld.arch import x86_64_inprocess
from rtld.process.inprocess.space import process

Lib = Callable[..., str]


def state() -> tuple[int, int, int, int]:
    """Mappings, modules, records, open files."""
    gc.collect()  # exceptions hold frames, and these the files
    with open("/proc/self/maps") as maps:
        lines = len(maps.readlines())
    owner = process()
    files = 0
    for fd in os.listdir("/proc/self/fd"):
        try:
            # Machine code of ours is made once, when it is first needed.
            files += "memfd" not in os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:
            pass
    return lines, len(list(owner.own_modules())), len(owner.by_map), files


@pytest.fixture
def nothing_left() -> Iterator[None]:
    import rtld.elf.hosted

    rtld.default_namespace()
    rtld.dlopen("libz.so.1").close()
    before = state()
    yield
    after = state()
    assert after[1:] == before[1:]
    assert after[0] <= before[0] + 4  # Python's own heap


def test_missing_library(lib: Lib, nothing_left: None) -> None:
    with pytest.raises(rtld.NotFound) as error:
        rtld.dlopen("libnowhere.so.3")
    assert error.value.name == "libnowhere.so.3"
    assert "cannot open shared object file" in str(error.value)
    gone = lib(
        "int gone(void) { return 1; }", "-Wl,-soname,libgone-away.so", name="libgone-away.so"
    )
    user = lib("int gone(void); int f(void) { return gone(); }", gone)
    with pytest.raises(rtld.NotFound) as error:
        rtld.dlopen(user)
    assert error.value.name == "libgone-away.so"


def test_missing_symbol(lib: Lib, nothing_left: None) -> None:
    path = lib("extern int absent; int f(void) { return absent; }")
    with pytest.raises(rtld.UnresolvedSymbol) as error:
        rtld.dlopen(path)
    assert (error.value.path, error.value.symbol) == (path, "absent")


def test_missing_version(lib: Lib, tmp_path: Path, nothing_left: None) -> None:
    script = tmp_path / "v.map"
    script.write_text("V1 { global: f; };")
    there = lib(
        "int f(void) { return 1; }",
        f"-Wl,--version-script={script}",
        "-Wl,-soname,libver.so",
        name="libver.so",
    )
    user = lib(
        "int f(void); int g(void) { return f(); }", there, "-Wl,-rpath,$ORIGIN", name="libuser.so"
    )
    directory = tmp_path / "d"
    directory.mkdir()
    (directory / "libuser.so").write_bytes(Path(user).read_bytes())
    script.write_text("V2 { global: f; };")
    other = lib(
        "int f(void) { return 2; }",
        f"-Wl,--version-script={script}",
        "-Wl,-soname,libver.so",
        "-DV2",
        name="libver.so",
    )
    (directory / "libver.so").write_bytes(Path(other).read_bytes())
    with pytest.raises(rtld.RtldError, match="version `V1' not found"):
        rtld.dlopen(directory / "libuser.so")


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"#!/bin/sh\n", bytes(4096)])
def test_no_elf(data: bytes, nothing_left: None) -> None:
    with pytest.raises(rtld.FormatError):
        rtld.dlopen(data)


def test_programs_and_other_machines(
    lib: Lib, cc: Callable[..., Path], tmp_path: Path, nothing_left: None
) -> None:
    program = str(cc("int main(void) { return 0; }", "prog", "-pie", "-fPIE"))
    with pytest.raises(
        rtld.RtldError, match="cannot dynamically load position-independent executable"
    ):
        rtld.dlopen(program)
    data = bytearray(Path(lib("int f(void) { return 1; }")).read_bytes())
    data[18] = 183  # AArch64
    with pytest.raises(rtld.RtldError):
        rtld.dlopen(bytes(data))
    other = tmp_path / "other.so"
    other.write_bytes(data)
    with pytest.raises(rtld.NotFound) as caught:
        rtld.dlopen(other)
    assert (
        f"{other} is for another CPU (AArch64); rtld.dlopen(..., sysroot="
        in caught.value.__notes__[0]
    )


def test_mutants_never_get_further(lib: Lib) -> None:
    """Headers and the dynamic section changed at random: an exception, or a library; never a crash while it is linked."""
    path = lib("int f(void) { return 1; } __thread int t; int *g(void) { return &t; }")
    script = """
import random, sys, rtld
from rtld.process.inprocess.load import Loading
from rtld.core.module import Module
from rtld.elf.file import ElfFile
data = open(sys.argv[1], "rb").read()
ns = rtld.Namespace(); space = ns._space
done = 0
for seed in range(300):
    rng = random.Random(seed)
    mutant = bytearray(data)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(64, 64 + 56 * data[56]) if rng.random() < .6 else rng.randrange(0, 64)
        mutant[at] = rng.randrange(256)
    loading = None
    try:
        file = ElfFile(bytes(mutant), f"m{seed}")
        loading = Loading(space, 2); loading.ns.by_name["x"] = Module(file, f"m{seed}", -1)
        loading.find("x", space.ns.main); loading.map(); loading.relocate()
    except (rtld.RtldError, MemoryError): pass
    finally:
        if loading: loading.undo()
    done += 1
print(done)
"""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", script, path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "300\n", done.stderr[-1500:]


def test_static_tls_is_used_up(lib: Lib, nothing_left: None) -> None:
    path = lib(
        "__thread char big[100000]; char *f(void) { return big; }", "-ftls-model=initial-exec"
    )
    user = rtld.dlopen(
        lib("__thread char small[40]; char *f(void) { return small; }", "-ftls-model=initial-exec")
    )
    with pytest.raises(
        rtld.NoStaticTls, match=r"100000 bytes wanted.*in use by .* 40.*optional_static_tls"
    ) as caught:
        rtld.dlopen(path)
    assert (caught.value.path, caught.value.size) == (path, 100000)
    assert caught.value.users[user.path] == 40
    user.close()


def test_use_after_close(lib: Lib) -> None:
    library = rtld.dlopen(lib("int f(void) { return 5; } int v = 3;"))
    function = library.f
    assert (function(), library["f"](), library.data("v", ctypes.c_int).value) == (5, 5, 3)
    library.close()
    library.close()
    assert library.closed
    assert "closed" in repr(library)
    for use in (
        function,
        lambda: library.f,
        lambda: library.address("f"),
        lambda: library["f"],
        library.why_loaded,
    ):
        with pytest.raises(rtld.Closed):
            use()


def test_reload(tmp_path: Path, lib: Lib) -> None:
    where = tmp_path / "libv.so"
    where.write_bytes(Path(lib("int f(void) { return 1; }")).read_bytes())
    library = rtld.dlopen(where)
    function = library.f
    assert function() == 1
    where.unlink()
    where.write_bytes(Path(lib("int f(void) { return 2; }")).read_bytes())
    library.reload()
    assert (function(), library.f()) == (2, 2)
    library.close()


def test_reload_after_a_failure(tmp_path: Path, lib: Callable[..., str]) -> None:
    """Functions lead to the library again when its file is there again."""
    path, away = tmp_path / "lib.so", tmp_path / "away.so"
    path.write_bytes(Path(lib("int get(void) { return 7; }")).read_bytes())
    library = rtld.dlopen(path)
    function = library.get
    function.restype = ctypes.c_short
    path.rename(away)
    with pytest.raises(rtld.NotFound):
        library.reload()
    with pytest.raises(rtld.Closed):
        function()
    away.rename(path)
    library.reload()
    assert (function(), library.get(), function.restype) == (7, 7, ctypes.c_short)
    library.close()


def test_why_loaded(lib: Lib) -> None:
    stays = rtld.dlopen(lib("int stays(void) { return 1; }", "-Wl,-z,nodelete"))
    assert stays.why_loaded() == ["opened 1 time", "asks never to be unloaded (DF_1_NODELETE)"]
    with rtld.Namespace() as ns:
        pinned = ns.dlopen(
            lib("int pinned(void) { return 1; }"), rtld.RTLD_NOW | rtld.RTLD_NODELETE
        )
        ns.dlopen(pinned.path)
        assert pinned.why_loaded() == ["opened 2 times", "opened with RTLD_NODELETE"]


def test_stub_is_its_assembly(tmp_path: Path, require: Callable[[str], None]) -> None:
    stub = x86_64_inprocess.INPROCESS
    source, made = tmp_path / "s.s", tmp_path / "s.o"
    source.write_text("\n".join((*[line.partition("#")[0] for line in stub.assembly], "")))
    try:
        subprocess.run(["as", "--64", "-o", made, source], check=True)
    except FileNotFoundError:
        require("as")
    subprocess.run(["objcopy", "-O", "binary", "-j", ".text", made, tmp_path / "s.bin"], check=True)
    assert (tmp_path / "s.bin").read_bytes()[: len(stub.code)] == stub.code


def test_no_name_is_the_program() -> None:
    """As to glibc, which takes an empty name for none."""
    ours, theirs = rtld.dlopen(""), ctypes.CDLL("")
    mine = ctypes.cast(ours.Py_GetVersion, ctypes.c_void_p).value
    assert mine == ctypes.cast(theirs.Py_GetVersion, ctypes.c_void_p).value
    assert ours.module is rtld.dlopen(None).module
    with rtld.Namespace(model="musl") as ns, pytest.raises(rtld.RtldError):
        ns.dlopen("")


@pytest.mark.parametrize("path", ["/usr/lib", "/usr"])
def test_directories(path: str) -> None:
    """In glibc's words."""
    with pytest.raises(OSError, match=path) as theirs:
        ctypes.CDLL(path)
    with pytest.raises(rtld.FormatError) as ours:
        rtld.dlopen(path)
    assert str(ours.value) == str(theirs.value)
