"""Feed mutants to rtld in this process and tell what happened. Started by test_fuzz.py, since a mutant may kill it.

    attempt.py WHAT FIRST COUNT PROGRESS FILE...

WHAT is ``pe`` (PeFile and its tables, and the mutant as a program), ``decode`` (ElfFile and its tables from bytes), ``link`` (the mutant is the program), ``library`` (it is a
library that a good program needs), ``command`` (rtld tree, check, ldd, link as a user calls them). Mutant ``n`` is made
of FILE number ``n % len(FILE)``. PROGRESS is a file that has the mutant's number, in case this process dies. Prints one
JSON object. Only RtldError is right; anything else, more than a second, or much memory is a failure.
"""

from __future__ import annotations

import collections
import contextlib
import io
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import tracemalloc
from collections.abc import Callable

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from mutants import Mutator

from rtld.errors import RtldError

SECONDS = 2.0  # of CPU, for one mutant
ADDRESS_SPACE = 1 << 30  # on top of what the process has when it starts
MEASURED = 32  # every 32nd mutant runs under tracemalloc
SLACK = 1 << 20  # of Python objects, whatever the size of the file


class TooSlow(BaseException):
    """The time for one mutant is over. Not an Exception, so that no handler on the way takes it."""


def _alarm(number: int, frame: object) -> None:
    raise TooSlow


def decode(data: bytes, _: str) -> None:
    """Everything there is to ask of a file, each in its own right."""
    from rtld.elf import tables
    from rtld.elf.file import ElfFile
    from rtld.elf.properties import X86_ISA_NEEDED, property_word

    file = ElfFile(data)
    wishes: list[Callable[[], object]] = [
        lambda: [
            getattr(file, name) for name in ("bits", "order", "machine", "type", "flags", "entry")
        ],
        lambda: (file.loads, file.span, file.max_align, file.is_pie, file.is_dynamic),
        lambda: file.interp,
        lambda: (file.soname, file.rpath, file.runpath),
        lambda: file.needed,
        lambda: (file.dt_flags, file.dt_flags_1),
        lambda: list(file.notes()),
        lambda: file.build_id,
        lambda: property_word(file, X86_ISA_NEEDED),
        lambda: tables.tables(file),
        lambda: tables.symbols(file).sum if len(tables.symbols(file)) else None,
        lambda: [file.string(int(n)) for n in tables.symbols(file)["st_name"][:50]],
        lambda: tables.versym(file),
        lambda: tables.chains(file),
    ]
    refused = None
    for wish in wishes:
        try:
            wish()
        except RtldError as error:
            str(error)
            refused = error
    file.close()
    if refused is not None:
        raise refused


def link(data: bytes, place: str) -> None:
    """The mutant as a program, linked and relocated."""
    import rtld

    path = os.path.join(place, "mutant")
    write(path, data)
    result = rtld.link(path, env={})
    for row in result.bindings():
        str(row)
    for problem in result.problems:
        str(problem.message)


def library(data: bytes, place: str) -> None:
    """The mutant as libfuzzed.so, needed by ``main`` in the same directory."""
    import rtld

    write(os.path.join(place, "libfuzzed.so"), data)
    result = rtld.link(os.path.join(place, "main"), env={"LD_LIBRARY_PATH": place})
    for row in result.bindings():
        str(row)


def command(data: bytes, place: str) -> str:
    """As a user would: exit status 0, 1 or 3, something on stderr for 3, no traceback. The statuses that came."""
    from rtld.cli import run as rtld

    path = os.path.join(place, "mutant")
    write(path, data)
    statuses = set()
    for words in (["tree"], ["ldd"], ["check"], ["link"], ["link", "--json"]):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = rtld([*words, path])
        if status not in (0, 1, 3) or "Traceback" in err.getvalue():
            raise AssertionError(f"rtld {words[0]}: status {status}, {err.getvalue()[-500:]}")
        if status == 3 and not err.getvalue():
            raise AssertionError(f"rtld {words[0]}: status 3 and no word about it")
        statuses.add(status)
    return "status " + " ".join(map(str, sorted(statuses)))


def freeze(data: bytes, place: str) -> None:
    """The mutant as a library of ``main``, which is frozen: exports, unwind tables, start files, note."""
    from rtld.frozen import freeze as frozen
    from rtld.process.link import find

    write(os.path.join(place, "libfuzzed.so"), data)
    found = find(os.path.join(place, "main"), env={"LD_LIBRARY_PATH": place})
    frozen(found, os.path.join(place, "image"), pie=len(data) % 2 == 0)


def image(data: bytes, place: str) -> None:
    """The mutant as an image that is checked."""
    from rtld.frozen.check import check_image

    path = os.path.join(place, "mutant")
    write(path, data)
    checked = check_image(path)
    str(checked.as_json())


