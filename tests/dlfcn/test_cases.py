"""C and C++ through the system's dlopen and through ours, in fresh processes: the same results, the same order."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Lib = Callable[..., str]
Both = Callable[..., tuple[str, str]]

TLS = """
#include <pthread.h>
__thread int counter = 5;
__thread int *self = 0;
static __thread char zeros[100];
__thread int *pointer = 0;
int other = 9;
static __thread int *initialised = &other;
static void *run(void *result) { counter += 10; *(int *)result = counter + zeros[7] + *initialised; return 0; }
int get(void) { return counter; }
void set(int v) { counter = v; }
int in_thread(void) { pthread_t t; int r = 0; pthread_create(&t, 0, run, &r); pthread_join(t, 0); return r; }
"""
TLS_SCRIPT = """
import sys, threading
go, done = threading.Event(), threading.Event()
seen = []
def before():
    go.wait(); seen.append(lib.get()); lib.set(77); seen.append(lib.get())
t = threading.Thread(target=before); t.start()
lib = CDLL(sys.argv[1])
print(lib.get()); lib.set(6); go.set(); t.join(); print(seen, lib.get(), lib.in_thread())
"""


@pytest.mark.parametrize("model", ["global-dynamic", "local-dynamic", "initial-exec"])
@pytest.mark.parametrize("dialect", ["gnu", "gnu2"])
def test_thread_local_storage(lib: Lib, both: Both, model: str, dialect: str) -> None:
    path = lib(TLS, f"-ftls-model={model}", f"-mtls-dialect={dialect}")
    theirs, ours = both(TLS_SCRIPT, path)
    assert ours == theirs
    assert theirs.startswith("5\n[5, 77] 6 24\n[0]")


def test_exceptions(lib: Lib, both: Both) -> None:
    inner = lib(
        '#include <stdexcept>\nextern "C" void thrower(int n) { if (n) throw std::runtime_error("thrown"); }',
        "-xc++",
        name="libinner.so",
    )
    outer = lib(
        """
        #include <stdexcept>
        #include <cstdlib>
        #include <cstring>
        extern "C" void thrower(int);
        static int compare(const void *a, const void *b) { thrower(1); return 0; }
        extern "C" int direct() { try { thrower(1); } catch (std::runtime_error &e) { return strlen(e.what()); } return 0; }
        extern "C" int through_libc() { int v[] = {3, 1, 2};
            try { qsort(v, 3, sizeof *v, compare); } catch (std::exception &e) { return 7; } return 0; }
        """,
        "-xc++",
        inner,
        "-Wl,-rpath," + inner.rpartition("/")[0],
        name="libouter.so",
    )
    theirs, ours = both(
        "import sys; lib = CDLL(sys.argv[1]); print(lib.direct(), lib.through_libc())", outer
    )
    assert ours == theirs == "6 7\n[0]"


def test_thread_local_objects(lib: Lib, both: Both) -> None:
    path = lib(
        """
        #include <cstdio>
        #include <thread>
        struct Noisy { int n; Noisy() : n(1) { puts("made"); fflush(stdout); }
                       ~Noisy() { printf("gone %d\\n", n); fflush(stdout); } };
        thread_local Noisy noisy;
        extern "C" int touch() { return ++noisy.n; }
        extern "C" void thread() { std::thread t([] { touch(); touch(); }); t.join(); }
        """,
        "-xc++",
    )
    theirs, ours = both(
        "import sys; lib = CDLL(sys.argv[1]); lib.thread(); print(lib.touch(), flush=True)", path
    )
    assert ours == theirs
    assert "gone 3" in ours


def test_pthread_cancel_unwinds(lib: Lib, both: Both) -> None:
    path = lib(
        """
        #include <pthread.h>
        #include <unistd.h>
        static int cleaned;
        struct Guard { ~Guard() { cleaned++; } };
        static void *wait(void *) { Guard g; for (;;) usleep(1000); return 0; }
        static void *leave(void *) { Guard g; pthread_exit(0); return 0; }
        extern "C" int run() { pthread_t t; pthread_create(&t, 0, wait, 0); usleep(20000); pthread_cancel(t);
            pthread_join(t, 0); pthread_create(&t, 0, leave, 0); pthread_join(t, 0); return cleaned; }
        """,
        "-xc++",
    )
    theirs, ours = both("import sys; lib = CDLL(sys.argv[1]); print(lib.run())", path)
    assert ours == theirs == "2\n[0]"


def test_ifunc(lib: Lib, both: Both) -> None:
    path = lib(
        """
        static int one(void) { return 1; }
        static int two(void) { return 2; }
        static void *pick(void) { return two; }
        int chosen(void) __attribute__((ifunc("pick")));
        static int hidden(void) __attribute__((ifunc("pick")));
        int (*pointer)(void) = chosen;
        int (*inside)(void) = hidden;
        int call(void) { return chosen() * 1000 + hidden() * 100 + pointer() * 10 + inside() + one() - 1; }
        """
    )
    theirs, ours = both(
        "import sys; lib = CDLL(sys.argv[1]); print(lib.call(), lib.chosen())", path
    )
    assert ours == theirs == "2222 2\n[0]"


ORDER = """
#include <stdio.h>
__attribute__((constructor)) static void up(void) { puts("+" NAME); fflush(stdout); }
__attribute__((destructor)) static void down(void) { puts("-" NAME); fflush(stdout); }
void _init_here(void) { puts("i" NAME); fflush(stdout); }
"""


def test_order_of_constructors_and_destructors(lib: Lib, both: Both) -> None:
    def make(name: str, *needs: str) -> str:
        rpath = [f"-Wl,-rpath,{need.rpartition('/')[0]}" for need in needs]
        return lib(
            ORDER, f'-DNAME="{name}"', "-Wl,--no-as-needed", "-Wl,-init,_init_here", f"-Wl,-soname,lib{name}.so",
            *needs, *rpath, name=f"lib{name}.so",
        )  # fmt: skip

    a = make("oa")
    b, c = make("ob", a), make("oc", a)
    d = make("od", c, b)
    script = """
