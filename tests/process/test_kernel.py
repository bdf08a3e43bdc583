"""Programs started by our loader see what the same programs started by the kernel see."""

from __future__ import annotations

import os
import re
import resource
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import toolchain
from rtld.backends.child.exec import can_set_exe
from rtld.elf.file import ElfFile
from rtld.process.program import initial_environment

from .conftest import SMALL_ENV, Runner

SOURCE = Path(__file__).with_name("portrait.c")
# fmt: off
BUILDS = {
    #                  cpu        libc     flags
    "pie":            ("x86_64", "glibc", ["-pie"]),
    "exec":           ("x86_64", "glibc", ["-no-pie"]),
    "static":         ("x86_64", "glibc", ["-static"]),
    "static-pie":     ("x86_64", "glibc", ["-static-pie"]),
    "musl":           ("x86_64", "musl",  []),
    "musl-static":    ("x86_64", "musl",  ["-static"]),
    "execstack":      ("x86_64", "glibc", ["-zexecstack"]),
    "aligned":        ("x86_64", "glibc", ["-pie", "-Wl,-z,max-page-size=0x200000"]),
    "aligned-static": ("x86_64", "glibc", ["-static-pie", "-Wl,-z,max-page-size=0x200000"]),
    "shared-pages":   ("x86_64", "glibc", ["-no-pie", "-Wl,-z,noseparate-code"]),
    "i386-pie":       ("i386",   "glibc", ["-pie"]),
    "i386-exec":      ("i386",   "glibc", ["-no-pie"]),
    "i386-static":    ("i386",   "glibc", ["-static"]),
    "i386-static-pie":("i386",   "glibc", ["-static-pie", "-Wl,--no-dynamic-linker"]),
    "i386-nostack":   ("i386",   "glibc", ["-static", "-zexecstack"]),
}
# fmt: on
WAYS = ["self", "ptrace", "over", "replace"]
Program = Callable[[str], str]


@pytest.fixture
def program(cc: Callable[..., Path], tmp_path: Path, require: Callable[[str], None]) -> Program:
    """The portrait as built in BUILDS, in a fresh directory."""

    def build(name: str) -> str:
        arch, libc, flags = BUILDS[name]
        if arch != toolchain.HOST and not toolchain.runs_here(arch):
            require(f"a kernel that runs {arch}")
        try:
            made = cc(SOURCE, name, "-O1", "-pthread", "-w", *flags, arch=arch, libc=libc)
        except subprocess.CalledProcessError:
            require(f"a tool chain that links {name}")
            raise
        path = tmp_path / name
        shutil.copy(made, path)
        return str(path)

    return build


def environment(name: str) -> dict[str, str]:
    """A small one in which a foreign program finds its libraries."""
    arch, libc, _ = BUILDS[name]
    return toolchain.environment(toolchain.target(arch, libc))


def portrait(done: subprocess.CompletedProcess[bytes]) -> tuple[list[str], bytes, int]:
    """What a portrait said; the maps have no order."""
    return sorted(done.stdout.decode().splitlines()), done.stderr, done.returncode


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("name", BUILDS)
def test_portrait(
    name: str, how: str, program: Program, run_native: Runner, run_ours: Runner
) -> None:
    if how == "replace" and not can_set_exe():
        pytest.skip("needs CAP_CHECKPOINT_RESTORE")
    argv = [program(name), "a", "b c", ""]
    env = environment(name)
    native, ours = run_native(argv, env), run_ours(argv, how, env)
    assert native.stderr == b"done\n"
    assert portrait(ours) == portrait(native)


@pytest.mark.parametrize("how", ["auto", "replace"])
@pytest.mark.parametrize("name", ["pie", "static", "static-pie", "i386-static", "musl"])
def test_not_random(
    name: str, how: str, program: Program, run_native: Runner, run_ours: Runner
) -> None:
    argv, env = [program(name)], environment(name)
    native = run_native(argv, env, prefix=["setarch", "-R"])
    assert portrait(run_ours(argv, how, env, aslr=False)) == portrait(native)


