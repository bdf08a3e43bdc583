"""Answers what a live child asks: a thread that waits for requests in the shared memory."""

from __future__ import annotations

import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from rtld.backends.child.channel import Channel
    from rtld.process.world import World


class Server:
    """``with Server(world, channel, pid): wait for the program``"""

    def __init__(self, world: World, channel: Channel, pid: int) -> None:
        self.world = world
        self.channel = channel
        self.pid = pid
        self._stop = False
        self._thread = threading.Thread(target=self._serve, name="linker", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.channel.hang_up()

    def finish(self, status: int) -> None:
        """The program has ended."""

    def _serve(self) -> None:
        while not self._stop:
            for request in self.channel.requests():
                self.channel.answer(request.slot, 0)
            self.channel.wait()
