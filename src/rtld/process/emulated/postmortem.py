"""What is told when a guest has done something wrong: where, in which function, with which registers and instructions."""

from __future__ import annotations

import os

from rtld.elf.file import ElfFile
from rtld.errors import RtldError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.backends.emulated.faults import Fault
    from rtld.process.emulated.execve import Process

_ALL = (1 << 64) - 1
CODE = 24  # bytes shown from the instruction on
NEAR = 1 << 16  # a fault so close to the stack pointer is the stack's
#: CPU -> Capstone's architecture and mode.
DISASSEMBLERS = {
    "i386": ("X86", "32"), "x86_64": ("X86", "64"), "arm": ("ARM", "ARM"), "aarch64": ("ARM64", "ARM"),
    "mips64el": ("MIPS", "MIPS64"),
    "mipsel": ("MIPS", "MIPS32"),
    "riscv64": ("RISCV", "RISCV64"), "s390x": ("SYSZ", "BIG_ENDIAN"),
}  # fmt: skip


def place_of(process: Process, address: int) -> str:
    """Module+offset and the symbol before it, in words; "" if nobody's."""
    found = process.machine.memory.place(address)
    if found is None:
        return ""
    what, offset = found
    if not what.startswith("/"):
        return f"in {what}"
    text = f"in {what}+{offset:#x}"
    symbol = _symbol(process, what, offset)
    return f"{text} ({symbol})" if symbol else text


def _symbol(process: Process, path: str, offset: int) -> str:
    """The function that a byte of a file belongs to: its name and how far behind its start."""
    from rtld.elf.tables import symbols

    try:
        with process.system.tree.find(path) as place:
            fd = os.open(place.name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=place.fd)
        try:
            file = ElfFile(fd, path)
        finally:
            os.close(fd)
        load = next(s for s in file.loads if s.offset <= offset < s.offset + s.filesz)
        at = offset - load.offset + load.vaddr
        table = symbols(file)
        values = table["st_value"].astype("u8") & (_ALL - 1 if process.arch.name == "arm" else _ALL)
        kinds = table["st_info"] & 15
        chosen = ((kinds == 2) | (kinds == 10)) & (table["st_shndx"] != 0) & (values <= at)
        if not chosen.any():
            return ""
        best = int(values[chosen].max())
        row = table[chosen & (values == best)][0]
        text = file.string_bytes(int(row["st_name"]), "st_name").decode(errors="replace")
    except (OSError, RtldError, StopIteration, LookupError, ValueError):
        return ""
    return f"{text}+{at - best:#x}"


def overflowed(process: Process, fault: Fault) -> str:
    """The words "stack overflow of thread N", if that is what it was."""
    machine = process.machine
    sp = fault.registers.get(machine.cpu.sp, 0)
    address = fault.address if fault.address is not None else sp
    if abs(address - sp) > NEAR:
        return ""
    number = machine.kernel.task.number + 1
    low, _ = process.stack
    if low - NEAR <= address < low:
        return f"stack overflow of thread {number}"
    page = machine.memory.regions.pieces(address, address + 1)
    found = machine.memory.place(address)
    if page and not page[0][2] and found is not None and found[0] == "[stack of a thread]":
        return f"stack overflow of thread {number}"
    return ""


def describe(process: Process, fault: Fault) -> str:
    """Several lines."""
    fault.place = fault.place or place_of(process, fault.pc or 0)
    lines = [str(fault)]
    overflow = overflowed(process, fault)
    if overflow:
        lines.append(overflow)
    digits = process.arch.bits // 4
    cells = [
        f"{name:>6} {value & (1 << process.arch.bits) - 1:0{digits}x}"
        for name, value in fault.registers.items()
    ]
    across = 4 if process.arch.bits == 64 else 6
    lines += ["  " + "  ".join(cells[i : i + across]) for i in range(0, len(cells), across)]
    lines += _code(process, fault.pc or 0)
    return "\n".join(lines)


def _code(process: Process, pc: int) -> list[str]:
    """The instructions from there on; their bytes where nobody can read them."""
    memory = process.machine.memory
    count = CODE
    while count and not memory.covers(pc, count):
        count -= 2
    data = bytes(memory.view(pc, count)) if count > 0 else b""
    if not data:
        return []
    try:
        import capstone  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        return [f"  {pc:x}: {data.hex(' ')}"]
    family, mode = DISASSEMBLERS[process.arch.name]
    flags = getattr(capstone, f"CS_MODE_{mode}")
    if process.arch.name == "arm" and process.machine.engine.thumb():
        flags = capstone.CS_MODE_THUMB
    if process.arch.name == "riscv64":
        flags |= capstone.CS_MODE_RISCVC
    reader = capstone.Cs(getattr(capstone, f"CS_ARCH_{family}"), flags)
    return [
        f"  {i.address:x}: {i.mnemonic} {i.op_str}".rstrip()
        for i in list(reader.disasm(data, pc))[:4]
    ]
