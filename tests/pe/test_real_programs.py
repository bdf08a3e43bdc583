"""Windows code of others doing real work: an interpreter built from Debian's source, DLLs out of wheels of the package index.

Nothing of it is kept with the tests: it is fetched once into the cache of compiled tests. Wine, zlib, sqlite3 and hashlib
of this Python are the judges.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rtld
import toolchain
from cli.support import environment
from pe import windows
from rtld.backends.windows.native import check_host
from rtld.backends.windows.tables import TABLES
from rtld.errors import Unsupported

Need = Callable[[str], None]
SCRIPT = Path(__file__).parent / "api" / "work.lua"
SOURCE = "lua5.4"
#: Where scripts/wine32 puts Wine's DLLs for i386.
WINE_I386 = toolchain.cache_root() / "wine32/usr/lib/i386-linux-gnu/wine/i386-windows"
WHEELS = {
    "libcrypto-3": ("psycopg2-binary==2.9.11", "psycopg2_binary.libs/libcrypto-3"),
    "libcrypto-1.1": ("psycopg-binary==3.2.3", "psycopg_binary.libs/libcrypto-1"),
    "sqlite3": ("pyproj==3.6.1", "pyproj.libs/sqlite3"),
    "zlib1": ("pyproj==3.6.1", "pyproj.libs/zlib1"),
}

try:
    check_host()
    WAYS = ["emulated", "native"]
except Unsupported:
    WAYS = ["emulated"]


def once(name: str, make: Callable[[Path], None]) -> Path:
    """A directory that is made once, by one of the processes that want it."""
    place = toolchain.cache_root() / name
    with open(f"{place}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / ".done").exists():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            make(place)
            (place / ".done").touch()
    return place


# -- an interpreter -------------------------------------------------------------------------------


def lua_source(need: Need) -> Path:
    """The source of Lua, as the archive has it from which this machine's apt gets its packages."""
    if not shutil.which("apt-get"):
        need("apt-get")
    asked = subprocess.run(["apt-get", "download", "--print-uris", SOURCE], capture_output=True, text=True, check=False)  # fmt: skip
    words = asked.stdout.split()
    if asked.returncode or len(words) < 2:
        need(f"the package {SOURCE}")
    directory = words[0].strip("'").rpartition("/")[0]
    version = words[1].split("_")[1].partition("-")[0]

    def make(place: Path) -> None:
        archive = place / "orig.tar.gz"
        try:
            with urllib.request.urlopen(f"{directory}/{SOURCE}_{version}.orig.tar.gz", timeout=30) as answer:  # fmt: skip
                archive.write_bytes(answer.read())
        except OSError:
            need(f"the source of {SOURCE}")
        with tarfile.open(archive) as tar:
            tar.extractall(place, filter="data")

    return next(once(f"source-{SOURCE}-{version}", make).glob("*/src"))


def lua(arch: str, need: Need) -> Path:
    """The interpreter, compiled for a CPU."""
    source = lua_source(need)
    cc = windows.compiler(arch, need)
    files = sorted(str(p) for p in source.glob("*.c") if p.name != "luac.c")
    command = [cc, "-O1", "-static-libgcc", "-o", "lua.exe", *files, "-lm"]
    return toolchain.compile_all([toolchain.version_of(cc), *command], [command]) / "lua.exe"


