"""Which programs can be frozen, which modules go into the image, and what is left to ld.so."""

from __future__ import annotations

import os
import stat

import numpy as np

from rtld.elf import types as t
from rtld.elf.initfini import order_initialisers
from rtld.elf.load import _add, binds_now, find_module, has_text_relocations, load_needed
from rtld.elf.resolve import UNDEFINED
from rtld.errors import RtldError, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.core.module import Module, Problem
    from rtld.frozen.plan import Plan

#: Functions through which a program may open modules that want symbols of the image.
_OPENERS = frozenset(["dlopen", "dlmopen", "dlsym", "dlvsym", "__libc_dlopen_mode"])


class NotFreezable(RtldError):
    """What is missing or unresolved, all of it; ``problems`` has each."""

    def __init__(self, path: str, problems: list[Problem]) -> None:
        self.path = path
        self.problems = problems
        super().__init__(path)

    def __str__(self) -> str:
        lines = [problem.message for problem in self.problems]
        rest = "" if len(lines) <= 20 else f"\n  and {len(lines) - 20} more"
        return (
            f"{self.path}: cannot be frozen, since this is missing:\n  "
            + "\n  ".join(lines[:20])
            + rest
        )


def check_program(plan: Plan) -> None:
    """Unsupported for what has no image: static, of another CPU, set-user-ID."""
    main, ns = plan.main, plan.ns
    file = main.file
    if (file.machine, file.bits) != (t.EM_X86_64, 64):
        raise Unsupported(f"{main.path}: images are made for x86-64 only, not {ns.arch.name}")
    if file.dynamic is None or file.interp is None:
        kind = (
            "a static program has nothing to link"
            if file.interp is None and file.dynamic is None
            else "not a program"
        )
        raise Unsupported(f"{main.path}: {kind}")
    if ns.model == "musl":
        raise Unsupported(
            f"{main.path}: musl's dynamic linker is libc itself, runs constructors before the entry point and has no list of "
            "names that could be added to; frozen images are for glibc"
        )  # fmt: skip
    if file.path is None:
        raise Unsupported(
            f"{file.name}: an image falls back to its program, so that must be a file with a path"
        )
    status = os.stat(file.path)
    if status.st_mode & (stat.S_ISUID | stat.S_ISGID) or _capabilities(file.path):
        raise Unsupported(
            f"{main.path}: a set-user-ID, set-group-ID or capability program is never frozen"
        )
    dynamic = file.dynamic
    if t.DT_AUDIT in dynamic or t.DT_DEPAUDIT in dynamic:
        raise Unsupported(f"{main.path}: DT_AUDIT asks for libraries that watch the linking")
    if plan.options.pie and file.type == t.ET_EXEC:
        raise Unsupported(
            f"{main.path}: linked for fixed addresses (ET_EXEC), which --pie cannot change",
            "leave out --pie",
        )


def refuse_target(plan: Plan, target: str) -> None:
    """The image must not take the place of what it falls back to, or was made of."""
    for module in plan.fused:
        try:
            same = os.path.samefile(target, module.path)
        except OSError:
            continue
        if same:
            raise Unsupported(
                f"{target}: the image would replace {module.path}, which it is made of and falls back to",
                "write it to another place",
            )


def _capabilities(path: str) -> bool:
    try:
        return bool(os.getxattr(path, "security.capability"))
    except OSError:
        return False


def choose_modules(plan: Plan) -> None:
    """Split the modules: the libc family and what --keep names, with its needs, are hosted; the rest is fused."""
    ns = plan.ns
    missing = [p for p in ns.problems if p.kind == "library"]
    if missing:
        raise NotFreezable(plan.main.path, missing)
    _add_plugins(plan)
    keep = set()
    for name in plan.options.keep:
        found = [
            m
            for m in ns.modules
            if name in (m.path, m.soname, os.path.basename(m.path)) or name in m.aliases
        ]
        if not found:
            raise Unsupported(f"--keep {name}: {plan.main.path} does not load such a library")
        keep.update(_with_needs(found[0]))
    if plan.main in keep:
        raise Unsupported("--keep: the program itself cannot be left out")
    for module in ns.modules:
        module.hosted = module.is_libc_family or module is ns.interp or module in keep
    if ns.interp is not None:
        ns.interp.hosted = True
    plan.fused = [m for m in ns.modules if not m.hosted]
    plan.hosted = [m for m in ns.modules if m.hosted]
    plan.lazy = not binds_now(plan.main)
    if len(plan.fused) == 1:
        plan.warnings.append(
            f"{plan.main.path}: needs no libraries but libc's, so there is nothing to gain"
        )
    if plan.pie:
        for module in plan.fused:
            if has_text_relocations(module):
                raise Unsupported(
                    f"{module.path}: has text relocations, which --pie cannot keep",
                    "leave out --pie",
                )


