"""``rtld run PROG.EXE``: a console program of Windows on an emulated CPU."""

from __future__ import annotations

import gc
import os
import sys

from rtld.cli import tell
from rtld.cli.reading import assignments
from rtld.errors import RtldError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.cli.options import Options

NOT_RUNNABLE = 126
_SHOWN = 20
#: What Windows has in every environment.
WINDOWS = {
    "ComSpec": "C:\\windows\\system32\\cmd.exe", "NUMBER_OF_PROCESSORS": "1", "OS": "Windows_NT",
    "PATH": "C:\\windows\\system32;C:\\windows", "PATHEXT": ".com;.exe;.bat;.cmd", "SystemDrive": "C:",
    "SystemRoot": "C:\\windows", "windir": "C:\\windows",
}  # fmt: skip
_OURS = ("PATH", "LD_LIBRARY_PATH", "LD_PRELOAD")  # they mean nothing there


def run_windows(options: Options, seconds: float | None) -> int:
    """Run it; its exit status, of which the lowest 8 bits are left, as under Wine."""
    from rtld.cli.pe import keywords
    from rtld.pe import small
    from rtld.process.windows.run import WindowsProcess

    small.prefer()
    environ = {**WINDOWS, **{k: v for k, v in os.environ.items() if k not in _OURS}, **assignments(options.env)}  # fmt: skip
    sink = None
    if options.trace is not None:
        sink = sys.stderr
        if options.trace_output is not None:
            sink = open(options.trace_output, "w", encoding="utf-8")  # noqa: SIM115
    try:
        process = WindowsProcess(
            options.rest[0], options.rest[1:], environ=environ, strict=options.strict, seconds=seconds, trace=sink,
            crt=options.crt or "builtin", **keywords(options),
        )  # fmt: skip
    except (RtldError, OSError) as error:
        if options.debug:
            raise
        if isinstance(error, OSError) and error.filename:
            tell(f"{error.filename}: {error.strerror}")
        else:
            tell(str(error))
        return NOT_RUNNABLE
    try:
        status = process.run()
    except RtldError as error:
        if options.debug:
            raise
        tell(f"{options.rest[0]}: {error}")
        return NOT_RUNNABLE
    finally:
        if process.machine.unhandled:
            tell(f"{options.rest[0]}: {process.machine.unhandled}")
        _summary(options.rest[0], process.unknown)
        process.close()
        if sink is not None:
            sink.flush()
        gc.freeze()  # nothing of this is looked through once more at the interpreter's end
    return status & 0xFF


def _summary(program: str, unknown: dict[str, int]) -> None:
    """The functions that nobody supplies, the most wanted first."""
    if not unknown:
        return
    ranked = sorted(unknown.items(), key=lambda row: (-row[1], row[0]))
    names = ", ".join(f"{name} ({count})" for name, count in ranked[:_SHOWN])
    more = f" and {len(ranked) - _SHOWN} more" if len(ranked) > _SHOWN else ""
    tell(f"{program}: answered with ERROR_CALL_NOT_IMPLEMENTED: {names}{more}")
