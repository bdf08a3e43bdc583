"""Who is told: one method for each thing worth telling, every one of them a no-op by default.

The passes report here and nowhere else; the core never prints, logs or guesses. The methods follow the words of
LD_DEBUG: libs (``candidate``, ``found``), files (``module``, ``relocated``, ``init``, ``fini``), scopes (``scope``),
versions (``version``), symbols (``looked_up``), bindings (``bound``), reloc (``relocated``), statistics
(``pass_done``), and with most of them the functions that are called (``init``, ``begin``, ``transfer``, ``fini``). ``Quiet`` is the base itself; ``Trace`` writes what LD_DEBUG would; ``Record`` keeps everything.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, Protocol

    from rtld.core.module import Module

    Scopes = Sequence[Sequence[Module]]

    class Sink(Protocol):
        """Where a trace goes."""

        def write(self, text: str, /) -> object: ...
        def flush(self) -> object: ...


class Reporter:
    """Base and null reporter. ``wants`` says which categories are worth preparing arguments for."""

    wants: frozenset[str] = frozenset()

    def about(self, pid: int, namespace: int = 0) -> None:
        """What follows concerns this process, and this namespace (0, or what ``dlmopen`` made)."""

    def name_main(self, argv0: str) -> None:
        """The program, which is the first module, goes by this name."""

    def hold(self) -> None:
        """What follows waits for addresses: see ``release``."""

    def release(self) -> None:
        """Addresses are known (``placed``), or there will be none."""

    def opening(self) -> None:
        """What is looked for next is the file that a ``dlopen`` names."""

    def opened(self, module: Module, count: int) -> None:
        """A ``dlopen`` has come to its end; the module has been opened so often."""

    def made_global(self, module: Module) -> None:
        """A ``dlopen`` has added a module to the global scope."""

    def pinned(self, module: Module) -> None:
        """A module will stay, because the program has a reference to it."""

    def depends(self, module: Module, definer: Module) -> None:
        """A module was bound to another that it does not name, and that stays now as long as it does itself."""

    def kept(self, module: Module) -> None:
        """A module that is new asks never to be unmapped."""

    def failed(self, module: Module, text: str) -> None:
        """A symbol that somebody asks for is not there."""

    def closing(self, module: Module, count: int) -> None:
        """A ``dlclose`` of a module that stays; it is open so often."""

    def removed(self, module: Module) -> None:
        """A module is about to be unmapped."""

    def searching(self, name: str, requester: Module | None) -> None:
        """A library of this name is looked for on behalf of ``requester``."""

    def postponed(self, name: str, requester: Module) -> None:
        """A library that ``requester`` needs is left until a symbol of it is."""

    def lazy_loading(self, name: str, requester: Module, symbol: str) -> None:
        """It is looked for now, because of this symbol."""

    def searched(self, name: str, lines: list[str]) -> None:
        """The search for ``name`` ended; its record in the words of LD_DEBUG=libs (only if "libs" is wanted)."""

    def candidate(self, path: str, rule: str, outcome: str) -> None:
        """A path was tried by ``rule``; ``outcome`` is "found" or why it was refused."""

    def module(self, module: Module) -> None:
        """A module was added to the namespace."""

    def placed(self, module: Module) -> None:
        """A module has its address."""

    def version(self, name: str, provider: Module, requester: Module) -> None:
        """A required version was checked."""

    def scope(self, module: Module, lists: Scopes | None = None, first: int = 0) -> None:
        """A module's scopes are fixed: *lists*, if they are not ``module.scopes``; those from *first* on are new."""

    def looked_up(self, symbol: str, module: Module) -> None:
        """A module of the scope was asked for a symbol."""

    def bound(
        self, referrer: Module, definer: Module | None, symbol: str, version: str | None, kind: str
    ) -> None:
        """A reference got its definition (None: undefined weak)."""

    def relocating(self, module: Module, lazy: bool) -> None:
        """A module's relocations are about to be applied."""

    def relocated(self, module: Module, counts: dict[str, int]) -> None:
        """A module's relocations of each type were applied."""

    def preinit(self, module: Module) -> None:
        """The functions of the program's DT_PREINIT_ARRAY are about to run."""

    def init(self, module: Module) -> None:
        """A module's initialisers are about to run."""

    def fini(self, module: Module) -> None:
        """A module's termination functions are about to run."""

    def begin(self, module: Module) -> None:
        """The program's own initialisers are about to run."""

    def transfer(self, module: Module) -> None:
        """Control goes to the program's ``main``."""

    def exec(self, step: str, text: str) -> None:
        """A step of starting a process, as the kernel does it."""

    def called(
        self, referrer: Module, definer: Module | None, symbol: str, words: Sequence[int]
    ) -> None:
        """A call through a PLT slot begins; *words*: what the first registers for integer arguments have."""

    def returned(self, referrer: Module, definer: Module | None, symbol: str, result: int) -> None:
        """It has returned; *result*: the register for integer results."""

    def pass_done(self, name: str, seconds: float, detail: dict[str, Any]) -> None:
        """A pass ended after ``seconds`` of CPU time."""

    def message(self, text: str) -> None:
        """What the platform's dynamic linker would write on the program's standard error, in its words."""


