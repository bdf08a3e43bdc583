"""A program that ld.so has linked and that has not begun: its modules, their bases, its memory.

``stop.c`` is preloaded; the process is killed when the ``with`` block ends, before anything of it has run but ld.so and
the resolvers of IFUNCs.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtld.elf import types as t
from rtld.elf.file import ElfFile

AT_PHDR = 3


class Loaded(NamedTuple):
    """One ``struct link_map``: where the module is, by which path, where its dynamic section is."""

    base: int
    path: str
    dynamic: int


class Stopped:
    """A stopped process of the program at ``path``."""

    def __init__(self, pid: int, path: str) -> None:
        self.pid = pid
        self.path = path
        self._memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
        self.modules = list(self._modules())

    def close(self) -> None:
        os.close(self._memory)

    def read(self, address: int, size: int) -> bytes:
        data = os.pread(self._memory, size, address)
        assert len(data) == size, f"{address:#x}+{size:#x} of process {self.pid}"
        return data

    def array(self, address: int, size: int) -> NDArray[np.uint8]:
        return np.frombuffer(self.read(address, size), np.uint8)

    def vdso(self) -> range:
        """Where the kernel's own library is: libc's time() and gettimeofday() are IFUNCs that lead there."""
        with open(f"/proc/{self.pid}/maps", encoding="ascii", errors="replace") as stream:
            for line in stream:
                if line.endswith("[vdso]\n"):
                    low, _, high = line.partition(" ")[0].partition("-")
                    return range(int(low, 16), int(high, 16))
        return range(0)

    def _modules(self) -> Iterator[Loaded]:
        """The link_maps in ld.so's order, as DT_DEBUG leads a debugger to them; without the vDSO."""
        file = ElfFile(self.path)
        with open(f"/proc/{self.pid}/auxv", "rb") as stream:
            vector = dict(struct.iter_unpack("<QQ", stream.read()))
        headers = next(s.vaddr for s in file.segments if s.type == t.PT_PHDR)
        base = vector[AT_PHDR] - headers
        dynamic = file.segment(t.PT_DYNAMIC)
        assert dynamic is not None
        entries = dict(struct.iter_unpack("<QQ", self.read(base + dynamic.vaddr, dynamic.memsz)))
        (at,) = struct.unpack("<Q", self.read(entries[t.DT_DEBUG] + 8, 8))
        while at:
            base, name, dynamic_at, following = struct.unpack("<4Q", self.read(at, 32))
            path = self._string(name) or self.path
            if not path.startswith("linux-vdso"):
                yield Loaded(base, path, dynamic_at)
            at = following

    def _string(self, address: int) -> str:
        text = b""
        while b"\0" not in text:
            # Page by page: what follows a string need not be mapped.
            text += self.read(address + len(text), -(address + len(text)) % 4096 or 4096)
        return os.fsdecode(text.partition(b"\0")[0])


def environment(preload: str) -> dict[str, str]:
    """What the program is started with."""
    return {"LD_BIND_NOW": "1", "LD_PRELOAD": preload, "PATH": "/usr/bin:/bin"}


@contextmanager
def stopped(program: str, preload: str, *, timeout: int = 60) -> Iterator[Stopped]:
    """Start ``program`` with ``preload`` (stop.c compiled with -DSTOP) and wait until it has stopped."""
    null = subprocess.DEVNULL
    child = subprocess.Popen(
        [program], env=environment(preload), stdin=null, stdout=null, stderr=null
    )
    try:
        deadline = time.monotonic() + timeout
        pid = status = 0
        while not pid:
            pid, status = os.waitpid(child.pid, os.WUNTRACED | os.WNOHANG)
            if not pid:
                assert time.monotonic() < deadline, f"{program} neither stopped nor ended"
                time.sleep(0.001)
        if not os.WIFSTOPPED(status):
            child.returncode = os.waitstatus_to_exitcode(status)
            raise ChildProcessError(f"{program} ended with {child.returncode} before it stopped")
        process = Stopped(child.pid, os.path.realpath(program))
        try:
            yield process
        finally:
            process.close()
    finally:
        if child.returncode is None:
            child.kill()
            child.wait()


if __name__ == "__main__":
    with stopped(sys.argv[1], sys.argv[2]) as shown:
        for module in shown.modules:
            print(f"{module.base:#x} {module.path}")
