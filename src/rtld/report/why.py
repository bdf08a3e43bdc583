"""``why`` as text and as JSON."""

from __future__ import annotations

from rtld.elf.explain import INTERPOSED, REFERENCE, REFUSED, TAKEN, USE_NAMES
from rtld.elf.why import WhyLibrary, WhySymbol
from rtld.report.edges import considered, rule_of, summary
from rtld.report.style import PLAIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from rtld.core.module import Module, Namespace
    from rtld.elf.explain import Answer, Row
    from rtld.elf.nearby import NearMiss
    from rtld.elf.why import Case
    from rtld.report.style import Style

_COLOURS = {TAKEN: "green", INTERPOSED: "yellow", REFUSED: "red", REFERENCE: "dim"}
_SHOWN = 5  # referrers of one case, unless all are wanted


class WhyText:
    """Lines about one name."""

    def __init__(
        self,
        ns: Namespace,
        style: Style = PLAIN,
        *,
        everything: bool = False,
        respell: Callable[[str], str] | None = None,
    ) -> None:
        self.ns = ns
        self.style = style
        self.everything = everything
        self.respell = respell or (lambda name: name)

    def lines(self, result: WhySymbol | WhyLibrary) -> Iterator[str]:
        return self._symbol(result) if isinstance(result, WhySymbol) else self._library(result)

    # -- symbols ----------------------------------------------------------------------------------

    def _symbol(self, result: WhySymbol) -> Iterator[str]:
        style = self.style
        name = self.respell(result.name) + (f"@{result.version}" if result.version else "")
        if result.unreferenced is not None:
            answer = result.unreferenced
            if not answer.rows:
                yield f"{style.bold(name)}: no module of {self.ns.main.path} defines or needs it"
            else:
                where = f"in {answer.reference.module.path}" if answer.reference.module else "here"
                target = (
                    f"would find it in {answer.definer.path}"
                    if answer.definer
                    else "would not find it"
                )
                yield f"{style.bold(name)}: no relocation {where} refers to it; dlsym(RTLD_DEFAULT) {target}"
                yield from self._walk(answer)
        else:
            count = sum(len(case.referrers) for case in result.cases)
            yield f"{style.bold(name)}: {_plural(count, 'module')} {'refers' if count == 1 else 'refer'} to it"
        for case in result.cases:
            yield ""
            yield from self._case(case)
        yield from self._near(result.near)

    def _case(self, case: Case) -> Iterator[str]:
        answer, style = case.answer, self.style
        shown = case.referrers if self.everything else case.referrers[:_SHOWN]
        for module in shown:
            yield style.bold(module.path)
        if len(shown) < len(case.referrers):
            yield f"and {len(case.referrers) - len(shown)} more (-a shows all)"
        version = f"@{answer.reference.version}" if answer.reference.version else ", no version"
        asked = f"{self.respell(answer.reference.name)}{version}, {USE_NAMES[answer.reference.use]}"
        if answer.definer is None:
            nobody = (
                "nobody: undefined, allowed since it is weak"
                if answer.kind == "weak-undefined"
                else "nobody"
            )
            target = style.paint(nobody, "yellow" if answer.kind == "weak-undefined" else "red")
        else:
            target = style.green(answer.definer.path)
            if answer.definition is not None:
                target += f" at {answer.definition.value:#x}"
        yield f"  asks for {asked}"
        yield f"  bound to {target} ({answer.kind})"
        if answer.note:
            yield f"  because  {answer.note}"
        yield from self._walk(answer)

    def _walk(self, answer: Answer) -> Iterator[str]:
        style = self.style
        for name, count in answer.scopes:
            yield f"  scope {name}: {_plural(count, 'module')}"
        needs = sum(row.verdict == REFERENCE for row in answer.rows)
        for row in answer.rows:
            if row.verdict == REFERENCE and not self.everything:
                continue
            yield self._row(row)
        if needs and not self.everything:
            yield style.dim(
                f"          {_plural(needs, 'module')} without a definition that need it, too"
            )

    def _row(self, row: Row) -> str:
        verdict = self.style.paint(row.verdict, _COLOURS[row.verdict])
        name = row.spelled
        if self.respell(row.symbol.name) != row.symbol.name:
            name = self.respell(row.symbol.name) + name[len(row.symbol.name) :]
        reason = f": {row.reason}" if row.reason else ""
        return f"    {row.module.index:>4}  {row.module.path}  {name}  {verdict}{reason}"

    def _near(self, near: list[NearMiss]) -> Iterator[str]:
        if not near:
            return
        yield ""
        yield self.style.bold("near misses")
        shown = near if self.everything else near[:20]
        for miss in shown:
            yield f"  {miss.path}  {self.respell(miss.name)}  {miss.reason}"
        if len(shown) < len(near):
            yield f"  and {len(near) - len(shown)} more (-a shows all)"

    # -- libraries --------------------------------------------------------------------------------

    def _library(self, result: WhyLibrary) -> Iterator[str]:
        if result.module is not None:
            yield from self._loaded(result, result.module)
            return
        style, name = self.style, result.name
        if result.elsewhere is not None:
            found = result.elsewhere
            yield f"{style.bold(name)}: not among the modules of {self.ns.main.path}: nobody needs it"
            yield f"  the program itself would find {found.path} {style.cyan(f'[{found.rule}]')}"
            return
        who, error = result.failed[0]
        if name in self.ns.missing:
            yield f"{style.bold(name)}: {style.red('not found')}: {getattr(error, 'reason', error)}"
            yield from self._list("needed by", [module for module, _ in result.failed])
        else:
            yield f"{style.bold(name)}: nobody needs it, and {who.path} would not find it"
        yield "  tried, in this order:"
        for path, rule, said in summary(self.ns, name, error):
            yield f"    {path} {style.cyan(f'[{rule}]')}" + (f" {said}" if said else "")
        yield from self._near(result.near)

    def _loaded(self, result: WhyLibrary, module: Module) -> Iterator[str]:
        style, ns = self.style, self.ns
        yield f"{style.bold(module.path)} {style.cyan(f'[{rule_of(ns, module)}]')}"
        yield f"  number {module.index} of {len(ns.modules)} in load order; initialised {_ordinal(module.init_index + 1)}"
        if module.soname:
            yield f"  DT_SONAME {module.soname}"
        if module is ns.main:
            yield "  it is the program"
            return
        if len(result.chain) > 1:
            yield f"  loaded for {' -> '.join(m.path for m in result.chain)}"
        yield from self._list("needed by", result.needed_by)
        for requester, name, found in result.asked[: None if self.everything else 1]:
            yield f"  {requester.path} asked for {name}; tried:"
            tried = considered(found)
            for candidate in tried:
                said = candidate.outcome + (f": {candidate.detail}" if candidate.detail else "")
                yield f"    {candidate.path} {style.cyan(f'[{candidate.rule}]')} {said}"

    def _list(self, title: str, modules: list[Module]) -> Iterator[str]:
        shown = modules if self.everything else modules[:_SHOWN]
        for module in shown:
            yield f"  {title} {module.path}"
        if len(shown) < len(modules):
            yield f"  and {len(modules) - len(shown)} more (-a shows all)"


