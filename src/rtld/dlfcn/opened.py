"""What every opened library has, in this process or on an emulated CPU, and what ``with`` does with all that can be closed."""

from __future__ import annotations

from rtld.errors import RtldError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from rtld.core.module import Module


class Closed(RtldError):
    """A library, or a function of one, was used after it was closed."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(name)

    def __str__(self) -> str:
        return f"{self.name} has been closed"


class Closing:
    """``with`` closes it."""

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Opened(Closing):
    """A module that was opened, until it is closed."""

    _module: Module | None
    _name: str

    @property
    def module(self) -> Module:
        """The module it is; ``Closed`` when it is not there any more."""
        if self._module is None:
            raise Closed(self._name)
        return self._module

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._module is None

    @property
    def path(self) -> str:
        """The path it was found at."""
        return self._name

    @property
    def base(self) -> int:
        """The load bias: the address of p_vaddr 0, in the memory it is loaded into."""
        return self.module.base
