"""The plan that the start-up code (arch/x86_64_freeze.py) works off, and the code itself.

Initialisers of the libraries run here, in the order that our linker computes; the program's own are libc's to run, from
DT_INIT and DT_INIT_ARRAY, as ever. DT_FINI_ARRAY has everybody's: _dl_fini runs it backwards.
"""

from __future__ import annotations

import os
import struct

import numpy as np

from rtld.arch import x86_64_freeze as code
from rtld.elf import types as t
from rtld.elf.packed import pack_relr
from rtld.elf.relocate import read_memory
from rtld.frozen.layout import is_thin, large_bss
from rtld.frozen.startfiles import does_nothing, finalize_only

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtld.core.module import Module
    from rtld.frozen.layout import Protections
    from rtld.frozen.plan import Plan, Stamp

_STALE = b"%b: this image was made of files that have changed, and the program cannot be executed instead\n"
_UNDEFINED = b"%b: symbol lookup error: undefined symbol: %b\n"
_SELF = b"/proc/self/exe"
_REDIRECT = 32  # bytes for each REDIRECT
#: Variables that would lead ld.so to other files, or put some before these.
VARIABLES = ("LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT")


# -- code ---------------------------------------------------------------------------------------------


def code_layout(plan: Plan) -> dict[str, int]:
    """Offsets in the code part: trampolines first, 8 bytes each, then everything else by name."""
    at = 8 * len(plan.imports.module)
    places = {}
    stubs = plan.ns.arch.stubs
    for name, size in (
        ("start", len(code.START)),
        ("tlsdesc_static", len(stubs["tlsdesc_static"])),
        ("tlsdesc_undefweak", len(stubs["tlsdesc_undefweak"])),
        ("services", len(code.SERVICES) if services(plan) else 0),
        ("redirects", _REDIRECT * len(services(plan))),
        ("self", len(_SELF) + 1),
        ("original", len(os.fsencode(original(plan))) + 1),
    ):
        at = -(-at // 16) * 16
        places[name] = at
        at += size
    places["lazy"] = at = -(-at // 16) * 16
    at += 16 * (len(plan.imports.module) + 1) if plan.lazy else 0
    places["program"] = at
    at += len(os.fsencode(program_path(plan))) + 1
    places["message"] = at
    at += len(_STALE) + len(os.fsencode(program_path(plan)))
    places["thunks"] = at = -(-at // 16) * 16
    at += len(code.FINALIZE) * len(plan.fused)
    for number, (module, name) in enumerate(plan.undefined):
        at = -(-at // 16) * 16
        places[f"undefined {number}"] = at
        at += len(code.UNDEFINED) + len(_undefined_message(module, name))
    places["end"] = at
    return places


def services(plan: Plan) -> dict[int, str]:
    """Functions of libc that see one object where there are many: number of the import -> name of the service."""
    if plan.services is None:
        columns, imports = plan.ns.columns, plan.imports
        at = columns.symbol_position(imports.module, imports.symbol)
        names = columns.names(columns.name_position(imports.module, at))
        wanted = {os.fsencode(name) for name in (*code.ENTRIES, *code.REDIRECTED)}
        every = {i: names.text(i) for i in range(len(at))}
        plan.services = {i: text.decode() for i, text in every.items() if text in wanted}
    return plan.services


def service_address(plan: Plan, number: int, name: str) -> int:
    """Where calls of import *number* lead, which is one of the services."""
    if name in code.ENTRIES:
        return label(plan, "services") + code.ENTRIES[name]
    return label(plan, "redirects") + _REDIRECT * list(services(plan)).index(number)


def original(plan: Plan) -> str:
    """What /proc/self/exe would be in the original."""
    return os.path.realpath(plan.main.path)


def _undefined_message(module: Module, name: str) -> bytes:
    return _UNDEFINED % (os.fsencode(module.path), os.fsencode(name))


def label(plan: Plan, name: str) -> int:
    """The address of a piece of code."""
    return plan.code + code_layout(plan)[name]


def program_path(plan: Plan) -> str:
    """Where the original is, for it to be executed from anywhere."""
    return os.path.abspath(plan.main.path)


def write_code(plan: Plan, steps: int) -> None:
    """Trampolines and start-up code; *steps* is where the plan stands."""
    from rtld.frozen.imports import slot_address

    count = len(plan.imports.module)
    jumps = np.zeros((count, 8), np.uint8)
    jumps[:] = np.frombuffer(code.TRAMPOLINE.code, np.uint8)
    numbers = np.arange(count, dtype=np.int64)
    distance = slot_address(plan, 0) - plan.code - 6 + 0 * numbers
    jumps[:, 2:6] = distance.astype("<i4").reshape(-1, 1).view(np.uint8)
    plan.put(plan.code, jumps.tobytes())
    if plan.lazy:
        _write_lazy(plan, plan.code + code_layout(plan)["lazy"])
    places = code_layout(plan)
    program = os.fsencode(program_path(plan))
    message = _STALE % program
    start = plan.code + places["start"]
    path, itself = plan.code + places["program"], plan.code + places["self"]
    addresses = {
        "image": plan.base, "plan": steps, "program": path, "original": path, "self": itself,
        "message": plan.code + places["message"],
    }  # fmt: skip
    terms: dict[str, dict[str, int]] = _relative(addresses) | {"length": {"S": len(message)}}
    plan.put(start, code.START.fill(start, terms))
    for name in ("tlsdesc_static", "tlsdesc_undefweak"):
        plan.put(plan.code + places[name], plan.ns.arch.stubs[name].code)
    plan.put(path, program + b"\0")
    plan.put(itself, _SELF + b"\0")
    plan.put(plan.code + places["message"], message)
    finalize = finalizer(plan)
    for number, handle in enumerate(plan.thunks):
        at = plan.code + places["thunks"] + len(code.FINALIZE) * number
        operands = {"handle": {"S": handle, "A": -4}, "finalize": {"S": finalize, "A": -4}}
        plan.put(at, code.FINALIZE.fill(at, operands))
    if services(plan):
        _write_services(plan, places)
    for number, (module, name) in enumerate(plan.undefined):
        at = plan.code + places[f"undefined {number}"]
        text = _undefined_message(module, name)
        end = at + len(code.UNDEFINED)
        filled = {"message": {"S": end, "A": -4}, "length": {"S": len(text)}}
        plan.put(at, code.UNDEFINED.fill(at, filled) + text)


def _write_lazy(plan: Plan, address: int) -> None:
    """Stubs that push the slot's number and go to ld.so's binder; the slots, which lead to them at first."""
    count = len(plan.imports.module)
    operands = {"map": {"S": plan.got + 8, "A": -4}, "resolver": {"S": plan.got + 16, "A": -4}}
    plan.put(address, code.LAZY_FIRST.fill(address, operands))
    stubs = np.zeros((count, 16), np.uint8)
    stubs[:] = np.frombuffer(code.LAZY.code, np.uint8)
    numbers = np.arange(count, dtype="<i4")
    stubs[:, 1:5] = numbers.reshape(-1, 1).view(np.uint8)
    stubs[:, 6:10] = (-16 * (numbers + 1) - 10).astype("<i4").reshape(-1, 1).view(np.uint8)
    plan.put(address + 16, stubs.tobytes())
    slots = np.concatenate([np.zeros(3, np.int64), address + 16 * (numbers.astype(np.int64) + 1)])
    plan.put(plan.got, slots.astype("<u8").tobytes())


def _write_services(plan: Plan, places: dict[str, int]) -> None:
    """Those that nobody imports are not called either; they lead to a function that ends the program."""
    from rtld.frozen.imports import trampoline

    real = {name: int(trampoline(plan, np.array([i]))[0]) for i, name in services(plan).items()}
    start = plan.code + places["services"]
    path, text = plan.code + places["original"], plan.code + places["self"]
    nothing = plan.code + places["start"]
    readlink = real.get("readlink", real.get("__readlink_chk", nothing))
    addresses = {
        "dlsym": real.get("dlsym", nothing), "again": real.get("dlsym", nothing),
        "dladdr": real.get("dladdr", nothing), "dladdr1": real.get("dladdr1", nothing),
        "image": plan.base, "names": plan.lookup_tables[0], "modules": plan.lookup_tables[1],
        "readlink": readlink, "readlinkat": real.get("readlinkat", nothing), "self": text, "original": path,
    }  # fmt: skip
    plan.put(start, code.SERVICES.fill(start, _relative(addresses)))
    plan.put(path, os.fsencode(original(plan)) + b"\0")
    for number, name in services(plan).items():
        if name in code.REDIRECTED:
            at = service_address(plan, number, name)
            target = {"itself": start + code.ITSELF, "original": path, "real": real[name]}
            plan.put(at, code.REDIRECT.fill(at, _relative(target)))


def _relative(addresses: dict[str, int]) -> dict[str, dict[str, int]]:
    """Terms of holes that are distances from the next instruction."""
    return {name: {"S": address, "A": -4} for name, address in addresses.items()}


# -- the plan -----------------------------------------------------------------------------------------


class Steps:
    """Steps being written: rows of numbers, strings; all addresses become offsets from the image's beginning."""

    def __init__(self, base: int) -> None:
        self.base = base
        self.rows: list[tuple[int, int, bytes]] = []
        self.strings = bytearray()

    def add(self, step: int, count: int, data: bytes) -> None:
        if count:
            self.rows.append((step, count, data))

    def text(self, text: bytes) -> int:
        """Keep a string; a number that ``bytes`` turns into its offset."""
        at = len(self.strings)
        self.strings += text + b"\0"
        return _TEXT | at

    def bytes(self, address: int, entry: int) -> bytes:
        """Directory, rows, strings, for *address*; *entry* is where the last step leads."""
        head = 16 * (len(self.rows) + 1)
        size = head + sum(len(data) for _s, _c, data in self.rows)
        strings = address - self.base + size
        directory, body = bytearray(), bytearray()
        for step, count, data in self.rows:
            directory += struct.pack("<IIQ", step, count, address - self.base + head + len(body))
            words = np.frombuffer(data, "<u8").copy()
            marked = words >= _TEXT
            if step != code.RELR and step not in (code.RESOLVE, code.MOVE):
                words[marked] += np.uint64((strings - _TEXT) & ((1 << 64) - 1))
            body += words.tobytes()
        directory += struct.pack("<IIQ", code.FINISH, 0, entry - self.base)
        return bytes(directory + body + self.strings)


_TEXT = 1 << 63  # marks the offset of a string until its place is known


def make_steps(plan: Plan, protections: Protections, stamps: Sequence[Stamp]) -> Steps:
    """Everything that happens before the program's first instruction."""
    steps = Steps(plan.base)
    base = plan.base
    if plan.options.guard:
        _add_guard(plan, steps, stamps)
    _add_files(plan, steps, stamps)
    before, after = protections.steps()
    steps.add(code.PROTECT, len(before), _pack(before))
    zero = [(address - base, size) for address, size in large_bss(plan)]
    steps.add(code.ZERO, len(zero), _pack(zero))
    if plan.words is not None:
        odd = plan.words[plan.words & 1 != 0]
        packed = pack_relr(np.sort(plan.words[plan.words & 1 == 0]))
        steps.add(code.RELR, len(packed), packed.tobytes())
        steps.add(code.SHIFT, len(odd), (odd - base).astype("<u8").tobytes())
    moves = [(slot - base, place - base, addend) for slot, place, addend in plan.moves]
    steps.add(code.MOVE, len(moves), _pack(moves))
    resolved = [
        (place - base, resolver - base, addend) for place, resolver, addend in plan.resolved
    ]
    steps.add(code.RESOLVE, len(resolved), _pack(resolved))
    steps.add(code.PROTECT, len(after), _pack(after))
    if plan.names:
        steps.add(code.NAMES, 1, _pack([(plan.debug - base, plan.names - base)]))
    calls = [(function - base,) for function in initialisers(plan)]
    steps.add(code.CALL, len(calls), _pack(calls))
    return steps


def _pack(rows: Sequence[tuple[int, ...]]) -> bytes:
    mask = (1 << 64) - 1
    return b"".join(struct.pack(f"<{len(row)}Q", *[value & mask for value in row]) for row in rows)


def _stamp_row(steps: Steps, stamp: Stamp) -> tuple[int, ...]:
    seconds, nanoseconds = divmod(stamp.ctime_ns, 10**9)
    return steps.text(os.fsencode(stamp.path)), stamp.ino, stamp.size, seconds, nanoseconds


def _add_guard(plan: Plan, steps: Steps, stamps: Sequence[Stamp]) -> None:
    thin = {os.path.abspath(m.path) for m in plan.fused if is_thin(plan, m)}
    rows = [_stamp_row(steps, stamp) for stamp in stamps if stamp.path not in thin]
    steps.add(code.GUARD, len(rows), _pack(rows))
    path = plan.ns.search.options.library_path or plan.ns.search.env.get("LD_LIBRARY_PATH")
    variables = []
    for name in VARIABLES:
        # ld.so would load a preloaded library a second time, so there is no value that is allowed.
        value = path if name == "LD_LIBRARY_PATH" else None
        text = os.fsencode(name + "=")
        allowed = steps.text(os.fsencode(value)) if value else 0
        variables.append((steps.text(text), len(text), allowed))
    steps.add(code.ENV, len(variables), _pack(variables))


def _add_files(plan: Plan, steps: Steps, stamps: Sequence[Stamp]) -> None:
    """--thin: code and constants from the libraries' own files."""
    known = {stamp.path: stamp for stamp in stamps}
    rows = bytearray()
    count = 0
    for module in plan.fused:
        if not is_thin(plan, module):
            continue
        maps = []
        for load in module.file.loads:
            if load.flags & t.PF_W or not load.filesz:
                continue
            start = load.vaddr & -4096
            size = load.vaddr + load.filesz - start
            prot = (1 if load.flags & t.PF_R else 0) | (4 if load.flags & t.PF_X else 0)
            maps.append((module.base + start - plan.base, size, prot, load.offset & -4096))
        if maps:
            row = _stamp_row(steps, known[os.path.abspath(module.path)])
            rows += _pack([(*row, len(maps)), *maps])
            count += 1
    steps.add(code.FILE, count, bytes(rows))


def initialisers(plan: Plan) -> list[int]:
    """Functions to call before the program's first instruction: the program's DT_PREINIT_ARRAY, then the libraries'."""
    result = _array(plan.main, t.DT_PREINIT_ARRAY, t.DT_PREINIT_ARRAYSZ)
    for module in plan.ns.init_order:
        if module.hosted or module is plan.main:
            continue
        function = module.file.dynamic.get(t.DT_INIT)
        own = [module.base + function] if function else []
        own += _array(module, t.DT_INIT_ARRAY, t.DT_INIT_ARRAYSZ)
        result += [address for address in own if not does_nothing(module, address)]
    return result


def terminators(plan: Plan) -> list[int]:
    """DT_FINI_ARRAY of the image, which is run from its end: the libraries' in the order of relocation, the program's last."""
    result = []
    order = [m for m in plan.ns.relocation_order if not m.hosted and m is not plan.main]
    finalize = finalizer(plan)
    thunk = plan.code + code_layout(plan)["thunks"]
    for module in [*order, plan.main]:
        function = module.file.dynamic.get(t.DT_FINI)
        own = [module.base + function] if function else []
        own += _array(module, t.DT_FINI_ARRAY, t.DT_FINI_ARRAYSZ)
        for address in own:
            if does_nothing(module, address):
                continue
            handle = finalize_only(module, address, finalize) if finalize else None
            if handle is None or len(plan.thunks) == len(plan.fused):
                result.append(address)
                continue
            result.append(thunk + len(code.FINALIZE) * len(plan.thunks))
            plan.thunks.append(handle)
    return result


def finalizer(plan: Plan) -> int:
    """The address of __cxa_finalize's trampoline, 0 if nobody imports it."""
    from rtld.frozen.imports import trampoline

    columns, imports = plan.ns.columns, plan.imports
    at = columns.symbol_position(imports.module, imports.symbol)
    names = columns.names(columns.name_position(imports.module, at))
    for number in range(len(at)):
        if names.text(number) == b"__cxa_finalize":
            return int(trampoline(plan, np.array([number]))[0])
    return 0


def _array(module: Module, tag: int, size_tag: int) -> list[int]:
    """The functions of an array, as relocated. 0 and -1 are passed over, as some linkers leave them."""
    dynamic = module.file.dynamic
    address, size = dynamic.get(tag), dynamic.get(size_tag, 0) or 0
    if address is None or size < 8:
        return []
    words = np.frombuffer(bytes(read_memory(module, address, size // 8 * 8)), "<u8").tolist()
    return [word for word in words if word not in (0, (1 << 64) - 1)]


def module_names(module: Module) -> list[bytes]:
    """Every name by which a program may open the module."""
    names = dict.fromkeys(
        [module.path, module.soname or "", os.path.basename(module.path), *sorted(module.aliases)]
    )
    real = os.path.realpath(module.path)
    for path in [*names, real]:
        if path.startswith("/usr/lib"):
            names.setdefault(path[4:])
        elif path.startswith("/lib"):
            names.setdefault("/usr" + path)
        names.setdefault(path)
    return [os.fsencode(name) for name in names if name]
