"""ADVAPI32.dll: random bytes, the user's name, and a registry that lives as long as the process."""

from __future__ import annotations

import os

from rtld.backends.windows.api import Dll
from rtld.backends.windows.system import Handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.backends.windows.system import System

ADVAPI32 = Dll("advapi32.dll")
CRYPTSP = Dll("cryptsp.dll")
BCRYPT = Dll("bcrypt.dll")
BCRYPTPRIMITIVES = Dll("bcryptprimitives.dll")
_MOST_RANDOM = 1 << 24

# -- random bytes ---------------------------------------------------------------------------------


def _random(system: System, out: int, size: int) -> bool:
    if size > _MOST_RANDOM:
        return False
    if size:
        system.memory.write(out, os.urandom(size))
    return True


@ADVAPI32("SystemFunction036", "pu")
@CRYPTSP("SystemFunction036", "pu")
@BCRYPTPRIMITIVES("ProcessPrng", "pp")
def rtl_gen_random(system: System, out: int, size: int) -> int:
    return int(_random(system, out, size))


@BCRYPT("BCryptGenRandom", "ppuu")
def bcrypt_gen_random(system: System, provider: int, out: int, size: int, flags: int) -> int:
    if (not provider and not flags & 2) or not _random(system, out, size):
        return 0xC0000008 if not provider else 0xC000000D
    return 0


@BCRYPT("BCryptOpenAlgorithmProvider", "pwwu")
def bcrypt_open_algorithm_provider(system: System, out: int, name: str, _implementation: str, _flags: int) -> int:  # fmt: skip
    """Random numbers only; all else is not there (STATUS_NOT_FOUND)."""
    if (name or "") != "RNG":
        return 0xC0000225
    system.put(out, system.add(Handle("provider")))
    return 0


@BCRYPT("BCryptCloseAlgorithmProvider", "pu")
def bcrypt_close_algorithm_provider(system: System, provider: int, _flags: int) -> int:
    return 0 if system.close(provider) else 0xC0000008


@ADVAPI32.both("CryptAcquireContext", "pttuu")
def crypt_acquire_context(system: System, _wide: bool, out: int, _name: str, _provider: str, _kind: int, _flags: int) -> int:  # fmt: skip
    system.put(out, system.add(Handle("provider")))
    return 1


@ADVAPI32("CryptReleaseContext", "pu")
def crypt_release_context(system: System, provider: int, _flags: int) -> int:
    return int(system.close(provider)) or system.fail(87)


@ADVAPI32("CryptGenRandom", "pup")
def crypt_gen_random(system: System, provider: int, size: int, out: int) -> int:
    if system.handle(provider, "provider") is None:
        return system.fail(87)
    return int(_random(system, out, size)) or system.fail(87)


# -- the registry ---------------------------------------------------------------------------------
# Empty at first. A key: its subkeys and values by name in lower case, with the name as it was given.

_ROOTS = {0x80000000: "HKEY_CLASSES_ROOT", 0x80000001: "HKEY_CURRENT_USER", 0x80000002: "HKEY_LOCAL_MACHINE",
          0x80000003: "HKEY_USERS", 0x80000005: "HKEY_CURRENT_CONFIG"}  # fmt: skip
_NOT_FOUND, _NO_MORE, _MORE_DATA, _BAD_HANDLE = 2, 259, 234, 6
_TEXTS = (1, 2, 7)  # REG_SZ, REG_EXPAND_SZ, REG_MULTI_SZ


