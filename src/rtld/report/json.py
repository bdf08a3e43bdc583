"""JSON: one document a command, the same words everywhere. docs/json.md describes every key.

A module is named by its path; what is not known is null; addresses and sizes are integers. The schema's number changes
when a key is removed or means something else, not when one is added.
"""

from __future__ import annotations

import json

from rtld.report.edges import considered, edges, missing_names, requested_as, rule_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from rtld.core.module import Module, Namespace, Problem
    from rtld.process.link import Link

SCHEMA = "rtld/1"
_BATCH = 4096


def document(command: str, body: dict[str, Any]) -> str:
    """The text of a document."""
    return "".join(chunks({"schema": SCHEMA, "command": command, **body}))


def chunks(body: dict[str, Any]) -> Iterator[str]:
    """A document with each key on a line of its own, and each item of a list: to be read by people, grep and jq.

    A list may be an iterator. A name that is not UTF-8 keeps its bytes as lone surrogates, escaped.
    """
    encode = json.JSONEncoder(ensure_ascii=True).encode
    lead = "{"
    for key, value in body.items():
        yield f"{lead}\n{encode(key)}: "
        lead = ","
        if value is None or isinstance(value, str | int | float | dict):
            yield encode(value)
            continue
        separator = "[\n "
        batch: list[str] = []
        for item in value:
            batch.append(encode(item))
            if len(batch) == _BATCH:
                yield separator + ",\n ".join(batch)
                separator = ",\n "
                batch = []
        if batch:
            yield separator + ",\n ".join(batch)
            separator = ""
        yield "[]" if separator.startswith("[") else "\n]"
    yield "\n}\n"


def failure(path: str, error: BaseException) -> dict[str, Any]:
    """A FILE that could not be read: the error in place of everything else."""
    from rtld.report.message import sentence

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
        "kind": problem.kind,
        "module": problem.module,
        "subject": problem.subject,
        "version": problem.version,
        "fatal": bool(problem.fatal),
        "message": problem.message,
    }


def linked(link: Link) -> dict[str, Any]:
    """What ``bind`` and ``relocate`` add: addresses, TLS, scopes, init order, relocations, time."""
    ns = link.namespace
    body = closure(link)
    for module, item in zip(ns.modules, body["modules"], strict=True):
        item["base"] = module.base
        item["address"] = module.base + module.file.span[0]
        item["size"] = module.file.span[1] - module.file.span[0]
        item["entry"] = module.base + module.file.entry if module.file.entry else None
    if ns.main.file.dynamic is None:
        tls, scopes, counts = None, [], []
    else:
        tls, scopes = tls_object(link), scope_objects(ns)
        counts = [
            {"module": m.path, "counts": c}
            for m, c in sorted(ns.counts.items(), key=lambda pair: pair[0].index)
        ]
    body["tls"] = tls
    body["scopes"] = scopes
    body["init_order"] = [module.path for module in link.init_order]
    body["relocations"] = counts
    body["binding_counts"] = binding_counts(link)
    body["timings"] = [
        {"pass": name, "seconds": round(seconds, 6)} for name, seconds in link.timings
    ]
    body["problems"] = [problem_object(problem) for problem in ns.problems]
    return body


def tls_object(link: Link) -> dict[str, Any]:
    """The static TLS layout; offsets are from the thread pointer."""
    from rtld.elf.tls import tls_segment

    layout = link.tls
    modules = []
    for module in layout.modules:
        size, align, _ = tls_segment(module) or (0, 1, 0)
        modules.append(
            {
                "module": module.path,
                "id": module.tls_id,
                "offset": module.tls_offset,
                "size": size,
                "align": align,
            }
        )
    return {
        "variant": layout.variant,
        "size": layout.size,
        "align": layout.align,
        "modules": modules,
    }


def scope_objects(ns: Namespace) -> list[dict[str, Any]]:
    """Each scope once, with the modules whose references are looked up in it."""
    result: dict[int, dict[str, Any]] = {}
    for module in ns.modules:
        for scope in module.scopes:
            item = result.get(id(scope))
            if item is None:
                item = result[id(scope)] = {
                    "name": scope.name,
                    "modules": [m.path for m in scope.modules],
                    "used_by": [],
                }
            item["used_by"].append(module.path)
    return list(result.values())


def binding_counts(link: Link) -> dict[str, int]:
    """How many bindings there are of each kind."""
    if link.modules[0].file.dynamic is None:
        return {}
    import numpy as np

    from rtld.elf.resolve import KINDS, LOCAL

    counts = np.bincount(link.bindings().kind, minlength=len(KINDS)).tolist()
    return {
        kind: count
        for i, (kind, count) in enumerate(zip(KINDS, counts, strict=True))
        if count and i != LOCAL
    }


def binding_objects(link: Link) -> Iterator[dict[str, str | None]]:
    """All bindings: referrer, definer, symbol, version, kind."""
    from rtld.elf.explain import binding_rows

    if link.modules[0].file.dynamic is None:
        return
    for referrer, definer, symbol, version, kind in binding_rows(link.bindings()):
        yield {
            "referrer": referrer.path,
            "definer": None if definer is None else definer.path,
            "symbol": symbol,
            "version": version,
            "kind": kind,
        }
