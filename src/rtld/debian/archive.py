"""One suite of an archive: its Release file, who signed it, and the packages it has for an architecture.

Release lists the hashes of all indices; the index of packages lists the hashes of all packages (DebianRepository/Format). So one
signature vouches for everything. The index is some 50 MB of text: only the paragraphs that are asked for are parsed.
"""

from __future__ import annotations

import gzip
import lzma
import os
import re
import subprocess
import tempfile
import time
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import quote

from rtld.debian.control import paragraph
from rtld.debian.fetch import Unreachable, Wanted
from rtld.debian.sources import KEYRING
from rtld.errors import FormatError, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.debian.fetch import Fetcher
    from rtld.debian.sources import Source

MOST_INDEX = 1 << 30  # bytes of an index, decompressed
_ARMOUR = "-----BEGIN PGP SIGNED MESSAGE-----"
_RANKS = {"optional": 1, "standard": 2, "important": 3, "required": 4}
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*\Z")


class Release(NamedTuple):
    """What a Release file says.

    all_included  the indices of an architecture also have the packages for every architecture ("all")
    signature     "verified", "not checked" (no gpgv or no keyring here) or "none"
    expired       its Valid-Until, if that is over
    """

    source: Source
    architectures: tuple[str, ...]
    by_hash: bool
    all_included: bool
    files: dict[str, tuple[str, int]]
    signature: str
    expired: str

    def url(self, name: str) -> str:
        """The address of one of its files."""
        return f"{self.source.uri}/dists/{self.source.suite}/{name}"


class Package(NamedTuple):
    """A package of an archive. ``depends``: Pre-Depends and Depends as they stand in its paragraph.

    ``rank``: its Priority as a number, the greater the more a system wants it.
    """

    name: str
    version: str
    architecture: str
    depends: str
    provides: str
    url: str
    size: int
    sha256: str
    installed_size: int
    rank: int


def fetch_release(
    fetcher: Fetcher, source: Source, *, trusted: bool = False, allow_expired: bool = False
) -> Release:
    """Release of a suite. FormatError, Unreachable; Unsupported when it is signed by nobody we know, or too old."""
    base = f"{source.uri}/dists/{source.suite}"
    url = f"{base}/InRelease"
    try:
        data = fetcher.small(url)
        text, signature = check_signature(data, url, source.keyring or KEYRING)
    except Unreachable as error:
        if error.status != 404:
            raise
        url = f"{base}/Release"
        data = fetcher.small(url)
        text, signature = _detached(fetcher, data, url, source.keyring or KEYRING)
    if signature == "none" and not trusted:
        raise Unsupported(f"{url}: the archive is not signed", "--trusted takes it all the same")
    release = parse_release(text, url, source, signature)
    if release.expired and not allow_expired:
        raise Unsupported(
            f"{url}: Valid-Until {release.expired} is over: the mirror does not follow the archive any more",
            "--allow-expired takes it all the same",
        )
    return release


def parse_release(text: str, url: str, source: Source, signature: str = "none") -> Release:
    """The text of a Release file. FormatError."""
    fields = paragraph(text, url, "Release")
    files: dict[str, tuple[str, int]] = {}
    for line in fields.get("sha256", "").splitlines():
        words = line.split()
        if not words:
            continue
        if len(words) != 3 or not words[1].isdecimal() or len(words[0]) != 64:
            raise FormatError(url, "Release", "SHA256", line[:100], "hash, size, name")
        files[words[2]] = words[0], int(words[1])
    if not files:
        raise FormatError(url, "Release", "SHA256", "missing", "the hashes of its indices")
    until = fields.get("valid-until", "")
    expired = until if until and _seconds(until, url) < time.time() else ""
    by_hash = fields.get("acquire-by-hash", "") == "yes"
    architectures = tuple(fields.get("architectures", "").split())
    apart = "all" in architectures and "Packages" not in fields.get(
        "no-support-for-architecture-all", ""
    )
    return Release(source, architectures, by_hash, not apart, files, signature, expired)


