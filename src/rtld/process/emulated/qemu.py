"""Programs of CPUs that cannot be emulated here: handed to qemu-user, if it is installed.

Their own ld.so links them there, and nobody confines them: qemu-user shows a program all files of this computer.
"""

from __future__ import annotations

import os

from rtld.backends.emulated.cpus import CPUS, cpu_named
from rtld.process.live.foreground import Foreground

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rtld.arch.base import Arch
    from rtld.events import Reporter


def is_for_qemu(arch: Arch | None) -> bool:
    """A CPU that the linker knows, and no engine here has."""
    return arch is not None and arch.name not in CPUS


def run_by_qemu(
    arch: Arch,
    program: str,
    argv: Sequence[str],
    env: Mapping[str, str],
    sysroot: str | None,
    reporter: Reporter,
) -> int:
    """Run a program of this computer's files; its wait status. Unsupported says what to install."""
    import shutil

    name = f"qemu-{arch.name}"
    qemu = shutil.which(name)
    if qemu is None:
        cpu_named(arch.name)  # Unsupported, with the reason
    assert qemu is not None
    reporter.message(
        f"{program}: run by {name}, where its own dynamic linker links it and nothing confines it"
    )
    command = [name, *(["-L", sysroot] if sysroot else []), "-0", argv[0], program, *argv[1:]]
    own = {key: value for key, value in env.items() if key.startswith("LD_")}
    for key, value in own.items():
        command[1:1] = ["-E", f"{key}={value}"]
    rest = {key: value for key, value in env.items() if key not in own}
    with Foreground() as foreground:
        return foreground.wait(os.posix_spawn(qemu, command, rest))
