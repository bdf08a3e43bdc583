"""Programs on the emulated CPU: standard output and exit status are those of Wine."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.support import environment
from pe import windows
from rtld.process.windows.run import WindowsProcess

Need = Callable[[str], None]

PRINTING = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static int by_length(const void *a, const void *b) { return (int)strlen(*(char **)a) - (int)strlen(*(char **)b); }
static void last(void) { puts("atexit"); }
int main(int argc, char **argv) {
    const char *words[] = {"three", "a", "eleven", "of"};
    int i;
    atexit(last);
    printf("%d|%5d|%-5d|%05d|%+d|% d|%x|%#X|%o|%u\n", 42, 42, 42, 42, 42, 42, 255, 255, 8, 4000000000u);
    printf("%s|%10s|%-10s|%.2s|%c|%%\n", "text", "right", "left", "cut", 'c');
    printf("%f|%.2f|%10.3f|%e|%g|%g\n", 3.14159, 2.5, -1.25, 12345.678, 0.0001, 1e20);
    printf("%I64d %I64x %hd\n", 123456789012345LL, 0xDEADBEEFCAFELL, (short)-3);
    printf("%*d|%.*f\n", 6, 7, 1, 2.25);
    qsort(words, 4, sizeof *words, by_length);
    for (i = 0; i < 4; i++) printf("%s ", words[i]);
    printf("\n%d %ld %g\n", atoi(" -17x"), strtol("0x1F", 0, 0), strtod("2.5e3", 0));
    printf("argc %d", argc);
    for (i = 1; i < argc; i++) printf(" [%s]", argv[i]);
    printf("\n");
    fprintf(stderr, "to stderr\n");
    return argc;
}
"""

THREADS = r"""
#include <windows.h>
#include <stdio.h>
static CRITICAL_SECTION lock;
static HANDLE go, done[4];
static volatile LONG total, order;
static DWORD slot;
static DWORD WINAPI work(void *p) {
    int n = (int)(LONG_PTR)p, i;
    TlsSetValue(slot, (void *)(LONG_PTR)(n * 100));
    WaitForSingleObject(go, INFINITE);
    for (i = 0; i < 50; i++) {
        EnterCriticalSection(&lock);
        total += n;
        if (i % 10 == 0) Sleep(0);
        LeaveCriticalSection(&lock);
    }
    return (DWORD)(LONG_PTR)TlsGetValue(slot) + n;
}
int main(void) {
    DWORD code, sum = 0, r;
    HANDLE event;
    int i;
    InitializeCriticalSection(&lock);
    slot = TlsAlloc();
    go = CreateEventA(0, TRUE, FALSE, 0);
    for (i = 0; i < 4; i++) done[i] = CreateThread(0, 0, work, (void *)(LONG_PTR)(i + 1), 0, 0);
    r = WaitForMultipleObjects(4, done, TRUE, 20);
    printf("timeout %lu\n", r);
    SetEvent(go);
    r = WaitForMultipleObjects(4, done, TRUE, INFINITE);
    for (i = 0; i < 4; i++) { GetExitCodeThread(done[i], &code); sum += code; }
    printf("all %lu total %ld codes %lu\n", r, total, sum);
    event = CreateEventA(0, FALSE, TRUE, 0);
    r = WaitForSingleObject(event, 0);
    printf("auto reset %lu then %lu\n", r, WaitForSingleObject(event, 0));
    r = CloseHandle(event);
    code = CloseHandle(event);
    printf("close %lu again %lu error %lu\n", r, code, GetLastError());
    return 0;
}
"""

FILES = r"""
#include <windows.h>
#include <stdio.h>
int main(void) {
    char text[64] = {0};
    DWORD n;
    HANDLE f = CreateFileA("written.txt", GENERIC_READ | GENERIC_WRITE, 0, 0, CREATE_ALWAYS, 0, 0);
    WriteFile(f, "hello file", 10, &n, 0);
    SetFilePointer(f, 6, 0, FILE_BEGIN);
    ReadFile(f, text, 63, &n, 0);
    printf("%lu [%s] size %lu\n", n, text, GetFileSize(f, 0));
    CloseHandle(f);
    f = CreateFileA("nowhere\\x", GENERIC_READ, 0, 0, OPEN_EXISTING, 0, 0);
    printf("%d\n", f == INVALID_HANDLE_VALUE);
    printf("%lu\n", GetLastError());
    printf("delete %d\n", DeleteFileA("written.txt"));
    printf("again %d\n", DeleteFileA("written.txt"));
    printf("%lu\n", GetLastError());
    SetEnvironmentVariableA("OWN", "value");
    n = GetEnvironmentVariableA("own", text, 64);
    printf("%lu %s\n", n, text);
    return 0;
}
"""


