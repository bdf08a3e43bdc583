"""C programs under ``rtld run`` on every emulated CPU: what they write and how they end is what qemu-user says."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import toolchain
from emulated_support import rtld, sysroot

HERE = Path(__file__).parent
CPUS = ("aarch64", "arm", "i386", "riscv64", "s390x")
#: With what Unicorn does badly (quirks): all the same.
MIPS = ("mips64el", "mipsel")
MODES = {"ours": [], "now": ["--now"], "interp": ["--interp"]}

CC = Callable[..., Path]
Outcome = tuple[str, int]


def qemu(arch: str, program: Path, *words: str) -> Outcome:
    done = toolchain.run(toolchain.target(arch), [str(program), *words])
    return done.stdout, done.returncode


@pytest.mark.parametrize("arch", CPUS + MIPS)
@pytest.mark.parametrize("mode", MODES)
def test_hello(mode: str, arch: str, cc: CC, rtld_command: list[str]) -> None:
    program = cc(HERE / "hello.c", "hello", "-lm", arch=arch)
    done = rtld(rtld_command, arch, program, "word", options=[*MODES[mode], *sysroot(arch)])
    assert (done.stdout, done.returncode, done.stderr) == (*qemu(arch, program, "word"), "")


REOPENS = """
#include <stdio.h>
int main(int argc, char **argv) {
    char line[80];
    if (!freopen(argv[1], "r", stdin) || !fgets(line, sizeof line, stdin) || !freopen("/dev/null", "w", stderr)) return 1;
    fprintf(stderr, "nobody reads that");
    printf("read %s", line);
    return fclose(stdin);
}
"""


@pytest.mark.parametrize("arch", CPUS)
def test_standard_streams_are_not_those_of_old_programs(
    arch: str, cc: CC, rtld_command: list[str], tmp_path: Path
) -> None:
    """freopen of a stream that libc takes for an old program's ends the program (i386: _IO_stdin_used)."""
    source, text = tmp_path / "reopens.c", tmp_path / "text"
    source.write_text(REOPENS)
    text.write_text("some words\n")
    program = cc(source, "reopens", arch=arch)
    options = [*sysroot(arch), f"--bind={tmp_path}:{tmp_path}"]
    for mode in ([], ["--now"], ["--trace=files", "--trace-output=/dev/null"]):
        done = rtld(rtld_command, arch, program, str(text), options=[*mode, *options])
        judge = qemu(arch, program, str(text))
        assert (done.stdout, done.returncode, done.stderr) == (*judge, "")
        assert judge == ("read some words\n", 0)


@pytest.mark.parametrize("arch", CPUS)
def test_static(arch: str, cc: CC, rtld_command: list[str], tmp_path: Path) -> None:
    program = cc(HERE / "hello.c", "hello", "-static", "-lm", arch=arch)
    done = rtld(rtld_command, arch, program, options=[f"--sysroot={tmp_path}"])
    assert (done.stdout, done.returncode, done.stderr) == (*qemu(arch, program), "")


@pytest.mark.parametrize("arch", CPUS + MIPS)
@pytest.mark.parametrize("mode", ["ours", "interp"])
def test_threads(mode: str, arch: str, cc: CC, rtld_command: list[str]) -> None:
    program = cc(HERE / "threads.c", "threads", "-O1", "-pthread", arch=arch)
    done = rtld(rtld_command, arch, program, options=[*MODES[mode], *sysroot(arch)])
    assert (done.stdout, done.returncode, done.stderr) == (*qemu(arch, program), "")


@pytest.mark.parametrize("arch", CPUS + MIPS)
def test_stdout_is_the_new_one(arch: str, cc: CC, rtld_command: list[str]) -> None:
    """Where nobody defines _IO_stdin_used, libc of i386 and MIPS takes the program for one of glibc 2.0's time."""
    text = (
        "#define _GNU_SOURCE\n#include <stdio.h>\nint main(void) { "
        'fputs_unlocked("one\\n", stdout); fwrite_unlocked("two\\n", 1, 4, stdout); puts("three"); return fflush_unlocked(stdout); }'
    )
    program = cc(text, "stdout", arch=arch)
    done = rtld(rtld_command, arch, program, options=sysroot(arch))
    assert (done.stdout, done.returncode) == ("one\ntwo\nthree\n", 0)


