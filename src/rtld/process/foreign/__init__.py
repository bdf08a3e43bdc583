"""Libraries of other CPUs in a guest without a program: ``world`` is the guest, ``load`` opens and closes."""

from __future__ import annotations
