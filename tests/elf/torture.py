"""Random closures of libraries that get in one another's way: every kind of symbol, version and reference at once.

Few names, defined in many libraries: weakly, protected, hidden, unique, in one version, in two, or in none; referred to
as data, by calls and by COPY; libraries with DT_SYMBOLIC, with either hash table, in random load order.
"""

from __future__ import annotations

import random
from pathlib import Path

import toolchain
from toolchain import Step, Target

NAMES = 14  # the even ones are functions, the odd ones are data
PLAIN = "plain"
KINDS = (PLAIN, PLAIN, PLAIN, "weak", "protected", "hidden", "unique")
ATTRIBUTES = {
    "weak": "__attribute__((weak))",
    "protected": '__attribute__((visibility("protected")))',
    "hidden": '__attribute__((visibility("hidden")))',
}


def is_data(name: int) -> bool:
    return name % 2 == 1


class Library:
    """What one library, or the program (number -1), defines and refers to."""

    def __init__(self, number: int, choose: random.Random, unique: bool) -> None:
        self.number = number
        self.file = f"lib{number}.so" if number >= 0 else "main"
        kinds = [k for k in KINDS if unique or k != "unique"]
        self.defined = {
            name: choose.choice(kinds)
            for name in range(NAMES)
            if choose.random() < (0.4 if number >= 0 else 0.15)
        }
        for name, kind in self.defined.items():
            if (kind == "unique" and not is_data(name)) or (number < 0 and kind != "weak"):
                self.defined[name] = PLAIN
        self.wanted = [name for name in range(NAMES) if choose.random() < 0.6]
        self.called = [n for n in range(NAMES) if not is_data(n) and choose.random() < 0.4]
        self.weakly = {n for n in self.wanted if n not in self.defined and choose.random() < 0.2}
        self.versioned = number >= 0 and choose.random() < 0.6
        exported = [n for n, kind in self.defined.items() if kind != "hidden"]
        self.version = {n: choose.choice(["V1", "V2"]) for n in exported}
        # In two versions, the older one hidden.
        self.twice = {
            n
            for n in exported
            if self.versioned and self.defined[n] == PLAIN and choose.random() < 0.3
        }
        self.flags = [choose.choice(["-Wl,-Bsymbolic", "", "", ""])] if number >= 0 else []
        self.flags += [choose.choice(["-Wl,--hash-style=gnu", "-Wl,--hash-style=sysv", ""])]

    def source(self) -> str:
        lines = []
        for name, kind in self.defined.items():
            attribute = ATTRIBUTES.get(kind, "")
            body = "[2] = {1, 2};" if is_data(name) else "(void) { return 1; }"
            if name in self.twice:
                lines += [
                    f"int old_{name}{body}",
                    f"int new_{name}{body}",
                    f'__asm__(".symver old_{name}, s{name}@V1");',
                    f'__asm__(".symver new_{name}, s{name}@@V2");',
                ]
            else:
                lines.append(f"{attribute} int s{name}{body}")
            if kind == "unique":
                lines.append(f'__asm__(".type s{name}, %gnu_unique_object");')
        for name in sorted({*self.wanted, *self.called}):
            if name not in self.defined or name in self.twice:
                weak = "__attribute__((weak)) " if name in self.weakly else ""
                lines.append(f"extern {weak}int s{name}{'[2]' if is_data(name) else '(void)'};")
        rows = ", ".join(f"(void *)s{name}" for name in self.wanted)
        lines.append(f"void *table_{self.number + 1}[] = {{ {rows or '0'} }};")
        calls = " ".join(f"s{name}();" for name in self.called)
        if self.number < 0:
            # From code, so that a program at a fixed address copies.
            reads = " + ".join(["0", *(f"s{n}[0]" for n in self.wanted if is_data(n))])
            lines.append(f"int main(void) {{ {calls} return {reads}; }}")
        else:
            lines.append(f"void calls_{self.number}(void) {{ {calls} }}")
        return "\n".join(lines) + "\n"

    def script(self) -> str:
        nodes = []
        for version, parent in (("V1", ""), ("V2", " V1")):
            names = [f"s{n};" for n, v in self.version.items() if v == version or n in self.twice]
            own = f" global: {' '.join(names)}" if names else ""
            nodes.append(f"{version} {{{own} }}{parent};\n")
        return "".join(nodes)


def build(seed: int, want: Target, *, pie: bool, unique: bool = True) -> Path:
    """Compile the closure with that number; returns the program's path."""
    choose = random.Random(seed)
    count = choose.randint(2, 6)
    libraries = [Library(number, choose, unique) for number in range(count)]
    program = Library(-1, choose, unique)
    steps: list[Step | list[str]] = []
    common = [want.cc, "-O1", "-w", "-fno-builtin", "-Wl,-rpath,$ORIGIN", "-Wl,--no-as-needed"]
    built: list[str] = []
    for library in reversed(libraries):
        # Versions of references come from the libraries they are linked with.
        linked = choose.sample(built, choose.randint(0, len(built)))
        name = f"lib{library.number}"
        steps.append(Step("file", f"{name}.c", library.source()))
        script = []
        if library.versioned:
            steps.append(Step("file", f"{name}.map", library.script()))
            script = [f"-Wl,--version-script={name}.map"]
        options = [flag for flag in library.flags if flag]
        command = [*common, "-shared", "-fPIC", f"-Wl,-soname,{library.file}", *options, *script]
        steps.append([*command, f"{name}.c", *linked, "-o", library.file])
        built.append(library.file)
    protected = {n for lib in libraries for n, k in lib.defined.items() if k == "protected"}
    # The link editor refuses to copy what its library binds to itself.
    program.wanted = [n for n in program.wanted if n not in protected or not is_data(n)]
    kind = ["-fPIE", "-pie"] if pie else ["-fno-pie", "-no-pie"]
    options = [*kind, *(flag for flag in program.flags if flag)]
    options += ["-Wl,--unresolved-symbols=ignore-all"]
    if want.interp:
        options += [f"-Wl,--dynamic-linker={want.interp}"]
    steps.append(Step("file", "main.c", program.source()))
    order = choose.sample(built, len(built))
    steps.append([*common, *options, "main.c", *order, "-o", "main"])
    key = [str(seed), str(pie), want.name, toolchain.version_of(want.cc)]
    key += [step.text if isinstance(step, Step) else " ".join(step) for step in steps]
    return toolchain.compile_all(key, steps) / "main"
