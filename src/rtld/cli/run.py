"""``rtld run``: start a program, linked by rtld."""

from __future__ import annotations

import os
import sys

from rtld.cli import FINE, UsageError, flush, put, tell
from rtld.cli.options import Command, Option, Options
from rtld.cli.reading import assignments, is_pe
from rtld.errors import RtldError
from rtld.events import SPOKEN, Trace, categories

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.events import Reporter

# fmt: off
COMMAND = Command(
    "run",
    "PROGRAM [ARG...]",
    """\
Run a program, with its libraries found, loaded, bound, relocated and initialised by rtld. Its exit status is that of
the program; its input, output and signals are the program's own.""",
    (
        Option("--now",          "",     "bind every symbol before the program starts, and do not start without one"),
        Option("--lazy",         "",     "bind functions when they are called first\n"
                                         f"{'':28}(neither: before the start, but a missing one only when called)"),
        Option("--lazy-load",    "",     "open a library when a function of it is called first; emulated CPUs only"),
        Option("--trace",        "?CAT", "say what is done, as LD_DEBUG does: libs,files,symbols,bindings,reloc,\n"
                                         f"{'':28}versions,scopes,statistics,exec,calls,all,help (default: all)"),
        Option("--trace-output", "FILE", "write the trace there instead of to standard error"),
        Option("--interp",       "",     "load the program and its interpreter as the kernel does; the interpreter links"),
        Option("--pure",         "",     "without the program's ld.so, which is not even started (glibc); emulated CPUs only"),
        Option("--no-aslr",      "",     "the same addresses every time"),
        Option("--seed",         "N",    "addresses chosen by chance, but the same for the same N"),
        Option("--env",          "K=V",  "set a variable in the program's environment", many=True),
        Option("--argv0",        "NAME", "what the program sees as its own name"),
        Option("--library-path", "PATHS", "search these directories as LD_LIBRARY_PATH", many=":"),
        Option("--preload",      "LIST", "load these libraries first, as LD_PRELOAD", many=":"),
        Option("--sysroot",      "DIR",  "the program's root directory; it is run on an emulated CPU"),
        Option("--bind",         "HOST:GUEST", "let it see more of this computer's files (HOST:GUEST:ro: not to be changed)",
               many=True),
        Option("--net",          "",     "allow sockets: unix ones in the sysroot, and the internet as far as this computer"),
        Option("--layout",       "NAME", "addresses as linux (the default), qnx or liteos gives them; emulated CPUs only",
               choices=("linux", "qnx", "liteos")),
        Option("--map",          "",     "draw the address space when the program has ended (--json: for programs)"),
        Option("--machine-stats", "",    "tell what the emulated machine has done: page faults, pages shared, system calls"),
        Option("--json",         "",     "what --map, --machine-stats, --coverage and --watch tell, as JSON"),
        Option("--windows-dir",  "DIR",  "system DLLs of a Windows program, beyond those that rtld supplies itself"),
        Option("--dll-path",     "DIR",  "search this directory for DLLs, after the program's own", many=True),
        Option("--apiset",       "FILE", "API sets of this apisetschema.dll instead of rtld's own"),
        Option("--unresolved",   "POLICY", "imports of Windows programs without a definition: strict or stub (as Wine)", choices=("strict", "stub")),
        Option("--bound",        "POLICY", "imports that were bound beforehand: ignore, verify or use", choices=("ignore", "verify", "use")),
        Option("--tls",          "POLICY", "thread-local data of DLLs that are loaded later: vista, or static-only (none, as before it)",
               choices=("vista", "static-only")),
        Option("--delay",        "HOW",  "delay imports of Windows programs: helper (theirs), eager, or trap (ours, at the first call)",
               choices=("helper", "eager", "trap")),
        Option("--crt",          "WHOSE", "the C library of Windows programs: builtin (ours) or guest (Wine's own, emulated)",
               choices=("builtin", "guest")),
        Option("--strict",       "",     "stop a Windows program at a function that rtld does not supply"),
        Option("--timeout",      "SEC",  "end it after so many seconds; emulated CPUs only"),
        Option("--coverage",     "?FILE", "which functions have run, and how often they were entered (FILE.drcov: as DynamoRIO's\n"
                                         f"{'':28}drcov); emulated CPUs only"),
        Option("--watch",        "WHAT", "tell of accesses to ADDRESS+BYTES, SYMBOL or LIBRARY:SYMBOL; emulated CPUs only",
               many=True),
        Option("--gdb",          "PORT", "wait for gdb on that port of this machine (0: any); emulated CPUs only"),
        Option("--backend",      "NAME", "for other CPUs: emulated (the default where it can) or qemu (runs what is linked here)",
               choices=("emulated", "qemu")),
        Option("--memory",       "MIB",  "the most memory a process of it may have; emulated CPUs only"),
    ),
    """\
  rtld run --sysroot arm64root /bin/ls -l      a program of another CPU, which sees nothing but that directory
  rtld run /usr/bin/python3 -c 'print(6 * 7)'
  rtld run --lazy --trace=bindings ls          every function as it is called first
  rtld run --trace=files,libs --trace-output trace.txt gdb --version
  rtld run --interp --no-aslr ./app            let the platform's ld.so do the linking
  rtld run prog.exe ARG                        a Windows program, x86-64, i386 or AArch64, on an emulated CPU
  zcat app.gz | rtld run - --version           a program that is in no file
""",
    search=False,
    least=0,
    stops=True,
    notes="""
Options end at PROGRAM, which is looked for in PATH when it has no slash; - is a program read from standard input, which
is at its end then. Exit status 126: it cannot be run, 127: there
is no such program.""",
)
# fmt: on