@pytest.mark.parametrize("name", ["pie", "exec", "static-pie", "i386-static-pie"])
def test_seed(name: str, program: Program, run_ours: Runner) -> None:
    argv = [program(name)]
    env = environment(name) | {"PORTRAIT_RANDOM": "1"}
    one, two, other = (run_ours(argv, "auto", env, seed=seed).stdout for seed in (1, 1, 2))
    assert one == two != other != b""


def test_random_by_default(program: Program, run_ours: Runner) -> None:
    argv = [program("static-pie")]
    env = SMALL_ENV | {"PORTRAIT_RANDOM": "1"}
    assert len({run_ours(argv, "auto", env).stdout for _ in range(3)}) == 3


@pytest.mark.parametrize("name", ["pie", "static", "i386-static"])
def test_from_bytes(name: str, program: Program, run_native: Runner, run_ours: Runner) -> None:
    path = program(name)
    env = environment(name)
    native = portrait(run_native([path, "x"], env))
    ours = portrait(run_ours([path, "x"], "image", env))
    memory = f"/memfd:{name} (deleted)"
    assert ours == ([line.replace(f"exe {path}", f"exe {memory}").replace(f" {path}", f" {memory}")
                     if line.startswith(("map ", "exe ")) else line for line in native[0]],
                    *native[1:])  # fmt: skip


def test_addresses_that_the_kernel_chose(run_native: Runner, run_ours: Runner) -> None:
    """LD_SHOW_AUXV prints the vector: same entries, same order, same values but for addresses."""
    moving = "SYSINFO_EHDR|PHDR|BASE|ENTRY|RANDOM|EXECFN|PLATFORM|RSEQ"
    env = SMALL_ENV | {"LD_SHOW_AUXV": "1"}
    for argv in (["/bin/true"], ["/bin/sh", "-c", ":"]):
        texts = []
        for done in (run_native(argv, env), run_ours(argv, "self", env)):
            text = done.stdout.decode()
            texts.append(re.sub(rf"(AT_(?:{moving}).*:\s+)0x[0-9a-f]+", r"\1...", text))
        assert texts[0] == texts[1]
        assert "AT_PHNUM" in texts[0]


def test_without_capabilities(
    program: Program, run_native: Runner, run_ours: Runner, require: Callable[[str], None]
) -> None:
    """What an ordinary user gets: /proc/self/exe is right all the same."""
    prefix: list[str] = []
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            require("setpriv")
        prefix = ["setpriv", "--bounding-set=-checkpoint_restore,-sys_admin"]
    argv = [program("pie"), "x"]
    assert portrait(run_ours(argv, prefix=prefix)) == portrait(run_native(argv, prefix=prefix))


def test_where_ptrace_is_forbidden(program: Program, run_native: Runner, run_ours: Runner) -> None:
    argv = [program("pie"), "x"]
    prefix = ["setpriv", "--no-new-privs"] if shutil.which("setpriv") else []
    native = portrait(run_native(argv, prefix=prefix))
    ours = portrait(run_ours(argv, "auto", no_ptrace=True))
    seccomp = re.compile("Seccomp|NoNewPrivs")
    assert [x for x in ours[0] if not seccomp.match(x)] == [
        x for x in native[0] if not seccomp.match(x)
    ]
    assert ours[2] == native[2]
    # Where only ptrace could make /proc/self/exe right, the program runs without that.
    assert run_ours(["/bin/echo", "hello"], "over", no_ptrace=True).stdout == b"hello\n"


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize(
    "script",
    [
        "exit 3",
        "kill -TERM $$",
        "kill -SEGV $$",
        "trap 'echo usr1' USR1; kill -USR1 $$; echo after",
        "trap 'echo bye; exit 9' EXIT; false",
        "yes | head -n1; echo ${PIPESTATUS[@]}",
        "cat; echo done",
        "echo out; echo err >&2",
        "ls /proc/self/fd | wc -l",
        "trap - PIPE; trap",
        "ulimit -a",
        'echo "$0"; umask; pwd; echo $-',
        "(sleep 0.1; echo late) & wait; echo $?",
        "readlink /proc/$$/exe /proc/$PPID/cwd; echo ${BASH##*/} $SHLVL",
        "tr '\\0' '\\n' </proc/$$/environ | sort",
        "set -m; sleep 0.1 & fg >/dev/null; echo $?",
    ],
)
def test_bash(how: str, script: str, run_native: Runner, run_ours: Runner) -> None:
    argv = ["/bin/bash", "-c", script]
    native, ours = run_native(argv), run_ours(argv, how)
    assert (ours.stdout, ours.stderr) == (native.stdout, native.stderr)
    assert ours.returncode == native.returncode


