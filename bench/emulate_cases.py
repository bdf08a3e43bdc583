"""Every case of tests/cases on every emulated CPU: standard output and exit status, compared with qemu-user's.

python bench/emulate_cases.py [--interp] [ARCH...]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import casefile  # noqa: E402
import toolchain  # noqa: E402

CPUS = ("aarch64", "arm", "i386", "riscv64", "s390x")


def main() -> int:
    """Print each case that differs, then the share that does not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("arch", nargs="*")
    parser.add_argument("--interp", action="store_true")
    options = parser.parse_args()
    same = total = 0
    for case in casefile.all_cases():
        for name in case.targets:
            want = toolchain.TARGETS[name]
            if (
                want.arch not in (options.arch or CPUS)
                or want.libc != "glibc"
                or "norun" in case.tags
            ):
                continue
            if toolchain.missing(want, cxx=case.cxx):
                continue
            total += 1
            difference = compare(case, want, options.interp)
            same += not difference
            if difference:
                print(f"{case.name} {name}: {difference}", flush=True)
    print(f"{same} of {total} identical ({100 * same / max(total, 1):.1f} %)")
    return 0 if same == total else 1


def compare(case: casefile.Case, want: toolchain.Target, interp: bool) -> str:
    """What is different; "" if nothing."""
    place = case.build(want)
    program = str(place / "main")
    env = toolchain.environment(want, case.environment(place))
    theirs = toolchain.run(want, [program, *case.args], case.environment(place), cwd=place)
    command = [sys.executable, "-m", "rtld", "run", *(["--interp"] if interp else [])]
    command += [
        f"--sysroot=/usr/{want.triplet}",
        f"--bind=/usr/{want.triplet}:/usr/{want.triplet}:ro",
    ]
    command += [f"--env={key}={value}" for key, value in env.items()]
    try:
        ours = subprocess.run(
            [*command, "--", program, *case.args], cwd=place, stdin=subprocess.DEVNULL, capture_output=True,
            encoding="utf-8", errors="backslashreplace", timeout=60, check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return "does not end"
    if (ours.stdout, ours.returncode) == (theirs.stdout, theirs.returncode):
        return ""
    last = (ours.stderr.strip().splitlines() or [""])[-1]
    return f"status {ours.returncode}, expected {theirs.returncode}; {last[:200]}"


if __name__ == "__main__":
    raise SystemExit(main())
