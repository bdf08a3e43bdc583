"""rtld: a complete dynamic loader and linker in Python. The public names; everything is imported when first used."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.backends.windows.native_faults import WindowsException
    from rtld.dlfcn import (
        LM_ID_BASE,
        LM_ID_NEWLM,
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
        Closed,
        Hooks,
        Library,
        Namespace,
        SymbolNotFound,
        default_namespace,
        dl_iterate_phdr,
        dladdr,
        dladdr1,
        dlclose,
        dlinfo,
        dlmopen,
        dlopen,
        dlsym,
        dlvsym,
    )
    from rtld.elf.file import ElfFile
    from rtld.errors import (
        FormatError,
        NoSpace,
        NoStaticTls,
        NotFound,
        Overflow,
        RelocationError,
        RtldError,
        TargetFault,
        Unknown,
        UnresolvedSymbol,
        Unsupported,
        VersionMismatch,
    )
    from rtld.frozen import Report, freeze
    from rtld.process.link import Link, link
    from rtld.process.run import run

__version__ = "0.1.0"

# name -> module that has it
_PUBLIC = {
    "Closed": "rtld.dlfcn",
    "ElfFile": "rtld.elf.file",
    "FormatError": "rtld.errors",
    "LM_ID_BASE": "rtld.dlfcn",
    "LM_ID_NEWLM": "rtld.dlfcn",
    "Hooks": "rtld.process.hooks",
    "Library": "rtld.dlfcn",
    "Link": "rtld.process.link",
    "Namespace": "rtld.dlfcn",
    "NoSpace": "rtld.errors",
    "NoStaticTls": "rtld.errors",
    "NotFound": "rtld.errors",
    "Overflow": "rtld.errors",
    "RTLD_DEEPBIND": "rtld.dlfcn",
    "RTLD_DEFAULT": "rtld.dlfcn",
    "RTLD_FIRST": "rtld.dlfcn",
    "RTLD_GLOBAL": "rtld.dlfcn",
    "RTLD_GROUP": "rtld.dlfcn",
    "RTLD_LAZY": "rtld.dlfcn",
    "RTLD_LAZYLOAD": "rtld.dlfcn",
    "RTLD_LOCAL": "rtld.dlfcn",
    "RTLD_NEXT": "rtld.dlfcn",
    "RTLD_NODELETE": "rtld.dlfcn",
    "RTLD_NOLOAD": "rtld.dlfcn",
    "RTLD_NOSHARE": "rtld.dlfcn",
    "RTLD_NOW": "rtld.dlfcn",
    "RTLD_SELF": "rtld.dlfcn",
    "RTLD_WORLD": "rtld.dlfcn",
    "RelocationError": "rtld.errors",
    "Report": "rtld.frozen",
    "RtldError": "rtld.errors",
    "SymbolNotFound": "rtld.dlfcn",
    "TargetFault": "rtld.errors",
    "Unknown": "rtld.errors",
    "UnresolvedSymbol": "rtld.errors",
    "Unsupported": "rtld.errors",
    "VersionMismatch": "rtld.errors",
    "WindowsException": "rtld.backends.windows.native_faults",
    "default_namespace": "rtld.dlfcn",
    "dl_iterate_phdr": "rtld.dlfcn",
    "dladdr": "rtld.dlfcn",
    "dladdr1": "rtld.dlfcn",
    "dlclose": "rtld.dlfcn",
    "dlinfo": "rtld.dlfcn",
    "dlmopen": "rtld.dlfcn",
    "dlopen": "rtld.dlfcn",
    "dlsym": "rtld.dlfcn",
    "dlvsym": "rtld.dlfcn",
    "freeze": "rtld.frozen",
    "link": "rtld.process.link",
    "run": "rtld.process.run",
}

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
    "Closed",
    "ElfFile",
    "FormatError",
    "Hooks",
    "Library",
    "Link",
    "Namespace",
    "NoSpace",
    "NoStaticTls",
    "NotFound",
    "Overflow",
    "RelocationError",
    "Report",
    "RtldError",
    "SymbolNotFound",
    "TargetFault",
    "Unknown",
    "UnresolvedSymbol",
    "Unsupported",
    "VersionMismatch",
    "WindowsException",
    "__version__",
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
    "freeze",
    "link",
    "run",
]


def __getattr__(name: str) -> Any:
    module = _PUBLIC.get(name)
    if module is None:
        raise AttributeError(f"module 'rtld' has no attribute {name!r}")
    import importlib

    # ``rtld.elf.link`` is a module and ``rtld.link`` its function: the function is what is public.
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
