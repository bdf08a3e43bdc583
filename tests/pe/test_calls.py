"""Calls of functions with random signatures in every convention: what they got, what they returned, what callbacks got.

The DLL is compiled by gcc or clang and records; the same source as a program, run under Wine, says what was to come out.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rtld
import toolchain
from pe import windows, zig
from pe.native_support import NATIVE
from pe.signatures import Case, Maker
from rtld.errors import TargetFault, Unsupported

Need = Callable[[str], None]

# (CPU, compiler, convention, seed); gcc counts 8-byte integers and structures differently from MSVC in fastcall
GCC = [("x86_64", "gcc", "cdecl"), *[("i386", "gcc", c) for c in ("cdecl", "stdcall", "fastcall", "thiscall")]]  # fmt: skip
CLANG = [("x86_64", "clang", "cdecl"), ("x86_64", "clang", "vectorcall"),
         *[("i386", "clang", c) for c in ("cdecl", "stdcall", "fastcall", "thiscall", "vectorcall")]]  # fmt: skip


def maker(arch: str, compiler: str, convention: str, variadic: bool = False) -> Maker:
    """Cases that the compiler has MSVC's rules for."""
    gcc386 = compiler == "gcc" and arch == "i386"
    wide = not (gcc386 and convention in ("fastcall", "thiscall"))
    # clang's caller and callee do not agree on structures in i386's vectorcall
    structures = wide and not (arch == "i386" and convention == "vectorcall")
    return Maker(7, convention, wide=wide, structures=structures, variadic=variadic, gcc386=gcc386)


def built(arch: str, compiler: str, convention: str, made: Maker, need: Need) -> Path:
    """The directory of calls.dll and calls.exe."""
    source = made.source()
    define = f"CONV=__attribute__(({convention}))"
    if compiler == "clang":
        build = zig.Build(arch, need, zig.SOURCES / "own.h", ("calls.c", source))
        build.image("calls.dll", "calls.c", defines=[define])
        build.image("calls.exe", "calls.c", defines=[define, "PROGRAM"])
        return build.run()
    cc = windows.compiler(arch, need)
    entry = "_" * (arch == "i386")
    common = [cc, "-O1", "-fno-builtin", f"-D{define}", "calls.c", "-nostdlib", "-Wl,--enable-runtime-pseudo-reloc-v2"]  # fmt: skip
    libraries = ["-lkernel32", "-lgcc"]
    dll = [*common, "-shared", f"-Wl,-e,{entry}DllMain{'@12' if entry else ''}", "-o", "calls.dll", *libraries]  # fmt: skip
    exe = [*common, "-DPROGRAM", f"-Wl,-e,{entry}start", "-o", "calls.exe", *libraries]
    files = [("own.h", (zig.SOURCES / "own.h").read_text()), ("calls.c", source)]
    steps: list[Any] = [*[toolchain.Step("file", n, t) for n, t in files], dll, exe]
    return toolchain.compile_all(
        [toolchain.version_of(cc), *dll, *exe, *[t for _, t in files]], steps
    )


def opened(path: Path, native: bool) -> Any:
    """Here, or on an emulated CPU."""
    return rtld.dlopen(str(path), native=True) if native else rtld.dlopen(str(path))


def called(library: Any, made: Maker, number: int, case: Case, at: int, word: int) -> bytes:
    """What a function has recorded, and its result."""
    address = int.from_bytes(library.read(at + word * number, word), "little")
    function = library.function(address, f"f{number}")
    function.convention = case.convention
    function.restype = case.result.py if case.result else None
    function.argtypes = [kind.py for kind in case.arguments]
    if case.fixed is not None:
        function.argtypes = function.argtypes[: case.fixed]
        function.variadic = True
    values = case.values
    if case.fixed is not None:
        values = tuple(v if i < case.fixed or k.members else k.py(v) for i, (v, k) in enumerate(zip(values, case.arguments, strict=True)))  # fmt: skip
    result = function(*values)
    used = struct.unpack("<i", library.read(library.address("used"), 4))[0]
    got: bytes = library.read(library.address("record"), used)
    return got + made.packed(result, case.result)


@pytest.mark.parametrize(("arch", "compiler", "convention", "variadic", "native"), [
    *[(*each, False, False) for each in (*GCC, *CLANG)],
    *[(*each, True, False) for each in (*GCC, *CLANG) if each[2] == "cdecl"],
    *[("x86_64", c, "cdecl", v, True) for c in ("gcc", "clang") for v in (False, True)],
    *[("aarch64", "clang", "cdecl", v, False) for v in (False, True)],
])  # fmt: skip
def test_random_signatures(arch: str, compiler: str, convention: str, variadic: bool, native: bool, need: Need) -> None:  # fmt: skip
    if native and not NATIVE:
        pytest.skip("Windows code cannot be called here")
    made = maker(arch, compiler, convention, variadic)
    place = built(arch, compiler, convention, made, need)
    # no Wine runs programs of AArch64 here: the same source on another CPU is the judge
    host = built("x86_64", compiler, convention, made, need) if arch == "aarch64" else place
    judged = windows.wine([host / "calls.exe"], need, cwd=host, arch="i386" if arch == "i386" else "x86_64")  # fmt: skip
    assert judged.status == 3
    wanted = [bytes.fromhex(line.decode()) for line in judged.out.splitlines()]
    with opened(place / "calls.dll", native) as library:
        word = 4 if arch == "i386" else 8
        for number, case in enumerate(made.cases):
            got = called(library, made, number, case, library.address("functions"), word)
            assert got == wanted[number], (number, case)
            values = b"".join(made.packed(v, k) for v, k in zip(case.values, case.arguments, strict=True))  # fmt: skip
            assert got == values + made.packed(case.answer, case.result)


