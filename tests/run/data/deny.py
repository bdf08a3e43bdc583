"""deny.py NAME[,NAME...] COMMAND...: run a command where these system calls fail with EPERM (seccomp(2), x86-64)."""

import ctypes
import os
import struct
import sys

NUMBERS = {"ptrace": 101, "memfd_create": 319, "process_vm_writev": 311}
PRCTL, PR_SET_MM = 157, 35
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD, JUMP_EQUAL, RETURN = (
    0x20,
    0x15,
    0x06,
)  # BPF_LD | BPF_W | BPF_ABS, BPF_JMP | BPF_JEQ | BPF_K, BPF_RET | BPF_K
ALLOW, EPERM = 0x7FFF0000, 0x00050001
X86_64 = 0xC000003E  # AUDIT_ARCH_X86_64


def rules(names: list[str]) -> list[tuple[int, int, int, int]]:
    """The filter: (operation, jump if true, jump if false, operand); offsets are those of struct seccomp_data."""
    rows = [(LOAD, 0, 0, 4), (JUMP_EQUAL, 1, 0, X86_64), (RETURN, 0, 0, ALLOW), (LOAD, 0, 0, 0)]
    for name in names:
        if name in NUMBERS:
            rows += [(JUMP_EQUAL, 0, 1, NUMBERS[name]), (RETURN, 0, 0, EPERM)]
    if "pr_set_mm" in names:
        rows += [(JUMP_EQUAL, 0, 3, PRCTL), (LOAD, 0, 0, 16)]
        rows += [(JUMP_EQUAL, 0, 1, PR_SET_MM), (RETURN, 0, 0, EPERM)]
    return [*rows, (RETURN, 0, 0, ALLOW)]


def main() -> None:
    """Set the filter, become the command."""
    rows = rules(sys.argv[1].split(","))
    code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *row) for row in rows))
    program = ctypes.create_string_buffer(
        struct.pack("<HxxxxxxQ", len(rows), ctypes.addressof(code))
    )
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)
    for call in (
        (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(program), 0, 0),
    ):
        if libc.prctl(*call):
            sys.exit(os.strerror(ctypes.get_errno()))
    os.execvp(sys.argv[2], sys.argv[2:])


main()
