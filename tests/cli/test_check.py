"""``rtld check``: each kind of finding."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.support import Rtld, lib


def problems(rtld: Rtld, *words: object) -> list[tuple[str, str, str]]:
    document: dict[str, Any] = json.loads(rtld("check", "--json", *words).out)
    return [(p["severity"], p["kind"], p["subject"]) for p in document["problems"]]


def test_fine(rtld: Rtld, here: Path) -> None:
    status, out, err = rtld("check", here / "app")
    assert (status, err) == (0, "")
    assert out.startswith(f"{here}/app: ok (5 modules, ")
    assert rtld("check", "-q", here / "app") == (0, "", "")


def test_missing_library_and_symbol(rtld: Rtld, here: Path) -> None:
    status, out, _ = rtld("check", here / "lost/app")
    assert status == 1
    assert f"{here}/lost/app: error: library: libtwo.so: cannot open shared object file" in out
    assert f"error: symbol: {here}/lost/libone.so: undefined symbol: two" in out
    assert ("error", "library", "libtwo.so") in problems(rtld, here / "lost/app")


def test_missing_version(rtld: Rtld, cc: Callable[..., Path], tmp_path: Path) -> None:
    script = tmp_path / "map"
    script.write_text("V1 { global: f; };")
    library = cc(
        "int f(void) { return 1; }", "libv.so", *lib("libv.so"), f"-Wl,--version-script={script}"
    )
    program = cc("int f(void); int main(void) { return f(); }", "app", f"-L{library.parent}", "-lv")
    script.write_text("V2 { global: f; };")
    other = cc(
        "int f(void) { return 2; }",
        "libv.so",
        *lib("libv.so"),
        f"-Wl,--version-script={script}",
        "-DV2",
    )
    assert ("error", "version", "V1") in problems(rtld, "--library-path", other.parent, program)


def test_interpreter(rtld: Rtld, cc: Callable[..., Path]) -> None:
    program = cc("int main(void) { return 0; }", "app", "-Wl,--dynamic-linker=/nonexistent/ld.so")
    assert ("error", "interpreter", "/nonexistent/ld.so") in problems(rtld, program)


def test_executable_stack(rtld: Rtld, cc: Callable[..., Path]) -> None:
    program = cc("int main(void) { return 0; }", "app", "-Wl,-z,execstack")
    assert ("warning", "executable stack", "PT_GNU_STACK") in problems(rtld, program)
    assert rtld("check", program).status == 0
    assert rtld("check", "--strict", program).status == 1


def test_text_relocation(rtld: Rtld, cc: Callable[..., Path]) -> None:
    source = "extern int elsewhere; int *f(void) { return &elsewhere; }"
    library = cc(source, "libt.so", "-shared", "-fno-pic", "-mcmodel=large", "-Wl,-z,notext")
    assert ("warning", "text relocation", "DT_TEXTREL") in problems(rtld, library)


def test_no_relro(rtld: Rtld, cc: Callable[..., Path]) -> None:
    program = cc("int main(void) { return 0; }", "app", "-Wl,-z,norelro")
    assert ("note", "no RELRO", "PT_GNU_RELRO") in problems(rtld, program)
    assert "note" not in rtld("check", program).out
    assert "note: no RELRO" in rtld("check", "-v", program).out


def test_static_tls(rtld: Rtld, cc: Callable[..., Path]) -> None:
    """More initial-exec TLS than glibc keeps for dlopen."""
    source = '__thread char big[4000] __attribute__((tls_model("initial-exec"))); char *f(void) { return big; }'
    library = cc(source, "libbig.so", *lib("libbig.so"))
    document = json.loads(rtld("check", "--json", library).out)
    assert [p["kind"] for p in document["problems"]] == ["static TLS"]
    assert (
        document["static_tls"]["dlopen_needs"] >= 4000 > document["static_tls"]["surplus"] == 1664
    )
    (use,) = [m for m in document["static_tls"]["modules"] if m["module"] == str(library)]
    assert use["reason"] in ("DF_STATIC_TLS", "initial-exec access")
    small = cc(source.replace("4000", "100"), "libsmall.so", *lib("libsmall.so"))
    assert problems(rtld, small) == []


def test_wrong_machine(rtld: Rtld, cc: Callable[..., Path], tmp_path: Path) -> None:
    library = cc("int f(void) { return 1; }", "libf.so", *lib("libf.so"))
    foreign = cc("int f(void) { return 1; }", "libf.so", *lib("libf.so"), arch="i386")
    program = cc("int f(void); int main(void) { return f(); }", "app", f"-L{library.parent}", "-lf")
    found = problems(rtld, "--library-path", foreign.parent, program)
    assert ("error", "wrong machine", "libf.so") in found
    assert ("error", "library", "libf.so") in found


def test_dlopen_notes(rtld: Rtld, cc: Callable[..., Path]) -> None:
    """.note.dlopen: systemd's list of what a module opens when it feels like it."""
    entries = '[{"soname":["libnothing.so.9","libnothing.so.8"],"feature":"magic","priority":"suggested"},{"soname":["libc.so.6"]}]'
    note = f"""
    .section .note.dlopen, "a", @note
    .balign 4
    .long 4, 2f-1f, 0x407c0c0a
    .asciz "FDO"
    1: .asciz {json.dumps(entries)}
    2: .balign 4
    .text
    """
    code = "int main(void) { return 0; } __asm__(" + json.dumps(note) + ");"
    program = cc(code, "app")
    assert problems(rtld, program) == [("note", "dlopen", "libnothing.so.9")]


def test_unknown_relocation(rtld: Rtld, here: Path, tmp_path: Path) -> None:
    """A relocation number that the CPU does not have."""
    data = bytearray((here / "app").read_bytes())
    entries = dynamic(data)
    at, size = (
        entries[7],
        entries[8],
    )  # DT_RELA, DT_RELASZ: in the first segment, where addresses are offsets
    info = at + size - 24 + 8
    symbol = struct.unpack_from("<Q", data, info)[0] >> 32
    struct.pack_into("<Q", data, info, symbol << 32 | 200)
    (tmp_path / "app").write_bytes(data)
    found = problems(rtld, "--library-path", here, tmp_path / "app")
    assert ("error", "relocation", "relocation type 200 is not in the table of x86_64") in found


def dynamic(data: bytes | bytearray) -> dict[int, int]:
    """Tag -> value of an ELF64 little-endian file."""
    (phoff,) = struct.unpack_from("<Q", data, 32)
    (count,) = struct.unpack_from("<H", data, 56)
    for index in range(count):
        kind, _, offset, _, _, size = struct.unpack_from("<IIQQQQ", data, phoff + 56 * index)
        if kind == 2:
            return dict(struct.unpack_from("<QQ", data, offset + at) for at in range(0, size, 16))
    raise AssertionError("no PT_DYNAMIC")


def test_directories(rtld: Rtld, here: Path) -> None:
    status, out, _ = rtld("check", "-r", here)
    assert status == 1
    assert f"{here}/app: ok" in out
    assert f"{here}/lost/app: error" in out
    assert json.loads(rtld("check", "-r", "--json", here).out)["files"]


@pytest.mark.live
@pytest.mark.parametrize("path", ["/usr/bin/git", "/usr/bin/gdb", "/bin/bash", "/usr/bin/python3"])
def test_installed_programs_are_fine(rtld: Rtld, path: str) -> None:
    assert rtld("check", path).status == 0
