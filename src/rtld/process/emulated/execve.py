"""The kernel's part of starting a program, step by step, for an emulated CPU.

The steps are those of Linux (fs/exec.c, fs/binfmt_elf.c) and of OpenHarmony's LiteOS-A (LOS_DoExecveFile,
kernel/extended/dynload): open and check the file, find its interpreter, drop the old address space, map the segments of
both, build the stack with arguments, environment and auxiliary vector, and go to the first instruction. Each is told
under ``exec``.
"""

from __future__ import annotations

import errno
import os
import stat
import struct

from rtld.arch import arch_for
from rtld.core.space import page_up
from rtld.elf.file import ElfFile
from rtld.elf.types import ET_DYN, ET_EXEC, PF_X, PT_GNU_STACK, PT_INTERP, machine_name
from rtld.errors import FormatError, NoSpace
from rtld.process.emulated.layouts import PAGE, choose
from rtld.process.program import CannotRun, script_interpreter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from rtld.arch.base import Arch
    from rtld.backends.emulated.linux.tree import Place
    from rtld.backends.emulated.machine import Machine
    from rtld.process.emulated.system import System

SCRIPTS = 5  # of scripts as interpreters of scripts
READ, WRITE, EXECUTE = 1, 2, 4

# fmt: off
AT_NULL, AT_PHDR, AT_PHENT, AT_PHNUM, AT_PAGESZ, AT_BASE, AT_FLAGS, AT_ENTRY = 0, 3, 4, 5, 6, 7, 8, 9
AT_UID, AT_EUID, AT_GID, AT_EGID, AT_PLATFORM, AT_HWCAP, AT_CLKTCK, AT_SECURE = 11, 12, 13, 14, 15, 16, 17, 23
AT_RANDOM, AT_HWCAP2, AT_EXECFN = 25, 26, 31
#: What the emulated CPU can do, as <asm/hwcap.h> has it; libc chooses its functions by it.
HWCAP = {
    "arm":     0xFB0D6,     # half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32
    "aarch64": 0x3,         # fp asimd
    "riscv64": 0x112D,      # IMAFDC
    "s390x":   0x237,       # esan3 zarch stfle ldisp eimm highgprs
}
# fmt: on


class Image:
    """A file on its way into memory. ``fd`` -1: its bytes are in ``file`` only. ``path``: the guest's name."""

    def __init__(self, file: ElfFile, fd: int, path: str) -> None:
        self.file = file
        self.fd = fd
        self.path = path
        self.base = 0

    @property
    def entry(self) -> int:
        """The address of its first instruction."""
        return int(self.base + self.file.entry)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Process:
    """A process that has only to be started. ``aux``: type -> (address of the value, value)."""

    def __init__(
        self, system: System, machine: Machine, arch: Arch, program: Image, interp: Image | None
    ) -> None:
        self.system = system
        self.machine = machine
        self.arch = arch
        self.program = program
        self.interp = interp
        self.argv: list[bytes] = []
        self.env: list[bytes] = []
        self.sp = 0
        self.aux: dict[int, tuple[int, int]] = {}
        self.stack: tuple[int, int] = (0, 0)
        self.guest: Any = None  # guest.Guest, where our linker links
        self.start = (
            0  # the first instruction, if it is neither the program's nor the interpreter's
        )

    @property
    def entry(self) -> int:
        """The first instruction: the interpreter's if there is one."""
        return self.start or (self.interp or self.program).entry


