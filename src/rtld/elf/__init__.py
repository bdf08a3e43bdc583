"""ELF: decode, find, load, resolve, relocate. Read ``link.py`` first: it lists the passes."""