NOT_RUNNABLE, NOT_FOUND = 126, 127  # as shells say it


def main(options: Options) -> int:
    """Start it, wait for it, end as it ended."""
    reporter = _reporter(options)
    if reporter is None:
        from rtld.events import help_text

        put(help_text("--trace"))
        return FINE
    if not options.rest:
        raise UsageError("PROGRAM is missing", "run")
    if options.lazy and options.now:
        raise UsageError("--lazy and --now exclude each other", "run")
    if options.lazy_load and (options.now or options.interp):
        other = "--now" if options.now else "--interp"
        raise UsageError(f"--lazy-load and {other} exclude each other", "run")
    if options.pure and options.interp:
        raise UsageError("--pure and --interp exclude each other", "run")
    if options.no_aslr and options.seed is not None:
        raise UsageError("--no-aslr and --seed exclude each other", "run")
    seed = _seed(options.seed)
    name = options.rest[0]
    emulated = options.sysroot is not None
    windows = not emulated and name != "-" and os.path.isfile(name) and is_pe(name)
    if windows:
        from rtld.cli.run_windows import run_windows

        return run_windows(options, _number(options.timeout, "--timeout"))
    program = _read_program() if name == "-" else name if emulated else find_program(name)
    if program is None:
        tell(f"{name}: command not found")
        return NOT_FOUND
    from rtld.process.live.foreground import die_like

    flush()
    try:
        if emulated or options.backend or _is_foreign(program):
            status = _run_emulated(program, options, seed, reporter)
        elif wanted := _of_emulated_cpus(options, reporter):
            raise UsageError(
                f"{wanted}: {name} runs on this computer's own CPU; --sysroot / emulates one", "run"
            )
        elif options.interp:
            status = _run_interp(program, options, seed)
        else:
            status = _run_live(program, options, seed, reporter)
    except RtldError as error:
        if options.debug:
            raise
        tell(str(error))
        # kernel.CannotRun and live.StartFailed know what a shell or ld.so would say.
        return getattr(error, "status", NOT_RUNNABLE)
    finally:
        if isinstance(reporter, Trace):
            reporter.statistics()
            reporter.sink.flush()
    die_like(status)
    return FINE


