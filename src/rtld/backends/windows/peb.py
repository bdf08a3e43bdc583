"""The process environment block and the loader's lists, as debuggers and start-up code read them (winternl.h)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
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
         "BaseDllName": (44, 88), "Flags": (52, 104), "LoadCount": (56, 108), "TlsIndex": (58, 110),
         "HashLinks": (60, 112), "TimeDateStamp": (68, 128)}
# in RTL_USER_PROCESS_PARAMETERS
PARAMETERS = {"StandardInput": (0x18, 0x20), "StandardOutput": (0x1C, 0x28), "StandardError": (0x20, 0x30),
              "CurrentDirectory": (0x24, 0x38), "ImagePathName": (0x38, 0x60), "CommandLine": (0x40, 0x70),
              "Environment": (0x48, 0x80)}
_LDR_SIZE = (0x30, 0x58)
_IMAGE_DLL, _PROCESS_ATTACHED = 0x4, 0x80000  # Flags of an entry
# fmt: on
_ENTRY_SIZE = 0x120
_PARAMETERS_SIZE = 0x400
#: STD_INPUT_HANDLE and its kin
_STREAMS = {0xFFFFFFF6: "StandardInput", 0xFFFFFFF5: "StandardOutput", 0xFFFFFFF4: "StandardError"}
_MAX_PATH = 260


class Peb:
    """``address`` is where it stands; ``refresh`` makes the loader's lists anew."""

    def __init__(self, system: System, main: Any, modules: list[Any]) -> None:
        self.system = system
        self.wide = system.bits == 64
        self.address = system.memory.allocate(0x1000)
        self._ldr = system.heap.allocate(0x80)
        system.put(self._ldr, _LDR_SIZE[self.wide], 4)
        system.put(self._ldr + 4, 1, 4)  # Initialized
        self._entries: dict[Any, int] = {}
        self._set("ImageBaseAddress", main.base)
        self._set("Ldr", self._ldr)
        self._set("ProcessHeap", 0x10)
        self.parameters = self._make_parameters()
        self._set("ProcessParameters", self.parameters)
        for name, value in (("NumberOfProcessors", 1), ("OSMajorVersion", 6), ("OSMinorVersion", 1), ("OSBuildNumber", 7601)):  # fmt: skip
            system.put(self.address + PEB[name][self.wide], value, 4)
        self.refresh(modules)

    def _set(self, name: str, value: int) -> None:
        self.system.put(self.address + PEB[name][self.wide], value)

    def _unicode(self, at: int, text: str, room: int = 0) -> None:
        """A UNICODE_STRING, with room for so many units."""
        data = text.encode("utf-16-le", "surrogatepass")
        room = max(len(data) + 2, 2 * room)
        place = self.system.heap.allocate(room)
        self.system.memory.write(place, data + b"\0\0")
        self.system.put(at, len(data), 2)
        self.system.put(at + 2, room, 2)
        self.system.put(at + self.system.word, place)

    # -- parameters -------------------------------------------------------------------------------

    def _make_parameters(self) -> int:
        system, wide = self.system, self.wide
        at = system.heap.allocate(_PARAMETERS_SIZE)
        for number, value in enumerate(
            (_PARAMETERS_SIZE, _PARAMETERS_SIZE, 1)
        ):  # sizes; normalized
            system.put(at + 4 * number, value, 4)
        for name, text, room in (
            ("CurrentDirectory", _with_backslash(system.directory), _MAX_PATH),
            ("ImagePathName", system.arguments[0], 0),
            ("CommandLine", system.command_line, 0),
        ):
            self._unicode(at + PARAMETERS[name][wide], text, room)
        for number, name in _STREAMS.items():
            system.put(at + PARAMETERS[name][wide], system.standard.get(number, 0))
        block = environment_block(system.environ).encode("utf-16-le", "surrogatepass")
        place = system.heap.allocate(len(block))
        system.memory.write(place, block)
        system.put(at + PARAMETERS["Environment"][wide], place)
        return at

    def moved(self) -> None:
        """Another current directory."""
        at = self.parameters + PARAMETERS["CurrentDirectory"][self.wide]
        data = _with_backslash(self.system.directory).encode("utf-16-le", "surrogatepass")
        if len(data) + 2 <= self.system.number(at + 2, 2):
            self.system.memory.write(self.system.number(at + self.system.word), data + b"\0\0")
            self.system.put(at, len(data), 2)

    def redirected(self, stream: int, handle: int) -> None:
        """Another handle for a standard stream."""
        self.system.put(self.parameters + PARAMETERS[_STREAMS[stream]][self.wide], handle)

    # -- modules ----------------------------------------------------------------------------------

    def refresh(self, modules: list[Any], initialised: Sequence[Any] = ()) -> None:
        """The lists of what is loaded now, and in which order it was initialised."""
        system, wide = self.system, self.wide
        for module in modules:
            if module not in self._entries:
                self._entries[module] = self._entry(module)
            at = self._entries[module]
            system.put(at + ENTRY["TlsIndex"][wide], module.tls_slot & 0xFFFF, 2)
            self.count(module)
        for number, (name, place) in enumerate(LISTS.items()):
            chosen = initialised if name == "init" else modules
            head = self._ldr + place[wide]
            links = [head, *[self._entries[m] + number * 2 * system.word for m in chosen]]
            for here, there in zip(links, [*links[1:], links[0]], strict=True):
                system.put(here, there)
                system.put(there + system.word, here)

    def _entry(self, module: Any) -> int:
        system, wide = self.system, self.wide
        at: int = system.heap.allocate(_ENTRY_SIZE)
        file = module.file
        links = at + ENTRY["HashLinks"][wide]
        for name, value, size in (
            ("DllBase", module.base, system.word),
            ("EntryPoint", module.base + file.entry if file.entry else 0, system.word),
            ("SizeOfImage", file.span, 4),
            ("Flags", _IMAGE_DLL | _PROCESS_ATTACHED if file.is_dll else 0, 4),
            ("HashLinks", links, system.word),
            ("TimeDateStamp", file.timestamp, 4),
        ):
            system.put(at + ENTRY[name][wide], value, size)
        system.put(links + system.word, links)
        self._unicode(at + ENTRY["FullDllName"][wide], system.loader.windows_path(module))
        self._unicode(at + ENTRY["BaseDllName"][wide], module.path.rpartition("/")[2])
        return at

    def count(self, module: Any) -> None:
        """Its references are others."""
        at = self._entries.get(module)
        if at is not None:
            self.system.put(at + ENTRY["LoadCount"][self.wide], module.references & 0xFFFF, 2)

    def forget(self, module: Any) -> None:
        """The module is gone."""
        at = self._entries.pop(module, None)
        if at is not None:
            for name in ("FullDllName", "BaseDllName"):
                place = at + ENTRY[name][self.wide] + self.system.word
                self.system.heap.free(self.system.number(place))
            self.system.heap.free(at)


def _with_backslash(directory: str) -> str:
    return directory if directory.endswith("\\") else directory + "\\"


def environment_block(environ: Mapping[str, str]) -> str:
    """NAME=VALUE, each with its zero, in the order of the names; one more zero."""
    rows = sorted(environ.items(), key=lambda row: row[0].upper())
    return "".join(f"{name}={value}\0" for name, value in rows) + "\0"
