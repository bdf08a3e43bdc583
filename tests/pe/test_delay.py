"""Delay loading: by the helper in the image, as under Wine; beforehand; at the first call under our eyes."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pefile
import pytest

from pe import windows, zig
from rtld.cli import run
from rtld.errors import Unsupported
from rtld.pe.binder import add_unload_table
from rtld.pe.file import PeFile
from rtld.pe.imports import delay_imports
from rtld.pe.module import Policies
from rtld.process.link_pe import find
from rtld.process.windows.run import WindowsProcess

Need = Callable[[str], None]

LATE = r"""
#include "told.h"
int alpha_add(int, int);
double alpha_scale(double, int, float, long long);
int main(void) {
    say_number("before", GetModuleHandleA("alpha") != 0);
    say_number("add", alpha_add(40, 2));
    say_number("again", alpha_add(1, 2));
    say_number("scale", (int)alpha_scale(2.5, 4, 1.5f, 30));
    say_number("after", GetModuleHandleA("alpha") != 0);
    return 5;
}
"""
DEF = "LIBRARY alpha.dll\nEXPORTS\n  alpha_add\n  alpha_scale\n"


@pytest.fixture
def late(windows_set: Callable[..., Path], need: Need, tmp_path: Path) -> Path:
    """A program that delays alpha.dll. GNU ld makes the descriptor, and leaves the data directory to us."""
    made = windows_set("x86_64")
    for name in ("alpha.dll", "beta.dll"):
        shutil.copy(made / name, tmp_path)
    (tmp_path / "told.h").write_text((windows.SET / "told.h").read_text())
    (tmp_path / "late.c").write_text(LATE)
    (tmp_path / "late.def").write_text(DEF)
    cc = windows.compiler("x86_64", need)
    for argv in (
        [cc.replace("-gcc", "-dlltool"), "-d", "late.def", "--output-delaylib", "liblate.a"],
        [cc, "-O1", "late.c", "liblate.a", "-o", "late.exe", "-Wl,-Map,late.map"],
    ):
        subprocess.run(argv, cwd=tmp_path, check=True, capture_output=True)
    name_delay_directory(tmp_path / "late.exe")
    return tmp_path / "late.exe"


def name_delay_directory(path: Path) -> None:
    """Put the descriptor that GNU ld has linked in into the data directories."""
    found = re.search(r"0x([0-9a-f]+)\s+__DELAY_IMPORT_DESCRIPTOR", path.with_suffix(".map").read_text())  # fmt: skip
    assert found
    file = PeFile(str(path))
    data = bytearray(path.read_bytes())
    at = file.nt_offset + 24 + 112 + 8 * 13
    data[at : at + 8] = struct.pack("<II", int(found[1], 16) - file.base, 32)
    path.write_bytes(data)


@pytest.mark.parametrize("delay", ["helper", "eager", "trap"])
def test_the_same_output(delay: str, late: Path, need: Need, capfdbinary: pytest.CaptureFixture[bytes]) -> None:  # fmt: skip
    judged = windows.wine([late], need, cwd=late.parent)
    process = WindowsProcess(str(late), policies=Policies(delay=delay), seconds=60)
    capfdbinary.readouterr()
    assert process.run() == judged.status == 5
    said = capfdbinary.readouterr().out
    if delay == "eager":
        # alpha is there from the start: said so by its DllMain, and by the program
        assert said.startswith(b"alpha: process attach (static)\n")
        assert b"before 1" in said
        assert said.count(b"42") == 1
        return
    # GNU's own helper does not keep xmm0 to xmm3 over the load: the first call of alpha_scale gets other doubles.
    theirs = judged.out if delay == "helper" else re.sub(rb"scale -?\d+", b"scale 41", judged.out)
    assert said == theirs
    process.close()


def test_what_the_reports_say(late: Path, capsys: pytest.CaptureFixture[str], need: Need) -> None:
    (descriptor,) = delay_imports(PeFile(str(late))).descriptors
    assert descriptor.dll == "alpha.dll"
    assert list(delay_imports(PeFile(str(late))).names(descriptor)) == [b"alpha_add", b"alpha_scale"]  # fmt: skip
    system = str(windows.WINE_DLLS)
    assert "alpha.dll" not in [m.base_name for m in find(str(late), windows_dir=system).modules]
    run(["tree", str(late), "--windows-dir", system])
    assert "alpha.dll (delay) (not loaded at start)" in capsys.readouterr().out
    (late.parent / "alpha.dll").unlink()
    assert run(["check", str(late), "--windows-dir", system]) == 0
    assert "warning: delay library: alpha.dll: not found" in capsys.readouterr().out


@pytest.mark.parametrize("moved", [False, True], ids=["preferred", "moved"])
@pytest.mark.parametrize("arch", ["x86_64", "i386"])
@pytest.mark.parametrize("name", ["delayed.exe", "unloaded.exe"])
def test_descriptors_of_msvc_with_hooks(name: str, arch: str, moved: bool, need: Need, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:  # fmt: skip
    """lld's thunks, the helper of the image: events, a DLL and a function that are not there, ordinals, unloading."""
    exe = tmp_path / name
    for each in zig.delayed(arch, need).glob("*.[de][lx][le]"):
        shutil.copy(each, tmp_path)
    delayed = delay_imports(PeFile(str(exe)))
    assert {d.delay.version for d in delayed.descriptors} == {2}
    assert [list(delayed.names(d)) for d in delayed.descriptors if d.dll == "far.dll"] == [[b"far_add", b"far_mix", 33, b"far_wide"]]  # fmt: skip
    if name == "unloaded.exe":
        assert run(["bind", "--unload-table", str(exe)]) == 0
        assert b"unload table of far.dll: 4 functions" in capfdbinary.readouterr().out
        theirs = pefile.PE(str(exe))
        assert all(d.struct.pUnloadIAT for d in theirs.DIRECTORY_ENTRY_DELAY_IMPORT)
        assert len(theirs.DIRECTORY_ENTRY_BASERELOC) == len(pefile.PE(str(zig.delayed(arch, need) / name)).DIRECTORY_ENTRY_BASERELOC) + 1  # fmt: skip
    judged = windows.wine([exe], need, cwd=tmp_path, arch=arch)
    process = WindowsProcess(str(exe), moved=moved, seconds=60)
    capfdbinary.readouterr()
    assert process.run() == judged.status == 8
    assert capfdbinary.readouterr().out == judged.out
    process.close()
    words = [
        b"no DLL near.dll near_nothing\nerror 126\n",
        b"no function half.dll half_missing\nerror 127\n",
    ]
    if name == "unloaded.exe":
        words.append(b"far: process detach\nunload 1\ntwice 0\nstart far.dll far_add\nload far.dll")
    assert all(each in judged.out for each in words)


