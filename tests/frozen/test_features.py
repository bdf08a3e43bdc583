"""What an image must get right, one program each: judged by the original, readelf, nm, gdb and /proc."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

import rtld
from frozenimages import FORMS, freeze_to, outcome
from rtld.elf.file import ElfFile
from rtld.errors import Unsupported
from rtld.frozen.choose import NotFreezable

Build = Callable[..., Path]


def same(program: Path, *argv: str, forms: tuple[str, ...] = tuple(FORMS)) -> list[str]:
    """The original's output, which every form's image gives too."""
    expected = outcome([program, *argv])
    for form in forms:
        image = freeze_to(program, program.with_name(f"image-{form}"), **FORMS[form])
        # argv[0] is the same, so that messages are.
        assert outcome([program, *argv], image) == expected, form
    assert expected[0] == 0, expected
    return expected[1].decode().splitlines()


def test_the_public_function(build: Build, tmp_path: Path) -> None:
    build("liba.so", "int a(void) { return 6; }")
    program = build("program", "int a(void); int main(void) { return a(); }", "-la")
    report = rtld.freeze(str(program), str(tmp_path / "image"))
    assert report.fused == [str(program), str(tmp_path / "liba.so")]
    assert [os.path.basename(path) for path in report.kept][:1] == ["libc.so.6"]
    assert report.form == "fixed"
    assert report.relocations[0] < report.relocations[1]
    assert outcome([tmp_path / "image"])[0] == 6


def test_two_hundred_libraries_have_few_segments(build: Build, tmp_path: Path) -> None:
    count = 200
    for i in range(count):
        text = f"static int v = {i}; int *p{i} = &v; int f{i}(void) {{ return *p{i}; }}"
        build(f"libm{i}.so", text, "-O1", "-nostdlib")
    calls = "+".join(f"f{i}()" for i in range(count))
    declared = "".join(f"int f{i}(void);" for i in range(count))
    flags = [f"-lm{i}" for i in range(count)]
    main = (
        f'#include <stdio.h>\n{declared} int main(void) {{ printf("%d\\n", {calls}); return 0; }}'
    )
    program = build("program", main, *flags)
    assert same(program, forms=("fixed", "thin", "pie")) == [str(sum(range(count)))]
    for form in ("fixed", "thin", "pie"):
        assert ElfFile(str(tmp_path / f"image-{form}")).phnum <= 20


MAPS = r"""
    #include <stdio.h>
    #include <string.h>
    #include <dlfcn.h>
    #include <stdlib.h>
    extern const char *const fixed_table[]; extern int changing; extern const char text[];
    int code(void);
    static void where(const char *what, const void *p) {
        char line[512]; FILE *f = fopen("/proc/self/maps", "r"); unsigned long lo, hi; char prot[8];
        while (fgets(line, sizeof line, f))
            if (sscanf(line, "%lx-%lx %7s", &lo, &hi, prot) == 3 && (unsigned long)p >= lo && (unsigned long)p < hi)
                printf("%s %s\n", what, prot);
        rewind(f);
        while (fgets(line, sizeof line, f))
            if (sscanf(line, "%lx-%lx %7s", &lo, &hi, prot) == 3 && prot[1] == 'w' && prot[2] == 'x') puts("writable code");
        fclose(f);
    }
    int main(void) {
        changing = code();
        where("relro", fixed_table); where("data", &changing); where("constant", text); where("code", (void *)code);
        where("own", (void *)main);
        return 0;
    }
