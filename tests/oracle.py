"""What other programs say about an ELF file, as plain tables: ld.so, ldd's lines, readelf.

No pytest here: ``bench/`` imports this file too. Everything that asks ld.so runs ``PT_INTERP PROGRAM``; unless a
function says otherwise the program itself is not started (LD_TRACE_LOADED_OBJECTS).
"""

from __future__ import annotations

import glob
import os
import re
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

Env = Mapping[str, str]

# ---------------------------------------------------------------------------------------- ld.so


class Binding(NamedTuple):
    """One line of LD_DEBUG=bindings. ``kind`` is ld.so's word: "normal" or "protected"."""

    referrer: str
    definer: str
    symbol: str
    version: str | None
    kind: str


class Listed(NamedTuple):
    """One line of ``ld.so --list``: ``path`` is None for "not found"; ``name`` equals ``path`` for a bare path."""

    name: str
    path: str | None


class Trace(NamedTuple):
    """One run of ld.so that lists and relocates everything but starts nothing."""

    modules: list[Listed]
    bindings: list[Binding]
    undefined: list[
        tuple[str, str | None, str]
    ]  # symbol, version, file: "undefined symbol: f, version V	(./a)"
    messages: list[str]  # every other line on stderr: missing versions, warnings
    status: int


class Answer(NamedTuple):
    """What a run of ld.so left: its own lines (LD_DEBUG) apart from the program's output."""

    debug: list[str]
    stdout: str
    stderr: str
    status: int


def interp(program: str) -> str | None:
    """PT_INTERP, read here with struct: neither readelf nor rtld has a say in whom we ask."""
    with open(program, "rb") as file:
        head = file.read(64)
        if head[:4] != b"\x7fELF":
            return None
        order = "<" if head[5] == 1 else ">"
        if head[4] == 2:
            phoff, (size, count) = (
                struct.unpack_from(order + "Q", head, 32)[0],
                struct.unpack_from(order + "HH", head, 54),
            )
            layout = ("IIQQQQ", 2, 5)  # p_type, p_flags, p_offset, ...; p_filesz is the sixth
        else:
            phoff, (size, count) = (
                struct.unpack_from(order + "I", head, 28)[0],
                struct.unpack_from(order + "HH", head, 42),
            )
            layout = ("IIIII", 1, 4)
        for index in range(count):
            file.seek(phoff + index * size)
            row = struct.unpack_from(order + layout[0], file.read(size))
            if row[0] == 3:
                file.seek(row[layout[1]])
                return os.fsdecode(file.read(row[layout[2]]).rstrip(b"\0"))
    return None


def ask(
    program: str,
    debug: str = "",
    env: Env | None = None,
    args: Sequence[str] = (),
    prefix: Sequence[str] = (),
    trace: bool = True,
    loader: str | None = None,
    cwd: str | None = None,
    timeout: float = 120,
) -> Answer:
    """Run ``[prefix] PT_INTERP PROGRAM ARGS`` with LD_DEBUG=``debug``.

    ``prefix`` is an emulator such as ``["qemu-arm"]``: variables go to the emulated ld.so by ``-E``, since the
    emulator is itself dynamic. Without a prefix they are the environment.
    """
    loader = loader or interp(program)
    if not loader:
        raise ValueError(f"{program}: no PT_INTERP")
    with tempfile.TemporaryDirectory(prefix="rtld-oracle-") as scratch:
        inner = dict(os.environ if env is None else env)
        if trace:
            inner |= {"LD_TRACE_LOADED_OBJECTS": "1", "LD_WARN": "yes", "LD_BIND_NOW": "1"}
        if debug:
            inner |= {"LD_DEBUG": debug, "LD_DEBUG_OUTPUT": f"{scratch}/ld"}
        argv = [loader, program, *args]
        outer = inner
        if prefix:
            outer = {k: v for k, v in inner.items() if not k.startswith("LD_")}
            argv = [*prefix, *[f for k, v in inner.items() for f in ("-E", f"{k}={v}")], *argv]
        done = subprocess.run(
            argv,
            env=outer,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=timeout,
            check=False,
        )
        # One file per process: the lowest pid is the program, the others are what it started.
        files = sorted(glob.glob(f"{scratch}/ld.*"), key=lambda name: int(name.rpartition(".")[2]))
        lines: list[str] = []
        for name in files[:1]:
            with open(name, encoding="utf-8", errors="surrogateescape") as file:
                lines = file.read().splitlines()
    return Answer(lines, done.stdout, done.stderr, done.returncode)