@pytest.mark.parametrize("arch", ["x86_64", "i386"])
def test_without_the_helper_of_the_image(arch: str, need: Need, capfdbinary: pytest.CaptureFixture[bytes]) -> None:  # fmt: skip
    """Eager and trap: the results are Wine's, the helper's hooks are never called, doubles arrive."""
    exe = zig.delayed(arch, need) / "plain.exe"
    judged = windows.wine([exe], need, cwd=exe.parent, arch=arch)
    hooks = re.compile(rb"(start|load|address|end) far.dll .*\n")
    assert hooks.search(judged.out)
    said = hooks.sub(b"", judged.out)
    attach = b"far: process attach\n"
    assert said.startswith(b"before 0\n" + attach)
    early = said.replace(b"before 0\n" + attach, attach + b"before 1\n")
    for delay, expected in (("trap", said), ("eager", early)):
        process = WindowsProcess(str(exe), policies=Policies(delay=delay), seconds=60)
        capfdbinary.readouterr()
        assert process.run() == judged.status
        assert capfdbinary.readouterr().out == expected
        process.close()


@pytest.mark.parametrize("arch", ["x86_64", "i386"])
def test_unloading_what_the_trap_has_bound(arch: str, need: Need, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:  # fmt: skip
    """First we bind; the image's helper unloads, and binds from then on."""
    for name in ("again.exe", "far.dll"):
        shutil.copy(zig.delayed(arch, need) / name, tmp_path)
    exe = tmp_path / "again.exe"
    assert run(["bind", "--unload-table", str(exe)]) == 0
    judged = windows.wine([exe], need, cwd=tmp_path, arch=arch)
    first, unloaded, then = judged.out.partition(b"far: process detach\nunload 1\n")
    assert b"start far.dll" in first
    assert b"start far.dll" in then
    for moved in (False, True):
        process = WindowsProcess(str(exe), policies=Policies(delay="trap"), seconds=60, moved=moved)
        capfdbinary.readouterr()
        assert process.run() == judged.status
        without = re.sub(rb"(start|load|address|end) far.dll .*\n", b"", first)
        assert capfdbinary.readouterr().out == without + unloaded + then
        process.close()


def test_no_room_for_an_unload_table(need: Need) -> None:
    plain = PeFile(str(zig.delayed("x86_64", need) / "far.dll"))
    with pytest.raises(Unsupported, match="it has no delay imports"):
        add_unload_table(plain)
    made = bytearray((zig.delayed("x86_64", need) / "plain.exe").read_bytes())
    file = PeFile(bytes(made))
    end = 24 + 240 + 40 * (len(file.sections) - 1) + file.nt_offset
    made[end : end + 40] = b"x" * 40
    with pytest.raises(Unsupported, match="no room for one more section header"):
        add_unload_table(PeFile(bytes(made)))


def test_a_first_call_that_fails_is_named(late: Path) -> None:
    (late.parent / "alpha.dll").unlink()
    process = WindowsProcess(str(late), policies=Policies(delay="trap"), seconds=60)
    with pytest.raises(Exception, match=r"delay import of alpha.dll: error 126, ERROR_MOD_NOT_FOUND"):  # fmt: skip
        process.run()
    process.close()
