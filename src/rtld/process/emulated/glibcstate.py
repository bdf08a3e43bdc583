"""What glibc's libc.so.6 expects of an ld.so that has been at work, made without one: for ``pure.py``.

ld.so is in memory as a library whose code has not run. What libc reads of it: ``_rtld_global``, ``_rtld_global_ro`` and a few
variables. Their fields have no public layout. Sizes and offsets of thread descriptors are told by the ``_thread_db_*`` symbols
that libc exports for debuggers (nptl_db/structs.def); other fields are found by experiment: the structure is filled with marks,
a function of libc that returns one field is called, and the mark it returns says where it looked (``_Probe``).
"""

from __future__ import annotations

import struct

from rtld.backends.emulated.memory import EXECUTE, PAGE, READ
from rtld.elf import types as t
from rtld.elf.scalar import dynsym
from rtld.elf.tables import tables
from rtld.errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.core.module import Module
    from rtld.process.emulated.pure import PureGuest

# fmt: off
_SC_CLK_TCK, _SC_MINSIGSTKSZ = 2, 249
AT_HWCAP, UNKNOWN = 16, 1234
#: From the thread pointer (i386, x86-64, s390x: tcbhead_t; others: what is in front of the blocks) to the pointer to the DTV.
DTV = {"i386": 4, "x86_64": 8, "s390x": 8, "arm": 0, "aarch64": 0, "riscv64": -16}
#: tcbhead_t, where it is the beginning of struct pthread: self, stack_guard, pointer_guard (None: not there).
HEAD = {"i386": (8, 20, 24), "x86_64": (16, 40, 48), "s390x": (16, 40, None)}
#: What a signal's frame takes at least (bits/sigstksz.h).
MINSIGSTKSZ = {"aarch64": 5120, "s390x": 4096}
# fmt: on
MOST = 1 << 14  # bytes of such a structure
_DTV = 4 * 2  # words of a DTV
L_INFO = 8  # words of struct link_map in front of l_info
INT80_RET = b"\xcd\x80\xc3"


def refuse(guest: PureGuest) -> None:
    """Unsupported for a libc that cannot be started without its ld.so."""
    if guest.ns.model == "musl":
        raise Unsupported(
            f"{guest.file.interp}: --pure: musl's libc.so is the dynamic linker itself, and only it can initialise libc",
            "without --pure it does that much, and rtld links",
        )
    libc, interp = guest.libc, guest.ns.interp
    if libc is None or interp is None:
        raise Unsupported(f"{guest.program}: --pure: there is no libc.so.6 among what it needs")
    for module, name in (
        (libc, "__libc_early_init"),
        (interp, "_rtld_global_ro"),
        (libc, "_thread_db_sizeof_pthread"),
    ):
        if not _index(module, name):
            raise Unsupported(
                f"{module.path}: --pure: it has no {name}: a glibc from 2.34 on is wanted",
                "without --pure the guest's ld.so initialises it",
            )


def _index(module: Module, name: str) -> int:
    table = dynsym(module.file)
    for index in table.named(name.encode()):
        if table.symbol(index).section != t.SHN_UNDEF:
            return index
    return 0


