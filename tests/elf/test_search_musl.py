"""musl's rules, one behaviour a test. The judge is musl's loader in its ldd mode (``--list``).

It tells what was found and what was not; the paths tried are compared with its own system calls where strace is there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import toolchain
from elf.search_bed import Bed
from rtld.core.module import Module
from rtld.elf.file import ElfFile
from rtld.elf.search import Search, SearchOptions, candidates
from rtld.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LOADER = f"/lib/ld-musl-{toolchain.HOST}.so.1"


@pytest.fixture
def bed(tmp_path: Path, require: Callable[[str], None]) -> Bed:
    if not shutil.which("musl-gcc") or not os.path.exists(LOADER):
        require("musl-gcc")
    return Bed(tmp_path, "musl-gcc")


class Listing:
    """Libraries with their paths, names not found, paths opened (None where nobody watched)."""

    def __init__(
        self, libraries: list[tuple[str, str]], missing: list[str], opened: list[str] | None
    ) -> None:
        self.libraries = libraries
        self.missing = missing
        self.opened = opened


def ask_loader(program: str, env: Mapping[str, str], cwd: Path, loader: str = LOADER) -> Listing:
    argv = [loader, "--list", program]
    log = cwd / "strace.log"
    if shutil.which("strace"):
        argv = ["strace", "-o", str(log), "-E", "LC_ALL", "-e", "trace=open,openat", *argv]
        for key, value in env.items():
            argv[1:1] = ["-E", f"{key}={value}"]
    done = subprocess.run(
        argv, env={"PATH": "/usr/bin", **env}, cwd=cwd, capture_output=True, text=True, check=False
    )
    libraries = []
    for line in done.stdout.splitlines():
        name, arrow, path = line.strip().partition(" (0x")[0].partition(" => ")
        if arrow:
            libraries.append((name, path))
    missing = [
        line.split(": ")[0].rpartition(" ")[2]
        for line in done.stderr.splitlines()
        if line.startswith("Error loading shared library")
    ]
    opened = None
    if log.exists():
        opened = [line.split('"')[1] for line in log.read_text().splitlines() if '"' in line]
        log.unlink()
    return Listing(libraries, missing, opened)


def ask_us(program: str, cwd: Path, options: SearchOptions) -> Listing:
    before = os.getcwd()
    os.chdir(cwd)
    try:
        return _walk(program, options)
    finally:
        os.chdir(before)


def _walk(program: str, options: SearchOptions) -> Listing:
    main = Module(ElfFile(program), program)
    search = Search(options, main.file, program)
    assert search.model == "musl"
    opened = [program]
    modules, shortnames = [main], dict[str, Module]()
    libraries: list[tuple[str, str]] = []
    missing: list[str] = []

    def load(name: str, requester: Module | None) -> None:
        if name in shortnames:
            return
        try:
            found = search.find(name, requester)
        except NotFound:
            if requester is not None:
                missing.append(name)
            return
        finally:
            rows = [c for c in candidates(search.steps) if c.rule != "libc"]
            opened.extend(row.path for row in rows)
        if found.rule == "libc":
            if rows:
                name = (
                    "libc.so"  # a second C library was found: the loader asks itself for this one
                )
            # Once for each of the C library's names, whatever follows the dot.
            stem = name.partition(".")[0]
            if stem not in [n.partition(".")[0] for n, p in libraries if p == found.path]:
                libraries.append((name, found.path))
            return
        for module in modules[1:]:
            if module.file is found.file:
                if found.shortname and module.path.rpartition("/")[2] not in shortnames:
                    shortnames[module.path.rpartition("/")[2]] = module
                return
        module = Module(found.file, found.path)
        module.loader = requester
        modules.append(module)
        if found.shortname:
            shortnames[found.shortname] = module
        libraries.append((name, found.path))

    for name, _source in search.preloads():
        load(name, None)
    for module in modules:
        for name in module.file.needed:
            load(name, module)
    return Listing(libraries, missing, opened)


def compare(
    bed: Bed, program: str = "./main", env: Mapping[str, str] | None = None, **options: object
) -> dict[str, str]:
    """Name -> path of our answer, after it was found equal to the loader's."""
    env = {k: v.replace("$DIR", str(bed.place)) for k, v in (env or {}).items()}
    theirs = ask_loader(program, env, bed.place)
    search = SearchOptions(env=env, by_loader=True, **options)  # type: ignore[arg-type]
    ours = ask_us(program, bed.place, search)
    assert ours.libraries == theirs.libraries
    assert ours.missing == theirs.missing
    if theirs.opened is not None:
        aside = f"/etc/ld-musl-{toolchain.HOST}.path"
        assert ours.opened == [path for path in theirs.opened if path != aside]
    return dict(ours.libraries)


