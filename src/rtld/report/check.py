"""What is missing or would fail, gathered from a link: errors, warnings and notes, as rows."""

from __future__ import annotations

import json
from collections import namedtuple

from rtld.core.module import Problem
from rtld.core.reloc import Action
from rtld.elf import types as t
from rtld.elf.tls import STATIC_SURPLUS, tls_segment
from rtld.errors import FormatError, NotFound, RelocationError
from rtld.report.edges import considered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from rtld.core.module import Module, Namespace
    from rtld.process.link import Link

#: One finding: "error", "warning" or "note", and the problem.
Finding = namedtuple("Finding", "severity problem")
#: A module's thread-local block; ``reason``: why it must be in the static area, "" if it need not.
TlsUse = namedtuple("TlsUse", "module size align reason")

_ERRORS = ("library", "symbol", "version", "interpreter", "preload", "wrong machine", "relocation")
_SHOWN = 10  # findings of one kind in one module, unless all are wanted
_NT_FDO_DLOPEN = 0x407C0C0A  # systemd.io/ELF_DLOPEN_METADATA
#: Where ld.so takes a missing PT_GNU_STACK for "executable" (sysdeps/<cpu>/stackinfo.h).
_EXECUTABLE_BY_DEFAULT = ("x86_64", "i386", "arm", "s390x", "mips64el")


