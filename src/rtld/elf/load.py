"""The closure: which files a program is made of, in load order, and the scopes they are searched in.

glibc: breadth first over DT_NEEDED (elf/dl-deps.c), preloads first; a name is first compared with the names of what is
loaded, then with their DT_SONAMEs, then searched, and last the file found is compared by device and inode
(elf/dl-load.c). musl: the same walk, but its own names always mean the dynamic linker itself (ldso/dynlink.c).
"""

from __future__ import annotations

from rtld.core.module import Module, Problem, Scope
from rtld.elf import types as t
from rtld.elf.models import MODELS, known_by_name, names_of, startup_order
from rtld.elf.search import debug_lines
from rtld.elf.words import when_preloaded
from rtld.errors import FormatError, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.core.module import Namespace
    from rtld.elf.file import ElfFile, Segment
    from rtld.elf.search import Found

_PAGE = 4096

#: What glibc is made of: one piece of software in several files that only its own ld.so can initialise.
LIBC_FAMILY = frozenset(
    (
        "libc", "libm", "libpthread", "libdl", "librt", "libutil", "libresolv", "libanl", "libnsl", "libmvec",
        "libBrokenLocale", "libthread_db", "libc_malloc_debug",
        "libnss_files", "libnss_dns", "libnss_compat", "libnss_hesiod", "libnss_db",
    )
)  # fmt: skip


def is_libc_family(name: str) -> bool:
    """Whether a base name is a file of the platform's libc (libc.so.6, ld-linux-x86-64.so.2, libm.so.6, ...)."""
    base = name.rpartition("/")[2]
    if base.startswith(("ld-linux", "ld64.so", "ld.so", "ld-musl", "libc.musl", "ld-2.")):
        return True
    stem, dot, rest = base.partition(".so")
    return bool(dot) and stem in LIBC_FAMILY and (rest == "" or rest[:1] == ".")


def load_program(ns: Namespace, file: ElfFile, path: str) -> Module:
    """Make the program (or library) at *path* the namespace's first module."""
    main = Module(file, path)
    main.soname = file.soname
    ns.main = main
    _add(ns, main)
    return main


def load_interpreter(ns: Namespace, file: ElfFile, name: str, path: str) -> Module:
    """Know the program's dynamic linker by its PT_INTERP name and its soname; it enters the list when it is needed."""
    interp = Module(file, name, -1)
    interp.soname = file.soname
    interp.is_libc_family = True
    interp.aliases |= {name, path}
    if interp.soname:
        interp.aliases.add(interp.soname)
    ns.interp = interp
    for alias in interp.aliases:
        ns.by_name.setdefault(alias, interp)
    if file.identity:
        ns.by_identity[file.identity] = interp
    return interp


def load_preloads(ns: Namespace) -> None:
    """LD_PRELOAD and /etc/ld.so.preload: searched like needs of the program; a missing one is told, not fatal."""
    fatal = MODELS[ns.model].preload
    for name, source in ns.search.preloads():
        try:
            # To musl a preload is asked for by nobody: no RPATH helps to find it.
            module = find_module(ns, name, None if ns.model == "musl" else ns.main, preload=True)
        except (NotFound, FormatError, OSError) as error:
            why = when_preloaded(error)
            message = f"object '{name}' from {source} cannot be preloaded ({why}): ignored."
            if fatal:
                message = message.replace(": ignored.", "")
            ns.problems.append(Problem("preload", ns.main.path, name, message, fatal=fatal))
            continue
        if module.index < 0:
            _add(ns, module)
        if module not in ns.preloads and module is not ns.main:
            ns.preloads.append(module)


def load_needed(ns: Namespace, roots: list[Module] | None = None) -> list[Module]:
    """Walk DT_NEEDED breadth first from the program and its preloads (or *roots*); returns the search list."""
    order = list(roots) if roots is not None else [ns.main, *ns.preloads]
    listed = set(order)
    walked: set[Module] = set()
    at = 0
    while at < len(order):
        module = order[at]
        if module in walked:
            # Otherwise it is a filtee that has just been put here: its needs are next.
            at += 1
            continue
        walked.add(module)
        place = at
        if roots is not None and module.init_index >= 0:
            # Loaded by an earlier walk: its needs are known.
            for dependency in module.needed:
                if dependency in module.filters:
                    place += _place_filtee(ns, order, listed, place, dependency)
                elif dependency not in listed:
                    listed.add(dependency)
                    order.append(dependency)
            continue
        for tag, name in _dependencies(ns, module):
            try:
                dependency = find_module(ns, name, module)
            except (NotFound, FormatError) as error:
                if tag != t.DT_AUXILIARY:
                    _note_missing(ns, module, name, error)
                continue
            if dependency.index < 0:
                _add(ns, dependency)
            if dependency not in module.needed:
                module.needed.append(dependency)
            if tag == t.DT_NEEDED:
                if dependency not in listed:
                    listed.add(dependency)
                    order.append(dependency)
            else:
                place += _place_filtee(ns, order, listed, place, dependency)
                if dependency not in module.filters:
                    module.filters.append(dependency)
    if roots is None:
        ns.modules = [*order, *(m for m in ns.modules if m not in listed)]
        if any(module.index != index for index, module in enumerate(ns.modules)):
            _number(ns)
    return order


