"""TextObject -> text (project 3-1)."""

from __future__ import annotations

from rtld.errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.textbook.object import TextObject


def write_object(thing: TextObject) -> str:
    """The text of an object, executable or shared library; what ``read_object`` makes of it is equal to *thing*."""
    lines = [" ".join([thing.magic, *map(_name, thing.needed)])]
    counts = len(thing.segments), len(thing.symbols), len(thing.relocations)
    lines.append(" ".join([*map(str, counts), *thing.extra]))
    lines += [f"{_name(s.name)} {s.start:x} {s.length:x} {s.flags}" for s in thing.segments]
    lines += [f"{_name(s.name)} {s.value:x} {s.segment} {s.type}" for s in thing.symbols]
    lines += [
        " ".join([f"{r.loc:x} {r.segment} {r.ref} {r.type}", *r.extra]) for r in thing.relocations
    ]
    lines += [s.data.hex() for s in thing.segments if s.present and s.length]
    return "\n".join([*lines, ""])


def _name(text: str) -> str:
    """A name, which the format has no way to quote."""
    if text.split() != [text] or text.startswith("#") or not text.isprintable():
        raise Unsupported(f"the name {text!r} cannot be written in the text object format")
    return text