class Examination:
    """All findings about one file, errors first."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.ns: Namespace = link.namespace
        self.tls: list[TlsUse] = []
        self.dlopen_tls = 0  # bytes of static TLS that a dlopen of the file takes
        self.findings: list[Finding] = []
        ns = self.ns
        if ns.main.file.dynamic is not None:
            self._interpreter()
            self._relocate()
            self._wrong_machine()
            for problem in ns.problems:
                severity = "error" if problem.fatal or problem.kind in _ERRORS else "warning"
                if problem.kind == "version" and not problem.fatal:
                    severity = "warning"  # a weak one
                self.findings.append(Finding(severity, problem))
            self._static_tls()
        for module in ns.modules:
            self._text_relocations(module)
            self._stack(module)
            self._dlopen_notes(module)
        self._relro()
        order = ("error", "warning", "note")
        self.findings.sort(key=lambda finding: order.index(finding.severity))

    def _add(self, severity: str, kind: str, module: Module, subject: str, message: str) -> None:
        self.findings.append(
            Finding(severity, Problem(kind, module.path, subject, message, severity == "error"))
        )

    def _interpreter(self) -> None:
        """PT_INTERP must be there; for another CPU than this one's it may be only where the program will run."""
        from rtld.arch import host

        ns, main = self.ns, self.ns.main
        name = main.file.interp
        if name is not None and ns.search.interp is None:
            foreign = ns.search.sysroot is None and ns.arch.uname != host().uname
            advice = "; --sysroot says where its system is" if foreign else ""
            message = f"{name}: the program's interpreter: No such file or directory{advice}"
            self._add("warning" if foreign else "error", "interpreter", main, name, message)

    def _relocate(self) -> None:
        """Bind and relocate; what stops the linker is one more finding."""
        from rtld.elf.resolve import unknown_relocations

        self.link.bind()
        unknown = unknown_relocations(self.ns, self.ns.relocations)
        for error in unknown:
            self.findings.append(
                Finding("error", Problem("relocation", error.where, error.detail, str(error)))
            )
        if unknown:
            return
        try:
            self.link.relocate()
        except (RelocationError, FormatError) as error:
            where = error.path if isinstance(error, FormatError) else error.where
            self.findings.append(
                Finding("error", Problem("relocation", where, type(error).__name__, str(error)))
            )

    def _wrong_machine(self) -> None:
        for name, asked in self.ns.missing.items():
            module, error = asked[0]
            for candidate in considered(error):
                if candidate.outcome in ("wrong class", "wrong machine"):
                    detail = (
                        f"{candidate.outcome}: {candidate.detail}"
                        if candidate.detail
                        else candidate.outcome
                    )
                    self._add(
                        "error",
                        "wrong machine",
                        module,
                        name,
                        f"{name}: {candidate.path} is no use ({detail})",
                    )

    # -- TLS --------------------------------------------------------------------------------------

    def _static_tls(self) -> None:
        ns = self.ns
        reasons = _static_users(ns)
        for module in ns.tls.modules:
            size, align, _ = tls_segment(module) or (0, 1, 0)
            self.tls.append(TlsUse(module, size, align, reasons.get(module, "")))
        if ns.main.file.interp is not None or ns.model == "musl":
            return
        # A library: what if it is opened by a running program, which has the C library already?
        users = [use for use in self.tls if use.reason and not use.module.is_libc_family]
        self.dlopen_tls = sum(use.size + use.align - 1 for use in users)
        if self.dlopen_tls > STATIC_SURPLUS:
            who = ", ".join(f"{use.module.path} {use.size} ({use.reason})" for use in users)
            self._add(
                "warning", "static TLS", ns.main, str(self.dlopen_tls),
                f"dlopen needs {self.dlopen_tls} bytes of static TLS, and glibc keeps {STATIC_SURPLUS}: {who}; "
                "load it at start, or raise glibc.rtld.optional_static_tls in GLIBC_TUNABLES",
            )  # fmt: skip

    # -- single files -----------------------------------------------------------------------------

    def _text_relocations(self, module: Module) -> None:
        dynamic = module.file.dynamic
        if dynamic is not None and (t.DT_TEXTREL in dynamic or module.file.dt_flags & t.DF_TEXTREL):
            message = f"{module.path}: has text relocations (DT_TEXTREL): its code is made writable and is not shared"
            self._add("warning", "text relocation", module, "DT_TEXTREL", message)

    def _stack(self, module: Module) -> None:
        segment = module.file.segment(t.PT_GNU_STACK)
        if segment is None:
            if self.ns.arch.name in _EXECUTABLE_BY_DEFAULT:
                message = f"{module.path}: has no PT_GNU_STACK, so the stack is made executable"
                self._add("warning", "executable stack", module, "PT_GNU_STACK", message)
        elif segment.flags & t.PF_X:
            message = f"{module.path}: asks for an executable stack"
            self._add("warning", "executable stack", module, "PT_GNU_STACK", message)

    def _relro(self) -> None:
        main = self.ns.main
        if main.file.dynamic is None:
            return
        if main.file.segment(t.PT_GNU_RELRO) is None:
            self._add(
                "note",
                "no RELRO",
                main,
                "PT_GNU_RELRO",
                f"{main.path}: nothing is protected after relocation",
            )

    def _dlopen_notes(self, module: Module) -> None:
        """Libraries that a module says it will open (systemd's ELF dlopen metadata), of which none is there."""
        for entry in dlopen_metadata(module):
            names = entry.get("soname")
            if (
                not isinstance(names, list)
                or not names
                or any(self._opens(name, module) for name in names)
            ):
                continue
            priority = entry.get("priority", "recommended")
            feature = f" for {entry['feature']}" if entry.get("feature") else ""
            message = f"{module.path}: would open {' or '.join(map(str, names))}{feature} ({priority}), not found"
            severity = "warning" if priority == "required" else "note"
            self._add(severity, "dlopen", module, str(names[0]), message)

    def _opens(self, name: object, module: Module) -> bool:
        if not isinstance(name, str):
            return False
        known = self.ns.by_name.get(name)
        if known is not None and known.index >= 0:
            return True
        try:
            self.ns.search.find(name, module)
        except (NotFound, FormatError, OSError):
            return False
        return True

    @property
    def failed(self) -> bool:
        """Whether there is an error."""
        return any(finding.severity == "error" for finding in self.findings)


def dlopen_metadata(module: Module) -> Iterator[dict[str, Any]]:
    """The entries of .note.dlopen; a note that is not what it should be has none."""
    try:
        notes = [
            note
            for note in module.file.notes()
            if note.name == "FDO" and note.type == _NT_FDO_DLOPEN
        ]
    except FormatError:
        return
    for note in notes:
        try:
            entries = json.loads(note.desc.rstrip(b"\0"))
        except ValueError:
            continue
        if isinstance(entries, list):
            yield from [entry for entry in entries if isinstance(entry, dict)]


