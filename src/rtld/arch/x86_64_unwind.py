"""Unwinding on x64 Windows: UNWIND_INFO decoded, and one step up the stack by it.

"x64 exception handling" (learn.microsoft.com): every function that is no leaf has a row (begin, end, unwind information)
in a table. Its unwind codes tell backwards what its prologue has done; undoing them gives the caller's registers. An
epilogue is recognised by its instructions (version 1), or by where it is said to be (version 2, UWOP_EPILOG), and
carried out. Memory is reached through ``read(address, size)``, which raises what its owner likes.
"""

from __future__ import annotations

import struct
from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Read = Callable[[int, int], bytes]

# fmt: off
(PUSH_NONVOL, ALLOC_LARGE, ALLOC_SMALL, SET_FPREG, SAVE_NONVOL, SAVE_NONVOL_FAR, EPILOG, SPARE, SAVE_XMM128,
 SAVE_XMM128_FAR, PUSH_MACHFRAME) = range(11)
EHANDLER, UHANDLER, CHAININFO = 1, 2, 4  # flags
REGISTERS = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
             "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15")
# fmt: on
RSP = 4
_MASK = (1 << 64) - 1
#: Codes -> slots of 16 bits that they take; ALLOC_LARGE takes one more when its operation info is 1.
_SLOTS = (1, 2, 1, 1, 2, 3, 1, 3, 2, 3, 1)
_MAX_CHAIN = 32
_MAX_EPILOGUE = 32  # instructions

#: A row of the table; RVAs.
Function = namedtuple("Function", "begin end unwind")
#: One unwind code: offset in the prologue of the instruction's end, operation, its info (a register), operand in bytes.
Code = namedtuple("Code", "offset operation info operand")
#: Decoded UNWIND_INFO. ``epilogues``: offsets from the function's end of ``epilogue_size`` bytes each (version 2).
#: ``handler``: RVA, 0 without one; ``data``: RVA of what is the handler's own; ``chain``: a Function, or None.
UnwindInfo = namedtuple(
    "UnwindInfo", "version flags prologue register offset codes epilogue_size epilogues handler data chain"
)  # fmt: skip
#: What one step has found: the frame that is the function's, its language handler (address, 0: none), the handler's data.
Step = namedtuple("Step", "frame handler data")


class BadUnwindInfo(ValueError):
    """UNWIND_INFO that cannot be: its field, what stands there, what should."""

    def __init__(self, field: str, found: int, expected: str) -> None:
        self.field = field
        self.found = found
        self.expected = expected
        super().__init__(field, found, expected)


def decode(read: Read, rva: int) -> UnwindInfo:
    """The UNWIND_INFO at an RVA. BadUnwindInfo; what ``read`` raises."""
    if rva & 3:
        raise BadUnwindInfo("UnwindData", rva, "a multiple of 4")
    first, prologue, count, frame = read(rva, 4)
    version, flags = first & 7, first >> 3
    if version not in (1, 2):
        raise BadUnwindInfo("Version", version, "1 or 2")
    if (flags & CHAININFO and flags & (EHANDLER | UHANDLER)) or flags > CHAININFO:
        raise BadUnwindInfo("Flags", flags, "handlers, or a chain, or nothing")
    register, offset = frame & 15, frame >> 4
    tail = rva + 4 + 2 * (count + count % 2)
    slots = read(rva + 4, 2 * count)
    codes, size, epilogues = _codes(slots, version)
    handler = data = 0
    chain = None
    if flags & CHAININFO:
        chain = Function(*struct.unpack("<III", read(tail, 12)))
    elif flags:
        handler = int.from_bytes(read(tail, 4), "little")
        data = tail + 4
    return UnwindInfo(
        version, flags, prologue, register, offset * 16, codes, size, epilogues, handler, data, chain
    )  # fmt: skip


