"""The face of ``Library`` for libraries of other CPUs: symbols, data, memory, errno, errors, closing, thread-local storage."""

from __future__ import annotations

import ctypes
import errno
import gc
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rtld
from dlfcn.foreign import sysroots
from rtld.dlfcn import Closed, SymbolNotFound
from rtld.dlfcn.foreign.namespace import ForeignNamespace
from rtld.errors import FormatError, NotFound, TargetFault, UnresolvedSymbol, Unsupported
from rtld.process.foreign.pointer import GuestPointer
from rtld.process.foreign.types import LongLong

CC = Callable[..., Path]

LIBRARY = r"""
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>
int counter = 5;
const char *greeting = "hello";
static int started, ended_at;
int *report;
__attribute__((constructor)) static void begin(void) { started = 42; }
__attribute__((destructor)) static void end(void) { if (report) *report = 77; }
int was_started(void) { return started; }
void report_to(int *where) { report = where; }
int fail(int number) { errno = number; return -1; }
int add(int a, int b) { return a + b; }
double average(int count, ...)
{
    va_list list; double sum = 0;
    va_start(list, count);
    for (int i = 0; i < count; i++) sum += va_arg(list, double);
    va_end(list);
    return sum / count;
}
long long mixed(const char *format, ...)
{
    va_list list; long long result = 0;
    va_start(list, format);
    for (; *format; format++) switch (*format) {
        case 'i': result += va_arg(list, int); break;
        case 'l': result += va_arg(list, long long); break;
        case 'd': result += (long long) va_arg(list, double); break;
        case 's': result += strlen(va_arg(list, char *)); break;
    }
    va_end(list);
    return result;
}
struct point { double x, y; };
struct tagged { char tag; long long value; struct point at; short rest[3]; };
struct point middle(struct point a, struct point b) { struct point r = {(a.x + b.x) / 2, (a.y + b.y) / 2}; return r; }
struct tagged advance(struct tagged t, int by) { t.tag++; t.value += by; t.at.x += by; t.rest[2] += by; return t; }
void scale(struct tagged *t, double by) { t->at.x *= by; t->at.y *= by; t->value = -t->value; }
long total(const int *values, size_t count) { long sum = 0; while (count--) sum += *values++; return sum; }
void fill(short *values, int count) { for (int i = 0; i < count; i++) values[i] = i * i; }
static int (*kept)(int, double);
void keep(int (*f)(int, double)) { kept = f; }
int call_kept(int n) { return kept(n, n / 2.0); }
int apply(int (*f)(int, double), int n) { return f(n, n * 0.5) + f(n + 1, n * 0.25); }
int deeper(int (*f)(int, double), int depth) { return depth ? f(depth, 0) + 1 : 0; }
__thread int mine = 11;
static __thread long long hidden = 22;
__thread char block[40];
int *mine_at(void) { return &mine; }
long long bump(void) { mine++; block[7] = 9; return hidden += mine + block[7]; }
int crash(void) { return *(volatile int *) 16; }
static int seven(void) { return 7; }
#if defined __i386__ || defined __x86_64__ || defined __aarch64__ || defined __arm__ || defined __s390x__
static int (*choose(void))(void) { return seven; }
int chosen(void) __attribute__((ifunc("choose")));
#else
int chosen(void) { return 7; }
#endif
unsigned wide(const wchar_t *text) { unsigned n = 0; while (*text) n += *text++; return n; }
_Bool negate(_Bool b) { return !b; }
signed char low(signed char c) { return c - 1; }
unsigned char high(unsigned char c) { return c + 1; }
"""


@pytest.fixture
def library(
    machine: ForeignNamespace, cpu: str, cc: CC
) -> rtld.dlfcn.foreign.library.ForeignLibrary:  # type: ignore[name-defined]
    path = cc(LIBRARY, "libcase.so", "-O1", "-shared", "-fPIC", arch=cpu)
    return machine.dlopen(path, use_errno=True)


