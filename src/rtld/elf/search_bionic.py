"""Library search of Android (bionic linker/linker.cpp, open_library, find_library_internal; android-changes-for-ndk-developers.md).

LD_LIBRARY_PATH; DT_RUNPATH of the requester; the directories of its linker namespace, by default /system/lib64, /odm/lib64,
/vendor/lib64. DT_RPATH is ignored. Every directory is resolved first, so that paths have no symbolic links. With an ld.config.txt
(``linkerconfig.py``) what may not be loaded into the requester's namespace, or is not there, is looked for in those it is
linked to, and what is found stays there with all it needs. LD_LIBRARY_PATH belongs to the default namespace.
ELF files in APKs: not here.
"""

from __future__ import annotations

import os

from rtld.elf.linkerconfig import DEFAULT, ConfigError, Link, LinkerNamespace, config_paths, parse
from rtld.elf.search import REFUSED, SEARCH_PATH, Found
from rtld.elf.search_models import ListRules, real_path
from rtld.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rtld.core.module import Module, Namespace
    from rtld.elf.file import ElfFile
    from rtld.elf.search import Search
    from rtld.elf.search_models import Lists


class BionicRules(ListRules):
    """Android's linker."""

    __slots__ = ("_homes", "_namespaces")

    preload_separators = " :"

    def __init__(self, search: Search) -> None:
        super().__init__(search)
        self._namespaces: dict[str, LinkerNamespace] | None = None
        self._homes: dict[ElfFile, str] = {}  # the namespaces of files that were found

    # -- namespaces -------------------------------------------------------------------------------

    @property
    def namespaces(self) -> dict[str, LinkerNamespace]:
        """The linker namespaces that are configured for the program, by name; {} when there is one that may see everything."""
        if self._namespaces is None:
            self._namespaces = {}
            if self.search.options.system_path is None:
                self._namespaces = self._configured()
        return self._namespaces

    def _configured(self) -> dict[str, LinkerNamespace]:
        search = self.search
        program = real_path(search, search.absolute(search.main_path))
        for path in config_paths(program, search.main.machine):
            try:
                data = search.read(path)
            except (OSError, ValueError):
                continue
            try:
                found = parse(data, program, lambda directory: real_path(search, directory))
            except ConfigError as error:
                search.steps.append((path, "ld.config.txt", REFUSED, str(error)))
                found = None
            for namespace in (found or {}).values():
                namespace.search = [real_path(search, self._paths(p)) for p in namespace.search]
                namespace.permitted = [self._paths(path) for path in namespace.permitted]
            return found or {}
        return {}

    def _paths(self, text: str) -> str:
        """A path of the configuration with $LIB; the VNDK's version is that of a device which has none."""
        for token, value in (("LIB", self.lib), ("VNDK_VER", "")):
            text = text.replace(f"${{{token}}}", value).replace(f"${token}", value)
        return text

    def _home(self, module: Module | None) -> LinkerNamespace:
        name = DEFAULT if module is None else self._homes.get(module.file, DEFAULT)
        return self.namespaces[name]

    def visible(self, ns: Namespace, requester: Module, name: str) -> Iterator[Module]:
        """The modules that *requester* may know by the DT_SONAME *name*: of its own namespace, of those it is linked to."""
        home = self._home(requester)
        for link in (Link(home.name, None), *home.links):
            if not link.passes(name):
                continue
            for module in ns.modules:
                # The program and what is preloaded is in every namespace.
                everywhere = module is ns.main or module in ns.preloads
                if everywhere or self._home(module).name == link.to:
                    yield module

    # -- the search -------------------------------------------------------------------------------

    def find(self, name: str, requester: Module | None, preload: bool) -> Found:
        """The requester's namespace, then those it is linked to; raises NotFound."""
        if not self.namespaces:
            return super().find(name, requester, preload)
        home = self._home(requester)
        last = name.rpartition("/")[2]
        error = None
        for link in (Link(home.name, None), *home.links):
            if not link.passes(last):
                continue
            try:
                found = self._find_in(self.namespaces[link.to], name, requester)
            except NotFound as why:
                error = why
                continue
            self._homes.setdefault(found.file, link.to)
            return found
        assert error is not None
        raise error

    def _find_in(self, namespace: LinkerNamespace, name: str, requester: Module | None) -> Found:
        """In one namespace; NotFound, also for what may not be loaded into it."""
        search = self.search
        default = namespace.name == DEFAULT
        more = [*self.directories(self.library_path()[0], None)] if default else []
        if "/" in name:
            path = self.expand(name, requester)
            secure = search.options.secure and not path.startswith("/")
            file = None if secure else self._attempt(path, "path", name, requester)
            if file is None:
                raise search.not_found(name, requester)
            return self._accepted(
                namespace, more, Found(self.named(path), file, "path"), name, requester
            )
        runpath = requester.file.runpath if requester is not None else None
        lists: list[tuple[Iterable[str], str, Module | None]] = [
            (more, self.library_path()[1], None),
            (self.directories(runpath or "", requester), "RUNPATH", requester),
            (namespace.search, f"namespace {namespace.name}", None),
        ]
        for directories, rule, owner in lists:
            found = self._first(directories, rule, owner, name, requester)
            if found is None:
                continue
            if owner is not None and not namespace.accepts(found.path, more):
                self._refuse(namespace, found)  # and the search goes on
                continue
            return self._accepted(namespace, more, found, name, requester)
        raise search.not_found(name, requester)

    def _first(
        self,
        directories: Iterable[str],
        rule: str,
        owner: Module | None,
        name: str,
        requester: Module | None,
    ) -> Found | None:
        listed = list(directories)
        if listed:
            self.search.steps.append((":".join(listed), rule, SEARCH_PATH, f"({rule})"))
        for directory in listed:
            path = f"{directory}/{name}"
            file = self._attempt(path, rule, name, requester)
            if file is not None:
                return Found(self.named(path), file, rule, owner)
        return None

    def _accepted(
        self,
        namespace: LinkerNamespace,
        more: list[str],
        found: Found,
        name: str,
        requester: Module | None,
    ) -> Found:
        """The same, if it may be loaded into the namespace; NotFound."""
        found.steps = self.search.steps
        if namespace.accepts(found.path, more):
            return found
        detail = self._refuse(namespace, found)
        error = self.search.not_found(name, requester)
        error.reason = detail
        raise error

    def _refuse(self, namespace: LinkerNamespace, found: Found) -> str:
        shown = "(default)" if namespace.name == DEFAULT else namespace.name
        detail = f'not accessible for the namespace "{shown}"'
        self.search.steps.append((found.path, found.rule, REFUSED, detail))
        return detail

    # -- lists of directories ---------------------------------------------------------------------

    @property
    def lib(self) -> str:  # type: ignore[override]
        """What $LIB stands for."""
        return "lib64" if self.search.main.bits == 64 else "lib"

    def lists(self, name: str, requester: Module | None) -> Lists:
        del name
        yield *self.library_path(), None
        yield requester.file.runpath if requester is not None else None, "RUNPATH", requester
        yield *self.system_path(), None

    def directories(self, text: str, owner: Module | None) -> Iterator[str]:
        for directory in super().directories(text, owner):
            real = real_path(self.search, directory)
            if self._is_directory(real):
                yield real

    def _is_directory(self, path: str) -> bool:
        try:
            return os.path.isdir(self.search.host(path))
        except OSError:
            return False

    def tokens(self, owner: Module | None) -> dict[str, str | None]:
        return {"ORIGIN": self.origin(owner), "LIB": self.lib}

    def named(self, path: str) -> str:
        return real_path(self.search, self.search.absolute(path))

    def usual_path(self) -> str:
        return ":".join([f"/{top}/{self.lib}" for top in ("system", "odm", "vendor")])
