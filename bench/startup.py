"""How long do the commands take that people run often?

    python bench/startup.py [-n 15] [--json FILE]

CPU and wall medians of `rtld --version`, `rtld tree` and `rtld ldd` of a large program and `rtld run /bin/true`, next to
ldd, libtree and /bin/true itself, in turn. rtld is the one installed beside this Python, else `python -m rtld`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
from collections.abc import Mapping, Sequence

from timing import Run, environment, machine, run

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "src")


def rtld() -> tuple[list[str], dict[str, str]]:
    """How to start rtld, and the environment for it."""
    script = os.path.join(os.path.dirname(sys.executable), "rtld")
    if os.access(script, os.X_OK):
        return [script], environment()
    return [sys.executable, "-m", "rtld"], environment(PYTHONPATH=SOURCE)


def rows(large: str) -> list[tuple[str, list[str], Mapping[str, str]]]:
    """(label, command, environment); what is not installed is left out."""
    command, env = rtld()
    plain = environment()
    found: list[tuple[str, list[str], Mapping[str, str]]] = [
        ("python -c pass", [sys.executable, "-c", "pass"], plain),
        ("rtld --version", [*command, "--version"], env),
        (f"rtld tree {large}", [*command, "tree", large], env),
        (f"rtld ldd {large}", [*command, "ldd", large], env),
        (f"ldd {large}", ["ldd", large], plain),
        (f"libtree {large}", ["libtree", large], plain),
        (f"libtree -vvv {large}", ["libtree", "-vvv", large], plain),
        ("/bin/true", ["/bin/true"], plain),
        ("rtld run /bin/true", [*command, "run", "/bin/true"], env),
    ]
    return [row for row in found if shutil.which(row[1][0])]


def measure(argv: Sequence[str], env: Mapping[str, str]) -> Run | None:
    done = run(argv, env)
    return done if done.status == 0 else None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-n", type=int, default=15, help="how often each is run (default 15)")
    parser.add_argument("--json", metavar="FILE", help="write all figures, in seconds")
    options = parser.parse_args()
    large = next(p for p in map(shutil.which, ("blender", "inkscape", "gdb", "bash")) if p)
    about = machine()
    print(", ".join(f"{key} {value}" for key, value in about.items()) + "\n")
    commands = rows(large)
    results: dict[str, list[Run]] = {}
    # The first round fills caches, Python's compiled modules among them.
    for number in range(options.n + 1):
        for label, argv, env in commands:
            done = measure(argv, env)
            if done is None:
                if number == 0:
                    print(f"{label}: fails, left out")
            elif number:
                results.setdefault(label, []).append(done)
    print(f"{'command':28} {'CPU ms':>8} {'wall ms':>8} {'best':>8}")
    table = []
    for label, runs in results.items():
        row = {
            "command": label,
            "cpu": statistics.median(r.cpu for r in runs),
            "wall": statistics.median(r.wall for r in runs),
            "best": min(r.wall for r in runs),
        }
        table.append(row)
        print(
            f"{label:28} {1000 * row['cpu']:8.1f} {1000 * row['wall']:8.1f} {1000 * row['best']:8.1f}"
        )
    if options.json:
        os.makedirs(os.path.dirname(os.path.abspath(options.json)), exist_ok=True)
        with open(options.json, "w", encoding="utf-8") as stream:
            json.dump({"machine": about, "n": options.n, "commands": table}, stream, indent=1)


if __name__ == "__main__":
    main()