"""


def test_protections_are_the_original_ones(build: Build) -> None:
    build(
        "libp.so",
        'const char *const fixed_table[300] = {"a", "b"}; int changing = 3; const char text[] = "constant";'
        "int code(void) { return changing; }",
        "-Wl,-z,relro,-z,now",
    )
    lines = same(build("program", MAPS, "-lp"))
    assert lines == ["relro r--p", "data rw-p", "constant r--p", "code r-xp", "own r-xp"]


def test_one_copy_of_each_library(build: Build, tmp_path: Path) -> None:
    build(
        "libcore.so.1",
        '#include <stdio.h>\nstatic int n; __attribute__((constructor)) void c(void) { puts("core starts"); } int next(void) { return ++n; }',
        "-Wl,-soname,libcore.so.1",
    )
    os.symlink("libcore.so.1", tmp_path / "libcore.so")
    build("plugin.so", "int next(void); int plugin(void) { return next(); }", "-lcore")
    text = r"""
        #include <dlfcn.h>
        #include <stdio.h>
        int next(void);
        int main(int c, char **v) {
            void *a = dlopen("libcore.so.1", RTLD_NOW | RTLD_NOLOAD), *b = dlopen(v[1], RTLD_NOW), *p = dlopen(v[2], RTLD_NOW);
            int (*f)(void) = (int (*)(void))dlsym(p, "plugin"), (*g)(void) = (int (*)(void))dlsym(a, "next");
            int one = next(), two = f(), three = g();
            printf("%d %d %d %d %d\n", a != 0, b != 0, one, two, three);
            return 0;
        }"""
    program = build("program", text, "-lcore")
    lines = same(program, str(tmp_path / "libcore.so.1"), str(tmp_path / "plugin.so"))
    assert lines == ["core starts", "1 1 1 2 3"]


def test_malloc_is_interposed_and_the_next_one_found(build: Build) -> None:
    build(
        "libwrap.so",
        r"""
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <stdlib.h>
        int counted;
        void *malloc(size_t n) { static void *(*real)(size_t); if (!real) real = dlsym(RTLD_NEXT, "malloc"); counted++; return real(n); }
        const char *who(void) { const char *(*real)(void) = dlsym(RTLD_NEXT, "who"); return real(); }
        """,
    )
    build("libwho.so", 'const char *who(void) { return "the next library"; }')
    text = r"""
        #include <stdio.h>
        #include <stdlib.h>
        #include <string.h>
        const char *who(void); extern int counted;
        int main(void) { int before = counted; free(strdup("x")); printf("%s %d\n", who(), counted > before); return 0; }"""
    assert same(build("program", text, "-lwrap", "-lwho")) == ["the next library 1"]


CXX_LIBRARY = r"""
    #include <stdexcept>
    #include <string>
    struct Loud { const char *name; ~Loud(); };
    extern "C" int printf(const char *, ...);
    Loud::~Loud() { printf("end of %s\n", name); }
    template <class T> struct Once { static int count; }; template <class T> int Once<T>::count = 5;
    thread_local Loud per_thread{"thread"};
    static Loud global{"library"};
    int *unique() { return &Once<int>::count; }
    void touch() { per_thread.name = "a thread's object"; }
    void raise_it(int n) { if (n == 0) throw std::runtime_error("from below"); raise_it(n - 1); }
"""
CXX_PROGRAM = r"""
    #include <cstdio>
    #include <dlfcn.h>
    #include <stdexcept>
    #include <thread>
    int *unique(); void touch(); void raise_it(int);
    template <class T> struct Once { static int count; }; template <class T> int Once<T>::count = 5;
    int main(int, char **v) {
        try { raise_it(5); } catch (const std::exception &e) { std::printf("caught %s\n", e.what()); }
        void *p = dlopen(v[1], RTLD_NOW);
        auto f = (void (*)(void (*)(int)))dlsym(p, "plugin"); auto u = (int *(*)())dlsym(p, "plugin_unique");
        try { f(raise_it); } catch (int i) { std::printf("caught %d\n", i); }
        std::thread(touch).join();
        std::printf("%d %d\n", unique() == &Once<int>::count, u() == unique());
        std::fflush(stdout);
    }
"""
CXX_PLUGIN = r"""
    #include <stdexcept>
    template <class T> struct Once { static int count; }; template <class T> int Once<T>::count = 5;
    extern "C" int *plugin_unique() { return &Once<int>::count; }
    extern "C" void plugin(void (*f)(int)) { try { f(3); } catch (const std::runtime_error &) { throw 42; } }
