"""``rtld call``: a function of a library, called from the command line."""

from __future__ import annotations

import os

from rtld.cli import FINE, MISSING, UsageError, tell
from rtld.cli.options import JSON, Command, Option, Options
from rtld.cli.reading import write, write_failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# fmt: off
COMMAND = Command("call", "LIBRARY DECLARATION [ARG...]", """\
Load LIBRARY and call the function that DECLARATION, in C, declares. Without --sysroot it is loaded into this process by
rtld's own dynamic linker; with it, it runs on an emulated CPU, whichever the library is for.""", (
    Option("--sysroot",      "DIR",     "the system that LIBRARY is of (see rtld sysroot)"),
    Option("--cpu",          "NAME",    "which CPU's library, where the sysroot has several (with --sysroot)"),
    Option("--library-path", "PATHS",   "search these directories as LD_LIBRARY_PATH"),
    Option("--repeat",       "N",       "call it N times and tell how long that took"),
    Option("--errno",        "",        "show errno, too"),
    Option("--timeout",      "SECONDS", "stop it when it has run for so long (with --sysroot)"),
    JSON,
), """\
  rtld call libm.so.6 'double pow(double, double)' 2 10
  rtld call --sysroot arm64root libz.so.1 'unsigned long crc32(unsigned long, const char *, unsigned)' 0 abc 3
  rtld call libc.so.6 'char *strerror(int)' 2
  rtld call libc.so.6 'int snprintf(char *, size_t, const char *, ...)' zeros:20 20 '%s-%d' abc 7
""", search=False, least=2, stops=True, notes="""
ARG, by the type of the parameter:
  integers            42, -1, 0x2a, 'c'
  float, double       2.5, 1e-3, inf
  char *, void *      text as it is; hex:00ff; file:PATH, a file's content; zeros:N, a buffer; NULL
  other pointers      1,2,3: an array; zeros:N; NULL
  structures          1,2.5: the members
What "..." takes is a number, with a point a double, or text. Buffers, arrays and structures that have changed are shown
after the result.
Exit status: 0 it was called, 1 there is no such library or function, 2 usage, 3 it failed.""")
# fmt: on


def main(options: Options) -> int:
    """Declare, convert, call, show."""
    from rtld.dlfcn import words
    from rtld.dlfcn.cdef import DeclarationError
    from rtld.errors import NotFound, UnresolvedSymbol

    name, declaration, *given = options.rest
    repeat = _number(options, "repeat", 1)
    try:
        library = _open(options, name)
        try:
            function = _declared(library, declaration)
        except DeclarationError as error:
            raise UsageError(f"{declaration}: {error}", "call") from None
        try:
            arguments = _arguments(function, given, declaration)
        except words.WordError as error:
            raise UsageError(str(error), "call") from None
    except (NotFound, UnresolvedSymbol) as error:
        if options.debug:
            raise
        tell(str(error))
        if options.json:
            write_failure("call", options, error)
        return MISSING
    before = [words.snapshot(value) for value in arguments]
    result, errno, seconds = _call(function, arguments, repeat)
    touched = [
        (i, words.after(value))
        for i, value in enumerate(arguments)
        if words.changed(before[i], value)
    ]
    _show(options, function, result, touched, errno, seconds)
    return FINE


def _open(options: Options, name: str) -> Any:
    path = options.library_path
    if options.sysroot is None:
        if options.timeout is not None:
            raise UsageError(
                "--timeout is for --sysroot: nothing stops a function in this process", "call"
            )
        if options.cpu is not None:
            raise UsageError("--cpu is for --sysroot: this process has one CPU", "call")
        from rtld.dlfcn import Namespace

        search = {} if path is None else {"library_path": path}
        return Namespace("call", host="program", **search).dlopen(name, use_errno=True)
    if not os.path.isdir(options.sysroot):
        raise UsageError(f"--sysroot {options.sysroot}: no such directory", "call")
    from rtld.dlfcn.foreign.namespace import ForeignNamespace

    seconds = _number(options, "timeout", None)
    namespace = ForeignNamespace(
        options.sysroot, cpu=options.cpu, library_path=path, seconds=seconds
    )
    return namespace.dlopen(name, use_errno=True)


def _number(options: Options, name: str, otherwise: Any) -> Any:
    text = getattr(options, name)
    if text is None:
        return otherwise
    try:
        value = int(text) if name == "repeat" else float(text)
    except ValueError:
        value = 0
    if not 0 < value < 1e9:
        raise UsageError(f"--{name} {text}: a number above 0 is wanted", "call")
    return value


def _declared(library: Any, declaration: str) -> Any:
    """The one function of the declaration, with its types."""
    text = declaration if declaration.rstrip().endswith(";") else declaration + ";"
    library.cdef(text)
    names = list(library._declared)
    if len(names) != 1:
        what = "no function" if not names else f"{len(names)} functions"
        raise UsageError(f"{declaration}: {what} where one is wanted", "call")
    return library[names[0]]


def _arguments(function: Any, given: list[str], declaration: str) -> list[Any]:
    from rtld.dlfcn import words

    kinds = list(function.argtypes or ())
    variadic = function.argtypes is None or "..." in declaration
    if len(given) < len(kinds) or (len(given) > len(kinds) and not variadic):
        raise UsageError(
            f"{function.__name__} takes {len(kinds)} arguments, not {len(given)}", "call"
        )
    values = [words.argument(word, kind) for word, kind in zip(given, kinds, strict=False)]
    return values + [words.free(word) for word in given[len(kinds) :]]


def _call(function: Any, arguments: list[Any], repeat: int) -> tuple[Any, int, float]:
    import ctypes
    import time

    ctypes.set_errno(0)
    begin = time.perf_counter()
    for _ in range(repeat):
        result = function(*arguments)
    seconds = time.perf_counter() - begin
    return result, ctypes.get_errno(), seconds


def _show(
    options: Options,
    function: Any,
    result: Any,
    touched: list[tuple[int, Any]],
    errno: int,
    seconds: float,
) -> None:
    from rtld.dlfcn import words

    if options.json:
        from rtld.report.json import document

        body: dict[str, Any] = {
            "function": function.__name__,
            "result": words.plain(result),
            "changed": [{"argument": i, "value": words.plain(value)} for i, value in touched],
            "errno": errno,
            "seconds": seconds,
        }
        write(document("call", body))
        return
    lines = [words.shown(result)] if function.restype is not None else []
    lines += [f"argument {i + 1}: {words.shown(value)}" for i, value in touched]
    if options.errno:
        lines.append(f"errno {errno}: {os.strerror(errno)}" if errno else "errno 0")
    if options.repeat is not None:
        count = int(options.repeat)
        lines.append(f"{count} calls in {seconds:.3f} s, {count / seconds:.0f} a second")
    write("".join([line + "\n" for line in lines]))
