"""C declarations to types of ctypes. pycparser (extra ``cdef``) reads the C; here its tree becomes types."""

from __future__ import annotations

import ctypes

from rtld.errors import RtldError, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.dlfcn.library import Library

# fmt: off
_PLAIN = {
    "void": None, "_Bool": ctypes.c_bool, "char": ctypes.c_char, "signed char": ctypes.c_byte, "char signed": ctypes.c_byte,
    "char unsigned": ctypes.c_ubyte, "short": ctypes.c_short, "short unsigned": ctypes.c_ushort, "int": ctypes.c_int,
    "unsigned": ctypes.c_uint, "int unsigned": ctypes.c_uint, "long": ctypes.c_long, "long unsigned": ctypes.c_ulong,
    "long long": ctypes.c_longlong, "long long unsigned": ctypes.c_ulonglong, "float": ctypes.c_float,
    "double": ctypes.c_double, "double long": ctypes.c_longdouble,
}
_NAMED = {
    "size_t": ctypes.c_size_t, "ssize_t": ctypes.c_ssize_t, "off_t": ctypes.c_long, "wchar_t": ctypes.c_wchar,
    "intptr_t": ctypes.c_ssize_t, "uintptr_t": ctypes.c_size_t, "ptrdiff_t": ctypes.c_ssize_t, "bool": ctypes.c_bool,
    "int8_t": ctypes.c_int8, "uint8_t": ctypes.c_uint8, "int16_t": ctypes.c_int16, "uint16_t": ctypes.c_uint16,
    "int32_t": ctypes.c_int32, "uint32_t": ctypes.c_uint32, "int64_t": ctypes.c_int64, "uint64_t": ctypes.c_uint64,
}
# fmt: on


class DeclarationError(RtldError):
    """C that cannot be read, or has no counterpart in ctypes."""


