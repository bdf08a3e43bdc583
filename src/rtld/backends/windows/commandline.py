"""Arguments in one string, and apart again ("Parsing C command-line arguments", learn.microsoft.com)."""

from __future__ import annotations


def quoted(argument: str) -> str:
    """One argument, in quotes where that is needed."""
    if argument and not any(c in argument for c in ' \t"'):
        return argument
    result, slashes = '"', 0
    for letter in argument:
        if letter == "\\":
            slashes += 1
            continue
        result += "\\" * (2 * slashes + 1 if letter == '"' else slashes) + letter
        slashes = 0
    return result + "\\" * (2 * slashes) + '"'


def arguments_of(line: str) -> list[str]:
    """What CommandLineToArgvW makes of a command line; the first has rules of its own: no backslash escapes a quote."""
    if line[:1] == '"':
        first, _, rest = line[1:].partition('"')
    else:
        end = next((i for i, c in enumerate(line) if c in " \t"), len(line))
        first, rest = line[:end], line[end:]
    result = [first]
    at = 0
    while True:
        while at < len(rest) and rest[at] in " \t":
            at += 1
        if at >= len(rest):
            return result
        argument, quotes = "", False
        while at < len(rest) and (quotes or rest[at] not in " \t"):
            letter = rest[at]
            if letter == "\\":
                run = 1
                while rest[at + run : at + run + 1] == "\\":
                    run += 1
                at += run
                if rest[at : at + 1] == '"':
                    argument += "\\" * (run // 2)
                    if run % 2:
                        argument += '"'
                        at += 1
                else:
                    argument += "\\" * run
            elif letter == '"':
                if (
                    quotes and rest[at + 1 : at + 2] == '"'
                ):  # two within quotes are one, and end them
                    argument += '"'
                    at += 1
                quotes = not quotes
                at += 1
            else:
                argument += letter
                at += 1
        result.append(argument)
