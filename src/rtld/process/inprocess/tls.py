"""Thread-local storage of libraries in this process: lent by ld.so, one donor for each module (``elf/donor.py``)."""

from __future__ import annotations

import struct

from rtld.backends import inprocess as machine
from rtld.elf import types as t
from rtld.elf.dlopen import DlError
from rtld.elf.tls import tls_segment
from rtld.errors import NoStaticTls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from rtld.core.module import Module
    from rtld.process.inprocess.load import Loading

_WORD = (1 << 64) - 1


_DTPMOD64, _DTPOFF64, _TPOFF64, _TLSDESC = 16, 17, 18, 36


def lend_tls(loading: Loading, static: set[Module]) -> None:
    """ld.so opens a donor for each module with PT_TLS: new and running threads get their blocks from it.

    *static*: modules whose blocks have to be at a fixed distance from the thread pointer.
    """
    from rtld.elf import donor

    for module in static:
        if not module.hosted and module not in loading.own and not module.tls_offset:
            raise no_static_tls(loading, module)
    for module in loading.own:
        if tls_segment(module) is None:
            continue
        segment = module.file.segment(t.PT_TLS)
        align = max(segment.align, 1)
        fixed = module in static or bool(module.file.dt_flags & t.DF_STATIC_TLS)
        image = machine.read(module.base + segment.vaddr, segment.filesz)
        data = donor.donor(image, segment.memsz, align, segment.vaddr & (align - 1), static=fixed)
        try:
            lent = machine.open_donor(data, donor.unique_path)
        except OSError as error:
            if fixed and error.errno is None:  # ld.so's words may be in any language
                raise no_static_tls(loading, module) from error
            why = error.strerror or str(error).rpartition(": ")[2]
            what = f"cannot allocate thread-local storage: {why}"
            raise DlError(f"{module.path}: {what}") from error
        loading.donors[module] = lent
        module.tls_id = machine.read_word(lent.base + donor.MODULE)
        if fixed:
            distance = machine.read_word(lent.base + donor.DISTANCE)
            module.tls_offset = distance - (1 << 64) if distance >> 63 else distance
        at = lent.base + donor.DESCRIPTOR
        resolver, argument = machine.read_word(at), machine.read_word(at + 8)
        loading.descriptors[module] = resolver, argument
        if argument >> 63:
            # ld.so had room for it in the static block: the argument is the distance, not a pointer.
            module.tls_offset = argument - (1 << 64)


def write_tls(
    loading: Loading, rows: Iterable[tuple[int, int, Module | None, int, int, Module]]
) -> None:
    """The words of (place, type, definer, value, addend, referrer), now that all numbers are known."""
    for place, kind, definer, value, addend, _referrer in rows:
        value += addend
        if kind == _TLSDESC:
            first, second = descriptor(loading, definer, value)
            machine.write_word(place, first)
            machine.write_word(place + 8, second)
        elif definer is None:
            machine.write_word(place, 0)
        elif kind == _DTPMOD64:
            machine.write_word(place, definer.tls_id)
        elif kind == _DTPOFF64:
            machine.write_word(place, definer.tls_block + value)
        else:
            machine.write_word(place, definer.tls_offset + value)


def no_static_tls(loading: Loading, module: Module) -> NoStaticTls:
    """Who has the static TLS, and what helps."""
    users: dict[str, int] = {}
    for _space, other in loading.space.process.own_modules():
        segment = other.file.segment(t.PT_TLS)
        if other.tls_offset and segment is not None:
            users[other.path] = users.get(other.path, 0) + segment.memsz
    segment = module.file.segment(t.PT_TLS)
    return NoStaticTls(module.path, segment.memsz if segment is not None else 0, users)


def descriptor(loading: Loading, module: Module | None, value: int) -> tuple[int, int]:
    """The two words of a TLS descriptor (Oliva, "TLS descriptors") for *value* of the module's block."""
    code = loading.space.process.code
    if module is None:
        return code.descriptor("tlsdesc_undefweak"), value & _WORD
    lent = loading.descriptors.get(module) or loading.space.descriptors.get(module)
    if lent is None:
        return code.descriptor("tlsdesc_static"), module.tls_offset + value & _WORD
    resolver, argument = lent
    if module.tls_offset:
        return resolver, argument + value & _WORD
    # struct tlsdesc_dynamic_arg { {module, offset}, generation }: one of its own for each variable.
    number, offset, generation = struct.unpack("<3Q", machine.read(argument, 24))
    block = machine.buffer(struct.pack("<3Q", number, offset + value & _WORD, generation))
    loading.keep.setdefault(module, []).append(block)
    return resolver, machine.address_of(block)
