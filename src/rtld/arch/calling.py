"""How C functions are called: which register, or which place on the stack, has which argument.

Each CPU's rules are a function ``assign`` in ``arch/calls_NAME.py`` that walks over the arguments with an ``Assigner``; the result is a
``Layout``, the same for every CPU: where the bytes of each argument are to be in a *row*. A row is the memory image of one
call, from which a piece of the CPU's own code (``Convention.stub``) fills registers and stack, and into which it puts results:

    0    integer registers, a word each                (results: the first two)
    80   floating-point registers, 8 or 16 bytes each  (results: the first ones, or of x87's stack the top two)
    208  the stack, from the stack pointer upwards

The code is given a *cell* of seven words, one page after its own first byte: address of the first row, number of rows, stack
pointer, function, bytes of a row, bytes of stack in it, and which kind of floating-point result there is (x87 only).
"""

from __future__ import annotations

from rtld.core.record import NamedTuple
from rtld.errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rtld.arch.base import Stub
    from rtld.arch.ctype import CType, DataModel

INTS, FLOATS, STACK = 0, 80, 208
CELL_WORDS = 7
SINGLE, DOUBLE, EXTENDED = 1, 2, 3  # kinds of results on i386's x87 stack
X87_ONE, X87_TWO = 1, 2  # how many on x86-64's


class Piece(NamedTuple):
    """``size`` bytes of a value, from ``offset`` on, are at ``at`` of the row. ``fill``: bytes that follow, if they matter;
    ``sign``: as many bytes again follow, copies of the highest bit (little-endian CPUs).
    """

    at: int
    offset: int
    size: int
    fill: bytes = b""
    sign: bool = False

    @property
    def width(self) -> int:
        """How many bytes of the row it takes."""
        return self.size * (1 + self.sign)

    def part(self, value: bytes) -> bytes:
        """What it has of a value."""
        data = value[self.offset : self.offset + self.size]
        return data + (b"\xff" if data[-1] & 0x80 else b"\0") * self.size if self.sign else data


class Place(NamedTuple):
    """Where a value is. ``by_reference``: the pieces hold the address of a copy.

    ``width``: an integer is extended to so many bytes; ``sign``: with its sign (None: if it has one).
    """

    pieces: tuple[Piece, ...]
    by_reference: bool = False
    width: int = 0
    sign: bool | None = None


class Layout(NamedTuple):
    """All values of a call.

    ``result``: None for void; by reference, the callee gets the address of the memory for it as ``hidden``, and the pieces are not
    used. ``stack``: bytes of stack. ``kind``: of a result on the x87 stack.
    """

    arguments: tuple[Place, ...]
    result: Place | None
    hidden: Place | None
    stack: int
    kind: int = 0


class Convention(NamedTuple):
    """A CPU's rules.

    model            sizes of C's types
    stub             the code that makes calls from rows
    assign           (result, arguments, number of fixed arguments or None) -> Layout
    ints, floats     names of the registers with arguments, in the order of the row, for who reads them one by one
    frame            bytes between the stack pointer at a function's entry and its stack arguments
    int_results      registers with integer results;  float_results: with floating-point ones
    float_size       bytes that the row has for each of these
    """

    model: DataModel
    stub: Stub
    assign: Callable[[CType, Sequence[CType], int | None], Layout]
    ints: tuple[str, ...]
    floats: tuple[str, ...]
    frame: int
    int_results: tuple[str, ...]
    float_results: tuple[str, ...]
    float_size: int = 8


#: CPUs whose functions can be called.
CALLED = ("i386", "x86_64", "arm", "aarch64", "riscv64", "s390x", "mips64el", "mipsel")


def convention(name: str) -> Convention:
    """The rules of a CPU. Unsupported."""
    if name not in CALLED:
        raise Unsupported(f"no calling convention of {name}", f"there are {', '.join(CALLED)}")
    # importlib itself takes as long to import as the module.
    module = __import__(f"rtld.arch.calls_{name}", fromlist=["*"])
    found: Convention = module.CONVENTION
    return found


class Assigner:
    """Registers and stack that are left, as arguments take them."""

    def __init__(self, word: int, ints: int, floats: int, float_size: int = 8) -> None:
        self.word = word
        self.float_size = float_size
        self.ints, self.floats = ints, floats
        self.next_int = self.next_float = 0
        self.stack = 0

    def int_slot(self, index: int) -> int:
        """The offset of an integer register in the row."""
        return INTS + self.word * index

    def float_slot(self, index: int) -> int:
        """The offset of a floating-point register."""
        return FLOATS + self.float_size * index

    def take_ints(self, count: int) -> int | None:
        """The offset of so many integer registers in a row, or None; then nothing is taken."""
        if self.next_int + count > self.ints:
            return None
        self.next_int += count
        return self.int_slot(self.next_int - count)

    def take_floats(self, count: int) -> list[int] | None:
        """The offsets of so many floating-point registers."""
        if self.next_float + count > self.floats:
            return None
        self.next_float += count
        return [self.float_slot(self.next_float - count + i) for i in range(count)]

    def push(self, size: int, align: int) -> int:
        """The offset of so many bytes of stack."""
        self.stack += -self.stack % align
        at = STACK + self.stack
        self.stack += size + -size % self.word
        return at

    def words(self, size: int) -> int:
        """How many words so many bytes need."""
        return -(-size // self.word)

    def scalar_place(
        self,
        at: int,
        kind: CType,
        *,
        width: int | None = None,
        sign: bool | None = None,
        big: bool = False,
    ) -> Place:
        """A number in a register or a word of stack; *big*: at its end, as big-endian CPUs have it."""
        if kind.kind == "int":
            width = max(width or self.word, kind.size)
            return Place((Piece(at, 0, width),), width=width, sign=sign)
        skip = self.word - kind.size if big else 0
        return Place((Piece(at + skip, 0, kind.size),))

    def layout(
        self,
        places: Sequence[Place],
        result: Place | None,
        hidden: Place | None = None,
        kind: int = 0,
    ) -> Layout:
        """The result; the stack in units of 16 bytes."""
        return Layout(tuple(places), result, hidden, self.stack + -self.stack % 16, kind)


def whole(at: int, size: int) -> Place:
    """A value that is in one piece."""
    return Place((Piece(at, 0, size),))


def homogeneous(kind: CType) -> tuple[int, int] | None:
    """(size, number) of the floating-point numbers or SIMD vectors that a value consists of, if it is one to four of one type
    (AAPCS64, 5.9.5: HFA, HVA; of a union's members those that are the most).
    """
    found = None if kind.leaf else _alike(kind)
    if found is None or not 1 <= found[1] <= 4 or kind.size != found[0].size * found[1]:
        return None
    return found[0].size, found[1]


def _alike(kind: CType) -> tuple[CType, int] | None:
    """(type, number) of what a value consists of; None where that is more than one type, or another."""
    if kind.kind in ("float", "vector"):
        return kind, 1
    if kind.leaf or any(member.width for member in kind.members):
        return None
    each = [_alike(member.type) for member in kind.members]
    first = each[0] if each else None
    if first is None or any(
        e is None or (e[0].kind, e[0].size) != (first[0].kind, first[0].size) for e in each
    ):
        return None
    counts = [e[1] for e in each if e is not None]
    return first[0], max(counts) if kind.kind == "union" else sum(counts)
