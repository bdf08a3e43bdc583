"""``rtld why``: the reasons for one name."""

from __future__ import annotations

import sys

from rtld.cli import FINE, MISSING, UsageError
from rtld.cli.options import DEMANGLE, JSON, Command, Option, Options
from rtld.cli.reading import by_format, respelling, search_keywords, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.core.module import Namespace

_MANY = 20  # symbols of one written name are listed

# fmt: off
COMMAND = Command(
    "why",
    "FILE NAME",
    """\
Say why NAME is what it is in FILE. Of a symbol: the scope walked, every candidate, why it was taken or refused, whom it
interposes. Of a library: who needs it, which rule found it, what was tried. Of what is missing: near misses.""",
    (
        Option("-a --all", "", "show every module that refers to it, and every near miss"),
        DEMANGLE,
        JSON,
    ),
    """\
  rtld why /usr/bin/gdb malloc
  rtld why /usr/bin/gdb libpython3.11.so.1.0:malloc  as that library refers to it
  rtld why /usr/bin/git memcpy@GLIBC_2.14            references to that version only
  rtld why /usr/bin/gdb libz.so.1                    a library
  rtld why /usr/bin/gdb std::cout                    a name of C++ or Rust as it is written
  rtld why --json ./app missing_function | jq .near_misses
""",
    least=2,
    most=2,
    notes="""
NAME is SYMBOL, SYMBOL@VERSION, MODULE:SYMBOL, or a library's name or path; of Windows programs also #ORDINAL.
A name of C++ or Rust is that of all its overloads; with its parameters, as --demangle shows them, of one.
Exit status 1 if it is missing.""",
)
# fmt: on


def main(options: Options) -> int:
    """Link, explain, print."""
    return by_format(lambda path: _elf(path, options), "why", options, [])(options.rest[0])


def _elf(path: str, options: Options) -> int:
    from rtld.elf.why import why
    from rtld.errors import Unsupported
    from rtld.process.link import link
    from rtld.report.style import style_for
    from rtld.report.why import WhyText, body

    linked = link(path, relocated=False, **search_keywords(options))
    if linked.modules[0].file.dynamic is None:
        raise Unsupported(f"{path}: statically linked: nothing in it is bound to a library")
    result = why(linked.namespace, _symbol(linked.namespace, options.rest[1]))
    if options.json:
        from rtld.report.json import document

        write(document("why", body(linked.namespace, path, result)))
    else:
        style = style_for(sys.stdout)
        text = WhyText(linked.namespace, style, everything=options.all, respell=respelling(options))
        write("\n".join([*text.lines(result), ""]))
    return MISSING if result.missing else FINE


def _symbol(ns: Namespace, name: str) -> str:
    """NAME with the mangled symbol in place of one that is written as in C++ or Rust. UsageError if it is several."""
    from rtld.elf.spelling import is_written, mangled
    from rtld.elf.why import module_called

    if not is_written(name) or "/" in name or module_called(ns, name) is not None:
        return name
    from rtld.demangle import demangler

    module, colon, rest = name.partition(":")
    if rest.startswith(":") or not rest or module_called(ns, module) is None:
        module, colon, rest = "", "", name
    base, at, version = rest.partition("@")
    demangle = demangler()
    found = mangled(ns, base, demangle)
    if len(found) > 1:
        lines = [f"  {symbol}  {demangle(symbol)}" for symbol in found[:_MANY]]
        if len(found) > _MANY:
            lines.append(f"  and {len(found) - _MANY} more")
        raise UsageError(
            "\n".join([f"{base} is {len(found)} symbols; name one of them:", *lines]), "why"
        )
    return f"{module}{colon}{found[0]}{at}{version}" if found else name
