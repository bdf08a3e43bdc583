"""Real libraries doing real work, and many of them at once: nothing stays mapped, nothing grows."""

from __future__ import annotations

import ctypes
import gc
import hashlib
import os
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable
from typing import Any

import pytest

import rtld

pytestmark = pytest.mark.live


def opened(name: str, namespace: rtld.Namespace | None = None) -> rtld.Library:
    try:
        return namespace.dlopen(name) if namespace else rtld.dlopen(name)
    except rtld.NotFound:
        pytest.skip(f"{name} is not installed")


def mappings(word: str) -> int:
    with open("/proc/self/maps") as file:
        return sum(word in line for line in file)


def rss() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_zlib() -> None:
    z = opened("libz.so.1")
    data = os.urandom(1000) + bytes(100_000)
    size = ctypes.c_ulong(200_000)
    out = ctypes.create_string_buffer(size.value)
    assert z.compress(out, ctypes.byref(size), data, len(data)) == 0
    assert zlib.decompress(out.raw[: size.value]) == data
    z.close()


def query(sqlite: Any, text: bytes) -> list[bytes]:
    rows: list[bytes] = []
    kind = ctypes.CFUNCTYPE(
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_int,
        ctypes.POINTER(ctypes.c_char_p),
        ctypes.c_void_p,
    )

    def row(_data: Any, count: int, values: Any, _names: Any) -> int:
        rows.append(b"|".join(values[i] for i in range(count)))
        return 0

    callback = kind(row)
    db = ctypes.c_void_p()
    assert sqlite.sqlite3_open(b":memory:", ctypes.byref(db)) == 0
    assert sqlite.sqlite3_exec(db, text, callback, None, None) == 0
    assert sqlite.sqlite3_close(db) == 0
    return rows


SQL = b"create table t(a, b); insert into t values (1, 'x'), (2, 'y'); select a * 10, upper(b) from t order by a desc;"


def test_sqlite() -> None:
    with opened("libsqlite3.so.0") as sqlite:
        assert query(sqlite, SQL) == [b"20|Y", b"10|X"]


def test_crypto() -> None:
    crypto = opened("libcrypto.so.3", namespace := rtld.Namespace())
    digest = ctypes.create_string_buffer(32)
    crypto.SHA256(b"abc", 3, digest)
    assert digest.raw == hashlib.sha256(b"abc").digest()
    namespace.close()


def test_xml() -> None:
    xml = opened("libxml2.so.2")
    xml.xmlReadMemory.restype = ctypes.c_void_p
    xml.xmlDocGetRootElement.restype = ctypes.c_void_p
    xml.xmlDocGetRootElement.argtypes = [ctypes.c_void_p]
    xml.xmlChildElementCount.argtypes = [ctypes.c_void_p]
    text = b"<a><b/><b/><c>\xc3\xa9</c></a>"
    root = xml.xmlDocGetRootElement(xml.xmlReadMemory(text, len(text), b"x", None, 0))
    assert xml.xmlChildElementCount(root) == 3


