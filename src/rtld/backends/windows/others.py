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


def _list(system: System, at: int) -> list[str]:
    """Strings one after the other, with an empty one at the end."""
    result: list[str] = []
    while len(result) < 4096 and (text := system.wide(at)):
        result.append(text)
        at += len(text.encode("utf-16-le", "surrogatepass")) + 2
    return result


@SHELL32("SHFileOperationW", "p", "i")
def sh_file_operation_w(system: System, operation: int) -> int:
    """Only FO_DELETE, of what the program may see."""
    import os
    import shutil

    word = system.word
    if system.number(operation + word, 4) != 3:
        return 0x7C  # DE_INVALIDFILES
    for name in _list(system, system.number(operation + 2 * word if word == 8 else operation + 8)):
        path = system.path(name)
        if path is None or path == system.root or not os.path.lexists(path):
            return 2 if path is not None else 5
        try:
            if os.path.isdir(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)
        except OSError:
            return 5
    return 0


@SHELL32("FindExecutableW", "wwp", "p")
def find_executable_w(system: System, name: str, directory: str | None, out: int) -> int:
    """A program is its own; nothing else has one."""
    from rtld.backends.windows.paths import full_name

    full = full_name(name or "", full_name(directory, system.directory) if directory else system.directory)  # fmt: skip
    path = system.path(full)
    if not hasattr(system.loader, "is_program"):
        return 2
    if path is None or system.loader.is_program(path) is None:
        return 2  # SE_ERR_FNF
    if not system.loader.is_program(path):
        return 31  # SE_ERR_NOASSOC
    system.put_text(out, full, 260)
    return 33


@SHELL32("SHGetFileInfoW", "wupuu", "p")
def sh_get_file_info_w(system: System, name: str, _attributes: int, _out: int, _size: int, flags: int) -> int:  # fmt: skip
    """Only what kind of program a file is (SHGFI_EXETYPE): "PE", of the console."""
    path = system.path(name or "")
    if not flags & 0x2000 or path is None or not hasattr(system.loader, "is_program"):
        return 0
    return 0x4550 if system.loader.is_program(path) else 0


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


for _name in ("GetModuleFileNameExA", "GetModuleFileNameExW", "EnumProcessModules", "GetModuleInformation", "GetProcessMemoryInfo"):  # fmt: skip
    PSAPI.functions[_name] = KERNEL32.functions["K32" + _name]._replace(dll=PSAPI.name, name=_name)
