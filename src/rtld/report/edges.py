"""Who needs whom, by which name, found by which rule: what tree, ldd, why and JSON say about a closure."""

from __future__ import annotations

from collections import namedtuple

from rtld.elf.types import DT_AUXILIARY, DT_FILTER, DT_NEEDED
from rtld.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.core.module import Module, Namespace
    from rtld.elf.search import Candidate

#: One DT_NEEDED entry: the name, the module it means or None, whether the module was loaded for it, and the tag's name.
Edge = namedtuple("Edge", "name module first tag")

_TAGS = {DT_NEEDED: "NEEDED", DT_FILTER: "FILTER", DT_AUXILIARY: "AUXILIARY"}


def edges(ns: Namespace, module: Module) -> list[Edge]:
    """The needs of a module in order, its filters too."""
    dynamic = module.file.dynamic
    if dynamic is None:
        return []
    result = []
    seen = set()
    for tag, value in dynamic.entries:
        if tag in _TAGS:
            name = module.file.string(value, "DT_NEEDED")
            target = meaning(ns, name, module)
            first = target is not None and target.loader is module and target not in seen
            seen.add(target)
            result.append(Edge(name, target, first, _TAGS[tag]))
    return result


def meaning(ns: Namespace, name: str, requester: Module) -> Module | None:
    """The module that ``name`` turned out to be for ``requester``, None if there is none."""
    try:
        name = ns.search.expand_needed(name, requester)
    except NotFound:
        return None
    found = ns.searches.get((requester.index, name))
    if found is not None:
        for place in (ns.by_identity.get(found.file.identity), ns.by_name.get(found.path)):
            if place is not None and place.index >= 0:
                return place
    module = ns.by_name.get(name)
    if module is not None and module.index >= 0 and name not in requester.missing:
        return module
    return None


def requested_as(ns: Namespace) -> dict[Module, str]:
    """The name by which each module was asked for first (ld.so: l_libname)."""
    names: dict[Module, str] = {}
    by_found = {id(module.found): module for module in ns.modules if module.found is not None}
    for (_requester, name), found in ns.searches.items():
        module = by_found.get(id(found))
        if module is not None:
            names.setdefault(module, name)
    return names


def rule_of(ns: Namespace, module: Module) -> str:
    """The rule that found a module, in the words of ld.so(8): "ld.so.cache", "RUNPATH", "RPATH of ./libx.so"."""
    if module is ns.main:
        return "program"
    if module is ns.interp or module.found is None:
        return "interpreter"
    rule: str = module.found.rule
    owner = module.found.owner
    if rule in ("RPATH", "RUNPATH"):
        owner = owner or ns.main
        if owner is not module.loader:
            rule = f"{rule} of {owner.path}"
    if module in ns.preloads and module.loader is ns.main:
        return f"preload, {rule}"
    return rule


def missing_names(ns: Namespace) -> list[tuple[str, list[Module], Exception]]:
    """Every name nobody answers to: who asked, and what the first search said."""
    return [(name, [who for who, _ in asked], asked[0][1]) for name, asked in ns.missing.items()]


def considered(source: object) -> list[Candidate]:
    """The paths a search has tried: of a ``Found``, or of the exception of a failed one."""
    tried: tuple[Candidate, ...] = getattr(source, "candidates", ())
    return list(tried)


def summary(ns: Namespace, name: str, error: Exception) -> list[tuple[str, str, str]]:
    """The paths tried for ``name``: (path, rule, what was there), the hwcaps subdirectories of a directory as one row.

    ld.so.cache is a row when it was asked in vain.
    """
    tried = considered(error)
    if ns.model == "musl" or "/" in name:
        return [(c.path, c.rule, _said(c)) for c in tried]
    subdirectories = [d for d in ns.search.cpu.directories() if d]
    rows: list[tuple[str, str, str]] = []
    skipped = 0
    asked_cache = ns.search.options.inhibit_cache or ns.search.cache is None
    for candidate in tried:
        directory = candidate.path[: -len(name)]
        if candidate.rule == "ld.so.cache":
            asked_cache = True
        elif candidate.rule == "default" and not asked_cache:
            asked_cache = True
            rows.append(("/etc/ld.so.cache", "ld.so.cache", "has no entry"))
        if candidate.outcome == "missing" and any(
            directory.endswith(f"/{d}") for d in subdirectories
        ):
            skipped += 1
            continue
        said = _said(candidate)
        if skipped:
            said += (", " if said else "") + f"nor in {skipped} hwcaps subdirectories"
            skipped = 0
        rows.append((candidate.path, candidate.rule, said))
    stopped = getattr(error, "candidates", None) is None
    if not asked_cache and not stopped:
        rows.append(("/etc/ld.so.cache", "ld.so.cache", "has no entry"))
    return rows


def _said(candidate: Candidate) -> str:
    if candidate.outcome == "missing":
        return ""
    return (
        f"{candidate.outcome}: {candidate.detail}" if candidate.detail else str(candidate.outcome)
    )
