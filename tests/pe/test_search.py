"""Where names lead: the order of directories, flags, API sets, known DLLs, side-by-side, machines, case."""

from __future__ import annotations

import re
import struct
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pe import windows
from pe.pefiles import image
from rtld.pe import apiset
from rtld.pe import types as t
from rtld.pe.faults import DllNotFound
from rtld.pe.file import PeFile
from rtld.pe.manifest import parse, private_files
from rtld.pe.module import PeNamespace
from rtld.pe.search import Places, Search
from rtld.pe.windows import Windows
from rtld.process.link_pe import find

PLAIN = {b"f": 0x1000}


@pytest.fixture
def world(tmp_path: Path) -> Callable[..., Search]:
    """``world("app", "system")``: x.dll is in these directories."""

    def make(*where: str, safe: bool = True, dll_path: Sequence[str] = (), known: Sequence[str] = ()) -> Search:  # fmt: skip
        for name in ("app", "set", "user", "system", "windows", "current", "path", "own"):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / "x.dll").unlink(missing_ok=True)
        for name in where:
            (tmp_path / name / "x.dll").write_bytes(image("x.dll", PLAIN))
        system = Windows([str(tmp_path / "system")], str(tmp_path / "windows"), known)
        places = Places(
            system, application=str(tmp_path / "app"), dll_path=[str(tmp_path / d) for d in dll_path],
            path=[str(tmp_path / "path")], current=str(tmp_path / "current"), safe=safe,
        )  # fmt: skip
        places.user = [str(tmp_path / "user")]
        return Search(places, 0x8664)

    return make


def order(found: Any) -> list[str]:
    return [Path(c.path).parent.name for c in found.candidates]


def test_the_standard_order(world: Callable[..., Search]) -> None:
    with pytest.raises(DllNotFound) as safe:
        world().find("x.dll")
    assert order(safe.value) == ["app", "system", "windows", "current", "path"]
    with pytest.raises(DllNotFound) as unsafe:
        world(safe=False).find("x.dll")
    assert order(unsafe.value) == ["app", "current", "system", "windows", "path"]
    with pytest.raises(DllNotFound) as with_set:
        world(dll_path=["set"]).find("x.dll")
    assert order(with_set.value) == ["app", "set", "system", "windows", "path"]
    assert safe.value.code == 126


# fmt: off
FLAGS = [
    (t.LOAD_LIBRARY_SEARCH_SYSTEM32, ["system"]),
    (t.LOAD_LIBRARY_SEARCH_APPLICATION_DIR, ["app"]),
    (t.LOAD_LIBRARY_SEARCH_USER_DIRS, ["user"]),
    (t.LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR, ["own"]),
    (t.LOAD_LIBRARY_SEARCH_DEFAULT_DIRS, ["app", "user", "system"]),
    (t.LOAD_LIBRARY_SEARCH_DEFAULT_DIRS | t.LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR, ["own", "app", "user", "system"]),
    (t.LOAD_WITH_ALTERED_SEARCH_PATH, ["own", "system", "windows", "current", "path"]),
]
# fmt: on


@pytest.mark.parametrize(("flags", "expected"), FLAGS)
def test_flags(world: Callable[..., Search], tmp_path: Path, flags: int, expected: list[str]) -> None:  # fmt: skip
    with pytest.raises(DllNotFound) as none:
        world().find("x.dll", None, flags, str(tmp_path / "own"))
    assert order(none.value) == expected


def test_case_dots_and_blanks(world: Callable[..., Search], tmp_path: Path) -> None:
    search = world("system")
    assert Search.complete("x  ") == "x.dll"
    assert Search.complete("x.") == "x"
    assert Search.complete("x.drv") == "x.drv"
    assert search.find("X.DLL").path == str(tmp_path / "system" / "x.dll")
    assert search.find(str(tmp_path / "SYSTEM" / "X.dll")).rule == "path"
    assert search.find("C:/System/x.dll").path == str(tmp_path / "system" / "x.dll")


