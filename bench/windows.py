"""Emulated Windows programs: start of a small one, cost of a call to a function of ours, beside Wine in the same run.

    python bench/windows.py [--rounds N]

"hello" is CPU time of the process, user and system, median; Wine's is that of its client process alone: the server, which
does a part of the work, runs on. A call is what a loop of GetLastError takes in the program, less an empty loop; "string" is
lstrlenA. Programs are compiled by mingw; both widths under rtld, the wide one under Wine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import timing

ROOT = Path(__file__).resolve().parent.parent
HELLO = '#include <stdio.h>\nint main(void) { return printf("hello\\n") < 0; }'
CALLS = r"""
#include <windows.h>
#include <stdio.h>
static volatile int sink;
static double now(void) {
    LARGE_INTEGER a, f;
    QueryPerformanceCounter(&a);
    QueryPerformanceFrequency(&f);
    return (double)a.QuadPart / f.QuadPart;
}
int main(int argc, char **argv) {
    int n = atoi(argv[1]), i;
    double a = now(), b, c, d;
    for (i = 0; i < n; i++) sink = i;
    b = now();
    for (i = 0; i < n; i++) sink = GetLastError();
    c = now();
    for (i = 0; i < n; i++) sink = lstrlenA("a string");
    d = now();
    printf("%.3f %.3f\n", (c - b - (b - a)) / n * 1e6, (d - c - (b - a)) / n * 1e6);
    return 0;
}
"""
CC = {"x86_64": "x86_64-w64-mingw32-gcc", "i386": "i686-w64-mingw32-gcc"}
_CALLS = 30_000


def compiled(place: Path, name: str, text: str) -> dict[str, Path]:
    """CPU -> program."""
    source = place / f"{name}.c"
    source.write_text(text)
    result = {}
    for arch, cc in CC.items():
        if shutil.which(cc):
            result[arch] = place / f"{name}-{arch}.exe"
            subprocess.run([cc, "-O1", "-include", "stdlib.h", str(source), "-o", str(result[arch])], check=True)  # fmt: skip
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    rtld = [sys.executable, "-m", "rtld", "run"]
    ours = timing.environment(PYTHONPATH=str(ROOT / "src"))
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        hello, calls = compiled(place, "hello", HELLO), compiled(place, "calls", CALLS)
        wine_env = timing.environment(WINEPREFIX=str(place / "prefix"), WINEDEBUG="-all", HOME=name)
        commands = {f"rtld {arch}": ([*rtld, str(p)], ours) for arch, p in hello.items()}
        if shutil.which("wine") and "x86_64" in hello:
            subprocess.run(["wine", "wineboot", "-i"], env=wine_env, capture_output=True, check=False)  # fmt: skip
            commands["wine x86_64"] = (["wine", str(hello["x86_64"])], wine_env)
        commands["rtld --version"] = ([sys.executable, "-m", "rtld", "--version"], ours)
        times: dict[str, list[timing.Run]] = {what: [] for what in commands}
        for _ in range(rounds + 1):
            for what, (argv, env) in commands.items():
                times[what].append(timing.run(argv, env))
        print(
            f"load {os.getloadavg()[0]:.1f}, {rounds} rounds in turn, the first of all thrown away"
        )
        for what, runs in times.items():
            cpu = statistics.median(r.cpu for r in runs[1:])
            wall = statistics.median(r.wall for r in runs[1:])
            print(f"hello  {what:15} {1000 * cpu:7.1f} ms CPU {1000 * wall:7.1f} ms")
        for arch, path in calls.items():
            outputs = [
                subprocess.run([*rtld, str(path), str(_CALLS)], env=ours, capture_output=True, text=True, check=True).stdout
                for _ in range(3)
            ]  # fmt: skip
            rows = [tuple(map(float, text.split())) for text in outputs]
            best = [min(column) for column in zip(*rows, strict=True)]
            print(f"call   rtld {arch:10} {best[0]:7.2f} us, string {best[1]:7.2f} us")
        if "wine x86_64" in commands:
            out = subprocess.run(["wine", str(calls["x86_64"]), "10000000"], env=wine_env, capture_output=True, text=True, check=True).stdout  # fmt: skip
            print(f"call   wine x86_64     {float(out.split()[0]):7.3f} us, string {float(out.split()[1]):7.3f} us")  # fmt: skip
            subprocess.run(["wineserver", "-k"], env={**wine_env, "PATH": wine_env["PATH"] + ":/usr/lib/wine"}, check=False)  # fmt: skip


if __name__ == "__main__":
    main()