def _dependencies(ns: Namespace, module: Module) -> list[tuple[int, str]]:
    file = module.file
    dynamic = file.dynamic
    if dynamic is None:
        return []
    if ns.lazy_load or ns.leaves_out or t.DT_AUXILIARY in dynamic or t.DT_FILTER in dynamic:
        return _filters_and_needs(ns, module)
    return [(t.DT_NEEDED, name) for name in file.needed]


def _filters_and_needs(ns: Namespace, module: Module) -> list[tuple[int, str]]:
    """The same in the order of the entries; what is marked DF_P1_LAZYLOAD is postponed where the namespace heeds it, and what
    ``leaves_out`` says.
    """
    file = module.file
    rows = []
    lazy = False
    for tag, value in file.dynamic.entries:
        if tag in (t.DT_NEEDED, t.DT_AUXILIARY, t.DT_FILTER):
            name = file.string(value, "DT_NEEDED")
            waits = lazy or (ns.leaves_out is not None and ns.leaves_out(module, name))
            if waits and tag == t.DT_NEEDED and name not in ns.by_name:
                ns.postponed.setdefault(module, []).append(name)
                ns.reporter.postponed(name, module)
            else:
                rows.append((tag, name))
        lazy = ns.lazy_load and tag == t.DT_POSFLAG_1 and bool(value & t.DF_P1_LAZYLOAD)
    return rows


def _place_filtee(
    ns: Namespace, order: list[Module], listed: set[Module], at: int, filtee: Module
) -> int:
    """Put a filtee just before its filter at ``order[at]``, unless it is searched earlier already; 1 if it was put.

    The list of all modules has it there, too, from then on.
    """
    if filtee in listed:
        if filtee in order[: at + 1]:
            return 0
        order.remove(filtee)
    listed.add(filtee)
    ns.modules.remove(filtee)
    ns.modules.insert(ns.modules.index(order[at]), filtee)
    _number(ns)
    order.insert(at, filtee)
    return 1


def _number(ns: Namespace) -> None:
    """Modules know their place in the list; searches know who asked by that."""
    asked = {module.index: module for module in ns.modules}
    searches = [
        (asked.get(index), index, name, found) for (index, name), found in ns.searches.items()
    ]
    for index, module in enumerate(ns.modules):
        module.index = index
    ns.searches = {
        (module.index if module is not None else index, name): found
        for module, index, name, found in searches
    }


def _note_missing(ns: Namespace, module: Module, name: str, error: Exception) -> None:
    if name in module.missing:
        return
    module.missing.append(name)
    ns.problems.append(Problem("library", module.path, name, str(error)))
    ns.missing.setdefault(name, []).append((module, error))


def find_module(
    ns: Namespace, name: str, requester: Module | None, preload: bool = False
) -> Module:
    """The module that *name* means to *requester*: one that is there already, or a new one (index -1, not yet added).

    Raises NotFound with the candidates tried.
    """
    name = ns.search.expand_needed(name, requester)
    loaded = known_by_name(ns, name, requester)
    # ld.so does not know by what path the kernel has loaded the program, nor from which inode.
    itself = ns.model == "glibc" and loaded is ns.main and name != loaded.soname
    if loaded is not None and not (itself and _started_by_kernel(ns)):
        return loaded
    ns.reporter.searching(name, requester)
    try:
        found: Found = ns.search.find(name, requester, preload=preload)
    finally:
        if "libs" in ns.reporter.wants and "/" not in name:
            ns.reporter.searched(name, debug_lines(name, ns.search.steps))
    ns.searches[(requester.index if requester else -1, name)] = found
    loaded = ns.by_name.get(found.path)
    if loaded is None and found.file.identity is not None:
        loaded = ns.by_identity.get(found.file.identity)
    if ns.model == "glibc" and (loaded is None or (loaded is ns.main and _started_by_kernel(ns))):
        refuse_file(found.file, name)
    if loaded is not None:
        if ns.model in ("glibc", "freebsd"):
            ns.by_name.setdefault(name, loaded)
        elif found.shortname:
            ns.by_name.setdefault(found.shortname, loaded)
        loaded.aliases.add(name)
        return loaded
    module = Module(found.file, found.path, -1)
    module.soname = found.file.soname
    module.found = found
    module.loader = requester
    module.aliases.add(name)
    return module


