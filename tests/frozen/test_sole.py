"""Programs that need no libraries but libc's: the image is the program as it is, with the guard before it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from frozenimages import FORMS, freeze_to, outcome
from rtld.frozen import freeze
from rtld.frozen.check import check_image

# Everything that answers with the program's own place, by a literal and by an argument.
PROGRAM = r"""
    #define _GNU_SOURCE
    #include <dlfcn.h>
    #include <fcntl.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/stat.h>
    #include <unistd.h>
    __thread int counter = 5;
    __attribute__((constructor)) static void begin(void) { puts("constructor"); }
    int main(int argc, char **argv) {
        char text[4096]; struct stat s, u;
        ssize_t n = readlink("/proc/self/exe", text, sizeof text - 1); text[n] = 0; puts(text);
        n = readlinkat(AT_FDCWD, argv[1], text, sizeof text - 1); text[n] = 0; puts(text);
        puts(realpath("/proc/self/exe", text));
        int fd = open("/proc/self/exe", O_RDONLY);
        fstat(fd, &s); stat("/proc/self/exe", &u);
        printf("%ld %ld %ld\n", (long)s.st_ino, (long)u.st_ino, (long)s.st_size);
        printf("%d %d\n", access("/proc/self/exe", X_OK), access("/there/is/none", R_OK));
        printf("%d %s %d\n", argc, argv[0], counter);
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) { puts("child"); exit(0); }
        return 3;
    }
"""
KINDS = {
    "pie": ["-fPIE", "-pie"],
    "fixed addresses": ["-fno-pie", "-no-pie"],
    "bound at once": ["-Wl,-z,now"],
    "two kinds of PLT": ["-fcf-protection=full", "-Wl,-z,ibtplt"],
    "unstripped": ["-g"],
}


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("form", ["fixed", "thin", "pie"])
def test_the_same_as_the_original(build: Callable[..., Path], kind: str, form: str) -> None:
    if form == "pie" and kind == "fixed addresses":
        pytest.skip("not position-independent")
    program = build("program", PROGRAM, "-O2", "-fno-builtin", *KINDS[kind])
    image = program.with_name("image")
    options: dict[str, Any] = FORMS[form]
    report = freeze(program, image, **options)
    assert report.form == "as it is"
    expected = outcome([program, "/proc/self/exe"])
    assert expected[0] == 3
    assert outcome([program, "/proc/self/exe"], image) == expected
    assert check_image(str(image)).fine


def test_functions_that_are_not_called_by_way_of_the_plt(build: Callable[..., Path]) -> None:
    """Where a call cannot be redirected the other form is chosen; it answers the same."""
    program = build("program", PROGRAM, "-O2", "-fno-builtin", "-fno-plt")
    image = program.with_name("image")
    assert freeze(program, image).form == "fixed"
    assert outcome([program, "/proc/self/exe"], image) == outcome([program, "/proc/self/exe"])


def test_preloaded_library_is_initialised_once(build: Callable[..., Path]) -> None:
    text = '#include <unistd.h>\n__attribute__((constructor)) static void b(void) { write(1, "preloaded\\n", 10); }'
    library = build("libpreload.so", text)
    program = build("program", "int main(void) { return 0; }")
    image = freeze_to(program, program.with_name("image"))
    env = {**os.environ, "LD_PRELOAD": str(library)}
    assert outcome([program], image, env=env) == (0, b"preloaded\n", b"")


def test_changed_program_is_executed_instead(build: Callable[..., Path]) -> None:
    program = build("program", 'int puts(const char *); int main(void) { puts("one"); }')
    other = build("other", 'int puts(const char *); int main(void) { puts("two"); }')
    image = freeze_to(program, program.with_name("image"))
    assert outcome([image])[1] == b"one\n"
    shutil.copy(other, program.with_name("new"))
    os.replace(program.with_name("new"), program)
    assert outcome([image])[1] == b"two\n"
    assert check_image(str(image)).stale
    data = bytearray(image.read_bytes())
    data[len(data) // 4] ^= 1
    image.write_bytes(data)
    assert "truncated or edited" in check_image(str(image)).damage
    program.unlink()
    status, out, err = outcome([image])
    assert (status, out) == (127, b"")
    assert b"this image was made of files that have changed" in err
