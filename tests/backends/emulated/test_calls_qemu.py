"""Calling conventions of CPUs that the engine does not run: the calling code and its rows in a program under qemu-user."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import toolchain
from backends.emulated.random_c import ALL_MORE, MEMCPY, Generator, plain, source
from backends.emulated.test_machine import symbols
from rtld.arch.calling import convention
from rtld.backends.emulated.calls import ROW, Signature
from rtld.process.foreign.convert import Converter
from rtld.process.foreign.types import COMPLEX

CC = Callable[..., Path]
ROOM = 1 << 16

#: Where the calling code ends it goes on here: CPU -> assembly.
BACK = {"mips64el": "dla $25, back\n jr $25\n nop", "mipsel": "la $25, back\n jr $25\n nop"}
WITHOUT = {"mipsel": {"int128"}}
FLAGS = ("-O1", "-static", "-w", "-fno-stack-protector")
MAIN = r"""
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
__asm__(".section .calls,\"awx\",@progbits\n .balign 4096\n .globl area\narea:\n .byte %s\n %s\n .balign 4096\n .globl cell\ncell: .space %d\n .text");
extern char area[], cell[];
char stack[1 << 18] __attribute__((aligned(64)));
static jmp_buf before;
void back(void) { longjmp(before, 1); }
static void get(void *to, size_t n) { while (n) { ssize_t m = read(0, to, n); if (m <= 0) exit(n != 0); to = (char *) to + m; n -= m; } }
static void put(void *p, size_t n) { while (n) { ssize_t m = write(1, p, n); if (m <= 0) exit(2); p = (char *) p + m; n -= m; } }
int main(void)
{
    for (;;) {
        uint32_t size;
        get(&size, 4);
        get(cell, size);
        if (!setjmp(before)) ((void (*)(void)) area)();
        put(cell, size);
    }
}
"""


@pytest.mark.parametrize("cpu", list(BACK))
@pytest.mark.parametrize("seed", range(4))
def test_functions_of_random_types(
    cpu: str, seed: int, cc: CC, require: Callable[[str], None]
) -> None:
    target = toolchain.target(cpu)
    lacking = toolchain.missing(target)
    if lacking:
        require(lacking)
    rules = convention(cpu)
    generator = Generator(
        seed, frozenset(ALL_MORE - WITHOUT.get(cpu, set())) if seed >= 2 else frozenset()
    )
    functions = [generator.function(n) for n in range(60)]
    text = source(generator, functions)
    code = ",".join(map(str, rules.stub.code))
    path = cc(
        text.replace(MEMCPY, "") + MAIN % (code, BACK[cpu].replace("\n", "\\n"), ROOM),
        "calls",
        *FLAGS,
        arch=cpu,
    )
    where = symbols(path)
    row = where["cell"] + ROW
    nobody: Any = target
    there, here = (
        Converter(nobody, rules.model),
        Converter(nobody, convention(toolchain.HOST).model),
    )
    native = _native(text, cc)
    asked = b""
    calls: list[tuple[Any, Signature, int, Any]] = []
    for f in functions:
        values = [generator.value(kind) for kind in f.arguments]
        of = there.types.of
        signature = Signature(
            rules, of(f.result.ctype), [of(k.ctype) for k in f.arguments], f.fixed
        )
        raws = [there.maker(k.ctype)(v, []) for k, v in zip(f.arguments, values, strict=True)]
        memory = bytearray(ROW + signature.pitch)
        signature.whole.pack_into(
            memory, 0, row, 1, where["stack"] + (1 << 18) - 256, where[f"f{f.number}"], signature.pitch,
            signature.layout.stack, signature.layout.kind, *signature.values(raws, row),
        )  # fmt: skip
        asked += struct.pack(f"{rules.model.order}I", len(memory)) + memory
        calls.append((f, signature, len(memory), native(here, f, values)))
    done = subprocess.run(
        [target.qemu, path], input=asked, capture_output=True, timeout=60, check=False
    )
    assert not done.stderr, done.stderr
    at = 0
    for f, signature, size, want in calls:
        memory = bytearray(done.stdout[at : at + size])
        at += size
        got = plain(
            f.result, there.result(f.result.ctype)(signature.result_of(memoryview(memory), ROW))
        )
        kinds = [kind.c for kind in (f.result, *f.arguments)]
        assert got == plain(f.result, want), (f.number, kinds, f.fixed, generator.declarations)
    assert at == len(done.stdout)


def _native(text: str, cc: CC) -> Callable[..., Any]:
    """What this machine's compiler says."""
    import ctypes

    library = ctypes.CDLL(str(cc(text, "f.so", "-O1", "-shared", "-fPIC", "-w")))

    def call(here: Converter, f: Any, values: list[Any]) -> Any:
        held = []
        for kind, value in zip(f.arguments, values, strict=True):
            data = here.pack(kind.ctype, here.object_of(kind.ctype, value), [])
            held.append(ctypes.create_string_buffer(data, len(data) or 1))
        pointers = (ctypes.c_void_p * max(1, len(held)))(*map(ctypes.addressof, held))
        result = ctypes.create_string_buffer(here.types.of(f.result.ctype).size or 1)
        library[f"w{f.number}"](result, pointers)
        raw = here.unpack(f.result.ctype, result.raw)
        return complex(raw.real, raw.imag) if f.result.ctype in COMPLEX else raw

    return call
