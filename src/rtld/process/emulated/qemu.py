"""Programs of CPUs that cannot be emulated here: run by qemu-user, if it is installed.

Our linker links them all the same, as one executable (``process/bundle``) that lives in a directory of its own for as long
as it runs; the program's own ld.so does it on request. Nobody confines them: qemu-user shows a program all files of this
computer.
"""

from __future__ import annotations

import os

from rtld.backends.emulated.cpus import CPUS, cpu_named
from rtld.elf.file import ElfFile
from rtld.elf.types import ET_EXEC
from rtld.errors import Unsupported
from rtld.process.live.foreground import Foreground

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rtld.arch.base import Arch
    from rtld.events import Reporter
    from rtld.process.emulated.system import Link


def is_for_qemu(arch: Arch, program: str) -> bool:
    """Is there no engine here for it, none that can be relied on, or one that does not reach its addresses?"""
    if arch.name not in CPUS:
        return True
    cpu = CPUS[arch.name]
    return bool(cpu.space) and (_stands_beyond(program, cpu.space) or not _is_reliable(cpu.name))


def _stands_beyond(program: str, space: int) -> bool:
    """Is it linked for fixed addresses that are not below *space*?"""
    file = ElfFile(program)
    found = file.type == ET_EXEC and file.span[1] > space
    file.close()
    return found


def _is_reliable(cpu: str) -> bool:
    from rtld.backends.emulated.libunicorn import library
    from rtld.backends.emulated.repairs import repair

    try:
        return repair(library(), cpu).make(cpu)
    except Unsupported:
        return False  # Unicorn is not installed


def find_qemu(arch: Arch) -> str:
    """The program's path. Unsupported says what to install."""
    import shutil

    name = f"qemu-{arch.name}"
    qemu = shutil.which(name)
    if qemu is None:
        if arch.name not in CPUS:
            cpu_named(arch.name)  # Unsupported, with the reason
        raise Unsupported(f"{name} is not installed", "Debian's package qemu-user has it")
    return qemu


def run_by_qemu(
    arch: Arch,
    program: str,
    argv: Sequence[str],
    env: Mapping[str, str],
    sysroot: str | None,
    reporter: Reporter,
    link: Link | None,
) -> int:
    """Run a program of this computer's files; its wait status. *link*: how our linker is to link; None: the program's own
    does. Unsupported says what to install.
    """
    qemu = find_qemu(arch)
    name = os.path.basename(qemu)
    if link is None or not _is_linked(program):
        who = "its own dynamic linker links it" if link is None else "there is nothing to link"
        reporter.message(f"{program}: run by {name}: {who}, and nothing confines it")
        return _spawn(qemu, program, argv, env, sysroot)
    import shutil
    import tempfile

    from rtld.elf.search import SearchOptions
    from rtld.process.bundle import make

    reporter.message(f"{program}: linked here, run by {name}, and nothing confines it")
    directory = tempfile.mkdtemp(prefix="rtld-")
    try:
        search = SearchOptions(
            env=env, sysroot=sysroot or "/", cwd=os.getcwd(), cpu="baseline",
            library_path=link.library_path, preload=link.preload,
        )  # fmt: skip
        bundle = make(ElfFile(program), os.path.abspath(program), search, reporter, directory)
        reporter.transfer(bundle.main)
        # What was to be loaded first is in the image.
        rest = {key: value for key, value in env.items() if key != "LD_PRELOAD"}
        if link.library_path is not None:
            rest["LD_LIBRARY_PATH"] = link.library_path
        path = bundle.write()
        del bundle
        return _spawn(qemu, path, argv, rest, sysroot)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _is_linked(program: str) -> bool:
    file = ElfFile(program)
    found = file.dynamic is not None and file.interp is not None and bool(file.needed)
    file.close()
    return found


def _spawn(
    qemu: str, program: str, argv: Sequence[str], env: Mapping[str, str], sysroot: str | None
) -> int:
    command = [
        os.path.basename(qemu), *(["-L", sysroot] if sysroot else []), "-0", argv[0], program, *argv[1:],
    ]  # fmt: skip
    own = {key: value for key, value in env.items() if key.startswith("LD_")}
    for key, value in own.items():
        command[1:1] = ["-E", f"{key}={value}"]
    rest = {key: value for key, value in env.items() if key not in own}
    with Foreground() as foreground:
        return foreground.wait(os.posix_spawn(qemu, command, rest))
