"""The ELF pipeline. READ FIRST: a program is linked by these passes, in this order.

``find_closure`` is what tree and ldd need; ``bind`` adds what why and check need; ``relocate`` makes the images. Nothing
here touches the memory a program will run in: that is a back end's, through ``rtld.process``.
"""

from __future__ import annotations

import time

from rtld.core.module import Namespace
from rtld.elf.initfini import order_initialisers
from rtld.elf.load import (
    build_scopes,
    load_interpreter,
    load_needed,
    load_preloads,
    load_program,
)
from rtld.elf.models import MODELS
from rtld.elf.search import Search, SearchOptions, model_of
from rtld.elf.types import ET_DYN, ET_EXEC, TYPE_NAMES, machine_name
from rtld.errors import FormatError, NotFound, Unsupported
from rtld.events import QUIET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rtld.core.space import AddressSpace
    from rtld.elf.file import ElfFile
    from rtld.events import Reporter


def timed(ns: Namespace, name: str, step: Callable[[], object]) -> None:
    """Run one pass and keep its CPU time."""
    begin = time.process_time()
    step()
    seconds = time.process_time() - begin
    ns.timings.append((name, seconds))
    ns.reporter.pass_done(name, seconds, {})


def open_namespace(
    file: ElfFile, path: str, options: SearchOptions, reporter: Reporter = QUIET
) -> Namespace:
    """An empty namespace for a program: its CPU, its model, its search rules."""
    from rtld.arch import arch_for

    if file.type not in (ET_EXEC, ET_DYN):
        kind = TYPE_NAMES.get(file.type, file.type)
        raise FormatError(
            file.name,
            "ELF header",
            "e_type",
            kind,
            "ET_EXEC or ET_DYN: a program or shared library",
        )
    arch = options.arch or arch_for(file.machine, file.bits, file.order, file.flags)
    if arch is None:
        order = "little" if file.order == "<" else "big"
        raise Unsupported(
            f"{file.name}: {machine_name(file.machine)}, {file.bits} bits, {order}-endian is not known here"
        )
    ns = Namespace(options.model or model_of(file), arch, reporter)
    ns.search = Search(options, file, path)
    if MODELS[ns.model].strong_first:
        # To FreeBSD's the variable means the opposite (rtld(1)).
        ns.dynamic_weak = not (ns.model == "freebsd" and "LD_DYNAMIC_WEAK" in ns.search.env)
    if ns.model == "glibc":
        ns.dynamic_weak = "LD_DYNAMIC_WEAK" in ns.search.env
        ns.dynamic_sort = _dynamic_sort(ns.search.env.get("GLIBC_TUNABLES", ""))
    return ns


def _dynamic_sort(tunables: str) -> int:
    """glibc.rtld.dynamic_sort of a GLIBC_TUNABLES string: 1 or, as is the default, 2."""
    value = 2
    for setting in tunables.split(":"):
        name, _, text = setting.partition("=")
        if name == "glibc.rtld.dynamic_sort" and text in ("1", "2"):
            value = int(text)
    return value


def find_closure(ns: Namespace, file: ElfFile, path: str) -> Namespace:
    """Every file the program is made of, in load order."""
    load_program(ns, file, path)

    # The program's own dynamic linker is loaded before anything else; it is listed where somebody needs it.
    find_interpreter(ns)

    # LD_PRELOAD comes before anything the program asks for.
    load_preloads(ns)

    # Breadth first over DT_NEEDED: this order is the load order, and so the search order.
    load_needed(ns)
    # Beyond this point no module is added.

    # Dependencies first; relocation goes in this order too.
    order_initialisers(ns)
    return ns


def find_interpreter(ns: Namespace) -> None:
    """Open PT_INTERP; for a library, the CPU's usual one, which is what ldd would be run with."""
    main = ns.main.file
    if main.dynamic is None:
        return
    name = main.interp
    if name is not None:
        found = ns.search.interp
        if found is not None:
            load_interpreter(ns, found.file, name, found.path)
        return
    names = ns.arch.interpreters if ns.model != "musl" else [f"/lib/ld-musl-{ns.arch.musl[0]}.so.1"]
    for candidate in names:
        try:
            found = ns.search.open(candidate, "interpreter")
        except (NotFound, FormatError):
            continue
        load_interpreter(ns, found.file, candidate, found.path)
        return


def bind(ns: Namespace) -> Namespace:
    """Versions, scopes, TLS layout, and every reference's definition."""
    from rtld.elf.lookup import Columns
    from rtld.elf.notices import note
    from rtld.elf.properties import check_isa
    from rtld.elf.resolve import resolve_symbols
    from rtld.elf.tls import layout_tls
    from rtld.elf.versions import check_versions

    # Every version a module requires must be defined by the module it names.
    timed(ns, "versions", lambda: check_versions(ns))
    check_isa(ns)

    # The global scope; DT_SYMBOLIC modules look into themselves first.
    timed(ns, "scopes", lambda: build_scopes(ns))

    # Module ids, and an offset from the thread pointer for everything present at start.
    timed(ns, "tls", lambda: layout_tls(ns))

    # Each symbol a module refers to, once, in its scope.
    def resolve() -> None:
        ns.columns = Columns(ns.modules)
        ns.relocations, ns.bindings = resolve_symbols(ns, ns.modules, ns.global_scope.modules)

    timed(ns, "resolve", resolve)

    # What the reference loader would say of it, or stop at, while it relocates.
    timed(ns, "notices", lambda: note(ns))
    if ns.reporter.wants & {"symbols", "bindings", "reloc"}:
        from rtld.elf.explain import tell_bindings

        tell_bindings(ns, ns.reporter)
    return ns


def reserve(ns: Namespace, space: AddressSpace) -> None:
    """Ask the address space for room. The only pass that chooses addresses."""
    for module in ns.modules:
        low, high = module.file.span
        fixed = module is ns.main and module.file.type == ET_EXEC
        module.base = space.reserve(high - low, module.file.max_align, low if fixed else None) - low
    # Beyond this point addresses are fixed.


def relocate(ns: Namespace) -> Namespace:
    """Images of all modules, relocated as far as that is possible without running anything."""
    from rtld.elf.images import build_images, relocate_relative
    from rtld.elf.relocate import relocate_copies, relocate_symbolic

    modules = [module for module in ns.modules if not module.hosted]

    # PT_LOAD segments into one array per module; bss is zero.
    timed(ns, "images", lambda: build_images(ns, modules))

    # Base-relative relocations need no symbol. They are three in four.
    timed(ns, "relative", lambda: relocate_relative(ns, modules))

    # Symbolic and TLS relocations; lazy slots keep pointing into their PLT.
    timed(ns, "symbolic", lambda: relocate_symbolic(ns, modules, ns.relocations, ns.bindings))

    # Copies last, when what they copy has its final value. Only the program may have them.
    timed(ns, "copies", lambda: relocate_copies(ns))
    for module in ns.relocation_order:
        if not module.hosted:
            ns.reporter.relocated(module, ns.counts.get(module, {}))
    # Beyond this point images are final, but for what only running code can tell (IFUNC).
    return ns