import sys
lib = CDLL(sys.argv[1]); print("open", flush=True)
if CDLL.__module__ != "ctypes": lib.close()
else:
    import _ctypes; _ctypes.dlclose(lib._handle)
print("closed", flush=True)
lib = CDLL(sys.argv[1])
"""
    theirs, ours = both(script, d)
    assert ours == theirs
    assert ours.index("-od") < ours.index("closed")


def test_constructor_that_opens(lib: Lib, both: Both) -> None:
    plugin = lib("int plugged(void) { return 42; }", name="libplugin.so")
    path = lib(
        f"""
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <stdio.h>
        #include <string.h>
        static int value;
        __attribute__((constructor)) static void up(void) {{
            void *h = dlopen("{plugin}", RTLD_NOW); int (*f)(void) = dlsym(h, "plugged"); value = f(); }}
        int get(void) {{ return value; }}
        int missing(void) {{ void *h = dlopen("/nowhere/libx.so", RTLD_NOW); const char *e = dlerror();
            return h == 0 && e && strstr(e, "cannot open shared object file") && !dlerror(); }}
        int next(void) {{ return dlsym(RTLD_NEXT, "malloc") != 0; }}
        int mine(void) {{ Dl_info i; return dladdr((void *)get, &i) && strcmp(i.dli_sname, "get") == 0; }}
        int standard(void) {{ return dlsym(RTLD_DEFAULT, "get") == (void *)get; }}
        int again(void) {{ void *h = dlopen("{plugin}", RTLD_NOW | RTLD_NOLOAD); int r = h != 0; dlclose(h); return r; }}
        """,
        "-ldl",
    )
    names = "get missing next mine standard again"
    script = f"import sys; lib = CDLL(sys.argv[1]); print([getattr(lib, n)() for n in '{names}'.split()])"
    theirs, ours = both(script, path)
    assert ours == theirs == "[42, 1, 1, 1, 1, 1]\n[0]"


def test_iterates_over_objects(lib: Lib, both: Both) -> None:
    path = lib(
        """
        #define _GNU_SOURCE
        #include <link.h>
        #include <string.h>
        static int visit(struct dl_phdr_info *i, size_t size, void *data) {
            const char *here = data;
            for (int n = 0; n < i->dlpi_phnum; n++) {
                const ElfW(Phdr) *p = &i->dlpi_phdr[n];
                const char *start = (const char *)i->dlpi_addr + p->p_vaddr;
                if (p->p_type == PT_LOAD && start <= here && here < start + p->p_memsz) return 1 + (strstr(i->dlpi_name, "libtest.so") != 0);
            }
            return 0; }
        int self(void) { return dl_iterate_phdr(visit, (void *)self); }
        int libc(void) { return dl_iterate_phdr(visit, (void *)strlen); }
        """
    )
    theirs, ours = both("import sys; lib = CDLL(sys.argv[1]); print(lib.self(), lib.libc())", path)
    assert ours == theirs == "2 1\n[0]"


def test_lazy_function_that_does_not_exist(lib: Lib, both: Both) -> None:
    path = lib(
        "int nowhere(int); int fine(void) { return 3; } int bad(int x) { return nowhere(x); }",
        "-Wl,-z,lazy",
    )
    script = """
