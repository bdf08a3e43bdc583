"""Modules: found, mapped, their imports bound, each dependency before the one that asked for it.

The order is that of Wine's ntdll (dlls/ntdll/loader.c): depth first, and *while* an import table is bound, since a
forwarder may lead to a DLL that is not loaded yet. What calls itself is a generator that yields the call; ``run`` drives
them, so that a chain of a thousand DLLs needs no deep Python stack.
"""

from __future__ import annotations

from collections import namedtuple

from rtld.core.module import Problem
from rtld.errors import FormatError, NoSpace
from rtld.pe import apiset
from rtld.pe.exports import exports, split_forwarder
from rtld.pe.faults import DllNotFound, ProcNotFound
from rtld.pe.imports import delay_imports, imports
from rtld.pe.module import HOW, Edge, PeModule, PeNamespace, Table
from rtld.pe.resources import manifest
from rtld.pe.search import SYSTEM, Candidate, Found
from rtld.pe.types import (
    DONT_RESOLVE_DLL_REFERENCES,
    IMAGE_DLLCHARACTERISTICS_NO_ISOLATION,
    IMAGE_FILE_RELOCS_STRIPPED,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from rtld.core.space import AddressSpace
    from rtld.pe.file import PeFile
    from rtld.pe.imports import Descriptor, Imports

    Task = Generator[Any, Any, Any]

#: What a function or forwarder is in the end: its module, index, RVA, and the forwarders on the way; or an error.
Target = namedtuple("Target", "module index rva chain error")
#: What a name led to: the module, the host of an API set, the exception instead.
Loaded = namedtuple("Loaded", "module host error")

_MAX_CHAIN = 64
_GRANULARITY = 0x10000  # images begin at multiples of 64 KiB


def run(task: Task) -> Any:
    """Drive a task and whatever it calls to its result."""
    stack = [task]
    value: Any = None
    while stack:
        try:
            called = stack[-1].send(value)
        except StopIteration as stop:
            stack.pop()
            value = stop.value
        else:
            stack.append(called)
            value = None
    return value


# -- modules --------------------------------------------------------------------------------------


def load_program(ns: PeNamespace, file: PeFile, path: str, space: AddressSpace) -> PeModule:
    """The program, or the DLL that takes its place; first in load order. Its imports wait."""
    ns.main = add_module(ns, PeModule(file, path), space)
    ns.main.references = -1
    return ns.main


def add_module(ns: PeNamespace, module: PeModule, space: AddressSpace) -> PeModule:
    """Give a module its place in load order and in memory."""
    module.index = len(ns.modules)
    ns.modules.append(module)
    ns.by_base.setdefault(module.base_name, module)
    ns.by_name[module.path] = module
    if module.file.identity is not None:
        ns.by_file[module.file.identity] = module
    place(ns, module, space)
    _read_manifest(ns, module)
    ns.reporter.module(module)
    return module


def place(ns: PeNamespace, module: PeModule, space: AddressSpace) -> None:
    """An address: the preferred one where that is free. Images without relocations have no other."""
    file = module.file
    try:
        module.base = space.reserve(file.span, _GRANULARITY, file.base)
    except NoSpace:
        if file.characteristics & IMAGE_FILE_RELOCS_STRIPPED:
            message = (
                f"{module.path}: {file.base:#x} is taken, and the image cannot be moved (error 487)"
            )
            ns.problems.append(Problem("relocation", module.path, "ImageBase", message))
            module.base = file.base
        else:
            module.base = space.reserve(file.span, _GRANULARITY)
    ns.reporter.placed(module)


def _read_manifest(ns: PeNamespace, module: PeModule) -> None:
    """The DLLs that side-by-side assemblies supply to this module (and, of the program, to everybody)."""
    if module.file.dll_characteristics & IMAGE_DLLCHARACTERISTICS_NO_ISOLATION:
        return
    try:
        data = manifest(module.file)
        if data is not None:
            from rtld.pe.manifest import parse, private_files

            directory = module.path.rpartition("/")[0]
            module.private = private_files(
                directory or ".",
                parse(data, module.path),
                module.file.arch,
                ns.windows.windows or "",
            )
    except FormatError as error:
        ns.problems.append(Problem("manifest", module.path, "manifest", str(error), False))


def load_dll(
    ns: PeNamespace,
    space: AddressSpace,
    name: str,
    requester: PeModule | None,
    flags: int = 0,
) -> Task:
    """Task: ``Loaded`` for a name as an import, a forwarder or LoadLibrary has it."""
    name = ns.search.complete(name)
    ns.reporter.searching(name, requester)
    tried: list[Candidate] = []
    host: str | None = None
    if apiset.is_api_set(name) and ns.windows.apisets is not None:
        host = ns.windows.apisets.resolve(name, requester.base_name if requester else "")
        if host is None:
            tried.append(Candidate(name, "api set", "missing", "not in the schema"))
        elif not host:
            tried.append(Candidate(name, "api set", "refused", "it has no host here"))
            return Loaded(None, "", DllNotFound(name, requester.path if requester else None, tried))
        else:
            tried.append(Candidate(host, "api set", "found", name))
            name = host
    found = _known(ns, name, requester, tried)
    if isinstance(found, PeModule):
        return Loaded(found, host, None)
    if found is None:
        try:
            found = ns.search.find(
                name, requester, flags or ns.load_flags, ns.load_directory, tried
            )
        except DllNotFound as error:
            return Loaded(None, host, error)
    for candidate in found.candidates:
        ns.reporter.candidate(candidate.path, candidate.rule, candidate.outcome)
    same = ns.by_file.get(found.file.identity) if found.file.identity is not None else None
    if same is not None:
        return Loaded(same, host, None)
    module = PeModule(found.file, found.path)
    module.found = found
    module.loader = requester
    module.load_flags = flags
    add_module(ns, module, space)
    if module.file.is_dll and not flags & DONT_RESOLVE_DLL_REFERENCES:
        yield bind_imports(ns, space, module)
    return Loaded(module, host, None)


def _known(
    ns: PeNamespace, name: str, requester: PeModule | None, tried: list[Candidate]
) -> PeModule | Found | None:
    """A module that is loaded, or a file that a side-by-side assembly has; None: the directories are asked."""
    if name.startswith(SYSTEM):
        return ns.by_name.get(name.removeprefix(SYSTEM).lower())  # type: ignore[return-value]
    if "/" in name:
        return None
    key = name.lower()
    for owner in (requester, ns.main):
        path = owner.private.get(key) if owner is not None else None
        if path is not None:
            try:
                return ns.search.find(path, owner, tried=tried)._replace(rule="side by side", owner=owner)  # fmt: skip
            except DllNotFound as error:
                tried[:] = error.candidates
    return ns.by_base.get(key)


# -- imports --------------------------------------------------------------------------------------


def bind_imports(ns: PeNamespace, space: AddressSpace, module: PeModule) -> Task:
    """Task: every import of a module gets its definition; DLLs that are needed for it are loaded."""
    if module.resolved:
        return
    module.resolved = True
    try:
        table = Table(imports(module.file))
    except FormatError as error:
        ns.problems.append(Problem("malformed", module.path, error.field, str(error)))
        return
    module.table = table
    for descriptor in table.imports.descriptors:
        yield _bind_descriptor(ns, space, module, table, descriptor)
    if ns.policies.delay == "eager":
        yield bind_delayed(ns, space, module)


def bind_delayed(ns: PeNamespace, space: AddressSpace, module: PeModule) -> Task:
    """Task: the same for the delay imports, as if all had been called."""
    try:
        table = Table(delay_imports(module.file))
    except FormatError as error:
        ns.problems.append(Problem("malformed", module.path, error.field, str(error), False))
        return
    module.delayed = table
    for descriptor in table.imports.descriptors:
        yield _bind_descriptor(ns, space, module, table, descriptor)


def _bind_descriptor(
    ns: PeNamespace, space: AddressSpace, module: PeModule, table: Table, descriptor: Descriptor
) -> Task:
    fatal = descriptor.delay is None
    if descriptor.count == 0:
        # Nothing is imported: the DLL is not even loaded (Wine).
        table.edges.append(Edge(descriptor, None, None, None))
        return
    loaded = yield load_dll(ns, space, descriptor.dll, module)
    table.edges.append(Edge(descriptor, loaded.module, loaded.host, loaded.error))
    target: PeModule | None = loaded.module
    if target is None:
        name = ns.search.complete(descriptor.dll)
        module.missing.append(name)
        ns.missing.setdefault(name, []).append((module, loaded.error))
        strict = ns.policies.unresolved == "strict" and fatal
        kind = "library" if fatal else "delay library"
        ns.problems.append(Problem(kind, module.path, name, str(loaded.error), strict))
        return
    if target not in module.needed:
        module.needed.append(target)
    yield _bind_rows(ns, space, module, table, descriptor, target)


def _bind_rows(
    ns: PeNamespace,
    space: AddressSpace,
    module: PeModule,
    table: Table,
    descriptor: Descriptor,
    target: PeModule,
) -> Task:
    """Each import of one descriptor: by hint, by search, by ordinal; forwarders are followed."""
    columns: Imports = table.imports
    first, last = descriptor.first, descriptor.first + descriptor.count
    try:
        exported = exports(target.file)
    except FormatError as error:
        ns.problems.append(Problem("malformed", target.path, error.field, str(error)))
        return
    functions, low, high = exported.functions, exported.rva, exported.rva + exported.size
    hints = columns.hint[first:last].tolist()
    ordinals = columns.ordinal[first:last].tolist()
    for row, hint, ordinal in zip(range(first, last), hints, ordinals, strict=True):
        index: int | None
        try:
            if ordinal >= 0:
                index, how = exported.by_ordinal(ordinal), "ordinal"
            else:
                name = columns.name(row)
                assert name is not None
                index, how = exported.by_name(name, hint) or (None, "")
        except FormatError as error:
            ns.problems.append(Problem("malformed", error.path, error.field, str(error)))
            continue
        if index is None:
            _missing(ns, module, table, row, target, descriptor, "")
            continue
        rva = functions.item(index)
        definer = target
        if low <= rva < high:
            end: Target = yield follow(ns, space, module, target, index)
            if end.error:
                _missing(ns, module, table, row, target, descriptor, end.error)
                continue
            definer, index, rva = end.module, end.index, end.rva
            table.chains[row] = end.chain
            for each in (*[passed for passed, _ in end.chain], definer):
                if each is not module and each not in module.needed and each not in module.forwarded:  # fmt: skip
                    module.forwarded.append(each)
        elif rva >= target.file.size_of_image:
            _missing(ns, module, table, row, target, descriptor, "is at an address outside of the image and so not usable, as it is exported")  # fmt: skip
            continue
        table.definer[row] = definer.index
        table.index[row] = index
        table.rva[row] = rva
        table.how[row] = HOW[how]


def symbol_text(columns: Imports, row: int) -> str:
    """The name that a row asks for, "#77" of an ordinal."""
    name = columns.name(row)
    return f"#{int(columns.ordinal[row])}" if name is None else name.decode("utf-8", "surrogateescape")  # fmt: skip


def _missing(
    ns: PeNamespace,
    module: PeModule,
    table: Table,
    row: int,
    target: PeModule,
    descriptor: Descriptor,
    reason: str,
) -> None:
    ordinal = table.imports.ordinal.item(row)
    symbol = symbol_text(table.imports, row)
    error = ProcNotFound(module.path, target.path, symbol, ordinal if ordinal >= 0 else None, reason)  # fmt: skip
    fatal = ns.policies.unresolved == "strict" and descriptor.delay is None
    kind = "symbol" if descriptor.delay is None else "delay symbol"
    ns.problems.append(Problem(kind, module.path, symbol, str(error), fatal))


def follow(
    ns: PeNamespace, space: AddressSpace, importer: PeModule | None, module: PeModule, index: int
) -> Task:
    """Task: the ``Target`` that a function index leads to, over as many forwarders as there are. Loops are cut."""
    key = module.index, index
    known = ns.forwards.get(key)
    if known is not None:
        return known
    chain: list[tuple[PeModule, str]] = []
    seen: set[tuple[int, int]] = set()
    error = ""
    rva = 0
    while not error:
        exported = exports(module.file)
        try:
            text = exported.forwarder(index)
        except FormatError as problem:
            error = f"is forwarded by a malformed text ({problem.expected} expected)"
            break
        if text is None:
            rva = exported.functions.item(index)
            break
        if (module.index, index) in seen or len(chain) >= _MAX_CHAIN:
            error = "is forwarded in a circle"
            break
        seen.add((module.index, index))
        shown = text.decode("utf-8", "surrogateescape")
        chain.append((module, shown))
        dll, name, ordinal = split_forwarder(text)
        count = len(ns.modules)
        loaded = yield load_dll(ns, space, dll, module)
        if loaded.module is None:
            error = f"is forwarded to {shown}, and {loaded.error}"
            break
        if importer is not None and len(ns.modules) > count and loaded.module not in importer.needed:  # fmt: skip
            importer.needed.append(loaded.module)
        found, error = _look_up(loaded.module, name, ordinal, shown)
        if not error:
            module, index = loaded.module, found
    result = Target(module, index, rva, tuple(chain), error)
    ns.forwards[key] = result
    return result


def _look_up(module: PeModule, name: bytes, ordinal: int | None, shown: str) -> tuple[int, str]:
    """(function index, "") of a forwarder's target, or (-1, what is wrong)."""
    try:
        exported = exports(module.file)
        if ordinal is not None:
            index = exported.by_ordinal(ordinal)
        else:
            index, _ = exported.by_name(name) or (None, "")
    except FormatError as problem:
        return -1, f"is forwarded to {shown}, and that file is malformed ({problem})"
    if index is None:
        return -1, f"is forwarded to {shown}, which is not exported there; it is not provided"
    return index, ""
