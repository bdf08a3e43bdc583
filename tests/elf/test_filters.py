"""DT_FILTER and DT_AUXILIARY at the start of a program: which libraries, in which order. ld.so is the judge."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import rtld
from elf.search_bed import Bed, ask_loader


@pytest.mark.parametrize("seed", range(8))
def test_random_filters(tmp_path: Path, seed: int) -> None:
    """Filters that need things, filtees that need things and are needed themselves."""
    bed = Bed(tmp_path)
    rng = random.Random(seed)
    names = [f"lib{x}.so" for x in "abcdef"]
    for i, name in enumerate(names):
        later = names[i + 1 :]
        needs = [x for x in later if rng.random() < 0.35]
        filtees = [x for x in later if x not in needs and rng.random() < 0.3]
        flags = [f"-Wl,{rng.choice(['-F', '-f'])},{x}" for x in filtees]
        bed.lib(name, *needs, soname=name, flags=flags)
    main = bed.main(*rng.sample(names, 2), *(["libgone.so"] if seed == 0 else []))
    env = {"LD_LIBRARY_PATH": str(tmp_path)}
    theirs = ask_loader(str(main), env, tmp_path).libraries
    link = rtld.link(main, env=env, relocated=False)
    ours = [(m.path.rpartition("/")[2], m.path) for m in link.modules[1:]]
    assert ours == [row for row in theirs if row[1] != "not found"]
    # Each search is on record under the module that asked.
    for module in link.modules:
        for need in module.needed:
            found = link.namespace.searches.get((module.index, need.path.rpartition("/")[2]))
            assert found is None or found.file is need.file
