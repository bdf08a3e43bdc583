"""Why is it so? Everything to be said about one name in a linked program: a symbol, or a library."""

from __future__ import annotations

from rtld.elf.explain import Answer, Reference, entries, explain, explain_binding, references
from rtld.errors import FormatError, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.core.module import Module, Namespace
    from rtld.elf.explain import Symbol
    from rtld.elf.nearby import NearMiss
    from rtld.elf.search import Found


class Case:
    """References that were answered in the same way for the same reasons: who has them, and the answer."""

    __slots__ = ("answer", "referrers")

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.referrers: list[Module] = []


class WhySymbol:
    """All references to a symbol; without any, what dlsym would find."""

    def __init__(self, name: str, version: str | None) -> None:
        self.name = name
        self.version = version
        self.cases: list[Case] = []
        self.unreferenced: Answer | None = None
        self.near: list[NearMiss] = []

    @property
    def missing(self) -> bool:
        """Whether somebody needs it and does not get it, or nobody has it at all."""
        if self.unreferenced is not None:
            return self.unreferenced.definer is None
        return any(case.answer.kind == "undefined" for case in self.cases)


class WhyLibrary:
    """A library: who needs it, which rule found it, what was tried."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.module: Module | None = None
        self.chain: list[Module] = []  # from the program to the module that it was loaded for
        self.needed_by: list[Module] = []
        self.asked: list[
            tuple[Module, str, Found]
        ] = []  # searches that led to it: who, by which name
        self.failed: list[tuple[Module, Exception]] = []
        self.elsewhere: Found | None = None  # nobody needs it: what the program would find
        self.near: list[NearMiss] = []

    @property
    def missing(self) -> bool:
        """Whether it is not in the program."""
        return self.module is None


def why(ns: Namespace, name: str) -> WhySymbol | WhyLibrary:
    """The account of ``name``: SYMBOL, SYMBOL@VERSION, MODULE:SYMBOL, or a library by name or path."""
    module = module_called(ns, name)
    if module is not None or name in ns.missing:
        return why_library(ns, name, module)
    if "/" in name or ".so" in name.partition(":")[0].rpartition("/")[2]:
        left, _, right = name.rpartition(":")
        if not left or not right:
            return why_library(ns, name, None)
    left, symbol = split_module(name)
    referrer = module_called(ns, left) if left else None
    if left and referrer is None:
        return why_library(ns, left, None)
    base, _, version = symbol.partition("@")
    return why_symbol(ns, base, version.lstrip("@") or None, referrer)


def module_called(ns: Namespace, name: str) -> Module | None:
    """The module that is known by this name, path, or base name."""
    known = ns.by_name.get(name)
    if known is not None and known.index >= 0:
        return known
    for module in ns.modules:
        if name in (module.path, module.soname, module.path.rpartition("/")[2], module.file.path):
            return module
    return None


def split_module(name: str) -> tuple[str, str]:
    """MODULE:SYMBOL taken apart, ("", name) when it is no such thing: ``a::b`` is a name of C++."""
    left, colon, right = name.rpartition(":")
    if not colon or left.endswith(":") or not left or not right:
        return "", name
    return left, right


def why_symbol(ns: Namespace, name: str, version: str | None, referrer: Module | None) -> WhySymbol:
    """Every reference to the name (of one module, with one version), alike ones together."""
    result = WhySymbol(name, version)
    found = entries(ns, name)
    cases: dict[object, Case] = {}
    for row in references(ns, found):
        answer = explain_binding(ns, row, found)
        module = answer.reference.module
        assert module is not None
        if (referrer is not None and module is not referrer) or (
            version and answer.reference.version != version
        ):
            continue
        key = _key(answer)
        case = cases.get(key)
        if case is None:
            case = cases[key] = Case(answer)
        if module not in case.referrers:
            case.referrers.append(module)
    result.cases = list(cases.values())
    if not result.cases:
        result.unreferenced = explain(ns, Reference(name, version, referrer), found)
    if result.missing:
        from rtld.elf.nearby import near_misses

        who = result.cases[0].referrers[0] if result.cases else referrer
        result.near = near_misses(ns, name, who)
    return result


def _key(answer: Answer) -> tuple[object, ...]:
    """What two references must have in common to be told as one."""
    definition: Symbol | None = answer.definition
    verdicts = tuple((row.module.index, row.symbol.index, row.verdict) for row in answer.rows)
    reference = answer.reference
    return (
        answer.definer, definition.index if definition else 0, answer.kind, reference.version, reference.use,
        verdicts, tuple(answer.scopes),
    )  # fmt: skip


def why_library(ns: Namespace, name: str, module: Module | None) -> WhyLibrary:
    """Who needs the library, how it was found; where it is missing, what was tried and what is near."""
    result = WhyLibrary(name)
    result.module = module
    modules = {m.index: m for m in ns.modules}
    if module is not None:
        result.needed_by = [m for m in ns.modules if module in m.needed]
        step: Module | None = module
        while step is not None and step not in result.chain:
            result.chain.insert(0, step)
            step = step.loader
        for (index, asked), found in ns.searches.items():
            if found is module.found or (
                found.file.identity and found.file.identity == module.file.identity
            ):
                result.asked.append((modules[index], asked, found))
        return result
    from rtld.elf.nearby import near_libraries

    result.failed = list(ns.missing.get(name, ()))
    requester = result.failed[0][0] if result.failed else ns.main
    if not result.failed:
        try:
            result.elsewhere = ns.search.find(name, ns.main)
        except (NotFound, FormatError) as error:
            result.failed = [(ns.main, error)]
    if result.elsewhere is None:
        result.near = near_libraries(ns, name, requester)
    return result
