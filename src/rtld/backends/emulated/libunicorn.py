"""Unicorn's C library, called without the Python package around it.

The package takes longer to import than a small program to run, for it knows all CPUs and looks for what it does not need; and
a register takes it 3 us, a hook 1 us. What it brings are the library and the numbers of registers: both are taken from its
directory (unicorn/unicorn.h, unicorn_const.py). Errors are numbers in C, and ``UcError`` here.
"""

from __future__ import annotations

import ctypes
import os
import sys
from ctypes import c_bool, c_int, c_int64, c_size_t, c_uint32, c_uint64, c_void_p

from rtld.errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

EXTRA = "emulate"
NAME = "libunicorn.so.2"
# fmt: off
_PROTOTYPES = {
    "uc_open":              (c_int, c_int, c_void_p),
    "uc_close":             (c_void_p,),
    "uc_emu_start":         (c_void_p, c_uint64, c_uint64, c_uint64, c_size_t),
    "uc_emu_stop":          (c_void_p,),
    "uc_mem_map_ptr":       (c_void_p, c_uint64, c_uint64, c_uint32, c_void_p),
    "uc_mmio_map":          (c_void_p, c_uint64, c_size_t, c_void_p, c_void_p, c_void_p, c_void_p),
    "uc_mem_protect":       (c_void_p, c_uint64, c_uint64, c_uint32),
    "uc_mem_unmap":         (c_void_p, c_uint64, c_uint64),
    "uc_reg_read":          (c_void_p, c_int, c_void_p),
    "uc_reg_read_batch":    (c_void_p, c_void_p, c_void_p, c_int),
    "uc_reg_write_batch":   (c_void_p, c_void_p, c_void_p, c_int),
    "uc_context_alloc":     (c_void_p, c_void_p),
    "uc_context_save":      (c_void_p, c_void_p),
    "uc_context_restore":   (c_void_p, c_void_p),
    "uc_context_free":      (c_void_p,),
    "uc_context_size":      (c_void_p,),
    "uc_hook_del":          (c_void_p, c_size_t),
}
# fmt: on
_WIDEST = 64  # bytes of a register

BLOCK_HOOK = ctypes.CFUNCTYPE(None, c_void_p, c_uint64)
ACCESS_HOOK = ctypes.CFUNCTYPE(None, c_void_p, c_int, c_uint64, c_int, c_int64)
READER = ctypes.CFUNCTYPE(c_uint64, c_void_p, c_uint64, c_uint32, c_void_p)
REFUSED_HOOK = ctypes.CFUNCTYPE(c_bool, c_void_p, c_int, c_uint64, c_int)


class UcError(Exception):
    """What a function of the library has returned; ``errno`` is its number, the text the library's."""

    def __init__(self, errno: int, text: str) -> None:
        self.errno = errno
        super().__init__(text)