def _run_live(program: str | bytes, options: Options, seed: int | None, reporter: Reporter) -> int:
    """Our linker links."""
    from rtld.process.live.run import run

    status: int = run(
        program,
        _arguments(options),
        _environment(options) if options.env else None,
        library_path=options.library_path,
        preload=options.preload,
        lazy=True if options.lazy else False if options.now else None,
        reporter=reporter,
        aslr=not options.no_aslr,
        seed=seed,
    )
    return status


def _run_interp(program: str | bytes, options: Options, seed: int | None) -> int:
    """The interpreter links: it is told by its own variables."""
    from rtld.process.kernel import run_program

    env = _interpreter_environment(options)
    return run_program(program, _arguments(options), env, aslr=not options.no_aslr, seed=seed)


def _interpreter_environment(options: Options) -> dict[bytes, bytes]:
    """What makes the interpreter do what the options say."""
    from rtld.process.run import interpreter_environment

    env = interpreter_environment(
        _environment(options), options.library_path, options.preload, now=options.now
    )
    if options.trace is not None:
        own = [
            word for word in (options.trace or "all").split(",") if word not in ("exec", "calls")
        ]
        if own:
            env[b"LD_DEBUG"] = os.fsencode(",".join(own))
        if options.trace_output is not None:
            env[b"LD_DEBUG_OUTPUT"] = os.fsencode(options.trace_output)
    return env


def _of_emulated_cpus(options: Options, reporter: Reporter) -> str | None:
    """An option that means nothing elsewhere."""
    given = {
        "--lazy-load": options.lazy_load, "--pure": options.pure, "--gdb": options.gdb, "--timeout": options.timeout,
        "--memory": options.memory, "--bind": options.bind, "--coverage": options.coverage is not None, "--watch": options.watch, "--net": options.net,
        "--trace=calls": "calls" in reporter.wants,
    }  # fmt: skip
    return next((flag for flag, value in given.items() if value), None)


def _is_foreign(program: str | bytes) -> bool:
    from rtld.process.emulated.which import is_foreign

    return isinstance(program, str) and is_foreign(program)


def _run_emulated(
    program: str | bytes, options: Options, seed: int | None, reporter: Reporter
) -> int:
    """Another CPU, or another root directory: in an emulated machine."""
    if isinstance(program, bytes):
        raise UsageError("a program from standard input cannot be run on an emulated CPU", "run")
    from rtld.process.emulated.start import parse_bind, run_emulated
    from rtld.process.emulated.system import Link

    for text in options.bind:
        try:
            parse_bind(text)
        except ValueError:
            raise UsageError(f"--bind {text}: HOST:GUEST is wanted", "run") from None
        except FileNotFoundError:
            raise UsageError(f"--bind {text}: there is no such file", "run") from None
    if options.sysroot is not None and not os.path.isdir(options.sysroot):
        raise UsageError(f"--sysroot {options.sysroot}: there is no such directory", "run")
    given = _interpreter_environment(options) if options.interp else _environment(options)
    env = {os.fsdecode(k): os.fsdecode(v) for k, v in given.items()}
    link, hooks = None, None
    if "calls" in reporter.wants:
        if options.interp:
            raise UsageError("--trace=calls: with --interp another linker makes PLT slots", "run")
        from rtld.process.calltrace import CallTrace

        hooks = CallTrace(reporter)
    if isinstance(reporter, Trace):
        reporter.pid = os.getpid  # what a guest forks is a process of its own
    if not options.interp:
        link = Link(
            not options.now,
            options.library_path,
            options.preload,
            hooks,
            options.lazy_load,
            options.pure,
        )

    debugger = None
    if options.gdb is not None:
        debugger = _debugger(options.gdb)

    observed = None
    if options.coverage is not None or options.watch:
        from rtld.cli.run_observed import Observed

        observed = Observed(options)

    def finished(system: Any) -> None:
        if system.unknown:
            names = ", ".join(f"{call} ({count})" for call, count in system.unknown.items())
            tell(f"{program}: system calls answered with ENOSYS: {names}")
        _tell_machine(system, options, observed.finish() if observed is not None else {})

    return run_emulated(
        program, _arguments(options), env, sysroot=options.sysroot, binds=options.bind, link=link,
        seconds=_number(options.timeout, "--timeout"), seed=seed, fixed=options.no_aslr, reporter=reporter,
        layout=options.layout or "linux",
        memory=int((_number(options.memory, "--memory") or 4096) * (1 << 20)), finished=finished,
        debugger=debugger, net=options.net, observers=observed.observers if observed is not None else (),
        qemu=None if options.backend is None else options.backend == "qemu",
    )  # fmt: skip


