"""Windows on AArch64, emulated: programs and DLLs that say what the same source says on x86-64 under Wine."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import pytest

import rtld
from pe import windows, zig
from rtld.errors import TargetFault
from rtld.process.windows.run import WindowsProcess

Need = Callable[[str], None]
Capture = pytest.CaptureFixture[bytes]

PROGRAM = r"""
#include "own.h"
IMPORT int printf(const char *, ...);
IMPORT int sprintf(char *, const char *, ...);
IMPORT void qsort(void *, WORDPTR, WORDPTR, int (*)(const void *, const void *));
IMPORT double pow(double, double);
IMPORT double strtod(const char *, char **);
IMPORT int fflush(void *);
IMPORT double next_reading(int, double, float);
static int calls;
static int order(const void *a, const void *b) { calls++; return *(const int *)a - *(const int *)b; }
/* More arguments than there are registers, of both kinds, one after the other. */
static __attribute__((noinline)) int many(int a, double b, int c, double d, int e, double f, int g, double h, int i, double j, int k, double l) {
    return a + (int)b + c + (int)d + e + (int)f + g + (int)h + i + (int)j + k + (int)l;
}
void start(void) {
    int numbers[9] = {5, 3, 9, -1, 4, 12, 0, 7, -8}, i;
    char line[100];
    qsort(numbers, 9, sizeof *numbers, order);
    for (i = 0; i < 9; i++) printf("%d ", numbers[i]);
    printf("after some calls %d\n", calls > 8);
    printf("%d %.2f %s %lld %c %g %x %d %.1f %d\n", 1, 2.5, "three", 4000000000000LL, '5', 0.25, 255, 8, 9.5, 10);
    sprintf(line, "%s|%5d|%-5.1f|%d|%d|%d|%.3f|%d", "in", 42, 1.5, 3, 4, 5, 6.5, 7);
    printf("%s\n", line);
    printf("%.3f %.3f\n", pow(2.0, 0.5), strtod("2.75e1xyz", 0));
    printf("%d\n", many(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12));
    for (i = 0; i < 3; i++) printf("%.2f\n", next_reading(i, 1.5, 0.25f));
    fflush(0);
    ExitProcess(11);
}
"""

READINGS = r"""
typedef struct { float x, y, z; } point;
typedef struct { long long a; int b; } pair;
typedef struct { int n[5]; } large;
int _fltused;
static double total = 100;
int __stdcall DllMain(void *self, unsigned long reason, void *reserved) { return 1; }
#define EXPORT __declspec(dllexport)
EXPORT double next_reading(int n, double step, float more) { return total += n * step + more; }
EXPORT point turned(point p, float by) { point r = {p.y * by, p.z * by, p.x * by}; return r; }
EXPORT pair swapped(pair p) { pair r = {p.b, (int)p.a}; return r; }
EXPORT large grown(large l, int by) { for (int i = 0; i < 5; i++) l.n[i] += by * i; return l; }
EXPORT int crash(int *p) { return *p; }
EXPORT int twice(int (*f)(int), int x) { return f(f(x)); }
"""


def readings(arch: str, need: Need) -> Path:
    """readings.dll and reader.exe."""
    build = zig.Build(arch, need, zig.SOURCES / "own.h", ("reader.c", PROGRAM), ("readings.c", READINGS))  # fmt: skip
    build.library("msvcrt", "printf", "sprintf", "qsort", "pow", "strtod", "fflush")
    build.image("readings.dll", "readings.c", "-implib:readings.lib")
    build.image("reader.exe", "reader.c", "msvcrt.lib", "readings.lib")
    return build.run()


@pytest.mark.parametrize("moved", [False, True], ids=["preferred", "moved"])
@pytest.mark.parametrize("name", ["reader.exe", "threads.exe", "delayed.exe", "plain.exe"])
def test_programs(name: str, moved: bool, need: Need, capfdbinary: Capture) -> None:
    made = {"reader.exe": readings, "threads.exe": zig.thread_local}.get(name, zig.delayed)
    host = made("x86_64", need) / name
    judged = windows.wine([host], need, cwd=host.parent)
    process = WindowsProcess(str(made("aarch64", need) / name), moved=moved, seconds=60)
    capfdbinary.readouterr()
    assert process.run() == judged.status
    said = capfdbinary.readouterr().out
    # Windows calls the program's TLS callbacks at the end, too; Wine does not.
    assert said.removesuffix(b"threads.exe callback: process detach\n") == judged.out
    assert not process.unknown
    process.close()


class Point(ctypes.Structure):
    _fields_ = (("x", ctypes.c_float), ("y", ctypes.c_float), ("z", ctypes.c_float))


class Pair(ctypes.Structure):
    _fields_ = (("a", ctypes.c_int64), ("b", ctypes.c_int))


class Large(ctypes.Structure):
    _fields_ = (("n", ctypes.c_int * 5),)


def test_a_dll(need: Need) -> None:
    with rtld.dlopen(str(readings("aarch64", need) / "readings.dll")) as library:
        library.next_reading.argtypes = [ctypes.c_int, ctypes.c_double, ctypes.c_float]
        library.next_reading.restype = ctypes.c_double
        assert [library.next_reading(n, 1.5, 0.25) for n in range(3)] == [100.25, 102.0, 105.25]
        library.turned.argtypes, library.turned.restype = [Point, ctypes.c_float], Point
        turned = library.turned(Point(1, 2, 3), 10)
        assert (turned.x, turned.y, turned.z) == (20, 30, 10)
        library.swapped.argtypes, library.swapped.restype = [Pair], Pair
        swapped = library.swapped(Pair(7, -5))
        assert (swapped.a, swapped.b) == (-5, 7)
        library.grown.argtypes, library.grown.restype = [Large, ctypes.c_int], Large
        assert list(library.grown(Large((ctypes.c_int * 5)(1, 2, 3, 4, 5)), 10).n) == [1, 12, 23, 34, 45]  # fmt: skip
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)
        assert library.twice(kind(lambda x: x * 3), 5) == 45
        with pytest.raises(TargetFault, match=r"read .*at 0x10, where nothing is mapped, by the code at 0x[0-9a-f]+ in readings.dll"):  # fmt: skip
            library.crash(ctypes.c_void_p(16))
        assert library.twice(kind(lambda x: x + 1), 5) == 7
