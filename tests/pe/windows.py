"""Compilers for Windows, and Wine as the judge: what it prints, and what it says it has loaded, bound and called."""

from __future__ import annotations

import fcntl
import functools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import toolchain

SET = Path(__file__).parent / "set"
CC = {"x86_64": "x86_64-w64-mingw32-gcc", "i386": "i686-w64-mingw32-gcc"}
#: Debian's ``wine`` is a script that looks for an installed wine32 for these.
WINE = {"x86_64": "wine", "i386": "/usr/lib/wine/wine64"}
WINE_DLLS = Path("/usr/lib/x86_64-linux-gnu/wine/x86_64-windows")

# What each file of the set is made of: (sources, flags); libraries are named as files and come first.
# fmt: off
FILES: dict[str, list[str]] = {
    "beta.dll":  ["beta.c", "beta.def", "-shared", "-Wl,--out-implib,libbeta.a"],
    "alpha.dll": ["alpha.c", "alpha.def", "-shared", "-Wl,--out-implib,libalpha.a"],
    "gamma.dll": ["gamma.c", "-shared", "libalpha.a"],
    "delta.dll": ["delta.c", "-shared"],
    "pong.dll":  ["ring.c", "-shared", '-DNAME="pong"', "-DSELF=pong", "-DOTHER=ping", "libping.a"],
    "ping.dll":  ["ring.c", "-shared", '-DNAME="ping"', "-DSELF=ping", "-DOTHER=pong", "libpong.a"],
    "main.exe":  ["main.c", "libalpha.a", "libping.a"],
}
# fmt: on
_DEF = "LIBRARY {0}.dll\nEXPORTS\n  {0}\n"


def compiler(arch: str, require: Callable[[str], None]) -> str:
    """The mingw compiler of a CPU, or the test ends."""
    if not shutil.which(CC[arch]):
        require(CC[arch])
    return CC[arch]


def build_set(arch: str, require: Callable[[str], None], *extra: str) -> Path:
    """The directory of the compiled test set."""
    cc = compiler(arch, require)
    dlltool = cc.replace("-gcc", "-dlltool")
    texts = {path.name: path.read_text() for path in sorted(SET.iterdir())}
    steps: list[Sequence[str] | toolchain.Step] = [toolchain.Step("file", n, t) for n, t in texts.items()]  # fmt: skip
    for name in ("ping", "pong"):
        steps.append(toolchain.Step("file", f"{name}.def", _DEF.format(name)))
        steps.append([dlltool, "-d", f"{name}.def", "-l", f"lib{name}.a"])
    flags = ["-O1", "-static-libgcc", "-Wl,--no-insert-timestamp", *extra]
    for output, sources in FILES.items():
        steps.append([cc, *[s for s in sources if not s.endswith(".a")], *flags, "-o", output,
                      *[s for s in sources if s.endswith(".a")]])  # fmt: skip
    key = [toolchain.version_of(cc), *texts, *texts.values(), repr(FILES), *flags]
    return toolchain.compile_all(key, steps)


def build(source: str, output: str, require: Callable[[str], None], *flags: str, arch: str = "x86_64") -> Path:  # fmt: skip
    """One file from C (or C++, with -xc++) text."""
    cc = compiler(arch, require)
    if "-xc++" in flags:
        cc = cc.replace("-gcc", "-g++")
        if not shutil.which(cc):
            require(cc)
    libraries = [flag for flag in flags if flag.startswith("-l")]
    argv = [cc, *[f for f in flags if f not in libraries], "source.c", "-o", output, *libraries]
    step = toolchain.Step("file", "source.c", source)
    return toolchain.compile_all([source, toolchain.version_of(cc), *argv], [step, argv]) / output


# -- Wine -----------------------------------------------------------------------------------------


