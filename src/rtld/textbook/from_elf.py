"""i386 ELF relocatable objects -> the text format (System V gABI 4.1 chapter 4; psABI i386 1.1, section 4.4).

What a C compiler writes for plain C can be expressed: code and data, common blocks, calls, addresses, and the global
offset table of -fPIC. All that cannot is told at once. Unwind tables and notes are left out.

    R_386_32     S + A        A4 or AS4      R_386_GOTPC        GOT + A - P   GA4
    R_386_PC32   S + A - P    R4 or RS4      R_386_GOT32, 32X   G + A         GP4
    R_386_PLT32  S + A - P    RS4            R_386_GOTOFF       S + A - GOT   GR4

The relative types of the text format count from behind the four bytes, so that a call's addend -4 becomes 0. A symbol
that is local to the file, or is the compiler's own copy of a helper (hidden, in a section group), has no name here:
references to it go to its segment.
"""

from __future__ import annotations

import struct
from collections import namedtuple

from rtld.errors import FormatError
from rtld.textbook.complaints import Complaint, Malformed
from rtld.textbook.object import LIMIT, Relocation, Segment, Symbol, TextObject

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# fmt: off
SHT_PROGBITS, SHT_SYMTAB, SHT_RELA, SHT_NOBITS, SHT_REL = 1, 2, 4, 8, 9
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR, SHF_GROUP, SHF_TLS = 1, 2, 4, 0x200, 0x400
SHN_UNDEF, SHN_ABS, SHN_COMMON = 0, 0xFFF1, 0xFFF2
STB_LOCAL, STB_GLOBAL, STB_WEAK, STV_HIDDEN = 0, 1, 2, 2
STT_SECTION, STT_FILE = 3, 4
R_386_32, R_386_PC32, R_386_GOT32, R_386_PLT32, R_386_GOTOFF, R_386_GOTPC, R_386_GOT32X = 1, 2, 3, 4, 9, 10, 43

NAMES = {
    0: "R_386_NONE", 1: "R_386_32", 2: "R_386_PC32", 3: "R_386_GOT32", 4: "R_386_PLT32", 5: "R_386_COPY",
    6: "R_386_GLOB_DAT", 7: "R_386_JMP_SLOT", 8: "R_386_RELATIVE", 9: "R_386_GOTOFF", 10: "R_386_GOTPC",
    14: "R_386_TLS_TPOFF", 15: "R_386_TLS_IE", 16: "R_386_TLS_GOTIE", 17: "R_386_TLS_LE", 18: "R_386_TLS_GD",
    19: "R_386_TLS_LDM", 20: "R_386_16", 21: "R_386_PC16", 22: "R_386_8", 23: "R_386_PC8", 32: "R_386_TLS_LDO_32",
    39: "R_386_TLS_GOTDESC", 40: "R_386_TLS_DESC_CALL", 43: "R_386_GOT32X",
}
# fmt: on
EXPRESSIBLE = "R_386_32, PC32, PLT32, GOT32, GOT32X, GOTOFF or GOTPC"

_Section = namedtuple("_Section", "number name type flags addr offset size link info align entsize")
_Symbol = namedtuple("_Symbol", "name value size info other shndx")


def convert_file(path: str) -> TextObject:
    """The object in an ELF file. OSError, FormatError; Malformed has all that cannot be expressed."""
    with open(path, "rb") as file:
        return convert(file.read(), path)


def convert(data: bytes, path: str = "") -> TextObject:
    """An i386 ELF relocatable object in the text format, little-endian."""
    converter = _Converter(data, path)
    thing = converter.convert()
    if converter.complaints:
        raise Malformed(path, converter.complaints)
    return thing


