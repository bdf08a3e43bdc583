"""``rtld link``: link a program and show the result."""

from __future__ import annotations

import sys

from rtld.cli import tell
from rtld.cli.options import DEMANGLE, JSON, Command, Option, Options
from rtld.cli.reading import by_format, respelling, search_keywords, status_of, write

# fmt: off
COMMAND = Command(
    "link",
    "FILE",
    "Link a program or library in memory, as the dynamic linker would, and show the result. Nothing is executed.",
    (
        Option("-b --bindings", "", "one line for each binding: referrer, definer, symbol, version, kind"),
        DEMANGLE,
        JSON,
    ),
    """\
  rtld link /usr/bin/git                           modules, addresses, TLS, scopes, init order, relocations, time
  rtld link --bindings /usr/bin/git | grep malloc  who is bound to which malloc
  rtld link --json --bindings ./app | jq -c '.bindings[] | select(.kind != "normal")'
""",
    most=1,
    notes="""
The columns of --bindings stand between TABs; "-" is none. Kinds: normal; weak-undefined (nobody defines it, and that is
allowed); protected (the module's own); unique (STB_GNU_UNIQUE); copy (a COPY relocation); undefined (an error).
Exit status 1 if a library, symbol or version is missing.""",
)
# fmt: on


def main(options: Options) -> int:
    """Link the FILE; print."""
    return by_format(lambda path: _elf(path, options), "link", options, [])(options.rest[0])


def _elf(path: str, options: Options) -> int:
    from rtld.process.link import link
    from rtld.report.style import style_for

    result = link(path, relocated=not options.bindings, **search_keywords(options))
    if options.json:
        from rtld.report.json import SCHEMA, binding_objects, chunks, linked

        body = {"schema": SCHEMA, "command": "link", **linked(result)}
        if options.bindings:
            body["bindings"] = binding_objects(result)
        for chunk in chunks(body):
            write(chunk)
    elif options.bindings:
        from rtld.report.link import binding_text, message

        for chunk in binding_text(result, respelling(options)):
            write(chunk)
        for problem in result.problems:
            tell(message(problem))
    else:
        from rtld.report.link import summary

        write("\n".join([*summary(result, style_for(sys.stdout)), ""]))
    return status_of(result.problems)