@pytest.mark.parametrize("arch", ["x86_64", "i386"])
@pytest.mark.parametrize("crt", ["builtin", "guest"])
def test_lua_runs_a_script(arch: str, crt: str, need: Need, tmp_path: Path) -> None:
    if crt == "builtin" and "_setjmp" not in TABLES["msvcrt.dll"].functions:
        pytest.skip("our C library has no setjmp")
    words = ["--crt", crt]
    if crt == "guest":
        directory = windows.WINE_DLLS if arch == "x86_64" else WINE_I386
        if not directory.is_dir():
            need("Wine for i386 (scripts/wine32)")
        words += ["--windows-dir", str(directory)]
    outputs = []
    for judge in (True, False):
        place = tmp_path / ("wine" if judge else "ours")
        place.mkdir()
        (place / "work.lua").write_bytes(SCRIPT.read_bytes())
        (place / "lua.exe").write_bytes(lua("x86_64" if judge else arch, need).read_bytes())
        if judge:
            judged = windows.wine(["lua.exe", "work.lua", "argument"], need, cwd=place)
            outputs.append((judged.status, judged.out))
        else:
            done = subprocess.run(
                [sys.executable, "-m", "rtld", "run", "--timeout", "120", *words, "lua.exe", "work.lua", "argument"],
                cwd=place, env=environment(), capture_output=True, timeout=180, check=False, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            outputs.append((done.returncode, done.stdout))
            assert b"to standard error" in done.stderr
    assert outputs[0] == outputs[1]
    assert outputs[0][0] == 23
    assert outputs[0][1].count(b"\n") > 25


# -- Wine's own console programs ------------------------------------------------------------------

COMMANDS = [
    ("cmd.exe", "/c", "echo hi & type t.txt & echo %UNKNOWN% & if exist t.txt (echo yes) else echo no"),
    ("cmd.exe", "/c", "for %i in (1 2 3) do @echo %i & set /a 6*7 & set X=5&& echo done"),
    ("cmd.exe", "/c", "mkdir q\\r && copy t.txt q\\r\\c.txt && type q\\r\\c.txt && move q\\r\\c.txt q\\m.txt && dir /b q"),
    ("cmd.exe", "/c", "mkdir q\\r && del d\\a.txt && rmdir /s /q q && echo gone & rmdir d & dir /b & ren t.txt u.txt"),
    ("cmd.exe", "/c", 'child.exe one "two words" & echo error %ERRORLEVEL%'),
    ("find.exe", "an", "t.txt"),
    ("xcopy.exe", "d", "f", "/i", "/s"),
    ("attrib.exe", "+r", "t.txt"),
    ("fsutil.exe",),
    ("net.exe", "help"),
    ("reg.exe", "query", "HKCU", "/?"),
    ("start.exe", "/?"),
]  # fmt: skip
CHILD = r"""
#include <stdio.h>
int main(int argc, char **argv) { int i; for (i = 0; i < argc; i++) printf("[%s]", argv[i]); printf("\n"); return argc; }
"""


def test_wines_console_programs_do_what_they_do_under_wine(need: Need, tmp_path: Path) -> None:
    """Of x86-64, with our C library: what they print, their exit codes, the files they leave."""
    if not (windows.WINE_DLLS / "cmd.exe").exists():
        need("Wine's programs")
    child = windows.build(CHILD, "child.exe", need, "-O1").read_bytes()
    for number, command in enumerate(COMMANDS):
        results: list[Any] = []
        for judge in (True, False):
            place = tmp_path / f"{number}-{judge}"
            (place / "d/e").mkdir(parents=True)
            (place / "child.exe").write_bytes(child)
            for name in ("t.txt", "d/a.txt", "d/e/b.txt"):
                (place / name).write_bytes(b"banana\r\napple\r\ncherry\r\n")
            if judge:
                judged = windows.wine(command, need, cwd=place)
                status, out = judged.status, judged.out
                root = "Z:" + str(place).replace("/", "\\")
                out = out.replace(root.encode(), b"C:")
            else:
                program = str(windows.WINE_DLLS / command[0])
                done = subprocess.run(
                    [sys.executable, "-m", "rtld", "run", "--timeout", "60", program, *command[1:]],
                    cwd=place, env=environment(), capture_output=True, timeout=120, check=False, stdin=subprocess.DEVNULL,
                )  # fmt: skip
                status, out = done.returncode, done.stdout
                assert b"rtld:" not in done.stderr, command
            files = {str(p.relative_to(place)): p.read_bytes() if p.is_file() else None for p in place.rglob("*")}  # fmt: skip
            results.append((status, out.decode("latin-1"), files))
        assert results[0] == results[1], command


# -- DLLs out of wheels ---------------------------------------------------------------------------


def from_wheel(name: str, need: Need) -> str:
    """The path of a DLL; those beside it in the wheel are beside it there."""
    wheel, prefix = WHEELS[name]

    def make(place: Path) -> None:
        command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--platform", "win_amd64",
                   "--python-version", "3.11", "--only-binary=:all:", "--no-deps", "-d", str(place), wheel]  # fmt: skip
        if subprocess.run(command, capture_output=True, check=False, timeout=300).returncode:
            need(f"{wheel} for Windows")
        for path in place.glob("*.whl"):
            with zipfile.ZipFile(path) as archive:
                for member in archive.namelist():
                    if member.endswith(".dll"):
                        archive.extract(member, place)

    place = once("wheel-" + wheel.replace("=", "-"), make)
    return str(next(place.glob(f"{prefix}*.dll")))


