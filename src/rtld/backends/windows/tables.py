"""All tables of functions, filled. The C libraries are one: what msvcrt.dll has ucrtbase.dll has, too, where it has none of its own."""

from __future__ import annotations

from rtld.backends.windows import (  # noqa: F401  (they fill TABLES)
    advapi32,
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
    others,
    user32,
    ws2_32,
)
from rtld.backends.windows.api import TABLES
from rtld.backends.windows.crt import UCRT, VCRUNTIME
from rtld.backends.windows.msvcrt import MSVCRT

__all__ = ["TABLES"]

for _name, _api in MSVCRT.functions.items():
    if _name not in UCRT.functions:
        UCRT.functions[_name] = _api._replace(dll=UCRT.name)
for _name in ("memcpy", "memmove", "memset", "memcmp", "memchr", "strchr", "strrchr", "strstr", "wcschr", "wcsrchr", "wcsstr"):  # fmt: skip
    VCRUNTIME.functions[_name] = MSVCRT.functions[_name]._replace(dll=VCRUNTIME.name)