def _plural(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _ordinal(number: int) -> str:
    if number <= 0:
        return "never"
    suffix = (
        "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    )
    return f"{number}{suffix}"


# -- JSON -----------------------------------------------------------------------------------------


def body(ns: Namespace, path: str, result: WhySymbol | WhyLibrary) -> dict[str, Any]:
    """The same for JSON."""
    near = [{"path": miss.path, "name": miss.name, "reason": miss.reason} for miss in result.near]
    head = {"path": path, "model": ns.model, "name": result.name, "missing": result.missing}
    if isinstance(result, WhySymbol):
        answers = [_answer(case.answer, case.referrers) for case in result.cases]
        alone = result.unreferenced
        return {
            **head,
            "what": "symbol",
            "version": result.version,
            "references": answers,
            "dlsym": None if alone is None else _answer(alone, []),
            "near_misses": near,
        }
    module = result.module
    return {
        **head,
        "what": "library",
        "module": None if module is None else module.path,
        "rule": None if module is None else rule_of(ns, module),
        "chain": [m.path for m in result.chain],
        "needed_by": [
            m.path for m in (result.needed_by if module else [who for who, _ in result.failed])
        ],
        "would_find": result.elsewhere.path if result.elsewhere is not None else None,
        "searches": [
            {
                "requester": who.path,
                "name": name,
                "candidates": [c._asdict() for c in considered(found)],
            }
            for who, name, found in result.asked
        ]
        + [
            {
                "requester": who.path,
                "name": result.name,
                "candidates": [c._asdict() for c in considered(error)],
            }
            for who, error in result.failed
        ],
        "near_misses": near,
    }


def _answer(answer: Answer, referrers: list[Module]) -> dict[str, Any]:
    return {
        "referrers": [module.path for module in referrers],
        "symbol": answer.reference.name,
        "version": answer.reference.version,
        "use": USE_NAMES[answer.reference.use],
        "kind": answer.kind,
        "definer": None if answer.definer is None else answer.definer.path,
        "value": None if answer.definition is None else answer.definition.value,
        "because": answer.note or None,
        "scopes": [{"name": name, "modules": count} for name, count in answer.scopes],
        "candidates": [
            {"module": r.module.path, "symbol": r.spelled, "verdict": r.verdict, "reason": r.reason}
            for r in answer.rows
        ],
    }
