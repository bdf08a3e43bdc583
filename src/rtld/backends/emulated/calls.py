"""Calls of C functions with any arguments, and Python functions that C calls.

A call is a row of bytes (``rtld.arch.calling``): the arguments are packed into it, a piece of the guest's own code fills
registers and stack from it and puts the result back. So a call costs two accesses to memory and one start of the CPU, and a
thousand calls can be made with one start: ``call_many``.

Values are raw here: numbers, and bytes in the guest's representation for structures.
"""

from __future__ import annotations

import struct
from itertools import islice

from rtld.arch.calling import CELL_WORDS, FLOATS, STACK, Piece, convention
from rtld.arch.longdouble import encode_x87
from rtld.backends.emulated.kernel import Ended
from rtld.backends.emulated.machine import RED_ZONE
from rtld.backends.emulated.memory import EXECUTE, PAGE, READ, WRITE
from rtld.core.record import NamedTuple
from rtld.core.space import page_up
from rtld.errors import TargetFault, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any

    from rtld.arch.calling import Convention, Layout, Place
    from rtld.arch.ctype import CType
    from rtld.backends.emulated.machine import Machine
    from rtld.backends.emulated.scratch import Scratch

    Raw = int | float | bytes | None

INSIDE = 32  # calls inside one another: each takes some twenty of Python's own 1000
ROOM = 16 * PAGE  # for a cell and the row of one call
ROW = 64  # where the row begins in it: after the cell
MOST = 1 << 14  # calls with one start of the CPU
BATCH = 1 << 20  # bytes of rows that are worked off at a time

_INTS = {(1, False): "B", (2, False): "H", (4, False): "I", (8, False): "Q",
         (1, True): "b", (2, True): "h", (4, True): "i", (8, True): "q"}  # fmt: skip
_FLOATS = {4: "f", 8: "d"}


class Item(NamedTuple):
    """Something of a row: its offset, its letter for ``struct``, which argument it is of, what makes it of the argument."""

    at: int
    letter: str
    argument: int
    make: Callable[[Any], Any]


