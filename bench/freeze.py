"""How much faster frozen programs start, in one run: original and image in turn, ratio of medians.

    PYTHONPATH=src python bench/freeze.py                      the programs with an aim, and twenty of /usr/bin
    PYTHONPATH=src python bench/freeze.py --programs gdb       some of them
    PYTHONPATH=src python bench/freeze.py --synthetic          1000 libraries of 1000 symbols
    PYTHONPATH=src python bench/freeze.py --calls              what import trampolines cost a program that calls much

Every start is a whole process, from posix_spawn to wait4, on one CPU, at real-time priority where that is permitted
(elsewhere other load gets into the numbers: look at CPU time then). Before a program is measured the image, the original
and all its libraries are thrown out of the page cache and read again from beginning to end, since a file that was just
written lies in larger pieces in it and is mapped faster. The first two rounds do not count.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

AIMS = {"ffmpeg": 5.5, "inkscape": 4.5, "clang-14": 3.5, "gdb": 1.2}
# fmt: off
TWENTY = [
    "ffmpeg", "inkscape", "clang-14", "gdb", "git", "curl", "openssl", "perl", "sqlite3", "python3.11",
    "bash", "ls", "tar", "xz", "gcc-12", "ld.bfd", "objdump", "opt-14", "llvm-nm-14", "gpg",
    "ffprobe", "ssh", "rsync", "make", "grep", "find", "sed", "m4", "file", "strace",
]
ARGUMENTS = {"ffmpeg": ["-version"], "ffprobe": ["-version"], "openssl": ["version"], "ssh": ["-V"]}
# fmt: on
LIBRARY = """
    #include <string.h>
    #include <stdlib.h>
    unsigned long work(unsigned n) {
        unsigned long sum = 0; char text[32];
        for (unsigned i = 0; i < n; i++) {
            char *p = malloc(16 + (i & 15));
            memcpy(p, "some text", 10); strcpy(text, p); sum += strlen(text) + strcmp(p, text); free(p);
        }
        return sum;
    }
"""
PROGRAM = (
    "unsigned long work(unsigned n); int main(void) { return work(4000000) == 36000000 ? 0 : 1; }"
)


def pin() -> str:
    """One CPU for us and our children; real-time priority where we may."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
    except OSError:
        return "normal priority"
    return "real-time priority"


def start(path: str, name: str, arguments: list[str]) -> tuple[float, float, int]:
    """One start: (ms, CPU ms, minor faults)."""
    null = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
    begin = time.perf_counter()
    pid = os.posix_spawn(path, [name, *arguments], os.environ, file_actions=null)
    _, _status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - begin
    return wall * 1e3, (usage.ru_utime + usage.ru_stime) * 1e3, usage.ru_minflt


def reread(paths: list[str]) -> None:
    """Out of the page cache, and in again in order."""
    for path in paths:
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            while os.read(fd, 1 << 20):
                pass
        finally:
            os.close(fd)


def measure(
    name: str, candidates: dict[str, str], arguments: list[str], rounds: int
) -> dict[str, tuple[float, float, float]]:
    """Medians of (ms, CPU ms, faults) for each candidate."""
    results: dict[str, list[tuple[float, float, int]]] = {what: [] for what in candidates}
    for number in range(rounds + 2):
        # Forwards and backwards: who comes after whom matters by some per cent.
        order = list(candidates.items())
        for what, path in order if number % 2 else order[::-1]:
            row = start(path, name, arguments)
            if number >= 2:
                results[what].append(row)
    return {
        what: (
            statistics.median(row[0] for row in rows),
            statistics.median(row[1] for row in rows),
            statistics.median(row[2] for row in rows),
        )
        for what, rows in results.items()
    }


def dirty(path: str, name: str, arguments: list[str]) -> int:
    """KiB of private dirty memory when the program is about to exit."""
    script = ["-batch", "-nx", "-ex", "catch syscall exit_group", "-ex", "run", "-ex", "info proc"]
    if not shutil.which("gdb"):
        return -1
    text = subprocess.run(
        ["gdb", *script, "-ex", "python import gdb; print('dirty', sum(int(l.split()[1]) for l in open('/proc/%d/smaps' % gdb.selected_inferior().pid) if l.startswith('Private_Dirty')))", "--args", path, *arguments],
        capture_output=True, text=True, check=False, env={**os.environ, "DEBUGINFOD_URLS": ""},
    ).stdout  # fmt: skip
    del name
    found = [line.split()[1] for line in text.splitlines() if line.startswith("dirty ")]
    return int(found[0]) if found else -1


