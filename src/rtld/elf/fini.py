"""The order of termination functions, as glibc 2.35 and later have it (elf/dl-sort-maps.c, for_fini).

Two things decide it besides DT_NEEDED: what a module's references were bound to outside its own needs ("relocation
dependencies"), and the list of a module that was opened directly, which has all its dependencies, sorted, not only its needs.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rtld.core.module import Module


class Order:
    """What the order depends on: ``lists`` is l_initfini of each module, ``bound`` its l_reldeps."""

    __slots__ = ("bound", "lists")

    def __init__(self) -> None:
        self.lists: dict[Module, list[Module]] = {}
        self.bound: dict[Module, list[Module]] = {}

    def copy(self) -> Order:
        """What a process that is forked inherits."""
        other = Order()
        other.lists = dict(self.lists)
        other.bound = {module: list(bound) for module, bound in self.bound.items()}
        return other

    def forget(self, modules: Sequence[Module]) -> None:
        """Modules that are unloaded."""
        gone = set(modules)
        for module in modules:
            self.lists.pop(module, None)
            self.bound.pop(module, None)
        for table in (self.lists, self.bound):
            for module, others in table.items():
                if not gone.isdisjoint(others):
                    table[module] = [other for other in others if other not in gone]

    def opened(self, root: Module, group: Sequence[Module]) -> list[Module]:
        """*root* was opened directly: its list is its whole group, dependents first (elf/dl-deps.c)."""
        # Its filtees stand before it in the group, but it is the last to be initialised.
        first = [root, *[module for module in group if module is not root]]
        self.lists[root] = order = self.sort(first, force_first=True)
        bound = self.bound.get(root)
        if bound:
            # What is in the list now need not be remembered apart. A table that gets empty is still there for ``sort``.
            self.bound[root] = [module for module in bound if module not in order]
        return order

    def depends(self, module: Module, definer: Module) -> None:
        """A reference of *module* was bound to *definer* (elf/dl-lookup.c, add_dependency)."""
        if definer is module or definer in self.lists.get(module, ()):
            return
        bound = self.bound.setdefault(module, [])
        if definer not in bound:
            bound.append(definer)

    def sort(
        self, modules: Sequence[Module], *, force_first: bool = False, for_fini: bool = False
    ) -> list[Module]:
        """Dependents first. With *for_fini* relocation dependencies count, as far as DT_NEEDED lets them."""
        order, bound = self._walk(modules, self.bound if for_fini else {})
        if bound:
            # Once more without them, so that needs come last in every case.
            order, _ = self._walk(order, {})
        if force_first and order[0] is not modules[0]:
            order.remove(modules[0])
            order.insert(0, modules[0])
        return order

    def _walk(
        self, modules: Sequence[Module], bound: Mapping[Module, Sequence[Module]]
    ) -> tuple[list[Module], bool]:
        members = set(modules)
        visited: set[Module] = set()
        postorder: list[Module] = []
        met = False
        for root in reversed(modules):
            if root in visited:
                continue
            visited.add(root)
            stack = [(root, iter(self._edges(root, bound)))]
            met |= root in bound
            while stack:
                module, edges = stack[-1]
                for other in edges:
                    if other not in visited and other in members:
                        visited.add(other)
                        met |= other in bound
                        stack.append((other, iter(self._edges(other, bound))))
                        break
                else:
                    postorder.append(module)
                    stack.pop()
        return postorder[::-1], met

    def _edges(self, module: Module, bound: Mapping[Module, Sequence[Module]]) -> list[Module]:
        return [*self.lists.get(module, ()), *reversed(bound.get(module, ()))]
