"""In which order DllMain is called (dlls/ntdll/loader.c: process_attach, process_detach).

Attach: dependencies first, in the order of the import table; a cycle is cut where it comes back to a DLL that is being
attached. ntdll and kernel32 go before everything. Detach is the reverse. The program itself has no DllMain: its entry
point comes last.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from rtld.pe.module import PeModule, PeNamespace

FIRST = ("ntdll.dll", "kernel32.dll")


def order_initialisers(ns: PeNamespace) -> None:
    """Fill ``ns.init_order``; ``init_index`` of every module that is in it."""
    first = [ns.by_base[name] for name in FIRST if name in ns.by_base]
    ns.init_order = attach_order([*first, ns.main], set())
    for number, module in enumerate(ns.init_order):
        module.init_index = number


def attach_order(roots: Iterable[PeModule], done: set[PeModule]) -> list[PeModule]:
    """The modules that are attached for ``roots``, in order; those in ``done`` are already, and more are added."""
    order: list[PeModule] = []
    for root in roots:
        if root in done:
            continue
        done.add(root)
        stack = [(root, iter(root.needed))]
        while stack:
            module, needs = stack[-1]
            for need in needs:
                if need not in done and need.resolved:
                    done.add(need)  # type: ignore[arg-type]
                    stack.append((need, iter(need.needed)))  # type: ignore[arg-type]
                    break
            else:
                stack.pop()
                order.append(module)
    return order


def count_references(ns: PeNamespace) -> None:
    """How often each DLL is needed; what the program imports is never unloaded (LoadCount -1)."""
    for module in ns.modules:
        for need in module.needed:
            if need.references >= 0:
                need.references += 1  # type: ignore[attr-defined]
    for need in ns.main.needed:
        need.references = -1  # type: ignore[attr-defined]
