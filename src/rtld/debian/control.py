"""Control files: paragraphs of "Field: value" lines, continued by lines that begin with a blank (Debian Policy 5.1)."""

from __future__ import annotations

from rtld.errors import FormatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_FIELDS = 1000


def paragraph(text: str, path: str, where: str = "control data") -> dict[str, str]:
    """The fields of one paragraph, their names in lower case. FormatError."""
    fields: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        if line[0] in " \t":
            if not name:
                raise FormatError(path, where, "line", line[:60], "a field before its continuation")
            fields[name] += "\n" + line.strip()
            continue
        name, colon, value = line.partition(":")
        name = name.strip().lower()
        if not colon or not name:
            raise FormatError(path, where, "line", line[:60], "Field: value")
        if name in fields:
            raise FormatError(path, where, name, "given twice", "one value")
        if len(fields) == MOST_FIELDS:
            raise FormatError(path, where, "fields", len(fields) + 1, f"at most {MOST_FIELDS}")
        fields[name] = value.strip()
    return fields


def paragraphs(text: str, path: str) -> Iterator[dict[str, str]]:
    """All paragraphs of a file; empty lines are between them."""
    block: list[str] = []
    for line in [*text.splitlines(), ""]:
        if line.strip():
            block.append(line)
            continue
        if any(not each.startswith("#") for each in block):
            yield paragraph("\n".join(block), path)
        block = []
