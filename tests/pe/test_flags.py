"""LoadLibraryEx with flags: data files, image resources, DLLs that are mapped only; in programs as under Wine, and in Python."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pe import pefiles, windows
from rtld import libloaderapi as ll
from rtld.process.windows.run import WindowsProcess

Need = Callable[[str], None]

FLAGS = r"""
#include "told.h"
static void file(const char *name, DWORD flags) {
    char path[MAX_PATH] = "?";
    const unsigned char *at;
    HMODULE module, again;
    SetLastError(0);
    module = LoadLibraryExA(name, 0, flags);
    say_number(name, flags);
    if (!module) { say_number("error", GetLastError()); return; }
    say_number("bits", (LONG_PTR)module & 3);
    at = (const unsigned char *)((LONG_PTR)module & ~3);
    say_number("MZ", at[0] == 'M' && at[1] == 'Z');
    {
        const IMAGE_NT_HEADERS *nt = (const void *)(at + *(const int *)(at + 60));
        const IMAGE_SECTION_HEADER *s = IMAGE_FIRST_SECTION(nt);
        DWORD place = (LONG_PTR)module & 1 ? s[0].PointerToRawData : s[0].VirtualAddress;
        say_number("code", at[place] + at[place + 1] * 256);
    }
    SetLastError(0);
    say_number("address", GetProcAddress(module, "gamma_twice") != 0);
    say_number("error", GetLastError());
    SetLastError(0);
    say_number("name", GetModuleFileNameA(module, path, sizeof path) > 0);
    say_number("error", GetLastError());
    say_number("in list", GetModuleHandleA(name) != 0);
    again = LoadLibraryExA(name, 0, flags);
    say_number("same", again == module);
    say_number("free", FreeLibrary(again));
    say_number("free", FreeLibrary(module));
    SetLastError(0);
    say_number("free", FreeLibrary(module));
    say_number("error", GetLastError());
}
int main(void) {
    HMODULE gamma, again;
    file("gamma.dll", 2);
    file("gamma.dll", 0x20);
    file("gamma.dll", 0x22);
    file("gamma.dll", 0x40);
    file("nowhere.dll", 2);
    file("told.h", 2);
    file("told.h", 0x20);
    say("not resolved\n");
    gamma = LoadLibraryExA("gamma.dll", 0, DONT_RESOLVE_DLL_REFERENCES);
    say_number("bits", (LONG_PTR)gamma & 3);
    say_number("alpha", GetModuleHandleA("alpha") != 0);
    say_number("address", GetProcAddress(gamma, "gamma_twice") != 0);
    again = LoadLibraryA("gamma.dll");
    say_number("same", again == gamma);
    say_number("alpha", GetModuleHandleA("alpha") != 0);
    say_number("free", FreeLibrary(gamma));
    say_number("still", GetModuleHandleA("gamma") != 0);
    say_number("free", FreeLibrary(gamma));
    say_number("still", GetModuleHandleA("gamma") != 0);
    gamma = LoadLibraryA("gamma.dll");
    file("gamma.dll", 2);
    return 4;
}
"""


@pytest.mark.parametrize("arch", ["x86_64", "i386"])
def test_programs_as_under_wine(arch: str, windows_set: Callable[..., Path], need: Need, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    for name in ("alpha.dll", "gamma.dll", "told.h"):
        shutil.copy(windows_set(arch) / name, tmp_path)
    text = (windows.SET / "told.h").read_text()
    path = windows.build(FLAGS.replace('#include "told.h"', text), "flags.exe", need, "-O1", arch=arch)  # fmt: skip
    shutil.copy(path, tmp_path)
    judged = windows.wine([tmp_path / "flags.exe"], need, cwd=tmp_path, arch=arch)
    monkeypatch.chdir(tmp_path)
    process = WindowsProcess(str(tmp_path / "flags.exe"), seconds=60)
    capfdbinary.readouterr()
    assert process.run() == judged.status == 4
    assert capfdbinary.readouterr().out == judged.out
    process.close()


def test_data_files_in_python(tmp_path: Path, windows_set: Callable[..., Path]) -> None:
    """Of any CPU: nothing of them runs."""
    path = tmp_path / "arm.dll"
    path.write_bytes(pefiles.image("arm.dll", {b"x": 0x1000}, machine=0xAA64))
    for flags, bits in ((ll.LOAD_LIBRARY_AS_DATAFILE, 1), (ll.LOAD_LIBRARY_AS_DATAFILE_EXCLUSIVE, 1),
                        (ll.LOAD_LIBRARY_AS_IMAGE_RESOURCE, 2), (ll.LOAD_LIBRARY_AS_DATAFILE | ll.LOAD_LIBRARY_AS_IMAGE_RESOURCE, 2)):  # fmt: skip
        library = ll.LoadLibraryEx(str(path), flags)
        assert library.handle & 3 == bits
        assert bytes(library.data[:2]) == b"MZ"
        assert len(library.data) == (0x3000 if bits == 2 else path.stat().st_size)
        for ask in (lambda one=library: ll.GetProcAddress(one, "x"), lambda one=library: ll.GetModuleFileName(one), lambda: ll.GetModuleHandle("arm.dll")):  # fmt: skip
            with pytest.raises(ll.LoaderError) as none:
                ask()
            assert none.value.winerror == 126
        assert ll.FreeLibrary(library)
        with pytest.raises(ll.LoaderError) as freed:
            ll.FreeLibrary(library)
        assert freed.value.winerror == 193
    (tmp_path / "text.dll").write_text("no image")
    for name, code in (("text.dll", 193), ("nowhere.dll", 2)):
        with pytest.raises(ll.LoaderError) as failed:
            ll.LoadLibraryEx(str(tmp_path / name), ll.LOAD_LIBRARY_AS_DATAFILE)
        assert failed.value.winerror == code
    alpha = ll.LoadLibraryEx(str(windows_set("x86_64") / "beta.dll"))
    again = ll.LoadLibraryEx(str(windows_set("x86_64") / "beta.dll"), ll.LOAD_LIBRARY_AS_DATAFILE)
    assert again.handle == alpha.handle
    assert ll.FreeLibrary(again)
    assert alpha.beta_mul(6, 7) == 42
    assert ll.FreeLibrary(alpha)
    gamma = ll.LoadLibraryEx(str(windows_set("x86_64") / "gamma.dll"))
    assert ll.GetModuleHandle("ALPHA").alpha_add(40, 2) == 42  # gamma needs it
    assert ll.FreeLibrary(gamma)
    with pytest.raises(ll.LoaderError):
        ll.GetModuleHandle("ALPHA")


def test_mapped_only_in_python(windows_set: Callable[..., Path], capfdbinary: pytest.CaptureFixture[bytes]) -> None:  # fmt: skip
    gamma = ll.LoadLibraryEx(str(windows_set("x86_64") / "gamma.dll"), ll.DONT_RESOLVE_DLL_REFERENCES)  # fmt: skip
    assert ll.GetProcAddress(gamma, "gamma_twice") > gamma.handle
    with pytest.raises(ll.LoaderError):
        ll.GetModuleHandle("alpha.dll")
    assert ll.FreeLibrary(gamma)
    assert b"gamma" not in capfdbinary.readouterr().out
