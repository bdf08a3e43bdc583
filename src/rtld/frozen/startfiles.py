"""What the compiler's start files put into every library, and what of it there is to do.

crti.o and crtbegin.o give each library an _init (calls __gmon_start__ if there is one), a frame_dummy (registers clones for
transactional memory, if there are any), a _fini that does nothing, and a __do_global_dtors_aux, which calls __cxa_finalize
once. Running them touches five pages of each library at every start and end. Where the code is, byte for byte, one of
these (glibc sysdeps/x86_64/crti.S, gcc libgcc/crtstuff.c) and its operands say that nothing is to be done, it is left out;
of __do_global_dtors_aux the call stays, from one page for all libraries.
"""

from __future__ import annotations

import re

from rtld.elf.relocate import read_memory
from rtld.errors import FormatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.core.module import Module

_ENDBR = rb"(?:\xf3\x0f\x1e\xfa)?"
_D = rb"(.{4})"  # a displacement from the next instruction


def _code(text: bytes) -> re.Pattern[bytes]:
    return re.compile(_ENDBR + text, re.DOTALL)


# fmt: off
_INIT = _code(                       # _init
    rb"\x48\x83\xec\x08"             # sub  $8,%rsp
    rb"\x48\x8b\x05" + _D +          # mov  __gmon_start__@GOT,%rax
    rb"\x48\x85\xc0\x74\x02\xff\xd0" # test %rax,%rax; je 1f; call *%rax
    rb"\x48\x83\xc4\x08\xc3")        # 1: add $8,%rsp; ret
_FINI = _code(                       # _fini
    rb"\x48\x83\xec\x08\x48\x83\xc4\x08\xc3")
_FRAME_DUMMY = _code(                # frame_dummy
    rb"\xe9" + _D)                   # jmp  register_tm_clones
_REGISTER = _code(                   # register_tm_clones: nothing if the list's end is its beginning
    rb"\x48\x8d\x3d" + _D +          # lea  __TMC_END__,%rdi
    rb"\x48\x8d\x35" + _D +          # lea  __TMC_LIST__,%rsi
    rb"\x48\x29\xfe\x48\x89\xf0\x48\xc1\xee\x3f\x48\xc1\xf8\x03\x48\x01\xc6\x48\xd1\xfe\x74\x14")
_DEREGISTER = _code(                 # deregister_tm_clones
    rb"\x48\x8d\x3d" + _D +          # lea  __TMC_LIST__,%rdi
    rb"\x48\x8d\x05" + _D +          # lea  __TMC_END__,%rax
    rb"\x48\x39\xf8\x74\x15")        # cmp  %rdi,%rax; je
_DTORS = _code(                      # __do_global_dtors_aux
    rb"\x80\x3d" + _D + rb"\x00"     # cmpb $0,completed
    rb"\x75\x2b\x55"                 # jne  2f; push %rbp
    rb"\x48\x83\x3d" + _D + rb"\x00" # cmpq $0,__cxa_finalize@GOT
    rb"\x48\x89\xe5\x74\x0c"         # mov  %rsp,%rbp; je 1f
    rb"\x48\x8b\x3d" + _D +          # mov  __dso_handle,%rdi
    rb"\xe8" + _D +                  # call __cxa_finalize@PLT
    rb"\xe8" + _D +                  # 1: call deregister_tm_clones
    rb"\xc6\x05" + _D + rb"\x01\x5d\xc3")
_PLT = _code(rb"(?:\xf2)?\xff\x25" + _D)  # jmp  *slot
# fmt: on
_LONGEST = 64


def _bytes(module: Module, address: int) -> bytes:
    """The code at an address, as much as the longest pattern wants or there is."""
    vaddr = address - module.base
    for load in module.file.loads:
        if load.vaddr <= vaddr < load.vaddr + load.filesz:
            size = min(_LONGEST, load.vaddr + load.filesz - vaddr)
            return bytes(read_memory(module, vaddr, size))
    return b""


def _target(found: re.Match[bytes], group: int, address: int, rest: int = 0) -> int:
    """Where displacement *group* leads; *rest*: bytes of the instruction behind it."""
    displacement = int.from_bytes(found[group], "little", signed=True)
    return address + found.end(group) + rest + displacement


def _word(module: Module, address: int, size: int = 8) -> int:
    try:
        return int.from_bytes(bytes(read_memory(module, address - module.base, size)), "little")
    except FormatError:
        return -1  # outside the module: nothing that is known


def does_nothing(module: Module, address: int) -> bool:
    """Whether an initialiser or termination function is one of the start files' and has nothing to do."""
    code = _bytes(module, address)
    found = _INIT.match(code)
    if found:
        return _word(module, _target(found, 1, address)) == 0
    if _FINI.match(code):
        return True
    found = _FRAME_DUMMY.match(code)
    if found:
        other = _target(found, 1, address)
        return _is_empty_list(_REGISTER.match(_bytes(module, other)), other)
    return False


def _is_empty_list(found: re.Match[bytes] | None, address: int) -> bool:
    return found is not None and _target(found, 1, address) == _target(found, 2, address)


def finalize_only(module: Module, address: int, finalize: int) -> int | None:
    """The handle, if the termination function does nothing but ``__cxa_finalize(handle)``, which is at *finalize*."""
    found = _DTORS.match(_bytes(module, address))
    if found is None:
        return None
    completed, slot = _target(found, 1, address, 1), _target(found, 2, address, 1)
    plt, clones = _target(found, 4, address), _target(found, 5, address)
    if _word(module, completed, 1) != 0 or _word(module, slot) != finalize:
        return None
    jump = _PLT.match(_bytes(module, plt))
    if jump is None or _word(module, _target(jump, 1, plt)) != finalize:
        return None
    if not _is_empty_list(_DEREGISTER.match(_bytes(module, clones)), clones):
        return None
    return _word(module, _target(found, 3, address))
