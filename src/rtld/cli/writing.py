"""What the commands that change a Windows file have in common: where the result goes, and how it gets there whole."""

from __future__ import annotations

import contextlib
import os
import tempfile

from rtld.cli import UsageError
from rtld.cli.options import Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.cli.options import Options

OUTPUT = Option("-o --output", "OUT", "write OUT and leave FILE as it is")


def save(options: Options, data: bytes) -> str:
    """Write the result to --output, or in FILE's place; never half of it. The path."""
    source = options.rest[0]
    target: str = options.output or source
    if os.path.isdir(target):
        raise UsageError(f"--output {target} is a directory")
    directory = os.path.dirname(os.path.realpath(target))
    handle, name = tempfile.mkstemp(dir=directory, prefix=".rtld-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(name, os.stat(source).st_mode & 0o7777)
        os.replace(name, os.path.realpath(target))
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    return target
