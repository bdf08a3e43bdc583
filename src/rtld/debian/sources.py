"""Which archive: the entries of this machine's apt that are of its own distribution, or a mirror that was named.

sources.list(5): files of one-line entries (``.list``) and of paragraphs (``.sources``). Entries of other publishers are left
out: only suites named after the machine's own release are Debian's (``bookworm``, ``bookworm-updates``, ...).
"""

from __future__ import annotations

import os
from typing import NamedTuple

from rtld.debian.control import paragraphs
from rtld.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
MAIN = "http://deb.debian.org/debian"
#: Suites that have an architecture that the others have not (yet, or any more).
SUITES = {"riscv64": "trixie", "loong64": "sid", "mips64el": "bookworm"}


class Source(NamedTuple):
    """A suite of an archive. ``keyring``: the file with the keys that may sign it, "" for the usual one."""

    uri: str
    suite: str
    components: tuple[str, ...]
    keyring: str = ""


def chosen_sources(mirror: str | None, suite: str | None, etc: str = "/etc") -> list[Source]:
    """What was asked for, completed by what this machine uses. The first is the main one."""
    here = list(machine_sources(etc))
    if mirror is None and suite is None:
        if not here:
            raise NotFound(
                "apt sources", None, (), f"no Debian suite in {etc}/apt; give --mirror and --suite"
            )
        return here
    uri = mirror or (here[0].uri if here else MAIN)
    name = suite or (here[0].suite if here else "stable")
    keyring = next((source.keyring for source in here if source.uri == uri), "")
    if mirror is None:
        # The suite is one that this machine uses, too: with its updates.
        family = [
            source for source in here if source.suite == name or source.suite.startswith(f"{name}-")
        ]
        if family and family[0].suite == name:
            return family
    return [Source(uri.rstrip("/"), name, ("main",), keyring)]


def machine_sources(etc: str = "/etc") -> Iterator[Source]:
    """The suites of its own distribution that this machine's apt uses, the release itself first."""
    codename = _codename(etc)
    found: list[Source] = []
    for path in _files(etc):
        try:
            with open(path, encoding="utf-8", errors="replace") as stream:
                text = stream.read(1 << 20)
        except OSError:
            continue
        found += _paragraphs(text, path) if path.endswith(".sources") else _lines(text)
    mine = [
        s
        for s in found
        if "main" in s.components and (s.suite == codename or s.suite.startswith(f"{codename}-"))
    ]
    mine.sort(key=lambda source: source.suite != codename)
    return iter(dict.fromkeys(mine)) if codename else iter(())


def _codename(etc: str) -> str:
    try:
        with open(f"{etc}/os-release", encoding="utf-8", errors="replace") as stream:
            for line in stream:
                name, _, value = line.strip().partition("=")
                if name == "VERSION_CODENAME":
                    return value.strip("\"'")
    except OSError:
        pass
    return ""


def _files(etc: str) -> list[str]:
    folder = f"{etc}/apt/sources.list.d"
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        names = []
    return [
        f"{etc}/apt/sources.list",
        *(f"{folder}/{n}" for n in names if n.endswith((".list", ".sources"))),
    ]


def _lines(text: str) -> Iterator[Source]:
    """``deb [ option=value ... ] uri suite component ...``"""
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if not words or words[0] != "deb":
            continue
        keyring = ""
        rest = words[1:]
        if rest and rest[0].startswith("["):
            end = next((i for i, word in enumerate(rest) if word.endswith("]")), len(rest) - 1)
            for option in " ".join(rest[: end + 1]).strip("[]").split():
                if option.startswith("signed-by="):
                    keyring = option.partition("=")[2]
            rest = rest[end + 1 :]
        if len(rest) > 2:
            yield Source(rest[0].rstrip("/"), rest[1], tuple(rest[2:]), _keyring(keyring))


def _paragraphs(text: str, path: str) -> Iterator[Source]:
    for fields in paragraphs(text, path):
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in (
            "no",
            "false",
        ):
            continue
        components = tuple(fields.get("components", "").split())
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield Source(
                    uri.rstrip("/"), suite, components, _keyring(fields.get("signed-by", ""))
                )


def _keyring(value: str) -> str:
    """Signed-By may also be a key itself, or its fingerprint: then the usual keyring is used."""
    return value if value.startswith("/") and "\n" not in value else ""
