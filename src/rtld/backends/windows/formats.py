"""printf of Microsoft's C library: flags, widths, I64, %p and %S as it has them."""

from __future__ import annotations

import math
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.backends.windows.api import VarArgs
    from rtld.backends.windows.system import System

_DIRECTIVE = re.compile(
    r"%(?P<flags>[-+ #0]*)(?P<width>\*|\d*)(?:\.(?P<precision>\*|\d*))?"
    r"(?P<size>I64|I32|hh|h|ll|l|L|I|w|j|z|t)?(?P<kind>.)",
    re.DOTALL,
)
_MOST = 1 << 20


def format_text(system: System, form: bytes, values: VarArgs, *, ucrt: bool = False) -> bytes:
    """The text of a format and its arguments. *ucrt*: as the universal C library has it, not msvcrt.dll."""
    text = format_string(system, form.decode("latin-1"), values, ucrt=ucrt)
    return text.encode("latin-1", "replace")


def format_string(
    system: System, form: str, values: VarArgs, *, wide: bool = False, ucrt: bool = False
) -> str:
    """The same in characters. *wide*: of the wide function, whose %s and %c are wide, %S and %C not."""
    pieces = []
    at = 0
    for match in _DIRECTIVE.finditer(form):
        pieces.append(form[at : match.start()])
        at = match.end()
        pieces.append(_one(system, match, values, wide, ucrt))
    return "".join([*pieces, form[at:]])


def _number(text: str | None, values: VarArgs) -> int | None:
    if text is None:
        return None
    return values.int32() if text == "*" else min(int(text or "0"), _MOST)


def _one(system: System, match: re.Match[str], values: VarArgs, wide: bool, ucrt: bool) -> str:
    flags = match["flags"]
    kind = match["kind"]
    if kind == "%":
        return "%"
    width = _number(match["width"], values) or 0
    if width < 0:
        flags, width = flags + "-", -width
    precision = _number(match["precision"], values)
    if precision is not None and precision < 0:
        precision = None
    size = match["size"] or ""
    if size == "hh" and not ucrt:
        size = "h"  # msvcrt.dll knows no char
    if wide and kind in "sScC" and size not in ("l", "w", "h"):
        kind = kind.swapcase()
    if kind in "SC" and size == "h":
        kind = kind.lower()
    left = "-" in flags
    width = min(width, _MOST)
    if kind in "di":
        text = _signed(_integer(size, system, values), flags, precision)
    elif kind in "uxXo":
        text = _unsigned(_integer(size, system, values), kind, flags, precision, size, system)
    elif kind == "p":
        text = f"{values.pointer():0{2 * system.word}X}"
    elif kind in "eEfFgGaA":
        text = _real(values.double(), kind, flags, precision, ucrt)
    elif kind in "cC":
        code = values.int32()
        is_wide = kind == "C" or size in ("l", "w")
        text = chr(code & (0xFFFF if is_wide else 0xFF))
    elif kind in "sS":
        text = _string(system, values.pointer(), kind, size, precision)
    elif kind == "n":
        values.pointer()
        return ""  # writing through a format is switched off, as in today's C libraries
    else:
        return match[0]
    zero = "0" in flags and not left and kind in "diuxXoeEfFgGaA" and (precision is None or kind in "eEfFgG")  # fmt: skip
    if len(text) < width:
        if left:
            text = text.ljust(width)
        elif zero and text[-1:] not in "fnN)":
            sign = re.match(r"[-+ ]?(0[xX])?", text)
            head = sign[0] if sign else ""
            text = head + text[len(head) :].rjust(width - len(head), "0")
        else:
            text = text.rjust(width)
    return text


def _integer(size: str, system: System, values: VarArgs) -> int:
    if size in ("I64", "ll", "j") or (size in ("I", "z", "t") and system.bits == 64):
        return values.int64()
    value = values.int32()
    if size in ("h", "hh"):
        bits = 16 if size == "h" else 8
        value = (value & (1 << bits) - 1 ^ 1 << bits - 1) - (1 << bits - 1)
    return value


