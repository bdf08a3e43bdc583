"""The test tools themselves: what ld.so and readelf print is understood, and the case directives mean what they say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import casefile
import oracle
import toolchain


def test_bindings_with_spaces_and_versions() -> None:
    lines = [
        "     11035:\tbinding file ./a b [0] to /lib/x y/libc.so.6 [0]: normal symbol `puts' [GLIBC_2.2.5]",
        "     11035:\tbinding file ./a b [0] to ./a b [0]: protected symbol `who'",
        "     11035:\tbinding file linux-vdso.so.1 [0] to linux-vdso.so.1 [0]: normal symbol `x' [LINUX_2.6]",
        "     11035:\tcalling init: /lib/libc.so.6",
    ]
    assert list(oracle.parse_bindings(lines)) == [
        ("./a b", "/lib/x y/libc.so.6", "puts", "GLIBC_2.2.5", "normal"),
        ("./a b", "./a b", "who", None, "protected"),
    ]


def test_list() -> None:
    text = (
        "\tlinux-vdso.so.1 (0x00007f717148b000)\n"
        "\tlibc.so.6 => /lib/x y/libc.so.6 (0x00007f717128d000)\n"
        "\tlibgone.so => not found\n"
        "\t/lib64/ld-linux-x86-64.so.2 (0x00007f717148d000)\n"
    )
    assert list(oracle.parse_list(text)) == [
        ("libc.so.6", "/lib/x y/libc.so.6"),
        ("libgone.so", None),
        ("/lib64/ld-linux-x86-64.so.2", "/lib64/ld-linux-x86-64.so.2"),
    ]


def test_readelf_tables(cc: Callable[..., Path]) -> None:
    library = str(
        cc(
            'int puts(const char *); int answer = 42, *p = &answer; int f(void) { return puts(""); }',
            "liba.so",
            "-shared",
            "-fPIC",
        )
    )
    symbols = {symbol.name: symbol for symbol in oracle.readelf_symbols(library)}
    assert (symbols["answer"].size, symbols["answer"].type, symbols["answer"].bind) == (
        4,
        "OBJECT",
        "GLOBAL",
    )
    assert "answer" in {relocation.symbol for relocation in oracle.readelf_relocations(library)}
    kinds = [header.type for header in oracle.readelf_headers(library)]
    assert "LOAD" in kinds
    assert "DYNAMIC" in kinds
    assert oracle.readelf_needed(library) == ["libc.so.6"]


def test_trace_has_what_is_undefined(cc: Callable[..., Path]) -> None:
    program = str(
        cc(
            "int gone(void); int main(void) { return gone(); }",
            "main",
            "-fPIC",
            "-pie",
            "-Wl,--unresolved-symbols=ignore-in-object-files",
            "-Wl,--defsym=unused=0",
            "-Wl,-z,undefs",
        )
    )
    trace = oracle.trace(program)
    assert ("__libc_start_main", "GLIBC_2.34") in {(b.symbol, b.version) for b in trace.bindings}
    assert [row.path for row in trace.modules][-1] == oracle.interp(program)


def test_every_case_says_what_to_expect() -> None:
    assert len(casefile.all_cases()) >= 45
    for case in casefile.all_cases():
        assert case.stdout is not None or case.status != 0, case.name
        assert any(word == "main" for word, _ in case.steps), case.name


def test_unknown_directive_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(casefile, "CASES", tmp_path)
    wrong = tmp_path / "wrong.c"
    wrong.write_text("//: mian\nint main(void) {}\n")
    with pytest.raises(ValueError, match=r"wrong\.c:1: .*no such directive: mian"):
        casefile.Case(wrong)


def test_targets_name_their_tools() -> None:
    for name, target in toolchain.TARGETS.items():
        assert target.name == name
        assert target.native or target.qemu
