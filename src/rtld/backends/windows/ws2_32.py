"""WS2_32.dll: there is no network. What needs none works; what does says so."""

from __future__ import annotations

import socket
import struct

from rtld.backends.windows.api import Dll
from rtld.backends.windows.kernel32 import KERNEL32
from rtld.backends.windows.kernel32_sync import wait_for_multiple_objects
from rtld.backends.windows.system import Handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.backends.windows.system import System

WS2_32 = Dll("ws2_32.dll")
WS2_32.ordinals = {
    1: "accept", 2: "bind", 3: "closesocket", 4: "connect", 5: "getpeername", 6: "getsockname", 7: "getsockopt", 8: "htonl",
    9: "htons", 10: "ioctlsocket", 11: "inet_addr", 12: "inet_ntoa", 13: "listen", 14: "ntohl", 15: "ntohs", 16: "recv",
    17: "recvfrom", 18: "select", 19: "send", 20: "sendto", 21: "setsockopt", 22: "shutdown", 23: "socket", 52: "gethostbyname",
    57: "gethostname", 111: "WSAGetLastError", 112: "WSASetLastError", 115: "WSAStartup", 116: "WSACleanup", 151: "__WSAFDIsSet",
}  # fmt: skip
_NETWORK_DOWN, _NOT_INITIALISED, _NOT_SOCKET = 10050, 10093, 10038
_INVALID_SOCKET = -1


def _fail(system: System, error: int, result: int = -1) -> int:
    return system.fail(error, result)


@WS2_32("WSAStartup", "up", "i")
def wsa_startup(system: System, version: int, data: int) -> int:
    """Started, so that programs say themselves what they cannot do: every socket fails with WSAENETDOWN."""
    wanted = min(version & 0xFFFF, 0x202, key=lambda v: (v & 255, v >> 8))
    head = struct.pack("<HH", wanted, 0x202)
    if system.bits == 64:
        system.memory.write(data, head + struct.pack("<HH", 0, 0) + bytes(8) + b"rtld\0".ljust(257, b"\0") + b"No network\0".ljust(129, b"\0"))  # fmt: skip
    else:
        system.memory.write(data, head + b"rtld\0".ljust(257, b"\0") + b"No network\0".ljust(129, b"\0") + bytes(8))  # fmt: skip
    system.cache["sockets"] = system.cache.get("sockets", 0) + 1
    return 0


@WS2_32("WSACleanup", "", "i")
def wsa_cleanup(system: System) -> int:
    if not system.cache.get("sockets", 0):
        return _fail(system, _NOT_INITIALISED)
    system.cache["sockets"] -= 1
    return 0


@WS2_32("WSAGetLastError", "", "i")
def wsa_get_last_error(system: System) -> int:
    return system.last_error


@WS2_32("WSASetLastError", "i", "v")
def wsa_set_last_error(system: System, error: int) -> None:
    system.last_error = error


@WS2_32("socket", "iii", "p")
@WS2_32("WSASocketA WSASocketW", "iiipuu", "p")
def socket_(system: System, *_: int) -> int:
    started = system.cache.get("sockets", 0)
    return _fail(system, _NETWORK_DOWN if started else _NOT_INITIALISED, _INVALID_SOCKET)


def _no_socket(name: str, arguments: str) -> None:
    @WS2_32(name, arguments, "i")
    def action(system: System, *_: int) -> int:
        started = system.cache.get("sockets", 0)
        return _fail(system, _NOT_SOCKET if started else _NOT_INITIALISED)


