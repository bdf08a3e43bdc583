"""Constants of PE/COFF, with Microsoft's names ("PE Format", learn.microsoft.com; winnt.h; ntstatus.h; winerror.h)."""

from __future__ import annotations

# fmt: off
IMAGE_DOS_SIGNATURE = b"MZ"
IMAGE_NT_SIGNATURE  = b"PE\0\0"
PE32, PE32_PLUS     = 0x10B, 0x20B

#: IMAGE_FILE_MACHINE_* -> (name of the CPU in rtld.arch, bits)
MACHINES = {
    0x014C: ("i386",    32),
    0x8664: ("x86_64",  64),
    0xAA64: ("aarch64", 64),
    0x01C4: ("arm",     32),  # ARMNT: Thumb-2
}
MACHINE_NAMES = {
    0x014C: "I386", 0x8664: "AMD64", 0xAA64: "ARM64", 0x01C4: "ARMNT", 0x01C0: "ARM", 0x01C2: "THUMB",
    0x0200: "IA64", 0xA641: "ARM64EC", 0xA64E: "ARM64X", 0x0EBC: "EBC", 0x0166: "R4000", 0x01F0: "POWERPC",
    0x5032: "RISCV32", 0x5064: "RISCV64", 0x6232: "LOONGARCH32", 0x6264: "LOONGARCH64",
}

# IMAGE_FILE_HEADER.Characteristics
IMAGE_FILE_RELOCS_STRIPPED     = 0x0001
IMAGE_FILE_EXECUTABLE_IMAGE    = 0x0002
IMAGE_FILE_LARGE_ADDRESS_AWARE = 0x0020
IMAGE_FILE_DLL                 = 0x2000

# IMAGE_OPTIONAL_HEADER.DllCharacteristics
IMAGE_DLLCHARACTERISTICS_DYNAMIC_BASE = 0x0040
IMAGE_DLLCHARACTERISTICS_NX_COMPAT    = 0x0100
IMAGE_DLLCHARACTERISTICS_NO_ISOLATION = 0x0200
IMAGE_DLLCHARACTERISTICS_NO_SEH       = 0x0400
IMAGE_DLLCHARACTERISTICS_NO_BIND      = 0x0800

# data directories
EXPORT, IMPORT, RESOURCE, EXCEPTION, SECURITY, BASERELOC, DEBUG, ARCHITECTURE = range(8)
GLOBALPTR, TLS, LOAD_CONFIG, BOUND_IMPORT, IAT, DELAY_IMPORT, COM_DESCRIPTOR  = range(8, 15)
DIRECTORY_NAMES = (
    "export", "import", "resource", "exception", "security", "base relocation", "debug", "architecture",
    "global pointer", "TLS", "load config", "bound import", "IAT", "delay import", "COM descriptor", "reserved",
)

# section characteristics
IMAGE_SCN_MEM_EXECUTE = 0x20000000
IMAGE_SCN_MEM_READ    = 0x40000000
IMAGE_SCN_MEM_WRITE   = 0x80000000

# base relocations
IMAGE_REL_BASED_ABSOLUTE = 0
IMAGE_REL_BASED_HIGH     = 1
IMAGE_REL_BASED_LOW      = 2
IMAGE_REL_BASED_HIGHLOW  = 3
IMAGE_REL_BASED_HIGHADJ  = 4
IMAGE_REL_BASED_DIR64    = 10
BASED_NAMES = {
    0: "IMAGE_REL_BASED_ABSOLUTE", 1: "IMAGE_REL_BASED_HIGH", 2: "IMAGE_REL_BASED_LOW", 3: "IMAGE_REL_BASED_HIGHLOW",
    4: "IMAGE_REL_BASED_HIGHADJ",
    10: "IMAGE_REL_BASED_DIR64",
}

RT_MANIFEST = 24

# DllMain reasons
DLL_PROCESS_DETACH, DLL_PROCESS_ATTACH, DLL_THREAD_ATTACH, DLL_THREAD_DETACH = range(4)

# LoadLibraryEx
DONT_RESOLVE_DLL_REFERENCES         = 0x00000001
LOAD_LIBRARY_AS_DATAFILE            = 0x00000002
LOAD_WITH_ALTERED_SEARCH_PATH       = 0x00000008
LOAD_LIBRARY_AS_IMAGE_RESOURCE      = 0x00000020
LOAD_LIBRARY_AS_DATAFILE_EXCLUSIVE  = 0x00000040
LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR    = 0x00000100
LOAD_LIBRARY_SEARCH_APPLICATION_DIR = 0x00000200
LOAD_LIBRARY_SEARCH_USER_DIRS       = 0x00000400
LOAD_LIBRARY_SEARCH_SYSTEM32        = 0x00000800
LOAD_LIBRARY_SEARCH_DEFAULT_DIRS    = 0x00001000

#: Win32 error -> (name, what it means to a loader)
ERRORS = {
    2:    ("ERROR_FILE_NOT_FOUND",        "the file does not exist"),
    6:    ("ERROR_INVALID_HANDLE",        "the handle is not a loaded module"),
    87:   ("ERROR_INVALID_PARAMETER",     "a flag or argument is not allowed"),
    120:  ("ERROR_CALL_NOT_IMPLEMENTED",  "the function is not supplied"),
    126:  ("ERROR_MOD_NOT_FOUND",         "the DLL, or one that it needs, was not found"),
    127:  ("ERROR_PROC_NOT_FOUND",        "the DLL does not export that name or ordinal"),
    182:  ("ERROR_INVALID_ORDINAL",       "the DLL does not export that ordinal"),
    193:  ("ERROR_BAD_EXE_FORMAT",        "the file is no PE image, or is one for another CPU"),
    487:  ("ERROR_INVALID_ADDRESS",       "the image cannot be placed at that address"),
    998:  ("ERROR_NOACCESS",              "its DllMain used memory that is not there"),
    1114: ("ERROR_DLL_INIT_FAILED",       "its DllMain returned FALSE"),
    1157: ("ERROR_DLL_NOT_FOUND",         "a DLL that is needed was not found"),
}
STATUS_DLL_NOT_FOUND        = 0xC0000135
STATUS_ORDINAL_NOT_FOUND    = 0xC0000138
STATUS_ENTRYPOINT_NOT_FOUND = 0xC0000139
STATUS_DLL_INIT_FAILED      = 0xC0000142
STATUS_INVALID_IMAGE_FORMAT = 0xC000007B
STATUS_CONFLICTING_ADDRESSES = 0xC0000018
#: NTSTATUS -> Win32 error, as RtlNtStatusToDosError has it.
DOS_ERRORS = {
    STATUS_DLL_NOT_FOUND: 126, STATUS_ORDINAL_NOT_FOUND: 182, STATUS_ENTRYPOINT_NOT_FOUND: 127,
    STATUS_DLL_INIT_FAILED: 1114, STATUS_INVALID_IMAGE_FORMAT: 193, STATUS_CONFLICTING_ADDRESSES: 487,
    0: 0, 0xC0000005: 998, 0xC0000094: 534, 0xC00000FD: 1001,
}
_CUSTOMER = 1 << 29  # the status is none of Microsoft's
ERROR_MR_MID_NOT_FOUND = 317
# fmt: on


def dos_error(status: int) -> int:
    """RtlNtStatusToDosError."""
    return status if status & _CUSTOMER else DOS_ERRORS.get(status, ERROR_MR_MID_NOT_FOUND)


def machine_name(machine: int) -> str:
    """IMAGE_FILE_MACHINE_* in words."""
    return MACHINE_NAMES.get(machine, f"machine {machine:#x}")