_BINDING = re.compile(
    r"^\s*\d+:\s+binding file (?P<referrer>.*) \[\d+\] to (?P<definer>.*) \[\d+\]: "
    r"(?P<kind>normal|protected) symbol `(?P<symbol>[^']*)'(?: \[(?P<version>.*)\])?$"
)
_LISTED = re.compile(r"^\t(?:(?P<name>.*) => )?(?P<path>not found|.*?)(?: \((?:0x)?[0-9a-f]+\))?$")
_UNDEFINED = re.compile(r"^undefined symbol: (.*?)(?:, version (.*?))?\s+\((.*)\)$")
_VDSO = re.compile(r"linux-(vdso|gate)\S*$")
# Looked up for a register, not for a relocation (sysdeps/riscv/dl-machine.h: elf_machine_runtime_setup).
_OWN_LOOKUPS = {"__global_pointer$"}


def parse_bindings(lines: Sequence[str]) -> Iterator[Binding]:
    """LD_DEBUG=bindings lines, without what ld.so looks up for itself (five functions of the vDSO, RISC-V's gp)."""
    for line in lines:
        match = _BINDING.match(line)
        if not match or _VDSO.search(match["definer"]) or match["symbol"] in _OWN_LOOKUPS:
            continue
        yield Binding(*match.group("referrer", "definer", "symbol", "version", "kind"))


def parse_list(text: str) -> Iterator[Listed]:
    """The lines of ``ldd``, without the vDSO."""
    for line in text.splitlines():
        match = _LISTED.match(line)
        if not match or not (" => " in line or " (0" in line):
            continue
        path = None if match["path"] == "not found" else match["path"]
        name = match["name"] if match["name"] is not None else (path or "")
        if not _VDSO.search(name):
            yield Listed(name, path)


def trace(
    program: str, env: Env | None = None, prefix: Sequence[str] = (), cwd: str | None = None
) -> Trace:
    """Modules, every binding, and everything ld.so complains about."""
    answer = ask(program, "bindings", env, prefix=prefix, cwd=cwd)
    undefined, messages = [], []
    # What is undefined stands among the other complaints on stderr; with LD_DEBUG_OUTPUT, in that file.
    for line in [*answer.stderr.splitlines(), *map(_strip_pid, answer.debug)]:
        match = _UNDEFINED.match(line)
        if match:
            undefined.append((match[1], match[2], match[3]))
        elif line.strip() and "binding file " not in line:
            messages.append(line)
    return Trace(
        list(parse_list(answer.stdout)),
        list(parse_bindings(answer.debug)),
        undefined,
        messages,
        answer.status,
    )


def _strip_pid(line: str) -> str:
    return re.sub(r"^\s*\d+:\s", "", line)


def ld_bindings(program: str, env: Env | None = None, prefix: Sequence[str] = ()) -> list[Binding]:
    """Every binding of the program and its libraries, in ld.so's order; repeated look-ups stay in."""
    return trace(program, env, prefix).bindings


def ld_list(program: str, env: Env | None = None, prefix: Sequence[str] = ()) -> list[Listed]:
    """The lines of ldd: needed name and path, in load order, without the vDSO. Asks musl's loader in its own way."""
    loader = interp(program) or ""
    if "ld-musl-" not in os.path.basename(loader):
        return list(parse_list(ask(program, "", env, prefix=prefix).stdout))
    done = subprocess.run(
        [loader, "--list", program],
        env=dict(os.environ if env is None else env),
        capture_output=True,
        text=True,
        check=False,
    )
    # musl prints itself first, under both of its names; libc is part of it.
    rows = parse_list(done.stdout)
    return [row for row in rows if row.path != loader]


