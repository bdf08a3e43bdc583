"""Making a sysroot, adding packages to it, listing them.

A sysroot is a directory with the files of packages and one file more, STATE: the architecture, where the packages came from,
and which ones are there. dpkg of this machine is neither asked nor told.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from rtld.debian.archive import Index, fetch_release, index_names, read_index, wanted_index
from rtld.debian.contents import libraries_file, packages_with
from rtld.debian.deb import Deb
from rtld.debian.depend import close
from rtld.debian.fetch import Fetcher, Unreachable, Wanted
from rtld.debian.sources import SUITES, Source, chosen_sources
from rtld.debian.unpack import Tree
from rtld.errors import FormatError, NotFound, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from rtld.debian.archive import Package, Release
    from rtld.events import Progress

STATE = ".rtld-sysroot.json"
FORMAT = 1
WORKERS = 4
MOST_STATE = 1 << 26

# fmt: off
#: Debian's name -> the CPU's name in rtld.arch.
ARCHITECTURES = {
    "amd64": "x86_64", "i386": "i386", "arm64": "aarch64", "armhf": "arm", "riscv64": "riscv64", "s390x": "s390x",
    "ppc64el": "ppc64le", "mips64el": "mips64el", "loong64": "loongarch64",
}
# fmt: on
#: What every sysroot has: the C and C++ libraries.
BASE = ("libc6", "libgcc-s1", "libstdc++6")


class Request(NamedTuple):
    """Where packages are to come from. None: as this machine's apt has it."""

    mirror: str | None = None
    suite: str | None = None
    trusted: bool = False
    allow_expired: bool = False
    cache: str | None = None


class Summary(NamedTuple):
    """What was done."""

    directory: str
    architecture: str
    cpu: str
    sources: list[dict[str, str]]
    added: list[dict[str, Any]]
    downloaded: int


class Archives:
    """The suites that offer an architecture, with their indices."""

    def __init__(
        self,
        architecture: str,
        request: Request,
        progress: Progress,
        sources: Iterable[Source] = (),
    ) -> None:
        if architecture not in ARCHITECTURES:
            near = next(
                (d for d, cpu in ARCHITECTURES.items() if cpu == architecture.replace("-", "_")), ""
            )
            hint = f"; Debian calls it {near}" if near else ""
            raise NotFound(
                architecture,
                None,
                (),
                f"no architecture of Debian's that rtld knows{hint}; there are {', '.join(ARCHITECTURES)}",
            )
        self.architecture = architecture
        self.request = request
        self.progress = progress
        self.fetcher = Fetcher(request.cache, progress.advance)
        self.releases = self._releases(
            list(sources) or chosen_sources(request.mirror, request.suite)
        )
        self._indices: list[Index] | None = None

    def _releases(self, sources: list[Source]) -> list[Release]:
        """Release files of the suites that have the architecture; the first must have it, or another suite is taken."""
        result: list[Release] = []
        for source in sources:
            try:
                release = self._release(source)
            except Unreachable as error:
                if not result:
                    raise
                self.progress.note(f"going on without {source.suite}: {error}")
                continue
            if self.architecture in release.architectures:
                result.append(release)
            elif result:
                self.progress.note(f"{source.suite} does not offer {self.architecture}")
            else:
                return [self._elsewhere(release)]
        return result

    def _elsewhere(self, release: Release) -> Release:
        source = release.source
        other = SUITES.get(self.architecture)
        if self.request.suite is None and other is not None and other != source.suite:
            self.progress.note(f"{source.suite} does not offer {self.architecture}; taking {other}")
            found = self._release(source._replace(suite=other))
            if self.architecture in found.architectures:
                return found
        offers = ", ".join(release.architectures)
        advice = (
            f"--suite {other}"
            if other and other != source.suite
            else "another --mirror or --suite may have it"
        )
        raise Unsupported(
            f"{source.uri} {source.suite} does not offer {self.architecture}; it offers {offers}",
            advice,
        )

    def _release(self, source: Source) -> Release:
        release = fetch_release(
            self.fetcher,
            source,
            trusted=self.request.trusted,
            allow_expired=self.request.allow_expired,
        )
        if release.signature == "not checked":
            self.progress.note(
                f"the signature of {source.uri} {source.suite} was not checked: no gpgv, or no keyring"
            )
        return release

    @property
    def indices(self) -> list[Index]:
        """The indices of packages."""
        if self._indices is None:
            wanted = [
                (release, name, *wanted_index(release, name))
                for release in self.releases
                for name in index_names(release, self.architecture)
            ]
            if not wanted:
                raise Unsupported(
                    "the archive has no index of packages that can be read (.xz, .gz or plain)"
                )
            self.progress.begin("indices", sum(each[2].size for each in wanted))
            self._indices = []
            for release, name, file, plain in wanted:
                try:
                    path = self.fetcher.get(file, plain)
                except (Unreachable, FormatError) as error:
                    if release is self.releases[0]:
                        raise
                    self.progress.note(f"going on without {release.source.suite}: {error}")
                    continue
                self._indices.append(read_index(path, name, release.source.uri, release.url(name)))
            self.progress.end()
        return self._indices

    def close(self, names: Iterable[str], installed: dict[str, str]) -> list[Package]:
        """What is to be added for these packages."""
        return close(names, self.indices, installed)

    def download(self, packages: list[Package]) -> list[str]:
        """The paths of their .debs in the cache, in the same order."""
        self.progress.begin("packages", sum(package.size for package in packages))
        with ThreadPoolExecutor(WORKERS) as pool:
            futures = [
                pool.submit(self.fetcher.get, Wanted(p.url, p.size, p.sha256)) for p in packages
            ]
            try:
                paths = [future.result() for future in futures]
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        self.progress.end()
        return paths

    def packages_with(self, names: Iterable[str]) -> dict[str, list[str]]:
        """Library -> packages that have it, in any suite."""
        result: dict[str, list[str]] = {name: [] for name in names}
        for release in self.releases:
            self.progress.begin("contents", 0)
            path = libraries_file(self.fetcher, release, self.architecture)
            self.progress.end()
            for name, found in result.items():
                found += [p for p in packages_with(path, name) if p not in found] if path else []
        return result


