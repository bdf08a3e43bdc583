"""FreeBSD's ld-elf.so.hints, damaged: a list of directories or none, never an exception."""

from __future__ import annotations

import random
import struct
from pathlib import Path

from rtld.elf.file import ElfFile
from rtld.elf.search import Search, SearchOptions
from rtld.elf.search_models import FreebsdRules

MUTANTS = 1500


def test_hints_never_fail(tmp_path: Path) -> None:
    text = b"/lib:/usr/lib:/usr/local/lib"
    head = struct.pack("<6I", 0x746E6845, 1, 128, len(text) + 1, 0, len(text))
    whole = head.ljust(128, b"\0") + text + b"\0"
    file = tmp_path / "hints"
    options = SearchOptions(model="freebsd", env={"LD_ELF_HINTS_PATH": str(file)})
    search = Search(options, ElfFile("/bin/true"), "/bin/true")
    rules = search.rules
    assert isinstance(rules, FreebsdRules)
    random_ = random.Random(1)
    outcomes = set()
    for _ in range(MUTANTS):
        data = bytearray(whole)
        for _ in range(random_.randrange(4)):
            data[random_.randrange(24)] = random_.choice((0, 1, 127, 128, 255))
        file.write_bytes(data[: random_.choice((len(data), random_.randrange(len(data))))])
        outcomes.add(rules._hints(random_.random() < 0.5))
    assert {None, "/lib:/usr/lib:/usr/local/lib", "/usr/local/lib"} <= outcomes
