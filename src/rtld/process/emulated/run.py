"""Run a program of another CPU: start it, go on when it calls execve, end as it ended.

A guest's process is one of the host's. After a fork two Pythons are here, each with its own guest; the child ends in
``_end``, and never returns to who called ``run``.
"""

from __future__ import annotations

import os
import signal
import sys

from rtld.backends.emulated.family import Family
from rtld.backends.emulated.faults import Fault, LimitReached
from rtld.backends.emulated.linux.calls import Ended, Replaced
from rtld.errors import RtldError
from rtld.process.emulated.execve import Process, do_execve
from rtld.process.emulated.postmortem import describe
from rtld.process.emulated.system import Link, StartFailed
from rtld.process.program import CannotRun

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, Self

    from rtld.process.emulated.system import System
    from rtld.process.gdb.debugger import Debugger


def run(
    system: System,
    path: str,
    argv: Sequence[str],
    env: Mapping[str, str],
    *,
    cwd: str = "/",
    link: Link | None = None,
    debugger: Debugger | None = None,
    tell: Callable[[str], object] = lambda text: sys.stderr.write(f"rtld: {text}\n"),
) -> int:
    """Run the program at the guest's *path*; its wait status. *link*: how our linker is to link; None: the guest's
    does."""
    system.family = Family()
    words = [os.fsencode(word) for word in argv]
    variables = [os.fsencode(f"{name}={value}") for name, value in env.items()]
    system.link, system.cwd = link, cwd
    process = _start(system, path, words, variables, None, None)
    if debugger is not None:
        debugger.attach(process)
    with _Host(process) as host:
        try:
            status = _run(system, process, tell, debugger)
            host.ended_well = not status & 0x7F
            return status
        except BaseException:
            if system.is_first:
                raise
            # A hook has failed in a child that the guest has forked: it must not return to who called us.
            sys.excepthook(*sys.exc_info())
            _end(1 << 8)
            raise AssertionError("not reached") from None
        finally:
            system.scratch.remove()


def _start(
    system: System,
    path: str,
    argv: Sequence[bytes],
    env: Sequence[bytes],
    fd: int | None,
    before: object,
) -> Process:
    """A new process, or a new program in one."""
    process = do_execve(system, path, argv, env, fd=fd, machine=before, plant=_plant)  # type: ignore[arg-type]
    own = process.machine.process
    own.family, own.check, own.random = system.family, _check, system.chance.bytes
    if system.is_first:
        for observer in system.observers:
            observer.started(process)
    return process


def _plant(process: Process) -> object:
    """Let our linker link, if that is wanted and there is something to link."""
    link = process.system.link
    if link is None:
        return None
    from rtld.process.emulated.closure import can_link
    from rtld.process.emulated.guest import Guest

    if not can_link(process.program.file):
        return None
    if link.pure:
        from rtld.process.emulated.pure import PureGuest

        guest: Guest = PureGuest(process, link)
    else:
        guest = Guest(process, link)
    process.guest = guest
    guest.plant()
    return guest


def _check(fd: int, _path: str) -> None:
    """Before execve takes a file: one that cannot be run is an error of the call's, not the end of the program."""
    head = os.pread(fd, 4, 0)
    if not head.startswith((b"#!", b"\x7fELF")):
        import errno

        raise OSError(errno.ENOEXEC, "neither ELF nor a script")


class _Host:
    """Signals as a guest's process needs them, and as they were afterwards; the terminal as it was when the guest could not put
    that right itself.
    """

    def __init__(self, process: Process) -> None:
        self.process = process
        self.pid = os.getpid()
        self.before: dict[int, object] = {}
        self.ended_well = False

    def __enter__(self) -> Self:
        self.terminal = next((fd for fd in (0, 1, 2) if os.isatty(fd)), None)
        if self.terminal is not None:
            self.modes = _termios().tcgetattr(self.terminal)
        for number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGINT):
            self.before[number] = signal.getsignal(number)
        listen(self.process)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)
        family = self.process.system.family
        handlers = family.handlers if family is not None else {}
        for number, handler in [*handlers.items(), *self.before.items()]:
            if handler is not None:  # it was not Python's
                signal.signal(number, handler)  # type: ignore[arg-type]
        if self.terminal is not None and not self.ended_well and os.getpid() == self.pid:
            before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # it may not be ours now
            try:
                _termios().tcsetattr(self.terminal, _termios().TCSADRAIN, self.modes)
            except _termios().error:
                pass  # it is gone
            signal.signal(signal.SIGTTOU, before)


def _termios() -> Any:
    """Imported where there is a terminal."""
    import termios

    return termios


def listen(process: Process) -> None:
    """Signals of the host's wake this process."""
    family = process.system.family
    assert family is not None
    family.listen(process.machine.kernel.arrived)
    process.machine.kernel.listen()
    process.machine.watch_bell(family.wakeup)


def _run(
    system: System, process: Process, tell: Callable[[str], object], debugger: Debugger | None
) -> int:
    """Until it ends; the wait status. A child of the guest's does not return."""
    pid = os.getpid()
    status = 0
    while True:
        machine = process.machine
        try:
            machine.go(process.entry, process.sp)
        except Replaced as next_one:
            _tell_end(system, process)
            machine.kernel.leave_ipc()
            try:
                process = _start(
                    system,
                    next_one.path,
                    next_one.argv,
                    next_one.env,
                    next_one.fd,
                    machine,
                )
            except StartFailed as failure:
                system.reporter.message(str(failure))
                status = failure.status << 8
            except (RtldError, OSError) as error:
                tell(str(error))
                status = getattr(error, "status", 126) << 8
            else:
                listen(process)
                if debugger is not None and machine.debugger is debugger:
                    debugger.attach(process)
                machine.close()
                continue
        except Ended as ended:
            status = ended.signal or ended.status << 8
        except Fault as fault:
            tell(describe(process, fault))
            status = fault.signal
        except LimitReached as error:
            tell(str(error))
            status = error.status - 128
        except StartFailed as failure:
            # In the words of ld.so, and where it says them.
            system.reporter.message(str(failure))
            status = failure.status << 8
        except RtldError as error:
            if system.family is None or os.getpid() == system.family.first:
                raise
            tell(str(error))  # a child never returns
            status = getattr(error, "status", 126) << 8
        except KeyboardInterrupt:
            status = int(signal.SIGINT)
        break
    system.last = process
    _tell_end(system, process)
    process.machine.kernel.leave_ipc()
    if debugger is not None and os.getpid() == pid:
        debugger.ended(status)
    for name, count in process.machine.unknown_calls().items():
        system.unknown[name] = system.unknown.get(name, 0) + count
    if os.getpid() != pid or (system.family is not None and os.getpid() != system.family.first):
        _end(status)
    return status


def _tell_end(system: System, process: Process) -> None:
    if system.is_first:
        for observer in system.observers:
            observer.ended(process)


def _end(status: int) -> None:
    """A forked child ends as its guest did."""
    sys.stderr.flush()
    if status & 0x7F:
        number = status & 0x7F
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.kill(os.getpid(), number)
    os._exit(status >> 8 & 0xFF)


__all__ = ["CannotRun", "Link", "run"]
