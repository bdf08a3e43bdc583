"""KERNEL32.dll: thread-local slots, atomics. All else is in the files named after it."""

from __future__ import annotations

from rtld.backends.windows.api import Call, Dll

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any

    from rtld.backends.windows.system import System

    Task = Generator[Any, Any, Any]

KERNEL32 = Dll("kernel32.dll")
INFINITE = 0xFFFFFFFF
FLS_SLOTS = 4080
_EVERYWHERE = ("ntdll", "kernelbase")  # in every process, whether somebody imports them or not

# -- thread-local slots ---------------------------------------------------------------------------


def _slot(system: System, index: int, teb: int = 0) -> int:
    """The address of a slot in the TEB: 64 of them stand there; the others in a block of their own."""
    teb = teb or system.threads.teb
    if index < 64:
        return int(teb) + (0x1480 if system.bits == 64 else 0xE10) + index * system.word
    pointer = int(teb) + (0x1780 if system.bits == 64 else 0xF94)
    block = system.number(pointer)
    if not block:
        block = system.heap.allocate(1024 * system.word)
        system.put(pointer, block)
    return block + (index - 64) * system.word


@KERNEL32("TlsAlloc")
def tls_alloc(system: System) -> int:
    for index, used in enumerate(system.tls):
        if not used:
            system.tls[index] = True
            system.put(_slot(system, index), 0)
            return index
    return system.fail(259, INFINITE)


@KERNEL32("TlsFree", "u")
def tls_free(system: System, index: int) -> int:
    if index >= len(system.tls) or not system.tls[index]:
        return system.fail(87)
    system.tls[index] = False
    for thread in system.threads.threads:
        if thread.code is None:
            system.put(_slot(system, index, thread.teb), 0)
    return 1


@KERNEL32("TlsGetValue", "u", "p")
def tls_get_value(system: System, index: int) -> int:
    if index >= len(system.tls):
        return system.fail(87)
    system.last_error = 0
    return system.number(_slot(system, index))


@KERNEL32("TlsSetValue", "up")
def tls_set_value(system: System, index: int, value: int) -> int:
    if index >= len(system.tls):
        return system.fail(87)
    system.put(_slot(system, index), value)
    return 1


# -- fiber-local slots: as thread-local ones, with a function that is called for what is left -----


@KERNEL32("FlsAlloc", "p")
def fls_alloc(system: System, callback: int) -> int:
    for index in range(1, FLS_SLOTS):
        if index not in system.fls:
            system.fls[index] = callback
            return index
    return system.fail(8, INFINITE)


@KERNEL32("FlsFree", "u")
def fls_free(system: System, index: int) -> Any:
    if index not in system.fls:
        return system.fail(87)
    return _fls_free(system, index)


def _fls_free(system: System, index: int) -> Task:
    callback = system.fls.pop(index)
    for thread in list(system.threads.threads):
        value = thread.crt.get("fls", {}).pop(index, 0)
        if value and callback:
            yield Call(callback, (value,))
    return 1


@KERNEL32("FlsGetValue", "u", "p")
def fls_get_value(system: System, index: int) -> int:
    if not 0 < index < FLS_SLOTS:
        return system.fail(87)
    system.last_error = 0
    return int(system.threads.current.crt.get("fls", {}).get(index, 0))


@KERNEL32("FlsSetValue", "up")
def fls_set_value(system: System, index: int, value: int) -> int:
    if not 0 < index < FLS_SLOTS:
        return system.fail(87)
    system.threads.current.crt.setdefault("fls", {})[index] = value
    return 1


def fls_exit(system: System) -> Task:
    """What a thread has in its fiber-local slots is given to their functions; when it ends, or the process."""
    values: dict[int, int] = system.threads.current.crt.pop("fls", {})
    for index, value in sorted(values.items()):
        callback = system.fls.get(index, 0)
        if value and callback:
            yield Call(callback, (value,))


# -- atomics of 32-bit programs, pointers ---------------------------------------------------------


def _interlocked(name: str, change: Callable[[int, int], int], after: bool) -> None:
    @KERNEL32(name, "pi", "i")
    def action(system: System, address: int, value: int) -> int:
        before = system.number(address, 4)
        new = change(before, value)
        system.put(address, new, 4)
        return new if after else before


_interlocked("InterlockedExchange", lambda _old, new: new, False)
_interlocked("InterlockedExchangeAdd", lambda old, new: old + new, False)


@KERNEL32("InterlockedIncrement", "p", "i")
def interlocked_increment(system: System, address: int) -> int:
    value = system.number(address, 4) + 1
    system.put(address, value, 4)
    return value


@KERNEL32("InterlockedDecrement", "p", "i")
def interlocked_decrement(system: System, address: int) -> int:
    value = system.number(address, 4) - 1
    system.put(address, value, 4)
    return value


@KERNEL32("InterlockedCompareExchange", "pii", "i")
def interlocked_compare_exchange(system: System, address: int, new: int, old: int) -> int:
    before = system.number(address, 4)
    if before == old & 0xFFFFFFFF:
        system.put(address, new, 4)
    return before


@KERNEL32("EncodePointer DecodePointer", "p", "p")
def encode_pointer(_system: System, pointer: int) -> int:
    return pointer