class Signature:
    """A function's type, with what packs its arguments and unpacks its result."""

    def __init__(
        self, rules: Convention, result: CType, arguments: Sequence[CType], fixed: int | None
    ) -> None:
        self.result = result
        self.arguments = tuple(arguments)
        self.rules = rules
        self.layout: Layout = rules.assign(result, arguments, fixed)
        self.order = rules.model.order
        self.word = _INTS[rules.model.word, False]
        self.size = STACK + self.layout.stack
        self.pointers: list[
            tuple[int, int]
        ] = []  # (where the row has an address, offset of what it leads to)
        items = self._items()
        self.pitch = self.size + -self.size % 16
        self._pick = [(item.argument, item.make) for item in items]
        body = _format(items, self.pitch)
        self.row = struct.Struct(self.order + body)
        lead = ROW - CELL_WORDS * rules.model.word
        self.whole = struct.Struct(f"{self.order}{CELL_WORDS}{self.word}{lead}x{body}")
        self._result_at, self._result = self._reader()

    # -- arguments ----------------------------------------------------------------------------------

    def _items(self) -> list[Item]:
        """Everything a row consists of, in ascending order."""
        items = []
        for i, (kind, place) in enumerate(zip(self.arguments, self.layout.arguments, strict=True)):
            if place.by_reference:
                at = self._append(kind.size)
                self.pointers.append((place.pieces[0].at, at))
                items.append(Item(place.pieces[0].at, self.word, at, _address))
                items.append(Item(at, f"{kind.size}s", i, _same))
            else:
                items += self._of_argument(i, kind, place)
        hidden = self.layout.hidden
        if hidden is not None:
            self.result_memory = self._append(self.result.size)
            items.append(Item(hidden.pieces[0].at, self.word, self.result_memory, _address))
        return sorted(items)

    def _append(self, size: int) -> int:
        """Room at the end of a row, for what is passed by its address."""
        self.size += -self.size % 16
        self.size += size
        return self.size - size

    def _of_argument(self, i: int, kind: CType, place: Place) -> Iterator[Item]:
        if kind.kind == "float" and kind.scalar:
            (piece,) = place.pieces
            yield Item(piece.at, _FLOATS[kind.size], i, float)
            yield from _filling(piece, i)
        elif kind.scalar:
            (piece,) = place.pieces
            signed = kind.signed if place.sign is None else place.sign
            yield Item(piece.at, _INTS[piece.size, signed], i, _integer(kind.size, signed))
        else:
            for piece in place.pieces:
                yield Item(piece.at, f"{piece.width}s", i, piece.part)
                yield from _filling(piece, i)

    def values(self, arguments: Sequence[Raw], row: int) -> list[Any]:
        """What ``row`` (the struct) packs, for the row at that address."""
        return [
            make(row + which) if make is _address else make(arguments[which])
            for which, make in self._pick
        ]

    # -- results ------------------------------------------------------------------------------------

    def _reader(self) -> tuple[int, struct.Struct | None]:
        """Where and what a result is, if it is one piece."""
        kind, place = self.result, self.layout.result
        if place is None:
            return 0, None
        if place.by_reference:
            return self.result_memory, struct.Struct(f"{kind.size}s")
        if kind.scalar:
            letter = _FLOATS[kind.size] if kind.kind == "float" else _INTS[kind.size, kind.signed]
            return place.pieces[0].at, struct.Struct(self.order + letter)
        return 0, None

    def result_of(self, view: memoryview, row: int) -> Raw:
        """The result that is in the row at that offset of *view*."""
        if self._result is not None:
            value: Raw = self._result.unpack_from(view, row + self._result_at)[0]
            return value
        place = self.layout.result
        if place is None:
            return None
        out = bytearray(self.result.size)
        for piece in place.pieces:
            at = row + piece.at
            out[piece.offset : piece.offset + piece.size] = view[at : at + piece.size]
        return bytes(out)

    # -- the other direction ----------------------------------------------------------------------------

    def arguments_of(self, row: bytes, read: Callable[[int, int], bytes]) -> list[Raw]:
        """The arguments that a caller has left; *read* gives memory of the guest."""
        found: list[Raw] = []
        for kind, place in zip(self.arguments, self.layout.arguments, strict=True):
            if place.by_reference:
                (address,) = struct.unpack_from(self.order + self.word, row, place.pieces[0].at)
                found.append(read(address, kind.size))
                continue
            data = bytearray(max(kind.size, *[p.offset + p.size for p in place.pieces]))
            for piece in place.pieces:
                data[piece.offset : piece.offset + piece.size] = row[
                    piece.at : piece.at + piece.size
                ]
            if not kind.scalar:
                found.append(bytes(data[: kind.size]))
                continue
            skip = len(data) - kind.size if self.order == ">" else 0
            letter = _FLOATS[kind.size] if kind.kind == "float" else _INTS[kind.size, kind.signed]
            found.append(struct.unpack_from(self.order + letter, data, skip)[0])
        return found

    def result_row(self, value: Raw) -> bytearray:
        """A row with that result in it, for who puts it into registers."""
        row = bytearray(STACK)
        kind, place = self.result, self.layout.result
        if place is None or place.by_reference:
            return row
        if kind.scalar:
            piece = place.pieces[0]
            if kind.kind == "float":
                struct.pack_into(self.order + _FLOATS[kind.size], row, piece.at, value)
                row[piece.at + kind.size : piece.at + kind.size + len(piece.fill)] = piece.fill
                return row
            assert isinstance(value, int)
            # As wide as the register, whatever the caller looks at.
            word = self.rules.model.word
            width = max(word, kind.size)
            signed = kind.signed if place.sign is None else place.sign
            number = _integer(kind.size, signed)(value)
            at = piece.at - piece.at % word
            struct.pack_into(self.order + _INTS[width, signed], row, at, number)
            return row
        assert isinstance(value, bytes)
        for piece in place.pieces:
            row[piece.at : piece.at + piece.width] = piece.part(value)
            row[piece.at + piece.size : piece.at + piece.size + len(piece.fill)] = piece.fill
        return row


