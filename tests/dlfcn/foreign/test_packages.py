"""Libraries of Debian's packages on six CPUs: what they say is what the host's own say."""

from __future__ import annotations

import ctypes
import hashlib
import math
import random
import sqlite3
import struct
import zlib
from typing import Any

import pytest

from rtld.dlfcn.foreign.namespace import ForeignNamespace

DATA = bytes(random.Random(3).choices(b"abcdefgh \n", k=50_000))


def test_zlib(debian: ForeignNamespace) -> None:
    z = debian.dlopen("libz.so.1")
    z.cdef(
        "unsigned long crc32(unsigned long, const char *, unsigned); unsigned long adler32(unsigned long, const char *, unsigned);"
        "int compress2(unsigned char *, unsigned long *, const char *, unsigned long, int); const char *zlibVersion(void);"
    )
    assert z.zlibVersion().startswith(b"1.")
    for size in (0, 1, 100, len(DATA)):
        assert z.crc32(0, DATA[:size], size) == zlib.crc32(DATA[:size])
        assert z.adler32(1, DATA[:size], size) == zlib.adler32(DATA[:size])
    out = ctypes.create_string_buffer(len(DATA))
    length = ctypes.c_ulong(len(out))
    assert z.compress2(out, ctypes.byref(length), DATA, len(DATA), 9) == 0
    assert zlib.decompress(out.raw[: length.value]) == DATA
    texts = [struct.pack("<I", n) for n in range(3000)]
    assert list(z.crc32.map((0, text, 4) for text in texts)) == [zlib.crc32(text) for text in texts]


def test_libm(debian: ForeignNamespace) -> None:
    m = debian.dlopen("libm.so.6")
    m.cdef(
        "double pow(double, double); double sqrt(double); double frexp(double, int *); float hypotf(float, float); double fma(double, double, double); long lround(double);"
    )
    values = [random.Random(1).uniform(0.01, 50) for _ in range(200)]
    powers = list(m.pow.map(values, values))
    # The x87's results have more bits before they are rounded.
    wanted = [math.pow(v, v) for v in values]
    assert powers == (
        [pytest.approx(v, rel=1e-15) for v in wanted] if debian.cpu == "i386" else wanted
    )
    assert list(m.sqrt.map(values)) == [math.sqrt(v) for v in values]
    exponent = ctypes.c_int()
    assert (m.frexp(10.0, ctypes.byref(exponent)), exponent.value) == math.frexp(10.0)
    assert m.hypotf(3.0, 4.0) == 5.0
    assert m.fma(2.0, 3.0, 4.0) == 10.0
    assert m.lround(-2.5) == -3


