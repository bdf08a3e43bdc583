"""What ld.so says on standard error and goes on, or stops: sizes, versions, protected symbols, IFUNCs, preloads, bad files."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ORIGIN = "-Wl,-rpath,$ORIGIN"
HOWS: tuple[list[str], ...] = ([], ["--lazy"], ["--now"])

Done = subprocess.CompletedProcess[bytes]
Make = Callable[..., Path]
Same = Callable[..., Done]


@pytest.fixture
def make(cc: Callable[..., Path], tmp_path: Path) -> Make:
    """``make(text, "liba.so", flags...)``: a library with that soname, or a program, in the test's own directory."""

    def compiled(text: str, output: str, *flags: str) -> Path:
        library = output.startswith("lib")
        kind = ["-shared", "-fPIC", f"-Wl,-soname,{output}"] if library else [ORIGIN]
        made = cc(text, output, *kind, "-w", *flags)
        target = tmp_path / output
        target.unlink(missing_ok=True)
        target.write_bytes(made.read_bytes())
        target.chmod(0o755)
        return target

    return compiled


@pytest.fixture
def every(same: Same) -> Same:
    """``same`` in all three ways of binding; returns the run of the first."""

    def compare(command: list[str], env: dict[str, str] | None = None) -> Done:
        for how in HOWS[1:]:
            now = {"LD_BIND_NOW": "1"} if how == ["--now"] else {}
            same(command, *how, env={**(env or {}), **now})
        return same(command, env=env)

    return compare


def lines(done: Done) -> list[str]:
    return done.stderr.decode().splitlines()


# -- COPY relocations, protected symbols --------------------------------------------------------------

FIXED = ("-fno-pic", "-no-pie")
COPIES = """
#include <stdio.h>
extern int v[4];
int main(void) { printf("%d %d\\n", v[0], v[3]); }
"""


@pytest.mark.parametrize(
    ("size", "warned"), [(8, [True, True]), (2, [False, True]), (4, [False] * 2)]
)
def test_size_of_a_copied_variable(make: Make, every: Same, size: int, warned: list[bool]) -> None:
    """A larger one is told, a smaller one if LD_WARN is set."""
    library = make("int v[4] = {1, 2, 3, 4};", "liba.so")
    make(COPIES, "main", *FIXED, str(library))
    make(f"int v[{size}] = {{1, 2}};", "liba.so")
    for env, expected in zip(({"LD_WARN": ""}, {"LD_WARN": "1"}), warned, strict=True):
        done = every(["./main"], env)
        assert any("has different size" in line for line in lines(done)) == expected


@pytest.mark.parametrize("strict", [False, True])
def test_copy_of_a_protected_variable(make: Make, every: Same, strict: bool) -> None:
    library = make("int v[4] = {1, 2, 3, 4};", "liba.so")
    make(COPIES, "main", *FIXED, str(library))
    text = '__attribute__((visibility("protected"))) int v[4] = {1, 2, 3, 4};'
    make(text, "liba.so", *(["-Wl,-z,indirect-extern-access"] if strict else []))
    done = every(["./main"])
    assert len(lines(done)) == 2 if strict else 1
    assert done.returncode == (127 if strict else 0)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("flags", [[], ["-Wl,-z,now"]])
def test_address_of_a_protected_function(
    make: Make, every: Same, strict: bool, flags: list[str]
) -> None:
    """Said when the function is bound: at its first call, among what the program says itself."""
    text = "int function(void) { return 3; } int other(void) { return 4; }"
    library = make(text, "liba.so")
    main = """
    #include <unistd.h>
    int function(void), other(void);
    int (*pointer)(void) = function;
    int main(int count, char **names) {
        write(2, "begin\\n", 6);
        if (count > 1) return other();
        if (pointer != function) return 1;
        pointer();
        function();
        write(2, "end\\n", 4);
        return function();
    }
    """
    make(main, "main", *FIXED, *flags, str(library))
    text = '__attribute__((visibility("protected"))) ' + text
    make(text, "liba.so", *(["-Wl,-z,indirect-extern-access"] if strict else []))
    said = [line for line in lines(every(["./main"])) if line.startswith("warning: direct")]
    assert len(said) == 1
    every(["./main", "without calling it"])


