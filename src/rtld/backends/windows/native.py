"""Windows code in this process, x86-64: its memory is ours, its functions are called through thunks.

The functions of the tables are reached through gates: Microsoft's convention on one side, a Python function on the other. What
is the same function in our C library (memcpy, malloc, sin) is called directly. GS leads to a thread environment block for
each thread that enters: glibc does not use it. Whatever the code does, it does to this process.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
import threading
import time

from rtld.arch.x86_64_windows import (
    ERROR_TYPE,
    ERROR_VALUE,
    LEAVING,
    OWNER,
    Runtime,
    from_windows,
    gate,
    jump,
    leave,
    longjmp,
    setjmp,
    to_windows,
)
from rtld.backends.windows.api import LATE, TABLES, Api, Call, Exited, VarArgs, Wait
from rtld.backends.windows.native_faults import RAISING, REFUSING, Faults, Raised
from rtld.core.space import page_up
from rtld.errors import NoSpace, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rtld.backends.windows.system import System

_PAGE = 4096
_ARCH_SET_GS = 0x1001
_SYS_ARCH_PRCTL = 158
_SHARED, _PRIVATE, _FIXED, _ANONYMOUS, _NOREPLACE = 0x01, 0x02, 0x10, 0x20, 0x100000
_GRANULARITY = 0x10000
_FAILED = (1 << 64) - 1
_AT_HWCAP2 = 26
_THUNKS = 1 << 24

#: Functions of msvcrt and its like that are our C library's, with their signatures.
LIBC = {
    "memcpy": "iii", "memmove": "iii", "memset": "iii", "memcmp": "iii", "memchr": "iii", "strlen": "i", "strcmp": "ii",
    "strncmp": "iii", "strcpy": "ii", "strncpy": "iii", "strcat": "ii", "strchr": "ii", "strrchr": "ii", "strstr": "ii",
    "strspn": "ii", "strcspn": "ii", "strpbrk": "ii", "malloc": "i", "calloc": "ii", "realloc": "ii", "free": "i",
    "atoi": "i", "strtod": "ii", "toupper": "i", "tolower": "i", "isalpha": "i", "isdigit": "i", "isspace": "i",
    "isalnum": "i", "sin": "d", "cos": "d", "tan": "d", "asin": "d", "acos": "d", "atan": "d", "exp": "d", "log": "d",
    "log10": "d", "sqrt": "d", "floor": "d", "ceil": "d", "fabs": "d", "pow": "dd", "fmod": "dd", "atan2": "dd",
    "sinh": "d", "cosh": "d", "tanh": "d",
}  # fmt: skip

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_uint64
libc.mmap.argtypes = [ctypes.c_uint64, ctypes.c_uint64, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64]  # fmt: skip
libc.munmap.argtypes = [ctypes.c_uint64, ctypes.c_uint64]
libc.mprotect.argtypes = [ctypes.c_uint64, ctypes.c_uint64, ctypes.c_int]
for _name in ("malloc", "calloc", "realloc"):
    libc[_name].restype = ctypes.c_uint64
_malloc = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint64)(("calloc", libc))
_realloc = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint64)(("realloc", libc))
_free = ctypes.CFUNCTYPE(None, ctypes.c_uint64)(("free", libc))
_usable = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64)(("malloc_usable_size", libc))


def check_host() -> None:
    """Unsupported where Windows code cannot be called: another CPU, or no FSGSBASE instructions."""
    if os.uname().machine != "x86_64":
        raise Unsupported("Windows code can be called on x86-64 only", "rtld run emulates it")
    getauxval = libc.getauxval
    getauxval.restype = ctypes.c_ulong
    if not getauxval(_AT_HWCAP2) & 2:
        raise Unsupported("this kernel or CPU does not let programs set GS (FSGSBASE)", "rtld run emulates it")  # fmt: skip


class HostMemory:
    """This process's bytes, as ``System`` wants them."""

    def read(self, address: int, size: int) -> bytes:
        return ctypes.string_at(address, size)

    def write(self, address: int, data: bytes) -> None:
        ctypes.memmove(address, bytes(data), len(data))

    def allocate(self, size: int, rights: int = 3) -> int:
        at: int = libc.mmap(0, page_up(size), rights, _PRIVATE | _ANONYMOUS, -1, 0)
        if at == _FAILED:
            raise NoSpace(f"no {size:#x} bytes of memory: {os.strerror(ctypes.get_errno())}")
        return at

    def release(self, address: int, size: int) -> None:
        libc.munmap(address, page_up(size))

    def reserve(self, size: int, at: int | None) -> int:
        return _aligned(page_up(size), _GRANULARITY, at, 0)

    def commit(self, address: int, size: int, rights: int) -> None:
        libc.mprotect(address, size, rights)

    def decommit(self, address: int, size: int) -> None:
        libc.mmap(address, size, 0, _PRIVATE | _ANONYMOUS | _FIXED, -1, 0)

    def map_file(self, size: int, rights: int, fd: int, offset: int, at: int | None) -> int:
        start = self.reserve(size, at)
        flags = (_SHARED if rights & 2 else _PRIVATE) | _FIXED
        got: int = libc.mmap(start, page_up(size), rights, flags, fd, offset)
        if got != start:
            error = ctypes.get_errno()
            libc.munmap(start, page_up(size))
            raise OSError(error, os.strerror(error))
        return start

    def rights(self, address: int) -> tuple[int, int | None]:
        with open("/proc/self/maps") as maps:
            for line in maps:
                span, rights = line.split()[:2]
                low, high = (int(x, 16) for x in span.split("-"))
                if address < low:
                    return low, None
                if address < high:
                    bits = sum(1 << i for i, letter in enumerate("rwx") if letter in rights)
                    return high, bits
        return address + _PAGE & -_PAGE, None


