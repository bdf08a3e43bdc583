"""ntdll.dll: files and pipes below KERNEL32, and what a process asks of the system (ntifs.h, winternl.h)."""

from __future__ import annotations

import os
import stat
import struct
import time

from rtld.backends.windows import completion, fileinfo, kernel32_pipes
from rtld.backends.windows.completion import Teller
from rtld.backends.windows.exceptions import NTDLL
from rtld.backends.windows.kernel32_files import open_file, read_pieces, write_pieces
from rtld.backends.windows.kernel32_sync import wait_for_single_object
from rtld.backends.windows.kernel32_time import now
from rtld.backends.windows.paths import attributes as attributes_of
from rtld.backends.windows.paths import filetime, times, windows_name
from rtld.backends.windows.system import Handle
from rtld.backends.windows.unwinding import tables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from rtld.backends.windows.system import System

    Task = Generator[Any, Any, Any]

_BAD_HANDLE = 0xC0000008
_PIECE = 1 << 20
_CURRENT = 0xFFFFFFFFFFFFFFFE  # FILE_USE_FILE_POINTER_POSITION
_SYNCHRONOUS, _DIRECTORY_FILE, _NOT_DIRECTORY, _DELETE = 0x30, 0x1, 0x40, 0x1000
_FILES = ("file", "stream", "pipe")
#: Win32 error -> STATUS_*, of those that opening ends with
_STATUS = {2: fileinfo.NOT_FOUND, 3: fileinfo.NO_PATH, 5: fileinfo.ACCESS_DENIED, 32: fileinfo.SHARING, 80: fileinfo.COLLISION,
           87: fileinfo.INVALID_PARAMETER, 267: fileinfo.NOT_DIRECTORY, 231: 0xC00000AE}  # fmt: skip


# -- reading and writing --------------------------------------------------------------------------


def _teller(block: int, event: int, routine: int, context: int) -> Teller:
    """Whom a request of NTDLL says to tell: an APC has the context, else a port."""
    if routine:
        return Teller(block, event, 0, lambda _status, _count: (routine, context, block, 0))
    return Teller(block, event, context)


def _transfer(system: System, handle: int, teller: Teller, place: int, size: int, offset: int, *, write: bool) -> Any:  # fmt: skip
    found = system.handles.get(handle)
    if found is None or found.kind not in _FILES:
        return _BAD_HANDLE
    if found.kind == "pipe":
        attempt = (kernel32_pipes.writing if write else kernel32_pipes.reading)(system, found, place, size)  # fmt: skip
        if found.__dict__.get("overlapped"):
            return completion.begin(system, found, teller, attempt)[0]
        return _waited(system, found, teller, attempt)
    try:
        at = system.number(offset, 8) if offset and found.kind == "file" else _CURRENT
        if at < 1 << 63:
            os.lseek(found.fd, at, os.SEEK_SET)
        count = (write_pieces if write else read_pieces)(system, found, place, size)
    except OSError as error:
        return completion.PIPE_BROKEN if error.errno == 32 else fileinfo.STATUS.get(error.errno or 0, fileinfo.ACCESS_DENIED)  # fmt: skip
    if size and not count:
        status = completion.END_OF_FILE if found.kind == "file" else completion.PIPE_BROKEN
        if teller.block:
            system.put(teller.block, status)
            system.put(teller.block + system.word, 0)
        return status
    completion.tell(system, found, teller, (0, count), system.threads.current, at_once=True)
    return 0


def _waited(system: System, found: Handle, teller: Teller, attempt: Any) -> Task:
    ended = yield from completion.wait(system, attempt)
    completion.tell(system, found, teller, ended, system.threads.current)
    return ended[0]


@NTDLL("NtReadFile ZwReadFile", "pppppp" + "upp")
def nt_read_file(system: System, handle: int, event: int, routine: int, context: int, block: int, out: int, size: int, offset: int, _key: int) -> Any:  # fmt: skip
    return _transfer(system, handle, _teller(block, event, routine, context), out, size, offset, write=False)  # fmt: skip


@NTDLL("NtWriteFile ZwWriteFile", "pppppp" + "upp")
def nt_write_file(system: System, handle: int, event: int, routine: int, context: int, block: int, data: int, size: int, offset: int, _key: int) -> Any:  # fmt: skip
    return _transfer(system, handle, _teller(block, event, routine, context), data, size, offset, write=True)  # fmt: skip


@NTDLL("NtCancelIoFileEx", "ppp")
@NTDLL("NtCancelIoFile", "pp")
def nt_cancel_io_file(system: System, handle: int, request: int, block: int = 0) -> int:
    found = system.handles.get(handle)
    if found is None:
        return _BAD_HANDLE
    if not block:
        request, block = 0, request
    done = completion.cancel(system, found, request)
    system.put(block, 0)
    return 0 if done or not request else 0xC0000225  # STATUS_NOT_FOUND


