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
