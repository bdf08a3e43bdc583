"""Start a program the kernel's way: our loader does what ``execve`` does, the program's own interpreter links it.

    status = run_program("/bin/ls", ["ls", "-l"])

``prepare`` decides whether a file can be run so and decodes it; ``backends/child/exec.py`` does it.
"""

from __future__ import annotations

import errno
import os
import signal
import stat
from collections import namedtuple

from rtld.backends.child.exec import (
    can_set_exe,
    replace,
    start_over,
    start_parked,
    start_self,
    start_traced,
)
from rtld.backends.child.loading import ExecImage, Job, Placement
from rtld.backends.child.spawn import fd_path, high, memory_file
from rtld.elf.file import ElfFile
from rtld.elf.types import (
    EM_386,
    EM_X86_64,
    ET_DYN,
    ET_EXEC,
    PT_GNU_STACK,
    PT_INTERP,
    PT_LOAD,
)
from rtld.errors import FormatError, NoSpace, TargetFault, Unsupported
from rtld.process.live.foreground import Foreground
from rtld.process.program import (
    NOT_FOUND,
    NOT_RUNNABLE,
    CannotRun,
    initial_environment,
    script_interpreter,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rtld.backends.child.parked import Parked
    from rtld.backends.child.ptrace import Tracee
    from rtld.backends.child.spawn import Environment, Text

_PAGE = 4096
_MAX_SCRIPTS = 5  # of scripts as interpreters of scripts (exec_binprm in fs/exec.c)
_SHEBANG = 256  # BINPRM_BUF_SIZE

# Where Linux puts an ET_DYN program that has an interpreter (ELF_ET_DYN_BASE, two thirds of the address space, in
# pages), where the brk area of one that has none, and how much it varies both.
_DYN_BASE = {64: 0x555555554000, 32: 0x56555000}
_LONE_BRK = {64: 0x555555555000, 32: 0x56555000}
_DYN_BITS = {64: 28, 32: 8}
_BRK_RANGE = {64: 1 << 30, 32: 1 << 25}


# A program that can be started: its decoded file and interpreter, descriptors of both, the arguments after `#!`.
Prepared = namedtuple("Prepared", "file fd interp interp_fd argv path")


# How to start: aslr, seed: addresses; method: see run_program; death_signal: what the program gets when the thread
# that started it ends; sigmask: what it blocks; stopped: leave it traced at its first instruction.
_How = namedtuple("_How", "aslr seed method death_signal sigmask stopped")


def run_program(
    program: str | bytes | memoryview,
    argv: Sequence[Text] | None = None,
    env: Environment | None = None,
    *,
    aslr: bool = True,
    seed: int | None = None,
    method: str = "auto",
) -> int:
    """Run a program and wait for it; returns its wait status (see os.WIFEXITED, ``foreground.die_like``).

    *program* is a path, or an ELF file as bytes.  *argv* begins with argv[0]; *env* is ``initial_environment()`` if
    not given.  *aslr*: random addresses, as the system is set; *seed*: the same "random" addresses each time.
    *method*: "self" does without ptrace, "ptrace" insists on it.  CannotRun says why it cannot be started.

    The program dies with us: this thread waits here until it has ended, so it cannot be killed wrongly.
    """
    with Foreground() as foreground:
        how = _How(aslr, seed, method, int(signal.SIGKILL), foreground.sigmask, stopped=False)
        pid = _start(program, argv, env, how)
        assert isinstance(pid, int)
        return foreground.wait(pid)


def start_program(
    program: str | bytes | memoryview,
    argv: Sequence[Text] | None = None,
    env: Environment | None = None,
    *,
    aslr: bool = True,
    seed: int | None = None,
    method: str = "auto",
    sigmask: Iterable[int] | None = None,
) -> int:
    """The same without waiting: returns the pid of a running child, which may outlive us."""
    pid = _start(program, argv, env, _How(aslr, seed, method, 0, sigmask, stopped=False))
    assert isinstance(pid, int)
    return pid


def start_stopped(
    program: str | bytes | memoryview,
    argv: Sequence[Text] | None = None,
    env: Environment | None = None,
    *,
    aslr: bool = True,
    seed: int | None = None,
    sigmask: Iterable[int] | None = None,
) -> Tracee | Parked:
    """The same, stopped at its first instruction (of its interpreter): traced by this thread, or, where that is forbidden,
    waiting for us at the end of the list that has loaded it."""
    tracee = _start(program, argv, env, _How(aslr, seed, "ptrace", 0, sigmask, stopped=True))
    assert not isinstance(tracee, int)
    return tracee


def replace_program(
    program: str | bytes | memoryview,
    argv: Sequence[Text] | None = None,
    env: Environment | None = None,
    *,
    aslr: bool = True,
    seed: int | None = None,
) -> None:
    """Become the program, in this process: same pid, same parent, nothing left behind.  Does not return.

    /proc/self/exe is right only with CAP_CHECKPOINT_RESTORE (``can_set_exe()``).
    """
    prepared = prepare(program, argv)
    try:
        replace(_job(prepared, env, _How(aslr, seed, "self", 0, None, stopped=False)))
    except OSError as error:
        raise CannotRun(prepared.path, error.strerror or str(error)) from error
    except NoSpace as error:
        raise CannotRun(prepared.path, f"cannot be loaded: {error}") from error
    finally:
        _close(prepared)


def _start(
    program: str | bytes | memoryview,
    argv: Sequence[Text] | None,
    env: Environment | None,
    how: _How,
) -> int | Tracee | Parked:
    prepared = prepare(program, argv)
    try:
        job = _job(prepared, env, how)
        if isinstance(program, str):
            job = job._replace(over=(program, [*argv] if argv else [program]))
        else:
            # What is in memory only has a path, too, for who has it open; with room for the name it is to have.
            path = fd_path(prepared.fd, len(job.execfn))
            job = job._replace(over=(path, prepared.argv))
        # Without the capability only a real execve makes /proc/self/exe right.
        over = job.over is not None and not can_set_exe()
        if how.method == "self" or (how.method == "auto" and not over):
            return start_self(job)
        try:
            tracee = start_over(job) if over else start_traced(job)
        except Unsupported:  # tracing is forbidden
            if how.stopped:
                return start_parked(job._replace(death_signal=int(signal.SIGKILL)))
            if how.method != "auto":
                raise
            return start_self(job)
        if how.stopped:
            return tracee
        tracee.memory.close()
        tracee.detach()
        return tracee.pid
    except OSError as error:
        raise CannotRun(prepared.path, error.strerror or str(error)) from error
    except (NoSpace, TargetFault) as error:
        raise CannotRun(prepared.path, f"cannot be loaded: {error}") from error
    finally:
        _close(prepared)


def _close(prepared: Prepared) -> None:
    for fd in (prepared.fd, prepared.interp_fd):
        if fd >= 0:
            os.close(fd)


def _job(prepared: Prepared, env: Environment | None, how: _How) -> Job:
    program = exec_image(prepared.file, prepared.fd)
    interp = exec_image(prepared.interp, prepared.interp_fd) if prepared.interp else None
    name = os.fsencode(prepared.path)
    environment = initial_environment() if env is None else env
    return Job(
        program, interp, list(prepared.argv), environment,
        execfn=name, comm=os.path.basename(name), exe_fd=prepared.fd,
        placement=place(program, interp, how.aslr, how.seed),
        no_randomize=not how.aslr or how.seed is not None,
        sigmask=how.sigmask, death_signal=how.death_signal,
    )  # fmt: skip


def exec_image(file: ElfFile, fd: int) -> ExecImage:
    """What the loader needs of a decoded file."""
    phdr = 0
    for s in file.loads:
        if s.offset <= file.phoff < s.offset + s.filesz:
            phdr = file.phoff - s.offset + s.vaddr
            break
    stack = file.segment(PT_GNU_STACK)
    return ExecImage(
        file.name, fd, file.bits, tuple(file.loads), file.entry, phdr, file.phentsize, file.phnum,
        file.type == ET_DYN, None if stack is None else stack.flags,
    )  # fmt: skip


def place(program: ExecImage, interp: ExecImage | None, aslr: bool, seed: int | None) -> Placement:
    """Addresses as Linux chooses them, from its random numbers or from ours (*seed*)."""
    bits = program.bits
    if seed is not None:
        numbers = splitmix(seed)
    elif aslr and randomizes():
        numbers = splitmix(int.from_bytes(os.urandom(8), "little"))
    else:
        numbers = None
    # ET_DYN without an interpreter (static-pie, ld.so itself) stands in the mmap area, its brk area apart.
    alone = program.dynamic and interp is None
    base = _DYN_BASE[bits] if program.dynamic and interp is not None else None
    brk = _LONE_BRK[bits] if alone else None
    if numbers is None:
        return Placement(base, brk)
    if base is not None:
        base += next(numbers) % (1 << _DYN_BITS[bits]) * _PAGE
    offset = next(numbers) % (_BRK_RANGE[bits] // _PAGE) * _PAGE
    if brk is not None:
        brk += offset
    random = None if seed is None else b"".join(next(numbers).to_bytes(8, "little") for _ in "12")
    return Placement(base, brk, offset, random)


def splitmix(seed: int) -> Iterator[int]:
    """Steele, Lea, Flood: splitmix64.  A good sequence of 64-bit numbers from any seed."""
    mask = (1 << 64) - 1
    while True:
        seed = seed + 0x9E3779B97F4A7C15 & mask
        z = (seed ^ seed >> 30) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
        yield z ^ z >> 31


def randomizes() -> bool:
    """Does this system randomize addresses, and does this process let it?"""
    try:
        with open("/proc/sys/kernel/randomize_va_space") as file:
            if file.read().strip() == "0":
                return False
        with open("/proc/self/personality") as file:
            return not int(file.read(), 16) & 0x0040000
    except OSError:
        return True


# What can be run.


def prepare(program: str | bytes | memoryview, argv: Sequence[Text] | None = None) -> Prepared:
    """Open and decode a program and its interpreter, through `#!` lines; CannotRun if it cannot be run."""
    if not isinstance(program, str):
        return _prepare_image(program, argv)
    arguments: list[Text] = [*argv] if argv else [program]
    target = program
    for _ in range(_MAX_SCRIPTS + 1):
        fd = open_executable(target, program)
        line = os.pread(fd, _SHEBANG, 0)
        if line[:2] != b"#!":
            return _with_interpreter(program, target, fd, arguments)
        os.close(fd)
        words = script_interpreter(line)
        if words is None:
            raise CannotRun(program, "its #! line names no interpreter")
        arguments = [*words, target, *arguments[1:]]
        target = os.fsdecode(words[0])
    raise CannotRun(program, "too many levels of #! interpreters")


def _prepare_image(image: bytes | memoryview, argv: Sequence[Text] | None) -> Prepared:
    """The same for an ELF file that is in memory only."""
    if image[:2] == b"#!":
        reason = "a script, which its interpreter must read from a file or from standard input"
        raise CannotRun(os.fsdecode(argv[0]) if argv else "image", reason)
    arguments: list[Text] = [*argv] if argv else ["image"]
    name = os.fsdecode(arguments[0])
    low = memory_file(os.path.basename(name)[:200] or "image", image)
    fd = high(low)
    os.close(low)
    return _with_interpreter(name, name, fd, arguments)


def _with_interpreter(path: str, target: str, fd: int, arguments: list[Text]) -> Prepared:
    """Decode what *fd* is; find its PT_INTERP."""
    interp, interp_fd = None, -1
    try:
        file = _decode(path, target, fd)
        check_runnable(file, path)
        name = file.interp if file.segment(PT_INTERP) else None
        if name is not None:
            interp_fd = open_executable(name, path, f"its interpreter {name}")
            interp = _decode(path, name, interp_fd)
            check_runnable(interp, f"{path}: its interpreter {name}")
            check_same_cpu(file, interp, path)
    except BaseException:
        os.close(fd)
        if interp_fd >= 0:
            os.close(interp_fd)
        raise
    return Prepared(file, fd, interp, interp_fd, arguments, path)


def _decode(path: str, target: str, fd: int) -> ElfFile:
    try:
        return ElfFile(fd, name=target)
    except FormatError as error:
        if error.field == "magic":
            there = os.path.exists(path)
            advice = f"a shell would read it as a script: /bin/sh {path}" if there else ""
            raise CannotRun(path, "neither an ELF file nor a script with #!", advice) from None
        raise CannotRun(path, str(error).removeprefix(f"{path}: ")) from error


def open_executable(target: str, path: str, what: str = "") -> int:
    """A high descriptor of a file that may be executed, or CannotRun for *path*."""
    prefix = f"{what}: " if what else (f"its interpreter {target}: " if target != path else "")
    try:
        low = os.open(target, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        status = NOT_FOUND
        raise CannotRun(path, f"{prefix}No such file or directory", status=status) from error
    except PermissionError as error:
        advice = ""
        if os.access(target, os.X_OK, effective_ids=True):
            advice = "it may be executed but not read, so only the kernel can load it"
        raise CannotRun(path, f"{prefix}Permission denied", advice) from error
    except OSError as error:
        missing = error.errno == errno.ENOTDIR
        raise CannotRun(
            path, f"{prefix}{error.strerror}", status=NOT_FOUND if missing else NOT_RUNNABLE
        ) from error
    try:
        _check_mode(low, target, path, prefix)
        return high(low)
    finally:
        os.close(low)


def _check_mode(fd: int, target: str, path: str, prefix: str) -> None:
    """What the kernel asks of a file before it looks inside."""
    info = os.fstat(fd)
    if stat.S_ISDIR(info.st_mode):
        raise CannotRun(path, f"{prefix}Is a directory")
    if not stat.S_ISREG(info.st_mode):
        raise CannotRun(path, f"{prefix}not a regular file")
    mount = os.fstatvfs(fd).f_flag
    if mount & os.ST_NOEXEC:
        raise CannotRun(path, f"{prefix}on a file system mounted noexec", "copy it elsewhere")
    if not os.access(target, os.X_OK, effective_ids=True):
        advice = f"make it executable: chmod +x {target}"
        raise CannotRun(path, f"{prefix}Permission denied", advice)
    who, what = _gained(fd, info) if not mount & os.ST_NOSUID else ("", "")
    if who:
        advice = f"only the kernel can grant that: run it directly, or run rtld {who}"
        raise CannotRun(path, f"{prefix}it is {what}", advice)


def _gained(fd: int, info: os.stat_result) -> tuple[str, str]:
    """The rights that executing the file would give: (who has them already, their name); "" if none."""
    if info.st_mode & stat.S_ISUID and info.st_uid != os.geteuid():
        return f"as user {info.st_uid}", "set-user-ID"
    both = stat.S_ISGID | stat.S_IXGRP
    if info.st_mode & both == both and info.st_gid != os.getegid():
        return f"as group {info.st_gid}", "set-group-ID"
    if os.geteuid() != 0:
        try:
            os.getxattr(fd, "security.capability")
        except OSError:
            return "", ""
        return "as root", "a file with capabilities"
    return "", ""


def check_runnable(file: ElfFile, path: str) -> None:
    """Is it a program, and for this CPU?"""
    kind = (file.machine, file.bits, file.order)
    if kind not in ((EM_X86_64, 64, "<"), (EM_386, 32, "<")):
        name = f"{file.bits}-bit {machine_name(file.machine)}"
        raise CannotRun(
            path, f"a program for another CPU ({name})", "`rtld link` and `rtld tree` can read it"
        )
    if file.type not in (ET_EXEC, ET_DYN):
        kinds = {1: "an object file, which a link editor must link first", 4: "a core dump"}
        raise CannotRun(path, f"not a program but {kinds.get(file.type, 'of no known ELF type')}")
    if not any(s.type == PT_LOAD for s in file.segments):
        raise CannotRun(path, "an ELF file with nothing to load")


def check_same_cpu(file: ElfFile, interp: ElfFile, path: str) -> None:
    """Is the interpreter for the program's own instruction set?"""
    if (interp.machine, interp.bits) != (file.machine, file.bits):
        raise CannotRun(path, f"its interpreter {interp.name} is for another CPU")


def machine_name(number: int) -> str:
    """The name of an e_machine, from <elf.h>."""
    from rtld.elf import types

    for name, value in vars(types).items():
        if name.startswith("EM_") and value == number:
            return name[3:].lower().replace("_", "-")
    return f"e_machine {number}"
