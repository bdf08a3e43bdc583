"""Machine code of our own as a function of this process. Nothing here knows a CPU: the code comes from ``arch``."""

from __future__ import annotations

import mmap
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_alive: list[mmap.mmap] = []  # code must outlive every function made of it


def function(code: bytes, arguments: int) -> Callable[..., None] | None:
    """A function of so many addresses or integers that runs *code*; None where a process may not make code.

    The code is written to an anonymous file and mapped from it: no page is ever writable and executable.
    """
    import ctypes

    import numpy as np

    try:
        fd = os.memfd_create("rtld", os.MFD_CLOEXEC)
        try:
            os.write(fd, code)
            memory = mmap.mmap(
                fd, len(code), flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_EXEC
            )
        finally:
            os.close(fd)
    except (OSError, AttributeError):
        return None
    _alive.append(memory)
    address = np.frombuffer(memory, np.uint8).__array_interface__["data"][0]
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * arguments)(address)
