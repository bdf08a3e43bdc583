"""What can be seen of programs on emulated CPUs: calls through PLT slots, functions that run, memory that is touched.

Judges: under qemu-user ld.so binds anew at every call (LD_BIND_NOT) and tells of it; qemu's log has every block that it runs.
"""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import toolchain
from emulated_support import rtld, sysroot
from rtld.elf.file import ElfFile
from rtld.elf.functions import names

HERE = Path(__file__).parent
CPUS = ("aarch64", "arm", "i386", "riscv64", "s390x")
CC = Callable[..., Path]
FLAGS = ("-O1", "-fno-builtin", "-no-pie", "-Wl,-z,lazy")


def build(cc: CC, arch: str, *flags: str) -> Path:
    return cc(HERE / "observed.c", "observed", *FLAGS, *flags, arch=arch)


def under_qemu(arch: str, options: list[str], program: Path, *words: str) -> str:
    target = toolchain.target(arch)
    # What a program does depends on its environment: the same as in emulated_support.
    env = {**os.environ, "LD_LIBRARY_PATH": target.libraries, "LC_ALL": "C"}
    command = [target.qemu, *options, str(program), *words]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    return done.stderr


# -- calls ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", CPUS)
@pytest.mark.parametrize("how", [[], ["--now"]])
def test_calls_are_those_that_ld_so_tells(
    how: list[str], arch: str, cc: CC, rtld_command: list[str], require: Callable[[str], None]
) -> None:
    program = build(cc, arch)
    if not toolchain.target(arch).qemu:
        require("qemu-user")
    said = under_qemu(arch, ["-E", "LD_BIND_NOT=1", "-E", "LD_DEBUG=bindings"], program, "word")
    behind = said[said.index("transferring control") :] if "transferring control" in said else said
    wanted = re.findall(
        rf"binding file {program} \[0\] to \S+ \[0\]: normal symbol `(\w+)'", behind
    )
    options = ["--trace=calls", *how, *sysroot(arch)]
    done = rtld(rtld_command, arch, program, "word", options=options)
    assert done.returncode == 3
    assert done.stdout == "30 4 1 0\n"
    form = rf" *\d+:\tcall from file {program} \[0\] to \S+ \[0\]: (\w+)\(0x[0-9a-f]+, 0x[0-9a-f]+, 0x[0-9a-f]+\)"
    calls = re.findall(form, done.stderr)
    # What runs before main is bound once at the start, and not told again: from the first call of main's on.
    first = wanted.index("qsort")
    assert calls[calls.index("qsort") :] == wanted[first:]
    returns = re.findall(
        rf"return to file {program} \[0\] from \S+ \[0\]: (\w+) = (0x[0-9a-f]+)", done.stderr
    )
    assert ("strlen", "0x4") in returns
    # stdin's program is not asked: everything that begins returns, but for what starts main and what ends the process.
    assert {name for name, _ in returns} == set(calls) - {"__libc_start_main"}


def test_calls_of_forked_processes(cc: CC, rtld_command: list[str], tmp_path: Path) -> None:
    program, trace = build(cc, "aarch64"), tmp_path / "trace"
    options = ["--trace=calls", f"--trace-output={trace}", *sysroot("aarch64")]
    done = rtld(rtld_command, "aarch64", program, "a", "12", options=options)
    assert done.stdout == "30 2 1 12\nchild 4\n"
    calls = re.findall(r" *(\d+):\tcall .*: (\w+)\(", trace.read_text())
    parent = calls[0][0]
    child = {pid for pid, _ in calls} - {parent}
    assert len(child) == 1
    assert [name for pid, name in calls if pid in child] == ["_exit"]
    returned = re.findall(r" *(\d+):\treturn .*: fork = (\w+)", trace.read_text())
    assert sorted(returned) == sorted([(*child, "0x0"), (parent, hex(int(*child)))])


