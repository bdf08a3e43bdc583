"""scanf of Microsoft's C library: what a format takes from characters ("scanf Type conversion specifiers", learn.microsoft.com)."""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rtld.backends.windows.api import VarArgs
    from rtld.backends.windows.system import System

_SPACE = frozenset(" \t\n\r\v\f")
_MOST = 1 << 16


class Source:
    """Characters, one after the other, of which the last can be given back."""

    def __init__(self, take: Callable[[], int], give_back: Callable[[int], None]) -> None:
        self._take = take
        self._back = give_back
        self.count = 0
        self.ended = False

    def take(self) -> str:
        """The next one; "" at the end."""
        code = self._take()
        if code < 0:
            self.ended = True
            return ""
        self.count += 1
        return chr(code)

    def back(self, letter: str) -> None:
        if letter:
            self.count -= 1
            self._back(ord(letter))


def of_text(text: str) -> Source:
    """The characters of a string."""
    at = [0]

    def take() -> int:
        if at[0] >= len(text):
            return -1
        at[0] += 1
        return ord(text[at[0] - 1])

    def back(_code: int) -> None:
        at[0] -= 1

    return Source(take, back)


def scan(system: System, source: Source, form: str, values: VarArgs, *, wide: bool = False) -> int:
    """So many values were stored; -1 when the end came before the first."""
    done = at = 0
    tried = False
    while at < len(form):
        letter = form[at]
        at += 1
        if letter in _SPACE:
            _skip(source)
            continue
        if letter != "%":
            got = source.take()
            if got != letter:
                source.back(got)
                return done if done or not source.ended else -1
            continue
        skip = form[at : at + 1] == "*"
        at += skip
        start = at
        while form[at : at + 1].isdigit():
            at += 1
        width = min(int(form[start:at]), _MOST) if at > start else _MOST
        size = ""
        for each in ("I64", "I32", "hh", "ll", "h", "l", "L", "w", "I", "z", "t", "j"):
            if form.startswith(each, at):
                size, at = each, at + len(each)
                break
        kind = form[at : at + 1]
        at += 1
        if kind == "%":
            _skip(source)
            got = source.take()
            if got != "%":
                source.back(got)
                return done if done or not source.ended else -1
            continue
        if kind == "n":
            if not skip:
                system.put(values.pointer(), source.count, _size(system, size))
            continue
        chosen: tuple[str, bool] | None = None
        if kind == "[":
            chosen, at = _set(form, at)
        if kind not in "c[C":
            _skip(source)
        tried = True
        stored = _one(system, source, kind, size, width, chosen, None if skip else values, wide)
        if not stored:
            return done if done or not source.ended else -1
        done += not skip
    return done if tried or done or not source.ended else -1


def _size(system: System, size: str) -> int:
    if size in ("I64", "ll", "j"):
        return 8
    if size in ("I", "z", "t"):
        return system.word
    return {"hh": 1, "h": 2}.get(size, 4)


def _skip(source: Source) -> None:
    while (got := source.take()) in _SPACE and got:
        pass
    source.back(got)


def _set(form: str, at: int) -> tuple[tuple[str, bool], int]:
    """The characters in brackets, and whether all others are meant; where the format goes on."""
    negated = form[at : at + 1] == "^"
    at += negated
    end = form.find("]", at + 1)
    end = len(form) if end < 0 else end
    body, letters = form[at:end], ""
    index = 0
    while index < len(body):
        if body[index + 1 : index + 2] == "-" and index + 2 < len(body):
            low, high = sorted((ord(body[index]), ord(body[index + 2])))
            letters += "".join(map(chr, range(low, high + 1)))
            index += 3
        else:
            letters += body[index]
            index += 1
    return (letters, negated), end + 1


def _one(system: System, source: Source, kind: str, size: str, width: int, chosen: tuple[str, bool] | None, values: VarArgs | None, wide: bool) -> bool:  # fmt: skip
    """One conversion; False where nothing fits."""
    if kind in "diuxXop":
        base = {"d": 10, "u": 10, "i": 0, "o": 8}.get(kind, 16)
        number = _integer(source, base, width)
        if number is None:
            return False
        if values is not None:
            system.put(
                values.pointer(), number, system.word if kind == "p" else _size(system, size)
            )
        return True
    if kind in "eEfgGaA":
        real = _real(source, width)
        if real is None:
            return False
        if values is not None:
            data = struct.pack("<d", real) if size in ("l", "L") else _single(real)
            system.memory.write(values.pointer(), data)
        return True
    if kind in "sS[cC":
        return _text(system, source, kind, size, width, chosen, values, wide)
    return False


def _single(value: float) -> bytes:
    try:
        return struct.pack("<f", value)
    except OverflowError:
        return struct.pack("<f", float("inf") if value > 0 else float("-inf"))


def _integer(source: Source, base: int, width: int) -> int | None:
    sign, left = 1, width
    got = source.take()
    if got and got in "+-" and left > 1:
        sign, left, got = (-1 if got == "-" else 1), left - 1, source.take()
    digits = ""
    if got == "0" and base in (0, 16) and left > 0:
        digits, left, got = "0", left - 1, source.take()
        if got and got in "xX" and left > 0:
            base, left, got = 16, left - 1, source.take()
        elif base == 0:
            base = 8
    base = base or 10
    allowed = "0123456789abcdef"[:base]
    while got and left > 0 and got.lower() in allowed:
        digits += got
        left -= 1
        got = source.take() if left > 0 else ""
        if left <= 0:
            break
    source.back(got)
    return sign * int(digits, base) if digits else None


def _real(source: Source, width: int) -> float | None:
    text, left = "", width
    got = source.take()

    def more(allowed: str) -> bool:
        nonlocal text, left, got
        if got and left > 0 and got in allowed:
            text += got
            left -= 1
            got = source.take() if left > 0 else ""
            return True
        return False

    more("+-")
    count = 0
    while more("0123456789"):
        count += 1
    if more("."):
        while more("0123456789"):
            count += 1
    if not count:
        source.back(got)
        return None
    before = text
    if more("eE"):
        more("+-")
        if not more("0123456789"):
            text = before
        else:
            while more("0123456789"):
                pass
    source.back(got)
    return float(text)


def _text(system: System, source: Source, kind: str, size: str, width: int, chosen: tuple[str, bool] | None, values: VarArgs | None, wide: bool) -> bool:  # fmt: skip
    as_wide = size in ("l", "w") or (wide and size != "h" and kind in "sc[") or (not wide and kind in "SC" and size != "h")  # fmt: skip
    single = kind in "cC"
    width = 1 if single and width == _MOST else width
    taken: list[str] = []
    while len(taken) < width:
        got = source.take()
        if not got:
            break
        if (kind in "sS" and got in _SPACE) or (chosen is not None and (got in chosen[0]) == chosen[1]):  # fmt: skip
            source.back(got)
            break
        taken.append(got)
    if not taken or (single and len(taken) < width):
        return False
    if values is not None:
        text = "".join(taken) + ("" if single else "\0")
        data = text.encode("utf-16-le", "surrogatepass") if as_wide else text.encode("latin-1", "replace")  # fmt: skip
        system.memory.write(values.pointer(), data)
    return True
