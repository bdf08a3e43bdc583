"""KERNEL32.dll and ntdll.dll: raising exceptions, handlers, filters, unwinding, what debuggers are told."""

from __future__ import annotations

import struct
import sys

from rtld.arch.x86_64_unwind import EHANDLER, BadUnwindInfo
from rtld.backends.windows import context as c
from rtld.backends.windows.api import Dll, Exited, Resume
from rtld.backends.windows.dispatch import ask_vectored, dispatch, handlers, unhandled
from rtld.backends.windows.kernel32 import KERNEL32
from rtld.backends.windows.unwinding import tables
from rtld.errors import TargetFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any

    from rtld.backends.windows.system import System

    Task = Generator[Any, Any, Any]
    Action = Callable[..., Any]

NTDLL = Dll("ntdll.dll")
_PRINT, _PRINT_WIDE = 0x40010006, 0x4001000A  # DBG_PRINTEXCEPTION_C


def own_context(system: System, code: int = 0) -> Any:
    """The registers as they are behind the slot of the function that runs. TargetFault where there is no CPU of ours."""
    machine = system.threads
    if not hasattr(machine, "engine"):
        raise TargetFault(f"exception {code:#x} was raised, and exceptions are not handled yet in this process")  # fmt: skip
    frame = machine.current.frames[-1]
    context = c.capture(system)
    if isinstance(context, c.Context64):
        context.rip, context.gpr[4] = frame.pc, frame.sp
    else:
        context.values["eip"], context.values["esp"] = frame.pc, frame.sp
    return context


def popped(system: System, context: Any, words: int = 0) -> Any:
    """The registers as the caller has them when the function has returned; it pops so many arguments on x86."""
    back = system.number(context.sp)
    if isinstance(context, c.Context64):
        context.rip = back
        context.gpr[4] += 8
    else:
        context.values["eip"] = back
        context.values["esp"] += 4 + 4 * words
    return context


# -- raising ------------------------------------------------------------------------------------------


def _export(names: str, arguments: str = "", result: str = "u") -> Callable[[Action], Action]:
    """In both DLLs, as Windows has these."""

    def declare(action: Action) -> Action:
        KERNEL32(names, arguments, result)(action)
        return NTDLL(names, arguments, result)(action)

    return declare


@KERNEL32("RaiseException", "uuup", "v")
def raise_exception(system: System, code: int, flags: int, count: int, arguments: int) -> Task:
    context = own_context(system, code)
    info: tuple[int, ...] = ()
    if arguments:
        count = min(count, 15)
        form = f"<{count}{'Q' if system.bits == 64 else 'I'}"
        info = struct.unpack(form, system.memory.read(arguments, count * system.word))
    record = c.Record(code, flags & c.NONCONTINUABLE, context.pc, info)
    return (yield from dispatch(system, record, context))


@NTDLL("RtlRaiseException", "p", "v")
def rtl_raise_exception(system: System, at: int) -> Task:
    context = own_context(system)
    record = c.Record.load(system, at)
    record.address = context.pc
    system.put(at + (0x10 if system.bits == 64 else 0xC), context.pc)
    return (yield from dispatch(system, record, context, at))


@NTDLL("RtlRaiseStatus", "u", "v")
def rtl_raise_status(system: System, status: int) -> Task:
    context = own_context(system)
    return (yield from dispatch(system, c.Record(status, c.NONCONTINUABLE, context.pc), context))


@KERNEL32("DebugBreak", "", "v")
def debug_break(system: System) -> Task:
    context = own_context(system)
    return (yield from dispatch(system, c.Record(c.BREAKPOINT, 0, context.pc, (0,)), context))


NTDLL.functions["DbgBreakPoint"] = KERNEL32.functions["DebugBreak"]._replace(name="DbgBreakPoint", dll="ntdll.dll")  # fmt: skip


# -- handlers -----------------------------------------------------------------------------------------


def _add(system: System, kind: str, first: int, function: int) -> int:
    state = handlers(system)
    listed: list[tuple[int, int]] = getattr(state, kind)
    handle = system.heap.allocate(16)
    listed.insert(0 if first else len(listed), (handle, function))
    return handle


