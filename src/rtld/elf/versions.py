"""Are the versions there that modules require? (glibc elf/dl-version.c; musl does not look.)"""

from __future__ import annotations

from rtld.core.module import Problem
from rtld.elf.tables import tables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.core.module import Module, Namespace


def check_versions(ns: Namespace) -> None:
    """A problem for every required version that the module it is expected in does not define."""
    if ns.model == "musl":
        return
    defined: dict[Module, set[bytes] | None] = {}
    for module in ns.modules:
        for need in tables(module.file).needs:
            provider = ns.by_name.get(need.file.decode("utf-8", "surrogateescape"))
            if provider is None or provider.index < 0:
                continue
            if provider not in defined:
                definitions = tables(provider.file).verdefs
                defined[provider] = {d.name for d in definitions} if definitions else None
            names = defined[provider]
            version = need.name.decode("utf-8", "surrogateescape")
            ns.reporter.version(version, provider, module)
            if names is None:
                message = f"{provider.path}: no version information available (required by {module.path})"
                ns.problems.append(Problem("no version information", module.path, provider.path, message, fatal=False))
                # One message for each file that has none is what ld.so prints, not one for each version.
                defined[provider] = names = _Everything()
            elif need.name not in names:
                if need.weak:
                    message = f"{provider.path}: weak version `{version}' not found (required by {module.path})"
                else:
                    message = f"{provider.path}: version `{version}' not found (required by {module.path})"
                ns.problems.append(
                    Problem("version", module.path, version, message, fatal=not need.weak, version=version)
                )


class _Everything(set[bytes]):
    def __contains__(self, item: object) -> bool:
        return True