@pytest.mark.parametrize("arch", CPUS)
def test_processes_and_signals(arch: str, cc: CC, rtld_command: list[str]) -> None:
    """fork, exec, pipes, waiting, signals; the last one it dies of."""
    program = cc(HERE / "processes.c", "processes", "-w", arch=arch)
    done = rtld(rtld_command, arch, program)
    lines = done.stdout.splitlines()
    assert lines[:7] == [
        "10 from child 7", "child says hi", "exec 3", "got 10", "pause -1 1 got 14", "term 15", "popen 1",
    ]  # fmt: skip
    # An s390x tells the page of an address that cannot be reached, and no more (as qemu-user does).
    assert lines[7] == ("segv 11 (nil)" if arch == "s390x" else "segv 11 0x10")
    assert lines[8:] == ["segv 9"]
    assert done.returncode == -11
    assert "Segmentation fault" in done.stderr


@pytest.mark.parametrize("arch", CPUS)
def test_confinement(arch: str, cc: CC, rtld_command: list[str], tmp_path: Path) -> None:
    """Nothing outside the sysroot is reached; qemu-user, which confines nobody, shows that the ways are ways."""
    secret = tmp_path / "outside" / "secret"
    secret.parent.mkdir()
    secret.write_text("secret")
    root = tmp_path / "root"
    (root / "tmp").mkdir(parents=True)
    program = cc(HERE / "escape.c", "escape", "-w", "-static", arch=arch)
    (root / "escape").write_bytes(program.read_bytes())
    (root / "escape").chmod(0o755)
    pid = str(os.getpid())
    done = rtld(
        rtld_command, arch, Path("/escape"), str(secret), pid, options=[f"--sysroot={root}"]
    )
    assert done.stdout.splitlines() == [
        "environ 1", "mem 1", "self mem 1", "openat 1", "fchdir 1", "link 1", "rename 1", "write 1", "kill 1 1", "socket 1",
        "device 1", "memory 1", "reached 0",
    ], done.stderr  # fmt: skip
    assert (root / "tmp/rtld-escaped").exists()
    assert secret.read_text() == "secret"
    assert "by its name: reached" in qemu(arch, program, str(secret), pid)[0]


def test_binds(cc: CC, rtld_command: list[str], tmp_path: Path) -> None:
    """What is bound is there, read-only if so said."""
    (tmp_path / "given").mkdir()
    (tmp_path / "given/file").write_text("given")
    text = (
        '#include <stdio.h>\n#include <fcntl.h>\n#include <unistd.h>\nint main(void) { char b[9] = ""; int f = open("/in/file", O_RDONLY);'
        'read(f, b, 8); printf("%s %d\\n", b, open("/in/new", O_CREAT | O_WRONLY, 0600) >= 0); }'
    )
    program = cc(text, "binds", "-static", "-w", arch="aarch64")
    for end, writable in (("", 1), (":ro", 0)):
        done = rtld(rtld_command, "aarch64", program, options=[f"--bind={tmp_path}/given:/in{end}"])
        assert done.stdout == f"given {writable}\n", done.stderr


def test_limits(cc: CC, rtld_command: list[str]) -> None:
    endless = cc("int main(void) { for (;;); }", "endless", "-static", arch="riscv64")
    done = rtld(rtld_command, "riscv64", endless, options=["--timeout=0.3"])
    assert done.returncode == -24  # SIGXCPU
    assert "0.3 seconds are over" in done.stderr
    greedy = cc(
        "#include <stdlib.h>\nint main(void) { return malloc(300 << 20) != 0; }",
        "greedy",
        "-static",
        arch="riscv64",
    )
    assert rtld(rtld_command, "riscv64", greedy, options=["--memory=100"]).returncode == 0
    assert rtld(rtld_command, "riscv64", greedy, options=["--memory=1000"]).returncode == 1


def test_the_same_seed_gives_the_same_addresses(cc: CC, rtld_command: list[str]) -> None:
    text = '#include <stdio.h>\n#include <stdlib.h>\nint main(void) { int x; printf("%p %p %p\\n", main, &x, malloc(9)); }'
    program = cc(text, "where", "-w", arch="aarch64")

    def run(*options: str) -> str:
        return rtld(
            rtld_command, "aarch64", program, options=[*sysroot("aarch64"), *options]
        ).stdout

    assert run("--seed=5") == run("--seed=5") != run("--seed=6")
    assert run("--no-aslr") == run("--no-aslr")


