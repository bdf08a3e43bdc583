"""Libraries of other CPUs in a guest without a program.

``world``    the guest: a CPU, a C library, and what is opened there;  ``start``: how it begins
``load``     opening and closing;  ``dl``: what libraries ask of a dynamic linker later
``hooks``    ``Hooks`` at work there: bindings, calls through PLT slots, interposition
``guest``    calls with values of Python, callbacks, errno
``types``    ctypes' types as the other CPU's compiler lays them out
``convert``  Python's values into its bytes, and back; memory that goes in and comes out
``pointer``  what a pointer of the guest is in Python
"""

from __future__ import annotations
