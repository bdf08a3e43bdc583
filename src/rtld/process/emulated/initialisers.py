"""Functions of an emulated program that run before its first instruction, and after its last one: who calls them, in which order.

Those of libraries are ours to call. The program's own are libc's, if it asks for them (``__libc_start_main`` of glibc 2.34 and
musl call what the *anchor* has); at the end libc calls the anchor's, and that means all.
"""

from __future__ import annotations

import os

from rtld.elf import types as t
from rtld.elf.scalar import dynsym
from rtld.elf.small import records_with_symbols
from rtld.process.emulated.spaces import Spaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.backends.emulated.machine import Machine
    from rtld.core.module import Module, Namespace
    from rtld.events import Reporter
    from rtld.process.emulated.dlservice import GuestServices
    from rtld.process.foreign.hooks import Audit


class Initialisers(Spaces):
    """A guest's.

    arguments     what initialisers get: argc, argv, envp
    finis         what is still to be called at the end, by module
    constructed   whose initialisers have been called, in that order
    """

    machine: Machine
    reporter: Reporter
    services: GuestServices
    audit: Audit | None
    arguments: tuple[int, int, int]
    finis: dict[Module, list[int]]
    constructed: list[Module]

    def functions(
        self, module: Module, single: int, array: int, size: int
    ) -> tuple[int, list[int]]:
        """(DT_INIT or the like, the array's functions as they stand in memory)."""
        dynamic = module.file.dynamic
        first = dynamic.get(single) if self.legacy_functions() else None
        at, count = dynamic.get(array), (dynamic.get(size) or 0) // self.word
        found = (
            [self.machine.word(module.base + at + self.word * i) for i in range(count)]
            if at
            else []
        )
        last = self.machine.kernel.mask
        return (module.base + first if first else 0), [f for f in found if f not in (0, last)]

    def run_initialisers(self) -> None:
        """Those of libraries, dependencies first; the program's are libc's to ask for, if it does."""
        ns = self.ns
        main_last = ns.model == "musl" or start_version(ns) == "GLIBC_2.34"
        self._own_init: list[int] = []
        _, preinit = self.functions(ns.main, 0, t.DT_PREINIT_ARRAY, t.DT_PREINIT_ARRAYSZ)
        for function in preinit if ns.model != "musl" else []:
            self.machine.call(function, *self.arguments)
        for module in ns.init_order:
            if module.hosted:
                continue
            last, functions = self.functions(module, t.DT_FINI, t.DT_FINI_ARRAY, t.DT_FINI_ARRAYSZ)
            self.finis[module] = functions[::-1] + ([last] if last else [])
            self.constructed.append(module)
            first, functions = self.functions(module, t.DT_INIT, t.DT_INIT_ARRAY, t.DT_INIT_ARRAYSZ)
            functions = ([first] if first else []) + functions
            if module is ns.main:
                self._own_init = functions if main_last else []
                continue
            self.reporter.init(module)
            for function in functions:
                self.machine.call(function, *self.arguments)
        if not main_last or ns.model == "musl":
            self.reporter.transfer(ns.main)

    def _initialise(self, argc: int, argv: int, envp: int) -> int:
        """libc calls the anchor's initialiser: now it is the program's turn."""
        own, self._own_init = self._own_init, []
        glibc = self.ns.model != "musl"
        if glibc:  # csu/libc-start.c: call_init
            self.reporter.begin(self.ns.main)
        elif own:
            self.reporter.init(self.ns.main)
        for function in own:
            self.machine.call(function, argc, argv, envp)
        if glibc:
            self.reporter.transfer(self.ns.main)
        return 0

    def _finish(self) -> int:
        """libc calls the anchor's termination function at exit: all of them, dependents first."""
        from rtld.elf.initfini import sort_dfs

        self.services.exiting = True
        if self.ns.model == "musl":
            order = self.constructed[::-1]
        else:
            numbers = sorted((self.current, *self.spaces), reverse=True)
            spaces = [self.space(number)[0] for number in numbers]
            order = [m for ns in spaces for m in sort_dfs(ns.modules, force_first=True)]
        if self.audit is not None:
            self.audit.hooks.activity("delete")
        for module in order:
            functions = self.finis.pop(module, [])
            if self.audit is not None and not module.hosted:
                self.audit.hooks.objclose(module)
            if functions:
                self.reporter.fini(module)
            for function in functions:
                self.machine.call(function)
        return 0


def start_version(ns: Namespace) -> str | None:
    """The version of __libc_start_main that a program refers to."""
    b, file = ns.bindings, ns.main.file
    if b is None:
        table = dynsym(file)
        for _offset, _kind, symbol, _addend in records_with_symbols(file):
            if table.name(symbol) == b"__libc_start_main":
                name = table.version_names().get(table.version(symbol) & 0x7FFF)
                return os.fsdecode(name) if name is not None else None
        return None
    import numpy as np

    main = ns.columns.modules.index(ns.main)
    for reference in np.flatnonzero(b.referrer == main).tolist():
        if b.name(reference) == "__libc_start_main":
            version = b.version_name(reference)
            return str(version) if version is not None else None
    return None
