"""vcruntime140_1.dll: __CxxFrameHandler4, which reads tables of few bytes; and what tells of the exception that is handled."""

from __future__ import annotations

from rtld.backends.windows import cxx64
from rtld.backends.windows.api import Dll

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from rtld.backends.windows.system import System

VCRUNTIME_1 = Dll("vcruntime140_1.dll", "cdecl")


@VCRUNTIME_1("__CxxFrameHandler4", "pppp", "i")
def cxx_frame_handler4(system: System, at: int, frame: int, context: int, dispatcher: int) -> Generator[Any, Any, Any]:  # fmt: skip
    return (yield from cxx64.frame_handler(system, at, frame, context, dispatcher, packed=True))
