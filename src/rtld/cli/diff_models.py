"""``rtld diff-models``: what would be bound differently under the rules of another system."""

from __future__ import annotations

from rtld.cli import FINE, UsageError
from rtld.cli.options import JSON, Command, Options
from rtld.cli.reading import search_keywords, write

# fmt: off
COMMAND = Command(
    "diff-models",
    "FILE MODEL MODEL",
    """\
List the references of FILE, and of what it needs, that two models of symbol look-up bind differently: glibc, musl,
freebsd, bionic, qnx-doc, qnx. The files are those that glibc finds.""",
    (JSON,),
    """\
  rtld diff-models /usr/bin/gdb glibc freebsd   FreeBSD and QNX prefer definitions that are not weak
  rtld diff-models ./app glibc musl             musl knows no versions and no DT_SYMBOLIC
""",
    least=3,
    most=3,
    notes="""
The columns stand between TABs: who refers, symbol, version, definer by the first model, by the second; "-" is none.""",
)
# fmt: on


def main(options: Options) -> int:
    """Bind twice, compare, print."""
    from rtld.elf.models import MODELS
    from rtld.process.diffmodels import diff_models

    path, first, second = options.rest
    for model in (first, second):
        if model not in MODELS:
            raise UsageError(
                f"there is no model {model!r}; models are {', '.join(MODELS)}", "diff-models"
            )
    rows = diff_models(path, first, second, **search_keywords(options))
    if options.json:
        from rtld.report.json import document

        found = [{**row._asdict()} for row in rows]
        write(
            document("diff-models", {"path": path, "models": [first, second], "differences": found})
        )
    else:
        for row in rows:
            write("\t".join([word or "-" for word in row]) + "\n")
    return FINE
