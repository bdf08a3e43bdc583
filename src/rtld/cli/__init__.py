"""The command line: which commands there are, and what their exit status means.

    0  fine
    1  something is missing: a library, a symbol, a version
    2  usage
    3  a FILE is unreadable or malformed, or what is printed cannot be written

A command is a small module with ``COMMAND`` (options.Command) and ``main(options) -> status``. It turns arguments into
calls of the library and hands the result to ``rtld.report``. It is imported when it is used.
"""

from __future__ import annotations

import gc
import os
import sys

from rtld.errors import RtldError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

FINE, MISSING, USAGE, UNREADABLE = range(4)
INTERRUPTED = 130  # 128 + SIGINT, as shells say it

# fmt: off
COMMANDS = {
    # name   what it is for
    "tree":  "the libraries a program needs, as a tree, with the rule that found each",
    "ldd":   "the same as the lines that ldd prints, without executing anything",
    "link":  "link a program and show the result: modules, addresses, TLS, scopes, bindings",
    "why":   "why a symbol is bound where it is, or why a library is loaded",
    "diff-models": "what two systems' rules of look-up would bind differently",
    "check": "what is missing or would fail: libraries, symbols, versions, static TLS, ...",
    "run":   "run a program, linked by rtld",
    "call":  "call a function of a library, of this or another CPU",
    "freeze": "one image of a program and its libraries, linked once and started faster",
    "cache": "run programs from images that are made at their first start",
    "epoch": "the same address for a library in every image",
    "sysroot": "a Debian system of another CPU in a directory: create, add, list, which",
    "bind":  "write the addresses of a Windows file's imports into it",
    "unbind": "take them out again",
    "rebase": "move the preferred base of a Windows file",
    "textbook": 'the linker of the book "Linkers and Loaders": link, bind, libraries, show',
}
# fmt: on

EPILOGUE = """\
examples:
  rtld tree /usr/bin/gdb                   which libraries, and who wants them
  rtld why /usr/bin/gdb malloc             which malloc, and what stands behind it
  rtld check --json ./app                  everything that is missing, for a script
  rtld run /usr/bin/python3 -c 'print(1)'  start it, linked by rtld

exit status:
  0 fine, 1 something is missing, 2 wrong usage, 3 a FILE is unreadable or malformed

`rtld COMMAND --help` tells about a command.
"""


class UsageError(Exception):
    """The command line cannot be understood; ``command`` is whose help to look at."""

    def __init__(self, message: str, command: str = "") -> None:
        self.command = command
        super().__init__(message)


class Unwritable(Exception):
    """Standard output takes nothing: the disk is full, or it was closed before we began."""


def overview() -> str:
    """What ``rtld`` and ``rtld --help`` print."""
    lines = ["usage: rtld COMMAND [OPTION...] FILE...", "       rtld --help | --version", ""]
    lines.append(
        "A complete dynamic linker: finds, loads, binds, relocates and runs ELF programs, and says why."
    )
    lines += ["", "commands:"]
    lines += [f"  {name:<13}{purpose}" for name, purpose in COMMANDS.items()]
    return "\n".join([*lines, "", EPILOGUE])


def run(arguments: list[str]) -> int:
    """One command line, from its words to its exit status; what may go wrong ends here, in one sentence."""
    # Most of what a command makes is there until its end: looking for garbage is a tenth of the time of a short one.
    gc.set_threshold(50_000)
    _hold_standard_descriptors()
    try:
        return _run(arguments)
    except BrokenPipeError:  # whoever read our output has seen enough
        _forget_output()
        return FINE
    except Unwritable as error:
        _forget_output()
        tell(f"standard output: {error}")
        return UNREADABLE


def _run(arguments: list[str]) -> int:
    debug = "--debug" in arguments[: arguments.index("--") if "--" in arguments else None]
    try:
        status = _dispatch(arguments)
        flush()
    except (BrokenPipeError, Unwritable):
        raise
    except UsageError as error:
        tell(f"{error}")
        name = f"rtld {error.command}" if error.command else "rtld"
        sys.stderr.write(f"Try `{name} --help' for more information.\n")
        return USAGE
    except KeyboardInterrupt:
        if debug:
            raise
        return INTERRUPTED
    except (RtldError, OSError, MemoryError, RecursionError) as error:
        if debug:
            raise
        from rtld.report.message import sentence

        tell(sentence(error))
        return UNREADABLE
    except Exception as error:
        if debug:
            raise
        tell(f"internal error: {type(error).__name__}: {error} (--debug shows where)")
        return UNREADABLE
    return status


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        if len(arguments) > 1 and arguments[1] in COMMANDS:
            return _dispatch([arguments[1], "--help"])
        put(overview())
        return FINE
    name = arguments[0]
    if name in ("--version", "-V"):
        from rtld import __version__

        put(f"rtld {__version__}\n")
        return FINE
    if name not in COMMANDS:
        kind = "option" if name.startswith("-") else "command"
        raise UsageError(f"there is no {kind} {name!r}; commands are {', '.join(COMMANDS)}")
    module: Any = __import__(f"rtld.cli.{name.replace('-', '_')}", fromlist=["COMMAND"])
    options = module.COMMAND.parse(arguments[1:])
    if options is None:
        put(module.COMMAND.help())
        return FINE
    main: Callable[[Any], int] = module.main
    try:
        return main(options)
    except UsageError as error:
        error.command = error.command or name
        raise
    except (RtldError, OSError, MemoryError, RecursionError) as error:
        # The document of run is its program's affair; standard output is, too.
        if (
            name != "run"
            and getattr(options, "json", False)
            and not isinstance(error, BrokenPipeError)
        ):
            from rtld.cli.reading import write_failure

            write_failure(name, options, error)
        raise


def _hold_standard_descriptors() -> None:
    """A standard descriptor that was closed before we began stays so for whoever reads, writes, or is executed.

    But no file of ours may get its number, for a program that is run would then read or write that.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_PATH)  # takes the lowest number that is free
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 (what is written is EBADF)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115


def _forget_output() -> None:
    """What is still buffered must not be written at exit: that would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def put(text: str) -> None:
    """Text on standard output. Unwritable."""
    try:
        sys.stdout.write(text)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Unwritable(error.strerror) from None


def tell(message: str) -> None:
    """A line for people, on standard error."""
    flush()
    sys.stderr.write(f"rtld: {message}\n")


def flush() -> None:
    """What has been printed so far. Unwritable."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Unwritable(error.strerror) from None
