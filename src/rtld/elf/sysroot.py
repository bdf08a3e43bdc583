"""Paths of another root directory: every component looked up inside it, symlinks too, as chroot(2) would.

What openat2(2) calls RESOLVE_IN_ROOT, done by walking: ".." of the root is the root, an absolute link starts at the
root again. Only reading; nothing is remembered but the directories already walked.
"""

from __future__ import annotations

import errno
import os

_MAX_LINKS = 40  # as the kernel: MAXSYMLINKS


class Sysroot:
    """A directory that stands for "/". ``outside`` is a directory of the computer itself that is visible in it too."""

    __slots__ = ("_known", "outside", "root")

    def __init__(self, root: str, outside: str | None = None) -> None:
        self.root = os.path.realpath(root)
        self.outside = outside
        self._known: dict[str, str] = {}

    def inside(self, path: str) -> str | None:
        """The name that a path of this computer has in the sysroot, or None when it lies elsewhere."""
        folder, name = os.path.split(os.path.abspath(path))
        real = os.path.join(os.path.realpath(folder), name)
        if self.root == "/":
            return real
        if real == self.root or real.startswith(self.root + "/"):
            return real[len(self.root) :] or "/"
        return None

    def host(self, path: str) -> str:
        """The place on this computer of ``path``, an absolute path of the sysroot, links followed. OSError if none."""
        if self.outside is not None and (path + "/").startswith(self.outside.rstrip("/") + "/"):
            return path
        folder, _, name = path.rpartition("/")
        if name in ("", ".", ".."):
            return self._walk(path, [0])
        base = self._known.get(folder)
        links = [0]
        if base is None:
            base = self._known[folder] = self._walk(folder, links)
        return self._step(base, name, links)

    def folder(self, path: str) -> str:
        """The directory of a file, links followed, by the name it has in the sysroot."""
        try:
            place = self.host(path)
        except OSError:
            place = self.root + path
        if self.outside is not None:
            return os.path.dirname(os.path.realpath(place))
        return os.path.dirname(place)[len(self.root.rstrip("/")) :] or "/"

    def _walk(self, path: str, links: list[int]) -> str:
        place = self.root
        for name in path.split("/"):
            if name in ("", "."):
                continue
            place = self._step(place, name, links)
        return place

    def _step(self, base: str, name: str, links: list[int]) -> str:
        """``name`` in the resolved directory ``base``; the result is no link and is inside the root."""
        if name == "..":
            return base if base == self.root else os.path.dirname(base)
        place = f"{base}/{name}" if base != "/" else "/" + name
        try:
            target = os.readlink(place)
        except OSError as error:
            if error.errno == errno.EINVAL:  # there, and no link
                return place
            raise
        links[0] += 1
        if links[0] > _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), place)
        place = self.root if target.startswith("/") else base
        for part in target.split("/"):
            if part not in ("", "."):
                place = self._step(place, part, links)
        return place
