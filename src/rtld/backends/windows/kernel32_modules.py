"""KERNEL32.dll: modules, their functions and names, the directories they are looked for in ("libloaderapi.h", learn.microsoft.com)."""

from __future__ import annotations

from rtld.backends.windows.api import Call
from rtld.backends.windows.codepages import ANSI
from rtld.backends.windows.kernel32 import KERNEL32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from rtld.backends.windows.system import System

    Task = Generator[Any, Any, Any]

# fmt: off
_PIN, _UNCHANGED_REFCOUNT, _FROM_ADDRESS = 1, 2, 4
_ALTERED_SEARCH_PATH, _DLL_LOAD_DIR      = 0x8, 0x100
_SEARCH_FLAGS                            = 0x1F00
_LOAD_FLAGS                              = 0x7FFB | 0x4
_DEFAULT_FLAGS                           = _SEARCH_FLAGS & ~_DLL_LOAD_DIR
# fmt: on
_EVERYWHERE = ("ntdll", "kernelbase")  # in every process, whether somebody imports them or not


# -- load and free --------------------------------------------------------------------------------


@KERNEL32.both("LoadLibrary", "t", "p")
def load_library(system: System, _wide: bool, name: str | None) -> Any:
    return _load(system, name, 0)


@KERNEL32.both("LoadLibraryEx", "tpu", "p")
def load_library_ex(system: System, _wide: bool, name: str | None, _file: int, flags: int) -> Any:
    return _load(system, name, flags)


def _load(system: System, name: str | None, flags: int) -> Any:
    if name is None or flags & ~_LOAD_FLAGS:
        return system.fail(87)
    full = name[1:2] == ":" or name.startswith(("\\", "/"))
    if flags & _SEARCH_FLAGS and (flags & _ALTERED_SEARCH_PATH or (flags & _DLL_LOAD_DIR and not full)):  # fmt: skip
        return system.fail(87)
    return _loading(system, name, flags)


def _loading(system: System, name: str, flags: int) -> Task:
    module, error = yield from system.loader.load_library(name, flags)
    return module.base if module is not None else system.fail(error)


@KERNEL32("FreeLibrary", "p")
def free_library(system: System, handle: int) -> Any:
    if handle & 3:  # of a data file
        return int(system.loader.data_files.close(handle)) or system.fail(193)
    return _free(system, handle)


def _free(system: System, handle: int) -> Task:
    freed = yield from system.loader.free_library(handle)
    return int(freed) or system.fail(126 if handle else 6)


@KERNEL32("DisableThreadLibraryCalls", "p")
def disable_thread_library_calls(system: System, handle: int) -> int:
    return int(system.loader.disable_thread_calls(handle)) or system.fail(126)


# -- functions ------------------------------------------------------------------------------------


@KERNEL32("GetProcAddress", "pp", "p")
def get_proc_address(system: System, handle: int, name: int) -> Any:
    wanted: Any = name if name >> 16 == 0 else system.text(name)
    return _proc(system, handle, wanted)


def _proc(system: System, handle: int, wanted: Any) -> Task:
    address, error = yield from system.loader.proc_address(handle, wanted)
    return address or system.fail(error)


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


# -- handles and names ----------------------------------------------------------------------------


@KERNEL32.both("GetModuleHandle", "t", "p")
def get_module_handle(system: System, _wide: bool, name: str | None) -> Any:
    loader = system.loader
    module = loader.main if name is None else loader.loaded(name)
    if module is None and name is not None and name.lower().removesuffix(".dll") in _EVERYWHERE:
        return _loading(system, name, 0)
    return int(module.base) if module is not None else system.fail(126)


@KERNEL32("GetModuleHandleExA", "upp")
def get_module_handle_ex_a(system: System, flags: int, name: int, out: int) -> int:
    text = None if not name or flags & _FROM_ADDRESS else system.text(name)
    return _handle_ex(system, flags, name, None if text is None else text.decode(ANSI, "replace"), out)  # fmt: skip


@KERNEL32("GetModuleHandleExW", "upp")
def get_module_handle_ex_w(system: System, flags: int, name: int, out: int) -> int:
    text = None if not name or flags & _FROM_ADDRESS else system.wide(name)
    return _handle_ex(system, flags, name, text, out)


def _handle_ex(system: System, flags: int, address: int, name: str | None, out: int) -> int:
    loader = system.loader
    if not out:
        return system.fail(87)
    both = _PIN | _UNCHANGED_REFCOUNT
    if flags & ~(both | _FROM_ADDRESS) or flags & both == both:
        system.put(out, 0)
        return system.fail(87)
    if not address:
        module = loader.main
    else:
        module = loader.module_of(address) if flags & _FROM_ADDRESS else loader.loaded(name)
    system.put(out, module.base if module is not None else 0)
    if module is None:
        return system.fail(126)
    if flags & _PIN:
        loader.pin(module)
    elif not flags & _UNCHANGED_REFCOUNT:
        loader.refer(module)
    return 1


@KERNEL32("GetModuleFileNameA", "ppu")
def get_module_file_name_a(system: System, handle: int, out: int, room: int) -> int:
    return _file_name(system, out, room, system.loader.file_name(handle).encode(ANSI, "replace"))


@KERNEL32("GetModuleFileNameW", "ppu")
def get_module_file_name_w(system: System, handle: int, out: int, room: int) -> int:
    return _file_name(system, out, room, system.loader.file_name(handle).encode("utf-16-le", "surrogatepass"), 2)  # fmt: skip


def _file_name(system: System, out: int, room: int, name: bytes, unit: int = 1) -> int:
    """What there is no room for is left away, and the last error says so."""
    if not name:
        return system.fail(126)
    length = len(name) // unit
    if length < room:
        system.memory.write(out, name + bytes(unit))
        return system.fail(0, length)
    if room:
        system.memory.write(out, name[: (room - 1) * unit] + bytes(unit))
    return system.fail(122, room)


# -- where DLLs are looked for --------------------------------------------------------------------


@KERNEL32.both("SetDllDirectory", "t")
def set_dll_directory(system: System, _wide: bool, name: str | None) -> int:
    if name is not None and ";" in name:
        return system.fail(87)
    system.loader.set_dll_directory(name)
    return 1


@KERNEL32.both("GetDllDirectory", "up")
def get_dll_directory(system: System, wide: bool, room: int, out: int) -> int:
    name = system.loader.dll_directory or ""
    return system.put_string(wide, out, room, name) if room else len(name) + 1


@KERNEL32("AddDllDirectory", "w", "p")
def add_dll_directory(system: System, name: str | None) -> int:
    if name is None or not (name[1:3] in (":\\", ":/") or name.startswith("\\\\")):
        return system.fail(87)
    if not system.loader.add_dll_directory(name, cookie := system.heap.allocate(16)):
        system.heap.free(cookie)
        return system.fail(2)
    return cookie


@KERNEL32("RemoveDllDirectory", "p")
def remove_dll_directory(system: System, cookie: int) -> int:
    if not system.loader.remove_dll_directory(cookie):
        return system.fail(87)
    system.heap.free(cookie)
    return 1


@KERNEL32("SetDefaultDllDirectories", "u")
def set_default_dll_directories(system: System, flags: int) -> int:
    if not flags or flags & ~_DEFAULT_FLAGS:
        return system.fail(87)
    system.loader.ns.search.places.default_flags = flags
    return 1
