"""The lines of ldd, for programs of every CPU, without running anything.

glibc: elf/rtld.c (what LD_TRACE_LOADED_OBJECTS prints), elf/dl-version.c, and the shell script around it. musl:
ldso/dynlink.c under the name ldd.
"""

from __future__ import annotations

import os

from rtld.elf.types import DT_BIND_NOW, DT_NEEDED
from rtld.elf.verneed import defined_versions, needed_versions
from rtld.errors import FormatError
from rtld.report.edges import edges, requested_as

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtld.core.module import Module, Namespace
    from rtld.process.link import Link

#: What the kernel adds to a process; ldd lists it where it could start one.
_VDSO = {"x86_64": "linux-vdso.so.1", "i386": "linux-gate.so.1", "aarch64": "linux-vdso.so.1"}
_VDSO |= dict.fromkeys(("arm", "riscv64", "loongarch64", "mips64el"), "linux-vdso.so.1")
_VDSO |= {"s390x": "linux-vdso64.so.1", "ppc64le": "linux-vdso64.so.1"}


def is_program_for_ldd(link: Link) -> bool:
    """Whether ldd would list it: ld.so accepts what has a dynamic section."""
    return link.modules[0].file.dynamic is not None


def listing(link: Link) -> Iterator[str]:
    """One line for each object, in the order they were loaded."""
    ns = link.namespace
    link.reserve()
    if ns.model == "musl":
        yield from _musl_listing(ns)
        # musl's ldd relocates, too.
        yield from [p.message for p in link.bind().problems if p.kind == "symbol"]
        return
    for problem in ns.problems:
        if problem.kind == "preload":
            yield f"ERROR: ld.so: {problem.message}"
    broken = next(
        (error for asked in ns.missing.values() for _, error in asked if _ends_ldd(error)), None
    )
    if broken is not None:
        yield f"{ns.main.path}: error while loading shared libraries: {broken}"
        return
    yield from version_complaints(ns)
    dynamic = ns.main.file.dynamic
    if DT_NEEDED not in dynamic and not ns.preloads:
        yield "\tstatically linked"
        return
    digits = 16 if ns.main.file.bits == 64 else 8
    names = requested_as(ns)
    vdso = _vdso(ns)
    for entry in _load_order(ns, vdso):
        if isinstance(entry, str):
            there = entry == vdso and bool(vdso)
            yield (
                f"\t{entry} (0x{_vdso_address(ns):0{digits}x})"
                if there
                else f"\t{entry} => not found"
            )
            continue
        name = names.get(entry, entry.path)
        if entry is ns.interp:
            name, path = _interpreter_names(ns, entry)
        else:
            path = entry.path
        address = f"(0x{entry.base + entry.file.span[0]:0{digits}x})"
        yield f"\t{path} {address}" if name == path else f"\t{name} => {path} {address}"


def _ends_ldd(error: Exception) -> bool:
    """ld.so gives up at a file that is no ELF file, even where it only lists."""
    return isinstance(error, FormatError)


def _vdso(ns: Namespace) -> str:
    """The name of the kernel's own object; only for what this machine could start."""
    from rtld.arch import host

    native = host().name
    name = ns.arch.name
    if ns.search.sysroot is None and (name == native or (name == "i386" and native == "x86_64")):
        return _VDSO.get(name, "")
    return ""


def _vdso_address(ns: Namespace) -> int:
    """Some page above everything, as the kernel chooses."""
    top = max(module.base + module.file.span[1] for module in ns.modules)
    return (top + 0x3000) & -0x1000 if ns.main.file.bits == 64 else 0xF7FFC000


def _interpreter_names(ns: Namespace, interp: Module) -> tuple[str, str]:
    """(PT_INTERP, path of the ld.so that ldd would run): different where PT_INTERP is another spelling."""
    usual: str = ns.arch.interpreters[0]
    if ns.search.sysroot is None and interp.path != usual and os.path.exists(usual):
        try:
            if os.path.samefile(usual, interp.file.path or interp.path):
                return interp.path, usual
        except OSError:
            pass
    return interp.path, interp.path


def _load_order(ns: Namespace, vdso: str = "") -> list[Module | str]:
    """Modules but the program, and the names of those that are missing: where ld.so puts an empty one."""
    result: list[Module | str] = [vdso] if vdso else []
    placed = {ns.main, ns.interp}
    for module in ns.modules:
        if module in ns.preloads and module not in placed:
            placed.add(module)
            result.append(module)
    # Created as the walk over the needs meets them; a name that is missing, each time somebody asks.
    for module in ns.modules:
        for edge in edges(ns, module):
            target = edge.module
            if target is None:
                if edge.tag != "AUXILIARY":
                    result.append(edge.name)
            elif target not in placed:
                placed.add(target)
                result.append(target)
    interp = ns.interp
    if interp is not None and interp.index > 0:
        # The dynamic linker was there before all: it goes behind the one that is before it in the search order.
        before = ns.modules[interp.index - 1]
        result.insert(result.index(before) + 1 if before in result else 0, interp)
    return result


