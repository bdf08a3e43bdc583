"""Every ELF program of a directory, run with --version natively and under ``rtld run``: are they the same?

    python bench/run_all.py [--dir /usr/bin] [--arguments "--version"] [--only NAME ...] [--limit N] [--json FILE]

Standard output, standard error and exit status are compared. A program whose own runs differ from one another (it tells
the time, a process id, an address) is left out of the count. One program at a time, with a time limit, no terminal, no
display, and a home directory of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LIMIT = 20.0  # seconds for one run


def programs(directory: str, only: list[str]) -> list[str]:
    """Regular executable ELF files; a file with several names once."""
    found: dict[tuple[int, int], str] = {}
    for name in sorted(os.listdir(directory)):
        path = os.path.join(directory, name)
        if only and name not in only:
            continue
        try:
            status = os.stat(path)
            if not os.path.isfile(path) or not os.access(path, os.X_OK):
                continue
            with open(path, "rb") as file:
                if file.read(4) != b"\x7fELF":
                    continue
        except OSError:
            continue
        found.setdefault((status.st_dev, status.st_ino), path)
    return sorted(found.values())


def run(command: list[str], place: str) -> tuple[bytes, bytes, int | str]:
    """(stdout, stderr, exit status or "timeout"). What is left of its session is killed."""
    keep = ("PATH", "LANG", "LC_ALL", "PYTHONPATH")
    env = {name: os.environ[name] for name in keep if name in os.environ}
    env |= {"HOME": place, "TMPDIR": place, "TERM": "dumb", "XDG_RUNTIME_DIR": place}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=place, env=env,
            start_new_session=True,
        )  # fmt: skip
        status: int | str
        try:
            status = child.wait(LIMIT)
        except subprocess.TimeoutExpired:
            status = "timeout"
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        child.wait()
        out.seek(0)
        err.seek(0)
        return out.read(), err.read(), status


def privileged(path: str) -> bool:
    """Set-user-ID or set-group-ID: only the kernel can start it with these rights, and rtld says so."""
    return bool(os.stat(path).st_mode & (stat.S_ISUID | stat.S_ISGID))


def compare(path: str, arguments: list[str], launcher: list[str]) -> tuple[str, dict[str, object]]:
    """("same" | "different" | "refused" | "not deterministic", details)."""
    native = []
    for _ in range(2):
        with tempfile.TemporaryDirectory() as place:
            native.append((*run([path, *arguments], place), place))
    first, second = (
        [part.replace(n[3].encode(), b"HOME") for part in n[:2]] + [n[2]] for n in native
    )
    if first != second or first[2] == "timeout":
        return "not deterministic", {}
    with tempfile.TemporaryDirectory() as place:
        begin = time.perf_counter()
        out, err, status = run([*launcher, path, *arguments], place)
        seconds = time.perf_counter() - begin
    linked = [out.replace(place.encode(), b"HOME"), err.replace(place.encode(), b"HOME"), status]
    if linked == first:
        return "same", {"seconds": seconds}
    if linked[2] == 126 and privileged(path):
        return "refused", {}
    names = ("stdout", "stderr", "status")
    differ = [name for name, a, b in zip(names, first, linked, strict=True) if a != b]
    detail: dict[str, object] = {"differs in": differ, "status": [first[2], linked[2]]}
    for name, a, b in zip(names[:2], first, linked, strict=False):
        if a != b:
            detail[name] = [
                a[-600:].decode("utf-8", "replace"),
                b[-600:].decode("utf-8", "replace"),
            ]
    return "different", detail


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dir", default="/usr/bin")
    parser.add_argument("--arguments", default="--version")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--limit", type=int, default=0)
    parser.add_argument("--option", action="append", default=[], help="of rtld run, such as --lazy")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    launcher = [sys.executable, "-m", "rtld", "run", *options.option]
    chosen = programs(options.dir, options.only)
    if options.limit:
        chosen = chosen[:: max(1, len(chosen) // options.limit)]
    counts = {"same": 0, "different": 0, "refused": 0, "not deterministic": 0}
    different = {}
    for path in chosen:
        verdict, detail = compare(path, shlex.split(options.arguments), launcher)
        counts[verdict] += 1
        if verdict == "different":
            different[path] = detail
            print(
                f"different: {path}: {detail['differs in']}, status {detail['status']}", flush=True
            )
            if options.verbose:
                for name in ("stdout", "stderr"):
                    for label, text in zip(
                        ("native", "linked"), detail.get(name, ()), strict=False
                    ):  # type: ignore[arg-type]
                        print(f"  {name} {label}: {text[-300:]!r}")
    judged = counts["same"] + counts["different"]
    share = 100 * counts["same"] / judged if judged else 0.0
    rest = ", ".join(f"{number} {verdict}" for verdict, number in counts.items())
    print(
        f"{len(chosen)} programs: {rest}; {share:.2f} % of those that can be compared are the same"
    )
    if options.json:
        Path(options.json).write_text(
            json.dumps({"counts": counts, "different": different}, indent=1)
        )
    return 0 if not different else 1


if __name__ == "__main__":
    sys.exit(main())
