"""KERNEL32.dll: heaps, virtual memory."""

from __future__ import annotations

import struct

from rtld.backends.windows.kernel32 import KERNEL32
from rtld.backends.windows.system import Area
from rtld.core.space import page_up
from rtld.errors import NoSpace, TargetFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.backends.windows.system import System

_PAGE = 0x1000
_PROCESS_HEAP = 0x10
_SHARED = 0x7FFE0000  # see ``shareddata``
#: PAGE_* -> rights, and back
RIGHTS = {0x01: 0, 0x02: 1, 0x04: 3, 0x08: 3, 0x10: 5, 0x20: 5, 0x40: 7, 0x80: 7}
PROTECTION = {0: 1, 1: 2, 2: 4, 3: 4, 4: 0x20, 5: 0x20, 6: 0x40, 7: 0x40}
_COMMIT, _RESERVE, _DECOMMIT, _RELEASE, _FREE = 0x1000, 0x2000, 0x4000, 0x8000, 0x10000
_PRIVATE, _MAPPED, _IMAGE = 0x20000, 0x40000, 0x1000000
MOST = 1 << 40

# -- heaps ----------------------------------------------------------------------------------------


@KERNEL32("GetProcessHeap", "", "p")
def get_process_heap(_system: System) -> int:
    return _PROCESS_HEAP


@KERNEL32("GetProcessHeaps", "up")
def get_process_heaps(system: System, room: int, out: int) -> int:
    heaps = [_PROCESS_HEAP, *system.cache.get("heaps", {})]
    for number, heap in enumerate(heaps[:room]):
        system.put(out + number * system.word, heap)
    return len(heaps)


@KERNEL32("HeapCreate", "upp", "p")
def heap_create(system: System, _options: int, _initial: int, _most: int) -> int:
    """Blocks of all heaps come from one; which belong to a heap is known, so that they go with it."""
    handle = system.memory.allocate(_PAGE)
    system.cache.setdefault("heaps", {})[handle] = set()
    return handle


@KERNEL32("HeapDestroy", "p")
def heap_destroy(system: System, heap: int) -> int:
    blocks: Any = system.cache.get("heaps", {}).pop(heap, None)
    if blocks is None:
        return system.fail(6)
    for block in blocks:
        system.heap.free(block)
    system.memory.release(heap, _PAGE)
    return 1


def _owner(system: System, heap: int) -> Any:
    return system.cache.get("heaps", {}).get(heap) if heap != _PROCESS_HEAP else None


@KERNEL32("HeapAlloc", "pup", "p")
def heap_alloc(system: System, heap: int, flags: int, size: int) -> int:
    block = system.heap.allocate(size, zero=bool(flags & 8))
    if heap != _PROCESS_HEAP and block:
        owner = _owner(system, heap)
        if owner is not None:
            owner.add(block)
    return block or system.fail(8)


@KERNEL32("HeapFree", "pup")
def heap_free(system: System, heap: int, _flags: int, address: int) -> int:
    if heap != _PROCESS_HEAP:
        owner = _owner(system, heap)
        if owner is not None:
            owner.discard(address)
    return int(not address or system.heap.free(address)) or system.fail(87)


@KERNEL32("HeapReAlloc", "pupp", "p")
def heap_realloc(system: System, heap: int, flags: int, address: int, size: int) -> int:
    old = system.heap.sizes.get(address, -1)
    if old < 0:
        return system.fail(87)
    if flags & 0x10 and size > old:  # in place only
        return system.fail(8)
    new = system.heap.resize(address, size)
    owner = _owner(system, heap)
    if owner is not None and new:
        owner.discard(address)
        owner.add(new)
    return new or system.fail(8)


@KERNEL32("HeapSize", "pup", "p")
def heap_size(system: System, _heap: int, _flags: int, address: int) -> int:
    size = system.heap.sizes.get(address, -1)
    return size if size >= 0 else system.fail(87, -1)


@KERNEL32("HeapValidate", "pup")
def heap_validate(system: System, _heap: int, _flags: int, address: int) -> int:
    return int(not address or system.heap.sizes.get(address, -1) >= 0)


@KERNEL32("HeapCompact", "pu", "p")
def heap_compact(_system: System, *_: int) -> int:
    return 0


@KERNEL32("HeapLock HeapUnlock", "p")
def heap_lock(_system: System, _heap: int) -> int:
    return 1


@KERNEL32("HeapWalk", "pp")
def heap_walk(system: System, *_: int) -> int:
    return system.fail(259)  # ERROR_NO_MORE_ITEMS


@KERNEL32("HeapSetInformation", "pupp")
def heap_set_information(_system: System, *_: int) -> int:
    return 1


@KERNEL32("HeapQueryInformation", "puppp")
def heap_query_information(system: System, _heap: int, kind: int, out: int, room: int, needed: int) -> int:  # fmt: skip
    if needed:
        system.put(needed, 4)
    if kind or room < 4:
        return system.fail(87 if kind else 122)
    system.put(out, 0, 4)
    return 1


