"""How programs start and end under our linker: what ld.so refuses, what the environment does, how signals end it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

MAIN = "int function(int); int main(void) { return function(3); }"


def program_without(
    cc: Callable[..., Path], place: Path, *, replacement: str | None, flags: tuple[str, ...] = ()
) -> Path:
    """A program whose library has changed since it was linked."""
    library = cc("int function(int a) { return a; }", "libone.so", "-shared", "-fPIC")
    made = cc(MAIN, "main", str(library), "-Wl,-rpath,$ORIGIN", *flags)
    target = place / "main"
    target.write_bytes(made.read_bytes())
    target.chmod(0o755)
    # The path it was linked with is in DT_NEEDED only if the library has no soname and was given with a slash.
    if replacement is not None:
        new = cc(replacement, "libone.so", "-shared", "-fPIC")
        (place / "libone.so").write_bytes(new.read_bytes())
    return target


@pytest.fixture
def linked(cc: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """``linked(replacement, flags...)``: a program linked with -lone, whose library is then another one, or none."""

    def make(replacement: str | None, *flags: str) -> Path:
        library = cc(
            "int function(int a) { return a; }",
            "libone.so",
            "-shared",
            "-fPIC",
            "-Wl,-soname,libone.so",
        )
        made = cc(MAIN, "main", str(library), "-Wl,-rpath,$ORIGIN", *flags)
        target = tmp_path / "main"
        target.write_bytes(made.read_bytes())
        target.chmod(0o755)
        if replacement is not None:
            new = cc(replacement, "libone.so", "-shared", "-fPIC", "-Wl,-soname,libone.so")
            (tmp_path / "libone.so").write_bytes(new.read_bytes())
        return target

    return make


def test_missing_library(linked: Callable[..., Path], same: Callable[..., object]) -> None:
    linked(None)
    same(["./main"])


def test_missing_function_called(linked: Callable[..., Path], same: Callable[..., object]) -> None:
    linked("int other;", "-Wl,-z,lazy")
    same(["./main"])
    same(["./main"], "--lazy")
    same(["./main"], env={"LD_BIND_NOW": "1"})


def test_missing_function_of_bind_now(
    linked: Callable[..., Path], same: Callable[..., object]
) -> None:
    linked("int other;", "-Wl,-z,now")
    same(["./main"])


def test_preload(
    linked: Callable[..., Path],
    cc: Callable[..., Path],
    same: Callable[..., object],
    tmp_path: Path,
) -> None:
    linked("int function(int a) { return a; }")
    first = cc("int function(int a) { return 40 + a; }", "first.so", "-shared", "-fPIC")
    same(["./main"], env={"LD_PRELOAD": str(first)})
    same(["./main"], env={"LD_PRELOAD": str(tmp_path / "nothing.so")})


def test_own_malloc(cc: Callable[..., Path], same: Callable[..., object]) -> None:
    """What libc itself allocates comes from the program's malloc, as natively."""
    program = cc(
        r"""
        #include <stdio.h>
        #include <stdlib.h>
        #include <string.h>
        static char pool[1 << 20]; static size_t used; static int calls;
        void *malloc(size_t n) { ++calls; void *p = pool + used; used += (n + 31) & -16; return p; }
        void *calloc(size_t n, size_t m) { return memset(malloc(n * m), 0, n * m); }
        void *realloc(void *p, size_t n) { void *q = malloc(n); if (p) memcpy(q, p, n); return q; }
        void free(void *p) { }
        int main(void) {
            int before = calls;
            char *copy = strdup("text");
            fprintf(stderr, "%d %d\n", calls - before, copy >= pool && copy < pool + sizeof pool);
            before = calls;
            FILE *file = fopen("/dev/null", "r");
            fprintf(stderr, "%d\n", calls > before && (char *)file >= pool && (char *)file < pool + sizeof pool);
            return 0;
        }
        """,
        "own_malloc",
    )
    same([program])


