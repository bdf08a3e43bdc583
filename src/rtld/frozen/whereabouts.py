"""What a program may notice of being an image: it asks where it is, or which objects there are.

/proc/self/maps shows one file (with --thin the libraries), and dl_iterate_phdr tells one object. /proc/self/exe, dladdr and
RTLD_NEXT are answered as in the original (startup.services).
"""

from __future__ import annotations

import mmap
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from rtld.core.module import Module
    from rtld.frozen.plan import Plan

# fmt: off
_TEXTS = (
    (b"/proc/self/maps", "reads /proc/self/maps, where all libraries are one file; --thin keeps their names, --keep {0} leaves it out"),
    (b"$ORIGIN",         "has a path with $ORIGIN: put the image into the directory of the original"),
)
# fmt: on


def warnings(plan: Plan) -> list[str]:
    """One sentence for each thing that the program may notice."""
    result = []
    for module in plan.fused:
        name = module.soname or os.path.basename(module.path)
        for text, words in _TEXTS:
            if text == b"/proc/self/maps" and plan.options.thin:
                continue
            if any(_contains(module, begin, end, text) for begin, end in _constants(module)):
                result.append(f"{module.path}: {words.format(name)}")
    columns, imports = plan.ns.columns, plan.imports
    names = columns.names(
        columns.name_position(
            imports.module, columns.symbol_position(imports.module, imports.symbol)
        )
    )
    imported = {names.text(i) for i in range(len(imports.module))}
    if b"dl_iterate_phdr" in imported:
        result.append(
            f"{plan.main.path}: asks for all loaded objects (dl_iterate_phdr) and will be told one for all of the image"
        )
    return result


def reads_maps(modules: Sequence[Module], system: Collection[str]) -> Module | None:
    """The first module of the program's own that has the text /proc/self/maps: it may look for its libraries there.

    Libraries in the *system*'s directories are everybody's; they look for the stack's end or for crashes.
    """
    for number, module in enumerate(modules):
        if number and os.path.dirname(os.path.realpath(module.path)) in system:
            continue
        if any(_contains(module, begin, end, _TEXTS[0][0]) for begin, end in _constants(module)):
            return module
    return None


def _constants(module: Module) -> Iterator[tuple[int, int]]:
    """File ranges with constants: read-only segments, and code where a file has no others."""
    loads = module.file.loads
    plain = [load for load in loads if not load.flags & 3]
    for load in plain or loads[:1]:
        yield load.offset, load.offset + load.filesz


def _contains(module: Module, begin: int, end: int, text: bytes) -> bool:
    owner = module.file.data.obj
    if isinstance(owner, mmap.mmap | bytes):
        return owner.find(text, begin, end) >= 0
    return text in bytes(module.file.data[begin:end])
