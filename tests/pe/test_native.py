"""Windows code in this process: exceptions become Python's, threads have blocks of their own, setjmp and longjmp."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

import rtld
from cli.support import environment
from pe import windows
from pe.native_support import NATIVE
from rtld.backends.windows.native_faults import WindowsException

Need = Callable[[str], None]
pytestmark = pytest.mark.skipif(not NATIVE, reason="Windows code cannot be called here")

FAULTY = r"""
#include <windows.h>
#include <setjmp.h>
#include <string.h>
#define EXPORT __declspec(dllexport)
EXPORT void boom(unsigned code) { RaiseException(code, 0, 0, 0); }
EXPORT int peek(int *p) { return *p; }
EXPORT void poke(int *p) { *p = 1; }
EXPORT int divide(int a, int b) { return a / b; }
EXPORT void stop(void) { __debugbreak(); }
EXPORT void undefined(void) { __asm__("ud2"); }
EXPORT void fail(void) { __asm__("int $0x29"); }
EXPORT int nowhere(int (*f)(void)) { return f() + 1; }
EXPORT void copy(void *p) { memcpy(p, "0123456789abcdef", 16); }
EXPORT int deep(int n) { volatile char here[4096]; here[n & 4095] = (char)n; return deep(n + 1) + here[n & 4095]; }
EXPORT int back(int (*f)(int), int x) { return f(x) + 1; }
EXPORT double steady(double x) { return x * 2; }

static jmp_buf place, kept;
static int level(int n) { if (!n) longjmp(place, 17); return level(n - 1) + 1; }
EXPORT int jumps(int n) {
    volatile int before = n * 3;
    volatile double real = n + 0.5;
    int got = setjmp(place);
    if (!got) level(n);
    return got * 1000 + before + (int)(real * 2);
}
EXPORT int zero(void) { int got = setjmp(place); if (!got) longjmp(place, 0); return got; }
EXPORT int keep(int (*f)(int)) { int got = setjmp(kept); return got ? got : f(5); }
EXPORT int jump(int x) { longjmp(kept, x); return 0; }
"""


@pytest.fixture
def faulty(need: Need) -> Any:
    path = windows.build(
        FAULTY, "faulty.dll", need, "-O1", "-shared", "-fno-optimize-sibling-calls"
    )
    with rtld.dlopen(str(path), native=True) as library:
        yield library


def test_exceptions_are_pythons(faulty: Any) -> None:
    i = ctypes.c_int
    bad = ctypes.c_void_p(0x10)
    for function, arguments, code, words in (
        ("boom", (0xE0001234,), 0xE0001234, r"exception 0xe0001234, raised by the code at 0x[0-9a-f]+ in faulty.dll"),
        ("boom", (0xE06D7363,), 0xE06D7363, "C[+][+] exception of MSVC"),
        ("peek", (bad,), 0xC0000005, "access violation[)]: read at 0x10, raised by the code at 0x[0-9a-f]+ in faulty.dll [+] 0x"),
        ("poke", (bad,), 0xC0000005, "write at 0x10"),
        ("copy", (bad,), 0xC0000005, "write at 0x10"),
        ("nowhere", (ctypes.c_void_p(0x1230),), 0xC0000005, "execute at 0x1230"),
        ("divide", (1, 0), 0xC0000094, "integer division by zero"),
        ("stop", (), 0x80000003, "breakpoint"),
        ("undefined", (), 0xC000001D, "illegal instruction"),
        ("fail", (), 0xC0000409, "fail fast"),
        ("deep", (0,), 0xC0000005, "access violation"),
    ):  # fmt: skip
        for _ in range(2):
            with pytest.raises(WindowsException, match=words) as raised:
                faulty[function](*arguments)
            assert raised.value.code == code
            assert faulty.divide(42, 6) == 7
    faulty.steady.argtypes = [ctypes.c_double]
    faulty.steady.restype = ctypes.c_double
    assert faulty.steady(1.25) == 2.5
    # Python's exceptions pass through Windows code, and Windows' through Python
    kind = ctypes.CFUNCTYPE(i, i)

    def failing(_x: int) -> int:
        raise KeyError("of Python's")

    with pytest.raises(KeyError, match="of Python's"):
        faulty.back(ctypes.c_void_p(faulty.callback(kind(failing))), 1)
    inside = faulty.callback(lambda x: faulty.peek(ctypes.c_void_p(x)), kind)
    with pytest.raises(WindowsException, match="read at 0x20"):
        faulty.back(ctypes.c_void_p(inside), 0x20)
    caught = []

    def catching(x: int) -> int:
        with pytest.raises(WindowsException) as raised:
            faulty.boom(x)
        caught.append(raised.value.code)
        return x * 2

    assert faulty.back(ctypes.c_void_p(faulty.callback(catching, kind)), 21) == 43
    assert caught == [21]


def test_exceptions_in_other_threads(faulty: Any) -> None:
    found: dict[int, Any] = {}

    def work(n: int) -> None:
        for _ in range(20):
            try:
                faulty.boom(n)
            except WindowsException as error:
                found[n] = error.code
            found[-n] = faulty.divide(n * 6, 6)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {**{n: n for n in range(1, 5)}, **{-n: n for n in range(1, 5)}}


def test_a_fault_of_our_own_is_not_hidden(need: Need) -> None:
    """The signal is handled for Windows code only: elsewhere the process ends as it would have."""
    path = windows.build(
        FAULTY, "faulty.dll", need, "-O1", "-shared", "-fno-optimize-sibling-calls"
    )
    code = f"import ctypes, rtld; rtld.dlopen({str(path)!r}, native=True).divide(4, 2); ctypes.string_at(16)"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, check=False)  # fmt: skip
    assert done.returncode == -11


def test_an_exception_of_dllmain(need: Need) -> None:
    source = """#include <windows.h>
