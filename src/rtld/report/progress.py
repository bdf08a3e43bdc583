"""How a long piece of work goes on, on standard error: a bar on a terminal, a line at the end of each stage elsewhere."""

from __future__ import annotations

import shutil
import sys
import threading
import time

from rtld.debian.sysroot import Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

_EVERY = 0.1  # seconds between two states of the bar
_WIDTH = 30


class Bar(Progress):
    """``indices    [#########.....................]  8.8 of 28.6 MB``"""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.visible = self.stream is not None and self.stream.isatty()
        self._what = ""
        self._done = self._total = 0
        self._shown = 0.0
        self._lock = threading.Lock()

    def begin(self, what: str, total: int) -> None:
        """A stage of so many bytes, or 0 if that is not known."""
        with self._lock:
            self._what, self._total, self._done, self._shown = what, total, 0, 0.0
            self._show()

    def advance(self, count: int) -> None:
        """So many of them are done."""
        with self._lock:
            self._done += count
            if time.monotonic() - self._shown >= _EVERY:
                self._show()

    def note(self, text: str) -> None:
        """A line of its own."""
        with self._lock:
            self._clear()
            self._write(f"rtld: {text}\n")

    def end(self) -> None:
        """The stage is over; the bar goes away."""
        with self._lock:
            self._clear()
            if not self.visible and self._what and self._done:
                self._write(f"rtld: {self._what}: {_megabytes(self._done)} MB\n")
            self._what = ""

    def _show(self) -> None:
        self._shown = time.monotonic()
        if not self.visible or not self._what:
            return
        if self._total:
            full = min(self._done * _WIDTH // self._total, _WIDTH)
            bar = f"[{'#' * full}{'.' * (_WIDTH - full)}]  {_megabytes(self._done)} of {_megabytes(self._total)} MB"
        else:
            bar = f"{_megabytes(self._done)} MB"
        line = f"{self._what:<10} {bar}"[: shutil.get_terminal_size().columns - 1]
        self._write(f"\r\033[K{line}")

    def _clear(self) -> None:
        if self.visible:
            self._write("\r\033[K")

    def _write(self, text: str) -> None:
        if self.stream is not None:
            self.stream.write(text)
            self.stream.flush()


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f}"
