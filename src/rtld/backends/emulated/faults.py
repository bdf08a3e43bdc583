"""What a guest did wrong: fields first, the sentence composed from them."""

from __future__ import annotations

import signal

from rtld.errors import TargetFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Fault(TargetFault):
    """The guest did what a kernel answers with a signal. ``status`` is what a shell would say: 128 + the signal.

    what       in words: "write of 4 bytes to 0x10, where nothing is mapped"
    signal     the signal's number
    pc         the address of the instruction
    address    what it wanted to reach; None where that is not known or not the matter
    registers  name -> value, as they were
    place      what is at ``pc``, in words; who has loaded the program knows that, and may set it
    """

    def __init__(
        self,
        what: str,
        number: int,
        pc: int,
        address: int | None = None,
        registers: Mapping[str, int] | None = None,
    ) -> None:
        self.what = what
        self.signal = number
        self.status = 128 + number
        self.pc = pc
        self.address = address
        self.registers = dict(registers or {})
        super().__init__(what, number, pc)

    def __str__(self) -> str:
        words = f"{signal.strsignal(self.signal)}: {self.what}; the instruction at {self.pc:#x}"
        return f"{words} {self.place}".rstrip()


class LimitReached(TargetFault):
    """The guest was still running when its time, or the number of its instructions, was used up."""

    status = 128 + int(signal.SIGXCPU)

    def __init__(self, what: str, pc: int) -> None:
        self.what = what
        self.pc = pc
        super().__init__(what, pc)

    def __str__(self) -> str:
        return f"stopped: {self.what}; the instruction at {self.pc:#x} {self.place}".rstrip()
