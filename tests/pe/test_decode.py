"""Tables against pefile's and LIEF's, on DLLs of Wine, of mingw and on images that no linker makes."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lief
import numpy as np
import pefile
import pytest

from pe import windows
from pe.pefiles import image
from rtld.errors import FormatError, RelocationError
from rtld.pe import basereloc
from rtld.pe.basereloc import base_relocs
from rtld.pe.basereloc_cpu import KINDS, move
from rtld.pe.exports import Exports, exports, split_forwarder
from rtld.pe.file import PeFile
from rtld.pe.imports import bound_imports, delay_imports, imports
from rtld.pe.resources import manifest
from rtld.pe.tls import tls_directory

WINE = ("kernel32.dll", "msvcrt.dll", "ws2_32.dll", "zlib1.dll", "shell32.dll", "comctl32.dll", "bthprops.cpl", "cmd.exe")  # fmt: skip
SET = ("main.exe", "alpha.dll", "gamma.dll")


@pytest.fixture(params=[*WINE, *(f"{a}/{n}" for a in ("x86_64", "i386") for n in SET)])
def path(request: pytest.FixtureRequest, windows_set: Callable[..., Path], need: Callable[[str], None]) -> Path:  # fmt: skip
    name: str = request.param
    if "/" in name:
        arch, _, name = name.partition("/")
        return windows_set(arch) / name
    found = windows.WINE_DLLS / name
    if not found.exists():
        need("libwine")
    return found


def our_exports(table: Exports) -> set[tuple[int, bytes | None, int, bytes | None]]:
    """(ordinal, name, RVA, forwarder)."""
    names: dict[int, list[bytes]] = {}
    for index, name in zip(table.ordinals.tolist(), table.names(), strict=True):
        names.setdefault(index, []).append(name)
    return {
        (index + table.ordinal_base, name, rva, table.forwarder(index))
        for index, rva in enumerate(table.functions.tolist())
        if rva
        for name in names.get(index, [None])
    }


def our_imports(file: PeFile) -> list[tuple[str, bytes | int, int]]:
    columns = imports(file)
    return [
        (d.dll, name, int(slot))
        for d in columns.descriptors
        for name, slot in zip(columns.names(d), columns.slot[d.first : d.first + d.count], strict=True)
    ]  # fmt: skip


def test_against_pefile(path: Path) -> None:
    theirs: Any = pefile.PE(str(path), fast_load=False)
    file = PeFile(str(path))
    rows = set()
    for symbol in (getattr(theirs, "DIRECTORY_ENTRY_EXPORT", None) and theirs.DIRECTORY_ENTRY_EXPORT.symbols) or []:  # fmt: skip
        rows.add((symbol.ordinal, symbol.name, symbol.address, symbol.forwarder))
    assert our_exports(exports(file)) == {row for row in rows if row[2]}
    found = []
    for descriptor in getattr(theirs, "DIRECTORY_ENTRY_IMPORT", []):
        found += [
            (descriptor.dll.decode(), one.ordinal if one.import_by_ordinal else one.name, one.address - theirs.OPTIONAL_HEADER.ImageBase)
            for one in descriptor.imports
        ]  # fmt: skip
    assert our_imports(file) == found
    relocs = [
        (entry.type, entry.rva)
        for block in getattr(theirs, "DIRECTORY_ENTRY_BASERELOC", [])
        for entry in block.entries
        if entry.type
    ]
    mine = base_relocs(file)
    assert list(zip(mine.type.tolist(), mine.rva.tolist(), strict=True)) == relocs
    tls: Any = getattr(theirs, "DIRECTORY_ENTRY_TLS", None)
    ours = tls_directory(file)
    assert (tls is None) == (ours is None)
    if ours is not None:
        assert ours.start + file.base == tls.struct.StartAddressOfRawData
        assert ours.end + file.base == tls.struct.EndAddressOfRawData
        assert ours.index + file.base == tls.struct.AddressOfIndex
        assert ours.zeros == tls.struct.SizeOfZeroFill


def test_against_lief(path: Path) -> None:
    theirs: Any = lief.PE.parse(str(path))
    assert theirs is not None
    file = PeFile(str(path))
    assert [(s.name, s.virtual_address) for s in theirs.sections] == [
        (s.name.decode(), s.address) for s in file.sections[1:]
    ]
    found = [
        (one.name, entry.ordinal if entry.is_ordinal else entry.name)
        for one in theirs.imports
        for entry in one.entries
    ]
    assert [(d, n.decode() if isinstance(n, bytes) else n) for d, n, _ in our_imports(file)] == found  # fmt: skip
    assert len(base_relocs(file)) == sum(1 for b in theirs.relocations for e in b.entries if int(e.type))  # fmt: skip
    tls = tls_directory(file)
    assert theirs.has_tls == (tls is not None)
    if tls is not None:
        assert [c - file.base for c in theirs.tls.callbacks if c] == list(tls.callbacks)


def test_image_is_moved_as_pefile_moves_it(path: Path) -> None:
    from rtld.pe.image import map_image, move

    file = PeFile(str(path))
    if not len(base_relocs(file)):
        pytest.skip("no base relocations")
    theirs = pefile.PE(str(path))
    base = 0x5_6780_0000 if file.bits == 64 else 0x5678_0000
    theirs.relocate_image(base)
    mapped = theirs.get_memory_mapped_image()
    image_bytes = map_image(file)
    move(file, image_bytes, base)
    for section in file.sections[1:]:
        part = slice(section.address, section.address + min(section.filled, section.virtual_size))
        assert image_bytes[part].tobytes() == mapped[part], section.name


# -- what no linker makes -------------------------------------------------------------------------


def test_no_look_up_table_and_trailing_blanks() -> None:
    data = image("x.dll", None, {"other.dll  ": [b"one", 7, b"two"]}, lookup=False)
    file = PeFile(data)
    (descriptor,) = imports(file).descriptors
    assert descriptor.dll == "other.dll"
    assert descriptor.lookup == 0
    assert list(imports(file).names(descriptor)) == [b"one", 7, b"two"]


@pytest.mark.parametrize("field", ["name", "iat"])
def test_either_field_ends_the_directory(field: str) -> None:
    data = bytearray(image("x.dll", None, {"a.dll": [b"f"], "b.dll": [b"g"]}))
    file = PeFile(bytes(data))
    at = file.locate(file.directories[1].rva, 40, "")
    offset = 20 + (12 if field == "name" else 16)
    data[at + offset : at + offset + 4] = bytes(4)
    assert [d.dll for d in imports(PeFile(bytes(data))).descriptors] == ["a.dll"]


def test_a_name_table_that_is_not_sorted_is_searched_as_badly_as_windows_does() -> None:
    names = [b"delta", b"alpha", b"charlie", b"bravo", b"echo"]
    functions = {name: 0x1000 + i for i, name in enumerate(names)}
    table = exports(PeFile(image("x.dll", functions, order=names)))
    found = {name for name in names if table.by_name(name)}
    assert found < set(names)
    assert table.by_name(b"alpha", 1) == (1, "hint")  # the hint is not searched for
    for _ in range(30):  # from some number of searches on by a dictionary: the answers are the same
        assert {name for name in names if table.by_name(name)} == found


def test_more_than_64_k_functions() -> None:
    functions = {b"f%06d" % n: 0x1000 for n in range(60_000)}
    table = exports(PeFile(image("big.dll", functions)))
    assert len(table) == 60_000
    assert table.by_name(b"f059999") == (59_999, "search")
    # names are at most 65,536, since their ordinals are 16 bits; functions may be more
    data = image("big.dll", {b"one": 0x1000, b"": 0x1000}, order=[b"one"])
    assert exports(PeFile(data)).by_ordinal(2) == 1


def test_sparse_and_nameless() -> None:
    table = exports(PeFile(image("x.dll", {b"a": 0x1000, b"gone": 0, b"b": 0x1004}, order=[b"a"])))
    assert table.by_ordinal(1) == 0
    assert table.by_ordinal(2) is None
    assert table.by_ordinal(3) == 2
    assert table.by_ordinal(4) is None
    assert table.by_name(b"b") is None


def test_forwarders_are_parted_at_the_last_dot() -> None:
    assert split_forwarder(b"bthprops.cpl.Name") == ("bthprops.cpl", b"Name", None)
    assert split_forwarder(b"beta.#5") == ("beta", b"", 5)
    assert split_forwarder(b"api-ms-win-core-heap-l1-1-0.HeapAlloc") == ("api-ms-win-core-heap-l1-1-0", b"HeapAlloc", None)  # fmt: skip


@pytest.mark.parametrize("version", [1, 2])
def test_delay_descriptors(version: int) -> None:
    bits = 32 if version == 1 else 64
    data = image("x.dll", None, None, bits=bits, delayed={"late.dll": [b"one", b"two"]}, delay_version=version)  # fmt: skip
    table = delay_imports(PeFile(data))
    (descriptor,) = table.descriptors
    assert descriptor.delay.version == version
    assert list(table.names(descriptor)) == [b"one", b"two"]
    theirs = pefile.PE(data=data)
    if version == 2:
        (their,) = theirs.DIRECTORY_ENTRY_DELAY_IMPORT
        assert [i.name for i in their.imports] == [b"one", b"two"]


def test_every_type_of_base_relocation() -> None:
    """HIGH, LOW, HIGHADJ and MOV32 occur in no file of today: what the documents say, computed by hand."""
    kinds = [(1, 0x10), (2, 0x14), (3, 0x18), (4, 0x20), (0, 0), (10, 0x28)]
    entries = b"".join(struct.pack("<H", kind << 12 | at) for kind, at in kinds[:4])
    entries += struct.pack("<H", 0x8765) + struct.pack("<H", 10 << 12 | 0x28) + bytes(2)
    block = struct.pack("<II", 0x2000, 8 + len(entries)) + entries
    data = bytearray(image("x.dll", {b"f": 0x1000}))
    file = PeFile(bytes(data))
    place = file.sections[2]
    data += bytes(512)
    at = place.offset + place.raw_size - 64
    data[at : at + len(block)] = block
    entry = file.nt_offset + 24 + 112 + 8 * 5
    data[entry : entry + 8] = struct.pack("<II", place.address + place.raw_size - 64, len(block))
    file = PeFile(bytes(data))
    relocs = base_relocs(file)
    assert relocs.type.tolist() == [1, 2, 3, 4, 10]
    memory = np.zeros(file.span, np.uint8)
    words = {0x10: 0x1234, 0x14: 0x1234, 0x20: 0x1234}
    for where, value in words.items():
        memory[0x2000 + where : 0x2002 + where] = np.frombuffer(struct.pack("<H", value), np.uint8)
    delta = 0x0123_9ABC
    basereloc.apply(file, memory, delta)

    def half(where: int) -> int:
        return int.from_bytes(memory[0x2000 + where : 0x2002 + where].tobytes(), "little")

    assert half(0x10) == 0x1234 + 0x0123
    assert half(0x14) == (0x1234 + 0x9ABC) & 0xFFFF
    assert half(0x20) == ((0x1234 << 16) + (0x8765 - 0x10000) + delta + 0x8000) >> 16
    assert struct.unpack("<I", memory[0x2018:0x201C].tobytes())[0] == delta
    assert struct.unpack("<Q", memory[0x2028:0x2030].tobytes())[0] == delta


# fmt: off
#: machine, (type, place) in their order, code at an address, delta, code at the other: as GNU as encodes both.
MOVED = [
    # movw r0, #0x5678; movt r0, #0x1234
    (0x01C4, [(7, 0)], "45f27860c1f23420", 0x10000200, "45f67800c2f23420"),
    (0x01C4, [(5, 0)], "780605e3340241e3", 0x10000200, "780805e3340242e3"),
    # jal 0x1234568
    (0x0166, [(5, 0)], "5ad1480c", 0x1000, "5ad5480c"),
    # lui a0, 0x12345; addi a0, a0, 0x678; lui a0, 0x12345; sw a1, 0x678(a0)
    (0x5064, [(5, 0), (7, 4), (5, 8), (8, 12)], "375534121305856737553412232cb566", 0x10000200, "376534221305858737653422232cb586"),
]
# fmt: on


@pytest.mark.parametrize(("machine", "rows", "before", "delta", "after"), MOVED)
def test_instructions_are_moved(machine: int, rows: list[tuple[int, int]], before: str, delta: int, after: str) -> None:  # fmt: skip
    memory = np.frombuffer(bytearray.fromhex(before), np.uint8).copy()
    move("x", KINDS[machine], rows, memory, delta)
    assert memory.tobytes().hex() == after
    move("x", KINDS[machine], rows, memory, -delta)
    assert memory.tobytes().hex() == before


def test_instructions_without_an_assembler() -> None:
    """MIPS16 and LoongArch, by their manuals: immediates as they were put there, moved there and back."""
    target = 0x01234560 >> 2
    jal = 0x1800 | (target >> 16 & 31) << 5 | target >> 21 | (target & 0xFFFF) << 16
    value = 0x1234_5678_9ABC_DEF0
    load = [0x14000004 | (value >> 12 & 0xFFFFF) << 5, 0x03800084 | (value & 0xFFF) << 10,
            0x16000004 | (value >> 32 & 0xFFFFF) << 5, 0x03000084 | (value >> 52) << 10]  # fmt: skip
    for machine, kind, words in ((0x0266, 9, [jal]), (0x6264, 8, load)):
        before = struct.pack(f"<{len(words)}I", *words)
        memory = np.frombuffer(bytearray(before), np.uint8).copy()
        move("x", KINDS[machine], [(kind, 0)], memory, 0x1000)
        assert memory.tobytes() != before
        move("x", KINDS[machine], [(kind, 0)], memory, -0x1000)
        assert memory.tobytes() == before
    with pytest.raises(RelocationError, match="without a HIGH20"):
        move("x", KINDS[0x5064], [(7, 0)], np.zeros(8, np.uint8), 1)


def test_strict_and_tolerant() -> None:
    data = bytearray(image("x.dll", {b"f": 0x1000}, {"a.dll": [b"g"]}))
    data[64 + 24 + 108] = 17  # NumberOfRvaAndSizes
    with pytest.raises(FormatError, match="NumberOfRvaAndSizes is 0x11, expected at most 16"):
        PeFile(bytes(data))
    file = PeFile(bytes(data), strict=False)
    assert len(file.complaints) == 1
    assert exports(file).by_name(b"f")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "DOS header: e_magic"),
        (b"MZ" + bytes(58) + b"\xff\xff\0\0", "e_lfanew is 0xffff"),
        (b"MZ" + bytes(58) + b"\x40\0\0\0" + b"NE\0\0" + bytes(20), "Signature"),
    ],
)
def test_errors_name_the_field(data: bytes, says: str) -> None:
    with pytest.raises(FormatError, match=says):
        PeFile(data)


def test_bound_and_manifest_of_real_files(need: Callable[[str], None]) -> None:
    path = windows.WINE_DLLS / "comctl32.dll"
    if not path.exists():
        need("libwine")
    assert bound_imports(PeFile(str(path))) == []
    shell = PeFile(str(windows.WINE_DLLS / "cmd.exe"))
    theirs: Any = pefile.PE(str(windows.WINE_DLLS / "cmd.exe"))
    kinds = [e.id for e in (getattr(theirs, "DIRECTORY_ENTRY_RESOURCE", None) and theirs.DIRECTORY_ENTRY_RESOURCE.entries) or []]  # fmt: skip
    assert (manifest(shell) is not None) == (24 in kinds)
