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
List what two systems' linkers would do differently with FILE and what it needs: which files they find, which missing
versions they refuse, which definitions references are bound to. Models are glibc, musl, freebsd, bionic, qnx-doc, qnx.
The directories searched last are this system's in both (--system-path sets them); bindings are compared with the files
that the first finds.""",
    (JSON,),
    """\
  rtld diff-models /usr/bin/gdb glibc freebsd   FreeBSD and QNX prefer definitions that are not weak
  rtld diff-models ./app glibc musl             musl knows no versions and no DT_SYMBOLIC, but inherits RUNPATH
  rtld diff-models ./app glibc bionic           Android ignores RPATH; DF_1_GLOBAL libraries come first
""",
    least=3,
    most=3,
    notes="""
The columns stand between TABs: search, version or bind; who refers; symbol or library; version; the answer by the first
model, by the second; "-" is none.""",
    windows=False,
)
# fmt: on


def main(options: Options) -> int:
    """Find and bind twice, compare, print."""
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