OPENS = """
#include <dlfcn.h>
#include <stdio.h>
int main(int argc, char **argv)
{
    void *handle = dlopen(argv[1], RTLD_LAZY);
    if (!handle) return puts(dlerror()), 1;
    int (*length)(const char *) = dlsym(handle, "length");
    int sum = length("a") + length("bc") + length("def");
    printf("%d %d\\n", sum, dlclose(handle));
    return 0;
}
"""
PLUGIN = "#include <string.h>\nint length(const char *text) { return strlen(text) * 10; }"


@pytest.mark.parametrize("arch", CPUS)
def test_calls_of_a_library_that_is_opened(arch: str, cc: CC, rtld_command: list[str]) -> None:
    """Its slots wait for their first call, which is told once as all others are."""
    program = cc(OPENS, "opens", "-ldl", arch=arch)
    plugin = cc(
        PLUGIN, "libplugin.so", "-shared", "-fPIC", "-fno-builtin", "-Wl,-z,lazy", arch=arch
    )
    options = ["--trace=calls", f"--bind={plugin.parent}:{plugin.parent}:ro", *sysroot(arch)]
    done = rtld(rtld_command, arch, program, str(plugin), options=options)
    assert (done.stdout, done.returncode) == ("60 0\n", 0)
    calls = re.findall(
        rf"(call|return) \w+ file {plugin} \[0\].*: strlen(?:\(\w+| = (\w+))", done.stderr
    )
    assert calls == [
        (what, size) for n in "123" for what, size in (("call", ""), ("return", f"0x{n}"))
    ]


def test_calls_where_they_are_not_seen(cc: CC, rtld_command: list[str]) -> None:
    done = subprocess.run(
        [*rtld_command, "run", "--trace=calls", "/bin/true"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "--sysroot / emulates one" in done.stderr
    done = rtld(
        rtld_command,
        "arm",
        build(cc, "arm"),
        options=["--trace=calls", "--interp", *sysroot("arm")],
    )
    assert done.returncode == 2
    assert "another linker" in done.stderr


SCRIPT = r"""
import ctypes, json, sys, rtld
from rtld.process.emulated.observe import Coverage, Watch
program, root, bound = sys.argv[1:]
seen = []

class Audit(rtld.Hooks):
    def activity(self, state): seen.append(["activity", state])
    def objsearch(self, name, requester):
        seen.append(["search", name])
        return name
    def objopen(self, module): seen.append(["open", module.path])
    def objclose(self, module): seen.append(["close", module.path])
    def symbind(self, symbol, referrer, definer, address):
        seen.append(["bind", symbol])
        if symbol == "strtol":
            return ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int)(lambda text, _end, _base: len(text) + 100)
        return address
    def watches(self, symbol, referrer, definer): return symbol == "strlen"
    def pltenter(self, call):
        seen.append(["enter", call.symbol])
        return True
    def pltexit(self, call): call.result += 1000

cover, watch = Coverage(), Watch("counter")
status = rtld.run(program, [program, "word"], {"LD_LIBRARY_PATH": root + "/lib"}, sysroot=root, hooks=Audit(), observers=[cover, watch])
print(json.dumps([status, seen, cover.functions[program], [list(a) for a in watch.accesses]]))
"""


@pytest.mark.parametrize("arch", CPUS)
def test_hooks_of_a_program(arch: str, cc: CC, tmp_path: Path) -> None:
    root = f"/usr/{toolchain.target(arch).triplet}"
    program = cc(
        HERE / "observed.c",
        "observed",
        *FLAGS,
        f"-Wl,--dynamic-linker={toolchain.target(arch).interp.removeprefix(root)}",
        arch=arch,
    )
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(program), root, root], capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    assert done.stderr == ""
    said, told = done.stdout.splitlines()
    assert said == "30 1004 1 104"
    status, seen, functions, accesses = json.loads(told)
    assert status == 3
    assert ["search", "libc.so.6"] in seen
    assert seen.count(["enter", "strlen"]) == 1
    assert [row for row in seen if row[0] in ("activity", "open", "close")] == [
        ["activity", "add"], ["open", str(program)], ["activity", "consistent"], ["activity", "delete"], ["close", str(program)],
    ]  # fmt: skip
    # A lazy slot is told when it is used first.
    assert seen.index(["bind", "strlen"]) > seen.index(["activity", "consistent"])
    assert (functions["add"], functions["helper"], functions["main"]) == (5, 5, 1)
    assert "never" not in functions
    writes = [(size, value) for what, _, size, value, _ in accesses if what == "write"]
    assert writes == [(4, 0), (4, 3), (4, 9), (4, 18), (4, 30)]


# -- coverage -----------------------------------------------------------------------------------------------


def entered(log: Path, program: Path) -> dict[str, int]:
    """The functions in qemu's log of what it runs."""
    found: dict[str, int] = {}
    known = names(ElfFile(program))
    for at in re.findall(
        r"^Trace \d+: \S+ \[[0-9a-f]+/([0-9a-f]+)/", log.read_text(), re.MULTILINE
    ):
        name, offset = known.function_at(int(at, 16))
        if name:
            found[name] = found.get(name, 0) + (offset == 0)
    return found


#: Functions that libc chooses by what the CPU has, which qemu-user's has otherwise; and of i386, what CPUID is asked by.
CHOSEN = re.compile(r"__(str|mem)[a-z]+_(generic|mte|asimd|sve|sse\w*|avx\w*|ia32|default|z\d+)\b")
ASKING = re.compile(
    r"handle_|intel_|get_(common_)?(cache|extended)|__x86|init_cpu|update_active|cpu_features"
)


@pytest.mark.parametrize("arch", CPUS)
def test_coverage_is_qemus(arch: str, cc: CC, rtld_command: list[str], tmp_path: Path) -> None:
    """A static program, so that all its code is at one place: every function, and how often it was entered.

    LD_LIBRARY_PATH is empty: libc copies its value, and with which of its loops depends on where that lies,
    which is 4 bytes lower under qemu than under Linux.
    """
    program = build(cc, arch, "-static")
    log, out = tmp_path / "log", tmp_path / "coverage.json"
    under_qemu(
        arch, ["-d", "exec,nochain", "-D", str(log), "-E", "LD_LIBRARY_PATH="], program, "word"
    )
    options = ["--json", f"--coverage={out}", f"--sysroot={tmp_path}", "--env=LD_LIBRARY_PATH="]
    done = rtld(rtld_command, arch, program, "word", options=options)
    assert (done.stdout, done.returncode, done.stderr) == ("30 4 1 0\n", 3, "")
    ours = json.loads(out.read_text())["coverage"]["functions"][str(program)]
    theirs = entered(log, program)
    different = {name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)}
    assert {
        name for name in different if not CHOSEN.match(name) and not ASKING.match(name)
    } == set()
    assert len(ours) > 80
    assert {ours[name] for name in ("add", "helper")} == {5}
    assert ours["compare"] == theirs["compare"] > 5


