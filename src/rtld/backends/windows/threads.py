"""A thread of an emulated program: registers while it does not run, functions of ours that wait for it."""

from __future__ import annotations

from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from rtld.backends.windows.api import Api, Wait
    from rtld.backends.windows.hardware import Guard


class Frame:
    """A function of ours that waits for the program: its generator, and the stack as it was when it called."""

    __slots__ = ("api", "called", "context", "kind", "low", "pc", "room", "sp", "state", "task")

    def __init__(self, task: Generator[Any, Any, Any], api: Api | None, sp: int, pc: int = 0) -> None:  # fmt: skip
        self.task = task
        self.api = api  # None: the thread's own frame, whose end is the thread's
        self.sp = sp
        self.pc = pc  # behind the function's slot
        self.context: Any = None  # all registers, of a trap
        #: The stack pointer when what it has called returns, less ``room`` that this may pop.
        self.called = 0
        self.room = 0
        self.kind = 0
        self.low = 0  # what it calls goes below that; 0: below ``sp``
        self.state: Any = None  # see ``Place``


class Fiber:
    """A stack that a thread may change to: while it does not run, its frames, registers and what the TEB says of its stack."""

    def __init__(self, at: int, stack: tuple[int, int] | None) -> None:
        self.at = at  # its address for the program
        self.stack = stack  # (low, high); None: the thread's own
        self.frames: list[Frame] = []
        self.context: Any = None
        self.sp = 0
        self.bounds = (0, 0, 0)  # StackBase, StackLimit, DeallocationStack
        self.chain = -1  # the first handler of exceptions of x86
        self.guard: Guard | None = None
        self.fls: dict[int, int] = {}


#: Effect: from a fiber to another; ``place``: where the TEB says which it is.
Switch = namedtuple("Switch", "left entered place")


class Thread:
    """One thread: its TEB, its registers while it does not run, and what it waits for."""

    def __init__(self, number: int, teb: int, sp: int) -> None:
        self.number = number
        self.teb = teb
        self.sp = sp
        self.frames: list[Frame] = []
        self.context: Any = None
        self.wait: Wait | None = None
        self.deadline: float | None = None
        self.answer: Any = None  # what its generator is given next
        self.pc: int | None = None  # where its code goes on, when its turn was over
        self.code: int | None = None  # exit code, when it has ended
        self.suspended = 0
        self.handle: Any = None
        self.crt: dict[str, Any] = {}
        self.guard: Guard | None = None
        self.stack = 0  # its lowest address
