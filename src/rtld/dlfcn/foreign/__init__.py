"""``rtld.dlopen(..., sysroot=DIR)``: libraries of other CPUs, called as those of this one are.

``types``    ctypes' types as the other CPU's compiler lays them out
``convert``  Python's values into its bytes, and back; memory that goes in and comes out
``pointer``  what a pointer of the guest is in Python
``function`` a function;  ``library``: a library, its functions and variables
``cdef``     declarations in C;  ``observe``: what a library does
"""

from __future__ import annotations
