"""DLLs as libraries: the same calls to a .so, to a DLL in this process, to DLLs on emulated CPUs; and libloaderapi."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rtld
from dlfcn.foreign import sysroots
from pe import windows
from pe.native_support import NATIVE
from rtld import libloaderapi as ll
from rtld.errors import Unsupported
from rtld.process.windows.library import Closed

Need = Callable[[str], None]

WAYS = ["emulated", "i386", *(["native"] if NATIVE else [])]

CALLS = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define EXPORT __declspec(dllexport)
__thread int counter = 40;
EXPORT int next(void) { return ++counter; }
EXPORT long long many(int a, int b, int c, int d, int e, int f, int g, int h) {
    return a + 2LL * b + 3LL * c + 4LL * d + 5LL * e + 6LL * f + 7LL * g + 8LL * h;
}
EXPORT double mixed(int a, double x, int b, double y, float z, double w, int c) { return a * x + b * y + z * w + c; }
EXPORT int apply(int (*f)(int, int), int x, int y) { return f(x, y) * 10; }
EXPORT double apply_double(double (*f)(int, double, int, double, double), double x) { return f(1, x, 2, 0.5, 3.0); }
EXPORT int text(char *out, int n, double x, const char *s) { return sprintf(out, "%d %.3f %s %c", n, x, s, 'z'); }
static int order(const void *a, const void *b) { return *(int *)a - *(int *)b; }
EXPORT void sorted(int *list, int count) { qsort(list, count, sizeof *list, order); }
EXPORT size_t copied(const char *s) { char *p = malloc(strlen(s) + 1); size_t n; strcpy(p, s); n = strlen(p); free(p); return n; }
EXPORT int numbered(void) { return 7; }
"""
DEF = "EXPORTS\n next\n many\n mixed\n apply\n apply_double\n text\n sorted\n copied\n numbered @50 NONAME\n"


def zlib1(arch: str, need: Need) -> str:
    path = f"/usr/{'x86_64' if arch == 'x86_64' else 'i686'}-w64-mingw32/lib/zlib1.dll"
    if not os.path.exists(path):
        need("libz-mingw-w64")
    return path


def opened(way: str, path: Callable[[str], str]) -> Any:
    if way == "native":
        return rtld.dlopen(path("x86_64"), native=True)
    return rtld.dlopen(path("i386" if way == "i386" else "x86_64"))


@pytest.fixture(params=WAYS)
def calls(request: pytest.FixtureRequest, need: Need, tmp_path: Path) -> Any:
    def path(arch: str) -> str:
        place = tmp_path / arch
        place.mkdir()
        (place / "calls.def").write_text(DEF)
        (place / "calls.c").write_text(CALLS)
        argv = [windows.compiler(arch, need), "-O1", "-shared", "calls.c", "calls.def", "-static-libgcc", "-o", "calls.dll"]  # fmt: skip
        subprocess.run(argv, cwd=place, check=True, capture_output=True)
        return str(place / "calls.dll")

    library = opened(request.param, path)
    yield library
    library.close()
    with pytest.raises(Closed):
        library.address("next")


def test_four_zlibs_say_the_same(need: Need) -> None:
    """ELF in this process, x86-64 Windows code in this process and emulated, i386 Windows code."""
    libraries = [rtld.dlopen("libz.so.1"), *[opened(way, lambda a: zlib1(a, need)) for way in WAYS]]
    data = b"four libraries, one result " * 200
    results = []
    for library in libraries:
        library.crc32.restype = ctypes.c_uint32
        library.zlibVersion.restype = ctypes.c_char_p
        out = ctypes.create_string_buffer(len(data))
        size = ctypes.c_uint64(len(data))
        assert library.compress(out, ctypes.byref(size), data, len(data)) == 0
        assert zlib.decompress(out.raw[: size.value]) == data
        results.append((library.crc32(0, data, len(data)), library.adler32(1, data, 100) & 0xFFFFFFFF))  # fmt: skip
        assert library.zlibVersion().startswith(b"1.")
    assert set(results) == {(zlib.crc32(data), zlib.adler32(data[:100]))}


