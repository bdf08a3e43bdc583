"""Mangled names of C++ and Rust as people wrote them: by pydemumble (extra ``demangle``) or by c++filt.

Nothing is imported or started before a name has to be demangled.
"""

from __future__ import annotations

from rtld.errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def demangler() -> Callable[[str], str]:
    """A function from a symbol's name to what it stands for; names that are not mangled stay. Unsupported."""
    known: dict[str, str] = {}
    slow = _with_pydemumble() or _with_cxxfilt()
    if slow is None:
        raise Unsupported("--demangle needs pydemumble or c++filt", "pip install 'rtld[demangle]'")

    def demangle(name: str) -> str:
        # C++ (_Z, ___Z), Rust (_R), D (_D), Swift ($s): everything else is plain.
        if not name.startswith(("_Z", "___Z", "__Z", "_R", "_D", "$s", "$S", "_T")):
            return name
        result = known.get(name)
        if result is None:
            result = known[name] = slow(name) or name
        return result

    return demangle


def _with_pydemumble() -> Callable[[str], str] | None:
    try:
        import pydemumble
    except ImportError:
        return None
    demangle: Callable[[str], str] = pydemumble.demangle
    return demangle


def _with_cxxfilt() -> Callable[[str], str] | None:
    """One c++filt for all names: it answers line by line."""
    import shutil
    import subprocess

    program = shutil.which("c++filt")
    if program is None:
        return None
    # It must not wait for more before it answers: binutils flushes after each line.
    process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(name: str) -> str:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(name.encode("utf-8", "surrogateescape") + b"\n")
        process.stdin.flush()
        return process.stdout.readline().rstrip(b"\n").decode("utf-8", "surrogateescape")

    return ask
