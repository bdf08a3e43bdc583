"""``rtld tree``: the dependency tree."""

from __future__ import annotations

import sys

from rtld.cli import UsageError
from rtld.cli.options import JSON, Command, Option, Options
from rtld.cli.reading import by_format, for_each, search_keywords, status_of, write, write_document

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# fmt: off
COMMAND = Command(
    "tree",
    "FILE...",
    "Show the libraries a program or library needs, as a tree, each with the rule that found it.",
    (
        Option("-p --path",      "",  "show paths instead of the names asked for"),
        Option("-a --all",       "",  "show the needs of a library wherever it occurs, not only once"),
        Option("-d --max-depth", "N", "show N levels only"),
        JSON,
    ),
    """\
  rtld tree /usr/bin/gdb
  rtld tree -p --max-depth 1 /usr/bin/*      direct needs of every program
  rtld tree --sysroot /mnt/arm64 /mnt/arm64/usr/bin/vim
  rtld tree --json ./app | jq '.missing'
""",
    notes="""
Rules: RPATH, RUNPATH, LD_LIBRARY_PATH, ld.so.cache, default (directory), path (the name has a slash), preload. "of X"
says whose RPATH it was. (*) marks a library that is shown in full elsewhere: below the one it was loaded for. A
library that is not found is followed by the paths that were tried. Nothing is executed. Exit status 1 if something is
missing.""",
)
# fmt: on


def main(options: Options) -> int:
    """One tree for each FILE."""
    from rtld.process.link import find
    from rtld.report.style import style_for
    from rtld.report.tree import Tree

    depth = _depth(options.max_depth)
    keywords = search_keywords(options)
    style = style_for(sys.stdout)
    files: list[dict[str, Any]] = []

    def show(path: str) -> int:
        link = find(path, **keywords)
        if options.json:
            from rtld.report.json import closure

            files.append(closure(link))
        else:
            tree = Tree(link, style, paths=options.path, expand=options.all, depth=depth)
            write("\n".join([*tree.lines(), ""]))
        return status_of(link.problems)

    def failed(path: str, error: BaseException) -> None:
        from rtld.report.json import failure

        files.append(failure(path, error))

    status = for_each(
        options, by_format(show, "tree", options, files), failed if options.json else None
    )
    if options.json:
        write_document("tree", files, single=len(options.rest) == 1)
    return status


def _depth(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdigit():
        raise UsageError(f"--max-depth {text}: a number is wanted", "tree")
    return int(text)
