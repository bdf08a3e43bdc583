"""Small things in which ld.so is the judge: the same C, opened by it and by us, says the same."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import rtld

Lib = Callable[..., str]
Both = Callable[..., tuple[str, str]]


def script(text: str, *words: str, timeout: float) -> subprocess.CompletedProcess[str]:
    """Python in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", text, *words], capture_output=True, text=True, timeout=timeout, check=False
    )  # fmt: skip


CALLS = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdio.h>
#include <string.h>

static int count;
static const char *last(const char *path) { const char *p = strrchr(path, '/'); return p ? p : path; }
static int each(struct dl_phdr_info *i, size_t size, void *data) {
    if (!count++ || strstr(i->dlpi_name, "libtest")) printf("%d <%s> %zu\n", count == 1, last(i->dlpi_name), size);
    return 0;
}
int run(void) {
    dl_iterate_phdr(each, 0);
    Dl_info info;
    int known = dladdr((void *)run, &info);
    printf("%d %s %s\n", known, last(info.dli_fname), info.dli_sname);
    errno = 5;
    void *found = dlsym(RTLD_DEFAULT, "printf");
    printf("%d %d\n", found != 0, errno);
    for (int i = 0; i < 2; i++) {
        found = dlopen(i ? 0 : "libz.so.1", RTLD_NOLOAD);
        printf("%p %s\n", found, dlerror());
    }
    found = dlmopen(99, "libz.so.1", RTLD_NOW);
    printf("%p %s\n", found, dlerror());
    void *a = dlmopen(LM_ID_NEWLM, "libz.so.1", RTLD_NOW), *b = dlmopen(LM_ID_NEWLM, "libz.so.1", RTLD_NOW);
    Lmid_t first, second;
    dlinfo(a, RTLD_DI_LMID, &first);
    dlclose(a);
    dlinfo(b, RTLD_DI_LMID, &second);
    found = dlmopen(second, "libz.so.1", RTLD_NOW);
    printf("%ld %ld %d\n", first, second, found == b);
    a = dlmopen(LM_ID_NEWLM, "libz.so.1", RTLD_NOW);
    dlinfo(a, RTLD_DI_LMID, &second);
    printf("%ld\n", second);
    fflush(stdout);
    return 0;
}
"""


@pytest.mark.parametrize("flags", [1, 2])
def test_calls(lib: Lib, both: Both, flags: int) -> None:
    theirs, ours = both(
        "import sys; CDLL(sys.argv[1], int(sys.argv[2])).run()", lib(CALLS), str(flags)
    )
    assert ours == theirs
    assert theirs.startswith("1 <> 64\n")


@pytest.mark.parametrize("first", ["a", "z"])
def test_which_symbol_is_missing(lib: Lib, first: str) -> None:
    """The first that relocation meets: variables before functions, whatever stands first in the table of symbols."""
    source = f"extern int {first}_data; int b_f(void), y_f(void); int run(void) {{ return b_f() + {first}_data + y_f(); }}"
    path = lib(source)
    with pytest.raises(OSError, match=path) as theirs:
        ctypes.CDLL(path)
    with pytest.raises(rtld.UnresolvedSymbol) as ours:
        rtld.dlopen(path)
    assert str(ours.value) == str(theirs.value)
    assert ours.value.symbol == f"{first}_data"


def test_code_on_the_stack(lib: Lib, both: Both, tmp_path: Path) -> None:
    """A nested function of GNU C, in threads that run already, too; without PT_GNU_STACK the same."""
    path = lib(
        "int run(void) { int x = 4; int add(int y) { return y + x; } int (*volatile p)(int) = add; return p(3); }"
        " int plain(void) { return 1; }",
        "-z", "execstack",
    )  # fmt: skip
    script = (
        "import sys, threading; go = threading.Event()\n"
        "t = threading.Thread(target=lambda: (go.wait(), print(lib.run()))); t.start()\n"
        "lib = CDLL(sys.argv[1]); print(lib.run()); go.set(); t.join()"
    )
    assert both(script, path) == ("7\n7\n[0]",) * 2
    data = bytearray(Path(path).read_bytes())
    at = data.index((0x6474E551).to_bytes(4, "little"))
    data[at : at + 4] = bytes(4)
    without = tmp_path / "without.so"
    without.write_bytes(data)
    assert both(script, str(without)) == ("7\n7\n[0]",) * 2


EXIT = """
#include <stdio.h>
#include <time.h>
long now(void) { return time(0); }
__attribute__((destructor)) static void bye(void) { printf("%d", time(0) > 1000); fflush(stdout); }
"""

LATE = """
import ctypes, sys, rtld
five = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_void_p)(lambda _p: 5)
class H(rtld.Hooks):
    def symbind(self, symbol, referrer, definer, address):
        return five if symbol == "time" and how == "symbind" else address
    def watches(self, symbol, referrer, definer):
        return symbol == "time" and how == "watch"
    def pltenter(self, call):
        return True
    def pltexit(self, call):
        call.result = 5
how = sys.argv[2]
lib = rtld.Namespace(hooks=H() if how != "interpose" else None).dlopen(sys.argv[1])
if how == "interpose":
    lib.interpose("time", five)
