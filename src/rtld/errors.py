"""The exceptions of rtld: fields first, the sentence composed from them.

    RtldError
    ├── FormatError          a file is malformed: structure, field, found, expected
    ├── NotFound             a library or program is not where its name leads
    ├── VersionMismatch      a needed symbol version is not defined by the library it names
    ├── UnresolvedSymbol     a strong reference has no definition in its scope
    ├── RelocationError
    │   ├── Overflow         the value does not fit its field
    │   └── Unknown          a relocation number that the CPU's table does not know
    ├── NoSpace              addresses or static TLS are used up
    ├── TargetFault          the program being linked or run did something that cannot be served
    └── Unsupported          right, but not something this back end or machine can do

Where people know glibc's wording the sentence is glibc's (elf/dl-load.c, dl-version.c, dl-lookup.c).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

__all__ = [
    "FormatError",
    "NoSpace",
    "NoStaticTls",
    "NotFound",
    "Overflow",
    "RelocationError",
    "RtldError",
    "TargetFault",
    "Unknown",
    "UnresolvedSymbol",
    "Unsupported",
    "VersionMismatch",
]


class RtldError(Exception):
    """Anything rtld has to say no to. ``advice`` is what the user can do about it, if anything."""

    advice: str = ""


def show(value: object) -> str:
    """A field's value as the user would look for it: addresses and sizes in hex, text quoted."""
    if isinstance(value, bool) or not isinstance(value, int):
        return value if isinstance(value, str) else repr(value)
    return str(value) if -10 < value < 10 else hex(value)


class FormatError(RtldError):
    """Malformed input. ``str()`` names file, structure, field, what stands there and what should."""

    def __init__(
        self,
        path: str,
        structure: str,
        field: str = "",
        found: object = None,
        expected: object = None,
        advice: str = "",
    ) -> None:
        self.path = path
        self.structure = structure
        self.field = field
        self.found = found
        self.expected = expected
        self.advice = advice
        super().__init__(path, structure, field, found, expected)

    def __str__(self) -> str:
        text = f"{self.path}: {self.structure}"
        if self.field:
            text += f": {self.field}"
        if self.found is not None:
            # Without a field the structure is a sentence, the reference's own.
            text += f" is {show(self.found)}" if self.field else f": {show(self.found)}"
        if self.expected is not None:
            text += f", expected {show(self.expected)}"
        return f"{text}; {self.advice}" if self.advice else text


class NotFound(RtldError):
    """A file that is needed is nowhere. ``candidates`` are the paths tried, with the reason each failed."""

    def __init__(
        self,
        name: str,
        requester: str | None = None,
        candidates: Iterable[Any] = (),
        reason: str = "No such file or directory",
    ) -> None:
        self.name = name
        self.requester = requester
        self.candidates = tuple(candidates)
        self.reason = reason
        super().__init__(name, requester)

    @property
    def by_system(self) -> bool:
        """Is the reason the system's, and not a sentence of the linker's own?"""
        return not self.reason.startswith(("wrong ELF class", "empty dynamic", "DST not allowed"))

    def __str__(self) -> str:
        if not self.by_system:
            return f"{self.name}: {self.reason}"
        return f"{self.name}: cannot open shared object file: {self.reason}"


class VersionMismatch(RtldError):
    """A version a module requires is missing in the file it names (glibc: dl-version.c)."""

    def __init__(self, path: str, version: str, requester: str) -> None:
        self.path = path
        self.version = version
        self.requester = requester
        super().__init__(path, version, requester)

    def __str__(self) -> str:
        return f"{self.path}: version `{self.version}' not found (required by {self.requester})"


class UnresolvedSymbol(RtldError):
    """A strong reference that no module in scope defines (glibc: dl-lookup.c)."""

    def __init__(self, path: str, symbol: str, version: str | None = None) -> None:
        self.path = path
        self.symbol = symbol
        self.version = version
        super().__init__(path, symbol, version)

    def __str__(self) -> str:
        version = f", version {self.version}" if self.version else ""
        return f"{self.path}: undefined symbol: {self.symbol}{version}"


class RelocationError(RtldError):
    """A relocation that cannot be applied. ``where`` is file and offset, as told by the caller."""

    def __init__(self, where: str, detail: str) -> None:
        self.where = where
        self.detail = detail
        super().__init__(where, detail)

    def __str__(self) -> str:
        return f"{self.where}: {self.detail}"


class Overflow(RelocationError):
    """The value of the formula does not fit the field."""


class Unknown(RelocationError):
    """No row of the CPU's relocation table has this number."""


class NoSpace(RtldError):
    """No addresses, no static TLS, no memory left for what has to be placed."""


class NoStaticTls(NoSpace):
    """The static TLS block has no room for a module. ``users`` are the paths of those who have it, with their bytes."""

    advice = "GLIBC_TUNABLES=glibc.rtld.optional_static_tls=65536 in the environment of a new process gives more"

    def __init__(self, path: str, size: int, users: dict[str, int]) -> None:
        self.path = path
        self.size = size
        self.users = users
        super().__init__(path, size, users)

    def __str__(self) -> str:
        has = ", ".join([f"{path} {size}" for path, size in self.users.items()])
        used = f"; in use by {has}" if has else ""
        what = f"{self.path}: cannot allocate memory in static TLS block: {self.size} bytes wanted"
        return f"{what}{used}. {self.advice}"


class TargetFault(RtldError):
    """The program did something from which it cannot go on: at ``pc``, if that is known; ``place`` is that in words."""

    pc: int | None = None
    place: str = ""


class Unsupported(RtldError):
    """A correct request that cannot be served here; ``advice`` names the option that would work."""

    def __init__(self, what: str, advice: str = "") -> None:
        self.what = what
        self.advice = advice
        super().__init__(what)

    def __str__(self) -> str:
        return f"{self.what}; {self.advice}" if self.advice else self.what
