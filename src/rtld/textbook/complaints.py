"""What is said about bad input: all of it at once, each with its line.

``Malformed`` is a file that cannot be read as what it should be; ``LinkFailure`` are good files that do not fit
together (undefined and multiply defined symbols, references that cannot be expressed).
"""

from __future__ import annotations

from collections import namedtuple

from rtld.errors import FormatError, RtldError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from rtld.core.module import Problem


class Complaint(namedtuple("Complaint", "path line subject found expected")):  # noqa: SLOT002
    """One thing wrong with a file."""

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}" if self.line else self.path
        return f"{where}: {self.subject}: found {self.found}, expected {self.expected}"


class Malformed(FormatError):
    """A file with at least one complaint; ``str()`` has a line for each."""

    def __init__(self, path: str, complaints: Iterable[Complaint]) -> None:
        self.complaints = tuple(sorted(complaints, key=lambda complaint: complaint.line))
        first = self.complaints[0]
        super().__init__(path, first.subject, "", first.found, first.expected)

    def __str__(self) -> str:
        return "\n".join(str(complaint) for complaint in self.complaints)


class LinkFailure(RtldError):
    """Files that do not fit together; ``problems`` says each thing, ``str()`` has a line for each."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(problem.message for problem in self.problems)


def quoted(text: str, most: int = 24) -> str:
    """Text from a file, short enough for a sentence."""
    return repr(text if len(text) <= most else text[: most - 3] + "...")
