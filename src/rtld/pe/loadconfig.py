"""The load configuration: security cookie, guard tables, hybrid metadata ("PE Format"; winnt.h, by name).

Its size has grown with every system; a field that the file's own ``Size`` does not reach is absent.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.pe.file import PeFile

# fmt: off
#: name -> (offset in 32 bits, offset in 64 bits, 0: a pointer or the number of bytes)
FIELDS = {
    "TimeDateStamp":                  (4,   4,   4),
    "GlobalFlagsClear":               (12,  12,  4),
    "GlobalFlagsSet":                 (16,  16,  4),
    "DependentLoadFlags":             (54,  78,  2),
    "SecurityCookie":                 (60,  88,  0),
    "SEHandlerTable":                 (64,  96,  0),
    "SEHandlerCount":                 (68,  104, 0),
    "GuardCFCheckFunctionPointer":    (72,  112, 0),
    "GuardCFDispatchFunctionPointer": (76,  120, 0),
    "GuardCFFunctionTable":           (80,  128, 0),
    "GuardCFFunctionCount":           (84,  136, 0),
    "GuardFlags":                     (88,  144, 4),
    "DynamicValueRelocTable":         (116, 192, 0),
    "CHPEMetadataPointer":            (120, 200, 0),
}
# fmt: on


def load_config(file: PeFile) -> dict[str, int]:
    """The fields that the file has, by name; addresses are virtual ones, as in the file. {} without a directory."""
    from rtld.pe.types import LOAD_CONFIG

    directory = file.directory(LOAD_CONFIG)
    if directory is None:
        return {}
    what = "load config directory"
    size = int.from_bytes(file.read(directory.rva, 4, what), "little")
    if size < 4:
        size = directory.size  # of old linkers
    at, left = file.room(directory.rva, what)
    if size > left:
        file.complain(what, "Size", size, f"at most {left:#x}")
        size = left
    data = file.data[at : at + size]
    result = {"Size": size}
    for name, (narrow, wide, width) in FIELDS.items():
        start = wide if file.bits == 64 else narrow
        width = width or file.bits // 8
        if start + width <= size:
            result[name] = int.from_bytes(data[start : start + width], "little")
    return result


def handlers_of(file: PeFile) -> frozenset[int] | None:
    """RVAs of the exception handlers that an x86 image lists (SafeSEH); None: it says nothing, any may be one. FormatError."""
    from rtld.pe.types import IMAGE_DLLCHARACTERISTICS_NO_SEH

    found = file.cache.get("handlers")
    if found is None:
        found = file.cache["handlers"] = (_handlers(file),)
    if file.dll_characteristics & IMAGE_DLLCHARACTERISTICS_NO_SEH:
        return frozenset()
    return found[0]  # type: ignore[index,no-any-return]


def _handlers(file: PeFile) -> frozenset[int] | None:
    config = load_config(file)
    table, count = config.get("SEHandlerTable", 0), config.get("SEHandlerCount", 0)
    if not table or not count:
        return None
    what = "load config directory, SEHandlerTable"
    if not file.base <= table < file.base + file.size_of_image or count > file.size_of_image // 4:
        raise file.fail(what, "address and count", table, f"{count} rows in the image")
    data = file.read(table - file.base, 4 * count, what)
    return frozenset(int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4))
