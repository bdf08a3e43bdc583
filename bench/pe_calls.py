"""Calls of functions of Windows DLLs: in this process beside ctypes, and emulated.

    python bench/pe_calls.py [zlib1.dll]

CPU time of one call, the smallest of several rounds; ctypes calls the same function of this machine's libz in the same rounds.
"""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable
from typing import Any

import rtld

DLL = "/usr/x86_64-w64-mingw32/lib/zlib1.dll"  # Debian: libz-mingw-w64
ROUNDS, CALLS = 9, 10_000


def cost(function: Callable[[], Any], calls: int) -> float:
    """Seconds of one call."""
    begin = time.process_time()
    for _ in range(calls):
        function()
    return (time.process_time() - begin) / calls


def main() -> None:
    path = sys.argv[1] if len(sys.argv) > 1 else DLL
    emulated = rtld.dlopen(path)
    emulated.crc32.argtypes = [ctypes.c_uint32, ctypes.c_char_p, ctypes.c_uint32]
    plain, native = ctypes.CDLL("libz.so.1"), rtld.dlopen(path, native=True)
    rows: dict[str, tuple[Callable[[], Any], int]] = {
        "ctypes: zlibCompileFlags()": (plain.zlibCompileFlags, CALLS),
        "native: zlibCompileFlags()": (native.zlibCompileFlags, CALLS),
        "ctypes: crc32(0, 0, 0)": (lambda f=plain.crc32: f(0, None, 0), CALLS),
        "native: crc32(0, 0, 0)": (lambda f=native.crc32: f(0, None, 0), CALLS),
        "emulated: zlibCompileFlags()": (emulated.zlibCompileFlags, CALLS // 20),
        "emulated: crc32(0, bytes, 5)": (lambda f=emulated.crc32: f(0, b"hello", 5), CALLS // 20),
    }
    best = dict.fromkeys(rows, 1e9)
    for _ in range(ROUNDS):
        for name, (function, calls) in rows.items():
            best[name] = min(best[name], cost(function, calls))
    base = best["ctypes: zlibCompileFlags()"]
    for name, seconds in best.items():
        print(f"{name:32} {seconds * 1e6:8.3f} us  {seconds / base:7.2f} x ctypes")


if __name__ == "__main__":
    main()
