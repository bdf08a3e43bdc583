"""C functions of random types, and what ctypes needs to call them: the same text for every CPU, so that results can be compared.

Only types whose width is the same everywhere, but for long double. Floating-point values are small multiples of 1/16, so that no
CPU rounds them.
"""

from __future__ import annotations

import ctypes
import random
from typing import Any, NamedTuple

from rtld.process.foreign.types import (
    COMPLEX,
    DoubleComplex,
    FloatComplex,
    Int128,
    LongDoubleComplex,
    LongLong,
    UnsignedInt128,
    UnsignedLongLong,
    is_vector,
    vector,
)

# fmt: off
SCALARS: dict[str, Any] = {
    "signed char": ctypes.c_byte, "unsigned char": ctypes.c_ubyte, "short": ctypes.c_short, "unsigned short": ctypes.c_ushort,
    "int": ctypes.c_int, "unsigned": ctypes.c_uint, "long long": LongLong, "unsigned long long": UnsignedLongLong,
    "float": ctypes.c_float, "double": ctypes.c_double,
}
PROMOTED = ("int", "unsigned", "long long", "unsigned long long", "double")  # what can be passed to "..."
LONG_DOUBLE: dict[str, Any] = {"long double": ctypes.c_longdouble}
COMPLEX_NAMES: dict[str, tuple[Any, str]] = {
    "float _Complex": (FloatComplex, "float"), "double _Complex": (DoubleComplex, "double"),
    "long double _Complex": (LongDoubleComplex, "long double"),
}
WIDE: dict[str, Any] = {"__int128": Int128, "unsigned __int128": UnsignedInt128}
VECTORS: dict[str, tuple[Any, str, int]] = {
    "V4F": (ctypes.c_float, "float", 4), "V2D": (ctypes.c_double, "double", 2), "V4I": (ctypes.c_int, "int", 4),
    "V2F": (ctypes.c_float, "float", 2), "V8B": (ctypes.c_byte, "signed char", 8), "V8S": (ctypes.c_short, "short", 8),
}
BITS = ("int", "unsigned", "long long", "unsigned long long", "unsigned char", "short")
FLOATING = ("float", "double", "long double")
#: What a CPU's compiler has beside the plain numbers.
ALL_MORE = frozenset(("long double", "complex", "int128", "vector", "bits", "union"))
# fmt: on


#: Compilers call it for structures, and there is no C library.
MEMCPY = """
static void copy(char *to, const char *from, unsigned n) { while (n--) *to++ = *from++; }
__attribute__((visibility("hidden"))) void *memcpy(void *to, const void *from, __SIZE_TYPE__ n) { copy(to, from, n); return to; }
"""


class Part(NamedTuple):
    """A number in a value: in C ``before`` + value + ``path``, in Python value + ``python``; ``bits`` of a bit-field."""

    before: str
    path: str
    c: str
    python: str
    bits: int = 0

    def inside(self, path: str) -> Part:
        """The same in a member."""
        return self._replace(path=path + self.path, python=path + self.python)


class Kind(NamedTuple):
    """A type: its name in C, its type of ctypes, and the numbers in it."""

    c: str
    ctype: Any
    parts: tuple[Part, ...]


class Function(NamedTuple):
    """``number`` names all that was made for it."""

    number: int
    result: Kind
    arguments: tuple[Kind, ...]
    fixed: int | None  # of a variadic one


def scalar(name: str) -> Kind:
    return Kind(name, {**SCALARS, **LONG_DOUBLE}[name], (Part("", "", name, ""),))


def complex_kind(name: str) -> Kind:
    made, part = COMPLEX_NAMES[name]
    return Kind(
        name, made, (Part("__real__ ", "", part, ".real"), Part("__imag__ ", "", part, ".imag"))
    )


def wide_kind(name: str) -> Kind:
    return Kind(name, WIDE[name], (Part("", "", name, ".value"),))


