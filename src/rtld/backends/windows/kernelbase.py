"""kernelbase.dll: where Windows has the code of KERNEL32's functions; here it is another name for them."""

from __future__ import annotations

from rtld.backends.windows.api import Dll
from rtld.backends.windows.kernel32 import KERNEL32

KERNELBASE = Dll("kernelbase.dll")
KERNELBASE.functions = KERNEL32.functions
KERNELBASE.later = KERNEL32.later
