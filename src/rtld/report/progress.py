"""How a long piece of work goes on, on standard error: a line on a terminal that goes when the work is done."""

from __future__ import annotations

import shutil
import sys
import threading
import time

from rtld.events import Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self, TextIO

_EVERY = 0.1  # seconds between two states of the line
_PATIENCE = 0.3  # seconds of work before steps are shown
_WIDTH = 30


class Line:
    """The terminal's last line; nothing is written where nobody looks."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.visible = self.stream is not None and self.stream.isatty()

    def show(self, what: str, done: int, total: int, amount: str) -> None:
        """``indices    [#########.....................]  8.8 of 28.6 MB``; *total* 0: not known."""
        if self.visible:
            full = min(done * _WIDTH // total, _WIDTH) if total else 0
            bar = f"[{'#' * full}{'.' * (_WIDTH - full)}]  " if total else ""
            line = f"{what:<10} {bar}{amount}"[: shutil.get_terminal_size().columns - 1]
            self.write(f"\r\033[K{line}")

    def clear(self) -> None:
        """Take the line away."""
        if self.visible:
            self.write("\r\033[K")

    def write(self, text: str) -> None:
        """Text as it is."""
        if self.stream is not None:
            self.stream.write(text)
            self.stream.flush()


class Bar(Progress):
    """Bytes that are fetched or unpacked, in stages; elsewhere than on a terminal, a line at the end of each stage."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.line = Line(stream)
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
            self.line.clear()
            self.line.write(f"rtld: {text}\n")

    def end(self) -> None:
        """The stage is over; the bar goes away."""
        with self._lock:
            self.line.clear()
            if not self.line.visible and self._what and self._done:
                self.line.write(f"rtld: {self._what}: {_megabytes(self._done)} MB\n")
            self._what = ""

    def _show(self) -> None:
        self._shown = time.monotonic()
        if self._what:
            of = f" of {_megabytes(self._total)}" if self._total else ""
            self.line.show(self._what, self._done, self._total, f"{_megabytes(self._done)}{of} MB")


class Steps:
    """``steps("writing", 3, 10)``: work that is counted; ``with`` takes the line away at its end."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.line = Line(stream)
        self._begin = time.monotonic()
        self._shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._shown:
            self.line.clear()

    def __call__(self, what: str, done: int, total: int) -> None:
        if self.line.visible and time.monotonic() - self._begin >= _PATIENCE:
            self.line.show(what, done, max(total, 1), f"{done} of {total}" if total > 1 else "...")
            self._shown = True


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f}"
