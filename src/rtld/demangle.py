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
        raise Unsupported(
            "names of C++ and Rust need pydemumble or c++filt", "pip install 'rtld[demangle]'"
        )

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
    """One c++filt for all names."""
    import shutil

    program = shutil.which("c++filt")
    return None if program is None else _Filter(program).ask


class _Filter:
    """A program that answers line by line, flushing each (binutils: c++filt); ended with this object."""

    def __init__(self, program: str) -> None:
        import subprocess

        self._process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, name: str) -> str:
        asked, answers = self._process.stdin, self._process.stdout
        assert asked is not None
        assert answers is not None
        asked.write(name.encode("utf-8", "surrogateescape") + b"\n")
        asked.flush()
        return answers.readline().rstrip(b"\n").decode("utf-8", "surrogateescape")

    def __del__(self) -> None:
        self._process.communicate()
