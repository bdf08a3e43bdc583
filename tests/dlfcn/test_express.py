"""Two calls of machine code load a library as the long way does: memory, tables, order, what is told of it, and errors."""

from __future__ import annotations

import ctypes
import glob
import json
import os
import runpy
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rtld
from rtld.backends import inprocess as machine
from rtld.dlfcn.names import exported
from rtld.errors import RtldError
from rtld.process.inprocess.calls import look_up, scope_of_handle
from rtld.process.inprocess.close import init_functions
from rtld.process.inprocess.express import open_at_once, symbol_at_once
from rtld.process.inprocess.open import open_library
from rtld.process.inprocess.space import span

LIBRARIES = sorted(
    {os.path.realpath(path) for path in glob.glob("/usr/lib/x86_64-linux-gnu/lib*.so.*")}
)
FUZZ = Path(__file__).parent.parent / "fuzz"


def portrait(ns: rtld.Namespace, root: Any, initialisers: list[int]) -> dict[str, Any]:
    """All that opening *root* has left behind, with distances from its own base instead of addresses."""
    space = ns._space
    number = {module: index for index, module in enumerate(space.ns.modules)}
    ranges = [(*span(m), number[m]) for m in space.ns.modules if not m.hosted]

    def near(data: bytes) -> list[int]:
        words = np.frombuffer(data, np.uint64, len(data) // 8)
        result = words.copy()
        for start, end, index in ranges:
            inside = (words >= start) & (words < end)
            result[inside] = words[inside] - np.uint64(start) + np.uint64(index << 48)
        numbers: list[int] = result.tolist()
        return numbers

    def nearby(*values: int) -> list[int]:
        return near(struct.pack(f"<{len(values)}Q", *values))

    base = root.base
    memory = {}
    for load in root.file.loads:
        first = base + load.vaddr + 7 & -8
        last = base + load.vaddr + load.memsz
        memory[load.vaddr] = near(ctypes.string_at(first, max(last - first, 0)))
    record = space.maps[root]
    link_map = struct.unpack("<QQQ40x", ctypes.string_at(record, 64))
    found, entry = space.rows[root]
    opened, order, now = space.opened, space.order, space.ns
    return {
        "memory": memory,
        "initialisers": nearby(*initialisers),
        "finis": nearby(*space.finis[root]),
        "link_map": (nearby(link_map[0], link_map[2]), ctypes.string_at(link_map[1])),
        "found": near(found[:8]) + nearby(int.from_bytes(found[8:16], "little") - 1) + near(found[16:24]),
        "object": near(entry[:8] + entry[16:]),
        "named": ctypes.string_at(struct.unpack("<8Q", entry)[1]),
        "module": [root.path, root.soname, root.aliases, root.index, root.init_index, root.hosted],
        "more": [root.is_libc_family, root.tls_id, root.tls_offset, root.filters, root.missing],
        "needed": [number[m] for m in root.needed],
        "loader": root.loader and number[root.loader],
        "how": (root.found.rule, root.found.owner, root.found.candidates),
        "asked": [(key, f.path) for key, f in now.searches.items() if f.path == root.path],
        "file": (root.file.path, root.file.identity, root.file.size, root.file.segments),
        "names": {name: number[m] for name, m in now.by_name.items()},
        "identities": {key: number[m] for key, m in now.by_identity.items()},
        "modules": [m.path for m in now.modules],
        "counts": {number[m]: n for m, n in opened.counts.items() if n},
        "pinned": {number[m] for m in opened.pinned},
        "lists": [number[m] for m in opened.lists[root]],
        "groups": {number[m]: [[number[o] for o in g] for g in gs] for m, gs in opened.groups.items()},
        "extra": {number[m] for m in opened.extra.get(root, ()) if m is not root},
        "order": [number[m] for m in order.lists[root] if not m.hosted],
        "bound": [number[m] for m in order.bound.get(root, ())],
        "initialised": {number[m] for m in space.initialised},
        "why": space.why_loaded(root),
        "scope": [number[m] for m in now.global_scope.modules],
    }  # fmt: skip


def opened(
    path: str, at_once: bool, needs: list[str], flags: int = 2
) -> tuple[dict[str, Any] | None, str]:
    """The portrait of a library whose needs were there, in a namespace of its own; and what was said. No initialiser is run."""
    ns = rtld.Namespace()
    space = ns._space
    try:
        for need in needs:
            open_library(space, need, 2)
        rest = {m for m in space.ns.modules if not m.hosted}
        if at_once:
            answer = open_at_once(space, path, everywhere=flags != 2)
            if answer is None:
                return None, "the long way"
            root, initialisers = answer[0], list(answer[1])
        else:
            said = open_library(space, path, flags)
            assert said is not None
            root = said[0]
            assert [m for m in said[1] if m not in rest] == [root]
            initialisers = init_functions(root)
        return portrait(ns, root, initialisers), "opened"
    except RtldError as error:
        return None, str(error)
    finally:
        space.finis.clear()
        space.initialised.clear()
        ns.close()


def needs_of(path: str) -> list[str]:
    """DT_NEEDED, but for what ld.so has loaded."""
    done = subprocess.run(["readelf", "-dW", path], capture_output=True, text=True, check=True)
    return [
        line.split("[")[1].rstrip("]\n") for line in done.stdout.splitlines() if "(NEEDED)" in line
    ]


@pytest.mark.live
def test_as_the_long_way() -> None:
    """Libraries of the system, each beside what it needs; every other with RTLD_GLOBAL."""
    compared = 0
    for number, path in enumerate(LIBRARIES[:: int(os.environ.get("RTLD_EVERY", "12"))]):
        needs = needs_of(path)
        flags = rtld.RTLD_NOW | (rtld.RTLD_GLOBAL if number % 2 else 0)
        short, said = opened(path, True, needs, flags)
        if short is None:
            continue
        long, said = opened(path, False, needs, flags)
        assert long is not None, (path, said)
        if short["modules"] != long["modules"]:
            # A member of the libc family that ld.so has loaded meanwhile is there from the beginning now.
            short, said = opened(path, True, needs, flags)
            assert short is not None
        for key, value in long.items():
            assert short[key] == value, (path, key)
        compared += 1
    assert compared >= min(10, len(LIBRARIES) // 40)


def compiled_machine_code(tmp_path: Path) -> dict[str, int]:
    """The functions of C that the machine code was made of, by any compiler, with any optimisation."""
    script = Path(__file__).parents[2] / "scripts/machine-code"
    names = {
        "open": "open",
        "decode": "dynamic",
        "cached": "ldcache",
        "link": "link",
        "prepare": "prepare",
        "relocate": "relocate",
        "symbol": "symbol",
    }
    places = {}
    tools = runpy.run_path(str(script))
    for name, file in names.items():
        source, made = tmp_path / f"{file}.c", tmp_path / f"{file}.so"
        source.write_text(tools["source"](file))
        options = ["-shared", "-fPIC", "-O2", "-w", "-ffreestanding", "-Wl,-Bsymbolic"]
        subprocess.run(["gcc", *options, "-o", made, source], check=True)
        places[name] = ctypes.cast(ctypes.CDLL(str(made))[name], ctypes.c_void_p).value or 0
    return places


@pytest.mark.live
def test_machine_code_does_what_its_c_says(tmp_path: Path) -> None:
    """Compiled once more, and used in its place."""
    kernel = rtld.Namespace()._space.process.kernel
    places, begin, link, symbol = kernel.places, kernel.open, kernel.link, kernel.symbol
    rows = [opened(path, True, needs_of(path)) for path in LIBRARIES[::40]]
    try:
        kernel.places = places | compiled_machine_code(tmp_path)
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_size_t)
        kernel.open, kernel.link = kind(kernel.places["open"]), kind(kernel.places["link"])
        kernel.symbol = ctypes.PYFUNCTYPE(
            ctypes.c_size_t, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_char_p
        )(kernel.places["symbol"])
        again = [opened(path, True, needs_of(path)) for path in LIBRARIES[::40]]
        with rtld.Namespace() as ns:
            ns.dlopen("libz.so.1").close()
            library = ns.dlopen("libbz2.so.1.0")
            assert library.address("BZ2_bzlibVersion") > library.base
            assert is_late(library)
    finally:
        kernel.places, kernel.open, kernel.link, kernel.symbol = places, begin, link, symbol
    assert [said for _portrait, said in rows] == [said for _portrait, said in again]
    for first, second in zip(rows, again, strict=True):
        if first[0] and first[0]["modules"] == (second[0] or {})["modules"]:
            assert first == second


@pytest.mark.live
def test_same_symbols() -> None:
    """Every name of a library, and some of libc's, lead to the same address, at once and the long way."""
    compared = waiting = 0
    for path in LIBRARIES[:: int(os.environ.get("RTLD_EVERY", "40"))]:
        ns = rtld.Namespace()
        space = ns._space
        try:
            open_at_once(space, "libbz2.so.1.0")  # plans
            said = open_library(space, path, 2)
            assert said is not None
            module = said[0]
            scope = scope_of_handle(space, module)
            few = ["printf", "environ", "memcpy", "errno", "dlsym", "no such name", ""]
            for name in [*exported(module.file)[:3000], *few]:
                address = symbol_at_once(space, module, name)
                if not address:
                    waiting += 1
                    continue
                assert address == look_up(space, scope, name, None, path), (path, name)
                compared += 1
            assert symbol_at_once(space, module, "no such name") == 0
        except RtldError:
            continue
        finally:
            space.finis.clear()
            space.initialised.clear()
            ns.close()
    assert compared > 5 * waiting


def test_special_symbols(lib: Callable[..., str], tmp_path: Path) -> None:
    """Versions, hidden ones, thread-local variables, IFUNCs, those we replace: as ld.so answers."""
    versions = tmp_path / "v"
    versions.write_text(
        "OLD { global: both; single; }; NEW { global: both; }; BASE { global: *; };\n"
    )
    source = """
        #include <dlfcn.h>
        __asm__(".symver old,both@OLD"); __asm__(".symver new,both@@NEW"); __asm__(".symver lone,single@OLD");
        int old(void) { return 1; } int new(void) { return 2; } int lone(void) { return 3; }
        __thread int tls = 4; int plain = 5;
        static int chosen(void) { return 6; } static void *pick(void) { return chosen; }
        int choice(void) __attribute__((ifunc("pick")));
        __attribute__((visibility("hidden"))) int hidden(void) { return 7; }
        int *of_thread(void) { return &tls; } void *needs = dlsym;
    """
    path = lib(source, f"-Wl,--version-script={versions}", "-Wl,--hash-style=gnu")
    theirs, ns = ctypes.CDLL(path), rtld.Namespace()
    ours = ns.dlopen(path)
    for name in ("both", "single", "choice", "hidden", "nothing", "old", "chosen"):
        answers: list[Any] = []
        for library in (theirs, ours):
            try:
                answers.append(library[name]())
            except AttributeError:
                answers.append("not there")
        assert answers[0] == answers[1], name
    ours.of_thread.restype = ctypes.c_size_t
    assert ours.address("tls") == ours.of_thread()
    assert ours.data("plain", ctypes.c_int).value == 5
    assert ours.address("dlsym") == ns._space.process.code.label("dlsym")
    ns.close()


SOURCE = """
#include <stdio.h>
#include <string.h>
__attribute__((weak)) int nobody(void);
int versioned(void) { return 1; }
int other(void) { return 2; }
int data = 7, *where = &data; int (*table[])(void) = { versioned, other, nobody };
static char zeros[9000];
__attribute__((constructor)) static void begin(void) { zeros[0] = 1; }
__attribute__((destructor)) static void end(void) { zeros[1] = 1; }
int f(const char *s) { fputs("", stdout); return nobody ? nobody() : printf("%s", "") + (int)strlen(s) + *where; }
int zero(int i) { return zeros[i]; }
"""
MUTANTS = """
import collections, ctypes, json, os, sys
sys.path.insert(0, sys.argv[1])
from mutants import Mutator
import rtld
from rtld.backends import inprocess as machine
from rtld.process.inprocess.close import collect, fini_functions, init_functions
from rtld.process.inprocess.express import open_at_once
from rtld.process.inprocess.load import Loading
space, other = rtld.Namespace()._space, rtld.Namespace()._space
def portrait(module, initialisers, finis):
    file = module.file
    memory = {
        load.vaddr: ctypes.string_at(module.base + load.vaddr, load.memsz) for load in file.loads if load.flags & 4
    }
    named = module.soname, module.path, module.aliases, [m.path for m in module.needed]
    words = [[f & (1 << 64) - 1 for f in functions] for functions in (initialisers, finis)]
    return memory, named, words, file.segments, file.dynamic, file.dynamic.entries
mutator = Mutator(open(sys.argv[2], "rb").read())
first, count = int(sys.argv[3]), int(sys.argv[4])
said = collections.Counter()
path = sys.argv[5] + ".so"
for number in [-1, *range(first, first + count)]:
    with open(sys.argv[5], "w") as progress: progress.write(str(number))
    if os.path.exists(path): os.unlink(path)
    with open(path, "wb") as file: file.write(mutator.mutant(number))
    descriptors = os.listdir("/proc/self/fd")
    answer = open_at_once(space, path)
    if answer is None:
        said["long way"] += 1
        assert os.listdir("/proc/self/fd") == descriptors, number
        assert not any(not m.hosted for m in space.ns.modules), number
        with open("/proc/self/maps") as maps: assert path not in maps.read(), number
        continue
    said["at once"] += 1
    module = answer[0]
    start, end = module.late.span
    at_once = portrait(module, answer[1], space.finis[module])
    space.finis.clear(); space.initialised.clear(); space.opened.counts.clear()
    collect(space)
    with open("/proc/self/maps") as maps: assert path not in maps.read(), number
    # It may not be taken where the long way does not take it, and then it has the same in memory: at the same place.
    kept, machine.reserve = machine.reserve, lambda size, align: start
    assert machine._mmap(start, end - start, 0, 0x100022, -1, 0) == start
    loading = Loading(other, 2)
    try:
        loading.find(path, other.ns.main); loading.map(); loading.relocate(); loading.resolve_ifuncs(); loading.protect()
        assert loading.reserved == [(start, end - start)], number
        same = loading.own[0]
        long_way = portrait(same, init_functions(same), fini_functions(same))
        assert long_way == at_once, number
    finally:
        loading.undo()
        machine.reserve = kept
print(json.dumps(said))
"""


@pytest.mark.parametrize("flags", ["", "-Wl,-z,pack-relative-relocs -Wl,-z,now", "-Wl,-Bsymbolic"])
def test_mutants(flags: str, lib: Callable[..., str], tmp_path: Path) -> None:
    """What a damaged file gets at once it would get the long way, too; otherwise nothing is left of it. No code of it is run."""
    versions = tmp_path / "v"
    versions.write_text("V1 { global: versioned; }; V2 { global: *; };\n")
    path = lib(SOURCE, f"-Wl,--version-script={versions}", "-Wl,--hash-style=gnu", *flags.split())
    progress = tmp_path / "number"
    count = os.environ.get("RTLD_MUTANTS", "1500")
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", MUTANTS, str(FUZZ), path, "0", count, str(progress)],
        capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (progress.read_text(), done.stderr[-3000:])
    said = json.loads(done.stdout)
    assert said["at once"] > int(count) // 5
    assert said["long way"] > int(count) // 20


@pytest.mark.parametrize(
    ("source", "damage"),
    [
        ("int nowhere(void); int f(void) { return nowhere(); }", None),
        ("int f(void) { return 1; }", lambda data: data[:40]),
        ("int f(void) { return 1; }", lambda data: b"#!/bin/sh\n" + data),
        ("int f(void) { return 1; }", lambda data: data[:18] + b"\xb7" + data[19:]),
        ("int f(void) { return 1; }", lambda data: data[:2000]),
        ("int f(void) { return 1; }", lambda data: data[:16] + b"\x02" + data[17:]),
        ("int f(void) { return 1; }", lambda data: b""),
    ],
)
def test_same_errors(source: str, damage: Any, lib: Callable[..., str], tmp_path: Path) -> None:
    """The words are those of the long way."""
    path = str(tmp_path / "bad.so")
    shutil.copy(lib(source), path)
    if damage is not None:
        data = Path(path).read_bytes()
        Path(path).write_bytes(damage(data))
    said = []
    for quick in (True, False):
        with rtld.Namespace() as ns:
            ns._space.quick = quick
            with pytest.raises(RtldError) as caught:
                ns.dlopen(path)
            said.append((type(caught.value), str(caught.value)))
            assert not ns.modules
    assert said[0] == said[1]


def is_late(library: Any) -> bool:
    """Whether Python has not looked into its file."""
    return library.module.late is not None and library.module.late._fd >= 0


def test_works(lib: Callable[..., str]) -> None:
    """It runs, is told of, and goes."""
    path = lib(SOURCE)
    with rtld.Namespace() as ns:
        library = ns.dlopen(path)
        assert is_late(library)
        assert [library.zero(n) for n in (0, 1, 8999)] == [1, 0, 0]
        assert library.f(b"four") == 11
        assert is_late(library)
        assert library.info()["phnum"] == library.module.file.phnum
        assert not is_late(library)
        assert library.module.found.candidates == [(path, "path", "found", "")]
        assert "f" in dir(library)
        assert ns.dlopen(path).module is library.module
        assert rtld.dladdr(library.f).name == "f"
    with rtld.Namespace() as ns:
        assert is_late(ns.dlopen(path))
    assert path not in Path("/proc/self/maps").read_text()


def test_found_as_the_long_way(lib: Callable[..., str], tmp_path: Path) -> None:
    """LD_LIBRARY_PATH goes before the cache, and directories that are there or not are known by then."""
    shutil.copy(lib(SOURCE), tmp_path / "libmine.so")
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(lib(SOURCE), other / "libz.so.1")
    tried = []
    for quick in (True, False):
        env = {"LD_LIBRARY_PATH": f"/nonexistent:{tmp_path}:{other}"}
        with rtld.Namespace(env=env) as ns:
            for name in ("libnot.so", "libmine.so", "libbz2.so.1.0", "libz.so.1"):
                ns._space.quick = quick
                try:
                    library = ns.dlopen(name)
                except rtld.NotFound as error:
                    tried.append(error.candidates)
                    continue
                assert is_late(library) == quick or name == "libmine.so"
                tried.append(
                    (library.path, library.module.found.rule, library.module.found.candidates)
                )
    assert tried[:4] == tried[4:]
    assert tried[3][0] == f"{other}/libz.so.1"


def test_many(lib: Callable[..., str], tmp_path: Path) -> None:
    """More than the published tables have room for; unwinders and dl_iterate_phdr see each, and none that is gone."""
    source = lib(SOURCE)
    listed: list[bytes] = []

    class Info(ctypes.Structure):
        _fields_ = (("addr", ctypes.c_size_t), ("name", ctypes.c_char_p))

    def visit(info: Any, _size: int, _data: int) -> int:
        listed.append(info.contents.name)
        return 0

    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(Info), ctypes.c_size_t, ctypes.c_size_t)
    callback = kind(visit)
    address = ctypes.cast(callback, ctypes.c_void_p).value or 0

    class Frames(ctypes.Structure):
        _fields_ = tuple(
            (n, ctypes.c_size_t) for n in ("flags", "start", "end", "map", "frame", "a", "b", "c")
        )

    with rtld.Namespace() as ns:
        code = ns._space.process.code
        find = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_size_t, ctypes.POINTER(Frames))(
            code.label("find")
        )
        libraries = []
        for number in range(40):
            path = str(tmp_path / f"lib{number}.so")
            shutil.copy(source, path)
            library = ns.dlopen(path)
            assert is_late(library)
            libraries.append(library)
            adds = ns._space.process.adds
            listed.clear()
            machine.call(code.label("iterate"), address, 0)
            assert [n for n in listed if n.startswith(os.fsencode(tmp_path))] == [
                os.fsencode(m.path) for m in ns.modules
            ]
            frames = Frames()
            assert find(library.base + 0x1000, ctypes.byref(frames)) == 0
            assert (frames.start, frames.end) == span(library.module)
            assert frames.map == library.handle
            assert frames.frame
            assert ns._space.process.adds == adds
        for library in libraries[::2]:
            library.close()
        listed.clear()
        machine.call(code.label("iterate"), address, 0)
        assert [n for n in listed if n.startswith(os.fsencode(tmp_path))] == [
            os.fsencode(m.path) for m in libraries[1::2]
        ]
        assert [library.f(b"1") for library in libraries[1::2]] == [8] * 20


