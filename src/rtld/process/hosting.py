"""Which modules of a program the platform's own dynamic linker loads, though the rest is linked by us."""

from __future__ import annotations

from rtld.elf.load import is_libc_family

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.core.module import Module, Namespace


def is_hosted(module: Module, ns: Namespace) -> bool:
    """Is this module ld.so's to load?  The libc family; and libgcc_s, which libc opens on its own to unwind threads."""
    if ns.model == "musl":
        return module is ns.interp
    name = module.soname or module.path.rpartition("/")[2]
    if name.startswith("libthread_db.so"):
        return False  # it calls back into the debugger that opens it, which ld.so does not know
    return is_libc_family(name) or name.startswith("libgcc_s.so")