def vector_kind(name: str) -> Kind:
    element, c, count = VECTORS[name]
    return Kind(
        name, vector(element, count), tuple(Part("", f"[{i}]", c, f"[{i}]") for i in range(count))
    )


class Generator:
    """Types and functions from one seed. *more*: what there is beside plain numbers and structures of them."""

    def __init__(self, seed: int, more: frozenset[str] = frozenset()) -> None:
        self.random = random.Random(seed)
        self.more = more
        self.declarations = ""
        if "vector" in more:
            for name, (element, c, count) in VECTORS.items():
                size = ctypes.sizeof(element) * count
                self.declarations += f"typedef {c} {name} __attribute__((vector_size({size})));\n"
        self.structures: list[Kind] = []

    def special(self) -> Kind | None:
        """One of the further types."""
        what = self.random.choice([*sorted(self.more), "", ""])
        if what == "long double":
            return scalar(what)
        if what == "complex":
            return complex_kind(self.random.choice(list(COMPLEX_NAMES)))
        if what == "int128":
            return wide_kind(self.random.choice(list(WIDE)))
        if what == "vector":
            return vector_kind(self.random.choice(list(VECTORS)))
        return None

    def kind(self, *, promoted: bool = False) -> Kind:
        roll = self.random.random()
        if self.more and roll > 0.65:
            found = self.special()
            if found is not None:
                return found
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
        alike = None
        if self.random.random() < 0.4:
            names = [self.random.choice(["float", "double", "int", "signed char"])]
            if self.more and self.random.random() < 0.5:
                alike = self.special()
        union = "union" in self.more and self.random.random() < 0.15
        if union:
            alike = None
        fields: list[Any] = []
        wide: list[str] = []
        text, parts = "", list[Part]()
        for i in range(self.random.choice([1, 1, 2, 2, 3, 4, 5])):
            roll = self.random.random()
            field = f"m{i}"
            if "bits" in self.more and not union and self.random.random() < 0.2:
                c = self.random.choice(BITS)
                width = self.random.randint(1, 8 * ctypes.sizeof(SCALARS[c]))
                text += f"{c} {field} : {width}; "
                # ctypes cannot have bit-fields of a class of ours; _wide_ says what is meant.
                own = {LongLong: ctypes.c_longlong, UnsignedLongLong: ctypes.c_ulonglong}.get(
                    SCALARS[c], SCALARS[c]
                )
                if own is not SCALARS[c]:
                    wide.append(field)
                fields.append((field, own, width))
                parts.append(Part("", f".{field}", c, f".{field}", width))
                continue
            inner: Kind | None = alike
            if inner is None and self.more and self.random.random() < 0.2:
                inner = self.special()
            if union and inner is not None and "long double" in inner.c:
                inner = None  # which member is the widest is the same everywhere
            if inner is None:
                inner = (
                    self.structure(depth + 1)
                    if depth < 2 and roll < 0.12 and not union
                    else scalar(self.random.choice(names))
                )
            if roll > 0.9:
                count = self.random.choice([1, 2, 3])
                text += f"{inner.c} {field}[{count}]; "
                fields.append((field, inner.ctype * count))
                parts += [p.inside(f".{field}[{n}]") for n in range(count) for p in inner.parts]
            else:
                text += f"{inner.c} {field}; "
                fields.append((field, inner.ctype))
                parts += [part.inside(f".{field}") for part in inner.parts]
        name = f"S{len(self.structures)}"
        word, base = ("union", ctypes.Union) if union else ("struct", ctypes.Structure)
        made: Any = type(name, (base,), {"_fields_": fields, "_wide_": wide})
        if union:
            # What counts is the widest member, of which there may be several: the first one.
            widest = max(fields, key=lambda each: ctypes.sizeof(each[1]))[0]
            parts = [p for p in parts if p.path.startswith(f".{widest}")]
        self.declarations += f"{word} {name} {{ {text}}};\n"
        kind = Kind(f"{word} {name}", made, tuple(parts))
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
        if kind.ctype in COMPLEX:
            return complex(self.number("double"), self.number("double"))
        if kind.ctype in WIDE.values():
            return self.number(kind.c)
        if kind.parts and kind.parts[0].python == "":
            return self.number(kind.c)
        value = kind.ctype()
        for part in kind.parts:
            # Bit-fields and numbers alike: the member, or the element of an array, that the path ends in.
            head, name = _split(part.python)
            owner = eval(f"value{head}", {"value": value})
            number = self.number(part.c, part.bits)
            if isinstance(name, int):
                owner[name] = number
            else:
                setattr(owner, name, number)
        return value

    def number(self, c: str, bits: int = 0) -> int | float:
        if c in FLOATING:
            return self.random.randint(-1000, 1000) / 16
        if c in WIDE:
            return self.random.randrange(1 << 128) - (1 << 127 if c == "__int128" else 0)
        kind = SCALARS[c]
        signed = kind(-1).value < 0
        bits = bits or 8 * ctypes.sizeof(kind)
        return self.random.randrange(-(1 << bits - 1) if signed else 0, 1 << bits - signed)