class HostHeap:
    """The heap is the C library's: blocks may be freed by whoever has them."""

    class _Sizes:
        @staticmethod
        def get(address: int, _default: int = 0) -> int:
            return int(_usable(address))

    sizes = _Sizes()

    def allocate(self, size: int, *, zero: bool = True) -> int:  # noqa: ARG002
        return int(_malloc(1, max(size, 1)))

    def free(self, address: int) -> bool:
        _free(address)
        return True

    def resize(self, address: int, size: int) -> int:
        return int(_realloc(address, max(size, 1)))


class NativeThread:
    """A thread of this process that has entered Windows code."""

    def __init__(self, number: int, teb: int) -> None:
        self.number = number
        self.teb = teb
        self.code: int | None = None
        self.crt: dict[str, Any] = {}
        self.handle: Any = None
        self.suspended: int | None = None  # None: CreateThread has not said yet
        self.error: BaseException | None = None  # with which its code is being left


class Native:
    """Thunks, gates and thread blocks. The ``threads`` and the address space of a native ``System``."""

    def __init__(self) -> None:
        check_host()
        self.bits, self.word = 64, 8
        self.guest = HostMemory()
        self.heap = HostHeap()
        self.system: System
        self.slots: list[Api] = []
        self.calls: dict[str, int] = {}
        self._threads: dict[int, NativeThread] = {}
        self._blocks: list[int] = []  # thread blocks that are nobody's
        self.on_thread: Callable[[NativeThread], None] = lambda _thread: None
        self._kept: list[Any] = []  # callbacks of ctypes must outlive the code that calls them
        self._maps: dict[tuple[int, str], int] = {}
        fd = os.memfd_create("rtld-thunks", os.MFD_CLOEXEC)
        try:
            os.ftruncate(fd, _THUNKS)
            self._writable = mmap.mmap(fd, _THUNKS, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)  # fmt: skip
            self._code: int = libc.mmap(0, _THUNKS, 5, 1, fd, 0)  # the same pages, to be run
        finally:
            os.close(fd)
        self._used = 0
        python = ctypes.pythonapi
        self._runtime = Runtime(
            self._keep(ctypes.CFUNCTYPE(None)(self._enter_thread)),
            *[_address(f) for f in (python.PyEval_SaveThread, python.PyEval_RestoreThread, python.PyErr_SetObject)],
        )  # fmt: skip
        self.way_out = self.code(leave(self._runtime))
        dispatcher = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_void_p)  # fmt: skip
        self._dispatcher = self._keep(dispatcher(self._dispatch))
        self.peb = 0
        self.faults = Faults(self, libc)

    def _keep(self, function: Any) -> int:
        self._kept.append(function)
        return _address(function)

    # -- code and memory --------------------------------------------------------------------------

    def code(self, data: bytes) -> int:
        """The address of machine code of ours; no page of it is writable where it runs."""
        at = self._used
        if at + len(data) > _THUNKS:
            raise NoSpace("no room for more thunks")
        self._writable[at : at + len(data)] = data
        self._used = at + len(data) + 15 & -16
        return self._code + at

    def reserve(self, size: int, align: int, at: int | None = None) -> int:
        """Addresses for an image, with memory of zeros. NoSpace."""
        return _aligned(size, align, at, 3)

    def commit(self, address: int, data: memoryview) -> None:
        ctypes.memmove(address, bytes(data), len(data))

    def protect(self, address: int, size: int, rights: int) -> None:
        if libc.mprotect(address & -_PAGE, page_up(size + address % _PAGE), rights):
            raise NoSpace(f"cannot protect {address:#x}")

    def unmap(self, address: int, size: int) -> None:
        libc.munmap(address, page_up(size))

    def alike(self, page: int, limit: int) -> tuple[int, int, int]:
        """(start, end, rights) of pages alike, as the kernel has them."""
        with open("/proc/self/maps") as maps:
            for line in maps:
                span, rights = line.split()[:2]
                low, high = (int(x, 16) for x in span.split("-"))
                if low <= page < high:
                    bits = sum(1 << i for i, letter in enumerate("rwx") if letter in rights)
                    return page, min(high, max(limit, page + _PAGE)), bits
        return page, page + _PAGE, 0

    # -- threads ----------------------------------------------------------------------------------

    def _enter_thread(self) -> None:
        """Called by a thunk in a thread that has no block of its own yet."""
        self._sweep()
        # Never given back: a thread that one of a block's threads has started still has GS there.
        teb = self._blocks.pop() if self._blocks else self.guest.allocate(2 * _PAGE)
        ctypes.memset(teb, 0, 2 * _PAGE)
        number = threading.get_native_id()
        thread = NativeThread(number, teb)
        pthread = ctypes.c_uint64.from_address(self._pthread()).value
        low, high = _stack_of_thread()
        for at, value in (
            (8, high), (16, low), (0x30, teb), (0x40, os.getpid()), (0x48, number), (0x60, self.peb), (OWNER, pthread),
        ):  # fmt: skip
            ctypes.c_uint64.from_address(teb + at).value = value
        self._threads[number] = thread
        self.faults.give_stack(number)
        if libc.syscall(_SYS_ARCH_PRCTL, _ARCH_SET_GS, ctypes.c_uint64(teb)):
            raise OSError(ctypes.get_errno(), "arch_prctl(ARCH_SET_GS)")
        self.on_thread(thread)

    def thread_ended(self) -> None:
        """The thread that runs will not enter Windows code again."""
        libc.syscall(_SYS_ARCH_PRCTL, _ARCH_SET_GS, ctypes.c_uint64(0))
        self._forget_thread(threading.get_native_id())

    def _sweep(self) -> None:
        """Blocks of threads that are no more."""
        alive = {int(name) for name in os.listdir("/proc/self/task")}
        for number in [n for n in list(self._threads) if n not in alive]:
            self._forget_thread(number)

    def _forget_thread(self, number: int) -> None:
        thread = self._threads.pop(number, None)
        if thread is not None:
            ctypes.c_uint64.from_address(thread.teb + OWNER).value = 0
            self._blocks.append(thread.teb)
            self.faults.take_stack(number)

    @staticmethod
    def _pthread() -> int:
        """The address of fs:0x10: the thread's own pointer stands there."""
        libc.pthread_self.restype = ctypes.c_uint64
        return int(libc.pthread_self()) + 0x10

    @property
    def current(self) -> NativeThread:
        thread = self._threads.get(threading.get_native_id())
        if thread is None:
            self._enter_thread()
            thread = self._threads[threading.get_native_id()]
        return thread

    @current.setter
    def current(self, _thread: NativeThread) -> None:
        return

    @property
    def threads(self) -> list[NativeThread]:
        return list(self._threads.values())

    @property
    def teb(self) -> int:
        return self.current.teb

    # -- calls ------------------------------------------------------------------------------------

    def callable(self, address: int, signature: str) -> int:
        """The address of a System V function that calls this Microsoft one."""
        key = address, signature
        if key not in self._maps:
            self._maps[key] = self.code(to_windows(address, signature, self._runtime))
        return self._maps[key]

    def callback(self, function: Any, signature: str) -> int:
        """The address of a Microsoft function that calls this function of ctypes."""
        return self.code(from_windows(self._keep(function), signature, self.way_out))

    def call(self, address: int, *arguments: int) -> int:
        """Call a Windows function with integers."""
        thunk = self.callable(address, "i" * len(arguments))
        # The thunk gives Python's lock back itself, and may come back with an exception.
        kind = ctypes.PYFUNCTYPE(ctypes.c_uint64, *[ctypes.c_uint64] * len(arguments))
        return int(kind(thunk)(*[a & _FAILED for a in arguments]))

    def leave(self, error: BaseException) -> None:
        """This thread's Windows code is to be left: the caller in Python gets that error. Then the gate is to return."""
        thread = self.current
        thread.error = error
        for at, value in ((ERROR_TYPE, id(type(error))), (ERROR_VALUE, id(error)), (LEAVING, 1)):
            ctypes.c_uint64.from_address(thread.teb + at).value = value

    def is_thunk(self, address: int) -> bool:
        """There is code of ours."""
        return self._code <= address < self._code + self._used

    def finish(self, task: Any) -> Any:
        """Run a generator of effects to its result."""
        value: Any = None
        while True:
            try:
                effect = task.send(value)
            except StopIteration as stop:
                return stop.value
            if isinstance(effect, Call):
                value = self.call(effect.address, *effect.arguments)
            else:
                value = _wait(effect)

    def add_slot(self, address: int, api: Api) -> None:
        """A function of the tables: its slot jumps to its gate, or to our C library's."""
        self.guest.write(address, jump(self._gate(api)))

    def new_slot(self, api: Api) -> int:
        """A gate for a function that no table has."""
        return self._gate(api)

    def _gate(self, api: Api) -> int:
        special = self._special_gate(api)
        if special:
            return special
        signature = LIBC.get(api.name)
        if signature is not None and api.dll in ("msvcrt.dll", "ucrtbase.dll", "vcruntime140.dll"):
            function = getattr(libc, api.name)
            return self.code(from_windows(ctypes.cast(function, ctypes.c_void_p).value or 0, signature))  # fmt: skip
        return self._gate_of(api)

    def _gate_of(self, api: Api) -> int:
        self.slots.append(api)
        return self.code(gate(len(self.slots) - 1, self._dispatcher, self.way_out))

    def _special_gate(self, api: Api) -> int:
        """What raises exceptions or jumps is machine code, or refused; 0 for others."""
        if api.name in RAISING:
            return self._gate_of(RAISING[api.name])
        if api.name.removeprefix("__intrinsic_") in ("_setjmp", "_setjmpex", "setjmp", "setjmpex"):
            return self.code(setjmp())
        if api.name == "longjmp":
            return self.code(longjmp(self._gate_of(REFUSING)))
        return 0

    def _dispatch(self, number: int, arguments: int, doubles: int) -> int:
        """A gate has been entered."""
        api = self.slots[number]
        if api.arguments == LATE:
            api = self.slots[number] = TABLES[api.dll].find(api.name)
        self.calls[api.name] = self.calls.get(api.name, 0) + 1
        try:
            result = api.action(self.system, *self._arguments(api, arguments, doubles))
            if hasattr(result, "send"):
                result = self.finish(result)
        except Exited as ended:
            sys.stdout.flush()
            os._exit(ended.status & 0xFF)
        except Raised as raised:
            back = ctypes.c_uint64.from_address(arguments - 8).value
            self.leave(self.faults.exception(raised.code, back))
            return 0
        except BaseException as error:
            # The code expects an answer that there is none to: it is left, for whoever has called it from Python.
            self.leave(error)
            return 0
        if api.result == "d":
            ctypes.c_double.from_address(doubles).value = float(result)
            return 0
        if api.result == "f":
            ctypes.c_float.from_address(doubles).value = float(result)
            return 0
        value = int(result or 0) & _FAILED
        return value & 0xFFFFFFFF if api.result in "ui" else value

    def _arguments(self, api: Api, at: int, doubles: int) -> list[Any]:
        values: list[Any] = []
        system = self.system
        for position, letter in enumerate(api.arguments):
            place = at + 8 * position
            if letter == ".":
                values.append(VarArgs(self.guest, place, 8))
                break
            if letter == "d":
                source = doubles + 8 * position if position < 4 else place
                values.append(ctypes.c_double.from_address(source).value)
                continue
            if letter == "f":
                source = doubles + 8 * position if position < 4 else place
                values.append(ctypes.c_float.from_address(source).value)
                continue
            value = ctypes.c_uint64.from_address(place).value
            if letter == "u":
                values.append(value & 0xFFFFFFFF)
            elif letter == "i":
                values.append((value & 0xFFFFFFFF ^ 0x80000000) - 0x80000000)
            elif letter == "s":
                values.append(system.text(value))
            elif letter == "w":
                values.append(system.wide(value))
            else:
                values.append(value)
        return values