def test_a_missing_sysroot_is_told(cc: CC, rtld_command: list[str], tmp_path: Path) -> None:
    program = cc("int main(void) { return 0; }", "nothing", arch="s390x")
    done = rtld(rtld_command, "s390x", program, options=[f"--sysroot={tmp_path}"])
    assert done.returncode == 127
    assert "its interpreter" in done.stderr


def test_the_steps_of_execve_are_told(cc: CC, rtld_command: list[str]) -> None:
    program = cc("int main(void) { return 0; }", "nothing", arch="aarch64")
    done = rtld(
        rtld_command, "aarch64", program, options=[*sysroot("aarch64"), "--interp", "--trace=exec"]
    )
    steps = [
        line.split("exec: ")[1].split(":")[0]
        for line in done.stderr.splitlines()
        if "exec: " in line
    ]
    assert steps == [
        "open",
        "interpreter",
        "address space",
        "base",
        "map",
        "map",
        "base",
        "map",
        "map",
        "heap",
        "auxiliary vector",
        "stack",
        "start",
    ]


def test_what_is_no_program(rtld_command: list[str], tmp_path: Path) -> None:
    """A directory, and a pipe, which is not even opened; a program in the root directory does not show what is beside it."""
    os.mkfifo(tmp_path / "pipe", 0o755)
    (tmp_path / "dir").mkdir()
    for path, words in (
        ("/pipe", "Permission denied"),
        ("/dir/..", "Is a directory"),
        ("/usr", "Is a directory"),
    ):
        done = rtld(rtld_command, "aarch64", Path(path), options=[f"--sysroot={tmp_path}"])
        assert done.returncode == 126
        assert f"{path}: {words}" in done.stderr


DEEP = """
#include <pthread.h>
int deep(int n) { volatile char b[1000]; b[0] = n; return deep(n + 1) + b[0]; }
static void *thread(void *a) { return (void *)(long)deep(0); }
int main(int c, char **v) { pthread_t t; if (c > 1) { pthread_create(&t, 0, thread, 0); pthread_join(t, 0); } return deep(0); }
"""


@pytest.mark.parametrize("arch", ["aarch64", "arm", "s390x"])
def test_a_fault_is_told_with_its_place(arch: str, cc: CC, rtld_command: list[str]) -> None:
    program = cc(DEEP, "deep", "-w", "-O0", "-rdynamic", "-pthread", arch=arch)
    for words in ((), ("thread",)):
        done = rtld(rtld_command, arch, program, *words)
        first, second, *rest = done.stderr.splitlines()
        assert first.startswith("rtld: Segmentation fault: ")
        assert f"in {program}+0x" in first
        assert "(deep+0x" in first
        assert second == f"stack overflow of thread {1 + len(words)}"
        assert any("pc" in line for line in rest)
        assert qemu(arch, program, *words)[1] == done.returncode == -11


@pytest.mark.parametrize("layout", ["linux", "qnx", "liteos"])
@pytest.mark.parametrize("arch", ["aarch64", "i386"])
def test_layouts(layout: str, arch: str, cc: CC, rtld_command: list[str]) -> None:
    """Where things stand, by the program's own account and by ours."""
    text = """
    #include <pthread.h>
    #include <stdio.h>
    #include <stdlib.h>
    static void *thread(void *a) { int here; printf("%lu ", (unsigned long)&here); return a; }
    int main(void) {
      int here; pthread_t t; printf("%lu %lu ", (unsigned long)&here, (unsigned long)main);
      pthread_create(&t, 0, thread, 0); pthread_join(t, 0);
      printf("%lu %lu\\n", (unsigned long)malloc(9), (unsigned long)stdout);
    }
    """
    program = cc(text, "layout", "-w", "-fPIE", "-pie", "-pthread", arch=arch)
    options = [*sysroot(arch), f"--layout={layout}", "--map", "--json"]
    done = rtld(rtld_command, arch, program, options=options)
    stack, main, thread, heap, library = map(int, done.stdout.split())
    ranges = json.loads(done.stderr)["map"]["ranges"]

    def what(address: int) -> str:
        return next(str(row["what"]) for row in ranges if row["start"] <= address < row["end"])

    assert what(stack) == "[stack]"
    assert what(main) == str(program)
    assert what(heap) == "[heap]"
    if layout == "qnx":
        assert thread < stack < main < heap < library
        guard = next(row for row in ranges if row["what"] == "[guard of the stack]")
        assert thread < guard["start"] < stack
    elif layout == "liteos":
        assert 32 << 20 <= main < heap < library < stack
    else:
        assert main < heap < library
        assert thread < stack


