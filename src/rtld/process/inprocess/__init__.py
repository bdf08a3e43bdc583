"""Libraries in this process: ``space`` is what is loaded, ``open`` and ``close`` (with ``load``) change it."""

from __future__ import annotations
