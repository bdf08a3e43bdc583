"""msvcrt.dll: start and end of a program, memory, strings, streams, what mingw's start-up code asks for."""

from __future__ import annotations

from rtld.backends.windows.api import Call, Dll, Exited
from rtld.backends.windows.crt_streams import flush_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from rtld.backends.windows.system import System

    Task = Generator[Any, Any, Any]

MSVCRT = Dll("msvcrt.dll", "cdecl")
# name -> bytes in 32 and in 64 bits
MSVCRT.data |= {
    "_iob": (3 * 32, 3 * 48), "_fmode": (4, 4), "_commode": (4, 4), "__initenv": (4, 8), "_environ": (4, 8),
    "_acmdln": (4, 8), "__argc": (4, 4), "__argv": (4, 8), "_HUGE": (8, 8), "__mb_cur_max": (4, 4),
}  # fmt: skip

# -- start and end --------------------------------------------------------------------------------


def variable(system: System, name: str) -> int:
    """The address of an exported variable."""
    return int(system.loader.variable("msvcrt.dll", name))


def arrays(system: System) -> tuple[int, int, int]:
    """(argc, argv, environment) in the program's memory, made once."""
    if "argv" not in system.cache:
        word = system.word

        def vector(items: list[str]) -> int:
            at = system.heap.allocate(word * (len(items) + 1))
            for number, item in enumerate(items):
                data = item.encode("utf-8", "surrogateescape") + b"\0"
                text = system.heap.allocate(len(data))
                system.memory.write(text, data)
                system.put(at + number * word, text)
            return at

        argv = vector(system.arguments)
        environ = vector([f"{k}={v}" for k, v in system.environ.items()])
        system.cache["argv"] = len(system.arguments), argv, environ
        system.put(variable(system, "__initenv"), environ)
        system.put(variable(system, "_environ"), environ)
        system.put(variable(system, "__argv"), argv)
        system.put(variable(system, "__argc"), len(system.arguments), 4)
    return system.cache["argv"]  # type: ignore[no-any-return]


@MSVCRT("__getmainargs", "pppip", "i")
def getmainargs(system: System, argc: int, argv: int, env: int, _glob: int, _info: int) -> int:
    count, vector, environ = arrays(system)
    system.put(argc, count, 4)
    system.put(argv, vector)
    system.put(env, environ)
    return 0


@MSVCRT("__set_app_type _set_app_type __setusermatherr _set_invalid_parameter_handler", "p")
def nothing(_system: System, _value: int) -> int:
    return 0


@MSVCRT("_initterm", "pp", "v")
def initterm(system: System, first: int, last: int) -> Task:
    while first < last:
        function = system.number(first)
        if function:
            yield Call(function, (), "cdecl")
        first += system.word


@MSVCRT("_initterm_e", "pp", "i")
def initterm_e(system: System, first: int, last: int) -> Task:
    while first < last:
        function = system.number(first)
        if function:
            result = yield Call(function, (), "cdecl")
            if result & 0xFFFFFFFF:
                return result
        first += system.word
    return 0


@MSVCRT("_onexit", "p", "p")
@MSVCRT("atexit", "p", "i")
def onexit(system: System, function: int) -> int:
    system.at_exit.append(function)
    return function


@MSVCRT("__dllonexit", "ppp", "p")
def dllonexit(system: System, function: int, begin: int, end: int) -> int:
    first, last = system.number(begin), system.number(end)
    size = last - first
    new = system.heap.resize(first, size + system.word)
    system.put(new + size, function)
    system.put(begin, new)
    system.put(end, new + size + system.word)
    return function


def _run_exit(system: System) -> Task:
    while system.at_exit:
        yield Call(system.at_exit.pop(), (), "cdecl")
    flush_all(system)


@MSVCRT("exit", "i", "v")
def exit_(system: System, status: int) -> Task:
    yield from _run_exit(system)
    yield from system.loader.detach_process()
    raise Exited(status)


@MSVCRT("_exit _Exit", "i", "v")
def quick_exit(system: System, status: int) -> Task:
    flush_all(system)
    yield from system.loader.detach_process()
    raise Exited(status)