@KERNEL32("LocalAlloc GlobalAlloc", "up", "p")
def local_alloc(system: System, flags: int, size: int) -> int:
    return system.heap.allocate(size, zero=bool(flags & 0x40)) or system.fail(8)


@KERNEL32("LocalFree GlobalFree", "p", "p")
def local_free(system: System, address: int) -> int:
    return 0 if not address or system.heap.free(address) else system.fail(6, address)


@KERNEL32("LocalReAlloc GlobalReAlloc", "ppu", "p")
def local_realloc(system: System, address: int, size: int, flags: int) -> int:
    if flags & 0x80:  # GMEM_MODIFY: only its flags change
        return address
    return system.heap.resize(address, size) or system.fail(8)


@KERNEL32("LocalSize GlobalSize", "p", "p")
def local_size(system: System, address: int) -> int:
    size = system.heap.sizes.get(address, -1)
    return size if size >= 0 else system.fail(6)


@KERNEL32("LocalLock GlobalLock GlobalHandle LocalHandle", "p", "p")
def local_lock(system: System, address: int) -> int:
    """Handles of movable memory are its addresses here: nothing moves."""
    return address if system.heap.sizes.get(address, -1) >= 0 else system.fail(6)


@KERNEL32("LocalUnlock GlobalUnlock", "p")
def local_unlock(system: System, _address: int) -> int:
    return system.fail(158)  # ERROR_NOT_LOCKED: memory that does not move has no locks


@KERNEL32("LocalFlags GlobalFlags", "p")
def local_flags(system: System, address: int) -> int:
    return 0 if system.heap.sizes.get(address, -1) >= 0 else system.fail(6, 0x8000)


@KERNEL32("GlobalMemoryStatus", "p", "v")
def global_memory_status(system: System, out: int) -> None:
    word = "Q" if system.bits == 64 else "I"
    sizes = (1 << 31, 1 << 30, 1 << 31, 1 << 30, 0x7FFE0000, 0x7FF00000)
    system.memory.write(out, struct.pack(f"<II6{word}", 8 + 6 * system.word, 25, *sizes))


@KERNEL32("GlobalMemoryStatusEx", "p")
def global_memory_status_ex(system: System, out: int) -> int:
    if system.number(out, 4) != 64:
        return system.fail(87)
    top = 0x7FFFFFFE0000 if system.bits == 64 else 0x7FFE0000
    system.memory.write(out + 4, struct.pack("<I7Q", 25, 4 << 30, 3 << 30, 8 << 30, 7 << 30, top, top - (1 << 20), 0))  # fmt: skip
    return 1


# -- virtual memory -------------------------------------------------------------------------------


def area_of(system: System, address: int) -> Area | None:
    """What an address was reserved with."""
    for area in system.areas.values():
        if area.base <= address < area.base + area.size:
            return area
    return None


@KERNEL32("VirtualAlloc", "ppuu", "p")
def virtual_alloc(system: System, address: int, size: int, kind: int, protection: int) -> int:
    rights = RIGHTS.get(protection & 0xFF)
    if rights is None or not 0 < size < MOST or not kind & (_COMMIT | _RESERVE):
        return system.fail(87)
    if kind & 0x80000:  # MEM_RESET: the contents are not needed; they may stay
        return address
    area = area_of(system, address) if address else None
    try:
        if area is None:
            if address and not kind & _RESERVE:
                return system.fail(487)
            low = address & -0x10000
            size = page_up(size + (address - low))
            base = system.memory.reserve(size, low if address else None)
            system.areas[base] = Area(base, size, "private", protection & 0xFF)
            start = base
        else:
            start = address & -_PAGE
            size = page_up(address + size) - start
            if kind & _RESERVE or start + size > area.base + area.size or area.kind != "private":
                return system.fail(487)
        if kind & _COMMIT:
            system.memory.commit(start, size, rights)
    except NoSpace:
        if area is None and kind & _RESERVE and address:
            return system.fail(487)
        return system.fail(8)
    return start


@KERNEL32("VirtualAllocEx", "pppuu", "p")
def virtual_alloc_ex(system: System, process: int, *rest: int) -> int:
    if process & 0xFFFFFFFF != 0xFFFFFFFF:
        return system.fail(6)
    return int(virtual_alloc(system, *rest))


@KERNEL32("VirtualFree", "ppu")
def virtual_free(system: System, address: int, size: int, kind: int) -> int:
    area = area_of(system, address)
    if area is None or area.kind != "private":
        return system.fail(487 if kind in (_DECOMMIT, _RELEASE) else 87)
    if kind == _RELEASE:
        if size:
            return system.fail(87)
        if address & -_PAGE != area.base:
            return system.fail(487)
        system.memory.release(area.base, area.size)
        del system.areas[area.base]
        return 1
    if kind != _DECOMMIT:
        return system.fail(87)
    start = address & -_PAGE
    if not size:
        if start != area.base:
            return system.fail(487)
        size = area.size
    size = page_up(address + size) - start
    if start + size > area.base + area.size:
        return system.fail(487)
    system.memory.decommit(start, size)
    return 1