def test_coverage_as_text_and_drcov(cc: CC, rtld_command: list[str], tmp_path: Path) -> None:
    program, out = build(cc, "riscv64"), tmp_path / "log.drcov"
    done = rtld(
        rtld_command, "riscv64", program, "word", options=["--coverage", *sysroot("riscv64")]
    )
    lines = done.stderr.splitlines()
    assert re.fullmatch(rf"{program}: \d+ functions entered, \d+ have run", lines[0])
    assert "         5  add" in lines
    assert any(
        re.fullmatch(r"/\S+/libc\.so\.6: \d+ functions entered, \d+ have run", line)
        for line in lines
    )
    rtld(
        rtld_command, "riscv64", program, "word", options=[f"--coverage={out}", *sysroot("riscv64")]
    )
    data = out.read_bytes()
    head, _, rows = data.partition(b" bbs\n")
    head_lines = head.decode().splitlines()
    assert head_lines[:2] == ["DRCOV VERSION: 2", "DRCOV FLAVOR: drcov"]
    count = int(head_lines[2].rpartition(" ")[2])
    modules = [line.split(", ") for line in head_lines[4 : 4 + count]]
    assert modules[0][-1] == str(program)
    assert len(rows) == 8 * int(head_lines[-1].removeprefix("BB Table: "))
    low = int(modules[0][1], 16)
    blocks = [
        (low + start, size) for start, size, which in struct.iter_unpack("<IHH", rows) if which == 0
    ]
    known = names(ElfFile(program))
    ran = {known.function_at(address)[0] for address, _ in blocks}
    assert {"main", "add", "helper", "compare"} <= ran
    assert "never" not in ran
    assert all(size for _, size in blocks)


