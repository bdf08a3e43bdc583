"""Freezing in tests, and comparing runs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rtld.frozen import freeze
from rtld.process.link import find

#: The forms an image can have. PIE only for programs that are.
FORMS: dict[str, dict[str, Any]] = {
    "fixed": {},
    "thin": {"thin": True},
    "pie": {"pie": True},
    "thin-pie": {"thin": True, "pie": True},
    "many": {"many": True},
}


def freeze_to(
    program: str | Path, image: str | Path, env: dict[str, str] | None = None, **options: Any
) -> Path:
    """Freeze with the given environment (by default this one); the image's path."""
    freeze(find(program, env=env if env is not None else dict(os.environ)), image, **options)
    return Path(image)


def outcome(
    argv: Sequence[str | Path], executable: str | Path | None = None, **options: Any
) -> tuple[int, bytes, bytes]:
    """(status, stdout, stderr) of a run; argv[0] may differ from what is executed."""
    options.setdefault("timeout", 60)
    done = subprocess.run(
        [str(word) for word in argv],
        executable=str(executable) if executable else None,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        **options,
    )
    return done.returncode, done.stdout, done.stderr
