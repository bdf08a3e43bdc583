"""Who looks on while a program runs on an emulated CPU: functions that run (``Coverage``), memory that is touched (``Watch``).

    seen = Coverage()
    rtld.run("/bin/ls", sysroot="arm64root", observers=[seen, Watch("libc.so.6:optind")])
    seen.functions                     # {"/bin/ls": {"main": 1, ...}, "/lib/.../libc.so.6": ...}

Both are about the program's first process; what that starts goes its own way.
"""

from __future__ import annotations

import os
import struct

from rtld.core.space import page_up
from rtld.elf.file import ElfFile
from rtld.elf.functions import names
from rtld.errors import RtldError
from rtld.process.observed import Access, Block, count_functions, place_in, watch_memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from rtld.backends.emulated.blockcount import BlockCount
    from rtld.process.emulated.execve import Process

EXECUTE = 4
MOST = 100_000  # accesses that are kept


class Observer:
    """Told of a process's life; the base does nothing with it."""

    def started(self, process: Process) -> None:
        """It is in memory, before its first instruction."""

    def linked(self, process: Process) -> None:
        """Its libraries are there, before their initialisers; with --interp never."""

    def ended(self, process: Process) -> None:
        """It has come to its end, or execve puts another program in its place."""


# -- which file is where ---------------------------------------------------------------------------------


class Files:
    """The files that a process has in memory, each opened once."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._files: dict[str, ElfFile | None] = {}

    def file(self, path: str) -> ElfFile | None:
        """The guest's file of that name; None for one that is no ELF file, or cannot be read."""
        if path not in self._files:
            self._files[path] = self._open(path)
        return self._files[path]

    def _open(self, path: str) -> ElfFile | None:
        if path == self._process.program.path:
            return self._process.program.file
        try:
            with self._process.system.tree.find(path) as place:
                fd = os.open(
                    place.name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=place.fd
                )
            try:
                return ElfFile(fd, path)
            finally:
                os.close(fd)
        except (OSError, RtldError):
            return None

    def base(self, address: int, path: str, offset: int) -> int | None:
        """The load bias of the file whose byte *offset* is at *address*."""
        file = self.file(path)
        for load in file.loads if file is not None else ():
            start = load.offset & -0x1000
            if start <= offset < page_up(load.offset + load.filesz):
                return int(address - offset + load.offset - load.vaddr)
        return None

    def place(self, address: int) -> str:
        """Module and function of an address, in words."""
        found = self._process.machine.memory.place(address)
        if found is None:
            return hex(address)
        path, offset = found
        base, file = self.base(address, path, offset), self.file(path)
        if base is None or file is None:
            return f"{path}+{offset:#x}"
        return place_in(path, file, address - base)


# -- coverage ------------------------------------------------------------------------------------------------


class Module:
    """A file with code that has run: ``base`` is its load bias, ``low`` to ``high`` where it stands."""

    def __init__(self, path: str, file: ElfFile, base: int) -> None:
        low, high = file.span
        self.path, self.file, self.base = path, file, base
        self.low, self.high = base + low, base + high
        self.blocks: list[Block] = []


