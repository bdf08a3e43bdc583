"""Side-by-side assemblies, as far as they say where a DLL is: the manifest's dependencies and files.

"Assembly Searching Sequence" (learn.microsoft.com): a private assembly NAME is a directory of that name, or a manifest
NAME.manifest, or NAME.dll with a manifest in it, beside the module that depends on it. XML entities and document types
have no place in a manifest and are refused, so that nothing can grow.
"""

from __future__ import annotations

import os
import xml.parsers.expat
from collections import namedtuple

from rtld.errors import FormatError

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


def private_files(directory: str, manifest: Manifest) -> dict[str, str]:
    """Base name in lower case -> path, of every DLL that the private assemblies of a manifest supply."""
    result: dict[str, str] = {}
    for identity in manifest.dependencies:
        assembly = identity.get("name", "")
        if not assembly or "/" in assembly or "\\" in assembly or assembly in (".", ".."):
            continue
        language = identity.get("language", "*")
        places = [directory, os.path.join(directory, assembly)]
        if language not in ("*", "", "neutral") and "/" not in language and "\\" not in language:
            places = [os.path.join(directory, language), os.path.join(directory, language, assembly), *places]  # fmt: skip
        for place in places:
            found = _assembly(place, assembly)
            if found is not None:
                for file in found.files:
                    base = file.replace("\\", "/").rpartition("/")[2]
                    result.setdefault(base.lower(), os.path.join(place, base))
                break
    return result


def _assembly(place: str, assembly: str) -> Manifest | None:
    path = os.path.join(place, f"{assembly}.manifest")
    try:
        with open(path, "rb") as file:
            return parse(file.read(1 << 20), path)
    except (OSError, FormatError):
        return None
