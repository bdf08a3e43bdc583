"""Versions compare as dpkg compares them."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable

from debian.making import tool
from rtld.debian.version import satisfies

VERSIONS = ["1", "1.0", "1.0-1", "1.0~rc1", "1.0~~", "1:0.9", "1.0+b1", "1.0a", "1.0.", "2.36-9+deb12u13", "0", "01.2", "1.10", "1.9", "a1", "1-0", "1.0-1~bpo"]  # fmt: skip


def test_dpkg_agrees(require: Callable[[str], None]) -> None:
    if not tool("dpkg"):
        require("dpkg")
    generator = random.Random(5)
    more = ["1" + "".join(generator.choices("0129.+~ab-:", k=6)) for _ in range(60)]
    more = [v for v in more if v.count(":") == 0 and not v.endswith("-")]
    pairs = [(a, b) for a in VERSIONS for b in VERSIONS]
    pairs += [(generator.choice(more + VERSIONS), generator.choice(more)) for _ in range(80)]
    script = "\n".join(
        f"dpkg --compare-versions '{a}' '{word}' '{b}' 2>/dev/null && echo y || echo n"
        for a, b in pairs
        for word in ("lt-nl", "eq")
    )
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    answers = done.stdout.split()
    ours = ["y" if satisfies(a, r, b) else "n" for a, b in pairs for r in ("<<", "=")]
    wrong = [
        (pair, got, said)
        for pair, got, said in zip([p for p in pairs for _ in "12"], ours, answers, strict=True)
        if got != said
    ]
    assert wrong == []
