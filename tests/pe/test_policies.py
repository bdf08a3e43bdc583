"""Policies of a program that runs: imports that nobody exports, imports that were bound beforehand."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pe import windows
from rtld.cli import run
from rtld.errors import TargetFault
from rtld.pe.file import PeFile
from rtld.pe.module import Policies
from rtld.process.windows.run import WindowsProcess

Need = Callable[[str], None]
Capture = pytest.CaptureFixture[bytes]

LACKING = r"""
#include "told.h"
__declspec(dllimport) int alpha_add(int, int);
__declspec(dllimport) int alpha_nothing(int);
int main(int argc, char **argv) {
    say_number("add", alpha_add(40, 2));
    if (argc > 1) say_number("nothing", alpha_nothing(1));
    return 5;
}
"""


@pytest.mark.parametrize("arch", ["x86_64", "i386"])
def test_an_import_that_nobody_exports(arch: str, windows_set: Callable[..., Path], need: Need, tmp_path: Path, capfdbinary: Capture) -> None:  # fmt: skip
    """stub is Wine's: the program starts, and ends where it calls the function. strict is Windows': it does not start."""
    made = windows_set(arch)
    for name in ("alpha.dll", "beta.dll", "told.h"):
        shutil.copy(made / name, tmp_path)
    (tmp_path / "lacking.c").write_text(LACKING)
    (tmp_path / "alpha.def").write_text(
        "LIBRARY alpha.dll\nEXPORTS\n  alpha_add\n  alpha_nothing\n"
    )
    cc = windows.compiler(arch, need)
    for argv in (
        [cc.replace("-gcc", "-dlltool"), "-d", "alpha.def", "-l", "libalpha.a"],
        [cc, "-O1", "lacking.c", "libalpha.a", "-o", "lacking.exe"],
    ):
        subprocess.run(argv, cwd=tmp_path, check=True, capture_output=True)
    exe = tmp_path / "lacking.exe"
    for arguments in ((), ("call",)):
        judged = windows.wine([exe, *arguments], need, cwd=tmp_path, arch=arch)
        process = WindowsProcess(str(exe), arguments, policies=Policies(unresolved="stub"), seconds=60)  # fmt: skip
        capfdbinary.readouterr()
        if arguments:
            assert judged.status != 5
            with pytest.raises(TargetFault, match=r"alpha.dll!alpha_nothing has been called, and alpha.dll does not export it"):  # fmt: skip
                process.run()
            said = capfdbinary.readouterr().out
            # Wine's debugger starts a thread in it, and reports
            assert said == judged.out[: len(said)]
            assert b"unimplemented function alpha.dll.alpha_nothing called" in judged.out
        else:
            assert process.run() == judged.status == 5
            assert capfdbinary.readouterr().out == judged.out
        process.close()
    strict = WindowsProcess(str(exe), seconds=60)
    with pytest.raises(TargetFault, match=r"alpha_nothing .*error 127, ERROR_PROC_NOT_FOUND"):
        strict.run()


@pytest.mark.parametrize("state", ["right", "stale", "moved"])
def test_bound_imports(state: str, windows_set: Callable[..., Path], need: Need, tmp_path: Path, capfdbinary: Capture) -> None:  # fmt: skip
    """Used or not, stale or not: the program says the same."""
    for path in windows_set("x86_64").glob("*.[de][lx][le]"):
        shutil.copy(path, tmp_path)
    exe = tmp_path / "main.exe"
    assert run(["bind", str(exe), "--windows-dir", str(windows.WINE_DLLS)]) == 0
    if (
        state == "stale"
    ):  # another alpha: its functions have changed places with the one behind them
        data = bytearray((tmp_path / "alpha.dll").read_bytes())
        at = PeFile(bytes(data)).nt_offset + 8
        data[at : at + 4] = b"\1\2\3\4"
        (tmp_path / "alpha.dll").write_bytes(data)
    judged = windows.wine([exe], need, cwd=tmp_path)
    for bound in ("ignore", "verify", "use"):
        process = WindowsProcess(str(exe), policies=Policies(bound=bound), seconds=60, moved=state == "moved")  # fmt: skip
        capfdbinary.readouterr()
        assert process.run() == judged.status == 7
        assert capfdbinary.readouterr().out == judged.out
        hows = {b.how for b in process.ns.imports_of(process.main) if b.descriptor.dll == "alpha.dll"}  # fmt: skip
        assert ("bound" in hows) == (state == "right" and bound == "use")
        process.close()
