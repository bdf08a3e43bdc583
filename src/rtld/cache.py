"""Images kept and checked: BeOS's way of starting programs. The first start links, later ones execute what was linked.

    KEY/NAME      the image; KEY is made of the program's path and of what its search for libraries depends on
    KEY/lock      held by the process that links; another one that comes meanwhile runs the original
    KEY/refused   why this program is not frozen, and the state of its file when that was found

An image that no longer fits is replaced, whole or not at all; one that runs meanwhile keeps its file. Nothing here needs
numpy unless something is linked.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import namedtuple

from rtld.elf.file import ElfFile
from rtld.errors import FormatError, RtldError
from rtld.frozen.manifest import is_current, read_manifest, stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

_VERSION = "1"  # of images: others have other keys

#: One program of the cache: key, program, image (None: refused, with the reason), bytes on disk, last use, is it current.
Entry = namedtuple("Entry", "key program image reason size used current")


def default_directory(env: Mapping[str, str] | None = None) -> str:
    """$RTLD_CACHE, else a directory below $XDG_CACHE_HOME or ~/.cache."""
    env = os.environ if env is None else env
    given = env.get("RTLD_CACHE")
    if given:
        return given
    base = env.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "rtld", "images")


class ImageCache:
    """A directory of images."""

    def __init__(self, directory: str | None = None) -> None:
        self.directory = directory or default_directory()

    # -- starting --------------------------------------------------------------------------------------

    def image_for(
        self, program: str, *, anyway: bool = False, told: Callable[[str], None] | None = None
    ) -> str | None:
        """What to execute for *program*: an image that is current, made now if there is none; None for the program itself.

        *anyway*: also for programs that gain nothing or may look for libraries in /proc/self/maps. *told* is given sentences for people.
        """
        program = os.path.abspath(program)
        place = os.path.join(self.directory, self.key(program))
        image = os.path.join(place, os.path.basename(program))
        if _fits(image, program):
            _note_use(place)
            return image
        if os.environ.get("LD_PRELOAD") or os.environ.get("LD_AUDIT"):
            return None
        if not anyway and _was_refused(place, program):
            return None
        return self._make(program, place, image, anyway, told or (lambda _text: None))

    def key(self, program: str) -> str:
        """What an image is found by."""
        import hashlib

        parts = [
            _VERSION,
            os.path.realpath(program),
            program,
            os.environ.get("LD_LIBRARY_PATH", ""),
        ]
        parts.append(os.environ.get("GLIBC_TUNABLES", ""))
        text = "\0".join(parts).encode("utf-8", "surrogateescape")
        return hashlib.blake2b(text, digest_size=16).hexdigest()

    def _make(
        self, program: str, place: str, image: str, anyway: bool, told: Callable[[str], None]
    ) -> str | None:
        import fcntl

        try:
            os.makedirs(place, mode=0o700, exist_ok=True)
            lock = os.open(
                os.path.join(place, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        except OSError as error:
            told(f"{program} is run as it is: {error}")
            return None
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return None  # somebody is linking it: no reason to wait
            if _fits(image, program):
                return image  # somebody has been
            try:
                _link(program, image, anyway)
            except (RtldError, OSError, MemoryError) as error:
                told(f"{program} is run as it is: {error}")
                if isinstance(error, RtldError):
                    _refuse(place, program, str(error))
                return None
            return image
        finally:
            os.close(lock)

    # -- looking after it ------------------------------------------------------------------------------

    def entries(self) -> Iterator[Entry]:
        """Everything that is kept, least recently used first."""
        found = []
        try:
            keys = os.listdir(self.directory)
        except FileNotFoundError:
            return
        for key in keys:
            entry = _entry(key, os.path.join(self.directory, key))
            if entry is not None:
                found.append(entry)
        yield from sorted(found, key=lambda entry: (entry.used, entry.key))

    def verify(self) -> Iterator[tuple[Entry, str]]:
        """Every image with what is wrong with it: "" for nothing."""
        from rtld.frozen.check import check_image

        for entry in self.entries():
            if entry.image is None:
                continue
            try:
                checked = check_image(entry.image)
            except (FormatError, OSError) as error:
                yield entry, str(error)
                continue
            stale = [file for file in checked.files if file.state != "same"]
            yield entry, checked.damage or (f"{stale[0].path}: {stale[0].state}" if stale else "")

    def collect(self, max_size: int | None = None) -> list[Entry]:
        """Remove what does not fit any more or is damaged, then the least recently used until at most *max_size* bytes are left."""
        removed = []
        kept = []
        bad = {entry.key for entry, wrong in self.verify() if wrong}
        for entry in self.entries():
            if entry.current and entry.key not in bad:
                kept.append(entry)
            elif self._remove(entry):
                removed.append(entry)
        total = sum(entry.size for entry in kept)
        for entry in kept if max_size is not None else []:
            if max_size is not None and total > max_size and self._remove(entry):
                total -= entry.size
                removed.append(entry)
        return removed

    def clear(self) -> list[Entry]:
        """Remove everything; images that run keep their files until they end."""
        return [entry for entry in self.entries() if self._remove(entry)]

    def _remove(self, entry: Entry) -> bool:
        """Take an entry away in one step, unless somebody is just making it."""
        import fcntl

        place = os.path.join(self.directory, entry.key)
        try:
            lock = os.open(
                os.path.join(place, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        except OSError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            gone = f"{place}.gone.{os.getpid()}"
            os.rename(place, gone)
        except OSError:
            return False
        finally:
            os.close(lock)
        shutil.rmtree(gone, ignore_errors=True)
        return True


def _fits(image: str, program: str) -> bool:
    """Whether there is an image, whole, of this program, and all its files are as they were."""
    manifest = _manifest(image)
    return manifest is not None and manifest["program"] == program and is_current(manifest)


def _manifest(image: str) -> dict[str, Any] | None:
    try:
        return read_manifest(ElfFile(image))
    except (OSError, FormatError):
        return None


def _note_use(place: str) -> None:
    try:
        os.utime(place)
    except OSError:
        pass  # a cache that cannot be written is still of use


def _link(program: str, image: str, anyway: bool) -> None:
    """Freeze into the cache. RtldError for what is never frozen; Unsupported for what would not find itself there."""
    from rtld.errors import Unsupported
    from rtld.frozen import freeze
    from rtld.frozen.whereabouts import reads_maps
    from rtld.process.link import find

    if not anyway:
        found = find(program)
        fused = [module for module in found.modules if not module.is_libc_family]
        asking = reads_maps(fused, _system_directories(found.namespace.arch.default_dirs))
        reason = ""
        if len(fused) == 1:
            reason = "it needs no libraries but libc's: there is nothing to gain"
        elif asking is not None:
            reason = f"it reads /proc/self/maps, where all libraries are one file ({asking.path})"
        if reason:
            raise Unsupported(reason, "--anyway makes an image all the same")
    freeze(program, image)


def _system_directories(names: Sequence[str]) -> set[str]:
    """Where libraries are that belong to no single program."""
    return {os.path.realpath(name) for name in names}


def _refuse(place: str, program: str, reason: str) -> None:
    state = stamp(program)
    text = json.dumps({"program": program, "reason": reason, "stamp": list(state)})
    temporary = os.path.join(place, f"refused.{os.getpid()}")
    with open(temporary, "w", encoding="utf-8", errors="surrogateescape") as stream:
        stream.write(text)
    os.replace(temporary, os.path.join(place, "refused"))


def _refusal(place: str) -> dict[str, Any] | None:
    try:
        with open(
            os.path.join(place, "refused"), encoding="utf-8", errors="surrogateescape"
        ) as stream:
            found = json.load(stream)
        return (
            found
            if isinstance(found, dict) and {"program", "reason", "stamp"} <= set(found)
            else None
        )
    except (OSError, ValueError):
        return None


def _was_refused(place: str, program: str) -> bool:
    """Whether it was found out already that this file is not to be frozen."""
    refusal = _refusal(place)
    try:
        return refusal is not None and refusal["stamp"] == list(stamp(program))
    except OSError:
        return False


def _entry(key: str, place: str) -> Entry | None:
    try:
        names = sorted(os.listdir(place))
        used = os.stat(place).st_mtime
    except OSError:
        return None
    for name in names:
        if name == "lock" or name.startswith("refused"):
            continue
        image = os.path.join(place, name)
        manifest = _manifest(image)
        size = os.stat(image).st_blocks * 512
        if manifest is None:
            return Entry(key, name, image, None, size, used, False)
        return Entry(key, manifest["program"], image, None, size, used, is_current(manifest))
    refusal = _refusal(place)
    if refusal is None:
        return None
    program = str(refusal["program"])
    return Entry(key, program, None, str(refusal["reason"]), 0, used, _was_refused(place, program))