def test_environment_and_arguments(cc: Callable[..., Path], same: Callable[..., object]) -> None:
    program = cc(
        r"""
        #include <stdio.h>
        #include <stdlib.h>
        #include <string.h>
        #include <sys/auxv.h>
        #include <unistd.h>
        extern char **environ;
        extern char _start;
        int main(int argc, char **argv) {
            for (int i = 0; i < argc; ++i) puts(argv[i]);
            for (char **e = environ; *e; ++e)
                if (!strncmp(*e, "LD_", 3) || !strncmp(*e, "X", 1)) puts(*e);
            char path[4096] = "";
            readlink("/proc/self/exe", path, sizeof path - 1);
            puts(path);
            puts((char *)getauxval(AT_EXECFN));
            printf("%d %d\n", (char *)getauxval(AT_ENTRY) == &_start, (int)getauxval(AT_PHNUM));
            char *end = sbrk(0);
            printf("%d\n", end > &_start && end - &_start < 1L << 40);
            FILE *file = fopen("/proc/self/comm", "r");
            fgets(path, sizeof path, file);
            fputs(path, stdout);
            file = fopen("/proc/self/cmdline", "r");
            printf("%d\n", (int)fread(path, 1, sizeof path, file));
        }
        """,
        "surroundings",
    )
    same(
        [program, "a b", "", "c"],
        env={"LD_PRELOAD": "", "LD_SHOWN": "1", "LD_LIBRARY_PATH": "/nowhere", "X": "y"},
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGSEGV, signal.SIGABRT])
def test_death_by_signal(cc: Callable[..., Path], same: Callable[..., object], number: int) -> None:
    program = cc(
        "#include <signal.h>\nint main(int c, char **v) { return raise(c - 1 + 0); }", "dies"
    )
    command = [str(program)] + ["x"] * int(number)
    done = same(command)
    assert done.returncode == -number  # type: ignore[attr-defined]


def test_nobody_lingers(cc: Callable[..., Path], rtld_command: list[str], tmp_path: Path) -> None:
    """When rtld is killed the program goes too."""
    told = tmp_path / "pid"
    program = cc(
        '#include <stdio.h>\n#include <unistd.h>\nint main(int c, char **v) { FILE *f = fopen(v[1], "w");'
        ' fprintf(f, "%d\\n", getpid()); fclose(f); pause(); }',
        "waits",
    )
    with subprocess.Popen([*rtld_command, "run", str(program), str(told)]) as ours:
        while not told.exists() or not told.read_text().endswith("\n"):
            time.sleep(0.01)
        pid = int(told.read_text())
        ours.kill()
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        with open(f"/proc/{pid}/stat") as file:
            if file.read().rpartition(") ")[2][0] == "Z":
                return
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("the program is still there")


def test_lazy_binding_is_told_as_it_happens(
    cc: Callable[..., Path], rtld_command: list[str]
) -> None:
    program = cc(
        '#include <stdio.h>\n#include <stdlib.h>\nint main(int c, char **v) { puts("one"); fflush(stdout);'
        ' if (c > 1) abs(getpid()); return atoi("3"); }\nint getpid(void);',
        "calls",
        "-fno-builtin",
        "-Wl,-z,lazy",
        "-w",
    )
    command = [*rtld_command, "run", "--lazy", "--trace=bindings", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 3
    told = [
        line.rpartition("symbol `")[2].split("'")[0]
        for line in done.stderr.splitlines()
        if f"binding file {program}" in line
    ]
    assert [name for name in told if name in ("puts", "fflush", "atoi", "getpid")] == [
        "puts",
        "fflush",
        "atoi",
    ]


def test_preloads_accumulate(
    build: Callable[..., Path], same: Callable[..., object], rtld_command: list[str], tmp_path: Path
) -> None:
    """Each --preload adds to the list, each --library-path too."""
    for name in ("one", "two"):
        build("traced_plugin.c", f"{name}.so", "-shared", "-fPIC", f'-DNAME="{name}"')
    both = f"{tmp_path}/one.so:{tmp_path}/two.so"
    native = subprocess.run(
        ["/bin/true"], env={"LD_PRELOAD": both}, capture_output=True, text=True, check=True
    )
    for how in ([], ["--interp"]):
        words = [
            "--preload",
            "one.so",
            "--library-path",
            "/nowhere",
            "--library-path",
            str(tmp_path),
            "--preload",
            "two.so",
        ]
        done = subprocess.run(
            [*rtld_command, "run", *how, *words, "/bin/true"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == native.stderr != ""


@pytest.mark.parametrize("limit", [256, 64, 32, 20])
def test_few_descriptors(
    rtld_command: list[str], limit: int, require: Callable[[str], None]
) -> None:
    """A closure of many files needs no more descriptors than one of few."""
    if not os.path.exists("/usr/bin/gdb"):
        require("/usr/bin/gdb")
    done = subprocess.run(
        ["/bin/sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh", *rtld_command, "run", "/usr/bin/gdb", "--version"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("GNU gdb")
