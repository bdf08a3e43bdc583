"""Unwinding of x64: the tables against pefile's, a walk up the stack against Wine's, made-up information, findings."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import pefile
import pytest

from cli.support import environment
from pe import windows
from pe.test_exceptions import NO_DEBUGGER, ours
from rtld.arch import x86_64_unwind as x64
from rtld.backends.windows.context import Context64
from rtld.backends.windows.seh64 import Walk
from rtld.errors import FormatError
from rtld.pe.file import PeFile
from rtld.pe.symbols import symbol_before, symbols
from rtld.pe.unwindtable import faults, unwind_info, unwind_table
from rtld.process.windows.run import WindowsProcess

Need = Callable[[str], None]
#: Our operation -> the class of pefile's.
KINDS = {
    x64.PUSH_NONVOL: "PushReg", x64.ALLOC_LARGE: "AllocLarge", x64.ALLOC_SMALL: "AllocSmall", x64.SET_FPREG: "SetFP",
    x64.SAVE_NONVOL: "SaveReg", x64.SAVE_NONVOL_FAR: "SaveRegFar", x64.SAVE_XMM128: "SaveXMM",
    x64.SAVE_XMM128_FAR: "SaveXMMFar", x64.PUSH_MACHFRAME: "PushFrame",
}  # fmt: skip
OPERANDS: dict[int, Callable[[Any, int], int]] = {
    x64.ALLOC_LARGE: lambda s, info: s.AllocSize if info else s.AllocSizeInQwords * 8,
    x64.SAVE_NONVOL: lambda s, _: s.OffsetInQwords * 8,
    x64.SAVE_XMM128: lambda s, _: s.OffsetIn2Qwords * 16,
}


@pytest.mark.parametrize("name", ["ntdll.dll", "msvcrt.dll", "comctl32.dll"])
def test_tables_are_pefiles(name: str, need: Need) -> None:
    path = windows.WINE_DLLS / name
    if not path.exists():
        need("libwine")
    theirs: Any = pefile.PE(str(path), fast_load=True)
    theirs.parse_data_directories([pefile.DIRECTORY_ENTRY["IMAGE_DIRECTORY_ENTRY_EXCEPTION"]])
    file = PeFile(str(path))
    table = unwind_table(file)
    assert len(table) == len(theirs.DIRECTORY_ENTRY_EXCEPTION) > 100
    codes = 0
    for row, entry in enumerate(theirs.DIRECTORY_ENTRY_EXCEPTION):
        assert table.begin.item(row) == entry.struct.BeginAddress
        assert table.end.item(row) == entry.struct.EndAddress
        assert table.unwind.item(row) == entry.struct.UnwindData
        info, other = unwind_info(file, entry.struct.UnwindData), entry.unwindinfo
        assert info.version == other.Version
        assert info.prologue == other.SizeOfProlog
        assert (info.register, info.offset) == (other.FrameRegister, 16 * other.FrameOffset)
        assert len(info.codes) == len(other.UnwindCodes)
        for code, each in zip(info.codes, other.UnwindCodes, strict=True):
            assert type(each).__name__ == f"PrologEpilogOp{KINDS[code.operation]}"
            assert code.offset == each.struct.CodeOffset
            if code.operation in OPERANDS:
                assert code.operand == OPERANDS[code.operation](each.struct, code.info)
            codes += 1
        if info.handler:
            assert info.handler == other.ExceptionHandler
    assert codes > len(table)
    assert not list(faults(file))


WALK = r"""
#include <windows.h>
#include <stdio.h>
#include <math.h>
static DWORD64 low;
__attribute__((noinline)) static int up(const char *why) {
    CONTEXT c;
    DWORD64 base, frame, begin = 0;
    void *data;
    int n = 0;
    RtlCaptureContext(&c);
    printf("%s:", why);
    while (c.Rip && n < 40) {
        RUNTIME_FUNCTION *f = RtlLookupFunctionEntry(c.Rip, &base, 0);
        if (base == low && f) printf(" %lx+%lx", (long)f->BeginAddress, (long)(c.Rip - base - f->BeginAddress));
        else if (f) break; /* the system's own */
        if (f && base == low) begin = f->BeginAddress;
        if (f) RtlVirtualUnwind(UNW_FLAG_NHANDLER, base, c.Rip, f, &c, &data, &frame, 0);
        else { c.Rip = *(DWORD64 *)c.Rsp; c.Rsp += 8; }
        if (f && base == low) printf("/%lx", (long)(begin ? frame & 15 : 0));
        n++;
    }
    printf("\n");
    return n;
}
__attribute__((noinline)) static double floats(double a, double b, int n) {
    double c = a * b, d = a + b, e = a - b, f = a / b, g = sqrt(a), h = sqrt(b);
    if (n) { c += floats(c, d, n - 1); up("floats"); }
    return a + b + c + d + e + f + g + h;
}
__attribute__((noinline)) static int sized(int n) {
    volatile char *room = __builtin_alloca(n * 100);
    char big[9000];
    big[n] = room[0] = n;
    __asm__ volatile("" : : "r"(big) : "memory");
    if (n > 3) return up("sized") + room[0];
    return sized(n + 1) + big[n];
}
__attribute__((noinline)) static int many(int a, int b, int c, int d, int e, int f, int g, int h) {
    if (!a) return up("many") + h;
    return many(a - 1, c, b, e, d, g, f, h) + b * c + d * e + f * g;
}
static int compare(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }
int main(void) {
    void *stack[62];
    int numbers[] = {3, 1, 2}, n;
    low = (DWORD64)GetModuleHandleA(0);
    up("main");
    printf("%g\n", floats(2, 3, 2));
    printf("%d\n", sized(1));
    printf("%d\n", many(5, 1, 2, 3, 4, 5, 6, 7));
    qsort(numbers, 3, sizeof *numbers, compare);
    n = CaptureStackBackTrace(0, 62, stack, 0);
    printf("captured %d, here %d\n", n > 1, (DWORD64)stack[0] - low < 0x10000);
    return 0;
}
"""


@pytest.mark.parametrize(
    "flags", [("-O1",), ("-O2", "-fno-omit-frame-pointer")], ids=["rsp", "rbp"]
)
def test_walks_are_wines(flags: tuple[str, ...], need: Need) -> None:
    """Up from deep recursion, from variable frames, from frames with xmm; and out of every instruction of a function."""
    path = windows.build(WALK, "walk.exe", need, *flags)
    judged = windows.wine([path], need, env=NO_DEBUGGER)
    done = ours(path)
    assert done.stdout == judged.out
    assert done.returncode == judged.status == 0
    assert done.stdout.count(b":") > 4


@pytest.mark.parametrize(
    "flags", [("-O1",), ("-O2", "-fno-omit-frame-pointer")], ids=["rsp", "rbp"]
)
def test_every_instruction_can_be_unwound_from(flags: tuple[str, ...], need: Need, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """In prologues, bodies and epilogues: what unwinding gives is what the function was entered with."""
    process = WindowsProcess(str(windows.build(WALK, "walk.exe", need, *flags)), seconds=120)
    machine, main = process.machine, process.main
    rows = unwind_table(main.file)
    begins = {main.base + rva for rva in rows.begin.tolist()}
    kept = [
        x64.REGISTERS.index(r) for r in ("rbx", "rbp", "rsi", "rdi", "r12", "r13", "r14", "r15")
    ]
    entered: list[tuple[int, int, list[int], list[int]]] = []
    checked, wrong = [0], []
    times: Counter[int] = Counter()

    def each(pc: int) -> None:
        times[pc] += 1
        if times[pc] > 4 and pc not in begins:
            return
        context = Context64.capture(machine.engine)
        context.rip = pc
        sp = context.sp
        while entered and entered[-1][1] <= sp:
            entered.pop()
        if pc in begins:
            back = process.system.number(sp)
            entered.append((back, sp + 8, [context.gpr[n] for n in kept], context.xmm[6:]))
        walk = Walk(process.system, context, 0)
        if process.unwind_row(pc) is None or walk.step() or not entered:
            return
        checked[0] += 1
        after = walk.context
        if (after.rip, after.sp, [after.gpr[n] for n in kept], after.xmm[6:]) != entered[-1]:
            wrong.append(hex(pc - main.base))

    whole = machine.engine.run

    def one_by_one(start: int, until: int, count: int = 0) -> None:
        """Run until the CPU halts, and look at the registers before each instruction."""
        halted = False
        while not halted:
            if main.base <= start < main.base + main.file.span:
                each(start)
            halted = machine.guest.read(start, 1) == b"\xf4"
            whole(start, until, count or 1)
            start = machine.engine.get("rip")

    monkeypatch.setattr(machine.engine, "run", one_by_one)
    assert process.run() == 0
    assert not wrong
    assert checked[0] > 1000
    process.close()
    capfd.readouterr()


# -- made up ----------------------------------------------------------------------------------------


def info(*codes: int, version: int = 1, flags: int = 0, prologue: int = 0, frame: int = 0, tail: bytes = b"") -> bytes:  # fmt: skip
    slots = struct.pack(f"<{len(codes)}H", *codes)
    return struct.pack("<BBBB", version | flags << 3, prologue, len(codes), frame) + slots + bytes(2 * (len(codes) % 2)) + tail  # fmt: skip


def reader(memory: dict[int, bytes]) -> Callable[[int, int], bytes]:
    def read(address: int, size: int) -> bytes:
        for start, data in memory.items():
            if start <= address and address + size <= start + len(data):
                return data[address - start : address - start + size]
        raise ValueError(hex(address))

    return read


def step(data: bytes, pc: int, code: bytes = b"\x90" * 64, stack: bytes = b"", rsp: int = 0x9000, end: int = 0x1040, **registers: int) -> tuple[x64.Step, x64.Registers]:  # fmt: skip
    words = b"".join(struct.pack("<Q", 0xA0 + n) for n in range(64))
    read = reader({0x1000: code, 0x2000: data + bytes(16), 0x9000: stack or words})
    state = x64.Registers([0] * 16, [0] * 16, pc)
    state.gpr[x64.RSP] = rsp
    for name, value in registers.items():
        state.gpr[x64.REGISTERS.index(name)] = value
    found = x64.unwind(read, lambda rva: x64.decode(read, rva), 0, x64.Function(0x1000, end, 0x2000), state)  # fmt: skip
    return found, state


def code(offset: int, operation: int, number: int = 0) -> int:
    return offset | operation << 8 | number << 12


def test_every_operation() -> None:
    """rbx pushed, 0x18 allocated, rsi and rdi and xmm6 saved, near and far."""
    data = info(
        code(9, x64.SAVE_XMM128_FAR, 7), 0x30, 0, code(8, x64.SAVE_XMM128, 6), 1,
        code(7, x64.SAVE_NONVOL_FAR, 7), 8, 0, code(6, x64.SAVE_NONVOL, 6), 0,
        code(5, x64.ALLOC_LARGE, 1), 0x40, 0, code(4, x64.ALLOC_SMALL, 2), code(1, x64.PUSH_NONVOL, 3),
        flags=x64.EHANDLER, prologue=10, tail=struct.pack("<II", 0x1234, 7),
    )  # fmt: skip
    found, state = step(data, 0x1020)
    assert found == x64.Step(0x9000, 0x1234, 0x2000 + len(data) - 4)
    named = dict(zip(x64.REGISTERS, state.gpr, strict=True))
    assert (named["rsi"], named["rdi"], named["rbx"]) == (0xA0, 0xA1, 0xA0 + (0x40 + 0x18) // 8)
    assert state.xmm[6] == 0xA2 | 0xA3 << 64
    assert state.xmm[7] == 0xA6 | 0xA7 << 64
    assert state.rip == 0xA0 + (0x40 + 0x18) // 8 + 1
    assert named["rsp"] == 0x9000 + 0x40 + 0x18 + 16
    # in the prologue only what is done is undone, and nobody is asked
    found, state = step(data, 0x1001)
    assert found == x64.Step(0x9000, 0, 0)
    assert (state.gpr[3], state.rip, state.gpr[4]) == (0xA0, 0xA1, 0x9010)


def test_frame_register_machine_frame_and_chain() -> None:
    data = info(code(8, x64.SET_FPREG), code(4, x64.ALLOC_SMALL, 3), code(1, x64.PUSH_NONVOL, 5), prologue=8, frame=5 | 2 << 4)  # fmt: skip
    found, state = step(data, 0x1020, rsp=0x9000, rbp=0x9060)
    assert found.frame == 0x9040
    assert (state.gpr[5], state.rip, state.gpr[4]) == (0xA0 + 12, 0xA0 + 13, 0x9070)
    for error in (0, 1):
        machine = info(code(0, x64.PUSH_MACHFRAME, error))
        _, state = step(machine, 0x1020)
        assert (state.rip, state.gpr[4]) == (0xA0 + error, 0xA3 + error)
    parent = info(code(1, x64.PUSH_NONVOL, 3), prologue=1, flags=x64.UHANDLER, tail=struct.pack("<II", 0x77, 0))  # fmt: skip
    child = info(code(2, x64.ALLOC_SMALL, 0), flags=x64.CHAININFO, tail=struct.pack("<III", 0x800, 0x900, 0x2040))  # fmt: skip
    found, state = step(child.ljust(0x40, b"\0") + parent, 0x1020)
    assert found.handler == 0x77
    assert (state.gpr[3], state.rip) == (0xA1, 0xA2)
    endless = info(flags=x64.CHAININFO, tail=struct.pack("<III", 0x800, 0x900, 0x2000))
    with pytest.raises(x64.BadUnwindInfo):
        step(endless, 0x1020)


@pytest.mark.parametrize(
    ("text", "rip", "rbx"),
    [
        ("48 83 c4 20 5b c3", 0xA5, 0xA4),  # add $32, %rsp; pop %rbx; ret
        ("48 81 c4 20 00 00 00 5b c2 00 00", 0xA5, 0xA4),
        ("48 8d 65 10 5b c3", 0xA0 + 9, 0xA0 + 8),  # lea 16(%rbp), %rsp
        ("48 8d a5 10 00 00 00 5b f3 c3", 0xA0 + 9, 0xA0 + 8),
        ("5b 41 5c c3", 0xA2, 0xA0),
        ("5b e9 00 10 00 00", 0xA1, 0xA0),  # a jump out of it: a tail call
        ("5b eb 7f", 0xA1, 0xA0),
        ("5b 48 ff e0", 0xA1, 0xA0),
        ("5b ff 25 00 00 00 00", 0xA1, 0xA0),
    ],
)
def test_epilogues_are_carried_out(text: str, rip: int, rbx: int) -> None:
    data = info(code(5, x64.ALLOC_SMALL, 3), code(1, x64.PUSH_NONVOL, 3), prologue=5, flags=x64.EHANDLER, tail=bytes(8))  # fmt: skip
    found, state = step(data, 0x1008, code=b"\x90" * 8 + bytes.fromhex(text).ljust(64, b"\xcc"), rbp=0x9030)  # fmt: skip
    assert found.handler == 0
    assert (state.rip, state.gpr[3]) == (rip, rbx)


@pytest.mark.parametrize(
    "text", ["48 83 c4 20 5b 90 c3", "5b eb 05", "ff e0", "48 8d 65 10 90", "e8 00 00 00 00"]
)
def test_what_is_no_epilogue(text: str) -> None:
    data = info(code(5, x64.ALLOC_SMALL, 3), code(1, x64.PUSH_NONVOL, 3), prologue=5, flags=x64.EHANDLER, tail=struct.pack("<II", 0x55, 0))  # fmt: skip
    found, state = step(data, 0x1008, code=b"\x90" * 8 + bytes.fromhex(text).ljust(64, b"\xcc"), rbp=0x9030)  # fmt: skip
    assert found.handler == 0x55
    assert state.rip == 0xA5


def test_version_2_says_where_epilogues_are() -> None:
    """One at the very end, one 0x20 bytes before; the same instructions elsewhere are none."""
    data = info(
        code(2, x64.EPILOG, 1), code(0x20, x64.EPILOG), code(1, x64.PUSH_NONVOL, 3), code(0, x64.PUSH_NONVOL, 6),
        version=2, prologue=2, flags=x64.EHANDLER, tail=struct.pack("<II", 0x55, 0),
    )  # fmt: skip
    assert x64.decode(reader({0x2000: data}), 0x2000).epilogues == (2, 0x20)
    text = b"\x90" * 0x10 + b"\x5b\xc3" + b"\x90" * 0xE + b"\x5b\xc3" + b"\x90" * 0x1C + b"\x5b\xc3"
    for pc, handler, rip in ((0x1010, 0x55, 0xA2), (0x1020, 0, 0xA1), (0x103E, 0, 0xA1)):
        found, state = step(data, pc, code=text.ljust(0x60, b"\x90"))
        assert (found.handler, state.rip) == (handler, rip), hex(pc)


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (info(version=3), "Version"),
        (info(flags=5), "Flags"),
        (info(flags=8), "Flags"),
        (info(code(1, 6)), "UnwindOp"),
        (info(code(1, 11)), "UnwindOp"),
        (info(code(1, x64.ALLOC_LARGE, 2), 0), "OpInfo of UWOP_ALLOC_LARGE"),
        (info(code(1, x64.SAVE_NONVOL)), "CountOfCodes"),
    ],
)
def test_what_cannot_be_is_refused(data: bytes, field: str) -> None:
    with pytest.raises(x64.BadUnwindInfo) as caught:
        x64.decode(reader({0x2000: data + bytes(16)}), 0x2000)
    assert caught.value.field == field


def test_findings_of_damaged_tables(need: Need) -> None:
    """A table that is not sorted, a row that ends before it begins, information of an unknown version."""
    path = windows.build("int main(void) { return 0; }", "sound.exe", need)
    whole = path.read_bytes()
    sound = PeFile(whole)
    assert not list(faults(sound))
    table = unwind_table(sound)
    at = sound.locate(table.address, 12 * len(table), "table")
    swapped = whole[:at] + whole[at + 12 : at + 24] + whole[at : at + 12] + whole[at + 24 :]
    (fault,) = faults(PeFile(swapped))
    assert fault.field == "BeginAddress of row 1"
    empty = bytearray(whole)
    empty[at + 4 : at + 8] = empty[at : at + 4]
    (fault,) = faults(PeFile(bytes(empty)))
    assert fault.field == "EndAddress of row 0"
    bad = bytearray(whole)
    bad[sound.locate(table.unwind.item(3), 4, "information")] = 7
    (fault,) = faults(PeFile(bytes(bad)))
    assert (fault.structure, fault.field) == (
        f"UNWIND_INFO at {table.unwind.item(3):#x}",
        "Version",
    )
    place = path.parent / "damaged.exe"
    place.write_bytes(swapped)
    command = [sys.executable, "-m", "rtld", "check", str(place)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert "BeginAddress of row 1" in done.stdout + done.stderr
    cut = bytearray(whole)
    directory = sound.nt_offset + 24 + 112 + 8 * 3
    struct.pack_into("<I", cut, directory + 4, 0x7FFFFFF0)
    with pytest.raises(FormatError):
        list(faults(PeFile(bytes(cut))))


def test_symbols_of_the_coff_table(need: Need) -> None:
    for arch in ("x86_64", "i386"):
        path = windows.build("int first(void) { return 1; } int main(void) { return first(); }", "named.exe", need, "-O0", arch=arch)  # fmt: skip
        file = PeFile(str(path))
        rvas, names = symbols(file)
        places = dict(zip(names, rvas, strict=True))
        assert symbol_before(file, places["first"] + 3) == ("first", 3)
        assert places["first"] < places["main"]
        assert symbol_before(file, 0) is None
