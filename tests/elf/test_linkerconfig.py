"""Android's linker namespaces: one sentence of bionic's linker_config.cpp, linker_namespaces.cpp or linker.cpp a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import rtld
from elf.search_bed import Bed
from rtld.elf.linkerconfig import ConfigError, LinkerNamespace, config_paths, parse
from rtld.errors import NotFound


def namespaces(text: str, program: str = "/system/bin/p") -> dict[str, LinkerNamespace] | None:
    return parse(text.encode(), program, lambda directory: directory)


SECTIONS = """
# which section
dir.vendor = /vendor/bin/
dir.system = /system/bin   # the rest of a line is a comment
dir.never  = /system
[never]
namespace.default.search.paths = /never
[system]
namespace.default.search.paths = /system/${LIB}
namespace.default.search.paths += /product/lib
[vendor]
namespace.default.search.paths = /vendor/lib
"""


@pytest.mark.parametrize(
    ("program", "search"),
    [
        ("/system/bin/p", ["/system/${LIB}", "/product/lib"]),
        ("/system/bin/deep/p", ["/system/${LIB}", "/product/lib"]),
        ("/vendor/bin/p", ["/vendor/lib"]),
        ("/system/xbin/p", ["/never"]),
        ("/system/binary", ["/never"]),
    ],
)
def test_sections(program: str, search: list[str]) -> None:
    """The first directory that the program lies below chooses the section."""
    found = namespaces(SECTIONS, program)
    assert found is not None
    assert found["default"].search == search


def test_no_section() -> None:
    assert namespaces(SECTIONS, "/data/p") is None
    assert namespaces("[system]\ndir.system = /system\n") is None  # too late
    assert namespaces("dir.a = /\nb.a = /system\nnonsense\n") is None
    with pytest.raises(ConfigError, match=r'section "system" not found'):
        namespaces("dir.system = /system/bin\n[vendor]\n")


def test_properties() -> None:
    found = namespaces("""dir.s = /system
        [s]
        additional.namespaces = a , b
        additional.namespaces += c
        namespace.default.isolated = true
        namespace.default.isolated += true
        namespace.default.search.paths = /old
        namespace.default.search.paths = /x
        namespace.default.permitted.paths += /y:/z
        namespace.default.links = a
        namespace.default.links += b
        namespace.default.link.a.shared_libs = liba.so
        namespace.default.link.a.shared_libs += libaa.so:libc.so
        namespace.default.link.b.allow_all_shared_libs = true
        namespace.c.isolated = True
        nonsense
        [other]
        namespace.a.search.paths = /other""")
    assert found is not None
    assert list(found) == ["default", "a", "b", "c"]
    default = found["default"]
    assert (default.isolated, default.search, default.permitted) == (True, ["/x"], ["/y", "/z"])
    assert [(link.to, link.sonames) for link in default.links] == [
        ("a", {"liba.so", "libaa.so", "libc.so"}), ("b", None),
    ]  # fmt: skip
    assert not found["c"].isolated
    assert found["a"].search == []


BOTH = """
namespace.default.link.a.shared_libs = x
namespace.default.link.a.allow_all_shared_libs = true
"""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("namespace.default.links = a", "neither is set"),
        ("namespace.default.links = a\nnamespace.default.link.a.shared_libs = x", "undefined namespace: a"),
        ("additional.namespaces = a\nnamespace.default.links = a\n" + BOTH, "both are set"),
    ],
)  # fmt: skip
def test_errors(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        namespaces(f"dir.s = /system\n[s]\n{text}")


def test_what_an_isolated_namespace_accepts() -> None:
    """Files in the search paths, not below them; with all that is below the permitted ones; of allowed names."""
    text = "dir.s = /system\n[s]\nnamespace.default.search.paths = /x\nnamespace.default.permitted.paths = /y/\n"
    free = namespaces(text)
    closed = namespaces(text + "namespace.default.isolated = true")
    picky = namespaces(
        text + "namespace.default.isolated = true\nnamespace.default.allowed_libs = a.so:b.so"
    )
    assert free is not None
    assert closed is not None
    assert picky is not None
    paths = "/x/a.so", "/x/y/a.so", "/y/a.so", "/y/z/b.so", "/yy/a.so", "/env/c.so"
    answers = [
        [found["default"].accepts(path, ["/env"]) for path in paths]
        for found in (free, closed, picky)
    ]
    assert answers == [
        [True] * 6, [True, False, True, True, False, True], [True, False, True, True, False, False],
    ]  # fmt: skip


def test_where_it_is() -> None:
    assert config_paths("/apex/com.android.art/bin/p", 183) == [
        "/linkerconfig/com.android.art/ld.config.txt", "/system/etc/ld.config.arm64.txt", "/linkerconfig/ld.config.txt",
        "/system/etc/ld.config.txt",
    ]  # fmt: skip
    assert config_paths("/apex/p", 99) == [
        "/linkerconfig/ld.config.txt",
        "/system/etc/ld.config.txt",
    ]


CONFIG = """
dir.system = /bin
[system]
additional.namespaces = vndk,sphal
namespace.default.isolated = true
namespace.default.search.paths = /system/$LIB
namespace.default.permitted.paths = /data
namespace.default.links = vndk,sphal
namespace.default.link.vndk.shared_libs = libv.so:libboth.so
namespace.default.link.sphal.allow_all_shared_libs = true
namespace.vndk.search.paths = /vndk
namespace.sphal.isolated = true
namespace.sphal.search.paths = /vendor/lib64
namespace.sphal.links = default
namespace.sphal.link.default.shared_libs = libc2.so
"""


@pytest.fixture
def root(tmp_path: Path) -> Bed:
    """A sysroot with the configuration."""
    for place in ("linkerconfig", "bin"):
        (tmp_path / place).mkdir()
    (tmp_path / "linkerconfig/ld.config.txt").write_text(CONFIG)
    return Bed(tmp_path)


def link(root: Bed, *needed: str, **options: Any) -> list[str]:
    """The paths found, and "?" with the names that are missing."""
    main = root.main(*needed, name="bin/main", runpath=options.pop("runpath", None))
    made = rtld.link(main, model="bionic", sysroot=root.place, relocated=False, **options)
    missing = [f"?{p.subject}" for p in made.problems if p.kind == "library"]
    return [module.path for module in made.modules[1:]] + missing


def test_own_namespace_then_links(root: Bed) -> None:
    for place in ("system/lib64", "vndk", "vendor/lib64"):
        root.lib(f"{place}/libboth.so")
    root.lib("vndk/libv.so")
    root.lib("vndk/libhidden.so")
    root.lib("vendor/lib64/libs.so")
    assert link(root, "libboth.so", "libv.so", "libs.so", "libhidden.so") == [
        "/system/lib64/libboth.so", "/vndk/libv.so", "/vendor/lib64/libs.so", "?libhidden.so",
    ]  # fmt: skip
    (root.place / "system/lib64/libboth.so").unlink()
    assert link(root, "libboth.so") == ["/vndk/libboth.so"]


def test_what_is_found_stays_there(root: Bed) -> None:
    """A library's needs begin in the namespace that it was found in, and its links are that one's."""
    root.lib("vendor/lib64/libs.so", "libown.so", "libc2.so", "libsecret.so")
    root.lib("vendor/lib64/libown.so")
    for name in ("libown.so", "libc2.so", "libsecret.so"):
        root.lib(f"system/lib64/{name}")
    assert link(root, "libs.so") == [
        "/vendor/lib64/libs.so", "/vendor/lib64/libown.so", "/system/lib64/libc2.so", "?libsecret.so",
    ]  # fmt: skip


def test_two_of_one_name(root: Bed) -> None:
    """A DT_SONAME is known in its own namespace, and where a link passes it."""
    root.lib("system/lib64/libx.so", soname="libx.so")
    root.lib("vendor/lib64/libx.so", soname="libx.so")
    root.lib("vendor/lib64/libs.so", "libx.so", "libc2.so", soname="libs.so")
    root.lib("system/lib64/libc2.so", soname="libc2.so")
    assert link(root, "libx.so", "libs.so", "libc2.so") == [
        "/system/lib64/libx.so", "/vendor/lib64/libs.so", "/system/lib64/libc2.so", "/vendor/lib64/libx.so",
    ]  # fmt: skip


def test_isolated(root: Bed) -> None:
    """Paths and RUNPATHs may lead only where the namespace permits; LD_LIBRARY_PATH always, in the default one."""
    for place in ("data/app", "opt", "system/lib64/deep"):
        root.lib(f"{place}/liba.so")
    assert link(root, "/data/app/liba.so", "/opt/liba.so", "/system/lib64/deep/liba.so") == [
        "/data/app/liba.so", "?/opt/liba.so", "?/system/lib64/deep/liba.so",
    ]  # fmt: skip
    assert link(root, "liba.so", runpath="/opt:/data/app") == [
        "?liba.so"
    ]  # the first that is there decides
    assert link(root, "liba.so", runpath="/data/app") == ["/data/app/liba.so"]
    assert link(root, "liba.so", env={"LD_LIBRARY_PATH": "/opt"}) == ["/opt/liba.so"]
    root.lib("vendor/lib64/libs.so", "libonly.so")
    root.lib("opt/libonly.so")
    assert link(root, "libs.so", env={"LD_LIBRARY_PATH": "/opt"}) == [
        "/vendor/lib64/libs.so",
        "?libonly.so",
    ]
    # A symbolic link in a search path is the file it leads to.
    (root.place / "system/lib64/libz.so").symlink_to("../../opt/liba.so")
    assert link(root, "libz.so") == ["?libz.so"]


def test_what_is_said(root: Bed) -> None:
    root.lib("opt/liba.so")
    main = root.main("/opt/liba.so", name="bin/main")
    made = rtld.link(main, model="bionic", sysroot=root.place, relocated=False)
    [(_who, error)] = made.namespace.missing["/opt/liba.so"]
    assert isinstance(error, NotFound)
    # The last namespace that was asked has the last word.
    assert error.reason == 'not accessible for the namespace "sphal"'
    said = [(c.path, c.outcome, c.detail) for c in error.candidates]
    assert ("/opt/liba.so", "refused", 'not accessible for the namespace "(default)"') in said


def test_configurations_that_are_not_used(root: Bed) -> None:
    """Broken ones, those of other programs; --system-path says what the directories are."""
    root.lib("system/lib64/liba.so")
    root.lib("vendor/lib64/libb.so")
    root.lib("vndk/libv.so")
    file = root.place / "linkerconfig/ld.config.txt"
    assert link(root, "libv.so") == ["/vndk/libv.so"]
    assert link(root, "libv.so", system_path="/system/lib64") == ["?libv.so"]
    for text in (
        "dir.system = /bin\n",
        "dir.other = /other\n[other]\n",
        "",
        "\0\xff[",
        CONFIG.replace("namespaces = vndk,sphal", "namespaces = vndk"),
    ):
        file.write_text(text)
        assert link(root, "libv.so", "liba.so", "libb.so") == [
            "/system/lib64/liba.so", "/vendor/lib64/libb.so", "?libv.so"
        ]  # fmt: skip


def test_preloads_are_everywhere(root: Bed) -> None:
    root.lib("system/lib64/libp.so", soname="libp.so")
    root.lib("vendor/lib64/libs.so", "libp.so")
    assert link(root, "libs.so", env={"LD_PRELOAD": "libp.so"}) == [
        "/system/lib64/libp.so",
        "/vendor/lib64/libs.so",
    ]
    assert link(root, "libs.so") == ["/vendor/lib64/libs.so", "?libp.so"]


def test_any_bytes() -> None:
    """Whatever is in the file, it is a configuration or none."""
    import random

    chooser = random.Random(1)
    good = CONFIG.encode()
    for _ in range(3000):
        data = bytearray(good)
        for _ in range(chooser.randrange(1, 6)):
            at = chooser.randrange(len(data))
            data[at : at + chooser.randrange(20)] = chooser.randbytes(chooser.randrange(8))
        try:
            found = parse(bytes(data), "/bin/p", lambda directory: directory)
        except ConfigError:
            continue
        assert found is None or "default" in found
