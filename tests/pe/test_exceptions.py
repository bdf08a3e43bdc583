"""Exceptions of emulated programs: what Wine prints, and what the same C++ prints as a program of this machine."""

from __future__ import annotations

import functools
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import rtld
import toolchain
from cli.support import environment
from pe import fh4, windows
from rtld.backends.windows import cxx4
from rtld.errors import TargetFault
from rtld.pe.file import PeFile
from rtld.pe.loadconfig import handlers_of

Need = Callable[[str], None]
HERE = Path(__file__).parent / "exceptions"
ARCHES = ["x86_64", "i386"]
PREFIX = {"x86_64": "x86_64-w64-mingw32", "i386": "i686-w64-mingw32"}
NO_DEBUGGER = {"WINEDLLOVERRIDES": "mscoree,mshtml=;winemenubuilder.exe=d;winedbg.exe=d"}


def place(arch: str, need: Need, steps: Sequence[Sequence[str] | toolchain.Step], *sources: str) -> Path:  # fmt: skip
    """A directory with the sources, and what the steps make of them."""
    files = [toolchain.Step("file", name, (HERE / name).read_text()) for name in sources]
    tools = sorted({s[0] for s in steps if not isinstance(s, toolchain.Step)})
    for tool in tools:
        if not shutil.which(tool):
            need(tool)
    key = [arch, *[toolchain.version_of(t) for t in tools], *[f.text for f in files]]
    key += [" ".join(s) if not isinstance(s, toolchain.Step) else s.text for s in steps]
    return toolchain.compile_all(key, [*files, *steps])


def runtimes(arch: str) -> list[Path]:
    """The DLLs of GCC's C++ run-time."""
    found: list[Path] = []
    for pattern in ("libstdc++-6.dll", "libgcc_s_*-1.dll"):
        found += sorted(Path(f"/usr/lib/gcc/{PREFIX[arch]}").glob(f"*-win32/{pattern}"))[:1]
    return found


def ours(path: Path, *arguments: str, cwd: Path | None = None, stdin: bytes = b"", options: Sequence[str] = ()) -> subprocess.CompletedProcess[bytes]:  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "rtld", "run", "--timeout", "60", *options, str(path), *arguments],
        cwd=cwd, env=environment(), input=stdin, capture_output=True, timeout=120, check=False,
    )  # fmt: skip


@functools.cache
def judge(path: Path, need: Need, *words: str) -> windows.Judged:
    """What Wine says of it."""
    return windows.wine([path, *words], need, cwd=path.parent, env=NO_DEBUGGER)


@functools.cache
def _throwing(arch: str, need: Need) -> Path:
    cxx = f"{PREFIX[arch]}-g++"
    copies = [["cp", str(path), "."] for path in runtimes(arch)]
    steps = [
        [cxx, "-w", "-O1", "-shared", "thrower.cpp", "-o", "thrower.dll", "-Wl,--out-implib,libthrower.a"],
        [cxx, "-w", "-O1", "throwing.cpp", "libthrower.a", "-o", "throwing.exe"],
        *copies,
    ]  # fmt: skip
    return place(arch, need, steps, "thrower.h", "thrower.cpp", "throwing.cpp")


@functools.cache
def _native(need: Need, *sources: str) -> Path:
    steps = [["g++", "-w", "-O1", *[s for s in sources if s.endswith(".cpp")], "-o", "program"]]
    return place("native", need, steps, *sources) / "program"


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize(("word", "status"), [("", 0), ("terminate", 3), ("handler", 9), ("abort", 3)])  # fmt: skip
def test_cxx_across_dlls(arch: str, word: str, status: int, need: Need) -> None:
    """throw, catch, rethrow, destructors, exception_ptr, nested, terminate: program, its DLL and GCC's own DLLs."""
    words = [word] if word else []
    wide = _throwing("x86_64", need)
    judged = judge(wide / "throwing.exe", need, *words)
    assert judged.status == status
    directory = _throwing(arch, need)
    done = ours(directory / "throwing.exe", *words, cwd=directory)
    assert done.stdout == judged.out
    assert done.returncode == status
    native = subprocess.run([_native(need, "thrower.h", "thrower.cpp", "throwing.cpp"), *words], capture_output=True, check=False)  # fmt: skip
    assert done.stdout.replace(b"\r\n", b"\n") == native.stdout
    if word == "terminate":
        assert b"terminate called after throwing an instance of 'Derived'" in done.stderr


