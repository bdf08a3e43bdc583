"""What Windows' loader says no with: our exceptions, with its error numbers."""

from __future__ import annotations

from rtld.errors import NotFound, TargetFault, UnresolvedSymbol
from rtld.pe.types import (
    DOS_ERRORS,
    ERRORS,
    STATUS_DLL_INIT_FAILED,
    STATUS_DLL_NOT_FOUND,
    STATUS_ENTRYPOINT_NOT_FOUND,
    STATUS_INVALID_IMAGE_FORMAT,
    STATUS_ORDINAL_NOT_FOUND,
    dos_error,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def explained(code: int) -> str:
    """ "126, ERROR_MOD_NOT_FOUND" of a Win32 error."""
    return f"{code}, {ERRORS[code][0]}" if code in ERRORS else str(code)


class DllNotFound(NotFound):
    """No directory has the DLL (126), or only for another CPU (193). ``status`` is the NTSTATUS, ``code`` the Win32 error."""

    def __init__(
        self, name: str, requester: str | None = None, candidates: Iterable[object] = ()
    ) -> None:
        super().__init__(name, requester, candidates)
        wrong = [c for c in self.candidates if getattr(c, "outcome", "") == "wrong machine"]
        bad = [c for c in self.candidates if getattr(c, "outcome", "") == "malformed"]
        self.status = STATUS_INVALID_IMAGE_FORMAT if wrong or bad else STATUS_DLL_NOT_FOUND
        self.code = DOS_ERRORS[self.status]
        self.reason = "not found"
        if wrong:
            self.reason = "only for another CPU"
        elif bad:
            self.reason = "only as a malformed file"

    def __str__(self) -> str:
        return f"{self.name}: {self.reason} (error {explained(self.code)})"


class CannotLoad(NotFound):
    """LoadLibrary or GetProcAddress has failed with this Win32 error; ``detail`` is what is known besides."""

    def __init__(self, name: str, code: int, detail: str = "") -> None:
        super().__init__(name)
        self.code = code
        self.detail = detail

    def __str__(self) -> str:
        meaning = ERRORS.get(self.code, ("", "it failed"))[1]
        text = f"{self.name}: {meaning} (error {explained(self.code)})"
        return f"{text}: {self.detail}" if self.detail else text


class ProcNotFound(UnresolvedSymbol):
    """A DLL does not export what is imported from it. ``path`` is the importer, ``dll`` who should have it."""

    def __init__(
        self, path: str, dll: str, symbol: str, ordinal: int | None, reason: str = ""
    ) -> None:
        super().__init__(path, symbol)
        self.dll = dll
        self.ordinal = ordinal
        self.reason = reason or "is not exported"
        self.status = STATUS_ORDINAL_NOT_FOUND if ordinal is not None else STATUS_ENTRYPOINT_NOT_FOUND  # fmt: skip
        self.code = DOS_ERRORS[self.status]

    def __str__(self) -> str:
        return (
            f"{self.path}: {self.symbol} {self.reason} by {self.dll} (error {explained(self.code)})"
        )


class InitFailed(TargetFault):
    """A DllMain returned FALSE for DLL_PROCESS_ATTACH, or raised an exception, whose code is ``status`` then."""

    def __init__(self, path: str, status: int = STATUS_DLL_INIT_FAILED) -> None:
        self.path = path
        self.status = status
        self.code = dos_error(status)
        did = (
            "returned FALSE"
            if status == STATUS_DLL_INIT_FAILED
            else f"raised exception {status:#x}"
        )
        super().__init__(f"{path}: its DllMain {did} (error {explained(self.code)})")