def opened(name: str, way: str, need: Need) -> Any:
    return rtld.dlopen(from_wheel(name, need), native=way == "native")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["libcrypto-3", "libcrypto-1.1"])
def test_sha256_of_libcrypto(name: str, way: str, need: Need) -> None:
    library = opened(name, way, need)
    for data in (b"", b"abc", bytes(range(256)) * 41):
        digest = ctypes.create_string_buffer(32)
        library.SHA256(data, len(data), digest)
        assert digest.raw == hashlib.sha256(data).digest()


@pytest.mark.parametrize("way", WAYS)
def test_zlib1_packs_and_unpacks(way: str, need: Need) -> None:
    library = opened("zlib1", way, need)
    data = b"what is said often is packed well; " * 300
    packed = ctypes.create_string_buffer(len(data))
    size = ctypes.c_uint32(len(data))
    assert library.compress(packed, ctypes.byref(size), data, len(data)) == 0
    assert zlib.decompress(packed.raw[: size.value]) == data
    out = ctypes.create_string_buffer(len(data))
    room = ctypes.c_uint32(len(data))
    mine = zlib.compress(data)
    assert library.uncompress(out, ctypes.byref(room), mine, len(mine)) == 0
    assert out.raw[: room.value] == data
    assert library.crc32(0, data, len(data)) & 0xFFFFFFFF == zlib.crc32(data)


SQL = [
    "create table words(id integer primary key, word text, weight real)",
    "insert into words(word, weight) values ('alpha', 1.5), ('beta', 2.25), ('gamma', -3.0), ('beta', 10)",
    "create index by_word on words(word)",
    "create table numbers as with recursive n(i) as (select 1 union all select i + 1 from n where i < 300) select i from n",
    "insert into words(word, weight) select 'w' || i, i * 0.5 from numbers",
]
QUERY = (
    "select word, count(*), cast(sum(weight) as text), upper(substr(word, 1, 3)), printf('%08.3f', avg(weight)) "
    "from words group by word having sum(weight) > 140 or word in ('alpha', 'beta') order by 2 desc, 1"
)


@pytest.mark.parametrize("way", WAYS)
def test_sqlite3_answers_as_this_pythons_does(way: str, need: Need) -> None:
    expected = sqlite3.connect(":memory:")
    for statement in SQL:
        expected.execute(statement)
    rows = [tuple(map(str, row)) for row in expected.execute(QUERY)]
    assert len(rows) > 10
    library = opened("sqlite3", way, need)
    if way == "native":  # pointers of 64 bits are no plain int to ctypes
        pointer = ctypes.c_uint64
        for name, types in {
            "sqlite3_exec": [pointer, ctypes.c_char_p, *[pointer] * 3], "sqlite3_step": [pointer],
            "sqlite3_prepare_v2": [pointer, ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p, pointer],
            "sqlite3_column_count": [pointer], "sqlite3_column_text": [pointer, ctypes.c_int],
            "sqlite3_finalize": [pointer], "sqlite3_close": [pointer],
        }.items():  # fmt: skip
            getattr(library, name).argtypes = types
    database, query_handle = ctypes.c_uint64(), ctypes.c_uint64()
    assert library.sqlite3_open(b":memory:", ctypes.byref(database)) == 0
    for text in SQL:
        assert library.sqlite3_exec(database.value, text.encode(), 0, 0, 0) == 0
    query = QUERY.encode()
    assert library.sqlite3_prepare_v2(database.value, query, len(query), ctypes.byref(query_handle), 0) == 0  # fmt: skip
    library.sqlite3_column_text.restype = ctypes.c_char_p
    got = []
    while library.sqlite3_step(query_handle.value) == 100:
        count = library.sqlite3_column_count(query_handle.value)
        got.append(tuple(library.sqlite3_column_text(query_handle.value, i).decode() for i in range(count)))  # fmt: skip
    assert got == rows
    assert library.sqlite3_finalize(query_handle.value) == 0
    assert library.sqlite3_close(database.value) == 0
