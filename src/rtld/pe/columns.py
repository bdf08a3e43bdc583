"""Tables of addresses as columns: where in the file each stands, all at once."""

from __future__ import annotations

import numpy as np

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.pe.file import PeFile

    Array = np.ndarray[Any, np.dtype[Any]]


def table(file: PeFile, rva: int, count: int, form: str, what: str) -> Array:
    """``count`` numbers at an address as a view of the file. FormatError when they are not all in one section."""
    kind = np.dtype(form)
    if count == 0:
        return np.zeros(0, kind)
    at = file.locate(rva, count * kind.itemsize, what)
    return np.frombuffer(file.data, kind, count, at)


def offsets(file: PeFile, rvas: Array, size: int, what: str) -> Array:
    """int64[n]: the file offset of each [rva, rva + size); -1 where the file has no such bytes (strict: FormatError)."""
    if not len(rvas):
        return np.zeros(0, np.int64)
    rvas = np.clip(rvas.astype(np.int64), -1, 1 << 33)  # so that no sum overflows
    moved: Array
    low, high = int(rvas.min()), int(rvas.max())
    for section in file.sections:
        start = section.address
        if start <= low and high + size <= start + section.filled:
            moved = rvas + (section.offset - start)
            return moved
    starts, ends, shifts = _spans(file)
    row = np.searchsorted(starts, rvas, side="right") - 1
    good = (row >= 0) & (rvas + size <= ends[row])
    if not good.all():
        bad = int(rvas[int(np.argmin(good))])
        file.complain(what, "RVA", bad, "an address inside a section of the file")
    return np.where(good, rvas + shifts[row], -1)


def _spans(file: PeFile) -> tuple[Array, Array, Array]:
    found = file.cache.get("spans")
    if found is None:
        rows = [(s.address, s.address + s.filled, s.offset - s.address) for s in file.sections]
        columns = np.array(rows, np.int64).reshape(-1, 3)
        found = file.cache["spans"] = (columns[:, 0].copy(), columns[:, 1].copy(), columns[:, 2].copy())  # fmt: skip
    return found  # type: ignore[return-value]


def until_zero(values: Array) -> int:
    """How many numbers stand before the first zero; all, when there is none."""
    done, step = 0, 64
    while done < len(values):
        zeros = values[done : done + step] == 0
        first = int(zeros.argmax())
        if zeros[first]:
            return done + first
        done += step
        step *= 2
    return len(values)
