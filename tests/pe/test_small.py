"""Tables of small programs read in plain Python are those that the columns of numpy give."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.support import environment
from pe import windows
from rtld.pe import small
from rtld.pe.exports import Exports, exports
from rtld.pe.file import PeFile
from rtld.pe.image import build_images
from rtld.pe.imports import delay_imports, imports
from rtld.process.link_pe import link_all

Need = Callable[[str], None]


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Switches plain Python on or off, whatever is imported."""
    state = [False]
    monkeypatch.setattr(small, "wanted", lambda: state[0])

    def switch(on: bool) -> None:
        state[0] = on

    return switch


def files(windows_set: Callable[..., Path], need: Need) -> list[Path]:
    found = [p for arch in ("x86_64", "i386") for p in windows_set(arch).iterdir() if p.suffix in (".dll", ".exe")]  # fmt: skip
    if not windows.WINE_DLLS.is_dir():
        need("Wine's DLLs")
    names = (
        "version.dll",
        "zlib1.dll",
        "shlwapi.dll",
        "msvcrt.dll",
        "kernel32.dll",
        "oleaut32.dll",
        "notepad.exe",
    )
    return found + [windows.WINE_DLLS / n for n in names if (windows.WINE_DLLS / n).exists()]


def test_tables_are_the_same(windows_set: Callable[..., Path], need: Need, plain: Callable[[bool], None]) -> None:  # fmt: skip
    compared = 0
    for path in files(windows_set, need):
        seen = []
        for on in (False, True):
            plain(on)
            file = PeFile(str(path))
            table = exports(file)
            names = table.names()
            about = [table.dll, table.rva, table.size, table.ordinal_base, table.functions.tolist(), table.ordinals.tolist(),
                     table.name_offsets.tolist(), names, [table.by_name(n, i) for i, n in enumerate(names[:50])],
                     table.by_name(b"not there"), table.forwarders().tolist(), len(table), table.names_of()]  # fmt: skip
            for each in (imports(file), delay_imports(file)):
                about += [each.descriptors, each.descriptor.tolist(), each.slot.tolist(), each.ordinal.tolist(),
                          each.hint.tolist(), each.name_offsets.tolist(), [each.name(i) for i in range(len(each))]]  # fmt: skip
            seen.append(about)
            compared += isinstance(table.functions, small.Column)
        assert seen[0] == seen[1], path
    assert compared > 15


@pytest.mark.parametrize("arch", ["x86_64", "i386"])
def test_images_are_the_same(arch: str, windows_set: Callable[..., Path], plain: Callable[[bool], None]) -> None:  # fmt: skip
    """Bound and moved: a DLL's base is taken by another."""
    place = windows_set(arch)
    paths = [str(p) for p in sorted(place.iterdir()) if p.suffix in (".exe", ".dll")]
    link = link_all(paths, windows_dir=str(place))
    moved = [m for m in link.modules if m.path.endswith(("main.exe", "alpha.dll", "gamma.dll"))]
    for module in moved:
        module.base = module.file.base + 0x5A0000
    images = []
    for on in (False, True):
        plain(on)
        link.namespace.counts.clear()
        build_images(link.namespace, link.modules)
        assert all(isinstance(m.image, bytearray) == on for m in link.modules)
        images.append(([bytes(m.image) for m in link.modules], dict(link.namespace.counts)))
    assert images[0] == images[1]
    assert any(images[0][1][m] for m in moved)


def test_what_is_malformed_is_left_to_the_columns(windows_set: Callable[..., Path], plain: Callable[[bool], None]) -> None:  # fmt: skip
    """Every byte of the export directory changed in turn: the same answer or the same error."""
    path = windows_set("x86_64") / "alpha.dll"
    data = path.read_bytes()
    file = PeFile(data, name="alpha.dll")
    directory = file.directory(0)
    assert directory is not None
    start = file.locate(directory.rva, 40, "")
    for place in range(start, start + 40):
        changed = data[:place] + bytes([data[place] ^ 0x91]) + data[place + 1 :]
        answers = []
        for on in (False, True):
            plain(on)
            try:
                table = Exports(PeFile(changed, name="alpha.dll"))
                answers.append((table.functions.tolist(), table.name_offsets.tolist(), table.dll))
            except Exception as error:
                answers.append((type(error), str(error), b""))
        assert answers[0] == answers[1], place - start


def test_a_program_runs_without_numpy(need: Need, tmp_path: Path) -> None:
    built = windows.build(
        '#include <stdio.h>\nint main(void) { return puts("hello") < 0; }', "hello.exe", need, "-O1"
    )
    code = (
        "import sys; from rtld.cli import run; status = run(['run', sys.argv[1]]); "
        "sys.exit(status or 'numpy' in sys.modules or 'inspect' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(built)], env=environment(), capture_output=True, check=False)  # fmt: skip
    assert (done.returncode, done.stdout) == (0, b"hello\r\n"), done.stderr