def test_the_example_of_the_documentation(need: Need, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """A .so of this machine, an ARM one and a .dll, in the words of docs/pe.md."""
    root = sysroots.debian("arm")
    if root is None:
        need("Debian's package archive")
    assert root is not None
    (tmp_path / "armroot").symlink_to(root)
    shutil.copy(zlib1("x86_64", need), tmp_path)
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parents[2] / "docs" / "pe.md").read_text()
    (code,) = re.findall(r"```python\n(import ctypes, rtld\n.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    assert {crc for crc, _ in names["results"].values()} == {zlib.crc32(names["data"])}
    assert {zlib.decompress(packed) for _, packed in names["results"].values()} == {names["data"]}


def test_calls(calls: Any) -> None:
    assert [calls.next() for _ in range(3)] == [41, 42, 43]
    calls.many.restype = ctypes.c_int
    assert calls.many(1, 2, 3, 4, 5, 6, 7, 8) == 204
    assert calls.copied(b"twelve bytes") == 12
    numbers = (ctypes.c_int * 5)(5, 3, 9, -1, 4)
    calls.sorted(numbers, 5)
    assert list(numbers) == [-1, 3, 4, 5, 9]
    assert calls[50]() == 7
    with pytest.raises(AttributeError, match=r"error 127, ERROR_PROC_NOT_FOUND"):
        calls.nothing()
    with pytest.raises(rtld.NotFound, match="error 182"):
        calls.address(51)


@pytest.mark.skipif(not NATIVE, reason="Windows code cannot be called here")
def test_doubles_callbacks_and_variable_arguments(need: Need, tmp_path: Path) -> None:
    (tmp_path / "calls.c").write_text(CALLS)
    argv = [
        windows.compiler("x86_64", need),
        "-O1",
        "-shared",
        "-static-libgcc",
        "calls.c",
        "-o",
        "calls.dll",
    ]
    subprocess.run(argv, cwd=tmp_path, check=True, capture_output=True)
    with rtld.dlopen(str(tmp_path / "calls.dll"), native=True) as library:
        d, i = ctypes.c_double, ctypes.c_int
        library.mixed.argtypes = [i, d, i, d, ctypes.c_float, d, i]
        library.mixed.restype = d
        assert library.mixed(2, 1.5, 3, 2.5, 0.5, 8.0, 7) == 2 * 1.5 + 3 * 2.5 + 0.5 * 8 + 7
        add = ctypes.CFUNCTYPE(i, i, i)(lambda x, y: x + y)
        assert library.apply(ctypes.c_void_p(library.callback(add)), 20, 22) == 420
        five = ctypes.CFUNCTYPE(d, i, d, i, d, d)(lambda a, x, b, y, z: a + x * 10 + b * y + z)
        library.apply_double.argtypes = [ctypes.c_void_p, d]
        library.apply_double.restype = d
        assert library.apply_double(library.callback(five), 2.0) == 25.0
        out = ctypes.create_string_buffer(64)
        library.text.argtypes = [ctypes.c_char_p, i, d, ctypes.c_char_p]
        assert library.text(out, 42, 2.5, b"text") == len(out.value)
        assert out.value == b"42 2.500 text z"


@pytest.mark.skipif(not NATIVE, reason="Windows code cannot be called here")
def test_each_thread_has_its_own_block(need: Need) -> None:
    """GS is inherited by new threads: without a block of its own a thread would write into its parent's."""
    source = "#include <windows.h>\n__declspec(dllexport) int mine(int x) { SetLastError(x); Sleep(20); return GetLastError(); }"  # fmt: skip
    path = windows.build(source, "mine.dll", need, "-shared")
    library = rtld.dlopen(str(path), native=True)
    assert library.mine(1) == 1
    found: dict[int, int] = {}
    threads = [
        threading.Thread(target=lambda n=n: found.update({n: library.mine(n)})) for n in range(2, 8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: n for n in range(2, 8)}


@pytest.mark.skipif(not NATIVE, reason="Windows code cannot be called here")
def test_a_native_call_costs_what_a_call_of_ctypes_costs(need: Need) -> None:
    import time

    theirs = ctypes.CDLL("libz.so.1").zlibCompileFlags
    mine = rtld.dlopen(zlib1("x86_64", need), native=True).zlibCompileFlags

    def cost(function: Any) -> float:
        times = []
        for _ in range(9):
            begin = time.process_time()
            for _ in range(10_000):
                function()
            times.append(time.process_time() - begin)
        return min(times)

    ratio = min(cost(mine) / cost(theirs) for _ in range(3))
    assert ratio <= 1.5, ratio


@pytest.mark.parametrize("native", [False, True] if NATIVE else [False])
def test_libloaderapi(native: bool, windows_set: Callable[..., Path], capfdbinary: Any) -> None:
    place = windows_set("x86_64")
    cookie = ll.AddDllDirectory(str(place))
    with pytest.raises(ll.LoaderError) as unasked:
        ll.LoadLibrary("ALPHA", native=native)
    assert unasked.value.winerror == 126
    ll.SetDllDirectory(str(place))
    try:
        alpha = ll.LoadLibraryEx("ALPHA", ll.LOAD_LIBRARY_SEARCH_DEFAULT_DIRS, native=native)
        again = ll.LoadLibraryEx(str(place / "alpha.dll"), native=native)
        assert alpha.handle == again.handle
        assert ll.GetModuleHandle("alpha").handle == alpha.handle
        assert ll.GetModuleFileName(alpha) == str(place / "alpha.dll")
        assert alpha.alpha_add(40, 2) == 42
        assert alpha.alpha_forwarded(6, 7) == 42
        assert alpha[77]() == 77
        for name, code in (("nothing", 127), (1234, 182)):
            with pytest.raises(ll.LoaderError) as none:
                ll.GetProcAddress(alpha, name)
            assert none.value.winerror == code
        for name, code in (("nowhere.dll", 126), ("delta.dll", 1114)):
            with pytest.raises(ll.LoaderError) as failed:
                ll.LoadLibrary(name, native=native)
            assert failed.value.winerror == code
        assert ll.FreeLibrary(again)
        assert alpha.alpha_add(1, 1) == 2
        at = ll.GetProcAddress(alpha, "alpha_add")
        held = ll.GetModuleHandleEx(at, ll.GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS)
        assert held.handle == alpha.handle
        assert ll.FreeLibrary(alpha)
        assert held.alpha_add(2, 2) == 4
        assert ll.FreeLibrary(held)
        with pytest.raises(ll.LoaderError) as gone:
            ll.FreeLibrary(held)
        assert gone.value.winerror == 126
        own = ll.GetModuleHandle("kernel32")  # of whichever process came first
        kind = type(own).__name__ == "NativeLibrary"
        assert own.handle == ll.LoadLibrary("kernel32", native=kind).handle
        for ask in (
            lambda: ll.GetModuleHandleEx("kernel32", 3),
            lambda: ll.LoadLibraryEx("alpha.dll", ll.LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR),
            lambda: ll.SetDefaultDllDirectories(0),
            lambda: ll.RemoveDllDirectory(cookie + 1),
            lambda: ll.AddDllDirectory("here"),
        ):
            with pytest.raises(ll.LoaderError) as wrong:
                ask()
            assert wrong.value.winerror == 87
    finally:
        ll.RemoveDllDirectory(cookie)
        ll.SetDllDirectory(None)
    said = capfdbinary.readouterr().out
    # alpha, and beta, which its forwarder has loaded; told once, dynamically, and taken away at the last reference
    assert said.count(b"alpha: process attach (dynamic)") == 1
    assert said.count(b"alpha: process detach (dynamic)") == 1
    assert b"delta: process attach\n" in said.replace(b"\r", b"")


def test_never_implicit(need: Need) -> None:
    """Without native=True no code of a DLL runs in this process; it takes an emulated CPU, and says so."""
    library = rtld.dlopen(zlib1("x86_64", need))
    assert type(library).__name__ == "EmulatedLibrary"
    with pytest.raises(Unsupported, match="its code is for i386"):
        rtld.dlopen(zlib1("i386", need), native=True)
    with pytest.raises(TypeError):
        rtld.dlopen("libz.so.1", native=True)
