"""``rtld freeze``: one native image of a program and its libraries, laid out, bound and relocated. READ FIRST.

    report = freeze("/usr/bin/gdb", "gdb.frozen")

The passes below use the linker's own (``rtld.elf``) and add what an image needs. Kernel and ld.so start it; to ld.so it
is a program that needs nothing but the libc family, which it initialises as ever. docs/freeze.md explains the image.
"""

from __future__ import annotations

import os
import stat
import time

from rtld.errors import Unsupported
from rtld.freeze.plan import Options, Plan, Report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rtld.process.link import Link

__all__ = ["Options", "Report", "freeze"]


def freeze(
    link: Link | str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    progress: Callable[[str, int, int], None] | None = None,
    **options: Any,
) -> Report:
    """Write the program as one image to *path*; returns what was done.

    *link* is a path, or what ``find`` or ``link`` returned without having relocated. *progress* is called with (what, done,
    of how many). Options are those of ``Options``. Raises Unsupported for programs that cannot be frozen, UnresolvedSymbol
    for what nobody defines, OSError; the file at *path* is replaced only by a whole image.
    """
    from rtld.freeze.write import write_image

    begin = time.perf_counter()
    told = progress or (lambda _what, _done, _total: None)
    plan = prepare(link, Options(**options), told)
    protections = build(plan, told)
    report = describe(plan)
    status = os.stat(plan.main.path)
    mode = stat.S_IMODE(status.st_mode) & ~(stat.S_ISUID | stat.S_ISGID) | stat.S_IXUSR
    target = os.fspath(path)
    report.size, report.disk = write_image(plan, protections, target, mode, told)
    report.path = target
    report.seconds = time.perf_counter() - begin
    return report


def prepare(link: Link | str | os.PathLike[str], options: Options, progress: Any) -> Plan:
    """Find and bind: what is in the image, what is left to ld.so, and all bindings."""
    from rtld.freeze.choose import check_program, choose_modules, refuse_unresolved
    from rtld.freeze.imports import collect_imports
    from rtld.freeze.relocate import place_tls
    from rtld.process.link import find

    progress("finding libraries", 0, 1)
    found = find(link) if isinstance(link, str | os.PathLike) else link
    if found._relocated:
        raise Unsupported(
            "the link has been relocated for other addresses already", "find() the program instead"
        )
    plan = Plan(found.namespace, options)
    check_program(plan)
    choose_modules(plan)
    progress("binding", 0, 1)
    found.bind()
    refuse_unresolved(plan)
    place_tls(plan)
    # From here on it is known what is asked of libc.
    collect_imports(plan)
    return plan


def build(plan: Plan, progress: Any) -> Any:
    """Place, relocate, and make all tables; afterwards every byte is known."""
    from rtld.freeze.choose import exports_everything
    from rtld.freeze.dynamic import DataSizes, write_tables
    from rtld.freeze.exports import collect_exports
    from rtld.freeze.imports import place_imports
    from rtld.freeze.layout import Protections, place_modules, place_parts
    from rtld.freeze.manifest import stamp
    from rtld.freeze.relocate import relocate_modules
    from rtld.freeze.sections import number_sections
    from rtld.freeze.startup import code_layout

    stamps = [stamp(module.path) for module in plan.fused]
    place_modules(plan)
    sizes = DataSizes(plan)
    place_parts(plan, code_layout(plan)["end"], sizes.relro, sizes.data)
    # From here on all addresses are fixed, but for those of the tables, which stand last.
    place_imports(plan)
    progress("relocating", 0, 1)
    relocate_modules(plan)
    number_sections(plan)
    progress("collecting exports", 0, 1)
    collect_exports(plan, exports_everything(plan))
    protections = Protections(plan)
    write_tables(plan, sizes, protections, stamps)
    return protections


def describe(plan: Plan) -> Report:
    """The report, but for the file."""
    report = Report()
    report.path = None
    report.program = plan.main.path
    form = "pie" if plan.pie else "fixed"
    report.form = f"thin {form}" if plan.options.thin else form
    report.fused = [module.path for module in plan.fused]
    report.kept = [module.path for module in plan.hosted]
    report.size = plan.end - plan.base
    report.disk = 0
    report.symbols = len(plan.symbols.module)
    report.imports = len(plan.imports)
    before = sum(
        sum(counts.values()) for module, counts in plan.ns.counts.items() if not module.hosted
    )
    report.relocations = len(plan.symbols.relocations), before
    report.warnings = plan.warnings
    report.seconds = 0.0
    return report
