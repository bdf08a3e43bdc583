"""e_flags of MIPS that both ABIs have: which files do not go together."""

from __future__ import annotations

EF_MIPS_FP64 = 0x200
EF_MIPS_NAN2008 = 0x400


def compatible(main: int, library: int) -> str | None:
    """glibc: elf_machine_matches_host, sysdeps/mips/dl-machine.h."""
    if (main ^ library) & EF_MIPS_NAN2008:
        kind = "2008" if library & EF_MIPS_NAN2008 else "legacy"
        return f"{kind}-NaN encoding, the program's is the other one"
    if library & EF_MIPS_FP64:
        return "the old FP64 ABI, which is not supported"
    return None
