"""``rtld.run``: a program in a process of its own, linked by us or loaded as the kernel does it."""

from __future__ import annotations

import os

from rtld.errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from rtld.events import Reporter
    from rtld.process.emulated.observe import Observer
    from rtld.process.hooks import Hooks


def run(
    program: str | os.PathLike[str] | bytes | bytearray | memoryview,
    argv: Sequence[str] | None = None,
    env: Mapping[str, str] | None = None,
    *,
    interp: bool = False,
    library_path: str | None = None,
    preload: str | None = None,
    lazy: bool | None = None,
    reporter: Reporter | None = None,
    aslr: bool = True,
    seed: int | None = None,
    sysroot: str | os.PathLike[str] | None = None,
    hooks: Hooks | None = None,
    observers: Sequence[Observer] = (),
) -> int:
    """Run *program* and wait for its end; returns its exit status, or the negative number of the signal that killed it.

    *program* is a path, or an ELF file as bytes: then no file is needed, and /proc/self/exe is ``/memfd:NAME (deleted)``.
    *argv* begins with argv[0]; *env* is the whole environment, by default this process's.  *interp*: do the kernel's part
    only and let the program's own interpreter link (*library_path*, *preload* and *lazy* reach it as LD_LIBRARY_PATH,
    LD_PRELOAD and LD_BIND_NOW); otherwise we link, and *reporter* is told.  *lazy*: True leaves functions to their first
    call, False binds all before the start, None all that can be bound.  *seed*: the same "random" addresses each time.

    *sysroot*: the program's root directory; it is run on an emulated CPU, as programs of other CPUs are without one, too.  There
    *hooks* are asked of every library, binding and call (``Hooks``; what they raise is raised here), and *observers* look on:
    ``rtld.process.emulated.observe`` has ``Coverage`` and ``Watch``.

    ``kernel.CannotRun`` (an RtldError) says why it cannot be started.  A library or symbol that is missing is told on
    standard error in ld.so's words, and the status is 127.
    """
    image = program if isinstance(program, bytes | bytearray | memoryview) else os.fspath(program)
    image = bytes(image) if isinstance(image, bytearray) else image
    arguments = list(argv) if argv else [image if isinstance(image, str) else "image"]
    if sysroot is not None or (isinstance(image, str) and _is_foreign(image)):
        root = None if sysroot is None else os.fspath(sysroot)
        status = _run_emulated(
            image, arguments, env, root, None if interp else (lazy, library_path, preload, hooks),
            seed=seed, fixed=not aslr, reporter=reporter, observers=observers,
        )  # fmt: skip
        return os.waitstatus_to_exitcode(status)
    if hooks is not None or observers:
        raise Unsupported(
            "hooks and observers of a program of this computer's own CPU",
            'sysroot="/" emulates one',
        )
    if interp:
        from rtld.process.kernel import run_program

        variables = interpreter_environment(env, library_path, preload, now=lazy is False)
        status = run_program(image, arguments, variables, aslr=aslr, seed=seed)
    else:
        from rtld.process.live import run as live

        status = live.run(
            image, arguments, env,
            library_path=library_path, preload=preload, lazy=lazy, reporter=reporter, aslr=aslr, seed=seed,
        )  # fmt: skip
    return os.waitstatus_to_exitcode(status)


def _is_foreign(program: str) -> bool:
    from rtld.process.emulated.which import is_foreign

    return is_foreign(program)


def _run_emulated(
    program: str | bytes | memoryview,
    argv: Sequence[str],
    env: Mapping[str, str] | None,
    sysroot: str | None,
    link: tuple[bool | None, str | None, str | None, Hooks | None] | None,
    **options: Any,
) -> int:
    """The wait status; *link*: lazy, LD_LIBRARY_PATH, LD_PRELOAD, hooks where our linker links."""
    from rtld.process.emulated.start import run_emulated
    from rtld.process.emulated.system import Link
    from rtld.process.program import initial_environment

    if not isinstance(program, str):
        raise Unsupported("a program in memory, on an emulated CPU", "write it to a file")
    if options["reporter"] is None:
        del options["reporter"]
    given = initial_environment() if env is None else env
    variables = {os.fsdecode(name): os.fsdecode(value) for name, value in given.items()}
    how = None
    if link is not None:
        lazy, library_path, preload, hooks = link
        how = Link(lazy is not False, library_path, preload, hooks)
    return run_emulated(program, argv, variables, sysroot=sysroot, link=how, **options)


def interpreter_environment(
    env: Mapping[str, str] | Mapping[bytes, bytes] | None,
    library_path: str | None,
    preload: str | None,
    *,
    now: bool,
) -> dict[bytes, bytes]:
    """The environment in which the program's own interpreter does what was asked of us."""
    from rtld.process.program import initial_environment

    given = initial_environment() if env is None else env
    variables = {os.fsencode(name): os.fsencode(value) for name, value in given.items()}
    for variable, value in (("LD_LIBRARY_PATH", library_path), ("LD_PRELOAD", preload)):
        if value is not None:
            variables[os.fsencode(variable)] = os.fsencode(value)
    if now:
        variables[b"LD_BIND_NOW"] = b"1"
    return variables
