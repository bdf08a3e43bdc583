"""The text object format of "Linkers and Loaders" (John R. Levine, 2000): link editor and run-time binder.

Everything of the book's projects, on the nouns of ``rtld.core``:

    object.py       what a file says: segments, symbols, relocations
    reader.py       3-1  text -> TextObject, all that is wrong with line numbers;  writer.py  back
    link.py         READ FIRST: the link editor as a list of passes
    layout.py       4-1 to 4-3  storage;  symbols.py  5-1 to 5-3;  library.py  6;  relocate.py  7-1, 7-2, 10-1
    wrap.py         8-1, 8-2;  got.py  8-3;  static_shared.py  9-1, 9-2;  collect.py  11-1
    bind.py         10-2  the run-time binder, as a list of passes
    from_elf.py     i386 ELF objects -> this format;  to_elf.py  a bound program -> an i386 ELF program

Files of this format are small, so a row of a file is an object here, not a line of a numpy column.
docs/textbook.md walks through the projects.
"""
