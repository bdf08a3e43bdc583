"""msvcrt.dll: clocks and dates. The time zone is UTC."""

from __future__ import annotations

import struct
import time

from rtld.backends.windows.crt import UCRT
from rtld.backends.windows.kernel32_time import DAYS, MONTHS, date_of, days_of
from rtld.backends.windows.msvcrt import MSVCRT, failed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.backends.windows.api import Dll
    from rtld.backends.windows.system import System

_SINCE_1601 = days_of(1970, 1, 1)
_LAST = 32535215999  # _MAX__TIME64_T: the end of the year 3000


@MSVCRT("_time32", "p", "i")
def time32(system: System, out: int) -> int:
    now = int(time.time())
    if out:
        system.put(out, now, 4)
    return now


@MSVCRT("_time64", "p", "q")
def time64(system: System, out: int) -> int:
    now = int(time.time())
    if out:
        system.put(out, now, 8)
    return now


def _wide_time(system: System) -> bool:
    """time_t has 64 bits in programs of 64 bits."""
    return system.bits == 64


@MSVCRT("time", "p", "p")
def time_(system: System, out: int) -> int:
    return int((time64 if _wide_time(system) else time32)(system, out))


@MSVCRT("clock", "", "i")
def clock(system: System) -> int:
    return int((time.monotonic() - system.started) * 1000)


@MSVCRT("difftime _difftime32", "pp", "d")
def difftime(system: System, end: int, begin: int) -> float:
    sign = 1 << (system.bits - 1)
    return float(((end ^ sign) - sign) - ((begin ^ sign) - sign))


@MSVCRT("_difftime64", "qq", "d")
def difftime64(_system: System, end: int, begin: int) -> float:
    return float(end - begin)


def broken_down(seconds: int) -> tuple[int, ...]:
    """The fields of struct tm."""
    days, rest = divmod(seconds, 86400)
    year, month, day = date_of(days + _SINCE_1601)
    of_year = days + _SINCE_1601 - days_of(year, 1, 1)
    return (
        rest % 60,
        rest // 60 % 60,
        rest // 3600,
        day,
        month - 1,
        year - 1900,
        (days + 4) % 7,
        of_year,
        0,
    )


def _store(system: System, out: int, seconds: int) -> int:
    if not 0 <= seconds <= _LAST:
        return failed(system, 22, 22)
    system.memory.write(out, struct.pack("<9i", *broken_down(seconds)))
    return 0


@MSVCRT("_localtime64_s _gmtime64_s", "pp", "i")
def gmtime64_s(system: System, out: int, when: int) -> int:
    return _store(system, out, system.number(when, 8))


@MSVCRT("_localtime32_s _gmtime32_s", "pp", "i")
def gmtime32_s(system: System, out: int, when: int) -> int:
    return _store(system, out, system.number(when, 4))


def _own(system: System) -> int:
    """The struct tm of a thread."""
    crt = system.threads.current.crt
    if "tm" not in crt:
        crt["tm"] = system.heap.allocate(36)
    return int(crt["tm"])


@MSVCRT("_localtime64 _gmtime64", "p", "p")
def gmtime64(system: System, when: int) -> int:
    at = _own(system)
    return 0 if _store(system, at, system.number(when, 8)) else at


@MSVCRT("_localtime32 _gmtime32", "p", "p")
def gmtime32(system: System, when: int) -> int:
    at = _own(system)
    return 0 if _store(system, at, system.number(when, 4)) else at


@MSVCRT("localtime gmtime", "p", "p")
def gmtime(system: System, when: int) -> int:
    return int((gmtime64 if _wide_time(system) else gmtime32)(system, when))


def _fields(system: System, at: int) -> tuple[int, ...]:
    return struct.unpack("<9i", system.memory.read(at, 36))


def _make(system: System, at: int) -> int:
    """Seconds since 1970 of a struct tm, whose fields may be beyond their limits: they are put right."""
    second, minute, hour, day, month, year, *_ = _fields(system, at)
    more, month = divmod(month, 12)
    full = year + 1900 + more
    if not 1 <= full <= 9999:
        return failed(system, 22, -1)
    days = days_of(full, month + 1, 1) - _SINCE_1601 + day - 1
    seconds = days * 86400 + hour * 3600 + minute * 60 + second
    if not 0 <= seconds <= _LAST:
        return failed(system, 22, -1)
    _store(system, at, seconds)
    return seconds


@MSVCRT("_mktime64 _mkgmtime64", "p", "q")
def mktime64(system: System, at: int) -> int:
    return _make(system, at)


@MSVCRT("_mktime32 _mkgmtime32", "p", "i")
def mktime32(system: System, at: int) -> int:
    seconds = _make(system, at)
    return seconds if seconds < 1 << 31 else failed(system, 22, -1)


@MSVCRT("mktime _mkgmtime", "p", "p")
def mktime(system: System, at: int) -> int:
    return int((mktime64 if _wide_time(system) else mktime32)(system, at))