# -- versions -------------------------------------------------------------------------------------

VERSIONS = "V1 { global: f; }; V2 { global: g; } V1; V3 { global: h; } V2;"
PROVIDER = "int f(void) { return 1; } int g(void) { return 2; } int h(void) { return 3; }"


@pytest.fixture
def versioned(make: Make, tmp_path: Path) -> Callable[..., Path]:
    """``versioned(text, script)``: liba.so with these versions."""

    def library(text: str, script: str) -> Path:
        # What is compiled is remembered by its flags: another script has another name.
        file = tmp_path / f"script{len(list(tmp_path.glob('script*')))}"
        file.write_text(script)
        return make(text, "liba.so", f"-Wl,--version-script,{file}")

    return library


def weaken(path: Path, version: bytes) -> None:
    """Set VER_FLG_WEAK in the Vernaux that names *version*: link editors do so for weak references only in newer binutils."""
    from rtld.elf.file import ElfFile

    data = bytearray(path.read_bytes())
    file = ElfFile(bytes(data), str(path))
    assert file.dynamic is not None
    at = file.file_offset(file.dynamic[0x6FFFFFFE], 16)
    while True:
        _version, count, _file, first, step = struct.unpack_from("<HHIII", data, at)
        entry = at + first
        for _ in range(count):
            _hash, _flags, _other, name, hop = struct.unpack_from("<IHHII", data, entry)
            if file.string_bytes(name) == version:
                struct.pack_into("<H", data, entry + 4, 2)
            entry += hop
        if not step:
            break
        at += step
    path.write_bytes(data)


def test_versions_that_are_missing(make: Make, versioned: Callable[..., Path], every: Same) -> None:
    """All are told, weak ones among them; only those that are not weak end it."""
    library = versioned(PROVIDER, VERSIONS)
    user = "int f(void), g(void); extern int h(void) __attribute__((weak)); int b(void) { return f() + g() + (h ? h() : 4); }"
    needs = make(user, "libb.so", str(library), ORIGIN)
    make(
        "int b(void), g(void); int main(void) { return b() + g(); }",
        "main",
        str(needs),
        str(library),
    )
    weaken(needs, b"V3")
    versioned(
        "int f(void) { return 1; } int g(void) { return 1; }",
        "V1 { global: f; }; V9 { global: g; };",
    )
    done = every(["./main"])
    assert done.returncode == 1
    assert len(lines(done)) == 3
    versioned(
        "int f(void) { return 1; } int g(void) { return 1; }",
        "V1 { global: f; }; V2 { global: g; };",
    )
    done = every(["./main"])
    assert ["weak version" in line for line in lines(done)] == [True]


def test_no_version_information(make: Make, versioned: Callable[..., Path], every: Same) -> None:
    """Once for each version that each file requires."""
    library = versioned(PROVIDER, VERSIONS)
    needs = make(
        "int f(void), g(void); int b(void) { return f() + g(); }", "libb.so", str(library), ORIGIN
    )
    make(
        "int b(void), h(void); int main(void) { return b() + h(); }",
        "main",
        str(needs),
        str(library),
    )
    # It refers to libc's versions, so it has a table of versions.
    make("#include <stdio.h>\n" + PROVIDER.replace("return 1", 'return puts("f"), 1'), "liba.so")
    assert len(lines(every(["./main"]))) == 3


# -- IFUNCs ---------------------------------------------------------------------------------------

IFUNC = """
static int one(void) { return 41; }
static void *resolver(void) { return one; }
int f(void) __attribute__((ifunc("resolver")));
"""
CALLER = "int f(void); int a(void) { return f(); }"
HOLDER = "int f(void); int (*p)(void) = f; int (*q)(void) = f; int a(void) { return p(); }"


