"""Which file of the host's a guest's name is: a walk that never leaves what was given.

A guest sees a tree: the root is the sysroot, or nothing; *binds* stand in it. Every step of a name is opened relative to the
step before, never through a symbolic link: links are read, and walked by us, from the guest's root. ".." goes back on our own
way. So whatever a guest, or somebody beside it, does to the tree meanwhile, no step leads outside.
"""

from __future__ import annotations

import errno
import os
import stat

from rtld.backends.emulated.linux.calls import failed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Self

LINKS = 40  # symbolic links in one name (MAXSYMLINKS)
_WALK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class Bind:
    """A host file or directory at a guest's path. *writable*: also to be changed."""

    __slots__ = ("guest", "host", "writable")

    def __init__(self, host: str, guest: str, writable: bool = True) -> None:
        self.host = os.path.abspath(host)
        self.guest = tuple(part for part in guest.split("/") if part)
        self.writable = writable


class Scratch(Bind):
    """An empty directory of the run's own; the host has it when somebody walks there first, and until ``remove``."""

    __slots__ = ("_path",)

    def __init__(self, guest: str) -> None:
        self._path = f"{_temporary()}/rtld-{os.urandom(12).hex()}"
        self.guest = tuple(part for part in guest.split("/") if part)
        self.writable = True

    @property
    def host(self) -> str:  # type: ignore[override]
        try:
            os.mkdir(self._path, 0o700)
        except FileExistsError:
            pass  # by this run: nobody else knows the name
        return self._path

    def remove(self) -> None:
        """With all that is in it."""
        if os.path.isdir(self._path):
            import shutil

            shutil.rmtree(self._path, ignore_errors=True)


class Place:
    """Where a name leads: ``name`` in the directory ``fd``; ``path``: the guest's name for it, absolute.

    ``name`` is never a symbolic link to be followed: operations on it are to be told so. Close it (``with place:``).
    """

    __slots__ = ("_fds", "exists", "fd", "name", "path", "slash", "writable")

    def __init__(self, fds: list[int], name: str, path: str, exists: bool, writable: bool) -> None:
        self._fds = fds
        self.fd = fds[-1]
        self.name = name
        self.path = path
        self.exists = exists
        self.writable = writable

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        for fd in self._fds:
            os.close(fd)
        self._fds = []


class Tree:
    """All that a guest can name."""

    def __init__(
        self, root: str | None, binds: Iterable[Bind] = (), *, writable: bool = True
    ) -> None:
        self.root = os.path.abspath(root) if root is not None else None
        self.writable = writable
        self.binds = {bind.guest: bind for bind in binds}
        # Directories that only lead to binds.
        self._above = {
            bind.guest[:n] for bind in self.binds.values() for n in range(len(bind.guest))
        }

    def guest_path(self, host: str) -> str | None:
        """The guest's name of a host path; None if it has none."""
        host = os.path.realpath(host)
        for bind in self.binds.values():
            if isinstance(bind, Scratch):
                continue
            real = os.path.realpath(bind.host)
            if host == real or host.startswith(real.rstrip("/") + "/"):
                return "/" + "/".join(bind.guest) + host[len(real.rstrip("/")) :]
        if self.root is not None:
            real = os.path.realpath(self.root)
            if host == real or host.startswith(real.rstrip("/") + "/"):
                return host[len(real.rstrip("/")) :] or "/"
        return None

    def find(self, path: str, base: str = "/", *, follow: bool = True) -> Place:
        """Walk *path* from the directory *base*; its last part need not exist. OSError as Linux has it."""
        if not path:
            raise failed(errno.ENOENT)
        if len(os.fsencode(path)) >= 4096:
            raise failed(errno.ENAMETOOLONG)
        walk = _Walk(self)
        try:
            return walk.run(path, base, follow)
        except BaseException:
            walk.close()
            raise


