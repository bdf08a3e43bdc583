"""``rtld.dlopen(..., sysroot=DIR)``: libraries of other CPUs, called as those of this one are.

``function`` a function;  ``library``: a library, its functions and variables
``cdef``     declarations in C;  ``observe``: what a library does

What they stand on, types and conversions, is in ``process/foreign/``.
"""

from __future__ import annotations
