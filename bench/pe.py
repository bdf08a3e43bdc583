"""Windows files: decode and bind all DLLs of Wine, beside lief and pefile in the same run; sweep over wheels.

    bench/pe.py                      the DLLs of Wine that are installed
    bench/pe.py --rounds 5 DIR       those of another directory
    bench/pe.py --wheels DIR         every PE of the wheels in DIR: tables equal to pefile's and LIEF's; whole-wheel check

`pip download --platform win_amd64 --python-version 3.11 --only-binary=:all: --no-deps NAME` fetches a wheel. Times are
CPU seconds, medians. rtld: headers, imports, exports, base relocations as columns, and every import bound; lief and
pefile: the same tables as objects, and nothing bound.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from rtld.errors import RtldError
from rtld.pe.basereloc import base_relocs
from rtld.pe.exports import exports
from rtld.pe.file import PeFile
from rtld.pe.imports import imports
from rtld.process.link_pe import PeLink, link_all

WINE = "/usr/lib/x86_64-linux-gnu/wine/x86_64-windows"


def pe_files(directory: Path) -> list[Path]:
    """Files that begin with MZ."""
    found = []
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            with open(path, "rb") as file:
                if file.read(2) == b"MZ":
                    found.append(path)
    return found


def clocked(rounds: int, work: Callable[[], object]) -> float:
    """The median CPU time of so many rounds."""
    times = []
    for _ in range(rounds):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return statistics.median(times)


def rtld_all(paths: list[str], directory: str) -> PeLink:
    """Decode everything, bind everything."""
    result = link_all(paths, windows_dir=directory)
    for module in result.modules:
        base_relocs(module.file)
        exports(module.file)
    return result


def lief_all(paths: list[str]) -> None:
    import lief

    config = lief.PE.ParserConfig()
    config.parse_signature = config.parse_rsrc = False
    for path in paths:
        binary = lief.PE.parse(path, config)
        assert binary is not None


def pefile_all(paths: list[str]) -> None:
    import pefile

    names = ("IMPORT", "EXPORT", "BASERELOC")
    numbers = [pefile.DIRECTORY_ENTRY[f"IMAGE_DIRECTORY_ENTRY_{name}"] for name in names]
    for path in paths:
        binary = pefile.PE(path, fast_load=True)
        binary.parse_data_directories(directories=numbers)
        binary.close()


def speed(directory: Path, rounds: int) -> int:
    """The table. 1 when an import was not bound."""
    paths = [str(path) for path in pe_files(directory)]
    result = rtld_all(paths, str(directory))
    tables = [m.table for m in result.modules if m.table is not None]
    total = sum(len(t.imports) for t in tables)
    bound = sum(sum(d >= 0 for d in t.definer) for t in tables)
    size = sum(os.path.getsize(p) for p in paths)
    print(f"{len(paths)} files, {size / 1e6:.0f} MB; {bound} of {total} imports bound")
    ours = clocked(rounds, lambda: rtld_all(paths, str(directory)))
    print(f"rtld    {ours:7.3f} s   decode and bind")
    rivals: list[tuple[str, Callable[[list[str]], None]]] = [("lief", lief_all), ("pefile", pefile_all)]  # fmt: skip
    for name, work in rivals:
        try:
            theirs = clocked(max(1, rounds // 3), lambda work=work: work(paths))  # type: ignore[misc]
        except ImportError:
            print(f"{name:<7} not installed")
            continue
        print(f"{name:<7} {theirs:7.3f} s   decode only: {theirs / ours:.1f} times rtld")
    return 0 if bound == total else 1


# -- wheels ---------------------------------------------------------------------------------------


def ours_of(file: PeFile) -> tuple[set[tuple[int, bytes]], list[tuple[str, bytes | int]]]:
    """({(ordinal, name)}, [(DLL, name or ordinal)])."""
    table = exports(file)
    named = {
        (index + table.ordinal_base, name)
        for index, name in zip(table.ordinals.tolist(), table.names(), strict=True)
        if table.functions[index]
    }
    columns = imports(file)
    rows = [(d.dll, name) for d in columns.descriptors for name in columns.names(d)]
    return named, rows


def differences(path: Path) -> tuple[int, int, list[str]]:
    """(exports, imports, what differs from pefile and LIEF). Where pefile caps its tables, only what it has is compared."""
    import lief
    import pefile

    pefile.MAX_IMPORT_SYMBOLS = pefile.MAX_SYMBOL_EXPORT_COUNT = 1 << 20
    said = []
    named, rows = ours_of(PeFile(str(path)))
    binary = pefile.PE(str(path), fast_load=True)
    binary.parse_data_directories(directories=[0, 1])
    directory = getattr(binary, "DIRECTORY_ENTRY_EXPORT", None)
    theirs = {(s.ordinal, s.name) for s in directory.symbols if s.name and s.address} if directory else set()  # fmt: skip
    cut = {(ordinal, name[:512]) for ordinal, name in named}  # pefile cuts longer names off
    if theirs == cut and cut != named:
        said.append(f"note: exports: pefile cuts {len(named - theirs)} names at 512 bytes")
    elif theirs - cut or (theirs != cut and len(theirs) < 8192):
        said.append(f"exports: pefile has {len(theirs)}, we {len(named)}")
    elif theirs != cut:
        said.append(f"note: exports: pefile stops at {len(theirs)}, we have {len(named)}")
    found = [(d.dll.decode(), i.ordinal if i.import_by_ordinal else i.name) for d in getattr(binary, "DIRECTORY_ENTRY_IMPORT", []) for i in d.imports]  # fmt: skip
    if found != rows:
        said.append(f"imports: pefile has {len(found)}, we {len(rows)}")
    other = lief.PE.parse(str(path))
    assert other is not None
    listed = [(i.name, e.ordinal if e.is_ordinal else e.name) for i in other.imports for e in i.entries]  # fmt: skip
    mine = [(d, n.decode("latin-1") if isinstance(n, bytes) else n) for d, n in rows]
    if sorted(map(str, listed)) != sorted(map(str, mine)):
        said.append(f"imports: lief has {len(listed)}, we {len(mine)}")
    if other.has_exports:
        names = {e.name for e in other.get_export().entries if e.name}
        if names != {n.decode("utf-8", "replace") for _, n in named}:
            said.append(f"exports: lief has {len(names)}, we {len(named)}")
    return len(named), len(rows), said


def wheels(directory: Path) -> int:
    """Every PE of every wheel; then each wheel as a whole against Wine's DLLs."""
    status = files = 0
    exported = imported = 0
    for wheel in sorted(directory.glob("*.whl")):
        with tempfile.TemporaryDirectory(prefix="rtld-wheel-") as place:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(place)
            paths = pe_files(Path(place))
            for path in paths:
                with open(path, "rb") as file:
                    head = file.read(64)
                if len(head) < 64:
                    continue
                try:
                    e, i, said = differences(path)
                except RtldError as error:
                    e, i, said = 0, 0, [str(error)]
                files += 1
                exported += e
                imported += i
                for line in said:
                    print(f"{wheel.name}: {path.name}: {line}")
                    status |= not line.startswith("note")
            whole(wheel.name, Path(place), paths)
    print(f"{files} files, {exported} named exports, {imported} imports")
    return status


def whole(name: str, place: Path, paths: list[Path]) -> None:
    """Which imports of a wheel are bound inside it and to the system, and which are for others."""
    machine = 0x8664
    same = [p for p in paths if PeFile(str(p), strict=False).machine == machine]
    if not same:
        return
    folders = sorted({str(p.parent) for p in same})
    result = link_all([str(p) for p in same], windows_dir=WINE, dll_path=folders)
    own = [m for m in result.modules if m.path.startswith(str(place))]
    total = bound = 0
    for module in own:
        if module.table is not None:
            total += len(module.table.imports)
            bound += sum(d >= 0 for d in module.table.definer)
    lacking = sorted({p.subject for p in result.problems if p.kind == "library"})
    symbols = sum(p.kind == "symbol" for p in result.problems)
    print(f"{name}: {len(own)} files, {bound} of {total} imports bound; {symbols} symbols missing; not there: {', '.join(lacking) or 'nothing'}")  # fmt: skip


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)  # fmt: skip
    parser.add_argument("directory", nargs="?", default=WINE, type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--wheels", type=Path)
    options = parser.parse_args()
    if options.wheels is not None:
        return wheels(options.wheels)
    return speed(Path(options.directory), options.rounds)


if __name__ == "__main__":
    sys.exit(main())
