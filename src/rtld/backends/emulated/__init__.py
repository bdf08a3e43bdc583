"""An emulated CPU, whatever this machine's is: the same linker, another address space.

===============  ==================================================================================
``machine``      READ FIRST: the back end: addresses, memory, start, call, Python functions
``cpus``         the CPUs as data;  ``quirks``: what is odd about the engine, in one table
``engine``       the CPU itself;  ``libunicorn``: Unicorn's C library, which nothing else knows
``repairs``      what is repaired in that library, in memory (``loaded``);  ``aborts``: when it gives up
``gate``         from an exception or a system call to Python and back
``memory``       the guest's memory;  ``ranges``: which addresses are taken
``binder``       how a lazy PLT comes to Python
``kernel``       system calls;  ``callnumbers``: their numbers
``linux``        system calls by subject;  ``family``, ``process``: what a guest process has of the host
``brake``        stopping the CPU at a known place;  ``segments``: i386's thread pointer
``watch``        Ctrl-C and time limits;  ``faults``: what a guest did wrong
===============  ==================================================================================

Unicorn comes with the extra ``emulate``; its library is loaded when a machine is opened, its Python package is not imported.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.backends.emulated.machine import Machine


def open_machine(cpu: str, **options: Any) -> Machine:
    """A new machine with that CPU; options of ``Machine``. Unsupported, NoSpace."""
    from rtld.backends.emulated.machine import Machine

    return Machine(cpu, **options)
