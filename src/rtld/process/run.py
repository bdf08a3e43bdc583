"""``rtld.run``: a program in a process of its own, linked by us or loaded as the kernel does it."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rtld.events import Reporter


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
) -> int:
    """Run *program* and wait for its end; returns its exit status, or the negative number of the signal that killed it.

    *program* is a path, or an ELF file as bytes: then no file is needed, and /proc/self/exe is ``/memfd:NAME (deleted)``.
    *argv* begins with argv[0]; *env* is the whole environment, by default this process's.  *interp*: do the kernel's part
    only and let the program's own interpreter link (*library_path*, *preload* and *lazy* reach it as LD_LIBRARY_PATH,
    LD_PRELOAD and LD_BIND_NOW); otherwise we link, and *reporter* is told.  *lazy*: True leaves functions to their first
    call, False binds all before the start, None all that can be bound.  *seed*: the same "random" addresses each time.

    ``kernel.CannotRun`` (an RtldError) says why it cannot be started.  A library or symbol that is missing is told on
    standard error in ld.so's words, and the status is 127.
    """
    image = program if isinstance(program, bytes | bytearray | memoryview) else os.fspath(program)
    image = bytes(image) if isinstance(image, bytearray) else image
    arguments = list(argv) if argv else [image if isinstance(image, str) else "image"]
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
