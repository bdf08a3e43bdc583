"""The image as a file: headers, the modules' bytes, the new parts. All at once or not at all.

It is written into a file without a name and linked into its directory when it is whole; a process that is killed leaves
nothing. Pages that nobody needs (zeros, tables of the linker that have done their work) are holes.
"""

from __future__ import annotations

import errno
import os
import struct

import numpy as np

from rtld.core.output import write_at
from rtld.core.space import page_up
from rtld.elf import types as t
from rtld.frozen.layout import dead_ranges, is_thin, largest_alignment, program_headers
from rtld.frozen.manifest import DIGEST_SIZE, digest
from rtld.frozen.plan import PAGE, Load
from rtld.frozen.sections import section_headers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from rtld.core.module import Module
    from rtld.frozen.layout import Protections
    from rtld.frozen.plan import Plan

    Progress = Callable[[str, int, int], None]


def write_image(
    plan: Plan, protections: Protections, path: str, mode: int, progress: Progress
) -> tuple[int, int]:
    """Write the image to *path*; returns (bytes, bytes on disk). OSError leaves what was there before."""
    return write_whole(path, mode, lambda fd: _fill(plan, protections, fd, progress))


def write_whole(path: str, mode: int, fill: Callable[[int], None]) -> tuple[int, int]:
    """A file that is there when *fill* has written all of it into a descriptor; (bytes, bytes on disk)."""
    directory = os.path.dirname(os.path.abspath(path))
    fd, name = _open_unnamed(directory)
    try:
        fill(fd)
        os.fchmod(fd, mode)
        status = os.fstat(fd)
        name = _give_name(fd, name, directory)
        os.replace(name, path)
        name = None
    finally:
        os.close(fd)
        if name is not None:
            try:
                os.unlink(name)
            except OSError:
                pass
    return status.st_size, status.st_blocks * 512


def _open_unnamed(directory: str) -> tuple[int, str | None]:
    try:
        return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600), None
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            raise
    import tempfile

    fd, name = tempfile.mkstemp(prefix=".rtld-", dir=directory)
    return fd, name


def _give_name(fd: int, name: str | None, directory: str) -> str:
    if name is not None:
        return name
    import secrets

    name = os.path.join(directory, f".rtld-{secrets.token_hex(8)}")
    # With a descriptor of a directory (not used: the path is absolute) Python calls linkat, which can follow the link.
    os.link(f"/proc/self/fd/{fd}", name, src_dir_fd=fd, follow_symlinks=True)
    return name


def _fill(plan: Plan, protections: Protections, fd: int, progress: Progress) -> None:
    loads = program_headers(plan, protections)
    size = plan.end - plan.base
    os.ftruncate(fd, size)
    total = len(plan.fused)
    for number, module in enumerate(plan.fused):
        progress("writing", number, total)
        for address, data in _image_bytes(module):
            write_at(fd, data, address - plan.base)
        if not is_thin(plan, module):
            _copy_file(module, fd, plan.base)
    for piece in plan.pieces:
        write_at(fd, piece.data, piece.address - plan.base)
    # They are in the file now, and what follows needs much memory itself.
    plan.pieces.clear()
    parts, sections = section_headers(plan, size)
    for part in parts:
        write_at(fd, part, size)
        size += len(part)
    write_at(fd, _head(plan, loads, sections), 0)
    progress("hashing", 0, 1)
    note_at, note_size = plan.segments["note"]
    place = note_at + note_size - DIGEST_SIZE - plan.base
    write_at(fd, digest(lambda offset, size: os.pread(fd, size, offset), place), place)
    progress("writing", total, total)


def _in_image(module: Module, load: Any) -> bool:
    """Whether linking may have changed the segment: it is in the module's image."""
    image = module.image
    return image is not None and len(image.bytes) > 0 and image.low <= load.vaddr < image.high


def _image_bytes(module: Module) -> Iterator[tuple[int, Any]]:
    """(address, bytes) of what linking may have changed."""
    for load in module.file.loads:
        if _in_image(module, load):
            size = load.filesz
            if load.flags & t.PF_W:
                # Relocation may have written behind what the file has: COPY into .bss.
                size = load.memsz
            yield from _used_pages(module.base + load.vaddr, module.image.view(load.vaddr, size))


def _copy_file(module: Module, fd: int, base: int) -> None:
    """The segments that are the file's own bytes. The kernel copies them: our memory need not hold them."""
    parts = [
        part
        for load in module.file.loads
        if not _in_image(module, load)
        for part in _living_pages(module, load)
    ]
    source = os.open(module.file.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        status = os.fstat(source)
        same = (status.st_dev, status.st_ino) == module.file.identity
        for address, begin, end in parts:
            while same and begin < end:
                try:
                    done = os.copy_file_range(source, fd, end - begin, begin, address - base)
                except OSError as error:
                    if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EIO, errno.EDQUOT):
                        raise
                    break  # not between these file systems
                if done == 0:
                    break
                begin, address = begin + done, address + done
            write_at(fd, module.file.data[begin:end], address - base)
    finally:
        os.close(source)


