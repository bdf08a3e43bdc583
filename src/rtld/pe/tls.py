"""The TLS directory: the template of a module's thread-local block, and its callbacks ("PE Format", .tls).

Its fields are virtual addresses, which base relocations move; here they are RVAs. A module has a *slot*: an index, which
the loader writes to ``index``, into an array that each thread has (TEB + 0x58, or + 0x2c of 32 bits).
"""

from __future__ import annotations

import struct
from collections import namedtuple

from rtld.pe.types import TLS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.pe.file import PeFile

#: RVAs ``start`` to ``end`` of the template, ``zeros`` bytes behind it, RVA of the index, RVAs of the callbacks.
TlsDirectory = namedtuple("TlsDirectory", "start end index callbacks zeros characteristics")

_WHAT = "TLS directory"
_MAX_BLOCK = 1 << 28
_MAX_CALLBACKS = 4096


def tls_directory(file: PeFile) -> TlsDirectory | None:
    """The TLS directory of a file as RVAs; None when it has none."""
    directory = file.directory(TLS)
    if directory is None:
        return None
    form = struct.Struct("<QQQQII" if file.bits == 64 else "<IIIIII")
    fields = form.unpack(file.read(directory.rva, form.size, _WHAT))
    names = ("StartAddressOfRawData", "EndAddressOfRawData", "AddressOfIndex", "AddressOfCallBacks")
    rvas = []
    for name, value in zip(names, fields, strict=False):
        if value and not file.base <= value <= file.base + file.size_of_image:
            raise file.fail(_WHAT, name, value, f"an address in the image, from {file.base:#x} on")
        rvas.append(value - file.base if value else 0)
    start, end, index, callbacks = rvas
    zeros = fields[4]
    if end < start:
        raise file.fail(_WHAT, names[1], end, f"at least {names[0]} {start:#x}")
    if end - start + zeros > _MAX_BLOCK:
        raise file.fail(_WHAT, "SizeOfZeroFill", zeros, f"a block of at most {_MAX_BLOCK:#x} bytes")
    found = TlsDirectory(start, end, index, _callbacks(file, callbacks), zeros, fields[5])
    if start < end:
        file.read(start, end - start, f"{_WHAT}, template")  # it must be in the image
    return found


def _callbacks(file: PeFile, rva: int) -> tuple[int, ...]:
    """The RVAs of the callbacks, up to the zero behind them."""
    word = file.bits // 8
    result: list[int] = []
    while rva:
        value = int.from_bytes(file.read(rva, word, f"{_WHAT}, callbacks"), "little")
        if value == 0:
            break
        if not file.base <= value < file.base + file.size_of_image:
            raise file.fail(_WHAT, "callback", value, f"an address in the image, from {file.base:#x} on")  # fmt: skip
        if len(result) == _MAX_CALLBACKS:
            raise file.fail(_WHAT, "callbacks", "no end", f"at most {_MAX_CALLBACKS}")
        result.append(value - file.base)
        rva += word
    return tuple(result)