def ld_init_order(
    program: str,
    args: Sequence[str] = ("--version",),
    env: Env | None = None,
    prefix: Sequence[str] = (),
    cwd: str | None = None,
) -> list[str]:
    """Paths in the order in which ld.so calls initialisers. **Runs the program**: give it harmless arguments.

    Only modules that have DT_INIT or DT_INIT_ARRAY are named; what the program itself dlopens later comes after
    "initialize program" and is left out.
    """
    return _calls(program, "calling init: ", args, env, prefix, cwd)


def ld_fini_order(
    program: str,
    args: Sequence[str] = ("--version",),
    env: Env | None = None,
    prefix: Sequence[str] = (),
    cwd: str | None = None,
) -> list[str]:
    """Paths in the order in which finalisers run. **Runs the program.**"""
    return [
        p.removesuffix(" [0]") for p in _calls(program, "calling fini: ", args, env, prefix, cwd)
    ]


def _calls(
    program: str,
    words: str,
    args: Sequence[str],
    env: Env | None,
    prefix: Sequence[str],
    cwd: str | None,
) -> list[str]:
    answer = ask(program, "files", env, args, prefix, trace=False, cwd=cwd)
    found = []
    for line in answer.debug:
        if words == "calling init: " and "initialize program: " in line:
            break
        if words in line:
            found.append(line.partition(words)[2])
    return found


class Try(NamedTuple):
    """A library that ld.so looked for: the places in the order tried."""

    name: str
    paths: list[str]
    caches: list[str]


def ld_search(
    program: str, env: Env | None = None, prefix: Sequence[str] = (), cwd: str | None = None
) -> list[Try]:
    """LD_DEBUG=libs: for each library searched for, every file tried in order, and the caches asked."""
    tries: list[Try] = []
    for line in map(_strip_pid, ask(program, "libs", env, prefix=prefix, cwd=cwd).debug):
        text = line.strip()
        if text.startswith("find library="):
            tries.append(Try(text[len("find library=") :].rpartition(" [")[0], [], []))
        elif text.startswith("trying file=") and tries:
            tries[-1].paths.append(text[len("trying file=") :])
        elif text.startswith("search cache=") and tries:
            tries[-1].caches.append(text[len("search cache=") :])
    return tries


# ---------------------------------------------------------------------------------------- readelf


class Symbol(NamedTuple):
    """A row of ``readelf --dyn-syms``; ``section`` is "UND", "ABS", "COM" or a number."""

    number: int
    value: int
    size: int
    type: str
    bind: str
    visibility: str
    section: str
    name: str
    version: str | None
    default: bool  # @@


class Relocation(NamedTuple):
    """A row of ``readelf -r``; ``symbol`` is "" for those without."""

    offset: int
    info: int
    type: str
    symbol: str
    version: str | None
    addend: int | None


class Header(NamedTuple):
    """A row of ``readelf -l``."""

    type: str
    offset: int
    vaddr: int
    paddr: int
    filesz: int
    memsz: int
    flags: str
    align: int


def readelf(path: str, *options: str) -> str:
    """``readelf -W OPTIONS PATH`` in the C locale."""
    done = subprocess.run(
        ["readelf", "-W", *options, path],
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C"},
        check=False,
    )
    return done.stdout


_SYMBOL = re.compile(
    r"^\s*(\d+): ([0-9a-f]+)\s+(\d+|0x[0-9a-f]+) (\S+)\s+(\S+)\s+(\S+)(?:\s+\[.*?\])?\s+(UND|ABS|COM|PRC\[.*?\]|\d+)(?: (.*))?$"
)


def split_version(name: str) -> tuple[str, str | None, bool]:
    """``name@@V`` or ``name@V (3)`` as (name, version, default)."""
    name = re.sub(r" \(\d+\)$", "", name)
    base, at, version = name.partition("@")
    if not at:
        return base, None, False
    return base, version.removeprefix("@"), version.startswith("@")


