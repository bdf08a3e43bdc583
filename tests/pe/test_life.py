"""The loader at run time: DllMain, references, names, directories, lists. What programs say of it is what they say under Wine."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import toolchain
from cli.support import environment
from pe import windows

Need = Callable[[str], None]
TRACED = "+imports,+loaddll,+module,+pid"
SOURCES = Path(__file__).parent / "life"
#: DLL -> definitions, and the DLL that it needs. Those after a DLL may need it.
# fmt: off
MEMBERS = {
    "plain":   ([], ""),
    "failing": (["-DFAILS", "-DNEEDS=plain"], "plain"),
    "outer":   (["-DLOADS=zzz", "-DFREES"], ""),
    "zzz":     (["-DNEEDS=outer"], "outer"),
    "last":    ([], ""),
    "first":   (["-DLOADS=early"], ""),
    "early":   (["-DNEEDS=last"], "last"),
    "keeper":  (["-DLOADS=plain", "-DFREES"], ""),
    "raising": (["-DRAISES"], ""),
    "quiet":   (["-DQUIET"], ""),
}
PROGRAMS = {"life": (), "early": ("first", "last"), "refused": ("plain", "failing"), "threads": (), "names": (), "lists": (), "paths": ()}
# fmt: on


def build(arch: str, need: Need) -> Path:
    """All of them, once."""
    cc = windows.compiler(arch, need)
    texts = {p.name: p.read_text() for p in (*sorted(SOURCES.iterdir()), windows.SET / "told.h")}
    steps: list[Sequence[str] | toolchain.Step] = [toolchain.Step("file", n, t) for n, t in texts.items()]  # fmt: skip
    flags = ["-O1", "-w", "-static-libgcc", "-Wl,--no-insert-timestamp"]
    for name, (defined, needed) in MEMBERS.items():
        library = [f"lib{needed}.a"] if needed else []
        steps.append([cc, "member.c", f"-DNAME={name}", *defined, "-shared", *flags, f"-Wl,--out-implib,lib{name}.a",
                      "-o", f"{name}.dll", *library])  # fmt: skip
    steps.append([cc, "starter.c", "-shared", *flags, "-o", "starter.dll"])
    for name, needs in PROGRAMS.items():
        start = "start" if arch == "x86_64" else "_start"
        bare = ["-nostartfiles", f"-Wl,-e,{start}"] if name == "threads" else []
        steps.append([cc, f"{name}.c", *flags, *bare, "-o", f"{name}.exe", *[f"lib{n}.a" for n in needs], "-luser32"])  # fmt: skip
    return toolchain.compile_all([toolchain.version_of(cc), *texts.values(), repr(MEMBERS), *flags], steps)  # fmt: skip


def ours(program: str, cwd: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    argv = [sys.executable, "-m", "rtld", "run", "--timeout", "60", *words, program]
    return subprocess.run(argv, cwd=cwd, env=environment(), capture_output=True, timeout=120, check=False)  # fmt: skip


@pytest.mark.parametrize("arch", ["x86_64", "i386"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_as_under_wine(name: str, arch: str, need: Need, tmp_path: Path) -> None:
    made = build(arch, need)
    outputs = []
    for run in ("wine", "ours"):
        place = tmp_path / run
        (place / "sub").mkdir(parents=True)
        for file in (*made.glob("*.dll"), made / f"{name}.exe"):
            shutil.copy(file, place)
        if name == "names":
            _further(made, place, build("i386" if arch == "x86_64" else "x86_64", need))
        if name == "paths":
            _in_directories(made, place, build("i386" if arch == "x86_64" else "x86_64", need))
        if run == "wine":
            judged = windows.wine([place / f"{name}.exe"], need, cwd=place, arch=arch, debug=TRACED)
            outputs.append(judged.out.decode("latin-1").splitlines())
        else:
            done = ours(f"{name}.exe", place, "--trace")
            outputs.append(done.stdout.decode("latin-1").splitlines())
    assert outputs[0] == outputs[1]
    if arch == "x86_64" and name != "threads":  # WoW64 says more
        told = _told(judged.err)
        assert told
        assert _told(done.stderr.decode("latin-1")) == told
    if name == "refused":  # Wine ends with the NTSTATUS, which nobody reads
        assert done.returncode == 126
        assert b"failing.dll: its DllMain returned FALSE (error 1114, ERROR_DLL_INIT_FAILED)" in done.stderr  # fmt: skip
    else:
        assert done.returncode == judged.status >= 3


def _told(text: str) -> list[str]:
    """What is said of the program's own modules, in its order."""
    own = "|".join([*MEMBERS, *PROGRAMS])
    lines = re.findall(
        r"trace:(?:imports:import_dll ---|loaddll:build_module|module:MODULE_InitDLL) .*", text
    )
    lines = [re.sub(r'L"[^"]*\\', 'L"', line.strip()) for line in lines if "RETURN" not in line]
    lines = [re.sub(r",0*[1-9A-F][0-9A-F]*\)", ",static)", line) for line in lines]
    return [line for line in lines if re.search(rf"\b({own})\.(dll|exe)", line)]


def _further(made: Path, place: Path, other: Path) -> None:
    """DLLs in another directory, and broken ones."""
    shutil.move(place / "last.dll", place / "sub")
    shutil.copy(made / "early.dll", place / "sub/needs.dll")
    shutil.copy(made / "plain.dll", place / "sub/deep.dll")
    shutil.copy(other / "plain.dll", place / "other.dll")
    (place / "empty.dll").touch()
    (place / "cut.dll").write_bytes((made / "plain.dll").read_bytes()[:700])
    data = (made / "early.dll").read_bytes()
    (place / "lacking.dll").write_bytes(data.replace(b"last.dll", b"lost.dll"))


def _in_directories(made: Path, place: Path, other: Path) -> None:
    """The same DLL in several places; in one of them it is another CPU's, or none."""
    (place / "cur").mkdir()
    for target in (
        "sub/deep",
        "sub/both",
        "cur/both",
        "three",
        "cur/three",
        "sub/three",
        "sub/wrong",
        "sub/bad",
    ):
        shutil.copy(made / "plain.dll", place / f"{target}.dll")
    shutil.copy(other / "plain.dll", place / "wrong.dll")
    (place / "bad.dll").write_text("no image")
