"""A line on a terminal that tells how far long work has come; nothing where nobody looks."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

_WIDTH = 24
_PATIENCE = 0.3  # seconds before anything is shown


class Progress:
    """``progress("writing", 3, 10)``; the line goes when the work is done."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.visible = stream is not None and stream.isatty()
        self.begin = time.monotonic()
        self.shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self.shown:
            self.stream.write("\r\033[K")
            self.stream.flush()

    def __call__(self, what: str, done: int, total: int) -> None:
        if not self.visible or time.monotonic() - self.begin < _PATIENCE:
            return
        full = _WIDTH * done // max(total, 1)
        bar = f" [{'#' * full}{' ' * (_WIDTH - full)}] {done}/{total}" if total > 1 else " ..."
        self.stream.write(f"\r\033[K{what}{bar}")
        self.stream.flush()
        self.shown = True