def test_python(run_native: Runner, run_ours: Runner) -> None:
    if not os.path.exists("/usr/bin/python3"):
        pytest.skip("no system Python")
    text = (
        "import sys, json, sqlite3, ssl, hashlib, threading, os, subprocess;"
        "print(sys.executable, sys.argv, sqlite3.connect(':memory:').execute('select 6*7').fetchall());"
        "t = threading.Thread(target=print, args=('thread',)); t.start(); t.join();"
        "print(hashlib.sha256(b'x').hexdigest(), subprocess.run(['echo', 'x']).returncode);"
        "sys.exit(5)"
    )
    argv = ["/usr/bin/python3", "-c", text, "arg"]
    native = run_native(argv)
    for how in WAYS:
        ours = run_ours(argv, how)
        assert (ours.stdout, ours.stderr) == (native.stdout, native.stderr)
        assert ours.returncode == native.returncode == 5


@pytest.mark.parametrize("how", ["self", "over"])
def test_odd_circumstances(how: str, tmp_path: Path, run_native: Runner, run_ours: Runner) -> None:
    def check(argv: list[str], **options: object) -> None:
        native = run_native(argv, **options)
        ours = run_ours(argv, how, **options)
        assert (ours.stdout, ours.stderr, ours.returncode) == (
            native.stdout,
            native.stderr,
            native.returncode,
        )

    deep = tmp_path
    while len(str(deep)) < 1500:
        deep = deep / ("d" * 200)
    deep.mkdir(parents=True)
    shutil.copy("/bin/echo", deep / "e")
    check([str(deep / "e"), "from afar"])
    check(["/bin/echo", *["x" * 100] * 10000])  # 1 MB of arguments
    check(["/bin/cat", "-", "/nonexistent"], process={"input": b"in\n", "stdin": None})
    check(["/usr/bin/env"], env={})
    check(["/usr/bin/env"], env={"A": "1", "EMPTY": ""})
    small = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))}
    check(["/bin/sh", "-c", "ulimit -n; ls /proc/self/fd | wc -l"], process=small)
    old = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_STACK, (-1, -1))}
    check(["/bin/sh", "-c", "ulimit -s"], process=old)
    check(["/bin/sh", "-c", "echo hello <&-; exec 0<&-; ls /proc/self/fd"])


def test_another_argv0(run_ours: Runner) -> None:
    done = run_ours(["other", "-c", "echo $0"], program="/bin/sh")
    assert done.stdout == b"other\n"


SCRIPTS = {
    "plain": "#!/bin/sh\necho $0 $*\n",
    "option": "#!/bin/sh -e\necho $0 $- $*\n",
    "several": "#!/bin/echo  one two \t three  \n",
    "nested": "#!{dir}/plain opt\n",
    "no newline": "#! /bin/echo",
    "env": "#!/usr/bin/env -S bash -u\necho $0 $-\n",
}


@pytest.mark.parametrize("how", ["self", "over"])
@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts(name: str, how: str, tmp_path: Path, run_native: Runner, run_ours: Runner) -> None:
    for key, text in SCRIPTS.items():
        (tmp_path / key).write_text(text.format(dir=tmp_path))
        (tmp_path / key).chmod(0o755)
    argv = [str(tmp_path / name), "a", "b c"]
    native, ours = run_native(argv), run_ours(argv, how)
    assert native.stdout
    assert (ours.stdout, ours.stderr, ours.returncode) == (native.stdout, b"", native.returncode)


