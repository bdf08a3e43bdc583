"""``rtld.dlopen`` next to ``ctypes.CDLL``: each library in fresh processes, taken in turn; ratios of medians.

    python bench/dlopen.py [--repeat 15] [--seconds 30] [--json FILE] [library ...]

What is measured: the call itself, from the name to the last initialiser, files in the page cache.

    CDLL    ctypes.CDLL, in a process that has ctypes imported and has opened two other libraries with it
    ours    rtld.dlopen, in a process that has rtld imported and has opened another small library (libbz2) ten times
    first   the same without the ten: ours is ready (host scanned, machine code placed), but no code of it has run yet
    cold    first, and all that comes once in a process: ``import rtld`` (column "import") and making ready ("ready")

Also: a bound call, the first call through a lazily bound slot (of a library with many functions, a mean over all), and with
--seconds 8 threads that open, call and close, and then what is still mapped and how much memory has grown.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile

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
for _ in range(int(sys.argv[2])):
    with rtld.dlopen("libbz2.so.1.0") as bz2: bz2.BZ2_bzlibVersion
t = time.perf_counter(); rtld.dlopen(sys.argv[1]); print((time.perf_counter() - t) * 1e3, (t1 - t0) * 1e3, (t2 - t1) * 1e3)
"""
CALLS = """
import ctypes, time
import rtld
def prepared(f):
    f.argtypes = [ctypes.c_ulong, ctypes.c_char_p, ctypes.c_uint]; f.restype = ctypes.c_ulong
    return f
both = [prepared(ctypes.CDLL("libz.so.1").crc32), prepared(rtld.dlopen("libz.so.1").crc32)]
best = [1e9, 1e9]
for _ in range(40):
    for i, f in enumerate(both):
        t = time.perf_counter()
        for _ in range(10000): f(0, b"abc", 3)
        best[i] = min(best[i], (time.perf_counter() - t) / 10000)
print(best[0] * 1e9, best[1] * 1e9)
"""
FIRST_CALLS = """
import ctypes, sys, time
which, path, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
if which == "rtld":
    import rtld
    library = rtld.dlopen(path, rtld.RTLD_LAZY)
else:
    library = ctypes.CDLL(path, 1)
run = library.run
times = []
for _ in range(3):
    t = time.perf_counter(); run(); times.append(time.perf_counter() - t)
print((times[0] - times[2]) / count * 1e9)
"""
THREADS = """
import ctypes, gc, os, sys, threading, time
import rtld
path, seconds = sys.argv[1], float(sys.argv[2])
def memory():
    gc.collect(); ctypes.CDLL(None).malloc_trim(0)  # malloc keeps what its threads have freed
    with open("/proc/self/statm") as f: pages = int(f.read().split()[1])
    with open("/proc/self/maps") as f: return pages * 4, sum(path in line for line in f)
counts = []
def work(number, end):
    done = 0
    while time.monotonic() < end:
        with rtld.Namespace() as ns:
            library = ns.dlopen(path)
            assert library.twice(number) == 2 * number and library.next() == 1
            with ns.dlopen("libz.so.1") as z: assert z.zlibVersion
        done += 1
    counts.append(done)
def round_of(seconds):
    end = time.monotonic() + seconds
    threads = [threading.Thread(target=work, args=(n, end)) for n in range(8)]
    for t in threads: t.start()
    for t in threads: t.join()
round_of(min(seconds / 4, 5)); before = memory(); counts.clear()
round_of(seconds); after = memory()
print(sum(counts), len(counts), after[0] - before[0], after[1])
"""
FUNCTIONS = 2000


def build(directory: str) -> tuple[str, str]:
    """A library that calls many functions of another, lazily bound; and one with thread-local storage."""
    names = range(FUNCTIONS)
    sources = {
        "many": "".join([f"int f{n}(void) {{ return {n}; }}" for n in names]),
        "first": "".join([f"int f{n}(void);" for n in names])
        + "int run(void) { int s = 0;"
        + "".join([f"s += f{n}();" for n in names])
        + "return s; }",
        "threads": "static __thread int n; int next(void) { return ++n; } int twice(int x) { return 2 * x; }",
    }
    for name, text in sources.items():
        with open(f"{directory}/{name}.c", "w") as file:
            file.write(text)
        needs = ["-L.", "-lmany", "-Wl,-rpath,$ORIGIN"] if name == "first" else []
        subprocess.run(
            ["gcc", "-shared", "-fPIC", "-O1", "-Wl,-z,lazy", "-o", f"lib{name}.so", f"{name}.c", *needs],
            check=True, cwd=directory,
        )  # fmt: skip
    return f"{directory}/libfirst.so", f"{directory}/libthreads.so"


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
    parser.add_argument("--seconds", type=float, default=0, help="of 8 threads (default: none)")
    parser.add_argument("--json")
    options = parser.parse_args()
    rows = []
    print(
        f"{'library':<18} {'CDLL ms':>9} {'ours ms':>9} {'ratio':>6} {'goal':>5} {'first':>8} {'import':>7} {'ready':>6} {'cold':>8}"
    )
    for library in options.libraries:
        theirs, warm, first, imports, ready = [], [], [], [], []
        try:
            for _ in range(options.repeat):
                theirs.append(measure(THEIRS, library)[0])
                warm.append(measure(OURS, library, "10")[0])
                one = measure(OURS, library, "0")
                first.append(one[0])
                imports.append(one[1])
                ready.append(one[2])
        except RuntimeError as error:
            print(f"{library:<18} {error}")
            continue
        median = statistics.median
        row = {
            "library": library, "cdll": median(theirs), "ours": median(warm), "ratio": median(warm) / median(theirs),
            "goal": TARGETS.get(library), "first": median(first), "import": median(imports), "ready": median(ready),
            "cold": median(map(sum, zip(first, imports, ready, strict=True))),
        }  # fmt: skip
        rows.append(row)
        goal = f"{row['goal']:.1f}" if row["goal"] else "-"
        print(
            f"{library:<18} {row['cdll']:9.3f} {row['ours']:9.3f} {row['ratio']:6.2f} {goal:>5} {row['first']:8.3f} "
            f"{row['import']:7.1f} {row['ready']:6.1f} {row['cold']:8.1f}"
        )
    calls = measure(CALLS)
    print(f"a call of crc32: {calls[0]:.0f} ns by ctypes, {calls[1]:.0f} ns by ours")
    with tempfile.TemporaryDirectory() as directory:
        first, threads = build(directory)
        lazy = {
            which: statistics.median(
                [measure(FIRST_CALLS, which, first, str(FUNCTIONS))[0] for _ in range(7)]
            )
            for which in ("ctypes", "rtld")
        }
        print(
            f"a first call through a lazy slot: {lazy['ctypes']:.0f} ns by glibc, {lazy['rtld']:.0f} ns by ours"
        )
        if options.seconds:
            done, alive, grown, left = measure(THREADS, threads, str(options.seconds))
            print(
                f"8 threads, {options.seconds:g} s: {done:.0f} times opened, called and closed, {alive:.0f} threads came to the "
                f"end; {left:.0f} mappings left, memory grew by {grown:.0f} KiB"
            )
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"libraries": rows, "calls": calls, "lazy": lazy}, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
