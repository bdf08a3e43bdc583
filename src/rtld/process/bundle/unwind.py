"""One table for unwinders: they look for one in the object that the bundle is (LSB core 10.6.2; ARM EHABI, section 5).

The modules' own tables are sorted; their union is sorted again, its entries relative to the new place.
"""

from __future__ import annotations

import numpy as np

from rtld.elf import types as t
from rtld.elf.ehframe import search_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rtld.core.module import Module
    from rtld.process.bundle.plan import Bundle

# DW_EH_PE_*
_PCREL_SDATA4, _UDATA4, _TABLE = 0x1B, 0x03, 0x3B
_CANTUNWIND = 1


def _read_table(module: Module) -> NDArray[np.int64]:
    """(address of a function, address of its description) of a module's .eh_frame_hdr, n by 2."""
    table = search_table(module.file)
    return np.empty((0, 2), np.int64) if table is None else table + module.base


def merged_table(bundle: Bundle, address: int) -> bytes:
    """The new .eh_frame_hdr, to stand at *address*; b"" where no module has one."""
    every = np.concatenate([np.empty((0, 2), np.int64), *map(_read_table, bundle.fused)])
    if not len(every):
        return b""
    every = every[np.argsort(every[:, 0], kind="stable")]
    # The pointer to .eh_frame is for searches without a table; it must lead to some.
    first = int(every[0, 1])
    head = np.array([first - address - 4, len(every)], f"{bundle.order}i4").tobytes()
    body = (every - address).astype(f"{bundle.order}i4").tobytes()
    return bytes((1, _PCREL_SDATA4, _UDATA4, _TABLE)) + head + body


def merged_exidx(bundle: Bundle, address: int) -> bytes:
    """ARM: the new .ARM.exidx, to stand at *address*; b"" elsewhere."""
    parts = []
    for module in bundle.fused:
        segment = module.file.segment(t.PT_ARM_EXIDX) if bundle.arch.name == "arm" else None
        if segment is None or not segment.filesz:
            continue
        data = module.file.contents(segment)
        count = segment.filesz // 8
        rows = np.frombuffer(data, "<u4", 2 * count).reshape(-1, 2).astype(np.int64)
        place = module.base + segment.vaddr + 8 * np.arange(count, dtype=np.int64)
        function = _prel31(rows[:, 0]) + place
        inline = (rows[:, 1] == _CANTUNWIND) | (rows[:, 1] >> 31 != 0)
        where = np.where(inline, rows[:, 1], _prel31(rows[:, 1]) + place + 4)
        parts.append(np.stack([function, where, inline.astype(np.int64)], axis=1))
    if not parts:
        return b""
    every = np.concatenate(parts)
    every = every[np.argsort(every[:, 0], kind="stable")]
    place = address + 8 * np.arange(len(every), dtype=np.int64)
    out = np.empty((len(every), 2), "<u4")
    out[:, 0] = every[:, 0] - place & 0x7FFFFFFF
    out[:, 1] = np.where(every[:, 2] != 0, every[:, 1], every[:, 1] - place - 4 & 0x7FFFFFFF)
    return out.tobytes()


def _prel31(words: NDArray[np.int64]) -> NDArray[np.int64]:
    """The signed 31-bit distance in a word."""
    result: NDArray[np.int64] = ((words & 0x7FFFFFFF) ^ 0x40000000) - 0x40000000
    return result
