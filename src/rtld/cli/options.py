"""Options of a command: declared as rows, parsed, and printed as help. argparse would cost 8 ms at every start."""

from __future__ import annotations

from collections import namedtuple

from rtld.cli import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: One row. ``value``: "" for a switch; "?X" for an optional value (only as --name=X). ``many``: it may be repeated, and the
#: values are a list; ":" makes one list of paths or names of them.
Option = namedtuple("Option", "flags value help many choices", defaults=(False, ()))

#: ``elf.models.MODELS``, which would cost an import.
MODELS = ("glibc", "musl", "freebsd", "bionic", "qnx-doc", "qnx")

# fmt: off
#: Of every command that reads files.
SEARCH = (
    Option("--library-path",  "PATHS",   "search these directories as LD_LIBRARY_PATH", many=":"),
    Option("--preload",       "LIST",    "load these libraries first, as LD_PRELOAD", many=":"),
    Option("--sysroot",       "DIR",     "take every path, ld.so.cache too, from inside this directory"),
    Option("--env",           "K=V",     "set a variable of the environment that is assumed", many=True),
    Option("--model",         "NAME",    "whose rules: " + ", ".join(MODELS) + " (default: PT_INTERP's)", choices=MODELS),
    Option("--system-path",   "PATHS",   "search these directories last, instead of the model's own (not glibc)", many=":"),
    Option("--cpu",           "NAME",    "choose hwcaps directories for native, baseline or e.g. x86-64-v3"),
    Option("--secure",        "",        "as for a set-user-ID program (AT_SECURE)"),
    Option("--inhibit-cache", "",        "do not use /etc/ld.so.cache"),
)
#: The same for Windows programs.
WINDOWS = (
    Option("--dll-path",      "DIR",     "search this directory for DLLs, after the program's own", many=True),
    Option("--windows-dir",   "DIR",     "the system: a windows directory, or any directory of DLLs (default: Wine's)"),
    Option("--apiset",        "FILE",    "API sets of this apisetschema.dll instead of the system's"),
    Option("--unresolved",    "POLICY",  "an import without a definition: strict or stub (as Wine)", choices=("strict", "stub")),
    Option("--bound",         "POLICY",  "imports that were bound beforehand: ignore, verify or use", choices=("ignore", "verify", "use")),
    Option("--delay",         "POLICY",  "delay imports: helper (leave them) or eager (bind them, too)", choices=("helper", "eager")),
)
GENERAL = (
    Option("-h --help",       "",        "show this help"),
    Option("--debug",         "",        "show a traceback when something unexpected happens"),
)
DEMANGLE = Option("-C --demangle", "", "show C++ and Rust names as in their source")
JSON = Option("--json",       "",        "print one JSON document (see docs/json.md)")
# fmt: on


class Options:
    """What was given: one attribute an option (``library_path``), None or False or [] when it was not; ``rest``."""

    def __init__(self, values: dict[str, Any], rest: list[str]) -> None:
        self.__dict__.update(values)
        self.rest = rest

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


def attribute(option: Option) -> str:
    """The attribute's name: the longest flag without its dashes."""
    flag: str = option.flags.split()[-1]
    return flag.lstrip("-").replace("-", "_")


