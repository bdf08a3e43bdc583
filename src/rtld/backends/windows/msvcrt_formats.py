"""msvcrt.dll: printf, scanf and their kin."""

from __future__ import annotations

from rtld.backends.windows.api import VarArgs
from rtld.backends.windows.crt_streams import Stream, standard, stream
from rtld.backends.windows.formats import format_string, format_text
from rtld.backends.windows.msvcrt import MSVCRT, failed
from rtld.backends.windows.msvcrt_streams import put
from rtld.backends.windows.scanning import Source, of_text, scan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.backends.windows.system import System

# -- printf ---------------------------------------------------------------------------------------


def _list(system: System, values: int) -> VarArgs:
    return VarArgs(system.memory, values, system.word)


@MSVCRT("printf", "s.", "i")
def printf(system: System, form: bytes, values: VarArgs) -> int:
    text = format_text(system, form, values)
    return len(text) if standard(system, 1).write(text) else -1


@MSVCRT("fprintf", "ps.", "i")
def fprintf(system: System, file: int, form: bytes, values: VarArgs) -> int:
    return put(system, file, format_text(system, form, values))


@MSVCRT("vfprintf", "psp", "i")
def vfprintf(system: System, file: int, form: bytes, values: int) -> int:
    return put(system, file, format_text(system, form, _list(system, values)))


@MSVCRT("vprintf", "sp", "i")
def vprintf(system: System, form: bytes, values: int) -> int:
    return printf(system, form, _list(system, values))  # type: ignore[no-any-return]


@MSVCRT("sprintf", "ps.", "i")
def sprintf(system: System, out: int, form: bytes, values: VarArgs) -> int:
    text = format_text(system, form, values)
    system.memory.write(out, text + b"\0")
    return len(text)


@MSVCRT("vsprintf", "psp", "i")
def vsprintf(system: System, out: int, form: bytes, values: int) -> int:
    return sprintf(system, out, form, _list(system, values))  # type: ignore[no-any-return]


def _bounded(system: System, out: int, room: int, text: bytes, unit: int = 1) -> int:
    """_snprintf: no zero where there is no room for it, and -1 when it does not fit."""
    if out and room:
        system.memory.write(out, (text + bytes(unit))[: room * unit])
    length = len(text) // unit
    return length if length <= room or not out else -1


@MSVCRT("_snprintf", "pps.", "i")
def snprintf(system: System, out: int, room: int, form: bytes, values: VarArgs) -> int:
    return _bounded(system, out, room, format_text(system, form, values))


@MSVCRT("_vsnprintf", "ppsp", "i")
def vsnprintf(system: System, out: int, room: int, form: bytes, values: int) -> int:
    return _bounded(system, out, room, format_text(system, form, _list(system, values)))


@MSVCRT("_vscprintf", "sp", "i")
def vscprintf(system: System, form: bytes, values: int) -> int:
    return len(format_text(system, form, _list(system, values)))


@MSVCRT("_scprintf", "s.", "i")
def scprintf(system: System, form: bytes, values: VarArgs) -> int:
    return len(format_text(system, form, values))


@MSVCRT("sprintf_s", "pps.", "i")
def sprintf_s(system: System, out: int, room: int, form: bytes, values: VarArgs) -> int:
    text = format_text(system, form, values)
    if len(text) + 1 > room:
        system.put(out, 0, 1)
        return failed(system, 34, -1)
    system.memory.write(out, text + b"\0")
    return len(text)


@MSVCRT("vsprintf_s", "ppsp", "i")
def vsprintf_s(system: System, out: int, room: int, form: bytes, values: int) -> int:
    return sprintf_s(system, out, room, form, _list(system, values))  # type: ignore[no-any-return]


def _wide(system: System, form: str, values: VarArgs) -> str:
    return format_string(system, form, values, wide=True)


@MSVCRT("wprintf", "w.", "i")
def wprintf(system: System, form: str, values: VarArgs) -> int:
    text = _wide(system, form, values).encode("latin-1", "replace")
    return len(text) if standard(system, 1).write(text) else -1


@MSVCRT("vwprintf", "wp", "i")
def vwprintf(system: System, form: str, values: int) -> int:
    return wprintf(system, form, _list(system, values))  # type: ignore[no-any-return]


@MSVCRT("fwprintf", "pw.", "i")
def fwprintf(system: System, file: int, form: str, values: VarArgs) -> int:
    return put(system, file, _wide(system, form, values).encode("latin-1", "replace"))


@MSVCRT("vfwprintf", "pwp", "i")
def vfwprintf(system: System, file: int, form: str, values: int) -> int:
    return fwprintf(system, file, form, _list(system, values))  # type: ignore[no-any-return]


@MSVCRT("_snwprintf", "ppw.", "i")
def snwprintf(system: System, out: int, room: int, form: str, values: VarArgs) -> int:
    data = _wide(system, form, values).encode("utf-16-le", "surrogatepass")
    return _bounded(system, out, room, data, 2)


@MSVCRT("_vsnwprintf", "ppwp", "i")
def vsnwprintf(system: System, out: int, room: int, form: str, values: int) -> int:
    return snwprintf(system, out, room, form, _list(system, values))  # type: ignore[no-any-return]


@MSVCRT("_vscwprintf", "wp", "i")
def vscwprintf(system: System, form: str, values: int) -> int:
    return len(_wide(system, form, _list(system, values)))


@MSVCRT("swprintf", "pw.", "i")
def swprintf(system: System, out: int, form: str, values: VarArgs) -> int:
    text = _wide(system, form, values)
    system.memory.write(out, text.encode("utf-16-le", "surrogatepass") + b"\0\0")
    return len(text)


@MSVCRT("vswprintf", "pwp", "i")
def vswprintf(system: System, out: int, form: str, values: int) -> int:
    return swprintf(system, out, form, _list(system, values))  # type: ignore[no-any-return]


# -- scanf ----------------------------------------------------------------------------------------


def _scan_stream(system: System, found: Stream | None, form: str, values: VarArgs, *, wide: bool = False) -> int:  # fmt: skip
    if found is None:
        return -1
    return scan(system, Source(found.take, found.push), form, values, wide=wide)


@MSVCRT("sscanf", "ss.", "i")
def sscanf(system: System, text: bytes, form: bytes, values: VarArgs) -> int:
    return scan(system, of_text(text.decode("latin-1")), form.decode("latin-1"), values)


@MSVCRT("vsscanf", "ssp", "i")
def vsscanf(system: System, text: bytes, form: bytes, values: int) -> int:
    return sscanf(system, text, form, _list(system, values))  # type: ignore[no-any-return]


@MSVCRT("swscanf", "ww.", "i")
def swscanf(system: System, text: str, form: str, values: VarArgs) -> int:
    return scan(system, of_text(text), form, values, wide=True)


@MSVCRT("fscanf", "ps.", "i")
def fscanf(system: System, file: int, form: bytes, values: VarArgs) -> int:
    return _scan_stream(system, stream(system, file), form.decode("latin-1"), values)


@MSVCRT("scanf", "s.", "i")
def scanf(system: System, form: bytes, values: VarArgs) -> int:
    return _scan_stream(system, standard(system, 0), form.decode("latin-1"), values)