def _format(items: Iterable[Item], pitch: int) -> str:
    """The letters of a row, with what is between them left as it is: zero."""
    text, at = "", 0
    for item in items:
        text += f"{item.at - at}x{item.letter}"
        at = item.at + struct.calcsize("=" + item.letter)
    return f"{text}{pitch - at}x"


def _filling(piece: Piece, i: int) -> Iterator[Item]:
    if piece.fill:
        fill = piece.fill
        yield Item(piece.at + piece.size, f"{len(fill)}s", i, lambda _: fill)


def _same(value: Any) -> Any:
    return value


def _address(value: Any) -> Any:
    return value


def _integer(size: int, signed: bool) -> Callable[[int], int]:
    """What is left of an integer in so many bytes."""
    mask = (1 << 8 * size) - 1
    if not signed:
        return lambda value: value & mask
    half = 1 << 8 * size - 1
    return lambda value: ((value & mask) ^ half) - half


class Frame(NamedTuple):
    """What calls of one depth need: the code, and memory that is seen by both sides."""

    code: int
    end: int
    data: int
    view: memoryview


class Caller:
    """Calls into one machine, and out of it."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.rules = convention(machine.cpu.name)
        self._frames: list[Frame] = []
        self._signatures: dict[tuple[CType, tuple[CType, ...], int | None], Signature] = {}
        self._stack = 0
        self._free: list[int] = []
        self._made = 0
        self._numbers: dict[int, int] = {}
        self._targets: dict[int, Callable[[], int]] = {}
        cpu = machine.cpu
        # Kernel and traps use the registers of their own CPU one by one; a callback wants them all at once.
        self._registers = machine.engine.bank(cpu.sp, cpu.link or cpu.pc, *self.rules.ints)
        self._float_registers = (
            machine.engine.bank(*self.rules.floats, width=16) if self.rules.floats else None
        )
        self._push_float = 0

    def signature(
        self, result: CType, arguments: Sequence[CType], fixed: int | None = None
    ) -> Signature:
        """The function type; *fixed*: how many arguments come before the ``...`` of a variadic one."""
        key = result, tuple(arguments), fixed
        found = self._signatures.get(key)
        if found is None:
            found = self._signatures[key] = Signature(self.rules, result, arguments, fixed)
        return found

    # -- calls --------------------------------------------------------------------------------------

    def call(self, address: int, signature: Signature, arguments: Sequence[Raw]) -> Raw:
        """Call the function there. TargetFault."""
        machine = self.machine
        depth = machine._depth
        frame = self._frames[depth] if depth < len(self._frames) else self._frame(depth)
        row = frame.data + ROW
        if signature.pitch > ROOM - ROW:
            raise Unsupported(
                f"arguments of {signature.pitch:#x} bytes", "pass the address of large structures"
            )
        inside = machine.engine.save() if depth else None
        layout = signature.layout
        signature.whole.pack_into(
            frame.view, 0, row, 1, self._top(depth), address, signature.pitch, layout.stack, layout.kind,
            *signature.values(arguments, row),
        )  # fmt: skip
        self._go(frame, depth)
        if inside is not None:
            machine.engine.restore(inside)
        return signature.result_of(frame.view, ROW)

    def call_many(
        self,
        address: int,
        signature: Signature,
        calls: Iterable[Sequence[Raw]],
        scratch: Scratch | None = None,
    ) -> Iterator[Raw]:
        """Call the function with each of these, as many at a time as fit into memory that is put aside.

        *scratch*: what is lent from it while *calls* gives arguments is taken back when their results are known.
        """
        rows = iter(calls)
        pitch, layout = signature.pitch, signature.layout
        most = max(1, min(BATCH // pitch, MOST))
        memory = self.machine.memory
        start = memory.reserve(page_up(most * pitch), high=True)
        memory.map(start, page_up(most * pitch), READ | WRITE)
        view = memory.view(start, most * pitch)
        pack, values, result_of = signature.row.pack_into, signature.values, signature.result_of
        try:
            while True:
                mark = scratch.mark() if scratch is not None else None
                at = 0
                for arguments in islice(rows, most):
                    pack(view, at, *values(arguments, start + at))
                    at += pitch
                if not at:
                    return
                self._work_off(address, start, at // pitch, pitch, layout)
                if scratch is not None and mark is not None:
                    scratch.release(mark)
                yield from [result_of(view, row) for row in range(0, at, pitch)]
        finally:
            view.release()
            memory.unmap(start, page_up(most * pitch))

    def _work_off(self, address: int, start: int, count: int, pitch: int, layout: Layout) -> None:
        machine = self.machine
        depth = machine._depth
        frame = self._frames[depth] if depth < len(self._frames) else self._frame(depth)
        inside = machine.engine.save() if depth else None
        cell = struct.Struct(
            f"{self.rules.model.order}{CELL_WORDS}{_INTS[self.rules.model.word, False]}"
        )
        cell.pack_into(
            frame.view, 0, start, count, self._top(depth), address, pitch, layout.stack, layout.kind
        )
        self._go(frame, depth)
        if inside is not None:
            machine.engine.restore(inside)

    def _go(self, frame: Frame, depth: int) -> None:
        try:
            self.machine._run(frame.code, frame.end)
        except Ended as ended:
            if depth:
                raise
            raise TargetFault(ended.told()) from None

    def _top(self, depth: int) -> int:
        """Where the stack of a call begins."""
        if depth:
            return self.machine.engine.get(self.machine.cpu.sp) - RED_ZONE & -16
        if not self._stack:
            self._stack = self.machine._call_stack()
        return self._stack

    def _frame(self, depth: int) -> Frame:
        if depth >= INSIDE:
            raise TargetFault(f"more than {INSIDE} calls into the guest inside one another")
        while len(self._frames) <= depth:
            memory, stub = self.machine.memory, self.rules.stub
            start = memory.reserve(PAGE + ROOM, high=True)
            memory.map(start, PAGE, READ | EXECUTE)
            memory.map(start + PAGE, ROOM, READ | WRITE)
            holes = {name: {"S": start + PAGE} for name in stub.holes}
            code = stub.fill(start, holes, self.rules.model.order)
            # What ends where the CPU is to stop is translated again each time (quirks): a block of one instruction.
            # Not so where the program counter is known at the beginning of a block only.
            code += b"" if self.machine.cpu.begins else self.machine.cpu.nop
            # And that is an even address: in bit 0 of one there may be a state of the CPU.
            code += self.machine.cpu.nop * (len(code) % 2)
            memory.write(start, code + self.machine.cpu.nop * 16)
            self._frames.append(
                Frame(start, start + len(code), start + PAGE, memory.view(start + PAGE, ROOM))
            )
        return self._frames[depth]

    # -- callbacks ----------------------------------------------------------------------------------

    def callback(self, signature: Signature, function: Callable[..., Raw]) -> int:
        """The address of a C function of that type; *function* is what it does."""
        if self._free:
            address = self._free.pop()
        else:
            number = self._made
            self._made += 1

            def called() -> int:
                return self._targets[number]()

            address = self.machine.trap(called)
            self._numbers[address] = number
        self._targets[self._numbers[address]] = lambda: self._called(signature, function)
        return address

    def release(self, address: int) -> None:
        """The function there is not called any more; its address will be another's."""
        del self._targets[self._numbers[address]]
        self._free.append(address)

    def _called(self, signature: Signature, function: Callable[..., Raw]) -> int:
        """The guest has jumped to a callback: take the arguments, call Python, put the result where C has it."""
        machine, rules = self.machine, self.rules
        cpu, layout = machine.cpu, signature.layout
        sp, back, *ints = self._registers.read()
        row = self._row(signature, sp, ints)
        hidden = 0
        if layout.hidden is not None:
            (hidden,) = struct.unpack_from(
                signature.order + signature.word, row, layout.hidden.pieces[0].at
            )
        value = function(*signature.arguments_of(row, machine.read))
        if not cpu.link:
            back = machine.word(sp)
            machine.engine.set(
                cpu.sp, sp + rules.frame + (4 if hidden and cpu.name == "i386" else 0)
            )
        if layout.result is None:
            return back
        if layout.hidden is not None:
            assert isinstance(value, bytes)
            machine.write(hidden, value)
            machine.engine.set(rules.int_results[0], hidden)
            return back
        if layout.kind:
            return self._x87(self._numbers_for_x87(signature, value), back)
        self._put(signature, signature.result_row(value))
        return back

    def arguments(self, signature: Signature) -> list[Raw]:
        """The arguments of the function of that type that the CPU has just come to."""
        sp, _back, *ints = self._registers.read()
        return signature.arguments_of(self._row(signature, sp, ints), self.machine.read)

    def _row(self, signature: Signature, sp: int, ints: list[int]) -> bytes:
        """The row that the caller's registers and stack make."""
        rules = self.rules
        word = _INTS[rules.model.word, False]
        row = struct.pack(f"{signature.order}{len(ints)}{word}", *ints).ljust(FLOATS, b"\0")
        places = [*signature.layout.arguments, *filter(None, [signature.layout.hidden])]
        pieces = [piece for place in places for piece in place.pieces]
        if self._float_registers is not None and any(FLOATS <= p.at < STACK for p in pieces):
            if rules.float_size == 16:
                row += self._float_registers.read_bytes()
            else:
                floats = self._float_registers.read()
                row += struct.pack(f"{signature.order}{len(floats)}Q", *floats)
        row = row.ljust(STACK, b"\0")
        if signature.layout.stack:
            used = max((p.at + p.size for p in pieces), default=STACK) - STACK
            if used > 0:
                row += self.machine.read(sp + rules.frame, used)
        return row

    def _put(self, signature: Signature, row: bytearray) -> None:
        """Results from a row into registers."""
        place = signature.layout.result
        assert place is not None
        engine, rules, word = self.machine.engine, self.rules, self.rules.model.word
        for i, name in enumerate(rules.int_results):
            if any(p.at < word * (i + 1) and p.at + p.size > word * i for p in place.pieces):
                (value,) = struct.unpack_from(signature.order + signature.word, row, word * i)
                engine.set(name, value)
        width = rules.float_size
        order: Any = "little" if signature.order == "<" else "big"
        for i, name in enumerate(rules.float_results):
            at = FLOATS + width * i
            if any(p.at < at + width and p.at + p.size > at for p in place.pieces):
                engine.set(name, int.from_bytes(row[at : at + width], order))

    def _numbers_for_x87(self, signature: Signature, value: Raw) -> list[bytes]:
        """The ten bytes of each number that the result is on the x87's stack."""
        if isinstance(value, int | float):
            return [encode_x87(float(value))]
        assert isinstance(value, bytes)
        assert signature.layout.result is not None
        return [value[p.offset : p.offset + 10] for p in signature.layout.result.pieces]

    def _x87(self, numbers: Sequence[bytes], back: int) -> int:
        """A result on the x87's stack: no register of Unicorn's pushes there, so the guest does it and returns."""
        memory = self.machine.memory
        wide = self.machine.cpu.bits == 64
        if not self._push_float:
            start = self._push_float = memory.reserve(2 * PAGE, high=True)
            memory.map(start, PAGE, READ | EXECUTE)
            memory.map(start + PAGE, PAGE, READ | WRITE)
            # fldt 16(data); fldt (data); jmp *32(data): on x86-64 the same code counts from the next instruction on.
            code = b""
            for head, at in ((b"\xdb\x2d", 16), (b"\xdb\x2d", 0), (b"\xff\x25", 32)):
                place = PAGE + at - len(code) - 6 if wide else start + PAGE + at
                code += head + place.to_bytes(4, "little")
            memory.write(start, code)
        data = b"".join(number.ljust(16, b"\0") for number in (*numbers, b"")[:2])
        memory.write(self._push_float + PAGE, data + back.to_bytes(8, "little"))
        return self._push_float + (6 if len(numbers) == 1 else 0)