def _day(fields: tuple[int, ...], pad: str) -> bytes:
    second, minute, hour, day, month, year, weekday, *_ = fields
    text = f"{DAYS[weekday % 7][:3]} {MONTHS[month % 12][:3]} {day:{pad}2} {hour:02}:{minute:02}:{second:02} {year + 1900}\n"
    return text.encode() + b"\0"


def _days(table: Dll, pad: str) -> None:
    """Declare what says a day in words: its number has a zero before it in msvcrt.dll, and a blank in ucrtbase.dll."""

    def asctime(system: System, at: int) -> int:
        return system.keep(_day(_fields(system, at), pad))

    def ctime64(system: System, when: int) -> int:
        return system.keep(_day(broken_down(system.number(when, 8) & (1 << 34) - 1), pad))

    def ctime32(system: System, when: int) -> int:
        return system.keep(_day(broken_down(system.number(when, 4)), pad))

    def ctime(system: System, when: int) -> int:
        return (ctime64 if _wide_time(system) else ctime32)(system, when)

    for name, action in {
        "asctime": asctime,
        "_ctime64": ctime64,
        "_ctime32": ctime32,
        "ctime": ctime,
    }.items():
        table(name, "p", "p")(action)


_days(MSVCRT, "0")
_days(UCRT, "")


def formatted(form: str, fields: tuple[int, ...]) -> str:
    """strftime in the C locale."""
    second, minute, hour, day, month, year, weekday, of_year, _ = fields
    full, noon = year + 1900, hour % 12 or 12
    date, clock_ = f"{month + 1:02}/{day:02}/{full % 100:02}", f"{hour:02}:{minute:02}:{second:02}"
    name, month_name = DAYS[weekday % 7], MONTHS[month % 12]
    values = {
        "a": name[:3], "A": name, "b": month_name[:3], "B": month_name, "c": f"{date} {clock_}", "d": f"{day:02}",
        "H": f"{hour:02}", "I": f"{noon:02}", "j": f"{of_year + 1:03}", "m": f"{month + 1:02}", "M": f"{minute:02}",
        "p": "AM" if hour < 12 else "PM", "S": f"{second:02}", "U": f"{(of_year + 7 - weekday) // 7:02}",
        "w": str(weekday), "W": f"{(of_year + 7 - (weekday - 1) % 7) // 7:02}", "x": date, "X": clock_,
        "y": f"{full % 100:02}", "Y": f"{full:04}", "z": "+0000", "Z": "UTC", "%": "%",
    }  # fmt: skip
    result, at = "", 0
    while at < len(form):
        letter = form[at]
        at += 1
        if letter != "%":
            result += letter
            continue
        bare = form[at : at + 1] == "#"
        at += bare
        text = values.get(form[at : at + 1], "")
        at += 1
        if bare and text.isdigit():
            text = text.lstrip("0") or "0"
        result += text
    return result


@MSVCRT("strftime", "ppsp", "p")
def strftime(system: System, out: int, room: int, form: bytes, at: int) -> int:
    text = formatted(form.decode("latin-1"), _fields(system, at)).encode("latin-1")
    if len(text) + 1 > room:
        if room:
            system.put(out, 0, 1)
        return failed(system, 34, 0)
    system.memory.write(out, text + b"\0")
    return len(text)


@MSVCRT("wcsftime", "ppwp", "p")
def wcsftime(system: System, out: int, room: int, form: str, at: int) -> int:
    text = formatted(form, _fields(system, at))
    if len(text) + 1 > room:
        return failed(system, 34, 0)
    system.memory.write(out, text.encode("utf-16-le", "surrogatepass") + b"\0\0")
    return len(text)


def _now_parts() -> tuple[int, int]:
    nanoseconds = time.time_ns()
    return nanoseconds // 1_000_000_000, nanoseconds // 1_000_000 % 1000


@MSVCRT("_ftime64", "p", "v")
def ftime64(system: System, out: int) -> None:
    seconds, milli = _now_parts()
    system.memory.write(out, struct.pack("<qHhh", seconds, milli, 0, 0))


@MSVCRT("_ftime32", "p", "v")
def ftime32(system: System, out: int) -> None:
    seconds, milli = _now_parts()
    system.memory.write(out, struct.pack("<iHhh", seconds & 0x7FFFFFFF, milli, 0, 0))


@MSVCRT("_ftime", "p", "v")
def ftime(system: System, out: int) -> None:
    (ftime64 if _wide_time(system) else ftime32)(system, out)


@MSVCRT("_tzset tzset", "", "v")
def tzset(_system: System) -> None:
    return


@MSVCRT("_strdate", "p", "p")
def strdate(system: System, out: int) -> int:
    system.memory.write(out, formatted("%x", broken_down(int(time.time()))).encode() + b"\0")
    return out


@MSVCRT("_strtime", "p", "p")
def strtime(system: System, out: int) -> int:
    system.memory.write(out, formatted("%X", broken_down(int(time.time()))).encode() + b"\0")
    return out
