"""The state behind the functions: heap, handles, errors, environment, files, standard streams. Knows no CPU.

Pointers are numbers in the program's memory, which is reached through ``Memory``: that of an emulated CPU, or this process.
"""

from __future__ import annotations

import contextlib
import os
import struct
import time

from rtld.backends.windows.api import Exited
from rtld.backends.windows.codepages import ANSI
from rtld.backends.windows.commandline import quoted
from rtld.backends.windows.paths import host_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Protocol

    class Memory(Protocol):
        """Bytes of the program."""

        def read(self, address: int, size: int) -> bytes: ...
        def write(self, address: int, data: bytes) -> None: ...
        def allocate(self, size: int, rights: int = 3) -> int:
            """Whole pages of zeros."""
            ...

        def release(self, address: int, size: int) -> None: ...
        def reserve(self, size: int, at: int | None) -> int:
            """Addresses without memory, at a multiple of 64 KiB. NoSpace."""
            ...

        def commit(self, address: int, size: int, rights: int) -> None:
            """Zeros in pages of reserved addresses that have no memory; these rights for all of them."""
            ...

        def decommit(self, address: int, size: int) -> None: ...
        def map_file(self, size: int, rights: int, fd: int, offset: int, at: int | None) -> int:
            """Pages of a file; what is written goes there when *rights* say that it may be written."""
            ...

        def rights(self, address: int) -> tuple[int, int | None]:
            """(where the pages that are like that of an address end, their rights; None: no memory)."""
            ...

    class Loader(Protocol):
        """What the functions about modules ask."""

        def module_of(self, address: int) -> Any: ...


_CHUNK = 1 << 20
_MAX_STRING = 1 << 24
STD_INPUT, STD_OUTPUT, STD_ERROR = 0xFFFFFFF6, 0xFFFFFFF5, 0xFFFFFFF4


