"""A module's memory: its sections in one array, moved to where it is, its IAT filled."""

from __future__ import annotations

from rtld.core.module import Problem
from rtld.core.space import page_up
from rtld.errors import FormatError, RelocationError
from rtld.pe import small
from rtld.pe.types import IMAGE_FILE_RELOCS_STRIPPED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.pe.columns import Array
    from rtld.pe.file import PeFile
    from rtld.pe.module import PeModule, PeNamespace, Table

#: What is written where an import has nobody: an address that nothing is ever mapped at.
NOWHERE = 0x0BADBEEF


def map_image(file: PeFile) -> Array:
    """uint8[span]: the image as it is mapped, at its preferred base."""
    import numpy as np

    image = np.zeros(file.span, np.uint8)
    octets = np.frombuffer(file.data, np.uint8)
    for section in file.sections:
        filled = min(section.filled, len(image) - section.address)
        if filled > 0:
            image[section.address : section.address + filled] = octets[section.offset : section.offset + filled]  # fmt: skip
    return image


def move(file: PeFile, image: Array, base: int) -> dict[str, int]:
    """Apply base relocations, and keep the header's ImageBase true (as Windows does). RelocationError."""
    import numpy as np

    from rtld.pe import basereloc

    delta = base - file.base
    if not delta:
        return {}
    if file.characteristics & IMAGE_FILE_RELOCS_STRIPPED:
        raise RelocationError(file.name, f"it has no base relocations, and {file.base:#x} is taken")
    counts = basereloc.apply(file, image, delta)
    at = file.nt_offset + (48 if file.bits == 64 else 52)
    word = file.bits // 8
    image[at : at + word] = np.frombuffer(base.to_bytes(word, "little"), np.uint8)
    return counts


def fill_iat(ns: PeNamespace, module: PeModule, table: Table, image: Array) -> None:
    """The address of every definition into its slot."""
    if not len(table.imports):
        return
    import numpy as np

    bases = np.array([m.base for m in ns.modules] + [0], np.uint64)
    definer = np.array(table.definer, np.int64)
    values = bases[definer] + np.array(table.rva, np.uint64)
    values[definer < 0] = NOWHERE
    width = module.file.bits // 8
    slots = np.asarray(table.imports.slot, np.int64)
    inside = (slots >= 0) & (slots + width <= len(image))
    if not inside.all():
        bad = int(slots[int(np.argmin(inside))])
        raise module.file.fail("import directory", "FirstThunk", bad, "an address in the image")
    for byte in range(width):
        image[slots + byte] = (values >> np.uint64(8 * byte)).astype(np.uint8)


def rights_of(characteristics: int) -> int:
    """What may be done with a section, as PROT_* has it: read 1, write 2, execute 4."""
    return (characteristics >> 30 & 1) | (characteristics >> 31 & 1) << 1 | (characteristics >> 29 & 1) << 2  # fmt: skip


def rights_of_pages(file: PeFile) -> list[tuple[int, int, int]]:
    """(RVA, bytes, rights) of what has the same rights: sections one behind the other are one."""
    rows = [(0, page_up(min(file.size_of_headers, file.span)), 1)]
    for section in file.sections:
        size = page_up(min(section.extent, file.span - section.address))
        rights = rights_of(section.characteristics) or 1
        if size <= 0:
            continue
        if rows and rows[-1][2] == rights and sum(rows[-1][:2]) == section.address:
            start, before, _ = rows.pop()
            rows.append((start, before + size, rights))
        else:
            rows.append((section.address, size, rights))
    return rows


def build_images(ns: PeNamespace, modules: list[PeModule]) -> None:
    """``module.image`` of every module: relocated, its imports filled in. What fails is a problem of the namespace."""
    for module in modules:
        if small.wanted():
            try:
                module.image = small.build_image(ns, module)
                continue
            except small.GiveUp:
                pass
        image = map_image(module.file)
        try:
            ns.counts[module] = move(module.file, image, module.base)
            for table in (module.table, module.delayed):
                if table is not None:
                    fill_iat(ns, module, table, image)
        except (FormatError, RelocationError) as error:
            ns.problems.append(Problem("relocation", module.path, "base relocations", str(error)))
        module.image = image


def count_relocations(ns: PeNamespace, modules: list[PeModule]) -> None:
    """``ns.counts`` without an image: what being moved costs each module that is not at its preferred base."""
    from rtld.pe import basereloc

    for module in modules:
        try:
            relocs = basereloc.base_relocs(module.file)
        except FormatError as error:
            ns.problems.append(Problem("relocation", module.path, error.field, str(error)))
            continue
        ns.counts[module] = relocs.counts() if module.base != module.file.base else {}