# -- what the commands do -----------------------------------------------------------------------------------


def create(
    architecture: str, directory: str, packages: Iterable[str], request: Request, progress: Progress
) -> Summary:
    """A new sysroot with the C library and these packages, and all they need."""
    if os.path.exists(os.path.join(directory, STATE)):
        raise FormatError(
            directory,
            "sysroot",
            "directory",
            "one that is there already",
            "a new one",
            "rtld sysroot add DIR PACKAGE... adds to it",
        )
    if os.path.isdir(directory) and os.listdir(directory):
        raise FormatError(directory, "sysroot", "directory", "not empty", "a new or empty one")
    if os.path.lexists(directory) and not os.path.isdir(directory):
        raise FormatError(directory, "sysroot", "directory", "a file", "a new or empty directory")
    archives = Archives(architecture, request, progress)
    chosen = archives.close([*BASE, *packages], {})
    sources = [release.source for release in archives.releases]
    state = {
        "format": FORMAT,
        "architecture": architecture,
        "sources": [source._asdict() for source in sources],
        "packages": {},
        "libraries": _libraries(archives),
    }
    return _install(archives, directory, state, chosen)


def add(directory: str, packages: Iterable[str], request: Request, progress: Progress) -> Summary:
    """More packages, from where the others came unless *request* says otherwise."""
    state = read_state(directory)
    sources = () if request.mirror or request.suite else _sources(state)
    archives = Archives(state["architecture"], request, progress, sources)
    installed = {name: entry["version"] for name, entry in state["packages"].items()}
    return _install(archives, directory, state, archives.close(packages, installed))


def which(
    where: str, names: Iterable[str], request: Request, progress: Progress
) -> dict[str, list[str]]:
    """Which packages have these libraries; *where*: a sysroot or an architecture. The answer is remembered in the cache."""
    if where in ARCHITECTURES and not os.path.isdir(where):
        return Archives(where, request, progress).packages_with(names)
    state = read_state(where)
    sources = () if request.mirror or request.suite else _sources(state)
    archives = Archives(state["architecture"], request, progress, sources)
    found = archives.packages_with(names)
    _write_state(where, {**state, "libraries": _libraries(archives)})
    return found


def _libraries(archives: Archives) -> list[str]:
    """The small files that say which package has a library, so that it is known later without the archive."""
    files = []
    for release in archives.releases:
        archives.progress.begin("contents", 0)
        try:
            path = libraries_file(archives.fetcher, release, archives.architecture)
        except (Unreachable, FormatError) as error:
            archives.progress.note(f"which packages have libraries is not known: {error}")
            path = None
        archives.progress.end()
        if path is not None:
            files.append(path)
    return files


