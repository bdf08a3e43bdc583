"""Are the versions there that modules require? (glibc elf/dl-version.c, FreeBSD rtld_verify_object_versions.)

musl, bionic and QNX do not look.
"""

from __future__ import annotations

import os

from rtld.core.module import Problem
from rtld.elf.models import MODELS
from rtld.elf.tables import tables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.core.module import Module, Namespace
    from rtld.elf.verneed import VersionNeed


def check_versions(ns: Namespace) -> None:
    """A problem for every required version that the module it is expected in does not define."""
    rules = MODELS[ns.model]
    if not (rules.unversioned or rules.absent):
        return
    providers: dict[bytes, Module | None] = {}
    defined: dict[Module, set[bytes]] = {}
    for module in ns.modules:
        for need in tables(module.file).needs:
            if need.file not in providers:
                found = ns.by_name.get(os.fsdecode(need.file))
                providers[need.file] = found if found is not None and found.index >= 0 else None
            provider = providers[need.file]
            if provider is None:
                continue
            names = defined.get(provider)
            if names is None:
                names = defined[provider] = {d.name for d in tables(provider.file).verdefs}
            if need.name not in names:
                if names or rules.unversioned == "tell":
                    _note(ns, module, provider, need, bool(names))
                else:
                    _note_undefined(ns, module, provider, need)
            ns.reporter.version(os.fsdecode(need.name), provider, module)


def _note_undefined(ns: Namespace, module: Module, provider: Module, need: VersionNeed) -> None:
    """FreeBSD: a library without versions has none that could be wanted, weak or not."""
    version = os.fsdecode(need.name)
    message = f"{provider.path}: version {version} required by {module.path} not defined"
    ns.problems.append(Problem("version", module.path, version, message, version=version))


def _note(
    ns: Namespace, module: Module, provider: Module, need: VersionNeed, has_versions: bool
) -> None:
    version = os.fsdecode(need.name)
    required = f"(required by {module.path})"
    if not has_versions:
        # Once for each version, as ld.so says it.
        kind = "no version information"
        message = f"{provider.path}: no version information available {required}"
        problem = Problem(kind, module.path, provider.path, message, False, version)
        ns.problems.append(problem)
        return
    weak = "weak " if need.weak else ""
    message = f"{provider.path}: {weak}version `{version}' not found {required}"
    problem = Problem(
        "version", module.path, version, message, fatal=not need.weak, version=version
    )
    ns.problems.append(problem)
