"""How fast is rtld.link, next to ld.so itself (and CLE)?

    python bench/link.py [-n 7] [--passes] [--json FILE] [--cle-python PYTHON] [--cle PROGRAM ...] [PROGRAM ...]

Default programs: gdb, clang-14, inkscape and blender, those that are installed, and a generated closure of 1000
libraries x 1000 symbols (synthetic.py). For each, in turn, N times: ld.so links the program (LD_BIND_NOW=1, its own
LD_DEBUG=statistics; a preload ends the process before the first initialiser), then rtld.link links it in a process that
has linked it once before. Medians of both. "first" is the CPU time of the first rtld.link in a fresh process, imports
of numpy and of rtld's modules included, and "peak" is that process's largest resident size.

ld.so counts cycles of the time-stamp counter; glibc 2.36 of Debian 12 prints them without their last digit. Whether this
one does is measured: its count for the largest program must agree with the wall time of the process. Under load ld.so's
own figures, being wall time, get worse and rtld's, being CPU time, hardly do: there the last ratio is to be believed, that
of rtld's CPU time to the CPU time of ld.so's whole process.
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from typing import Any

from synthetic import exit_early, synthetic
from timing import Run, counter_rate, environment, machine, run

PROGRAMS = ("gdb", "clang-14", "inkscape", "blender")
SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "src")

WORKER = """
import gc, json, resource, sys, time
begin = time.process_time()
def answer(row):
    row["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(row), flush=True)
for line in sys.stdin:
    import rtld
    start = time.process_time()
    link = rtld.link(line.strip())
    end = time.process_time()
    row = {"link": end - start, "first": end - begin, "modules": len(link.modules), "passes": link.timings}
    row["relocations"] = sum(sum(counts.values()) for counts in link.relocation_counts.values())
    row["references"] = len(link.bindings())
    row["problems"] = len(link.problems)
    answer(row)
    del link
    gc.collect()
"""

CLE = """
import json, logging, resource, sys, time
logging.disable(logging.CRITICAL)
import cle
begin = time.process_time()
loader = cle.Loader(sys.argv[1], auto_load_libs=True, except_missing_libs=False)
end = time.process_time()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"link": end - begin, "modules": len(loader.all_elf_objects), "peak": peak}))
"""


class Worker:
    """A process that links what it is told to, and says how long it took."""

    def __init__(self) -> None:
        path = os.pathsep.join(filter(None, [SOURCE, os.environ.get("PYTHONPATH")]))
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER],
            env=environment(PYTHONPATH=path),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def link(self, program: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(program + "\n")
        self.process.stdin.flush()
        row: dict[str, Any] = json.loads(self.process.stdout.readline())
        return row

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def ask_loader(program: str, preload: str) -> tuple[dict[str, int], Run]:
    """ld.so's statistics of one start of the program, as printed, and what the process used."""
    with tempfile.TemporaryDirectory(prefix="rtld-bench-") as scratch:
        env = {"PATH": "/usr/bin:/bin", "LD_BIND_NOW": "1", "LD_PRELOAD": preload}
        env |= {"LD_DEBUG": "statistics", "LD_DEBUG_OUTPUT": f"{scratch}/ld"}
        used = run([program], env)
        (name,) = glob.glob(f"{scratch}/ld.*")
        with open(name, encoding="utf-8") as stream:
            text = stream.read()
    words = {
        "total": "total startup time in dynamic loader",
        "relocation": "time needed for relocation",
        "load": "time needed to load objects",
        "lookups": "number of relocations",
        "relative": "number of relative relocations",
    }
    found = {}
    for name, label in words.items():
        match = re.search(rf"{label}: (\d+)", text)
        if match is None:
            raise SystemExit(f"{program}: ld.so printed no {label!r}:\n{text}")
        found[name] = int(match[1])
    return found, used


def printed_digits(printed: int, rate: float, used: Run) -> int:
    """10 if the count printed lacks its last digit, else 1: whichever agrees with the time the process took."""
    return min((1, 10), key=lambda factor: abs(factor * printed / rate - used.wall))


def median(rows: list[dict[str, Any]], key: str) -> float:
    return float(statistics.median(row[key] for row in rows))


def measure(program: str, count: int, preload: str, rate: float, factor: int) -> dict[str, Any]:
    """All figures of one program, in seconds and bytes."""
    fresh = []
    for _ in range(min(3, count)):
        worker = Worker()
        fresh.append(worker.link(program))
        worker.close()
    worker = Worker()
    worker.link(program)
    ours: list[dict[str, Any]] = []
    theirs: list[dict[str, Any]] = []
    for _ in range(count):
        counts, used = ask_loader(program, preload)
        theirs.append({k: counts[k] * factor / rate for k in ("total", "relocation", "load")} | {"cpu": used.cpu} | {
            k: counts[k] for k in ("lookups", "relative")
        })  # fmt: skip
        ours.append(worker.link(program))
    worker.close()
    passes = {
        name: statistics.median(dict(row["passes"])[name] for row in ours)
        for name, _ in ours[0]["passes"]
    }
    return {
        "program": program,
        "modules": ours[0]["modules"],
        "relocations": ours[0]["relocations"],
        "references": ours[0]["references"],
        "problems": ours[0]["problems"],
        "rtld": {
            "link": median(ours, "link"),
            "best": min(row["link"] for row in ours),
            "first": median(fresh, "first"),
            "first_link": median(fresh, "link"),
            "peak": int(median(fresh, "peak")),
            "passes": passes,
        },
        "ld.so": {key: median(theirs, key) for key in theirs[0]}
        | {"best": min(row["total"] for row in theirs)},
    }


