"""What all ways to start a program share: the environment it gets, what a script names, why it cannot be run."""

from __future__ import annotations

import os

from rtld.errors import RtldError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

NOT_FOUND = 127
NOT_RUNNABLE = 126


class CannotRun(RtldError):
    """This file cannot be run in this way; ``status`` is what a shell would return: 126 or 127."""

    def __init__(
        self, path: str, reason: str, advice: str = "", status: int = NOT_RUNNABLE
    ) -> None:
        self.path = path
        self.reason = reason
        self.advice = advice
        self.status = status
        super().__init__(path, reason)

    def __str__(self) -> str:
        text = f"{self.path}: {self.reason}"
        return f"{text}; {self.advice}" if self.advice else text


def initial_environment() -> Mapping[bytes, bytes]:
    """os.environ, without the LC_CTYPE that Python itself sets in the C locale (PEP 538)."""
    environment = dict(os.environb)
    if environment.get(b"LC_CTYPE", b"").lower() in (b"c.utf-8", b"c.utf8", b"utf-8"):
        try:
            with open("/proc/self/environ", "rb") as file:
                if not any(e.startswith(b"LC_CTYPE=") for e in file.read().split(b"\0")):
                    del environment[b"LC_CTYPE"]
        except OSError:
            pass
    return environment


def script_interpreter(line: bytes) -> list[bytes] | None:
    """`#! interpreter [one argument]` as the kernel reads it (fs/binfmt_script.c)."""
    text = line[2:].partition(b"\n")[0].partition(b"\0")[0].strip(b" \t")
    if not text:
        return None
    end = next((i for i, c in enumerate(text) if c in b" \t"), len(text))
    option = text[end:].strip(b" \t")
    return [text[:end], option] if option else [text[:end]]
