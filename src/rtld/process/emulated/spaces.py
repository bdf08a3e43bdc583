"""Namespaces of a guest (dlmopen), and what it opens while it runs.

``ns`` and ``opened`` of a guest are those of the namespace that something is being done in; the others wait in ``spaces``.
"""

from __future__ import annotations

from contextlib import contextmanager

from rtld.core.module import Scope
from rtld.elf.dlopen import RTLD_DEEPBIND, RTLD_NOW, DlError, Opened, copy_namespace
from rtld.process.foreign.world import World

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtld.core.module import Module, Namespace
    from rtld.process.emulated.slots import Slots

MOST = 16  # DL_NNS of glibc


class Spaces(World):
    """The namespaces of one guest.

    spaces   number -> (namespace, what is opened in it), of all but the current one
    home     the number of a module's namespace, if it is not the first
    binder   where PLT slots lead at their first call; 0: they do not wait
    """

    spaces: dict[int, tuple[Namespace, Opened]]
    linked: bool
    binder: int
    slots: Slots

    def space(self, number: int) -> tuple[Namespace, Opened]:
        """A namespace by its number."""
        return (self.ns, self.opened) if number == self.current else self.spaces[number]

    def new_space(self) -> int:
        """dlmopen(LM_ID_NEWLM): one with nothing in it but the libc family, which all share. DlError when there are too many."""
        number = 1 + max((self.current, *self.spaces))
        if number >= MOST:
            raise DlError("no more namespaces available for dlmopen()")
        ns = copy_namespace(self.space(0)[0])
        ns.modules = [module for module in ns.modules if self.is_shared(module)]
        ns.by_name = {name: m for name, m in ns.by_name.items() if self.is_shared(m)}
        ns.by_identity = {key: m for key, m in ns.by_identity.items() if self.is_shared(m)}
        ns.global_scope = Scope("global", ())
        ns.unique, ns.preloads = {}, []
        self.spaces[number] = ns, Opened(ns.modules)
        return number

    def is_shared(self, module: Module) -> bool:
        """Whether all namespaces have the same copy of a module."""
        return module.hosted

    @contextmanager
    def inside(self, number: int) -> Iterator[None]:
        """For as long as something is done in a namespace, ``ns`` and ``opened`` are its."""
        before = self.current
        if number == before:
            yield
            return
        self._enter(number)
        try:
            yield
        finally:
            self._enter(before)

    def _enter(self, number: int) -> None:
        self.spaces[self.current] = self.ns, self.opened
        self.current = number
        self.ns, self.opened = self.spaces.pop(number)

    def every_module(self) -> Iterator[Module]:
        """Of all namespaces."""
        seen = set()
        for number in sorted((self.current, *self.spaces)):
            for module in self.space(number)[0].modules:
                if module not in seen:
                    seen.add(module)
                    yield module

    # -- what is opened later ---------------------------------------------------------------------------

    def leaves_slots(self, flags: int) -> bool:
        """dlopen: do PLT slots wait for their first call?"""
        return self.linked and self.binder != 0 and not flags & (RTLD_NOW | RTLD_DEEPBIND)

    def open_slots(self, ns: Namespace) -> None:
        from rtld.elf.hosted import open_slots

        open_slots(ns, self.slots.number, self.binder)