def _signed(value: int, flags: str, precision: int | None) -> str:
    digits = str(abs(value)).rjust(precision or 0, "0")
    if precision == 0 and value == 0:
        digits = ""
    sign = "-" if value < 0 else "+" if "+" in flags else " " if " " in flags else ""
    return sign + digits


def _unsigned(
    value: int, kind: str, flags: str, precision: int | None, size: str, system: System
) -> str:
    wide = size in ("I64", "ll", "j") or (size in ("I", "z", "t") and system.bits == 64)
    bits = 64 if wide else {"h": 16, "hh": 8}.get(size, 32)
    value &= (1 << bits) - 1
    digits = {"u": str(value), "x": f"{value:x}", "X": f"{value:X}", "o": f"{value:o}"}[kind]
    digits = digits.rjust(precision or 0, "0")
    if precision == 0 and value == 0:
        digits = ""
    if "#" in flags and value:
        digits = {"x": "0x", "X": "0X", "o": "0"}.get(kind, "") + digits
    return digits


def _real(value: float, kind: str, flags: str, precision: int | None, ucrt: bool) -> str:
    sign = "+" if "+" in flags else " " if " " in flags else ""
    alternate = "#" if "#" in flags else ""
    if not math.isfinite(value):
        return _not_finite(value, sign, precision, kind, ucrt)
    if kind in "aA":
        text = value.hex()
        return text.upper() if kind == "A" else text
    digits = 6 if precision is None else min(precision, 4096)
    if kind in "gG" and not digits:
        digits = 1
    if not ucrt:
        value = _ties_away(value, kind, digits)
    text = format(value, f"{sign}{alternate}.{digits}{kind}")
    # Three digits of exponent, as msvcrt.dll has them.
    return text if ucrt else re.sub(r"([eE][-+])(\d\d)$", r"\g<1>0\2", text)


def _not_finite(value: float, sign: str, precision: int | None, kind: str, ucrt: bool) -> str:
    minus = "-" if math.copysign(1, value) < 0 else sign
    if ucrt:
        text = "inf" if math.isinf(value) else "nan(ind)" if minus == "-" else "nan"
        return minus + (text.upper() if kind.isupper() else text)
    digits = 6 if precision is None else precision
    text = "-1.#IND" if math.isnan(value) else "1.#INF"
    whole, _, rest = text.lstrip("-").partition(".")
    return f"{'-' if text.startswith('-') else minus}{whole}.{rest[: max(digits, 0)].ljust(min(digits, 6), '0')}"


def _ties_away(value: float, kind: str, digits: int) -> float:
    """What lies in the middle of two results goes away from zero in msvcrt.dll, and to the even one in Python."""
    from decimal import ROUND_HALF_UP, Context, Decimal

    exact = Decimal(value)
    _, places, exponent = exact.as_tuple()
    if places[-1] != 5 or not isinstance(exponent, int):
        return value
    if kind in "fF":
        if -exponent != digits + 1:
            return value
        return float(exact.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))
    count = digits + 1 if kind in "eE" else digits
    if len(places) != count + 1:
        return value
    return float(Context(prec=count, rounding=ROUND_HALF_UP).plus(exact))


def _string(system: System, address: int, kind: str, size: str, precision: int | None) -> str:
    wide = kind == "S" or size in ("l", "w")
    if not address:
        text = "(null)"
    elif wide:
        text = system.wide(address) or ""
    elif precision is not None:  # it need not end
        data = b""
        while len(data) < precision:
            piece = system.memory.read(address + len(data), 1)
            if piece == b"\0":
                break
            data += piece
        text = data.decode("latin-1")
    else:
        text = (system.text(address) or b"").decode("latin-1")
    return text if precision is None else text[:precision]
