"""tree, link, why and check of Windows programs: the same options, the same words."""

from __future__ import annotations

import os
import sys

from rtld.cli import FINE, MISSING, UsageError, tell
from rtld.cli.reading import respelling, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rtld.cli.options import Options
    from rtld.process.link_pe import PeLink


def keywords(options: Options) -> dict[str, Any]:
    """The keywords of ``process.link_pe.find`` that the options stand for."""
    from rtld.pe.module import Policies

    names = ("unresolved", "bound", "delay", "tls")
    chosen = {n: value for n in names if (value := getattr(options, n, ""))}
    directory = options.windows_dir
    if directory is not None and not os.path.isdir(directory):
        raise UsageError(f"--windows-dir {directory}: there is no such directory")
    return {
        "policies": Policies(**chosen),
        "windows_dir": directory,
        "apisets": options.apiset,
        "dll_path": options.dll_path,
    }


def status_of(link: PeLink) -> int:
    """0, or 1 when something that is needed is not there."""
    return MISSING if any(p.fatal or p.kind in ("library", "symbol") for p in link.problems) else FINE  # fmt: skip


def tree(path: str, options: Options, files: list[dict[str, Any]]) -> int:
    """``rtld tree``."""
    from rtld.process.link_pe import find
    from rtld.report.pe_json import closure
    from rtld.report.pe_text import tree as text
    from rtld.report.style import style_for

    link = find(path, **keywords(options))
    if options.json:
        files.append(closure(link))
    else:
        lines = text(
            link, style_for(sys.stdout), paths=options.path, expand=options.all, depth=options.max_depth and int(options.max_depth)
        )  # fmt: skip
        write("\n".join([*lines, ""]))
    return status_of(link)


def link(path: str, options: Options, _files: list[dict[str, Any]]) -> int:
    """``rtld link``."""
    from rtld.process.link_pe import link as link_file
    from rtld.report import pe_text
    from rtld.report.style import style_for

    result = link_file(path, **keywords(options))
    if options.json:
        from rtld.report.json import SCHEMA, chunks
        from rtld.report.pe_json import binding_object, linked

        body = {"schema": SCHEMA, "command": "link", **linked(result)}
        if options.bindings:
            body["bindings"] = map(binding_object, result.bindings())
        for chunk in chunks(body):
            write(chunk)
    elif options.bindings:
        for chunk in pe_text.binding_text(result, respelling(options)):
            write(chunk)
        for problem in result.problems:
            tell(pe_text.message(problem))
    else:
        write("\n".join([*pe_text.summary(result, style_for(sys.stdout)), ""]))
    return status_of(result)


def why(path: str, options: Options, _files: list[dict[str, Any]]) -> int:
    """``rtld why``."""
    from rtld.pe.why import why as account
    from rtld.process.link_pe import find
    from rtld.report import pe_text
    from rtld.report.style import style_for

    result = find(path, **keywords(options)).bind_delayed()
    found = account(result.namespace, options.rest[1])
    if options.json:
        from rtld.report.json import document
        from rtld.report.pe_json import why_body

        write(document("why", why_body(result, found)))
    else:
        lines = pe_text.why(result, found, style_for(sys.stdout), everything=options.all)
        write("\n".join([*lines, ""]))
    return MISSING if found.missing else FINE


def check(path: str, options: Options, files: list[dict[str, Any]]) -> int:
    """``rtld check``."""
    from rtld.process.link_pe import find
    from rtld.report import pe_check
    from rtld.report.style import style_for

    result = find(path, **keywords(options))
    findings = pe_check.examine(result)
    if options.json:
        files.append(pe_check.body(result, findings))
    elif not options.quiet or any(f.severity != "note" for f in findings):
        lines = pe_check.text(result, findings, style_for(sys.stdout), verbose=options.verbose)
        write("\n".join([*lines, ""]))
    severities = {finding.severity for finding in findings}
    strict = options.strict and "warning" in severities
    return MISSING if "error" in severities or strict else FINE


COMMANDS: dict[str, Callable[[str, Options, list[dict[str, Any]]], int]] = {
    "tree": tree,
    "link": link,
    "why": why,
    "check": check,
}
