"""Text and JSON of a finished link. Nothing here decides how a program is linked."""
