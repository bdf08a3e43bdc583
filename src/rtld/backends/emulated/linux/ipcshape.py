"""The structures of System V IPC: shmid_ds, semid_ds, msqid_ds, as IPC_STAT gives them (<asm-generic/shmbuf.h> and others)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rtld.backends.emulated.linux.calls import Calls


class Shape:
    """Packs and reads them for one CPU."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._wide = calls.bits == 64

    def _perm(self, found: Any) -> bytes:
        """struct ipc64_perm."""
        uid, gid = found["uid"], found["gid"]
        long_mode = self._wide or self._calls.is_mips
        form = "iIIIIIHH4xQQ" if self._wide else "iIIIIIHHII" if long_mode else "iIIIIHHHHII"
        rest = (0, 0, 0, 0) if long_mode else (0, 0, 0, 0, 0)
        return self._calls.pack(
            form, found["key"], uid, gid, uid, gid, found["mode"] | self._gone(found), *rest
        )

    def _gone(self, found: Any) -> int:
        return 0o1000 if found.get("gone") else 0  # SHM_DEST

    def _times(self, *times: int) -> bytes:
        """Each as a long; where that has 32 bits, the upper half follows."""
        return self._calls.pack(
            "".join("L" if self._wide else "II" for _ in times), *self._halves(times)
        )

    def _halves(self, times: tuple[int, ...]) -> list[int]:
        return (
            list(times)
            if self._wide
            else [half for time in times for half in (time & 0xFFFFFFFF, time >> 32)]
        )

    def pack(self, kind: str, found: Any, attached: int) -> bytes:
        """*kind*: "shm", "sem" or "msg"."""
        pack, perm = self._calls.pack, self._perm(found)
        if self._calls.is_mips and not self._wide and kind != "msg":
            return perm + self._pack_o32(kind, found, attached)
        if kind == "shm":
            times = self._times(found["atime"], found["dtime"], found["ctime"])
            return (
                perm
                + pack("L", found["size"])
                + times
                + pack("iiLLL", found["cpid"], found["lpid"], attached, 0, 0)
            )
        if kind == "sem":
            if self._calls.cpu.name == "x86_64":
                times = pack("LLLL", found["otime"], 0, found["ctime"], 0)
            else:
                times = self._times(found["otime"], found["ctime"])
            return perm + times + pack("LLL", len(found["values"]), 0, 0)
        times = self._times(found["stime"], found["rtime"], found["ctime"])
        held = sum(len(text) for _, text in found["messages"])
        numbers = (
            held,
            len(found["messages"]),
            found["qbytes"],
            found["lspid"],
            found["lrpid"],
            0,
            0,
        )
        return perm + times + pack("LLLiiLL", *numbers)

    def _pack_o32(self, kind: str, found: Any, attached: int) -> bytes:
        """MIPS o32: the upper halves of times stand last."""
        pack = self._calls.pack
        names = ("atime", "dtime", "ctime") if kind == "shm" else ("otime", "ctime")
        times = [found[name] for name in names]
        low, high = [time & 0xFFFFFFFF for time in times], [time >> 32 for time in times]
        if kind == "shm":
            return pack(
                "L3LiiL3HH", found["size"], *low, found["cpid"], found["lpid"], attached, *high, 0
            )
        return pack("2LL2L", *low, len(found["values"]), *high)

    def read_change(self, kind: str, address: int) -> tuple[int, int]:
        """What IPC_SET sets: the mode, and of a message queue its size."""
        mode = (
            self._calls.unpack("I" if self._wide or self._calls.is_mips else "H", address + 20)[0]
            & 0o777
        )
        if kind != "msg":
            return mode, 0
        at = 48 + 24 + 16 if self._wide else 36 + 24 + 8
        return mode, int(self._calls.unpack("L", address + at)[0])
