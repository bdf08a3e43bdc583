"""Bound imports: an IAT that was filled beforehand, for DLLs of a certain date at their preferred bases.

Windows takes the addresses when all that is true of the DLL and of every DLL it forwards to, and binds as usual else.
Wine never takes them. ``verify`` says where they would be wrong; ``use`` takes them, and says which were stale.
"""

from __future__ import annotations

from rtld.core.module import Problem
from rtld.errors import FormatError
from rtld.pe.imports import bound_imports
from rtld.pe.load import symbol_text
from rtld.pe.module import HOW

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.pe.columns import Array
    from rtld.pe.file import PeFile
    from rtld.pe.imports import Bound, Descriptor
    from rtld.pe.module import PeModule, PeNamespace, Table

OLD_STYLE, NEW_STYLE = 0, 0xFFFFFFFF


def check_bound(ns: PeNamespace) -> None:
    """Apply the policy ``bound`` to every module."""
    for module in ns.modules:
        if module.table is None:
            continue
        try:
            rows = {row.dll.lower(): row for row in bound_imports(module.file)}
        except FormatError as error:
            ns.problems.append(Problem("malformed", module.path, error.field, str(error), False))
            continue
        for edge in module.table.edges:
            bound = rows.get(edge.descriptor.dll.lower())
            if edge.descriptor.stamp == OLD_STYLE or bound is None or edge.module is None:
                continue
            reason = stale(ns, bound, edge.module)
            if reason:
                _tell(ns, module, bound.dll, f"was bound beforehand, which is no use: {reason}")
            else:
                _compare(ns, module, module.table, edge.descriptor)


def _tell(ns: PeNamespace, module: PeModule, subject: str, what: str) -> None:
    ns.problems.append(Problem("bound import", module.path, subject, f"{module.path}: {subject} {what}", False))  # fmt: skip


def stale(ns: PeNamespace, bound: Bound, target: PeModule) -> str:
    """Why the addresses of a row may not be used; "" when they may."""
    rows: list[tuple[PeModule | None, str, int]] = [(target, bound.dll, bound.stamp)]
    rows += [(ns.by_base.get(ns.search.complete(dll).lower()), dll, stamp) for dll, stamp in bound.forwarders]  # fmt: skip
    for module, dll, stamp in rows:
        if module is None:
            return f"{dll} is not loaded"
        if module.file.timestamp != stamp:
            return f"{dll} is of {module.file.timestamp:#x}, not of {stamp:#x}"
        if module.base != module.file.base:
            return f"{dll} is not at its preferred base"
    return ""


def iat_values(file: PeFile, descriptor: Descriptor) -> Array:
    """uint64[count]: what stands in the IAT of the file."""
    word = file.bits // 8
    raw = file.read(descriptor.iat, word * descriptor.count, "import directory, IAT")
    import numpy as np

    return np.frombuffer(raw, f"<u{word}").astype(np.uint64)


def _compare(ns: PeNamespace, module: PeModule, table: Table, descriptor: Descriptor) -> None:
    use = ns.policies.bound == "use"
    for number, value in enumerate(iat_values(module.file, descriptor).tolist()):
        row = descriptor.first + number
        definer = table.definer[row]
        wanted = ns.modules[definer].base + table.rva[row] if definer >= 0 else None
        if value != wanted:
            symbol = symbol_text(table.imports, row)
            shown = "nothing" if wanted is None else f"{wanted:#x}"
            _tell(ns, module, symbol, f"was bound beforehand to {value:#x}, and is {shown}")
        if use:
            owner = owner_of(ns, value)
            if owner is not None:
                table.definer[row], table.rva[row] = owner.index, value - owner.base
                table.how[row] = HOW["bound"]


def owner_of(ns: PeNamespace, address: int) -> PeModule | None:
    """The module that an address is in."""
    for module in ns.modules:
        if module.base <= address < module.base + module.file.span:
            return module
    return None
