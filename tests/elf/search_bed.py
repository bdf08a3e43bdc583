"""A bed for tests of library search: tiny programs made with gcc, ld.so asked, our search asked in the same way."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import toolchain
from rtld.core.module import Module
from rtld.elf.file import ElfFile
from rtld.elf.search import Search, SearchOptions, debug_lines
from rtld.errors import FormatError, NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

LOADER = "/lib64/ld-linux-x86-64.so.2"


@functools.cache
def _stub(soname: str, cc: str) -> Path:
    """A library whose only content is its DT_SONAME: what is linked against to get a DT_NEEDED."""
    argv = [
        cc,
        "-shared",
        "-nostdlib",
        f"-Wl,-soname,{soname}",
        "-xc",
        "/dev/null",
        "-o",
        "stub.so",
    ]
    return toolchain.compile_all([toolchain.version_of(cc), *argv], [argv]) / "stub.so"


class Bed:
    """A directory of libraries and programs that contain nothing but dynamic sections."""

    def __init__(self, place: Path, cc: str = "gcc") -> None:
        self.place = place
        self.cc = cc

    def make(
        self,
        name: str,
        *needed: str,
        soname: str | None = None,
        rpath: str | None = None,
        runpath: str | None = None,
        flags: Sequence[str] = (),
        main: bool = False,
        cc: str | None = None,
    ) -> Path:
        """A file with these DT_NEEDED, DT_RPATH, DT_RUNPATH."""
        cc = cc or self.cc
        argv = [cc, "-nostdlib", "-xc", "/dev/null", "-xnone", "-Wl,--no-as-needed"]
        argv += ["-pie", "-fPIE", "-Wl,-e,0"] if main else ["-shared"]
        if soname:
            argv.append(f"-Wl,-soname,{soname}")
        if rpath is not None:
            argv += [f"-Wl,-rpath,{rpath}", "-Wl,--disable-new-dtags"]
        if runpath is not None:
            argv += [f"-Wl,-rpath,{runpath}", "-Wl,--enable-new-dtags"]
        stubs = [_stub(entry, cc) for entry in needed]
        argv += [*flags, *[str(stub) for stub in stubs], "-o", "out"]
        made = toolchain.compile_all([toolchain.version_of(cc), *argv], [argv]) / "out"
        path = self.place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(made, path)
        return path

    def lib(self, name: str, *needed: str, **options: object) -> Path:
        return self.make(name, *needed, **options)  # type: ignore[arg-type]

    def main(self, *needed: str, name: str = "main", **options: object) -> Path:
        return self.make(name, *needed, main=True, **options)  # type: ignore[arg-type]


class Answer:
    """What a loader did: the lines of LD_DEBUG=libs, (name, path) of each library, the error it stopped with."""

    def __init__(self, lines: list[str], libraries: list[tuple[str, str]], error: str) -> None:
        self.lines = lines
        self.libraries = libraries
        self.error = error


def ask_loader(
    program: str, env: Mapping[str, str], cwd: Path, options: Sequence[str] = ()
) -> Answer:
    """ld.so's own account. With ``options`` it is started itself, else the kernel starts it."""
    argv = [LOADER, *options, program] if options else [program]
    done = subprocess.run(
        argv,
        env={**env, "LD_DEBUG": "libs", "LD_TRACE_LOADED_OBJECTS": "1"},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    lines, error = [], ""
    for line in done.stderr.splitlines():
        number, colon, text = line.partition(":\t")
        if colon and number.strip().isdigit():
            lines.append(text)
        else:
            error += line + "\n"
    if "error while loading" in error or "ERROR" in error:
        lines += [""] * (lines[-1:] != [""])
    libraries = []
    for line in done.stdout.splitlines():
        # A name that is the path as well stands there once.
        name, arrow, path = line.strip().partition(" (0x")[0].partition(" => ")
        if name not in ("linux-vdso.so.1", LOADER):
            libraries.append((name, path if arrow else name))
    return Answer(lines, libraries, error)


def ask_us(program: str, cwd: Path, options: SearchOptions) -> Answer:
    """The same from ``Search``, with the breadth-first walk of elf/dl-deps.c and its matching of loaded names."""
    before = os.getcwd()
    os.chdir(cwd)
    try:
        return _walk(program, options)
    finally:
        os.chdir(before)


def _walk(program: str, options: SearchOptions) -> Answer:
    main = Module(ElfFile(program), program)
    search = Search(options, main.file, program)
    names = {"linux-vdso.so.1"}
    if search.interp is not None:
        names |= {search.interp.path, search.interp.file.soname or ""}
    modules = [main]
    lines: list[str] = []
    libraries: list[tuple[str, str]] = []
    errors: list[str] = []

    def load(name: str, requester: Module, preload: bool) -> None:
        name = search.expand_needed(name, requester)
        if name in names:
            return
        try:
            found = search.find(name, requester, preload=preload)
        except NotFound as error:
            if preload:
                errors.append(str(error))
            else:
                libraries.append((name, "not found"))
            return
        finally:
            if "/" not in name:
                lines.extend(debug_lines(name, search.steps))
        for module in modules:
            if module.file is found.file:
                module.aliases.add(name)
                names.add(name)
                return
        module = Module(found.file, found.path, len(modules))
        module.loader = requester
        module.found = found
        modules.append(module)
        libraries.append((name, found.path))
        names.update({name, found.path, found.file.soname or name})

    try:
        for name, _where in search.preloads():
            load(name, main, True)
        for module in modules:
            for name in module.file.needed:
                load(name, module, False)
    except FormatError as error:
        errors.append(str(error))
    return Answer(lines, libraries, "\n".join(errors))