def _used_pages(address: int, data: Any) -> Iterator[tuple[int, Any]]:
    """Runs of pages that are not all zero."""
    lead = -address % PAGE
    if lead and len(data[:lead]) and data[:lead].any():
        yield address, data[:lead]
    whole = len(data[lead:]) // PAGE * PAGE
    rows = data[lead : lead + whole].reshape(-1, PAGE).view(np.uint64)
    used = rows.any(axis=1)
    edges = np.flatnonzero(np.diff(used, prepend=False, append=False)).reshape(-1, 2)
    for begin, end in edges.tolist():
        yield address + lead + begin * PAGE, data[lead + begin * PAGE : lead + end * PAGE]
    rest = data[lead + whole :]
    if len(rest) and rest.any():
        yield address + lead + whole, rest


def _living_pages(module: Module, load: Any) -> Iterator[tuple[int, int, int]]:
    """(address, begin, end in the file) of a segment, without whole pages of tables that have done their work."""
    at, end = load.offset, load.offset + load.filesz
    shift = module.base + load.vaddr - load.offset
    for begin, stop in dead_ranges(module.file, load):
        begin, stop = page_up(begin), stop & -PAGE
        if stop > begin:
            if begin > at:
                yield at + shift, at, begin
            at = stop
    if end > at:
        yield at + shift, at, end


# -- headers --------------------------------------------------------------------------------------------


def _head(plan: Plan, loads: list[Load], sections: tuple[int, int, int]) -> bytes:
    """ELF header, program headers, interpreter."""
    main = plan.main.file
    interp = os.fsencode(main.interp or "") + b"\0"
    rows: list[
        tuple[int, int, int, int, int, int]
    ] = []  # type, flags, address, filesz, memsz, align
    segments = plan.segments
    align = largest_alignment(plan) if plan.pie else PAGE
    rows += [
        (t.PT_LOAD, load.flags, load.start, load.stored - load.start, load.end - load.start, align)
        for load in loads
    ]
    count = len(rows) + 7 + (1 if plan.ns.tls.size else 0)
    interp_at = plan.base + 64 + 56 * count
    note_at, note_size = segments["note"]
    unwind_at, unwind_size = segments["unwind"]
    dynamic_at, dynamic_size = segments["dynamic"]
    front = [
        (t.PT_PHDR, 4, plan.base + 64, 56 * count, 56 * count, 8),
        (t.PT_INTERP, 4, interp_at, len(interp), len(interp), 1),
    ]
    rest = [
        (t.PT_DYNAMIC, 6, dynamic_at, dynamic_size, dynamic_size, 8),
        (t.PT_NOTE, 4, note_at, note_size, note_size, 4),
        (t.PT_GNU_EH_FRAME, 4, unwind_at, unwind_size, unwind_size, 4),
        (t.PT_GNU_RELRO, 4, plan.relro, plan.data - plan.relro, plan.data - plan.relro, 1),
    ]
    if plan.ns.tls.size:
        at, stored = segments["tls"]
        rest.append((t.PT_TLS, 4, at, stored, plan.ns.tls.size, plan.ns.tls.align))
    stack = _stack_flags(plan)
    rows = [*front, *rows, *rest]
    out = bytearray()
    for kind, flags, address, filesz, memsz, align in rows:
        offset = address - plan.base
        out += struct.pack("<IIQQQQQQ", kind, flags, offset, address, address, filesz, memsz, align)
    out += struct.pack("<IIQQQQQQ", t.PT_GNU_STACK, stack, 0, 0, 0, 0, 0, 16)
    number = len(rows) + 1
    shift = interp_at - plan.base - 64
    out = bytearray(out.ljust(shift, b"\0"))
    from rtld.frozen.startup import label

    kind = t.ET_DYN if plan.pie else t.ET_EXEC
    shoff, shnum, shstrndx = sections
    ident = bytes(main.data[:16])
    head = ident + struct.pack(
        "<HHIQQQIHHHHHH", kind, main.machine, 1, label(plan, "start"), 64, shoff, main.flags, 64, 56, number,
        64, shnum, shstrndx,
    )  # fmt: skip
    return head + bytes(out) + interp


def _stack_flags(plan: Plan) -> int:
    """PT_GNU_STACK of the whole: executable if any module's is, or if one has none."""
    flags = t.PF_R | t.PF_W
    for module in plan.fused:
        stack = module.file.segment(t.PT_GNU_STACK)
        if stack is None or stack.flags & t.PF_X:
            flags |= t.PF_X
    return flags
