"""KERNEL32.dll: clocks and dates. The time zone is UTC, so that programs say the same everywhere."""

from __future__ import annotations

import struct
import time

from rtld.backends.windows.kernel32 import KERNEL32
from rtld.backends.windows.paths import EPOCH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rtld.backends.windows.system import System

_DAY = 24 * 3600 * 10_000_000  # in 100 ns
_MARCH = 584694  # days from 0000-03-01 to 1601-01-01
_LAST = 0x7FFF35F4F06C58FF  # the last FILETIME that has a date: in the year 30827


def date_of(days: int) -> tuple[int, int, int]:
    """(year, month, day) of a day after 1601-01-01, in the Gregorian calendar."""
    era, rest = divmod(days + _MARCH, 146097)
    year = (rest - rest // 1460 + rest // 36524 - rest // 146096) // 365
    rest -= 365 * year + year // 4 - year // 100
    month = (5 * rest + 2) // 153
    day = rest - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    return year + era * 400 + (month <= 2), month, day


def days_of(year: int, month: int, day: int) -> int:
    """The day after 1601-01-01 of a date."""
    year -= month <= 2
    era, rest = divmod(year, 400)
    of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146097 + rest * 365 + rest // 4 - rest // 100 + of_year - _MARCH


def month_length(year: int, month: int) -> int:
    """Days of a month."""
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[month - 1]


def system_time(filetime: int) -> bytes:
    """SYSTEMTIME of a FILETIME."""
    days, rest = divmod(filetime, _DAY)
    year, month, day = date_of(days)
    seconds, fraction = divmod(rest, 10_000_000)
    return struct.pack("<8H", year, month, (days + 1) % 7, day, seconds // 3600, seconds // 60 % 60, seconds % 60, fraction // 10_000)  # fmt: skip


def file_time(data: bytes) -> int | None:
    """FILETIME of a SYSTEMTIME; None when it is no date."""
    year, month, _, day, hour, minute, second, milli = struct.unpack("<8H", data)
    if not (1601 <= year <= 30827 and 1 <= month <= 12 and 1 <= day <= month_length(year, month)):
        return None
    if hour > 23 or minute > 59 or second > 59 or milli > 999:
        return None
    seconds = (days_of(year, month, day) * 24 + hour) * 3600 + minute * 60 + second
    return int(seconds * 10_000_000 + milli * 10_000)


def now() -> int:
    """FILETIME."""
    return time.time_ns() // 100 + EPOCH


# -- clocks ---------------------------------------------------------------------------------------


@KERNEL32("GetTickCount")
def get_tick_count(system: System) -> int:
    return int((time.monotonic() - system.started) * 1000) + 100_000


@KERNEL32("GetTickCount64", "", "q")
def get_tick_count64(system: System) -> int:
    return int(get_tick_count(system))


@KERNEL32("QueryPerformanceCounter", "p")
def query_performance_counter(system: System, out: int) -> int:
    system.put(out, time.perf_counter_ns() // 100, 8)
    return 1


@KERNEL32("QueryPerformanceFrequency", "p")
def query_performance_frequency(system: System, out: int) -> int:
    system.put(out, 10_000_000, 8)
    return 1


@KERNEL32("QueryUnbiasedInterruptTime", "p")
def query_unbiased_interrupt_time(system: System, out: int) -> int:
    system.put(out, time.monotonic_ns() // 100, 8)
    return 1


@KERNEL32("GetSystemTimeAsFileTime GetSystemTimePreciseAsFileTime", "p", "v")
def get_system_time_as_file_time(system: System, out: int) -> None:
    system.put(out, now(), 8)


@KERNEL32("GetSystemTime GetLocalTime", "p", "v")
def get_system_time(system: System, out: int) -> None:
    system.memory.write(out, system_time(now()))


@KERNEL32("SetSystemTime SetLocalTime", "p")
def set_system_time(system: System, _time: int) -> int:
    return system.fail(1314)  # ERROR_PRIVILEGE_NOT_HELD


@KERNEL32("GetSystemTimeAdjustment", "ppp")
def get_system_time_adjustment(system: System, *places: int) -> int:
    for place, value in zip(places, (156250, 156250, 1), strict=True):
        system.put(place, value, 4)
    return 1


@KERNEL32("GetSystemTimes", "ppp")
def get_system_times(system: System, *places: int) -> int:
    for place, value in zip(places, (0, 0, time.process_time_ns() // 100), strict=True):
        if place:
            system.put(place, value, 8)
    return 1


# -- dates ----------------------------------------------------------------------------------------


@KERNEL32("FileTimeToSystemTime", "pp")
def file_time_to_system_time(system: System, when: int, out: int) -> int:
    value = system.number(when, 8)
    if value > _LAST:
        return system.fail(87)
    system.memory.write(out, system_time(value))
    return 1


@KERNEL32("SystemTimeToFileTime", "pp")
def system_time_to_file_time(system: System, when: int, out: int) -> int:
    value = file_time(system.memory.read(when, 16))
    if value is None:
        return system.fail(87)
    system.put(out, value, 8)
    return 1


@KERNEL32("FileTimeToLocalFileTime LocalFileTimeToFileTime", "pp")
def file_time_to_local_file_time(system: System, when: int, out: int) -> int:
    system.put(out, system.number(when, 8), 8)
    return 1


@KERNEL32("SystemTimeToTzSpecificLocalTime TzSpecificLocalTimeToSystemTime", "ppp")
def system_time_to_tz_specific_local_time(system: System, zone: int, when: int, out: int) -> int:
    """The zone's bias; its days of daylight saving are not looked at."""
    value = file_time(system.memory.read(when, 16))
    if value is None:
        return system.fail(87)
    bias = system.number(zone, 4) if zone else 0
    bias -= (bias >> 31) << 32
    system.memory.write(out, system_time(max(value - bias * 600_000_000, 0)))
    return 1


@KERNEL32("CompareFileTime", "pp", "i")
def compare_file_time(system: System, a: int, b: int) -> int:
    x, y = system.number(a, 8), system.number(b, 8)
    return (x > y) - (x < y)


@KERNEL32("GetTimeZoneInformation", "p")
def get_time_zone_information(system: System, out: int) -> int:
    name = "UTC".encode("utf-16-le").ljust(64, b"\0")
    system.memory.write(out, bytes(4) + name + bytes(20) + name + bytes(20))
    return 0  # TIME_ZONE_ID_UNKNOWN: there is no daylight saving


@KERNEL32("GetDynamicTimeZoneInformation", "p")
def get_dynamic_time_zone_information(system: System, out: int) -> int:
    get_time_zone_information(system, out)
    system.memory.write(out + 172, "UTC".encode("utf-16-le").ljust(256, b"\0") + bytes(4))
    return 0


@KERNEL32("DosDateTimeToFileTime", "uup")
def dos_date_time_to_file_time(system: System, date: int, clock: int, out: int) -> int:
    parts = ((date >> 9 & 127) + 1980, date >> 5 & 15, 0, date & 31, clock >> 11 & 31, clock >> 5 & 63, (clock & 31) * 2, 0)  # fmt: skip
    value = file_time(struct.pack("<8H", *parts))
    if value is None:
        return system.fail(87)
    system.put(out, value, 8)
    return 1


@KERNEL32("FileTimeToDosDateTime", "ppp")
def file_time_to_dos_date_time(system: System, when: int, date: int, clock: int) -> int:
    year, month, _, day, hour, minute, second, _ = struct.unpack("<8H", system_time(min(system.number(when, 8), _LAST)))  # fmt: skip
    if not 1980 <= year <= 2107:
        return system.fail(87)
    system.put(date, year - 1980 << 9 | month << 5 | day, 2)
    system.put(clock, hour << 11 | minute << 5 | second // 2, 2)
    return 1


# -- dates in words -------------------------------------------------------------------------------

DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September",
          "October", "November", "December")  # fmt: skip


def picture(form: str, parts: tuple[int, ...]) -> str:
    """A date or time in a picture of Windows, ``"dd'/'MM yyyy HH:mm tt"`` (Day, Month, Year, and Era Format Pictures)."""
    year, month, weekday, day, hour, minute, second, _ = parts
    noon = hour % 12 or 12
    result, at = "", 0
    while at < len(form):
        letter = form[at]
        if letter == "'":
            end = form.find("'", at + 1)
            end = len(form) if end < 0 else end
            result += form[at + 1 : end] or "'"
            at = end + 1
            continue
        run = 1
        while form[at + run : at + run + 1] == letter:
            run += 1
        at += run
        two = f"0{min(run, 2)}d"
        if letter == "d" and run > 2:
            result += DAYS[weekday % 7] if run > 3 else DAYS[weekday % 7][:3]
        elif letter == "M" and run > 2:
            result += MONTHS[month - 1] if run > 3 else MONTHS[month - 1][:3]
        elif letter == "y":
            result += f"{year:04d}" if run > 2 else f"{year % 100:{two}}"
        elif letter == "t":
            result += ("AM", "PM")[hour > 11][: min(run, 2)]
        elif letter in "dMhHms":
            value = {"d": day, "M": month, "h": noon, "H": hour, "m": minute, "s": second}[letter]
            result += f"{value:{two}}"
        else:
            result += letter * run
    return result


def _format(system: System, wide: bool, flags: int, when: int, form: str | None, out: int, room: int, dated: bool) -> int:  # fmt: skip
    data = system.memory.read(when, 16) if when else system_time(now())
    value = file_time(data if dated else struct.pack("<4H", 2000, 1, 0, 1) + data[8:])
    if value is None:
        return system.fail(87)
    parts = struct.unpack("<8H", system_time(value))
    if form is None and dated:
        form = "dddd, MMMM d, yyyy" if flags & 2 else "MMMM, yyyy" if flags & 8 else "M/d/yyyy"
    elif form is None:
        seconds = "" if flags & 3 else ":ss"
        form = ("HH" if flags & 8 else "h") + ("" if flags & 1 else ":mm") + seconds
        form += "" if flags & 4 else " tt"
    text = picture(form, parts)
    if not room:
        return len(text) + 1
    if len(text) + 1 > room:
        return system.fail(122)
    system.put_string(wide, out, room, text)
    return len(text) + 1


@KERNEL32.both("GetDateFormat", "uuptpi", "i")
def get_date_format(system: System, wide: bool, _locale: int, flags: int, when: int, form: str, out: int, room: int) -> int:  # fmt: skip
    return _format(system, wide, flags, when, form, out, room, True)


@KERNEL32.both("GetTimeFormat", "uuptpi", "i")
def get_time_format(system: System, wide: bool, _locale: int, flags: int, when: int, form: str, out: int, room: int) -> int:  # fmt: skip
    return _format(system, wide, flags, when, form, out, room, False)


@KERNEL32("GetDateFormatEx", "wupwpip", "i")
def get_date_format_ex(system: System, _locale: str, flags: int, when: int, form: str, out: int, room: int, _calendar: int) -> int:  # fmt: skip
    return _format(system, True, flags, when, form, out, room, True)


@KERNEL32("GetTimeFormatEx", "wupwpi", "i")
def get_time_format_ex(system: System, _locale: str, flags: int, when: int, form: str, out: int, room: int) -> int:  # fmt: skip
    return _format(system, True, flags, when, form, out, room, False)