import sys
for mode in (2, 1):
    try:
        lib = CDLL(sys.argv[1], mode); print(lib.fine(), flush=True)
    except Exception as e:
        print(str(e), flush=True)
lib.bad(1)
"""
    theirs, ours = both(script, path)
    assert theirs.partition("[127]")[0] == ours.partition("[127]")[0]
    assert "symbol lookup error" in ours
    assert "undefined symbol: nowhere" in ours


def test_lazy_calls_keep_arguments(lib: Lib, both: Both) -> None:
    path = lib(
        """
        double mix(int a, long b, double c, float d, int e, int f, int g, int h, double i, long j) {
            return a + 2*b + 3*c + 4*d + 5*e + 6*f + 7*g + 8*h + 9*i + 10*j; }
        double call(void) { return mix(1, 2, 3.5, 4.5f, 5, 6, 7, 8, 9.5, 10); }
        double twice(void) { return call() + call(); }
        """,
        "-Wl,-z,lazy",
        "-fno-inline",
        "-fno-ipa-cp",
    )
    script = "import sys, ctypes; lib = CDLL(sys.argv[1], 1); lib.twice.restype = ctypes.c_double; print(lib.twice())"
    theirs, ours = both(script, path)
    assert ours == theirs


def test_fork(lib: Lib, both: Both) -> None:
    path = lib("static int n; int next(void) { return ++n; }")
    script = """
import sys, os
lib = CDLL(sys.argv[1]); lib.next()
pid = os.fork()
if not pid:
    other = CDLL("libz.so.1"); print(lib.next(), bool(other.zlibVersion), flush=True); os._exit(5)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), lib.next())
"""
    theirs, ours = both(script, path)
    assert ours == theirs == "2 True\n5 2\n[0]"


def test_relocation_read_only(lib: Lib, both: Both) -> None:
    path = lib(
        """
        #include <signal.h>
        #include <setjmp.h>
        int f(void) { return 1; }
        int (*const table[])(void) = { f, f };
        static sigjmp_buf back;
        static void caught(int s) { siglongjmp(back, 1); }
        int writable(void) { struct sigaction a = { .sa_handler = caught }, old; sigaction(SIGSEGV, &a, &old);
            int r = 0; if (!sigsetjmp(back, 1)) { *(volatile long *)table = 0; r = 1; } sigaction(SIGSEGV, &old, 0); return r; }
        """,
        "-Wl,-z,relro,-z,now",
    )
    theirs, ours = both("import sys; lib = CDLL(sys.argv[1]); print(lib.writable())", path)
    assert ours == theirs == "0\n[0]"


def test_exit_called_by_a_library(lib: Callable[..., str], both: Both) -> None:
    path = lib(
        """
        #include <stdlib.h>
        #include <unistd.h>
        #include <pthread.h>
        static void late(void) { write(1, "late ", 5); }
        __attribute__((destructor)) static void down(void) { write(1, "down ", 5); }
        int leave(int status) { atexit(late); exit(status); }
        static void *away(void *status) { exit(*(int *)status); }
        int leave_thread(int status) { pthread_t t; pthread_create(&t, 0, away, &status); return pthread_join(t, 0); }
        """
    )
    for call in ("leave", "leave_thread"):
        theirs, ours = both(f"import sys; lib = CDLL(sys.argv[1]); lib.{call}(3)", path)
        assert ours == theirs
        assert "down" in theirs
        assert "[3]" in theirs
