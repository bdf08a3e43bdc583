"""Static TLS layouts: aligned, never overlapping, and equal to a search place by place.

That real programs' offsets are ld.so's is shown by tests/live/test_memory.py and test_foreign.py.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rtld.core.module import Module, Namespace
from rtld.elf import types as t
from rtld.elf.file import Segment
from rtld.elf.tls import layout_tls
from rtld.events import QUIET

# (size, alignment, address of the first byte): addresses need not be aligned themselves.
BLOCKS = st.lists(
    st.tuples(st.integers(1, 300), st.sampled_from([1, 2, 4, 8, 16, 64, 256]), st.integers(0, 511)),
    max_size=12,
)
Block = tuple[int, int, int]


def layout(blocks: list[Block], variant: int, tcb: int, model: str = "glibc") -> Namespace:
    arch = SimpleNamespace(tls=SimpleNamespace(variant=variant, tcb_size=tcb))
    ns = Namespace(model, arch, QUIET)
    for size, align, vaddr in blocks:
        segment = Segment(t.PT_TLS, t.PF_R, 0, vaddr, vaddr, 0, size, align)
        file = SimpleNamespace(segment=lambda kind, s=segment: s if kind == t.PT_TLS else None)
        ns.modules.append(Module(file, "", len(ns.modules)))
    ns.main = ns.modules[0] if ns.modules else Module(None, "")
    layout_tls(ns)
    return ns


def check_places(ns: Namespace, blocks: list[Block], variant: int, tcb: int) -> None:
    """Each block where its alignment wants it, on its own side of the thread pointer, and none on another."""
    ranges = []
    for module, (size, align, vaddr) in zip(ns.modules, blocks, strict=True):
        # The thread pointer is aligned for all of them.
        assert (module.tls_offset - vaddr) % align == 0
        ranges.append((module.tls_offset, module.tls_offset + size))
        if variant == 2:
            assert module.tls_offset + size <= 0
            assert -module.tls_offset <= ns.tls.size
        else:
            assert module.tls_offset >= tcb
            assert module.tls_offset + size <= ns.tls.size
    for (_, end), (begin, _) in zip(sorted(ranges), sorted(ranges)[1:], strict=False):
        assert end <= begin
    assert [module.tls_id for module in ns.modules] == list(range(1, len(blocks) + 1))
    assert ns.tls.align == max([1, *(align for _, align, _ in blocks)])


def search_below(blocks: list[Block]) -> list[int]:
    """glibc, variant 2 (elf/dl-tls.c): first into the one gap that is remembered, else below everything."""
    found = []
    low = gap = end = 0  # the gap is (low, gap] from the thread pointer down
    for size, align, vaddr in blocks:

        def first(start: int) -> int:
            return next(off for off in range(start, start + 1024) if (-off - vaddr) % align == 0)  # noqa: B023

        if gap - low >= size and first(low + size) <= gap:
            low = first(low + size)
            found.append(-low)
            continue
        off = first(end + size)
        if off - size - end > gap - low:
            low, gap = end, off - size
        end = off
        found.append(-off)
    return found


def search_above(blocks: list[Block], tcb: int) -> list[int]:
    """glibc, variant 1."""
    found = []
    low = gap = 0
    end = tcb
    for size, align, vaddr in blocks:

        def first(start: int) -> int:
            return next(off for off in range(start, start + 1024) if (off - vaddr) % align == 0)  # noqa: B023

        if gap - low >= size and first(low) + size <= gap:
            found.append(first(low))
            low = first(low) + size
            continue
        off = first(end)
        if off - end > gap - low:
            low, gap = end, off
        end = off + size
        found.append(off)
    return found


@given(BLOCKS)
def test_variant_2(blocks: list[Block]) -> None:
    ns = layout(blocks, 2, 0)
    check_places(ns, blocks, 2, 0)
    assert [module.tls_offset for module in ns.modules] == search_below(blocks)


@given(BLOCKS, st.sampled_from([0, 8, 16]))
def test_variant_1(blocks: list[Block], tcb: int) -> None:
    ns = layout(blocks, 1, tcb)
    check_places(ns, blocks, 1, tcb)
    assert [module.tls_offset for module in ns.modules] == search_above(blocks, tcb)


@given(BLOCKS, st.sampled_from([(2, 0), (1, 0), (1, 8), (1, 16)]))
def test_musl(blocks: list[Block], kind: tuple[int, int]) -> None:
    variant, tcb = kind
    ns = layout(blocks, variant, tcb, "musl")
    check_places(ns, blocks, variant, tcb)


def test_modules_without_tls_have_no_number() -> None:
    blocks: list[Any] = [(8, 8, 0), (0, 8, 0), (4, 4, 0)]
    ns = layout(blocks, 2, 0)
    assert [module.tls_id for module in ns.modules] == [1, 0, 2]
    assert [module.tls_offset for module in ns.modules] == [-8, 0, -12]