@NTDLL("NtFlushBuffersFile", "pp")
def nt_flush_buffers_file(system: System, handle: int, block: int) -> int:
    if system.handles.get(handle) is None:
        return _BAD_HANDLE
    system.put(block, 0)
    return 0


@NTDLL("NtDeviceIoControlFile NtFsControlFile", "pppppu" + "pupu")
def nt_device_io_control_file(_system: System, *_: int) -> int:
    return 0xC0000010  # STATUS_INVALID_DEVICE_REQUEST


# -- opening --------------------------------------------------------------------------------------


def _named(system: System, attributes: int) -> tuple[str, Handle | None]:
    """(name, what it is relative to) of OBJECT_ATTRIBUTES."""
    word = system.word
    root = system.handles.get(system.number(attributes + word))
    text = system.number(attributes + 2 * word)
    if not text:
        return "", root
    size = system.number(text, 2)
    at = system.number(text + word)
    return system.memory.read(at, size).decode("utf-16-le", "surrogatepass") if size else "", root


def _open(system: System, out: int, access: int, attributes: int, block: int, share: int, how: int, options: int) -> int:  # fmt: skip
    """FILE_SUPERSEDE 0, OPEN 1, CREATE 2, OPEN_IF 3, OVERWRITE 4, OVERWRITE_IF 5."""
    name, root = _named(system, attributes)
    if name.lower() == "\\device\\namedpipe\\" and root is None:
        return _opened(system, out, block, system.add(Handle("pipes")))
    if root is not None and root.kind == "pipe" and not name:
        if root.__dict__.get("other", -1) < 0:
            return 0xC00000AE  # STATUS_PIPE_NOT_AVAILABLE
        number = kernel32_pipes.take(system, root, overlapped=not options & _SYNCHRONOUS)
        return _opened(system, out, block, number)
    if root is not None and root.kind == "file":
        name = windows_name(system, root.path).rstrip("\\") + "\\" + name if name else windows_name(system, root.path)  # fmt: skip
    elif root is not None:
        return 0xC0000024  # STATUS_OBJECT_TYPE_MISMATCH
    elif name.startswith("\\??\\"):
        name = name[4:]
    else:  # STATUS_OBJECT_PATH_SYNTAX_BAD: no full name of the kernel's
        return fileinfo.NO_PATH if name.startswith("\\") else 0xC000003B
    path = system.path(name)
    if path is None:
        return fileinfo.ACCESS_DENIED
    made = False
    if options & _DIRECTORY_FILE and how in (2, 3) and not os.path.isdir(path):
        try:
            os.mkdir(path)
        except OSError as error:
            return fileinfo.STATUS.get(error.errno or 0, fileinfo.ACCESS_DENIED)
        how, made = 1, True
    elif options & _DIRECTORY_FILE and os.path.exists(path) and not os.path.isdir(path):
        return fileinfo.NOT_DIRECTORY
    if options & _NOT_DIRECTORY and os.path.isdir(path):
        return fileinfo.IS_DIRECTORY
    wanted = (1 if access & 0xB0000021 else 0) | (2 if access & 0x50000006 else 0) | (4 if access & 0x10010000 else 0)  # fmt: skip
    if os.path.isdir(path):
        wanted &= ~2
    before = system.last_error
    flags = 0x02000000 | (0x04000000 if options & _DELETE else 0)
    number = open_file(system, path, wanted, share, {0: 2, 1: 3, 2: 1, 3: 4, 4: 5, 5: 2}.get(how, 0), flags, append=access & 0x40000006 == 4)  # fmt: skip
    failed, system.last_error = system.last_error, before
    if number == -1:
        return _STATUS.get(failed, fileinfo.ACCESS_DENIED)
    return _opened(system, out, block, number, 1 if how in (1, 4) and not made else 2)


def _opened(system: System, out: int, block: int, number: int, what: int = 1) -> int:
    system.put(out, number)
    system.put(block, 0)
    system.put(block + system.word, what)
    return 0


@NTDLL("NtCreateFile ZwCreateFile", "pupppuuuu" + "pu")
def nt_create_file(system: System, out: int, access: int, attributes: int, block: int, _size: int, _has: int, share: int, how: int, options: int, _ea: int, _length: int) -> int:  # fmt: skip
    return _open(system, out, access, attributes, block, share, how, options)


