"""All tables of functions: those that every program needs, filled; those of other DLLs when they are wanted.

The C libraries are one: what msvcrt.dll has ucrtbase.dll has, too, where it has none of its own."""

from __future__ import annotations

import importlib

from rtld.backends.windows import (  # noqa: F401  (they fill TABLES)
    crt,
    crt_files,
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
from rtld.backends.windows.msvcrt import MSVCRT

__all__ = ["LATER", "TABLES", "names", "table"]

#: DLL -> the file that declares its functions, of those that few programs need.
LATER = {
    "advapi32.dll": "advapi32", "cryptsp.dll": "advapi32", "bcrypt.dll": "advapi32", "bcryptprimitives.dll": "advapi32",
    "user32.dll": "user32", "ws2_32.dll": "ws2_32", "crypt32.dll": "others", "shell32.dll": "others",
    "ole32.dll": "others", "winmm.dll": "others", "version.dll": "others", "psapi.dll": "others",
}  # fmt: skip


def names() -> list[str]:
    """The DLLs that there are tables of."""
    return [*(name for name in TABLES if name not in LATER), *LATER]


def table(name: str) -> Dll | None:
    """The table of a DLL, filled; None when there is none."""
    if name in LATER and name not in TABLES:
        importlib.import_module(f"rtld.backends.windows.{LATER[name]}")
    return TABLES.get(name)


for _name, _api in MSVCRT.functions.items():
    if _name not in UCRT.functions:
        UCRT.functions[_name] = _api._replace(dll=UCRT.name)
for _name in ("memcpy", "memmove", "memset", "memcmp", "memchr", "strchr", "strrchr", "strstr", "wcschr", "wcsrchr", "wcsstr"):  # fmt: skip
    VCRUNTIME.functions[_name] = MSVCRT.functions[_name]._replace(dll=VCRUNTIME.name)
