"""``--trace=calls``: every call through a PLT slot, told when it begins and when it has returned."""

from __future__ import annotations

from rtld.process.hooks import Hooks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.core.module import Module
    from rtld.events import Reporter
    from rtld.process.hooks import Call

WORDS = 3  # arguments that are shown: how many there are, nobody knows


class CallTrace(Hooks):
    """Tells a reporter; changes nothing. For libraries of this process, of a guest, and for programs of emulated CPUs."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter

    def watches(self, symbol: str, referrer: Module, definer: Module | None) -> bool:  # noqa: ARG002
        return True

    def pltenter(self, call: Call) -> bool:
        integers = call.integers
        words = [integers[i] for i in range(min(WORDS, len(integers)))]
        self.reporter.called(call.referrer, call.definer, call.symbol, words)
        return True

    def pltexit(self, call: Call) -> None:
        self.reporter.returned(call.referrer, call.definer, call.symbol, call.result)
