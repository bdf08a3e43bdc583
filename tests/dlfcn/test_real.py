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
SSL = """
import ctypes, rtld
P, I, L = ctypes.c_void_p, ctypes.c_int, ctypes.c_long
ssl = rtld.dlopen("libssl.so.3")
new = {}
for name in "TLS_method SSL_CTX_new SSL_new BIO_new BIO_s_mem SSL_get_current_cipher SSL_CIPHER_get_name".split():
    new[name] = ssl.function(name, ctypes.c_char_p if "name" in name else P, *([] if name in ("TLS_method", "BIO_s_mem") else [P]))
control = ssl.function("SSL_CTX_ctrl", L, P, I, L, P)
ciphers = ssl.function("SSL_CTX_set_cipher_list", I, P, ctypes.c_char_p)
set_bio = ssl.function("SSL_set_bio", None, P, P, P)
shake = ssl.function("SSL_do_handshake", I, P)
write, read = ssl.function("SSL_write", I, P, ctypes.c_char_p, I), ssl.function("SSL_read", I, P, ctypes.c_char_p, I)
to_client, to_server = new["BIO_new"](new["BIO_s_mem"]()), new["BIO_new"](new["BIO_s_mem"]())
ends = []
for state, reads, writes in (("connect", to_client, to_server), ("accept", to_server, to_client)):
    context = new["SSL_CTX_new"](new["TLS_method"]())
    assert ciphers(context, b"ADH-AES128-GCM-SHA256:@SECLEVEL=0")
    control(context, 118, 1, None)       # SSL_CTRL_SET_DH_AUTO
    control(context, 124, 0x303, None)   # SSL_CTRL_SET_MAX_PROTO_VERSION
    end = new["SSL_new"](context)
    for bio in (reads, writes): ssl.function("BIO_up_ref", I, P)(bio)
    set_bio(end, reads, writes)
    ssl.function(f"SSL_set_{state}_state", None, P)(end)
    ends.append(end)
for _ in range(6): done = [shake(end) for end in ends]
assert done == [1, 1], done
assert write(ends[0], b"through our own linker", 22) == 22
buffer = ctypes.create_string_buffer(64)
print(read(ends[1], buffer, 64), buffer.value.decode(), new["SSL_CIPHER_get_name"](new["SSL_get_current_cipher"](ends[1])).decode())
"""
BLAS = """
import ctypes, glob, os, sys, rtld
path = next(iter(glob.glob(os.path.join(sys.argv[1], "libscipy_openblas64_*.so"))))
blas = rtld.dlopen(path)
n, D = 300, ctypes.c_double
a = (D * (n * n))(*[(i * 7 % 11) - 5.0 for i in range(n * n)]); b = (D * (n * n))(*[(i * 3 % 13) - 6.0 for i in range(n * n)]); c = (D * (n * n))()
L = ctypes.c_int64
gemm = blas.function("scipy_cblas_dgemm64_", None, ctypes.c_int, ctypes.c_int, ctypes.c_int, L, L, L, D, ctypes.c_void_p, L, ctypes.c_void_p, L, D, ctypes.c_void_p, L)
gemm(101, 111, 111, n, n, n, 1.0, a, n, b, n, 0.0, c, n)
for row, column in ((0, 0), (17, 299), (299, 123)):
    assert c[row * n + column] == sum(a[row * n + k] * b[k * n + column] for k in range(n))
print("ok", len(os.listdir("/proc/self/task")) > 1 or os.cpu_count() == 1)
os._exit(0)  # its threads wait for work
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
    if "rtld.errors.NotFound" in done.stderr:
        pytest.skip(done.stderr.splitlines()[-1])
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_curl() -> None:
    assert script(CURL, "/etc/passwd") == f"{os.path.getsize('/etc/passwd')}\n"


def test_llvm_compiles_and_runs() -> None:
    assert script(LLVM) == "43\n"


def test_ssl_handshake() -> None:
    said = script(SSL)
    assert said == "22 through our own linker ADH-AES128-GCM-SHA256\n"


def test_openblas() -> None:
    """The one that numpy's wheel brings along, with libgfortran and libquadmath."""
    import numpy as np

    libraries = os.path.join(os.path.dirname(os.path.dirname(np.__file__)), "numpy.libs")
    if not os.path.isdir(libraries):
        pytest.skip("numpy is not from a wheel")
    assert script(BLAS, libraries) == "ok True\n"