@pytest.mark.parametrize("text", [CALLER, HOLDER])
@pytest.mark.parametrize("flags", [[], ["-Wl,-z,now"]])
def test_ifunc_of_a_later_library(make: Make, every: Same, text: str, flags: list[str]) -> None:
    """liba.so does not name libb.so, which is relocated after it."""
    first = make(IFUNC, "libb.so")
    second = make(text, "liba.so", *flags)
    make(
        "int a(void); int main(void) { return a(); }",
        "main",
        "-Wl,--no-as-needed",
        str(first),
        str(second),
    )
    assert every(["./main"]).returncode == 41


@pytest.mark.parametrize("text", [CALLER, HOLDER])
def test_ifunc_of_the_program(make: Make, every: Same, text: str) -> None:
    library = make(text, "liba.so")
    main = IFUNC + "int a(void); int main(void) { return a(); }"
    make(main, "main", "-Wl,-E", str(library))
    every(["./main"])


def test_ifunc_of_the_program_for_libc(make: Make, every: Same) -> None:
    main = """
    #include <string.h>
    extern void *__libc_malloc(size_t);
    static void *own(size_t size) { return __libc_malloc(size); }
    static void *resolver(void) { return own; }
    void *malloc(size_t) __attribute__((ifunc("resolver")));
    int main(void) { return strdup("x") == 0; }
    """
    make(main, "main", "-fno-builtin")
    assert b"circular" in every(["./main"]).stderr


OPENS = """
#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>
int main(int count, char **names) {
    if (names[1][1]) dup2(1, 2);
    for (int i = 2; i < count; ++i) {
        void *library = dlopen(names[i], names[1][0] == 'n' ? RTLD_NOW : RTLD_LAZY);
        int (*b)(void) = library ? dlsym(library, "b") : 0;
        printf("%s: %d\\n", library ? names[i] : dlerror(), b ? b() : -1);
        fflush(stdout);
    }
}
"""


@pytest.mark.parametrize("how", ["n", "l", "n2"])
@pytest.mark.parametrize("text", [CALLER, HOLDER])
def test_ifunc_of_a_later_library_that_is_opened(
    make: Make, same: Same, text: str, how: str
) -> None:
    """It is said on the program's standard error, wherever that leads by then, and before what cannot be found."""
    first, second = make(IFUNC, "libb.so"), make(text, "liba.so")
    for name, user in (
        ("libc1.so", ""),
        ("libc2.so", "int nobody(void); int n(void) { return nobody(); }"),
    ):
        make(
            f"int a(void); int b(void) {{ return a(); }} {user}",
            name,
            "-Wl,--no-as-needed",
            str(first),
            str(second),
            ORIGIN,
        )
    make(OPENS, "main")
    for options in ([], ["--lazy"]):
        same(["./main", how, "./libc1.so", "./libc1.so"], *options)
        same(["./main", how, "./libc2.so", "./libc1.so"], *options)


def test_all_in_their_order(make: Make, every: Same) -> None:
    """Libraries before the program; nothing after what ends it."""
    first, second = make(IFUNC, "libb.so"), make(HOLDER, "liba.so")
    third = make("int v[4]; int g(void) { return 1; }", "libv.so")
    main = "extern int v[4]; int a(void), g(void); int main(int c, char **n) { return a() + v[0] + (c > 1 ? g() : 0); }"
    for name, flags in (("main", []), ("main_now", ["-Wl,-z,now"])):
        make(main, name, *FIXED, *flags, "-Wl,--no-as-needed", str(first), str(second), str(third))
    make("int v[8];", "libv.so")
    assert len(lines(every(["./main"]))) == 3
    every(["./main", "calls"])
    assert len(lines(every(["./main_now"]))) == 4
    make("int w;", "libv.so")
    assert len(lines(every(["./main"]))) == 3


