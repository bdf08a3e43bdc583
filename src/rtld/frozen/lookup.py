"""Tables for the image's own dlsym and dladdr (arch/x86_64_freeze.py, SERVICES): which module, and what comes next.

ld.so sees one object; RTLD_NEXT and dladdr ask about the modules that it was made of.
"""

from __future__ import annotations

import os
import struct

import numpy as np

from rtld.elf import types as t
from rtld.frozen.exports import definitions
from rtld.frozen.startup import services

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.frozen.plan import Plan

_ROW = np.dtype([("name", "<u8"), ("address", "<u8"), ("module", "<u4"), ("type", "<u4")])


def modules_table(plan: Plan, address: int) -> bytes:
    """{u64 count, {start, end, path, base}[]}, offsets from the image's beginning, then the paths; to stand at *address*."""
    rows, texts = bytearray(), bytearray()
    text_at = address - plan.base + 8 + 32 * len(plan.fused)
    for module in plan.fused:
        low, high = module.file.span
        start = module.base + low - plan.base
        end = module.base + high - plan.base
        rows += struct.pack("<QQQQ", start, end, text_at + len(texts), start - low & (1 << 64) - 1)
        texts += os.fsencode(module.path) + b"\0"
    return struct.pack("<Q", len(plan.fused)) + bytes(rows + texts)


def names_table(plan: Plan) -> bytes:
    """{u64 count, u32 hashes[], {name, address, u32 module, u32 type}[]}: every definition, sorted by hash, then scope order."""
    if "dlsym" not in services(plan).values():
        return bytes(8)
    rows = definitions(plan)
    columns = plan.ns.columns
    kind = rows.info & np.uint32(15)
    rows.keep(
        (rows.section != t.SHN_UNDEF)
        & (rows.section != t.SHN_ABS)
        & (kind != t.STT_TLS)
        & ~rows.hidden
    )
    hashes = columns.names(rows.name).hash.astype("<u4")
    scope = np.full(len(columns.modules), len(plan.fused), np.int64)
    for number, module in enumerate(plan.fused):
        scope[module.index] = number
    place = scope[rows.module]
    order = np.lexsort((place, hashes))
    out = np.zeros(len(order), _ROW)
    base = np.array([m.base for m in columns.modules], np.int64)
    out["name"] = plan.symbols.name_offsets(columns, rows.module, rows.name)[order]
    out["address"] = (columns.value(rows.at).astype(np.int64) + base[rows.module] - plan.base)[
        order
    ]
    out["module"] = place[order]
    out["type"] = (rows.info & np.uint32(15))[order]
    out["name"] += np.uint64(plan.strings_at - plan.base)
    padding = bytes(-4 * len(order) % 8)
    head: bytes = struct.pack("<Q", len(order)) + hashes[order].tobytes()
    return head + padding + out.tobytes()