"""


def test_exceptions_unique_objects_and_destructors(build: Build, tmp_path: Path) -> None:
    build("libx.so", CXX_LIBRARY, "-xc++")
    build("plugin.so", CXX_PLUGIN, "-xc++")
    program = build("program", CXX_PROGRAM, "-xc++", "-lx", "-pthread")
    lines = same(program, str(tmp_path / "plugin.so"))
    assert lines[:4] == ["caught from below", "caught 42", "end of a thread's object", "1 1"]
    assert "end of library" in lines


@pytest.mark.parametrize("dialect", ["gnu", "gnu2"])
def test_thread_local_storage(build: Build, dialect: str) -> None:
    library = r"""
        __thread int global = 1; static __thread int local = 2; static __thread int local2 = 3; int target = 9;
        static __thread int *pointer = &target; __thread char block[5000] __attribute__((aligned(256)));
        extern __thread int other; extern __thread int nowhere __attribute__((weak));
        int sum(void) { return global + local * 10 + local2 * 100 + *pointer * 1000 + other * 10000 + block[4999]; }
        long aligned(void) { return (long)block & 255; } void set(int v) { global = local = local2 = v; block[4999] = 1; }
    """
    other = '__thread int other = 4; __thread int more __attribute__((tls_model("initial-exec"))) = 7; int get(void) { return more; }'
    text = r"""
        #include <stdio.h>
        #include <pthread.h>
        int sum(void), get(void); long aligned(void); void set(int); extern __thread int global; __thread int mine = 8;
        static void *run(void *p) { printf("%d %d %ld %d\n", sum(), get(), aligned(), mine + global); set(5); printf("%d\n", sum()); return p; }
        int main(void) { set(6); pthread_t t; for (int i = 0; i < 3; i++) { pthread_create(&t, 0, run, 0); pthread_join(t, 0); } run(0); mine = 1; return 0; }
    """
    build("libother.so", other, f"-mtls-dialect={dialect}")
    build("libtls.so", library, "-lother", f"-mtls-dialect={dialect}", "-O1")
    lines = same(build("program", text, "-ltls", "-lother", "-pthread"))
    assert lines[:2] == ["49321 7 0 9", "49556"]


def test_unwinding_from_a_signal_handler(build: Build) -> None:
    library = "int *nowhere; int fault(int n) { if (n) return fault(n - 1) + 1; return *(volatile int *)nowhere; }"
    text = r"""
        #include <execinfo.h>
        #include <signal.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <unwind.h>
        int fault(int);
        static _Unwind_Reason_Code count(struct _Unwind_Context *c, void *n) { ++*(int *)n; return 0; }
        static void handler(int s) { int n = 0; _Unwind_Backtrace(count, &n); printf("%d frames\n", n); exit(0); }
        int main(void) { signal(SIGSEGV, handler); return fault(7); }
    """
    build("libf.so", library, "-O0")
    (line,) = same(build("program", text, "-lf", "-O0"))
    assert int(line.split()[0]) >= 12


def test_core_and_names(build: Build, tmp_path: Path, require: Callable[[str], None]) -> None:
    if not shutil.which("gdb"):
        require("gdb")
    build(
        "libdeep.so",
        "#include <stdlib.h>\nint inner(int n) { if (!n) abort(); return inner(n - 1) + 1; }",
        "-O0",
    )
    build(
        "libouter.so", "int inner(int); int outer(void) { return inner(2) + 1; }", "-O0", "-ldeep"
    )
    program = build("program", "int outer(void); int main(void) { return outer(); }", "-louter")
    image = freeze_to(program, tmp_path / "image")
    core = tmp_path / "core"
    gdb = ["gdb", "-nx", "-batch"]
    env = {**os.environ, "DEBUGINFOD_URLS": ""}
    run = [*gdb, "-ex", "run", "-ex", f"generate-core-file {core}", str(image)]
    subprocess.run(run, check=True, capture_output=True, env=env)
    done = subprocess.run(
        [*gdb, "-ex", "bt", str(image), str(core)],
        check=True,
        capture_output=True,
        text=True,
        env=env,
    )
    # gcc makes a local alias of a function that calls itself.
    assert len(re.findall(r"inner(?:\.localalias)? @libdeep\.so \(\)", done.stdout)) == 3, (
        done.stdout
    )
    assert " main ()" in done.stdout
    assert "outer @libouter.so ()" in done.stdout
    names = subprocess.run(["nm", image], check=True, capture_output=True, text=True).stdout
    assert " T inner @libdeep.so\n" in names
    assert " t rtld_start\n" in names.lower()


def test_readelf_has_nothing_to_complain_about(build: Build, tmp_path: Path) -> None:
    build("libx.so", CXX_LIBRARY, "-xc++")
    program = build("program", CXX_PROGRAM, "-xc++", "-lx", "-pthread")
    for form, options in FORMS.items():
        image = freeze_to(program, tmp_path / form, **options)
        done = subprocess.run(
            ["readelf", "-hlSdrsVnW", image], check=True, capture_output=True, text=True
        )
        assert done.stderr == "", form
        loads = ElfFile(str(image)).loads
        for one, two in pairwise(loads):
            assert (one.vaddr + one.memsz + 4095) & -4096 == two.vaddr & -4096, form  # no gap
        assert not any(load.flags & 2 and load.flags & 1 for load in loads)


def test_memory_and_processes(build: Build) -> None:
    build(
        "liba.so", "#include <stdlib.h>\nchar big[3 << 20]; void *get(void) { return malloc(100); }"
    )
    text = r"""
        #include <stdio.h>
        #include <stdlib.h>
        #include <string.h>
        #include <sys/wait.h>
        #include <unistd.h>
        void *get(void); extern char big[3 << 20];
        int main(void) {
            for (int i = 0; i < 50000; i++) memset(get(), i, 100);
            for (unsigned i = 0; i < sizeof big; i++) if (big[i]++) return 1;
            void *a = sbrk(1 << 20); memset(a, 1, 1 << 20);
            fflush(stdout); int s; pid_t p = fork(); if (!p) { big[0] = 9; _exit(big[0]); }
            waitpid(p, &s, 0); printf("%d %d\n", WEXITSTATUS(s), big[0]); return 0;
        }"""
    assert same(build("program", text, "-la")) == ["9 1"]


def test_order_of_everything(build: Build) -> None:
    text = r"""
        #include <stdio.h>
        #include <stdlib.h>
        static void at(void) { puts("atexit " WHO); }
        __attribute__((constructor)) static void c(int n, char **v, char **e) { printf("+" WHO " %d %d\n", n, v[n] == 0 && e == v + n + 1); atexit(at); }
        __attribute__((destructor)) static void d(void) { puts("-" WHO); }
        int NEEDED(void); int NAME(void) { return NEEDED(); }
    """
    build("libc1.so", text, '-DWHO="c"', "-DNAME=c1", "-DNEEDED=rand")
    build("libb1.so", text, '-DWHO="b"', "-DNAME=b1", "-DNEEDED=c1", "-lc1")
    build("liba1.so", text, '-DWHO="a"', "-DNAME=a1", "-DNEEDED=c1", "-lc1")
    main = f"int a1(void); int b1(void); {text} int main(void) {{ a1(); b1(); return 0; }}"
    lines = same(
        build("program", main, '-DWHO="main"', "-DNAME=own", "-DNEEDED=a1", "-la1", "-lb1"), "x"
    )
    assert lines[0] == "+c 2 1"


def test_functions_that_nobody_defines(build: Build, tmp_path: Path) -> None:
    build("libu.so", "void gone(void); void call(int n) { if (n > 1) gone(); }")
    program = build(
        "program",
        "void call(int); int main(int c, char **v) { call(c); return 0; }",
        "-lu",
        "-Wl,--unresolved-symbols=ignore-all",
    )
    with pytest.raises(NotFreezable, match="undefined symbol: gone"):
        freeze_to(program, tmp_path / "image")
    image = freeze_to(program, tmp_path / "image", allow_unresolved=True)
    assert outcome([image]) == (0, b"", b"")
    status, _out, err = outcome([image, "x"])
    assert status == 127
    assert err == f"{tmp_path}/libu.so: symbol lookup error: undefined symbol: gone\n".encode()
    assert outcome([program, "x"])[0] == 127


def test_libraries_left_to_ld_so(build: Build, tmp_path: Path) -> None:
    build("libdeep.so", "int deep = 1; int get_deep(void) { return deep; }")
    build("libkept.so", "int get_deep(void); int kept(void) { return get_deep() + 10; }", "-ldeep")
    build(
        "libfused.so",
        "extern int deep; int kept(void); int fused(void) { deep = 5; return kept() + 100; }",
        "-lkept",
        "-ldeep",
    )
    program = build("program", "int fused(void); int main(void) { return fused(); }", "-lfused")
    image = freeze_to(program, tmp_path / "image", keep=("libkept.so",))
    needed = [os.path.basename(name) for name in ElfFile(str(image)).needed]
    assert needed == ["libc.so.6", "libkept.so", "libdeep.so"]  # in the order of the scope
    assert outcome([image])[0] == outcome([program])[0] == 115
    with pytest.raises(Unsupported, match="does not load such a library"):
        freeze_to(program, tmp_path / "image", keep=("libnone.so",))


def test_plugins_inside(build: Build, tmp_path: Path) -> None:
    build("libdep.so", "int dep(void) { return 3; }")
    plugin = build("plugin.so", "int dep(void); int plugin(void) { return dep() + 1; }", "-ldep")
    text = '#include <dlfcn.h>\nint main(int c, char **v) { void *p = dlopen(v[1], RTLD_NOW); return ((int (*)(void))dlsym(p, "plugin"))(); }'
    program = build("program", text)
    image = freeze_to(program, tmp_path / "image", plugins=(str(plugin),))
    assert outcome([image, plugin])[0] == outcome([program, plugin])[0] == 4
    other = build("other.so", "int plugin(void) { return 9; }")
    with pytest.raises(Unsupported, match="defines `plugin', and so does"):
        freeze_to(program, tmp_path / "image", plugins=(str(plugin), str(other)))


def test_a_program_finds_itself(build: Build, tmp_path: Path) -> None:
    """By the name that the kernel gives the original; a library asks, too."""
    build(
        "libself.so",
        r"""
        #define _GNU_SOURCE
        #include <fcntl.h>
        #include <limits.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <string.h>
        #include <sys/stat.h>
        #include <unistd.h>
        void show(void) {
            char a[PATH_MAX] = "", b[8] = "", c[PATH_MAX] = "";
            long n = readlink("/proc/self/exe", a, sizeof a), m = readlink("/proc/self/exe", b, 7);
            long k = readlinkat(AT_FDCWD, "/proc/self/exe", c, sizeof c);
            printf("%ld %s %ld %s %ld %s\n", n, a, m, b, k, c);
            char *r = realpath("/proc/self/exe", 0), *s = canonicalize_file_name("/proc/self/exe");
            printf("%s %s\n", r, s);
            int fd = open("/proc/self/exe", O_RDONLY); FILE *f = fopen("/proc/self/exe", "r");
            struct stat one, two, three; fstat(fd, &one); fstat(fileno(f), &two); stat("/proc/self/exe", &three);
            printf("%d %d %d\n", one.st_size == two.st_size, one.st_ino == three.st_ino, access("/proc/self/exe", X_OK));
            printf("%ld\n", (long)one.st_size);
            printf("%ld %d\n", (long)readlink("/proc/self/ex", a, 9), open("/proc/self/exes", O_RDONLY));
        }
        """,
    )
    program = build("program", "void show(void); int main(void) { show(); return 0; }", "-lself")
    lines = same(program)
    assert lines[0].split()[1] == str(program)


def test_what_is_refused(build: Build, cc: Callable[..., Path], tmp_path: Path) -> None:
    static = cc("int main(void) { return 0; }", "static", "-static")
    with pytest.raises(Unsupported, match="nothing to link"):
        freeze_to(static, tmp_path / "image")
    fixed = build("fixed", "int main(void) { return 0; }", "-no-pie")
    with pytest.raises(Unsupported, match="ET_EXEC"):
        freeze_to(fixed, tmp_path / "image", pie=True)
    musl = cc("int main(void) { return 0; }", "musl", libc="musl")
    with pytest.raises(Unsupported, match="musl"):
        freeze_to(musl, tmp_path / "image")
    assert not (tmp_path / "image").exists()


def test_command(build: Build, tmp_path: Path) -> None:
    build("liba.so", "int a(void) { return 6; }")
    program = build("program", "int a(void); int main(void) { return a(); }", "-la")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "rtld", "freeze", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    done = run(str(program))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("program.frozen: 2 modules, fixed")
    assert outcome([tmp_path / "program.frozen"])[0] == 6
    assert "2 of 2 files are as they were" in run("--check", "program.frozen").stdout
    explained = run("--explain", str(program), "-o", "nothing")
    assert "expected gain" in explained.stdout
    assert not (tmp_path / "nothing").exists()
    assert '"form": "thin fixed"' in run("--json", "--thin", str(program)).stdout
    assert run("--check", str(program)).returncode == 3
    for words in (
        ["--base", "7", "x"],
        ["--check", "--explain", "x"],
        ["--thin", "--no-guard", "x"],
        [],
    ):
        assert run(*words).returncode == 2
    (tmp_path / "liba.so").unlink()
    missing = run(str(program))
    assert missing.returncode == 1
    assert "liba.so: cannot open shared object file" in missing.stderr


def test_an_epoch(build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two programs have their common library at one address; an update ends that for its users only."""
    from rtld.epoch import Epoch
    from rtld.frozen.manifest import read_manifest

    build("libcommon.so", "int common(void) { return 1; }")
    build("libmine.so", "int mine(void) { return 2; }")
    one = build(
        "one",
        "int common(void), mine(void); int main(void) { return common() + mine(); }",
        "-lcommon",
        "-lmine",
    )
    two = build("two", "int common(void); int main(void) { return common(); }", "-lcommon")
    epoch = Epoch.build([str(tmp_path)])
    path = epoch.save(str(tmp_path / "state" / "epoch.json"))
    loaded = Epoch.load(path)
    assert loaded is not None
    assert (loaded.places, loaded.programs) == (epoch.places, epoch.programs)

    def bases(program: Path) -> dict[str, int]:
        found = Epoch.load(path)
        assert found is not None
        image = freeze_to(program, tmp_path / "image", addresses=found.addresses())
        assert outcome([image])[0] == outcome([program])[0]
        manifest = read_manifest(ElfFile(str(image)))
        assert manifest is not None
        return {os.path.basename(entry["path"]): entry["base"] for entry in manifest["files"]}

    first, second = bases(one), bases(two)
    assert (
        first["libcommon.so"]
        == second["libcommon.so"]
        == epoch.places[str(tmp_path / "libcommon.so")].address
    )
    (tmp_path / "libmine.so").unlink()
    build("libmine.so", "int mine(void) { return 3; }")
    status = epoch.status()
    assert status.changed == [str(tmp_path / "libmine.so")]
    assert status.ended == [str(one)]
    again = bases(one)
    assert again["libcommon.so"] == first["libcommon.so"]
    assert [program for program in status.ended if program != str(one)] == []
    monkeypatch.setenv("RTLD_EPOCH", path)
    done = subprocess.run(
        [sys.executable, "-m", "rtld", "epoch", "status"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"ended for {one}" in done.stdout
