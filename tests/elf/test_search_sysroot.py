"""Search in another root: links stay inside, foreign machines, ld.so.conf where there is no cache.

The judge for foreign machines is their own ld.so under qemu-user, whose ``-L`` looks into the sysroot.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import toolchain
from elf.search_bed import LOADER, Bed, ask_us
from rtld.arch.base import cpu
from rtld.elf.dst import expand, is_trusted
from rtld.elf.file import ElfFile
from rtld.elf.ldconf import parse_ld_so_conf, parse_preload_file, split_preload
from rtld.elf.search import Search, SearchOptions, candidates
from rtld.elf.sysroot import Sysroot
from rtld.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

FOREIGN = [t for t in toolchain.TARGETS.values() if t.libraries and t.arch != toolchain.HOST]


# ------------------------------------------------------------------------------------------ paths


@pytest.fixture
def root(tmp_path: Path) -> Path:
    place = tmp_path / "root"
    (place / "usr/lib/x").mkdir(parents=True)
    (place / "usr/lib/x/file").write_text("inside")
    (tmp_path / "secret").write_text("outside")
    return place


@pytest.mark.parametrize(
    ("link", "target", "path"),
    [
        ("lib", "usr/lib", "/lib/x/file"),
        ("lib", "/usr/lib", "/lib/x/file"),
        ("lib", "../../../../../usr/lib", "/lib/x/file"),
        ("usr/lib/up", "../../..//./usr", "/usr/lib/up/lib/x/file"),
        ("usr/lib/x/link", "/usr/lib/x/file", "/usr/lib/x/link"),
        ("usr/lib/x/link", "file", "/../..//usr/./lib/x/../x/link"),
        ("a", "/", "/a/a/a/usr/lib/x/file"),
    ],
)
def test_links_stay_inside(root: Path, link: str, target: str, path: str) -> None:
    (root / link).symlink_to(target)
    assert Sysroot(str(root)).host(path) == str(root / "usr/lib/x/file")


@pytest.mark.parametrize(
    "target", ["/secret", "../secret", "../../secret", "/../secret", "{out}/secret"]
)
def test_no_way_out(root: Path, target: str) -> None:
    (root / "link").symlink_to(target.format(out=root.parent))
    with pytest.raises(FileNotFoundError):
        Sysroot(str(root)).host("/link")
    with pytest.raises(FileNotFoundError):
        Sysroot(str(root)).host("/../secret")


def test_loop_of_links(root: Path) -> None:
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("/a")
    (root / "c").symlink_to("c/c")
    for path in ("/a", "/a/x", "/c"):
        with pytest.raises(OSError) as caught:
            Sysroot(str(root)).host(path)
        assert caught.value.errno == errno.ELOOP


def test_file_is_no_directory(root: Path) -> None:
    with pytest.raises(NotADirectoryError):
        Sysroot(str(root)).host("/usr/lib/x/file/y/z")


def test_root_that_is_the_root() -> None:
    assert Sysroot("/").host("/etc/../etc") == "/etc"
    assert Sysroot("/").inside("/etc") == "/etc"


def test_name_inside(root: Path) -> None:
    sysroot = Sysroot(str(root))
    assert sysroot.inside(str(root / "usr/bin/x")) == "/usr/bin/x"
    assert sysroot.inside(str(root)) == "/"
    assert sysroot.inside(str(root) + "x/y") is None


# ------------------------------------------------------------------------------------------ foreign machines


def without(lines: list[str], directories: tuple[str, ...]) -> list[str]:
    """Lines of LD_DEBUG=libs without what is said of these directories."""
    kept = []
    for line in lines:
        head, equals, rest = line.partition("search path=")
        if equals:
            names, tab, tail = rest.partition("\t")
            names = ":".join([n for n in names.split(":") if not n.startswith(directories)])
            line = head + equals + names + tab + tail
        elif line.strip().startswith(tuple([f"trying file={d}" for d in directories])):
            continue
        if line:
            kept.append(line)
    return kept


@pytest.mark.parametrize("target", FOREIGN, ids=lambda t: t.name)
def test_foreign_machine(
    target: toolchain.Target, tmp_path: Path, require: Callable[[str], None]
) -> None:
    lacking = toolchain.missing(target)
    if lacking:
        require(lacking)
    program = tmp_path / "bin/main"
    program.parent.mkdir()
    source = tmp_path / "main.c"
    source.write_text("int main(void) { return 0; }")
    libs = ["-Wl,--no-as-needed", "-lm", "-Wl,-rpath,$ORIGIN/../lib"]
    subprocess.run([target.cc, "-o", str(program), str(source), *libs], check=True)
    sysroot = f"/usr/{target.triplet}"
    qemu = target.qemu or "env"

    def ask(**env: str) -> subprocess.CompletedProcess[str]:
        words = [word for key, value in env.items() for word in ("-E", f"{key}={value}")]
        argv = [qemu, "-L", sysroot, *words, str(program)]
        return subprocess.run(argv, env={}, capture_output=True, text=True, check=False)

    if not shutil.which(qemu):
        require(qemu)
    theirs = ask(LD_TRACE_LOADED_OBJECTS="1", LD_DEBUG="libs")
    lines = [line.partition(":\t")[2] for line in theirs.stderr.splitlines() if ":\t" in line]
    # The CPU that qemu shows, by its own ld.so's account.
    interp = ElfFile(str(program)).interp
    assert interp is not None
    text = subprocess.run(
        [qemu, "-L", sysroot, sysroot + interp, "--list-diagnostics"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    seen = dict(line.split("=", 1) for line in text.splitlines() if line.startswith("dl_"))
    flags = Path("/proc/cpuinfo").read_text().partition("flags\t\t:")[2].partition("\n")[0]
    options = SearchOptions(
        sysroot=sysroot,
        env={},
        cpu=cpu(
            flags,
            "GenuineIntel",
            hwcap=int(seen["dl_hwcap"], 16),
            hwcap2=int(seen["dl_hwcap2"], 16),
            platform=None if seen["dl_platform"] == "0x0" else seen["dl_platform"].strip('"'),
        ),
    )
    ours = ask_us(str(program), tmp_path, options)
    search = Search(options, ElfFile(str(program)), str(program))
    assert len(search.default_directories) == 4
    assert search.default_directories[2:] == ("/lib/", "/usr/lib/")
    assert search.interp is not None
    assert search.interp.path == interp
    # qemu hands out the host's file where the sysroot has none: the cache, in which this ld.so finds nothing, and the
    # directories named after the machine, where they exist.
    both = tuple([name.rstrip("/") for name in search.default_directories[:2]])
    assert without(ours.lines, both) == without(lines, both)
    found = dict(ours.libraries)
    assert found["libm.so.6"] == "/lib/libm.so.6"


def test_program_outside_sees_its_own_directory_only(bed: Bed, tmp_path: Path) -> None:
    bed.lib("prog/libx.so")
    bed.lib("prog/liby.so")
    bed.lib("other/liby.so")
    bed.lib("root/lib/libz.so")
    bed.main("libx.so", "liby.so", "libz.so", name="prog/main", rpath=f"$ORIGIN:{tmp_path}/other")
    options = SearchOptions(sysroot=str(tmp_path / "root"), env={})
    found = dict(ask_us(str(tmp_path / "prog/main"), tmp_path, options).libraries)
    assert found == {
        "libx.so": f"{tmp_path}/prog/libx.so",
        "liby.so": f"{tmp_path}/prog/liby.so",
        "libz.so": "/lib/libz.so",
    }


def test_program_inside_by_either_name(bed: Bed, tmp_path: Path) -> None:
    bed.lib("root/opt/lib/libx.so")
    program = bed.main("libx.so", name="root/opt/bin/main", rpath="$ORIGIN/../lib")
    (tmp_path / "root/opt/link").symlink_to("/opt/bin/main")
    file = ElfFile(str(program))
    for path in (str(program), f"{tmp_path}/root/opt/link", "/opt/bin/main", "/opt/link"):
        search = Search(SearchOptions(sysroot=str(tmp_path / "root")), file, path)
        assert search.origin(None) == "/opt/bin"
        assert search.find("libx.so", None).path == "/opt/bin/../lib/libx.so"
        assert search.env == {}, "the variables of this computer mean nothing there"


def test_absolute_link_of_a_library_stays_inside(bed: Bed, tmp_path: Path) -> None:
    bed.lib("root/lib/libreal.so")
    (tmp_path / "root/lib/libx.so").symlink_to("/lib/libreal.so")
    bed.main("libx.so", name="root/bin/main")
    options = SearchOptions(sysroot=str(tmp_path / "root"), env={})
    file = ElfFile(str(tmp_path / "root/bin/main"))
    found = Search(options, file, "/bin/main").find("libx.so", None)
    assert found.path == "/lib/libx.so"
    assert found.file.path == str(tmp_path / "root/lib/libreal.so")


# ------------------------------------------------------------------------------------------ ld.so.conf


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    return Bed(tmp_path)


def test_ld_so_conf_stands_in_for_the_cache(bed: Bed, tmp_path: Path) -> None:
    ldconfig = shutil.which("ldconfig", path="/sbin:/usr/sbin")
    root = tmp_path / "root"
    for place in ("opt/a", "opt/b"):
        bed.lib(f"root/{place}/libx.so", soname="libx.so")
        bed.lib(f"root/{place}/liby.so", soname="liby.so")
    bed.lib("root/opt/b/glibc-hwcaps/x86-64-v2/liby.so", soname="liby.so")
    bed.main("libx.so", "liby.so", "libz.so", name="root/bin/main")
    (root / "etc/conf.d").mkdir(parents=True)
    (root / "etc/ld.so.conf").write_text("# comment\ninclude conf.d/*.conf\n  include /nowhere\n")
    (root / "etc/conf.d/1.conf").write_text("/opt/none\n/opt/a/ # first\ninclude /etc/ld.so.conf\n")
    (root / "etc/conf.d/2.conf").write_text("hwcap 0 nosegneg\n/opt/b\n/opt/a\n")
    (root / "etc/conf.d/.3.conf").write_text("/opt/hidden\n")
    options = SearchOptions(sysroot=str(root), env={}, cpu="x86-64-v3")
    search = Search(options, ElfFile(str(root / "bin/main")), "/bin/main")
    by_conf = {name: search.find(name, None) for name in ("libx.so", "liby.so")}
    assert {f.rule for f in by_conf.values()} == {"ld.so.conf"}
    assert by_conf["libx.so"].path == "/opt/a/libx.so"
    assert by_conf["liby.so"].path == "/opt/b/glibc-hwcaps/x86-64-v2/liby.so"
    with pytest.raises(NotFound):
        search.find("libz.so", None)
    if ldconfig is None:
        return
    (root / "etc/conf.d/1.conf").write_text(
        "/opt/none\n/opt/a/ # first\n"
    )  # ldconfig would not end
    subprocess.run([ldconfig, "-X", "-r", str(root)], capture_output=True, check=True)
    search = Search(options, ElfFile(str(root / "bin/main")), "/bin/main")
    by_cache = {name: search.find(name, None) for name in ("libx.so", "liby.so")}
    assert {f.rule for f in by_cache.values()} == {"ld.so.cache"}
    assert {n: f.path for n, f in by_cache.items()} == {n: f.path for n, f in by_conf.items()}


@pytest.mark.parametrize("content", [b"", b"garbage" * 100, b"glibc-ld.so.cache1.1" + b"\xff" * 60])
def test_unusable_cache_gives_way_to_ld_so_conf(bed: Bed, tmp_path: Path, content: bytes) -> None:
    bed.lib("root/opt/libx.so")
    bed.main("libx.so", name="root/bin/main")
    (tmp_path / "root/etc").mkdir()
    (tmp_path / "root/etc/ld.so.cache").write_bytes(content)
    (tmp_path / "root/etc/ld.so.conf").write_text("/opt\n")
    options = SearchOptions(sysroot=str(tmp_path / "root"), env={})
    search = Search(options, ElfFile(str(tmp_path / "root/bin/main")), "/bin/main")
    found = search.find("libx.so", None)
    assert found.rule == "ld.so.conf"
    assert [c.outcome for c in found.candidates] == ["refused", "found"]


def test_parse_ld_so_conf() -> None:
    files = {
        "/etc/ld.so.conf": b"/a=libc6\n\t/b/// \ninclude\t/etc/x.conf y/?.conf z/[!a].conf\nrelative\nincludex\nHWCAP 1 x\n/",
        "/etc/x.conf": b"/x",
        "/etc/y/1.conf": b"/y1\r\n",
        "/etc/y/22.conf": b"/y22",
        "/etc/z/a.conf": b"/za",
        "/etc/z/b.conf": b"/zb",
    }

    def read(path: str) -> bytes:
        if path not in files:
            raise FileNotFoundError(path)
        return files[path]

    def names(path: str) -> list[str]:
        return [
            p[len(path) + 1 :]
            for p in files
            if p.startswith(path + "/") and "/" not in p[len(path) + 1 :]
        ]

    assert parse_ld_so_conf("/etc/ld.so.conf", read, names) == ["/a", "/b", "/x", "/y1", "/zb"]
    assert parse_ld_so_conf("/nowhere", read, names) == []


# ------------------------------------------------------------------------------------------ preloads


def test_preload_file(bed: Bed, tmp_path: Path) -> None:
    text = "libp.so:libq.so\t# comment: libr.so\n#libs.so\n /lib/libt.so"
    assert parse_preload_file(text) == ["libp.so", "libq.so", "/lib/libt.so"]
    assert parse_preload_file("\n#") == []
    bed.main(name="root/bin/main")
    (tmp_path / "root/etc").mkdir()
    (tmp_path / "root/etc/ld.so.preload").write_text(text)
    options = SearchOptions(
        sysroot=str(tmp_path / "root"), env={"LD_PRELOAD": "a b:c"}, preload="d"
    )
    search = Search(options, ElfFile(str(tmp_path / "root/bin/main")), "/bin/main")
    assert search.preloads() == [
        ("a", "LD_PRELOAD"),
        ("b", "LD_PRELOAD"),
        ("c", "LD_PRELOAD"),
        ("d", "--preload"),
        *[(n, "/etc/ld.so.preload") for n in ("libp.so", "libq.so", "/lib/libt.so")],
    ]


def test_split_preload() -> None:
    assert split_preload("a:b  c\td") == ["a", "b", "c\td"]
    assert split_preload(" a:b\tc\n", "musl") == ["a", "b", "c"]


# ------------------------------------------------------------------------------------------ secure mode


def test_secure_mode_strips_the_environment(bed: Bed, tmp_path: Path) -> None:
    bed.lib("env/libx.so")
    bed.main("libx.so")
    env = {
        "LD_LIBRARY_PATH": str(tmp_path / "env"),
        "LD_PRELOAD": "libp.so",
        "LD_HWCAP_MASK": "0",
        "HOME": "/",
    }
    search = Search(
        SearchOptions(env=env, secure=True), ElfFile(str(tmp_path / "main")), str(tmp_path / "main")
    )
    assert search.env == {"HOME": "/"}
    assert search.preloads() == []
    with pytest.raises(NotFound):
        search.find("libx.so", None)


def test_secure_preload_needs_the_set_user_id_bit(bed: Bed, tmp_path: Path) -> None:
    bed.lib("root/lib/libp.so")
    bed.lib("root/lib/libq.so").chmod(0o4755)
    bed.main(name="root/bin/main")
    options = SearchOptions(
        sysroot=str(tmp_path / "root"), secure=True, preload=["libp.so", "libq.so", "/lib/libq.so"]
    )
    search = Search(options, ElfFile(str(tmp_path / "root/bin/main")), "/bin/main")
    assert [name for name, _ in search.preloads()] == ["libp.so", "libq.so"]
    with pytest.raises(NotFound) as caught:
        search.find("libp.so", None, preload=True)
    refused = [c for c in candidates(search.steps) if c.outcome == "refused"]
    assert [c.path for c in refused] == ["/lib/libp.so"]
    assert candidates(search.steps) == list(caught.value.candidates)
    assert search.find("libq.so", None, preload=True).path == "/lib/libq.so"
    assert search.find("libp.so", None).path == "/lib/libp.so"


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$ORIGIN/../lib", "/usr/bin/../lib"),
        ("$ORIGIN", "/usr/bin"),
        ("/x/$ORIGIN", ""),
        ("$ORIGINx", "$ORIGINx"),
        ("${ORIGIN}x", ""),
        ("$ORIGIN/../../tmp", ""),
        ("$LIB/x", "lib/x"),
    ],
)
def test_secure_origin(text: str, expanded: str) -> None:
    """Of the program: the whole first component, and only inside a default directory."""
    trusted = ("/usr/lib/", "/lib/", "/usr/bin/")
    assert expand(text, "/usr/bin", "lib", None, trusted=trusted, is_main=True) == expanded
    if text == "$ORIGIN/../../tmp":
        assert expand(text, "/usr/bin", "lib", None, trusted=trusted) == "/usr/bin/../../tmp"


def test_trusted_path() -> None:
    trusted = ("/lib/", "/usr/lib/")
    for path in ("/lib", "/lib/", "//lib/./x", "/x/../lib", "/usr/../usr/lib/x/.."):
        assert is_trusted(path, trusted), path
    for path in ("", "/", "/lib64", "/lib/..", "/lib/../x", "lib", "/libx/"):
        assert not is_trusted(path, trusted), path


@pytest.mark.skipif(
    os.geteuid() != 0 or not os.path.exists(LOADER), reason="makes a set-user-ID program"
)
@pytest.mark.parametrize(
    ("main", "library", "works"),
    [
        ("-Wl,-rpath,{dir}/lib", "", True),
        ("-Wl,-rpath,$ORIGIN/lib", "", False),
        ("-Wl,-rpath,{dir}/lib", "-Wl,-rpath,$ORIGIN/deeper", True),
        ("-Wl,-rpath,{dir}/lib", "-Wl,-rpath,/x/$ORIGIN/deeper", False),
        ("-Wl,-rpath,{dir}/lib", "-Wl,-rpath,{dir}/lib/$LIB:{dir}/lib/deeper", True),
    ],
)
def test_secure_mode_as_a_set_user_id_program(
    main: str, library: str, works: bool, require: Callable[[str], None]
) -> None:
    """The program is really started by another user."""
    if not shutil.which("setpriv"):
        require("setpriv")
    import tempfile

    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        place = Path(name)
        place.chmod(0o755)
        (place / "lib/deeper").mkdir(parents=True)
        (place / "y.c").write_text("int y(void) { return 3; }")
        (place / "x.c").write_text(
            "int y(void); int x(void) { return y(); }" if library else "int x(void) { return 3; }"
        )
        (place / "m.c").write_text("int x(void); int main(void) { return x(); }")
        words = library.format(dir=place)
        gcc = ["gcc", "-Wl,--allow-shlib-undefined", "-Wl,--enable-new-dtags"]
        subprocess.run(
            [*gcc, "-shared", "-fPIC", "-o", "lib/deeper/liby.so", "y.c"], cwd=place, check=True
        )
        link = ["-Llib/deeper", "-ly", words] if library else []
        subprocess.run(
            [*gcc, "-shared", "-fPIC", "-o", "lib/libx.so", "x.c", *link], cwd=place, check=True
        )
        subprocess.run(
            [*gcc, "-o", "main", "m.c", "-Llib", "-lx", main.format(dir=place)],
            cwd=place,
            check=True,
        )
        (place / "main").chmod(0o4755)
        done = subprocess.run(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", str(place / "main")],
            capture_output=True,
            text=True,
            env={"LD_LIBRARY_PATH": f"{place}/lib:{place}/lib/deeper"},
            check=False,
        )
        if done.returncode == 3 and "nosuid" in Path("/proc/mounts").read_text() and not works:
            pytest.skip("set-user-ID does not work on this file system")
        assert (done.returncode == 3) == works, done.stderr
        env = {"LD_LIBRARY_PATH": f"{place}/lib:{place}/lib/deeper"}
        ours = ask_us(str(place / "main"), place, SearchOptions(env=env, secure=True))
        assert ("not found" not in dict(ours.libraries).values()) == works
