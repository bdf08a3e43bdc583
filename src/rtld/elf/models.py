"""Six systems' rules: whose they are, in one row each, and where the references of a library that is opened are looked up.

    glibc      the global scope, then the library's group; RTLD_DEEPBIND: the group first
    musl       the same; it has no RTLD_DEEPBIND
    freebsd    the same; of several definitions the first that is not weak is taken (rtld(1), LD_DYNAMIC_WEAK)
    bionic     the program, LD_PRELOAD and DF_1_GLOBAL libraries, then the group: RTLD_GLOBAL is for dlsym alone
               (bionic, android-changes-for-ndk-developers.md, "Changes to library search order")
    qnx-doc    as documented: the library itself, LD_PRELOAD, the global list, what it needs
               (BlackBerry 10 Native SDK, "Runtime linker"; QNX SDP 7.1 C Library Reference, dlopen())
    qnx        as shipped: the program, the library, the rest of the global list, what it needs

QNX (Neutrino's dlopen()): RTLD_GROUP alone leaves out the global list, RTLD_WORLD alone leaves out what the library needs (as
shipped it is not even loaded); neither, or both, is the default. Its look-up prefers definitions that are not weak.

Which definition is one is in ``lookup.py`` (glibc, musl) and ``lookup_models.py``; where files are looked for in
``search_glibc.py``, ``search_musl.py`` and ``search_models.py``.
"""

from __future__ import annotations

from collections import namedtuple

from rtld.elf import types as t

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rtld.core.module import Module, Namespace

#: strong_first  a weak definition only counts when nobody has another
#: symbolic      DT_SYMBOLIC is heeded
#: promotes      DF_1_GLOBAL makes a library global
#: unversioned   what happens when a version is wanted of a library that has none: "tell", "fatal", or "" (nobody looks)
#: absent        a version is wanted of a library that has others only: fatal?
#: preload       a library of LD_PRELOAD that cannot be loaded is fatal
#: tokens        $ORIGIN and the like are replaced in DT_NEEDED
#: deepbind      RTLD_DEEPBIND is known
Model = namedtuple(
    "Model", "strong_first symbolic promotes unversioned absent preload tokens deepbind"
)

# fmt: off
MODELS = {
    "glibc":   Model(False, True,  False, "tell",  True,  False, True,  True),
    "musl":    Model(False, False, False, "",      False, False, False, False),
    "freebsd": Model(True,  True,  True,  "fatal", True,  True,  True,  True),
    "bionic":  Model(False, True,  True,  "",      False, True,  False, False),
    "qnx-doc": Model(True,  True,  False, "",      False, True,  False, False),
    "qnx":     Model(True,  True,  False, "",      False, True,  False, False),
}
# fmt: on

DEEPBIND, GROUP, WORLD = 0x0008, 0x0400, 0x0800


def is_qnx(model: str) -> bool:
    """Whether it is one of QNX's two."""
    return model.startswith("qnx")


def startup_order(
    model: str, modules: Sequence[Module], preloads: Sequence[Module]
) -> Sequence[Module]:
    """The global scope of a program: its modules in load order, the program and LD_PRELOAD first, but for

    freebsd    DF_1_INTERPOSE libraries come right behind the program, with LD_PRELOAD's (rtld.c: list_main)
    bionic     DF_1_GLOBAL libraries come before the others (the global group goes before the program's local one)
    """
    if model == "freebsd":
        flag = t.DF_1_INTERPOSE
    elif model == "bionic":
        flag = t.DF_1_GLOBAL
    else:
        return modules
    first = [
        m
        for m in modules[1:]
        if m in preloads or (m.file.dt_flags_1 & flag and not m.is_libc_family)
    ]
    return _once([*modules[:1], *first, *modules])


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
            for m in [*everybody, *group]
            if m is program or m in preloads or m.hosted or m.file.dt_flags_1 & t.DF_1_GLOBAL
        ]
        return _once([*lasting, *group])
    if is_qnx(model):
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
    if flags & DEEPBIND and MODELS[model].deepbind:
        return _once([*group, *everybody])
    return _once([*everybody, *group])


def loads_needs(model: str, flags: int) -> bool:
    """Whether what a library needs is loaded with it."""
    return not (model == "qnx" and flags & (GROUP | WORLD) == WORLD)


def promoted(model: str, group: Iterable[Module]) -> list[Module]:
    """Members of a group that is opened which become global without RTLD_GLOBAL: they have DF_1_GLOBAL."""
    if not MODELS[model].promotes:
        return []
    return [m for m in group if not m.hosted and m.file.dt_flags_1 & t.DF_1_GLOBAL]


def known_by_name(ns: Namespace, name: str, requester: Module | None) -> Module | None:
    """The module that a name means without a search: of those that are loaded, the one that is known by it.

    bionic compares names without a slash with DT_SONAMEs and with nothing else (linker.cpp,
    find_loaded_library_by_soname). QNX compares the last component of a DT_NEEDED with its modules; what is opened by
    dlopen is always searched for, and known by its inode.
    """
    if is_qnx(ns.model) and requester is not None:
        if name not in requester.file.needed and not name.startswith("\0"):
            return None
        name = name.rpartition("/")[2]
    elif ns.model == "bionic" and "/" in name:
        return None
    elif ns.model == "bionic" and ns.search.rules.namespaces and requester is not None:
        modules = ns.search.rules.visible(ns, requester, name)
        return next((module for module in modules if module.soname == name), None)
    return ns.by_name.get(name)


def names_of(model: str, module: Module) -> Iterable[str]:
    """The names by which a module is known once it is loaded."""
    if model == "bionic":
        return [module.soname] if module.soname else []
    names = [*module.aliases, module.path, *([module.soname] if module.soname else [])]
    return [name.rpartition("/")[2] for name in names] if is_qnx(model) else names


def _once(modules: Iterable[Module]) -> list[Module]:
    return list(dict.fromkeys(modules))
