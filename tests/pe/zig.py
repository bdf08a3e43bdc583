"""The other compiler for Windows, zig's clang and lld: native thread-local data, delay loading as MSVC has it, arm64.

No C run-time is linked: the images consist of our own sources, and build in a second.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import toolchain

SOURCES = Path(__file__).parent / "zig"
TRIPLES = {"x86_64": "x86_64-pc-windows-msvc", "i386": "i686-pc-windows-msvc", "aarch64": "aarch64-pc-windows-msvc"}  # fmt: skip
_MACHINES = {"x86_64": "i386:x86-64", "i386": "i386", "aarch64": "arm64"}

# What is imported of KERNEL32, with the bytes of arguments that i386 puts into the names.
# fmt: off
KERNEL32 = {
    "GetStdHandle": 4, "WriteFile": 20, "ExitProcess": 4, "LoadLibraryA": 4, "FreeLibrary": 4, "GetProcAddress": 8,
    "GetModuleHandleA": 4, "GetLastError": 0, "CreateThread": 24, "WaitForSingleObject": 8, "GetExitCodeThread": 8,
    "CreateEventA": 16, "SetEvent": 4, "VirtualProtect": 16,
}
# fmt: on


@functools.cache
def _tool() -> str | None:
    """zig: in PATH, or of the package ziglang."""
    found = shutil.which("zig")
    if found is None:
        spec = importlib.util.find_spec("ziglang")
        if spec is not None and spec.origin:
            found = os.path.join(os.path.dirname(spec.origin), "zig")
    return found


def zig(require: Callable[[str], None]) -> str:
    """Its path, or the test ends."""
    found = _tool()
    if found is None:
        require("zig (pip install ziglang)")
    return str(found)


class Build:
    """Commands that make images for one CPU; ``run`` gives the directory that they are in."""

    def __init__(self, arch: str, require: Callable[[str], None], *sources: Path | tuple[str, str]) -> None:  # fmt: skip
        """*sources*: files of the set, or (name, text)."""
        self.arch = arch
        self.zig = zig(require)
        self.steps: list[Sequence[str] | toolchain.Step] = []
        self.key = [repr(os.stat(self.zig).st_mtime_ns), arch]
        for each in sources:
            name, text = (each.name, each.read_text()) if isinstance(each, Path) else each
            self.steps.append(toolchain.Step("file", name, text))
            self.key += [name, text]
        size = {n: f"@{s}" if arch == "i386" else "" for n, s in KERNEL32.items()}
        self.library("kernel32", *[n + size[n] for n in KERNEL32])

    def library(self, dll: str, *names: str) -> None:
        """An import library from the names alone, ``dll.lib``."""
        lines = "\n  ".join(names)
        self.steps.append(toolchain.Step("file", f"{dll}.imports", f"LIBRARY {dll}.dll\nEXPORTS\n  {lines}\n"))  # fmt: skip
        self._do(self.zig, "dlltool", "-m", _MACHINES[self.arch], "-k", "-d", f"{dll}.imports", "-l", f"{dll}.lib")  # fmt: skip

    def image(self, output: str, source: str, *words: str, defines: Sequence[str] = ()) -> None:
        """One image from one source; *words* go to the linker."""
        made = output.replace(".", "-") + ".obj"
        self._do(self.zig, "clang", f"--target={TRIPLES[self.arch]}", "-O1", "-fno-builtin", "-Wall", "-Wno-unused", "-Werror",
                 *[f"-D{d}" for d in defines], "-c", source, "-o", made)  # fmt: skip
        entry = ["-dll", "-entry:DllMain"] if output.endswith(".dll") else ["-entry:start", "-subsystem:console"]  # fmt: skip
        self._do(self.zig, "lld-link", "-nodefaultlib", "-brepro", *entry, made, "kernel32.lib", *words, f"-out:{output}")  # fmt: skip

    def _do(self, *words: str) -> None:
        self.steps.append(words)
        self.key += words

    def run(self) -> Path:
        """Make them, once."""
        return toolchain.compile_all(self.key, self.steps)


def thread_local(arch: str, require: Callable[[str], None]) -> Path:
    """threads.exe, static.dll, late.dll."""
    build = Build(arch, require, *[SOURCES / n for n in ("own.h", "tls.h", "threads.c", "threadlocal.c")])  # fmt: skip
    for name, first in (("static", 500), ("late", 7)):
        build.image(f"{name}.dll", "threadlocal.c", f"-implib:{name}.lib", defines=[f"NAME={name}", f"START={first}"])  # fmt: skip
    build.image("threads.exe", "threads.c", "static.lib")
    return build.run()


def delayed(arch: str, require: Callable[[str], None]) -> Path:
    """delayed.exe; unloaded.exe, which also unloads; plain.exe and again.exe: the same without errors; far.dll, half.dll. near.dll is not there."""
    half = "int __stdcall DllMain(void *m, unsigned long r, void *p) { return 1; }\n__declspec(dllexport) int half_there(int x) { return x + 1; }\n"
    build = Build(arch, require, ("half.c", half), *[SOURCES / n for n in ("own.h", "delay.h", "far.c", "delayed.c")])  # fmt: skip
    build.image("far.dll", "far.c", "-export:far_numbered,@33,noname", "-implib:far.lib")
    build.image("half.dll", "half.c")
    build.library("half", "half_there", "half_missing")
    build.library("near", "near_nothing")
    late = [f"-delayload:{n}.dll" for n in ("far", "near", "half")]
    for output, defines in (("delayed.exe", ["FAILING"]), ("unloaded.exe", ["FAILING", "UNLOADED"]), ("plain.exe", []), ("again.exe", ["UNLOADED"])):  # fmt: skip
        build.image(output, "delayed.c", "far.lib", "near.lib", "half.lib", *late, defines=defines)
    return build.run()