def _add_plugins(plan: Plan) -> None:
    """Load what --with names, and its needs, behind everything else: the scope that dlopen would give it, but for others."""
    ns = plan.ns
    for path in plan.options.plugins:
        plugin = find_module(ns, os.path.abspath(path), ns.main)
        if plugin.index < 0:
            _add(ns, plugin)
            plugin.aliases.add(path)
        load_needed(ns, [plugin])
        plan.plugins.append(plugin)
    missing = [p for p in ns.problems if p.kind == "library"]
    if missing:
        raise NotFreezable(plan.main.path, missing)
    if plan.plugins:
        for module in ns.modules:
            module.init_index = -1
        order_initialisers(ns)


def refuse_collisions(plan: Plan) -> None:
    """A plugin's symbols were its own; in the image there is one of each name, so it must not share any."""
    from rtld.elf.groups import group_names
    from rtld.frozen.exports import definitions

    if not plan.plugins:
        return
    rows = definitions(plan)
    rows.keep(rows.section != t.SHN_ABS)
    columns = plan.ns.columns
    group = group_names(columns.names(rows.name)).number
    before = min(plugin.index for plugin in plan.plugins)
    own = rows.module >= before
    first = np.full(int(group.max(initial=-1)) + 1, len(columns.modules), np.int64)
    np.minimum.at(first, group, rows.module)
    unique = (rows.info >> np.uint32(4)) == t.STB_GNU_UNIQUE
    weak = (rows.info >> np.uint32(4)) == t.STB_WEAK
    for row in np.flatnonzero(own & (first[group] != rows.module) & ~unique).tolist():
        name = columns.names(rows.name[row : row + 1]).text(0).decode("utf-8", "replace")
        if name in _OF_EVERY_FILE:
            continue
        if weak[row] and first[group[row]] < before and name.startswith("_Z"):
            # An inline function or template of C++. A module of the start has it too, so ld.so would take that for the
            # plugin as well; and a mangled name of this kind is none that anybody passes to dlsym.
            continue
        module = columns.modules[int(rows.module[row])].path
        other = columns.modules[int(first[group[row]])].path
        raise Unsupported(
            f"--with: {module} defines `{name}', and so does {other}; in one image there can be only one"
        )


#: What linkers define in each file, and older ones exported: nobody asks a module for them by name.
_OF_EVERY_FILE = frozenset(["_edata", "_end", "__bss_start", "_init", "_fini"])


def _with_needs(module: Module) -> set[Module]:
    result = {module}
    stack = [module]
    while stack:
        for need in stack.pop().needed:
            if need not in result:
                result.add(need)
                stack.append(need)
    return result


def refuse_unresolved(plan: Plan) -> None:
    """Strong references that nobody defines: no image, or (functions, if allowed) a sentence when they are called."""
    ns, b = plan.ns, plan.ns.bindings
    stops = [
        p for p in ns.problems if p.fatal and p.kind in ("protected symbol", "IFUNC", "ISA level")
    ]
    if stops:
        raise NotFreezable(plan.main.path, stops)  # ld.so does not start it either
    fatal = [p for p in ns.problems if p.kind in ("symbol", "version")]
    if not fatal:
        return
    hosted = {m.path for m in plan.hosted}
    fatal = [p for p in fatal if p.module not in hosted]
    if plan.options.allow_unresolved:
        data = [p for p in fatal if p.fatal]
        if data:
            raise NotFreezable(plan.main.path, data)
        rows = np.flatnonzero(b.kind == UNDEFINED)
        for row in rows.tolist():
            plan.undefined.append((b.modules[int(b.referrer[row])], b.name(row)))
        return
    if fatal:
        raise NotFreezable(plan.main.path, fatal)


def exports_everything(plan: Plan) -> bool:
    """Whether modules that are opened later may want symbols of the image."""
    if plan.options.export is not None:
        return plan.options.export == "all"
    columns = plan.ns.columns
    names = columns.names(
        columns.name_position(
            plan.imports.module, columns.symbol_position(plan.imports.module, plan.imports.symbol)
        )
    )
    imported = {names.text(i).decode("latin-1") for i in range(len(plan.imports.module))}
    return bool(imported & _OPENERS) or bool(imported & _NAME_SERVICES)


#: Functions for which libc itself opens modules: NSS, iconv.
_NAME_SERVICES = frozenset(
    [
        "getpwnam",
        "getpwnam_r",
        "getpwuid",
        "getpwuid_r",
        "getpwent",
        "getgrnam",
        "getgrnam_r",
        "getgrgid",
        "getgrgid_r",
        "getgrent",
        "getgrouplist",
        "initgroups",
        "getaddrinfo",
        "getnameinfo",
        "gethostbyname",
        "gethostbyname_r",
        "gethostbyname2",
        "gethostbyaddr",
        "gethostbyaddr_r",
        "getservbyname",
        "getservbyport",
        "getprotobyname",
        "getspnam",
        "iconv_open",
    ]
)
