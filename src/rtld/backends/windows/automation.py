"""OLEAUT32, COMBASE, RPCRT4: strings and variants of automation, memory of components, identifiers. No component is there."""

from __future__ import annotations

import os
import struct
import uuid

from rtld.backends.windows import others
from rtld.backends.windows.api import Dll

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.backends.windows.system import System

OLEAUT32 = Dll("oleaut32.dll")
COMBASE = Dll("combase.dll")
RPCRT4 = Dll("rpcrt4.dll")
_BSTR = 8  # VT_BSTR
_MOST = 1 << 28

for _name, _api in others.OLE32.functions.items():
    COMBASE.functions[_name] = _api._replace(dll=COMBASE.name)
OLEAUT32.ordinals = {
    2: "SysAllocString", 4: "SysAllocStringLen", 6: "SysFreeString", 7: "SysStringLen", 8: "VariantInit", 9: "VariantClear",
    16: "SafeArrayDestroy", 149: "SysStringByteLen", 150: "SysAllocStringByteLen", 200: "GetErrorInfo", 201: "SetErrorInfo",
}  # fmt: skip

# -- BSTR: UTF-16 with its length in bytes before it -----------------------------------------------


def _string(system: System, data: bytes) -> int:
    at = system.heap.allocate(len(data) + 18)
    if not at:
        return 0
    system.memory.write(at + 12, struct.pack("<I", len(data)) + data + b"\0\0")
    return at + 16


@OLEAUT32("SysAllocString", "w", "p")
def sys_alloc_string(system: System, text: str | None) -> int:
    return 0 if text is None else _string(system, text.encode("utf-16-le", "surrogatepass"))


@OLEAUT32("SysAllocStringLen", "pu", "p")
def sys_alloc_string_len(system: System, source: int, length: int) -> int:
    if length >= _MOST:
        return 0
    return _string(system, system.memory.read(source, 2 * length) if source and length else bytes(2 * length))  # fmt: skip


@OLEAUT32("SysAllocStringByteLen", "pu", "p")
def sys_alloc_string_byte_len(system: System, source: int, size: int) -> int:
    if size >= _MOST:
        return 0
    return _string(system, system.memory.read(source, size) if source and size else bytes(size))


@OLEAUT32("SysFreeString", "p", "v")
def sys_free_string(system: System, text: int) -> None:
    if text:
        system.heap.free(text - 16)


@OLEAUT32("SysStringByteLen", "p")
def sys_string_byte_len(system: System, text: int) -> int:
    return system.number(text - 4, 4) if text else 0


@OLEAUT32("SysStringLen", "p")
def sys_string_len(system: System, text: int) -> int:
    return int(sys_string_byte_len(system, text)) // 2


# -- variants -------------------------------------------------------------------------------------


@OLEAUT32("VariantInit", "p", "v")
def variant_init(system: System, at: int) -> None:
    system.put(at, 0, 2)


@OLEAUT32("VariantClear", "p", "i")
def variant_clear(system: System, at: int) -> int:
    if system.number(at, 2) == _BSTR:
        sys_free_string(system, system.number(at + 8))
    system.put(at, 0, 2)
    return 0


@OLEAUT32("SafeArrayDestroy", "p", "i")
def safe_array_destroy(_system: System, array: int) -> int:
    return 0 if not array else -2147024809  # E_INVALIDARG: nobody has made one


@OLEAUT32("GetErrorInfo", "up", "i")
def get_error_info(system: System, _reserved: int, out: int) -> int:
    system.put(out, 0)
    return 1  # S_FALSE: there is none


@OLEAUT32("SetErrorInfo", "up", "i")
def set_error_info(_system: System, _reserved: int, _info: int) -> int:
    return 0


@COMBASE("RoOriginateErrorW", "iup")
@COMBASE("RoOriginateError", "ip")
def ro_originate_error(_system: System, *_: int) -> int:
    return 0


# -- identifiers ----------------------------------------------------------------------------------


@RPCRT4("UuidCreate UuidCreateSequential", "p", "i")
def uuid_create(system: System, out: int) -> int:
    system.memory.write(out, uuid.UUID(bytes=os.urandom(16), version=4).bytes_le)
    return 0


@RPCRT4.both("UuidToString", "pp", "i")
def uuid_to_string(system: System, wide: bool, at: int, out: int) -> int:
    text = str(uuid.UUID(bytes_le=system.memory.read(at, 16)))
    place = system.heap.allocate(80)
    system.put_string(wide, place, 40, text)
    system.put(out, place)
    return 0


@RPCRT4.both("RpcStringFree", "p", "i")
def rpc_string_free(system: System, _wide: bool, at: int) -> int:
    system.heap.free(system.number(at))
    system.put(at, 0)
    return 0