class Spoken(Reporter):
    """Says what a dynamic linker says by itself, on standard error, and nothing else.

    Names of files are bytes; and like ld.so it does not look whether anybody can hear it.
    """

    def message(self, text: str) -> None:
        stream = sys.stderr
        if stream is None:
            return  # it was closed when we were started
        try:
            place = stream.fileno()
        except (AttributeError, OSError, ValueError):
            stream.write(text + "\n")  # what somebody has put in its place in Python
            return
        try:
            stream.flush()
            os.write(place, os.fsencode(text) + b"\n")
        except OSError:
            pass


QUIET = Reporter()
SPOKEN = Spoken()

#: Category -> what LD_DEBUG=help says about it. "all" is all before it, as in ld.so.
# fmt: off
CATEGORIES = {
    "libs":       "display library search paths",
    "reloc":      "display relocation processing",
    "files":      "display progress for input file",
    "symbols":    "display symbol table processing",
    "bindings":   "display information about symbol binding",
    "versions":   "display version dependencies",
    "scopes":     "display scope information",
    "all":        "all previous options combined",
    "statistics": "display relocation statistics",
    "exec":       "display the kernel's part: a file becomes a process",
    "calls":      "display calls through PLT slots (emulated CPUs)",
    "help":       "display this help message and exit",
}
# fmt: on
#: With these ld.so tells also which functions it calls (elf/rtld.c, debopts: DL_DEBUG_IMPCALLS).
CALLS = frozenset(("libs", "reloc", "files", "symbols", "bindings", "versions"))
_ALL = frozenset(tuple(CATEGORIES)[: tuple(CATEGORIES).index("all")])


def help_text(option: str) -> str:
    """The categories as a table, like LD_DEBUG=help."""
    rows = "".join(f"  {name:<11} {text}\n" for name, text in CATEGORIES.items())
    return f"Valid options for {option} are:\n\n{rows}"


def categories(text: str) -> frozenset[str]:
    """The categories a comma-separated list names; "" means all. ValueError names the one that does not exist."""
    words = [word for word in text.replace(":", ",").replace(" ", ",").split(",") if word] or [
        "all"
    ]
    wanted: set[str] = set()
    for word in words:
        if word not in CATEGORIES:
            raise ValueError(word)
        wanted |= _ALL if word == "all" else {word}
    return frozenset(wanted)


