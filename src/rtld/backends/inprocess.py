"""This process as a place to load libraries into: its memory, what ld.so has loaded, calls, and machine code of ours.

Everything goes through libc by ctypes, and nothing here knows ELF: addresses in, addresses out.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
from collections import deque, namedtuple

from rtld.arch import x86_64_inprocess as stubs
from rtld.arch import x86_64_live as live
from rtld.backends.child import live_anchor as control
from rtld.errors import NoSpace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

PAGE = 4096
_LARGE = 1 << 16
_SCRATCH = 1 << 18
_WORD = (1 << 64) - 1

# fmt: off
PROT_NONE, PROT_READ, PROT_WRITE, PROT_EXEC = 0, 1, 2, 4
_SHARED, _PRIVATE, _FIXED, _ANONYMOUS, _NORESERVE = 0x01, 0x02, 0x10, 0x20, 0x4000
RTLD_LAZY, RTLD_NOW, RTLD_NOLOAD = 1, 2, 4
# fmt: on

#: An object ld.so has loaded: name ("" for the program), load bias, program headers, TLS module and block of this thread.
HostObject = namedtuple("HostObject", "name base phdr phnum tls_module tls_block")

libc = ctypes.CDLL(None, use_errno=True)


def _declare(name: str, result: Any, *arguments: Any) -> Any:
    function = libc[name]
    function.restype, function.argtypes = result, arguments
    return function


_size, _void, _int = ctypes.c_size_t, ctypes.c_void_p, ctypes.c_int
# fmt: off
_mmap      = _declare("mmap", _size, _size, _size, _int, _int, _int, _size)
_munmap    = _declare("munmap", _int, _size, _size)
_mprotect  = _declare("mprotect", _int, _size, _size, _int)
_dlopen    = _declare("dlopen", _void, ctypes.c_char_p, _int)
_dlclose   = _declare("dlclose", _int, _void)
_dlerror   = _declare("dlerror", ctypes.c_char_p)
_dlsym     = _declare("dlsym", _void, _void, ctypes.c_char_p)
_dlvsym    = _declare("dlvsym", _void, _void, ctypes.c_char_p, ctypes.c_char_p)
_errno     = _declare("__errno_location", _size)
# fmt: on


def _libc_version() -> tuple[int, int]:
    """glibc's version; (0, 0) for another libc."""
    try:
        text = _declare("gnu_get_libc_version", ctypes.c_char_p)()
    except AttributeError:
        return 0, 0
    major, minor = text.split(b".")[:2]
    return int(major), int(minor)


LIBC_VERSION = _libc_version()

# -- memory -----------------------------------------------------------------------------------------


def reserve(size: int, align: int = PAGE) -> int:
    """The start of a range of *size* bytes that nobody may touch yet."""
    room = size + align - PAGE
    start: int = _mmap(0, room, PROT_NONE, _PRIVATE | _ANONYMOUS | _NORESERVE, -1, 0)
    if start == _WORD:
        raise NoSpace(f"{size:#x} bytes of address space: {os.strerror(ctypes.get_errno())}")
    if align > PAGE:
        first = start + align - 1 & -align
        if first > start:
            _munmap(start, first - start)
        if start + room > first + size:
            _munmap(first + size, start + room - first - size)
        start = first
    return start


def map_file(address: int, size: int, protection: int, fd: int, offset: int) -> None:
    """Map part of a file at a reserved place."""
    if _mmap(address, size, protection, _PRIVATE | _FIXED, fd, offset) == _WORD:
        raise NoSpace(f"cannot map a file at {address:#x}: {os.strerror(ctypes.get_errno())}")


def map_memory(address: int, size: int, protection: int) -> None:
    """Zeroed memory at a reserved place."""
    if _mmap(address, size, protection, _PRIVATE | _FIXED | _ANONYMOUS, -1, 0) == _WORD:
        raise NoSpace(f"cannot map memory at {address:#x}: {os.strerror(ctypes.get_errno())}")


def unmap(address: int, size: int) -> None:
    """Give a range back."""
    _munmap(address, size)


def protect(address: int, size: int, protection: int) -> None:
    """Change what may be done with whole pages."""
    if _mprotect(address, size, protection) != 0:
        raise NoSpace(f"cannot protect {address:#x}: {os.strerror(ctypes.get_errno())}")


def write(address: int, data: bytes) -> None:
    """Put bytes into memory that is writable."""
    ctypes.memmove(address, data, len(data))


def clear(address: int, size: int) -> None:
    """Zero memory that is writable."""
    ctypes.memset(address, 0, size)


def read(address: int, size: int) -> bytes:
    """Bytes of memory."""
    return ctypes.string_at(address, size)


def read_word(address: int) -> int:
    """Eight bytes of memory as a number."""
    return int.from_bytes(ctypes.string_at(address, 8), "little")


