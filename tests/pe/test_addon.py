"""An add-on of Node.js as MSVC has built it: its delay helper asks our LoadLibrary and GetProcAddress for what node.exe exports."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import toolchain
from pe import windows
from rtld.backends.windows.kernel32 import KERNEL32
from rtld.pe.file import PeFile
from rtld.pe.imports import delay_imports
from rtld.process.windows.run import WindowsProcess

Need = Callable[[str], None]
NODE = Path(__file__).parent / "addon" / "node.c"
PACKAGE = "bufferutil@4.0.8"


def addon(arch: str, need: Need) -> Path:
    """The file of the package, fetched once."""
    if not shutil.which("npm"):
        need("npm")
    steps = [["npm", "pack", "--silent", PACKAGE], ["tar", "xzf", PACKAGE.replace("@", "-") + ".tgz"]]  # fmt: skip
    try:
        place = toolchain.compile_all(["npm", PACKAGE], steps)
    except toolchain.CompileError:
        need(f"{PACKAGE} from npm")
        raise
    cpu = "x64" if arch == "x86_64" else "ia32"
    return place / "package" / "prebuilds" / f"win32-{cpu}" / "node.napi.node"


@pytest.mark.parametrize("arch", ["x86_64", "i386"])
def test_the_helper_of_msvc(arch: str, need: Need, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """Its DllMain calls into the program already, through the helper and its hook (the program is not called node.exe)."""
    if arch == "i386" and "GetStringTypeW" not in KERNEL32.functions:
        pytest.skip("its C run-time wants GetStringTypeW")
    shutil.copy(addon(arch, need), tmp_path / "addon.node")
    (delayed,) = delay_imports(PeFile(str(tmp_path / "addon.node"))).descriptors
    assert (delayed.dll, delayed.delay.version, delayed.count) == ("node.exe", 2, 6)
    host = windows.build(NODE.read_text(), "host.exe", need, "-O1", arch=arch)
    shutil.copy(host, tmp_path)
    judged = windows.wine([tmp_path / "host.exe", "addon.node"], need, cwd=tmp_path, arch=arch)
    assert b"registered: version 1, bufferutil" in judged.out
    assert b"same 1" in judged.out
    monkeypatch.chdir(tmp_path)
    process = WindowsProcess(str(tmp_path / "host.exe"), ["addon.node"], seconds=60)
    capfdbinary.readouterr()
    assert process.run() == judged.status == 6
    assert capfdbinary.readouterr().out == judged.out
    # The slots are filled, the module's handle is the program's.
    module = next(m for m in process.live if m.path.endswith("addon.node"))
    assert process.system.number(module.base + delayed.delay.handle) == process.main.base
    filled = [process.system.number(module.base + delayed.iat + i * process.system.word) for i in range(6)]  # fmt: skip
    assert all(process.module_of(address) is process.main for address in filled)
    process.close()
