"""``rtld freeze``: one native image of a program and its libraries, laid out, bound and relocated. READ FIRST.

    report = freeze("/usr/bin/gdb", "gdb.frozen")

The passes below use the linker's own (``rtld.elf``) and add what an image needs. Kernel and ld.so start it; to ld.so it
is a program that needs nothing but the libc family, which it initialises as ever. docs/freeze.md explains the image.
"""

from __future__ import annotations

import gc
import os
import stat
import time

from rtld.errors import Unsupported
from rtld.frozen.plan import Options, Plan, Report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rtld.process.link import Link

__all__ = ["Options", "Report", "explain", "freeze"]


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
    from rtld.frozen.choose import refuse_target
    from rtld.frozen.sole import Tail, fill
    from rtld.frozen.write import write_image, write_whole

    begin = time.perf_counter()
    told = progress or (lambda _what, _done, _total: None)
    plan = prepare(link, Options(**options), told)
    refuse_target(plan, os.fspath(path))
    made = make(plan, told)
    report = describe(plan)
    status = os.stat(plan.main.path)
    mode = stat.S_IMODE(status.st_mode) & ~(stat.S_ISUID | stat.S_ISGID) | stat.S_IXUSR
    target = os.fspath(path)
    if isinstance(made, Tail):
        whole = made
        report.size, report.disk = write_whole(target, mode, lambda fd: fill(plan, whole, fd))
    else:
        report.size, report.disk = write_image(plan, made, target, mode, told)
    report.path = target
    report.seconds = time.perf_counter() - begin
    if isinstance(link, str | os.PathLike):
        # A link that nobody else has. Its modules know one another: maps of hundreds of megabytes would stay for long.
        del plan, made
        gc.collect()
    return report


def explain(
    link: Link | str | os.PathLike[str],
    *,
    progress: Callable[[str, int, int], None] | None = None,
    **options: Any,
) -> Report:
    """What ``freeze`` would do, without writing anything; ``gain`` is the time a start is expected to save, in ms."""
    begin = time.perf_counter()
    told = progress or (lambda _what, _done, _total: None)
    plan = prepare(link, Options(**options), told)
    make(plan, told)
    report = describe(plan)
    report.gain = _gain(plan, report)
    report.seconds = time.perf_counter() - begin
    return report


def _gain(plan: Plan, report: Report) -> float:
    """Milliseconds, from unit costs on a machine of 2024: a look-up 0.3 us, a relocation 0.02, opening a file 60."""
    lookups = len(plan.ns.bindings)
    relocations = report.relocations[1] - report.relocations[0]
    files = len(plan.fused) - 1
    return (0.3 * lookups + 0.02 * relocations + 60 * files) / 1000


def prepare(link: Link | str | os.PathLike[str], options: Options, progress: Any) -> Plan:
    """Find and bind: what is in the image, what is left to ld.so, and all bindings."""
    from rtld.frozen.choose import (
        check_program,
        choose_modules,
        refuse_collisions,
        refuse_unresolved,
    )
    from rtld.frozen.imports import collect_imports
    from rtld.frozen.relocate import place_tls
    from rtld.frozen.whereabouts import warnings
    from rtld.process.link import find

    progress("finding libraries", 0, 1)
    if isinstance(link, str | os.PathLike):
        # What is preloaded into this process is not part of the program.
        env = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
        link = find(link, env=env)
    found = link
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
    refuse_collisions(plan)
    place_tls(plan)
    # From here on it is known what is asked of libc.
    collect_imports(plan)
    plan.warnings += warnings(plan)
    return plan


def make(plan: Plan, progress: Any) -> Any:
    """What is to be written: a ``Tail`` where the program stays as it is, else all of ``build``."""
    from rtld.frozen.manifest import stamp
    from rtld.frozen.sole import Tail, entries_to_redirect

    entries = entries_to_redirect(plan)
    if entries is None:
        return build(plan, progress)
    tail = Tail(plan, [stamp(plan.main.path)], entries)
    plan.end = plan.base + tail.offset + len(tail.data)
    plan.alone = True
    plan.warnings = [text for text in plan.warnings if "dl_iterate_phdr" not in text]
    return tail


def build(plan: Plan, progress: Any) -> Any:
    """Place, relocate, and make all tables; afterwards every byte is known."""
    from rtld.frozen.choose import exports_everything
    from rtld.frozen.dynamic import DataSizes, write_tables
    from rtld.frozen.exports import collect_exports
    from rtld.frozen.imports import place_imports
    from rtld.frozen.layout import Protections, place_modules, place_parts
    from rtld.frozen.manifest import stamp
    from rtld.frozen.relocate import relocate_modules
    from rtld.frozen.sections import number_sections
    from rtld.frozen.startup import code_layout

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
    from rtld.frozen.exports import definitions
    from rtld.frozen.sole import relocations

    report = Report()
    report.path = None
    report.program = plan.main.path
    form = "pie" if plan.pie else "fixed"
    report.form = f"thin {form}" if plan.options.thin else form
    if plan.alone:
        report.form = "as it is"
    report.fused = [module.path for module in plan.fused]
    report.kept = [module.path for module in plan.hosted]
    report.size = plan.end - plan.base
    report.disk = 0
    report.symbols = len(definitions(plan).module) if plan.alone else len(plan.symbols.module)
    report.imports = len(plan.imports)
    before = sum(
        sum(counts.values()) for module, counts in plan.ns.counts.items() if not module.hosted
    )
    if plan.alone:
        before = relocations(plan.main.file)
    report.relocations = before if plan.alone else len(plan.symbols.relocations), before
    report.warnings = plan.warnings
    report.seconds = 0.0
    report.gain = None
    return report