class State:
    """The state of one process's libc. ``head``: from the thread pointer to struct pthread."""

    def __init__(self, guest: PureGuest) -> None:
        self.guest = guest
        self.machine = guest.machine
        assert guest.libc is not None
        assert guest.ns.interp is not None
        self.libc, self.interp = guest.libc, guest.ns.interp
        self.sizeof_pthread = self._number("_thread_db_sizeof_pthread")
        self.variant = guest.arch.tls.variant
        self.head = 0
        self.dtv = DTV[guest.arch.name]
        self._free: list[int] = []  # DTVs that may be used again

    # -- symbols and descriptors ----------------------------------------------------------------------

    def symbol(self, module: Module, name: str) -> tuple[int, int] | None:
        """(address, size) of a definition."""
        index = _index(module, name)
        if not index:
            return None
        entry = dynsym(module.file).symbol(index)
        return module.base + int(entry.value), int(entry.size)

    def structure(self, name: str) -> tuple[int, int]:
        """(address, size) of one of ld.so's own structures. Unsupported where that cannot be it."""
        found = self.symbol(self.interp, name)
        start, size = found or (0, 0)
        within = any(
            load.vaddr <= start - self.interp.base
            and start - self.interp.base + size <= load.vaddr + load.memsz
            for load in self.interp.file.loads
        )
        if not within or not 0 < size <= MOST:
            raise Unsupported(
                f"{self.interp.path}: --pure: {name} has {size:#x} bytes; at most {MOST:#x} of a segment's are wanted"
            )
        return start, size

    def function(self, name: str) -> int:
        found = self.symbol(self.libc, name) or self.symbol(self.interp, name)
        if found is None:
            raise Unsupported(f"{self.libc.path}: --pure: it has no {name}")
        return found[0]

    def _number(self, name: str) -> int:
        """A uint32_t that libc has for debuggers."""
        index = _index(self.libc, name)
        entry = dynsym(self.libc.file).symbol(index)
        at = self.libc.file.file_offset(int(entry.value), 4, name)
        return int(struct.unpack_from(self.guest.order + "I", self.libc.file.data, at)[0])

    def _offset(self, name: str) -> int:
        """The offset of a field: the third number of its descriptor (size in bits, elements, offset)."""
        index = _index(self.libc, name)
        if not index:
            raise Unsupported(f"{self.libc.path}: --pure: it has no {name}")
        entry = dynsym(self.libc.file).symbol(index)
        at = self.libc.file.file_offset(int(entry.value), 12, name)
        return int(struct.unpack_from(self.guest.order + "III", self.libc.file.data, at)[2])

    def set_variable(self, name: str, value: int) -> None:
        """A word of ld.so's; nothing where it has none of that name."""
        found = self.symbol(self.interp, name)
        if found is not None:
            size = min(found[1], self.guest.word)
            data = self.guest.pack(value)
            self.machine.write(found[0], data[:size] if self.guest.order == "<" else data[-size:])

    # -- the first thread -------------------------------------------------------------------------------

    def make_thread(self, pointer: int, random: bytes) -> None:
        """Thread control block, struct pthread and DTV of the thread that runs; *random*: 16 bytes for the guards."""
        guest, machine, word = self.guest, self.machine, self.guest.word
        order: Any = "little" if guest.order == "<" else "big"
        guard = bytearray(random[:word])
        guard[0 if guest.order == "<" else -1] = 0  # a string does not get past it
        stack_guard = int.from_bytes(guard, order)
        pointer_guard = int.from_bytes(random[8 : 8 + word], order)
        head = HEAD.get(guest.arch.name)
        if head is not None:
            own, canary, mangle = head
            guest.write_word(pointer, pointer)
            guest.write_word(pointer + own, pointer)
            guest.write_word(pointer + canary, stack_guard)
            if mangle is not None:
                guest.write_word(pointer + mangle, pointer_guard)
        if guest.arch.name == "i386":
            code = machine.memory.reserve(PAGE)
            machine.memory.map(code, PAGE, READ | EXECUTE)
            machine.memory.write(code, INT80_RET)
            guest.write_word(pointer + 16, code)
        self.set_variable("__stack_chk_guard", stack_guard)
        self.set_variable("__pointer_chk_guard", pointer_guard)
        guest.set_thread_pointer(pointer)
        self.allocate(pointer)

    def finish_thread(self, pointer: int, rseq: int) -> None:
        """struct pthread, once libc's code can run: it says itself where that is. *rseq*: from the thread pointer to room for a
        struct rseq.
        """
        guest, word = self.guest, self.guest.word
        pthread = self.machine.call(self.function("pthread_self"))
        self.head = pthread - pointer
        tid = pthread + self._offset("_thread_db_pthread_tid")
        guest.machine.write(tid, guest.pack_int(self.machine.kernel.task.tid))
        # robust_prev (64 bits only), robust_head: nothing is held
        robust = tid + 8
        if word == 8:
            guest.write_word(robust, robust + word)
            robust += word
        guest.write_word(robust, robust)
        # cpu_id of struct rseq: RSEQ_CPU_ID_REGISTRATION_FAILED, which new threads believe. Until glibc 2.40 it is the last
        # member of struct pthread.
        if any(each.name == b"GLIBC_2.41" for each in tables(self.libc.file).verdefs):
            self.set_variable("__rseq_offset", rseq)
            area = pointer + rseq
        else:
            area = pthread + self.sizeof_pthread - 32
        guest.machine.write(
            area & guest.machine.kernel.mask, guest.pack_int(0) + guest.pack_int(-2)
        )
        specific = pthread + self._offset("_thread_db_pthread_specific")
        level2 = self._number("_thread_db_sizeof_pthread_key_data_level2")
        guest.write_word(specific, specific - level2)  # specific[0] = &specific_1stblock
        where = self.structure("_rtld_global")
        user = where[0] + self._offset("_thread_db_rtld_global__dl_stack_user")
        used = where[0] + self._offset("_thread_db_rtld_global__dl_stack_used")
        cache = user + abs(user - used)
        entry = pthread + self._offset("_thread_db_pthread_list")
        for empty in (used, cache):
            guest.machine.write(empty, guest.pack(empty, empty))
        guest.machine.write(user, guest.pack(entry, entry))
        guest.machine.write(entry, guest.pack(user, user))

    # -- threads: what pthread_create asks of ld.so ---------------------------------------------------------

    def allocate(self, pointer: int) -> int:
        """_dl_allocate_tls: a DTV and the initial images for a thread whose pointer is given."""
        guest = self.guest
        if not pointer:
            return 0
        at = self._free.pop() if self._free else guest.services.allocate(_DTV * guest.word)
        guest.machine.write(at, guest.pack(2, *[0] * (_DTV - 1)))  # dtv[-1]: how many modules
        guest.write_word(pointer + self.dtv, at + 2 * guest.word)
        return self.initialise(pointer, 1)

    def initialise(self, pointer: int, _whole: int) -> int:
        """_dl_allocate_tls_init: the initial images, once more for a stack that is used again, whose DTV libc has emptied."""
        guest = self.guest
        if pointer:
            block = pointer + guest.tls_start & guest.machine.kernel.mask
            dtv = guest.read_word(pointer + self.dtv)
            # dtv[0]: generation; dtv[1]: our only module
            guest.machine.write(dtv, guest.pack(0, 0, block, 0))
            data = guest.machine.read(guest.anchor.tls_image, guest.anchor.tls_size)
            guest.machine.write(block, data)
        return pointer

    def deallocate(self, pointer: int, _block: int) -> int:
        """_dl_deallocate_tls: the memory of the block is in the stack, and stays."""
        guest = self.guest
        if pointer:
            at = guest.read_word(pointer + self.dtv) - 2 * guest.word
            if at not in self._free:
                self._free.append(at)
        return 0

    # -- _rtld_global_ro ------------------------------------------------------------------------------------

    def fill(self, auxv: int, hwcap: int, static: int, align: int) -> None:
        """The fields that libc reads: *auxv*: address of the auxiliary vector; *static*, *align*: of a thread's block."""
        guest, call = self.guest, self.machine.call
        order = guest.order
        ro, rw = self.structure("_rtld_global_ro"), self.structure("_rtld_global")
        found: dict[str, tuple[int, int]] = {}  # field -> (address, size)
        probe = _Probe(guest, *ro)
        word = guest.word
        found["pagesize"] = probe.words(lambda: call(self.function("getpagesize"))), word
        found["clktck"] = probe.cells(lambda: call(self.function("sysconf"), _SC_CLK_TCK)), 4
        minimum = probe.words(lambda: call(self.function("sysconf"), _SC_MINSIGSTKSZ))
        found["minsigstacksize"] = minimum, word
        found["hwcap"] = probe.words(lambda: call(self.function("getauxval"), AT_HWCAP)), word
        found["auxv"] = probe.pointers(lambda: call(self.function("getauxval"), UNKNOWN)), word
        values = {
            "pagesize": PAGE, "clktck": 100, "minsigstacksize": MINSIGSTKSZ.get(guest.arch.name, 2048), "hwcap": hwcap,
            "auxv": auxv,
        }  # fmt: skip
        results = guest.services.allocate(2 * word)
        for area in (ro, rw):
            probe = _Probe(guest, *area)
            get = self.function("_dl_get_tls_static_info")

            def both(get: int = get) -> int:
                guest.machine.write(results, bytes(2 * word))
                call(get, results, results + word)
                return guest.read_word(results)

            at = probe.words(both)
            if at:
                found["static"] = at, word
                found["align"] = (
                    probe.words(lambda: both() and guest.read_word(results + word)),
                    word,
                )
                break
        values |= {"static": static, "align": align}
        for name, value in values.items():
            at, size = found.get(name, (0, 0))
            if at:
                letter = {4: "I", 8: "Q"}[size]
                guest.machine.write(at, struct.pack(order + letter, value))
            elif name in ("pagesize", "static", "align"):
                raise Unsupported(
                    f"{self.interp.path}: --pure: there is no field {name} in its _rtld_global_ro where libc looks"
                )

    def link_map(self, functions: int) -> int:
        """A struct link_map for the program, of which libc reads DT_INIT_ARRAY: one function."""
        guest, word = self.guest, self.guest.word
        at = guest.services.allocate(PAGE)
        rows = at + PAGE - 8 * word
        guest.machine.write(
            rows, guest.pack(t.DT_INIT_ARRAY, rows + 4 * word, t.DT_INIT_ARRAYSZ, word, functions)
        )
        guest.write_word(at + word * (L_INFO + t.DT_INIT_ARRAY), rows)
        guest.write_word(at + word * (L_INFO + t.DT_INIT_ARRAYSZ), rows + 2 * word)
        where = self.structure("_rtld_global")
        guest.write_word(where[0], at)  # _dl_ns[LM_ID_BASE]._ns_loaded
        return at

    # -- x86-64 ---------------------------------------------------------------------------------------------

    def set_thresholds(self, resolvers: list[int]) -> None:
        """libc takes the limits of its string functions from ld.so's cpu_features; zeros would make memcpy run away.

        The IFUNC that copies them (``__x86_cacheinfo``) chooses nothing: its resolver returns 0.
        """
        guest, machine = self.guest, self.machine
        if guest.arch.name != "x86_64":
            return
        copier = next((r for r in resolvers if guest.ifuncs.get(r) == 0), None)
        features = machine.call(self.function("_dl_x86_get_cpu_features"), 0)
        ro = self.structure("_rtld_global_ro")
        if copier is None or not ro[0] <= features < sum(ro):
            raise Unsupported(
                f"{self.libc.path}: --pure: there is no __x86_cacheinfo where it is looked for"
            )
        before = machine.read(*ro)
        cells = (sum(ro) - features) // 8
        machine.write(features, struct.pack(f"<{cells}Q", *[_MARK + 256 * i for i in range(cells)]))
        machine.call(copier)
        machine.write(ro[0], before)
        seen = []
        for load in self.libc.file.loads:
            if load.flags & t.PF_W:
                data = machine.read(self.libc.base + load.vaddr & -8, load.memsz - 8 & -8)
                words = struct.unpack(f"<{len(data) // 8}Q", data)
                seen += [
                    (w - _MARK) // 256
                    for w in words
                    if _MARK <= w < _MARK + 256 * cells and not w % 256
                ]
        # In order: [data and shared cache size,] non_temporal, rep_movsb, rep_movsb_stop, rep_stosb
        chosen = sorted(set(seen))[-4:]
        for cell, value in zip(chosen, (0xC0000, 2048, 0xC0000, 2048), strict=False):
            machine.write(features + 8 * cell, struct.pack("<Q", value))
        machine.call(copier)


