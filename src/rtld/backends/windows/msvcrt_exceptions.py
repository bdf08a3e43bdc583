"""msvcrt.dll, vcruntime140.dll: what compilers' code for __try calls, setjmp and longjmp, signals."""

from __future__ import annotations

import struct

from rtld.arch.x86_64_unwind import REGISTERS
from rtld.backends.windows import context as c
from rtld.backends.windows import vcruntime
from rtld.backends.windows.api import Call, Resume
from rtld.backends.windows.crt import UCRT, VCRUNTIME
from rtld.backends.windows.dispatch import dispatch, unhandled
from rtld.backends.windows.exceptions import NTDLL, own_context, popped
from rtld.backends.windows.msvcrt import MSVCRT, quick_exit
from rtld.core.late import Late
from rtld.errors import TargetFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any

    from rtld.backends.windows import cxx, cxx32, cxx64, seh32, seh64
    from rtld.backends.windows.system import System

    Task = Generator[Any, Any, Any]
    Action = Callable[..., Any]
else:
    # Few programs have an exception.
    cxx, cxx32, cxx64, seh32, seh64 = (
        Late(f"rtld.backends.windows.{name}")
        for name in ("cxx", "cxx32", "cxx64", "seh32", "seh64")
    )

_JUMP_MAGIC = 0x56433230  # "VC20": the buffer is _setjmp3's
SIGILL, SIGFPE, SIGSEGV, SIGABRT = 4, 8, 11, 22
runtime, signalled = vcruntime.runtime, vcruntime.signalled
_SIGNALS = {c.ACCESS_VIOLATION: SIGSEGV, c.ILLEGAL_INSTRUCTION: SIGILL, c.PRIVILEGED: SIGILL,
            **dict.fromkeys((*range(0xC000008D, 0xC0000094), c.DIVIDE_BY_ZERO), SIGFPE)}  # fmt: skip


def _c_specific_handler(system: System, *arguments: int) -> Task:
    return (yield from seh64.c_specific_handler(system, *arguments))


for _table in (NTDLL, MSVCRT, VCRUNTIME, UCRT):
    _table("__C_specific_handler", "pppp", "i", "cdecl")(_c_specific_handler)


@runtime("_except_handler3", "pppp", "i")
def except_handler3(system: System, at: int, frame: int, context: int, _dispatcher: int) -> Task:
    return (yield from seh32.except_handler(system, at, frame, context, None))


@runtime("_except_handler4_common", "pppppp", "i")
def except_handler4_common(system: System, cookie: int, _check: int, at: int, frame: int, context: int, _dispatcher: int) -> Task:  # fmt: skip
    return (yield from seh32.except_handler(system, at, frame, context, system.number(cookie, 4)))


@runtime("_global_unwind2", "p", "v")
def global_unwind2(system: System, frame: int) -> Task:
    context = popped(system, own_context(system))
    yield from seh32.unwind_chain(system, frame, 0, context.copy())
    return Resume(context)


@runtime("_local_unwind2", "pu", "v")
def local_unwind2(system: System, frame: int, level: int) -> Task:
    context = popped(system, own_context(system))
    yield from seh32.ScopeFrame(system, frame, None).unwind_to(level)
    return Resume(context)


@runtime("_local_unwind4", "ppu", "v")
def local_unwind4(system: System, cookie: int, frame: int, level: int) -> Task:
    context = popped(system, own_context(system))
    yield from seh32.ScopeFrame(system, frame, system.number(cookie, 4)).unwind_to(level)
    return Resume(context)


@runtime("_local_unwind", "pp", "v")
@NTDLL("_local_unwind", "pp", "v")
def local_unwind(system: System, frame: int, target_ip: int) -> Task:
    return (yield from seh64.unwind(system, seh64.Goal(frame, target_ip, 0), 0))


# -- setjmp -------------------------------------------------------------------------------------------


def _caller(system: System) -> Any:
    """The registers as the caller has them behind the call; of a function that runs at once."""
    if not hasattr(system.threads, "engine"):
        raise TargetFault("setjmp is there on emulated CPUs only")
    return popped(system, c.capture(system))


@runtime("_setjmp _setjmpex setjmp __intrinsic_setjmp __intrinsic_setjmpex", "pp", "i")
def setjmp(system: System, buffer: int, frame: int) -> int:
    """x64: a _JUMP_BUFFER. x86: what _setjmp3 keeps without more arguments."""
    if system.bits == 32:
        return _setjmp32(system, buffer, (), magic=False)
    context = _caller(system)
    data = bytearray(0x100)
    struct.pack_into("<Q", data, 0, frame)
    for number, at in seh64.JUMP.items():
        struct.pack_into("<Q", data, at, context.gpr[number])
    struct.pack_into("<QIH", data, 0x50, context.rip, context.mxcsr, context.fpcw)
    for number in range(6, 16):
        at = 0x60 + 16 * (number - 6)
        data[at : at + 16] = context.xmm[number].to_bytes(16, "little")
    system.memory.write(buffer, bytes(data))
    return 0