def write_word(address: int, value: int) -> None:
    """Store an aligned word; one instruction, so other threads see the old or the new one."""
    ctypes.c_uint64.from_address(address).value = value & _WORD


def read_string(address: int) -> bytes:
    """A string of C."""
    return ctypes.string_at(address)


def view(address: int, size: int) -> Any:
    """Memory as a buffer that can be written."""
    return (ctypes.c_ubyte * size).from_address(address)


def buffer(data: bytes) -> Any:
    """Memory with these bytes, alive as long as the object."""
    return ctypes.create_string_buffer(data, len(data))


def address_of(block: Any) -> int:
    """Where a ``buffer`` is."""
    return ctypes.addressof(block)


def address_of_bytes(data: bytes) -> int:
    """Where bytes are, for as long as the object lives; a NUL follows them."""
    return ctypes.cast(ctypes.c_char_p(data), _void).value or 0


def immortal(thing: object) -> None:
    """Let an object live until the process ends, the interpreter's end included."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def poke(address: int, value: int, final: int) -> None:
    """Store a word in a page that is protected; it is *final* again afterwards."""
    page = address & -PAGE
    protect(page, PAGE, PROT_READ | PROT_WRITE)
    write_word(address, value)
    protect(page, PAGE, final)


def errno() -> int:
    """This thread's errno."""
    return ctypes.c_int.from_address(_errno()).value


def set_errno(value: int) -> None:
    """Put back this thread's errno."""
    ctypes.c_int.from_address(_errno()).value = value


# -- calls ------------------------------------------------------------------------------------------

_PROTOTYPES: dict[int, Any] = {}


def call(address: int, *arguments: int) -> int:
    """Call a function of C with integers; other threads of Python may run meanwhile."""
    prototype = _PROTOTYPES.get(len(arguments))
    if prototype is None:
        prototype = _PROTOTYPES[len(arguments)] = ctypes.CFUNCTYPE(_size, *[_size] * len(arguments))
    result: int = prototype(address)(*arguments)
    return result


# -- what ld.so has -----------------------------------------------------------------------------------


class _PhdrInfo(ctypes.Structure):
    _fields_ = (
        ("addr", _size), ("name", ctypes.c_char_p), ("phdr", _size), ("phnum", ctypes.c_uint16),
        ("adds", ctypes.c_uint64), ("subs", ctypes.c_uint64), ("tls_modid", _size), ("tls_data", _size),
    )  # fmt: skip


def host_objects() -> list[HostObject]:
    """What ld.so has loaded, in its order; the kernel's vdso left out."""
    found: list[HostObject] = []

    def visit(info: Any, _size: int, _data: int) -> int:
        i = info.contents
        name = os.fsdecode(i.name or b"")
        if not name.startswith("linux-vdso"):
            found.append(HostObject(name, i.addr, i.phdr, i.phnum, i.tls_modid, i.tls_data or 0))
        return 0

    callback = ctypes.CFUNCTYPE(_int, ctypes.POINTER(_PhdrInfo), _size, _size)(visit)
    libc.dl_iterate_phdr(callback, None)
    return found


def thread_pointer() -> int:
    """%fs:0 of this thread: where libc has put its own address."""
    # pthread_self() is the thread control block, to which %fs points on x86-64.
    function = libc.pthread_self
    function.restype = _size
    return int(function())


def host_open(path: bytes, flags: int) -> int:
    """ld.so's dlopen; OSError with what it said."""
    handle = _dlopen(path, flags)
    if not handle:
        raise OSError((_dlerror() or b"dlopen failed").decode("utf-8", "replace"))
    return int(handle)


def host_close(handle: int) -> None:
    """ld.so's dlclose."""
    _dlclose(handle)


def host_symbol(name: str, version: str | None = None) -> int:
    """The address of one of the host's own functions, 0 if there is none."""
    if version is None:
        return int(_dlsym(None, name.encode()) or 0)
    return int(_dlvsym(None, name.encode(), version.encode()) or 0)


# -- thread-local storage -------------------------------------------------------------------------------

#: What ld.so gave a donor: its handle, load bias.
Donor = namedtuple("Donor", "handle base")
_lent = 0


def open_donor(data: bytes, unique_path: Callable[[int, int], bytes]) -> Donor:
    """Let ld.so open a library that is only in memory; OSError with what it said."""
    global _lent  # noqa: PLW0603 - ld.so never forgets a name either
    fd = os.memfd_create("rtld-tls", os.MFD_CLOEXEC)
    try:
        os.write(fd, data)
        _lent += 1
        handle = host_open(unique_path(fd, _lent), RTLD_NOW)
    finally:
        os.close(fd)
    return Donor(handle, read_word(handle))


# -- machine code -----------------------------------------------------------------------------------------


