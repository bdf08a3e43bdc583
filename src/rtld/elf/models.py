"""Where the references of a library that is opened are looked up, in the words of several systems.

    glibc      the global scope, then the library's group; RTLD_DEEPBIND: the group first
    musl       the same; it has no RTLD_DEEPBIND
    freebsd    the same; of several definitions the first that is not weak is taken (rtld(1))
    bionic     the program, LD_PRELOAD and DF_1_GLOBAL libraries, then the group: RTLD_GLOBAL is for dlsym alone
    qnx-doc    as documented: the library itself, LD_PRELOAD, the global list, what it needs
    qnx        as shipped: the program, the library, the rest of the global list, what it needs

QNX (Neutrino's dlopen()): RTLD_GROUP alone leaves out the global list, RTLD_WORLD alone leaves out what the library needs (as
shipped it is not even loaded); neither, or both, is the default. Its look-up prefers definitions that are not weak.
"""

from __future__ import annotations

from rtld.elf import types as t

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rtld.core.module import Module

MODELS = ("glibc", "musl", "freebsd", "bionic", "qnx-doc", "qnx")

#: Models in which a weak definition only counts when nobody has another.
STRONG_FIRST = frozenset(("freebsd", "qnx-doc", "qnx"))

DEEPBIND, GROUP, WORLD = 0x0008, 0x0400, 0x0800


def search_list(
    model: str,
    flags: int,
    group: Sequence[Module],
    *,
    program: Module | None,
    preloads: Sequence[Module],
    everybody: Sequence[Module],
) -> list[Module]:
    """The modules in which references of *group* (the library, then what it needs) are looked up, in order.

    *everybody* is the global list, the program first where it is seen at all; libc belongs to it.
    """
    library, needs = group[0], group[1:]
    only = flags & (GROUP | WORLD)
    if model == "bionic":
        lasting = [
            m
            for m in everybody
            if m is program or m in preloads or m.hosted or m.file.dt_flags_1 & t.DF_1_GLOBAL
        ]
        return _once([*lasting, *group])
    if model in ("qnx", "qnx-doc"):
        # libc is what everybody needs: it is never left out.
        libc = [m for m in everybody if m.is_libc_family]
        if only == GROUP:
            return _once([library, *preloads, *needs, *libc])
        if model == "qnx":
            first = [program] if program is not None and program in everybody else []
            rest = [] if only == WORLD else needs
            return _once([*first, library, *everybody, *rest])
        if only == WORLD:
            return _once([*preloads, *everybody])
        return _once([library, *preloads, *everybody, *needs])
    if flags & DEEPBIND and model != "musl":
        return _once([*group, *everybody])
    return _once([*everybody, *group])


def loads_needs(model: str, flags: int) -> bool:
    """Whether what a library needs is loaded with it."""
    return not (model == "qnx" and flags & (GROUP | WORLD) == WORLD)


def _once(modules: Iterable[Module]) -> list[Module]:
    return list(dict.fromkeys(modules))
