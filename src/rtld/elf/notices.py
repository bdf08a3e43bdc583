"""What glibc's ld.so says while it binds and relocates, and where it stops.

Warnings do not end a program: a variable that is copied has another size now, or may not be copied; a function's address
differs between the program and its library; an IFUNC's resolver would run before its own module is relocated. In the
order in which ld.so meets them (elf/dl-reloc.c, dl-lookup.c; sysdeps/generic/dl-protected.h; sysdeps/x86_64/dl-machine.h):
modules dependencies first, in each the records of the table one after the other. Symbols that nobody defines end it.
"""

from __future__ import annotations

from collections import namedtuple

import numpy as np

from rtld.core.module import Problem
from rtld.elf import types as t
from rtld.elf.load import binds_now
from rtld.elf.lookup import PLT
from rtld.elf.properties import ONE_NEEDED, property_word
from rtld.elf.resolve import LOCAL, UNDEFINED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.core.module import Namespace
    from rtld.elf.flat import I64

#: moment: (rank of the module in relocation order, row of ``ns.relocations``); module: whose record it is; slot: it is a
#: PLT slot's, so nothing is said before the first call unless all is bound at once; quiet: worth telling, but not ld.so's way.
Notice = namedtuple("Notice", "moment module slot quiet problem")

_INDIRECT_EXTERN_ACCESS = 1  # GNU_PROPERTY_1_NEEDED_INDIRECT_EXTERN_ACCESS
_CHECKS_ORDER = (
    "x86_64",
    "i386",
)  # the CPUs whose ld.so looks whether an IFUNC's module is relocated


def note(ns: Namespace) -> None:
    """Find all of what is bound in ``ns``; what ld.so would say, now or at a function's first call, is a problem, too."""
    ns.notices = sorted(_notices(ns), key=lambda notice: notice.moment)
    now = bool(ns.search.env.get("LD_BIND_NOW"))
    for notice in ns.notices:
        lazy = notice.slot and not now and not binds_now(notice.module)
        if not lazy or notice.problem.kind == "protected symbol":
            ns.problems.append(notice.problem)


def spoken(problem: Problem, program: str) -> str:
    """A problem in the words of ld.so; *program* is argv[0]."""
    if problem.kind == "protected symbol" and not problem.fatal:
        return f"warning: {problem.message}"
    if problem.kind == "copy size":
        return program + problem.message.removeprefix(problem.module)
    return f"{program}: {problem.message}"


def version_lines(ns: Namespace, program: str) -> tuple[list[str], bool]:
    """What is said of versions, before anything is relocated, and whether it ends there (elf/dl-version.c)."""
    found = [p for p in ns.problems if p.kind in ("version", "no version information")]
    return [spoken(problem, program) for problem in found], any(p.fatal for p in found)


def relocation_lines(ns: Namespace, program: str, *, now: bool) -> tuple[list[str], str | None]:
    """The warnings, as far as ld.so gets, and what it stops at. *now*: PLT slots are bound at once."""
    lines: list[str] = []
    failure = first_undefined(ns, program, now=now)
    for notice in ns.notices:
        if failure is not None and notice.moment > failure[0]:
            break
        if notice.slot and not (now or binds_now(notice.module)):
            continue
        text = spoken(notice.problem, program)
        if notice.problem.fatal:
            return lines, text
        if not notice.quiet:
            lines.append(text)
    return lines, None if failure is None else f"{program}: symbol lookup error: {failure[1]}"