def test_symbols_and_data(library: rtld.Library) -> None:
    assert {"add", "counter", "mine"} <= set(library.symbols())
    assert "average" in dir(library)
    assert library.add(20, 22) == 42
    assert library["add"](-1, 1) == 0
    counter = library.data("counter", ctypes.c_int)
    counter.value += 1
    assert counter.value == 6
    assert library.data("greeting", ctypes.c_char_p).value == b"hello"
    with pytest.raises(SymbolNotFound, match=r"undefined symbol: averag; did you mean average\?"):
        _ = library.averag
    assert not hasattr(library, "nothing")


def test_initialisers_and_ifunc(library: rtld.Library) -> None:
    assert library.was_started() == 42
    assert library.chosen() == 7


def test_types(library: rtld.Library) -> None:
    library.cdef(
        "_Bool negate(_Bool); signed char low(signed char); unsigned char high(unsigned char); unsigned wide(const wchar_t *);"
    )
    assert library.negate(False) is True
    assert library.low(-128) == 127
    assert library.high(255) == 0
    assert library.wide("aé€😀") == sum(map(ord, "aé€😀"))
    with pytest.raises(ctypes.ArgumentError):
        library.low("text")
    with pytest.raises(TypeError):
        library.low()


def test_variable_arguments(library: rtld.Library) -> None:
    library.cdef("double average(int, ...); long long mixed(const char *, ...);")
    assert library.average(4, 1.0, ctypes.c_double(2), 3.0, 6.0) == 3.0
    big = (1 << 40) + 1
    arguments = (5, LongLong(big), b"four", ctypes.c_double(2.5), LongLong(-3), 7)
    assert library.mixed(b"ilsdli", *arguments) == 5 + big + 4 + 2 - 3 + 7


def test_structures(library: rtld.Library) -> None:
    library.cdef("""
        struct point { double x, y; };
        struct tagged { char tag; long long value; struct point at; short rest[3]; };
        struct point middle(struct point, struct point);
        struct tagged advance(struct tagged, int);
        void scale(struct tagged *, double);
    """)
    point, tagged = library.types["point"], library.types["tagged"]
    result = library.middle(point(1, 2), point(3, 10))
    assert (result.x, result.y) == (2, 6)
    t = tagged(b"a", 1 << 40, point(1, 2), (1, 2, 3))
    moved = library.advance(t, 5)
    assert (moved.tag, moved.at.x, moved.at.y, list(moved.rest)) == (b"b", 6, 2, [1, 2, 8])
    assert moved.value == (1 << 40) + 5
    library.scale(ctypes.byref(t), 3)
    assert (t.at.x, t.at.y) == (3, 6)
    assert t.value == -(1 << 40)


def test_memory_in_and_out(library: rtld.Library) -> None:
    library.cdef("long total(const int *, size_t); void fill(short *, int);")
    assert library.total((ctypes.c_int * 5)(1, 2, 3, 4, -100), 5) == -90
    squares = (ctypes.c_short * 6)()
    library.fill(squares, 6)
    assert list(squares) == [0, 1, 4, 9, 16, 25]
    kept = library.alloc(12)
    assert library.read(kept, 12) == bytes(12)
    library.fill(kept, 6)
    assert library.total.argtypes is not None
    place = ctypes.cast(0, ctypes.POINTER(ctypes.c_short))
    assert not place
    numbers = GuestPointer(kept._converter, kept.address, ctypes.c_short)
    assert numbers[1:6] == [1, 4, 9, 16, 25]
    numbers[0] = -5
    assert numbers.contents.value == -5
    library.free(kept)
    large = bytearray(b"\1" * 300_000)
    memset = library.function(
        "memset", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t
    )
    memset(large, 3, 299_999)
    assert large == b"\3" * 299_999 + b"\1"


def test_errno(library: rtld.Library) -> None:
    assert library.fail(errno.ENOSPC) == -1
    assert ctypes.get_errno() == errno.ENOSPC


