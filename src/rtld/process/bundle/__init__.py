"""A program and its libraries as one ELF executable of their own CPU: linked here, run elsewhere (by qemu-user).

    bundle = make(file, path, search, reporter, directory)    # READ FIRST: the passes, below
    bundle.write()                                            # the files; the path of the executable

Everything but the libc family is in it: at its address, relocated, bound. What is left to the guest's ld.so is what only it
can do: load and initialise libc, and fill the words that name something of libc's. The tables for that are ours, and as
small as they can be: to ld.so the bundle is a program that needs libc only. Thread-local storage of all modules is the
program's one block.

============  ====================================================================================
``plan``      what is known of a bundle that is being made
``link``      which modules; addresses; the linker's own passes; what is left to ld.so
``tables``    what ld.so reads: relocations, initialisers, the dynamic section;  ``symbols``: symbols, versions
``unwind``    one table for unwinders
``encode``    structures of <elf.h>, either class, either byte order
``names``     small libraries that give the names of what is in the bundle to dlopen
``write``     headers and bytes as files
============  ====================================================================================
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.elf.file import ElfFile
    from rtld.elf.search import SearchOptions
    from rtld.events import Reporter
    from rtld.process.bundle.plan import Bundle


def make(
    file: ElfFile, path: str, search: SearchOptions, reporter: Reporter, directory: str
) -> Bundle:
    """Link the program *file*, which the guest knows as *path*; the bundle will be in *directory*.

    StartFailed in ld.so's words, Unsupported, FormatError, NoSpace.
    """
    from rtld.process.bundle.link import bind_program, find_program, place_modules, relocate_modules
    from rtld.process.bundle.plan import Bundle
    from rtld.process.bundle.tables import make_tables

    bundle = Bundle(find_program(file, path, search, reporter), directory)
    bind_program(bundle)
    place_modules(bundle)
    # From here on all modules have their addresses; the tables stand behind them.
    relocate_modules(bundle)
    make_tables(bundle)
    return bundle