class _Converter:
    def __init__(self, data: bytes, path: str) -> None:
        self.data = data
        self.path = path
        self.complaints: list[Complaint] = []
        self.sections = self.read_sections()
        self.symbols = self.read_symbols()
        self.segments: list[_Section] = []
        self.contents: dict[int, bytearray] = {}  # section number -> bytes, addends rewritten
        self.numbers: dict[int, int] = {}  # section number -> segment number
        self.names: dict[int, int] = {}  # index of an ELF symbol -> number of ours

    def complain(self, subject: str, found: object, expected: object) -> None:
        self.complaints.append(Complaint(self.path, 0, subject, found, expected))

    # -- decoding ---------------------------------------------------------------------------------

    def read_sections(self) -> list[_Section]:
        head = self.data[:52]
        for field, offset, form, expected, name in (
            ("magic", 0, "4s", b"\x7fELF", "an ELF file"),
            ("EI_CLASS", 4, "B", 1, "ELFCLASS32"),
            ("EI_DATA", 5, "B", 1, "ELFDATA2LSB"),
            ("e_type", 16, "H", 1, "ET_REL, a relocatable object"),
            ("e_machine", 18, "H", 3, "EM_386"),
            ("e_shentsize", 46, "H", 40, 40),
        ):
            found = struct.unpack_from(f"<{form}", head, offset)[0] if len(head) == 52 else None
            if found != expected:
                what = "shorter than a header" if found is None else found
                raise FormatError(self.path, "ELF header", field, what, name)
        (shoff,) = struct.unpack_from("<I", head, 32)
        shnum, shstrndx = struct.unpack_from("<HH", head, 48)
        table = self.part("section headers", shoff, 40 * shnum)
        rows = [struct.unpack_from("<10I", table, 40 * i) for i in range(shnum)]
        if shstrndx >= shnum:
            raise FormatError(self.path, "ELF header", "e_shstrndx", shstrndx, f"less than {shnum}")
        names = self.part("section names", rows[shstrndx][4], rows[shstrndx][5])
        return [_Section(i, _string(names, row[0]), *row[1:]) for i, row in enumerate(rows)]

    def part(self, structure: str, offset: int, size: int) -> bytes:
        if offset + size > len(self.data):
            expected = f"inside the file of {len(self.data):#x} bytes"
            raise FormatError(self.path, structure, "end", offset + size, expected)
        return self.data[offset : offset + size]

    def read_symbols(self) -> list[_Symbol]:
        table = next((section for section in self.sections if section.type == SHT_SYMTAB), None)
        if table is None:
            return []
        if table.link >= len(self.sections):
            raise FormatError(self.path, "symbol table", "sh_link", table.link, "a string table")
        strings = self.sections[table.link]
        names = self.part("symbol names", strings.offset, strings.size)
        rows = struct.iter_unpack(
            "<IIIBBH", self.part("symbol table", table.offset, table.size // 16 * 16)
        )
        return [_Symbol(_string(names, name), *rest) for name, *rest in rows]

    # -- segments ---------------------------------------------------------------------------------

    def convert(self) -> TextObject:
        used = {symbol.shndx for symbol in self.symbols if symbol.info & 15 != STT_SECTION}
        used |= {section.info for section in self.sections if section.type == SHT_REL}
        for section in self.sections:
            self.take_section(section, section.number in used)
        symbols = self.convert_symbols()
        relocations = [
            row for section in self.sections for row in self.convert_relocations(section)
        ]
        segments = [
            Segment(s.name, 0, s.size, _flags(s), bytes(self.contents.get(s.number, b"")))
            for s in self.segments
        ]
        relocations.sort(key=lambda row: (row.segment, row.loc))
        return TextObject(
            tuple(segments), tuple(symbols), tuple(relocations), extra=("little",), path=self.path
        )

    def take_section(self, section: _Section, used: bool) -> None:
        """A section that the program has in memory becomes a segment."""
        if (
            not section.flags & SHF_ALLOC
            or section.name == ".eh_frame"
            or section.name.startswith(".note")
        ):
            return
        subject = f"section {section.name}"
        if section.flags & SHF_TLS:
            self.complain(subject, "thread-local storage", "plain code and data")
            return
        if section.type not in (SHT_PROGBITS, SHT_NOBITS):
            self.complain(subject, f"type {section.type:#x}", "SHT_PROGBITS or SHT_NOBITS")
            return
        if not section.size and not used:
            return
        if section.align > 4 and not section.flags & SHF_EXECINSTR:
            expected = "at most 4, as the link editor aligns to words (try -Os or -mno-sse)"
            self.complain(f"{subject}: alignment", section.align, expected)
        self.segments.append(section)
        self.numbers[section.number] = len(self.segments)
        if section.type == SHT_PROGBITS:
            self.contents[section.number] = bytearray(
                self.part(subject, section.offset, section.size)
            )

    # -- symbols ----------------------------------------------------------------------------------

    def convert_symbols(self) -> list[Symbol]:
        result: list[Symbol] = []
        for index, symbol in enumerate(self.symbols):
            if symbol.info >> 4 == STB_LOCAL or symbol.name == "_GLOBAL_OFFSET_TABLE_":
                continue
            subject = f"symbol {symbol.name}"
            if self.is_own(symbol):
                continue
            if symbol.info >> 4 != STB_GLOBAL:
                kind = "weak" if symbol.info >> 4 == STB_WEAK else f"of binding {symbol.info >> 4}"
                self.complain(subject, kind, "local or global")
                continue
            if symbol.shndx == SHN_UNDEF:
                made = Symbol(symbol.name, 0, 0, "U")
            elif symbol.shndx == SHN_COMMON:
                made = Symbol(symbol.name, symbol.size, 0, "U")
            elif symbol.shndx == SHN_ABS:
                made = Symbol(symbol.name, symbol.value, 0, "D")
            elif symbol.shndx in self.numbers:
                made = Symbol(symbol.name, symbol.value, self.numbers[symbol.shndx], "D")
            else:
                self.complain(subject, f"section {symbol.shndx}", "a section of code or data")
                continue
            result.append(made)
            self.names[index] = len(result)
        return result

    def is_own(self, symbol: _Symbol) -> bool:
        """A copy of a helper that each object has, to be thrown together by COMDAT: here each keeps its own."""
        if not 0 < symbol.shndx < len(self.sections):
            return False
        return (
            bool(self.sections[symbol.shndx].flags & SHF_GROUP) and symbol.other & 3 == STV_HIDDEN
        )

    # -- relocations ------------------------------------------------------------------------------

    def convert_relocations(self, section: _Section) -> Iterator[Relocation]:
        if section.type == SHT_RELA:
            self.complain(f"section {section.name}", "SHT_RELA", "SHT_REL, as i386 has")
        if section.type != SHT_REL or section.info not in self.numbers:
            return
        table = self.part(f"section {section.name}", section.offset, section.size // 8 * 8)
        content = self.contents.get(section.info, bytearray())
        for offset, info in struct.iter_unpack("<II", table):
            subject = f"{section.name} at {offset:#x}"
            if offset + 4 > len(content):
                self.complain(
                    subject, "a place outside the section", f"at most {len(content) - 4:#x}"
                )
                continue
            made = self.convert_one(subject, content, offset, info >> 8, info & 0xFF)
            if made is not None:
                kind, ref, addend = made
                struct.pack_into("<I", content, offset, addend % LIMIT)
                yield Relocation(offset, self.numbers[section.info], ref, kind)

    def convert_one(
        self, subject: str, content: bytearray, offset: int, index: int, kind: int
    ) -> tuple[str, int, int] | None:
        """Type, reference and addend in the text format; None with a complaint."""
        (addend,) = struct.unpack_from("<i", content, offset)
        name = NAMES.get(kind, f"type {kind}")
        if index >= len(self.symbols):
            self.complain(subject, f"symbol {index}", f"less than {len(self.symbols)}")
            return None
        symbol = self.symbols[index]
        number = self.names.get(index)
        segment = self.numbers.get(symbol.shndx)
        here = segment is not None
        if kind == R_386_GOTPC:
            return "GA4", 0, addend
        if kind in (R_386_GOT32, R_386_GOT32X) and number is not None:
            # Without a base register (ModRM mod 00, r/m 101) the field is an address, not an offset.
            if offset and content[offset - 1] & 0xC7 == 0x05:
                self.complain(
                    subject, f"{name} without a base register", "code of -fPIC, which has one"
                )
                return None
            return "GP4", number, addend
        if kind == R_386_GOTOFF and segment is not None:
            return "GR4", segment, addend + symbol.value
        if kind in (R_386_32, R_386_PC32, R_386_PLT32):
            behind = 0 if kind == R_386_32 else 4
            letter = "A" if kind == R_386_32 else "R"
            if number is not None:
                return f"{letter}S4", number, addend + behind
            if segment is not None:
                return f"{letter}4", segment, addend + behind + symbol.value
            return None  # the symbol has been complained about
        if kind == R_386_GOTOFF and not here:
            self.complain(
                subject, f"{name} to {symbol.name} of another file", "a symbol of this file"
            )
        else:
            self.complain(subject, f"{name} {symbol.name}".strip(), EXPRESSIBLE)
        return None


def _flags(section: _Section) -> str:
    written = "W" if section.flags & SHF_WRITE else ""
    return f"R{written}P" if section.type == SHT_PROGBITS else f"R{written or 'W'}"


def _string(names: bytes, offset: int) -> str:
    end = names.find(b"\0", offset)
    return names[offset : end if end >= 0 else len(names)].decode("utf-8", "replace")
