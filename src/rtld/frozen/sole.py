"""The image of a program that needs no libraries but libc's: there is nothing to fuse, so it stays as it is.

The file is the original, byte by byte, and one more page of code behind it: program headers, the start-up code with the
guard, what /proc/self/exe is answered by, the note. ld.so sees the original's own dynamic section, so a start does what
it always did and costs what it always did; all of the other form's tables would only be read in addition.

Functions that take a path are called by way of the procedure linkage table. Its entries for them, ``jmp *slot(%rip)``,
become ``jmp redirect``; the slots stay as they are, so they are bound as ever.
"""

from __future__ import annotations

import os
import struct

import numpy as np

from rtld.arch import x86_64_freeze as code
from rtld.core.output import write_at
from rtld.core.space import page_up
from rtld.elf import types as t
from rtld.elf.tables import tables
from rtld.frozen.manifest import DIGEST_SIZE, digest, note
from rtld.frozen.plan import PAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtld.elf.file import ElfFile
    from rtld.frozen.plan import Plan, Stamp

_LINKS = frozenset(["readlink", "readlinkat", "__readlink_chk"])
_WANTED = code.REDIRECTED | _LINKS
_JUMP = b"\xff\x25"  # jmp *disp32(%rip)


def entries_to_redirect(plan: Plan) -> dict[str, tuple[int, int]] | None:
    """Function -> (address of its PLT entry's jump, address of its slot); None where the other form is needed."""
    file, options = plan.main.file, plan.options
    if len(plan.fused) > 1 or plan.undefined or options.base is not None or options.many:
        return None
    if any(not module.is_libc_family for module in plan.hosted):
        return None
    loads = file.loads
    # The program headers' address is that of the first segment and e_phoff, to kernels before 5.18.
    if file.segment(t.PT_PHDR) is None or loads[0].offset:
        return None
    # The image may be in another directory.
    if "ORIGIN" in (file.runpath or "") + (file.rpath or ""):
        return None
    slots = _slots(file)
    if slots is None:
        return None
    result = {}
    for name, slot in slots.items():
        found = [at for load in loads if load.flags & t.PF_X for at in _jumps(file, load, slot)]
        if len(found) != 1:
            return None
        result[name] = found[0], slot
    return result


def _slots(file: ElfFile) -> dict[str, int] | None:
    """Function that is to be redirected -> its slot; None if the program refers to one in another way too."""
    table, dynamic = tables(file), file.dynamic
    if dynamic is None or t.DT_STRTAB not in dynamic:
        return None
    strings, size = file.strings()
    text = bytes(file.data[strings : strings + size])
    found: dict[str, int] = {}
    for place_tag, size_tag in ((t.DT_RELA, t.DT_RELASZ), (t.DT_JMPREL, t.DT_PLTRELSZ)):
        place, length = dynamic.get(place_tag), (dynamic.get(size_tag, 0) or 0) // 24
        if place is None or not length:
            continue
        start = file.file_offset(place, 24 * length)
        rows = np.frombuffer(file.data, "<u8", 3 * length, start).reshape(-1, 3)
        for offset, info, _addend in rows[rows[:, 1] >> 32 != 0].tolist():
            symbol = table.symtab - table.base + 24 * (info >> 32)
            if symbol + 24 > file.size:
                return None
            (begin,) = struct.unpack_from("<I", file.data, symbol)
            name = text[begin : text.find(b"\0", begin)].decode("latin-1")
            if name not in _WANTED:
                continue
            if name in found or info & 0xFFFFFFFF != _JUMP_SLOT:
                return None
            found[name] = offset
    return found


_JUMP_SLOT = 7  # R_X86_64_JUMP_SLOT


def _jumps(file: ElfFile, load: object, slot: int) -> list[int]:
    """Addresses of jumps by way of the slot."""
    vaddr, offset, size = load.vaddr, load.offset, load.filesz  # type: ignore[attr-defined]
    data = np.frombuffer(file.data, np.uint8, size, offset)
    at = np.flatnonzero((data[:-5] == _JUMP[0]) & (data[1:-4] == _JUMP[1]))
    parts = [data[at + 2 + i].astype(np.int64) << 8 * i for i in range(4)]
    distance = sum(parts).astype(np.int64)  # type: ignore[union-attr]
    distance -= (distance >> 31) << 32
    return [int(vaddr + i) for i in at[vaddr + at + 6 + distance == slot]]


