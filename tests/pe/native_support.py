"""Whether Windows code can be called in this process here."""

from __future__ import annotations

from rtld.backends.windows.native import check_host
from rtld.errors import Unsupported

try:
    check_host()
    NATIVE = True
except Unsupported:
    NATIVE = False
