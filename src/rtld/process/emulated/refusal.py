"""Programs that are not started: what their own dynamic linker would say, and its exit status.

glibc stops at the first thing that is wrong (elf/rtld.c, dl-version.c, dl-reloc.c); musl goes on to the end, says all it has met,
and exits with 127 (ldso/dynlink.c).
"""

from __future__ import annotations

from rtld.elf import types as t
from rtld.elf.words import loading_lines
from rtld.process.emulated.system import StartFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtld.core.module import Module, Namespace
    from rtld.events import Reporter


def refuse_missing(ns: Namespace, program: str, reporter: Reporter, sysroot: str | None) -> None:
    """A library that cannot be loaded. StartFailed, with the package that has it, if the sysroot knows one."""
    lines, failure = loading_lines(ns, program)
    for line in lines:
        reporter.message(line)
    if failure is not None and ns.model != "musl":
        raise StartFailed("\n".join([failure, *_advice(ns, sysroot)]))


def _advice(ns: Namespace, sysroot: str | None) -> list[str]:
    """A line of ours for each library that is not there."""
    from rtld.debian.sysroot import advice_for

    lines = [advice_for(sysroot, name) for name in ns.missing]
    return [f"rtld: {line}" for line in lines if line]


def refuse_unbound(
    ns: Namespace, program: str, reporter: Reporter, sysroot: str | None, *, waits: bool
) -> None:
    """What is wrong once all is bound; *waits*: libraries have been left out, functions of which may be missing yet.
    StartFailed.
    """
    if ns.model == "musl":
        lines = [*_not_loaded(ns, program), *_not_found(ns, program, waits)]
        if lines:
            raise StartFailed("\n".join([*lines, *_advice(ns, sysroot)]))
        return
    from rtld.elf.notices import relocation_lines, version_lines

    lines, stops = version_lines(ns, program)
    if stops:
        raise StartFailed("\n".join(lines), 1)
    more, failure = relocation_lines(ns, program, now=not ns.lazy)
    for line in (*lines, *more):
        reporter.message(line)
    if failure is not None:
        raise StartFailed(failure)


def _not_loaded(ns: Namespace, program: str) -> Iterator[str]:
    for problem in ns.problems:
        if problem.kind == "library" and problem.fatal:
            error = ns.missing[problem.subject][0][1]
            reason = getattr(error, "reason", "Exec format error")
            by = program if problem.module == ns.main.path else problem.module
            yield f"Error loading shared library {problem.subject}: {reason} (needed by {by})"


def _not_found(ns: Namespace, program: str, waits: bool) -> list[str]:
    """A line for each record, libraries first; of each module the records of its PLT first."""
    import numpy as np

    from rtld.elf.resolve import UNDEFINED

    r, b = ns.relocations, ns.bindings
    rows = (r.reference >= 0) & (b.kind == UNDEFINED)[r.reference] if len(b) else r.at < 0
    if waits:
        rows &= r.type != ns.arch.reloc_types.jump_slot
    found = []
    modules = ns.columns.modules
    for row in np.flatnonzero(rows).tolist():
        module = modules[int(r.module[row])]
        if module.hosted:
            continue
        at = int(r.at[row])
        reference = int(r.reference[row])
        name = program if module is ns.main else module.path
        line = f"Error relocating {name}: {b.name(reference)}: symbol not found"
        of_plt = _in_plt(module, at)
        found.append((module is ns.main, module.index, not of_plt, at, line))
        if of_plt and _counts_twice(module):
            found.append((module is ns.main, module.index, True, at, line))
    return [line for *_, line in sorted(found)]


def _counts_twice(module: Module) -> bool:
    """RISC-V: DT_RELASZ has the records of DT_JMPREL in it, too."""
    dynamic = module.file.dynamic
    start = dynamic.get(t.DT_RELA)
    end = (start or 0) + (dynamic.get(t.DT_RELASZ) or 0)
    return start is not None and start <= (dynamic.get(t.DT_JMPREL) or 0) < end


def _in_plt(module: Module, at: int) -> bool:
    from rtld.elf.tables import tables

    return any(
        run.plt and run.position <= at < run.position + run.count * run.entsize
        for run in tables(module.file).relocs
    )