def readelf_symbols(path: str) -> list[Symbol]:
    """The dynamic symbol table, index 0 included."""
    rows = []
    for line in readelf(path, "--dyn-syms").splitlines():
        match = _SYMBOL.match(line)
        if match:
            number, value, size, kind, bind, visibility, section, name = match.groups()
            rows.append(
                Symbol(
                    int(number),
                    int(value, 16),
                    int(size, 0),
                    kind,
                    bind,
                    visibility,
                    section,
                    *split_version(name or ""),
                )
            )
    return rows


_RELOC = re.compile(r"^([0-9a-f]+)\s+([0-9a-f]+)\s+(R_\S+|unrecogni\S+ \S+)(?:\s+(.*))?$")


def readelf_relocations(path: str) -> list[Relocation]:
    """All dynamic relocations in readelf's order (RELR only where this readelf decodes it)."""
    rows = []
    for line in readelf(path, "-r", "-D").splitlines():
        match = _RELOC.match(line)
        if not match:
            continue
        rest = (match[4] or "").strip()
        symbol, addend = "", None
        # "0000000000003fd8 puts@GLIBC_2.2.5 + 0", "3df0" (RELATIVE), "puts()" (IFUNC, i386: value name)
        plain = re.fullmatch(r"([0-9a-f]+)", rest)
        signed = re.fullmatch(r"(?:([0-9a-f]+)\s+)?(?:(\S.*?)\s+)?([+-]) ([0-9a-f]+)", rest)
        named = re.fullmatch(r"([0-9a-f]+)\s+(\S+)", rest)
        if plain:
            addend = int(rest, 16)
        elif signed:
            symbol = signed[2] or ""
            addend = int(signed[3] + signed[4], 16)
        elif named:
            symbol = named[2]
        name, version, _ = split_version(symbol)
        rows.append(
            Relocation(int(match[1], 16), int(match[2], 16), match[3], name, version, addend)
        )
    return rows


_HEADER = re.compile(
    r"^  (\S+)\s+0x([0-9a-f]+) 0x([0-9a-f]+) 0x([0-9a-f]+) 0x([0-9a-f]+) 0x([0-9a-f]+) ([R ][W ][E ]) (?:0x)?([0-9a-f]+)$"
)


def readelf_headers(path: str) -> list[Header]:
    """The program headers."""
    rows = []
    for line in readelf(path, "-l").splitlines():
        match = _HEADER.match(line)
        if match:
            offset, vaddr, paddr, filesz, memsz = (int(match[i], 16) for i in range(2, 7))
            flags = match[7].replace(" ", "")
            rows.append(
                Header(match[1], offset, vaddr, paddr, filesz, memsz, flags, int(match[8], 16))
            )
    return rows


def readelf_dynamic(path: str) -> list[tuple[int, str, str]]:
    """(tag, name without parentheses, value as readelf words it)."""
    rows = []
    for line in readelf(path, "-d").splitlines():
        match = re.match(r"^ 0x([0-9a-f]+) \((.*?)\)\s*(.*)$", line)
        if match:
            rows.append((int(match[1], 16), match[2], match[3].strip()))
    return rows


def readelf_needed(path: str) -> list[str]:
    """DT_NEEDED, in order."""
    return [
        value.partition("[")[2][:-1] for _, name, value in readelf_dynamic(path) if name == "NEEDED"
    ]


def readelf_build_id(path: str) -> str | None:
    """The GNU build id in hex."""
    match = re.search(r"Build ID: ([0-9a-f]+)", readelf(path, "-n"))
    return match[1] if match else None


def readelf_versions(path: str) -> tuple[dict[int, str], dict[int, tuple[str, str]]]:
    """Defined versions by index, and needed versions by index as (file, version)."""
    defined: dict[int, str] = {}
    needed: dict[int, tuple[str, str]] = {}
    file = ""
    for line in readelf(path, "-V").splitlines():
        match = re.search(r"Index: (\d+)\s+Cnt: \d+\s+Name: (.*)$", line)
        if match:
            defined[int(match[1])] = match[2]
        match = re.search(r"File: (.*?)\s+Cnt: \d+", line)
        if match:
            file = match[1]
        match = re.search(r"Name: (.*?)\s+Flags: .*Version: (\d+)", line)
        if match:
            needed[int(match[2])] = (file, match[1])
    return defined, needed
