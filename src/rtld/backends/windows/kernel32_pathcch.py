"""KERNEL32.dll: paths as texts (pathcch.h; Windows has these in kernelbase.dll, behind an API set)."""

from __future__ import annotations

from rtld.backends.windows.kernel32 import KERNEL32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.backends.windows.system import System

_OK, _FALSE = 0, 1
_INVALID, _TOO_SMALL = (
    -2147024809,
    -2147024774,
)  # HRESULT of ERROR_INVALID_PARAMETER, ERROR_INSUFFICIENT_BUFFER
_MOST = 0x8000


def _root(path: str) -> int:
    """How much of a path is its root: C:\\, \\\\server\\share, \\."""
    start = 4 if path.startswith("\\\\?\\") else 0
    rest = path[start:]
    if rest[1:2] == ":":
        return start + (3 if rest[2:3] == "\\" else 2)
    if rest.startswith("\\\\"):
        parts = rest[2:].split("\\")
        return start + 2 + len("\\".join(parts[:2]))
    return start + (1 if rest.startswith("\\") else 0)


def canonical(path: str) -> str:
    """Without . and .. between its names."""
    root = _root(path)
    head = path[:root]
    names: list[str] = []
    for name in path[root:].split("\\"):
        if name == "..":
            if names:
                names.pop()
        elif name != ".":
            names.append(name)
    text = head + "\\".join(names)
    if text.startswith("\\\\?\\") and len(text) < 260:
        text = text[4:]
    return text or "\\"


def _given(system: System, out: int, room: int, text: str) -> int:
    if not 0 < room <= _MOST:
        return _INVALID
    if len(text) + 1 > room:
        system.put(out, 0, 2)
        return _TOO_SMALL
    system.put_text(out, text, room)
    return _OK


def _kept(system: System, out: int, text: str) -> int:
    data = (text + "\0").encode("utf-16-le", "surrogatepass")
    at = system.heap.allocate(len(data))
    system.memory.write(at, data)
    system.put(out, at)
    return _OK


def _combined(one: str | None, other: str | None) -> str:
    first, second = (one or "").replace("/", "\\"), (other or "").replace("/", "\\")
    if not second or not first:
        return canonical(first or second)
    if second.startswith("\\\\") or second[1:2] == ":":
        return canonical(second)
    if second.startswith("\\"):
        return canonical(first[: _root(first)].rstrip("\\") + second)
    return canonical(first.rstrip("\\") + "\\" + second)


@KERNEL32("PathAllocCanonicalize", "wup", "i")
def path_alloc_canonicalize(system: System, path: str | None, _flags: int, out: int) -> int:
    return _INVALID if path is None else _kept(system, out, canonical(path.replace("/", "\\")))


@KERNEL32("PathAllocCombine", "wwup", "i")
def path_alloc_combine(system: System, one: str | None, other: str | None, _flags: int, out: int) -> int:  # fmt: skip
    return _INVALID if one is None and other is None else _kept(system, out, _combined(one, other))


@KERNEL32("PathCchCanonicalize", "ppw", "i")
@KERNEL32("PathCchCanonicalizeEx", "ppwu", "i")
def path_cch_canonicalize(system: System, out: int, room: int, path: str | None, _flags: int = 0) -> int:  # fmt: skip
    return _INVALID if path is None else _given(system, out, room, canonical(path.replace("/", "\\")))  # fmt: skip


@KERNEL32("PathCchCombine", "ppww", "i")
@KERNEL32("PathCchCombineEx", "ppwwu", "i")
def path_cch_combine(system: System, out: int, room: int, one: str | None, other: str | None, _flags: int = 0) -> int:  # fmt: skip
    return _INVALID if one is None and other is None else _given(system, out, room, _combined(one, other))  # fmt: skip


@KERNEL32("PathCchAppend", "ppw", "i")
@KERNEL32("PathCchAppendEx", "ppwu", "i")
def path_cch_append(system: System, path: int, room: int, more: str | None, _flags: int = 0) -> int:
    return _given(system, path, room, _combined(system.wide(path), more))


@KERNEL32("PathCchRemoveFileSpec", "pp", "i")
def path_cch_remove_file_spec(system: System, path: int, room: int) -> int:
    text = system.wide(path) or ""
    if not 0 < room <= _MOST:
        return _INVALID
    root = _root(text)
    cut = max(text.rfind("\\"), root)
    cut = max(cut, root)
    if cut >= len(text):
        return _FALSE
    system.put(path + 2 * cut, 0, 2)
    return _OK
