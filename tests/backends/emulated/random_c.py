"""C functions of random types, and what ctypes needs to call them: the same text for every CPU, so that results can be compared.

Only types whose width is the same everywhere. Values are small multiples of 1/16, so that no CPU rounds them.
"""

from __future__ import annotations

import ctypes
import random
from typing import Any, NamedTuple

from rtld.process.foreign.types import LongLong, UnsignedLongLong

# fmt: off
SCALARS: dict[str, Any] = {
    "signed char": ctypes.c_byte, "unsigned char": ctypes.c_ubyte, "short": ctypes.c_short, "unsigned short": ctypes.c_ushort,
    "int": ctypes.c_int, "unsigned": ctypes.c_uint, "long long": LongLong, "unsigned long long": UnsignedLongLong,
    "float": ctypes.c_float, "double": ctypes.c_double,
}
PROMOTED = ("int", "unsigned", "long long", "unsigned long long", "double")  # what can be passed to "..."
# fmt: on


#: Compilers call it for structures, and there is no C library.
MEMCPY = """
static void copy(char *to, const char *from, unsigned n) { while (n--) *to++ = *from++; }
__attribute__((visibility("hidden"))) void *memcpy(void *to, const void *from, __SIZE_TYPE__ n) { copy(to, from, n); return to; }
"""


class Kind(NamedTuple):
    """A type: its name in C, its type of ctypes, and the paths of the numbers in it."""

    c: str
    ctype: Any
    members: tuple[tuple[str, str], ...]  # (".a.b", "int")


class Function(NamedTuple):
    """``number`` names all that was made for it."""

    number: int
    result: Kind
    arguments: tuple[Kind, ...]
    fixed: int | None  # of a variadic one


def scalar(name: str) -> Kind:
    return Kind(name, SCALARS[name], (("", name),))


class Generator:
    """Types and functions from one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.declarations = ""
        self.structures: list[Kind] = []

    def kind(self, *, promoted: bool = False) -> Kind:
        roll = self.random.random()
        if roll < 0.3:
            return (
                self.structure()
                if roll < 0.2 or not self.structures
                else self.random.choice(self.structures)
            )
        return scalar(self.random.choice(PROMOTED if promoted else list(SCALARS)))

    def structure(self, depth: int = 0) -> Kind:
        """One to five members; often alike, for the rules about those."""
        names = list(SCALARS)
        if self.random.random() < 0.4:
            names = [self.random.choice(["float", "double", "int", "signed char"])]
        fields, text, members = [], "", []
        for i in range(self.random.choice([1, 1, 2, 2, 3, 4, 5])):
            roll = self.random.random()
            if depth < 2 and roll < 0.12:
                inner = self.structure(depth + 1)
            else:
                inner = scalar(self.random.choice(names))
            field = f"m{i}"
            if roll > 0.9:
                count = self.random.choice([1, 2, 3])
                text += f"{inner.c} {field}[{count}]; "
                fields.append((field, inner.ctype * count))
                members += [
                    (f".{field}[{n}]{path}", c) for n in range(count) for path, c in inner.members
                ]
            else:
                text += f"{inner.c} {field}; "
                fields.append((field, inner.ctype))
                members += [(f".{field}{path}", c) for path, c in inner.members]
        name = f"S{len(self.structures)}"
        made: Any = type(name, (ctypes.Structure,), {"_fields_": fields})
        self.declarations += f"struct {name} {{ {text}}};\n"
        kind = Kind(f"struct {name}", made, tuple(members))
        self.structures.append(kind)
        return kind

    def function(self, number: int) -> Function:
        count = self.random.choice([0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 14])
        fixed = None
        if self.random.random() < 0.2:
            fixed = self.random.randint(1, max(1, count - 1))
            count = max(count, fixed)
        arguments = [self.kind(promoted=fixed is not None and i >= fixed) for i in range(count)]
        return Function(number, self.kind(), tuple(arguments), fixed)

    def value(self, kind: Kind) -> Any:
        """A random value of that type, as ctypes takes it."""
        if kind.members[0][0] == "":
            return self.number(kind.c)
        value = kind.ctype()
        self._fill(value)
        return value

    def _fill(self, value: Any) -> None:
        pairs: list[tuple[Any, Any]] = (
            [(field[0], field[1]) for field in value._fields_]
            if isinstance(value, ctypes.Structure)
            else [(i, value._type_) for i in range(len(value))]
        )
        for name, kind in pairs:
            inner = getattr(value, name) if isinstance(name, str) else value[name]
            if isinstance(inner, ctypes.Structure | ctypes.Array):
                self._fill(inner)
                continue
            number = self.number(next(c for c, known in SCALARS.items() if known is kind))
            if isinstance(name, str):
                setattr(value, name, number)
            else:
                value[name] = number

    def number(self, c: str) -> int | float:
        if c in ("float", "double"):
            return self.random.randint(-1000, 1000) / 16
        kind = SCALARS[c]
        bits = 8 * ctypes.sizeof(kind)
        signed = kind(-1).value < 0
        return self.random.randrange(-(1 << bits - 1) if signed else 0, 1 << bits - signed)


def _mix(kind: Kind, name: str) -> str:
    lines = ""
    for path, c in kind.members:
        value = f"{name}{path}"
        if c in ("float", "double"):
            value = f"(int)({value} * 16)"
        lines += f"  h = h * 31 + (unsigned long long)(long long){value};\n"
    return lines


def _make(kind: Kind, name: str) -> str:
    """A value of that type of h."""
    lines = f"  {kind.c} {name};\n"
    for i, (path, c) in enumerate(kind.members):
        if c in ("float", "double"):
            lines += f"  {name}{path} = (int)(h >> {i} & 0xffff) / ({c})16;\n"
        else:
            lines += f"  {name}{path} = ({c})(h >> {3 * i});\n"
    return lines


def source(generator: Generator, functions: list[Function]) -> str:
    """fN takes its arguments and returns something made of them all; gN calls its first argument with the others.

    wN calls fN with what its second argument points to: so no calling convention but the C compiler's is at work.
    """
    text = MEMCPY
    for f in functions:
        fixed = f.arguments if f.fixed is None else f.arguments[: f.fixed]
        parameters = ", ".join(f"{kind.c} a{i}" for i, kind in enumerate(fixed))
        if f.fixed is not None:
            parameters += ", ..."
        text += f"{f.result.c} f{f.number}({parameters or 'void'})\n{{\n  unsigned long long h = {f.number};\n"
        if f.fixed is not None:
            text += f"  __builtin_va_list rest;\n  __builtin_va_start(rest, a{f.fixed - 1});\n"
            for i in range(f.fixed, len(f.arguments)):
                text += f"  {f.arguments[i].c} a{i} = __builtin_va_arg(rest, {f.arguments[i].c});\n"
        text += "".join(_mix(kind, f"a{i}") for i, kind in enumerate(f.arguments))
        text += _make(f.result, "r") + "  return r;\n}\n"
        passed = ", ".join(f"*({kind.c} *)a[{i}]" for i, kind in enumerate(f.arguments))
        text += f"void w{f.number}({f.result.c} *r, void **a) {{ *r = f{f.number}({passed}); }}\n"
        if f.fixed is None:
            types = ", ".join(kind.c for kind in f.arguments) or "void"
            comma = ", " if parameters else ""
            names = ", ".join(f"a{i}" for i in range(len(f.arguments)))
            text += f"{f.result.c} g{f.number}({f.result.c} (*f)({types}){comma}{parameters})\n{{ {f.result.c} r = f({names}); return r; }}\n"
    return generator.declarations + text