class Command:
    """A command's name, arguments, options and examples."""

    def __init__(
        self,
        name: str,
        arguments: str,
        purpose: str,
        options: tuple[Option, ...],
        examples: str,
        *,
        search: bool = True,
        windows: bool = True,
        least: int = 1,
        most: int | None = None,
        stops: bool = False,
        notes: str = "",
    ) -> None:
        self.name = name
        self.arguments = arguments
        self.purpose = purpose
        self.options = options
        self.examples = examples
        self.common = SEARCH if search else ()
        self.windows = WINDOWS if search and windows else ()  # not of commands for ELF alone
        self.least = least
        self.most = most
        self.stops = (
            stops  # the first argument ends the options: what follows belongs to the program
        )
        self.notes = notes

    def rows(self) -> tuple[Option, ...]:
        """All options, in the order of the help."""
        return (*self.options, *self.common, *self.windows, *GENERAL)

    # -- parsing ----------------------------------------------------------------------------------

    def parse(self, words: list[str]) -> Options | None:
        """The options given; None when help was asked for. UsageError."""
        rows = self.rows()
        flags = {flag: option for option in rows for flag in option.flags.split()}
        values: dict[str, Any] = {}
        for option in rows:
            values[attribute(option)] = (
                [] if option.many is True else None if option.value else False
            )
        rest: list[str] = []
        at = 0
        while at < len(words):
            word = words[at]
            at += 1
            if word == "--":
                rest += words[at:]
                break
            if not word.startswith("-") or word == "-":
                rest.append(word)
                if self.stops:
                    rest += words[at:]
                    break
                continue
            given, equals, value = word.partition("=")
            if word.startswith("--"):
                if given not in flags:
                    raise self._unknown(given, flags)
                at = self._store(values, flags[given], given, value if equals else None, words, at)
            else:
                at = self._store_short(values, flags, word, words, at)
        if values["help"]:
            return None
        self._check(rest)
        return Options(values, rest)

    def _store_short(
        self, values: dict[str, Any], flags: dict[str, Option], word: str, words: list[str], at: int
    ) -> int:
        """``-abc``: switches together; the rest of the word is the value of the first that wants one."""
        for place, letter in enumerate(word[1:], 1):
            flag = f"-{letter}"
            if flag not in flags:
                raise self._unknown(flag, flags)
            if flags[flag].value:
                value = word[place + 1 :] or None
                return self._store(values, flags[flag], flag, value, words, at)
            self._store(values, flags[flag], flag, None, words, at)
        return at

    def _store(
        self,
        values: dict[str, Any],
        option: Option,
        flag: str,
        value: str | None,
        words: list[str],
        at: int,
    ) -> int:
        name = attribute(option)
        if not option.value:
            if value is not None:
                raise UsageError(f"option {flag} takes no value", self.name)
            values[name] = True
            return at
        if value is None and option.value.startswith("?"):
            value = ""
        elif value is None:
            if at >= len(words):
                raise UsageError(f"option {flag} needs a value: {flag} {option.value}", self.name)
            value = words[at]
            at += 1
        if option.choices and value not in option.choices:
            raise UsageError(f"{flag} {value}: choose {' or '.join(option.choices)}", self.name)
        if option.many is True:
            values[name].append(value)
        elif option.many and values[name] is not None:
            values[name] += option.many + str(value)
        else:
            values[name] = value
        return at

    def _unknown(self, flag: str, flags: dict[str, Option]) -> UsageError:
        near = [other for other in flags if other.startswith(flag)] if len(flag) > 3 else []
        hint = f"; did you mean {near[0]}?" if near else ""
        return UsageError(f"there is no option {flag}{hint}", self.name)

    def _check(self, rest: list[str]) -> None:
        if len(rest) < self.least:
            raise UsageError(f"{self._missing(len(rest))} missing", self.name)
        if self.most is not None and len(rest) > self.most:
            raise UsageError(f"one argument too many: {rest[self.most]}", self.name)

    def _missing(self, given: int) -> str:
        """Which arguments are, of those that must be there, when so many are given; with the verb."""
        if " | " in self.arguments:
            return f"one of {', '.join([way.split()[0] for way in self.arguments.split('|')])} is"
        names = [word.replace("...", "") for word in self.arguments.split()[given : self.least]]
        return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'}"

    # -- help -------------------------------------------------------------------------------------

    def help(self) -> str:
        """The text of --help."""
        text = f"usage: rtld {self.name} [OPTION...] {self.arguments}\n\n{self.purpose.strip()}\n\noptions:\n"
        text += _table(self.options)
        if self.common:
            text += f"\nwhat the search depends on:\n{_table(self.common)}"
        if self.windows:
            text += f"\nwhat the search of Windows programs depends on:\n{_table(self.windows)}"
        text += f"\n{_table(GENERAL)}"
        if self.notes:
            text += f"\n{self.notes.strip()}\n"
        return f"{text}\nexamples:\n{self.examples.rstrip()}\n"


class Family:
    """Several commands under one name, as ``rtld textbook``: the first word says which it really is.

    ``commands``: that word -> Command; ``overview``: the text of --help, with ``{commands}`` where they are listed.
    """

    def __init__(self, name: str, commands: dict[str, Command], overview: str) -> None:
        self.name = name
        self.commands = commands
        self.overview = overview
        self.asked: Command | None = None

    def parse(self, words: list[str]) -> Options | None:
        """The options of the command that is named; None when help was asked for."""
        self.asked = None
        if not words or words[0] in ("--help", "-h", "help"):
            return None
        if words[0] not in self.commands:
            raise UsageError(
                f"there is no command {self.name} {words[0]}; there are {', '.join(self.commands)}",
                self.name,
            )
        self.asked = self.commands[words[0]]
        options = self.asked.parse(words[1:])
        if options is not None:
            options.__dict__["command"] = words[0]
        return options

    def help(self) -> str:
        """The text of --help: of the family, or of the command that was named."""
        if self.asked is not None:
            return self.asked.help()
        rows = "\n".join(
            f"  {name:<10}{command.purpose}" for name, command in self.commands.items()
        )
        return self.overview.format(commands=rows)


def _table(options: tuple[Option, ...]) -> str:
    text = ""
    for option in options:
        left = "  " + ", ".join(option.flags.split())
        if option.value.startswith("?"):
            left += f"[={option.value[1:]}]"
        elif option.value:
            left += f" {option.value}"
        text += (
            f"{left:<26}  {option.help}\n" if len(left) <= 26 else f"{left}\n{'':28}{option.help}\n"
        )
    return text
