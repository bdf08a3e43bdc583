"""The short way for small libraries stores the same bytes as the column passes."""

from __future__ import annotations

import ctypes
import glob
import os
import struct

import numpy as np
import pytest

import rtld
from rtld.backends import inprocess as machine
from rtld.core.module import Module
from rtld.elf.small import GiveUp
from rtld.errors import RtldError
from rtld.process.inprocess.load import Loading

LIBRARIES = sorted(
    {os.path.realpath(path) for path in glob.glob("/usr/lib/x86_64-linux-gnu/lib*.so.*")}
)


def relocated(ns: rtld.Namespace, path: str, quick: bool) -> tuple[dict[str, bytes], bool]:
    """Writable bytes of the group's modules, as differences from their own base; and whether the short way was gone."""
    space = ns._space
    space.quick = quick
    loading = Loading(space, 2)
    loading.find(path, space.ns.main)
    loading.map()
    try:
        loading.relocate()
        loading.resolve_ifuncs()
        result = {}
        for module in loading.own:
            for load in module.file.loads:
                if load.flags & 2:
                    start = load.vaddr + 7 & -8
                    size = max(load.vaddr + load.memsz - start, 0) // 8 * 8
                    result[f"{module.path} {start:#x}"] = ctypes.string_at(
                        module.base + start, size
                    )
        for module in loading.own:
            _name_tls(module, result, {m.tls_id: n for n, m in enumerate(loading.own) if m.tls_id})
        bases = {module.path: (module.base, module.file.span[1]) for module in loading.own}
        return {
            name: _rebase(data, list(bases.values())) for name, data in result.items()
        }, loading.link is not None
    finally:
        loading.undo()


def _name_tls(module: Module, memory: dict[str, bytes], numbers: dict[int, int]) -> None:
    """ld.so's numbers of TLS modules are not the same each time: the module's own instead, and no distances at all."""
    file, dynamic = module.file, module.file.dynamic
    for tag, size in ((7, 8), (23, 2)):  # DT_RELA, DT_JMPREL
        if tag not in dynamic or size not in dynamic:
            continue
        at = file.file_offset(dynamic[tag], dynamic[size])
        for offset, info, _addend in struct.iter_unpack("<QQq", file.data[at : at + dynamic[size]]):
            width = {16: 8, 18: 8, 36: 16}.get(info & 0xFFFFFFFF)  # DTPMOD64, TPOFF64, TLSDESC
            if width is None:
                continue
            for name, data in memory.items():
                start = offset - int(name.rpartition(" ")[2], 16)
                if name.startswith(module.path + " ") and 0 <= start <= len(data) - width:
                    word = int.from_bytes(data[start : start + 8], "little")
                    if width == 8:
                        word = numbers.get(word, word) if info & 0xFF == 16 else 0
                        new = word.to_bytes(8, "little")
                    else:
                        new = bytes(16)
                    memory[name] = data[:start] + new + data[start + width :]


def _rebase(data: bytes, ranges: list[tuple[int, int]]) -> bytes:
    words = np.frombuffer(data, np.uint64)
    result = words.copy()
    for number, (base, size) in enumerate(ranges):
        inside = (words >= base) & (words < base + size)
        result[inside] = words[inside] - np.uint64(base) + np.uint64(number << 48)
    return result.tobytes()


@pytest.mark.live
def test_same_bytes() -> None:
    quickly = 0
    ns = rtld.Namespace()
    for path in LIBRARIES[:: int(os.environ.get("RTLD_EVERY", "25"))]:
        try:
            short, used = relocated(ns, path, True)
        except (RtldError, OSError, GiveUp):
            continue
        if not used:
            continue
        long, _ = relocated(ns, path, False)
        if short != long:
            # Where ld.so puts thread-local storage depends on what was opened and closed before.
            short, _ = relocated(ns, path, True)
        assert short == long, path
        quickly += 1
    assert quickly >= min(5, len(LIBRARIES) // 50)
    assert machine.libc is not None