class Judged(NamedTuple):
    """What Wine did with a program."""

    status: int
    out: bytes
    err: str

    def attached(self, *, static: bool) -> list[str]:
        """Base names in the order of DLL_PROCESS_ATTACH, at start or, when not ``static``, for LoadLibrary."""
        rows = re.findall(r'MODULE_InitDLL \([0-9A-F]+ L"([^"]+)",PROCESS_ATTACH,([0-9A-F]+)\) - CALL', self.err)  # fmt: skip
        return [name.lower() for name, reserved in rows if (int(reserved, 16) != 0) == static]

    @property
    def bases(self) -> dict[str, int]:
        """Base name -> where it was loaded."""
        rows = re.findall(r'Loaded L"[^"]*?([^"\\]+)" at ([0-9A-F]+)', self.err)
        return {name.lower(): int(base, 16) for name, base in rows}

    @property
    def imports(self) -> list[tuple[str, str, int]]:
        """(symbol, DLL that it is imported from, address) of every import it has bound."""
        result = []
        for line in self.err.splitlines():
            found = re.search(r"import_dll --- (\S+) (\S+?)[.](\d+) = ([0-9A-F]+)", line)
            if found:
                name = f"#{found[3]}" if found[1] == "Ordinal" else found[1]
                result.append((name, found[2].lower(), int(found[4], 16)))
        return result


def wine32() -> Path:
    """Wine's DLLs for i386, where ``scripts/wine32`` puts them; the 64-bit Wine runs them (WoW64)."""
    return toolchain.cache_root() / "wine32" / "usr/lib/i386-linux-gnu/wine"


@functools.cache
def prefix(arch: str = "x86_64") -> Path:
    """A Wine prefix of the tests' own: made once."""
    place = toolchain.cache_root() / ("wine-prefix" if arch == "x86_64" else "wine32-prefix")
    with open(f"{place}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / ".done").exists():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            env = {**_environment(place, arch), "WINEDEBUG": "-all"}
            subprocess.run([WINE[arch], "wineboot", "-i"], env=env, capture_output=True, timeout=240, check=False)  # fmt: skip
            subprocess.run(["wineserver", "-w"], env=env, capture_output=True, timeout=120, check=False)  # fmt: skip
            (place / ".done").touch()
    return place


@functools.cache
def _awake(arch: str) -> subprocess.Popen[bytes]:
    """A program that waits as long as the tests' process lives, so that Wine need not start its services for every program."""
    env = {**_environment(prefix(arch), arch), "WINEDEBUG": "-all"}
    waits = subprocess.Popen(
        [WINE[arch], "cmd", "/c", "echo here & set /p line="],
        env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert waits.stdout
    waits.stdout.readline()
    return waits


def _environment(place: Path, arch: str) -> dict[str, str]:
    more = {"WINEDLLPATH": str(wine32())} if arch == "i386" else {}
    return {"PATH": "/usr/bin:/bin:/usr/lib/wine", "HOME": str(place), "WINEPREFIX": str(place), "LC_ALL": "C",
            "WINEDLLOVERRIDES": "mscoree,mshtml=;winemenubuilder.exe=d", **more}  # fmt: skip


def wine(
    argv: Sequence[str | Path],
    require: Callable[[str], None],
    *,
    debug: str = "-all",
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    arch: str = "x86_64",
    stdin: bytes = b"",
) -> Judged:
    """Run a program under Wine."""
    if not shutil.which(WINE[arch]):
        require("wine")
    if arch == "i386" and not wine32().is_dir():
        require("Wine for i386 (scripts/wine32)")
    _awake(arch)
    full = {**_environment(prefix(arch), arch), "WINEDEBUG": debug, **(env or {})}
    # Not pipes: services and debuggers that a program starts hold them as long as they live.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        done = subprocess.run(
            [WINE[arch], *map(str, argv)], env=full, cwd=cwd, input=stdin, stdout=out, stderr=err, timeout=120, check=False
        )  # fmt: skip
        said, told = (os.pread(file.fileno(), 1 << 30, 0) for file in (out, err))
    return Judged(done.returncode, said, _of_program(told.decode("latin-1"), str(argv[0])))


def _of_program(err: str, program: str) -> str:
    """The lines of the process of the program: Wine starts others of its own."""
    name = os.path.basename(program)
    found = re.search(rf'^([0-9a-f]+):[0-9a-f]+:.*Loaded L"[^"]*{re.escape(name)}"', err, re.MULTILINE)  # fmt: skip
    if not found:
        return err
    return "\n".join(line for line in err.splitlines() if line.startswith(f"{found[1]}:"))
