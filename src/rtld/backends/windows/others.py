"""A few functions of other system DLLs, so that what needs them can be loaded: CRYPT32, SHELL32, OLE32, WINMM, VERSION, PSAPI.

What they would have to show or to reach is not there, and they say so.
"""

from __future__ import annotations

from rtld.backends.windows.api import Dll
from rtld.backends.windows.commandline import arguments_of
from rtld.backends.windows.kernel32 import KERNEL32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.backends.windows.system import System

CRYPT32 = Dll("crypt32.dll")
SHELL32 = Dll("shell32.dll")
OLE32 = Dll("ole32.dll")
WINMM = Dll("winmm.dll")
VERSION = Dll("version.dll")
PSAPI = Dll("psapi.dll")


@CRYPT32("CertOpenSystemStoreA CertOpenSystemStoreW", "pp", "p")
def cert_open_system_store(system: System, _provider: int, _name: int) -> int:
    return system.fail(2)


@CRYPT32("CertCloseStore", "pu")
def cert_close_store(_system: System, _store: int, _flags: int) -> int:
    return 1


# -- shell ----------------------------------------------------------------------------------------


@SHELL32("CommandLineToArgvW", "wp", "p")
def command_line_to_argv_w(system: System, line: str | None, count: int) -> int:
    """One block that LocalFree takes back: the pointers, then the texts."""
    if line is None:
        return system.fail(87)
    items = arguments_of(line) if line else [system.arguments[0]]
    texts = [(item + "\0").encode("utf-16-le", "surrogatepass") for item in items]
    word = system.word
    at = system.heap.allocate(word * (len(items) + 1) + sum(map(len, texts)))
    place = at + word * (len(items) + 1)
    for number, text in enumerate(texts):
        system.put(at + number * word, place)
        system.memory.write(place, text)
        place += len(text)
    system.put(count, len(items), 4)
    return at


@SHELL32("SHGetFolderPathA SHGetFolderPathW", "pipup", "i")
@SHELL32("SHGetKnownFolderPath", "pupp", "i")
def sh_get_folder_path(_system: System, *_: int) -> int:
    return -2147024894  # HRESULT of ERROR_FILE_NOT_FOUND


@SHELL32.both("ShellExecute", "ptttti", "p")
def shell_execute(_system: System, *_: object) -> int:
    return 31  # SE_ERR_NOASSOC


# -- components -----------------------------------------------------------------------------------


@OLE32("CoInitialize", "p", "i")
@OLE32("CoInitializeEx", "pu", "i")
def co_initialize(_system: System, *_: int) -> int:
    return 0


@OLE32("CoUninitialize", "", "v")
def co_uninitialize(_system: System) -> None:
    return


@OLE32("CoCreateInstance", "ppupp", "i")
def co_create_instance(system: System, _class: int, _outer: int, _context: int, _interface: int, out: int) -> int:  # fmt: skip
    system.put(out, 0)
    return -2147221164  # REGDB_E_CLASSNOTREG


@OLE32("CoTaskMemAlloc", "p", "p")
def co_task_mem_alloc(system: System, size: int) -> int:
    return system.heap.allocate(size)


@OLE32("CoTaskMemFree", "p", "v")
def co_task_mem_free(system: System, address: int) -> None:
    system.heap.free(address)


@OLE32("CoTaskMemRealloc", "pp", "p")
def co_task_mem_realloc(system: System, address: int, size: int) -> int:
    return system.heap.resize(address, size)


# -- clocks, versions, modules --------------------------------------------------------------------


@WINMM("timeGetTime")
def time_get_time(system: System) -> int:
    return int(KERNEL32.functions["GetTickCount"].action(system))


@WINMM("timeBeginPeriod timeEndPeriod", "u")
def time_begin_period(_system: System, period: int) -> int:
    return 0 if period else 97  # TIMERR_NOCANDO


@VERSION.both("GetFileVersionInfoSize", "tp")
def get_file_version_info_size(system: System, _wide: bool, _name: str, _handle: int) -> int:
    return system.fail(1812)  # ERROR_RESOURCE_DATA_NOT_FOUND


@VERSION.both("GetFileVersionInfo", "tuup")
def get_file_version_info(system: System, _wide: bool, *_: object) -> int:
    return system.fail(1812)


@VERSION.both("VerQueryValue", "ptpp")
def ver_query_value(_system: System, _wide: bool, *_: object) -> int:
    return 0


@PSAPI("GetModuleFileNameExA", "pppu")
@KERNEL32("K32GetModuleFileNameExA", "pppu")
def get_module_file_name_ex_a(system: System, _process: int, module: int, out: int, room: int) -> int:  # fmt: skip
    return system.put_string(False, out, room, system.loader.file_name(module))


@PSAPI("GetModuleFileNameExW", "pppu")
@KERNEL32("K32GetModuleFileNameExW", "pppu")
def get_module_file_name_ex_w(system: System, _process: int, module: int, out: int, room: int) -> int:  # fmt: skip
    return system.put_string(True, out, room, system.loader.file_name(module))


@PSAPI("EnumProcessModules", "ppup")
@KERNEL32("K32EnumProcessModules", "ppup")
def enum_process_modules(system: System, _process: int, out: int, room: int, needed: int) -> int:
    bases = [int(m.base) for m in system.loader.live]
    bases.sort(key=lambda base: base != system.loader.main.base)
    for number, base in enumerate(bases[: room // system.word]):
        system.put(out + number * system.word, base)
    system.put(needed, len(bases) * system.word, 4)
    return 1


@PSAPI("GetModuleInformation", "pppu")
@KERNEL32("K32GetModuleInformation", "pppu")
def get_module_information(system: System, _process: int, module: int, out: int, room: int) -> int:
    found = system.loader.by_handle(module)
    if found is None or room < 3 * system.word:
        return system.fail(6 if found is None else 122)
    system.put(out, found.base)
    system.put(out + system.word, found.file.span, 4)
    system.put(out + 2 * system.word, found.base + found.file.entry if found.file.entry else 0)
    return 1


@PSAPI("GetProcessMemoryInfo", "ppu")
@KERNEL32("K32GetProcessMemoryInfo", "ppu")
def get_process_memory_info(system: System, _process: int, out: int, room: int) -> int:
    size = 8 + 8 * system.word
    if room < size:
        return system.fail(122)
    used = sum(area.size for area in system.areas.values()) + (4 << 20)
    system.put(out, size, 4)
    for number in range(8):
        system.put(out + 8 + number * system.word, used)
    return 1
