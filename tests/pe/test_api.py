"""Functions of the system's DLLs: what programs say that call them is what they say under Wine."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import toolchain
from cli.support import environment
from pe import windows

Need = Callable[[str], None]
#: Where scripts/wine32 puts Wine's DLLs for i386.
WINE_I386 = toolchain.cache_root() / "wine32/usr/lib/i386-linux-gnu/wine/i386-windows"
SOURCES = Path(__file__).parent / "api"
#: source -> libraries
PROGRAMS = {
    "files": (),
    "mapping": (),
    "threads": (),
    "process": (),
    "text": ("-luser32",),
    "crt": (),
    "universal": (),
    "completion": (),
    "below": (),
    "registry": ("-ladvapi32", "-lshell32", "-lws2_32", "-lbcrypt"),
}


def ours(path: Path, *arguments: str, cwd: Path, words: tuple[str, ...] = ()) -> subprocess.CompletedProcess[bytes]:  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "rtld", "run", "--timeout", "60", *words, str(path), *arguments],
        cwd=cwd, env=environment(), capture_output=True, timeout=120, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_functions_do_what_wines_do(name: str, need: Need, tmp_path: Path) -> None:
    """One program, both widths: Wine, which runs the wide one here, is the judge."""
    source = (SOURCES / f"{name}.c").read_text()
    libraries = PROGRAMS[name]

    def place(which: str, arch: str) -> Path:
        """A directory of its own: the program writes there, and may be started from there again."""
        directory = tmp_path / which
        directory.mkdir()
        built = windows.build(source, f"{name}.exe", need, "-O1", *libraries, arch=arch)
        (directory / f"{name}.exe").write_bytes(built.read_bytes())
        return directory

    wide = place("wine", "x86_64")
    judged = windows.wine([wide / f"{name}.exe"], need, cwd=wide)
    assert judged.out.count(b"\n") > 8
    for arch in ("x86_64", "i386"):
        here = place(arch, arch)
        done = ours(here / f"{name}.exe", cwd=here)
        assert done.stdout.decode("latin-1") == judged.out.decode("latin-1"), arch
        assert done.returncode == judged.status
        assert b"rtld:" not in done.stderr


@pytest.mark.parametrize("arch", ["x86_64", "i386"])
def test_wines_own_c_library_runs_emulated(arch: str, need: Need, tmp_path: Path) -> None:
    """msvcrt.dll of Wine, on our KERNEL32 and NTDLL: printf, scanf, sorting, files say what they say under Wine."""
    directory = windows.WINE_DLLS if arch == "x86_64" else WINE_I386
    if not directory.is_dir():
        need("Wine's DLLs" if arch == "x86_64" else "Wine for i386 (scripts/wine32)")
    source = (SOURCES / "crt.c").read_text()
    outputs = []
    for judge in (True, False):
        here = tmp_path / str(judge)
        here.mkdir()
        built = windows.build(source, "crt.exe", need, "-O1", arch="x86_64" if judge else arch)
        (here / "crt.exe").write_bytes(built.read_bytes())
        if judge:
            judged = windows.wine([here / "crt.exe"], need, cwd=here)
            outputs.append((judged.status, judged.out.decode("latin-1")))
        else:
            words = ("--crt", "guest", "--windows-dir", str(directory))
            done = ours(here / "crt.exe", cwd=here, words=words)
            assert b"rtld:" not in done.stderr
            outputs.append((done.returncode, done.stdout.decode("latin-1")))
    assert outputs[1] == outputs[0]


OUTSIDE = r"""
#include <windows.h>
#include <stdio.h>
int main(void) {
    WIN32_FIND_DATAA d;
    HANDLE h = FindFirstFileA("*", &d), f;
    do if (d.cFileName[0] == 'l') printf("%s %lu\n", d.cFileName, d.nFileSizeLow); while (FindNextFileA(h, &d));
    f = CreateFileA("link\\secret", GENERIC_READ, 7, 0, OPEN_EXISTING, 0, 0);
    printf("%d %lu\n", f == INVALID_HANDLE_VALUE, GetLastError());
    printf("%d\n", CopyFileA("..\\..\\..\\etc\\passwd", "copied", FALSE));
    printf("%d\n", MoveFileA("inside", "Z:\\tmp\\rtld-outside"));
    printf("%d %d\n", SetCurrentDirectoryA("link"), SetCurrentDirectoryA("Z:\\"));
    printf("%d\n", _open_osfhandle(5, 0) < 0 && write(7, "x", 1) < 0);
    return 0;
}
"""


def test_nothing_outside_is_seen(need: Need, tmp_path: Path) -> None:
    """Links lead out of the directory that a program may see, and numbers to descriptors of ours: neither helps."""
    outside, inside = tmp_path / "out", tmp_path / "in"
    outside.mkdir()
    inside.mkdir()
    (outside / "secret").write_bytes(bytes(12345))
    (inside / "link").symlink_to(outside)
    (inside / "lfile").symlink_to(outside / "secret")
    (inside / "inside").write_text("x")
    text = OUTSIDE.replace("#include <stdio.h>", "#include <stdio.h>\n#include <io.h>")
    done = ours(windows.build(text, "outside.exe", need, "-O1"), cwd=inside)
    lines = done.stdout.decode().splitlines()
    names = dict(line.split() for line in lines[:2])
    assert set(names) == {"lfile", "link"}
    assert names["lfile"] != "12345"
    assert lines[2:] == ["1 5", "0", "0", "0 0", "1"]
    assert not (inside / "copied").exists()


@pytest.mark.parametrize("arch", ["x86_64", "i386"])
def test_streams_of_cplusplus(arch: str, need: Need, tmp_path: Path) -> None:
    """libstdc++ linked in: iostream, containers, files."""
    source = (SOURCES / "streams.cpp").read_text()
    flags = ("-xc++", "-std=c++17", "-O1", "-static")
    judged = windows.wine([windows.build(source, "streams.exe", need, *flags)], need, cwd=tmp_path)
    done = ours(windows.build(source, "streams.exe", need, *flags, arch=arch), cwd=tmp_path)
    assert done.stdout == judged.out
    assert done.returncode == judged.status == 5
    assert not done.stderr


UNIVERSAL = r"""
#include <stdio.h>
#include <windows.h>
int main(void) {
    HMODULE dll = LoadLibraryA("api-ms-win-crt-string-l1-1-0.dll"), host = GetModuleHandleA("ucrtbase.dll");
    HMODULE core = LoadLibraryA("api-ms-win-core-processthreads-l1-1-1.dll");
    size_t (__cdecl *length)(const char *) = (void *)GetProcAddress(dll, "strlen");
    DWORD (WINAPI *id)(void) = (void *)GetProcAddress(core, "GetCurrentThreadId");
    printf("%d %d %d %d\n", dll != 0, dll == host, core != 0, (int)length("seven 7"));
    printf("%d %d\n", id() == GetCurrentThreadId(), GetProcAddress(core, "NoSuchFunction") == 0);
    return 0;
}
"""


@pytest.mark.parametrize("arch", ["x86_64", "i386"])
def test_api_sets_lead_to_the_same_tables(arch: str, need: Need, tmp_path: Path) -> None:
    built = windows.build(UNIVERSAL, "sets.exe", need, "-O1", arch=arch)
    done = ours(built, cwd=tmp_path)
    assert done.stdout == b"1 1 1 7\r\n1 1\r\n"
    assert not done.stderr


def test_what_nobody_has_is_ranked(need: Need, tmp_path: Path) -> None:
    """The most wanted function first; --strict ends the program at the first one."""
    calls = (
        "EndUpdateResourceA(0, 1);" * 2 + "SetMailslotInfo(0, 0);" * 3 + "return GetLastError();"
    )
    built = windows.build(f"#include <windows.h>\nint main(void) {{ {calls} }}", "ranked.exe", need)
    done = ours(built, cwd=tmp_path)
    assert done.returncode == 120
    assert b"KERNEL32.dll!SetMailslotInfo (3), KERNEL32.dll!EndUpdateResourceA (2)" in done.stderr
    strict = ours(built, cwd=tmp_path, words=("--strict",))
    assert strict.returncode == 126
    assert b"KERNEL32.dll!EndUpdateResourceA is not supplied" in strict.stderr


def test_late_functions_are_those_of_their_files() -> None:
    """What is said of files that are read late is what they declare; nothing is declared twice."""
    done = subprocess.run([sys.executable, "-c", LATE], env=environment(), capture_output=True, text=True, check=False)  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


LATE = """
import importlib
from rtld.backends.windows import late, tables
for file, dlls in late.LATE_FUNCTIONS.items():
    before = {name: set(table.functions) for name, table in tables.TABLES.items()}
    importlib.import_module(f"rtld.backends.windows.{file}")
    for name, table in tables.TABLES.items():
        said, new = set(dlls.get(name, "").split()), set(table.functions) - before.get(name, set())
        if said != new:
            print(file, name, said ^ new)
"""
