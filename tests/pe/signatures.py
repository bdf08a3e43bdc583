"""Random C functions: a source that records what each got, and the same values for Python.

One source is a DLL, whose functions we call, and a program, which calls them itself: what that prints is the judge.
"""

from __future__ import annotations

import ctypes
import random
import struct
from typing import Any, NamedTuple

from rtld.process.windows.types import LongLong, UnsignedLongLong

# C's name, ctypes' type, format
_INTS = [
    ("signed char", ctypes.c_int8, "b"), ("unsigned char", ctypes.c_uint8, "B"), ("short", ctypes.c_int16, "h"),
    ("unsigned short", ctypes.c_uint16, "H"), ("int", ctypes.c_int32, "i"), ("unsigned", ctypes.c_uint32, "I"),
]  # fmt: skip
_WIDE: list[Any] = [("long long", LongLong, "q"), ("unsigned long long", UnsignedLongLong, "Q")]
_REALS: list[Any] = [("float", ctypes.c_float, "f"), ("double", ctypes.c_double, "d")]
_PROMOTED = [_INTS[4], _INTS[5], *_WIDE, _REALS[1]]


class Type(NamedTuple):
    """A scalar (``form`` is its letter) or a structure."""

    c: str
    py: Any
    form: str
    members: tuple[Type, ...] = ()


class Case(NamedTuple):
    """A function: its types and the values of one call."""

    convention: str
    arguments: tuple[Type, ...]
    result: Type | None
    values: tuple[Any, ...]
    answer: Any
    fixed: int | None


