"""A bound little-endian program -> an i386 ELF executable that a kernel can start (gABI 4.1 chapter 5)."""

from __future__ import annotations

import struct

from rtld.errors import UnresolvedSymbol, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.core.module import Module, Namespace
    from rtld.textbook.object import Segment

PAGE = 0x1000
LOWEST = 0x10000  # vm.mmap_min_addr, as Linux is usually set up
PT_LOAD, PT_GNU_STACK = 1, 0x6474E551
PF_X, PF_W, PF_R = 1, 2, 4
ENTRIES = ("_start", "main")


def entry_of(ns: Namespace, name: str | None = None) -> int:
    """The address at which the program begins: *name*, else _start or main, in the program itself."""
    from rtld.core.module import Definition
    from rtld.textbook.bind import address_of

    for candidate in (name,) if name else ENTRIES:
        index = ns.columns[ns.main].get(candidate)
        if index is not None:
            return address_of(Definition(ns.main, index))
    raise UnresolvedSymbol(ns.main.path, name or " or ".join(ENTRIES))


def elf_program(ns: Namespace, order: str, entry: str | None = None) -> bytes:
    """The bound modules as one statically linked program."""
    if order != "<":
        raise Unsupported(
            f"{ns.main.path} is big-endian; an i386 program is little-endian",
            "link with --endian little",
        )
    start = entry_of(ns, entry)
    loads = [load for module in ns.modules for load in _loads(module)]
    lowest = min((address for address, _, _, _ in loads), default=0)
    if lowest < LOWEST:
        advice = "link the program with --base 8048000, or bind it --at 8048000"
        raise Unsupported(
            f"a program cannot be at {lowest:x}: the kernel keeps addresses below {LOWEST:x}",
            advice,
        )
    headers, body = b"", b""
    begin = -(-(52 + 32 * (len(loads) + 1)) // PAGE) * PAGE
    for address, data, size, flags in loads:
        offset = begin + len(body) + address % PAGE
        headers += struct.pack(
            "<8I", PT_LOAD, offset, address, address, len(data), size, flags, PAGE
        )
        body += bytes(address % PAGE) + data
        body += bytes(-len(body) % PAGE)
    headers += struct.pack("<8I", PT_GNU_STACK, 0, 0, 0, 0, 0, PF_R | PF_W, 16)
    ident = b"\x7fELF\x01\x01\x01" + bytes(9)
    head = ident + struct.pack(
        "<HHIIIIIHHHHHH", 2, 3, 1, start, 52, 0, 0, 52, 32, len(loads) + 1, 0, 0, 0
    )
    return (head + headers).ljust(begin, b"\0") + body


def _loads(module: Module) -> list[tuple[int, bytes, int, int]]:
    """(address, data, size in memory, flags) of each run of segments that share pages."""
    runs: list[list[Segment]] = []
    for segment in sorted(module.file.segments, key=lambda segment: segment.start):
        if not segment.length:
            continue
        if runs and segment.start // PAGE <= (max(s.end for s in runs[-1]) - 1) // PAGE:
            runs[-1].append(segment)
        else:
            runs.append([segment])
    result = []
    for run in runs:
        low, high = run[0].start, max(s.end for s in run)
        filled = max((s.end for s in run if s.present), default=low)
        flags = PF_R
        for segment in run:
            flags |= PF_W if segment.writable else PF_X
        data = module.image.view(low, filled - low).tobytes()
        result.append((low + module.base, data, high - low, flags))
    return result
