"""Whatever a program passes to a function of the tables: an answer, or a sentence that ends the program. Never an error of ours."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pe import windows
from rtld.backends.windows import tables
from rtld.backends.windows.api import TRAP, Exited, ThreadExited
from rtld.errors import NoSpace, TargetFault, Unsupported
from rtld.process.windows.run import WindowsProcess

Need = Callable[[str], None]
ENDS = (TargetFault, Exited, ThreadExited, NoSpace, Unsupported)
_STACK_ARGUMENTS = 24
#: They would take standard input, or start and stop processes, in earnest.
_LEFT_OUT = {
    "ReadFile",
    "ReadConsoleA",
    "ReadConsoleW",
    "getchar",
    "_fgetchar",
    "gets",
    "scanf",
    "_read",
    "read",
}


@pytest.fixture
def process(need: Need, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    built = windows.build("int main(void) { return 0; }", "empty.exe", need, "-O1")
    process = WindowsProcess(str(built), seconds=600)
    process.machine.memory.limit = 64 << 20
    thread = process._start_thread(process._first_thread())
    process.machine._switch(thread)
    yield process
    process.close()


def values(process: WindowsProcess, chance: random.Random) -> list[int]:
    """Numbers of all kinds: small, huge, negative, addresses of text, of nothing, at the end of memory."""
    system = process.system
    page = system.memory.allocate(0x2000)
    system.memory.write(
        page, b"text %s %n %99999d\0" + "wide\0".encode("utf-16-le") + bytes(range(256)) * 8
    )
    system.memory.write(page + 0x1FF0, b"unterminated....")
    handles = list(system.handles)
    return [0, 1, 2, 3, 16, 255, 4096, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, (1 << 64) - 1, (1 << 64) - 2, 1 << 63,
            0x7FFFFFFFFFFF, 12, page, page + 1, page + 0x1FF0, page + 0x1FFF, page + 0x2000, page + 64,
            chance.choice(handles), chance.getrandbits(31), chance.getrandbits(64)]  # fmt: skip


def call(process: WindowsProcess, api: Any, arguments: list[int]) -> None:
    """As if the program had called it; a function that waits is left waiting."""
    machine = process.machine
    thread = machine.current
    sp = thread.sp - 0x2000
    machine.memory.write(
        sp, b"".join(a.to_bytes(8, "little") for a in [0, 0, 0, 0, 0, *arguments[4:]])
    )
    try:
        machine._call(api, [0, sp, *arguments[:4]])
    except ENDS:
        pass
    finally:
        del thread.frames[1:]
        thread.wait = None


@pytest.mark.parametrize("seed", range(2))
def test_no_argument_is_an_error_of_ours(seed: int, process: Any, capfd: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    chance = random.Random(seed)
    before = set(os.listdir("/proc/self/fd"))
    calls = 0
    slow: list[tuple[float, str]] = []
    pool = values(process, chance)
    for dll in tables.names():
        table = tables.table(dll)
        assert table is not None
        for name in sorted(table.functions.keys() | table.later):
            api = table.find(name)
            if api.arguments == TRAP or name in _LEFT_OUT:
                continue
            for _ in range(3):
                chosen = [chance.choice(pool) for _ in range(_STACK_ARGUMENTS)]
                begin = time.monotonic()
                call(process, api, chosen)
                slow.append((time.monotonic() - begin, f"{dll}!{name}"))
                calls += 1
    assert calls > 4000
    assert max(slow)[0] < 30, sorted(slow)[-5:]
    assert process.machine.memory.mapped <= 64 << 20
    assert len(set(os.listdir("/proc/self/fd")) - before) < 400
    capfd.readouterr()