def _setjmp32(system: System, buffer: int, more: tuple[int, ...], *, magic: bool) -> int:
    context = _caller(system)
    values = context.values
    registration = seh32.chain(system)
    level, function = seh32.END, 0
    data: tuple[int, ...] = ()
    if registration != seh32.END:
        function = more[0] if more else 0
        level = more[1] if len(more) > 1 else system.number(registration + 12)
        data = more[2:8]
    words = [values[r] for r in ("ebp", "ebx", "edi", "esi", "esp", "eip")] + [registration, level]
    if magic:
        words += [_JUMP_MAGIC, function, *data, *[0] * (6 - len(data))]
    system.memory.write(buffer, struct.pack(f"<{len(words)}I", *words))
    return 0


@runtime("_setjmp3", "pi.", "i")
def setjmp3(system: System, buffer: int, count: int, values: Any) -> int:
    if system.bits == 64:
        return setjmp(system, buffer, count)  # type: ignore[no-any-return]
    more = tuple(values.pointer() for _ in range(max(0, min(count, 8))))
    return _setjmp32(system, buffer, more, magic=True)


@runtime("longjmp", "pi", "v")
def longjmp(system: System, buffer: int, value: int) -> Task:
    value = value or 1
    if system.bits == 32:
        return (yield from _longjmp32(system, buffer, value))
    frame, context = system.number(buffer), own_context(system)
    if frame:
        at = context.sp - 0x200 & -16
        record = c.Record(c.LONGJUMP, 0, context.pc, (buffer,))
        record.store(system, at)
        goal = seh64.Goal(frame, system.number(buffer + 0x50), value)
        return (yield from seh64.unwind(system, goal, at, free=at))  # fmt: skip
    seh64.jump(system, context, buffer)
    context.gpr[REGISTERS.index("rax")] = value & 0xFFFFFFFF
    return Resume(context)


def _longjmp32(system: System, buffer: int, value: int) -> Task:
    context = own_context(system)
    words = struct.unpack("<10I", system.memory.read(buffer, 40))
    registration, level, magic, function = words[6:]
    if registration not in (seh32.chain(system), 0):
        target = registration if registration != seh32.END else 0
        yield from seh32.unwind_chain(system, target, 0, context.copy())
    if registration not in (0, seh32.END):
        if magic == _JUMP_MAGIC and function:
            yield Call(function, (buffer,), "cdecl")
        elif system.number(registration + 12) != level:
            yield from seh32.ScopeFrame(system, registration, None).unwind_to(level)
    names = ("ebp", "ebx", "edi", "esi", "esp", "eip")
    context.values.update(zip(names, words, strict=False), eax=value & 0xFFFFFFFF)
    return Resume(context)


@runtime("_seh_longjmp_unwind", "p", "v")
def seh_longjmp_unwind(system: System, buffer: int) -> Task:
    context = popped(system, own_context(system), 1)  # __stdcall, whatever its DLL's others are
    registration, level = struct.unpack("<II", system.memory.read(buffer + 0x18, 8))
    yield from seh32.ScopeFrame(system, registration, None).unwind_to(level)
    return Resume(context)


# -- signals ------------------------------------------------------------------------------------------


@runtime("raise", "i", "i")
def raise_(system: System, number: int) -> Task:
    if not (yield from signalled(system, number)):
        yield from quick_exit(system, 3)
    return 0


@runtime("abort", "", "v")
def abort(system: System) -> Task:
    yield from signalled(system, SIGABRT)
    yield from quick_exit(system, 3)


@runtime("_XcptFilter", "up", "i")
def xcpt_filter(system: System, code: int, pointers: int) -> Task:
    """The filter of start-up code: what has a signal's handler is that one's."""
    number = _SIGNALS.get(code)
    if number is not None and (yield from signalled(system, number)):
        return -1
    answer, _ = yield from unhandled(system, pointers)
    return answer


@runtime("__CppXcptFilter", "up", "i")
def cpp_xcpt_filter(system: System, code: int, pointers: int) -> Task:
    return (yield from xcpt_filter(system, code, pointers)) if code == 0xE06D7363 else 0


@runtime("_resetstkoflw", "", "i")
def resetstkoflw(system: System) -> int:
    """The guard pages of the stack are set once more."""
    guard = system.threads.current.guard
    if guard is None:
        return 0
    guard.arm()
    system.threads.put_limit(guard.limit)
    return 1


# -- C++ of Microsoft ---------------------------------------------------------------------------------


@runtime("_CxxThrowException", "pp", "v")
def cxx_throw_exception(system: System, thing: int, info: int) -> Task:
    """The object is the thrower's, on its stack; no object: what is being handled is thrown on."""
    context = own_context(system)
    values: tuple[int, ...] = (cxx.MAGICS[0], thing, info)
    if system.bits == 64:
        module = system.loader.module_of(info) if info else None
        values += (module.base if module is not None else 0,)
    return (
        yield from dispatch(
            system, c.Record(cxx.CXX, c.NONCONTINUABLE, context.pc, values), context
        )
    )


@runtime("__CxxFrameHandler __CxxFrameHandler2 __CxxFrameHandler3", "pppp", "i")
def cxx_frame_handler(system: System, at: int, frame: int, context_at: int, dispatcher: int) -> Task:  # fmt: skip
    module = cxx64 if system.bits == 64 else cxx32
    return (yield from module.frame_handler(system, at, frame, context_at, dispatcher))


@runtime("__uncaught_exception", "", "i")
def uncaught_exception(system: System) -> int:
    return int(bool(cxx.pending(system)))
