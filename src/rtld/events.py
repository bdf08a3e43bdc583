"""Who is told: one method for each thing worth telling, every one of them a no-op by default.

The passes report here and nowhere else; the core never prints, logs or guesses. The methods follow the words of
LD_DEBUG: libs (``candidate``, ``found``), files (``module``, ``relocated``, ``init``, ``fini``), scopes (``scope``),
versions (``version``), symbols (``looked_up``), bindings (``bound``), reloc (``relocated``), statistics
(``pass_done``). ``Quiet`` is the base itself; ``Trace`` writes what LD_DEBUG would; ``Record`` keeps everything.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.core.module import Module


class Reporter:
    """Base and null reporter. ``wants`` says which categories are worth preparing arguments for."""

    wants: frozenset[str] = frozenset()

    def searching(self, name: str, requester: Module | None) -> None:
        """A library of this name is looked for on behalf of ``requester``."""

    def candidate(self, path: str, rule: str, outcome: str) -> None:
        """A path was tried by ``rule``; ``outcome`` is "found" or why it was refused."""

    def module(self, module: Module) -> None:
        """A module was added to the namespace."""

    def version(self, name: str, provider: Module, requester: Module) -> None:
        """A required version was checked."""

    def scope(self, module: Module) -> None:
        """A module's scopes are fixed."""

    def looked_up(self, symbol: str, module: Module) -> None:
        """A module of the scope was asked for a symbol."""

    def bound(self, referrer: Module, definer: Module | None, symbol: str, version: str | None, kind: str) -> None:
        """A reference got its definition (None: undefined weak)."""

    def relocated(self, module: Module, counts: dict[str, int]) -> None:
        """A module's relocations of each type were applied."""

    def init(self, module: Module) -> None:
        """A module's initialisers are about to run."""

    def fini(self, module: Module) -> None:
        """A module's termination functions are about to run."""

    def pass_done(self, name: str, seconds: float, detail: dict[str, Any]) -> None:
        """A pass ended after ``seconds`` of CPU time."""


QUIET = Reporter()
