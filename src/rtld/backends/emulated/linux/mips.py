"""What is otherwise on MIPS: numbers of errors, signals and flags, which have a history of their own (arch/mips/include/uapi/asm)."""

from __future__ import annotations

# fmt: off
#: errno.h: this computer's number -> MIPS's, where they differ.
ERRNO_MIPS = {
    35: 45, 36: 78, 37: 46, 38: 89, 39: 93, 40: 90, 42: 35, 43: 36, 44: 37, 45: 38, 46: 39, 47: 40, 48: 41, 49: 42, 50: 43, 51: 44,
    52: 50, 53: 51, 54: 52, 55: 53, 56: 54, 57: 55, 74: 77, 75: 79, 76: 80, 77: 81, 78: 82, 79: 83, 80: 84, 81: 85, 82: 86, 83: 87,
    84: 88, 85: 91, 86: 92, 87: 94, 88: 95, 89: 96, 90: 97, 91: 98, 92: 99, 93: 120, 94: 121, 95: 122, 96: 123, 97: 124, 98: 125,
    99: 126, 100: 127, 101: 128, 102: 129, 103: 130, 104: 131, 105: 132, 106: 133, 107: 134, 108: 143, 109: 144, 110: 145, 111: 146,
    112: 147, 113: 148, 114: 149, 115: 150, 116: 151, 117: 135, 118: 137, 119: 138, 120: 139, 121: 140, 122: 1133, 123: 159, 124: 160,
    125: 158, 126: 161, 127: 162, 128: 163, 129: 164, 130: 165, 131: 166, 132: 167,
}
#: signal.h: MIPS's number -> the usual one, where they differ. SIGEMT is nobody's elsewhere.
SIGNALS = {7: 16, 10: 7, 12: 31, 16: 10, 17: 12, 18: 17, 19: 30, 20: 28, 21: 23, 22: 29, 23: 19, 24: 20, 25: 18, 28: 26, 29: 27,
           26: 21, 27: 22, 30: 24, 31: 25}
_BACK = {usual: own for own, usual in SIGNALS.items()}
#: fcntl.h: MIPS's bit -> the usual one.
OPEN = {
    0x0008: 0o2000, 0x0100: 0o100, 0x0400: 0o200, 0x0080: 0o4000, 0x0200: 0o1000, 0x0800: 0o400, 0x1000: 0o20000, 0x0010: 0o10000,
    0x4000: 0o4000000, 0x10000: 0o200000, 0x20000: 0o400000, 0x8000: 0o40000, 0x40000: 0o1000000, 0x80000: 0o2000000,
    0x200000: 0o10000000, 0x400000: 0o20000000, 0x2000: 0,
}
#: mman.h: MIPS's bit -> the usual one; shared, private, fixed are the same.
MAP = {0x0800: 0x20, 0x0400: 0x4000, 0x1000: 0x100, 0x2000: 0x800, 0x4000: 0x1000, 0x8000: 0x2000, 0x10000: 0x8000,
       0x20000: 0x10000, 0x40000: 0x20000, 0x80000: 0x40000, 0x100000: 0x100000}
#: fcntl.h: commands.
FCNTL = {14: 5, 6: 6, 7: 7, 23: 9, 24: 8, 33: 12, 34: 13, 35: 14}
#: ioctls.h.
IOCTL = {0x540D: 0x5401, 0x540E: 0x5402, 0x540F: 0x5403, 0x5410: 0x5404, 0x40087468: 0x5413, 0x40047477: 0x540F, 0x80047476: 0x5410,
         0x467F: 0x541B, 0x667E: 0x5421, 0x6602: 0x5450, 0x6601: 0x5451}
#: socket.h: options of SOL_SOCKET, which is 0xffff.
SOL_SOCKET = 0xFFFF
SOCKET = {0x0004: 2, 0x1008: 3, 0x1007: 4, 0x0020: 6, 0x1001: 7, 0x1002: 8, 0x0008: 9, 0x0080: 13, 0x0200: 15, 17: 16, 18: 17,
          0x1004: 18, 0x1006: 20, 0x1005: 21, 0x1009: 30, 0x1028: 38, 0x1029: 39}
SA_SIGINFO = 8
SI_TIMER = -3
# fmt: on


def signal_in(number: int) -> int:
    """The usual number of MIPS's signal; real-time signals from 32 on are the same."""
    return SIGNALS.get(number, number)


def signal_out(number: int) -> int:
    """The reverse."""
    return _BACK.get(number, number)


def mask_in(mask: int) -> int:
    """A set of signals."""
    return _turn(mask, SIGNALS)


def mask_out(mask: int) -> int:
    """The reverse."""
    return _turn(mask, _BACK)


def _turn(mask: int, numbers: dict[int, int]) -> int:
    result = mask & ~0x7FFFFFFF
    for bit in range(31):
        if mask >> bit & 1:
            result |= 1 << numbers.get(bit + 1, bit + 1) - 1
    return result


def bits_in(flags: int, bits: dict[int, int], same: int) -> int:
    """Flags as the host has them: those of *bits* translated, those of *same* kept, all others gone."""
    result = flags & same
    for own, usual in bits.items():
        if flags & own:
            result |= usual
    return result


def bits_out(flags: int, bits: dict[int, int], same: int) -> int:
    """The reverse."""
    result = flags & same
    for own, usual in bits.items():
        if usual and flags & usual == usual:
            result |= own
    return result