class Maker:
    """Cases of one convention; ``source`` is their C."""

    def __init__(self, seed: int, convention: str, *, wide: bool = True, structures: bool = True, variadic: bool = False, gcc386: bool = False) -> None:  # fmt: skip
        self.random = random.Random(seed)
        self.convention = convention
        self.scalars = [Type(*each) for each in [*_INTS, *(_WIDE if wide else []), *_REALS]]
        self.structures = structures
        self.variadic = variadic
        self.structs: list[Type] = []
        self.gcc386 = gcc386
        self.cases = [self._case() for _ in range(40)]

    def _struct(self) -> Type:
        rand = self.random
        if rand.random() < 0.35:
            members = [rand.choice(self.scalars[-2:])] * rand.randint(1, 5)
        else:
            members = [rand.choice(self.scalars) for _ in range(rand.choice([1, 1, 2, 2, 3, 4, 6]))]
        name = f"s{len(self.structs)}"
        fields = [(f"m{i}", m.py) for i, m in enumerate(members)]
        made = Type(name, type(name, (ctypes.Structure,), {"_fields_": fields}), "", tuple(members))
        self.structs.append(made)
        return made

    def _type(self) -> Type:
        if self.structures and self.random.random() < 0.35:
            return self._struct() if len(self.structs) < 40 else self.random.choice(self.structs)
        return self.random.choice(self.scalars)

    def _value(self, kind: Type) -> Any:
        if kind.members:
            return kind.py(*[self._value(m) for m in kind.members])
        if kind.form in "fd":
            return self.random.randint(-(1 << 20), 1 << 20) / 8
        size = 8 * struct.calcsize(kind.form)
        low = -(1 << size - 1) if kind.form.islower() else 0
        return self.random.randint(low, low + (1 << size) - 1)

    def _case(self) -> Case:
        count = self.random.randint(1, 9)
        kinds = [self._type() for _ in range(count)]
        fixed = None
        if self.convention == "thiscall":
            kinds[0] = Type(
                *_INTS[5]
            )  # `this`: what is in ecx if it is anything else is the compiler's whim
        if self.variadic:
            fixed = self.random.randint(1, 3)
            kinds = [self._type() for _ in range(fixed - 1)] + [
                Type(*self.random.choice(_PROMOTED))
            ]
            for _ in range(self.random.randint(0, 7)):
                kinds.append(self._struct() if self.random.random() < 0.3 and self.structures else Type(*self.random.choice(_PROMOTED)))  # fmt: skip
        result = self._type() if self.random.random() < 0.9 else None
        if self.gcc386 and result and len(result.members) == 1 and result.members[0].form in "fd":
            result = None  # gcc has such a structure in st(0), MSVC and clang in eax and edx
        return Case(self.convention, tuple(kinds), result, tuple(map(self._value, kinds)),
                    None if result is None else self._value(result), fixed)  # fmt: skip

    # -- C ----------------------------------------------------------------------------------------

    def literal(self, value: Any, kind: Type) -> str:
        """A value in C."""
        if kind.members:
            inner = [self.literal(getattr(value, f"m{i}"), m) for i, m in enumerate(kind.members)]
            return "{" + ", ".join(inner) + "}"
        if kind.form in "fd":
            return f"{value!r}{'f' if kind.form == 'f' else ''}"
        if kind.form == "q":
            return f"(long long){value & (1 << 64) - 1:#x}ULL"
        return f"({kind.c}){value & (1 << 64) - 1:#x}ULL"

    def source(self) -> str:
        """The whole file."""
        lines = [_HEAD]
        for kind in self.structs:
            members = " ".join(f"{m.c} m{i};" for i, m in enumerate(kind.members))
            lines.append(f"struct {kind.c} {{ {members} }};\ntypedef struct {kind.c} {kind.c};")
        calls, backs, table = [], [], []
        for number, case in enumerate(self.cases):
            result = case.result.c if case.result else "void"
            named = case.arguments if case.fixed is None else case.arguments[: case.fixed]
            arguments = ", ".join(f"{k.c} a{i}" for i, k in enumerate(named))
            arguments += ", ..." if case.fixed is not None else ""
            body = self._notes(case)
            answer = f"{case.result.c} r = {self.literal(case.answer, case.result)}; return r;" if case.result else ""  # fmt: skip
            lines.append(f"NEVER_INLINE {result} CONV f{number}({arguments}) {{ used = 0; {body} {answer} }}")  # fmt: skip
            table.append(f"(void *)f{number}")
            values = [f"{k.c} a{i} = {self.literal(v, k)};" for i, (k, v) in enumerate(zip(case.arguments, case.values, strict=True))]  # fmt: skip
            given = ", ".join(f"a{i}" for i in range(len(case.arguments)))
            told = self._result_notes(case)
            calls.append(f"{{ {' '.join(values)} {told[0]}f{number}({given}); {told[1]} show(); }}")
            if case.fixed is None:
                inner = ", ".join(k.c for k in case.arguments)
                lines.append(
                    f"NEVER_INLINE int b{number}({result} (CONV *f)({inner})) {{ {' '.join(values)} {told[0]}f({given}); "
                    f"used = 0; {told[1]} return used; }}"
                )
                backs.append(f"(void *)b{number}")
        lines.append(f"EXPORT void *functions[] = {{{', '.join(table)}}};")
        lines.append(f"EXPORT void *callbacks[] = {{{', '.join(backs) or '0'}}};")
        lines.append(_TAIL % "\n    ".join(calls))
        return "\n".join(lines)

    def _notes(self, case: Case) -> str:
        """Code that records the arguments."""
        parts = []
        for i, kind in enumerate(case.arguments):
            if case.fixed is not None and i >= case.fixed:
                if i == case.fixed:
                    parts.append(f"__builtin_va_list l; __builtin_va_start(l, a{i - 1});")
                parts.append(f"{kind.c} a{i} = __builtin_va_arg(l, {kind.c});")
            parts += [f"note(&a{i}{m}, sizeof a{i}{m});" for m in self._members(kind)]
        return " ".join(parts)

    @staticmethod
    def _members(kind: Type) -> list[str]:
        return [f".m{j}" for j in range(len(kind.members))] or [""]

    def _result_notes(self, case: Case) -> tuple[str, str]:
        if case.result is None:
            return "", ""
        notes = " ".join(f"note(&r{m}, sizeof r{m});" for m in self._members(case.result))
        return f"{case.result.c} r = ", notes

    # -- Python -----------------------------------------------------------------------------------

    def packed(self, value: Any, kind: Type | None) -> bytes:
        """A value as it is recorded: its numbers without what is between them."""
        if kind is None:
            return b""
        if kind.members:
            return b"".join(self.packed(getattr(value, f"m{i}"), m) for i, m in enumerate(kind.members))  # fmt: skip
        return struct.pack("<" + kind.form, value)


_HEAD = r"""
#include "own.h"
#define NEVER_INLINE __attribute__((noinline))
#ifndef CONV
#define CONV
#endif
EXPORT unsigned char record[1024];
EXPORT int used;
static NEVER_INLINE void note(const void *what, int size) {
    int i;
    for (i = 0; i < size; i++) record[used++] = ((volatile const unsigned char *)what)[i];
}
static void show(void) {
    char line[2100];
    int i;
    for (i = 0; i < used; i++) {
        line[2 * i] = "0123456789abcdef"[record[i] >> 4];
        line[2 * i + 1] = "0123456789abcdef"[record[i] & 15];
    }
    line[2 * used] = 10;
    line[2 * used + 1] = 0;
    say(line);
}
"""
_TAIL = """
#ifdef PROGRAM
void start(void) {
    %s
    ExitProcess(3);
}
#else
int __stdcall DllMain(void *self, DWORD reason, void *reserved) { return 1; }
#endif
"""
