"""The top of the x87's stack, which Unicorn has no register for: it names the eight registers as they stand in the CPU."""

from __future__ import annotations

from rtld.arch.longdouble import decode_x87, encode_x87

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.backends.emulated.engine import Engine


def _top(engine: Engine) -> str:
    return f"fp{engine.get('fpsw') >> 11 & 7}"


def read_top(engine: Engine) -> float:
    """ST(0) as a double."""
    found: Any = engine.get(_top(engine))
    mantissa, top = found
    return decode_x87(mantissa.to_bytes(8, "little") + top.to_bytes(2, "little"))


def write_top(engine: Engine, value: float) -> None:
    """Change ST(0)."""
    data = encode_x87(value)
    pair: Any = int.from_bytes(data[:8], "little"), int.from_bytes(data[8:], "little")
    engine.set(_top(engine), pair)