class Heap:
    """One heap of a program: blocks in size classes, freed ones used again."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.sizes: dict[int, int] = {}
        self._free: dict[int, list[int]] = {}
        self._at = self._end = 0

    def allocate(self, size: int, *, zero: bool = True) -> int:
        """The address of ``size`` bytes, at a multiple of 16; 0 when there are none."""
        if size < 0 or size >= 1 << 31:
            return 0
        room = max(16, 1 << (size - 1).bit_length() if size < 1 << 16 else -(-size // 4096) * 4096)
        waiting = self._free.get(room)
        if waiting:
            at = waiting.pop()
            if zero:
                self.memory.write(at, bytes(size))
        elif room >= _CHUNK // 4:
            at = self.memory.allocate(room)
        else:
            if self._at + room > self._end:
                self._at = self.memory.allocate(_CHUNK)
                self._end = self._at + _CHUNK
            at = self._at
            self._at += room
        self.sizes[at] = size
        return at

    def free(self, address: int) -> bool:
        """Give a block back; False when it is none."""
        size = self.sizes.pop(address, None)
        if size is None:
            return False
        room = max(16, 1 << (size - 1).bit_length() if size < 1 << 16 else -(-size // 4096) * 4096)
        self._free.setdefault(room, []).append(address)
        return True

    def resize(self, address: int, size: int) -> int:
        """Another size, perhaps elsewhere."""
        if not address:
            return self.allocate(size)
        old = self.sizes.get(address)
        if old is None:
            return 0
        new = self.allocate(size)
        if new:
            self.memory.write(new, self.memory.read(address, min(old, size)))
            self.free(address)
        return new


class Handle:
    """What a handle stands for: a stream, an event, a thread, a mapping. ``kind`` says which."""

    if TYPE_CHECKING:
        owner: Any
        depth: int
        value: int
        shared: Any
        name: str
        due: float | None
        period: float
        twin: Any
        fd: int
        other: int
        path: str
        names: list[str]
        delete: bool
        port: Any
        modes: int

    def __init__(self, kind: str, **values: Any) -> None:
        self.kind = kind
        self.signalled = False
        self.manual = True
        self.count = 1
        self.__dict__.update(values)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


class Area:
    """Memory that was reserved as a whole: ``kind`` is "private" or "view", of a mapping."""

    __slots__ = ("base", "kind", "protection", "size")

    def __init__(self, base: int, size: int, kind: str, protection: int) -> None:
        self.base = base
        self.size = size
        self.kind = kind
        self.protection = protection  # PAGE_* it began with


class System:
    """One process of Windows. ``loader`` and ``threads`` are set by whoever runs it."""

    def __init__(
        self,
        memory: Memory,
        bits: int,
        arguments: list[str],
        *,
        environ: Mapping[str, str] | None = None,
        root: str | None = None,
        heap: Any = None,
        line: str | None = None,
        directory: str = "C:\\",
        process_id: int = 4,
    ) -> None:
        """*line*: the command line as it was given; *directory*: the current one, as the program sees it."""
        self.memory = memory
        self.bits = bits
        self.word = bits // 8
        self.heap: Heap = heap if heap is not None else Heap(memory)
        self.arguments = arguments
        self.environ = dict(environ if environ is not None else os.environ)
        self.root = os.path.realpath(root if root is not None else os.getcwd())
        self.line = line
        self.directory = directory  # ends with no backslash unless it is a root
        self.process_id = process_id
        self.loader: Any = None
        self.threads: Any = None
        self.handles: dict[int, Handle] = {}
        self._next_handle = 0x40
        self.opened: dict[tuple[int, int], list[tuple[int, int]]] = {}  # file -> (access, share)
        self.sections: dict[int, Any] = {}  # critical sections by address: [owner, depth]
        self.tls: list[bool] = [False] * 1088
        self.fls: dict[int, int] = {}  # index -> function to be called for what is left
        self.areas: dict[int, Area] = {}  # memory that was reserved as a whole, by its address
        self.names: dict[str, Handle] = {}  # events, mutexes, ... that have a name
        self.strings: dict[bytes, int] = {}
        self.started = time.monotonic()
        self.exit_code = 0
        self.at_exit: list[int] = []
        self.cache: dict[str, Any] = {}
        self.standard = {
            STD_INPUT: self.add(Handle("stream", fd=0)),
            STD_OUTPUT: self.add(Handle("stream", fd=1)),
            STD_ERROR: self.add(Handle("stream", fd=2)),
        }

    # -- handles and errors -----------------------------------------------------------------------

    def add(self, handle: Handle) -> int:
        """A number for it."""
        self._next_handle += 4
        self.handles[self._next_handle] = handle
        return self._next_handle

    def handle(self, number: int, *kinds: str) -> Handle | None:
        """What a number stands for; None, and ERROR_INVALID_HANDLE, when it is not one of these kinds."""
        found = self.handles.get(number)
        if found is None or (kinds and found.kind not in kinds):
            self.fail(6)
            return None
        return found

    def close(self, number: int) -> bool:
        """One number less for a handle; what it stands for goes with the last. False when there is none."""
        found = self.handles.pop(number, None)
        if found is None:
            return False
        found.count -= 1
        if not found.count and any(request.handle is found for request in self.cache.get("requests", ())):  # fmt: skip
            from rtld.backends.windows.completion import cancel

            cancel(self, found)
        if not found.count and self.names.get(getattr(found, "name", "")) is found:
            del self.names[found.name]
        if not found.count and found.kind in ("file", "pipe", "mapping") and found.fd >= 0:
            os.close(found.fd)
            if found.__dict__.get("other", -1) >= 0:  # of a pipe that nobody has opened
                os.close(found.other)
            if found.kind == "file" and getattr(found, "shared", None):
                key, entry = found.shared
                self.opened[key].remove(entry)
            if getattr(found, "delete", False):
                with contextlib.suppress(OSError):
                    os.unlink(found.path)
        return True

    def name(self, name: str, handle: Handle) -> None:
        """Give it a name that others can open it by, as long as a handle of it is open."""
        self.names[name] = handle
        handle.name = name

    def open_named(self, name: str, kind: str) -> int:
        """A further handle of what has that name."""
        found = self.names.get(name)
        if found is None:
            return self.fail(2)
        if found.kind != kind:
            return self.fail(6)
        found.count += 1
        return self.add(found)

    def share(self, handle: Handle, status: os.stat_result, access: int, share: int) -> None:
        """Note what an open file is open for and what others may do with it: FILE_SHARE_* bits both."""
        key, entry = (status.st_dev, status.st_ino), (access, share)
        self.opened.setdefault(key, []).append(entry)
        handle.shared = key, entry

    def may_share(self, status: os.stat_result, access: int, share: int) -> bool:
        """Whether a file may be opened like this beside those who have it open."""
        opened = self.opened.get((status.st_dev, status.st_ino), ())
        return all(not access & ~others and not theirs & ~share for theirs, others in opened)

    def fail(self, error: int, result: int = 0) -> int:
        """Set the last error; the result to return."""
        self.last_error = error
        return result

    @property
    def last_error(self) -> int:
        return self.number(self.threads.teb + (0x68 if self.bits == 64 else 0x34), 4)

    @last_error.setter
    def last_error(self, value: int) -> None:
        self.put(self.threads.teb + (0x68 if self.bits == 64 else 0x34), value, 4)

    def exit(self, status: int) -> None:
        raise Exited(status)

    # -- memory -----------------------------------------------------------------------------------

    def number(self, address: int, size: int = 0) -> int:
        """A number there, a pointer unless ``size`` says otherwise."""
        return int.from_bytes(self.memory.read(address, size or self.word), "little")

    def put(self, address: int, value: int, size: int = 0) -> None:
        """Store a number, a pointer unless ``size`` says otherwise."""
        size = size or self.word
        self.memory.write(address, (value & (1 << 8 * size) - 1).to_bytes(size, "little"))

    def text(self, address: int) -> bytes | None:
        """The string of bytes there; None at a null pointer."""
        if not address:
            return None
        result = b""
        step = 64
        while len(result) < _MAX_STRING:
            size = min(step, 4096 - address % 4096)
            piece = self.memory.read(address, size)
            end = piece.find(b"\0")
            if end >= 0:
                return result + piece[:end]
            result += piece
            address += size
            step = 4096
        return result

    def wide(self, address: int) -> str | None:
        """The string of UTF-16 there; None at a null pointer."""
        if not address:
            return None
        units: list[int] = []
        while len(units) < _MAX_STRING:
            size = max(2, min(128, 4096 - address % 4096)) & -2
            piece = self.memory.read(address, size)
            for (unit,) in struct.iter_unpack("<H", piece):
                if not unit:
                    return struct.pack(f"<{len(units)}H", *units).decode("utf-16-le", "surrogatepass")  # fmt: skip
                units.append(unit)
            address += size
        return ""

    def put_text(self, address: int, text: bytes | str, room: int) -> int:
        """Store a string with its zero when there is room; its length in units, or what would be needed."""
        data = text if isinstance(text, bytes) else text.encode("utf-16-le", "surrogatepass")
        unit = 1 if isinstance(text, bytes) else 2
        length = len(data) // unit
        if length + 1 > room:
            return length + 1
        self.memory.write(address, data + bytes(unit))
        return length

    def put_string(self, wide: bool, address: int, room: int, text: str) -> int:
        """``put_text`` in UTF-16, or in the code page of what is not wide."""
        return self.put_text(address, text if wide else text.encode(ANSI, "replace"), room)

    def keep(self, text: bytes) -> int:
        """The address of a string that stays for ever, zero and all."""
        at = self.strings.get(text)
        if at is None:
            at = self.strings[text] = self.heap.allocate(len(text))
            self.memory.write(at, text)
        return at

    # -- files ------------------------------------------------------------------------------------

    def path(self, name: str) -> str | None:
        """A path of Windows as one of ours, None when it leads out of the root that the program may see."""
        return host_path(self, name)

    def sees(self, path: str) -> bool:
        """Whether a file of ours, links followed, is one that the program may see."""
        return path == self.root or path.startswith(self.root.rstrip("/") + "/")

    @property
    def command_line(self) -> str:
        """The arguments as one string, as CommandLineToArgvW reads it."""
        if self.line is not None:
            return self.line
        program, *rest = self.arguments
        return " ".join([f'"{program}"', *map(quoted, rest)])