def _musl_listing(ns: Namespace) -> Iterator[str]:
    interp = ns.interp
    if interp is not None:
        yield f"\t{interp.path} ({interp.base:#x})"
    seen: set[object] = set()
    for module in ns.modules:
        for edge in edges(ns, module):
            target = edge.module
            if target is None:
                yield f"Error loading shared library {edge.name}: {_musl_reason(ns, edge.name)} (needed by {module.path})"
            elif (key := edge.name if target is interp else target) not in seen:
                seen.add(key)
                yield f"\t{edge.name} => {target.path} ({target.base:#x})"


def _musl_reason(ns: Namespace, name: str) -> str:
    asked = ns.missing.get(name)
    return (
        getattr(asked[0][1], "reason", "Exec format error")
        if asked
        else "No such file or directory"
    )


# -- versions -------------------------------------------------------------------------------------


def _providers(ns: Namespace) -> dict[str, Module]:
    """Names that version requirements use -> module."""
    return {name: module for name, module in ns.by_name.items() if module.index >= 0}


def version_complaints(ns: Namespace) -> Iterator[str]:
    """Missing versions, in the words ld.so has for them (_dl_check_map_versions)."""
    providers = _providers(ns)
    defined: dict[Module, set[bytes]] = {}
    for module in ns.modules:
        for need in needed_versions(module.file):
            provider = providers.get(os.fsdecode(need.file))
            if provider is None:
                continue
            if provider not in defined:
                defined[provider] = {d.name for d in defined_versions(provider.file)}
            names = defined[provider]
            if not names:
                text = "no version information available"
            elif need.name in names:
                continue
            else:
                name = os.fsdecode(need.name)
                text = f"{'weak ' if need.weak else ''}version `{name}' not found"
            yield f"{ns.main.path}: {provider.path}: {text} (required by {module.path})"


def version_information(ns: Namespace) -> Iterator[str]:
    """The section that ``ldd -v`` adds: every version a module requires, and who provides it."""
    providers = _providers(ns)
    order = [ns.main, *(m for m in _load_order(ns) if not isinstance(m, str))]
    first = True
    for module in order:
        needs = needed_versions(module.file)
        if not needs:
            continue
        if first:
            yield ""
            yield "\tVersion information:"
            first = False
        path = _interpreter_names(ns, module)[1] if module is ns.interp else module.path
        yield f"\t{path}:"
        for need in needs:
            file, version = os.fsdecode(need.file), os.fsdecode(need.name)
            provider = providers.get(file)
            answer = "not found"
            defined = defined_versions(provider.file) if provider is not None else []
            if provider is not None and need.name in {d.name for d in defined}:
                answer = (
                    provider.path
                    if provider is not ns.interp
                    else _interpreter_names(ns, provider)[1]
                )
            yield f"\t\t{file} ({version}) {'[WEAK] ' if need.weak else ''}=> {answer}"


# -- relocations ----------------------------------------------------------------------------------


def undefined_symbols(link: Link, *, functions: bool) -> Iterator[str]:
    """What ``ldd -r`` (with ``functions``) and ``ldd -d`` say: references nobody answers, in relocation order."""
    import numpy as np

    from rtld.elf.resolve import LOCAL, UNDEFINED

    bindings = link.bindings()
    ns = link.namespace
    relocations = ns.relocations
    rows = np.flatnonzero(relocations.reference >= 0)
    rows = rows[bindings.kind[relocations.reference[rows]] != LOCAL]
    numbers = {module: i for i, module in enumerate(bindings.modules)}
    slot = ns.arch.reloc_types.jump_slot
    for module in ns.relocation_order:
        mine = rows[relocations.module[rows] == numbers[module]]
        if not functions and not _binds_now(module):
            mine = mine[relocations.type[mine] != slot]
        reference = relocations.reference[mine]
        # The look-up before is remembered: several relocations for one symbol in a row ask once.
        new = np.ones(len(reference), np.bool_)
        new[1:] = reference[1:] != reference[:-1]
        for row in reference[new & (bindings.kind[reference] == UNDEFINED)].tolist():
            version = bindings.version_name(row)
            yield (
                f"undefined symbol: {bindings.name(row)}"
                + (f", version {version}" if version else "")
                + (f"\t({module.path})")
            )


def _binds_now(module: Module) -> bool:
    return DT_BIND_NOW in module.file.dynamic or bool(module.file.dt_flags & 8)


def unused_dependencies(link: Link) -> list[str]:
    """Direct needs of the program that none of its own references is bound to (``ldd -u``)."""
    import numpy as np

    bindings = link.bindings()
    ns = link.namespace
    mine = np.flatnonzero((bindings.referrer == 0) & (bindings.definer >= 0))
    used = {bindings.modules[i] for i in np.unique(bindings.definer[mine]).tolist()}
    direct = [edge for edge in edges(ns, ns.main) if edge.tag == "NEEDED"]
    # One that is not there is not used either; ld.so knows it by its name only.
    names = [
        edge.module.path if edge.module is not None else edge.name
        for edge in direct
        if edge.module not in used
    ]
    return list(dict.fromkeys(names))