assert lib.now() == 5
"""


@pytest.mark.parametrize("how", ["interpose", "symbind", "watch"])
def test_python_ends_first(lib: Lib, how: str) -> None:
    """Destructors run after the interpreter is gone: what led to it does not any more."""
    done = script(LATE, lib(EXIT), how, timeout=60)
    assert (done.returncode, done.stdout) == (0, "1"), done.stderr


def test_undone_in_any_order(lib: Lib) -> None:
    kind = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_void_p)
    with rtld.Namespace() as ns:
        library = ns.dlopen(lib(EXIT))
        first = library.interpose("time", kind(lambda _p: 1))
        second = library.interpose("time", kind(lambda _p: 2))
        first()
        assert library.now() == 2
        second()
        first()
        assert library.now() not in (1, 2)
        for wrong in (None, print, "time", -1, 1 << 64):
            with pytest.raises((TypeError, ValueError)):
                library.interpose("time", wrong)


def test_hook_that_raises(lib: Lib, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call is made all the same, with all its arguments."""

    class Failing(rtld.Hooks):
        def watches(self, symbol: str, referrer: object, definer: object) -> bool:  # noqa: ARG002
            return symbol == "sum"

        def pltenter(self, call: object) -> bool:  # noqa: ARG002
            raise KeyError("told")

    seen: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: seen.append(what.exc_value.args))
    with rtld.Namespace(hooks=Failing()) as ns:
        library = ns.dlopen(
            lib(
                "int sum(int a, int b, int c, int d, int e, int f, int g, int h) { return a + b + c + d + e + f + g + h; }"
                "int run(void) { return sum(1, 2, 3, 4, 5, 6, 7, 8); }",
                "-fno-inline",
                "-fno-ipa-cp",
            )
        )
        assert library.run() == 36
    assert seen == [("told",)]


THROWS = """
#include <stdexcept>
struct Guard { ~Guard() { count++; } static int count; };
int Guard::count;
extern "C" int inner(int x) { if (x) throw std::runtime_error("no"); return 3; }
extern "C" int run(int x) { try { Guard g; return inner(x); } catch (std::exception &) { return 90 + Guard::count; } }
"""


@pytest.mark.parametrize("wanted", [True, False])
def test_exception_through_a_watched_call(lib: Lib, wanted: bool) -> None:
    """It passes, as through ld.so's own trampolines; nobody sees a result."""
    seen: list[str] = []

    class Watching(rtld.Hooks):
        def watches(self, symbol: str, referrer: object, definer: object) -> bool:  # noqa: ARG002
            return symbol == "inner"

        def pltenter(self, call: rtld.dlfcn.Call) -> bool:  # noqa: ARG002
            seen.append("enter")
            return wanted

        def pltexit(self, call: rtld.dlfcn.Call) -> None:
            seen.append(str(call.result))

    with rtld.Namespace(hooks=Watching()) as ns:
        library = ns.dlopen(
            lib(THROWS, "-xc++", "-fno-inline", "-fno-ipa-cp", "-fsemantic-interposition")
        )
        assert [library.run(n) for n in (0, 1, 1, 0)] == [3, 92, 93, 3]
    once = ["enter", "3"] if wanted else ["enter"]
    assert seen == [*once, "enter", "enter", *once]


FORKS = """
import os, sys, threading, rtld
sys.setswitchinterval(1e-6)
path, over = sys.argv[1], False
rtld.dlopen(path).close()
def look():
    while not over:
        rtld.dl_iterate_phdr(lambda row: None)
threads = [threading.Thread(target=look) for _ in range(3)]
[t.start() for t in threads]
for _ in range(15):
    child = os.fork()
    if not child:
        import signal
        signal.alarm(10)
        os._exit(rtld.dlopen(path).get())
    status = os.waitpid(child, 0)[1]
    if status != 7 << 8:
        print(status)
over = True
[t.join() for t in threads]
"""


def test_fork_while_others_look(lib: Lib) -> None:
    """ld.so keeps a lock while it tells of its objects; a child that got it locked could not open any more."""
    path = lib("static __thread int n = 7; int get(void) { return n; }")
    done = script(FORKS, path, timeout=170)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_whose_address_of_the_host() -> None:
    found = rtld.dladdr(ctypes.CDLL(None).getpid)
    assert (os.path.basename(found.path), found.value) == (
        "libc.so.6",
        ctypes.cast(ctypes.CDLL(None).getpid, ctypes.c_void_p).value,
    )
    for wrong in (None, "name", 1.5):
        with pytest.raises(TypeError):
            rtld.dladdr(wrong)


def test_reasons_are_said_once(lib: Lib) -> None:
    engine = lib("int n; int *where(void) { return &n; }", "-Wl,-soname,libtest.so,-z,nodelete")
    with rtld.Namespace() as ns:
        for _ in range(3):
            ns.dlopen(engine).close()
        library = ns.dlopen(engine)
        assert len(library.why_loaded()) == 2, library.why_loaded()


INTERRUPTED = """
import random, signal, sys, rtld
class Alarm(Exception): pass
def ring(*what):
    raise Alarm
def left():
    with open("/proc/self/maps") as maps:
        return sum(sys.argv[1] in line for line in maps)
def work(flags):
    with rtld.Namespace() as ns:
        all.append(ns)
        ns.dlopen(sys.argv[1], flags).get()
        ns.dlopen("libz.so.1").zlibVersion
all = []
work(1), work(2)
signal.signal(signal.SIGALRM, ring)
for i in range(150):
    try:
        signal.setitimer(signal.ITIMER_REAL, random.random() * 0.003 + 1e-6)
        work(i % 2 + 1)
        signal.setitimer(signal.ITIMER_REAL, 0)
    except Alarm:
        pass
signal.signal(signal.SIGALRM, signal.SIG_IGN)
with rtld.Namespace() as ns:
    print(ns.dlopen(sys.argv[1]).get())
for ns in all:
    ns.close()
print(left())
"""


def test_signals(lib: Lib) -> None:
    """What handlers raise comes out before a library is opened or behind, never in between, as with ctypes.CDLL."""
    path = lib("static __thread int n = 7; int get(void) { return n; }")
    done = script(INTERRUPTED, path, timeout=120)
    assert (done.returncode, done.stdout) == (0, "7\n0\n"), done.stderr
