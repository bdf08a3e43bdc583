"""Link a Windows program against addresses nobody uses, and look at the result. Never executes anything."""

from __future__ import annotations

import os

from rtld.backends.dryrun import Occupied
from rtld.events import QUIET
from rtld.pe.file import PeFile
from rtld.pe.link import finish, load, measure, open_namespace, relocate, timed
from rtld.pe.load import bind_delayed, bind_imports, load_dll, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from rtld.core.module import Problem
    from rtld.events import Reporter
    from rtld.pe.module import Binding, PeModule, PeNamespace, Policies


class PeLink:
    """A linked Windows program. ``namespace`` has everything; the properties are the parts people ask for."""

    model = "windows"

    def __init__(self, namespace: PeNamespace, path: str, space: Occupied) -> None:
        self.namespace = namespace
        self.path = path
        self.space = space
        self._relocated = False

    def __repr__(self) -> str:
        return f"<PeLink {self.path}: {len(self.modules)} modules>"

    @property
    def modules(self) -> list[PeModule]:
        """All modules in load order, the program first."""
        return self.namespace.modules

    @property
    def init_order(self) -> list[PeModule]:
        """Modules in the order they are told DLL_PROCESS_ATTACH; the program's entry point is last."""
        return self.namespace.init_order

    @property
    def problems(self) -> list[Problem]:
        """What is missing or would fail, in the order it was met."""
        return self.namespace.problems

    @property
    def timings(self) -> list[tuple[str, float]]:
        """(pass, CPU seconds) in the order they ran."""
        return self.namespace.timings

    def bindings(self, module: PeModule | None = None) -> Iterator[Binding]:
        """Every import of a module, or of all, with its definition."""
        for each in self.modules if module is None else (module,):
            yield from self.namespace.imports_of(each)

    def load(self, *names: str) -> PeLink:
        """Add DLLs as LoadLibrary would, without running anything; their order of DllMain comes behind the others'."""
        for name in names:
            path = os.path.abspath(name) if os.sep in name else name
            loaded = run(load_dll(self.namespace, self.space, path, self.namespace.main))
            if loaded.error is not None:
                raise loaded.error
            if loaded.module not in self.namespace.main.needed:
                self.namespace.main.needed.append(loaded.module)
        finish(self.namespace)
        return self

    def bind_delayed(self) -> PeLink:
        """Bind every delay import as if it had been called."""
        count = 0
        while count < len(self.modules):  # more may come
            module = self.modules[count]
            if module.delayed is None and module.resolved:
                run(bind_delayed(self.namespace, self.space, module))
            count += 1
        finish(self.namespace)
        return self

    def relocate(self) -> PeLink:
        """Make every module's image. Done once."""
        if not self._relocated:
            self._relocated = True
            relocate(self.namespace)
        return self


def find(
    path: str | os.PathLike[str] | bytes | memoryview,
    *,
    policies: Policies | None = None,
    reporter: Reporter = QUIET,
    **options: Any,
) -> PeLink:
    """Load and bind in memory, as Windows would; nothing is executed.

    Keywords: ``windows_dir`` (the directory of the system), ``apisets`` (a schema's path), ``dll_path`` (further
    directories, as SetDllDirectory), ``search_path`` (PATH), ``current``, ``safe`` (SafeDllSearchMode), ``known``
    (known DLLs), ``policies``. Raises OSError, FormatError or Unsupported for the file itself; what is missing behind
    it is in ``PeLink.problems``.
    """
    file = PeFile(path, strict=False)
    name = file.path if file.path is not None else file.name
    namespace = open_namespace(file, file.path or "", policies=policies, reporter=reporter, **options)  # fmt: skip
    space = Occupied(file.bits)
    timed(namespace, "load and bind", lambda: load(namespace, file, name, space))
    timed(namespace, "order", lambda: finish(namespace))
    return PeLink(namespace, name, space)


def link(path: str | os.PathLike[str] | bytes | memoryview, **options: Any) -> PeLink:
    """``find``, and what being moved costs each module."""
    result = find(path, **options)
    measure(result.namespace)
    return result


def link_all(paths: Sequence[str], **options: Any) -> PeLink:
    """One namespace of many files, the first in the program's place: what a whole directory needs of itself.

    Programs among them are bound too, though nobody can load a second program.
    """
    result = find(paths[0], **options)
    result.load(*paths[1:])
    count = 0
    while count < len(result.modules):  # more may come
        run(bind_imports(result.namespace, result.space, result.modules[count]))
        count += 1
    return result
