"""Whether a program is for this machine's CPU: asked before every run, so that little is imported."""

from __future__ import annotations

import os

from rtld.elf.types import EM_386, EM_X86_64
from rtld.process.program import script_interpreter


def is_foreign(path: str) -> bool:
    """Is it a program, or a script for one, that this machine's kernel does not run?"""
    for _ in range(5):
        try:
            with open(path, "rb") as stream:
                head = stream.read(256)
        except OSError:
            return False
        if head.startswith(b"#!"):
            words = script_interpreter(head)
            path = os.fsdecode(words[0]) if words else ""
            continue
        if not head.startswith(b"\x7fELF") or len(head) < 20:
            return False
        order = "little" if head[5] == 1 else "big"
        machine = int.from_bytes(head[18:20], order)  # type: ignore[arg-type]
        return os.uname().machine != "x86_64" or machine not in (EM_386, EM_X86_64)
    return False
