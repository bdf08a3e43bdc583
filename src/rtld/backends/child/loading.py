"""The list of calls that loads a program: what load_elf_binary in Linux's fs/binfmt_elf.c does, in its order.

Addresses that only the kernel will know (where mmap puts something, where the stack is) are words in the child's memory
that earlier records add to later ones; see ``machine.py``.
"""

from __future__ import annotations

import ctypes
import struct
from collections import namedtuple

from rtld.backends.child import anchor as layout
from rtld.backends.child.anchor import PAGE, Anchor
from rtld.backends.child.calls import ADD, AND, COPY, FILL, GO, LOAD, STORE, vdso_gate
from rtld.core.space import page_up

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rtld.backends.child.calls import CallList

# What the kernel needs to know of an ELF file.  segments: PT_LOADs with .flags .offset .vaddr .filesz .memsz .align;
# phdr: address of the program headers; dynamic: ET_DYN; stack: p_flags of PT_GNU_STACK or None; fd: where to map from.
ExecImage = namedtuple("ExecImage", "name fd bits segments entry phdr phent phnum dynamic stack")

# Where it is to be: base of an ET_DYN program (None: wherever mmap puts it), start of the brk area (None: behind the
# program) and an offset to it, 16 bytes for AT_RANDOM (None: the kernel's).
Placement = namedtuple("Placement", "base brk brk_offset random", defaults=(None, None, 0, None))

# A program to start.  execfn: AT_EXECFN; comm: its short name; exe_fd: /proc/self/exe; over: (path, argv) that the kernel
# itself can execute, None for bytes; death_signal: what it gets when the thread that started it ends, 0 for none.
Job = namedtuple(
    "Job",
    "program interp argv env execfn comm exe_fd over placement no_randomize sigmask death_signal",
    defaults=(None, Placement(), False, None, 0),
)

# fmt: off
AT_PHDR, AT_PHENT, AT_PHNUM, AT_BASE, AT_ENTRY = 3, 4, 5, 7, 9
AT_RANDOM, AT_EXECFN, AT_SYSINFO, AT_SYSINFO_EHDR = 25, 31, 32, 33
PROT_READ, PROT_WRITE, PROT_EXEC = 1, 2, 4
MAP_PRIVATE, MAP_FIXED, MAP_ANONYMOUS, MAP_NORESERVE = 0x02, 0x10, 0x20, 0x4000
MAP_FIXED_NOREPLACE = 0x100000
PR_SET_PDEATHSIG, PR_SET_NAME, PR_SET_MM, PR_SET_MM_MAP, PR_SET_MM_MAP_SIZE = 1, 15, 35, 14, 15
# fmt: on


class Place:
    """An address: a number, plus a word in the child's memory if only the kernel knows."""

    __slots__ = ("known", "word")

    def __init__(self, known: int = 0, word: int = 0) -> None:
        self.known = known
        self.word = word


