"""Android's ld.config.txt: the linker namespaces of a process (bionic linker/linker_config.cpp, linker_namespaces.cpp).

"dir.SECTION = DIRECTORY" lines at the beginning choose the section of a program by where it lies; the section then has properties
of the namespace "default" and of the "additional.namespaces":

    namespace.NAME.search.paths       where libraries are looked for
    namespace.NAME.isolated           true: only files of the search paths and below the permitted ones may be loaded
    namespace.NAME.permitted.paths    with all that is below them
    namespace.NAME.allowed_libs       of an isolated one: last components, nothing else may be loaded
    namespace.NAME.links              namespaces that are asked for what is not found here, in order
    namespace.NAME.link.OTHER.shared_libs, .allow_all_shared_libs      for which DT_SONAMEs
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEFAULT = "default"
_ABIS = {62: "x86_64", 183: "arm64", 40: "arm", 3: "x86", 243: "riscv64"}
_SPACE = " \t\n\v\f\r"


class ConfigError(Exception):
    """Why a configuration is not used; bionic warns, and goes on without."""


class Link:
    """A namespace that is asked for some sonames, or (None) for all."""

    __slots__ = ("sonames", "to")

    def __init__(self, to: str, sonames: frozenset[str] | None) -> None:
        self.to = to
        self.sonames = sonames

    def passes(self, soname: str) -> bool:
        """Whether a library of this name may be taken from there."""
        return self.sonames is None or soname in self.sonames


class LinkerNamespace:
    """One namespace of a section."""

    __slots__ = ("allowed", "isolated", "links", "name", "permitted", "search")

    def __init__(self, name: str, properties: dict[str, str]) -> None:
        self.name = name
        prefix = f"namespace.{name}."
        get = properties.get
        self.isolated = get(prefix + "isolated") == "true"
        self.search = _split(get(prefix + "search.paths", ""))
        self.permitted = _split(get(prefix + "permitted.paths", ""))
        self.allowed = frozenset(_split(get(prefix + "allowed_libs", "")))
        self.links = []
        for other in _names(properties, prefix + "links"):
            everything = get(f"{prefix}link.{other}.allow_all_shared_libs") == "true"
            shared = get(f"{prefix}link.{other}.shared_libs", "")
            if everything == bool(shared):
                both = "both are set" if shared else "neither is set"
                raise ConfigError(
                    f"shared_libs and allow_all_shared_libs of the link {name}->{other}: {both}"
                )
            self.links.append(Link(other, None if everything else frozenset(_split(shared))))

    def accepts(self, path: str, more: list[str]) -> bool:
        """Whether a file may be loaded into it, by its real path; *more* are directories like those of ``search``."""
        if not self.isolated:
            return True
        directory, _, last = path.rpartition("/")
        if self.allowed and last not in self.allowed:
            return False
        if directory in self.search or directory in more:
            return True
        return any(path.startswith(f"{below.rstrip('/')}/") for below in self.permitted)


def config_paths(program: str, machine: int) -> list[str]:
    """Where the configuration of a program may be; the first that exists is it."""
    parts = program.split("/")
    paths = []
    if len(parts) >= 5 and parts[1] == "apex" and parts[3] == "bin":
        paths.append(f"/linkerconfig/{parts[2]}/ld.config.txt")
    if machine in _ABIS:
        paths.append(f"/system/etc/ld.config.{_ABIS[machine]}.txt")
    return [*paths, "/linkerconfig/ld.config.txt", "/system/etc/ld.config.txt"]


def parse(
    data: bytes, program: str, real: Callable[[str], str]
) -> dict[str, LinkerNamespace] | None:
    """The namespaces for *program* (a real path), by name; None: it is in no directory that is listed. ConfigError.

    *real* resolves a directory.
    """
    lines = _Lines(os.fsdecode(data))
    section = ""
    for kind, name, value in lines:
        if kind == "section":
            return None
        value = value.rstrip("/")
        chosen = kind == "=" and name.startswith("dir.") and value != ""
        if chosen and program.startswith(f"{real(value)}/"):
            section = name[4:]
            break
    else:
        return None
    if not any(kind == "section" and name == section for kind, name, _value in lines):
        raise ConfigError(f'section "{section}" not found')
    properties: dict[str, str] = {}
    for kind, name, value in lines:
        if kind == "section":
            break
        if kind == "=" or name not in properties:
            properties[name] = value
        elif name.endswith((".links", ".namespaces")):
            properties[name] += f",{value}"
        elif name.endswith((".paths", ".shared_libs")):
            properties[name] += f":{value}"
    names = dict.fromkeys([DEFAULT, *_names(properties, "additional.namespaces")])
    found = {name: LinkerNamespace(name, properties) for name in names}
    for namespace in found.values():
        for link in namespace.links:
            if link.to not in found:
                raise ConfigError(f"undefined namespace: {link.to}")
    return found


class _Lines:
    """(kind, name, value) of each line that says something: "section", "=", "+="; read once, by several loops."""

    def __init__(self, text: str) -> None:
        self._lines = iter(text.split("\n"))

    def __iter__(self) -> Iterator[tuple[str, str, str]]:
        for line in self._lines:
            text = line.partition("#")[0].strip(_SPACE)
            if text.startswith("[") and text.endswith("]"):
                yield "section", text[1:-1], ""
                continue
            sign = "+=" if "+=" in text else "="
            name, found, value = text.partition(sign)
            if found:
                yield sign, name.strip(_SPACE), value.strip(_SPACE)


def _split(text: str) -> list[str]:
    return [part for part in text.split(":") if part]


def _names(properties: dict[str, str], name: str) -> list[str]:
    """A property that lists names; [] when it is absent."""
    text = properties.get(name)
    return [] if text is None else [part.strip(_SPACE) for part in text.split(",")]
