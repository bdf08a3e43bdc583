"""The Portable Executable format: decoding, searching, linking. ``link.py`` is read first. A sibling of ``elf``."""
