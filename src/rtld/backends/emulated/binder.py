"""What a lazy PLT has left in registers and on the stack when it jumps to the binder, CPU by CPU.

Each function returns the word of the global offset table that identifies the module, and the index of the function's record
in DT_JMPREL; it has undone what the PLT did, so that the function found can be jumped to with the caller's arguments. The
state at the binder's entry is that of ``Got.at_binder`` in ``rtld.arch`` (psABIs; glibc sysdeps/*/dl-trampoline.S).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rtld.backends.emulated.machine import Machine

REL32, RELA64 = 8, 24  # sizes of a record


def i386(m: Machine) -> tuple[int, int]:
    esp = m.engine.get("esp")
    m.engine.set("esp", esp + 8)
    return m.word(esp), m.word(esp + 4) // REL32


def x86_64(m: Machine) -> tuple[int, int]:
    rsp = m.engine.get("rsp")
    m.engine.set("rsp", rsp + 16)
    return m.word(rsp), m.word(rsp + 8)


def arm(m: Machine) -> tuple[int, int]:
    # ip = the slot, lr = &GOT[2], the caller's lr on the stack
    sp, slot, got2 = m.engine.get("sp"), m.engine.get("r12"), m.engine.get("lr")
    m.engine.set("lr", m.word(sp))
    m.engine.set("sp", sp + 4)
    return m.word(got2 - 4), (slot - got2 - 4) // 4


def aarch64(m: Machine) -> tuple[int, int]:
    # x16 = &GOT[2]; the slot and the caller's lr on the stack
    sp, got2 = m.engine.get("sp"), m.engine.get("x16")
    slot = m.word(sp)
    m.engine.set("x30", m.word(sp + 8))
    m.engine.set("sp", sp + 16)
    return m.word(got2 - 8), (slot - got2 - 8) // 8


def riscv64(m: Machine) -> tuple[int, int]:
    return m.engine.get("t0"), m.engine.get("t1") // 8


def s390x(m: Machine) -> tuple[int, int]:
    sp = m.engine.get("r15")
    return m.word(sp + 48), m.word(sp + 56) // RELA64


def mips(m: Machine) -> tuple[int, int]:
    # $15 = the caller's return address, $24 = the symbol's index; gp, the caller's, stands 0x7ff0 behind its table
    m.engine.set("ra", m.engine.get("t7"))
    return m.word(m.engine.get("gp") - 0x7FF0 + m.cpu.bits // 8), m.engine.get("t8")


#: CPU -> function.
ENTRIES: dict[str, Callable[[Machine], tuple[int, int]]] = {
    function.__name__: function for function in (i386, x86_64, arm, aarch64, riscv64, s390x)
}
ENTRIES |= {"mips64el": mips, "mipsel": mips}