def test_another_cpu_is_passed_over(world: Callable[..., Search], tmp_path: Path) -> None:
    search = world("app", "path")
    (tmp_path / "app" / "x.dll").write_bytes(image("x.dll", PLAIN, bits=32))
    found = search.find("x.dll")
    assert found.rule == "PATH"
    assert (found.candidates[0].outcome, found.candidates[0].detail) == ("wrong machine", "I386")
    (tmp_path / "path" / "x.dll").unlink()
    search = world("app")
    (tmp_path / "app" / "x.dll").write_bytes(image("x.dll", PLAIN, bits=32))
    with pytest.raises(DllNotFound, match=r"only for another CPU \(error 193, ERROR_BAD_EXE_FORMAT\)"):  # fmt: skip
        search.find("x.dll")


def test_known_dlls_are_the_systems(world: Callable[..., Search]) -> None:
    assert world("app", "system").find("x.dll").rule == "application"
    assert world("app", "system", known=["X.dll"]).find("x.dll").rule == "known DLL"


def closure(tmp_path: Path, **options: Any) -> PeNamespace:
    return find(str(tmp_path / "main.exe"), windows_dir=str(tmp_path / "sys"), **options).namespace


def test_api_sets_for_each_importer(tmp_path: Path) -> None:
    (tmp_path / "sys").mkdir()
    sets = {
        "api-ms-win-test-l1-1-0": [("", "host.dll"), ("special.dll", "other.dll")],
        "ext-ms-win-none-l1-1-0": [("", "")],
    }
    schema = apiset.encode(sets)
    assert apiset.check_hashes(schema) == 2
    (tmp_path / "schema").write_bytes(schema)
    for name, needs in (
        ("main.exe", {"api-ms-win-test-l1-1-9.dll": [b"f"], "special.dll": [b"f"], "ext-ms-win-none-l1-1-0": [b"f"]}),
        ("special.dll", {"API-MS-Win-Test-l1-1-0": [b"f"]}),
        ("host.dll", {}),
        ("other.dll", {}),
    ):  # fmt: skip
        data = image(name, PLAIN, needs, dll=not name.endswith("exe"))
        (tmp_path / name).write_bytes(data)
    ns = closure(tmp_path, apisets=str(tmp_path / "schema"))
    assert [m.base_name for m in ns.modules] == ["main.exe", "host.dll", "special.dll", "other.dll"]
    assert [p.subject for p in ns.problems] == ["ext-ms-win-none-l1-1-0.dll"]
    forwarder = image("fwd.dll", {b"g": b"api-ms-win-test-l1-1-0.f"})
    (tmp_path / "fwd.dll").write_bytes(forwarder)
    (tmp_path / "main.exe").write_bytes(image("main.exe", PLAIN, {"fwd.dll": [b"g"]}, dll=False))
    ns = closure(tmp_path, apisets=str(tmp_path / "schema"))
    assert [m.base_name for m in ns.modules] == ["main.exe", "fwd.dll", "host.dll"]
    assert not ns.problems


def test_schemas_of_older_systems() -> None:
    """Versions 2 and 4, written here as those systems lay them out: no real one may be handed on."""

    def place(blob: bytearray, data: bytes) -> tuple[int, int]:
        blob += data
        return len(blob) - len(data), len(data)

    blob = bytearray(struct.pack("<II", 2, 1) + bytes(12))
    name = place(blob, "ms-win-core-heap-l1-1-0".encode("utf-16-le"))
    host = place(blob, "kernelbase.dll".encode("utf-16-le"))
    values = place(blob, struct.pack("<I", 1) + struct.pack("<4I", 0, 0, *host))
    blob[8:20] = struct.pack("<3I", *name, values[0])
    old = apiset.decode(bytes(blob))
    assert (old.version, old.resolve("API-MS-Win-Core-Heap-L1-1-0.dll")) == (2, "kernelbase.dll")

    blob = bytearray(struct.pack("<4I", 4, 0, 0, 1) + bytes(24))
    name = place(blob, "ms-win-core-heap-l1-1-0".encode("utf-16-le"))
    host = place(blob, "kernelbase.dll".encode("utf-16-le"))
    values = place(blob, struct.pack("<II", 0, 1) + struct.pack("<5I", 0, 0, 0, *host))
    blob[16:40] = struct.pack("<6I", 0, *name, *name, values[0])
    newer = apiset.decode(bytes(blob))
    assert (newer.version, newer.resolve("api-ms-win-core-heap-l1-1-9")) == (4, "kernelbase.dll")
    assert newer.resolve("api-ms-win-core-other-l1-1-0") is None


