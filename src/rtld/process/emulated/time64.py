"""Names of functions with 64-bit times in musl's 32-bit ABIs (musl: ldso/dynlink.c, __dlsym_redir_time64)."""

from __future__ import annotations


def redirected(name: bytes) -> bytes | None:
    """What ``dlsym(handle, name)`` may mean in a program with 64-bit times, if libc has it: ``time`` is ``__time64``,
    ``stat`` is ``__stat_time64``, ``gmtime_r`` is ``__gmtime64_r``. None for names that are too short or too long.
    """
    if not 4 <= len(name) < 36:
        return None
    stem, tail = (name[:-2], b"_r") if name.endswith(b"_r") else (name, b"")
    if len(stem) < 4:
        return None
    return b"__" + stem + (b"64" if stem.endswith(b"time") else b"_time64") + tail
