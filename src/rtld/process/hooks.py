"""``Hooks``: what may be asked and changed while libraries are opened, bound and called, with the powers of LD_AUDIT.

They are the same for libraries in this process (``process/inprocess/hooks.py``) and in a guest (``process/foreign/hooks.py``),
and for programs of emulated CPUs.
"""

from __future__ import annotations

from typing import Protocol

from rtld.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.core.module import Module


class Call(Protocol):
    """A call through a PLT slot, as it enters: its arguments may be read and changed, its target too.

    ``integers``, ``floats``: what the registers for arguments have (i386: the first words of the stack, and none);
    ``stack``: words of arguments behind them. After it has returned, ``result`` and ``float_result`` may be read and
    changed. ``data`` is for the hook's own use in between.
    """

    symbol: str
    referrer: Module
    definer: Module | None
    target: int
    data: Any
    result: int
    float_result: float

    @property
    def integers(self) -> Any: ...
    @property
    def floats(self) -> Any: ...
    @property
    def stack(self) -> Any: ...
    @property
    def caller(self) -> int: ...


class Hooks:
    """What one may want to be told or to change; override what is wanted (rtld-audit(7) has the same under la_*).

    activity    libraries are about to be added ("add"), to go ("delete"); the list is whole again ("consistent")
    objsearch   a library is looked for: return another name, or None to find nothing
    objopen     a library has been mapped and bound, before its initialisers
    symbind     a symbol was bound: return another address (or a function of ctypes) to redirect it
    watches     whether calls of this symbol from this library are to be seen by pltenter and pltexit
    pltenter    such a call begins; ``call`` may be changed. True: the result is wanted by pltexit
    pltexit     it has returned
    objclose    a library is about to be finished and unmapped
    """

    #: Bytes of arguments on the stack that are copied for a call whose result is wanted.
    stack_bytes = 128

    def activity(self, state: str) -> None:
        pass

    def objsearch(self, name: str, requester: Module | None) -> str | None:  # noqa: ARG002
        return name

    def objopen(self, module: Module) -> None:
        pass

    def symbind(self, symbol: str, referrer: Module, definer: Module | None, address: int) -> Any:  # noqa: ARG002
        return address

    def watches(self, symbol: str, referrer: Module, definer: Module | None) -> bool:  # noqa: ARG002
        return False

    def pltenter(self, call: Call) -> bool | None:
        pass

    def pltexit(self, call: Call) -> None:
        pass

    def objclose(self, module: Module) -> None:
        pass


def overridden(hooks: Hooks, name: str) -> bool:
    """Whether a hook does something."""
    return getattr(type(hooks), name) is not getattr(Hooks, name)


class SearchHook:
    """Put before a space's search rules: ``objsearch`` sees each name first."""

    def __init__(self, rules: Any, hooks: Hooks) -> None:
        self._rules = rules
        self._hooks = hooks

    def find(self, name: str, requester: Module | None, preload: bool) -> Any:
        wanted = self._hooks.objsearch(name, requester)
        if wanted is None:
            raise NotFound(name, requester.path if requester else None)
        return self._rules.find(wanted, requester, preload)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rules, name)
