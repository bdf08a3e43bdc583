"""Getting files of an archive: from a cache, or by HTTP (a broken download goes on where it ended), checked by hash."""

from __future__ import annotations

import hashlib
import os
import threading
import urllib.error
import urllib.request
from typing import NamedTuple

from rtld.errors import FormatError, NotFound, RtldError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

SCHEMES = ("http://", "https://", "file:///")
CHUNK = 1 << 17
TIMEOUT = 30  # seconds without a byte
MOST_UNKNOWN = 64 << 20  # bytes of a file whose size nobody has told
ATTEMPTS = 3


class Unreachable(RtldError):
    """An archive does not answer, or does not have the file. ``status``: of HTTP, 0 if it was not that."""

    def __init__(self, url: str, reason: str, status: int = 0) -> None:
        self.url = url
        self.reason = reason
        self.status = status
        super().__init__(url, reason)

    def __str__(self) -> str:
        return f"{self.url}: {self.reason}"


class Wanted(NamedTuple):
    """A file of an archive with what its index says about it."""

    url: str
    size: int
    sha256: str


class Fetcher:
    """Downloads into a cache. *tell* is told the bytes that have come (also from the cache)."""

    def __init__(
        self, cache: str | None = None, tell: Callable[[int], object] = lambda _: None
    ) -> None:
        self.cache = cache or default_cache()
        self.tell = tell
        self.downloaded = 0

    def small(self, url: str) -> bytes:
        """A file that changes and has no known size: never from the cache."""
        with _open(url, 0) as answer:
            data: bytes = answer.read(MOST_UNKNOWN + 1)
        if len(data) > MOST_UNKNOWN:
            raise FormatError(url, "file", "size", "more", f"at most {MOST_UNKNOWN:#x}")
        return data

    def path_of(self, sha256: str) -> str:
        """Where a file with that hash is kept."""
        return os.path.join(self.cache, "by-hash", sha256[:2], sha256)

    def get(self, wanted: Wanted, *alternatives: str) -> str:
        """The path of a file in the cache, downloaded if it is not there. *alternatives*: further URLs of it."""
        if len(wanted.sha256) != 64 or not set(wanted.sha256) <= set("0123456789abcdef"):
            raise FormatError(wanted.url, "index", "SHA256", wanted.sha256, "64 hex digits")
        path = self.path_of(wanted.sha256)
        if os.path.isfile(path) and os.path.getsize(path) == wanted.size:
            self.tell(wanted.size)
            return path
        os.makedirs(os.path.dirname(path), exist_ok=True)
        own = f"{path}.part{os.getpid()}.{threading.get_ident()}"
        urls = [wanted.url, *alternatives]
        for attempt, url in enumerate(urls * ATTEMPTS):
            try:
                self._download(url, wanted, own, path + ".part")
            except Unreachable as error:
                last = error
                gone = error.status in (403, 404, 410)
                if attempt + 1 >= len(urls) * (1 if gone else ATTEMPTS):
                    raise
                continue
            os.replace(own, path)
            return path
        raise last

    def _download(self, url: str, wanted: Wanted, own: str, left: str) -> None:
        """Into *own*; *left* is where an interrupted download is found again."""
        try:
            os.replace(left, own)  # whoever comes first goes on with it
        except FileNotFoundError:
            pass
        told = 0

        def tell(count: int) -> None:
            nonlocal told
            told += count
            self.tell(count)

        try:
            have, found = self._transfer(url, wanted, own, tell)
        except FormatError:
            os.unlink(own)
            raise
        except BaseException:
            self.tell(-told)
            if os.path.exists(own):
                os.replace(own, left)
            raise
        if have < wanted.size:
            self.tell(-told)
            os.replace(own, left)
            raise Unreachable(url, f"the connection ended after {have} of {wanted.size} bytes")
        if have > wanted.size or found != wanted.sha256:
            os.unlink(own)
            advice = "the mirror is out of step or damaged; try again, or another --mirror"
            if have > wanted.size:
                raise FormatError(url, "file", "size", "more", wanted.size, advice)
            raise FormatError(url, "file", "SHA256", found, wanted.sha256, advice)

    def _transfer(
        self, url: str, wanted: Wanted, own: str, tell: Callable[[int], object]
    ) -> tuple[int, str]:
        """What has come, with what was there: size (at most a little too much) and hash."""
        digest = hashlib.sha256()
        have = _digest_of(own, digest)
        if have >= wanted.size:
            have = 0
        with _open(url, have) as answer, open(own, "r+b" if have else "wb") as out:
            if not have or getattr(answer, "status", None) != 206:  # the server begins again
                have = 0
                digest = hashlib.sha256()
                out.truncate(0)
            out.seek(have)
            tell(have)
            while have <= wanted.size and (chunk := _read(answer, url)):
                have += len(chunk)
                digest.update(chunk)
                out.write(chunk)
                tell(len(chunk))
                self.downloaded += len(chunk)
        return have, digest.hexdigest()


def default_cache() -> str:
    """$XDG_CACHE_HOME/rtld/debian (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not base.startswith("/"):
        base = os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "rtld", "debian")


def _digest_of(path: str, digest: Any) -> int:
    """Feed what is there already; its size."""
    have = 0
    try:
        with open(path, "rb") as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
                have += len(chunk)
    except FileNotFoundError:
        pass
    return have


def _open(url: str, start: int) -> Any:
    if not url.startswith(SCHEMES):
        raise NotFound(url, None, (), f"an archive's address begins with {', '.join(SCHEMES)}")
    request = urllib.request.Request(url, headers={"User-Agent": "rtld"})  # noqa: S310 - checked above
    if start and not url.startswith("file:"):
        request.add_header("Range", f"bytes={start}-")
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT)  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and start:
            raise FormatError(
                url, "file", "size", f"less than {start}", "what the index says"
            ) from None
        raise Unreachable(url, f"HTTP {error.code} {error.reason}", error.code) from None
    except (urllib.error.URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        status = 404 if isinstance(reason, FileNotFoundError) else 0
        raise Unreachable(url, str(getattr(reason, "strerror", None) or reason), status) from None


def _read(answer: Any, url: str) -> bytes:
    import http.client

    try:
        data: bytes = answer.read(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(url, f"the connection broke: {error}") from None
    return data