def test_descriptors(lib: Callable[..., str], tmp_path: Path) -> None:
    """A program may close all descriptors, replace the file, or use the number again."""
    path = str(tmp_path / "one.so")
    shutil.copy(lib(SOURCE), path)
    with rtld.Namespace() as ns:
        library = ns.dlopen(path)
        os.rename(shutil.copy(lib("int g;"), tmp_path / "two.so"), path)
        assert "f" in library.symbols()  # of the file that is mapped
        second = ns.dlopen(shutil.copy(lib(SOURCE), tmp_path / "three.so"))
        assert is_late(second)
        number = second.module.late._fd
        os.close(number)
        reader, writer = os.pipe()
        assert number in (reader, writer)
        assert "f" in second.symbols()
        os.write(writer, b"still open")
        third = ns.dlopen(shutil.copy(lib(SOURCE), tmp_path / "four.so"))
        number = third.module.late._fd
        os.close(number)
        with open("/dev/null") as null:
            assert null.fileno() == number
            third.close()
            assert os.fstat(number)
        os.close(reader)
        os.close(writer)


def test_after_a_failure(lib: Callable[..., str], tmp_path: Path) -> None:
    """What a failed dlopen looks into stays there for those whose it is."""
    path = str(tmp_path / "libfirst.so")
    shutil.copy(lib("int first(void) { return 5; }", "-Wl,-soname,libfirst.so"), path)
    bad = lib(
        "int first(void); int nowhere(void); int f(void) { return first() + nowhere(); }",
        "-Wl,-rpath," + str(tmp_path), "-Wl,--no-as-needed", path,
    )  # fmt: skip
    with rtld.Namespace() as ns:
        library = ns.dlopen(path)
        assert is_late(library)
        with pytest.raises(rtld.UnresolvedSymbol):
            ns.dlopen(bad)
        assert library.first() == 5
