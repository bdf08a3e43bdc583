"""ld.so.cache: decoded as ldconfig prints it, looked up as ld.so does, and never worse than FormatError."""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elf.search_bed import LOADER, Bed
from rtld.elf.hwcaps import capabilities
from rtld.elf.ldcache import LdCache, libcmp, order_key
from rtld.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Callable

X86_64 = (62, 64, "<")
NATIVE = capabilities(*X86_64, cpu="native")
LDCONFIG = shutil.which("ldconfig", path=f"{os.environ.get('PATH', '')}:/sbin:/usr/sbin")


def ldconfig_rows(cache: Path | str) -> list[tuple[str, str, str | None]]:
    """(name, path, glibc-hwcaps subdirectory) as `ldconfig -p` tells."""
    assert LDCONFIG
    text = subprocess.run(
        [LDCONFIG, "-p", "-C", str(cache)], capture_output=True, text=True, check=True
    ).stdout
    rows = []
    for line in text.splitlines():
        left, arrow, path = line.strip().partition(" => ")
        if arrow:
            name, _, kind = left.partition(" (")
            hwcaps = kind.partition('hwcap: "')[2].partition('"')[0] or None
            rows.append((name, path, hwcaps))
    return rows


@pytest.fixture
def bed(tmp_path: Path, require: Callable[[str], None]) -> Bed:
    if LDCONFIG is None:
        require("ldconfig")
    return Bed(tmp_path)


def make_cache(bed: Bed, *directories: str, form: str = "new") -> Path:
    assert LDCONFIG
    path = bed.place / "ld.so.cache"
    conf = bed.place / "ld.so.conf"
    conf.write_text("".join(f"{bed.place}/{d}\n" for d in directories))
    argv = [LDCONFIG, "-X", "-c", form, "-f", str(conf), "-C", str(path)]
    subprocess.run(argv, capture_output=True, check=True)
    return path


@pytest.mark.live
def test_cache_of_this_machine() -> None:
    path = "/etc/ld.so.cache"
    if not os.path.exists(path) or LDCONFIG is None:
        pytest.skip("no cache here")
    cache = LdCache(Path(path).read_bytes())
    rows = [(e.name, e.path, e.hwcaps) for e in cache.entries()]
    assert rows == ldconfig_rows(path)
    assert len(cache) == len(rows)
    plain: dict[str, str] = {}
    for entry in cache.entries():
        if entry.flags == 0x303 and entry.hwcap == 0:
            plain.setdefault(entry.name, entry.path)
    assert {name: cache.lookup(name, NATIVE) for name in plain} == plain
    for name in ("", "libnowhere.so", "zzz", "9", "lib", "libc.so.66", "libstdc++.so.06"):
        assert cache.lookup(name, NATIVE) in (None, plain.get("libstdc++.so.6"))


@pytest.mark.parametrize("form", ["new", "compat", "old"])
def test_made_by_ldconfig(bed: Bed, form: str) -> None:
    for name in ("liba.so.1", "liba.so.10", "liba.so.9", "libb-1.2.so.0", "libb.so.2"):
        bed.lib(f"d/{name}", soname=name)
        bed.lib(f"e/{name}", soname=name)
    if form == "new":  # in the other two ldconfig writes the names of these at wrong places
        for subdir in ("x86-64-v2", "x86-64-v3", "x86-64-v4", "other"):
            bed.lib(f"e/glibc-hwcaps/{subdir}/liba.so.1", soname="liba.so.1")
    path = make_cache(bed, "d", "e", form=form)
    cache = LdCache(path.read_bytes())
    assert [(e.name, e.path, e.hwcaps) for e in cache.entries()] == ldconfig_rows(path)
    for name in ("liba.so.10", "liba.so.9", "libb-1.2.so.0", "libb.so.2"):
        assert cache.lookup(name, capabilities(*X86_64, cpu="baseline")) == f"{bed.place}/d/{name}"
    assert cache.lookup("liba.so.11", NATIVE) is None
    if form != "old":
        assert cache.generator is not None
        assert cache.generator.startswith("ldconfig")
    if form == "new":
        assert set(cache.hwcaps) == {"x86-64-v2", "x86-64-v3", "x86-64-v4", "other"}
        for cpu in ("x86-64-v2", "x86-64-v3", "x86-64-v4"):
            found = cache.lookup("liba.so.1", capabilities(*X86_64, cpu=cpu))
            assert found == f"{bed.place}/e/glibc-hwcaps/{cpu}/liba.so.1"
    assert (
        cache.lookup("liba.so.1", capabilities(*X86_64, cpu="baseline"))
        == f"{bed.place}/d/liba.so.1"
    )


