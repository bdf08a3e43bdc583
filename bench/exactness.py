"""Every dynamic program of this machine: are our modules, their order and every binding those of ld.so?

    python bench/exactness.py [--limit N] [PROGRAM or DIRECTORY ...]

Prints a line for each program that differs, and the counts. Default: /usr/bin /usr/sbin /usr/lib. ld.so is asked with
LD_TRACE_LOADED_OBJECTS, so no program is started. Exit status 1 if anything differs.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "tests"))

from exact import compare, dynamic_programs


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", default=["/usr/bin", "/usr/sbin", "/usr/lib"])
    parser.add_argument(
        "--limit", type=int, help="only every n-th program, so that about this many are compared"
    )
    options = parser.parse_args()
    programs = [p for p in options.what if not os.path.isdir(p)]
    programs += dynamic_programs(*[p for p in options.what if os.path.isdir(p)])
    if options.limit and len(programs) > options.limit:
        programs = programs[:: len(programs) // options.limit]
    compared = bindings = modules = wrong = 0
    begin = time.time()
    for number, program in enumerate(programs, 1):
        if sys.stderr.isatty():
            print(f"\r{number}/{len(programs)} {program[-60:]:60}", end="", file=sys.stderr)
        try:
            result = compare(program)
        except Exception as error:  # one bad file must not end the run
            print(f"{program}: {type(error).__name__}: {error}")
            wrong += 1
            continue
        compared += 1
        modules += result.modules
        bindings += result.bindings
        if not result.equal:
            wrong += 1
            print(f"{program}: differs")
            for text in [*result.modules_differ, *result.missing, *result.extra, *result.undefined][
                :8
            ]:
                print(f"    {text}")
    print(
        f"{compared} programs, {modules} modules, {bindings} bindings compared in {time.time() - begin:.0f} s; "
        f"{wrong} programs differ"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