def test_an_exception_leaves_a_function_of_ours(need: Need) -> None:
    """Through qsort: x64 unwinds past it by its machine frame; DWARF's unwinder of i386 finds nothing and gives up, as it does under Wine."""  # fmt: skip
    wide = _throwing("x86_64", need)
    judged = judge(wide / "throwing.exe", need, "qsort")
    done = ours(wide / "throwing.exe", "qsort", cwd=wide)
    assert (done.stdout, done.returncode) == (judged.out, 0)
    assert b"out of qsort 13" in done.stdout
    narrow = _throwing("i386", need)
    done = ours(narrow / "throwing.exe", "qsort", cwd=narrow)
    assert done.returncode == 3
    assert b"terminate called after throwing an instance of 'int'" in done.stderr


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("linking", ["static", "shared"])
def test_iostreams(arch: str, linking: str, need: Need, tmp_path: Path) -> None:
    def built(which: str) -> Path:
        cxx = f"{PREFIX[which]}-g++"
        steps = [[cxx, "-w", "-O1", "streams.cpp", "-o", "streams.exe", *(["-static"] if linking == "static" else [])],
                 *([["cp", str(p), "."] for p in runtimes(which)] if linking == "shared" else [])]  # fmt: skip
        return place(which, need, steps, "streams.cpp") / "streams.exe"

    text = b"1 2 3\n40\n"
    judged = windows.wine([built("x86_64")], need, cwd=tmp_path, stdin=text)
    done = ours(built(arch), cwd=tmp_path, stdin=text)
    assert done.stdout == judged.out
    assert done.returncode == judged.status == 0
    assert done.stderr.replace(b"\r\n", b"\n") == b"to cerr\nto clog\n"
    native = subprocess.run([_native(need, "streams.cpp")], cwd=tmp_path, input=text, capture_output=True, check=False)  # fmt: skip
    assert done.stdout.replace(b"\r\n", b"\n") == native.stdout


def clang(arch: str, need: Need, name: str, *flags: str, link: Sequence[str] = ()) -> Path:
    """A program of clang, in Microsoft's dialect of C, linked by mingw."""
    triple = {"x86_64": "x86_64-pc-windows-msvc", "i386": "i686-pc-windows-msvc"}[arch]
    steps = [
        ["clang-14", "-target", triple, "-fms-extensions", *flags, "-c", f"{name}.c", "-o", f"{name}.o"],
        *([[f"{PREFIX[arch]}-objcopy", "-R", ".sxdata", f"{name}.o"]] if arch == "i386" else []),  # ld does not know it
        [f"{PREFIX[arch]}-gcc", f"{name}.o", "-o", f"{name}.exe", *link],
    ]  # fmt: skip
    return place(arch, need, steps, f"{name}.c", "seh.h") / f"{name}.exe"


@pytest.mark.parametrize("flags", [("-O0",), ("-O2",)], ids=["O0", "O2"])
@pytest.mark.parametrize("arch", ARCHES)
def test_try_except_finally(arch: str, flags: tuple[str, ...], need: Need) -> None:
    """__try of C: filters, termination handlers, faults of the CPU, exceptions in handlers and filters."""
    judged = judge(clang("x86_64", need, "seh", *flags), need)
    done = ours(clang(arch, need, "seh", *flags))
    assert done.stdout == judged.out
    assert done.returncode == judged.status == 7
    assert done.stderr == b""


@functools.cache
def _raw(arch: str, need: Need) -> Path:
    steps = [[f"{PREFIX[arch]}-gcc", "-w", "-O1", "raw.c", "-o", "raw.exe"]]
    return place(arch, need, steps, "raw.c") / "raw.exe"


@pytest.mark.parametrize("arch", ARCHES)
def test_vectored_handlers_faults_and_signals(arch: str, need: Need) -> None:
    """Each fault of the CPU with its code and parameters; going on with changed registers; setjmp; signals; threads."""
    judged = judge(_raw("x86_64", need), need)
    done = ours(_raw(arch, need))
    assert done.stdout == judged.out
    assert done.returncode == judged.status == 4
    assert done.stderr == b""


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("filter", ""),  # the program's own filter has been asked
        ("continue", ""),
        ("noncontinuable", ""),
        ("raise", "0xe0000012, at"),
        ("break", "EXCEPTION_BREAKPOINT, at"),
        ("abort", ""),
        ("caught abort", ""),
        ("sigterm", ""),
        ("failfast", "__fastfail(7) at 0x"),
        ("illegal", "EXCEPTION_ILLEGAL_INSTRUCTION, at"),
        ("pc", "EXCEPTION_ACCESS_VIOLATION (instruction fetch at 0x30), at 0x30"),
    ],
)
def test_how_programs_end(arch: str, word: str, says: str, need: Need) -> None:
    judged = judge(_raw("x86_64", need), need, word)
    done = ours(_raw(arch, need), word)
    assert done.stdout == judged.out
    assert done.returncode == judged.status
    assert says in done.stderr.decode()
    assert bool(says) == bool(done.stderr)


