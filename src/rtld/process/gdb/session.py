"""One conversation with gdb: its packets in, what the program on the emulated CPU does, the answers out.

All-stop: when one thread stops, all do. Breakpoints are addresses that the engine stops at, so nothing is written into
the program, and ``m`` packets see its own bytes.
"""

from __future__ import annotations

from collections import namedtuple

from rtld.errors import TargetFault
from rtld.process.gdb.packets import INTERRUPT, LARGEST, Line, escape
from rtld.process.gdb.registers import DESCRIPTIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Protocol

    from rtld.process.gdb.registers import Register

    class Target(Protocol):
        """What a session needs of a program: the names of ``rtld.arch``, addresses of the program."""

        @property
        def cpu(self) -> str: ...
        @property
        def order(self) -> str: ...  # "<" or ">"
        @property
        def path(self) -> str: ...  # the program's file
        @property
        def has_modules(self) -> bool: ...  # believe ``modules``; else gdb looks for ld.so's list

        def threads(self) -> dict[int, str]:
            """Thread number (from 1) -> what it is doing, in a few words."""

        def register(self, thread: int, name: str) -> int: ...
        def set_register(self, thread: int, name: str, value: int) -> None: ...
        def read(self, address: int, size: int) -> bytes: ...
        def write(self, address: int, data: bytes) -> None: ...
        def auxv(self) -> bytes: ...
        def modules(self) -> Iterable[Loaded]: ...

        def stop_at(self, address: int, wanted: bool) -> None:
            """Set or take away a breakpoint."""

        def stop_when_changed(self, address: int, size: int, wanted: bool) -> None:
            """Set or take away a watchpoint: memory that a write may change."""


#: A module gdb shall know of: path, address of its link_map (any number that is its own), load bias, its dynamic section.
Loaded = namedtuple("Loaded", "path link_map bias dynamic")

#: Why the program has stopped. thread; signal: Linux's number, 0 for none; status: how it has exited, else None; killed: by
#: that signal; reason: more words of gdb's, as "library:;".
Stop = namedtuple("Stop", "thread signal status killed reason", defaults=(None, False, ""))

# fmt: off
#: Linux's numbers of signals are gdb's up to 15, but for these (gdb/signals.def).
_SIGNALS = {7: 10, 10: 30, 12: 31, 16: 0, 17: 20, 18: 19, 19: 17, 20: 18, 23: 16, 29: 23, 30: 32, 31: 12}
# fmt: on