@NTDLL("NtOpenFile ZwOpenFile", "pupp" + "uu")
def nt_open_file(system: System, out: int, access: int, attributes: int, block: int, share: int, options: int) -> int:  # fmt: skip
    return _open(system, out, access, attributes, block, share, 1, options)


@NTDLL("NtCreateNamedPipeFile", "pupp" + "uuuuuuuuu" + "p")
def nt_create_named_pipe_file(system: System, out: int, _access: int, attributes: int, block: int, share: int, _how: int, options: int, *_: int) -> int:  # fmt: skip
    """share says who may write: FILE_SHARE_WRITE alone: the client; FILE_SHARE_READ alone: the server."""
    name = _named(system, attributes)[0]
    direction = {1: kernel32_pipes.OUTBOUND, 2: kernel32_pipes.INBOUND}.get(share & 3, kernel32_pipes.DUPLEX)  # fmt: skip
    number = kernel32_pipes.make(system, name, direction, overlapped=not options & _SYNCHRONOUS)
    return _opened(system, out, block, number, 2)


# -- about files ----------------------------------------------------------------------------------


@NTDLL("NtQueryInformationFile ZwQueryInformationFile", "pppuu")
def nt_query_information_file(system: System, handle: int, block: int, out: int, room: int, kind: int) -> int:  # fmt: skip
    found = system.handles.get(handle)
    if found is None or found.kind not in _FILES:
        return _BAD_HANDLE
    if kind == 24:  # FilePipeLocalInformation
        data: bytes | None = struct.pack("<10I", 0, 2, 255, 1, 4096, 0, 4096, 4096, 3, 0)
    elif kind == 23:  # FilePipeInformation
        data = struct.pack("<II", 0, 0)
    else:
        data = fileinfo.about(system, found, kind)
    if data is None:
        return fileinfo.NOT_IMPLEMENTED
    if room < len(data) and kind not in (9, 18):
        return fileinfo.LENGTH_MISMATCH
    status = 0 if room >= len(data) else fileinfo.OVERFLOW
    system.memory.write(out, data[:room])
    system.put(block, status)
    system.put(block + system.word, min(len(data), room))
    return status


@NTDLL("NtSetInformationFile ZwSetInformationFile", "pppuu")
def nt_set_information_file(system: System, handle: int, block: int, at: int, size: int, kind: int) -> int:  # fmt: skip
    found = system.handles.get(handle)
    if found is None or found.kind not in _FILES:
        return _BAD_HANDLE
    status = 0
    if kind == 30:  # FileCompletionInformation: port, key
        port = system.handles.get(system.number(at))
        if port is None or port.kind != "port":
            return fileinfo.INVALID_PARAMETER
        found.port = (port.port, system.number(at + system.word))
    elif kind == 61:  # FileReplaceCompletionInformation
        found.__dict__.pop("port", None)
    elif kind not in (23, 41) and found.kind == "file":
        status = fileinfo.change(system, found, kind, at, size)
    system.put(block, status)
    return status


@NTDLL("NtQueryDirectoryFile ZwQueryDirectoryFile", "ppppppuu" + "upu")
def nt_query_directory_file(system: System, handle: int, _event: int, _routine: int, _context: int, block: int, out: int, room: int, kind: int, single: int, mask: int, restart: int) -> int:  # fmt: skip
    found = system.handles.get(handle)
    if found is None or found.kind != "file":
        return _BAD_HANDLE
    if not stat.S_ISDIR(os.fstat(found.fd).st_mode):
        return fileinfo.INVALID_PARAMETER
    wanted = ""
    if mask and system.number(mask, 2):
        wanted = system.memory.read(system.number(mask + system.word), system.number(mask, 2)).decode("utf-16-le", "replace")  # fmt: skip
    status, data = fileinfo.listing(system, found, kind, room, single=bool(single & 0xFF), restart=bool(restart & 0xFF), mask=wanted)  # fmt: skip
    if data:
        system.memory.write(out, data)
    system.put(block, status)
    system.put(block + system.word, len(data))
    return status


@NTDLL("NtQueryAttributesFile", "pp")
@NTDLL("NtQueryFullAttributesFile", "pp")
def nt_query_attributes_file(system: System, attributes: int, out: int) -> int:
    name, _ = _named(system, attributes)
    path = system.path(name.removeprefix("\\??\\"))
    if path is None or not os.path.exists(path):
        return fileinfo.NOT_FOUND
    status = os.stat(path)
    made, read, written = times(status)
    system.memory.write(out, struct.pack("<4QI4x", made, read, written, filetime(status.st_ctime_ns), attributes_of(path, status)))  # fmt: skip
    return 0


