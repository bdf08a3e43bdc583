"""Whether a file that was opened is one the program's loader takes: its ELF header (glibc elf/dl-load.c, open_verify).

Files for another class or machine are passed over and the search goes on. Anything else that is wrong is an error: it
means that something is broken in the installation, and the user wants to know.
"""

from __future__ import annotations

import os
import struct

from rtld.elf.types import ELFMAG, ET_DYN, ET_EXEC, TYPE_NAMES, machine_name
from rtld.errors import FormatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.elf.search import Search

# e_type, e_machine, e_version, e_phoff, e_flags, e_phentsize, e_phnum, by byte order and whether the class is ELFCLASS64.
_FIELDS = {
    (order, wide): struct.Struct(order + ("HHI8xQ8xI2xHH" if wide else "HHI4xI4xI2xHH"))
    for order in "<>"
    for wide in (False, True)
}

_BUFFER = 832  # struct filebuf of elf/dl-load.c: the headers of most files are in it
WRONG_CLASS = "wrong class"
WRONG_MACHINE = "wrong machine"


def refuse(search: Search, fd: int, path: str) -> tuple[str, str] | None:
    """Why a file is passed over: (outcome, detail), or None when its header is right."""
    try:
        header = os.pread(fd, _BUFFER, 0)
    except OSError as error:
        raise FormatError(path, "cannot read file data", "", error.strerror) from None
    wide = search.main.bits == 64
    if len(header) < (64 if wide else 52):
        raise FormatError(
            path, "file too short", "size", len(header), f"at least {64 if wide else 52}"
        )
    if search.rules.lenient or header[:16] not in search.ident:
        refusal = _wrong_ident(search, path, header)
        if refusal is not None:
            return refusal
    fields = _FIELDS[search.main.order, wide].unpack_from(header, 16)
    kind, machine, version, phoff, flags, size, count = fields
    if version != 1 and not search.rules.lenient:
        raise FormatError(path, "ELF file version does not match current one", "", version, 1)
    wrong = _wrong_machine(search, machine, flags)
    if wrong is not None:
        return WRONG_MACHINE, wrong
    if kind not in (ET_DYN, ET_EXEC):
        found = TYPE_NAMES.get(kind, kind)
        raise FormatError(path, "only ET_DYN and ET_EXEC can be loaded", "e_type", found)
    if size != (56 if wide else 32):
        raise FormatError(path, "ELF file's phentsize not the expected size", "", size)
    end = phoff + size * count
    if end > len(header) and end > os.fstat(fd).st_size:
        raise FormatError(path, "cannot read file data")
    return None


def _wrong_ident(search: Search, path: str, header: bytes) -> tuple[str, str] | None:
    """e_ident is none of the two usual ones: pass over (the other class), stop, or take it after all."""
    main = search.main
    if header[:4] != ELFMAG:
        raise FormatError(path, "invalid ELF header", "magic", header[:4], "'\\x7fELF'")
    if header[4] != main.bits // 32:
        search.other_class = True
        names = {1: "ELFCLASS32", 2: "ELFCLASS64"}
        return WRONG_CLASS, names.get(header[4], f"class {header[4]}")
    if header[5] != (1 if main.order == "<" else 2):
        kind = "little-endian" if main.order == "<" else "big-endian"
        raise FormatError(path, f"ELF file data encoding not {kind}", "EI_DATA", header[5])
    if header[6] != 1:
        raise FormatError(
            path, "ELF file version ident does not match current one", "", header[6], 1
        )
    if search.rules.lenient:
        return None
    osabi, version = header[7], header[8]
    arch = search.cpu.arch
    limits = {0: 1, 3: 4} if arch is None else arch.osabi
    if osabi not in limits:
        raise FormatError(
            path, "ELF file OS ABI invalid", "EI_OSABI", osabi, f"one of {list(limits)}"
        )
    if version >= limits[osabi]:
        raise FormatError(
            path, "ELF file ABI version invalid", "", version, f"less than {limits[osabi]}"
        )
    if any(header[9:16]):
        raise FormatError(path, "nonzero padding in e_ident", "", header[9:16].hex())
    return None


def _wrong_machine(search: Search, machine: int, flags: int) -> str | None:
    """Why a library's code does not run beside the program's, or None (glibc: elf_machine_matches_host)."""
    main = search.main
    if machine != main.machine:
        return machine_name(machine)
    if flags == main.flags:
        return None
    arch = search.cpu.arch
    return None if arch is None else arch.compatible(main.flags, flags)
