"""A few functions of DLLs about the machine and its user: USERENV, DBGHELP, IPHLPAPI, POWRPROF, SECUR32, CFGMGR32, SHLWAPI."""

from __future__ import annotations

from rtld.backends.windows.api import Dll
from rtld.backends.windows.paths import full_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.backends.windows.system import System

USERENV = Dll("userenv.dll")
DBGHELP = Dll("dbghelp.dll")
IPHLPAPI = Dll("iphlpapi.dll")
POWRPROF = Dll("powrprof.dll")
SECUR32 = Dll("secur32.dll")
CFGMGR32 = Dll("cfgmgr32.dll")
SHLWAPI = Dll("shlwapi.dll")
_NO_DATA, _NOT_IMPLEMENTED = 232, 0xC0000002


@USERENV.both("GetUserProfileDirectory", "ppp")
def get_user_profile_directory(system: System, wide: bool, _token: int, out: int, size: int) -> int:
    """USERPROFILE, where it is a directory of Windows; else the root."""
    name = next((v for k, v in system.environ.items() if k.upper() == "USERPROFILE"), "")
    name = full_name(name, system.directory) if name[1:2] == ":" else "C:\\"
    room = system.number(size, 4)
    system.put(size, len(name) + 1, 4)
    if not out or room < len(name) + 1:
        return system.fail(122)
    system.put_string(wide, out, room, name)
    return 1


# -- symbols: there are none to be looked up -------------------------------------------------------


@DBGHELP("SymInitialize SymInitializeW", "ppu")
def sym_initialize(_system: System, *_: int) -> int:
    return 1


@DBGHELP("SymCleanup", "p")
def sym_cleanup(_system: System, _process: int) -> int:
    return 1


@DBGHELP("SymSetOptions", "u")
def sym_set_options(system: System, options: int) -> int:
    system.cache["symbol options"] = options
    return options


@DBGHELP("SymGetOptions", "")
def sym_get_options(system: System) -> int:
    return int(system.cache.get("symbol options", 0))


@DBGHELP("SymFromAddr SymFromAddrW", "pqpp")
@DBGHELP("SymGetLineFromAddr64 SymGetLineFromAddrW64", "pqpp")
def sym_from_addr(system: System, *_: int) -> int:
    return system.fail(126)


@DBGHELP("MiniDumpWriteDump", "pupuppp")
def mini_dump_write_dump(system: System, *_: int) -> int:
    return system.fail(50)


# -- network, power, security, devices ------------------------------------------------------------


@IPHLPAPI("if_nametoindex", "s")
def if_nametoindex(_system: System, _name: bytes) -> int:
    return 0


@IPHLPAPI("GetAdaptersAddresses", "uuppp")
def get_adapters_addresses(_system: System, *_: int) -> int:
    return _NO_DATA


@IPHLPAPI("GetBestInterfaceEx", "pp")
def get_best_interface_ex(_system: System, *_: int) -> int:
    return 1231  # ERROR_NETWORK_UNREACHABLE


@POWRPROF("CallNtPowerInformation", "ipupu")
def call_nt_power_information(_system: System, *_: int) -> int:
    return _NOT_IMPLEMENTED


@POWRPROF("PowerRegisterSuspendResumeNotification", "upp")
def power_register_suspend_resume_notification(system: System, _flags: int, _recipient: int, out: int) -> int:  # fmt: skip
    """The machine never sleeps."""
    system.put(out, 1)
    return 0


@POWRPROF("PowerUnregisterSuspendResumeNotification", "p")
def power_unregister_suspend_resume_notification(_system: System, _registration: int) -> int:
    return 0


@SECUR32("InitSecurityInterfaceA InitSecurityInterfaceW", "", "p")
def init_security_interface(_system: System) -> int:
    return 0


@CFGMGR32.both("CM_Get_Device_ID_List_Size", "ptu")
def cm_get_device_id_list_size(system: System, _wide: bool, out: int, _filter: str, _flags: int) -> int:  # fmt: skip
    system.put(out, 1, 4)
    return 0


@CFGMGR32.both("CM_Get_Device_ID_List", "tpuu")
def cm_get_device_id_list(system: System, wide: bool, _filter: str, out: int, room: int, _flags: int) -> int:  # fmt: skip
    system.put_string(wide, out, room, "")
    return 0


@SHLWAPI.both("UrlIs", "tu")
def url_is(_system: System, _wide: bool, text: str, kind: int) -> int:
    """URLIS_FILEURL alone is told."""
    return int(kind == 3 and (text or "").lower().startswith("file:"))


@SHLWAPI.both("PathIsRelative", "t")
def path_is_relative(_system: System, _wide: bool, text: str) -> int:
    return int(not (text or "").startswith(("\\", "/")) and (text or "")[1:2] != ":")


@SHLWAPI.both("PathFileExists", "t")
def path_file_exists(system: System, _wide: bool, text: str) -> int:
    import os

    path = system.path(text) if text else None
    return int(path is not None and os.path.exists(path)) or system.fail(2)
