"""The dependency tree. A module's own needs are shown once: where it was loaded, which is nearest to the program."""

from __future__ import annotations

from rtld.report.edges import Edge, edges, rule_of, summary
from rtld.report.style import PLAIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtld.core.module import Module, Namespace
    from rtld.process.link import Link
    from rtld.report.style import Style

_REPEATED = " (*)"


class Tree:
    """Lines of one tree."""

    def __init__(
        self,
        link: Link,
        style: Style = PLAIN,
        *,
        paths: bool = False,
        expand: bool = False,
        depth: int | None = None,
    ) -> None:
        self.ns: Namespace = link.namespace
        self.style = style
        self.paths = paths
        self.expand = expand
        self.depth = depth
        self._labels: dict[Module, str] = {}
        self._edges: dict[Module, list[Edge]] = {}
        self._explained: set[str] = set()
        self._seen: set[Module] = set()

    def lines(self) -> Iterator[str]:
        """The program, then its needs, each with theirs below it."""
        ns, style = self.ns, self.style
        yield style.bold(ns.main.path) + self._root_note()
        # A stack and not recursion: a chain of libraries may be longer than Python's stack. Each level: the indent of
        # its lines, its edges, which of them is next, the modules above it.
        above: tuple[Module, ...] = (ns.main,)
        levels = [("", self._children(ns.main), [0], above)] if self.depth != 0 else []
        while levels:
            indent, children, at, above = levels[-1]
            if at[0] == len(children):
                levels.pop()
                continue
            edge = children[at[0]]
            at[0] += 1
            last = at[0] == len(children)
            module = edge.module
            below = indent + ("    " if last else "│   ")
            lead = indent + ("└── " if last else "├── ")
            if module is None:
                yield from self._missing(edge, lead, below, above[-1])
                continue
            goes_on = self._needs(module) if self.expand else edge.first and self._needs(module)
            goes_on = goes_on and module not in above
            seen = module in self._seen or (not edge.first and self._needs(module))
            mark = (
                _REPEATED if seen and not goes_on and (module in above or not self.expand) else ""
            )
            self._seen.add(module)
            yield f"{lead}{self._label(edge)}{style.dim(mark)}"
            if goes_on and (self.depth is None or len(levels) < self.depth):
                levels.append((below, self._needs(module), [0], (*above, module)))

    def _root_note(self) -> str:
        main = self.ns.main.file
        if main.dynamic is None:
            return " (statically linked)"
        return "" if main.needed or self.ns.preloads else " (needs nothing)"

    def _needs(self, module: Module) -> list[Edge]:
        found = self._edges.get(module)
        if found is None:
            found = self._edges[module] = edges(self.ns, module)
        return found

    def _children(self, main: Module) -> list[Edge]:
        preloads = [Edge(module.path, module, True, "PRELOAD") for module in self.ns.preloads]
        return [*preloads, *self._needs(main)]

    def _label(self, edge: Edge) -> str:
        module: Module = edge.module
        name = module.path if self.paths else edge.name
        rule = self._labels.get(module)
        if rule is None:
            rule = self._labels[module] = self.style.cyan(f"[{rule_of(self.ns, module)}]")
        tag = "" if edge.tag in ("NEEDED", "PRELOAD") else f" ({edge.tag.lower()})"
        return f"{name}{tag} {rule}"

    def _missing(self, edge: Edge, lead: str, below: str, requester: Module) -> Iterator[str]:
        """A name without a file: what was looked at, in full the first time."""
        style = self.style
        error = next((e for who, e in self.ns.missing.get(edge.name, ()) if who is requester), None)
        if edge.tag == "AUXILIARY":
            yield f"{lead}{edge.name} {style.dim('(auxiliary, not found)')}"
            return
        reason = getattr(error, "reason", "")
        reason = "" if reason in ("", "No such file or directory") else f": {reason}"
        if error is not None and not hasattr(error, "reason"):
            reason = f": {error}"
        yield f"{lead}{style.red(edge.name)} {style.red('not found' + reason)}"
        if error is None or edge.name in self._explained:
            return
        self._explained.add(edge.name)
        rows = summary(self.ns, edge.name, error)
        if rows:
            yield f"{below}  paths considered, in this order:"
        for path, rule, said in rows:
            colour = "dim" if not said or said.startswith(("nor", "has")) else "yellow"
            yield f"{below}    {path} {style.cyan(f'[{rule}]')}" + (
                f" {style.paint(said, colour)}" if said else ""
            )