def place_code(code: bytes, words: int = PAGE) -> int:
    """Code at a page of its own, readable and executable, and behind it *words* bytes that it and we may write."""
    size = len(code) + PAGE - 1 & -PAGE
    start = reserve(size + words)
    fd = os.memfd_create("rtld", os.MFD_CLOEXEC)
    try:
        os.write(fd, code)
        os.ftruncate(fd, size)
        map_file(start, size, PROT_READ | PROT_EXEC, fd, 0)
    finally:
        os.close(fd)
    if words:
        map_memory(start + size, words, PROT_READ | PROT_WRITE)
    return start


#: Types of small blocks: making one takes longer than all that is done with it, so there is one for each power of two.
_BLOCKS = [ctypes.c_char * (1 << n) for n in range(_LARGE.bit_length())]


def block(data: bytes | int) -> tuple[Any, int]:
    """Memory with these bytes, or so many zeros, alive as long as the object; and its address. It may be larger."""
    content, size = (data, len(data)) if isinstance(data, bytes) else (b"", data)
    if size <= _LARGE:
        made: Any = _BLOCKS[max(size - 1, 0).bit_length()]()
    else:  # only what is touched is there
        made = (ctypes.c_char * size).from_buffer(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE))
    if content:
        made.raw = content
    return made, ctypes.addressof(made)


class Kernel:
    """The machine code of ``elf/quick.py``, and that of ``process/inprocess/express.py``, which leads from one to the other."""

    memory = staticmethod(block)
    read = staticmethod(read)

    def clear(self, size: int) -> None:
        """Zero the beginning of the scratch memory."""
        ctypes.memset(self.scratch_at, 0, size)

    def __init__(self) -> None:
        from rtld.arch.x86_64_bind import BIND
        from rtld.arch.x86_64_dynamic import DYNAMIC
        from rtld.arch.x86_64_ldcache import LDCACHE
        from rtld.arch.x86_64_link import LINK
        from rtld.arch.x86_64_open import OPEN
        from rtld.arch.x86_64_prepare import PREPARE
        from rtld.arch.x86_64_relocate import RELOCATE
        from rtld.arch.x86_64_relr import RELR
        from rtld.arch.x86_64_symbol import SYMBOL
        from rtld.arch.x86_64_versions import VERSIONS

        stubs = {
            "bind": BIND, "versions": VERSIONS, "relr": RELR, "open": OPEN, "decode": DYNAMIC, "cached": LDCACHE,
            "link": LINK, "prepare": PREPARE, "relocate": RELOCATE, "symbol": SYMBOL,
        }  # fmt: skip
        code, at = b"", {}
        for name, stub in stubs.items():
            at[name] = len(code)
            code += stub.code + b"\xcc" * (-len(stub.code) % 16)
        base = place_code(code, 0)
        self.places = {name: base + offset for name, offset in at.items()}
        self.scratch, self.scratch_at = block(_SCRATCH)
        self.scopes: list[Any] = []
        kind = ctypes.CFUNCTYPE(_int, _size)
        self.bind: Callable[[int], int] = kind(self.places["bind"])
        self.versions: Callable[[int], int] = kind(self.places["versions"])
        self.relr: Callable[[int], int] = kind(self.places["relr"])
        self.open: Callable[[int], int] = kind(self.places["open"])
        self.link: Callable[[int], int] = kind(self.places["link"])
        find = ctypes.PYFUNCTYPE(_size, _size, _size, ctypes.c_char_p)
        self.symbol: Callable[[int, int, bytes], int] = find(self.places["symbol"])