@pytest.mark.parametrize("kind", ["list", "more", "empty"])
def test_listing(make: Make, tmp_path: Path, rtld_command: list[str], kind: str) -> None:
    """With LD_TRACE_LOADED_OBJECTS ld.so lists the files, warns of nothing unless LD_WARN is set, and starts nothing."""
    library = make("int f(void) { return 3; } int g(void) { return 4; }", "liba.so")
    make("int f(void), g(void); int main(void) { return f() + g(); }", "main", str(library))
    make("int f(void) { return 3; }", "liba.so")
    env = {"LD_TRACE_LOADED_OBJECTS": "" if kind == "empty" else "1"}
    if kind == "more":
        env |= {"LD_WARN": "1", "LD_BIND_NOW": "1"}
    native = subprocess.run(
        ["./main"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    settings = [part for name, value in env.items() for part in ("--env", f"{name}={value}")]
    ours = subprocess.run(
        [*rtld_command, "run", *settings, "./main"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ours.returncode == native.returncode

    def names(text: str) -> list[str]:
        return [line.partition(" (0x")[0] for line in text.splitlines()]

    assert names(ours.stdout) == names(native.stdout)
    assert ours.stderr == native.stderr


# -- where it is written --------------------------------------------------------------------------


def test_names_are_bytes(make: Make, same: Same, tmp_path: Path) -> None:
    library = make("int v[4];", "liba.so")
    program = make("extern int v[4]; int main(void) { return v[0]; }", "main", *FIXED, str(library))
    library = make("int v[8];", "liba.so")
    place = tmp_path / os.fsdecode(b"\xff\xc3\xa9")
    place.mkdir()
    for path in (library, program):
        path.rename(place / path.name)
    assert b"\xff\xc3\xa9/main: Symbol" in same([str(place / "main")]).stderr
    (place / "liba.so").write_bytes(b"")
    same([str(place / "main")], env={"LD_PRELOAD": str(place / "liba.so")})


@pytest.mark.parametrize("where", ["2>&-", "2>/dev/full", "2>&1"])
def test_nobody_listens(make: Make, tmp_path: Path, rtld_command: list[str], where: str) -> None:
    """Standard error is closed, or full: the program runs as ever."""
    library = make("int v[4];", "liba.so")
    make("extern int v[4]; int main(void) { return v[0] + 7; }", "main", *FIXED, str(library))
    make("int v[8];", "liba.so")
    script = tmp_path / "script"
    script.write_text(f'#!/bin/sh\nexec "$@" {where}\n')
    script.chmod(0o755)
    done = [
        subprocess.run(
            [str(script), *how, "./main"], cwd=tmp_path, capture_output=True, check=False
        )
        for how in ([], [*rtld_command, "run"])
    ]
    assert done[0].returncode == done[1].returncode == 7
    assert (done[0].stdout, done[0].stderr) == (done[1].stdout, done[1].stderr)


# -- levels of the CPU's instruction set ----------------------------------------------------------


def raise_level(path: Path) -> None:
    """Make the level that a file needs one that no CPU has."""
    data = bytearray(path.read_bytes())
    at = data.index(struct.pack("<II", 0xC0008002, 4))
    data[at + 8] = 0x80
    path.write_bytes(data)


@pytest.mark.parametrize("who", ["main", "libraries"])
def test_levels_of_the_cpu(make: Make, every: Same, who: str) -> None:
    level = "-Wl,-z,x86-64-v2"
    library = make("int f(void) { return 3; } int b(void) { return 4; }", "liba.so", level)
    user = make("int b(void); int c(void) { return b(); }", "libc1.so", level, str(library), ORIGIN)
    program = make("int f(void); int main(void) { return f(); }", "main", level, str(library))
    make(OPENS, "opens")
    assert every(["./main"]).returncode == 3
    for path in [program] if who == "main" else [library, user]:
        raise_level(path)
    done = every(["./main"])
    assert done.returncode == 127
    assert done.stderr
    every(["./opens", "n", "./liba.so", "./libc1.so"])
    every(["./opens", "n"], {"LD_PRELOAD": "./libc1.so"})


# -- files that are no libraries ------------------------------------------------------------------


def poke(data: bytes, *changes: tuple[int, int]) -> bytes:
    changed = bytearray(data)
    for at, value in changes:
        changed[at] = value
    return bytes(changed)


def without(data: bytes, kind: int) -> bytes:
    """Program headers of one type become PT_NULL."""
    found = [
        at
        for at in range(64, 64 + 56 * data[56], 56)
        if data[at : at + 4] == struct.pack("<I", kind)
    ]
    return poke(data, *[(at + i, 0) for at in found for i in range(4)])


BAD: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "short": lambda data: data[:40],
    "text": lambda data: b"no library\n" * 20,
    "headers only": lambda data: data[:100],
    "class": lambda data: poke(data, (4, 1)),
    "byte order": lambda data: poke(data, (5, 2)),
    "EI_VERSION": lambda data: poke(data, (6, 9)),
    "OS ABI": lambda data: poke(data, (7, 9)),
    "ABI version": lambda data: poke(data, (8, 9)),
    "padding": lambda data: poke(data, (12, 1)),
    "ET_REL": lambda data: poke(data, (16, 1)),
    "ET_EXEC": lambda data: poke(data, (16, 2)),
    "machine": lambda data: poke(data, (18, 183)),
    "e_version": lambda data: poke(data, (20, 9)),
    "e_phoff": lambda data: poke(data, (34, 255)),
    "e_phentsize": lambda data: poke(data, (54, 9)),
    "no headers": lambda data: poke(data, (56, 0)),
    "no PT_LOAD": lambda data: without(data, 1),
    "no PT_DYNAMIC": lambda data: without(data, 2),
    "congruence": lambda data: poke(data, (64 + 56 + 16, 8)),
}


@pytest.mark.parametrize("kind", [*BAD, "directory", "itself", "absent", "position-independent"])
def test_bad_files(make: Make, same: Same, tmp_path: Path, kind: str) -> None:
    """As a need, as a preload, as a path, opened, and needed by what is opened."""
    library = make("int b(void) { return 7; }", "liba.so")
    make("int b(void); int main(void) { return b(); }", "main", str(library))
    make("int main(void) { return 5; }", "other")
    make("int b(void); int c(void) { return b(); }", "libc1.so", str(library), ORIGIN)
    make(OPENS, "opens")
    data = library.read_bytes()
    if kind == "position-independent":
        data = (tmp_path / "other").read_bytes()
    library.unlink()
    if kind == "directory":
        library.mkdir()
    elif kind == "itself":
        library.symlink_to(library.name)
    elif kind != "absent":
        library.write_bytes(BAD[kind](data) if kind in BAD else data)
    assert same(["./main"]).returncode == 127
    assert same(["./other"], env={"LD_PRELOAD": "./liba.so"}).returncode == 5
    same(["./other"], env={"LD_PRELOAD": "none.so liba.so", "LD_LIBRARY_PATH": str(tmp_path)})
    same(["./main"], env={"LD_PRELOAD": "./liba.so"})
    same(["./opens", "n", "./liba.so", "./libc1.so", "liba.so", str(tmp_path / "opens")])


@pytest.mark.parametrize("kind", ["absent", "itself", "directory"])
def test_reasons_of_the_system(
    make: Make, same: Same, tmp_path: Path, cc: Callable[..., Path], kind: str
) -> None:
    """ld.so has numbers for most of them. A need with a slash: it is a path, not searched for."""
    (tmp_path / "need.so").write_bytes(
        cc("int b(void) { return 7; }", "need.so", "-shared", "-fPIC").read_bytes()
    )
    made = tmp_path / "main"
    (tmp_path / "main.c").write_text("int b(void); int main(void) { return b(); }")
    subprocess.run(["gcc", "main.c", "./need.so", "-o", made], cwd=tmp_path, check=True)
    (tmp_path / "need.so").unlink()
    if kind == "itself":
        (tmp_path / "need.so").symlink_to("need.so")
    elif kind == "directory":
        (tmp_path / "need.so").mkdir()
    same(["./main"])
