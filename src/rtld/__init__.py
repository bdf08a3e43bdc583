"""rtld: a complete dynamic loader and linker in Python. The public names; everything is imported when first used."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__version__ = "0.1.0"

# name -> module that has it
_PUBLIC = {
    "ElfFile": "rtld.elf.file",
    "FormatError": "rtld.errors",
    "Link": "rtld.process.link",
    "NoSpace": "rtld.errors",
    "NotFound": "rtld.errors",
    "Overflow": "rtld.errors",
    "RelocationError": "rtld.errors",
    "RtldError": "rtld.errors",
    "TargetFault": "rtld.errors",
    "Unknown": "rtld.errors",
    "UnresolvedSymbol": "rtld.errors",
    "Unsupported": "rtld.errors",
    "VersionMismatch": "rtld.errors",
    "link": "rtld.process.link",
}

__all__ = [  # noqa: RUF022 - the version first, then by name
    "__version__",
    *sorted(_PUBLIC),
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