def measure_cle(python: str, program: str) -> dict[str, Any]:
    done = subprocess.run([python, "-c", CLE, program], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"CLE on {program}:\n{done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def show(row: dict[str, Any]) -> None:
    ours, theirs = row["rtld"], row["ld.so"]
    cells = [
        f"{os.path.basename(row['program']):10}",
        f"{row['modules']:5}",
        f"{row['relocations']:9}",
        f"{row['references']:9}",
        f"{1000 * ours['link']:8.1f}",
        f"{1000 * ours['best']:8.1f}",
        f"{1000 * ours['first']:8.1f}",
        f"{ours['peak'] / 1e6:6.0f}",
        f"{1000 * theirs['total']:9.1f}",
        f"{1000 * theirs['best']:9.1f}",
        f"{1000 * theirs['relocation']:9.1f}",
        f"{1000 * theirs['cpu']:9.1f}",
        f"{ours['link'] / theirs['total']:6.2f}",
        f"{ours['best'] / theirs['best']:6.2f}",
        f"{ours['link'] / theirs['relocation']:6.2f}",
        f"{ours['link'] / theirs['cpu']:6.2f}",
        f"{row['cle']['link']:7.1f} s" if "cle" in row else "",
    ]
    print(" ".join(cells).rstrip(), flush=True)


HEADER = """
                                        rtld.link, CPU ms                 ld.so, ms (its own count)             rtld / ld.so
program     mods    relocs      refs   median     best    first     MB     total      best     reloc  proc.CPU  total   best  reloc    CPU     CLE
""".strip("\n")


def installed(names: list[str]) -> list[str]:
    found = []
    for name in names:
        path = shutil.which(name)
        if path is None:
            print(f"{name}: not installed, left out")
        else:
            found.append(os.path.realpath(path))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("programs", nargs="*", help="programs to link instead of the default ones")
    parser.add_argument("-n", type=int, default=7, help="how often each is linked (default 7)")
    parser.add_argument("--json", metavar="FILE", help="write all figures, in seconds and bytes")
    parser.add_argument("--passes", action="store_true", help="also print the time of each pass")
    parser.add_argument(
        "--no-synthetic", action="store_true", help="leave out the generated closure"
    )
    parser.add_argument("--cle-python", metavar="PYTHON", help="a Python that can import cle")
    parser.add_argument(
        "--cle", nargs="*", metavar="PROGRAM", help="what CLE is given (default: all; it is slow)"
    )
    options = parser.parse_args()
    programs = installed(options.programs or list(PROGRAMS))
    if not options.programs and not options.no_synthetic:
        programs.append(synthetic())
    preload = exit_early()
    rate = counter_rate()
    about = machine()
    print(", ".join(f"{key} {value}" for key, value in about.items()))

    # The program with the most to do settles how ld.so prints.
    sizes = {program: ask_loader(program, preload) for program in programs}
    counts, used = max(sizes.values(), key=lambda pair: pair[0]["total"])
    factor = printed_digits(counts["total"], rate, used)
    print(
        f"counter {rate / 1e9:.4f} GHz; ld.so printed {counts['total']} cycles for a process that used "
        f"{used.cpu:.3f} s CPU, {used.wall:.3f} s wall: x{factor} = {counts['total'] * factor / rate:.3f} s\n"
    )
    print(HEADER)
    rows = []
    for program in programs:
        row = measure(program, options.n, preload, rate, factor)
        wanted = options.cle is None or os.path.basename(program) in map(
            os.path.basename, options.cle
        )
        if options.cle_python and wanted:
            row["cle"] = measure_cle(options.cle_python, program)
        rows.append(row)
        show(row)
    if options.passes:
        print("\nCPU ms of each pass, medians")
        for row in rows:
            passes = row["rtld"]["passes"].items()
            cells = [f"{name} {1000 * seconds:.1f}" for name, seconds in passes]
            print(f"{os.path.basename(row['program']):10} " + "  ".join(cells))
    if options.json:
        result = {
            "machine": about,
            "counter": rate,
            "factor": factor,
            "n": options.n,
            "programs": rows,
        }
        os.makedirs(os.path.dirname(os.path.abspath(options.json)), exist_ok=True)
        with open(options.json, "w", encoding="utf-8") as stream:
            json.dump(result, stream, indent=1)


if __name__ == "__main__":
    main()
