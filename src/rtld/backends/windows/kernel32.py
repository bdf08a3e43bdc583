"""KERNEL32.dll: modules, memory, thread-local slots. Threads, text and files are in the files named after them."""

from __future__ import annotations

import struct

from rtld.backends.windows.api import Dll

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any

    from rtld.backends.windows.system import System

    Task = Generator[Any, Any, Any]

KERNEL32 = Dll("kernel32.dll")
INFINITE = 0xFFFFFFFF
_PROTECTION = {0x01: 0, 0x02: 1, 0x04: 3, 0x08: 3, 0x10: 5, 0x20: 5, 0x40: 7, 0x80: 7}

# -- modules --------------------------------------------------------------------------------------


def _load(system: System, name: Any, flags: int) -> Task:
    if name is None:
        return system.fail(87)
    text = name if isinstance(name, str) else name.decode("latin-1")
    module, error = yield from system.loader.load_library(text, flags)
    return module.base if module is not None else system.fail(error)


@KERNEL32("LoadLibraryA", "s", "p")
@KERNEL32("LoadLibraryW", "w", "p")
def load_library(system: System, name: Any) -> Any:
    return _load(system, name, 0)


@KERNEL32("LoadLibraryExA", "spu", "p")
@KERNEL32("LoadLibraryExW", "wpu", "p")
def load_library_ex(system: System, name: Any, _file: int, flags: int) -> Any:
    return _load(system, name, flags)


@KERNEL32("FreeLibrary", "p")
def free_library(system: System, handle: int) -> Any:
    if handle & 3:  # of a data file
        return int(system.loader.data_files.close(handle)) or system.fail(193)
    if system.loader.by_handle(handle) is None:
        return system.fail(126)
    return _free(system, handle)


def _free(system: System, handle: int) -> Task:
    yield from system.loader.free_library(handle)
    return 1


@KERNEL32("GetProcAddress", "pp", "p")
def get_proc_address(system: System, handle: int, name: int) -> Any:
    wanted: Any = name if name >> 16 == 0 else system.text(name)
    return _proc(system, handle, wanted)


def _proc(system: System, handle: int, wanted: Any) -> Task:
    address, error = yield from system.loader.proc_address(handle, wanted)
    return address or system.fail(error)


@KERNEL32("GetModuleHandleA", "s", "p")
@KERNEL32("GetModuleHandleW", "w", "p")
def get_module_handle(system: System, name: Any) -> int:
    if name is None:
        return int(system.loader.main.base)
    text = name if isinstance(name, str) else name.decode("latin-1")
    module = system.loader.loaded(text)
    return int(module.base) if module is not None else system.fail(126)


@KERNEL32("GetModuleHandleExA GetModuleHandleExW", "upp")
def get_module_handle_ex(system: System, flags: int, name: int, out: int) -> int:
    loader = system.loader
    if flags & 4:
        module = loader.module_of(name)
    elif not name:
        module = loader.main
    else:
        raw = system.memory.read(name, 2)
        text = system.wide(name) if raw[1:] == b"\0" else (system.text(name) or b"").decode("latin-1")  # fmt: skip
        module = loader.loaded(text or "")
    system.put(out, module.base if module is not None else 0)
    if module is None:
        return system.fail(126)
    if not flags & 2 and module.references >= 0:
        module.references = -1 if flags & 1 else module.references + 1
    return 1


@KERNEL32("GetModuleFileNameA", "ppu")
def get_module_file_name_a(system: System, handle: int, out: int, room: int) -> int:
    name = system.loader.file_name(handle)
    return (
        system.put_text(out, name.encode("latin-1", "replace"), room) if name else system.fail(126)
    )


@KERNEL32("GetModuleFileNameW", "ppu")
def get_module_file_name_w(system: System, handle: int, out: int, room: int) -> int:
    name = system.loader.file_name(handle)
    return system.put_text(out, name, room) if name else system.fail(126)


@KERNEL32("DisableThreadLibraryCalls", "p")
def disable_thread_library_calls(system: System, handle: int) -> int:
    return int(system.loader.disable_thread_calls(handle)) or system.fail(126)


# -- thread-local slots ---------------------------------------------------------------------------


def _slot(system: System, index: int) -> int:
    """The address of a slot in the TEB: 64 of them stand there; the others in a block of their own."""
    teb = system.threads.teb
    if index < 64:
        return int(teb) + (0x1480 if system.bits == 64 else 0xE10) + index * system.word
    pointer = int(teb) + (0x1780 if system.bits == 64 else 0xF94)
    block = system.number(pointer)
    if not block:
        block = system.heap.allocate(1024 * system.word)
        system.put(pointer, block)
    return block + (index - 64) * system.word


@KERNEL32("TlsAlloc")
def tls_alloc(system: System) -> int:
    for index, used in enumerate(system.tls):
        if not used:
            system.tls[index] = True
            return index
    return system.fail(259, INFINITE)


@KERNEL32("TlsFree FlsFree", "u")
def tls_free(system: System, index: int) -> int:
    if index >= len(system.tls) or not system.tls[index]:
        return system.fail(87)
    system.tls[index] = False
    return 1


@KERNEL32("FlsAlloc", "p")
def fls_alloc(system: System, _callback: int) -> int:
    return int(tls_alloc(system))