@KERNEL32("VirtualFreeEx", "pppu")
def virtual_free_ex(system: System, process: int, *rest: int) -> int:
    if process & 0xFFFFFFFF != 0xFFFFFFFF:
        return system.fail(6)
    return int(virtual_free(system, *rest))


@KERNEL32("VirtualProtect", "ppup")
def virtual_protect(system: System, address: int, size: int, protection: int, old: int) -> int:
    rights = RIGHTS.get(protection & 0xFF)
    if rights is None or not 0 < size < MOST:
        return system.fail(87)
    if not readable(system, old, 4):
        return system.fail(998)
    start, end = address & -_PAGE, page_up(address + size)
    if start < _SHARED + _PAGE and end > _SHARED:
        return system.fail(5)
    before = system.memory.rights(address)[1]
    at = start
    while at < end:
        at, found = system.memory.rights(at)
        if found is None:
            return system.fail(487)
    try:
        system.loader.protect(start, end - start, rights)
    except (TargetFault, NoSpace, OSError):
        return system.fail(487)
    system.put(old, PROTECTION[before or 0], 4)
    return 1


@KERNEL32("VirtualProtectEx", "pppup")
def virtual_protect_ex(system: System, process: int, *rest: int) -> int:
    if process & 0xFFFFFFFF != 0xFFFFFFFF:
        return system.fail(6)
    return int(virtual_protect(system, *rest))


@KERNEL32("VirtualQuery", "ppp", "p")
def virtual_query(system: System, address: int, out: int, size: int) -> int:
    page = address & -_PAGE
    end, rights = system.memory.rights(page)
    module = system.loader.module_of(page)
    area = area_of(system, page)
    if module is not None:
        base, kind, first = module.base, _IMAGE, 0x80
        end = min(end, module.base + module.file.span)
    elif area is not None:
        base, first = area.base, area.protection
        kind = _MAPPED if area.kind == "view" else _PRIVATE
        end = min(end, area.base + area.size)
    else:
        base, kind, first = page, _PRIVATE, 4
        if rights is None:
            base = kind = first = 0
    state = _COMMIT if rights is not None else _RESERVE if area is not None else _FREE
    protection = PROTECTION[rights] if rights is not None else 1 if state == _FREE else 0
    if system.bits == 64:
        data = struct.pack("<QQIIQIIII", page, base, first, 0, end - page, state, protection, kind, 0)  # fmt: skip
    else:
        data = struct.pack("<7I", page, base, first, end - page & 0xFFFFFFFF, state, protection, kind)  # fmt: skip
    if size < len(data):
        return system.fail(24)
    system.memory.write(out, data)
    return len(data)


@KERNEL32("VirtualLock VirtualUnlock", "pp")
@KERNEL32("FlushInstructionCache", "ppp")
def virtual_lock(_system: System, *_: int) -> int:
    return 1


def readable(system: System, address: int, size: int, rights: int = 1) -> bool:
    """All of it has memory with these rights."""
    at, end = address, address + size
    while at < end:
        at, have = system.memory.rights(at)
        if have is None or have & rights != rights:
            return False
    return True


@KERNEL32("IsBadReadPtr", "pp")
@KERNEL32("IsBadCodePtr", "p")
def is_bad_read_ptr(system: System, address: int, size: int = 1) -> int:
    return int(bool(size) and (not address or size >= MOST or not readable(system, address, size)))


@KERNEL32("IsBadWritePtr", "pp")
def is_bad_write_ptr(system: System, address: int, size: int) -> int:
    return int(bool(size) and (not address or size >= MOST or not readable(system, address, size, 2)))  # fmt: skip


@KERNEL32("IsBadStringPtrA IsBadStringPtrW", "pp")
def is_bad_string_ptr(system: System, address: int, size: int) -> int:
    """Bad where the first byte cannot be read, or the string runs out of memory before it ends."""
    if not size:
        return 0
    if not address:
        return 1
    end, at = address + min(size, 1 << 20), address
    while at < end:
        after, rights = system.memory.rights(at)
        if not rights:
            return 1
        if b"\0" in system.memory.read(at, min(after, end) - at):
            return 0
        at = after
    return 0


@KERNEL32("ReadProcessMemory", "ppppp")
def read_process_memory(system: System, process: int, address: int, out: int, size: int, done: int) -> int:  # fmt: skip
    return _copy(system, process, address, out, size, done, address, 1)


@KERNEL32("WriteProcessMemory", "ppppp")
def write_process_memory(system: System, process: int, address: int, source: int, size: int, done: int) -> int:  # fmt: skip
    return _copy(system, process, source, address, size, done, address, 2)


def _copy(system: System, process: int, source: int, out: int, size: int, done: int, checked: int, rights: int) -> int:  # fmt: skip
    if process & 0xFFFFFFFF != 0xFFFFFFFF:
        return system.fail(6)
    if done:
        system.put(done, 0)
    if size >= MOST or not readable(system, checked, size, rights):
        return system.fail(299 if rights == 1 else 998)
    if size:
        system.memory.write(out, system.memory.read(source, size))
    if done:
        system.put(done, size)
    return 1
