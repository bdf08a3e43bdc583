"""The PE pipeline. READ FIRST: a Windows program is linked by these passes, in this order.

Unlike ELF's, loading and binding are one pass: a DLL's own imports are bound before those of whoever asked for it, and a
forwarder that is met on the way may load one more. Addresses are given when a module is added, as Windows maps it then.
"""

from __future__ import annotations

import time

from rtld.errors import Unsupported
from rtld.events import QUIET
from rtld.pe.bound import check_bound
from rtld.pe.image import build_images, count_relocations
from rtld.pe.initterm import FIRST, count_references, order_initialisers
from rtld.pe.load import bind_imports, load_dll, load_program, run
from rtld.pe.module import PeNamespace, Policies
from rtld.pe.search import Places, Search
from rtld.pe.types import machine_name
from rtld.pe.windows import windows_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rtld.core.space import AddressSpace
    from rtld.events import Reporter
    from rtld.pe.file import PeFile
    from rtld.pe.windows import Windows


def timed(ns: PeNamespace, name: str, step: Callable[[], object]) -> None:
    """Run one pass and keep its CPU time."""
    begin = time.process_time()
    step()
    seconds = time.process_time() - begin
    ns.timings.append((name, seconds))
    ns.reporter.pass_done(name, seconds, {})


def open_namespace(
    file: PeFile,
    path: str,
    *,
    windows: Windows | None = None,
    windows_dir: str | None = None,
    apisets: str | None = None,
    known: Iterable[str] = (),
    dll_path: Sequence[str] = (),
    search_path: Sequence[str] = (),
    current: str | None = None,
    safe: bool = True,
    policies: Policies | None = None,
    reporter: Reporter = QUIET,
) -> PeNamespace:
    """An empty namespace for a program: its CPU, its system, its search rules."""
    if not file.arch:
        raise Unsupported(f"{file.name}: {machine_name(file.machine)} is not known here")
    from rtld.arch import by_name

    if windows is None:
        windows = windows_for(file.arch, windows_dir, apisets=apisets, known=known)
    places = Places(
        windows, application=path.rpartition("/")[0] or ".", dll_path=dll_path, path=search_path,
        current=current, safe=safe,
    )  # fmt: skip
    search = Search(places, file.machine)
    return PeNamespace(by_name(file.arch), search, windows, policies or Policies(), reporter)


def load(
    ns: PeNamespace,
    file: PeFile,
    path: str,
    space: AddressSpace,
    first: tuple[str, ...] = FIRST,
) -> PeNamespace:
    """Everything the program is made of, mapped and bound."""
    main = load_program(ns, file, path, space)

    # The system's own are in every process, and come before what the program asks for.
    for name in first:
        run(load_dll(ns, space, name, None))

    # Depth first; forwarders load more on the way.
    run(bind_imports(ns, space, main))
    # Beyond this point no module is added, and every import has its definition.
    return ns


def finish(ns: PeNamespace) -> PeNamespace:
    """What follows from the bindings: order of DllMain, reference counts, what was bound beforehand."""
    order_initialisers(ns)
    count_references(ns)
    if ns.policies.bound != "ignore":
        check_bound(ns)
    return ns


def relocate(ns: PeNamespace) -> PeNamespace:
    """Images of all modules, moved and with their imports filled in."""
    timed(ns, "images", lambda: build_images(ns, ns.modules))
    return ns


def measure(ns: PeNamespace) -> PeNamespace:
    """How many base relocations there are, without an image."""
    timed(ns, "relocations", lambda: count_relocations(ns, ns.modules))
    return ns