class Loading:
    """Writes the list that loads one Job."""

    def __init__(self, job: Job, *, avoid: tuple[tuple[int, int], ...] = ()) -> None:
        images = [image for image in (job.program, job.interp) if image is not None]
        segments = sum(len(image.segments) for image in images)
        ranges = tuple(span(image) for image in images if not image.dynamic)
        self.job = job
        self.anchor = Anchor(
            job.program.bits,
            records=7 * segments + 96,
            data=24 * segments + 3 * len(job.execfn) + 2048,
            avoid=ranges + avoid,
        )
        self.calls: CallList = self.anchor.calls
        self.failing = 0
        self.entry = 0  # address of the word with the entry point

    def write(self, failing: int, fds: Iterable[int], *, own_exe: bool) -> None:
        """Everything between the start of the anchor and the jump.  *failing*: the list for failures."""
        job, calls = self.job, self.calls
        self.failing = failing
        program = self.map_image(job.program, self.place_of(job.program))
        interp = Place()
        self.entry = self.word(program, job.program.entry)
        if job.interp is not None:
            interp = self.map_image(job.interp, self.place_of(job.interp, of_program=False))
            self.entry = self.word(interp, job.interp.entry)
        self.patch_stack(program, interp)
        self.describe(program, own_exe=own_exe)
        for fd in fds:
            calls.call("close", fd)

    def place_of(self, image: ExecImage, *, of_program: bool = True) -> Place:
        """The load bias of *image*: 0, the one chosen, or the result of a call to mmap."""
        calls = self.calls
        base = self.job.placement.base if of_program else None
        low, high_end = span(image)
        if not image.dynamic:
            return Place(0)
        align = max_align(image)
        if base is not None:
            return Place((base & -align) - low)
        # As the kernel does: ask for room for all, then give it back and map piece by piece.
        size = high_end - low + (align if align > PAGE else 0)
        flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
        asked = calls.call("mmap", 0, size, 0, flags, -1, 0, failure=self.failing)
        word = calls.result(asked)
        self.call("munmap", 0, size, words={0: word})
        if align > PAGE:
            calls.add(ADD, word, calls.word(align - 1))
            calls.add(AND, word, calls.word(-align))
        return Place(-low, word)

    def map_image(self, image: ExecImage, place: Place) -> Place:
        """Map the segments of *image* (elf_load in binfmt_elf.c)."""
        end_before = 0
        for s in image.segments:
            prot = (s.flags >> 2 & 1) | (s.flags & 2) | (s.flags & 1) << 2
            start = s.vaddr & -PAGE
            end_file = start
            # Two segments may share a page; otherwise nothing may be there.
            fixed = MAP_FIXED if start < end_before else MAP_FIXED_NOREPLACE
            if s.filesz:
                end_file = page_up(s.vaddr + s.filesz)
                offset = s.offset - (s.vaddr - start)
                self.map(place, start, end_file, prot, MAP_PRIVATE | fixed, image.fd, offset)
            if s.memsz > s.filesz:
                if s.filesz and prot & PROT_WRITE:
                    at = s.vaddr + s.filesz
                    self.add(FILL, place.known + at, 0, -at % PAGE, words={0: place.word})
                end = page_up(s.vaddr + s.memsz)
                if end > end_file:
                    rights = prot & PROT_EXEC | PROT_READ | PROT_WRITE
                    self.map(place, end_file, end, rights, MAP_PRIVATE | fixed | MAP_ANONYMOUS)
            end_before = page_up(s.vaddr + s.memsz)
        return place

    def map(
        self,
        place: Place,
        start: int,
        end: int,
        prot: int,
        flags: int,
        fd: int = -1,
        offset: int = 0,
    ) -> None:
        """One mmap, which must succeed."""
        if self.calls.bits == 32:
            offset //= PAGE  # mmap2
        self.call(
            "mmap", place.known + start, end - start, prot, flags, fd, offset,
            words={0: place.word}, failure=self.failing,
        )  # fmt: skip

    def patch_stack(self, program: Place, interp: Place) -> None:
        """The auxiliary vector and the strings it points to, in place."""
        job, calls, aux = self.job, self.calls, self.anchor.aux
        image = job.program
        base = self.word(interp, 0) if job.interp is not None else calls.word(0)
        calls.add(STORE, aux(AT_PHDR), self.word(program, image.phdr))
        calls.add(STORE, aux(AT_PHENT), calls.word(image.phent))
        calls.add(STORE, aux(AT_PHNUM), calls.word(image.phnum))
        calls.add(STORE, aux(AT_BASE), base)
        calls.add(STORE, aux(AT_ENTRY), self.word(program, image.entry))
        self.overwrite(AT_EXECFN, job.execfn + b"\0")
        if job.placement.random is not None:
            self.overwrite(AT_RANDOM, job.placement.random)

    def overwrite(self, number: int, content: bytes) -> None:
        """Put *content* where the AT_* entry *number* points to."""
        calls = self.calls
        source = calls.data(content)
        calls.add(LOAD, calls.field(len(calls) + 1, 0), self.anchor.aux(number))
        calls.add(COPY, 0, source, len(content))

    def describe(self, program: Place, *, own_exe: bool) -> None:
        """Tell the kernel what is where: prctl(2), PR_SET_MM_MAP and PR_SET_NAME."""
        job, calls, state = self.job, self.calls, self.anchor.state
        segments = job.program.segments
        code = [s for s in segments if s.flags & 1] or segments
        brk = job.placement.brk
        after = page_up(max(s.vaddr + s.memsz for s in segments))
        known = (
            min(s.vaddr for s in code),
            max(s.vaddr + s.filesz for s in code),
            max(s.vaddr for s in segments),
            max(s.vaddr + s.filesz for s in segments),
            after + job.placement.brk_offset if brk is None else brk - program.known,
        )
        # struct prctl_mm_map, <linux/prctl.h>: the rest is what the kernel made, told by ENTRY's notes
        fields = [(program.known + k) % 2**64 for k in (*known, known[4])]
        at = calls.data(struct.pack("<14Q", *fields, *[0] * 6, 0xFFFFFFFF << 32, 0))
        if program.word:
            for i in range(6 if brk is None else 4):
                calls.add(ADD, at + 8 * i, program.word)
        calls.add(ADD, at + 48, state(layout.STATE_SP))
        calls.add(ADD, at + 56, state(layout.STATE_ARGV0))
        for field in (64, 72):  # the arguments end where the environment starts
            if job.env:
                calls.add(ADD, at + field, state(layout.STATE_ENVP0))
            else:
                calls.add(LOAD, at + field, self.anchor.aux(AT_EXECFN))
        calls.add(LOAD, at + 80, self.anchor.aux(AT_EXECFN))  # it stands behind the environment
        calls.add(ADD, at + 88, state(layout.STATE_AUXV))
        calls.add(ADD, at + 96, state(layout.STATE_AUXV_SIZE))
        calls.call("prctl", PR_SET_MM, PR_SET_MM_MAP, at, 104, 0)
        if not own_exe:
            # This one needs CAP_CHECKPOINT_RESTORE, and the anchor's file mapped nowhere.
            calls.add(ADD, at + 100, calls.word(job.exe_fd + 1))
            calls.call("prctl", PR_SET_MM, PR_SET_MM_MAP, at, 104, 0)
        calls.call("prctl", PR_SET_NAME, calls.data(job.comm[:15] + b"\0"), 0, 0, 0)
        if job.death_signal:
            calls.call("prctl", PR_SET_PDEATHSIG, job.death_signal, 0, 0, 0)

    def go(self) -> None:
        """Remove the anchor and jump."""
        calls, anchor = self.calls, self.anchor
        gate = own_gate() if calls.bits == 64 else None
        pops = gate[1] if gate else 0
        tmp = calls.word(0)
        words = {0: self.entry, 1: anchor.state(layout.STATE_SP)}
        if calls.bits == 32:
            calls.add(LOAD, tmp, anchor.aux(AT_SYSINFO))
            words[3] = tmp
        elif gate:
            calls.add(LOAD, tmp, anchor.aux(AT_SYSINFO_EHDR))
            words[3] = tmp
        self.add(GO, 0, 0, pops, gate[0] if gate else 0, anchor.home, anchor.size, words=words)

    # Records with arguments that are known only over there.

    def call(self, name: str, *args: int, words: Mapping[int, int], failure: int = 0) -> None:
        """A system call whose argument n is increased by the word at words[n] first."""
        self.add(self.calls.nr[name], *args, words=words, failure=failure)

    def add(self, number: int, *args: int, words: Mapping[int, int], failure: int = 0) -> None:
        """The same for any record."""
        calls = self.calls
        pairs = [(n, word) for n, word in words.items() if word]
        index = len(calls) + len(pairs)
        for n, word in pairs:
            calls.add(ADD, calls.field(index, n), word)
        calls.add(number, *args, failure=failure)

    def word(self, place: Place, address: int) -> int:
        """A word that will hold *address* moved to *place*."""
        at = self.calls.word(place.known + address)
        if place.word:
            self.calls.add(ADD, at, place.word)
        return at


def span(image: ExecImage) -> tuple[int, int]:
    """First and last address of an image's pages."""
    low = min(s.vaddr for s in image.segments) & -PAGE
    return low, max(page_up(s.vaddr + s.memsz) for s in image.segments)


def max_align(image: ExecImage) -> int:
    """The largest p_align, at least a page; what is no power of two does not count (maximum_alignment)."""
    aligns: list[int] = [s.align for s in image.segments if s.align & s.align - 1 == 0]
    return max([PAGE, *aligns])


def own_gate() -> tuple[int, int] | None:
    """The gate in this process's vdso; every x86-64 process has the same."""
    libc = ctypes.CDLL(None)
    libc.getauxval.restype = ctypes.c_ulong
    base = libc.getauxval(AT_SYSINFO_EHDR)
    if not base or ctypes.sizeof(ctypes.c_void_p) != 8:
        return None
    header = ctypes.string_at(base, 64)
    end = int.from_bytes(header[40:48], "little")  # e_shoff: section headers stand last
    return vdso_gate(ctypes.string_at(base, end))
