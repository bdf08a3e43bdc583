"""``rtld.link``: link a program against addresses nobody uses, and look at the result. Never executes anything."""

from __future__ import annotations

import os

from rtld.backends.dryrun import DryRun
from rtld.elf.file import ElfFile
from rtld.elf.link import bind, find_closure, open_namespace, relocate, reserve, timed
from rtld.elf.models import MODELS
from rtld.elf.search import SearchOptions
from rtld.errors import NotFound
from rtld.events import QUIET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from rtld.core.module import Module, Namespace, Problem, Scope
    from rtld.elf.resolve import Bindings
    from rtld.elf.tls import TlsLayout
    from rtld.elf.why import WhyLibrary, WhySymbol
    from rtld.events import Reporter


class Link:
    """A linked program. What has not been computed yet is, when it is first asked for.

    ``namespace`` has everything; the properties are the parts people ask for. Closing drops the files' maps.
    """

    def __init__(self, namespace: Namespace, path: str) -> None:
        self.namespace = namespace
        self.path = path
        self._bound = False
        self._relocated = False

    def __repr__(self) -> str:
        return f"<Link {self.path}: {len(self.modules)} modules, {self.model}>"

    @property
    def model(self) -> str:
        """Whose rules were followed: "glibc" or "musl"."""
        return self.namespace.model

    @property
    def modules(self) -> list[Module]:
        """All modules in load order, the program first."""
        return self.namespace.modules

    @property
    def init_order(self) -> list[Module]:
        """Modules in the order their initialisers run: dependencies first, the program last."""
        return self.namespace.init_order

    @property
    def problems(self) -> list[Problem]:
        """What is missing or would fail, in the order it was met; after ``bind`` also symbols and versions."""
        return self.namespace.problems

    def bind(self) -> Link:
        """Check versions, lay out TLS, answer every reference. Done once."""
        if not self._bound:
            self._bound = True
            if self.modules[0].file.dynamic is not None:
                bind(self.namespace)
            self.reserve()
        return self

    def reserve(self) -> None:
        """Give every module its address."""
        space = DryRun(self.modules[0].file.bits)
        timed(self.namespace, "reserve", lambda: reserve(self.namespace, space))

    def relocate(self) -> Link:
        """Make every module's image. Done once."""
        self.bind()
        if not self._relocated:
            self._relocated = True
            if self.modules[0].file.dynamic is not None:
                relocate(self.namespace)
        return self

    def bindings(self) -> Bindings:
        """Every reference with its definition, as columns; iterating gives (referrer, definer, symbol, version, kind)."""
        self.bind()
        found: Bindings | None = self.namespace.bindings
        if found is None:
            # A static program refers to nothing.
            from rtld.elf.lookup import Columns
            from rtld.elf.resolve import Bindings

            found = self.namespace.bindings = Bindings(Columns(self.modules))
        return found

    def why(self, name: str) -> WhySymbol | WhyLibrary:
        """The account of SYMBOL, SYMBOL@VERSION, MODULE:SYMBOL or a library: candidates, reasons, near misses."""
        from rtld.elf.why import why

        self.bind()
        return why(self.namespace, name)

    @property
    def scopes(self) -> dict[Module, tuple[Scope, ...]]:
        """The scopes each module's references are looked up in, in turn."""
        self.bind()
        return {module: module.scopes for module in self.modules}

    @property
    def tls(self) -> TlsLayout:
        """The static TLS layout: modules by id, their offsets from the thread pointer, the size of it all."""
        self.bind()
        layout: TlsLayout = self.namespace.tls
        return layout

    @property
    def relocation_counts(self) -> dict[Module, dict[str, int]]:
        """How many relocations of each type every module has."""
        self.relocate()
        return self.namespace.counts

    @property
    def timings(self) -> list[tuple[str, float]]:
        """(pass, CPU seconds) in the order they ran."""
        return self.namespace.timings


def find(
    path: str | os.PathLike[str] | bytes | memoryview,
    *,
    library_path: str | None = None,
    preload: str | Sequence[str] | None = None,
    sysroot: str | None = None,
    env: Mapping[str, str] | None = None,
    model: str | None = None,
    reporter: Reporter = QUIET,
    **search: Any,
) -> Link:
    """The closure only: which files, in which order, found by which rule. Cheap; needs no numpy.

    ``library_path`` and ``preload`` stand for LD_LIBRARY_PATH and LD_PRELOAD, ``env`` for the whole environment,
    ``sysroot`` for a directory that is the root of everything; ``model`` overrides whose rules are followed. Further
    keywords are those of ``elf.search.SearchOptions``. Raises OSError, FormatError or Unsupported for the file itself;
    what is missing behind it is in ``Link.problems``. ValueError for a model that is none, NotFound for a sysroot.
    """
    if model is not None and model not in MODELS:
        raise ValueError(f"model is {model!r}; one of {', '.join(MODELS)}")
    if sysroot is not None and not os.path.isdir(sysroot):
        raise NotFound(os.fspath(sysroot), None, (), "no such directory")
    options = SearchOptions(
        library_path=library_path, preload=preload, sysroot=sysroot, env=env, model=model, **search
    )
    file = ElfFile(path)
    name = file.path if file.path is not None else file.name
    # Bytes and descriptors have no place: $ORIGIN has no value for them.
    namespace = open_namespace(file, file.path or "", options, reporter)
    timed(namespace, "find", lambda: find_closure(namespace, file, name))
    return Link(namespace, name)


def link(
    path: str | os.PathLike[str] | bytes | memoryview, *, relocated: bool = True, **options: Any
) -> Link:
    """Link a program or library as the reference loader would, down to its relocated images.

    Takes the keywords of ``find``. With ``relocated=False`` images are left until somebody asks for them.
    """
    result = find(path, **options)
    return result.relocate() if relocated else result.bind()
