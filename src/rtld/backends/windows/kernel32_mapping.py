"""KERNEL32.dll: files mapped into memory, and memory that has a name."""

from __future__ import annotations

import os

from rtld.backends.windows.kernel32 import KERNEL32
from rtld.backends.windows.kernel32_memory import MOST, PROTECTION, RIGHTS, area_of
from rtld.backends.windows.system import Area, Handle
from rtld.core.space import page_up
from rtld.errors import NoSpace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.backends.windows.system import System

_PAGE = 0x1000


def _named(name: str | None) -> str:
    return (name or "").removeprefix("Local\\").removeprefix("Global\\")


@KERNEL32.both("CreateFileMapping", "ppuuut", "p")
def create_file_mapping(system: System, _wide: bool, file: int, _sa: int, protection: int, high: int, low: int, name: str) -> int:  # fmt: skip
    key = _named(name)
    if key and key in system.names:
        known = system.names[key]
        if known.kind != "mapping":
            return system.fail(6)
        known.count += 1
        return system.fail(183, system.add(known))
    rights = RIGHTS.get(protection & 0xFF)
    if not rights:
        return system.fail(87)
    size = high << 32 | low
    if file & 0xFFFFFFFF == 0xFFFFFFFF:
        if not size or size >= MOST:
            return system.fail(87 if not size else 8)
        fd = os.memfd_create("mapping", os.MFD_CLOEXEC)
        os.ftruncate(fd, page_up(size))
    else:
        found = system.handle(file, "file")
        if found is None:
            return 0
        writes = protection & 0xFF in (0x04, 0x40)
        if not found.access & 1 or (writes and not found.access & 2):
            return system.fail(5)
        have = os.fstat(found.fd).st_size
        if size > have:
            if not writes:
                return system.fail(8)
            os.ftruncate(found.fd, size)
        size = size or have
        if not size:
            return system.fail(1006)  # ERROR_FILE_INVALID
        fd = os.dup(found.fd)
    system.last_error = 0
    mapping = Handle("mapping", fd=fd, size=size, protection=protection & 0xFF)
    if key:
        system.name(key, mapping)
    return system.add(mapping)


@KERNEL32.both("OpenFileMapping", "uut", "p")
def open_file_mapping(system: System, _wide: bool, _access: int, _inherit: int, name: str) -> int:
    return system.open_named(_named(name), "mapping")


@KERNEL32("MapViewOfFile", "puuup", "p")
def map_view_of_file(system: System, handle: int, access: int, high: int, low: int, size: int) -> int:  # fmt: skip
    return int(map_view_of_file_ex(system, handle, access, high, low, size, 0))


@KERNEL32("MapViewOfFileEx", "puuupp", "p")
def map_view_of_file_ex(system: System, handle: int, access: int, high: int, low: int, size: int, at: int) -> int:  # fmt: skip
    found = system.handle(handle, "mapping")
    if found is None:
        return 0
    offset = high << 32 | low
    if offset % 0x10000 or at % 0x10000:
        return system.fail(1132)  # ERROR_MAPPED_ALIGNMENT
    size = size or found.size - offset
    if size <= 0 or offset + size > page_up(found.size):
        return system.fail(5)
    copy = access & 1 and not access & 2
    writes = bool(access & 2)
    if writes and found.protection not in (0x04, 0x40):
        return system.fail(5)
    rights = (3 if writes or copy else 1) | (4 if access & 0x20 else 0)
    try:
        if copy:  # pages of our own, with what the file has
            address = system.memory.allocate(page_up(size), rights)
            system.memory.write(address, os.pread(found.fd, size, offset))
        else:
            address = system.memory.map_file(page_up(size), rights, found.fd, offset, at or None)
    except NoSpace:
        return system.fail(487 if at else 8)
    except OSError:
        return system.fail(5)
    system.areas[address] = Area(address, page_up(size), "view", PROTECTION[rights])
    return address


@KERNEL32("UnmapViewOfFile", "p")
def unmap_view_of_file(system: System, address: int) -> int:
    area = system.areas.get(address & -_PAGE)
    if area is None or area.kind != "view":
        return system.fail(487)
    system.memory.release(area.base, area.size)
    del system.areas[area.base]
    return 1


@KERNEL32("FlushViewOfFile", "pp")
def flush_view_of_file(system: System, address: int, _size: int) -> int:
    """Pages of a file are shared with it: there is nothing to be written."""
    area = area_of(system, address)
    return 1 if area is not None and area.kind == "view" else system.fail(487)
