"""How long does the first call through a lazy PLT slot take, told and not told?

    python bench/lazy.py [-n 9] [--functions 1000]

A generated program calls each of many functions of a library once; after each call it reads the clock. The median of these
times less that of a second round of calls is one binding: by ld.so, by ld.so with LD_DEBUG=bindings, by `rtld run --lazy`, and by
that with --trace=bindings; what is told goes to files. Medians over the runs; the four take turns.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile

from startup import rtld
from timing import environment, machine

PROGRAM = """
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
%(declarations)s
static long now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1000000000L + t.tv_nsec; }
static int less(const void *a, const void *b) { long x = *(long *)a, y = *(long *)b; return (x > y) - (x < y); }
static long took[%(count)d];
static void all(void) { long t = now(), u; int i = 0; %(calls)s }
int main(void)
{
    long first;
    now();
    all();
    qsort(took, %(count)d, sizeof *took, less);
    first = took[%(count)d / 2];
    all();
    qsort(took, %(count)d, sizeof *took, less);
    printf("%%ld\\n", first - took[%(count)d / 2]);
    return 0;
}
"""


def build(directory: str, count: int) -> str:
    """The program's path."""
    library, source = os.path.join(directory, "liblazy.c"), os.path.join(directory, "lazy.c")
    with open(library, "w", encoding="ascii") as file:
        file.writelines(f"int f{i}(void) {{ return {i}; }}\n" for i in range(count))
    with open(source, "w", encoding="ascii") as file:
        declarations = "".join(f"int f{i}(void);" for i in range(count))
        calls = "".join(f"f{i}(); u = now(); took[i++] = u - t; t = u;" for i in range(count))
        file.write(PROGRAM % {"declarations": declarations, "calls": calls, "count": count})
    shared, program = os.path.join(directory, "liblazy.so"), os.path.join(directory, "lazy")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", shared, library], check=True)
    subprocess.run(
        ["cc", "-Wl,-z,lazy", "-o", program, source, shared, f"-Wl,-rpath,{directory}"], check=True
    )
    return program


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-n", type=int, default=9, help="how often each is run (default 9)")
    parser.add_argument(
        "--functions", type=int, default=1000, metavar="N", help="calls in each run"
    )
    options = parser.parse_args()
    print(", ".join(f"{key} {value}" for key, value in machine().items()))
    with tempfile.TemporaryDirectory() as directory:
        program = build(directory, options.functions)
        command, env = rtld()
        lazily = [*command, "run", "--lazy"]
        trace = ["--trace=bindings", "--trace-output", os.path.join(directory, "trace")]
        told = {"LD_DEBUG": "bindings", "LD_DEBUG_OUTPUT": os.path.join(directory, "debug")}
        rows = [
            ("ld.so", [program], environment()),
            ("ld.so, LD_DEBUG=bindings", [program], environment(**told)),
            ("rtld run --lazy", [*lazily, program], env),
            ("rtld run --lazy --trace=bindings", [*lazily, *trace, program], env),
        ]
        times: dict[str, list[int]] = {label: [] for label, _, _ in rows}
        for _ in range(options.n):
            for label, argv, variables in rows:
                done = subprocess.run(
                    argv, env=variables, capture_output=True, check=True, text=True
                )
                times[label].append(int(done.stdout))
                sys.stdout.flush()
    print(f"\n{'':34}  us a binding    best   to ld.so")
    base = statistics.median(times["ld.so"])
    for label, values in times.items():
        median = statistics.median(values)
        print(f"{label:34}  {median / 1e3:12.2f}  {min(values) / 1e3:6.2f}  {median / base:8.1f}x")


if __name__ == "__main__":
    main()
