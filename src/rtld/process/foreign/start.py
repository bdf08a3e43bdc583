"""The start of a guest without a program: which C library a sysroot has, segments into memory, the first stack."""

from __future__ import annotations

import os
import struct

from rtld.arch import ARCHES, arch_for, by_name
from rtld.backends.emulated.cpus import CPUS
from rtld.backends.emulated.memory import EXECUTE, PAGE, READ, WRITE
from rtld.core.space import page_up
from rtld.elf import types as t
from rtld.elf.file import ElfFile
from rtld.elf.load import protection
from rtld.errors import FormatError, NotFound, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtld.arch.base import Arch
    from rtld.elf.sysroot import Sysroot
    from rtld.process.foreign.world import World


def initial_stack(
    order: str,
    bits: int,
    top: int,
    argv: Sequence[bytes],
    env: Sequence[bytes],
    auxv: Sequence[tuple[int, int | bytes]],
) -> tuple[int, bytes]:
    """(stack pointer, bytes from there to *top*): argc, argv, envp, auxv, then what they lead to."""
    word, letter = (8, "Q") if bits == 64 else (4, "I")
    blob = b""

    def place(data: bytes) -> int:
        nonlocal blob
        blob = data + blob
        return top - len(blob)

    arguments = [place(each + b"\0") for each in argv]
    variables = [place(each + b"\0") for each in env]
    vector = [(k, place(v + b"\0") if isinstance(v, bytes) else v) for k, v in auxv]
    numbers = [n for pair in vector for n in pair]
    words = [len(argv), *arguments, 0, *variables, 0, *numbers, 0, 0]
    table = struct.pack(f"{order}{len(words)}{letter}", *words)
    sp = (top - len(blob) - len(table)) & -16
    return sp, table + bytes(top - len(blob) - sp - word * len(words)) + blob


def find_interpreter(
    root: Sysroot, cpu: str | None, wanted: str | None = None
) -> tuple[Arch, str, str]:
    """(CPU, path of the dynamic linker, model) of a sysroot. *wanted*: "glibc" or "musl". NotFound, Unsupported."""
    found = []
    for name in ARCHES:
        if cpu is not None and name != cpu:
            continue
        arch = by_name(name)
        paths = [(path, "glibc") for path in arch.interpreters[:1]]
        paths += [(f"/lib/ld-musl-{each}.so.1", "musl") for each in arch.musl[:1]]
        for path, model in paths:
            if wanted not in (None, model):
                continue
            place = _there(root, path, arch) or _there(root, f"/lib/{os.path.basename(path)}", arch)
            if place is not None:
                found.append((arch, place, model))
                break
    if not found:
        what = f" for {cpu}" if cpu else ""
        raise NotFound(
            root.root,
            None,
            (),
            f"no C library{what} in this sysroot (rtld sysroot create ARCH DIR)",
        )
    able = [each for each in found if each[0].name in CPUS]
    if len(able) > 1:
        names = ", ".join(arch.name for arch, _, _ in able)
        raise Unsupported(
            f"{root.root} has C libraries of several CPUs: {names}", "say which: cpu= (--cpu)"
        )
    if not able:
        from rtld.backends.emulated.cpus import cpu_named

        cpu_named(found[0][0].name)
    return able[0]


def _there(root: Sysroot, path: str, arch: Arch) -> str | None:
    """*path*, if it is that CPU's: /lib/ld.so.1 may be of MIPS o32 or n64."""
    try:
        file = ElfFile(root.host(path))
    except (OSError, FormatError):
        return None
    found = arch_for(file.machine, file.bits, file.order, file.flags)
    file.close()
    return path if found is not None and found.name == arch.name else None


def map_segments(world: World, file: ElfFile, base: int) -> None:
    """Memory for all segments, with the file's bytes; everything may be written until ``protect_segments``."""
    memory = world.machine.memory
    low, high = file.span
    if high - low > memory.limit:
        raise FormatError(
            file.name, "program headers", "p_memsz", high - low, f"at most {memory.limit:#x}"
        )
    behind = 0
    for load in file.loads:
        start = max((base + load.vaddr) & -PAGE, behind)
        end = page_up(base + load.vaddr + load.memsz)
        if end > start:
            memory.map(start, end - start, READ | WRITE | (EXECUTE if load.flags & t.PF_X else 0))
            behind = end
        if load.filesz:
            memory.view(base + load.vaddr, load.filesz)[:] = file.contents(load)


def protect_segments(world: World, file: ElfFile, base: int) -> None:
    """The rights that the program headers give; PT_GNU_RELRO."""
    memory = world.machine.memory
    for load in file.loads:
        start = (base + load.vaddr) & -PAGE
        end = page_up(base + load.vaddr + load.memsz)
        if end > start:
            memory.protect(start, end - start, protection(load.flags) | READ)
