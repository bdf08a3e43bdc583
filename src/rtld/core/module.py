"""The nouns every pass shares: Module, Namespace, Scope, Definition. They know no file format and no CPU."""

from __future__ import annotations

from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rtld.events import Reporter

#: The answer to a look-up: (module, index in its symbol table). ``module`` is None for an undefined weak reference.
Definition = namedtuple("Definition", "module symbol")


class Module:
    """A file placed in a namespace: what ``struct link_map`` is. Fields are grouped by the pass that fills them."""

    __slots__ = (
        "aliases",
        "base",
        "binding_time",
        "file",
        "filters",
        "found",
        "hosted",
        "image",
        "index",
        "init_index",
        "is_libc_family",
        "late",
        "loader",
        "missing",
        "needed",
        "path",
        "scopes",
        "soname",
        "tls_block",
        "tls_id",
        "tls_offset",
    )

    def __init__(self, file: Any, path: str, index: int = 0) -> None:
        # found (elf/load.py)
        self.late: Any = None  # who makes what nobody has asked for yet (``__getattr__``)
        self.file: Any = file  # the decoded file
        self.path = path  # the name it was opened by: what ld.so prints
        self.index = index  # position in load order
        self.soname: str | None = None
        self.aliases: set[str] = (
            set()
        )  # every name that leads here: DT_NEEDED strings, soname, paths
        self.found: Any = None  # search.Found: rule, owner, candidates
        self.loader: Module | None = None  # who asked for it first
        self.needed: list[Module] = []  # DT_NEEDED, in order, those that were found
        self.missing: list[str] = []  # DT_NEEDED names that were not
        self.filters: list[
            Module
        ] = []  # DT_FILTER and DT_AUXILIARY targets, searched just before this module
        self.is_libc_family = (
            False  # libc, ld.so and their siblings: the platform's own, never loaded twice
        )
        self.hosted = False  # loaded and relocated by somebody else already: only looked into, never mapped by us
        # scopes (elf/load.py: build_scopes)
        self.scopes: tuple[Scope, ...] = ()  # searched in turn for this module's references
        # init order (elf/initfini.py)
        self.init_index = -1
        # TLS (elf/tls.py)
        self.tls_id = 0  # module id, 0 without PT_TLS
        self.tls_offset = 0  # of the block from the thread pointer, signed
        self.tls_block = 0  # of the block in TLS module tls_id, where that is shared with others
        # reserve
        self.base = 0  # load bias: address of p_vaddr 0
        # build_images
        self.image: Any = None

    def __getattr__(self, name: str) -> Any:
        # Of a module that was loaded without Python having looked into it ``file`` and ``found`` are not set.
        if name not in ("file", "found") or self.late is None:
            raise AttributeError(name)
        value = getattr(self.late, name)(self)
        setattr(self, name, value)
        return value

    def __repr__(self) -> str:
        return f"<Module {self.index} {self.path}>"


class Scope:
    """An ordered tuple of modules searched for a symbol, with the name people know it by."""

    __slots__ = ("modules", "name")

    def __init__(self, name: str, modules: tuple[Module, ...]) -> None:
        self.name = name  # "global", "local of X", "self" (DT_SYMBOLIC)
        self.modules = modules

    def __repr__(self) -> str:
        return f"<Scope {self.name}: {len(self.modules)} modules>"


class Problem:
    """One thing that is missing or will fail at run time. ``fatal``: the reference loader would refuse to start."""

    __slots__ = ("fatal", "kind", "message", "module", "subject", "version")

    def __init__(
        self,
        kind: str,
        module: str,
        subject: str,
        message: str,
        fatal: bool = True,
        version: str | None = None,
    ) -> None:
        self.kind = kind  # "library", "symbol", "version", "static tls", "text relocation", ...
        self.module = module  # path of the module that has it
        self.subject = subject  # the name that is missing
        self.message = message
        self.fatal = fatal
        self.version = version

    def __repr__(self) -> str:
        return f"<Problem {self.kind}: {self.message}>"


class Namespace:
    """The modules of one program in load order, with what all passes share. The first argument of every pass."""

    def __init__(self, model: str, arch: Any, reporter: Reporter) -> None:
        self.model = model  # whose rules: a key of elf.models.MODELS
        self.host_model = ""  # whose rules hosted modules follow, where it is another's
        self.arch = arch
        self.reporter = reporter
        self.search: Any = None  # elf.search.Search
        self.main: Module
        self.modules: list[Module] = []  # load order
        self.by_name: dict[str, Module] = {}  # every alias
        self.by_identity: dict[tuple[int, int], Module] = {}  # (st_dev, st_ino)
        self.preloads: list[Module] = []
        self.interp: Module | None = None  # the module that is the program's own dynamic linker
        self.global_scope: Scope = Scope("global", ())
        self.dynamic_sort = 2  # glibc.rtld.dynamic_sort: 2 depth first, 1 the older scan
        self.dynamic_weak = (
            False  # LD_DYNAMIC_WEAK: a strong definition goes before an earlier weak one
        )
        self.relocation_order: list[Module] = []  # dependencies first
        self.init_order: list[Module] = []  # dependencies first; DF_1_INITFIRST before all
        self.problems: list[Problem] = []
        self.missing: dict[
            str, list[tuple[Module, Exception]]
        ] = {}  # names nobody answers to: who asked, why not
        self.searches: dict[tuple[int, str], Any] = {}  # (requester's index, name) -> search.Found
        self.tls: Any = None  # elf.tls.TlsLayout
        self.overrides: dict[
            tuple[Module, int], int
        ] = {}  # definitions that are led to another address
        self.substitutes: Any = (
            None  # (rows of ``bindings``, addresses): definitions that stand elsewhere
        )
        self.bindings: Any = None  # elf.resolve.Bindings
        self.unique: dict[str, tuple[Module, int]] = {}  # STB_GNU_UNIQUE names that are settled
        self.columns: Any = None  # elf.lookup.Columns
        self.relocations: Any = None  # elf.resolve.Relocations
        self.notices: list[Any] = []  # elf.notices.Notice: what is said while all this is relocated
        self.ifuncs: list[Any] = []  # places that wait for a resolver to be called
        self.descriptors: list[Any] = []  # TLS descriptors, to be given a resolver
        self.counts: dict[Module, dict[str, int]] = {}  # relocations applied, by type name
        self.copies: list[Any] = []  # what COPY relocations copied
        self.arena: Any = None  # the memory all images are slices of
        self.lazy_load = False  # heed DF_P1_LAZYLOAD: what it marks is left out
        self.leaves_out: Callable[[Module, str], bool] | None = (
            None  # which needs are left out besides
        )
        self.postponed: dict[Module, list[str]] = {}  # what was left out, by who needs it
        self.lazy = False  # leave JUMP_SLOTs to the first call
        self.told_when_called: dict[
            int, list[Any]
        ] = {}  # row of bindings -> notices; its slots wait
        self.timings: list[tuple[str, float]] = []  # (pass, CPU seconds)