@pytest.mark.parametrize(("arch", "compiler", "convention", "native"), [
    *[(*each, False) for each in (*GCC, *CLANG)], ("x86_64", "gcc", "cdecl", True), ("x86_64", "clang", "cdecl", True),
    ("aarch64", "clang", "cdecl", False),
])  # fmt: skip
def test_random_callbacks(arch: str, compiler: str, convention: str, native: bool, need: Need) -> None:  # fmt: skip
    """The DLL calls a Python function with its values, and records what that has returned."""
    made = maker(arch, compiler, convention)
    place = built(arch, compiler, convention, made, need)
    word = 4 if arch == "i386" else 8
    if native and not NATIVE:
        pytest.skip("Windows code cannot be called here")
    with opened(place / "calls.dll", native) as library:
        for number, case in enumerate(made.cases):
            seen: list[bytes] = []

            def called_back(*values: Any, case: Case = case, seen: list[bytes] = seen) -> Any:
                seen.append(b"".join(made.packed(v, k) for v, k in zip(values, case.arguments, strict=True)))  # fmt: skip
                return case.answer

            kind = ctypes.CFUNCTYPE(case.result.py if case.result else None, *[k.py for k in case.arguments])  # fmt: skip
            words = {} if native else {"convention": convention}
            back = library.callback(called_back, kind, **words)
            at = library.address("callbacks") + word * number
            caller = library.function(int.from_bytes(library.read(at, word), "little"))
            size = caller(ctypes.c_void_p(back))
            wanted = b"".join(made.packed(v, k) for v, k in zip(case.values, case.arguments, strict=True))  # fmt: skip
            assert seen == [wanted], (number, case)
            assert library.read(library.address("record"), size) == made.packed(case.answer, case.result)  # fmt: skip


NESTED = r"""
#define EXPORT __declspec(dllexport)
EXPORT int twice(int (*f)(int), int x) { return f(f(x)); }
EXPORT double halves(double (*f)(double), double x) { int i; double sum = 0; for (i = 0; i < 20; i++) sum += f(x + i) / 2; return sum; }
static int (*kept)(int);
EXPORT void keep(int (*f)(int)) { kept = f; }
EXPORT int again(int x) { return kept(x); }
EXPORT int text(const char *s, const unsigned short *w) { return s[1] * 1000 + w[1]; }
"""


@pytest.mark.parametrize("arch", ["x86_64", "i386"])
def test_calls_inside_calls(arch: str, need: Need) -> None:
    path = windows.build(NESTED, "nested.dll", need, "-O1", "-shared", arch=arch)
    with rtld.dlopen(str(path)) as library:
        i, d = ctypes.c_int, ctypes.c_double
        kind = ctypes.CFUNCTYPE(i, i)
        library.twice.argtypes = [kind, i]
        plain = kind(lambda x: x + 1)
        outer = kind(lambda x: library.twice(plain, x) * 10)
        assert library.twice(outer, 4) == ((4 + 2) * 10 + 2) * 10
        # more results than the x87's stack has places for
        library.halves.argtypes = [ctypes.CFUNCTYPE(d, d), d]
        library.halves.restype = d
        for _ in range(20):
            assert library.halves(lambda x: x * 2, 0.5) == sum(0.5 + n for n in range(20))
        assert library.text(b"abc", "xyz") == ord("b") * 1000 + ord("y")

        for error in (KeyError, ValueError, OverflowError, OSError, MemoryError, TypeError):

            def failing(_x: int, error: type[Exception] = error) -> int:
                raise error("of Python's")

            with pytest.raises(error, match="of Python's"):
                library.twice(failing, 1)
        assert library.twice(plain, 1) == 3
        # Thousands of functions that come and go; one that is gone, and one that is kept.
        assert [library.twice(lambda x, n=n: x + n, 0) for n in range(3000)] == [2 * n for n in range(3000)]  # fmt: skip
        library.keep.argtypes = [kind]
        library.keep(lambda x: x + 5)
        with pytest.raises(TargetFault, match="a callback that Python has no longer"):
            library.again(1)
        library.keep.argtypes = None
        library.keep(library.callback(lambda x: x + 6, kind))
        assert library.again(1) == 7
        endless: Any = kind(lambda x: library.twice(endless, x))
        with pytest.raises(
            TargetFault, match="more than 32 calls into the program inside one another"
        ):
            library.twice(endless, 1)
        assert library.twice(plain, 1) == 3
        if arch == "i386":
            library.text.argtypes = [Wide]
            with pytest.raises(Unsupported, match="Wide by value: 8 bytes there, 16 here"):
                library.text(Wide(1, 2))
        library.twice.convention = "pascal"
        with pytest.raises(Unsupported, match="calling convention 'pascal'"):
            library.twice(plain, 1)


class Wide(ctypes.Structure):
    """On i386 its first member has four bytes."""

    _fields_ = (("a", ctypes.c_void_p), ("b", ctypes.c_int))
