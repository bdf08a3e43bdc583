"""The table that an unwinder searches: .eh_frame_hdr (LSB Core, "Exception Frames")."""

from __future__ import annotations

import numpy as np

from rtld.elf import types as t

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from rtld.elf.file import ElfFile

#: Version 1; DW_EH_PE_pcrel | sdata4, udata4, datarel | sdata4: what every linker writes.
_FORM = bytes((1, 0x1B, 0x03, 0x3B))
_HEADER = 12


def search_table(file: ElfFile) -> NDArray[np.int64] | None:
    """(p_vaddr of a function, of its description), n by 2; None where there is no such table. FormatError."""
    segment = file.segment(t.PT_GNU_EH_FRAME)
    if segment is None or segment.filesz < _HEADER:
        return None
    data = file.contents(segment)
    if bytes(data[:4]) != _FORM:
        return None
    order: Any = "little" if file.order == "<" else "big"
    count = int.from_bytes(data[8:12], order)
    most = (segment.filesz - _HEADER) // 8
    if count > most:
        raise file.fail(".eh_frame_hdr", "fde_count", count, f"at most {most}")
    rows = np.frombuffer(data, f"{file.order}i4", 2 * count, _HEADER).reshape(-1, 2)
    table: NDArray[np.int64] = rows.astype(np.int64) + segment.vaddr
    return table