def _split(path: str) -> tuple[str, str | int]:
    """ ".a[1].b" -> (".a[1]", "b"); ".a[1]" -> (".a", 1)."""
    if path.endswith("]"):
        head, _, index = path[:-1].rpartition("[")
        return head, int(index)
    head, _, name = path.rpartition(".")
    return head, name


def plain(kind: Kind, value: Any) -> Any:
    """Numbers, to be compared."""
    if isinstance(value, complex):
        return [value.real, value.imag]
    if isinstance(value, ctypes.Structure | ctypes.Union) or is_vector(type(value)):
        found = [eval(f"value{part.python}", {"value": value}) for part in kind.parts]
        numbers = [getattr(number, "value", number) for number in found]
        return numbers[0] if isinstance(value, Int128) else numbers
    return value.value if hasattr(value, "value") else value


def _mix(kind: Kind, name: str) -> str:
    lines = ""
    for part in kind.parts:
        value = f"{part.before}{name}{part.path}"
        if part.c in WIDE:
            lines += f"  h = h * 31 + (unsigned long long)({value} >> 64);\n"
        if part.c in FLOATING:
            value = f"(int)({value} * 16)"
        lines += f"  h = h * 31 + (unsigned long long)(long long){value};\n"
    return lines


def _make(kind: Kind, name: str) -> str:
    """A value of that type of h."""
    lines = f"  {kind.c} {name};\n"
    for i, part in enumerate(kind.parts):
        place = f"{part.before}{name}{part.path}"
        if part.c in FLOATING:
            lines += f"  {place} = (int)(h >> {i % 40} & 0xffff) / ({part.c})16;\n"
        elif part.c in WIDE:
            lines += f"  {place} = ({part.c})(h * 77) << 64 | h >> {i % 40};\n"
        else:
            lines += f"  {place} = ({part.c})(h >> {3 * i % 40});\n"
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
        names = ", ".join(f"a{i}" for i in range(len(f.arguments)))
        copies = "".join(
            f" {kind.c} a{i}; __builtin_memcpy(&a{i}, a[{i}], sizeof a{i});"
            for i, kind in enumerate(f.arguments)
        )
        text += f"void w{f.number}(void *r, void **a)\n{{{copies} {f.result.c} r0 = f{f.number}({names}); __builtin_memcpy(r, &r0, sizeof r0); }}\n"
        if f.fixed is None:
            types = ", ".join(kind.c for kind in f.arguments) or "void"
            comma = ", " if parameters else ""
            text += f"{f.result.c} g{f.number}({f.result.c} (*f)({types}){comma}{parameters})\n{{ {f.result.c} r = f({names}); return r; }}\n"
    for number, kind in enumerate(generator.structures):
        for i, part in enumerate(kind.parts):
            value = f"{part.before}(*s){part.path}"
            value = f"{value} * 16" if part.c in FLOATING else value
            text += f"long long p{number}_{i}({kind.c} *s) {{ return (long long)({value}); }}\n"
    return generator.declarations + text
