"""Which packages are needed (Debian Policy, chapter 7): Depends and Pre-Depends, alternatives, versions, virtual packages.

Recommends are left out, and so is Conflicts: what is wanted is a directory with files in it, not a system that is managed.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from rtld.debian.version import satisfies, version_key
from rtld.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from rtld.debian.archive import Index, Package

_RELATION = re.compile(
    r"\s*(?P<name>[A-Za-z0-9][A-Za-z0-9.+-]*)(?::[a-z0-9]+)?\s*(?:\(\s*(?P<relation><<|<=|>=|>>|=|<|>)\s*(?P<version>[^\s)]+)\s*\))?"
)


class Wish(NamedTuple):
    """One alternative of a dependency."""

    name: str
    relation: str
    version: str

    def met_by(self, version: str) -> bool:
        """Whether a package of that name with this version will do."""
        return not self.relation or satisfies(version, self.relation, self.version)

    def __str__(self) -> str:
        return f"{self.name} ({self.relation} {self.version})" if self.relation else self.name


class Missing(NotFound):
    """A package that nobody offers."""

    def __str__(self) -> str:
        by = f" (needed by {self.requester})" if self.requester else ""
        return f"package {self.name}{by}: {self.reason}"


def dependencies(field: str) -> list[list[Wish]]:
    """A Depends field: all of the list, one of each inner list."""
    result = []
    for clause in field.split(","):
        wishes = []
        for alternative in clause.split("|"):
            match = _RELATION.match(alternative)
            if match:
                wishes.append(Wish(match["name"], match["relation"] or "", match["version"] or ""))
        if wishes:
            result.append(wishes)
    return result


def close(
    names: Iterable[str],
    indices: Iterable[Index],
    installed: Mapping[str, str],
    near: Callable[[str], list[str]] | None = None,
) -> list[Package]:
    """The packages to be added for *names*, in the order they were met. *installed*: name -> version. Missing."""
    found = list(indices)
    chosen: dict[str, Package] = {}
    todo: list[tuple[list[Wish], str | None]] = []
    for name in names:
        base, equals, version = name.partition("=")
        todo.append(([Wish(base, "=" if equals else "", version)], None))
    at = 0
    while at < len(todo):
        wishes, by = todo[at]
        at += 1
        if any(_present(wish, chosen, installed) for wish in wishes):
            continue
        package = next((p for wish in wishes if (p := best(found, wish)) is not None), None)
        if package is None:
            raise _missing(wishes, by, found, near)
        if package.name in chosen:
            continue
        chosen[package.name] = package
        todo += [(needed, package.name) for needed in dependencies(package.depends)]
    return list(chosen.values())


def _present(wish: Wish, chosen: Mapping[str, Package], installed: Mapping[str, str]) -> bool:
    if wish.name in chosen:
        return wish.met_by(chosen[wish.name].version)
    if wish.name in installed:
        return wish.met_by(installed[wish.name])
    return any(_provides(package, wish) for package in chosen.values())


def _provides(package: Package, wish: Wish) -> bool:
    """Policy 7.5: a Provides without a version does not meet a wish with one."""
    for (given,) in (wishes[:1] for wishes in dependencies(package.provides)):
        if given.name == wish.name and (
            not wish.relation or (given.relation == "=" and wish.met_by(given.version))
        ):
            return True
    return False


def best(indices: Iterable[Index], wish: Wish) -> Package | None:
    """The newest package that meets the wish, else the most usual that provides it."""
    found = list(indices)
    real = [p for index in found for p in index.packages(wish.name) if wish.met_by(p.version)]
    if real:
        return max(real, key=lambda package: version_key(package.version))
    others = [p for index in found for p in index.providers(wish.name) if _provides(p, wish)]
    if not others:
        return None
    return max(others, key=lambda p: (p.rank, version_key(p.version), p.name))


def _missing(
    wishes: list[Wish],
    by: str | None,
    indices: list[Index],
    near: Callable[[str], list[str]] | None,
) -> Missing:
    words = " | ".join(map(str, wishes))
    versions = sorted(
        {p.version for index in indices for p in index.packages(wishes[0].name)}, key=version_key
    )
    if versions:
        return Missing(words, by, (), f"the archive has {', '.join(versions)}")
    import difflib

    names = {name for index in indices for name in index.names()}
    like = (
        near(wishes[0].name) if near else difflib.get_close_matches(wishes[0].name, names, 3, 0.75)
    )
    reason = "the archive does not have it"
    return Missing(
        words, by, (), f"{reason}; did you mean {' or '.join(like)}?" if like else reason
    )
