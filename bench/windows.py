"""Emulated Windows programs: start of a small one, cost of a call to a function of ours, beside Wine in the same run.

    python bench/windows.py [--rounds N]

"hello" is CPU time of the process, user and system, median; Wine's is that of its client process alone: the server, which
does a part of the work, runs on. A call is the CPU time of a loop of GetVersion, or of lstrlenA, less that of the same
program without a loop. Programs are compiled by mingw; both widths under rtld, the wide one under Wine.
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
#include <stdlib.h>
static volatile int sink;
int main(int argc, char **argv) {
    int n = atoi(argv[2]), i;
    if (*argv[1] == 'g') for (i = 0; i < n; i++) sink = GetVersion();
    else for (i = 0; i < n; i++) sink = lstrlenA("a string");
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
        for what, (argv, env) in list(commands.items())[:-1]:
            program = str(calls[what.split()[1]])
            count = _CALLS if what.startswith("rtld") else 300 * _CALLS
            costs = []
            for kind in ("get", "string"):
                each = []
                for _ in range(3):
                    none, all_ = (timing.run([*argv[:-1], program, kind, str(n)], env).cpu for n in (0, count))  # fmt: skip
                    each.append((all_ - none) / count * 1e6)
                costs.append(statistics.median(each))
            print(f"call   {what:15} {costs[0]:8.3f} us CPU, with a string {costs[1]:8.3f} us")
        if "wine x86_64" in commands:
            subprocess.run(["/usr/lib/wine/wineserver", "-k"], env=wine_env, check=False)


if __name__ == "__main__":
    main()