class Key:
    """One key."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.keys: dict[str, Key] = {}
        self.values: dict[str, tuple[str, int, bytes]] = {}
        self.deleted = False


def _key(system: System, handle: int) -> Key | None:
    root = _ROOTS.get(handle & 0xFFFFFFFF)
    if root is not None:
        key: Key = system.cache.setdefault("registry", {}).setdefault(root, Key(root))
        return key
    found = system.handles.get(handle)
    return found.key if found is not None and found.kind == "key" else None


def _walk(key: Key, path: str, *, make: bool = False) -> tuple[Key | None, bool]:
    """(the key below, whether it is new)."""
    new = False
    for part in filter(None, path.split("\\")):
        following = key.keys.get(part.lower())
        if following is None:
            if not make:
                return None, False
            following = key.keys[part.lower()] = Key(part)
            new = True
        key = following
    return key, new


@ADVAPI32.both("RegOpenKeyEx", "ptuup")
def reg_open_key_ex(system: System, _wide: bool, handle: int, path: str, _options: int, _access: int, out: int) -> int:  # fmt: skip
    key = _key(system, handle)
    if key is None:
        return _BAD_HANDLE
    found, _ = _walk(key, path or "")
    if found is None:
        system.put(out, 0)
        return _NOT_FOUND
    system.put(out, system.add(Handle("key", key=found)))
    return 0


@ADVAPI32.both("RegOpenKey", "ptp")
def reg_open_key(system: System, wide: bool, handle: int, path: str, out: int) -> int:
    return int(reg_open_key_ex(system, wide, handle, path, 0, 0, out))


@ADVAPI32.both("RegCreateKeyEx", "ptupuuppp")
def reg_create_key_ex(system: System, _wide: bool, handle: int, path: str, _reserved: int, _class: int, _options: int, _access: int, _sa: int, out: int, disposition: int) -> int:  # fmt: skip
    key = _key(system, handle)
    if key is None:
        return _BAD_HANDLE
    found, new = _walk(key, path or "", make=True)
    system.put(out, system.add(Handle("key", key=found)))
    if disposition:
        system.put(disposition, 1 if new else 2, 4)
    return 0


@ADVAPI32.both("RegCreateKey", "ptp")
def reg_create_key(system: System, wide: bool, handle: int, path: str, out: int) -> int:
    return int(reg_create_key_ex(system, wide, handle, path, 0, 0, 0, 0, 0, out, 0))


@ADVAPI32("RegCloseKey", "p")
def reg_close_key(system: System, handle: int) -> int:
    if handle & 0xFFFFFFFF in _ROOTS:
        return 0
    return 0 if _key(system, handle) is not None and system.close(handle) else _BAD_HANDLE


@ADVAPI32("RegFlushKey", "p")
def reg_flush_key(system: System, handle: int) -> int:
    return 0 if _key(system, handle) is not None else _BAD_HANDLE


@ADVAPI32.both("RegSetValueEx", "ptuupu")
def reg_set_value_ex(system: System, wide: bool, handle: int, name: str, _reserved: int, kind: int, data: int, size: int) -> int:  # fmt: skip
    key = _key(system, handle)
    if key is None:
        return _BAD_HANDLE
    content = system.memory.read(data, size) if size and size <= _MOST_RANDOM else b""
    if not wide and kind in _TEXTS:
        content = content.decode("cp1252", "replace").encode("utf-16-le")
    key.values[(name or "").lower()] = name or "", kind, content
    return 0


def _give(system: System, wide: bool, value: tuple[str, int, bytes], kind: int, out: int, size: int) -> int:  # fmt: skip
    """A value to where the program wants it; ERROR_MORE_DATA where it does not fit."""
    content = value[2]
    if not wide and value[1] in _TEXTS:
        content = content.decode("utf-16-le", "replace").encode("cp1252", "replace")
    if kind:
        system.put(kind, value[1], 4)
    if not size:
        return 0 if not out else 87
    room = system.number(size, 4)
    system.put(size, len(content), 4)
    if not out:
        return 0
    if room < len(content):
        return _MORE_DATA
    if content:
        system.memory.write(out, content)
    return 0


@ADVAPI32.both("RegQueryValueEx", "ptpppp")
def reg_query_value_ex(system: System, wide: bool, handle: int, name: str, _reserved: int, kind: int, out: int, size: int) -> int:  # fmt: skip
    key = _key(system, handle)
    if key is None:
        return _BAD_HANDLE
    value = key.values.get((name or "").lower())
    return _NOT_FOUND if value is None else _give(system, wide, value, kind, out, size)


@ADVAPI32.both("RegGetValue", "pttuppp")
def reg_get_value(system: System, wide: bool, handle: int, path: str, name: str, _flags: int, kind: int, out: int, size: int) -> int:  # fmt: skip
    key = _key(system, handle)
    if key is None:
        return _BAD_HANDLE
    found, _ = _walk(key, path or "")
    value = found.values.get((name or "").lower()) if found is not None else None
    return _NOT_FOUND if value is None else _give(system, wide, value, kind, out, size)


@ADVAPI32.both("RegEnumValue", "puppppp" + "p")
def reg_enum_value(system: System, wide: bool, handle: int, index: int, name: int, room: int, _reserved: int, kind: int, out: int, size: int) -> int:  # fmt: skip
    key = _key(system, handle)
    if key is None:
        return _BAD_HANDLE
    if index >= len(key.values):
        return _NO_MORE
    value = list(key.values.values())[index]
    have = system.number(room, 4)
    if len(value[0]) + 1 > have:
        return _MORE_DATA
    system.put(room, system.put_string(wide, name, have, value[0]), 4)
    return _give(system, wide, value, kind, out, size) if size or kind else 0


@ADVAPI32.both("RegEnumKeyEx", "pupppppp")
def reg_enum_key_ex(system: System, wide: bool, handle: int, index: int, name: int, room: int, *_: int) -> int:  # fmt: skip
    key = _key(system, handle)
    if key is None:
        return _BAD_HANDLE
    if index >= len(key.keys):
        return _NO_MORE
    text = sorted(key.keys.values(), key=lambda k: k.name.upper())[index].name
    have = system.number(room, 4)
    if len(text) + 1 > have:
        return _MORE_DATA
    system.put(room, system.put_string(wide, name, have, text), 4)
    return 0


@ADVAPI32.both("RegEnumKey", "pupu")
def reg_enum_key(system: System, wide: bool, handle: int, index: int, name: int, room: int) -> int:
    key = _key(system, handle)
    if key is None:
        return _BAD_HANDLE
    if index >= len(key.keys):
        return _NO_MORE
    text = sorted(key.keys.values(), key=lambda k: k.name.upper())[index].name
    if len(text) + 1 > room:
        return _MORE_DATA
    system.put_string(wide, name, room, text)
    return 0


@ADVAPI32.both("RegQueryInfoKey", "pppppppppppp")
def reg_query_info_key(system: System, _wide: bool, handle: int, _class: int, _room: int, _reserved: int, keys: int, longest_key: int, _longest_class: int, values: int, longest_value: int, largest: int, *_: int) -> int:  # fmt: skip
    key = _key(system, handle)
    if key is None:
        return _BAD_HANDLE
    numbers: list[tuple[int, Any]] = [
        (keys, len(key.keys)), (longest_key, max((len(k.name) for k in key.keys.values()), default=0)),
        (values, len(key.values)), (longest_value, max((len(v[0]) for v in key.values.values()), default=0)),
        (largest, max((len(v[2]) for v in key.values.values()), default=0)),
    ]  # fmt: skip
    for place, value in numbers:
        if place:
            system.put(place, value, 4)
    return 0


@ADVAPI32.both("RegDeleteValue", "pt")
def reg_delete_value(system: System, _wide: bool, handle: int, name: str) -> int:
    key = _key(system, handle)
    if key is None:
        return _BAD_HANDLE
    return 0 if key.values.pop((name or "").lower(), None) is not None else _NOT_FOUND


def _delete(system: System, handle: int, path: str, *, tree: bool) -> int:
    key = _key(system, handle)
    if key is None:
        return _BAD_HANDLE
    parent, _, last = (path or "").rpartition("\\")
    above, _ = _walk(key, parent)
    found = above.keys.get(last.lower()) if above is not None else None
    if found is None:
        return _NOT_FOUND
    if found.keys and not tree:
        return 5
    assert above is not None
    del above.keys[last.lower()]
    return 0


@ADVAPI32.both("RegDeleteKey", "pt")
def reg_delete_key(system: System, _wide: bool, handle: int, path: str) -> int:
    return _delete(system, handle, path, tree=False)


@ADVAPI32.both("RegDeleteKeyEx", "ptuu")
def reg_delete_key_ex(system: System, _wide: bool, handle: int, path: str, _access: int, _reserved: int) -> int:  # fmt: skip
    return _delete(system, handle, path, tree=False)


@ADVAPI32.both("RegDeleteTree", "pt")
def reg_delete_tree(system: System, _wide: bool, handle: int, path: str) -> int:
    return _delete(system, handle, path, tree=True)


# -- users and events -----------------------------------------------------------------------------


@ADVAPI32.both("GetUserName", "pp")
def get_user_name(system: System, wide: bool, out: int, size: int) -> int:
    name = next((v for k, v in system.environ.items() if k.upper() in ("USERNAME", "USER")), "user")
    room = system.number(size, 4)
    system.put(size, len(name) + 1, 4)
    if room < len(name) + 1:
        return system.fail(122)
    system.put_string(wide, out, room, name)
    return 1


@ADVAPI32.both("RegisterEventSource", "tt", "p")
def register_event_source(system: System, _wide: bool, _server: str, _name: str) -> int:
    return system.fail(120)


@ADVAPI32("DeregisterEventSource", "p")
def deregister_event_source(system: System, _source: int) -> int:
    return system.fail(6)


@ADVAPI32("OpenProcessToken", "pup")
@ADVAPI32("OpenThreadToken", "puup")
def open_process_token(system: System, *_: int) -> int:
    return system.fail(5)
