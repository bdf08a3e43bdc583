"""Modules that are imported when they are used: for those that most starts of a program do without.

if TYPE_CHECKING:
    import socket
else:
    socket = Late("socket")
"""

from __future__ import annotations

import sys


class Late:
    """Stands for the module of that name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> object:
        __import__(self._name)
        return getattr(sys.modules[self._name], attribute)
