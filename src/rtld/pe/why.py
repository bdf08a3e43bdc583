"""Why an import is bound where it is, or a DLL loaded: the account for one name."""

from __future__ import annotations

import difflib
from collections import namedtuple

from rtld.errors import FormatError
from rtld.pe.exports import exports
from rtld.pe.load import symbol_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.pe.module import Binding, Edge, PeModule, PeNamespace

#: A symbol: the imports of it, modules that export it as (module, ordinal, RVA, forwarder), what is nearly it.
WhySymbol = namedtuple("WhySymbol", "name imports exporters near missing")
#: A DLL: the module or None, the chain of loaders from the program, edges to it, what was tried, what is nearly it.
WhyLibrary = namedtuple("WhyLibrary", "name module chain edges error near missing")
#: Another place that has the name, or a name like it.
NearMiss = namedtuple("NearMiss", "path name reason")
#: One exporter.
Exporter = namedtuple("Exporter", "module ordinal rva forwarder")

_SUFFIXES = (".dll", ".exe", ".drv", ".ocx", ".cpl", ".pyd", ".sys", ".node", ".acm", ".ax")


def why(ns: PeNamespace, name: str) -> WhySymbol | WhyLibrary:
    """NAME is SYMBOL, #ORDINAL, MODULE:SYMBOL, or a DLL's name or path."""
    lower = name.lower()
    if lower.endswith(_SUFFIXES) or "/" in name or lower in ns.by_base:
        return why_library(ns, name)
    importer, colon, symbol = name.rpartition(":")
    if colon and importer.lower().endswith(_SUFFIXES):
        return why_symbol(ns, symbol, importer.lower())
    return why_symbol(ns, name, "")


def why_symbol(ns: PeNamespace, symbol: str, importer: str) -> WhySymbol:
    """Every import of a symbol, by one module or by all."""
    found: list[Binding] = []
    dlls: set[str] = set()
    for module in ns.modules:
        if importer and module.base_name != importer:
            continue
        for binding in ns.imports_of(module):
            table = module.delayed if binding.descriptor.delay is not None else module.table
            assert table is not None
            if symbol_text(table.imports, binding.row) == symbol:
                found.append(binding)
                if binding.definer is None:
                    dlls.add(ns.search.complete(binding.descriptor.dll).lower())
    exporters = _exporters(ns, symbol)
    missing = any(b.definer is None for b in found) or (not found and not exporters)
    near = _near(ns, symbol, dlls) if missing else []
    return WhySymbol(symbol, found, exporters, near, missing)


def _exporters(ns: PeNamespace, symbol: str) -> list[Exporter]:
    result: list[Exporter] = []
    if symbol.startswith("#"):
        return result
    for module in ns.modules:
        try:
            table = exports(module.file)
            hit = table.by_name(symbol.encode("utf-8", "surrogateescape"))
            if hit is not None:
                index = hit[0]
                text = table.forwarder(index)
                shown = None if text is None else text.decode("utf-8", "surrogateescape")
                result.append(Exporter(module, index + table.ordinal_base, table.functions.item(index), shown))  # fmt: skip
        except FormatError:
            continue
    return result


def _near(ns: PeNamespace, symbol: str, dlls: set[str]) -> list[NearMiss]:
    """Names like it in the DLLs that should have it; the name itself elsewhere is among the exporters."""
    result: list[NearMiss] = []
    for module in ns.modules:
        if dlls and module.base_name not in dlls:
            continue
        try:
            names = [n.decode("utf-8", "surrogateescape") for n in exports(module.file).names()]
        except FormatError:
            continue
        lower = symbol.lower()
        result += [
            NearMiss(module.path, name, "differs in case only")
            for name in names
            if name.lower() == lower and name != symbol
        ]
        similar = difflib.get_close_matches(symbol, names, 5, 0.8) if dlls else []
        result += [
            NearMiss(module.path, name, "is spelled like it")
            for name in similar
            if name.lower() != lower
        ]
    return result[:50]


def why_library(ns: PeNamespace, name: str) -> WhyLibrary:
    """Who needs a DLL, and how it was found."""
    complete = ns.search.complete(name)
    base = complete.rpartition("/")[2].lower()
    module = ns.by_base.get(base) or ns.by_name.get(name)
    edges: list[tuple[PeModule, Edge]] = []
    for each in ns.modules:
        for table in (each.table, each.delayed):
            for edge in table.edges if table is not None else ():
                wanted = ns.search.complete(edge.descriptor.dll).lower()
                if wanted == base or (module is not None and edge.module is module):
                    edges.append((each, edge))
    error = next((e.error for _, e in edges if e.error is not None), None)
    chain: list[PeModule] = []
    at = module
    while at is not None:
        chain.insert(0, at)  # type: ignore[arg-type]
        at = at.loader
    near = []
    if module is None:
        known = {d.base_name: d.path for d in ns.modules}
        near = [NearMiss(known[n], n, "is loaded") for n in difflib.get_close_matches(base, known, 3, 0.8)]  # fmt: skip
        if error is None and not edges:
            from rtld.pe.faults import DllNotFound

            try:
                found = ns.search.find(complete, ns.main)
                near.append(NearMiss(found.path, base, f"would be found ({found.rule}), but nobody needs it"))  # fmt: skip
            except DllNotFound as problem:
                error = problem
    return WhyLibrary(complete, module, chain, edges, error, near, module is None and bool(edges or error))  # fmt: skip
