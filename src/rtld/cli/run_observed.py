"""``rtld run --coverage --watch``: what is looked at while a program runs on an emulated CPU, and how it is told."""

from __future__ import annotations

import io
import json
import sys

from rtld.cli import UsageError, tell
from rtld.errors import RtldError
from rtld.process.emulated.observe import Coverage, Observer, Watch
from rtld.process.observed import describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.cli.options import Options
    from rtld.process.observed import Access

DRCOV = ".drcov"  # files of that name are in drcov's format
MOST = 1 << 32  # bytes that are watched


def parse_watch(text: str) -> tuple[int | str, int | None] | None:
    """(address or symbol, bytes); None where that is neither."""
    what, plus, length = text.rpartition("+") if "+" in text else (text, "", "")
    try:
        size = int(length, 0) if plus else None
        address = int(what, 0) if what[:1].isdigit() else None
    except ValueError:
        return None
    if not what or (size is not None and not 0 < size <= MOST):
        return None
    return what if address is None else address, size


class Observed:
    """The observers that the options ask for."""

    def __init__(self, options: Options) -> None:
        self._json = options.json
        self.coverage = Coverage() if options.coverage is not None else None
        self._file: str | None = options.coverage or None
        if self._file is not None:
            self._write(b"", "ab")  # what cannot be written is known before the program has run
        self.watches = [self._watch(text) for text in options.watch]

    @property
    def observers(self) -> list[Observer]:
        return [*self.watches, *([self.coverage] if self.coverage is not None else [])]

    def _watch(self, text: str) -> Watch:
        """ADDR or SYMBOL, +LEN."""
        found = parse_watch(text)
        if found is None:
            raise UsageError(
                f"--watch {text}: ADDRESS, SYMBOL or LIBRARY:SYMBOL is wanted, and +BYTES if need be",
                "run",
            )

        def told(access: Access) -> None:
            tell(f"watch {watch.subject}: {describe(access)}")

        watch = Watch(*found, None if self._json else told)
        return watch

    def finish(self) -> dict[str, Any]:
        """Tell what has been seen; for ``--json`` that is the result, unless a file gets it."""
        told: dict[str, Any] = {}
        if self.coverage is not None:
            told |= self._finish_coverage(self.coverage)
        if self.watches and self._json:
            told["watch"] = [
                {
                    "subject": watch.subject,
                    "accesses": [access._asdict() for access in watch.accesses],
                }
                for watch in self.watches
            ]
        return told

    def _finish_coverage(self, coverage: Coverage) -> dict[str, Any]:
        found = {"coverage": {"functions": coverage.functions}}
        if self._file is None:
            if self._json:
                return found
            sys.stderr.write(coverage.text())
            return {}
        if self._file.endswith(DRCOV):
            buffer = io.BytesIO()
            coverage.write_drcov(buffer)
            self._write(buffer.getvalue(), "wb")
        else:
            text = json.dumps(found) + "\n" if self._json else coverage.text()
            self._write(text.encode("utf-8", "surrogateescape"), "wb")
        return {}

    def _write(self, data: bytes, mode: str) -> None:
        """To the file of --coverage."""
        assert self._file is not None
        try:
            with open(self._file, mode) as stream:
                stream.write(data)
        except OSError as error:
            raise RtldError(f"--coverage={self._file}: {error.strerror}") from None