def _address(function: Any) -> int:
    return int(ctypes.cast(function, ctypes.c_void_p).value or 0)


def _aligned(size: int, align: int, at: int | None, rights: int) -> int:
    """Addresses of this process. NoSpace."""
    flags = _PRIVATE | _ANONYMOUS
    if at is not None:
        got: int = libc.mmap(at, size, rights, flags | _NOREPLACE, -1, 0)
        if got != at:
            if got != _FAILED:
                libc.munmap(got, size)
            raise NoSpace(f"{at:#x} is not free")
        return at
    room: int = libc.mmap(0, size + align, rights, flags, -1, 0)
    if room == _FAILED:
        raise NoSpace(f"no {size:#x} bytes of addresses")
    start = room + align - 1 & -align
    if start > room:
        libc.munmap(room, start - room)
    if room + align > start:
        libc.munmap(start + size, room + align - start)
    return start


def _wait(effect: Wait) -> bool:
    end = None if effect.seconds is None else time.monotonic() + effect.seconds
    while not effect.ready():
        if end is not None and time.monotonic() >= end:
            return False
        time.sleep(0.0005)
    return True


def _stack_of_thread() -> tuple[int, int]:
    """(lowest, highest) address of this thread's stack, as __chkstk wants to know it."""
    attributes = (ctypes.c_uint64 * 8)()
    libc.pthread_self.restype = ctypes.c_uint64
    low, size = ctypes.c_uint64(), ctypes.c_uint64()
    libc.pthread_getattr_np(ctypes.c_uint64(libc.pthread_self()), attributes)
    libc.pthread_attr_getstack(attributes, ctypes.byref(low), ctypes.byref(size))
    libc.pthread_attr_destroy(attributes)
    return low.value, low.value + size.value
