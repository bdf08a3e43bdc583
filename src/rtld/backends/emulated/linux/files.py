"""Names: open, stat, directories, links. Every name goes through ``tree``, which keeps a guest within what it was given."""

from __future__ import annotations

import errno
import os
import stat

from rtld.backends.emulated.linux.calls import Sleep, failed, int32
from rtld.backends.emulated.linux.io import O_CLOEXEC, Io
from rtld.backends.emulated.linux.proc import MAGIC, Proc
from rtld.backends.emulated.linux.status import pack_stat, pack_statfs, pack_statx

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.backends.emulated.linux.tree import Place, Tree

AT_FDCWD, AT_SYMLINK_NOFOLLOW, AT_REMOVEDIR, AT_SYMLINK_FOLLOW, AT_EMPTY_PATH = (
    -100,
    0x100,
    0x200,
    0x400,
    0x1000,
)
UTIME_NOW, UTIME_OMIT = 0x3FFFFFFF, 0x3FFFFFFE
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
MODES = 0o1777  # no set-ID bits: a guest's file is not to run with the rights of who runs the guest
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Files(Io):
    """Names. ``tree`` is None for a program that has no files at all."""

    tree: Tree | None = None
    cwd = "/"
    executable = ""  # the guest's path of the program
    listings: dict[
        int, list[tuple[int, int, bytes]]
    ]  # directories being read: what is left of them

    def set_tree(self, tree: Tree | None, cwd: str = "/") -> None:
        self.tree = tree
        self.cwd = cwd
        self.proc = Proc(self)

    # -- walking ------------------------------------------------------------------------------------

    def name(self, address: int) -> str:
        return os.fsdecode(self.string(address))

    def base(self, dirfd: int) -> str:
        """The directory that a relative name begins at."""
        number = int32(dirfd)
        if number == AT_FDCWD:
            return self.cwd
        host = self.host(number)
        if not stat.S_ISDIR(os.fstat(host).st_mode):
            raise failed(errno.ENOTDIR)
        found = self.names.get(number)
        if found is None:
            raise failed(errno.ENOTDIR)
        return found

    def at(self, dirfd: int, path: str, *, follow: bool = True, write: bool = False) -> Place:
        """Walk to a name. *write*: it is going to be changed."""
        if self.tree is None:
            raise failed(errno.ENOENT)
        place = self.tree.find(
            path, "/" if path.startswith("/") else self.base(dirfd), follow=follow
        )
        if write and not place.writable:
            place.close()
            raise failed(errno.EROFS)
        return place

    # -- open ---------------------------------------------------------------------------------------

    def sys_openat(self, dirfd: int, path: int, flags: int, mode: int, *_: int) -> int:
        return self.open(dirfd, self.name(path), self.host_flags(flags), mode)

    def sys_open(self, path: int, flags: int, mode: int, *_: int) -> int:
        return self.open(AT_FDCWD, self.name(path), self.host_flags(flags), mode)

    def sys_creat(self, path: int, mode: int, *_: int) -> int:
        return self.open(AT_FDCWD, self.name(path), os.O_CREAT | os.O_WRONLY | os.O_TRUNC, mode)

    def open(self, dirfd: int, path: str, flags: int, mode: int = 0) -> int:
        """What openat does, with names and flags of the host's."""
        host, name, fixed = self.open_host(dirfd, path, flags, mode)
        if fixed:
            self.fixed.add(host)
        return self.add(host, cloexec=bool(flags & O_CLOEXEC), name=name)

    def open_host(self, dirfd: int, path: str, flags: int, mode: int = 0) -> tuple[int, str, bool]:
        """(host's descriptor, guest's path, whether the file is not the guest's to change: ``fixed``)."""
        if self.tree is None:
            raise failed(errno.ENOENT)
        special, path = self.proc.special(dirfd, path)
        made = self.proc.open(special, flags)
        if made is not None:
            return made
        follow = (
            not flags & os.O_NOFOLLOW and flags & (os.O_CREAT | os.O_EXCL) != os.O_CREAT | os.O_EXCL
        )
        with self.at(dirfd, path, follow=follow, write=bool(flags & _WRITES)) as place:
            host = self._open_at(place, flags, mode & ~self.umask & MODES)
            return host, place.path, not place.writable

    def _open_at(self, place: Place, flags: int, mode: int) -> int:
        """The host is never to wait, as it does with pipes that have a name: nothing else would go on here."""
        wanted = flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY
        if flags & (os.O_NONBLOCK | os.O_PATH):
            return os.open(place.name, wanted, mode, dir_fd=place.fd)
        try:
            host = os.open(place.name, wanted | os.O_NONBLOCK, mode, dir_fd=place.fd)
        except OSError as error:
            if error.errno == errno.ENXIO:
                found = os.stat(place.name, dir_fd=place.fd, follow_symlinks=False)
                if stat.S_ISFIFO(found.st_mode):
                    import time

                    raise Sleep(deadline=time.monotonic() + 0.01) from None  # nobody reads yet
            raise
        os.set_blocking(host, True)
        return host

    umask = 0o22

    # -- stat ---------------------------------------------------------------------------------------

    def _stat(self, dirfd: int, path: str, flags: int) -> os.stat_result:
        if not path:
            if not flags & AT_EMPTY_PATH:
                raise failed(errno.ENOENT)
            if int32(dirfd) != AT_FDCWD:
                return self._stat_open(dirfd)
            path = "."
        follow = not flags & AT_SYMLINK_NOFOLLOW
        special, path = self.proc.special(dirfd, path)
        made = self.proc.stat(special, follow)
        if made is not None:
            return made
        with self.at(dirfd, path, follow=follow) as place:
            return os.stat(place.name, dir_fd=place.fd, follow_symlinks=False)

    def stat_of(self, path: str) -> os.stat_result:
        """What stat says of a guest's path."""
        return self._stat(AT_FDCWD, path, 0)

    def _stat_open(self, fd: int) -> os.stat_result:
        host = self.host(fd)
        if host in self.fixed and self.name_of(fd).startswith("/proc"):
            made = self.proc.stat(self.proc.special(AT_FDCWD, self.name_of(fd))[0], True)
            if made is not None:
                return made
        return os.fstat(host)

    def _give_stat(self, address: int, found: os.stat_result) -> int:
        self.put(address, pack_stat(self.cpu.name, self.cpu.order, found))
        return 0

    def sys_newfstatat(self, dirfd: int, path: int, result: int, flags: int, *_: int) -> int:
        return self._give_stat(result, self._stat(dirfd, self.name(path), flags))

    sys_fstatat64 = sys_newfstatat

    def sys_stat(self, path: int, result: int, *_: int) -> int:
        return self._give_stat(result, self._stat(AT_FDCWD, self.name(path), 0))

    def sys_lstat(self, path: int, result: int, *_: int) -> int:
        return self._give_stat(result, self._stat(AT_FDCWD, self.name(path), AT_SYMLINK_NOFOLLOW))

    def sys_fstat(self, fd: int, result: int, *_: int) -> int:
        return self._give_stat(result, self._stat_open(fd))

    sys_stat64, sys_lstat64, sys_fstat64 = sys_stat, sys_lstat, sys_fstat

    def sys_statx(self, dirfd: int, path: int, flags: int, _mask: int, result: int, *_: int) -> int:
        found = self._stat(dirfd, self.name(path) if path else "", flags)
        self.put(result, pack_statx(self.cpu.order, found))
        return 0

    def _statfs(self, path: str, result: int, host: int = -1, *, wide: bool) -> int:
        """Of a name, or of the descriptor *host* that has it."""
        special, path = self.proc.special(AT_FDCWD, path)
        if self.proc.is_made(special):
            made = os.statvfs_result((4096, 4096, 0, 0, 0, 0, 0, 0, 0, 255))
            data = pack_statfs(self.cpu.name, self.cpu.order, made, wide=wide, kind=MAGIC)
        else:
            if host < 0:
                with self.at(AT_FDCWD, path) as place:
                    found = os.fstatvfs(place.fd)
            else:
                found = os.fstatvfs(host)
            data = pack_statfs(self.cpu.name, self.cpu.order, found, wide=wide)
        self.put(result, data)
        return 0

    def sys_statfs(self, path: int, result: int, *_: int) -> int:
        return self._statfs(self.name(path), result, wide=False)

    def sys_fstatfs(self, fd: int, result: int, *_: int) -> int:
        return self._statfs(self.name_of(fd), result, self.host(fd), wide=False)

    def sys_statfs64(self, path: int, _size: int, result: int, *_: int) -> int:
        return self._statfs(self.name(path), result, wide=True)

    def sys_fstatfs64(self, fd: int, _size: int, result: int, *_: int) -> int:
        return self._statfs(self.name_of(fd), result, self.host(fd), wide=True)

    def _access(self, dirfd: int, path: str, mode: int, flags: int) -> int:
        special, path = self.proc.special(dirfd, path)
        made = self.proc.stat(special, True)
        if made is not None:
            if mode & os.W_OK and stat.S_IFMT(made.st_mode) in (stat.S_IFREG, stat.S_IFDIR):
                raise failed(errno.EACCES)
            return 0
        with self.at(dirfd, path, follow=not flags & AT_SYMLINK_NOFOLLOW) as place:
            if not place.exists:
                raise failed(errno.ENOENT)
            if mode & os.W_OK and not place.writable:
                raise failed(errno.EROFS)
            # What the host itself may do; links have been followed already.
            if not os.access(place.name, mode & 7, dir_fd=place.fd, follow_symlinks=False):
                raise failed(errno.EACCES)
        return 0

    def sys_faccessat(self, dirfd: int, path: int, mode: int, *_: int) -> int:
        return self._access(dirfd, self.name(path), mode, 0)

    def sys_faccessat2(self, dirfd: int, path: int, mode: int, flags: int, *_: int) -> int:
        return self._access(dirfd, self.name(path), mode, flags)

    def sys_access(self, path: int, mode: int, *_: int) -> int:
        return self._access(AT_FDCWD, self.name(path), mode, 0)

    def sys_readlinkat(self, dirfd: int, path: int, buffer: int, size: int, *_: int) -> int:
        name = self.name(path)
        special, name = self.proc.special(dirfd, name)
        target = self.proc.readlink(special)
        if target is None:
            with self.at(dirfd, name or ".", follow=False) as place:
                target = os.readlink(place.name, dir_fd=place.fd)
        data = os.fsencode(target)[:size]
        self.put(buffer, data)
        return len(data)

    def sys_readlink(self, path: int, buffer: int, size: int, *_: int) -> int:
        return self.sys_readlinkat(AT_FDCWD, path, buffer, size)

    # -- directories --------------------------------------------------------------------------------

    def sys_getcwd(self, buffer: int, size: int, *_: int) -> int:
        data = os.fsencode(self.cwd) + b"\0"
        if len(data) > size:
            raise failed(errno.ERANGE)
        self.put(buffer, data)
        return len(data)

    def _go(self, path: str) -> int:
        special, path = self.proc.special(AT_FDCWD, path + "/")
        entry = self.proc.entry(special)
        if entry is not None:
            if entry.names is None:
                raise failed(errno.ENOTDIR)
            self.cwd = special
            return 0
        with self.at(AT_FDCWD, path) as place:
            if not stat.S_ISDIR(
                os.stat(place.name, dir_fd=place.fd, follow_symlinks=False).st_mode
            ):
                raise failed(errno.ENOTDIR)
            self.cwd = place.path
        return 0

    def sys_chdir(self, path: int, *_: int) -> int:
        return self._go(self.name(path))

    def sys_fchdir(self, fd: int, *_: int) -> int:
        return self._go(self.base(fd))

    def sys_getdents64(self, fd: int, buffer: int, size: int, *_: int) -> int:
        return self._entries(fd, buffer, size, wide=True)

    def sys_getdents(self, fd: int, buffer: int, size: int, *_: int) -> int:
        return self._entries(fd, buffer, size, wide=False)

    def _entries(self, fd: int, buffer: int, size: int, *, wide: bool) -> int:
        host = self.host(fd)
        left = self.listings.get(host)
        if left is None:
            left = self.listings[host] = self._list(host, self.name_of(fd))
        data = bytearray()
        while left:
            inode, kind, name = left[-1]
            head = self.word * 2 + 2 if not wide else 19
            length = -(-(head + len(name) + (1 if wide else 2)) // 8) * 8
            if len(data) + length > size:
                if not data:
                    raise failed(errno.EINVAL)
                break
            left.pop()
            following = len(left) + 1 << 20 | 1
            if wide:
                entry = self.pack("QqHB", inode, following, length, kind) + name
            else:
                entry = (
                    self.pack("LLH", inode & self.mask, following & self.mask >> 1, length) + name
                )
            entry = entry.ljust(length, b"\0")
            data += entry if wide else entry[:-1] + bytes([kind])
        self.put(buffer, bytes(data))
        return len(data)

    def _list(self, host: int, name: str) -> list[tuple[int, int, bytes]]:
        """All entries, the last one first, with their types."""
        made = self.proc.listing(self.proc.special(AT_FDCWD, name)[0]) if name else None
        if made is not None:
            return made[::-1]
        kinds = {
            stat.S_IFDIR: 4,
            stat.S_IFREG: 8,
            stat.S_IFLNK: 10,
            stat.S_IFCHR: 2,
            stat.S_IFBLK: 6,
            stat.S_IFIFO: 1,
            stat.S_IFSOCK: 12,
        }
        found = [(os.fstat(host).st_ino, 4, b"."), (1, 4, b"..")]
        copy = os.dup(host)
        try:
            with os.scandir(copy) as entries:
                for entry in entries:
                    mode = entry.stat(follow_symlinks=False).st_mode
                    found.append(
                        (entry.inode(), kinds.get(stat.S_IFMT(mode), 0), os.fsencode(entry.name))
                    )
        finally:
            os.close(copy)
            os.lseek(host, 0, os.SEEK_SET)
        return found[::-1]

    def rewind_directory(self, fd: int, offset: int) -> None:
        if offset == 0:
            self.listings.pop(self.host(fd), None)

    def drop(self, fd: int) -> None:
        self.listings.pop(self.descriptors[fd], None)
        super().drop(fd)

    # -- changing the tree --------------------------------------------------------------------------

    def sys_mkdirat(self, dirfd: int, path: int, mode: int, *_: int) -> int:
        with self.at(dirfd, self.name(path).rstrip("/") or "/", follow=False, write=True) as place:
            if place.name == ".":
                raise failed(errno.EEXIST)
            os.mkdir(place.name, mode & ~self.umask & MODES, dir_fd=place.fd)
        return 0

    def sys_mkdir(self, path: int, mode: int, *_: int) -> int:
        return self.sys_mkdirat(AT_FDCWD, path, mode)

    def _parent(self, dirfd: int, path: str) -> Place:
        """A directory by its own name in its parent: not "."."""
        place = self.at(dirfd, path.rstrip("/") or "/", follow=False, write=True)
        if place.name != ".":
            return place
        place.close()
        head, _, tail = place.path.rpartition("/")
        if not tail or self.tree is None or tuple(place.path.split("/")[1:]) in self.tree.binds:
            raise failed(errno.EBUSY)
        above = self.at(AT_FDCWD, head or "/", write=True)
        above.name, above.path = tail, place.path
        return above

    def sys_unlinkat(self, dirfd: int, path: int, flags: int, *_: int) -> int:
        with self._parent(dirfd, self.name(path)) as place:
            if flags & AT_REMOVEDIR:
                os.rmdir(place.name, dir_fd=place.fd)
            else:
                os.unlink(place.name, dir_fd=place.fd)
        return 0

    def sys_unlink(self, path: int, *_: int) -> int:
        return self.sys_unlinkat(AT_FDCWD, path, 0)

    def sys_rmdir(self, path: int, *_: int) -> int:
        return self.sys_unlinkat(AT_FDCWD, path, AT_REMOVEDIR)

    def sys_renameat2(self, old: int, path: int, new: int, other: int, flags: int, *_: int) -> int:
        if flags & ~RENAME_NOREPLACE:
            raise failed(errno.EINVAL)
        with self._parent(old, self.name(path)) as a, self._parent(new, self.name(other)) as b:
            if flags & RENAME_NOREPLACE and b.exists:
                raise failed(errno.EEXIST)
            os.rename(a.name, b.name, src_dir_fd=a.fd, dst_dir_fd=b.fd)
        return 0

    def sys_renameat(self, old: int, path: int, new: int, other: int, *_: int) -> int:
        return self.sys_renameat2(old, path, new, other, 0)

    def sys_rename(self, path: int, other: int, *_: int) -> int:
        return self.sys_renameat2(AT_FDCWD, path, AT_FDCWD, other, 0)

    def sys_linkat(self, old: int, path: int, new: int, other: int, flags: int, *_: int) -> int:
        follow = bool(flags & AT_SYMLINK_FOLLOW)
        with (
            self.at(old, self.name(path), follow=follow, write=True) as a,
            self.at(new, self.name(other), follow=False, write=True) as b,
        ):
            os.link(a.name, b.name, src_dir_fd=a.fd, dst_dir_fd=b.fd, follow_symlinks=False)
        return 0

    def sys_link(self, path: int, other: int, *_: int) -> int:
        return self.sys_linkat(AT_FDCWD, path, AT_FDCWD, other, 0)

    def sys_symlinkat(self, target: int, dirfd: int, path: int, *_: int) -> int:
        with self.at(dirfd, self.name(path), follow=False, write=True) as place:
            os.symlink(self.name(target), place.name, dir_fd=place.fd)
        return 0

    def sys_symlink(self, target: int, path: int, *_: int) -> int:
        return self.sys_symlinkat(target, AT_FDCWD, path)

    def sys_fchmodat(self, dirfd: int, path: int, mode: int, *_: int) -> int:
        with self.at(dirfd, self.name(path), write=True) as place:
            self._reopened(place, lambda fd: os.chmod(fd, mode & MODES))
        return 0

    def _reopened(self, place: Place, action: object) -> None:
        """Do something with a file itself that has no call with a directory and without following links."""
        fd = os.open(place.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place.fd)
        try:
            action(f"/proc/self/fd/{fd}")  # type: ignore[operator]
        finally:
            os.close(fd)

    def sys_chmod(self, path: int, mode: int, *_: int) -> int:
        return self.sys_fchmodat(AT_FDCWD, path, mode)

    def sys_fchmod(self, fd: int, mode: int, *_: int) -> int:
        os.fchmod(self.changeable(fd), mode & MODES)
        return 0

    def sys_fchownat(self, dirfd: int, path: int, uid: int, gid: int, flags: int, *_: int) -> int:
        name = self.name(path)
        if not name and flags & AT_EMPTY_PATH:
            return self.sys_fchown(dirfd, uid, gid)
        with self.at(dirfd, name, follow=not flags & AT_SYMLINK_NOFOLLOW, write=True) as place:
            os.chown(place.name, int32(uid), int32(gid), dir_fd=place.fd, follow_symlinks=False)
        return 0

    def sys_chown(self, path: int, uid: int, gid: int, *_: int) -> int:
        return self.sys_fchownat(AT_FDCWD, path, uid, gid, 0)

    def sys_lchown(self, path: int, uid: int, gid: int, *_: int) -> int:
        return self.sys_fchownat(AT_FDCWD, path, uid, gid, AT_SYMLINK_NOFOLLOW)

    def sys_fchown(self, fd: int, uid: int, gid: int, *_: int) -> int:
        os.fchown(self.changeable(fd), int32(uid), int32(gid))
        return 0

    sys_chown32, sys_lchown32, sys_fchown32 = sys_chown, sys_lchown, sys_fchown

    def sys_utimensat(self, dirfd: int, path: int, times: int, flags: int, *_: int) -> int:
        return self._utimens(dirfd, path, self.unpack("llll", times) if times else None, flags)

    def sys_utimensat_time64(self, dirfd: int, path: int, times: int, flags: int, *_: int) -> int:
        return self._utimens(dirfd, path, self.unpack("qqqq", times) if times else None, flags)

    def _utimens(self, dirfd: int, path: int, times: tuple[int, ...] | None, flags: int) -> int:
        def change(target: int | str, found: os.stat_result, **where: int) -> None:
            import time

            now = time.time_ns()
            given = times or (0, UTIME_NOW, 0, UTIME_NOW)
            stamps = []
            for seconds, nanoseconds, old in (
                (given[0], given[1], found.st_atime_ns),
                (given[2], given[3], found.st_mtime_ns),
            ):
                nanoseconds &= 0xFFFFFFFF
                fresh = seconds * 1_000_000_000 + nanoseconds
                stamps.append(
                    now if nanoseconds == UTIME_NOW else old if nanoseconds == UTIME_OMIT else fresh
                )
            if isinstance(target, int):
                os.utime(target, ns=(stamps[0], stamps[1]))
            else:
                os.utime(
                    target, ns=(stamps[0], stamps[1]), dir_fd=where["dir_fd"], follow_symlinks=False
                )

        if not path:
            host = self.changeable(dirfd)
            change(host, os.fstat(host))
            return 0
        with self.at(
            dirfd, self.name(path), follow=not flags & AT_SYMLINK_NOFOLLOW, write=True
        ) as place:
            change(
                place.name,
                os.stat(place.name, dir_fd=place.fd, follow_symlinks=False),
                dir_fd=place.fd,
            )
        return 0

    def _truncate(self, path: int, size: int) -> int:
        host, _, _ = self.open_host(AT_FDCWD, self.name(path), os.O_WRONLY)
        try:
            os.ftruncate(host, size)
        finally:
            os.close(host)
        return 0

    def sys_truncate(self, path: int, size: int, *_: int) -> int:
        return self._truncate(path, self.signed(size))

    def sys_truncate64(self, path: int, *rest: int) -> int:
        return self._truncate(path, self.offset64(*rest))

    def sys_mknodat(self, dirfd: int, path: int, mode: int, _device: int, *_: int) -> int:
        """Pipes with names, and empty files; devices are nothing that a guest makes."""
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFIFO):
            raise failed(errno.EPERM)
        with self.at(dirfd, self.name(path), follow=False, write=True) as place:
            os.mknod(place.name, mode & (MODES | 0o170000) & ~self.umask, dir_fd=place.fd)
        return 0

    def sys_mknod(self, path: int, mode: int, device: int, *_: int) -> int:
        return self.sys_mknodat(AT_FDCWD, path, mode, device)

    def sys_umask(self, mask: int, *_: int) -> int:
        before, self.umask = self.umask, mask & 0o777
        return before

    def _no_attributes(self, *_: int) -> int:
        """Extended attributes: there are none here."""
        raise failed(errno.EOPNOTSUPP)

    sys_getxattr = sys_lgetxattr = sys_fgetxattr = _no_attributes
    sys_setxattr = sys_lsetxattr = sys_fsetxattr = _no_attributes
    sys_removexattr = sys_lremovexattr = sys_fremovexattr = _no_attributes

    def sys_listxattr(self, *_: int) -> int:
        return 0

    sys_llistxattr = sys_flistxattr = sys_listxattr