@MSVCRT("_cexit", "", "v")
def cexit(system: System) -> Task:
    yield from _run_exit(system)


@MSVCRT("_amsg_exit", "i", "v")
def amsg_exit(system: System, _number: int) -> Task:
    yield from quick_exit(system, 255)


@MSVCRT("signal", "ip", "p")
def signal(system: System, number: int, handler: int) -> int:
    old: int = system.cache.get(f"signal {number}", 0)
    system.cache[f"signal {number}"] = handler
    return old


@MSVCRT("_lock _unlock", "i", "v")
def lock(_system: System, _number: int) -> None:
    return


def failed(system: System, number: int, result: int) -> int:
    """Set errno, to a number of ours; the result to return."""
    system.put(int(errno(system)), _ERRNO.get(number, number), 4)
    return result


#: Numbers of Linux that Microsoft's errno.h has otherwise.
_ERRNO = {35: 36, 36: 38, 38: 40, 39: 41, 75: 132, 84: 42}


@MSVCRT("_errno", "", "p")
def errno(system: System) -> int:
    crt = system.threads.current.crt
    if "errno" not in crt:
        crt["errno"] = system.heap.allocate(8)
    return int(crt["errno"])


for _name in ("_fmode", "_commode", "_acmdln", "_environ", "__initenv", "__argc", "__argv"):

    @MSVCRT(f"__p_{_name}", "", "p")
    def _address(system: System, _which: str = _name) -> int:
        if _which == "_acmdln":
            at = variable(system, _which)
            system.put(at, system.keep(system.command_line.encode() + b"\0"))
            return at
        arrays(system)
        return variable(system, _which)


# -- sorting --------------------------------------------------------------------------------------


@MSVCRT("qsort", "pppp", "v")
def qsort(system: System, base: int, count: int, size: int, compare: int) -> Task:
    """Merge sort on copies that the program compares."""
    if count < 2 or not size:
        return
    data = system.memory.read(base, count * size)
    scratch = system.heap.allocate(2 * size)
    items = [data[i : i + size] for i in range(0, count * size, size)]
    width = 1
    while width < count:
        merged: list[bytes] = []
        for low in range(0, count, 2 * width):
            a, b = items[low : low + width], items[low + width : low + 2 * width]
            i = j = 0
            while i < len(a) and j < len(b):
                system.memory.write(scratch, a[i] + b[j])
                order = yield Call(compare, (scratch, scratch + size), "cdecl")
                if order & 0x80000000 or not order & 0xFFFFFFFF:
                    merged.append(a[i])
                    i += 1
                else:
                    merged.append(b[j])
                    j += 1
            merged += a[i:] + b[j:]
        items = merged
        width *= 2
    system.heap.free(scratch)
    system.memory.write(base, b"".join(items))


@MSVCRT("bsearch", "ppppp", "p")
def bsearch(_system: System, key: int, base: int, count: int, size: int, compare: int) -> Task:  # fmt: skip
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        order = yield Call(compare, (key, base + middle * size), "cdecl")
        order = (order & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
        if order == 0:
            return base + middle * size
        low, high = (low, middle) if order < 0 else (middle + 1, high)
    return 0


# -- locale ---------------------------------------------------------------------------------------


@MSVCRT("___lc_codepage_func", "", "i")
def codepage(_system: System) -> int:
    return 0


@MSVCRT("___mb_cur_max_func", "", "i")
def mb_cur_max(_system: System) -> int:
    return 1


@MSVCRT("localeconv", "", "p")
def localeconv(system: System) -> int:
    if "lconv" not in system.cache:
        at = system.heap.allocate(10 * system.word + 16)
        texts = [b".", *[b""] * 9]
        for number, text in enumerate(texts):
            system.put(at + number * system.word, system.keep(text + b"\0"))
        system.memory.write(at + 10 * system.word, b"\x7f" * 8)
        system.cache["lconv"] = at
    return int(system.cache["lconv"])


@MSVCRT("setlocale", "ip", "p")
def setlocale(system: System, _category: int, name: int) -> int:
    wanted = system.text(name)
    return 0 if wanted not in (None, b"", b"C") else system.keep(b"C\0")
