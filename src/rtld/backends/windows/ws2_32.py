"""WS2_32.dll: there is no network. What needs none works; what does says so."""

from __future__ import annotations

import socket
import struct

from rtld.backends.windows.api import Dll

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.backends.windows.system import System

WS2_32 = Dll("ws2_32.dll")
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
    "WSAIoctl": "pupupuppp",
}.items():  # fmt: skip
    _no_socket(_names, _arguments)


@WS2_32("select", "ipppp", "i")
def select(system: System, *_: int) -> int:
    return _fail(system, 10022)  # WSAEINVAL: no set has a socket


@WS2_32("gethostbyname", "s", "p")
def gethostbyname(system: System, _name: bytes) -> int:
    return _fail(system, 11001, 0)  # WSAHOST_NOT_FOUND


@WS2_32("getaddrinfo", "sspp", "i")
def getaddrinfo(system: System, *_: object) -> int:
    system.last_error = 11001
    return 11001


@WS2_32("freeaddrinfo", "p", "v")
def freeaddrinfo(_system: System, _list: int) -> None:
    return


@WS2_32("gethostname", "pi", "i")
def gethostname(system: System, out: int, room: int) -> int:
    if room < 5:
        return _fail(system, 10014)
    system.memory.write(out, b"rtld\0")
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
