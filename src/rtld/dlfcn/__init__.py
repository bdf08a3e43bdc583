"""``rtld.dlopen``: our own dynamic linker at work in this process, with the doors of <dlfcn.h>.

    z = rtld.dlopen("libz.so.1")
    z.crc32(0, b"abc", 3)

A ``Library`` is used as ``ctypes.CDLL`` is. Unlike it, it can come from bytes, be loaded any number of times in namespaces of
their own, really be unloaded, and be loaded again. Only libc and its siblings are shared with the host.
"""

from __future__ import annotations

import os

from rtld.dlfcn.flags import (
    RTLD_DEEPBIND,
    RTLD_DEFAULT,
    RTLD_FIRST,
    RTLD_GLOBAL,
    RTLD_GROUP,
    RTLD_LAZY,
    RTLD_LAZYLOAD,
    RTLD_LOCAL,
    RTLD_NEXT,
    RTLD_NODELETE,
    RTLD_NOLOAD,
    RTLD_NOSHARE,
    RTLD_NOW,
    RTLD_SELF,
    RTLD_WORLD,
)
from rtld.dlfcn.library import Library, SymbolNotFound
from rtld.dlfcn.namespace import Namespace, default_namespace
from rtld.dlfcn.opened import Closed
from rtld.process.hooks import Call, Hooks
from rtld.process.inprocess.debug import debugging

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, BinaryIO

    Source = str | os.PathLike[str] | bytes | bytearray | memoryview | int | BinaryIO

__all__ = [
    "LM_ID_BASE",
    "LM_ID_NEWLM",
    "RTLD_DEEPBIND",
    "RTLD_DEFAULT",
    "RTLD_FIRST",
    "RTLD_GLOBAL",
    "RTLD_GROUP",
    "RTLD_LAZY",
    "RTLD_LAZYLOAD",
    "RTLD_LOCAL",
    "RTLD_NEXT",
    "RTLD_NODELETE",
    "RTLD_NOLOAD",
    "RTLD_NOSHARE",
    "RTLD_NOW",
    "RTLD_SELF",
    "RTLD_WORLD",
    "Call",
    "Closed",
    "Hooks",
    "Library",
    "Namespace",
    "SymbolNotFound",
    "debugging",
    "default_namespace",
    "dl_iterate_phdr",
    "dladdr",
    "dladdr1",
    "dlclose",
    "dlinfo",
    "dlmopen",
    "dlopen",
    "dlsym",
    "dlvsym",
]

LM_ID_BASE, LM_ID_NEWLM = 0, -1
#: Options of a machine that libraries of another CPU are loaded onto.
_OF_MACHINES = ("cpu", "model", "library_path", "seconds", "memory", "reporter", "hooks")


