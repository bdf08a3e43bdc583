"""What is missing in a Windows program or would fail, as findings: errors, warnings, notes."""

from __future__ import annotations

import itertools

from rtld.core.module import Problem
from rtld.errors import FormatError
from rtld.pe import types as t
from rtld.pe.basereloc import base_relocs
from rtld.pe.exports import exports
from rtld.pe.imports import bound_imports
from rtld.pe.loadconfig import handlers_of, load_config
from rtld.pe.tls import tls_directory
from rtld.pe.unwindtable import faults as unwind_faults
from rtld.report.check import Finding, finding_lines
from rtld.report.pe_json import closure, tls_rows
from rtld.report.pe_text import message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from rtld.pe.module import PeModule
    from rtld.process.link_pe import PeLink
    from rtld.report.style import Style

_ERRORS = ("library", "symbol", "relocation", "malformed")


def examine(link: PeLink) -> list[Finding]:
    """All findings, errors first. Binds what is delayed, too: a call of it would fail."""
    link.bind_delayed()
    ns = link.namespace
    findings = [
        Finding("error" if p.fatal or p.kind in _ERRORS else "warning", p) for p in ns.problems
    ]
    main = ns.main
    for module in ns.modules:
        for complaint in module.file.complaints:
            problem = Problem("malformed", module.path, complaint.field, str(complaint), False)
            findings.append(Finding("warning", problem))
        if module.file.complaints or module is main:
            findings += _tables(module)
    flags = main.file.dll_characteristics
    for flag, what in (
        (t.IMAGE_DLLCHARACTERISTICS_DYNAMIC_BASE, "it is always at its preferred base (no DYNAMIC_BASE)"),
        (t.IMAGE_DLLCHARACTERISTICS_NX_COMPAT, "its data may be executed (no NX_COMPAT)"),
    ):  # fmt: skip
        if not flags & flag:
            problem = Problem("header", main.path, "DllCharacteristics", f"{main.path}: {what}", False)  # fmt: skip
            findings.append(Finding("note", problem))
    order = ("error", "warning", "note")
    return sorted(findings, key=lambda finding: order.index(finding.severity))


def _tables(module: PeModule) -> Iterator[Finding]:
    """Tables that linking does not look at, decoded for the errors in them; an export table that is not sorted."""
    file = module.file
    for decode in (base_relocs, tls_directory, load_config, handlers_of, bound_imports):
        try:
            decode(file)
        except FormatError as error:
            problem = Problem("malformed", module.path, error.field, str(error))
            yield Finding("error", problem)
    try:
        for fault in unwind_faults(file):
            problem = Problem("exceptions", module.path, fault.field, str(fault), False)
            yield Finding("warning", problem)
    except FormatError as error:
        yield Finding("error", Problem("malformed", module.path, error.field, str(error)))
    try:
        names = exports(file).names()
    except FormatError as error:
        yield Finding("error", Problem("malformed", module.path, error.field, str(error)))
        return
    for before, after in itertools.pairwise(names):
        if before >= after:
            shown = after.decode("utf-8", "surrogateescape")
            text = f"{module.path}: export names are not in order ({shown!r}): look-ups by name may fail"
            yield Finding("warning", Problem("exports", module.path, shown, text, False))
            return


def text(
    link: PeLink, findings: list[Finding], style: Style, *, verbose: bool = False
) -> Iterator[str]:
    """One line for each finding; "ok" where there is no error."""
    shown = [f for f in findings if verbose or f.severity != "note"]
    yield from finding_lines(link.path, shown, message, style, verbose=verbose)
    if not any(f.severity == "error" for f in shown):
        total = sum(len(m.table.imports) for m in link.modules if m.table is not None)
        yield f"{link.path}: {style.green('ok')} ({len(link.modules)} modules, {total} bindings)"
    if verbose:
        for slot in tls_rows(link.namespace):
            yield f"{link.path}: thread-local storage: {slot['size']:>6} bytes: {slot['module']}"


def body(link: PeLink, findings: list[Finding]) -> dict[str, Any]:
    """The same for JSON."""
    from rtld.report.json import problem_object

    result = closure(link)
    result["problems"] = [{"severity": f.severity, **problem_object(f.problem)} for f in findings]
    return result
