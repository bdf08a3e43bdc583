"""Every reading command on programs of every CPU, and on damaged ones."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

import toolchain
from cli.support import Rtld

HELLO = '#include <stdio.h>\n__thread int count; int main(void) { count++; return printf("%d\\n", count) < 0; }'


@pytest.mark.parametrize(
    "arch", [a for a, want in toolchain.TARGETS.items() if want.libc == "glibc" and not want.native]
)
def test_commands(rtld: Rtld, cc: Callable[..., Path], arch: str) -> None:
    program = cc(HELLO, "hello", arch=arch)
    want = toolchain.target(arch)
    directories = f"{want.libraries}:{Path(want.interp).parent}"
    for words in (
        ["tree"],
        ["ldd"],
        ["ldd", "-r"],
        ["ldd", "-v"],
        ["link"],
        ["link", "--bindings"],
        ["check"],
    ):
        status, out, err = rtld(*words, "--library-path", directories, program)
        assert (status, err) == (0, "")
        assert "libc.so" in out or words == ["check"]
    status, out, _ = rtld("why", "--library-path", directories, program, "printf")
    assert status == 0
    assert "taken" in out


def mutants(data: bytes, count: int) -> list[bytes]:
    """The file cut short, or with some bytes changed: headers, tables, anything. The same ones every time."""
    chance = random.Random(7)
    result = []
    for _ in range(count):
        mutant = bytearray(data)
        if chance.random() < 0.1:
            result.append(bytes(mutant[: chance.randrange(len(mutant))]))
            continue
        for _ in range(chance.choice((1, 1, 2, 4, 8))):
            at = chance.randrange(
                min(chance.choice((64, 64 + 56 * 13, 4096, len(data))), len(data))
            )
            width = chance.choice((1, 2, 4, 8))
            value = chance.choice((0, 255, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 63, chance.getrandbits(64)))
            mutant[at : at + width] = (value & ((1 << 8 * width) - 1)).to_bytes(width, "little")
        result.append(bytes(mutant))
    return result


@pytest.mark.fuzz
def test_damaged_files(rtld: Rtld, here: Path, tmp_path: Path) -> None:
    """An answer or one sentence, whatever is in the file."""
    path = tmp_path / "app"
    commands = (
        ["tree"],
        ["ldd", "-v"],
        ["ldd", "-r"],
        ["link"],
        ["link", "--json", "--bindings"],
        ["check", "-v"],
        ["why"],
    )
    for number, mutant in enumerate(mutants((here / "app").read_bytes(), 150)):
        path.write_bytes(mutant)
        for words in commands:
            name = ["shared"] if words == ["why"] else []
            status, _, err = rtld(*words, "--library-path", here, path, *name)
            assert status in (0, 1, 3), (number, words)
            assert "internal error" not in err, (number, words, err)
