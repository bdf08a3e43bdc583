"""64-bit PowerPC: what DT_PPC64_OPT changes (ELFv2 ABI 3.7 and 4.2; glibc sysdeps/powerpc/powerpc64/dl-machine.h).

A module with the TLS bit calls __tls_get_addr through a stub that takes module number 0 to mean "the other word is an
offset from the thread pointer". So where the definer's block is static, as all are at start, DTPMOD64 writes 0 and the
block's offset, and DTPREL64 the variable's.
"""

from __future__ import annotations

import numpy as np

from rtld.arch.ppc64le import DT_PPC64_OPT, PPC64_OPT_MULTI_TOC, PPC64_OPT_TLS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtld.core.module import Module, Namespace
    from rtld.elf.flat import Bool
    from rtld.elf.relocate import Rows, Terms

DTPMOD64, TPREL64, DTPREL64 = 68, 73, 78


def uses_tls_stub(module: Module) -> bool:
    """Does the module call __tls_get_addr through the stub that knows of module number 0?"""
    return bool(_options(module) & PPC64_OPT_TLS)


def _options(module: Module) -> int:
    dynamic = module.file.dynamic
    return (dynamic.get(DT_PPC64_OPT, 0) or 0) if dynamic is not None else 0


def has_one_toc(modules: Sequence[Module]) -> Bool:
    """Whose own functions may be called at their local entry."""
    return np.array([not _options(module) & PPC64_OPT_MULTI_TOC for module in modules], np.bool_)


def relocate_tls(ns: Namespace, rows: Rows, terms: Terms) -> None:
    """Do the DTPMOD64 of modules with the TLS bit, and make TPREL64 of their DTPREL64."""
    modules = ns.columns.modules
    flagged = np.array([uses_tls_stub(module) for module in modules], np.bool_)
    chosen = flagged[rows.module] & ((rows.type == DTPMOD64) | (rows.type == DTPREL64))
    if not chosen.any():
        return
    rows.type = np.where(chosen & (rows.type == DTPREL64), TPREL64, rows.type)
    pairs = np.flatnonzero(chosen & (rows.type == DTPMOD64))
    definer = terms.definers(rows.reference[pairs], rows.module[pairs])
    tls = ns.arch.tls
    words = np.ndarray((len(ns.arena) - 7,), f"{ns.columns.order}u8", ns.arena, strides=(1,))
    words[rows.site[pairs]] = 0
    words[rows.site[pairs] + 8] = terms.tls_offset[definer] + np.uint64(tls.dtp_bias - tls.tp_bias)
    rest = np.ones(len(rows.type), np.bool_)
    rest[pairs] = False
    rows.keep(rest)
