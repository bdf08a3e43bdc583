"""What ``rtld run`` says, made into an emulated machine: which program, which files it sees, which limits it has."""

from __future__ import annotations

import os

from rtld.arch import arch_for
from rtld.backends.emulated.cpus import CPUS
from rtld.backends.emulated.linux.tree import Bind, Tree
from rtld.elf.file import ElfFile
from rtld.errors import FormatError, Unsupported
from rtld.events import SPOKEN
from rtld.process.emulated.qemu import is_for_qemu, run_by_qemu
from rtld.process.emulated.run import run
from rtld.process.emulated.system import MEMORY, Link, StartFailed, System
from rtld.process.program import CannotRun

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rtld.arch.base import Arch
    from rtld.events import Reporter
    from rtld.process.emulated.observe import Observer
    from rtld.process.gdb.debugger import Debugger

#: Directories of cross compilers that are named otherwise than the multiarch ones.
_TOOLCHAINS = {
    "i386": ("i686-linux-gnu",),
    "ppc64le": ("powerpc64le-linux-gnu",),
    "mips64el": ("mips64el-linux-gnuabi64",),
}
PATH = "/usr/local/bin:/usr/bin:/bin"


def run_emulated(
    program: str,
    argv: Sequence[str],
    env: Mapping[str, str],
    *,
    sysroot: str | None = None,
    binds: Sequence[str] = (),
    link: Link | None = None,
    seconds: float | None = None,
    memory: int = MEMORY,
    layout: str = "linux",
    seed: int | None = None,
    fixed: bool = False,
    net: bool = False,
    reporter: Reporter = SPOKEN,
    finished: Callable[[System], object] | None = None,
    debugger: Debugger | None = None,
    observers: Sequence[Observer] = (),
    qemu: bool | None = None,
) -> int:
    """Run *program*, a path of the sysroot or of this computer; its wait status.

    *binds*: "HOST:GUEST" or "HOST:GUEST:ro", more files for the guest to see. *link*: how our linker is to link; None: the
    guest's own does. *observers* look on (``observe``). *net*: allow sockets, as far as this computer. *finished* is told
    when the first process has ended. *qemu*: let qemu-user run it, whatever its CPU is; None: where there is no engine for
    that, or none to rely on. CannotRun, StartFailed.
    """
    given = [parse_bind(text) for text in binds]
    inside = find_inside(program, sysroot, given, env.get("PATH", PATH))
    # What the sysroot has is meant before what this computer has under the same name.
    host = program if inside is None else host_path(Tree(sysroot, given), inside)
    arch = arch_of(host)
    if arch is not None and (
        qemu or arch.name not in CPUS or (qemu is None and is_for_qemu(arch, host))
    ):
        _refuse_under_qemu(program, arch, link, looked_into=bool(observers))
        root = sysroot or default_sysroot(host)[0]
        return run_by_qemu(arch, host, argv, env, root, reporter, link)
    if debugger is not None and arch is not None and arch.name in ("mips64el", "mipsel"):
        raise Unsupported(
            f"{program}: gdb cannot debug MIPS programs here: steps in delay slots go astray",
            f"qemu-{arch.name} -g PORT does it",
        )
    if inside is None:
        path = os.path.abspath(program)
        if not os.path.exists(path):
            raise CannotRun(program, "No such file or directory", status=127)
        if os.path.isdir(path):
            raise CannotRun(program, "Is a directory")
        if sysroot is None:
            sysroot, more = default_sysroot(path)
            given += more
        if Tree(sysroot, given).guest_path(path) is None:
            # Beside a program in the root directory is everything: it comes alone.
            shown = path if os.path.dirname(path) == "/" else os.path.dirname(path)
            given.append(Bind(shown, shown, writable=False))
        inside = Tree(sysroot, given).guest_path(path) or path
    system = System(
        sysroot=sysroot, binds=given, seconds=seconds, memory=memory, layout=layout, seed=seed, fixed=fixed, net=net,
        reporter=reporter,
    )  # fmt: skip
    system.observers = list(observers)
    cwd = system.tree.guest_path(os.getcwd()) or "/"
    try:
        return run(system, inside, argv, env, cwd=cwd, link=link, debugger=debugger)
    except StartFailed as failure:
        reporter.message(str(failure))
        return failure.status << 8
    finally:
        if finished is not None:
            finished(system)


def _refuse_under_qemu(program: str, arch: Arch, link: Link | None, *, looked_into: bool) -> None:
    """What qemu-user does not do. CannotRun, Unsupported."""
    reason = (
        f"there is no emulated CPU {arch.name}" if arch.name not in CPUS else "qemu-user runs this"
    )
    if link is not None and (link.pure or link.lazy_load):
        option = "--pure" if link.pure else "--lazy-load"
        raise CannotRun(
            program, f"{option}: {reason}", "without it qemu-user runs the program, if it is there"
        )
    if looked_into or (link is not None and link.hooks is not None):
        raise Unsupported(
            f"{program}: nobody can look into it: {reason}",
            "qemu-user runs it, and rtld only starts that",
        )


def arch_of(path: str) -> Arch | None:
    """The CPU of a program; None where that cannot be said."""
    try:
        file = ElfFile(path)
    except (OSError, FormatError):
        return None
    found: Arch | None = arch_for(file.machine, file.bits, file.order, file.flags)
    file.close()
    return found


def host_path(tree: Tree, inside: str) -> str:
    """Which file of this computer a name of the guest's is."""
    with tree.find(inside) as place:
        directory = os.readlink(f"/proc/self/fd/{place.fd}")
        return f"{directory.rstrip('/')}/{place.name}"


def parse_bind(text: str) -> Bind:
    """HOST:GUEST[:ro]. ValueError."""
    parts = text.split(":")
    if (
        len(parts) not in (2, 3)
        or not parts[1].startswith("/")
        or parts[2:] not in ([], ["ro"], ["rw"])
    ):
        raise ValueError(text)
    if not os.path.exists(parts[0]):
        raise FileNotFoundError(parts[0])
    return Bind(parts[0], parts[1], writable=parts[2:] != ["ro"])


def find_inside(program: str, sysroot: str | None, binds: Sequence[Bind], path: str) -> str | None:
    """The guest's path of a program that the sysroot has: absolute, or found in PATH."""
    if sysroot is None:
        return None
    tree = Tree(sysroot, binds)
    names = (
        [program]
        if "/" in program
        else [f"{directory or '.'}/{program}" for directory in path.split(":")]
    )
    for name in names:
        if not name.startswith("/"):
            continue
        try:
            with tree.find(name) as place:
                if place.exists and place.name != ".":
                    return name
        except OSError:
            continue
    return None


def default_sysroot(path: str) -> tuple[str | None, list[Bind]]:
    """The libraries that a cross compiler for the program's CPU has brought, if there is one."""
    try:
        file = ElfFile(path)
        arch = arch_for(file.machine, file.bits, file.order, file.flags)
    except (OSError, FormatError):
        return None, []
    interp = file.interp
    if arch is None or interp is None:
        return None, []
    for triplet in (*arch.triplets, *_TOOLCHAINS.get(arch.name, ())):
        root = f"/usr/{triplet}"
        if interp.startswith(root + "/") and os.path.exists(interp):
            return root, [Bind(root, root, writable=False)]
        if os.path.exists(root + interp):
            return root, []
    return None, []
