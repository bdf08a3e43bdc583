"""Which definition answers a reference: the rules of FreeBSD, Android and QNX, over columns and for one name in words.

FreeBSD (libexec/rtld-elf/rtld.c, matched_symbol): glibc's, but that an undefined symbol with a value only stands for a function.
bionic (linker_soinfo.cpp, check_symbol_version; linker.cpp, find_verdef_version_index): a version that the library defines has to
be that of the symbol; one that it does not define means its unversioned symbols (index 1). Without a version any symbol that is
not hidden. Undefined symbols and STB_GNU_UNIQUE ones are never definitions.
QNX (6.4 to 7): no versions, no IFUNCs; what is not STB_GLOBAL only counts when nobody has better.

Where a libc of another system is in the process (``Namespace.host_model``) its own rules decide about it.
"""

from __future__ import annotations

import numpy as np

from rtld.elf import types as t
from rtld.elf.lookup import PLT, _accept_glibc, _accept_musl
from rtld.elf.models import is_qnx
from rtld.elf.tables import tables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rtld.core.module import Module, Namespace
    from rtld.elf.explain import Answer, Reference, Symbol
    from rtld.elf.flat import I64, Bool
    from rtld.elf.lookup import Candidates, Columns, Wanted

    Accept = Callable[[Candidates, Wanted, I64, I64, int], tuple[Bool, Bool]]


def acceptor(ns: Namespace, columns: Columns) -> Accept | None:
    """The rule of a namespace, where it is none of the two that ``lookup.py`` has."""
    own: Accept
    if ns.model == "freebsd":
        own = _accept_freebsd
    elif ns.model == "bionic":
        own = _bionic(columns)
    elif is_qnx(ns.model):
        own = _accept_qnx
    elif ns.host_model in ("", ns.model):
        return None
    else:
        own = _accept_musl if ns.model == "musl" else _accept_glibc
    if ns.host_model in ("", ns.model):
        return own
    return _mixed(own, np.array([m.hosted for m in columns.modules], np.bool_))


def _mixed(own: Accept, hosted: Bool) -> Accept:
    """*own*, but for the modules of the host, which are glibc's."""

    def accept(c: Candidates, w: Wanted, row: I64, at: I64, main: int) -> tuple[Bool, Bool]:
        theirs = hosted[c.module[at]]
        taken, slow = own(c, w, row, at, main)
        host_taken, host_slow = _accept_glibc(c, w, row, at, main)
        return np.where(theirs, host_taken, taken), np.where(theirs, host_slow, slow)

    return accept


def _accept_freebsd(c: Candidates, w: Wanted, row: I64, at: I64, main: int) -> tuple[Bool, Bool]:
    taken, slow = _accept_glibc(c, w, row, at, main)
    kind = c.info[at] & np.uint32(15)
    defined = (c.section[at] != t.SHN_UNDEF) | (kind == t.STT_FUNC)
    return taken & defined, slow & defined


def _bionic(columns: Columns) -> Accept:
    """bionic's rule; it has to know which versions each library defines."""
    width = len(columns.version_names) + 1
    pairs = [
        number * width + columns.version_number(version.name)
        for number, module in enumerate(columns.modules)
        for version in tables(module.file).verdefs
        if not version.base
    ]
    known = np.array(sorted([*pairs, -1]), np.int64)

    def accept(c: Candidates, w: Wanted, row: I64, at: I64, main: int) -> tuple[Bool, Bool]:
        del main
        raw, wanted = c.raw[at], w.version[row]
        key = c.module[at] * width + wanted
        place = np.minimum(np.searchsorted(known, key), len(known) - 1)
        defines = known[place] == key
        versioned = np.where(defines, c.version[at] == wanted, raw & 0x7FFF == 1)
        fits = (raw < 0) | np.where(wanted != 0, versioned, raw & 0x8000 == 0)
        bind = c.info[at] >> np.uint32(4)
        offered = (bind == t.STB_GLOBAL) | (bind == t.STB_WEAK)
        taken = c.usable[at] & (c.section[at] != t.SHN_UNDEF) & offered & fits
        return taken, np.zeros(len(at), np.bool_)

    return accept


def _accept_qnx(c: Candidates, w: Wanted, row: I64, at: I64, main: int) -> tuple[Bool, Bool]:
    del main
    kind = c.info[at] & np.uint32(15)
    stands = (w.kind[row] != PLT) & (kind == t.STT_FUNC)
    taken = c.usable[at] & (kind != t.STT_GNU_IFUNC) & ((c.section[at] != t.SHN_UNDEF) | stands)
    return taken, np.zeros(len(at), np.bool_)


# -- in words ---------------------------------------------------------------------------------------


def model_for(ns: Namespace, module: Module) -> str:
    """Whose rules decide about a module's definitions."""
    return ns.host_model if ns.host_model and module.hosted else ns.model


def judge_early(model: str, reference: Reference, symbol: Symbol) -> str | None:
    """Why bionic or QNX refuses a definition that glibc would look at; None when it does not."""
    if model == "bionic":
        if symbol.section == t.SHN_UNDEF:
            return "undefined here: bionic takes no PLT entry for a function"
        if symbol.bind == t.STB_GNU_UNIQUE:
            return "bionic does not know STB_GNU_UNIQUE"
    elif is_qnx(model) and symbol.type == t.STT_GNU_IFUNC:
        return "QNX has no IFUNC"
    elif model == "freebsd" and symbol.section == t.SHN_UNDEF and symbol.type != t.STT_FUNC:
        return "undefined here"
    del reference
    return None


def judge_version(model: str, reference: Reference, symbol: Symbol) -> tuple[bool, str]:
    """bionic's and QNX's comparison of versions."""
    wanted = reference.version
    if is_qnx(model):
        return True, "QNX does not compare versions" if wanted else ""
    if symbol.raw < 0:
        return True, "its module has no versions, so it fits any" if wanted else ""
    if wanted is None:
        hidden = bool(symbol.raw & 0x8000)
        return not hidden, "hidden version: only for references that name it" if hidden else ""
    defined = {d.name for d in tables(symbol.module.file).verdefs if not d.base}
    if wanted.encode() in defined:
        if symbol.version == wanted:
            return True, "the version asked for"
        return False, f"another version: {symbol.version or 'the base version'}, wanted {wanted}"
    if symbol.raw & 0x7FFF == 1:
        return True, f"its module does not define {wanted}, so the base version is meant"
    return False, f"its module does not define {wanted}, and this is {symbol.version}"


def prefer_strong(answer: Answer) -> None:
    """LD_DYNAMIC_WEAK, FreeBSD, QNX: a weak definition only counts when nobody has another."""
    from rtld.elf.explain import INTERPOSED, REFUSED, TAKEN

    weak = (t.STB_WEAK, t.STB_LOCAL)
    strong = next(
        (r for r in answer.rows if r.verdict == INTERPOSED and r.symbol.bind not in weak), None
    )
    if answer.definition is None or answer.definition.bind not in weak or strong is None:
        return
    taken = answer.definition
    answer.definer, answer.definition = strong.module, strong.symbol
    answer.rows = [
        row._replace(verdict=TAKEN)
        if row is strong
        else row._replace(verdict=REFUSED, reason="weak, and a later one is not")
        if row.symbol is taken
        else row
        for row in answer.rows
    ]