@pytest.mark.parametrize("arch", ARCHES)
def test_stack_overflow(arch: str, need: Need) -> None:
    """Handled, the guard set once more, handled again; and not handled. (Wine 8 has too little stack left to ask a handler.)"""
    done = ours(_raw(arch, need), "overflow")
    assert done.stdout == b"overflow 6 depth 1 reset 1\r\n" * 2
    assert done.returncode == 8
    done = ours(_raw(arch, need), "stack")
    assert done.returncode == 0xC00000FD & 0xFF
    assert b"EXCEPTION_STACK_OVERFLOW (write at 0x" in done.stderr
    done = ours(_raw(arch, need), "sp")
    assert done.returncode == 0xC0000005 & 0xFF
    assert b"there is no stack to handle it on" in done.stderr


DEF = "LIBRARY msvcrt.dll\nEXPORTS\n__CxxFrameHandler3\n"
THROW = {"x86_64": "_CxxThrowException\n", "i386": "_CxxThrowException@8 == _CxxThrowException\n"}


def _visual(arch: str, need: Need, flag: str) -> Path:
    triple = {"x86_64": "x86_64-pc-windows-msvc", "i386": "i686-pc-windows-msvc"}[arch]
    flags = ["-fms-extensions", "-fcxx-exceptions", "-fexceptions", "-std=c++14", "-fno-threadsafe-statics", "-w", flag]  # fmt: skip
    steps: list[Sequence[str] | toolchain.Step] = [
        toolchain.Step("file", "cxx.def", DEF + THROW[arch]),
        [f"{PREFIX[arch]}-dlltool", *(["-k"] if arch == "i386" else []), "-d", "cxx.def", "-l", "libcxx.a"],
        ["clang-14", "-target", triple, *flags, "-c", "msvc.cpp", "-o", "msvc.o"],
        *([[f"{PREFIX[arch]}-objcopy", "-R", ".sxdata", "msvc.o"]] if arch == "i386" else []),
        [f"{PREFIX[arch]}-gcc", "msvc.o", "libcxx.a", "-o", "msvc.exe"],
    ]  # fmt: skip
    return place(arch, need, steps, "msvc.cpp") / "msvc.exe"


@pytest.mark.parametrize("flag", ["-O0", "-O2"])
@pytest.mark.parametrize("arch", ARCHES)
def test_cxx_of_microsoft(arch: str, flag: str, need: Need) -> None:
    """__CxxFrameHandler3 and _CxxThrowException: handlers in handlers, throw; again and again, virtual bases, return out of a handler."""  # fmt: skip
    judged = judge(_visual("x86_64", need, flag), need)
    done = ours(_visual(arch, need, flag))
    assert done.stdout == judged.out
    assert done.returncode == judged.status == 5
    assert done.stderr == b""
    native = subprocess.run([_native(need, "msvc.cpp")], capture_output=True, check=False).stdout
    # GCC copies the object for a handler after the stack is unwound, Microsoft before
    assert sorted(done.stdout.split()) == sorted(native.split())


ROOM = """
    .globl __CxxFrameHandler3
__CxxFrameHandler3:
    jmp *__imp___CxxFrameHandler4(%rip)
    .section .room, "dr"
    .ascii "ROOMROOMROOMROOM"
    .space 32768
"""


@pytest.mark.parametrize("flag", ["-O0", "-O2"])
def test_cxx_of_microsoft_with_tables_of_few_bytes(flag: str, need: Need) -> None:
    """__CxxFrameHandler4: what the program with the old tables says, it says with the new ones; Wine reads them, too."""
    flags = ["-fms-extensions", "-fcxx-exceptions", "-fexceptions", "-std=c++14", "-fno-threadsafe-statics", "-w", flag]  # fmt: skip
    tools = PREFIX["x86_64"]
    steps: list[Sequence[str] | toolchain.Step] = [
        toolchain.Step("file", "room.s", ROOM),
        toolchain.Step("file", "cxx.def", "LIBRARY msvcrt.dll\nEXPORTS\n_CxxThrowException\n"),
        toolchain.Step("file", "fh4.def", "LIBRARY vcruntime140_1.dll\nEXPORTS\n__CxxFrameHandler4\n"),
        *[[f"{tools}-dlltool", "-d", f"{name}.def", "-l", f"lib{name}.a"] for name in ("cxx", "fh4")],
        ["clang-14", "-target", "x86_64-pc-windows-msvc", *flags, "-c", "msvc.cpp", "-o", "msvc.o"],
        [f"{tools}-gcc", "msvc.o", "room.s", "libcxx.a", "libfh4.a", "-o", "old.exe"],
    ]  # fmt: skip
    directory = place("x86_64", need, steps, "msvc.cpp")
    new = directory / "new.exe"
    if not new.exists():
        assert fh4.convert(directory / "old.exe", directory / "new.tmp") > 20
        (directory / "new.tmp").rename(new)
    judged = judge(new, need)
    done = ours(new)
    assert done.stdout == judged.out == judge(_visual("x86_64", need, flag), need).out
    assert done.returncode == judged.status == 5
    assert done.stderr == b""


