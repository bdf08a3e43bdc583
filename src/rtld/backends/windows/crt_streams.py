"""Open files of the C library: descriptors, and the streams (FILE) on them.

A program's descriptors are numbers of its own, never ours: it reaches only what it has opened. Text mode is Windows': a
line feed is written as CR LF, CR LF is read as a line feed, and control-Z ends a file.
"""

from __future__ import annotations

import os

from rtld.backends.windows.kernel32_files import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.backends.windows.system import System

FILE_SIZE = {32: 32, 64: 48}
#: Offsets in FILE of its flags and of its descriptor, in 32 and in 64 bits.
_FLAGS, _NUMBER = {32: 12, 64: 24}, {32: 16, 64: 28}
END, ERROR = 0x10, 0x20  # _IOEOF, _IOERR
_MOST_OPEN = 2048
_BUFFER = 1 << 16


class Descriptor:
    """``fd``: ours; ``text``: the mode; ``handle``: the number of KERNEL32's handle, once it was asked for."""

    __slots__ = ("append", "fd", "handle", "path", "text")

    def __init__(self, fd: int, *, text: bool, append: bool = False, path: str = "") -> None:
        self.fd = fd
        self.text = text
        self.append = append
        self.path = path
        self.handle = 0


class Stream:
    """One FILE: what waits to be written, and what was read ahead."""

    __slots__ = (
        "address",
        "at",
        "back",
        "error",
        "number",
        "out",
        "path",
        "raw",
        "system",
        "unbuffered",
    )

    def __init__(self, system: System, address: int, number: int) -> None:
        self.system = system
        self.address = address
        self.number = number
        self.out = bytearray()
        self.raw = b""  # of the file, as it is there
        self.at = 0  # so much of it was taken
        self.back = bytearray()  # pushed back, the last first
        self.unbuffered = number == 2 or (number == 1 and os.isatty(1))
        self.error = 0
        self.path = ""  # to be removed when it is closed
        system.put(address + _NUMBER[system.bits], number, 4)

    @property
    def descriptor(self) -> Descriptor | None:
        return descriptors(self.system).get(self.number)

    def mark(self, bit: int) -> None:
        """Set a flag, where macros of programs look for it."""
        place = self.address + _FLAGS[self.system.bits]
        self.system.put(place, self.system.number(place, 4) | bit, 4)

    def unmark(self, bits: int) -> None:
        place = self.address + _FLAGS[self.system.bits]
        flags = self.system.number(place, 4)
        if flags & bits:
            self.system.put(place, flags & ~bits, 4)

    def marked(self, bit: int) -> bool:
        return bool(self.system.number(self.address + _FLAGS[self.system.bits], 4) & bit)

    # -- writing ----------------------------------------------------------------------------------

    def write(self, data: bytes) -> bool:
        """Into the buffer; False, and the error mark, when it cannot be written."""
        descriptor = self.descriptor
        if descriptor is None:
            self.mark(ERROR)
            return False
        if self.raw or self.back:
            self.seek(0, 1)
        self.out += data.replace(b"\n", b"\r\n") if descriptor.text else data
        if self.unbuffered or len(self.out) > _BUFFER:
            return self.flush()
        return True

    def flush(self) -> bool:
        """Write out what waits."""
        descriptor = self.descriptor
        if not self.out or descriptor is None:
            return True
        data, self.out = bytes(self.out), bytearray()
        try:
            write_all(descriptor.fd, data)
        except OSError as error:
            self.error = error.errno or 5
            self.mark(ERROR)
            return False
        return True

    # -- reading ----------------------------------------------------------------------------------

    def _fill(self) -> bool:
        descriptor = self.descriptor
        if descriptor is None:
            self.mark(ERROR)
            return False
        self.flush()
        try:
            piece = os.read(descriptor.fd, 4096)
        except OSError as error:
            self.error = error.errno or 5
            self.mark(ERROR)
            return False
        if not piece:
            return False
        self.raw, self.at = self.raw[self.at :] + piece, 0
        return True

    def read(self, size: int, *, line: bool = False) -> bytes:
        """Up to so many bytes, or a line of them; less: the end mark is set."""
        descriptor = self.descriptor
        text = descriptor is not None and descriptor.text
        out = bytearray()
        while len(out) < size:
            if self.back:
                out.append(self.back.pop())
            else:
                if self.at >= len(self.raw) and not self._fill():
                    break
                if text and self.raw[self.at] == 0x1A:
                    break
                chunk = self.raw[self.at : self.at + size - len(out)]
                if line:
                    chunk = chunk[: chunk.find(b"\n") + 1 or len(chunk)]
                if text:
                    chunk = self._text(chunk)
                else:
                    self.at += len(chunk)
                out += chunk
            if line and out.endswith(b"\n"):
                return bytes(out)
        if len(out) < size and not self.marked(ERROR):
            self.mark(END)
        return bytes(out)

    def _text(self, chunk: bytes) -> bytes:
        """A piece of what was read ahead in text mode; it is taken."""
        end = chunk.find(b"\x1a")
        if end >= 0:
            chunk = chunk[:end]
        if chunk.endswith(b"\r") and self.at + len(chunk) >= len(self.raw):
            self._fill()  # it may be followed by a line feed
        self.at += len(chunk)
        if chunk.endswith(b"\r") and self.raw[self.at : self.at + 1] == b"\n":
            chunk = chunk[:-1]
        return chunk.replace(b"\r\n", b"\n")

    def take(self) -> int:
        """One byte, -1 at the end."""
        data = self.read(1)
        return data[0] if data else -1

    def push(self, code: int) -> None:
        """Back, to be read next."""
        self.unmark(END)
        code &= 255
        descriptor = self.descriptor
        if self.back or not self.at or self.raw[self.at - 1] != code:
            self.back.append(code)
        elif code == 10 and self.raw[self.at - 2 : self.at - 1] == b"\r" and descriptor is not None and descriptor.text:  # fmt: skip
            self.at -= 2  # it was CR LF
        else:
            self.at -= 1

    # -- position ---------------------------------------------------------------------------------

    def seek(self, offset: int, whence: int) -> None:
        """OSError."""
        self.flush()
        if whence == 1:
            offset -= len(self.raw) - self.at + len(self.back)
        self.raw, self.at = b"", 0
        self.back.clear()
        self.unmark(END)
        descriptor = self.descriptor
        os.lseek(descriptor.fd if descriptor is not None else -1, offset, whence)

    def tell(self) -> int:
        """OSError."""
        descriptor = self.descriptor
        at = os.lseek(descriptor.fd if descriptor is not None else -1, 0, os.SEEK_CUR)
        return at + len(self.out) - (len(self.raw) - self.at) - len(self.back)


