"""Whose addresses a program is linked against: the part of a back end that the passes see."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class AddressSpace(Protocol):
        """Gives addresses. Only ``reserve`` is needed to link; a ``Backend`` adds memory and a CPU to it."""

        def reserve(self, size: int, align: int, at: int | None = None) -> int:
            """An address range of ``size`` bytes at a multiple of ``align``, or exactly ``at``. NoSpace if none."""
            ...


def page_up(value: int, page: int = 4096) -> int:
    """``value`` rounded up to whole pages."""
    return (value + page - 1) & -page