def _started_by_kernel(ns: Namespace) -> bool:
    return ns.main.file.interp is not None and not (ns.main.hosted or ns.search.options.by_loader)


def refuse_file(file: ElfFile, name: str) -> None:
    """FormatError for what glibc does not map, in its words and order (elf/dl-load.c, _dl_map_object_from_fd)."""
    if any((load.vaddr - load.offset) % _PAGE for load in file.loads):
        why = "ELF load command address/offset not page-aligned"
    elif not file.loads:
        why = "object file has no loadable segments"
    elif file.type == t.ET_EXEC:
        why = "cannot dynamically load executable"
    elif file.dynamic is None:
        why = "object file has no dynamic section"
    elif file.dt_flags_1 & t.DF_1_PIE:
        why = "cannot dynamically load position-independent executable"
    else:
        return
    raise FormatError(name, why)


def _add(ns: Namespace, module: Module) -> None:
    module.index = len(ns.modules)
    ns.modules.append(module)
    module.is_libc_family = module.is_libc_family or is_libc_family(module.soname or module.path)
    if ns.model == "musl":
        # musl remembers one short name: the one by which a search found the file. A soname means nothing to it.
        if module.found is not None and module.found.shortname:
            ns.by_name.setdefault(module.found.shortname, module)
    else:
        module.aliases.add(module.path)
        if module.soname:
            module.aliases.add(module.soname)
        for alias in names_of(ns.model, module):
            ns.by_name.setdefault(alias, module)
    if module.file.identity:
        ns.by_identity.setdefault(module.file.identity, module)
    ns.reporter.module(module)


def build_scopes(ns: Namespace) -> None:
    """One global scope for all that is loaded at start; DT_SYMBOLIC modules look into themselves first (glibc)."""
    ns.global_scope = Scope("global", tuple(startup_order(ns.model, ns.modules, ns.preloads)))
    for module in ns.modules:
        module.scopes = (ns.global_scope,)
        if MODELS[ns.model].symbolic and is_symbolic(module):
            module.scopes = (Scope("self", (module,)), ns.global_scope)
        # Nobody looks anything up for the dynamic linker but itself.
        ns.reporter.scope(module, () if module is ns.interp else None)


def is_symbolic(module: Module) -> bool:
    """DT_SYMBOLIC or DF_SYMBOLIC: the module's own definitions come first. musl ignores both."""
    dynamic = module.file.dynamic
    return dynamic is not None and (
        t.DT_SYMBOLIC in dynamic or bool(module.file.dt_flags & t.DF_SYMBOLIC)
    )


def binds_now(module: Module) -> bool:
    """DT_BIND_NOW, DF_BIND_NOW or DF_1_NOW: the module wants no lazy binding."""
    file = module.file
    return t.DT_BIND_NOW in file.dynamic or bool(
        file.dt_flags & t.DF_BIND_NOW or file.dt_flags_1 & t.DF_1_NOW
    )


def image_segments(module: Module) -> tuple[Segment, ...]:
    """The segments that linking can change, and what stands between them: from the first writable one to the last."""
    loads = module.file.loads
    if has_text_relocations(module):
        return tuple(loads)
    writable = [i for i, load in enumerate(loads) if load.flags & t.PF_W]
    # What stands between two writable segments is in the array too, so it has to be right.
    return tuple(loads[writable[0] : writable[-1] + 1]) if writable else ()


def has_text_relocations(module: Module) -> bool:
    """DT_TEXTREL or DF_TEXTREL: relocations may lie in segments that are not writable."""
    dynamic = module.file.dynamic
    return dynamic is not None and (
        t.DT_TEXTREL in dynamic or bool(module.file.dt_flags & t.DF_TEXTREL)
    )


def store_word(module: Module, vaddr: int, value: int) -> None:
    """Write a word of the file's class and byte order into a module's image; nothing where it has none there."""
    image, width = module.image, module.file.bits // 8
    if image is not None and image.low <= vaddr <= image.high - width:
        value &= (1 << 8 * width) - 1
        order: Any = "little" if module.file.order == "<" else "big"
        memoryview(image.view(vaddr, width))[:] = value.to_bytes(width, order)


def protection(flags: int) -> int:
    """PROT_* of a segment's p_flags."""
    return (flags >> 2 & 1) | (flags & 2) | (flags & 1) << 2
