"""A few functions of other system DLLs, so that what needs them can be loaded: ADVAPI32, USER32, WS2_32, CRYPT32, SHELL32, OLE32.

What they would have to show or to reach (windows, the network, the registry) is not there, and they say so.
"""

from __future__ import annotations

import os
import sys

from rtld.backends.windows.api import Dll
from rtld.backends.windows.kernel32 import KERNEL32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.backends.windows.system import System

ADVAPI32 = Dll("advapi32.dll")
USER32 = Dll("user32.dll")
WS2_32 = Dll("ws2_32.dll")
CRYPT32 = Dll("crypt32.dll")
SHELL32 = Dll("shell32.dll")
OLE32 = Dll("ole32.dll")


@ADVAPI32("SystemFunction036", "pu")
def rtl_gen_random(system: System, out: int, size: int) -> int:
    system.memory.write(out, os.urandom(size))
    return 1


@ADVAPI32("RegOpenKeyExA RegOpenKeyExW", "ppuup")
def reg_open_key(_system: System, *_: int) -> int:
    return 2  # ERROR_FILE_NOT_FOUND


@ADVAPI32("RegCloseKey", "p")
def reg_close_key(_system: System, _key: int) -> int:
    return 6


@ADVAPI32("RegisterEventSourceA RegisterEventSourceW", "pp", "p")
def register_event_source(system: System, _server: int, _name: int) -> int:
    return system.fail(120)


@USER32("MessageBoxA", "pssu", "i")
@USER32("MessageBoxW", "pwwu", "i")
def message_box(_system: System, _window: int, text: Any, title: Any, _kind: int) -> int:
    """Nobody can press a button: what it says goes to standard error."""
    shown = [x if isinstance(x, str) else (x or b"").decode("latin-1") for x in (title, text)]
    sys.stderr.write(": ".join(shown) + "\n")
    return 1


@USER32("GetProcessWindowStation", "", "p")
def get_process_window_station(_system: System) -> int:
    return 0


@USER32("GetUserObjectInformationW GetUserObjectInformationA", "pipup", "i")
def get_user_object_information(system: System, *_: int) -> int:
    return system.fail(6)


@WS2_32("WSAStartup", "up", "i")
def wsa_startup(_system: System, _version: int, _data: int) -> int:
    return 10091  # WSASYSNOTREADY


@WS2_32("WSAGetLastError", "", "i")
def wsa_get_last_error(_system: System) -> int:
    return 10091


@CRYPT32("CertOpenSystemStoreA CertOpenSystemStoreW", "pp", "p")
def cert_open_system_store(system: System, _provider: int, _name: int) -> int:
    return system.fail(2)


@SHELL32("SHGetFolderPathA SHGetFolderPathW", "pipup", "i")
def sh_get_folder_path(_system: System, *_: int) -> int:
    return -2147024894  # HRESULT of ERROR_FILE_NOT_FOUND


@OLE32("CoInitialize", "p", "i")
@OLE32("CoInitializeEx", "pu", "i")
def co_initialize(_system: System, *_: int) -> int:
    return 0


@OLE32("CoUninitialize", "", "v")
def co_uninitialize(_system: System) -> None:
    return


@KERNEL32("AreFileApisANSI", "")
def are_file_apis_ansi(_system: System) -> int:
    return 1


@KERNEL32("GetSystemDirectoryA", "pu")
def get_system_directory_a(system: System, out: int, room: int) -> int:
    return system.put_text(out, b"C:\\windows\\system32", room)


@KERNEL32("GetSystemDirectoryW", "pu")
def get_system_directory_w(system: System, out: int, room: int) -> int:
    return system.put_text(out, "C:\\windows\\system32", room)


@KERNEL32("GetFullPathNameA", "supp")
def get_full_path_name_a(system: System, name: bytes, room: int, out: int, _part: int) -> int:
    full = name if name[1:2] == b":" else b"C:\\" + name
    return system.put_text(out, full, room)


@KERNEL32("GetFullPathNameW", "wupp")
def get_full_path_name_w(system: System, name: str, room: int, out: int, _part: int) -> int:
    full = name if name[1:2] == ":" else "C:\\" + name
    return system.put_text(out, full, room)


@KERNEL32("HeapValidate", "pup")
def heap_validate(_system: System, *_: int) -> int:
    return 1


@KERNEL32("HeapCompact", "pu", "p")
def heap_compact(_system: System, *_: int) -> int:
    return 0