def _tell_machine(system: Any, options: Options, told: dict[str, Any]) -> None:
    """What is left to see when the program has ended, on standard error: standard output is the program's. *told*: JSON of
    what was observed.
    """
    if system.last is None or not (options.map or options.machine_stats or told):
        return
    from rtld.process.emulated.portrait import as_json, draw, statistics, tell_statistics

    if options.json:
        import json

        told |= {"map": as_json(system.last)} if options.map else {}
        told |= {"statistics": statistics(system)} if options.machine_stats else {}
        sys.stderr.write(json.dumps(told) + "\n")
        return
    if options.map:
        sys.stderr.write(draw(system.last))
    if options.machine_stats:
        sys.stderr.write(tell_statistics(system))


def _debugger(port: str) -> Any:
    """It waits for a gdb on the port."""
    from rtld.process.gdb.debugger import Debugger

    if not port.isdigit() or int(port) > 0xFFFF:
        raise UsageError(f"--gdb {port}: the number of a port is wanted, or 0 for any", "run")
    try:
        return Debugger(int(port), lambda found: tell(f"in gdb: target remote 127.0.0.1:{found}"))
    except OSError as error:
        raise RtldError(f"--gdb {port}: {error.strerror}") from None


def _number(text: str | None, option: str) -> float | None:
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not value > 0:
        raise UsageError(f"{option} {text}: a positive number is wanted", "run")
    return value


def _read_program() -> bytes:
    """The program itself, from standard input; it finds nothing there any more when it runs."""
    try:
        return sys.stdin.buffer.read() if sys.stdin is not None else b""
    except OSError as error:
        raise RtldError(f"standard input cannot be read: {error.strerror}") from None


def _arguments(options: Options) -> list[str]:
    """argv of the program."""
    name, *rest = options.rest
    if options.argv0 is not None:
        return [options.argv0, *rest]
    return ["image" if name == "-" else name, *rest]


def _environment(options: Options) -> dict[Any, Any]:
    from rtld.process.program import initial_environment

    variables = {os.fsencode(k): os.fsencode(v) for k, v in assignments(options.env).items()}
    return {**initial_environment(), **variables}


def _reporter(options: Options) -> Reporter | None:
    """Who is told; None when only help is wanted."""
    if options.trace is None:
        return SPOKEN
    try:
        wants = categories(options.trace)
    except ValueError as error:
        raise UsageError(
            f"--trace={error}: there is no such category; see --trace=help", "run"
        ) from None
    if "help" in wants:
        return None
    sink = sys.stderr
    if options.trace_output is not None and not options.interp:
        try:
            # A line at a time: what an emulated program forks writes there, too.
            sink = open(options.trace_output, "w", 1, encoding="utf-8", errors="surrogateescape")  # noqa: SIM115
        except OSError as error:
            raise UsageError(
                f"--trace-output {options.trace_output}: {error.strerror}", "run"
            ) from None
    return Trace(wants, sink)


def _seed(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return int(text, 0)
    except ValueError:
        raise UsageError(f"--seed {text}: a number is wanted", "run") from None


def find_program(name: str) -> str | None:
    """The path of a command, as execvp finds it; a name with a slash as it is."""
    if "/" in name:
        return name
    for directory in os.environ.get("PATH", os.defpath).split(os.pathsep):
        path = os.path.join(directory or ".", name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None
