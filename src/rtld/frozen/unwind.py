"""One .eh_frame_hdr for all modules: unwinders look for one, in the object that the program is (LSB core, 10.6.2).

The modules' own tables are sorted already; their union is sorted again, with entries relative to the new table. A module
without a usable table has its .eh_frame read instead. Trampolines and start-up code get descriptions of their own, so
that a signal that arrives there can be unwound.
"""

from __future__ import annotations

import struct

import numpy as np

from rtld.elf import types as t
from rtld.elf.ehframe import search_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rtld.core.module import Module
    from rtld.frozen.plan import Plan

# DW_EH_PE_*
_PCREL, _DATAREL, _SDATA4, _UDATA4, _OMIT = 0x10, 0x30, 0x0B, 0x03, 0xFF
_TABLE = _DATAREL | _SDATA4
_SIZES = {0x00: ("<Q", 8), 0x03: ("<I", 4), 0x04: ("<Q", 8), 0x0B: ("<i", 4), 0x0C: ("<q", 8)}


def read_table(module: Module) -> NDArray[np.int64]:
    """(initial location, address of its FDE) of a module, n by 2, relative to its base."""
    file = module.file
    table = search_table(file)
    if table is not None:
        return table
    segment = file.segment(t.PT_GNU_EH_FRAME)
    none: NDArray[np.int64] = np.empty((0, 2), np.int64)
    if segment is None or segment.filesz < 12:
        return none
    data = file.contents(segment)
    version, pointer = data[:2]
    if version != 1:
        return none
    if pointer == _PCREL | _SDATA4:
        start = segment.vaddr + 4 + int.from_bytes(data[4:8], "little", signed=True)
        return scan_frames(module, start)
    return none


def scan_frames(module: Module, start: int) -> NDArray[np.int64]:
    """The same from .eh_frame at p_vaddr *start*, entry by entry, up to its terminator or the end of the segment."""
    file = module.file
    offset = file.file_offset(start, 4, ".eh_frame")
    end = file.load_end(offset)
    data = file.data
    forms: dict[int, int] = {}
    rows = []
    at = offset
    while at + 8 <= end:
        length = int.from_bytes(data[at : at + 4], "little")
        if length == 0:
            break
        body = at + 4
        if length == 0xFFFFFFFF:
            length = int.from_bytes(data[body : body + 8], "little")
            body += 8
        if length < 4 or body + length > end:
            raise file.fail(".eh_frame", "length", length, f"4 to {end - body}")
        back = int.from_bytes(data[body : body + 4], "little")
        if back == 0:
            forms[at] = _pointer_form(bytes(data[body + 4 : body + length]))
        else:
            form = forms.get(body - back, _OMIT)
            size = _SIZES.get(form & 0x0F)
            if size is not None and form & 0x70 in (0, _PCREL) and 4 + size[1] <= length:
                (value,) = struct.unpack_from(size[0], data, body + 4)
                place = start + (body + 4 - offset)
                rows.append((value + (place if form & 0x70 else 0), start + at - offset))
        at = body + length
    return np.array(rows, np.int64).reshape(-1, 2)


def _pointer_form(cie: bytes) -> int:
    """How a CIE's FDEs encode addresses: the R of its augmentation; 0 (absolute) without one."""
    text, _, rest = cie[1:].partition(b"\0")
    at = 0

    def skip() -> None:
        nonlocal at
        while at < len(rest) and rest[at] & 0x80:
            at += 1
        at += 1

    skip()  # code alignment
    skip()  # data alignment
    if cie[:1] == b"\1":
        at += 1
    else:
        skip()
    if not text.startswith(b"z"):
        return 0
    skip()  # length of the augmentation data
    for letter in text[1:].decode("latin-1"):
        if at >= len(rest):
            return _OMIT
        if letter == "R":
            return rest[at]
        if letter == "P":
            form = rest[at]
            size = _SIZES.get(form & 0x0F)
            if size is None:
                return _OMIT
            at += 1 + size[1]
        elif letter == "L":
            at += 1
        elif letter not in "SB":
            return _OMIT
    return 0


def debugger_frames(plan: Plan, address: int) -> bytes:
    """The .eh_frame of all modules, one behind the other, as it would be at *address*: gdb reads one section of this name.

    Nothing maps it. FDEs are found by the tables; only the addresses where they begin change (LSDAs are of no use to gdb).
    """
    parts: list[bytes] = []
    at = address
    for module in plan.fused:
        rows = read_table(module)
        if not len(rows):
            continue
        begin, last = int(rows[:, 1].min()), int(rows[:, 1].max())
        file = module.file
        head = file.segment(t.PT_GNU_EH_FRAME)
        start = head.vaddr + 4 + int.from_bytes(file.contents(head)[4:8], "little", signed=True)
        begin = min(begin, start)
        offset = file.file_offset(begin, last - begin + 4, ".eh_frame")
        end = offset + last - begin
        end += 4 + int.from_bytes(file.data[end : end + 4], "little")
        data = np.frombuffer(file.data[offset : min(end, file.size)], np.uint8).copy()
        words: NDArray[np.int32] = np.ndarray((len(data) - 3,), "<i4", data, strides=(1,))
        places = rows[:, 1] - begin + 8
        places_at = rows[:, 1] + 8
        if (places >= len(words)).any() or (words[places] + places_at != rows[:, 0]).any():
            continue  # another encoding
        shift = module.base + begin - at
        if not -(1 << 31) <= shift < 1 << 31:
            continue
        words[places] += np.int32(shift)
        data = np.concatenate([data, np.zeros(-len(data) % 8, np.uint8)])
        parts.append(data.tobytes())
        at += len(data)
    return b"".join(parts)


def own_frames(plan: Plan, address: int) -> tuple[bytes, list[tuple[int, int]]]:
    """.eh_frame of the new code, to stand at *address*, and its rows. Nothing calls the start-up code: no return address."""
    from rtld.frozen.startup import label

    # version 1, "zR", code 1, data -8, rip is 16; CFA = rsp + 8, rip at CFA - 8
    cie = struct.pack("<II", 20, 0) + b"\1zR\0\1\x78\x10\1\x1b\x0c\7\x08\x90\1\0\0"
    out = bytearray(cie)
    rows = []
    trampolines = 8 * len(plan.imports.module)
    start = label(plan, "start")
    for begin, size, program in (
        (plan.code, trampolines, b"\0\0\0"),
        (start, plan.code + plan.code_size - start, b"\x07\x10\0"),  # DW_CFA_undefined rip
    ):
        if size:
            at = address + len(out)
            rows.append((begin, at))
            out += struct.pack("<IIiIB", 16, len(out) + 4, begin - (at + 8), size, 0) + program
    out += bytes(4)
    return bytes(out), rows


def merged_table(plan: Plan, address: int) -> bytes:
    """The new .eh_frame_hdr, to stand at *address*, with the frames of the new code behind it."""
    tables = [read_table(module) + module.base for module in plan.fused]
    count = sum(len(rows) for rows in tables)
    frames_at = address + 12 + 8 * (count + 2)
    frames, rows = own_frames(plan, frames_at)
    every = np.concatenate([*tables, np.array(rows, np.int64).reshape(-1, 2)])
    every = every[np.argsort(every[:, 0], kind="stable")]
    pointer = frames_at
    head = struct.pack(
        "<BBBBiI", 1, _PCREL | _SDATA4, _UDATA4, _TABLE, pointer - address - 4, len(every)
    )
    body = (every - address).astype("<i4").tobytes()
    return head + body + bytes(8 * (count + 2) - len(body)) + frames
