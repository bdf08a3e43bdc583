"""C compiled for i386, linked and bound by us, run on the emulated CPU: what the kernel runs when GNU ld has linked it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import toolchain
from backends.emulated.programs import Outcome, judged, pipes
from rtld.backends.emulated import open_machine
from rtld.backends.emulated.faults import Fault, LimitReached
from rtld.errors import Unsupported
from rtld.process import textbook as process
from rtld.textbook.from_elf import convert_file
from textbook.bed import DATA, linked, save

CC = Callable[..., Path]
FREESTANDING = ("-c", "-ffreestanding", "-fno-stack-protector", "-fno-asynchronous-unwind-tables", "-malign-data=abi")  # fmt: skip
STYLES = {"fixed": ("-fno-pic", "-fno-pie"), "pie": ("-fpie",), "pic": ("-fPIC",)}
WAYS = ("static", "static pic", "shared", "interposed")

#: A library and a program: data and pointers to functions in both directions, standard input, memory of the kernel.
LIBRARY = r"""
int total, table[4] = {1, 2, 3};
int *const third = &table[2];
static int twice(int n) { return 2 * n; }
int (*operation)(int) = twice;

int call(int number, int a, const void *b, int c)
{
    int result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory");
    return result;
}

void sort(char *items, int count, int (*less)(char, char))
{
    for (int i = 1; i < count; i++)
        for (int j = i; j > 0 && less(items[j], items[j - 1]); j--) {
            char item = items[j];
            items[j] = items[j - 1];
            items[j - 1] = item;
            total++;
        }
}
"""
PROGRAM = r"""
extern int total, table[4], *const third, (*operation)(int);
extern int call(int, int, const void *, int);
extern void sort(char *, int, int (*)(char, char));
static char line[64];
static int ascending(char a, char b) { return a < b; }
static int descending(char a, char b) { return a > b; }
static int (*const orders[])(char, char) = {ascending, descending};
static int square(int n) { return n * n; }

void _start(void)
{
    int count = call(3, 0, line, sizeof line);
    for (int i = 0; i < 2; i++) {
        sort(line, count, orders[i]);
        call(4, 1, line, count);
        call(4, 1, "\n", 1);
    }
    char *heap = (char *)call(45, 0, 0, 0);
    if (call(45, (int)heap + 5000, 0, 0) != (int)heap + 5000)
        call(1, 99, 0, 0);
    heap[4999] = operation(*third + total);
    operation = square;
    table[3] = operation(3);
    call(1, heap[4999] + table[3], 0, 0);
}
"""


def compiled(cc: CC, source: Path | str, output: str, *flags: str) -> Path:
    return cc(source, output, *FREESTANDING, *flags, arch="i386")


def natively(tmp_path: Path, objects: Sequence[Path], given: bytes) -> Outcome:
    """The judge: linked by GNU ld, run by the kernel or by qemu-i386."""
    judge = tmp_path / "judge"
    compiler = toolchain.target("i386").cc
    command = [compiler, "-nostdlib", "-static", *map(str, objects), "-o", str(judge)]
    subprocess.run(command, check=True)
    return judged("i386", judge, given)


def build(tmp_path: Path, way: str, program: Path, library: Path) -> str:
    """The text format's executable."""
    first, second = (
        save(tmp_path / f"{path.stem}.lk", convert_file(str(path))) for path in (program, library)
    )
    executable = tmp_path / "executable"
    if way.startswith("static"):
        return save(executable, linked(first, second, pic=way == "static pic").output)
    shared = linked(second, shared=True, interpose=way == "interposed")
    save(tmp_path / "libshared", shared.output)
    return save(executable, linked(first, str(tmp_path / "libshared")).output)


def here(path: str, given: bytes = b"", first: int = 0x1000) -> Outcome:
    """On the emulated CPU."""
    with (
        pipes(given) as (descriptors, written),
        open_machine("i386", first=first, descriptors=descriptors, seconds=20) as machine,
    ):
        status = process.run(path, machine=machine)
        return Outcome(written(), status)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("style", STYLES)
def test_runs_as_it_does_natively(style: str, way: str, cc: CC, tmp_path: Path) -> None:
    flags = ("-Os", *STYLES[style])
    program = compiled(cc, PROGRAM, "program.o", *flags)
    library = compiled(cc, LIBRARY, "library.o", *flags)
    given = b"the quick brown fox"
    expected = natively(tmp_path, (program, library), given)
    assert expected.output == bytes(sorted(given)) + b"\n" + bytes(sorted(given)[::-1]) + b"\n"
    path = build(tmp_path, way, program, library)
    assert here(path, given) == expected
    if way != "static":  # that one cannot be moved
        assert here(path, given, first=0x700000) == expected