def test_callbacks(library: rtld.Library) -> None:
    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_double)
    seen = []

    def called(n: int, x: float) -> int:
        seen.append((n, x))
        return 10 * n

    assert library.apply(kind(called), 4) == 90  # it says of what type it is
    seen.clear()
    library.apply.argtypes = [kind, ctypes.c_int]
    assert library.apply(called, 4) == 90
    assert seen == [(4, 2.0), (5, 1.0)]
    # What the guest keeps is there as long as the object is.
    library.keep.argtypes = [kind]
    wrapped = kind(called)
    library.keep(wrapped)
    assert library.call_kept(6) == 60
    del wrapped
    gc.collect()
    library.keep(library.callback(lambda n, _x: n + 1, ctypes.c_int, ctypes.c_int, ctypes.c_double))
    gc.collect()
    assert library.call_kept(6) == 7


def test_callbacks_do_not_pile_up(library: rtld.Library) -> None:
    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_double)
    library.apply.argtypes = [kind, ctypes.c_int]
    for i in range(5000):
        assert library.apply(lambda n, _x, i=i: i, 1) == 2 * i


def test_calls_inside_one_another(library: rtld.Library) -> None:
    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_double)
    library.deeper.argtypes = [kind, ctypes.c_int]

    def again(depth: int, _x: float) -> int:
        return int(library.deeper(again, depth - 1))

    assert library.deeper(again, 25) == 25
    with pytest.raises(TargetFault, match="inside one another"):
        library.deeper(again, 200)
    assert library.add(1, 2) == 3


def test_thread_local_storage(library: rtld.Library) -> None:
    address = library.function("mine_at", ctypes.c_void_p)()
    mine = library.data("mine", ctypes.c_int)
    assert (mine.address, mine.value) == (address, 11)
    library.bump.restype = ctypes.c_longlong
    assert library.function("bump", ctypes.c_int)() == 22 + 12 + 9
    assert mine.value == 12


def test_a_fault_is_told(library: rtld.Library) -> None:
    with pytest.raises(TargetFault, match="Segmentation fault"):
        library.crash()
    assert library.add(1, 2) == 3


def test_many_calls(library: rtld.Library) -> None:
    assert list(library.add.map(range(1000), range(1000))) == list(range(0, 2000, 2))
    assert list(library.add.map([(1, 2), (3, 4)])) == [3, 7]
    assert list(library.add.map([])) == []
    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_double)
    library.apply.argtypes = [kind, ctypes.c_int]

    def called(n: int, _x: float) -> int:
        return n

    # Python is called in the middle of a batch, and may call the guest.
    assert list(library.apply.map([called] * 20, range(20))) == [2 * n + 1 for n in range(20)]


def test_closing(machine: ForeignNamespace, library: rtld.Library) -> None:
    add = library.add
    where = machine.dlopen(None).alloc(4)
    library.function("report_to", None, ctypes.c_void_p)(where)
    library.close()
    assert library.closed
    assert int.from_bytes(machine.guest.read(where.address, 4), machine_order(machine)) == 77
    with pytest.raises(Closed):
        add(1, 2)
    with pytest.raises(Closed):
        _ = library.average
    assert machine.modules == []
    library.close()


def machine_order(machine: ForeignNamespace) -> Any:
    return "little" if machine.world.order == "<" else "big"


def test_opening_again_is_the_same(machine: ForeignNamespace, cpu: str, cc: CC) -> None:
    path = cc(LIBRARY, "libcase.so", "-O1", "-shared", "-fPIC", arch=cpu)
    for _ in range(3):
        with machine.dlopen(path) as library:
            assert library.data("counter", ctypes.c_int).value == 5
            library.data("counter", ctypes.c_int).value = 9
    assert machine.dlopen(path.read_bytes()).add(1, 1) == 2


