"""Running a program of the text object format: where the binder meets a machine.

The machine is a back end (``backends``): it gives the addresses, takes the bound images, and starts a CPU on them. The
emulated i386 is the one to be used here; ``emulated_i386`` is the only place that knows where it is.
"""

from __future__ import annotations

import importlib

from rtld.errors import TargetFault, Unsupported
from rtld.textbook.bind import bind
from rtld.textbook.complaints import LinkFailure
from rtld.textbook.object import ORDERS
from rtld.textbook.to_elf import entry_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Protocol

    from rtld.core.image import Image
    from rtld.core.module import Module, Namespace

    class Machine(Protocol):
        """What is needed of a back end."""

        def reserve(self, size: int, align: int, at: int | None = None) -> int: ...
        def commit(self, image: Image) -> None: ...
        def protect(self, start: int, size: int, rights: int) -> None: ...
        def start(self, entry: int, sp: int) -> int: ...
        def unknown_calls(self) -> Mapping[str, int]: ...


STACK = 1 << 16  # its lowest page is a guard
PAGE = 0x1000
READ, WRITE, EXECUTE = 1, 2, 4
BACKEND = "rtld.backends.emulated"


def emulated_i386(seconds: float | None = None) -> Machine:
    """The emulated CPU. Unsupported where there is none."""
    try:
        module = importlib.import_module(BACKEND)
    except ImportError:
        raise Unsupported(
            "running a program here needs the emulated i386 CPU, which this rtld does not have",
            "`rtld textbook bind --elf OUT PROGRAM' makes a program that an x86 kernel or qemu-i386 runs",
        ) from None
    machine: Machine = module.open_machine("i386", seconds=seconds)
    return machine


def run(
    path: str,
    directories: Sequence[str] = (),
    *,
    entry: str | None = None,
    machine: Machine | None = None,
    seconds: float | None = None,
    tell: Callable[[str], object] | None = None,
) -> int:
    """Bind the program at *path* in the machine's addresses, put it there, start it; its exit status.

    It may run for so many *seconds*. *tell* gets a line where it asked for what the machine does not have. TargetFault
    says where in the program it happened.
    """
    machine = machine or emulated_i386(seconds)
    ns = bind(path, directories, space=machine, order="<")
    if ns.problems:
        raise LinkFailure(ns.problems)
    if any(module.file.order == ORDERS["big"] for module in ns.modules):
        raise Unsupported(
            f"{path} is big-endian; the i386 is little-endian", "link with --endian little"
        )
    start = entry_of(ns, entry)
    for module in ns.modules:
        put(machine, module)
    stack = machine.reserve(STACK, PAGE)
    machine.protect(stack + PAGE, STACK - PAGE, READ | WRITE)
    try:
        # What a kernel puts on the stack is there, and empty: no arguments, no environment, no auxiliary vector.
        return machine.start(start, stack + STACK - 64)
    except TargetFault as fault:
        if fault.pc is not None and not fault.place:
            fault.place = place_of(ns, fault.pc)
        raise
    finally:
        unknown = machine.unknown_calls()
        if unknown and tell is not None:
            names = ", ".join(f"{name} ({count})" for name, count in unknown.items())
            tell(f"{path}: system calls answered with ENOSYS: {names}")


def put(machine: Machine, module: Module) -> None:
    """A module's image where it was bound for, with the rights of its segments; nothing is allowed between them."""
    machine.commit(module.image)
    low, _ = module.file.span
    runs: list[tuple[int, int, int]] = []
    for segment in sorted(module.file.segments, key=lambda segment: segment.start):
        if not segment.length:
            continue
        start = (module.base + segment.start) & -PAGE
        end = -(-(module.base + segment.end) // PAGE) * PAGE
        # The format does not say what is code; it never has to be written.
        rights = READ | (WRITE if segment.writable else EXECUTE)
        if runs and start < runs[-1][1]:
            start, before, shared = runs.pop()
            end, rights = max(end, before), rights | shared
        runs.append((start, end, rights))
    at = (module.base + low) & -PAGE
    for start, end, rights in runs:
        if at < start:
            machine.protect(at, start - at, 0)
        machine.protect(start, end - start, rights)
        at = end


def place_of(ns: Namespace, address: int) -> str:
    """Whose code that is: the module, and the symbol before it; "" if nobody's."""
    for module in ns.modules:
        low, high = module.file.span
        if not module.base + low <= address < module.base + high:
            continue
        before = [
            (symbol.value + module.base, symbol.name)
            for symbol in module.file.exports
            if symbol.segment and symbol.value + module.base <= address
        ]
        if not before:
            return f"in {module.path}"
        value, name = max(before)
        return f"in {module.path}: {name}+{address - value:#x}"
    return ""
