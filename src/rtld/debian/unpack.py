"""The tar of a package into a directory that it cannot leave.

Refused: absolute names, "..", symbolic links that lead out, hard links to what is not inside, names below a link that leads
out; devices, FIFOs and sockets are refused, too: a sysroot has no use for them. Owners and set-ID bits are not kept.

The directory has merged /usr, whatever the package thinks: /bin, /sbin and /lib* are links into /usr (Debian since 12, UsrMerge).
Absolute symbolic links become relative ones, so that they lead to the same place for who does not treat the directory as root.
"""

from __future__ import annotations

import os
import shutil
import tarfile

from rtld.errors import FormatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.debian.deb import Stream

_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "libo32")
_MOST_MEMBERS = 1_000_000
_MOST_LINKS = 40
_SLACK = 1 << 26


class Tree:
    """A directory that packages are unpacked into."""

    def __init__(self, root: str) -> None:
        self.root = os.path.realpath(root)

    def merge(self, top: str) -> None:
        """Make /bin, /lib and so on links to their places in /usr."""
        place = os.path.join(self.root, top)
        if not os.path.lexists(place):
            os.makedirs(os.path.join(self.root, "usr", top), exist_ok=True)
            os.symlink(f"usr/{top}", place)

    def unpack(self, stream: Stream, path: str, size: int) -> list[str]:
        """All members; the names of files and links that are there now, relative to the root. FormatError.

        *size*: what the package says it takes.
        """
        stream.limit = 2 * size + _SLACK
        names: list[str] = []
        count = 0
        try:
            with tarfile.open(
                fileobj=stream, mode="r|", format=tarfile.GNU_FORMAT, errorlevel=2
            ) as tar:  # type: ignore[call-overload]
                for member in tar:
                    count += 1
                    if count > _MOST_MEMBERS:
                        raise FormatError(
                            path, "data.tar", "members", "more", f"at most {_MOST_MEMBERS}"
                        )
                    self._member(tar, member, path, names)
            stream.finish()
        except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
            raise FormatError(path, "data.tar", "member", str(error), "a tar archive") from None
        finally:
            stream.close()
        return names

    def _member(
        self, tar: tarfile.TarFile, member: tarfile.TarInfo, path: str, names: list[str]
    ) -> None:
        name = self._name(member.name, path)
        if not name:
            return
        if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
            kind = "a device" if member.isdev() else f"type {member.type!r}"
            raise FormatError(
                path, f"member {member.name}", "type", kind, "a file, directory or link"
            )
        parts = name.split("/")
        if len(parts) == 1 and parts[0] in _MERGED and member.isdir():
            self.merge(parts[0])
            return
        if len(parts) > 1 and parts[0] in _MERGED:
            self.merge(parts[0])
        elif len(parts) > 2 and parts[0] == "usr" and parts[1] in _MERGED:
            # The packages of Debian 13 know of it, and have no /lib.
            self.merge(parts[1])
        folder = self._directory(parts[:-1], path, member.name)
        place = os.path.join(folder, parts[-1])
        if member.isdir():
            self._make_directory(place, path, member.name)
            return
        if os.path.isdir(place) and not os.path.islink(place):
            raise FormatError(
                path, f"member {member.name}", "type", "a file", "a directory, as is there"
            )
        if member.issym():
            target = self._target(member, folder, path)
            _remove(place)
            os.symlink(target, place)
        elif member.islnk():
            self._link(member, place, path)
        else:
            self._file(tar, member, place, path)
        names.append(os.path.relpath(place, self.root))

    @staticmethod
    def _name(name: str, path: str) -> str:
        """A member's name without "./" in front; "" for the root itself."""
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if (
            name.startswith("/")
            or ".." in parts
            or "\0" in name
            or any(len(p.encode(errors="surrogateescape")) > 255 for p in parts)
        ):
            raise FormatError(path, "data.tar", "name", name[:200], "a path inside the package")
        return "/".join(parts)

    def _directory(self, parts: list[str], path: str, member: str) -> str:
        """The real directory of that name, made where it is missing; links in it are followed as long as they stay inside."""
        place = self.root
        todo = parts[::-1]
        links = 0
        while todo:
            part = todo.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if place == self.root:
                    raise FormatError(
                        path,
                        f"member {member}",
                        "name",
                        "leads out of the sysroot through a link",
                        "a place inside",
                    )
                place = os.path.dirname(place)
                continue
            next_place = os.path.join(place, part)
            if os.path.islink(next_place):
                links += 1
                target = os.readlink(next_place)
                if links > _MOST_LINKS or target.startswith("/"):
                    raise FormatError(
                        path,
                        f"member {member}",
                        "name",
                        f"goes through the link {part} -> {target}",
                        "a place inside",
                    )
                todo += target.split("/")[::-1]
                continue
            self._make_directory(next_place, path, member)
            place = next_place
        return place

    def _make_directory(self, place: str, path: str, member: str) -> None:
        try:
            os.mkdir(place)
        except FileExistsError:
            if os.path.islink(place) or os.path.isdir(place):
                return
            raise FormatError(
                path, f"member {member}", "type", "a directory", "a file, as is there"
            ) from None

    def _target(self, member: tarfile.TarInfo, folder: str, path: str) -> str:
        """What a symbolic link is to say. Absolute targets are those of the root."""
        target = member.linkname
        if not target or "\0" in target:
            raise FormatError(path, f"member {member.name}", "link", repr(target), "a path")
        here = os.path.relpath(folder, self.root).split("/") if folder != self.root else []
        depth = len(here)
        if target.startswith("/"):
            rest = os.path.normpath(target).strip("/")
            return "../" * depth + rest if rest or depth else "."
        for part in target.split("/"):
            depth += -1 if part == ".." else part not in ("", ".")
            if depth < 0:
                raise FormatError(
                    path, f"member {member.name}", "link", target, "a place inside the sysroot"
                )
        return target

    def _link(self, member: tarfile.TarInfo, place: str, path: str) -> None:
        parts = self._name(member.linkname, path).split("/")
        source = os.path.join(self._directory(parts[:-1], path, member.name), parts[-1])
        if os.path.islink(source) or not os.path.isfile(source):
            raise FormatError(
                path, f"member {member.name}", "hard link", member.linkname, "a file of the package"
            )
        if source == place:
            return
        _remove(place)
        try:
            os.link(source, place)
        except OSError:
            shutil.copyfile(source, place)

    @staticmethod
    def _file(tar: tarfile.TarFile, member: tarfile.TarInfo, place: str, path: str) -> None:
        content = tar.extractfile(member)
        if content is None:
            raise FormatError(path, f"member {member.name}", "content", "missing", "a file")
        _remove(place)
        fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with open(fd, "wb") as out:
            shutil.copyfileobj(content, out, 1 << 18)
            if out.tell() != member.size:
                raise FormatError(path, f"member {member.name}", "size", out.tell(), member.size)
        os.chmod(place, 0o755 if member.mode & 0o111 else 0o644)


def _remove(place: str) -> None:
    try:
        os.unlink(place)
    except FileNotFoundError:
        pass