def test_what_cannot_be_opened(machine: ForeignNamespace, cpu: str, cc: CC) -> None:
    with pytest.raises(NotFound, match=r"libnothing\.so: cannot open shared object file"):
        machine.dlopen("libnothing.so")
    missing = cc(
        "int nowhere(void); int f(void) { return nowhere(); }",
        "libmissing.so",
        "-shared",
        "-fPIC",
        arch=cpu,
    )
    with pytest.raises(UnresolvedSymbol, match="undefined symbol: nowhere"):
        machine.dlopen(missing)
    other = "aarch64" if cpu != "aarch64" else "s390x"
    foreign = cc("int f(void) { return 1; }", "libother.so", "-shared", "-fPIC", arch=other)
    with pytest.raises(FormatError, match="e_machine"):
        machine.dlopen(foreign)
    with pytest.raises(FormatError):
        machine.dlopen(b"no ELF")
    assert machine.modules == []
    # A library that is needed, and missing, is named with who needs it.
    needed = cc(
        "int g(void) { return 1; }",
        "libneeded.so",
        "-shared",
        "-fPIC",
        "-Wl,-soname,libneeded.so",
        arch=cpu,
    )
    user = cc(
        "int g(void); int f(void) { return g(); }",
        "libuser.so",
        "-shared",
        "-fPIC",
        str(needed),
        arch=cpu,
    )
    with pytest.raises(NotFound, match=r"libneeded\.so: cannot open shared object file"):
        machine.dlopen(user)


