"""ELF constants, spelled as in <elf.h> (System V gABI 4.1, chapters 4 and 5; GNU extensions)."""
# Plain integers, not enums: this module is on the start path of every command.

from __future__ import annotations

# fmt: off
# e_ident
ELFMAG        = b"\x7fELF"
ELFCLASS32    = 1
ELFCLASS64    = 2
ELFDATA2LSB   = 1
ELFDATA2MSB   = 2
EV_CURRENT    = 1
ELFOSABI_NONE = 0
ELFOSABI_GNU  = 3

# e_type
ET_REL  = 1
ET_EXEC = 2
ET_DYN  = 3
ET_CORE = 4

# e_machine
EM_386         = 3
EM_MIPS        = 8
EM_PPC         = 20
EM_PPC64       = 21
EM_S390        = 22
EM_ARM         = 40
EM_SPARCV9     = 43
EM_X86_64      = 62
EM_AARCH64     = 183
EM_RISCV       = 243
EM_LOONGARCH   = 258

# p_type
PT_NULL            = 0
PT_LOAD            = 1
PT_DYNAMIC         = 2
PT_INTERP          = 3
PT_NOTE            = 4
PT_SHLIB           = 5
PT_PHDR            = 6
PT_TLS             = 7
PT_GNU_EH_FRAME    = 0x6474E550
PT_GNU_STACK       = 0x6474E551
PT_GNU_RELRO       = 0x6474E552
PT_GNU_PROPERTY    = 0x6474E553
PT_ARM_EXIDX       = 0x70000001

# p_flags
PF_X = 1
PF_W = 2
PF_R = 4

# d_tag
DT_NULL            = 0
DT_NEEDED          = 1
DT_PLTRELSZ        = 2
DT_PLTGOT          = 3
DT_HASH            = 4
DT_STRTAB          = 5
DT_SYMTAB          = 6
DT_RELA            = 7
DT_RELASZ          = 8
DT_RELAENT         = 9
DT_STRSZ           = 10
DT_SYMENT          = 11
DT_INIT            = 12
DT_FINI            = 13
DT_SONAME          = 14
DT_RPATH           = 15
DT_SYMBOLIC        = 16
DT_REL             = 17
DT_RELSZ           = 18
DT_RELENT          = 19
DT_PLTREL          = 20
DT_DEBUG           = 21
DT_TEXTREL         = 22
DT_JMPREL          = 23
DT_BIND_NOW        = 24
DT_INIT_ARRAY      = 25
DT_FINI_ARRAY      = 26
DT_INIT_ARRAYSZ    = 27
DT_FINI_ARRAYSZ    = 28
DT_RUNPATH         = 29
DT_FLAGS           = 30
DT_PREINIT_ARRAY   = 32
DT_PREINIT_ARRAYSZ = 33
DT_SYMTAB_SHNDX    = 34
DT_RELRSZ          = 35
DT_RELR            = 36
DT_RELRENT         = 37
DT_ANDROID_REL     = 0x6000000F
DT_ANDROID_RELSZ   = 0x60000010
DT_ANDROID_RELA    = 0x60000011
DT_ANDROID_RELASZ  = 0x60000012
DT_ANDROID_RELR    = 0x6FFFE000
DT_ANDROID_RELRSZ  = 0x6FFFE001
DT_ANDROID_RELRENT = 0x6FFFE003
DT_GNU_HASH        = 0x6FFFFEF5
DT_TLSDESC_PLT     = 0x6FFFFEF6
DT_TLSDESC_GOT     = 0x6FFFFEF7
DT_CONFIG          = 0x6FFFFEFA
DT_DEPAUDIT        = 0x6FFFFEFB
DT_AUDIT           = 0x6FFFFEFC
DT_VERSYM          = 0x6FFFFFF0
DT_RELACOUNT       = 0x6FFFFFF9
DT_RELCOUNT        = 0x6FFFFFFA
DT_FLAGS_1         = 0x6FFFFFFB
DT_VERDEF          = 0x6FFFFFFC
DT_VERDEFNUM       = 0x6FFFFFFD
DT_VERNEED         = 0x6FFFFFFE
DT_VERNEEDNUM      = 0x6FFFFFFF
DT_POSFLAG_1       = 0x6FFFFDFD  # Solaris, QNX: about the entry that follows
DT_AUXILIARY       = 0x7FFFFFFD
DT_FILTER          = 0x7FFFFFFF
DT_MIPS_RLD_VERSION  = 0x70000001
DT_MIPS_FLAGS        = 0x70000005
DT_MIPS_BASE_ADDRESS = 0x70000006
DT_MIPS_LOCAL_GOTNO  = 0x7000000A
DT_MIPS_SYMTABNO     = 0x70000011
DT_MIPS_UNREFEXTNO   = 0x70000012
DT_MIPS_GOTSYM       = 0x70000013
DT_MIPS_HIPAGENO     = 0x70000014
DT_MIPS_RLD_MAP      = 0x70000016
DT_MIPS_PLTGOT       = 0x70000032
DT_MIPS_RLD_MAP_REL  = 0x70000035
DT_MIPS_XHASH        = 0x70000036
DT_PPC64_GLINK       = 0x70000000
DT_PPC64_OPT         = 0x70000003
DT_AARCH64_VARIANT_PCS = 0x70000005

