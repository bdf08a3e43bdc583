"""A case: one C file that is one behaviour, with directives in its first lines. ``tests/cases/README.md`` is the reference."""

from __future__ import annotations

import functools
import json
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

import toolchain
from toolchain import Step, Target

CASES = Path(__file__).parent / "cases"

# Binutils's MIPS refuses --hash-style=gnu, has no IFUNC and no PIE with COPY; a case says so with "arch -mips64el".
# Not o32: n64 has the same linker, and the cases take long.
GLIBC = tuple(
    t.name for t in toolchain.TARGETS.values() if t.libc == "glibc" and t.name != "mipsel"
)

_COMMON = ("-O1", "-Wall", "-pthread")
_LINK = ("-Wl,--no-as-needed",)


class Case:
    """The directives of one file, decoded."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path.relative_to(CASES).with_suffix(""))
        self.text = path.read_text()
        self.steps: list[tuple[str, list[str]]] = []
        self.env: dict[str, str] = {}
        self.args: list[str] = []
        self.stdout: list[str] | None = None
        self.stderr: list[str] = []
        self.status = 0
        self.problems: list[str] = []
        self.tags: set[str] = set()
        self.targets: list[str] = list(GLIBC)
        for number, line in enumerate(self.text.splitlines(), 1):
            if line.startswith("//:"):
                word, _, rest = line[3:].strip().partition(" ")
                try:
                    self._directive(word, rest.strip())
                except (ValueError, KeyError) as error:
                    raise ValueError(f"{path}:{number}: {line}: {error}") from error

    def _directive(self, word: str, rest: str) -> None:
        if word in ("lib", "main", "file", "remove", "link", "copy", "weaken", "strip"):
            self.steps.append((word, shlex.split(rest) if word != "file" else rest.split(" ", 1)))
        elif word == "env":
            key, _, value = rest.partition("=")
            self.env[key] = value
        elif word == "args":
            self.args = shlex.split(rest)
        elif word == "stdout":
            self.stdout = (self.stdout or []) + [_text(rest)]
        elif word == "stderr":
            self.stderr.append(_text(rest))
        elif word == "status":
            self.status = int(rest)
        elif word == "signal":
            self.status = -int(rest)
        elif word == "problem":
            self.problems.append(rest)
        elif word == "arch":
            self._arch(rest.split())
        elif word == "musl":
            self.targets.append(f"{toolchain.HOST}-musl")
        elif word in ("norpath", "nolink", "norun"):
            self.tags.add(word)
        else:
            raise ValueError(f"no such directive: {word}")

    def _arch(self, words: list[str]) -> None:
        """``arch x86_64 i386``: only these. ``arch -mips64el``: all but these."""
        musl = [name for name in self.targets if name.endswith("-musl")]
        without = [w[1:] for w in words if w.startswith("-")]
        only = [w for w in words if not w.startswith("-")]
        for name in (*without, *only):
            if name not in toolchain.TARGETS:
                raise ValueError(f"unknown target {name}")
        self.targets = [n for n in (only or GLIBC) if n not in without] + musl

    @property
    def dynamic(self) -> bool:
        """The program has a dynamic linker to judge it."""
        return not any(
            {"-static", "-static-pie"} & set(words) for word, words in self.steps if word == "main"
        )

    @property
    def cxx(self) -> bool:
        return self.path.suffix == ".cc"

    def commands(self, want: Target) -> list[list[str] | Step]:
        """The build: compiler command lines and file operations, in the order of the directives."""
        compiler = want.cxx if self.cxx else want.cc
        source = f"case{self.path.suffix}"
        steps: list[list[str] | Step] = [Step("file", source, self.text)]
        directories: list[str] = []
        for word, words in self.steps:
            if word == "file":
                steps.append(Step("file", words[0], words[1].replace("\\n", "\n") + "\n"))
            elif word in ("remove", "link", "copy", "weaken", "strip"):
                steps.append(Step(word, words[0], words[1] if len(words) > 1 else ""))
            else:
                steps += self._compile(word, list(words), compiler, source, want, directories)
        return steps

    def _compile(
        self,
        word: str,
        words: list[str],
        compiler: str,
        source: str,
        want: Target,
        directories: list[str],
    ) -> list[list[str] | Step]:
        steps: list[list[str] | Step] = []
        output = "main"
        if word == "lib":
            output = words.pop(0)
            define = re.sub(r"\W", "_", re.sub(r"^lib|\.so.*$", "", Path(output).name)).upper()
            kind = ["-shared", "-fPIC", f"-DLIB_{define}"]
            if "into" in words:
                at = words.index("into")
                output = f"{words[at + 1]}/{output}"
                del words[at : at + 2]
        else:
            kind = ["-DMAIN"]
            if not {"-static", "-static-pie", "-no-pie"} & set(words):
                kind += ["-fPIE", "-pie"]
            if "-static-pie" in words:
                kind += ["-fPIE"]  # the start file is chosen by -static-pie, the code is not
            if want.interp and not {"-static", "-static-pie"} & set(words):
                kind += [f"-Wl,--dynamic-linker={want.interp}"]
        own = "rpath" in " ".join(words) or "norpath" in self.tags or "-static" in " ".join(words)
        rpath = [] if own else ["-Wl,-rpath,$ORIGIN"]  # glibc 2.36: a static PIE with one crashes
        search = [f"-L{d}" for d in (".", *directories)]
        links = [f"-Wl,-rpath-link,{d}" for d in (".", *directories)]
        directory = str(Path(output).parent)
        if directory not in (".", *directories):
            directories.append(directory)
            steps.append(Step("file", f"{directory}/.keep"))
        argv = [
            compiler,
            *_COMMON,
            *kind,
            source,
            *_LINK,
            *search,
            *links,
            *rpath,
            *words,
            "-o",
            output,
        ]
        return [*steps, argv]

    def build(self, want: Target) -> Path:
        """The directory with the built case; the program is ``main`` in it."""
        compiler = want.cxx if self.cxx else want.cc
        commands = self.commands(want)
        words = [
            " ".join(c) if isinstance(c, list) else f"{c.verb} {c.name} {c.text}" for c in commands
        ]
        return toolchain.compile_all([toolchain.version_of(compiler), *words], commands)

    def environment(self, place: Path) -> dict[str, str]:
        """The case's own variables; $DIR is the build directory."""
        return {key: value.replace("$DIR", str(place)) for key, value in self.env.items()}


def _text(rest: str) -> str:
    """A JSON string when quoted, else the rest of the line as it stands."""
    return str(json.loads(rest)) if rest.startswith('"') else rest


@functools.cache
def all_cases() -> tuple[Case, ...]:
    """Every case file, in a stable order."""
    paths: Iterable[Path] = sorted((*CASES.rglob("*.c"), *CASES.rglob("*.cc"), *CASES.rglob("*.s")))
    return tuple(Case(path) for path in paths)