def write(path: str, data: bytes) -> None:
    """A new file each time: an old map of the same path must not change under somebody's feet."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    with open(path, "wb") as file:
        file.write(data)


def attempt(
    what: Callable[[bytes, str], str | None], data: bytes, place: str, measured: bool, allowed: int
) -> tuple[str, str]:
    """(outcome, details): "fine" or statuses, the name of an RtldError, or "failed" and what went wrong."""
    if measured:
        tracemalloc.start()
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        outcome, details = what(data, place) or "fine", ""
    except RtldError as error:
        outcome, details = type(error).__name__, ""
        if not str(error):
            outcome, details = "failed", f"{outcome} without a word"
    except TooSlow:
        outcome, details = "failed", "too slow: " + traceback.format_exc(limit=-4)
    except BaseException as error:
        outcome, details = "failed", f"{error!r}\n{traceback.format_exc(limit=-6)}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        peak = 0
        if measured:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
    if outcome != "failed" and peak > allowed:
        outcome, details = "failed", f"{peak} bytes of memory for a file of {len(data)}"
    return outcome, details


def pe(data: bytes, place: str) -> str:
    """Every table of a PE file, strict and tolerant; then the mutant as a program that needs good DLLs beside it."""
    from rtld.pe.basereloc import base_relocs
    from rtld.pe.exports import exports
    from rtld.pe.file import PeFile
    from rtld.pe.image import map_image, move
    from rtld.pe.imports import bound_imports, delay_imports, imports
    from rtld.pe.loadconfig import handlers_of, load_config
    from rtld.pe.resources import manifest
    from rtld.pe.symbols import symbol_before
    from rtld.pe.tls import tls_directory
    from rtld.pe.unwindtable import faults, unwind_table
    from rtld.process.link_pe import link

    refused: list[RtldError] = []

    def attempt_all(strict: bool) -> None:
        file = PeFile(data, strict=strict)
        wishes: list[Callable[[], object]] = [
            lambda: exports(file).names(),
            lambda: [
                exports(file).forwarder(i) for i in range(min(50, len(exports(file).functions)))
            ],
            lambda: [exports(file).by_name(n) for n in (b"", b"alpha_add", b"zzzz")],
            lambda: [list(imports(file).names(d)) for d in imports(file).descriptors],
            lambda: [list(delay_imports(file).names(d)) for d in delay_imports(file).descriptors],
            lambda: bound_imports(file),
            lambda: base_relocs(file).counts(),
            lambda: tls_directory(file),
            lambda: load_config(file),
            lambda: handlers_of(file),
            lambda: list(map(str, faults(file))),
            lambda: [unwind_table(file).find(rva) for rva in (0, 0x1000, 1 << 31)],
            lambda: symbol_before(file, 0x1100),
            lambda: manifest(file),
            lambda: move(file, map_image(file), 0x12340000) if file.span < 1 << 22 else None,
        ]
        for wish in wishes:
            try:
                wish()
            except RtldError as error:
                refused.append(error)
                str(error)

    for strict in (True, False):
        try:
            attempt_all(strict)
        except RtldError as error:
            refused.append(error)
    path = os.path.join(place, "mutant.exe")
    write(path, data)
    try:
        result = link(path, windows_dir=place)
        for binding in result.bindings():
            str(binding)
        for problem in result.problems:
            str(problem.message)
    except RtldError as error:
        refused.append(error)
    if refused:
        raise refused[0]
    return "fine"


WHAT: dict[str, Callable[[bytes, str], str | None]] = {
    "decode": decode,
    "link": link,
    "library": library,
    "command": command,
    "freeze": freeze,
    "image": image,
    "pe": pe,
}


def run(name: str, first: int, count: int, progress: str, paths: list[str]) -> dict[str, object]:
    """All attempts of this process."""
    what = WHAT[name]
    mutators = []
    for path in paths:
        with open(path, "rb") as file:
            mutators.append(Mutator(file.read()))
    outcomes: collections.Counter[str] = collections.Counter()
    failures: list[dict[str, object]] = []
    with (
        tempfile.TemporaryDirectory(prefix="rtld-fuzz-") as place,
        open(progress, "r+b", buffering=0) as mark,
    ):
        for path in paths:
            shutil.copytree(os.path.dirname(path), place, dirs_exist_ok=True)
        allowances = []
        for (
            mutator
        ) in mutators:  # what the good file takes, libraries and all; also warms up imports
            with contextlib.suppress(RtldError):
                what(mutator.data, place)
            tracemalloc.start()
            with contextlib.suppress(RtldError):
                what(mutator.data, place)
            allowances.append(tracemalloc.get_traced_memory()[1] + 4 * len(mutator.data) + SLACK)
            tracemalloc.stop()
        limit_memory()
        for number in range(first, first + count):
            which = number % len(mutators)
            os.pwrite(mark.fileno(), b"%-20d" % number, 0)
            data = mutators[which].mutant(number)
            measured = number // len(mutators) % MEASURED == 0
            outcome, details = attempt(what, data, place, measured, allowances[which])
            outcomes[outcome] += 1
            if outcome == "failed" and len(failures) < 20:
                failures.append({"number": number, "file": paths[which], "details": details})
    return {"outcomes": outcomes, "failures": failures}


def limit_memory() -> None:
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[0])
    limit = pages * resource.getpagesize() + ADDRESS_SPACE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    signal.signal(signal.SIGPROF, _alarm)
    print(
        json.dumps(run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5:]))
    )