def test_wines_own_schema(need: Callable[[str], None]) -> None:
    path = windows.WINE_DLLS / "apisetschema.dll"
    if not path.exists():
        need("libwine")
    sets = apiset.from_file(PeFile(str(path)))
    assert len(sets) > 400
    assert sets.resolve("api-ms-win-crt-stdio-l1-1-0.dll") == "ucrtbase.dll"


MANIFEST = """<?xml version="1.0"?><assembly xmlns="urn:schemas-microsoft-com:asm.v1" manifestVersion="1.0">
<assemblyIdentity name="{0}" version="1.0.0.0" type="win32"/>{1}</assembly>"""


def test_private_assemblies(tmp_path: Path, need: Callable[[str], None]) -> None:
    dependency = '<dependency><dependentAssembly><assemblyIdentity name="My.Parts" version="1.0.0.0" type="win32"/></dependentAssembly></dependency>'  # fmt: skip
    assert parse(MANIFEST.format("App", dependency).encode(), "m").dependencies[0]["name"] == "My.Parts"  # fmt: skip
    (tmp_path / "sys").mkdir()
    (tmp_path / "My.Parts").mkdir()
    (tmp_path / "My.Parts" / "My.Parts.manifest").write_text(MANIFEST.format("My.Parts", '<file name="part.dll"/>'))  # fmt: skip
    (tmp_path / "My.Parts" / "part.dll").write_bytes(image("part.dll", PLAIN))
    (tmp_path / "part.dll").write_bytes(image("part.dll", PLAIN))
    (tmp_path / "main.exe").write_bytes(image("main.exe", PLAIN, {"part.dll": [b"f"]}, dll=False))
    assert closure(tmp_path).modules[1].found.rule == "application"
    files = private_files(str(tmp_path), parse(MANIFEST.format("App", dependency).encode(), "m"))
    assert files == {"part.dll": str(tmp_path / "My.Parts" / "part.dll")}
    # a real program, with the manifest in its resources
    compiler = windows.compiler("x86_64", need)
    (tmp_path / "app.manifest").write_text(MANIFEST.format("App", dependency))
    (tmp_path / "app.rc").write_text('1 24 "app.manifest"\n')
    (tmp_path / "app.c").write_text(
        "__declspec(dllimport) int f(void); int main(void) { return f(); }"
    )
    (tmp_path / "f.def").write_text("LIBRARY part.dll\nEXPORTS\n  f\n")
    for argv in (
        [compiler.replace("-gcc", "-windres"), "app.rc", "app.o"],
        [compiler.replace("-gcc", "-dlltool"), "-d", "f.def", "-l", "libf.a"],
        [compiler, "app.c", "app.o", "libf.a", "-o", "main.exe"],
    ):
        subprocess.run(argv, cwd=tmp_path, check=True, capture_output=True)
    ns = find(str(tmp_path / "main.exe"), windows_dir=str(windows.WINE_DLLS)).namespace
    part = ns.by_base["part.dll"]
    assert part.path == str(tmp_path / "My.Parts" / "part.dll")
    assert part.found.rule == "side by side"
    assert not ns.problems


DEPENDENCY = """<dependency><dependentAssembly><assemblyIdentity type="win32" name="{0}" version="{1}"
processorArchitecture="*" publicKeyToken="{2}" language="*"/></dependentAssembly></dependency>"""


def with_manifest(place: Path, source: str, output: str, manifest: str, need: Callable[[str], None], number: int = 1, *flags: str) -> None:  # fmt: skip
    """Compile a file with that manifest in its resources."""
    compiler = windows.compiler("x86_64", need)
    (place / "app.manifest").write_text(manifest)
    (place / "app.rc").write_text(f'{number} 24 "app.manifest"\n')
    (place / "app.c").write_text(source)
    for argv in (
        [compiler.replace("-gcc", "-windres"), "app.rc", "app.o"],
        [compiler, "app.c", "app.o", "-o", output, *flags],
    ):
        subprocess.run(argv, cwd=place, check=True, capture_output=True)