def test_numbers_and_actions_of_few_bytes() -> None:
    """Compressed numbers of all lengths; states that destroy an object, or what a pointer points to, in the frame."""
    numbers = [0, 1, 127, 128, 16383, 16384, (1 << 21) - 1, 1 << 21, (1 << 28) - 1, 1 << 28, (1 << 32) - 1]  # fmt: skip
    system = Bytes(b"".join(map(fh4.unsigned, numbers)))
    read = cxx4.Reader(system, 0)  # type: ignore[arg-type]
    assert [read.unsigned() for _ in numbers] == numbers
    # two states: an object at 0x20 of the frame, then what the pointer at 0x300 points to
    first = fh4.unsigned((0 + 1) << 2 | 1) + struct.pack("<I", 0x1000) + fh4.unsigned(0x20)
    second = fh4.unsigned(len(first) << 2 | 2) + struct.pack("<I", 0x2000) + fh4.unsigned(0x300)
    info = bytes([0x08 | 0x20]) + struct.pack("<II", 0x80, 0xC0)
    ips = fh4.unsigned(2) + b"".join(map(fh4.unsigned, (4, 1, 300, 2)))
    data = info.ljust(0x80, b"\0") + (fh4.unsigned(2) + first + second).ljust(0x40, b"\0") + ips
    system = Bytes(data.ljust(0x310, b"\0") + struct.pack("<Q", 0xABCD))
    found = cxx4.FunctionInfo4(system, 0, 0, 0x10)  # type: ignore[arg-type]
    assert (found.states, found.synchronous, found.catches) == (2, True, False)
    assert [found.state_at(ip) for ip in (0x10, 0x13, 0x14, 0x13F, 0x140, 0x1000)] == [-1, -1, 0, 0, 1, 1]  # fmt: skip
    assert [found.outside(state) for state in (1, 0, -1)] == [(0, 0x2000), (-1, 0x1000), (-1, 0)]
    assert found.argument(0, 0x8000) == (0x8020,)
    assert found.argument(1, 0x10) == (0xABCD,)
    assert cxx4.Handler4.of((0, 0, 0, 0, 0), [0x5000]).goes_on(0) == 0x5000
    assert cxx4.Handler4.of((0, 0, 0, 0, 0), []).goes_on(0x6000) == 0x6000


class Bytes:
    """A system whose memory is some bytes."""

    bits, word = 64, 8

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.memory = self

    def read(self, address: int, size: int) -> bytes:
        return self.data[address : address + size]

    def number(self, address: int, size: int = 8) -> int:
        return int.from_bytes(self.read(address, size), "little")


@functools.cache
def _handlers(arch: str, need: Need) -> Path:
    steps = [[f"{PREFIX[arch]}-gcc", "-w", "-O1", "handlers.c", "-o", "handlers.exe"]]
    return place(arch, need, steps, "handlers.c") / "handlers.exe"


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("word", ["", "0", "4"])
def test_handlers_of_the_programs_own(arch: str, word: str, need: Need) -> None:
    """Language handlers and registrations, what they are told and what becomes of their answers; tables added at run time;
    the pass over all frames when nobody has handled it."""  # fmt: skip
    words = [word] if word else []
    judged = judge(_handlers("x86_64", need), need, *words)
    done = ours(_handlers(arch, need), *words)
    lines = judged.out.splitlines()
    if (
        arch == "i386" and not word
    ):  # the target's own handler is not asked once more there, and the tables are x64's
        lines = [line for line in lines[: lines.index(b"none 1")] if b"flags 22" not in line]
    assert done.stdout.splitlines() == lines
    assert done.returncode == judged.status
    assert done.stderr == b""