@NTDLL("NtQueryVolumeInformationFile ZwQueryVolumeInformationFile", "pppuu")
def nt_query_volume_information_file(system: System, handle: int, block: int, out: int, room: int, kind: int) -> int:  # fmt: skip
    found = system.handles.get(handle)
    if found is None or found.kind not in _FILES:
        return _BAD_HANDLE
    mode = os.fstat(found.fd).st_mode
    if kind == 4:  # FileFsDeviceInformation: disk, pipe, console
        device = 7 if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else 0x50 if stat.S_ISCHR(mode) else 0x11  # fmt: skip
        data = struct.pack("<II", device, 0x20020 if device == 7 else 0)
    elif kind == 1:  # FileFsVolumeInformation
        data = struct.pack("<QIIBx", 0, 0x12345678, 0, 0)
    elif kind == 3:  # FileFsSizeInformation
        about = os.fstatvfs(found.fd)
        data = struct.pack("<qqII", about.f_blocks, about.f_bavail, max(about.f_frsize // 512, 1), 512)  # fmt: skip
    elif kind == 5:  # FileFsAttributeInformation
        data = struct.pack("<III", 6, 255, 8) + "NTFS".encode("utf-16-le")
    else:
        return fileinfo.NOT_IMPLEMENTED
    if room < len(data):
        return fileinfo.LENGTH_MISMATCH
    system.memory.write(out, data)
    system.put(block, 0)
    system.put(block + system.word, len(data))
    return 0


# -- about the system -----------------------------------------------------------------------------


@NTDLL("NtQuerySystemInformation ZwQuerySystemInformation", "upup")
def nt_query_system_information(system: System, kind: int, out: int, room: int, size: int) -> int:
    word = "Q" if system.bits == 64 else "I"
    if kind == 0:  # SystemBasicInformation
        top = 0x7FFFFFFEFFFF if system.bits == 64 else 0x7FFEFFFF
        data = struct.pack(f"<6I{'4x' if system.bits == 64 else ''}4{word}B", 0, 156250, 4096, 1 << 20, 1, 1 << 20, 0x10000, 0x10000, top, 1, 1)  # fmt: skip
        data = data.ljust(64 if system.bits == 64 else 44, b"\0")
    elif kind == 3:  # SystemTimeOfDayInformation
        data = struct.pack("<qqqI4xqq", now(), now(), 0, 0, 0, 0)
    elif kind == 8:  # SystemProcessorPerformanceInformation
        data = struct.pack("<5qI4x", 0, 0, time.process_time_ns() // 100, 0, 0, 0)
    else:
        return fileinfo.NOT_IMPLEMENTED
    if size:
        system.put(size, len(data), 4)
    if room < len(data):
        return fileinfo.LENGTH_MISMATCH
    system.memory.write(out, data)
    return 0


@NTDLL("NtWaitForSingleObject ZwWaitForSingleObject", "pup")
def nt_wait_for_single_object(system: System, handle: int, alertable: int, timeout: int) -> Task:
    milliseconds = 0xFFFFFFFF
    if timeout:
        value = system.number(timeout, 8)
        value = (1 << 64) - value if value >> 63 else max(value - now(), 0)
        milliseconds = min(-(-value // 10_000), 0xFFFFFFFE)
    error = system.last_error
    answer = wait_for_single_object(system, handle, milliseconds, alertable & 0xFF)
    if hasattr(answer, "send"):
        answer = yield from answer
    system.last_error = error
    return _BAD_HANDLE if answer == 0xFFFFFFFF else answer


@NTDLL("RtlGetCurrentPeb", "", "p")
def rtl_get_current_peb(system: System) -> int:
    return system.number(int(system.threads.teb) + (0x60 if system.bits == 64 else 0x30))


@NTDLL("RtlGetLastNtStatus", "")
def rtl_get_last_nt_status(_system: System) -> int:
    return 0


# -- tables of functions that grow -----------------------------------------------------------------


@NTDLL("RtlAddGrowableFunctionTable", "ppuuqq")
def rtl_add_growable_function_table(system: System, out: int, table: int, count: int, _most: int, base: int, _end: int) -> int:  # fmt: skip
    if not tables(system).add(table, count, base):
        return fileinfo.INVALID_PARAMETER
    system.put(out, table)
    return 0


@NTDLL("RtlGrowFunctionTable", "pu", "v")
def rtl_grow_function_table(system: System, table: int, count: int) -> None:
    known = tables(system).added.get(table)
    if known is not None:
        tables(system).add(table, count, known[0])


@NTDLL("RtlDeleteGrowableFunctionTable", "p", "v")
def rtl_delete_growable_function_table(system: System, table: int) -> None:
    tables(system).added.pop(table, None)