def do_execve(
    system: System,
    path: str,
    argv: Sequence[bytes],
    env: Sequence[bytes],
    *,
    fd: int | None = None,
    machine: Machine | None = None,
    plant: Any = None,
) -> Process:
    """A process for the program at the guest's *path* (or open as *fd*), ready for its first instruction.

    *machine*: one with the guest's descriptors, to take them from. *plant*: a function of the Process that may put
    another image in the program's place; it returns who is to be told when the stack has been built, or None. CannotRun, FormatError, NoSpace.
    """
    tell = system.reporter.exec
    words = list(argv)
    tree_kernel = machine.kernel if machine is not None else None
    # 1. the file, and what it says it is; a script names its own interpreter
    program, words = open_program(system, path, words, fd)
    tell("open", f"{program.path}: {describe(program.file)}")
    # 2. can it be run, and by which CPU
    arch = check_program(program)
    # 3. the interpreter it asks for
    interp = open_interpreter(system, program)
    tell("interpreter", interp.path if interp is not None else "none: it starts by itself")
    # 4. a new address space takes the old one's place
    fresh = system.open(arch)
    if tree_kernel is not None:
        fresh.kernel.inherit(tree_kernel)
    process = Process(system, fresh, arch, program, interp)
    process.argv, process.env = words, list(env)
    memory = fresh.memory
    top = (memory.reserved.highest_gap(PAGE, PAGE, memory.first, memory.size - PAGE) or 0) + PAGE
    layout = choose(system.layout, program.file, memory.size, top, system.chance)
    memory.area, memory.stacks = layout.area or memory.area, layout.threads
    fresh.kernel.executable = program.path
    fresh.process.argv = words
    tell("address space", f"{arch.bits} bits, layout {layout.name}")
    # 5. the stack first: what is mapped later goes below it
    reserve_stack(process, layout.stack_top, layout.stack_size)
    # 6. the segments of both
    place_image(process, program, layout.program if interp is not None else None)
    planted = plant(process) if plant is not None and interp is not None else None
    interp = process.interp
    if planted is None:
        load_image(process, program)
    else:
        when = "" if interp is None else f", when {interp.path} has initialised libc"
        tell("linked", f"{program.path}: here{when}")
    if interp is not None:
        place_image(process, interp, None)
        load_image(process, interp)
    if interp is None and planted is None:
        tell("linked", "statically: nothing is to be done")
    # 7. the heap behind the program
    end = page_up(program.base + max(s.vaddr + s.memsz for s in program.file.loads))
    set_heap(
        process,
        (layout.heap or end) + system.chance.pages(1 << (8 if memory.size <= 1 << 32 else 13)),
    )
    tell("heap", f"from {fresh.kernel.heap:#x}")
    # 8. arguments, environment, auxiliary vector
    build_stack(process)
    told = {AT_PHDR: "AT_PHDR", AT_PHNUM: "AT_PHNUM", AT_BASE: "AT_BASE", AT_ENTRY: "AT_ENTRY"}
    values = (f"{name} {process.aux[kind][1]:#x}" for kind, name in told.items())
    tell("auxiliary vector", ", ".join(values))
    if planted is not None:
        planted.lead()
    tell(
        "stack",
        f"{process.stack[0]:#x} to {process.stack[1]:#x}, pointer at {process.sp:#x}, {len(words)} arguments, {len(env)} variables",
    )
    # 9. and it could go
    tell("start", f"first instruction {process.entry:#x} in {(interp or process.program).path}")
    return process


def describe(file: ElfFile) -> str:
    """In a few words."""
    kind = "ET_EXEC, fixed addresses" if file.type == ET_EXEC else "ET_DYN, any addresses"
    order = "little" if file.order == "<" else "big"
    return f"{machine_name(file.machine)}, {file.bits} bits, {order}-endian, {kind}"


# -- files ------------------------------------------------------------------------------------------


def open_program(
    system: System, path: str, argv: list[bytes], fd: int | None
) -> tuple[Image, list[bytes]]:
    """The program, and its arguments: a script's interpreter takes its place."""
    name = path
    for _ in range(SCRIPTS + 1):
        if fd is None:
            fd = open_guest(system, name)
        head = os.pread(fd, 256, 0)
        if not head.startswith(b"#!"):
            try:
                return Image(ElfFile(fd, name), fd, name), argv
            except BaseException:
                os.close(fd)
                raise
        os.close(fd)
        fd = None
        words = script_interpreter(head)
        if words is None:
            break
        argv = [*words, os.fsencode(name), *argv[1:]]
        name = os.fsdecode(words[0])
    raise CannotRun(path, "a script whose interpreter cannot be found")


