"""Windows programs and DLLs: ``loader`` is theirs, ``run`` starts a program, ``library`` and ``native`` open DLLs."""

from __future__ import annotations
