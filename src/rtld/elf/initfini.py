"""The order of initialisers: dependencies first.

glibc: reverse postorder of a depth-first walk from the last module of the load order to the first, needs in DT_NEEDED
order, the program kept in front; the initialisers run from the end of that list (elf/dl-sort-maps.c, the default since
2.35). Before that, a quadratic scan (``glibc.rtld.dynamic_sort=1``). A DF_1_INITFIRST module goes before all; of
several, the last that was mapped. musl: depth-first postorder from the program (ldso/dynlink.c, queue_ctors). The list
without its INITFIRST exception is also the order in which glibc relocates.
"""

from __future__ import annotations

from rtld.elf import types as t

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.core.module import Module, Namespace


def order_initialisers(ns: Namespace) -> None:
    """Fill ``ns.relocation_order`` and ``ns.init_order``, both dependencies first."""
    if ns.model == "musl":
        ns.relocation_order = _musl_relocation_order(ns)
        ns.init_order = sort_musl([ns.main])
    else:
        sort = sort_scan if ns.dynamic_sort == 1 else sort_dfs
        ns.relocation_order = sort(ns.modules, force_first=True)[::-1]
        ns.init_order = init_first(ns.relocation_order, ns.modules)
    for index, module in enumerate(ns.init_order):
        module.init_index = index


def sort_dfs(modules: list[Module], force_first: bool) -> list[Module]:
    """glibc's topological order, dependents first (_dl_sort_maps_dfs)."""
    members = set(modules)
    visited: set[Module] = set()
    postorder: list[Module] = []
    for root in reversed(modules):
        if root in visited:
            continue
        visited.add(root)
        stack = [(root, iter(root.needed))]
        while stack:
            module, needs = stack[-1]
            for need in needs:
                if (
                    need not in visited
                    and need in members
                    and (need is not modules[0] or not force_first)
                ):
                    visited.add(need)
                    stack.append((need, iter(need.needed)))
                    break
            else:
                postorder.append(module)
                stack.pop()
    result = postorder[::-1]
    if force_first and result[0] is not modules[0]:
        result.remove(modules[0])
        result.insert(0, modules[0])
    return result


def sort_scan(modules: list[Module], force_first: bool) -> list[Module]:
    """glibc's older order (_dl_sort_maps_original): move a module behind the last one that needs it, until none moves."""
    maps = list(modules)
    n = len(maps)
    i = 1 if force_first else 0
    if n - i <= 1:
        return maps
    seen = [0] * n
    while True:
        seen[i] += 1
        this = maps[i]
        moved = False
        for k in range(n - 1, i, -1):
            if this in maps[k].needed:
                # Everything between moves one forward, and ``this`` comes after its user.
                maps[i : k + 1] = [*maps[i + 1 : k + 1], this]
                if seen[i + 1] > n - i:
                    # A cycle: give up on this place.
                    break
                count = seen[i]
                seen[i:k] = seen[i + 1 : k + 1]
                seen[k] = count
                moved = True
                break
        if moved:
            continue
        i += 1
        if i == n:
            return maps
        seen[i:] = [0] * (n - i)


def sort_musl(roots: list[Module]) -> list[Module]:
    """musl's construction order, dependencies first (queue_ctors)."""
    marked = set(roots)
    queue: list[Module] = []
    for root in roots:
        stack = [(root, iter(root.needed))]
        while stack:
            module, needs = stack[-1]
            for need in needs:
                if need not in marked:
                    marked.add(need)
                    stack.append((need, iter(need.needed)))
                    break
            else:
                queue.append(module)
                stack.pop()
    return queue


def _musl_relocation_order(ns: Namespace) -> list[Module]:
    # "The main program must be relocated LAST since it may contain copy relocations which depend on libraries'
    # relocations": reloc_all(app.next), then reloc_all(&app).
    return [*ns.modules[1:], ns.main]


def init_first(order: list[Module], mapped: list[Module]) -> list[Module]:
    """Move the DF_1_INITFIRST module that was mapped last to the front."""
    first = None
    for module in mapped:
        if module.file.dt_flags_1 & t.DF_1_INITFIRST:
            first = module
    if first is None:
        return list(order)
    return [first, *(m for m in order if m is not first)]
