"""What would be bound differently under another system's rules: one program, two models (``elf/models.py``).

A program's own modules are all in its global list, so at the start models differ in two things only: whether a weak definition
gives way to a strong one behind it, and musl's own rules (no versions, no DT_SYMBOLIC). The files are found by glibc's rules
in each case, so that one difference is looked at at a time.
"""

from __future__ import annotations

from collections import namedtuple

from rtld.elf.load import is_libc_family
from rtld.elf.models import MODELS, STRONG_FIRST
from rtld.process.link import find

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.core.module import Namespace

#: A reference that two models answer differently; a definer is a path, or None for nobody.
Difference = namedtuple("Difference", "referrer symbol version first second")


def diff_models(path: str, first: str, second: str, **options: Any) -> list[Difference]:
    """References of a program, or of a library and what it needs, that *first* and *second* bind differently."""
    answers = [_bindings(path, model, options) for model in (first, second)]
    keys = dict.fromkeys([*answers[0], *answers[1]])
    return [
        Difference(*key, answers[0].get(key), answers[1].get(key))
        for key in keys
        if answers[0].get(key) != answers[1].get(key)
        and not _only_libc(answers[0].get(key), answers[1].get(key))
    ]


def _only_libc(first: str | None, second: str | None) -> bool:
    """Found in glibc's libc or nowhere: musl takes no IFUNC, but its own libc would have the function."""
    return None in (first, second) and is_libc_family(first or second or "")


def _bindings(
    path: str, model: str, options: dict[str, Any]
) -> dict[tuple[str, str, str | None], str | None]:
    """(referrer, symbol, version) -> definer."""
    if model not in MODELS:
        raise ValueError(f"model is {model!r}; one of {', '.join(MODELS)}")
    link = find(path, **options)
    ns: Namespace = link.namespace
    ns.dynamic_weak = model in STRONG_FIRST
    if model == "musl":
        # From here on only look-up asks for the model.
        ns.model = "musl"
    return {
        (referrer, symbol, version): definer
        for referrer, definer, symbol, version, _kind in link.bindings()
    }