class Coverage(Observer):
    """Counts what runs. ``functions``: module -> function -> how often it was entered; 0: its code ran, but not from its
    beginning. ``modules`` have the blocks.
    """

    def __init__(self) -> None:
        self._count: BlockCount | None = None
        self.modules: list[Module] = []

    def started(self, process: Process) -> None:
        machine = process.machine
        self._count = machine.engine.count_blocks(machine.memory.size)
        self._count.add(machine.memory.first, machine.memory.size - 1)

    def ended(self, process: Process) -> None:
        if self._count is None:
            return
        files = Files(process)
        memory = process.machine.memory
        known: dict[tuple[str, int], Module] = {}
        for start, end, rights in memory.regions:
            if not rights & EXECUTE:
                continue
            for low, high, index in memory.labels.pieces(start, end):
                path, origin = memory.sources[index]
                base = files.base(low, path, low - origin)
                file = files.file(path)
                if base is None or file is None:
                    continue
                module = known.get((path, base))
                if module is None:
                    module = known[path, base] = Module(path, file, base)
                module.blocks += map(Block._make, self._count.blocks(low, high))
        self.modules += [module for module in known.values() if module.blocks]
        self._count = None

    @property
    def functions(self) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {}
        for module in self.modules:
            count_functions(
                module.blocks, module.base, module.file, found.setdefault(module.path, {})
            )
        return found

    def text(self) -> str:
        """For people: the functions of each module, those first that were entered most often."""
        lines = []
        for path, functions in self.functions.items():
            entered = sum(1 for count in functions.values() if count)
            lines.append(f"{path}: {entered} functions entered, {len(functions)} have run")
            rows = sorted(functions.items(), key=lambda row: (-row[1], row[0]))
            lines += [f"{count:>10}  {name}" for name, count in rows]
        return "".join(line + "\n" for line in lines)

    def write_drcov(self, stream: BinaryIO) -> None:
        """The log that DynamoRIO's drcov writes, version 2 (clients/drcov/drcov.h): coverage plug-ins of disassemblers read it."""
        lines = [
            "DRCOV VERSION: 2", "DRCOV FLAVOR: drcov", f"Module Table: version 2, count {len(self.modules)}",
            "Columns: id, base, end, entry, checksum, timestamp, path",
        ]  # fmt: skip
        for i, module in enumerate(self.modules):
            entry = module.base + module.file.entry if module.file.entry else 0
            lines.append(
                f" {i}, {module.low:#x}, {module.high:#x}, {entry:#018x}, 0x00000000, 0x00000000, {module.path}"
            )
        total = sum(len(module.blocks) for module in self.modules)
        lines.append(f"BB Table: {total} bbs")
        stream.write("".join(line + "\n" for line in lines).encode(errors="surrogateescape"))
        row = struct.Struct("<IHH")  # offset from the module's base, bytes, number of the module
        for i, module in enumerate(self.modules):
            stream.write(b"".join(
                [row.pack(block.address - module.low, min(block.size, 0xFFFF), i) for block in module.blocks]
            ))  # fmt: skip


# -- memory ----------------------------------------------------------------------------------------------------


class WatchError(RtldError):
    """What is to be watched is not there."""

    def __init__(self, subject: str, reason: str) -> None:
        self.subject, self.reason = subject, reason
        super().__init__(subject, reason)

    def __str__(self) -> str:
        return f"watch {self.subject}: {self.reason}"


class Watch(Observer):
    """Notes accesses of the guest's code to a piece of memory in ``accesses`` (the first MOST), and tells *told* of each.

    *what*: an address, SYMBOL of the program, or of the first library that has it, or MODULE:SYMBOL. *size*: bytes; None: what the
    symbol has. System calls that write there are the kernel's, and not seen.
    """

    def __init__(
        self,
        what: int | str,
        size: int | None = None,
        told: Callable[[Access], object] | None = None,
    ) -> None:
        if size is not None and size <= 0:
            raise ValueError(f"{size} bytes cannot be watched")
        self.what, self.size = what, size
        self.accesses: list[Access] = []
        self._told = told
        self._found = False

    @property
    def subject(self) -> str:
        """As the user has said it."""
        return hex(self.what) if isinstance(self.what, int) else self.what

    def started(self, process: Process) -> None:
        self._found = False
        if isinstance(self.what, int):
            self._watch(process, self.what, self.size or process.arch.word)
            return
        # A program has its own symbols now already.
        self._look(process, [(process.program.path, process.program.file, process.program.base)])
        if not self._found and process.guest is None:
            raise WatchError(
                self.what, f"{process.program.path} has no such symbol, and rtld does not link it"
            )

    def linked(self, process: Process) -> None:
        if self._found:
            return
        modules = process.guest.ns.modules
        self._look(process, [(m.path, m.file, m.base) for m in modules if m.base])
        if not self._found:
            raise WatchError(self.subject, "no module has such a symbol")

    def _look(self, process: Process, modules: list[tuple[str, ElfFile, int]]) -> None:
        assert isinstance(self.what, str)
        library, colon, symbol = self.what.rpartition(":")
        for path, file, base in modules:
            if colon and os.path.basename(path) != os.path.basename(library):
                continue
            found = names(file).find(symbol)
            if found is not None:
                size = self.size or found.size or process.arch.word
                self._watch(process, base + found.value, size)
                return

    def _watch(self, process: Process, address: int, size: int) -> None:
        self._found = True
        files = Files(process)
        watch_memory(process.machine, address, address + size, files.place, self._note)

    def _note(self, access: Access) -> None:
        if len(self.accesses) < MOST:
            self.accesses.append(access)
        if self._told is not None:
            self._told(access)