def _static_users(ns: Namespace) -> dict[Module, str]:
    """Modules whose thread-local block must have a fixed offset from the thread pointer, with the reason."""
    import numpy as np

    result: dict[Module, str] = {}
    for module in ns.tls.modules:
        if module.file.dt_flags & t.DF_STATIC_TLS:
            result[module] = "DF_STATIC_TLS"
    relocs, r, b = ns.arch.relocs, ns.relocations, ns.bindings
    fixed = [
        n
        for n, row in relocs.items()
        if row.action == Action.STORE and any(x == "TP" for x, _ in row.value.terms)
    ]
    rows = np.flatnonzero(np.isin(r.type, fixed))
    reference = r.reference[rows]
    definer = r.module[rows].copy()
    known = reference >= 0
    definer[known] = b.definer[reference[known]]
    for number in np.unique(definer[definer >= 0]).tolist():
        module = ns.columns.modules[number]
        if module in ns.tls.modules:
            who = int(r.module[rows][definer == number][0])
            by = "" if who == number else f" of {ns.columns.modules[who].path}"
            result.setdefault(module, f"initial-exec access{by}")
    return result


def finding_lines(
    path: str,
    shown: Iterable[Finding],
    message: Callable[[Problem], str],
    style: Any,
    *,
    verbose: bool,
) -> Iterator[str]:
    """One line for each finding, and one for many of a kind in a module; *message*: a problem in words."""
    colours = {"error": "red", "warning": "yellow", "note": "cyan"}
    times: dict[tuple[str, str], int] = {}
    told: set[tuple[str, str, str]] = set()
    for severity, problem in shown:
        if (severity, problem.kind, problem.message) in told:
            continue
        told.add((severity, problem.kind, problem.message))
        key = problem.kind, problem.module
        times[key] = times.get(key, 0) + 1
        if times[key] > _SHOWN and not verbose:
            continue
        said = message(problem).removeprefix(f"{path}: ")
        yield f"{path}: {style.paint(severity, colours[severity])}: {problem.kind}: {said}"
    for (kind, module), count in times.items():
        if count > _SHOWN and not verbose:
            yield f"{path}: and {count - _SHOWN} more of {kind} in {module} (-v shows all)"


def text(examination: Examination, style: Any, *, verbose: bool = False) -> Iterator[str]:
    """One line for each finding, as compilers write them; "ok" where there is none."""
    from rtld.report.link import message

    ns = examination.ns
    path = examination.link.path
    shown = [f for f in examination.findings if verbose or f.severity != "note"]
    yield from finding_lines(path, shown, message, style, verbose=verbose)
    if not any(f.severity == "error" for f in shown):
        what = "statically linked" if ns.main.file.dynamic is None else f"{len(ns.modules)} modules"
        if ns.bindings is not None:
            what += f", {len(ns.bindings.looked_up())} bindings"
        yield f"{path}: {style.green('ok')} ({what})"
    if verbose and examination.tls:
        yield f"{path}: static TLS: {ns.tls.size} bytes at start; glibc keeps {STATIC_SURPLUS} more for dlopen"
        for use in examination.tls:
            why = f" {use.reason}" if use.reason else " (could be dynamic)"
            yield f"{path}:   {use.size:>6} bytes, align {use.align}: {use.module.path}{why}"


def body(examination: Examination) -> dict[str, Any]:
    """The same for JSON."""
    from rtld.report.json import closure, problem_object

    result = closure(examination.link)
    result["problems"] = [
        {"severity": f.severity, **problem_object(f.problem)} for f in examination.findings
    ]
    if examination.ns.tls is not None:
        result["static_tls"] = {
            "used": examination.ns.tls.size,
            "surplus": STATIC_SURPLUS,
            "dlopen_needs": examination.dlopen_tls,
            "modules": [
                {
                    "module": use.module.path,
                    "size": use.size,
                    "align": use.align,
                    "reason": use.reason or None,
                }
                for use in examination.tls
            ],
        }
    return result
