"""Wait for a child as if this process were not there: signals, job control, exit status.

The child is in our process group, so what the terminal sends (Ctrl-C, Ctrl-\\, Ctrl-Z) reaches it without our help and must
not end us before it.  What somebody sends to us alone is meant for the program, and is passed on.  If the child
stops, we stop, so that the shell takes the terminal back.
"""

from __future__ import annotations

import _thread
import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Self

# Left alone: two cannot be caught, the others tell of faults of this very process.
_OUR_OWN = {
    signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL,
    signal.SIGTRAP, signal.SIGSYS, signal.SIGABRT, signal.SIGPIPE, signal.SIGXFSZ,
}  # fmt: skip
# What a key or a window sends to the whole group.
_FROM_TERMINAL = {
    signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGWINCH,
    signal.SIGCONT,
}  # fmt: skip
_STOPS = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)


class Foreground:
    """``with Foreground() as foreground: pid = ...; status = foreground.wait(pid)``

    Between entering and leaving, the main thread blocks all signals; ``sigmask`` is what it blocked before,
    and what the child should start with.  In another thread nothing is blocked and nothing passed on.
    """

    def __enter__(self) -> Self:
        self._main = _thread.get_native_id() == os.getpid()
        self._signals = set(signal.valid_signals()) - _OUR_OWN
        self._late: list[int] = []
        self._handlers: dict[int, Any] = {}
        # Where there are other threads (of numpy, say), one of them may take a signal although we wait for it.
        self._alone = len(os.listdir("/proc/self/task")) == 1
        if self._main and not self._alone:
            for number in self._signals - {signal.SIGCHLD}:
                if signal.getsignal(number) is not None:
                    self._handlers[number] = signal.signal(number, self._note)
        block = self._signals if self._main else ()
        self.sigmask = signal.pthread_sigmask(signal.SIG_BLOCK, block)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._main:
            signal.pthread_sigmask(signal.SIG_SETMASK, self.sigmask)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def wait(self, pid: int) -> int:
        """Wait for the end of *pid*; returns its wait status (os.waitpid)."""
        if not self._main:
            return os.waitpid(pid, 0)[1]
        while True:
            # First: the child may have ended before, and SIGCHLD does not count.
            done, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
            if done and os.WIFSTOPPED(status):
                self._stop_too(pid, os.WSTOPSIG(status))
            elif done:
                return status
            else:
                self._pass_on(pid)

    def _pass_on(self, pid: int) -> None:
        """Wait for a signal, and send it to *pid* if it was meant for it and has not reached it."""
        while self._late:
            number = self._late.pop()
            if number not in _FROM_TERMINAL:
                _send(pid, number)
        if self._alone:
            info = signal.sigwaitinfo(self._signals)
        else:
            waited = signal.sigtimedwait(self._signals, 0.02)
            if waited is None:
                return
            info = waited
        number = info.si_signo
        if number == signal.SIGCHLD:
            return
        if number == signal.SIGCONT:
            if state(pid) == "T":
                _send(pid, number)
        # From a process (kill, sigqueue), not from the terminal, which sends to the whole group.
        elif info.si_code <= 0 and not is_descendant(info.si_pid, pid):
            _send(pid, number)

    def _note(self, number: int, frame: object) -> None:
        """Another thread got a signal."""
        del frame
        self._late.append(number)

    def _stop_too(self, pid: int, signum: int) -> None:
        """Stop as the child did, until somebody continues us; then continue the child."""
        if state(pid) != "T":
            return
        ours = signum if signum in _STOPS else int(signal.SIGSTOP)
        if ours in _STOPS:
            before = signal.signal(ours, signal.SIG_DFL)
            os.kill(os.getpid(), ours)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {ours})  # here it stops
            signal.pthread_sigmask(signal.SIG_BLOCK, {ours})
            signal.signal(ours, before)
        else:
            os.kill(os.getpid(), ours)
        if state(pid) == "T":
            _send(pid, signal.SIGCONT)


def die_like(status: int) -> None:
    """End this process as the child with this wait status ended: same exit code, or same signal."""
    if os.WIFSIGNALED(status):
        import ctypes

        number = os.WTERMSIG(status)
        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE: one core file is enough
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        os.kill(os.getpid(), number)
        os._exit(128 + number)
    os._exit(os.waitstatus_to_exitcode(status))


def state(pid: int) -> str:
    """The state letter of /proc/PID/stat; "X" if there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return chr(file.read().rpartition(b") ")[2][0])
    except (OSError, IndexError):
        return "X"


def is_descendant(pid: int, ancestor: int) -> bool:
    """Is *pid* the process *ancestor*, or a child of it, or of that...?"""
    while pid > 1:
        if pid == ancestor:
            return True
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                pid = int(file.read().rpartition(b") ")[2].split()[1])
        except (OSError, IndexError, ValueError):
            return False
    return False


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