@pytest.mark.parametrize("level", ["-O0", "-O1", "-O2", "-O3"])
@pytest.mark.parametrize(
    "names", [("hello", "twice"), ("primes", "io")], ids=lambda names: names[0]
)
def test_examples_at_every_level(
    names: tuple[str, str], level: str, cc: CC, tmp_path: Path
) -> None:
    flags = (level, "-fPIC", "-mno-sse")
    program, library = (compiled(cc, DATA / f"{name}.c", f"{name}.o", *flags) for name in names)
    expected = natively(tmp_path, (program, library), b"")
    assert expected.output
    for way in WAYS:
        assert here(build(tmp_path, way, program, library)) == expected


def command(*words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "rtld", "textbook", "run", *words],
        input=given,
        capture_output=True,
        check=False,
        timeout=60,
    )


def assembled(cc: CC, tmp_path: Path, text: str) -> str:
    """An executable of a few instructions."""
    names = "_start, main" if "main:" in text else "_start"
    source = f".globl {names}\n{text}\n"
    path = cc(source, "few.o", "-xassembler", "-c", arch="i386")
    save(tmp_path / "few.lk", convert_file(str(path)))
    return save(tmp_path / "few", linked(str(tmp_path / "few.lk")).output)


def test_the_command(cc: CC, tmp_path: Path) -> None:
    program, library = (compiled(cc, text, "x.o", "-Os", "-fPIC") for text in (PROGRAM, LIBRARY))
    save(tmp_path / "library.lk", convert_file(str(library)))
    save(tmp_path / "program.lk", convert_file(str(program)))
    shared = linked(str(tmp_path / "library.lk"), shared=True)
    save(tmp_path / "libshared", shared.output)
    path = save(
        tmp_path / "prog", linked(str(tmp_path / "program.lk"), str(tmp_path / "libshared")).output
    )
    done = command(path, given=b"cab")
    expected = natively(tmp_path, (program, library), b"cab")
    assert Outcome(done.stdout, done.returncode) == expected
    assert done.stderr == b""


def test_a_fault_is_told_with_its_place(cc: CC, tmp_path: Path) -> None:
    path = assembled(cc, tmp_path, "main: nop\n_start: nop\nmovb $1, _start")
    done = command(path)
    assert done.returncode == 128 + 11
    assert done.stderr.decode() == (
        f"rtld: {path}: Segmentation fault: write of 1 byte at 0x1001, which is not allowed there; "
        f"the instruction at 0x1002 in {path}: _start+0x1\n"
    )
    with pytest.raises(Fault) as caught:
        here(path)
    assert (caught.value.address, caught.value.pc) == (0x1001, 0x1002)


def test_unknown_calls_are_told(cc: CC, tmp_path: Path) -> None:
    steps = "movl $51, %eax\nint $0x80\n" * 2 + "movl $9999, %eax\nint $0x80\n"
    path = assembled(
        cc, tmp_path, f"_start: {steps} negl %eax\nmovl %eax, %ebx\nmovl $1, %eax\nint $0x80"
    )
    done = command(path)
    assert done.returncode == 38  # ENOSYS
    assert done.stderr.decode() == (
        f"rtld: {path}: system calls answered with ENOSYS: acct (2), number 9999 (1)\n"
    )


def test_a_program_without_end(cc: CC, tmp_path: Path) -> None:
    path = assembled(cc, tmp_path, "_start: jmp _start")
    with pytest.raises(LimitReached, match=r"0\.2 seconds are over"):
        process.run(path, seconds=0.2)
    done = command("--timeout", "0.2", path)
    assert done.returncode == 128 + 24
    assert b"0.2 seconds are over; the instruction at 0x1000" in done.stderr
    assert command("--timeout", "soon", path).returncode == 2


def test_entry_is_chosen(cc: CC, tmp_path: Path) -> None:
    last = "movl %eax, %ebx\nmovl $1, %eax\nint $0x80"
    path = assembled(cc, tmp_path, f"_start: movl $3, %eax\njmp 1f\nmain: movl $4, %eax\n1: {last}")
    assert command(path).returncode == 3
    assert command("--entry", "main", path).returncode == 4


def test_without_unicorn_the_extra_is_named(
    cc: CC, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = assembled(cc, tmp_path, "_start: nop")
    monkeypatch.setitem(sys.modules, "unicorn", None)
    with pytest.raises(
        Unsupported, match=r"needs the package unicorn .*pip install 'rtld\[emulate\]'"
    ):
        process.run(path)