# -- memory --------------------------------------------------------------------------------------------------


STORES = r"(str|strh?|sw|st|mov[lw]?|add[lw]?)\s"  # as objdump writes them


def instruction(arch: str, program: Path, function: str, offset: int) -> str:
    """What objdump has at that place."""
    tool = toolchain.target(arch).cc.removesuffix("gcc") + "objdump"
    symbol = names(ElfFile(program)).find(function)
    assert symbol is not None
    at = (symbol.value & -2) + offset
    command = [tool, "-d", f"--start-address={at}", f"--stop-address={at + 8}", str(program)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(rf"^ *{at:x}:\t[^\t]+\t(.*)$", text, re.MULTILINE)
    return found[1].replace("\t", " ") if found else ""


def watched(text: str) -> list[str]:
    return re.findall(r"rtld: watch \S+: (read|write of 0x[0-9a-f]+), (?:\d+) bytes? at", text)


@pytest.mark.parametrize("arch", CPUS)
@pytest.mark.parametrize("how", [[], ["--interp"]])
def test_watched_memory(how: list[str], arch: str, cc: CC, rtld_command: list[str]) -> None:
    program = build(cc, arch)
    symbol = names(ElfFile(program)).find("record")
    assert symbol is not None
    word = 4 if arch in ("arm", "i386") else 8
    end = symbol.value + 8 + word  # record.last, by its address
    more = [*how, "--watch=counter", f"--watch={end:#x}+2", *sysroot(arch)]
    done = rtld(rtld_command, arch, program, "word", options=more)
    assert done.returncode == 3
    seen = watched(done.stderr)
    writes = [what for what in seen if what.startswith("write")]
    assert writes == [f"write of {value:#x}" for value in (0, 3, 9, 18, 30, 7)]
    (store,) = set(
        re.findall(r"watch counter: write of .* by observed: add\+(0x[0-9a-f]+)", done.stderr)
    )
    assert re.match(STORES, instruction(arch, program, "add", int(store, 16)))
    assert "by observed: main+0x" in done.stderr
    last = next(line for line in done.stderr.splitlines() if "write of 0x7," in line)
    assert f"watch {end:#x}: write of 0x7, 2 bytes at {end:#x}, by observed: main+0x" in last


def test_watched_memory_of_a_library(cc: CC, rtld_command: list[str]) -> None:
    program = build(cc, "arm")
    options = ["--json", "--watch=libc.so.6:stdout", *sysroot("arm")]
    done = rtld(rtld_command, "arm", program, "word", options=options)
    (told,) = json.loads(done.stderr)["watch"]
    assert told["subject"] == "libc.so.6:stdout"
    assert told["accesses"]
    assert {access["what"] for access in told["accesses"]} <= {"read", "write"}
    assert all(access["size"] == 4 for access in told["accesses"])


@pytest.mark.parametrize(
    ("options", "says", "status"),
    [
        (["--watch=nothing"], "watch nothing: no module has such a symbol", 126),
        (["--watch=nothing", "--interp"], "rtld does not link it", 126),
        (["--watch=counter+0"], "--watch counter+0: ADDRESS, SYMBOL or", 2),
        (["--watch=0xzz"], "--watch 0xzz: ADDRESS, SYMBOL or", 2),
        (["--coverage=/nonexistent/file"], "--coverage=/nonexistent/file: No such file", 126),
    ],
)
def test_what_cannot_be_watched(
    options: list[str], says: str, status: int, cc: CC, rtld_command: list[str]
) -> None:
    done = rtld(rtld_command, "arm", build(cc, "arm"), options=[*options, *sysroot("arm")])
    assert says in done.stderr
    assert (done.returncode, done.stdout) == (status, "")
    assert "Traceback" not in done.stderr
