"""What ``rtld run --trace`` says of a Windows program: what WINEDEBUG=+imports,+loaddll,+module would, in its order."""

from __future__ import annotations

from rtld.pe.load import run, symbol_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from typing import Any, TextIO

    from rtld.pe.module import PeModule, Table

_REASONS = ("PROCESS_DETACH", "PROCESS_ATTACH", "THREAD_ATTACH", "THREAD_DETACH")


class Trace:
    """Says it on a stream, for one process."""

    def __init__(self, loader: Any, stream: TextIO) -> None:
        self._loader = loader
        self._stream = stream

    def _number(self, value: int) -> str:
        return f"{value:0{self._loader.system.bits // 4}X}"

    def loaded(self, modules: Sequence[PeModule]) -> None:
        """Modules that are new: of each, what it imports, after the DLL that has it was told of."""
        waiting = set(modules)
        for module in modules:
            if module in waiting:
                run(self._module(module, waiting))

    def _module(self, module: PeModule, waiting: set[PeModule]) -> Generator[Any, Any, None]:
        waiting.discard(module)
        program = module is self._loader.main
        if program:
            self._line(module)
        for table in (module.table, module.delayed):
            if table is None:
                continue
            for edge in table.edges:
                if edge.module in waiting:
                    yield self._module(edge.module, waiting)
                self._imports(table, edge.descriptor)
        if not program:
            self._line(module)

    def _line(self, module: PeModule) -> None:
        kind = "builtin" if module.path in self._loader.stubs else "native"
        path = self._loader.windows_path(module)
        self._stream.write(f'trace:loaddll:build_module Loaded L"{path}" at {self._number(module.base)}: {kind}\n')  # fmt: skip

    def _imports(self, table: Table, descriptor: Any) -> None:
        """One descriptor's, with the hint or the ordinal behind the DLL's name."""
        columns, modules = table.imports, self._loader.ns.modules
        for row in range(descriptor.first, descriptor.first + descriptor.count):
            definer = table.definer[row]
            if definer < 0:
                continue
            symbol = symbol_text(columns, row)
            shown = f"Ordinal {descriptor.dll}.{symbol[1:]}"
            if symbol[0] != "#":
                shown = f"{symbol} {descriptor.dll}.{max(columns.hint.item(row), 0)}"
            address = self._number(modules[definer].base + table.rva[row])
            self._stream.write(f"trace:imports:import_dll --- {shown} = {address}\n")

    def called(self, module: PeModule, reason: int, reserved: int) -> None:
        """DllMain."""
        base, reserved_text = self._number(module.base), self._number(reserved)
        self._stream.write(f'trace:module:MODULE_InitDLL ({base} L"{module.base_name}",{_REASONS[reason]},{reserved_text}) - CALL\n')  # fmt: skip

    def bound(self, name: str, dll: str, address: int) -> None:
        """A delay import, at its first call."""
        self._stream.write(f"trace:imports:first_call --- {name} {dll} = {self._number(address)}\n")
