"""The program of an emulated process and the libraries it needs, found where the guest's own kernel would find them."""

from __future__ import annotations

import os

from rtld.elf.link import find_closure, open_namespace
from rtld.elf.search import SearchOptions
from rtld.elf.sysroot import Sysroot
from rtld.elf.tls import layout_tls
from rtld.events import QUIET
from rtld.process.emulated.refusal import refuse_missing
from rtld.process.hooks import SearchHook

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rtld.core.module import Module, Namespace
    from rtld.elf.file import ElfFile
    from rtld.process.emulated.guest import Guest
    from rtld.process.emulated.system import Link, System


def can_link(file: ElfFile) -> bool:
    """Is there anything for us to link?"""
    return file.dynamic is not None and file.interp is not None and bool(file.needed)


class _Root(Sysroot):
    """The guest's names for the linker: the same walk as the guest's kernel does."""

    __slots__ = ("_tree",)

    def __init__(self, system: System) -> None:
        super().__init__(system.sysroot or "/nonexistent")
        self._tree = system.tree

    def host(self, path: str) -> str:
        with self._tree.find(path) as place:
            directory = os.readlink(f"/proc/self/fd/{place.fd}")
            return directory if place.name == "." else f"{directory.rstrip('/')}/{place.name}"

    def folder(self, path: str) -> str:
        try:
            found = self._tree.guest_path(self.host(path))
        except OSError:
            found = None
        return os.path.dirname(found or path)


def find_program(guest: Guest, link: Link) -> Namespace:
    """The closure, and who of it is hosted."""
    process = guest.process
    env = {}
    for text in process.env:
        name, _, value = text.partition(b"=")
        env[os.fsdecode(name)] = os.fsdecode(value)
    kernel = guest.machine.kernel
    options = SearchOptions(
        env=env, sysroot=guest.system.sysroot or "/nonexistent", cwd=kernel.cwd, cpu="baseline",
        library_path=link.library_path, preload=link.preload,
    )  # fmt: skip

    def find(
        leaves_out: Callable[[Module, str], bool] | None = None, last: bool = True
    ) -> Namespace:
        ns = open_namespace(guest.file, "", options, guest.reporter if last else QUIET)
        path = process.program.path
        ns.search.sysroot = _Root(guest.system)
        ns.search.main_path = path
        ns.lazy = link.lazy and not ns.search.env.get("LD_BIND_NOW")
        ns.leaves_out = leaves_out
        if last and link.hooks is not None:
            ns.search.rules = SearchHook(ns.search.rules, link.hooks)
            link.hooks.activity("add")
        if last:
            guest.reporter.name_main(guest.program)
        find_closure(ns, guest.file, path)
        guest.marks_hosted(ns)
        return ns

    if link.lazy_load:
        from rtld.process.emulated.lazyload import find_closure_lazily

        ns = find_closure_lazily(find)
    else:
        ns = find()
    refuse_missing(ns, guest.program, guest.reporter, guest.system.sysroot)
    layout_tls(ns)
    return ns
