"""Do all programs behave the same when they are frozen?

    PYTHONPATH=src python bench/freeze_all.py [--thin] [--pie] [DIR ...]

Every dynamic program of /usr/bin (or DIR) is frozen and run with --version beside the original: exit status, standard output
and standard error are compared where two runs of the original agree. The image has the original's name, in a directory
of its own. Programs that are refused are counted by reason.
"""

from __future__ import annotations

import argparse
import collections
import os
import subprocess
import sys
import tempfile

from rtld.elf.file import ElfFile
from rtld.errors import RtldError
from rtld.frozen import freeze

SECONDS = 10
#: Of these the words of the reason differ from program to program.
_SHORT = 60


def programs(directories: list[str]) -> list[str]:
    """Dynamic programs, each file once."""
    found = {}
    for directory in directories:
        for name in sorted(os.listdir(directory)):
            path = os.path.join(directory, name)
            try:
                if not os.path.isfile(path) or not os.access(path, os.X_OK):
                    continue
                with open(path, "rb") as stream:
                    if stream.read(4) != b"\x7fELF":
                        continue
                file = ElfFile(path)
                if file.interp is not None and file.dynamic is not None:
                    found.setdefault(os.path.realpath(path), path)
            except (OSError, RtldError):
                continue
    return sorted(found.values())


def run(executable: str, name: str, place: str) -> tuple[object, ...]:
    """(status, stdout, stderr) of --version."""
    env = {"PATH": "/usr/bin:/bin", "HOME": place, "LC_ALL": "C", "DISPLAY": ""}
    try:
        done = subprocess.run(
            [name, "--version"], executable=executable, cwd=place, env=env, stdin=subprocess.DEVNULL,
            capture_output=True, timeout=SECONDS, check=False, start_new_session=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return ("timeout",)
    return done.returncode, done.stdout, done.stderr


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--thin", action="store_true")
    parser.add_argument("--pie", action="store_true")
    parser.add_argument("directories", nargs="*", default=["/usr/bin"])
    options = parser.parse_args()
    counts: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory(prefix="rtld-freeze-all-") as directory:
        work = os.path.join(directory, "work")
        os.mkdir(work)
        for path in programs(options.directories):
            name = os.path.basename(path)
            image = os.path.join(directory, name)
            try:
                freeze(path, image, thin=options.thin, pie=options.pie)
            except RtldError as error:
                counts["refused: " + str(error).partition(": ")[2][:_SHORT]] += 1
                continue
            one, two = run(path, path, work), run(path, path, work)
            if one != two or one == ("timeout",):
                counts["the original differs from itself, or does not end"] += 1
            elif run(image, path, work) == one:
                counts["same"] += 1
            else:
                counts["different"] += 1
                got = run(image, path, work)
                print(f"different: {path}\n  {one}\n  {got}"[:1500], flush=True)
            os.unlink(image)
    for what, count in counts.most_common():
        print(f"{count:6}  {what}")
    sys.exit(1 if counts["different"] else 0)


if __name__ == "__main__":
    main()
