"""KERNEL32.dll: the console, where the standard streams are a terminal."""

from __future__ import annotations

import os
import struct

from rtld.backends.windows.codepages import CODECS
from rtld.backends.windows.kernel32 import KERNEL32
from rtld.backends.windows.kernel32_files import write_all, write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.backends.windows.system import System

_INPUT_MODE, _OUTPUT_MODE = 0x1F7, 0x3


def _terminal(system: System, handle: int) -> int | None:
    """The descriptor of a console's handle; None, and ERROR_INVALID_HANDLE, for what is no terminal."""
    found = system.handle(handle, "stream")
    if found is None or not os.isatty(found.fd):
        system.fail(6)
        return None
    return int(found.fd)


@KERNEL32("GetConsoleMode", "pp")
def get_console_mode(system: System, handle: int, out: int) -> int:
    fd = _terminal(system, handle)
    if fd is None:
        return 0
    default = _OUTPUT_MODE if fd else _INPUT_MODE
    system.put(out, system.cache.get(f"console mode {fd}", default), 4)
    return 1


@KERNEL32("SetConsoleMode", "pu")
def set_console_mode(system: System, handle: int, mode: int) -> int:
    fd = _terminal(system, handle)
    if fd is None:
        return 0
    system.cache[f"console mode {fd}"] = mode
    return 1


@KERNEL32("SetConsoleCtrlHandler", "pu")
def set_console_ctrl_handler(_system: System, _handler: int, _add: int) -> int:
    return 1


@KERNEL32("GetConsoleCP")
def get_console_cp(system: System) -> int:
    return int(system.cache.get("console input page", 437))


@KERNEL32("GetConsoleOutputCP")
def get_console_output_cp(system: System) -> int:
    return int(system.cache.get("console output page", 437))


def _set_page(system: System, which: str, page: int) -> int:
    if page not in CODECS or page < 4:
        return system.fail(87)
    system.cache[f"console {which} page"] = page
    return 1


@KERNEL32("SetConsoleCP", "u")
def set_console_cp(system: System, page: int) -> int:
    return _set_page(system, "input", page)


@KERNEL32("SetConsoleOutputCP", "u")
def set_console_output_cp(system: System, page: int) -> int:
    return _set_page(system, "output", page)


@KERNEL32("WriteConsoleA", "ppupp")
def write_console_a(system: System, handle: int, data: int, size: int, done: int, _reserved: int) -> int:  # fmt: skip
    if _terminal(system, handle) is None:
        return 0
    return int(write_file(system, handle, data, size, done, 0))


@KERNEL32("WriteConsoleW", "ppupp")
def write_console_w(system: System, handle: int, data: int, size: int, done: int, _reserved: int) -> int:  # fmt: skip
    fd = _terminal(system, handle)
    if fd is None:
        return 0
    text = system.memory.read(data, 2 * size).decode("utf-16-le", "replace")
    write_all(fd, text.encode("utf-8"))
    if done:
        system.put(done, size, 4)
    return 1


@KERNEL32.both("ReadConsole", "ppupp")
def read_console(system: System, wide: bool, handle: int, out: int, room: int, done: int, _control: int) -> int:  # fmt: skip
    fd = _terminal(system, handle)
    if fd is None:
        return 0
    data = os.read(fd, min(room, 1 << 16)).replace(b"\n", b"\r\n")[:room]
    if wide:
        data = data.decode("utf-8", "replace").encode("utf-16-le")[: 2 * room]
    system.memory.write(out, data)
    if done:
        system.put(done, len(data) // (2 if wide else 1), 4)
    return 1


@KERNEL32.both("PeekConsoleInput ReadConsoleInput", "ppup")
def read_console_input(system: System, _wide: bool, handle: int, _out: int, _room: int, done: int) -> int:  # fmt: skip
    """Keys and mouse are not told of: what is typed is read as text."""
    if _terminal(system, handle) is None:
        return 0
    system.put(done, 0, 4)
    return 1


@KERNEL32("GetNumberOfConsoleInputEvents", "pp")
def get_number_of_console_input_events(system: System, handle: int, out: int) -> int:
    if _terminal(system, handle) is None:
        return 0
    system.put(out, 0, 4)
    return 1


@KERNEL32("FlushConsoleInputBuffer VerifyConsoleIoHandle", "p")
def flush_console_input_buffer(system: System, handle: int) -> int:
    return int(_terminal(system, handle) is not None)


@KERNEL32("GetConsoleScreenBufferInfo", "pp")
def get_console_screen_buffer_info(system: System, handle: int, out: int) -> int:
    fd = _terminal(system, handle)
    if fd is None:
        return 0
    columns, rows = os.get_terminal_size(fd)
    system.memory.write(out, struct.pack("<11h", columns, rows, 0, 0, 7, 0, 0, columns - 1, rows - 1, columns, rows))  # fmt: skip
    return 1


@KERNEL32("SetConsoleTextAttribute", "pu")
@KERNEL32("SetConsoleCursorPosition", "pu")
def set_console_text_attribute(system: System, handle: int, _value: int) -> int:
    return int(_terminal(system, handle) is not None)


@KERNEL32.both("SetConsoleTitle", "t")
def set_console_title(system: System, _wide: bool, title: str) -> int:
    system.cache["console title"] = title or ""
    return 1


@KERNEL32.both("GetConsoleTitle", "pu")
def get_console_title(system: System, wide: bool, out: int, room: int) -> int:
    title: str = system.cache.get("console title", "")
    if not room:
        return 0
    system.put_string(wide, out, room, title[: room - 1])
    return len(title)


@KERNEL32("GetConsoleWindow", "", "p")
def get_console_window(_system: System) -> int:
    return 0


@KERNEL32("AllocConsole FreeConsole")
def alloc_console(_system: System) -> int:
    return 1


@KERNEL32("AttachConsole", "u")
def attach_console(system: System, _process: int) -> int:
    return system.fail(5)


@KERNEL32("GetConsoleProcessList", "pu")
def get_console_process_list(system: System, out: int, room: int) -> int:
    if room:
        system.put(out, 4, 4)
    return 1


@KERNEL32("GenerateConsoleCtrlEvent", "uu")
def generate_console_ctrl_event(system: System, *_: Any) -> int:
    return system.fail(87)