def _seconds(date: str, url: str) -> float:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError):
        raise FormatError(url, "Release", "Valid-Until", date, "a date") from None


# -- signatures -------------------------------------------------------------------------------------------


def check_signature(data: bytes, url: str, keyring: str) -> tuple[str, str]:
    """The text of an InRelease file that gpgv accepts, and how sure that is."""
    text = _decoded(data, url)
    if not text.startswith(_ARMOUR):
        return text, "none"
    body = _inside(text, url)
    with tempfile.NamedTemporaryFile(prefix="rtld-") as file:
        file.write(data)
        file.flush()
        return body, _gpgv(keyring, url, file.name)


def _detached(fetcher: Fetcher, data: bytes, url: str, keyring: str) -> tuple[str, str]:
    text = _decoded(data, url)
    try:
        signature = fetcher.small(f"{url}.gpg")
    except Unreachable:
        return text, "none"
    with (
        tempfile.NamedTemporaryFile(prefix="rtld-") as file,
        tempfile.NamedTemporaryFile(prefix="rtld-") as sign,
    ):
        file.write(data)
        file.flush()
        sign.write(signature)
        sign.flush()
        return text, _gpgv(keyring, url, sign.name, file.name)


def _gpgv(keyring: str, url: str, *files: str) -> str:
    """ "verified", or "not checked" where that is not possible. FormatError for a bad signature."""
    if not os.path.isfile(keyring):
        return "not checked"
    try:
        done = subprocess.run(
            ["gpgv", "--keyring", keyring, *files], capture_output=True, check=False, timeout=60
        )
    except (FileNotFoundError, PermissionError):
        return "not checked"
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise FormatError(
            url,
            "signature",
            "gpgv",
            said[-1] if said else f"status {done.returncode}",
            f"a good signature of {keyring}",
        )
    return "verified"