class Trace(Spoken):
    """Writes what LD_DEBUG would, in its words, each line behind the number of the process it is about.

    ``name_main``: ld.so calls the program by its argv[0]. ``hold``, ``release``: it also maps a file as soon as it has found
    it, and tells the address; where addresses are chosen later, what is said meanwhile waits for them.
    """

    def __init__(
        self, wants: Iterable[str], sink: Sink, pid: int | Callable[[], int] = 0, namespace: int = 0
    ) -> None:
        self.wants = frozenset(wants)
        self.sink = sink
        self.pid = pid or os.getpid()  # whoever starts a process sets its number here
        self.namespace = namespace
        self._main: Module | None = None
        self._argv0 = ""
        self._held: list[list[str] | str] | None = None  # lines, and messages
        self._placed: dict[
            Module, list[str]
        ] = {}  # lines to be filled in, among those that are held
        self._asked = ""
        self._opening = False
        self._scopes_begun = False
        self._told = False
        self._counts: dict[str, int] = {}
        self._seconds: dict[str, float] = {}

    def lines(self, *lines: str) -> None:
        """Write lines as ld.so does: the number of the process, a colon, a TAB."""
        if self._held is not None:
            self._held.append([*lines])
            return
        pid = self.pid if isinstance(self.pid, int) else self.pid()
        self.sink.write("".join([f"{pid:>10}:\t{line}\n" for line in lines]))

    def name_main(self, argv0: str) -> None:
        self._main, self._argv0 = None, argv0

    def hold(self) -> None:
        """From now on keep what is said."""
        if self._held is None:
            self._held = []

    def release(self) -> None:
        """Say it. Modules that have no address by now were never mapped."""
        held, self._held = self._held, None
        self._placed = {}
        for lines in held or ():
            if isinstance(lines, str):
                self.message(lines)
            else:
                self.lines(*lines)

    def message(self, text: str) -> None:
        if self._held is None:
            super().message(text)
        else:
            self._held.append(text)

    def about(self, pid: int, namespace: int = 0) -> None:
        self.pid, self.namespace = pid, namespace

    def _name(self, module: Module) -> str:
        return self._argv0 if module is self._main else module.path

    def _path(self, module: Module) -> str:
        """The same where ld.so has no name for the program."""
        return "" if module is self._main else module.path

    def _file(self, module: Module) -> str:
        return f"{self._name(module)} [{self.namespace}]"

    # -- files ------------------------------------------------------------------------------------

    def opening(self) -> None:
        self._opening = True

    def opened(self, module: Module, count: int) -> None:
        self._opening = False
        if "files" in self.wants:
            file = f"{self._path(module)} [{self.namespace}]"
            self.lines(f"opening file={file}; direct_opencount={count}", "")

    def pinned(self, module: Module) -> None:
        if "bindings" in self.wants:
            why = "NODELETE due to reference from main program"
            self.lines(f"marking {self._file(module)} as {why}")

    def depends(self, module: Module, definer: Module) -> None:
        if "files" in self.wants:
            files = f"file={self._file(definer)};  needed by {self._file(module)}"
            self.lines("", f"{files} (relocation dependency)", "")

    def kept(self, module: Module) -> None:
        if "files" in self.wants:
            self.lines(f"activating NODELETE for {self._file(module)}")

    def failed(self, module: Module, text: str) -> None:
        if self.wants - {"statistics"}:
            self.lines(f"{self._name(module)}: error: symbol lookup error: {text} (fatal)")

    def closing(self, module: Module, count: int) -> None:
        if "files" in self.wants:
            self.lines("", f"closing file={self._path(module)}; direct_opencount={count}")

    def removed(self, module: Module) -> None:
        if "files" in self.wants:
            self.lines("", f"file={self._file(module)};  destroying link map")

    def searching(self, name: str, requester: Module | None) -> None:
        how = "dynamically loaded" if self._opening else "needed"
        self._opening, self._asked = False, name
        if "files" in self.wants and requester is not None:
            file = f"file={name} [{self.namespace}]"
            self.lines("", f"{file};  {how} by {self._file(requester)}")

    def postponed(self, name: str, requester: Module) -> None:
        if "files" in self.wants:
            file = f"file={name} [{self.namespace}]"
            self.lines("", f"{file};  needed by {self._file(requester)}; left until a symbol is")

    def lazy_loading(self, name: str, requester: Module, symbol: str) -> None:
        if self.wants & {"files", "bindings"}:
            # In the words of Solaris' ld.so.1 (Linker and Libraries Guide, "Lazy Loading of Dynamic Dependencies").
            file = f"file={name} [{self.namespace}]"
            self.lines("", f"{file};  lazy loading from {self._file(requester)}: symbol={symbol}")

    def searched(self, name: str, lines: list[str]) -> None:  # noqa: ARG002
        if "libs" in self.wants:
            if self._main is not None:
                path, argv0 = f" from file {self._main.path})", f" from file {self._argv0})"
                lines = [line.replace(path, argv0) for line in lines]
            self.lines(*lines)

    def module(self, module: Module) -> None:
        if self._main is None and self._argv0:
            self._main = module
        if "files" in self.wants and module.loader is not None:
            self.lines(f"file={self._asked} [{self.namespace}];  generating link map")
            if self._held is not None:
                lines: list[str] = []
                self._placed[module] = lines
                self._held.append(lines)

    def placed(self, module: Module) -> None:
        if "files" not in self.wants:
            return
        file, base = module.file, module.base
        digits = file.bits // 4
        low, high = file.span
        dynamic = next((s.vaddr for s in file.segments if s.type == 2), 0)
        start = f"  dynamic: 0x{base + dynamic:0{digits}x}  base: 0x{base:0{digits}x}"
        entry = f"    entry: 0x{base + file.entry:0{digits}x}  phdr: 0x{base + low + file.phoff:0{digits}x}"
        lines = [
            f"{start}   size: 0x{high - low:0{digits}x}",
            f"{entry}  phnum: {file.phnum:>{digits + 2}}",
            "",
        ]
        if self._held is None:
            self.lines(f"file={self._file(module)}", *lines)
        elif module in self._placed:
            self._placed[module][:] = lines

    # -- versions, scopes, symbols, bindings, relocation ------------------------------------------

    def version(self, name: str, provider: Module, requester: Module) -> None:
        if "versions" in self.wants:
            files = f"{self._file(provider)} required by file {self._file(requester)}"
            self.lines(f"checking for version `{name}' in file {files}")

    def scope(self, module: Module, lists: Scopes | None = None, first: int = 0) -> None:
        if "scopes" not in self.wants:
            return
        if not self._scopes_begun:
            self._scopes_begun = True
            self.lines("", "Initial object scopes")
        lists = [scope.modules for scope in module.scopes] if lists is None else lists
        scopes = [
            f" scope {i}: {' '.join([self._name(m) for m in modules])}"
            for i, modules in enumerate(lists)
            if i >= first
        ]
        self.lines(f"object={self._file(module)}", *(scopes or [" no scope"]), "")

    def made_global(self, module: Module) -> None:
        if "scopes" in self.wants:
            self.lines("", f"add {self._file(module)} to global scope")

    def exec(self, step: str, text: str) -> None:
        if "exec" in self.wants:
            self.lines(f"exec: {step}: {text}")

    def looked_up(self, symbol: str, module: Module) -> None:
        if "symbols" in self.wants:
            self.lines(f"symbol={symbol};  lookup in file={self._file(module)}")

    def bound(
        self, referrer: Module, definer: Module | None, symbol: str, version: str | None, kind: str
    ) -> None:
        if "bindings" in self.wants and definer is not None:
            word = "protected" if kind == "protected" else "normal"
            tail = f" [{version}]" if version else ""
            self.lines(
                f"binding file {self._file(referrer)} to {self._file(definer)}: {word} symbol `{symbol}'{tail}"
            )

    def called(
        self, referrer: Module, definer: Module | None, symbol: str, words: Sequence[int]
    ) -> None:
        if "calls" in self.wants:
            text = ", ".join(map(hex, words))
            self.lines(
                f"call from file {self._file(referrer)} to {self._target(definer)}: {symbol}({text})"
            )

    def returned(self, referrer: Module, definer: Module | None, symbol: str, result: int) -> None:
        if "calls" in self.wants:
            files = f"{self._file(referrer)} from {self._target(definer)}"
            self.lines(f"return to file {files}: {symbol} = {result:#x}")

    def _target(self, definer: Module | None) -> str:
        return self._file(definer) if definer is not None else "?"

    def relocating(self, module: Module, lazy: bool) -> None:
        if "reloc" in self.wants:
            self.lines(
                "", f"relocation processing: {self._name(module)}{' (lazy)' if lazy else ''}"
            )

    def relocated(self, module: Module, counts: dict[str, int]) -> None:  # noqa: ARG002
        for name, count in counts.items():
            self._counts[name] = self._counts.get(name, 0) + count

    # -- functions --------------------------------------------------------------------------------

    def preinit(self, module: Module) -> None:
        if self.wants & CALLS:
            self.lines("", f"calling preinit: {self._name(module)}", "")

    def init(self, module: Module) -> None:
        if self.wants & CALLS:
            self.lines("", f"calling init: {self._name(module)}", "")

    def fini(self, module: Module) -> None:
        if self.wants & CALLS:
            self.lines("", f"calling fini: {self._path(module)} [{self.namespace}]", "")

    def begin(self, module: Module) -> None:
        if self.wants & CALLS:
            self.lines("", f"initialize program: {self._name(module)}", "")

    def transfer(self, module: Module) -> None:
        self.statistics()
        if self.wants & CALLS:
            self.lines("", f"transferring control: {self._name(module)}", "")

    def pass_done(self, name: str, seconds: float, detail: dict[str, Any]) -> None:  # noqa: ARG002
        self._seconds[name] = self._seconds.get(name, 0.0) + seconds

    def statistics(self) -> None:
        """Time and relocations up to the start, once; ld.so counts in cycles, this in milliseconds of CPU time."""
        if "statistics" not in self.wants or self._told:
            return
        self._told = True
        total = sum(self._seconds.values())
        relative = sum(count for name, count in self._counts.items() if name.endswith("_RELATIVE"))
        self.lines(
            "",
            "runtime linker statistics:",
            f"  total startup time in dynamic loader: {total * 1e3:.3f} ms",
        )
        for name, seconds in self._seconds.items():
            self.lines(f"{f'time needed for {name}':>39}: {seconds * 1e3:.3f} ms")
        self.lines(
            f"                 number of relocations: {sum(self._counts.values()) - relative}",
            f"        number of relative relocations: {relative}",
        )


class Progress:
    """Told how a long piece of work goes on; this one says nothing. Methods may be called from several threads."""

    def begin(self, what: str, total: int) -> None:
        """A stage of so many bytes, or 0 if that is not known."""

    def advance(self, count: int) -> None:
        """So many of them are done."""

    def note(self, text: str) -> None:
        """Something that the user may want to know."""

    def end(self) -> None:
        """The stage is over."""


class Record(Reporter):
    """Keeps everything, in order, as (event, values): for reports that are made when the link is done."""

    wants = frozenset(CATEGORIES)

    def __init__(self) -> None:
        self.events: list[tuple[str, tuple[Any, ...]]] = []

    def of(self, event: str) -> list[tuple[Any, ...]]:
        """The values of every event of one kind."""
        return [values for name, values in self.events if name == event]


def _recorder(name: str) -> Any:
    def record(self: Record, *values: Any) -> None:
        self.events.append((name, values))

    record.__name__ = name
    return record


# Every method of Reporter, now and later.
for _name, _method in list(vars(Reporter).items()):
    if callable(_method) and not _name.startswith("_"):
        setattr(Record, _name, _recorder(_name))
