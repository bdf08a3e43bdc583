"""``python -m rtld`` and the command ``rtld``."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line of this process; the result is its exit status."""
    arguments = sys.argv[1:]
    if arguments in (["--version"], ["-V"]):
        # Nothing else is imported for it.
        from rtld import __version__

        try:
            sys.stdout.write(f"rtld {__version__}\n")
            sys.stdout.flush()
        except (AttributeError, OSError):
            pass  # closed, or full: it is told below
        else:
            return 0
    from rtld.cli import run

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
