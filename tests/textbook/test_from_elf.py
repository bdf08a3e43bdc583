"""From C to the text format and back: i386 objects, judged by what the program does when GNU ld has linked it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import toolchain
from rtld.errors import FormatError, Unsupported
from rtld.textbook.bind import bind
from rtld.textbook.complaints import Malformed
from rtld.textbook.from_elf import convert, convert_file
from rtld.textbook.reader import read_object
from rtld.textbook.space import LowestFirst
from rtld.textbook.to_elf import elf_program
from rtld.textbook.writer import write_object
from textbook.bed import DATA, linked, save

FREESTANDING = (
    "-c",
    "-Os",
    "-ffreestanding",
    "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables",
)
CC = Callable[..., Path]
STYLES = {"fixed": ("-fno-pic", "-fno-pie"), "pie": ("-fpie",), "pic": ("-fPIC",)}


def compiled(cc: CC, source: Path | str, output: str, *flags: str) -> Path:
    return cc(source, output, *FREESTANDING, *flags, arch="i386")


def start(path: Path, require: Callable[[str], None]) -> tuple[bytes, int]:
    """What an i386 program writes, and its status: run by the kernel or by qemu."""
    command = [str(path)]
    if not toolchain.runs_here("i386"):
        emulator = toolchain.target("i386").qemu
        lacking = toolchain.missing(toolchain.target("i386"), cxx=False, run=True)
        if lacking:
            require(lacking)
        command = [emulator, *command]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    return done.stdout, done.returncode


def written(path: Path, ns: Any) -> Path:
    path.write_bytes(elf_program(ns, "<"))
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("style", STYLES)
def test_c_program_linked_by_us_does_what_it_does_linked_by_ld(
    style: str, cc: CC, tmp_path: Path, require: Callable[[str], None]
) -> None:
    objects = [
        compiled(cc, DATA / f"{name}.c", f"{name}.o", *STYLES[style]) for name in ("hello", "twice")
    ]
    judge = tmp_path / "judge"
    compiler = toolchain.target("i386").cc
    subprocess.run(
        [compiler, "-nostdlib", "-static", *map(str, objects), "-o", str(judge)], check=True
    )
    expected = start(judge, require)
    assert expected == (b"hello from C\n", 42)

    hello, twice = [save(tmp_path / f"{path.stem}.lk", convert_file(str(path))) for path in objects]
    static = save(tmp_path / "static", linked(hello, twice, base=0x8048000).output)
    assert start(written(tmp_path / "static.elf", bind(static)), require) == expected
    for interpose in (False, True):
        save(tmp_path / "libtwice", linked(twice, shared=True, interpose=interpose).output)
        shared = save(tmp_path / "shared", linked(hello, str(tmp_path / "libtwice")).output)
        ns = bind(shared, space=LowestFirst(0x10000))
        assert len(ns.modules) == 2
        assert start(written(tmp_path / "shared.elf", ns), require) == expected


def test_what_becomes_of_the_types(cc: CC) -> None:
    source = """
        extern int there; static int here = 7; int common[3]; extern void go(void);
        static int local(int n) { return n + here; }
        int (*table[])(int) = { local };
        int get(void) { go(); return there + common[1] + table[0](here++); }
    """
    fixed = convert_file(str(compiled(cc, source, "types.o", "-fno-pic", "-fno-pie", "-fcommon")))
    assert {row.type for row in fixed.relocations} <= {"A4", "AS4", "RS4", "R4"}
    assert [(s.name, s.type, s.value) for s in fixed.symbols if s.name == "common"] == [
        ("common", "U", 12)
    ]
    assert "here" not in {symbol.name for symbol in fixed.symbols}
    pic = convert_file(str(compiled(cc, source, "types.o", "-fPIC", "-fcommon")))
    assert {"GA4", "GP4", "GR4", "RS4"} <= {row.type for row in pic.relocations}
    for thing in (fixed, pic):
        assert thing.order == "<"
        assert read_object(write_object(thing)) == thing


def test_all_that_cannot_be_expressed_is_told(cc: CC) -> None:
    source = """
        __thread int mine;
        extern int maybe __attribute__((weak));
        int wide[4] __attribute__((aligned(64))) = { 1 };
        __attribute__((constructor)) static void before(void) { mine = wide[0]; }
        int *use(void) { return &maybe; }
    """
    path = compiled(cc, source, "odd.o", "-fno-pic", "-fno-pie")
    with pytest.raises(Malformed) as caught:
        convert_file(str(path))
    text = str(caught.value)
    assert "section .tbss: found thread-local storage, expected plain code and data" in text
    assert "section .init_array: found type 0xe, expected SHT_PROGBITS or SHT_NOBITS" in text
    assert "section .data: alignment: found 64, expected at most 4" in text
    assert "symbol maybe: found weak, expected local or global" in text
    assert "R_386_TLS" in text


def test_the_table_without_a_base_register(cc: CC) -> None:
    path = compiled(
        cc,
        "void f(void); void g(void) { f(); f(); }",
        "noplt.o",
        "-fno-pic",
        "-fno-pie",
        "-fno-plt",
    )
    with pytest.raises(Malformed, match="R_386_GOT32X without a base register"):
        convert_file(str(path))


def test_only_i386_objects(cc: CC) -> None:
    for data, field in (
        (b"", "magic"),
        (bytes(60), "magic"),
        (b"\x7fELF\x02" + bytes(60), "EI_CLASS"),
    ):
        with pytest.raises(FormatError) as caught:
            convert(data, "x.o")
        assert caught.value.field == field
    program = cc("int main(void) { return 0; }", "main", "-nostdlib", "-Wl,-e,main", arch="i386")
    with pytest.raises(FormatError, match="e_type is 3, expected ET_REL"):
        convert_file(str(program))


def test_truncated_and_changed_objects_do_no_worse_than_format_error(cc: CC) -> None:
    data = compiled(cc, DATA / "hello.c", "hello.o", "-fPIC").read_bytes()
    for at in range(0, len(data), 3):
        changed = bytearray(data)
        changed[at] ^= 0xA5
        for mutant in (bytes(changed), data[:at]):
            try:
                thing = convert(mutant, "mutant.o")
                read_object(write_object(thing))
            except (FormatError, Unsupported):
                continue


def test_programs_that_no_kernel_starts(tmp_path: Path) -> None:
    big = save(tmp_path / "big", "LINK\n1 1 0\n.text 20000 4 RP\nmain 20000 1 D\n00000000\n")
    with pytest.raises(Unsupported, match="is big-endian; an i386 program is little-endian"):
        elf_program(bind(big), ">")
    low = save(tmp_path / "low", "LINK\n1 1 0\n.text 1000 4 RP\nmain 1000 1 D\n00000000\n")
    with pytest.raises(Unsupported, match="a program cannot be at 1000"):
        elf_program(bind(low), "<")
