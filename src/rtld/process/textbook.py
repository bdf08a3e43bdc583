"""Running a program of the text object format: where the binder meets a machine.

The machine is a back end (``backends``): it gives the addresses, takes the bound images, and starts a CPU on them. The
emulated i386 is the one to be used here; ``emulated_i386`` is the only place that knows where it is.
"""

from __future__ import annotations

import importlib

from rtld.errors import Unsupported
from rtld.textbook.bind import bind
from rtld.textbook.complaints import LinkFailure
from rtld.textbook.object import ORDERS
from rtld.textbook.to_elf import entry_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    from rtld.core.image import Image

    class Machine(Protocol):
        """What is needed of a back end."""

        def reserve(self, size: int, align: int, at: int | None = None) -> int: ...
        def commit(self, image: Image) -> None: ...
        def start(self, entry: int, sp: int) -> int: ...


STACK = 1 << 16
PAGE = 0x1000
BACKEND = "rtld.backends.emulated"


def emulated_i386() -> Machine:
    """The emulated CPU. Unsupported where there is none."""
    try:
        module = importlib.import_module(BACKEND)
        machine: Machine = module.open_machine("i386")
    except (ImportError, AttributeError):
        raise Unsupported(
            "running a program here needs the emulated i386 CPU, which this rtld does not have",
            "`rtld textbook bind --elf OUT PROGRAM' makes a program that an x86 kernel or qemu-i386 runs",
        ) from None
    return machine


def run(
    path: str,
    directories: Sequence[str] = (),
    *,
    entry: str | None = None,
    machine: Machine | None = None,
) -> int:
    """Bind the program at *path* in the machine's addresses, put it there, start it; its exit status."""
    machine = machine or emulated_i386()
    ns = bind(path, directories, space=machine, order="<")
    if ns.problems:
        raise LinkFailure(ns.problems)
    if any(module.file.order == ORDERS["big"] for module in ns.modules):
        raise Unsupported(
            f"{path} is big-endian; the i386 is little-endian", "link with --endian little"
        )
    start = entry_of(ns, entry)
    for module in ns.modules:
        machine.commit(module.image)
    stack = machine.reserve(STACK, PAGE)
    return machine.start(start, stack + STACK - 16)