_MARK = 1 << 40


class _Probe:
    """Marks in a structure: which of them does a function return?"""

    def __init__(self, guest: PureGuest, start: int, size: int) -> None:
        self.guest = guest
        self.start = start
        self.size = size

    def _try(self, data: bytes, run: Any) -> int:
        machine = self.guest.machine
        before = machine.read(self.start, self.size)
        machine.write(self.start, data[: self.size].ljust(self.size, b"\0"))
        try:
            result: int = run()
        finally:
            machine.write(self.start, before)
        return result

    def words(self, run: Any) -> int:
        """The address of the word whose value is returned; 0 if it is none."""
        word = self.guest.word
        count = self.size // word
        result = self._try(self.guest.pack(*[0x5000 + i for i in range(count)]), run)
        index = (result & 0xFFFFFFFF) - 0x5000
        return self.start + word * index if 0 <= index < count else 0

    def cells(self, run: Any) -> int:
        """The same for an int."""
        count = self.size // 4
        data = struct.pack(f"{self.guest.order}{count}I", *[0x5000 + i for i in range(count)])
        index = (self._try(data, run) & 0xFFFFFFFF) - 0x5000
        return self.start + 4 * index if 0 <= index < count else 0

    def pointers(self, run: Any) -> int:
        """The address of the pointer to an auxiliary vector in which the value for UNKNOWN is looked up."""
        guest, word = self.guest, self.guest.word
        count = self.size // word
        table = b"".join([guest.pack(UNKNOWN, 0x5000 + i, 0, 0) for i in range(count)])
        at = guest.lend(table)
        data = guest.pack(*[at + 4 * word * i for i in range(count)])
        index = (self._try(data, run) & 0xFFFFFFFF) - 0x5000
        return self.start + word * index if 0 <= index < count else 0