def _remove(system: System, kind: str, handle: int) -> int:
    listed: list[tuple[int, int]] = getattr(handlers(system), kind)
    for entry in listed:
        if entry[0] == handle:
            listed.remove(entry)
            return 1
    return system.fail(87)


@_export("AddVectoredExceptionHandler RtlAddVectoredExceptionHandler", "up", "p")
def add_vectored_exception_handler(system: System, first: int, function: int) -> int:
    return _add(system, "vectored", first, function)


@_export("RemoveVectoredExceptionHandler RtlRemoveVectoredExceptionHandler", "p")
def remove_vectored_exception_handler(system: System, handle: int) -> int:
    return _remove(system, "vectored", handle)


@_export("AddVectoredContinueHandler RtlAddVectoredContinueHandler", "up", "p")
def add_vectored_continue_handler(system: System, first: int, function: int) -> int:
    return _add(system, "continued", first, function)


@_export("RemoveVectoredContinueHandler RtlRemoveVectoredContinueHandler", "p")
def remove_vectored_continue_handler(system: System, handle: int) -> int:
    return _remove(system, "continued", handle)


@KERNEL32("SetUnhandledExceptionFilter", "p", "p")
def set_unhandled_exception_filter(system: System, function: int) -> int:
    state = handlers(system)
    old, state.filter = state.filter, function
    return old


@KERNEL32("UnhandledExceptionFilter", "p", "i")
def unhandled_exception_filter(system: System, pointers: int) -> Task:
    answer, _ = yield from unhandled(system, pointers)
    return answer


@KERNEL32("SetErrorMode SetThreadErrorMode", "u")
def set_error_mode(system: System, mode: int) -> int:
    state = handlers(system)
    old, state.mode = state.mode, mode
    return old


@KERNEL32("GetErrorMode")
def get_error_mode(system: System) -> int:
    return handlers(system).mode


# -- unwinding ----------------------------------------------------------------------------------------


@_export("RtlCaptureContext", "p", "v")
def rtl_capture_context(system: System, at: int) -> Task:
    context = own_context(system)
    popped(system, context).store(system.memory, at)
    yield from ()


@_export("RtlRestoreContext", "pp", "v")
def rtl_restore_context(system: System, at: int, record: int) -> Task:
    context = own_context(system)
    context.load(system.memory, at)
    if system.bits == 32:
        return Resume(context)
    from rtld.backends.windows.seh64 import restored

    return (yield from restored(system, context, c.Record.load(system, record) if record else None))


@_export("RtlUnwind", "pppp", "v")
def rtl_unwind(system: System, target: int, target_ip: int, record: int, value: int) -> Task:
    if system.bits == 32:
        from rtld.backends.windows.seh32 import unwind as unwind32

        return (yield from unwind32(system, target, record, value))
    from rtld.backends.windows.seh64 import Goal, unwind

    return (yield from unwind(system, Goal(target, target_ip, value), record))


@_export("RtlUnwindEx", "pppppp", "v")
def rtl_unwind_ex(system: System, target: int, target_ip: int, record: int, value: int, context: int, history: int) -> Task:  # fmt: skip
    from rtld.backends.windows.seh64 import Goal, unwind

    return (yield from unwind(system, Goal(target, target_ip, value), record, context, history))


@_export("RtlLookupFunctionEntry", "ppp", "p")
def rtl_lookup_function_entry(system: System, pc: int, base: int, _history: int) -> int:
    if not hasattr(system.threads, "engine"):
        return 0
    found = tables(system).find(pc)
    if found is None:
        return 0
    system.put(base, found[0])
    return found[1]