CPLUSPLUS = """
#include <algorithm>
#include <future>
#include <iostream>
#include <map>
#include <memory>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <vector>
struct Shape { virtual ~Shape() = default; virtual double area() const = 0; };
struct Square : Shape { double a; explicit Square(double x) : a(x) {} double area() const override { return a * a; } };
extern "C" const char *work() {
    static std::string said;
    std::ostringstream out;
    std::map<std::string, int> words; std::string text = "to be or not to be";
    std::regex word("[a-z]+");
    for (auto i = std::sregex_iterator(text.begin(), text.end(), word); i != std::sregex_iterator(); ++i) words[i->str()]++;
    for (auto &[name, count] : words) out << name << count << ' ';
    std::vector<std::unique_ptr<Shape>> shapes; for (int i = 1; i < 4; i++) shapes.push_back(std::make_unique<Square>(i));
    double sum = 0; for (auto &s : shapes) sum += dynamic_cast<Square &>(*s).area();
    auto later = std::async(std::launch::async, [] { std::vector<int> v{3, 1, 2}; std::sort(v.begin(), v.end()); return v.at(0); });
    try { std::vector<int>().at(5); } catch (const std::out_of_range &e) { out << "caught "; }
    try { std::rethrow_exception(std::make_exception_ptr(std::runtime_error("again"))); } catch (std::exception &e) { out << e.what() << ' '; }
    out << sum << ' ' << later.get();
    std::cout << "cout" << std::endl;
    said = out.str(); return said.c_str();
}
"""


def test_standard_library_of_cplusplus(lib: Callable[..., str], both: Callable[..., Any]) -> None:
    path = lib(CPLUSPLUS, "-xc++", "-std=c++17", "-lstdc++", name="libwork.so")
    text = "import sys, ctypes; w = CDLL(sys.argv[1]).work; w.restype = ctypes.c_char_p; print(w().decode())"
    theirs, ours = both(text, path)
    assert ours == theirs
    assert "be2 not1 or1 to2 caught again 14 1" in ours


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


def copies() -> int:
    """200 of sqlite at once, in namespaces of their own; how many mappings they had."""
    spaces = [rtld.Namespace() for _ in range(200)]
    libraries = [opened("libsqlite3.so.0", space) for space in spaces]
    assert len({library.base for library in libraries}) == 200
    assert query(libraries[0], SQL) == query(libraries[-1], SQL) == [b"20|Y", b"10|X"]
    count = mappings("sqlite")
    for space in spaces:
        space.close()
    return count


def test_copies_are_independent() -> None:
    copies()
    gc.collect()
    memory, before = rss(), mappings("sqlite")  # the host's own, and what other tests keep
    assert copies() >= 800
    gc.collect()
    assert mappings("sqlite") <= before
    assert rss() - memory < 1 << 20


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


FORKS = """
import os, threading, rtld
rtld.dlopen("libz.so.1").close()
stop = False
def work():
    while not stop:
        with rtld.Namespace() as ns: ns.dlopen("libz.so.1").zlibVersion()
threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads: thread.start()
ended = []
for _ in range(20):
    pid = os.fork()
    if not pid:
        with rtld.Namespace() as ns: ns.dlopen("libz.so.1").zlibVersion()
        os._exit(7)
    ended.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
stop = True
for thread in threads: thread.join()
print(set(ended))
"""


def test_fork_while_threads_open() -> None:
    assert script(FORKS) == "{7}\n"