class _Walk:
    """One walk: directories on the way (open), their names, what is still to be walked."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.fds: list[int] = []
        self.names: list[str] = []
        self.rights: list[bool] = []
        self.links = 0
        self._restart()

    def close(self) -> None:
        for fd in self.fds:
            os.close(fd)
        self.fds = []

    def _restart(self) -> None:
        self.close()
        bind = self.tree.binds.get(())
        root = bind.host if bind is not None else self.tree.root
        self.fds = [nothing() if root is None else os.open(root, os.O_PATH | os.O_CLOEXEC)]
        self.names = []
        self.rights = [
            bind.writable if bind is not None else self.tree.writable and root is not None
        ]

    def run(self, path: str, base: str, follow: bool) -> Place:
        todo = path.split("/")
        if not path.startswith("/"):
            todo = base.split("/") + todo
        todo = [part for part in reversed(todo) if part not in ("", ".")]
        directory = path.endswith(("/", "/.")) or path == "."
        while todo:
            name = todo.pop()
            if name == "..":
                self._back()
                continue
            here = (*self.names, name)
            if here in self.tree.binds:
                self._enter_bind(here, name, bool(todo))
                continue
            try:
                fd = os.open(name, _WALK, dir_fd=self.fds[-1])
            except FileNotFoundError:
                if here in self.tree._above:
                    self._push(nothing(), name, False)
                    continue
                if todo and not all(part == ".." for part in todo):
                    raise
                if todo:
                    raise
                return self._place(name, False)
            mode = os.fstat(fd).st_mode
            if stat.S_ISLNK(mode) and (todo or follow or directory):
                self._link(fd, todo)
            elif stat.S_ISDIR(mode):
                self._push(fd, name, self.rights[-1])
            else:
                os.close(fd)
                if todo or directory:
                    raise failed(errno.ENOTDIR)
                return self._place(name, True)
        return self._directory()

    def _push(self, fd: int, name: str, writable: bool) -> None:
        self.fds.append(fd)
        self.names.append(name)
        self.rights.append(writable)

    def _back(self) -> None:
        if self.names:
            os.close(self.fds.pop())
            self.names.pop()
            self.rights.pop()

    def _link(self, fd: int, todo: list[str]) -> None:
        self.links += 1
        try:
            if self.links > LINKS:
                raise failed(errno.ELOOP)
            target = os.readlink("", dir_fd=fd)
        finally:
            os.close(fd)
        if target.startswith("/"):
            self._restart()
        todo += [part for part in reversed(target.split("/")) if part not in ("", ".")]

    def _enter_bind(self, here: tuple[str, ...], name: str, more: bool) -> None:
        bind = self.tree.binds[here]
        fd = os.open(
            bind.host, os.O_PATH | os.O_CLOEXEC
        )  # given by the user: his links are followed
        if more and not stat.S_ISDIR(os.fstat(fd).st_mode):
            os.close(fd)
            raise failed(errno.ENOTDIR)
        self.is_directory = stat.S_ISDIR(os.fstat(fd).st_mode)
        self._push(fd, name, bind.writable)

    is_directory = True  # what the last bind has led to

    def _place(self, name: str, exists: bool) -> Place:
        path = "/" + "/".join([*self.names, name])
        return Place(self._take(), name, path, exists, self.rights[-1])

    def _directory(self) -> Place:
        """The walk ended in a directory, or at a bound file."""
        path = "/" + "/".join(self.names)
        here = tuple(self.names)
        bind = self.tree.binds.get(here)
        if bind is not None and not self.is_directory:
            parent = os.open(os.path.dirname(os.path.realpath(bind.host)), os.O_PATH | os.O_CLOEXEC)
            self._back()
            self.fds.append(parent)
            return Place(
                self._take(),
                os.path.basename(os.path.realpath(bind.host)),
                path,
                True,
                bind.writable,
            )
        return Place(self._take(), ".", path, True, self.rights[-1])

    def _take(self) -> list[int]:
        fds, self.fds = self.fds, []
        return fds


def _temporary() -> str:
    """As mkdtemp of tempfile, which takes as long to import as all files of this directory."""
    return os.environ.get("TMPDIR") or "/tmp"  # noqa: S108


def nothing(flags: int = os.O_PATH) -> int:
    """An empty directory that nobody can put anything into: it has been removed."""
    path = os.path.join(_temporary(), f"rtld-{os.urandom(12).hex()}")
    os.mkdir(path, 0o700)
    fd = os.open(path, flags | os.O_DIRECTORY | os.O_CLOEXEC)
    os.rmdir(path)
    return fd
