"""Native thread-local data (__declspec(thread)): in a program, in a DLL it imports, in one that it opens; both policies."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pe import windows, zig
from rtld.pe.file import PeFile
from rtld.pe.module import Policies
from rtld.pe.tls import tls_directory
from rtld.process.windows.run import WindowsProcess

Need = Callable[[str], None]


@pytest.mark.parametrize("moved", [False, True], ids=["preferred", "moved"])
@pytest.mark.parametrize("arch", ["x86_64", "i386"])
def test_as_under_wine(arch: str, moved: bool, need: Need, capfdbinary: pytest.CaptureFixture[bytes]) -> None:  # fmt: skip
    place = zig.thread_local(arch, need)
    for name in ("threads.exe", "static.dll", "late.dll"):
        directory = tls_directory(PeFile(str(place / name)))
        assert directory is not None
        assert directory.zeros
        assert directory.end - directory.start >= 8
        assert len(directory.callbacks) == 1
    judged = windows.wine([place / "threads.exe"], need, cwd=place, arch=arch)
    assert judged.out.count(b"late 1008") == 1  # Wine itself has given late.dll a block
    process = WindowsProcess(str(place / "threads.exe"), moved=moved, seconds=60)
    capfdbinary.readouterr()
    assert process.run() == judged.status == 9
    # At the end Windows calls the program's own callbacks, too ("PE Format", TLS callback functions); Wine 8 does not.
    assert capfdbinary.readouterr().out == judged.out + b"threads.exe callback: process detach\n"
    if moved:
        assert all(m.base != m.file.base for m in process.live if m.path not in process.stubs)
    process.close()


PEEKING = r"""
#include "own.h"
#define TLS_ZEROS 0
#include "tls.h"
__declspec(thread) int mine = 4711;
void start(void) {
    HANDLE late = LoadLibraryA("late.dll");
    int (*next)(void) = (int (*)(void))GetProcAddress(late, "late_next");
    int (*index)(void) = (int (*)(void))GetProcAddress(late, "late_index");
    say_number("index", index());
    say_number("next", next());
    say_number("next", next());
    say_number("mine", mine);
    ExitProcess(0);
}
"""


@pytest.mark.parametrize("arch", ["x86_64", "i386"])
def test_before_vista_a_dll_that_is_opened_has_no_data_of_its_own(arch: str, need: Need, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:  # fmt: skip
    """Its index stays 0: what it takes for its data is the program's ("Thread Local Storage", learn.microsoft.com)."""
    sources = zig.SOURCES
    build = zig.Build(arch, need, sources / "own.h", sources / "tls.h", ("peeking.c", PEEKING))
    build.image("peeking.exe", "peeking.c")
    for each in (build.run() / "peeking.exe", zig.thread_local(arch, need) / "late.dll"):
        shutil.copy(each, tmp_path)
    said = {}
    for policy in ("vista", "static-only"):
        process = WindowsProcess(str(tmp_path / "peeking.exe"), policies=Policies(tls=policy), seconds=60)  # fmt: skip
        capfdbinary.readouterr()
        assert process.run() == 0
        said[policy] = capfdbinary.readouterr().out.splitlines()
        process.close()
    judged = windows.wine([tmp_path / "peeking.exe"], need, cwd=tmp_path, arch=arch)
    assert said["vista"] == judged.out.splitlines()
    assert b"index 1" in said["vista"]
    assert b"mine 4711" in said["vista"]
    # No slot, so no callbacks; DllMain has added its 1000, and next() its 1 and 2, to the program's variable.
    assert said["static-only"] == [
        b"late DllMain: process attach", b"index 0", b"next 5712", b"next 5714", b"mine 5714",
        b"late DllMain: process detach",
    ]  # fmt: skip