class Session:
    """The state of a conversation: which threads its next packet is about."""

    def __init__(self, target: Target, line: Line) -> None:
        self.target = target
        self.line = line
        self.description = DESCRIPTIONS[target.cpu]
        self.registers = self.description.registers
        self.stop = Stop(1, 5)
        self.killed = False  # gdb wants the program to end
        self.gone = False  # gdb wants nothing any more
        self.execs = False  # gdb wants to know of execve
        self._thread = 0  # of g, G, p, P; 0: the one that stopped
        self._step = 0  # of s
        self._go: int | None = None  # what gdb has told the program to do
        self._waits = False  # gdb waits for the next stop

    def stopped(self, stop: Stop) -> int:
        """Tell gdb, and talk until the program is to go on: the thread that is to make one step, 0 for all without end."""
        self.stop, self._thread, self._go = stop, 0, None
        try:
            if self._waits:
                self._waits = False
                self.line.send(self._told(stop))
            while not (self.gone or self.killed):
                packet = self.line.receive()
                if packet is None:
                    self.gone = True
                    break
                if packet == INTERRUPT:
                    continue  # it has stopped already
                answer = self.answer(packet)
                if self._go is not None:
                    self._waits = True
                    return self._go
                if answer is not None:
                    self.line.send(answer)
        except ConnectionError:
            self.gone = True
        return 0

    def ended(self, stop: Stop) -> None:
        """The program is no more."""
        try:
            if self._waits and not self.gone:
                self.line.send(self._told(stop))
        except ConnectionError:
            pass
        self.gone = True

    def answer(self, packet: bytes) -> bytes | None:
        """The answer to one packet; "" is "I do not know this", which gdb takes well."""
        letter = chr(packet[0]) if packet else ""
        command = self._LETTERS.get(letter)
        if command is None:
            return b""
        try:
            return command(self, packet[1:])
        except TargetFault:
            return b"E0e"  # EFAULT
        except (ValueError, IndexError, UnicodeDecodeError, KeyError):
            return b"E16"  # EINVAL, in hexadecimal

    # -- threads ------------------------------------------------------------------------------------

    @property
    def thread(self) -> int:
        """The thread that packets about registers mean."""
        threads = self.target.threads()
        chosen = self._thread or self.stop.thread
        return chosen if chosen in threads else next(iter(threads), 1)

    def _choose(self, rest: bytes) -> bytes:
        number = max(int(rest[1:], 16) if rest[1:2] != b"-" else 0, 0)
        if rest[:1] == b"g":
            self._thread = number
        elif rest[:1] == b"c":
            self._step = number
        return b"OK"

    def _alive(self, rest: bytes) -> bytes:
        return b"OK" if int(rest, 16) in self.target.threads() else b"E01"

    # -- registers ----------------------------------------------------------------------------------

    def _value(self, register: Register) -> bytes:
        size = register.bits // 8
        value = 0
        if register.source != "-":
            value = self.target.register(self.thread, register.source) & ((1 << register.bits) - 1)
        order = "little" if self.target.order == "<" else "big"
        return value.to_bytes(size, order).hex().encode()  # type: ignore[arg-type]

    def _set(self, register: Register, digits: bytes) -> None:
        value = bytes.fromhex(digits.decode())
        if len(value) != register.bits // 8:
            raise ValueError(register.name)
        number = int.from_bytes(value, "little" if self.target.order == "<" else "big")
        if register.source != "-":
            self.target.set_register(self.thread, register.source, number)

    def _get_all(self, _rest: bytes) -> bytes:
        return b"".join(map(self._value, self.registers))

    def _set_all(self, rest: bytes) -> bytes:
        for register in self.registers:
            digits, rest = rest[: register.bits // 4], rest[register.bits // 4 :]
            self._set(register, digits)
        return b"OK"

    def _get_one(self, rest: bytes) -> bytes:
        return self._value(self.registers[int(rest, 16)])

    def _set_one(self, rest: bytes) -> bytes:
        number, _, digits = rest.partition(b"=")
        self._set(self.registers[int(number, 16)], digits)
        return b"OK"

    # -- memory -------------------------------------------------------------------------------------

    def _read(self, rest: bytes) -> bytes:
        address, size = (int(word, 16) for word in rest.split(b","))
        return self.target.read(address, min(size, LARGEST // 2)).hex().encode()

    def _write(self, rest: bytes) -> bytes:
        where, _, digits = rest.partition(b":")
        address, size = (int(word, 16) for word in where.split(b","))
        data = bytes.fromhex(digits.decode())
        if len(data) != size:
            raise ValueError("size")
        self.target.write(address, data)
        return b"OK"

    # -- running ------------------------------------------------------------------------------------

    def _why(self, _rest: bytes) -> bytes:
        return self._told(self.stop)

    def _told(self, stop: Stop) -> bytes:
        if stop.killed:
            return b"X%02x" % _SIGNALS.get(stop.signal, stop.signal)
        if stop.status is not None:
            return b"W%02x" % (stop.status & 0xFF)
        number = _SIGNALS.get(stop.signal, stop.signal)
        return b"T%02xthread:%x;%b" % (number, stop.thread, stop.reason.encode())

    def _resume(self, step: int) -> None:
        self._go = step

    def _go_on(self, rest: bytes) -> None:
        self._go_to(rest)
        self._resume(0)

    def _go_one(self, rest: bytes) -> None:
        self._go_to(rest)
        self._resume(self._step or self.thread)

    def _go_to(self, rest: bytes) -> None:
        if rest:
            pc = next(r for r in self.registers if r.type == "code_ptr" or r.name == "pswa")
            self.target.set_register(self.thread, pc.source, int(rest, 16))

    def _v(self, rest: bytes) -> bytes | None:
        if rest == b"Cont?":
            return b"vCont;c;C;s;S"
        if rest.startswith(b"Cont;"):
            for action in rest[5:].split(b";"):
                what, _, thread = action.partition(b":")
                if what[:1] in b"sS":
                    self._resume(int(thread, 16) if thread and thread != b"-1" else self.thread)
                    return None
            self._resume(0)
            return None
        if rest.startswith(b"Kill"):
            self.line.send(b"OK")
            self._kill(b"")
            return None
        return b""

    def _breakpoint(self, rest: bytes, *, wanted: bool) -> bytes:
        kind, address, size = rest.split(b";")[0].split(b",")
        if kind == b"2":
            self.target.stop_when_changed(int(address, 16), int(size, 16), wanted)
        elif kind in (b"0", b"1"):
            self.target.stop_at(int(address, 16), wanted)
        else:
            return b""
        return b"OK"

    def _detach(self, _rest: bytes) -> None:
        self.line.send(b"OK")
        self.gone = True

    def _kill(self, _rest: bytes) -> None:
        self.killed = True

    # -- questions ----------------------------------------------------------------------------------

    def _query(self, rest: bytes) -> bytes:
        name, _, argument = rest.partition(b":")
        threads = self.target.threads()
        if name == b"Supported":
            self.execs = b"exec-events+" in argument.split(b";")
            known = (
                b"PacketSize=%x;QStartNoAckMode+;vContSupported+;exec-events+;qXfer:features:read+;"
                b"qXfer:auxv:read+;qXfer:exec-file:read+" % LARGEST
            )  # fmt: skip
            return known + b";qXfer:libraries-svr4:read+" if self.target.has_modules else known
        if name == b"Attached":
            return b"0"  # gdb kills the program when it ends
        if name == b"C":
            return b"QC%x" % self.thread
        if name == b"fThreadInfo":
            return b"m" + b",".join(b"%x" % thread for thread in threads)
        if name == b"sThreadInfo":
            return b"l"
        if rest.startswith(b"ThreadExtraInfo,"):
            return threads[int(rest.partition(b",")[2], 16)].encode().hex().encode()
        if name == b"Xfer":
            return self._transfer(argument)
        if name == b"Symbol":
            return b"OK"
        return b""

    def _transfer(self, rest: bytes) -> bytes:
        kind, action, annex, window = rest.split(b":")
        if action != b"read":
            return b""
        if kind == b"features" and annex == b"target.xml":
            data = self.description.xml().encode()
        elif kind == b"auxv":
            data = self.target.auxv()
        elif kind == b"exec-file":
            data = self.target.path.encode()
        elif kind == b"libraries-svr4":
            data = self._libraries().encode()
        else:
            return b"E00"
        offset, size = (int(word, 16) for word in window.split(b","))
        part = data[offset : offset + min(size, LARGEST // 2)]
        return (b"m" if offset + len(part) < len(data) else b"l") + escape(part)

    def _libraries(self) -> str:
        from xml.sax.saxutils import quoteattr

        program, *libraries = list(self.target.modules()) or [Loaded("", 0, 0, 0)]
        rows = "".join(
            f'<library name={quoteattr(m.path)} lm="{m.link_map:#x}" l_addr="{m.bias:#x}" l_ld="{m.dynamic:#x}" lmid="0x0"/>'
            for m in libraries
        )
        main = f' main-lm="{program.link_map:#x}"' if program.link_map else ""
        return f'<library-list-svr4 version="1.0"{main}>{rows}</library-list-svr4>'

    def _set_mode(self, rest: bytes) -> bytes:
        if rest != b"StartNoAckMode":
            return b""
        self.line.acknowledge = False
        return b"OK"

    # fmt: off
    _LETTERS: dict[str, Callable[[Session, bytes], bytes | None]] = {  # noqa: RUF012  a table of functions
        "?": _why,      "H": _choose,  "T": _alive,
        "g": _get_all,  "G": _set_all, "p": _get_one, "P": _set_one,
        "m": _read,     "M": _write,
        "c": _go_on,    "s": _go_one,  "v": _v,
        "Z": lambda self, rest: self._breakpoint(rest, wanted=True),
        "z": lambda self, rest: self._breakpoint(rest, wanted=False),
        "D": _detach,   "k": _kill,
        "q": _query,    "Q": _set_mode,
    }
    # fmt: on
