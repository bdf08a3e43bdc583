"""``rtld.dlopen`` next to ``ctypes.CDLL``: each library in fresh processes, taken in turn; ratios of medians.

    python bench/dlopen.py [--repeat 15] [--json FILE] [library ...]

Both have their modules imported. Ours has been made ready (host scanned, machine code placed) and has opened another small
library; the last columns tell what importing and making ready cost, once in a process. ``cold`` is without both.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys

from timing import environment

# fmt: off
#            library               ratio to reach
TARGETS = {
    "libz.so.1":           2.0,
    "libsqlite3.so.0":     5.0,
    "libcrypto.so.3":      None,
    "libxml2.so.2":        None,
    "libLLVM-14.so.1":     2.5,
    "libgtk-3.so.0":       3.0,
}
# fmt: on

THEIRS = """
import ctypes, sys, time
ctypes.CDLL("libm.so.6"); ctypes.CDLL("libbz2.so.1.0")
t = time.perf_counter(); ctypes.CDLL(sys.argv[1], 2); print((time.perf_counter() - t) * 1e3)
"""
OURS = """
import time
t0 = time.perf_counter()
import rtld, sys, ctypes
rtld.dlopen
t1 = time.perf_counter()
from rtld.dlfcn import default_namespace
default_namespace()
t2 = time.perf_counter()
if sys.argv[2] == "warm":
    for quick in (False, True):  # the long way and the short one
        default_namespace()._space.quick = quick
        with rtld.dlopen("libbz2.so.1.0") as bz2: bz2.BZ2_bzlibVersion
t = time.perf_counter(); rtld.dlopen(sys.argv[1]); print((time.perf_counter() - t) * 1e3, (t1 - t0) * 1e3, (t2 - t1) * 1e3)
"""
CALLS = """
import sys, time
which = sys.argv[1]
if which == "ctypes":
    from ctypes import CDLL
else:
    import rtld
    CDLL = rtld.dlopen
import ctypes
z = CDLL("libz.so.1"); f = z.crc32; f.argtypes = [ctypes.c_ulong, ctypes.c_char_p, ctypes.c_uint]; f.restype = ctypes.c_ulong
best = 1e9
for _ in range(30):
    t = time.perf_counter()
    for _ in range(10000): f(0, b"abc", 3)
    best = min(best, (time.perf_counter() - t) / 10000)
print(best * 1e9)
"""


def measure(script: str, *arguments: str) -> list[float]:
    """The numbers a script prints in a fresh process."""
    argv = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment())
    if done.returncode:
        raise RuntimeError(
            done.stderr.strip().splitlines()[-1] if done.stderr else f"status {done.returncode}"
        )
    return [float(word) for word in done.stdout.split()]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("libraries", nargs="*", default=list(TARGETS))
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--json")
    options = parser.parse_args()
    rows = []
    print(
        f"{'library':<18} {'CDLL ms':>9} {'ours ms':>9} {'ratio':>6} {'goal':>5} {'cold ms':>9} {'import':>7} {'ready':>6}"
    )
    for library in options.libraries:
        theirs, warm, cold, imports, ready = [], [], [], [], []
        try:
            for _ in range(options.repeat):
                theirs.append(measure(THEIRS, library)[0])
                one = measure(OURS, library, "warm")
                warm.append(one[0])
                imports.append(one[1])
                ready.append(one[2])
                cold.append(measure(OURS, library, "cold")[0])
        except RuntimeError as error:
            print(f"{library:<18} {error}")
            continue
        median = statistics.median
        row = {
            "library": library, "cdll": median(theirs), "ours": median(warm), "ratio": median(warm) / median(theirs),
            "goal": TARGETS.get(library), "cold": median(cold), "import": median(imports), "ready": median(ready),
        }  # fmt: skip
        rows.append(row)
        goal = f"{row['goal']:.1f}" if row["goal"] else "-"
        print(
            f"{library:<18} {row['cdll']:9.3f} {row['ours']:9.3f} {row['ratio']:6.2f} {goal:>5} {row['cold']:9.3f} "
            f"{row['import']:7.1f} {row['ready']:6.1f}"
        )
    calls = {
        which: min([measure(CALLS, which)[0] for _ in range(3)]) for which in ("ctypes", "rtld")
    }
    print(f"a call of crc32: {calls['ctypes']:.0f} ns by ctypes, {calls['rtld']:.0f} ns by ours")
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"libraries": rows, "calls": calls}, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