def dlopen(
    source: Source | None,
    flags: int = RTLD_NOW,
    *,
    sysroot: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Any:
    """Load a library and what it needs into this process; ``Namespace.dlopen`` of the default namespace.

    A path of a Windows DLL gives a ``WindowsLibrary``: on an emulated CPU, or with ``native=True`` in this process.
    *source*: a name to be searched for, a path, bytes, a descriptor, a binary file; None is the program itself.
    *sysroot*: load it from that directory instead, onto an emulated CPU, whichever it is for; the result is a ``ForeignLibrary``.
    """
    if sysroot is not None:
        from rtld.dlfcn.foreign.namespace import foreign_namespace

        own = {name: options.pop(name) for name in _OF_MACHINES if name in options}
        return foreign_namespace(sysroot, **own).dlopen(source, flags, **options)
    native = options.pop("native", None)
    if isinstance(source, str | os.PathLike) and _is_windows(os.fsdecode(source)):
        from rtld.process.windows.library import open_library

        return open_library(os.fsdecode(source), native=bool(native))
    if native is not None:
        raise TypeError("native= is for Windows DLLs")
    return default_namespace().dlopen(source, flags, **options)


def _is_windows(path: str) -> bool:
    """Whether there is a file that begins as Windows' do."""
    if ".so" in path.rpartition("/")[2]:
        return (
            False  # a name to be searched for, more often than a file: spare the attempt to open it
        )
    try:
        with open(path, "rb") as file:
            return file.read(2) == b"MZ"
    except OSError:
        return False


def dlmopen(
    lmid: int | Namespace, source: Source | None, flags: int = RTLD_NOW, **options: Any
) -> Library:
    """``dlopen`` in another namespace: LM_ID_BASE, LM_ID_NEWLM for a new one, or a ``Namespace``."""
    if isinstance(lmid, Namespace):
        namespace = lmid
    elif lmid == LM_ID_BASE:
        namespace = default_namespace()
    elif lmid == LM_ID_NEWLM:
        namespace = Namespace()
    else:
        raise ValueError(f"namespace {lmid!r}: LM_ID_BASE, LM_ID_NEWLM or a Namespace")
    return namespace.dlopen(source, flags, **options)


def dlsym(
    handle: Library | int,
    name: str,
    *,
    caller: Library | None = None,
    namespace: Namespace | None = None,
) -> int:
    """The address of a symbol, as dlsym(3) gives it.

    *handle*: a Library; RTLD_DEFAULT, RTLD_NEXT or RTLD_SELF stand for the scopes of *caller*, by default the program.
    """
    return _dlsym(handle, name, None, caller, namespace)


def dlvsym(
    handle: Library | int,
    name: str,
    version: str,
    *,
    caller: Library | None = None,
    namespace: Namespace | None = None,
) -> int:
    """``dlsym`` of a symbol with this version."""
    return _dlsym(handle, name, version, caller, namespace)


def _dlsym(
    handle: Library | int,
    name: str,
    version: str | None,
    caller: Library | None,
    namespace: Namespace | None,
) -> int:
    if isinstance(handle, Library):
        return handle.address(name, version)
    if namespace is None:
        namespace = caller.namespace if caller is not None else default_namespace()
    return namespace.pseudo(handle, name, version, caller)


def dlclose(library: Library) -> None:
    """Give one opening of a library back."""
    library.close()


def dladdr(address: int | Any) -> Any:
    """Whose an address is: (path, base, name, value, ...) of the module and its nearest symbol; None if nobody's.

    *address* is a number or a function of ctypes.
    """
    from rtld.process.inprocess.calls import find_address
    from rtld.process.inprocess.hooks import address_of
    from rtld.process.inprocess.space import process

    default_namespace()  # its modules are those of the host, too
    with process().lock:
        return find_address(process(), address_of(address), everywhere=True)


def dladdr1(address: int | Any, flags: int) -> Any:
    """``dladdr``, and the entry of the symbol table (RTLD_DL_SYMENT, 1) or the address of the link_map (RTLD_DL_LINKMAP, 2)."""
    from rtld.elf.scalar import dynsym
    from rtld.process.inprocess.calls import RTLD_DL_LINKMAP, RTLD_DL_SYMENT

    found = dladdr(address)
    if found is None:
        return None
    if flags == RTLD_DL_SYMENT:
        return found, dynsym(found.module.file).symbol(found.entry) if found.entry else None
    if flags == RTLD_DL_LINKMAP:
        return found, found.space.maps.get(found.module, 0)
    raise ValueError(f"dladdr1: flags {flags!r}")


def dlinfo(library: Library) -> Any:
    """All that dlinfo(3) tells, by name: lmid, linkmap, origin, serinfo, phdr, phnum, tls_modid, tls_data."""
    return library.info()


def dl_iterate_phdr(callback: Callable[[Any], Any]) -> Any:
    """Call *callback* with (path, base, phdr, phnum) of every object in the process, the host's first; stop when it says so."""
    from rtld.backends.inprocess import host_objects
    from rtld.process.inprocess.space import process, program_headers

    with process().lock:  # of fork, too: ld.so keeps a lock of its own while it tells
        rows = [
            (o.name, o.base, o.phdr, o.phnum)
            for o in host_objects()
            if not o.name.startswith("/proc/self/")
        ]
        rows += [(m.path, m.base, *program_headers(m)) for _space, m in process().own_modules()]
    for row in rows:
        result = callback(row)
        if result:
            return result
    return None