def test_env_before_rpath_before_path_file(bed: Bed) -> None:
    for place in ("env", "rp"):
        bed.lib(f"{place}/libx.so")
    bed.lib("rp/liby.so")
    bed.main("libx.so", "liby.so", "libnowhere.so", rpath="$ORIGIN/rp")
    found = compare(bed, env={"LD_LIBRARY_PATH": "$DIR/none:$DIR/env"})
    assert found["libx.so"].endswith("/env/libx.so")
    assert found["liby.so"].endswith("/rp/liby.so")


def test_runpath_is_inherited(bed: Bed) -> None:
    bed.lib("a/libdep.so", "libx.so", runpath="$ORIGIN/x1:$ORIGIN/x2")
    bed.lib("a/libx.so", "liby.so")
    bed.lib("a/x2/liby.so")
    bed.main("libdep.so", runpath="$ORIGIN/a")
    assert compare(bed)["liby.so"].endswith("/a/x2/liby.so")


def test_empty_elements_are_no_directories(bed: Bed) -> None:
    bed.lib("libx.so")
    bed.lib("a/liby.so")
    bed.main("libx.so", "liby.so", rpath="::$ORIGIN/a:")
    found = compare(bed, env={"LD_LIBRARY_PATH": ":\n:"})
    assert "libx.so" not in found


def test_newline_divides_too(bed: Bed) -> None:
    bed.lib("b/libx.so")
    bed.main("libx.so")
    assert compare(bed, env={"LD_LIBRARY_PATH": "$DIR/a\n$DIR/b"})["libx.so"].endswith("/b/libx.so")


def test_semicolon_does_not_divide(bed: Bed) -> None:
    bed.lib("b/libx.so")
    bed.main("libx.so")
    assert "libx.so" not in compare(bed, env={"LD_LIBRARY_PATH": "$DIR/a;$DIR/b"})


@pytest.mark.parametrize(
    "text",
    [
        "$ORIGIN/a",
        "${ORIGIN}/a",
        "$ORIGINa",
        "$ORIGIN/a:$LIB",
        "${ORIGIN/a",
        "$ORIGIN/b:${ORIGIN}/$ORIGIN/a",
        "$",
    ],
)
def test_tokens(bed: Bed, text: str) -> None:
    bed.lib("a/libx.so")
    bed.main("libx.so", rpath=text)
    compare(bed)
    compare(bed, "main")


def test_origin_of_a_library_is_the_path_it_was_opened_by(bed: Bed) -> None:
    bed.lib("real/libdep.so", "libx.so", runpath="$ORIGIN/x")
    bed.lib("real/x/libx.so")
    bed.lib("link/x/libx.so")
    (bed.place / "link/libdep.so").symlink_to("../real/libdep.so")
    bed.main("libdep.so", runpath="$ORIGIN/link")
    assert compare(bed)["libx.so"].endswith("/link/x/libx.so")


def test_names_of_the_c_library_are_the_loader(bed: Bed) -> None:
    names = (
        "libc.so",
        "libpthread.so.0",
        "libm.so.6",
        "librt.so",
        "libutil.so.1",
        "libdl.so",
        "libxnet.so",
    )
    for name in names:
        bed.lib(f"a/{name}")
    bed.lib("a/libcx.so")
    bed.main(*names, "libc.so.6", "libcx.so", rpath="$ORIGIN/a")
    found = compare(bed)
    assert found["libm.so.6"] == LOADER
    assert found["libcx.so"].endswith("/a/libcx.so")


def test_second_c_library_gives_way(bed: Bed) -> None:
    source = bed.place / "libc.c"
    source.write_text("int __libc_start_main, stdin;")
    bed.lib("a/libother.so", flags=["-fPIC", str(source)])
    bed.main("libother.so", rpath="$ORIGIN/a")
    found = compare(bed)
    assert LOADER in found.values()


def test_soname_is_not_compared(bed: Bed) -> None:
    bed.lib("a/liba.so", soname="libx.so")
    bed.lib("b/libx.so")
    bed.main("liba.so", "libx.so", rpath="$ORIGIN/a:$ORIGIN/b")
    assert len(compare(bed)) == 2


def test_shortname_and_identity(bed: Bed) -> None:
    bed.lib("a/liba.so", "libb.so", "liba.so")
    os.link(bed.place / "a/liba.so", bed.place / "a/libb.so")
    bed.main("./a/liba.so", "liba.so", "libb.so", rpath="$ORIGIN/a")
    compare(bed)


def test_slash_name(bed: Bed) -> None:
    bed.lib("a/libx.so")
    bed.main("./a/libx.so", "./nowhere/liby.so")
    compare(bed)


def test_file_that_is_no_library_fails_the_load(bed: Bed) -> None:
    (bed.place / "a").mkdir()
    (bed.place / "a/libx.so").write_text("no library\n" * 100)
    bed.lib("b/libx.so")
    bed.main("libx.so", rpath="$ORIGIN/a:$ORIGIN/b")
    assert "libx.so" not in compare(bed)