@KERNEL32("TlsGetValue FlsGetValue", "u", "p")
def tls_get_value(system: System, index: int) -> int:
    if index >= len(system.tls):
        return system.fail(87)
    system.last_error = 0
    return system.number(_slot(system, index))


@KERNEL32("TlsSetValue FlsSetValue", "up")
def tls_set_value(system: System, index: int, value: int) -> int:
    if index >= len(system.tls):
        return system.fail(87)
    system.put(_slot(system, index), value)
    return 1


# -- memory ---------------------------------------------------------------------------------------


@KERNEL32("GetProcessHeap", "", "p")
def get_process_heap(_system: System) -> int:
    return 0x10


@KERNEL32("HeapCreate", "upp", "p")
def heap_create(_system: System, _options: int, _initial: int, _most: int) -> int:
    return 0x20


@KERNEL32("HeapDestroy", "p")
def heap_destroy(_system: System, _heap: int) -> int:
    return 1


@KERNEL32("HeapAlloc", "pup", "p")
def heap_alloc(system: System, _heap: int, _flags: int, size: int) -> int:
    return system.heap.allocate(size) or system.fail(8)


@KERNEL32("HeapFree", "pup")
def heap_free(system: System, _heap: int, _flags: int, address: int) -> int:
    return int(not address or system.heap.free(address)) or system.fail(87)


@KERNEL32("HeapReAlloc", "pupp", "p")
def heap_realloc(system: System, _heap: int, _flags: int, address: int, size: int) -> int:
    return system.heap.resize(address, size) or system.fail(8)


@KERNEL32("HeapSize", "pup", "p")
def heap_size(system: System, _heap: int, _flags: int, address: int) -> int:
    return system.heap.sizes.get(address, -1)


@KERNEL32("LocalAlloc GlobalAlloc", "up", "p")
def local_alloc(system: System, _flags: int, size: int) -> int:
    return system.heap.allocate(size) or system.fail(8)


@KERNEL32("LocalFree GlobalFree", "p", "p")
def local_free(system: System, address: int) -> int:
    return 0 if not address or system.heap.free(address) else address


@KERNEL32("VirtualAlloc", "ppuu", "p")
def virtual_alloc(system: System, address: int, size: int, kind: int, protection: int) -> int:
    if address and not kind & 0x2000:
        return address & -4096  # committed with its reservation
    if size <= 0 or size >= 1 << 31:
        return system.fail(8)
    return system.memory.allocate(size, _PROTECTION.get(protection & 0xFF, 3) or 3)


@KERNEL32("VirtualFree", "ppu")
def virtual_free(_system: System, _address: int, _size: int, _kind: int) -> int:
    return 1


@KERNEL32("VirtualProtect", "ppup")
def virtual_protect(system: System, address: int, size: int, protection: int, old: int) -> int:
    rights = _PROTECTION.get(protection & 0xFF)
    if rights is None:
        return system.fail(87)
    before = system.loader.protect(address, size, rights)
    system.put(old, {0: 1, 1: 2, 3: 4, 5: 0x20, 7: 0x40}.get(before, 4), 4)
    return 1


@KERNEL32("VirtualQuery", "ppp", "p")
def virtual_query(system: System, address: int, out: int, size: int) -> int:
    low, high, rights, base = system.loader.region(address)
    protection = {0: 1, 1: 2, 3: 4, 5: 0x20, 7: 0x40}.get(rights, 4)
    kind = 0x1000000 if system.loader.module_of(address) is not None else 0x20000
    if system.bits == 64:
        data = struct.pack("<QQIIQIIII", low, base, protection, 0, high - low, 0x1000, protection, kind, 0)  # fmt: skip
    else:
        data = struct.pack("<7I", low, base, protection, high - low, 0x1000, protection, kind)
    if size < len(data):
        return system.fail(24)
    system.memory.write(out, data)
    return len(data)


# -- atomics of 32-bit programs, pointers ---------------------------------------------------------


def _interlocked(name: str, change: Callable[[int, int], int], after: bool) -> None:
    @KERNEL32(name, "pi", "i")
    def action(system: System, address: int, value: int) -> int:
        before = system.number(address, 4)
        new = change(before, value)
        system.put(address, new, 4)
        return new if after else before


_interlocked("InterlockedExchange", lambda _old, new: new, False)
_interlocked("InterlockedExchangeAdd", lambda old, new: old + new, False)


@KERNEL32("InterlockedIncrement", "p", "i")
def interlocked_increment(system: System, address: int) -> int:
    value = system.number(address, 4) + 1
    system.put(address, value, 4)
    return value


@KERNEL32("InterlockedDecrement", "p", "i")
def interlocked_decrement(system: System, address: int) -> int:
    value = system.number(address, 4) - 1
    system.put(address, value, 4)
    return value


@KERNEL32("InterlockedCompareExchange", "pii", "i")
def interlocked_compare_exchange(system: System, address: int, new: int, old: int) -> int:
    before = system.number(address, 4)
    if before == old & 0xFFFFFFFF:
        system.put(address, new, 4)
    return before


@KERNEL32("EncodePointer DecodePointer", "p", "p")
def encode_pointer(_system: System, pointer: int) -> int:
    return pointer


@KERNEL32("InitializeSListHead", "p", "v")
def initialize_slist_head(system: System, head: int) -> None:
    system.memory.write(head, bytes(2 * system.word))