def _codes(slots: bytes, version: int) -> tuple[tuple[Code, ...], int, tuple[int, ...]]:
    """(codes, size of the epilogues, where they are) of the array of unwind codes."""
    codes: list[Code] = []
    epilogues: list[int] = []
    size = at = 0
    while at < len(slots):
        offset, second = slots[at], slots[at + 1]
        operation, info = second & 15, second >> 4
        if operation > PUSH_MACHFRAME or (operation in (EPILOG, SPARE) and version == 1):
            raise BadUnwindInfo("UnwindOp", operation, "0 to 5 or 8 to 10 (6 in version 2)")
        width = _SLOTS[operation]
        if operation == ALLOC_LARGE:
            if info > 1:
                raise BadUnwindInfo("OpInfo of UWOP_ALLOC_LARGE", info, "0 or 1")
            width += info
        if at + 2 * width > len(slots):
            raise BadUnwindInfo("CountOfCodes", len(slots) // 2, f"at least {at // 2 + width}")
        operand = int.from_bytes(slots[at + 2 : at + 2 * width], "little")
        at += 2 * width
        if operation == EPILOG:
            if not size:  # the first one has the size, and whether there is one at the very end
                size = offset
                if info & 1:
                    epilogues.append(size)
            elif offset or info:
                epilogues.append(offset | info << 8)
            continue
        if operation == SPARE:
            continue
        if operation == ALLOC_SMALL:
            operand = 8 * info + 8
        elif operation == SAVE_NONVOL or (operation == ALLOC_LARGE and not info):
            operand *= 8
        elif operation == SAVE_XMM128:
            operand *= 16
        codes.append(Code(offset, operation, info, operand))
    return tuple(codes), size, tuple(epilogues)


class Registers:
    """``gpr``: 16 integers as REGISTERS names them; ``xmm``: 16 of 128 bits; ``rip``. ``saved``: where each was found.

    Keys of ``saved`` are 0 to 15 for ``gpr`` and 16 to 31 for ``xmm``; values are addresses.
    """

    __slots__ = ("gpr", "rip", "saved", "xmm")

    def __init__(self, gpr: list[int], xmm: list[int], rip: int) -> None:
        self.gpr = gpr
        self.xmm = xmm
        self.rip = rip
        self.saved: dict[int, int] = {}

    def copy(self) -> Registers:
        return Registers(self.gpr[:], self.xmm[:], self.rip)


def leaf(read: Read, registers: Registers) -> None:
    """Up from a function that has no row: nothing but the return address is on the stack."""
    sp = registers.gpr[RSP]
    registers.rip = int.from_bytes(read(sp, 8), "little")
    registers.gpr[RSP] = sp + 8 & _MASK


def unwind(
    read: Read,
    info_at: Callable[[int], UnwindInfo],
    base: int,
    function: Function,
    registers: Registers,
    wanted: int = EHANDLER | UHANDLER,
) -> Step:
    """One step up, out of ``function`` of the image at ``base``: ``registers`` become the caller's.

    ``info_at(rva)`` decodes unwind information. The handler is given if it has a flag of ``wanted`` and the program
    counter is neither in prologue nor epilogue. BadUnwindInfo for an endless chain.
    """
    gpr, pc = registers.gpr, registers.rip
    frame = gpr[RSP]
    machine_frame = False
    for _ in range(_MAX_CHAIN):
        info: UnwindInfo = info_at(function.unwind)
        based = gpr[info.register] - info.offset & _MASK if info.register else frame
        reached = pc - base - function.begin
        inside = 0 <= reached < info.prologue
        if not inside and info.codes and _in_epilogue(read, base, function, info, pc):
            _finish_epilogue(read, registers)
            return Step(based, 0, 0)
        for offset, operation, number, operand in info.codes:
            if inside and reached < offset:
                continue  # not done yet
            if operation == PUSH_NONVOL:
                _reload(read, registers, number, gpr[RSP])
                gpr[RSP] = gpr[RSP] + 8 & _MASK
            elif operation in (ALLOC_SMALL, ALLOC_LARGE):
                gpr[RSP] = gpr[RSP] + operand & _MASK
            elif operation == SET_FPREG:
                gpr[RSP] = frame = based
            elif operation in (SAVE_NONVOL, SAVE_NONVOL_FAR):
                _reload(read, registers, number, based + operand)
            elif operation in (SAVE_XMM128, SAVE_XMM128_FAR):
                registers.xmm[number] = int.from_bytes(read(based + operand, 16), "little")
                registers.saved[16 + number] = based + operand
            else:  # PUSH_MACHFRAME: what the CPU pushed at an interrupt, perhaps with an error code
                sp = gpr[RSP] + 8 * (number & 1)
                registers.rip = int.from_bytes(read(sp, 8), "little")
                gpr[RSP] = int.from_bytes(read(sp + 24, 8), "little")
                machine_frame = True
        if info.chain is None:
            break
        function = info.chain
    else:
        raise BadUnwindInfo("chain", _MAX_CHAIN, "an end")
    if not machine_frame:
        leaf(read, registers)
    if inside or not info.flags & wanted:
        return Step(frame, 0, 0)
    return Step(frame, base + info.handler, base + info.data)


def _reload(read: Read, registers: Registers, number: int, address: int) -> None:
    registers.gpr[number] = int.from_bytes(read(address & _MASK, 8), "little")
    registers.saved[number] = address & _MASK


# -- epilogues ------------------------------------------------------------------------------------


def _in_epilogue(read: Read, base: int, function: Function, info: UnwindInfo, pc: int) -> bool:
    """Is what is left of the function at ``pc`` only (add or lea to rsp,) pops and a return or a jump out of it?"""
    if info.version == 2 and info.epilogue_size:
        end = base + function.end
        return any(end - e <= pc < end - e + info.epilogue_size for e in info.epilogues)
    code = _code(read, pc)
    at = _stack_adjust(code)
    for _ in range(_MAX_EPILOGUE):
        prefix = code[at : at + 1] and code[at] & 0xF0 == 0x40
        at += bool(prefix)
        if at >= len(code):
            return False
        opcode = code[at]
        if opcode & 0xF8 == 0x58:
            at += 1
            continue
        if opcode in (0xC2, 0xC3):
            return True
        if opcode == 0xF3:
            return code[at + 1 : at + 2] == b"\xc3"
        if opcode in (0xE9, 0xEB):
            width = 4 if opcode == 0xE9 else 1
            target = pc + at + 1 + width
            target += int.from_bytes(code[at + 1 : at + 1 + width], "little", signed=True)
            inside = function.begin < target - base < function.end
            return len(code) >= at + 1 + width and not inside
        # jmp *: through memory, or through a register with the prefix that marks it as an epilogue's
        second = code[at + 1] if at + 1 < len(code) else 0
        return opcode == 0xFF and second & 0x38 == 0x20 and (second >> 6 != 3 or bool(prefix))
    return False


def _code(read: Read, pc: int) -> bytes:
    """The bytes at ``pc``: as many as there are, up to 64."""
    for size in (64, 16, 4, 1):
        try:
            return read(pc, size)
        except Exception:  # noqa: S112  (what the owner of the memory raises: it is not there)
            continue
    return b""


def _stack_adjust(code: bytes) -> int:
    """The length of ``add $n, %rsp`` or ``lea n(%reg), %rsp`` at the beginning; 0 without one."""
    if code[:3] == b"\x48\x83\xc4":
        return 4
    if code[:3] == b"\x48\x81\xc4":
        return 7
    if len(code) > 2 and code[0] & 0xFE == 0x48 and code[1] == 0x8D:
        mode, target, source = code[2] >> 6, code[2] >> 3 & 7, code[2] & 7
        if target == RSP and source != 4 and mode in (1, 2):
            return 4 if mode == 1 else 7
    return 0


def _finish_epilogue(read: Read, registers: Registers) -> None:
    """Carry out what is left of an epilogue."""
    gpr = registers.gpr
    code = _code(read, registers.rip)
    at = _stack_adjust(code)
    if at:
        if code[1] == 0x8D:
            operand = int.from_bytes(code[3:at], "little", signed=True)
            gpr[RSP] = gpr[code[2] & 7 | (code[0] & 1) << 3] + operand & _MASK
        else:
            gpr[RSP] = gpr[RSP] + int.from_bytes(code[3:at], "little", signed=True) & _MASK
    while at < len(code):
        high = 0
        if code[at] & 0xF0 == 0x40:
            high = (code[at] & 1) << 3
            at += 1
        if at >= len(code) or code[at] & 0xF8 != 0x58:
            break
        _reload(read, registers, code[at] & 7 | high, gpr[RSP])
        gpr[RSP] = gpr[RSP] + 8 & _MASK
        at += 1
    leaf(read, registers)