def test_directory_of_that_name_fails_the_load(bed: Bed) -> None:
    (bed.place / "a/libx.so").mkdir(parents=True)
    bed.lib("b/libx.so")
    bed.main("libx.so", rpath="$ORIGIN/a:$ORIGIN/b")
    assert "libx.so" not in compare(bed)


def test_loop_of_links_ends_the_search(bed: Bed) -> None:
    (bed.place / "a").mkdir()
    (bed.place / "a/libx.so").symlink_to("libx.so")
    bed.lib("b/libx.so")
    bed.main("libx.so", rpath="$ORIGIN/a:$ORIGIN/b")
    assert "libx.so" not in compare(bed)


def test_file_in_place_of_a_directory_is_passed_over(bed: Bed) -> None:
    bed.lib("b/libx.so")
    bed.main("libx.so", rpath="$ORIGIN/main:$ORIGIN/b")
    assert compare(bed)["libx.so"].endswith("/b/libx.so")


def test_path_too_long_is_passed_over(bed: Bed) -> None:
    bed.lib("b/libx.so")
    bed.main("libx.so", rpath="/" + "x/" * 252 + ":$ORIGIN/b")
    assert compare(bed)["libx.so"].endswith("/b/libx.so")


@pytest.mark.parametrize(
    "text", ["libp.so", "libp.so:libq.so", "\tlibq.so\n$DIR/a/libp.so ", "libnowhere.so libp.so"]
)
def test_preload(bed: Bed, text: str) -> None:
    bed.lib("a/libp.so")
    bed.lib("a/libq.so")
    bed.main("libp.so", rpath="$ORIGIN/a")
    compare(bed, env={"LD_PRELOAD": text, "LD_LIBRARY_PATH": "$DIR/a"})


def test_path_file_beside_another_loader(bed: Bed) -> None:
    """PREFIX/lib/ld-musl-ARCH.so.1 reads PREFIX/etc/ld-musl-ARCH.path, or takes the built-in list."""
    prefix = bed.place / "prefix"
    (prefix / "lib").mkdir(parents=True)
    shutil.copy2(LOADER, prefix / f"lib/ld-musl-{toolchain.HOST}.so.1")
    loader = str(prefix / f"lib/ld-musl-{toolchain.HOST}.so.1")
    bed.lib("b/libx.so")
    bed.main("libx.so", "liby.so", flags=[f"-Wl,--dynamic-linker={loader}"])
    options = SearchOptions(env={}, by_loader=True)
    for text in (None, f"{bed.place}/a\n{bed.place}/b:/c\n"):
        if text is not None:
            (prefix / "etc").mkdir()
            (prefix / f"etc/ld-musl-{toolchain.HOST}.path").write_text(text)
        theirs = ask_loader("./main", {}, bed.place, loader)
        ours = ask_us("./main", bed.place, options)
        assert ours.libraries == theirs.libraries
        assert ours.missing == theirs.missing
        if theirs.opened is not None:
            assert ours.opened == [path for path in theirs.opened if not path.endswith(".path")]


def test_origin_of_a_program_started_by_the_kernel_is_the_real_file(bed: Bed) -> None:
    source = bed.place / "x.c"
    source.write_text("int x(void) { return VALUE; }")
    bed.lib("real/x/libx.so", flags=["-fPIC", "-DVALUE=7", str(source)])
    bed.lib("link/x/libx.so", flags=["-fPIC", "-DVALUE=9", str(source)])
    program = bed.place / "main.c"
    program.write_text("int x(void); int main(void) { return x(); }")
    argv = ["musl-gcc", "-o", "real/main", "main.c", "-Lreal/x", "-lx", "-Wl,-rpath,$ORIGIN/x"]
    subprocess.run(argv, cwd=bed.place, check=True)
    (bed.place / "link/main").symlink_to("../real/main")
    assert subprocess.run([bed.place / "link/main"], check=False).returncode == 7
    ours = ask_us("link/main", bed.place, SearchOptions(env={}))
    assert dict(ours.libraries)["libx.so"] == f"{bed.place}/real/x/libx.so"


def test_secure_mode(bed: Bed) -> None:
    """ldso/dynlink.c: no LD_*, no $ORIGIN of the program; that of a library only if it is absolute."""
    bed.lib("a/libx.so")
    bed.main("libx.so", rpath="$ORIGIN/a")
    env = {"LD_LIBRARY_PATH": str(bed.place / "a"), "LD_PRELOAD": "libx.so"}
    ours = ask_us("./main", bed.place, SearchOptions(env=env, secure=True))
    assert (ours.libraries, ours.missing) == ([], ["libx.so"])