class Tail:
    """What stands behind the original: ``data`` for ``address``, and the bytes that change before it, by file offset."""

    __slots__ = ("address", "data", "edits", "headers", "offset")

    def __init__(
        self, plan: Plan, stamps: Sequence[Stamp], entries: dict[str, tuple[int, int]]
    ) -> None:
        file = plan.main.file
        low, high = file.span
        low &= -PAGE
        self.offset = page_up(max(file.size, high - low))
        self.address = low + self.offset
        plan.base = low
        self.headers = 56 * (file.phnum + 2)
        self.data = bytearray(self.headers)
        self.edits: list[tuple[int, bytes]] = []
        entry = self._add_code(plan, stamps, entries)
        self._pad(4)
        note_at = len(self.data)
        self.data += note(plan, stamps)
        self._write_headers(file, note_at)
        head = bytearray(file.data[:64])
        struct.pack_into("<QQ", head, 24, entry, self.offset)
        struct.pack_into("<H", head, 56, file.phnum + 2)
        self.edits.append((0, bytes(head)))

    def _pad(self, align: int) -> int:
        self.data += bytes(-len(self.data) % align)
        at: int = self.address + len(self.data)
        return at

    def _add(self, data: bytes, align: int = 16) -> int:
        at: int = self._pad(align)
        self.data += data
        return at

    def _add_code(
        self, plan: Plan, stamps: Sequence[Stamp], entries: dict[str, tuple[int, int]]
    ) -> int:
        """The start-up code and what it reads; returns its address."""
        from rtld.frozen import startup

        program = os.fsencode(startup.program_path(plan))
        path = self._add(program + b"\0", 1)
        original = self._add(os.fsencode(startup.original(plan)) + b"\0", 1)
        itself = self._add(b"/proc/self/exe\0", 1)
        text = startup._STALE % program
        message = self._add(text, 1)
        steps = startup.Steps(plan.base)
        if plan.options.guard:
            row = startup._stamp_row(steps, stamps[0])
            steps.add(code.GUARD, 1, struct.pack("<5Q", *row))
        at = self._pad(16)
        self.data += steps.bytes(at, plan.main.file.entry)
        start = self._pad(16)
        addresses = {
            "image": plan.base, "plan": at, "program": path, "original": path, "self": itself, "message": message,
        }  # fmt: skip
        terms = startup._relative(addresses) | {"length": {"S": len(text)}}
        self.data += code.START.fill(start, terms)
        if entries:
            self._add_redirects(plan, entries, {"self": itself, "original": original}, start)
        return start

    def _add_redirects(
        self, plan: Plan, entries: dict[str, tuple[int, int]], texts: dict[str, int], nothing: int
    ) -> None:
        from rtld.frozen.startup import _relative

        real = {}
        for name, (_jump, slot) in entries.items():
            at = self._pad(8)
            real[name] = self._add(code.TRAMPOLINE.fill(at, {"slot": {"S": slot, "A": -4}}), 8)
        services = self._pad(16)
        unused = dict.fromkeys(
            ("dlsym", "again", "dladdr", "dladdr1", "names", "modules"), nothing
        ) | {
            "image": plan.base, "readlinkat": real.get("readlinkat", nothing),
            "readlink": real.get("readlink", real.get("__readlink_chk", nothing)),
        }  # fmt: skip
        self.data += code.SERVICES.fill(services, _relative(unused | texts))
        for name, (jump, _slot) in entries.items():
            if name in code.ENTRIES:
                target = services + code.ENTRIES[name]
            else:
                target = self._pad(16)
                places = {
                    "itself": services + code.ITSELF,
                    "original": texts["original"],
                    "real": real[name],
                }
                self.data += code.REDIRECT.fill(target, _relative(places))
            edit = b"\xe9" + struct.pack("<i", target - jump - 5) + b"\x90"
            self.edits.append((plan.main.file.file_offset(jump, 6), edit))

    def _write_headers(self, file: ElfFile, note_at: int) -> None:
        """The original's, one PT_LOAD more behind the others, one PT_NOTE more at the end."""
        (phoff,) = struct.unpack_from("<Q", file.data, 32)
        rows = [bytes(file.data[phoff + 56 * i : phoff + 56 * (i + 1)]) for i in range(file.phnum)]
        kinds = [struct.unpack_from("<I", row)[0] for row in rows]
        at = kinds.index(t.PT_PHDR)
        rows[at] = self._header(t.PT_PHDR, t.PF_R, 0, self.headers, 8)
        last = len(kinds) - kinds[::-1].index(t.PT_LOAD)
        rows.insert(last, self._header(t.PT_LOAD, t.PF_R | t.PF_X, 0, len(self.data), PAGE))
        size = len(self.data) - note_at
        rows.append(self._header(t.PT_NOTE, t.PF_R, note_at, size, 4))
        self.data[: self.headers] = b"".join(rows)

    def _header(self, kind: int, flags: int, at: int, size: int, align: int) -> bytes:
        address = self.address + at
        return struct.pack(
            "<IIQQQQQQ", kind, flags, self.offset + at, address, address, size, size, align
        )


def relocations(file: ElfFile) -> int:
    """How many ld.so applies, as ever."""
    return int(sum(run.count for run in tables(file).relocs))


def fill(plan: Plan, tail: Tail, fd: int) -> None:
    """The file: the original's bytes, those that change, the new page."""

    write_at(fd, plan.main.file.data, 0)
    for offset, data in tail.edits:
        write_at(fd, data, offset)
    write_at(fd, bytes(tail.data), tail.offset)
    place = tail.offset + len(tail.data) - DIGEST_SIZE
    write_at(fd, digest(lambda offset, size: os.pread(fd, size, offset), place), place)
