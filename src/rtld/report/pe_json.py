"""JSON of a linked Windows program: the keys of ``json.py``, and those that only Windows has (docs/json.md)."""

from __future__ import annotations

from rtld.errors import FormatError
from rtld.pe.exports import exports
from rtld.pe.imports import delay_imports
from rtld.pe.load import symbol_text
from rtld.pe.tls import tls_directory
from rtld.pe.why import WhySymbol
from rtld.report.json import problem_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from rtld.pe.module import Binding, PeModule, PeNamespace, Table
    from rtld.pe.why import WhyLibrary
    from rtld.process.link_pe import PeLink


def rule_of(ns: PeNamespace, module: PeModule) -> str:
    """The rule that found a module."""
    if module is ns.main:
        return "program"
    return module.found.rule if module.found is not None else "path"


def edges(ns: PeNamespace, module: PeModule) -> Iterator[dict[str, Any]]:
    """What a module needs: the name in its descriptor, the module's path or None, IMPORT or DELAY, an API set's host."""
    for table, tag in ((module.table, "IMPORT"), (module.delayed, "DELAY")):
        for edge in table.edges if table is not None else ():
            yield {
                "name": edge.descriptor.dll,
                "path": edge.module.path if edge.module is not None else None,
                "tag": tag,
                "host": edge.host,
                "symbols": edge.descriptor.count,
            }
    if module.delayed is None and module.resolved:
        try:
            waiting = delay_imports(module.file).descriptors
        except FormatError:
            return
        for descriptor in waiting:
            there = ns.by_base.get(ns.search.complete(descriptor.dll).lower())
            yield {
                "name": descriptor.dll,
                "path": there.path if there is not None else None,
                "tag": "DELAY",
                "host": None,
                "symbols": descriptor.count,
            }


def closure(link: PeLink) -> dict[str, Any]:
    """Modules, what is missing, problems."""
    ns = link.namespace
    return {
        "path": link.path,
        "model": link.model,
        "arch": ns.arch.name,
        "interpreter": None,
        "modules": [_module(ns, module) for module in ns.modules],
        "missing": [
            {
                "name": name,
                "requesters": [who.path for who, _ in asked],
                "message": str(asked[0][1]),
                "candidates": candidates(asked[0][1]),
            }
            for name, asked in ns.missing.items()
        ],
        "problems": [problem_object(problem) for problem in ns.problems],
    }


def candidates(source: Any) -> list[dict[str, str]]:
    """What was tried."""
    return [row._asdict() for row in getattr(source, "candidates", ())]


def _module(ns: PeNamespace, module: PeModule) -> dict[str, Any]:
    found = module.found
    try:
        own = exports(module.file).dll.decode("utf-8", "surrogateescape") or None
    except FormatError:
        own = None
    return {
        "path": module.path,
        "name": module.base_name if module is not ns.main else None,
        "soname": own,
        "rule": rule_of(ns, module),
        "owner": found.owner.path if found is not None and found.owner is not None else None,
        "loader": module.loader.path if module.loader is not None else None,
        "preload": False,
        "build_id": None,
        "timestamp": module.file.timestamp,
        "needed": list(edges(ns, module)),
        "candidates": candidates(found),
    }


def linked(link: PeLink) -> dict[str, Any]:
    """Addresses, TLS, order of DllMain, relocations, time."""
    ns = link.namespace
    body = closure(link)
    for module, item in zip(ns.modules, body["modules"], strict=True):
        item["base"] = item["address"] = module.base
        item["preferred"] = module.file.base
        item["size"] = module.file.span
        item["entry"] = module.base + module.file.entry if module.file.entry else None
        item["references"] = None if module.references < 0 else module.references
    body["tls"] = {"modules": list(tls_rows(ns))}
    body["scopes"] = []
    body["init_order"] = [module.path for module in link.init_order]
    body["relocations"] = [
        {"module": module.path, "counts": counts} for module, counts in ns.counts.items() if counts
    ]
    body["binding_counts"] = binding_counts(link)
    body["timings"] = [
        {"pass": name, "seconds": round(seconds, 6)} for name, seconds in link.timings
    ]
    body["problems"] = [problem_object(problem) for problem in ns.problems]
    return body


def tls_rows(ns: PeNamespace) -> Iterator[dict[str, Any]]:
    """Modules with thread-local data or callbacks, in the order they get their slots."""
    slot = 0
    for module in ns.modules:
        try:
            found = tls_directory(module.file)
        except FormatError:
            continue
        if found is not None:
            size = found.end - found.start + found.zeros
            yield {
                "module": module.path,
                "id": slot,
                "size": size,
                "callbacks": [module.base + rva for rva in found.callbacks],
            }
            slot += 1


def binding_counts(link: PeLink) -> dict[str, int]:
    """How many imports were found by hint, by search, by ordinal; forwarded ones count once more."""
    from rtld.pe.module import HOW

    counts = dict.fromkeys(HOW, 0)
    counts["forwarded"] = 0
    names = list(HOW)
    for module in link.modules:
        for table in (module.table, module.delayed):
            if table is not None:
                for number, name in enumerate(names):
                    counts[name] += table.how.count(number)
                counts["forwarded"] += len(table.chains)
    return {name: count for name, count in counts.items() if count}


def table_of(binding: Binding) -> Table:
    """The import table that a binding is a row of."""
    module = binding.importer
    table: Table = module.delayed if binding.descriptor.delay is not None else module.table
    return table


def binding_object(binding: Binding) -> dict[str, Any]:
    """One import."""
    columns = table_of(binding).imports
    ordinal, hint = columns.ordinal.item(binding.row), columns.hint.item(binding.row)
    definer = binding.definer
    return {
        "referrer": binding.importer.path,
        "definer": definer.path if definer is not None else None,
        "symbol": symbol_text(columns, binding.row),
        "version": None,
        "kind": "normal" if definer is not None else "undefined",
        "descriptor": binding.descriptor.dll,
        "delay": binding.descriptor.delay is not None,
        "ordinal": ordinal if ordinal >= 0 else None,
        "hint": hint if hint >= 0 else None,
        "how": binding.how,
        "forwarders": [{"module": module.path, "to": text} for module, text in binding.chain],
        "slot": columns.slot.item(binding.row),
        "rva": binding.rva if definer is not None else None,
        "address": definer.base + binding.rva if definer is not None else None,
    }


def why_body(link: PeLink, result: WhySymbol | WhyLibrary) -> dict[str, Any]:
    """What ``rtld why`` knows."""
    ns = link.namespace
    near = [miss._asdict() for miss in result.near]
    head = {"path": link.path, "model": link.model, "name": result.name, "missing": result.missing}
    if isinstance(result, WhySymbol):
        return {
            **head,
            "what": "symbol",
            "version": None,
            "references": [binding_object(binding) for binding in result.imports],
            "exporters": [
                {"module": e.module.path, "ordinal": e.ordinal, "rva": e.rva, "forwarder": e.forwarder}
                for e in result.exporters
            ],
            "near_misses": near,
        }  # fmt: skip
    module = result.module
    return {
        **head,
        "what": "library",
        "module": module.path if module is not None else None,
        "rule": rule_of(ns, module) if module is not None else None,
        "chain": [each.path for each in result.chain],
        "needed_by": [each.path for each, _ in result.edges],
        "searches": [
            {"requester": who.path, "name": edge.descriptor.dll, "candidates": candidates(edge.error or edge.module.found)}
            for who, edge in result.edges
            if edge.error is not None or edge.module is not None
        ],
        "near_misses": near,
    }  # fmt: skip
