"""A program with many libraries, written without a compiler: 1000 libraries that define 1000 symbols each.

    python bench/synthetic.py [--libraries N] [--symbols N] [DIRECTORY]

Every library refers to as many symbols as it defines, spread evenly over all libraries, half of them through JUMP_SLOT
and half through GLOB_DAT. The files are ordinary ELF: ld.so loads and runs the program, which exits with status 0.
Written once, below the temporary directory, and used again.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "tests"))

from elfwrite import EXIT, Names, no_names, write

VERSION = 2  # of what is written: part of the directory's name


def names_of(library: NDArray[np.int64], symbol: NDArray[np.int64]) -> Names:
    """``library_0007_function_0123``: names that begin alike, as those of one C++ namespace do."""
    prefix = np.frombuffer(b"library_0000_function_0000", np.uint8)
    result = np.tile(prefix, (len(library), 1))
    for at, value in ((8, library), (22, symbol)):
        for digit in range(4):
            result[:, at + digit] = 48 + value // 10 ** (3 - digit) % 10
    return result


def write_closure(directory: str, libraries: int, symbols: int) -> str:
    """All files; returns the program's path."""
    random = np.random.default_rng(1)
    everything = libraries * symbols
    file_of = [f"libsynthetic{number:04}.so" for number in range(libraries)]
    for number in range(libraries):
        own = np.arange(symbols)
        chosen = random.choice(everything, symbols, replace=False) if symbols else own
        # Some dependencies, so that there is something to sort; never a cycle.
        needed = [file_of[i] for i in (number + 1, number + 10) if i < libraries]
        write(
            os.path.join(directory, file_of[number]),
            names_of(np.full(symbols, number), own),
            names_of(chosen // symbols, chosen % symbols),
            [*needed, "libc.so.6"],
        )
    program = os.path.join(directory, "synthetic")
    none = no_names(26)
    write(program, none, none, [*file_of, "libc.so.6"], code=EXIT, program=True, runpath="$ORIGIN")
    return program


def synthetic(libraries: int = 1000, symbols: int = 1000, directory: str | None = None) -> str:
    """The program's path; its files are written when they are not there yet."""
    root = directory or os.path.join(tempfile.gettempdir(), f"rtld-bench-{os.getuid()}")
    place = os.path.join(root, f"synthetic-{libraries}x{symbols}-{VERSION}")
    program = os.path.join(place, "synthetic")
    if not os.path.exists(program):
        os.makedirs(place, mode=0o700, exist_ok=True)
        write_closure(place, libraries, symbols)
    return program


def exit_early(directory: str | None = None) -> str:
    """A library to preload: the process ends before its first initialiser, with status 0."""
    root = directory or os.path.join(tempfile.gettempdir(), f"rtld-bench-{os.getuid()}")
    path = os.path.join(root, f"exit-early-{VERSION}.so")
    if not os.path.exists(path):
        os.makedirs(root, mode=0o700, exist_ok=True)
        write(path, no_names(), no_names(), [], code=EXIT, init=True, initfirst=True)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--libraries", type=int, default=1000)
    parser.add_argument("--symbols", type=int, default=1000)
    parser.add_argument("directory", nargs="?")
    options = parser.parse_args()
    print(synthetic(options.libraries, options.symbols, options.directory))


if __name__ == "__main__":
    main()
