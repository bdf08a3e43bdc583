"""Who is told: one method for each thing worth telling, every one of them a no-op by default.

The passes report here and nowhere else; the core never prints, logs or guesses. The methods follow the words of
LD_DEBUG: libs (``candidate``, ``found``), files (``module``, ``relocated``, ``init``, ``fini``), scopes (``scope``),
versions (``version``), symbols (``looked_up``), bindings (``bound``), reloc (``relocated``), statistics
(``pass_done``). ``Quiet`` is the base itself; ``Trace`` writes what LD_DEBUG would; ``Record`` keeps everything.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Protocol

    from rtld.core.module import Module

    class Sink(Protocol):
        """Where a trace goes."""

        def write(self, text: str, /) -> object: ...
        def flush(self) -> object: ...


class Reporter:
    """Base and null reporter. ``wants`` says which categories are worth preparing arguments for."""

    wants: frozenset[str] = frozenset()

    def searching(self, name: str, requester: Module | None) -> None:
        """A library of this name is looked for on behalf of ``requester``."""

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

    def scope(self, module: Module) -> None:
        """A module's scopes are fixed."""

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

    def init(self, module: Module) -> None:
        """A module's initialisers are about to run."""

    def fini(self, module: Module) -> None:
        """A module's termination functions are about to run."""

    def transfer(self, module: Module) -> None:
        """Control goes to the program."""

    def pass_done(self, name: str, seconds: float, detail: dict[str, Any]) -> None:
        """A pass ended after ``seconds`` of CPU time."""

    def message(self, text: str) -> None:
        """What the platform's dynamic linker would write on the program's standard error, in its words."""


class Spoken(Reporter):
    """Says what a dynamic linker says by itself, on standard error, and nothing else."""

    def message(self, text: str) -> None:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


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
    "help":       "display this help message and exit",
}
# fmt: on
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
    """Writes what LD_DEBUG would, in its words, each line behind the number of the process it is about."""

    def __init__(
        self, wants: Iterable[str], sink: Sink, pid: int | Callable[[], int] = 0, namespace: int = 0
    ) -> None:
        self.wants = frozenset(wants)
        self.sink = sink
        self.pid = pid or os.getpid()  # whoever starts a process sets its number here
        self.namespace = namespace
        self._scopes_begun = False
        self._told = False
        self._counts: dict[str, int] = {}
        self._seconds: dict[str, float] = {}

    def lines(self, *lines: str) -> None:
        """Write lines as ld.so does: the number of the process, a colon, a TAB."""
        pid = self.pid if isinstance(self.pid, int) else self.pid()
        self.sink.write("".join([f"{pid:>10}:\t{line}\n" for line in lines]))

    def searching(self, name: str, requester: Module | None) -> None:
        if "files" in self.wants and requester is not None:
            n = self.namespace
            self.lines("", f"file={name} [{n}];  needed by {requester.path} [{n}]")

    def searched(self, name: str, lines: list[str]) -> None:  # noqa: ARG002
        if "libs" in self.wants:
            self.lines(*lines)

    def module(self, module: Module) -> None:
        if "files" in self.wants and module.loader is not None:
            name = module.found.path.rpartition("/")[2] if module.found is not None else module.path
            self.lines(f"file={name} [{self.namespace}];  generating link map")

    def placed(self, module: Module) -> None:
        if "files" not in self.wants:
            return
        file, base = module.file, module.base
        digits = file.bits // 4
        low, high = file.span
        dynamic = next((s.vaddr for s in file.segments if s.type == 2), 0)
        self.lines(
            f"file={module.path} [{self.namespace}]",
            f"  dynamic: 0x{base + dynamic:0{digits}x}  base: 0x{base:0{digits}x}   size: 0x{high - low:0{digits}x}",
            f"    entry: 0x{base + file.entry:0{digits}x}  phdr: 0x{base + low + file.phoff:0{digits}x}  "
            f"phnum: {file.phnum:>{digits + 2}}",
            "",
        )

    def version(self, name: str, provider: Module, requester: Module) -> None:
        if "versions" in self.wants:
            n = self.namespace
            self.lines(
                f"checking for version `{name}' in file {provider.path} [{n}] required by file {requester.path} [{n}]"
            )

    def scope(self, module: Module) -> None:
        if "scopes" not in self.wants:
            return
        if not self._scopes_begun:
            self._scopes_begun = True
            self.lines("", "Initial object scopes")
        scopes = [
            f" scope {i}: {' '.join([m.path for m in scope.modules])}"
            for i, scope in enumerate(module.scopes)
        ]
        self.lines(f"object={module.path} [{self.namespace}]", *(scopes or [" no scope"]), "")

    def looked_up(self, symbol: str, module: Module) -> None:
        if "symbols" in self.wants:
            self.lines(f"symbol={symbol};  lookup in file={module.path} [{self.namespace}]")

    def bound(
        self, referrer: Module, definer: Module | None, symbol: str, version: str | None, kind: str
    ) -> None:
        if "bindings" in self.wants and definer is not None:
            n = self.namespace
            word = "protected" if kind == "protected" else "normal"
            tail = f" [{version}]" if version else ""
            self.lines(
                f"binding file {referrer.path} [{n}] to {definer.path} [{n}]: {word} symbol `{symbol}'{tail}"
            )

    def relocating(self, module: Module, lazy: bool) -> None:
        if "reloc" in self.wants:
            self.lines("", f"relocation processing: {module.path}{' (lazy)' if lazy else ''}")

    def relocated(self, module: Module, counts: dict[str, int]) -> None:  # noqa: ARG002
        for name, count in counts.items():
            self._counts[name] = self._counts.get(name, 0) + count

    def init(self, module: Module) -> None:
        if self.wants & {"files", "libs"}:
            self.lines("", f"calling init: {module.path}", "")

    def fini(self, module: Module) -> None:
        if self.wants & {"files", "libs"}:
            self.lines("", f"calling fini: {module.path} [{self.namespace}]", "")

    def transfer(self, module: Module) -> None:
        self.statistics()
        if self.wants & {"files", "libs"}:
            self.lines(
                "",
                f"initialize program: {module.path}",
                "",
                "",
                f"transferring control: {module.path}",
                "",
            )

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