def open_guest(system: System, path: str) -> int:
    """A descriptor of a file of the guest's. CannotRun."""
    try:
        with system.tree.find(path) as place:
            return _open_regular(place)
    except OSError as error:
        status = 127 if error.errno in (errno.ENOENT, errno.ENOTDIR) else 126
        where = f" in {system.sysroot}" if system.sysroot else ""
        raise CannotRun(path, f"{error.strerror}{where}", status=status) from None


def _open_regular(place: Place) -> int:
    """What is no regular file may wait for ever when it is opened. OSError."""
    mode = os.stat(place.name, dir_fd=place.fd, follow_symlinks=False).st_mode
    if not stat.S_ISREG(mode):
        number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EACCES
        raise OSError(number, os.strerror(number))
    wanted = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    return os.open(place.name, wanted, dir_fd=place.fd)


def check_program(program: Image) -> Arch:
    """The CPU it is for. CannotRun."""
    file = program.file
    if file.type not in (ET_EXEC, ET_DYN):
        raise CannotRun(program.path, "an ELF file, but no program")
    if not file.loads:
        raise CannotRun(program.path, "an ELF file with nothing to load")
    arch = arch_for(file.machine, file.bits, file.order, file.flags)
    if arch is None:
        raise CannotRun(
            program.path,
            f"a program for a CPU that is not known here ({machine_name(file.machine)})",
        )
    found: Arch = arch
    return found


def open_interpreter(system: System, program: Image) -> Image | None:
    """What PT_INTERP names, in the guest's tree. CannotRun says what is missing."""
    name = program.file.interp
    if name is None or program.file.segment(PT_INTERP) is None:
        return None
    try:
        fd = open_guest(system, name)
    except CannotRun as error:
        advice = (
            "give the directory with the libraries of that CPU: --sysroot DIR"
            if system.sysroot is None
            else f"is {system.sysroot} a sysroot for this CPU?"
        )
        raise CannotRun(
            program.path, f"its interpreter {name}: {error.reason}", advice, error.status
        ) from None
    image = Image(ElfFile(fd, name), fd, name)
    if (image.file.machine, image.file.bits) != (program.file.machine, program.file.bits):
        image.close()
        raise CannotRun(program.path, f"its interpreter {name} is for another CPU")
    return image


# -- memory -----------------------------------------------------------------------------------------


def rights_of(flags: int) -> int:
    """p_flags as the memory has them."""
    rights = (flags >> 2 & 1) | (flags & 2) | (flags & 1) << 2
    return rights | READ if rights else 0


def place_image(process: Process, image: Image, base: int | None) -> None:
    """Addresses: where the file says (ET_EXEC), at *base*, or where there is room."""
    memory, file = process.machine.memory, image.file
    low, high = file.span
    low, high = low & -PAGE, page_up(high)
    align = max(file.max_align, PAGE)
    if file.type == ET_EXEC:
        if high > memory.size and process.machine.cpu.space:
            raise CannotRun(
                image.path,
                f"linked for {low:#x}, and this emulated CPU has addresses up to {memory.size:#x} only",
                "--backend qemu runs it",
            )
        memory.reserve(high - low, PAGE, low)
        image.base = 0
    else:
        start = None
        if base is not None:
            start = (base + low + align - 1) & -align
            if memory.reserved.pieces(start, start + high - low):
                start = None
        found = memory.reserve(high - low, align, start, high=start is None)
        image.base = found - low
    process.system.reporter.exec("base", f"{image.path}: {image.base:#x}")


def load_image(process: Process, image: Image) -> None:
    """PT_LOAD: each segment at its address."""
    for load in image.file.loads:
        map_load(process.machine, image, load)
        tell = f"{image.path}: {image.base + load.vaddr:#x} {load.memsz:#x} bytes, of the file {load.filesz:#x} from {load.offset:#x}"
        process.system.reporter.exec("map", tell)