def loaded_by_wine(place: Path, name: str, need: Callable[[str], None]) -> str:
    """The path of a DLL, in lower case, from where Wine has loaded it."""
    judged = windows.wine([place / "app.exe"], need, debug="+loaddll,+pid", cwd=place)
    assert judged.status == 3, judged
    found = re.search(rf'Loaded L"([^"]*{name})"', judged.err, re.IGNORECASE)
    assert found
    return found[1].replace("\\\\", "\\").lower()


@pytest.mark.parametrize(("version", "shared"), [("6.0.0.0", True), ("6.0.2600.2982", True), ("6.0.2600.2983", False), ("6.1.0.0", False)])  # fmt: skip
def test_assemblies_of_the_system(version: str, shared: bool, tmp_path: Path, need: Callable[[str], None]) -> None:  # fmt: skip
    """winsxs: the same major and minor version, a build that is not older. Where there is none, Wine and we go on without."""
    dependency = DEPENDENCY.format("Microsoft.Windows.Common-Controls", version, "6595b64144ccf1df")
    source = "#include <windows.h>\n#include <commctrl.h>\nint main(void) { InitCommonControls(); return 3; }"
    with_manifest(tmp_path, source, "app.exe", MANIFEST.format("App", dependency), need, 1, "-lcomctl32")  # fmt: skip
    theirs = loaded_by_wine(tmp_path, "comctl32.dll", need)
    assert ("winsxs" in theirs) == shared
    system = windows.prefix() / "drive_c" / "windows"
    ns = find(str(tmp_path / "app.exe"), windows_dir=str(system)).namespace
    mine = ns.by_base["comctl32.dll"]
    assert mine.path.lower().replace(str(system).lower(), "c:/windows").replace("/", "\\") == theirs
    assert (mine.found.rule == "side by side") == shared


def test_an_assembly_that_is_a_dll(tmp_path: Path, need: Callable[[str], None]) -> None:
    """NAME/NAME.dll with a manifest as its resource number 1."""
    (tmp_path / "Own.Parts").mkdir()
    assembly = MANIFEST.format("Own.Parts", '<file name="Own.Parts.dll"/>')
    source = "__declspec(dllexport) int f(void) { return 3; }"
    with_manifest(tmp_path / "Own.Parts", source, "Own.Parts.dll", assembly, need, 1, "-shared", "-Wl,--out-implib,../libparts.a")  # fmt: skip
    dependency = '<dependency><dependentAssembly><assemblyIdentity name="Own.Parts" version="1.0.0.0" type="win32"/></dependentAssembly></dependency>'  # fmt: skip
    program = "__declspec(dllimport) int f(void); int main(void) { return f(); }"
    with_manifest(tmp_path, program, "app.exe", MANIFEST.format("App", dependency), need, 1, "libparts.a")  # fmt: skip
    theirs = loaded_by_wine(tmp_path, r"own[.]parts[.]dll", need)
    assert theirs.endswith("\\own.parts\\own.parts.dll")
    found = find(str(tmp_path / "app.exe"), windows_dir=str(windows.WINE_DLLS)).namespace.by_base["own.parts.dll"]  # fmt: skip
    assert found.path == str(tmp_path / "Own.Parts" / "Own.Parts.dll")
    assert found.found.rule == "side by side"


def test_a_manifest_cannot_grow() -> None:
    from rtld.errors import FormatError

    bomb = b'<!DOCTYPE a [<!ENTITY b "cccccccc">]><assembly>&b;</assembly>'
    with pytest.raises(FormatError, match="document type"):
        parse(bomb, "m")


def test_the_same_file_by_two_names(tmp_path: Path) -> None:
    (tmp_path / "sys").mkdir()
    (tmp_path / "one.dll").write_bytes(image("one.dll", PLAIN))
    (tmp_path / "two.dll").hardlink_to(tmp_path / "one.dll")
    (tmp_path / "main.exe").write_bytes(image("m", PLAIN, {"one.dll": [b"f"], "two.dll": [b"f"]}, dll=False))  # fmt: skip
    assert [m.base_name for m in closure(tmp_path).modules] == ["main.exe", "one.dll"]
