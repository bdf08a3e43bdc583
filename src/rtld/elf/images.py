"""Images: what linking can change of each module, filled from its file, and the RELATIVE relocations in it.

All images are slices of one arena. Only the segments that relocation can change are in them; the rest of a module is its
file's own bytes.
"""

from __future__ import annotations

import numpy as np

from rtld.core.image import Image
from rtld.core.space import page_up
from rtld.elf.flat import flat, fresh
from rtld.elf.kernels import kernels
from rtld.elf.load import image_segments
from rtld.elf.tables import tables
from rtld.errors import NoSpace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from numpy.typing import NDArray

    from rtld.core.module import Module, Namespace

_PAGE = 4096


def build_images(ns: Namespace, modules: Sequence[Module]) -> None:
    """One array for each module, all in one anonymous mapping, filled from the files' writable segments."""
    parts = [(module, image_segments(module)) for module in modules]
    ranges = []
    total = 0
    for _module, segments in parts:
        low = segments[0].vaddr & -_PAGE if segments else 0
        high = page_up(segments[-1].vaddr + segments[-1].memsz) if segments else 0
        ranges.append((low, total, high - low))
        total += high - low
    try:
        ns.arena = fresh(max(total, _PAGE))
    except (OSError, OverflowError, ValueError) as error:
        raise NoSpace(f"the writable segments need {total:#x} bytes: {error}") from None
    for (module, segments), (low, start, size) in zip(parts, ranges, strict=True):
        module.image = Image(ns.arena[start : start + size], low, module.base, start, segments)
        for load in segments:
            if load.filesz:
                source = np.frombuffer(module.file.data, np.uint8, load.filesz, load.offset)
                module.image.view(load.vaddr, load.filesz)[:] = source


def relocate_relative(ns: Namespace, modules: Sequence[Module]) -> None:
    """Add the load bias to every word that DT_RELACOUNT or DT_RELR promises: three relocations in four."""
    word = 8 if ns.columns.wide else 4
    order = ns.columns.order
    unsigned = np.dtype(f"{order}u{word}")
    code = kernels() if word == 8 and order == "<" else None
    for module in modules:
        table = tables(module.file)
        image = module.image
        base = (
            np.uint64(module.base & 0xFFFFFFFFFFFFFFFF)
            if word == 8
            else np.uint32(module.base & 0xFFFFFFFF)
        )
        count = 0
        for run in table.relocs:
            if run.relative:
                if code is not None and run.is_rela and code.add_base(
                    run.position, run.relative, image.bytes, image.low, module.base
                ):  # fmt: skip
                    count += run.relative
                    continue
                columns = 3 if run.is_rela else 2
                view = flat(unsigned.str)[
                    run.position : run.position + (columns * run.relative - 1) * word + 1 : word
                ]
                rows = view.reshape(-1, columns)
                values = rows[:, 2] if run.is_rela else None
                count += _add_base(module, image, rows[:, 0], values, base, unsigned)
        if table.relr is not None and len(table.relr):
            count += _add_base(module, image, table.relr, None, base, unsigned)
        if count:
            name = ns.arch.relocs[ns.arch.reloc_types.relative].name
            ns.counts.setdefault(module, {})[name] = count


def _add_base(
    module: Module, image: Image, offsets: Any, addends: Any, base: Any, dtype: Any
) -> int:
    """Store base + addend (or base + what stands there) at ``offsets`` (p_vaddr) of the image."""
    word = dtype.itemsize
    low, size = image.low, len(image.bytes)
    # One copy out of the strided records, then everything on contiguous words.
    sites = offsets.astype(np.int64)
    top, bottom = int(sites.max()), int(sites.min())
    if bottom < low or top + word > low + size:
        where = top if bottom >= low else bottom
        raise module.file.fail("relocation", "r_offset", where, "a place inside a writable PT_LOAD")
    sites -= low
    if int(np.bitwise_or.reduce(sites)) & (word - 1):
        words: NDArray[Any] = np.ndarray((size - word + 1,), dtype, image.bytes, strides=(1,))
    else:
        words = image.bytes[: size // word * word].view(dtype)
        sites >>= word.bit_length() - 1
    if addends is None:
        words[sites] = words[sites] + base
    else:
        words[sites] = addends + base
    return len(sites)
