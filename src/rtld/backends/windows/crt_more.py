"""msvcrt.dll, ucrtbase.dll, vcruntime140.dll: threads, what becomes of errors, buffers of streams, the exception that is handled."""

from __future__ import annotations

import sys

from rtld.backends.windows.api import Call, ThreadExited
from rtld.backends.windows.crt import VCRUNTIME
from rtld.backends.windows.crt_math import both
from rtld.backends.windows.crt_streams import flush_all
from rtld.backends.windows.kernel32_threads import begin, exit_thread
from rtld.backends.windows.msvcrt import MSVCRT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from rtld.backends.windows.system import System

    Task = Generator[Any, Any, Any]

# -- threads --------------------------------------------------------------------------------------


def _begin(system: System, start: int, argument: int, stack: int, flags: int, out: int, convention: str) -> int:  # fmt: skip
    thread = system.loader.new_thread_of(_body(start, argument, convention), stack & 0x7FFFFFFF)
    return begin(system, thread, flags, out)


def _body(start: int, argument: int, convention: str) -> Task:
    return (yield Call(start, (argument,), convention))


@both("_beginthreadex", "pupp" + "up", "p")
def beginthreadex(system: System, _sa: int, stack: int, start: int, argument: int, flags: int, out: int) -> int:  # fmt: skip
    return _begin(system, start, argument, stack, flags, out, "stdcall")


@both("_beginthread", "pup", "p")
def beginthread(system: System, start: int, stack: int, argument: int) -> int:
    return _begin(system, start, argument, stack, 0, 0, "cdecl")


@both("_endthreadex", "u", "v")
def endthreadex(system: System, code: int) -> Task:
    yield from exit_thread(system, code)


@both("_endthread", "", "v")
def endthread(system: System) -> Task:
    yield from exit_thread(system, 0)
    raise ThreadExited(0)


# -- errors ---------------------------------------------------------------------------------------


@both("_set_abort_behavior", "uu")
def set_abort_behavior(system: System, flags: int, mask: int) -> int:
    old = int(system.cache.get("abort behavior", 3))
    system.cache["abort behavior"] = old & ~mask | flags & mask
    return old


@both("_set_error_mode", "i", "i")
def set_error_mode(system: System, mode: int) -> int:
    old = int(system.cache.get("error mode", 0))
    if mode != 3:
        system.cache["error mode"] = mode
    return old


@both("_wassert", "wwu", "v")
def wassert(system: System, text: str, file: str, line: int) -> Task:
    flush_all(system)
    sys.stderr.write(f"Assertion failed: {text or ''}, file {file or ''}, line {line}\n")
    yield from MSVCRT.find("abort").action(system)


@both("_controlfp_s", "puu", "i")
def controlfp_s(system: System, out: int, value: int, mask: int) -> int:
    now = MSVCRT.find("_controlfp").action(system, value, mask)
    if out:
        system.put(out, now, 4)
    return 0


@both("_heapwalk", "p", "i")
def heapwalk(_system: System, _entry: int) -> int:
    return -5  # _HEAPEND


@both("imaxabs llabs", "q", "q")
def imaxabs(_system: System, value: int) -> int:
    return abs((value ^ 1 << 63) - (1 << 63))


# -- streams and characters -----------------------------------------------------------------------


@both("_get_stream_buffer_pointers", "pppp", "i")
def get_stream_buffer_pointers(system: System, _file: int, base: int, at: int, count: int) -> int:
    """Streams are Python's: for the program their buffers are empty, and it asks for each character."""
    cells = system.cache.get("stream buffers")
    if cells is None:
        cells = system.cache["stream buffers"] = system.heap.allocate(3 * system.word)
    for number, place in enumerate((base, at, count)):
        if place:
            system.put(place, cells + number * system.word)
    return 0


@both("iswctype", "uu", "i")
def iswctype(_system: System, unit: int, mask: int) -> int:
    """_UPPER 1, _LOWER 2, _DIGIT 4, _SPACE 8, _PUNCT 16, _CONTROL 32, _BLANK 64, _HEX 128, _ALPHA 0x100."""
    if unit & 0xFFFF == 0xFFFF:
        return 0
    letter = chr(unit & 0xFFFF)
    tests = (
        (1, letter.isupper()), (2, letter.islower()), (4, letter.isdecimal()), (8, letter.isspace()),
        (16, letter.isprintable() and not letter.isalnum() and not letter.isspace()), (32, ord(letter) < 32 or 127 <= ord(letter) < 160),
        (64, letter in " \t\u3000"), (128, letter in "0123456789abcdefABCDEF"), (0x100, letter.isalpha()),
    )  # fmt: skip
    return sum(bit for bit, found in tests if found) & mask


@both("wcscoll", "ww", "i")
def wcscoll(_system: System, one: str, other: str) -> int:
    a, b = one or "", other or ""
    return (a > b) - (a < b)


@both("wcsxfrm", "pwp", "p")
def wcsxfrm(system: System, out: int, text: str, room: int) -> int:
    text = text or ""
    if room > len(text):
        system.put_text(out, text, room)
    return len(text)


# -- the exception that is handled ----------------------------------------------------------------


def _cell(system: System, name: str) -> int:
    """A pointer of the thread's, null at first."""
    crt = system.threads.current.crt
    if name not in crt:
        crt[name] = system.heap.allocate(system.word)
    return int(crt[name])


@VCRUNTIME("__current_exception", "", "p")
def current_exception(system: System) -> int:
    return _cell(system, "current exception")


@VCRUNTIME("__current_exception_context", "", "p")
def current_exception_context(system: System) -> int:
    return _cell(system, "current exception's context")


@VCRUNTIME("__processing_throw", "", "p")
def processing_throw(system: System) -> int:
    return _cell(system, "processing throw")
