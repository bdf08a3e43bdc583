"""DT_GNU_HASH, made from columns (the format: binutils, bfd/elflink.c; glibc, elf/dl-lookup.c)."""

from __future__ import annotations

import struct

import numpy as np

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.elf.flat import I64, U32

_SHIFT = 26


def gnu_hash_table(hashes: U32, first: int) -> tuple[bytes, I64]:
    """The table for symbols with these hashes, which are numbered from *first* on in the order that is returned.

    The order sorts by bucket and keeps that of the input within one: the first of several symbols of a name is found.
    """
    count = len(hashes)
    buckets = max(count // 2, 1) | 1
    # Most look-ups are for names that are not here: ten bits or more a symbol turn away all but one in a hundred.
    words = 1 << max((count * 10 // 64).bit_length(), 0)
    bucket = hashes % np.uint32(buckets)
    order = np.argsort(bucket, kind="stable")
    h, b = hashes[order], bucket[order]
    last = np.ones(count, np.bool_)
    last[:-1] = b[1:] != b[:-1]
    chain = (h & ~np.uint32(1)) | last.astype(np.uint32)
    heads = np.zeros(buckets, np.uint32)
    begins = np.flatnonzero(np.concatenate([np.ones(min(count, 1), np.bool_), last[:-1]]))
    heads[b[begins]] = first + begins
    bloom = np.zeros(words, np.uint64)
    word = (h >> np.uint32(6)) & np.uint32(words - 1)
    one, mask = np.uint64(1), np.uint64(63)
    np.bitwise_or.at(bloom, word, one << (h.astype(np.uint64) & mask))
    np.bitwise_or.at(bloom, word, one << ((h >> np.uint32(_SHIFT)).astype(np.uint64) & mask))
    head = struct.pack("<4I", buckets, first, words, _SHIFT)
    return head + bloom.tobytes() + heads.tobytes() + chain.tobytes(), order