class Code:
    """Our machine code in this process, and the tables it reads.

    Tables are replaced whole, by one store: threads read them at any time. Old ones are kept for a while.
    """

    def __init__(self) -> None:
        self.base = place_code(stubs.INPROCESS.code)
        self.live = place_code(live.LIVE.code)
        self._kept: deque[Any] = deque(maxlen=64)
        self._callbacks: dict[str, Any] = {}
        self._current: dict[int, Any] = {}
        self._room = 0  # for how many more modules the published tables have room
        self._stubs: dict[str, int] = {}
        self._hidden: list[int] = []
        self.real = {name: host_symbol(name) for name in ("_dl_find_object", "dl_iterate_phdr")}
        self.words: dict[str, int] = {
            name: self.base + PAGE + at for name, at in stubs.WORDS.items()
        }
        for name in ("malloc", "free"):
            write_word(self.words[name], host_symbol(name))
        write_word(self.words["atexit"], host_symbol("__cxa_thread_atexit_impl"))
        self._store(self.words["finish"], bytes(8))
        self._store(self.words["table"], bytes(32))
        page = self.live + PAGE
        self._store(page + control.CONTROL_FIND, bytes(32))
        self._store(page + control.CONTROL_OBJECTS, bytes(64))
        self._store(page + control.CONTROL_HIDDEN, bytes(8))
        write_word(page + control.CONTROL_REAL, self.real["_dl_find_object"])
        write_word(self.words["iterate"], self.real["dl_iterate_phdr"])
        write_word(self.words["own"], self.live + live.LABELS["iterate"])
        write_word(self.words["filter"], self.live + live.LABELS["filter"])
        write_word(self.words["adds"], page + control.CONTROL_ADDS)
        frames = self.base + stubs.FRAMES
        write(frames, stubs.unwinding())
        #: The row of the table of ``_dl_find_object`` for our own code.
        self._own_row = struct.pack("<4Q", self.base, self.base + PAGE, frames, 0)
        libc["__cxa_atexit"](ctypes.c_void_p(self.label("finish")), None, None)

    def label(self, name: str) -> int:
        """The address of one of our functions."""
        if name in stubs.LABELS:
            return self.base + int(stubs.LABELS[name])
        return self.live + live.LABELS[name]

    def _store(self, word: int, data: bytes) -> None:
        block = ctypes.create_string_buffer(data, max(len(data), 8))
        self._kept.append(block)
        write_word(word, ctypes.addressof(block))

    def _keep(self, word: int, data: bytes, spare: int = 0) -> None:
        """As ``_store``, for what must live as long as it is the current one; with *spare* bytes behind it."""
        made, at = block(len(data) + spare)
        made[: len(data)] = data
        old = self._current.get(word)
        if old is not None:
            self._kept.append(old)
        self._current[word] = made
        write_word(word, at)

    def descriptor(self, name: str) -> int:
        """A resolver of TLS descriptors: one of the CPU's stubs."""
        if name not in self._stubs:
            from rtld.arch import by_name

            self._stubs[name] = place_code(by_name("x86_64").stubs[name].code, 0)
        return self._stubs[name]

    def serve(self, name: str, function: Callable[..., int], arguments: int) -> None:
        """Lead a word of the code to a function of Python."""
        callback = ctypes.CFUNCTYPE(_size, *[_size] * arguments)(function)
        self._callbacks[name] = callback
        write_word(self.words[name], ctypes.cast(callback, _void).value or 0)

    def retire(self, names: Iterable[str]) -> None:
        """Lead words back to libc's own functions: Python will not be there any more."""
        for name in names:
            write_word(self.words[name], host_symbol(name))

    def publish(
        self, modules: Sequence[tuple[bytes, bytes]], hidden: Sequence[int], adds: int
    ) -> None:
        """Tell unwinders and dl_iterate_phdr what is loaded: a module's rows of the tables in ``x86_64_live``.

        *hidden*: bases of what ld.so has loaded on our behalf.
        """
        size = len(modules).to_bytes(32, "little")
        page = self.live + PAGE
        self._room = spare = max(8, len(modules) // 4)
        found = (len(modules) + 1).to_bytes(32, "little") + self._own_row
        found += b"".join([row[0] for row in modules])
        self._keep(page + control.CONTROL_FIND, found, spare * 32)
        write_word(self.words["table"], read_word(page + control.CONTROL_FIND))
        if hidden != self._hidden:
            self._hidden = list(hidden)
            table = struct.pack(f"<{len(hidden) + 1}Q", len(hidden), *hidden)
            self._keep(page + control.CONTROL_HIDDEN, table)
        rows = size + bytes(32) + b"".join([row[1] for row in modules])
        self._keep(page + control.CONTROL_OBJECTS, rows, spare * 64)
        write_word(page + control.CONTROL_ADDS, adds)

    def published(self) -> tuple[int, int, int]:
        """Where the two tables are and the number of changes, for one more row; zeros when there is no room for it."""
        if not self._room:
            return 0, 0, 0
        page = self.live + PAGE
        find, objects = page + control.CONTROL_FIND, page + control.CONTROL_OBJECTS
        return read_word(find), read_word(objects), page + control.CONTROL_ADDS

    def grown(self) -> None:
        """A row was added to the tables."""
        self._room -= 1

    def callback(self, name: str, function: Callable[[], None]) -> int:
        """The address of a function of C that calls one of Python."""
        made = ctypes.CFUNCTYPE(None)(function)
        self._callbacks[name] = made
        return ctypes.cast(made, _void).value or 0

    def finish(self, functions: Sequence[int]) -> None:
        """What is to be called when the process exits."""
        self._keep(self.words["finish"], struct.pack(f"<{len(functions) + 1}Q", *functions, 0))


def check_host() -> str:
    """Why libraries cannot be loaded into this process; "" if they can."""
    uname = os.uname()
    if (uname.sysname, uname.machine) != ("Linux", "x86_64") or struct.calcsize("P") != 8:
        return f"a process on {uname.sysname} {uname.machine}"
    return "" if LIBC_VERSION > (0, 0) else "a process whose libc is not glibc"