def descriptors(system: System) -> dict[int, Descriptor]:
    """The program's open descriptors; at first the three standard ones."""
    table: dict[int, Descriptor] | None = system.cache.get("descriptors")
    if table is None:
        table = {number: Descriptor(number, text=True) for number in range(3)}
        system.cache["descriptors"] = table
    return table


def add_descriptor(system: System, descriptor: Descriptor) -> int:
    """Its number: the lowest that is free. OSError (EMFILE)."""
    table = descriptors(system)
    number = next((n for n in range(_MOST_OPEN) if n not in table), None)
    if number is None:
        os.close(descriptor.fd)
        raise OSError(24, "")
    table[number] = descriptor
    return number


def close_descriptor(system: System, number: int) -> bool:
    """False when there is none."""
    found = descriptors(system).pop(number, None)
    if found is None:
        return False
    if found.handle:
        system.close(found.handle)
    if found.fd > 2:
        os.close(found.fd)
    return True


def streams(system: System) -> dict[int, Stream]:
    """FILE -> stream."""
    table: dict[int, Stream] = system.cache.setdefault("streams", {})
    return table


def iob(system: System) -> int:
    """The address of the three standard FILEs."""
    return int(system.loader.variable("msvcrt.dll", "_iob"))


def stream(system: System, file: int) -> Stream | None:
    """The stream of a FILE; None when it is none."""
    found = streams(system).get(file)
    if found is None:
        number, rest = divmod(file - iob(system), FILE_SIZE[system.bits])
        if not 0 <= number < 3 or rest:
            return None
        found = streams(system)[file] = Stream(system, file, number)
    return found


def open_stream(system: System, number: int) -> Stream:
    """A new FILE on a descriptor."""
    address = system.heap.allocate(FILE_SIZE[system.bits])
    found = streams(system)[address] = Stream(system, address, number)
    return found


def standard(system: System, number: int) -> Stream:
    """Standard input 0, output 1 or error 2."""
    found = stream(system, iob(system) + number * FILE_SIZE[system.bits])
    assert found is not None
    return found


def flush_all(system: System) -> None:
    """Write out what waits, of all streams."""
    for each in list(streams(system).values()):
        each.flush()
