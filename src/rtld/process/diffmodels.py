"""What would be bound differently under another system's rules: one program, two models (``elf/models.py``).

Three things are compared, one at a time:

    search    which file each DT_NEEDED leads to. The directories that are searched last are this system's in both, so that rules
              are compared and not the layouts of two file systems
    version   a required version that is not defined, and only one of the two refuses to start
    bind      the definition of each reference, with the files that the first model finds
"""

from __future__ import annotations

from collections import namedtuple

from rtld.elf.ldconf import parse_ld_so_conf
from rtld.elf.load import is_libc_family
from rtld.elf.models import MODELS
from rtld.process.link import find

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from rtld.core.module import Module, Namespace
    from rtld.process.link import Link

#: What two models answer differently. *kind*: "search", "version" or "bind"; *symbol* is a library's name for "search", and None
#: for "version". The answers: a path, or None for nobody; for "version" "fatal" or None.
Difference = namedtuple("Difference", "kind referrer symbol version first second")


def diff_models(path: str, first: str, second: str, **options: Any) -> list[Difference]:
    """What *first* and *second* do differently with a program, or with a library and what it needs.

    *options* are those of ``rtld.link``; ``system_path`` stands for the directories searched last.
    """
    for model in (first, second):
        if model not in MODELS:
            raise ValueError(f"model is {model!r}; one of {', '.join(MODELS)}")
    options.pop("model", None)
    if options.get("system_path") is None:
        options["system_path"] = _system_path(find(path, **options, model="glibc").namespace)
    links = [find(path, **options, model=model) for model in (first, second)]
    result = list(_searches(*links))
    links[1] = find(path, **options, model=first)
    for link, model in zip(links, (first, second), strict=True):
        _look_up_as(link.namespace, model)
        link.bind()
    return [*result, *_versions(*links), *_bindings(*links)]


def _system_path(ns: Namespace) -> str:
    """This system's directories as glibc's ldconfig knows them."""
    search = ns.search

    def names(directory: str) -> list[str]:
        import os

        return os.listdir(search.host(directory))

    listed = parse_ld_so_conf("/etc/ld.so.conf", search.read, names)
    return ":".join(dict.fromkeys([*listed, *[d.rstrip("/") for d in search.default_directories]]))


def _look_up_as(ns: Namespace, model: str) -> None:
    """From here on only look-up asks for the model."""
    ns.model = model
    ns.dynamic_weak = MODELS[model].strong_first


def _searches(first: Link, second: Link) -> Iterator[Difference]:
    """The needs of modules that both have."""
    known = {_file(module): module for module in second.modules}
    for module in first.modules:
        other = known.get(_file(module))
        if other is None:
            continue
        for name in module.file.needed:
            here = _answer(first.namespace, module, name)
            there = _answer(second.namespace, other, name)
            same = here is there or (here and there and _file(here) == _file(there))
            if not same and not is_libc_family(name):
                paths = [m.path if m is not None else None for m in (here, there)]
                yield Difference("search", module.path, name, None, *paths)


def _file(module: Module) -> Any:
    return module.file.identity or module.path


def _answer(ns: Namespace, module: Module, name: str) -> Module | None:
    """The module that a DT_NEEDED led to."""
    found = ns.searches.get((module.index, name))
    if found is not None:
        return next((m for m in module.needed if m.file is found.file), None)
    base = name.rpartition("/")[2]
    for need in module.needed:
        names = {need.soname, need.path, *need.aliases}
        if name in names or base in names:
            return need
    return None


def _versions(first: Link, second: Link) -> Iterator[Difference]:
    rows = [
        {(p.module, p.version): None for p in link.problems if p.kind == "version" and p.fatal}
        for link in (first, second)
    ]
    for key in dict.fromkeys([*rows[0], *rows[1]]):
        if (key in rows[0]) != (key in rows[1]):
            said = ["fatal" if key in row else None for row in rows]
            yield Difference("version", key[0], None, key[1], *said)


def _bindings(first: Link, second: Link) -> Iterator[Difference]:
    answers: list[dict[tuple[str, str, str | None], str | None]] = [
        {
            (referrer, symbol, version): definer
            for referrer, definer, symbol, version, _kind in link.bindings()
        }
        for link in (first, second)
    ]
    for key in dict.fromkeys([*answers[0], *answers[1]]):
        here, there = answers[0].get(key), answers[1].get(key)
        if here != there and not _only_libc(here, there):
            yield Difference("bind", *key, here, there)


def _only_libc(first: str | None, second: str | None) -> bool:
    """Found in glibc's libc or nowhere: musl and QNX take no IFUNC, but their own libc would have the function."""
    return None in (first, second) and is_libc_family(first or second or "")
