"""Time passes while the CPU runs: a thread stops it now and then, so that Python can look at signals and at the clock.

Python runs its signal handlers, Ctrl-C among them, between two of its own instructions; a CPU that never comes back
leaves no such place.
"""

from __future__ import annotations

import select
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.backends.emulated.engine import Engine

TICK = 0.05  # seconds
IDLE = 20  # ticks without a run after which the thread ends; the next run starts another


class Watch:
    """``with watch:`` around a run. ``stops`` counts how often the CPU was stopped for no other reason.

    A stop is asked for with the lock held, and a run begins and ends with it: none comes too late, into the next run.
    """

    def __init__(self, engine: Engine) -> None:
        self.stops = 0
        self.ticks = 0
        self.tick = TICK
        self.bell: int | None = (
            None  # a descriptor that has something to read when a signal has come
        )
        self._engine = engine
        self._depth = 0
        self._runs = 0
        self._over = False
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> None:
        with self._lock:
            self._depth += 1
            self._runs += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._tick, name="rtld watch", daemon=True)
                self._thread.start()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._depth -= 1

    def _rings(self, bell: int) -> bool:
        try:
            return bool(select.select([bell], [], [], self.tick)[0])
        except (OSError, ValueError):
            self.bell = None  # it has been closed: another program has taken this one's place
            return False

    def close(self) -> None:
        """There will be no more runs."""
        self._over = True

    def forked(self) -> None:
        """In the child of a fork: the thread is not there, and the lock may have been held."""
        self._lock = threading.Lock()
        self._thread = None

    def _tick(self) -> None:
        pause = threading.Event()
        idle, seen = 0, self._runs
        while True:
            if self._over:
                return
            bell = self.bell
            if bell is None:
                pause.wait(self.tick)
            elif self._rings(bell):
                pause.wait(0.001)  # whoever has been called for hears it between two runs
            with self._lock:
                if self._depth and not self._engine.in_hook:
                    self.stops += 1
                    self.ticks += 1
                    self._engine.stop_soon()
                idle = 0 if self._depth or seen != self._runs else idle + 1
                seen = self._runs
                if idle == IDLE:
                    self._thread = None
                    return