def test_safe_seh(need: Need) -> None:
    """A module that lists its handlers has no others ("/SAFESEH"; Wine 8 asks whoever is in the chain)."""
    steps: list[Sequence[str] | toolchain.Step] = [
        toolchain.Step("file", "kernel32.def", "LIBRARY kernel32.dll\nEXPORTS\nRaiseException@16\nExitProcess@4\n"),
        toolchain.Step("file", "msvcrt.def", "LIBRARY msvcrt.dll\nEXPORTS\nputs\n_except_handler3\n"),
        *[["llvm-dlltool-14", "-m", "i386", "-k", "-d", f"{n}.def", "-l", f"{n}.lib"] for n in ("kernel32", "msvcrt")],
        ["clang-14", "-target", "i686-pc-windows-msvc", "-fms-extensions", "-O1", "-c", "safe.c", "-o", "safe.o"],
        ["lld-link-14", "/safeseh", "/entry:start", "/subsystem:console", "/nodefaultlib", "safe.o", "kernel32.lib", "msvcrt.lib", "/out:safe.exe"],
    ]  # fmt: skip
    path = place("i386", need, steps, "safe.c", "seh.h") / "safe.exe"
    handlers = handlers_of(PeFile(str(path)))
    assert handlers is not None
    assert len(handlers) == 1
    done = ours(path)
    assert done.stdout == b"handled\r\n"
    assert done.returncode == 0xC00001A5 & 0xFF
    assert b"STATUS_INVALID_EXCEPTION_HANDLER, at 0x" in done.stderr
    assert b"its module does not list it" in done.stderr


def test_scope_tables_with_cookies(need: Need) -> None:
    """_except_handler4_common: an exception, a fault, neither; the termination handler each time."""
    steps = [["i686-w64-mingw32-gcc", "-w", "scopes.c", "scopes.s", "-o", "scopes.exe"]]
    done = ours(place("i386", need, steps, "scopes.c", "scopes.s") / "scopes.exe")
    assert done.stdout == b"1 1\r\n123 2\r\n105 3\r\n"
    assert (done.returncode, done.stderr) == (0, b"")


FAULTING = r"""
#include <windows.h>
__declspec(dllexport) int fine(int x) { return x + 1; }
__declspec(dllexport) int faults(int *p) { return *p; }
__declspec(dllexport) int raises(void) { RaiseException(0xE0000044, 0, 0, 0); return 2; }
"""


@pytest.mark.parametrize("arch", ARCHES)
def test_exceptions_of_a_dll_that_python_has_called(arch: str, need: Need) -> None:
    """They are the caller's; what is called next works."""
    path = windows.build(FAULTING, "faulting.dll", need, "-shared", arch=arch)
    with rtld.dlopen(str(path)) as library:
        assert library.fine(1) == 2
        with pytest.raises(TargetFault, match=r"EXCEPTION_ACCESS_VIOLATION \(read at 0x20\).*in faulting[.]dll"):  # fmt: skip
            library.faults(0x20)
        assert library.fine(2) == 3
        with pytest.raises(TargetFault, match="unhandled exception 0xe0000044"):
            library.raises()
        assert library.fine(3) == 4


@pytest.mark.parametrize("arch", ARCHES)
def test_dynamic_cast_of_microsoft(arch: str, need: Need) -> None:
    def built(which: str) -> Path:
        triple = {"x86_64": "x86_64-pc-windows-msvc", "i386": "i686-pc-windows-msvc"}[which]
        steps: list[Sequence[str] | toolchain.Step] = [
            toolchain.Step("file", "rt.def", "LIBRARY msvcrt.dll\nEXPORTS\n__RTDynamicCast\n__RTCastToVoid\n"),
            [f"{PREFIX[which]}-dlltool", "-d", "rt.def", "-l", "librt.a"],
            ["clang-14", "-target", triple, "-fms-extensions", "-std=c++14", "-w", "-O1", "-c", "casts.cpp", "-o", "casts.o"],
            *([[f"{PREFIX[which]}-objcopy", "-R", ".sxdata", "casts.o"]] if which == "i386" else []),
            [f"{PREFIX[which]}-gcc", "casts.o", "librt.a", "-o", "casts.exe"],
        ]  # fmt: skip
        return place(which, need, steps, "casts.cpp") / "casts.exe"

    done = ours(built(arch))
    assert (done.returncode, done.stderr) == (0, b"")
    judged = judge(built("x86_64"), need)
    if arch == "x86_64":
        assert done.stdout == judged.out
    else:  # the same answers at other distances
        assert [b"no" in line for line in done.stdout.splitlines()] == [b"no" in line for line in judged.out.splitlines()]  # fmt: skip
    assert b"void 1 1" in done.stdout
