"""Real pieces of work, natively and under ``rtld run``: is everything the same?

    python bench/run_work.py [--slow] [--twice] [--with OPTIONS] [--show] [--json FILE] [PIECE ...]

Each script of tests/work/data is done natively and then with every program under test run by rtld, in fresh
directories; stdout, stderr, exit status and produced files are compared. PIECE is a name or a pattern (``c_*``).
--slow includes the desktop programs and other long ones, --twice compares two native runs instead: what differs there
says nothing about rtld. --with says which options of rtld run to try instead of the piece's own. --show prints what the native run prints. Exit status 1 if anything differs.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "tests"))

from timing import machine
from work.harness import Bench, Piece, differences, pieces


def do(piece: Piece, *, twice: bool, show: bool, given: str | None) -> list[dict[str, object]]:
    """One row for each set of options."""
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(prefix="rtld-work-", ignore_cleanup_errors=True) as scratch:
        bench = Bench(piece, Path(scratch))
        bench.prepare()
        native = bench.native()
        if show:
            print(native.stdout, native.stderr, *native.files.items(), sep="\n")
        chosen = piece.options if given is None else (given,)
        for options in chosen[:1] if twice else chosen:
            ours = bench.native() if twice else bench.under(options)
            rows.append(
                {
                    "piece": piece.name,
                    "title": piece.title,
                    "options": options,
                    "native_s": round(native.seconds, 2),
                    "rtld_s": round(ours.seconds, 2),
                    "status": native.status,
                    "differences": differences(native, ours),
                }
            )
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", default=["*"], metavar="PIECE")
    parser.add_argument("--slow", action="store_true")
    parser.add_argument("--twice", action="store_true")
    parser.add_argument("--show", action="store_true")
    parser.add_argument("--with", dest="given", metavar="OPTIONS")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_intermixed_args()
    chosen = [p for p in pieces() if any(fnmatch.fnmatch(p.name, w) for w in options.what)]
    rows: list[dict[str, object]] = []
    skipped = []
    print(f"{'piece':28}{'options':20}{'native':>8}{'rtld':>8}  verdict")
    for piece in chosen:
        if piece.slow and not options.slow and options.what == ["*"]:
            skipped.append(f"{piece.name} (slow)")
            continue
        if missing := piece.missing():
            skipped.append(f"{piece.name} (no {' '.join(missing)})")
            continue
        for row in do(piece, twice=options.twice, show=options.show, given=options.given):
            rows.append(row)
            told = row["differences"]
            assert isinstance(told, list)
            verdict = "different" if told else "identical"
            print(
                f"{row['piece']:28}{row['options']:20}{row['native_s']:8}{row['rtld_s']:8}  {verdict}"
            )
            for line in told:
                print(f"    {line}")
            sys.stdout.flush()
    bad = {str(row["piece"]) for row in rows if row["differences"]}
    every = {str(row["piece"]) for row in rows}
    print(
        f"{len(every)} pieces in {len(rows)} runs: {len(every) - len(bad)} identical, {len(bad)} different"
    )
    if skipped:
        print(f"skipped: {', '.join(skipped)}")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as stream:
            json.dump({"machine": machine(), "runs": rows, "skipped": skipped}, stream, indent=1)
            stream.write("\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
