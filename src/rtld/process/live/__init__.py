"""Programs of this CPU in a process of their own: read ``run`` first."""

from __future__ import annotations
