"""KERNEL32.dll: modules, thread-local slots, atomics. All else is in the files named after it."""

from __future__ import annotations

from rtld.backends.windows.api import Call, Dll

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any

    from rtld.backends.windows.system import System

    Task = Generator[Any, Any, Any]

KERNEL32 = Dll("kernel32.dll")
INFINITE = 0xFFFFFFFF
FLS_SLOTS = 4080
_EVERYWHERE = ("ntdll", "kernelbase")  # in every process, whether somebody imports them or not

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
def get_module_handle(system: System, name: Any) -> Any:
    if name is None:
        return int(system.loader.main.base)
    text = name if isinstance(name, str) else name.decode("latin-1")
    module = system.loader.loaded(text)
    if module is None and text.lower().removesuffix(".dll") in _EVERYWHERE:
        return _load(system, text, 0)
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


@KERNEL32("ResolveDelayLoadedAPI", "pppppu", "p")
def resolve_delay_loaded_api(system: System, base: int, descriptor: int, hook: int, _system_hook: int, thunk: int, _flags: int) -> Task:  # fmt: skip
    """Bind one delay import: what the helper of newer linkers calls. The hook is told of a failure (delayimp.h)."""
    word = system.word
    name, handle, table, lookup = (system.number(descriptor + 4 * i, 4) for i in range(1, 5))
    row = (thunk - base - table) // word
    wanted = system.number(base + lookup + row * word)
    by_name = not wanted >> (system.bits - 1)
    symbol: Any = system.text(base + wanted + 2) if by_name else wanted & 0xFFFF
    dll = (system.text(base + name) or b"").decode("latin-1")
    module, error = yield from system.loader.load_library(dll)
    address = 0
    if module is not None:
        system.put(base + handle, module.base)
        address, error = yield from system.loader.proc_address(module.base, symbol)
    if address:
        system.put(thunk, address)
        return address
    system.last_error = error
    if hook:  # DELAYLOAD_INFO
        info = system.heap.allocate(10 * word)
        text = base + wanted + 2 if by_name else wanted & 0xFFFF
        fields = (9 * word, descriptor, thunk, base + name, int(by_name), text, module.base if module is not None else 0, 0, error)  # fmt: skip
        for number, value in enumerate(fields):
            system.put(info + number * word, value)
        address = yield Call(hook, (4 if module is None else 5, info))
        if address:
            system.put(thunk, address)
    return address


@KERNEL32("DelayLoadFailureHook", "ss", "p")
def delay_load_failure_hook(system: System, dll: bytes, _function: bytes) -> int:
    return system.fail(127 if dll else 126)


# -- thread-local slots ---------------------------------------------------------------------------


def _slot(system: System, index: int, teb: int = 0) -> int:
    """The address of a slot in the TEB: 64 of them stand there; the others in a block of their own."""
    teb = teb or system.threads.teb
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
            system.put(_slot(system, index), 0)
            return index
    return system.fail(259, INFINITE)


@KERNEL32("TlsFree", "u")
def tls_free(system: System, index: int) -> int:
    if index >= len(system.tls) or not system.tls[index]:
        return system.fail(87)
    system.tls[index] = False
    for thread in system.threads.threads:
        if thread.code is None:
            system.put(_slot(system, index, thread.teb), 0)
    return 1


@KERNEL32("TlsGetValue", "u", "p")
def tls_get_value(system: System, index: int) -> int:
    if index >= len(system.tls):
        return system.fail(87)
    system.last_error = 0
    return system.number(_slot(system, index))


@KERNEL32("TlsSetValue", "up")
def tls_set_value(system: System, index: int, value: int) -> int:
    if index >= len(system.tls):
        return system.fail(87)
    system.put(_slot(system, index), value)
    return 1


# -- fiber-local slots: as thread-local ones, with a function that is called for what is left -----


@KERNEL32("FlsAlloc", "p")
def fls_alloc(system: System, callback: int) -> int:
    for index in range(1, FLS_SLOTS):
        if index not in system.fls:
            system.fls[index] = callback
            return index
    return system.fail(8, INFINITE)


@KERNEL32("FlsFree", "u")
def fls_free(system: System, index: int) -> Any:
    if index not in system.fls:
        return system.fail(87)
    return _fls_free(system, index)


def _fls_free(system: System, index: int) -> Task:
    callback = system.fls.pop(index)
    for thread in list(system.threads.threads):
        value = thread.crt.get("fls", {}).pop(index, 0)
        if value and callback:
            yield Call(callback, (value,))
    return 1


@KERNEL32("FlsGetValue", "u", "p")
def fls_get_value(system: System, index: int) -> int:
    if not 0 < index < FLS_SLOTS:
        return system.fail(87)
    system.last_error = 0
    return int(system.threads.current.crt.get("fls", {}).get(index, 0))


@KERNEL32("FlsSetValue", "up")
def fls_set_value(system: System, index: int, value: int) -> int:
    if not 0 < index < FLS_SLOTS:
        return system.fail(87)
    system.threads.current.crt.setdefault("fls", {})[index] = value
    return 1


def fls_exit(system: System) -> Task:
    """What a thread has in its fiber-local slots is given to their functions; when it ends, or the process."""
    values: dict[int, int] = system.threads.current.crt.pop("fls", {})
    for index, value in sorted(values.items()):
        callback = system.fls.get(index, 0)
        if value and callback:
            yield Call(callback, (value,))


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