class Types:
    """What has been declared for one library: typedefs, structures, enumeration constants."""

    def __init__(self) -> None:
        self.plain: dict[str, Any] = _PLAIN
        self.named: dict[str, Any] = dict(_NAMED)
        self.records: dict[str, Any] = {}
        self.constants: dict[str, int] = {}

    def read(self, text: str) -> dict[str, tuple[Any, Any]]:
        """Functions of the text: name -> (restype, argtypes)."""
        try:
            from pycparser import c_ast, c_parser
        except ImportError:
            raise Unsupported("cdef needs pycparser", "install rtld[cdef]") from None
        self.ast: Any = c_ast
        known = "".join([f"typedef int {name};\n" for name in self.named])
        try:
            tree = c_parser.CParser().parse(f'{known}# 1 "cdef"\n{text}', "cdef")
        except c_parser.ParseError as error:
            raise DeclarationError(str(error)) from None
        functions: dict[str, tuple[Any, Any]] = {}
        for node in tree.ext[len(self.named) :]:
            if isinstance(node, c_ast.Typedef):
                self.named[node.name] = self.type(node.type)
            elif isinstance(node, c_ast.Decl) and isinstance(node.type, c_ast.FuncDecl):
                functions[node.name] = self.function(node.type)
            elif isinstance(node, c_ast.Decl):
                self.type(node.type)
            else:
                raise DeclarationError(
                    f"{node.coord}: only declarations, not {type(node).__name__}"
                )
        return functions

    def function(self, node: Any) -> tuple[Any, list[Any] | None]:
        """(restype, argtypes); None where arguments are not known or vary, as ctypes has it."""
        c = self.ast
        parameters = list(node.args.params) if node.args is not None else []
        result = self.type(node.type)
        if not parameters or any(isinstance(p, c.EllipsisParam) for p in parameters):
            fixed = [p for p in parameters if not isinstance(p, c.EllipsisParam)]
            return result, [self.argument(p.type) for p in fixed] if fixed else None
        kinds = [self.argument(p.type) for p in parameters]
        return result, [] if kinds == [None] else kinds

    def argument(self, node: Any) -> Any:
        """Arrays and functions are passed as pointers."""
        if isinstance(node, self.ast.ArrayDecl):
            return self.pointer(node.type)
        return self.type(node)

    def pointer(self, target: Any) -> Any:
        """``char *`` is bytes, ``void *`` and ``unsigned char *`` anything; functions are callbacks."""
        c = self.ast
        if isinstance(target, c.FuncDecl):
            result, arguments = self.function(target)
            return ctypes.CFUNCTYPE(result, *(arguments or ()))
        kind = self.type(target)
        if kind is None or kind is ctypes.c_ubyte:
            return ctypes.c_void_p
        if kind is ctypes.c_char:
            return ctypes.c_char_p
        if kind is ctypes.c_wchar:
            return ctypes.c_wchar_p
        return ctypes.POINTER(kind)

    def type(self, node: Any) -> Any:
        """The type of a declaration."""
        c = self.ast
        if isinstance(node, c.TypeDecl | c.Typename):
            return self.type(node.type)
        if isinstance(node, c.PtrDecl):
            return self.pointer(node.type)
        if isinstance(node, c.ArrayDecl):
            return self.type(node.type) * self.constant(node.dim)
        if isinstance(node, c.Struct | c.Union):
            return self.record(node)
        if isinstance(node, c.Enum):
            self.enumeration(node)
            return ctypes.c_int
        if isinstance(node, c.IdentifierType):
            return self.identifier(node)
        raise DeclarationError(
            f"{getattr(node, 'coord', '')}: {type(node).__name__} has no type in ctypes"
        )

    def identifier(self, node: Any) -> Any:
        """A basic type's words in any order, or the name of a typedef."""
        words = node.names
        if len(words) == 1 and words[0] in self.named:
            return self.named[words[0]]
        key = " ".join(sorted(word for word in words if word != "signed" or "char" in words))
        if len(words) > 1 and key.startswith("int ") and key != "int unsigned":
            key = key.removeprefix("int ")  # long int, unsigned long int
        for candidate in (key, " ".join(sorted(words))):
            if candidate in self.plain:
                return self.plain[candidate]
        if words == ["signed"]:
            return ctypes.c_int
        raise DeclarationError(f"{node.coord}: no type {' '.join(words)!r}")

    def record(self, node: Any) -> Any:
        """A structure or union; without fields its name is enough."""
        union = isinstance(node, self.ast.Union)
        name = node.name or f"anonymous_{len(self.records)}"
        kind = self.records.get(name)
        if kind is None:
            base: Any = ctypes.Union if union else ctypes.Structure
            made: Any = type(name, (base,), {})
            kind = self.records[name] = made
        if node.decls and not hasattr(kind, "_fields_"):
            fields = []
            for field in node.decls:
                made = self.type(field.type)
                fields.append(
                    self.bit_field(kind, field.name, made, self.constant(field.bitsize))
                    if field.bitsize
                    else (field.name, made)
                )
            kind._fields_ = fields
        return kind

    def bit_field(self, kind: Any, name: str, made: Any, width: int) -> tuple[Any, ...]:  # noqa: ARG002
        """What _fields_ has for one."""
        return name, made, width

    def enumeration(self, node: Any) -> None:
        """The constants of an enum."""
        value = -1
        for item in node.values.enumerators if node.values else ():
            value = self.constant(item.value) if item.value is not None else value + 1
            self.constants[item.name] = value

    def constant(self, node: Any) -> int:
        """An integer expression."""
        c = self.ast
        if isinstance(node, c.Constant):
            return int(node.value.rstrip("uUlL"), 0)
        if isinstance(node, c.ID) and node.name in self.constants:
            return self.constants[node.name]
        if isinstance(node, c.UnaryOp) and node.op == "-":
            return -self.constant(node.expr)
        if isinstance(node, c.BinaryOp) and node.op in ("+", "-", "*", "<<", "|"):
            a, b = self.constant(node.left), self.constant(node.right)
            return {"+": a + b, "-": a - b, "*": a * b, "<<": a << b, "|": a | b}[node.op]
        raise DeclarationError(f"{getattr(node, 'coord', '')}: no constant")


def declare(library: Library, text: str) -> dict[str, tuple[Any, Any]]:
    """Read declarations into the library's types; gives its functions."""
    types: Types | None = library.__dict__.get("_types")
    if types is None:
        types = library.__dict__["_types"] = Types()
    return types.read(text)
