"""A bundle's files: the executable, and the small libraries with names.

A place in the file is an address minus the bundle's base. There are no gaps between PT_LOADs: only then does glibc take the
whole range for one object when it unwinds (_dl_find_object, l_contiguous). What nobody wrote is a hole of the file.
"""

from __future__ import annotations

import os

from rtld.core.output import write_at
from rtld.core.space import page_up
from rtld.elf import types as t
from rtld.errors import Unsupported
from rtld.process.bundle.encode import Encoder
from rtld.process.bundle.plan import HEAD, Load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from rtld.core.module import Module
    from rtld.process.bundle.plan import Bundle


def write_files(bundle: Bundle) -> str:
    """All of them; the executable's path."""
    directory = bundle.directory
    for name, data in bundle.names.items():
        with open(os.path.join(directory, name), "wb") as stream:
            stream.write(data)
    path = os.path.join(directory, "program")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o700)
    try:
        os.ftruncate(fd, bundle.end - bundle.base)
        for address, data in _contents(bundle):
            write_at(fd, data, address - bundle.base)
        for address, data in bundle.pieces:
            write_at(fd, data, address - bundle.base)
        header, rest = _head(bundle)
        write_at(fd, header, 0)
        write_at(fd, rest, program_headers(bundle) - bundle.base)
    finally:
        os.close(fd)
    return path


def _contents(bundle: Bundle) -> Iterator[tuple[int, Any]]:
    """(address, bytes) of the modules' segments, as relocated."""
    for module in bundle.fused:
        image = module.image
        for load in module.file.loads:
            if image is not None and len(image.bytes) and image.low <= load.vaddr < image.high:
                yield module.base + load.vaddr, memoryview(image.view(load.vaddr, load.filesz))
            elif load.filesz:
                yield module.base + load.vaddr, module.file.contents(load)
    for copy in bundle.ns.copies:
        if not copy.definer.hosted:
            place = copy.module.image.view(copy.place, copy.size)
            yield copy.module.base + copy.place, memoryview(place)


def _pages(module: Module, page: int) -> Iterator[Load]:
    for load in module.file.loads:
        start = module.base + load.vaddr & -page
        yield Load(load.flags, start, page_up(module.base + load.vaddr + load.memsz, page))


def _loads(bundle: Bundle) -> list[Load]:
    """Every address once, in ascending order."""
    first = [Load(t.PF_R, bundle.headers, bundle.headers + HEAD)]
    loads: list[Load] = []
    pages = [*first, *(load for m in bundle.fused for load in _pages(m, bundle.page))]
    pages.sort(key=lambda load: load.start)
    at = bundle.base
    for load in (*pages, *bundle.loads):
        if load.start > at:
            loads.append(Load(t.PF_R, at, load.start))
        start = max(load.start, at)
        if load.end <= start:
            continue
        last = loads[-1] if loads else None
        if last is not None and last.flags == load.flags:
            loads[-1] = Load(load.flags, last.start, load.end)
        else:
            loads.append(Load(load.flags, start, load.end))
        at = load.end
    return loads


def program_headers(bundle: Bundle) -> int:
    """Their address."""
    at_start = bundle.headers == bundle.base
    return bundle.headers + (Encoder(bundle.main.file, bundle.arch).ehsize if at_start else 0)


def _head(bundle: Bundle) -> tuple[bytes, bytes]:
    """The ELF header; program headers and the interpreter's name."""
    main = bundle.main.file
    encoder = Encoder(main, bundle.arch)
    interp = os.fsencode(main.interp or "") + b"\0"
    loads = _loads(bundle)
    count = len(loads) + len(bundle.segments) + (3 if bundle.hosted else 2)
    headers = count * encoder.phentsize
    start = program_headers(bundle)
    interp_at = start + headers
    if interp_at + len(interp) > bundle.headers + HEAD:
        raise Unsupported(f"{bundle.main.path}: {count} segments are more than there is room for")
    base = bundle.base

    def row(kind: int, flags: int, at: int, filesz: int, memsz: int, align: int) -> bytes:
        return encoder.segment(kind, flags, at - base, at, filesz, memsz, align)

    out = [
        row(t.PT_PHDR, t.PF_R, start, headers, headers, 8),
    ]
    if bundle.hosted:
        out.append(row(t.PT_INTERP, t.PF_R, interp_at, len(interp), len(interp), 1))
    for load in loads:
        size = load.end - load.start
        out.append(row(t.PT_LOAD, load.flags, load.start, size, size, bundle.page))
    for kind, (at, filesz, memsz, align) in bundle.segments.items():
        flags = t.PF_R | t.PF_W if kind == t.PT_DYNAMIC else t.PF_R
        out.append(row(kind, flags, at, filesz, memsz, align))
    out.append(encoder.segment(t.PT_GNU_STACK, _stack(bundle), 0, 0, 0, 0, 16))
    header = encoder.header(t.ET_EXEC, bundle.main.base + main.entry, count, start - base)
    return header, b"".join(out) + interp


def _stack(bundle: Bundle) -> int:
    """Executable, if any module's is."""
    flags: int = t.PF_R | t.PF_W
    for module in bundle.fused:
        stack = module.file.segment(t.PT_GNU_STACK)
        if stack is None or stack.flags & t.PF_X:
            flags |= t.PF_X
    return flags