def one(name: str, program: str, directory: str, options: argparse.Namespace) -> float | None:
    """Freeze, measure, print one line; the ratio."""
    from rtld.errors import RtldError
    from rtld.frozen import freeze
    from rtld.process.link import find

    forms: dict[str, dict[str, bool]] = {"frozen": {}, "thin": {"thin": True}}
    if find(program).modules[0].file.is_pie:
        forms["pie"] = {"pie": True}
    candidates = {"original": program}
    frozen_in = 0.0
    for form, keywords in forms.items() if options.forms else [("frozen", {})]:
        image = os.path.join(directory, f"{os.path.basename(program)}.{form}")
        try:
            begin = time.process_time()
            freeze(program, image, **keywords)
            frozen_in = max(frozen_in, time.process_time() - begin)
        except RtldError as error:
            print(f"{name:<12} {error}")
            return None
        candidates[form] = image
    libraries = [module.path for module in find(program).modules]
    reread([*libraries, *[path for what, path in candidates.items() if what != "original"]])
    arguments = ARGUMENTS.get(name, ["--version"])
    result = measure(os.path.basename(program), candidates, arguments, options.rounds)
    base = result["original"]
    line = f"{name:<12} {len(libraries):>4} libs  {base[0]:8.2f} ms"
    for what, row in result.items():
        if what != "original":
            line += (
                f"   {what} {row[0]:7.2f} ms ({base[0] / row[0]:.2f}x, CPU {base[1] / row[1]:.2f}x)"
            )
    line += f"   faults {base[2]:.0f} -> {result['frozen'][2]:.0f}, frozen in {frozen_in:.1f} s CPU"
    if options.dirty:
        line += f", dirty {dirty(program, name, arguments)} -> {dirty(candidates['frozen'], name, arguments)} KiB"
    ratio = base[0] / result["frozen"][0]
    if name in AIMS:
        line += f"   aim {AIMS[name]}x: {'reached' if ratio >= AIMS[name] else 'MISSED'}"
    print(line, flush=True)
    for what, path in candidates.items():
        if what != "original":
            os.unlink(path)
    return ratio


def programs(options: argparse.Namespace) -> None:
    ratios = {}
    names = options.programs or [name for name in TWENTY if os.path.exists(f"/usr/bin/{name}")][:20]
    with tempfile.TemporaryDirectory(prefix="rtld-bench-", dir=options.directory) as directory:
        for name in names:
            path = name if "/" in name else f"/usr/bin/{name}"
            ratio = one(os.path.basename(name), os.path.realpath(path), directory, options)
            if ratio is not None:
                ratios[name] = ratio
    if ratios:
        mean = math.exp(sum(math.log(r) for r in ratios.values()) / len(ratios))
        slowest = min(ratios, key=lambda name: ratios[name])
        print(
            f"geometric mean of {len(ratios)} programs: {mean:.2f}x; least: {slowest} {ratios[slowest]:.2f}x"
        )


def synthetic(options: argparse.Namespace) -> None:
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from rtld.frozen import freeze
    from synthetic import synthetic as closure

    program = closure()
    with tempfile.TemporaryDirectory(prefix="rtld-bench-", dir=options.directory) as directory:
        image = os.path.join(directory, "synthetic")
        begin, memory = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        report = freeze(program, image)
        seconds = time.process_time() - begin
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        result = measure(
            "synthetic", {"original": program, "frozen": image}, [], max(options.rounds // 5, 3)
        )
    ratio = result["original"][0] / result["frozen"][0]
    print(
        f"synthetic, 1000 libraries of 1000 symbols: {result['original'][0]:.0f} ms -> {result['frozen'][0]:.2f} ms, {ratio:.0f}x"
    )
    print(
        f"frozen in {seconds:.1f} s CPU; peak memory {peak >> 10} MiB (before: {memory >> 10}), image {report.size >> 20} MiB"
    )


def calls(options: argparse.Namespace) -> None:
    """A library that does little but call libc."""
    from rtld.frozen import freeze

    with tempfile.TemporaryDirectory(prefix="rtld-bench-", dir=options.directory) as directory:
        for name, text, flags in (
            ("libwork.so", LIBRARY, ["-shared", "-fPIC"]),
            ("calls", PROGRAM, ["-lwork"]),
        ):
            subprocess.run(
                ["gcc", "-O2", "-fno-builtin", "-xc", "-", "-xnone", f"-L{directory}", f"-Wl,-rpath,{directory}", "-o", f"{directory}/{name}", *flags],
                input=text.encode(), check=True,
            )  # fmt: skip
        program, image = f"{directory}/calls", f"{directory}/calls.frozen"
        freeze(program, image)
        result = measure("calls", {"original": program, "frozen": image}, [], options.rounds)
        cost = result["frozen"][0] / result["original"][0] - 1
        print(
            f"24 million calls of libc: {result['original'][0]:.1f} ms -> {result['frozen'][0]:.1f} ms, {100 * cost:+.2f} %"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--programs", nargs="+")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--forms", action="store_true", help="also --thin and --pie")
    parser.add_argument("--dirty", action="store_true", help="private dirty memory, by gdb")
    parser.add_argument("--synthetic", action="store_true")
    parser.add_argument("--calls", action="store_true")
    parser.add_argument("--directory", help="where images are written")
    options = parser.parse_args()
    print(f"pinned to one CPU, {pin()}, medians of {options.rounds}, load {os.getloadavg()[0]:.1f}")
    if options.synthetic:
        synthetic(options)
    elif options.calls:
        calls(options)
    else:
        programs(options)


if __name__ == "__main__":
    main()
