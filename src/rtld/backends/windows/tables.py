"""All tables of functions: those that every program needs, filled; those of other DLLs when they are wanted.

The C libraries are one: what msvcrt.dll has ucrtbase.dll has, too, where it has none of its own."""

from __future__ import annotations

import importlib

from rtld.backends.windows import (  # noqa: F401  (they fill TABLES)
    crt,
    crt_files,
    crt_paths,
    crt_time,
    exceptions,
    kernel32_console,
    kernel32_files,
    kernel32_find,
    kernel32_locale,
    kernel32_locks,
    kernel32_mapping,
    kernel32_memory,
    kernel32_modules,
    kernel32_nls,
    kernel32_paths,
    kernel32_processes,
    kernel32_sync,
    kernel32_text,
    kernel32_threads,
    kernel32_time,
    msvcrt_exceptions,
    msvcrt_formats,
    msvcrt_numbers,
    msvcrt_streams,
    msvcrt_strings,
    msvcrt_wide,
    ntdll,
)
from rtld.backends.windows.api import TABLES, Dll
from rtld.backends.windows.crt import UCRT, VCRUNTIME
from rtld.backends.windows.late import LATE_FUNCTIONS
from rtld.backends.windows.msvcrt import MSVCRT

__all__ = ["BARE", "LATER", "TABLES", "names", "table"]

#: DLL -> the file that declares its functions, of those that few programs need.
LATER = {
    "advapi32.dll": "advapi32", "cryptsp.dll": "advapi32", "bcrypt.dll": "advapi32", "bcryptprimitives.dll": "advapi32",
    "user32.dll": "user32", "ws2_32.dll": "ws2_32", "crypt32.dll": "others", "shell32.dll": "others",
    "ole32.dll": "others", "winmm.dll": "others", "version.dll": "others", "psapi.dll": "others",
    "oleaut32.dll": "automation", "combase.dll": "automation", "rpcrt4.dll": "automation",
    "userenv.dll": "services", "dbghelp.dll": "services", "iphlpapi.dll": "services", "powrprof.dll": "services",
    "secur32.dll": "services", "cfgmgr32.dll": "services", "shlwapi.dll": "services",
    "vcruntime140_1.dll": "vcruntime_1", "kernelbase.dll": "kernelbase",
}  # fmt: skip

#: Further DLLs of Windows, which many programs link with and few call: they are there, when no directory has them, and empty.
BARE = tuple(f"{name}.dll" for name in ["activeds", "authz", "avrt", "cabinet", "comctl32", "comdlg32", "credui", "cryptbase", "cryptui", "d2d1", "d3d11", "d3d12", "d3d9", "dhcpcsvc", "dnsapi", "dsound", "dwmapi", "dwrite", "dxgi", "fwpuclnt", "gdi32", "gdiplus", "glu32", "hid", "httpapi", "imagehlp", "imm32", "mf", "mfplat", "mfreadwrite", "mpr", "msacm32", "msi", "msimg32", "mswsock", "ncrypt", "netapi32", "normaliz", "ntdsapi", "odbc32", "oleacc", "opengl32", "pdh", "propsys", "rstrtmgr", "setupapi", "shcore", "srvcli", "sspicli", "urlmon", "usp10", "uxtheme", "virtdisk", "wer", "wevtapi", "windowscodecs", "winhttp", "wininet", "winscard", "winspool", "wintrust", "wldap32", "wlanapi", "wsock32", "wtsapi32", "xinput1_4", "xmllite"])  # fmt: skip


def names() -> list[str]:
    """The DLLs that there are tables of."""
    return [*(name for name in TABLES if name not in LATER and name not in BARE), *LATER]


def table(name: str) -> Dll | None:
    """The table of a DLL, filled; None when there is none."""
    if name in LATER and name not in TABLES:
        importlib.import_module(f"rtld.backends.windows.{LATER[name]}")
    if name in BARE and name not in TABLES:
        Dll(name)
    return TABLES.get(name)


for _file, _declared in LATE_FUNCTIONS.items():
    for _dll, _names in _declared.items():
        TABLES[_dll].later.update(dict.fromkeys(_names.split(), _file))
for _name, _api in MSVCRT.functions.items():
    if _name not in UCRT.functions:
        UCRT.functions[_name] = _api._replace(dll=UCRT.name)
for _name in ("memcpy", "memmove", "memset", "memcmp", "memchr", "strchr", "strrchr", "strstr", "wcschr", "wcsrchr", "wcsstr"):  # fmt: skip
    VCRUNTIME.functions[_name] = MSVCRT.functions[_name]._replace(dll=VCRUNTIME.name)
