"""The link editor. READ FIRST: objects and libraries become an executable or a shared library by these passes.

A pass takes the one ``LinkEdit``, whose fields are grouped by the pass that fills them. What is wrong with the files is
collected in ``problems`` and raised together, at the places marked below.
"""

from __future__ import annotations

from dataclasses import dataclass

from rtld.core.module import Problem
from rtld.textbook.collect import collect_garbage
from rtld.textbook.complaints import LinkFailure
from rtld.textbook.got import allocate_got
from rtld.textbook.inputs import read_inputs, take_members
from rtld.textbook.layout import allocate_storage, list_shared_libraries
from rtld.textbook.object import TextObject, order_word
from rtld.textbook.relocate import relocate
from rtld.textbook.symbols import check_symbols, give_addresses, output_symbols

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from rtld.textbook.got import Got
    from rtld.textbook.inputs import Input
    from rtld.textbook.layout import OutputSegment
    from rtld.textbook.library import Library
    from rtld.textbook.object import Relocation
    from rtld.textbook.symbols import SymbolTable

PAGE = 0x1000


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """What the link editor is asked for."""

    base: int = PAGE
    order: str | None = None  # "<" or ">"; None: what the objects say, else big
    pic: bool = False  # an executable that can be moved: ER4 for every absolute address (8-3)
    shared: bool = False  # a shared library (10-1)
    wraps: tuple[str, ...] = ()  # 8-1
    garbage: bool = False  # leave out .textN segments that nothing reaches (11-1)
    roots: tuple[str, ...] = ("_start", "main")  # the symbols from which something is reached
    interpose: bool = (
        False  # a library's references to its own symbols are bound at run time, as ELF's are
    )
    everything: bool = False  # take all modules of libraries (9-1)


class LinkEdit:
    """One run of the link editor."""

    def __init__(self, paths: Sequence[str], options: LinkOptions) -> None:
        self.paths = tuple(paths)
        self.options = options
        self.problems: list[Problem] = []
        # read_inputs
        self.inputs: list[Input] = []  # in the order in which they are combined
        self.libraries: list[Library | TextObject] = []  # in command line order
        self.order = options.order or ">"
        self.table: SymbolTable  # enter_symbols, as inputs come
        # take_members
        self.stubs: list[Library] = []  # of the static shared libraries that are used
        # collect_garbage
        self.removed: set[tuple[Input, int]] = set()  # (input, segment index)
        # allocate_got
        self.got: Got | None = None
        # allocate_storage
        self.segments: list[OutputSegment] = []
        # relocate
        self.memory: NDArray[np.uint8]  # all present segments of the output, one after the other
        self.relocations: list[Relocation] = []  # what is left to the binder
        self.counts: dict[str, int] = {}
        # link
        self.output: TextObject

    @property
    def dynamic(self) -> bool:
        """The output is bound at run time, or is a library for one that is."""
        return self.options.shared or any(
            isinstance(library, TextObject) for library in self.libraries
        )

    @property
    def movable(self) -> bool:
        """Absolute addresses in the output need ER4."""
        return self.options.pic or self.dynamic

    def problem(self, kind: str, module: str, subject: str, message: str) -> None:
        """Something is wrong; the link goes on to find what else is."""
        self.problems.append(Problem(kind, module, subject, message))

    def stop_if_problems(self) -> None:
        """LinkFailure with all that was found."""
        if self.problems:
            raise LinkFailure(self.problems)


def link(paths: Sequence[str], options: LinkOptions | None = None) -> LinkEdit:
    """Combine the objects and libraries at *paths*; the result is ``output``. OSError, Malformed, LinkFailure."""
    edit = LinkEdit(paths, options or LinkOptions())

    # Every file, decoded; names wrapped; the symbols of the objects entered.
    read_inputs(edit)

    # Modules of libraries, for as long as one defines something that is undefined.
    take_members(edit)
    # Beyond this point no input is added.

    # Segments .textN that nothing reaches.
    collect_garbage(edit)

    # Whatever is referred to must be defined, once.
    check_symbols(edit)
    edit.stop_if_problems()

    # The names of the static shared libraries that the executable uses.
    list_shared_libraries(edit)

    # A word for each symbol that is referred to through the global offset table.
    allocate_got(edit)

    # Segments of one name become one; common blocks; addresses.
    allocate_storage(edit)
    # Beyond this point addresses are fixed.

    give_addresses(edit)

    # Contents, and what has to be changed in them; the rest becomes relocations of the output.
    relocate(edit)
    edit.stop_if_problems()

    edit.output = make_output(edit)
    return edit


def make_output(edit: LinkEdit) -> TextObject:
    """The executable or library as an object."""
    at = 0
    segments = []
    for segment in edit.segments:
        data = b""
        if segment.present:
            data = edit.memory[at : at + segment.length].tobytes()
            at += segment.length
        segments.append(segment.finished(data))
    needed = tuple(
        library.path.rpartition("/")[2]
        for library in edit.libraries
        if isinstance(library, TextObject)
    )
    return TextObject(
        tuple(segments),
        tuple(output_symbols(edit)),
        tuple(edit.relocations),
        "LINKLIB" if edit.options.shared else "LINK",
        needed,
        order_word(edit.order),
    )