for _names, _arguments in {
    "closesocket": "p", "bind connect": "ppi", "listen shutdown": "pi", "accept getsockname getpeername": "ppp",
    "send recv": "ppii", "sendto": "ppiipi", "recvfrom": "ppiipp", "getsockopt setsockopt": "piipp", "ioctlsocket": "pip",
    "WSAIoctl": "pupupuppp", "WSARecv WSASend": "ppuppp" + "p", "WSARecvFrom WSASendTo": "ppuppppp" + "p", "WSAEventSelect": "ppi",
    "WSAEnumNetworkEvents": "ppp", "WSAGetOverlappedResult": "pppup", "WSAConnect": "ppipppp", "WSASendDisconnect WSARecvDisconnect": "pp",
    "WSADuplicateSocketA WSADuplicateSocketW": "pup", "WSASendMsg": "ppuppp", "WSAAccept": "ppppp", "WSAPoll": "pui",
}.items():  # fmt: skip
    _no_socket(_names, _arguments)


@WS2_32("__WSAFDIsSet", "pp", "i")
def wsa_fd_is_set(_system: System, *_: int) -> int:
    return 0


# -- events: those of KERNEL32 --------------------------------------------------------------------

for _name, _other in {
    "WSASetEvent": "SetEvent",
    "WSAResetEvent": "ResetEvent",
    "WSACloseEvent": "CloseHandle",
}.items():
    WS2_32.functions[_name] = KERNEL32.functions[_other]._replace(dll=WS2_32.name, name=_name)


@WS2_32("WSACreateEvent", "", "p")
def wsa_create_event(system: System) -> int:
    return system.add(Handle("event", manual=True, signalled=False))


@WS2_32("WSAWaitForMultipleEvents", "upuuu")
def wsa_wait_for_multiple_events(system: System, count: int, events: int, everything: int, milliseconds: int, alertable: int) -> Any:  # fmt: skip
    return wait_for_multiple_objects(system, count, events, everything, milliseconds, alertable)


@WS2_32("WSAEnumProtocolsA WSAEnumProtocolsW", "ppp", "i")
def wsa_enum_protocols(system: System, _wanted: int, _out: int, size: int) -> int:
    """There are none."""
    if not system.cache.get("sockets", 0):
        return _fail(system, _NOT_INITIALISED)
    system.put(size, 0, 4)
    return 0


@WS2_32("select", "ipppp", "i")
def select(system: System, *_: int) -> int:
    return _fail(system, 10022)  # WSAEINVAL: no set has a socket


@WS2_32("gethostbyname", "s", "p")
def gethostbyname(system: System, _name: bytes) -> int:
    return _fail(system, 11001, 0)  # WSAHOST_NOT_FOUND


@WS2_32("getaddrinfo", "sspp", "i")
@WS2_32("GetAddrInfoW", "wwpp", "i")
def getaddrinfo(system: System, *_: object) -> int:
    system.last_error = 11001
    return 11001


@WS2_32("freeaddrinfo FreeAddrInfoW", "p", "v")
def freeaddrinfo(_system: System, _list: int) -> None:
    return


@WS2_32("gethostname", "pi", "i")
def gethostname(system: System, out: int, room: int) -> int:
    if room < 5:
        return _fail(system, 10014)
    system.memory.write(out, b"rtld\0")
    return 0


@WS2_32("GetHostNameW", "pi", "i")
def get_host_name_w(system: System, out: int, room: int) -> int:
    if room < 5:
        return _fail(system, 10014)
    system.put_text(out, "rtld", room)
    return 0


@WS2_32("htonl ntohl", "u")
def htonl(_system: System, value: int) -> int:
    return int.from_bytes(value.to_bytes(4, "little"), "big")


@WS2_32("htons ntohs", "u")
def htons(_system: System, value: int) -> int:
    return int.from_bytes((value & 0xFFFF).to_bytes(2, "little"), "big")


@WS2_32("inet_addr", "s")
def inet_addr(_system: System, text: bytes) -> int:
    try:
        return int.from_bytes(socket.inet_aton(text.decode("ascii")), "little")
    except (OSError, UnicodeDecodeError):
        return 0xFFFFFFFF


@WS2_32("inet_ntoa", "u", "p")
def inet_ntoa(system: System, address: int) -> int:
    return system.keep(socket.inet_ntoa(address.to_bytes(4, "little")).encode() + b"\0")
