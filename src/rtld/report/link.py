"""The result of a link as text: modules, TLS, scopes, init order, relocations, time; or every binding."""

from __future__ import annotations

from rtld.report.edges import rule_of
from rtld.report.style import PLAIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rtld.core.module import Problem
    from rtld.process.link import Link
    from rtld.report.style import Style

_BATCH = 8192


def summary(link: Link, style: Style = PLAIN) -> Iterator[str]:
    """Everything but the bindings themselves."""
    ns = link.namespace
    file = ns.main.file
    kind = "statically linked" if file.dynamic is None else f"{ns.model}'s rules"
    count = len(ns.modules)
    yield (
        style.bold(link.path)
        + f": {ns.arch.name}, {kind}, {count} module{'s' if count > 1 else ''}"
    )
    yield from _modules(link, style)
    if file.dynamic is not None:
        yield from _tls(link, style)
        yield from _scopes(link, style)
        yield from _init_order(link, style)
        yield from _relocations(link, style)
        yield from _bindings(link, style)
    yield from _timings(link, style)
    yield from _problems(link, style)


def _heading(text: str, style: Style) -> Iterator[str]:
    yield ""
    yield style.bold(text)


def _modules(link: Link, style: Style) -> Iterator[str]:
    ns = link.namespace
    digits = ns.main.file.bits // 4
    yield from _heading("modules, in load order", style)
    yield style.dim(f"  {'':>4}  {'address':<{digits + 2}}  {'size':>10}  path [rule]")
    for module in ns.modules:
        low, high = module.file.span
        rule = style.cyan(f"[{rule_of(ns, module)}]")
        yield f"  {module.index:>4}  {module.base + low:#0{digits + 2}x}  {high - low:>#10x}  {module.path} {rule}"


def _tls(link: Link, style: Style) -> Iterator[str]:
    from rtld.elf.tls import tls_segment

    layout = link.tls
    if not layout.modules:
        yield from _heading("thread-local storage: none", style)
        return
    where = "above" if layout.variant == 1 else "below"
    title = f"thread-local storage: {layout.size:#x} bytes, align {layout.align}, variant {layout.variant} ({where} TP)"
    yield from _heading(title, style)
    yield style.dim(f"  {'id':>4}  {'offset':>10}  {'size':>8}  {'align':>5}  module")
    for module in layout.modules:
        size, align, _ = tls_segment(module) or (0, 1, 0)
        yield f"  {module.tls_id:>4}  {f'{module.tls_offset:+#x}':>10}  {size:>#8x}  {align:>5}  {module.path}"


def _scopes(link: Link, style: Style) -> Iterator[str]:
    ns = link.namespace
    yield from _heading("scopes", style)
    yield f"  global: all {len(ns.global_scope.modules)} modules, in load order"
    for module in ns.modules:
        names = [f"{s.name}" for s in module.scopes]
        if names != ["global"]:
            yield f"  {module.path}: {', then '.join(names)} (DT_SYMBOLIC)"


def _init_order(link: Link, style: Style) -> Iterator[str]:
    yield from _heading("init order", style)
    for number, module in enumerate(link.init_order, 1):
        yield f"  {number:>4}  {module.path}"


def _relocations(link: Link, style: Style) -> Iterator[str]:
    counts = link.relocation_counts
    total: dict[str, int] = {}
    for by_type in counts.values():
        for name, number in by_type.items():
            total[name] = total.get(name, 0) + number
    yield from _heading(f"relocations: {sum(total.values())}", style)
    for name, number in sorted(total.items(), key=lambda pair: -pair[1]):
        yield f"  {number:>9}  {name}"
    if len(counts) > 1:
        yield style.dim("  of each module:")
        for module in link.modules:
            by_type = counts.get(module, {})
            if by_type:
                parts = ", ".join(
                    f"{_short(name)} {number}" for name, number in sorted(by_type.items())
                )
                yield f"  {sum(by_type.values()):>9}  {module.path}: {parts}"


def _short(name: str) -> str:
    """R_X86_64_JUMP_SLOT -> JUMP_SLOT"""
    for prefix in (
        "R_X86_64_",
        "R_386_",
        "R_AARCH64_",
        "R_ARM_",
        "R_RISCV_",
        "R_390_",
        "R_PPC64_",
        "R_MIPS_",
        "R_LARCH_",
    ):
        if name.startswith(prefix):
            return name[len(prefix) :]
    return name


def _bindings(link: Link, style: Style) -> Iterator[str]:
    from rtld.report.json import binding_counts

    counts = binding_counts(link)
    parts = ", ".join(f"{name} {number}" for name, number in counts.items())
    yield from _heading(f"bindings: {sum(counts.values())}", style)
    if parts:
        yield f"  {parts} (--bindings shows each)"


def _timings(link: Link, style: Style) -> Iterator[str]:
    total = sum(seconds for _, seconds in link.timings)
    yield from _heading(f"time: {total * 1e3:.1f} ms of CPU", style)
    for name, seconds in link.timings:
        yield f"  {seconds * 1e3:>9.2f} ms  {name}"


def _problems(link: Link, style: Style) -> Iterator[str]:
    if not link.problems:
        return
    distinct = {(problem.kind, message(problem)): problem for problem in link.problems}
    yield from _heading(f"problems: {len(distinct)}", style)
    for problem in distinct.values():
        colour = "red" if problem.fatal else "yellow"
        yield f"  {style.paint(problem.kind, colour)}: {message(problem)}"


def message(problem: Problem) -> str:
    """A problem's sentence, with who has it where ld.so does not say."""
    needed_by = problem.kind == "library" and problem.module not in problem.message
    return f"{problem.message} (needed by {problem.module})" if needed_by else problem.message


def binding_text(link: Link, respell: Callable[[str], str] | None = None) -> Iterator[str]:
    """Every binding as a line of five columns between TABs, in chunks of many lines; "-" stands for none."""
    from rtld.elf.explain import binding_rows

    if link.modules[0].file.dynamic is None:
        return
    batch: list[str] = []
    for referrer, definer, symbol, version, kind in binding_rows(link.bindings()):
        if respell is not None:
            symbol = respell(symbol)
        batch.append(
            f"{referrer.path}\t{definer.path if definer else '-'}\t{symbol}\t{version or '-'}\t{kind}\n"
        )
        if len(batch) == _BATCH:
            yield "".join(batch)
            batch = []
    yield "".join(batch)