def known_packages_with(directory: str, soname: str) -> list[str]:
    """Which packages have a library, as far as that is known without any archive: since ``create`` or ``which``."""
    try:
        state = read_state(directory)
    except (FormatError, NotFound, OSError):
        return []
    found: list[str] = []
    for path in state.get("libraries", ()):
        found += [name for name in packages_with(path, soname) if name not in found]
    return found


def advice_for(directory: str | None, soname: str) -> str | None:
    """What to do about a library that a sysroot does not have; None where the directory is none of ours."""
    if directory is None or not os.path.isfile(os.path.join(directory, STATE)):
        return None
    name = os.path.basename(soname)
    packages = known_packages_with(directory, name)
    if packages:
        return f"package {packages[0]} has {name}: rtld sysroot add {directory} {packages[0]}"
    return f"which package has {name}: rtld sysroot which {directory} {name}"


def _install(
    archives: Archives, directory: str, state: dict[str, Any], packages: list[Package]
) -> Summary:
    paths = archives.download(packages)
    os.makedirs(directory, exist_ok=True)
    tree = Tree(directory)
    archives.progress.begin("unpacking", sum(package.size for package in packages))
    added: list[dict[str, Any]] = []
    for package, path in zip(packages, paths, strict=True):
        with Deb(path) as deb:
            files = tree.unpack(deb.data(), package.url, package.installed_size)
        entry = {
            "version": package.version,
            "architecture": package.architecture,
            "sha256": package.sha256,
        }
        state["packages"][package.name] = {**entry, "files": len(files)}
        added.append({"package": package.name, **entry, "size": package.size, "files": len(files)})
        archives.progress.advance(package.size)
        _write_state(directory, state)
    archives.progress.end()
    _write_state(directory, state)
    return Summary(
        directory,
        archives.architecture,
        ARCHITECTURES[archives.architecture],
        [
            {"uri": r.source.uri, "suite": r.source.suite, "signature": r.signature}
            for r in archives.releases
        ],
        added,
        archives.fetcher.downloaded,
    )


# -- the state ------------------------------------------------------------------------------------------------


def read_state(directory: str) -> dict[str, Any]:
    """What a sysroot knows about itself. NotFound if it is none that rtld has made; FormatError."""
    path = os.path.join(directory, STATE)
    try:
        with open(path, encoding="utf-8") as stream:
            text = stream.read(MOST_STATE)
    except FileNotFoundError:
        raise NotASysroot(directory) from None
    try:
        state = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(
            path, "JSON", "text", str(error), "a document of rtld sysroot create"
        ) from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise FormatError(
            path,
            "JSON",
            "format",
            state.get("format") if isinstance(state, dict) else "no object",
            FORMAT,
        )
    packages, sources = state.get("packages"), state.get("sources")
    if state.get("architecture") not in ARCHITECTURES:
        raise FormatError(
            path, "JSON", "architecture", state.get("architecture"), ", ".join(ARCHITECTURES)
        )
    if not isinstance(packages, dict) or not all(
        isinstance(e, dict)
        and all(isinstance(e.get(f), str) for f in ("version", "architecture", "sha256"))
        for e in packages.values()
    ):
        raise FormatError(
            path, "JSON", "packages", "something else", "name -> version, architecture, sha256"
        )
    if not isinstance(sources, list) or not isinstance(state.get("libraries", []), list):
        raise FormatError(path, "JSON", "sources, libraries", "something else", "lists")
    return state


class NotASysroot(NotFound):
    """A directory that ``rtld sysroot create`` has not made."""

    def __init__(self, directory: str) -> None:
        super().__init__(
            directory, None, (), "not a sysroot that rtld has made (rtld sysroot create ARCH DIR)"
        )

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


def _sources(state: dict[str, Any]) -> list[Source]:
    result = []
    for entry in state["sources"]:
        try:
            uri, suite, components, keyring = (entry[name] for name in Source._fields)
            result.append(Source(str(uri), str(suite), tuple(map(str, components)), str(keyring)))
        except (TypeError, KeyError, ValueError):
            raise FormatError(
                STATE, "JSON", "sources", repr(entry)[:100], f"{', '.join(Source._fields)} of each"
            ) from None
    return result


def _write_state(directory: str, state: dict[str, Any]) -> None:
    path = os.path.join(directory, STATE)
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "w", encoding="utf-8") as out:
        json.dump(state, out, indent=1, sort_keys=True)
        out.write("\n")
    os.replace(temporary, path)