DLFCN = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <string.h>
int add_by_name(const char *library, int a, int b)
{
    void *handle = dlopen(library, RTLD_NOW);
    if (!handle) return -1;
    double (*f)(double, double) = (double (*)(double, double)) dlsym(handle, "pow");
    if (!f) return -2;
    int result = (int) f(a, b);
    if (dlsym(handle, "nothing") || !strstr(dlerror(), "undefined symbol: nothing") || dlerror()) return -3;
    if (dlclose(handle)) return -4;
    return result;
}
const char *missing(void) { return dlopen("libnothing.so", RTLD_NOW) ? "there" : dlerror(); }
static int seen(struct dl_phdr_info *info, size_t size, void *data)
{
    if (strstr(info->dlpi_name, "libdl_case") && info->dlpi_phnum && info->dlpi_phdr->p_vaddr + 1) ++*(int *) data;
    return 0;
}
int iterate(void) { int count = 0; dl_iterate_phdr(seen, &count); return count; }
const char *whose(void) { Dl_info info; return dladdr((void *) missing, &info) ? info.dli_sname : "nobody's"; }
"""


def test_dlopen_by_the_guest(machine: ForeignNamespace, cpu: str, cc: CC) -> None:
    path = cc(DLFCN, "libdl_case.so", "-shared", "-fPIC", arch=cpu)
    library = machine.dlopen(path)
    library.cdef(
        "int add_by_name(const char *, int, int); const char *missing(void); const char *whose(void);"
    )
    assert library.add_by_name(b"libm.so.6", 2, 5) == 32
    assert (
        library.missing()
        == b"libnothing.so: cannot open shared object file: No such file or directory"
    )
    assert library.whose() == b"missing"
    assert library.iterate() == 1


CXX = r"""
struct Guard { int *p; ~Guard() { *p += 100; } };
static int thrower(int x, int *p) { Guard g{p}; if (x > 3) throw x; if (x < 0) throw "negative"; return x; }
extern "C" int guarded(int x)
{
    int seen = 0;
    try { seen += thrower(x, &seen); }
    catch (int n) { return seen + 1000 * n; }
    catch (...) { return seen + 1; }
    return seen;
}
extern "C" int across(int (*f)(int), int x) { try { return f(x); } catch (int n) { return -n; } }
extern "C" int throws(int x) { throw x + 1; }
"""


def test_exceptions_of_cxx(
    debian: ForeignNamespace, cpu: str, tmp_path: Path, require: Callable[[str], None]
) -> None:
    """Compiled by clang for every CPU, linked against Debian's libstdc++."""
    if not shutil.which("clang-14"):
        require("clang-14")
    library = debian.dlopen(sysroots.cxx_library(debian, cpu, CXX, tmp_path))
    assert [library.guarded(n) for n in (2, 7, -1)] == [102, 7100, 101]
    throws = debian.guest
    assert throws is not None
    across = library.function("across", ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
    assert across(library.address("throws"), 4) == -5


def test_which_machine(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no C library"):
        ForeignNamespace(tmp_path)
    with pytest.raises(NotFound, match="no such directory"):
        rtld.dlopen("libz.so.1", sysroot=tmp_path / "nothing")


def test_several_cpus_in_one_sysroot(tmp_path: Path, require: Callable[[str], None]) -> None:
    folder = tmp_path / "lib"
    folder.mkdir()
    for cpu in ("aarch64", "s390x"):
        root = sysroots.cross(cpu)
        if root is None:
            require(f"a cross compiler for {cpu}")
        for name in ("ld-linux-aarch64.so.1", "ld64.so.1"):
            if (Path(str(root)) / "lib" / name).exists():
                shutil.copy(Path(str(root)) / "lib" / name, folder)
    with pytest.raises(Unsupported, match="several CPUs: aarch64, s390x; say which"):
        ForeignNamespace(tmp_path)


def test_coverage(library: rtld.Library) -> None:
    with library.coverage() as seen:
        library.add(1, 2)
        list(library.add.map([(1, 2)] * 3))
        library.bump()
    functions = seen.functions["libcase.so"]
    assert functions["add"] == 4
    assert functions["bump"] == 1
    assert "average" not in functions
    before = seen.blocks
    library.add(1, 2)
    assert seen.blocks == before


def test_watching_memory(library: rtld.Library, machine: ForeignNamespace) -> None:
    library.cdef("void fill(short *, int); long total(const int *, size_t);")
    memory = library.alloc(16)
    with library.watch(memory.address + 2, 4) as accesses:
        library.fill(memory, 4)
        library.total(memory, 1)
    writes = [
        (a.what, a.address - memory.address, a.size, a.value) for a in accesses if a.what == "write"
    ]
    assert writes == [("write", 2, 2, 1), ("write", 4, 2, 4)]
    assert {a.what for a in accesses[2:]} == {"read"}
    assert all("libcase.so: fill+0x" in a.place for a in accesses[:2])
    library.fill(memory, 4)
    assert len(accesses) == 3


def test_being_told_of_calls(library: rtld.Library) -> None:
    library.cdef(
        "struct point { double x, y; }; struct point middle(struct point, struct point); int add(int, int);"
    )
    point = library.types["point"]
    seen: list[Any] = []
    stop = library.on_call("add", lambda *arguments: seen.append(arguments))
    other = library.on_call("middle", lambda a, b: seen.append((a.x, b.y)))
    library.add(1, -2)
    list(library.add.map([3, 4], [5, 6]))
    library.middle(point(1, 2), point(3, 4))
    stop()
    library.add(7, 8)
    other()
    assert seen == [(1, -2), (3, 5), (4, 6), (1.0, 4.0)]


THREADS = r"""
#include <pthread.h>
static __thread int mine = 5;
__thread int shown = 6;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long long total;
static void *work(void *p)
{
    for (int i = 0; i < 1000; i++) { pthread_mutex_lock(&lock); total += ++mine; pthread_mutex_unlock(&lock); }
    return (void *) (long) (mine + shown);
}
long long run(int n)
{
    pthread_t threads[8]; long long sum = 0; void *result;
    total = 0;
    for (int i = 0; i < n; i++) if (pthread_create(&threads[i], 0, work, 0)) return -1;
    for (int i = 0; i < n; i++) { pthread_join(threads[i], &result); sum += (long) result; }
    return sum * 10000000 + total + mine;
}
"""


def test_threads_of_a_library(machine: ForeignNamespace, cpu: str, cc: CC) -> None:
    """New threads begin with the library's own thread-local storage."""
    library = machine.dlopen(
        cc(THREADS, "libthreads.so", "-shared", "-fPIC", "-lpthread", arch=cpu)
    )
    library.cdef("long long run(int);")
    for _ in range(2):
        assert library.run(4) == 4 * (1005 + 6) * 10_000_000 + 4 * sum(range(6, 1006)) + 5
