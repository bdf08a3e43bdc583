"""What files, links and bound programs say, as tables of text and as objects for JSON. Nothing is printed here."""

from __future__ import annotations

from rtld.events import Trace
from rtld.textbook.bind import address_of, memory_of, static_libraries
from rtld.textbook.relocs import BY_NAME, REFERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from rtld.core.module import Module, Namespace, Problem
    from rtld.textbook.complaints import Complaint
    from rtld.textbook.library import Library
    from rtld.textbook.link import LinkEdit
    from rtld.textbook.object import Relocation, TextObject

#: How wide names are at most before a column gives way.
_GAP = "  "


def columns(rows: Iterable[Sequence[object]], right: str = "") -> list[str]:
    """Rows as aligned lines; *right* has an ``r`` for each column that is aligned to the right."""
    texts = [[str(cell) for cell in row] for row in rows]
    if not texts:
        return []
    widths = [max(len(row[i]) for row in texts) for i in range(len(texts[0]))]
    lines = []
    for row in texts:
        cells = [
            cell.rjust(width) if right[i : i + 1] == "r" else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(_GAP.join(cells).rstrip())
    return lines


# -- files ------------------------------------------------------------------------------------------


def kind_of(thing: TextObject) -> str:
    """What a file is, in a few words."""
    if thing.is_library:
        return "shared library"
    if (
        thing.needed
        or any(row.type == "ER4" for row in thing.relocations)
        or static_libraries(thing)
    ):
        return "executable"
    return "object or executable"


def summary(thing: TextObject) -> str:
    """One line about an object."""
    counts = [
        (len(thing.segments), "segment"),
        (len(thing.symbols), "symbol"),
        (len(thing.relocations), "relocation"),
    ]
    return ", ".join(f"{count} {name}{'' if count == 1 else 's'}" for count, name in counts)


def object_lines(thing: TextObject) -> list[str]:
    """A file as tables, with names in place of numbers."""
    order = {"<": ", little-endian", ">": ", big-endian", None: ""}[thing.order]
    lines = [f"{kind_of(thing)}{order}: {summary(thing)}"]
    if thing.needed:
        lines.append(f"needs {', '.join(thing.needed)}")
    if thing.segments:
        rows = [("#", "segment", "start", "length", "flags")]
        rows += [
            (str(i), s.name, f"{s.start:x}", f"{s.length:x}", s.flags)
            for i, s in enumerate(thing.segments, 1)
        ]
        lines += ["", *columns(rows, "r rr")]
    if thing.symbols:
        rows = [("#", "symbol", "value", "where", "")]
        for number, symbol in enumerate(thing.symbols, 1):
            where = thing.segments[symbol.segment - 1].name if symbol.segment else "absolute"
            if not symbol.defined:
                where = "common" if symbol.common else "undefined"
            rows.append((str(number), symbol.name, f"{symbol.value:x}", where, ""))
        lines += ["", *columns(rows, "r r")]
    if thing.relocations:
        rows = [("loc", "segment", "type", "to", "meaning")]
        for row in thing.relocations:
            formula = str(BY_NAME[row.type].value)
            rows.append(
                (
                    f"{row.loc:x}",
                    thing.segments[row.segment - 1].name,
                    row.type,
                    target(thing, row),
                    formula,
                )
            )
        lines += ["", *columns(rows, "r")]
    return lines


def target(thing: TextObject, row: Relocation) -> str:
    """The name of what a relocation refers to."""
    kind = REFERS[row.type]
    if kind == "segment":
        return thing.segments[row.ref - 1].name
    return thing.symbols[row.ref - 1].name if kind == "symbol" else "-"


def object_json(thing: TextObject) -> dict[str, Any]:
    """A file as JSON: numbers are integers, data is hex."""
    return {
        "path": thing.path,
        "magic": thing.magic,
        "needed": list(thing.needed),
        "order": {"<": "little", ">": "big", None: None}[thing.order],
        "segments": [
            {
                "name": s.name,
                "start": s.start,
                "length": s.length,
                "flags": s.flags,
                "data": s.data.hex(),
            }
            for s in thing.segments
        ],
        "symbols": [
            {"name": s.name, "value": s.value, "segment": s.segment, "type": s.type}
            for s in thing.symbols
        ],
        "relocations": [
            {
                "loc": r.loc,
                "segment": r.segment,
                "ref": r.ref,
                "type": r.type,
                "to": target(thing, r),
            }
            for r in thing.relocations
        ],
    }


def library_lines(library: Library) -> list[str]:
    """The modules of a library with what they export."""
    kinds = {
        "file": "one file",
        "directory": "a file for each symbol",
        "map": "a directory with a MAP",
    }
    lines = [f"library ({kinds[library.format]}): {len(library.members)} modules"]
    if library.stands_for is not None:
        needs = f", which needs {', '.join(library.needed)}" if library.needed else ""
        lines.append(f"stub library of {library.stands_for}{needs}")
    return lines + columns(
        (member.name.rpartition("/")[2], " ".join(member.symbols)) for member in library.members
    )


def library_json(library: Library) -> dict[str, Any]:
    """A library as JSON."""
    return {
        "path": library.path,
        "format": library.format,
        "stands_for": library.stands_for,
        "needed": list(library.needed),
        "members": [
            {"name": member.name, "symbols": list(member.symbols)} for member in library.members
        ],
    }


# -- links ------------------------------------------------------------------------------------------


def map_lines(edit: LinkEdit) -> list[str]:
    """The map of a link: segments with their pieces, symbols with definer and users."""
    rows: list[Sequence[object]] = [("segment", "start", "end", "length", "from")]
    for segment in edit.segments:
        end = f"{segment.start + segment.length - 1:x}" if segment.length else "-"
        rows.append((segment.name, f"{segment.start:x}", end, f"{segment.length:x}", segment.flags))
        for one, index in segment.pieces:
            start, length = segment.start + one.offsets[index], one.object.segments[index].length
            end = f"{start + length - 1:x}" if length else "-"
            rows.append(("", f"{start:x}", end, f"{length:x}", one.name))
        for entry in edit.table.values():
            if segment.name == ".bss" and entry.is_common:
                end = f"{entry.address + entry.common - 1:x}"
                rows.append(
                    ("", f"{entry.address:x}", end, f"{entry.common:x}", f"common {entry.name}")
                )
    lines = columns(rows, " rrr")
    rows = [("symbol", "address", "defined by", "used by")]
    for entry in edit.table.values():
        users = " ".join(dict.fromkeys(user.name for user, _ in entry.users)) or "-"
        by = entry.definer.name if entry.definer is not None else "common"
        if not entry.is_defined:
            by = entry.library.path if entry.library is not None else "nobody yet"
        rows.append((entry.name, f"{entry.address:x}" if entry.is_defined else "import", by, users))
    lines += ["", *columns(rows, " r")]
    if edit.removed:
        lines += ["", "left out:"]
        rows = [
            (
                f"  {one.object.segments[index].name}",
                f"{one.object.segments[index].length:x}",
                one.name,
            )
            for one, index in sorted(edit.removed, key=lambda place: (place[0].index, place[1]))
        ]
        lines += columns(rows, " r")
    return lines


def map_json(edit: LinkEdit) -> dict[str, Any]:
    """The map of a link, and the file that was made."""
    return {
        "segments": [
            {
                "name": s.name,
                "start": s.start,
                "length": s.length,
                "flags": s.flags,
                "pieces": [
                    {
                        "input": one.name,
                        "start": s.start + one.offsets[index],
                        "length": one.object.segments[index].length,
                    }
                    for one, index in s.pieces
                ],
            }
            for s in edit.segments
        ],
        "symbols": [
            {
                "name": e.name,
                "address": e.address if e.is_defined else None,
                "definer": e.definer.name if e.definer is not None else None,
                "common": e.common if e.is_common else None,
                "library": e.library.path if e.library is not None else None,
                "users": list(dict.fromkeys(user.name for user, _ in e.users)),
            }
            for e in edit.table.values()
        ],
        "removed": [
            {"input": one.name, "segment": one.object.segments[i].name} for one, i in edit.removed
        ],
        "relocations": edit.counts,
        "output": object_json(edit.output),
    }


# -- bound programs ---------------------------------------------------------------------------------


def bound_lines(ns: Namespace) -> list[str]:
    """Where the modules are, and which definition every reference got."""
    rows: list[Sequence[object]] = [("module", "from", "to", "moved", "relocations")]
    for module in ns.modules:
        low, high = module.file.span
        counts = (
            " ".join(f"{name} {count}" for name, count in sorted(ns.counts[module].items())) or "-"
        )
        span = f"{low + module.base:x}", f"{max(high - 1, low) + module.base:x}"
        rows.append((module.path, *span, _signed(module.base), counts))
    lines = columns(rows, " rrr")
    if ns.bindings:
        rows = [("reference", "in", "address", "defined by")]
        for binding in ns.bindings:
            symbol = binding.module.file.symbols[binding.symbol].name
            if binding.definition is None:
                rows.append((symbol, binding.module.path, "-", "nobody"))
            else:
                address = f"{address_of(binding.definition):x}"
                rows.append((symbol, binding.module.path, address, binding.definition.module.path))
        lines += ["", *columns(rows, "  r")]
    return lines


def _signed(number: int) -> str:
    return f"{'-' if number < 0 else ''}{abs(number):x}"


def dump_lines(ns: Namespace) -> list[str]:
    """The memory of all modules, sixteen bytes a line."""
    lines = []
    for module in ns.modules:
        for start, data in memory_of(module):
            for at in range(0, len(data), 16):
                part = data[at : at + 16].hex()
                words = " ".join(part[i : i + 8] for i in range(0, len(part), 8))
                lines.append(f"{start + at:08x}  {words}")
    return lines


def bound_json(ns: Namespace) -> dict[str, Any]:
    """A bound program as JSON."""
    return {
        "modules": [
            {
                "path": module.path,
                "moved": module.base,
                "relocations": ns.counts[module],
                "needed": [needed.path for needed in module.needed],
                "segments": [
                    {
                        "name": s.name,
                        "address": s.start + module.base,
                        "length": s.length,
                        "flags": s.flags,
                    }
                    for s in module.file.segments
                ],
            }
            for module in ns.modules
        ],
        "bindings": [
            {
                "referrer": b.module.path,
                "symbol": b.module.file.symbols[b.symbol].name,
                "definer": b.definition.module.path if b.definition is not None else None,
                "address": address_of(b.definition) if b.definition is not None else None,
            }
            for b in ns.bindings
        ],
        "memory": [
            {"address": address, "data": data.hex()}
            for module in ns.modules
            for address, data in memory_of(module)
        ],
        "problems": [problem_json(problem) for problem in ns.problems],
    }


def problem_json(problem: Problem) -> dict[str, Any]:
    """Something that does not fit together."""
    return {
        "kind": problem.kind,
        "module": problem.module,
        "subject": problem.subject,
        "message": problem.message,
    }


def complaint_json(complaint: Complaint) -> dict[str, Any]:
    """Something that is malformed."""
    row = complaint._asdict()
    return {
        name: value if isinstance(value, int | str) else str(value) for name, value in row.items()
    }


class BindTrace(Trace):
    """LD_DEBUG's words about modules that have no program headers."""

    def placed(self, module: Module) -> None:
        if "files" in self.wants:
            low, high = module.file.span
            self.lines(
                f"file={module.path} [{self.namespace}]",
                f"  base: 0x{module.base & 0xFFFFFFFF:08x}  size: 0x{high - low:08x}",
                "",
            )