BOOL WINAPI DllMain(HINSTANCE self, DWORD reason, void *reserved) { return *(volatile int *)32; }"""
    path = windows.build(source, "dies.dll", need, "-O1", "-shared")
    for _ in range(2):
        with pytest.raises(WindowsException, match=r"read at 0x20, raised by the code at 0x[0-9a-f]+ in dies.dll"):  # fmt: skip
            rtld.dlopen(str(path), native=True)


def test_blocks_of_threads_are_used_again(faulty: Any) -> None:
    machine = faulty._process.machine
    for _ in range(40):
        thread = threading.Thread(target=faulty.divide, args=(4, 2))
        thread.start()
        thread.join()
    assert len(machine._threads) + len(machine._blocks) < 20


def test_setjmp(faulty: Any) -> None:
    assert faulty.jumps(10) == 17 * 1000 + 30 + 21
    assert faulty.zero() == 1
    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)
    # a jump that would leave Python's frames where they are
    over = ctypes.c_void_p(faulty.callback(lambda x: faulty.jump(x) + 1, kind))
    with pytest.raises(rtld.TargetFault, match="longjmp would jump over Python"):
        faulty.keep(over)
    assert faulty.keep(ctypes.c_void_p(faulty.callback(faulty.jump))) == 5  # without Python between
    assert faulty.jumps(3) == 17 * 1000 + 9 + 7


THREADS = r"""
#include <windows.h>
#include <stdio.h>
#define EXPORT __declspec(dllexport)
static DWORD slot;
static CRITICAL_SECTION lock;
static volatile LONG total, attached, detached;
BOOL WINAPI DllMain(HINSTANCE self, DWORD reason, void *reserved) {
    if (reason == DLL_PROCESS_ATTACH) { slot = TlsAlloc(); InitializeCriticalSection(&lock); }
    if (reason == DLL_THREAD_ATTACH) { TlsSetValue(slot, (void *)(LONG_PTR)1000); InterlockedIncrement(&attached); }
    if (reason == DLL_THREAD_DETACH) InterlockedIncrement(&detached);
    return TRUE;
}
static DWORD WINAPI work(void *p) {
    LONG n = (LONG)(LONG_PTR)p;
    DWORD code;
    int i;
    TlsSetValue(slot, (char *)TlsGetValue(slot) + n);
    SetLastError(n);
    for (i = 0; i < 200; i++) { EnterCriticalSection(&lock); total += n; LeaveCriticalSection(&lock); }
    code = GetLastError() * 10000;
    code += (DWORD)(LONG_PTR)TlsGetValue(slot);
    if (n == 3) ExitThread(code);
    return code;
}
EXPORT int run(DWORD *codes) {
    HANDLE done[4];
    int i;
    for (i = 0; i < 4; i++) done[i] = CreateThread(0, 0, work, (void *)(LONG_PTR)(i + 1), i == 1 ? CREATE_SUSPENDED : 0, 0);
    Sleep(10);
    if (WaitForSingleObject(done[1], 0) != WAIT_TIMEOUT) return -1;
    ResumeThread(done[1]);
    if (WaitForMultipleObjects(4, done, TRUE, 20000) != 0) return -2;
    for (i = 0; i < 4; i++) { GetExitCodeThread(done[i], &codes[i]); CloseHandle(done[i]); }
    return total * 100 + attached * 10 + detached;
}
static DWORD WINAPI crash(void *p) { return *(volatile DWORD *)p; }
EXPORT int faulting(void) {
    DWORD code = 1;
    HANDLE thread = CreateThread(0, 0, crash, (void *)16, 0, 0);
    WaitForSingleObject(thread, 20000);
    GetExitCodeThread(thread, &code);
    return code;
}
"""


@pytest.mark.parametrize("arch", ["x86_64", "i386"])
def test_threads_of_emulated_dlls(arch: str, need: Need) -> None:
    path = windows.build(THREADS, "threads.dll", need, "-O1", "-shared", arch=arch)
    with rtld.dlopen(str(path)) as library:
        codes = (ctypes.c_uint32 * 4)()
        assert library.run(codes) == (1 + 2 + 3 + 4) * 200 * 100 + 44
        assert list(codes) == [n * 10000 + 1000 + n for n in (1, 2, 3, 4)]
        with pytest.raises(rtld.TargetFault, match=r"read .*at 0x10"):
            library.faulting()


def test_threads(need: Need, capfd: pytest.CaptureFixture[str]) -> None:
    path = windows.build(THREADS, "threads.dll", need, "-O1", "-shared")
    with rtld.dlopen(str(path), native=True) as library:
        codes = (ctypes.c_uint32 * 4)()
        assert library.run(codes) == (1 + 2 + 3 + 4) * 200 * 100 + 44
        assert list(codes) == [n * 10000 + 1000 + n for n in (1, 2, 3, 4)]
        assert ctypes.c_uint32(library.faulting()).value == 0xC0000005
        for thread in threading.enumerate():
            if thread.name == "Windows":
                thread.join(5)
                assert not thread.is_alive()
    assert "thread of threads.dll: exception 0xc0000005" in capfd.readouterr().err