def ask_loader(bed: Bed, name: str, *options: str) -> str | None:
    """What ld.so finds for ``name`` with our file as its cache: in a mount namespace of its own."""
    bed.main(name)
    script = f'mount --bind {bed.place}/ld.so.cache /etc/ld.so.cache && exec "$@"'
    argv = [
        "unshare",
        "-rm",
        "sh",
        "-c",
        script,
        "sh",
        LOADER,
        "--list",
        *options,
        str(bed.place / "main"),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if "unshare:" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no mount namespaces here: {done.stderr.strip()}")
    for line in done.stdout.splitlines():
        left, _, path = line.strip().partition(" => ")
        if left == name:
            return None if path == "not found" else path.partition(" (")[0]
    return None


@pytest.mark.skipif(not os.path.exists(LOADER), reason="the judge is x86-64's ld.so")
@pytest.mark.parametrize("form", ["new", "compat"])
def test_lookup_as_ld_so(bed: Bed, form: str) -> None:
    names = (
        "liba.so.1",
        "liba.so.10",
        "liba.so.9",
        "libb.so",
        "libb-1.so",
        "lib1.so",
        "lib01.so",
        "libx.so.2",
    )
    for name in names:
        bed.lib(f"d/{name}", soname=name)
    places = (
        "glibc-hwcaps/x86-64-v2",
        "glibc-hwcaps/x86-64-v3",
        "tls",
        "haswell",
        "haswell/avx512_1",
        "x86_64",
    )
    if form == "new":  # with these ldconfig -c compat dies
        for subdir in places:
            bed.lib(f"d/{subdir}/libx.so.2", soname="libx.so.2")
        for subdir in places[2:]:
            bed.lib(f"d/{subdir}/liba.so.9", soname="liba.so.9")
    cache = LdCache(make_cache(bed, "d", form=form).read_bytes())
    for name in (*names, "libb.so.1", "lib001.so", "liba.so.0"):
        assert cache.lookup(name, NATIVE) == ask_loader(bed, name), name
    masked = NATIVE.restrict(None, None, "x86-64-v2")
    assert cache.lookup("libx.so.2", masked) == ask_loader(
        bed, "libx.so.2", "--glibc-hwcaps-mask", "x86-64-v2"
    )
    ahead = NATIVE.restrict(None, "x86-64-v2", None)
    assert cache.lookup("libx.so.2", ahead) == ask_loader(
        bed, "libx.so.2", "--glibc-hwcaps-prepend", "x86-64-v2"
    )


# ------------------------------------------------------------------------------------------ the order


def reference(a: bytes, b: bytes) -> int:
    """_dl_cache_libcmp told character by character, as the manual page of ldconfig never does."""
    i = j = 0

    def digit(text: bytes, at: int) -> bool:
        return at < len(text) and chr(text[at]) in "0123456789"

    while i < len(a):
        if digit(a, i):
            if not digit(b, j):
                return 1
            x = y = 0
            while digit(a, i):
                x, i = x * 10 + a[i] - 48, i + 1
            while digit(b, j):
                y, j = y * 10 + b[j] - 48, j + 1
            if x != y:
                return x - y
        elif digit(b, j):
            return -1
        elif j >= len(b) or a[i] != b[j]:
            return a[i] - (b[j] if j < len(b) else 0)
        else:
            i, j = i + 1, j + 1
    return 0 if j >= len(b) else -1


_TEXT = st.text("ab.019-", max_size=8).map(str.encode)


@given(_TEXT, _TEXT)
def test_order(a: bytes, b: bytes) -> None:
    def sign(value: int) -> int:
        return (value > 0) - (value < 0)

    assert sign(libcmp(a, b)) == sign(reference(a, b))
    assert sign(libcmp(a, b)) == -sign(libcmp(b, a))
    x, y = order_key(a), order_key(b)
    assert x is not None
    assert y is not None
    assert (x > y) - (x < y) == sign(reference(a, b))


def test_order_of_numbers_that_overflow_an_int() -> None:
    assert libcmp(b"lib4294967297.so", b"lib2.so") < 0
    assert libcmp(b"lib2147483648.so", b"lib0.so") < 0
    assert (order_key(b"lib4294967297.so") or ()) < (order_key(b"lib2.so") or ())
    assert (order_key(b"lib2147483648.so") or ()) < (order_key(b"lib0.so") or ())


def test_keys_are_for_ascii() -> None:
    assert order_key("libé.so".encode()) is None


# ------------------------------------------------------------------------------------------ malformed


def small_cache(order: str = "<", extension: bool = True) -> bytes:
    """A cache of three entries written by hand, with the glibc-hwcaps extension."""
    strings = (
        b"libb.so\0/l/libb.so\0liba.so\0/l/liba.so\0/l/glibc-hwcaps/x86-64-v3/liba.so\0x86-64-v3\0"
    )
    base = 48 + 3 * 24
    at = {text: base + strings.index(text + b"\0") for text in strings.split(b"\0") if text}
    rows = [
        (b"libb.so", b"/l/libb.so", 0),
        (b"liba.so", b"/l/glibc-hwcaps/x86-64-v3/liba.so", 1 << 62 | 2 << 32),
        (b"liba.so", b"/l/liba.so", 0),
    ]
    end = (base + len(strings) + 3) & -4
    header = struct.pack(
        order + "17s3sIIB3xI12x",
        b"glibc-ld.so.cache",
        b"1.1",
        3,
        len(strings),
        2 if order == "<" else 3,
        end,
    )
    entries = b"".join(struct.pack(order + "iIIIQ", 0x303, at[k], at[v], 0, h) for k, v, h in rows)
    body = (header + entries + strings).ljust(end, b"\0")
    generator = b"by hand"
    sections = struct.pack(order + "II", 0xEAA42174, 2)
    sections += struct.pack(order + "4I", 0, 0, end + 40, len(generator))
    sections += struct.pack(order + "4I", 1, 0, end + 48, 4)
    return body + sections + generator.ljust(8, b"\0") + struct.pack(order + "I", at[b"x86-64-v3"])


def look(data: bytes, order: str = "<") -> None:
    """Everything a reader can do with a cache."""
    try:
        cache = LdCache(data, "mutant", order)
        cache.serves(NATIVE.cache_flags)
        for name in ("liba.so", "libb.so", "libz.so", "liba.so.1"):
            cache.lookup(name, NATIVE)
        for entry in cache.entries():
            cache.lookup(entry.name, NATIVE)
    except FormatError:
        pass


def test_cache_by_hand() -> None:
    for order in ("<", ">"):
        cache = LdCache(small_cache(order), "hand", order)
        assert cache.generator == "by hand"
        assert cache.hwcaps == ("x86-64-v3",)
        assert [e.isa_level for e in cache.entries()] == [0, 2, 0]
        v3, v2 = (capabilities(*X86_64, cpu=f"x86-64-v{n}") for n in (3, 2))
        assert cache.lookup("liba.so", v3) == "/l/glibc-hwcaps/x86-64-v3/liba.so"
        assert cache.lookup("liba.so", v2) == "/l/liba.so"
        assert cache.lookup("libb.so", v2) == "/l/libb.so"


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (b"", "magic"),
        (b"glibc-ld.so.cache1.1", "file size"),
        (b"ld.so-1.7.0\0\0", "file size"),
        (small_cache()[:20] + b"\xff\xff\0\0" + small_cache()[24:], "nlibs"),
        (small_cache(">"), "byte order in flags"),
        (small_cache()[:28] + b"\1" + small_cache()[29:], "byte order in flags"),
        (small_cache()[:32] + b"\1\0\0\0" + small_cache()[36:], "extension_offset"),
        (small_cache()[:32] + b"\4\0\0\0" + small_cache()[36:], "magic"),
        (small_cache()[:-1], "offset + size"),
    ],
)
def test_malformed(data: bytes, field: str) -> None:
    with pytest.raises(FormatError) as caught:
        LdCache(data)
    assert caught.value.field == field


@given(st.data())
def test_mutants_do_no_worse_than_format_error(data: st.DataObject) -> None:
    base = bytearray(small_cache())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(base) - 1))
        base[at] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF, 0x30]))
    cut = data.draw(st.integers(0, len(base)))
    look(bytes(base[:cut] if data.draw(st.booleans()) else base))


@pytest.mark.fuzz
def test_many_mutants() -> None:
    rng = random.Random(36)
    for source in (small_cache(), small_cache(">")):
        for _ in range(3000):
            data = bytearray(source)
            for _ in range(rng.randint(1, 6)):
                at = rng.randrange(len(data))
                if rng.random() < 0.3:
                    data[at & -4 : (at & -4) + 4] = rng.choice(
                        (b"\xff" * 4, b"\0\0\0\x80", bytes(4))
                    )
                else:
                    data[at] = rng.randrange(256)
            look(
                bytes(data[: rng.randrange(len(data))] if rng.random() < 0.2 else data),
                rng.choice("<>"),
            )
