"""Thread-local storage: module ids and the static layout (Drepper, "ELF Handling For Thread-Local Storage").

Variant 1 puts blocks above the thread pointer, the program's first; variant 2 below it, the program's last. glibc
(elf/dl-tls.c, _dl_determine_tlsoffset) fills the gaps that alignment leaves with later blocks; musl (ldso/dynlink.c)
does not.
"""

from __future__ import annotations

from rtld.elf import types as t

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtld.core.module import Module, Namespace

#: What glibc 2.36 keeps free for libraries opened later that want static TLS (sysdeps/generic/dl-tls... TLS_STATIC_SURPLUS):
#: 3 * 192 for other namespaces' libc, 4 * 144 for others, 512 of glibc.rtld.optional_static_tls.
STATIC_SURPLUS = 3 * 192 + 4 * 144 + 512


class TlsLayout:
    """Where each module's block is: ``module.tls_offset`` from the thread pointer, and what all need together."""

    __slots__ = ("align", "modules", "size", "variant")

    def __init__(self, variant: int) -> None:
        self.variant = variant
        self.size = 0  # bytes of static TLS used
        self.align = 1
        self.modules: list[Module] = []  # by module id, from 1


def tls_segment(module: Module) -> tuple[int, int, int] | None:
    """(size, alignment, first byte's offset within the alignment) of a module's PT_TLS, None without one."""
    segment = module.file.segment(t.PT_TLS)
    if segment is None or segment.memsz == 0:
        return None
    align = max(segment.align, 1)
    if align & (align - 1):
        raise module.file.fail("PT_TLS", "p_align", align, "a power of two")
    return segment.memsz, align, segment.vaddr & (align - 1)


def layout_tls(ns: Namespace) -> None:
    """Give module ids and static offsets to every module with PT_TLS, in load order; hosted ones have theirs."""
    layout = TlsLayout(ns.arch.tls.variant)
    ns.tls = layout
    blocks = []
    for module in ns.modules:
        block = None if module.hosted else tls_segment(module)
        if block is not None:
            layout.modules.append(module)
            module.tls_id = len(layout.modules)
            layout.align = max(layout.align, block[1])
            blocks.append(block)
    if ns.model == "musl":
        offsets = _place_musl(ns, layout, blocks)
    elif layout.variant == 2:
        offsets = _place_below(layout, blocks)
    else:
        offsets = _place_above(ns, layout, blocks)
    for module, offset in zip(layout.modules, offsets, strict=True):
        module.tls_offset = -offset if layout.variant == 2 else offset


def round_up(value: int, align: int) -> int:
    """``value`` rounded up to a multiple of ``align``."""
    return (value + align - 1) // align * align


def _place_below(layout: TlsLayout, blocks: Sequence[tuple[int, int, int]]) -> list[int]:
    """Variant 2: distance of each block's start below the thread pointer."""
    offset = top = bottom = 0
    result = []
    for size, align, first in blocks:
        lead = -first & (align - 1)
        if bottom - top >= size:
            off = round_up(top + size - lead, align) + lead
            if off <= bottom:
                top = off
                result.append(off)
                continue
        off = round_up(offset + size - lead, align) + lead
        if off > offset + size + (bottom - top):
            top, bottom = offset, off - size
        offset = off
        result.append(off)
    layout.size = offset
    return result


def _place_above(
    ns: Namespace, layout: TlsLayout, blocks: Sequence[tuple[int, int, int]]
) -> list[int]:
    """Variant 1: distance of each block's start above the thread pointer."""
    offset = ns.arch.tls.tcb_size
    top = bottom = 0
    result = []
    for size, align, first in blocks:
        lead = -first & (align - 1)
        if size <= top - bottom:
            off = round_up(bottom, align)
            if off - bottom < lead:
                off += align
            if off + size - lead <= top:
                bottom = off + size - lead
                result.append(off - lead)
                continue
        off = round_up(offset, align)
        if off - offset < lead:
            off += align
        result.append(off - lead)
        if off - lead - offset > top - bottom:
            bottom, top = offset, off - lead
        offset = off + size - lead
    layout.size = offset
    return result


def _place_musl(
    ns: Namespace, layout: TlsLayout, blocks: Sequence[tuple[int, int, int]]
) -> list[int]:
    above = layout.variant == 1
    offset = ns.arch.tls.tcb_size if above else 0
    result = []
    for number, (size, align, first) in enumerate(blocks):
        if above:
            offset += (first - offset) & (align - 1)
            result.append(offset)
            offset += size
        elif number == 0 and layout.modules[0] is ns.main:
            offset = size + (-(first + size) & (align - 1))
            result.append(offset)
        else:
            offset += size + align - 1
            offset -= (offset + first) & (align - 1)
            result.append(offset)
    layout.size = offset
    return result