def ours(path: Path, *arguments: str, cwd: Path | None = None, trace: bool = False) -> subprocess.CompletedProcess[bytes]:  # fmt: skip
    words = ["--trace"] if trace else []
    return subprocess.run(
        [sys.executable, "-m", "rtld", "run", "--timeout", "60", *words, str(path), *arguments],
        cwd=cwd, env=environment(), capture_output=True, timeout=120, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.mark.parametrize("moved", [False, True], ids=["preferred", "moved"])
@pytest.mark.parametrize("arch", ["x86_64", "i386"])
def test_the_set_runs_as_under_wine(arch: str, moved: bool, windows_set: Callable[..., Path], need: Need, capfdbinary: pytest.CaptureFixture[bytes]) -> None:  # fmt: skip
    place = windows_set(arch)
    judged = windows.wine([place / "main.exe"], need, cwd=place, arch=arch)
    process = WindowsProcess(str(place / "main.exe"), moved=moved, seconds=60)
    capfdbinary.readouterr()
    assert process.run() == judged.status == 7
    assert capfdbinary.readouterr().out == judged.out
    assert not process.unknown
    if moved:
        assert all(m.base != m.file.base for m in process.live if m.path not in process.stubs)
    process.close()


@pytest.mark.parametrize(
    ("name", "source", "arguments"),
    [
        ("printing", PRINTING, ("one", "two words", 'a "quote"', "back\\slash\\")),
        ("threads", THREADS, ()),
        ("files", FILES, ()),
    ],
)
def test_programs(name: str, source: str, arguments: tuple[str, ...], need: Need, tmp_path: Path) -> None:  # fmt: skip
    wide = windows.build(source, f"{name}.exe", need, "-O1")
    narrow = windows.build(source, f"{name}.exe", need, "-O1", arch="i386")
    for path, arch in ((wide, "x86_64"), (narrow, "i386")):
        judged = windows.wine([path, *arguments], need, cwd=tmp_path, arch=arch)
        done = ours(path, *arguments, cwd=tmp_path)
        assert done.stdout == judged.out, path
        assert done.returncode == judged.status
        assert b"rtld:" not in done.stderr


def test_the_trace_is_wines(windows_set: Callable[..., Path], need: Need) -> None:
    """Which of the program's own DLLs were loaded, bound and told, in Wine's words and at the same addresses."""
    path = windows_set("x86_64") / "main.exe"
    judged = windows.wine([path], need, debug="+imports,+module,+loaddll,+pid", cwd=path.parent)
    done = ours(path, trace=True, cwd=path.parent)
    mine = windows.Judged(done.returncode, done.stdout, done.stderr.decode())
    own = {"alpha.dll", "beta.dll", "ping.dll", "pong.dll", "gamma.dll", "delta.dll"}
    for static in (True, False):
        assert [n for n in mine.attached(static=static) if n in own] == [
            n for n in judged.attached(static=static) if n in own
        ]
    assert {r for r in mine.imports if r[1] in own} == {r for r in judged.imports if r[1] in own}
    assert {n: b for n, b in mine.bases.items() if n in own} == {n: b for n, b in judged.bases.items() if n in own}  # fmt: skip


def test_what_nobody_supplies_is_named(need: Need, tmp_path: Path) -> None:
    source = "#include <windows.h>\nint main(void) { SetMailslotInfo(0, 0); SetMailslotInfo(0, 0); return GetLastError(); }"
    path = windows.build(source, "unknown.exe", need)
    done = ours(path)
    assert done.returncode == 120
    assert b"KERNEL32.dll!SetMailslotInfo (2)" in done.stderr
    strict = subprocess.run([sys.executable, "-m", "rtld", "run", "--strict", str(path)], env=environment(), capture_output=True, check=False)  # fmt: skip
    assert strict.returncode == 126
    assert b"SetMailslotInfo is not supplied" in strict.stderr


def test_a_missing_dll_and_a_crash(windows_set: Callable[..., Path], need: Need, tmp_path: Path) -> None:  # fmt: skip
    (tmp_path / "main.exe").write_bytes((windows_set("x86_64") / "main.exe").read_bytes())
    done = ours(tmp_path / "main.exe")
    assert done.returncode == 126
    assert b"alpha.dll: not found (error 126, ERROR_MOD_NOT_FOUND)" in done.stderr
    crash = windows.build("int main(void) { return *(volatile int *)16; }", "crash.exe", need)
    done = ours(crash)
    assert done.returncode == 0xC0000005 & 0xFF
    first, *rest = done.stderr.decode().splitlines()
    assert (
        "unhandled exception 0xc0000005, EXCEPTION_ACCESS_VIOLATION (read at 0x10), at 0x" in first
    )
    assert "in crash.exe + 0x" in first
    assert "(main + 0x" in first
    assert any("rip 00000001" in line for line in rest)
    assert any("called from 0x" in line and "__tmainCRTStartup" in line for line in rest)


SPINNING = r"""
#include <windows.h>
static volatile LONG flag;
static DWORD WINAPI work(void *p) { while (!flag) ; return 3; }
int main(int argc, char **argv) {
    HANDLE thread = CreateThread(0, 0, work, 0, 0, 0);
    DWORD code;
    if (argc > 1) for (;;) ;
    Sleep(20);
    flag = 1;
    WaitForSingleObject(thread, INFINITE);
    GetExitCodeThread(thread, &code);
    return code;
}
"""


@pytest.mark.parametrize("arch", ["x86_64", "i386"])
def test_a_thread_that_spins_does_not_keep_the_cpu(arch: str, need: Need) -> None:
    path = windows.build(SPINNING, "spinning.exe", need, "-O1", arch=arch)
    assert ours(path).returncode == 3
    done = subprocess.run([sys.executable, "-m", "rtld", "run", "--timeout", "1", str(path), "x"],
                          env=environment(), capture_output=True, timeout=60, check=False)  # fmt: skip
    assert done.returncode == 126
    assert b"the time that it was given is over" in done.stderr


BUSY = r"""
#include <windows.h>
#include <stdio.h>
static LONG CALLBACK again(EXCEPTION_POINTERS *what) { return EXCEPTION_CONTINUE_EXECUTION; }
int main(int argc, char **argv) {
    if (*argv[1] == 'r') return getchar();
    AddVectoredExceptionHandler(1, again);
    for (;;) *(volatile int *)0 = 1;
}
"""


@pytest.mark.parametrize("what", ["exceptions", "reading"])
def test_time_is_over_in_functions_of_ours_too(what: str, need: Need) -> None:
    path = windows.build(BUSY, "busy.exe", need, "-O1", arch="i386")
    process = subprocess.Popen([sys.executable, "-m", "rtld", "run", "--timeout", "1", str(path), what],
                               env=environment(), stdin=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    try:
        assert process.wait(30) == 126
        assert process.stderr is not None
        assert b"the time that it was given is over" in process.stderr.read()
    finally:
        process.kill()
        process.communicate()


def test_policies_and_schemas_on_the_command_line(windows_set: Callable[..., Path]) -> None:
    path = str(windows_set("x86_64") / "main.exe")

    def run(*words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([sys.executable, "-m", "rtld", "run", *words, path], env=environment(), capture_output=True, check=False)  # fmt: skip

    assert run("--unresolved", "stub", "--bound", "verify", "--tls", "static-only").returncode == 7
    for words, says in ((("--apiset", "/nowhere"), b"/nowhere: No such file"), (("--tls", "none"), b"choose vista or static-only"),
                        (("--windows-dir", "/nowhere"), b"there is no such directory")):  # fmt: skip
        done = run(*words)
        assert done.returncode != 0
        assert says in done.stderr


def test_files_are_confined(need: Need, tmp_path: Path) -> None:
    source = (
        '#include <windows.h>\nint main(void) { HANDLE f = CreateFileA("Z:\\\\etc\\\\passwd", GENERIC_READ, 0, 0, '
        "OPEN_EXISTING, 0, 0); return f == INVALID_HANDLE_VALUE ? GetLastError() : 0; }"
    )
    done = ours(windows.build(source, "outside.exe", need), cwd=tmp_path)
    assert done.returncode == 5
