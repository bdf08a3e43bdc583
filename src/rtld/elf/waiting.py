"""What relocation leaves for later, when there is a process: resolvers to call, bytes to copy, descriptors to fill.

Plain rows, made by the column passes (``relocate.py``, ``hosted.py``) and by the scalar ones (``small.py``) alike.
"""

from __future__ import annotations

from collections import namedtuple

#: A place whose value a resolver in the target gives: module, site in the arena (-1: none), address of the place,
#: resolver's address, addend, whether it is a PLT slot.
Ifunc = namedtuple("Ifunc", "module site place resolver addend is_slot")
#: A COPY relocation: place's module and vaddr, definer, vaddr there, bytes.
Copy = namedtuple("Copy", "module place definer source size")
#: A TLS descriptor: site of its two words, offset from the thread pointer (or None: undefined weak), addend.
Descriptor = namedtuple("Descriptor", "module site place offset addend")
