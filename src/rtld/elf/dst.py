"""Dynamic string tokens: $ORIGIN, $LIB, $PLATFORM, plain or in braces (glibc elf/dl-load.c, ld.so(8)).

A token is the longest name that follows the '$' (gABI, "Substitution Sequences"): "$ORIGINAL" is none. An unknown token
stays as it is; a known one without a value makes the whole path unusable, which is said by returning "".
"""

from __future__ import annotations

_TOKENS = ("ORIGIN", "PLATFORM", "LIB")


def _token_at(text: str, at: int) -> tuple[str, int]:
    """(token, length behind the '$') at ``text[at]``, the place after a '$'; ("", 0) if there is none."""
    braced = text.startswith("{", at)
    start = at + braced
    for token in _TOKENS:
        if text.startswith(token, start):
            after = text[start + len(token) : start + len(token) + 1]
            if braced and after != "}":
                return "", 0
            if after == "_" or (after.isascii() and after.isalnum()):
                return "", 0
            return token, len(token) + 2 * braced
    return "", 0


def has_tokens(text: str) -> bool:
    """Whether there is any token to replace (glibc: _dl_dst_count)."""
    at = text.find("$")
    while at >= 0:
        _token, length = _token_at(text, at + 1)
        if length:
            return True
        at = text.find("$", at + 1)
    return False


def expand(
    text: str,
    origin: str | None,
    lib: str,
    platform: str | None,
    *,
    trusted: tuple[str, ...] | None = None,
    is_main: bool = False,
) -> str:
    """``text`` with its tokens replaced; "" when one has no value or, in secure mode, may not be used.

    ``trusted`` are the default directories (each ending in "/") in secure mode, else None. There $ORIGIN counts only
    as the whole first component, and that of the executable only if the result lies in a trusted directory.
    """
    if "$" not in text:
        return text
    result: list[str] = []
    check = False
    at = 0
    while at < len(text):
        if text[at] != "$":
            stop = text.find("$", at)
            stop = len(text) if stop < 0 else stop
            result.append(text[at:stop])
            at = stop
            continue
        name, length = _token_at(text, at + 1)
        if not name:
            result.append("$")
            at += 1
            continue
        value: str | None
        if name == "ORIGIN":
            value = origin
            if trusted is not None:
                if at != 0 or text[1 + length : 2 + length] not in ("", "/"):
                    return ""
                check = is_main
        else:
            value = platform if name == "PLATFORM" else lib
        if value is None:
            return ""
        result.append(value)
        at += 1 + length
    expanded = "".join(result)
    if check and trusted is not None and not is_trusted(expanded, trusted):
        return ""
    return expanded


def is_trusted(path: str, trusted: tuple[str, ...]) -> bool:
    """Whether ``path``, its "." and ".." resolved as text, lies in a trusted directory (is_trusted_path_normalize)."""
    if not path:
        return False
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if parts:
                parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    normal = (
        "/" + "".join([part + "/" for part in parts])
        if path.startswith("/")
        else "/".join([*parts, ""])
    )
    return normal.startswith(trusted)


def expand_musl(text: str, origin: str | None) -> str | None:
    """A path list with $ORIGIN replaced; None when it cannot be used (musl ldso/dynlink.c, fixup_rpath).

    Any '$' that does not begin $ORIGIN or ${ORIGIN} makes the whole list unusable, and "$ORIGINAL" is "$ORIGIN" + "AL".
    """
    if "$" not in text:
        return text
    pieces = text.split("$")
    if any(not piece.startswith(("ORIGIN", "{ORIGIN}")) for piece in pieces[1:]) or origin is None:
        return None
    rest = [piece[8:] if piece.startswith("{") else piece[6:] for piece in pieces[1:]]
    return origin.join([pieces[0], *rest])
