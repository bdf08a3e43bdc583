"""Addresses of a program that runs: which module, which function, which unwind information, which symbol."""

from __future__ import annotations

from rtld.backends.windows.stubs import SLOT
from rtld.errors import FormatError
from rtld.pe.loadconfig import handlers_of
from rtld.pe.symbols import symbol_before

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.backends.windows.stubs import StubDll
    from rtld.pe.module import PeModule


class Places:
    """The part of ``Loader`` that knows what is where."""

    live: list[PeModule]
    stubs: dict[str, StubDll]

    def module_of(self, address: int) -> PeModule | None:
        """The module that an address is in."""
        for module in self.live:
            if module.base <= address < module.base + module.file.span:
                return module
        return None

    def unwind_row(self, address: int) -> tuple[int, int] | None:
        """(base of the image, where its row of .pdata stands) of the function that an address is in; None for a leaf."""
        module = self.module_of(address)
        if module is None:
            return None
        from rtld.pe.unwindtable import (
            unwind_table,
        )  # numpy, which programs without exceptions do without

        try:
            table = unwind_table(module.file)
        except FormatError:
            return None
        row = table.find(address - module.base)
        return (module.base, module.base + table.address + table.row * row) if row >= 0 else None

    def may_handle(self, address: int) -> bool:
        """SafeSEH of x86: may the function there handle exceptions?"""
        module = self.module_of(address)
        if module is None:
            return True
        try:
            known = handlers_of(module.file)
        except FormatError:
            return True
        return known is None or address - module.base in known

    def place_of(self, address: int) -> str:
        """An address in words: module, offset, and the symbol before it if one is known; "" in no module."""
        module = self.module_of(address)
        if module is None:
            return ""
        rva = address - module.base
        stub = self.stubs.get(module.path)
        if stub is not None:
            names = {number: name for name, number in stub.slots.items()}
            symbol = names.get((rva - stub.code) // SLOT, "")
            return f"{module.base_name}!{symbol}" if symbol else module.base_name
        found = symbol_before(module.file, rva)
        words = f" ({found[0]} + {found[1]:#x})" if found is not None else ""
        return f"{module.base_name} + {rva:#x}{words}"
