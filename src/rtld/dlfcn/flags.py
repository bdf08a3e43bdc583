"""The flags of <dlfcn.h>: glibc's numbers, QNX's for what only QNX has; RTLD_FIRST (Solaris, macOS) has one of our own."""

from __future__ import annotations

# fmt: off
RTLD_LAZY     = 0x0001   # functions may be bound at their first call, and be undefined until then
RTLD_NOW      = 0x0002   # everything is bound before dlopen returns
RTLD_NOLOAD   = 0x0004   # only if it is loaded already
RTLD_DEEPBIND = 0x0008   # the library's own group before the global scope
RTLD_GLOBAL   = 0x0100   # its symbols are offered to what is loaded later
RTLD_LOCAL    = 0x0000
RTLD_GROUP    = 0x0400   # QNX: its references are looked up in its own group
RTLD_WORLD    = 0x0800   # QNX: its references are looked up among the global objects
RTLD_NODELETE = 0x1000   # never unloaded
RTLD_NOSHARE  = 0x2000   # QNX: a copy of its own, even if it is loaded already
RTLD_LAZYLOAD = 0x4000   # QNX: what it needs is loaded when a symbol of it is first needed
RTLD_FIRST    = 0x8000   # look-up by this handle is in the library itself, not in what it needs
LOCAL_QNX     = 0x0200   # RTLD_LOCAL as QNX spells it

RTLD_DEFAULT, RTLD_NEXT, RTLD_SELF = 0, -1, -3

KNOWN = 0xFF0F
# fmt: on