def test_what_cannot_be_run(tmp_path: Path, cc: Callable[..., Path], run_ours: Runner) -> None:
    def make(name: str, content: bytes, mode: int = 0o755) -> str:
        path = tmp_path / name
        path.write_bytes(content)
        path.chmod(mode)
        return str(path)

    true = Path("/bin/true").read_bytes()
    foreign = bytearray(true)
    foreign[18:20] = (183).to_bytes(2, "little")
    cut = bytearray(true[:64])
    owned = make("owned", true)
    if os.geteuid() == 0:
        os.chown(owned, 65534, 65534)
    os.chmod(owned, 0o4755)
    own_id = f"{owned}: it is set-user-ID; only the kernel can grant that: run it directly"
    objfile = cc("int x;", "x.o", "-c")
    objcopy = make("x.o", objfile.read_bytes())
    interp = make("interp", true.replace(b"/lib64/ld-linux", b"/nowhere/at-all"))
    cases = [
        (str(tmp_path), 126, "Is a directory"),
        (str(tmp_path / "none"), 127, "No such file or directory"),
        (owned + "/x", 127, "Not a directory"),
        ("/dev/null", 126, "not a regular file"),
        (make("noexec", true, 0o644), 126, "Permission denied; make it executable: chmod +x"),
        (make("empty", b""), 126, "neither an ELF file nor a script"),
        (make("text", b"echo hello\n"), 126, "a shell would read it as a script: /bin/sh"),
        (make("garbage", os.urandom(5000)), 126, ""),
        (make("cut", bytes(cut)), 126, ""),
        (make("half", true[: len(true) // 2]), 126, "expected at most the file's size"),
        (make("foreign", bytes(foreign)), 126, "another CPU (64-bit aarch64)"),
        (objcopy, 126, "an object file"),
        (interp, 127, "its interpreter /nowhere/at-all"),
        (make("bad", b"#!/nowhere/sh\n"), 127, "its interpreter /nowhere/sh: No such file"),
        (make("nobody", b"#! \n"), 126, "names no interpreter"),
        (make("loop", f"#!{tmp_path}/loop\n".encode()), 126, "too many levels"),
    ]
    if os.geteuid() == 0:
        cases.append((owned, 126, own_id))
    for path, status, words in cases:
        done = run_ours([path])
        assert done.returncode == status, path
        assert done.stderr.count(b"\n") == 1, done.stderr
        assert words in done.stderr.decode(), done.stderr
        assert done.stderr.startswith(b"rtld: ")
        assert not done.stdout


def test_a_malformed_program_fails_cleanly(tmp_path: Path, run_ours: Runner) -> None:
    """Correct to us, impossible for the kernel: segments where the stack is."""
    data = bytearray(Path("/bin/true").read_bytes())
    file = ElfFile(bytes(data))
    data[16] = 2  # ET_EXEC: no other place will do
    for i, s in enumerate(file.segments):
        if s.type == 1:
            at = file.phoff + i * file.phentsize + 16
            data[at : at + 8] = (s.vaddr + 0x7FFFFFFFE000).to_bytes(8, "little")
    path = tmp_path / "high"
    path.write_bytes(data)
    path.chmod(0o755)
    for how in WAYS:
        done = run_ours([str(path)], how)
        assert done.returncode == 126
        assert done.stderr.decode().startswith(f"rtld: {path}: ")


def handmade(segments: list[tuple[int, int, int, int, int]], align: int = 4096) -> bytes:
    """An ET_EXEC of (vaddr, offset, filesz, memsz, flags); page 1 of the file holds `exit_group(7)`."""
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    entry = segments[0][0]
    header += struct.pack(
        "<HHIQQQIHHHHHH", 2, 62, 1, entry, 64, 0, 0, 64, 56, len(segments), 0, 0, 0
    )
    for vaddr, offset, filesz, memsz, flags in segments:
        header += struct.pack("<IIQQQQQQ", 1, flags, offset, vaddr, vaddr, filesz, memsz, align)
    page = -(-len(header) // 4096) * 4096
    code = bytes.fromhex("b8e7000000 bf07000000 0f05")
    return header.ljust(page, b"\0") + code.ljust(4096, b"\x90")


@pytest.mark.parametrize("how", WAYS)
def test_unusual_layouts(how: str, tmp_path: Path, run_native: Runner, run_ours: Runner) -> None:
    many = 24576  # the file offset of the code where there are 400 headers
    layouts = {
        "plain": handmade([(0x400000, 4096, 4096, 4096, 5)]),
        "many": handmade([(0x400000 + 8192 * i, many, 4096, 4096, 5) for i in range(400)]),
        "bss": handmade([(0x400000 + 8192 * i, many, 12, 8192, 7) for i in range(400)]),
        "no file": handmade([(0x400000, 4096, 4096, 4096, 5), (0x500000, 0, 0, 99999, 6)]),
        "at the anchor": handmade([(0x7000001000, 4096, 4096, 65536, 7)]),
        "around it": handmade([(0x400000, 4096, 4096, 0x8000000000, 7)]),
        "no alignment": handmade([(0x400000, 4096, 4096, 4096, 5)], align=0),
        "same page": handmade([(0x400000, 4096, 100, 100, 5), (0x400800, 6144, 100, 100, 7)]),
        "no room": handmade([(0x400000, 4096, 4096, 1 << 47, 7)]),
    }
    for name, data in layouts.items():
        path = tmp_path / name
        path.write_bytes(data)
        path.chmod(0o755)
        native, ours = run_native([str(path)]), run_ours([str(path)], how)
        if native.returncode == 7:
            assert (name, ours.returncode, ours.stderr) == (name, 7, b"")
        else:
            assert (name, ours.returncode) == (name, 126)
            assert ours.stderr.count(b"\n") == 1


def test_initial_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_CTYPE", "C.UTF-8")  # as Python does by itself, PEP 538
    monkeypatch.setenv("OTHER", "1")
    environment = initial_environment()
    assert environment[b"OTHER"] == b"1"
    with open("/proc/self/environ", "rb") as file:
        given = b"LC_CTYPE=" in file.read()
    assert (b"LC_CTYPE" in environment) == given


@pytest.mark.live
@pytest.mark.parametrize("path", ["/bin/busybox", "/usr/bin/perl", "/usr/bin/git", "/usr/bin/gdb"])
def test_installed(path: str, run_native: Runner, run_ours: Runner) -> None:
    if not os.path.exists(path):
        pytest.skip(f"no {path}")
    argv = [path, "--help"]
    native = run_native(argv)
    for how in ("self", "over"):
        ours = run_ours(argv, how)
        assert (ours.stdout, ours.returncode) == (native.stdout, native.returncode)


def test_go(tmp_path: Path, run_native: Runner, run_ours: Runner) -> None:
    if not shutil.which("go"):
        pytest.skip("no Go")
    source = tmp_path / "m.go"
    source.write_text(
        'package main\nimport ("fmt"; "os")\n'
        "func main() { c := make(chan int); for i := 0; i < 50; i++ { go func(i int) { c <- i }(i) }\n"
        "s := 0; for i := 0; i < 50; i++ { s += <-c }; e, _ := os.Executable(); fmt.Println(s, e, os.Args) }\n"
    )
    subprocess.run(
        ["go", "build", "-o", "m", "m.go"], cwd=tmp_path, check=True,
        env={**os.environ, "CGO_ENABLED": "0", "GOCACHE": str(tmp_path / "cache")},
    )  # fmt: skip
    argv = [str(tmp_path / "m"), "a"]
    assert run_ours(argv).stdout == run_native(argv).stdout