CURL = """
import ctypes, rtld, sys
curl = rtld.dlopen("libcurl.so.4")
curl.curl_easy_init.restype = ctypes.c_void_p
h = ctypes.c_void_p(curl.curl_easy_init())
got = []
kind = ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_void_p)
write = kind(lambda p, s, n, d: got.append(ctypes.string_at(p, s * n)) or s * n)
curl.curl_easy_setopt(h, 10002, ctypes.c_char_p(f"file://{sys.argv[1]}".encode()))
curl.curl_easy_setopt(h, 20011, write)
assert curl.curl_easy_perform(h) == 0
print(len(b"".join(got)))
"""
LLVM = """
import ctypes, rtld
llvm = rtld.dlopen("libLLVM-14.so.1")
P = ctypes.c_void_p
for name in "LLVMContextCreate LLVMCreateMemoryBufferWithMemoryRangeCopy".split(): getattr(llvm, name).restype = P
context = P(llvm.LLVMContextCreate())
ir = b"define i32 @f(i32 %x) { %y = mul i32 %x, 7 %z = add i32 %y, 1 ret i32 %z }"
buffer = P(llvm.LLVMCreateMemoryBufferWithMemoryRangeCopy(ir, len(ir), b"x"))
module, error, engine = P(), ctypes.c_char_p(), P()
assert llvm.LLVMParseIRInContext(context, buffer, ctypes.byref(module), ctypes.byref(error)) == 0, error.value
for part in "TargetInfo Target TargetMC AsmPrinter".split(): llvm[f"LLVMInitializeX86{part}"]()
llvm.LLVMLinkInMCJIT()
assert llvm.LLVMCreateExecutionEngineForModule(ctypes.byref(engine), module, ctypes.byref(error)) == 0, error.value
llvm.LLVMGetFunctionAddress.restype = ctypes.c_uint64
print(ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(llvm.LLVMGetFunctionAddress(engine, b"f"))(6))
"""
GLIB = """
import ctypes, rtld
glib = rtld.dlopen("libglib-2.0.so.0")
glib.g_strdup_printf.restype = ctypes.c_void_p
print(ctypes.string_at(glib.g_strdup_printf(b"%d-%s", 42, b"x")).decode())
gobject = rtld.dlopen("libgobject-2.0.so.0"); gobject.g_type_name.restype = ctypes.c_char_p
gobject.g_type_name.argtypes = [ctypes.c_size_t]; print(gobject.g_type_name(80).decode())
"""
PYTHON = """
import ctypes, rtld, sys
with rtld.Namespace() as ns:
    python = ns.dlopen(sys.argv[1], rtld.RTLD_NOW | rtld.RTLD_GLOBAL)
    python.Py_GetVersion.restype = ctypes.c_char_p
    ctypes.c_int.from_address(python.address("Py_IgnoreEnvironmentFlag")).value = 1
    python.Py_SetPythonHome.argtypes = [ctypes.c_wchar_p]; python.Py_SetPythonHome(sys.argv[2])
    python.Py_InitializeEx(0)
    code = b"import json, math, sys, threading; t = threading.Thread(target=lambda: print(json.dumps([1, math.floor(2.5)]), sys.version_info[1], flush=True)); t.start(); t.join()"
    print(python.PyRun_SimpleString(code), flush=True)
    import os; os._exit(0)
"""


def script(text: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", text, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if "NotFound" in done.stderr:
        pytest.skip(done.stderr.splitlines()[-1])
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_curl() -> None:
    assert script(CURL, "/etc/passwd") == f"{os.path.getsize('/etc/passwd')}\n"


def test_llvm_compiles_and_runs() -> None:
    assert script(LLVM) == "43\n"


def test_glib() -> None:
    assert script(GLIB) == "42-x\nGObject\n"


def test_another_python() -> None:
    for version in ("3.13", "3.12"):
        home = os.path.expanduser("~/.pyenv/versions")
        homes = [
            d for d in (os.listdir(home) if os.path.isdir(home) else []) if d.startswith(version)
        ]
        for d in homes:
            path = f"{home}/{d}/lib/libpython{version}.so.1.0"
            if os.path.exists(path):
                assert script(PYTHON, path, f"{home}/{d}") == f"[1, 2] {version[2:]}\n0\n"
                return
    pytest.skip("no other libpython")


def test_copies_are_independent() -> None:
    spaces = [rtld.Namespace() for _ in range(200)]
    copies = [opened("libsqlite3.so.0", space) for space in spaces]
    assert len({copy.base for copy in copies}) == 200
    assert query(copies[0], SQL) == query(copies[-1], SQL) == [b"20|Y", b"10|X"]
    before = mappings("sqlite")
    for space in spaces:
        space.close()
    assert before >= 800
    assert mappings("sqlite") <= 6  # the host's own, if Python's module is loaded


def test_nothing_stays() -> None:
    def once() -> None:
        with opened("libsqlite3.so.0") as library:
            assert library.sqlite3_libversion_number() > 3_000_000

    for _ in range(40):
        once()
    gc.collect()
    maps, memory = mappings(""), rss()
    for _ in range(300):
        once()
    gc.collect()
    assert mappings("") <= maps + 2
    assert rss() - memory < 1 << 20


def test_threads(lib: Callable[..., str]) -> None:
    path = lib(
        "static __thread int n; int next(void) { return ++n; } int twice(int x) { return 2 * x; }"
    )
    end = time.monotonic() + float(os.environ.get("RTLD_SECONDS", "3"))
    wrong: list[object] = []

    def work(number: int) -> None:
        try:
            count = 0
            while time.monotonic() < end:
                with rtld.Namespace() as ns:
                    library = ns.dlopen(path)
                    assert library.twice(number) == 2 * number
                    assert library.next() == 1
                    count += 1
            assert count
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert mappings(path) == 0
