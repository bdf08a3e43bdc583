"""Delay loading: by the helper in the image, as under Wine; beforehand; at the first call under our eyes."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pe import windows
from rtld.cli import run
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


UNLOADING = r"""
#include "told.h"
int alpha_add(int, int);
int main(void) {
    int (*unload)(void) = (int (*)(void))GetProcAddress(GetModuleHandleA("kernel32"), "SwitchToThread");
    say_number("add", alpha_add(40, 2));
    say_number("loaded", GetModuleHandleA("alpha") != 0);
    say_number("unloaded", unload());
    say_number("loaded", GetModuleHandleA("alpha") != 0);
    say_number("add", alpha_add(1, 2));
    say_number("loaded", GetModuleHandleA("alpha") != 0);
    return 0;
}
"""


@pytest.mark.parametrize("moved", [False, True])
def test_unloading_puts_the_table_back(moved: bool, late: Path, need: Need, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """A function of the tables stands in for the helper's: the program, its helper and the table are real."""
    from rtld.backends.windows.kernel32 import KERNEL32
    from rtld.pe.binder import add_unload_table
    from rtld.process.windows.delay import unload_delayed

    (late.parent / "late.c").write_text(UNLOADING)
    cc = windows.compiler("x86_64", need)
    argv = [cc, "-O1", "late.c", "liblate.a", "-o", "late.exe", "-Wl,-Map,late.map", "-Wl,--dynamicbase"]  # fmt: skip
    subprocess.run(argv, cwd=late.parent, check=True, capture_output=True)
    name_delay_directory(late)
    late.write_bytes(add_unload_table(PeFile(str(late))))
    (descriptor,) = delay_imports(PeFile(str(late))).descriptors
    assert descriptor.delay.unload
    process = WindowsProcess(str(late), seconds=60, moved=moved)
    api = KERNEL32.functions["SwitchToThread"]
    slot = next(a for a, each in process.machine.slots.items() if each is api)
    monkeypatch.setitem(process.machine.slots, slot, api._replace(action=lambda _s: unload_delayed(process, process.main, "alpha.dll")))  # fmt: skip
    capfdbinary.readouterr()
    assert process.run() == 0
    lines = [x for x in capfdbinary.readouterr().out.splitlines() if not x.startswith(b"beta")]
    attach, detach = b"alpha: process attach (dynamic)", b"alpha: process detach (dynamic)"
    assert lines == [
        attach, b"add 42", b"loaded 1", detach, b"unloaded 1", b"loaded 0", attach, b"add 3", b"loaded 1",
        b"alpha: process detach (static)",
    ]  # fmt: skip
    process.close()


def test_a_first_call_that_fails_is_named(late: Path) -> None:
    (late.parent / "alpha.dll").unlink()
    process = WindowsProcess(str(late), policies=Policies(delay="trap"), seconds=60)
    with pytest.raises(Exception, match=r"delay import of alpha.dll: error 126, ERROR_MOD_NOT_FOUND"):  # fmt: skip
        process.run()
    process.close()