def test_qsort_with_a_comparator_in_python(debian: ForeignNamespace) -> None:
    c = debian.dlopen("libc.so.6")
    compare = ctypes.CFUNCTYPE(
        ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int)
    )
    c.qsort.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, compare]
    c.qsort.restype = None
    values = random.Random(2).sample(range(-500, 500), 100)
    array = (ctypes.c_int * 100)(*values)
    c.qsort(array, 100, 4, compare(lambda a, b: a[0] - b[0]))
    assert list(array) == sorted(values)
    # Raised in Python, seen by who called the guest.
    with pytest.raises(ZeroDivisionError):
        c.qsort(array, 100, 4, lambda a, b: 1 // 0)
    # And the machine goes on.
    c.qsort(array, 100, 4, lambda a, b: b.contents.value - a.contents.value)
    assert list(array) == sorted(values, reverse=True)


def test_sqlite(debian: ForeignNamespace) -> None:
    s = debian.dlopen("libsqlite3.so.0")
    rows: list[list[Any]] = []

    def row(_: Any, count: int, values: Any, _names: Any) -> int:
        rows.append(values[:count] if count else [])
        return 0

    callback = ctypes.CFUNCTYPE(
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_int,
        ctypes.POINTER(ctypes.c_char_p),
        ctypes.POINTER(ctypes.c_char_p),
    )
    s.sqlite3_exec.argtypes = [
        ctypes.c_void_p,
        ctypes.c_char_p,
        callback,
        ctypes.c_void_p,
        ctypes.POINTER(ctypes.c_char_p),
    ]
    database = ctypes.c_void_p()
    assert s.sqlite3_open(b":memory:", ctypes.byref(database)) == 0

    # A function in Python that SQL calls; it calls back into the guest.
    value = s.function("sqlite3_value_int", ctypes.c_int, ctypes.c_void_p)
    answer = s.function("sqlite3_result_int", None, ctypes.c_void_p, ctypes.c_int)

    def triple(context: int, _count: int, arguments: Any) -> None:
        answer(context, 3 * value(arguments[0]))

    step = s.callback(triple, None, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(ctypes.c_void_p))
    s.sqlite3_create_function.argtypes = [
        ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p,
    ]  # fmt: skip
    assert s.sqlite3_create_function(database, b"triple", 1, 1, None, step, None, None) == 0
    sql = """create table t(a integer primary key, b text, c real);
        insert into t(b, c) values ('x', 1.5), (null, -2), ('zwei', 1e10);
        select a, b, c from t order by c;
        with recursive n(i) as (values(1) union all select i + 1 from n where i < 500) select sum(triple(i)), group_concat(i % 7, '') from n;
        select printf('%.3f %08.2f %x', 3.14159, -2.5, 255), upper('abc'), length(hex(randomblob(8)));"""
    error = ctypes.c_char_p()
    assert s.sqlite3_exec(database, sql.encode(), callback(row), None, ctypes.byref(error)) == 0
    host = sqlite3.connect(":memory:")
    host.create_function("triple", 1, lambda n: 3 * n)
    want: list[Any] = []
    for statement in sql.split(";"):
        want += host.execute(statement).fetchall()

    def text(item: Any) -> Any:
        return None if item is None else str(item).encode()

    assert rows == [[text(item) for item in line] for line in want]
    assert s.sqlite3_exec(database, b"select absent", None, None, ctypes.byref(error)) == 1
    s.sqlite3_errmsg.restype = ctypes.c_char_p
    assert s.sqlite3_errmsg(database) == b"no such column: absent"
    assert s.sqlite3_close(database) == 0


def test_libcrypto(debian: ForeignNamespace) -> None:
    c = debian.dlopen("libcrypto.so.3")
    out = ctypes.create_string_buffer(64)
    c.SHA256.restype = c.SHA512.restype = ctypes.c_void_p
    for data in (b"", b"abc", DATA):
        c.SHA256(data, len(data), out)
        assert out.raw[:32] == hashlib.sha256(data).digest()
        c.SHA512(data, len(data), out)
        assert out.raw == hashlib.sha512(data).digest()
    c.cdef("void *EVP_MD_CTX_new(void); const void *EVP_get_digestbyname(const char *); int EVP_DigestInit_ex(void *, const void *, void *);"
           "int EVP_DigestUpdate(void *, const char *, size_t); int EVP_DigestFinal_ex(void *, unsigned char *, unsigned *); void EVP_MD_CTX_free(void *);")  # fmt: skip
    context = c.EVP_MD_CTX_new()
    for name in ("sha3-256", "md5", "blake2b512"):
        algorithm = c.EVP_get_digestbyname(name.encode())
        assert c.EVP_DigestInit_ex(context, algorithm, None) == 1
        for at in range(0, 5000, 1000):
            assert c.EVP_DigestUpdate(context, DATA[at : at + 1000], 1000) == 1
        size = ctypes.c_uint()
        assert c.EVP_DigestFinal_ex(context, out, ctypes.byref(size)) == 1
        want = hashlib.new(name.replace("-", "_").replace("blake2b512", "blake2b"), DATA[:5000])
        assert out.raw[: size.value] == want.digest()
    c.EVP_MD_CTX_free(context)
