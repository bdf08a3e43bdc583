"""Which objects are linked: those named (3-1), and the modules of libraries that are wanted (6)."""

from __future__ import annotations

from rtld.textbook.complaints import Complaint, Malformed
from rtld.textbook.library import is_library, read_library
from rtld.textbook.object import TextObject
from rtld.textbook.reader import read_file
from rtld.textbook.symbols import SymbolTable
from rtld.textbook.wrap import wrap_object, wrapped_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.textbook.link import LinkEdit


class Input:
    """An object with its place in the output. ``moved`` has a number for each segment: new address minus old."""

    __slots__ = ("index", "moved", "name", "numbers", "object", "offsets")

    def __init__(self, thing: TextObject, name: str, index: int) -> None:
        self.object = thing
        self.name = name  # as in messages: the path, or library(module)
        self.index = index
        # allocate_storage
        self.numbers = [0] * len(
            thing.segments
        )  # of the output segment, from 1; 0 where it was removed
        self.offsets = [0] * len(thing.segments)  # in that segment
        self.moved = [0] * len(thing.segments)

    def __repr__(self) -> str:
        return f"<Input {self.index} {self.name}>"


def read_inputs(edit: LinkEdit) -> None:
    """Decode every file. All that is malformed is told together."""
    edit.table = SymbolTable(edit)
    complaints: list[Complaint] = []
    missing: list[OSError] = []
    orders: dict[str, str] = {}
    for path in edit.paths:
        try:
            read_one(edit, path)
        except Malformed as error:
            complaints += error.complaints
        except OSError as error:
            missing.append(error)
    if missing:
        raise missing[0]
    if complaints:
        raise _together(complaints)
    things = [(one.object, one.name) for one in edit.inputs]
    things += [
        (library, library.path) for library in edit.libraries if isinstance(library, TextObject)
    ]
    for thing, name in things:
        if thing.order is not None:
            orders.setdefault(thing.order, name)
    if len(orders) > 1:
        message = f"{orders['>']} is big-endian, {orders['<']} is little-endian"
        edit.problem("byte order", orders[">"], "", message)
        edit.stop_if_problems()
    if edit.options.order is None and orders:
        edit.order = next(iter(orders))


def _together(complaints: list[Complaint]) -> Malformed:
    """Complaints about several files: sorted within each, files as they came."""
    error = Malformed(complaints[0].path, complaints)
    files = list(dict.fromkeys(complaint.path for complaint in complaints))
    error.complaints = tuple(sorted(complaints, key=lambda c: (files.index(c.path), c.line)))
    return error


def read_one(edit: LinkEdit, path: str) -> None:
    """A file becomes an input or a library."""
    if is_library(path):
        library = read_library(path)
        edit.libraries.append(library)
        if edit.options.everything and library.stands_for is None:
            for member in library.members:
                add_input(edit, member.object, f"{path}({member.name})")
        return
    thing = read_file(path)
    if thing.is_library:
        edit.libraries.append(thing)
        return
    linked = next((row for row in thing.relocations if row.type == "ER4"), None)
    if thing.needed or linked is not None:
        line = linked.line if linked is not None else 1
        found = "an executable" if linked is None else "ER4, which an executable has"
        raise Malformed(path, [Complaint(path, line, "input", found, "an object or a library")])
    add_input(edit, thing, path)


def add_input(edit: LinkEdit, thing: TextObject, name: str) -> Input:
    """One more object, its names wrapped and its symbols entered."""
    one = Input(wrap_object(thing, edit.options.wraps), name, len(edit.inputs))
    edit.inputs.append(one)
    edit.table.enter(one)
    return one


def take_members(edit: LinkEdit) -> None:
    """Go through the libraries again and again until none of them defines anything that is undefined.

    A common block is no reason to take a module. A shared library takes nothing in: its symbols become imports.
    """
    taken: set[tuple[int, int]] = set()
    wraps = edit.options.wraps
    changed = True
    while changed:
        changed = False
        for number, library in enumerate(edit.libraries):
            if isinstance(library, TextObject):
                edit.table.bind_to_library(library)
                continue
            for index, member in enumerate(library.members):
                names = [wrapped_name(name, wraps) for name in member.symbols]
                wanted = any(edit.table.is_wanted(name) for name in names)
                if (number, index) in taken or not wanted:
                    continue
                taken.add((number, index))
                add_input(edit, member.object, f"{library.path}({member.name})")
                if library.stands_for is not None and library not in edit.stubs:
                    edit.stubs.append(library)
                changed = True
