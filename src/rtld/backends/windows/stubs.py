"""DLLs of our own making: an export table of names, each leading to a few bytes that stop the CPU.

They are real PE images, so that the loader finds, maps and binds them as any other; only their code is ours.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PAGE = 0x1000
SLOT = 16  # bytes of code of one function
#: The instruction at which Unicorn stops without a hook: hlt; wfi.
HALTS = {"x86_64": b"\xf4", "i386": b"\xf4", "aarch64": b"\x7f\x20\x03\xd5"}
MACHINES = {"x86_64": (0x8664, 64), "i386": (0x14C, 32), "aarch64": (0xAA64, 64)}
MOST_EXTRA = 4096


def _same(names: str, *codes: str) -> dict[str, tuple[bytes, ...]]:
    """Functions -> code for x86-64, i386, AArch64."""
    return dict.fromkeys(names.split(), tuple(map(bytes.fromhex, codes)))


#: Functions that only look into the TEB, or have always the same answer: machine code, which no call of Python is needed for.
#: Programs call them more often than all others.
INLINE = {
    # mov eax, 16; ret: see ``kernel32_memory``
    **_same("GetProcessHeap", "b810000000c3", "b810000000c3", "000280d2 c0035fd6"),
    # mov eax, LastErrorValue of the TEB; ret
    **_same("GetLastError RtlGetLastWin32Error", "658b042568000000 c3", "64a134000000 c3", "406a40b9 c0035fd6"),
    # mov LastErrorValue of the TEB, first argument; ret
    **_same("SetLastError RtlSetLastWin32Error", "65890c2568000000 c3", "8b442404 64a334000000 c20400", "406a00b9 c0035fd6"),
    # mov eax, thread id of the TEB; ret
    **_same("GetCurrentThreadId", "658b042548000000 c3", "64a124000000 c3", "404a40b9 c0035fd6"),
    **_same("GetCurrentProcess", "48c7c0ffffffff c3", "b8ffffffff c3", "00008092 c0035fd6"),  # -1
    **_same("GetCurrentThread", "48c7c0feffffff c3", "b8feffffff c3", "20008092 c0035fd6"),  # -2
    **_same("EncodePointer DecodePointer RtlEncodePointer RtlDecodePointer", "4889c8 c3", "8b442404 c20400", "c0035fd6"),
}  # fmt: skip
_INLINE_OF = {"x86_64": 0, "i386": 1, "aarch64": 2}


class StubDll:
    """``image``: the bytes of the file; ``code``: RVA of the first slot; ``slots``: name -> number of its slot."""

    def __init__(
        self,
        name: str,
        functions: Iterable[str],
        data: Mapping[str, tuple[int, int]],
        arch: str,
        base: int,
    ) -> None:
        self.name = name
        self.code = PAGE
        self.slots = {f: n for n, f in enumerate(sorted(functions))}
        self._machine, self._bits = MACHINES[arch]
        self._halt = HALTS[arch]
        self._number = _INLINE_OF[arch]
        wide = self._bits == 64
        variables = {n: sizes[wide] for n, sizes in sorted(data.items())}
        code_size = _up(max(len(self.slots), 1) * SLOT)
        self.data_rva = PAGE + code_size
        places: dict[str, int] = {n: PAGE + SLOT * slot for n, slot in self.slots.items()}
        at = self.data_rva
        for variable, size in variables.items():
            places[variable] = at
            at += -(-size // 16) * 16
        data_size = _up(max(at - self.data_rva, 16))
        exports_rva = self.data_rva + data_size
        table = _exports(name, places, exports_rva)
        self.places = places
        self.image = self._file(base, code_size, data_size, exports_rva, table)

    def _file(self, base: int, code: int, data: int, exports: int, table: bytes) -> bytes:
        text = bytearray(self._halt * (code // len(self._halt)))
        for function in INLINE.keys() & self.slots if self.name in ("kernel32.dll", "ntdll.dll", "kernelbase.dll") else ():  # fmt: skip
            own = INLINE[function][self._number]
            at = SLOT * self.slots[function]
            text[at : at + len(own)] = own
        sections = [
            (b".text", PAGE, bytes(text), 0x60000020),
            (b".data", self.data_rva, bytes(data), 0xC0000040),
            (b".edata", exports, table + bytes(_up(len(table)) - len(table)), 0x40000040),
        ]
        wide = self._bits == 64
        word = "Q" if wide else "I"
        fields: list[int] = [0x20B if wide else 0x10B, 1, 0, code, data, 0, 0, PAGE]
        fields += [] if wide else [self.data_rva]
        end = exports + _up(len(table))
        fields += [base, PAGE, 512, 6, 1, 0, 0, 6, 1, 0, end, PAGE, 0, 3, 0x140]
        fields += [1 << 20, PAGE, 1 << 20, PAGE, 0, 16]
        form = f"<HBBIIIII{'' if wide else 'I'}{word}IIHHHHHHIIIIHH{word * 4}II"
        optional = struct.pack(form, *fields) + struct.pack("<II", exports, len(table)) + bytes(120)
        head = b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0"
        head += struct.pack("<HHIIIHH", self._machine, 3, 0, 0, 0, len(optional), 0x2022) + optional
        pointer, body = PAGE, b""
        for name, rva, content, flags in sections:
            head += struct.pack("<8sIIIIIIHHI", name, len(content), rva, len(content), pointer, 0, 0, 0, 0, flags)  # fmt: skip
            body += content
            pointer += len(content)
        return head + bytes(PAGE - len(head)) + body


def _up(value: int) -> int:
    return (value + PAGE - 1) & -PAGE


def _exports(name: str, places: Mapping[str, int], rva: int) -> bytes:
    """An export directory that stands at ``rva``."""
    names = sorted(n.encode() for n in places)
    count = len(names)
    functions = 40
    pointers = functions + 4 * count
    ordinals = pointers + 4 * count
    text = ordinals + 2 * count
    blob = name.encode() + b"\0"
    at = []
    for each in names:
        at.append(rva + text + len(blob))
        blob += each + b"\0"
    head = struct.pack(
        "<IIHHIIIIIII", 0, 0, 0, 0, rva + text, 1, count, count, rva + functions, rva + pointers, rva + ordinals
    )  # fmt: skip
    head += struct.pack(f"<{count}I", *[places[n.decode()] for n in names])
    head += struct.pack(f"<{count}I", *at) + struct.pack(f"<{count}H", *range(count))
    return head + blob
