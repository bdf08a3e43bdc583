"""The kernel's part of starting a program, step by step, for an emulated CPU.

    import rtld.kernel

    system = rtld.kernel.System(sysroot="arm64root", seed=1)
    process = rtld.kernel.do_execve(system, "/bin/true", [b"true"], [])
    process.entry, process.sp, process.aux        # ready for its first instruction; process.machine is the CPU

``do_execve`` is the list of the steps; each is here by its own name. What they do and where it comes from is told in
``rtld.process.emulated.execve``.
"""

from __future__ import annotations

from rtld.process.emulated.execve import (
    Image,
    Process,
    auxiliary_vector,
    build_stack,
    check_program,
    do_execve,
    load_image,
    map_load,
    open_interpreter,
    open_program,
    place_image,
    reserve_stack,
    set_heap,
)
from rtld.process.emulated.layouts import Layout, choose
from rtld.process.emulated.system import System

__all__ = [
    "Image", "Layout", "Process", "System", "auxiliary_vector", "build_stack", "check_program", "choose", "do_execve",
    "load_image", "map_load", "open_interpreter", "open_program", "place_image", "reserve_stack", "set_heap",
]  # fmt: skip