# DT_FLAGS
DF_ORIGIN     = 1
DF_SYMBOLIC   = 2
DF_TEXTREL    = 4
DF_BIND_NOW   = 8
DF_STATIC_TLS = 0x10

# DT_FLAGS_1
DF_1_NOW       = 0x1
DF_1_GLOBAL    = 0x2
DF_1_GROUP     = 0x4
DF_1_NODELETE  = 0x8
DF_1_LOADFLTR  = 0x10
DF_1_INITFIRST = 0x20
DF_1_NOOPEN    = 0x40
DF_1_ORIGIN    = 0x80
DF_1_DIRECT    = 0x100
DF_1_INTERPOSE = 0x400
DF_1_NODEFLIB  = 0x800
DF_1_PIE       = 0x08000000

DF_P1_LAZYLOAD = 0x1  # of DT_POSFLAG_1: loaded when a symbol of it is first needed

# symbols
STB_LOCAL      = 0
STB_GLOBAL     = 1
STB_WEAK       = 2
STB_GNU_UNIQUE = 10
STT_NOTYPE     = 0
STT_OBJECT     = 1
STT_FUNC       = 2
STT_SECTION    = 3
STT_FILE       = 4
STT_COMMON     = 5
STT_TLS        = 6
STT_GNU_IFUNC  = 10
STV_DEFAULT    = 0
STV_INTERNAL   = 1
STV_HIDDEN     = 2
STV_PROTECTED  = 3
SHN_UNDEF      = 0
SHN_ABS        = 0xFFF1
SHN_COMMON     = 0xFFF2
SHN_XINDEX     = 0xFFFF

# versions
VER_FLG_BASE   = 1
VER_FLG_WEAK   = 2
VER_NDX_LOCAL  = 0
VER_NDX_GLOBAL = 1
VERSYM_HIDDEN  = 0x8000

# notes
NT_GNU_ABI_TAG         = 1
NT_GNU_BUILD_ID        = 3
NT_GNU_PROPERTY_TYPE_0 = 5
NT_FDO_DLOPEN_METADATA = 0x407C0C0A
# fmt: on

MACHINE_NAMES = {
    EM_386: "Intel 80386",
    EM_MIPS: "MIPS",
    EM_PPC: "PowerPC",
    EM_PPC64: "PowerPC64",
    EM_S390: "IBM S/390",
    EM_ARM: "ARM",
    EM_SPARCV9: "SPARC v9",
    EM_X86_64: "x86-64",
    EM_AARCH64: "AArch64",
    EM_RISCV: "RISC-V",
    EM_LOONGARCH: "LoongArch",
}
TYPE_NAMES = {ET_REL: "ET_REL", ET_EXEC: "ET_EXEC", ET_DYN: "ET_DYN", ET_CORE: "ET_CORE"}


def machine_name(machine: int) -> str:
    """The CPU's name as readelf writes it, or its number."""
    return MACHINE_NAMES.get(machine, f"machine {machine}")
