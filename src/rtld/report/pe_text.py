"""A linked Windows program as text: tree, summary, bindings, why."""

from __future__ import annotations

from rtld.pe.why import WhySymbol
from rtld.report.pe_json import binding_counts, binding_object, edges, rule_of, tls_rows
from rtld.report.style import PLAIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from rtld.pe.module import PeModule
    from rtld.pe.why import WhyLibrary
    from rtld.process.link_pe import PeLink
    from rtld.report.style import Style

_SHOWN = 10
_BATCH = 4096


def tree(
    link: PeLink,
    style: Style = PLAIN,
    *,
    paths: bool = False,
    expand: bool = False,
    depth: int | None = None,
) -> Iterator[str]:
    """The program and what it needs, each with its own needs below it the first time."""
    ns = link.namespace
    yield style.bold(link.path)
    explained: set[str] = set()
    seen: set[str] = set()
    if depth == 0:
        return
    levels: list[tuple[str, list[dict[str, Any]], int, tuple[str, ...]]] = [
        ("", list(edges(ns, ns.main)), 0, (ns.main.path,))
    ]
    while levels:
        indent, rows, at, above = levels.pop()
        if at == len(rows):
            continue
        levels.append((indent, rows, at + 1, above))
        row = rows[at]
        last = at + 1 == len(rows)
        lead, below = indent + ("└── " if last else "├── "), indent + ("    " if last else "│   ")
        tag = " (delay)" if row["tag"] == "DELAY" else ""
        host = f" → {row['host']}" if row["host"] else ""
        if row["path"] is None:
            yield from _absent(link, row, f"{lead}{row['name']}{host}{tag}", below, style, explained)  # fmt: skip
            continue
        module = ns.by_name[row["path"]]
        children = list(edges(ns, module))  # type: ignore[arg-type]
        again = row["path"] in seen
        mark = style.dim(" (*)") if children and ((again and not expand) or row["path"] in above) else ""  # fmt: skip
        shown = row["path"] if paths else f"{row['name']}{host}"
        yield f"{lead}{shown}{tag} {style.cyan(f'[{rule_of(ns, module)}]')}{mark}"  # type: ignore[arg-type]
        if children and (expand or not again) and row["path"] not in above:
            seen.add(row["path"])
            if depth is None or len(levels) < depth:
                levels.append((below, children, 0, (*above, row["path"])))


def _absent(
    link: PeLink, row: dict[str, Any], label: str, below: str, style: Style, explained: set[str]
) -> Iterator[str]:
    ns = link.namespace
    name = ns.search.complete(row["name"])
    asked = ns.missing.get(name)
    if row["symbols"] == 0:
        yield f"{label} {style.dim('(nothing is imported)')}"
    elif asked is None:
        yield f"{label} {style.dim('(not loaded at start)')}"
    else:
        error = asked[0][1]
        yield f"{style.red(label)} {style.red(getattr(error, 'reason', 'not found'))}"
        if name not in explained:
            explained.add(name)
            yield f"{below}  paths considered, in this order:"
            for candidate in getattr(error, "candidates", ()):
                said = "" if candidate.outcome == "missing" else f" {candidate.outcome}"
                detail = f": {candidate.detail}" if candidate.detail else ""
                yield f"{below}    {candidate.path} {style.cyan(f'[{candidate.rule}]')}{said}{detail}"


def summary(link: PeLink, style: Style = PLAIN) -> Iterator[str]:
    """Everything but the bindings themselves."""
    ns = link.namespace
    digits = ns.main.file.bits // 4
    count = len(ns.modules)
    yield f"{style.bold(link.path)}: {ns.arch.name}, Windows' rules, {count} module{'s' if count > 1 else ''}"
    yield from _heading("modules, in load order", style)
    yield style.dim(f"  {'':>4}  {'address':<{digits + 2}}  {'size':>10}  path [rule]")
    for module in ns.modules:
        moved = "" if module.base == module.file.base else style.yellow(f" moved from {module.file.base:#x}")  # fmt: skip
        rule = style.cyan(f"[{rule_of(ns, module)}]")
        yield f"  {module.index:>4}  {module.base:#0{digits + 2}x}  {module.file.span:>#10x}  {module.path} {rule}{moved}"
    slots = list(tls_rows(ns))
    yield from _heading(f"thread-local storage: {len(slots) or 'no'} slots", style)
    for slot in slots:
        yield f"  {slot['id']:>4}  {slot['size']:>#8x}  {len(slot['callbacks'])} callbacks  {slot['module']}"
    yield from _heading("DllMain order", style)
    for number, module in enumerate(link.init_order, 1):
        yield f"  {number:>4}  {module.path}{' (entry point)' if module is ns.main else ''}"
    moved_count = sum(sum(counts.values()) for counts in ns.counts.values())
    yield from _heading(f"base relocations: {moved_count}", style)
    for each, counts in ns.counts.items():
        if counts:
            yield f"  {sum(counts.values()):>9}  {each.path}: {', '.join(f'{n} {c}' for n, c in counts.items())}"
    counts = binding_counts(link)
    forwarded = counts.pop("forwarded", 0)
    yield from _heading(f"bindings: {sum(counts.values())}", style)
    parts = [f"{name} {number}" for name, number in counts.items()]
    yield f"  {', '.join(parts) or 'none'}; {forwarded} through forwarders (--bindings shows each)"
    yield from _heading(f"time: {sum(s for _, s in link.timings) * 1e3:.1f} ms of CPU", style)
    for name, seconds in link.timings:
        yield f"  {seconds * 1e3:>9.2f} ms  {name}"
    if link.problems:
        yield from _heading(f"problems: {len(link.problems)}", style)
        for problem in link.problems:
            yield f"  {style.paint(problem.kind, 'red' if problem.fatal else 'yellow')}: {message(problem)}"