@_export("RtlVirtualUnwind", "uppppppp", "p")
def rtl_virtual_unwind(system: System, wanted: int, base: int, pc: int, row: int, at: int, data: int, frame: int, pointers: int) -> Task:  # fmt: skip
    context = own_context(system)
    context.load(system.memory, at)
    before, context.rip = context.rip, pc
    context.saved.clear()
    try:
        step = tables(system).step(base, row, context, wanted)
    except BadUnwindInfo:
        context.rip = before
        return (yield from rtl_raise_status(system, c.BAD_FUNCTION_TABLE))
    context.store(system.memory, at)
    system.put(data, step.data)
    system.put(frame, step.frame)
    if pointers:  # KNONVOLATILE_CONTEXT_POINTERS: xmm0 to xmm15, then rax to r15
        for number, place in context.saved.items():
            system.put(pointers + 8 * (number - 16 if number >= 16 else 16 + number), place)
    return step.handler


@_export("RtlAddFunctionTable", "pup")
def rtl_add_function_table(system: System, table: int, count: int, base: int) -> int:
    return int(tables(system).add(table, count, base))


@_export("RtlDeleteFunctionTable", "p")
def rtl_delete_function_table(system: System, table: int) -> int:
    return int(tables(system).added.pop(table, None) is not None)


@_export("RtlPcToFileHeader", "pp", "p")
def rtl_pc_to_file_header(system: System, pc: int, out: int) -> int:
    module = system.loader.module_of(pc)
    base = int(module.base) if module is not None else 0
    system.put(out, base)
    return base


@_export("RtlCaptureStackBackTrace CaptureStackBackTrace", "uupp")
def rtl_capture_stack_back_trace(system: System, skip: int, count: int, out: int, checksum: int) -> Task:  # fmt: skip
    yield from ()
    if system.bits == 32:
        found = frames32(system, own_context(system), skip + min(count, 4096))
    else:
        from rtld.backends.windows.seh64 import Walk

        walk = Walk(system, own_context(system), EHANDLER)
        found = []
        while walk.context.rip and len(found) < skip + min(count, 4096) and not walk.step():
            found.append(walk.context.rip)
    found = [pc for pc in found if pc][skip:]
    for number, pc in enumerate(found):
        system.put(out + number * system.word, pc)
    if checksum:
        system.put(checksum, sum(found), 4)
    return len(found)


def frames32(system: System, context: Any, most: int) -> list[int]:
    """Return addresses by the chain of frame pointers."""
    found = [system.number(context.sp)]
    frame = context.values["ebp"]
    low = context.sp
    high = system.number(system.threads.teb + 4)
    while len(found) < most and low < frame < high - 8 and not frame & 3:
        found.append(system.number(frame + 4))
        low, frame = frame, system.number(frame)
    return found


# -- debuggers ----------------------------------------------------------------------------------------


@KERNEL32("IsDebuggerPresent")
def is_debugger_present(_system: System) -> int:
    return 0


@KERNEL32("OutputDebugStringA", "p", "v")
@KERNEL32("OutputDebugStringW", "p", "v")
def output_debug_string(system: System, at: int) -> Any:
    return None if not hasattr(system.threads, "engine") else _tell_debugger(system, at)


def _tell_debugger(system: System, at: int) -> Task:
    """An exception that only vectored handlers see: nobody debugs the program. --trace shows the text."""
    wide = system.threads.current.frames[-1].api.name.endswith("W")
    text: Any = system.wide(at) if wide else (system.text(at) or b"").decode("latin-1")
    info: tuple[int, ...] = (len(text or "") + 1, at)
    if wide:
        narrow = (text or "").encode("latin-1", "replace")
        info += len(narrow) + 1, system.keep(narrow + b"\0")
    if system.loader.trace is not None:
        system.loader.trace.write(
            f"warn:debugstr:OutputDebugString{'W' if wide else 'A'} {text!r}\n"
        )
    context = own_context(system)
    yield from ask_vectored(
        system, c.Record(_PRINT_WIDE if wide else _PRINT, 0, context.pc, info), context
    )


@KERNEL32("FatalAppExitA", "us", "v")
@KERNEL32("FatalAppExitW", "uw", "v")
def fatal_app_exit(system: System, _action: int, text: Any) -> Task:
    sys.stderr.write((text if isinstance(text, str) else (text or b"").decode("latin-1")) + "\n")
    yield from system.loader.detach_process()
    raise Exited(1)