def first_undefined(
    ns: Namespace, program: str, *, now: bool
) -> tuple[tuple[int, int], str] | None:
    """(moment, message) of the first reference that ld.so would fail at; None if there is none. *program*: argv[0]."""
    if all(problem.kind != "symbol" for problem in ns.problems):
        return None
    r, b, slot = ns.relocations, ns.bindings, ns.arch.reloc_types.jump_slot
    rank = {module: i for i, module in enumerate(ns.relocation_order)}
    rows = np.flatnonzero((r.reference >= 0) & (b.kind == UNDEFINED)[r.reference])
    failing = []
    for row, number, kind in zip(
        rows.tolist(), r.module[rows].tolist(), r.type[rows].tolist(), strict=True
    ):
        module = ns.columns.modules[number]
        if not module.hosted and (kind != slot or now or binds_now(module)):
            failing.append((rank.get(module, 0), row))
    if not failing:
        return None
    moment = min(failing)
    reference = int(r.reference[moment[1]])
    module = b.modules[int(b.referrer[reference])]
    version = b.version_name(reference)
    name = program if module is ns.main else module.path
    text = f"{name}: undefined symbol: {b.name(reference)}"
    return moment, text + (f", version {version}" if version else "")


def at_first_call(ns: Namespace) -> dict[int, list[Notice]]:
    """What is said when the program calls a function first, by row of ``ns.bindings``: nothing of IFUNCs' order."""
    found: dict[int, list[Notice]] = {}
    for notice in ns.notices:
        if notice.slot and notice.module is ns.main and not binds_now(ns.main):
            found.setdefault(int(ns.relocations.reference[notice.moment[1]]), []).append(notice)
    return found


# -- finding them -------------------------------------------------------------------------------------


def _notices(ns: Namespace) -> list[Notice]:
    r, b = ns.relocations, ns.bindings
    if not len(r.at) or not len(b):
        return []
    ranks = np.full(
        len(b.modules), -1, np.int64
    )  # what is not in the list has been relocated before
    place = {module: i for i, module in enumerate(ns.relocation_order) if module is not ns.interp}
    ranks[:] = [place.get(module, -1) for module in b.modules]
    found: list[Notice] = []
    if ns.model == "glibc":
        # A look-up comes before what is done with its result.
        found += _protected(ns, ranks)
        if ns.arch.name in _CHECKS_ORDER:
            found += _unordered_ifuncs(ns, ranks)
    return found + _copies(ns, ranks)


def _rows_of_main(ns: Namespace, kind: int) -> I64:
    """The program's records of one type whose symbol somebody defines."""
    r, b = ns.relocations, ns.bindings
    if ns.main.hosted or ns.main not in b.modules:
        return np.zeros(0, np.int64)
    mine = r.module == b.modules.index(ns.main)
    rows: I64 = np.flatnonzero(mine & (r.type == kind) & (r.reference >= 0))
    defined: I64 = rows[b.definer[r.reference[rows]] >= 0]
    return defined


def _ends(ns: Namespace, rows: I64) -> tuple[I64, I64, I64]:
    """For records: rows of ``ns.bindings``, positions of the referring symbols, and of the definitions."""
    b, columns = ns.bindings, ns.columns
    reference = ns.relocations.reference[rows]
    own = columns.symbol_position(b.referrer[reference], b.symbol[reference])
    theirs = columns.symbol_position(b.definer[reference], b.definition[reference])
    return reference, own, theirs


def _moment(ns: Namespace, ranks: I64, row: int) -> tuple[int, int]:
    return int(ranks[int(ns.relocations.module[row])]), row


def _copies(ns: Namespace, ranks: I64) -> list[Notice]:
    """COPY relocations (the program's alone) of variables whose size has changed.

    ld.so keeps quiet if there is less to copy now.
    """
    rows = _rows_of_main(ns, ns.arch.reloc_types.copy)
    if not len(rows):
        return []
    b, columns = ns.bindings, ns.columns
    reference, own, theirs = _ends(ns, rows)
    found = []
    sizes = zip(columns.size(own).tolist(), columns.size(theirs).tolist(), strict=True)
    for row, ref, (size, there) in zip(rows.tolist(), reference.tolist(), sizes, strict=True):
        if size == there:
            continue
        module = b.modules[int(b.referrer[ref])]
        name = b.name(ref)
        message = f"{module.path}: Symbol `{name}' has different size in shared object, consider re-linking"
        problem = Problem("copy size", module.path, name, message, fatal=False)
        told = ns.model == "glibc" and (there > size or bool(ns.search.env.get("LD_WARN")))
        found.append(Notice(_moment(ns, ranks, row), module, False, not told, problem))
    return found


