"""The process environment block and the loader's lists, as debuggers and start-up code read them (winternl.h)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.backends.windows.system import System

# fmt: off
# name -> (offset in 32 bits, in 64 bits)
PEB = {"BeingDebugged": (2, 2), "ImageBaseAddress": (8, 16), "Ldr": (12, 24), "ProcessParameters": (16, 32),
       "ProcessHeap": (24, 48), "NumberOfProcessors": (0x64, 0xB8), "OSMajorVersion": (0xA4, 0x118),
       "OSMinorVersion": (0xA8, 0x11C), "OSBuildNumber": (0xAC, 0x120)}
LISTS = {"load": (12, 16), "memory": (20, 32), "init": (28, 48)}  # in PEB_LDR_DATA
# in LDR_DATA_TABLE_ENTRY; its three links stand at 0, 8, 16 (0, 16, 32)
ENTRY = {"DllBase": (24, 48), "EntryPoint": (28, 56), "SizeOfImage": (32, 64), "FullDllName": (36, 72),
         "BaseDllName": (44, 88), "LoadCount": (56, 108)}
# fmt: on
_ENTRY_SIZE = 0x120


class Peb:
    """``address`` is where it stands; ``refresh`` makes the loader's lists anew."""

    def __init__(self, system: System, main: Any, modules: list[Any]) -> None:
        self.system = system
        self.wide = system.bits == 64
        self.address = system.memory.allocate(0x1000)
        self._ldr = system.heap.allocate(0x80)
        self._entries: dict[Any, int] = {}
        self._set("ImageBaseAddress", main.base)
        self._set("Ldr", self._ldr)
        self._set("ProcessHeap", 0x10)
        self._set("ProcessParameters", self._parameters())
        for name, value in (("NumberOfProcessors", 1), ("OSMajorVersion", 6), ("OSMinorVersion", 1), ("OSBuildNumber", 7601)):  # fmt: skip
            system.put(self.address + PEB[name][self.wide], value, 4)
        self.refresh(modules)

    def _set(self, name: str, value: int) -> None:
        self.system.put(self.address + PEB[name][self.wide], value)

    def _unicode(self, at: int, text: str) -> None:
        """A UNICODE_STRING."""
        data = text.encode("utf-16-le", "surrogatepass")
        place = self.system.heap.allocate(len(data) + 2)
        self.system.memory.write(place, data + b"\0\0")
        self.system.put(at, len(data), 2)
        self.system.put(at + 2, len(data) + 2, 2)
        self.system.put(at + self.system.word, place)

    def _parameters(self) -> int:
        at = self.system.heap.allocate(0x400)
        self.system.put(at, 0x400, 4)
        self._unicode(at + (0x60 if self.wide else 0x38), self.system.arguments[0])
        self._unicode(at + (0x70 if self.wide else 0x40), self.system.command_line)
        return at

    def refresh(self, modules: list[Any]) -> None:
        """The lists of what is loaded now."""
        system, wide = self.system, self.wide
        for module in modules:
            if module not in self._entries:
                at = self._entries[module] = system.heap.allocate(_ENTRY_SIZE)
                file = module.file
                values = {"DllBase": module.base, "EntryPoint": module.base + file.entry if file.entry else 0}  # fmt: skip
                for name, value in values.items():
                    system.put(at + ENTRY[name][wide], value)
                system.put(at + ENTRY["SizeOfImage"][wide], file.span, 4)
                system.put(at + ENTRY["LoadCount"][wide], max(module.references, 0) or 0xFFFF, 2)
                self._unicode(at + ENTRY["FullDllName"][wide], system.loader.windows_path(module))
                self._unicode(at + ENTRY["BaseDllName"][wide], module.path.rpartition("/")[2])
        for number, (name, place) in enumerate(LISTS.items()):
            chosen = [m for m in modules if name != "init" or m.file.is_dll]
            head = self._ldr + place[wide]
            links = [head, *[self._entries[m] + number * 2 * system.word for m in chosen]]
            for here, there in zip(links, [*links[1:], links[0]], strict=True):
                system.put(here, there)
                system.put(there + system.word, here)