def _decoded(data: bytes, url: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise FormatError(url, "Release", "byte", error.start, "UTF-8") from None


def _inside(text: str, url: str) -> str:
    """The text that is signed (RFC 4880, 7): after the armour's headers, before the signature; "- " at the front of lines goes.

    There is exactly one such text and nothing around it, so that what gpgv checks is what is used.
    """
    head, blank, rest = text.partition("\n\n")
    body, mark, signature = rest.partition("\n-----BEGIN PGP SIGNATURE-----\n")
    tail = signature.partition("\n-----END PGP SIGNATURE-----")
    if (
        not blank
        or not mark
        or not tail[1]
        or tail[2].strip()
        or _ARMOUR in rest
        or head.count("\n-----")
    ):
        raise FormatError(
            url, "InRelease", "armour", "something else", "one signed text and its signature"
        )
    return "\n".join([line.removeprefix("- ") for line in body.split("\n")])


# -- the index of packages ----------------------------------------------------------------------------------


class Index:
    """The packages of one component for one architecture."""

    def __init__(self, text: bytes, path: str, base: str) -> None:
        self._text = text
        self._path = path
        self._base = base
        self._at: dict[str, list[int]] = {}
        for match in re.finditer(rb"^Package: *([^\s]+)", text, re.MULTILINE):
            self._at.setdefault(match[1].decode(errors="replace"), []).append(match.start())
        self._providers: dict[str, set[str]] | None = None

    def __len__(self) -> int:
        return len(self._at)

    def names(self) -> list[str]:
        """The names of all packages."""
        return list(self._at)

    def packages(self, name: str) -> list[Package]:
        """All versions of a package."""
        return [self._package(at) for at in self._at.get(name, ())]

    def providers(self, name: str) -> list[Package]:
        """Packages whose Provides has the name."""
        if self._providers is None:
            self._providers = {}
            for match in re.finditer(rb"^Provides: *(.+)$", self._text, re.MULTILINE):
                package = self._name_before(match.start())
                for word in match[1].decode(errors="replace").split(","):
                    self._providers.setdefault(word.split("(")[0].strip(), set()).add(package)
        return [
            package
            for other in sorted(self._providers.get(name, ()))
            for package in self.packages(other)
        ]

    def _name_before(self, at: int) -> str:
        start = self._text.rfind(b"\n\n", 0, at) + 2 if at else 0
        match = re.compile(rb"^Package: *([^\s]+)", re.MULTILINE).search(self._text, max(start, 0))
        return match[1].decode(errors="replace") if match else ""

    def _package(self, at: int) -> Package:
        start = self._text.rfind(b"\n\n", 0, at + 1) + 2 if at else 0
        end = self._text.find(b"\n\n", at)
        text = self._text[max(start, 0) : end if end >= 0 else len(self._text)].decode(
            errors="replace"
        )
        fields = paragraph(text, self._path, "Packages")
        name = fields.get("package", "")
        where = f"package {name}"
        for field in ("version", "architecture", "filename", "size", "sha256"):
            if field not in fields:
                raise FormatError(self._path, where, field.capitalize(), "missing", "a value")
        if not _SAFE.match(name):
            raise FormatError(self._path, where, "Package", name, "letters, digits, + - .")
        filename = fields["filename"].removeprefix("./")
        if filename.startswith("/") or ".." in filename.split("/"):
            raise FormatError(self._path, where, "Filename", filename, "a path inside the archive")
        depends = ", ".join(fields[f] for f in ("pre-depends", "depends") if f in fields)
        return Package(
            name, fields["version"], fields["architecture"], depends, fields.get("provides", ""),
            f"{self._base}/{quote(filename)}", _number(fields["size"], self._path, where), fields["sha256"].lower(),
            _number(fields.get("installed-size", "0"), self._path, where) << 10, _RANKS.get(fields.get("priority", ""), 0),
        )  # fmt: skip


def _number(text: str, path: str, where: str) -> int:
    if not text.isdecimal() or len(text) > 15:
        raise FormatError(path, where, "Size", text, "a number")
    return int(text)


def index_names(release: Release, architecture: str) -> list[str]:
    """The names of the indices of packages, compressed ones first, one for each component that has it."""
    names: list[str] = []
    for component in release.source.components:
        for kind in (architecture, "all"):
            base = f"{component}/binary-{kind}/Packages"
            found = next(
                (base + end for end in (".xz", ".gz", "") if base + end in release.files), None
            )
            # All of them hold the packages of no architecture, too, unless there is an index for those alone.
            if found and (kind == architecture or not release.all_included):
                names.append(found)
    return names


def wanted_index(release: Release, name: str) -> tuple[Wanted, str]:
    """A file that Release lists, and its other address; under its hash it cannot change while we look."""
    sha256, size = release.files[name]
    plain = release.url(name)
    hashed = release.url(f"{os.path.dirname(name)}/by-hash/SHA256/{sha256}")
    return (
        (Wanted(hashed, size, sha256), plain)
        if release.by_hash
        else (Wanted(plain, size, sha256), plain)
    )


def read_index(path: str, name: str, base: str, url: str) -> Index:
    """A downloaded index of packages. FormatError."""
    return Index(decompress_file(path, name, url), url, base)


def decompress_file(path: str, name: str, url: str) -> bytes:
    """The content of a file whose name says how it is compressed."""
    opener = lzma.open if name.endswith(".xz") else gzip.open if name.endswith(".gz") else open
    try:
        with opener(path, "rb") as stream:
            data: bytes = stream.read(MOST_INDEX + 1)
    except (lzma.LZMAError, gzip.BadGzipFile, EOFError, OSError) as error:
        raise FormatError(
            url, "compressed data", "content", str(error), "what the name says"
        ) from None
    if len(data) > MOST_INDEX:
        raise FormatError(url, "compressed data", "size", "more", f"at most {MOST_INDEX:#x}")
    return data
