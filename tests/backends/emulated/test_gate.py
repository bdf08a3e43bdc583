"""The gate's machine code, run by each CPU it is for with functions of C in Unicorn's and Python's place; and the gate without it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import toolchain
from backends.emulated.programs import ALL, Program, load
from rtld.backends.emulated import brake, gate, open_machine
from rtld.backends.emulated.gate import BOTH, CODE, FIRST, INTERRUPT, NOTHING, SECOND

HARNESS = r"""
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static const unsigned char code[] = {CODE};
static int numbers[5] = {11, 12, 13, 21, 22}, wanted;
static uint64_t cells[5];
static void *places[5] = {cells, cells + 1, cells + 2, cells + 3, cells + 4};
static struct {
    int *reads; void **to; uint64_t count; int (*read)(void *, int *, void **, int); int (*python)(void);
    int *writes; void **from; int (*write)(void *, int *, void **, int); uint64_t number;
} block;

static int get(void *uc, int *regs, void **to, int count) {
    for (int i = 0; i < count; i++) *(uint64_t *)to[i] = 100 * regs[i] + (uint64_t)uc;
    return 0;
}
static int python(void) {
    printf("%d: %d %d %d ->", (int)block.number, (int)cells[0], (int)cells[1], (int)cells[2]);
    cells[3] = cells[0] + 1, cells[4] = cells[1] + 1;
    return wanted;
}
static int put(void *uc, int *regs, void **from, int count) {
    for (int i = 0; i < count; i++) printf(" %d=%d", regs[i], (int)*(uint64_t *)from[i]);
    printf(" of %d", (int)(uint64_t)uc);
    return 0;
}
int main(void) {
    char *at = mmap(0, 4096, 7, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(at, code, sizeof code);
    __builtin___clear_cache(at, at + sizeof code);
    block.reads = numbers, block.to = places, block.count = 3, block.read = get, block.python = python;
    block.writes = numbers + 3, block.from = places + 3, block.write = put;
    int all[] = {WANTED};
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
        wanted = all[i];
        ((void (*)(void *, unsigned, void *))(at + INTERRUPT))((void *)7, i, &block);
        puts("");
        ((void (*)(void *, void *))at)((void *)8, &block);
        puts("");
    }
}
"""
EXPECTED = """\
0: 1107 1207 1307 ->
-1: 1108 1208 1308 ->
1: 1107 1207 1307 -> 21=1108 of 7
-1: 1108 1208 1308 -> 21=1109 of 8
2: 1107 1207 1307 -> 22=1208 of 7
-1: 1108 1208 1308 -> 22=1209 of 8
3: 1107 1207 1307 -> 21=1108 22=1208 of 7
-1: 1108 1208 1308 -> 21=1109 22=1209 of 8
"""


@pytest.mark.parametrize("host", CODE)
def test_the_machine_code(host: str, tmp_path: Path, require: Callable[[str], None]) -> None:
    target = toolchain.target(host)
    lacking = toolchain.missing(target)
    if lacking:
        require(lacking)
    source, program = tmp_path / "gate.c", tmp_path / "gate"
    values = {
        "CODE": ", ".join(str(byte) for byte in CODE[host].code),
        "INTERRUPT": INTERRUPT[host],
        "WANTED": ", ".join(str(w) for w in (NOTHING, FIRST, SECOND, BOTH)),
    }
    macros = [f"-D{name}={value}" for name, value in values.items()]
    source.write_text(HARNESS)
    cc = target.cc if host != os.uname().machine else "cc"
    subprocess.run([cc, "-O2", "-static", *macros, source, "-o", program], check=True)
    command = [str(program)] if host == os.uname().machine else [target.qemu, str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == EXPECTED


@pytest.mark.parametrize("cpu", ALL)
def test_without_machine_code(
    cpu: str, cc: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "CODE", {})
    monkeypatch.setattr(brake, "CODE", {})
    lacking = toolchain.missing(toolchain.target(cpu))
    if lacking:
        pytest.skip(lacking)
    program = Program(cpu).call("getpid").call("exit", 42).compiled(cc)
    with open_machine(cpu, seconds=20) as machine:
        assert machine.call(machine.function(lambda a, b: 10 * a + b, 2), 3, 4) == 34
        assert machine.start(load(machine, program), machine._call_stack() - 64) == 42
        assert machine.kernel.calls == {"getpid": 1, "exit": 1}


def test_a_forked_process_has_its_own() -> None:
    with open_machine("aarch64") as machine:
        pid = os.fork()
        if not pid:
            machine.gate.results[0] = 99
            machine.engine.stop_soon()
            os._exit(0)
        os.waitpid(pid, 0)
        assert machine.gate.results[0] == 0
        assert not machine.engine._brake.pulled
