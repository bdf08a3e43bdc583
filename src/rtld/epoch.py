"""One registry gives every library of a system its own address: so_locations of OSF/1 and IRIX.

Images that are made in an epoch (``rtld freeze --epoch``) have a library where the registry says, so that it is at the same
address in every program. Libraries that many programs use come first, so that most images stay small in extent. A file that
is updated has lost its place: it, and the programs that use it, are out of the epoch; for all others nothing changes.
"""

from __future__ import annotations

import json
import os
import secrets
from collections import Counter, namedtuple

from rtld.core.space import page_up
from rtld.elf.file import ElfFile
from rtld.elf.types import ET_DYN, ET_EXEC
from rtld.errors import FormatError, RtldError
from rtld.frozen.manifest import stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

_VERSION = 1
_MACHINE = 62  # x86-64: what images are made for
#: Room below the libraries for each image's own program and headers.
ROOM = 1 << 28
#: Default directories of programs.
DIRECTORIES = ("/usr/bin", "/usr/sbin")

#: One library: path, as it was (ino, size, ctime_ns), address of its first page, bytes, how many programs use it.
Place = namedtuple("Place", "path ino size ctime_ns address extent users")
#: What has become of an epoch: places, those that have changed, programs that use one of these.
Status = namedtuple("Status", "places changed ended programs")


def default_path(env: Mapping[str, str] | None = None) -> str:
    """$RTLD_EPOCH, else a file below $XDG_STATE_HOME or ~/.local/state."""
    env = os.environ if env is None else env
    base = env.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return env.get("RTLD_EPOCH") or os.path.join(base, "rtld", "epoch.json")


class Epoch:
    """places by path; programs: path -> paths of the libraries it uses."""

    def __init__(self, places: dict[str, Place], programs: dict[str, list[str]]) -> None:
        self.places = places
        self.programs = programs

    # -- made and kept ---------------------------------------------------------------------------------

    @classmethod
    def build(
        cls,
        directories: Iterable[str] = DIRECTORIES,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> Epoch:
        """Look at all programs and libraries below *directories*, and give every library its address."""
        told = progress or (lambda _what, _done, _total: None)
        files = sorted(set(_elf_files(directories)))
        programs: dict[str, list[str]] = {}
        users: Counter[str] = Counter()
        for number, path in enumerate(files):
            told("looking at programs", number, len(files))
            used = _libraries(path)
            if used is None:
                users[path] += 0  # a library: it has an address even if nobody here uses it
            else:
                programs[path] = used
                users.update(used)
        places: dict[str, Place] = {}
        at = (1 << 45) + (secrets.randbelow(1 << 44) & -4096) + ROOM
        for path, count in sorted(users.items(), key=lambda item: (-item[1], item[0])):
            try:
                low, high = ElfFile(path).span
                state = stamp(path)
            except (OSError, FormatError):
                continue
            extent = page_up(high) - low
            places[path] = Place(path, state.ino, state.size, state.ctime_ns, at, extent, count)
            at += extent
        return cls(places, programs)

    @classmethod
    def load(cls, path: str | None = None) -> Epoch | None:
        """The epoch of the registry at *path*; None if there is none. FormatError."""
        path = path or default_path()
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as stream:
                text = stream.read()
        except FileNotFoundError:
            return None
        try:
            found = json.loads(text)
            if found["version"] != _VERSION:
                raise FormatError(path, "registry", "version", found["version"], _VERSION)
            places = {row[0]: _place(row) for row in found["places"]}
            programs = {
                str(name): [str(p) for p in used] for name, used in found["programs"].items()
            }
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise FormatError(
                path,
                "registry",
                "content",
                f"unreadable ({error})",
                "what rtld epoch build has written",
            ) from None
        return cls(places, programs)

    def save(self, path: str | None = None) -> str:
        """Write the registry, whole or not at all; its path."""
        path = path or default_path()
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        body = {
            "version": _VERSION,
            "places": [list(place) for place in self.places.values()],
            "programs": self.programs,
        }
        temporary = f"{path}.{os.getpid()}"
        with open(temporary, "w", encoding="utf-8", errors="surrogateescape") as stream:
            json.dump(body, stream, separators=(",", ":"))
        os.replace(temporary, path)
        return path

    # -- used --------------------------------------------------------------------------------------------

    def addresses(self) -> dict[str, int]:
        """path -> address, of the libraries that are what they were."""
        return {path: place.address for path, place in self.places.items() if _is_same(place)}

    def status(self) -> Status:
        """What has changed, and whom that concerns."""
        changed = {path for path, place in self.places.items() if not _is_same(place)}
        ended = sorted(name for name, used in self.programs.items() if not changed.isdisjoint(used))
        return Status(len(self.places), sorted(changed), ended, len(self.programs))


def _place(row: list[object]) -> Place:
    """A row of the registry. TypeError for another kind of thing than is written."""
    place = Place(*row)
    if not isinstance(place.path, str) or not all(isinstance(v, int) and v >= 0 for v in place[1:]):
        raise TypeError(f"the place of {place.path!r}")
    return place


def _is_same(place: Place) -> bool:
    try:
        found = stamp(place.path)
    except OSError:
        return False
    return (found.ino, found.size, found.ctime_ns) == (place.ino, place.size, place.ctime_ns)


def _elf_files(directories: Iterable[str]) -> Iterator[str]:
    for directory in directories:
        for base, _names, files in os.walk(directory, onerror=_complain):
            for name in files:
                path = os.path.join(base, name)
                if os.path.islink(path):
                    continue
                try:
                    with open(path, "rb") as stream:
                        if stream.read(4) == b"\x7fELF":
                            yield path
                except OSError:
                    continue


def _complain(error: OSError) -> None:
    raise error


def _libraries(path: str) -> list[str] | None:
    """Paths of the libraries that a program's image would have; None for what is no program."""
    from rtld.process.link import find

    try:
        file = ElfFile(path)
        if (file.machine, file.bits) != (_MACHINE, 64) or file.type not in (ET_EXEC, ET_DYN):
            return []
        if file.interp is None:
            return None if file.dynamic is not None else []
        modules = find(path).modules[1:]
    except (OSError, RtldError):
        return []
    return [os.path.abspath(m.path) for m in modules if not m.is_libc_family]
