"""How Debian versions compare: [epoch:]upstream[-revision] (Debian Policy 5.6.12)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_DIGITS = frozenset("0123456789")
_END = (0, "")


def version_key(version: str) -> tuple[Any, ...]:
    """Something that sorts as versions do."""
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, dash, revision = rest.rpartition("-")
    if not dash:
        upstream, revision = rest, "0"
    return (
        int(epoch) if epoch.isascii() and epoch.isdigit() else 0,
        _parts(upstream),
        _parts(revision),
    )


def _parts(text: str) -> tuple[tuple[tuple[tuple[int, str], ...], int], ...]:
    """Stretches of other characters and numbers, by turns. "~" is less than the end, letters less than the rest."""
    parts = []
    at = 0
    while at < len(text):
        other = []
        while at < len(text) and text[at] not in _DIGITS:
            c = text[at]
            other.append((-1, c) if c == "~" else (1, c) if c.isalpha() else (2, c))
            at += 1
        start = at
        while at < len(text) and text[at] in _DIGITS:
            at += 1
        parts.append(((*other, _END), int(text[start:at] or "0")))
    return (*parts, ((_END,), 0))


def satisfies(version: str, relation: str, wanted: str) -> bool:
    """Whether ``version relation wanted`` holds; relations of Debian Policy 7.1."""
    a, b = version_key(version), version_key(wanted)
    if relation == "<<":
        return a < b
    if relation in ("<=", "<"):
        return a <= b
    if relation == "=":
        return a == b
    if relation in (">=", ">"):
        return a >= b
    if relation == ">>":
        return a > b
    return False