def _protected(ns: Namespace, ranks: I64) -> list[Notice]:
    """Protected symbols of libraries that the program copies, or whose address is that of its own PLT entry."""
    types, b = ns.arch.reloc_types, ns.bindings
    main, columns = ns.main, ns.columns
    found = []
    for kind in (types.copy, types.jump_slot):
        rows = _rows_of_main(ns, kind)
        if not len(rows):
            continue
        reference, own, theirs = _ends(ns, rows)
        _info, other, _section = columns.meta(theirs)
        told = ((other & np.uint32(3)) == t.STV_PROTECTED) & (b.kind[reference] != LOCAL)
        if kind == types.jump_slot:
            _info, _other, section = columns.meta(own)
            told &= (columns.value(own) != 0) & (section == t.SHN_UNDEF)
        for i in np.flatnonzero(told).tolist():
            definer = b.modules[int(b.definer[reference[i]])]
            name, row = b.name(int(reference[i])), int(rows[i])
            slot = int(b.kind_of_use[reference[i]]) == PLT
            where = f"`{name}' in `{definer.path}'"
            if slot:
                message = (
                    f"direct reference to protected function {where} may break pointer equality"
                )
            else:
                message = f"copy relocation against non-copyable protected symbol {where}"
            problems = [Problem("protected symbol", main.path, name, message, fatal=False)]
            if property_word(definer.file, ONE_NEEDED) & _INDIRECT_EXTERN_ACCESS:
                why = "error due to GNU_PROPERTY_1_NEEDED_INDIRECT_EXTERN_ACCESS"
                message = f"{name}: {definer.path}: {why}"
                problems.append(Problem("protected symbol", main.path, name, message))
            moment = _moment(ns, ranks, row)
            found += [Notice(moment, main, slot, False, problem) for problem in problems]
    return found


def _unordered_ifuncs(ns: Namespace, ranks: I64) -> list[Notice]:
    """References to IFUNCs of modules that are relocated later than the one that refers to them."""
    r, b, columns = ns.relocations, ns.bindings, ns.columns
    late = (b.definer >= 0) & (ranks[b.definer] > ranks[b.referrer]) & (b.kind != LOCAL)
    reference = np.flatnonzero(late)
    if not len(reference):
        return []
    at = columns.symbol_position(b.definer[reference], b.definition[reference])
    info, _other, section = columns.meta(at)
    ifunc = ((info & np.uint32(15)) == t.STT_GNU_IFUNC) & (section != t.SHN_UNDEF)
    if not ifunc.any():
        return []
    told = np.zeros(len(b), np.bool_)
    told[reference[ifunc]] = True
    found = []
    for row in np.flatnonzero((r.reference >= 0) & told[r.reference]).tolist():
        ref = int(r.reference[row])
        module, definer = b.modules[int(b.referrer[ref])], b.modules[int(b.definer[ref])]
        if module is ns.interp:
            continue
        name = b.name(ref)
        fatal = definer is ns.main
        if fatal:
            message = (
                f"IFUNC symbol '{name}' referenced in '{module.path}' is defined in the executable "
                "and creates an unsatisfiable circular dependency."
            )
        else:
            message = f"Relink `{module.path}' with `{definer.path}' for IFUNC symbol `{name}'"
        problem = Problem("IFUNC", module.path, name, message, fatal=fatal)
        slot = int(r.type[row]) == ns.arch.reloc_types.jump_slot
        found.append(Notice(_moment(ns, ranks, row), module, slot, False, problem))
    return found