def _heading(text: str, style: Style) -> Iterator[str]:
    yield ""
    yield style.bold(text)


def message(problem: Any) -> str:
    """A problem's sentence, with who has it."""
    text = problem.message
    return text if problem.module in text else f"{text} (needed by {problem.module})"


def binding_text(
    link: PeLink, respell: Callable[[str], str] | None = None, modules: list[PeModule] | None = None
) -> Iterator[str]:
    """A line for each import: importer, descriptor, symbol, hint, how, forwarders, definer, RVA, slot, address."""
    batch: list[str] = []
    for module in modules or link.modules:
        for binding in link.bindings(module):
            row = binding_object(binding)
            symbol = row["symbol"] if respell is None else respell(row["symbol"])
            chain = " -> ".join(f["to"] for f in row["forwarders"]) or "-"
            rva = "-" if row["rva"] is None else f"{row['rva']:#x}"
            address = "-" if row["address"] is None else f"{row['address']:#x}"
            hint = "-" if row["hint"] is None else row["hint"]
            columns = (
                row["referrer"], row["descriptor"], symbol, hint, row["how"], chain, row["definer"] or "-", rva,
                f"{row['slot']:#x}", address,
            )  # fmt: skip
            batch.append("\t".join(map(str, columns)) + "\n")
            if len(batch) == _BATCH:
                yield "".join(batch)
                batch = []
    yield "".join(batch)


def why(
    link: PeLink, result: WhySymbol | WhyLibrary, style: Style = PLAIN, *, everything: bool = False
) -> Iterator[str]:
    """The account of one name."""
    if isinstance(result, WhySymbol):
        yield from _why_symbol(result, style, everything)
    else:
        yield from _why_library(link, result, style)
    if result.near:
        yield ""
        yield style.bold("near misses")
        for miss in result.near if everything else result.near[:_SHOWN]:
            yield f"  {miss.path}  {miss.name}  {miss.reason}"


def _why_symbol(result: WhySymbol, style: Style, everything: bool) -> Iterator[str]:
    count = len(result.imports)
    yield f"{style.bold(result.name)}: imported {count} time{'s' if count != 1 else ''}"
    shown = result.imports if everything else result.imports[:_SHOWN]
    for binding in shown:
        row = binding_object(binding)
        yield ""
        yield style.bold(row["referrer"])
        yield f"  asks {row['descriptor']} for it" + (", delayed" if row["delay"] else "")
        if row["definer"] is None:
            yield f"  bound to {style.red('nobody')}"
        else:
            yield f"  bound to {style.green(row['definer'])} at {row['rva']:#x}"
        how = {
            "hint": f"the hint {row['hint']} was right",
            "search": f"the hint {row['hint']} was wrong; found by binary search",
            "ordinal": f"by ordinal {row['ordinal']}",
            "bound": "it was bound beforehand",
        }.get(row["how"], "it is not exported")
        yield f"  because  {how}"
        for forwarder in row["forwarders"]:
            yield f"  forwarded by {forwarder['module']} to {forwarder['to']}"
    if len(shown) < count:
        yield f"and {count - len(shown)} more (-a shows all)"
    if result.exporters:
        yield ""
        yield style.bold("exported by")
        for one in result.exporters:
            target = f" forwarded to {one.forwarder}" if one.forwarder else f" at {one.rva:#x}"
            yield f"  {one.module.path} #{one.ordinal}{target}"


def _why_library(link: PeLink, result: WhyLibrary, style: Style) -> Iterator[str]:
    module = result.module
    ns = link.namespace
    if module is None:
        yield f"{style.bold(result.name)}: {style.red('not loaded')}"
        if result.error is not None:
            yield f"  {result.error}"
        tried = getattr(result.error, "candidates", ())
    else:
        yield f"{style.bold(module.path)} {style.cyan(f'[{rule_of(ns, module)}]')}"
        where = "at its preferred base" if module.base == module.file.base else f"moved from {module.file.base:#x}"  # fmt: skip
        yield f"  number {module.index} of {len(ns.modules)} in load order, {where}"
        if len(result.chain) > 1:
            yield f"  loaded for {' -> '.join(each.path for each in result.chain)}"
        tried = getattr(module.found, "candidates", ())
    for who, edge in result.edges:
        host = f" as {edge.descriptor.dll}" if edge.host else ""
        delayed = " (delayed)" if edge.descriptor.delay is not None else ""
        yield f"  needed by {who.path}{host}{delayed}"
    if tried:
        yield "  tried, in this order:"
    for candidate in tried:
        detail = f": {candidate.detail}" if candidate.detail else ""
        yield f"    {candidate.path} {style.cyan(f'[{candidate.rule}]')} {candidate.outcome}{detail}"
