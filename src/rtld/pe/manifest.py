"""Side-by-side assemblies, as far as they say where a DLL is: the manifest's dependencies and files.

"Assembly Searching Sequence" (learn.microsoft.com): first the system's winsxs; then a private assembly NAME, which is NAME.dll with a
manifest in it or a manifest NAME.manifest, beside the module that depends on it or in a directory NAME there. XML entities and document types
have no place in a manifest and are refused, so that nothing can grow.
"""

from __future__ import annotations

import contextlib
import os
import xml.parsers.expat
from collections import namedtuple

from rtld.errors import FormatError
from rtld.pe.file import PeFile
from rtld.pe.resources import manifest as resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: What a manifest says: assemblies that it depends on (attributes of assemblyIdentity), and files that are its own.
Manifest = namedtuple("Manifest", "identity dependencies files")

_MAX_DEPTH = 64


def parse(data: bytes, name: str) -> Manifest:
    """A manifest's text. FormatError when it is no well-formed XML."""
    identity: dict[str, str] = {}
    dependencies: list[dict[str, str]] = []
    files: list[str] = []
    above: list[str] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        tag = tag.rpartition(" ")[2]
        if len(above) >= _MAX_DEPTH:
            raise FormatError(name, "manifest", "depth", len(above), f"at most {_MAX_DEPTH}")
        if tag == "assemblyIdentity":
            if "dependentAssembly" in above:
                dependencies.append(dict(attributes))
            elif not identity:
                identity.update(attributes)
        elif tag == "file" and "name" in attributes:
            files.append(attributes["name"])
        above.append(tag)

    def refuse(*_: Any) -> None:
        raise FormatError(name, "manifest", "document type", "present", "none")

    parser = xml.parsers.expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _tag: above.pop()
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data.strip(b"\0 \r\n\t"), True)
    except (xml.parsers.expat.ExpatError, LookupError, ValueError) as error:
        raise FormatError(name, "manifest", "XML", str(error), "a well-formed document") from None
    return Manifest(identity, tuple(dependencies), tuple(files))


def private_files(
    directory: str, manifest: Manifest, arch: str = "", windows: str = ""
) -> dict[str, str]:
    """Base name in lower case -> path, of every DLL that the assemblies of a manifest supply.

    *directory*: that of the module; *arch*: its CPU; *windows*: the system's directory, whose winsxs is asked first.
    """
    result: dict[str, str] = {}
    for identity in manifest.dependencies:
        assembly = identity.get("name", "")
        if not assembly or not _is_name(assembly):
            continue
        found = _shared(os.path.join(windows, "winsxs"), identity, arch) if windows else None
        if found is None:
            found = _private(directory, assembly, identity.get("language", "*"))
        if found is not None:
            place, names = found
            for file in names:
                base = file.replace("\\", "/").rpartition("/")[2]
                result.setdefault(base.lower(), os.path.join(place, base))
    return result


def _is_name(text: str) -> bool:
    """It leads to nowhere else."""
    return "/" not in text and "\\" not in text and "\0" not in text and text not in (".", "..")


def _private(directory: str, assembly: str, language: str) -> tuple[str, tuple[str, ...]] | None:
    """(directory, files) of an assembly beside the module."""
    places = [directory, os.path.join(directory, assembly)]
    if language not in ("*", "", "neutral") and _is_name(language):
        places = [os.path.join(directory, language), os.path.join(directory, language, assembly), *places]  # fmt: skip
    for place in places:
        found = _of_dll(place, assembly) or _of_file(os.path.join(place, f"{assembly}.manifest"))
        if found is not None:
            return place, found.files
    return None


def _of_file(path: str) -> Manifest | None:
    try:
        with open(path, "rb") as file:
            return parse(file.read(1 << 20), path)
    except (OSError, FormatError):
        return None


def _of_dll(place: str, assembly: str) -> Manifest | None:
    """The manifest in NAME.dll, whose files are that DLL where it names none."""
    path = os.path.join(place, f"{assembly}.dll")
    try:
        with contextlib.closing(PeFile(path)) as file:
            data = resource(file)
            if data is None:
                return None
            found = parse(data, path)
    except (OSError, FormatError):
        return None
    return found if found.files else found._replace(files=(f"{assembly}.dll",))


# -- winsxs ---------------------------------------------------------------------------------------

_ARCHITECTURES = {"x86_64": "amd64", "i386": "x86", "aarch64": "arm64", "arm": "arm"}


def _shared(winsxs: str, identity: dict[str, str], arch: str) -> tuple[str, tuple[str, ...]] | None:
    """(directory, files) of an assembly of the system: the same major and minor version, and the highest build from the one on that is wanted.

    Manifests are called ARCHITECTURE_NAME_TOKEN_VERSION_LANGUAGE_HASH (Wine 8, dlls/ntdll/actctx.c, lookup_manifest_file).
    """
    wanted = _version(identity.get("version", ""))
    if wanted is None:
        return None
    cpu = identity.get("processorArchitecture", "*").lower()
    cpu = _ARCHITECTURES.get(arch, arch) if cpu == "*" else cpu
    head = f"{cpu}_{identity['name']}_{identity.get('publicKeyToken', 'none')}_".lower()
    language = identity.get("language", "*").lower()
    language = "none" if language in ("*", "neutral", "") else language
    try:
        names = sorted(os.listdir(os.path.join(winsxs, "manifests")))
    except OSError:
        return None
    best: tuple[tuple[int, ...], str] | None = None
    for name in names:
        lower = name.lower()
        if not lower.startswith(head) or not lower.endswith(".manifest"):
            continue
        rest = lower[len(head) :].split("_")
        version = _version(rest[0])
        if version is None or len(rest) < 3 or rest[1] != language:
            continue
        if version[:2] != wanted[:2] or version < wanted or (best is not None and version <= best[0]):  # fmt: skip
            continue
        best = version, name
    if best is None:
        return None
    found = _of_file(os.path.join(winsxs, "manifests", best[1]))
    return None if found is None else (os.path.join(winsxs, best[1][: -len(".manifest")]), found.files)  # fmt: skip


def _version(text: str) -> tuple[int, ...] | None:
    """Four numbers."""
    parts = text.split(".")
    if len(parts) != 4 or not all(p.isascii() and p.isdigit() and len(p) < 6 for p in parts):
        return None
    return tuple(map(int, parts))
