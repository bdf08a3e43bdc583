"""Two texts that people learn dynamic linking from, run: load-time relocation on i386, lazy binding on ARM."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from emulated_support import rtld, sysroot

CC = Callable[..., Path]

MLRELOC = """
int myglob = 42;
#ifdef UTIL
int ml_util_func(int a) { return a + 1; }
int ml_func(int a, int b) { int c = b + ml_util_func(a); myglob += c; return b + myglob; }
#else
int ml_func(int a, int b) { myglob += a; return b + myglob; }
#endif
"""
DRIVER = """
#define _GNU_SOURCE
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
extern int ml_func(int, int);
extern int myglob;
static int header(struct dl_phdr_info *info, size_t size, void *data) {
  const char *slash = strrchr(info->dlpi_name, '/');
  (void)size, (void)data;
  printf("name=%s (%d segments)\\n", slash ? slash + 1 : info->dlpi_name, info->dlpi_phnum > 0);
  return 0;
}
int main(void) {
  dl_iterate_phdr(header, 0);
  int first = ml_func(1, 2), then = myglob;
  printf("%d %d ", first, then);
  first = ml_func(10, 20), then = myglob;
  printf("%d %d\\n", first, then);
}
"""


@pytest.mark.parametrize(("flags", "values"), [((), "45 43 73 53"), (("-DUTIL",), "48 46 97 77")])
def test_load_time_relocation(
    flags: tuple[str, ...], values: str, cc: CC, rtld_command: list[str], tmp_path: Path
) -> None:
    """E. Bendersky, "Load-time relocation of shared libraries": libmlreloc.so without -fPIC, its code relocated when loaded."""
    made = cc(
        MLRELOC,
        "libmlreloc.so",
        "-shared",
        "-fno-pic",
        "-O0",
        "-Wl,-z,notext",
        "-w",
        *flags,
        arch="i386",
    )
    library = Path(shutil.copy(made, tmp_path / "libmlreloc.so"))
    shown = subprocess.run(
        ["readelf", "-dr", library], capture_output=True, text=True, check=True
    ).stdout
    assert "TEXTREL" in shown
    assert len(re.findall(r"R_386_32 .*myglob", shown)) >= 3
    assert ("R_386_PC32" in shown) == bool(flags)
    driver = cc(DRIVER, "driver", str(library), f"-Wl,-rpath,{tmp_path}", "-w", arch="i386")
    driver = Path(shutil.copy(driver, tmp_path / "driver"))
    for mode in ([], ["--interp"]):
        done = rtld(rtld_command, "i386", driver, options=[*sysroot("i386"), *mode])
        *names, last = done.stdout.splitlines()
        assert last == values, done.stderr
        assert names[0] == "name= (1 segments)"
        assert "name=libmlreloc.so (1 segments)" in names
        assert "name=libc.so.6 (1 segments)" in names


def test_lazy_binding(cc: CC, rtld_command: list[str], tmp_path: Path) -> None:
    """J. Palmer's lecture: an ARM program's call goes through PLT and GOT to the dynamic linker once, then to the function."""
    library = cc(
        '#include <stdio.h>\nvoid greet(int n) { printf("greet %d\\n", n); fflush(stdout); }',
        "libgreet.so",
        "-shared",
        "-fpic",
        "-Wl,-z,lazy",
        arch="arm",
    )
    library = Path(shutil.copy(library, tmp_path / "libgreet.so"))
    text = """
    #include <stdio.h>
    extern void greet(int);
    extern char _GLOBAL_OFFSET_TABLE_[];
    int main(void) { for (int i = 0; i < 3; i++) greet(i); }
    """
    program = cc(
        text, "lecture", str(library), f"-Wl,-rpath,{tmp_path}", "-Wl,-z,lazy", "-w", arch="arm"
    )
    program = Path(shutil.copy(program, tmp_path / "lecture"))
    trace = tmp_path / "trace"
    options = [*sysroot("arm"), "--trace=bindings", f"--trace-output={trace}"]
    done = rtld(rtld_command, "arm", program, options=options)
    assert done.stdout == "greet 0\ngreet 1\ngreet 2\n"
    told = [line for line in trace.read_text().splitlines() if "`greet'" in line]
    assert len(told) == 1
    assert f"binding file {program} [0] to {library} [0]" in told[0]
    # Bound at once it is told before the program runs, and the result is the same.
    options.append("--now")
    assert rtld(rtld_command, "arm", program, options=options).stdout == done.stdout


@pytest.mark.parametrize("arch", ["ppc64le"])
def test_what_cannot_be_emulated_goes_to_qemu(
    arch: str, cc: CC, rtld_command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = cc("int main(int c, char **v) { return c; }", "foreign", arch=arch)
    done = rtld(rtld_command, arch, program, "one", "two")
    assert done.returncode == 3
    assert f"run by qemu-{arch}" in done.stderr
    monkeypatch.setenv("PATH", "/nonexistent")
    done = rtld(rtld_command, arch, program)
    assert done.returncode == 126
    assert f"no emulated CPU {arch}" in done.stderr
    assert f"qemu-{arch} runs its programs" in done.stderr