def map_load(machine: Machine, image: Image, load: Any) -> None:
    """One PT_LOAD: the file's pages, zeros behind them."""
    memory = machine.memory
    start = image.base + load.vaddr
    first, rights = start & -PAGE, rights_of(load.flags)
    end, top = start + load.filesz, page_up(start + load.memsz)
    if load.filesz:
        if image.fd >= 0:
            memory.map_file(first, page_up(end) - first, rights, image.fd, load.offset & -PAGE)
            memory.label(first, page_up(end) - first, image.path, load.offset & -PAGE)
        else:
            memory.map(first, page_up(end) - first, rights)
            memory.write(start, image.file.data[load.offset : load.offset + load.filesz])
        if load.memsz > load.filesz and end % PAGE and load.flags & 2:
            memory.write(end, bytes(-end % PAGE))
    behind = page_up(end) if load.filesz else first
    if top > behind:
        memory.map(behind, top - behind, rights)


def reserve_stack(process: Process, top: int, size: int) -> None:
    """The main stack, with a page below it that nobody may touch."""
    memory = process.machine.memory
    memory.reserve(size + PAGE, PAGE, top - size - PAGE)
    stack = process.program.file.segment(PT_GNU_STACK)
    if stack is None:
        executable = process.arch.name in ("i386", "arm")
    else:
        executable = bool(stack.flags & PF_X)
    memory.map(top - size, size, READ | WRITE | (EXECUTE if executable else 0))
    memory.label(top - size, size, "[stack]")
    process.stack = (top - size, top)


def set_heap(process: Process, start: int) -> None:
    """brk begins there, or where there is room."""
    try:
        process.machine.kernel.set_heap(start)
    except NoSpace:
        process.machine.kernel.set_heap(0)


def build_stack(process: Process) -> None:
    """argc, argv, environment, auxiliary vector; strings above them (create_elf_tables)."""
    machine, arch = process.machine, process.arch
    word = arch.word
    at = process.stack[1] - word
    memory = machine.memory

    def push(data: bytes) -> int:
        nonlocal at
        at -= len(data)
        if at < process.stack[0] + (1 << 17):
            raise CannotRun(process.program.path, "arguments and environment are too long")
        memory.write(at, data)
        return at

    execfn = push(os.fsencode(process.program.path) + b"\0")
    env = [push(text + b"\0") for text in reversed(process.env)][::-1]
    argv = [push(text + b"\0") for text in reversed(process.argv)][::-1]
    platform = push((arch.platform or "").encode() + b"\0") if arch.platform else 0
    at &= -16
    random = push(process.system.chance.bytes(16))
    vector = auxiliary_vector(process, execfn, platform, random)
    words = [len(argv), *argv, 0, *env, 0]
    start = len(words)
    for kind, value in vector:
        words += [kind, value]
    at = (at - len(words) * word) & -16
    order: Any = "<" if machine.cpu.order == "<" else ">"
    memory.write(at, struct.pack(f"{order}{len(words)}{'Q' if word == 8 else 'I'}", *words))
    process.sp = at
    process.aux = {
        kind: (at + (start + 2 * i + 1) * word, value) for i, (kind, value) in enumerate(vector)
    }


def auxiliary_vector(
    process: Process, execfn: int, platform: int, random: int
) -> list[tuple[int, int]]:
    """(type, value) of each entry."""
    program, file = process.program, process.program.file
    phdr = 0
    for load in file.loads:
        if load.offset <= file.phoff < load.offset + load.filesz:
            phdr = program.base + file.phoff - load.offset + load.vaddr
            break
    vector = [
        (AT_HWCAP, HWCAP.get(process.arch.name, 0)), (AT_PAGESZ, PAGE), (AT_CLKTCK, 100), (AT_PHDR, phdr),
        (AT_PHENT, file.phentsize), (AT_PHNUM, file.phnum), (AT_BASE, process.interp.base if process.interp else 0),
        (AT_FLAGS, 0), (AT_ENTRY, program.entry), (AT_UID, os.getuid()), (AT_EUID, os.geteuid()),
        (AT_GID, os.getgid()), (AT_EGID, os.getegid()), (AT_SECURE, 0), (AT_RANDOM, random), (AT_HWCAP2, 0),
        (AT_EXECFN, execfn),
    ]  # fmt: skip
    if platform:
        vector.append((AT_PLATFORM, platform))
    return [*vector, (AT_NULL, 0)]


__all__ = ["FormatError", "Process", "do_execve"]
