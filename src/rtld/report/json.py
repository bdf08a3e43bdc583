"""JSON: one document a command, the same words everywhere. docs/json.md describes every key.

A module is named by its path; what is not known is null; addresses and sizes are integers. The schema's number changes
when a key is removed or means something else, not when one is added.
"""

from __future__ import annotations

import json

from rtld.report.edges import considered, edges, missing_names, requested_as, rule_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.core.module import Module, Namespace, Problem
    from rtld.process.link import Link

SCHEMA = "rtld/1"


def document(command: str, body: dict[str, Any]) -> str:
    """The text of a document."""
    return dumps({"schema": SCHEMA, "command": command, **body}) + "\n"


def dumps(value: Any) -> str:
    """JSON text. A name that is not UTF-8 keeps its bytes as lone surrogates, escaped."""
    return json.dumps(value, indent=1, ensure_ascii=True)


def failure(path: str, error: BaseException) -> dict[str, Any]:
    """A FILE that could not be read: the error in place of everything else."""
    from rtld.cli import sentence

    result: dict[str, Any] = {
        "path": path,
        "error": {"type": type(error).__name__, "message": sentence(error)},
    }
    for key in ("structure", "field", "found", "expected"):
        value = getattr(error, key, None)
        if value is not None:
            result["error"][key] = value if isinstance(value, int | str) else repr(value)
    return result


def closure(link: Link) -> dict[str, Any]:
    """What ``find`` knows: modules, what is missing, problems."""
    ns = link.namespace
    names = requested_as(ns)
    return {
        "path": link.path,
        "model": ns.model,
        "arch": ns.arch.name,
        "interpreter": ns.main.file.interp,
        "modules": [module_object(ns, module, names.get(module)) for module in ns.modules],
        "missing": [
            {
                "name": name,
                "requesters": [who.path for who in asked],
                "message": str(error),
                "candidates": candidate_objects(error),
            }
            for name, asked, error in missing_names(ns)
        ],
        "problems": [problem_object(problem) for problem in ns.problems],
    }


def module_object(ns: Namespace, module: Module, name: str | None) -> dict[str, Any]:
    """A module: where it came from, and what it needs."""
    found = module.found
    owner = found.owner if found is not None else None
    if owner is None and found is not None and found.rule in ("RPATH", "RUNPATH"):
        owner = ns.main
    build_id = None
    try:
        build_id = module.file.build_id
    except Exception:
        build_id = None  # malformed notes are the business of `check`
    return {
        "path": module.path,
        "name": name,
        "soname": module.soname,
        "rule": found.rule if found is not None else rule_of(ns, module),
        "owner": owner.path if owner is not None else None,
        "loader": module.loader.path if module.loader is not None else None,
        "preload": module in ns.preloads,
        "build_id": build_id.hex() if build_id else None,
        "needed": [
            {
                "name": edge.name,
                "path": edge.module.path if edge.module is not None else None,
                "tag": edge.tag,
            }
            for edge in edges(ns, module)
        ],
        "candidates": candidate_objects(found),
    }


def candidate_objects(source: Any) -> list[dict[str, str]]:
    """The paths tried, by rule and outcome."""
    if source is None:
        return []
    return [row._asdict() for row in considered(source)]


def problem_object(problem: Problem) -> dict[str, Any]:
    """One thing that is wrong."""
    return {
        name: getattr(problem, name)
        for name in ("kind", "module", "subject", "version", "fatal", "message")
    }