@pytest.mark.parametrize("mode", ["ours", "interp"])
def test_pages_of_files_are_read_once(mode: str, cc: CC, rtld_command: list[str]) -> None:
    """Two processes of one program, one after the other, and two at once: everything of the second comes from the cache."""
    text = """
    #include <stdlib.h>
    #include <sys/wait.h>
    #include <unistd.h>
    int main(int c, char **v) {
      int times = c > 1 ? atoi(v[1]) : 0;
      for (int i = 0; i < times; i++) { if (!fork()) execl(v[0], v[0], (char *)0); wait(0); }
    }
    """
    program = cc(text, "again", "-w", arch="aarch64")

    def counters(times: int) -> dict[str, int]:
        options = [*MODES[mode], *sysroot("aarch64"), "--no-aslr", "--machine-stats", "--json"]
        done = rtld(rtld_command, "aarch64", program, str(times), options=options)
        found: dict[str, int] = json.loads(done.stderr)["statistics"]
        return found

    alone, twice, thrice = counters(0), counters(1), counters(2)
    assert alone["processes"] == 1
    assert alone["pages shared"] == 0
    assert alone["pages copied on write"] > 0
    assert thrice["processes"] == 3
    # What wait and fork need besides, once; a third process reads nothing from files that the second has not.
    assert twice["faults from file"] == thrice["faults from file"] <= alone["faults from file"] + 8
    assert thrice["faults from cache"] > twice["faults from cache"] > alone["faults from cache"]
    assert twice["pages shared"] > 100


EXCEPTIONS = r"""
#include <cstdio>
#include <stdexcept>
#include <string>
#include <thread>
struct Told { const char *name; Told(const char *n) : name(n) { printf("+%s\n", n); } ~Told() { printf("-%s\n", name); } };
thread_local Told here("thread");
static int checked(int n) { Told t("frame"); if (n > 1) throw std::runtime_error("too many: " + std::to_string(n)); return n; }
int main() {
  try { for (int i = 0; i < 9; i++) printf("%d\n", checked(i)); } catch (const std::exception &e) { puts(e.what()); }
  std::thread([] { (void)&here; try { checked(7); } catch (const std::runtime_error &e) { puts(e.what()); } }).join();
  (void)&here;
}
"""


def test_exceptions(cc: CC, rtld_command: list[str]) -> None:
    """C++ on an emulated x86-64, whose sysroot is this computer's own root; the native run is the judge."""
    if toolchain.HOST != "x86_64":
        pytest.skip("for x86-64")
    program = cc(EXCEPTIONS, "exceptions", "-xc++", "-pthread")
    native = subprocess.run([program], capture_output=True, encoding="utf-8", check=True)
    for mode in ([], ["--now"], ["--interp"]):
        done = rtld(rtld_command, "x86_64", program, options=["--sysroot=/", *mode])
        assert (done.stdout, done.returncode, done.stderr) == (native.stdout, 0, "")


def test_the_kernels_part_is_callable(cc: CC) -> None:
    """Every step of execve by its name; the process that results can be run by hand."""
    from rtld.backends.emulated.kernel import Ended
    from rtld.backends.emulated.linux.tree import Bind
    from rtld.kernel import System, check_program, do_execve, open_interpreter, open_program

    program = cc("int main(int c, char **v) { return 40 + c; }", "counted", arch="aarch64")
    root = f"/usr/{toolchain.target('aarch64').triplet}"
    binds = [Bind(root, root, writable=False), Bind(str(program.parent), "/here", writable=False)]
    system = System(sysroot=root, binds=binds, fixed=True)
    image, words = open_program(system, "/here/counted", [b"counted"], None)
    assert words == [b"counted"]
    assert check_program(image).name == "aarch64"
    interp = open_interpreter(system, image)
    assert interp is not None
    assert interp.path.endswith("ld-linux-aarch64.so.1")
    image.close()
    interp.close()
    process = do_execve(
        system,
        "/here/counted",
        [b"counted", b"x"],
        [b"LD_LIBRARY_PATH=" + os.fsencode(root + "/lib")],
    )
    machine = process.machine
    assert process.interp is not None
    assert machine.word(process.sp) == 2
    assert process.aux[9][1] == process.program.entry  # AT_ENTRY
    assert process.aux[7][1] == process.interp.base  # AT_BASE
    with pytest.raises(Ended) as ended:
        machine.go(process.entry, process.sp)
    assert ended.value.status == 42
    machine.close()
