"""Libraries that want to execute code on the stack: trampolines of GNU C's nested functions.

PT_GNU_STACK says so, or is missing (sysdeps/x86_64/stackinfo.h). The stacks of running threads are known to libc alone, so
ld.so is given something to open that wants the same (elf/dl-load.c, _dl_map_object_from_fd). They stay executable.
"""

from __future__ import annotations

from rtld.backends import inprocess as machine
from rtld.elf import donor
from rtld.elf import types as t
from rtld.elf.dlopen import DlError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.core.module import Module

_done = False


def prepare_stacks(module: Module) -> None:
    """Make stacks executable if the module asks for it. DlError where that is not allowed."""
    global _done  # noqa: PLW0603 - a process has one set of stacks
    segment = module.file.segment(t.PT_GNU_STACK)
    if _done or (segment is not None and not segment.flags & t.PF_X):
        return
    try:
        machine.host_close(machine.open_donor(donor.stack_donor(), donor.unique_path).handle)
    except OSError as error:
        raise DlError(f"{module.path}: {str(error).partition(': ')[2] or error}") from None
    _done = True
