"""The registers of each emulated CPU as gdb wants them, and the target description that says so (gdb's manual, G.5).

A row is one register: gdb's name, its bits, gdb's type, and the engine's name for it where that is another one. What the
engine has no register for is shown as 0 (name ``-``).
"""

from __future__ import annotations

from typing import NamedTuple


class Register(NamedTuple):
    """One register; ``source``: the engine's name, "-" for none."""

    name: str
    bits: int
    type: str
    source: str


class Feature(NamedTuple):
    """One of gdb's standard features with its registers, in its order."""

    name: str
    registers: tuple[Register, ...]


class Description(NamedTuple):
    """A CPU: gdb's name for it, features."""

    architecture: str
    features: tuple[Feature, ...]

    @property
    def registers(self) -> tuple[Register, ...]:
        """All, in the order of the ``g`` packet; a register's place here is its number."""
        return tuple(register for feature in self.features for register in feature.registers)

    def xml(self) -> str:
        """The target description, for ``qXfer:features:read``."""
        lines = [
            '<?xml version="1.0"?>',
            '<!DOCTYPE target SYSTEM "gdb-target.dtd">',
            "<target>",
            f"<architecture>{self.architecture}</architecture>",
            "<osabi>GNU/Linux</osabi>",
        ]
        for feature in self.features:
            lines.append(f'<feature name="{feature.name}">')
            lines += [
                f'<reg name="{r.name}" bitsize="{r.bits}" type="{r.type}"/>'
                for r in feature.registers
            ]
            lines.append("</feature>")
        return "\n".join([*lines, "</target>", ""])


def _rows(names: str, bits: int, kind: str = "int", sources: str = "") -> tuple[Register, ...]:
    """Registers of one kind; *sources* in the same order where the engine names them otherwise."""
    listed = names.split()
    engine = sources.split() or listed
    assert len(listed) == len(engine)
    return tuple(
        Register(name, bits, kind, source) for name, source in zip(listed, engine, strict=True)
    )


def _numbered(letter: str, first: int, last: int) -> str:
    return " ".join(f"{letter}{i}" for i in range(first, last + 1))


# fmt: off
_X87 = (
    *_rows(_numbered("st", 0, 7), 80, "i387_ext", _numbered("st", 0, 7)),
    *_rows("fctrl fstat ftag fiseg fioff foseg fooff fop", 32, "int", "fpcw fpsw fptag fcs fip fds fdp fop"),
)

DESCRIPTIONS = {
    "i386": Description("i386", (
        Feature("org.gnu.gdb.i386.core", (
            *_rows("eax ecx edx ebx", 32), *_rows("esp ebp", 32, "data_ptr"), *_rows("esi edi", 32),
            *_rows("eip", 32, "code_ptr"), *_rows("eflags cs ss ds es fs gs", 32), *_X87)),
        Feature("org.gnu.gdb.i386.sse", (
            *_rows(_numbered("xmm", 0, 7), 128, "uint128"), *_rows("mxcsr", 32))),
        Feature("org.gnu.gdb.i386.linux", _rows("orig_eax", 32, "int", "-")),
    )),
    "x86_64": Description("i386:x86-64", (
        Feature("org.gnu.gdb.i386.core", (
            *_rows("rax rbx rcx rdx rsi rdi", 64), *_rows("rbp rsp", 64, "data_ptr"),
            *_rows(_numbered("r", 8, 15), 64), *_rows("rip", 64, "code_ptr"),
            *_rows("eflags cs ss ds es fs gs", 32), *_X87)),
        Feature("org.gnu.gdb.i386.sse", (
            *_rows(_numbered("xmm", 0, 15), 128, "uint128"), *_rows("mxcsr", 32))),
        Feature("org.gnu.gdb.i386.linux", _rows("orig_rax", 64, "int", "-")),
        Feature("org.gnu.gdb.i386.segments", _rows("fs_base gs_base", 64)),
    )),
    "arm": Description("arm", (
        Feature("org.gnu.gdb.arm.core", (
            *_rows(_numbered("r", 0, 12), 32, "uint32"), *_rows("sp", 32, "data_ptr"), *_rows("lr", 32),
            *_rows("pc", 32, "code_ptr"), *_rows("cpsr", 32))),
        Feature("org.gnu.gdb.arm.vfp", (
            *_rows(_numbered("d", 0, 31), 64, "ieee_double"), *_rows("fpscr", 32))),
    )),
    "aarch64": Description("aarch64", (
        Feature("org.gnu.gdb.aarch64.core", (
            *_rows(_numbered("x", 0, 30), 64), *_rows("sp", 64, "data_ptr"), *_rows("pc", 64, "code_ptr"),
            *_rows("cpsr", 32, "int", "nzcv"))),
        Feature("org.gnu.gdb.aarch64.fpu", (
            *_rows(_numbered("v", 0, 31), 128, "uint128"), *_rows("fpsr fpcr", 32))),
    )),
    "riscv64": Description("riscv:rv64", (
        Feature("org.gnu.gdb.riscv.cpu", (
            *_rows("zero ra sp gp tp t0 t1 t2 fp s1", 64, "int", "zero ra sp gp tp t0 t1 t2 s0 s1"),
            *_rows(_numbered("a", 0, 7), 64), *_rows(_numbered("s", 2, 11), 64), *_rows(_numbered("t", 3, 6), 64),
            *_rows("pc", 64, "code_ptr"))),
        Feature("org.gnu.gdb.riscv.fpu", (
            *_rows(_numbered("ft", 0, 7), 64, "ieee_double"), *_rows("fs0 fs1", 64, "ieee_double"),
            *_rows(_numbered("fa", 0, 7), 64, "ieee_double"), *_rows(_numbered("fs", 2, 11), 64, "ieee_double"),
            *_rows(_numbered("ft", 8, 11), 64, "ieee_double"), *_rows("fflags frm fcsr", 32))),
    )),
    "s390x": Description("s390:64-bit", (
        Feature("org.gnu.gdb.s390.core", (
            *_rows("pswm pswa", 64, "int", "pswm pc"), *_rows(_numbered("r", 0, 15), 64))),
        Feature("org.gnu.gdb.s390.acr", _rows(_numbered("acr", 0, 15), 32, "int", _numbered("a", 0, 15))),
        Feature("org.gnu.gdb.s390.fpr", (
            *_rows("fpc", 32), *_rows(_numbered("f", 0, 15), 64, "ieee_double"))),
    )),
}
# fmt: on
