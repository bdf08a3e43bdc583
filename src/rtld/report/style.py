"""Colours, only where somebody sees them: a terminal, unless NO_COLOR; FORCE_COLOR everywhere (no-color.org)."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


class Style:
    """``style.red("text")`` and so on; the text itself where there are no colours."""

    def __init__(self, coloured: bool) -> None:
        self.coloured = coloured

    def paint(self, text: str, colour: str) -> str:
        return f"\033[{_CODES[colour]}m{text}\033[0m" if self.coloured and text else text

    def bold(self, text: str) -> str:
        return self.paint(text, "bold")

    def dim(self, text: str) -> str:
        return self.paint(text, "dim")

    def red(self, text: str) -> str:
        return self.paint(text, "red")

    def green(self, text: str) -> str:
        return self.paint(text, "green")

    def yellow(self, text: str) -> str:
        return self.paint(text, "yellow")

    def cyan(self, text: str) -> str:
        return self.paint(text, "cyan")


def style_for(stream: Any) -> Style:
    """The style for what is written to ``stream``."""
    if os.environ.get("NO_COLOR"):
        return PLAIN
    forced = os.environ.get("FORCE_COLOR", "")
    if forced and forced != "0":
        return Style(True)
    return Style(stream.isatty() and os.environ.get("TERM") != "dumb")


PLAIN = Style(False)
