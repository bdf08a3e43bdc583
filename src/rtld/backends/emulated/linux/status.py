"""struct stat and its relatives, CPU by CPU (arch/*/include/uapi/asm/stat.h, include/uapi/linux/stat.h of Linux 6.1)."""

from __future__ import annotations

import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# fmt: off
_TIMES64 = "qQqQqQ"
#: CPU -> structure of its newest stat call; the fields in their order.
FORMS: dict[str, tuple[str, tuple[str, ...]]] = {
    "x86_64":  (f"QQQIII4xQqqq{_TIMES64}24x",   ("dev", "ino", "nlink", "mode", "uid", "gid", "rdev", "size", "blksize", "blocks", "times")),
    "aarch64": (f"QQIIIIQ8xqi4xq{_TIMES64}8x",  ("dev", "ino", "mode", "nlink", "uid", "gid", "rdev", "size", "blksize", "blocks", "times")),
    "riscv64": (f"QQIIIIQ8xqi4xq{_TIMES64}8x",  ("dev", "ino", "mode", "nlink", "uid", "gid", "rdev", "size", "blksize", "blocks", "times")),
    "s390x":   (f"QQQIII4xQQ{_TIMES64}Qq24x",   ("dev", "ino", "nlink", "mode", "uid", "gid", "rdev", "size", "times", "blksize", "blocks")),
    "mips64el": ("I12xQIIIII12xqIIIIIII4xq",    ("dev", "ino", "mode", "nlink", "uid", "gid", "rdev", "size", "times", "blksize", "blocks")),
    "mipsel":  ("I12xQIIIII12xqIIIIIII4xq",     ("dev", "ino", "mode", "nlink", "uid", "gid", "rdev", "size", "times", "blksize", "blocks")),
    "i386":    ("Q4xIIIIIQ4xqIQIIIIIIQ",        ("dev", "ino32", "mode", "nlink", "uid", "gid", "rdev", "size", "blksize", "blocks", "times", "ino")),
    "arm":     ("Q4xIIIIIQ4x4xqI4xQIIIIIIQ",    ("dev", "ino32", "mode", "nlink", "uid", "gid", "rdev", "size", "blksize", "blocks", "times", "ino")),
}
# fmt: on
_BILLION = 1_000_000_000
STATX_BASIC = 0x7FF


def _device(number: int) -> int:
    """dev_t as the kernel encodes it for users (new_encode_dev)."""
    major, minor = os.major(number), os.minor(number)
    return (minor & 0xFF) | (major & 0xFFF) << 8 | (minor & ~0xFF) << 12


def _times(s: os.stat_result) -> list[int]:
    numbers: list[int] = []
    for nanoseconds in (s.st_atime_ns, s.st_mtime_ns, s.st_ctime_ns):
        numbers += divmod(nanoseconds, _BILLION)
    return numbers


_FIELDS: dict[str, Callable[[os.stat_result], int]] = {
    "dev": lambda s: _device(s.st_dev),
    "ino": lambda s: s.st_ino,
    "ino32": lambda s: s.st_ino & 0xFFFFFFFF,
    "mode": lambda s: s.st_mode,
    "nlink": lambda s: s.st_nlink,
    "uid": lambda s: s.st_uid,
    "gid": lambda s: s.st_gid,
    "rdev": lambda s: _device(s.st_rdev),
    "size": lambda s: s.st_size,
    "blksize": lambda s: s.st_blksize,
    "blocks": lambda s: s.st_blocks,
}


def pack_stat(cpu: str, order: str, s: os.stat_result) -> bytes:
    """struct stat, of a 32-bit CPU struct stat64."""
    form, fields = FORMS[cpu]
    values: list[int] = []
    narrow = cpu in ("i386", "arm", "mips64el", "mipsel")
    for field in fields:
        if field == "times":
            values += [v & 0xFFFFFFFF for v in _times(s)] if narrow else _times(s)
        else:
            values.append(_FIELDS[field](s))
    return struct.pack(order + form, *values)


def pack_statx(order: str, s: os.stat_result) -> bytes:
    """struct statx."""
    times = _times(s)
    stamps: list[int] = []
    for which in (0, None, 2, 1):  # access, birth, change, modification
        stamps += [0, 0] if which is None else times[2 * which : 2 * which + 2]
    head = struct.pack(
        order + "IIQIIIHxxQQQQ", STATX_BASIC, s.st_blksize, 0, s.st_nlink, s.st_uid, s.st_gid, s.st_mode & 0xFFFF,
        s.st_ino, s.st_size, s.st_blocks, 0,
    )  # fmt: skip
    # access, birth, change, modification: the order of struct statx
    body = struct.pack(order + "qI4xqI4xqI4xqI4x", *stamps)
    tail = struct.pack(
        order + "IIII",
        os.major(s.st_rdev),
        os.minor(s.st_rdev),
        os.major(s.st_dev),
        os.minor(s.st_dev),
    )
    return (head + body + tail).ljust(256, b"\0")


def pack_statfs(
    cpu: str, order: str, s: os.statvfs_result, *, wide: bool, kind: int = 0xEF53
) -> bytes:
    """struct statfs; *wide*: struct statfs64 of a 32-bit CPU; *kind*: f_type."""
    name = 255 if s.f_namemax == 0 else s.f_namemax
    numbers = (s.f_blocks, s.f_bfree, s.f_bavail, s.f_files, s.f_ffree)
    if cpu in ("i386", "arm"):
        if wide:
            tail = (s.f_namemax, s.f_frsize, s.f_flag)
            return struct.pack(order + "IIQQQQQ8xIII16x", kind, s.f_bsize, *numbers, *tail)
        few = [min(number, 0xFFFFFFFF) for number in numbers]
        return struct.pack(
            order + "IIIIIII8xIII16x", kind, s.f_bsize, *few, name, s.f_frsize, s.f_flag
        )
    if cpu in ("mips64el", "mipsel"):  # the free ones stand last, and the fragment's size third
        blocks, free, here, files, left = numbers
        mixed = (kind, s.f_bsize, s.f_frsize, blocks, free, files, left, here)
        if cpu == "mipsel" and wide:
            return struct.pack(order + "III4xQQQQQ8xII20x", *mixed, name, s.f_flag)
        if cpu == "mips64el":
            return struct.pack(order + "QQQQQQQQ8xQQ40x", *mixed, name, s.f_flag)
        few = [min(number, 0xFFFFFFFF) for number in mixed]
        return struct.pack(order + "IIIIIIII8xII20x", *few, name, s.f_flag)
    if cpu == "s390x":
        return struct.pack(
            order + "IIQQQQQ8xIII20x", kind, s.f_bsize, *numbers, name, s.f_frsize, s.f_flag
        )
    return struct.pack(
        order + "QQQQQQQ8xQQQ32x", kind, s.f_bsize, *numbers, name, s.f_frsize, s.f_flag
    )