class Library:
    """libunicorn. *directory*: the package's."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        try:
            self.c = ctypes.CDLL(os.path.join(directory, "lib", NAME))
        except OSError as error:
            raise Unsupported(
                f"emulating a CPU needs the package unicorn ({error})",
                f"pip install --force-reinstall 'rtld[{EXTRA}]'",
            ) from None
        for name, arguments in _PROTOTYPES.items():
            getattr(self.c, name).argtypes = arguments
        self.c.uc_strerror.restype = ctypes.c_char_p
        self.c.uc_context_size.restype = c_size_t
        self._tables: dict[str, dict[str, int]] = {}
        self.numbers = self.constants("unicorn_const")

    def constants(self, name: str) -> dict[str, int]:
        """The numbers of unicorn/NAME.py."""
        if name not in self._tables:
            loader = _loader(name, [self.directory])
            if loader is None:
                raise Unsupported(f"the package unicorn in {self.directory} has no {name}.py")
            module = type(os)(name)
            loader.exec_module(module)
            self._tables[name] = {k: v for k, v in vars(module).items() if k.startswith("UC_")}
        return self._tables[name]

    def check(self, error: int) -> None:
        """UcError unless *error* is UC_ERR_OK."""
        if error:
            raise UcError(error, self.c.uc_strerror(error).decode())

    def address(self, function: str) -> int:
        """Where a function of the library is, for machine code."""
        return ctypes.cast(getattr(self.c, function), c_void_p).value or 0


def _loader(name: str, path: list[str] | None = None) -> Any:
    """What would import a module, or None; without importlib.util, which takes long to import itself."""
    if name in sys.modules and sys.modules[name] is None:
        return None
    for finder in sys.meta_path:
        spec = finder.find_spec(name, path)
        if spec is not None:
            return spec.loader if hasattr(spec.loader, "path") else None
    return None


_loaded: dict[str, Library] = {}


def library() -> Library:
    """The library, loaded once. Unsupported says how to get it."""
    if sys.byteorder != "little":
        raise Unsupported("CPUs are emulated on little-endian machines only")
    loader = _loader("unicorn")
    if loader is None:
        raise Unsupported(
            "emulating a CPU needs the package unicorn (it is not installed)",
            f"pip install 'rtld[{EXTRA}]'",
        )
    directory = os.path.dirname(loader.path)
    if directory not in _loaded:
        _loaded[directory] = Library(directory)
    return _loaded[directory]


class Context:
    """All registers of a CPU, as they were."""

    def __init__(self, uc: Uc) -> None:
        self._free = uc.library.c.uc_context_free
        self._size: int = uc.library.c.uc_context_size(uc.handle)
        self.handle = 0
        handle = c_void_p()
        uc.check(uc.library.c.uc_context_alloc(uc.handle, ctypes.byref(handle)))
        self.handle = handle.value or 0

    def picture(self) -> bytes:
        """Its bytes."""
        return ctypes.string_at(self.handle, self._size)

    def __del__(self) -> None:
        if self.handle:
            self._free(self.handle)


class Uc:
    """One emulated CPU: the functions of unicorn.h that take a ``uc_engine``, by the same names."""

    def __init__(self, architecture: int, mode: int) -> None:
        self.library = library()
        self.handle = 0
        c = self._c = self.library.c
        handle = c_void_p()
        self.check = self.library.check
        self.check(c.uc_open(architecture, mode, ctypes.byref(handle)))
        self.handle = handle.value or 0
        #: What a hook has raised; emu_start raises it again.
        self.raised: BaseException | None = None
        self._readers: list[object] = []  # of memory that is a function
        self._hooks: dict[int, object] = {}  # handle -> what must live as long
        self._cell = c_uint64()
        self._at = ctypes.addressof(self._cell)
        self._wide = (ctypes.c_char * _WIDEST)()
        self._number = c_int()
        self._number_at = ctypes.addressof(self._number)
        # What the function for many registers wants: arrays, of one pointer each.
        self._places = (c_void_p * 2)(self._at, ctypes.addressof(self._wide))
        self._cell_at = ctypes.addressof(self._places)
        self._wide_at = self._cell_at + ctypes.sizeof(c_void_p)

    def __del__(self) -> None:
        if self.handle:
            self._c.uc_close(self.handle)

    # -- registers ----------------------------------------------------------------------------------

    def reg_read(self, number: int) -> int:
        """A register of up to 64 bits."""
        self._cell.value = 0
        if error := self._c.uc_reg_read(self.handle, number, self._at):
            self.check(error)
        return self._cell.value

    def reg_read_wide(self, number: int) -> int:
        """A register of any size."""
        ctypes.memset(self._wide, 0, _WIDEST)
        self.check(self._c.uc_reg_read(self.handle, number, self._wide))
        return int.from_bytes(self._wide.raw, "little")

    def reg_read_x87(self, number: int) -> tuple[int, int]:
        """One of 80 bits: mantissa; sign and exponent."""
        value = self.reg_read_wide(number)
        return value & (1 << 64) - 1, value >> 64

    def reg_write(self, number: int, value: int) -> None:
        """A register of up to 64 bits: the lowest bits of *value*."""
        self._cell.value = value
        self._number.value = number
        # By the function for many: that for one spoils the program counter of a later stop (quirks).
        if error := self._c.uc_reg_write_batch(self.handle, self._number_at, self._cell_at, 1):
            self.check(error)

    def reg_write_wide(self, number: int, value: bytes) -> None:
        """A register of any size."""
        ctypes.memmove(self._wide, value, len(value))
        self._number.value = number
        self.check(self._c.uc_reg_write_batch(self.handle, self._number_at, self._wide_at, 1))

    def context_save(self) -> Context:
        context = Context(self)
        self.check(self._c.uc_context_save(self.handle, context.handle))
        return context

    def context_restore(self, context: Context) -> None:
        self.check(self._c.uc_context_restore(self.handle, context.handle))

    # -- memory -------------------------------------------------------------------------------------

    def mem_map_ptr(self, start: int, size: int, rights: int, pointer: int) -> None:
        if error := self._c.uc_mem_map_ptr(self.handle, start, size, rights, pointer):
            self.check(error)

    def mmio_map(self, start: int, size: int, read: Callable[[int, int], int]) -> None:
        """*read* is asked what is read: offset, size. It must not raise."""
        callback = READER(lambda _handle, offset, size, _data: read(offset, size))
        self._readers.append(callback)
        self.check(self._c.uc_mmio_map(self.handle, start, size, callback, None, None, None))

    def mem_protect(self, start: int, size: int, rights: int) -> None:
        if error := self._c.uc_mem_protect(self.handle, start, size, rights):
            self.check(error)

    def mem_unmap(self, start: int, size: int) -> None:
        if error := self._c.uc_mem_unmap(self.handle, start, size):
            self.check(error)

    # -- running ------------------------------------------------------------------------------------

    def emu_start(self, begin: int, until: int, count: int = 0) -> None:
        """UcError; what a hook has raised."""
        self.raised = None
        error = self._c.uc_emu_start(self.handle, begin, until, 0, count)
        if error:
            self.check(error)
        if self.raised is not None:
            raised, self.raised = self.raised, None
            raise raised

    def emu_stop(self) -> None:
        self.check(self._c.uc_emu_stop(self.handle))

    def cannot_translate(self) -> None:
        """The run ends as at an illegal instruction."""
        number = self.library.numbers["UC_ERR_INSN_INVALID"]
        self.failed(UcError(number, "instructions that Unicorn gives up at"))

    def failed(self, error: BaseException) -> None:
        """A hook has raised this: it ends the run."""
        if self.raised is None:
            self.raised = error
        self.emu_stop()

    def ctl(self, name: str, *arguments: object) -> None:
        """uc_ctl of UC_CTL_*name*, as the macros of unicorn.h that write."""
        numbers = self.library.numbers
        code = numbers["UC_CTL_IO_WRITE"] << 30 | len(arguments) << 26 | numbers[f"UC_CTL_{name}"]
        self.check(self._c.uc_ctl(c_void_p(self.handle), c_int(code), *arguments))

    def ctl_set_cpu_model(self, model: int) -> None:
        """Before anything is mapped."""
        self.ctl("CPU_MODEL", c_int(model))

    def ctl_remove_cache(self, start: int, end: int) -> None:
        self.ctl("TB_REMOVE_CACHE", c_uint64(start), c_uint64(end))

    def ctl_flush_tb(self) -> None:
        self.ctl("TB_FLUSH")

    def ctl_exits_enabled(self, enabled: bool) -> None:
        self.ctl("UC_USE_EXITS", c_int(enabled))

    def ctl_set_exits(self, exits: Iterable[int]) -> None:
        listed = sorted(set(exits))
        array = (c_uint64 * len(listed))(*listed)
        self.ctl("UC_EXITS", array, c_size_t(len(listed)))

    # -- hooks --------------------------------------------------------------------------------------

    def hook_add(
        self,
        kinds: int,
        function: Any,
        data: int = 0,
        low: int = 1,
        high: int = 0,
        more: tuple[object, ...] = (),
        keep: object = None,
    ) -> int:
        """A hook for [low, high], or everywhere. *function*: an address, or a callback of ctypes, which is kept."""
        handle = c_size_t()
        at = function if isinstance(function, int) else ctypes.cast(function, c_void_p).value
        self.check(
            self._c.uc_hook_add(
                c_void_p(self.handle), ctypes.byref(handle), c_int(kinds), c_void_p(at), c_void_p(data),
                c_uint64(low), c_uint64(high), *more,
            )
        )  # fmt: skip
        self._hooks[handle.value] = (function, keep)
        return handle.value

    def guarded(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function for a callback: its first argument, the handle, is left out, and what it raises is kept."""

        def called(_handle: int, *arguments: Any) -> Any:
            try:
                return function(*arguments)
            except BaseException as error:
                self.failed(error)

        return called

    def hook_del(self, handle: int) -> None:
        self.check(self._c.uc_hook_del(self.handle, handle))
        del self._hooks[handle]
